"""`i2i data pairs`: a paired set made of any pictures: the target B is the picture, the input A what is made of it.

Written as `<out>/train/A`, `B` and `<out>/val/A`, `B`, under the stems of the pictures. `pairs.json` beside them
says by what command the folder was made: the same command goes on where it was stopped, another is refused.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from i2i import atomic
from i2i.data.folders import SPLITS, Files, by_stem, first_three, listed
from i2i.data.pictures import BrokenPicture, Picture, read, write
from i2i.errors import UserError
from i2i.prepare import inputs
from i2i.registry import nearest
from i2i.seeds import derive

BY = ("canny", "gray", "blur", "downscale", "mask")
MARK = "pairs.json"
FACTOR = 4  # what `factor` is if not given
_AHEAD = 64  # pictures that are handed to the threads at once


def pairs(
    folder: str | os.PathLike,
    *,
    by: str,
    out: str | os.PathLike | None = None,
    factor: int = FACTOR,
    masks: str | os.PathLike | None = None,
    val: float = 0.1,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Makes a paired set of the pictures in a folder and below it; the same call again makes what is missing.

    A picture goes to val or to train by a hash of its stem, so that none changes sides when pictures are added; where
    the folder is split already (train beside val or test), its splits are kept. Files are PNG, and TIFF where PNG
    cannot hold the picture (float levels, other than 1 or 3 channels).

    Args:
        folder: with pictures of any kind that is read; sub-folders are kept in the stems.
        by: canny | gray | blur | downscale | mask, see `i2i.prepare.inputs`.
        out: the folder to make; <folder>_<by> if None.
        factor: downscale: how many times coarser the input is.
        masks: mask: a folder of masks, white where the hole is: one under the stem of each picture, or a pool from
            which the stem draws one. None draws rectangles and strokes.
        val: share of the pictures that goes to val.
        say: takes sentences for the user.
        progress: called with (pictures done, pictures in all).

    Raises:
        UserError: no such folder, an argument out of its range, an `out` that something else made; at the end, when all
            the others are made, that broken pictures were left out.
    """
    source = Path(os.path.expanduser(folder))
    target = Path(os.path.expanduser(out)) if out is not None else _beside(source, by)
    masks = None if masks is None else os.path.expanduser(masks)
    job = Job(source, by, target, factor, masks, val, say)
    return job.run(progress or (lambda done, total: None))


def _beside(folder: Path, by: str) -> Path:
    absolute = folder.absolute() if folder.name in ("", "..") else folder
    return absolute.with_name(f"{absolute.name}_{by}")


