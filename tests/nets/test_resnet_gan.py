"""The residual networks against the papers' and their code's numbers, and against functions."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from i2i.nets.resnet_gan import CriticBlock, ResNetGANDiscriminator, ResNetGANGenerator, UpBlock

SIZES = {8: (4, 1), 16: (4, 2), 28: (7, 2), 32: (4, 3), 48: (6, 3), 64: (4, 4), 128: (4, 5), 256: (4, 6)}


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def of_kind(net, *kinds):
    return [module for module in net.modules() if isinstance(module, kinds)]


def weighted(net):
    return of_kind(net, nn.Conv2d, nn.Linear)


def filled(net):
    """Weights that leave nothing near zero or saturated, and norms that are not the identity."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in weighted(net):
            module.weight.normal_(0, module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                module.bias.normal_(0, 0.2)
        for norm in of_kind(net, nn.BatchNorm2d, nn.GroupNorm):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
    return net


def convolved(x, conv):
    return F.conv2d(x, conv.weight, conv.bias, padding=conv.kernel_size[0] // 2)


def normed(x, norm, axes):
    mean, var = x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]


def doubled(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def halved(x):
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


@pytest.mark.parametrize("size", SIZES)
def test_the_sides_of_a_generator(size):
    base, k = SIZES[size]
    net, seen = ResNetGANGenerator(5, 3, size, width=2), []
    for layer in net.blocks:
        layer.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    picture = net(torch.randn(2, 5))
    assert seen == [(2, 2, base * 2**i, base * 2**i) for i in range(1, k + 1)]
    assert picture.shape == (2, 3, size, size) and net.size == size


@pytest.mark.parametrize("size", SIZES)
def test_the_sides_of_a_discriminator(size):
    """Halved to twice the base, and kept there by two blocks: at 32 px 16, 8, 8, 8."""
    base, k = SIZES[size]
    net = ResNetGANDiscriminator(3, size, width=2)
    logits, maps = net(torch.rand(2, 3, size, size) * 2 - 1, features=True)
    sides = [size >> i for i in range(1, max(1, k - 1) + 1)]
    assert [tuple(each.shape) for each in maps] == [(2, 2, side, side) for side in [*sides, sides[-1], sides[-1]]]
    assert sides[-1] == (2 * base if k > 1 else base)
    assert logits.shape == (2, 1)


def test_the_numbers_of_parameters_of_sngan():
    """CIFAR-10: G of width 256 has 4.276 million, D of width 128 1.05 million. Theirs has biases where BatchNorm subtracts
    them again, those of 3 convolutions of width 256 in each of 3 blocks, and D's last layer has none."""
    linear = 128 * 256 * 16 + 256 * 16
    block = 2 * (256 * 256 * 9) + 256 * 256 + 2 * 2 * 256  # two 3x3 and one 1x1 convolutions, two norms
    last = 2 * 256 + 256 * 3 * 9 + 3
    ours = count(ResNetGANGenerator(128, 3, 32, width=256))
    assert ours == linear + 3 * block + last == 4_274_435
    assert ours + 3 * 3 * 256 == 4_276_739
    first = (3 * 128 * 9 + 128) + (128 * 128 * 9 + 128) + (3 * 128 + 128)
    halving = 2 * (128 * 128 * 9 + 128) + (128 * 128 + 128)
    keeping = 2 * (128 * 128 * 9 + 128)
    critic = count(ResNetGANDiscriminator(3, 32))
    assert critic == first + halving + 2 * keeping + 129 == 1_053_825
    assert count(ResNetGANDiscriminator(3, 32, spectral_norm=True)) == critic


def test_the_numbers_of_parameters_of_wgan_gp():
    """CIFAR-10: width 128 in both. With layer norm D has a scale and a shift per channel before each convolution of three
    blocks; with batch or instance norm also, or neither, and no bias between the two."""
    linear = 128 * 128 * 16 + 128 * 16
    block = 2 * (128 * 128 * 9) + 128 * 128 + 2 * 2 * 128
    expected = linear + 3 * block + 2 * 128 + 128 * 3 * 9 + 3
    assert count(ResNetGANGenerator(128, 3, 32)) == expected == 1_203_331
    critic = count(ResNetGANDiscriminator(3, 32, pool="mean"))
    assert critic == 1_053_825
    assert count(ResNetGANDiscriminator(3, 32, norm="layer")) == critic + 3 * 2 * 2 * 128
    assert count(ResNetGANDiscriminator(3, 32, norm="batch")) == critic + 3 * 2 * 2 * 128 - 3 * 128
    assert count(ResNetGANDiscriminator(3, 32, norm="instance")) == critic - 3 * 128


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_generator_is_its_functions(norm):
    """The skip doubles first here, as the papers have it, and last in the network, where it costs a quarter."""
    net = filled(ResNetGANGenerator(6, 2, 16, width=3, norm=norm).double())
    z = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)

    def before(h, layer):
        return (normed(h, layer, (0, 2, 3)) if norm == "batch" else h).clamp_min(0)

    x = (z @ net.project.weight.T + net.project.bias).reshape(4, 3, 4, 4)
    for layer in net.blocks:
        f = layer.residual
        h = convolved(doubled(before(x, getattr(f, "norm1", None))), f.conv1)
        h = convolved(before(h, getattr(f, "norm2", None)), f.conv2)
        x = convolved(doubled(x), layer.skip.conv) + h
    x = torch.tanh(convolved(before(x, getattr(net.head, "norm", None)), net.head.conv))
    assert torch.allclose(net(z), x, rtol=0, atol=1e-12)
    weight = torch.randn_like(x)
    ours, theirs = (torch.autograd.grad((each * weight).sum(), z)[0] for each in (net(z), x))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-11)  # a ReLU in place would write to what the skip needs again


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("pool", ["sum", "mean"])
def test_a_discriminator_is_its_functions(norm, pool):
    """At 16 px: a first block that halves, two that keep the side."""
    net = filled(ResNetGANDiscriminator(2, 16, width=3, norm=norm, pool=pool).double())
    x = torch.rand(3, 2, 16, 16, dtype=torch.float64) * 2 - 1

    def before(h, layer):
        return (normed(h, layer, (1, 2, 3)) if norm == "layer" else h).clamp_min(0)

    f = net.blocks[0].residual
    h = halved(convolved(convolved(x, f.conv1).clamp_min(0), f.conv2)) + convolved(halved(x), net.blocks[0].skip.conv)
    for layer in net.blocks[1:]:
        f = layer.residual
        inner = convolved(before(h, getattr(f, "norm1", None)), f.conv1)
        h = h + convolved(before(inner, getattr(f, "norm2", None)), f.conv2)
    h = h.clamp_min(0)
    h = h.sum((2, 3)) if pool == "sum" else h.mean((2, 3))
    expected = h @ net.head.weight.T + net.head.bias
    assert torch.allclose(net(x), expected, rtol=0, atol=1e-11)


