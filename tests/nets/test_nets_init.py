import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i.nets import DISCRIMINATORS, GENERATORS
from i2i.nets.init import init_weights, spectral_normalise


def decoder(net):
    """A network without the encoder of timm's, which keeps its own first weights."""
    net.encoder = nn.Identity()
    return net


BUILT = {
    "unet": lambda **args: GENERATORS.build("unet", 3, 3, num_downs=4, width=16, **args),
    "resnet": lambda **args: GENERATORS.build("resnet", 3, 3, num_blocks=1, width=16, **args),
    "unet_timm": lambda **args: decoder(GENERATORS.build("unet_timm", 3, 3, encoder="test_resnet", width=16, **args)),
    "patchgan": lambda **args: DISCRIMINATORS.build("patchgan", 3, width=16, **args),
    "multiscale": lambda **args: DISCRIMINATORS.build("multiscale", 3, num_scales=2, width=16, **args),
    "pixel": lambda **args: DISCRIMINATORS.build("pixel", 3, **args),
}


def convolutions(net):
    return [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]


def test_every_network_is_here():
    assert set(BUILT) == {*GENERATORS.names(), *DISCRIMINATORS.names()}


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize(("args", "std"), [({}, 0.02), ({"init": "normal_0.1"}, 0.1), ({"init": "normal_5e-3"}, 0.005)])
def test_normal(name, args, std):
    torch.manual_seed(0)
    net = BUILT[name](norm="batch", **args)
    for conv in convolutions(net):
        n = conv.weight.numel()
        assert conv.weight.mean().abs() < 5 * std / math.sqrt(n)
        assert conv.weight.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * n))
        assert conv.bias is None or conv.bias.count_nonzero() == 0
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    scales = torch.cat([norm.weight for norm in norms])
    assert (scales.mean() - 1).abs() < 5 * std / math.sqrt(len(scales))
    assert scales.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * len(scales)))
    assert all(norm.bias.count_nonzero() == 0 for norm in norms)


@pytest.mark.parametrize("name", [name for name in BUILT if name != "unet_timm"])  # which has no spectral norm
def test_spectral_norm_leaves_the_drawn_weights_underneath(name):
    torch.manual_seed(0)
    drawn = [conv.weight.detach().clone() for conv in convolutions(BUILT[name](init="normal_0.3"))]
    torch.manual_seed(0)
    net = BUILT[name](init="normal_0.3", spectral_norm=True)
    for conv, weight in zip(convolutions(net), drawn):
        assert torch.equal(conv.parametrizations.weight.original, weight)
        rows = weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else weight
        sigma = torch.linalg.svdvals(rows.flatten(1))[0]
        assert torch.allclose(conv.eval().weight, weight / sigma, rtol=0.1, atol=1e-3)


def test_xavier_kaiming_and_orthogonal():
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 64, 3)
    init_weights(layer, "xavier_0.5")
    assert layer.weight.std().item() == pytest.approx(0.5 * math.sqrt(2 / (32 * 9 + 64 * 9)), rel=0.03)
    init_weights(layer, "kaiming")
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.03)
    init_weights(layer, "orthogonal_2")
    rows = layer.weight.flatten(1)
    assert torch.allclose(rows @ rows.T, 4 * torch.eye(64), atol=1e-4)
    assert layer.bias.count_nonzero() == 0
    norm = nn.BatchNorm2d(4)
    init_weights(norm, "xavier_0.5")
    assert torch.equal(norm.weight, torch.ones(4))


def test_linear_layers_too():
    layer = nn.Linear(200, 100)
    init_weights(layer, "normal_0.02")
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert layer.bias.count_nonzero() == 0


def test_default_is_pytorchs():
    torch.manual_seed(0)
    expected = nn.Conv2d(3, 8, 3)
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3)
    init_weights(layer, "default")
    assert torch.equal(layer.weight, expected.weight) and torch.equal(layer.bias, expected.bias)


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ("norml_0.02", "it must be one of normal_<std>.*Did you mean 'normal'"),
        ("", "it must be one of normal_<std>"),
        ("normal", "followed by a positive number, as in normal_0.02"),
        ("normal_", "followed by a positive number"),
        ("normal_0", "followed by a positive number"),
        ("normal_-0.02", "followed by a positive number"),
        ("normal_nan", "followed by a positive number"),
        ("normal_inf", "followed by a positive number"),
        ("normal_1e999", "followed by a positive number"),
        ("normal_0_2", "followed by a positive number"),
        ("xavier_big", "followed by a positive number, as in xavier_0.02"),
        ("kaiming_1", "kaiming takes no number. Write init: kaiming"),
        ("default_0.02", "default takes no number"),
    ],
)
def test_what_is_not_an_init_is_refused_in_words(init, words):
    with pytest.raises(ValueError, match=f"init is '{init}'; .*{words}"):
        init_weights(nn.Conv2d(1, 1, 1), init)


def test_weights_under_spectral_norm_are_not_silently_missed():
    with pytest.raises(ValueError, match="must come before spectral_normalise"):
        init_weights(spectral_norm(nn.Conv2d(1, 2, 3)), "normal_0.02")


def test_spectral_normalise_leaves_other_layers_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 3, 3))
    spectral_normalise(net)
    assert hasattr(net[0], "parametrizations") and hasattr(net[2], "parametrizations")
    assert not hasattr(net[1], "parametrizations")
