"""The linear classifier: its minimum is the minimum, and what it reads off features is what is in them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from i2i.evaluation import linear
from i2i.evaluation.linear import LinearClassifier


def clouds(count=90, classes=3, features=4, spread=0.3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, features, generator=draw)
    return centres[labels] + spread * torch.randn(count, features, generator=draw), labels


def test_two_points_against_the_solution_by_hand():
    """x = -1, 1 with labels 0, 1: by symmetry W = (-w, w), bias 0, and 2 w decay = 2 sigma(-2 w): d/dw of the loss is 0."""
    found = LinearClassifier.fit(torch.tensor([[-1.0], [1.0]]), [0, 1], weight_decay=0.1)
    w = 1.0
    for _ in range(200):  # loss(w) = log(1 + exp(-2 w)) + 0.1 w^2; Newton
        slope = -2 / (1 + np.exp(2 * w)) + 0.2 * w
        w -= slope / (4 * np.exp(2 * w) / (1 + np.exp(2 * w)) ** 2 + 0.2)
    assert found.weight[:, 0].tolist() == pytest.approx([-w, w], abs=1e-6)
    assert found.bias.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert found.loss == pytest.approx(np.log1p(np.exp(-2 * w)) + 0.1 * w**2, abs=1e-12)


def test_the_gradient_is_zero_at_the_fit():
    x, y = clouds(spread=1.0)
    found = LinearClassifier.fit(x, y, weight_decay=1e-2)
    assert found.converged
    z = (x.double() - x.double().mean(0)) / x.double().std(0, correction=0)
    weight, bias = found.weight.clone().requires_grad_(), found.bias.clone().requires_grad_()
    loss = F.cross_entropy(F.linear(z, weight, bias), y) + 0.5 * 1e-2 * weight.square().sum()
    loss.backward()
    assert loss.item() == pytest.approx(found.loss, abs=1e-12)
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 2e-6


def test_chunks_change_nothing(monkeypatch):
    x, y = clouds(spread=1.0)
    whole = LinearClassifier.fit(x, y)
    monkeypatch.setattr(linear, "ROWS", 7)
    parts = LinearClassifier.fit(x, y)
    assert torch.allclose(whole.weight, parts.weight, atol=1e-5)
    assert whole.accuracy(x, y) == parts.accuracy(x, y)


def test_it_is_the_same_every_time_and_draws_nothing():
    x, y = clouds(spread=1.0)
    state = torch.get_rng_state()
    assert torch.equal(LinearClassifier.fit(x, y).weight, LinearClassifier.fit(x, y).weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_it_finds_what_is_in_the_features_and_not_what_is_not():
    x, y = clouds(count=180, spread=0.1)  # the second half was not fitted
    assert LinearClassifier.fit(x[:90], y[:90]).accuracy(x[90:], y[90:]) == 1
    noise = torch.randn(900, 4, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(900) % 3
    assert LinearClassifier.fit(noise[:600], labels[:600]).accuracy(noise[600:], labels[600:]) < 0.45


def test_accuracy_is_the_part_that_is_right():
    found = LinearClassifier.fit(torch.tensor([[-1.0], [1.0]]), [0, 1])
    assert found.predict(torch.tensor([[-5.0], [3.0], [0.5]])).tolist() == [0, 1, 1]
    assert found.accuracy(torch.tensor([[-5.0], [3.0], [0.5], [1.0]]), [0, 1, 0, 1]) == 0.75


def test_pictures_are_flattened_and_a_constant_pixel_does_no_harm():
    x, y = clouds(spread=0.1)
    pictures = torch.cat([x, torch.full((len(x), 2), 0.1)], 1).reshape(-1, 1, 2, 3)
    found = LinearClassifier.fit(pictures, y)
    assert found.weight.shape == (3, 6) and found.accuracy(pictures, y) == 1
    assert torch.isfinite(found.weight).all()


@pytest.mark.parametrize(
    "features, labels, args, words",
    [
        (torch.full((2, 1), torch.nan), [0, 1], {}, "not finite"),
        (torch.ones(2, 1), [0, 1, 1], {}, "one for each of 2"),
        (torch.ones(2, 1), [-1, 1], {}, "at least 0"),
        (torch.ones(2, 1), [0, 2], {"classes": 2}, "below 2"),
        (torch.ones(2, 1), [0.0, 1.0], {}, "whole numbers"),
        (torch.ones(2), [0, 1], {}, r"\(N, F\)"),
        (torch.ones(2, 1, dtype=torch.uint8), [0, 1], {}, "floats"),
        (torch.ones(2, 1), [0, 1], {"weight_decay": -1}, "weight_decay is -1"),
        (torch.ones(2, 1), [[0], [1]], {}, "several axes"),
    ],
)
def test_what_does_not_fit_is_refused(features, labels, args, words):
    with pytest.raises(ValueError, match=words):
        LinearClassifier.fit(features, torch.tensor(labels), **args)


def test_other_features_are_refused():
    x, y = clouds()
    with pytest.raises(ValueError, match="fitted to 4"):
        LinearClassifier.fit(x, y).predict(x[:, :3])
