"""A run keeps the speed that it began with, and ends with the same bits wherever it was interrupted."""

import json
import re
import shutil
from contextlib import ExitStack

import pytest
import torch
from making import small_method
from probing import Willing
from running import ARGUMENTS, LENGTH, assert_same_end, log_of

from i2i.engine import speeding
from i2i.engine.processes import Processes
from i2i.engine.train import train
from i2i.errors import UserError
from i2i.infer.weights import read_meta
from i2i.nets import winograd
from i2i.speed import choosing
from i2i.speed.measure import Work

PICKED = {"adam": ["G", "D"], "matrix": ["G.encoder.3.conv", "G.decoder.0.up"]}
PICKED_CYCLEGAN = {"adam": ["G"], "together": ["G_ab", "G_ba"]}
PICKED_WINOGRAD = {"winograd": ["G_ab.blocks.0.residual.conv1", "G_ba.blocks.0.residual.conv2"]}


def unasked(work, probe=None):
    raise AssertionError("a run that goes on is not probed again")


def run(name, path, *more):
    recipe, *overrides = [*ARGUMENTS[name], *LENGTH, "train.speed=auto", *more]
    if name == "cyclegan":
        overrides += ["method.lam_identity=0.5"]
    said = []
    train(recipe, overrides, run=path, device="cpu", say=said.append)
    return said


@pytest.mark.parametrize(("name", "picked"), [("pix2pix", PICKED), ("cyclegan", PICKED_CYCLEGAN)])
def test_a_continued_run_takes_the_choice_that_it_began_with_and_ends_with_the_same_bits(
    name, picked, tmp_path, monkeypatch
):
    monkeypatch.setattr(choosing, "choose", lambda work, probe=None: picked)
    said = run(name, tmp_path / "straight")
    assert sum(line.startswith("train.speed: ") for line in said) == 1
    assert any("fused Adam for G" in line and line.endswith("train.speed=plain turns all off.") for line in said)
    last = tmp_path / "straight/checkpoints/00000012.safetensors"
    assert read_meta(last)["speed"] == {"device": "cpu", "wanted": "auto", "picked": picked}
    assert json.loads((tmp_path / "straight/speed.json").read_text())["picked"] == picked

    shutil.copytree(tmp_path / "straight", tmp_path / "torn")
    for step in (8, 12):
        (tmp_path / f"torn/checkpoints/{step:08d}.safetensors").unlink()
    monkeypatch.setattr(choosing, "choose", unasked)
    run(name, tmp_path / "torn")
    assert_same_end(tmp_path / "torn", tmp_path / "straight")

    if name == "cyclegan":
        return
    shutil.copytree(tmp_path / "straight", tmp_path / "begun")  # killed before its first checkpoint
    shutil.rmtree(tmp_path / "begun/checkpoints")
    run(name, tmp_path / "begun")
    assert_same_end(tmp_path / "begun", tmp_path / "straight")


def test_winograd_keeps_its_layers_and_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(winograd, "MANY", 4)
    monkeypatch.setattr(choosing, "choose", lambda work, probe=None: PICKED_WINOGRAD if work.wanted != "auto" else {})
    said = run("cyclegan", tmp_path / "straight", "train.speed=winograd")
    assert any("1 convolutions of G_ab and 1 convolutions of G_ba by Winograd's F(4x4, 3x3)." in line for line in said)
    last = tmp_path / "straight/checkpoints/00000012.safetensors"
    assert read_meta(last)["speed"] == {"device": "cpu", "wanted": "winograd", "picked": PICKED_WINOGRAD}

    shutil.copytree(tmp_path / "straight", tmp_path / "torn")
    for step in (8, 12):
        (tmp_path / f"torn/checkpoints/{step:08d}.safetensors").unlink()
    monkeypatch.setattr(choosing, "choose", unasked)
    said = run("cyclegan", tmp_path / "torn", "train.speed=auto")  # a run keeps what it began with
    assert "train.speed: this run has gone on winograd so far, and stays so" in said
    assert_same_end(tmp_path / "torn", tmp_path / "straight")

    monkeypatch.setattr(choosing, "choose", lambda work, probe=None: {})
    run("cyclegan", tmp_path / "plain")
    name = "generator_ab.safetensors"
    assert (tmp_path / "plain" / name).read_bytes() != (tmp_path / "straight" / name).read_bytes(), "it does something"


def test_winograd_that_finds_nothing_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(winograd, "MANY", 4)
    said = run("cyclegan", tmp_path / "run", "train.speed=winograd")
    assert [line for line in said if line.startswith("train.speed")] == [
        "train.speed: winograd does not pay here, or this run is too short to find out; it goes on without it"
    ]


