"""Pairs of pictures, an input and its target: side by side in one file, or under the same stem in two folders."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from i2i.data import DATASETS
from i2i.data.cache import Units
from i2i.data.folders import Split, paired_splits
from i2i.data.limit import chosen
from i2i.data.pictures import BrokenPicture, Picture, read
from i2i.data.pictureset import Broken, PictureSet, Pixels, next_good, preview_split, too_many
from i2i.data.survey import Survey
from i2i.errors import UserError


@DATASETS.register("paired")
class Paired(PictureSet):
    """The pairs below `path`: `<split>/*` side by side, `<split>/A` + `<split>/B`, or `<split>A` + `<split>B`.

    Args:
        path: the folder that holds the splits train, and val and test where they exist.
        direction: "ab" reads A (the left half) and writes B, "ba" the other way.
        folders: two names used in place of A and B, [A, B]: `<split>/<name>`, `<name>/<split>`, or `<name>` as train
            alone. None takes the layouts above.
        a, b: the recipe's domains, {"channels": count | "auto", "range": [low, high] | "auto", "page": number | None}.
        limit: how many of the training pairs are trained on (see `limit.chosen`); None is all.
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
        direction: Literal["ab", "ba"] = "ab",
        folders: tuple[str, str] | None = None,
        limit: int | None = None,
        seed: int,
        hint: str = "",
    ):
        if direction not in ("ab", "ba"):
            raise UserError(
                f"direction '{direction}' is not ab (A to B) or ba (B to A). Set data.direction to one of these."
            )
        root = Path(os.path.expanduser(path))
        self.splits = paired_splits(root, hint, folders)
        train = self.splits["train"]
        if train.b is None and a.get("page") != b.get("page"):
            raise UserError(
                f"data.a.page is {a.get('page')} and data.b.page {b.get('page')}, but both pictures of a pair stand "
                "side by side in one page. Set the two alike."
            )
        surveys = [Survey(files, side.get("page")) for files, side in ((train.a, a), (train.b, b)) if files is not None]
        broken = [report for survey in surveys for report in survey.broken]
        if sentence := too_many(dict(broken), sum(len(survey.files) for survey in surveys)):
            raise UserError(sentence)
        (_check_halves if train.b is None else _check_sizes)(*surveys)
        for survey in surveys:
            survey.check_crop(load_size, crop_size, halves=train.b is None)
        super().__init__(
            seed=seed,
            sides=dict(zip(self.keys_of({}), direction)),
            domains={"a": surveys[0].domain("a", a), "b": surveys[-1].domain("b", b)},
            together=True,
            load_size=load_size,
            crop_size=crop_size,
            flip=flip,
            transform=transform,
        )
        self.root, self.broken = root, broken
        sizes = surveys[0].sizes // (1, 2 if train.b is None else 1)
        self._sizes = np.where((sizes == surveys[-1].sizes) | (train.b is None), sizes, 0)
        self.notes = [*train.notes, *dict.fromkeys(note for survey in surveys for note in survey.notes)]
        if train.b is None:
            self.side = {"ab": "left", "ba": "right"}[direction]
        if limit is not None:
            places = chosen(len(train.a), limit, train.a.folder)
            kept = train._replace(a=train.a.only(places), b=None if train.b is None else train.b.only(places))
            words = f"{limit:,} of {len(train.a):,} training pairs are trained on"
            self.limited(kept, [*kept.a, *(kept.b or ())], words)
            self._sizes = self._sizes[places]

    @staticmethod
    def keys_of(args: Mapping[str, Any]) -> tuple[str, str]:
        """The keys of a batch."""
        return ("input", "target")

    def __len__(self) -> int:
        return len(self.splits["train"].a)

    @property
    def files(self) -> int:
        return len(self) * (1 if self.splits["train"].b is None else 2)

    def pictures(self, epoch: int, index: int) -> tuple[Pixels, list[Broken]]:
        return next_good(lambda place: self.once("pair", place), index, len(self), self.files)

    def units(self) -> list[Units]:
        train = self.splits["train"]
        files = (train.a,) if train.b is None else (train.a, train.b)
        return [Units("pair", files, self._sizes, self.domains, {"sides": self._sides})]

    def unit(self, name: str, place: int) -> Pixels:
        return self.pair(self.splits["train"], place)

    def pair(self, split: Split, index: int) -> Pixels:
        """Pair `index` of a split, whole.

        Raises:
            BrokenPicture: one of its files is, or they are of two sizes, or the halves are.
        """
        paths = {"a": split.a[index], "b": (split.a if split.b is None else split.b)[index]}
        if split.b is None:
            halves = dict(zip("ab", _halves(self._read(paths["a"], "a"), paths["a"])))
        else:
            halves = {side: self._read(file, side) for side, file in paths.items()}
            sizes = {side: _size(half.pixels) for side, half in halves.items()}
            if sizes["a"] != sizes["b"]:
                raise BrokenPicture(paths["b"], f"it is {sizes['b']} and its partner {paths['a']} {sizes['a']}")
        return {key: self.taken(halves[side], key, paths[side]) for key, side in self._sides.items()}

    def count(self, split: str, key: str | None = None) -> int:
        self.asked(split, key)
        return len(self.splits[split].a)

    def sample(self, split: str, index: int, key: str | None = None) -> Pixels:
        pair = self.pair(self.splits[split], index)
        return {key: pair[key] for key in self.asked(split, key)}

    def _read(self, path: str, side: str) -> Picture:
        key = next(key for key in self.keys if self._sides[key] == side)
        return read(path, page=self.domains[key].page)

    def previews(self, count: int) -> list[Pixels]:
        split = preview_split(self.splits)
        return self.first_good(lambda index: self.pair(split, index), count, len(split.a))


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def _halves(picture: Picture, path: str) -> tuple[Picture, Picture]:
    width = picture.pixels.shape[1]
    if width % 2:
        raise BrokenPicture(path, f"its width {width} is odd, so it does not hold two pictures side by side")
    parts = slice(0, width // 2), slice(width // 2, width)
    carried = picture.carried
    return tuple(Picture(picture.pixels[:, part], None, carried and carried.cut(part)) for part in parts)


def _check_halves(survey: Survey) -> None:
    odd = survey.width % 2 == 1
    if odd.any():
        verb = "picture has" if odd.sum() == 1 else "pictures have"
        raise UserError(
            f"{odd.sum()} {verb} an odd width and cannot hold a pair side by side, the first {survey.first(odd)} "
            f"({int(survey.width[odd][0])} px). Cut them again, or lay the pairs in two folders A and B."
        )


def _check_sizes(a: Survey, b: Survey) -> None:
    differ = a.good & b.good & ((a.width != b.width) | (a.height != b.height))
    if differ.any():
        index = int(np.flatnonzero(differ)[0])
        shown = " and ".join(
            f"{survey.files[index]} {survey.width[index]} x {survey.height[index]}" for survey in (a, b)
        )
        verb = "pair has" if differ.sum() == 1 else "pairs have"
        raise UserError(
            f"{differ.sum()} {verb} pictures of two sizes, the first {shown}. Resize or crop one of each pair."
        )
