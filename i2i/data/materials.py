"""Surfaces of made-up buildings: brick, plaster, stone, boards, roof tiles, slates, and the noise in all of them.

A texture is drawn once for a resolution and kept, since every picture of that size asks for it again. Its grid is laid
out in fractions of the picture, so that a wall has as many courses at 64 pixels as at 512.
"""

import functools

import cv2
import numpy as np

from i2i.seeds import derive

# base colour of a surface, RGB; the texture multiplies it
COLOURS = {
    "brick": (172, 98, 80),
    "ochre": (232, 194, 128),
    "rose": (216, 150, 132),
    "stone": (196, 188, 170),
    "timber": (126, 154, 168),
    "tiles": (176, 98, 72),
    "slate": (92, 102, 122),
}


def source(*parts: int | str) -> np.random.Generator:
    """The random numbers that belong to these parts, and to nothing else."""
    return np.random.default_rng(derive(*parts))


def noise(rng: np.random.Generator, height: int, width: int, cells: float) -> np.ndarray:
    """Smooth noise (height, width) float32 of about unit spread, with `cells` bumps along the longer side."""
    scale = cells / max(height, width)
    small = rng.standard_normal((max(2, round(height * scale)), max(2, round(width * scale))), dtype=np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _grid(side: int, course: float, length: float, shift: float) -> tuple[np.ndarray, ...]:
    """Row number, stone number, and the place inside the stone (0..1 down and across) for each pixel of a square."""
    y = (np.arange(side, dtype=np.float32)[:, None] + 0.5) / course
    row = np.floor(y)
    x = (np.arange(side, dtype=np.float32)[None, :] + 0.5) / length + shift * (row % 2)
    column = np.floor(x)
    return row.astype(int), column.astype(int), np.broadcast_to(y - row, x.shape), x - column


def _laid(rng, side: int, unit: float, course: float, length: float, joint: float, spread: float, shift=0.5):
    """Stones in courses: a tone for each stone, and where the joints run. Sizes in 1/128 of the picture."""
    row, column, down, across = _grid(side, course * unit, length * unit, shift)
    tones = rng.standard_normal((row.max() + 1, column.max() + 1), dtype=np.float32) * spread
    edge_y, edge_x = np.minimum(down, 1 - down) * course, np.minimum(across, 1 - across) * length
    joints = np.clip(1.5 - np.minimum(edge_y, edge_x) / (0.5 * joint), 0, 1)
    return 1 + tones[row, column], joints, down, across


def _brick(rng, side, unit):
    tone, joints, down, _ = _laid(rng, side, unit, 2.5, 6.4, 0.5, 0.10)
    warm = np.stack([tone, 0.5 + 0.5 * tone, 0.55 + 0.45 * tone], axis=-1) + 0.05 * (0.5 - down)[..., None]
    mortar = np.array([1.10, 1.62, 1.86], np.float32)
    return warm + (mortar - warm) * (0.62 * joints)[..., None]


def _plaster(rng, side, unit):
    streaks = cv2.resize(noise(rng, max(4, side // 24), side, 60), (side, side), interpolation=cv2.INTER_CUBIC)
    tone = 1 + 0.016 * noise(rng, side, side, 7) + 0.014 * noise(rng, side, side, 44) + 0.012 * streaks
    return np.stack([tone, tone, 0.4 + 0.6 * tone], axis=-1)


def _stone(rng, side, unit):
    tone, joints, down, across = _laid(rng, side, unit, 6.4, 12.8, 0.7, 0.055)
    bevel = (
        0.07 * np.clip(1 - 7 * down, 0, 1) - 0.08 * np.clip(7 * down - 6, 0, 1) - 0.04 * np.clip(9 * across - 8, 0, 1)
    )
    tone = (tone + bevel + 0.025 * noise(rng, side, side, 60)) * (1 - 0.30 * joints)
    return np.stack([tone, tone, 0.3 + 0.7 * tone], axis=-1)


def _timber(rng, side, unit):
    row, _, down, _ = _grid(side, 3.2 * unit, 64 * unit, 0.37)
    board = rng.standard_normal(row.max() + 1, dtype=np.float32)[row] * 0.035
    grain = cv2.resize(noise(rng, side, max(4, side // 16), 120), (side, side), interpolation=cv2.INTER_LINEAR)
    lap = 0.10 * (0.5 - down) - 0.34 * np.clip((down - 0.76) / 0.24, 0, 1)
    tone = 1 + board + lap + 0.028 * grain
    return np.stack([tone, tone, 0.2 + 0.8 * tone], axis=-1)


def _tiles(rng, side, unit):
    tone, _, down, across = _laid(rng, side, unit, 3.6, 3.6, 0.5, 0.10)
    round_end = 0.72 + 0.28 * np.sqrt(np.clip(1 - (2 * across - 1) ** 2, 0, 1))
    under = np.clip((down - round_end + 0.14) / 0.14, 0, 1)
    tone = tone * (1.10 - 0.34 * under - 0.16 * down - 0.10 * np.abs(2 * across - 0.8))
    return np.stack([tone, 0.2 + 0.8 * tone, 0.25 + 0.75 * tone], axis=-1)


def _slate(rng, side, unit):
    tone, joints, down, _ = _laid(rng, side, unit, 2.9, 4.4, 0.5, 0.085)
    tone = (tone + 0.16 * (0.6 - down)) * (1 - 0.30 * joints)
    return np.stack([tone, tone, 0.2 + 0.8 * tone], axis=-1)


_DRAWN = {
    "brick": _brick,
    "ochre": _plaster,
    "rose": _plaster,
    "stone": _stone,
    "timber": _timber,
    "tiles": _tiles,
    "slate": _slate,
}


@functools.lru_cache(maxsize=16)  # seven surfaces at two sizes
def texture(name: str, side: int) -> np.ndarray:
    """A square (side, side, 3) uint8 of the surface in its base colour; read only, because it is shared."""
    surface = _DRAWN[name](source("surface", name), side, side / 128)
    pixels = np.clip(surface * np.array(COLOURS[name], np.float32), 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels
