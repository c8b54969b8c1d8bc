"""Damaged files of every format: a picture of the header's shape, or BrokenPicture; never more."""

import io
import resource

import numpy as np
import pytest
import tifffile
from drawn import DEEP, FLOATS, GREY, RGB, by_pillow, many, npy, tiff
from PIL import Image

from i2i.data.formats.carried import Carried, Tag
from i2i.data.pictures import FORMATS, BrokenPicture, decode, encode, probe

CAP = 10**6
ALPHA = np.dstack([RGB, GREY])


def stack() -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, np.stack([GREY] * 3), imagej=True)
    return out.getvalue()


SOURCES = {
    "PNG": by_pillow(RGB, "PNG"),
    "JPEG": by_pillow(RGB, "JPEG"),
    "WebP": by_pillow(RGB, "WEBP"),
    "WebP lossless": by_pillow(RGB, "WEBP", lossless=True),
    "WebP alpha": by_pillow(ALPHA, "WEBP"),
    "BMP": by_pillow(RGB, "BMP"),
    "BMP palette": by_pillow(Image.fromarray(RGB).quantize(16), "BMP"),
    "BMP 1 bit": by_pillow(GREY > 99, "BMP"),
    "NPY": npy(RGB),
    "NPY floats": npy(many(7, np.float64)),
    "NPY 2": npy(np.asfortranarray(DEEP), (2, 0)),
    "TIFF": tiff(RGB),
    "TIFF LZW": tiff(RGB, compression="lzw", predictor=2),
    "TIFF tiles": tiff(RGB, compression="zlib", tile=(16, 16)),
    "TIFF zstd": tiff(DEEP, compression="zstd"),
    "TIFF PackBits": tiff(RGB, compression="packbits"),
    "TIFF JPEG": tiff(RGB, compression="jpeg"),
    "TIFF JPEG tiles": tiff(RGB, compression="jpeg", tile=(16, 16)),
    "TIFF Big": tiff(DEEP, bigtiff=True, byteorder=">"),
    "TIFF planes": tiff(np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate", compression="lzw"),
    "TIFF floats": tiff(FLOATS, photometric="rgb", compression="zlib", predictor=3),
    "TIFF fax": by_pillow(GREY > 99, "TIFF", compression="group4"),
    "TIFF palette": by_pillow(Image.fromarray(RGB).quantize(16), "TIFF"),
    "TIFF CMYK": by_pillow(Image.fromarray(RGB).convert("CMYK"), "TIFF"),
    "TIFF pages": tiff(np.stack([GREY] * 3), photometric="minisblack"),
    "TIFF stack": stack(),
    "TIFF map": encode(RGB, GREY, Carried((Tag(33550, 12, 3, bytes(24)),), 3, "255"), "TIFF"),
}


def check(data: bytes, path) -> bool:
    """Whether the bytes are a picture; raises for anything but a picture or BrokenPicture."""
    good = False
    for page in (None, 1) if data[:2] in (b"II", b"MM") else (None,):
        path.write_bytes(data)
        try:
            header = probe(path, page=page)
        except BrokenPicture:
            with pytest.raises(BrokenPicture):
                decode(data, path, page=page, max_pixels=CAP)
            continue
        try:
            pixels, alpha, carried = decode(data, path, page=page, max_pixels=CAP)
        except BrokenPicture as error:
            assert error.why.startswith(("it ", "its ", f"{len(data)}")) or error.why[0].isdigit(), error.why
            continue
        assert pixels.shape == (header.height, header.width, header.channels)
        assert pixels.dtype == {8: np.uint8, 16: np.uint16, 32: np.float32}[header.depth]
        assert pixels.dtype != np.float32 or np.isfinite(pixels).all()
        assert alpha is None or (alpha.shape, alpha.dtype) == (pixels.shape[:2], pixels.dtype)
        if carried is not None:
            again = decode(encode(pixels, alpha, carried, "TIFF"), "again.tif")
            assert again.pixels.shape == pixels.shape
        good = True
    return good


def changed(data: bytes, draws: np.random.Generator) -> bytes:
    """A few bytes set to telling values, lost or added, mostly where the header is."""
    out = bytearray(data)
    end = min(len(out), 400) if draws.random() < 0.7 else len(out)
    for place in draws.integers(2, end, size=draws.integers(1, 4)):
        if place < len(out) and draws.random() < 0.6:
            out[place] = draws.choice([0, 255, 1, 127, 128, draws.integers(256)])
        else:
            lost, added = draws.integers(0, 4, size=2)
            out[place : place + lost] = draws.bytes(int(added))
    return bytes(out)


def fuzzed(kind: str, cuts: int, changes: int, path) -> None:
    data, draws = SOURCES[kind], np.random.default_rng(len(kind))
    assert check(data, path), "whole, it is a picture"
    for length in range(0, len(data), max(1, len(data) // cuts)):
        check(data[:length], path)
    found = sum(check(changed(data, draws), path) for _ in range(changes))
    assert found < changes, "some damage is noticed"


def test_every_format_is_among_them():
    assert {kind.split()[0] for kind in SOURCES} == set(FORMATS)


@pytest.mark.parametrize("kind", SOURCES)
def test_no_damage_brings_a_reader_down(kind, tmp_path):
    fuzzed(kind, 15, 30, tmp_path / "x")


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
def test_much_damage_does_neither_and_costs_no_memory(kind, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzzed(kind, 400, 2000, tmp_path / "x")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 200, f"{grown:.0f} MB, of pictures of at most {CAP:,} pixels"
