"""TIFF, by tifffile: any number of channels, 1 to 64 bits, strips and tiles, of either byte order, classic and Big.

Read: uncompressed, LZW, deflate, zstd, PackBits, CCITT and JPEG. Grey (also counted from white), RGB, palette, CMYK,
YCbCr in JPEG. Extra samples that are alpha are alpha (colours multiplied by it are divided again), others are channels.
"""

import io
import math
from typing import BinaryIO

import numpy as np

from i2i.data import MAX_PIXELS
from i2i.data.formats import colours, nodata, numbers, tags, tiffpages
from i2i.data.formats.carried import PLACE
from i2i.data.formats.shapes import Format, Header, Picture, Unusable
from i2i.data.formats.tiffpages import Page
from i2i.data.formats.tiffwrite import encode

__all__ = ["FORMAT", "encode"]

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {4: "a mask", 8: "CIE Lab", 9: "CIE Lab", 10: "CIE Lab", 32803: "camera raw", 34892: "camera raw"}
_PACKED = {1: "none", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 7: "JPEG", 8: "deflate"}
_PACKED |= {32773: "PackBits", 32946: "deflate", 50000: "zstd"}
_UNREAD = {6: "JPEG of the old kind", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50001: "WebP", 50002: "JPEG XL"}
JPEG = 7


def _header(file: BinaryIO, page: int | None) -> tuple[Header, int]:
    with tiffpages.opened(file, page) as found:
        return _described(found)


def is_placed(file: BinaryIO, page: int | None) -> bool:
    """Whether the tags of a page say where its pixels lie."""
    with tiffpages.opened(file, page) as found:
        return any(code in found.page.tags for code in PLACE)


def _described(found: Page) -> tuple[Header, int]:
    page = found.page
    _usable(page)
    colour, alpha = _photometric(page), _alpha(page)
    inks = page.samplesperpixel - (alpha is not None)
    depth, changes = _depth(page, colour)
    if colour == PALETTE:
        channels, depth, changes = 3, 8, ("palette",)
    elif colour == CMYK:
        channels, changes = 3, ("CMYK",)
    else:
        channels = inks
    if colour == WHITE_IS_ZERO:
        changes = (*changes, "white is zero")
    if alpha is not None and _extra(page)[alpha - page.samplesperpixel] == 1:
        changes = (*changes, "premultiplied")
    header = Header(page.imagewidth, page.imagelength, channels, depth, alpha is not None, "TIFF", changes, found.pages)
    turned = page.tags.valueof(274, 1)
    if not isinstance(turned, int) or not 1 <= turned <= 8 or any(code in page.tags for code in PLACE):
        turned = 1  # a map's transform speaks of rows and columns as they are stored
    return header, int(turned)


def _usable(page) -> None:
    """Unusable for what is not read, ValueError for what cannot be."""
    sides = (page.imagewidth, page.imagelength, page.samplesperpixel, page.imagedepth, page.tiledepth or 1)
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError
    if page.imagedepth > 1 or (page.is_tiled and page.tiledepth > 1):
        raise Unusable(f"it is a volume of {page.imagedepth} layers; a picture has one. Save the layers as files")
    if page.compression not in _PACKED:
        name = _UNREAD.get(page.compression, f"of number {int(page.compression)}")
        raise Unusable(
            f"its pixels are packed by a method that is not read ({name}). Save it with deflate or LZW compression"
        )
    if page.is_tiled:
        sides = (page.tilewidth, page.tilelength)
        if not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError
        if sides[0] * sides[1] * max(4, page.samplesperpixel) > 4 * MAX_PIXELS:
            raise ValueError  # one block of these takes more memory than a picture may, whatever the picture's sides
    if not isinstance(page.bitspersample, int) or page.dtype is None or page.dtype.kind == "c":
        raise Unusable(
            f"it has {page.bitspersample} bits a channel of sample format {page.sampleformat}, which is not read. "
            "Save it with 8 or 16 bits, or as 32-bit floats"
        )


def _photometric(page) -> int:
    """One of the six kinds of colour that are read."""
    colour = int(page.photometric) if 262 in page.tags else BLACK_IS_ZERO
    spp = page.samplesperpixel
    inks = spp - len(_extra(page))
    if colour == YCBCR and page.compression == JPEG and spp == 3:
        return RGB  # tifffile has the decoder convert it
    if colour == WHITE_IS_ZERO and (inks > 1 or page.dtype.kind not in "bu"):
        raise Unusable("its levels count from white, which is read for one channel of whole numbers without a sign")
    if colour == CMYK and (inks != 4 or page.tags.valueof(332, 1) != 1 or page.dtype.itemsize > 2):
        raise Unusable(
            f"it is made of {inks} inks of {page.bitspersample} bits; of pictures for print, CMYK of 8 or 16 bits is "
            "read. Convert it to RGB"
        )
    if colour == PALETTE and (inks != 1 or page.dtype.kind not in "bu" or page.colormap is None):
        raise ValueError
    if colour == RGB and spp < 3:
        raise ValueError
    if colour not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK):
        name = _COLOURS.get(colour, "YCbCr" if colour == YCBCR else f"of number {colour}")
        raise Unusable(f"its colours are of a kind that is not read ({name}). Convert it to grey or RGB")
    return colour


