"""Pictures with a class each: a folder for every class, the idx files of MNIST, or CIFAR-10's binary files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from i2i.data import DATASETS
from i2i.data.cache import Units
from i2i.data.classes import Found, Split, find
from i2i.data.domain import Domain
from i2i.data.folders import SPLITS, Files, first_three
from i2i.data.limit import chosen
from i2i.data.pictures import read, to_channels
from i2i.data.pictureset import Broken, PictureSet, Pixels, next_good, preview_split, too_many
from i2i.data.survey import Survey
from i2i.errors import UserError
from i2i.seeds import derive


@DATASETS.register("labelled")
class Labelled(PictureSet):
    """The pictures below `path`, each with the number of its class; a batch holds "image" and "label", (B,) int64.

    Layouts: `<split>/<class>/*`, or `<class>/*` alone as train, numbered in the order of their names; the four idx
    files of MNIST, gzipped or not; data_batch_1.bin to 5, test_batch.bin and batches.meta.txt of CIFAR-10. What is not
    a folder of files is held in memory, once, as bytes.

    With `labels` few pictures alone are labelled: every training picture comes as "image" without its class, and beside
    it a labelled one, "labelled", with its class, "label". Which ones are labelled depends on the seed alone; which of
    them sample `index` of an epoch brings is drawn from (seed, epoch, index), as are its own crop and flip.

    Args:
        path: the folder that holds these.
        classes: how many there are; auto counts them.
        val: how many of the training pictures are split off as val: the last ones, of class folders the last ones of
            each class, in proportion. null takes the folder val, where there is one.
        labels: how many training pictures are labelled, equally many of each class, none of val or test; null: all.
        a: the recipe's domain, {"channels": count | "auto", "range": [low, high] | "auto", "page": number | None}.
        limit: how many of the training pictures are trained on, those of val apart, as many of each class as it allows
            (see `limit.chosen`); None is all.
        hint: where the data can be had, appended when they are not there.
        seed, load_size, crop_size, flip, transform: as in every data set (see `PictureSet`).

    Attributes:
        class_names: by number.
        num_classes: how many.

    Raises:
        UserError: in one sentence, whatever is wrong with the folder, its files, labels or headers.
    """

    needs_path: ClassVar[bool] = True
    sides_of: ClassVar[tuple[str, ...]] = ("a",)
    labelled: ClassVar[bool] = True

    def __init__(
        self,
        *,
        path: str | os.PathLike,
        load_size: int | None,
        crop_size: int,
        flip: bool,
        transform: str | None,
        a: Mapping[str, Any],
        classes: int | Literal["auto"] = "auto",
        val: int | None = None,
        limit: int | None = None,
        labels: int | None = None,
        seed: int,
        hint: str = "",
    ):
        root = Path(os.path.expanduser(path))
        found = find(root, hint)
        self.class_names = _named(found, classes)
        self.num_classes = len(self.class_names)
        self.splits = found.splits if val is None else _with_val(found.splits, val, self.num_classes)
        train = self.splits["train"]
        shape, sizes, broken, notes = None, None, [], [*found.notes, *_unseen(train, self.class_names)]
        if isinstance(train.pictures, Files):
            survey = Survey(train.pictures, a.get("page"))
            if sentence := too_many(dict(survey.broken), len(train.pictures)):
                raise UserError(sentence)
            survey.check_crop(load_size, crop_size)
            domain, broken, sizes = survey.domain("a", a), survey.broken, survey.sizes
            notes += survey.notes
        else:
            shape = _shape(self.splits, load_size, crop_size)
            domain = _domain(train, a)
        super().__init__(
            seed=seed,
            sides={"image": "a"},
            domains={"a": domain},
            together=True,
            load_size=load_size,
            crop_size=crop_size,
            flip=flip,
            transform=transform,
            shape=shape,
        )
        self.root, self.broken, self.notes, self._sizes = root, broken, notes, sizes
        self.few: np.ndarray | None = None  # which of the pictures that are trained on are labelled, where not all are
        if limit is not None:
            number = len(train.labels)
            places = chosen(number, limit, train.origin, labels=train.labels)
            kept = _part(train, places)
            paths = kept.pictures if isinstance(kept.pictures, Files) else ()
            self.limited(kept, paths, f"{limit:,} of {number:,} training pictures are trained on")
            self._sizes = None if sizes is None else sizes[places]
        if labels is not None:
            train = self.splits["train"]
            self.few = few(train.labels, labels, self.class_names, train.origin, seed)
            share = f"{labels:,} of {len(train.labels):,} training pictures"
            self.notes.append(
                f"{train.origin}: the classes of {share} are used, {labels // self.num_classes:,} of each"
            )

    @staticmethod
    def keys_of(args: Mapping[str, Any]) -> tuple[str]:
        """The keys of a batch, "labelled" and "label" apart."""
        return ("image",)

    def __len__(self) -> int:
        return len(self.splits["train"].labels)

    @property
    def files(self) -> int:
        return len(self)

    def labels(self, split: str) -> np.ndarray:
        """The classes (N,) int64 of the pictures of `whole(split)`."""
        self.asked(split, None)
        return self.splits[split].labels.copy()

    def resolved_args(self) -> dict[str, Any]:
        return {"classes": self.num_classes}

    def pictures(self, epoch: int, index: int) -> tuple[Pixels, list[Broken]]:
        (_, pixels), broken = self._good(index)
        return {"image": pixels}, broken

    def drawn(self, epoch: int, index: int) -> tuple[Pixels, dict[str, int], list[Broken]]:
        """As in every data set, and "label", of the picture that came; of few labels, of "labelled"."""
        (place, pixels), broken = self._good(index)
        sample = self.moved({"image": pixels}, epoch, index)
        if self.few is not None:
            (place, pixels), more = self._good(self._drawn(epoch, index), self.few)
            moved = self.transform({"image": pixels}, derive(self.seed, "transform", epoch, index, "labelled"))
            sample["labelled"], broken = moved["image"], [*broken, *more]
        return sample, {"label": int(self.splits["train"].labels[place])}, broken

    def domain_of(self, key: str) -> Domain:
        return self.domains["image"]

    def levels(self, places: Sequence[tuple[int, int]]) -> tuple[dict[str, np.ndarray], list[Broken]]:
        """At once where the pictures are in memory and none is cut or augmented, only resized and flipped."""
        transform, train = self.transform, self.splits["train"]
        if transform.shape is None or not transform.still(*transform.shape):
            return super().levels(places)
        indices = np.array([index for _, index in places])
        found = {"image": self._stacked(train.pictures[indices], places)}
        if self.few is not None:
            indices = self.few[[self._drawn(*place) for place in places]]
            own = [(*place, "labelled") for place in places]
            found["labelled"] = self._stacked(train.pictures[indices], own)
        return {**found, "label": train.labels[indices]}, []

    def _stacked(self, pixels: np.ndarray, draws: Sequence[tuple]) -> np.ndarray:
        """Levels (B, H, W, C) of memory, resized and flipped as each one's draw says -> (B, C, H, W)."""
        transform, domain = self.transform, self.domains["image"]
        if transform.load_size not in (None, min(transform.shape)):
            pixels = np.stack([transform.resized(picture) for picture in pixels])
        if transform.flip:
            flips = np.array([transform.flipped(derive(self.seed, "transform", *draw)) for draw in draws])
            pixels[flips] = pixels[flips, :, ::-1]
        if pixels.shape[3] != domain.channels:
            pixels = np.repeat(pixels, domain.channels, axis=3)
        return domain.planes(pixels)

    def units(self) -> list[Units]:
        pictures = self.splits["train"].pictures
        if isinstance(pictures, Files):
            return [Units("image", (pictures,), self._sizes, self.domains, {})]
        return [Units("image", (), np.tile(pictures.shape[1:3], (len(pictures), 1)), self.domains, {})]

    def unit(self, name: str, place: int) -> Pixels:
        return {name: self._read(self.splits["train"], place)}

    def previews(self, count: int) -> list[Pixels]:
        split = preview_split(self.splits)
        return self.first_good(
            lambda index: {"image": self._read(split, index), "label": split.labels[index]}, count, len(split.labels)
        )

    def count(self, split: str, key: str | None = None) -> int:
        self.asked(split, key)
        return len(self.splits[split].labels)

    def sample(self, split: str, index: int, key: str | None = None) -> Pixels:
        self.asked(split, key)
        return {"image": self._read(self.splits[split], index).copy()}

    def _drawn(self, epoch: int, index: int) -> int:
        """Which of the few labelled pictures sample `index` of `epoch` brings."""
        return derive(self.seed, "labelled", epoch, index) % len(self.few)

    def _good(self, index: int, among: Sequence[int] | None = None) -> tuple[tuple[int, np.ndarray], list[Broken]]:
        """(place, pixels) of training picture `index`, of those `among`, or of the next one that is not broken."""
        among = range(len(self)) if among is None else among

        def load(number: int) -> tuple[int, np.ndarray]:
            place = int(among[number])
            return place, self.once("image", place)["image"]

        return next_good(load, index, len(among), self.files)

    def _read(self, split: Split, index: int) -> np.ndarray:
        if isinstance(split.pictures, Files):
            path = split.pictures[index]
            return self.taken(read(path, page=self.domains["image"].page), "image", path)
        return to_channels(split.pictures[index], self.domains["image"].channels, split.origin)


