"""A probe that needs no clock, and the work that it is told of."""

import pytest
import torch

from i2i.speed.measure import Work
from i2i.speed.probe import Probe


class Willing(Probe):
    """Finds that every other way pays, and never looks at a clock."""

    def worth(self, work):
        return True

    def fastest(self, ways, rounds=None, wall=False):
        for act in ways.values():
            act()
        return list(ways)[-1], {way: 1.0 / number for number, way in enumerate(ways, start=1)}

    def kept(self, seconds, faults):
        return True


def work_of(method, batch_size=2, steps=100, compiled=False, crop=32, wanted="auto"):
    return Work(method, crop, batch_size, steps, compiled, wanted)


def assert_same_losses(plain, fast, data, steps):
    """Both methods have the losses of the other in every step, within 1e-6: float64, batches round and round."""
    for step in range(steps):
        losses = []
        for method in (plain, fast):
            torch.manual_seed(step)
            losses.append({key: float(loss) for key, loss in method.step(iter([data[step % len(data)]])).items()})
        assert losses[1] == pytest.approx(losses[0], rel=1e-6), step
