"""Decoding, computing and writing at the same time: what is seen and written is as if one thread had done it all."""

import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from i2i import atomic
from i2i.data import pictures
from i2i.errors import UserError
from i2i.infer import models, overlap
from i2i.infer.folder import translate
from i2i.infer.translator import Translator


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def noise(seed: int, size=(12, 10)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def folder(count: int, broken=()) -> list[Path]:
    """`in/00.png`, ... of noise; those named broken are none."""
    Path("in").mkdir()
    files = [Path(f"in/{number:02d}.png") for number in range(count)]
    for number, file in enumerate(files):
        if number in broken:
            file.write_bytes(b"no picture")
        else:
            pictures.write(file, noise(number))
    return files


def test_outputs_reports_lines_and_progress_are_in_order_however_long_each_part_takes(run_folder, monkeypatch):
    run = run_folder("r", "generator", net="noisy", norm="batch", dropout=True)
    files = folder(9, broken=(2, 8))
    expected = models.load(run, device="cpu")
    rng, real = np.random.default_rng(0), {"decode": pictures.decode, "encode": pictures.encode}
    pauses = {name: list(rng.uniform(0, 0.03, 60)) for name in real}

    def slow(name):
        def call(*args, **kwargs):
            time.sleep(pauses[name].pop())
            return real[name](*args, **kwargs)

        return call

    for name in real:
        monkeypatch.setattr(pictures, name, slow(name))
    told = []
    report = translate(
        "in", model=run, out="out", samples=2, device="cpu",
        say=lambda line: told.append(line), progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    good = [file for number, file in enumerate(files) if number not in (2, 8)]
    assert report.written == [Path("out/in") / f"{file.stem}_{sample}.png" for file in good for sample in (0, 1)]
    assert [failure.path for failure in report.failed] == [files[2], files[8]]
    assert [line for line in told if isinstance(line, tuple)] == [(done, 9) for done in range(1, 10)]
    at = {path: next(i for i, line in enumerate(told) if str(files[path]) in str(line)) for path in (2, 8)}
    assert told[at[2] - 1] == (2, 9) and told[at[2] + 1] == (3, 9) and told[at[8] + 1] == (9, 9)
    for path in report.written:
        stem, sample = path.stem.split("_")
        made = expected.pixels(pictures.read(f"in/{stem}.png").pixels, sample=int(sample))
        assert np.array_equal(pictures.read(path).pixels, made)


def test_reading_and_writing_happen_while_the_network_computes(run_folder, monkeypatch):
    """Each forward waits until the next input is decoded and the output before is written: one thread would hang."""
    run = run_folder("r")
    folder(6)
    decoded, written, forwards = [threading.Semaphore(0) for _ in range(6)], threading.Semaphore(0), []
    decode, write, picture = pictures.decode, atomic.write_bytes, Translator.picture

    def decoding(data, path, **kwargs):
        found = decode(data, path, **kwargs)
        decoded[int(Path(path).stem)].release()
        return found

    def writing(path, *pieces):
        write(path, *pieces)
        written.release()

    def computing(self, *args, **kwargs):
        place = len(forwards)
        forwards.append(threading.current_thread() is threading.main_thread())
        assert place == 5 or decoded[place + 1].acquire(timeout=20), "the next input is not decoded meanwhile"
        assert place == 0 or written.acquire(timeout=20), "the output before is not written meanwhile"
        return picture(self, *args, **kwargs)

    monkeypatch.setattr(pictures, "decode", decoding)
    monkeypatch.setattr(atomic, "write_bytes", writing)
    monkeypatch.setattr(Translator, "picture", computing)
    assert len(translate("in", model=run, device="cpu", say=str).written) == 6 and forwards == [True] * 6


@pytest.mark.parametrize("slow", ["network", "disk"])
def test_few_pictures_are_in_memory(run_folder, monkeypatch, slow):
    run = run_folder("r", "generator", net="noisy", norm="batch", dropout=True)
    folder(12)
    counts = {"decoded": 0, "computed": 0, "written": 0}
    most = {"ahead": 0, "behind": 0}
    decode, write, picture = pictures.decode, atomic.write_bytes, Translator.picture

    def decoding(*args, **kwargs):
        counts["decoded"] += 1
        most["ahead"] = max(most["ahead"], counts["decoded"] - counts["computed"] // 3)
        return decode(*args, **kwargs)

    def writing(*args):
        if slow == "disk":
            time.sleep(0.02)
        counts["written"] += 1
        write(*args)

    def computing(self, *args, **kwargs):
        if slow == "network":
            time.sleep(0.02)
        most["behind"] = max(most["behind"], counts["computed"] - counts["written"])
        output = picture(self, *args, **kwargs)
        counts["computed"] += 1
        return output

    monkeypatch.setattr(pictures, "decode", decoding)
    monkeypatch.setattr(atomic, "write_bytes", writing)
    monkeypatch.setattr(Translator, "picture", computing)
    translate("in", model=run, samples=3, device="cpu", say=str)
    assert counts == {"decoded": 12, "computed": 36, "written": 36}
    assert most["ahead"] <= overlap.AHEAD + 2 and most["behind"] <= overlap.BEHIND + 1


def test_what_waits_behind_a_full_disk_is_not_written_and_what_was_told_before_stays(run_folder, monkeypatch):
    run = run_folder("r")
    folder(8, broken=(1,))
    write, calls, told = atomic.write_bytes, [], []

    def full(path, *pieces):
        calls.append(path.name)
        time.sleep(0.05)  # others queue up meanwhile
        if path.name == "03.png":
            raise OSError(28, "No space left on device", str(path))
        write(path, *pieces)

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(UserError, match=r"in/03\.png cannot be written: No space left on device; 2 pictures were"):
        translate("in", model=run, device="cpu", say=told.append)
    assert calls == ["00.png", "02.png", "03.png"]
    assert sorted(path.name for path in Path(run, "translated/in").iterdir()) == ["00.png", "02.png"]
    assert "01.png" in told[-1], "the broken input before it was named"


def test_control_c_ends_it_with_whole_files_and_no_thread_left(run_folder, monkeypatch):
    run = run_folder("r")
    folder(30)
    picture, calls = Translator.picture, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return picture(self, *args, **kwargs)

    monkeypatch.setattr(Translator, "picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        translate("in", model=run, device="cpu", say=str)
    made = sorted(Path(run, "translated/in").iterdir())
    assert [path.name for path in made] == [f"{number:02d}.png" for number in range(len(made))] and 2 <= len(made) <= 4
    for path in made:
        pictures.read(path)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("i2i-")]


def test_a_bug_in_a_decoder_is_not_taken_for_a_broken_file(run_folder, monkeypatch):
    run = run_folder("r")
    folder(3)
    monkeypatch.setattr(pictures, "decode", lambda *args, **kwargs: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        translate("in", model=run, device="cpu", say=str)


def test_a_callers_warning_filters_are_as_they_were(run_folder):
    run = run_folder("r")
    folder(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        translate("in", model=run, device="cpu", say=str)
        assert warnings.filters == before
