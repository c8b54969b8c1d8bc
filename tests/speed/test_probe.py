"""What a probe may cost, and when it says that another way is faster: by clocks that only what is timed moves on."""

import os
from contextlib import nullcontext

import pytest
import torch
from making import small_method
from probing import work_of

from i2i import heap
from i2i.speed import adam, allocator, choosing, layers, probe, threads, together
from i2i.speed.measure import Work
from i2i.speed.probe import MOST, PASSES, SHARE, SPARED, Probe
from i2i.speed.threads import Threads, cores
from i2i.speed.together import _half


class Clock:
    """CPU seconds and the wall clock of a machine on which nothing else happens."""

    def __init__(self):
        self.time, self.called = 0.0, []

    def __call__(self):
        return self.time

    def act(self, name, seconds):
        """A call that takes so long."""

        def acted():
            self.called.append(name)
            self.time += seconds

        return acted

    def probe(self):
        return Probe(used=self, now=self)


@pytest.fixture
def clock():
    return Clock()


def passes_of(work, clock, seconds):
    """A pass of any of the work's networks takes so long, whatever it is."""
    work.passing = lambda net: clock.act("pass", seconds)
    return work


# ---- the budget


def test_a_short_run_is_not_probed_at_all(clock):
    method, _ = small_method("pix2pix")
    work = passes_of(work_of(method, steps=12), clock, 100.0)
    assert choosing.choose(work, clock.probe()) == {} and clock.called == [] and work.notes == {}


@pytest.mark.parametrize(
    ("seconds", "steps", "worth", "passes"),
    [
        (1.0, 299, False, 1),  # under 300 s of passes
        (1.0, 300, True, 1),
        (0.002, 10**7, False, 2),  # too small a step, however many; a first pass so short is made again
        (0.1, 10**5, True, 2),
    ],
)
def test_what_a_run_is_worth_is_seen_by_one_pass(clock, seconds, steps, worth, passes):
    method, _ = small_method("pix2pix")
    work = passes_of(work_of(method, steps=steps), clock, seconds)
    assert clock.probe().worth(work) is worth and clock.called == ["pass"] * passes


@pytest.mark.parametrize(
    ("seconds", "steps", "allowed"),
    [
        (1.0, 400, SHARE * 400),  # a short run
        (1.0, 10**6, PASSES),  # pix2pix at 256 px: about ten steps
        (5.0, 10**6, MOST),  # CycleGAN at 256 px: two steps
    ],
)
def test_the_budget_is_a_share_of_the_run_and_no_more_than_a_few_steps(clock, seconds, steps, allowed):
    method, _ = small_method("pix2pix")
    asked = clock.probe()
    assert asked.worth(passes_of(work_of(method, steps=steps), clock, seconds))
    assert asked.allowed == pytest.approx(allowed)
    assert asked.affords(allowed / seconds - 1) and not asked.affords(allowed / seconds - 0.99)


def test_nothing_is_tried_once_the_budget_is_spent(clock):
    asked = clock.probe()
    asked.allowed = 10.0
    ways = {"usual": clock.act("usual", 1.0), "other": clock.act("other", 0.9)}
    assert asked.fastest(ways)[0] == "other" and clock.called == ["usual", "other"] * 4 and asked.left_out == 0
    clock.called.clear()
    for left_out in (1, 2, 3):
        assert asked.fastest(ways)[0] == "usual" and asked.left_out == left_out
    assert clock.called == ["usual", "other"] * 2, "warming up took what was left"
    assert asked.words == "tried in 11 s of CPU, 3 trials left out as too long for this run"


@pytest.fixture
def timed(clock, monkeypatch):
    """Passes of networks take 1 s, of layers 0.1, calls at half the side 0.5, updates 0.05, and nothing else does."""
    monkeypatch.setattr(Work, "passing", lambda work, net: clock.act("pass", 1.0))
    monkeypatch.setattr(layers, "passing", lambda module, x, forward: clock.act("layer", 0.1))
    monkeypatch.setattr(adam, "_update", lambda optimizer, fused: clock.act("update", 0.05))
    monkeypatch.setattr(together, "untouched", lambda net: clock.act("calls", 0.5)() or nullcontext())
    monkeypatch.setattr(threads, "cores", lambda: torch.get_num_threads() + 1)
    for asked in threads.ASKED:
        monkeypatch.delenv(asked, raising=False)
    monkeypatch.setattr(heap, "offered", lambda: True)
    monkeypatch.setattr(heap, "kept", nullcontext)
    monkeypatch.setattr(allocator, "_cost", lambda act: act() or (1.0, 10**6))
    monkeypatch.setattr(allocator, "_resident", int)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
