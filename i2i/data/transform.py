"""Resize, crop, flip and a named pipeline of albumentations: one draw for all pictures of a call.

The only file that imports albumentations, and late: its import takes seconds, and asks the network for news of itself
unless it is told not to.
"""

import os
import random
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from i2i.data import TRANSFORMS
from i2i.errors import UserError
from i2i.seeds import derive


def _albumentations():
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations

    return albumentations


@TRANSFORMS.register("d4")
def d4() -> list:
    """One of the 8 symmetries of the square, each as likely: for pictures without an up (microscopes, satellites)."""
    return [_albumentations().D4(p=1)]


@TRANSFORMS.register("affine")
def affine() -> list:
    """Turned by up to 5 degrees, scaled and shifted by up to 5 %; what comes into view is the picture's reflection."""
    step = _albumentations().Affine(
        rotate=(-5, 5),
        scale=(0.95, 1.05),
        translate_percent=(-0.05, 0.05),
        interpolation=cv2.INTER_LINEAR,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1,
    )
    return [step]


FLIP = 99  # the place of the flip, whatever stands before it


def _mixed(seed: int, place: int) -> int:
    """A seed for one step of a pipeline. Under one and the same seed all would draw the same number, and a crop high in
    the picture be a flipped one (seen in 95 % of 200 draws)."""
    return derive(seed % 2**32, place) % 2**32


