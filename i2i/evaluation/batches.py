"""The two forms in which evaluation takes pictures, and what fits and feature nets make of them."""

import numpy as np
import torch
from torch import Tensor

Pictures = np.ndarray | Tensor


def checked(pictures: Pictures, name: str = "pictures") -> Tensor:
    """Pictures as a tensor (B, C, H, W) on the CPU, uint8 levels or float32 in [-1, 1]; without a copy if it can.

    Args:
        pictures: a NumPy array (B, H, W, C) of uint8 with 1 to 4 channels; or a tensor (B, C, H, W), uint8, or float
            in [-1, 1] as `Domain.to_tensor` makes them. 16 bits and floats of another range go through their domain.

    Raises:
        ValueError: anything else; a float outside [-1, 1], or not finite.
    """
    if isinstance(pictures, np.ndarray):
        if pictures.ndim != 4 or pictures.dtype != np.uint8 or not 1 <= pictures.shape[-1] <= 4:
            raise ValueError(
                f"{name} are an array {pictures.dtype} {pictures.shape}; arrays are uint8 (B, H, W, C) with 1 to 4 "
                "channels. Give others as tensors (B, C, H, W) in [-1, 1], by Domain.to_tensor."
            )
        if not pictures.flags.writeable:  # as np.frombuffer gives them; torch wants memory that it may write to
            pictures = pictures.copy()
        return torch.from_numpy(pictures).permute(0, 3, 1, 2)
    if not isinstance(pictures, Tensor) or pictures.ndim != 4:
        raise ValueError(f"{name} are {_shown(pictures)}; they must be a tensor (B, C, H, W) or an array (B, H, W, C).")
    x = pictures.detach().cpu()
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        raise ValueError(f"{name} are {_shown(x)}; tensors of pictures are uint8, or floats in [-1, 1].")
    low, high = x.aminmax() if x.numel() else (torch.zeros(()), torch.zeros(()))
    if not (low >= -1 and high <= 1):
        raise ValueError(
            f"{name} go from {float(low):g} to {float(high):g}; floats must be in [-1, 1]. Clamp what a network gave."
        )
    return x.float()


def to_floats(x: Tensor) -> Tensor:
    """`checked` pictures -> float32 in [-1, 1]; levels become what `Domain.to_tensor` makes of 8 bits."""
    return x.float().div_(255).mul_(2).sub_(1) if x.dtype == torch.uint8 else x


def to_levels(x: Tensor) -> Tensor:
    """`checked` pictures -> uint8, rounded half up as `Domain.to_pixels` does it; levels stay what they are."""
    if x.dtype == torch.uint8:
        return x
    return x.double().add(1).mul_(127.5).add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)


def to_rgb(x: Tensor, name: str = "pictures") -> Tensor:
    """(B, 1 or 3, H, W) -> (B, 3, H, W): grey is repeated. ValueError for other channels."""
    if x.shape[1] not in (1, 3):
        raise ValueError(f"{name} have {x.shape[1]} channels; this net takes 3, or 1 that is repeated.")
    return x.expand(-1, 3, -1, -1)


def checked_labels(labels: np.ndarray | Tensor, count: int, classes: int | None, name: str = "labels") -> Tensor:
    """Labels as int64 on the CPU, `count` of them (any shape behind the first axis).

    Raises:
        ValueError: another count or type, or a label outside 0 .. classes - 1.
    """
    found = torch.as_tensor(np.array(labels) if isinstance(labels, np.ndarray) else labels).detach().cpu()
    if found.is_floating_point() or found.ndim < 1 or len(found) != count:
        raise ValueError(f"{name} are {_shown(found)}; they must be whole numbers, one for each of {count}.")
    found = found.long()
    low, high = (int(found.min()), int(found.max())) if found.numel() else (0, 0)
    if low < 0 or (classes is not None and high >= classes):
        most = "" if classes is None else f" and below {classes}"
        raise ValueError(f"{name} go from {low} to {high}; they must be at least 0{most}.")
    return found


def _shown(value) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
