"""`i2i train --dry-run`: what a run will take, from a short probe of real steps. Nothing is written."""

import gc
import json
import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from i2i import build
from i2i.config import Recipe
from i2i.engine import checkpoint
from i2i.engine.compiled import compile_nets
from i2i.engine.ema import EMA
from i2i.engine.summary import summary
from i2i.infer.grid import LARGEST

WARM_UP, PROBE = 3.0, 6.0  # seconds of steps that are not timed, and that are
FEWEST, MOST = 3, 20  # steps that are timed
READS = 8  # samples that are read to time the reader
PNG = 0.6  # bytes of a PNG for each byte of a photograph's pixels, roughly


@dataclass
class Estimate:
    """What one run takes; bytes and seconds."""

    parameters: int
    fixed: dict[str, int]  # weights, gradients, optimizer, EMA: counted
    peak: int | None  # beyond what the process had before, measured; None where the device cannot tell
    times: list[float]  # of the probe's steps
    reading: float  # of the pictures of a step, in one reader
    workers: int
    steps: int
    checkpoint: int  # one, at its largest
    checkpoints: int  # as many as lie there at once
    weights: int
    samples: int
    free: int
    device: str
    path: Path

    @property
    def step(self) -> float:
        """Seconds a step: the median of the probe, or the reader's time where that is longer."""
        computing = statistics.median(self.times)
        return max(computing, self.reading / self.workers) if self.workers else computing + self.reading

    @property
    def disk(self) -> int:
        return self.checkpoints * self.checkpoint + self.weights + self.samples

    def __str__(self) -> str:
        counted = sum(self.fixed.values())
        parts = ", ".join(f"{name} {size(count)}" for name, count in self.fixed.items() if count)
        how = "as the device counts it" if self.device == "cuda" else "as the growth of this process"
        peak = (
            f"memory      {size(max(self.peak, counted))} at its peak on {self.device}, measured {how}: {parts}, "
            f"activations and work space {size(max(self.peak - counted, 0))}"
            if self.peak is not None
            else f"memory      {parts}, beside activations, which {self.device} does not tell"
        )
        low, high, count = min(self.times), max(self.times), len(self.times)
        readers = f"over {self.workers} data.workers" if self.workers else "in the main process (data.workers=0)"
        lines = [
            f"parameters  {self.parameters / 1e6:.3f} M",
            peak,
            f"speed       {statistics.median(self.times):.3g} s a step (median of {count}, {low:.3g} to {high:.3g}, on "
            f"made-up pictures); reading takes {self.reading:.2g} s a step, {readers}",
            f"time        {duration(self.step * self.steps)} for {self.steps:,} steps; samples and saves come on top",
            f"disk        {size(self.disk)} at most: checkpoints {self.checkpoints} x {size(self.checkpoint)}, weights "
            f"{size(self.weights)}, samples about {size(self.samples)}; "
            f"{size(self.free)} are free at {self.path}",
        ]
        if self.workers and self.reading / self.workers > statistics.median(self.times):
            lines.append("WARNING: reading is slower than computing. Raise data.workers, or make the files smaller.")
        if self.disk > self.free:
            lines.append(
                f"WARNING: the run does not fit on the disk: it takes {size(self.disk)}, and {size(self.free)} are "
                "free. Make room, lower train.keep, or choose another place with --run DIR."
            )
        return "\n".join(lines)


def dry_run(recipe: Recipe, data, make_runtime: Callable, path: Path, say: Callable[[str], None]) -> Estimate | None:
    """Says the complete recipe, the networks and what the run will take; None where it does not fit into memory.

    Args:
        recipe: resolved.
        data: its data set; a few samples are read.
        make_runtime: makes the runtime of the run.
        path: where the run folder would be; nothing is made there.
    """
    say(recipe.dump())
    settings = recipe.train
    with torch.random.fork_rng([]):
        runtime = make_runtime()
        memory = Memory(runtime.device)
        try:
            method = build.method(recipe, runtime)
            shown = {net: method.nets[net] for net in method.exports.values()}
            runtime.ema = EMA(shown, settings.ema) if settings.ema else None
            say(summary(method, recipe.data.crop_size, settings.batch_size))
            share = runtime.processes.share_of(settings.batch_size)
            if settings.compile:
                compile_nets(method, recipe.data.crop_size, share, say)
            times = probe(method, runtime, recipe, share)
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            say(
                f"WARNING: this run does not fit into the memory of {runtime.device.type}. Lower train.batch_size or "
                "data.crop_size, or set train.activation_checkpointing=true."
            )
            return None
        found = Estimate(
            parameters=sum(p.numel() for net in method.nets.values() for p in net.parameters()),
            fixed=counted(method, runtime.ema),
            peak=memory.peak(),
            times=times,
            reading=reading(data, share * method.batches_per_step),
            workers=min(recipe.data.workers, os.cpu_count() or 1),
            steps=settings.steps,
            checkpoint=checkpoint_size(method, runtime.ema, recipe),
            checkpoints=min(settings.keep + 1, math.ceil(settings.steps / settings.save_every)),
            weights=sum(_bytes(method.nets[net].state_dict().values()) for net in method.exports.values()),
            samples=samples_size(method, recipe),
            free=shutil.disk_usage(next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())).free,
            device=runtime.device.type,
            path=path,
        )
    say(str(found))
    return found


