"""A probe that needs no clock, and the work that it is told of."""

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
