"""What the metrics of pictures take: (H, W, C) arrays of whole numbers or floats, and their value range."""

import numpy as np

from i2i.errors import UserError


def checked_range(number: int, picture: np.ndarray, value_range: tuple[float, float] | None) -> tuple[float, float]:
    """Lowest and highest value of picture number `number`: the range given, or the whole range of its type.

    Raises:
        UserError: no (H, W, C) array of uint8, uint16 or floats, floats without a range, NaN or infinity, or an empty
            range.
    """
    if picture.ndim != 3 or not picture.size:
        raise UserError(f"picture {number} is of shape {picture.shape}: it must be (H, W, C), none of them 0")
    whole = picture.dtype in (np.uint8, np.uint16)
    if not whole and (picture.dtype.kind != "f" or value_range is None):
        raise UserError(
            f"picture {number} is {picture.dtype}: it must be uint8 or uint16, or a float with a value range"
        )
    if not whole and not np.isfinite(picture).all():
        raise UserError(f"picture {number} holds NaN or infinity: leave it out")
    low, high = value_range or (0, np.iinfo(picture.dtype).max)
    if not low < high:
        raise UserError(f"the value range is [{low}, {high}]: its second number must be above its first")
    return low, high


def scaled(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    """(H, W, C) in [low, high] -> contiguous float64 in [0, 1]."""
    return np.ascontiguousarray((picture.astype(np.float64) - low) / (high - low))
