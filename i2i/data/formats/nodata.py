"""Pixels that hold nothing, which GDAL marks by one level: remembered, kept out of the network, and put back."""

from dataclasses import replace

import numpy as np

from i2i.data.formats.carried import Carried


def taken_out(samples: np.ndarray, text: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, C) as stored -> the same with 0 for pixels that hold nothing, and which those are, (H, W), or None.

    Of whole numbers of up to 16 bits a pixel holds nothing when all its channels are at the level, which is an ordinary
    one (0 or 255) in a single channel; of others when any is.
    """
    level = _number(text)
    if level is None:
        return samples, None
    if np.isnan(level):
        equal = np.isnan(samples) if samples.dtype.kind == "f" else np.zeros(samples.shape, bool)
    else:
        with np.errstate(over="ignore"):
            stored = np.array(level).astype(samples.dtype) if samples.dtype.kind == "f" else level
        equal = samples == stored
    usual = samples.dtype.kind in "bu" and samples.dtype.itemsize <= 2
    mask = equal.all(axis=2) if usual else equal.any(axis=2)
    if not mask.any():
        return samples, None
    samples = samples.copy()
    samples[mask] = 0
    return samples, mask


def stand_in(pixels: np.ndarray, mask: np.ndarray) -> float:
    """A level for pixels that hold nothing, before the domain is known: the lowest there is; of floats, that occurs."""
    if pixels.dtype.kind == "u" or mask.all():
        return 0
    return pixels[~mask].min()


def with_mask(carried: Carried, mask: np.ndarray) -> Carried:
    """`carried` with the pixels that hold nothing."""
    return replace(carried, mask=mask)


def put_back(pixels: np.ndarray, carried: Carried) -> tuple[np.ndarray, str | None]:
    """The pixels (H, W, C) of an output with its nodata level where the input held nothing, and that level's text.

    The level is the input's where the output's type has it; else 0 of whole numbers, NaN of floats. A pixel that does
    hold something, and is at the level in all its channels, moves by one level, so that it goes on to hold something.
    """
    if carried.nodata is None:
        return pixels, None
    level, text = _number(carried.nodata), carried.nodata
    if level is None:
        return pixels, text
    floats = pixels.dtype.kind == "f"
    if floats:
        with np.errstate(over="ignore"):
            fits = np.isnan(level) or np.isfinite(np.float32(level))
        level, text = (np.float32(level), text) if fits else (np.float32("nan"), "nan")
    elif not (level == level // 1 and 0 <= level <= np.iinfo(pixels.dtype).max):
        level, text = 0, "0"
    mask = np.zeros(pixels.shape[:2], bool) if carried.mask is None else carried.mask
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"a mask {mask.shape} does not fit pixels {pixels.shape}.")
    pixels = pixels.copy()
    if not floats:
        clash = (pixels == level).all(axis=2) & ~mask
        pixels[clash, 0] = level + 1 if level == 0 else level - 1
    pixels[mask] = level
    return pixels, text


def _number(text: str | None) -> float | None:
    """The level as a number; None where there is none that can be read."""
    try:
        return None if text is None else float(text.replace(",", "."))
    except ValueError:
        return None
