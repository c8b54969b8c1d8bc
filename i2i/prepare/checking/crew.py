"""Worker processes that read, each one chunk at a time: they end with the main process, and with a Ctrl-C."""

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2

from i2i.data.workers import end_with, signals_held
from i2i.errors import UserError


def in_parallel(work: Callable[[Any], Any], jobs: Iterable[Any], workers: int) -> Iterator[Any]:
    """`work(job)` of every job, in the order in which they are done; 0 workers: here, one after the other.

    Closing the iterator, or an error in it, ends the workers.

    Raises:
        UserError: as `work` raised it, or a worker died (as when memory runs out).
        RuntimeError: a fault in `work`, with its traceback.
    """
    if not workers:
        yield from map(work, jobs)
        return
    # a fork shares what is imported and listed; where it is unsafe, the platform's own way
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    crew: dict[Connection, Any] = {}
    try:
        with signals_held(signal.SIGINT):
            for _ in range(workers):
                here, there = context.Pipe()
                process = context.Process(target=_worker, args=(work, there, os.getpid()), daemon=True)
                process.start()
                there.close()  # then the end of the worker is the end of the pipe
                crew[here] = process
        yield from _hand_out(crew, iter(jobs))
    finally:
        for here, process in crew.items():
            process.kill()  # it only reads
            process.join()
            here.close()


def _hand_out(crew: dict[Connection, Any], jobs: Iterator[Any]) -> Iterator[Any]:
    busy: dict[Connection, Any] = {}
    for here, job in zip(crew, jobs):  # `crew` first: zip takes no job that it cannot give away
        _send(here, job)
        busy[here] = job
    while busy:
        for here in wait(list(busy)):
            try:
                kind, result = here.recv()
            except (EOFError, OSError):
                raise UserError(_died(crew[here], busy[here])) from None
            del busy[here]
            if kind == "user":
                raise UserError(result)
            if kind == "fault":
                raise RuntimeError(f"a worker failed:\n{result}")
            with contextlib.suppress(StopIteration):
                job = next(jobs)
                _send(here, job)
                busy[here] = job
            yield result


def _send(here: Connection, job: Any) -> None:
    with contextlib.suppress(OSError):  # it is dead: the answer that does not come says so
        here.send(job)


def _died(process: Any, job: Any) -> str:
    process.join(10)
    how = f"killed by signal {-process.exitcode}" if (process.exitcode or 0) < 0 else f"exit status {process.exitcode}"
    return (
        f"a process that reads pictures died ({how}), as when memory runs out or a decoder crashes, at one of the "
        f"files number {job[0] + 1:,} to {job[1]:,}. Run it again with fewer --workers."
    )


def _worker(work: Callable[[Any], Any], there: Connection, parent: int) -> None:
    """Does what comes through the pipe until it ends. Deaf to a Ctrl-C of the whole group: the main process ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
    cv2.setNumThreads(0)
    while True:
        try:
            job = there.recv()
        except (EOFError, OSError):
            return
        try:
            answer = ("done", work(job))
        except UserError as error:
            answer = ("user", str(error))
        except Exception:
            answer = ("fault", traceback.format_exc())
        try:
            there.send(answer)
        except OSError:
            return
