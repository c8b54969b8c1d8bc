"""What the benchmarks share that time programs on a machine that is not theirs alone."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path


def busy() -> float:
    """CPU seconds that all programs on this machine have used so far; 0, always, where the system does not tell."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _idle, _waiting, *rest = map(int, file.readline().split()[1:9])
    except OSError:
        return 0.0
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def processor_time() -> float:
    """CPU seconds of this process and its workers, those that have ended too."""
    mine, tick = sum(os.times()[:4]), os.sysconf("SC_CLK_TCK")
    parents = {os.getpid()}
    for path in sorted(Path("/proc").glob("[0-9]*/stat"), key=lambda path: int(path.parent.name)):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) in parents:
            parents.add(int(path.parent.name))
            mine += sum(map(int, words[11:15])) / tick
    return mine


def share_of_others(mine: float, all_of_it: float, seconds: float, cores: int) -> float:
    """Which part of the cores other programs took, 0 to 1, in a sample that itself used `mine` CPU seconds of all."""
    return max(0.0, all_of_it - mine) / (seconds * cores)


def spread(values: Sequence[float], form: str) -> str:
    """Median (lowest to highest)."""
    if not values:
        return "no sample counts"
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
