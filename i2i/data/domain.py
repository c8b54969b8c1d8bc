"""What the numbers of a domain's pictures mean: levels of a file <-> values in [-1, 1]."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from i2i.errors import UserError

DTYPES = {8: np.uint8, 16: np.uint16}


@dataclass(frozen=True)
class Domain:
    """One of the two kinds of picture that a translation goes between.

    Args:
        channels: 1 (grey) or 3 (RGB); alpha is not counted.
        range: the levels that become -1 and 1. Levels outside are clipped.
        depth: bits of a level, 8 or 16.

    Raises:
        UserError: a range that is empty or that no level of this depth reaches, another depth, no channels.
    """

    channels: int
    range: tuple[float, float]
    depth: int

    def __post_init__(self):
        if self.depth not in DTYPES:
            raise UserError(f"depth {self.depth}: pictures have 8 or 16 bits a channel. Give one of these.")
        if self.channels < 1:
            raise UserError(f"channels {self.channels}: a picture has at least one. Give 1 for grey, 3 for RGB.")
        object.__setattr__(self, "range", tuple(self.range))
        low, high = self.range
        if not 0 <= low < high <= self.top:
            raise UserError(
                f"range [{low:g}, {high:g}] is not a range of {self.depth}-bit levels, which go from 0 to {self.top}. "
                "Give [lowest, highest] within them, or auto."
            )

    @property
    def top(self) -> int:
        """The highest level that a file of this depth can hold."""
        return 2**self.depth - 1

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """The NumPy type of this domain's pixels."""
        return DTYPES[self.depth]

    def to_tensor(self, pixels: np.ndarray) -> Tensor:
        """Levels (H, W, C) -> (C, H, W) float32 in [-1, 1], contiguous.

        The ends of the range become exactly -1 and 1, what lies outside is clipped to them. For 8 bits and the full
        range these are the bits of `ToTensor` followed by `Normalize(0.5, 0.5)`.

        Raises:
            ValueError: another type of level or another number of channels than the domain's.
        """
        if pixels.dtype != self.dtype or pixels.ndim != 3 or pixels.shape[2] != self.channels:
            raise ValueError(
                f"pixels {pixels.dtype} {pixels.shape} are not of this domain, which is {self.depth} bits, "
                f"(H, W, {self.channels}). Decode, and `to_channels` first."
            )
        low, high = self.range
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
        x = torch.from_numpy(planes)
        if low:
            x.sub_(low)
        x.div_(high - low).mul_(2).sub_(1)  # a division: a factor 1 / (high - low) misses 1 by a bit
        return x if (low, high) == (0, self.top) else x.clamp_(-1, 1)

    def to_pixels(self, x: Tensor) -> np.ndarray:
        """(C, H, W), clamped to [-1, 1] -> levels (H, W, C), rounded half up; gives back what `to_tensor` was given.

        Raises:
            UserError: a value that is not a number.
        """
        x = x.detach().to("cpu", torch.float32)
        if not torch.isfinite(x).all():
            raise UserError(
                "a picture with values that are not finite cannot be written. The network that made it has diverged."
            )
        low, high = self.range
        levels = (x.clamp(-1, 1).double() + 1).mul_(0.5 * (high - low)).add_(low + 0.5).floor_()
        return np.ascontiguousarray(levels.clamp_(0, self.top).permute(1, 2, 0).numpy().astype(self.dtype))
