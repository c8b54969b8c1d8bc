"""Pictures that stay decoded are the pictures that are read: for every kind, whoever was killed, whatever lies there."""

import copy
import json
import os
import pickle
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from laid import AUTO, KIND, SETTINGS, batches, dataset, lay, lay_as, picture, same

from i2i.data import DATASETS, cache, folder, labelled, paired, pictures, unpaired
from i2i.data.folders import listed
from i2i.data.pictures import write
from i2i.errors import UserError
from i2i.prepare.check import check

READERS = (paired, unpaired, folder, labelled)


def cached(root: Path, layout: str, say=lambda text: None, **changed):
    data = dataset(root, layout, **changed)
    cache.keep(data, say)
    return data


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """The user's cache of a test, which nothing writes to that can write beside the data."""
    monkeypatch.delenv("I2I_CACHE", raising=False)
    place = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    return place / "i2i" / "pictures"


def closed(monkeypatch):
    """From here on no training file may be decoded."""
    for module in READERS:
        monkeypatch.setattr(module, "read", lambda path, **_: pytest.fail(f"{path} is decoded again"))


def files_in(root: Path) -> list[Path]:
    return sorted((root / cache.FOLDER).iterdir())


# ---------------------------------------------------------------------------------------------------- same pictures


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("layout", KIND)
def test_the_pictures_are_those_that_are_read(tmp_path, monkeypatch, layout, settings):
    changed = lay_as(tmp_path, layout, settings)
    plain = batches(dataset(tmp_path, layout, **changed), 24)
    data = cached(tmp_path, layout, **changed)
    assert same(batches(data, 24), plain)
    closed(monkeypatch)
    if layout != "unpaired":  # whose partners are drawn, so that few epochs meet all
        assert same(batches(data, 24), plain)
        assert same(batches(cached(tmp_path, layout, **changed), 24), plain), "another run"


@pytest.mark.parametrize("layout", KIND)
def test_with_any_number_of_workers_and_from_any_start(tmp_path, monkeypatch, layout):
    lay(tmp_path, layout)
    plain = batches(dataset(tmp_path, layout), 16)
    for workers, start in ((2, 0), (2, 5), (0, 3)):
        assert same(batches(cached(tmp_path, layout), 16 - start, workers=workers, start_batch=start), plain[start:])
    closed(monkeypatch)
    data = cached(tmp_path, layout)
    first = data.item(0, 1)[0]
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert same([other.item(0, 1)[0]], [first])


def test_few_labels_and_limits(tmp_path):
    lay(tmp_path, "labelled")
    changed = {"labels": 4, "limit": 8}
    plain = batches(dataset(tmp_path, "labelled", **changed), 24)
    data = cached(tmp_path, "labelled", **changed)
    assert list(plain[0]) == ["image", "labelled", "label"] and same(batches(data, 24), plain)
    assert data.unlimited.kept is None and len(data.kept.levels["image"].units.sizes) == 8
    assert same(batches(cached(tmp_path, "labelled"), 24), batches(dataset(tmp_path, "labelled"), 24))
    assert len(files_in(tmp_path)) == 2, "the pictures of another limit are another list"


def test_an_item_is_a_row_of_a_batch(tmp_path):
    data = cached(lay(tmp_path, "labelled"), "labelled", labels=4)
    places = [(0, 3), (2, 1), (2, 9)]
    batch, _ = data.batch(places)
    for row, place in enumerate(places):
        item = data.item(*place)[0]
        assert all(torch.equal(batch[key][row], item[key]) for key in item) and list(batch) == list(item)


def test_previews_and_whole_splits_are_the_pictures_of_the_files(tmp_path):
    data = cached(lay(tmp_path, "paired"), "paired")
    batches(data, 6)
    assert data.previews(1)[0]["input"].shape == (32, 32, 3)
    assert next(data.whole("train"))["input"].flags.writeable


# ---------------------------------------------------------------------------------------------------- where, and when


def test_it_says_where_and_lies_hidden_beside_the_data(tmp_path, own_cache):
    said = []
    cached(lay(tmp_path, "folder"), "folder", said.append)
    (file,) = files_in(tmp_path)
    assert said == [
        f"decoded pictures are kept in {tmp_path / '.i2i-cache'} (up to 0.0 GB; may be removed at any time; "
        "data.cache=off: not)"
    ]
    assert len(listed(tmp_path)[0]) == 5 and listed(tmp_path)[1] == [] and not own_cache.exists()
    head = json.loads(file.read_bytes()[:4096].rstrip(b"\0"))
    assert head["pictures"] == 5 and head["bytes"] == file.stat().st_size and head["name"] == file.name