def test_a_block_that_halves_is_its_functions():
    block = filled(CriticBlock(3, 3, norm="batch", halve=True).double())
    x = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    f, axes = block.residual, (0, 2, 3)
    h = convolved(normed(x, f.norm1, axes).clamp_min(0), f.conv1)
    h = halved(convolved(normed(h, f.norm2, axes).clamp_min(0), f.conv2))
    expected = h + halved(convolved(x, block.skip.conv))
    assert torch.allclose(block(x), expected, rtol=0, atol=1e-12)


def test_the_sum_is_the_mean_times_the_pixels():
    summed, averaged = ResNetGANDiscriminator(1, 32, width=4), ResNetGANDiscriminator(1, 32, width=4, pool="mean")
    averaged.load_state_dict(summed.state_dict())
    x = torch.rand(2, 1, 32, 32) * 2 - 1
    assert torch.allclose(summed(x), 64 * averaged(x), rtol=1e-4)  # heads without a bias yet, maps of 8 x 8
    with pytest.raises(ValueError, match="pool is 'max'; it must be one of sum, mean"):
        ResNetGANDiscriminator(1, 32, pool="max")


def test_layer_norm_treats_each_picture_alone_and_batch_norm_does_not():
    """What a gradient penalty asks of D (WGAN-GP, section 4)."""
    torch.manual_seed(0)
    x = torch.rand(4, 1, 16, 16) * 2 - 1
    for norm in ("none", "layer", "instance", "batch"):
        net = filled(ResNetGANDiscriminator(1, 16, width=4, norm=norm)).train()
        assert torch.allclose(net(x)[:2], net(x[:2]), rtol=1e-4, atol=1e-3) == (norm != "batch"), norm
        assert bool(of_kind(net, nn.BatchNorm2d)) == (norm == "batch")


def test_no_bias_where_a_norm_subtracts_it():
    """G's reach the last norm by the skips; D's reach the logit but for those between two norms of a block."""
    for norm in ("batch", "instance"):
        G, D = ResNetGANGenerator(4, 1, 16, width=2, norm=norm), ResNetGANDiscriminator(1, 16, width=2, norm=norm)
        for block in of_kind(G, UpBlock):
            assert [conv.bias for conv in of_kind(block, nn.Conv2d)] == [None] * 3
        assert [block.residual.conv1.bias is None for block in of_kind(D, CriticBlock)] == [False, True, True]
        assert G.head.conv.bias is not None and G.project.bias is not None
    for net in (ResNetGANGenerator(4, 1, 16, norm="none"), ResNetGANDiscriminator(1, 16, norm="layer")):
        assert all(module.bias is not None for module in weighted(net))


