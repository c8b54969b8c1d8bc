"""Averages over all processes: gradients and loss of each update, BatchNorm's running statistics after each step."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def average(processes, parameters: list[Tensor], loss: Tensor) -> Tensor:
    """Replaces the gradients of `parameters` by their means; returns the mean of `loss` (0-d, detached).

    All in one tensor and one operation. A parameter that has no gradient in this process, but in another, gets the
    mean with a zero for its own; one that has none anywhere keeps none, so that optimizers leave it out in all
    processes or in none. (Which it is must be read from the device, but only where a gradient is missing.)
    """
    there = [p.grad is not None for p in parameters]
    missing = [parameter for parameter, has in zip(parameters, there, strict=True) if not has]
    grads = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in parameters]
    marks = loss.new_ones(len(parameters)) if not missing else loss.new_tensor(there)
    mean, marks, *means = _means(processes, [loss, marks, *grads])
    torch._foreach_copy_(grads, means)
    if missing:
        for parameter, grad, mark in zip(parameters, grads, marks.tolist(), strict=True):
            if parameter.grad is None and mark > 0:
                parameter.grad = grad
    return mean.to(loss.dtype)


@torch.no_grad()
def settle(processes, nets: Iterable[nn.Module]) -> None:
    """Averages the running means and variances of every BatchNorm that normalises with its own process's pictures.

    They follow the batches linearly: averaged after every step, they are what one process would have that counts the
    mean of its parts' statistics for each batch. Training does not use them, they are exported; and a backward that is
    still to come may need them as they are, so that this waits for the end of a step.
    """
    moving = [
        tensor
        for net in nets
        for module in net.modules()
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm) and module.track_running_stats
        for tensor in (module.running_mean, module.running_var)
    ]
    if moving:
        torch._foreach_copy_(moving, _means(processes, moving))


def _means(processes, parts: list[Tensor]) -> list[Tensor]:
    flat = torch.cat([part.reshape(-1) for part in parts])
    processes.average_(flat)
    return [mean.view(part.shape) for mean, part in zip(flat.split([part.numel() for part in parts]), parts)]