def _extra(page) -> tuple[int, ...]:
    """The meaning of the last samples: 0 not said, 1 alpha that colours are multiplied by, 2 alpha."""
    extra = tuple(map(int, page.extrasamples or ()))
    return extra if len(extra) < page.samplesperpixel else ()


def _alpha(page) -> int | None:
    """Which sample is alpha."""
    extra = _extra(page)
    place = next((place for place, kind in enumerate(extra) if kind in (1, 2)), None)
    return None if place is None else page.samplesperpixel - len(extra) + place


def _depth(page, colour: int) -> tuple[int, tuple[str, ...]]:
    depth, changes = numbers.depth(page.dtype)
    if page.dtype.kind in "iu" and page.bitspersample < 8 and page.dtype.kind == "i":
        raise Unusable(f"it has {page.bitspersample} bits with a sign, which is not read")
    return depth, changes


# ------------------------------------------------------------------------------------------------------- whole?


def _fault(data: bytes, page: int | None) -> str | None:
    with tiffpages.opened(io.BytesIO(data), page) as found:
        page_, plane = found.page, found.plane
        if found.pages > 1 and page_.is_contiguous and plane:
            end = page_.dataoffsets[0] + (plane + 1) * _plane_size(page_)
            return _cut(end, data) if end > len(data) else None
        offsets, counts = page_.dataoffsets, page_.databytecounts
        wanted = math.prod(page_.chunked) if page_.is_tiled else _strips(page_)
        if min(len(offsets), len(counts)) < wanted:
            return f"it is damaged: {min(len(offsets), len(counts))} of its {wanted} blocks are listed"
        empty = 0
        for offset, count in zip(offsets[:wanted], counts[:wanted]):
            if offset + count > len(data):
                return _cut(offset + count, data)
            empty += not (offset and count)
        if empty and page_.tags.get(tags.GDAL_NODATA) is None:
            return f"{empty} of its {wanted} blocks were never written"
        if page_.compression == JPEG:
            return colours.jpeg_fault(page_, data)
        return None


def _cut(end: int, data: bytes) -> str:
    return f"it is cut off: its pixels end at byte {end:,} and the file at {len(data):,}"


def _strips(page) -> int:
    rows = page.rowsperstrip
    if not isinstance(rows, int) or rows < 1:
        raise ValueError
    return -(-page.imagelength // rows) * (page.samplesperpixel if page.planarconfig == 2 else 1)


def _plane_size(page) -> int:
    return math.prod(page.shaped) * page.dtype.itemsize


# ------------------------------------------------------------------------------------------------------- pixels


def _decode(data: bytes, header: Header, page: int | None) -> Picture:
    with tiffpages.opened(io.BytesIO(data), page) as found:
        samples = _samples(found, data)
        return _pictured(found.page, samples, header)


def _samples(found: Page, data: bytes) -> np.ndarray:
    """(H, W, samples) of the file's type, in native order."""
    page = found.page
    if found.plane:
        if not page.is_contiguous:
            raise Unusable("its pages share one compressed block, which is not read. Save them as pages of their own")
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        size, start = _plane_size(page), page.dataoffsets[0]
        flat = np.frombuffer(data, dtype, math.prod(page.shaped), start + found.plane * size)
        whole = flat.reshape(page.shaped).astype(page.dtype)
    else:
        whole = page.asarray(squeeze=False, maxworkers=1)
    planes, _, height, width, samples = whole.shape  # (planes, 1, H, W, samples); one of the two counts is 1
    return np.moveaxis(whole.reshape(planes, height, width, samples), 0, -2).reshape(height, width, planes * samples)


def _pictured(page, samples: np.ndarray, header: Header) -> Picture:
    carried = tags.read(page, header.channels, header.changes)
    alpha_at, colour = _alpha(page), _photometric(page)
    inks = samples if alpha_at is None else np.delete(samples, alpha_at, axis=2)
    alpha = None if alpha_at is None else _scaled(samples[:, :, alpha_at : alpha_at + 1], page)[:, :, 0]
    inks, mask = nodata.taken_out(inks, carried.nodata)
    if colour == PALETTE:
        pixels = colours.from_palette(inks[:, :, 0], np.asarray(page.colormap))
        alpha = None if alpha is None else colours.to_8_bits(alpha)
    else:
        pixels = _scaled(inks, page)
    if colour == CMYK:
        pixels = colours.from_cmyk(pixels)
    if colour == WHITE_IS_ZERO:
        pixels = np.iinfo(pixels.dtype).max - pixels
    if "premultiplied" in header.changes:
        pixels = colours.unpremultiplied(pixels, alpha)
    if mask is not None:
        pixels[mask] = nodata.stand_in(pixels, mask)
        carried = nodata.with_mask(carried, mask)
    return Picture(pixels, alpha, carried)


def _scaled(samples: np.ndarray, page) -> np.ndarray:
    """As uint8, uint16 or float32. Fewer than 8 bits fill 0..255; 9 to 15 bits keep their levels."""
    made = numbers.levels(samples)
    bits = page.bitspersample
    if 1 < bits < 8:
        top = 2**bits - 1
        made = ((made.astype(np.uint16) * 255 + top // 2) // top).astype(np.uint8)
    return made


FORMAT = Format(tiffpages.told, _header, _fault, _decode)