def test_winograd_on_another_device_is_refused_in_words():
    with pytest.raises(
        UserError, match="is winograd, which is for cpu, and this run computes on cuda. Set train.speed=auto"
    ):
        speeding.refuse("winograd", torch.device("cuda"))
    for wanted in ("auto", "plain"):
        speeding.refuse(wanted, torch.device("cuda"))
    speeding.refuse("winograd", torch.device("cpu"))


def test_plain_turns_all_off_and_a_run_that_began_plain_stays_so(tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "choose", unasked)
    said = run("pix2pix", tmp_path / "plain", "train.speed=plain")
    assert not any("train.speed:" in line for line in said) and not (tmp_path / "plain/speed.json").exists()
    (tmp_path / "plain/checkpoints/00000012.safetensors").unlink()
    said = run("pix2pix", tmp_path / "plain", "train.speed=auto")
    assert "train.speed: this run has gone on plain so far, and stays so" in said
    assert log_of(tmp_path / "plain")[-1]["step"] == 12

    monkeypatch.setattr(choosing, "choose", lambda work, probe=None: PICKED)
    run("pix2pix", tmp_path / "fast")
    (tmp_path / "fast/checkpoints/00000012.safetensors").unlink()
    said = run("pix2pix", tmp_path / "fast", "train.speed=plain")
    assert any("plain from here on" in line and "not bit for bit" in line for line in said)


def test_a_short_run_is_plain_and_says_nothing(tmp_path):
    said = run("pix2pix", tmp_path / "run")
    assert not any(line.startswith("train.speed") for line in said)
    assert read_meta(tmp_path / "run/checkpoints/00000012.safetensors")["speed"]["picked"] == {}


@pytest.mark.parametrize("pays", [True, False])
def test_what_the_probe_took_is_told_whether_it_found_something_or_not(pays, tmp_path, monkeypatch):
    class Unwilling(Willing):
        def fastest(self, ways, rounds=None, wall=False):
            return next(iter(ways)), dict.fromkeys(ways, 1.0)

        def kept(self, seconds, faults):
            return False

    monkeypatch.setattr(choosing, "Probe", Willing if pays else Unwilling)
    (line,) = (line for line in run("pix2pix", tmp_path / "run") if line.startswith("train.speed: "))
    if pays:
        assert re.search(
            r"tried in \S+ s of CPU\. Results differ by rounding alone; train.speed=plain turns all off\.$", line
        )
    else:
        assert re.fullmatch(r"train.speed: nothing beside the plain way pays; tried in \S+ s of CPU", line)
    assert read_meta(tmp_path / "run/checkpoints/00000012.safetensors")["speed"]["wanted"] == "auto"


def test_of_several_processes_the_first_decides(tmp_path, monkeypatch):
    class Second(Processes):
        """Process 1 of 2, whose first one chose PICKED and has read no file."""

        leads, answers = False, [None, {"device": "cpu", "wanted": "auto", "picked": PICKED}]

        def from_first(self, data):
            assert data is None or data["picked"] == {}
            return self.answers.pop(0)

    monkeypatch.setattr(choosing, "choose", unasked)
    method, _ = small_method("pix2pix")
    with ExitStack() as stack:
        chosen = speeding.settle(Work(method, 32, 1, 10**6), None, tmp_path, Second(), stack, lambda line: None)
    assert chosen["picked"] == PICKED and not list(tmp_path.iterdir())
    assert all(part["fused"] for optimizer in method.optimizers.values() for part in optimizer.param_groups)
    assert "forward" in vars(method.G.encoder[3].conv)


def test_another_device_chooses_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "choose", lambda work, probe=None: {"adam": ["D"]})
    method, _ = small_method("pix2pix")
    stored = {"device": "cuda", "wanted": "auto", "picked": {"adam": ["G"]}}
    with ExitStack() as stack:
        chosen = speeding.settle(Work(method, 32, 1, 10**6), stored, tmp_path, Processes(), stack, lambda line: None)
    assert chosen == {"device": "cpu", "wanted": "auto", "picked": {"adam": ["D"]}}


def test_threads_are_given_back_when_the_run_ends(tmp_path, monkeypatch):
    before, (method, _) = torch.get_num_threads(), small_method("pix2pix")
    monkeypatch.setattr(choosing, "choose", lambda work, probe=None: {"threads": before + 1})
    with ExitStack() as stack:
        speeding.settle(Work(method, 32, 1, 10**6), None, tmp_path, Processes(), stack, lambda line: None)
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
