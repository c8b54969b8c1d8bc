"""The deep layers as matrix products: the convolutions' results, whatever the size, and the same bits each time."""

import numpy as np
import pytest
import torch
from torch import nn

from i2i.infer import deep
from i2i.infer.deep import Down, Up, as_products
from i2i.infer.translator import Translator
from i2i.nets.resnet import ResNet
from i2i.nets.unet import UNet

SIDES = [(1, 1), (2, 2), (2, 4), (8, 8), (8, 10), (16, 18)]  # the last two are beyond what becomes a product


@pytest.fixture(autouse=True)
def layers_of_any_size(monkeypatch):
    monkeypatch.setattr(deep, "LARGE", 1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_they_are_the_convolutions_in_float64(bias, sides, batch):
    torch.manual_seed(0)
    down, up = nn.Conv2d(6, 10, 4, 2, 1, bias=bias).double(), nn.ConvTranspose2d(6, 10, 4, 2, 1, bias=bias).double()
    net = nn.ModuleDict({"down": down, "up": up})
    x = torch.randn(batch, 6, *sides, dtype=torch.float64)
    even = torch.randn(batch, 6, 2 * sides[0], 2 * sides[1], dtype=torch.float64)
    expected = down(even), up(x)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    assert as_products(net) is net and (type(net["down"]), type(net["up"])) == (Down, Up)
    for _ in range(2):
        assert (net["down"](even) - expected[0]).abs().max() < 1e-14
        assert (net["up"](x) - expected[1]).abs().max() < 1e-14
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_one_layer_takes_small_and_large_maps_in_any_order():
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(6, 10, 4, 2, 1).double()
    pictures = [torch.randn(1, 6, side, side, dtype=torch.float64) for side in (16, 4, 16, 2, 16)]
    expected = [layer(x) for x in pictures]
    up = Up(layer)
    for x, y in zip(pictures, expected, strict=True):
        assert (up(x) - y).abs().max() < 1e-14


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 6, 3, 2, 1),
        nn.Conv2d(6, 6, 4, 1, 1),
        nn.Conv2d(6, 6, 4, 2, 0),
        nn.Conv2d(6, 6, 4, 2, 1, groups=2),
        nn.Conv2d(6, 6, 4, 2, 1, padding_mode="reflect"),
        nn.ConvTranspose2d(6, 6, 3, 2, 1, output_padding=1),
        nn.ConvTranspose2d(6, 6, 4, 2, 1, output_padding=1),
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(6, 6, 4, 2, 1)),
    ],
    ids=str,
)
def test_other_layers_stay(layer):
    net = nn.Sequential(layer)
    as_products(net)
    assert net[0] is layer


def test_small_layers_stay(monkeypatch):
    monkeypatch.setattr(deep, "LARGE", 1 << 20)
    net = as_products(UNet(3, 3, num_downs=3, width=4))
    assert not [layer for layer in net.modules() if isinstance(layer, Down | Up)]


@pytest.mark.parametrize("policy", [("running", False), ("batch", True)])
def test_a_whole_u_net_gives_the_same_levels_but_for_rounding_and_the_same_bits_each_time(made, policy, monkeypatch):
    norm, dropout = policy
    pixels = np.random.default_rng(0).integers(0, 256, (128, 70, 3), dtype=np.uint8)
    with monkeypatch.context() as patched:
        patched.setattr(deep, "LARGE", 1 << 40)
        expected = Translator(*made("noisy", norm=norm, dropout=dropout)).pixels(pixels)
    translate = Translator(*made("noisy", norm=norm, dropout=dropout))
    assert sum(isinstance(layer, Down | Up) for layer in translate.net.modules()) == 12
    outputs = [translate.pixels(pixels) for _ in range(3)]
    assert all(np.array_equal(outputs[0], other) for other in outputs)
    difference = np.abs(outputs[0].astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3 and expected.std() > 20


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_the_last_layer_of_a_resnet_is_a_product_with_the_same_results(padding):
    torch.manual_seed(0)
    net = ResNet(3, 3, num_blocks=1, width=64, padding=padding).double().eval()
    x = torch.randn(1, 3, 16, 20, dtype=torch.float64)
    expected = net(x)
    changed = [name for name, layer in as_products(net).named_modules() if "forward" in vars(layer)]
    assert changed == ["head.conv"]
    with torch.inference_mode():
        assert (net(x) - expected).abs().max() < 1e-13
