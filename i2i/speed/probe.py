"""A clock for a few ways to compute the same, and how long it may be looked at.

A probe costs what it measures: whole networks, forward and backward. So it has a budget, in CPU seconds, which other
programs on the same cores do not use up: a share of what the run will compute, and never more than a few steps' worth.
Where a single thread computes, ways are compared by its CPU seconds, too; of several threads, which wait for each
other, the wall clock counts.
"""

import time
from collections.abc import Callable, Mapping

import torch

from i2i.speed.measure import Work

FEWEST_STEPS = 20  # fewer steps are over before a probe is
SMALL = 0.005  # CPU seconds of a pass of the largest network below which nothing here is worth its while
FIRST = 0.25  # of a first pass below which it says little: libraries begin with work that they do once
WORTH = 300.0  # of the run, at the least, that a probe must be earned back from
SHARE = 0.02  # of the run, at the most, that a probe may take
PASSES = 20.0  # and so many passes of the largest network: about ten steps of pix2pix, three of CycleGAN
MOST = 60.0  # and so many CPU seconds
ROUNDS, PATIENCE = (3, 9), 0.1  # every way is timed so often: at least, at most, until so many seconds are spent
CLEAR = 1.3  # times as long, after which it is not timed again
GAIN = 0.92  # share of the usual time that another way may take: smaller differences are noise
FAULT = 0.27 / 117_000  # CPU seconds that a page fault takes, as measured (AVX2, 2 cores): mostly zeroing 4 KB
SPARED = 0.01  # of a pass that must go on them: a count is no noise, and sparing them changes no bit


class Probe:
    """Times things on this machine. Tests put a probe in its place that answers as they wish.

    Args:
        used: CPU seconds of this process.
        now: seconds, by which ways are compared; None is as said above.
    """

    def __init__(self, used: Callable[[], float] = time.process_time, now: Callable[[], float] | None = None):
        self.used, self.now = used, now
        self.began = used()
        self.allowed = float("inf")  # CPU seconds
        self.a_pass = 0.0  # CPU seconds of a forward and backward of the largest network
        self.left_out = 0  # contests, because nothing was left of the budget

    @property
    def spent(self) -> float:
        """CPU seconds since it was made."""
        return self.used() - self.began

    @property
    def words(self) -> str:
        """What it took, as a clause."""
        more = f", {self.left_out} trials left out as too long for this run" if self.left_out else ""
        return f"tried in {self.spent:.2g} s of CPU{more}"

    def worth(self, work: Work) -> bool:
        """Whether the run is long enough; also settles the budget. One pass of the largest network, which is less than
        a step."""
        if work.steps < FEWEST_STEPS:
            return False
        self.a_pass = self._cost(work.passing(work.largest))
        if self.a_pass < FIRST:
            self.a_pass = self._cost(work.passing(work.largest))
        run = self.a_pass * work.steps
        self.allowed = min(SHARE * run, PASSES * self.a_pass, MOST)
        return self.a_pass >= SMALL and run >= WORTH

    def affords(self, passes: float) -> bool:
        """Whether so many passes of the largest network are within what is left."""
        if self.spent + passes * self.a_pass <= self.allowed:
            return True
        self.left_out += 1
        return False

    def fastest(
        self, ways: Mapping[str, Callable[[], None]], rounds: int | None = None, wall: bool = False
    ) -> tuple[str, dict[str, float]]:
        """(which to take, {way: its seconds}); the first one is the usual, which others must beat clearly.

        Each is called once to warm up, then all in turn, and the least of each counts: what other programs take of the
        cores only adds. It ends early where one is far ahead or nothing is left of the budget.

        Args:
            rounds: so many and no warming up; None is as said above.
            wall: compares by the wall clock, as ways must be that have not the same count of threads.
        """
        usual, best = next(iter(ways)), dict.fromkeys(ways, float("inf"))
        if not self.affords(0):
            return usual, best
        cost = 0.0 if rounds else sum(self._cost(act) for act in ways.values())
        least, most = (rounds, rounds) if rounds else ROUNDS
        done, spent = 0, 0.0
        while done < least or (done < most and spent < PATIENCE):
            if self.spent + cost > self.allowed:
                break
            for way, act in ways.items():
                took = self._seconds(act, wall)
                best[way], spent = min(best[way], took), spent + took
            done += 1
            first, second = sorted(best.values())[:2]
            if second > CLEAR * first:
                break
        self.left_out += not done
        quickest = min(best, key=best.get)
        return (quickest if best[quickest] <= GAIN * best[usual] else usual), best

    def kept(self, seconds: float, faults: int) -> bool:
        """Whether an allocator that keeps memory pays, by the CPU seconds and page faults of a pass without it.

        Faults are counted, and what one takes is known, so that no clock is asked which of two passes is quicker.
        """
        return faults * FAULT >= SPARED * seconds

    def _cost(self, act: Callable[[], None]) -> float:
        """CPU seconds of a call."""
        before = self.used()
        act()
        return self.used() - before

    def _seconds(self, act: Callable[[], None], wall: bool) -> float:
        now = self.now or (time.perf_counter if wall or torch.get_num_threads() > 1 else _of_this_thread)
        before = now()
        act()
        return now() - before


FINE = time.get_clock_info("thread_time").resolution < 1e-4  # it is not everywhere
_of_this_thread = time.thread_time if FINE else time.perf_counter


def milliseconds(before: float, after: float) -> str:
    """'230 -> 41 ms'."""
    return f"{before * 1e3:.3g} -> {after * 1e3:.3g} ms"
