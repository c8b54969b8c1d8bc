"""What is wrong with the files of a folder, one by one, and what is worth knowing: a finding for each kind."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from i2i.data.pictures import CHANGES
from i2i.prepare.checking.gathered import Gathered
from i2i.prepare.checking.reading import FAULTS, FORMATS
from i2i.prepare.levels import suggested_range, uses_few

LISTED = 1000  # files of a finding that are kept


class Seen(NamedTuple):
    """One file of a finding, and what is to be said of it alone ("" where there is nothing)."""

    file: str
    why: str


class Finding(NamedTuple):
    """One kind of problem, or of thing worth knowing.

    Attributes:
        kind: a short name, in small letters.
        problem: whether it has to be mended; else it is a note.
        count: how many files (or pairs) it is true of.
        files: the first of them, at most `LISTED`, their paths below the folder.
        message: what it is, a sentence.
        remedy: what to do, a sentence; where there is one, the exact command or override. "" for nothing.
    """

    kind: str
    problem: bool
    count: int
    files: list[Seen]
    message: str
    remedy: str = ""


def counted(count: int, one: str, many: str) -> str:
    """`1 picture is`, `1,200 pictures are`."""
    return f"{count:,} {one if count == 1 else many}"


_AGAIN = "Copy or download them again, make them again, or remove them."
_FAULTS = {
    "empty": ("file is empty", "files are empty", _AGAIN),
    "truncated": ("file is cut off", "files are cut off", _AGAIN),
    "unreadable": ("file cannot be read", "files cannot be read", _AGAIN),
    "not-a-picture": (
        "file is not what its suffix says and no picture that is read",
        "files are not what their suffix says and no pictures that are read",
        "Convert them to PNG (or TIFF), or remove them.",
    ),
    "git-lfs": (
        "file is a Git LFS pointer, not the picture",
        "files are Git LFS pointers, not the pictures",
        "In the repository they come from: git lfs install && git lfs pull",
    ),
    "web-page": (
        "file is a web page: a download that failed",
        "files are web pages: downloads that failed",
        "Download them again; the server answered with a page in place of the picture.",
    ),
    "too-large": (
        "picture has more pixels than are read",
        "pictures have more pixels than are read",
        "If you trust them, set the environment variable I2I_MAX_PIXELS to the count that is named; else cut them.",
    ),
    "nonfinite": (
        "picture holds NaN or infinite levels, or ones too large for float32",
        "pictures hold NaN or infinite levels, or ones too large for float32",
        "Fill them before training, as with numpy.nan_to_num, or remove the pictures.",
    ),
    "pages": (
        "TIFF holds several pages, and none is named (its first was looked at)",
        "TIFFs hold several pages, and none is named (their first was looked at)",
        "Name the page in the recipe, data.{side}.page=0, and with i2i translate --page 0; or split the files.",
    ),
    "odd-width": (
        "file has an odd width and cannot hold two pictures side by side",
        "files have an odd width and cannot hold two pictures side by side",
        "Cut them again, or lay the two pictures of each in train/A and train/B.",
    ),
}


def of_files(gathered: Gathered, crop: int | None) -> Iterator[Finding]:
    """Everything that can be said of files one by one, problems first."""
    yield from _faults(gathered)
    yield from _constant(gathered)
    yield from _mixed(gathered)
    if crop is not None:
        yield from _small(gathered, crop)
    yield from _lying(gathered)
    yield from _twins(gathered)
    yield from _changes(gathered)
    yield from _ranges(gathered)


def finding(
    gathered: Gathered, kind: str, problem: bool, where: Iterable[tuple[int, np.ndarray]], message, remedy="", why=None
) -> Iterator[Finding]:
    """A finding on the files at `where`: (side, places) for each side. Nothing where there are none.

    `message` is (one, many), after a count, or a sentence; `why(side, place)` is what to say of a file.
    """
    where = [(number, np.asarray(places)) for number, places in where]
    count = sum(len(places) for _, places in where)
    if not count:
        return
    files = []
    for number, places in where:
        side = gathered.sides.sides[number]
        for place in places[: LISTED - len(files)].tolist():
            files.append(Seen(side.shown(place), why(number, place) if why else ""))
    text = message if isinstance(message, str) else f"{counted(count, *message)}."
    yield Finding(kind, problem, count, files, text, remedy)


def _sides(gathered: Gathered) -> list[int]:
    """The sides with files of their own: of pictures side by side, one."""
    return [0] if gathered.sides.halves else list(range(len(gathered.tables)))


def _faults(gathered: Gathered) -> Iterator[Finding]:
    for fault, kind in enumerate(FAULTS):
        if not fault:
            continue
        one, many, remedy = _FAULTS[kind]
        where = [(number, np.flatnonzero(gathered.tables[number]["fault"] == fault)) for number in _sides(gathered)]
        side = next(("ab"[number] for number, places in where if len(places)), "a")
        yield from finding(gathered, kind, True, where, (one, many), remedy.format(side=side), gathered.why)


def _constant(gathered: Gathered) -> Iterator[Finding]:
    where = [(number, np.flatnonzero(table["constant"])) for number, table in enumerate(gathered.tables)]
    halves = gathered.sides.halves
    yield from finding(
        gathered,
        "constant",
        True,
        where,
        ("picture has one level everywhere", "pictures have one level everywhere"),
        "Remove them: instance normalisation divides by their spread, which is 0. Keep them only if they are meant, as "
        "empty label maps.",
        lambda number, _: f"its half {'AB'[number]}" if halves else "",
    )


def _mixed(gathered: Gathered) -> Iterator[Finding]:
    for number, table in enumerate(gathered.tables):
        name = gathered.sides.sides[number].name
        of = f"{name} mixes" if name else "the folder mixes"
        good = table["read"]
        for column, unit in (("channels", "channels"), ("depth", "bits a channel")):
            values, counts = np.unique(table[column][good], return_counts=True)
            if len(values) < 2:
                continue
            usual = values[counts.argmax()]
            shown = " and ".join(f"{value} {unit} ({count:,})" for value, count in zip(values, counts))
            places = np.flatnonzero(good & (table[column] != usual))
            if column == "channels" and values.tolist() == [1, 3]:
                grey = np.flatnonzero(good & (table[column] == 1))
                message = f"{of} grey pictures ({len(grey):,}) and RGB: the grey ones are read as RGB."
                yield from finding(gathered, "grey", False, [(number, grey)], message)
                continue
            yield from finding(
                gathered,
                f"mixed-{column}",
                True,
                [(number, places)],
                f"{of} pictures of {shown}; a domain has one.",
                "Convert the few to what most have, or remove them." if column == "channels" else
                "Convert them to one depth, the larger where the finer levels matter.",
                lambda side, place, column=column, unit=unit: f"{gathered.tables[side][column][place]} {unit}",
            )  # fmt: skip


def _small(gathered: Gathered, crop: int) -> Iterator[Finding]:
    where = []
    for number, table in enumerate(gathered.tables):
        small = table["read"] & (np.minimum(table["width"], table["height"]) < crop)
        where.append((number, np.flatnonzero(small)))
    if gathered.sides.halves:
        where = where[:1]
    yield from finding(
        gathered,
        "too-small",
        True,
        where,
        (f"picture is smaller than the crop of {crop}", f"pictures are smaller than the crop of {crop}"),
        f"Set data.load_size={crop} or more, which scales the shorter side of every picture to it; or a smaller "
        "data.crop_size; or remove them.",
        lambda number, place: size(gathered, number, place),
    )


def size(gathered: Gathered, number: int, place: int) -> str:
    """`640 x 480`, of a file (or its half)."""
    line = gathered.tables[number][place]
    return f"{line['width']} x {line['height']}"


def _lying(gathered: Gathered) -> Iterator[Finding]:
    yield from finding(
        gathered,
        "suffix",
        False,
        [(number, np.flatnonzero(gathered.tables[number]["lies"])) for number in _sides(gathered)],
        ("file is of another format than its suffix says", "files are of another format than their suffix says"),
        "They are read by what they hold. Rename them if other programs are to read them.",
        lambda number, place: f"holds {FORMATS[gathered.tables[number]['format'][place]]}",
    )


def _twins(gathered: Gathered) -> Iterator[Finding]:
    pairs = gathered.sides.paired and not gathered.sides.halves
    elders = [dict(twins.tolist()) for twins in gathered.sides.twins]
    yield from finding(
        gathered,
        "same-stem",
        pairs,
        [(number, twins[:, 0]) for number, twins in enumerate(gathered.sides.twins)],
        ("file has the stem of another one beside it", "files have the stem of another one beside them"),
        "The stem names a pair. Rename or remove one of each." if pairs else
        "Their translations would get the same name. Rename one of each.",
        lambda number, place: f"as {gathered.sides.sides[number].shown(elders[number][place])}",
    )  # fmt: skip


def _changes(gathered: Gathered) -> Iterator[Finding]:
    for number in _sides(gathered):
        table = gathered.tables[number]
        changes = Counter(gathered.changes[number])
        changes["alpha"] += int(table["alpha"].sum())
        for name, count in sorted(changes.items()):
            if count and name in CHANGES:
                where = gathered.sides.sides[number].name if not gathered.sides.halves else ""
                text = f"{count:,} of {len(table):,} pictures{f' of {where}' if where else ''} {CHANGES[name]}."
                yield Finding("read-as", False, count, [], text[0].upper() + text[1:])


def _ranges(gathered: Gathered) -> Iterator[Finding]:
    for number in range(len(gathered.tables)):
        found = gathered.levels(number)
        if found.depth not in (16, 32):
            continue
        key = f"data.{'ab'[number]}.range"
        either = "" if len(gathered.tables) == 2 else "  (data.b.range where these are domain B)"
        name = gathered.sides.sides[number].name
        of = f"The pictures of {name}" if name else "The pictures"
        low, high = suggested_range(found)
        middle = " to ".join(f"{value:g}" for value in found.percentiles)
        seen = f"levels {found.low:g} to {found.high:g}, the middle 99.8 % {middle}"
        line = f"{key}='[{number_text(low)}, {number_text(high)}]'{either}"  # quoted for a shell, as overrides are
        if found.depth == 32:
            text = f"{of} are floats ({seen}): a recipe has to say which levels become -1 and 1."
            yield Finding("range", False, found.pictures, [], text, line)
        elif uses_few(found):
            text = f"{of} have 16 bits and use less than a quarter of the levels ({seen}). Spread them over [-1, 1]:"
            yield Finding("few-levels", False, found.pictures, [], text, line)


def number_text(value: float) -> str:
    """A number as YAML reads it back as the same one: 4095, 0.25, 1.0e-05."""
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value)) if isinstance(value, int) else f"{value:.1f}"
    text = repr(float(value))
    return text if "e" not in text or "." in text.split("e")[0] else text.replace("e", ".0e")
