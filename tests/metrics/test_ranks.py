"""The area under the ROC curve, by hand."""

import json
import math

import numpy as np
import pytest
import torch

from i2i.errors import UserError
from i2i.metrics.ranks import auc


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, iter])
def test_by_hand(kind):
    """1, 3, 5 over 2, 3: 1 is above neither, 3 above 2 and equal to 3, 5 above both: (0 + 1.5 + 2) / 6. The parts are
    0, 3/4, 1 of each a, variance 13/48; 2/3 and 1/2 of each b, variance 1/72: sqrt(13 / 144 + 1 / 144)."""
    found = auc(kind([5.0, 1.0, 3.0]), kind([3.0, 2.0]))
    assert found == {
        "mean": pytest.approx(7 / 12, abs=1e-15),
        "standard_error": pytest.approx(math.sqrt(14 / 144), abs=1e-15),
        "count": 5,
    }
    json.dumps(found, allow_nan=False)


def test_ends_and_middle():
    assert auc([2, 3], [0, 1]) == {"mean": 1.0, "standard_error": 0.0, "count": 4}
    assert auc([0, 1], [2, 3])["mean"] == 0 and auc([1, 1, 1], [1, 1])["mean"] == 0.5
    assert auc([1], [0, 2]) == {"mean": 0.5, "standard_error": None, "count": 3}


def test_scale_and_shift_do_not_matter_and_the_error_is_that_of_repeated_draws():
    draw = np.random.RandomState(0)
    found = [auc(draw.normal(0.5, 1, 60), draw.normal(0, 1, 40)) for _ in range(400)]
    means = np.array([each["mean"] for each in found])
    assert means.mean() == pytest.approx(0.638, abs=0.01)  # Phi(0.5 / sqrt 2)
    assert np.mean([each["standard_error"] for each in found]) == pytest.approx(means.std(), rel=0.1)
    a, b = draw.normal(0.5, 1, 60), draw.normal(0, 1, 40)
    assert auc(a, b) == auc(8 * a - 3, 8 * b - 3)


@pytest.mark.parametrize("wrong, words", [([], "empty"), ([1, math.nan], "1 of 2 numbers"), ([[1]], "shape")])
def test_what_cannot_be_ranked_is_refused(wrong, words):
    with pytest.raises(UserError, match=words):
        auc([1], wrong)
