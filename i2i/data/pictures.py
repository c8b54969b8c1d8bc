"""The one reader of picture files, and the one writer.

Bytes -> what they are -> header against a cap on pixels -> the decoder of that format -> RGB -> upright -> type and
shape checked. Training, previews and translation all come through here: a picture is the same array everywhere.
"""

import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from i2i import atomic
from i2i.data import ENV_MAX_PIXELS, MAX_PIXELS, contents
from i2i.data.formats import bmp, geo, jpeg, npy, png, tiff, webp
from i2i.data.formats.carried import Carried
from i2i.data.formats.shapes import CHANGES, DAMAGE, BrokenPicture, Format, Header, Picture, Unusable
from i2i.errors import UserError

__all__ = ["CHANGES", "FORMATS", "SUFFIXES", "BrokenPicture", "Carried", "Header", "Picture"]

# The allow-list. A file is told by its contents, whatever it is called.
FORMATS: dict[str, Format] = {
    "PNG": png.FORMAT,
    "JPEG": jpeg.FORMAT,
    "WebP": webp.FORMAT,
    "TIFF": tiff.FORMAT,
    "BMP": bmp.FORMAT,
    "NPY": npy.FORMAT,
}
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".npy")  # what a folder is searched for
DTYPES = {8: np.uint8, 16: np.uint16, 32: np.float32}
VALUES_PER_PIXEL = 4  # what has more counts as more pixels: values / 4


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


def probe(path: str | os.PathLike, *, page: int | None = None) -> Header:
    """The header of a file, from its first bytes, chunk names or tags; no pixel is decoded.

    Args:
        page: of a TIFF of several pages, from 0; None where there is one page only.

    Raises:
        BrokenPicture: not readable, no picture format that is read, a damaged header, several pages and none named,
            a page that is not there, a kind of pixel that is not read.
    """
    try:
        with open(path, "rb", buffering=512) as file:  # a PNG is walked in small steps, each of which fills the buffer
            header, orientation = _header(file, path, page)
            if header.format == "TIFF" and _is_lost(file, path, page):
                header = header._replace(changes=(*header.changes, "world file"))
            return _upright(header, orientation)
    except OSError as error:
        raise BrokenPicture(path, f"it cannot be opened ({error.strerror or error})") from None


def read(path: str | os.PathLike, *, page: int | None = None, max_pixels: int | None = None) -> Picture:
    """A whole picture file, upright.

    Args:
        page: as for `probe`.
        max_pixels: refuse, before decoding, what has more (of more than four channels: a quarter of their values); None
            takes `pixel_cap()`.

    Raises:
        BrokenPicture: what `probe` refuses; too many pixels; cut off or damaged; levels that are not finite, or that
            float32 cannot hold.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BrokenPicture(path, f"it cannot be opened ({error.strerror or error})") from None
    return decode(data, path, page=page, max_pixels=max_pixels)


def decode(data: bytes, path: str | os.PathLike, *, page: int | None = None, max_pixels: int | None = None) -> Picture:
    """`read` of bytes that are in memory; `path` is the name in errors."""
    header, orientation = _header(io.BytesIO(data), path, page)
    _within_cap(header, path, pixel_cap() if max_pixels is None else max_pixels)
    form = FORMATS[header.format]
    try:
        if why := form.fault(data, page):
            raise Unusable(why)
        picture = form.decode(data, header, page)
        if header.format == "TIFF" and orientation == 1 and header.pages == 1:
            picture = picture._replace(carried=geo.placed(path, picture.carried))
    except Unusable as error:
        raise BrokenPicture(path, str(error)) from None
    except (cv2.error, *DAMAGE) as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise BrokenPicture(path, f"it is damaged and cannot be decoded ({last[:200]})") from None
    if picture is None:
        raise BrokenPicture(path, "it is damaged: the decoder refuses it")
    pixels, alpha, carried = picture
    if pixels.shape != (header.height, header.width, header.channels) or pixels.dtype != DTYPES[header.depth]:
        raise BrokenPicture(path, f"it decodes to {pixels.dtype} {pixels.shape}, which is not what its header says")
    if carried is not None:
        carried = carried.turned(orientation, _turn)
    return Picture(_turn(pixels, orientation), None if alpha is None else _turn(alpha, orientation), carried)


def to_channels(pixels: np.ndarray, channels: int, name: str | os.PathLike) -> np.ndarray:
    """(H, W, C) -> (H, W, channels): grey is replicated to 3; any other change is an error that begins with `name`."""
    have = pixels.shape[2]
    if have == channels:
        return pixels
    if (have, channels) == (1, 3):
        return np.repeat(pixels, channels, axis=2)
    raise UserError(
        f"{name}: it has {have} channel{'s' if have > 1 else ''} and {channels} {'is' if channels == 1 else 'are'} "
        "asked for. Only grey is converted, to 3 equal channels; convert the file, or ask for as many as it has."
    )


def filled(picture: Picture, low: float) -> np.ndarray:
    """The pixels with those that the file says hold nothing (its nodata) at `low`, the low end of a domain's range."""
    mask = None if picture.carried is None else picture.carried.mask
    if mask is None or not mask.any():
        return picture.pixels
    pixels = picture.pixels.copy()
    pixels[mask] = low if pixels.dtype == np.float32 else int(low)
    return pixels


