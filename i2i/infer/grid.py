"""Sheets of pictures for people: a titled column for each kind, a row for each sample."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from i2i.data.pictures import write

WHITE, INK, HAIRLINE = (255, 255, 255), (34, 34, 34), (222, 222, 222)
MARGIN, GAP = 20, 10  # pixels around the sheet and between cells
LARGEST, SMALLEST = 320, 96  # a picture's longer side: what has more is shrunk, what has less enlarged
TITLE = 17  # height of letters, in pixels
BLOCK, BLOCK_CELL = 8, 160  # a single column of more pictures becomes a block, whose pictures are no larger than this


def grid(
    columns: Mapping[str, Sequence[np.ndarray]], path: str | os.PathLike, *, largest: int = LARGEST, heading: str = ""
) -> None:
    """Writes a sheet of pictures as PNG, whole or not at all. One kind alone, of many, is laid out as a block, by rows.

    Args:
        columns: title -> pictures (H, W, C) or (H, W), uint8, C 1 (drawn grey) or 3, as `Domain.shown` gives them.
            Columns may differ in length, pictures in size.
        path: the file.
        largest: the most pixels on the longer side of a picture.
        heading: words above all columns.

    Raises:
        ValueError: no pictures, or arrays that are none. OSError: nothing was written.
    """
    if not any(columns.values()):
        raise ValueError("a sheet needs at least one picture.")
    if len(columns) == 1 and max(map(len, columns.values())) > BLOCK:
        ((title, pictures),) = columns.items()
        columns, largest = block(title, pictures), min(largest, BLOCK_CELL)
    shown = {title: [_fitted(_shown(pixels), largest) for pixels in pictures] for title, pictures in columns.items()}
    write(path, np.array(_sheet(shown, heading)))


def block(title: str, pictures: Sequence[np.ndarray]) -> dict[str, Sequence[np.ndarray]]:
    """Pictures of one kind as columns of about as many rows, the first of which has the title."""
    across = math.ceil(math.sqrt(len(pictures)))
    return titled((title if place == 0 else "", pictures[place::across]) for place in range(across))


def by_class(
    samples: Sequence[Any], classes: int, *, first: int = 0, names: Sequence[str] | None = None
) -> dict[str, Sequence[Any]]:
    """Samples number `first` and on, of the classes 0, 1, ... in turn, as a column for each class.

    Where that would make no two rows, "samples" is all of them.

    Args:
        names: of the classes; None titles them by number.
    """
    if 2 * classes > len(samples):
        return {"samples": samples}
    return titled(
        (f"class {label}" if names is None else names[label], samples[(label - first) % classes :: classes])
        for label in range(classes)
    )


def titled(columns: Iterable[tuple[str, Sequence[np.ndarray]]]) -> dict[str, Sequence[np.ndarray]]:
    """Columns of which several may have one title, or none: blanks at its end, which are not drawn, keep them apart."""
    return {title + " " * place: pictures for place, (title, pictures) in enumerate(columns)}


def _sheet(columns: Mapping[str, Sequence[np.ndarray]], heading: str) -> Image.Image:
    """Columns are of one width, each row as high as its highest picture, and pictures in the middle of their cells."""
    rows = max(map(len, columns.values()))
    width = max(pixels.shape[1] for column in columns.values() for pixels in column)
    heights = [max(column[row].shape[0] for column in columns.values() if row < len(column)) for row in range(rows)]
    lines = {title: _wrapped(title, width) for title in columns}
    across = len(columns) * (width + GAP) - GAP
    above = _wrapped(heading, across)
    over = _height(above)
    head = over + max(map(_height, lines.values()))
    extent = 2 * MARGIN + across, 2 * MARGIN + head + sum(heights) + (rows - 1) * GAP
    sheet = Image.new("RGB", extent, WHITE)
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((MARGIN, MARGIN + over - 8), "\n".join(above), INK, _font(), anchor="ld", spacing=5)
    for column, (title, pictures) in enumerate(columns.items()):
        left, top = MARGIN + column * (width + GAP), MARGIN + head
        middle = left + width / 2, top - 8
        draw.multiline_text(middle, "\n".join(lines[title]), INK, _font(), anchor="md", align="center", spacing=5)
        for pixels, height in zip(pictures, heights):  # a shorter column leaves its last cells white
            x, y = left + (width - pixels.shape[1]) // 2, top + (height - pixels.shape[0]) // 2
            draw.rectangle((x - 1, y - 1, x + pixels.shape[1], y + pixels.shape[0]), outline=HAIRLINE)
            sheet.paste(Image.fromarray(pixels), (x, y))
            top += height + GAP
    return sheet


def _shown(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 for the eye."""
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"{pixels.dtype} {pixels.shape} is no picture to show: give (H, W, 1 or 3), uint8.")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _fitted(pixels: np.ndarray, largest: int) -> np.ndarray:
    """The picture at the size it is shown in, its proportions kept."""
    height, width = pixels.shape[:2]
    longer = max(height, width)
    if longer > largest:
        sides = (max(1, round(side * largest / longer)) for side in (width, height))
        return cv2.resize(pixels, tuple(sides), interpolation=cv2.INTER_AREA)
    times = min(-(-SMALLEST // longer), largest // longer)  # whole times: pixels stay square and sharp
    return pixels if times == 1 else pixels.repeat(times, axis=0).repeat(times, axis=1)


def _height(lines: list[str]) -> int:
    """What these lines of text take; nothing where there is no word in them."""
    return len(lines) * (TITLE + 5) + 6 if any(lines) else 0


def _font():
    from PIL import ImageFont

    return ImageFont.load_default(TITLE)


def _wrapped(title: str, width: int) -> list[str]:
    """The title in lines no wider than `width`, broken at spaces, or within a word that is wider by itself."""
    font, lines = _font(), [""]
    for word in title.split():
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
        while len(lines[-1]) > 1 and font.getlength(lines[-1]) > width:
            cut = next(n for n in range(len(lines[-1]) - 1, 0, -1) if n == 1 or font.getlength(lines[-1][:n]) <= width)
            lines[-1:] = [lines[-1][:cut], lines[-1][cut:]]
    return lines
