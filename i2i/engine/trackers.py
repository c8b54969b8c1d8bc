"""TensorBoard and the other trackers of Accelerate: readers of a run that can neither change it nor stop it.

Whatever a tracker raises, when it starts, while it is written to or when it is closed, costs one sentence, and it is
off from then on. (One that hangs, hangs the run: nothing here watches it.) What belongs to a run is in stats.jsonl and
samples/ in any case.
"""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from i2i.build.check import TRACKERS
from i2i.config import Recipe

FOLDER = "tensorboard"
ONE_PICTURE = ("aim", "clearml")  # their `log_images` takes a picture where the others take a row of them


class Tracker:
    """One tracker, or none.

    Args:
        name: as Accelerate calls it; None for none.
        start: makes Accelerate's tracker object, started.
        say: takes the one sentence on what went wrong.
    """

    def __init__(self, name: str | None, start: Callable[[], Any], say: Callable[[str], None]):
        self.name, self.say, self._inner = name, say, None
        if name is None:
            return
        if not installed(name):
            self.say(
                f"train.tracker: {name} is not installed, so the run goes on without it. To have it: "
                f"pip install {TRACKERS[name]}. To do without: train.tracker=null."
            )
            return
        self._inner = self._try("starting", start)

    def recipe(self, recipe: Recipe) -> None:
        """The complete recipe: a text for TensorBoard, a table of settings elsewhere."""
        if self.name == "tensorboard":
            text = "".join(f"    {line}\n" for line in recipe.dump().splitlines())  # indented: as it is, in Markdown
            self._call("taking the recipe", lambda inner: inner.log({"recipe": text}, step=0))
        else:
            self._call("taking the recipe", lambda inner: inner.store_init_configuration(flat(recipe.model_dump())))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars by name."""
        self._call(f"at step {step}", lambda inner: inner.log(dict(values), step=step))

    def picture(self, step: int, path: Path) -> None:
        """A sample grid that was written; trackers that take no pictures go without."""

        def send(inner):
            if hasattr(inner, "log_images"):
                from i2i.data.pictures import read

                pixels = read(path).pixels
                shown = pixels if self.name in ONE_PICTURE else pixels[None]
                layout = {"dataformats": "NHWC"} if self.name == "tensorboard" else {}
                inner.log_images({"samples": shown}, step=step, **layout)

        self._call(f"at step {step}", send)

    def close(self) -> None:
        """Lets it write what it still holds."""
        self._call("closing", lambda inner: inner.finish())
        self._inner = None

    def _call(self, when: str, use: Callable[[Any], None]) -> None:
        if self._inner is not None:
            self._try(when, lambda: use(self._inner))

    def _try(self, when: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except (Exception, SystemExit) as error:  # some end the program where a key is missing
            self._inner = None
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self.say(
                f"train.tracker: {self.name} failed {when} ({why}) and is off from here on; the run goes on, and "
                "stats.jsonl and samples/ hold everything. The same command with train.tracker=null does without."
            )
            return None


def tracker(name: str | None, runtime, path: Path, step: int, recipe: Recipe, say: Callable[[str], None]) -> Tracker:
    """The tracker of a run in the folder `path`, which goes on after `step`.

    TensorBoard's files go to <path>/tensorboard; what they hold of later steps, from a run that was killed, is
    superseded. Others get the folder's name as their project, and a new entry in it for each start.
    """

    def start():
        if name == "tensorboard":
            return runtime.tracker(name, FOLDER, path, purge_step=step + 1)
        return runtime.tracker(name, path.resolve().name, path)

    made = Tracker(name, start, say)
    made.recipe(recipe)
    return made


def installed(name: str) -> bool:
    """Whether the package of a tracker is there; nothing is imported."""
    return importlib.util.find_spec(name) is not None


def flat(node: Mapping, where: str = "") -> dict[str, Any]:
    """{"train.steps": 100}: what trackers take; lists become text."""
    found = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{where}{key}.")
        else:
            found[f"{where}{key}"] = str(value) if isinstance(value, list) else value
    return found
