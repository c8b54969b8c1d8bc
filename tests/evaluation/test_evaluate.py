"""`i2i evaluate` and the schedule: what is scored, what is kept in evaluation.json, and what is said where it cannot."""

import json
import os
import shutil

import pytest
import torch
from hand_made import GAN, Given, noise, pictures, points, recipe, recipe_file, subject, write
from running import in_process

import i2i
from i2i.data.domain import Domain
from i2i.errors import UserError
from i2i.evaluation.evaluate import FILE, SCHEDULE, evaluate, read, trailing


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on eight modes of 60 steps, scored at every second one."""
    folder = tmp_path_factory.mktemp("trained")
    file = recipe_file(
        folder / "ring.yaml",
        points("ring2d", count=64),
        GAN,
        method={"latent": 2},
        evaluate={"protocol": "modes", "every": 1, "samples": 64},
    )
    return i2i.train(file, run=folder / "runs" / "ring", device="cpu", say=lambda line: None)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, in a folder runs, without evaluation.json."""
    path = tmp_path / "runs" / "ring"
    shutil.copytree(trained, path)
    return path


def schedule(run) -> list[dict]:
    return [json.loads(line) for line in (run / SCHEDULE).read_text().splitlines()]


def write_schedule(run, lines: list[dict]) -> None:
    (run / SCHEDULE).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_schedule_scores_every_step_that_is_due_on_the_same_words(trained):
    lines = schedule(trained)
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert len({line["protocol"] for line in lines}) == 1 and lines[0]["protocol"].startswith("modes: 64 samples")
    assert [line["score"] for line in lines] == [line["modes.covered"] for line in lines]
    bests = [line for line in lines if line["best"]]
    assert bests[0] == lines[0] and [b["score"] for b in bests] == sorted({b["score"] for b in bests})
    assert (trained / "best" / "generator.safetensors").is_file()


def test_best_and_last_are_scored_and_kept(run):
    said = []
    entries = i2i.evaluate(run, say=said.append)
    best = next(line for line in reversed(schedule(run)) if line["best"])
    assert [(e["checkpoint"]["which"], e["checkpoint"]["step"]) for e in entries] == [
        ("best", best["step"]),
        ("last", 60),
    ]
    for entry, line in zip(entries, (best, schedule(run)[-1])):  # the same numbers as while training
        assert entry["values"]["modes"]["covered"] == line["modes.covered"]
        assert entry["values"]["modes"]["good"] == line["modes.good"]
        assert entry["words"] == line["protocol"] and entry["arguments"] == {"samples": 64, "seed": 0}
        assert (
            set(entry["versions"]) >= {"i2i", "torch", "numpy"}
            and len(entry["checkpoint"]["weights"]["generator"]) == 64
        )
    assert json.loads((run / FILE).read_text())["evaluations"] == entries
    assert said[0].startswith("best (step ") and "modes.covered" in said[1]

    evaluate(run, say=said.append)
    assert len(read(run / FILE)) == 2, "the same measurement of the same weights is replaced"
    evaluate(run, settings=["samples=32"], say=said.append)
    assert [e["arguments"]["samples"] for e in read(run / FILE)] == [64, 64, 32, 32]
    evaluate(run, "parzen", ["samples=100"], say=said.append)
    assert [e["protocol"] for e in read(run / FILE)] == ["modes"] * 4 + ["parzen"] * 2


def test_one_step_is_scored_once(run):
    shutil.rmtree(run / "best")
    entries = evaluate(run, say=lambda line: None)
    assert [e["checkpoint"]["which"] for e in entries] == ["last"]
    (run / "best").mkdir()
    shutil.copy(run / "generator.safetensors", run / "best")
    again = evaluate(run, say=lambda line: None)
    assert [e["checkpoint"]["which"] for e in again] == ["last"] and len(read(run / FILE)) == 1


