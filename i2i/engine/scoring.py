"""A run scored by its protocol while it trains: a line for each time, and which step was the best so far."""

import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from i2i import atomic
from i2i.config import Recipe
from i2i.evaluation.evaluate import SCHEDULE, brief, entry_of, first_of, made
from i2i.evaluation.protocol import flat, scored
from i2i.evaluation.subject import Subject


class Scoring:
    """Scores a run at every `evaluate.every` steps and at its end, in its first process.

    Args:
        recipe: of the run; `evaluate` names the protocol, or none.
        path: the run folder.
        step: where the run goes on; lines after it are dropped.
        say: takes each line for the user.
    """

    def __init__(self, recipe: Recipe, path: Path, step: int, say: Callable[[str], None]):
        asked = recipe.evaluate
        self.every = asked.every if asked.protocol is not None else None
        self.protocol = made(asked.protocol, asked.args) if self.every else None
        self.file, self.say = path / SCHEDULE, say
        self.best: tuple[int, float] | None = None  # step, score
        self.entry: dict[str, Any] | None = None  # what was measured last
        self.told = False  # in words, once, what the numbers are
        for line in _taken_up(self.file, step):
            if line["best"]:
                self.best = line["step"], line["score"]

    def due(self, step: int, end: bool) -> bool:
        """Whether the run is scored after this step."""
        return bool(self.every) and (end or step % self.every == 0)

    def score(self, subject: Subject) -> dict[str, float]:
        """Scores one step, writes its line, and returns the numbers; `best` is this step if none was better."""
        split = first_of(self.protocol.chosen_on, subject.data)
        self.entry = entry_of(self.protocol, subject, split)
        values, score = flat(self.entry["values"]), scored(self.protocol, self.entry["values"])
        better = math.isfinite(score) and (self.best is None or self._above(score, self.best[1]))
        if better:
            self.best = subject.step, score
        line = {"step": subject.step, "protocol": self.entry["words"], "score": score, "best": better, **values}
        finite = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in line.items()}
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n")
        if not self.told:
            self.say(f"scored every {self.every:,} steps, {self.entry['words']}")
            self.told = True
        best = "the best so far" if better else f"best: step {self._best_step()}"
        self.say(f"step {subject.step:,}  {brief(self.entry)}  ({best})")
        return values

    def _above(self, score: float, other: float) -> bool:
        return score > other if self.protocol.higher_is_better else score < other

    def _best_step(self) -> str:
        return "none" if self.best is None else f"{self.best[0]:,} with {self.best[1]:.5g}"


def _taken_up(file: Path, step: int) -> list[dict[str, Any]]:
    """The lines up to `step`; later ones, and one that a kill left half written, are dropped."""
    if not file.exists():
        return []
    kept = []
    for text in file.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError, KeyError, TypeError):
            line = json.loads(text)
            if line["step"] <= step:
                kept.append(line)
    atomic.write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
    return kept
