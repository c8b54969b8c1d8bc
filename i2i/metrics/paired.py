"""Metrics of predictions whose true picture is known."""

import math
import statistics
from collections.abc import Iterable
from itertools import zip_longest

import numpy as np

from i2i.errors import UserError


def l1(
    predictions: Iterable[np.ndarray],
    targets: Iterable[np.ndarray],
    *,
    value_range: tuple[float, float] | None = None,
) -> dict[str, float | int | None]:
    """Mean absolute difference per picture, averaged over the pictures.

    Unit: parts of the value range, so 0 is equality and 1 the distance from black to white; for 8-bit pictures a
    result of 0.1 is 25.5 levels. On tensors in [-1, 1] the same difference is twice this number. Every picture counts
    alike, whatever its size.

    Args:
        predictions, targets: (H, W, C) arrays of uint8 or uint16, in the same order; read once, one pair at a time.
        value_range: lowest and highest value of the domain; None takes the whole range of the arrays' type.

    Returns:
        {"mean": of the pictures' values, "standard_error": their standard deviation (n - 1) over sqrt(n), None for a
        single picture, "count": n}.

    Raises:
        UserError: no picture at all, two counts, a pair of two shapes or types, or an empty value range.
    """
    import torch  # both take seconds to import, and only an evaluation needs them
    from torchmetrics import MeanAbsoluteError

    difference = MeanAbsoluteError().set_dtype(torch.float64)
    values = []
    for number, (prediction, target) in enumerate(zip_longest(predictions, targets), start=1):
        low, high = _checked_range(number, prediction, target, value_range)
        pair = (np.ascontiguousarray(picture, dtype=np.float64) for picture in (prediction, target))
        difference.update(*map(torch.from_numpy, pair))
        values.append(float(difference.compute()) / (high - low))
        difference.reset()
    if not values:
        raise UserError("no pictures to compare: predictions and targets are empty; give at least one of each")
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": math.fsum(values) / len(values), "standard_error": error, "count": len(values)}


def _checked_range(number: int, prediction, target, value_range) -> tuple[float, float]:
    if prediction is None or target is None:
        longer = "targets" if prediction is None else "predictions"
        raise UserError(f"picture {number} is only among the {longer}: give as many predictions as targets")
    if prediction.shape != target.shape or prediction.dtype != target.dtype:
        raise UserError(
            f"picture {number} is {prediction.dtype} {prediction.shape}, its target {target.dtype} {target.shape}: "
            "they must agree in type, height, width and channels"
        )
    if prediction.dtype not in (np.uint8, np.uint16):
        raise UserError(f"picture {number} is {prediction.dtype}: it must be uint8 or uint16; convert it first")
    low, high = value_range or (0, np.iinfo(prediction.dtype).max)
    if not low < high:
        raise UserError(f"the value range is [{low}, {high}]: its second number must be above its first")
    return low, high