def test_the_last_tenth_is_averaged(run):
    lines = schedule(run)
    late = [line for line in lines if line["step"] > 54]
    found = trailing(run)
    assert (found["share"], found["from_step"], found["to_step"], found["count"]) == (0.1, 55, 60, 6)
    assert found["protocol"] == lines[-1]["protocol"]
    assert found["means"]["modes.good"] == pytest.approx(sum(line["modes.good"] for line in late) / 6)
    assert not {"step", "protocol", "best", "score"} & set(found["means"])
    half = trailing(run, 0.5)
    assert (half["from_step"], half["count"]) == (31, 30)

    said = []
    best, last = evaluate(run, say=said.append)
    assert last["trailing"] == found and "trailing" not in best
    assert "mean of 6 evaluations from step 55 to 60, the last 10% of the steps:" in said[1]
    assert f"modes.covered               {found['means']['modes.covered']:.5g}" in said[1].partition("mean of")[2]
    (other,) = (
        e for e in evaluate(run, "parzen", ["samples=64"], say=said.append) if e["checkpoint"]["which"] == "last"
    )
    assert "trailing" not in other, "the schedule was of another protocol"


def test_a_tail_of_few_or_of_another_way_is_not_averaged(run):
    lines = schedule(run)
    write_schedule(run, [line for line in lines if line["step"] != 57])
    assert trailing(run)["count"] == 5
    write_schedule(run, [line for line in lines if line["step"] not in (57, 58)])
    assert trailing(run) is None
    write_schedule(run, [{**line, "protocol": "modes: otherwise"} if line["step"] < 57 else line for line in lines])
    assert trailing(run) is None
    for gone in ({"modes.good": None}, {}):  # a value that one of them has not is no mean of the others
        known = [{key: value for key, value in line.items() if key != "modes.good"} for line in lines]
        write_schedule(
            run, [{**known[place], **gone} if line["step"] in (58, 60) else line for place, line in enumerate(lines)]
        )
        assert trailing(run)["means"]["modes.good"] is None and trailing(run)["count"] == 6
    with open(run / SCHEDULE, "a") as file:
        file.write('{"step": 61, "prot')
    assert trailing(run)["to_step"] == 60
    (run / SCHEDULE).unlink()
    assert trailing(run) is None
    with pytest.raises(UserError, match="above 0 and at most 1"):
        trailing(run, 0)


def test_the_newest_run_is_taken_and_said(run, monkeypatch):
    monkeypatch.chdir(run.parent.parent)
    status, shown = in_process("evaluate", "--device=cpu")
    assert status == 0 and shown.startswith(f"{os.path.join('runs', 'ring')}, the newest run\nbest (step ")
    status, shown = in_process("evaluate", "samples=16", "seed=3")
    assert status == 0 and "modes: 16 samples (seed 3)" in shown


def test_as_json_numbers_go_to_stdout_and_words_aside(run, capsys):
    from i2i import cli

    cli.evaluate(str(run), ["samples=16"], "modes", True, cli.Device.cpu)
    out, aside = capsys.readouterr()
    assert json.loads(out)["evaluations"] == read(run / FILE) and "modes.covered" in aside


