"""Mode collapse, seen: eight Gaussians on a ring, every objective under every constraint, several seeds each.

    python benchmarks/ring2d.py --out docs/ring2d.png --jobs 2

Trains recipes/gan_ring2d.yaml again and again, draws 2,500 samples from each G, and prints three tables: modes reached,
of 8 (at least 1 % of the samples within 0.4 of its centre, a quarter of the way to the next); modes covered (within 3
standard deviations, 0.06); share of samples within these. Mean over seeds, lowest and highest; the picture is seed 0.
What is in the .json beside --out is not trained again: the same command goes on where it was stopped.
"""

import argparse
import itertools
import json
import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
from trained import markdown

SAMPLES = 2500
NEAR = 0.4  # of a centre, in the data's units; neighbours are 1.53 apart
CONSTRAINTS = {  # column -> overrides
    "none": [],
    "clip": ["method.constraint={name: clip, value: 0.1}"],
    "gp": ["method.constraint={name: gp, weight: 0.1}"],  # its authors' weight for toys: with 10 D does not keep up
    "r1": ["method.constraint={name: r1, weight: 1.0}"],
    "r2": ["method.constraint={name: r2, weight: 1.0}"],
    "spectral": ["discriminator.spectral_norm=true"],
}


def one(case: tuple[str, str, int, list[str]]) -> dict:
    """Trains one G and measures its samples; a combination that `i2i check` refuses comes back with its reason."""
    objective, constraint, seed, more = case
    import torch

    import i2i
    from i2i.errors import UserError
    from i2i.infer.models import sampler
    from i2i.metrics.modes import coverage

    torch.set_num_threads(1)
    overrides = [
        f"method.objective={objective}", *CONSTRAINTS[constraint], f"train.seed={seed}", "train.tracker=null",
        "train.alarms=false", "train.sample_every=null", "evaluate={}", *more,
    ]  # fmt: skip
    found = {"objective": objective, "constraint": constraint, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = i2i.train("gan_ring2d", overrides, run=Path(folder) / "run", device="cpu", say=lambda line: None)
        except UserError as error:
            return {**found, "refused": str(error).splitlines()[-1].strip()}
        model = sampler(run / "generator.safetensors", device="cpu")
        points = np.stack([pixels[0, 0] for pixels in model.pixels(SAMPLES)])
    from i2i.data.points import MIXTURES

    ring = MIXTURES["ring2d"]
    near, measured = (coverage(points, ring.centres, ring.std, radius=radius) for radius in (NEAR / ring.std, 3.0))
    return {
        **found, "reached": near["covered"], "covered": measured["covered"], "good": measured["good"],
        "points": points[:500].tolist(),
    }  # fmt: skip


def table(results: list[dict], key: str, objectives: list[str], show) -> str:
    """Markdown: a row for each objective, a column for each constraint."""
    rows = []
    for objective in objectives:
        cells = []
        for constraint in CONSTRAINTS:
            mine = [r for r in results if (r["objective"], r["constraint"]) == (objective, constraint)]
            values = [result[key] for result in mine if key in result]
            spread = f"({show(min(values))} to {show(max(values))})" if values else ""
            cells.append(f"{show(np.mean(values))} {spread}" if values else "refused")
        rows.append([objective, *cells])
    return markdown([key, *CONSTRAINTS], rows)


def show(results: list[dict], objectives: list[str]) -> None:
    """Prints the three tables."""
    print(f"\n{len({result['seed'] for result in results})} seeds\n")
    for key in ("reached", "covered"):
        print(table(results, key, objectives, lambda value: f"{value:.1f}"), end="\n\n")
    print(table(results, "good", objectives, lambda value: f"{value:.0%}"))


def picture(results: list[dict], objectives: list[str], path: Path) -> None:
    """One panel for each combination: samples of seed 0 over the eight centres."""
    from matplotlib.figure import Figure

    from i2i.data.points import MIXTURES
    from i2i.infer.scatter import save

    centres = MIXTURES["ring2d"].centres
    figure = Figure(figsize=(2 * len(CONSTRAINTS), 2 * len(objectives)), dpi=90, layout="constrained")
    places = itertools.product(objectives, CONSTRAINTS)
    for number, (objective, constraint) in enumerate(places, start=1):
        axes = figure.add_subplot(len(objectives), len(CONSTRAINTS), number)
        axes.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")
        mine = [r for r in results if (r["objective"], r["constraint"], r["seed"]) == (objective, constraint, 0)]
        if mine and "points" in mine[0]:
            points = np.array(mine[0]["points"])
            axes.scatter(*centres.T, s=60, facecolors="none", edgecolors="#d1495b", linewidths=0.8)
            axes.scatter(*points.T, s=2, alpha=0.4, color="#1f6fb2", linewidths=0)
            axes.set_xlabel(f"{mine[0]['reached']} reached, {mine[0]['good']:.0%} good", fontsize=8)
        else:
            axes.text(0, 0, "refused", ha="center", va="center", color="#888888", fontsize=9)
        if number <= len(CONSTRAINTS):
            axes.set_title(constraint, fontsize=10)
        if (number - 1) % len(CONSTRAINTS) == 0:
            axes.set_ylabel(objective, fontsize=9)
    save(figure, path)


def main():
    from i2i import names

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("ring2d.png"), help="the picture; a .json goes beside it")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=None, help="train.steps; the recipe's if not given")
    parser.add_argument("--objectives", nargs="+", default=names("objective"))
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each")
    parser.add_argument("--shown", type=Path, help="train nothing; show the results of this .json")
    arguments = parser.parse_args()
    if arguments.shown:
        results = json.loads(arguments.shown.read_text())
        picture(results, arguments.objectives, arguments.out)
        show(results, arguments.objectives)
        return
    more = [] if arguments.steps is None else [f"train.steps={arguments.steps}"]
    cases = [
        (objective, constraint, seed, more)
        for seed, objective, constraint in itertools.product(range(arguments.seeds), arguments.objectives, CONSTRAINTS)
    ]
    file = arguments.out.with_suffix(".json")
    results = json.loads(file.read_text()) if file.is_file() else []
    there = {(each["objective"], each["constraint"], each["seed"]) for each in results}
    cases = [case for case in cases if case[:3] not in there]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        for done, result in enumerate(pool.imap(one, cases), start=1):
            results.append(result)
            shown = result.get("refused") or f"{result['reached']} reached, {result['good']:.1%} good"
            print(f"[{done}/{len(cases)}] {result['objective']} {result['constraint']}: {shown}", flush=True)
            file.write_text(json.dumps(results))
    picture(results, arguments.objectives, arguments.out)
    show(results, arguments.objectives)


if __name__ == "__main__":
    main()
