"""One picture file -> one line of a table; many of them -> a chunk of tables, small enough to go between processes."""

import os
from collections import Counter
from typing import NamedTuple

import cv2
import numpy as np

from i2i.data import pictures
from i2i.data.pictures import BrokenPicture, Header, probe, read
from i2i.prepare.checking import alignment, duplicates
from i2i.prepare.checking.sides import Sides
from i2i.prepare.levels import SAMPLED_FILES, constant, says_nonfinite, some_values

# Why a file cannot be used; the place in this list is what a table holds. The first is none.
FAULTS = (
    "", "empty", "truncated", "unreadable", "not-a-picture", "git-lfs", "web-page", "too-large", "nonfinite", "pages",
    "odd-width",
)  # fmt: skip
FORMATS = ("", *pictures.FORMATS)
_BY_SUFFIX = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
    ".npy": "NPY",
}  # fmt: skip

TABLE = np.dtype(
    [
        ("fault", np.uint8),  # place in FAULTS; a file of several pages has one and is read all the same
        ("read", np.bool_),  # whether the rest of the line says something
        ("format", np.uint8),  # place in FORMATS
        ("width", np.int32),  # of the half, where a file holds two
        ("height", np.int32),
        ("channels", np.uint16),  # alpha apart
        ("depth", np.uint8),
        ("alpha", np.bool_),
        ("constant", np.bool_),
        ("lies", np.bool_),  # the suffix says another format
        ("low", np.float32),
        ("high", np.float32),
        ("content", np.uint64),  # `duplicates.content`
        ("look", np.uint64),  # `duplicates.look`
    ]
)


class Chunk(NamedTuple):
    """What was found in some rows.

    Attributes:
        rows: how many.
        lines: by side: (places (K,), lines (K,) TABLE).
        whys: (side, place, why) of files with a fault.
        changes: by side: how many files reading changes, in which way (keys of `pictures.CHANGES`).
        values: by side: (V,) float32, a sample of the levels.
        shifts: (place in the first side, dx, dy) of pairs that are not in place.
        surfaces: {split: (sum of the surfaces (SIDE, SIDE), how many, sum of their scales)}.
    """

    rows: int
    lines: list[tuple[np.ndarray, np.ndarray]]
    whys: list[tuple[int, int, str]]
    changes: list[Counter]
    values: list[np.ndarray]
    shifts: list[tuple[int, int, int]]
    surfaces: dict[str, tuple[np.ndarray, int, float]]


class Found(NamedTuple):
    """One file: its header and pixels where it can be read, its fault (a place in FAULTS) and why."""

    header: Header | None
    pixels: np.ndarray | None
    fault: int
    why: str


