"""benchmarks/start.py with a stand-in for the reference: it waits for the line it says, and tells what was measured."""

import re
import sys

import pytest
from scripts import loaded

from i2i.data.synthetic import write_folder

STAND_IN = """
import sys, time
if sys.argv[1:] == ["--help"]:
    raise SystemExit
assert sys.argv[sys.argv.index("--print_freq") + 1] == "1" and "--dataroot" in sys.argv
print("[Rank 0] (epoch: 1, iters: 1, time: 0.1)")
time.sleep(600)
"""


@pytest.fixture
def script(monkeypatch):
    return loaded("start", monkeypatch)


def test_all_take_turns_and_a_training_is_ended_after_its_first_step(script, tmp_path, monkeypatch, capsys):
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "train.py").write_text(STAND_IN)
    write_folder(tmp_path / "data" / "train", 2, size=256)
    arguments = [str(tmp_path / "data"), "--reference", str(tmp_path / "checkout"), "--rounds", "1", "--allowed", "1"]
    monkeypatch.setattr(sys, "argv", ["start.py", *arguments])
    script.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == [
        "import torch", "reference, train.py --help", "i2i --help", "reference, train.py to its first step",
        "i2i train to its first step",
    ]  # fmt: skip
    assert all(row[-1] == "1 + 0" and re.match(r"\d+\.\d\d \(", row[1]) for row in rows)
    seconds = {row[0]: float(row[1].split()[0]) for row in rows}
    assert seconds["i2i train to its first step"] > seconds["import torch"] > seconds["reference, train.py --help"]


def test_what_does_not_come_is_told_with_what_was_said(script):
    wait = script.Wait("none", [sys.executable, "-c", "print('something else')"], "step 1/")
    with pytest.raises(SystemExit, match=r"did not do what was waited for. It said:\nsomething else"):
        wait.sample(1.0)
    with pytest.raises(SystemExit, match="did not do what was waited for"):
        script.Wait("fails", [sys.executable, "-c", "raise SystemExit(3)"]).sample(1.0)


def test_crowded_samples_are_left_out_and_counted(script, monkeypatch):
    wait = script.Wait("quick", [sys.executable, "-c", ""])
    times = iter([0.0, 100.0, 100.0, 100.0])
    monkeypatch.setattr(script, "busy", lambda: next(times))
    wait.sample(0.05)
    wait.sample(0.05)
    assert len(wait.seconds) == 1 and wait.left_out == 1


def test_a_folder_that_is_no_checkout_is_refused_in_words(script, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["start.py", str(tmp_path), "--reference", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"there is no train\.py in it. Give a checkout"):
        script.main()
