"""What every protocol has in common."""

import math
from typing import Any, ClassVar

from i2i.config import Recipe
from i2i.evaluation.subject import Subject


class Protocol:
    """A named way to score a model: which pictures, how many, which settings. Its keyword-only arguments are the
    recipe's (`evaluate: {protocol: NAME, ...}`) and the command line's (`i2i evaluate RUN --protocol NAME key=value`).

    A subclass declares the attributes, says in `refuses` which runs it cannot score, in `words` exactly what its
    numbers are, and measures.
    """

    score: ClassVar[str]  # the value by which checkpoints are compared, a path of keys: "log_likelihood.mean"
    higher_is_better: ClassVar[bool]
    shows: ClassVar[tuple[str, ...]]  # paths of the values that a person is shown; all stand in evaluation.json
    splits: ClassVar[tuple[str, ...]] = ("test", "val", "train")  # the first that the data have is reported on
    chosen_on: ClassVar[tuple[str, ...]] = ("val", "test", "train")  # the first of these, while training

    @staticmethod
    def refuses(recipe: Recipe) -> str | None:
        """Why runs of this recipe cannot be scored, as the end of a sentence; None where they can."""
        raise NotImplementedError

    def words(self, subject: Subject, split: str) -> str:
        """All that the numbers depend on, in one line, as it stands beside them in evaluation.json."""
        raise NotImplementedError

    def measure(self, subject: Subject, split: str) -> dict[str, Any]:
        """The numbers, strict JSON; dicts within are metrics with their own settings."""
        raise NotImplementedError


def at(values: Any, path: str) -> Any:
    """What stands in nested dicts at a path of keys, "log_likelihood.mean"; None where there is no such key."""
    for key in path.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def scored(protocol: Protocol, values: dict[str, Any]) -> float:
    """The value of `protocol.score` in what it measured; NaN where that has no value."""
    value = at(values, protocol.score)
    return math.nan if value is None else float(value)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """{path of keys: number} of what a protocol measured, for a log."""
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = float(value)
    return found
