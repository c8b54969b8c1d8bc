"""What `i2i data check` says: for people, as text of 100 columns; for programs, as strict JSON."""

import json
import shlex
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np

from i2i.prepare.checking.findings import Finding
from i2i.prepare.checking.gathered import Gathered
from i2i.prepare.checking.reading import FORMATS
from i2i.prepare.layout import KINDS, Layout
from i2i.prepare.levels import suggested_range

COLUMNS, SHOWN = 100, 3


@dataclass(frozen=True)
class Report:
    """The outcome of a check.

    Attributes:
        path: the folder as it was given.
        layout: how it was understood.
        facts: {"layout", "root", "folders", "pictures", "parts": one dict for each split and domain, "domains"}.
        problems, notes: what was found.
    """

    path: str
    layout: Layout
    facts: dict[str, Any]
    problems: list[Finding]
    notes: list[Finding]

    def as_text(self) -> str:
        """For people: the facts as a table, then the problems, then the notes; the first 3 files of each."""
        lines = [f"{self.path}: {KINDS[self.layout.kind]}", ""]
        if self.layout.folders:
            a, b = self.layout.folders
            lines += [*_wrapped(f"A is {a}, B is {b}.", 0), ""]
        lines += [*_table(self.facts["parts"]), ""]
        for note in self.layout.notes:
            lines += [*_wrapped(note[0].upper() + note[1:] + ".", 0), ""]
        count = len(self.problems)
        lines.append("No problems." if not count else "1 problem" if count == 1 else f"{count} problems")
        for found in self.problems:
            lines += ["", *_finding(found)]
        if self.notes:
            lines += ["", "1 note" if len(self.notes) == 1 else f"{len(self.notes)} notes"]
            for found in self.notes:
                lines += ["", *_finding(found)]
        if any(found.count > SHOWN and found.files for found in (*self.problems, *self.notes)):
            lines += ["", f"All files of each: i2i data check {shlex.quote(self.path)} --json"]
        text = "\n".join(lines)
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # a file name may be no text

    def as_json(self) -> str:
        """For programs: everything, up to 1,000 files of each finding."""
        return json.dumps(
            {
                "path": self.path,
                "facts": self.facts,
                "layout_notes": self.layout.notes,
                "problems": [_plain(found) for found in self.problems],
                "notes": [_plain(found) for found in self.notes],
            },
            allow_nan=False,
            ensure_ascii=True,
            indent=1,
        )


def facts(gathered: Gathered, layout: Layout) -> dict[str, Any]:
    """What is in the folder: a dict of plain numbers and texts."""
    parts = []
    for split in layout.splits:
        for number, side in enumerate(gathered.sides.sides):
            inside = side.in_split(split)
            if inside.any():
                part = {"split": split, "domain": side.name, **_of_part(gathered.tables[number][inside])}
                if layout.kind == "labelled":
                    part["classes"] = len(layout.splits[split])
                parts.append(part)
    domains = {}
    for number in range(len(gathered.tables)):
        found = gathered.levels(number)
        if found.depth:
            domains["ab"[number]] = {
                "depth": found.depth,
                "levels": [found.low, found.high],
                "percentiles": list(found.percentiles),
                "range": suggested_range(found),
            }
    return {
        "layout": layout.kind,
        "root": str(layout.root),
        "folders": layout.folders,
        "pictures": int(sum(part["files"] for part in parts if not (gathered.sides.halves and part["domain"] == "B"))),
        "parts": parts,
        "domains": domains,
    }


def _of_part(table: np.ndarray) -> dict[str, Any]:
    good = table[table["read"]]
    part: dict[str, Any] = {"files": len(table), "read": len(good)}
    if not len(good):
        return part
    for column in ("width", "height"):
        values = good[column]
        part[column] = [int(values.min()), int(np.median(values)), int(values.max())]
    for column in ("channels", "depth"):
        part[column] = {str(value): int(count) for value, count in zip(*np.unique(good[column], return_counts=True))}
    counts = np.bincount(good["format"], minlength=len(FORMATS))
    part["formats"] = {name: int(count) for name, count in zip(FORMATS, counts) if count and name}
    part["alpha"] = int(good["alpha"].sum())
    part["levels"] = [float(good["low"].min()), float(good["high"].max())]
    return part


# ---------------------------------------------------------------------------------------------------------- text


def _table(parts: list[dict[str, Any]]) -> list[str]:
    head = ("", "pictures", "format", "width x height", "channels", "bits", "levels")
    rows = [head, *(_row(part) for part in parts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if column == 1 else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _row(part: dict[str, Any]) -> tuple[str, ...]:
    name = f"{part['split']} {part['domain']}".strip()
    if "classes" in part:
        name += f" ({part['classes']:,} classes)"
    if not part["read"]:
        return (name, f"{part['files']:,}", "none can be read", "", "", "", "")
    return (
        name,
        f"{part['files']:,}",
        " ".join(part["formats"]),
        _sizes(part["width"], part["height"]),
        " and ".join(part["channels"]) + (" + alpha" if part["alpha"] else ""),
        " and ".join(part["depth"]).replace("32", "float"),
        " .. ".join(f"{value:g}" for value in part["levels"]),
    )


def _sizes(width: list[int], height: list[int]) -> str:
    if width[0] == width[2] and height[0] == height[2]:
        return f"{width[0]} x {height[0]}"
    spans = [f"{low}" if low == high else f"{low}-{high}" for low, _, high in (width, height)]
    return f"{spans[0]} x {spans[1]}, median {width[1]} x {height[1]}"


def _finding(found: Finding) -> list[str]:
    lines = [*_wrapped(f"{found.kind}: {found.message}", 2, 4)]
    for file, why in found.files[:SHOWN]:
        lines += _wrapped(f"{file}: {why}" if why else file, 6, 10)
    if found.count > SHOWN and found.files:
        lines.append(f"      ... and {found.count - SHOWN:,} more")
    if found.remedy:
        lines += _wrapped(f"-> {found.remedy}", 4, 7)
    return lines


def _wrapped(text: str, first: int, later: int | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=" " * first,
        subsequent_indent=" " * (first if later is None else later),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _plain(found: Finding) -> dict[str, Any]:
    plain = found._asdict()
    plain["files"] = [seen._asdict() for seen in found.files]
    return plain
