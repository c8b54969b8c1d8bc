"""Which pages a TIFF has, and the one that is asked for, as tifffile sees it. No pixel is touched."""

import contextlib
import json
import logging
import re
import struct
import threading
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from i2i.data.formats.shapes import Unusable

MOST = 100_000  # directories, and tags of one: more is no picture
# what the meaning of the pixels hangs on: size, bits, packing, colours, blocks, orientation, samples, predictor
_ESSENTIAL = {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 332, 338, 339}
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType: a smaller version of another page (a pyramid), its mask


class Page(NamedTuple):
    """tifffile's page, how many there are, and which plane of the page's one block of numbers it is (else 0)."""

    page: "tifffile.TiffPage"  # noqa: F821
    pages: int
    plane: int


def told(head: bytes) -> bool:
    """Classic and Big, of either byte order."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextlib.contextmanager
def opened(file: BinaryIO, page: int | None) -> Iterator[Page]:
    """The page of that number, or the only one.

    Raises:
        Unusable: several pages and none named, one that is not there, directories in a circle, no page at all.
    """
    import tifffile

    places = _directories(file)
    file.seek(0)
    with _SILENCE.of(tifffile.logger()):
        tif = tifffile.TiffFile(_Lent(file))
        first, *_ = places
        found = _at(tifffile, tif, first, places[first])
        planes = _planes(found) if len(places) == 1 else 1
        count = max(len(places), planes)
        which = _chosen(page, count)
        if planes == 1 and which:
            place = list(places)[which]
            found = _at(tifffile, tif, place, places[place])
        yield Page(found, count, which if planes > 1 else 0)


def _at(tifffile, tif, place: int, codes: set[int]):
    """The page whose directory is at `place`. tifffile passes over tags that it cannot read; here some are missed."""
    tif.filehandle.seek(place)
    page = tifffile.TiffPage(tif, index=0)
    if any(code not in page.tags for code in codes & _ESSENTIAL):
        raise ValueError
    return page


def _chosen(page: int | None, count: int) -> int:
    if page is None and count > 1:
        raise Unusable(
            f"it has {count} pages, and which one is meant is not said. Name it, from 0: data.a.page=0 (or "
            "data.b.page) in a recipe, `i2i translate --page 0`"
        )
    if page is not None and not 0 <= page < count:
        pages = "page 0 only" if count == 1 else f"pages 0 to {count - 1}"
        raise Unusable(f"it has {pages}, and page {page} is asked for")
    return page or 0


class _Lent:
    """A file that tifffile may not close, and whose name it may not take for a format."""

    def __init__(self, file: BinaryIO):
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        if hasattr(file, "readinto"):
            self.readinto = file.readinto
        self.closed = False

    def close(self) -> None:
        pass


class _Silence(logging.Filter):
    """tifffile logs what it finds odd; what matters of it is said in our words. For threads that read here."""

    def __init__(self):
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.here, "quiet", 0)

    @contextlib.contextmanager
    def of(self, log: logging.Logger) -> Iterator[None]:
        log.addFilter(self)  # once, however often
        self.here.quiet = getattr(self.here, "quiet", 0) + 1
        try:
            yield
        finally:
            self.here.quiet -= 1


_SILENCE = _Silence()


def _directories(file: BinaryIO) -> dict[int, set[int]]:
    """Where the directories of the full pages are: {place: codes of its tags}. Reduced versions and masks are left out.

    tifffile would parse every tag of every page, and counts reduced versions.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    if head[2:4] in (b"*\0", b"\0*"):
        count_of, entry_size, pointer, place = "H", 12, "I", struct.unpack(order + "I", head[4:8])[0]
    else:
        count_of, entry_size, pointer, place = "Q", 20, "Q", struct.unpack(order + "Q", head[8:16])[0]
    full: dict[int, set[int]] = {}
    seen = set()
    while place:
        if place in seen or len(seen) >= MOST:
            raise Unusable("its directories run in a circle")
        seen.add(place)
        file.seek(place)
        (count,) = struct.unpack(order + count_of, file.read(struct.calcsize(count_of)))
        if count > MOST:
            raise ValueError
        table = file.read(count * entry_size + struct.calcsize(pointer))
        if not _kind(table, count, entry_size, order) & (_REDUCED | _MASK):
            codes = np.frombuffer(table, order + "u2", count * entry_size // 2)[:: entry_size // 2]
            full[place] = set(codes.tolist())
        (place,) = struct.unpack_from(order + pointer, table, count * entry_size)
    if not full:
        raise Unusable(
            "it holds only a reduced picture or a mask, as camera raw files do. Export the picture as TIFF or PNG"
        )
    return full


def _kind(table: bytes, count: int, entry_size: int, order: str) -> int:
    """NewSubfileType of a directory; its older form in the bits of the newer."""
    for entry in range(count):
        code, type_ = struct.unpack_from(order + "HH", table, entry * entry_size)
        if code > 255:
            break
        if code in (254, 255) and type_ in (3, 4):
            value = struct.unpack_from(order + "HI"[type_ - 3], table, entry * entry_size + entry_size // 2 + 2)[0]
            if code == 254 and value:
                return value
            if code == 255:
                return _REDUCED if value == 2 else 0
    return 0


def _planes(page) -> int:
    """Pictures that follow one another in the block of a single directory, as large ImageJ stacks have them."""
    text = page.description if isinstance(page.description, str) else ""
    count = 1
    if text.startswith("ImageJ=") and (found := re.search(r"^images=(\d{1,9})$", text, re.MULTILINE)):
        count = int(found[1])
    elif text.startswith('{"shape":'):
        shape = json.loads(text).get("shape")
        numbers = 1
        for side in shape[:9] if isinstance(shape, list) else []:
            numbers *= int(side)
        one = page.imagelength * page.imagewidth * page.samplesperpixel
        count = numbers // one if one and numbers % one == 0 else 1
    elif 33629 in page.tags:  # MetaMorph
        count = page.tags[33629].count
    return max(1, count)
