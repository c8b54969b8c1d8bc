"""Optimizers against their formulas in float64, and the update that a flag on the device calls off."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from watching import NoHostReads

from i2i.errors import UserError
from i2i.optimizers import OPTIMIZERS, guarded_step

# name: the argument sets under which it is tried, besides its defaults
SETTINGS = {
    "adam": [{}, {"lr": 1e-2, "betas": [0.9, 0.99], "weight_decay": 0.1}],
    "rmsprop": [{}, {"lr": 1e-2, "alpha": 0.9, "momentum": 0.5, "weight_decay": 0.1}],
    "sgd": [{}, {"momentum": 0.9, "weight_decay": 0.1}, {"momentum": 0.9, "nesterov": True}],
}
OK, BAD = torch.tensor(0.0), torch.tensor(1.0)

settings = pytest.mark.parametrize(
    "name, args", [(name, args) for name in OPTIMIZERS.names() for args in SETTINGS.get(name, [])]
)
either = pytest.mark.parametrize("fused", [False, True])


def weights(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3, 5, 5), (1, 6, 3, 3), (7,)]
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)) for shape in shapes]


def gradients(step, parameters):
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype) for p in parameters]


def give(parameters, grads):
    for parameter, grad in zip(parameters, grads):
        parameter.grad = grad.clone(memory_format=torch.preserve_format)


def give_nan(parameters):
    give(parameters, [torch.full_like(parameter, math.nan) for parameter in parameters])


def bits(optimizer):
    """Every tensor of the optimizer, weights first, under a name."""
    named = {}
    for i, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        named[f"{i}"] = parameter.detach().clone()
        named |= {f"{i}.{key}": value.clone() for key, value in optimizer.state.get(parameter, {}).items()}
    return named


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def by_formula(name, p, grads, args):
    """The weight after the updates, from the papers' formulas, in float64."""
    default = {"adam": 2e-4, "rmsprop": 5e-5, "sgd": 0.1}
    lr, decay, momentum = args.get("lr", default[name]), args.get("weight_decay", 0), args.get("momentum", 0)
    m = v = torch.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        g = g + decay * p
        if name == "adam":
            beta1, beta2 = args.get("betas", (0.5, 0.999))
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            p = p - lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + 1e-8)
        elif name == "rmsprop":
            alpha = args.get("alpha", 0.99)
            v = alpha * v + (1 - alpha) * g * g
            m = momentum * m + g / (v.sqrt() + 1e-8)
            p = p - lr * m
        elif name == "sgd":
            m = momentum * m + g
            p = p - lr * (g + momentum * m if args.get("nesterov") else m)
    return p


def test_every_optimizer_has_settings():
    assert sorted(SETTINGS) == OPTIMIZERS.names()


@settings
@either
def test_updates_follow_the_formula(name, args, fused):
    parameters = weights(torch.float64)
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer = OPTIMIZERS.build(name, iter(parameters), **args, fused=fused)
    steps = [gradients(step, parameters) for step in range(4)]
    for grads in steps:
        give(parameters, grads)
        guarded_step(optimizer, OK)
    for i, parameter in enumerate(parameters):
        expected = by_formula(name, before[i], [grads[i] for grads in steps], args)
        torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-12)


@settings
@either
def test_they_are_torchs_own_to_the_bit(name, args, fused):
    """Also after their state was saved and taken up."""
    parameters, twins = weights(), weights()
    optimizer = OPTIMIZERS.build(name, parameters, **args, fused=fused)
    theirs = type(optimizer).__mro__[1]
    assert theirs.__module__.startswith("torch.optim.") and theirs.__name__ == type(optimizer).__name__
    twin = theirs(twins, **{key: value for key, value in optimizer.param_groups[0].items() if key != "params"})
    for step in range(3):
        for each, of in ((optimizer, parameters), (twin, twins)):
            each.zero_grad()
            assert all(parameter.grad is None for parameter in of)
            give(of, gradients(step, of))
            each.step()
        assert_same_bits(bits(optimizer), bits(twin))
        again = OPTIMIZERS.build(name, parameters, **args, fused=fused)
        again.load_state_dict(optimizer.state_dict())
        optimizer = again
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in parameters)


@settings
@either
@pytest.mark.parametrize("bad_at", [0, 2])
def test_a_bad_step_leaves_every_bit(name, args, fused, bad_at):
    """NaN gradients under bad = 1, at the very first step or later: nothing moves, and what follows is as if the step
    had never been tried. The twin steps plainly and never meets the bad step."""
    parameters, twins = weights(), weights()
    optimizer, twin = (OPTIMIZERS.build(name, p, **args, fused=fused) for p in (parameters, twins))
    for step in range(4):
        if step == bad_at:
            before = bits(twin)
            give_nan(parameters)
            guarded_step(optimizer, BAD)
            after = bits(optimizer)
            if step == 0:  # the twin has no state yet: fresh state is zeros
                before |= {key: torch.zeros_like(value) for key, value in after.items() if key not in before}
            assert_same_bits(after, before)
        grads = gradients(step, parameters)
        give(parameters, grads)
        give(twins, grads)
        guarded_step(optimizer, OK)
        twin.step()
        assert_same_bits(bits(optimizer), bits(twin))
    assert all(not torch.equal(parameter, first) for parameter, first in zip(parameters, weights()))


