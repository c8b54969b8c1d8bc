"""Divergences and the theory of the best discriminator, against closed forms and hand-worked sums."""

import math

import numpy as np
import pytest
import torch

from i2i.errors import UserError
from i2i.metrics.divergence import density_ratio, js, kl, optimal_discriminator, value

LOG2 = math.log(2)
CELL = 0.005
GRID = np.arange(-20, 20, CELL)


def gaussian(mean, std):
    return np.exp(-((GRID - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))


def mixture():
    return 0.3 * gaussian(-4, 0.5) + 0.7 * gaussian(2, 1.0)


PAIRS = {
    "gaussians": (gaussian(0, 1), gaussian(1, 2), CELL),
    "far": (gaussian(-5, 0.3), gaussian(5, 0.3), CELL),
    "mixture": (mixture(), gaussian(0, 3), CELL),
    "discrete": (np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5]), 1.0),
    "two axes": (np.array([[0.1, 0.2], [0.3, 0.4]]), np.full((2, 2), 0.25), 1.0),
}


def test_discrete_by_hand():
    """p = (1/2, 1/2, 0), q = (1/4, 1/4, 1/2): KL(p || q) = log 2. The middle is (3, 3, 2) / 8, so
    JS = (log(4/3) + (1/2) log(2/3) + (1/2) log 2) / 2."""
    p, q, _ = PAIRS["discrete"]
    assert kl(p, q) == pytest.approx(LOG2, abs=1e-15)
    assert kl(q, p) == math.inf
    assert js(p, q) == pytest.approx((math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2, abs=1e-15)


@pytest.mark.parametrize("a, s, b, t", [(0, 1, 1, 2), (-1, 0.7, 1, 1.5), (2, 1, 2, 1)])
def test_gaussians_in_closed_form(a, s, b, t):
    """KL(N(a, s^2) || N(b, t^2)) = log(t / s) + (s^2 + (a - b)^2) / (2 t^2) - 1/2."""
    expected = math.log(t / s) + (s**2 + (a - b) ** 2) / (2 * t**2) - 0.5
    assert kl(gaussian(a, s), gaussian(b, t), cell=CELL) == pytest.approx(expected, abs=1e-9)


def test_the_ends_of_jensen_and_shannon():
    assert js(mixture(), mixture(), cell=CELL) == pytest.approx(0, abs=1e-12)
    assert js(*PAIRS["far"][:2], cell=CELL) == pytest.approx(LOG2, abs=1e-9)
    assert js([1, 0], [0, 1]) == pytest.approx(LOG2, abs=1e-15)
    assert js([1 - 5e-324, 5e-324], [1, 0]) == pytest.approx(0, abs=1e-15)


def test_the_best_discriminator_by_hand():
    found = optimal_discriminator([0.5, 0.5, 0.0, 0.0], [0.125, 0.375, 0.5, 0.0])
    assert found.tolist() == [0.8, 4 / 7, 0.0, 0.5]


@pytest.mark.parametrize("name", PAIRS)
def test_its_value_is_the_divergence(name):
    """V(D*) = 2 JS - 2 log 2."""
    p, q, cell = PAIRS[name]
    best = optimal_discriminator(p, q, cell=cell)
    assert value(p, q, best, cell=cell) == pytest.approx(2 * js(p, q, cell=cell) - 2 * LOG2, abs=1e-9)


@pytest.mark.parametrize("name", PAIRS)
def test_no_discriminator_does_better(name):
    p, q, cell = PAIRS[name]
    best = optimal_discriminator(p, q, cell=cell)
    highest = value(p, q, best, cell=cell)
    draw = np.random.default_rng(0)
    for size in (0.3, 0.03):
        other = np.clip(best + draw.normal(0, size, best.shape), 0.001, 0.999)
        assert value(p, q, other, cell=cell) < highest
    assert value(p, q, np.full_like(best, 0.5), cell=cell) == pytest.approx(-2 * LOG2, abs=1e-9)


def test_a_certain_discriminator():
    assert value([1, 0], [0, 1], [1, 0]) == pytest.approx(0, abs=1e-14)
    assert value([1, 0], [0, 1], [0, 1]) == pytest.approx(2 * math.log(2**-53))


def test_the_density_ratio_by_hand():
    """D = 0.8 of even shares says 4 to 1; with one example in five from the data, 4 * 0.8 / 0.2 = 16 to 1."""
    assert density_ratio(0.8) == pytest.approx(4)
    assert density_ratio(0.8, pi=0.2) == pytest.approx(16)
    assert density_ratio([0.0, 0.5, 1.0]).tolist() == [0, 1, math.inf]


@pytest.mark.parametrize("pi", [0.5, 0.2])
def test_the_ratio_of_the_best_discriminator_is_the_densities(pi):
    p, q = gaussian(0, 1), gaussian(1, 2)
    d = pi * p / (pi * p + (1 - pi) * q)
    near = np.abs(GRID) < 5
    np.testing.assert_allclose(density_ratio(torch.from_numpy(d), pi=pi)[near], (p / q)[near], rtol=1e-9)


@pytest.mark.parametrize(
    "p, q, cell, words",
    [
        ([0.5, 0.5], [0.5, 0.25, 0.25], 1, r"shapes \(2,\) and \(3,\)"),
        ([], [], 1, r"shapes \(0,\)"),
        ([0.5, 0.5], [1.5, -0.5], 1, "distribution 2 holds negative"),
        ([math.nan, 0.5], [0.5, 0.5], 1, "distribution 1 holds negative, NaN"),
        ([0.5, 0.5], [0.5, 0.4], 1, "distribution 2 has a mass of 0.9,"),
        ([1, 1], [1, 1], 0, "cell is 0"),
    ],
)
def test_what_is_no_distribution_is_refused(p, q, cell, words):
    for function in (kl, js, optimal_discriminator):
        with pytest.raises(UserError, match=words):
            function(p, q, cell=cell)


def test_what_is_no_discriminator_is_refused():
    for d in ([0.5, 1.5], [0.5, math.nan], [-1, 0]):
        with pytest.raises(UserError, match=r"outside \[0, 1\]"):
            value([1, 0], [0, 1], d)
        with pytest.raises(UserError, match=r"outside \[0, 1\]"):
            density_ratio(d)
    with pytest.raises(UserError, match="D is of shape"):
        value([1, 0], [0, 1], [0.5])
    for pi in (0, 1, math.nan):
        with pytest.raises(UserError, match="pi is"):
            density_ratio(0.5, pi=pi)
