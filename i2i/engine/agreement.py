"""What a run of several processes does beside training: agree on its end, and see that all stay equal.

All processes call these functions at the same moment, but for `check_count`; alone, they do nothing.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from i2i.config import Recipe
from i2i.data.pictureset import Broken
from i2i.data.stream import Reader
from i2i.engine import checkpoint
from i2i.engine.liveness import Everywhere
from i2i.engine.processes import Processes
from i2i.errors import UserError


def begin(processes: Processes, recipe: Recipe, data) -> None:
    """UserError unless all train the same recipe on the same data; from here on all use one count of threads.

    Args:
        recipe: resolved.
        data: the data set that it was resolved with.
    """
    if not processes.several:
        return
    processes.same(
        {
            "recipe": recipe.dump(),
            "number of training items": len(data),
            "number of training files": data.files,
            "number of broken files": len(data.broken),
        }
    )
    torch.set_num_threads(processes.from_first(torch.get_num_threads()))


def announce(processes: Processes, method, batch_size: int, say: Callable[[str], None]) -> None:
    """Says how the batch is divided, and what BatchNorm makes of it."""
    if not processes.several:
        return
    share, machines = processes.share_of(batch_size), len(set(processes.watch.hosts))
    say(
        f"{processes.count} processes on {machines} machine{'s' if machines > 1 else ''}: "
        f"of the {batch_size} pictures of a batch each takes {share}"
    )
    kinds = {type(part) for net in method.nets.values() for part in net.modules()}
    if nn.SyncBatchNorm in kinds:
        say("BatchNorm normalises with the pictures of all processes (nccl)")
    elif any(issubclass(kind, _BatchNorm) for kind in kinds):
        say(
            f"BatchNorm normalises in each process with its own {share} (gloo); "
            "the running statistics are averaged after every step"
        )


def stopping(processes: Processes, loader: Reader, received: list[int]) -> bool:
    """Whether the run ends after this step: a signal to any process ends all, at the same step.

    In the same moment a file that one process found broken becomes known to all: it counts once, against the whole.
    """
    found, loader.found = loader.found, []
    number, news = processes.highest(max(received, default=0), len(found))
    if news:
        everybodys = [Broken(*report) for reports in processes.gather(found) for report in reports]
        try:
            loader.report(everybodys)
        except UserError as error:
            raise Everywhere(str(error)) from None
    if number and not received:
        received.append(number)
    return bool(number)


def check_count(processes: Processes, path: Path, steps: int, again: Callable[[int], str]) -> None:
    """UserError where the run in `path` goes on to `steps` in another number of processes; for process 0 alone.

    Args:
        again: the command that continues the run in so many processes.
    """
    meta = checkpoint.newest_meta(path)
    if meta is None or meta["step"] >= steps:
        return
    before, now = meta.get("processes", 1), processes.count
    if before != now:
        raise UserError(
            f"{path} was trained in {before} process{'es' if before > 1 else ''}, and now there "
            f"{f'are {now}' if now > 1 else 'is 1'}: what each of them kept and would draw does not carry over. "
            f"Continue with  {again(before)}  or start anew with --fresh."
        )


def check_replicas(processes: Processes, method, ema, step: int) -> None:
    """UserError unless networks, averages and optimizers are the same in all processes, bit for bit.

    All compute the same updates; machines of different kinds might round them differently.
    """
    if not processes.several:
        return
    mine = checkpoint.sums(method, ema)
    first = processes.from_first(mine)
    different = next((name for name in sorted({*first, *mine}) if mine.get(name) != first.get(name)), None)
    for rank, name in enumerate(processes.gather(different)):
        if name is not None:
            raise Everywhere(
                f"step {step:,}: '{name}' is no longer the same in process {rank} as in process 0, so that nothing was "
                "saved at this step. Processors of different kinds can round differently: train on machines of one "
                "kind. The same command continues from the last checkpoint."
            )
