"""Made-up buildings: the same picture for the same seed, exact label colours, and a photograph that fits its labels."""

import cv2
import numpy as np
import pytest

from i2i.data import DATASETS
from i2i.data.buildings import PALETTE, WALLS, design, labels
from i2i.data.synthetic import Synthetic, building_seed, draw, write_folder
from i2i.errors import UserError

AUTO = {"channels": "auto", "range": "auto"}


def synthetic(pairing="paired", **changed) -> Synthetic:
    given = {"size": 48, "count": 12, "load_size": None, "crop_size": 32, "flip": True, "transform": None, "seed": 0}
    return DATASETS.build("synthetic", **{**given, "pairing": pairing, "a": AUTO, "b": AUTO, **changed})


def colours(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}


@pytest.mark.parametrize("size", [16, 47, 128, 200])
def test_a_pair_is_a_pure_function_of_seed_and_size(size):
    first = draw(5, size)
    for other in range(3):  # whatever is drawn between, what is kept from it, and what NumPy's own generator did
        draw(other, size)
        np.random.seed(other)
    again = draw(5, size)
    for one, two in zip(first, again):
        assert one.shape == (size, size, 3) and one.dtype == np.uint8
        assert np.array_equal(one, two)
    assert not any(np.array_equal(one, two) for one, two in zip(first, draw(6, size)))


def test_what_is_returned_is_the_callers_own():
    one, photo = draw(3, 32)
    kept = one.copy(), photo.copy()
    one[:], photo[:] = 0, 0
    assert all(np.array_equal(a, b) for a, b in zip(kept, draw(3, 32)))


@pytest.mark.parametrize("size", [16, 33, 64, 100, 256])
def test_label_maps_hold_the_named_colours_and_no_others(size):
    named = set(PALETTE.values())
    assert len(named) == len(PALETTE)
    seen = [colours(draw(seed, size)[0]) for seed in range(12)]
    assert all(found <= named for found in seen)
    always = {PALETTE["sky"], PALETTE["ground"], PALETTE["window"]}
    assert all(always <= found for found in seen)


def test_every_class_appears_and_buildings_differ():
    seen = set().union(*(colours(labels(design(seed, 96))) for seed in range(60)))
    assert seen == set(PALETTE.values())


def test_a_building_is_the_same_one_at_another_size():
    for seed in range(6):
        small, large = design(seed, 64), design(seed, 128)
        assert small.wall == large.wall
        halved = cv2.resize(labels(large), (64, 64), interpolation=cv2.INTER_NEAREST)
        assert (halved == labels(small)).all(axis=2).mean() > 0.8


def _gradient(pixels: np.ndarray) -> np.ndarray:
    """Where neighbours differ, as (H, W) values in [0, 1]."""
    x = pixels.astype(np.float32)
    across, down = np.zeros(x.shape[:2]), np.zeros(x.shape[:2])
    across[:, 1:] = np.abs(np.diff(x, axis=1)).max(axis=2)
    down[1:] = np.abs(np.diff(x, axis=0)).max(axis=2)
    return np.maximum(across, down) / 255


def test_edges_of_the_photograph_lie_on_edges_of_the_labels():
    for seed in range(8):
        label, photo = draw(seed, 128)
        edges, gradient = _gradient(label) > 0, _gradient(photo)

        def strength(dy: int, dx: int, edges=edges, gradient=gradient) -> float:
            return gradient[np.roll(edges, (dy, dx), (0, 1))].mean()

        here = strength(0, 0)
        assert here > 1.5 * gradient[~edges].mean()
        assert all(here > 1.15 * strength(*shift) for shift in [(0, 2), (2, 0), (0, -2), (-2, 0), (3, 3)])


