"""The pictures of a layout as they are read: one long list for each domain, and which picture belongs to which."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from i2i.data.folders import Files
from i2i.prepare.layout import Layout, stem_hashes


class Part(NamedTuple):
    """The files of one split and domain (or class); `start` is the place of the first in the domain's list."""

    split: str
    name: str  # A, B, the class or ""
    files: Files
    start: int


class Side:
    """All files of one domain, split after split, numbered through. Holds no list of paths."""

    def __init__(self, name: str, root: Path, parts: list[tuple[str, str, Files]]):
        self.name, self.root = name, str(root)
        self.parts: list[Part] = []
        start = 0
        for split, part, files in parts:
            self.parts.append(Part(split, part, files, start))
            start += len(files)
        self._starts = np.array([part.start for part in self.parts], np.int64)
        self._count = start

    def __len__(self) -> int:
        return self._count

    def part(self, place: int) -> Part:
        return self.parts[int(np.searchsorted(self._starts, place, "right")) - 1]

    def path(self, place: int) -> str:
        """The path of file `place`."""
        part = self.part(place)
        return part.files[place - part.start]

    def shown(self, place: int) -> str:
        """The path of file `place` below the root of the layout, as people are told it."""
        return os.path.relpath(self.path(place), self.root)

    def in_split(self, split: str) -> np.ndarray:
        """(len,) bool."""
        mask = np.zeros(len(self), bool)
        for part in self.parts:
            if part.split == split:
                mask[part.start : part.start + len(part.files)] = True
        return mask

    def splits(self) -> list[str]:
        return list(dict.fromkeys(part.split for part in self.parts))


class Sides(NamedTuple):
    """What is to be read.

    Attributes:
        sides: one domain, or two.
        rows: (N, 2) int64, what is read together: a place in the first list, one in the second; -1 for none.
        paired: whether a row with both holds a pair.
        halves: whether both lists are the same files, which hold the pictures side by side.
        twins: by side, (K, 2) places: a file, and the first of the same part that has the same stem.
    """

    sides: list[Side]
    rows: np.ndarray
    paired: bool
    halves: bool
    twins: list[np.ndarray]


def of_layout(layout: Layout) -> Sides:
    """The lists and rows of a layout."""
    if layout.kind == "side by side":
        parts = [(split, "", found[""]) for split, found in layout.splits.items()]
        sides = [Side(name, layout.root, parts) for name in "AB"]
        both = np.arange(len(sides[0]), dtype=np.int64)
        return Sides(sides, np.stack([both, both], axis=1), True, True, [_twins(sides[0]), np.zeros((0, 2), np.int64)])
    if layout.kind in ("two folders", "unpaired"):
        sides = [
            Side(name, layout.root, [(split, name, found[name]) for split, found in layout.splits.items()])
            for name in "AB"
        ]
        twins = [_twins(side) for side in sides]
        if layout.kind == "two folders":
            return Sides(sides, _matched(*sides), True, False, twins)
        return Sides(sides, _alone(*sides), False, False, twins)
    every = [(split, name, files) for split, found in layout.splits.items() for name, files in found.items()]
    side = Side("", layout.root, every)
    rows = np.stack([np.arange(len(side)), np.full(len(side), -1)], axis=1).astype(np.int64)
    return Sides([side], rows, False, False, [_twins(side)])


def _alone(a: Side, b: Side) -> np.ndarray:
    rows = np.full((len(a) + len(b), 2), -1, np.int64)
    rows[: len(a), 0] = np.arange(len(a))
    rows[len(a) :, 1] = np.arange(len(b))
    return rows


def _matched(a: Side, b: Side) -> np.ndarray:
    """Pairs of the same split and stem, then those without a partner. Of twins, the first has the partner."""
    rows = []
    for split in a.splits():
        here, there = (next(part for part in side.parts if part.split == split) for side in (a, b))
        stems = [np.unique(stem_hashes(part.files), return_index=True) for part in (here, there)]
        _, first, second = np.intersect1d(stems[0][0], stems[1][0], assume_unique=True, return_indices=True)
        pairs = np.stack([stems[0][1][first] + here.start, stems[1][1][second] + there.start], axis=1)
        rows.append(pairs[np.argsort(pairs[:, 0])])
    pairs = np.concatenate(rows)
    lonely_a = np.setdiff1d(np.arange(len(a)), pairs[:, 0])
    lonely_b = np.setdiff1d(np.arange(len(b)), pairs[:, 1])
    rest = np.full((len(lonely_a) + len(lonely_b), 2), -1, np.int64)
    rest[: len(lonely_a), 0] = lonely_a
    rest[len(lonely_a) :, 1] = lonely_b
    return np.concatenate([pairs, rest]).astype(np.int64)


def _twins(side: Side) -> np.ndarray:
    found = [np.zeros((0, 2), np.int64)]
    for part in side.parts:
        _, first, group = np.unique(stem_hashes(part.files), return_index=True, return_inverse=True)
        elder = first[group]
        again = np.flatnonzero(elder != np.arange(len(elder)))
        found.append(np.stack([again, elder[again]], axis=1) + part.start)
    return np.concatenate(found)


def chunks(rows: int, workers: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the rows that are read in one go: many enough to cost nothing, few enough to show progress."""
    size = max(1, min(256, rows // (8 * max(1, workers)) or 1))
    for start in range(0, rows, size):
        yield start, min(rows, start + size)
