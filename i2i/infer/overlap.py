"""From file to file, three things at a time: one thread decodes what is next, one encodes and writes what is done, and
the network computes in between.

All that a user or a caller sees (lines, progress, the report, errors) happens in the order of the inputs and in the
caller's thread, when an input's outputs are on the disk: as if one thread had done everything. At most AHEAD + 1 inputs
and BEHIND + 1 outputs are in memory.

Pictures go through the network one at a time. In batches of equal sizes they would be rounded by other kernels: a batch
of 2 gave the same bits where that was tried, but nothing promises it for another processor, size or version, and with
`translate.norm: batch` or dropout the company of a picture would be part of its output.
"""

import contextlib
import errno
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore
from typing import NamedTuple

import numpy as np

from i2i import atomic
from i2i.data import pictures
from i2i.data.formats import geo
from i2i.data.pictures import WRITTEN, BrokenPicture, Header, Picture
from i2i.errors import UserError
from i2i.infer.journal import Journal, digest
from i2i.infer.sheet import Sheet
from i2i.infer.translator import CLIPPED, Translator

AHEAD = 2  # inputs that are decoded, or being decoded, before their turn
BEHIND = 2  # outputs that wait for the disk


class Failure(NamedTuple):
    """An input that gave no output, and why."""

    path: Path
    why: str


class Job(NamedTuple):
    """An input, and what its output is called without a number or suffix."""

    source: Path
    folder: Path
    stem: str


@dataclass
class Report:
    """What `translate` did: the files it wrote, those it found made already, the inputs that it could not use, the
    sheet that it drew."""

    written: list[Path] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    sheet: Path | None = None
    kept: list[Path] = field(default_factory=list)


class DiskError(UserError):
    """The disk took no more: the next picture would meet the same."""


class Task(NamedTuple):
    """An input with what its header says, or why it cannot be used, and the paths of its outputs, one a sample."""

    job: Job
    header: Header | UserError
    outputs: list[Path]


class Decoded(NamedTuple):
    """An input: its digest, its pixels (None where no output is missing), which samples are there already."""

    source: str
    picture: Picture | None
    kept: frozenset[int]


