"""WebP, BMP and NPY: what is read as it was written, and what is refused in words."""

import struct

import numpy as np
import pytest
from drawn import DEEP, FLOATS, GREY, RGB, by_pillow, many, npy
from PIL import Image, ImageOps

from i2i.data.formats import npy as reader
from i2i.data.pictures import BrokenPicture, decode, encode, probe, read


@pytest.fixture
def file(tmp_path):
    def make(data: bytes, name: str = "x.png"):  # whatever it is called: contents count
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return make


def cuts(data: bytes):
    """What is left of a file, cut at every few bytes and near its end."""
    yield from (data[:length] for length in range(0, len(data), max(1, len(data) // 50)))
    yield from (data[:-length] for length in range(1, 12))


# ---------------------------------------------------------------------------------------------------- WebP


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("lossless", [False, True])
def test_webp(file, lossless, alpha):
    given = np.dstack([RGB, GREY]) if alpha else RGB
    data = by_pillow(given, "WEBP", lossless=lossless, exact=True)
    path = file(data)
    header, picture = probe(path), read(path)
    assert header == (20, 24, 3, 8, alpha, "WebP", (), 1)
    with Image.open(path) as image:
        assert np.array_equal(picture.pixels, np.asarray(image)[..., :3])
    assert np.array_equal(picture.alpha, GREY) if alpha else picture.alpha is None
    assert np.array_equal(picture.pixels, RGB) == lossless
    for cut in cuts(data):
        with pytest.raises(BrokenPicture):
            decode(cut, "x.webp")
    with pytest.raises(BrokenPicture, match=r"it is cut off: it says it ends at byte [\d,]+, and the file does at"):
        decode(data[:-3], "x.webp")


@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_of_a_webp_is_applied_as_pillow_applies_it(file, value):
    exif = Image.Exif()
    exif[0x0112] = value
    path = file(by_pillow(RGB, "WEBP", lossless=True, exif=exif))
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read(path).pixels, upright)
    header = probe(path)
    assert (header.height, header.width) == upright.shape[:2]
    assert header.changes == (("orientation",) if value > 1 else ())


def test_an_animation_is_refused(file):
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    path = file(by_pillow(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    for look in (probe, read):
        with pytest.raises(BrokenPicture, match="it is animated; a picture is a still"):
            look(path)


# ---------------------------------------------------------------------------------------------------- BMP


def bmp32(levels: np.ndarray, masks: bytes = b"") -> bytes:
    """A BMP of 32 bits; with masks of version 4, whose last one is alpha."""
    height, width = levels.shape[:2]
    info = struct.pack("<IiiHHIIiiII", 108 if masks else 40, width, -height, 1, 32, 3 if masks else 0, 0, 0, 0, 0, 0)
    info += masks.ljust(68, b"\0") if masks else b""
    body = np.ascontiguousarray(levels[..., [2, 1, 0, 3]]).tobytes()
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + body


ALPHA_MASKS = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
BMPS = {  # name: (bytes, channels, pixels, alpha, changes)
    "24 bits": (by_pillow(RGB, "BMP"), RGB, None, ()),
    "grey": (by_pillow(GREY, "BMP"), GREY[..., None], None, ()),
    "1 bit": (by_pillow(GREY > 99, "BMP"), (GREY > 99)[..., None] * np.uint8(255), None, ()),
    "palette": (by_pillow(Image.fromarray(RGB).quantize(16), "BMP"), None, None, ("palette",)),
    "32 bits": (bmp32(np.dstack([RGB, 0 * GREY])), RGB, None, ()),
    "32 bits with alpha": (bmp32(np.dstack([RGB, GREY]), ALPHA_MASKS), RGB, GREY, ()),
}


@pytest.mark.parametrize("kind", BMPS)
def test_bmp(file, kind):
    data, pixels, alpha, changes = BMPS[kind]
    path = file(data)
    header, picture = probe(path), read(path)
    if pixels is None:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    assert header == (20, 24, pixels.shape[2], 8, alpha is not None, "BMP", changes, 1)
    assert np.array_equal(picture.pixels, pixels)
    assert picture.alpha is None if alpha is None else np.array_equal(picture.alpha, alpha)
    for cut in cuts(data):
        with pytest.raises(BrokenPicture):
            decode(cut, "x.bmp")


def four_bits() -> bytes:
    """3 x 2 places in a palette of 16 colours, packed two a byte, bottom row first."""
    palette = b"".join(bytes((n, 2 * n, 3 * n, 0)) for n in range(16))
    info = struct.pack("<IiiHHIIiiII", 40, 3, 2, 1, 4, 0, 0, 0, 0, 16, 0)
    body = bytes((0x12, 0x30, 0, 0, 0xAB, 0xC0, 0, 0))
    return b"BM" + struct.pack("<IHHI", 54 + 64 + 8, 0, 0, 54 + 64) + info + palette + body


def test_a_bmp_of_four_bits():
    picture = decode(four_bits(), "x.bmp")
    assert picture.pixels[:, :, 2].tolist() == [[10, 11, 12], [1, 2, 3]]
    assert picture.pixels[0, 0].tolist() == [30, 20, 10]


def test_a_packed_bmp_and_its_end():
    """Run lengths: 3 pixels of level 7, end of row, 3 of level 9, end."""
    palette = b"".join(bytes((n, n, n, 0)) for n in range(256))
    body = bytes((3, 7, 0, 0, 3, 9, 0, 1))
    info = struct.pack("<IiiHHIIiiII", 40, 3, 2, 1, 8, 1, len(body), 0, 0, 256, 0)
    data = b"BM" + struct.pack("<IHHI", 54 + 1024 + 8, 0, 0, 54 + 1024) + info + palette + body
    assert decode(data, "x.bmp").pixels[..., 0].tolist() == [[9, 9, 9], [7, 7, 7]]
    with pytest.raises(BrokenPicture, match="it is cut off"):
        decode(data[:-2], "x.bmp")


def test_a_text_that_begins_with_bm_is_no_picture(file):
    with pytest.raises(BrokenPicture, match="it is a BMP|it is a text"):
        read(file(b"BMW and others, in alphabetical order\n"))


# ---------------------------------------------------------------------------------------------------- NPY


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("channels", [None, 1, 3, 4, 7, 20])
def test_npy(file, version, order, byteorder, channels):
    for dtype, depth, change in (
        ("u1", 8, ()), ("u2", 16, ()), ("f4", 32, ()), ("f2", 32, ("float16",)), ("f8", 32, ("float64",)),
        ("i2", 32, ("integers",)), ("i4", 32, ("integers",)),
    ):  # fmt: skip
        array = many(channels or 1, np.uint8).astype(byteorder + dtype)
        array = np.asarray(array if channels else array[..., 0], order=order)
        path = file(npy(array, version), "x.npy")
        assert probe(path) == (20, 24, channels or 1, depth, False, "NPY", change, 1)
        pixels = read(path).pixels
        assert pixels.dtype == {8: np.uint8, 16: np.uint16, 32: np.float32}[depth] and pixels.flags.c_contiguous
        assert pixels.dtype.isnative and pixels.flags.writeable
        assert np.array_equal(pixels.reshape(array.shape), array)


def test_truth_values_are_black_and_white():
    assert np.array_equal(decode(npy(GREY > 99), "x.npy").pixels[..., 0], (GREY > 99) * np.uint8(255))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[1, "a"]], object), "holds Python objects, which are never loaded"),
        (np.zeros(9), r"shape \(9,\); a picture is"),
        (np.zeros((2, 3, 4, 5)), r"shape \(2, 3, 4, 5\); a picture is"),
        (np.zeros((3, 0, 3)), "which has no pixels"),
        (np.zeros((3, 64, 48)), r"looks like \(C, H, W\).*np\.moveaxis\(array, 0, -1\)"),
        (np.zeros((1, 8, 8)), r"looks like \(C, H, W\)"),
        (np.zeros((13, 64, 64)), r"looks like \(C, H, W\)"),
        (np.zeros((4, 4), complex), "numbers of type complex128"),
        (np.zeros((4, 4), "S3"), r"numbers of type \|S3"),
        (np.zeros((4, 4), [("r", "u1"), ("é", "u1")]), "numbers of type"),
        (np.full((2, 2), np.nan), "4 of 4 of its numbers are not finite"),
        (np.full((2, 2), 2**40 + 1), "4 of 4 of its whole numbers are beyond 16,777,216"),
        (np.full((2, 2), 1e300), "not finite, or too large for float32"),
    ],
    ids=str,
)
def test_arrays_that_are_no_pictures(file, array, words):
    with pytest.raises(BrokenPicture, match=words):
        read(file(npy(array), "x.npy"))


