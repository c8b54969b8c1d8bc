"""The tags of a TIFF that its translation keeps: read as they are stored, written where they still hold."""

import re

import numpy as np

from i2i.data.formats.carried import PLACE, XMP, Carried, Tag

ICC, GDAL_METADATA, GDAL_NODATA, DESCRIPTION = 34675, 42112, 42113, 270
RESOLUTION = (282, 283, 296)
# document name, description, make, model, page name, software, date, artist, computer, copyright, IPTC
ABOUT = frozenset({269, DESCRIPTION, 271, 272, 285, 305, 306, 315, 316, 33432, 33723})
KEPT = PLACE | ABOUT | {ICC, XMP, GDAL_METADATA, GDAL_NODATA, *RESOLUTION}
LARGEST = 64 << 20  # bytes of one tag

_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 16: 8, 17: 8}  # of one number
_STRUCTURED = re.compile(r'^\s*(ImageJ=|SCIFIO=|\{\s*"shape"|.*<OME\b)', re.DOTALL)
_ITEM = re.compile(r"\s*<Item\b([^<>]*)>[^<]*</Item>")


def read(page, channels: int, changes: tuple[str, ...]) -> Carried:
    """What `page` (tifffile's) says beside its pixels and is kept."""
    kept = []
    file, big = page.parent.filehandle, page.parent.byteorder == ">"
    for tag in page.tags:
        size = _BYTES.get(int(tag.dtype))
        if tag.code not in KEPT or size is None or not tag.count:
            continue
        numbers = tag.count * (2 if tag.dtype in (5, 10) else 1)
        if numbers * size > LARGEST or (tag.code == ICC and "CMYK" in changes):
            continue
        file.seek(tag.valueoffset)
        raw = file.read(numbers * size)
        if big and size > 1:
            raw = np.frombuffer(raw, f">u{size}").astype(f"<u{size}").tobytes()
        if tag.code == DESCRIPTION and _STRUCTURED.match(raw[:4096].decode("latin-1")):
            continue  # it describes the shape of the old file
        kept.append(Tag(tag.code, int(tag.dtype), tag.count, raw))
    nodata = next((_text(tag) for tag in kept if tag.code == GDAL_NODATA), None)
    return Carried(tuple(tag for tag in kept if tag.code != GDAL_NODATA), channels, nodata)


def written(carried: Carried, channels: int) -> list[Tag]:
    """Those that hold for an output of so many channels; without the resolution and the nodata level."""
    same = channels == carried.channels
    tags = [tag for tag in carried.tags if tag.code not in RESOLUTION and (same or tag.code != ICC)]
    return [tag for old in tags if (tag := _metadata(old, same) if old.code == GDAL_METADATA else old) is not None]


def resolution(carried: Carried) -> tuple[tuple[tuple[int, int], tuple[int, int]], int] | None:
    """(across, down) as fractions, and the unit of the resolution, where the file says one."""
    stored = {tag.code: tag for tag in carried.tags if tag.code in RESOLUTION}
    if 282 not in stored or 283 not in stored or stored[282].type != 5 or stored[283].type != 5:
        return None
    across, down = (tuple(np.frombuffer(stored[code].value, "<u4", 2).tolist()) for code in (282, 283))
    unit = int.from_bytes(stored[296].value[:2], "little") if 296 in stored else 2
    return ((across, down), unit) if across[1] and down[1] and unit in (1, 2, 3) else None


def nodata_tag(text: str) -> Tag:
    """The tag in which GDAL keeps the level of pixels that hold nothing."""
    value = text.encode("ascii", "replace") + b"\0"
    return Tag(GDAL_NODATA, 2, len(value), value)


def _text(tag: Tag) -> str:
    return tag.value.split(b"\0")[0].decode("latin-1").strip()


def _metadata(tag: Tag, same: bool) -> Tag | None:
    """GDAL's XML without statistics of the old pixels and, for another count of channels, what says which channel."""

    def stale(item: re.Match) -> bool:
        return "STATISTICS_" in item[1] or (not same and "sample=" in item[1])

    text = tag.value.decode("latin-1")
    left = _ITEM.sub(lambda item: "" if stale(item) else item[0], text)
    if left == text:
        return tag
    value = left.encode("latin-1")
    return Tag(tag.code, tag.type, len(value), value) if "<Item" in left else None
