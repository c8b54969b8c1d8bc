"""What benchmarks/compare.py does for a card, as far as no card is needed: turns, ratios, what is kept."""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from running import ENV
from stand_in import checkout

ROOT = Path(__file__).parents[1]


@pytest.fixture
def oncard(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("oncard")


class Scripted:
    """Takes a step in a known time; writes down what it was asked."""

    TIMES = {"reference/tf32": 0.010, "reference/fp32": 0.020, "plain/bf16": 0.005, "auto/fp32": 0.004}

    def __init__(self, name, log):
        self.name, self.log, self.facts = name, log, {"said": "", "card": "a card", "torch": "2", "threads": 1}

    def ask(self, command):
        self.log.append((self.name, command))
        return {"seconds": self.TIMES[self.name], "losses": {"G": 2.0}, "peak": 2 * 10**9}

    def end(self):
        self.log.append((self.name, "end"))


def asked(**more):
    usual = {
        "method": "pix2pix",
        "size": 256,
        "width": 64,
        "batch": 2,
        "samples": 2,
        "steps": 50,
        "forward": 0,
        "alone": False,
    }
    return argparse.Namespace(**(usual | more))  # fmt: skip


def test_all_take_turns_in_rotation_and_each_precision_has_its_own_reference(oncard):
    log = []
    begun = [Scripted(name, log) for name in Scripted.TIMES]
    found = oncard.side_by_side(begun, asked(forward=4), 3)
    turns = [name for name, command in log if command.startswith("steps") and command.endswith(" 50")]
    names = list(Scripted.TIMES)
    assert turns == names + names[1:] + names[:1]
    mine = [command for name, command in log if name == "auto/fp32"]
    assert mine[:4] == ["step 0", "step 1", "step 2", f"steps 3 {oncard.WARM_UP}"]
    assert mine[4:6] == [f"steps {3 + oncard.WARM_UP} 50", f"steps {53 + oncard.WARM_UP} 50"]
    assert mine[6:] == ["forward 50"] * 2, "after the last step: it leaves the networks in evaluation"
    text = oncard.report(found, asked(forward=4), lambda theirs, ours: 1e-6)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert "| reference | 20 (20 to 20) | 10 (10 to 10) |  |" in rows
    assert any("5 (5 to 5): 2.00 (2.00 to 2.00)x |" in row and "speed=plain" in row for row in rows)
    assert any("| 4 (4 to 4): 5.00 (5.00 to 5.00)x |  |  |" in row and "speed=auto" in row for row in rows)
    assert "plain/bf16: losses of the first steps within 1.0e-06 of reference/tf32's" in text
    assert "reference/tf32 200, reference/fp32 100, plain/bf16 400, auto/fp32 500" in text


def test_alone_each_is_started_for_its_turn_and_ended_after_it(oncard, tmp_path):
    log = []
    found = oncard.alone(lambda name: Scripted(name, log), ["reference/tf32", "plain/bf16"], asked(alone=True), 3)
    ends = [name for name, command in log if command == "end"]
    assert ends == ["reference/tf32", "plain/bf16", "plain/bf16", "reference/tf32"]
    text = oncard.report(found, asked(alone=True), lambda theirs, ours: 0.0)
    oncard.keep(found, asked(alone=True, keep=tmp_path, reference=tmp_path), text, tmp_path)
    kept = json.loads((tmp_path / "pix2pix-256-batch2.json").read_text())
    assert kept["contestants"][1]["seconds"] == [0.005, 0.005] and str(tmp_path) not in json.dumps(kept)
    assert (tmp_path / "pix2pix-256-batch2.md").read_text() == text + "\n"


@pytest.mark.slow
def test_contestants_answer_to_the_commands_of_a_card(tmp_path):
    """On the CPU, where they do the same without a graph."""
    settings = {"method": "pix2pix", "size": 128, "width": 2, "blocks": 6, "batch": 1, "batches": 1}
    settings |= {"device": "cpu", "forward": 2}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    make = "import torch; from safetensors.torch import save_file; x = torch.ones(1, 3, 128, 128); save_file({'0.A': x, '0.B': x.clone()}, 'batches.safetensors')"
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, check=True)
    commands = ["step 0", "steps 1 2"]
    for name, *more in (["reference/tf32", str(checkout(tmp_path / "clone"))], ["auto/tf32"], ["plain/fp32"]):
        told = [*commands, *(["forward 1"] if not more else []), "end"]  # the stand-in's networks are no modules
        done = subprocess.run(
            [sys.executable, ROOT / "benchmarks" / "contestant.py", tmp_path, name, *more], text=True, env=ENV,
            input="\n".join(told) + "\n", capture_output=True, timeout=280,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        facts, one, two, *generated = map(json.loads, done.stdout.splitlines())
        assert facts["card"] == "" and set(one["losses"]) == {"G_GAN", "G_L1", "D"} and two["losses"] == {}
        assert all(answer["seconds"] > 0 and answer["peak"] > 0 for answer in (one, two, *generated))
        assert len(generated) == (not more)


def gpu(*words, **env):
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), *words]
    return subprocess.run(command, capture_output=True, text=True, env={**ENV, "PYTHON": sys.executable, **env})


def test_the_script_for_a_card_says_what_it_lacks(tmp_path):
    done = gpu("everything", OUT=str(tmp_path))
    assert done.returncode == 2 and "'everything' is neither tables nor quality." in done.stderr


@pytest.mark.slow
def test_the_script_for_a_card_goes_on_part_by_part(tmp_path):
    """With a stand-in for Python that writes down what it is asked; a part that failed is tried again, others are not."""
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >>{log}\ncase "$*" in *cyclegan*) test -e {tmp_path}/mended;; esac\n')
    python.chmod(0o755)
    where = {"PYTHON": str(python), "OUT": str(tmp_path / "out"), "RUNS": str(tmp_path), "REFERENCE": "clone"}
    first = gpu("tables", **where)
    assert first.returncode == 1 and "cyclegan-batch1: failed" in first.stdout
    asked = log.read_text()
    assert asked.count("-m pytest") == 1 and asked.count("--method pix2pix --batch 16") == 1
    (tmp_path / "mended").touch()
    log.write_text("")
    again = gpu("tables", **where)
    assert again.returncode == 0 and "== tests: done before" in again.stdout, again.stdout
    assert "-m pytest" not in log.read_text() and log.read_text().count("--method cyclegan") == 2
    late = gpu("quality", LIMIT="10", FACADES="there", **where)
    assert late.returncode == 1 and "not begun" in late.stdout
