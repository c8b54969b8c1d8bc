"""What a TIFF says beside its pixels, and its translation should say too."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

PLACE = frozenset({33550, 33920, 33922, 34264, 34735, 34736, 34737, 50844})  # GeoTIFF: where the pixels lie; RPC
XMP, ACROSS, DOWN = 700, 282, 283


class Tag(NamedTuple):
    """A TIFF tag: its code, the code of its type, the count of values, and the values as little-endian bytes."""

    code: int
    type: int
    count: int
    value: bytes


@dataclass(frozen=True)
class Carried:
    """What a TIFF says beside its pixels and its translation keeps.

    Attributes:
        tags: resolution, description, author, date, colour profile, XMP, the place on the map (GeoTIFF), ...
        channels: of the picture they came with; what describes single channels goes to outputs of as many alone.
        nodata: the level of pixels that hold nothing, as the file writes it (GDAL_NODATA), or None.
        mask: (H, W) bool, true where the picture holds nothing, or None.
    """

    tags: tuple[Tag, ...] = ()
    channels: int = 0
    nodata: str | None = None
    mask: np.ndarray | None = field(default=None, compare=False, repr=False)

    def cut(self, columns: slice) -> "Carried":
        """For a part of the picture, all rows of some columns. What does not begin at column 0 loses its place on the
        map, which is that of the whole."""
        tags = self.tags if not columns.start else tuple(tag for tag in self.tags if tag.code not in PLACE)
        return replace(self, tags=tags, mask=None if self.mask is None else self.mask[:, columns])

    def turned(self, orientation: int, turn: Callable[[np.ndarray, int], np.ndarray]) -> "Carried":
        """For the picture turned upright from `orientation`; XMP may repeat the old one and is left out."""
        if orientation == 1:
            return self
        swapped = {ACROSS: DOWN, DOWN: ACROSS} if orientation >= 5 else {}
        tags = tuple(tag._replace(code=swapped.get(tag.code, tag.code)) for tag in self.tags if tag.code != XMP)
        return replace(self, tags=tags, mask=None if self.mask is None else turn(self.mask, orientation))
