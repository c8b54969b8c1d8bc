"""DCGAN: strided convolutions from noise to picture, and from picture to logit (Radford et al., 2016, section 3).

No pooling and no hidden layer that is fully connected. Pictures of side base * 2^k (see `doublings`), of width W:

    generator       z   base x base transposed convolution to W 2^(k-1) channels; k transposed convolutions that double
                        the side, each but the last to half as many channels, the last to the picture; tanh
    discriminator   x   k convolutions of stride 2, the first to W channels, each after it to twice as many; one
                        base x base convolution to a logit, which is a linear layer on the flattened map

Norm and ReLU follow every layer of G but the last; norm, on all but the first and the last, and LeakyReLU those of D.
Figure 1 of the paper is G with size 64 and width 128: 1024, 512, 256, 128 channels at sides 4, 8, 16, 32.

Built for classes, G is told the class y by its norms, a scale and a shift for each class (`ConditionalNorm`), or by its
input: y one-hot joined to z (Mirza and Osindero, 2014). D is told by its input, y one-hot as maps joined to x, or by
projection (Miyato and Koyama, 2018, equation 3): f(x, y) = y^T V phi(x) + psi(phi(x)). There psi is the last layer and
phi what it reads, which here is the flattened last map, no sum over pixels being in between: V is one more base x base
convolution beside the last.

Unlike the paper's, kernels are 4 x 4 and not 5 x 5, as in the authors' later code, which takes width 64 for 64 px: each
pixel is then touched by equally many entries of a kernel. With norm batch there is no bias anywhere, as there.
"""

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from i2i.nets import DISCRIMINATORS, GENERATORS
from i2i.nets.init import init_weights, spectral_normalise
from i2i.nets.layers import (
    Activation,
    JudgedBy,
    Norm,
    ToldBy,
    Upsample,
    activation_layer,
    at_least,
    block,
    check_classes,
    check_latents,
    check_projection,
    check_sized,
    conv,
    doublings,
    has_bias,
    norm_layer,
    one_of,
    projected,
    upsampling,
    with_classes,
)


@GENERATORS.register("dcgan")
class DCGANGenerator(nn.Module):
    """Latents (B, in_channels) -> pictures (B, out_channels, size, size) in [-1, 1], by tanh.

    Args:
        in_channels: numbers in a latent z.
        out_channels, size: of the pictures, which are square; size is 4, 5, 6 or 7 times a power of two, at least 8.
        classes: how many there are, where `forward` is to be told the class of each picture; else None.
        condition: how it is told, where it is: "norm", by a scale and a shift for each class behind every norm, or
            "input", by the class one-hot joined to z.
        width: filters at half the size, before the last layer; twice as many at each half before it.
        norm: batch, instance or none, after every layer but the last; not none where it tells the class.
        activation: relu, the paper's; leaky_relu (slope 0.2) or tanh.
        upsample: deconv, the paper's "fractionally strided" convolution; resize or subpixel.
        spectral_norm: on every convolution.
        init: first weights, see `init_weights`.

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
        width: int = 64,
        norm: Norm = "batch",
        activation: Activation = "relu",
        upsample: Upsample = "deconv",
        spectral_norm: bool = False,
        init: str = "normal_0.02",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "100")
        at_least(1, "out_channels", out_channels, "3, for colour")
        at_least(1, "classes", 1 if classes is None else classes, "10, MNIST's")
        at_least(1, "width", width, "64")
        one_of("condition", condition, ToldBy)
        base, k = doublings(size)
        self.in_channels, self.out_channels, self.size, self.classes = in_channels, out_channels, size, classes
        self.condition = None if classes is None else condition
        joined = in_channels + classes if self.condition == "input" else in_channels
        told = classes if self.condition == "norm" else None
        doubling = {"kernel": 4, "padding": "zero", "bias": has_bias(norm)}

        channels = [width * 2**i for i in range(k)][::-1]  # at sides base, 2 base, ..., size / 2
        self.project = block(
            deconv=nn.ConvTranspose2d(joined, channels[0], base, bias=has_bias(norm)),
            norm=norm_layer(norm, channels[0], told),
            act=activation_layer(activation),
        )
        self.blocks = nn.ModuleList(
            block(
                up=upsampling(upsample, before, after, **doubling),
                norm=norm_layer(norm, after, told),
                act=activation_layer(activation),
            )
            for before, after in pairwise(channels)
        )
        self.head = block(up=upsampling(upsample, width, out_channels, **doubling), tanh=nn.Tanh())
        init_weights(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, in_channels), any range, and classes (B,) -> (B, out_channels, size, size) in [-1, 1]."""
        check_latents(self, z)
        check_classes(self, len(z), y)
        if self.condition == "input":
            z = with_classes(self, z, y)  # (B, in_channels + classes)
        told = (y,) if self.condition == "norm" else ()
        x = self.project(z[:, :, None, None], *told)  # (B, channels[0], base, base)
        for layer in self.blocks:
            x = layer(x, *told)  # (B, channels[i], 2^i base, 2^i base)
        return self.head(x)  # (B, out_channels, size, size)


