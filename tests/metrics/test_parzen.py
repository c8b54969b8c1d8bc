"""Parzen windows against sums worked by hand, explicit sums in float64, and expectations in closed form."""

import json
import math

import numpy as np
import pytest
import torch

from i2i.errors import UserError
from i2i.metrics import parzen
from i2i.metrics.parzen import choose_sigma, log_likelihoods, summary


def explicit(samples, points, sigma):
    """The definition, one difference at a time."""
    samples, points = (np.asarray(values, dtype=np.float64) for values in (samples, points))
    found = []
    for point in points:
        exponents = -((point - samples) ** 2).sum(axis=1) / (2 * sigma**2)
        high = exponents.max()
        total = high + math.log(np.exp(exponents - high).sum())
        found.append(total - math.log(len(samples)) - samples.shape[1] / 2 * math.log(2 * math.pi * sigma**2))
    return np.array(found)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_one_dimension_by_hand():
    """Windows of width 1 on 0 and 2: at 1 both give phi(1) = 0.2419707; at 0, (phi(0) + phi(2)) / 2."""
    found = log_likelihoods([[0.0], [2.0]], [[1.0], [0.0]], 1.0)
    expected = [math.log(0.24197072451914337), math.log((0.3989422804014327 + 0.05399096651318806) / 2)]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_two_dimensions_by_hand():
    """One window of width 2 on (1, 1), judged 3 and 4 away (distance 5): -log(2 pi 4) - 25 / 8."""
    found = log_likelihoods([[1.0, 1.0]], [[4.0, 5.0]], 2)
    assert found.shape == (1,) and found.dtype == torch.float64
    assert float(found) == pytest.approx(-math.log(8 * math.pi) - 25 / 8, abs=1e-12)


def test_the_explicit_sum_on_pictures():
    """784 numbers far from 0, the narrow windows too, in less than a thousandth of a nat."""
    samples, points = (torch.rand(40, 784, generator=torch.Generator().manual_seed(n)) + 3 for n in (0, 1))
    sigmas = [0.01, 0.2, 1.0]
    found = log_likelihoods(samples, points, sigmas)
    assert found.shape == (3, 40)
    for row, sigma in zip(found, sigmas):
        np.testing.assert_allclose(row, explicit(samples, points, sigma), rtol=1e-11, atol=1e-6)