def test_progress_counts_what_is_made(tmp_path):
    seen = []
    chosen = recipe(tmp_path, points(count=5))
    models = {"generator": Given(torch.zeros(5, 1, 1, 1), Domain(1, (-4, 4), 32))}
    found = subject(chosen, models, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert len(list(found.fakes("test", count=5))) == 5 and seen == [(n, 5) for n in range(1, 6)]


def test_samples_are_compared_with_pictures_as_training_prepares_them(tmp_path):
    levels = noise(3, 20, 24, 1)
    write(tmp_path / "some" / "0.png", levels)
    found = subject(recipe(tmp_path, pictures("folder", tmp_path / "some")), {}, tmp_path)
    (real,) = found.reals("train")
    assert (real == levels[2:18, 4:20]).all()
    (whole,) = found.pictures("train")
    assert whole.flatten().tolist() == pytest.approx((real / 127.5 - 1).flatten().tolist(), abs=1e-6)


def test_samples_come_one_by_one_in_the_order_of_their_numbers(tmp_path):
    levels = torch.linspace(-1, 1, 1100).reshape(-1, 1, 1, 1)
    found = subject(recipe(tmp_path, points()), {"generator": Given(levels, Domain(1, (-4, 4), 32))}, tmp_path)
    made = [float(pixels[0, 0, 0]) for pixels in found.fakes("test", count=1100)]
    assert made == pytest.approx((4 * levels).flatten().tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("protocol", "settings", "words"),
    [
        (None, ["sampels=5"], "sampels of modes: .*Did you mean 'samples'"),
        (None, ["samples=many"], "samples of modes: "),
        (None, ["samples"], "'samples' is not an override"),
        (None, ["train.steps=5"], "train.steps cannot be changed after training"),
        (None, ["data.path=/nowhere"], "points are drawn, not read"),
        (None, ["samples=1"], "samples 1: a comparison of sets needs at least 2"),
        ("mods", [], "'mods' is not a protocol. Did you mean 'modes'"),
        ("paired", [], "protocol 'paired' cannot score .*ring: gan knows no true picture"),
        ("distribution", ["features=inception"], "protocol 'distribution' cannot score .*: its data are points"),
    ],
)
def test_what_cannot_be_asked_is_told_and_nothing_is_written(run, protocol, settings, words):
    with pytest.raises(UserError, match=words):
        evaluate(run, protocol, settings, say=lambda line: None)
    assert not (run / FILE).exists()


def test_the_recipes_arguments_belong_to_its_protocol_alone(run):
    (first, *_) = evaluate(run, "modes", ["seed=2"], say=lambda line: None)
    assert first["arguments"] == {"samples": 64, "seed": 2}
    (first, *_) = evaluate(run, "parzen", ["seed=2"], say=lambda line: None)
    assert first["arguments"] == {"samples": 10_000, "seed": 2}


def test_a_recipe_without_a_protocol_takes_the_usual_one(run, monkeypatch):
    text = (run / "recipe.yaml").read_text()
    head, _, _ = text.partition("evaluate:")
    (run / "recipe.yaml").write_text(f"{head}evaluate: {{protocol: null, every: null}}\n")
    assert evaluate(run, say=lambda line: None)[0]["protocol"] == "modes"
    monkeypatch.setattr("i2i.evaluation.evaluate.DEFAULTS", ("paired", "unpaired"))
    with pytest.raises(
        UserError, match=r"no protocol is the usual one here \(paired: gan knows .*unpaired.*Name one: .*modes"
    ):
        evaluate(run, say=lambda line: None)


def test_a_damaged_file_is_kept_and_told_before_anything_is_measured(run, monkeypatch):
    monkeypatch.setattr("i2i.evaluation.evaluate.entry_of", lambda *args: pytest.fail("it was measured"))
    for text in (
        "{",
        "[]",
        '{"evaluations": 3}',
        '{"evaluations": [{"protocol": "modes"}]}',
        '{"evaluations": [1]}',
        "\xff",
    ):
        (run / FILE).write_text(text, encoding="latin-1")
        with pytest.raises(UserError, match="evaluation.json is damaged and is not overwritten"):
            evaluate(run, say=lambda line: None)
        assert (run / FILE).read_text(encoding="latin-1") == text


def test_folders_that_are_no_run_or_have_nothing_to_score(run, tmp_path):
    with pytest.raises(UserError, match="is not a run folder: it holds no recipe.yaml"):
        evaluate(tmp_path)
    (run / "generator.safetensors").unlink()
    shutil.rmtree(run / "best")
    with pytest.raises(UserError, match="has no weights yet"):
        evaluate(run)


def test_numbers_that_are_not_finite_become_null(run, monkeypatch):
    from i2i.evaluation.protocols.modes import Modes

    values = {"modes": {"covered": 3, "kl": float("inf"), "histogram": [1, float("nan")]}}
    monkeypatch.setattr(Modes, "measure", lambda *args: values)
    evaluate(run, say=lambda line: None)
    assert read(run / FILE)[0]["values"] == {"modes": {"covered": 3, "kl": None, "histogram": [1, None]}}


def test_a_checkpoint_that_is_gone_is_told_where_its_discriminator_is_needed(tmp_path):
    file = recipe_file(tmp_path / "line.yaml", points(count=64), GAN, train={**GAN["train"], "steps": 4})
    run = i2i.train(file, run=tmp_path / "line", device="cpu", say=lambda line: None)
    (entry,) = evaluate(run, settings=["samples=1000"], say=lambda line: None)
    assert entry["protocol"] == "density" and (run / "density" / "000004.png").is_file()
    assert entry["values"]["d_gap"] > 0
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match="no checkpoint of step 4 any more, which holds its discriminator"):
        evaluate(run, settings=["samples=1000"], say=lambda line: None)
