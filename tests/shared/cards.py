"""A CUDA device without a card: tensors that have a shape and a device, and no values."""

from contextlib import contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class NoCopies(TorchDispatchMode):
    """Refuses whatever brings a tensor of the host to the card: a step waits for such a copy, a graph cannot hold it.

    Numbers are no tensors: an operation takes them along.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # a fused optimizer works in place, and says nothing of what it would do without values
        out = None if "_fused_" in str(func) else func(*args, **(kwargs or {}))
        devices = {part.device.type for part in tree_flatten((args, kwargs or {}, out))[0] if torch.is_tensor(part)}
        if {"cpu", "cuda"} <= devices:
            raise AssertionError(f"{func} has tensors of the host and of the card")
        return out


@contextmanager
def pretended(monkeypatch):
    """Inside, networks can be sent to `cuda`; gradients are zeros, since going backward needs a driver."""
    with FakeTensorMode():
        monkeypatch.setattr(torch.Tensor, "backward", _backward)
        monkeypatch.setattr(torch.autograd, "grad", _grad)
        yield


def _backward(loss):
    assert loss.device.type == "cuda" and loss.dim() == 0
    for parameter in _backward.parameters:
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)


def _grad(outputs, inputs, **kwargs):
    return (torch.zeros_like(inputs) + outputs * 0,)


def on_card(net: nn.Module) -> None:
    """Its weights and buffers become tensors of the card, without values."""
    for module in net.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                empty = torch.empty(weight.shape, dtype=weight.dtype, device="cuda")
                module._parameters[name] = nn.Parameter(empty, weight.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cuda")
