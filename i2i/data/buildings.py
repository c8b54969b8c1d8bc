"""The architecture of made-up building fronts: where everything stands, and the label map of it.

A building is a list of parts in painter's order, each a shape in whole pixels. The label map and the photograph are two
paintings of the same list, so the borders of one are the borders of the other.
"""

import functools
import itertools
from typing import NamedTuple

import cv2
import numpy as np

from i2i.data.materials import source

# what a label colour stands for; walls and roofs have one for each material, so that the photograph can be told from it
PALETTE = {
    "sky": (18, 24, 112),
    "ground": (66, 74, 92),
    "brick": (40, 64, 255),
    "ochre": (0, 176, 255),
    "rose": (150, 60, 240),
    "stone": (150, 164, 226),
    "timber": (0, 136, 116),
    "tiles": (176, 24, 56),
    "slate": (104, 20, 96),
    "cornice": (0, 230, 230),
    "trim": (120, 250, 160),
    "window": (255, 214, 0),
    "shutter": (170, 220, 40),
    "balcony": (255, 96, 168),
    "door": (255, 60, 24),
    "shop": (255, 146, 0),
    "awning": (240, 240, 250),
    "plants": (20, 96, 40),
}
_NUMBERS = {kind: np.uint8(number) for number, kind in enumerate(PALETTE)}
_TABLE = np.array(list(PALETTE.values()), np.uint8)
WALLS = ("brick", "ochre", "rose", "stone", "timber")


class Part(NamedTuple):
    """One thing on the front: its class, its box in pixels (x0, y0, x1, y1; ends excluded), its outline in the box."""

    kind: str
    box: tuple[int, int, int, int]
    shape: str = "box"
    style: int = 0  # which of the looks of its kind


class Building(NamedTuple):
    """Parts from back to front, the wall's material, and the side of the picture in pixels."""

    parts: list[Part]
    wall: str
    size: int


@functools.lru_cache(maxsize=128)
def outline(shape: str, width: int, height: int) -> np.ndarray:
    """The filled outline as a (height, width) uint8 mask, 0 or 255; `box` is full."""
    t = np.linspace(0, np.pi, 33)
    if shape == "arch":  # a half circle, flattened where the box is low
        rise = min(width / 2, 0.7 * height)
        points = np.stack([width / 2 * (1 - np.cos(t)), rise * (1 - np.sin(t))], 1).tolist()
        points += [(width, height), (0, height)]
    elif shape == "segment":
        rise = min(0.2 * width, 0.4 * height)
        points = np.stack([width / 2 * (1 - np.cos(t)), rise * (1 - np.sin(t))], 1).tolist()
        points += [(width, height), (0, height)]
    elif shape == "gable":
        points = [(width / 2, 0), (width, height), (0, height)]
    elif shape == "hip":
        inset = min(0.9 * height, 0.36 * width)
        points = [(inset, 0), (width - inset, 0), (width, height), (0, height)]
    elif shape == "mansard":
        inset = min(0.22 * height, 0.2 * width)
        points = [(inset, 0), (width - inset, 0), (width, height), (0, height)]
    elif shape == "round":
        points = np.stack([width / 2 * (1 + np.cos(2 * t)), height / 2 * (1 + np.sin(2 * t))], 1)
    else:
        points = [(0, 0), (width, 0), (width, height), (0, height)]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round((np.asarray(points) - 0.5) * 16).astype(np.int32)], 255, shift=4)
    mask.setflags(write=False)
    return mask


@functools.lru_cache(maxsize=128)
def _covered(shape: str, width: int, height: int) -> np.ndarray:
    """Which pixels of its box a part owns: those it covers for the most part. (height, width) bool."""
    mask = outline(shape, 4 * width, 4 * height)
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) > 127


def labels(building: Building) -> np.ndarray:
    """The label map, (size, size, 3) uint8 RGB: colours of PALETTE and no others."""
    canvas = np.zeros((building.size, building.size), np.uint8)
    for part in building.parts:
        x0, y0, x1, y1 = part.box
        if part.shape == "box":
            canvas[y0:y1, x0:x1] = _NUMBERS[part.kind]
        else:
            np.copyto(canvas[y0:y1, x0:x1], _NUMBERS[part.kind], where=_covered(part.shape, x1 - x0, y1 - y0))
    return _TABLE[canvas]


