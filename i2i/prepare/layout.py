"""How the pictures below a folder are laid out: pairs, two domains, classes, or just pictures; and in which splits."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from i2i.data.folders import SPLITS, Files, listed
from i2i.data.pictures import is_picture
from i2i.errors import UserError
from i2i.prepare.halves import side_by_side

# what people call the splits that are read here as train, val and test
_OTHER_NAMES = {
    "train": ("training", "trn", "tr"),
    "val": ("valid", "validation", "dev", "eval"),
    "test": ("testing", "tst"),
}
_LAYOUTS = (
    "train/ with both pictures of a pair side by side in each file, train/A + train/B, trainA + trainB, "
    "two sub-folders of any name, one sub-folder for each class, or just pictures"
)
KINDS = {
    "side by side": "pairs, both pictures side by side in each file",
    "two folders": "pairs in two folders, matched by stem",
    "unpaired": "two domains, nothing paired",
    "labelled": "one folder for each class",
    "folder": "pictures without partners or classes",
}


class Layout(NamedTuple):
    """What `find` found.

    Attributes:
        kind: "side by side", "two folders" (paired by stem), "unpaired" (two domains), "labelled" or "folder".
        root: the folder that `data.path` of a recipe is set to.
        splits: by "train", "val", "test", those that hold pictures: {"": files} for "side by side" and "folder",
            {"A": files, "B": files} for "two folders" and "unpaired", {class: files} for "labelled".
        folders: the names of the two sub-folders, A's and B's, where they are not `<split>/A` + `<split>/B` or
            `<split>A` + `<split>B` but `<split>/<name>`, `<name>/<split>` or `<name>` alone; it is what `data.folders`
            of a recipe is set to.
        notes: sentences on how the folder was understood and what is left out.
    """

    kind: str
    root: Path
    splits: dict[str, dict[str, Files]]
    folders: list[str] | None
    notes: list[str]


class _Place(NamedTuple):
    """The folders of one split: `style` is "one", "two" or "classes"."""

    style: str
    parts: dict[str, Path]  # "" or A, B or class -> folder
    names: list[str] | None  # of the two folders, where they are of another name than A and B


def find(path: str | os.PathLike) -> Layout:
    """The layout of a folder, which may also be one split of a larger one.

    Raises:
        UserError: no such folder, no pictures in it, or no layout that is known here.
    """
    root = Path(os.path.expanduser(path))
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"{root} {what}. Give the folder that holds your pictures.")
    notes: list[str] = []
    places = {split: place for split in SPLITS if (place := _split(root, split))}
    if "train" not in places:
        _misnamed(root)
    if not places:
        own = _has_own(root)
        below = _folders_with_pictures(root)
        if not own and len(below) == 1 and Path(os.path.abspath(root)).name not in SPLITS:
            inner = find(below[0])
            note = f"{root} holds one folder with pictures, {below[0].name}, and that is what was looked at"
            return inner._replace(notes=[note, *inner.notes])
        root, places = _without_splits(root, notes)
    return _layout(root, places, notes)


def _without_splits(root: Path, notes: list[str]) -> tuple[Path, dict[str, _Place]]:
    """(root, places) of a folder that holds no folders called train, val or test: it may be one of them itself."""
    place = _place(root)
    if place is None:
        raise UserError(_nothing(root))
    name = Path(os.path.abspath(root)).name
    if name in SPLITS:
        parent = Path(os.path.abspath(root)).parent if root.parent == root else root.parent
        notes.append(f"{root} is one split, {name}, of {parent}; the others were not looked at")
        return parent, {name: place}
    if place.style != "two":
        return root, {"train": place}
    names = place.names or ["A", "B"]
    if all((root / name / "train").is_dir() for name in names):  # the splits lie inside the two folders
        pairs = {split: {side: root / name / split for side, name in zip("AB", names)} for split in SPLITS}
        whole = {split: parts for split, parts in pairs.items() if all(folder.is_dir() for folder in parts.values())}
        return root, {split: _Place("two", parts, names) for split, parts in whole.items()}
    return root, {"train": place._replace(names=names)}


def _layout(root: Path, places: dict[str, _Place], notes: list[str]) -> Layout:
    main = places.get("train") or next(iter(places.values()))
    splits: dict[str, dict[str, Files]] = {}
    for split, place in places.items():
        if (place.style, place.names) != (main.style, main.names):
            notes.append(f"{split} is laid out in another way than the rest and left out: {_shown(place)}")
            continue
        found = {}
        for side, folder in place.parts.items():
            found[side], told = listed(folder)
            notes += [note for note in told if "cannot be listed" in note]
        if place.style == "two" and not all(map(len, found.values())):
            empty = next(str(files.folder) for files in found.values() if not len(files))
            if place is main:
                raise UserError(f"{empty} holds no picture that can be read. Put the pictures of that domain there.")
            notes.append(f"{empty} is empty, so {split} is left out")
        elif any(map(len, found.values())):
            splits[split] = {side: files for side, files in found.items() if len(files)}
    if not splits:
        raise UserError(_nothing(root))
    kind, said = _kind(main.style, next(iter(splits.values())))
    notes += said
    if kind == "side by side" and main.parts[""] == root:
        notes.append(f"training reads pairs side by side from {root / 'train'}: move the pictures there")
    return Layout(kind, root, splits, main.names, notes)


def _kind(style: str, sides: dict[str, Files]) -> tuple[str, list[str]]:
    if style == "classes":
        return "labelled", []
    if style == "one":
        wide, note = side_by_side(sides[""])
        return ("side by side" if wide else "folder"), [note] if note else []
    a, b = sides["A"], sides["B"]
    stems_a, stems_b = np.unique(stem_hashes(a)), np.unique(stem_hashes(b))
    shared, larger = len(np.intersect1d(stems_a, stems_b)), max(len(stems_a), len(stems_b))
    if shared >= max(1, min(0.9 * larger, larger - 1)):  # one lost partner leaves a set of five paired
        return "two folders", []
    note = (
        f"{shared:,} of {larger:,} stems are in both {a.folder} and {b.folder}: taken for two domains without pairs. "
        "For pairs, give the two pictures of each the same stem"
    )
    return "unpaired", [note] if shared >= 0.1 * min(len(a), len(b)) else []


def stem(name: str) -> str:
    """The path below the folder, without the suffix: what names a pair."""
    return os.path.splitext(name)[0]


def stem_hashes(files: Files) -> np.ndarray:
    """(files,) int64, equal for equal stems within one process: a set of a million strings would take 150 MB."""
    return np.fromiter((hash(stem(name)) for name in files.names()), np.int64, len(files))


# ------------------------------------------------------------------------------------------------------- folders


def _split(root: Path, split: str) -> _Place | None:
    both, a, b = root / split, root / f"{split}A", root / f"{split}B"
    if a.is_dir() and b.is_dir():
        if both.is_dir() and _place(both):
            raise UserError(f"{root} has both {split} and {split}A, {split}B. Keep one of the two layouts.")
        return _Place("two", {"A": a, "B": b}, None)
    place = _place(both) if both.is_dir() else None
    if place is None and split == "train" and (a.is_dir() or b.is_dir()):
        there, lacking = (a, b) if a.is_dir() else (b, a)
        raise UserError(f"{there} is there and {lacking} is not. Make it, or give {there} itself to check it alone.")
    return place


def _place(folder: Path) -> _Place | None:
    """What lies in the folder of one split."""
    below = _folders_with_pictures(folder)
    names = [entry.name for entry in below]
    if _has_own(folder) or len(below) == 1:
        if names in (["A"], ["B"]) and not _has_own(folder):
            lacking = folder / ("B" if names == ["A"] else "A")
            _may_be_listed(lacking)
            raise UserError(f"{below[0]} holds pictures and {lacking} none. Give {below[0]} itself to check it alone.")
        return _Place("one", {"": folder}, None)
    if {"A", "B"} <= set(names):
        return _Place("two", {"A": folder / "A", "B": folder / "B"}, None)
    if len(below) == 2:
        return _Place("two", dict(zip("AB", below)), names)
    return _Place("classes", {entry.name: entry for entry in below}, None) if below else None


def _may_be_listed(folder: Path) -> None:
    """UserError for a folder that is there and closed: it holds something, as far as its owner knows."""
    try:
        os.scandir(folder).close()
    except PermissionError as error:
        remedy = f"chmod -R u+rX {shlex.quote(str(folder))}"
        raise UserError(f"{folder} cannot be listed: {error.strerror}. Let yourself read it: {remedy}") from None
    except OSError:
        pass  # not there, or not a folder


def _folders_with_pictures(folder: Path) -> list[Path]:
    below = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
    return sorted(entry for entry in below if next(_pictures_below(entry), None))


def _pictures_below(folder: Path) -> Iterator[str]:
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (name for name in files if is_picture(name))


def _has_own(folder: Path) -> bool:
    return any(is_picture(entry.name) and entry.is_file() for entry in os.scandir(folder))


def _shown(place: _Place) -> str:
    return ", ".join(str(folder) for folder in list(place.parts.values())[:3])


def _misnamed(root: Path) -> None:
    """UserError where the splits are there under other names: read as two domains, they would train on the test set."""
    inside = {entry.name: entry for entry in _folders_with_pictures(root)}
    for name in inside:
        for split, others in _OTHER_NAMES.items():
            if name.lower() in (split, *others) and name != split:
                command = shlex.join(["mv", str(root / name), str(root / split)])
                raise UserError(f"{root / name} looks like the split {split}. Rename it: {command}")


def _nothing(root: Path) -> str:
    inside = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    if any(name.endswith(("-ubyte", "-ubyte.gz")) for name in inside):
        return (
            f"{root} holds idx files (as MNIST), which are no single pictures; they are trained on as they are, by "
            f"data.kind=labelled: i2i train gan_mnist data.path={shlex.quote(str(root))}"
        )
    holds = f"It holds {', '.join(inside[:3])}{', ...' if len(inside) > 3 else ''}" if inside else "It is empty"
    return f"{root} holds no pictures. {holds}. Layouts that are read: {_LAYOUTS}."
