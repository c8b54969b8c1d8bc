"""Levels of a file <-> values in [-1, 1]."""

import numpy as np
import pytest
import torch

from i2i.data.domain import Domain
from i2i.errors import UserError


def levels(depth: int, channels: int = 1) -> np.ndarray:
    every = np.arange(2**depth, dtype=np.uint8 if depth == 8 else np.uint16)
    return np.stack([np.roll(every, 7 * c) for c in range(channels)], axis=-1).reshape(2 ** (depth // 2), -1, channels)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_level_comes_back(depth, channels):
    domain = Domain(channels, (0, 2**depth - 1), depth)
    pixels = levels(depth, channels)
    x = domain.to_tensor(pixels)
    assert x.shape == (channels, *pixels.shape[:2]) and x.dtype == torch.float32 and x.is_contiguous()
    assert x.min() == -1 and x.max() == 1
    back = domain.to_pixels(x)
    assert back.dtype == pixels.dtype and np.array_equal(back, pixels)


@pytest.mark.parametrize(
    ("span", "depth"), [((16, 235), 8), ((0, 1), 8), ((3, 4), 8), ((0, 4095), 16), ((1000, 60001), 16), ((0.5, 9.5), 8)]
)
def test_a_range_has_exact_ends_and_clips(span, depth):
    domain = Domain(1, span, depth)
    pixels = levels(depth)
    x = domain.to_tensor(pixels)
    inside = (pixels[..., 0] >= span[0]) & (pixels[..., 0] <= span[1])
    assert x.min() == -1 and x.max() == 1
    below, above = torch.from_numpy(pixels[..., 0] < span[0]), torch.from_numpy(pixels[..., 0] > span[1])
    assert (x[0][below] == -1).all() and (x[0][above] == 1).all()
    assert np.array_equal(domain.to_pixels(x)[inside], pixels[inside])


def test_the_numbers_are_those_of_the_usual_pipeline():
    x = Domain(3, (0, 255), 8).to_tensor(levels(8, 3))
    usual = (torch.from_numpy(levels(8, 3)).permute(2, 0, 1).float() / 255 - 0.5) / 0.5
    assert torch.equal(x, usual)


@pytest.mark.parametrize("depth", [8, 16, 32])
@pytest.mark.parametrize("span", [(0, 200), (3, 90)])
def test_a_stack_of_pictures_is_each_of_them(depth, span):
    domain = Domain(2, span, depth)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 2)).astype(domain.dtype)
    x = domain.to_tensor(pixels)
    assert x.is_contiguous() and torch.equal(x, torch.stack([domain.to_tensor(each) for each in pixels]))


def test_values_are_clamped_and_halves_are_rounded_up():
    domain = Domain(1, (0, 4), 8)
    x = torch.tensor(
        [[[-9.0, -1.0, -0.75, -0.25, 0.0, 0.249, 0.25, 1.0, 9.0]]]
    )  # levels -16, 0, 0.5, 1.5, 2, 2.498, 2.5, 4, 20
    assert domain.to_pixels(x).tolist() == [[[0], [0], [1], [2], [2], [2], [3], [4], [4]]]
    assert domain.to_pixels(x.half().requires_grad_()).dtype == np.uint8


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_not_written(value):
    with pytest.raises(UserError, match="not finite"):
        Domain(1, (0, 255), 8).to_pixels(torch.full((1, 2, 2), value))


def test_pixels_of_another_domain_are_refused():
    domain = Domain(3, (0, 255), 8)
    for pixels in (
        np.zeros((2, 2, 3), np.uint16),
        np.zeros((2, 2, 1), np.uint8),
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 3), np.uint8),
        np.zeros((2, 2, 2, 2, 3), np.uint8),
        np.zeros((2, 2, 3)),
    ):
        with pytest.raises(ValueError, match=r"not of this domain, which is 8 bits, \(H, W, 3\)"):
            domain.to_tensor(pixels)


@pytest.mark.parametrize("span", [(0, 256), (-1, 255), (5, 5), (9, 3), (0, float("nan"))])
def test_a_range_that_no_level_has_is_refused(span):
    with pytest.raises(UserError, match="not a range of 8-bit levels, which go from 0 to 255"):
        Domain(3, span, 8)


