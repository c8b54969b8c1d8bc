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
        """Moves the average of `net`; with `bad` (0-d, 0 or 1, on the device) at 1 it stays where it is."""
        average = self.nets[name]
        means, news = list(average.parameters()), list(net.parameters())
        if bad is None:
            torch._foreach_lerp_(means, news, 1.0 - self.decay)
        else:  # weights are finite even then: what was bad did not reach them
            moves = torch._foreach_sub(news, means)
            torch._foreach_mul_(moves, (1.0 - self.decay) * (1.0 - bad))
            torch._foreach_add_(means, moves)
        for mean, new in zip(average.buffers(), net.buffers(), strict=True):
            mean.copy_(new if bad is None else torch.where(bad > 0, mean, new))
