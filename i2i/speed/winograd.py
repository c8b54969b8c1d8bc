"""Residual blocks by Winograd's form, see `nets.winograd`: fewer multiplications, and rounding that shows more.

Tried only where train.speed names it. It may take the generators' layers alone: what a penalty on gradients asks of a
discriminator comes out right (there are gradients of gradients), but was not what this was measured for.
"""

import copy
import types
from collections.abc import Callable

import torch
from torch import Tensor, nn

from i2i.nets.winograd import continued, convolution, fits, workspace
from i2i.speed.layers import Forward, Layer, contest, counted, named, plain, seen
from i2i.speed.matrix import MOST, columns
from i2i.speed.measure import Measure, Work, nothing


class Winograd(Measure):
    """Layer by layer, where the probe finds it faster on the shape that the layer gets."""

    name = "winograd"
    asked = True

    def pick(self, work: Work, probe) -> list[str]:
        if work.compiled or not work.fp32:
            return []
        layers = [layer for net in work.generators for layer in seen(work, net, fits) if columns(layer) > MOST]
        found = contest(probe, layers, "winograd", by_winograd)
        if found.chosen:
            ours, plainly = (max(figures) for figures in zip(*map(_errors, found.kinds)))
            most = max(_bytes(layer) for layer in found.kinds)
            work.notes[self.name] = (
                f"{found.note}; about {most / 1e6:.0f} MB more while one is computed; error of its gradients "
                f"{_figure(ours)} where the plain ones have {_figure(plainly)}"
            )
        return found.chosen

    def apply(self, work: Work, picked: list[str]) -> Callable[[], None]:
        for name in picked:
            layer = named(work, name, fits)
            layer.forward = by_winograd(layer)
        return nothing

    def words(self, picked: list[str]) -> str:
        return f"{counted(picked)} by Winograd's form"


def by_winograd(layer: nn.Conv2d) -> Forward:
    """The forward of a layer that `fits`, bound to it, so that a deepcopy's forward runs the copy, not the original."""
    return types.MethodType(_forward, layer)


def _forward(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """(B, I, H, W) -> (B, O, H', W')."""
    return convolution(continued(layer, x), layer.weight, layer.bias, layer.padding)


def _figure(error: float) -> str:
    """'9e-6'."""
    return f"{error:.0e}".replace("e-0", "e-")


def _bytes(layer: Layer) -> int:
    module = layer.module
    shape = continued(module, torch.empty(layer.taken, device="meta")).shape
    return workspace(shape, module.out_channels, module.padding) * module.weight.element_size()


def _errors(layer: Layer) -> tuple[float, float]:
    """How far the gradients, of weights and of what a layer gets, are from float64: (by Winograd, the plain way).

    The largest difference, relative to the largest gradient. On numbers as after a ReLU.
    """
    dtype = layer.module.weight.dtype
    x, along = torch.randn(layer.taken, dtype=dtype).relu(), torch.randn(layer.given, dtype=dtype)
    exact = _gradients(copy.deepcopy(layer.module).double(), plain, x.double(), along.double())
    found = []
    for way in (by_winograd, plain):
        ours = _gradients(copy.deepcopy(layer.module), way, x, along)
        found.append(max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, exact)))
    return found[0], found[1]


def _gradients(module: nn.Module, way: Callable[[nn.Module], Forward], x: Tensor, along: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    return list(torch.autograd.grad(way(module)(x), [x, *module.parameters()], along))