def test_no_listing_looks_into_it(tmp_path):
    """Whatever lies in it, pictures even."""
    root = lay(tmp_path, "two folders")
    for place in (root, root / "trainA", root / "trainB"):
        (place / cache.FOLDER).mkdir()
        write(place / cache.FOLDER / "stray.png", picture(1, 32, 32))
    assert len(dataset(root, "two folders")) == 5 and len(dataset(root, "unpaired")) == 5
    assert len(dataset(root, "folder")) == 10 and len(dataset(root, "labelled")) == 10
    assert "stray" not in str(check(root, workers=0))


def test_a_folder_with_its_cache_can_be_moved(tmp_path, monkeypatch):
    root = lay(tmp_path / "here", "folder")
    plain = batches(cached(root, "folder"), 5)
    root.rename(tmp_path / "there")
    closed(monkeypatch)
    assert same(batches(cached(tmp_path / "there", "folder"), 5), plain)


@pytest.mark.parametrize("why", ["not writable", "asked for"])
def test_elsewhere(tmp_path, own_cache, monkeypatch, why):
    lay(tmp_path, "folder")
    if why == "asked for":
        monkeypatch.setenv("I2I_CACHE", str(tmp_path / "big disk"))
        own_cache = tmp_path / "big disk" / "pictures"
    else:
        (tmp_path / cache.FOLDER).write_text("a file in its place")
    said = []
    data = cached(tmp_path, "folder", said.append)
    assert str(own_cache) in said[0] and len(list(own_cache.iterdir())) == 1
    assert same(batches(data, 6), batches(dataset(tmp_path, "folder"), 6))
    other = lay(tmp_path / "other", "folder")
    cached(other, "folder")
    assert len(list(own_cache.iterdir())) == 2 or (other / cache.FOLDER).is_dir(), "other folders, other files"


def test_where_nothing_can_be_kept_it_says_why(tmp_path, own_cache, monkeypatch):
    lay(tmp_path, "folder")
    said = []
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_free", lambda folder: int(4e9))
        data = cached(tmp_path, "folder", said.append)
        assert data.kept is None and not (tmp_path / cache.FOLDER).exists()
        assert said[0].startswith("decoded pictures are not kept, and decoded anew each epoch: ")
        assert "4.0 GB are free, 0.0 needed, and 5 left to others" in said[0] and str(own_cache) in said[0]
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_memory", lambda: 1000)
        assert cached(tmp_path, "folder", said.append).kept is None
        assert "more than half of this machine's memory" in said[1] and len(said) == 2


def test_what_reads_no_file_is_left_alone():
    sides = {"a": AUTO, "b": AUTO}
    common = {"load_size": None, "crop_size": 16, "flip": True, "transform": None, "seed": 0, **sides}
    data = DATASETS.build("synthetic", pairing="paired", size=16, count=2, path=None, **common)
    cache.keep(data, pytest.fail)
    assert data.kept is None


# ---------------------------------------------------------------------------------------------------- what changes


def test_a_picture_that_changes_is_seen_at_once_and_in_the_next_run(tmp_path):
    root = lay(tmp_path, "folder")
    data = cached(root, "folder")
    before = batches(data, 5)
    (old,) = files_in(root)
    write(root / "2.png", picture(40, 32, 32))
    plain = batches(dataset(root, "folder"), 5)
    assert not same(plain, before) and same(batches(data, 5), plain) and same(batches(data, 5), plain)
    again = cached(root, "folder")
    assert same(batches(again, 5), plain) and same(batches(again, 5), plain)
    assert old not in files_in(root) and len(files_in(root)) == 1, "the old levels are removed"
    assert same(batches(data, 5), plain), "a run that had them open goes on"


def test_a_picture_of_the_same_name_size_and_mtime_is_another_one(tmp_path):
    """As of an archive that sets the times back, and of files that are not compressed."""
    root = lay(tmp_path, "folder", suffix=".npy")
    batches(cached(root, "folder"), 5)
    found = os.stat(root / "1.npy")
    write(root / "1.npy", picture(40, 32, 32))
    os.utime(root / "1.npy", ns=(found.st_atime_ns, found.st_mtime_ns))
    assert os.stat(root / "1.npy").st_size == found.st_size
    assert same(batches(cached(root, "folder"), 5), batches(dataset(root, "folder"), 5))


