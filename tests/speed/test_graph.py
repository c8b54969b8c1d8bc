"""A recorded step is the plain one, bit for bit, whatever differs from step to step."""

import copy
from types import SimpleNamespace

import pytest
import torch
from making import GAMES, batches
from replaying import GAME, STEPS, TapeRecorder, held, made, trained

from i2i.engine import checkpoint
from i2i.engine.runtime import NotFinite, Runtime
from i2i.methods import METHODS
from i2i.speed.graph import PLAIN_STEPS, CapturedStep, Graph, uncapturable
from i2i.speed.measure import Work


def both(name, *overrides, **how):
    plain, captured = made(name, *overrides), made(name, *overrides)
    data = batches(plain, STEPS * plain.batches_per_step)
    said = []
    step = CapturedStep(captured, TapeRecorder(lambda: held(captured), how.pop("fails", False)), said.append)
    ends = trained(plain, data, plain.step, **how), trained(captured, data, step, **how)
    return plain, captured, ends, step, said


@pytest.mark.parametrize(("name", "constraint"), GAMES)
def test_every_method_recorded_ends_with_the_bits_of_the_plain_one(name, constraint):
    game = [*GAME, f"method.constraint={{name: {constraint}}}"] if METHODS.get(name).adversarial else []
    plain, captured, ends, step, said = both(name, *game)
    assert step.replay is not None and not said
    assert ends[0] == ends[1]
    ours, theirs = (checkpoint.gather(method, method.runtime.ema) for method in (plain, captured))
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def test_dropout_and_the_running_statistics_of_batchnorm_go_on():
    nets = ["generator={name: unet, num_downs: 4, width: 4, norm: batch, dropout: true}",
            "discriminator={name: patchgan, num_layers: 1, width: 4, norm: batch, spectral_norm: true}"]  # fmt: skip
    plain, captured, ends, _, _ = both("pix2pix", *nets)
    assert ends[0] == ends[1]
    ours, theirs = (checkpoint.gather(method, method.runtime.ema) for method in (plain, captured))
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    assert any(key.endswith("num_batches_tracked") and int(value) == STEPS for key, value in theirs.items())


def test_a_pool_that_fills_after_the_recording_goes_on_to_exchange():
    size = 2 * PLAIN_STEPS + 3  # two pictures a step: it is full in the second replay
    plain, captured, ends, _, _ = both("cyclegan", f"method.pool_size={size}")
    assert ends[0] == ends[1]
    assert all(int(pool.count) == size for pool in captured.pools.values())
    assert torch.equal(plain.pools["a"].pictures, captured.pools["a"].pictures)


@pytest.mark.parametrize("at", [PLAIN_STEPS - 1, PLAIN_STEPS, PLAIN_STEPS + 2])
def test_a_replayed_step_that_is_not_finite_stops_all_later_updates_and_is_named(at):
    plain, captured, _, _, _ = both("pix2pix", poisoned=at)
    ours, theirs = (checkpoint.shared(method, method.runtime.ema) for method in (plain, captured))
    weights = [key for key in ours if "running" not in key and "num_batches" not in key]
    assert [key for key in weights if not torch.equal(ours[key], theirs[key])] == []
    for method in (plain, captured):
        with pytest.raises(NotFinite, match=f"step {at + 1}: the loss of D is"):
            method.runtime.check_finite(method)


def test_other_shapes_go_the_plain_way_in_between():
    plain, captured = made("pix2pix"), made("pix2pix")
    data = batches(plain, STEPS)
    data[-2] = batches(plain, 1, batch_size=1, seed=3)[0]
    step = CapturedStep(captured, TapeRecorder(lambda: held(captured)), print)
    assert trained(plain, data, plain.step) == trained(captured, data, step)


def test_what_cannot_be_recorded_runs_plain_and_says_so_once():
    _, _, ends, step, said = both("pix2pix", fails=True)
    assert ends[0] == ends[1] and step.replay is None
    assert said == [
        "train.speed: a step could not be recorded as one CUDA graph (operation not permitted when stream is "
        "capturing); it runs plain."
    ]


def test_why_a_step_is_not_recorded():
    runtime = Runtime("cpu")
    method = SimpleNamespace(runtime=runtime, nets={})
    work = Work(method, 32, 1, 100)
    assert Graph().pick(work, None) is False and work.declined == ["no step as one CUDA graph: it needs a CUDA card"]
    on_card = copy.copy(runtime)
    on_card.device = torch.device("cuda")
    assert uncapturable(on_card) is None
    on_card.recomputed = True
    assert "activation checkpointing" in uncapturable(on_card)
    on_card.processes = SimpleNamespace(several=True)
    assert "processes" in uncapturable(on_card)
