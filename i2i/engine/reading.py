"""Where a run's batches come from: pictures that lie on its device, or a reader beside the training."""

import os
from collections.abc import Callable, Iterator

import torch

from i2i.config import Recipe
from i2i.data import cache
from i2i.data.resident import Held, NotHeld, Resident
from i2i.data.stream import Loader, Reader
from i2i.engine.ahead import Ahead
from i2i.engine.processes import Processes
from i2i.engine.progress import bar

HOLDING = ("cuda",)  # devices that pictures are held on: what a CPU reads of kept pictures is in its memory anyway


def reader(recipe: Recipe, data, runtime, step: int, per_step: int, say: Callable[[str], None]) -> Reader:
    """The batches from `step` on, as data.cache allows and as the run has further epochs.

    Args:
        data: the data set of the resolved recipe.
        runtime: its device and processes.
        per_step: batches of a step.
    """
    settings, processes = recipe.train, runtime.processes
    workers = _workers(recipe.data.workers, processes, say)
    common = {
        "batch_size": settings.batch_size, "seed": settings.seed, "part": (processes.rank, processes.count),
        "start_batch": step * per_step, "say": say,
    }  # fmt: skip
    pictures = per_step * settings.batch_size  # of a step
    if recipe.data.cache == "auto" and settings.steps * pictures > len(data):
        if runtime.device.type in HOLDING:
            held = _held(data, runtime.device, (settings.steps - step) * pictures, processes, workers, say)
            if held is not None:
                return Resident(data, held, **common)
        if data.kept is None:
            cache.keep(data, say)
    return Loader(data, workers=workers, pin_memory=runtime.device.type == "cuda", **common)


def batches(read: Reader, timed: Iterator, device: torch.device) -> Iterator:
    """What the loop takes: the batches `timed` of `read`, copied ahead of the steps where that is of use."""
    return Ahead(timed, device) if device.type == "cuda" and isinstance(read, Loader) else timed


def _held(
    data, device: torch.device, left: int, processes: Processes, workers: int, say: Callable[[str], None]
) -> Held | None:
    """All training pictures on the device; None where they cannot lie there, or need not, which is said.

    Args:
        left: pictures that the rest of the run will ask for.
    """
    held = Held(data)
    why = held.why_not(data, _free(device))
    if why is None and left < 2 * len(data):
        why = f"{left:,} samples are left to train on, and an epoch has {len(data):,}"
    if why is None:
        _keep(data, say)
        say(
            f"training pictures are read once and lie on {device.type} from here on ({held.size / 1e9:,.1f} GB; "
            "data.cache=off: not)"
        )
        try:
            with bar("reading", hidden=not processes.leads) as tick:
                held.fill(data, device, max(1, workers), processes.rank / processes.count, tick)
        except NotHeld as error:
            why = str(error)
        if data.kept is not None and (words := data.kept.trouble()):
            say(words)
    if why is None:
        return held
    say(f"training pictures do not lie on {device.type}, and are read beside the training: {why}")
    return None


def _keep(data, say: Callable[[str], None]) -> None:
    """As `cache.keep`, but silent where the disk does not keep them, since the device does."""
    said: list[str] = []
    cache.keep(data, said.append)
    if data.kept is not None:
        for words in said:
            say(words)


def _free(device: torch.device) -> int:
    """Bytes of a card that nobody has taken."""
    return torch.cuda.mem_get_info(device)[0]


def _workers(wanted: int, processes: Processes, say: Callable[[str], None]) -> int:
    """More readers than cores only get into each other's way; their number changes no picture."""
    cores, beside = os.cpu_count() or 1, processes.place.local_count
    most = max(1, cores // beside)
    if wanted > most:
        shared = f" for {beside} processes" if beside > 1 else ""
        say(f"data.workers is {wanted} and this machine has {cores} cores{shared}: {most} are used")
    return min(wanted, most)
