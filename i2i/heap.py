"""glibc keeps the memory of large tensors for the next use, where it would give it back to the system at each `free`.

By default glibc takes blocks from 128 KB (later up to 32 MB) on from the system one by one, and returns them when they
are freed. The system hands out zeroed pages at first touch, 4 KB at a time: over 100,000 page faults in a step of
pix2pix at 256 px, and as many for each picture that a ResNet translates. No number changes. The process keeps the most
that it ever needed.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4  # names of mallopt(3)
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, TOP_PAD: 64 * 2**20}  # no block apart, never back, grown by 64 MB
# glibc's, which no longer adapts its thresholds once it was told any: those that large blocks had led it to
USUAL = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 * 2**20, TRIM_THRESHOLD: 64 * 2**20, TOP_PAD: 128 * 2**10}

_keepers = 0  # who asked for it and has not taken it back; it is the whole process's


def offered() -> bool:
    """Whether this is glibc, and its user left it as it is: MALLOC_* or another allocator (LD_PRELOAD) come first."""
    others = os.environ.get("LD_PRELOAD") or any(name.startswith("MALLOC_") for name in os.environ)
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc" and not others


@contextmanager
def kept() -> Iterator[None]:
    """Memory is kept while this lasts, and given back at its end; without effect where it is not `offered`."""
    global _keepers
    if not offered():
        yield
        return
    _keepers += 1
    _set(KEPT)
    try:
        yield
    finally:
        _keepers -= 1
        if not _keepers:
            _set(USUAL)
            ctypes.CDLL(None).malloc_trim(0)


def _set(values: dict[int, int]) -> bool:
    """Whether glibc took them all."""
    mallopt = ctypes.CDLL(None).mallopt
    return not [name for name, value in values.items() if not mallopt(name, value)]
