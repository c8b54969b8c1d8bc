"""What is wrong between the pictures of a pair: a partner that is missing, of another size, or out of place."""

from collections.abc import Iterator

import numpy as np

from i2i.prepare.checking import alignment
from i2i.prepare.checking.findings import LISTED, Finding, Seen, finding, size
from i2i.prepare.checking.gathered import Gathered


def of_pairs(gathered: Gathered) -> Iterator[Finding]:
    """Everything that can be said of pairs; nothing where there are none."""
    if gathered.sides.paired:
        yield from _alone(gathered)
        yield from _sizes(gathered)
        yield from _shifted(gathered)


def _alone(gathered: Gathered) -> Iterator[Finding]:
    rows = gathered.sides.rows
    names = [side.name for side in gathered.sides.sides]
    yield from finding(
        gathered,
        "no-partner",
        True,
        [(0, rows[rows[:, 1] < 0, 0]), (1, rows[rows[:, 0] < 0, 1])],
        ("picture has no partner of the same stem", "pictures have no partner of the same stem"),
        "Add the partners, or remove or rename these; suffixes may differ.",
        lambda number, _: f"is in {names[number]}, and not in {names[1 - number]}",
    )


def _pairs(gathered: Gathered) -> np.ndarray:
    rows = gathered.sides.rows
    return rows[(rows >= 0).all(axis=1)]


def _sizes(gathered: Gathered) -> Iterator[Finding]:
    if gathered.sides.halves:
        return
    pairs = _pairs(gathered)
    a, b = (table[places] for table, places in zip(gathered.tables, pairs.T))
    both = a["read"] & b["read"]
    differ = both & ((a["width"] != b["width"]) | (a["height"] != b["height"]))
    partner = dict(pairs[differ].tolist())
    most = differ.sum() > 0.5 * both.sum() > 0
    yield from finding(
        gathered,
        "pair-sizes",
        True,
        [(0, pairs[differ, 0])],
        ("pair has pictures of two sizes", "pairs have pictures of two sizes"),
        "Resize or crop one of each pair to the other."
        + (" If nothing belongs together here but the names, train with data.kind=unpaired." if most else ""),
        lambda _, place: f"{size(gathered, 0, place)}, its partner {size(gathered, 1, partner[place])}",
    )


def _shifted(gathered: Gathered) -> Iterator[Finding]:
    side, alone = gathered.sides.sides[0], dict(gathered.shifts)
    for split, (total, count, scales) in gathered.surfaces.items():
        moved = alignment.shared_shift(total, count, scales / count)
        if moved is None:
            continue
        inside = [place for place in sorted(alone) if side.part(place).split == split]
        files = [Seen(side.shown(place), _by(alone.pop(place))) for place in inside]
        text = f"The pairs of {split} are out of place, all {count:,} together: B lies {_by(moved)} of A."
        yield Finding("misaligned", True, count, files[:LISTED], text, _register(moved))
    if alone:
        yield from finding(
            gathered,
            "misaligned",
            True,
            [(0, np.array(sorted(alone)))],
            (
                "pair is out of place: the edges of B lie beside those of A",
                "pairs are out of place: the edges of B lie beside those of A",
            ),
            "Look at them, then cut both pictures of a pair from the same place, or remove the pair.",
            lambda _, place: f"B lies {_by(alone[place])} of A",
        )  # fmt: skip


def _by(moved: alignment.Shift) -> str:
    across = f"{abs(moved.dx)} px {'right' if moved.dx > 0 else 'left'}" if moved.dx else ""
    along = f"{abs(moved.dy)} px {'below' if moved.dy > 0 else 'above'}" if moved.dy else ""
    return " and ".join(filter(None, (across, along)))


def _register(moved: alignment.Shift) -> str:
    cut = []
    if moved.dx:
        cut.append(f"{abs(moved.dx)} columns from the {'left' if moved.dx > 0 else 'right'} of every B")
        cut.append(f"as many from the {'right' if moved.dx > 0 else 'left'} of every A")
    if moved.dy:
        cut.append(f"{abs(moved.dy)} rows from the {'top' if moved.dy > 0 else 'bottom'} of every B")
        cut.append(f"as many from the {'bottom' if moved.dy > 0 else 'top'} of every A")
    return f"Cut {', '.join(cut)}."
