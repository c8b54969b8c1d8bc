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
