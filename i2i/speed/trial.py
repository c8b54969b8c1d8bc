"""Running a network before training begins, without a trace."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from i2i.nets.shapes import parts


def forward_backward(net: nn.Module, pictures: Tensor, *classes: Tensor, trained: bool = True) -> None:
    """One forward and backward; not `trained`, as in a frozen discriminator, with a gradient for the pictures alone."""
    net.requires_grad_(trained)
    outputs = net(pictures.clone().requires_grad_(not trained), *classes)
    sum(part.float().mean() for part in parts(outputs)).backward()


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Afterwards weights have no gradient, buffers hold what they held, and the random state is what it was."""
    before = [(buffer, buffer.clone()) for buffer in net.buffers()]
    devices = {tensor.device for tensor in itertools.chain(net.parameters(), net.buffers()) if tensor.is_cuda}
    try:
        with torch.random.fork_rng(list(devices)):
            yield
    finally:
        net.requires_grad_(True).zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
