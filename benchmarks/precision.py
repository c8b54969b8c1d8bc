"""Whether bf16 costs quality: pix2pix in fp32 and in bf16, the same steps and seeds, scored alike.

    python benchmarks/precision.py --root runs/precision --device cuda [data.path=my/facades]

Trains recipes/pix2pix_facades.yaml at a constant rate with each precision and the seeds 0, 1, 2; scores it after 2,000
steps and, continued, after 20,000, by the protocols paired and facades-fcn on the test pictures; prints means over
seeds and the deviation of one seed, and whether the two precisions differ by more than seeds do. What is trained and
scored already is not done again: the same command goes on where it was stopped. Scores in --results need no run folder.
"""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from trained import at, markdown, over_seeds, scored

PRECISIONS = ("fp32", "bf16")
MEASURES = {
    "L1": ("paired", "l1", ()),
    "PSNR, dB": ("paired", "psnr", ()),
    "pixels right": ("facades-fcn", "generated.per_pixel", ("steps=1600",)),
    "class IoU": ("facades-fcn", "generated.class_iou", ("steps=1600",)),
}
SIGNIFICANT = 2.776  # of Student's t with 4 degrees of freedom, two-sided, 5 %: two means of three seeds


def apart(one: list[float], other: list[float]) -> float:
    """The difference of two means in its standard error, Student's t for equal variances; 0 where both are equal."""
    difference = np.mean(other) - np.mean(one)
    error = math.sqrt((np.var(one, ddof=1) + np.var(other, ddof=1)) / len(one))
    return float(difference / error) if error else 0.0 if difference == 0 else math.inf


def main(arguments: Iterable[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", help="data.path=FOLDER, or any other override of the recipe")
    parser.add_argument("--root", type=Path, default=Path("runs/precision"), help="where the run folders are")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/precision"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_intermixed_args(arguments)
    where = [text for text in asked.settings if text.startswith("data.path=")]
    rows = []
    for steps in sorted(asked.steps):
        found: dict[str, dict[str, list[dict]]] = {kind: {title: [] for title in MEASURES} for kind in PRECISIONS}
        for seed in range(asked.seeds):
            for kind in PRECISIONS:
                run = asked.root / f"{kind}-{seed}"
                overrides = [
                    f"train.precision={kind}", f"train.seed={seed}", f"train.steps={steps}", "train.decay_from=null",
                    "train.speed=auto", "train.sample_every=null", "evaluate={}", *asked.settings,
                ]  # fmt: skip
                for title, (protocol, _, given) in MEASURES.items():
                    values = scored(
                        run, "pix2pix_facades", overrides, protocol, [*given, *where], results=asked.results,
                        device=asked.device, steps=steps,
                    )  # fmt: skip
                    found[kind][title].append(values)
                print(f"{kind}, seed {seed}, {steps:,} steps: done", flush=True)
        for title, (_, path, _) in MEASURES.items():
            each = {kind: [at(values, path) for values in found[kind][title]] for kind in PRECISIONS}
            t = apart(*each.values())
            verdict = f"t = {t:.2f}: " + ("no more than seeds do" if abs(t) <= SIGNIFICANT else "more than seeds do")
            cells = [over_seeds(found[kind][title], path, ".4g") for kind in PRECISIONS]
            rows.append([f"{steps:,}", title, *cells, verdict if asked.seeds > 1 else "one seed tells nothing"])
        print(markdown(["steps", "measure", *PRECISIONS, "they differ by"], rows), flush=True)


if __name__ == "__main__":
    main()
