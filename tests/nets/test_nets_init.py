import inspect
import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i.nets import DISCRIMINATORS, ENCODERS, GENERATORS
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
    "maxout": lambda **args: DISCRIMINATORS.build("maxout", 3, 8, width=32, **args),
    "dcgan generator": lambda **args: GENERATORS.build("dcgan", 100, 3, 16, width=16, **args),
    "dcgan discriminator": lambda **args: DISCRIMINATORS.build("dcgan", 3, 16, width=16, **args),
    "resnet_gan generator": lambda **args: GENERATORS.build("resnet_gan", 100, 3, 16, width=32, **args),
    "resnet_gan discriminator": lambda **args: DISCRIMINATORS.build("resnet_gan", 3, 16, width=32, **args),
    "mlp generator": lambda **args: GENERATORS.build("mlp", 100, 3, 8, width=200, **args),
    "mlp discriminator": lambda **args: DISCRIMINATORS.build("mlp", 3, 8, width=200, **args),
    "mlp encoder": lambda **args: ENCODERS.build("mlp", 3, 20, 8, width=200, **args),
}
FIRST = {  # weights of a network whose recipe does not say, where they are not normal_0.02
    "maxout": "uniform_0.005",
    "mlp generator": "uniform_0.05",
    "mlp discriminator": "default",
    "mlp encoder": "default",
    "resnet_gan generator": "xavier_uniform_1",
    "resnet_gan discriminator": "xavier_uniform_1",
}
NORMED = [name for name in BUILT if name not in ("maxout", "mlp discriminator", "mlp encoder")]


def weighted(net):
    """Its convolutions and linear layers."""
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    return [module for module in net.modules() if isinstance(module, kinds)]


def test_every_network_is_here():
    registries = (GENERATORS, DISCRIMINATORS, ENCODERS)
    known = [(name, registry.kind) for registry in registries for name in registry.names()]
    several = {name for name, _ in known if [other for other, _ in known].count(name) > 1}
    assert set(BUILT) == {f"{name} {kind}" if name in several else name for name, kind in known}
    for name, kind in known:
        registry = next(registry for registry in registries if registry.kind == kind)
        default = inspect.signature(registry.get(name)).parameters["init"].default
        assert default == FIRST.get(f"{name} {kind}" if name in several else name, "normal_0.02")


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize(("args", "std"), [({}, 0.02), ({"init": "normal_0.1"}, 0.1), ({"init": "normal_5e-3"}, 0.005)])
def test_normal(name, args, std):
    torch.manual_seed(0)
    args = {"init": "normal_0.02"} | args if name in FIRST else args
    normed = {"norm": "batch"} if name in NORMED else {}
    net = BUILT[name](**normed, **args)
    for layer in weighted(net):
        n = layer.weight.numel()
        assert layer.weight.mean().abs() < 5 * std / math.sqrt(n)
        assert layer.weight.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * n))
        assert layer.bias is None or layer.bias.count_nonzero() == 0
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert bool(norms) == bool(normed)
    if not norms:
        return
    scales = torch.cat([norm.weight for norm in norms])
    assert (scales.mean() - 1).abs() < 5 * std / math.sqrt(len(scales))
    assert scales.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * len(scales)))
    assert all(norm.bias.count_nonzero() == 0 for norm in norms)


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("span", [0.05, 0.005])
def test_uniform(name, span):
    """U(-a, a): within its bounds and close to them, mean 0, standard deviation a / sqrt(3); scales of norms stay 1."""
    torch.manual_seed(0)
    net = BUILT[name](init=f"uniform_{span}")
    for layer in weighted(net):
        n = layer.weight.numel()
        assert layer.weight.abs().max() <= span
        assert layer.weight.abs().max() >= span * (1 - 10 / n)
        assert layer.weight.mean().abs() < 5 * span / math.sqrt(3 * n)
        assert layer.weight.std().item() == pytest.approx(span / math.sqrt(3), rel=5 / math.sqrt(2 * n))
        assert layer.bias is None or layer.bias.count_nonzero() == 0
    assert all(m.weight.eq(1).all() for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d))


WITHOUT_SPECTRAL_NORM = ("unet_timm", "mlp generator", "mlp encoder")


