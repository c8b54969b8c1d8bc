"""Perceptrons against products worked by hand, their counts of parameters, and what their arguments mean."""

import math

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


ACTIVATIONS = {"relu": lambda v: max(v, 0.0), "leaky_relu": lambda v: max(v, 0.2 * v), "tanh": math.tanh}
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
