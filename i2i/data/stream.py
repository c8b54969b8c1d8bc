"""The endless order of training samples, and the processes that read them ahead."""

import contextlib
import functools
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data._utils import signal_handling

from i2i.data.pictureset import Broken, PictureSet, too_many
from i2i.data.workers import end_with, signals_held
from i2i.errors import UserError
from i2i.seeds import derive

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PIPE = 1 << 20  # bytes, what Linux lets anybody have
LOOK_EVERY = 5.0  # seconds between looks at the workers while a batch does not come
Place = tuple[int, int]  # (epoch, index)


class Stream:
    """Batches of places for ever: sample number n is (n // length, permutation of epoch n // length at n % length).

    Every epoch visits every index once; batches run across its end. Where to begin is a number, so a continued run
    draws what the unbroken one would have drawn.

    Of several processes each takes its part of every batch, one after the other: together they draw what one would.

    Args:
        length: samples of an epoch.
        batch_size: places in a batch, of all processes together.
        start: batches that were drawn before.
        part: (this process, of how many); their number divides `batch_size`.
    """

    def __init__(self, length: int, seed: int, batch_size: int, start: int = 0, part: tuple[int, int] = (0, 1)):
        if length < 1 or batch_size < 1 or start < 0:
            raise ValueError(f"length {length} and batch_size {batch_size} must be 1 or more, start {start} 0 or more.")
        rank, processes = part
        if batch_size % processes or not 0 <= rank < processes:
            raise ValueError(f"a batch of {batch_size} has no part {rank} of {processes} equal ones.")
        self.length, self.seed, self.batch_size, self.start = length, seed, batch_size, start
        self.share = batch_size // processes
        self.first = rank * self.share

    def __iter__(self) -> Iterator[list[Place]]:
        epoch, order = -1, None
        number = self.start * self.batch_size + self.first
        while True:
            batch = []
            for _ in range(self.share):
                if number // self.length != epoch:
                    epoch = number // self.length
                    order = self.permutation(epoch)
                batch.append((epoch, int(order[number % self.length])))
                number += 1
            yield batch
            number += self.batch_size - self.share

    def permutation(self, epoch: int) -> np.ndarray:
        """The order of an epoch, (length,). RandomState, because its numbers are frozen across NumPy versions."""
        return np.random.RandomState(derive(self.seed, "order", epoch) % 2**32).permutation(self.length)


class Reader:
    """What whoever gives the batches of a run has in common: what it says of the data, and of files found broken.

    Attributes:
        broken: {path: why}, the files that were said to be broken.
        found: of several processes, what this one has found broken and not yet told the others.
    """

    def __init__(self, dataset: PictureSet, part: tuple[int, int], say: Callable[[str], None]):
        self.dataset, self.say = dataset, say
        self.broken: dict[str, str] = {}
        self.found: list[Broken] = []
        self._alone = part[1] == 1
        for note in dataset.notes:
            say(note)
        self.report(dataset.broken)

    def report(self, broken: Iterable[Broken]) -> None:
        """Says each broken file once; UserError when they are too many."""
        for path, why in broken:
            if path not in self.broken:
                self.broken[path] = why
                self.say(f"{path} is broken and left out, the next one takes its place: {why}")
        if error := too_many(self.broken, self.dataset.files):
            raise UserError(error)

    def settle(self, broken: list[Broken], error: str | None) -> None:
        """Takes what a batch found broken; UserError with the words of `error`, where one kept it from being made."""
        if self._alone:
            self.report(broken)
        else:
            self.found += (report for report in broken if report.path not in self.broken)
        if error is not None:
            raise UserError(error)