def test_every_setting_that_changes_the_levels_has_its_own_file(tmp_path):
    root = lay(tmp_path, "paired", dtype=np.uint16)
    pages = {"channels": "auto", "range": [0, 60_000]}
    for changed in ({}, {"load_size": 20}, {"load_size": None}, {"direction": "ba"}, {"a": pages}):
        data = cached(root, "paired", **changed)
        assert same(batches(data, 6), batches(dataset(root, "paired", **changed), 6))
    assert len(files_in(root)) == 5
    for changed in ({"crop_size": 8}, {"flip": False}, {"seed": 4}, {"transform": "d4"}):
        data = cached(root, "paired", **changed)
        assert same(batches(data, 6), batches(dataset(root, "paired", **changed), 6))
    assert len(files_in(root)) == 5, "what is drawn needs no file of its own"


def test_what_no_run_has_opened_for_long_is_removed_and_nothing_else(tmp_path):
    root = lay(tmp_path, "folder")
    (root / cache.FOLDER).mkdir()
    old, recent, dead, others = (root / cache.FOLDER / n for n in ("a.levels", "b.levels", ".x.i2i-part", "notes.txt"))
    for path, days in ((old, 31), (recent, 29), (dead, 1), (others, 400)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - 86_400 * days,) * 2)
    cached(root, "folder")
    assert not old.exists() and not dead.exists() and recent.exists() and others.exists()
    (file,) = [path for path in files_in(root) if path not in (recent, others)]
    os.utime(file, (1, 1))
    cached(root, "folder")
    assert time.time() - file.stat().st_mtime < 60, "a file in use is a young one"


# ---------------------------------------------------------------------------------------------------- what is broken


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_pictures_are_reported_as_without(tmp_path, workers):
    root = lay(tmp_path, "folder", count=8)
    cut = root / "3.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    said, kept = [], []
    plain = batches(dataset(root, "folder"), 12, workers=workers, say=said.append)
    assert same(batches(cached(root, "folder"), 12, workers=workers, say=kept.append), plain)
    assert said == kept and len(said) == 1 and "cut off" in said[0]


def test_a_picture_that_is_removed_while_a_run_goes_on_is_broken(tmp_path):
    root = lay(tmp_path, "folder", count=8)
    data, said = cached(root, "folder"), []
    batches(data, 4)
    (root / "3.png").unlink()
    batches(data, 4, say=said.append)
    assert len(said) == 1 and "3.png is broken and left out" in said[0]
    write(root / "3.png", np.zeros((32, 32, 3), np.uint16))
    with pytest.raises(UserError, match="16 bits a channel"):
        batches(data, 4, say=said.append)


def test_a_broken_header_has_no_place(tmp_path):
    root = lay(tmp_path, "two folders", count=8)
    (root / "trainB/3.png").write_bytes(b"GIF89a")
    changed = {"say": lambda text: None}
    data = cached(root, "two folders")
    assert same(batches(data, 12, **changed), batches(dataset(root, "two folders"), 12, **changed))
    assert data.kept.levels["pair"]._lengths[3].tolist() == [0, 0]


