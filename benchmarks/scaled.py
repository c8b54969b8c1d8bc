"""One process of `scaling.py`: takes training steps together with the others of its launch, and times them.

    torchrun --nproc_per_node N benchmarks/scaled.py SETTINGS ANSWER

SETTINGS is a JSON file: recipe, overrides, device, batch (of all processes together), warm_up and steps. Process 0
writes ANSWER, JSON: the seconds of these steps, their pictures, the CPU seconds of all processes and of the whole
machine meanwhile, and what it ran on.
"""

import itertools
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import torch
from machine import busy

from i2i import build, config
from i2i.engine import agreement, estimate, speeding
from i2i.engine.ema import EMA
from i2i.engine.loop import Events, run_loop
from i2i.engine.processes import Processes, joined
from i2i.engine.runtime import Runtime
from i2i.engine.schedule import Schedule
from i2i.speed.graph import stepping
from i2i.speed.measure import Work

NEVER = 10**9


def quiet(processes: Processes) -> Events:
    """What a run does at every step, and nothing of what it does now and then; the scalars are read at the end."""
    loader = SimpleNamespace(found=[], report=lambda broken: None)
    return Events(
        log=lambda step, scalars, rate: None, sample=lambda step: None, evaluate=lambda step, end: False,
        save=lambda step: None, tick=lambda step: None, stopping=lambda: agreement.stopping(processes, loader, []),
        log_every=NEVER, sample_every=None, save_every=NEVER,
    )  # fmt: skip


def timed(settings: dict, processes: Processes, stack: ExitStack) -> dict:
    """The steps of this process; what it answers."""
    recipe = build.check(
        config.read(settings["recipe"], [*settings["overrides"], f"train.batch_size={settings['batch']}"])
    )
    train, share = recipe.train, processes.share_of(settings["batch"])
    runtime = Runtime(
        settings["device"], train.precision, train.clip_grad, recomputed=train.activation_checkpointing,
        processes=processes,
    )  # fmt: skip
    method = build.method(recipe, runtime)
    processes.copy_first_([t for net in method.nets.values() for t in net.state_dict().values()])
    if train.ema:
        runtime.ema = EMA({net: method.nets[net] for net in method.exports.values()}, train.ema)
    work = Work(method, recipe.data.crop_size, share, NEVER, train.compile, train.speed)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    said: list[str] = []
    speeding.settle(work, None, folder, processes, stack, said.append)
    batches = itertools.repeat(runtime.to_device(estimate.made_up(method, recipe, share)))
    rates = {name: [group["lr"] for group in one.param_groups] for name, one in method.optimizers.items()}
    advance = stepping(method, said.append)

    def steps(start: int, end: int) -> None:
        schedule, events = Schedule(end), quiet(processes)
        run_loop(method, batches, runtime, schedule, rates, train.seed, start, settings["batch"], events, advance)

    begin, end = settings["warm_up"], settings["warm_up"] + settings["steps"]
    steps(0, begin)
    processes.wait()
    cpu, machine, since = sum(os.times()[:2]), busy(), time.perf_counter()
    steps(begin, end)
    processes.wait()
    seconds, machine, cpu = time.perf_counter() - since, busy() - machine, sum(os.times()[:2]) - cpu
    return {
        "seconds": seconds, "pictures": settings["steps"] * method.batches_per_step * settings["batch"],
        "cpu": sum(processes.gather(cpu)), "machine": machine, "threads": torch.get_num_threads(),
        "processes": processes.count, "crop": recipe.data.crop_size, "precision": train.precision,
        "on": torch.cuda.get_device_name() if runtime.device.type == "cuda" else platform.machine(),
        "by": {"cuda": "nccl", "cpu": "gloo"}.get(runtime.device.type, ""), "torch": torch.__version__, "speed": said,
    }  # fmt: skip


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    with joined(settings["device"]) as processes, ExitStack() as stack:
        found = timed(settings, processes, stack)
        if processes.leads:
            Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
