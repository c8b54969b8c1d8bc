"""What a recipe may use of the machine it is planned for, and what a training step of it will need."""

import os
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from torch import nn

from i2i.build.make import network, wiring
from i2i.config import Recipe
from i2i.errors import UserError
from i2i.nets.shapes import inputs, parts

GB = 1e9
# share of the memory that a plan counts on, and what the device's library takes for itself beside the tensors
_SHARE = {"cuda": 0.8, "mps": 0.5, "cpu": 0.5}
_OWN = {"cuda": 2.0 * GB, "mps": 2.0 * GB, "cpu": 1.0 * GB}
_SLACK = 1.3  # gradients on their way, workspaces of convolutions, fragments
_CALLS = {  # forwards whose tensors are held at the same time, at the fullest moment of a step: {network: how often}
    "pix2pix": {"G": 1, "D": 2},  # one picture made; the real and the fake pair judged
    "cyclegan": {"G_ab": 3, "G_ba": 3, "D_a": 1, "D_b": 1},  # there, back and identity, in both directions
}


class Machine(NamedTuple):
    """A device: its kind (cuda, mps or cpu), the memory that training has on it, in bytes, and the cores beside it."""

    kind: str
    memory: int
    cores: int

    @property
    def budget(self) -> float:
        """Bytes that a plan counts on."""
        return _SHARE[self.kind] * self.memory

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"{self.kind}, {self.memory / GB:.0f} GB, {cores}"


def machine(device: str = "auto") -> Machine:
    """The device of that name; auto takes cuda, then mps, then cpu. UserError where it is not there."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = next(name for name, there in here.items() if there) if device == "auto" else device
    if not here.get(kind):
        raise UserError(f"there is no {kind} device here. Plan with --device {next(n for n in here if here[n])}.")
    memory = torch.cuda.get_device_properties(0).total_memory if kind == "cuda" else _ram()
    return Machine(kind, memory, os.cpu_count() or 1)


def _ram() -> int:
    """Bytes of memory, or of what a container may have of it."""
    total = psutil.virtual_memory().total
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(file).read_text()))
        except (OSError, ValueError):  # not Linux, or no limit
            continue
    return total


def needed(recipe: Recipe, kind: str) -> float:
    """Bytes that training needs at its peak on a device of a kind; an estimate, rather too high than too low.

    What autograd keeps of each forward is counted exactly, on the meta device, where tensors have no memory; weights
    count four times (with their gradients and Adam's two moments).
    """
    crop, batch = recipe.data.crop_size, recipe.train.batch_size
    total = 0.0
    for name, wire in wiring(recipe).items():
        with torch.device("meta"):
            net = network(wire, getattr(recipe, wire.section), crop).train()
            x = torch.empty(inputs(net, batch, crop))
        total += 4 * sum(4 * parameter.numel() for parameter in net.parameters())
        total += _SLACK * _CALLS[recipe.method.name][name] * kept(net, x)
    return total + _OWN[kind]


def kept(net: nn.Module, x: torch.Tensor) -> int:
    """Bytes that autograd keeps of `net(x)` beside the weights, each storage counted once."""
    own = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    seen: dict[int, torch.Tensor] = {}  # held, so that no other storage comes to stand at the same place

    def note(tensor: torch.Tensor) -> torch.Tensor:
        seen.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = net(x)
    for tensor in parts(out):
        note(tensor)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in seen.items() if place not in own)
