"""`i2i train`: a recipe becomes a run folder, or an unfinished run is continued."""

import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from i2i import __version__, build, config
from i2i.config import Recipe
from i2i.data.stream import Loader
from i2i.engine import checkpoint, samples
from i2i.engine.ema import EMA
from i2i.engine.loop import Events, run_loop
from i2i.engine.progress import bar, log_line
from i2i.engine.run import RunFolder, next_free
from i2i.engine.runtime import Runtime
from i2i.engine.schedule import Schedule
from i2i.engine.summary import summary
from i2i.errors import UserError
from i2i.infer.models import RUNS

PREVIEWS = 4


class Interrupted(UserError):
    """The run was asked to stop and has saved itself."""

    def __init__(self, path: Path, step: int, number: int):
        self.signal = number
        super().__init__(
            f"stopped at step {step:,} by {signal.Signals(number).name} and saved in {path}; "
            "the same command continues it."
        )


def train(
    recipe: str | Path,
    overrides: Iterable[str] = (),
    *,
    run: str | Path | None = None,
    fresh: bool = False,
    dry_run: bool = False,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> Path:
    """Trains a recipe; continues where the run folder says that it stopped.

    Args:
        recipe: a file, or the name of a shipped recipe.
        overrides: "section.key=value", as on the command line.
        run: the run folder; runs/<recipe name> if None.
        fresh: starts anew in <run>-2 (-3, ...) where the folder exists.
        dry_run: shows the complete recipe and the networks, and writes nothing.
        device: auto | cuda | mps | cpu.
        say: takes each line for the user.

    Returns:
        The run folder, which `i2i.load` takes.

    Raises:
        UserError: a faulty recipe, unusable data, a folder of another recipe, a loss that is not finite.
        Interrupted: SIGINT or SIGTERM came; the step was finished and saved.
    """
    source = config.read(recipe, overrides)
    checked = build.check(source)
    data = build.dataset(checked)
    resolved = build.resolved(checked, data)
    path = Path(run) if run is not None else RUNS / source.name
    path = next_free(path) if fresh else path
    if dry_run:
        runtime = Runtime(device, resolved.train.precision, resolved.train.clip_grad)
        say(resolved.dump())
        say(summary(build.method(resolved, runtime), resolved.data.crop_size, resolved.train.batch_size))
        return path
    with ExitStack() as stack:
        folder = RunFolder(path, resolved)
        stack.callback(folder.close)
        runtime = Runtime(device, resolved.train.precision, resolved.train.clip_grad)
        return Run(resolved, source.name, data, folder, runtime, say).to_the_end(stack)


@dataclass
class Run:
    """One process's work on one run folder."""

    recipe: Recipe
    name: str
    data: Any
    folder: RunFolder
    runtime: Runtime
    say: Callable[[str], None]
    step: int = 0
    method: Any = field(init=False)
    schedule: Schedule = field(init=False)

    def __post_init__(self):
        settings = self.recipe.train
        self.method = build.method(self.recipe, self.runtime)
        shown = {net: self.method.nets[net] for net in self.method.exports.values()}
        self.runtime.ema = EMA(shown, settings.ema) if settings.ema else None
        self.schedule = Schedule(settings.steps, settings.decay_from, settings.warmup)
        self.rates = {
            group: [g["lr"] for g in optimizer.param_groups] for group, optimizer in self.method.optimizers.items()
        }
        self.pictures = None

    @property
    def path(self) -> Path:
        return self.folder.path

    def to_the_end(self, stack: ExitStack) -> Path:
        settings = self.recipe.train
        found = checkpoint.newest(self.path, self.say)
        if found is not None:
            self.take_up(*found)
        self.folder.trim_stats(self.step)
        if self.step >= settings.steps:
            if not samples.weights_are_of(self.path, self.method, self.step):
                self.export()
            self.say(
                f"{self.path} is finished: {self.step:,} of {settings.steps:,} steps. "
                "A larger train.steps continues it, --fresh starts anew."
            )
            return self.path
        self.announce(continued=found is not None)
        loader = Loader(
            self.data, batch_size=settings.batch_size, seed=settings.seed,
            start_batch=self.step * self.method.batches_per_step,
            workers=self.workers(), pin_memory=self.runtime.device.type == "cuda", say=self.say,
        )  # fmt: skip
        stack.callback(loader.close)
        if self.step == 0:
            self.first_samples()
        received = stack.enter_context(signals())
        tick = stack.enter_context(bar("training", settings.steps, self.step))
        events = Events(
            log=self.log, sample=self.sample, save=self.save, tick=lambda step: tick(step, settings.steps),
            stopping=lambda: bool(received), log_every=settings.log_every, sample_every=settings.sample_every,
            save_every=settings.save_every,
        )  # fmt: skip
        last = run_loop(
            self.method,
            loader,
            self.runtime,
            self.schedule,
            self.rates,
            settings.seed,
            self.step,
            settings.batch_size,
            events,
        )
        if last < settings.steps:
            raise Interrupted(self.path, last, received[0])
        self.say(
            f"finished: {self.path} ({', '.join(f'{name}.safetensors' for name in self.method.exports)}). "
            "Next: i2i translate FOLDER"
        )
        return self.path

    def workers(self) -> int:
        """More readers than cores only get into each other's way; their number changes no picture."""
        wanted, cores = self.recipe.data.workers, os.cpu_count() or 1
        if wanted > cores:
            self.say(f"data.workers is {wanted} and this machine has {cores} cores: {cores} are used")
        return min(wanted, cores)

    def take_up(self, tensors: dict, meta: dict) -> None:
        """Continues from a checkpoint: every bit of the training state, the schedule and the thread count."""
        checkpoint.restore(tensors, self.method, self.runtime.ema, self.runtime.device)
        self.step = meta["step"]
        self.schedule = Schedule.from_state(meta["schedule"]).stretched(self.step, self.recipe.train.steps)
        if meta["threads"] != torch.get_num_threads():
            torch.set_num_threads(meta["threads"])  # sums are split over threads: another count, other bits
        if meta["device"] != self.runtime.device.type:
            self.say(
                f"this run was on {meta['device']} and goes on on {self.runtime.device.type}: "
                "it ends near, not bit for bit, where it would have."
            )

    def announce(self, continued: bool) -> None:
        settings = self.recipe.train
        if continued:
            self.say(f"continuing {self.path} at step {self.step:,} of {settings.steps:,}")
        else:
            self.say(self.recipe.dump())
            self.say(summary(self.method, self.recipe.data.crop_size, settings.batch_size))
            self.say(
                f"{self.path}: {len(self.data):,} training items, {settings.steps:,} steps "
                f"on {self.runtime.device.type}"
            )
        if self.schedule.constant:
            self.say("the learning rate is constant: train.decay_from is null or not before train.steps")
        if self.schedule.anchor:
            self.say(
                f"the decay that is left is stretched: from {self.schedule.anchor[1]:.3g} of the rate "
                f"to 0 at step {settings.steps:,}"
            )
        if self.recipe.translate.dropout and not self.recipe.generator.args.get("dropout"):
            self.say("translate.dropout is true, but the generator has no dropout: its outputs carry no noise")

    def first_samples(self) -> None:
        """The training pictures as the networks get them, and what the untrained generator makes."""
        items = [self.data.item(0, index)[0] for index in range(min(PREVIEWS, len(self.data)))]
        shown = {key: [self.data.domains[key].to_pixels(item[key]) for item in items] for key in self.data.keys}
        samples.grid(shown, self.path / "samples" / "000000_real.png")
        self.sample(0)

    def log(self, step: int, scalars: dict[str, float], rate: float) -> None:
        images = step * self.method.batches_per_step * self.recipe.train.batch_size
        self.folder.log({"step": step, "images": images, **scalars, "images/s": round(rate, 3)})
        self.say(log_line(step, self.recipe.train.steps, scalars, rate))

    def sample(self, step: int) -> None:
        if self.pictures is None:
            rows = self.data.previews(PREVIEWS)
            self.pictures = {key: [row[key] for row in rows] for key in self.data.keys}
        samples.draw(
            self.path / "samples" / f"{step:06d}.png", self.method, self.files(step), self.pictures, self.runtime.device
        )

    def save(self, step: int) -> None:
        self.step = step
        self.export()
        meta = {
            "version": __version__,
            "step": step,
            "recipe": self.recipe.model_dump(),
            "schedule": self.schedule.state(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": self.runtime.device.type,
        }
        checkpoint.save(self.path, self.method, self.runtime.ema, meta, self.recipe.train.keep)

    def export(self) -> None:
        samples.write_weights(self.path, self.files(self.step))

    def files(self, step: int) -> dict:
        metas = build.weights_meta(self.recipe, self.name, self.method, self.data)
        return samples.exported(
            self.method, self.runtime.ema, {name: {**meta, "step": step} for name, meta in metas.items()}
        )


@contextmanager
def signals():
    """Yields a list that SIGINT and SIGTERM append their number to; a second one acts as it would have without us."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def receive(number, frame):
        received.append(number)
        for known, handler in before.items():
            signal.signal(known, handler)

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
