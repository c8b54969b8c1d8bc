"""A U-Net whose encoder is one of timm's (PyTorch Image Models), with its pretrained weights where they are wanted.

After Ronneberger et al. (2015); what the decoder does at each size, from the smallest up, with `resnet18` (features at
1/2, 1/4, 1/8, 1/16, 1/32) and width 32:

    1/16   up to 256, dropout, beside the encoder's 256, 3x3 convolution to 256
    1/8    up to 256, dropout, beside the encoder's 128, 3x3 convolution to 256
    1/4    up to 128, dropout, beside the encoder's  64, 3x3 convolution to 128
    1/2    up to  64,          beside the encoder's  64, 3x3 convolution to  64
    1      up to  32,          beside the picture,       3x3 convolution to  32; head: 3x3 convolution, tanh

An encoder that begins at 1/4 (ConvNeXt) leaves 1/2 without a skip. Dropout is pix2pix's noise z (Isola et al., 2017,
section 3.2), in the three smallest sizes of the decoder as there.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from i2i.nets import GENERATORS
from i2i.nets.encoder import fitting, statistics, timm_encoder
from i2i.nets.init import init_weights
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


class Stage(nn.Module):
    """Doubles the size, lays the skip beside, and mixes both by a 3x3 convolution."""

    def __init__(
        self, before: int, skip: int, after: int, *, norm: Norm, dropout: bool, upsample: Upsample, padding: Padding
    ):
        super().__init__()
        bias = has_bias(norm)
        self.up = block(
            up=upsampling(upsample, before, after, kernel=4, padding=padding, bias=bias),
            norm=norm_layer(norm, after),
            dropout=nn.Dropout(0.5) if dropout else None,
            act=nn.ReLU(inplace=True),
        )
        self.mix = block(
            conv=conv(after + skip, after, 3, padding=padding, bias=bias),
            norm=norm_layer(norm, after),
            act=nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor, *skips: Tensor) -> Tensor:
        """(B, before, H, W), skips of `skip` channels together at (2 H, 2 W) -> (B, after, 2 H, 2 W)."""
        return self.mix(torch.cat((*skips, self.up(x)), dim=1))


@GENERATORS.register("unet_timm")
class UNetTimm(nn.Module):
    """(B, in_channels, H, W) in [-1, 1] -> (B, out_channels, H, W) in [-1, 1], by tanh.

    H and W are multiples of the encoder's largest reduction (32 for most) and at least twice that.

    Args:
        in_channels, out_channels: of the pictures.
        encoder: a name of timm's, with or without the tag of its weights ("resnet18", "convnext_tiny.in12k"): any
            that gives features at three sizes or more, each smaller than the last. ViT and Mixer do not.
        pretrained: begin with the encoder's published weights. Pictures are then brought to the mean and deviation
            that they expect; these numbers are part of the state dict. Other channel counts than 3: see `timm_encoder`.
        weights: a local file of these weights; null takes them from the hub, once.
        width: filters of the decoder at full size; at 1/2^i it has width * min(2^i, 8).
        norm: batch, instance or none, after every convolution of the decoder but the last. The encoder has its own.
        dropout: half of the features in the three smallest sizes of the decoder (never in its last stage).
        upsample: deconv, resize or subpixel.
        padding: what the decoder's convolutions see beyond the border: zero, reflect or replicate.
        skip_picture: lay the picture itself beside the last features, so that fine detail need not pass the encoder.
        init: first weights of the decoder, see `init_weights`. The encoder has timm's own.

    Raises:
        UserError: (a ValueError) an encoder that does not fit, pretrained weights that are not to be had or not its.
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
        encoder: str = "resnet18",
        pretrained: bool = False,
        weights: str | None = None,
        width: int = 32,
        norm: Norm = "batch",
        dropout: bool = True,
        upsample: Upsample = "resize",
        padding: Padding = "zero",
        skip_picture: bool = True,
        init: str = "normal_0.02",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, for colour")
        at_least(1, "out_channels", out_channels, "3, for colour")
        at_least(1, "width", width, "32")
        self.in_channels, self.out_channels = in_channels, out_channels
        channels, self.reductions = fitting(encoder, in_channels)
        self.multiple, self.minimum = self.reductions[-1], 2 * self.reductions[-1]  # BatchNorm needs more than a pixel
        self.skip_picture = skip_picture

        shared = {"norm": norm, "upsample": upsample, "padding": padding}
        skips = dict(zip(self.reductions, channels))
        skips[1] = skips.get(1, 0) + (in_channels if skip_picture else 0)
        before, reduction, self.stages = channels[-1], self.reductions[-1], nn.ModuleList()
        while reduction > 1:
            reduction //= 2
            after = width * min(reduction, 8)
            noisy = dropout and len(self.stages) < 3 and reduction > 1
            self.stages.append(Stage(before, skips.get(reduction, 0), after, dropout=noisy, **shared))
            before = after
        self.head = block(conv=conv(width, out_channels, 3, padding=padding), tanh=nn.Tanh())
        init_weights(self.stages, init)
        init_weights(self.head, init)

        self.encoder = timm_encoder(encoder, in_channels, pretrained=pretrained, weights=weights)
        mean, std = statistics(encoder, in_channels) if pretrained else ([0.5] * in_channels, [0.5] * in_channels)
        # x = 2 p - 1 for p in [0, 1], so that (p - mean) / std = (x - (2 mean - 1)) / (2 std)
        self.register_buffer("shift", (2 * torch.tensor(mean) - 1).reshape(1, -1, 1, 1))
        self.register_buffer("scale", (2 * torch.tensor(std)).reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) in [-1, 1] -> (B, out_channels, H, W) in [-1, 1]."""
        check_pictures(self, x)
        features = self.encoder((x - self.shift) / self.scale)
        skips = {reduction: [feature] for reduction, feature in zip(self.reductions, features)}
        if self.skip_picture:
            skips.setdefault(1, []).append(x)
        reduction, y = self.reductions[-1], features[-1]  # (B, channels[-1], H / reduction, W / reduction)
        for stage in self.stages:
            reduction //= 2
            y = stage(y, *skips.get(reduction, ()))  # (B, width * min(reduction, 8), H / reduction, W / reduction)
        return self.head(y)  # (B, out_channels, H, W)
