"""How two known distributions differ, and what the best discriminator between them says; all logarithms natural.

The theory of Goodfellow et al., 2014, section 4, and of its tutorial (Goodfellow, 2016, section 3), in numbers. A
distribution is an array of any shape: probabilities of K outcomes (cell 1), or a density's values on a grid whose cells
have the length, area or volume `cell`. 0 log 0 is 0.
"""

import math

from i2i.errors import UserError

TOLERANCE = 1e-3  # how far from 1 the mass on a grid may be
CLOSEST = 2.0**-53  # how near to certainty a D of float64 comes


def kl(p, q, *, cell: float = 1.0) -> float:
    """KL(p || q) = sum p log(p / q) cell, in nats; infinite where p has mass and q has none.

    Args:
        p, q: arrays of one shape, at least 0, each with a mass of 1 (sum times cell, to a thousandth).
        cell: size of a grid's cell in the coordinates' unit; 1 for probabilities.

    Raises:
        UserError: another shape, a negative or non-finite value, another mass, or a cell that is not above 0.
    """
    return _kl(*_pair(p, q, cell)) * cell


def js(p, q, *, cell: float = 1.0) -> float:
    """JS(p, q) = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2, in nats: from 0 to log 2 (0.6931).

    Arguments and errors are those of `kl`.
    """
    p, q = _pair(p, q, cell)
    total = p + q  # not its half: half of the smallest number above 0 is 0
    return (_kl(p, total) + _kl(q, total) + math.log(2) * float(total.sum())) / 2 * cell


def optimal_discriminator(p_data, p_g, *, cell: float = 1.0):
    """D*(x) = p_data(x) / (p_data(x) + p_g(x)), a float64 array in [0, 1] (Goodfellow et al., 2014, proposition 1).

    1/2 where neither has mass: no discriminator is judged there. Arguments and errors are those of `kl`.
    """
    import numpy as np

    p_data, p_g = _pair(p_data, p_g, cell)
    total = p_data + p_g
    return np.divide(p_data, total, out=np.full_like(total, 0.5), where=total > 0)


def value(p_data, p_g, discriminator, *, cell: float = 1.0) -> float:
    """V(D) = E_data log D + E_g log(1 - D), in nats (Goodfellow et al., 2014, equation 1).

    At most 2 JS(p_data, p_g) - 2 log 2, which D* alone reaches (theorem 1). D is taken as at least 2^-53 and at most
    1 - 2^-53, the float64 next to 1: being certain and wrong costs 36.7 nats, not infinity.

    Args:
        p_data, p_g, cell: as in `kl`.
        discriminator: D's probabilities of "data" on the same grid, in [0, 1].

    Raises:
        UserError: what `kl` refuses, or a D of another shape or outside [0, 1].
    """
    p_data, p_g = _pair(p_data, p_g, cell)
    d = _probabilities(discriminator).clip(CLOSEST, 1 - CLOSEST)
    if d.shape != p_data.shape:
        raise UserError(f"D is of shape {d.shape}, the distributions of {p_data.shape}: they must agree")
    return (_expected_log(p_data, d) + _expected_log(p_g, 1 - d)) * cell


def density_ratio(d, pi: float = 0.5):
    """p_data(x) / p_g(x) = D / (1 - D) * (1 - pi) / pi, what the best discriminator knows of the two densities.

    Args:
        d: D's probabilities of "data", any shape, in [0, 1]; infinity comes back where it is 1.
        pi: share of data among the examples D was trained on, inside (0, 1).

    Returns:
        float64 array of the same shape; a float for a number.

    Raises:
        UserError: D outside [0, 1], or pi outside (0, 1).
    """
    import numpy as np

    if not 0 < pi < 1:
        raise UserError(f"pi is {pi}: the share of data must lie between 0 and 1, both left out")
    d = _probabilities(d)
    with np.errstate(divide="ignore"):
        found = d / (1 - d) * ((1 - pi) / pi)
    return found if d.ndim else float(found)


def _expected_log(p, values) -> float:
    """sum p log(values), without the places where p is 0."""
    import numpy as np

    there = p > 0
    with np.errstate(divide="ignore"):
        return float((p[there] * np.log(values[there])).sum())


def _kl(p, q) -> float:
    return _expected_log(p, p) - _expected_log(p, q)


def _probabilities(d):
    import numpy as np

    d = np.asarray(d, dtype=np.float64)
    if not ((d >= 0) & (d <= 1)).all():
        raise UserError("D holds values outside [0, 1]: give probabilities, the sigmoid of its logits")
    return d


def _pair(p, q, cell: float):
    import numpy as np

    if not 0 < cell < math.inf:
        raise UserError(f"the cell is {cell}: its size must be above 0")
    found = [np.asarray(values, dtype=np.float64) for values in (p, q)]
    if found[0].shape != found[1].shape or not found[0].size:
        raise UserError(f"the distributions are of shapes {found[0].shape} and {found[1].shape}: give two on one grid")
    for number, values in enumerate(found, start=1):
        if not np.isfinite(values).all() or (values < 0).any():
            raise UserError(f"distribution {number} holds negative, NaN or infinite values: give a density")
        mass = float(values.sum() * cell)
        if abs(mass - 1) > TOLERANCE:
            raise UserError(
                f"distribution {number} has a mass of {mass:.6g}, not 1: normalise it, or give the size of the "
                "grid's cells or a wider grid"
            )
    return found
