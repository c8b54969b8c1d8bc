"""The residual networks of WGAN-GP (Gulrajani et al., 2017) and of SNGAN (Miyato et al., 2018, appendix B.4).

For CIFAR-10 both papers take one pair of networks, but for widths and norms: pre-activation residual blocks, as wide at
every side. For pictures of side base * 2^k (see `doublings`):

    generator       z   linear to width x base x base, k blocks that double the side, norm, ReLU, 3x3 convolution, tanh
    discriminator   x   k - 1 blocks that halve the side (one where k is 1), two that keep it, ReLU, the sum or the mean
                        over all pixels, linear to a logit

    a block         x + f(x) with f = [norm, ReLU, 3x3 convolution] twice; where the side changes x goes through a 1x1
                    convolution, and both are doubled (each pixel four times) or halved (the mean of four)

WGAN-GP: width 128, no norm in D, or layer, which treats each picture alone (section 4), and the mean. SNGAN: width 256
in G, 128 in D, spectral norm in D and the sum. Other sides than 32 px are this rule continued: the papers' own networks
for larger pictures are wider where the side is small.

Built for classes, G is told the class y by its norms (Miyato and Koyama, 2018) or by its input: y one-hot joined to z
(Mirza and Osindero, 2014). Of the norms those of the blocks have a scale and a shift for every class
(`ConditionalNorm`); the last one has one for all, as in the authors' code. D is told by its input, y one-hot as maps
joined to x, or by projection (Miyato and Koyama, equation 3): f(x, y) = y^T V phi(x) + psi(phi(x)), phi being the sum
or the mean over all pixels and psi the linear layer behind it.

As in the authors' code, G doubles the side before a block's first convolution, and D's first block has no norm and no
ReLU before its first convolution, where a picture's negative half would be lost. Unlike there, a convolution has no
bias where a norm subtracts it again.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from i2i.nets import DISCRIMINATORS, GENERATORS
from i2i.nets.init import init_weights, spectral_normalise
from i2i.nets.layers import (
    JudgedBy,
    Norm,
    ToldBy,
    at_least,
    block,
    check_classes,
    check_latents,
    check_projection,
    check_sized,
    conv,
    doublings,
    norm_layer,
    one_of,
    projected,
    with_classes,
)

CriticNorm = Literal["batch", "instance", "layer", "none"]
Pool = Literal["sum", "mean"]


class UpBlock(nn.Module):
    """A residual block of G: (B, C, H, W) -> (B, C, 2 H, 2 W), its norms told a class where `classes` is a number."""

    def __init__(self, channels: int, *, norm: Norm, classes: int | None = None):
        super().__init__()
        bias = norm == "none"  # a constant on a whole map is carried by the skips to the next norm, and to the last
        self.residual = block(
            norm1=norm_layer(norm, channels, classes),
            act1=nn.ReLU(inplace=norm != "none"),  # else it would write to x, which the skip reads
            up=nn.Upsample(scale_factor=2, mode="nearest"),
            conv1=conv(channels, channels, 3, bias=bias),
            norm2=norm_layer(norm, channels, classes),
            act2=nn.ReLU(inplace=True),
            conv2=conv(channels, channels, 3, bias=bias),
        )
        # doubling and a 1x1 convolution may change places, and on the small map it costs a quarter
        self.skip = block(conv=conv(channels, channels, 1, bias=bias), up=nn.Upsample(scale_factor=2, mode="nearest"))

    def forward(self, x: Tensor, *y: Tensor) -> Tensor:
        """(B, C, H, W), any range, and classes (B,) where it is told some -> (B, C, 2 H, 2 W)."""
        return self.skip(x) + self.residual(x, *y)


class CriticBlock(nn.Module):
    """A residual block of D: (B, in_channels, H, W) -> (B, channels, H, W), or half of both sides where it halves."""

    def __init__(self, in_channels: int, channels: int, *, norm: CriticNorm, first: bool = False, halve: bool = False):
        super().__init__()
        norm = "none" if first else norm
        self.residual = block(
            norm1=critic_norm(norm, in_channels),
            act1=None if first else nn.ReLU(inplace=norm != "none"),  # else it would write to x, which the skip reads
            conv1=conv(in_channels, channels, 3, bias=norm in ("layer", "none")),
            norm2=critic_norm(norm, channels),
            act2=nn.ReLU(inplace=True),
            conv2=conv(channels, channels, 3),
            pool=nn.AvgPool2d(2) if halve else None,
        )
        self.skip = block(pool=nn.AvgPool2d(2), conv=conv(in_channels, channels, 1)) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W), any range -> (B, channels, H, W) or (B, channels, H / 2, W / 2)."""
        return self.skip(x) + self.residual(x)


