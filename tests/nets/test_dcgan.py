"""DCGAN against the paper's and the reference's numbers, against functions, and by the rules of its section 3."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from i2i.nets.dcgan import DCGANDiscriminator, DCGANGenerator

SIZES = {8: (4, 1), 16: (4, 2), 20: (5, 2), 24: (6, 2), 28: (7, 2), 32: (4, 3), 64: (4, 4), 128: (4, 5), 256: (4, 6)}


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def of_kind(net, *kinds):
    return [module for module in net.modules() if isinstance(module, kinds)]


def weighted(net):
    return of_kind(net, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def filled(net):
    """Weights of a size that leaves nothing near zero or saturated, and norms that are not the identity."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in weighted(net):
            module.weight.normal_(0, module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                module.bias.normal_(0, 0.2)
        for norm in of_kind(net, nn.BatchNorm2d):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
    return net


@pytest.mark.parametrize("size", SIZES)
def test_the_sides_and_widths_of_a_generator(size):
    """From base x base to size x size, each map twice as large and half as deep as the one before."""
    base, k = SIZES[size]
    net, seen = DCGANGenerator(5, 3, size, width=2), []
    for layer in (net.project, *net.blocks, net.head):
        layer.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    picture = net(torch.rand(2, 5) * 2 - 1)
    maps = [(2, 2 * 2 ** (k - 1 - i), base * 2**i, base * 2**i) for i in range(k)]
    assert seen == [*maps, (2, 3, size, size)]
    assert picture.shape == (2, 3, size, size) and net.size == size


@pytest.mark.parametrize("size", SIZES)
def test_the_sides_and_widths_of_a_discriminator(size):
    base, k = SIZES[size]
    net = DCGANDiscriminator(3, size, width=2)
    logits, maps = net(torch.rand(2, 3, size, size) * 2 - 1, features=True)
    assert [tuple(each.shape) for each in maps] == [(2, 2 * 2**i, size >> i + 1, size >> i + 1) for i in range(k)]
    assert maps[-1].shape[2:] == (base, base)
    assert logits.shape == (2, 1)


def test_the_reference_s_numbers_of_parameters():
    """At 64 px, width 64, z of 100 numbers, 3 channels; no biases, scale and shift of each norm."""
    kernels = 100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3
    assert count(DCGANGenerator(100, 3, 64)) == 16 * kernels + 2 * (512 + 256 + 128 + 64) == 3_576_704
    kernels = 3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512
    assert count(DCGANDiscriminator(3, 64)) == 16 * kernels + 2 * (128 + 256 + 512) == 2_765_568


def test_the_numbers_of_parameters_on_mnist_and_cifar10():
    """28 px begins and ends with kernels of 7 x 7."""
    expected = 49 * 100 * 128 + 16 * (128 * 64 + 64) + 2 * (128 + 64)
    assert count(DCGANGenerator(100, 1, 28)) == expected == 759_680
    expected = 16 * (64 + 64 * 128) + 49 * 128 + 2 * 128
    assert count(DCGANDiscriminator(1, 28)) == expected == 138_624
    expected = 16 * (100 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (256 + 128 + 64)
    assert count(DCGANGenerator(100, 3, 32)) == expected == 1_068_928
    expected = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256) + 2 * (128 + 256)
    assert count(DCGANDiscriminator(3, 32)) == expected == 663_296


def test_without_a_norm_every_layer_has_a_bias():
    without = 16 * (100 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
    assert count(DCGANGenerator(100, 3, 32, norm="none")) == without + 256 + 128 + 64 + 3
    without = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256)
    assert count(DCGANDiscriminator(3, 32, norm="none")) == without + 64 + 128 + 256 + 1


def test_the_figure_of_the_paper():
    """Figure 1: z of 100 numbers, 1024 x 4 x 4, 512 x 8 x 8, 256 x 16 x 16, 128 x 32 x 32, 3 x 64 x 64."""
    with torch.device("meta"):
        net, seen = DCGANGenerator(100, 3, 64, width=128), []
        for layer in (net.project, *net.blocks, net.head):
            layer.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape[1:])))
        net(torch.empty(2, 100))
    assert seen == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]


def test_the_guidelines_of_section_3():
    """No pooling and nothing fully connected; BatchNorm in all layers but G's output and D's input; ReLU and tanh in G,
    LeakyReLU in D."""
    G, D = DCGANGenerator(100, 3, 64, width=4), DCGANDiscriminator(3, 64, width=4)
    pools = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Linear, nn.Upsample)
    assert not of_kind(G, *pools) and not of_kind(D, *pools)
    assert [type(layer).__name__ for layer in G.head] == ["ConvTranspose2d", "Tanh"]
    for part in (G.project, *G.blocks):
        assert [type(layer).__name__ for layer in part] == ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert [type(layer).__name__ for layer in D.blocks[0]] == ["Conv2d", "LeakyReLU"]
    for part in D.blocks[1:]:
        assert [type(layer).__name__ for layer in part] == ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert all(act.negative_slope == 0.2 for act in of_kind(D, nn.LeakyReLU))
    assert all(conv.stride == (2, 2) and conv.kernel_size == (4, 4) for conv in of_kind(D, nn.Conv2d)[:-1])


@pytest.mark.parametrize("size", [16, 28])
def test_a_generator_is_its_functions(size):
    net = filled(DCGANGenerator(6, 2, size, width=3).double())
    z = torch.randn(4, 6, dtype=torch.float64)
    first, last = net.project.deconv.weight, net.head.up.weight
    x = torch.einsum("bz,zchw->bchw", z, first)  # the transposed convolution of a single pixel
    norms = [net.project.norm, *(layer.norm for layer in net.blocks)]
    for norm, following in zip(norms, [*(layer.up.weight for layer in net.blocks), last]):
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
        x = ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp_min(0)
        x = F.conv_transpose2d(x, following, stride=2, padding=1)
    assert torch.allclose(net(z), torch.tanh(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [16, 28])
def test_a_discriminator_is_its_functions(size):
    """The last layer is a linear one on the flattened map, as the paper has it."""
    net = filled(DCGANDiscriminator(2, size, width=3, norm="instance").double())
    x = torch.rand(3, 2, size, size, dtype=torch.float64) * 2 - 1
    h = x
    for i, layer in enumerate(net.blocks):
        h = F.conv2d(h, layer.conv.weight, layer.conv.bias, stride=2, padding=1)
        if i:
            h = (h - h.mean((2, 3), keepdim=True)) / (h.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
        h = torch.where(h > 0, h, 0.2 * h)
    expected = h.flatten(1) @ net.head.weight.flatten() + net.head.bias
    assert torch.allclose(net(x), expected[:, None], rtol=0, atol=1e-12)


def test_upsampling_by_three_ways_in_every_doubling():
    for upsample, kind in (("deconv", nn.ConvTranspose2d), ("resize", nn.Upsample), ("subpixel", nn.PixelShuffle)):
        net = DCGANGenerator(4, 1, 32, width=2, upsample=upsample)
        assert len(of_kind(net, kind)) == 3 + (
            upsample == "deconv"
        )  # the projection is a transposed convolution always
        assert net(torch.zeros(2, 4)).shape == (2, 1, 32, 32)


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("leaky_relu", nn.LeakyReLU), ("tanh", nn.Tanh)])
def test_activations(activation, kind):
    G, D = DCGANGenerator(4, 1, 16, width=2, activation=activation), DCGANDiscriminator(1, 16, width=2)
    assert [type(part.act) for part in (G.project, *G.blocks)] == [kind] * 2
    assert [type(layer.act) for layer in D.blocks] == [nn.LeakyReLU] * 2
    D = DCGANDiscriminator(1, 16, width=2, activation=activation)
    assert [type(layer.act) for layer in D.blocks] == [kind] * 2


@pytest.mark.parametrize("size", [8, 28, 32])
def test_spectral_norm_is_on_every_layer(size):
    for net in (
        DCGANGenerator(4, 1, size, width=2, spectral_norm=True),
        DCGANDiscriminator(1, size, width=2, spectral_norm=True),
    ):
        assert len(weighted(net)) == 1 + SIZES[size][1]
        assert all(parametrize.is_parametrized(module, "weight") for module in weighted(net))


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_pictures_stay_within_their_range_whatever_the_latents(norm):
    torch.manual_seed(0)
    net = DCGANGenerator(8, 3, 28, width=4, norm=norm, init="normal_1")
    picture = net(torch.randn(4, 8) * 100)
    assert picture.min() >= -1 and picture.max() <= 1
    assert picture.min() < -0.99 and picture.max() > 0.99  # and fill it


def test_batch_norm_in_training_and_in_use():
    """In training a sample depends on those beside it, and the statistics move; in use neither."""
    torch.manual_seed(0)
    net = DCGANGenerator(8, 1, 16, width=4)
    z = torch.randn(6, 8)
    before = {key: value.clone() for key, value in net.state_dict().items() if "running" in key}
    assert len(before) == 4
    assert not torch.allclose(net(z)[:2], net(z[:2]), atol=1e-4)
    moved = {key: value for key, value in net.state_dict().items() if "running" in key}
    assert all(not torch.equal(moved[key], before[key]) for key in before)
    net.eval()
    assert torch.allclose(net(z)[:2], net(z[:2]), atol=1e-6)
    assert net.train()(z[:1]).isfinite().all(), "one latent has the 16 places of its first map to compare"


def test_the_running_statistics_are_those_of_the_data():
    torch.manual_seed(0)
    net = filled(DCGANDiscriminator(1, 16, width=2).double())
    x = torch.rand(64, 1, 16, 16, dtype=torch.float64) * 2 - 1
    for _ in range(200):
        net(x)
    h = net.blocks[1].conv(net.blocks[0](x))
    norm = net.blocks[1].norm
    assert torch.allclose(norm.running_mean, h.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(norm.running_var, h.var((0, 2, 3)), rtol=1e-6)
    assert torch.allclose(net.eval()(x), net.train()(x), atol=1e-3)


@pytest.mark.parametrize("build", [lambda size: DCGANGenerator(3, 1, size), lambda size: DCGANDiscriminator(1, size)])
def test_other_sizes_are_refused_in_words(build):
    with torch.device("meta"):
        with pytest.raises(ValueError, match="size is 30; it must be 4, 5, 6 or 7 times .* nearest are 28 and 32: set"):
            build(30)
        with pytest.raises(ValueError, match="size is 1; it must be a whole number of at least 8"):
            build(1)


def test_gradients_of_both_orders():
    """A gradient penalty differentiates twice."""
    torch.manual_seed(0)
    net = filled(DCGANDiscriminator(1, 8, width=2, norm="instance", activation="tanh").double())
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,))
    assert torch.autograd.gradgradcheck(net, (x,))
