"""WebP: what the file is, from its chunks; pixels by OpenCV."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from i2i.data.formats import by_opencv
from i2i.data.formats.shapes import Format, Header, Unusable, orientation, single

_ANIMATED, _ALPHA, _EXIF = 0x02, 0x10, 0x08  # flags of a VP8X chunk


def _told(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(name, place of its data, length) of every chunk; stops early where the file does. Reads no data."""
    file.seek(4)
    end = 8 + struct.unpack("<I", file.read(4))[0]
    place = 12
    while place + 8 <= end:
        file.seek(place)
        kind, length = struct.unpack("<4sI", file.read(8))
        yield kind, place + 8, length
        place += 8 + length + length % 2


def _header(file: BinaryIO, page: int | None) -> tuple[Header, int]:
    single(page)
    parts = _chunks(file)
    kind, start, _ = next(parts)
    file.seek(start)
    turned = 1
    if kind == b"VP8 ":  # lossy: a frame's tag of 3 bytes, its start code, 14 bits for each side
        head = file.read(10)
        if head[0] & 1 or head[3:6] != b"\x9d\x01\x2a":
            raise ValueError
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", head[6:]))
        alpha = False
    elif kind == b"VP8L":  # lossless: a signature, 14 + 14 bits of side - 1, a bit for alpha
        signature, bits = struct.unpack("<BI", file.read(5))
        if signature != 0x2F:
            raise ValueError
        width, height, alpha = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    elif kind == b"VP8X":  # extended: flags, 24 bits of side - 1
        flags, *sides = struct.unpack("<B3x3s3s", file.read(10))
        width, height = (1 + int.from_bytes(side, "little") for side in sides)
        if flags & _ANIMATED:
            raise Unusable("it is animated; a picture is a still. Save one of its frames as a file of its own")
        alpha = bool(flags & _ALPHA)
        if flags & _EXIF:
            turned = _orientation(file, parts)
    else:
        raise ValueError
    return Header(width, height, 3, 8, alpha, "WebP"), turned


def _orientation(file: BinaryIO, parts: Iterator[tuple[bytes, int, int]]) -> int:
    try:
        start, length = next((start, length) for kind, start, length in parts if kind == b"EXIF")
    except (StopIteration, struct.error):
        return 1
    file.seek(start)
    image = Image.new("L", (1, 1))
    image.info["exif"] = b"Exif\0\0" + file.read(length).removeprefix(b"Exif\0\0")
    return orientation(image)


def _fault(data: bytes, page: int | None) -> str | None:
    end = 8 + int.from_bytes(data[4:8], "little")
    return (
        f"it is cut off: it says it ends at byte {end:,}, and the file does at {len(data):,}"
        if end > len(data)
        else None
    )


FORMAT = Format(_told, _header, _fault, by_opencv.decode)
