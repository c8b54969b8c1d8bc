"""The learning rate as a function of the step: warm-up, constant, linear decay to 0 at `steps`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A factor on every learning rate.

    Args:
        steps: length of the training; the factor reaches 0 there, one step after the last update.
        decay_from: the step from which it falls linearly; None, or at least `steps`, keeps it constant.
        warmup: the first so many updates rise linearly to 1.
        anchor: (step, factor) from which the decay runs instead, after a continuation with a larger `steps`.
    """

    steps: int
    decay_from: int | None = None
    warmup: int = 0
    anchor: tuple[int, float] | None = None

    @property
    def constant(self) -> bool:
        return self.decay_from is None or self.decay_from >= self.steps

    def factor(self, step: int) -> float:
        """The factor of the update number `step`, counted from 0."""
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.constant:
            return rising
        start, top = self.anchor or (self.decay_from, 1.0)
        return rising * top * (1.0 - max(0, step - start) / (self.steps - start))

    def stretched(self, done: int, steps: int) -> "Schedule":
        """The schedule of a run that is continued after `done` updates to a larger `steps`.

        What is left of the decay is stretched: from the factor of the last update made, straight to 0 at the new end.
        """
        last = done - 1
        if self.constant or steps == self.steps or last <= self.decay_from:
            return Schedule(steps, self.decay_from, self.warmup, self.anchor if steps == self.steps else None)
        plain = Schedule(self.steps, self.decay_from, 0, self.anchor)
        return Schedule(steps, self.decay_from, self.warmup, (last, plain.factor(last)))

    def state(self) -> dict:
        """For a checkpoint."""
        return {"steps": self.steps, "decay_from": self.decay_from, "warmup": self.warmup, "anchor": self.anchor}

    @classmethod
    def from_state(cls, state: dict) -> "Schedule":
        anchor = state["anchor"]
        return cls(state["steps"], state["decay_from"], state["warmup"], anchor and (int(anchor[0]), float(anchor[1])))
