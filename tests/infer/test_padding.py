"""Padding is numpy.pad's reflection, whatever the sizes, and cropping gives back every bit."""

import itertools

import numpy as np
import pytest
import torch

from i2i.infer.padding import crop, pad


def picture(height: int, width: int) -> torch.Tensor:
    return torch.arange(2.0 * height * width).reshape(1, 2, height, width)


@pytest.mark.parametrize("multiple, minimum", [(1, 1), (1, 7), (4, 4), (4, 8), (16, 16), (256, 256)])
def test_equals_numpy_and_comes_back_exactly(multiple, minimum):
    sides = range(1, 21)
    pairs = itertools.product(sides, sides) if multiple < 256 else zip(sides, reversed(sides))
    for height, width in pairs:
        x = picture(height, width)
        padded, (top, left) = pad(x, multiple, minimum)
        tall, wide = padded.shape[-2:]
        for side, had in ((tall, height), (wide, width)):
            assert side % multiple == 0 and side >= max(minimum, had)
            assert side - multiple < max(minimum, had)  # and not larger than needed
        around = [(0, 0), (0, 0), (top, tall - height - top), (left, wide - width - left)]
        assert all(after - before in (0, 1) for before, after in around)
        assert np.array_equal(padded.numpy(), np.pad(x.numpy(), around, mode="reflect"))
        assert torch.equal(crop(padded, (top, left), (height, width)), x)


def test_a_side_of_one_pixel_is_replicated():
    padded, corner = pad(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 4, 8)
    assert corner == (3, 2)
    assert padded.tolist() == [[[[3, 2, 1, 2, 3, 2, 1, 2]] * 8]]
    one = torch.full((1, 1, 1, 1), 0.5)
    assert np.array_equal(
        pad(one, 16, 16)[0].numpy(), np.pad(one.numpy(), [(0, 0), (0, 0), (7, 8), (7, 8)], mode="edge")
    )


def test_a_picture_that_fits_is_not_copied():
    x = picture(8, 12)
    padded, corner = pad(x, 4, 8)
    assert padded is x and corner == (0, 0)


def test_a_batch_is_padded_alike():
    x = torch.rand(3, 2, 5, 6)
    padded, _ = pad(x, 4, 4)
    assert torch.equal(padded[1:2], pad(x[1:2], 4, 4)[0])