class Loader(Reader):
    """An endless iterator of {key: (B, C, H, W) float32}; the same pictures for any number of workers and any start.

    Of labelled data a batch also holds "label", (B,) int64; where few are labelled, of "labelled" beside it.

    Args:
        dataset: gives the samples.
        batch_size: samples of a batch, of all processes together.
        part: (this process, of how many): its part of every batch, see `Stream`. Of several, each collects in `found`
            what it finds broken while iterating, until `report` is told what all of them found.
        start_batch: batches that an earlier part of the run consumed.
        workers: processes that read ahead; 0 reads in this one.
        pin_memory: put batches where a CUDA device copies from without waiting.
        say: takes the sentences about conversions, and one for each broken file.
        timeout: seconds to wait for a batch before a worker is taken to hang.

    Raises:
        UserError: while iterating (of several processes, from `report`): more than 1 % of the files (and more than 1)
            are broken; a worker hangs or dies.
    """

    def __init__(
        self,
        dataset: PictureSet,
        *,
        batch_size: int,
        seed: int,
        part: tuple[int, int] = (0, 1),
        start_batch: int = 0,
        workers: int = 0,
        pin_memory: bool = False,
        say: Callable[[str], None] = print,
        timeout: float = 300,
    ):
        super().__init__(dataset, part, say)
        self.workers, self.timeout = workers, timeout
        # workers hand over levels, a quarter of the bytes; not where another process or thread is to see values only
        self._halved = workers > 0 and not pin_memory
        many: dict[str, Any] = {}
        if workers:
            # a fork shares what is imported and listed; where it is unsafe, the platform's own way
            start = "fork" if sys.platform == "linux" else "spawn"
            many = {"multiprocessing_context": start, "persistent_workers": True, "timeout": min(timeout, LOOK_EVERY)}
            many["worker_init_fn"] = functools.partial(_start_worker, os.getpid())
        loader = DataLoader(
            _Samples(dataset, self._halved),
            batch_sampler=Stream(len(dataset), seed, batch_size, start_batch, part),
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # or it would draw from the one that dropout and noise draw from
            **many,
        )
        dataset.transform.prepare()  # before the fork: what is imported here is shared
        with signals_held(signal.SIGINT, signal.SIGTERM):  # of the whole group
            self._batches = iter(loader)
        if self._halved:
            _widen(self._batches._worker_result_queue._reader.fileno())
        if workers:  # or the death of a worker would be raised by a signal handler, even in the middle of a save
            signal_handling._remove_worker_pids(id(self._batches))
            self._batches._worker_pids_set = False
        self.close = weakref.finalize(self, _end, self._batches)  # call it to end the workers; also at exit

    def __iter__(self) -> "Loader":
        return self

    def __next__(self) -> dict[str, Tensor]:
        if not self.close.alive:
            raise ValueError("this loader is closed. Make a new one, with start_batch where it should go on.")
        try:
            batch, broken, error = self._wait()
        except (RuntimeError, OSError, EOFError) as problem:
            words = self._worker_failed(problem)
            if words is None:
                raise
            raise UserError(words) from problem
        self.settle(broken, error)
        if self.dataset.kept is not None and (words := self.dataset.kept.trouble()):
            self.say(words)
        return self.dataset.values(batch) if self._halved else batch

    def _wait(self) -> Any:
        """The next batch, waited for in short turns: after each PyTorch looks whether all workers are alive."""
        end = time.monotonic() + self.timeout
        while True:
            try:
                return next(self._batches)
            except RuntimeError as problem:
                if "timed out" not in str(problem) or time.monotonic() > end:
                    raise

    def _worker_failed(self, problem: Exception) -> str | None:
        """What PyTorch says of a lost worker, in our words; None for a fault inside `item`, which stays what it is."""
        text = str(problem)
        if not self.workers or text.startswith("Caught"):
            return None
        if "timed out" in text:
            return (
                f"no batch came from {self.workers} data workers within {self.timeout:g} seconds: one hangs, as on a "
                "disk that does not answer. Continue the run, with data.workers=0 to read in the main process."
            )
        if "DataLoader worker" in text or not isinstance(
            problem, RuntimeError
        ):  # the latter while a batch is handed over
            return (
                f"a data worker died ({text.partition('. ')[0]}), as when memory runs out. Continue the run with fewer "
                f"data.workers than {self.workers}, or with 0."
            )
        return None


Answer = tuple[dict[str, Tensor] | dict[str, np.ndarray] | None, list[Broken], str | None]


class _Samples:
    """`PictureSet.batch` for a DataLoader: errors of the user travel as text, not as a traceback of a worker.

    Args:
        halved: only the first half of `batch`; as NumPy arrays, which go through a pipe. A tensor goes through a new
            piece of shared memory each, which at batch 1 takes four times the CPU time of reading kept pictures.
    """

    def __init__(self, dataset: PictureSet, halved: bool):
        self.dataset, self.read = dataset, dataset.levels if halved else dataset.batch

    def __getitems__(self, places: list[Place]) -> Answer:
        try:
            return *self.read(places), None
        except UserError:
            return self._one_by_one(places)

    def _one_by_one(self, places: list[Place]) -> Answer:
        """The same, sample by sample: what is wrong with one does not hide which files the others found broken."""
        reports, errors = [], []
        for place in places:
            try:
                reports += self.dataset.item(*place)[1]
            except UserError as error:
                errors.append(str(error))
        if errors:
            return None, reports, errors[0]
        try:
            return *self.read(places), None
        except UserError as error:  # it comes and goes
            return None, reports, str(error)


def _as_it_is(answer: Answer) -> Answer:
    return answer


def _start_worker(parent: int, _number: int) -> None:
    """One thread each, and deaf to a Ctrl-C or a kill of the whole group: the main process ends its step, then them.

    A worker whose main process is gone ends (see `end_with`); elsewhere than on Linux PyTorch's loop looks for its
    parent every few seconds, between two samples.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with(parent)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _widen(pipe: int) -> None:
    """Lets a whole sample into a pipe at once, 0.4 MB of a pair at 256 px, where Linux takes 64 KB by default: worker
    and reader wait less for each other (a quarter of the CPU time of kept pictures)."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # neither Windows nor macOS
        with contextlib.suppress(OSError):  # more than this user may have
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


def _end(batches) -> None:
    """Ends the workers of a DataLoader's iterator; one that is stuck in a read is killed."""
    workers = getattr(batches, "_workers", [])
    if workers:
        batches._shutdown_workers()
    for worker in workers:
        if worker.is_alive():
            worker.kill()
