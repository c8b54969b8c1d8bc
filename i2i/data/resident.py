"""Training pictures that lie on the device: read once, then cut, mirrored and made into values there, batch by batch.

What is drawn for a sample is drawn by the code that draws it for every reader. A copy of the data set is asked for its
samples as ever; but in the place of decoded pictures it is handed where they lie (`Spot`), and in the place of its
transform stands one that answers which of their pixels the crop is (`Cut`). So all that a picture costs on the host is
its draws, and all that goes to the device is three numbers.

The values are those of the plain path, bit for bit, on any device: a level of 8 or 16 bits is looked up in the table
that its `Domain` makes of all levels, and floats lie there as the values that it made of them.

A picture lies there as it was when it was read: one that changes while the run goes on is seen by the next run. A file
that could not be read is known from then on, and is reported when it is first drawn, as by the plain path.
"""

import copy
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i.data.cache import Pixels, Units, resized_sizes
from i2i.data.domain import Domain
from i2i.data.pictureset import PictureSet
from i2i.data.stream import Reader, Stream
from i2i.data.transform import Transform
from i2i.errors import UserError

AT_ONCE = 4e6  # bytes that a thread reads before it hands them to the device, or one picture
STORED = {8: torch.uint8, 16: torch.int16, 32: torch.float32}  # uint16 by its bits: PyTorch can do little with it


class Spot(NamedTuple):
    """Where a resized picture lies among the pixels of `key`."""

    key: str
    start: int
    height: int
    width: int


class Cut(NamedTuple):
    """A crop: its pixel in row y and column x is number start + row * y + step * x among those of `key`."""

    key: str
    start: int
    row: int
    step: int  # -1 where it is mirrored


class NotHeld(Exception):
    """The pictures cannot lie on the device after all; its text says why."""


class Store:
    """One list of pictures, one after the other, and what could not be read of it.

    Args:
        units: the list.
        transform: its `size` says what a picture is resized to.

    Attributes:
        pixels: {key: (pixels of all pictures, C)}, levels, of floats their values; filled by `fill`.
    """

    def __init__(self, units: Units, transform: Transform):
        self.units, self._resized = units, transform.resized
        self._shapes = resized_sizes(units.sizes, transform.load_size)
        self._starts = np.concatenate([[0], np.cumsum(self._shapes.prod(axis=1))])
        self._each = sum(domain.channels * np.dtype(domain.dtype).itemsize for domain in units.keys.values())
        self._faults: dict[int, UserError] = {}
        self.pixels: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    @property
    def size(self) -> int:
        """Bytes on the device."""
        return int(self._starts[-1]) * self._each

    def parts(self) -> list[range]:
        """All places, in parts that are read at once."""
        number = self._starts[:-1] * self._each // AT_ONCE
        edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(self)]
        return [range(*pair) for pair in itertools.pairwise(edges)]

    def allocate(self, device: torch.device) -> None:
        """Takes the memory. torch.OutOfMemoryError: there is not so much."""
        count = int(self._starts[-1])
        self.pixels = {
            key: torch.empty(count, domain.channels, dtype=STORED[domain.depth], device=device)
            for key, domain in self.units.keys.items()
        }

    def fill(self, data: PictureSet, places: range) -> int:
        """Reads the pictures of `places`, which follow on one another, and puts them there; returns how many.

        Raises:
            NotHeld: a picture is not of the size that its header said when the data set was made.
        """
        first, last = int(self._starts[places.start]), int(self._starts[places.stop])
        held = {key: np.zeros((last - first, d.channels), d.dtype) for key, d in self.units.keys.items()}
        for place in places:
            start, end = (int(self._starts[at]) - first for at in (place, place + 1))
            try:
                pictures = data.once(self.units.name, place)
                for key, domain in self.units.keys.items():
                    held[key][start:end] = self._made(pictures[key], domain, place).reshape(-1, domain.channels)
            except UserError as error:
                self._faults[place] = error
        for key, pixels in held.items():
            pixels = pixels.view(np.int16) if pixels.dtype == np.uint16 else pixels
            self.pixels[key][first:last].copy_(torch.from_numpy(pixels))
        return len(places)

    def _made(self, pixels: np.ndarray, domain: Domain, place: int) -> np.ndarray:
        """Decoded pixels as they are to lie there, (H, W, C)."""
        pixels = self._resized(pixels)
        if pixels.shape[:2] != tuple(self._shapes[place]):
            file = self.units.files[0][place] if self.units.files else f"picture {place:,}"
            raise NotHeld(f"{file} has changed while it was read")
        # elementwise, so that what it makes of a crop is the crop of what it makes of the whole
        return np.moveaxis(domain.planes(pixels), 0, -1) if domain.depth == 32 else pixels

    def spots(self, place: int) -> dict[str, Spot]:
        """Where a unit lies; what was raised when it was read, where that failed."""
        if place in self._faults:
            raise self._faults[place].with_traceback(None)  # or each time it is raised it would grow
        start, (height, width) = int(self._starts[place]), self._shapes[place].tolist()
        return {key: Spot(key, start, height, width) for key in self.units.keys}


