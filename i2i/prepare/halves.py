"""Whether wide pictures hold a pair side by side: by their shape, and by what happens in their middle column."""

import numpy as np

from i2i.data.folders import Files
from i2i.data.pictures import BrokenPicture, probe, read
from i2i.prepare.levels import spread

_HEADERS, _PICTURES = 64, 12  # how many are looked at
_NEAR = 8  # columns on each side of the middle to compare with


def side_by_side(files: Files) -> tuple[bool, str | None]:
    """Whether these pictures hold pairs side by side, and a sentence where that is not plain.

    Twice as wide as high: yes, unless many run on through their middle, as a panorama does. From 1.5 times on, with
    even widths: only where most are cut in the middle, since photographs are 3:2 and 16:9.
    """
    shapes = np.array([(header.width, header.height) for header in _headers(files)], np.float64).reshape(-1, 2)
    if not len(shapes):
        return False, None
    ratio, even = shapes[:, 0] / shapes[:, 1], shapes[:, 0] % 2 == 0
    if np.mean(even & (ratio >= 1.5)) < 0.9:
        return False, None
    seams = [seam(pixels) for pixels in _some(files)] or ["unclear"]
    where = files.folder
    if np.mean(np.abs(ratio - 2) < 0.1) >= 0.9:
        if seams.count("runs on") < 0.4 * len(seams) or seams.count("cut") > 0.1 * len(seams):
            return True, None
        return False, (
            f"the pictures of {where} are twice as wide as high, but run on through their middle: taken for single "
            "pictures, not for pairs side by side"
        )
    if seams.count("cut") >= 0.6 * len(seams):
        return True, f"the pictures of {where} are cut in their middle: taken for pairs side by side"
    return False, None


def seam(pixels: np.ndarray) -> str:
    """ "cut", "runs on" or "unclear": a picture (H, W, C), W even, across its middle column."""
    middle = pixels.shape[1] // 2
    near = min(_NEAR, middle - 1)
    if near < 2:
        return "unclear"
    columns = pixels[:, middle - near - 1 : middle + near].astype(np.float32).mean(axis=2)
    steps = np.abs(np.diff(columns, axis=1)).mean(axis=0)  # the one across the middle stands at place `near`
    here, others = steps[near], np.delete(steps, near)
    contrast = float(columns.std()) or 1.0
    if here > 3 * np.median(others) + 0.1 * contrast and here > 1.5 * others.max():
        return "cut"
    left, right = columns[:, near], columns[:, near + 1]
    if here <= 1.5 * np.median(others) and min(left.std(), right.std()) > 0.1 * contrast:
        together = np.corrcoef(left, right)[0, 1]
        return "runs on" if together > 0.8 else "unclear"
    return "unclear"


def _headers(files: Files):
    for index in spread(len(files), _HEADERS):
        try:
            yield probe(files[index])
        except BrokenPicture:
            continue


def _some(files: Files):
    for index in spread(len(files), _PICTURES):
        try:
            pixels = read(files[index]).pixels
        except BrokenPicture:
            continue
        if pixels.shape[1] % 2 == 0:
            yield pixels
