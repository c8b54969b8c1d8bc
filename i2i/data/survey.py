"""What the headers of the training files say: once, at the start, and everything that is wrong with them in words."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from i2i.data.domain import Domain
from i2i.data.folders import Files
from i2i.data.pictures import BrokenPicture, probe
from i2i.data.pictureset import Broken
from i2i.errors import UserError

_CHANGES = {
    "palette": "with a palette, read as RGB",
    "CMYK": "CMYK, read as RGB",
    "orientation": "turned upright as their EXIF orientation says",
    "alpha": "with alpha, which is set aside",
}


class Survey:
    """The headers of `files`: arrays `width`, `height`, `channels`, `depth` over all files, 0 where one is broken.

    Attributes:
        broken: the files without a usable header.
        notes: sentences on what reading changes, with counts.
    """

    def __init__(self, files: Files):
        self.files = files
        self.broken: list[Broken] = []
        table = np.zeros((len(files), 4), np.int32)
        changes: Counter[str] = Counter()
        for index, path in enumerate(files):
            try:
                header = probe(path)
            except BrokenPicture as error:
                self.broken.append(Broken(error.path, error.why))
                continue
            table[index] = header.width, header.height, header.channels, header.depth
            changes.update(header.changes)
            changes.update(["alpha"] * header.alpha)
        self.width, self.height, self.channels, self.depth = table.T
        self.good = self.width > 0
        self.notes = [
            f"{files.folder}: {changes[name]} of {len(files)} pictures {words}"
            for name, words in _CHANGES.items()
            if changes[name]
        ]

    def first(self, which: np.ndarray) -> str:
        """The path of the first file for which the mask (files,) is true."""
        return self.files[int(np.flatnonzero(which)[0])]

    def domain(self, side: str, wanted: Mapping[str, Any]) -> Domain:
        """The domain of these files: `wanted` is the recipe's {channels, range}, each of which may be "auto".

        Raises:
            UserError: no usable file, two depths, RGB files where one channel is wanted, a count other than 1 or 3, a
                range beyond the levels of the depth.
        """
        if not self.good.any():
            first = ": ".join(self.broken[0])
            raise UserError(f"none of the pictures in {self.files.folder} can be read. Repair them. The first: {first}")
        channels, span = wanted.get("channels", "auto"), wanted.get("range", "auto")
        depths = np.unique(self.depth[self.good])
        if len(depths) > 1:
            shown = " and ".join(f"{depth} bits ({self.first(self.depth == depth)})" for depth in depths)
            raise UserError(f"{self.files.folder} mixes pictures of {shown}. Convert them to one depth.")
        depth, most = int(depths[0]), int(self.channels.max())
        if channels == "auto":
            channels = most
        if channels not in (1, 3):
            raise UserError(
                f"data.{side}.channels is {channels}; PNG and JPEG hold 1 (grey) or 3 (RGB). Set one of them, or auto."
            )
        if channels < most:
            rgb = self.channels == most
            raise UserError(
                f"data.{side}.channels is 1, but {rgb.sum()} of {len(self.files)} pictures are RGB, the first "
                f"{self.first(rgb)}. Convert them to grey, or set data.{side}.channels to 3."
            )
        if grey := int((self.channels[self.good] < channels).sum()):
            self.notes.append(
                f"{self.files.folder}: {grey} of {len(self.files)} pictures are grey, replicated to {channels} channels"
            )
        try:
            return Domain(channels, (0, 2**depth - 1) if span == "auto" else tuple(span), depth)
        except UserError as error:
            raise UserError(f"data.{side}: {error}") from None

    def check_crop(self, load_size: int | None, crop_size: int, halves: bool = False) -> None:
        """UserError where a picture (or its half) is smaller than the crop, and nothing resizes it."""
        if load_size is not None:
            return
        width = self.width // 2 if halves else self.width
        small = self.good & (np.minimum(width, self.height) < crop_size)
        if small.any():
            index = int(np.flatnonzero(small)[0])
            shown = f"{self.files[index]}, {width[index]} x {self.height[index]}"
            verb = "picture is" if small.sum() == 1 else "pictures are"
            raise UserError(
                f"{small.sum()} {verb} smaller than data.crop_size {crop_size}, the first {shown}"
                f"{' in each half' if halves else ''}. Set data.load_size={crop_size} or more, or a smaller crop."
            )
