"""What the headers of the training files say: once, at the start, and everything that is wrong with them in words."""

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from i2i.data.domain import Domain
from i2i.data.folders import Files
from i2i.data.pictures import CHANGES, BrokenPicture, probe
from i2i.data.pictureset import Broken
from i2i.errors import UserError


class Survey:
    """The headers of `files`: arrays `width`, `height`, `channels`, `depth` over all files, 0 where one is broken.

    Attributes:
        broken: the files without a usable header.
        notes: sentences on what reading changes, with counts.
    """

    def __init__(self, files: Files, page: int | None = None):
        self.files, self.page = files, page
        self.broken: list[Broken] = []
        table = np.zeros((len(files), 4), np.int32)
        changes: Counter[str] = Counter()
        for index, path in enumerate(files):
            try:
                header = probe(path, page=page)
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
            for name, words in CHANGES.items()
            if changes[name]
        ]

    @property
    def sizes(self) -> np.ndarray:
        """(files, 2) height and width, 0 where a file is broken."""
        return np.stack([self.height, self.width], axis=1)

    def first(self, which: np.ndarray) -> str:
        """The path of the first file for which the mask (files,) is true."""
        return self.files[int(np.flatnonzero(which)[0])]

    def domain(self, side: str, wanted: Mapping[str, Any]) -> Domain:
        """The domain of these files: `wanted` is the recipe's {channels, range}, each of which may be "auto".

        Raises:
            UserError: no usable file, two depths, pictures of another count of channels than wanted (grey for 3 apart),
                a range beyond the levels of the depth, floats without a range.
        """
        if not self.good.any():
            first = ": ".join(self.broken[0])
            raise UserError(f"none of the pictures in {self.files.folder} can be read. Repair them. The first: {first}")
        depth = self._depth()
        channels = self._channels(side, wanted.get("channels", "auto"))
        span = wanted.get("range", "auto")
        if span == "auto":
            if depth == 32:
                raise UserError(
                    f"the pictures in {self.files.folder} hold floats, whose range no header says. Run "
                    f"`i2i data check {shlex.quote(self.files.folder)}`, which prints the range to write, then set "
                    f"data.{side}.range=[lo, hi]."
                )
            span = (0, 2**depth - 1)
        try:
            return Domain(channels, tuple(span), depth, self.page)
        except UserError as error:
            raise UserError(f"data.{side}: {error}") from None

    def _depth(self) -> int:
        depths = np.unique(self.depth[self.good])
        if len(depths) > 1:
            kinds = {8: "8 bits", 16: "16 bits", 32: "32 bits (floats)"}
            shown = " and ".join(f"{kinds[int(depth)]} ({self.first(self.depth == depth)})" for depth in depths)
            raise UserError(f"{self.files.folder} mixes pictures of {shown}. Convert them to one depth.")
        return int(depths[0])

    def _channels(self, side: str, wanted: int | str) -> int:
        """How many channels the domain has; grey files are noted where they are replicated to 3."""
        channels = int(self.channels.max()) if wanted == "auto" else wanted
        grey = self.good & (self.channels == 1) & (channels == 3)
        if (others := self.good & (self.channels != channels) & ~grey).any():
            counts = {int(count): self.channels == count for count in np.unique(self.channels[self.good])}
            if wanted == "auto":
                found = ", ".join(
                    f"{which.sum()} have {count} ({self.first(which)})" for count, which in counts.items()
                )
                raise UserError(f"{self.files.folder} mixes counts of channels: {found}. Convert them to one.")
            count, which = next((count, which) for count, which in counts.items() if (which & others).any())
            raise UserError(
                f"data.{side}.channels is {channels}, but {which.sum()} of {len(self.files)} pictures have {count}, "
                f"the first {self.first(which)}. Only grey is converted, to 3 equal channels. Convert them, or set "
                f"data.{side}.channels to {count}, or auto."
            )
        if grey.any():
            self.notes.append(
                f"{self.files.folder}: {grey.sum()} of {len(self.files)} pictures are grey, replicated to 3 channels"
            )
        return channels

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
