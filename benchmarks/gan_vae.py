"""A GAN beside a VAE on the same pictures: samples, how likely they make the test pictures, how sharp they are.

    python benchmarks/gan_vae.py runs/gan_mnist runs/vae_mnist --out docs/gan-vae.png [data.path=my/mnist]

Both run folders are scored by the protocols parzen and sharpness (i2i evaluate), on the last weights and, where a run
was scored while it trained, on its best. The picture shows samples 0 to 24 of each, beside pictures of test.
"""

import argparse
from pathlib import Path

import numpy as np

from i2i import build
from i2i.evaluation.evaluate import evaluate
from i2i.infer.grid import grid
from i2i.infer.models import find, sampler
from i2i.infer.runs import BEST, read_recipe

SIDE = 5  # pictures in a row and in a column of a block


def block(pictures: list[np.ndarray]) -> np.ndarray:
    """SIDE x SIDE pictures (H, W, C) as one, each twice as large, with a line between them."""
    large = [np.pad(p.repeat(2, 0).repeat(2, 1), ((0, 2), (0, 2), (0, 0)), constant_values=128) for p in pictures]
    rows = [np.concatenate(large[start : start + SIDE], axis=1) for start in range(0, SIDE**2, SIDE)]
    return np.concatenate(rows)[:-2, :-2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gan", type=Path)
    parser.add_argument("vae", type=Path)
    parser.add_argument("settings", nargs="*", help="data.path=FOLDER where the data lie elsewhere now")
    parser.add_argument("--out", type=Path, default=Path("gan-vae.png"))
    arguments = parser.parse_intermixed_args()

    columns, rows = {}, []
    for run in (arguments.gan, arguments.vae):
        recipe = read_recipe(run)
        best = run / BEST
        model = sampler(find(best if best.is_dir() else run), device="cpu")
        columns[f"{recipe.method.name.upper()}, step {model.meta['step']:,}"] = [block(model.pixels(SIDE**2))]
        for name in ("parzen", "sharpness"):
            for entry in evaluate(run, name, arguments.settings, device="cpu"):
                rows.append((run.name, entry["checkpoint"], name, entry["values"]))
    path = next((text.partition("=")[2] for text in arguments.settings if text.startswith("data.path=")), None)
    if path is not None:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": path})})
    columns["MNIST, test"] = [block([row["image"] for row in build.dataset(recipe).previews(SIDE**2)[: SIDE**2]])]
    grid(columns, arguments.out)

    print("\n| run | weights | measure |\n| --- | --- | --- |")
    for name, checkpoint, protocol, values in rows:
        if protocol == "parzen":
            found = values["log_likelihood"]
            shown = (
                f"log-likelihood {found['mean']:.1f} +- {found['standard_error']:.1f} nats, sigma {values['sigma']:.3f}"
            )
        else:
            shown = f"variance of the Laplacian {values['ratio']:.2f} times that of test"
        print(f"| {name} | {checkpoint['which']}, step {checkpoint['step']:,} | {shown} |")


if __name__ == "__main__":
    main()
