"""A dry run: what it says is near what happens, and it writes nothing."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import torch
from making import batches, small_method
from running import ARGUMENTS, LENGTH

from i2i import build, config
from i2i.engine import estimate
from i2i.engine.runtime import Runtime
from i2i.engine.train import train
from i2i.infer.runs import checkpoints

SHORT = ["train.tracker=null", "train.alarms=false", "train.sample_every=null"]


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr(estimate, "WARM_UP", 0.2)
    monkeypatch.setattr(estimate, "PROBE", 0.5)


def settings(name, *more):
    recipe, *overrides = ARGUMENTS[name]
    return recipe, [*overrides, *LENGTH, *SHORT, *more]


def estimated(name, path, *more):
    """(the estimate, everything said)."""
    recipe, overrides = settings(name, *more)
    source = build.check(config.read(recipe, overrides))
    data = build.dataset(source)
    said = []
    found = estimate.dry_run(build.resolved(source, data), data, lambda: Runtime("cpu"), path, said.append)
    return found, "\n".join(said)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_size_of_a_checkpoint_and_of_the_weights(name, tmp_path):
    """Within 2 %, the pool full."""
    found, _ = estimated(name, tmp_path / "run")
    recipe, overrides = settings(name)
    path = train(recipe, overrides, run=tmp_path / "run", device="cpu", say=lambda line: None)
    real = checkpoints(path)[0].stat().st_size
    assert real == pytest.approx(found.checkpoint, rel=0.02)
    exports = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    assert exports == pytest.approx(found.weights, rel=0.5), "their metadata are not counted, and these are tiny"
    assert found.checkpoints == 3, "12 steps, one every 4"


@pytest.mark.parametrize(("keep", "most"), [(1, 2), (2, 3), (9, 3)])
def test_while_one_is_written_the_ones_that_are_kept_lie_there_too(keep, most, tmp_path):
    found, _ = estimated("pix2pix", tmp_path / "run", f"train.keep={keep}")
    assert found.checkpoints == most


def test_a_pool_counts_as_full_from_the_first_step_on():
    method, recipe = small_method("cyclegan", "method.pool_size=9")
    sizes = []
    for batch in batches(method, 5):
        method.step(iter([batch]))
        sizes.append(estimate.checkpoint_size(method, None, recipe))
    assert method.pools["a"].count == 9
    pictures = sum(value.numel() * 4 for value in method.state().values())
    assert pictures == 2 * 9 * 3 * 32 * 32 * 4 and sizes[0] > pictures
    assert sizes[0] == pytest.approx(sizes[-1], rel=0.001)


def test_the_seconds_of_a_step(tmp_path):
    """Within a factor of 2. Other programs may come and go between the two measurements: three tries."""
    for attempt in range(3):
        found, _ = estimated("pix2pix", tmp_path / "none")
        times = []
        recipe, overrides = settings("pix2pix", "train.log_every=1", "train.steps=30", "train.save_every=1000")
        train(
            recipe, overrides, run=tmp_path / f"run{attempt}", device="cpu",
            say=lambda line, times=times: times.append(time.perf_counter()) if line.startswith("step ") else None,
        )  # fmt: skip
        real = sorted(after - before for before, after in itertools.pairwise(times))[len(times) // 2]
        if 0.5 < found.step / real < 2:
            return
    pytest.fail(f"estimated {found.step:.4f} s, took {real:.4f} s")


def test_memory_counts_what_is_there(tmp_path):
    found, said = estimated("cyclegan", tmp_path / "run")
    recipe = build.check(config.read(*settings("cyclegan")))
    method = build.method(recipe, Runtime("cpu"))
    weights = sum(v.numel() * v.element_size() for net in method.nets.values() for v in net.state_dict().values())
    parameters = sum(p.numel() for net in method.nets.values() for p in net.parameters())
    assert found.parameters == parameters and found.fixed["weights"] == weights
    assert found.fixed["gradients"] == 4 * parameters
    assert 8 * parameters <= found.fixed["optimizer"] <= 8 * parameters + 4 * 200, "two moments, and step counters"
    generators = sum(
        v.numel() * v.element_size() for n in ("G_ab", "G_ba") for v in method.nets[n].state_dict().values()
    )
    assert found.fixed["EMA"] == generators
    assert found.fixed["pools"] == 2 * 4 * 3 * 32 * 32 * 4, "two pools of four pictures"
    assert found.peak >= 0 and "measured as the growth of this process" in said


def test_the_peak_is_what_was_taken_and_given_back():
    """In a process of its own: this one holds memory of earlier tests, which it hands out again without growing."""
    code = """
import torch
from i2i.engine.estimate import Memory

memory = Memory(torch.device("cpu"))
taken = torch.ones(32 * 2**20)
del taken
print(memory.peak())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 100e6 < int(done.stdout) < 400e6, "128 MB"


def test_a_dry_run_writes_nothing_and_says_everything(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, overrides = settings("pix2pix")
    said = []
    path = train(recipe, overrides, dry_run=True, device="cpu", say=said.append)
    assert not path.exists() and os.listdir(tmp_path) == []
    text = "\n".join(said)
    for word in ("method:", "encoder.0", "parameters ", "memory ", "speed ", "time ", "disk ", "checkpoints 3 x"):
        assert word in text, word
    assert re.search(r"s a step \(median of \d+, [\d.e-]+ to [\d.e-]+, on made-up pictures\)", text)


def test_random_state_is_left_alone(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    estimated("pix2pix", tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def test_a_disk_that_is_too_small_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    _, said = estimated("pix2pix", tmp_path / "run")
    assert "WARNING: the run does not fit on the disk" in said and "1 KB are free. Make room" in said


def test_memory_that_is_too_small_is_told(tmp_path, monkeypatch):
    def probe(*args):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(estimate, "probe", probe)
    found, said = estimated("pix2pix", tmp_path / "run")
    assert found is None and "does not fit into the memory of cpu. Lower train.batch_size" in said


def test_another_fault_of_the_probe_is_not_hidden(tmp_path, monkeypatch):
    def probe(*args):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(estimate, "probe", probe)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        estimated("pix2pix", tmp_path / "run")


def test_a_slow_reader_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "reading", lambda data, count: 100.0)
    found, said = estimated("pix2pix", tmp_path / "run", "data.workers=1")
    assert found.step == 100.0 and "WARNING: reading is slower than computing" in said
    found, said = estimated("pix2pix", tmp_path / "run", "data.workers=0")
    assert found.step > 100.0 and "in the main process" in said


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59, "59 s"), (190, "3 min 10 s"), (7500, "2 h 5 min"), (90000, "1 day 1 h"), (864000, "10 days")],
)
def test_durations(seconds, words):
    assert estimate.duration(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(12, "12 bytes"), (1500, "1.5 KB"), (2.5e6, "2.5 MB"), (3e9, "3 GB")])
def test_sizes(count, words):
    assert estimate.size(count) == words


@pytest.mark.slow
def test_the_demo_recipe_takes_no_longer_than_it_may(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "WARM_UP", 3.0)
    monkeypatch.setattr(estimate, "PROBE", 6.0)
    start = time.process_time()
    train("pix2pix_synthetic", ["train.tracker=null"], run=tmp_path / "run", dry_run=True, device="cpu")
    assert time.process_time() - start < 20
