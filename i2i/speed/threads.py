"""How many threads compute: more than there are cores to run them wait for each other."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import torch

from i2i.speed.measure import Measure, Work

ASKED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # whoever sets one has chosen
TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Threads(Measure):
    """A thread for each physical core that this process may use, where torch's own count is another; one pass each.

    Sums are split over threads: another count rounds otherwise, and is stored with the checkpoint as it ever was.
    """

    name = "threads"
    everywhere = True

    def pick(self, work: Work, probe) -> int | None:
        usual, known = torch.get_num_threads(), cores()
        if known == usual or any(os.environ.get(name) for name in ASKED) or not probe.affords(2):
            return None
        act = work.passing(work.largest)

        def with_threads(count: int) -> Callable[[], None]:
            def timed() -> None:
                torch.set_num_threads(count)
                act()

            return timed

        try:
            ways = {str(count): with_threads(count) for count in (usual, known)}
            way, seconds = probe.fastest(ways, rounds=1, wall=True)
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


def cores() -> int:
    """Physical cores that this process may use: two threads of one core share what computes. A container may be
    allowed less of them than it sees."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    count = len({_read(Path(TOPOLOGY.format(core))) or str(core) for core in allowed})
    quota, _, period = _read(QUOTA).partition(" ")
    if quota.isdigit() and period.isdigit():
        count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def _read(path: Path) -> str:
    """What one of the kernel's files says; nothing, where there is no such file."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
