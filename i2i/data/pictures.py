"""The one reader of picture files, and the one writer.

Bytes -> what they are -> header against a cap on pixels -> OpenCV -> RGB -> upright -> type and shape checked.
Training, previews and translation all come through here: a picture is the same array everywhere.
"""

import io
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin

from i2i import atomic
from i2i.data import ENV_MAX_PIXELS, MAX_PIXELS, contents, png
from i2i.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")  # in lower case; what a folder is searched for


class BrokenPicture(UserError):
    """A file that cannot be used as a picture: `path`, and `why` in words."""

    def __init__(self, path: str | os.PathLike, why: str):
        super().__init__(f"{path}: {why}")
        self.path, self.why = str(path), why

    def __reduce__(self):
        return type(self), (self.path, self.why)


class Header(NamedTuple):
    """What a file says of itself. Width and height are those of the upright picture, after EXIF orientation."""

    width: int
    height: int
    channels: int  # 1 or 3, alpha apart
    depth: int  # 8 or 16
    alpha: bool
    format: str  # "PNG" or "JPEG"
    changes: tuple[str, ...] = ()  # what reading changes beside alpha: "palette", "CMYK", "orientation"


class Picture(NamedTuple):
    """Pixels (H, W, C) uint8 or uint16, C = 1 or 3 (RGB), and alpha (H, W) of the same type, or None."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None


class Format(NamedTuple):
    """One kind of file. `header` raises any of `DAMAGE` where the header is; `decode` gives pixels as stored."""

    magic: bytes
    header: Callable[[BinaryIO], tuple[Header, int]]  # (as stored, before orientation; EXIF orientation 1..8)
    fault: Callable[[bytes], str | None]  # why the bytes are not whole
    decode: Callable[[bytes, Header], Picture | None]


DAMAGE = (OSError, SyntaxError, ValueError, struct.error, IndexError, KeyError, TypeError, EOFError)


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a file of this name is taken for a picture when a folder is listed. Hidden files are not."""
    name = os.path.basename(path)
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def pixel_cap() -> int:
    """The most pixels that a picture may have: 178,956,970, or what the environment variable I2I_MAX_PIXELS says."""
    text = os.environ.get(ENV_MAX_PIXELS, "")
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{ENV_MAX_PIXELS}={text} is not a count of pixels. Give a whole number, as in {MAX_PIXELS}.")
    return int(text)


def probe(path: str | os.PathLike) -> Header:
    """The header of a file, from its first bytes and its chunk names; no pixel is decoded.

    Raises:
        BrokenPicture: not readable, not a PNG or JPEG, a damaged header.
    """
    try:
        with open(path, "rb", buffering=512) as file:  # a PNG is walked in small steps, each of which fills the buffer
            return _upright(*_header(file, path))
    except OSError as error:
        raise BrokenPicture(path, f"it cannot be opened ({error.strerror or error})") from None


