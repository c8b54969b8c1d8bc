"""Folders of made-up pictures in every layout that is read, data sets of them, and their batches."""

from pathlib import Path

import numpy as np
import torch

from i2i.data import DATASETS
from i2i.data.pictures import write
from i2i.data.stream import Loader

AUTO = {"channels": "auto", "range": "auto"}
NOISE = np.random.default_rng(0).integers(0, 256, (90, 200, 7), np.uint8)


def picture(number: int, height: int, width: int, dtype=np.uint8, channels: int = 3) -> np.ndarray:
    """Noise of its own for each number; of floats with values beyond the range [0, 1] that recipes here give."""
    part = np.roll(NOISE, 7 * number, axis=1)[:height, :width, :channels]
    if dtype == np.float32:
        return part / np.float32(200) - np.float32(0.1)
    return part.astype(dtype) * (257 if dtype == np.uint16 else 1)


LAYOUTS = {
    "paired": {"paired": [("train", 2)], "two folders": [("trainA", 1), ("trainB", 1)]},
    "unpaired": {"unpaired": [("trainA", 1), ("trainB", 1)]},
    "folder": {"folder": [("", 1)]},
    "labelled": {"labelled": [("train/cat", 1), ("train/dog", 1)]},
}
KIND = {layout: kind for kind, layouts in LAYOUTS.items() for layout in layouts}


def lay(root: Path, layout: str, count: int = 5, *, mixed: bool = False, suffix: str = ".png", **looks) -> Path:
    for place, halves in LAYOUTS[KIND[layout]][layout]:
        (root / place).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            height, width = (30 + 4 * (number % 3), 44 - 6 * (number % 3)) if mixed else (32, 32)
            seed = number + len(place)
            write(root / place / f"{number}{suffix}", picture(seed, height, width * halves, **looks))
    return root


def dataset(root: Path, layout: str, **changed):
    sides = {"a": AUTO, **({"b": AUTO} if KIND[layout] in ("paired", "unpaired") else {})}
    given = {"load_size": 24, "crop_size": 16, "flip": True, "transform": None, "seed": 3, **sides}
    return DATASETS.build(KIND[layout], path=root, **{**given, **changed})


def batches(data, count: int, **options) -> list[dict[str, torch.Tensor]]:
    loader = Loader(data, **{"batch_size": 2, "seed": 3, "say": lambda text: None, **options})
    try:
        return [next(loader) for _ in range(count)]
    finally:
        loader.close()


def same(one: list, two: list) -> bool:
    return len(one) == len(two) and all(
        list(a) == list(b) and all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)
        for a, b in zip(one, two)
    )


SETTINGS = {
    "resized": {},
    "enlarged": {"load_size": 50, "crop_size": 40},
    "own size, mixed": {"load_size": None, "crop_size": 28, "mixed": True},
    "resized, mixed": {"mixed": True},
    "no crop, no flip": {"load_size": 16, "flip": False},
    "16 bits": {"dtype": np.uint16, "load_size": 40},
    "grey for 3": {"channels": 1, "a": {**AUTO, "channels": 3}},
    "7 channels": {"channels": 7, "suffix": ".npy", "mixed": True},
    "affine": {"transform": "affine"},
    "d4 at own size": {"transform": "d4", "load_size": None},
    "floats of 4 channels": {"dtype": np.float32, "channels": 4, "suffix": ".npy", "range": [0, 1], "load_size": 40},
}
LOOKS = ("mixed", "dtype", "channels", "suffix")


def lay_as(root: Path, layout: str, settings: str) -> dict:
    """Lays pictures out for one of SETTINGS; returns what `dataset` is to be told of them."""
    changed = dict(SETTINGS[settings])
    looks = {key: changed.pop(key) for key in LOOKS if key in changed}
    span = changed.pop("range", None)
    for side in ("a", "b") if KIND[layout] in ("paired", "unpaired") else ("a",):
        changed[side] = {**changed.get("a", AUTO), **({"range": span} if span else {})}
    lay(root, layout, **looks)
    return changed