class _Sheet:
    """Takes parts in fractions of the picture and notes them in whole pixels."""

    def __init__(self, size: int):
        self.size = size
        self.parts: list[Part] = []

    def box(self, kind: str, x0: float, y0: float, x1: float, y1: float, shape: str = "box", style: int = 0) -> None:
        self._note(kind, *(round(at * self.size) for at in (x0, y0, x1, y1)), shape, style)

    def at(
        self, kind: str, middle: float, foot: float, width: float, height: float, shape: str = "box", style: int = 0
    ):
        """A thing that stands on `foot`: equal widths and heights come out equal in pixels, wherever it stands."""
        w, h = max(1, round(width * self.size)), max(1, round(height * self.size))
        x0, y1 = round(middle * self.size - w / 2), round(foot * self.size)
        self._note(kind, x0, y1 - h, x0 + w, y1, shape, style)

    def _note(self, kind, x0, y0, x1, y1, shape, style) -> None:
        x0, x1, y0, y1 = max(0, x0), min(self.size, x1), max(0, y0), min(self.size, y1)
        if x0 < x1 and y0 < y1:
            self.parts.append(Part(kind, (x0, y0, x1, y1), shape, style))


class _Style(NamedTuple):
    """What the architect decided; lengths are fractions of the picture."""

    wall: str
    roof: str  # flat, hip, mansard, gable, stepped
    tiling: str
    left: float
    right: float
    eaves: float  # where the wall ends above
    ground: float  # where it ends below
    storeys: int
    bays: int
    first: float  # height of the ground floor in upper storeys
    glass: tuple[float, float]  # of a window: fraction of a bay, fraction of a storey
    arch: str  # shape of the windows
    head: str  # what is over a window: none, lintel, frame
    shutters: bool
    balconies: str  # none, centre, all, long
    bands: bool  # a string course at every floor
    quoins: bool
    shops: bool
    door: int  # its bay
    trees: tuple[float, ...]  # heights, on the left and on the right; 0 for none
    hedges: bool

    @property
    def pitch(self) -> float:
        return (self.right - self.left) / self.bays

    @property
    def storey(self) -> float:
        return (self.ground - self.eaves - 0.04) / (self.storeys - 1 + self.first)  # the cornice takes its share

    def middle(self, bay: int) -> float:
        return self.left + (bay + 0.5) * self.pitch

    def floor(self, storey: int) -> float:
        """Where storey 0, 1, ... stands."""
        return self.ground - (self.storey * (self.first + storey - 1) if storey else 0)


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """One of the names, as often as its weight says; ten times as fast as `rng.choice`."""
    ends = itertools.accumulate(weights.values())
    at = rng.random() * sum(weights.values())
    return next((name for name, end in zip(weights, ends) if at < end), next(iter(weights)))


def _decide(rng: np.random.Generator) -> _Style:
    """All choices, in an order that does not depend on the size of the picture."""
    wall = _pick(rng, {"brick": 22, "ochre": 22, "rose": 18, "stone": 20, "timber": 18})
    roofs = {"flat": 30, "hip": 40, "mansard": 20, "gable": 10}
    if wall == "brick":
        roofs = {"flat": 30, "hip": 25, "mansard": 15, "gable": 10, "stepped": 20}
    elif wall == "stone":
        roofs = {"flat": 35, "hip": 15, "mansard": 40, "gable": 10}
    elif wall == "timber":
        roofs = {"flat": 15, "hip": 35, "gable": 50}
    roof = _pick(rng, roofs)
    pointed = roof in ("gable", "stepped")
    width = rng.uniform(0.56, 0.72) if pointed else rng.uniform(0.70, 0.90)
    if not pointed and rng.random() < 0.3:
        width = 1.0
    left = (1 - width) * rng.uniform(0.4, 0.6)
    above = {
        "flat": (0.09, 0.16),
        "hip": (0.21, 0.27),
        "mansard": (0.24, 0.28),
        "gable": (0.27, 0.34),
        "stepped": (0.28, 0.34),
    }
    eaves, ground = rng.uniform(*above[roof]), 1 - rng.uniform(0.055, 0.08)
    storeys = int(np.clip(round((ground - eaves) / rng.uniform(0.18, 0.26)), 2, 4))
    bays = int(np.clip(round(width / rng.uniform(0.15, 0.23)), 2, 6))
    if pointed:
        bays = 3 if width > 0.6 else 2
    arch = "box" if wall == "timber" else _pick(rng, {"box": 55, "segment": 20, "arch": 25})
    shutters = arch == "box" and wall != "brick" and rng.random() < 0.55
    return _Style(
        wall=wall,
        roof=roof,
        tiling="slate" if roof == "mansard" or wall in ("stone", "timber") else "tiles",
        left=left,
        right=left + width,
        eaves=eaves,
        ground=ground,
        storeys=storeys,
        bays=bays,
        first=rng.uniform(1.15, 1.35),
        glass=(rng.uniform(0.36, 0.42) if shutters else rng.uniform(0.42, 0.56), rng.uniform(0.54, 0.66)),
        arch=arch,
        head=_pick(rng, {"none": 20, "lintel": 40, "frame": 40}),
        shutters=shutters,
        balconies=_pick(rng, {"none": 45, "centre": 20, "all": 20, "long": 15}),
        bands=rng.random() < 0.5,
        quoins=wall in ("brick", "rose", "ochre") and rng.random() < 0.5,
        shops=not pointed and rng.random() < 0.5,
        door=int(rng.integers(bays)) if rng.random() < 0.4 else bays // 2,
        trees=tuple(rng.uniform(0.30, 0.46) if rng.random() < 0.5 else 0.0 for _ in range(2)),
        hedges=rng.random() < 0.4,
    )


