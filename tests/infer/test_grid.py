"""Sheets of pictures: where everything stands, and that nothing is distorted."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from i2i.data.pictures import read
from i2i.infer.grid import GAP, HAIRLINE, MARGIN, grid

ROOT = Path(__file__).parents[2]


def flat(height: int, width: int, colour, dtype=np.uint8) -> np.ndarray:
    return np.full((height, width, len(colour)), colour, dtype)


RED, GREEN, BLUE = (200, 10, 10), (10, 200, 10), (10, 10, 200)


def sheet(tmp_path, columns, **options) -> np.ndarray:
    grid(columns, tmp_path / "sheet.png", **options)
    return read(tmp_path / "sheet.png").pixels


def box(pixels: np.ndarray, colour) -> tuple[int, int, int, int]:
    """(top, left, height, width) of what has that colour, which must fill its box."""
    rows, columns = np.nonzero((pixels == np.array(colour)).all(axis=2))
    top, left = rows.min(), columns.min()
    height, width = rows.max() - top + 1, columns.max() - left + 1
    assert len(rows) == height * width
    return top, left, height, width


def test_rows_and_columns_stand_at_even_distances(tmp_path):
    pixels = sheet(tmp_path, {"one": [flat(100, 100, RED)] * 2, "two": [flat(100, 100, GREEN), flat(100, 100, BLUE)]})
    height, width, _ = pixels.shape
    top, left, *size = box(pixels, GREEN)
    assert size == [100, 100] and left == MARGIN + 100 + GAP and width == left + 100 + MARGIN
    below, beside, *size = box(pixels, BLUE)
    assert (below, beside, size) == (top + 100 + GAP, left, [100, 100]) and height == below + 100 + MARGIN
    white = (pixels == 255).all(axis=2)
    assert white[:MARGIN].all() and white[-MARGIN + 1 :].all() and white[:, : MARGIN - 1].all()
    assert (~white[MARGIN : top - 1, :]).any()  # the titles
    assert tuple(pixels[top - 1, left]) == HAIRLINE  # white pictures have an edge too


def test_titles_stand_over_their_columns_and_wrap(tmp_path):
    titles = {
        "A": [flat(100, 100, RED)],
        "a title of several words": [flat(100, 100, GREEN)],
        "w" * 40: [flat(100, 100, BLUE)],
    }
    pixels = sheet(tmp_path, titles)
    top = box(pixels, RED)[0]
    ink = (pixels[: top - 1] < 128).all(axis=2)
    for colour in (RED, GREEN, BLUE):
        _, left, _, width = box(pixels, colour)
        assert ink[:, left : left + width].any()
        gap = slice(left + width + 1, left + width + GAP - 1)
        assert not ink[:, gap].any()


@pytest.mark.parametrize("size, shown", [((640, 320), (320, 160)), ((100, 400), (80, 320)), ((1, 900), (1, 320))])
def test_large_pictures_shrink_and_keep_their_proportions(tmp_path, size, shown):
    pixels = sheet(tmp_path, {"x": [flat(*size, RED)]})
    assert box(pixels, RED)[2:] == shown


def test_tiny_pictures_are_enlarged_by_whole_pixels(tmp_path):
    picture = np.random.default_rng(0).integers(0, 200, (28, 14, 3), dtype=np.uint8)
    pixels = sheet(tmp_path, {"x": [picture]})
    height, width, _ = pixels.shape
    assert width == 2 * MARGIN + 14 * 4
    shown = pixels[height - MARGIN - 28 * 4 : height - MARGIN, MARGIN:-MARGIN]
    assert np.array_equal(shown, picture.repeat(4, 0).repeat(4, 1))


def test_one_channel_is_drawn_grey(tmp_path):
    grey = np.full((100, 100), 77, np.uint8)
    pixels = sheet(tmp_path, {"colour": [flat(100, 100, RED)], "flat": [grey], "grey": [grey[:, :, None]]})
    top, _, *size = box(pixels, RED)
    assert size == [100, 100]
    assert (pixels[top:] == 77).all(axis=2).sum() == 2 * 100 * 100


def test_mixed_sizes_stand_in_the_middle_and_short_columns_end(tmp_path):
    pixels = sheet(tmp_path, {"x": [flat(100, 200, RED), flat(120, 120, GREEN)], "y": [flat(150, 100, BLUE)]})
    red, green, blue = (box(pixels, colour) for colour in (RED, GREEN, BLUE))
    assert [found[2:] for found in (red, green, blue)] == [(100, 200), (120, 120), (150, 100)]
    assert red[0] + 50 == blue[0] + 75  # one row
    assert green[1] - red[1] == 40  # the middle of the column
    assert green[0] == blue[0] + 150 + GAP
    assert (pixels[green[0] : green[0] + 120, blue[1] - 50 : blue[1] + 150] == 255).all()


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"x": []},
        {"x": [np.zeros((4, 4, 2), np.uint8)]},
        {"x": [np.zeros((4, 4, 3))]},
        {"x": [np.zeros((4, 4, 3), np.uint16)]},  # levels mean nothing without their domain: Domain.shown
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_written(tmp_path, columns):
    with pytest.raises(ValueError):
        grid(columns, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_real_pictures_make_a_sheet(tmp_path, real_data):
    files = sorted((real_data("facades") / "test").glob("*.jpg"))[:4]
    both = [read(file).pixels for file in files]
    columns = {"photograph": [p[:, : p.shape[1] // 2] for p in both], "labels": [p[:, p.shape[1] // 2 :] for p in both]}
    pixels = sheet(tmp_path, columns)
    assert pixels.shape[1] == 2 * MARGIN + GAP + 2 * 256 and pixels.std() > 30


def test_the_font_is_loaded_when_a_title_is_drawn():
    code = "import sys, i2i.infer.grid; print('PIL.ImageFont' in sys.modules and 'late')"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout in ("False\n", "late\n")
