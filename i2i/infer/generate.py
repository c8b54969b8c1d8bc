"""`i2i generate`: a trained generator of latents -> files of pictures, a sheet of them, sheets of what lies between.

A folder holds samples of one file of weights and one seed; samples.json in it says which. Sample number i of a seed is
always the same picture, so what is written again is what was there, and nothing of another origin is ever replaced.
"""

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2i import atomic, heap
from i2i.data.pictures import WRITTEN, encode
from i2i.errors import UserError
from i2i.infer import models
from i2i.infer.convert import suffix_of
from i2i.infer.folder import make_folders
from i2i.infer.grid import BLOCK_CELL, block, by_class, grid
from i2i.infer.sampler import CHUNK, Sampler
from i2i.infer.walks import WAYS, arithmetic, check_steps, interpolate, parse
from i2i.infer.weights import fingerprint

FOLDER = "generated"  # in the run folder, or beside the weights file
RECORD = "samples.json"
GRID, POINTS, SUM = "grid.png", "points.npy", "arithmetic.png"
SHOWN = 64  # pictures on a sheet


@dataclass
class Generated:
    """What `generate` did: the folder, and the files that it wrote there."""

    folder: Path
    written: list[Path] = field(default_factory=list)


def generate(
    model: Any = None,
    n: int = 64,
    *,
    out: str | os.PathLike | None = None,
    seed: int | None = None,
    start: int = 0,
    files: bool = True,
    grid: bool = True,
    interpolate: int | None = None,
    arithmetic: str | None = None,
    label: int | None = None,
    device: str = "auto",
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> Generated:
    """Draws samples of a trained model to files of the depth and channels of its data.

    `000000.png`, ... by sample number, .npy where no PNG holds them; points of D coordinates are one `points.npy`,
    (n, D) float32 in their own units. Sheets, and points.npy, are those of the last call.

    Args:
        model: as for `load`; None is the newest run.
        n: how many samples.
        out: None is `generated/` in the run folder, or beside the weights file; there `seed<S>/` for a seed that is not
            the weights' own, and `class<C>/` for a class. Where that holds samples of other weights already, as of an
            earlier step, it is `generated/step<N>/`.
        seed: which sequence of samples; None takes the weights' own (translate.seed).
        start: number of the first.
        files: write a file for each sample (of points, the one file).
        grid: write `grid.png`, a sheet of up to 64; of weights that are told classes a column for each class.
        interpolate: pictures in a row from sample start to start + 1, from start + 2 to start + 3, ...:
            `interpolation_linear.png` and `interpolation_spherical.png`.
        arithmetic: "1,2,3 - 4,5,6 + 7,8,9": means of the z of these samples, added and taken away: `arithmetic.png`.
        label: the class of every sample, of weights that are told classes; None lets sample i be of class i mod K.
            Ways and sums are within one class, so they need it there.
        device: auto (cuda, then mps, then cpu) | cuda | mps | cpu.
        say: takes each line for the user.
        progress: called with (samples done, samples in all).

    Raises:
        UserError: before anything is written: no model, or one that translates; a count, start, seed, class or sum that
            cannot be; a place that holds other files of these names, or cannot be written to; later only when the disk
            fails.
    """
    asked = _Asked(n, start, files, grid, interpolate, arithmetic, label)
    asked.check()
    file = models.find(model)
    sampler = models.sampler(file, device)
    points = is_points(sampler)
    if points and (interpolate is not None or arithmetic is not None):
        raise UserError(f"{file} draws points, and ways and sums are sheets of pictures; leave these options out.")
    if sampler.class_names and label is None and (interpolate is not None or arithmetic is not None):
        raise UserError(f"{file} draws pictures of a class, and ways and sums are within one; name it with --class N.")
    seed = sampler.seed if seed is None else seed
    origin = origin_of(sampler, seed, label)
    folder = place(file, sampler, origin, out, asked.names(sampler), say)
    named = "" if label is None else f", class {_class(label, sampler)}"
    say(f"drawing with {file} (step {origin['step']}), seed {seed}{named}")
    claim(folder, origin, start, n)
    work = _Work(sampler, seed, asked, Generated(folder))
    with heap.kept(), _told(work.made):
        (work.points if points else work.pictures)(progress or (lambda done, total: None), say)
        work.between(say)
    kind, count = "points" if points else "samples", len(work.made.written)
    say(f"{n} {kind} drawn, {_numbers(start, n)}: {count} file{'s' * (count != 1)} written to {folder}")
    return work.made


@dataclass(frozen=True)
class _Asked:
    """What one call is to make."""

    count: int
    start: int
    files: bool
    grid: bool
    interpolate: int | None
    arithmetic: str | None
    label: int | None

    def check(self) -> None:
        if self.count < 1:
            raise UserError(f"n {self.count}: there is nothing to draw; give 1 or more.")
        if self.start < 0:
            raise UserError(f"start {self.start}: sample numbers count from 0; give 0 or more.")
        if self.interpolate is not None:
            check_steps(self.interpolate, self.count)
        if self.arithmetic is not None:
            parse(self.arithmetic)
        if not (self.files or self.grid or self.interpolate or self.arithmetic):
            raise UserError("neither files nor a grid are asked for, so there is nothing to write; ask for one.")

    def names(self, sampler: Sampler) -> Iterator[str]:
        """What the files will be called."""
        if self.files and is_points(sampler):
            yield POINTS
        elif self.files:
            yield from (name_of(number, sampler) for number in range(self.start, self.start + self.count))
        yield from [GRID] if self.grid else []
        yield from (f"interpolation_{way}.png" for way in WAYS if self.interpolate)
        yield from [SUM] if self.arithmetic else []


@dataclass
class _Work:
    """One call's way from noise to files."""

    sampler: Sampler
    seed: int
    asked: _Asked
    made: Generated

    def pictures(self, progress: Callable[[int, int], None], say: Callable[[str], None]) -> None:
        seen, asked, form = [], self.asked, WRITTEN[suffix_of(self.sampler.output)]
        needed = asked.count if asked.files else min(asked.count, SHOWN) if asked.grid else 0
        for number, pixels in self.drawn(needed):
            if asked.files:
                self.write(name_of(number, self.sampler), encode(pixels, form=form))
            if asked.grid and len(seen) < SHOWN:
                seen.append(self.sampler.output.shown(pixels))
            progress(number - asked.start + 1, needed)
        if asked.grid:
            self.made.written.append(self.made.folder / GRID)
            grid(self.columns(seen), self.made.written[-1], largest=BLOCK_CELL, heading=self.words(len(seen)))
            if len(seen) < asked.count:
                say(f"{GRID} shows the first {len(seen)} of {asked.count}")

    def columns(self, seen: list[np.ndarray]) -> Mapping[str, Sequence[np.ndarray]]:
        """A column for each class, where there are several; else about as many columns as rows."""
        names = self.sampler.class_names
        if names and self.asked.label is None and 2 * len(names) <= len(seen):
            return by_class(seen, len(names), first=self.asked.start, names=names)
        return block("", seen)

    def points(self, progress: Callable[[int, int], None], say: Callable[[str], None]) -> None:
        rows = []
        for _, pixels in self.drawn(self.asked.count):
            rows.append(pixels[0, 0].astype(np.float32))
            progress(len(rows), self.asked.count)
        if self.asked.files:
            buffer = io.BytesIO()
            np.save(buffer, np.stack(rows), allow_pickle=False)
            self.write(POINTS, buffer.getvalue())
        if self.asked.grid:
            from i2i.infer.scatter import scatter

            self.made.written.append(self.made.folder / GRID)
            scatter(
                {f"{len(rows)} samples, {self.origin}": np.stack(rows)},
                self.sampler.output.range,
                self.made.written[-1],
            )

    def between(self, say: Callable[[str], None]) -> None:
        """The sheets of ways and sums."""
        count = min(self.asked.count, SHOWN) // 2 * 2
        if self.asked.interpolate is not None:
            z = self.sampler.latents(count, start=self.asked.start, seed=self.seed)
            one, other = self.asked.start, self.asked.start + 1
            words = f"samples {one} and {other}{', and so on' if count > 2 else ''}, {self.origin}"
            self.made.written += interpolate(
                self.sampler, z, self.asked.interpolate, self.made.folder, words, self.asked.label
            )
            if count < self.asked.count:
                say(f"ways are shown between the first {count} of {self.asked.count} samples, two and two")
        if self.asked.arithmetic is not None:
            self.made.written.append(self.made.folder / SUM)
            arithmetic(self.sampler, self.asked.arithmetic, self.seed, self.made.written[-1], self.asked.label)

    def drawn(self, count: int) -> Iterator[tuple[int, np.ndarray]]:
        """(number, levels (H, W, C)) of the first `count` samples; each goes through the network once."""
        first, end = self.asked.start, self.asked.start + count
        while first < end:
            until = min(end, first - first % CHUNK + CHUNK)
            part = self.sampler.pixels(until - first, start=first, seed=self.seed, classes=self.asked.label)
            yield from enumerate(part, start=first)
            first = until

    def write(self, name: str, data: bytes) -> None:
        path = self.made.folder / name
        atomic.write_bytes(path, data)
        self.made.written.append(path)

    def words(self, count: int) -> str:
        start = self.asked.start
        return f"{'Samples' if count > 1 else 'Sample'} {_numbers(start, count)}, {self.origin}"

    @property
    def origin(self) -> str:
        label = self.asked.label
        named = "" if label is None else f", class {_class(label, self.sampler)}"
        return f"step {self.sampler.meta.get('step')}, seed {self.seed}{named}"


# -- where files go


def place(
    file: Path,
    sampler: Sampler,
    origin: Mapping[str, Any],
    out: str | os.PathLike | None,
    names: Iterable[str],
    say: Callable[[str], None],
) -> Path:
    """The folder for files of these names, made; see `generate`.

    Raises:
        UserError: it holds samples of another origin, or other files of these names, or cannot be written to.
    """
    if out is not None:
        places = [Path(os.path.expanduser(out))]
    else:
        step, own = origin["step"], origin["seed"] == sampler.seed
        later = f"step{step:08d}" if isinstance(step, int) else f"weights-{origin['weights'][:12]}"
        bases = file.parent / FOLDER, file.parent / FOLDER / later
        places = bases if own else [base / f"seed{origin['seed']}" for base in bases]
        if origin["class"] is not None:
            places = [folder / f"class{origin['class']}" for folder in places]
    names = list(names)
    refusals = []
    for folder in places:
        refused = _taken(folder, origin, names)
        if refused is None:
            make_folders({folder})
            for earlier in refusals:
                say(f"{earlier}; these go to {folder}")
            return folder
        refusals.append(refused)
    raise UserError(f"{refusals[-1]}, which are not overwritten; choose another place with --out DIR.")


def _taken(folder: Path, origin: Mapping[str, Any], names: list[str]) -> str | None:
    """What is in the way there; None where the folder is of this origin, or holds no file of these names."""
    record = folder / RECORD
    if os.path.lexists(record):
        found = _recorded(record)
        if all(found.get(key) == value for key, value in origin.items()):
            return None
        words = f"step {found.get('step')}, seed {found.get('seed')}"
        other = "seed"
        if (label := found.get("class")) is not None:
            words, other = f"{words}, class {label}", "seed or class"
        return f"{folder} holds samples of other weights or another {other} ({words})"
    strange = next((name for name in names if os.path.lexists(folder / name)), None)
    return None if strange is None else f"{folder} holds other files of these names, as {strange}"


def _recorded(record: Path) -> dict[str, Any]:
    """What samples.json says; nothing where it cannot be read."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def claim(folder: Path, origin: Mapping[str, Any], start: int, count: int) -> None:
    """Writes samples.json, before any sample: whose samples these are, and which the sheets show."""
    record = {**origin, "start": start, "count": count}
    atomic.write_text(folder / RECORD, json.dumps(record, indent=1, allow_nan=False) + "\n")


def origin_of(sampler: Sampler, seed: int, label: int | None = None) -> dict[str, Any]:
    """All that a sample depends on, its number apart. UserError for a class that the weights do not know."""
    sampler.classes_of(1, classes=label)
    weights = fingerprint(sampler.net.state_dict())
    return {"step": sampler.meta.get("step"), "weights": weights, "seed": seed, "class": label}


def _class(label: int, sampler: Sampler) -> str:
    """A class as people are told of it: its number, and its name where that is another."""
    name = sampler.class_names[label]
    return str(label) if name == str(label) else f"{label} ({name})"


def _numbers(start: int, count: int) -> str:
    return f"{start} to {start + count - 1}" if count > 1 else str(start)


def is_points(sampler: Sampler) -> bool:
    """Whether its samples are points: pictures of one pixel."""
    return sampler.net.size == 1


def name_of(number: int, sampler: Sampler) -> str:
    """What the file of a sample is called."""
    return f"{number:06d}{suffix_of(sampler.output)}"


@contextmanager
def _told(made: Generated) -> Iterator[None]:
    """A disk that takes no more, in one sentence."""
    try:
        yield
    except OSError as error:
        count = len(made.written)
        raise UserError(
            f"{error.filename} cannot be written: {error.strerror}; {count} files were, before it."
        ) from None
