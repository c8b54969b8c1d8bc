"""Resize, crop, flip and the named pipelines: alike for all pictures of a call, and a function of the seed."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from i2i.data import TRANSFORMS
from i2i.data.transform import Transform
from i2i.errors import UserError
from i2i.seeds import derive

Y, X = np.mgrid[0:48, 0:48].astype(np.uint8)
PLACES = np.dstack([4 * Y, 4 * X, 100 + 0 * Y])  # every pixel says where it was
RGB16 = PLACES.astype(np.uint16) * 257


def moved(transform: Transform, seed: int, **pictures) -> dict[str, np.ndarray]:
    return transform(pictures, seed)


@pytest.mark.parametrize("pipeline", [None, "d4", "affine"])
@pytest.mark.parametrize("load_size", [None, 40, 60])
@pytest.mark.parametrize(
    "partner", [PLACES, PLACES[..., 1:2], RGB16, RGB16[..., 1:2]], ids=["rgb", "grey", "rgb 16", "grey 16"]
)
def test_all_pictures_of_a_call_move_alike(partner, load_size, pipeline):
    transform = Transform(load_size, 32, True, pipeline)
    seen = set()
    for seed in range(12):
        for first, second in ((PLACES, partner), (partner, PLACES)):
            out = moved(transform, seed, input=first, target=second)
            one, two = (out["input"], out["target"]) if first is PLACES else (out["target"], out["input"])
            assert one.shape == (32, 32, 3) and one.dtype == np.uint8
            assert two.shape == (32, 32, partner.shape[2]) and two.dtype == partner.dtype
            same = one if partner.shape[2] == 3 else one[..., 1:2]
            scale = 1 if partner.dtype == np.uint8 else 257
            assert np.abs(two / scale - same.astype(float)).max() <= (0 if scale == 1 else 1)
            seen.add(one.tobytes())
    assert len(seen) >= 11, "every seed draws its own"


def test_what_is_cut_out_is_a_square_of_the_picture_and_flips_happen():
    transform, flips = Transform(None, 32, True, None), 0
    corners = set()
    for seed in range(60):
        out = moved(transform, seed, a=PLACES)["a"]
        flipped = out[0, 0, 1] > out[0, -1, 1]
        upright = out[:, ::-1] if flipped else out
        top, left = upright[0, 0, :2] // 4
        assert np.array_equal(upright, PLACES[top : top + 32, left : left + 32])
        flips += flipped
        corners.add((top, left))
    assert 18 <= flips <= 42 and len(corners) > 40
    assert {top for top, _ in corners} >= {0, 16} or max(top for top, _ in corners) > 13
    still = Transform(None, 32, False, None)
    unflipped = [moved(still, seed, a=PLACES)["a"][0] for seed in range(20)]
    assert all(row[0, 1] < row[-1, 1] for row in unflipped)


def test_the_seed_and_nothing_else_decides():
    transform = Transform(40, 32, True, "affine")
    first = moved(transform, 5, a=PLACES)["a"]
    moved(transform, 6, a=PLACES)
    np.random.seed(0)
    assert np.array_equal(moved(transform, 5, a=PLACES)["a"], first)
    assert np.array_equal(moved(Transform(40, 32, True, "affine"), 5 + 2**32, a=PLACES)["a"], first)
    assert np.array_equal(moved(transform, 5, b=PLACES, c=PLACES)["c"], first), "keys and company do not matter"
    assert not np.array_equal(moved(transform, 7, a=PLACES)["a"], first)


@pytest.mark.parametrize(("shape", "resized"), [((30, 45), (40, 60)), ((90, 45), (80, 40)), ((40, 40), (40, 40))])
def test_load_size_is_the_shorter_side_and_keeps_the_aspect(shape, resized):
    picture = cv2.resize(PLACES, shape[::-1])
    kernel = cv2.INTER_AREA if shape[0] > resized[0] else cv2.INTER_CUBIC
    whole = cv2.resize(picture, resized[::-1], interpolation=kernel)
    out = moved(Transform(40, 40, False, None), 3, a=picture)["a"]
    windows = np.lib.stride_tricks.sliding_window_view(whole, (40, 40), axis=(0, 1)).reshape(-1, 3, 40, 40)
    assert any(np.array_equal(out, window.transpose(1, 2, 0)) for window in windows)


def test_d4_gives_the_eight_symmetries():
    picture = PLACES[:32, :32]
    turned = [np.rot90(p, k) for k in range(4) for p in (picture, picture[:, ::-1])]
    counts = [0] * 8
    for seed in range(120):
        out = moved(Transform(None, 32, False, "d4"), seed, a=picture)["a"]
        counts[next(n for n, other in enumerate(turned) if np.array_equal(out, other))] += 1
    assert min(counts) > 3


def test_affine_is_small_and_reflects():
    for seed in range(20):
        out = moved(Transform(None, 48, False, "affine"), seed, a=PLACES)["a"].astype(int)
        assert 0 < np.abs(out[16:32, 16:32, :2] - PLACES[16:32, 16:32, :2]).mean() < 4 * 4
        assert (out[..., 2] == 100).all(), "nothing black comes into view"


def test_the_named_pipelines():
    assert TRANSFORMS.names() == ["affine", "d4"]
    with pytest.raises(UserError, match=r"'d5' is not a transform\. Did you mean 'd4'"):
        Transform(None, 8, False, "d5")


# ------------------------------------------------------------------------------------- any channels, any type

SCALES = {np.uint8: 1, np.uint16: 257, np.float32: 1.7}
COUNTS = [1, 2, 3, 4, 7, 20]


def planes(channels: int, dtype: type) -> np.ndarray:
    """(48, 60, channels): no two channels alike; floats go below 0 and above 1."""
    smooth = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 60), dtype=np.uint8), (5, 5), 0)
    every = np.stack([np.roll(smooth, 3 * c, axis=1) for c in range(channels)], axis=-1)
    return (every.astype(np.float64) * SCALES[dtype] - (200 if dtype == np.float32 else 0)).astype(dtype)


@pytest.mark.parametrize("channels", COUNTS)
@pytest.mark.parametrize("dtype", SCALES)
@pytest.mark.parametrize(("load_size", "kernel"), [(36, cv2.INTER_AREA), (64, cv2.INTER_CUBIC)])
def test_every_channel_is_resized_as_opencv_resizes_it(channels, dtype, load_size, kernel):
    picture = planes(channels, dtype)
    side = (round(60 * load_size / 48), load_size)
    whole = np.dstack([cv2.resize(picture[..., c], side, interpolation=kernel) for c in range(channels)])
    out = moved(Transform(load_size, 32, False, None), 4, a=picture)["a"]
    assert out.dtype == dtype and out.shape == (32, 32, channels) and np.isfinite(out).all()
    windows = np.lib.stride_tricks.sliding_window_view(whole, (32, 32), axis=(0, 1))  # (y, x, C, 32, 32)
    distance = np.abs(windows.astype(np.float64) - out.transpose(2, 0, 1)).max(axis=(2, 3, 4)).min()
    assert distance <= (1e-3 if dtype == np.float32 else 1), "one rounding at most"


@pytest.mark.parametrize("channels", COUNTS)
@pytest.mark.parametrize("dtype", SCALES)
def test_crops_flips_and_symmetries_move_every_channel_exactly(channels, dtype):
    picture = planes(channels, dtype)
    for seed in range(6):
        out = moved(Transform(None, 40, True, "d4"), seed, a=picture)["a"]
        crops = [picture[y : y + 40, x : x + 40] for y in range(9) for x in range(21)]
        turned = (np.rot90(p, k) for crop in crops for k in range(4) for p in (crop, crop[:, ::-1]))
        assert out.dtype == dtype and any(np.array_equal(out, other) for other in turned)


@pytest.mark.parametrize("channels", COUNTS)
@pytest.mark.parametrize("dtype", SCALES)
def test_affine_moves_every_channel_as_it_would_alone(channels, dtype):
    picture, transform = planes(channels, dtype), Transform(None, 40, False, "affine")
    out = moved(transform, 3, a=picture)["a"]
    assert out.dtype == dtype and out.shape == (40, 40, channels)
    for c in range(channels):
        alone = moved(transform, 3, a=picture[..., c : c + 1].copy())["a"][..., 0]
        assert np.abs(alone.astype(np.float64) - out[..., c]).max() <= (1e-3 if dtype == np.float32 else 1)
    assert np.abs(out.astype(np.float64) - picture[4:44, 10:50]).mean() > 1, "it did move"


def test_sizes_that_cannot_be():
    with pytest.raises(UserError, match=r"load_size 30 is smaller than crop_size 32\. Set load_size to 32 or more"):
        Transform(30, 32, False, None)
    with pytest.raises(UserError, match=r"48 x 20 is smaller than crop_size 32\. Set load_size"):
        moved(Transform(None, 32, False, None), 0, a=PLACES[:20])
    with pytest.raises(UserError, match=r"one size, not input 48 x 48, target 48 x 47"):
        moved(Transform(None, 32, False, None), 0, input=PLACES, target=PLACES[:47])


def test_albumentations_is_imported_late_and_asks_the_network_for_nothing():
    look = (
        "import os, sys; from i2i.data.transform import Transform; t = Transform(None, 8, True, 'd4')\n"
        "print('albumentations' in sys.modules); t.prepare()\n"
        "print('albumentations' in sys.modules, os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    )
    bare = {key: value for key, value in os.environ.items() if not key.startswith("NO_ALB")}
    done = subprocess.run([sys.executable, "-c", look], env=bare, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "True", "1"], done.stderr


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("side", [24, 32, 47])
@pytest.mark.parametrize("further", [0, 9])
def test_what_has_no_pipeline_is_what_albumentations_makes_of_it(channels, dtype, side, further):
    noise = np.random.default_rng(side).integers(0, 256, (side, side + further, channels)).astype(dtype)
    noise.flags.writeable = False
    pictures = {"a": noise, "b": noise[..., :1]}
    for load_size, crop, flip in ((32, 32, True), (32, 20, False), (32, 24, True), (None, side, True), (None, 7, True)):
        transform = Transform(load_size, crop, flip, None)
        short = [transform(pictures, seed) for seed in range(2**32 - 8, 2**32 + 8)]
        long = [transform.composed(pictures, seed) for seed in range(2**32 - 8, 2**32 + 8)]
        again = [transform({k: transform.resized(p) for k, p in pictures.items()}, 2**32 - 8 + n) for n in range(16)]
        assert all(np.array_equal(one[key], two[key]) for one, two in zip(short, again) for key in pictures)
        for one, two in zip(short, long, strict=True):
            assert all(one[key].dtype == dtype and np.array_equal(one[key], two[key]) for key in pictures)
        different = len({one["a"].tobytes() for one in short})
        assert different == 2 if transform.still(side, side + further) else different > 5


@pytest.mark.parametrize("shape", [(30, 45), (90, 45), (41, 57), (40, 40), (33, 100)])
def test_a_picture_is_resized_as_a_call_does_it(shape):
    picture = cv2.resize(PLACES, shape[::-1])
    transform = Transform(40, 40, False, None)
    whole = transform.resized(picture)
    assert min(whole.shape[:2]) == 40
    out = moved(transform, 3, a=picture)["a"]
    windows = np.lib.stride_tricks.sliding_window_view(whole, (40, 40), axis=(0, 1)).reshape(-1, 3, 40, 40)
    assert any(np.array_equal(out, window.transpose(1, 2, 0)) for window in windows)
    top, left = (whole.shape[0] - 40) // 2, (whole.shape[1] - 40) // 2
    assert np.array_equal(transform.centred(picture), whole[top : top + 40, left : left + 40])


def test_where_nothing_is_to_be_done_the_pictures_come_back_at_once(monkeypatch):
    from i2i.data import transform as module

    monkeypatch.setattr(module, "_albumentations", lambda: pytest.fail("not needed"))
    transform = Transform(None, 48, False, None, shape=(48, 48))
    assert np.shares_memory(moved(transform, 1, a=PLACES)["a"], PLACES)
    transform.prepare()
    assert not Transform(None, 48, False, "d4").still(48, 48) and not Transform(None, 48, False).still(48, 49)
    assert not Transform(48, 40, False).still(48, 48) and Transform(40, 40, False).still(48, 48)


def test_where_the_crop_lies_says_nothing_about_the_flip():
    """Steps under one seed would draw alike: each has its own."""
    transform, draws = Transform(None, 8, True, None), []
    picture = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64, 1)
    for number in range(600):
        rows = transform({"a": picture}, derive("draw", number))["a"][:, :, 0].astype(int)
        flipped = rows[0, 1] < rows[0, 0]
        corner = rows[0, -1] if flipped else rows[0, 0]
        draws.append((flipped, corner // 64, corner % 64))
    found = np.corrcoef(np.array(draws, float).T)
    assert abs(found - np.eye(3)).max() < 0.12, "three standard errors of 600 independent draws"
    assert 0.44 < np.mean([flipped for flipped, _, _ in draws]) < 0.56
