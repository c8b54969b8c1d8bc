"""Variance of the Laplacian, by hand and under blur."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from i2i.errors import UserError
from i2i.metrics.sharpness import laplacian_variance


def test_by_hand():
    """One white pixel in the middle of 3 x 3: the Laplacian is -4 there, 2 at its four sides (the border mirrors: the
    pixel stands on both sides of each edge pixel), 0 in the corners. Mean 4/9, mean square 32/9, variance 272/81."""
    picture = np.zeros((3, 3, 1), dtype=np.uint8)
    picture[1, 1] = 255
    found = laplacian_variance([picture])
    assert found == {"mean": pytest.approx(272 / 81, abs=1e-12), "standard_error": None, "count": 1}


def test_the_luminance_of_colours():
    """Green alone weighs 0.587, so its variance is that squared."""
    grey = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    green = np.concatenate([0 * grey, grey, 0 * grey], axis=2)
    plain = laplacian_variance([grey])["mean"]
    assert laplacian_variance([green])["mean"] == pytest.approx(0.587**2 * plain, rel=1e-12)
    assert laplacian_variance([grey.repeat(3, axis=2)])["mean"] == pytest.approx(plain, rel=1e-12)


def test_the_type_and_range_do_not_matter():
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    plain = laplacian_variance([picture])["mean"]
    assert laplacian_variance([picture.astype(np.uint16) * 257])["mean"] == pytest.approx(plain, rel=1e-12)
    floats = picture / 127.5 - 1
    assert laplacian_variance([floats], value_range=(-1, 1))["mean"] == pytest.approx(plain, rel=1e-12)


def test_blur_lowers_it_every_time():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blurred = [picture, *(cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (0.5, 0.8, 1.2, 2, 4))]
    values = [laplacian_variance([one])["mean"] for one in blurred]
    assert all(low < high / 1.5 for high, low in pairwise(values))
    assert laplacian_variance([np.full((5, 5, 3), 90, dtype=np.uint8)])["mean"] == pytest.approx(0, abs=1e-24)


def test_many_pictures_come_one_at_a_time():
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (9, 7, 3), dtype=np.uint8) for _ in range(3)]
    singles = [laplacian_variance([picture])["mean"] for picture in pictures]
    found = laplacian_variance(iter(pictures))
    assert found["mean"] == pytest.approx(np.mean(singles)) and found["count"] == 3
    assert found["standard_error"] == pytest.approx(np.std(singles, ddof=1) / 3**0.5)


@pytest.mark.parametrize(
    "pictures, value_range, words",
    [
        ([], None, "no pictures"),
        ([np.zeros((4, 4), np.uint8)], None, r"shape \(4, 4\)"),
        ([np.zeros((4, 4, 4), np.uint8)], None, "4 channels"),
        ([np.zeros((4, 4, 3))], None, "float with a value range"),
        ([np.full((4, 4, 3), np.nan)], (0, 1), "NaN"),
        ([np.zeros((4, 4, 3), np.uint8)], (1, 1), r"\[1, 1\]"),
    ],
)
def test_what_has_no_luminance_is_refused(pictures, value_range, words):
    with pytest.raises(UserError, match=words):
        laplacian_variance(pictures, value_range=value_range)
