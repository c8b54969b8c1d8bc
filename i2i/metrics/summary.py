"""One number per picture -> their mean and how far it can be trusted."""

import math
import statistics

from i2i.metrics.vectors import row


def summary(values) -> dict[str, float | int | None]:
    """Mean of n values and its standard error s / sqrt(n), with s^2 = sum (v - mean)^2 / (n - 1).

    Args:
        values: (n,) tensor, array or iterable of numbers, n at least 1; their unit is the result's.

    Returns:
        {"mean", "standard_error": None for a single value, "count": n}.

    Raises:
        UserError: no value, or a value that is not finite.
    """
    values = row("values", values)
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": math.fsum(values) / len(values), "standard_error": error, "count": len(values)}
