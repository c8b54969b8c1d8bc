"""Who looks on while a run trains: a tracker and the alarms. They read; nothing of the run depends on them."""

from collections.abc import Callable, Iterator
from pathlib import Path

from i2i.config import Recipe
from i2i.engine.alarms import Alarms
from i2i.engine.trackers import tracker


class Watching:
    """The tracker and the alarms of one run, of its first process; the others have neither.

    Args:
        recipe: of the run; `train.tracker` and `train.alarms` say who looks on.
        method, data, runtime: what is looked at.
        path: the run folder.
        step: where the run goes on.
        leads: whether this is the first process.
        say: takes sentences for the user.
    """

    def __init__(
        self, recipe: Recipe, method, data, runtime, path: Path, step: int, leads: bool, say: Callable[[str], None]
    ):
        settings = recipe.train
        per_step = settings.batch_size * method.batches_per_step
        self.tracker = tracker(settings.tracker if leads else None, runtime, path, step, recipe, say)
        self.alarms = Alarms(method, data, path, step, per_step, say) if leads and settings.alarms else None

    def timed(self, batches: Iterator) -> Iterator:
        """The same batches."""
        return self.alarms.timed(batches) if self.alarms else batches

    def log(self, step: int, scalars: dict[str, float], rate: float) -> None:
        """Takes what the loop logs."""
        self.tracker.log(step, {**scalars, "images/s": rate})
        if self.alarms:
            self.alarms.log(step, scalars)

    def sample(self, step: int, path: Path, drawn: dict[str, list], pictures: dict[str, list]) -> None:
        """Takes a sample grid, and the pictures it was made of (see `Alarms.sample`)."""
        self.tracker.picture(step, path)
        if self.alarms:
            self.alarms.sample(step, drawn, pictures)

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        """Takes what a protocol measured."""
        self.tracker.log(step, {f"evaluate/{name}": value for name, value in values.items()})

    def close(self) -> None:
        """Ends the tracker."""
        self.tracker.close()
