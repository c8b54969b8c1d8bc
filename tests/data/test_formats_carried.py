"""What a TIFF says beside its pixels goes to the output; what described its encoding does not."""

import importlib.util
import io
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
from drawn import DEEP, FLOATS, GREY, RGB, many, tiff
from PIL import Image

from i2i.data.formats import geo
from i2i.data.pictures import Picture, decode, encode, filled, probe, read, write
from i2i.errors import UserError

ICC = bytes(range(200))
PLACED = [  # pixel scale, tie point, keys, and their texts
    (33550, 12, 3, (10.0, 10.0, 0.0)), (33922, 12, 6, (0.0, 0.0, 0.0, 500000.0, 4600000.0, 0.0)),
    (34735, 3, 12, (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633)), (34737, 2, 4, "abc|"),
]  # fmt: skip
SAID = [
    (269, 2, 4, "name"), (270, 2, 6, "a scan"), (271, 2, 5, "maker"), (305, 2, 5, "wares"),
    (306, 2, 20, "2020:01:02 03:04:05"), (315, 2, 6, "an art"), (33432, 2, 4, "mine"),
    (34675, 7, len(ICC), ICC), (700, 1, 9, b"<x:xmp/>\n"), (33723, 7, 9, b"\x1c\x02abcdefg"),
    (42112, 2, 60, '<GDALMetadata><Item name="x">y</Item></GDALMetadata>'), *PLACED,
]  # fmt: skip
RESOLUTION = {282: (300, 7), 283: (72, 1), 296: 3}


def told(data: bytes) -> dict[int, object]:
    """{code: value} of the tags of the first page, read by tifffile alone."""
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        return {tag.code: tag.value for tag in tif.pages[0].tags}


def full(pixels: np.ndarray, byteorder: str = "<", extra=()) -> bytes:
    channels = pixels.shape[2]
    return tiff(
        pixels[..., 0] if channels == 1 else pixels,
        photometric="rgb" if channels == 3 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=[0] * (channels - 1) if channels not in (1, 3) else None,
        resolution=((300, 7), (72, 1)),
        resolutionunit=3,
        byteorder=byteorder,
        compression="lzw",
        rowsperstrip=5,
        software=False,
        extratags=[(*tag, True) for tag in (*SAID, *extra)],
    )


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_identity_gives_back_pixels_and_tags(tmp_path, dtype, channels, byteorder):
    pixels = many(channels, dtype)
    source = full(pixels, byteorder)
    picture = decode(source, "x.tif")
    write(tmp_path / "y.tif", picture.pixels, picture.alpha, picture.carried)
    made = (tmp_path / "y.tif").read_bytes()
    assert np.array_equal(read(tmp_path / "y.tif").pixels, pixels)
    before, after = told(source), told(made)
    for code in (*(tag[0] for tag in SAID), *RESOLUTION):
        assert after[code] == before[code], code
    assert after[282] == (300, 7) and after[296] == 3 and after[33550] == (10.0, 10.0, 0.0)
    assert after[259] == 8 and 273 in after, "packed by deflate, whatever it was"
    assert decode(made, "y.tif").carried == picture.carried, "and the same once more"


def test_what_describes_the_old_file_is_left_out():
    stack = io.BytesIO()
    tifffile.imwrite(stack, GREY[None], imagej=True)
    ome, shaped = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(ome, GREY, ome=True)
    tifffile.imwrite(shaped, GREY)
    for data in (stack, ome, shaped):
        picture = decode(data.getvalue(), "x.tif")
        assert 270 in told(data.getvalue()) and 270 not in told(encode(picture.pixels, None, picture.carried, "TIFF"))
    statistics = (
        '<GDALMetadata><Item name="STATISTICS_MAXIMUM" sample="0">9</Item><Item name="a">b</Item></GDALMetadata>'
    )
    data = tiff(GREY, extratags=[(42112, 2, len(statistics), statistics, True)])
    picture = decode(data, "x.tif")
    kept = told(encode(picture.pixels, None, picture.carried, "TIFF"))[42112]
    assert kept == '<GDALMetadata><Item name="a">b</Item></GDALMetadata>'


def test_what_describes_channels_goes_to_as_many_only():
    names = '<GDALMetadata><Item name="a">b</Item><Item name="band" sample="1">red</Item></GDALMetadata>'
    data = tiff(RGB, extratags=[(34675, 7, len(ICC), ICC, True), (42112, 2, len(names), names, True)])
    picture = decode(data, "x.tif")
    same = told(encode(picture.pixels, None, picture.carried, "TIFF"))
    assert same[34675] == ICC and "red" in same[42112]
    grey = told(encode(picture.pixels[..., :1], None, picture.carried, "TIFF"))
    assert 34675 not in grey and "red" not in grey[42112] and 'name="a"' in grey[42112]
    cmyk = decode(
        tiff(np.dstack([RGB, GREY]), photometric="separated", extratags=[(34675, 7, 9, b"printing!", True)]), "x"
    )
    assert 34675 not in told(encode(cmyk.pixels, None, cmyk.carried, "TIFF"))


