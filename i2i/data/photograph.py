"""The photograph of a made-up building: materials, shadows and light for the parts that its label map names.

Painted at two to four times the resolution with the light from the upper left, then averaged down. What a label does
not say (the hour, the clouds, what the panes reflect) varies little from one building to the next.
"""

import functools

import cv2
import numpy as np

from i2i.data.buildings import Building, Part, outline
from i2i.data.details import SCHEMES, Kit, balcony, detail, fill, ramp
from i2i.data.materials import COLOURS, noise, source, texture

SHADOW = np.array((0.42, 0.44, 0.54), np.float32)  # what the sky alone lights is bluish


class _Easel:
    """The canvas and the light that falls on it (255, and less in a shadow), both `zoom` times the photograph."""

    def __init__(self, building: Building, seed: int):
        self.wall = building.wall
        self.zoom = 4 if building.size <= 96 else 3 if building.size <= 192 else 2
        self.side = building.size * self.zoom
        self.unit = self.side / 128
        self.canvas = np.empty((self.side, self.side, 3), np.uint8)
        self.light = np.full((self.side, self.side), 255, np.uint8)
        self.rng = rng = source("weather", seed)
        self.hour = rng.uniform(-1, 1)  # cool noon to warm evening
        self.looks = source("rooms", seed)
        self.tones = {}  # how this building's materials differ from the usual: lighter or darker, warmer or cooler
        for name in COLOURS:
            level, warmth = 255 * rng.uniform(0.90, 1.06), rng.uniform(-0.04, 0.04)
            self.tones[name] = (level * (1 + warmth), level, level * (1 - warmth), 0)

    def paint(self, part: Part) -> None:
        x0, y0, x1, y1 = (at * self.zoom for at in part.box)
        view = self.canvas[y0:y1, x0:x1]
        if part.kind == "sky":
            self.sky(view)
        elif part.kind == "ground":
            self.ground(view)
        elif part.kind == "balcony":
            balcony(view, Kit(self.unit, SCHEMES[self.wall]))
        elif part.kind in COLOURS:
            pixels = texture(part.kind, self.side)[y0:y1, x0:x1]
            self.put(view, part, cv2.multiply(pixels, self.tones[part.kind], scale=1 / 255))
        else:
            look = int(self.looks.integers(4)) if part.kind == "window" else part.style
            self.put(view, part, detail(part.kind, self.wall, part.shape, look, *view.shape[:2], self.unit))
        self.shade(part, x0, y0, x1, y1)

    def put(self, view: np.ndarray, part: Part, pixels: np.ndarray) -> None:
        if part.shape == "box":
            view[:] = pixels
        else:
            cv2.copyTo(pixels, outline(part.shape, *view.shape[1::-1]), view)

    def shade(self, part: Part, x0: int, y0: int, x1: int, y1: int) -> None:
        """What stands out is lit, whatever fell there before, and throws a shadow downwards and to the right."""
        u = self.unit
        if part.kind in ("cornice", "shutter", "balcony", "shop", "awning", "plants"):
            light = self.light[y0:y1, x0:x1]
            np.maximum(light, 255 if part.shape == "box" else outline(part.shape, x1 - x0, y1 - y0), out=light)
        if part.shape != "box" and part.kind != "trim":
            return
        if part.kind == "cornice":
            inset = min(1.6 * u, 0.1 * (x1 - x0))
            self.cast(x0 + inset, y1, x1 - 0.2 * inset, y1 + (3.4 if part.style == 1 else 1.5) * u, 60)
        elif part.kind == "trim":
            self.cast(x0 + 0.6 * u, y1, x1 + 0.6 * u, y1 + 1.3 * u, 96)
            if y1 - y0 > 6 * u and part.shape == "box":
                self.cast(x1, y0 + 1.2 * u, x1 + 0.9 * u, y1 + 1.3 * u, 130)
        elif part.kind == "shutter":
            self.cast(x1, y0 + 0.8 * u, x1 + 0.8 * u, y1 + 0.8 * u, 110)
            self.cast(x0 + 0.8 * u, y1, x1, y1 + 0.8 * u, 110)
        elif part.kind == "balcony":
            self.cast(x0 + u, y1, x1 + u, y1 + 3.2 * u, 70)
        elif part.kind == "awning":
            self.cast(x0 + u, y1, x1 + 0.6 * u, y1 + 4.0 * u, 40)

    def cast(self, x0: float, y0: float, x1: float, y1: float, dark: int) -> None:
        self.light[int(y0) : int(y1), max(0, int(x0)) : int(x1)] = dark

    def sky(self, view: np.ndarray) -> None:
        """Blue above, haze below, and clouds that lie flat."""
        rng, side = self.rng, 64
        blue = np.float32((98, 150, 210)) + 10 * self.hour * np.float32((1, 0, -1))
        haze = np.float32((206, 224, 238)) + 14 * self.hour * np.float32((1, 0.1, -1))
        t = np.linspace(0, 1, side, dtype=np.float32)[:, None, None] ** 0.8
        heap = noise(rng, side, side, 5) + 0.5 * noise(rng, side, side, 11) + 0.25 * noise(rng, side, side, 20)
        heap = cv2.resize(heap[:, :30], (side, side), interpolation=cv2.INTER_LINEAR)
        cover = np.clip(0.6 * heap - 0.12, 0, 0.9)[..., None]
        above = heap[np.maximum(np.arange(side) - 4, 0)]
        lit = np.clip(0.97 - 0.07 * above, 0.84, 1)[..., None] * np.float32((255, 253, 250))
        sky = blue * (1 - t) + haze * t
        sky = sky + (lit - sky) * cover
        cv2.resize(np.clip(sky, 0, 255).astype(np.uint8), view.shape[1::-1], dst=view, interpolation=cv2.INTER_CUBIC)

    def ground(self, view: np.ndarray) -> None:
        """A pavement of slabs, the kerb, the street."""
        (height, width), u = view.shape[:2], self.unit
        kerb, gutter, street = (int(part * height) for part in (0.50, 0.62, 0.70))
        view[:] = ramp(height, (160, 156, 150), (120, 118, 118))
        for x in np.arange(0, width, 8 * u):
            fill(view, x, 0, x + 0.4 * u, kerb, (128, 124, 120))
        view[kerb:gutter] = (190, 186, 178)
        view[gutter:street] = (84, 82, 84)
        view[street:] = ramp(height - street, (100, 100, 104), (88, 88, 92))