@pytest.mark.parametrize("name", [name for name in BUILT if name not in WITHOUT_SPECTRAL_NORM])
def test_spectral_norm_leaves_the_drawn_weights_underneath(name):
    torch.manual_seed(0)
    drawn = [layer.weight.detach().clone() for layer in weighted(BUILT[name](init="normal_0.3"))]
    torch.manual_seed(0)
    net = BUILT[name](init="normal_0.3", spectral_norm=True)
    for layer, weight in zip(weighted(net), drawn, strict=True):
        assert torch.equal(layer.parametrizations.weight.original, weight)
        rows = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
        sigma = torch.linalg.svdvals(rows.flatten(1))[0]
        assert torch.allclose(layer.eval().weight, weight / sigma, rtol=0.1, atol=1e-3)


def test_xavier_kaiming_and_orthogonal():
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 64, 3)
    init_weights(layer, "xavier_0.5")
    assert layer.weight.std().item() == pytest.approx(0.5 * math.sqrt(2 / (32 * 9 + 64 * 9)), rel=0.03)
    init_weights(layer, "xavier_uniform_0.5")
    std = 0.5 * math.sqrt(2 / (32 * 9 + 64 * 9))
    assert layer.weight.std().item() == pytest.approx(std, rel=0.03)
    assert 0.999 * math.sqrt(3) * std < layer.weight.abs().max() <= math.sqrt(3) * std
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
        ("uniform", "followed by a positive number, as in uniform_0.02"),
        ("uniform_0", "followed by a positive number"),
        ("unifrom_0.05", "it must be one of .*uniform_<range>.*Did you mean 'uniform'"),
        ("xavier_big", "followed by a positive number, as in xavier_0.02"),
        ("xavier_uniform", "xavier_uniform_ must be followed by a positive number, as in xavier_uniform_0.02"),
        ("xavier_uniform_big", "followed by a positive number, as in xavier_uniform_0.02"),
        ("xavier_unifrom_1", "followed by a positive number, as in xavier_0.02"),
        ("xavier_uniformly_1", "it must be one of .*Did you mean 'xavier_uniform'"),
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
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 3, 3), nn.Linear(3, 2))
    spectral_normalise(net)
    assert [hasattr(layer, "parametrizations") for layer in net] == [True, False, True, True]


LAYERS = {
    "linear": lambda: nn.Linear(7, 5),
    "linear to one": lambda: nn.Linear(7, 1),
    "convolution": lambda: nn.Conv2d(3, 6, 4, stride=2, padding=1),
    "transposed": lambda: nn.ConvTranspose2d(3, 6, 4, stride=2, padding=1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_sigma_is_the_largest_singular_value(name):
    """After many power iterations the weight is the drawn one over the SVD's largest value, in float64: the matrix has
    a row for each output channel, which for a transposed convolution is the weight's second axis."""
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    drawn = layer.weight.detach().clone()
    out = getattr(layer, "out_channels", None) or layer.out_features
    rows = drawn.transpose(0, 1) if name == "transposed" else drawn
    largest = torch.linalg.svd(rows.reshape(out, -1)).S.max()
    net = nn.Sequential(layer)
    spectral_normalise(net)
    net.train()
    for _ in range(2000):
        _ = layer.weight
    net.eval()
    assert torch.allclose(layer.weight, drawn / largest, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ["linear", "linear to one"])
def test_a_normalised_linear_layer_is_1_lipschitz_and_no_less(name):
    """No two points are further apart behind it than before it, and along the first right singular vector as far."""
    torch.manual_seed(1)
    layer = LAYERS[name]().double()
    with torch.no_grad():
        layer.weight.mul_(30)
    direction = torch.linalg.svd(layer.weight.detach()).Vh[0]
    net = nn.Sequential(layer)
    spectral_normalise(net)
    for _ in range(2000):
        _ = layer.weight
    net.eval()
    a, b = torch.randn(2, 500, 7, dtype=torch.float64)
    before, behind = (a - b).norm(dim=1), (net(a) - net(b)).norm(dim=1)
    assert (behind <= before * (1 + 1e-9)).all()
    stretched = (net(a + direction) - net(a)).norm(dim=1)
    assert torch.allclose(stretched, torch.ones(500, dtype=torch.float64), atol=1e-9)
