"""Which weights are loaded, and what is said where there are none."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from i2i.errors import UserError
from i2i.infer import models
from i2i.infer.models import find, load, newest_run, pick_device
from i2i.infer.translator import Translator
from i2i.infer.weights import write_tensors


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def age(path: Path, seconds: int) -> None:
    for file in path.glob("*.safetensors"):
        os.utime(file, (seconds, seconds))


class TestLoading:
    def test_a_file_a_folder_and_a_run_give_the_same_model(self, run_folder):
        path = run_folder("small")

        class Run:
            pass

        run = Run()
        run.path = path
        x = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        found = [load(source, device="cpu") for source in (path, str(path), path / "generator.safetensors", run)]
        assert all(isinstance(model, Translator) and model.meta["recipe"] == "small" for model in found)
        first = found[0].pixels(x)
        assert first.std() > 10 and all(np.array_equal(model.pixels(x), first) for model in found)

    def test_it_is_the_model_that_was_written(self, run_folder, made):
        x = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        assert np.array_equal(load(run_folder("a"), device="cpu").pixels(x), Translator(*made()).pixels(x))

    def test_a_cyclegan_has_two_and_ab_is_the_first(self, run_folder):
        path = run_folder("c", "generator_ab", "generator_ba")
        for direction, name in ((None, "generator_ab"), ("ab", "generator_ab"), ("ba", "generator_ba")):
            assert load(path, direction, "cpu").meta["export"] == name

    def test_a_single_generator_takes_its_own_direction_only(self, run_folder):
        path = run_folder("p", direction="ba")
        assert load(path, device="cpu").meta["direction"] == "ba"
        assert load(path, "ba", device="cpu").meta["direction"] == "ba"
        with pytest.raises(UserError, match="in the direction ba, not ab"):
            load(path, "ab", device="cpu")
        with pytest.raises(UserError, match="in the direction ba, not ab"):
            load(path / "generator.safetensors", "ab", device="cpu")

    def test_a_checkpoint_is_not_a_model(self, made, tmp_path):
        net, _ = made()
        write_tensors(tmp_path / "00000100.safetensors", net.state_dict(), {"kind": "checkpoint", "step": 100})
        with pytest.raises(UserError, match="a checkpoint, for continuing a run"):
            load(tmp_path / "00000100.safetensors", device="cpu")
        write_tensors(tmp_path / "a.safetensors", {}, {})
        with pytest.raises(UserError, match="of kind None"):
            load(tmp_path / "a.safetensors", device="cpu")

    def test_a_damaged_file_is_refused_by_name(self, run_folder):
        file = run_folder("a") / "generator.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(UserError, match=r"a/generator\.safetensors is torn"):
            load("runs/a", device="cpu")


class TestNewest:
    def test_is_the_one_whose_weights_were_written_last(self, run_folder):
        for name, seconds in (("a", 300), ("b", 500), ("c", 400)):
            age(run_folder(name), seconds)
        (run_folder("empty") / "generator.safetensors").unlink()
        assert newest_run() == Path("runs/b") and find() == Path("runs/b/generator.safetensors")
        age(run_folder("d", "generator_ab", "generator_ba"), 600)
        assert find(direction="ba") == Path("runs/d/generator_ba.safetensors")
        assert load(device="cpu").meta["export"] == "generator_ab"

    def test_of_another_folder(self, run_folder, tmp_path):
        run_folder("x", root=tmp_path / "elsewhere")
        assert newest_run(tmp_path / "elsewhere") == tmp_path / "elsewhere" / "x"

    def test_where_there_is_none(self, run_folder):
        with pytest.raises(UserError, match="there is no run in runs; train one"):
            load()
        (run_folder("young") / "generator.safetensors").unlink()
        Path("runs/not_a_run").mkdir()
        with pytest.raises(UserError, match="none of the 1 runs in runs has weights yet"):
            load()


class TestRefusals:
    def test_nothing_there_names_the_nearest_run(self, run_folder):
        run_folder("pix2pix_facades")
        with pytest.raises(UserError, match=r"there is no runs/pix2pix_facade;.*Did you mean 'runs/pix2pix_facades'"):
            load("runs/pix2pix_facade")
        with pytest.raises(UserError, match="Did you mean 'runs/pix2pix_facades'"):
            load("pix2pix_facades")

    @pytest.mark.parametrize("direction", ["a2b", "AB", ""])
    def test_an_unknown_direction(self, run_folder, direction):
        with pytest.raises(UserError, match=f"'{direction}' is no direction; it is ab"):
            load(run_folder("c", "generator_ab", "generator_ba"), direction)

    def test_half_a_cyclegan(self, run_folder):
        path = run_folder("c", "generator_ba")
        with pytest.raises(UserError, match=r"has no generator_ab\.safetensors; .* use the direction ba"):
            load(path)
        assert load(path, "ba", "cpu").meta["export"] == "generator_ba"

    def test_a_run_without_weights_yet(self, run_folder):
        path = run_folder("young")
        (path / "generator.safetensors").unlink()
        with pytest.raises(UserError, match="has no weights yet"):
            load(path)

    def test_a_folder_of_runs_another_folder_and_a_recipe(self, run_folder, tmp_path):
        run_folder("a")
        with pytest.raises(UserError, match="is not a run folder but holds 1; give one of them, as runs/a"):
            load("runs")
        (tmp_path / "pictures").mkdir()
        with pytest.raises(UserError, match="pictures is not a run folder"):
            load("pictures")
        with pytest.raises(UserError, match="is a recipe, not a model; train it"):
            load("runs/a/recipe.yaml")

    def test_what_is_no_path(self):
        with pytest.raises(UserError, match="int is no model"):
            load(5)


class TestDevice:
    def test_auto_prefers_cuda_then_mps_then_cpu(self, monkeypatch):
        for cuda, mps, best in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
            monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
            assert pick_device("auto") == torch.device(best)

    def test_what_is_not_there_is_refused(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(UserError, match="finds no device cuda"):
            pick_device("cuda")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        assert pick_device("cuda:1") == torch.device("cuda", 1)
        with pytest.raises(UserError, match="finds no device cuda:2"):
            pick_device("cuda:2")
        for name in ("tpu", "cuda:x", ""):
            with pytest.raises(UserError, match="is not a device"):
                pick_device(name)

    def test_a_missing_device_is_noticed_before_the_weights_are_read(self, run_folder, monkeypatch):
        monkeypatch.setattr(models, "read_digested", lambda path: pytest.fail("read"))
        with pytest.raises(UserError, match="is not a device"):
            load(run_folder("a"), device="tpu")
