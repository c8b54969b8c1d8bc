"""A run scored by its protocol while it trains: a line for each time, and which step was the best so far."""

import json
import math
from collections.abc import Callable
from pathlib import Path

from i2i.config import Recipe
from i2i.engine.lines import taken_up
from i2i.evaluation.evaluate import SCHEDULE, brief, entry_of, first_of, made
from i2i.evaluation.protocol import flat, scored
from i2i.evaluation.subject import Subject


class Scoring:
    """Scores a run at every `evaluate.every` steps and at its end, in its first process.

    Args:
        recipe: of the run; `evaluate` names the protocol, or none.
        path: the run folder.
        step: where the run goes on; lines after it are dropped.
        leads: whether this is the first process, which alone touches the file.
        say: takes each line for the user.
    """

    def __init__(self, recipe: Recipe, path: Path, step: int, leads: bool, say: Callable[[str], None]):
        asked = recipe.evaluate
        self.every = asked.every if asked.protocol is not None else None
        self.protocol = made(asked.protocol, asked.args) if self.every else None
        self.file, self.say = path / SCHEDULE, say
        self.best: tuple[int, float] | None = None  # step, score
        self.told = False  # in words, once, what the numbers are
        for line in taken_up(self.file, step) if leads else []:
            if line["best"]:
                self.best = line["step"], line["score"]

    def due(self, step: int, end: bool) -> bool:
        """Whether the run is scored after this step."""
        return bool(self.every) and (end or step % self.every == 0)

    def score(self, subject: Subject) -> dict[str, float]:
        """Scores one step, writes its line, and returns the numbers; `best` is this step if none was better."""
        split = first_of(self.protocol.chosen_on, subject.data)
        entry = entry_of(self.protocol, subject, split)
        values, score = flat(entry["values"]), scored(self.protocol, entry["values"])
        better = math.isfinite(score) and (self.best is None or self._above(score, self.best[1]))
        if better:
            self.best = subject.step, score
        line = {"step": subject.step, "protocol": entry["words"], "score": score, "best": better, **values}
        finite = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in line.items()}
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n")
        if not self.told:
            self.say(f"scored every {self.every:,} steps, {entry['words']}")
            self.told = True
        best = "the best so far" if better else f"best: step {self._best_step()}"
        self.say(f"step {subject.step:,}  {brief(entry)}  ({best})")
        return values

    def _above(self, score: float, other: float) -> bool:
        return score > other if self.protocol.higher_is_better else score < other

    def _best_step(self) -> str:
        return "none" if self.best is None else f"{self.best[0]:,} with {self.best[1]:.5g}"
