"""DiffAugment on few pictures: each recipe with and without it, at one budget, the same pictures and several seeds.

    python benchmarks/few_data.py mnist --root runs/few_data --out docs/few-mnist.png [data.path=my/mnist]
    python benchmarks/few_data.py cats --root runs/few_data --out docs/few-cats.png --features classifier:my/animals
    python benchmarks/few_data.py facades --root runs/few_data --seeds 1 --out docs/few-facades.png

mnist: 500 of 50,000 digits (data.limit). cats: the pictures of data.path, some of them in a folder val; --features
names the net that distances are measured in. facades: 40, 100 and all 400 pairs at 128 px. What is trained and scored
already is not done again: the same command goes on where it was stopped, and scores in --results need no run folder.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from trained import markdown, over_seeds, scored

POLICIES = {"without": "[]", "with": "[color, translation, cutout]"}
SMALL_PIX2PIX = (
    "generator.num_downs=7", "generator.width=32", "discriminator.width=32", "data.load_size=143", "data.crop_size=128",
    "data.workers=0", "train.steps=4000", "train.decay_from=2000",
)  # fmt: skip
ROWS, COLUMNS = 4, 8  # samples of a panel


class Study(NamedTuple):
    """One recipe, the sizes of its training split, and what is measured: heading -> (protocol, path, its arguments)."""

    recipe: str
    limits: tuple[int | None, ...]
    overrides: tuple[str, ...]
    split: str
    measures: dict[str, tuple[str, str, tuple[str, ...]]]


def study(name: str, features: str | None) -> Study:
    """The study of that name."""
    judged = {
        "AUC of D, train against held out": ("overfitting", "auc", ()),
        "D right on train": ("overfitting", "accuracy.train", ()),
        "on held out": ("overfitting", "accuracy.held_out", ()),
    }
    if name == "facades":
        fcn = ("steps=1600",)
        measures = {
            "per pixel": ("facades-fcn", "generated.per_pixel", fcn),
            "per class": ("facades-fcn", "generated.per_class", fcn),
            "class IoU": ("facades-fcn", "generated.class_iou", fcn),
            "L1": ("paired", "l1", ()),
        }
        return Study("pix2pix_facades", (40, 100, None), SMALL_PIX2PIX, "test", measures)
    if name == "mnist":
        distances = {"FID": ("distribution", "fid.fid", ()), "KID": ("distribution", "kid", ())}
        return Study("dcgan_mnist", (500,), ("evaluate={}",), "test", distances | judged)
    if features is None:
        raise SystemExit(
            "cats have no labels: name the net that distances are measured in, --features classifier:FOLDER."
        )
    distances = {"KID": ("distribution", "kid", (f"features={features}", "samples=2000"))}
    return Study("dcgan_cats", (None,), ("evaluate={}",), "val", distances | judged)


def picture(panels: dict[str, Sequence[np.ndarray]], path: Path) -> None:
    """{title: ROWS x COLUMNS pictures (H, W, C)} side by side."""
    from matplotlib.figure import Figure

    from i2i.infer.scatter import save

    figure = Figure(figsize=(5 * len(panels), 2.9), dpi=100, layout="constrained")
    for number, (title, pictures) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number)
        rows = [np.concatenate(pictures[at : at + COLUMNS], axis=1) for at in range(0, len(pictures), COLUMNS)]
        axes.imshow(np.concatenate(rows).squeeze(), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=10)
    save(figure, path)


def samples(run: Path) -> list[np.ndarray]:
    """What users get of a run: the first samples, or the translations of its first inputs."""
    from i2i import build
    from i2i.infer.models import find, sampler, translator
    from i2i.infer.runs import read_recipe

    recipe = read_recipe(run)
    if recipe.method.name != "pix2pix":
        return list(sampler(find(run), device="cpu").pixels(ROWS * COLUMNS))
    model, shown = translator(find(run), device="cpu"), build.dataset(recipe).previews(COLUMNS)
    return [model.pixels(row["input"]) for row in shown]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=("mnist", "cats", "facades"))
    parser.add_argument("settings", nargs="*", help="data.path=FOLDER, or any other override of the recipe")
    parser.add_argument("--root", type=Path, default=Path("runs/few_data"), help="where the run folders are")
    parser.add_argument(
        "--results", type=Path, default=Path("benchmarks/results/few_data"), help="where scores are kept"
    )
    parser.add_argument("--out", type=Path, default=Path("few-data.png"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--features", help="the feature net of cats")
    asked = parser.parse_intermixed_args()
    chosen = study(asked.study, asked.features)
    where = [text for text in asked.settings if text.startswith("data.path=")]
    rows, panels = [], {}
    for limit in chosen.limits:
        for augmented, policy in POLICIES.items():
            found: dict[str, list[dict]] = {heading: [] for heading in chosen.measures}
            for seed in range(asked.seeds):
                shown = "all" if limit is None else f"{limit:,}"
                run = asked.root / f"{asked.study}-{shown.replace(',', '')}-{augmented}-{seed}"
                less = [] if limit is None else [f"data.limit={limit}"]
                overrides = [*chosen.overrides, *less, f"augment.policy={policy}", f"train.seed={seed}"]
                overrides += asked.settings
                for heading, (protocol, _, given) in chosen.measures.items():
                    settings = [*given, *where]
                    found[heading].append(
                        scored(
                            run, chosen.recipe, overrides, protocol, settings, split=chosen.split, results=asked.results
                        )
                    )
                if seed == 0 and run.is_dir():
                    panels[f"{shown} pictures, {augmented} DiffAugment"] = samples(run)
            cells = [over_seeds(values, chosen.measures[heading][1]) for heading, values in found.items()]
            rows.append([shown, augmented, *cells])
            print(markdown(["pictures", "DiffAugment", *chosen.measures], rows), flush=True)
    if len(panels) == len(rows):
        picture(panels, asked.out)


if __name__ == "__main__":
    main()
