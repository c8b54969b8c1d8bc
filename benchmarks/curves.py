"""How the score of runs went while they trained, one line for each.

    python benchmarks/curves.py runs/ssgan_mnist runs/ssgan_baseline --out docs/ssgan.png --log

Reads evaluations.jsonl of the run folders: the score of the recipe's protocol, where lower or higher is better as its
words say, on val. The title is the protocol's name.
"""

import argparse
import json
from pathlib import Path


def curve(run: Path) -> tuple[list[int], list[float], str]:
    """(steps, scores, name of the protocol) of a run."""
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines], [line["score"] for line in lines], lines[0]["protocol"].partition(":")[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("curves.png"))
    parser.add_argument("--log", action="store_true", help="a logarithmic scale of scores")
    asked = parser.parse_args()
    from matplotlib.figure import Figure

    from i2i.infer.scatter import save

    figure = Figure(figsize=(6.4, 3.6), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for run in asked.runs:
        steps, scores, protocol = curve(run)
        axes.plot(steps, scores, linewidth=1.4, label=f"{run.name}: {scores[-1]:.3g} at the end")
    axes.set(title=protocol, xlabel="step", yscale="log" if asked.log else "linear")
    if asked.log:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, fontsize=9)
    save(figure, asked.out)


if __name__ == "__main__":
    main()
