"""Shifts between the two pictures of a pair: found where they are, and nowhere else."""

import cv2
import numpy as np
import pytest
from scenes import labels, paired, scene

from i2i.prepare.check import check
from i2i.prepare.checking import alignment
from i2i.prepare.checking.alignment import Shift, shared_shift, shift, surface
from i2i.prepare.checking.reading import evened


def moved(pair, dx, dy, margin=24):
    """The same part of both pictures, B's contents moved by (dx, dy)."""
    a, b = pair
    height, width = a.shape
    here = a[margin : height - margin, margin : width - margin]
    return here, b[margin - dy : height - margin - dy, margin - dx : width - margin - dx]


def made(seed, size=200):
    pixels = scene(seed, size)
    return evened(pixels), evened(labels(pixels))


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, -3), (-5, 4), (12, -9), (-20, 0), (14, 14)])
def test_a_shift_is_found_with_its_direction(dx, dy):
    found = [shift(surface(*moved(made(seed), dx, dy))) for seed in range(8)]
    right = [one for one in found if one and abs(one.dx - dx) <= 1 and abs(one.dy - dy) <= 1]
    assert len(right) >= 7 and all(one in right for one in found if one)


def test_pairs_in_place_have_none_and_pictures_without_relation_hardly_ever():
    chance = 0
    for seed in range(20):
        a, b = made(seed)
        assert shift(surface(a, b)) is None and shift(surface(*moved((a, b), 1, 1))) is None
        chance += shift(surface(a, made(seed + 50)[1])) is not None  # long straight edges may fall upon each other
    assert chance <= 2


def test_a_place_has_to_stand_out_from_no_shift_and_from_chance():
    places = np.zeros((alignment.SIDE, alignment.SIDE), np.float32)
    places[alignment.REACH + 3, alignment.REACH - 8] = 6.0
    assert shift(alignment.Surface(places, 3.0, 1.0)) == Shift(8, -3)
    assert shift(alignment.Surface(places, 3.0, 0.5)) == Shift(16, -6)
    assert shift(alignment.Surface(places, 5.0, 1.0)) is None  # turned, it is as good
    assert shift(alignment.Surface(places * 0.7, 0.0, 1.0)) is None
    places[alignment.REACH, alignment.REACH] = 5.0  # as at the period of a row of windows
    assert shift(alignment.Surface(places, 3.0, 1.0)) is None


def test_what_cannot_be_told_is_not_judged():
    a, b = made(0)
    assert surface(a[:60], b[:60]) is None
    flat = np.zeros_like(a)
    assert surface(flat, flat) is None and surface(flat + 3, flat) is None


def test_large_pictures_are_scaled_and_the_shift_is_in_their_pixels():
    pixels = cv2.resize(scene(1, 300), (1200, 1200), interpolation=cv2.INTER_CUBIC)
    found = shift(surface(*moved((evened(pixels), evened(labels(pixels))), 20, -12)))
    assert abs(found.dx - 20) <= 3 and abs(found.dy + 12) <= 3


def test_a_shared_shift_of_two_pixels_shows_in_many_pairs_together():
    total, count = 0.0, 0
    for seed in range(10):
        total = total + surface(*moved(made(seed), 2, 0)).places
        count += 1
    assert shared_shift(total, count, 1.0) == Shift(2, 0)
    assert shared_shift(total, alignment.TOGETHER_PAIRS - 1, 1.0) is None
    for others in (0, 50):
        total = sum(surface(made(seed)[0], made(seed + others)[1]).places for seed in range(10))
        assert shared_shift(total, 10, 1.0) is None


def test_a_set_that_is_out_of_place_as_a_whole_is_one_finding(tmp_path):
    root = paired(tmp_path, train=10, val=3, size=128)
    for file in sorted(root.glob("train/B/*.png")):
        assert cv2.imwrite(str(file), np.roll(cv2.imread(str(file)), (0, -4), (0, 1)))
    report = check(root, workers=0)
    assert [found.kind for found in report.problems] == ["misaligned"]
    found = report.problems[0]
    assert found.message == "The pairs of train are out of place, all 10 together: B lies 4 px left of A."
    assert found.remedy == "Cut 4 columns from the right of every B, as many from the left of every A."


def real_pairs(real_data, name, step):
    from i2i.data.pictures import read

    for file in sorted(real_data(name).glob("*/*.jpg"))[::step]:
        yield tuple(map(evened, np.split(read(file).pixels, 2, axis=1)))


@pytest.mark.parametrize(("name", "step", "least"), [("facades", 30, 0.55), ("maps", 1, 0.5), ("edges2shoes", 2, 0.6)])
def test_real_pairs(real_data, name, step, least):
    """Photographs and label maps, maps, edges: no false alarm, and most shifts are found, each where it is."""
    pairs = list(real_pairs(real_data, name, step))
    assert len(pairs) >= 4 and not any(shift(surface(*pair)) for pair in pairs)
    for dx, dy in ((4, 1), (-3, 8), (0, 20)):
        found = [shift(surface(*moved(pair, dx, dy))) for pair in pairs]
        right = [one is not None and abs(one.dx - dx) <= 2 and abs(one.dy - dy) <= 2 for one in found]
        assert np.mean(right) >= least and sum(map(bool, found)) == sum(right), (dx, dy, found)


@pytest.mark.slow
def test_facades_moved_all_alike_are_found_for_every_shift(real_data):
    pairs = list(real_pairs(real_data, "facades", 6))
    for dx, dy in ((3, 0), (0, -3), (-2, 2), (7, 5), (-14, 14), (20, 0)):
        total = sum(surface(*moved(pair, dx, dy)).places for pair in pairs)
        found = shared_shift(total, len(pairs), 1.0)
        assert abs(found.dx - dx) <= 1 and abs(found.dy - dy) <= 1, (dx, dy, found)
