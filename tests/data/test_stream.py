"""The endless order, and the processes that read ahead: the same pictures however many there are, from any start."""

import itertools
import os
import random
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import _utils

from i2i.data import DATASETS, stream
from i2i.data.pictures import write
from i2i.data.stream import Loader, Stream
from i2i.errors import UserError

AUTO = {"channels": "auto", "range": "auto"}


def places(count: int, *args, **kwargs) -> list[tuple[int, int]]:
    return list(itertools.chain(*itertools.islice(Stream(*args, **kwargs), count)))


@pytest.fixture
def folder(tmp_path):
    """Makes `count` side-by-side pictures whose blue says which they are, red and green where a pixel was."""

    def make(count: int, size: int = 12):
        (tmp_path / "train").mkdir()
        y, x = np.mgrid[0:size, 0:size].astype(np.uint8)
        for number in range(count):
            write(tmp_path / f"train/{number:03d}.png", np.tile(np.dstack([x, y, np.full_like(x, number)]), (1, 2, 1)))
        return tmp_path

    return make


def paired(path, **changed):
    given = {"load_size": None, "crop_size": 8, "flip": True, "transform": None, "seed": 3, "a": AUTO, "b": AUTO}
    return DATASETS.build("paired", path=path, **{**given, **changed})


def load(data, count: int, **options) -> list[dict[str, torch.Tensor]]:
    loader = Loader(data, **{"batch_size": 4, "seed": 3, "say": pytest.fail, **options})
    try:
        return [next(loader) for _ in range(count)]
    finally:
        loader.close()


def which(batches) -> list[int]:
    return [round(float(value + 1) * 127.5) for batch in batches for value in batch["input"][:, 2, 0, 0]]


# ---------------------------------------------------------------------------------------------------- the order


@pytest.mark.parametrize(("length", "batch"), [(10, 1), (10, 3), (3, 8), (1, 2), (7, 7)])
def test_every_epoch_visits_every_index_once(length, batch):
    seen = places(5 * length, length, 0, batch)
    for epoch in range(5):
        part = seen[epoch * length : (epoch + 1) * length]
        assert {place[0] for place in part} == {epoch} and sorted(index for _, index in part) == list(range(length))


def test_epochs_and_seeds_have_their_own_order():
    orders = {tuple(index for _, index in places(20, 20, seed, 1)) for seed in range(5)}
    epochs = {tuple(Stream(20, 0, 1).permutation(epoch)) for epoch in range(5)}
    assert len(orders) == 5 and len(epochs) == 5 and tuple(range(20)) not in orders | epochs


@pytest.mark.parametrize("start", [1, 4, 5, 12])
def test_a_start_in_the_middle_goes_on_as_if_it_had_not_stopped(start):
    assert places(20, 10, 7, 3, start=start) == places(20 + start, 10, 7, 3)[3 * start :]


def test_the_order_is_the_same_in_every_version():
    """A change here breaks the continuing of runs that an earlier version began."""
    assert [index for _, index in places(10, 10, 0, 1)] == [2, 7, 3, 0, 8, 1, 6, 5, 9, 4]


@pytest.mark.parametrize("bad", [{"length": 0}, {"batch_size": 0}, {"start": -1}])
def test_impossible_streams(bad):
    with pytest.raises(ValueError, match="must be 1 or more"):
        Stream(**{"length": 4, "seed": 0, "batch_size": 1, **bad})


