"""Terms of the VAE's bound: against torch.distributions in float64, Monte Carlo, and values worked by hand."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from i2i.losses.likelihood import bernoulli, gaussian, kl


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pictures(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


# -- KL


def test_kl_by_hand():
    """N(0, 1): 0. N(2, 1): 2^2 / 2. N(0, e): (e - 1 - 1) / 2. N(1, 1/4): (1 + 1/4 - 1 + log 4) / 2. They add up."""
    mu = torch.tensor([[0.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    log_var = torch.tensor([[0.0, 0.0], [1.0, -math.log(4)]], dtype=torch.float64)
    expected = [2.0, (math.e - 2) / 2 + (0.25 + math.log(4)) / 2]
    assert kl(mu, log_var).tolist() == pytest.approx(expected, abs=1e-12)


def test_kl_against_torch_s():
    mu, log_var = randn(1, 5, 7), randn(2, 5, 7)
    expected = kl_divergence(Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(kl(mu, log_var), expected, rtol=1e-12)


def test_kl_against_monte_carlo():
    """The mean of log q(z) - log p(z) over z ~ q, within 5 standard errors of 200,000 draws."""
    mu, log_var = randn(3, 1, 3), randn(4, 1, 3)
    q, p = Normal(mu, (log_var / 2).exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    z = mu + (log_var / 2).exp() * randn(5, 200_000, 3)
    draws = (q.log_prob(z) - p.log_prob(z)).sum(1)
    assert (draws.mean() - kl(mu, log_var)[0]).abs() < 5 * draws.std() / math.sqrt(200_000)


def test_kl_is_at_least_zero_and_zero_at_the_prior_alone():
    assert (kl(randn(6, 1000, 2), randn(7, 1000, 2)) > 0).all()
    assert kl(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0.0, 0.0]
    near = torch.full((1, 1), 1e-3)  # in float32, where exp(v) - 1 - v would keep one digit: v^2 / 4 (1 + v / 3)
    assert kl(torch.zeros(1, 1), near).item() == pytest.approx(1e-6 / 4 * (1 + 1e-3 / 3), rel=2e-3)


# -- Bernoulli


def test_bernoulli_by_hand():
    """Pixels 1, 0, 1 (white, black, white) under 3/4, 1/4, 1/2: log(3/4) + log(3/4) + log(1/2)."""
    x = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    y = torch.tensor([0.5, -0.5, 0.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    assert bernoulli(x, y).tolist() == pytest.approx([2 * math.log(0.75) + math.log(0.5)], abs=1e-12)


def test_bernoulli_against_torch_s():
    y, black_and_white = pictures(1, 4, 2, 5, 3), pictures(2, 4, 2, 5, 3).sign()
    expected = Bernoulli((y + 1) / 2).log_prob((black_and_white + 1) / 2).sum((1, 2, 3))
    assert bernoulli(black_and_white, y).shape == (4,)
    assert torch.allclose(bernoulli(black_and_white, y), expected, rtol=1e-12)
    grey = pictures(3, 4, 2, 5, 3)
    expected = Bernoulli((y + 1) / 2, validate_args=False).log_prob((grey + 1) / 2).sum((1, 2, 3))
    assert torch.allclose(bernoulli(grey, y), expected, rtol=1e-12)


def test_bernoulli_is_largest_at_the_picture_itself():
    x = pictures(4, 3, 1, 4, 4)
    best = bernoulli(x, x)
    for seed in range(20):
        assert (bernoulli(x, (x + 0.1 * randn(seed, *x.shape)).clamp(-1, 1)) < best).all()


@pytest.mark.parametrize("dtype, least", [(torch.float32, 2.0**-25), (torch.float64, 2.0**-54)])
def test_bernoulli_at_probabilities_of_0_and_1(dtype, least):
    """Right: 0 (nearly). Wrong: the log of the least probability that y can express, never minus infinity."""
    one = torch.ones(1, 1, 1, 1, dtype=dtype)
    assert bernoulli(one, one) == 0 == bernoulli(-one, -one)
    assert bernoulli(one, -one).item() == pytest.approx(math.log(least), rel=1e-6)
    assert bernoulli(-one, one).item() == pytest.approx(math.log(least), rel=1e-6)
    above = torch.nextafter(-one, one)
    assert bernoulli(one, above) >= bernoulli(one, -one)
    below = torch.nextafter(one, -one)
    assert (1 - below).item() / 2 == pytest.approx(least)  # so it is the least


@pytest.mark.parametrize("logit", [-60.0, -30.0, -20.0, -10.0, 0.0, 10.0, 30.0, 60.0])
@pytest.mark.parametrize("pixel", [-1.0, 1.0])
def test_bernoulli_s_gradient_behind_a_sigmoid_is_finite_and_not_too_steep(logit, pixel):
    """By hand it is the pixel less its probability; where y is exactly -1 or 1 it is no more and has the same sign."""
    logits = torch.tensor(logit).reshape(1, 1, 1, 1).requires_grad_()
    found = bernoulli(torch.full((1, 1, 1, 1), pixel), 2 * torch.sigmoid(logits) - 1)
    found.backward()
    expected = (pixel + 1) / 2 - 1 / (1 + math.exp(-logit))
    assert found.isfinite() and logits.grad.isfinite()
    if abs(logit) <= 10:
        assert logits.grad.item() == pytest.approx(expected, abs=2e-3)  # y keeps 2^-24 of the 4.5e-5 that is left
    else:
        assert abs(logits.grad.item()) <= 1 and logits.grad.item() * expected >= 0


def test_a_pixel_that_is_wrong_for_sure_still_learns():
    logits = torch.full((1, 1, 1, 1), -19.0, requires_grad=True)
    y = 2 * torch.sigmoid(logits) - 1
    assert y == -1
    bernoulli(torch.ones(1, 1, 1, 1), y).backward()
    assert logits.grad.item() > 0.1


# -- Gaussian


def test_gaussian_by_hand():
    """Two pixels, 0.2 and 0 apart on the scale of [0, 1], sigma 0.1: 2 deviations and none."""
    x = torch.tensor([0.4, -1.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    y = torch.tensor([0.0, -1.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    expected = -(2.0**2) / 2 - 2 * math.log(0.1 * math.sqrt(2 * math.pi))
    assert gaussian(x, y, 0.1).tolist() == pytest.approx([expected], abs=1e-12)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 4.0])
def test_gaussian_against_torch_s(sigma):
    x, y = pictures(5, 4, 2, 5, 3), pictures(6, 4, 2, 5, 3)
    expected = Normal((y + 1) / 2, sigma).log_prob((x + 1) / 2).sum((1, 2, 3))
    assert gaussian(x, y, sigma).shape == (4,)
    assert torch.allclose(gaussian(x, y, sigma), expected, rtol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_gaussian_refuses_a_sigma_that_is_none(sigma):
    with pytest.raises(ValueError, match="sigma is .*: it must be above 0"):
        gaussian(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), sigma)


# -- all


def test_gradients_are_right():
    mu, log_var = randn(1, 2, 3).requires_grad_(), randn(2, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(kl, (mu, log_var))
    x, y = pictures(3, 2, 1, 2, 2).requires_grad_(), (0.9 * pictures(4, 2, 1, 2, 2)).requires_grad_()
    assert torch.autograd.gradcheck(bernoulli, (x, y))
    assert torch.autograd.gradcheck(lambda x, y: gaussian(x, y, 0.3), (x, y))


def test_narrow_numbers_are_raised_before_anything_is_summed():
    x, y = pictures(5, 2, 1, 64, 64).bfloat16(), (0.9 * pictures(6, 2, 1, 64, 64)).bfloat16()
    mu, log_var = randn(7, 2, 4096).bfloat16(), randn(8, 2, 4096).bfloat16()
    for narrow, wide in (
        (bernoulli(x, y), bernoulli(x.double(), y.double())),
        (gaussian(x, y, 0.3), gaussian(x.double(), y.double(), 0.3)),
        (kl(mu, log_var), kl(mu.double(), log_var.double())),
    ):
        assert narrow.dtype == torch.float32
        assert torch.allclose(narrow.double(), wide, rtol=1e-5)


def test_the_bound_is_one():
    """A model with one latent whose likelihood is known: p(z) = N(0, 1), p(x | z) = N(z, 1), so that p(x) = N(0, 2).
    On the scale of [0, 1], which is linear, x and z are (picture + 1) / 2. E_q[log p(x | z)] - KL is below log p(x)
    for any q and equals it for the posterior, N(x / 2, 1/2)."""
    x = 1.3
    expected = -(x**2) / 4 - math.log(2 * math.sqrt(math.pi))

    def bound(mu, variance):
        nodes = torch.linspace(-9, 9, 20_001, dtype=torch.float64)  # the expectation over q, by the trapezoid
        weights = torch.exp(-nodes.square() / 2) / math.sqrt(2 * math.pi)
        z = (mu + math.sqrt(variance) * nodes).reshape(-1, 1, 1, 1)
        terms = gaussian(torch.full_like(z, 2 * x - 1), 2 * z - 1, 1.0)
        likelihood = torch.trapezoid(terms * weights, nodes).item()
        numbers = torch.tensor([[mu]], dtype=torch.float64), torch.tensor([[math.log(variance)]], dtype=torch.float64)
        return likelihood - kl(*numbers).item()

    assert bound(x / 2, 0.5) == pytest.approx(expected, abs=1e-9)
    for mu, variance in ((x / 2, 0.6), (x / 2 + 0.1, 0.5), (0.0, 1.0), (x, 0.1)):
        assert bound(mu, variance) < expected - 1e-3
