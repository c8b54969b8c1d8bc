"""Pictures that are there twice: the same pixels, or the same picture saved again, scaled, blurred or made brighter.

Two pictures that look alike have perceptual hashes that differ in few bits (a DCT hash, as in pHash: Zauner, 2010). To
find them without comparing all with all, the 64 bits are cut into 4 bands: what differs in 3 bits or fewer agrees in
one band at least, and so do 97 % and more of the pictures saved again at JPEG quality 30 to 75, scaled by 1/2 or 2,
blurred or made brighter. Candidates are compared in pixels before anything is said. Cut or mirrored copies differ.
"""

import hashlib
from typing import NamedTuple

import cv2
import numpy as np

BANDS, BAND_BITS = 4, 16
NEAR_BITS = 8  # of 64: candidates
NEIGHBOURS = 128  # in a band that very many share, each is compared with so many next to it
MOST_CANDIDATES = 1_000_000  # no more are looked for: where all pictures look alike, there is nothing to find
ALIKE = 0.985  # correlation of the pictures at 32 x 32: re-saved ones have 0.99 and more, different ones up to 0.976
_SMALL = 32
_LOW = np.array(sorted(((i, j) for i in range(12) for j in range(12) if i + j), key=lambda p: (sum(p), p))[:64])


class Pair(NamedTuple):
    """Places of two pictures that are one; `first` < `second`."""

    first: int
    second: int


def content(pixels: np.ndarray) -> int:
    """64 bits of a digest of the pixels (H, W, C), their shape and type; not 0, which stands for none."""
    digest = hashlib.blake2b(repr((pixels.shape, str(pixels.dtype))).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(pixels).data)
    return int.from_bytes(digest.digest(), "little") or 1


def look(grey: np.ndarray) -> int:
    """The perceptual hash, 64 bits, of a grey picture (H, W) float32: signs of its lowest frequencies but the mean."""
    waves = cv2.dct(small(grey))[_LOW[:, 0], _LOW[:, 1]]
    return int.from_bytes(np.packbits(waves > np.median(waves)).tobytes(), "big")


def small(grey: np.ndarray) -> np.ndarray:
    """A grey picture (H, W) float32 at 32 x 32."""
    return cv2.resize(grey, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two grey pictures at 32 x 32 are one picture, whatever its brightness and contrast."""
    a, b = (x - x.mean() for x in (a.astype(np.float64), b.astype(np.float64)))
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return size > 0 and float((a * b).sum()) >= ALIKE * size


def same(contents: np.ndarray) -> np.ndarray:
    """(K, 2) places of equal `contents` (N,) uint64, 0 left out: of each group the first with every later one."""
    order = np.argsort(contents, kind="stable")
    values = contents[order]
    starts = np.ones(len(values), bool)
    starts[1:] = values[1:] != values[:-1]
    first = order[np.maximum.accumulate(np.where(starts, np.arange(len(values)), 0))] if len(values) else order
    later = ~starts & (values != 0)
    return np.stack([first[later], order[later]], axis=1)


def candidates(looks: np.ndarray) -> np.ndarray:
    """(K, 2) places, first < second, of `looks` (N, S) uint64 that differ in at most `NEAR_BITS` bits in every one of
    the S hashes. Time and memory grow with N, not with its square."""
    found = [np.zeros((0, 2), np.int64)]
    left = MOST_CANDIDATES
    for side in range(looks.shape[1]):
        for band in range(BANDS):
            found.append(_in_band(looks, side, band, left))
            left -= len(found[-1])
    return np.unique(np.concatenate(found), axis=0)


def _in_band(looks: np.ndarray, side: int, band: int, left: int) -> np.ndarray:
    turn = np.uint64(band * BAND_BITS)
    turned = looks[:, side]
    if turn:  # the band comes first, so that those who share it stand together, and the most alike of them side by side
        turned = (turned << turn) | (turned >> (np.uint64(64) - turn))
    order = np.argsort(turned, kind="stable")
    key = (turned[order] >> np.uint64(64 - BAND_BITS)).astype(np.uint16)
    here = np.arange(len(order) - 1)
    found = [np.zeros((0, 2), np.int64)]
    for step in range(1, NEIGHBOURS + 1):
        here = here[: np.searchsorted(here, len(order) - step)]
        here = here[key[here] == key[here + step]]
        if not len(here) or left <= 0:
            break
        a, b = order[here], order[here + step]
        near = (np.bitwise_count(looks[a] ^ looks[b]) <= NEAR_BITS).all(axis=1)
        found.append(np.stack([np.minimum(a, b)[near], np.maximum(a, b)[near]], axis=1))
        left -= len(found[-1])
    return np.concatenate(found)
