"""The levels of a domain, and the range that is suggested for them."""

import numpy as np
import pytest

from i2i.data.folders import Files
from i2i.prepare.levels import Levels, constant, of_files, some_values, suggested_range, summed

RNG = np.random.default_rng(0)


def levels(depth, values):
    values = np.asarray(values, np.float64)
    return summed(depth, float(values.min()), float(values.max()), values)


@pytest.mark.parametrize(
    ("depth", "values", "wanted"),
    [
        (8, np.arange(20, 60), [0, 255]),
        (16, np.arange(0, 65536), [0, 65535]),
        (16, np.arange(100, 30000), [0, 65535]),
        (16, np.arange(0, 4096), [0, 4095]),
        (16, np.arange(12, 3900), [0, 4095]),
        (16, np.arange(0, 1000), [0, 1023]),
        (16, np.arange(40000, 42000), [40000, 42000]),
        (32, np.linspace(0, 1, 1000), [0.0, 1.0]),
        (32, np.linspace(0.02, 0.97, 1000), [0.0, 1.0]),
        (32, np.linspace(-0.9, 0.95, 1000), [-1.0, 1.0]),
        (32, np.linspace(3, 251, 1000), [0.0, 255.0]),
        (32, np.linspace(-1024, 3071, 1000), [-1100.0, 3100.0]),
        (32, np.linspace(271.31, 301.72, 1000), [271.0, 302.0]),
        (32, np.linspace(1.2e-5, 8.7e-4, 1000), [0.0, 0.00087]),
        (32, np.full(10, 5.0), [0.0, 10.0]),
        (32, np.zeros(10), [0.0, 1.0]),
    ],
)
def test_the_suggested_range(depth, values, wanted):
    found = suggested_range(levels(depth, values))
    assert found == pytest.approx(wanted, rel=1e-12) and found[0] < found[1]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e4])
@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_cauchy"])
def test_the_range_covers_all_but_a_thousandth_and_is_not_led_by_outliers(draw, scale):
    values = getattr(RNG, draw)(size=200_000) * scale
    found = levels(32, values)
    low, high = suggested_range(found)
    assert np.mean((values >= low) & (values <= high)) >= 0.999
    assert high - low <= 1.6 * (found.core[1] - found.core[0])


def test_a_dead_pixel_does_not_widen_the_range():
    values = np.concatenate([RNG.uniform(0, 4000, 100_000), [65535.0]])
    assert suggested_range(levels(16, values)) == [0, 4095]
    assert suggested_range(levels(32, values / 4000)) == [0.0, 1.0]


def test_levels_of_files(tmp_path):
    names = []
    for index in range(5):
        names.append(f"{index}.npy")
        np.save(tmp_path / names[-1], RNG.uniform(-3, 3, (20, 20, 2)).astype(np.float32))
    np.save(tmp_path / "flat.npy", np.full((20, 20, 2), 9, np.float32))
    np.save(tmp_path / "nan.npy", np.full((20, 20, 2), np.nan, np.float32))
    (tmp_path / "broken.npy").write_bytes(b"")
    found = of_files(Files(tmp_path, [*names, "flat.npy", "nan.npy", "broken.npy"]))
    assert (found.depth, found.high, found.nonfinite, found.constant, found.pictures) == (32, 9.0, 1, 1, 6)
    assert -3 <= found.low < -2.9


def test_no_file_that_can_be_read(tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    assert of_files(Files(tmp_path, ["x.png"])) == Levels(0, 0.0, 0.0, (0.0, 0.0), (0.0, 0.0), 0, 0, 0)


def test_the_sample_of_a_picture_meets_every_channel_and_column():
    for channels in (1, 2, 3, 4, 7):
        place = np.arange(256 * 256 * channels, dtype=np.float32).reshape(256, 256, channels)
        some = some_values(place)
        assert 500 < len(some) <= 1024
        assert len(np.unique(some % channels)) == channels and len(np.unique(some // channels % 256)) > 100


def test_constant_is_one_level_in_each_channel():
    flat = np.zeros((40, 40, 3), np.uint8) + np.array([1, 2, 3], np.uint8)
    assert constant(flat)
    flat[17, 31, 1] += 1
    assert not constant(flat)
