"""Numbers of any type -> the three that pictures have: uint8, uint16 and float32. For formats that hold anything."""

import numpy as np

from i2i.data.formats.shapes import Unusable

_CHANGES = {"f2": ("float16",), "f4": (), "f8": ("float64",)}


def depth(dtype: np.dtype) -> tuple[int, tuple[str, ...]]:
    """(8, 16 or 32, what becoming it changes) of a type. Unusable for types that are no levels."""
    kind = dtype.kind + str(dtype.itemsize)
    if kind in ("b1", "u1"):
        return 8, ()
    if kind == "u2":
        return 16, ()
    if kind in _CHANGES:
        return 32, _CHANGES[kind]
    if dtype.kind in "iu":
        return 32, ("integers",)
    raise Unusable(f"it holds numbers of type {dtype}; whole numbers and floats of up to 64 bits are read")


def levels(array: np.ndarray) -> np.ndarray:
    """An array as uint8, uint16 or float32, its own memory, native and contiguous.

    Truth values become 0 and 255. Whole numbers with a sign or of 32 and more bits become float32 of exactly the same
    value; 64-bit floats are rounded to it.

    Raises:
        Unusable: a number that is not finite, or a whole number that float32 cannot hold.
    """
    if array.dtype.kind == "b":
        return np.ascontiguousarray(array).astype(np.uint8) * np.uint8(255)
    target = {8: np.uint8, 16: np.uint16, 32: np.float32}[depth(array.dtype)[0]]
    with np.errstate(over="ignore"):
        made = np.array(array, target, order="C")
    if target is not np.float32:
        return made
    if not np.isfinite(made).all():
        raise Unusable(f"{_share(~np.isfinite(made))} of its numbers are not finite, or too large for float32")
    if array.dtype.kind in "iu" and (wrong := made.astype(np.float64) != array).any():
        raise Unusable(
            f"{_share(wrong)} of its whole numbers are beyond 16,777,216 and have no float32 of the same value. "
            "Divide or shift them first"
        )
    return made


def _share(wrong: np.ndarray) -> str:
    return f"{int(wrong.sum()):,} of {wrong.size:,}"