def test_the_photograph_can_be_told_from_the_labels():
    """Mean colours of a class in half of the buildings explain most of the others: materials are tied to labels."""
    pairs = [draw(seed, 64) for seed in range(80)]
    means = {}
    for colour in PALETTE.values():
        inside = [photo[(label == colour).all(axis=2)] for label, photo in pairs[:40]]
        means[colour] = np.concatenate(inside).mean(axis=0)
    explained, total = [], []
    everywhere = np.concatenate([photo.reshape(-1, 3) for _, photo in pairs[:40]]).mean(axis=0)
    for label, photo in pairs[40:]:
        guess = np.stack([means[tuple(colour)] for colour in label.reshape(-1, 3).tolist()]).reshape(photo.shape)
        explained.append(((photo - guess) ** 2).mean())
        total.append(((photo - everywhere) ** 2).mean())
    assert np.mean(explained) < 0.35 * np.mean(total)
    walls = np.array([means[PALETTE[wall]] for wall in WALLS])
    apart = np.abs(walls[:, None] - walls[None]).max(axis=2)[~np.eye(len(WALLS), dtype=bool)]
    assert apart.min() > 15


def test_what_goes_with_a_wall_follows_its_material():
    doors = {}
    for seed in range(60):
        label, photo = draw(seed, 64)
        doors.setdefault(design(seed, 64).wall, []).append(photo[(label == PALETTE["door"]).all(axis=2)].mean(axis=0))
    red, _, blue = np.mean(doors["timber"], axis=0)
    assert red > blue + 30
    red, _, blue = np.mean(doors["stone"], axis=0)
    assert blue > red + 10


def test_splits_are_disjoint_and_sides_have_buildings_of_their_own():
    seeds = [building_seed(split, n, side) for split in ("train", "val", "test") for n in range(500) for side in "ab"]
    assert len(set(seeds)) == len(seeds)


def test_the_pictures_do_not_depend_on_the_runs_seed():
    one, two = synthetic(seed=1), synthetic(seed=2)
    for index in range(3):
        (a, _), (b, _) = one.pictures(0, index), two.pictures(4, index)
        assert np.array_equal(a["input"], b["input"]) and np.array_equal(a["target"], b["target"])
    assert np.array_equal(one.previews(1)[0]["target"], two.previews(1)[0]["target"])


def test_paired_keys_follow_the_direction():
    label, photo = draw(building_seed("train", 2), 48)
    forward, back = synthetic(direction="ab"), synthetic(direction="ba")
    assert forward.keys == back.keys == Synthetic.keys_of({"pairing": "paired"}) == ("input", "target")
    pictures, broken = forward.pictures(0, 2)
    assert broken == [] and np.array_equal(pictures["input"], label) and np.array_equal(pictures["target"], photo)
    pictures, _ = back.pictures(0, 2)
    assert np.array_equal(pictures["input"], photo) and np.array_equal(pictures["target"], label)
    assert (forward.side, back.side) == ("left", "right")


def test_unpaired_sides_show_different_buildings():
    data = synthetic("unpaired", count=6)
    assert data.keys == Synthetic.keys_of({"pairing": "unpaired"}) == ("a", "b") and data.side is None
    paired = [draw(building_seed("train", n), 48) for n in range(6)]
    partners = set()
    for epoch in range(4):
        for index in range(6):
            pictures, _ = data.pictures(epoch, index)
            assert np.array_equal(pictures["a"], paired[index][0])
            assert not any(np.array_equal(pictures["b"], photo) for _, photo in paired)
            partners.add(pictures["b"].tobytes())
    assert 3 <= len(partners) <= 6  # of six photographs
    assert len({data.pictures(epoch, 0)[0]["b"].tobytes() for epoch in range(8)}) > 1  # not always the same for one
    again = synthetic("unpaired", count=6).pictures(3, 5)[0]
    assert np.array_equal(pictures["b"], again["b"])


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_items_are_tensors_of_the_crop_and_pure(pairing):
    data = synthetic(pairing, load_size=40)
    item, broken = data.item(1, 3)
    assert broken == [] and tuple(item) == data.keys
    again, _ = synthetic(pairing, load_size=40).item(1, 3)
    for key, x in item.items():
        assert x.shape == (3, 32, 32) and x.min() >= -1 and x.max() <= 1
        assert x.equal(again[key])
    assert any(not x.equal(data.item(2, 3)[0][key]) for key, x in item.items())