@pytest.mark.parametrize(("length", "batch", "processes"), [(10, 4, 2), (7, 6, 3), (3, 8, 4), (5, 2, 2)])
def test_the_parts_of_several_processes_are_together_the_batches_of_one(length, batch, processes):
    whole = list(itertools.islice(Stream(length, 1, batch, start=2), 6))
    parts = [
        list(itertools.islice(Stream(length, 1, batch, start=2, part=(r, processes)), 6)) for r in range(processes)
    ]
    assert all(len(piece) == batch // processes for part in parts for piece in part)
    assert [list(itertools.chain(*pieces)) for pieces in zip(*parts)] == whole


@pytest.mark.parametrize("part", [(0, 3), (2, 2), (-1, 2)])
def test_a_batch_has_no_unequal_parts(part):
    with pytest.raises(ValueError, match="a batch of 4 has no part"):
        Stream(10, 0, 4, part=part)


# ---------------------------------------------------------------------------------------------------- the loader


def test_two_processes_read_together_what_one_reads(folder):
    data = paired(folder(10), transform="affine")
    alone = load(data, 4)
    parts = [load(data, 4, part=(rank, 2), workers=rank) for rank in (0, 1)]
    for whole, first, second in zip(alone, *parts, strict=True):
        assert all(torch.equal(whole[key], torch.cat([first[key], second[key]])) for key in whole)


def test_of_several_processes_each_waits_for_what_all_found_broken(folder):
    root = folder(6)
    for number in (1, 4):
        file = root / f"train/{number:03d}.png"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 255  # behind a whole header
        file.write_bytes(data)
    said = []
    loader = Loader(paired(root), batch_size=6, seed=0, part=(0, 1), say=said.append)
    with pytest.raises(UserError, match="2 of 6 training files are broken"):
        next(loader)
    parts = [Loader(paired(root), batch_size=6, seed=0, part=(rank, 2), say=said.append) for rank in (0, 1)]
    del said[:]
    for part in parts:
        next(part)
    found = [report for part in parts for report in part.found]
    assert {Path(report.path).name for report in found} == {"001.png", "004.png"} and not said
    parts[0].report(found[:1])
    assert len(said) == 1 and "is broken and left out" in said[0]
    next(parts[0])
    with pytest.raises(UserError, match="2 of 6 training files are broken"):
        parts[0].report(found)
    assert len(said) == 2, "each is said once"


def test_the_same_pictures_with_any_number_of_workers_and_from_any_start(folder):
    data = paired(folder(10), transform="affine")
    alone = load(data, 8, workers=0)
    assert which(alone) == [index for _, index in places(8, 10, 3, 4)]
    for workers, start in ((1, 0), (2, 0), (2, 3), (0, 5)):
        batches = load(data, 8 - start, workers=workers, start_batch=start)
        for one, two in zip(batches, alone[start:]):
            assert list(one) == ["input", "target"] and one["input"].shape == (4, 3, 8, 8)
            assert all(torch.equal(one[key], two[key]) for key in one), (workers, start)


@pytest.mark.skipif(not hasattr(stream.fcntl, "F_GETPIPE_SZ"), reason="Linux alone tells how much a pipe holds")
def test_a_pipe_holds_a_whole_sample(folder):
    loader = Loader(paired(folder(2)), batch_size=1, seed=0, workers=1)
    try:
        pipe = loader._batches._worker_result_queue._reader.fileno()
        assert stream.fcntl.fcntl(pipe, stream.fcntl.F_GETPIPE_SZ) == stream.PIPE >= 2 * 3 * 256 * 256
    finally:
        loader.close()


def test_who_may_not_have_a_larger_pipe_reads_through_the_usual_one(folder, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    data = paired(folder(3))
    alone = load(data, 4)
    monkeypatch.setattr(stream, "fcntl", SimpleNamespace(F_SETPIPE_SZ=1031, fcntl=refuse))
    assert which(load(data, 4, workers=1)) == which(alone)
    monkeypatch.setattr(stream, "fcntl", None)  # as on Windows
    assert which(load(data, 4, workers=1)) == which(alone)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_sixteen_of_sixteen_augmentations_differ(folder, workers):
    data = paired(folder(1, size=40))
    batches = load(data, 8, batch_size=2, workers=workers)
    assert len({x.numpy().tobytes() for batch in batches for x in batch["input"]}) == 16


def test_a_broken_file_is_named_once_and_the_next_one_serves(folder):
    root = folder(8)
    path = root / "train/005.png"
    path.write_bytes(path.read_bytes()[:-20])
    for workers in (0, 2):
        said = []
        batches = load(paired(root), 6, workers=workers, say=said.append)
        assert sorted(which(batches)) == sorted([0, 1, 2, 3, 4, 6, 6, 7] * 3)
        assert len(said) == 1 and said[0].startswith(f"{path} is broken and left out") and "cut off" in said[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_more_than_one_in_a_hundred_ends_the_run(folder, workers):
    root = folder(200, size=8)
    for number, allowed in ((11, True), (77, True), (123, False)):
        path = root / f"train/{number:03d}.png"
        path.write_bytes(path.read_bytes()[:-20])
        said = []
        if allowed:
            load(paired(root), 50, workers=workers, say=said.append)
            assert len(said) == {11: 1, 77: 2}[number]
    with pytest.raises(
        UserError, match=r"^3 of 200 training files are broken, and at most 2 may be .*Repair or remove.*cut off"
    ):
        load(paired(root), 50, workers=workers, say=said.append)
    assert len(said) == 3


def test_what_the_headers_told_is_said_at_the_start(folder):
    root = folder(4)
    (root / "train/002.png").write_bytes(b"GIF89a")
    grey = np.zeros((12, 24, 1), np.uint8)
    write(root / "train/003.png", grey, grey[..., 0])
    said = []
    loader = Loader(paired(root), batch_size=2, seed=0, say=said.append)
    assert [text.split(": ")[1][:30] for text in said] == [
        "1 of 4 pictures with alpha, wh",
        "1 of 4 pictures are grey, repl",
        "it is a GIF; pictures are read",
    ]
    for _ in range(6):
        next(loader)
    assert len(said) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_keeps_its_words(folder, workers):
    root = folder(4)
    data = paired(root)
    for number in range(4):
        write(root / f"train/{number:03d}.png", np.zeros((12, 24, 3), np.uint16))
    with pytest.raises(UserError) as caught:
        load(data, 1, workers=workers)
    assert "it has 16 bits a channel" in str(caught.value) and "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_hides_no_broken_file_of_the_same_batch(folder, workers):
    root = folder(100)
    data = paired(root)
    order = [index for _, index in places(1, 100, 3, 8)]
    write(root / f"train/{order[0]:03d}.png", np.zeros((12, 24, 3), np.uint16))
    cut = root / f"train/{order[5]:03d}.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    said = []
    with pytest.raises(UserError, match="it has 16 bits a channel"):
        load(data, 1, batch_size=8, workers=workers, say=said.append)
    assert len(said) == 1 and said[0].startswith(f"{cut} is broken")


def test_an_error_that_is_over_at_the_second_look_ends_nothing(folder, monkeypatch):
    data, calls = paired(folder(4)), []
    drawn = data.drawn

    def once(epoch, index):
        calls.append(index)
        if len(calls) == 2:
            raise UserError("the disk did not answer")
        return drawn(epoch, index)

    alone = load(data, 1)
    monkeypatch.setattr(data, "drawn", once)
    assert all(torch.equal(load(data, 1)[0][key], alone[0][key]) for key in data.keys) and len(calls) > 4


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_draws_from_no_generator_of_the_main_process(folder, workers):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    data = paired(folder(4), transform="affine")
    before = states()
    load(data, 3, workers=workers)
    assert states() == before


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_of_the_code_stays_one(workers):
    loader = Loader(Sleeper(good=None), batch_size=1, seed=0, workers=workers)
    with pytest.raises(TypeError):
        next(loader)
    loader.close()


def test_a_closed_loader_says_so(folder):
    loader = Loader(paired(folder(2)), batch_size=1, seed=0, workers=1)
    workers = loader._batches._workers
    assert next(loader) and workers[0].is_alive()
    loader.close()
    loader.close()
    assert not workers[0].is_alive()
    with pytest.raises(ValueError, match="closed"):
        next(loader)


# ---------------------------------------------------------------------------------------------------- the processes


class Sleeper:
    """A data set whose first samples come at once and whose later ones never do (good = None: has a fault)."""

    notes, broken, files, kept = (), (), 100, None

    class transform:
        prepare = staticmethod(lambda: None)

    def __init__(self, good: int):
        self.good = good

    def __len__(self):
        return 100

    def item(self, epoch, index):
        if self.good == 0:
            time.sleep(60)
        self.good -= 1
        return {"input": torch.tensor([os.getpid(), torch.get_num_threads(), cv2.getNumThreads()])}, []

    def batch(self, places):
        items, _ = zip(*(self.item(*place) for place in places))
        return {"input": torch.stack([item["input"] for item in items])}, []

    levels, values = batch, staticmethod(lambda batch: batch)


@pytest.fixture
def quick(monkeypatch):
    """PyTorch's workers look for their parent, and its loader for its workers, every 5 seconds: here more often."""
    monkeypatch.setattr(_utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(_utils.worker, "MP_STATUS_CHECK_INTERVAL", 0.2)


def gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(true, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not (done := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return done


linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes through /proc")


@linux
def test_workers_are_deaf_to_the_terminal(folder):
    loader = Loader(paired(folder(4)), batch_size=1, seed=0, workers=2)
    next(loader)
    pids = [worker.pid for worker in loader._batches._workers]
    for _ in range(3):
        for pid in pids:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        for _ in range(8):
            next(loader)
    assert not any(map(gone, pids))
    loader.close()
    assert all(map(gone, pids))


def test_workers_have_one_thread_each():
    loader = Loader(Sleeper(good=9), batch_size=1, seed=0, workers=1)
    assert next(loader)["input"][0, 1:].tolist() == [1, 1]
    loader.close()


@linux
def test_workers_end_when_the_main_process_is_killed(folder, quick):
    data = paired(folder(4))
    read, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        loader = Loader(data, batch_size=1, seed=0, workers=2)
        next(loader)
        os.write(write_end, " ".join(str(worker.pid) for worker in loader._batches._workers).encode())
        time.sleep(60)
        os._exit(1)
    try:
        pids = [int(pid) for pid in os.read(read, 99).split()]
        assert len(pids) == 2 and not any(map(gone, pids))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert wait_until(lambda: all(map(gone, pids)))


@linux
def test_a_worker_that_hangs_is_noticed_and_killed(quick, monkeypatch):
    monkeypatch.setattr(stream, "LOOK_EVERY", 0.5)
    loader = Loader(Sleeper(good=1), batch_size=1, seed=0, workers=1, timeout=1.5)
    pid = int(next(loader)["input"][0, 0])
    with pytest.raises(UserError, match=r"no batch came from 1 data workers within 1\.5 seconds.*data\.workers=0"):
        next(loader)
    loader.close()
    assert wait_until(lambda: gone(pid))


@linux
def test_a_worker_that_dies_is_an_error_in_words(quick, monkeypatch):
    monkeypatch.setattr(stream, "LOOK_EVERY", 0.5)
    loader = Loader(Sleeper(good=2), batch_size=1, seed=0, workers=1, timeout=60)
    pid = int(next(loader)["input"][0, 0])
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: gone(pid)), "and nothing is raised meanwhile, wherever the main process is"
    with pytest.raises(UserError, match=r"a data worker died .*fewer data\.workers than 1"):
        for _ in range(3):
            next(loader)
    loader.close()


def test_loading_is_the_same_on_real_pairs_in_two_processes(real_data):
    data = paired(real_data("facades"), load_size=286, crop_size=256, direction="ba", transform="d4")
    alone, together = (load(data, 3, workers=workers, start_batch=150) for workers in (0, 2))
    assert all(torch.equal(one[key], two[key]) for one, two in zip(alone, together) for key in one)
