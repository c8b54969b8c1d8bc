"""The training loop. It knows no method by name."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from torch import Tensor

from i2i.engine.schedule import Schedule
from i2i.seeds import derive


def set_rate(place: dict, rate: float) -> None:
    """The learning rate of an optimizer's group, a number or a tensor on its device."""
    if isinstance(place["lr"], Tensor):
        place["lr"].fill_(rate)
    else:
        place["lr"] = rate


def step_seed(seed: int, step: int, rank: int) -> int:
    """What dropout, augmentation and pool of a step draw from: each process of several by itself, 0 as one alone."""
    return derive(seed, "step", step, *(("rank", rank) if rank else ()))


@dataclass
class Events:
    """What the loop calls, and how often. `log` gets (step, scalars, images per second)."""

    log: Callable[[int, dict[str, float], float], None]
    sample: Callable[[int], None]
    evaluate: Callable[[int, bool], bool]  # (step, whether it is the last) -> whether it must be saved
    save: Callable[[int], None]
    tick: Callable[[int], None]
    stopping: Callable[[], bool]
    log_every: int
    sample_every: int | None
    save_every: int


def run_loop(
    method,
    batches,
    runtime,
    schedule: Schedule,
    rates: dict[str, list[float]],
    seed: int,
    start: int,
    batch_size: int,
    events: Events,
    advance: Callable | None = None,
) -> int:
    """Trains from step `start` to `schedule.steps`, or until `events.stopping()`; returns the last step done.

        for step in start ... steps:
            set the rate and the random seed            both functions of the step (and process) alone
            scalars = method.step(k batches)            the whole algorithm
            every log_every:     read scalars, log      the only place that waits for the device
            every sample_every:  draw samples
            evaluate            when it is due; a step that is the best so far is saved
            every save_every, at the end, at a signal:  check that all is finite, save

    A save comes after the samples and weights of its step: it is what makes them count. Of several processes all do
    the same steps and call the same events; the scalars they log are averages.

    Args:
        batch_size: pictures of a batch, of all processes together.
        advance: in place of `method.step`, what does the same (see `i2i.speed.graph`).
    """
    step, images, since, stop = start, 0, time.perf_counter(), False
    steps, k, advance = schedule.steps, method.batches_per_step, advance or method.step
    while step < steps and not stop:
        factor = schedule.factor(step)
        for group, optimizer in method.optimizers.items():
            for place, base in zip(optimizer.param_groups, rates[group], strict=True):
                set_rate(place, base * factor)
        runtime.reseed(step_seed(seed, step, runtime.processes.rank))
        runtime.step = step + 1
        scalars = advance(map(runtime.to_device, islice(batches, k)))
        runtime.settle(method)
        step += 1
        images += k * batch_size
        events.tick(step)

        stop = events.stopping()  # asked once a step: a signal between two questions would be lost
        end = step == steps
        if step % events.log_every == 0 or end or stop:
            values = runtime.processes.mean({name: float(value) for name, value in scalars.items()})
            runtime.check_finite(method)
            now = time.perf_counter()
            events.log(step, values, images / (now - since))
            images, since = 0, now
        pause = time.perf_counter()
        if end or (events.sample_every and step % events.sample_every == 0):
            runtime.check_finite(method)
            events.sample(step)
        best = events.evaluate(step, end)
        if end or stop or best or step % events.save_every == 0:
            runtime.check_finite(method)
            events.save(step)
        since += time.perf_counter() - pause  # images a second are those of training
    return step
