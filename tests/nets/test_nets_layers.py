import pytest
import torch
from torch import nn
from torch.nn import functional as F

from i2i.nets import layers


@pytest.mark.parametrize(("padding", "torchs_word"), [("reflect", "reflect"), ("replicate", "replicate")])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2), (7, 1), (4, 1)])
def test_padded_conv_is_torchs_where_torch_has_one(padding, torchs_word, kernel, stride):
    torch.manual_seed(0)
    ours = layers.conv(3, 4, kernel, stride=stride, padding=padding)
    theirs = nn.Conv2d(3, 4, kernel, stride=stride, padding=(kernel - 1) // 2, padding_mode=torchs_word)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 8, 10)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (4, 1), (2, 2)])
def test_the_reflection_of_a_single_pixel_is_that_pixel(height, width):
    x = torch.arange(1.0, 1 + height * width).reshape(1, 1, height, width).requires_grad_()

    def mirrored(index, side):
        return index if side == 1 else abs(index) if index < side else 2 * (side - 1) - index

    rows = [mirrored(i, height) if height > 1 else 0 for i in range(-1, height + 1)]
    columns = [mirrored(j, width) if width > 1 else 0 for j in range(-1, width + 1)]
    expected = x[:, :, rows][:, :, :, columns]
    padded = layers.continue_border(x, 1, "reflect")
    assert torch.equal(padded, expected)
    weight = torch.randn_like(padded)
    for ours, theirs in zip(
        torch.autograd.grad((padded * weight).sum(), x), torch.autograd.grad((expected * weight).sum(), x)
    ):
        assert torch.allclose(ours, theirs)


def test_conv_sizes():
    x = torch.rand(1, 2, 8, 6)
    for padding in ("zero", "reflect", "replicate"):
        assert layers.conv(2, 3, 3, padding=padding)(x).shape == (1, 3, 8, 6)
        assert layers.conv(2, 3, 7, padding=padding)(x).shape == (1, 3, 8, 6)
        assert layers.conv(2, 3, 4, stride=2, padding=padding)(x).shape == (1, 3, 4, 3)
        assert layers.conv(2, 3, 1, padding=padding)(x).shape == (1, 3, 8, 6)


@pytest.mark.parametrize("upsample", ["deconv", "resize", "subpixel"])
@pytest.mark.parametrize("padding", ["zero", "reflect", "replicate"])
@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (5, 4)])
def test_upsampling_doubles_both_sides(upsample, padding, kernel, size):
    layer = layers.upsampling(upsample, 3, 2, kernel=kernel, padding=padding, bias=True)
    assert layer(torch.rand(2, 3, *size)).shape == (2, 2, 2 * size[0], 2 * size[1])


def test_what_each_upsampling_computes():
    torch.manual_seed(0)
    x = torch.rand(1, 2, 3, 4)
    args = {"kernel": 4, "padding": "zero", "bias": True}
    resize = layers.upsampling("resize", 2, 3, **args)
    doubled = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.allclose(resize(x), F.conv2d(doubled, resize.conv.weight, resize.conv.bias, padding=1), atol=1e-6)

    subpixel = layers.upsampling("subpixel", 2, 3, **args)
    cells = F.conv2d(x, subpixel.conv.weight, subpixel.conv.bias, padding=1)  # (1, 12, 3, 4)
    for channel, row, column in ((0, 0, 0), (1, 0, 1), (2, 1, 0), (2, 1, 1)):
        expected = cells[:, 4 * channel + 2 * row + column]
        assert torch.allclose(subpixel(x)[:, channel, row::2, column::2], expected, atol=1e-6)


def test_norms():
    batch, instance = layers.norm_layer("batch", 4), layers.norm_layer("instance", 4)
    assert isinstance(batch, nn.BatchNorm2d) and batch.affine and batch.track_running_stats
    assert isinstance(instance, nn.InstanceNorm2d) and not instance.affine and not instance.track_running_stats
    assert layers.norm_layer("none", 4) is None
    assert [layers.has_bias(norm) for norm in ("batch", "instance", "none")] == [False, True, True]


def test_a_near_name_is_offered():
    with pytest.raises(ValueError, match=r"norm is 'instnce'; .*batch, instance, none. Did you mean 'instance'"):
        layers.norm_layer("instnce", 4)
    with pytest.raises(ValueError, match="padding is None; it must be one of zero, reflect, replicate"):
        layers.conv(1, 1, 3, padding=None)


@pytest.mark.parametrize("value", [0, -1, 1.0, "4", True, None])
def test_only_whole_numbers_count(value):
    with pytest.raises(ValueError, match=f"width is {value!r}; it must be a whole number of at least 1. Usual is 64."):
        layers.at_least(1, "width", value, "64")


@pytest.mark.parametrize(("size", "base", "k"), [
    (8, 4, 1), (10, 5, 1), (12, 6, 1), (14, 7, 1), (16, 4, 2), (20, 5, 2), (24, 6, 2), (28, 7, 2), (32, 4, 3),
    (48, 6, 3), (64, 4, 4), (128, 4, 5), (224, 7, 5), (256, 4, 6),
])  # fmt: skip
def test_sizes_that_grow_by_doubling(size, base, k):
    assert layers.doublings(size) == (base, k)


def test_every_size_is_doubled_or_refused_with_the_nearest():
    known = sorted(base * 2**k for base in (4, 5, 6, 7) for k in range(1, 9))
    for size in range(8, 1025):
        if size in known:
            base, k = layers.doublings(size)
            assert base in (4, 5, 6, 7) and k >= 1 and base * 2**k == size
            continue
        below, above = max(s for s in known if s < size), min(s for s in known if s > size)
        words = (
            rf"^size is {size}; it must be .* power of two\. The nearest are {below} and {above}: set data\.crop_size"
        )
        with pytest.raises(ValueError, match=words):
            layers.doublings(size)


@pytest.mark.parametrize("size", [7, 4, 1, 0, -8, 32.0, True])
def test_a_size_that_cannot_be_doubled_to_is_refused_in_words(size):
    with pytest.raises(
        ValueError, match=f"^size is {size}; it must be a whole number of at least 8. Usual is 32, or 28"
    ):
        layers.doublings(size)
