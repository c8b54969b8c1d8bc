"""Residual blocks by Winograd's forms (`nets.winograd`), for translation on a CPU.

F2 rounds as a convolution does and is what is computed by; F4 rounds more and is faster, where it is asked for.
"""

import functools
import types

import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.nets import winograd
from i2i.nets.layers import continued
from i2i.nets.winograd import F2, F4, Form, convolved, fits, transformed


def by_winograd(net: nn.Module, asked: bool) -> int:
    """Every layer of `net` that can be is computed so from now on, its weights transformed once; how many there are by
    the form that rounds more, which must be `asked` for.

    Raises:
        UserError: it is asked for, and there is none.
    """
    layers, form = [layer for layer in net.modules() if fits(layer)], F4 if asked else F2
    if asked and not layers:
        raise UserError(
            f"this generator has no convolution of 3x3 and stride 1 with {winograd.MANY} channels or more, as ResNets "
            "have, to be computed by Winograd's form; leave winograd out."
        )
    for layer in layers:
        layer.register_buffer("factors", transformed(layer.weight.detach(), form), persistent=False)
        layer.forward = types.MethodType(functools.partial(_forward, form=form), layer)
    return len(layers) if asked else 0


def _forward(layer: nn.Conv2d, x: Tensor, form: Form) -> Tensor:
    """(B, I, H, W) -> (B, O, H', W')."""
    x = continued(layer, x)
    if x[:, 0].numel() <= winograd.FEWEST:
        return F.conv2d(x, layer.weight, layer.bias, padding=layer.padding)
    return convolved(x, layer.factors, layer.bias, layer.padding, form)
