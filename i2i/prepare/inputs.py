"""What `i2i data pairs` makes of a picture for an input: its edges, its grey, or it blurred, coarsened or masked."""

import os
from collections.abc import Callable

import cv2
import numpy as np

from i2i.data.pictures import read
from i2i.errors import UserError
from i2i.seeds import derive

SEED = 0  # of the drawn holes: the same picture name has the same hole, on every machine
BLUR = 128  # the shorter side in sigmas: 2 px at 256 px, and the same look at any size


def canny(pixels: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 1 | 3) uint8 or uint16 -> (H, W, 1) uint8: edges black (0) on white (255), one pixel wide.

    Canny (1986) on the grey picture, smoothed with sigma 1.4. The thresholds follow the picture: an edge starts at 3
    times the median slope and goes on down to 1 times it, the median being over the pixels whose slope is above 1/128
    of the picture's own contrast, so that a dark picture, or one on a white ground, has the edges of a well lit one.

    Raises:
        UserError: float levels, or channels that are not grey or RGB.
    """
    if pixels.dtype == np.float32:
        raise UserError(
            f"{name}: edges are drawn of 8 and 16-bit pictures, and this one has float levels. Use --by blur, "
            "downscale or mask, or convert the pictures to 16 bits."
        )
    grey = gray(pixels, name)[..., 0].astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.4, borderType=cv2.BORDER_REFLECT_101)
    contrast = float(np.ptp(smooth))
    if contrast < 1:  # of a constant picture only rounding is left
        return np.full((*grey.shape, 1), 255, np.uint8)
    scale = 8000 / contrast  # Sobel gives at most 4 times the contrast, and cv2 takes int16
    dx, dy = (np.rint(cv2.Sobel(smooth, cv2.CV_32F, *axis) * scale).astype(np.int16) for axis in ((1, 0), (0, 1)))
    slope = np.hypot(dx.astype(np.float32), dy.astype(np.float32))
    median = float(np.median(slope[slope > 8000 / 128]))
    return (255 - cv2.Canny(dx, dy, median, 3 * median, L2gradient=True))[..., None]


def gray(pixels: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 1 | 3) -> (H, W, 1) of the same type: 0.299 R + 0.587 G + 0.114 B, what is grey already as it is.

    Raises:
        UserError: other channels, which have no grey.
    """
    channels = pixels.shape[2]
    if channels not in (1, 3):
        raise UserError(
            f"{name}: it has {channels} channels, and only RGB pictures have a grey version. "
            "Use --by blur, downscale or mask."
        )
    return pixels if channels == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]


def blur(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) -> the same shape and type, under a Gaussian whose sigma is a 128th of the shorter side, at least 1."""
    sigma = max(1.0, min(pixels.shape[:2]) / BLUR)
    return _each(pixels, lambda plane: cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def downscale(pixels: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, C) -> the same shape and type, `factor` times coarser: areas averaged, then resized back, bicubic."""
    height, width = pixels.shape[:2]
    small = max(1, round(width / factor)), max(1, round(height / factor))

    def coarser(plane: np.ndarray) -> np.ndarray:
        averaged = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
        return cv2.resize(averaged, (width, height), interpolation=cv2.INTER_CUBIC)

    return _each(pixels, coarser)


def masked(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """(H, W, C) with mid-grey where `hole` (H, W) bool is true: 128 or 32768, for float levels half way of theirs."""
    middle = {
        "uint8": lambda: 128,
        "uint16": lambda: 32768,
        "float32": lambda: (pixels.min() + pixels.max()) / 2,
    }[str(pixels.dtype)]()
    return np.where(hole[..., None], pixels.dtype.type(middle), pixels)


def drawn_hole(height: int, width: int, stem: str) -> np.ndarray:
    """(height, width) bool: one to three rectangles and one to three strokes, drawn from `stem` alone."""
    draw = np.random.RandomState(derive(SEED, "hole", stem) % 2**32)  # its numbers are frozen across NumPy versions
    hole, side = np.zeros((height, width), np.uint8), min(height, width)
    for _ in range(draw.randint(1, 4)):
        h, w = (max(1, int(draw.uniform(0.1, 0.35) * size)) for size in (height, width))
        top, left = draw.randint(0, height - h + 1), draw.randint(0, width - w + 1)
        hole[top : top + h, left : left + w] = 1
    for _ in range(draw.randint(1, 4)):
        corners = np.column_stack([draw.randint(0, width, 4), draw.randint(0, height, 4)]).astype(np.int32)
        cv2.polylines(hole, [corners], False, 1, thickness=max(1, int(draw.uniform(0.02, 0.06) * side)))
    return hole.astype(bool)


def hole_of(path: str | os.PathLike, height: int, width: int) -> np.ndarray:
    """(height, width) bool: where the mask in a file is brighter than half; scaled to the picture without mixing."""
    pixels = read(path).pixels.max(axis=2)
    top = np.iinfo(pixels.dtype).max if pixels.dtype != np.float32 else float(pixels.max())
    white = (pixels > top / 2).astype(np.uint8)
    return cv2.resize(white, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)


def _each(pixels: np.ndarray, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`work` on each channel: OpenCV is written for four at most."""
    return np.dstack([work(np.ascontiguousarray(pixels[..., channel])) for channel in range(pixels.shape[2])])
