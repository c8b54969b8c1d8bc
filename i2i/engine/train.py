"""`i2i train`: a recipe becomes a run folder, or an unfinished run is continued."""

import os
import shlex
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from i2i import __version__, build, config
from i2i.config import Recipe
from i2i.engine import agreement, checkpoint, estimate, reading, samples, speeding
from i2i.engine.compiled import compile_nets
from i2i.engine.ema import EMA
from i2i.engine.liveness import Everywhere
from i2i.engine.loop import Events, run_loop
from i2i.engine.processes import Processes, joined
from i2i.engine.progress import bar, log_line
from i2i.engine.run import RunFolder, next_free
from i2i.engine.runtime import Runtime
from i2i.engine.schedule import Schedule
from i2i.engine.scoring import Scoring
from i2i.engine.signals import signals
from i2i.engine.summary import summary
from i2i.engine.watching import Watching
from i2i.evaluation.subject import Subject, twins
from i2i.infer.models import RUNS
from i2i.infer.runs import BEST
from i2i.speed import layout
from i2i.speed.graph import stepping
from i2i.speed.measure import Work


class Interrupted(Everywhere):
    """The run was asked to stop and has saved itself."""

    def __init__(self, path: Path, step: int, number: int):
        self.signal, self.status = number, 128 + number
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

    Under torchrun or `accelerate launch` all processes train together. Only process 0 says and writes anything; where
    this function fails, one of them raises what went wrong and the others SystemExit.

    Args:
        recipe: a file, or the name of a shipped recipe.
        overrides: "section.key=value", as on the command line.
        run: the run folder; runs/<recipe name> if None.
        fresh: starts anew in <run>-2 (-3, ...) where the folder exists.
        dry_run: shows the complete recipe, the networks and what the run will take, and writes nothing.
        device: auto | cuda | mps | cpu.
        say: takes each line for the user.

    Returns:
        The run folder, which `i2i.load` takes.

    Raises:
        UserError: a faulty recipe, unusable data, a folder of another recipe, a loss that is not finite.
        Interrupted: SIGINT or SIGTERM came; the step was finished and saved.
    """
    overrides = list(overrides)
    with joined(device) as processes, ExitStack() as stack:
        name, data, resolved = processes.alike(lambda: _read(recipe, overrides, processes))
        path = Path(os.path.expanduser(run)) if run is not None else RUNS / name
        path = Path(processes.from_first(str(next_free(path) if fresh and processes.leads else path)))
        said = say if processes.leads else lambda line: None
        if dry_run:
            estimate.dry_run(resolved, data, lambda: _runtime(device, resolved, processes), path, said)
            return path

        def again(count: int) -> str:
            """The command that continues this run in so many processes."""
            words = ["i2i", "train", str(recipe), *overrides, *(("--run", str(run)) if run is not None else ())]
            shown = shlex.join([*words, *(("--device", device) if device != "auto" else ())])
            return shown if count == 1 else f"torchrun --nproc_per_node {count} -m -- {shown}"

        def accept() -> None:
            agreement.check_count(processes, path, resolved.train.steps, again)

        folder = processes.alike(lambda: RunFolder(path, resolved, accept) if processes.leads else None)
        if folder is not None:
            stack.callback(folder.close)
        runtime = _runtime(device, resolved, processes)
        return Run(resolved, name, data, path, folder, runtime, said).to_the_end(stack)


def _runtime(device: str, recipe: Recipe, processes: Processes) -> Runtime:
    settings = recipe.train
    recomputed = settings.activation_checkpointing
    runtime = Runtime(device, settings.precision, settings.clip_grad, recomputed=recomputed, processes=processes)
    speeding.refuse(settings.speed, runtime.device)
    return runtime


def _read(recipe: str | Path, overrides: list[str], processes: Processes) -> tuple[str, Any, Recipe]:
    """(name, data, resolved recipe); every process reads its own, at the same time, and finds the same."""
    source = config.read(recipe, overrides)
    checked = build.check(source)
    processes.share_of(checked.train.batch_size)
    data = build.dataset(checked)
    return source.name, data, build.resolved(checked, data)


@dataclass
class Run:
    """One process's work on one run folder, which process 0 alone holds."""

    recipe: Recipe
    name: str
    data: Any
    path: Path
    folder: RunFolder | None
    runtime: Runtime
    say: Callable[[str], None]
    step: int = 0
    method: Any = field(init=False)
    schedule: Schedule = field(init=False)

    def __post_init__(self):
        settings = self.recipe.train
        self.processes = self.runtime.processes
        agreement.begin(self.processes, self.recipe, self.data)
        self.method = build.method(self.recipe, self.runtime)
        self.processes.copy_first_([t for net in self.method.nets.values() for t in net.state_dict().values()])
        shown = {net: self.method.nets[net] for net in self.method.exports.values()}
        self.runtime.ema = EMA(shown, settings.ema) if settings.ema else None
        self.schedule = Schedule(settings.steps, settings.decay_from, settings.warmup)
        self.rates = {
            group: [g["lr"] for g in optimizer.param_groups] for group, optimizer in self.method.optimizers.items()
        }
        self.pictures, self.compiled, self.speed = None, None, None
        self.received: list[int] = []  # signals

    @property
    def leads(self) -> bool:
        return self.folder is not None

    @property
    def draws(self) -> bool:
        """Whether what is trained makes pictures of noise, and not of pictures."""
        return self.method.generator_takes == "latents"

    def to_the_end(self, stack: ExitStack) -> Path:
        settings = self.recipe.train
        found = self.processes.alike(lambda: checkpoint.newest(self.path, self.say) if self.leads else None)
        found = self.processes.spread(found)
        if found is not None:
            self.take_up(*found)
        self.scoring = Scoring(self.recipe, self.path, self.step, self.leads, self.say)
        if self.leads:
            self.folder.trim_stats(self.step)
            if found is not None:
                self.keep_best()  # a kill may have come between the checkpoint and this
        if self.step >= settings.steps:
            if self.leads and not samples.weights_are_of(self.path, self.method, self.step):
                self.export()
            self.say(
                f"{self.path} is finished: {self.step:,} of {settings.steps:,} steps. "
                "A larger train.steps continues it, --fresh starts anew."
            )
            return self.path
        self.announce(continued=found is not None)
        self.hasten(stack)
        per_step = self.method.batches_per_step
        self.loader = reading.reader(self.recipe, self.data, self.runtime, self.step, per_step, self.say)
        stack.callback(self.loader.close)
        self.compile()
        self.watching = Watching(
            self.recipe, self.method, self.data, self.runtime, self.path, self.step, self.leads, self.say
        )
        stack.callback(self.watching.close)
        if self.step == 0 and self.leads:
            self.first_samples()
        self.received = stack.enter_context(signals(self.processes.several))
        tick = stack.enter_context(bar("training", settings.steps, self.step, hidden=not self.leads))
        events = Events(
            log=self.log, sample=self.sample, evaluate=self.evaluate, save=self.save,
            tick=lambda step: tick(step, settings.steps),
            stopping=lambda: agreement.stopping(self.processes, self.loader, self.received),
            log_every=settings.log_every, sample_every=settings.sample_every, save_every=settings.save_every,
        )  # fmt: skip
        last = run_loop(
            self.method, reading.batches(self.loader, self.watching.timed(self.loader), self.runtime.device),
            self.runtime, self.schedule, self.rates, settings.seed, self.step, settings.batch_size, events,
            stepping(self.method, self.say),
        )  # fmt: skip
        if last < settings.steps:
            raise Interrupted(self.path, last, self.received[0])
        self.say(
            f"finished: {self.path} ({', '.join(f'{name}.safetensors' for name in self.method.exports)}). "
            f"Next: {f'i2i generate {shlex.quote(str(self.path))}' if self.draws else 'i2i translate FOLDER'}"
        )
        return self.path

    def take_up(self, tensors: dict, meta: dict) -> None:
        """Continues from a checkpoint: every bit of the training state, the schedule and the thread count."""
        checkpoint.restore(tensors, self.method, self.runtime.ema, self.runtime.device, self.processes.rank)
        self.step, self.compiled = meta["step"], meta.get("compiled")
        self.speed = meta.get("speed", {"device": meta["device"], "picked": {}})  # earlier versions knew the plain way
        self.tell_what_is_saved()
        self.schedule = Schedule.from_state(meta["schedule"]).stretched(self.step, self.recipe.train.steps)
        if meta["threads"] != torch.get_num_threads():
            torch.set_num_threads(meta["threads"])  # sums are split over threads: another count, other bits
        if meta["device"] != self.runtime.device.type:
            self.say(
                f"this run was on {meta['device']} and goes on on {self.runtime.device.type}: "
                "it ends near, not bit for bit, where it would have."
            )

    def hasten(self, stack: ExitStack) -> None:
        """As train.speed says; see `speeding`."""
        settings, crop = self.recipe.train, self.recipe.data.crop_size
        share = self.processes.share_of(settings.batch_size)
        work = Work(self.method, crop, share, settings.steps - self.step, settings.compile, settings.speed)
        if settings.channels_last:
            layout.force(work)
        self.speed = speeding.settle(work, self.speed, self.path, self.processes, stack, self.say)

    def compile(self) -> None:
        """As the recipe says; a run that went without it, where it failed, goes on without it."""
        if self.recipe.train.compile and self.compiled is False:
            self.say("train.compile: this run has gone on uncompiled so far, and stays so")
        elif self.recipe.train.compile:
            before, share = self.compiled, self.processes.share_of(self.recipe.train.batch_size)
            self.compiled = compile_nets(self.method, self.recipe.data.crop_size, share, self.say)
            if before and not self.compiled:
                self.say("this run was compiled before: it ends near, not bit for bit, where it would have.")

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
        agreement.announce(self.processes, self.method, settings.batch_size, self.say)
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
        items = [self.data.item(0, index)[0] for index in range(min(len(self.preview_rows()), len(self.data)))]
        domains = self.data.domains
        shown = {
            key: [samples.Seen(domains[key].to_pixels(item[key]), domains[key]) for item in items]
            for key in self.data.keys
        }
        samples.sheet(shown, self.path / "samples" / "000000_real.png")
        self.sample(0)

    def log(self, step: int, scalars: dict[str, float], rate: float) -> None:
        if not self.leads:
            return
        images = step * self.method.batches_per_step * self.recipe.train.batch_size
        self.folder.log({"step": step, "images": images, **scalars, "images/s": round(rate, 3)})
        self.say(log_line(step, self.recipe.train.steps, scalars, rate))
        self.watching.log(step, scalars, rate)

    def preview_rows(self) -> list[dict]:
        """Held-out pictures that sample grids are drawn of, or beside."""
        return self.data.previews(self.method.previews)

    def sample(self, step: int) -> None:
        if not self.leads:
            return
        if self.pictures is None:
            self.pictures = {key: [row[key] for row in self.preview_rows()] for key in self.data.keys}
        path = self.path / "samples" / f"{step:06d}.png"
        files, domains = self.files(step), self.data.domains
        drawn = samples.draw(path, self.method, files, self.pictures, domains, self.runtime.device)
        self.watching.sample(step, path, drawn, self.pictures)

    def evaluate(self, step: int, end: bool) -> bool:
        """Scores this step where it is due; whether it is the best so far, which must be saved."""
        if not self.scoring.due(step, end):
            return False
        self.runtime.check_finite(self.method)
        self.processes.alike(lambda: self.score(step) if self.leads else None)
        return self.processes.from_first(self.scoring.best is not None and self.scoring.best[0] == step)

    def score(self, step: int) -> None:
        def nets():  # copies: a protocol may do with them as it likes
            return twins(self.recipe, {name: net.state_dict() for name, net in self.method.nets.items()})

        where, files = self.runtime.device, self.files(step)
        subject = Subject(self.recipe, self.data, files, nets, self.path, device=where, say=self.say)
        self.watching.evaluated(step, self.scoring.score(subject))

    def save(self, step: int) -> None:
        self.step = step
        agreement.check_replicas(self.processes, self.method, self.runtime.ema, step)
        others = self.processes.collect(self.method.state())
        if self.leads:
            self.write(others)
        self.processes.wait()  # only then it counts, for everybody
        self.tell_what_is_saved()

    def write(self, others: dict) -> None:
        """Weights and checkpoint of this step; `others` is what the other processes keep for themselves."""
        self.export()
        meta = {
            "version": __version__,
            "step": self.step,
            "processes": self.processes.count,
            "recipe": self.recipe.model_dump(),
            "schedule": self.schedule.state(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": self.runtime.device.type,
            "compiled": self.compiled,
            "speed": self.speed,
        }
        best = self.scoring.best[0] if self.scoring.best else None
        checkpoint.save(self.path, self.method, self.runtime.ema, meta, self.recipe.train.keep, others, best)
        self.keep_best()

    def keep_best(self) -> None:
        """Where this step is the best so far: its weights for users, in a folder beside the last ones."""
        if self.scoring.best and self.scoring.best[0] == self.step:
            (self.path / BEST).mkdir(exist_ok=True)
            samples.write_weights(self.path / BEST, self.files(self.step))

    def export(self) -> None:
        samples.write_weights(self.path, self.files(self.step))

    def files(self, step: int) -> dict:
        metas = build.weights_meta(self.recipe, self.name, self.method, self.data)
        return samples.exported(
            self.method, self.runtime.ema, {name: {**meta, "step": step} for name, meta in metas.items()}
        )

    def tell_what_is_saved(self) -> None:
        self.processes.saved(
            f"The run is saved in {self.path} up to step {self.step:,}; the same command continues it."
        )