def test_other_depths_and_no_channels_are_refused():
    with pytest.raises(UserError, match="depth 12"):
        Domain(3, (0, 255), 12)
    with pytest.raises(UserError, match="channels 0"):
        Domain(0, (0, 255), 8)


def test_a_domain_is_a_value():
    assert (
        Domain(3, [0, 255], 8) == Domain(3, (0, 255), 8) and len({Domain(3, [0, 255], 8), Domain(3, (0, 255), 8)}) == 1
    )


# ---------------------------------------------------------------------------------------------------- floats

SPANS = [(0, 1), (-1, 1), (-1000.0, 3000.0), (270.15, 310.9), (1e6, 1e6 + 1), (0, 1e-6), (-3e38, 3e38)]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("channels", [1, 2, 7])
def test_floats_come_back_within_a_millionth_of_the_range(span, channels):
    domain = Domain(channels, span, 32)
    low, high = span
    draws = np.random.default_rng(0).random((50, 60, channels))
    pixels = np.clip(draws * (high - low) + low, low, high).astype(np.float32)
    x = domain.to_tensor(pixels)
    assert x.dtype == torch.float32 and x.shape == (channels, 50, 60) and x.is_contiguous()
    back = domain.to_pixels(x)
    assert back.dtype == np.float32 and back.shape == pixels.shape
    held = np.spacing(np.float32(max(abs(low), abs(high))))  # what a float32 of this size can hold at all
    assert np.abs(back.astype(np.float64) - pixels).max() <= max(1e-6 * (high - low), held)


def test_the_ends_of_a_float_range_are_exact_and_what_lies_outside_is_clipped():
    domain = Domain(1, (-1000.0, 3000.0), 32)
    x = domain.to_tensor(np.float32([[[-5000], [-1000], [1000], [3000], [9e9]]]))
    assert x.tolist() == [[[-1, -1, 0, 1, 1]]]
    assert domain.to_pixels(x).ravel().tolist() == [-1000, -1000, 1000, 3000, 3000]


def test_floats_that_are_no_numbers_are_refused():
    for value in (np.nan, np.inf):
        with pytest.raises(UserError, match="not finite"):
            Domain(1, (0, 1), 32).to_tensor(np.full((2, 2, 1), value, np.float32))
    for span in ((0, float("inf")), (float("nan"), 1), (5, 5), (9, 3), (1, 1 + 1e-12), (0, 1e39)):
        with pytest.raises(UserError, match="not a range of 32-bit floats"):
            Domain(3, span, 32)
    with pytest.raises(ValueError, match=r"not of this domain, which is 32-bit floats, \(H, W, 1\)"):
        Domain(1, (0, 1), 32).to_tensor(np.zeros((2, 2, 1), np.uint8))


def test_a_page_goes_along_and_old_metadata_have_none():
    assert Domain(1, (0, 255), 8).page is None and Domain(**{"channels": 1, "range": [0, 255], "depth": 8}).page is None
    assert Domain(1, (0, 255), 8, 2) != Domain(1, (0, 255), 8)


@pytest.mark.parametrize(
    ("depth", "span", "levels"),
    [(8, (0, 255), [0, 51, 255]), (16, (0, 4095), [0, 819, 4095]), (32, (-2, 3), [-2, -1, 3])],
)
@pytest.mark.parametrize(("channels", "planes"), [(1, 1), (2, 1), (3, 3), (4, 3), (7, 3)])
def test_what_is_shown_fills_a_byte(depth, span, levels, channels, planes):
    domain = Domain(channels, span, depth)
    pixels = np.array(levels, domain.dtype)[None, :, None] + np.zeros((1, 1, channels), domain.dtype)
    shown = domain.shown(pixels)
    assert shown.dtype == np.uint8 and shown.shape == (1, 3, planes)
    assert (shown == np.uint8([0, 51, 255])[None, :, None]).all()
    one = np.zeros((1, 1, channels), domain.dtype)
    one[..., :planes] = np.arange(1, planes + 1)
    assert domain.shown(one).shape == (1, 1, planes)
    outside = np.full((1, 1, channels), 200, domain.dtype)
    assert Domain(channels, (0, 100), depth).shown(outside).max() == 255


def test_a_full_byte_is_shown_as_it_is():
    every = levels(8, 3)
    assert np.array_equal(Domain(3, (0, 255), 8).shown(every), every)