def test_domains_lengths_and_previews():
    data = synthetic(count=50, a={"channels": 3, "range": [0, 200], "page": None})
    assert data.resolved() == {
        "a": {"channels": 3, "range": [0, 200], "page": None},
        "b": {"channels": 3, "range": [0, 255], "page": None},
    }
    assert len(data) == data.files == 50
    assert [data.length(split) for split in ("train", "val", "test")] == [50, 5, 5]
    assert len(data.previews(4)) == 4 and len(data.previews(9)) == 5
    assert data.previews(1)[0]["input"].shape == (48, 48, 3)
    assert not np.array_equal(data.previews(1)[0]["input"], data.pictures(0, 0)[0]["input"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"crop_size": 49}, r"crop_size 49 is larger than the pictures, 48 x 48 as drawn"),
        ({"load_size": 30}, r"crop_size 32 is larger than the pictures, 30 x 30 after load_size"),
        ({"path": "datasets/facades"}, r"drawn, not read\. Set data\.path to null"),
        ({"size": 15}, r"size 15 is too small"),
        ({"size": 15, "load_size": 32}, r"size 15 is too small"),
        ({"count": 0}, r"count 0: .* at least one"),
        ({"pairing": "both"}, r"pairing 'both' is not one of paired, unpaired"),
        ({"pairing": "unpaired", "direction": "ba"}, r"direction 'ba': .* unpaired data both ways"),
        ({"b": {"channels": 1, "range": "auto"}}, r"Set data\.b\.channels to 3 or auto"),
        ({"a": {"channels": 3, "range": [0, 300]}}, r"data\.a: range \[0, 300\]"),
    ],
)
def test_faults_are_told_in_words(changed, words):
    with pytest.raises(UserError, match=words):
        synthetic(**changed)


def test_a_folder_of_files_holds_what_is_drawn(tmp_path):
    from i2i.data.pictures import read

    both = write_folder(tmp_path / "new" / "both", 2, size=40)
    assert [path.name for path in both] == ["00000.png", "00001.png"]
    label, photo = draw(building_seed("test", 1), 40)
    assert np.array_equal(read(both[1]).pixels, np.concatenate([label, photo], axis=1))
    for half, pixels in (("labels", label), ("photo", photo)):
        files = write_folder(tmp_path / half, 2, size=40, half=half)
        assert np.array_equal(read(files[1]).pixels, pixels)
    other = write_folder(tmp_path / "val", 2, "val", size=40, half="labels")
    assert not np.array_equal(read(other[1]).pixels, label)
    for wrong in ({"split": "trian"}, {"half": "left"}, {"size": 4}):
        with pytest.raises(UserError):
            write_folder(tmp_path / "none", 1, **{"size": 40, **wrong})


def test_whole_splits():
    data = synthetic(count=5)
    assert data.splits_there == ("train", "val", "test") and data.held_out
    assert [data.count(split) for split in data.splits_there] == [5, 4, 4]
    rows = list(data.whole("test"))
    assert len(rows) == 4 and [set(row) for row in rows] == [{"input", "target"}] * 4
    for index, row in enumerate(rows):
        label, photo = draw(building_seed("test", index), 48)
        assert np.array_equal(row["input"], label) and np.array_equal(row["target"], photo)
    data = synthetic("unpaired", count=5)
    photos = [row["b"] for row in data.whole("val", "b")]
    for index, photo in enumerate(photos):
        assert np.array_equal(photo, draw(building_seed("val", index, "b"), 48)[1])
    with pytest.raises(UserError, match="Name one key, a or b"):
        data.whole("val")
