"""BMP: header and pixels by Pillow."""

import io
from typing import BinaryIO

import numpy as np
from PIL import BmpImagePlugin

from i2i.data.formats.shapes import Format, Header, Picture, single

_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # how long the header is, in the versions there are


def _told(head: bytes) -> bool:
    return head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _HEADERS


def _header(file: BinaryIO, page: int | None) -> tuple[Header, int]:
    single(page)
    image = BmpImagePlugin.BmpImageFile(file)
    channels = {"1": 1, "L": 1, "P": 3, "RGB": 3, "RGBA": 3}[image.mode]
    changes = ("palette",) if image.mode == "P" else ()
    return Header(image.width, image.height, channels, 8, image.mode == "RGBA", "BMP", changes), 1


def _fault(data: bytes, page: int | None) -> str | None:
    """Pixels that are not packed have a known length; how long packed ones are only their decoder knows."""
    size, start, header = (int.from_bytes(data[place : place + 4], "little") for place in (2, 10, 14))
    if header == 12:
        width, height, bits, packing = *np.frombuffer(data, "<u2", 2, 18), data[24], 0
    else:
        width, height = np.frombuffer(data, "<i4", 2, 18)
        bits, packing = data[28], int.from_bytes(data[30:34], "little")
    rows = (int(width) * int(bits) + 31) // 32 * 4 * abs(int(height))
    end = size if packing in (1, 2) else start + rows
    return f"it is cut off: it ends at byte {end:,} and the file at {len(data):,}" if end > len(data) else None


def _decode(data: bytes, header: Header, page: int | None) -> Picture:
    image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
    image.load()
    if header.changes:
        image = image.convert("RGB")
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    if header.alpha:
        return Picture(pixels[:, :, :3], np.ascontiguousarray(pixels[:, :, 3]))
    return Picture(pixels.reshape(header.height, header.width, header.channels))


FORMAT = Format(_told, _header, _fault, _decode)
