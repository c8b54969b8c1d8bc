"""Pictures that are there twice: hashes, and a look-up that finds what a comparison of all with all finds."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from scenes import scene

from i2i.prepare.checking import duplicates
from i2i.prepare.checking.duplicates import NEAR_BITS, alike, candidates, content, look, same, small
from i2i.prepare.checking.reading import grey

RNG = np.random.default_rng(0)


def test_content_tells_pixels_shape_and_type():
    pixels = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    other = pixels.copy()
    other[3, 5, 2] ^= 1
    all_of_them = [pixels, other, pixels.reshape(6, 4, 3), pixels.astype(np.uint16), pixels.astype(np.float32)]
    assert len({content(x) for x in all_of_them}) == 5 and content(pixels[::1]) == content(pixels.copy())
    assert content(np.asfortranarray(pixels)) == content(pixels)


def test_same_gives_the_first_of_each_group_with_every_later_one():
    contents = np.array([5, 0, 7, 5, 0, 7, 9, 5], np.uint64)
    assert sorted(map(tuple, same(contents).tolist())) == [(0, 3), (0, 7), (2, 5)]
    assert same(contents[:1]).shape == (0, 2) and same(contents[:0]).shape == (0, 2)


def changed(value, bits):
    for bit in bits:
        value ^= 1 << bit
    return value


def test_candidates_are_those_of_a_comparison_of_all_with_all():
    looks = [int(v) for v in RNG.integers(0, 2**63, 300, dtype=np.uint64)]
    for index in range(0, 100, 2):  # up to 3 bits anywhere are found for certain
        looks[index + 1] = changed(looks[index], RNG.choice(64, 3, replace=False).tolist())
    looks = np.array(looks, np.uint64)[:, None]
    found = {tuple(pair) for pair in candidates(looks).tolist()}
    a, b = np.triu_indices(len(looks), 1)
    far = np.bitwise_count(looks[a, 0] ^ looks[b, 0])
    assert found == set(zip(a[far <= 3].tolist(), b[far <= 3].tolist())) and len(found) == 50
    assert NEAR_BITS >= 3


def test_what_differs_in_one_band_only_is_found_and_beyond_the_limit_is_not():
    base = int(RNG.integers(0, 2**63, dtype=np.uint64))
    near, far = changed(base, range(NEAR_BITS)), changed(base, range(NEAR_BITS + 1))
    assert candidates(np.array([[base], [near]], np.uint64)).tolist() == [[0, 1]]
    assert candidates(np.array([[base], [far]], np.uint64)).tolist() == []
    # of a pair both pictures have to be near
    assert candidates(np.array([[base, base], [near, near]], np.uint64)).tolist() == [[0, 1]]
    assert candidates(np.array([[base, base], [near, far]], np.uint64)).tolist() == []


def test_a_hundred_thousand_equal_hashes_end_at_the_cap(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_CANDIDATES", 50_000)
    looks = np.full((100_000, 1), 12345, np.uint64)
    assert 50_000 <= len(candidates(looks)) < 200_000


def again(pixels):
    yield cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    yield cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    yield cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    yield cv2.GaussianBlur(pixels, (0, 0), 1)
    yield cv2.convertScaleAbs(pixels, alpha=0.9, beta=8)
    yield pixels.astype(np.uint16) * 257


def near(a, b):
    a, b = grey(a), grey(b)
    looks = np.array([[look(a)], [look(b)]], np.uint64)
    return len(candidates(looks)) == 1 and alike(small(a), small(b))


def test_pictures_saved_again_are_near_and_others_are_not():
    found = [near(scene(seed), copy) for seed in range(10) for copy in again(scene(seed))]
    assert np.mean(found) >= 0.95
    assert not any(near(scene(seed), scene(seed + 1)) for seed in range(40))
    assert not alike(small(grey(scene(0))), small(grey(scene(1)))) and not alike(np.zeros((32, 32)), np.zeros((32, 32)))


@pytest.mark.parametrize(
    ("name", "folder"), [("horse2zebra", "testB"), ("afhq_cat100", "images"), ("edges2shoes", "val")]
)
def test_real_pictures_saved_again(real_data, name, folder):
    pictures = [cv2.imread(str(file)) for file in sorted((real_data(name) / folder).glob("*.jpg"))[:30]]
    assert np.mean([near(x, copy) for x in pictures[::3] for copy in again(x)]) >= 0.95
    if name != "edges2shoes":  # shoes on white do look alike; there both pictures of a pair have to
        assert not any(near(x, y) for x, y in pairwise(pictures))
