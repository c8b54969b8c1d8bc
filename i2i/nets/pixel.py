"""The PixelGAN discriminator: a PatchGAN of 1 x 1 patches, one logit per pixel (Isola et al., 2017, section 4.4)."""

from typing import ClassVar

from torch import Tensor, nn

from i2i.nets import DISCRIMINATORS
from i2i.nets.init import init_weights, spectral_normalise
from i2i.nets.layers import Norm, at_least, block, check_pictures, conv, has_bias, norm_layer


@DISCRIMINATORS.register("pixel")
class PixelGAN(nn.Module):
    """(B, in_channels, H, W) in [-1, 1] -> logits (B, 1, H, W), by 1x1 convolutions.

    Args:
        in_channels: of the picture, or of a pair laid one upon the other.
        width: filters of the first convolution; the second has twice as many.
        norm: batch, instance or none, after the second convolution. With batch the last convolution has no bias, as in
            the reference.
        spectral_norm: on every convolution.
        init: first weights, see `init_weights`.

    Raises:
        ValueError: an argument outside its range; in `forward`, a picture of other channels or sides.
    """

    takes: ClassVar[str] = "pictures"
    sized: ClassVar[bool] = False
    classed: ClassVar[bool] = False
    multiple = 1

    def __init__(
        self,
        in_channels: int,
        *,
        width: int = 64,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: str = "normal_0.02",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, or 6 for a pair")
        at_least(1, "width", width, "64")
        self.in_channels = in_channels
        self.minimum = 1 if norm == "none" else 2  # a norm over one pixel has nothing to compare
        bias = has_bias(norm)

        self.blocks = nn.ModuleList(
            [
                block(conv=conv(in_channels, width, 1), act=nn.LeakyReLU(0.2, inplace=True)),
                block(
                    conv=conv(width, 2 * width, 1, bias=bias),
                    norm=norm_layer(norm, 2 * width),
                    act=nn.LeakyReLU(0.2, inplace=True),
                ),
            ]
        )
        self.head = conv(2 * width, 1, 1, bias=bias)
        init_weights(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(self, x: Tensor, features: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """(B, in_channels, H, W) in [-1, 1] -> logits (B, 1, H, W).

        With features=True: (logits, [the output of each block]), from this one forward.
        """
        check_pictures(self, x)
        maps = []
        for layer in self.blocks:
            x = layer(x)  # (B, width, H, W), then (B, 2 width, H, W)
            maps.append(x)
        logits = self.head(x)  # (B, 1, H, W)
        return (logits, maps) if features else logits
