"""What a person sees while something long runs: a bar with rate and time left on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """Units per second."""

    def render(self, task):
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each", style="progress.data.speed")


def _progress(title: str) -> Progress:
    return Progress(
        TextColumn(title),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("·"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        speed_estimate_period=60,
    )


@contextmanager
def bar(
    title: str, total: int | None = None, done: int = 0, *, hidden: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """Yields `advance(done, total)`; draws nothing where stderr is no terminal, or `hidden`."""
    if hidden or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with _progress(title) as progress:
        task = progress.add_task(title, total=total, completed=done)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def log_line(step: int, steps: int, scalars: dict[str, float], rate: float) -> str:
    """One line of the training log, for people."""
    losses = "  ".join(f"{name.rpartition('/')[2]} {value:.3f}" for name, value in scalars.items())
    return f"step {step:,}/{steps:,}  {losses}  {rate:.2f} images/s"
