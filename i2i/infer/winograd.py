"""Residual blocks by Winograd's form (`nets.winograd`), for translation on a CPU where it is asked for."""

import types

from torch import Tensor, nn

from i2i.errors import UserError
from i2i.nets import winograd
from i2i.nets.winograd import continued, convolved, fits, transformed


def by_winograd(net: nn.Module) -> int:
    """Every layer of `net` that can be is computed so from now on, its weights transformed once; how many there are.

    Raises:
        UserError: there is none.
    """
    layers = [layer for layer in net.modules() if fits(layer)]
    if not layers:
        raise UserError(
            f"this generator has no convolution of 3x3 and stride 1 with {winograd.MANY} channels or more, as ResNets "
            "have, to be computed by Winograd's form; leave winograd out."
        )
    for layer in layers:
        layer.register_buffer("factors", transformed(layer.weight.detach()), persistent=False)
        layer.forward = types.MethodType(_forward, layer)
    return len(layers)


def _forward(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """(B, I, H, W) -> (B, O, H', W')."""
    return convolved(continued(layer, x), layer.factors, layer.bias, layer.padding)
