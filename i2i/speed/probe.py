"""A clock for a few ways to compute the same: other programs take the cores at times, so it asks more than once."""

import time
from collections.abc import Callable, Mapping

from i2i.speed.measure import Work

FEWEST_STEPS = 20  # fewer steps are over before a probe is
SMALL = 0.005  # seconds of a step below which nothing here is worth its while
WORTH = 300.0  # seconds of training that a probe must be earned back from
ROUNDS, PATIENCE = (3, 9), 1.0  # every way is timed so often: at least, at most, until so many seconds are spent
BUDGET = 120.0  # seconds of all contests together, beyond which what is untried stays as usual
GAIN = 0.92  # share of the usual time that another way may take: smaller differences are noise


class Probe:
    """Times things on this machine. Tests put a probe in its place that answers as they wish."""

    def __init__(self):
        self.spent = 0.0

    def worth(self, work: Work) -> bool:
        """Whether the run is long enough: its steps, each at least a forward and backward of every network."""
        if work.steps < FEWEST_STEPS:
            return False
        step = sum(min(self.seconds(work.passing(net), 2)) for net in work.method.nets.values())
        return step >= SMALL and step * work.steps >= WORTH

    def seconds(self, act: Callable[[], None], count: int = 1) -> list[float]:
        """Of each of `count` calls."""
        times = []
        for _ in range(count):
            start = time.perf_counter()
            act()
            times.append(time.perf_counter() - start)
        return times

    def fastest(self, ways: Mapping[str, Callable[[], None]]) -> tuple[str, dict[str, float]]:
        """(which to take, {way: its seconds}); the first one is the usual, which others must beat clearly.

        Each is called once to warm up, then all in turn, and the least of each counts: what other programs take of the
        cores only adds.
        """
        usual, best, rounds, spent = next(iter(ways)), dict.fromkeys(ways, float("inf")), 0, 0.0
        if self.spent > BUDGET:
            return usual, best
        self.spent += sum(self.seconds(act)[0] for act in ways.values())
        while rounds < ROUNDS[0] or (rounds < ROUNDS[1] and spent < PATIENCE):
            for way, act in ways.items():
                (took,) = self.seconds(act)
                best[way], spent = min(best[way], took), spent + took
            rounds += 1
        self.spent += spent
        quickest = min(best, key=best.get)
        return (quickest if best[quickest] <= GAIN * best[usual] else usual), best

    def kept(self, before: tuple[float, int], after: tuple[float, int]) -> bool:
        """Whether an allocator that keeps memory pays; (CPU seconds, page faults) of a pass without it, and with.

        Faults are counted and CPU seconds measured, so that these may only contradict, by more than their noise.
        """
        fewer = before[1] > 1000 and after[1] < before[1] / 2
        return fewer and after[0] <= 1.05 * before[0]


def milliseconds(before: float, after: float) -> str:
    """'230 -> 41 ms'."""
    return f"{before * 1e3:.3g} -> {after * 1e3:.3g} ms"
