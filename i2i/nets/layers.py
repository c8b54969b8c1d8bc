"""What the networks share: the choice of normalisation, activation, padding and upsampling; checks at their doors."""

import math
from collections import OrderedDict
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.registry import nearest

Activation = Literal["relu", "leaky_relu", "tanh", "softplus"]
Norm = Literal["batch", "instance", "none"]
Padding = Literal["zero", "reflect", "replicate"]
Upsample = Literal["deconv", "resize", "subpixel"]


def block(**layers: nn.Module | None) -> nn.Sequential:
    """Layers in a row, called by name; a layer that is None is left out."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


def norm_layer(norm: Norm, channels: int) -> nn.Module | None:
    """BatchNorm with scale, shift and running statistics; InstanceNorm with none of them; or nothing."""
    one_of("norm", norm, Norm)
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels) if norm == "instance" else None


def has_bias(norm: Norm) -> bool:
    """Whether convolutions of a network with this norm have a bias: BatchNorm's own shift makes one redundant.

    The reference also gives InstanceNorm's convolutions one, where the norm cancels it; kept, so that weights fit.
    """
    return norm != "batch"


def activation_layer(activation: Activation) -> nn.Module:
    """ReLU, LeakyReLU of slope 0.2 below zero, tanh, or softplus, log(1 + e^x)."""
    one_of("activation", activation, Activation)
    if activation in ("tanh", "softplus"):
        return nn.Tanh() if activation == "tanh" else nn.Softplus()
    return nn.ReLU(inplace=True) if activation == "relu" else nn.LeakyReLU(0.2, inplace=True)


class Noise(nn.Module):
    """Adds normal noise of deviation `sigma` to every number in training, from the device's global generator."""

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        """Any shape and range -> the same shape; in evaluation mode x itself."""
        return x + self.sigma * torch.randn_like(x) if self.training else x

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"


class PaddedConv(nn.Conv2d):
    """A convolution over a picture that continues beyond its border, by reflection or replication of its pixels."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int, padding: Padding, bias: bool):
        super().__init__(in_channels, out_channels, kernel, stride=stride, bias=bias)
        self.margin, self.continued_by = (kernel - 1) // 2, padding

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), any range -> (B, out_channels, H', W')."""
        return super().forward(continue_border(x, self.margin, self.continued_by))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, margin={self.margin}, continued_by={self.continued_by}"


def continue_border(x: Tensor, margin: int, padding: Padding) -> Tensor:
    """(B, C, H, W) -> (B, C, H + 2 margin, W + 2 margin), continued by "reflect" or "replicate".

    A reflection leaves the border pixel itself out, so that a side of one pixel, as in the bottleneck of a U-Net,
    has nothing to reflect; its mirror image is itself, and it is replicated.
    """
    height, width = x.shape[-2:]
    if padding == "replicate" or min(height, width) > 1:
        return F.pad(x, (margin,) * 4, mode=padding)
    x = F.pad(x, (margin, margin, 0, 0), mode="reflect" if width > 1 else "replicate")
    return F.pad(x, (0, 0, margin, margin), mode="reflect" if height > 1 else "replicate")


def conv(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: Padding = "zero", bias: bool = True
) -> nn.Conv2d:
    """A convolution padded by (kernel - 1) // 2 pixels: kernel 3 keeps the size, kernel 4 with stride 2 halves it."""
    one_of("padding", padding, Padding)
    if padding == "zero" or kernel == 1:
        return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=(kernel - 1) // 2, bias=bias)
    return PaddedConv(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=bias)


def upsampling(
    upsample: Upsample, in_channels: int, out_channels: int, *, kernel: Literal[3, 4], padding: Padding, bias: bool
) -> nn.Module:
    """A learned doubling of both sides.

    deconv: a transposed convolution with this kernel, as in the papers; it reads no pixel beyond the border, so that
        `padding` says nothing.
    resize: each pixel doubled, then a 3x3 convolution; without checkerboard (Odena et al., 2016).
    subpixel: a 3x3 convolution to four times the channels, which become the pixels of 2x2 cells (Shi et al., 2016).
    """
    one_of("upsample", upsample, Upsample)
    if upsample == "deconv":
        extra = 4 - kernel  # (side - 1) * stride - 2 * padding + kernel + extra = 2 * side
        return nn.ConvTranspose2d(
            in_channels, out_channels, kernel, stride=2, padding=1, output_padding=extra, bias=bias
        )
    if upsample == "resize":
        return block(
            resize=nn.Upsample(scale_factor=2, mode="nearest"),
            conv=conv(in_channels, out_channels, 3, padding=padding, bias=bias),
        )
    return block(
        conv=conv(in_channels, 4 * out_channels, 3, padding=padding, bias=bias),
        shuffle=nn.PixelShuffle(2),
    )