def critic_norm(norm: CriticNorm, channels: int) -> nn.Module | None:
    """A `norm_layer`, or layer normalisation: over all numbers of a picture's maps, a scale and a shift per channel."""
    one_of("norm", norm, CriticNorm)
    return nn.GroupNorm(1, channels) if norm == "layer" else norm_layer(norm, channels)


def _init(net: nn.Module, init: str) -> None:
    """`init_weights`, where xavier gives the 3x3 convolutions of blocks sqrt(2) times its gain, as in the code of both
    papers: a ReLU before a convolution takes half of what it reads."""
    init_weights(net, init)
    if not init.startswith("xavier"):
        return
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, UpBlock | CriticBlock):
                module.residual.conv1.weight.mul_(2**0.5)
                module.residual.conv2.weight.mul_(2**0.5)


@GENERATORS.register("resnet_gan")
class ResNetGANGenerator(nn.Module):
    """Latents (B, in_channels) -> pictures (B, out_channels, size, size) in [-1, 1], by tanh.

    Args:
        in_channels: numbers in a latent z.
        out_channels, size: of the pictures, which are square; size is 4, 5, 6 or 7 times a power of two, at least 8.
        classes: how many there are, where `forward` is to be told the class of each picture; else None.
        condition: how it is told, where it is: "norm", by a scale and a shift for each class behind every norm of a
            block, or "input", by the class one-hot joined to z.
        width: filters of every block.
        norm: batch, instance or none, before both convolutions of each block and before the last; not none where it
            tells the class.
        spectral_norm: on every convolution and on the linear layer.
        init: first weights, see `init_weights`; with xavier the 3x3 convolutions of blocks have sqrt(2) times its gain.

    Raises:
        ValueError: an argument outside its range; in `forward`, latents of another shape, or classes that are missing,
            not wanted, or of another shape or type.
    """

    takes: ClassVar[str] = "latents"
    sized: ClassVar[bool] = True
    classed: ClassVar[bool] = True
    multiple = minimum = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        classes: int | None = None,
        *,
        condition: ToldBy = "norm",
        width: int = 128,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: str = "xavier_uniform_1",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "128")
        at_least(1, "out_channels", out_channels, "3, for colour")
        at_least(1, "classes", 1 if classes is None else classes, "10, MNIST's")
        at_least(1, "width", width, "128, or 256")
        one_of("condition", condition, ToldBy)
        base, k = doublings(size)
        self.in_channels, self.out_channels, self.size, self.classes = in_channels, out_channels, size, classes
        self.base, self.width, self.condition = base, width, None if classes is None else condition
        joined = in_channels + classes if self.condition == "input" else in_channels
        told = classes if self.condition == "norm" else None

        self.project = nn.Linear(joined, width * base**2)
        self.blocks = nn.ModuleList(UpBlock(width, norm=norm, classes=told) for _ in range(k))
        self.head = block(
            norm=norm_layer(norm, width),
            act=nn.ReLU(inplace=True),
            conv=conv(width, out_channels, 3),
            tanh=nn.Tanh(),
        )
        _init(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, in_channels), any range, and classes (B,) -> (B, out_channels, size, size) in [-1, 1]."""
        check_latents(self, z)
        check_classes(self, len(z), y)
        if self.condition == "input":
            z = with_classes(self, z, y)  # (B, in_channels + classes)
        told = (y,) if self.condition == "norm" else ()
        x = self.project(z).unflatten(1, (self.width, self.base, self.base))  # (B, width, base, base)
        for layer in self.blocks:
            x = layer(x, *told)  # (B, width, 2^(i + 1) base, 2^(i + 1) base)
        return self.head(x)  # (B, out_channels, size, size)


@DISCRIMINATORS.register("resnet_gan")
class ResNetGANDiscriminator(nn.Module):
    """Pictures (B, in_channels, size, size) in [-1, 1] -> logits (B, outputs).

    Args:
        in_channels: of the picture, or of a pair laid one upon the other.
        size: side of the pictures, which are square; 4, 5, 6 or 7 times a power of two, at least 8.
        classes: how many there are, where `forward` is to be told the class of each picture; else None.
        outputs: numbers in a row of logits; one where the class is told by projection.
        condition: how it is told, where it is: "projection", by the pooled features' inner product with the class's
            embedding, added to the logit, or "input", by the class one-hot as maps joined to the picture.
        width: filters of every block.
        norm: none; layer or instance, which a gradient penalty goes with; or batch. Before both convolutions of every
            block but the first.
        pool: what the last layer sees of a map: the sum of its pixels, SNGAN's, or the mean, WGAN-GP's.
        spectral_norm: on every convolution, on the linear layer and on the embeddings.
        init: first weights, see `init_weights`; with xavier the 3x3 convolutions of blocks have sqrt(2) times its gain.

    Raises:
        ValueError: an argument outside its range; in `forward`, pictures of other channels or sides, or classes that
            are missing, not wanted, or of another shape or type.
    """

    takes: ClassVar[str] = "pictures"
    sized: ClassVar[bool] = True
    classed: ClassVar[bool] = True
    multiple = minimum = 1

    def __init__(
        self,
        in_channels: int,
        size: int,
        classes: int | None = None,
        outputs: int = 1,
        *,
        condition: JudgedBy = "projection",
        width: int = 128,
        norm: CriticNorm = "none",
        pool: Pool = "sum",
        spectral_norm: bool = False,
        init: str = "xavier_uniform_1",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, or 6 for a pair")
        at_least(1, "classes", 1 if classes is None else classes, "10, MNIST's")
        at_least(1, "outputs", outputs, "1, or 11 to name one of ten classes too")
        at_least(1, "width", width, "128")
        one_of("pool", pool, Pool)
        check_projection(condition, classes, outputs)
        _, k = doublings(size)
        self.in_channels, self.size, self.classes, self.outputs = in_channels, size, classes, outputs
        self.pool, self.condition = pool, None if classes is None else condition
        joined = in_channels + classes if self.condition == "input" else in_channels

        halvings = max(1, k - 1)  # of 32 px to 8 x 8
        self.blocks = nn.ModuleList(
            CriticBlock(width if i else joined, width, norm=norm, first=i == 0, halve=i < halvings)
            for i in range(halvings + 2)
        )
        self.act = nn.ReLU()  # not in place: the last feature map stays what it is
        self.head = nn.Linear(width, outputs)
        if self.condition == "projection":
            self.embed = nn.Linear(width, classes, bias=False)  # V: a row for each class
        _init(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(
        self, x: Tensor, y: Tensor | None = None, features: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """(B, in_channels, size, size) in [-1, 1], and classes (B,) -> logits (B, outputs).

        With features=True: (logits, [the output of each block, finest first]), from this one forward.
        """
        check_sized(self, x)
        check_classes(self, len(x), y)
        maps = []
        if self.condition == "input":
            x = with_classes(self, x, y)  # (B, in_channels + classes, size, size)
        for layer in self.blocks:
            x = layer(x)  # (B, width, H / 2, W / 2), of the last two (B, width, H, W)
            maps.append(x)
        x = self.act(x).sum((2, 3)) if self.pool == "sum" else self.act(x).mean((2, 3))  # (B, width)
        logits = self.head(x)  # (B, outputs)
        if self.condition == "projection":
            logits = logits + projected(self.embed(x), y)  # (B, 1)
        return (logits, maps) if features else logits
