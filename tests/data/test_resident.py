"""Pictures that lie on a device are the pictures that are read, bit for bit, in the same batches. The device is a CPU."""

import random
import threading
import time
import warnings

import cv2
import numpy as np
import pytest
import torch
from idxfiles import lay_idx
from laid import AUTO, KIND, SETTINGS, batches, dataset, lay, lay_as, picture, same
from watching import NoHostReads

from i2i.data import DATASETS, cache, resident
from i2i.data.domain import Domain
from i2i.data.pictures import write
from i2i.data.resident import Held, NotHeld, Resident
from i2i.errors import UserError

CPU = torch.device("cpu")
PLENTY = 10**12
ON_THE_HOST = ("affine", "d4 at own size")  # settings with a pipeline


def held(data, **options) -> Held:
    found = Held(data)
    assert found.why_not(data, PLENTY) is None
    found.fill(data, CPU, **options)
    return found


def read(data, count: int, lying: Held | None = None, **options) -> list[dict[str, torch.Tensor]]:
    lying = held(data) if lying is None else lying
    reader = Resident(data, lying, **{"batch_size": 2, "seed": 3, "say": lambda text: None, **options})
    try:
        return [next(reader) for _ in range(count)]
    finally:
        reader.close()


def idx(root, **changed):
    given = {"load_size": None, "crop_size": 8, "flip": True, "transform": None, "seed": 3, "a": AUTO}
    return DATASETS.build("labelled", path=root, **{**given, **changed})


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Several parts even of a few small pictures."""
    monkeypatch.setattr(resident, "AT_ONCE", 5000)


# ---------------------------------------------------------------------------------------------------- same pictures


@pytest.mark.parametrize("settings", [name for name in SETTINGS if name not in ON_THE_HOST])
@pytest.mark.parametrize("layout", KIND)
def test_the_batches_are_those_of_the_plain_reader(tmp_path, layout, settings):
    changed = lay_as(tmp_path, layout, settings)
    data = dataset(tmp_path, layout, **changed)
    plain = batches(data, 24)
    assert same(read(data, 24), plain) and all(x.is_contiguous() for x in read(data, 1)[0].values())
    assert not same(plain[:5], plain[5:10]), "or nothing would be drawn"


@pytest.mark.parametrize("changed", [
    {}, {"load_size": 11}, {"crop_size": 6}, {"flip": False}, {"a": {**AUTO, "channels": 3}}, {"a": {**AUTO, "range": [16, 235]}},
    {"labels": 10}, {"labels": 10, "limit": 17, "val": 3, "load_size": 12, "crop_size": 9},
], ids=str)  # fmt: skip
def test_pictures_that_are_in_memory(tmp_path, changed):
    data = idx(lay_idx(tmp_path / "mnist"), **changed)
    assert same(read(data, 30, batch_size=4), batches(data, 30, batch_size=4))


def test_every_kind_of_data_is_here_or_draws_its_pictures(tmp_path):
    drawn = {
        "synthetic": {"pairing": "paired", "size": 16, "count": 2, "path": None, "b": AUTO, "crop_size": 16},
        "points": {"distribution": "ring2d", "count": 4, "crop_size": 1},
    }
    assert set(DATASETS.names()) == set(KIND.values()) | set(drawn)
    for kind, given in drawn.items():
        given = {"load_size": None, "flip": False, "transform": None, "seed": 0, "a": AUTO, **given}
        data = DATASETS.build(kind, **given)
        assert Held(data).why_not(data, PLENTY) == "they are drawn anew each time"


def test_few_labels_and_limits(tmp_path):
    lay(tmp_path, "labelled")
    data = dataset(tmp_path, "labelled", labels=4, limit=8)
    plain = batches(data, 24)
    assert list(plain[0]) == ["image", "labelled", "label"] and same(read(data, 24), plain)
    assert len(held(data).stores["image"]) == 8


@pytest.mark.parametrize("layout", KIND)
def test_from_any_start_in_any_part(tmp_path, layout):
    data = dataset(lay(tmp_path, layout), layout)
    plain = batches(data, 12, batch_size=4)
    lying = held(data)
    assert same(read(data, 8, lying, batch_size=4, start_batch=4), plain[4:])
    parts = [read(data, 12, lying, batch_size=4, part=(rank, 2)) for rank in (0, 1)]
    for whole, first, second in zip(plain, *parts, strict=True):
        assert all(torch.equal(whole[key], torch.cat([first[key], second[key]])) for key in whole)


def test_real_pairs(real_data):
    given = {"load_size": 286, "crop_size": 256, "flip": True, "transform": None, "seed": 0, "a": AUTO, "b": AUTO}
    data = DATASETS.build("paired", path=real_data("facades"), direction="ba", limit=20, **given)
    assert same(read(data, 8, held(data, readers=2), batch_size=3), batches(data, 8, batch_size=3))


@pytest.mark.parametrize("span", [(0, 255), (3, 250), (0.5, 200.25)])
@pytest.mark.parametrize("depth", [8, 16])
def test_the_table_of_a_domain_has_the_value_of_each_level(depth, span):
    domain = Domain(1, span, depth)
    levels = np.arange(domain.top + 1, dtype=domain.dtype)
    one_by_one = torch.cat(
        [domain.to_tensor(level.reshape(1, 1, 1)).flatten() for level in levels[:: 1 + depth // 9 * 100]]
    )
    assert torch.equal(domain.values(levels)[:: 1 + depth // 9 * 100], one_by_one)


# ---------------------------------------------------------------------------------------------------- filled


@pytest.mark.parametrize(("readers", "begin"), [(1, 0.0), (3, 0.0), (2, 0.5), (1, 0.99)])
def test_by_any_number_of_threads_from_any_place(tmp_path, readers, begin):
    data = dataset(lay(tmp_path, "unpaired", count=9), "unpaired")
    ticks = []
    lying = held(data, readers=readers, begin=begin, tick=lambda *progress: ticks.append(progress))
    assert len(lying.stores["a"].parts()) > 2, "or there is nothing to do in turn"
    assert same(read(data, 12, lying), batches(data, 12))
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks) and ticks[-1] == (18, 18)


def test_through_the_kept_file_which_it_fills_and_takes_from(tmp_path, monkeypatch):
    data = dataset(lay(tmp_path, "paired"), "paired")
    plain = batches(data, 12)
    cache.keep(data, lambda text: None)
    assert same(read(data, 12), plain) and all(data.kept.levels["pair"].get(place) for place in range(5))
    monkeypatch.setattr("i2i.data.paired.read", lambda path, **_: pytest.fail(f"{path} is decoded again"))
    again = dataset(tmp_path, "paired")
    cache.keep(again, lambda text: None)
    assert same(read(again, 12), plain)


def test_its_size_is_told_before_it_is_taken(tmp_path):
    data = dataset(lay(tmp_path, "unpaired", dtype=np.uint16), "unpaired")
    lying = held(data)
    assert lying.size == 2 * 5 * 24 * 24 * 3 * 2
    assert lying.size == sum(
        x.numel() * x.element_size() for store in lying.stores.values() for x in store.pixels.values()
    )


def test_threads_leave_no_trace_in_the_filters_of_warnings(tmp_path, monkeypatch):
    """Two that silence warnings at once, the first to begin being the first to end, put back what the other set."""
    data = dataset(lay(tmp_path, "folder", count=4), "folder")
    unit, second_in, first_out = data.unit, threading.Event(), threading.Event()

    def silent(name, place):
        if place == 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert second_in.wait(20)
        if place == 3:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                second_in.set()
                assert first_out.wait(20)
        if place == 1:
            first_out.set()
        return unit(name, place)

    before = list(warnings.filters)
    monkeypatch.setattr(data, "unit", silent)
    held(data, readers=2)
    assert warnings.filters == before


def test_what_ends_a_thread_ends_all_and_is_raised(tmp_path, monkeypatch):
    data = dataset(lay(tmp_path, "folder", count=40), "folder")
    unit, asked = data.unit, []

    def failing(name, place):
        asked.append(place)
        if place == 3:
            raise RuntimeError("a fault of the code")
        time.sleep(0.001)
        return unit(name, place)

    monkeypatch.setattr(data, "unit", failing)
    with pytest.raises(RuntimeError, match="a fault of the code"):
        held(data, readers=2)
    assert len(asked) < 40, "those that had not begun are not read"


# ---------------------------------------------------------------------------------------------------- where not


@pytest.mark.parametrize("settings", ON_THE_HOST)
def test_a_pipeline_computes_on_the_host(tmp_path, settings):
    changed = lay_as(tmp_path, "folder", settings)
    data = dataset(tmp_path, "folder", **changed)
    why = Held(data).why_not(data, PLENTY)
    assert why == f"data.transform {changed['transform']} is of albumentations, which computes on the host"


def test_half_of_the_free_memory_is_left_to_training(tmp_path):
    data = dataset(lay(tmp_path, "folder"), "folder")
    lying = Held(data)
    assert lying.why_not(data, 2 * lying.size) is None
    why = lying.why_not(data, 2 * lying.size - 1)
    assert why == "they take 0.0 GB, more than half of what is free there (0.0 GB)"


def test_a_device_that_refuses(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    data = dataset(lay(tmp_path, "folder"), "folder")
    monkeypatch.setattr(resident.torch, "empty", refuse)
    with pytest.raises(NotHeld, match=r"the device refused to give 0\.0 GB"):
        held(data)


def test_a_picture_that_is_another_one_by_now(tmp_path):
    root = lay(tmp_path, "folder")
    data = dataset(root, "folder", load_size=None)
    write(root / "3.png", picture(9, 40, 44))
    with pytest.raises(NotHeld, match=r"3\.png has changed while it was read"):
        held(data)


# ---------------------------------------------------------------------------------------------------- what is broken


def cut_off(*paths):
    for path in paths:
        path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("layout", KIND)
def test_broken_files_are_reported_as_by_the_plain_reader(tmp_path, layout):
    root = lay(tmp_path, layout, count=8)
    cut_off(sorted(root.rglob("3.png"))[0])
    data = dataset(root, layout)
    said, ours = [], []
    plain = batches(data, 12, say=said.append)
    lying = held(data)
    reader = Resident(data, lying, batch_size=2, seed=3, say=ours.append)
    for number, batch in enumerate(plain):
        assert same([next(reader)], [batch]), number
    assert ours == said and len(said) == 1 and "cut off" in said[0]


def test_a_report_comes_with_the_batch_that_it_concerns(tmp_path):
    root = lay(tmp_path, "folder", count=8)
    cut_off(root / "3.png")
    data = dataset(root, "folder")
    said, ours = [], []
    one = Resident(data, held(data), batch_size=1, seed=3, say=ours.append)
    for count in range(1, 9):
        next(one)
        batches(data, count, batch_size=1, say=said.append)
        assert len(ours) == len(said)
        said.clear()


def test_a_broken_header_has_no_place(tmp_path):
    root = lay(tmp_path, "two folders", count=8)
    (root / "trainB/3.png").write_bytes(b"GIF89a")
    data = dataset(root, "two folders")
    said, ours = [], []
    plain = batches(data, 12, say=said.append)
    assert same(read(data, 12, say=ours.append), plain) and ours == said


def test_too_many_broken_files_end_it_in_the_same_words(tmp_path):
    root = lay(tmp_path, "folder", count=8)
    cut_off(root / "3.png", root / "4.png", root / "6.png")
    data = dataset(root, "folder")
    words = []
    for run in (batches, read):
        with pytest.raises(UserError) as caught:
            run(data, 8)
        words.append(str(caught.value))
    assert words[0] == words[1] and "of 8 training files are broken, and at most 1 may be" in words[0]


def test_an_error_hides_no_broken_file_of_the_same_batch(tmp_path):
    root = lay(tmp_path, "folder", count=12)
    data = dataset(root, "folder", load_size=None)
    write(root / "2.png", picture(0, 32, 32, np.uint16))
    cut_off(root / "9.png")
    told = []
    for run in (batches, read):
        said = []
        with pytest.raises(UserError, match="it has 16 bits a channel"):
            run(data, 1, batch_size=12, say=said.append)
        told.append(said)
    assert told[0] == told[1] and len(told[0]) == 1


def test_of_several_processes_each_waits_for_what_all_found_broken(tmp_path):
    root = lay(tmp_path, "folder", count=6)
    cut_off(root / "1.png", root / "4.png")
    data, said = dataset(root, "folder"), []
    lying = held(data)
    parts = [Resident(data, lying, batch_size=6, seed=0, part=(rank, 2), say=said.append) for rank in (0, 1)]
    for part in parts:
        next(part)
    found = [report for part in parts for report in part.found]
    assert {report.path for report in found} == {str(root / "1.png"), str(root / "4.png")} and not said
    with pytest.raises(UserError, match="2 of 6 training files are broken"):
        parts[0].report(found)


# ---------------------------------------------------------------------------------------------------- the reader


def test_a_closed_reader_says_so_and_holds_nothing(tmp_path):
    data = dataset(lay(tmp_path, "folder"), "folder")
    reader = Resident(data, held(data), batch_size=1, seed=0, say=lambda text: None)
    assert next(reader)["image"].shape == (1, 3, 16, 16)
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        next(reader)
    assert not any(isinstance(value, Held) for value in vars(reader).values())


def test_reading_leaves_the_data_set_and_the_generators_as_they_were(tmp_path):
    data = dataset(lay(tmp_path, "folder"), "folder")

    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before, first = states(), data.item(0, 0)[0]["image"]
    read(data, 5)
    assert states() == before and data.kept is None and torch.equal(data.item(0, 0)[0]["image"], first)


def test_once_they_lie_there_no_picture_is_touched_on_the_host(tmp_path, monkeypatch):
    data = dataset(lay(tmp_path, "paired"), "paired")
    plain = batches(data, 6)
    lying = held(data)
    monkeypatch.setattr(data, "unit", lambda *_: pytest.fail("a file is read"))
    for name in ("resize", "flip"):
        monkeypatch.setattr(cv2, name, lambda *_, **__: pytest.fail("a picture is moved on the host"))
    assert same(read(data, 6, lying), plain)


@pytest.mark.parametrize("layout", KIND)
def test_a_batch_reads_nothing_back_from_the_device(tmp_path, layout):
    data = dataset(lay(tmp_path, layout), layout)
    reader = Resident(data, held(data), batch_size=2, seed=0, say=lambda text: None)
    with NoHostReads() as watch:
        next(reader)
    assert watch.count


@pytest.mark.gpu
@pytest.mark.parametrize("settings", [name for name in SETTINGS if name not in ON_THE_HOST])
@pytest.mark.parametrize("layout", KIND)
def test_on_a_card_the_bits_are_the_same(tmp_path, layout, settings):
    changed = lay_as(tmp_path, layout, settings)
    data = dataset(tmp_path, layout, **changed)
    lying = Held(data)
    lying.fill(data, torch.device("cuda"), readers=3)
    found = read(data, 24, lying)
    assert all(x.is_cuda for batch in found for x in batch.values())
    assert same([{key: x.cpu() for key, x in batch.items()} for batch in found], batches(data, 24))
