"""The idx files of MNIST (LeCun et al., 1998), plain or gzipped: read whole, and believed only where all of it fits.

A file is 0, 0, the type of its values (8: unsigned bytes), the number of dimensions, each dimension as 4 bytes
big-endian, then the values.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from i2i.data import contents
from i2i.errors import UserError

UNSIGNED_BYTES = 8
STEP = 1 << 24  # bytes read at a time: a header may promise more than there is memory for
WHAT = {1: "labels, of 1 dimension", 3: "pictures, of 3 dimensions"}


def read(path: Path, dimensions: int) -> np.ndarray:
    """The values of an idx file: uint8, (N, H, W) of pictures or (N,) of labels; not to be written into.

    Args:
        dimensions: 3 for pictures, 1 for labels.

    Raises:
        UserError: the file cannot be opened, its gzip is damaged, it is no idx file of such values, it holds none, or
            fewer or more of them than its header says.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"  # told by its contents, whatever it is called
            file.seek(0)
            if not zipped:
                return _values(file, path, dimensions)
            with gzip.open(file) as unzipped:
                return _values(unzipped, path, dimensions)
    except EOFError:
        raise UserError(f"{path}: its gzip data are cut off. {_AGAIN}") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: its gzip data are damaged ({error}). {_AGAIN}") from None
    except OSError as error:
        raise UserError(f"{path}: it cannot be opened ({error.strerror or error}).") from None


_AGAIN = "Fetch the file again."


def _values(file: BinaryIO, path: Path, dimensions: int) -> np.ndarray:
    shape = _shape(file, path, dimensions)
    size = int(np.prod(shape, dtype=object))
    counts = " x ".join(map(str, shape))
    if not size:
        raise UserError(f"{path}: its header says {counts} values, so it holds nothing. {_AGAIN}")
    data = bytearray()
    while len(data) < size and (part := file.read(min(STEP, size - len(data)))):
        data += part
    if len(data) < size:
        raise UserError(
            f"{path}: it is cut off: its header says {counts} values, and {len(data):,} are there. {_AGAIN}"
        )
    if file.read(1):  # reads a gzip to its end too, where its checksum stands
        raise UserError(f"{path}: more follows the {counts} values that its header says. {_AGAIN}")
    values = np.frombuffer(data, np.uint8).reshape(shape)
    values.flags.writeable = False
    return values


def _shape(file: BinaryIO, path: Path, dimensions: int) -> tuple[int, ...]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= 8:
        found = contents.name(head + file.read(60))
        raise UserError(f"{path}: it does not begin as an idx file; it is {found}. {_AGAIN}")
    if head[2] != UNSIGNED_BYTES:
        raise UserError(f"{path}: its values are of type 0x{head[2]:02x}; pictures and labels are bytes, 0x08.")
    if head[3] != dimensions:
        raise UserError(f"{path}: it has {head[3]} dimension{'s' * (head[3] > 1)}, and is to hold {WHAT[dimensions]}.")
    counts = file.read(4 * dimensions)
    if len(counts) < 4 * dimensions:
        raise UserError(f"{path}: it is cut off within its header. {_AGAIN}")
    return struct.unpack(f">{dimensions}I", counts)
