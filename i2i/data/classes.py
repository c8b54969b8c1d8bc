"""Pictures and the class of each, as they lie on disk: a folder for each class, MNIST's idx files, CIFAR-10's binary.

CIFAR-10 (Krizhevsky, 2009) comes in two forms; the one for Python is pickles, which are never opened here. The binary
one has records of a label and 32 x 32 pixels, all reds, then all greens, then all blues.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from i2i.data import idx
from i2i.data.folders import SPLITS, Files, demand_folder, first_three, listed
from i2i.errors import UserError

IDX = {"train": "train", "test": "t10k"}
CIFAR = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
CIFAR_NAMES = "batches.meta.txt"
CIFAR_SIDE = 32
RECORD = 1 + 3 * CIFAR_SIDE**2
_LAYOUTS = (
    "a folder for each class, <split>/<class>/* or <class>/* alone; the idx files of MNIST, train-images-idx3-ubyte "
    "and train-labels-idx1-ubyte; or CIFAR-10's binary files, data_batch_1.bin to data_batch_5.bin"
)


class Split(NamedTuple):
    """The pictures of a split, files or (N, H, W, C) uint8 in memory, and their labels, (N,) int64."""

    pictures: Files | np.ndarray
    labels: np.ndarray
    origin: str  # where the labels come from, for messages


class Found(NamedTuple):
    """What lies in a folder: `names` of the classes by number, or None where only the labels tell them."""

    splits: dict[str, Split]
    names: list[str] | None
    notes: list[str]


def find(root: Path, hint: str) -> Found:
    """The splits below `root`, by name, those that exist, train among them.

    Args:
        hint: where the data can be had, appended to what is missing.

    Raises:
        UserError: no such folder, none of the layouts, files missing or damaged, pictures without a label, a class
            without pictures.
    """
    demand_folder(root, hint)
    if any((root / f"{start}-{kind}{end}").is_file() for start in IDX.values() for kind in _IDX for end in ("", ".gz")):
        return _idx_files(root, hint)
    if any((root / name).is_file() for names in CIFAR.values() for name in names):
        return _cifar_files(root, hint)
    if (root / "data_batch_1").is_file():
        raise UserError(
            f"{root} holds CIFAR-10 for Python, which is pickles: these can run code, and are not opened. Use its "
            f"binary version.{hint}"
        )
    return _class_folders(root, hint)


# ---------------------------------------------------------------------------------------------------- idx

_IDX = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}


def _idx_files(root: Path, hint: str) -> Found:
    splits = {}
    for split, start in IDX.items():
        there = {kind: _plain_or_zipped(root, f"{start}-{kind}") for kind in _IDX}
        if split != "train" and not any(there.values()):
            continue
        for kind, path in there.items():
            if path is None:
                raise UserError(f"{root} lacks {start}-{kind} (or the same .gz). Put it there.{hint}")
        images, labels = (idx.read(there[kind], dimensions) for kind, dimensions in _IDX.items())
        if len(images) != len(labels):
            first, second = there.values()
            raise UserError(
                f"{first} holds {len(images):,} pictures, and {second} {len(labels):,} labels. One label belongs to "
                "each picture; fetch both files again."
            )
        origin = str(there["labels-idx1-ubyte"])
        splits[split] = Split(images[..., None], labels.astype(np.int64), origin)
    return Found(splits, None, [])


def _plain_or_zipped(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)


# ---------------------------------------------------------------------------------------------------- CIFAR-10


def _cifar_files(root: Path, hint: str) -> Found:
    splits = {}
    for split, names in CIFAR.items():
        lacking = [name for name in names if not (root / name).is_file()]
        if lacking and split == "train":
            raise UserError(f"{root} lacks {first_three(lacking)}. Put all five training files there.{hint}")
        if not lacking:
            records = np.concatenate([_records(root / name) for name in names])
            planes = records[:, 1:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)
            origin = str(root / names[0]) if len(names) == 1 else f"{root}{os.sep}data_batch_*.bin"
            splits[split] = Split(planes.transpose(0, 2, 3, 1), records[:, 0].astype(np.int64), origin)
    file, names = root / CIFAR_NAMES, None
    if file.is_file():
        names = [line.strip() for line in file.read_text("utf-8", "replace").splitlines() if line.strip()]
        if not names:
            raise UserError(f"{file} names no class. Fetch the file again, or remove it.")
    return Found(splits, names, [])


def _records(path: Path) -> np.ndarray:
    """(N, 3073) uint8: the label, then the pixels."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: it cannot be opened ({error.strerror or error}).") from None
    if not data or len(data) % RECORD:
        raise UserError(
            f"{path}: it has {len(data):,} bytes, which is no whole number of records of {RECORD:,} (a label and "
            "32 x 32 pixels). Fetch the file again."
        )
    return np.frombuffer(data, np.uint8).reshape(-1, RECORD)


# ---------------------------------------------------------------------------------------------------- folders


def _class_folders(root: Path, hint: str) -> Found:
    alone = not (root / "train").is_dir()
    names = _folders(root if alone else root / "train", () if not alone else SPLITS)
    splits, notes = {}, []
    for split in SPLITS:
        folder = root if alone and split == "train" else root / split
        if not folder.is_dir() or (split != "train" and "train" not in splits):
            continue
        files, told = listed(folder)
        if folder == root:
            files = Files(root, [name for name in files.names() if _first(name) not in SPLITS])
        if not len(files) and (split != "train" or not names):
            continue  # an empty folder is as good as none
        notes += told
        splits[split] = Split(files, _labels(files, names, split), str(folder))
    if "train" not in splits:
        inside = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
        holds = f"holds {first_three(inside)}" if inside else "is empty"
        raise UserError(f"{root} has no layout of labelled data, which is {_LAYOUTS}; it {holds}.{hint}")
    counts = np.bincount(splits["train"].labels, minlength=len(names))
    if not counts.all():
        empty = Path(splits["train"].origin) / names[int(counts.argmin())]
        raise UserError(f"{empty} is the folder of a class and holds no picture. Put its pictures there, or remove it.")
    if len(names) == 1:
        raise UserError(
            f"{splits['train'].origin} holds one class, {names[0]}, and labelled data have two or more. Add the "
            "folders of the others, or set data.kind=folder."
        )
    return Found(splits, names, notes)


def _folders(place: Path, without: tuple[str, ...]) -> list[str]:
    entries = [entry.name for entry in place.iterdir() if entry.is_dir()]
    return sorted(name for name in entries if not name.startswith(".") and name not in without)


def _first(name: str) -> str:
    """The first folder of a path below a split, which is the class; empty for a file that lies in none."""
    return name.partition(os.sep)[0] if os.sep in name else ""


def _labels(files: Files, names: list[str], split: str) -> np.ndarray:
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers.get(_first(name), -1) for name in files.names()], np.int64)
    if (labels >= 0).all():
        return labels
    which = labels < 0
    index = int(which.argmax())
    path, folder = files[index], _first(files.name(index))
    if folder and split != "train":
        raise UserError(
            f"{os.path.join(files.folder, folder)} is not a class of training, which are {first_three(names)}. Name it "
            "as one of these, or remove it."
        )
    have = "picture lies" if which.sum() == 1 else "pictures lie"
    raise UserError(
        f"{which.sum()} {have} in no folder of a class and so have no label, the first {path}. Move them into the "
        "folder of their class, or set data.kind=folder for pictures without labels."
    )
