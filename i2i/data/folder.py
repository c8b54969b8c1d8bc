"""Pictures and no more: any folder of them, without partners, domains or classes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from i2i.data import DATASETS
from i2i.data.cache import Units
from i2i.data.folders import SPLITS, Files, demand_folder, listed
from i2i.data.limit import chosen
from i2i.data.pictures import read
from i2i.data.pictureset import Broken, PictureSet, Pixels, next_good, preview_split, too_many
from i2i.data.survey import Survey
from i2i.errors import UserError


@DATASETS.register("folder")
class Folder(PictureSet):
    """The pictures in `train`, `val` and `test` below `path`; without pictures in `train`, all below `path` are train.

    Args:
        path: the folder; sub-folders of any name and depth are searched too.
        a: the recipe's domain, {"channels": count | "auto", "range": [low, high] | "auto", "page": number | None}.
        limit: how many of the training pictures are trained on (see `limit.chosen`); None is all.
        hint: where the data can be had, appended when they are not there.
        seed, load_size, crop_size, flip, transform: as in every data set (see `PictureSet`).

    Raises:
        UserError: in one sentence, whatever is wrong with the folder or the headers of its training files.
    """

    needs_path: ClassVar[bool] = True
    sides_of: ClassVar[tuple[str, ...]] = ("a",)

    def __init__(
        self,
        *,
        path: str | os.PathLike,
        load_size: int | None,
        crop_size: int,
        flip: bool,
        transform: str | None,
        a: Mapping[str, Any],
        limit: int | None = None,
        seed: int,
        hint: str = "",
    ):
        root = Path(os.path.expanduser(path))
        self.splits, notes = _splits(root, hint)
        train = self.splits["train"]
        survey = Survey(train, a.get("page"))
        if sentence := too_many(dict(survey.broken), len(train)):
            raise UserError(sentence)
        survey.check_crop(load_size, crop_size)
        super().__init__(
            seed=seed,
            sides={"image": "a"},
            domains={"a": survey.domain("a", a)},
            together=True,
            load_size=load_size,
            crop_size=crop_size,
            flip=flip,
            transform=transform,
        )
        self.root, self.broken, self._sizes = root, survey.broken, survey.sizes
        self.notes = [*notes, *survey.notes]
        if limit is not None:
            places = chosen(len(train), limit, train.folder)
            kept = train.only(places)
            self.limited(kept, kept, f"{limit:,} of {len(train):,} training pictures are trained on")
            self._sizes = self._sizes[places]

    @staticmethod
    def keys_of(args: Mapping[str, Any]) -> tuple[str]:
        """The keys of a batch."""
        return ("image",)

    def __len__(self) -> int:
        return len(self.splits["train"])

    @property
    def files(self) -> int:
        return len(self)

    def pictures(self, epoch: int, index: int) -> tuple[Pixels, list[Broken]]:
        return next_good(lambda place: self.once("image", place), index, len(self), self.files)

    def units(self) -> list[Units]:
        return [Units("image", (self.splits["train"],), self._sizes, self.domains, {})]

    def unit(self, name: str, place: int) -> Pixels:
        return {name: self._read(self.splits["train"][place])}

    def previews(self, count: int) -> list[Pixels]:
        split = preview_split(self.splits)
        return self.first_good(lambda index: {"image": self._read(split[index])}, count, len(split))

    def count(self, split: str, key: str | None = None) -> int:
        self.asked(split, key)
        return len(self.splits[split])

    def sample(self, split: str, index: int, key: str | None = None) -> Pixels:
        self.asked(split, key)
        return {"image": self._read(self.splits[split][index])}

    def _read(self, path: str) -> np.ndarray:
        return self.taken(read(path, page=self.domains["image"].page), "image", path)


def _splits(root: Path, hint: str) -> tuple[dict[str, Files], list[str]]:
    """The pictures of each split that has some, and the notes on them."""
    demand_folder(root, hint)
    found = {name: listed(root / name) for name in SPLITS if (root / name).is_dir()}
    found = {name: (files, notes) for name, (files, notes) in found.items() if len(files)}
    if "train" not in found:
        found = {"train": listed(root)}
    files, notes = found["train"]
    if not len(files):
        left = f" ({'; '.join(notes)})" if notes else ""
        raise UserError(f"{root} holds no picture{left}. Put the training pictures there.{hint}")
    return {name: files for name, (files, _) in found.items()}, [note for _, told in found.values() for note in told]