@settings
@either
def test_no_host_synchronisation(name, args, fused):
    parameters = weights()
    optimizer = OPTIMIZERS.build(name, parameters, **args, fused=fused)
    flags = [BAD, OK, BAD, OK]
    torch_reads = name == "adam" and not fused  # its own step counter, on the CPU: why a device gets the fused one
    expectation = pytest.raises(AssertionError, match="reads a value back") if torch_reads else nullcontext()
    with expectation, NoHostReads():
        for step, flag in enumerate(flags):
            give(parameters, gradients(step, parameters))
            guarded_step(optimizer, flag)


def test_the_watch_for_synchronisation_sees_one():
    with pytest.raises(AssertionError, match="reads a value back"), NoHostReads():
        OK.item()


@pytest.mark.parametrize("of_weight", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("of_gradient", [torch.contiguous_format, torch.channels_last, "transposed"])
@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_gradients_in_another_layout(name, of_weight, of_gradient):
    """A fused kernel walks weight, gradient and moments in memory order: three steps against the plain optimizer on
    contiguous float64."""
    torch.manual_seed(1)
    start = torch.randn(6, 5, 4, 4)
    parameter = nn.Parameter(start.clone(memory_format=of_weight))
    exact = nn.Parameter(start.double())
    args = {"lr": 1e-2}
    optimizer, plain = (
        OPTIMIZERS.build(name, [parameter], **args, fused=True),
        OPTIMIZERS.build(name, [exact], **args),
    )
    for step in range(3):
        grad = torch.randn(6, 5, 4, 4)
        if of_gradient == "transposed":  # as the backward of a transposed convolution may leave it
            parameter.grad = grad.transpose(0, 1).contiguous().transpose(0, 1)
        else:
            parameter.grad = grad.contiguous(memory_format=of_gradient)
        exact.grad = grad.double()
        guarded_step(optimizer, OK)
        plain.step()
        assert (parameter.detach() - exact.detach()).abs().max() < 1e-6, f"step {step}"


def test_moments_in_another_layout():
    """A checkpoint holds contiguous moments; the weight it is loaded for may be channels_last."""
    exact = nn.Parameter(torch.randn(6, 5, 4, 4, generator=torch.Generator().manual_seed(1)).double())
    plain = OPTIMIZERS.build("adam", [exact], lr=1e-2)
    give([exact], gradients(0, [exact]))
    plain.step()

    parameter = nn.Parameter(exact.detach().float().clone(memory_format=torch.channels_last))
    optimizer = OPTIMIZERS.build("adam", [parameter], lr=1e-2, fused=True)
    moments = {key: value.float().clone() for key, value in plain.state[exact].items()}
    optimizer.load_state_dict({"state": {0: moments}, "param_groups": optimizer.state_dict()["param_groups"]})
    for step in (1, 2):
        give([exact], gradients(step, [exact]))
        give([parameter], gradients(step, [parameter]))
        plain.step()
        guarded_step(optimizer, OK)
    assert (parameter.detach() - exact.detach()).abs().max() < 1e-6


def test_the_flag_does_not_outlive_the_step():
    parameters = weights()
    optimizer = OPTIMIZERS.build("adam", parameters, fused=True)
    give(parameters, gradients(0, parameters))
    guarded_step(optimizer, BAD)
    optimizer.step()
    assert not torch.equal(parameters[0], weights()[0])


@settings
@either
def test_parameters_without_a_gradient_stay(name, args, fused):
    parameters = weights()
    optimizer = OPTIMIZERS.build(name, parameters, **args, fused=fused)
    give(parameters[:1], gradients(0, parameters))
    guarded_step(optimizer, OK)
    assert not torch.equal(parameters[0], weights()[0])
    assert torch.equal(parameters[1], weights()[1]) and not optimizer.state.get(parameters[1])


@pytest.mark.parametrize(
    "name, args",
    [
        ("adam", {"lr": -1e-4}),
        ("adam", {"lr": math.inf}),
        ("adam", {"eps": math.nan}),
        ("adam", {"betas": (0.5, 1.0)}),
        ("rmsprop", {"alpha": 1.5}),
        ("rmsprop", {"weight_decay": -0.1}),
        ("sgd", {"momentum": -0.5}),
        ("sgd", {"nesterov": True}),
    ],
)
def test_values_out_of_range_are_refused(name, args):
    key = next(iter(args))
    with pytest.raises(UserError, match=rf"^{key}.* of {name} is .*: it (must|needs)"):
        OPTIMIZERS.build(name, weights(), **args)


@pytest.mark.gpu
@settings
def test_on_a_card_a_bad_step_leaves_every_bit_without_waiting(name, args):
    parameters = [nn.Parameter(parameter.detach().cuda()) for parameter in weights()]
    optimizer = OPTIMIZERS.build(name, parameters, **args, fused=True)
    grads = [[g.cuda() for g in gradients(step, parameters)] for step in range(3)]
    ok, bad = OK.cuda(), BAD.cuda()
    for step in grads[:2]:
        give(parameters, step)
        guarded_step(optimizer, ok)
    before = bits(optimizer)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        give_nan(parameters)
        guarded_step(optimizer, bad)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert_same_bits(bits(optimizer), before)
    assert all(value.is_cuda for value in before.values())
    give(parameters, grads[2])
    guarded_step(optimizer, ok)
    for i, parameter in enumerate(parameters):
        expected = by_formula(name, weights()[i].detach().double(), [step[i].cpu().double() for step in grads], args)
        torch.testing.assert_close(parameter.detach().cpu().double(), expected, rtol=0, atol=1e-5)
