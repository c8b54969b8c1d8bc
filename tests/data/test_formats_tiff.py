"""Every kind of TIFF: its pixels as they were written, and what is refused in words."""

import io
import logging

import numpy as np
import pytest
import tifffile
from drawn import DEEP, FLOATS, GREY, RGB, by_pillow, many, tiff
from PIL import Image, ImageOps

from i2i.data.pictures import BrokenPicture, decode, probe, read


@pytest.fixture
def file(tmp_path):
    def make(data: bytes, name: str = "x.tif"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return make


LAYOUTS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "BigTIFF, big-endian": {"bigtiff": True, "byteorder": ">"},
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 16)},
    "LZW": {"compression": "lzw"},
    "deflate": {"compression": "zlib", "rowsperstrip": 7},
    "zstd": {"compression": "zstd"},
    "PackBits": {"compression": "packbits"},
    "tiles, LZW, big-endian": {"tile": (16, 16), "compression": "lzw", "byteorder": ">"},
}
KINDS = [np.uint8, np.uint16, np.float32]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 20])
@pytest.mark.parametrize("dtype", KINDS)
def test_pixels_come_as_they_were_written(layout, channels, dtype):
    pixels = many(channels, dtype)
    options = LAYOUTS[layout]
    for planar in ("contig", "separate"):
        if channels == 1 and planar == "separate":
            continue
        predictor = {np.float32: 3}.get(dtype, 2) if options.get("compression") in ("lzw", "zlib", "zstd") else None
        given = pixels[..., 0] if channels == 1 else pixels if planar == "contig" else np.moveaxis(pixels, 2, 0)
        extra = [0] * (channels - (3 if channels in (3, 4) else 1))
        data = tiff(
            given,
            photometric="rgb" if channels in (3, 4) else "minisblack",
            planarconfig=None if channels == 1 else planar,
            extrasamples=extra or None,
            predictor=predictor,
            **options,
        )
        picture = decode(data, "x.tif")
        assert picture.pixels.dtype == dtype and np.array_equal(picture.pixels, pixels), planar
        assert picture.alpha is None and picture.pixels.flags.c_contiguous and picture.pixels.flags.writeable


@pytest.mark.parametrize(
    ("dtype", "depth", "change"),
    [("int8", 32, "integers"), ("int16", 32, "integers"), ("int32", 32, "integers"), ("uint32", 32, "integers"),
     ("float16", 32, "float16"), ("float64", 32, "float64")],
)  # fmt: skip
def test_other_numbers_become_floats_and_it_is_said(file, dtype, depth, change):
    numbers = np.arange(-60, 60).reshape(10, 12).astype(dtype if dtype != "uint32" else "int64")
    numbers = np.abs(numbers).astype(dtype) if dtype == "uint32" else numbers
    path = file(tiff(numbers, photometric="minisblack"))
    header, picture = probe(path), read(path)
    assert (header.depth, header.changes) == (depth, (change,))
    assert picture.pixels.dtype == np.float32 and np.array_equal(picture.pixels[..., 0], numbers.astype(np.float64))


