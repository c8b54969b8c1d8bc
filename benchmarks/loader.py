"""Pairs per second from the second epoch on: i2i with and without kept pictures, and the reference's aligned loader.

    python benchmarks/loader.py datasets/facades --reference ../pytorch-CycleGAN-and-pix2pix
    python benchmarks/loader.py --made 60 --workers 0 2

The data are pairs side by side, in `train` of the folder; without one, made-up buildings are written as JPEG. Each pair
is resized to 286, cropped to 256 and mirrored at random, at batch 1. All loaders take turns, an epoch each, as often as
--rounds says, after a first epoch that is told apart. A sample during which other processes took more than 5 % of the
cores is left out, and counted; the CPU time per pair, workers included, is of all samples: others cost it less.

The reference is a checkout of junyanz/pytorch-CycleGAN-and-pix2pix, as it is. The kept pictures go to a folder for the
time of the run, and none stays beside the data.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from machine import busy, processor_time, share_of_others

from i2i.data import DATASETS, cache
from i2i.data.stream import Loader

LOAD, CROP = 286, 256
OTHERS = 0.05  # of all cores, that other processes may take in a sample that counts
ON, OFF, REFERENCE = "i2i, pictures kept", "i2i, data.cache=off", "reference"


@dataclass
class Column:
    """One loader with one number of workers, and what was measured of it."""

    name: str
    workers: int
    epoch: Callable[[], tuple[int, float, float]]  # pairs, seconds, CPU seconds
    first: float = 0.0  # pairs per second
    rates: list[float] = field(default_factory=list)  # of the samples that count
    crowded: list[float] = field(default_factory=list)  # of those that do not
    cpu: list[float] = field(default_factory=list)  # ms a pair, of all

    def add(self, pairs: int, seconds: float, cpu: float, others: float) -> None:
        """One epoch, during which other processes took this share of the cores."""
        (self.rates if others <= OTHERS else self.crowded).append(pairs / seconds)
        self.cpu.append(1000 * cpu / pairs)

    def rate(self) -> float:
        """The median of the samples that count; of all, where none does."""
        return statistics.median(self.rates or self.crowded)


# ------------------------------------------------------------------------------------------------------ the clock


def sample(column: Column, first: bool = False) -> None:
    """Runs one epoch of a loader and notes it."""
    mine, before = processor_time(), busy()
    began = time.perf_counter()
    pairs, seconds, cpu = column.epoch()
    if first:
        column.first = pairs / seconds
        return
    whole = time.perf_counter() - began
    others = share_of_others(processor_time() - mine, busy() - before, whole, os.cpu_count() or 1)
    column.add(pairs, seconds, cpu, others)


def timed(batches: Iterator, count: int, ahead: int) -> tuple[int, float, float]:
    """(pairs, seconds, CPU seconds) of `count` batches; before these, `ahead` that were read in advance."""
    for _ in range(ahead):
        next(batches)
    cpu, began = processor_time(), time.perf_counter()
    for _ in range(count):
        next(batches)
    return count, time.perf_counter() - began, processor_time() - cpu


# ---------------------------------------------------------------------------------------------------- the loaders


def ours(root: Path, workers: int, kept: bool, stack: ExitStack) -> Callable[[], tuple[int, float, float]]:
    """One epoch of i2i at each call."""
    auto = {"channels": "auto", "range": "auto"}
    data = DATASETS.build(
        "paired", path=root, load_size=LOAD, crop_size=CROP, flip=True, transform=None, seed=0, a=auto, b=auto
    )
    if kept:
        cache.keep(data, lambda text: None)
        if data.kept is None:
            raise SystemExit("The pictures cannot be kept here: too little disk or memory. Use fewer, or I2I_CACHE.")
    loader = Loader(data, batch_size=1, seed=0, workers=workers, say=lambda text: None)
    stack.callback(loader.close)
    return lambda: timed(loader, len(data), 2 * workers)


def reference(checkout: Path, root: Path, workers: int) -> Callable[[], tuple[int, float, float]]:
    """One epoch of the reference's aligned data set in its own loader at each call."""
    if not (checkout / "data" / "aligned_dataset.py").is_file():
        raise SystemExit(f"{checkout} is no checkout of the reference: it has no data/aligned_dataset.py.")
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from data import create_dataset

    options = SimpleNamespace(
        dataroot=str(root), phase="train", dataset_mode="aligned", direction="AtoB", input_nc=3, output_nc=3,
        preprocess="resize_and_crop", load_size=LOAD, crop_size=CROP, no_flip=False, serial_batches=False,
        batch_size=1, num_threads=workers, max_dataset_size=float("inf"), isTrain=True,
    )  # fmt: skip
    data = create_dataset(options)

    def epoch() -> tuple[int, float, float]:
        cpu, began = processor_time(), time.perf_counter()
        count = sum(1 for _ in data)
        return count, time.perf_counter() - began, processor_time() - cpu

    return epoch


