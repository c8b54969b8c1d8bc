"""Memory that is kept, seen from the page faults of a process of its own: what earlier tests gave back, a heap may hand
out again without a fault."""

import subprocess
import sys

import pytest

from i2i import heap

START = """
import resource
import torch
from i2i import heap

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def faults(size=2**24):
    for _ in range(8):  # the heap grows to hold them
        torch.ones(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""

pytestmark = pytest.mark.skipif(not heap.offered(), reason="glibc alone has it")


def numbers(code: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_kept_memory_spares_page_faults_and_is_given_back():
    plain, kept, returned, again = numbers("""
plain = faults()
with heap.kept():
    kept, held = faults(), resident()
# a block that no hole which the heap was left with can hold: such a hole is used again, faults or not
print(plain, kept, held - resident(), faults(2**26))
""")
    # not zero: where small blocks lie between, glibc takes two places in turn, and has touched one in the warm-up
    assert kept <= plain / 2 and plain > 50_000
    assert returned > 0.9 * 2**26 and again > 0.9 * 4 * plain


def test_the_last_who_asked_gives_it_back():
    """As of a training that keeps it, in which something else asks for it for a while."""
    plain, inside, after = numbers("""
plain = faults()
with heap.kept():
    with heap.kept():
        pass
    inside = faults()
print(plain, inside, faults(2**26))
""")
    assert inside <= plain / 2 and after > 0.9 * 4 * plain


def test_glibc_takes_what_it_is_told_and_afterwards_is_as_before():
    """Blocks below glibc's largest threshold, which it keeps by itself when it has met some, cost no faults later: of
    8 MB four times 2,048, were they given back. The least of a few, since now and then a block finds a new place."""
    taken, before, after = numbers("""
def least():
    return min(faults(2**21) for _ in range(4))

taken = heap._set(heap.KEPT) and heap._set(heap.USUAL)
before = least()
with heap.kept():
    least()
print(int(taken), before, least())
""")
    assert taken and before < 1000 and after < 1000


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "LD_PRELOAD"])
def test_who_chose_an_allocator_keeps_it(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(heap, "_set", lambda values: pytest.fail("the heap was told something"))
    assert not heap.offered()
    with heap.kept():
        pass
