"""Class-conditional runs side by side: how many of their samples are of the class asked for, and what they look like.

    python benchmarks/classes.py runs/cgan_mnist runs/acgan_mnist --out docs/classes.png

Reads the evaluation.json of each run (`i2i evaluate RUN`, protocol classes), prints a table, and draws the first
samples of each run, a column for each class.
"""

import argparse
from pathlib import Path

import numpy as np
from trained import at, markdown

ROWS = 5  # samples of each class


def scores(run: Path) -> list[dict]:
    """The entries of protocol classes on test, of each checkpoint that was scored."""
    from i2i.evaluation.evaluate import FILE, read

    return [entry for entry in read(run / FILE) if entry["protocol"] == "classes" and entry["split"] == "test"]


def row(run: Path, entry: dict) -> list[str]:
    """One line of the table."""
    values, classes = entry["values"], entry["values"]["classes"]
    worst = min(classes, key=lambda name: at(classes, name))
    share, error = at(values, "accuracy"), values["accuracy"]["standard_error"]
    return [
        f"`{run.name}`, {entry['checkpoint']['which']}: step {entry['checkpoint']['step']:,}",
        f"{share:.2%} +- {error:.2%}",
        f"{worst} ({at(classes, worst):.1%})",
    ]


def sheet(run: Path) -> np.ndarray:
    """ROWS rows of samples, a column for each class, (H, W)."""
    from i2i.infer.models import find, sampler

    model = sampler(find(run), device="cpu")
    count = len(model.class_names)
    pictures = [picture[..., 0] for picture in model.pixels(ROWS * count)]
    rows = [pictures[start : start + count] for start in range(0, len(pictures), count)]
    return np.concatenate([np.concatenate(each, axis=1) for each in rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("classes.png"))
    asked = parser.parse_args()
    rows = [row(run, entry) for run in asked.runs for entry in scores(run)]
    print(markdown(["run", "of the class asked for", "hardest class"], rows))

    from matplotlib.figure import Figure

    from i2i.infer.scatter import save

    across = (len(asked.runs) + 1) // 2
    figure = Figure(figsize=(5.2 * across, 6), dpi=100, layout="constrained")
    for number, run in enumerate(asked.runs, start=1):
        axes = figure.add_subplot(2, across, number)
        axes.imshow(sheet(run), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_title(run.name, fontsize=11)
    save(figure, asked.out)


if __name__ == "__main__":
    main()
