"""Whether the two pictures of a pair show the same thing at the same place: phase correlation of their edges.

The two may be a photograph and a label map, so levels are not compared. Compared are the strengths of edges, those
across and those along apart, by the correlation of their spectra, half whitened: the cross spectrum is divided by the
root of its magnitude (Kuglin & Hines, 1975, divide by all of it, and the noise of a label map's empty spectrum wins).
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

REACH = 24  # the largest shift that is looked for, in pixels of the scaled pictures, each way
LARGEST, SMALLEST = 512, 64  # the longer side is scaled down to this; a shorter side below that is not judged
SIDE = 2 * REACH + 1
# Of 606 facades, 4 maps and 20 shoes no pair passes all four; nor does, of 300, a photograph with another one's labels.
# Of facades moved by 3, 5, 10 and 20 px about 60, 75, 75 and 75 % pass, and of shoes 65, 90, 90 and 95 %.
LEAST_SHIFT = 2.5  # pixels of the scaled pictures
LEAST_PEAK = 4.5  # how far the best place stands out from all places, in their standard deviation
LEAST_GAIN = 2.0  # and from no shift at all
LEAST_OVER_TURNED = 2.0  # and from the best place of the same pictures with B turned upside down, which is chance
# the mean over many pairs is less noisy: its peak is 3 to 4 where nothing belongs together, 8 to 9 where pairs do
TOGETHER_PAIRS, TOGETHER_PEAK, TOGETHER_SHIFT, TOGETHER_GAIN = 8, 6.0, 2.0, 0.5


class Shift(NamedTuple):
    """Where the second picture's contents lie, seen from the first's, in its pixels: dx to the right, dy down."""

    dx: int
    dy: int


class Surface(NamedTuple):
    """How well a pair agrees at each shift.

    Attributes:
        places: (SIDE, SIDE) float32, from their median, in their standard deviation.
        turned: the best place, in the same unit, where B is turned by half a turn: straight edges agree by chance, too.
        scale: scaled pixels to a pixel of the file.
    """

    places: np.ndarray
    turned: float
    scale: float


def surface(a: np.ndarray, b: np.ndarray) -> Surface | None:
    """How well two grey pictures (H, W) float32 of one size agree at every shift; None where that cannot be told."""
    height, width = a.shape
    scale = min(1.0, LARGEST / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        a, b = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (a, b))
    if min(a.shape) < SMALLEST:
        return None
    window = np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1])).astype(np.float32)
    spectra = [_cross_spectra(x, y, window) for x, y in zip(_edges(a), _edges(b))]
    places, turned = (_near_zero(sum(cross), a.shape) for cross in zip(*spectra))
    spread = float(places.std())
    if not (spread > 0 and math.isfinite(spread)):
        return None
    return Surface(places / spread, float(turned.max()) / spread, scale)


def shift(found: Surface) -> Shift | None:
    """The shift between the two pictures of a pair, or None where they lie in place or where it is not certain."""
    if found.places.max() - found.turned < LEAST_OVER_TURNED:
        return None
    return _best(found.places, found.scale, LEAST_SHIFT, LEAST_PEAK, LEAST_GAIN)


def shared_shift(total: np.ndarray, count: int, scale: float) -> Shift | None:
    """The shift that `count` pairs have in common, from the sum of their `places`; None as for `shift`."""
    if count < TOGETHER_PAIRS:
        return None
    places = total / count
    spread = float(places.std())
    if not spread > 0:
        return None
    return _best((places - np.median(places)) / spread, scale, TOGETHER_SHIFT, TOGETHER_PEAK, TOGETHER_GAIN)


def _best(places: np.ndarray, scale: float, least_shift: float, least_peak: float, least_gain: float) -> Shift | None:
    row, column = divmod(int(places.argmax()), SIDE)
    dy, dx = REACH - row, REACH - column
    peak, here = places[row, column], places[REACH, REACH]
    if math.hypot(dx, dy) < least_shift or peak < least_peak or peak - here < least_gain:
        return None
    return Shift(round(dx / scale), round(dy / scale))


def _edges(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The strength of the edges across and along, each (H, W); logarithmic, so that a few strong ones do not decide."""
    across, along = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = cv2.magnitude(across, along)
    weight = np.log1p(strength) / (strength + 1e-3)
    return np.abs(across) * weight, np.abs(along) * weight


def _cross_spectra(a: np.ndarray, b: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The half whitened cross spectrum of two pictures (H, W), and that with B turned (its spectrum conjugated)."""
    a, b = (np.fft.rfft2((x - x.mean()) * window) for x in (a, b))
    a /= np.sqrt(np.abs(a)) + 1e-9
    b /= np.sqrt(np.abs(b)) + 1e-9
    return a * np.conj(b), a * b


def _near_zero(spectrum: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(SIDE, SIDE): the correlation at shifts up to REACH, smoothed a little, from its median."""
    places = np.fft.irfft2(spectrum, s=shape)
    rows, columns = (np.arange(-REACH, REACH + 1) % side for side in shape)
    places = cv2.GaussianBlur(places[np.ix_(rows, columns)].astype(np.float32), (0, 0), 1)
    return places - np.median(places)