def test_numbers_that_floats_cannot_hold_are_refused():
    big = np.full((4, 4), 2**24 + 1, np.int32)
    with pytest.raises(BrokenPicture, match=r"16 of 16 of its whole numbers are beyond 16,777,216"):
        decode(tiff(big, photometric="minisblack"), "x.tif")
    assert (decode(tiff(big - 1, photometric="minisblack"), "x.tif").pixels == 2**24).all()
    for value, dtype in ((np.nan, np.float32), (np.inf, np.float32), (1e300, np.float64)):
        wrong = np.zeros((4, 4), dtype)
        wrong[1, 1] = value
        with pytest.raises(BrokenPicture, match="1 of 16 of its numbers are not finite"):
            decode(tiff(wrong, photometric="minisblack"), "x.tif")
    with pytest.raises(BrokenPicture, match="which is not read"):
        decode(tiff(np.zeros((4, 4), np.complex64), photometric="minisblack"), "x.tif")


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
def test_few_bits_fill_a_byte_and_many_keep_their_levels(bits):
    levels = np.arange(24 * 20).reshape(24, 20) % 2**bits
    stored = levels.astype(bool) if bits == 1 else levels.astype(np.uint8 if bits < 8 else np.uint16)
    data = tiff(stored, photometric="minisblack", bitspersample=bits)
    expected = levels * (255 // (2**bits - 1)) if bits < 8 else levels
    picture = decode(data, "x.tif")
    assert picture.pixels.dtype == (np.uint8 if bits < 8 else np.uint16)
    assert np.array_equal(picture.pixels[..., 0], expected)


@pytest.mark.parametrize("how", ["group3", "group4", "tiff_ccitt", "packbits", "raw"])
def test_fax(how):
    data = by_pillow(GREY > 120, "TIFF", compression=how)
    assert np.array_equal(decode(data, "x.tif").pixels[..., 0], (GREY > 120) * np.uint8(255))


def test_white_that_is_zero_is_inverted_and_said(file):
    for levels in (GREY, DEEP[..., 0]):
        path = file(tiff(levels, photometric="miniswhite"))
        assert np.array_equal(read(path).pixels[..., 0], np.iinfo(levels.dtype).max - levels)
        assert probe(path).changes == ("white is zero",)
    with pytest.raises(BrokenPicture, match="count from white"):
        decode(tiff(FLOATS[..., 0], photometric="miniswhite"), "x.tif")


def test_a_palette_becomes_rgb(file):
    palette = Image.fromarray(RGB).quantize(16)
    path = file(by_pillow(palette, "TIFF"))
    assert np.array_equal(read(path).pixels, np.asarray(palette.convert("RGB")))
    assert probe(path)[2:7] == (3, 8, False, "TIFF", ("palette",))
    levels = np.arange(768, dtype=np.uint16).reshape(3, 256) // 3
    low = decode(tiff(GREY, photometric="palette", colormap=levels), "x.tif").pixels
    assert np.array_equal(low, np.moveaxis(levels[:, GREY], 0, 2)), "a map of 8-bit levels"


def test_cmyk_becomes_rgb_as_pillow_does_it(file):
    image = Image.fromarray(np.dstack([RGB, GREY]), "CMYK")
    path = file(by_pillow(image, "TIFF"))
    assert np.abs(read(path).pixels.astype(int) - np.asarray(image.convert("RGB"))).max() <= 1
    assert probe(path).changes == ("CMYK",) and probe(path).channels == 3
    deep = np.dstack([np.asarray(image)]).astype(np.uint16) * 257
    wide = decode(tiff(deep, photometric="separated"), "x.tif").pixels
    assert wide.dtype == np.uint16 and np.abs(wide / 257 - read(path).pixels).max() < 1
    with pytest.raises(BrokenPicture, match="made of 4 inks of 8 bits; of pictures for print, CMYK"):
        decode(tiff(many(6, np.uint8), photometric="separated", extratags=[(332, 3, 1, 2, True)]), "x.tif")


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_jpeg_in_tiff(tile):
    data = tiff(RGB, photometric="rgb", compression="jpeg", compressionargs={"level": 95}, tile=tile)
    assert tifffile.TiffFile(io.BytesIO(data)).pages[0].photometric == 6, "YCbCr"
    by_libtiff = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(decode(data, "x.tif").pixels.astype(int) - by_libtiff).mean() < 1
    assert np.abs(by_libtiff.astype(int) - RGB).mean() < 8
    grey = tiff(GREY, photometric="minisblack", compression="jpeg", compressionargs={"level": 95}, tile=tile)
    assert np.abs(decode(grey, "x.tif").pixels[..., 0].astype(int) - GREY).mean() < 4


def test_a_jpeg_block_that_claims_more_than_its_block_is_refused():
    data = bytearray(tiff(RGB, photometric="rgb", compression="jpeg"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    with pytest.raises(BrokenPicture, match="JPEG blocks is not of the block's size"):
        decode(bytes(data), "x.tif")


@pytest.mark.parametrize("pixels", [RGB, DEEP, FLOATS, GREY[..., None], many(7, np.float32)], ids=str)
def test_alpha_is_set_aside_and_other_samples_are_channels(file, pixels):
    channels = pixels.shape[2]
    both = np.dstack([pixels, pixels[..., 0]])
    colour = {"photometric": "rgb" if channels == 3 else "minisblack", "planarconfig": "contig"}
    extra = [0] * (0 if channels == 3 else channels - 1)
    path = file(tiff(both, extrasamples=[*extra, 2], **colour))
    picture, header = read(path), probe(path)
    assert header.alpha and header.channels == channels and header.changes == ()
    assert np.array_equal(picture.pixels, pixels) and np.array_equal(picture.alpha, pixels[..., 0])
    whole = decode(tiff(both, extrasamples=[*extra, 0], **colour), "x.tif")
    assert whole.alpha is None and np.array_equal(whole.pixels, both)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colours_that_are_multiplied_by_alpha_are_divided_again(file, dtype):
    top = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    colours = (RGB / 255 * top).astype(dtype)
    alpha = np.full(GREY.shape, top, dtype)
    alpha[:8], alpha[8:16] = 0, top / 2
    multiplied = (colours * (alpha / top)[..., None]).astype(dtype)
    path = file(tiff(np.dstack([multiplied, alpha]), photometric="rgb", extrasamples=[1]))
    picture = read(path)
    assert probe(path).changes == ("premultiplied",) and np.array_equal(picture.alpha, alpha)
    assert (picture.pixels[:8] == 0).all() and np.array_equal(picture.pixels[16:], colours[16:])
    assert np.abs(picture.pixels[8:16].astype(float) - colours[8:16]).max() <= (1e-6 if dtype == np.float32 else 2)


@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_tag_is_applied_as_pillow_applies_it(file, value):
    exif = Image.Exif()
    exif[0x0112] = value
    path = file(by_pillow(RGB, "TIFF", exif=exif))
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read(path).pixels, upright)
    header = probe(path)
    assert (header.height, header.width) == upright.shape[:2]
    assert header.changes == (("orientation",) if value > 1 else ())


# ---------------------------------------------------------------------------------------------------- pages

STACK = np.stack([GREY, 255 - GREY, GREY // 2])


def pyramid() -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(RGB, metadata=None)
        writer.write(RGB[::2, ::2], metadata=None, subfiletype=1)
        writer.write(RGB[::4, ::4], metadata=None, subfiletype=1)
        writer.write(GREY > 9, metadata=None, subfiletype=4, photometric="minisblack")
    return out.getvalue()


def with_children() -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(RGB, metadata=None, subifds=2)
        writer.write(RGB[::2, ::2], metadata=None, subfiletype=1)
        writer.write(RGB[::4, ::4], metadata=None, subfiletype=1)
    return out.getvalue()


def in_one_directory() -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(STACK, photometric="minisblack", truncate=True)
    return out.getvalue()


@pytest.mark.parametrize("make", [pyramid, with_children])
def test_smaller_versions_and_masks_are_no_pages(file, make):
    path = file(make())
    assert probe(path).pages == 1 and np.array_equal(read(path).pixels, RGB)
    assert np.array_equal(read(path, page=0).pixels, RGB)


@pytest.mark.parametrize(
    "data",
    [tiff(STACK, photometric="minisblack"), tiff(STACK, imagej=True), in_one_directory(),
     tiff(STACK, photometric="minisblack", bigtiff=True, byteorder=">", compression="lzw"),
     tiff(STACK, photometric="minisblack", ome=True, metadata={"axes": "ZYX"})],
    ids=["pages", "ImageJ", "one directory", "BigTIFF", "OME"],
)  # fmt: skip
def test_of_several_pages_one_is_named(file, data):
    path = file(data)
    for look in (probe, read):
        with pytest.raises(BrokenPicture, match=r"it has 3 pages.*data\.a\.page=0.*`i2i translate --page 0`"):
            look(path)
        for page in (3, -1):
            with pytest.raises(BrokenPicture, match=f"it has pages 0 to 2, and page {page} is asked for"):
                look(path, page=page)
    for page in range(3):
        assert probe(path, page=page) == (20, 24, 1, 8, False, "TIFF", (), 3)
        assert np.array_equal(read(path, page=page).pixels[..., 0], STACK[page])


def test_a_page_of_a_single_one(file):
    path = file(tiff(RGB))
    assert np.array_equal(read(path, page=0).pixels, RGB)
    with pytest.raises(BrokenPicture, match="it has page 0 only, and page 1 is asked for"):
        probe(path, page=1)


def test_a_stack_in_one_compressed_block_is_refused():
    data = tiff(STACK[0], photometric="minisblack", compression="zlib", description='{"shape": [3, 24, 20]}')
    with pytest.raises(BrokenPicture, match="share one compressed block"):
        decode(data, "x.tif", page=1)


def test_volumes_and_thumbnails_are_refused():
    volume = np.zeros((16, 32, 32), np.uint8)
    with pytest.raises(BrokenPicture, match="volume of 16 layers"):
        decode(tiff(volume, photometric="minisblack", volumetric=True, tile=(16, 16, 16)), "x.tif")
    with pytest.raises(BrokenPicture, match="only a reduced picture or a mask"):
        decode(tiff(RGB, subfiletype=1), "x.tif")


# ---------------------------------------------------------------------------------------------------- what is refused


def patched(data: bytes, code: int, value: int, count: int = 1) -> bytes:
    """A little-endian classic TIFF with another count and value of one tag."""
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    place = page.tags[code].offset
    size = 2 if page.tags[code].dtype == 3 else 4
    changed = bytearray(data)
    changed[place + 4 : place + 8] = count.to_bytes(4, "little")
    changed[place + 8 : place + 8 + size] = value.to_bytes(size, "little")
    return bytes(changed)


@pytest.mark.parametrize("compression", ["lzma", "jpeg2000", "webp", "jpegxl"])
def test_methods_of_packing_that_are_not_read_are_named(compression):
    names = {"lzma": "LZMA", "jpeg2000": "JPEG 2000", "webp": "WebP", "jpegxl": "JPEG XL"}
    data = patched(tiff(RGB), 259, {"lzma": 34925, "jpeg2000": 34712, "webp": 50001, "jpegxl": 50002}[compression])
    with pytest.raises(BrokenPicture, match=rf"a method that is not read \({names[compression]}\)"):
        decode(data, "x.tif")


@pytest.mark.parametrize(
    ("colour", "words"), [(8, "CIE Lab"), (6, "YCbCr"), (32803, "camera raw"), (777, "number 777")]
)
def test_colours_that_are_not_read_are_named(colour, words):
    with pytest.raises(BrokenPicture, match=rf"of a kind that is not read \(.*{words}\)"):
        decode(patched(tiff(RGB), 262, colour), "x.tif")


def test_a_cut_file_is_refused_wherever_it_is_cut():
    for options in ({}, {"compression": "lzw"}, {"tile": (16, 16), "compression": "zlib"}, {"compression": "jpeg"}):
        data = tiff(RGB, **options)
        for length in [*range(0, len(data), max(1, len(data) // 40)), *(len(data) - n for n in (1, 2, 3, 9))]:
            with pytest.raises(BrokenPicture):
                decode(data[:length], "x.tif")
    with pytest.raises(BrokenPicture, match=r"it is cut off: its pixels end at byte [\d,]+ and the file at [\d,]+"):
        decode(tiff(RGB)[:-10], "x.tif")


def test_blocks_that_were_never_written_are_refused():
    data = tiff(RGB, rowsperstrip=24)
    with pytest.raises(BrokenPicture, match="1 of its 1 blocks were never written"):
        decode(patched(data, 279, 0), "x.tif")


def test_too_many_pixels_or_values_are_refused_before_decoding(monkeypatch, tmp_path):
    def never(*_, **__):
        raise AssertionError("decoded")

    huge = patched(patched(tiff(GREY, compression="zlib"), 256, 60_000), 257, 60_000)
    wide = many(20, np.uint8)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", never)
    with pytest.raises(BrokenPicture, match=r"60000 x 60000 = 3,600,000,000 pixels, over the cap"):
        decode(huge, "x.tif")
    (tmp_path / "x.tif").write_bytes(huge)
    assert probe(tmp_path / "x.tif")[:2] == (60_000, 60_000), "the header alone is never too large"
    data = tiff(wide, photometric="minisblack", planarconfig="contig")
    with pytest.raises(
        BrokenPicture, match=r"480 pixels of 20 channels, which count as 2,400, over .* of 2,399\..*=2400"
    ):
        decode(data, "x.tif", max_pixels=2399)
    monkeypatch.undo()
    assert decode(data, "x.tif", max_pixels=2400).pixels.shape == (24, 20, 20)


def test_hostile_directories_end_in_words():
    data = bytearray(tiff(RGB))
    place = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[place : place + 2], "little")
    circle = data.copy()
    circle[place + 2 + 12 * count : place + 6 + 12 * count] = place.to_bytes(4, "little")
    with pytest.raises(BrokenPicture, match="run in a circle"):
        decode(bytes(circle), "x.tif")
    for code, value, many_ in ((273, 8, 2**31), (258, 8, 2**30), (279, 2**32 - 1, 1), (278, 0, 1), (277, 65535, 1)):
        with pytest.raises(BrokenPicture):
            decode(patched(bytes(data), code, value, many_), "x.tif")
    tiled = tiff(RGB, tile=(16, 16))
    for code in (322, 323):
        with pytest.raises(BrokenPicture):
            decode(patched(patched(tiled, 322, 65520), 323, 65520) if code == 322 else patched(tiled, code, 0), "x.tif")


def test_nothing_is_said_on_the_terminal(capfd, caplog):
    odd = patched(tiff(RGB), 296, 99)
    with caplog.at_level(logging.DEBUG):
        decode(odd, "x.tif")
        with pytest.raises(BrokenPicture):
            decode(odd[:-30], "x.tif")
    assert not caplog.records and capfd.readouterr() == ("", "")