class Reader:
    """Reads rows of `sides`; it is what each worker process runs."""

    def __init__(self, sides: Sides):
        self.sides = sides

    def __call__(self, rows: tuple[int, int]) -> Chunk:
        """The chunk of rows start..stop."""
        count = len(self.sides.sides)
        places: list[list[int]] = [[] for _ in range(count)]
        lines: list[list[tuple]] = [[] for _ in range(count)]
        values: list[list[np.ndarray]] = [[] for _ in range(count)]
        chunk = Chunk(rows[1] - rows[0], [], [], [Counter() for _ in range(count)], [], [], {})
        for row in self.sides.rows[slice(*rows)]:
            found = self._row(row.tolist(), chunk)
            for number, (place, file) in found.items():
                places[number].append(place)
                lines[number].append(line(file, self.sides.sides[number].path(place)))
                if file.pixels is not None and place % self._stride(number) == 0:
                    values[number].append(some_values(file.pixels))
        for number in range(count):
            chunk.lines.append((np.array(places[number], np.int64), np.array(lines[number], TABLE)))
            chunk.values.append(np.concatenate([np.zeros(0, np.float32), *values[number]]))
        return chunk

    def _row(self, row: list[int], chunk: Chunk) -> dict[int, tuple[int, Found]]:
        """{side: (place, file)}; a pair is also looked at as such."""
        sides = self.sides.sides
        if self.sides.halves:
            whole = open_file(sides[0].path(row[0]))
            files = {number: (row[0], half) for number, half in enumerate(_halves(whole))}
        else:
            files = {number: (row[number], open_file(sides[number].path(row[number]))) for number in _there(row)}
        for number, (place, file) in files.items():
            if file.fault:
                chunk.whys.append((number, place, file.why))
            if file.header is not None:
                chunk.changes[number].update(file.header.changes)
        if self.sides.paired and len(files) == 2:
            self._pair(row[0], files[0][1].pixels, files[1][1].pixels, chunk)
        return files

    def _pair(self, place: int, a: np.ndarray | None, b: np.ndarray | None, chunk: Chunk) -> None:
        if a is None or b is None or a.shape[:2] != b.shape[:2]:
            return
        found = alignment.surface(evened(a), evened(b))
        if found is None:
            return
        split = self.sides.sides[0].part(place).split
        total, count, scales = chunk.surfaces.get(split, (0.0, 0, 0.0))
        chunk.surfaces[split] = (total + found.places, count + 1, scales + found.scale)
        if moved := alignment.shift(found):
            chunk.shifts.append((place, *moved))

    def _stride(self, number: int) -> int:
        return max(1, len(self.sides.sides[number]) // SAMPLED_FILES)


def open_file(path: str) -> Found:
    """A file, read whole; one that is broken as its fault in words. The first page of a file that holds several."""
    page, fault, why = None, 0, ""
    for _ in range(2):
        try:
            picture = read(path, page=page)
            return Found(probe(path, page=page), picture.pixels, fault, why)
        except BrokenPicture as error:
            if page is not None:  # not even its first page
                return Found(None, None, fault, why)
            fault, why = FAULTS.index(kind_of_fault(error.why)), error.why
            if FAULTS[fault] != "pages":
                return Found(None, None, fault, why)
            page = 0
    return Found(None, None, fault, why)


def kind_of_fault(why: str) -> str:
    """One of FAULTS, from the words with which the reader refuses a file."""
    if "an empty file" in why:
        return "empty"
    if "cut off" in why:
        return "truncated"
    if "Git LFS" in why:
        return "git-lfs"
    if "web page" in why:
        return "web-page"
    if "over the cap" in why:
        return "too-large"
    if "a.page=" in why:
        return "pages"
    if says_nonfinite(why):
        return "nonfinite"
    return "not-a-picture" if "pictures are read from" in why else "unreadable"


def line(file: Found, path: str) -> tuple:
    """The line of the table for a file."""
    if file.header is None or file.pixels is None:
        return (file.fault, False, 0, 0, 0, 0, 0, False, False, False, 0, 0, 0, 0)
    header, pixels = file.header, file.pixels
    flat = constant(pixels)
    form = header.format if header.format in FORMATS else ""
    lies = _BY_SUFFIX.get(os.path.splitext(path)[1].lower(), form) != form
    height, width, channels = pixels.shape
    look = 0 if flat else duplicates.look(grey(pixels))
    return (
        file.fault, True, FORMATS.index(form), width, height, channels, 8 * pixels.itemsize, header.alpha, flat, lies,
        float(pixels.min()), float(pixels.max()), duplicates.content(pixels), look,
    )  # fmt: skip


def grey(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (H, W) float32: luma of 8- and 16-bit RGB, else the mean of the channels."""
    if pixels.shape[2] == 1:
        return pixels[:, :, 0].astype(np.float32)
    if pixels.shape[2] == 3 and pixels.dtype != np.float32:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return pixels.mean(axis=2, dtype=np.float32)


def evened(pixels: np.ndarray) -> np.ndarray:
    """`grey` with levels like those of 8 bits, whatever the type, as the comparison of edges expects them."""
    made = grey(pixels)
    if pixels.dtype == np.uint8:
        return made
    made -= made.mean()
    return made * (50.0 / (float(made.std()) or 1.0))


def _halves(file: Found) -> tuple[Found, Found]:
    if file.pixels is None or file.header is None:
        return file, file
    width = file.pixels.shape[1]
    if width % 2:
        why = f"its width {width} is odd, so it does not hold two pictures side by side"
        broken = Found(None, None, FAULTS.index("odd-width"), why)
        return broken, broken
    return tuple(file._replace(pixels=half) for half in np.split(file.pixels, 2, axis=1))


def _there(row: list[int]) -> list[int]:
    return [number for number, place in enumerate(row) if place >= 0]
