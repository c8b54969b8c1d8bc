"""Convolutions as one product of matrices, see `nets.products`, where libraries read weights or pixels slowly.

At the bottom of a U-Net a convolution has millions of weights and a handful of pixels, and libraries lay out their work
for many pixels; at the end of a generator it has three channels, and they lay it out for many channels.
"""

import types
from collections.abc import Callable

from torch import Tensor, nn

from i2i.nets import products
from i2i.nets.layers import continued, is_convolution
from i2i.nets.narrow import narrow, scattered
from i2i.speed.layers import Layer, contest, counted, named, seen
from i2i.speed.measure import Measure, Work, nothing

MOST = 1024  # columns, over a batch, beyond which a convolution is not tried: libraries are good at those


class MatrixProducts(Measure):
    """Layer by layer, where the probe finds it faster on the shape that the layer gets."""

    name = "matrix"

    def pick(self, work: Work, probe) -> list[str]:
        if work.compiled or not work.fp32:
            return []
        layers = [
            layer
            for net in work.method.nets
            for layer in seen(work, net, _tried)
            if columns(layer) <= MOST or narrow(layer.module)
        ]
        found = contest(probe, layers, {self.name: product})
        work.taken.update(found.chosen)
        work.notes[self.name] = found.note
        return found.chosen

    def apply(self, work: Work, picked: list[str]) -> Callable[[], None]:
        for name in picked:
            as_product(named(work, name, is_convolution))
        return nothing

    def words(self, picked: list[str]) -> str:
        return f"{counted(picked)} as matrix products"


def columns(layer: Layer) -> int:
    """How many places a convolution reads at, over a batch; a transposed one writes there."""
    shape = layer.taken if isinstance(layer.module, nn.ConvTranspose2d) else layer.given
    return shape.numel() // shape[1]


def _tried(layer: nn.Module) -> bool:
    return is_convolution(layer) and max(layer.kernel_size) > 1


def as_product(layer: nn.Module) -> None:
    """The layer computes by `product` from now on; weights, names and copies stay what they are."""
    layer.forward = product(layer)


def product(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """The forward of a convolution, bound to it, so that a deepcopy's forward runs the copy, not the original."""
    if isinstance(layer, nn.ConvTranspose2d):
        return types.MethodType(_deconvolved, layer)
    return types.MethodType(scattered if narrow(layer) else _convolved, layer)


def _convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """(B, I, H, W) -> (B, O, H', W')."""
    geometry = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    return products.convolved(continued(layer, x), layer.weight, layer.bias, **geometry)


def _deconvolved(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """(B, I, H, W) -> (B, O, H', W')."""
    return products.deconvolved(
        x, layer.weight.flatten(1).t(), layer.bias, kernel=layer.kernel_size, stride=layer.stride,
        padding=layer.padding, output_padding=layer.output_padding, dilation=layer.dilation,
    )  # fmt: skip
