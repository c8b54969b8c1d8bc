"""Log-likelihood of held-out pictures under a Gaussian Parzen window fitted to a generator's samples.

Goodfellow et al., 2014, section 5, after Breuleux et al., 2011. The estimate has a large variance and does badly in
high dimensions, as the paper says: compare only figures of as many samples, with sigma chosen in the same way.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from i2i.errors import UserError
from i2i.metrics.summary import summary
from i2i.metrics.vectors import matrix, row

__all__ = ["SIGMAS", "choose_sigma", "log_likelihoods", "summary"]

SIGMAS = tuple(0.1 * 10 ** (step / 9) for step in range(10))
"""Widths from 0.1 to 1 in equal ratios: where `choose_sigma` begins, for pictures in [0, 1] or [-1, 1]."""

BLOCK = 2**23  # distances held at once: 64 MiB in float64
WIDENINGS = 60  # with ratios of 1.29, over six decades to either side
REFINED = 7


def log_likelihoods(samples, points, sigma):
    """log p(x) = log 1/N sum_i N(x; s_i, sigma^2 I) of every point x, in nats.

    N(x; s, sigma^2 I) = (2 pi sigma^2)^(-D/2) exp(-|x - s|^2 / (2 sigma^2)). Distances, exponents and sums are float64;
    the mean of the samples is subtracted first, so that |x|^2 + |s|^2 - 2 x.s loses no digits to an offset.

    Args:
        samples: (N, D), what the generator made.
        points: (M, D), what is judged, in the samples' units.
        sigma: the window's width in those units, or a sequence of S of them, served from one pass over the distances.

    Returns:
        (M,) float64 tensor on the CPU; (S, M) for a sequence.

    Raises:
        UserError: an empty set, another shape, NaN or infinity, or a sigma that is not above 0.
    """
    import torch

    several = isinstance(sigma, Sequence) or getattr(sigma, "ndim", 0) > 0
    sigmas = row("sigmas", sigma if several else [sigma])
    if min(sigmas) <= 0:
        raise UserError(f"sigma is {min(sigmas)}: the width of a window must be above 0")
    samples = matrix("samples", samples, dtype=torch.float64)
    count, size = samples.shape
    points = matrix("points", points, width=size, dtype=torch.float64).to(samples.device)
    mean = samples.mean(dim=0)
    samples = samples - mean
    half = samples.square().sum(dim=1) / 2
    found = torch.empty(len(sigmas), len(points), dtype=torch.float64)
    rows = max(1, BLOCK // count)
    for start in range(0, len(points), rows):
        block = points[start : start + rows] - mean
        closeness = torch.addmm(half, block, samples.T, beta=-1)  # x.s - |s|^2 / 2, (rows, N)
        closeness.sub_(block.square().sum(dim=1, keepdim=True) / 2).clamp_(max=0)  # -|x - s|^2 / 2
        for number, width in enumerate(sigmas):
            found[number, start : start + rows] = torch.logsumexp(closeness / width**2, dim=1)
    widths = torch.tensor(sigmas, dtype=torch.float64)[:, None]
    found -= math.log(count) + size * (math.log(2 * math.pi) / 2 + widths.log())
    return found if several else found[0]


def choose_sigma(samples, points, sigmas: Sequence[float] = SIGMAS) -> tuple[float, dict[float, float]]:
    """The sigma under which held-out points are likeliest: the largest mean of `log_likelihoods`, in nats.

    The best of the grid, then the best of 7 more in equal ratios between its two neighbours. Where an end of the grid
    is best, the grid grows by its own ratio on that side until the best lies inside: sigma is never an end.

    Args:
        samples: (N, D), what the generator made.
        points: (M, D), held out: neither trained on nor the points that are reported.
        sigmas: at least two widths, ascending; equal ratios serve best.

    Returns:
        (sigma, {every sigma tried, ascending: mean log-likelihood}).

    Raises:
        UserError: what `log_likelihoods` refuses, a grid that is no grid, or a likelihood that keeps growing as the
            window narrows, as it does when points are among the samples.
    """
    grid = row("sigmas", sigmas)
    if len(grid) < 2 or grid[0] <= 0 or any(low >= high for low, high in pairwise(grid)):
        raise UserError(f"the sigmas are {grid}: give at least two, above 0 and ascending")
    tried: dict[float, float] = {}

    def best(widths) -> float:
        tried.update(zip(widths, log_likelihoods(samples, points, widths).mean(dim=1).tolist()))
        return max(sorted(tried), key=tried.get)

    sigma = best(grid)
    for _ in range(WIDENINGS):
        if grid[0] < sigma < grid[-1]:
            break
        low_end = sigma == grid[0]
        further = grid[0] ** 2 / grid[1] if low_end else grid[-1] ** 2 / grid[-2]
        grid = [further, *grid] if low_end else [*grid, further]
        sigma = best([further])
    else:
        raise UserError(
            f"no best sigma: the likelihood still grows at sigma {sigma:.3g}. Are the points among the samples, "
            "or in other units? Give held-out points, or sigmas of their scale"
        )
    place = grid.index(sigma)
    low, high = math.log(grid[place - 1]), math.log(grid[place + 1])
    sigma = best([math.exp(low + (high - low) * step / (REFINED + 1)) for step in range(1, REFINED + 1)])
    return sigma, dict(sorted(tried.items()))
