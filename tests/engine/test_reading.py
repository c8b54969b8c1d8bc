"""Where a run's batches come from, and what is said of it. A CPU stands in for the card that holds pictures."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from laid import batches, dataset, lay, same
from running import ARGUMENTS, LENGTH, assert_same_end

from i2i.data import cache
from i2i.data.pictures import write
from i2i.data.resident import Held, NotHeld, Resident
from i2i.data.stream import Loader
from i2i.engine import reading
from i2i.engine.liveness import Place
from i2i.engine.processes import Processes
from i2i.engine.train import train

CPU = torch.device("cpu")
ALONE = Place()
NOT_THERE = "training pictures do not lie on cpu, and are read beside the training: "


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.delenv("I2I_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def holding(monkeypatch):
    """Pictures are held on the CPU; `holding(bytes)` says how many are free there, at first plenty."""

    def free(count: int) -> None:
        monkeypatch.setattr(reading, "_free", lambda device: count)

    monkeypatch.setattr(reading, "HOLDING", ("cpu",))
    free(10**10)
    return free


def reader(data, *, steps: int = 20, step: int = 0, caching: str = "auto", workers: int = 0, place: Place = ALONE):
    """(the reader of a run of batch 2, what was said)."""
    recipe = SimpleNamespace(
        data=SimpleNamespace(cache=caching, workers=workers),
        train=SimpleNamespace(steps=steps, batch_size=2, seed=3),
    )
    said: list[str] = []
    runtime = SimpleNamespace(device=CPU, processes=Processes(place))
    found = reading.reader(recipe, data, runtime, step, 1, said.append)
    return found, said


def test_on_a_cpu_pictures_are_kept_and_read(tmp_path):
    found, said = reader(dataset(lay(tmp_path, "folder"), "folder"))
    assert isinstance(found, Loader) and len(said) == 1 and said[0].startswith("decoded pictures are kept in ")
    timed = iter([])
    assert reading.batches(found, timed, CPU) is timed


def test_where_pictures_are_held_they_are_the_same_and_it_is_said(tmp_path, holding):
    data = dataset(lay(tmp_path, "folder"), "folder")
    plain = batches(data, 14)
    found, said = reader(data, step=4)
    assert isinstance(found, Resident) and same([next(found) for _ in range(10)], plain[4:])
    assert len(said) == 2 and said[0].startswith("decoded pictures are kept in ")
    assert said[1] == "training pictures are read once and lie on cpu from here on (0.0 GB; data.cache=off: not)"


def test_only_what_a_loader_reads_is_copied_ahead(tmp_path, holding, monkeypatch):
    monkeypatch.setattr(reading, "Ahead", lambda timed, device: "ahead")
    data = dataset(lay(tmp_path, "folder"), "folder")
    held, loader = reader(data)[0], reader(data, caching="off")[0]
    assert reading.batches(loader, "timed", torch.device("cuda", 1)) == "ahead"
    assert reading.batches(loader, "timed", CPU) == reading.batches(held, "timed", torch.device("cuda", 1)) == "timed"


def test_without_a_cache_nothing_is_held_and_nothing_said(tmp_path, holding):
    data = dataset(lay(tmp_path, "folder"), "folder")
    found, said = reader(data, caching="off")
    assert isinstance(found, Loader) and said == [] and data.kept is None


def test_a_run_of_one_epoch_holds_nothing(tmp_path, holding):
    data = dataset(lay(tmp_path, "folder", count=6), "folder")
    found, said = reader(data, steps=3)
    assert isinstance(found, Loader) and said == [] and data.kept is None


@pytest.mark.parametrize(
    ("why", "changed", "options", "free"),
    [
        ("8 samples are left to train on, and an epoch has 5", {}, {"steps": 10, "step": 6}, 10**10),
        ("data.transform d4 is of albumentations, which computes on the host", {"transform": "d4"}, {}, 10**10),
        ("they take 0.0 GB, more than half of what is free there (0.0 GB)", {}, {}, 1000),
    ],
)
def test_where_they_cannot_be_held_it_says_why_and_reads_them(tmp_path, holding, why, changed, options, free):
    holding(free)
    data = dataset(lay(tmp_path, "folder"), "folder", **changed)
    found, said = reader(data, **options)
    assert isinstance(found, Loader)
    assert said[0] == NOT_THERE + why and said[1].startswith("decoded pictures are kept in") and len(said) == 2


def test_drawn_pictures_are_not_held(tmp_path, holding):
    _, said = train_small("pix2pix", tmp_path / "run")
    assert any(line == NOT_THERE + "they are drawn anew each time" for line in said)


def test_a_card_that_refuses_is_told_and_training_goes_on(tmp_path, holding, monkeypatch):
    def refuse(self, *args):
        raise NotHeld("the device refused to give 3.0 GB")

    monkeypatch.setattr(Held, "fill", refuse)
    found, said = reader(dataset(lay(tmp_path, "folder"), "folder"))
    assert isinstance(found, Loader) and said[-1] == NOT_THERE + "the device refused to give 3.0 GB"
    assert sum("decoded pictures are kept in" in line for line in said) == 1


def test_a_full_disk_is_no_matter_where_a_card_holds_them(tmp_path, holding, monkeypatch):
    monkeypatch.setattr(cache, "_free", lambda folder: 1000)
    data = dataset(lay(tmp_path, "folder"), "folder")
    found, said = reader(data)
    assert isinstance(found, Resident) and data.kept is None and len(said) == 1 and "lie on cpu" in said[0]


def test_a_disk_that_becomes_full_is_told(tmp_path, holding, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    found, said = reader(dataset(lay(tmp_path, "folder"), "folder"))
    assert isinstance(found, Resident) and said[-1].startswith("the disk takes no more decoded pictures")


def test_of_several_processes_each_begins_to_read_elsewhere(tmp_path, holding, monkeypatch):
    data, begun = dataset(lay(tmp_path, "folder", count=12), "folder"), []
    unit = data.unit
    monkeypatch.setattr(data, "unit", lambda name, place: begun.append(place) or unit(name, place))
    monkeypatch.setattr("i2i.data.resident.AT_ONCE", 2000)
    monkeypatch.setattr(cache, "_free", lambda folder: 1000)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    whole = batches(data, 6)
    for rank in (0, 1):
        begun.clear()
        found, _ = reader(data, place=Place(rank, 2, rank, 2))
        assert begun[0] == 6 * rank and sorted(begun) == list(range(12))
        part = [next(found) for _ in range(6)]
        assert all(torch.equal(whole[n]["image"][rank : rank + 1], part[n]["image"]) for n in range(6))


def test_no_more_workers_than_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    data = dataset(lay(tmp_path, "folder"), "folder")
    words = "data.workers is 4 and this machine has 5 cores for 2 processes: 2 are used"
    found, said = reader(data, workers=4, place=Place(0, 2, 0, 2))
    found.close()
    assert found.workers == 2 and said[0] == words


# ---------------------------------------------------------------------------------------------------- whole runs


def train_small(name, run, *more):
    recipe, *overrides = ARGUMENTS[name]
    said = []
    return train(recipe, [*overrides, *LENGTH, *more], run=run, device="cpu", say=said.append), said


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "ssgan"])
def test_a_run_whose_pictures_are_held_has_the_same_bits_and_may_change(name, tmp_path, holding):
    """Batches of several steps, few labels; and one that is held, continues one that was not."""
    root = tmp_path / "pictures"
    places = {"pix2pix": ["trainA", "trainB"], "cyclegan": ["trainA", "trainB"], "ssgan": []}[name]
    for seed, place in enumerate(places):
        (root / place).mkdir(parents=True)
        for number in range(5):
            pixels = np.random.default_rng(9 * seed + number).integers(0, 256, (40, 45, 3), np.uint8)
            write(root / place / f"{number}.png", pixels)
    kind = {"pix2pix": "paired", "cyclegan": "unpaired"}.get(name)
    data = [f"data={{kind: {kind}, path: '{root}', load_size: 36, crop_size: 32, workers: 0}}"] if kind else []
    plain, said = train_small(name, tmp_path / "plain", *data, "data.cache=off")
    assert not any("lie on" in line for line in said)
    path, said = train_small(name, tmp_path / "held", *data)
    assert sum("training pictures are read once and lie on cpu" in line for line in said) == 1
    assert_same_end(path, plain)
    mixed, _ = train_small(name, tmp_path / "mixed", *data, "data.cache=off")
    for file in ("00000012", "00000008"):
        (mixed / f"checkpoints/{file}.safetensors").unlink()
    path, said = train_small(name, mixed, *data)
    assert any("at step 4 of 12" in line for line in said) and any("lie on cpu" in line for line in said)
    assert_same_end(path, plain)
