"""Optimizers by name, and an update that can be called off on the device itself.

An optimizer is made from a list of parameters and the recipe's arguments; `fused` is the engine's choice, not a
recipe's: one kernel for the whole update where torch has one. On a CUDA device optimizers with step counters are made
capturable: the counters live there too, and a step can be recorded as a CUDA graph.
"""

import inspect
import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from i2i.errors import UserError
from i2i.registry import Registry

OPTIMIZERS = Registry("optimizer")


def _light(kind: type[Optimizer]) -> type[Optimizer]:
    """`kind`, with the same updates, by which torch's compiler is not imported.

    torch wraps methods of its optimizers, so that a compiled program leaves them out. Each wrapper imports the whole
    compiler when it is first called: seconds before the first step, and 190 MB as long as the program runs. Nothing
    here compiles an optimizer, so that the methods inside the wrappers will do.
    """
    wrapped = ("add_param_group", "zero_grad", "step", "state_dict", "load_state_dict")
    inside = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    inside["step"] = torch.no_grad()(inside["step"])  # as its wrapper has it
    return type(kind.__name__, (kind,), {**inside, "__module__": __name__, "__doc__": kind.__doc__})


Adam = _light(torch.optim.Adam)
RMSprop = _light(torch.optim.RMSprop)
SGD = _light(torch.optim.SGD)


@OPTIMIZERS.register("adam")
def adam(
    params: Iterable[Tensor],
    *,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    fused: bool = False,
) -> Optimizer:
    """Adam (Kingma & Ba, 2015), with the momentum of 0.5 that DCGAN, pix2pix and CycleGAN take.

    Raises:
        UserError: (a ValueError) a value out of its range.
    """
    _not_negative("adam", lr=lr, eps=eps, weight_decay=weight_decay)
    _below_one("adam", **{f"betas[{i}]": beta for i, beta in enumerate(betas)})
    params = list(params)
    on_card = all(p.is_cuda for p in params)
    return Adam(params, lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, fused=fused, capturable=on_card)


@OPTIMIZERS.register("rmsprop")
def rmsprop(
    params: Iterable[Tensor],
    *,
    lr: float = 5e-5,
    alpha: float = 0.99,
    eps: float = 1e-8,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    fused: bool = False,
) -> Optimizer:
    """RMSprop (Tieleman & Hinton, 2012), the choice of WGAN with clipping.

    torch has no fused kernel for it: `fused` takes the nearest, one kernel per operation over all weights (foreach).

    Raises:
        UserError: (a ValueError) a value out of its range.
    """
    _not_negative("rmsprop", lr=lr, eps=eps, weight_decay=weight_decay)
    _below_one("rmsprop", alpha=alpha, momentum=momentum)
    params = list(params)
    return RMSprop(
        params,
        lr=lr,
        alpha=alpha,
        eps=eps,
        momentum=momentum,
        weight_decay=weight_decay,
        foreach=True if fused else None,
        capturable=all(p.is_cuda for p in params),
    )


@OPTIMIZERS.register("sgd")
def sgd(
    params: Iterable[Tensor],
    *,
    lr: float = 0.1,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    fused: bool = False,
) -> Optimizer:
    """Stochastic gradient descent, with heavy-ball or Nesterov momentum (Sutskever et al., 2013).

    Raises:
        UserError: (a ValueError) a value out of its range, or `nesterov` without momentum.
    """
    _not_negative("sgd", lr=lr, weight_decay=weight_decay)
    _below_one("sgd", momentum=momentum)
    if nesterov and momentum == 0:
        raise UserError("nesterov of sgd is true while momentum is 0: it needs a momentum; give one, such as 0.9")
    return SGD(list(params), lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=fused)


@torch.no_grad()
def step(optimizer: Optimizer) -> None:
    """One update, the optimizer's own; a fused one gets gradients and moments laid out in memory as their weights."""
    if all(group.get("fused") for group in optimizer.param_groups):
        _lay_out(optimizer)
    optimizer.step()


@torch.no_grad()
def guarded_step(optimizer: Optimizer, bad: Tensor) -> None:
    """One update, which leaves weights, moments and step counters bit for bit as they were where `bad` is 1.

    Gradients may then hold anything, NaN included. Where that is the first step of all, the state it creates is that
    of an optimizer which never stepped: zeros. Nothing is read back to the host, with one exception that is torch's
    own: on the CPU its plain (not fused) Adam reads its step counters. Gradients laid out in memory otherwise than
    their weight are replaced by copies that match, since a fused kernel pairs entries by their place in memory.

    Args:
        optimizer: one of OPTIMIZERS.
        bad: 0-d, 0 or 1, on the device of the weights.
    """
    if all(group.get("fused") for group in optimizer.param_groups):
        _fused_step(optimizer, bad)
    else:
        _copied_step(optimizer, bad)


def _fused_step(optimizer: Optimizer, bad: Tensor) -> None:
    """The kernels themselves take the flag, under the name by which gradient scalers hand it over."""
    for parameter, momentum in _updated(optimizer):
        if momentum and not optimizer.state.get(parameter):  # SGD takes memory as it comes, and a bad step leaves it
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    _lay_out(optimizer)
    optimizer.grad_scale, optimizer.found_inf = None, bad.float()
    try:
        optimizer.step()
    finally:
        del optimizer.grad_scale, optimizer.found_inf


def _lay_out(optimizer: Optimizer) -> None:
    """Gradients and moments as their weights: a fused kernel pairs entries by their place in memory."""
    for parameter, _ in _updated(optimizer):
        parameter.grad = _laid_out_as(parameter, parameter.grad)
        state = optimizer.state.get(parameter, {})
        state.update({name: _laid_out_as(parameter, value) for name, value in state.items() if value.dim()})


def _copied_step(optimizer: Optimizer, bad: Tensor) -> None:
    """For kernels that take no flag: step, then choose between what was and what is."""
    weights = {parameter: parameter.clone() for parameter, _ in _updated(optimizer)}
    states = {p: {name: value.clone() for name, value in optimizer.state.get(p, {}).items()} for p in weights}
    optimizer.step()
    bad = bad != 0
    for parameter, before in weights.items():
        parameter.copy_(torch.where(bad, before, parameter))
        for name, value in optimizer.state.get(parameter, {}).items():
            before = states[parameter][name] if name in states[parameter] else torch.zeros_like(value)
            value.copy_(torch.where(bad.to(value.device), before, value))


def _updated(optimizer: Optimizer) -> list[tuple[Tensor, float]]:
    """The parameters that the next step moves, each with SGD's momentum (0 for the others)."""
    return [
        (parameter, group["momentum"] if isinstance(optimizer, torch.optim.SGD) else 0.0)
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]


def _laid_out_as(weight: Tensor, other: Tensor) -> Tensor:
    """`other`, or a copy of it where its entries lie in memory in another order than those of `weight`."""
    if all(n == 1 or mine == its for n, mine, its in zip(weight.shape, weight.stride(), other.stride())):
        return other
    return torch.empty_like(weight, dtype=other.dtype).copy_(other)


def _not_negative(optimizer: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise UserError(f"{name} of {optimizer} is {value}: it must be a finite number and at least 0; change it")


def _below_one(optimizer: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise UserError(f"{name} of {optimizer} is {value}: it must be at least 0 and below 1; change it")
