"""Convolutions over very small pictures as one product of matrices, see `nets.products`.

At the bottom of a U-Net a convolution has millions of weights and a handful of pixels, and libraries lay out their work
for many pixels.
"""

import types
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.nets import products
from i2i.speed.measure import Measure, Work, nothing
from i2i.speed.probe import milliseconds
from i2i.speed.trial import untouched

MOST = 256  # columns, over a batch, beyond which no convolution is tried: libraries are good at those


class MatrixProducts(Measure):
    """Layer by layer, where the probe finds it faster on the shape that the layer gets."""

    name = "matrix"

    def pick(self, work: Work, probe) -> list[str]:
        if work.compiled or not work.fp32:
            return []
        chosen, answers, before, after = [], {}, 0.0, 0.0
        for name, layer, shape in _layers(work):
            settings = (type(layer), layer.weight.shape, layer.stride, layer.padding, layer.dilation, shape)
            if settings not in answers:  # networks have many layers of one shape
                x = torch.rand(shape, device=layer.weight.device, dtype=layer.weight.dtype)
                ways = {"plain": _pass(layer, x, plain(layer)), "matrix": _pass(layer, x, product(layer))}
                answers[settings] = probe.fastest(ways)
            way, seconds = answers[settings]
            if way == "matrix":
                chosen.append(name)
                before, after = before + seconds["plain"], after + seconds["matrix"]
        work.notes[self.name] = milliseconds(before, after)
        return chosen

    def apply(self, work: Work, picked: list[str]) -> Callable[[], None]:
        for name in picked:
            net, _, path = name.partition(".")
            try:
                layer = work.method.nets[net].get_submodule(path)
            except (KeyError, AttributeError):
                layer = None
            if layer is None or not fits(layer):
                raise UserError(f"this run's choice of speed has a convolution '{name}', which is none here.")
            as_product(layer)
        return nothing

    def words(self, picked: list[str]) -> str:
        nets: dict[str, int] = {}
        for name in picked:
            net = name.partition(".")[0]
            nets[net] = nets.get(net, 0) + 1
        return " and ".join(f"{count} convolutions of {net}" for net, count in nets.items()) + " as matrix products"


def fits(layer: nn.Module) -> bool:
    """Whether a layer is a plain convolution of 2 dimensions: one group, zeros beyond the border, its own forward."""
    kind = nn.ConvTranspose2d if isinstance(layer, nn.ConvTranspose2d) else nn.Conv2d
    return (
        isinstance(layer, kind)
        and type(layer).forward is kind.forward
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def as_product(layer: nn.Module) -> None:
    """The layer computes by `product` from now on; weights, names and copies stay what they are."""
    layer.forward = product(layer)


def product(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """The forward of a layer that `fits`, bound to it, so that a deepcopy's forward runs the copy, not the original."""
    return types.MethodType(_deconvolved if isinstance(layer, nn.ConvTranspose2d) else _convolved, layer)


def plain(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """The layer's own forward."""
    return types.MethodType(type(layer).forward, layer)


def _convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """(B, I, H, W) -> (B, O, H', W')."""
    geometry = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    return products.convolved(x, layer.weight, layer.bias, **geometry)


def _deconvolved(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """(B, I, H, W) -> (B, O, H', W')."""
    return products.deconvolved(
        x, layer.weight.flatten(1).t(), layer.bias, kernel=layer.kernel_size, stride=layer.stride,
        padding=layer.padding, output_padding=layer.output_padding, dilation=layer.dilation,
    )  # fmt: skip


def _layers(work: Work) -> Iterator[tuple[str, nn.Module, tuple[int, ...]]]:
    """(network.layer, the layer, the shape of what it gets) of every convolution that is small enough to be tried."""
    for net_name, net in work.method.nets.items():
        for name, layer, x, y in _seen(work, net):
            fewer = x if isinstance(layer, nn.ConvTranspose2d) else y
            if fewer.numel() // fewer.shape[1] <= MOST:
                yield f"{net_name}.{name}", layer, tuple(x.shape)


def _seen(work: Work, net: nn.Module) -> list[tuple[str, nn.Module, Tensor, Tensor]]:
    """(name, layer, what it gets, what it gives) of every convolution in a forward."""
    found: list = []
    hooks = [
        layer.register_forward_hook(lambda m, given, out, name=name: found.append((name, m, given[0], out)))
        for name, layer in net.named_modules()
        if fits(layer) and max(layer.kernel_size) > 1
    ]
    try:
        with untouched(net), torch.no_grad():
            net(*work.made_up(net))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _pass(layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Callable[[], None]:
    """One forward and backward of a layer, with gradients for its weights and for what it gets."""

    def act() -> None:
        y = forward(x.detach().requires_grad_())
        y.backward(torch.ones_like(y))
        layer.zero_grad(set_to_none=True)

    return act
