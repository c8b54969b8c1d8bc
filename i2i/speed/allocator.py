"""An allocator that keeps its memory, see `heap`: the same bits without the system's zeroed pages."""

import os
from collections.abc import Callable
from contextlib import ExitStack

from i2i import heap
from i2i.speed.measure import Measure, Work, nothing


class KeptMemory(Measure):
    """For the whole process while it trains; MALLOC_* or another allocator (LD_PRELOAD) come first."""

    name = "allocator"
    rounds = False
    everywhere = True

    def pick(self, work: Work, probe) -> bool:
        """Two passes: one whose page faults tell, and where they do one more, for the memory that is kept."""
        if not heap.offered() or not probe.affords(2):
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
        if not picked:  # no bit depends on it: a run may go on where there is no such thing
            return nothing
        keeping = ExitStack()
        keeping.enter_context(heap.kept())
        return keeping.close

    def words(self, picked: bool) -> str:
        return "an allocator that keeps its memory"


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