@pytest.mark.parametrize(("steps", "budget"), [(301, 6.02), (10**6, 20.0)])
def test_a_whole_probe_keeps_to_its_budget_and_tells_what_it_took(clock, timed, name, steps, budget):
    method, _ = small_method(name, "method.lam_identity=0.5" if name == "cyclegan" else "train.seed=0")
    work, before = work_of(method, steps=steps), torch.get_num_threads()
    picked = choosing.choose(work, clock.probe())
    assert torch.get_num_threads() == before
    assert picked["allocator"] is True and clock.called.count("pass") == 1 + 2 + 2
    assert clock.called.count("update") == 2 * 2 * (1 + 3), "two groups, two ways"
    short = steps == 301
    assert clock.time <= budget + 0.2 * short, "but for the layers that were under way"
    assert ("calls" in clock.called) == (name == "cyclegan" and not short)
    assert work.notes["probe"].startswith(f"tried in {clock.time:.2g} s of CPU")
    assert ("left out as too long for this run" in work.notes["probe"]) == short
    assert choosing.words(picked, work.notes).endswith(work.notes["probe"])


# ---- which way is faster


@pytest.mark.parametrize(("seconds", "way"), [(0.91, "other"), (0.93, "usual"), (1.1, "usual")])
def test_another_way_must_beat_the_usual_one_clearly(clock, seconds, way):
    ways = {"usual": clock.act("usual", 1.0), "other": clock.act("other", seconds)}
    assert clock.probe().fastest(ways)[0] == way
    assert clock.called == ["usual", "other"] * (1 + 3)


@pytest.mark.parametrize(("seconds", "way"), [(0.7, "other"), (1.4, "usual")])
def test_what_is_clear_is_not_timed_again(clock, seconds, way):
    ways = {"usual": clock.act("usual", 1.0), "other": clock.act("other", seconds)}
    assert clock.probe().fastest(ways)[0] == way
    assert clock.called == ["usual", "other"] * (1 + 1)


def test_what_is_short_is_timed_more_often_and_the_least_counts(clock):
    times = iter([9.0, 9.0] + [0.004, 0.001] + [0.0029, 0.003] * 20)
    ways = {name: lambda: setattr(clock, "time", clock.time + next(times)) for name in ("usual", "other")}
    way, seconds = clock.probe().fastest({"usual": ways["usual"], "other": ways["other"]})
    assert way == "other" and seconds == pytest.approx({"usual": 0.004, "other": 0.001})
    clock = Clock()
    ways = {"usual": clock.act("usual", 0.002), "other": clock.act("other", 0.0019)}
    assert clock.probe().fastest(ways)[0] == "usual" and len(clock.called) == 2 * (1 + 9)


@pytest.mark.parametrize(("count", "wall", "clock_of"), [(1, False, "thread"), (1, True, "wall"), (2, False, "wall")])
def test_a_single_thread_is_timed_by_what_it_computes_and_several_by_the_wall(count, wall, clock_of, monkeypatch):
    asked, read = Probe(), []
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    monkeypatch.setattr(probe, "_of_this_thread", lambda: read.append("thread") or 0.0)
    monkeypatch.setattr(probe.time, "perf_counter", lambda: read.append("wall") or 0.0)
    asked.fastest({"usual": lambda: None, "other": lambda: None}, rounds=1, wall=wall)
    assert set(read) == {clock_of}


def test_threads_are_compared_once_each_and_only_where_the_count_is_not_that_of_the_cores(clock, monkeypatch):
    method, _ = small_method("pix2pix")
    for asked in threads.ASKED:
        monkeypatch.delenv(asked, raising=False)
    usual = torch.get_num_threads()
    work = passes_of(work_of(method), clock, 1.0)
    monkeypatch.setattr(threads, "cores", lambda: usual)
    assert Threads().pick(work, clock.probe()) is None and clock.called == []
    monkeypatch.setattr(threads, "cores", lambda: usual + 1)
    work.passing = lambda net: (
        clock.act("pass", 1.0) if False else (lambda: clock.act("pass", 1 / torch.get_num_threads())())
    )
    assert Threads().pick(work, clock.probe()) == usual + 1 and clock.called == ["pass"] * 2
    assert torch.get_num_threads() == usual


def test_cores_are_physical_and_what_a_container_is_allowed(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "TOPOLOGY", str(tmp_path / "cpu{}"))
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    assert cores() == 4, "where nothing more is known"
    for number in range(4):
        (tmp_path / f"cpu{number}").write_text(f"{number % 3},{number % 3 + 3}\n")
    assert cores() == 3
    for quota, count in (("max 100000", 3), ("150000 100000", 2), ("10000 100000", 1), ("900000 100000", 3), ("?", 3)):
        (tmp_path / "cpu.max").write_text(quota)
        assert cores() == count


def test_kept_memory_is_decided_by_the_count_of_page_faults():
    asked, most = Probe(), SPARED / probe.FAULT
    assert asked.kept(1.0, int(most) + 1) and not asked.kept(1.0, int(most) - 1)
    assert not asked.kept(10.0, 0)


def test_calls_in_one_batch_are_tried_on_a_quarter_of_a_picture_where_a_network_takes_that():
    method, _ = small_method("cyclegan")
    assert _half(method.G_ab, 256) == 128 and _half(method.G_ab, 100) == 48 and _half(method.G_ab, 12) == 12
    method, _ = small_method("pix2pix")  # a U-Net of 4 levels
    assert _half(method.G, 32) == 16 and _half(method.G, 16) == 16
