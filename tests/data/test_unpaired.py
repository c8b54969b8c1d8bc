"""Two folders between which nothing corresponds."""

import collections

import numpy as np
import pytest
import torch

from i2i import build, config
from i2i.data import DATASETS
from i2i.data.domain import Domain
from i2i.data.pictures import read, write
from i2i.errors import UserError

AUTO = {"channels": "auto", "range": "auto"}


def unpaired(path, **changed):
    given = {"load_size": None, "crop_size": 8, "flip": True, "transform": None, "seed": 0, "a": AUTO, "b": AUTO}
    return DATASETS.build("unpaired", path=path, **{**given, **changed})


def fill(root, a: int, b: int, split: str = "train", sizes=(10, 13)):
    for side, count, base, size in (("A", a, 0, sizes[0]), ("B", b, 128, sizes[1])):
        (root / f"{split}{side}").mkdir(exist_ok=True)
        for number in range(count):
            y, x = np.mgrid[0:size, 0:size].astype(np.uint8)
            write(
                root / f"{split}{side}" / f"{number:03d}.png", np.dstack([9 * x, 9 * y, np.full_like(x, base + number)])
            )
    return root


def numbers(data, epoch: int, index: int) -> tuple[int, int]:
    item, _ = data.item(epoch, index)
    return tuple(int(data.domains[key].to_pixels(item[key])[0, 0, 2]) - base for key, base in (("a", 0), ("b", 128)))


@pytest.mark.parametrize("counts", [(3, 7), (7, 3), (1, 5), (4, 4)])
def test_sides_of_different_lengths(tmp_path, counts):
    data = unpaired(fill(tmp_path, *counts))
    assert len(data) == max(counts) and data.files == sum(counts) and data.keys == data.keys_of({}) == ("a", "b")
    assert data.side is None and data.domains == {key: Domain(3, (0, 255), 8) for key in "ab"}
    drawn = collections.Counter()
    for epoch in range(30):
        for index in range(len(data)):
            a, b = numbers(data, epoch, index)
            assert a == index % counts[0] and 0 <= b < counts[1]
            drawn[b] += 1
    assert len(drawn) == counts[1] and min(drawn.values()) > 0.5 * 30 * len(data) / counts[1], "b is drawn evenly"


def test_partners_and_moves_derive_from_seed_epoch_and_index(tmp_path):
    root = fill(tmp_path, 8, 8)
    data, again = unpaired(root), unpaired(root)
    partners = [[numbers(data, epoch, index)[1] for index in range(8)] for epoch in range(4)]
    assert partners == [[numbers(again, epoch, index)[1] for index in range(8)] for epoch in reversed(range(4))][::-1]
    assert len({tuple(row) for row in partners}) == 4
    assert partners != [[numbers(unpaired(root, seed=1), epoch, index)[1] for index in range(8)] for epoch in range(4)]
    item = data.item(2, 5)[0]
    assert all(torch.equal(again.item(2, 5)[0][key], item[key]) for key in "ab")


def test_the_two_pictures_of_a_sample_move_on_their_own(tmp_path):
    data = unpaired(fill(tmp_path, 2, 2, sizes=(12, 12)))
    alike = 0
    for epoch in range(40):
        item, _ = data.item(epoch, 0)
        alike += torch.equal(item["a"][:2], item["b"][:2])
    assert alike < 12, "50 crops and flips are possible: the same one twice is rare"


def test_a_broken_picture_of_either_side_is_replaced(tmp_path):
    root = fill(tmp_path, 5, 1)
    (root / "trainA/004.png").write_bytes((root / "trainA/004.png").read_bytes()[:-20])
    data = unpaired(root)
    assert numbers(data, 0, 4) == (0, 0)
    assert [report.path for report in data.item(0, 4)[1]] == [str(root / "trainA/004.png")]
    (root / "trainB/000.png").write_bytes(b"%PDF")
    with pytest.raises(UserError, match=r"none of 1 training files can be read.*000\.png: it is a PDF"):
        data.item(0, 0)


def test_previews_come_from_test_side_by_side_but_unrelated(tmp_path):
    fill(fill(tmp_path, 4, 4), 3, 2, "test")
    data = unpaired(tmp_path)
    rows = data.previews(4)
    assert [(row["a"][0, 0, 2], row["b"][0, 0, 2]) for row in rows] == [(0, 128), (1, 129)]
    assert rows[0]["a"].shape == (10, 10, 3) and rows[0]["b"].shape == (13, 13, 3)


