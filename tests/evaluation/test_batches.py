"""The two forms of pictures come to the same numbers, those of the domain."""

import numpy as np
import pytest
import torch

from i2i.data.domain import Domain
from i2i.evaluation.batches import checked, to_floats, to_levels, to_rgb
from i2i.evaluation.training import batches, moves, one_cycle, taken

LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def test_levels_and_floats_are_those_of_the_domain():
    domain = Domain(channels=1, range=(0, 255), depth=8)
    floats = domain.to_tensor(LEVELS[0])[None]
    assert torch.equal(to_floats(checked(LEVELS)), floats)
    assert torch.equal(to_levels(checked(floats)), checked(LEVELS))
    assert torch.equal(to_levels(checked(LEVELS)), checked(LEVELS)) and torch.equal(to_floats(floats), floats)
    between = torch.linspace(-1, 1, 1001).reshape(1, 1, 7, 143)
    assert np.array_equal(to_levels(checked(between))[0].permute(1, 2, 0).numpy(), domain.to_pixels(between[0]))


def test_the_callers_memory_is_left_alone():
    levels, floats = LEVELS.copy(), torch.zeros(1, 1, 4, 4)
    to_floats(checked(levels)).add_(1)
    to_levels(checked(floats))
    assert np.array_equal(levels, LEVELS) and not floats.any()


def test_read_only_arrays_are_taken():
    frozen = LEVELS.copy()
    frozen.flags.writeable = False
    assert torch.equal(checked(frozen), checked(LEVELS))


def test_grey_is_repeated_and_other_counts_are_refused():
    grey = torch.rand(2, 1, 4, 4)
    assert torch.equal(to_rgb(grey), torch.cat([grey] * 3, 1))
    assert torch.equal(to_rgb(torch.ones(2, 3, 4, 4)), torch.ones(2, 3, 4, 4))
    with pytest.raises(ValueError, match="2 channels"):
        to_rgb(torch.ones(2, 2, 4, 4))


@pytest.mark.parametrize(
    "pictures, words",
    [
        (np.zeros((2, 3, 32, 32), np.uint8), r"\(B, H, W, C\)"),
        (np.zeros((2, 8, 8, 3), np.float32), "float32"),
        (np.zeros((2, 8, 8, 3), np.uint16), "Domain.to_tensor"),
        (np.zeros((8, 8, 3), np.uint8), r"\(8, 8, 3\)"),
        (torch.zeros(3, 8, 8), r"\(B, C, H, W\)"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.int64), "uint8, or floats"),
        (torch.full((1, 1, 8, 8), 1.001), "Clamp"),
        (torch.full((1, 1, 8, 8), torch.nan), "nan"),
        ([1, 2], "a list"),
    ],
)
def test_other_forms_are_refused(pictures, words):
    with pytest.raises(ValueError, match=words):
        checked(pictures)


def test_one_cycle_rises_to_1_at_the_end_of_the_warm_up_and_falls_towards_0():
    rates = [one_cycle(step, 100) for step in range(100)]
    assert rates[:20] == pytest.approx([(step + 0.5) / 20 for step in range(20)])
    assert max(rates) == pytest.approx(1, abs=1e-3) and rates.index(max(rates)) in (19, 20)
    assert rates[20:] == sorted(rates[20:], reverse=True) and 0 < rates[-1] < 1e-3
    assert one_cycle(59, 100) == pytest.approx(0.5 + 0.5 * np.cos(np.pi * (0.595 - 0.2) / 0.8))


def test_batches_cover_each_epoch():
    chosen = list(batches(10, 4, 5, torch.Generator().manual_seed(0)))
    assert [len(each) for each in chosen] == [4] * 5
    assert len(set(torch.cat(chosen[:2]).tolist())) == len(set(torch.cat(chosen[2:4]).tolist())) == 8
    assert torch.cat(chosen[:2]).tolist() != torch.cat(chosen[2:4]).tolist()


def test_moves_are_moves():
    x = torch.arange(64.0).reshape(1, 1, 8, 8).expand(200, 1, 8, 8)
    draw = torch.Generator().manual_seed(0)
    rows, columns = moves(x, 2, flip=True, draw=draw)
    y = taken(x, rows, columns)
    seen = set()
    for k in range(200):
        flipped = bool(columns[k, 0] > columns[k, -1])
        picture = y[k, 0].flip(-1) if flipped else y[k, 0]
        down, right = int(rows[k, 4]) - 4, int(picture[4, 4]) % 8 - 4
        padded = np.pad(x[0, 0].numpy(), 2, mode="edge")
        assert np.array_equal(picture.numpy(), padded[2 + down : 10 + down, 2 + right : 10 + right])
        seen.add((down, right, flipped))
    assert len(seen) > 40  # of 50
    assert torch.equal(taken(x, *moves(x, 0, flip=False, draw=draw)), x)