class Held:
    """All training pictures of a data set on one device; for that data set, what `cache.Kept` is for others.

    Args:
        data: of files, or of pictures in memory.
    """

    def __init__(self, data: PictureSet):
        self.stores = {units.name: Store(units, data.transform) for units in data.units()}
        self.size = sum(store.size for store in self.stores.values())  # bytes
        self.device = torch.device("cpu")
        self._domains: dict[str, Domain] = {}
        for store in self.stores.values():
            self._domains.update(store.units.keys)
        self._pixels: dict[str, Tensor] = {}
        self._tables: dict[str, Tensor] = {}

    def why_not(self, data: PictureSet, free: int) -> str | None:
        """Why these pictures cannot lie on a device with so many free bytes, of which half are left to training: the
        end of a sentence. None: they can."""
        if not self.stores:
            return "they are drawn anew each time"
        if data.transform.pipeline is not None:
            return f"data.transform {data.transform.pipeline} is of albumentations, which computes on the host"
        if self.size > free / 2:
            return f"they take {self.size / 1e9:,.1f} GB, more than half of what is free there ({free / 1e9:,.1f} GB)"
        return None

    def fill(
        self, data: PictureSet, device: torch.device, readers: int = 1, begin: float = 0.0,
        tick: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:  # fmt: skip
        """Reads every picture, through `data.kept` where there is one.

        Args:
            readers: threads that read.
            begin: the part of the pictures to pass over at first: of several processes that keep them in one file, each
                begins elsewhere, and finds there what the others have read.
            tick: gets (pictures read, pictures).

        Raises:
            NotHeld: the device has not so much memory in one piece; a file was changed meanwhile.
        """
        try:
            for store in self.stores.values():
                store.allocate(device)
        except torch.OutOfMemoryError:
            raise NotHeld(f"the device refused to give {self.size / 1e9:,.1f} GB") from None
        parts = [(store, places) for store in self.stores.values() for places in store.parts()]
        turned = round(begin * len(parts))
        parts = parts[turned:] + parts[:turned]
        done, total = 0, sum(map(len, self.stores.values()))
        # decoders silence warnings for a moment, which threads beside one another cannot do without a trace
        with warnings.catch_warnings(), ThreadPoolExecutor(readers) as pool:
            for count in pool.map(lambda part: part[0].fill(data, part[1]), parts):
                done += count
                tick(done, total)
        self.device = device
        self._pixels = {key: pixels for store in self.stores.values() for key, pixels in store.pixels.items()}
        for key, domain in self._domains.items():
            if domain.depth < 32:
                self._tables[key] = domain.values(np.arange(domain.top + 1, dtype=domain.dtype)).to(device)

    def read(self, name: str, place: int, _load: Callable[[], Pixels]) -> dict[str, Spot]:
        """As `cache.Kept.read`, but for what it answers."""
        return self.stores[name].spots(place)

    def values(self, key: str, index: Tensor) -> Tensor:
        """The pixels of `key` with the numbers `index` (B, H, W) -> (B, C, H, W) float32 in [-1, 1]."""
        pixels = self._pixels[key].index_select(0, index.flatten()).view(*index.shape, -1)  # (B, H, W, C)
        planes = pixels.permute(0, 3, 1, 2)
        if key not in self._tables:
            return planes.contiguous()
        levels = planes.to(torch.int32, memory_format=torch.contiguous_format)
        if pixels.dtype == torch.int16:
            levels = levels & 0xFFFF
        return self._tables[key].index_select(0, levels.flatten()).view(levels.shape)


class _Cutting:
    """Stands where the transform of a data set stood: the same draws, of places."""

    def __init__(self, transform: Transform):
        self.transform = transform

    def __call__(self, spots: Mapping[str, Spot], seed: int) -> dict[str, Cut]:
        _, _, height, width = next(iter(spots.values()))  # of one unit, so of one size
        top, left = self.transform.corner(seed, height, width)
        flipped = self.transform.flipped(seed)
        first = top * width + left + (self.transform.crop_size - 1 if flipped else 0)
        return {key: Cut(spot.key, spot.start + first, width, -1 if flipped else 1) for key, spot in spots.items()}


class Resident(Reader):
    """As `stream.Loader`, of pictures that lie on a device: the same batches, bit for bit, on that device.

    Args:
        held: all pictures of `dataset`.
        dataset, batch_size, seed, part, start_batch, say: as for `stream.Loader`.

    Raises:
        UserError: as `stream.Loader`, for files.
    """

    def __init__(
        self, dataset: PictureSet, held: Held, *, batch_size: int, seed: int, part: tuple[int, int] = (0, 1),
        start_batch: int = 0, say: Callable[[str], None] = print,
    ):  # fmt: skip
        super().__init__(dataset, part, say)
        self._held: Held | None = held
        self._drawing: Any = copy.copy(dataset)
        self._drawing.kept, self._drawing.transform = held, _Cutting(dataset.transform)
        self._places = iter(Stream(len(dataset), seed, batch_size, start_batch, part))
        self._along = torch.arange(dataset.transform.crop_size, device=held.device)

    def __iter__(self) -> "Resident":
        return self

    def __next__(self) -> dict[str, Tensor]:
        if self._held is None:
            raise ValueError("this reader is closed. Make a new one, with start_batch where it should go on.")
        cuts, labels, broken, errors = [], [], [], []
        for place in next(self._places):
            try:
                cut, label, reports = self._drawing.drawn(*place)
            except UserError as error:
                errors.append(str(error))
                continue
            cuts.append(cut)
            labels.append(label)
            broken += reports
        self.settle(broken, errors[0] if errors else None)
        return self._batch(cuts, labels)

    def close(self) -> None:
        """Gives back the memory."""
        self._held = self._drawing = None

    def _batch(self, cuts: Sequence[Mapping[str, Cut]], labels: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        rows: list[Sequence[int]] = []
        places: dict[tuple, int] = {}  # the pictures of a pair are cut alike, so that one row serves both
        grids: dict[str, tuple] = {}
        for key in cuts[0]:
            grids[key] = tuple(each[key][1:] for each in cuts)
            if grids[key] not in places:
                places[grids[key]] = len(rows)
                rows += zip(*grids[key])
        numbers = self._sent([*rows, *([each[key] for each in labels] for key in labels[0])])
        index = {grid: self._grid(*numbers[at : at + 3]) for grid, at in places.items()}
        batch = {key: self._held.values(cuts[0][key].key, index[grid]) for key, grid in grids.items()}
        return {**batch, **dict(zip(labels[0], numbers[len(rows) :]))}

    def _sent(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """(rows, B) int64 on the device, in one copy that is not waited for."""
        numbers = torch.tensor(rows, dtype=torch.int64)
        if self._held.device.type == "cuda":
            numbers = numbers.pin_memory()
        return numbers.to(self._held.device, non_blocking=True)

    def _grid(self, start: Tensor, row: Tensor, step: Tensor) -> Tensor:
        """(B,) each -> (B, crop, crop): the number of every pixel of every crop."""
        down = start[:, None] + row[:, None] * self._along
        across = step[:, None] * self._along
        return down[:, :, None] + across[:, None, :]
