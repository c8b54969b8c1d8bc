"""The U-Net of pix2pix: an encoder and a decoder with a skip connection at every size (Isola et al., 2017, Figure 3).

With num_downs 8, width 64 and a picture of 256 px. Ck is a 4x4 convolution of stride 2 with k filters; beside it the
size it leaves:

    level 0   C64   128 px  ────────────────── skip ──────────────────  128 px  head: deconv to the picture, tanh
    level 1   C128   64 px  ────────────────── skip ──────────────────   64 px  C64
    level 2   C256   32 px  ────────────────── skip ──────────────────   32 px  C128
    level 3   C512   16 px  ────────────────── skip ──────────────────   16 px  C256
    level 4   C512    8 px  ────────────────── skip ──────────────────    8 px  C512, dropout
    level 5   C512    4 px  ────────────────── skip ──────────────────    4 px  C512, dropout
    level 6   C512    2 px  ────────────────── skip ──────────────────    2 px  C512, dropout
    level 7   C512    1 px  ─────────────── bottleneck ───────────────    1 px  C512

The decoder reads this table upwards: what comes from below is laid beside the skip of that level, and doubled in size.

Departures from the paper, with its authors' PyTorch code: the bottleneck has no norm (which over a single pixel gives
zero, as the paper's erratum says), and dropout is one level higher than in the paper's text, in 4 to num_downs - 2.
"""

from itertools import pairwise
from typing import ClassVar

import torch
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


@GENERATORS.register("unet")
class UNet(nn.Module):
    """(B, in_channels, H, W) in [-1, 1] -> (B, out_channels, H, W) in [-1, 1], by tanh; H, W multiples of 2^num_downs.

    Args:
        in_channels, out_channels: of the pictures.
        num_downs: levels, each of half the size: 8 takes 256 px down to 1 px, 7 takes 128 px.
        width: filters of level 0; level i has width * min(2^i, 8).
        norm: batch, instance or none, after every convolution but the first, the bottleneck's and the last.
        dropout: half of the features in decoder levels 4 to num_downs - 2, the paper's noise z; with 5 levels or fewer
            there is no such level.
        spectral_norm: on every convolution.
        upsample: deconv, resize or subpixel. Where resize doubles a bottleneck of one pixel and padding is
            not zero, the four pixels stay equal, and a norm over one picture makes them zero: take one level fewer.
        padding: what convolutions see beyond the border: zero, reflect or replicate.
        init: first weights, see `init_weights`.

    Raises:
        ValueError: an argument outside its range; in `forward`, a picture of other channels or sides.
    """

    takes: ClassVar[str] = "pictures"
    sized: ClassVar[bool] = False
    classed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_downs: int = 8,
        width: int = 64,
        norm: Norm = "batch",
        dropout: bool = True,
        spectral_norm: bool = False,
        upsample: Upsample = "deconv",
        padding: Padding = "zero",
        init: str = "normal_0.02",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, for colour")
        at_least(1, "out_channels", out_channels, "3, for colour")
        at_least(2, "num_downs", num_downs, "8 for pictures of 256 px, 7 for 128 px")
        at_least(1, "width", width, "64")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.multiple = self.minimum = 2**num_downs
        self.upsample, self.padding = upsample, padding

        channels = [width * min(2**level, 8) for level in range(num_downs)]
        bottleneck = num_downs - 1
        bias = has_bias(norm)

        self.encoder = nn.ModuleList()
        for level, (before, after) in enumerate(pairwise([in_channels, *channels])):
            down = conv(before, after, 4, stride=2, padding=padding, bias=bias)
            normed = norm_layer(norm, after) if 0 < level < bottleneck else None
            act = nn.LeakyReLU(0.2, inplace=True) if level < bottleneck else None  # its activation opens the decoder
            self.encoder.append(block(conv=down, norm=normed, act=act))

        self.decoder = nn.ModuleList()
        for level in range(bottleneck, 0, -1):
            before = channels[level] if level == bottleneck else 2 * channels[level]  # 2: with the skip beside it
            after = channels[level - 1]
            act = nn.ReLU(inplace=True)  # of the skip too, where ReLU(LeakyReLU(x)) = ReLU(x)
            up = upsampling(upsample, before, after, kernel=4, padding=padding, bias=bias)
            noise = nn.Dropout(0.5) if dropout and 4 <= level < bottleneck else None
            self.decoder.append(block(act=act, up=up, norm=norm_layer(norm, after), dropout=noise))

        self.head = block(
            act=nn.ReLU(inplace=True),
            up=upsampling(upsample, 2 * channels[0], out_channels, kernel=4, padding=padding, bias=True),
            tanh=nn.Tanh(),
        )
        init_weights(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) in [-1, 1] -> (B, out_channels, H, W) in [-1, 1]."""
        check_pictures(self, x)
        skips = []
        for down in self.encoder:
            x = down(x)  # (B, channels[level], H / 2^(level + 1), W / 2^(level + 1))
            skips.append(x)
        x = skips.pop()  # the bottleneck: (B, 8 width, H / 2^num_downs, W / 2^num_downs)
        for up in self.decoder:
            x = torch.cat((skips.pop(), up(x)), dim=1)  # (B, 2 channels[level - 1], twice the height, twice the width)
        return self.head(x)  # (B, out_channels, H, W)