def test_first_weights_of_both_papers():
    """Uniform after Glorot and Bengio: sqrt(2) times as wide in the 3x3 convolutions of blocks, biases zero."""
    torch.manual_seed(0)
    for net in (ResNetGANGenerator(64, 3, 16, width=32), ResNetGANDiscriminator(3, 16, width=32)):
        wide = [conv for b in net.blocks for conv in (b.residual.conv1, b.residual.conv2)]
        for module in weighted(net):
            into, out = module.weight[0].numel(), module.weight[:, 0].numel()
            bound = math.sqrt(6 / (into + out)) * (math.sqrt(2) if module in wide else 1)
            n = module.weight.numel()
            assert bound * (1 - 10 / n) < module.weight.abs().max() <= bound * (1 + 1e-6), module
            assert module.bias is None or module.bias.count_nonzero() == 0
    for init, wider in (("xavier_0.5", True), ("normal_0.02", False), ("orthogonal_1", False)):
        net = ResNetGANDiscriminator(3, 16, width=64, init=init)
        keeping = net.blocks[1].residual.conv1.weight
        std = {"xavier_0.5": 0.5 * math.sqrt(2 / (2 * 64 * 9)), "normal_0.02": 0.02, "orthogonal_1": (64 * 9) ** -0.5}
        assert keeping.std().item() == pytest.approx(std[init] * (math.sqrt(2) if wider else 1), rel=0.03), init


def test_spectral_norm_is_on_every_layer():
    G = ResNetGANGenerator(4, 1, 32, width=2, spectral_norm=True)
    D = ResNetGANDiscriminator(1, 32, width=2, spectral_norm=True)
    assert len(weighted(G)) == 1 + 3 * 3 + 1
    assert len(weighted(D)) == 3 + 3 + 2 + 2 + 1
    assert all(parametrize.is_parametrized(module, "weight") for net in (G, D) for module in weighted(net))


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_pictures_stay_within_their_range_whatever_the_latents(norm):
    torch.manual_seed(0)
    net = ResNetGANGenerator(8, 3, 16, width=8, norm=norm, init="normal_0.5")
    picture = net(torch.randn(4, 8) * 100)
    assert picture.min() >= -1 and picture.max() <= 1
    assert picture.min() < -0.99 and picture.max() > 0.99  # and fill it


def test_batch_norm_in_training_and_in_use():
    torch.manual_seed(0)
    net = ResNetGANGenerator(8, 1, 16, width=4)
    z = torch.randn(6, 8)
    assert not torch.allclose(net(z)[:2], net(z[:2]), atol=1e-4)
    norms = of_kind(net, nn.BatchNorm2d)
    assert len(norms) == 5 and all(norm.num_batches_tracked == 2 for norm in norms)
    assert all(norm.running_mean.count_nonzero() for norm in norms)
    net.eval()
    assert torch.allclose(net(z)[:2], net(z[:2]), atol=1e-6)
    assert all(norm.num_batches_tracked == 2 for norm in norms)


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_feature_maps_are_not_written_to_afterwards(norm):
    """A ReLU in place at the head of the next block, or before the pooling, would take their negative half."""
    net = filled(ResNetGANDiscriminator(1, 16, width=4, norm=norm))
    _, maps = net(torch.rand(2, 1, 16, 16) * 2 - 1, features=True)
    assert all((each < 0).any() for each in maps)


@pytest.mark.parametrize(
    "build", [lambda size: ResNetGANGenerator(3, 1, size), lambda size: ResNetGANDiscriminator(1, size)]
)
def test_other_sizes_are_refused_in_words(build):
    with torch.device("meta"):
        with pytest.raises(ValueError, match="size is 50; it must be 4, 5, 6 or 7 times .* nearest are 48 and 56: set"):
            build(50)
        with pytest.raises(ValueError, match="size is 6; it must be a whole number of at least 8"):
            build(6)


@pytest.mark.parametrize("norm", ["none", "layer", "instance"])
def test_gradients_of_both_orders(norm):
    """A gradient penalty differentiates twice."""
    net = filled(ResNetGANDiscriminator(1, 8, width=2, norm=norm).double())
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,), eps=1e-7, atol=1e-5)
    assert torch.autograd.gradgradcheck(net, (x,), eps=1e-7, atol=1e-5)
