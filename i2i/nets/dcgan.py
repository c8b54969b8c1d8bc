"""DCGAN: strided convolutions from noise to picture, and from picture to logit (Radford et al., 2016, section 3).

No pooling and no hidden layer that is fully connected. Pictures of side base * 2^k (see `doublings`), of width W:

    generator       z   base x base transposed convolution to W 2^(k-1) channels; k transposed convolutions that double
                        the side, each but the last to half as many channels, the last to the picture; tanh
    discriminator   x   k convolutions of stride 2, the first to W channels, each after it to twice as many; one
                        base x base convolution to a logit, which is a linear layer on the flattened map

Norm and ReLU follow every layer of G but the last; norm, on all but the first and the last, and LeakyReLU those of D.
Figure 1 of the paper is G with size 64 and width 128: 1024, 512, 256, 128 channels at sides 4, 8, 16, 32.

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
    Norm,
    Upsample,
    activation_layer,
    at_least,
    block,
    check_latents,
    check_sized,
    conv,
    doublings,
    has_bias,
    norm_layer,
    upsampling,
)


@GENERATORS.register("dcgan")
class DCGANGenerator(nn.Module):
    """Latents (B, in_channels) -> pictures (B, out_channels, size, size) in [-1, 1], by tanh.

    Args:
        in_channels: numbers in a latent z.
        out_channels, size: of the pictures, which are square; size is 4, 5, 6 or 7 times a power of two, at least 8.
        width: filters at half the size, before the last layer; twice as many at each half before it.
        norm: batch, instance or none, after every layer but the last.
        activation: relu, the paper's; leaky_relu (slope 0.2) or tanh.
        upsample: deconv, the paper's "fractionally strided" convolution; resize or subpixel.
        spectral_norm: on every convolution.
        init: first weights, see `init_weights`.

    Raises:
        ValueError: an argument outside its range; in `forward`, latents of another shape.
    """

    takes: ClassVar[str] = "latents"
    sized: ClassVar[bool] = True
    classed: ClassVar[bool] = False
    multiple = minimum = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
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
        at_least(1, "width", width, "64")
        base, k = doublings(size)
        self.in_channels, self.out_channels, self.size = in_channels, out_channels, size
        doubling = {"kernel": 4, "padding": "zero", "bias": has_bias(norm)}

        channels = [width * 2**i for i in range(k)][::-1]  # at sides base, 2 base, ..., size / 2
        self.project = block(
            deconv=nn.ConvTranspose2d(in_channels, channels[0], base, bias=has_bias(norm)),
            norm=norm_layer(norm, channels[0]),
            act=activation_layer(activation),
        )
        self.blocks = nn.ModuleList(
            block(
                up=upsampling(upsample, before, after, **doubling),
                norm=norm_layer(norm, after),
                act=activation_layer(activation),
            )
            for before, after in pairwise(channels)
        )
        self.head = block(up=upsampling(upsample, width, out_channels, **doubling), tanh=nn.Tanh())
        init_weights(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(self, z: Tensor) -> Tensor:
        """(B, in_channels), any range -> (B, out_channels, size, size) in [-1, 1]."""
        check_latents(self, z)
        x = self.project(z[:, :, None, None])  # (B, channels[0], base, base)
        for layer in self.blocks:
            x = layer(x)  # (B, channels[i], 2^i base, 2^i base)
        return self.head(x)  # (B, out_channels, size, size)


@DISCRIMINATORS.register("dcgan")
class DCGANDiscriminator(nn.Module):
    """Pictures (B, in_channels, size, size) in [-1, 1] -> logits (B, 1).

    Args:
        in_channels: of the picture, or of a pair laid one upon the other.
        size: side of the pictures, which are square; 4, 5, 6 or 7 times a power of two, at least 8.
        width: filters of the first convolution; each after it has twice as many, as its side is half.
        norm: batch, instance or none, after every convolution but the first and the last.
        activation: leaky_relu (slope 0.2), the paper's; relu or tanh.
        spectral_norm: on every convolution.
        init: first weights, see `init_weights`.

    Raises:
        ValueError: an argument outside its range; in `forward`, pictures of other channels or sides.
    """

    takes: ClassVar[str] = "pictures"
    sized: ClassVar[bool] = True
    classed: ClassVar[bool] = False
    multiple = minimum = 1

    def __init__(
        self,
        in_channels: int,
        size: int,
        *,
        width: int = 64,
        norm: Norm = "batch",
        activation: Activation = "leaky_relu",
        spectral_norm: bool = False,
        init: str = "normal_0.02",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, or 6 for a pair")
        at_least(1, "width", width, "64")
        base, k = doublings(size)
        self.in_channels, self.size = in_channels, size
        bias = has_bias(norm)

        channels = [in_channels, *(width * 2**i for i in range(k))]
        self.blocks = nn.ModuleList(
            block(
                conv=conv(before, after, 4, stride=2, bias=bias),
                norm=norm_layer(norm, after) if i else None,
                act=activation_layer(activation),
            )
            for i, (before, after) in enumerate(pairwise(channels))
        )
        self.head = nn.Conv2d(channels[-1], 1, base, bias=bias)
        init_weights(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(self, x: Tensor, features: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """(B, in_channels, size, size) in [-1, 1] -> logits (B, 1).

        With features=True: (logits, [the output of each block, finest first]), from this one forward: what the paper's
        linear classifiers see, pooled to 4 x 4 (section 5.1); the pooling is theirs, not D's.
        """
        check_sized(self, x)
        maps = []
        for layer in self.blocks:
            x = layer(x)  # (B, 2^i width, size / 2^(i + 1), size / 2^(i + 1))
            maps.append(x)
        logits = self.head(x).flatten(1)  # (B, 1)
        return (logits, maps) if features else logits
