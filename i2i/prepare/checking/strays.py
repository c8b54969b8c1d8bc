"""What lies below a folder and is read by nothing: pictures outside the layout, files of other kinds."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from i2i.data.folders import UNREAD
from i2i.data.pictures import SUFFIXES, is_picture
from i2i.prepare.checking.findings import LISTED, Finding, Seen, counted
from i2i.prepare.layout import Layout


def strays(path: Path, layout: Layout) -> Iterator[Finding]:
    """Notes on what `layout` leaves out of the folder `path`."""
    inside = {os.path.abspath(files.folder) for found in layout.splits.values() for files in found.values()}
    outside, foreign = _Few(), _Few()
    suffixes: Counter[str] = Counter()
    for place, name, known in _files(path, inside):
        file = os.path.relpath(os.path.join(place, name), layout.root)
        if is_picture(name):
            if not known:
                outside.add(file)
            continue
        suffix = os.path.splitext(name)[1].lower()
        if suffix in UNREAD:
            foreign.add(file)
            suffixes[suffix] += 1
    if outside.count:
        text = f"{counted(outside.count, 'picture lies', 'pictures lie')} outside the layout, and nothing reads them."
        remedy = "Move them to where the others are, if they belong to them. Splits are called train, val and test."
        yield Finding("outside", False, outside.count, outside.files, text, remedy)
    if foreign.count:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common())
        text = f"{counted(foreign.count, 'picture is', 'pictures are')} of a kind that is not read ({kinds})."
        remedy = f"Convert them to PNG or TIFF. Read are {', '.join(SUFFIXES)}."
        yield Finding("other-kinds", False, foreign.count, foreign.files, text, remedy)


class _Few:
    """A count, and the first of what was counted."""

    def __init__(self):
        self.count = 0
        self.files: list[Seen] = []

    def add(self, file: str) -> None:
        self.count += 1
        if len(self.files) < LISTED:
            self.files.append(Seen(file, ""))


def _files(path: Path, inside: set[str]) -> Iterator[tuple[str, str, bool]]:
    """(folder, name, whether the folder is one of `inside` or below it), in plain order; nothing hidden."""
    seen: set[str] = set()
    known: set[str] = set()
    for place, folders, files in os.walk(os.path.abspath(path), followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = place in inside or place in known
        if here:
            known.update(os.path.join(place, name) for name in folders)
        yield from ((place, name, here) for name in sorted(files) if not name.startswith("."))
