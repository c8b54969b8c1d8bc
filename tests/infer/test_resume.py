"""`--resume`: what is there, whole and made by the same weights and options of the same input, stays; the rest is made."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from i2i.data import pictures
from i2i.infer import journal
from i2i.infer.folder import translate
from i2i.infer.journal import NAME, Journal, digest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(run_folder):
    return run_folder("r")


def draw(path: str, seed: int = 0, size=(12, 10)) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pictures.write(path, np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


def folder(count: int = 4) -> None:
    for number in range(count):
        draw(f"in/{number}.png", number)


def go(run, **options):
    return translate("in", model=run, out="out", device="cpu", say=str, **options)


def names(paths) -> list[str]:
    return [Path(path).name for path in paths]


def stamps() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path("out/in").iterdir()}


def test_everything_is_kept_and_nothing_touched_where_nothing_changed(run):
    folder()
    go(run)
    before = stamps()
    lines = []
    report = translate("in", model=run, out="out", device="cpu", say=lines.append, resume=True)
    assert names(report.kept) == ["0.png", "1.png", "2.png", "3.png"] and report.written == [] and stamps() == before
    assert lines[-1] == "0 pictures written to out; 4 were there, made by the same weights and options, and stay"


def test_without_it_all_are_made_again(run):
    folder()
    go(run)
    before = stamps()
    report = go(run)
    assert names(report.written) == ["0.png", "1.png", "2.png", "3.png"] and report.kept == []
    assert all(stamps()[name] != before[name] for name in before)


def test_what_changed_or_is_not_whole_is_made_again(run):
    folder(6)
    go(run)
    expected = {path.name: path.read_bytes() for path in Path("out/in").iterdir()}
    Path("out/in/0.png").unlink()
    whole = Path("out/in/1.png").read_bytes()
    Path("out/in/1.png").write_bytes(whole[:-20])  # torn by another program
    draw("out/in/2.png", 99)  # painted over
    draw("in/3.png", 77)  # another input under the same name
    os.utime("in/4.png", (0, 0))  # a copy of the same bytes is the same input
    report = go(run, resume=True)
    assert names(report.written) == ["0.png", "1.png", "2.png", "3.png"] and names(report.kept) == ["4.png", "5.png"]
    for name, data in expected.items():
        assert (Path("out/in", name).read_bytes() == data) == (name != "3.png")
    assert names(go(run, resume=True).kept) == [f"{number}.png" for number in range(6)]


def test_other_weights_or_options_keep_nothing(run_folder):
    run = run_folder("noisy", "generator", net="noisy", norm="batch", dropout=True)
    folder(2)
    go(run)
    assert go(run, resume=True, size=20).kept == []
    assert go(run, resume=True).kept == [], "those of another size were written over them"
    assert names(go(run, resume=True).kept) == ["0.png", "1.png"]
    other = run_folder("other", "generator", net="noisy", norm="batch", dropout=True, step=2000)
    assert go(other, resume=True).kept == []


def test_samples_are_kept_one_by_one(run_folder):
    run = run_folder("noisy", "generator", net="noisy", norm="batch", dropout=True)
    folder(2)
    go(run, samples=2)
    report = go(run, samples=3, resume=True)
    assert names(report.kept) == ["0_0.png", "0_1.png", "1_0.png", "1_1.png"]
    assert names(report.written) == ["0_2.png", "1_2.png"]
    Path("out/in/0_0.png").write_bytes(Path("out/in/0_1.png").read_bytes())
    assert names(go(run, samples=3, resume=True).written) == ["0_0.png"]


def test_a_sheet_shows_what_was_kept_too(run):
    folder(3)
    go(run, sheet=True)
    whole = Path("out/sheet.png").read_bytes()
    Path("out/sheet.png").unlink()
    Path("out/in/1.png").unlink()
    report = go(run, sheet=True, resume=True)
    assert names(report.written) == ["1.png"] and names(report.kept) == ["0.png", "2.png"]
    assert Path("out/sheet.png").read_bytes() == whole


def test_a_broken_input_fails_again(run):
    folder(2)
    Path("in/1.png").write_bytes(b"no picture")
    go(run)
    report = go(run, resume=True)
    assert names(report.kept) == ["0.png"] and names(failure.path for failure in report.failed) == ["1.png"]


def test_a_tiff_that_is_placed_by_a_file_beside_it_is_made_again(run):
    draw("in/a.tif")
    draw("in/b.tif", 1)
    Path("in/b.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    go(run)
    assert names(go(run, resume=True).kept) == ["a.tif"]


@pytest.mark.parametrize("place", ["output", "rename", "journal"])
def test_killed_in_the_middle_and_continued_it_ends_as_if_it_had_not_been(run, place):
    """SIGKILL while half of an output is written, before it is renamed, and between it and its line."""
    folder(8)
    code = textwrap.dedent("""
        import os, signal, sys
        from i2i import atomic
        from i2i.infer import journal
        def die(*_): os.kill(os.getpid(), signal.SIGKILL)
        write, replace, calls = os.write, os.replace, []
        def half(handle, data):
            write(handle, bytes(data)[: len(data) // 2]); die()
        def counted(inner, then):
            def call(*args):
                calls.append(1)
                return then(*args) if len(calls) == 4 else inner(*args)
            return call
        place = sys.argv.pop(1)
        part = atomic._write_part
        if place == "output":
            atomic._write_part = counted(part, lambda *given: (setattr(os, "write", half), part(*given)))
        if place == "rename":
            os.replace = counted(replace, die)
        if place == "journal":
            journal.Journal.add = counted(journal.Journal.add, die)
        from i2i.cli import main
        sys.argv[0] = "i2i"
        main()
    """)
    command = ["translate", "in", "--model", str(run), "--out", "out", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, place, *command], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    there = [path for path in Path("out/in").iterdir() if path.suffix == ".png"]
    assert 3 <= len(there) <= 4
    before = {path.name: path.stat().st_mtime_ns for path in there}
    report = go(run, resume=True)
    assert names(report.kept) == ["0.png", "1.png", "2.png"] and len(report.written) == 5
    assert all(stamps()[name] == before[name] for name in names(report.kept))
    translate("in", model=run, out="straight", device="cpu", say=str)
    assert [(path.name, path.read_bytes()) for path in sorted(Path("out/in").iterdir())] == [
        (path.name, path.read_bytes()) for path in sorted(Path("straight/in").iterdir())
    ], "the same files, and no part of one"


def test_the_command_line(run, monkeypatch):
    from running import in_process

    folder(2)
    command = ("translate", "in", "--model", run, "--device=cpu")
    assert in_process(*command)[0] == 0
    status, shown = in_process(*command, "--resume")
    assert status == 0 and "0 pictures written" in shown and "2 were there" in shown


class TestJournal:
    def test_a_torn_last_line_vouches_for_nothing_and_spoils_nothing(self, tmp_path):
        (tmp_path / "a").write_bytes(b"A")
        (tmp_path / "b").write_bytes(b"B")
        first = Journal(tmp_path, {"weights": "w"})
        first.add(tmp_path / "a", 0, "x", b"A")
        first.add(tmp_path / "b", 0, "y", b"B")
        first.close()
        file = tmp_path / NAME
        file.write_bytes(file.read_bytes()[:-30])
        second = Journal(tmp_path, {"weights": "w"})
        assert second.holds(tmp_path / "a", 0, "x") and not second.holds(tmp_path / "b", 0, "y")
        second.add(tmp_path / "b", 0, "y", b"B")
        second.close()
        third = Journal(tmp_path, {"weights": "w"})
        assert third.holds(tmp_path / "b", 0, "y")
        assert not third.holds(tmp_path / "b", 1, "y") and not third.holds(tmp_path / "b", 0, "x")
        third.close()
        other = Journal(tmp_path, {"weights": "v"})
        assert not other.holds(tmp_path / "a", 0, "x")
        other.close()

    @pytest.mark.parametrize(
        "text", [b"\x00\xff\n", b"[]\n", b'{"output": 1}\n', b"3\n", b'{"output": "a"}\n', b"\n\n"]
    )
    def test_lines_that_are_not_its_own_vouch_for_nothing(self, tmp_path, text):
        (tmp_path / "a").write_bytes(b"A")
        (tmp_path / NAME).write_bytes(text)
        found = Journal(tmp_path, {})
        assert not found.holds(tmp_path / "a", 0, "x")
        found.close()

    def test_a_link_is_no_output_of_ours(self, tmp_path):
        (tmp_path / "real").write_bytes(b"A")
        (tmp_path / "a").symlink_to("real")
        found = Journal(tmp_path, {})
        found.add(tmp_path / "a", 0, "x", b"A")
        assert not found.holds(tmp_path / "a", 0, "x")
        found.close()

    def test_it_does_not_grow_for_ever(self, tmp_path, monkeypatch):
        monkeypatch.setattr(journal, "SUPERFLUOUS", 5)
        for turn in range(20):
            found = Journal(tmp_path, {})
            found.add(tmp_path / "a", 0, str(turn), b"A")
            found.close()
        rows = [json.loads(row) for row in (tmp_path / NAME).read_bytes().splitlines()]
        assert len(rows) <= 8 and rows[-1]["input"] == "19" and rows[-1]["bytes"] == digest(b"A")

    def test_where_it_cannot_be_written_pictures_still_are(self, run):
        folder(1)
        Path("out", NAME).mkdir(parents=True)
        lines = []
        report = translate("in", model=run, out="out", device="cpu", say=lines.append, resume=True)
        assert len(report.written) == 1 and any(NAME in line and "Is a directory" in line for line in lines)
