"""What stands out from a wall or is let into it: cornices, sills, windows, shutters, doors, balconies, shops, awnings.

Every painter fills a (height, width, 3) uint8 view and depends on its size, look and scheme alone: the equal windows of
a front, and of other fronts, are painted once and set in many times. The unit is 1/128 of the picture's side.
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from i2i.data.buildings import outline
from i2i.data.materials import noise, source

Colour = tuple[int, int, int]


class Scheme(NamedTuple):
    """The colours that go with a wall."""

    trim: Colour
    frame: Colour  # of a window
    shutter: Colour
    door: Colour
    shop: Colour
    stripe: Colour  # of an awning, beside cream


SCHEMES = {
    "brick": Scheme((224, 213, 192), (240, 236, 226), (64, 92, 78), (44, 84, 70), (38, 70, 58), (46, 116, 86)),
    "ochre": Scheme((246, 238, 220), (250, 246, 236), (70, 122, 100), (124, 76, 46), (92, 54, 40), (194, 62, 52)),
    "rose": Scheme((246, 236, 226), (250, 246, 240), (84, 108, 104), (88, 58, 50), (76, 46, 54), (160, 56, 76)),
    "stone": Scheme((226, 220, 207), (78, 82, 88), (86, 116, 148), (40, 64, 108), (36, 52, 82), (50, 86, 144)),
    "timber": Scheme((244, 244, 238), (250, 250, 246), (152, 66, 58), (166, 52, 46), (58, 76, 92), (216, 162, 72)),
}
PAINTERS: dict[str, Callable] = {}  # kind of part -> painter(view, kit, shape, look)


class Kit(NamedTuple):
    """What every painter needs: the unit in pixels of the canvas, and the colours."""

    unit: float
    scheme: Scheme


def _painter(function: Callable) -> Callable:
    PAINTERS[function.__name__] = function
    return function


@functools.lru_cache(maxsize=256)
def tints(colour: Colour, *factors: float) -> tuple[Colour, ...]:
    """The colour lighter (above 1) and darker."""
    return tuple(tuple(min(255, int(part * factor)) for part in colour) for factor in factors)


@functools.lru_cache(maxsize=1024)
def ramp(height: int, top: Colour, bottom: Colour) -> np.ndarray:
    """A vertical gradient (height, 1, 3) uint8; read only, because it is shared."""
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    pixels = (np.float32(top) * (1 - t) + np.float32(bottom) * t).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def fill(view: np.ndarray, x0: float, y0: float, x1: float, y1: float, colour) -> None:
    """A rectangle, its ends excluded as in slices; at least one pixel each way."""
    x0, y0 = max(0, int(x0)), max(0, int(y0))
    view[y0 : max(y0 + 1, int(y1)), x0 : max(x0 + 1, int(x1))] = colour


def darken(view: np.ndarray, factor: float) -> None:
    """In place."""
    view[:] = cv2.convertScaleAbs(np.ascontiguousarray(view), alpha=factor)


@functools.lru_cache(maxsize=512)
def detail(kind: str, wall: str, shape: str, look: int, height: int, width: int, unit: float) -> np.ndarray:
    """A detail of a front with walls of `wall`, (height, width, 3) uint8; read only, because it is shared."""
    pixels = np.empty((height, width, 3), np.uint8)
    PAINTERS[kind](pixels, Kit(unit, SCHEMES[wall]), shape, look)
    pixels.setflags(write=False)
    return pixels


@_painter
def cornice(view, kit, shape, look):
    """A moulding; look 1 is the great one under the eaves, with its teeth."""
    (height, width), u = view.shape[:2], kit.unit
    top, high, mid, low, dark = tints(kit.scheme.trim, 1.08, 1.0, 0.93, 0.82, 0.64)
    if shape != "box":
        view[:] = ramp(height, top, low)
        return
    view[:] = ramp(height, high, low)
    fill(view, 0, 0, width, 0.18 * height, top)
    if look == 1:
        fill(view, 0, 0.30 * height, width, 0.36 * height, dark)
        fill(view, 0, 0.52 * height, width, 0.86 * height, dark)
        for x in np.arange(0.6 * u, width - u, 3.2 * u):
            fill(view, x, 0.52 * height, x + 1.7 * u, 0.82 * height, mid)
            fill(view, x, 0.52 * height, x + 0.5 * u, 0.82 * height, high)
    else:
        fill(view, 0, 0.45 * height, width, 0.55 * height, low)
    fill(view, 0, 0.90 * height, width, height, dark)


@_painter
def trim(view, kit, shape, look):
    """Cut stone: sills, lintels, frames, quoins, steps."""
    (height, width), u = view.shape[:2], kit.unit
    light, base, low, dark = tints(kit.scheme.trim, 1.06, 0.98, 0.89, 0.70)
    if shape != "box":
        view[:] = ramp(height, light, low)
    else:
        view[:] = ramp(height, base, low)
        fill(view, 0, 0, width, 0.5 * u, light)
        fill(view, 0, 0, 0.5 * u, height, light)
        fill(view, width - 0.5 * u, 0, width, height, dark)
    fill(view, 0, height - 0.5 * u, width, height, dark)


def glass(view: np.ndarray, kit: Kit, look: int = 0) -> None:
    """A pane that shows the sky above, the street below, and something of the room: look 1 curtains, look 2 a blind."""
    (height, width), u = view.shape[:2], kit.unit
    view[:] = ramp(height, (150, 176, 198), (46, 56, 68))
    if look == 1:
        for x0, x1 in ((0, 0.30 * width), (0.70 * width, width)):
            fill(view, x0, 0, x1, height, (186, 184, 178))
            for x in np.arange(x0, x1, max(2, 1.6 * u)):
                fill(view, x, 0, x + 0.5 * u, height, (158, 155, 150))
    elif look == 2:
        fill(view, 0, 0, width, 0.36 * height, (200, 192, 174))
        fill(view, 0, 0.36 * height, width, 0.36 * height + 0.6 * u, (112, 106, 96))
    at, wide, lean = (0.05, 0.3, 0.2, 0.42)[look] * width, 0.32 * width, 0.55 * height
    corners = [(at + lean, 0), (at + lean + wide, 0), (at + wide, height), (at, height)]
    streak = np.zeros((height, width), np.uint8)
    cv2.fillPoly(streak, [np.array(corners, np.int32)], 50)
    view[:] = cv2.add(np.ascontiguousarray(view), cv2.merge([streak, streak, streak]))


@_painter
def window(view, kit, shape, look):
    """Glass in its frame, set back behind the wall."""
    (height, width), u = view.shape[:2], kit.unit
    glass(view, kit, look)
    light, mid, dark = tints(kit.scheme.frame, 1.0, 0.88, 0.62)
    bar, rim = max(1, round(0.8 * u)), max(1, round(1.1 * u))
    if height > 10 * u or shape != "box":
        y = int((0.30 if shape == "box" else 0.36) * height)
        fill(view, 0, y, width, y + bar, light)
        fill(view, 0, y + bar, width, y + bar + 0.4 * u, dark)
        if height > 16 * u:
            y = int(0.66 * height)
            fill(view, 0, y, width, y + 0.6 * bar, mid)
    if width > 5 * u:
        fill(view, (width - bar) / 2, 0, (width + bar) / 2, height, light)
        fill(view, (width + bar) / 2, 0, (width + bar) / 2 + 0.4 * u, height, dark)
    if shape == "box":
        fill(view, 0, 0, width, rim, mid)
    else:
        mask = outline(shape, width, height)
        inner = cv2.erode(mask, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8), borderValue=0)
        view[mask > inner] = mid
    fill(view, 0, 0, rim, height, mid)
    fill(view, width - rim, 0, width, height, light)
    fill(view, 0, height - rim, width, height, light)
    deep = max(1, int(1.5 * u))
    darken(view[:deep], 0.42)
    darken(view[:, : deep // 2 + 1], 0.5)


@_painter
def shutter(view, kit, shape, look):
    """One leaf, with its slats."""
    (height, width), u = view.shape[:2], kit.unit
    light, base, dark = tints(kit.scheme.shutter, 1.25, 1.0, 0.68)
    view[:] = base
    for y in np.arange(0.8 * u, height - 0.8 * u, 1.6 * u):
        fill(view, 0.7 * u, y, width - 0.7 * u, y + 0.7 * u, dark)
        fill(view, 0.7 * u, y + 0.7 * u, width - 0.7 * u, y + 1.1 * u, light)
    fill(view, 0, 0.48 * height, width, 0.48 * height + 0.9 * u, base)
    fill(view, 0, 0, 0.4 * u, height, light)
    fill(view, width - 0.4 * u, 0, width, height, dark)


@_painter
def door(view, kit, shape, look):
    """Two leaves with panels under a light."""
    (height, width), u = view.shape[:2], kit.unit
    light, base, dark, deep = tints(kit.scheme.door, 1.35, 1.0, 0.62, 0.4)
    view[:] = ramp(height, light, base)
    above = max(1, int(0.24 * height))
    glass(view[:above], kit)
    for x in (0.25, 0.5, 0.75):
        fill(view, x * width - 0.3 * u, 0, x * width + 0.3 * u, above, base)
    fill(view, 0, above - 0.9 * u, width, above + 0.5 * u, base)
    for left, (top, bottom) in itertools.product((0.10, 0.56), ((0.32, 0.60), (0.66, 0.92))):
        x0, x1, y0, y1 = left * width, (left + 0.34) * width, top * height, bottom * height
        fill(view, x0, y0, x1, y1, dark)
        fill(view, x0 + 0.6 * u, y0 + 0.6 * u, x1, y1, light)
        fill(view, x0 + 0.6 * u, y0 + 0.6 * u, x1 - 0.5 * u, y1 - 0.5 * u, base)
    fill(view, width / 2 - 0.25 * u, above, width / 2 + 0.25 * u, height, deep)
    fill(view, 0.54 * width, 0.62 * height, 0.54 * width + 0.8 * u, 0.62 * height + 0.8 * u, (226, 190, 110))
    rim = int(1.2 * u) + 1
    darken(view[:rim], 0.36)
    darken(view[:, :rim], 0.5)


def balcony(view: np.ndarray, kit: Kit) -> None:
    """A slab with an iron railing in front of what is there already; the one part that can be seen through."""
    (height, width), u = view.shape[:2], kit.unit
    slab, rail = int(0.74 * height), 0.10 * height
    darken(view[:slab], 0.78)
    iron, shine = (38, 42, 48), (92, 98, 106)
    for x in np.arange(0.4 * u, width - 0.6 * u, 1.9 * u):
        fill(view, x, rail, x + 0.7 * u, slab, iron)
    fill(view, 0, 0, width, rail, iron)
    fill(view, 0, 0, width, 0.3 * rail, shine)
    fill(view, 0, 0.50 * height, width, 0.50 * height + 0.4 * u, iron)
    light, low, dark = tints(kit.scheme.trim, 1.06, 0.86, 0.62)
    view[slab:] = ramp(height - slab, light, low)
    fill(view, 0, height - 0.6 * u, width, height, dark)


@_painter
def shop(view, kit, shape, look):
    """A wooden front: a sign with gilt letters, lit windows, panels below."""
    (height, width), u = view.shape[:2], kit.unit
    light, base, dark = tints(kit.scheme.shop, 1.5, 1.0, 0.6)
    view[:] = base
    sign = 0.20 * height
    fill(view, 0, 0, width, 0.6 * u, light)
    fill(view, 0, sign - 0.6 * u, width, sign, dark)
    for x in np.arange(0.30 * width, 0.70 * width, 2.4 * u):  # too far to read
        fill(view, x, 0.36 * sign, x + 1.5 * u, 0.70 * sign, (226, 202, 140))
    count = max(1, round(width / (17 * u)))
    step, top, foot = width / count, int(sign + 0.5 * u), int(0.84 * height)
    for n in range(count):
        x0, x1 = int(n * step + 1.2 * u), int((n + 1) * step - 1.2 * u)
        if x1 <= x0 or foot <= top:
            continue
        pane = view[top:foot, x0:x1]
        glass(pane, kit)
        warm = np.broadcast_to(ramp(foot - top, (34, 24, 12), (112, 84, 44)), pane.shape)
        pane[:] = cv2.add(np.ascontiguousarray(pane), np.ascontiguousarray(warm))
        fill(view, x0, foot - 0.6 * u, x1, foot, light)
        fill(view, x0, foot + 1.1 * u, x1, height - 0.8 * u, dark)
        fill(view, x0 + 0.6 * u, foot + 1.6 * u, x1, height - 0.8 * u, base)


@_painter
def awning(view, kit, shape, look):
    """Stripes, and a valance in the shade of its own edge."""
    (height, width), u = view.shape[:2], kit.unit
    count = max(3, 2 * round(width / (7 * u)) + 1)
    edges, fall = np.linspace(0, width, count + 1).astype(int), int(0.78 * height)
    for n, (x0, x1) in enumerate(itertools.pairwise(edges)):
        colour, low, shaded = tints(kit.scheme.stripe if n % 2 == 0 else (244, 240, 228), 1.0, 0.86, 0.70)
        view[:fall, x0:x1] = ramp(fall, colour, low)
        view[fall:, x0:x1] = shaded
    fill(view, 0, 0, width, 0.5 * u, (236, 232, 224))


@_painter
def plants(view, kit, shape, look):
    """Leaves in the sun: bright above on the left, dark below. A trunk where the part is a narrow box."""
    (height, width), u = view.shape[:2], kit.unit
    if shape == "box":
        view[:] = ramp(height, (70, 56, 46), (104, 86, 70))
        fill(view, 0.6 * width, 0, width, height, (66, 54, 46))
        return
    rng, longer = source("leaves", height, width, look), max(height, width)
    leaves = noise(rng, height, width, longer / (4.0 * u)) + 0.9 * noise(rng, height, width, longer / (1.4 * u))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(longer)
    tone = np.clip(1.14 + 0.14 * leaves - 0.62 * y - 0.25 * x, 0.3, 1.6)[..., None]
    view[:] = np.clip(tone * np.float32((104, 138, 70)) + 8 * (tone - 1) * np.float32((3, 2, 0)), 0, 255)
