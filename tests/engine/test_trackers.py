"""Trackers: what they are told, and that they can neither change a run nor end it."""

import random
import sys
import time
import types

import numpy as np
import pytest
import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from making import small_recipe
from running import ARGUMENTS, LENGTH

from i2i.build.check import TRACKERS
from i2i.engine import checkpoint, trackers
from i2i.engine.runtime import Runtime
from i2i.engine.trackers import Tracker
from i2i.engine.train import train
from i2i.errors import UserError


def run(path, *more):
    """A small run of pix2pix; (its last checkpoint, what was said)."""
    recipe, *overrides = ARGUMENTS["pix2pix"]
    said = []
    train(recipe, [*overrides, *LENGTH, *more], run=path, device="cpu", say=said.append)
    return checkpoint.newest(path, print)[0], said


def events(path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(path / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


class Fake:
    """A tracker of Accelerate's shape that writes down its calls, draws random numbers, and raises where it is told."""

    def __init__(self, raises=""):
        self.raises, self.calls = raises, []

    def _call(self, name, *values):
        torch.rand(7), random.random(), np.random.rand()
        self.calls.append((name, *values))
        if name == self.raises:
            raise RuntimeError(f"{name} went wrong\nand this is a second line")

    def log(self, values, step=None):
        self._call("log", step, values)

    def log_images(self, values, step=None, **kwargs):
        self._call("log_images", step, {key: np.asarray(value).shape for key, value in values.items()}, kwargs)

    def store_init_configuration(self, values):
        self._call("store_init_configuration", values)

    def finish(self):
        self._call("finish")


@pytest.fixture
def fake(monkeypatch):
    """`fake(raises)` makes wandb seem installed and returns the list of trackers that a run starts."""

    def install(raises=""):
        started = []

        def tracker(self, name, project, folder, **options):
            torch.rand(3)
            if raises == "start":
                raise SystemExit("no key is set")
            started.append(Fake(raises))
            started[-1].project = project
            return started[-1]

        monkeypatch.setattr(trackers, "installed", lambda name: True)
        monkeypatch.setattr(Runtime, "tracker", tracker)
        return started

    return install


def test_the_names_are_those_of_accelerate():
    assert sorted(TRACKERS) == sorted(LOGGER_TYPE_TO_CLASS)


def test_every_name_passes_the_check():
    for name in (*TRACKERS, "null"):
        small_recipe("pix2pix", f"train.tracker={name}")


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"train\.tracker: 'tensorbord' is not a tracker. Did you mean 'tensorboard'"):
        small_recipe("pix2pix", "train.tracker=tensorbord")


def test_one_that_is_not_installed_costs_one_sentence_with_the_command(monkeypatch):
    said = []
    monkeypatch.setattr(trackers, "installed", lambda name: False)
    gone = Tracker("comet_ml", lambda: pytest.fail("started"), said.append)
    gone.recipe(small_recipe("pix2pix"))
    gone.log(1, {"loss/D": 1.0})
    gone.close()
    assert len(said) == 1 and "comet_ml is not installed" in said[0] and "pip install comet-ml" in said[0]


def test_tensorboard_shows_scalars_pictures_and_the_recipe(tmp_path):
    _, said = run(tmp_path / "run")
    assert not any("train.tracker" in line for line in said)
    found = events(tmp_path / "run")
    assert {"loss/D", "loss/G_gan", "loss/G_l1", "images/s"} <= set(found.Tags()["scalars"])
    assert [event.step for event in found.Scalars("loss/D")] == [3, 6, 9, 12]
    assert [event.step for event in found.Images("samples")] == [0, 6, 12]
    grid = found.Images("samples")[0]
    from i2i.data.pictures import read

    assert read(tmp_path / "run/samples/000000.png").pixels.shape[:2] == (grid.height, grid.width)
    text = found.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "lam_l1: 100.0" in text and "tracker: tensorboard" in text


def test_after_continuing_no_step_stands_twice(tmp_path):
    """Stopped at step 11, after the checkpoint of step 8: what was shown of 9 and later is superseded."""

    class Stopped(Exception):
        pass

    def stop(line):
        if line.startswith("step 11/"):
            raise Stopped

    recipe, *overrides = ARGUMENTS["pix2pix"]
    settings = [*overrides, *LENGTH, "train.log_every=1"]
    with pytest.raises(Stopped):
        train(recipe, settings, run=tmp_path / "run", device="cpu", say=stop)
    assert [event.step for event in events(tmp_path / "run").Scalars("loss/D")] == list(range(1, 11))
    for file in (tmp_path / "run/tensorboard").iterdir():  # as a kill leaves it
        file.write_bytes(file.read_bytes()[:-20])
    # TensorBoard reads files in the order of their names, which have the second and then, in one process, a count: of
    # one second the 10th comes before the 9th, and the file that goes on before the one that it continues
    time.sleep(1)
    run(tmp_path / "run", "train.log_every=1")
    found = events(tmp_path / "run")
    assert [event.step for event in found.Scalars("loss/D")] == list(range(1, 13))
    assert [event.step for event in found.Images("samples")] == [0, 6, 12]


@pytest.mark.parametrize(
    "raises",
    [
        "start",
        "log",
        pytest.param("store_init_configuration", marks=pytest.mark.slow),
        pytest.param("log_images", marks=pytest.mark.slow),
        "finish",
    ],
)
def test_one_that_raises_costs_one_sentence_and_changes_no_bit(raises, fake, tmp_path, plain):
    started = fake(raises)
    tensors, said = run(tmp_path / "run", "train.tracker=wandb")
    assert len([line for line in said if "train.tracker" in line]) == 1
    (line,) = (line for line in said if "train.tracker" in line)
    assert "wandb failed" in line and "second line" not in line and "off from here on" in line
    if started:
        assert [call[0] for call in started[0].calls].count(raises) == 1, "it is off after its first failure"
    assert any(line.startswith("finished") for line in said)
    assert tensors.keys() == plain.keys() and all(torch.equal(tensors[key], plain[key]) for key in plain)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The last checkpoint of the run without a tracker."""
    path = tmp_path_factory.mktemp("plain") / "run"
    tensors, _ = run(path, "train.tracker=null")
    assert not (path / "tensorboard").exists()
    return tensors


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_weights_are_bit_equal_with_any_tracker(name, fake, tmp_path, plain):
    if name == "wandb":
        started = fake()
    tensors, _ = run(tmp_path / "run", f"train.tracker={name}")
    assert tensors.keys() == plain.keys() and all(torch.equal(tensors[key], plain[key]) for key in plain)
    if name == "wandb":
        (inner,) = started
        assert inner.project == "run" and inner.calls[0][0] == "store_init_configuration"
        assert inner.calls[0][1]["train.steps"] == 12 and inner.calls[0][1]["optimizer.G.betas"] == "[0.5, 0.999]"
        assert [call[1] for call in inner.calls if call[0] == "log"] == [3, 6, 9, 12]
        assert [call[1] for call in inner.calls if call[0] == "log_images"] == [0, 6, 12]
        assert inner.calls[-1] == ("finish",)


def test_the_runtime_starts_accelerates_own_class(monkeypatch, tmp_path):
    """A stand-in for the package of wandb: Accelerate's tracker calls it as it would the real one."""
    calls = []
    package = types.ModuleType("wandb")
    inner = types.SimpleNamespace(
        log=lambda values, step=None, **kwargs: calls.append(("log", step, values)),
        finish=lambda: calls.append(("finish",)),
    )
    package.init = lambda project, **kwargs: calls.append(("init", project, kwargs)) or inner
    package.config = types.SimpleNamespace(update=lambda values, **kwargs: calls.append(("config", values)))
    package.Image = lambda pixels: ("image", pixels.shape)
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.setattr(trackers, "installed", lambda name: True)
    said, recipe = [], small_recipe("pix2pix")
    shown = trackers.tracker("wandb", Runtime("cpu"), tmp_path / "my run", 0, recipe, said.append)
    shown.log(3, {"loss/D": 0.5})
    from i2i.data.pictures import write

    write(tmp_path / "grid.png", np.zeros((5, 7, 3), np.uint8))
    shown.picture(3, tmp_path / "grid.png")
    shown.close()
    assert not said
    assert [call[0] for call in calls] == ["init", "config", "log", "log", "finish"]
    assert calls[0][1] == "my run" and calls[3][2] == {"samples": [("image", (5, 7, 3))]}


def test_tensorboard_is_imported_by_nobody_who_does_not_train():
    import subprocess

    program = "import sys, i2i.engine.train; sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
