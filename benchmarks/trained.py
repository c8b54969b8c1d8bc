"""What the benchmarks of trained models share: runs that are trained once, scores measured once, and tables."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np


def scored(
    run: Path,
    recipe: str,
    overrides: Sequence[str],
    protocol: str,
    settings: Sequence[str] = (),
    *,
    split: str = "test",
    results: Path,
    device: str = "cpu",
    steps: int | None = None,
) -> dict[str, Any]:
    """What a protocol measures of the last step of a run on a split.

    The run is trained to its end where it was not, and scored where it was not. Its entry is then added to
    results/<name of the run folder>.json, with the day, and taken from there ever after, without the run.

    Args:
        overrides: of the recipe, as in `i2i train`.
        settings: "key=value" of the protocol's arguments, and "data.path=FOLDER" where the data lie elsewhere.
        steps: the step that is meant, of a run that is scored at several; None: any, since it is scored at its end.
    """
    import i2i
    from i2i.config import override
    from i2i.infer.runs import read_recipe

    file = results / f"{run.name}.json"
    kept = json.loads(file.read_text()) if file.is_file() else []
    wanted = dict(override(text) for text in settings if not text.startswith("data."))

    def found(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        for entry in entries:
            same = entry["protocol"] == protocol and entry["split"] == split
            if same and wanted.items() <= entry["arguments"].items() and steps in (None, entry["checkpoint"]["step"]):
                return entry
        return None

    if (entry := found(kept)) is None:
        i2i.train(recipe, overrides, run=run, device=device)
        last = read_recipe(run).train.steps
        entries = i2i.evaluate(run, protocol, settings, device=device)
        entry = found([each for each in entries if each["checkpoint"]["step"] == last])
        if entry is None:
            raise SystemExit(f"{run} has no score of step {last:,} on {split} by {protocol}.")
        entry |= {"day": date.today().isoformat(), "recipe": recipe}
        results.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([*kept, entry], indent=1) + "\n")
    return entry["values"]


def at(values: dict[str, Any], path: str) -> float:
    """What stands at a path of keys, "fid.fid"; of a mean with its error the mean."""
    for key in path.split("."):
        values = values[key]
    return float(values["mean"] if isinstance(values, dict) else values)


def over_seeds(values: Sequence[dict[str, Any]], path: str, form: str = ".3g") -> str:
    """Mean over seeds +- deviation of one seed."""
    each = [at(value, path) for value in values]
    spread = f" +- {np.std(each, ddof=1):.2g}" if len(each) > 1 else ""
    return f"{np.mean(each):{form}}{spread}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
