"""Fits are kept under what decides them, found again, made anew where damaged, and made all the same where none can be kept."""

import os
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from i2i import atomic, places
from i2i.errors import UserError
from i2i.evaluation import store
from i2i.infer.weights import read_tensors, write_tensors

META = {"kind": "classifier", "settings": {"steps": 3}}
KEY = store.key_of("classifier", {"steps": 3}, {"pictures": np.zeros((2, 3), np.uint8)}, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Maker:
    """Counts how often it is asked."""

    def __init__(self, value=1.0):
        self.calls, self.value = 0, value

    def __call__(self):
        self.calls += 1
        return {"weight": torch.full((3, 2), self.value), "count": torch.tensor(5)}, {"accuracy": 0.75}


def test_the_folder_is_the_users_then_xdgs_then_homes(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("I2I_CACHE", "~/own")
    assert places.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("I2I_CACHE")
    assert places.cache_folder() == tmp_path / "xdg" / "i2i"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard: ignored
    assert places.cache_folder() == tmp_path / ".cache" / "i2i"


def test_a_fit_is_made_once_and_read_after(cache):
    make, said = Maker(), []
    first = store.fitted(KEY, META, make, say=said.append)
    second = store.fitted(KEY, META, make, say=said.append)
    assert make.calls == 1 and said == []
    assert first.hash == second.hash and first.meta == second.meta
    assert first.meta["accuracy"] == 0.75 and first.meta["settings"] == {"steps": 3} and first.meta["key"] == KEY
    assert torch.equal(second.tensors["weight"], torch.ones(3, 2)) and second.tensors["count"].dtype == torch.int64
    assert [path.name for path in cache.iterdir()] == [f"classifier-{KEY[:40]}.safetensors"]


def test_the_key_changes_with_everything_that_decides_a_fit():
    data = np.arange(6, dtype=np.uint8).reshape(2, 3)
    keys = [
        store.key_of("classifier", {"a": 1}, {"x": data, "t": None}, 0),
        store.key_of("segmentation", {"a": 1}, {"x": data, "t": None}, 0),
        store.key_of("classifier", {"a": 2}, {"x": data, "t": None}, 0),
        store.key_of("classifier", {"a": 1}, {"x": data, "t": None}, 1),
        store.key_of("classifier", {"a": 1}, {"x": data, "t": data}, 0),
        store.key_of("classifier", {"a": 1}, {"x": data.reshape(3, 2), "t": None}, 0),
        store.key_of("classifier", {"a": 1}, {"x": data.astype(np.int8), "t": None}, 0),
        store.key_of("classifier", {"a": 1}, {"x": np.array([[0, 1, 2], [3, 4, 6]], np.uint8), "t": None}, 0),
    ]
    assert len(set(keys)) == len(keys)
    assert store.key_of("classifier", {"a": 1}, {"t": None, "x": torch.from_numpy(data)}, 0) == keys[0]
    # the bytes count as they are seen, not as they lie in memory
    assert store.digest_of(data.T) == store.digest_of(np.ascontiguousarray(data.T)) != store.digest_of(data)


def test_settings_that_are_no_json_are_refused():
    with pytest.raises(ValueError, match="strict JSON"):
        store.key_of("classifier", {"a": object()}, {}, 0)


def test_the_hash_is_that_of_the_tensors_alone():
    one = {"a": torch.ones(2), "b": torch.zeros(3)}
    assert store.hash_of(one) == store.hash_of(dict(reversed(one.items())))
    renamed, reshaped = {"a": one["a"], "c": one["b"]}, {"a": torch.ones(1, 2), "b": one["b"]}
    retyped = {"a": one["a"].double(), "b": one["b"]}
    assert len({store.hash_of(each) for each in (one, renamed, reshaped, retyped)}) == 4


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "folder", "another"])
def test_a_damaged_fit_is_made_anew_with_a_sentence(cache, harm):
    make, said = Maker(), []
    store.fitted(KEY, META, make, say=said.append)
    (path,) = cache.iterdir()
    data = bytearray(path.read_bytes())
    if harm == "flipped":
        data[-1] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:-7])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "folder":
        path.unlink()
        path.mkdir()
    else:
        tensors, meta = read_tensors(path)
        write_tensors(path, tensors, {**meta, "key": "0" * 64})
    found = store.fitted(KEY, META, make, say=said.append)
    assert make.calls == 2 and torch.equal(found.tensors["weight"], torch.ones(3, 2))
    assert said[0].startswith("A fit that was kept cannot be used, and is made anew: ") and str(path) in said[0]
    if harm != "folder":  # which nothing replaces, and which is told once more
        assert len(said) == 1
        store.fitted(KEY, META, make, say=said.append)
        assert make.calls == 2 and len(said) == 1


@pytest.mark.skipif(
    os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="the administrator may write anywhere"
)
def test_a_folder_that_may_not_be_written_to_is_said_once(cache):
    cache.mkdir()
    cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    _said_once()


def test_a_folder_that_cannot_be_is_said_once(cache):
    cache.write_text("a file where the folder belongs")
    _said_once()


def test_a_disk_that_takes_nothing_is_said_once(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_tensors", full)
    assert "No space left on device" in _said_once()


def _said_once() -> str:
    make, said = Maker(), []
    first = store.fitted(KEY, META, make, say=said.append)
    second = store.fitted(KEY, META, make, say=said.append)
    assert make.calls == 2 and first.hash == second.hash and first.meta["accuracy"] == 0.75
    assert len(said) == 1 and "I2I_CACHE" in said[0]
    return said[0]


def test_a_fit_that_is_not_finite_is_not_kept(cache):
    with pytest.raises(UserError, match="not finite"):
        store.fitted(KEY, META, Maker(float("nan")), say=print)
    assert not cache.exists()


def test_what_a_killed_writer_left_is_removed_once_it_is_old(cache):
    cache.mkdir()
    old, new = (cache / f".{name}.0123{atomic.SUFFIX}" for name in ("old", "new"))
    for part in (old, new):
        part.write_bytes(b"a part")
    os.utime(old, (time.time() - 7200,) * 2)
    store.fitted(KEY, META, Maker(), say=pytest.fail)
    assert new.exists() and not old.exists()


def test_two_processes_at_once_both_have_it_whole(cache):
    code = (
        "import sys, torch\n"
        "from i2i import places\n"
        "from i2i.evaluation import store\n"
        "def make(): return {'w': torch.arange(200000.)}, {}\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for _ in range(20):\n"
        "    found = store.fitted(sys.argv[1], {'kind': 'classifier'}, make)\n"
        "    assert found.tensors['w'].sum() == torch.arange(200000.).sum()\n"
        "    store._store(places.cache_folder() / f'classifier-{sys.argv[1][:40]}.safetensors', found.tensors, found.meta, print)\n"
        "print(found.hash)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", code, KEY], **pipes) for _ in range(2)]
    for each in both:
        assert each.stdout.readline() == "ready\n"
    for each in both:
        each.stdin.write("go\n")
        each.stdin.flush()
    told = [each.communicate(timeout=60)[0].split() for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert told[0] == told[1] and len(told[0]) == 1  # the hash, and no sentence of a damaged file
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]
