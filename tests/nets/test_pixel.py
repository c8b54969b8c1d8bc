import torch

from i2i.nets.pixel import PixelGAN


def test_each_logit_sees_one_pixel():
    net = PixelGAN(3, width=2, norm="none").double()
    x = torch.rand(1, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    logits = net(x)
    assert logits.shape == (1, 1, 4, 5)
    logits[0, 0, 1, 2].backward()
    assert x.grad.abs().sum(dim=(0, 1)).nonzero().tolist() == [[1, 2]]


def test_a_single_pixel_is_enough_without_norm_only():
    assert PixelGAN(3, norm="none").minimum == 1
    assert PixelGAN(3, norm="none")(torch.rand(1, 3, 1, 1)).shape == (1, 1, 1, 1)
    assert PixelGAN(3, norm="instance").minimum == 2


def test_filters():
    net = PixelGAN(3)
    assert [layer.conv.out_channels for layer in net.blocks] == [64, 128]
    assert (net.head.in_channels, net.head.out_channels) == (128, 1)
