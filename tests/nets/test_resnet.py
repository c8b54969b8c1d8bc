import pytest
import torch
from torch import nn
from torch.nn import functional as F

from i2i.nets.layers import PaddedConv
from i2i.nets.resnet import ResidualBlock, ResNet


def on_meta(**args):
    with torch.device("meta"):
        return ResNet(3, 3, **args)


def test_filters_as_in_the_paper():
    net = on_meta()
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    shape = [(c.kernel_size[0], c.stride[0], c.out_channels) for c in convolutions]
    blocks = [(3, 1, 256)] * 18
    assert shape == [(7, 1, 64), (3, 2, 128), (3, 2, 256), *blocks, (3, 2, 128), (3, 2, 64), (7, 1, 3)]
    assert len(on_meta(num_blocks=6).blocks) == 6


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
def test_padding_is_that_of_the_convolutions_of_stride_one(padding):
    net = on_meta(padding=padding, num_blocks=2)
    padded = [module for module in net.modules() if isinstance(module, PaddedConv)]
    assert [conv.kernel_size[0] for conv in padded] == [7, 3, 3, 3, 3, 7]
    assert {conv.continued_by for conv in padded} == {padding}
    assert [layer.conv.padding for layer in net.down] == [(1, 1), (1, 1)]
    assert not [module for module in on_meta(padding="zero").modules() if isinstance(module, PaddedConv)]


def test_dropout_is_one_per_block_and_off_by_default():
    def count(net):
        return sum(isinstance(module, nn.Dropout) for module in net.modules())

    assert count(on_meta(dropout=True, num_blocks=5)) == 5
    assert count(on_meta()) == 0
    net = ResNet(3, 3, num_blocks=1, width=2, dropout=True)
    x = torch.rand(1, 3, 8, 8)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_a_residual_block_adds_to_its_input():
    torch.manual_seed(0)
    layer = ResidualBlock(3, norm="instance", dropout=False, padding="reflect").double()
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    before = x.clone()

    def conv(layer, x):
        return F.instance_norm(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), layer.weight, layer.bias))

    expected = x + conv(layer.residual.conv2, conv(layer.residual.conv1, x).relu())
    assert (layer(x) - expected).abs().max() < 1e-12
    assert torch.equal(x, before)


def test_gradcheck():
    torch.manual_seed(0)
    net = ResNet(1, 1, num_blocks=1, width=1, init="default").double()
    x = torch.rand(1, 1, 8, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,), eps=1e-7, atol=1e-5)
