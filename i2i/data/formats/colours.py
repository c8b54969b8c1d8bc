"""Kinds of colour that a TIFF may have -> RGB, and what its JPEG blocks must not claim."""

import numpy as np

JPEG_SIDES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # the marks after which a JPEG says its size


def from_palette(indices: np.ndarray, colormap: np.ndarray) -> np.ndarray:
    """(H, W) places in a map (3, N) of 16-bit levels -> (H, W, 3) uint8.

    A map without a level over 255 was written with 8-bit levels, as other readers take it too.
    """
    indices = indices.astype(np.intp)
    if indices.max() >= colormap.shape[-1]:
        raise ValueError("a pixel is beyond the end of its palette")
    levels = colormap if colormap.max() < 256 else colormap >> 8
    return np.ascontiguousarray(levels.astype(np.uint8).T[indices])


def from_cmyk(inks: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 or uint16, 0 is no ink -> (H, W, 3) of the same type: (1 - C)(1 - K), as Pillow does."""
    top = int(np.iinfo(inks.dtype).max)
    light = top - inks.astype(np.int64)
    return ((light[:, :, :3] * light[:, :, 3:] + top // 2) // top).astype(inks.dtype)


def to_8_bits(alpha: np.ndarray) -> np.ndarray:
    """(H, W) of alpha as uint8, whatever its depth."""
    return alpha if alpha.dtype == np.uint8 else (alpha >> 8).astype(np.uint8)


def unpremultiplied(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (H, W, C) that are multiplied by alpha (H, W) -> the colours themselves; 0 where alpha is 0."""
    weight = alpha[:, :, None].astype(np.float64)
    top = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.where(weight > 0, pixels * (top / weight), 0)
    if pixels.dtype.kind == "u":
        whole = np.minimum(np.floor(whole + 0.5), top)
    return whole.astype(pixels.dtype)


def jpeg_fault(page, data: bytes) -> str | None:
    """Why a JPEG block of a TIFF cannot be decoded: one that claims more pixels than the block has would cost memory
    that the picture's own sides do not speak of."""
    high = page.tilelength if page.is_tiled else page.rowsperstrip
    wide = page.tilewidth if page.is_tiled else page.imagewidth
    for offset, count in zip(page.dataoffsets, page.databytecounts):
        if not count:
            continue
        sides = _jpeg_sides(data, offset, offset + count)
        if sides is None or sides[0] > high or sides[1] > wide:
            return "it is damaged: one of its JPEG blocks is not of the block's size"
    return None


def _jpeg_sides(data: bytes, place: int, end: int) -> tuple[int, int] | None:
    """(height, width) that the JPEG in these bytes claims."""
    if data[place : place + 2] != b"\xff\xd8":
        return None
    place += 2
    while place + 9 <= end:
        if data[place] != 0xFF:
            return None
        if data[place + 1] == 0xFF:  # filling
            place += 1
            continue
        if data[place + 1] in JPEG_SIDES:
            return int.from_bytes(data[place + 5 : place + 7], "big"), int.from_bytes(
                data[place + 7 : place + 9], "big"
            )
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
