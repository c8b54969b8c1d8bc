"""What only a CUDA card can show: its graphs, its layouts, its precisions."""

import copy

import pytest
import torch
from making import batches, small_method, snapshot
from replaying import GAME, STEPS, made, trained

from i2i.engine import checkpoint
from i2i.methods import METHODS
from i2i.speed import layout
from i2i.speed.graph import CapturedStep, CUDARecorder
from i2i.speed.measure import Work

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="it needs a CUDA card")]


@pytest.fixture
def exact():
    """Convolutions in full float32, whose sums run in the same order at each call."""
    kept = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = kept


def on_card(method, count):
    return [{key: value.cuda() for key, value in batch.items()} for batch in batches(method, count)]


@pytest.mark.parametrize("name", METHODS.names())
def test_a_graph_draws_and_computes_what_the_plain_step_does(name, exact):
    """Augmentation, noise, dropout and pool among it: losses of all steps, then every tensor of the training state."""
    game = GAME if METHODS.get(name).adversarial else []
    plain, captured = (made(name, *game, device="cuda") for _ in range(2))
    captured.load_state(copy.deepcopy(plain.state()))
    data, said = on_card(plain, STEPS * plain.batches_per_step), []
    step = CapturedStep(captured, CUDARecorder(captured.runtime.device), said.append)
    ours, theirs = trained(plain, data, plain.step), trained(captured, data, step)
    assert step.replay is not None and not said
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert other == pytest.approx(one, rel=1e-5, abs=1e-6), f"step {number + 1}"
    ends = [checkpoint.gather(method, method.runtime.ema) for method in (plain, captured)]
    different = [key for key in ends[0] if not torch.equal(*(end[key] for end in ends))]
    moved = max((float((ends[0][key] - ends[1][key]).abs().max()) for key in different), default=0.0)
    assert moved <= 1e-4, (moved, different[:5])
    print(f"{name}: {len(different)} of {len(ends[0])} tensors differ, by {moved:.1e} at most")


@pytest.mark.parametrize("name", METHODS.names())
def test_from_equal_weights_the_gradients_of_one_replayed_step_are_the_plain_ones(name, exact):
    """Within 1e-5 of their largest entry, where kernels of a recorded step may be others; read as moments of Adam."""
    rules = [f"optimizer.{group}={{name: sgd, lr: 0.0, momentum: 0.9}}" for group in METHODS.get(name).groups]
    plain, captured = (made(name, *rules, device="cuda") for _ in range(2))
    data = on_card(plain, STEPS * plain.batches_per_step)
    step = CapturedStep(captured, CUDARecorder(captured.runtime.device), print)
    trained(plain, data, plain.step), trained(captured, data, step)
    for group, optimizer in plain.optimizers.items():
        mine = [optimizer.state[p]["momentum_buffer"] for place in optimizer.param_groups for p in place["params"]]
        other = captured.optimizers[group]
        its = [other.state[p]["momentum_buffer"] for place in other.param_groups for p in place["params"]]
        largest = max(float(value.abs().max()) for value in mine)
        assert max(float((a - b).abs().max()) for a, b in zip(mine, its, strict=True)) <= 1e-5 * largest, group


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_gradients_with_channels_last_are_as_right_as_in_the_usual_layout(name, precision):
    method, _ = small_method(name, f"train.precision={precision}", device="cuda")
    work = Work(method, 32, 2, 10**6)
    for key, net in method.nets.items():
        before = snapshot(net)
        assert layout.worse(work, net) is None, key
        assert all(torch.equal(before[part], value) for part, value in net.state_dict().items())


def test_a_layer_is_timed_by_its_graph():
    method, _ = small_method("cyclegan", device="cuda")
    work = Work(method, 32, 2, 10**6)
    assert 0 < layout.replayed(work, copy.deepcopy(method.G_ab)) < 1.0


@pytest.mark.parametrize("name", METHODS.names())
def test_under_bf16_a_graph_stays_near_the_plain_step(name):
    plain, captured = (made(name, "train.precision=bf16", device="cuda") for _ in range(2))
    data = on_card(plain, STEPS * plain.batches_per_step)
    step = CapturedStep(captured, CUDARecorder(captured.runtime.device), print)
    ours, theirs = trained(plain, data, plain.step), trained(captured, data, step)
    assert step.replay is not None
    assert theirs[0] == pytest.approx(ours[0], rel=1e-2, abs=1e-2)
    assert all(value == value for value in theirs[-1].values())
