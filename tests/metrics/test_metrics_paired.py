"""Paired metrics against numbers worked by hand."""

import math

import numpy as np
import pytest

from i2i.errors import UserError
from i2i.metrics.paired import l1


def picture(*values, dtype=np.uint8):
    """A (1, n, 1) picture."""
    return np.array(values, dtype=dtype).reshape(1, -1, 1)


def test_hand_worked():
    """Differences of 51 and 0 levels (0.1 of the range), then 255 levels (1), then none (0), of different sizes:
    mean 1.1 / 3; deviations -0.26667, 0.63333, -0.36667, sample variance 0.30333."""
    predictions = [picture(100, 20), picture(0), picture(7, 8, 9)]
    targets = [picture(49, 20), picture(255), picture(7, 8, 9)]
    found = l1(predictions, targets)
    assert found["mean"] == pytest.approx(1.1 / 3, abs=1e-12)
    assert found["standard_error"] == pytest.approx(math.sqrt(0.91 / 3 / 3), abs=1e-12)
    assert found["count"] == 3


def test_sixteen_bits():
    found = l1([picture(65535, 0, dtype=np.uint16)], [picture(0, 0, dtype=np.uint16)])
    assert found == {"mean": 0.5, "standard_error": None, "count": 1}


def test_a_narrower_value_range_is_the_unit():
    twelve_bits = [picture(1000, 4095, dtype=np.uint16)], [picture(0, 4095, dtype=np.uint16)]
    assert l1(*twelve_bits, value_range=(95, 4095))["mean"] == pytest.approx(1000 / 4000 / 2)


def test_large_pictures_lose_nothing():
    """In float32 a sum of 3 x 512 x 512 differences of 16-bit values would have lost its last digits."""
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 65536, (2, 512, 512, 3), dtype=np.uint16)
    exact = int(np.abs(a.astype(np.int64) - b.astype(np.int64)).sum()) / a.size / 65535
    assert l1([a], [b])["mean"] == pytest.approx(exact, rel=1e-13)


def test_pictures_may_come_one_at_a_time():
    found = l1((picture(n) for n in range(4)), iter([picture(0)] * 4))
    assert found["mean"] == pytest.approx(1.5 / 255) and found["count"] == 4


@pytest.mark.parametrize(
    "predictions, targets, value_range, words",
    [
        ([], [], None, "no pictures"),
        ([picture(1)], [], None, "picture 1 is only among the predictions"),
        ([picture(1)], [picture(1), picture(2)], None, "picture 2 is only among the targets"),
        ([picture(1)], [picture(1, 2)], None, r"uint8 \(1, 1, 1\), its target uint8 \(1, 2, 1\)"),
        ([picture(1)], [picture(1, dtype=np.uint16)], None, "its target uint16"),
        ([picture(1, dtype=np.float32)], [picture(1, dtype=np.float32)], None, "must be uint8 or uint16"),
        ([picture(1)], [picture(1)], (3, 3), r"\[3, 3\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(predictions, targets, value_range, words):
    with pytest.raises(UserError, match=words):
        l1(predictions, targets, value_range=value_range)


def test_arrays_of_any_memory_layout():
    target = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    constant = np.broadcast_to(np.uint8([10, 20, 30]), (2, 4, 3))
    plain = l1([np.array(constant)], [target])
    assert l1([constant], [np.asfortranarray(target)]) == plain
    assert l1([constant[:, ::-1]], [target]) == plain
