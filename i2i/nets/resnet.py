"""The residual generator of CycleGAN: down twice, residual blocks, up twice (Zhu et al., 2017, appendix 7.2).

After Johnson et al. (2016). With num_blocks 9 and width 64, in the paper's words: c7s1-64, d128, d256, R256 nine times,
u128, u64, c7s1-3. The paper takes 6 blocks for pictures of 128 px and 9 for 256 px and more.
"""

from typing import ClassVar

from torch import Tensor, nn

from i2i.nets import GENERATORS
from i2i.nets.init import init_weights, spectral_normalise
from i2i.nets.layers import (
    Norm,
    Padding,
    Upsample,
    at_least,
    block,
    check_pictures,
    conv,
    has_bias,
    norm_layer,
    upsampling,
)


def conv_norm_relu(convolution: nn.Module, norm: Norm, channels: int) -> nn.Sequential:
    """A convolution to `channels`, its norm, ReLU."""
    return block(conv=convolution, norm=norm_layer(norm, channels), act=nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """x + f(x) with two 3x3 convolutions in f, and nothing after the sum (Gross and Wilber, 2016)."""

    def __init__(self, channels: int, *, norm: Norm, dropout: bool, padding: Padding):
        super().__init__()
        self.residual = block(
            conv1=conv(channels, channels, 3, padding=padding, bias=has_bias(norm)),
            norm1=norm_layer(norm, channels),
            act=nn.ReLU(inplace=True),
            dropout=nn.Dropout(0.5) if dropout else None,
            conv2=conv(channels, channels, 3, padding=padding, bias=has_bias(norm)),
            norm2=norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + self.residual(x)


@GENERATORS.register("resnet")
class ResNet(nn.Module):
    """(B, in_channels, H, W) in [-1, 1] -> (B, out_channels, H, W) in [-1, 1], by tanh; H, W multiples of 4 from 8 on.

    Args:
        in_channels, out_channels: of the pictures.
        num_blocks: residual blocks at a quarter of the size.
        width: filters at full size; twice that at half, four times at a quarter.
        norm: batch, instance or none, after every convolution but the last.
        dropout: half of the features between the two convolutions of each residual block.
        spectral_norm: on every convolution.
        upsample: deconv, resize or subpixel.
        padding: what convolutions of stride 1 see beyond the border: reflect, replicate or zero. The two of stride 2
            always see zeros, as in the reference.
        init: first weights, see `init_weights`.

    Raises:
        ValueError: an argument outside its range; in `forward`, a picture of other channels or sides.
    """

    takes: ClassVar[str] = "pictures"
    sized: ClassVar[bool] = False
    classed: ClassVar[bool] = False
    multiple = 4
    minimum = 8  # at a quarter of the size InstanceNorm needs more than one pixel

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_blocks: int = 9,
        width: int = 64,
        norm: Norm = "instance",
        dropout: bool = False,
        spectral_norm: bool = False,
        upsample: Upsample = "deconv",
        padding: Padding = "reflect",
        init: str = "normal_0.02",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, for colour")
        at_least(1, "out_channels", out_channels, "3, for colour")
        at_least(1, "num_blocks", num_blocks, "9 for pictures of 256 px, 6 for 128 px")
        at_least(1, "width", width, "64")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.dropout, self.upsample, self.padding = dropout, upsample, padding
        bias = has_bias(norm)

        self.stem = conv_norm_relu(conv(in_channels, width, 7, padding=padding, bias=bias), norm, width)
        self.down = nn.Sequential(
            conv_norm_relu(conv(width, 2 * width, 3, stride=2, bias=bias), norm, 2 * width),
            conv_norm_relu(conv(2 * width, 4 * width, 3, stride=2, bias=bias), norm, 4 * width),
        )
        self.blocks = nn.Sequential(
            *(ResidualBlock(4 * width, norm=norm, dropout=dropout, padding=padding) for _ in range(num_blocks))
        )
        doubling = {"kernel": 3, "padding": padding, "bias": bias}
        self.up = nn.Sequential(
            conv_norm_relu(upsampling(upsample, 4 * width, 2 * width, **doubling), norm, 2 * width),
            conv_norm_relu(upsampling(upsample, 2 * width, width, **doubling), norm, width),
        )
        self.head = block(conv=conv(width, out_channels, 7, padding=padding), tanh=nn.Tanh())
        init_weights(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) in [-1, 1] -> (B, out_channels, H, W) in [-1, 1]."""
        check_pictures(self, x)
        x = self.stem(x)  # (B, width, H, W)
        x = self.down(x)  # (B, 4 width, H / 4, W / 4)
        x = self.blocks(x)  # (B, 4 width, H / 4, W / 4)
        x = self.up(x)  # (B, width, H, W)
        return self.head(x)  # (B, out_channels, H, W)
