"""NPY: one NumPy array, (H, W) or (H, W, C). No object is ever unpickled: the header is read, then plain numbers."""

import io
import tokenize
from typing import BinaryIO

import numpy as np

from i2i.data.formats import numbers
from i2i.data.formats.shapes import Format, Header, Picture, Unusable, single

MAGIC = b"\x93NUMPY"


def _told(head: bytes) -> bool:
    return head.startswith(MAGIC)


def _layout(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, Fortran order, type); leaves `file` at the first number."""
    version = np.lib.format.read_magic(file)
    # version 3 differs from 2 in how names of fields are spelled; arrays with fields are refused anyway
    reader = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
        (3, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if reader is None:
        raise Unusable(f"it is a NumPy array of format {version[0]}.{version[1]}; 1.0, 2.0 and 3.0 are read")
    try:
        return reader(file)
    except tokenize.TokenError as error:  # alone of what NumPy's parser raises not a ValueError
        raise ValueError(str(error)) from None


def _header(file: BinaryIO, page: int | None) -> tuple[Header, int]:
    single(page)
    shape, _, dtype = _layout(file)
    if dtype.hasobject:
        raise Unusable("it holds Python objects, which are never loaded. Save a plain array of numbers")
    if len(shape) not in (2, 3):
        raise Unusable(f"it holds an array of shape {shape}; a picture is (H, W) or (H, W, C)")
    if 0 in shape:
        raise Unusable(f"it holds an array of shape {shape}, which has no pixels")
    if _channels_first(shape):
        raise Unusable(
            f"it holds an array of shape {shape}, which looks like (C, H, W); a picture is (H, W, C). "
            "Save np.moveaxis(array, 0, -1)"
        )
    depth, changes = numbers.depth(dtype)
    height, width, channels = (*shape, 1)[:3]
    return Header(width, height, channels, depth, False, "NPY", changes), 1


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Whether few planes of many pixels each are more likely than a flat picture of very many channels."""
    if len(shape) == 2:
        return False
    first, second, third = shape
    return first < min(second, third) and (first <= 4 or (first <= 32 < third))


def _fault(data: bytes, page: int | None) -> str | None:
    file = io.BytesIO(data)
    shape, _, dtype = _layout(file)
    end = file.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize
    return f"it is cut off: its array ends at byte {end:,} and the file at {len(data):,}" if end > len(data) else None


def _decode(data: bytes, header: Header, page: int | None) -> Picture:
    file = io.BytesIO(data)
    shape, fortran, dtype = _layout(file)
    flat = np.frombuffer(data, dtype, header.width * header.height * header.channels, file.tell())
    array = flat.reshape(shape, order="F" if fortran else "C")
    return Picture(numbers.levels(array[:, :, None] if array.ndim == 2 else array))


def encode(pixels: np.ndarray, alpha: np.ndarray | None) -> bytes:
    """(H, W, C) of any type, alpha as the last channel."""
    out = io.BytesIO()
    np.lib.format.write_array(out, pixels if alpha is None else np.dstack([pixels, alpha]), allow_pickle=False)
    return out.getvalue()


FORMAT = Format(_told, _header, _fault, _decode)
