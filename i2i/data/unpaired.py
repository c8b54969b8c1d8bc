"""Two folders of pictures, A and B, between which nothing corresponds."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from i2i.data import DATASETS
from i2i.data.cache import Units
from i2i.data.folders import Files, unpaired_splits
from i2i.data.limit import chosen
from i2i.data.pictures import read
from i2i.data.pictureset import Broken, PictureSet, Pixels, next_good, preview_split, too_many
from i2i.data.survey import Survey
from i2i.errors import UserError
from i2i.seeds import derive


@DATASETS.register("unpaired")
class Unpaired(PictureSet):
    """The pictures below `path`: `<split>A` + `<split>B`, or `<split>/A` + `<split>/B`; an epoch is the longer side.

    Args:
        path: the folder that holds the splits train, and val and test where they exist.
        folders: two names used in place of A and B, [A, B]: `<split>/<name>`, `<name>/<split>`, or `<name>` as train
            alone. None takes the layouts above.
        a, b: the recipe's domains, {"channels": count | "auto", "range": [low, high] | "auto", "page": number | None}.
        limit: how many training pictures of each side are trained on (see `limit.chosen`); None is all.
        hint: where the data can be had, appended when they are not there.
        seed, load_size, crop_size, flip, transform: as in every data set (see `PictureSet`).

    Raises:
        UserError: in one sentence, whatever is wrong with the folder or the headers of its training files.
    """

    needs_path: ClassVar[bool] = True

    def __init__(
        self,
        *,
        path: str | os.PathLike,
        load_size: int | None,
        crop_size: int,
        flip: bool,
        transform: str | None,
        a: Mapping[str, Any],
        b: Mapping[str, Any],
        folders: tuple[str, str] | None = None,
        limit: int | None = None,
        seed: int,
        hint: str = "",
    ):
        root = Path(os.path.expanduser(path))
        self.splits = unpaired_splits(root, hint, folders)
        train = self.splits["train"]
        surveys = {"a": Survey(train.a, a.get("page")), "b": Survey(train.b, b.get("page"))}
        broken = [report for survey in surveys.values() for report in survey.broken]
        if sentence := too_many(dict(broken), len(train.a) + len(train.b)):
            raise UserError(sentence)
        for survey in surveys.values():
            survey.check_crop(load_size, crop_size)
        super().__init__(
            seed=seed,
            sides={"a": "a", "b": "b"},
            domains={side: surveys[side].domain(side, wanted) for side, wanted in (("a", a), ("b", b))},
            together=False,
            load_size=load_size,
            crop_size=crop_size,
            flip=flip,
            transform=transform,
        )
        self.root, self.broken = root, broken
        self._sizes = {side: survey.sizes for side, survey in surveys.items()}
        self.notes = [*train.notes, *(note for survey in surveys.values() for note in survey.notes)]
        if limit is not None:
            places = {side: chosen(len(files), limit, files.folder, side) for side, files in zip("ab", train[1:3])}
            a, b = train.a.only(places["a"]), train.b.only(places["b"])
            words = (
                f"{limit:,} of {len(train.a):,} training pictures of a, and of {len(train.b):,} of b, are trained on"
            )
            self.limited(train._replace(a=a, b=b), [*a, *b], words)
            self._sizes = {side: sizes[places[side]] for side, sizes in self._sizes.items()}

    @staticmethod
    def keys_of(args: Mapping[str, Any]) -> tuple[str, str]:
        """The keys of a batch."""
        return ("a", "b")

    def __len__(self) -> int:
        return max(len(self.splits["train"].a), len(self.splits["train"].b))

    @property
    def files(self) -> int:
        return len(self.splits["train"].a) + len(self.splits["train"].b)

    def pictures(self, epoch: int, index: int) -> tuple[Pixels, list[Broken]]:
        """A in its order, round and round; B at a place drawn from (seed, epoch, index), as in the authors' code."""
        train = self.splits["train"]
        a, broken_a = self._good("a", index % len(train.a), len(train.a))
        b, broken_b = self._good("b", derive(self.seed, "partner", epoch, index) % len(train.b), len(train.b))
        return {"a": a, "b": b}, [*broken_a, *broken_b]

    def _good(self, key: str, index: int, count: int) -> tuple[np.ndarray, list[Broken]]:
        return next_good(lambda place: self.once(key, place)[key], index, count, self.files)

    def units(self) -> list[Units]:
        train = self.splits["train"]
        return [
            Units(key, (files,), self._sizes[key], {key: self.domains[key]}, {})
            for key, files in (("a", train.a), ("b", train.b))
        ]

    def unit(self, name: str, place: int) -> Pixels:
        return {name: self._read(getattr(self.splits["train"], name)[place], name)}

    def _read(self, path: str, key: str) -> np.ndarray:
        return self.taken(read(path, page=self.domains[key].page), key, path)

    def count(self, split: str, key: str | None = None) -> int:
        return len(self._files(split, key))

    def sample(self, split: str, index: int, key: str | None = None) -> Pixels:
        return {key: self._read(self._files(split, key)[index], key)}

    def _files(self, split: str, key: str | None) -> Files:
        (side,) = self.asked(split, key)
        return getattr(self.splits[split], side)

    def previews(self, count: int) -> list[Pixels]:
        split = preview_split(self.splits)
        columns = {}
        for key, files in (("a", split.a), ("b", split.b)):
            columns[key] = self.first_good(
                lambda index, key=key, files=files: self._read(files[index], key),
                count,
                len(files),
            )
        return [dict(zip(columns, row)) for row in zip(*columns.values())]
