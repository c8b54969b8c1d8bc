"""What is to be known of a folder before a recipe is written for it: layout, sizes, channels, depth, levels, counts."""

import json
import os
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from i2i.data.folders import Files, Split, paired_splits, unpaired_splits
from i2i.data.pictures import BrokenPicture, read
from i2i.data.pictureset import too_many
from i2i.data.survey import Survey
from i2i.errors import UserError
from i2i.prepare import layout as layouts
from i2i.prepare.layout import Layout
from i2i.prepare.levels import Levels, of_files, spread, suggested_range
from i2i.prepare.pairs import MARK

SAMPLED = 64  # pictures of a domain whose levels are looked at
_DETAIL_OF = 12  # pictures of a domain whose detail is measured


class Side(NamedTuple):
    """The training pictures of one domain.

    Attributes:
        name: "A", "B", or the name of its folder.
        count: of training pictures.
        channels: the most that a picture has, alpha apart.
        grey: how many pictures are grey among RGB ones.
        depth: bits of a level, 8, 16 or 32 (float).
        page: of TIFF files that hold several, 0; None where they hold one.
        range: the levels that become -1 and 1.
        levels: what the levels are, of 16-bit and float pictures; None of 8-bit ones.
        detail: bytes that a pixel takes as PNG, levels scaled to 8 bits; drawings take few, photographs many.
        width, height: of each picture (of a half, where two stand side by side), in pixels.
    """

    name: str
    count: int
    channels: int
    grey: int
    depth: int
    page: int | None
    range: list[float]
    levels: Levels | None
    detail: float
    width: np.ndarray
    height: np.ndarray

    @property
    def shorter(self) -> np.ndarray:
        """The shorter side of each picture."""
        return np.minimum(self.width, self.height)


@dataclass
class Fingerprint:
    """A folder that can be trained on.

    Attributes:
        path: what data.path is set to.
        layout: as `layout.find` gave it; its kind is not "folder".
        folders: what data.folders is set to.
        a, b: the two domains.
        counts: {split: pairs, or the pictures of the larger domain}.
        others: {class: training pictures} of the classes that are left out, largest first.
        made: by what `i2i data pairs` made the inputs A, or None.
    """

    path: str
    layout: Layout
    folders: list[str] | None
    a: Side
    b: Side
    counts: dict[str, int]
    others: dict[str, int] = field(default_factory=dict)
    made: str | None = None

    @property
    def paired(self) -> bool:
        return self.layout.kind in ("side by side", "two folders")

    @property
    def measured(self) -> bool:
        """Whether the levels are measured values rather than a photograph's: deep, or in other channels."""
        return any(side.depth > 8 or side.channels not in (1, 3) for side in (self.a, self.b))

    @property
    def fewest(self) -> int:
        """Training pairs, or pictures of the smaller domain."""
        return min(self.a.count, self.b.count)


def look(
    path: str | os.PathLike, *, say: Callable[[str], None], progress: Callable[[int, int], None] | None = None
) -> Fingerprint:
    """Reads the headers of all training pictures of a folder, and the pixels of some.

    Args:
        say: takes notes on the folder, and a sentence for each broken file.
        progress: called with (files seen, files in all).

    Raises:
        UserError: no layout that can be trained on, with what to do instead; too many broken files; what the headers
            say that training would refuse.
    """
    found = layouts.find(path)
    for note in found.notes:
        say(note)
    _trainable(found, Path(path))
    folders, others = found.folders, {}
    if found.kind == "labelled":
        folders, others = _two_classes(found)
    find = paired_splits if found.kind in ("side by side", "two folders") else unpaired_splits
    splits = find(found.root, "", folders)
    train = splits["train"]
    for note in train.notes:
        say(note)
    names = folders or ["A", "B"]
    files = [train.a] if train.b is None else [train.a, train.b]
    watch = _Watch(sum(map(len, files)), progress or (lambda done, total: None))
    surveys = [_survey(each, watch) for each in files]
    broken = {report.path: report.why for survey in surveys for report in survey.broken}
    if sentence := too_many(broken, watch.total):
        raise UserError(sentence)
    sides = [_side(name, survey, half, broken) for name, (survey, half) in zip(names, _halves(surveys))]
    if sentence := too_many(broken, watch.total):  # with those that only their pixels show
        raise UserError(sentence)
    for file, why in broken.items():
        say(f"{file} is broken, and training leaves it out: {why}")
    return Fingerprint(
        path=str(Path(path) if found.root == Path(os.path.expanduser(path)) else found.root),
        layout=found,
        folders=folders,
        a=sides[0],
        b=sides[1],
        counts={name: _count(split) for name, split in splits.items()},
        others=others,
        made=_made(found.root),
    )