@dataclass
class Job:
    """One folder on its way to pairs."""

    folder: Path
    by: str
    out: Path
    factor: int
    masks: str | os.PathLike | None
    val: float
    say: Callable[[str], None]
    changes: Counter = field(default_factory=Counter)

    def __post_init__(self):
        self.check()
        self.files, notes = listed(self.folder)
        if not len(self.files):
            raise UserError(f"{self.folder} holds no picture{''.join(f' ({note})' for note in notes)}.")
        for note in notes:
            self.say(note)
        self.stems = by_stem(self.files)
        self.pool = None if self.masks is None else _Masks(Path(self.masks), self.stems)
        inside = {name for name in SPLITS if (self.folder / name).is_dir()}
        self.split_already = "train" in inside and len(inside) > 1

    def check(self) -> None:
        """UserError for arguments that cannot be meant."""
        if self.by not in BY:
            raise UserError(f"--by {self.by} is not known.{nearest(self.by, BY)} Known: {', '.join(BY)}")
        if not self.folder.is_dir():
            what = "is a file, not a folder" if self.folder.exists() else "does not exist"
            raise UserError(f"{self.folder} {what}. Give a folder of pictures.")
        if self.factor < 2:
            raise UserError(f"--factor {self.factor} must be 2 or more: how many times coarser the input is.")
        if not 0 <= self.val < 1:
            raise UserError(f"--val {self.val} must be at least 0 and less than 1: the share that goes to val.")
        for given, flag, use in (
            (self.factor != FACTOR, "--factor", "downscale"),
            (self.masks is not None, "--masks", "mask"),
        ):
            if given and self.by != use:
                raise UserError(f"{flag} belongs to --by {use}; with --by {self.by} it does nothing. Leave it out.")
        if Path(os.path.realpath(self.out)).is_relative_to(os.path.realpath(self.folder)):
            raise UserError(
                f"--out {self.out} lies in {self.folder}, where its pictures would be taken for more of yours. "
                "Give a folder outside of it."
            )

    def run(self, progress: Callable[[int, int], None]) -> Path:
        total, done, made, broken = len(self.files), 0, Counter(), {}
        self.claim()
        stems = iter(self.stems.items())
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            while batch := list(islice(stems, _AHEAD)):
                for split, problem in threads.map(lambda entry: self.one(*entry), batch):
                    done += 1
                    made[split] += problem is None
                    if problem is not None:
                        broken[problem.path] = problem.why
                        self.say(f"{problem.path} is broken and left out: {problem.why}")
                    progress(done, total)
        for change, count in sorted(self.changes.items()):
            self.say(f"{count} of {total} pictures {change}")
        if broken:
            raise UserError(self.left_out(broken, sum(made.values())))
        counts = ", ".join(f"{made[split]} in {split}" for split in SPLITS if made[split])
        if not made["train"]:
            raise UserError(f"{self.out}: {counts}, and none is left to train. Give a smaller --val, or more pictures.")
        self.say(f"{self.out}: {counts}")
        return self.out

    def claim(self) -> None:
        """Makes the folder ours, or finds that it is; UserError where something else made it."""
        said = {"made by": "i2i data pairs", "folder": os.path.abspath(self.folder), "by": self.by, "val": self.val}
        said |= {"factor": self.factor} if self.by == "downscale" else {}
        said |= {"masks": os.path.abspath(self.masks)} if self.masks is not None else {}
        mark = self.out / MARK
        if not mark.is_file():
            if self.out.exists() and not (self.out.is_dir() and not any(self.out.iterdir())):
                raise UserError(f"{self.out} is there already, and not of this command. Give another folder: --out NEW")
            self.out.mkdir(parents=True, exist_ok=True)
            atomic.write_text(mark, json.dumps(said, indent=2) + "\n")
            return
        try:
            found = json.loads(mark.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != said:
            raise UserError(
                f"{self.out} was made by another command ({mark} says which). Give another folder: --out NEW"
            )

    def left_out(self, broken: dict[str, str], made: int) -> str:
        first = first_three([f"{path}: {why}" for path, why in broken.items()])
        verb = "pictures is" if len(broken) == 1 else "pictures are"
        return (
            f"{len(broken)} of {len(self.files)} {verb} broken and left out; the other {made} are paired in "
            f"{self.out}. Repair or remove them; the same command then makes what is missing. {first}"
        )

    def one(self, stem: str, index: int) -> tuple[str, BrokenPicture | None]:
        """Makes the pair of one picture unless it is there: (its split, what is wrong with it)."""
        split, below = self.place(stem)
        where = [self.out / split / side / below for side in "AB"]
        if all(any(path.with_name(path.name + form).is_file() for form in (".png", ".tif")) for path in where):
            return split, None
        path = self.files[index]
        try:
            picture = read(path)
            made = self.made(_with_ground(picture), path, below)
        except BrokenPicture as error:
            return split, error
        if picture.alpha is not None:
            self.changes["have alpha, which is left out"] += 1
        if self.by == "gray" and picture.pixels.shape[2] == 1:
            self.changes["are grey already: their input is their target"] += 1
        for target, pixels in zip(where, (made, picture.pixels)):
            _put(target, pixels, picture)
        return split, None

    def place(self, stem: str) -> tuple[str, str]:
        """(split, stem below it): those of the folder where it has splits, else by a hash of the stem."""
        first, _, rest = stem.partition(os.sep)
        if self.split_already and rest and first in SPLITS:
            return first, rest
        portable = stem.replace(os.sep, "/")
        return "val" if derive("val", portable) < self.val * 2**63 else "train", stem

    def made(self, pixels: np.ndarray, path: str, stem: str) -> np.ndarray:
        if self.by == "downscale":
            return inputs.downscale(pixels, self.factor)
        if self.by == "mask":
            height, width = pixels.shape[:2]
            if self.pool is None:
                return inputs.masked(pixels, inputs.drawn_hole(height, width, stem.replace(os.sep, "/")))
            return inputs.masked(pixels, self.pool.hole(stem, height, width, self.changes))
        if self.by == "blur":
            return inputs.blur(pixels)
        return inputs.canny(pixels, path) if self.by == "canny" else inputs.gray(pixels, path)


class _Masks:
    """A folder of masks: one for each picture under its stem, or, where no stem fits, a pool to draw from."""

    def __init__(self, folder: Path, stems: dict[str, int]):
        if not folder.is_dir():
            raise UserError(f"--masks {folder} is not a folder. Give a folder of masks, white where the hole is.")
        self.files: Files = listed(folder)[0]
        if not len(self.files):
            raise UserError(f"--masks {folder} holds no picture. Give a folder of masks, white where the hole is.")
        self.stems = by_stem(self.files)
        lacking = sorted(stem for stem in stems if stem not in self.stems)
        self.named = len(lacking) < len(stems)
        if self.named and lacking:
            raise UserError(
                f"{len(stems) - len(lacking)} of {len(stems)} pictures have a mask of their stem in {folder}, and "
                f"{len(lacking)} have none: {first_three(lacking)}. Add them, or give a folder where no stem fits, "
                "which is drawn from."
            )

    def hole(self, stem: str, height: int, width: int, changes: Counter) -> np.ndarray:
        index = self.stems[stem] if self.named else derive(inputs.SEED, "mask", stem) % len(self.files)
        return inputs.hole_of(self.files[index], height, width)


def _with_ground(picture: Picture) -> np.ndarray:
    """The pixels, those without data at the median of the others: -9999 would bleed into a blurred neighbour."""
    mask = None if picture.carried is None else picture.carried.mask
    if mask is None or not mask.any() or mask.all():
        return picture.pixels
    pixels = picture.pixels.copy()
    pixels[mask] = np.median(pixels[~mask], axis=0).astype(pixels.dtype)
    return pixels


def _put(stem: Path, pixels: np.ndarray, picture: Picture) -> None:
    """PNG where it can hold the picture; else TIFF, with what the original says. What has no data keeps none."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    mask = None if picture.carried is None else picture.carried.mask
    if mask is not None and (pixels.dtype, pixels.shape) == (picture.pixels.dtype, picture.pixels.shape):
        pixels = np.where(mask[..., None], picture.pixels, pixels)
    if pixels.dtype != np.float32 and pixels.shape[2] in (1, 3):
        write(stem.with_name(stem.name + ".png"), pixels)
    else:
        write(stem.with_name(stem.name + ".tif"), pixels, carried=picture.carried)