def encode(
    pixels: np.ndarray, alpha: np.ndarray | None = None, carried: Carried | None = None, form: str = "PNG"
) -> bytes:
    """The bytes of a picture file.

    Args:
        pixels: (H, W, C) uint8, uint16 or float32; 3 channels are RGB. A PNG holds uint8 and uint16 of 1 or 3 channels.
        alpha: (H, W) of the same type. An NPY has it as its last channel.
        carried: what a TIFF says beside its pixels; other forms hold nothing of it.
        form: "PNG", "TIFF" or "NPY"; all three are lossless.

    Raises:
        ValueError: other types or shapes, another form. UserError: the encoder refused.
    """
    if form not in ENCODERS:
        raise ValueError(f"'{form}' is not a form that is written. Give one of {', '.join(ENCODERS)}.")
    if pixels.dtype not in DTYPES.values() or pixels.ndim != 3 or not pixels.size:
        raise ValueError(
            f"pixels {pixels.dtype} {pixels.shape} do not fit a picture. Give uint8, uint16 or float32, (H, W, C)."
        )
    if alpha is not None and (alpha.dtype != pixels.dtype or alpha.shape != pixels.shape[:2]):
        raise ValueError(
            f"alpha {alpha.dtype} {alpha.shape} does not fit pixels {pixels.dtype} {pixels.shape}. Give its (H, W)."
        )
    return ENCODERS[form](pixels, alpha, carried)


def write(
    path: str | os.PathLike, pixels: np.ndarray, alpha: np.ndarray | None = None, carried: Carried | None = None
) -> None:
    """`encode` in the form of the path's suffix (.png, .tif, .tiff, .npy), then the file whole or not at all.

    Raises:
        ValueError: as for `encode`, or another suffix. OSError: where the disk refuses; names the path.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in WRITTEN:
        raise ValueError(f"{path}: pictures are written as {', '.join(WRITTEN)}. Name it so.")
    atomic.write_bytes(path, encode(pixels, alpha, carried, WRITTEN[suffix]))


ENCODERS: dict[str, Callable[[np.ndarray, np.ndarray | None, Carried | None], bytes]] = {
    "PNG": lambda pixels, alpha, carried: png.encode(pixels, alpha),
    "TIFF": lambda pixels, alpha, carried: tiff.encode(pixels, alpha, carried),
    "NPY": lambda pixels, alpha, carried: npy.encode(pixels, alpha),
}
WRITTEN = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".npy": "NPY"}


# ------------------------------------------------------------------------------------------------------- headers


def _header(file: BinaryIO, path: str | os.PathLike, page: int | None) -> tuple[Header, int]:
    head = file.read(64)
    form = next((form for form in FORMATS.values() if form.told(head)), None)
    if form is None:
        *most, last = FORMATS
        known = f"{', '.join(most)} and {last}"
        raise BrokenPicture(
            path, f"it is {contents.name(head)}; pictures are read from {known} files. Convert it, or remove it."
        )
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's words on odd EXIF name no file, and change nothing
            header, orientation = form.header(file, page)
    except Unusable as error:
        raise BrokenPicture(path, str(error)) from None
    except DAMAGE:
        raise BrokenPicture(path, "its header is damaged or incomplete") from None
    if header.width < 1 or header.height < 1:
        raise BrokenPicture(path, f"it says it is {header.width} x {header.height} pixels")
    return header, orientation


def _upright(header: Header, orientation: int) -> Header:
    if orientation == 1:
        return header
    width, height = (header.height, header.width) if orientation >= 5 else (header.width, header.height)
    return header._replace(width=width, height=height, changes=(*header.changes, "orientation"))


def _within_cap(header: Header, path: str | os.PathLike, cap: int) -> None:
    pixels = header.width * header.height
    count = -(-pixels * max(VALUES_PER_PIXEL, header.channels) // VALUES_PER_PIXEL)
    if count <= cap:
        return
    shown = f"{header.width} x {header.height} = {pixels:,} pixels"
    if count > pixels:
        shown += f" of {header.channels} channels, which count as {count:,}"
    raise BrokenPicture(
        path,
        f"it has {shown}, over the cap of {cap:,}. "
        f"If you trust the file, set the environment variable {ENV_MAX_PIXELS}={count}.",
    )


def _is_lost(file: BinaryIO, path: str | os.PathLike, page: int | None) -> bool:
    """Whether a file beside this TIFF says where it lies, its own tags do not, and what would read it is not there."""
    return geo.beside(path) and not geo.available() and not tiff.is_placed(file, page)


# ------------------------------------------------------------------------------------------------------- upright

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
