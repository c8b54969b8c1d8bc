"""Small pictures as the bytes of every kind of file, for tests of readers."""

import io

import cv2
import numpy as np
import tifffile
from PIL import Image

RGB = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8), (5, 5), 0)
GREY = np.ascontiguousarray(RGB[..., 0])
DEEP = np.random.default_rng(1).integers(0, 65536, (24, 20, 3), dtype=np.uint16)
FLOATS = np.random.default_rng(2).normal(0, 1000, (24, 20, 3)).astype(np.float32)


def many(channels: int, dtype: type) -> np.ndarray:
    """(24, 20, channels) of levels that no two channels share."""
    x = np.random.default_rng(3).integers(0, 200, (24, 20, channels)) + np.arange(channels)
    return (x * (1.25 if dtype == np.float32 else 1)).astype(dtype)


def by_pillow(picture: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(out, kind, **options)
    return out.getvalue()


def tiff(pixels: np.ndarray, **options) -> bytes:
    """By tifffile; without a description of the shape unless `metadata` asks for one."""
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **{"metadata": None, **options})
    return out.getvalue()


def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version, allow_pickle=True)
    return out.getvalue()
