"""Multi-scale PatchGAN: the same discriminator on the picture and on smaller and smaller versions of it
(Wang et al., 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", section 3.2).

The finest judges detail, the coarsest, whose patches cover most of the picture, what belongs together. They have the
same architecture and weights of their own.

Each smaller version is the authors' average pooling of 3x3 pixels with stride 2, which at the border averages only what
is there: a side of n pixels becomes ceil(n / 2), and no pixel is left out. Departures from their code: convolutions
are padded as in pix2pix's PatchGAN (`patchgan`), which is what each scale is; and scales come finest first.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from i2i.nets import DISCRIMINATORS
from i2i.nets.init import spectral_normalise
from i2i.nets.layers import Norm, at_least, check_pictures
from i2i.nets.patchgan import PatchGAN

MOST = 8  # scales: the coarsest then needs pictures of thousands of pixels


@DISCRIMINATORS.register("multiscale")
class MultiScale(nn.Module):
    """(B, in_channels, H, W) in [-1, 1] -> a list of logits, one (B, 1, h, w) for each scale, finest first.

    Objectives average the scales' losses; a gradient penalty takes the mean of the scales' values.

    Args:
        in_channels: of the picture, or of a pair laid one upon the other.
        num_scales: discriminators, each on half the size of the one before; 3 in the paper.
        num_layers, width, norm, spectral_norm, init: of every one of them, see `PatchGAN`.

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
        num_scales: int = 3,
        num_layers: int = 3,
        width: int = 64,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: str = "normal_0.02",
    ):
        super().__init__()
        at_least(1, "num_scales", num_scales, "3, as in the paper")
        if num_scales > MOST:
            raise ValueError(
                f"num_scales is {num_scales}; it must be at most {MOST}: each halves the picture. Usual is 3."
            )
        shared = {"num_layers": num_layers, "width": width, "norm": norm, "init": init}
        self.scales = nn.ModuleList(PatchGAN(in_channels, **shared) for _ in range(num_scales))
        self.in_channels = in_channels
        # the coarsest scale has sides of ceil(n / 2^(num_scales - 1)), which must be its PatchGAN's least
        self.minimum = (self.scales[0].minimum - 1) * 2 ** (num_scales - 1) + 1
        if spectral_norm:  # after all first weights, which are then the same with it and without
            spectral_normalise(self)

    def forward(self, x: Tensor, features: bool = False) -> list[Tensor] | tuple[list[Tensor], list[list[Tensor]]]:
        """(B, in_channels, H, W) in [-1, 1] -> [logits (B, 1, h, w) of each scale].

        With features=True: ([logits], [the output of each block, finest first, of each scale]), from this one forward.
        """
        check_pictures(self, x)
        logits, maps = [], []
        for index, scale in enumerate(self.scales):
            if index:
                x = halved(x)  # (B, in_channels, ceil(H / 2^index), ceil(W / 2^index))
            judged, seen = scale(x, features=True)
            logits.append(judged)
            maps.append(seen)
        return (logits, maps) if features else logits


def halved(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, ceil(H / 2), ceil(W / 2)): the mean of the 3x3 pixels around every second one."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
