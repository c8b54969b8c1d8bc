"""DCGAN, LSGAN, WGAN, WGAN-GP and SNGAN side by side on MNIST, each for about as many seconds of one core.

    python benchmarks/base_cases.py --root runs/base_cases --out docs/base-cases.png [data.path=my/mnist]

Trains recipes/NAME.yaml with the seeds 0, 1, ..., scores the last weights of each run by the protocol distribution on
the test pictures, prints one table, and draws samples of seed 0 and the Wasserstein estimates of the two critics that
have one. What is trained and scored already is not done again: the same command goes on where it was stopped. Scores in
--results need no run folder; where those of seed 0 are gone there is no picture.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from trained import markdown, over_seeds, scored

NAMES = ("dcgan_mnist", "lsgan_mnist", "wgan_mnist", "wgan_gp_mnist", "sngan_mnist")
MEASURES = {
    "FID": "fid.fid",
    "KID": "kid",
    "precision": "precision_recall.precision",
    "recall": "precision_recall.recall",
}
ROWS, COLUMNS = 8, 10  # samples of a panel


def table(found: dict[str, list[dict]]) -> str:
    """Markdown: mean over seeds and deviation of one seed, for each recipe."""
    rows = []
    for name, values in found.items():
        steps, critic = steps_of(name)
        rows.append(
            [
                f"`{name}`",
                f"{steps:,}",
                f"{steps * critic:,}",
                *(over_seeds(values, path) for path in MEASURES.values()),
            ]
        )
    return markdown(["recipe", "steps of G", "of D", *MEASURES], rows)


def steps_of(name: str) -> tuple[int, int]:
    """(steps of G, steps of D for each of them) of a recipe."""
    from i2i import config

    data = config.read(name).data
    return data["train"]["steps"], data["method"]["num_critic"]


def estimates(run: Path) -> tuple[list[int], list[float]]:
    """(steps of G, the Wasserstein estimate there) of a run's log; none where its objective has another."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    told = [(line["step"], line["estimate/W"]) for line in lines if "estimate/W" in line]
    return [step for step, _ in told], [value for _, value in told]


def picture(runs: dict[str, Path], path: Path) -> None:
    """Samples of each run, and below them how the Wasserstein estimates went."""
    from matplotlib.figure import Figure

    from i2i.infer.models import find, sampler
    from i2i.infer.scatter import save

    figure = Figure(figsize=(11, 7.4), dpi=100, layout="constrained")
    places = figure.add_gridspec(2, 6)
    for number, (name, run) in enumerate(runs.items()):
        row, column = divmod(number, 3)
        axes = figure.add_subplot(places[row, 2 * column : 2 * column + 2])
        model = sampler(find(run), device="cpu")
        pictures = [pixels[..., 0] for pixels in model.pixels(ROWS * COLUMNS)]
        rows = [np.concatenate(pictures[at : at + COLUMNS], axis=1) for at in range(0, ROWS * COLUMNS, COLUMNS)]
        axes.imshow(np.concatenate(rows), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=10)
    axes = figure.add_subplot(places[1, 4:6])
    for name, run in runs.items():
        steps, values = estimates(run)
        if steps:
            axes.plot(np.array(steps) / steps[-1], np.array(values) / max(values), label=name, linewidth=1)
    axes.set_title("Wasserstein estimate, of its highest", fontsize=10)
    axes.set_xlabel("part of the run", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False)
    save(figure, path)


def main(arguments: Iterable[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", help="data.path=FOLDER, or any other override of all recipes")
    parser.add_argument("--root", type=Path, default=Path("runs/base_cases"), help="where the run folders are")
    parser.add_argument(
        "--results", type=Path, default=Path("benchmarks/results/base_cases"), help="where scores are kept"
    )
    parser.add_argument("--out", type=Path, default=Path("base-cases.png"))
    parser.add_argument("--names", nargs="+", default=list(NAMES))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_intermixed_args(arguments)
    where = [text for text in asked.settings if text.startswith("data.path=")]
    found: dict[str, list[dict]] = {name: [] for name in asked.names}
    for seed in range(asked.seeds):
        for name in asked.names:
            run, overrides = asked.root / f"{name}-{seed}", [f"train.seed={seed}", *asked.settings]
            found[name].append(scored(run, name, overrides, "distribution", where, results=asked.results))
            print(f"{name}, seed {seed}: FID {found[name][-1]['fid']['fid']:.2f}", flush=True)
    runs = {name: asked.root / f"{name}-0" for name in asked.names}
    if all(run.is_dir() for run in runs.values()):
        picture(runs, asked.out)
    print(f"\n{asked.seeds} seeds\n\n{table(found)}")


if __name__ == "__main__":
    main()