def few(labels: np.ndarray, count: int, names: Sequence[str], origin: str, seed: int) -> np.ndarray:
    """Places (count,) in rising order of `count` pictures, equally many of each class, drawn by the seed alone.

    Those of a smaller count are among those of a larger one.

    Args:
        labels: the classes (N,) of all pictures.
        names: of the classes.
        origin: what is said to hold the pictures.

    Raises:
        UserError: a count that is no multiple of the number of classes, or more of a class than there are.
    """
    each, rest = divmod(count, len(names))
    if count < len(names) or rest:
        near = max(1, round(count / len(names))) * len(names)
        raise UserError(
            f"data.labels is {count}, of {len(names)} classes. It must be a multiple of {len(names)}, equally many of "
            f"each class; the nearest is {near:,}."
        )
    chosen = []
    for label, name in enumerate(names):
        places = np.flatnonzero(labels == label)
        if len(places) < each:
            most = int(np.bincount(labels, minlength=len(names)).min()) * len(names)
            remedy = f"Set data.labels to {most:,} at most, or null" if most else "Set it to null"
            raise UserError(
                f"data.labels is {count:,}, {each:,} of each of {len(names)} classes, and {origin} has {len(places):,} "
                f"training pictures of class {name}. {remedy}."
            )
        draw = np.random.RandomState(derive(seed, "labels", label) % 2**32)  # its numbers are frozen across versions
        chosen.append(draw.permutation(places)[:each])
    return np.sort(np.concatenate(chosen))