def test_alpha_is_written_as_alpha():
    for pixels in (RGB, DEEP, FLOATS, GREY[..., None], many(7, np.uint8)):
        data = encode(pixels, pixels[..., 0], None, "TIFF")
        picture = decode(data, "x.tif")
        assert np.array_equal(picture.pixels, pixels) and np.array_equal(picture.alpha, pixels[..., 0])
        assert told(data)[338][-1] == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_other_programs_read_what_is_written(tmp_path, channels):
    path = tmp_path / "x.tif"
    for pixels in (RGB[..., :channels], DEEP[..., :channels], FLOATS[..., :channels]):
        write(path, pixels)
        by_cv2 = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(by_cv2 if channels == 1 else by_cv2[..., ::-1], pixels.squeeze())
        if channels == 1 or pixels.dtype == np.uint8:  # Pillow has no wider RGB
            with Image.open(path) as image:
                assert np.array_equal(np.asarray(image), pixels.squeeze())


def test_resolution_turns_with_the_picture_and_xmp_stays_behind():
    exif = [(274, 3, 1, 6, True), (700, 1, 8, b"<x:xmp/>", True)]
    data = tiff(RGB, resolution=((300, 1), (72, 1)), resolutionunit=2, extratags=exif)
    picture = decode(data, "x.tif")
    assert picture.pixels.shape == (20, 24, 3)
    after = told(encode(picture.pixels, None, picture.carried, "TIFF"))
    assert (after[282], after[283]) == ((72, 1), (300, 1)) and 700 not in after and 274 not in after


# ---------------------------------------------------------------------------------------------------- maps


def test_a_map_is_not_turned_since_its_transform_counts_stored_rows():
    data = tiff(RGB, extratags=[(*tag, True) for tag in PLACED] + [(274, 3, 1, 6, True)])
    assert np.array_equal(decode(data, "x.tif").pixels, RGB)


@pytest.fixture
def rasterio():
    return pytest.importorskip("rasterio", reason="needs the extra geo")


def mapped(rasterio, path, pixels, transform, **options):
    height, width, count = pixels.shape
    sizes = {"width": width, "height": height, "count": count, "dtype": pixels.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32633", transform=transform, tiled=True, blockxsize=16, blockysize=16,
        **sizes, **options,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(pixels, 2, 0))


@pytest.mark.parametrize("turned", [False, True], ids=["upright", "rotated"])
@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", None), ("uint8", 0), ("uint8", 255), ("uint16", 65535), ("int16", -9999), ("float32", -9999.0),
     ("float32", float("nan")), ("float64", -1.7976931348623157e308)],
)  # fmt: skip
def test_place_and_nodata_reach_the_output_whatever_its_channels(tmp_path, rasterio, dtype, nodata, turned):
    affine = rasterio.Affine(10, 0, 500000, 0, -10, 4600000)
    affine = affine @ rasterio.Affine.rotation(30) if turned else affine
    pixels = np.clip(many(3, np.uint8), 1, 250).astype(dtype)
    hole = np.s_[2:9, 3:11]
    if nodata is not None:
        pixels[hole] = nodata
    mapped(rasterio, tmp_path / "x.tif", pixels, affine, nodata=nodata, compress="deflate")
    picture = read(tmp_path / "x.tif")
    assert np.isfinite(picture.pixels).all()
    for made in (picture.pixels, picture.pixels[..., :1], np.dstack([picture.pixels, picture.pixels])):
        write(tmp_path / "y.tif", made, None, picture.carried)
        with rasterio.open(tmp_path / "y.tif") as file:
            assert file.crs.to_epsg() == 32633 and file.transform.almost_equals(affine, 1e-9)
            levels, mask = file.read(), file.dataset_mask() > 0
            if dtype == "float64":
                assert np.isnan(file.nodata), "its own level is beyond float32"
            else:
                assert file.nodata == nodata or (np.isnan(nodata) and np.isnan(file.nodata))
        if nodata is not None:
            assert not mask[hole].any() and mask.sum() == mask.size - 7 * 8
        if made is picture.pixels and dtype != "float64":
            assert np.array_equal(np.moveaxis(levels, 0, 2), pixels, equal_nan=dtype.startswith("float"))