class Transform:
    """What happens to the pictures of a sample between file and network.

    Args:
        load_size: the shorter side is resized to it, aspect kept (bicubic up, area down); None leaves sizes alone.
        crop_size: side of the square that is cut out at a drawn place.
        flip: left and right are exchanged for every second sample.
        pipeline: name in `TRANSFORMS` of what follows, or None.
        shape: (H, W) of all pictures that will come, where that is known; None where it is not.

    Raises:
        UserError: a crop larger than load_size, an unknown pipeline.
    """

    def __init__(
        self,
        load_size: int | None,
        crop_size: int,
        flip: bool,
        pipeline: str | None = None,
        shape: tuple[int, int] | None = None,
    ):
        if load_size is not None and load_size < crop_size:
            raise UserError(
                f"load_size {load_size} is smaller than crop_size {crop_size}. "
                f"Set load_size to {crop_size} or more, or to null for the pictures' own size."
            )
        self.load_size, self.crop_size, self.flip, self.pipeline = load_size, crop_size, flip, pipeline
        self.shape = shape
        self._last: Callable[[], list] | None = None if pipeline is None else TRANSFORMS.get(pipeline)
        self._composed: dict[Sequence[str], Callable] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_composed": {}}  # a process that is started afresh composes its own

    def __call__(self, pictures: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
        """{key: (H, W, C) uint8, uint16 or float32}, one H and W for all -> {key: (crop, crop, C)} of the same types.

        The draw is a function of `seed` and (H, W) alone. Channels (any count) and types may differ from key to key;
        each channel comes out as it would alone. Bicubic enlarging overshoots: of whole numbers it is clipped to their
        type, of floats it is left, and clipped where a `Domain` makes values of them.

        Raises:
            UserError: pictures of two sizes, or smaller than the crop.
        """
        sizes = {pixels.shape[:2] for pixels in pictures.values()}
        height, width = sizes.pop()
        if sizes:
            shown = ", ".join(f"{key} {p.shape[1]} x {p.shape[0]}" for key, p in pictures.items())
            raise UserError(f"pictures of one sample must have one size, not {shown}. Make them the same.")
        self._check_crop(height, width)
        if self._last is not None:
            return self.composed(pictures, seed)
        height, width = self._size(height, width)
        top, left = self.corner(seed, height, width)
        rows, columns, flipped = (
            slice(top, top + self.crop_size),
            slice(left, left + self.crop_size),
            self.flipped(seed),
        )
        return {key: _mirrored(self.resized(pixels)[rows, columns], flipped) for key, pixels in pictures.items()}

    def composed(self, pictures: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
        """What a call does, all of it by albumentations: the same, and slower where no pipeline follows."""
        first, *others = pictures
        compose = self._compose(tuple(others))
        for place, step in enumerate(compose.transforms):
            step.set_random_seed(_mixed(seed, FLIP if isinstance(step, _albumentations().HorizontalFlip) else place))
        writable = {key: pixels if pixels.flags.writeable else pixels.copy() for key, pixels in pictures.items()}
        given = {key: _not_two(pixels) for key, pixels in writable.items()}
        moved = compose(image=given[first], **{key: given[key] for key in others})
        moved[first] = moved["image"]
        return {key: moved[key][:, :, : pixels.shape[2]] for key, pixels in pictures.items()}

    def still(self, height: int, width: int) -> bool:
        """Whether pictures of this size only are resized and flipped: all of them is the crop, and nothing follows."""
        return self._last is None and self._size(height, width) == (self.crop_size, self.crop_size)

    def corner(self, seed: int, height: int, width: int) -> tuple[int, int]:
        """(top, left) of the crop of a resized picture for a seed: the draw of albumentations' RandomCrop."""
        draw = random.Random(_mixed(seed, int(self.load_size is not None)))  # its place in the pipeline
        down, across = draw.random(), draw.random()
        return int((height - self.crop_size + 1) * down), int((width - self.crop_size + 1) * across)

    def flipped(self, seed: int) -> bool:
        """Whether a sample of this seed is flipped: the draw of albumentations' HorizontalFlip, without the rest."""
        return self.flip and random.Random(_mixed(seed, FLIP)).random() < 0.5

    def resized(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, C) with the shorter side at load_size, bit for bit as a call does it; itself where it has it."""
        height, width = pixels.shape[:2]
        size = self._size(height, width)
        if size == (height, width):
            return pixels
        kernel = cv2.INTER_AREA if min(size) < min(height, width) else cv2.INTER_CUBIC
        parts = [_not_two(pixels[:, :, first : first + 4]) for first in range(0, pixels.shape[2], 4)]
        done = [cv2.resize(np.ascontiguousarray(part), size[::-1], interpolation=kernel) for part in parts]
        return np.dstack(done)[:, :, : pixels.shape[2]]

    def centred(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (crop, crop, C): resized as in a call, then the middle; nothing is drawn.

        Raises:
            UserError: a picture smaller than the crop.
        """
        self._check_crop(*pixels.shape[:2])
        pixels = self.resized(pixels)
        top, left = ((side - self.crop_size) // 2 for side in pixels.shape[:2])
        return pixels[top : top + self.crop_size, left : left + self.crop_size]

    def prepare(self) -> None:
        """Imports now what the first call would import."""
        if self._last is not None:
            _albumentations()

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self.load_size is None:
            return height, width
        scale = self.load_size / min(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _check_crop(self, height: int, width: int) -> None:
        if self.load_size is None and min(height, width) < self.crop_size:
            raise UserError(
                f"a picture of {width} x {height} is smaller than crop_size {self.crop_size}. "
                f"Set load_size to {self.crop_size} or more."
            )

    def _compose(self, others: tuple[str, ...]) -> Callable:
        if others not in self._composed:
            A = _albumentations()
            steps = []
            if self.load_size is not None:
                kernels = {"interpolation": cv2.INTER_CUBIC, "area_for_downscale": "image"}
                steps.append(A.SmallestMaxSize(self.load_size, **kernels, p=1))
            steps.append(A.RandomCrop(self.crop_size, self.crop_size, p=1))
            if self.flip:
                steps.append(A.HorizontalFlip(p=0.5))
            if self._last is not None:
                steps += self._last()
            self._composed[others] = A.Compose(steps, additional_targets=dict.fromkeys(others, "image"))
        return self._composed[others]


def _not_two(pixels: np.ndarray) -> np.ndarray:
    """Two channels as three: OpenCV moves pictures of two along an older path, in steps of 1/32 pixel."""
    return np.dstack([pixels, pixels[:, :, :1]]) if pixels.shape[2] == 2 else pixels


def _mirrored(pixels: np.ndarray, flipped: bool) -> np.ndarray:
    if not flipped:
        return pixels
    if pixels.shape[2] > 4:
        return np.ascontiguousarray(pixels[:, ::-1])
    return cv2.flip(pixels, 1).reshape(pixels.shape)  # 35 times faster than a copy of the reversed rows
