"""One reader and one writer of picture files: colours, depths, orientation, and everything that is refused."""

import copy
import io
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from i2i.data import MAX_PIXELS, pictures
from i2i.data.pictures import BrokenPicture, encode, is_picture, probe, read, to_channels, write
from i2i.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]
DEEP = RNG.integers(0, 65536, (12, 17, 3), dtype=np.uint16)
ORIENTATION = 0x0112


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(levels: np.ndarray, depth: int, colour: int, before: bytes = b"", after: bytes = b"", size=None) -> bytes:
    """A PNG of (H, W, C) levels that are written as they are, for what Pillow cannot write."""
    height, width = size or levels.shape[:2]
    if depth < 8:
        bits = np.unpackbits(levels[..., 0][..., None], axis=2)[:, :, -depth:]
        rows = np.packbits(bits.reshape(len(levels), -1), axis=1)
    else:
        rows = levels.astype(levels.dtype.newbyteorder(">")).reshape(len(levels), -1).view(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")


@pytest.fixture
def file(tmp_path):
    def make(data: bytes, name: str = "x.png"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return make


# ---------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_colours_come_as_rgb(file, kind):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    pixels = read(file(saved(Image.fromarray(red), kind))).pixels
    assert pixels.dtype == np.uint8 and pixels.shape == (8, 8, 3)
    assert pixels[..., 0].min() > 250 and pixels[..., 1:].max() < 5


def test_a_jpeg_has_the_pixels_that_pillow_finds(file):
    path = file(saved(Image.fromarray(RGB), "JPEG"), "x.jpg")
    assert np.array_equal(read(path).pixels, np.asarray(Image.open(path)))
    grey = file(saved(Image.fromarray(GREY), "JPEG"), "grey.jpg")
    assert np.array_equal(read(grey).pixels, np.asarray(Image.open(grey))[..., None]) and probe(grey).channels == 1
    cmyk = file(saved(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "cmyk.jpg")
    assert np.abs(read(cmyk).pixels.astype(int) - np.asarray(Image.open(cmyk).convert("RGB"))).max() <= 1
    assert probe(cmyk).changes == ("CMYK",)


def as_pillow(mode):
    return lambda data: np.asarray(Image.open(io.BytesIO(data)).convert(mode))


def its_alpha(data):
    return as_pillow("RGBA")(data)[..., 3]


PALETTE = Image.fromarray(RGB).quantize(16)
KINDS = {  # name: (bytes, channels, depth, the expected pixels, the expected alpha)
    "grey": (saved(Image.fromarray(GREY), "PNG"), 1, 8, GREY, None),
    "rgb": (saved(Image.fromarray(RGB), "PNG"), 3, 8, RGB, None),
    "rgba": (saved(Image.fromarray(np.dstack([RGB, GREY])), "PNG"), 3, 8, RGB, GREY),
    "la": (saved(Image.fromarray(np.dstack([GREY, RGB[..., 1]]), "LA"), "PNG"), 1, 8, GREY, RGB[..., 1]),
    "palette": (saved(PALETTE, "PNG"), 3, 8, as_pillow("RGB"), None),
    "palette with alpha": (saved(PALETTE, "PNG", transparency=3), 3, 8, as_pillow("RGB"), its_alpha),
    "1 bit": (saved(Image.fromarray(GREY > 99), "PNG"), 1, 8, (GREY > 99) * np.uint8(255), None),
    "2 bits": (raw_png(GREY[..., None] % 4, 2, 0), 1, 8, GREY % 4 * 85, None),
    "4 bits": (raw_png(GREY[..., None] % 16, 4, 0), 1, 8, GREY % 16 * 17, None),
    "grey 16": (raw_png(DEEP[..., :1], 16, 0), 1, 16, DEEP[..., 0], None),
    "rgb 16": (raw_png(DEEP, 16, 2), 3, 16, DEEP, None),
    "rgba 16": (raw_png(np.dstack([DEEP, DEEP[..., 1]]), 16, 6), 3, 16, DEEP, DEEP[..., 1]),
    "la 16": (raw_png(DEEP[..., :2], 16, 4), 1, 16, DEEP[..., 0], DEEP[..., 1]),
    "grey with a transparent level": (
        raw_png(GREY[..., None] % 4, 2, 0, before=chunk(b"tRNS", b"\0\2")), 1, 8, GREY % 4 * 85,
        np.where(GREY % 4 == 2, 0, 255)),
    "rgb with a transparent colour": (
        raw_png(RGB, 8, 2, before=chunk(b"tRNS", struct.pack(">HHH", *RGB[0, 0]))), 3, 8, RGB,
        np.where((RGB[0, 0] == RGB).all(axis=2), 0, 255)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_png(file, kind):
    data, channels, depth, expected, alpha = KINDS[kind]
    expected = expected(data) if callable(expected) else expected
    alpha = alpha(data) if callable(alpha) else alpha
    path = file(data)
    picture, header = read(path), probe(path)
    assert picture.pixels.dtype == (np.uint8 if depth == 8 else np.uint16)
    assert np.array_equal(picture.pixels, expected.reshape(12, 17, channels))
    assert picture.pixels.flags.c_contiguous
    assert header == (17, 12, channels, depth, alpha is not None, "PNG", ("palette",) if "palette" in kind else (), 1)
    if alpha is None:
        assert picture.alpha is None
    else:
        assert picture.alpha.dtype == picture.pixels.dtype and np.array_equal(picture.alpha, alpha)


def oriented(value: int, how: str) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    if how == "PNG, behind the pixels":
        return raw_png(RGB, 8, 2, after=chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    return saved(Image.fromarray(RGB), how, exif=exif)


@pytest.mark.parametrize("how", ["JPEG", "PNG", "PNG, behind the pixels"])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_is_applied_as_pillow_applies_it(file, value, how):
    path = file(oriented(value, how))
    image = Image.open(path)
    image.load()
    upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read(path).pixels, upright)
    header = probe(path)
    assert (header.height, header.width) == upright.shape[:2]
    assert header.changes == (("orientation",) if value > 1 else ())
    assert (value == 1) == np.array_equal(upright, np.asarray(image)), "the picture must show a turn"


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_that_cannot_be_read_says_nothing(file, exif, kind):
    path = file(saved(Image.fromarray(RGB), kind, exif=exif))
    assert read(path).pixels.shape == (12, 17, 3) and probe(path).width == 17


def test_an_orientation_that_does_not_exist_is_none(file):
    assert np.array_equal(read(file(oriented(9, "PNG"))).pixels, RGB)


# ---------------------------------------------------------------------------------------------------- what is refused

SMOOTH = Image.fromarray(cv2.GaussianBlur(RNG.integers(0, 256, (64, 80, 3), dtype=np.uint8), (9, 9), 0))
WHOLE = {
    "jpeg": saved(SMOOTH, "JPEG"),
    "jpeg with a thumbnail's end mark": saved(SMOOTH, "JPEG", exif=b"Exif\0\0\xff\xd8\xff\xda\xff\xd9"),
    "progressive jpeg": saved(SMOOTH, "JPEG", progressive=True),
    "jpeg with restart marks": saved(SMOOTH, "JPEG", restart_marker_rows=1),
    "png": saved(SMOOTH, "PNG"),
    "palette png": saved(SMOOTH.quantize(32), "PNG"),
    "16-bit png": raw_png(DEEP, 16, 2),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_cut_file_is_refused_wherever_it_is_cut(file, kind, capfd):
    data = WHOLE[kind]
    assert read(file(data)).pixels.shape[2] == 3
    assert read(file(data + b"what a camera appends" * 9)).pixels.shape[2] == 3
    last = [len(data) - n for n in range(1, 24)]
    for length in [*range(0, len(data), max(1, len(data) // 60)), *last]:
        path = file(data[:length])
        with pytest.raises(BrokenPicture) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: it ") or "header" in caught.value.why
        assert caught.value.path == str(path)
        if length in last and "thumbnail" not in kind:
            assert caught.value.why.startswith("it is cut off")
    if "thumbnail" not in kind:
        assert capfd.readouterr().err == "", "the decoder should not have been asked"


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "png"])
@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"U"])
def test_a_file_whose_rest_was_never_written_is_refused(file, kind, filling):
    data = WHOLE[kind]
    half = len(data) // 2
    with pytest.raises(BrokenPicture):
        read(file(data[:half] + filling * (len(data) - half)))


def test_any_changed_byte_of_a_png_is_noticed(file, capfd):
    for place in range(8, len(KINDS["rgb"][0]), 7):
        data = bytearray(KINDS["rgb"][0])
        data[place] ^= 4
        try:
            pixels = read(file(bytes(data))).pixels
        except BrokenPicture:
            continue
        assert np.array_equal(pixels, RGB), f"byte {place}"
    assert capfd.readouterr().err == "", "the decoder should not have been asked"


def test_no_damage_brings_the_reader_down(file):
    """2,000 files with changed, lost and added bytes: each is read or refused in words."""
    draws, sources = (
        np.random.default_rng(1),
        [*WHOLE.values(), *(kind[0] for kind in KINDS.values()), oriented(6, "JPEG")],
    )
    refused = 0
    for _ in range(2000):
        data = bytearray(sources[draws.integers(len(sources))])
        for place in draws.integers(3, min(len(data), 400), size=draws.integers(1, 5)):
            lost, added = draws.integers(0, 4, size=2)
            data[place : place + lost] = draws.bytes(int(added))
        try:
            assert pictures.decode(bytes(data), "x.png", max_pixels=10**6).pixels.ndim == 3
        except BrokenPicture as error:
            refused += error.why.startswith("it")
    assert 1000 < refused < 2000


def test_too_few_rows_in_a_png_that_is_whole(file):
    with pytest.raises(BrokenPicture):
        read(file(raw_png(RGB[:6], 8, 2, size=(12, 17))))


def test_a_header_that_claims_too_much_is_refused_before_decoding(file, monkeypatch):
    def never(*_):
        raise AssertionError("decoded")

    path = file(raw_png(np.zeros((1, 1, 1), np.uint8), 8, 0, size=(30_000, 30_000)))
    assert probe(path)[:2] == (30_000, 30_000)
    monkeypatch.setattr(cv2, "imdecode", never)
    with pytest.raises(BrokenPicture, match=r"30000 x 30000 = 900,000,000 pixels.*I2I_MAX_PIXELS=900000000"):
        read(path)


def test_the_cap_can_be_moved(file, monkeypatch):
    path = file(KINDS["rgb"][0])
    monkeypatch.setenv("I2I_MAX_PIXELS", str(12 * 17 - 1))
    with pytest.raises(BrokenPicture, match="over the cap of 203"):
        read(path)
    assert read(path, max_pixels=12 * 17).pixels.shape == (12, 17, 3)
    monkeypatch.setenv("I2I_MAX_PIXELS", str(12 * 17))
    assert read(path).pixels.shape == (12, 17, 3)
    monkeypatch.setenv("I2I_MAX_PIXELS", "many")
    with pytest.raises(UserError, match="I2I_MAX_PIXELS=many is not a count"):
        read(path)
    monkeypatch.setenv("I2I_MAX_PIXELS", "")
    assert pictures.pixel_cap() == MAX_PIXELS


OTHERS = {
    "a zip archive": b"PK\x03\x04" + bytes(60),
    "a GIF": saved(Image.fromarray(GREY), "GIF"),
    "a web page (HTML)": b"\n <!DOCTYPE html><html>404</html>",
    "a text": b"not here\n",
    "an empty file": b"",
    "a file of zeros": bytes(100),
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "of no kind known here": b"\x01\x02\x03\x04",
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_contents_are_named_and_refused(file, what):
    path = file(OTHERS[what])
    for look in (read, probe):
        with pytest.raises(BrokenPicture) as caught:
            look(path)
        assert (
            caught.value.why.startswith(f"it is {what}")
            and "PNG, JPEG, WebP, TIFF, BMP and NPY files" in caught.value.why
        )


def test_the_content_counts_not_the_suffix(file):
    path = file(WHOLE["jpeg"], "x.png")
    assert probe(path).format == "JPEG" and read(path).pixels.shape == (64, 80, 3)


def test_what_cannot_be_opened(tmp_path):
    for path in (tmp_path / "missing.png", tmp_path):
        for look in (read, probe):
            with pytest.raises(BrokenPicture, match="it cannot be opened"):
                look(path)


def test_a_broken_picture_can_be_copied():
    error = copy.copy(BrokenPicture("a.png", "it is cut off"))
    assert (error.path, error.why, str(error)) == ("a.png", "it is cut off", "a.png: it is cut off")


# ---------------------------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize("source", [RGB, DEEP], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_what_is_written_is_what_is_read(tmp_path, source, channels, with_alpha):
    pixels, alpha = source[..., :channels], source[..., 1] if with_alpha else None
    path = tmp_path / "x.png"
    write(path, pixels, alpha)
    picture = read(path)
    assert picture.pixels.dtype == source.dtype and np.array_equal(picture.pixels, pixels)
    assert (picture.alpha is None) if alpha is None else np.array_equal(picture.alpha, alpha)
    if source is RGB:
        assert np.array_equal(np.asarray(Image.open(path)).reshape(12, 17, -1)[..., :channels], pixels)


@pytest.mark.parametrize("refusal", [lambda *_: (False, None), cv2.error("disk")], ids=["says no", "raises"])
def test_an_encoder_that_fails_is_an_error_and_writes_nothing(tmp_path, monkeypatch, refusal):
    def fail(*args):
        if isinstance(refusal, Exception):
            raise refusal
        return refusal(*args)

    monkeypatch.setattr(cv2, "imencode", fail)
    with pytest.raises(UserError, match="could not be encoded"):
        write(tmp_path / "x.png", RGB)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pixels", "alpha"),
    [
        (RGB.astype(np.float32), None),
        (RGB[..., :2], None),
        (GREY, None),
        (RGB[:0], None),
        (RGB, DEEP[..., 0]),
        (RGB, GREY[:5]),
    ],
)
def test_what_a_png_cannot_hold_is_refused(pixels, alpha):
    with pytest.raises(ValueError, match="fit"):
        encode(pixels, alpha)


def test_grey_is_replicated_and_nothing_else_is_converted():
    grey = GREY[..., None]
    assert np.array_equal(to_channels(grey, 3, "x"), np.dstack([GREY] * 3))
    assert to_channels(RGB, 3, "x") is RGB and to_channels(grey, 1, "x") is grey
    with pytest.raises(UserError, match=r"^dir/x.png: it has 3 channels and 1 is asked for.*grey"):
        to_channels(RGB, 1, "dir/x.png")


def test_which_names_are_pictures():
    assert all(
        map(is_picture, ["a.png", "b/c.JPG", "d.e.Jpeg", "x y.PNG", "a.TIF", "a.tiff", "a.webp", "a.bmp", "a.npy"])
    )
    assert not any(map(is_picture, [".a.png", "b/.c.jpg", "a.txt", "png", "a.png.part", "a.gif", "a.npz", ""]))


def test_reading_pictures_imports_little():
    """Translation reads pictures: it should not wait for albumentations, nor OpenCV keep the lower cap."""
    look = "import os, sys, i2i.data.pictures\n"
    look += "print('albumentations' in sys.modules, os.environ['OPENCV_IO_MAX_IMAGE_PIXELS'])"
    for given, cap in ({}, 1 << 30), ({"I2I_MAX_PIXELS": "5000000000"}, 5_000_000_000):
        environment = {key: value for key, value in os.environ.items() if "MAX" not in key}
        done = subprocess.run(
            [sys.executable, "-c", look], env={**environment, **given}, capture_output=True, text=True
        )
        assert done.stdout.split() == ["False", str(cap)], done.stderr


def test_the_real_sets_read_as_pillow_reads_them(real_data):
    for name, folder in (("facades", "train"), ("horse2zebra", "trainB"), ("maps", "val")):
        for path in sorted((real_data(name) / folder).glob("*.jpg"))[:5]:
            picture, header = read(path), probe(path)
            with Image.open(path) as image:
                assert np.array_equal(picture.pixels.squeeze(), np.asarray(image))
                assert (header.width, header.height) == image.size and header.channels == picture.pixels.shape[2]
