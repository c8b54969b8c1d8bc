"""The run folder: who may write to it, which recipe it belongs to, and its log."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from i2i import atomic
from i2i.config import Recipe
from i2i.engine.lines import taken_up
from i2i.errors import UserError
from i2i.infer.runs import BEST, CHECKPOINTS, read_recipe

# what may differ when a run is continued: where the data lie, how often things are written, and how fast it goes (of
# which a run keeps what it began with, see `speeding`)
FREE = {
    "data.path",
    "data.workers",
    "data.cache",
    "train.speed",
    "train.log_every",
    "train.sample_every",
    "train.save_every",
    "train.keep",
    "train.tracker",
    "train.alarms",
    "evaluate.every",
}


class RunFolder:
    """`runs/<name>/`, held by one process at a time.

    Args:
        path: the folder; made if missing.
        recipe: as resolved; an older recipe found there must be the same, but for `FREE` and a larger train.steps.
        accept: called before anything is changed in a folder that has such a recipe; may refuse it by a UserError.

    Raises:
        UserError: another recipe's folder, somebody else's files, or a second process at work in it.
    """

    def __init__(self, path: Path, recipe: Recipe, accept: Callable[[], None] = lambda: None):
        self.path = path
        before = read_recipe(path)
        if before is not None:
            _refuse_other(path, before, recipe)
            accept()
        elif path.is_dir() and any(entry.name != ".lock" for entry in path.iterdir()):
            raise UserError(
                f"{path} holds files but no recipe.yaml: it is not a run folder. Choose another place with --run DIR."
            )
        self._lock = _lock(path)
        (path / "samples").mkdir(exist_ok=True)
        for folder in (path, path / "samples", path / CHECKPOINTS, path / BEST):
            if folder.is_dir():
                atomic.sweep(folder)
        atomic.write_text(path / "recipe.yaml", recipe.dump())

    def trim_stats(self, step: int) -> None:
        """Drops the log's lines after `step`, and a line that a kill left half written."""
        taken_up(self.path / "stats.jsonl", step)

    def log(self, line: Mapping) -> None:
        """Appends one line of strict JSON to stats.jsonl."""
        with open(self.path / "stats.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def close(self) -> None:
        """Lets go of the folder."""
        os.close(self._lock)


def next_free(path: Path) -> Path:
    """`name`, or `name-2`, `name-3` ... : the first that does not exist."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def differences(before: Recipe, now: Recipe) -> list[str]:
    """The keys in which a recipe may not differ from its run's, each with both values."""
    old, new = _flat(before.model_dump()), _flat(now.model_dump())
    lines = []
    for key in [*old, *(key for key in new if key not in old)]:
        was, wants = old.get(key), new.get(key)  # a key of later versions is null in an older run
        larger = key == "train.steps" and wants > was
        if was != wants and key not in FREE and not larger:
            rule = "; only a larger number can continue it" if key == "train.steps" else ""
            lines.append(f"  {key}: {_shown(was)} in the run, {_shown(wants)} now{rule}")
    return lines


def _refuse_other(path: Path, before: Recipe, now: Recipe) -> None:
    lines = differences(before, now)
    if lines:
        raise UserError(
            "\n".join(
                [f"{path} belongs to another recipe:", *lines, "Start anew with --fresh, or elsewhere with --run DIR."]
            )
        )


def _shown(value) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _flat(node: Mapping, where: str = "") -> dict:
    flat = {}
    for key, value in node.items():
        flat |= _flat(value, f"{where}{key}.") if isinstance(value, Mapping) else {f"{where}{key}": value}
    return flat


def _lock(path: Path) -> int:
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # no such lock on this system: the folder is then guarded by its user's care alone
        pass
    except BlockingIOError:
        os.close(handle)
        raise UserError(
            f"another process is training in {path}. Wait for it, stop it, or choose another place with --run DIR."
        ) from None
    except OSError:  # some network mounts have no locks
        pass
    return handle
