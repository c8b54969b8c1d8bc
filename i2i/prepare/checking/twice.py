"""Findings on pictures that are there twice, in train and outside it above all."""

from collections.abc import Iterator

import numpy as np

from i2i.data.pictures import BrokenPicture, read
from i2i.prepare.checking import duplicates
from i2i.prepare.checking.findings import LISTED, Finding, Seen, counted
from i2i.prepare.checking.gathered import Gathered
from i2i.prepare.checking.reading import grey

MOST_COMPARED = 2000  # candidates for near duplicates that are read again


def there_twice(gathered: Gathered) -> Iterator[Finding]:
    """Exact and near duplicates, problems where they lie in train and outside it.

    Pairs are compared as pairs: one label map may well belong to two photographs. Constant pictures count as equal only
    as a part of pairs whose other part is not.
    """
    if gathered.sides.paired:
        rows = gathered.sides.rows
        yield from _Search(gathered, rows[(rows >= 0).all(axis=1)], [0, 1]).findings()
        return
    for number, side in enumerate(gathered.sides.sides):
        yield from _Search(gathered, np.arange(len(side))[:, None], [number]).findings()


class _Search:
    """Among `rows` (N, S) of places in the sides `numbers` (S,): pictures of one side, or pairs."""

    def __init__(self, gathered: Gathered, rows: np.ndarray, numbers: list[int]):
        self.gathered, self.numbers = gathered, numbers
        tables = [gathered.tables[number][places] for number, places in zip(numbers, rows.T)]
        good = np.logical_and.reduce([table["read"] for table in tables])
        good &= ~np.logical_and.reduce([table["constant"] for table in tables])
        self.rows = rows[good]
        self.looks = np.stack([table["look"][good] for table in tables], axis=1)
        self.contents = tables[0]["content"][good]
        for table in tables[1:]:
            turned = self.contents << np.uint64(1) | self.contents >> np.uint64(63)
            self.contents = turned ^ table["content"][good]
        self.side = gathered.sides.sides[numbers[0]]
        self.train = self.side.in_split("train")[self.rows[:, 0]]  # train comes first: of two, the later is the copy

    def findings(self) -> Iterator[Finding]:
        exact = duplicates.same(self.contents)
        near, more = self._near(exact)
        inside = exact[self.train[exact[:, 0]] == self.train[exact[:, 1]]]
        across = self.train[near[:, 0]] != self.train[near[:, 1]]
        yield from self._said("duplicates", self._leaks(), 0)
        yield from self._said("near-duplicates", near[across], more)
        yield from self._said("duplicates-inside", inside, 0)
        yield from self._said("near-duplicates-inside", near[~across], more)

    def _leaks(self) -> np.ndarray:
        """(K, 2): for everything outside train that train has too, the first one in train and itself."""
        inside, outside = np.flatnonzero(self.train), np.flatnonzero(~self.train)
        if not len(inside):
            return np.zeros((0, 2), np.int64)
        values, first = np.unique(self.contents[inside], return_index=True)
        at = np.minimum(np.searchsorted(values, self.contents[outside]), len(values) - 1)
        there = values[at] == self.contents[outside]
        return np.stack([inside[first[at[there]]], outside[there]], axis=1)

    def _near(self, exact: np.ndarray) -> tuple[np.ndarray, int]:
        """(K, 2) rows that are almost the same and not exactly; and how many candidates were not compared."""
        single = np.ones(len(self.rows), bool)
        single[exact[:, 1]] = False  # of equal ones, the first stands for all
        single = np.flatnonzero(single)
        found = single[duplicates.candidates(self.looks[single])]
        across = self.train[found[:, 0]] != self.train[found[:, 1]]
        order = np.argsort(~across, kind="stable")[:MOST_COMPARED]  # those that matter first
        kept = np.array([self._alike(*pair) for pair in found[order].tolist()], bool)
        return found[order][kept], len(found) - len(order)

    def _alike(self, first: int, second: int) -> bool:
        for at, number in enumerate(self.numbers):
            places = self.rows[[first, second], at]
            if self.gathered.tables[number]["constant"][places].all():
                continue
            try:
                smalls = [duplicates.small(grey(self._pixels(number, int(place)))) for place in places]
            except BrokenPicture:  # it was readable a moment ago
                return False
            if not duplicates.alike(*smalls):
                return False
        return True

    def _pixels(self, number: int, place: int) -> np.ndarray:
        page = 0 if self.gathered.tables[number]["fault"][place] else None  # the one fault of a file that was read
        pixels = read(self.gathered.sides.sides[number].path(place), page=page).pixels
        return np.split(pixels, 2, axis=1)[number] if self.gathered.sides.halves else pixels

    def _said(self, kind: str, pairs: np.ndarray, more: int) -> Iterator[Finding]:
        if not len(pairs):
            return
        near, problem = kind.startswith("near"), not kind.endswith("inside")
        pairs = pairs[np.unique(pairs[:, 1], return_index=True)[1]]  # once, though it may be like many
        files = []
        for original, copy in pairs[:LISTED].tolist():
            shown = [self.side.shown(int(self.rows[row, 0])) for row in (original, copy)]
            files.append(Seen(shown[1], f"{'is almost' if near else 'is'} {shown[0]}"))
        unit = ("pair", "pairs") if self.gathered.sides.paired else ("picture", "pictures")
        of = f" of {self.side.name}" if len(self.numbers) == 1 and self.side.name else ""
        text = counted(len(pairs), f"{unit[0]}{of} is", f"{unit[1]}{of} are")
        text += f" {'almost ' if near else ''}in train too" if problem else f" {'almost ' if near else ''}there twice"
        text += " (saved again, scaled, blurred or made brighter)." if near else ", the same pixels."
        if more:
            text += f" {more:,} more look alike and were not compared."
        remedy = "Remove one of each: they count double."
        if problem:
            remedy = "Remove these, or those in train: scores on pictures that were trained on say nothing."
        yield Finding(kind, problem, len(pairs), files, text, remedy)
