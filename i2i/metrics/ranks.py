"""How well one set of numbers lies above another, whatever their scale."""

import math

import numpy as np

from i2i.metrics.vectors import row


def auc(above, below) -> dict[str, float | int | None]:
    """P(a > b) + P(a = b) / 2 for a of one set and b of another: the area under the ROC curve, the U of Mann and
    Whitney in parts of its largest value. 0.5 where nothing tells the sets apart, 1 where every a is above every b.

    Standard error after DeLong et al. (1988): with v_a the part of `below` under a (ties half) and v_b the part of
    `above` over b, sqrt(var(v_a) / m + var(v_b) / n), variances over m - 1 and n - 1. It is 0 where the sets are apart.

    Args:
        above, below: (m,) and (n,) finite numbers: tensors, arrays or iterables.

    Returns:
        {"mean", "standard_error": None where a set has one number, "count": m + n}.

    Raises:
        UserError: no number, or one that is not finite.
    """
    a, b = np.sort(row("numbers above", above)), np.sort(row("numbers below", below))
    of_a = _under(a, b)
    of_b = 1 - _under(b, a)
    parts = [each.var(ddof=1) / len(each) if len(each) > 1 else None for each in (of_a, of_b)]
    error = None if None in parts else math.sqrt(sum(parts))
    return {"mean": float(of_a.mean()), "standard_error": error, "count": len(a) + len(b)}


def _under(numbers: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of `numbers` the part of `others`, which are sorted, that is below it; equal ones count half."""
    return (np.searchsorted(others, numbers, "left") + np.searchsorted(others, numbers, "right")) / (2 * len(others))
