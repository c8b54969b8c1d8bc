"""What every set of pictures shares: which key is which domain, and how decoded pictures become one training sample."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i.data.cache import Kept, Units
from i2i.data.domain import Domain
from i2i.data.pictures import BrokenPicture, Picture, filled, to_channels
from i2i.data.transform import Transform
from i2i.errors import UserError
from i2i.seeds import derive

Pixels = dict[str, np.ndarray]  # key -> (H, W, C), the levels of a file


class Broken(NamedTuple):
    """A file that could not be used, and why."""

    path: str
    why: str


def preview_split(splits: Mapping[str, Any]) -> Any:
    """The split that previews are drawn from: test, else val, else train."""
    return next(splits[name] for name in ("test", "val", "train") if name in splits)


def too_many(broken: Mapping[str, str], files: int) -> str | None:
    """The sentence that ends a run when more than 1 % of `files` (at least 1) are broken: {path: why}. Else None."""
    allowed = max(1, files // 100)
    if len(broken) <= allowed:
        return None
    shown = "; ".join(f"{path}: {why}" for path, why in list(broken.items())[:3])
    return (
        f"{len(broken)} of {files:,} training files are broken, and at most {allowed} may be (1 %, or 1). "
        f"Repair or remove them. The first: {shown}"
    )


def next_good(load: Callable[[int], Any], index: int, count: int, files: int) -> tuple[Any, list[Broken]]:
    """`load` of `index`, or of the next one of `count`, round and round, that is not broken; and those that were.

    Raises:
        UserError: more are broken in a row than a run of `files` training files accepts, or all of them.
    """
    broken: dict[str, str] = {}
    for step in range(count):
        try:
            return load((index + step) % count), [Broken(*report) for report in broken.items()]
        except BrokenPicture as error:
            broken[error.path] = error.why
        if sentence := too_many(broken, files):
            raise UserError(sentence)
    raise UserError(f"none of {count} training files can be read. " + "; ".join(map(": ".join, broken.items())))


class PictureSet:
    """The base of the data sets. A subclass finds or draws pictures; this class makes samples of them.

    A subclass calls `__init__` with what it resolved, and writes `__len__`, `files`, `pictures`, `previews`, `count`
    and `sample`; where its splits are not in `splits`, `splits_there` too.

    Args:
        seed: of the whole run; every draw derives from it.
        sides: which of the recipe's domains "a" and "b" each key of a batch is: {"input": "b", "target": "a"}.
        domains: {"a": Domain, "b": Domain}, resolved; of a set of one domain, {"a": Domain}.
        together: whether one draw moves all pictures of a sample (pairs), or each its own.
        load_size, crop_size, flip, transform: the recipe's data section (see `Transform`).
        shape: (H, W) of all pictures, where every one has it.

    Attributes:
        sides_of: the recipe's domains that a set of this kind has.
        labelled: whether a batch also holds "label", (B,) int64, which is not among `keys`. Where few pictures are
            labelled it holds these too, as "labelled", and "label" are their classes.
    """

    sides_of: ClassVar[tuple[str, ...]] = ("a", "b")
    labelled: ClassVar[bool] = False

    def __init__(
        self,
        *,
        seed: int,
        sides: dict[str, str],
        domains: dict[str, Domain],
        together: bool,
        load_size: int | None,
        crop_size: int,
        flip: bool,
        transform: str | None,
        shape: tuple[int, int] | None = None,
    ):
        self.seed, self.together = seed, together
        self.keys = tuple(sides)
        self.domains = {key: domains[side] for key, side in sides.items()}
        self.transform = Transform(load_size, crop_size, flip, transform, shape)
        self.notes: list[str] = []  # sentences about what is converted or set aside, to be said once
        self.broken: list[Broken] = []  # found before the first sample
        self.root: Path | None = None  # the folder of the data, of sets that read files
        self.kept: Kept | None = None  # decoded training pictures, where `cache.keep` lets them be kept
        self.side: str | None = None  # "left" or "right": the half of a side-by-side file that is the input
        self._sides = dict(sides)
        self._unlimited: PictureSet | None = None

    def __len__(self) -> int:
        """Training samples of one epoch."""
        raise NotImplementedError

    @property
    def files(self) -> int:
        """Training files (for a drawn set: pictures)."""
        raise NotImplementedError

    @property
    def unlimited(self) -> "PictureSet":
        """The same data with every training picture, where data.limit leaves a few; else the data set itself. What
        judges a run is fitted to these, so that runs on many and on few pictures have one judge."""
        return self if self._unlimited is None else self._unlimited

    def limited(self, train: Any, paths: Iterable[str], words: str) -> None:
        """Makes `train` the training split, of which `paths` are the files; val and test stay what they are. All of it
        stays in `unlimited`. `words` say what is left, among the notes. Called at the end of `__init__`."""
        self._unlimited = copy.copy(self)
        self.splits = {**self.splits, "train": train}
        there = set(paths)
        self.broken = [report for report in self.broken if report.path in there]
        self.notes = [*self.notes, f"data.limit: {words}, the same whatever the seed"]

    @property
    def held_out(self) -> bool:
        """Whether `previews` come from a split that is not trained on."""
        return self.splits_there != ("train",)

    @property
    def splits_there(self) -> tuple[str, ...]:
        """The splits that exist, of train, val and test."""
        return tuple(self.splits)

    def pictures(self, epoch: int, index: int) -> tuple[Pixels, list[Broken]]:
        """Training sample `index` of `epoch` before the transform: {key: (H, W, C)}, with the channels and depth of the
        key's domain, whole or resized already. A pure function of (seed, epoch, index) and the files."""
        raise NotImplementedError

    def units(self) -> list[Units]:
        """The lists of pictures that training samples are made of; none of a set that draws its pictures."""
        return []

    def unit(self, name: str, place: int) -> Pixels:
        """Unit `place` of the list of this name, whole; BrokenPicture where a file of it is broken."""
        raise NotImplementedError

    def once(self, name: str, place: int) -> Pixels:
        """`unit`; where these are kept, resized, and read once."""
        load = partial(self.unit, name, place)
        return load() if self.kept is None else self.kept.read(name, place, load)

    def previews(self, count: int) -> list[Pixels]:
        """Up to `count` samples of test (else val, else train), whole, with the channels and depth of their domains; of
        labelled data with "label", the number of its class, too."""
        raise NotImplementedError

    def count(self, split: str, key: str | None = None) -> int:
        """Samples of a split; of a set whose domains have no partners, pictures of `key`. Errors as for `whole`."""
        raise NotImplementedError

    def sample(self, split: str, index: int, key: str | None = None) -> Pixels:
        """Sample `index` of `whole`."""
        raise NotImplementedError

    def whole(self, split: str, key: str | None = None) -> Iterator[Pixels]:
        """Every sample of a split, in order and whole, with the channels and depth of its domains: {key: (H, W, C)}.

        Args:
            key: the one key that is asked for; None for all, which only a set whose domains have partners can give.

        Raises:
            UserError: no such split or key; None where a key is needed; while iterating, a file that is broken.
        """
        return (self.sample(split, index, key) for index in range(self.count(split, key)))

    def asked(self, split: str, key: str | None) -> tuple[str, ...]:
        """The keys that `key` stands for in `whole`, after a check of both arguments."""
        if split not in self.splits_there:
            there = ", ".join(self.splits_there)
            raise UserError(f"split '{split}' is not there: these data have {there}. Name one of these.")
        if key is None and not self.together:
            raise UserError(f"nothing pairs the samples of these data. Name one key, {' or '.join(self.keys)}.")
        if key not in (None, *self.keys):
            raise UserError(f"key '{key}' is not in these data, which hold {', '.join(self.keys)}. Name one of these.")
        return self.keys if key is None else (key,)

    def prepared(self, pixels: np.ndarray, key: str) -> Tensor:
        """A whole picture (H, W, C) as training sees it, but for what is drawn: (C, crop, crop) float32 in [-1, 1].

        The shorter side is brought to load_size and the middle cut out; no flip, no pipeline.

        Raises:
            UserError: the picture is smaller than the crop.
        """
        return self.domains[key].to_tensor(self.transform.centred(pixels))

    def fitted(self, pixels: np.ndarray, key: str, path: str) -> np.ndarray:
        """Decoded pixels with the channels of the key's domain. UserError, naming `path`: another depth or count."""
        domain = self.domains[key]
        if pixels.dtype != domain.dtype:
            kinds = {8: "8 bits", 16: "16 bits", 32: "32-bit floats"}
            raise UserError(
                f"{path}: it has {kinds[8 * pixels.itemsize]} a channel, and the training pictures of this domain have "
                f"{kinds[domain.depth]}. Convert it to the same depth."
            )
        return to_channels(pixels, domain.channels, path)

    def taken(self, picture: Picture, key: str, path: str) -> np.ndarray:
        """`fitted` of a decoded picture, the pixels that hold nothing (nodata) at the low end of the key's range."""
        return self.fitted(filled(picture, self.domains[key].range[0]), key, path)

    def first_good(self, load: Callable[[int], Any], count: int, available: int) -> list[Any]:
        """The first `count` of `available` that `load` does not find broken; UserError where there is none."""
        found, broken = [], []
        for index in range(available):
            if len(found) == count:
                break
            try:
                found.append(load(index))
            except BrokenPicture as error:
                broken.append(error)
        if broken and not found:
            raise UserError(
                f"none of {available} pictures to preview can be read. Repair or remove them. The first: {broken[0]}"
            )
        return found

    def resolved(self) -> dict[str, dict[str, Any]]:
        """The recipe's `a` and `b` with every `auto` replaced by what was found."""
        found = {self._sides[key]: domain for key, domain in self.domains.items()}
        return {
            side: {"channels": found[side].channels, "range": list(found[side].range), "page": found[side].page}
            for side in sorted(found)
        }

    def resolved_args(self) -> dict[str, Any]:
        """This kind's own arguments in the recipe whose `auto` was replaced by what was found."""
        return {}

    def item(self, epoch: int, index: int) -> tuple[dict[str, Tensor], list[Broken]]:
        """Training sample `index` of `epoch`: {key: (C, crop, crop) float32 in [-1, 1]}, and the files replaced.

        A pure function of (seed, epoch, index) and the files: the same in any process, in any order, after any start.
        """
        levels, labels, broken = self.drawn(epoch, index)
        tensors = {key: self.domain_of(key).to_tensor(pixels) for key, pixels in levels.items()}
        return {**tensors, **{key: torch.tensor(label) for key, label in labels.items()}}, broken

    def drawn(self, epoch: int, index: int) -> tuple[Pixels, dict[str, int], list[Broken]]:
        """`item` before levels become values: {key: (crop, crop, C)}, the labels, and the files replaced."""
        pictures, broken = self.pictures(epoch, index)
        return self.moved(pictures, epoch, index), {}, broken

    def domain_of(self, key: str) -> Domain:
        """The domain of a key of `drawn`."""
        return self.domains[key]

    def moved(self, pictures: Pixels, epoch: int, index: int) -> Pixels:
        """The pictures of a sample after what the transform draws for it: {key: (crop, crop, C)}."""
        if self.together:
            pictures = self.transform(pictures, derive(self.seed, "transform", epoch, index))
        else:
            pictures = {
                key: self.transform({key: pixels}, derive(self.seed, "transform", epoch, index, key))[key]
                for key, pixels in pictures.items()
            }
        return {key: pictures[key] for key in self.keys}

    def batch(self, places: Sequence[tuple[int, int]]) -> tuple[dict[str, Tensor], list[Broken]]:
        """`item` of all places (epoch, index), stacked: {key: (B, C, crop, crop)}, and the files replaced."""
        levels, broken = self.levels(places)
        return self.values(levels), broken

    def levels(self, places: Sequence[tuple[int, int]]) -> tuple[dict[str, np.ndarray], list[Broken]]:
        """The first half of `batch`: {key: (B, C, crop, crop)} as `Domain.planes` makes them, labels (B,), and the
        files replaced. Levels are a quarter of the bytes of their values, which a worker has to hand over.

        A subclass may be faster at it; the arrays are the same, bit for bit.
        """
        levels, labels, reports = zip(*(self.drawn(*place) for place in places))
        planes = {key: self.domain_of(key).planes(np.stack([each[key] for each in levels])) for key in levels[0]}
        numbers = {key: np.array([each[key] for each in labels], np.int64) for key in labels[0]}
        return {**planes, **numbers}, [report for each in reports for report in each]

    def values(self, levels: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """The second half of `batch`: the values of all pictures of a batch at once."""
        return {
            key: torch.from_numpy(array) if array.ndim == 1 else self.domain_of(key).values(array)
            for key, array in levels.items()
        }