def probe(method, runtime, recipe: Recipe, batch_size: int) -> list[float]:
    """Seconds of each of a few real steps on made-up pictures, after a warm-up. It changes the weights of `method`."""
    batch = made_up(method, recipe, batch_size)
    times: list[float] = []
    warm, spent = True, 0.0
    while True:
        start = time.perf_counter()
        runtime.step += 1
        method.step(map(runtime.to_device, [batch] * method.batches_per_step))
        _finish(runtime.device)
        took = time.perf_counter() - start
        spent += took
        if runtime.processes.several:  # by count alone: all must stop at the same step
            done, warm = runtime.step > FEWEST, runtime.step == 1
            times += [] if warm else [took]
        elif warm:
            warm, done = runtime.step < 2 or (spent < WARM_UP and runtime.step < FEWEST), False
            spent = spent if warm else 0.0
        else:
            times.append(took)
            done = len(times) >= MOST or (len(times) >= FEWEST and spent > PROBE)
        if done:
            return times


def made_up(method, recipe: Recipe, batch_size: int) -> dict[str, torch.Tensor]:
    """A batch of noise of the shapes that `method` trains on, with classes where it needs some."""
    crop, channels = recipe.data.crop_size, build.domain_channels(recipe)
    batch = {key: torch.rand(batch_size, channels[key], crop, crop) * 2 - 1 for key in method.keys}
    if method.needs_labels:
        batch["label"] = torch.randint(channels["label"], (batch_size,))
    if method.few_labels:
        batch["labelled"] = batch[method.keys[0]]
    return batch


def reading(data, count: int) -> float:
    """Seconds that one reader takes for `count` training samples."""
    times = []
    data.transform.prepare()
    for index in range(min(READS, len(data))):
        start = time.perf_counter()
        data.item(0, index)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * count


def counted(method, ema) -> dict[str, int]:
    """Bytes that are there all the time."""
    parameters = [p for net in method.nets.values() for p in net.parameters()]
    states = [v for o in method.optimizers.values() for s in o.state.values() for v in s.values() if torch.is_tensor(v)]
    return {
        "weights": _bytes(value for net in method.nets.values() for value in net.state_dict().values()),
        "gradients": _bytes(parameters),
        "optimizer": _bytes(states),
        "EMA": _bytes(value for net in ema.nets.values() for value in net.state_dict().values()) if ema else 0,
        "pools": sum(value.untyped_storage().nbytes() for value in method.state().values()),
    }


def checkpoint_size(method, ema, recipe: Recipe) -> int:
    """Bytes of a checkpoint of `method`, which has taken a step; of its own state (pools) when that is full."""
    tensors = checkpoint.gather(method, ema)
    content = _bytes(tensors.values())
    fields = {  # as the header lists them, the places of the bytes aside
        name: {"dtype": "F32", "shape": list(value.shape), "data_offsets": [content, content]}
        for name, value in tensors.items()
    }
    settings = json.dumps(json.dumps(recipe.model_dump()))  # text within text, as the file has it
    full = sum(value.untyped_storage().nbytes() - _bytes([value]) for value in method.state().values())
    return content + full + len(json.dumps(fields)) + len(settings) + 400


def samples_size(method, recipe: Recipe) -> int:
    """Bytes of all sample grids, and of TensorBoard's copies, roughly."""
    train = recipe.train
    grids = 2 + (train.steps // train.sample_every if train.sample_every else 1)
    rows = {key: [key] * method.previews for key in method.keys}
    reads = {export: method.maps[net][0] is not None for export, net in method.exports.items()}
    models = {export: (lambda given: given) if it else (lambda count: [0] * count) for export, it in reads.items()}
    cells = sum(map(len, method.preview(models, rows).values()))
    side = min(recipe.data.load_size or recipe.data.crop_size, LARGEST)
    copies = 2 if train.tracker == "tensorboard" else 1
    return round(grids * copies * cells * side**2 * 3 * PNG)


class Memory:
    """The most memory that was taken since this was made, beyond what was taken then."""

    def __init__(self, device: torch.device):
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif device.type == "cpu":
            _forget_peak()
        self.before = self._now()

    def peak(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.before
        return _status("VmHWM") - self.before if self.device.type == "cpu" else None

    def _now(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        return _status("VmRSS") if self.device.type == "cpu" else 0


def _forget_peak() -> None:
    """Linux then counts the peak anew; elsewhere it is that of the whole process, imports included."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def _status(field: str) -> int:
    """A line of Linux's /proc/self/status, in bytes; elsewhere the peak of the process."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{field}:"))
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _finish(device: torch.device) -> None:
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def _bytes(tensors) -> int:
    return sum(value.numel() * value.element_size() for value in tensors)


def size(count: float) -> str:
    """1.5 GB."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= least:
            return f"{count / least:.3g} {unit}"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """3 days 4 h, 2 h 5 min, 3 min 10 s, 12 s."""
    units = (("days", 86400), ("h", 3600), ("min", 60), ("s", 1))
    whole = max(1, round(seconds))
    first = next(i for i, (_, length) in enumerate(units) if whole >= length)
    (name, length), rest = units[first], units[first + 1 : first + 2]
    text = f"{whole // length} {name if name != 'days' or whole >= 2 * length else 'day'}"
    for lower, part in rest:
        text += f" {whole % length // part} {lower}" if whole % length >= part else ""
    return text
