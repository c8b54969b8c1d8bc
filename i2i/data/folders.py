"""Folders of pictures: what is in them, which layout they have, and which picture belongs to which."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from i2i.data.pictures import SUFFIXES, is_picture
from i2i.errors import UserError
from i2i.registry import nearest

SPLITS = ("train", "val", "test")
_PICTURES = (".tif", ".tiff", ".webp", ".bmp", ".npy", ".gif", ".exr", ".hdr", ".jp2", ".jxl", ".heic", ".avif")
_PICTURES += (".ppm", ".pgm", ".tga", ".psd", ".npz", ".dcm", ".nii", ".svg", ".jfif")
UNREAD = tuple(suffix for suffix in _PICTURES if suffix not in SUFFIXES)  # pictures of other kinds


class Files(Sequence[str]):
    """Paths below one folder, held in one buffer of bytes: a million names cost each worker 15 MB, as a list 90."""

    def __init__(self, folder: str | os.PathLike, names: Iterable[str]):
        self.folder = str(folder)
        encoded = [os.fsencode(name) for name in names]
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        """The path of file `index`, with the folder."""
        return os.path.join(self.folder, self.name(index))

    def name(self, index: int) -> str:
        """The path of file `index` below the folder."""
        if not 0 <= index < len(self):
            raise IndexError(f"there is no file {index} among {len(self)}")
        return os.fsdecode(self._bytes[self._ends[index] : self._ends[index + 1]].tobytes())

    def names(self) -> Iterator[str]:
        """All paths below the folder."""
        return (self.name(index) for index in range(len(self)))

    def digest(self) -> bytes:
        """SHA-256 of the paths below the folder, and of their order."""
        return hashlib.sha256(self._ends.tobytes() + self._bytes.tobytes()).digest()

    def only(self, places: Iterable[int]) -> "Files":
        """The files at these places, in this order."""
        return Files(self.folder, [self.name(int(place)) for place in places])


class Split(NamedTuple):
    """The pictures of one split. `b` is None where every file of `a` holds both pictures, side by side."""

    name: str
    a: Files
    b: Files | None
    notes: list[str]


def listed(folder: Path) -> tuple[Files, list[str]]:
    """The pictures in a folder and below it, in plain order of their names, and notes on what is left out.

    Hidden files and folders are passed over. Linked folders are followed, each once.
    """
    names, unread, closed, seen = [], [], [], set()
    for place, folders, files in os.walk(folder, onerror=closed.append, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(place, folder)
        prefix = "" if below == "." else below + os.sep
        names += [prefix + name for name in files if is_picture(name)]
        unread += [prefix + name for name in files if name.lower().endswith(UNREAD) and not name.startswith(".")]
    notes = [f"the folder {error.filename} cannot be listed ({error.strerror}) and is left out" for error in closed]
    if unread:
        kind = "file is" if len(unread) == 1 else "files are"
        notes.append(
            f"{folder}: {len(unread)} {kind} of a kind that is not read, left out: {first_three(sorted(unread))}"
        )
    return Files(folder, sorted(names)), notes


def first_three(words: Sequence[str]) -> str:
    """`x, y, z, ...`"""
    return ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")


def paired_splits(root: Path, hint: str, folders: Sequence[str] | None = None) -> dict[str, Split]:
    """The splits of paired data, by name, those that exist; partners stand at the same place of `a` and `b`.

    Args:
        root: the folder of the data.
        hint: where the data can be had, appended to what is missing.
        folders: two names used in place of A and B (see `named_folders`), or None.

    Raises:
        UserError: no such folder, no known layout or two of them, no training pictures, pictures without a partner.
    """
    return _splits(root, hint, "paired", _paired_split, folders)


def unpaired_splits(root: Path, hint: str, folders: Sequence[str] | None = None) -> dict[str, Split]:
    """The splits of unpaired data, by name, those that exist. Arguments and errors as for `paired_splits`."""
    return _splits(root, hint, "unpaired", _two_folders, folders)


_LAYOUTS = {
    "paired": "train/* (both pictures side by side in each file), train/A + train/B, or trainA + trainB",
    "unpaired": "trainA + trainB, or train/A + train/B",
}


def demand_folder(root: Path, hint: str) -> None:
    """UserError where the folder of the data is not there; `hint`, where they can be had, is appended."""
    if not root.is_dir():
        here = "" if root.is_absolute() else f" in {os.getcwd()}"
        what = "is a file, not a folder" if root.exists() else f"does not exist{here}"
        raise UserError(f"data.path: the folder {root} {what}. Set data.path to the folder of your pictures.{hint}")


def _splits(root: Path, hint: str, kind: str, find, folders: Sequence[str] | None) -> dict[str, Split]:
    demand_folder(root, hint)
    if folders is not None:
        find = partial(_named_split, kind=kind, folders=_two_names(folders))
    found = {name: split for name in SPLITS if (split := find(root, name)) is not None}
    if "train" not in found:
        inside = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
        holds = f"holds {first_three(inside)}" if inside else "is empty"
        other = (
            " Pictures side by side are data.kind=paired." if kind == "unpaired" and (root / "train").is_dir() else ""
        )
        raise UserError(f"{root} has no layout of {kind} data, which is {_LAYOUTS[kind]}; it {holds}.{other}{hint}")
    for name, split in list(found.items()):
        empty = next((files for files in (split.a, split.b) if files is not None and not len(files)), None)
        if empty is None:
            continue
        if name == "train":
            left = f" ({'; '.join(split.notes)})" if split.notes else ""
            raise UserError(f"{empty.folder} holds no picture{left}. Put the training pictures there.{hint}")
        del found[name]  # an empty folder of another split is as good as none
    return found


def _folders(root: Path, split: str) -> tuple[Path, Path] | None:
    """The two folders of a split, A and B, or None where it has neither."""
    layouts = [(root / f"{split}A", root / f"{split}B"), (root / split / "A", root / split / "B")]
    there = [pair for pair in layouts if pair[0].is_dir() or pair[1].is_dir()]
    if len(there) > 1:
        raise UserError(f"{root} has both {split}A, {split}B and {split}/A, {split}/B. Keep one of the two layouts.")
    return there[0] if there else None


def _two_folders(root: Path, split: str) -> Split | None:
    pair = _folders(root, split)
    return None if pair is None else _both(pair, split)


def _both(pair: tuple[Path, Path], split: str) -> Split | None:
    lacking = next((folder for folder in pair if not folder.is_dir()), None)
    if lacking is not None:
        other = pair[0] if lacking is pair[1] else pair[1]
        if split != "train":
            return None
        raise UserError(
            f"{other} is there and {lacking} is not. Both are needed; an input without a target cannot train."
        )
    (a, notes_a), (b, notes_b) = map(listed, pair)
    return Split(split, a, b, [*notes_a, *notes_b])


def _two_names(folders: Sequence[str]) -> tuple[str, str]:
    """data.folders, two names of folders that have nothing in common; UserError for anything else."""
    shown = f"data.folders: [{', '.join(map(str, folders))}]"
    if len(folders) != 2:
        raise UserError(f"{shown} names {len(folders)} folders. Write two, [A, B], or null.")
    for name in map(PurePath, folders):
        if name.is_absolute() or ".." in name.parts or not name.parts:
            raise UserError(f"{shown}: '{name}' is not the name of a folder below data.path. Write one that is there.")
    a, b = map(PurePath, folders)
    if a.is_relative_to(b) or b.is_relative_to(a):
        raise UserError(f"{shown}: one is the other or lies in it, and A and B must be apart. Name two folders.")
    return str(a), str(b)


def named_folders(root: Path, split: str, folders: tuple[str, str]) -> tuple[Path, Path] | None:
    """The two folders of a split under the names of data.folders, or None where it has none.

    These are `<root>/<split>/<name>`; else `<root>/<name>/<split>` where both have a folder `train`; else, for train
    alone, `<root>/<name>`.

    Raises:
        UserError: a name that is no folder where train is looked for, with the nearest one that is.
    """
    places = [lambda name: root / split / name]
    if all((root / name / "train").is_dir() for name in folders):
        places.append(lambda name: root / name / split)
    if split == "train":
        places.append(lambda name: root / name)
    pairs = [(place(folders[0]), place(folders[1])) for place in places]
    there = next((pair for pair in pairs if all(folder.is_dir() for folder in pair)), None)
    if there is None and split == "train":
        raise UserError(_no_such_folders(root, folders))
    return there


def _no_such_folders(root: Path, folders: tuple[str, str]) -> str:
    inside = root / "train" if any((root / "train" / name).is_dir() for name in folders) else root
    known = sorted(
        {p.name for place in (inside, root / "train") if place.is_dir() for p in place.iterdir() if p.is_dir()}
    )
    known = [name for name in known if not name.startswith(".") and (name not in SPLITS or inside != root)]
    wrong = next(name for name in folders if not (inside / name).is_dir())
    holds = (
        f"Folders there: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}" if known else "It has no folders"
    )
    return (
        f"data.folders: [{', '.join(folders)}]: {inside} has no folder '{wrong}'.{nearest(wrong, known)} {holds}. "
        f"Write two of its folders, or null for A and B."
    )


def _named_split(root: Path, split: str, *, kind: str, folders: tuple[str, str]) -> Split | None:
    pair = named_folders(root, split, folders)
    found = None if pair is None else _both(pair, split)
    return found if found is None or kind == "unpaired" else found._replace(**_matched(found.a, found.b))


def _paired_split(root: Path, split: str) -> Split | None:
    both = root / split
    has_folders = _folders(root, split) is not None
    if not both.is_dir() or (has_folders and not any(is_picture(name) for name in os.listdir(both))):
        found = _two_folders(root, split)
        return None if found is None else found._replace(**_matched(found.a, found.b))
    if has_folders:
        raise UserError(
            f"{both} holds pictures side by side, and there are folders A and B too. Keep one of the two layouts."
        )
    files, notes = listed(both)
    return Split(split, files, None, notes)


def _matched(a: Files, b: Files) -> dict[str, Files]:
    """Both lists in the order of the stems (the path below the folder, without the suffix) that they share."""
    stems_a, stems_b = by_stem(a), by_stem(b)
    alone = sorted(a[i] for stem, i in stems_a.items() if stem not in stems_b)
    alone += sorted(b[i] for stem, i in stems_b.items() if stem not in stems_a)
    if alone:
        have = "picture has" if len(alone) == 1 else "pictures have"
        raise UserError(
            f"{len(alone)} {have} no partner of the same stem in {a.folder} and {b.folder}: {first_three(alone)}. "
            "Add the partners or remove these; suffixes may differ."
        )
    shared = sorted(stems_a)
    return {
        "a": Files(a.folder, [a.name(stems_a[stem]) for stem in shared]),
        "b": Files(b.folder, [b.name(stems_b[stem]) for stem in shared]),
    }


def by_stem(files: Files) -> dict[str, int]:
    """{stem: index}, the stem being the path below the folder without its suffix; UserError for two files of one."""
    stems: dict[str, int] = {}
    for index, name in enumerate(files.names()):
        stem = os.path.splitext(name)[0]
        if stem in stems:
            twin = files.name(stems[stem])
            raise UserError(
                f"{files.folder}: {twin} and {name} have the same stem, which names a pair. Rename or remove one."
            )
        stems[stem] = index
    return stems