def _trainable(found: Layout, given: Path) -> None:
    """UserError with the next command for a folder that holds nothing to translate between."""
    if found.kind == "folder":
        raise UserError(
            f"{given} holds pictures without partners or classes, and there is nothing to translate them from. Make an "
            f"input for each: i2i data pairs {shlex.quote(str(given))} --by canny (or gray, blur, downscale, mask). Or "
            "lay two kinds of pictures into trainA and trainB."
        )
    if found.kind == "labelled" and len(next(iter(found.splits.values()))) < 2:
        raise UserError(f"{found.root} holds one class, and a translation needs two. Add a folder of the other kind.")
    if found.kind == "side by side" and not (found.root / "train").is_dir():
        train = found.root / "train"
        raise UserError(
            f"{found.root} holds pairs side by side, but in no split. Move them to {train}: "
            f"mkdir {shlex.quote(str(train))}, then mv the pictures there."
        )
    if "train" not in found.splits:
        raise UserError(f"{found.root} holds {', '.join(found.splits)} and no train. Put the training pictures there.")


def _two_classes(found: Layout) -> tuple[list[str], dict[str, int]]:
    counts = Counter({name: len(files) for name, files in found.splits["train"].items()})
    (a, _), (b, _), *others = counts.most_common()
    return sorted([a, b]), dict(others)


def _count(split: Split) -> int:
    return len(split.a) if split.b is None else max(len(split.a), len(split.b))


def _made(root: Path) -> str | None:
    try:
        return json.loads((root / MARK).read_text(encoding="utf-8"))["by"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _Watch:
    """Counts files while they are looked at."""

    def __init__(self, total: int, progress: Callable[[int, int], None]):
        self.total, self.progress, self.done = total, progress, 0

    def over(self, files: Files) -> Files:
        """The same files, which are counted when they are iterated over."""
        watch = self

        class Counted(Files):
            def __iter__(self):
                for index in range(len(self)):
                    yield self[index]
                    watch.done = min(watch.done + 1, watch.total)
                    watch.progress(watch.done, watch.total)

        return Counted(files.folder, files.names())


def _survey(files: Files, watch: _Watch) -> Survey:
    """The headers; where not one can be used because the files hold several pages, those of page 0."""
    survey = Survey(watch.over(files))
    if not survey.good.any() and any("page" in report.why for report in survey.broken):
        survey = Survey(watch.over(files), 0)
    return survey


def _halves(surveys: list[Survey]) -> list[tuple[Survey, int | None]]:
    return [(survey, None) for survey in surveys] if len(surveys) == 2 else [(surveys[0], 0), (surveys[0], 1)]


def _side(name: str, survey: Survey, half: int | None, broken: dict[str, str]) -> Side:
    files, good = survey.files, survey.good
    if not good.any():
        survey.domain(name.lower(), {})  # says in words that there is none
    depth, channels = int(survey.depth[good].max()), int(survey.channels.max())
    levels = of_files(files, sample=SAMPLED, page=survey.page) if depth > 8 else None
    span = [0, 255] if levels is None else suggested_range(levels)
    return Side(
        name=name,
        count=len(files),
        channels=channels,
        grey=int((survey.channels[good] < channels).sum()),
        depth=depth,
        page=survey.page,
        range=span,
        levels=levels,
        detail=_detail(files, survey.page, half, span, broken),
        width=survey.width[good] // (1 if half is None else 2),
        height=survey.height[good],
    )


def _detail(files: Files, page: int | None, half: int | None, span: list[float], broken: dict[str, str]) -> float:
    """Bytes a pixel, the median of some pictures; those that turn out to be broken are noted in `broken`."""
    found = []
    for index in spread(len(files), _DETAIL_OF):
        try:
            pixels = read(files[index], page=page).pixels
        except BrokenPicture as error:
            broken.setdefault(error.path, error.why)
            continue
        width = pixels.shape[1] // 2
        pixels = pixels if half is None else pixels[:, half * width : (half + 1) * width]
        shown = np.clip((pixels.astype(np.float32) - span[0]) * (255 / (span[1] - span[0])), 0, 255).astype(np.uint8)
        planes = (np.ascontiguousarray(shown[..., channel]) for channel in range(shown.shape[2]))
        bytes_taken = sum(len(cv2.imencode(".png", plane)[1]) for plane in planes)
        found.append(bytes_taken / (shown.shape[0] * shown.shape[1]))
    return float(np.median(found)) if found else 0.0