def _named(found: Found, classes: int | str) -> list[str]:
    """The names of the classes, after a check of all labels against them and against the recipe's count."""
    train = found.splits["train"]
    names = found.names
    if names is None:
        number = int(train.labels.max()) + 1
        if isinstance(classes, int) and classes < number:
            raise UserError(_beyond(train, classes, f"data.classes is {classes}", "Set data.classes to auto"))
        names = [str(label) for label in range(number)]
    if classes not in ("auto", len(names)):
        raise UserError(
            f"data.classes is {classes}, and {train.origin} has {len(names)}. Set data.classes to {len(names)}, or "
            "auto."
        )
    for split in found.splits.values():
        if split.labels.max() >= len(names):
            raise UserError(_beyond(split, len(names), f"training has {len(names)} classes", "Remove it"))
    return names


def _beyond(split: Split, number: int, words: str, remedy: str) -> str:
    index = int((split.labels >= number).argmax())
    return (
        f"{split.origin}: picture {index:,} has the label {split.labels[index]}, but {words}, so labels go from 0 to "
        f"{number - 1}. {remedy}, or mend the labels."
    )


def _unseen(train: Split, names: list[str]) -> list[str]:
    counts = np.bincount(train.labels, minlength=len(names))
    none = [names[label] for label in np.flatnonzero(counts == 0)]
    return [f"{train.origin}: no training picture is of class {first_three(none)}"] if none else []


def _with_val(splits: dict[str, Split], val: int, num_classes: int) -> dict[str, Split]:
    """The splits with `val` pictures of train as val.

    Of files in class folders, which come class by class, they are the last of each class, as many as its share.
    """
    train = splits["train"]
    number = len(train.labels)
    if "val" in splits:
        raise UserError(
            f"data.val is {val}, but {splits['val'].origin} is there, which is val. Set data.val to null, or remove "
            "that folder."
        )
    if not 1 <= val < number:
        raise UserError(
            f"data.val is {val}, of {number:,} training pictures. Hold out at least 1, and not all, or null."
        )
    order = np.arange(number)
    if isinstance(train.pictures, Files):
        counts = np.bincount(train.labels, minlength=num_classes)
        rank = order - np.searchsorted(train.labels, train.labels)  # within its class
        order = np.argsort((rank + 0.5) / counts[train.labels], kind="stable")
    kept, held = np.sort(order[:-val]), np.sort(order[-val:])
    parts = {"train": _part(train, kept), "val": _part(train, held)}
    parts |= {name: split for name, split in splits.items() if name not in parts}
    return {name: parts[name] for name in SPLITS if name in parts}


def _part(split: Split, places: np.ndarray) -> Split:
    if isinstance(split.pictures, Files):
        pictures = split.pictures.only(places)
    elif places[-1] - places[0] + 1 == len(places):
        pictures = split.pictures[places[0] : places[-1] + 1]  # a view: the pictures are in memory once
    else:
        pictures = split.pictures[places]
    return Split(pictures, split.labels[places], split.origin)


def _shape(splits: dict[str, Split], load_size: int | None, crop_size: int) -> tuple[int, int]:
    """(H, W) of all pictures in memory."""
    for split in splits.values():
        height, width = split.pictures.shape[1:3]
        if load_size is None and min(height, width) < crop_size:
            raise UserError(
                f"the pictures are {width} x {height} ({split.origin}), smaller than data.crop_size {crop_size}. Set "
                f"data.load_size={crop_size} or more, or a smaller crop."
            )
    return splits["train"].pictures.shape[1:3]


def _domain(train: Split, given: Mapping[str, Any]) -> Domain:
    have, channels, span = train.pictures.shape[3], given.get("channels", "auto"), given.get("range", "auto")
    if given.get("page") is not None:
        raise UserError(f"data.a.page is {given['page']}, and {train.origin} has no pages. Set data.a.page to null.")
    if channels not in ("auto", have) and (have, channels) != (1, 3):
        raise UserError(
            f"data.a.channels is {channels}, and {train.origin} is of pictures of {have}. Only grey is converted, to 3 "
            f"equal channels. Set data.a.channels to {have}, or auto."
        )
    try:
        return Domain(have if channels == "auto" else channels, (0, 255) if span == "auto" else tuple(span), 8)
    except UserError as error:
        raise UserError(f"data.a: {error}") from None
