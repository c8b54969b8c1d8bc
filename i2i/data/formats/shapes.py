"""What the readers of all formats share: a header, a picture, and the error that says why there is none."""

import os
import struct
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from i2i.data.formats.carried import Carried
from i2i.errors import UserError

# what a parser of a damaged file raises: the file's fault, said in words by whoever called it
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    LookupError,
    TypeError,
    EOFError,
    StopIteration,
    ArithmeticError,
    AttributeError,
    AssertionError,
    MemoryError,
    RuntimeError,  # and with it what imagecodecs' decoders raise
)


class BrokenPicture(UserError):
    """A file that cannot be used as a picture: `path`, and `why` in words."""

    def __init__(self, path: str | os.PathLike, why: str):
        super().__init__(f"{path}: {why}")
        self.path, self.why = str(path), why

    def __reduce__(self):
        return type(self), (self.path, self.why)


class Unusable(Exception):
    """Raised by a format whose file is whole and is refused all the same: its text goes on as BrokenPicture's `why`."""


class Header(NamedTuple):
    """What a file says of itself. Width and height are those of the upright picture, after EXIF orientation."""

    width: int
    height: int
    channels: int  # alpha apart, at least 1
    depth: int  # 8, 16, or 32: what reading gives is uint8, uint16, or float32
    alpha: bool
    format: str  # "PNG", "JPEG", "WebP", "TIFF", "BMP" or "NPY"
    changes: tuple[str, ...] = ()  # what reading changes beside alpha: keys of `CHANGES`
    pages: int = 1


class Picture(NamedTuple):
    """Pixels (H, W, C) uint8, uint16 or float32 (finite); C = 3 is RGB.

    Alpha is (H, W) of the same type, or None: 0 is transparent, the highest level (1.0 for floats) opaque.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    carried: Carried | None = None


class Format(NamedTuple):
    """One kind of file. The functions raise any of `DAMAGE` where the file is, and `Unusable` for what is not read."""

    told: Callable[[bytes], bool]  # from the first 64 bytes of a file
    header: Callable[[BinaryIO, int | None], tuple[Header, int]]  # (as stored, before orientation; orientation 1..8)
    fault: Callable[[bytes, int | None], str | None]  # why the bytes are not whole
    decode: Callable[[bytes, Header, int | None], Picture | None]  # pixels as stored, before orientation


CHANGES = {
    "palette": "with a palette, read as RGB",
    "CMYK": "CMYK, read as RGB",
    "orientation": "turned upright as their orientation tag says",
    "alpha": "with alpha, which is set aside",
    "premultiplied": "with colours multiplied by their alpha, which is divided out",
    "white is zero": "of levels that count from white, inverted",
    "integers": "of whole numbers with a sign or of 32 bits and more, read as float32 of the same value",
    "float16": "of 16-bit floats, read as float32 of the same value",
    "float64": "of 64-bit floats, rounded to float32",
    "world file": (
        "placed by a file beside them (.tfw, .aux.xml), which is lost: install the extra `geo` (pip install 'i2i[geo]')"
    ),
}  # in words, after "3 of 9 pictures"

_WHERE_ORIENTATION_STANDS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}


def orientation(image: Image.Image) -> int:
    """1..8, from the EXIF or XMP data of an image that Pillow has opened; 1 where there is none that can be read."""
    if not _WHERE_ORIENTATION_STANDS & image.info.keys():
        return 1
    try:
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # the subclass' own decodes a whole PNG
    except Exception:  # EXIF is written by anything; one that cannot be read says nothing
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def single(page: int | None) -> None:
    """Unusable for a page that a format of one picture a file cannot have."""
    if page:
        raise Unusable(
            f"it holds one picture, and page {page} is asked for. Pages count from 0; ask for none, or for 0"
        )
