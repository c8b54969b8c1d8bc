"""Nearest neighbours against every distance computed from its difference."""

import numpy as np
import pytest
import torch

from i2i.errors import UserError
from i2i.metrics import neighbours
from i2i.metrics.neighbours import nearest


def test_by_hand():
    distances, indices = nearest([[0.0, 0.0], [3.0, 5.0]], [[3.0, 4.0], [0.0, 1.0], [0.0, -2.0]], k=2)
    assert distances.tolist() == [[1, 2], [1, 5]]
    assert indices.tolist() == [[1, 2], [0, 1]]
    assert distances.dtype == torch.float64 and indices.dtype == torch.int64


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("block", [2**23, 100])
def test_every_distance(monkeypatch, offset, block):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    draw = np.random.default_rng(0)
    queries, reference = draw.random((23, 50)) + offset, draw.random((40, 50)) + offset
    distances, indices = nearest(queries, reference, k=7)
    every = np.sqrt(((queries[:, None] - reference) ** 2).sum(axis=2))
    order = every.argsort(axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, np.take_along_axis(every, order, axis=1), rtol=1e-12)


def test_a_copy_is_at_distance_0():
    reference = torch.rand(300, 784, generator=torch.Generator().manual_seed(0)) + 50
    distances, indices = nearest(reference[[7, 200]], reference)
    assert distances.tolist() == [[0.0], [0.0]] and indices.tolist() == [[7], [200]]


def test_ties_go_by_index():
    reference = np.tile([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]], (30, 1))
    distances, indices = nearest([[0.0, 0.0]], reference, k=5)
    assert distances.tolist() == [[1.0] * 5] and indices.tolist() == [[0, 1, 3, 4, 6]]
    vector = np.random.default_rng(0).random(784)
    assert nearest([vector / 3], np.tile(vector, (60, 1)), k=60)[1].tolist() == [list(range(60))]


def test_nearly_equal_distances_are_told_apart():
    """1 and 1 - 1e-13 lie within the rounding of the fast distances, not of the exact ones."""
    reference = np.zeros((50, 400))
    reference[:, 0] = 1 - 1e-13 * np.arange(50)
    assert nearest(np.zeros((1, 400)), reference, k=3)[1].tolist() == [[49, 48, 47]]


@pytest.mark.parametrize(
    "queries, reference, k, words",
    [
        ([], [[1, 2]], 1, "queries are empty"),
        ([[1, 2]], [], 1, "reference pictures are empty"),
        ([[1, 2]], [[1, 2, 3]], 1, "2 numbers a row, the other set 3"),
        ([[1, np.nan]], [[1, 2]], 1, "NaN"),
        ([[1, 2]], [[1, 2]], 2, "k must be from 1 to 1"),
        ([[1, 2]], [[1, 2]], 0, "k must be from 1 to 1"),
    ],
)
def test_bad_sets_are_refused(queries, reference, k, words):
    with pytest.raises(UserError, match=words):
        nearest(queries, reference, k)
