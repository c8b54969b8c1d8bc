"""Maxout against an example worked by hand, against a loop, and the first GAN's D by its numbers."""

import math

import pytest
import torch

from i2i.nets.maxout import Maxout, MaxoutDiscriminator


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def test_a_layer_worked_by_hand():
    """Unit 1 is max(x + 2y, 1 - x), unit 2 is max(-y, 3x - 4)."""
    layer = Maxout(2, 2, 2).double()
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.0], [0.0, -1.0], [3.0, 0.0]]))
        layer.linear.bias.copy_(torch.tensor([0.0, 1.0, 0.0, -4.0]))
    x = torch.tensor([[1.0, 1.0], [-2.0, 0.5], [3.0, -6.0]], dtype=torch.float64)
    assert layer(x).tolist() == [[3.0, -1.0], [3.0, -0.5], [-2.0, 6.0]]


def test_a_layer_against_a_loop_over_units_and_pieces():
    torch.manual_seed(0)
    layer = Maxout(3, 4, 5).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    weight, bias, found = layer.linear.weight.tolist(), layer.linear.bias.tolist(), layer(x)
    assert found.shape == (6, 4)
    for row, values in zip(x.tolist(), found.tolist()):
        for unit, value in enumerate(values):
            pieces = [sum(w * v for w, v in zip(weight[5 * unit + k], row)) + bias[5 * unit + k] for k in range(5)]
            assert value == pytest.approx(max(pieces), abs=1e-12)


def test_only_the_largest_piece_learns():
    layer = Maxout(1, 1, 3).double()
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [2.0], [-1.0]]))
        layer.linear.bias.zero_()
    layer(torch.tensor([[3.0]], dtype=torch.float64)).sum().backward()
    assert layer.linear.weight.grad.flatten().tolist() == [0.0, 3.0, 0.0]
    assert layer.linear.bias.grad.tolist() == [0.0, 1.0, 0.0]


def test_two_pieces_can_be_an_absolute_value():
    """What maxout is for: a unit that no ReLU network of one unit can be."""
    layer = Maxout(1, 1, 2)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.linear.bias.zero_()
    x = torch.linspace(-3, 3, 13)[:, None]
    assert torch.equal(layer(x), x.abs())


def test_the_first_gan_s_discriminator():
    """784 -> 240 units of 5 pieces -> 240 of 5 -> 1, inputs kept with 0.8 and units with 0.5, weights U(-5e-3, 5e-3)."""
    torch.manual_seed(0)
    net = MaxoutDiscriminator(1, 28)
    expected = 784 * 1200 + 1200 + 240 * 1200 + 1200 + 240 + 1
    assert count(net) == expected == 1_231_441
    assert net.dropout_input.p == pytest.approx(1 - 0.8)
    assert [layer.dropout.p for layer in net.blocks] == [0.5, 0.5]
    weights = [net.blocks[0].maxout.linear.weight, net.blocks[1].maxout.linear.weight, net.head.weight]
    assert all(0.0045 < weight.abs().max() <= 0.005 for weight in weights)
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 1)


def test_a_discriminator_is_its_layers():
    torch.manual_seed(0)
    net = MaxoutDiscriminator(2, 3, num_layers=2, width=4, pieces=3, init="default").double().eval()
    x = torch.rand(5, 2, 3, 3, dtype=torch.float64) * 2 - 1
    h = x.reshape(5, 18)
    for layer in net.blocks:
        linear = layer.maxout.linear
        h = torch.stack([(h @ linear.weight[k::3].T + linear.bias[k::3]) for k in range(3)]).amax(0)
    assert torch.allclose(net(x), h @ net.head.weight.T + net.head.bias, atol=1e-12)


def test_dropout_of_the_input_and_of_the_units():
    """An input of ones through weights of 1: a unit is the number of kept inputs over 1 - p. In eval mode: all."""
    torch.manual_seed(0)
    net = MaxoutDiscriminator(1, 30, num_layers=1, width=5000, pieces=1, dropout_input=0.2, dropout=0.4)
    with torch.no_grad():
        net.blocks[0].maxout.linear.weight.fill_(1)
    x = torch.ones(1, 1, 30, 30)
    (hidden,) = net.train()(x, features=True)[1]
    kept = hidden[hidden != 0]
    assert 1 - len(kept) / 5000 == pytest.approx(0.4, abs=5 * math.sqrt(0.24 / 5000))
    share = kept[0].item() * 0.6 * 0.8 / 900  # both kept halves are scaled up
    assert share == pytest.approx(0.8, abs=5 * math.sqrt(0.16 / 900))
    assert torch.equal(kept, kept[0].expand_as(kept))
    assert torch.equal(net.eval()(x, features=True)[1][0], torch.full((1, 5000), 900.0))


@pytest.mark.parametrize("argument", ["dropout", "dropout_input"])
@pytest.mark.parametrize("value", [1.0, -0.5])
def test_a_share_that_is_none_is_refused_in_words(argument, value):
    with pytest.raises(ValueError, match=rf"^{argument} is {value}; it must be at least 0 and below 1\."):
        MaxoutDiscriminator(1, 2, **{argument: value})


def test_gradients_of_both_orders():
    torch.manual_seed(0)
    net = MaxoutDiscriminator(1, 2, width=3, pieces=2, init="default").double().eval()
    x = torch.rand(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,), eps=1e-7, atol=1e-5)
    assert torch.autograd.gradgradcheck(net, (x,), eps=1e-7, atol=1e-5)
