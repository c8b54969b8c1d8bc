"""Made-up pictures with edges, each unlike the others, and folders of them."""

from pathlib import Path

import cv2
import numpy as np


def scene(seed: int, size: int = 96) -> np.ndarray:
    """(size, size, 3) uint8: twelve filled rectangles on a coloured ground, with a little noise."""
    rng = np.random.default_rng(seed)
    pixels = np.full((size, size, 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(12):
        x, y = (int(v) for v in rng.integers(0, size - 10, 2))
        width, height = (int(v) for v in rng.integers(6, size // 2, 2))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        cv2.rectangle(pixels, (x, y), (x + width, y + height), colour, -1)
    return np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def labels(pixels: np.ndarray) -> np.ndarray:
    """What a label map of a scene might be: its levels in four steps, other colours."""
    return 255 - (cv2.medianBlur(pixels, 5) // 64) * 64


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def paired(root: Path, train: int = 10, val: int = 4, size: int = 96) -> Path:
    """train/A + train/B and val/A + val/B of pairs without a fault."""
    for index in range(train + val):
        split, pixels = ("train" if index < train else "val"), scene(index, size)
        save(root / split / "A" / f"{index}.png", pixels)
        save(root / split / "B" / f"{index}.png", labels(pixels))
    return root


def side_by_side(root: Path, train: int = 10, val: int = 4, size: int = 96) -> Path:
    """train/* and val/* of the same pairs, both pictures in each file."""
    for index in range(train + val):
        split, pixels = ("train" if index < train else "val"), scene(index, size)
        save(root / split / f"{index}.png", np.hstack([pixels, labels(pixels)]))
    return root
