"""Points for the eye: a histogram of those of one coordinate; of others the first two, as dots."""

import io
import os
from collections.abc import Mapping

import numpy as np

from i2i import atomic

INCHES, DPI = 3.4, 100
BINS = 80


def scatter(columns: Mapping[str, np.ndarray], span: tuple[float, float], path: str | os.PathLike) -> None:
    """Writes a PNG with one panel for each kind of points, whole or not at all.

    Args:
        columns: title -> points (N, D), in the units of the data.
        span: what the axes show, [lowest, highest].
    """
    from matplotlib.figure import Figure  # the object, not pyplot: no display, and nothing global

    figure = Figure(figsize=(INCHES * len(columns), INCHES), dpi=DPI, layout="constrained")
    for place, (title, points) in enumerate(columns.items(), start=1):
        axes = figure.add_subplot(1, len(columns), place)
        panel(axes, points, span)
        axes.set_title(title)
    save(figure, path)


def panel(axes, points: np.ndarray, span: tuple[float, float], colour: str = "#1f6fb2") -> None:
    """Points (N, D) on one matplotlib axes."""
    axes.set_xlim(*span)
    axes.tick_params(labelsize=8)
    if points.shape[1] == 1:
        axes.hist(points[:, 0], bins=np.linspace(*span, BINS + 1), density=True, color=colour)
        return
    axes.set_ylim(*span)
    axes.set_aspect("equal")
    axes.scatter(points[:, 0], points[:, 1], s=3, alpha=0.5, color=colour, linewidths=0)


def save(figure, path: str | os.PathLike) -> None:
    """A matplotlib figure as PNG, whole or not at all; the same picture gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    atomic.write_bytes(path, buffer.getvalue())
