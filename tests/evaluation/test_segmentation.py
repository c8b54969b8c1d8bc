"""The segmentation net: reads label maps as they are packed, learns from pairs, repeats itself, and is scored by hand."""

import cv2
import numpy as np
import pytest
import torch

from i2i.evaluation.segmentation import CMP, Segmenter, palette_of, scores

COLOURS = np.array([each.colour for each in CMP], np.uint8)
QUICK = {"size": 64, "steps": 30, "batch_size": 6, "encoder": "test_resnet", "width": 8, "say": lambda text: None}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def label_maps(count=4, side=128, seed=0):
    """int64 (N, H, W): boxes of the twelve classes on facade, of 16 pixels or more."""
    draw = np.random.default_rng(seed)
    maps = np.ones((count, side, side), np.int64)
    for each in maps:
        for label in draw.permutation(12):
            top, left = draw.integers(0, side - 16, 2)
            height, width = draw.integers(16, side // 3, 2)
            each[top : top + height, left : left + width] = label
    return maps


def jpeg(picture, quality=75):
    kind = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, data = cv2.imencode(".jpg", picture[:, :, ::-1], kind)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]


def test_the_twelve_classes_are_cmps_in_its_order():
    names = "background facade window door cornice sill balcony blind deco molding pillar shop"
    assert " ".join(each.name for each in CMP) == names
    assert len({each.colour for each in CMP}) == 12


def test_pure_colours_are_read_exactly():
    maps = label_maps()
    assert torch.equal(palette_of(COLOURS[maps]), torch.from_numpy(maps))
    floats = torch.from_numpy(COLOURS[maps]).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert torch.equal(palette_of(floats), torch.from_numpy(maps))


def test_colours_blurred_by_jpeg_are_read_better_than_by_the_nearest_colour():
    maps = label_maps()
    blurred = np.stack([jpeg(each) for each in COLOURS[maps]])
    square = ((blurred[..., None, :].astype(int) - COLOURS.astype(int)) ** 2).sum(-1)
    plain, found = square.argmin(-1), palette_of(blurred).numpy()
    assert (found != maps).mean() < 0.5 * (plain != maps).mean() and (found != maps).mean() < 0.02


def test_a_seam_takes_a_neighbours_class_and_no_third():
    """Halfway from facade (0, 48, 255) to shop (174, 0, 0) is (87, 24, 128), next to background (0, 0, 222)."""
    picture = np.empty((1, 4, 9, 3), np.uint8)
    picture[:, :, :4], picture[:, :, 4], picture[:, :, 5:] = CMP[1].colour, (70, 28, 152), CMP[11].colour
    assert set(palette_of(picture).unique().tolist()) == {1, 11}
    seam = np.full((1, 4, 4, 3), (70, 28, 152), np.uint8)
    assert palette_of(seam).unique().tolist() == [0]  # nothing clear anywhere: the nearest colour


def test_grey_label_maps_are_refused():
    with pytest.raises(ValueError, match="1 channels"):
        palette_of(np.zeros((1, 8, 8, 1), np.uint8))


def test_scores_by_hand():
    truth = torch.tensor([[[0, 0, 0, 0], [1, 1, 3, 3]]])
    found = torch.tensor([[[0, 0, 0, 1], [1, 2, 3, 3]]])
    told = scores(truth, found, 4)
    assert told["per_pixel"] == 6 / 8 and told["majority"] == 0.5
    assert told["accuracies"] == [0.75, 0.5, None, 1]  # class 2 does not occur, though it is called
    assert told["ious"] == [pytest.approx(3 / 4), pytest.approx(1 / 3), None, 1]
    assert told["per_class"] == pytest.approx(2.25 / 3) and told["iou"] == pytest.approx((3 / 4 + 1 / 3 + 1) / 3)
    with pytest.raises(ValueError, match="alike"):
        scores(truth, found[:, :1], 4)


def pairs(count=24, side=64, seed=0):
    """Photos whose brightness tells the class, in noise, of three classes that lie in boxes."""
    draw = np.random.default_rng(seed)
    labels = label_maps(count, side, seed) % 3
    photos = labels[..., None] * 80 + draw.integers(0, 60, (count, side, side, 3))
    return photos.astype(np.uint8), labels


