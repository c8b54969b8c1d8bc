"""Adam as one kernel for the whole update, which reads and writes each weight and its two moments once."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from i2i.errors import UserError
from i2i.optimizers import Adam
from i2i.speed.measure import Measure, Work, nothing
from i2i.speed.probe import milliseconds

ENOUGH = 2**23  # weights that are timed: 128 MB with gradients and moments, beyond any cache, and no more memory


class FusedAdam(Measure):
    """Adam(fused=True), group by group. Strides that differ are seen to by `optimizers.step`."""

    name = "adam"

    def pick(self, work: Work, probe) -> list[str]:
        chosen, notes = [], []
        for group, optimizer in work.method.optimizers.items():
            if not _could_be(optimizer):
                continue
            way, seconds = probe.fastest({"plain": _update(optimizer, False), "fused": _update(optimizer, True)})
            if way == "fused":
                chosen.append(group)
                notes.append(f"{group} {milliseconds(seconds['plain'], seconds['fused'])}")
        work.notes[self.name] = ", ".join(notes)
        return chosen

    def apply(self, work: Work, picked: list[str]) -> Callable[[], None]:
        for group in picked:
            optimizer = work.method.optimizers.get(group)
            if optimizer is None or not _could_be(optimizer):
                raise UserError(f"this run's choice of speed has a fused Adam for '{group}', which is none here.")
            for part in optimizer.param_groups:
                part["fused"] = True
        return nothing

    def words(self, picked: list[str]) -> str:
        return f"fused Adam for {', '.join(picked)}"


def _could_be(optimizer: Optimizer) -> bool:
    return type(optimizer) in (Adam, torch.optim.Adam) and not any(part["fused"] for part in optimizer.param_groups)


def _update(optimizer: Optimizer, fused: bool) -> Callable[[], Any]:
    """A step of an optimizer like this one, on weights of its own with the shapes of this one's."""
    shapes, count = [], 0
    for parameter in (p for part in optimizer.param_groups for p in part["params"]):
        if count < ENOUGH:
            shapes.append(parameter)
            count += parameter.numel()
    weights = [torch.zeros_like(p, requires_grad=True) for p in shapes]
    for weight in weights:
        weight.grad = torch.full_like(weight, 1e-3)
    settings = {key: optimizer.defaults[key] for key in ("lr", "betas", "eps", "weight_decay")}
    return Adam(weights, **settings, fused=fused).step