def test_nodata_enters_at_the_low_end_and_a_level_of_one_channel_is_no_hole():
    data = tiff(RGB | 1, extratags=[(42113, 2, 2, "0", True)])
    assert decode(data, "x.tif").carried.mask is None
    holed = np.where(RGB == 255, 254, RGB)
    holed[:4, :5] = 255
    holed[10, 10] = (255, 7, 7)
    picture = decode(tiff(holed, extratags=[(42113, 2, 4, "255", True)]), "x.tif")
    assert picture.carried.mask.sum() == 20 and picture.carried.mask[:4, :5].all()
    assert (filled(picture, 16)[:4, :5] == 16).all() and (filled(picture, 16)[4:] == holed[4:]).all()
    floats = FLOATS.copy()
    floats[0, 0, 1] = np.nan
    picture = decode(tiff(floats, photometric="rgb", extratags=[(42113, 2, 4, "nan", True)]), "x.tif")
    assert picture.carried.mask.sum() == 1 and (filled(picture, -5.5)[0, 0] == -5.5).all()
    assert filled(Picture(RGB), 9) is RGB


def test_a_level_that_the_output_cannot_hold_is_replaced_and_data_do_not_become_holes():
    floats = np.full((6, 6), 5.0, np.float32)
    floats[0, 0] = -9999
    picture = decode(tiff(floats, extratags=[(42113, 2, 6, "-9999", True)]), "x.tif")
    black = np.zeros((6, 6, 3), np.uint8)
    made = encode(black, None, picture.carried, "TIFF")
    assert told(made)[42113] == "0"
    again = decode(made, "y.tif")
    assert again.carried.mask.sum() == 1 and again.carried.mask[0, 0]
    assert (again.pixels[1:] == (1, 0, 0)).all() and not black.any(), "one level up, and the caller's array as it was"


def test_blocks_that_a_map_leaves_out_are_holes(tmp_path, rasterio):
    path = tmp_path / "x.tif"
    options = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint8", "nodata": 7}
    with rasterio.open(path, "w", **options, tiled=True, blockxsize=16, blockysize=16, sparse_ok=True) as file:
        file.write(np.full((16, 16), 9, np.uint8), 1, window=((16, 32), (0, 16)))
    picture = read(path)
    assert (picture.pixels[16:32, :16] == 9).all() and picture.carried.mask.sum() == 64 * 64 - 256


def test_a_half_has_the_place_of_the_whole_where_it_begins_with_it():
    data = full(many(3, np.uint8), extra=[(42113, 2, 2, "0")])
    carried = decode(data, "x.tif").carried
    left, right = carried.cut(slice(0, 10)), carried.cut(slice(10, 20))
    assert {33550, 33922} <= {tag.code for tag in left.tags} and not {33550, 33922} & {tag.code for tag in right.tags}
    assert 315 in {tag.code for tag in right.tags}


def beside(folder, how: str):
    write(folder / "x.tif", RGB)
    if how == "world file":
        (folder / "x.tfw").write_text("10\n0\n0\n-10\n500005\n4599995\n")
    else:
        text = "<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>500000,10,0,4600000,0,-10</GeoTransform></PAMDataset>"
        (folder / "x.tif.aux.xml").write_text(text)
    return folder / "x.tif"


@pytest.mark.parametrize("how", ["world file", "aux.xml"])
def test_a_place_beside_the_file_is_carried_by_rasterio_and_missed_in_words(tmp_path, rasterio, monkeypatch, how):
    path = beside(tmp_path, how)
    assert probe(path).changes == ()
    write(tmp_path / "y.tif", RGB[..., :1], None, read(path).carried)
    with rasterio.open(tmp_path / "y.tif") as file:
        assert file.transform.almost_equals(rasterio.Affine(10, 0, 500000, 0, -10, 4600000))
        assert how == "world file" or file.crs.to_epsg() == 32633
    monkeypatch.setattr(geo, "available", lambda: False)
    assert probe(path).changes == ("world file",)
    assert not {33550, 34264} & {tag.code for tag in read(path).carried.tags}


def test_a_place_beside_the_file_that_makes_no_sense_is_refused(tmp_path, rasterio):
    path = beside(tmp_path, "aux.xml")
    (tmp_path / "x.tif.aux.xml").write_text("<PAMDataset><SRS>EPSG:1</SRS><GeoTransform>a, b</GeoTransform>")
    try:
        carried = read(path).carried
    except UserError as error:
        assert "a file beside it says where it lies" in str(error)
    else:
        assert not {33550, 34264} & {tag.code for tag in carried.tags}


def test_reading_imports_neither_tifffile_nor_rasterio_before_a_tiff_is_met(tmp_path):
    (tmp_path / "x.tif").write_bytes(full(many(3, np.uint8)))
    write(tmp_path / "x.png", RGB)
    look = "import sys\nfrom i2i.data.pictures import read\nread('x.png')\n"
    look += "names = ('tifffile', 'rasterio', 'imagecodecs', 'torch')\n"
    look += "print(*(name in sys.modules for name in names)); read('x.tif')\n"
    look += "print(*(name in sys.modules for name in names[:2]))"
    done = subprocess.run(
        [sys.executable, "-c", look], env=dict(os.environ), cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["False"] * 4 + ["True", "False"], done.stderr
    assert importlib.util.find_spec("tifffile")
