"""Data sets of every format: found, read, paired, and what is wrong with them in one sentence."""

import cv2
import numpy as np
import pytest
import torch
from drawn import by_pillow, many, npy, tiff

from i2i.data.domain import Domain
from i2i.data.folders import listed
from i2i.data.paired import Paired
from i2i.data.pictures import encode, read
from i2i.data.survey import Survey
from i2i.data.unpaired import Unpaired
from i2i.errors import UserError

COMMON = {"load_size": None, "crop_size": 16, "flip": True, "transform": "d4", "seed": 0}
AUTO = {"channels": "auto", "range": "auto", "page": None}
RGB = many(3, np.uint8)
LOSSLESS = {
    ".png": by_pillow(RGB, "PNG"), ".webp": by_pillow(RGB, "WEBP", lossless=True), ".tif": tiff(RGB),
    ".TIFF": tiff(RGB, compression="lzw"), ".bmp": by_pillow(RGB, "BMP"), ".npy": npy(RGB),
}  # fmt: skip


def put(path, data: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def pairs(root, a: bytes, b: bytes, suffix: str = ".tif", count: int = 3):
    for number in range(count):
        put(root / f"train/A/{number}{suffix}", a)
        put(root / f"train/B/{number}{suffix}", b)
    return root


def test_partners_may_be_of_any_two_formats(tmp_path):
    suffixes = list(LOSSLESS)
    for number, suffix in enumerate(suffixes):
        put(tmp_path / f"train/A/{number}{suffix}", LOSSLESS[suffix])
        other = suffixes[number - 1]
        put(tmp_path / f"train/B/{number}{other}", LOSSLESS[other])
    data = Paired(path=tmp_path, a=AUTO, b=AUTO, **COMMON)
    assert len(data) == 6 and data.notes == []
    for index in range(6):
        item, broken = data.item(0, index)
        assert not broken and torch.equal(item["input"], item["target"]) and item["input"].shape == (3, 16, 16)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_side_by_side_in_every_format(tmp_path, suffix):
    both = np.hstack([RGB, 255 - RGB])
    data = {
        ".png": by_pillow(both, "PNG"), ".webp": by_pillow(both, "WEBP", lossless=True), ".bmp": by_pillow(both, "BMP"),
        ".npy": npy(both),
    }.get(suffix, tiff(both))  # fmt: skip
    for number in range(2):
        put(tmp_path / f"train/{number}{suffix}", data)
    item = Paired(path=tmp_path, a=AUTO, b=AUTO, **COMMON).item(0, 0)[0]
    assert torch.allclose(item["input"], -item["target"], atol=1e-6) and item["input"].std() > 0.1


@pytest.mark.parametrize("channels", [1, 2, 4, 7, 20])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_any_count_of_channels_and_depth(tmp_path, channels, dtype, suffix):
    pixels, rgb = many(channels, dtype), encode(RGB)
    data = encode(pixels, None, None, {".tif": "TIFF", ".npy": "NPY"}[suffix])
    for number in range(2):
        put(tmp_path / f"train/A/{number}{suffix}", data)
        put(tmp_path / f"train/B/{number}.png", rgb)
    span = [0, 400] if dtype == np.float32 else "auto"
    sets = Paired(path=tmp_path, a={**AUTO, "range": span}, b=AUTO, **COMMON)
    depth = {np.uint8: 8, np.uint16: 16, np.float32: 32}[dtype]
    expected = Domain(channels, (0, 400) if depth == 32 else (0, 2**depth - 1), depth)
    assert sets.domains["input"] == expected and sets.resolved()["a"]["channels"] == channels
    item = sets.item(0, 0)[0]
    assert item["input"].shape == (channels, 16, 16) and item["target"].shape == (3, 16, 16)
    back = expected.to_pixels(item["input"])
    whole = pixels.reshape(-1, channels)
    assert all((np.abs(whole - row).max(axis=1) < 1e-3).any() for row in back.reshape(-1, channels)[::17])


def test_floats_need_a_range_and_are_told_how_to_get_it(tmp_path):
    root = pairs(tmp_path, tiff(many(3, np.float32), photometric="rgb"), tiff(RGB))
    with pytest.raises(UserError, match=r"train/A hold floats.*`i2i data check .*train/A`.*data\.a\.range=\[lo, hi\]"):
        Paired(path=root, a=AUTO, b=AUTO, **COMMON)
    with pytest.raises(UserError, match=r"data\.a: range \[3, 3\] is not a range of 32-bit floats"):
        Paired(path=root, a={**AUTO, "range": [3, 3]}, b=AUTO, **COMMON)


@pytest.mark.parametrize(
    ("other", "wanted", "words"),
    [
        (many(7, np.uint8), AUTO, r"train/A mixes counts of channels: 3 have 4 \(.*0\.tif\), 1 have 7 \(.*x\.npy\)"),
        (many(1, np.uint8), AUTO, r"mixes counts of channels: 1 have 1 \(.*x\.npy\), 3 have 4"),
        (many(4, np.uint16), AUTO, r"train/A mixes pictures of 8 bits \(.*0\.tif\) and 16 bits \(.*x\.npy\)"),
        (many(4, np.float32), AUTO, r"mixes pictures of 8 bits \(.*\) and 32 bits \(floats\) \(.*x\.npy\)"),
        (many(4, np.uint8), {**AUTO, "channels": 7}, r"data\.a\.channels is 7, but 4 of 4 pictures have 4, the first"),
    ],
    ids=["7 among 4", "grey among 4", "16 among 8", "floats among 8", "not as wanted"],
)
def test_what_does_not_fit_together_is_one_sentence(tmp_path, other, wanted, words):
    four = many(4, np.uint8)
    root = pairs(tmp_path, tiff(four, photometric="minisblack", planarconfig="contig"), tiff(RGB))
    put(root / "train/A/x.npy", npy(other))
    put(root / "train/B/x.tif", tiff(RGB))
    with pytest.raises(UserError, match=words) as caught:
        Paired(path=root, a=wanted, b=AUTO, **COMMON)
    assert "\n" not in str(caught.value)


def test_what_reading_changes_is_counted(tmp_path):
    put(tmp_path / "0.tif", tiff(many(1, np.uint8)[..., 0], photometric="miniswhite"))
    put(tmp_path / "1.npy", npy(many(3, np.uint8)))
    put(tmp_path / "2.tif", tiff(many(4, np.uint8), photometric="rgb", extrasamples=[1]))
    survey = Survey(listed(tmp_path)[0])
    assert any("1 of 3 pictures of levels that count from white, inverted" in note for note in survey.notes)
    assert any("1 of 3 pictures with colours multiplied by their alpha" in note for note in survey.notes)
    assert any("1 of 3 pictures with alpha, which is set aside" in note for note in survey.notes)


# ---------------------------------------------------------------------------------------------------- pages

STACK = tiff(np.moveaxis(many(3, np.uint8), 2, 0), photometric="minisblack")


def test_a_page_is_named_by_the_recipe_and_kept(tmp_path):
    root = pairs(tmp_path, STACK, tiff(RGB))
    with pytest.raises(UserError, match=r"it has 3 pages.*data\.a\.page=0"):
        Paired(path=root, a=AUTO, b=AUTO, **COMMON)
    for page in range(3):
        data = Paired(path=root, a={**AUTO, "page": page}, b=AUTO, **COMMON)
        assert data.domains["input"] == Domain(1, (0, 255), 8, page)
        assert data.resolved()["a"] == {"channels": 1, "range": [0, 255], "page": page}
        assert data.resolved()["b"]["page"] is None
        assert np.array_equal(data.previews(1)[0]["input"][..., 0], many(3, np.uint8)[..., page])
        assert data.item(0, 0)[0]["input"].shape == (1, 16, 16)
    with pytest.raises(UserError, match="it has pages 0 to 2, and page 3 is asked for"):
        Paired(path=root, a={**AUTO, "page": 3}, b=AUTO, **COMMON)
    for folder in ("A", "B"):
        put(tmp_path / f"train{folder}/0.tif", STACK)
    loose = Unpaired(path=_moved(tmp_path), a={**AUTO, "page": 0}, b={**AUTO, "page": 2}, **COMMON)
    columns = loose.previews(1)[0]
    assert [columns[key][0, 0, 0] for key in "ab"] == list(many(3, np.uint8)[0, 0, [0, 2]])


def _moved(root):
    (root / "loose").mkdir()
    for folder in ("trainA", "trainB"):
        (root / folder).rename(root / "loose" / folder)
    return root / "loose"


def test_both_halves_of_a_file_are_of_one_page(tmp_path):
    put(tmp_path / "train/0.tif", STACK)
    with pytest.raises(UserError, match=r"data\.a\.page is 0 and data\.b\.page None.*Set the two alike"):
        Paired(path=tmp_path, a={**AUTO, "page": 0}, b=AUTO, **COMMON)
    data = Paired(path=tmp_path, a={**AUTO, "page": 1}, b={**AUTO, "page": 1}, **{**COMMON, "crop_size": 8})
    assert data.item(0, 0)[0]["input"].shape == (1, 8, 8)


@pytest.mark.parametrize("beside", [False, True])
def test_pixels_without_data_enter_at_the_low_end(tmp_path, beside):
    holed = many(1, np.float32)[..., 0] + 50
    holed[:, :6] = -9999
    hole = tiff(holed, extratags=[(42113, 2, 6, "-9999", True)])
    if beside:
        put(tmp_path / "train/0.tif", hole)
    else:
        pairs(tmp_path, hole, hole, count=1)
    span = {**AUTO, "range": [-100, 300]}
    data = Paired(path=tmp_path, a=span, b={**AUTO, "range": [0, 300]}, **{**COMMON, "crop_size": 8})
    whole = data.previews(1)[0]
    assert (whole["input"][:, :6] == -100).all() and (whole["input"][:, 6:] > 0).all()
    assert beside or ((whole["target"][:, :6] == 0).all() and (whole["target"][:, 6:] > 0).all())


# ---------------------------------------------------------------------------------------------------- real pictures


def test_every_training_facade_is_what_opencv_makes_of_it(real_data):
    files = sorted((real_data("facades") / "train").glob("*.jpg"))
    assert len(files) == 400
    for path in files:
        by_cv2 = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(read(path).pixels, by_cv2[..., ::-1])
