"""What the networks share: the choice of normalisation, activation, padding and upsampling; how they are told a class;
checks at their doors."""

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
ToldBy = Literal["norm", "input"]  # how a generator is told a class
JudgedBy = Literal["projection", "input"]  # how a discriminator is


class ConditionalNorm(nn.Module):
    """Batch or instance normalisation, then a scale and a shift for each class and channel, at first 1 and 0.

    Conditional instance normalisation (Dumoulin et al., 2017, "A Learned Representation for Artistic Style", section
    2.2) and conditional batch normalisation (de Vries et al., 2017, "Modulating early visual processing by language"),
    as in G of Miyato and Koyama (2018): means and deviations are those of the whole batch, whatever its classes.
    """

    def __init__(self, norm: Norm, channels: int, classes: int):
        super().__init__()
        if norm == "none":
            raise ValueError(
                "condition is 'norm' and norm is 'none'; a class scales and shifts what a norm gives. "
                "Set norm to batch or instance, or condition to input."
            )
        self.norm = nn.BatchNorm2d(channels, affine=False) if norm == "batch" else nn.InstanceNorm2d(channels)
        self.scale = nn.Parameter(torch.ones(classes, channels))
        self.shift = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, C, H, W), any range, and classes (B,) -> (B, C, H, W)."""
        x = self.norm(x)
        scale, shift = (F.embedding(y, rows)[:, :, None, None] for rows in (self.scale, self.shift))  # (B, C, 1, 1)
        return torch.addcmul(shift, x, scale).to(x.dtype)  # of bfloat16 x it is computed in float32


class ToldRow(nn.Sequential):
    """Layers in a row, whose norms are told the class of each picture."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """What the first layer takes, and classes (B,) -> what the last one gives."""
        for layer in self:
            x = layer(x, y) if isinstance(layer, ConditionalNorm) else layer(x)
        return x


def block(**layers: nn.Module | None) -> nn.Sequential:
    """Layers in a row, called by name; a layer that is None is left out. With conditional norms it is told classes."""
    named = OrderedDict((name, layer) for name, layer in layers.items() if layer is not None)
    told = any(isinstance(layer, ConditionalNorm) for layer in named.values())
    return ToldRow(named) if told else nn.Sequential(named)


def norm_layer(norm: Norm, channels: int, classes: int | None = None) -> nn.Module | None:
    """BatchNorm with scale, shift and running statistics; InstanceNorm with none of them; or nothing. Of so many
    classes a `ConditionalNorm`, where `classes` is a number."""
    one_of("norm", norm, Norm)
    if classes is not None:
        return ConditionalNorm(norm, channels, classes)
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


def is_convolution(layer: nn.Module) -> bool:
    """Whether a layer is a convolution of 2 dimensions, or a transposed one, and no more than that: one group, its own
    forward, and beyond the border zeros or what PaddedConv continues it by."""
    kind = next((kind for kind in (PaddedConv, nn.ConvTranspose2d) if isinstance(layer, kind)), nn.Conv2d)
    return (
        isinstance(layer, kind)
        and type(layer).forward is kind.forward
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def continued(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """What a layer convolves, zeros beyond the border aside: x, of a PaddedConv x with its border continued."""
    return continue_border(x, layer.margin, layer.continued_by) if isinstance(layer, PaddedConv) else x


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

    The classes themselves are read in evaluation mode on a CPU alone, and must be below `net.classes` there: a step
    reads nothing, and a device would have to be waited for.
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
    if net.training or y.device.type != "cpu" or torch.compiler.is_compiling():
        return
    wrong = [label for label in y.tolist() if not 0 <= label < net.classes]
    if wrong:
        raise ValueError(f"{name} got the class {wrong[0]}; it knows {net.classes}, from 0 to {net.classes - 1}.")


def one_hot(y: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Classes (B,) -> (B, classes): 1 at the class, else 0. A class that is not below `classes` is a row of zeros."""
    return (y[:, None] == torch.arange(classes, device=y.device)).to(dtype)


def with_classes(net: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
    """Rows (B, F) and their classes (B,) -> (B, F + net.classes), each class one-hot behind its row; pictures
    (B, C, H, W) -> (B, C + net.classes, H, W), each of these numbers a constant map; without classes x."""
    check_classes(net, len(x), y)
    if y is None:
        return x
    told = one_hot(y, net.classes, x.dtype)
    if x.dim() == 4:
        told = told[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, told], dim=1)


def check_projection(condition: JudgedBy, classes: int | None, outputs: int) -> None:
    """ValueError unless a discriminator can be told of so many classes by `condition`."""
    one_of("condition", condition, JudgedBy)
    if classes is not None and condition == "projection" and outputs != 1:
        raise ValueError(
            f"condition is 'projection' and outputs is {outputs}; a class's projection is added to a single logit. "
            "Set condition to input."
        )


def projected(rows: Tensor, y: Tensor) -> Tensor:
    """V phi(x), (B, K), and classes y (B,) -> y^T V phi(x), (B, 1): the inner product of phi(x) and row y of V, the
    class's embedding (Miyato and Koyama, 2018, "cGANs with Projection Discriminator", equation 3)."""
    return (rows * one_hot(y, rows.shape[1], rows.dtype)).sum(1, keepdim=True)