@dataclass
class Made:
    """An input whose outputs are on their way to the disk, and what is to be told when they are there."""

    task: Task
    kept: frozenset[int] = frozenset()
    writes: list[tuple[Path, Future]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    row: tuple[np.ndarray, list[np.ndarray]] | None = None
    error: UserError | None = None

    def is_done(self) -> bool:
        return all(write.done() for _, write in self.writes)


@dataclass
class Work:
    """One call's way from file to file.

    Args:
        half: the half of a side-by-side file that is the input; None takes the whole.
        page, size: as for `translate`.
        resume: keep what the journal vouches for.
    """

    translator: Translator
    half: str | None
    page: int | None
    size: int | None
    resume: bool
    sheet: Sheet
    journal: Journal | None
    report: Report
    say: Callable[[str], None]
    counts: Counter = field(default_factory=Counter)
    hinted: set[str] = field(default_factory=set)
    places: Semaphore = field(default_factory=lambda: Semaphore(BEHIND))  # in the queue to the disk
    full: bool = False  # the disk refused: what waits is not written any more

    def run(self, tasks: Sequence[Task], progress: Callable[[int, int], None] | None) -> None:
        """Does all of `tasks`. UserError where the disk takes no more; whatever ends it leaves whole files only."""
        coming: deque[Future] = deque()
        under_way: deque[Made] = deque()
        with _threads() as (reader, writer):
            for place, task in enumerate(tasks, start=1):
                for later in tasks[place - 1 + len(coming) : place + AHEAD]:
                    coming.append(reader.submit(self.read, later))
                under_way.append(self.compute(task, coming.popleft(), writer))
                while under_way and (place == len(tasks) or under_way[0].is_done()):
                    self.settle(under_way.popleft())
                    if progress is not None:
                        progress(place - len(under_way), len(tasks))

    # -- in the reading thread

    def read(self, task: Task) -> Decoded:
        """Decodes an input, unless all of its outputs are there and the sheet shows others."""
        if isinstance(task.header, UserError):
            raise task.header
        path = task.job.source
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BrokenPicture(path, f"it cannot be opened ({error.strerror or error})") from None
        source = digest(data)
        # a TIFF's place may come from a file beside it, of which the digest says nothing
        alone = task.header.format != "TIFF" or not geo.beside(path)
        kept = frozenset(
            sample
            for sample, output in enumerate(task.outputs)
            if self.resume and alone and self.journal is not None and self.journal.holds(output, sample, source)
        )
        if len(kept) == len(task.outputs) and not self.sheet.rows:
            return Decoded(source, None, kept)
        return Decoded(source, half(pictures.decode(data, path, page=self.page), self.half, str(path)), kept)

    # -- in the calling thread

    def compute(self, task: Task, coming: Future, writer: ThreadPoolExecutor) -> Made:
        """Sends the outputs of an input to the writing thread."""
        made, name = Made(task), str(task.job.source)
        try:
            source, picture, made.kept = coming.result()
            missing = [sample for sample in range(len(task.outputs)) if sample not in made.kept]
            if missing:
                self.hint(picture, name, made.lines)
            shown: dict[int, np.ndarray] = {}
            for sample in missing:
                output = self.translator.picture(picture, size=self.size, sample=sample, name=name)
                self.send(made, sample, source, output, writer)
                if self.full:
                    return made
                if self.sheet.rows:
                    shown[sample] = output.pixels
            if self.sheet.rows:
                shown |= {sample: pictures.read(task.outputs[sample]).pixels for sample in made.kept}
                made.row = picture.pixels, [shown[sample] for sample in sorted(shown)]
            if missing:
                made.counts.update(task.header.changes)
                made.counts["alpha"] += picture.alpha is not None
                made.counts["grey"] += picture.pixels.shape[2] < self.translator.input.channels
                made.counts["clipped"] += self.translator.outside(picture) > CLIPPED
        except UserError as error:
            made.error = error
        return made

    def send(self, made: Made, sample: int, source: str, output: Picture, writer: ThreadPoolExecutor) -> None:
        """Waits for a place in the queue to the disk, and takes it."""
        self.places.acquire()
        path = made.task.outputs[sample]
        made.writes.append((path, writer.submit(self.write, path, sample, source, output)))

    def settle(self, made: Made) -> None:
        """Waits until the outputs of an input are written, then tells of it."""
        for line in made.lines:
            self.say(line)
        self.report.kept += [path for sample, path in enumerate(made.task.outputs) if sample in made.kept]
        error = None
        for path, write in made.writes:
            try:
                write.result()
            except OSError as refused:
                count = len(self.report.written)
                raise DiskError(
                    f"{path} cannot be written: {refused.strerror}; {count} pictures were, before it."
                ) from None
            except UserError as refused:
                error = error or refused
            else:
                self.report.written.append(path)
        error = error or made.error
        if error is not None:
            self.report.failed.append(Failure(made.task.job.source, str(error)))
            self.say(str(error))
            return
        self.counts.update(made.counts)
        if made.row is not None:
            self.sheet.add(*made.row)

    def draw(self, path: Path) -> None:
        """The sheet, where one is asked for."""
        try:
            self.report.sheet = self.sheet.draw(path)
        except OSError as error:
            raise DiskError(f"{path} cannot be written: {error.strerror}; the pictures were, before it.") from None

    def hint(self, picture: Picture, name: str, lines: list[str]) -> None:
        """Advice, each kind once a call."""
        height, width = picture.pixels.shape[:2]
        side_by_side = self.half is None and self.translator.meta.get("side") and width == 2 * height
        hints = {
            "size": self.translator.hint(picture.pixels) if self.size is None else None,
            "half": "it looks like input and target side by side: --paired takes the input" if side_by_side else None,
        }
        for kind, text in hints.items():
            if text and kind not in self.hinted:
                self.hinted.add(kind)
                lines.append(f"hint: {name}: {text}")

    # -- in the writing thread

    def write(self, path: Path, sample: int, source: str, output: Picture) -> None:
        """Encodes and writes an output, then says so in the journal."""
        try:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            form = WRITTEN[os.path.splitext(path)[1].lower()]
            data = pictures.encode(output.pixels, output.alpha, output.carried, form)
            atomic.write_bytes(path, data)
            if self.journal is not None:
                self.journal.add(path, sample, source, data)
        except OSError:
            self.full = True
            raise
        finally:
            self.places.release()


def half(picture: Picture, side: str | None, name: str) -> Picture:
    """The half of a side-by-side file that is the input; the whole where `side` is None."""
    if side is None:
        return picture
    width = picture.pixels.shape[1]
    if width % 2:
        raise UserError(f"{name} is {width} px wide, and two pictures side by side have an even width.")
    part = slice(0, width // 2) if side == "left" else slice(width // 2, width)
    pixels, alpha, carried = picture
    alpha = None if alpha is None else alpha[:, part]
    return Picture(pixels[:, part], alpha, None if carried is None else carried.cut(part))


@contextlib.contextmanager
def _threads() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """(reader, writer), a thread each. However the block ends, what they are at is finished, the rest called off."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())  # decoders set filters for a moment, which threads share
        pools = []
        for name in ("read", "write"):
            pool = ThreadPoolExecutor(1, thread_name_prefix=f"i2i-{name}")
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            pools.append(pool)
        yield pools[0], pools[1]
