"""How many threads compute: more than there are idle cores wait for each other."""

import os
from collections.abc import Callable

import torch

from i2i.speed.measure import Measure, Work

ASKED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # whoever sets one has chosen


class Threads(Measure):
    """torch's own count, half of it, or every core that this process may use. Sums are split over threads: another
    count rounds otherwise, and is stored with the checkpoint as it ever was."""

    name = "threads"
    everywhere = True

    def pick(self, work: Work, probe) -> int | None:
        usual = torch.get_num_threads()
        counts = sorted({max(1, usual // 2), usual, max(usual, _cores())})
        if any(os.environ.get(name) for name in ASKED) or counts == [usual]:
            return None
        act = work.passing(work.largest)

        def with_threads(count: int) -> Callable[[], None]:
            def timed() -> None:
                torch.set_num_threads(count)
                act()

            return timed

        try:
            ways = {str(count): with_threads(count) for count in [usual, *(n for n in counts if n != usual)]}
            way, seconds = probe.fastest(ways)
        finally:
            torch.set_num_threads(usual)
        work.notes[self.name] = "a pass " + ", ".join(f"{n}: {took * 1e3:.3g} ms" for n, took in seconds.items())
        return int(way) if int(way) != usual else None

    def apply(self, work: Work, picked: int) -> Callable[[], None]:
        before = torch.get_num_threads()
        torch.set_num_threads(picked)
        return lambda: torch.set_num_threads(before)

    def words(self, picked: int) -> str:
        return f"{picked} thread{'s' if picked > 1 else ''}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
