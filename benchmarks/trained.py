"""What the benchmarks of trained models share: runs that are trained once, scores measured once, and tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def run_of(path: Path, recipe: str, overrides: Sequence[str]) -> Path:
    """The run folder, trained to its end; one that was stopped goes on, one that is done is left as it is."""
    import i2i

    return i2i.train(recipe, overrides, run=path, device="cpu")


def values_of(run: Path, protocol: str, settings: Sequence[str] = (), split: str = "test") -> dict[str, Any]:
    """What a protocol measured of the run's last step on a split, now or before with the same arguments.

    Args:
        settings: "key=value" of the protocol's arguments, and "data.path=FOLDER" where the data lie elsewhere.
    """
    import i2i
    from i2i.config import override
    from i2i.infer.runs import read_recipe

    steps = read_recipe(run).train.steps
    wanted = dict(override(text) for text in settings if not text.startswith("data."))

    def kept() -> dict[str, Any] | None:
        file = run / "evaluation.json"
        for entry in json.loads(file.read_text())["evaluations"] if file.is_file() else []:
            same = entry["protocol"] == protocol and entry["split"] == split and entry["checkpoint"]["step"] == steps
            if same and wanted.items() <= entry["arguments"].items():
                return entry["values"]
        return None

    if (values := kept()) is None:
        i2i.evaluate(run, protocol, settings, device="cpu")
        values = kept()
    if values is None:
        raise SystemExit(f"{run} has no score of step {steps:,} on {split} by {protocol}.")
    return values


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
