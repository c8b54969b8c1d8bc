"""Activation checkpointing: blocks of a network keep their inputs alone, and compute the rest again on the way back.

"Training Deep Nets with Sublinear Memory Cost" (Chen et al., 2016), by `torch.utils.checkpoint` without reentrance. A
block runs twice, and the second run must be the first over again: it draws the same dropout and noise, and starts from
the buffers (BatchNorm's statistics, the vectors of spectral norm) as the first run found them, and leaves them as they
are.
So gradients and buffers are those of plain training, bit for bit.
"""

import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, is_grad_enabled, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from i2i.nets.layers import Noise


def recompute(net: nn.Module) -> nn.Module:
    """Wraps the blocks of `net` in place; names, weights, copies and what it computes stay what they are."""
    for block in blocks(net):
        # bound to the block, so that a deepcopy's forward runs the copy and not the original
        block.forward = types.MethodType(_checkpointed, block)
    return net


def blocks(net: nn.Module) -> Iterator[nn.Module]:
    """The parts of a network that are run again as one: its children; rows of blocks, and what holds one, by member.

    A single layer is left alone: most of what it keeps is its input, and that is kept anyway.
    """
    for child in net.children():
        if is_parametrized(child):
            continue
        if _is_row(child) or any(map(_is_row, child.children())):
            yield from blocks(child)
        elif next(child.children(), None) is not None:
            yield child


def _is_row(module: nn.Module) -> bool:
    numbered = isinstance(module, nn.Sequential) and "0" in module._modules
    members = module.children() if numbered or isinstance(module, nn.ModuleList | nn.ModuleDict) else ()
    return any(next(member.children(), None) is not None for member in members)


def _checkpointed(block: nn.Module, *inputs: Tensor, **kwargs):
    """The block's own forward; its activations are dropped where a gradient will be asked for."""
    forward = type(block).forward
    if not is_grad_enabled():
        return forward(block, *inputs, **kwargs)
    weights = [(parameter, parameter._version) for parameter in block.parameters()]
    buffers = {owner: {name: value.clone() for name, value in owner._buffers.items() if value is not None}
               for owner in block.modules() if owner._buffers}  # fmt: skip
    draws = any(isinstance(module, _DropoutNd | Noise) and module.training for module in block.modules())
    inplace = getattr(_first_layer(block), "inplace", False)  # it would change x, which the second run needs

    def run(*inputs):
        return forward(block, *(x.clone() if inplace else x for x in inputs), **kwargs)

    def again():
        if any(parameter._version != version for parameter, version in weights):
            raise RuntimeError("weights changed between a forward and its backward: what is recomputed would differ")
        return _starting_from(buffers)

    before = [x._version for x in inputs]
    out = checkpoint(
        run, *inputs, use_reentrant=False, preserve_rng_state=draws, context_fn=lambda: (nullcontext(), _Late(again))
    )
    if [x._version for x in inputs] != before:
        raise RuntimeError(f"{type(block).__name__} changes its input in place, and cannot be recomputed from it")
    return out


class _Late:
    """A context made anew each time that it is entered: a second derivative asks for a block more than once."""

    def __init__(self, make):
        self.make = make

    def __enter__(self):
        self.context = self.make()
        return self.context.__enter__()

    def __exit__(self, *error):
        return self.context.__exit__(*error)


@contextmanager
def _starting_from(buffers: dict[nn.Module, dict[str, Tensor]]) -> Iterator[None]:
    """Inside, each module has copies of these buffers; afterwards its own again, untouched."""
    own = {module: dict(module._buffers) for module in buffers}
    for module, values in buffers.items():
        module._buffers.update({name: value.clone() for name, value in values.items()})
    try:
        yield
    finally:
        for module, values in own.items():
            module._buffers.update(values)


def _first_layer(block: nn.Module) -> nn.Module:
    return next((module for module in block.modules() if next(module.children(), None) is None), block)
