"""The one door to an update: gate, clipping, EMA, precision."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from making import GAMES, batches, small_method, snapshot
from watching import NoHostReads

from i2i.engine import checkpoint
from i2i.engine.ema import EMA
from i2i.engine.liveness import Place
from i2i.engine.processes import Processes
from i2i.engine.runtime import NotFinite, Runtime
from i2i.errors import UserError
from i2i.methods import METHODS

FORMS = pytest.mark.parametrize("branch", [True, False], ids=["branch", "device form"])


def everything(method):
    return {
        name: value.clone()
        for name, value in checkpoint.gather(method, method.runtime.ema).items()
        if "running" not in name and "num_batches" not in name
    }


def poison(method, group, value):
    """Makes the loss of one group `value` at its next update, weights being what they are."""
    inner = method.runtime.descend
    method.runtime.descend = lambda m, g, loss: inner(m, g, loss * value if g == group else loss)
    return lambda: setattr(method.runtime, "descend", inner)


@FORMS
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", METHODS.names())
def test_the_gate_leaves_every_bit_of_the_group_and_of_all_later_updates(name, value, optimizer, branch):
    kind = METHODS.get(name)
    rules = [f"optimizer.{group}={{name: {optimizer}, lr: 1e-3}}" for group in kind.groups]
    method, _ = small_method(name, *rules, branch=branch)
    method.runtime.ema = EMA({net: method.nets[net] for net in method.exports.values()}, 0.9)
    first, second, third = batches(method, 3)
    method.runtime.step = 1
    method.step(iter([first]))
    method.runtime.check_finite(method)
    last = "D" if name == "cyclegan" else "G"  # the group whose update comes last in a step
    before = everything(method)
    restore = poison(method, last, value)
    method.runtime.step = 2
    method.step(iter([second]))
    after = everything(method)
    own = (
        {f"nets.{net}." for net in method.groups[last]}
        | {f"ema.{net}." for net in method.groups[last]}
        | {f"optimizers.{last}."}
    )
    touched = {key for key in before if not torch.equal(before[key], after[key])}
    assert bool(touched) == (len(kind.groups) > 1) and not any(key.startswith(tuple(own)) for key in touched)

    restore()
    frozen = everything(method)
    method.runtime.step = 3
    method.step(iter([third]))  # finite again, but the flag is sticky
    assert all(
        torch.equal(frozen[key], value) for key, value in everything(method).items() if not key.startswith("pool")
    )
    with pytest.raises(NotFinite, match=rf"step 2: the loss of {last} is (nan|inf|-inf)"):
        method.runtime.check_finite(method)


@FORMS
def test_a_gradient_that_overflows_behind_a_finite_loss_is_named(branch):
    method, _ = small_method("pix2pix", branch=branch)
    inner = method.runtime.descend

    def descend(m, group, loss):
        if group == "G":
            for p in m.G.parameters():
                p.register_hook(lambda grad: grad * math.inf)
        inner(m, group, loss)

    method.runtime.descend = descend
    method.runtime.step = 5
    method.step(iter(batches(method, 1)))
    with pytest.raises(NotFinite, match="step 5: the gradient norm of G is (nan|inf)"):
        method.runtime.check_finite(method)


@FORMS
def test_the_very_first_update_may_be_the_bad_one(branch):
    method, _ = small_method("cyclegan", branch=branch)
    before = {net: snapshot(module) for net, module in method.nets.items()}
    poison(method, "G", math.nan)
    method.step(iter(batches(method, 1)))
    for net, module in method.nets.items():
        assert all(torch.equal(before[net][key], value) for key, value in module.state_dict().items()), net


@pytest.mark.parametrize(("name", "constraint"), GAMES)
def test_a_step_in_its_device_form_never_waits(name, constraint):
    game = [
        f"method.constraint={{name: {constraint}}}",
        "method.num_critic=2",
        "augment.policy=[color, translation, cutout]",
    ]
    played = game if METHODS.get(name).adversarial else []
    method, _ = small_method(name, *played, "train.clip_grad=1.0", "train.ema=0.9", branch=False)
    method.runtime.ema = EMA({net: method.nets[net] for net in method.exports.values()}, 0.9)
    data = batches(method, 8)
    method.step(iter(data[: method.batches_per_step]))
    with NoHostReads():
        for start in (2, 4, 6):
            method.step(iter(data[start : start + method.batches_per_step]))


@pytest.mark.parametrize("name", METHODS.names())
def test_the_two_forms_agree(name):
    plain, device = (small_method(name, "train.clip_grad=0.5", branch=branch)[0] for branch in (True, False))
    for method in (plain, device):
        method.runtime.ema = EMA({net: method.nets[net] for net in method.exports.values()}, 0.9)
        torch.manual_seed(0)
        method.step(iter(batches(method, 1)))
    ours, theirs = everything(plain), everything(device)
    assert ours.keys() == theirs.keys()
    for key in ours:
        if ours[key].dim() < 2:
            continue  # a bias that a norm cancels has a gradient of pure rounding, which Adam turns into steps of full size
        assert torch.allclose(ours[key].float(), theirs[key].float(), atol=1e-4), key


def test_clipping_bounds_the_norm_of_a_group():
    method, _ = small_method("cyclegan", "train.clip_grad=0.01")
    norms = []
    for optimizer in method.optimizers.values():
        step = optimizer.step
        optimizer.step = lambda step=step, o=optimizer: (norms.append(torch.nn.utils.get_total_norm([p.grad for g in o.param_groups for p in g["params"]])), step())  # fmt: skip
    method.step(iter(batches(method, 1)))
    assert len(norms) == 2 and all(float(norm) == pytest.approx(0.01, rel=1e-3) for norm in norms)


@FORMS
def test_ema_by_hand_and_its_buffers_are_copied(branch):
    net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    ema = EMA({"G": net}, 0.9)
    with torch.no_grad():
        net[0].weight.fill_(2.0)
        net[1].running_mean.fill_(5.0)
        ema.nets["G"][0].weight.fill_(1.0)
    ema.update("G", net, None if branch else torch.zeros(()))
    assert float(ema.nets["G"][0].weight) == pytest.approx(1.1)
    assert float(ema.nets["G"][1].running_mean) == 5.0
    if not branch:
        ema.update("G", copy.deepcopy(net).apply(lambda m: [p.data.fill_(9) for p in m.parameters()]), torch.ones(()))
        assert float(ema.nets["G"][0].weight) == pytest.approx(1.1)


@pytest.mark.parametrize("name", METHODS.names())
def test_bf16_keeps_fp32_weights_and_gradients_near_float64(name):
    """Gradients of one step under autocast against float64, in the direction that matters: their angle."""
    grads = {}
    for precision in ("bf16", "fp32"):
        method, _ = small_method(name, f"train.precision={precision}")
        if precision == "fp32":
            for net in method.nets.values():
                net.double()
        kept = {}
        for group, optimizer in method.optimizers.items():
            members = [p for net in method.groups[group] for p in method.nets[net].parameters()]
            optimizer.step = lambda group=group, members=members, kept=kept: kept.__setitem__(group, torch.cat([p.grad.double().flatten() for p in members]))  # fmt: skip
        dtype = torch.float32 if precision == "bf16" else torch.float64
        batch = batches(method, 1)[0]
        batch |= {key: value.to(dtype) for key, value in batch.items() if value.is_floating_point()}
        torch.manual_seed(0)
        method.step(iter([batch]))
        grads[precision] = kept
        assert all(
            p.dtype == dtype and (p.grad is None or p.grad.dtype == dtype)
            for net in method.nets.values()
            for p in net.parameters()
        )
    for group in grads["bf16"]:
        cosine = torch.nn.functional.cosine_similarity(grads["bf16"][group], grads["fp32"][group], dim=0)
        assert cosine > 0.9, (group, float(cosine))
        assert not torch.equal(grads["bf16"][group], grads["fp32"][group])


def test_under_bf16_the_copy_of_a_network_runs_its_own_weights():
    method, _ = small_method("cyclegan", "train.precision=bf16")
    copied = copy.deepcopy(method.G_ab)
    with torch.no_grad():
        for p in copied.parameters():
            p.zero_()
        out = copied(torch.ones(1, 3, 32, 32))
    assert out.dtype == torch.float32 and float(out.abs().max()) == 0


def test_devices_in_words():
    with pytest.raises(UserError, match="--device tpu: no such device"):
        Runtime("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="--device cuda: this machine has none. Usable here: auto, cpu"):
            Runtime("cuda")


def test_on_cuda_several_processes_synchronise_batch_norm_and_its_copies_work(monkeypatch):
    """No card is needed to see what is made; what it computes there is not tested here."""
    runtime = Runtime("cpu")
    monkeypatch.setattr(torch.nn.Module, "to", lambda net, device: net)
    plain = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    names = list(plain.state_dict())
    runtime.processes, runtime.device = Processes(Place(0, 2)), torch.device("cuda")
    net = runtime.prepare(plain)
    assert isinstance(net[1], torch.nn.SyncBatchNorm) and list(net.state_dict()) == names
    average = EMA({"G": net}, 0.5).nets["G"]
    assert average[1].running_mean is not net[1].running_mean
    runtime.settle(SimpleNamespace(nets={"G": net}))  # nothing to average: no process is asked


def test_several_processes_are_refused_in_words(monkeypatch):
    from i2i.engine import runtime

    class Many:
        num_processes, device = 2, torch.device("cpu")

    monkeypatch.setattr(runtime, "Accelerator", lambda **kwargs: Many())
    with pytest.raises(UserError, match="2 processes were launched, and this runtime is of 1"):
        Runtime("cpu")


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_reseeding_draws_what_manual_seed_would(seed):
    torch.manual_seed(seed)
    expected = torch.rand(4), torch.randn(4), torch.randperm(9)
    torch.rand(1)
    Runtime("cpu").reseed(seed)
    found = torch.rand(4), torch.randn(4), torch.randperm(9)
    assert all(torch.equal(a, b) for a, b in zip(expected, found))
