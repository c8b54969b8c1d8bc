"""The nearest pictures of a reference set: does a net copy what it was trained on?"""

from i2i.errors import UserError
from i2i.metrics.vectors import matrix

BLOCK = 2**23  # distances held at once: 64 MiB in float64
ROUNDING = 2.0**-52  # twice the largest error of one float64 operation


def nearest(queries, reference, k: int = 1):
    """The k nearest rows of the reference set to every query, by |x - r| = sqrt(sum (x_f - r_f)^2), exact.

    Fast distances (|x|^2 + |r|^2 - 2 x.r, float64) only choose the candidates; theirs are computed again from the
    differences, so a copy is at distance 0. Equal distances are ordered by index.

    Args:
        queries: (N, F), pictures as rows, or features of them.
        reference: (M, F).
        k: how many neighbours, 1 to M.

    Returns:
        (distances, indices): (N, k) float64 and (N, k) int64 tensors on the CPU, nearest first.

    Raises:
        UserError: an empty set, another shape, NaN or infinity, or a k outside 1 to M.
    """
    import torch

    reference = matrix("reference pictures", reference, dtype=torch.float64)
    count, size = reference.shape
    queries = matrix("queries", queries, width=size, dtype=torch.float64).to(reference.device)
    if not 1 <= k <= count:
        raise UserError(f"{k} neighbours of {count} reference pictures: k must be from 1 to {count}")
    mean = reference.mean(dim=0)
    centred = reference - mean
    norms = centred.square().sum(dim=1)
    distances = torch.empty(len(queries), k, dtype=torch.float64)
    indices = torch.empty(len(queries), k, dtype=torch.int64)
    rows = max(1, BLOCK // count)
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows] - mean
        fast = torch.addmm(norms, block, centred.T, alpha=-2)  # |x - r|^2 less |x|^2, (rows, M)
        slack = ROUNDING * (size + 4) * (norms.max() + block.square().sum(dim=1, keepdim=True))
        # What the sums of F products may be off at most: no true neighbour is left out.
        near = fast <= fast.topk(k, dim=1, largest=False).values[:, -1:] + 2 * slack
        for number, candidates in enumerate(near, start=start):
            chosen = candidates.nonzero()[:, 0]
            squared = (reference[chosen] - queries[number]).square().sum(dim=1)
            order = squared.argsort(stable=True)[:k]
            distances[number] = squared[order].sqrt()
            indices[number] = chosen[order]
    return distances, indices