def _crown(sheet: _Sheet, style: _Style) -> None:
    """Chimneys, the roof, and the wall under it."""
    left, right, eaves, pitch = style.left, style.right, style.eaves, style.pitch
    top = {"flat": eaves - 0.035, "hip": eaves - 0.15, "mansard": eaves - 0.16}.get(style.roof, eaves - 0.24)
    over = 0.02 if style.roof in ("hip", "gable") else 0.0
    if style.roof in ("hip", "mansard"):
        for x in (left + 0.24 * (right - left), right - 0.24 * (right - left)):
            sheet.at("brick", x, top + 0.06, 0.055, 0.10)
            sheet.at("cornice", x, top - 0.035, 0.07, 0.016)
        sheet.box(style.tiling, left - over, top, right + over, eaves, style.roof)
    elif style.roof == "gable":
        sheet.at("brick", left + 0.25 * (right - left), eaves - 0.05, 0.055, 0.16)
        sheet.box(style.tiling, left - 0.035, top - 0.03, right + 0.035, eaves + 0.012, "gable")
        sheet.box(style.wall, left + 0.01, top + 0.022, right - 0.01, eaves + 0.005, "gable")
    elif style.roof == "stepped":
        steps = 4
        for step in range(steps, 0, -1):
            inset = (right - left) * 0.42 * step / steps
            y = eaves - 0.235 * step / steps
            sheet.box(style.wall, left + inset, y, right - inset, eaves)
            sheet.box("cornice", left + inset - 0.006, y - 0.014, right - inset + 0.006, y)
    else:
        sheet.box(style.wall, left, top, right, eaves)
        sheet.box("trim", left, top - 0.014, right, top)
    sheet.box(style.wall, left, eaves, right, style.ground)
    if style.roof in ("gable", "stepped"):
        sheet.at("trim", (left + right) / 2, eaves - 0.032, 0.10, 0.012)
        sheet.at("window", (left + right) / 2, eaves - 0.044, 0.078, 0.078, "round" if style.arch != "box" else "box")
    if style.roof == "mansard":
        for bay in range(style.bays):
            x, width = style.middle(bay), min(0.11, 0.5 * pitch)
            sheet.at("cornice", x, eaves - 0.118, 1.5 * width, 0.035, "gable" if style.arch == "box" else "segment")
            sheet.at("trim", x, eaves - 0.02, 1.25 * width, 0.1)
            sheet.at("window", x, eaves - 0.026, 0.8 * width, 0.082, "box" if style.arch == "box" else style.arch)


def _trimmings(sheet: _Sheet, style: _Style) -> None:
    """What runs along the wall: plinth, quoins, string courses, and the cornice under the eaves."""
    left, right = style.left, style.right
    if style.quoins:
        height = style.storey / 6
        count = int((style.ground - style.eaves) / height)
        for n in range(count):
            y, length = style.ground - n * height, 0.040 if n % 2 else 0.026
            for x0, x1 in ((left, left + length), (right - length, right)):
                sheet.box("trim", x0, y - height * 0.94, x1, y)
    sheet.box("trim", left - 0.006, style.ground - 0.028, right + 0.006, style.ground)
    for storey in range(1, style.storeys):
        if style.bands or (storey == 1 and style.shops):
            y = style.floor(storey)
            sheet.box("cornice", left - 0.004, y - 0.012, right + 0.004, y + 0.008)
    if style.roof != "gable":
        depth = 0.03 if style.roof == "stepped" else 0.042
        sheet.box("cornice", left - 0.016, style.eaves - 0.014, right + 0.016, style.eaves - 0.014 + depth, style=1)