def make(root: Path, count: int) -> None:
    """Writes `count` made-up buildings at 256 px, side by side, as JPEG."""
    sides = {side: {"channels": "auto", "range": "auto"} for side in "ab"}
    common = {"load_size": None, "crop_size": CROP, "flip": False, "transform": None, "seed": 0, "path": None}
    data = DATASETS.build("synthetic", pairing="paired", size=CROP, count=count, **common, **sides)
    (root / "train").mkdir(parents=True)
    for index, pair in enumerate(data.whole("train")):
        both = np.concatenate([pair["input"], pair["target"]], axis=1)
        cv2.imwrite(str(root / "train" / f"{index:05d}.jpg"), cv2.cvtColor(both, cv2.COLOR_RGB2BGR))


# ------------------------------------------------------------------------------------------------------ the table


def table(columns: Sequence[Column]) -> str:
    """Markdown; ratios to the reference of the same number of workers."""
    lines = [
        "| loader | workers | pairs/s, median (least to most) | samples, left out | CPU ms a pair "
        "| first epoch, pairs/s | x reference, pairs/s | x reference, CPU |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for column in columns:
        same = (each for each in columns if each.name == REFERENCE and each.workers == column.workers)
        other, cpu = next(same, None), statistics.median(column.cpu)
        shown = "- | -"
        if other:
            # the clock of CPU time ticks in hundredths of a second, of which a tiny run may see none
            ratio = f"{statistics.median(other.cpu) / cpu:.2f}" if cpu else "-"
            shown = f"{column.rate() / other.rate():.2f} | {ratio}"
        seen = column.rates or column.crowded
        left = f"{len(column.crowded)}{'' if column.rates else ' (all crowded: shown nevertheless)'}"
        lines.append(
            f"| {column.name} | {column.workers} | {column.rate():,.0f} ({min(seen):,.0f} to {max(seen):,.0f}) "
            f"| {len(column.rates) + len(column.crowded)}, {left} | {cpu:.2f} | {column.first:,.0f} | {shown} |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="a folder whose train holds pairs side by side")
    parser.add_argument("--made", type=int, default=200, help="made-up pairs, where no folder is given")
    parser.add_argument("--reference", type=Path, help="a checkout of the reference; without it, ours alone")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args(words)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="i2i-loader-")))
        root = arguments.data
        if root is None:
            root = place / "made"
            make(root, arguments.made)
        before = os.environ.get("I2I_CACHE")
        stack.callback(lambda: os.environ.pop("I2I_CACHE") if before is None else os.environ.update(I2I_CACHE=before))
        columns = []
        for workers in arguments.workers:
            os.environ["I2I_CACHE"] = str(place / f"cache {workers}")  # each has a first epoch of its own
            columns += [Column(ON, workers, ours(root, workers, True, stack))]
            columns += [Column(OFF, workers, ours(root, workers, False, stack))]
            if arguments.reference is not None:
                columns += [Column(REFERENCE, workers, reference(arguments.reference.absolute(), root, workers))]
        for column in columns:
            sample(column, first=True)
        for _ in range(arguments.rounds):
            for column in columns:
                sample(column)
    versions = f"PyTorch {torch.__version__}, OpenCV {cv2.__version__}, Python {platform.python_version()}"
    print(
        f"\n{time.strftime('%Y-%m-%d')}; {processor()}, {os.cpu_count()} cores; {versions}; {LOAD} -> {CROP}, batch 1\n"
    )
    print(table(columns))


def processor() -> str:
    """The name of the CPU."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
