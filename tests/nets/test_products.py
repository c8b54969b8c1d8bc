"""A convolution written as a product is that convolution, and the two rooms that write one so get the same bits."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from i2i.infer import deep
from i2i.infer.deep import Down, Up
from i2i.nets.products import convolved, deconvolved
from i2i.speed.matrix import product


def drawn(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_they_are_the_convolutions_in_float64(batch, bias):
    x, weight = drawn(batch, 4, 5, 7), drawn(6, 4, 2, 3)
    shift = drawn(6) if bias else None
    settings = {"stride": (1, 2), "padding": (0, 2), "dilation": (2, 1)}
    assert (convolved(x, weight, shift, **settings) - F.conv2d(x, weight, shift, **settings)).abs().max() < 1e-13
    settings["output_padding"] = (0, 1)
    weight = drawn(4, 6, 2, 3)
    ours = deconvolved(x, weight.flatten(1).t(), shift, kernel=(2, 3), **settings)
    assert (ours - F.conv_transpose2d(x, weight, shift, **settings)).abs().max() < 1e-13


@pytest.mark.parametrize("make", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_training_and_translating_get_the_same_bits(make, dtype, monkeypatch):
    monkeypatch.setattr(deep, "LARGE", 1)
    torch.manual_seed(0)
    layer = make(48, 40, 4, stride=2, padding=1).to(dtype)
    x = drawn(1, 48, 4, 6, dtype=dtype)
    with torch.inference_mode():
        translated = (Down if make is nn.Conv2d else Up)(layer)(x)
    assert torch.equal(product(layer)(x), translated)
