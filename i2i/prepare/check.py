"""`i2i data check`: read every picture below a folder, and list every problem with its remedy."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from i2i.data.pictures import pixel_cap
from i2i.prepare import layout
from i2i.prepare.checking import sides
from i2i.prepare.checking.crew import in_parallel
from i2i.prepare.checking.findings import of_files
from i2i.prepare.checking.gathered import Gathered
from i2i.prepare.checking.partners import of_pairs
from i2i.prepare.checking.reading import Chunk, Reader
from i2i.prepare.checking.report import Report, facts
from i2i.prepare.checking.strays import strays
from i2i.prepare.checking.twice import there_twice

FEW = 32  # so many rows are read here before a process would have started


def check(
    path: str | os.PathLike,
    *,
    crop: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Reads everything below a folder.

    Memory grows by about 200 bytes a file; time by one read of each, and a second one of those that look like another.

    Args:
        path: a folder of pictures in any layout, or one split of it.
        crop: also tell which pictures (or halves) are smaller than this.
        workers: processes that read; None takes one for each core; 0 reads here.
        progress: called with (done, total) as reading goes on.

    Raises:
        UserError: no such folder, no pictures in it, an unknown layout; a worker died.
    """
    pixel_cap()  # a wrong I2I_MAX_PIXELS is said here, once
    found = layout.find(path)
    reading = sides.of_layout(found)
    rows = len(reading.rows)
    if workers is None:
        workers = _cores() if rows > FEW else 0
    jobs = sides.chunks(rows, workers)
    with contextlib.closing(in_parallel(Reader(reading), jobs, workers)) as chunks:
        gathered = Gathered(reading).add(_counted(chunks, rows, progress))
    findings = [
        *of_files(gathered, crop),
        *of_pairs(gathered),
        *there_twice(gathered),
        *strays(Path(os.path.expanduser(path)), found),
    ]
    return Report(
        str(path),
        found,
        facts(gathered, found),
        [finding for finding in findings if finding.problem],
        [finding for finding in findings if not finding.problem],
    )


def _counted(chunks: Iterable[Chunk], total: int, progress: Callable[[int, int], None] | None) -> Iterator[Chunk]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += chunk.rows
        if progress is not None:
            progress(done, total)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
