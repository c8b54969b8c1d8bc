"""Pictures of any size for networks that take only some: padding by reflection, and the way back."""

import torch
from torch import Tensor


def pad(x: Tensor, multiple: int, minimum: int) -> tuple[Tensor, tuple[int, int]]:
    """(B, C, H, W) -> ((B, C, H', W'), (top, left)): the least sides that are multiples of `multiple` and >= `minimum`.

    The picture stays in the middle. It is reflected at its border, the border itself not repeated, as often as needed;
    a side of 1 px is repeated. That is `numpy.pad` with mode "reflect". A picture that fits comes back as it is.
    """
    height, width = x.shape[-2:]
    top, rows = _reflected(height, _fitting(height, multiple, minimum))
    left, columns = _reflected(width, _fitting(width, multiple, minimum))
    if len(rows) != height:
        x = x.index_select(-2, rows.to(x.device))
    if len(columns) != width:
        x = x.index_select(-1, columns.to(x.device))
    return x, (top, left)


def crop(x: Tensor, corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(B, C, H', W'), (top, left), (H, W) -> (B, C, H, W): undoes `pad`."""
    (top, left), (height, width) = corner, size
    return x[..., top : top + height, left : left + width]


def _fitting(side: int, multiple: int, minimum: int) -> int:
    return -(-max(side, minimum) // multiple) * multiple


def _reflected(side: int, padded: int) -> tuple[int, Tensor]:
    """(pixels before the picture, for each of `padded` places the pixel that stands there)."""
    before = (padded - side) // 2
    place = torch.arange(padded) - before
    if side == 1:
        return before, torch.zeros_like(place)
    period = 2 * (side - 1)  # there and back: 0 1 2 3 2 1 | 0 1 2 ...
    place = place % period
    return before, torch.minimum(place, period - place)
