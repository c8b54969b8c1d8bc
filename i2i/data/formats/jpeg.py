"""JPEG: header by Pillow, pixels by OpenCV."""

from typing import BinaryIO

from PIL import JpegImagePlugin

from i2i.data.formats import by_opencv
from i2i.data.formats.shapes import Format, Header, orientation, single


def _told(head: bytes) -> bool:
    return head.startswith(b"\xff\xd8\xff")


def _header(file: BinaryIO, page: int | None) -> tuple[Header, int]:
    single(page)
    image = JpegImagePlugin.JpegImageFile(file)  # not Image.open: it tries other formats, and has a cap of its own
    channels = {"L": 1, "RGB": 3, "CMYK": 3}[image.mode]
    changes = ("CMYK",) if image.mode == "CMYK" else ()
    return Header(image.width, image.height, channels, 8, False, "JPEG", changes), orientation(image)


def _fault(data: bytes, page: int | None) -> str | None:
    scan = data.find(b"\xff\xda")
    if scan < 0 or data.rfind(b"\xff\xd9") < scan:
        return f"it is cut off at byte {len(data):,}: the mark of its end is missing"
    return None


FORMAT = Format(_told, _header, _fault, by_opencv.decode)
