"""Several PatchGANs on smaller and smaller pictures, against each of them by hand."""

import pytest
import torch
from making import batches, small_method
from torch.nn.utils import parametrize

from i2i.engine.summary import summary
from i2i.faults import RecipeError
from i2i.losses import OBJECTIVES
from i2i.losses.constraints import Clip, GradientPenalty
from i2i.methods import METHODS
from i2i.nets.multiscale import MOST, MultiScale, halved
from i2i.nets.patchgan import PatchGAN


def by_hand(x):
    """(B, C, H, W): each pixel the mean of the 3x3 around every second one, of those that are there."""
    batch, channels, height, width = x.shape
    y = x.new_zeros(batch, channels, (height + 1) // 2, (width + 1) // 2)
    for row in range(y.shape[2]):
        for column in range(y.shape[3]):
            rows = slice(max(2 * row - 1, 0), 2 * row + 2)
            columns = slice(max(2 * column - 1, 0), 2 * column + 2)
            y[:, :, row, column] = x[:, :, rows, columns].mean((2, 3))
    return y


@pytest.mark.parametrize("sides", [(4, 6), (5, 7), (1, 1), (2, 9)])
def test_halving(sides):
    x = torch.rand(2, 3, *sides, dtype=torch.float64)
    assert torch.allclose(halved(x), by_hand(x), atol=1e-12)


def test_numbers_worked_by_hand():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)  # 0 1 2 / 3 4 5 / 6 7 8
    assert halved(x).flatten().tolist() == [2.0, 3.0, 5.0, 6.0]  # of 0 1 3 4, of 1 2 4 5, and so on


@pytest.mark.parametrize("sides", [(40, 56), (37, 45)], ids=["even", "odd"])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_it_is_separate_patchgans_on_pooled_pictures(sides, spectral_norm):
    torch.manual_seed(0)
    net = (
        MultiScale(3, num_scales=3, num_layers=1, width=2, norm="instance", spectral_norm=spectral_norm).double().eval()
    )
    x = torch.rand(2, 3, *sides, dtype=torch.float64) * 2 - 1
    logits, maps = net(x, features=True)
    assert len(logits) == len(maps) == 3
    seen = x
    for index in range(3):
        alone = PatchGAN(3, num_layers=1, width=2, norm="instance", spectral_norm=spectral_norm).double().eval()
        prefix = f"scales.{index}."
        state = {key.removeprefix(prefix): v for key, v in net.state_dict().items() if key.startswith(prefix)}
        alone.load_state_dict(state)
        expected, features = alone(seen, features=True)
        assert torch.allclose(logits[index], expected, atol=1e-12)
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(maps[index], features))
        seen = by_hand(seen)
    assert all(torch.equal(a, b) for a, b in zip(net(x), logits))
    assert not torch.equal(net.scales[0].head.weight, net.scales[1].head.weight), "each has weights of its own"


