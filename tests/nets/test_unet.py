import pytest
import torch
from torch import nn
from torch.nn import functional as F

from i2i.nets.unet import UNet


def on_meta(**args):
    with torch.device("meta"):
        return UNet(3, 3, **args)


@pytest.mark.parametrize(
    ("num_downs", "levels"), [(8, [4, 5, 6]), (7, [4, 5]), (6, [4]), (5, []), (2, [])], ids=lambda value: str(value)
)
def test_dropout_sits_where_the_reference_has_it(num_downs, levels):
    net = on_meta(num_downs=num_downs)
    noisy = [num_downs - 1 - i for i, up in enumerate(net.decoder) if any(isinstance(m, nn.Dropout) for m in up)]
    assert sorted(noisy) == levels
    assert not [
        module for module in on_meta(num_downs=num_downs, dropout=False).modules() if isinstance(module, nn.Dropout)
    ]


def test_dropout_is_noise_in_training_only():
    net = UNet(3, 3, num_downs=6, width=1)
    x = torch.rand(1, 3, 64, 64)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_filters_of_each_level():
    net = on_meta()
    assert [down.conv.out_channels for down in net.encoder] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [(up.up.in_channels, up.up.out_channels) for up in net.decoder] == [
        (512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64),
    ]  # fmt: skip
    assert (net.head.up.in_channels, net.head.up.out_channels) == (128, 3)


def test_no_norm_at_either_end_nor_in_the_bottleneck():
    net = on_meta(norm="batch")
    assert [hasattr(down, "norm") for down in net.encoder] == [False, *[True] * 6, False]
    assert all(hasattr(up, "norm") for up in net.decoder)
    assert not hasattr(net.head, "norm")


def test_it_computes_the_figure():
    """Written out for three levels, without blocks and without in-place activations."""
    torch.manual_seed(0)
    net = UNet(3, 2, num_downs=3, width=3, norm="instance", init="kaiming").double()
    x = torch.rand(2, 3, 16, 8, dtype=torch.float64) * 2 - 1

    def conv(layer, x):
        return F.conv2d(x, layer.weight, layer.bias, stride=2, padding=1)

    def deconv(layer, x):
        return F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1)

    c0, c1, c2 = (down.conv for down in net.encoder)
    u2, u1, u0 = net.decoder[0].up, net.decoder[1].up, net.head.up
    e0 = F.leaky_relu(conv(c0, x), 0.2)
    e1 = F.leaky_relu(F.instance_norm(conv(c1, e0)), 0.2)
    e2 = conv(c2, e1)
    d1 = F.instance_norm(deconv(u2, e2.relu()))
    d0 = F.instance_norm(deconv(u1, torch.cat((e1, d1), 1).relu()))
    expected = deconv(u0, torch.cat((e0, d0), 1).relu()).tanh()
    assert (net(x) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("upsample", ["deconv", "subpixel"])
@pytest.mark.parametrize("padding", ["zero", "reflect", "replicate"])
def test_a_bottleneck_of_one_pixel_is_alive(upsample, padding):
    net = UNet(1, 1, num_downs=3, width=2, norm="instance", upsample=upsample, padding=padding, init="kaiming")
    torch.manual_seed(0)
    output = net(torch.rand(1, 1, 8, 8))
    (output * torch.randn_like(output)).sum().backward()
    assert net.encoder[-1].conv.weight.grad.abs().max() > 1e-4


def test_gradcheck():
    torch.manual_seed(0)
    net = UNet(1, 1, num_downs=2, width=1, norm="instance", dropout=False, padding="reflect", init="default").double()
    x = torch.rand(1, 1, 4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,), eps=1e-7, atol=1e-5)


def test_one_level_is_refused():
    with pytest.raises(ValueError, match=r"num_downs is 1; it must be a whole number of at least 2. Usual is 8"):
        UNet(3, 3, num_downs=1)
