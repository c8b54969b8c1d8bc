"""PNG: read and written by OpenCV; whether a file is whole is told from its chunks."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import cv2
import numpy as np
from PIL import PngImagePlugin

from i2i.data.formats import by_opencv
from i2i.data.formats.shapes import Format, Header, Picture, orientation, single
from i2i.errors import UserError

MAGIC = b"\x89PNG\r\n\x1a\n"


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(name, place of its data, length) of every chunk up to IEND; stops early where the file does. Reads no data."""
    place = len(MAGIC)
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield kind, place + 8, length
        if kind == b"IEND":
            return
        place += 12 + length


def _told(head: bytes) -> bool:
    return head.startswith(MAGIC)


def _header(file: BinaryIO, page: int | None) -> tuple[Header, int]:
    single(page)
    image = PngImagePlugin.PngImageFile(file)
    file.seek(24)
    depth, colour = file.read(2)
    if "exif" not in image.info:  # it may stand behind the pixels, where Pillow looks only after decoding them all
        for kind, start, length in chunks(file):
            if kind == b"eXIf":
                file.seek(start)
                image.info["exif"] = b"Exif\0\0" + file.read(length)
    alpha = colour in (4, 6) or "transparency" in image.info
    channels = 1 if colour in (0, 4) else 3
    changes = ("palette",) if colour == 3 else ()
    return Header(image.width, image.height, channels, max(8, depth), alpha, "PNG", changes), orientation(image)


def _fault(data: bytes, page: int | None) -> str | None:
    """Cut off, or a checksum is wrong. The decoder would notice too, but writes its own lines to the terminal."""
    kind = None
    for kind, start, length in chunks(io.BytesIO(data)):
        end = start + length
        if end + 4 > len(data):
            return f"it is cut off: a part of it ends at byte {end + 4:,} and the file at {len(data):,}"
        critical = kind[:1].isupper()
        if critical and zlib.crc32(memoryview(data)[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return (
                f"it is damaged: the checksum of its part {kind.decode('ascii', 'replace')} at byte {start:,} is wrong"
            )
    return None if kind == b"IEND" else f"it is cut off at byte {len(data):,}"


def _decode(data: bytes, header: Header, page: int | None) -> Picture | None:
    picture = by_opencv.decode(data, header)
    if picture is None or picture.alpha is not None or not header.alpha or header.channels == 3:
        return picture
    return picture._replace(alpha=_grey_key(data, picture.pixels[:, :, 0]))


def _grey_key(data: bytes, grey: np.ndarray) -> np.ndarray | None:
    """Alpha (H, W) of a grey PNG that names one level as transparent, which OpenCV passes over."""
    top = np.iinfo(grey.dtype).max
    stored_top = 2 ** data[24] - 1
    key = next(
        int.from_bytes(data[start : start + 2], "big") for kind, start, _ in chunks(io.BytesIO(data)) if kind == b"tRNS"
    )
    return np.where(grey == key * (top // stored_top), 0, top).astype(grey.dtype)


FORMAT = Format(_told, _header, _fault, _decode)


# ------------------------------------------------------------------------------------------------------- writing


def encode(pixels: np.ndarray, alpha: np.ndarray | None) -> bytes:
    """PNG bytes of pixels (H, W, 1 or 3) uint8 or uint16, RGB, with alpha (H, W) of the same type.

    Raises:
        ValueError: other types or shapes. UserError: the encoder refused.
    """
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.shape[2] not in (1, 3):
        raise ValueError(
            f"pixels {pixels.dtype} {pixels.shape} do not fit a PNG. Give uint8 or uint16, (H, W, 1) or (H, W, 3)."
        )
    if alpha is not None and pixels.shape[2] == 1:
        return _grey_alpha(pixels[:, :, 0], alpha)
    bgr = pixels[:, :, ::-1]
    bgr = np.ascontiguousarray(bgr if alpha is None else np.dstack([bgr, alpha]))
    try:
        done, data = cv2.imencode(".png", bgr)
    except cv2.error as error:
        raise UserError(f"a picture {pixels.shape} could not be encoded as PNG ({error}).") from None
    if not done:
        raise UserError(f"a picture {pixels.shape} could not be encoded as PNG (OpenCV gives no reason).")
    return data.tobytes()


def _grey_alpha(grey: np.ndarray, alpha: np.ndarray) -> bytes:
    """(H, W), (H, W) of uint8 or uint16 -> PNG of colour type 4, which OpenCV reads but cannot write."""
    height, width = grey.shape
    depth = 8 * grey.itemsize
    both = np.stack([grey, alpha], axis=-1)
    rows = both.astype(both.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    rows = np.hstack([np.zeros((height, 1), np.uint8), rows])  # filter 0 in front of every row
    head = struct.pack(">IIBBBBB", width, height, depth, 4, 0, 0, 0)
    return MAGIC + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
