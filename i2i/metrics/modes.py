"""Mode coverage on points whose modes are known, such as rings and grids of Gaussians."""

import math

from i2i.errors import UserError
from i2i.metrics.neighbours import nearest
from i2i.metrics.vectors import matrix


def coverage(points, centres, std: float, *, share: float = 0.01, radius: float = 3.0) -> dict:
    """How many modes a set of samples reaches, how many samples are good, and how evenly they spread.

    A sample is good when it lies at most `radius` standard deviations from its nearest centre, which it counts for (in
    2 dimensions 98.9 % of a Gaussian mode do at 3). A mode is covered when at least the share `share` of all samples is
    good and counts for it. kl = sum_k h_k log(K h_k), in nats, with h the histogram of the good samples over the K
    modes: 0 is even, log K is a single mode. After Srivastava et al., 2017 (VEEGAN), and Lin et al., 2018 (PacGAN).

    Args:
        points: (N, D), the samples.
        centres: (K, D), the modes' means, in the points' unit.
        std: standard deviation of every mode, in that unit.
        share: of all samples, above 0 and at most 1.
        radius: in standard deviations.

    Returns:
        {"covered": modes, "modes": K, "good": share of samples, "kl": nats or None when no sample is good,
        "histogram": good samples of each mode, "count": N, "std", "share", "radius"}.

    Raises:
        UserError: an empty set, another shape, NaN or infinity, or a std, share or radius outside its range.
    """
    import torch

    for name, number in (("std", std), ("radius", radius)):
        if not 0 < number < math.inf:
            raise UserError(f"the {name} is {number}: it must be above 0")
    if not 0 < share <= 1:
        raise UserError(f"the share is {share}: it must be above 0 and at most 1")
    centres = matrix("centres", centres, dtype=torch.float64)
    points = matrix("points", points, width=centres.shape[1], dtype=torch.float64)
    distances, indices = (found[:, 0] for found in nearest(points, centres))
    good = indices[distances <= radius * std]
    histogram = torch.bincount(good, minlength=len(centres)).tolist()
    parts = [number / len(good) for number in histogram if number]
    return {
        "covered": sum(number / len(points) >= share for number in histogram),
        "modes": len(centres),
        "good": len(good) / len(points),
        "kl": max(0.0, math.fsum(part * math.log(part * len(centres)) for part in parts)) if parts else None,
        "histogram": histogram,
        "count": len(points),
        "std": float(std),
        "share": float(share),
        "radius": float(radius),
    }
