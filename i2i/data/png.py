"""The chunks of a PNG file: whether it is whole, what follows the pixels, and the kind that OpenCV cannot write."""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

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


def fault(data: bytes, file: BinaryIO) -> str | None:
    """Why the bytes of a PNG are not whole (cut off, or a checksum is wrong), or None. `file` reads the same bytes.

    The decoder would notice too, but writes its own lines to the terminal.
    """
    kind = None
    for kind, start, length in chunks(file):
        end = start + length
        if end + 4 > len(data):
            return f"it is cut off: a part of it ends at byte {end + 4:,} and the file at {len(data):,}"
        critical = kind[:1].isupper()
        if critical and zlib.crc32(memoryview(data)[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return (
                f"it is damaged: the checksum of its part {kind.decode('ascii', 'replace')} at byte {start:,} is wrong"
            )
    return None if kind == b"IEND" else f"it is cut off at byte {len(data):,}"


def encode_grey_alpha(grey: np.ndarray, alpha: np.ndarray) -> bytes:
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
