import pytest
import torch

from i2i.nets.patchgan import PatchGAN


def extent(gradient):
    """Rows and columns from the first to the last that has a gradient."""
    touched = gradient.abs().sum(dim=(0, 1)) > 0
    rows, columns = touched.any(dim=1).nonzero(), touched.any(dim=0).nonzero()
    return tuple((index.max() - index.min() + 1).item() for index in (rows, columns))


@pytest.mark.parametrize(
    ("args", "field"), [({}, 70), *(({"num_layers": n}, f) for n, f in ((1, 16), (2, 34), (4, 142)))]
)
def test_receptive_field(args, field):
    # a norm would let each logit see the whole picture; leaky ReLUs let every gradient through
    net = PatchGAN(3, width=2, norm="none", **args).double()
    x = torch.rand(1, 3, 2 * field + 20, 2 * field + 8, dtype=torch.float64, requires_grad=True)
    logits = net(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert extent(x.grad) == (field, field)


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4])
def test_number_of_logits(num_layers):
    net = PatchGAN(1, width=1, num_layers=num_layers, norm="instance")
    assert net(torch.rand(1, 1, net.minimum, net.minimum)).shape == (1, 1, 1, 1)
    for side in (net.minimum + 1, 3 * net.minimum - 1, 100):
        height = side // 2**num_layers - 2
        assert net(torch.rand(1, 1, side, net.minimum)).shape == (1, 1, height, 1)


def test_a_picture_of_256_gives_30_by_30_logits():
    with torch.device("meta"):
        net, pair = PatchGAN(6), torch.empty(1, 6, 256, 256)
    assert net(pair).shape == (1, 1, 30, 30)
    _, features = net(pair, features=True)
    assert [tuple(f.shape[1:]) for f in features] == [(64, 128, 128), (128, 64, 64), (256, 32, 32), (512, 31, 31)]


def test_only_convolutions_before_a_batch_norm_lack_a_bias():
    for norm, bias in (("batch", False), ("instance", True), ("none", True)):
        net = PatchGAN(3, width=1, norm=norm)
        assert [layer.conv.bias is not None for layer in net.blocks] == [True, bias, bias, bias]
        assert net.head.bias is not None


def test_gradcheck():
    torch.manual_seed(0)
    net = PatchGAN(1, num_layers=1, width=2, norm="instance", init="default").double()
    x = torch.rand(1, 1, 8, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,), eps=1e-7, atol=1e-5)
    assert torch.autograd.gradgradcheck(net, (x,), eps=1e-7, atol=1e-5)  # a gradient penalty differentiates twice
