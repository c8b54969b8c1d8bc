"""Accuracy of asked classes, by hand."""

import json
import math

import numpy as np
import pytest
import torch

from i2i.errors import UserError
from i2i.metrics.classes import accuracy


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, iter])
def test_by_hand(kind):
    """Class 2: 3 of 4; class 7: 0 of 1. In all 3 of 5: sqrt(0.6 * 0.4 / 5)."""
    found = accuracy(kind([2, 2, 7, 2, 2]), kind([2, 2, 2, 2, 7]))
    assert found == {
        "accuracy": 0.6,
        "standard_error": pytest.approx(math.sqrt(0.048), abs=1e-15),
        "count": 5,
        "classes": [
            {"class": 2, "accuracy": 0.75, "standard_error": pytest.approx(math.sqrt(3) / 8), "count": 4},
            {"class": 7, "accuracy": 0.0, "standard_error": 0.0, "count": 1},
        ],
    }
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "asked, predicted, words",
    [
        ([], [], "no pictures"),
        ([1, 2], [1], "2 classes asked and 1 predicted"),
        ([1], [1.0], "1.0 is among the classes predicted"),
        ([True], [1], "True is among the classes asked"),
        (torch.tensor(3), [3], "one number"),
        ([[1]], [1], "integer"),
    ],
)
def test_what_cannot_be_judged_is_refused(asked, predicted, words):
    with pytest.raises(UserError, match=words):
        accuracy(asked, predicted)