def test_it_learns_and_says_how_well():
    (x, y), (u, v), said = pairs(), pairs(6, seed=1), []
    found = Segmenter.fit(x, y, seed=0, classes=3, validation=(u, v), **{**QUICK, "say": said.append})
    told = found.meta["validation"]
    assert told == scores(torch.from_numpy(v), found.predict(u), 3)
    assert told["per_pixel"] > 0.9 > told["majority"] + 0.2
    assert len(said) == 2 and f"{told['per_pixel']:.1%}" in said[1] and f"{told['majority']:.1%}" in said[1]
    assert found.meta["settings"]["encoder"] == "test_resnet" and found.meta["count"] == 24


def test_the_same_seed_is_the_same_net_and_another_is_not(monkeypatch, tmp_path):
    x, y = pairs(8)
    hashes = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        monkeypatch.setenv("I2I_CACHE", str(tmp_path / place))  # made each time
        torch.manual_seed(len(hashes))
        before = torch.get_rng_state()
        hashes.append(Segmenter.fit(x, y, seed=seed, classes=3, **{**QUICK, "steps": 3}).hash)
        assert torch.equal(torch.get_rng_state(), before)
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_stored_is_what_was_fitted():
    x, y = pairs(8)
    said = []
    quick = {**QUICK, "steps": 3, "say": said.append, "classes": 3}
    first = Segmenter.fit(x, y, seed=0, **quick)
    second = Segmenter.fit(x, y, seed=0, **quick)
    assert len(said) == 2 and second.hash == first.hash and second.meta["validation"] is None
    assert torch.equal(first.predict(x), second.predict(x))
    Segmenter.fit(x, y, seed=0, **{**quick, "width": 4})
    assert len(said) == 4


def test_photos_of_any_size_come_back_at_theirs():
    x, y = pairs(8)
    found = Segmenter.fit(x, y, seed=0, classes=3, **{**QUICK, "steps": 3})
    large = np.repeat(np.repeat(x, 2, 1), 2, 2)[:, :, :100]
    assert found.predict(large).shape == (8, 128, 100) and found.predict(large).dtype == torch.int64
    assert found.predict(large[:0]).shape == (0, 128, 100)
    assert torch.equal(found.predict(x[:3]), found.predict(x)[:3])  # no picture sees its neighbours


def test_larger_pairs_are_brought_to_the_size_of_the_fit():
    x, y = pairs(8)
    twice = np.repeat(np.repeat(x, 2, 1), 2, 2), np.repeat(np.repeat(y, 2, 1), 2, 2)
    found = Segmenter.fit(*twice, seed=0, classes=3, validation=twice, **{**QUICK, "steps": 3})
    assert found.meta["settings"]["size"] == 64 and found.meta["validation"]["per_pixel"] > 0


@pytest.mark.parametrize(
    "change, words",
    [
        ({"size": 100}, "multiples of 32"),
        ({"size": 32}, "from 64 up"),
        ({"classes": 2}, "below 2"),
        ({"label_indices": np.zeros((8, 32, 32), int)}, "one height and width"),
        ({"label_indices": np.zeros((7, 64, 64), int)}, "one for each of 8"),
        ({"photos": np.zeros((0, 64, 64, 3), np.uint8), "label_indices": np.zeros((0, 64, 64), int)}, "at least one"),
        ({"steps": 0}, "steps is 0"),
        ({"encoder": "vit_tiny_patch16_224"}, "encoder is"),
        ({"validation": (np.zeros((1, 64, 64, 1), np.uint8), np.zeros((1, 64, 64), int))}, "other channels"),
    ],
)
def test_what_does_not_fit_is_refused(cache, change, words):
    x, y = pairs(8)
    args = {"photos": x, "label_indices": y, "seed": 0, "classes": 3, **QUICK, **change}
    with pytest.raises(ValueError, match=words):
        Segmenter.fit(args.pop("photos"), args.pop("label_indices"), **args)
    assert not cache.exists()


def test_photos_of_other_channels_are_refused():
    x, y = pairs(8)
    found = Segmenter.fit(x, y, seed=0, classes=3, **{**QUICK, "steps": 1})
    with pytest.raises(ValueError, match="1 channels; the net was fitted to 3"):
        found.predict(x[..., :1])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_facades_far_above_the_commonest_class(real_data):
    folder = real_data("facades")

    def read(split):
        files = sorted((folder / split).glob("*.jpg"))
        both = np.stack([cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1] for file in files])
        return both[:, :, :256], palette_of(both[:, :, 256:])

    found = Segmenter.fit(*read("train"), size=128, seed=0, validation=read("val"))
    told = found.meta["validation"]
    assert told["majority"] == pytest.approx(0.39, abs=0.005)  # facade
    assert told["per_pixel"] > 0.63 and told["per_class"] > 0.38 and told["iou"] > 0.28, told
