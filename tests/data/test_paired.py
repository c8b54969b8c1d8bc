"""Pairs: their layouts, which half is the input, what they become, and what is wrong with them in words."""

import copy

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data import DATASETS
from i2i.data.domain import Domain
from i2i.data.pictures import encode, write
from i2i.errors import UserError

AUTO = {"channels": "auto", "range": "auto"}
Y, X = np.mgrid[0:24, 0:24].astype(np.uint8)


def paired(path, **changed):
    given = {"load_size": None, "crop_size": 16, "flip": True, "transform": None, "seed": 0, "a": AUTO, "b": AUTO}
    return DATASETS.build("paired", path=path, **{**given, **changed})


def pair(number: int, channels: tuple[int, int] = (3, 3), size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures that say where each pixel was, which pair they are of, and which side they are."""
    y, x = np.mgrid[0:size, 0:size].astype(np.uint8)
    a = np.dstack([x * 5, y * 5, np.full_like(x, number)])
    b = np.dstack([x * 5, y * 5, np.full_like(x, 200 + number)])
    return tuple(p if c == 3 else p[..., :1] for p, c in zip((a, b), channels))


def put(root, name: str, pixels: np.ndarray):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    write(root / name, pixels)


@pytest.fixture
def beside(tmp_path):
    """Six pairs side by side for training, two for test."""
    for split, count in (("train", 6), ("test", 2)):
        for number in range(count):
            put(tmp_path, f"{split}/{number}.png", np.concatenate(pair(number + 50 * (split == "test")), axis=1))
    return tmp_path


def folders(root, channels=(3, 3), layout="{}{}/{}.png", count=6, scale=(1, 1)):
    for number in range(count):
        for side, pixels, factor in zip("AB", pair(number, channels), scale):
            put(
                root, layout.format("train", side, number), pixels if factor == 1 else pixels.astype(np.uint16) * factor
            )
    return root


def same_place(item, domains) -> bool:
    """Whether both pictures of an item show the same part of their pair, whatever their channels and depths."""
    places = [domains[key].to_pixels(x)[..., 0] // (domains[key].top // 255) for key, x in item.items()]
    return np.array_equal(*places)


@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_the_halves_and_the_direction(beside, direction):
    data = paired(beside, direction=direction)
    assert data.keys == data.keys_of({}) == ("input", "target") and len(data) == data.files == 6
    assert data.side == {"ab": "left", "ba": "right"}[direction]
    assert data.domains == {key: Domain(3, (0, 255), 8) for key in data.keys}
    for index in range(6):
        item, broken = data.item(0, index)
        assert not broken and list(item) == ["input", "target"]
        assert all(x.shape == (3, 16, 16) and x.dtype == torch.float32 and x.abs().max() <= 1 for x in item.values())
        shown = {key: data.domains[key].to_pixels(x) for key, x in item.items()}
        a, b = shown.values() if direction == "ab" else reversed(shown.values())
        assert (a[..., 2] == index).all() and (b[..., 2] == 200 + index).all()
        assert np.array_equal(a[..., :2], b[..., :2]), "both halves are cut and turned alike"


@pytest.mark.parametrize("layout", ["{}{}/{}.png", "{}/{}/{}.png"])
def test_two_folders(tmp_path, layout):
    data = paired(folders(tmp_path, layout=layout))
    assert len(data) == 6 and data.files == 12 and data.side is None
    for index in range(6):
        item, _ = data.item(0, index)
        assert data.domains["input"].to_pixels(item["input"])[0, 0, 2] == index
        assert same_place(item, data.domains)


def test_two_folders_of_other_names(tmp_path):
    for number in range(3):
        for name, pixels in zip(("depth", "colour"), pair(number, (1, 3))):
            put(tmp_path, f"{name}/{number}.png", pixels)
    data = paired(tmp_path, folders=["depth", "colour"], direction="ba")
    assert len(data) == 3 and (data.domains["input"].channels, data.domains["target"].channels) == (3, 1)
    assert same_place(data.item(0, 1)[0], data.domains) and len(data.previews(4)) == 3
    with pytest.raises(UserError, match=r"has no folder 'color'\. Did you mean 'colour'\?"):
        paired(tmp_path, folders=["depth", "color"])


@pytest.mark.parametrize("channels", [(1, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("scale", [(1, 1), (257, 1), (1, 257), (257, 257)])
@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_channels_and_depths_may_differ_between_the_sides(tmp_path, channels, scale, direction):
    data = paired(folders(tmp_path, channels, scale=scale, count=3), direction=direction, transform="d4")
    depths = [8 if factor == 1 else 16 for factor in scale]
    expected = [Domain(c, (0, 2**d - 1), d) for c, d in zip(channels, depths)]
    assert list(data.domains.values()) == (expected if direction == "ab" else expected[::-1])
    assert data.resolved() == {
        side: {"channels": domain.channels, "range": [0, 2**domain.depth - 1], "page": None}
        for side, domain in zip("ab", expected)
    }
    for index in range(3):
        assert same_place(data.item(1, index)[0], data.domains)


def test_a_range_and_a_channel_count_of_the_recipe(tmp_path):
    root = folders(tmp_path, (1, 3), count=2)
    data = paired(root, a={"channels": 3, "range": [10, 20]}, b={"channels": "auto", "range": [0, 100]}, direction="ba")
    assert data.domains == {"input": Domain(3, (0, 100), 8), "target": Domain(3, (10, 20), 8)}
    expected = {"a": {"channels": 3, "range": [10, 20]}, "b": {"channels": 3, "range": [0, 100]}}
    assert data.resolved() == {side: {**domain, "page": None} for side, domain in expected.items()}
    item = data.item(0, 0)[0]["target"]
    assert item.shape == (3, 16, 16) and torch.equal(item[0], item[2]) and (item == 1).any()
    assert any("trainA: 2 of 2 pictures are grey, replicated to 3 channels" in note for note in data.notes)


def test_one_colour_picture_makes_a_domain_of_colour(tmp_path):
    folders(tmp_path, (1, 1), count=3)
    put(tmp_path, "trainB/1.png", pair(1)[1])
    data = paired(tmp_path)
    assert (data.domains["input"].channels, data.domains["target"].channels) == (1, 3)
    assert data.notes == [f"{tmp_path / 'trainB'}: 2 of 3 pictures are grey, replicated to 3 channels"]
    assert data.item(0, 0)[0]["target"].shape == data.item(0, 1)[0]["target"].shape == (3, 16, 16)


def test_items_are_a_pure_function_of_their_place(beside):
    data, again = paired(beside, seed=2), paired(beside, seed=2)
    items = {(epoch, index): data.item(epoch, index)[0]["input"] for epoch in range(3) for index in range(6)}
    for place in sorted(items, key=lambda place: hash((place, "shuffled"))):
        assert torch.equal(again.item(*place)[0]["input"], items[place])
    assert len({x.numpy().tobytes() for x in items.values()}) == len(items)
    other = paired(beside, seed=1)
    assert sum(torch.equal(other.item(*place)[0]["input"], x) for place, x in items.items()) < 4


def test_sixteen_augmentations_of_one_picture_are_sixteen(tmp_path):
    put(tmp_path, "train/0.png", np.concatenate(pair(0, size=48), axis=1))
    data = paired(tmp_path)
    assert len({data.item(epoch, 0)[0]["input"].numpy().tobytes() for epoch in range(16)}) == 16


def test_previews_are_whole_pictures_of_test(beside):
    data = paired(beside, direction="ba")
    rows = data.previews(4)
    assert len(rows) == 2 and len(data.previews(1)) == 1
    for number, row in enumerate(rows):
        a, b = pair(50 + number)
        assert np.array_equal(row["input"], b) and np.array_equal(row["target"], a)
    for file in (beside / "test").iterdir():
        file.unlink()
    assert np.array_equal(paired(beside).previews(4)[3]["input"], pair(3)[0]), "without test, and val, train"


def test_previews_skip_what_is_broken_and_have_the_channels_of_the_domain(tmp_path):
    folders(tmp_path, (3, 3), count=2)
    for number in range(3):
        for side, pixels in zip("AB", pair(number, (1, 3))):
            put(tmp_path, f"test/{side}/{number}.png", pixels)
    (tmp_path / "test/A/1.png").write_bytes(encode(pair(1)[0])[:99])
    rows = paired(tmp_path).previews(3)
    assert [row["target"][0, 0, 2] for row in rows] == [200, 202]
    assert rows[1]["input"].shape == (24, 24, 3)
    put(tmp_path, "test/A/2.png", pair(2)[0].astype(np.uint16))
    with pytest.raises(
        UserError, match=r"test/A/2\.png: it has 16 bits a channel, and the training pictures .* have 8"
    ):
        paired(tmp_path).previews(3)
    for side in "AB":
        (tmp_path / f"test/{side}/0.png").unlink(), (tmp_path / f"test/{side}/2.png").unlink()
    with pytest.raises(UserError, match=r"none of 1 pictures to preview can be read.*test/A/1\.png: it is cut off"):
        paired(tmp_path).previews(3)


def test_a_broken_pair_is_served_by_the_next_good_one(beside):
    path = beside / "train/2.png"
    path.write_bytes(path.read_bytes()[:-30])
    data = paired(beside)
    served, broken = data.item(0, 2)
    assert data.domains["input"].to_pixels(served["input"])[0, 0, 2] == 3
    assert [(report.path, "cut off" in report.why) for report in broken] == [(str(path), True)]
    last = beside / "train/5.png"
    path.write_bytes((beside / "train/1.png").read_bytes())
    last.write_bytes(last.read_bytes()[:-30])
    assert data.domains["input"].to_pixels(data.item(0, 5)[0]["input"])[0, 0, 2] == 0, "after the last comes the first"
    for number in range(6):
        (beside / f"train/{number}.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match=r"2 of 6 training files are broken, and at most 1 may be.*it is a GIF"):
        data.item(0, 0)


def test_as_many_in_a_row_may_be_broken_as_in_all(tmp_path):
    for number in range(100):
        for side, pixels in zip("AB", pair(number % 50)):
            put(tmp_path, f"train{side}/{number:02d}.png", pixels)
    for name in ("trainB/04.png", "trainA/05.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    data = paired(tmp_path)
    served, broken = data.item(0, 4)
    assert data.domains["input"].to_pixels(served["input"])[0, 0, 2] == 6 and len(broken) == 2, "2 of 200 files"
    (tmp_path / "trainA/06.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match="3 of 200 training files are broken, and at most 2 may be"):
        data.item(0, 4)


def test_a_pair_that_changed_since_the_start_is_broken(tmp_path):
    data = paired(folders(tmp_path))
    put(tmp_path, "trainB/4.png", pair(4, size=22)[1])
    _, broken = data.item(0, 4)
    assert (
        len(broken) == 1
        and "it is 22 x 22 and its partner" in broken[0].why
        and broken[0].path.endswith("trainB/4.png")
    )


def test_what_headers_tell_is_known_before_the_first_sample(beside):
    (beside / "train/1.png").write_bytes(b"<html>404")
    alpha = np.full((24, 48), 9, np.uint8)
    write(beside / "train/3.png", np.concatenate(pair(3), axis=1), alpha)
    Image.open(beside / "train/4.png").quantize(8).save(beside / "train/4.png")
    (beside / "train/5.gif").touch()
    data = paired(beside)
    assert [report.path for report in data.broken] == [str(beside / "train/1.png")]
    folder = beside / "train"
    assert data.notes == [
        f"{folder}: 1 file is of a kind that is not read, left out: 5.gif",
        f"{folder}: 1 of 6 pictures with a palette, read as RGB",
        f"{folder}: 1 of 6 pictures with alpha, which is set aside",
    ]
    assert data.item(0, 3)[0]["input"].shape == (3, 16, 16)


WIDE = np.concatenate(pair(0), axis=1)
FAULTS = {  # what is added as train/9.png, what is changed in the recipe, what is said
    "odd": (WIDE[:, :47], {}, r"1 picture has an odd width.*train/9\.png \(47 px\)\. Cut"),
    "low": (
        WIDE[:15],
        {},
        r"1 picture is smaller than data.crop_size 16, .*9\.png, 24 x 15 in each half\. Set data.load_size=16",
    ),
    "crop": (None, {"crop_size": 25}, r"6 pictures are smaller than data.crop_size 25.*24 x 24"),
    "load_size": (None, {"load_size": 15}, r"load_size 15 is smaller than crop_size 16\. Set load_size to 16"),
    "depth": (WIDE.astype(np.uint16), {}, r"mixes pictures of 8 bits \(.*0\.png\) and 16 bits \(.*9\.png\)\. Convert"),
    "RGB": (
        None,
        {"b": {"channels": 1}},
        r"data.b.channels is 1, but 6 of 6 pictures have 3, the first .*0\.png\. Only",
    ),
    "channels": (
        None,
        {"a": {"channels": 4}},
        r"data.a.channels is 4, but 6 of 6 pictures have 3, the first .* or auto",
    ),
    "range": (None, {"a": {"range": [0, 65535]}}, r"data.a: range .* is not a range of 8-bit levels"),
    "direction": (None, {"direction": "AtoB"}, r"direction 'AtoB' is not ab .* or ba"),
    "transform": (None, {"transform": "d5"}, r"'d5' is not a transform"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_one_sentence(beside, fault):
    added, changed, words = FAULTS[fault]
    if added is not None:
        put(beside, "train/9.png", added)
    with pytest.raises(UserError, match=words) as caught:
        paired(beside, **changed)
    assert "\n" not in str(caught.value)


def test_a_pair_of_two_sizes(tmp_path):
    folders(tmp_path)
    put(tmp_path, "trainA/3.png", pair(3, size=30)[0])
    with pytest.raises(
        UserError,
        match=r"1 pair has pictures of two sizes, the first .*A/3\.png 30 x 30 and .*B/3\.png 24 x 24\. Resize",
    ):
        paired(tmp_path)


def test_too_many_broken_headers_and_none_that_is_good(tmp_path):
    folders(tmp_path, count=3)
    for number in range(2):
        (tmp_path / f"trainB/{number}.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"2 of 6 training files are broken, and at most 1 may be.*B/0\.png: it is an empty file"
    ):
        paired(tmp_path)
    put(tmp_path, "one/train/0.png", WIDE)
    (tmp_path / "one/train/0.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the pictures in .* can be read\..*it is an empty file"):
        paired(tmp_path / "one")


def test_no_such_folder_says_where_the_data_are_to_be_had(tmp_path):
    with pytest.raises(UserError, match=r"missing does not exist\..* The card says: example\.org$"):
        paired(tmp_path / "missing", hint=" The card says: example.org")


def test_a_data_set_can_be_copied_to_another_process(beside):
    data = paired(beside, transform="affine")
    first = data.item(0, 1)[0]["input"]
    assert torch.equal(copy.deepcopy(data).item(0, 1)[0]["input"], first)


def test_facades_go_from_labels_to_photographs(real_data):
    root = real_data("facades")
    data = paired(root, crop_size=256, flip=False, direction="ba")
    assert len(data) == data.files == 400 and not data.broken and not data.notes
    for index in (0, 399):
        file = data.splits["train"].a[index]
        both = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
        item, _ = data.item(0, index)
        assert np.array_equal(data.domains["input"].to_pixels(item["input"]), both[:, 256:]), (
            "the label map is on the right"
        )
        assert np.array_equal(data.domains["target"].to_pixels(item["target"]), both[:, :256])
    assert len(data.previews(4)) == 4 and data.splits["test"].name == "test" and len(data.splits["test"].a) == 106


def test_maps_are_resized_and_cropped(real_data):
    data = paired(real_data("maps"), load_size=286, crop_size=256)
    assert len(data) == 2 and data.previews(9)[0]["input"].shape == (600, 600, 3), "val, where there is no test"
    assert data.item(0, 1)[0]["target"].shape == (3, 256, 256)


def test_whole_splits_in_order(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        (tmp_path / split).mkdir()
        for number in range(count):
            pixels = np.zeros((9, 22, 3), np.uint8)
            pixels[:, :11], pixels[:, 11:] = number, 100 + number
            write(tmp_path / split / f"{number}.png", pixels)
    data = paired(tmp_path, direction="ba", crop_size=8)
    assert data.splits_there == ("train", "test") and data.count("train") == 3 and data.count("test", "target") == 2
    rows = list(data.whole("train"))
    assert [(row["input"][0, 0, 0], row["target"][0, 0, 0]) for row in rows] == [(100, 0), (101, 1), (102, 2)]
    assert rows[0]["input"].shape == (9, 11, 3)
    (one, two) = data.whole("test", "target")
    assert list(one) == ["target"] and two["target"][0, 0, 0] == 1
    x = data.prepared(rows[2]["input"], "input")
    assert x.shape == (3, 8, 8) and torch.equal(x, (torch.full((3, 8, 8), 102.0) / 255) * 2 - 1)
    for arguments, words in ((("val",), "split 'val' is not there"), (("test", "a"), "key 'a' is not in these data")):
        with pytest.raises(UserError, match=words):
            data.whole(*arguments)
    (tmp_path / "test/1.png").write_bytes(b"%PDF")
    with pytest.raises(UserError, match=r"1\.png: it is a PDF"):
        list(data.whole("test"))