DAMAGES = {
    "a byte of every picture": lambda data: bytes([*data[:4096], *(byte ^ 255 for byte in data[4096:])]),
    "one byte": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "the head": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "cut off": lambda data: data[: len(data) // 2],
    "within its head": lambda data: data[:100],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"more",
    "zeros": lambda data: bytes(len(data)),
    "random": lambda data: np.random.default_rng(0).bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_levels_are_never_used(tmp_path, damage):
    root = lay(tmp_path, "folder")
    plain = batches(cached(root, "folder"), 10)
    (file,) = files_in(root)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert same(batches(cached(root, "folder"), 10), plain)
    assert same(batches(cached(root, "folder"), 10), plain)


@pytest.mark.parametrize("foreign", ["folder", "fifo", "link"])
def test_what_else_stands_there_is_not_used(tmp_path, foreign):
    root = lay(tmp_path, "folder")
    plain = batches(cached(root, "folder"), 10)
    (file,) = files_in(root)
    content = file.read_bytes()
    file.unlink()
    if foreign == "folder":
        file.mkdir()
        (file / "x").write_text("x")
    elif foreign == "fifo":
        os.mkfifo(file)
    else:
        (tmp_path / "target").write_bytes(content[:4096] + bytes(99))
        file.symlink_to(tmp_path / "target")
    assert same(batches(cached(root, "folder"), 10), plain)
    if foreign == "link":
        assert (tmp_path / "target").stat().st_size == 4096 + 99, "the file that a link names is not written to"


def test_a_disk_that_takes_no_more_is_told_once_and_training_goes_on(tmp_path, monkeypatch):
    root = lay(tmp_path, "folder", count=8)
    plain = batches(dataset(root, "folder"), 12)
    pwrite, calls = os.pwrite, []

    def full(handle, data, offset):
        calls.append(offset)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        return pwrite(handle, data, offset)

    for workers in (0, 2):
        calls.clear()
        monkeypatch.setattr(os, "pwrite", full)
        data, said = cached(root, "folder"), []
        assert same(batches(data, 12, workers=workers, say=said.append), plain)
        assert said == [
            "the disk takes no more decoded pictures: those that are not kept yet are decoded anew each epoch"
        ]
        monkeypatch.undo()
        files_in(root)[0].unlink()


# ---------------------------------------------------------------------------------------------------- kills and company


def writer(root: Path, kill_at: int, start: int = -1) -> int:
    """A process that reads 13 epochs of a cached set; killed half way through its write of this number (0: never).

    It waits for the end of the pipe `start`, if one is given.
    """
    child = os.fork()
    if child:
        return child
    pwrite, calls = os.pwrite, []

    def deadly(handle, data, offset):
        calls.append(offset)
        if len(calls) == kill_at:
            pwrite(handle, bytes(data)[: max(1, len(data) // 2)], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return pwrite(handle, data, offset)

    try:
        os.pwrite = deadly
        data = cached(root, "paired")
        if start >= 0:
            os.read(start, 1)
        batches(data, 40)
        os._exit(0)
    finally:
        os._exit(1)


def test_a_killed_writer_leaves_nothing_that_is_wrong(tmp_path):
    roots = [lay(tmp_path / str(number), "paired", count=3) for number in (1, 2, 3, 4)]
    for number, root in enumerate(roots, 1):
        _, status = os.waitpid(writer(root, number), 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        plain = batches(dataset(root, "paired"), 6)
        data = cached(root, "paired")
        whole = [data.kept.levels["pair"].get(place) is not None for place in range(3)]
        assert sum(whole) == (number - 1) // 2, "two writes are a picture"
        assert same(batches(data, 6), plain) and same(batches(data, 6), plain)


def test_two_runs_that_start_at_once_open_one_file(tmp_path):
    for number in range(8):
        root = lay(tmp_path / str(number), "folder")
        start, go = os.pipe()
        found, tell = os.pipe()
        children = []
        for _ in range(2):
            children.append(os.fork())
            if children[-1] == 0:
                try:
                    data = dataset(root, "folder")
                    os.read(start, 1)
                    cache.keep(data, lambda text: None)
                    os.write(tell, b"%20d" % os.fstat(data.kept.levels["image"]._handle).st_ino)
                finally:
                    os._exit(0)
        os.write(go, b"12")
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        one, two = os.read(found, 20), os.read(found, 20)
        assert one == two and int(one) == files_in(root)[0].stat().st_ino
        for handle in (start, go, found, tell):
            os.close(handle)


def test_two_runs_at_once_fill_one_file(tmp_path, monkeypatch):
    root = lay(tmp_path, "paired", count=30)
    start, go = os.pipe()
    both = [writer(root, 0, start) for _ in range(2)]
    os.write(go, b"12")
    assert [os.waitpid(each, 0)[1] for each in both] == [0, 0]
    os.close(start)
    os.close(go)
    plain = batches(dataset(root, "paired"), 30)
    assert len(files_in(root)) == 1
    closed(monkeypatch)
    assert same(batches(cached(root, "paired"), 30), plain)


def test_the_folder_can_be_removed_while_a_run_goes_on(tmp_path, monkeypatch):
    root = lay(tmp_path, "folder")
    data = cached(root, "folder")
    plain = batches(data, 5)
    for file in files_in(root):
        file.unlink()
    (root / cache.FOLDER).rmdir()
    closed(monkeypatch)
    assert same(batches(data, 5), plain)


def test_a_cap_on_pixels_still_holds(tmp_path, monkeypatch):
    """What is refused before it is decoded is not kept either."""
    root = lay(tmp_path, "folder")
    data = cached(root, "folder")
    monkeypatch.setenv("I2I_MAX_PIXELS", "100")
    with pytest.raises(UserError, match="over the cap of 100"):
        batches(data, 1)
    assert pictures.pixel_cap() == 100