def test_what_is_wrong_with_one_side_names_it(tmp_path):
    root = fill(tmp_path, 3, 3)
    with pytest.raises(
        UserError, match=r"3 pictures are smaller than data.crop_size 12, the first .*trainA/000\.png, 10 x 10\. Set"
    ):
        unpaired(root, crop_size=12)
    with pytest.raises(
        UserError, match=r"data.b.channels is 1, but 3 of 3 pictures have 3, the first .*trainB/000\.png"
    ):
        unpaired(root, b={"channels": 1, "range": "auto"})
    write(root / "trainB/002.png", np.zeros((13, 13, 3), np.uint16))
    with pytest.raises(UserError, match=r"trainB mixes pictures of 8 bits .* and 16 bits"):
        unpaired(root)
    with pytest.raises(UserError, match=r"nowhere does not exist\..* Look here$"):
        unpaired(tmp_path / "nowhere", hint=" Look here")


def test_sides_of_different_kinds(tmp_path):
    for side, pixels in (("A", np.zeros((9, 9, 1), np.uint16)), ("B", np.zeros((9, 9, 3), np.uint8))):
        (tmp_path / f"train{side}").mkdir()
        write(tmp_path / f"train{side}/1.png", pixels)
    data = unpaired(tmp_path)
    expected = {"a": {"channels": 1, "range": [0, 65535]}, "b": {"channels": 3, "range": [0, 255]}}
    assert data.resolved() == {side: {**domain, "page": None} for side, domain in expected.items()}
    item, _ = data.item(0, 0)
    assert item["a"].shape == (1, 8, 8) and item["b"].shape == (3, 8, 8)


def test_two_classes_of_a_labelled_folder(tmp_path):
    for name, level in (("cat", 10), ("dog", 20), ("owl", 30)):
        for number in range(2):
            (tmp_path / "train" / name).mkdir(parents=True, exist_ok=True)
            write(tmp_path / "train" / name / f"{number}.png", np.full((9, 9, 3), level + number, np.uint8))
    data = unpaired(tmp_path, folders=["owl", "cat"])
    assert [read(path).pixels[0, 0, 0] for files in data.splits["train"][1:3] for path in files] == [30, 31, 10, 11]
    with pytest.raises(UserError, match=r"no folder 'cats'\. Did you mean 'cat'\? Folders there: cat, dog, owl"):
        unpaired(tmp_path, folders=["owl", "cats"])


def test_the_recipe_takes_two_names_and_nothing_else():
    def check(value):
        return build.check(config.read("cyclegan_horse2zebra", [f"data.folders={value}"])).data.args["folders"]

    assert check("[cats, dogs]") == ["cats", "dogs"] and check("null") is None
    for value, words in (("[cats]", "must have 2 entries"), ("cats", "is not a list"), ("[1, 2]", "is not a word")):
        with pytest.raises(UserError, match=words):
            check(value)


def test_horses_and_zebras_two_of_which_are_grey(real_data):
    root = real_data("horse2zebra")
    data = unpaired(root, load_size=286, crop_size=256)
    assert len(data) == 100 and data.files == 200 and not data.broken
    assert data.notes == [f"{root / 'trainB'}: 2 of 100 pictures are grey, replicated to 3 channels"]
    files = data.splits["train"].b
    for name in ("n02391049_226.jpg", "n02391049_2341.jpg"):
        index = list(files.names()).index(name)
        assert read(files[index]).pixels.shape[2] == 1
        pixels = data.fitted(read(files[index]).pixels, "b", files[index])
        assert pixels.shape == (256, 256, 3) and (pixels[..., :1] == pixels).all()
    assert {key: x.shape for key, x in data.item(3, 99)[0].items()} == {"a": (3, 256, 256), "b": (3, 256, 256)}
    assert len(data.previews(4)) == 4 and len(data.splits["test"].a) == 30


def test_whole_splits_a_key_at_a_time(tmp_path):
    data = unpaired(fill(fill(tmp_path, 3, 2), 1, 2, "test"))
    assert data.splits_there == ("train", "test")
    assert {(split, key): data.count(split, key) for split in data.splits_there for key in "ab"} == {
        ("train", "a"): 3,
        ("train", "b"): 2,
        ("test", "a"): 1,
        ("test", "b"): 2,
    }
    assert [row["a"][0, 0, 2] for row in data.whole("train", "a")] == [0, 1, 2]
    assert [(list(row), row["b"][0, 0, 2]) for row in data.whole("test", "b")] == [(["b"], 128), (["b"], 129)]
    row = next(data.whole("test", "b"))["b"]
    assert row.shape == (13, 13, 3) and data.prepared(row, "b").shape == (3, 8, 8)
    assert np.array_equal(data.domains["b"].to_pixels(data.prepared(row, "b")), row[2:10, 2:10])
    for asked in (data.whole, data.count):
        with pytest.raises(UserError, match="nothing pairs the samples of these data. Name one key, a or b"):
            asked("train")
