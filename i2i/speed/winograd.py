"""Residual blocks by Winograd's forms, see `nets.winograd`: fewer multiplications.

F2 rounds as a convolution does, and is taken only where the probe finds its results as near to float64's. F4 rounds
more and is tried only where train.speed names it. Both may take the generators' layers alone: what a penalty on
gradients asks of a discriminator comes out right (there are gradients of gradients), but was not what this was
measured for.
"""

import copy
import functools
import types
from collections.abc import Callable

import torch
from torch import Tensor, nn

from i2i.nets.layers import continued
from i2i.nets.winograd import FEWEST, Form, convolution, fits, workspace
from i2i.speed.layers import Forward, Layer, contest, counted, named, plain, seen
from i2i.speed.matrix import columns
from i2i.speed.measure import Measure, Work, nothing

AS_NEAR = 2.0  # times the plain way's error, which is itself drawn by chance, that counts as the same rounding


class Winograd(Measure):
    """Layer by layer, where the probe finds it fastest on the shape that the layer gets.

    Args:
        form: by which it computes.
        before: forms that are tried, too, and left to the measures they belong to where they are faster.
    """

    def __init__(self, name: str, form: Form, before: tuple[Form, ...] = (), *, asked: bool):
        self.name, self.form, self.before, self.asked = name, form, before, asked

    def pick(self, work: Work, probe) -> list[str]:
        if work.compiled or not work.fp32:
            return []
        layers = [layer for net in work.generators for layer in seen(work, net, fits) if columns(layer) > FEWEST]
        forms = (*self.before, self.form)
        found = contest(probe, layers, {str(form): functools.partial(by_winograd, form=form) for form in forms})
        if not found.chosen:
            return []
        ours, plainly = (max(figures) for figures in zip(*(_errors(layer, self.form) for layer in found.kinds)))
        if not self.asked and ours > AS_NEAR * plainly:
            return []
        most = max(self._bytes(layer) for layer in found.kinds)
        work.taken.update(found.chosen)
        work.notes[self.name] = (
            f"{found.note}; about {most / 1e6:.0f} MB more while one is computed; error {_figure(ours)}, the plain "
            f"way's {_figure(plainly)}"
        )
        return found.chosen

    def apply(self, work: Work, picked: list[str]) -> Callable[[], None]:
        for name in picked:
            layer = named(work, name, fits)
            layer.forward = by_winograd(layer, self.form)
        return nothing

    def words(self, picked: list[str]) -> str:
        return f"{counted(picked)} by {self.form}"

    def _bytes(self, layer: Layer) -> int:
        module = layer.module
        shape = continued(module, torch.empty(layer.taken, device="meta")).shape
        return workspace(shape, module.out_channels, module.padding, self.form) * module.weight.element_size()


def by_winograd(layer: nn.Conv2d, form: Form) -> Forward:
    """The forward of a layer that `fits`, bound to it, so that a deepcopy's forward runs the copy, not the original."""
    return types.MethodType(functools.partial(_forward, form=form), layer)


def _forward(layer: nn.Conv2d, x: Tensor, form: Form) -> Tensor:
    """(B, I, H, W) -> (B, O, H', W')."""
    return convolution(continued(layer, x), layer.weight, layer.bias, layer.padding, form)


def _figure(error: float) -> str:
    """'9e-6'."""
    return f"{error:.0e}".replace("e-0", "e-")


def _errors(layer: Layer, form: Form) -> tuple[float, float]:
    """How far a layer's output and gradients, of weights and of what it gets, are from float64: (by Winograd, plain).

    The largest difference, relative to the largest value. On numbers as after a ReLU.
    """
    dtype = layer.module.weight.dtype
    x, along = torch.randn(layer.taken, dtype=dtype).relu(), torch.randn(layer.given, dtype=dtype)
    exact = _results(copy.deepcopy(layer.module).double(), plain, x.double(), along.double())
    found = []
    for way in (functools.partial(by_winograd, form=form), plain):
        ours = _results(copy.deepcopy(layer.module), way, x, along)
        found.append(max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, exact)))
    return found[0], found[1]


def _results(module: nn.Module, way: Callable[[nn.Module], Forward], x: Tensor, along: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = way(module)(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], along)]
