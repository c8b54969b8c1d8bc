"""What the metrics of sets of vectors take: one row per picture, checked once and in words."""

import math

from i2i.errors import UserError


def matrix(name: str, values, *, width: int | None = None, dtype=None):
    """`values` as a finite matrix, a tensor of its own type or of `dtype`, without a gradient.

    Args:
        name: how a message calls the set, e.g. "samples".
        values: (N, F) tensor, array or list of rows, N and F at least 1; it stays on the device it is on.
        width: the F that another set asks for.

    Raises:
        UserError: not two axes, no row, no column, another width, text, or a value that is NaN or infinite.
    """
    import numpy as np
    import torch

    if isinstance(values, torch.Tensor):
        found = values.detach()
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "buif":
            raise UserError(f"the {name} are {array.dtype}: give numbers, one row per picture")
        found = torch.from_numpy(np.array(array))
    shape = tuple(found.shape)
    if shape[:1] == (0,):
        raise UserError(f"the {name} are empty: give at least one")
    if len(shape) != 2 or shape[1] == 0:
        raise UserError(f"the {name} are of shape {shape}: give (N, F), one row of F numbers per picture")
    if width is not None and shape[1] != width:
        raise UserError(f"the {name} have {shape[1]} numbers a row, the other set {width}: they must agree")
    found = found if dtype is None else found.to(dtype)
    wrong = int((~torch.isfinite(found)).any(dim=1).sum())
    if wrong:
        raise UserError(f"{wrong} of {len(found)} {name} hold NaN or infinity: leave them out")
    return found


def row(name: str, values) -> list[float]:
    """`values` as a list of finite floats; a tensor, an array or any iterable of numbers with one axis.

    Raises:
        UserError: no value, more than one axis, or a value that is NaN or infinite.
    """
    values = values.tolist() if hasattr(values, "tolist") else list(values)
    if not isinstance(values, list) or any(isinstance(value, list | tuple) for value in values):
        raise UserError(f"the {name} have another shape than (N,): give one number for each")
    if not values:
        raise UserError(f"the {name} are empty: give at least one")
    values = [float(value) for value in values]
    if not all(map(math.isfinite, values)):
        raise UserError(f"{sum(not math.isfinite(value) for value in values)} of {len(values)} {name} are not finite")
    return values
