"""What the numbers of a domain's pictures mean: levels of a file <-> values in [-1, 1]."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from i2i.errors import UserError

DTYPES = {8: np.uint8, 16: np.uint16, 32: np.float32}


@dataclass(frozen=True)
class Domain:
    """One of the two kinds of picture that a translation goes between.

    Args:
        channels: alpha apart: 1 is grey, 3 is RGB, any other count is what the files say it is.
        range: the levels that become -1 and 1. Levels outside are clipped.
        depth: 8 or 16, bits of a level; 32 for float32 pictures.
        page: which page of each TIFF, from 0; None for files of one page.

    Raises:
        UserError: a range that is empty or that no level of this depth reaches, another depth, no channels.
    """

    channels: int
    range: tuple[float, float]
    depth: int
    page: int | None = None

    def __post_init__(self):
        if self.depth not in DTYPES:
            raise UserError(
                f"depth {self.depth}: pictures have 8 or 16 bits a channel, or 32 as floats. Give one of these."
            )
        if self.channels < 1:
            raise UserError(f"channels {self.channels}: a picture has at least one. Give 1 for grey, 3 for RGB.")
        object.__setattr__(self, "range", tuple(self.range))
        low, high = self.range
        if self.top is None:
            with np.errstate(over="ignore"):
                fits = np.isfinite(np.float32([low, high])).all() and np.float32(low) < np.float32(high)
            if not fits:
                raise UserError(
                    f"range [{low:g}, {high:g}] is not a range of 32-bit floats. Give [lowest, highest], two finite "
                    "numbers that rise."
                )
        elif not 0 <= low < high <= self.top:
            raise UserError(
                f"range [{low:g}, {high:g}] is not a range of {self.depth}-bit levels, which go from 0 to {self.top}. "
                "Give [lowest, highest] within them, or auto."
            )

    @property
    def top(self) -> int | None:
        """The highest level that a file of this depth can hold; None for floats."""
        return None if self.depth == 32 else 2**self.depth - 1

    @property
    def dtype(self) -> type[np.number]:
        """The NumPy type of this domain's pixels."""
        return DTYPES[self.depth]

    def to_tensor(self, pixels: np.ndarray) -> Tensor:
        """Levels (H, W, C) -> (C, H, W) float32 in [-1, 1], contiguous; (B, H, W, C) -> (B, C, H, W).

        The ends of the range become exactly -1 and 1, what lies outside is clipped to them. For 8 bits and the full
        range these are the bits of `ToTensor` followed by `Normalize(0.5, 0.5)`.

        Raises:
            ValueError: another type of level or another number of channels than the domain's.
            UserError: a float that is not finite.
        """
        return self.values(self.planes(pixels))

    def planes(self, pixels: np.ndarray) -> np.ndarray:
        """The first half of `to_tensor`: (..., H, W, C) -> (..., C, H, W), contiguous; still levels, where these have 8
        or 16 bits, and values in [-1, 1] where they are floats. Errors as for `to_tensor`."""
        if pixels.dtype != self.dtype or pixels.ndim not in (3, 4) or pixels.shape[-1] != self.channels:
            raise ValueError(
                f"pixels {pixels.dtype} {pixels.shape} are not of this domain, which is {self._words()}, "
                f"(H, W, {self.channels}). Decode, and `to_channels` first."
            )
        return self._from_floats(pixels) if self.depth == 32 else np.ascontiguousarray(np.moveaxis(pixels, -1, -3))

    def values(self, planes: np.ndarray) -> Tensor:
        """The second half of `to_tensor`, of what the first one made."""
        if self.depth == 32:
            return torch.from_numpy(planes)
        low, high = self.range
        x = torch.from_numpy(planes.astype(np.float32))
        if low:
            x.sub_(low)
        x.div_(high - low).mul_(2).sub_(1)  # a division: a factor 1 / (high - low) misses 1 by a bit
        return x if (low, high) == (0, self.top) else x.clamp_(-1, 1)

    def to_pixels(self, x: Tensor) -> np.ndarray:
        """(C, H, W), clamped to [-1, 1] -> levels (H, W, C), rounded half up; gives back what `to_tensor` was given.

        Levels of 8 and 16 bits come back exactly over the full range; floats within 1e-6 of the range (a value in
        [-1, 1] is a float32 itself: steps of 6e-8 of the range).

        Raises:
            UserError: a value that is not a number.
        """
        x = x.detach().to("cpu", torch.float32)
        if not torch.isfinite(x).all():
            raise UserError(
                "a picture with values that are not finite cannot be written. The network that made it has diverged."
            )
        low, high = self.range
        levels = (x.clamp(-1, 1).double() + 1).mul_(0.5 * (high - low)).add_(low)
        if self.top is not None:
            levels = levels.add_(0.5).floor_().clamp_(0, self.top)
        return np.ascontiguousarray(levels.permute(1, 2, 0).numpy().astype(self.dtype))

    def shown(self, pixels: np.ndarray) -> np.ndarray:
        """Levels (H, W, C) -> (H, W, 1 or 3) uint8 for the eye: the range fills 0..255.

        Of 2 channels the first is shown, grey; of more than 3 the first three, as red, green and blue.
        """
        low, high = self.range
        some = pixels[:, :, : 3 if self.channels >= 3 else 1].astype(np.float64)
        return np.clip((some - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)

    def _from_floats(self, pixels: np.ndarray) -> np.ndarray:
        """In float64, so that a narrow range far from 0 keeps its steps."""
        if not np.isfinite(pixels).all():
            raise UserError(
                "a picture holds numbers that are not finite (NaN or infinite), which no network takes. Replace them."
            )
        low, high = self.range
        x = torch.from_numpy(np.moveaxis(pixels, -1, -3).astype(np.float64, order="C"))
        return x.sub_(low).div_(high - low).mul_(2).sub_(1).clamp_(-1, 1).float().numpy()

    def _words(self) -> str:
        return "32-bit floats" if self.depth == 32 else f"{self.depth} bits"