@pytest.mark.parametrize(("num_scales", "num_layers"), [(1, 1), (2, 1), (3, 1), (2, 2), (3, 3)])
def test_the_minimum_is_the_least_that_the_coarsest_takes(num_scales, num_layers):
    net = MultiScale(1, num_scales=num_scales, num_layers=num_layers, width=1, norm="none")
    logits = net(torch.rand(1, 1, net.minimum, net.minimum))
    assert logits[-1].shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=f"MultiScale got .*at least {net.minimum}"):
        net(torch.rand(1, 1, net.minimum - 1, net.minimum))
    side = net.minimum - 1
    for _ in range(num_scales - 1):
        side = -(-side // 2)
    assert side < net.scales[0].minimum, "one pixel less is too little"


def test_the_papers_three_scales_at_256():
    with torch.device("meta"):
        net, pair = MultiScale(6), torch.empty(1, 6, 256, 256)
        single = PatchGAN(6)
    assert [tuple(scale.shape) for scale in net(pair)] == [(1, 1, 30, 30), (1, 1, 14, 14), (1, 1, 6, 6)]
    assert net.minimum == 93

    def count(each):
        return sum(parameter.numel() for parameter in each.parameters())

    assert count(net) == 3 * count(single)


def test_too_many_scales_are_refused():
    with pytest.raises(ValueError, match=f"num_scales is {MOST + 1}; it must be at most {MOST}"):
        MultiScale(3, num_scales=MOST + 1)


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_objectives_average_the_scales(name):
    torch.manual_seed(0)
    net = MultiScale(3, num_scales=2, num_layers=1, width=2, norm="instance").eval()
    real, fake = torch.rand(2, 3, 24, 24), torch.rand(2, 3, 24, 24)
    objective = OBJECTIVES.build(name)
    alone = [(net.scales[0](real), net.scales[0](fake))]
    alone += [(net.scales[1](halved(real)), net.scales[1](halved(fake)))]
    d = sum(objective.d_loss(r, f) for r, f in alone) / 2
    g = sum(objective.g_loss(f) for _, f in alone) / 2
    assert objective.d_loss(net(real), net(fake)).item() == pytest.approx(d.item(), rel=1e-6)
    assert objective.g_loss(net(fake)).item() == pytest.approx(g.item(), rel=1e-6)


def test_the_gradient_penalty_takes_the_mean_of_the_scales():
    torch.manual_seed(0)
    net = MultiScale(3, num_scales=2, num_layers=1, width=2, norm="instance").double()
    real, fake = torch.rand(2, 3, 24, 20, dtype=torch.float64), torch.rand(2, 3, 24, 20, dtype=torch.float64)
    torch.manual_seed(4)
    penalty = GradientPenalty(weight=10.0).penalty(net, real, fake)
    torch.manual_seed(4)
    u = torch.rand(2, 1, 1, 1)
    x = (u * real + (1 - u) * fake).requires_grad_()
    value = (net.scales[0](x).mean((1, 2, 3)) + net.scales[1](halved(x)).mean((1, 2, 3))) / 2
    (slope,) = torch.autograd.grad(value.sum(), x)
    expected = 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-10)
    penalty.backward()
    assert all(scale.blocks[0].conv.weight.grad.any() for scale in net.scales)


def test_clipping_reaches_every_scale():
    net = MultiScale(3, num_scales=2, num_layers=1, width=2)
    Clip(value=0.001).project(net)
    assert max(parameter.abs().max() for parameter in net.parameters()) <= 0.001


def test_spectral_norm_is_on_every_convolution():
    net = MultiScale(3, num_scales=2, num_layers=2, width=2, spectral_norm=True)
    normalised = [name for name, module in net.named_modules() if parametrize.is_parametrized(module)]
    assert len(normalised) == 2 * 4


D = "discriminator={name: multiscale, num_scales: 2, num_layers: 1, width: 4, norm: instance}"


GAMES = [METHODS.get(name) for name in METHODS.names()]


@pytest.mark.parametrize(
    "name", [n for n, game in zip(METHODS.names(), GAMES) if game.adversarial and not game.needs_labels]
)
@pytest.mark.parametrize(
    "extra",
    [
        ["train.precision=bf16"],
        ["augment.policy=[color, translation, cutout]"],
        ["method.objective=wasserstein", "method.constraint={name: gp}"],
        ["method.objective=hinge", "discriminator.spectral_norm=true"],
    ],
    ids=lambda extra: extra[0],
)
def test_it_trains_in_every_method(name, extra):
    method, _ = small_method(name, D, *extra)
    before = {net: module.state_dict() for net, module in method.nets.items()}
    before = {net: {key: value.clone() for key, value in state.items()} for net, state in before.items()}
    scalars = method.step(iter(batches(method, 1)))
    assert all(torch.isfinite(value) for value in scalars.values())
    for net in method.groups["D"]:
        moved = [
            key for key, value in method.nets[net].state_dict().items() if not torch.equal(value, before[net][key])
        ]
        assert {f"scales.{index}" for index in range(2)} <= {key[:8] for key in moved}
    shown = method.nets[method.groups["D"][0]](
        batches(method, 1)[0][method.keys[0]].repeat(1, 2, 1, 1)[:, : method.nets[method.groups["D"][0]].in_channels]
    )
    assert isinstance(shown, list) and all(logits.dtype == torch.float32 for logits in shown)


def test_the_summary_lists_every_scale():
    method, _ = small_method("pix2pix", D)
    table = summary(method, 32, 1)
    assert "scales.0.blocks.0.conv" in table and "scales.1.head" in table


def test_a_crop_that_is_too_small_names_fewer_scales():
    from making import small_recipe

    with pytest.raises(RecipeError, match=r"crop_size: 32 does not fit 'multiscale'.*num_scales=1, or a crop of 93"):
        small_recipe(
            "pix2pix", "discriminator={name: multiscale, num_scales: 3, num_layers: 3, width: 4}", "data.size=92"
        )
