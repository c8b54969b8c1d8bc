"""A sheet of translations: each input in a row with its outputs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from i2i.infer.grid import grid
from i2i.infer.translator import Translator

NAME = "sheet.png"
ROWS = 8  # inputs that it shows at most: the first


class Sheet:
    """Collects rows, and is drawn at the end.

    Args:
        translator: whose pictures they are.
        rows: how many it takes; 0 draws nothing.
    """

    def __init__(self, translator: Translator, rows: int = ROWS):
        self.translator, self.rows = translator, rows
        self.columns: dict[str, list[np.ndarray]] = {}

    def add(self, picture: np.ndarray, outputs: Sequence[np.ndarray]) -> None:
        """An input and its outputs, levels (H, W, C) each; passed over where the sheet is full."""
        if not self.rows:
            return
        self.rows -= 1
        self.columns.setdefault("input", []).append(self.translator.input.shown(picture))
        for sample, pixels in enumerate(outputs):
            title = "output" if len(outputs) == 1 else f"noise {sample}"
            self.columns.setdefault(title, []).append(self.translator.output.shown(pixels))

    def draw(self, path: Path) -> Path | None:
        """Writes the sheet; the path, or None where there is nothing to show. OSError: the disk took no more."""
        if not self.columns:
            return None
        grid(self.columns, path)
        return path
