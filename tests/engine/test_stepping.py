"""A run whose steps are recorded and played back: what lies between steps (logs, samples, scores, saves) stays right."""

import pytest
from replaying import TapeRecorder, held
from running import ARGUMENTS, LENGTH, assert_same_end

from i2i.engine import train as training
from i2i.engine.runtime import Runtime
from i2i.speed.graph import CapturedStep


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "gan"])
def test_a_recorded_run_ends_with_the_bits_of_the_plain_one(name, tmp_path, monkeypatch):
    """In the form of a card, on the CPU; also one that goes on from a checkpoint, and records its step anew."""
    monkeypatch.setattr(
        training, "_runtime", lambda device, recipe, processes: Runtime("cpu", branch=False, processes=processes)
    )
    steps = []

    def stepping(method, say):
        method.runtime.rates_on_device(method)
        if not recording:
            return method.step
        steps.append(CapturedStep(method, TapeRecorder(lambda: held(method)), say))
        return steps[-1]

    monkeypatch.setattr(training, "stepping", stepping)
    recipe, *overrides = [*ARGUMENTS[name], *LENGTH]
    for run, ends in (("plain", [12]), ("recorded", [12]), ("recorded in two", [8, 12])):
        recording = run != "plain"
        for end in ends:
            # one schedule for all: a longer run would stretch what is left of the decay; a log at every end
            more = [f"train.steps={end}", "train.decay_from=null", "train.log_every=4"]
            training.train(recipe, [*overrides, *more], run=tmp_path / run, device="cpu", say=lambda line: None)
    assert len(steps) == 3 and all(step.replay is not None for step in steps)
    assert_same_end(tmp_path / "recorded", tmp_path / "plain")
    assert_same_end(tmp_path / "recorded in two", tmp_path / "plain")
