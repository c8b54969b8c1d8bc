"""glibc keeps the memory of large tensors for the next step, where it would give it back to the system at each `free`.

By default glibc takes blocks from 128 KB (later up to 32 MB) on from the system one by one, and returns them when they
are freed. The system hands out zeroed pages at first touch, 4 KB at a time: over 100,000 page faults in a step of
pix2pix at 256 px. No number changes. The process keeps the most that it ever needed.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Callable

from i2i.speed.measure import Measure, Work, nothing

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # names of mallopt(3)
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, TOP_PAD: 64 * 2**20}  # no block apart, never back, grown by 64 MB
USUAL = {MMAP_MAX: 65536, TRIM_THRESHOLD: 128 * 2**10, TOP_PAD: 128 * 2**10}  # glibc's


class KeptMemory(Measure):
    """For the whole process while it trains; MALLOC_* or another allocator (LD_PRELOAD) come first."""

    name = "allocator"
    rounds = False
    everywhere = True

    def pick(self, work: Work, probe) -> bool:
        """Two passes: one whose page faults tell, and where they do one more, for the memory that is kept."""
        if not _offered() or not probe.affords(2):
            return False
        act = work.passing(work.largest)
        seconds, faults = _cost(act)
        if not probe.kept(seconds, faults):
            return False
        held, undo = _resident(), self.apply(work, True)
        try:
            act()
            work.notes[self.name] = (
                f"spares up to {faults:,} page faults of a pass, "
                f"memory between passes {held / 1e9:.2f} -> {_resident() / 1e9:.2f} GB"
            )
        finally:
            undo()
        return True

    def apply(self, work: Work, picked: bool) -> Callable[[], None]:
        if not picked or not _offered():  # no bit depends on it: a run may go on where there is no such thing
            return nothing
        _set(KEPT)

        def undo() -> None:
            _set(USUAL)
            _libc().malloc_trim(0)

        return undo

    def words(self, picked: bool) -> str:
        return "an allocator that keeps its memory"


def _offered() -> bool:
    others = os.environ.get("LD_PRELOAD") or any(name.startswith("MALLOC_") for name in os.environ)
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc" and not others


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _set(values: dict[int, int]) -> None:
    mallopt = _libc().mallopt
    for name, value in values.items():
        mallopt(name, value)


def _cost(act: Callable[[], None]) -> tuple[float, int]:
    """(CPU seconds, page faults) of a call."""
    import resource  # of Unix alone, as all of this

    start = resource.getrusage(resource.RUSAGE_SELF)
    act()
    end = resource.getrusage(resource.RUSAGE_SELF)
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime, end.ru_minflt - start.ru_minflt


def _resident() -> int:
    """Bytes of memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
