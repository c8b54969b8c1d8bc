"""What a network is called with, for whoever runs one only to look at it."""

import torch
from torch import Tensor, nn


def inputs(net: nn.Module, count: int, side: int) -> tuple[int, ...]:
    """The shape of a batch for `net`: (count, Z) where it takes latents, else (count, C, side, side)."""
    return (count, net.in_channels) if net.takes == "latents" else (count, net.in_channels, side, side)


def classes(net: nn.Module, count: int, device: torch.device | str | None = None) -> tuple[Tensor, ...]:
    """What `net` is called with beside a batch: (count,) classes where it is told some, else nothing."""
    return (torch.zeros(count, dtype=torch.int64, device=device),) if getattr(net, "classes", None) else ()


def parts(output: Tensor | tuple | list) -> list[Tensor]:
    """The tensors of an output: one, one for each scale of a discriminator, or an encoder's two."""
    return [output] if isinstance(output, torch.Tensor) else list(output)
