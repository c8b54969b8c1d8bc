"""Perceptrons against products worked by hand, their counts of parameters, and what their arguments mean."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from i2i.nets.mlp import MLPDiscriminator, MLPEncoder, MLPGenerator


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def fill(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))


def layers(net):
    return [module for module in net.modules() if isinstance(module, nn.Linear)]


ACTIVATIONS = {
    "relu": lambda v: max(v, 0.0),
    "leaky_relu": lambda v: max(v, 0.2 * v),
    "tanh": math.tanh,
    "softplus": lambda v: math.log1p(math.exp(v)),
}
OUTPUTS = {"linear": lambda v: v, "tanh": math.tanh, "sigmoid": lambda v: 2 / (1 + math.exp(-v)) - 1}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_generator_worked_by_hand(activation, output):
    """z = (1, -2); hidden 1: 1 - 2 * 2 + 1 = -2, hidden 2: 3 - (-2) = 5; four pixels of a 2 x 2 picture, row by row."""
    net = MLPGenerator(2, 1, 2, num_layers=1, width=2, activation=activation, output=output).double()
    fill(net.blocks[0].linear, [[1.0, 2.0], [3.0, -1.0]], [1.0, 0.0])
    fill(net.head, [[1.0, 0.0], [0.0, 0.25], [1.0, 1.0], [0.0, 0.0]], [0.0, 0.0, -4.0, 0.5])
    a, b = ACTIVATIONS[activation](-2.0), ACTIVATIONS[activation](5.0)
    expected = [OUTPUTS[output](v) for v in (a, 0.25 * b, a + b - 4, 0.5)]
    picture = net(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    assert picture.shape == (1, 1, 2, 2)
    assert picture.flatten().tolist() == pytest.approx(expected, abs=1e-12)


def test_a_generator_is_its_matrix_products():
    torch.manual_seed(0)
    net = MLPGenerator(5, 3, 4, num_layers=3, width=6, init="default").double()
    z = torch.randn(7, 5, dtype=torch.float64)
    h = z
    for layer in layers(net)[:-1]:
        h = (h @ layer.weight.T + layer.bias).clamp_min(0)
    last = layers(net)[-1]
    expected = (2 / (1 + (-(h @ last.weight.T + last.bias)).exp()) - 1).reshape(7, 3, 4, 4)
    assert torch.allclose(net(z), expected, rtol=0, atol=1e-12)


def test_channels_come_one_after_the_other():
    """A picture's number at (channel, row, column) is row (channel * size + row) * size + column of the last layer."""
    net = MLPGenerator(1, 2, 3, num_layers=1, width=1, output="linear")
    fill(net.blocks[0].linear, [[0.0]], [0.0])
    fill(net.head, [[0.0]] * 18, [float(i) for i in range(18)])
    picture = net(torch.zeros(1, 1))
    assert picture[0, 1, 2, 0] == 15 and picture[0, 0, 1, 2] == 5


