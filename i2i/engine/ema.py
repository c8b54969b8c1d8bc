"""Exponential moving average of weights, as sampled, scored and exported."""

import copy

import torch
from torch import Tensor, nn


class EMA:
    """Averages of the networks in `nets`: ema <- decay ema + (1 - decay) weights after each update; buffers are copied.

    Args:
        nets: name -> network.
        decay: in (0, 1), for one step.
    """

    def __init__(self, nets: dict[str, nn.Module], decay: float):
        self.decay = decay
        self.nets = {name: copy.deepcopy(net).requires_grad_(False) for name, net in nets.items()}

    @torch.no_grad()
    def update(self, name: str, net: nn.Module, bad: Tensor | None = None) -> None:
        """Moves the average of `net`; with `bad` (0-d, 0 or 1, on the device) at 1 it stays, bit for bit."""
        average = self.nets[name]
        pairs = list(zip(average.parameters(), net.parameters(), strict=True))
        if bad is None:
            torch._foreach_lerp_([mean for mean, _ in pairs], [new for _, new in pairs], 1.0 - self.decay)
        else:
            for mean, new in pairs:
                mean.copy_(torch.where(bad > 0, mean, torch.lerp(mean, new, 1.0 - self.decay)))
        for mean, new in zip(average.buffers(), net.buffers(), strict=True):
            mean.copy_(new if bad is None else torch.where(bad > 0, mean, new))
