"""Losses on what a discriminator sees in pictures, not on what it says of them."""

import torch
from torch import Tensor


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """|| E f(x) - E f(G(z)) ||^2 (Salimans et al., 2016, section 3.1): the squared distance of two means, at least 0.

    Args:
        real, fake: features of real and of generated pictures, (B, ...) and (B', ...), any range, one row each. What
            has fewer than 32 bits is raised to float32.

    Returns:
        A scalar: the sum over all features, as the paper has it; its code takes the mean over them.

    Raises:
        ValueError: rows of two shapes.
    """
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"real features are {tuple(real.shape)}, fake ones {tuple(fake.shape)}: take both from one layer of one D"
        )
    real, fake = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (real, fake))
    return (real.mean(0) - fake.mean(0)).square().sum()
