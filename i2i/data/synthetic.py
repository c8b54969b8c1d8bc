"""Made-up buildings, drawn when they are asked for: a data set to try a method on before anything is downloaded.

A is a label map in flat colours, B the photograph of the same building, in the spirit of the CMP facades (Tylecek and
Sara, 2013). The pictures depend on their split and number alone: every run, whatever its seed, sees the same ones.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from i2i.data import DATASETS
from i2i.data.buildings import design, labels
from i2i.data.domain import Domain
from i2i.data.photograph import photograph
from i2i.data.pictures import write
from i2i.data.pictureset import Broken, PictureSet, Pixels
from i2i.errors import UserError
from i2i.seeds import derive

SPLITS = ("train", "val", "test")
SMALLEST = 16


def draw(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One building: its label map, in colours of `buildings.PALETTE` only, and its photograph.

    Both are (size, size, 3) uint8 RGB and a pure function of the arguments; every edge of the one is an edge of the
    other. At another size it is the same building on another grid.

    Raises:
        UserError: `size` below 16, where a window is less than a pixel.
    """
    building = design(seed, _checked(size))
    return labels(building), photograph(building, seed)


def building_seed(split: str, index: int, side: str = "a") -> int:
    """The seed of picture `index` of a split. Side "b" is for unpaired photographs: buildings that side "a" lacks."""
    return derive("synthetic", split, index, side)


def write_folder(
    path: str | os.PathLike,
    count: int,
    split: str = "test",
    *,
    size: int = 256,
    half: Literal["labels", "photo"] | None = None,
) -> list[Path]:
    """Writes the first `count` buildings of a split as 00000.png, 00001.png, ..., and returns these paths.

    Args:
        path: a folder, made where it is missing.
        half: None for files that hold both pictures side by side, the label map on the left; else the one to write.

    Raises:
        UserError: an unknown split or half, `size` below 16.
    """
    if split not in SPLITS:
        raise UserError(f"split '{split}' is not one of {', '.join(SPLITS)}. Give one of these.")
    if half not in (None, "labels", "photo"):
        raise UserError(f"half '{half}' is not a half of a pair. Give labels, photo, or None for both side by side.")
    _checked(size)
    folder, written = Path(path), []
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pair = draw(building_seed(split, index), size)
        pixels = np.concatenate(pair, axis=1) if half is None else pair[half == "photo"]
        written.append(folder / f"{index:05d}.png")
        write(written[-1], pixels)
    return written


@DATASETS.register("synthetic")
class Synthetic(PictureSet):
    """`count` buildings for training, a tenth as many (at least 4) in each of val and test.

    Args:
        pairing: "paired" gives the label map and the photograph of one building, "unpaired" those of two.
        size: side of the drawn pictures, before `load_size`.
        path: null, since nothing is read.
        a, b: the recipe's domains, {"channels": 3 | "auto", "range": [low, high] | "auto"}.
        direction: of paired data: "ab" has the label map as input, "ba" the photograph.
        seed, load_size, crop_size, flip, transform: as in every data set (see `PictureSet`).

    Raises:
        UserError: a path, a crop larger than the pictures, channels other than 3, a size below 16, no pictures at all,
            unpaired data with a direction.
    """

    needs_path: ClassVar[bool] = False

    def __init__(
        self,
        *,
        pairing: Literal["paired", "unpaired"],
        size: int,
        count: int,
        path: None = None,
        load_size: int | None,
        crop_size: int,
        flip: bool,
        transform: str | None,
        a: Mapping[str, Any],
        b: Mapping[str, Any],
        direction: Literal["ab", "ba"] = "ab",
        seed: int,
    ):
        keys = self.keys_of({"pairing": pairing})
        if path is not None:
            raise UserError(f"path '{path}': synthetic pictures are drawn, not read. Set data.path to null.")
        if count < 1:
            raise UserError(f"count {count}: a training set has at least one picture. Set data.count to 1 or more.")
        if direction not in ("ab", "ba") or (direction == "ba" and pairing == "unpaired"):
            raise UserError(
                f"direction '{direction}': paired data go ab or ba, unpaired data both ways. Leave it at ab."
            )
        _checked(size)
        shorter, made = (size, "as drawn") if load_size is None else (load_size, "after load_size")
        if shorter < crop_size:
            raise UserError(
                f"crop_size {crop_size} is larger than the pictures, {shorter} x {shorter} {made}. "
                f"Set data.crop_size to {shorter} or less."
            )
        super().__init__(
            seed=seed,
            sides=dict(zip(keys, direction)),
            domains={"a": _domain("a", a), "b": _domain("b", b)},
            together=pairing == "paired",
            load_size=load_size,
            crop_size=crop_size,
            flip=flip,
            transform=transform,
        )
        self.size, self._count = size, count
        self.side = {"ab": "left", "ba": "right"}[direction] if self.together else None  # as `write_folder` lays them

    @staticmethod
    def keys_of(args: Mapping[str, Any]) -> tuple[str, str]:
        """The keys of a batch, for the recipe's own arguments of this kind."""
        pairing = args.get("pairing", "paired")
        if pairing not in ("paired", "unpaired"):
            raise UserError(f"pairing '{pairing}' is not one of paired, unpaired. Give one of these.")
        return ("input", "target") if pairing == "paired" else ("a", "b")

    def __len__(self) -> int:
        return self._count

    @property
    def files(self) -> int:
        return self._count

    @property
    def splits_there(self) -> tuple[str, ...]:
        return SPLITS

    def pictures(self, epoch: int, index: int) -> tuple[Pixels, list[Broken]]:
        """Building `index`; unpaired, with the photograph of one drawn from (seed, epoch, index)."""
        other = index if self.together else derive(self.seed, "partner", epoch, index) % self._count
        return self._drawn("train", index, other), []

    def previews(self, count: int) -> list[Pixels]:
        """The first buildings of test."""
        return [self._drawn("test", index, index) for index in range(min(count, self.length("test")))]

    def count(self, split: str, key: str | None = None) -> int:
        self.asked(split, key)
        return self.length(split)

    def sample(self, split: str, index: int, key: str | None = None) -> Pixels:
        drawn = self._drawn(split, index, index)
        return {key: drawn[key] for key in self.asked(split, key)}

    def length(self, split: str) -> int:
        """Buildings of a split."""
        return self._count if split == "train" else max(4, self._count // 10)

    def _drawn(self, split: str, index: int, other: int) -> Pixels:
        if self.together:
            halves = dict(zip("ab", draw(building_seed(split, index), self.size)))
        else:
            seed = building_seed(split, other, "b")
            a = labels(design(building_seed(split, index), self.size))
            halves = {"a": a, "b": photograph(design(seed, self.size), seed)}
        return {key: halves[side] for key, side in self._sides.items()}


def _checked(size: int) -> int:
    if size < SMALLEST:
        raise UserError(f"size {size} is too small for a building. Use {SMALLEST} or more.")
    return size


def _domain(side: str, given: Mapping[str, Any]) -> Domain:
    channels, span = given.get("channels", "auto"), given.get("range", "auto")
    if channels not in ("auto", 3):
        raise UserError(f"channels {channels}: synthetic pictures have 3. Set data.{side}.channels to 3 or auto.")
    try:
        return Domain(3, (0, 255) if span == "auto" else tuple(span), 8)
    except UserError as error:
        raise UserError(f"data.{side}: {error}") from None
