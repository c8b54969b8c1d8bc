"""The tables of all files that were read, put together from the chunks of the workers."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from i2i.prepare import levels
from i2i.prepare.checking import alignment
from i2i.prepare.checking.reading import FAULTS, TABLE, Chunk
from i2i.prepare.checking.sides import Sides
from i2i.prepare.levels import Levels

KEPT_WHYS = 2000  # of each kind of fault; a table of a million broken files would hold as many sentences


class Gathered:
    """What is known of every file.

    Attributes:
        tables: by side: (files,) TABLE.
        changes: by side: files that reading changes, by kind of change.
        shifts: place of a pair (in the first side) -> its shift.
        surfaces: split -> (sum of surfaces, count, sum of scales).
    """

    def __init__(self, sides: Sides):
        self.sides = sides
        self.tables = [np.zeros(len(side), TABLE) for side in sides.sides]
        self.changes: list[Counter] = [Counter() for _ in sides.sides]
        self.shifts: dict[int, alignment.Shift] = {}
        self.surfaces: dict[str, tuple[np.ndarray, int, float]] = {}
        self._values: list[list[np.ndarray]] = [[] for _ in sides.sides]
        self._whys: dict[tuple[int, int], dict[int, str]] = {}  # (side, fault) -> place -> why

    def add(self, chunks: Iterable[Chunk]) -> "Gathered":
        for chunk in chunks:
            for number, (places, lines) in enumerate(chunk.lines):
                self.tables[number][places] = lines
                self.changes[number].update(chunk.changes[number])
                if len(chunk.values[number]):
                    self._values[number].append(chunk.values[number])
            for number, place, why in chunk.whys:
                kept = self._whys.setdefault((number, int(self.tables[number]["fault"][place])), {})
                if len(kept) < KEPT_WHYS:
                    kept[place] = why
            for place, *moved in chunk.shifts:
                self.shifts[place] = alignment.Shift(*moved)
            for split, (total, count, scales) in chunk.surfaces.items():
                before = self.surfaces.get(split, (0.0, 0, 0.0))
                self.surfaces[split] = (before[0] + total, before[1] + count, before[2] + scales)
        return self

    def why(self, number: int, place: int) -> str:
        """Why a file has its fault; "" for one of very many."""
        return self._whys.get((number, int(self.tables[number]["fault"][place])), {}).get(place, "")

    def levels(self, number: int) -> Levels:
        """The levels of a side, from all its files; depth 0 where none can be read or where depths are mixed."""
        table = self.tables[number]
        good = table[table["read"]]
        nonfinite = int((table["fault"] == FAULTS.index("nonfinite")).sum())
        depths = np.unique(good["depth"])
        if len(depths) != 1 or not self._values[number]:
            return Levels(0, 0.0, 0.0, (0.0, 0.0), (0.0, 0.0), nonfinite, int(good["constant"].sum()), len(good))
        values = np.concatenate(self._values[number])
        low, high = float(good["low"].min()), float(good["high"].max())
        return levels.summed(int(depths[0]), low, high, values, nonfinite, int(good["constant"].sum()), len(good))
