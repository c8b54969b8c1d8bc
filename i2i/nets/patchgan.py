"""PatchGAN: one logit for each overlapping patch of a picture (Isola et al., 2017, section 3.2.2 and appendix 6.1.2).

With num_layers 3 and width 64, in the paper's words: C64-C128-C256-C512, then one convolution to a logit, all 4x4.
Strides are 2, 2, 2, 1, 1, so that each logit sees 70 x 70 pixels; with num_layers 1, 2, 4, 5: 16, 34, 142, 286.
"""

from typing import ClassVar

from torch import Tensor, nn

from i2i.nets import DISCRIMINATORS
from i2i.nets.init import init_weights, spectral_normalise
from i2i.nets.layers import Norm, at_least, block, check_pictures, conv, has_bias, norm_layer


@DISCRIMINATORS.register("patchgan")
class PatchGAN(nn.Module):
    """(B, in_channels, H, W) in [-1, 1] -> logits (B, 1, h, w), h = floor(H / 2^num_layers) - 2; w likewise.

    Args:
        in_channels: of the picture, or of a pair laid one upon the other.
        num_layers: convolutions of stride 2. Sides must be at least 3 * 2^num_layers.
        width: filters of the first convolution; the i-th after it has width * min(2^i, 8).
        norm: batch, instance or none, after every convolution but the first and the last.
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
        num_layers: int = 3,
        width: int = 64,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: str = "normal_0.02",
    ):
        super().__init__()
        at_least(1, "in_channels", in_channels, "3, or 6 for a pair")
        at_least(1, "num_layers", num_layers, "3, for patches of 70 px")
        at_least(1, "width", width, "64")
        self.in_channels = in_channels
        self.minimum = 3 * 2**num_layers  # the two convolutions of stride 1 take one pixel each, and one must be left

        channels = [width * min(2**i, 8) for i in range(num_layers + 1)]
        self.blocks = nn.ModuleList(
            [block(conv=conv(in_channels, width, 4, stride=2), act=nn.LeakyReLU(0.2, inplace=True))]
        )
        for i in range(1, num_layers + 1):
            self.blocks.append(
                block(
                    conv=conv(channels[i - 1], channels[i], 4, stride=2 if i < num_layers else 1, bias=has_bias(norm)),
                    norm=norm_layer(norm, channels[i]),
                    act=nn.LeakyReLU(0.2, inplace=True),
                )
            )
        self.head = conv(channels[-1], 1, 4)
        init_weights(self, init)
        if spectral_norm:
            spectral_normalise(self)

    def forward(self, x: Tensor, features: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """(B, in_channels, H, W) in [-1, 1] -> logits (B, 1, h, w).

        With features=True: (logits, [the output of each block, finest first]), from this one forward.
        """
        check_pictures(self, x)
        maps = []
        for layer in self.blocks:
            x = layer(x)  # (B, channels[i], H / 2^(i + 1), W / 2^(i + 1)); the last keeps its size but for one pixel
            maps.append(x)
        logits = self.head(x)  # (B, 1, h, w)
        return (logits, maps) if features else logits
