"""What small fits share: a learning rate that rises and falls, and the order of the data. No step names a network."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from i2i.errors import UserError


def one_cycle(step: int, steps: int, warm_up: float = 0.2) -> float:
    """The learning rate of a step as a part of the highest: up in a straight line, down along half a cosine.

    Never 0, so that no step is wasted: the middle of each step counts.
    """
    place = (step + 0.5) / steps
    if place < warm_up:
        return place / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (place - warm_up) / (1 - warm_up))


def batches(count: int, batch_size: int, steps: int, draw: torch.Generator) -> Iterator[Tensor]:
    """`steps` batches of places in 0 .. count - 1, epoch after epoch; less than a batch at an epoch's end is left out.

    `batch_size` is at most `count`.
    """
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < batch_size:
            order = torch.randperm(count, generator=draw)
        yield order[:batch_size]
        order = order[batch_size:]


def check_training(**counts: float) -> None:
    """Refuses steps, batch sizes and rates that are not above 0."""
    for name, value in counts.items():
        if not value > 0:
            raise UserError(f"{name} is {value}; it must be above 0.")


def moves(x: Tensor, most: int, *, flip: bool, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows (B, H) and columns (B, W) to take of (B, C, H, W), so that each picture is moved by up to `most` pixels.

    Border pixels are repeated behind a picture. With `flip`, half of the pictures are mirrored left to right.
    """
    count, _, height, width = x.shape
    rows = torch.arange(height) + torch.randint(-most, most + 1, (count, 1), generator=draw)
    columns = torch.arange(width) + torch.randint(-most, most + 1, (count, 1), generator=draw)
    rows, columns = rows.clamp_(0, height - 1), columns.clamp_(0, width - 1)
    if flip:
        mirrored = torch.rand(count, 1, generator=draw) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    return rows, columns


def taken(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, C, H, W) at rows (B, h) and columns (B, w), those of each picture its own -> (B, C, h, w), contiguous."""
    picture = torch.arange(len(x))[:, None, None]
    return x[picture, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