def test_several_sigmas_and_several_blocks_are_one_answer(monkeypatch):
    samples, points = drawn(0, 13, 3), drawn(1, 17, 3)
    whole = log_likelihoods(samples, points, [0.3, 0.7])
    monkeypatch.setattr(parzen, "BLOCK", 40)  # three points at a time
    found = log_likelihoods(samples, points, np.array([0.3, 0.7]))
    torch.testing.assert_close(found, whole, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(log_likelihoods(samples, points, 0.7), whole[1], rtol=1e-13, atol=1e-13)


def test_what_does_not_change_it_and_what_does():
    samples, points = drawn(0, 9, 4), drawn(1, 6, 4)
    plain = log_likelihoods(samples, points, 0.5)
    turn = torch.linalg.qr(drawn(2, 4, 4)).Q
    for other in (
        log_likelihoods(samples.flip(0), points, 0.5),
        log_likelihoods(samples.repeat(3, 1), points, 0.5),
        log_likelihoods(samples + 1e4, points + 1e4, 0.5),
        log_likelihoods(samples @ turn, points @ turn, 0.5),
        log_likelihoods(samples * 10, points * 10, 5.0) + 4 * math.log(10),  # a density has a unit
    ):
        torch.testing.assert_close(other, plain, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_likelihoods(samples, points.flip(0), 0.5), plain.flip(0))


def test_a_known_expectation():
    """Samples and points from N(0, I): with many samples the window's density is N(0, (1 + sigma^2) I), whose mean
    log-likelihood is -D/2 (log(2 pi (1 + sigma^2)) + 1 / (1 + sigma^2))."""
    found = summary(log_likelihoods(drawn(0, 8000, 2), drawn(1, 2000, 2), 0.5))
    expected = -(math.log(2 * math.pi * 1.25) + 1 / 1.25)
    assert abs(found["mean"] - expected) < 4 * found["standard_error"] < 0.1


def test_it_is_a_density():
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    mass = log_likelihoods([[0.0], [1.0], [-3.0]], grid, 0.4).exp().sum() * (24 / 4000)
    assert float(mass) == pytest.approx(1, abs=1e-9)


def test_the_best_sigma_of_one_sample_is_the_distance():
    """One window in D dimensions at distance r: the likelihood is largest at sigma = r / sqrt(D), here 0.37."""
    best, tried = choose_sigma([[0.0, 0.0]], [[0.37 * math.sqrt(2), 0.0]])
    assert abs(best / 0.37 - 1) < 0.04
    assert list(tried) == sorted(tried) and tried[best] == max(tried.values()) and len(tried) == 17
    for sigma, mean in tried.items():
        assert mean == pytest.approx(-math.log(2 * math.pi * sigma**2) - 0.37**2 / sigma**2)


@pytest.mark.parametrize("distance", [0.003, 40.0])
def test_a_grid_beside_the_best_grows_to_it(distance):
    best, tried = choose_sigma([[0.0]], [[distance]], [0.1, 0.2, 0.4])
    assert abs(best / distance - 1) < 0.1
    assert min(tried) < best < max(tried)


def test_summary_by_hand():
    """1, 2, 6: mean 3, variance (4 + 1 + 9) / 2 = 7."""
    assert summary(torch.tensor([1, 2, 6])) == {"mean": 3.0, "standard_error": math.sqrt(7 / 3), "count": 3}
    assert json.dumps(summary(iter([5])), allow_nan=False) == '{"mean": 5.0, "standard_error": null, "count": 1}'


@pytest.mark.parametrize(
    "samples, points, sigma, words",
    [
        (torch.empty(0, 2), [[1, 2]], 1, "samples are empty"),
        ([[1, 2]], [], 1, "points are empty"),
        ([[1, 2]], [1, 2], 1, r"points are of shape \(2,\)"),
        ([[1, 2]], [[1, 2, 3]], 1, "3 numbers a row.* 2"),
        ([[1, float("nan")], [1, 2]], [[1, 2]], 1, "1 of 2 samples hold NaN"),
        ([[1, 2]], [[1, float("inf")]], 1, "1 of 1 points"),
        ([["a", "b"]], [[1, 2]], 1, "give numbers"),
        ([[1, 2]], [[1, 2]], 0, "sigma is 0.0"),
        ([[1, 2]], [[1, 2]], [1, -2], "sigma is -2.0"),
        ([[1, 2]], [[1, 2]], [], "sigmas are empty"),
        ([[1, 2]], [[1, 2]], float("nan"), "1 of 1 sigmas"),
    ],
)
def test_bad_sets_are_refused(samples, points, sigma, words):
    with pytest.raises(UserError, match=words):
        log_likelihoods(samples, points, sigma)


@pytest.mark.parametrize("sigmas, words", [([1], "at least two"), ([2, 1], "ascending"), ([0, 1], "above 0")])
def test_a_grid_that_is_none_is_refused(sigmas, words):
    with pytest.raises(UserError, match=words):
        choose_sigma([[0.0]], [[1.0]], sigmas)


def test_points_among_the_samples_have_no_best_sigma():
    with pytest.raises(UserError, match="Are the points among the samples"):
        choose_sigma([[0.0], [1.0]], [[0.0], [1.0]])


@pytest.mark.parametrize("values", [[], [1, math.nan], [[1, 2]], np.ones((2, 2)), torch.tensor(3)])
def test_summary_refuses_what_is_no_row(values):
    with pytest.raises(UserError, match="values"):
        summary(values)
