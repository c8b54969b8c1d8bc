"""Runs that are scored while they train: when, which step is kept, and what a continuation makes of it."""

import json

import pytest
from running import ARGUMENTS, LENGTH

from i2i.engine.train import train
from i2i.evaluation.evaluate import evaluate
from i2i.evaluation.protocols.modes import Modes
from i2i.infer.runs import checkpoints
from i2i.infer.weights import read_meta, read_tensors


def run(path, *more, said=None):
    recipe, *overrides = ARGUMENTS["gan"]
    said = [] if said is None else said
    return train(recipe, [*overrides, *LENGTH, "train.tracker=null", *more], run=path, device="cpu", say=said.append)


def lines(path):
    return [json.loads(line) for line in (path / "evaluations.jsonl").read_text().splitlines()]


@pytest.fixture
def scores(monkeypatch):
    """What `modes` finds at a step: made up, so that the best step is known."""
    found = {4: 3, 8: 7, 12: 7, 16: 5, 20: 8}
    inner = Modes.measure

    def measure(self, subject, split):
        values = inner(self, subject, split)
        return {"modes": {**values["modes"], "covered": found[subject.step]}}

    monkeypatch.setattr(Modes, "measure", measure)
    return found


def test_the_best_step_is_kept_beside_the_last_ones(scores, tmp_path):
    said, path = [], tmp_path / "run"
    run(path, "train.keep=1", said=said)
    assert [(line["step"], line["score"], line["best"]) for line in lines(path)] == [(4, 3, True), (8, 7, True), (12, 7, False)]  # fmt: skip
    assert [int(file.stem) for file in checkpoints(path)] == [12, 8], "keep=1 keeps the last; the best is spared"
    assert read_meta(path / "best/generator.safetensors")["step"] == 8
    assert read_meta(path / "generator.safetensors")["step"] == 12
    told = [line for line in said if "modes: 40 samples" in line]
    assert len(told) == 1, "what the numbers are is said once"
    assert any(line.startswith("step 12  modes.covered 7") and "best: step 8 with 7" in line for line in said)


def test_a_continued_run_remembers_the_best(scores, tmp_path):
    path = tmp_path / "run"
    run(path, "train.keep=1")
    before, _ = read_tensors(path / "best/generator.safetensors")
    run(path, "train.keep=1", "train.steps=16")
    assert read_meta(path / "best/generator.safetensors")["step"] == 8
    assert [int(file.stem) for file in checkpoints(path)] == [16, 8]
    again, _ = read_tensors(path / "best/generator.safetensors")
    assert all(before[key].equal(again[key]) for key in before)
    run(path, "train.keep=1", "train.steps=20")
    assert read_meta(path / "best/generator.safetensors")["step"] == 20, "8 modes are better than 7"
    assert [int(file.stem) for file in checkpoints(path)] == [20], "the best before is no longer spared"


def test_a_step_that_is_scored_but_not_due_to_be_saved_is_saved_if_it_is_the_best(scores, tmp_path):
    path = tmp_path / "run"
    run(path, "train.save_every=1000")
    assert [int(file.stem) for file in checkpoints(path)] == [12, 8, 4]


def test_best_and_last_are_both_reported(scores, tmp_path):
    path, said = tmp_path / "run", []
    run(path)
    entries = evaluate(path, device="cpu", say=said.append)
    assert [(e["checkpoint"]["which"], e["checkpoint"]["step"]) for e in entries] == [("best", 8), ("last", 12)]
    kept = json.loads((path / "evaluation.json").read_text())["evaluations"]
    assert [entry["values"]["modes"]["covered"] for entry in kept] == [7, 7]
    evaluate(path, device="cpu", say=said.append)
    assert len(json.loads((path / "evaluation.json").read_text())["evaluations"]) == 2, (
        "the same numbers replace themselves"
    )


def test_a_value_that_is_no_number_is_never_the_best(scores, tmp_path):
    scores[4] = float("nan")
    path = tmp_path / "run"
    run(path)
    assert [line["best"] for line in lines(path)] == [False, True, False]
    assert lines(path)[0]["score"] is None


def test_without_a_schedule_nothing_is_scored(tmp_path):
    path = tmp_path / "run"
    run(path, "evaluate={}")
    assert not (path / "evaluations.jsonl").exists() and not (path / "best").exists()


def test_weights_and_bits_of_a_run_do_not_depend_on_being_scored(tmp_path):
    run(tmp_path / "scored")
    run(tmp_path / "plain", "evaluate={}")
    ours, theirs = (
        read_tensors(tmp_path / name / "checkpoints/00000012.safetensors")[0] for name in ("scored", "plain")
    )
    assert ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)


def test_lower_is_better_where_a_protocol_says_so(scores, tmp_path, monkeypatch):
    monkeypatch.setattr(Modes, "higher_is_better", False)
    path = tmp_path / "run"
    run(path)
    assert [line["best"] for line in lines(path)] == [True, False, False]