def at_least(least: int, name: str, value: int, usual: str) -> None:
    """ValueError unless `value` is a whole number of at least `least`; `usual` ends the sentence on what to give."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}. Usual is {usual}.")


def doublings(size: int) -> tuple[int, int]:
    """(base, k) with size = base * 2^k: a map of side `base`, 4 to 7, is doubled k times, once or more.

    No size has two such pairs: 32, 64 and 128 are 4 times a power of two, 28 (MNIST's) is 7 * 2^2. Those that have one
    are 8, 10, 12, 14, 16, 20, 24, 28, 32, 40 and so on.

    Raises:
        ValueError: a size without; it names the nearest that have one.
    """
    at_least(8, "size", size, "32, or 28 for MNIST")
    k = size.bit_length() - 3  # the three highest bits of a number, taken alone, are 4 to 7
    base = size >> k
    if base << k != size:
        raise ValueError(
            f"size is {size}; it must be 4, 5, 6 or 7 times a power of two. "
            f"The nearest are {base << k} and {(base + 1) << k}: set data.crop_size to one of them."
        )
    return base, k


def share(name: str, value: float, usual: str) -> None:
    """ValueError unless `value` is a number from 0 on and below 1; `usual` ends the sentence on what to give."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{name} is {value!r}; it must be at least 0 and below 1. Usual is {usual}.")


def above_zero(name: str, value: float, usual: str) -> None:
    """ValueError unless `value` is a finite number above 0; `usual` ends the sentence on what to give."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}; it must be a number above 0. Usual is {usual}.")


def not_negative(name: str, value: float, usual: str) -> None:
    """ValueError unless `value` is a finite number of at least 0; `usual` ends the sentence on what to give."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value!r}; it must be a number of at least 0. Usual is {usual}.")


def one_of(name: str, value: str, choices: Any) -> None:
    """ValueError unless `value` is one of the strings of a Literal."""
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}.{nearest(value, known)}")


def check_pictures(net: nn.Module, x: Tensor) -> None:
    """ValueError unless x is (B, net.in_channels, H, W) with sides that `net.multiple` and `net.minimum` allow."""
    name = type(net).__name__
    if x.dim() != 4:
        raise ValueError(
            f"{name} got a tensor of shape {tuple(x.shape)}; it takes (B, {net.in_channels}, H, W). "
            "A single picture becomes a batch by x.unsqueeze(0)."
        )
    channels, height, width = x.shape[1:]
    if channels != net.in_channels:
        raise ValueError(
            f"{name} got pictures of {channels} channels; this one takes {net.in_channels}. "
            f"Convert the pictures, or build it with in_channels={channels}."
        )
    if any(side < net.minimum or side % net.multiple for side in (height, width)):
        allowed = f"multiples of {net.multiple} and " if net.multiple > 1 else ""
        fits = [max(net.minimum, -(-side // net.multiple) * net.multiple) for side in (height, width)]
        raise ValueError(
            f"{name} got pictures of {height} x {width} pixels (height x width); its sides must be {allowed}"
            f"at least {net.minimum}. Pad them to {fits[0]} x {fits[1]}, or crop."
        )


def check_sized(net: nn.Module, x: Tensor) -> None:
    """ValueError unless x is (B, net.in_channels, net.size, net.size)."""
    check_pictures(net, x)
    height, width = x.shape[2:]
    if (height, width) != (net.size, net.size):
        raise ValueError(
            f"{type(net).__name__} got pictures of {height} x {width} pixels (height x width); this one takes "
            f"{net.size} x {net.size} alone. Crop or resize them (data.crop_size), or build it with another size."
        )


def check_latents(net: nn.Module, z: Tensor) -> None:
    """ValueError unless z is (B, net.in_channels)."""
    if z.dim() != 2 or z.shape[1] != net.in_channels:
        raise ValueError(
            f"{type(net).__name__} got a tensor of shape {tuple(z.shape)}; it takes latents of shape "
            f"(B, {net.in_channels}). A single latent becomes a batch by z.unsqueeze(0)."
        )


def check_classes(net: nn.Module, rows: int, y: Tensor | None) -> None:
    """ValueError unless y is (rows,) int64 where `net.classes` is a number, and None where it is None.

    The classes themselves are not read, which on a device would mean to wait for it.
    """
    name = type(net).__name__
    if net.classes is None:
        if y is not None:
            raise ValueError(f"{name} was built for no classes and got some. Leave y out, or build it with classes.")
        return
    if y is None:
        raise ValueError(f"{name} was built for {net.classes} classes and got none. Give y, the class of each row.")
    if y.shape != (rows,) or y.dtype != torch.int64:
        raise ValueError(
            f"{name} got classes of shape {tuple(y.shape)} and type {y.dtype}; it takes ({rows},) of torch.int64, "
            f"numbers from 0 to {net.classes - 1}."
        )


def with_classes(net: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
    """Rows (B, F) and their classes (B,) -> (B, F + net.classes), each class one-hot behind its row; without classes x.

    A class that is not below `net.classes` is a row of zeros: it is refused where classes come in, not here.
    """
    check_classes(net, len(x), y)
    if y is None:
        return x
    return torch.cat([x, (y[:, None] == torch.arange(net.classes, device=y.device)).to(x.dtype)], dim=1)