def _windows(sheet: _Sheet, style: _Style, storey: int, bays: list[int]) -> None:
    """The windows of one storey with all that belongs to them."""
    floor, height = style.floor(storey), style.glass[1] * style.storey
    width = min(style.glass[0] * style.pitch, 0.72 * height)
    high = style.balconies != "none" and storey == (style.storeys - 1 if style.storeys < 4 else 2) and storey > 0
    if high:  # a door to the balcony rather than a window
        height *= 1.2
    foot = floor - (0.035 if high else 0.22 * style.storey)
    for bay in bays:
        x = style.middle(bay)
        if style.head == "frame":
            sheet.at("trim", x, foot, width + 0.028, height + 0.016, style.arch)
        elif style.head == "lintel" and style.arch == "box":
            sheet.at("trim", x, foot - height, width + 0.034, 0.016)
        sheet.at("window", x, foot, width, height, style.arch)
        if not high:
            sheet.at("trim", x, foot + 0.014, width + 0.04, 0.014)
        if style.shutters:
            for side in (-1, 1):
                sheet.at("shutter", x + side * 0.76 * width, foot, 0.46 * width, height)
    if high and style.balconies == "long":
        sheet.box(
            "balcony", style.left + 0.25 * style.pitch, floor - 0.074, style.right - 0.25 * style.pitch, floor - 0.008
        )
    elif high:
        centre = {style.bays // 2, (style.bays - 1) // 2}
        for bay in bays if style.balconies == "all" else [bay for bay in bays if bay in centre]:
            sheet.at("balcony", style.middle(bay), floor - 0.008, min(1.75 * width, 0.92 * style.pitch), 0.066)


def _entrance(sheet: _Sheet, style: _Style) -> None:
    """The ground floor: a door and windows, or a door and shops."""
    height = style.first * style.storey
    x, width = style.middle(style.door), min(0.62 * style.pitch, 0.115)
    if style.shops:
        runs, bays = [], [bay for bay in range(style.bays) if bay != style.door]
        for bay in bays:
            if runs and runs[-1][-1] == bay - 1 and len(runs[-1]) < 3:
                runs[-1].append(bay)
            else:
                runs.append([bay])
        for run in runs:
            x0, x1 = style.middle(run[0]) - 0.43 * style.pitch, style.middle(run[-1]) + 0.43 * style.pitch
            sheet.box("shop", x0, style.ground - 0.88 * height, x1, style.ground)
            sheet.box("awning", x0 - 0.006, style.ground - 0.70 * height, x1 + 0.006, style.ground - 0.50 * height)
    else:
        _windows(sheet, style, 0, [bay for bay in range(style.bays) if bay != style.door])
    arch = "arch" if style.arch == "arch" else "box"
    sheet.at("trim", x, style.ground, width + 0.034, 0.80 * height + 0.02, arch)
    sheet.at("door", x, style.ground - 0.012, width, 0.80 * height - 0.012, arch)
    sheet.at("trim", x, style.ground + 0.012, width + 0.06, 0.024)


def _garden(sheet: _Sheet, style: _Style) -> None:
    """Trees where there is room beside the building, hedges along its foot."""
    for height, x, room in zip(
        style.trees, (0.42 * style.left, 0.58 + 0.42 * style.right), (style.left, 1 - style.right)
    ):
        if not height or room < 0.1:
            continue
        foot = style.ground + 0.012
        sheet.at("plants", x, foot, 0.02, 0.5 * height)
        for look, (dx, dy, wide, high) in enumerate(
            ((-0.05, 0.32, 0.15, 0.42), (0.05, 0.30, 0.15, 0.40), (0, 0.5, 0.17, 0.5))
        ):
            sheet.at("plants", x + dx, foot - dy * height, wide, high * height, "round", look)
    if style.hedges and not style.shops:
        for bay in range(style.bays):
            if bay != style.door:
                x, width = style.middle(bay), min(0.7 * style.pitch, 0.16)
                for look, side in enumerate((-0.3, 0.3, 0)):
                    sheet.at("plants", x + side * width, style.ground + 0.008, 0.5 * width, 0.055, "round", look)


def design(seed: int, size: int) -> Building:
    """The building that belongs to `seed`: the same one, on a finer or coarser grid, at every size."""
    style, sheet = _decide(source("building", seed)), _Sheet(size)
    sheet.box("sky", 0, 0, 1, 1)
    sheet.box("ground", 0, style.ground, 1, 1)
    _crown(sheet, style)
    _trimmings(sheet, style)
    for storey in range(style.storeys - 1, 0, -1):
        _windows(sheet, style, storey, list(range(style.bays)))
    _entrance(sheet, style)
    _garden(sheet, style)
    return Building(sheet.parts, style.wall, size)
