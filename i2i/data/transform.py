"""Resize, crop, flip and a named pipeline of albumentations: one draw for all pictures of a call.

The only file that imports albumentations, and late: its import takes seconds, and asks the network for news of itself
unless it is told not to.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np

from i2i.data import TRANSFORMS
from i2i.errors import UserError


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
    import cv2

    step = _albumentations().Affine(
        rotate=(-5, 5),
        scale=(0.95, 1.05),
        translate_percent=(-0.05, 0.05),
        interpolation=cv2.INTER_LINEAR,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1,
    )
    return [step]


class Transform:
    """What happens to the pictures of a sample between file and network.

    Args:
        load_size: the shorter side is resized to it, aspect kept (bicubic up, area down); None leaves sizes alone.
        crop_size: side of the square that is cut out at a drawn place.
        flip: left and right are exchanged for every second sample.
        pipeline: name in `TRANSFORMS` of what follows, or None.

    Raises:
        UserError: a crop larger than load_size, an unknown pipeline.
    """

    def __init__(self, load_size: int | None, crop_size: int, flip: bool, pipeline: str | None = None):
        if load_size is not None and load_size < crop_size:
            raise UserError(
                f"load_size {load_size} is smaller than crop_size {crop_size}. "
                f"Set load_size to {crop_size} or more, or to null for the pictures' own size."
            )
        self.load_size, self.crop_size, self.flip, self.pipeline = load_size, crop_size, flip, pipeline
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
        first, *others = pictures
        sizes = {pixels.shape[:2] for pixels in pictures.values()}
        height, width = sizes.pop()
        if sizes:
            shown = ", ".join(f"{key} {p.shape[1]} x {p.shape[0]}" for key, p in pictures.items())
            raise UserError(f"pictures of one sample must have one size, not {shown}. Make them the same.")
        if self.load_size is None and min(height, width) < self.crop_size:
            raise UserError(
                f"a picture of {width} x {height} is smaller than crop_size {self.crop_size}. "
                f"Set load_size to {self.crop_size} or more."
            )
        compose = self._compose(tuple(others))
        compose.set_random_seed(seed % 2**32)
        given = {key: _not_two(pixels) for key, pixels in pictures.items()}
        moved = compose(image=given[first], **{key: given[key] for key in others})
        moved[first] = moved["image"]
        return {key: moved[key][:, :, : pixels.shape[2]] for key, pixels in pictures.items()}

    def prepare(self) -> None:
        """Imports now what the first call would import."""
        _albumentations()

    def _compose(self, others: tuple[str, ...]) -> Callable:
        if others not in self._composed:
            import cv2

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