def read(path: str | os.PathLike, *, max_pixels: int | None = None) -> Picture:
    """A whole picture file, upright.

    Args:
        max_pixels: refuse, before decoding, what has more; None takes `pixel_cap()`.

    Raises:
        BrokenPicture: what `probe` refuses; too many pixels; cut off or damaged.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BrokenPicture(path, f"it cannot be opened ({error.strerror or error})") from None
    return decode(data, path, max_pixels=max_pixels)


def decode(data: bytes, path: str | os.PathLike, *, max_pixels: int | None = None) -> Picture:
    """`read` of bytes that are in memory; `path` is the name in errors."""
    header, orientation = _header(io.BytesIO(data), path)
    cap = pixel_cap() if max_pixels is None else max_pixels
    count = header.width * header.height
    if count > cap:
        raise BrokenPicture(
            path,
            f"it has {header.width} x {header.height} = {count:,} pixels, over the cap of {cap:,}. "
            f"If you trust the file, set the environment variable {ENV_MAX_PIXELS}={count}.",
        )
    form = FORMATS[header.format]
    if why := form.fault(data):
        raise BrokenPicture(path, why)
    try:
        picture = form.decode(data, header)
    except (cv2.error, MemoryError) as error:
        raise BrokenPicture(path, f"it cannot be decoded ({str(error).strip().splitlines()[-1]})") from None
    if picture is None:
        raise BrokenPicture(path, "it is damaged: the decoder refuses it")
    pixels, alpha = picture
    if pixels.shape != (header.height, header.width, header.channels) or pixels.dtype.itemsize * 8 != header.depth:
        raise BrokenPicture(path, f"it decodes to {pixels.dtype} {pixels.shape}, which is not what its header says")
    return Picture(_turn(pixels, orientation), None if alpha is None else _turn(alpha, orientation))


def to_channels(pixels: np.ndarray, channels: int, name: str | os.PathLike) -> np.ndarray:
    """(H, W, C) -> (H, W, channels): grey is replicated; any other change is an error that begins with `name`."""
    have = pixels.shape[2]
    if have == channels:
        return pixels
    if have == 1:
        return np.repeat(pixels, channels, axis=2)
    raise UserError(
        f"{name}: it has {have} channels and {channels} {'is' if channels == 1 else 'are'} asked for. "
        f"Only grey is converted (replicated); convert the file, or ask for {have} channels."
    )


def encode(pixels: np.ndarray, alpha: np.ndarray | None = None) -> bytes:
    """PNG bytes of pixels (H, W, 1 or 3) uint8 or uint16, RGB, with alpha (H, W) of the same type.

    Raises:
        ValueError: other types or shapes. UserError: the encoder refused.
    """
    if (
        pixels.dtype not in (np.uint8, np.uint16)
        or pixels.ndim != 3
        or pixels.shape[2] not in (1, 3)
        or not pixels.size
    ):
        raise ValueError(
            f"pixels {pixels.dtype} {pixels.shape} do not fit a PNG. Give uint8 or uint16, (H, W, 1) or (H, W, 3)."
        )
    if alpha is not None and (alpha.dtype != pixels.dtype or alpha.shape != pixels.shape[:2]):
        raise ValueError(
            f"alpha {alpha.dtype} {alpha.shape} does not fit pixels {pixels.dtype} {pixels.shape}. Give its (H, W)."
        )
    if alpha is not None and pixels.shape[2] == 1:
        return png.encode_grey_alpha(pixels[:, :, 0], alpha)
    bgr = pixels[:, :, ::-1]
    bgr = np.ascontiguousarray(bgr if alpha is None else np.dstack([bgr, alpha]))
    try:
        done, data = cv2.imencode(".png", bgr)
    except cv2.error as error:
        raise UserError(f"a picture {pixels.shape} could not be encoded as PNG ({error}).") from None
    if not done:
        raise UserError(f"a picture {pixels.shape} could not be encoded as PNG (OpenCV gives no reason).")
    return data.tobytes()


def write(path: str | os.PathLike, pixels: np.ndarray, alpha: np.ndarray | None = None) -> None:
    """`encode`, then the file whole or not at all. OSError names the path where the disk refuses."""
    atomic.write_bytes(path, encode(pixels, alpha))


# ------------------------------------------------------------------------------------------------------- headers


def _header(file: BinaryIO, path: str | os.PathLike) -> tuple[Header, int]:
    head = file.read(64)
    for form in FORMATS.values():
        if head.startswith(form.magic):
            break
    else:
        known = " and ".join(FORMATS)
        raise BrokenPicture(
            path, f"it is {contents.name(head)}; pictures are read from {known} files. Convert it, or remove it."
        )
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's words on odd EXIF name no file, and change nothing
            header, orientation = form.header(file)
    except DAMAGE:
        raise BrokenPicture(path, "its header is damaged or incomplete") from None
    if not header.width or not header.height:
        raise BrokenPicture(path, f"it says it is {header.width} x {header.height} pixels")
    return header, orientation


def _upright(header: Header, orientation: int) -> Header:
    if orientation == 1:
        return header
    width, height = (header.height, header.width) if orientation >= 5 else (header.width, header.height)
    return header._replace(width=width, height=height, changes=(*header.changes, "orientation"))


def _jpeg_header(file: BinaryIO) -> tuple[Header, int]:
    image = JpegImagePlugin.JpegImageFile(file)  # not Image.open: it tries other formats, and has a cap of its own
    channels = {"L": 1, "RGB": 3, "CMYK": 3}[image.mode]
    changes = ("CMYK",) if image.mode == "CMYK" else ()
    return Header(image.width, image.height, channels, 8, False, "JPEG", changes), _orientation(image)


def _png_header(file: BinaryIO) -> tuple[Header, int]:
    image = PngImagePlugin.PngImageFile(file)
    file.seek(24)
    depth, colour = file.read(2)
    if "exif" not in image.info:  # it may stand behind the pixels, where Pillow looks only after decoding them all
        for kind, start, length in png.chunks(file):
            if kind == b"eXIf":
                file.seek(start)
                image.info["exif"] = b"Exif\0\0" + file.read(length)
    alpha = colour in (4, 6) or "transparency" in image.info
    channels = 1 if colour in (0, 4) else 3
    changes = ("palette",) if colour == 3 else ()
    return Header(image.width, image.height, channels, max(8, depth), alpha, "PNG", changes), _orientation(image)


_WHERE_ORIENTATION_STANDS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}


def _orientation(image: Image.Image) -> int:
    if not _WHERE_ORIENTATION_STANDS & image.info.keys():
        return 1
    try:
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # the subclass' own decodes a whole PNG
    except Exception:  # EXIF is written by anything; one that cannot be read says nothing
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


# ------------------------------------------------------------------------------------------------------- pixels


def _jpeg_fault(data: bytes) -> str | None:
    scan = data.find(b"\xff\xda")
    if scan < 0 or data.rfind(b"\xff\xd9") < scan:
        return f"it is cut off at byte {len(data):,}: the mark of its end is missing"
    return None


def _png_fault(data: bytes) -> str | None:
    return png.fault(data, io.BytesIO(data))


def _decode(data: bytes, header: Header) -> Picture | None:
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None:
        return None
    if raw.ndim == 2:
        return Picture(raw[:, :, None], _grey_key(data, raw) if header.alpha else None)
    alpha = np.ascontiguousarray(raw[:, :, 3]) if raw.shape[2] == 4 and header.alpha else None
    if header.channels == 1:  # grey with alpha comes as BGRA
        return Picture(np.ascontiguousarray(raw[:, :, :1]), alpha)
    return Picture(cv2.cvtColor(raw[:, :, :3], cv2.COLOR_BGR2RGB), alpha)


def _grey_key(data: bytes, grey: np.ndarray) -> np.ndarray | None:
    """Alpha (H, W) of a grey PNG that names one level as transparent, which OpenCV passes over."""
    top = np.iinfo(grey.dtype).max
    stored_top = 2 ** data[24] - 1
    key = next(
        int.from_bytes(data[start : start + 2], "big")
        for kind, start, _ in png.chunks(io.BytesIO(data))
        if kind == b"tRNS"
    )
    return np.where(grey == key * (top // stored_top), 0, top).astype(grey.dtype)


_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[:, ::-1].swapaxes(0, 1),
}


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    return np.ascontiguousarray(_TURNS[orientation](pixels))


# One entry per kind of file; a later reader adds its own.
FORMATS: dict[str, Format] = {
    "PNG": Format(png.MAGIC, _png_header, _png_fault, _decode),
    "JPEG": Format(b"\xff\xd8\xff", _jpeg_header, _jpeg_fault, _decode),
}
