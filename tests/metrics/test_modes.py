"""Mode coverage against counts made by hand."""

import json
import math

import pytest
import torch

from i2i.errors import UserError
from i2i.metrics.modes import coverage

CENTRES = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]]


def test_by_hand():
    """Of ten samples six lie by the first centre, two by the second, one 3.1 widths from the third, one nowhere:
    8 are good; histogram 6, 2, 0, 0; KL = 3/4 log 3 + 1/4 log 1."""
    points = [[0.1, 0.0]] * 5 + [[0.0, 0.3]] + [[10.0, -0.2]] * 2 + [[0.0, 9.69]] + [[5.0, 5.0]]
    found = coverage(points, CENTRES, 0.1)
    assert found["kl"] == pytest.approx(0.75 * math.log(3), abs=1e-12)
    assert {name: found[name] for name in found if name != "kl"} == {
        "covered": 2,
        "modes": 4,
        "good": 0.8,
        "histogram": [6, 2, 0, 0],
        "count": 10,
        "std": 0.1,
        "share": 0.01,
        "radius": 3.0,
    }
    json.dumps(found, allow_nan=False)


def test_the_share_is_of_all_samples_and_reaches_its_own_value():
    points = torch.tensor([[0.0, 0.0]] * 7 + [[50.0, 50.0]] * 93)
    assert coverage(points, CENTRES, 1, share=0.07)["covered"] == 1  # 0.07 * 100 is above 7 in floating point
    assert coverage(points, CENTRES, 1, share=0.08)["covered"] == 0


def test_the_radius_counts_widths():
    assert coverage([[2.5, 0.0]], CENTRES, 1, radius=3)["good"] == 1
    assert coverage([[2.5, 0.0]], CENTRES, 1, radius=2)["good"] == 0
    assert coverage([[2.5, 0.0]], CENTRES, 0.5)["good"] == 0


def test_the_ends():
    even, single = coverage(CENTRES, CENTRES, 1), coverage([CENTRES[3]], CENTRES, 1)
    assert even["kl"] == 0 and even["covered"] == 4 and even["good"] == 1
    assert single["kl"] == pytest.approx(math.log(4)) and single["covered"] == 1
    assert coverage([[5.0, 5.0]], CENTRES, 1)["kl"] is None


def test_gaussian_modes_in_two_dimensions():
    """exp(-9/2) of a Gaussian lies outside 3 widths: 98.89 % are good."""
    noise = torch.randn(20000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = coverage(torch.tensor(CENTRES).repeat(5000, 1) + 0.1 * noise, CENTRES, 0.1)
    assert found["good"] == pytest.approx(1 - math.exp(-4.5), abs=4 * math.sqrt(0.011 / 20000))
    assert found["kl"] < 1e-3 and found["covered"] == 4


@pytest.mark.parametrize(
    "points, centres, arguments, words",
    [
        ([], CENTRES, {"std": 1}, "points are empty"),
        ([[0.0, 0.0]], [], {"std": 1}, "centres are empty"),
        ([[0.0]], CENTRES, {"std": 1}, "1 numbers a row"),
        ([[0.0, math.nan]], CENTRES, {"std": 1}, "NaN"),
        ([[0.0, 0.0]], CENTRES, {"std": 0}, "std is 0"),
        ([[0.0, 0.0]], CENTRES, {"std": 1, "radius": -1}, "radius is -1"),
        ([[0.0, 0.0]], CENTRES, {"std": 1, "share": 0}, "share is 0"),
        ([[0.0, 0.0]], CENTRES, {"std": 1, "share": 1.5}, "share is 1.5"),
    ],
)
def test_what_has_no_modes_is_refused(points, centres, arguments, words):
    with pytest.raises(UserError, match=words):
        coverage(points, centres, **arguments)
