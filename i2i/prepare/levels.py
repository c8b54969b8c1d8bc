"""Which levels the pictures of a domain use, and the range to write into a recipe for them."""

import math
from typing import NamedTuple

import numpy as np

from i2i.data.folders import Files
from i2i.data.pictures import BrokenPicture, read

PERCENTILES = (0.1, 99.9)
CORE = (0.05, 99.95)  # what a suggested range covers at least
SAMPLED_FILES, SAMPLED_VALUES = 1024, 1024  # at most so many files of a domain give so many values each
_MEANT = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0))  # ranges that float pictures are made in on purpose


class Levels(NamedTuple):
    """The levels of the pictures of one domain.

    Attributes:
        depth: bits of a level, 8, 16 or 32 (float); 0 where no picture could be read.
        low, high: the lowest and the highest finite level of all pictures that were looked at.
        percentiles: the levels below which 0.1 % and 99.9 % of a sample of values lie.
        core: the same for 0.05 % and 99.95 %: what is between covers 99.9 %.
        nonfinite: pictures that hold a NaN or an infinity.
        constant: pictures with one level in each channel.
        pictures: how many were looked at.
    """

    depth: int
    low: float
    high: float
    percentiles: tuple[float, float]
    core: tuple[float, float]
    nonfinite: int = 0
    constant: int = 0
    pictures: int = 0


def some_values(pixels: np.ndarray) -> np.ndarray:
    """At most `SAMPLED_VALUES` of the levels of a picture (H, W, C), evenly spread, finite, float32."""
    flat = pixels.reshape(-1)
    step = max(1, flat.size // SAMPLED_VALUES)
    if step > 1:
        step |= 1  # an odd step meets every channel of pictures with 2 or 4, and does not walk down one column
        step += 2 * (step % 3 == 0)
    values = flat[::step][:SAMPLED_VALUES].astype(np.float32)
    return values[np.isfinite(values)]


def constant(pixels: np.ndarray) -> bool:
    """Whether a picture (H, W, C) has one level in each channel."""
    first = pixels[:1, :1]
    return bool((pixels[::16, ::16] == first).all() and (pixels == first).all())


def of_files(files: Files, *, sample: int = 64, page: int | None = None) -> Levels:
    """The levels of up to `sample` of `files`, evenly spread over them; broken ones are passed over."""
    depth, lows, highs, values, flat, infinite, seen = 0, [], [], [], 0, 0, 0
    for index in spread(len(files), sample):
        try:
            pixels = read(files[index], page=page).pixels
        except BrokenPicture as error:
            infinite += says_nonfinite(error.why)
            continue
        seen += 1
        depth = max(depth, 8 * pixels.itemsize)
        some = some_values(pixels)
        finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
        infinite += finite.size != pixels.size
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
            values.append(some)
        flat += constant(pixels)
    if not values:
        return Levels(depth, 0.0, 0.0, (0.0, 0.0), (0.0, 0.0), infinite, flat, seen)
    return summed(depth, min(lows), max(highs), np.concatenate(values), infinite, flat, seen)


def summed(
    depth: int, low: float, high: float, values: np.ndarray, nonfinite: int = 0, constant: int = 0, pictures: int = 0
) -> Levels:
    """`Levels` from the ends and a sample of values, which must not be empty."""
    ends = np.percentile(values, [*PERCENTILES, *CORE]).tolist()
    return Levels(depth, low, high, (ends[0], ends[1]), (ends[2], ends[3]), nonfinite, constant, pictures)


def says_nonfinite(why: str) -> bool:
    """Whether the reason for which a picture was refused is a NaN or an infinity in it."""
    return "not finite" in why


def spread(count: int, sample: int) -> list[int]:
    """Up to `sample` places among `count`, evenly spread, the first one included."""
    if count <= sample:
        return list(range(count))
    return [number * count // sample for number in range(sample)]


def suggested_range(levels: Levels) -> list[float | int]:
    """The [lo, hi] to write as data.a.range or data.b.range; it covers at least 99.9 % of the values looked at.

    8 bits: [0, 255]. 16 bits: all levels; where less than a quarter of them is used, the fewest bits that hold them
    (12-bit pictures in 16-bit files: [0, 4095]), or the used part where it lies higher up. Float: [0, 1], [-1, 1],
    [0, 255] or [0, 65535] where the values fill one of these, else the values without far outliers, rounded outward to
    a number that can be read.
    """
    if levels.depth == 8:
        return [0, 255]
    if levels.depth == 16:
        return _of_16_bits(levels)
    low, high = _without_outliers(levels)
    for lowest, highest in _MEANT:
        if lowest <= low and high <= highest and high - low >= 0.5 * (highest - lowest):
            return [lowest, highest]
    return _rounded(low, high)


def uses_few(levels: Levels) -> bool:
    """Whether 16-bit pictures use less than a quarter of their levels."""
    return levels.depth == 16 and levels.high > levels.low and suggested_range(levels) != [0, 65535]


def _of_16_bits(levels: Levels) -> list[int]:
    low, high = _without_outliers(levels)
    if high - low >= 65536 / 4:
        return [0, 65535]
    for bits in (8, 9, 10, 11, 12, 13, 14):
        if high < 2**bits and (high - low) >= 2**bits / 4:
            return [0, 2**bits - 1]
    low, high = _rounded(low, high)
    return [max(0, math.floor(low)), min(65535, math.ceil(high))]


def _without_outliers(levels: Levels) -> tuple[float, float]:
    """The ends of the levels; of the middle 99.9 % where the ends lie far outside, as with a dead pixel."""
    low, high = levels.core
    reach = 0.25 * (high - low)
    return (
        levels.low if levels.low >= low - reach else low,
        levels.high if levels.high <= high + reach else high,
    )


def _rounded(low: float, high: float) -> list[float]:
    """Outward to two digits of the span; an end that is near 0 becomes 0."""
    if not high > low:
        pad = abs(low) or 1.0
        return [low - pad, low + pad] if low else [0.0, 1.0]
    step = 10.0 ** (math.floor(math.log10(high - low)) - 1)
    low, high = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if 0 < low <= 0.1 * (high - low):
        low = 0
    if 0 > high >= -0.1 * (high - low):
        high = 0
    return [_readable(low * step, step), _readable(high * step, step)]


def _readable(value: float, step: float) -> float:
    return round(value, max(0, -math.floor(math.log10(step)))) + 0.0
