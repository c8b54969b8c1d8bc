"""The terms of a variational autoencoder's bound on log p(x) (Kingma and Welling, 2014, equation 10 and appendix B):

    log p(x) >= E[log p(x | z)] - KL(q(z | x) || p(z)),   z ~ q(z | x) = N(mu, sigma^2),   p(z) = N(0, 1)

Sums over all numbers of a picture or a latent, one value for each of the batch: (B,), in nats. Pictures in [-1, 1] are
taken to [0, 1] first, where the paper's pixels are. What has fewer than 32 bits is raised to float32.
"""

import math

import torch
from torch import Tensor


def kl(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) = 1/2 sum(mu^2 + sigma^2 - 1 - log sigma^2), at least 0: two (B, Z) -> (B,)."""
    mu, log_var = _raised(mu), _raised(log_var)
    # expm1(v) - v: where sigma is near 1, exp(v) - 1 - v would be the difference of two numbers near each other
    return (mu.square() + torch.expm1(log_var) - log_var).sum(1) / 2


def bernoulli(x: Tensor, y: Tensor) -> Tensor:
    """log p(x | y) where each pixel is 1 with probability (y + 1) / 2: two (B, C, H, W) in [-1, 1] -> (B,), at most 0.

    Greys count as shares of ones: minus the cross entropy, as for MNIST in the paper's experiments.

    A probability of 0 counts as the least one above 0 that y can express (2^-25 in float32), so that nothing is
    infinite; its gradient is as steep as there, so that a network that is wrong about a pixel for sure still learns.
    """
    x, y = _raised(x), _raised(y)
    one, zero = _above_zero((1 + y) / 2), _above_zero((1 - y) / 2)
    terms = (1 + x) / 2 * one.log() + (1 - x) / 2 * zero.log()
    return terms.flatten(1).sum(1)


def gaussian(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """log N((x + 1) / 2; (y + 1) / 2, sigma^2) with the same sigma for each pixel: two (B, C, H, W) -> (B,).

    Args:
        x, y: pictures in [-1, 1].
        sigma: standard deviation on the scale of [0, 1].

    Raises:
        ValueError: a `sigma` that is not above 0.
    """
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}: it must be above 0; 0.1 is a tenth of the way from black to white")
    far = (_raised(x) - _raised(y)) / (2 * sigma)  # in standard deviations
    return (-far.square() / 2 - math.log(sigma * math.sqrt(2 * math.pi))).flatten(1).sum(1)


def _above_zero(p: Tensor) -> Tensor:
    least = torch.finfo(p.dtype).eps / 4  # half the distance from 1 to the number below it, as (1 + y) / 2 makes it
    return torch.where(p > least, p, p - p.detach() + least)  # a clamp would stop the gradient


def _raised(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