def test_flat_pictures_of_many_channels_are_pictures():
    for shape in ((24, 20, 20), (7, 9, 5), (145, 145, 200), (100, 120, 224), (5, 300, 4)):
        assert decode(npy(np.zeros(shape, np.uint8)), "x.npy").pixels.shape == shape


def test_a_cut_array_and_a_header_that_lies(file):
    data = npy(many(3, np.uint16))
    for cut in cuts(data):
        with pytest.raises(BrokenPicture):
            decode(cut, "x.npy")
    with pytest.raises(BrokenPicture, match=r"it is cut off: its array ends at byte [\d,]+ and the file at"):
        decode(data[:-1], "x.npy")
    huge = data.replace(b"(24, 20, 3), }", b"(10**9, 9, 3)}"), data.replace(b"(24, 20, 3), }", b"(99999,99999)}")
    with pytest.raises(BrokenPicture, match="header is damaged"):
        decode(huge[0], "x.npy")
    with pytest.raises(BrokenPicture, match="over the cap"):
        decode(huge[1], "x.npy")
    assert probe(file(huge[1]))[:2] == (99999, 99999), "no number is read for a header"
    with pytest.raises(BrokenPicture, match=r"format 9\.0; 1\.0, 2\.0 and 3\.0 are read"):
        decode(reader.MAGIC + b"\x09\0" + data[8:], "x.npy")


@pytest.mark.parametrize("pixels", [RGB, DEEP, FLOATS, GREY[..., None], many(7, np.uint16)], ids=lambda x: str(x.shape))
def test_what_is_written_as_npy_is_read_by_numpy(file, pixels):
    path = file(encode(pixels, None, None, "NPY"))
    assert np.array_equal(np.load(path, allow_pickle=False), pixels) and np.array_equal(read(path).pixels, pixels)
    both = np.load(file(encode(pixels, pixels[..., 0], None, "NPY")), allow_pickle=False)
    assert both.shape[2] == pixels.shape[2] + 1 and np.array_equal(both[..., -1], pixels[..., 0])


@pytest.mark.parametrize("data", [by_pillow(RGB, kind) for kind in ("WEBP", "BMP", "PNG", "JPEG")] + [npy(RGB)])
def test_a_page_of_a_file_that_has_none(data):
    assert decode(data, "x", page=0).pixels.shape == RGB.shape
    with pytest.raises(BrokenPicture, match="it holds one picture, and page 2 is asked for"):
        decode(data, "x", page=2)