@DISCRIMINATORS.register("dcgan")
class DCGANDiscriminator(nn.Module):
    """Pictures (B, in_channels, size, size) in [-1, 1] -> logits (B, outputs).

    Args:
        in_channels: of the picture, or of a pair laid one upon the other.
        size: side of the pictures, which are square; 4, 5, 6 or 7 times a power of two, at least 8.
        classes: how many there are, where `forward` is to be told the class of each picture; else None.
        outputs: numbers in a row of logits; one where the class is told by projection.
        condition: how it is told, where it is: "projection", by the last map's inner product with the class's
            embedding, added to the logit, or "input", by the class one-hot as maps joined to the picture.
        width: filters of the first convolution; each after it has twice as many, as its side is half.
        norm: batch, instance or none, after every convolution but the first and the last.
        activation: leaky_relu (slope 0.2), the paper's; relu or tanh.
        spectral_norm: on every convolution, the embeddings' too.
        init: first weights, see `init_weights`.

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
        width: int = 64,
        norm: Norm = "batch",
        activation: Activation = "leaky_relu",
        spectral_norm: bool = False,
        init: str = "normal_0.02",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, or 6 for a pair")
        at_least(1, "classes", 1 if classes is None else classes, "10, MNIST's")
        at_least(1, "outputs", outputs, "1, or 11 to name one of ten classes too")
        at_least(1, "width", width, "64")
        check_projection(condition, classes, outputs)
        base, k = doublings(size)
        self.in_channels, self.size, self.classes, self.outputs = in_channels, size, classes, outputs
        self.condition = None if classes is None else condition
        joined = in_channels + classes if self.condition == "input" else in_channels
        bias = has_bias(norm)

        channels = [joined, *(width * 2**i for i in range(k))]
        self.blocks = nn.ModuleList(
            block(
                conv=conv(before, after, 4, stride=2, bias=bias),
                norm=norm_layer(norm, after) if i else None,
                act=activation_layer(activation),
            )
            for i, (before, after) in enumerate(pairwise(channels))
        )
        self.head = nn.Conv2d(channels[-1], outputs, base, bias=bias)
        if self.condition == "projection":
            self.embed = nn.Conv2d(channels[-1], classes, base, bias=False)  # V: a row of weights for each class
        init_weights(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(
        self, x: Tensor, y: Tensor | None = None, features: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """(B, in_channels, size, size) in [-1, 1], and classes (B,) -> logits (B, outputs).

        With features=True: (logits, [the output of each block, finest first]), from this one forward: what the paper's
        linear classifiers see, pooled to 4 x 4 (section 5.1); the pooling is theirs, not D's.
        """
        check_sized(self, x)
        check_classes(self, len(x), y)
        maps = []
        if self.condition == "input":
            x = with_classes(self, x, y)  # (B, in_channels + classes, size, size)
        for layer in self.blocks:
            x = layer(x)  # (B, 2^i width, size / 2^(i + 1), size / 2^(i + 1))
            maps.append(x)
        logits = self.head(x).flatten(1)  # (B, outputs)
        if self.condition == "projection":
            logits = logits + projected(self.embed(x).flatten(1), y)  # (B, 1)
        return (logits, maps) if features else logits