@functools.lru_cache(maxsize=8)
def _daylight(size: int) -> np.ndarray:
    """The light over the whole picture, (size, size) float32: from the upper left, less at the foot and at the rim."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / max(1, size - 1)
    light = 1.12 - 0.09 * x - 0.04 * y - 0.08 * np.clip((y - 0.72) / 0.28, 0, 1) ** 2
    light *= 1 - 0.5 * np.clip(np.hypot(x - 0.5, y - 0.5) - 0.34, 0, None) ** 1.5
    light.setflags(write=False)
    return light


def photograph(building: Building, seed: int) -> np.ndarray:
    """What a camera sees of the building: (size, size, 3) uint8 RGB."""
    easel, size = _Easel(building, seed), building.size
    for part in building.parts:
        easel.paint(part)
    rng, photo = easel.rng, cv2.resize(easel.canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    light = cv2.resize(easel.light, (size, size), interpolation=cv2.INTER_AREA)
    light = cv2.GaussianBlur(light, (0, 0), 0.004 * size)
    levels = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    warmth = 1 + 0.035 * easel.hour * np.float32((1, 0.4, -1))
    photo *= ((SHADOW + (1 - SHADOW) * levels) * warmth)[light]
    weather = _daylight(size) * (1 + 0.018 * noise(rng, size, size, 6))
    photo *= cv2.merge([weather, weather, weather])
    grain = np.frombuffer(rng.bytes(size * size), np.uint8).reshape(size, size).astype(np.float32) * (7 / 255) - 3
    photo += cv2.merge([grain, grain, grain])
    return np.clip(photo, 0, 255, out=photo).astype(np.uint8)