def test_batch_norm_in_a_generator():
    """Two latents become -1 and 1 (nearly) in every hidden unit, whatever the weights; running statistics move."""
    torch.manual_seed(0)
    net = MLPGenerator(3, 1, 1, num_layers=1, width=4, norm="batch", output="linear", init="default").double()
    z = torch.randn(2, 3, dtype=torch.float64) * 100
    assert net.blocks[0].linear.bias is None
    h = z @ net.blocks[0].linear.weight.T
    normed = ((h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt()).clamp_min(0)
    expected = normed @ net.head.weight.T + net.head.bias
    assert torch.allclose(net(z).flatten(1), expected, atol=1e-12)
    assert torch.allclose(net.blocks[0].norm.running_mean, 0.1 * h.mean(0))
    with pytest.raises(ValueError, match="got one latent.*Give two or more"):
        net(z[:1])
    assert net.eval()(z[:1]).shape == (1, 1, 1, 1)


def test_a_discriminator_worked_by_hand():
    """x = (1, -1, 2, 0) row by row. Hidden 1: 1 + 1 + 2 = 4; hidden 2: -1 + 2 * -1 - 2 = -5, leaky -1; logit 4 - 3."""
    net = MLPDiscriminator(1, 2, num_layers=1, width=2).double()
    fill(net.blocks[0].linear, [[1.0, -1.0, 1.0, 5.0], [-1.0, 2.0, -1.0, 5.0]], [0.0, 0.0])
    fill(net.head, [[1.0, 3.0]], [0.0])
    x = torch.tensor([1.0, -1.0, 2.0, 0.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    logits, (hidden,) = net(x, features=True)
    assert hidden.tolist() == [[4.0, -1.0]]
    assert logits.tolist() == [[1.0]]


def test_an_encoder_is_its_matrix_products():
    torch.manual_seed(0)
    net = MLPEncoder(2, 3, 2, num_layers=2, width=5, activation="tanh").double()
    x = torch.rand(4, 2, 2, 2, dtype=torch.float64) * 2 - 1
    h = x.reshape(4, 8)
    for layer in layers(net)[:2]:
        h = torch.tanh(h @ layer.weight.T + layer.bias)
    mu, log_var = net(x)
    assert torch.allclose(mu, h @ net.mu.weight.T + net.mu.bias, atol=1e-12)
    assert torch.allclose(log_var, h @ net.log_var.weight.T + net.log_var.bias, atol=1e-12)
    assert net.latent == 3 and mu.shape == log_var.shape == (4, 3)


def test_the_first_gan_s_numbers_of_parameters():
    """G on MNIST: 100 -> 1200 -> 1200 -> 784, each with biases."""
    expected = 100 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 784 + 784
    assert count(MLPGenerator(100, 1, 28)) == expected == 2_503_984
    assert count(MLPDiscriminator(3, 8, num_layers=3, width=10)) == 192 * 10 + 10 + 2 * (10 * 10 + 10) + 10 + 1
    assert count(MLPEncoder(1, 20, 28)) == 784 * 500 + 500 + 2 * (500 * 20 + 20)
    normed = MLPGenerator(4, 1, 2, num_layers=2, width=8, norm="batch")  # scale and shift in the place of a bias
    assert count(normed) == 4 * 8 + 16 + 8 * 8 + 16 + 8 * 4 + 4


def test_dropout_drops_its_share_of_the_hidden_units_in_training_alone():
    torch.manual_seed(0)
    net = MLPDiscriminator(1, 2, num_layers=2, width=4000, dropout=0.3, activation="tanh")
    x = torch.rand(1, 1, 2, 2)
    for hidden, kept in zip(net.train()(x, features=True)[1], net.eval()(x, features=True)[1]):
        dropped = hidden == 0
        assert dropped.float().mean().item() == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 4000))
        assert not (kept == 0).any()
    first, whole = net.train()(x, features=True)[1][0], net.eval()(x, features=True)[1][0]
    assert torch.allclose(first[first != 0], whole[first != 0] / 0.7)
    assert not [module for module in MLPDiscriminator(1, 2).modules() if isinstance(module, nn.Dropout)]


@pytest.mark.parametrize("value", [1, 1.0, -0.1, math.nan, True, "half"])
def test_a_share_that_is_none_is_refused_in_words(value):
    with pytest.raises(ValueError, match=r"dropout is .*; it must be at least 0 and below 1\. Usual is"):
        MLPDiscriminator(1, 2, dropout=value)


@pytest.mark.parametrize(("build", "usual"), [
    (lambda: MLPGenerator(3, 1, 0), "28"), (lambda: MLPDiscriminator(1, 0), "28"), (lambda: MLPEncoder(1, 2, 0), "28"),
])  # fmt: skip
def test_no_size_is_refused_in_words(build, usual):
    with pytest.raises(ValueError, match=f"size is 0; it must be a whole number of at least 1. Usual is {usual}"):
        build()


def test_points_are_pictures_of_one_pixel():
    G, D = MLPGenerator(2, 2, 1, num_layers=3, width=8, output="linear"), MLPDiscriminator(2, 1, width=8)
    points = G(torch.randn(6, 2))
    assert points.shape == (6, 2, 1, 1) and D(points).shape == (6, 1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_both_orders(activation):
    """A gradient penalty differentiates twice; tanh has a second derivative to get wrong."""
    torch.manual_seed(0)
    net = MLPDiscriminator(1, 2, width=4, activation=activation).double()
    x = torch.rand(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,), eps=1e-7, atol=1e-5)
    assert torch.autograd.gradgradcheck(net, (x,), eps=1e-7, atol=1e-5)


# -- the discriminator of the semi-supervised GAN


def test_layers_of_several_widths():
    """The paper's D on MNIST: 784-1000-500-250-250-250-10."""
    net = MLPDiscriminator(1, 28, None, 10, num_layers=5, width=[1000, 500, 250, 250, 250])
    sizes = [784, 1000, 500, 250, 250, 250, 10]
    assert [(layer.in_features, layer.out_features) for layer in layers(net)] == list(pairwise(sizes))
    assert count(net) == sum(a * b + b for a, b in pairwise(sizes)) == 1_538_760
    equal = MLPDiscriminator(1, 4, num_layers=2, width=[7, 7]).state_dict()
    assert {k: v.shape for k, v in equal.items()} == {
        k: v.shape for k, v in MLPDiscriminator(1, 4, num_layers=2, width=7).state_dict().items()
    }


def test_widths_that_do_not_fit_are_refused_in_words():
    with pytest.raises(ValueError, match=r"width is \[3, 4\], of 2 numbers, and num_layers is 3\. .*or num_layers 2\."):
        MLPDiscriminator(1, 2, num_layers=3, width=[3, 4])
    with pytest.raises(ValueError, match=r"width is 0; it must be a whole number of at least 1"):
        MLPDiscriminator(1, 2, num_layers=2, width=[3, 0])


def test_noise_comes_before_every_linear_layer_and_is_not_in_the_features():
    """All weights 0 but for ones on the diagonal: what goes on, less what was seen, is the noise of that place."""
    torch.manual_seed(0)
    side = 60
    net = MLPDiscriminator(1, side, None, side**2, num_layers=2, width=side**2, noise_input=0.6, noise=0.25)
    for layer in layers(net):
        with torch.no_grad():
            layer.weight.copy_(torch.eye(side**2))
            layer.bias.zero_()
    x = torch.full((1, 1, side, side), 9.0)  # far from the kink of the activation
    logits, (first, second) = net.train()(x, features=True)
    found = [first - 9.0, second - first, logits - second]
    for noise, sigma in zip(found, (0.6, 0.25, 0.25), strict=True):
        assert noise.std().item() == pytest.approx(sigma, rel=0.06) and abs(noise.mean().item()) < 4 * sigma / side
    assert abs(torch.corrcoef(torch.cat(found[1:]))[0, 1].item()) < 0.1, "each place draws its own"
    logits, (first, second) = net.eval()(x, features=True)
    assert all((each == 9.0).all() for each in (first, second, logits))
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    net(x)
    assert torch.equal(torch.rand(3), expected), "in evaluation mode nothing is drawn"


def test_no_noise_on_a_class():
    net = MLPDiscriminator(1, 2, 3, num_layers=1, width=3, noise_input=5.0, activation="relu")
    with torch.no_grad():
        net.blocks[0].linear.weight.copy_(torch.cat((torch.zeros(3, 4), torch.eye(3)), dim=1))
        net.blocks[0].linear.bias.zero_()
    _, (seen,) = net(torch.zeros(2, 1, 2, 2), torch.tensor([2, 0]), features=True)
    assert seen.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def test_rows_keep_their_length_but_for_the_last_layer():
    """v = (3, 4), length 2: the row is (1.2, 1.6), and so for every multiple of v; the gradient is across v."""
    net = MLPDiscriminator(1, 2, None, 2, num_layers=2, width=[3, 2], weight_norm=2.0).double()
    for layer in layers(net):
        assert torch.allclose(layer.weight.norm(dim=1), torch.full((len(layer.weight),), 2.0, dtype=torch.float64))
    names = {name for name, _ in net.named_parameters() if name.endswith("scale")}
    assert names == {"head.parametrizations.weight.0.scale"}
    assert {name for name, _ in net.named_buffers()} == {
        f"blocks.{i}.linear.parametrizations.weight.0.scale" for i in (0, 1)
    }
    v = net.head.parametrizations.weight.original
    for factor in (1.0, 10.0):
        with torch.no_grad():
            v.copy_(factor * torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        assert net.head.weight.tolist() == [pytest.approx([1.2, 1.6]), pytest.approx([0.0, 2.0])]
        (slope,) = torch.autograd.grad(net.head.weight[0, 0], v)
        # d(2 v1 / |v|) / dv = 2 (v2^2, -v1 v2) / |v|^3: the longer v, the slower its direction turns
        assert slope[0].tolist() == pytest.approx([2 * 16 / 125 / factor, -2 * 12 / 125 / factor])
        assert slope[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("norm", [0.0, -1.0, math.inf, True])
def test_a_length_that_is_none_and_two_norms_are_refused_in_words(norm):
    with pytest.raises(ValueError, match=r"weight_norm is .*; it must be a number above 0\. Usual is null"):
        MLPDiscriminator(1, 2, weight_norm=norm)
    with pytest.raises(ValueError, match=r"weight_norm is 1\.3 and spectral_norm true.* Set weight_norm to null"):
        MLPDiscriminator(1, 2, weight_norm=1.3, spectral_norm=True)


@pytest.mark.parametrize("name", ["noise", "noise_input"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, True])
def test_a_deviation_that_is_none_is_refused_in_words(name, value):
    with pytest.raises(ValueError, match=rf"{name} is .*; it must be a number of at least 0\. Usual is"):
        MLPDiscriminator(1, 2, **{name: value})


def test_without_them_it_is_the_network_that_it_was():
    """Names, first weights and outputs, recorded before there was noise, a list of widths or weight norm."""
    torch.manual_seed(0)
    net = MLPDiscriminator(1, 2, num_layers=2, width=3)
    assert list(net.state_dict()) == [
        *("blocks.0.linear.weight", "blocks.0.linear.bias", "blocks.1.linear.weight", "blocks.1.linear.bias"),
        *("head.weight", "head.bias"),
    ]
    x = torch.linspace(-1, 1, 8).reshape(2, 1, 2, 2)
    assert net(x).flatten().tolist() == pytest.approx([-0.318373441696167, -0.30782151222229004], abs=1e-6)
    assert torch.rand(()).item() == pytest.approx(0.9320003986358643), "nothing more is drawn"
