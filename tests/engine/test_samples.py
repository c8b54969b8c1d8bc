"""Sample grids show pictures of every depth and number of channels, and say what they leave out."""

import numpy as np
import pytest

from i2i.data.domain import Domain
from i2i.engine import samples
from i2i.engine.samples import Seen


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """`shown(columns)` is what a grid is made of: {title: pictures for the eye}."""

    def made(columns):
        found = {}
        monkeypatch.setattr(samples, "grid", lambda columns, path: found.update(columns))
        samples.sheet(columns, tmp_path / "grid.png")
        return found

    return made


def test_a_title_says_which_channels_are_shown(shown):
    titles = {1: "x", 2: "x (channel 1 of 2)", 3: "x", 4: "x (channels 1 to 3 of 4)", 7: "x (channels 1 to 3 of 7)"}
    for channels, title in titles.items():
        pixels = np.zeros((4, 5, channels), np.uint8)
        assert list(shown({"x": [Seen(pixels, Domain(channels, (0, 255), 8))], "y": []})) == [title, "y"]


def test_the_range_of_a_domain_fills_what_can_be_seen(shown):
    for depth, dtype, span in ((8, np.uint8, (0, 255)), (16, np.uint16, (100, 4195)), (32, np.float32, (-2.0, 5.0))):
        values = np.linspace(*span, 5).astype(dtype)[None, :, None]
        (picture,) = shown({"x": [Seen(values, Domain(1, span, depth))]})["x"]
        assert picture.dtype == np.uint8
        assert np.abs(picture[0, :, 0].astype(int) - [0, 64, 128, 191, 255]).max() <= 1


def test_every_picture_of_a_column_is_shown_by_its_own_domain(shown):
    dark, bright = Domain(1, (0, 255), 8), Domain(1, (0, 100), 8)
    level = np.full((2, 2, 1), 100, np.uint8)
    first, second = shown({"x": [Seen(level, dark), Seen(level, bright)]})["x"]
    assert (first == 100).all() and (second == 255).all()
