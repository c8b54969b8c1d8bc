"""Pictures per second of one training in 1, 2, 4, ... processes of this machine, and how much of each is left of one.

    python benchmarks/scaling.py pix2pix_facades --processes 1 2 4 8 --device cuda
    python benchmarks/scaling.py pix2pix_synthetic generator.width=16 --processes 1 2 --device cpu

Two questions, a table each. Weak: every process has its own --batch pictures, so that a batch grows with their number.
Strong: --whole pictures (as many as the largest number of processes has in the first table) are divided among them.
Efficiency is pictures per second and process over those of the smallest number of processes.

A sample is a launch of torchrun, nccl on cards and gloo on a CPU, each process with the same count of threads. It times
--steps steps of the run's own loop, after some that are not timed: forward, backward, averaging, updates and agreement;
pictures are noise that lies on the device, so that reading them is no part of it. All launches take turns, --rounds
times, and a ratio is of samples of the same round. A sample during which other programs held more than --allowed of the
cores is left out, and counted. Everything is kept in a JSON file in benchmarks/results/scaling.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from machine import share_of_others, spread
from trained import markdown

HERE = Path(__file__).parent


@dataclass
class Column:
    """One number of processes with one batch, and what was measured of it."""

    processes: int
    batch: int  # of all processes together
    rates: dict[int, float] = field(default_factory=dict)  # round -> pictures per second, of the samples that count
    left_out: int = 0
    facts: dict = field(default_factory=dict)  # of its last sample
    samples: list[dict] = field(default_factory=list)

    def add(self, turn: int, found: dict, allowed: float) -> None:
        """What a launch answered in this round."""
        others = share_of_others(found["cpu"], found["machine"], found["seconds"], os.cpu_count() or 1)
        self.facts = found
        self.samples.append({"round": turn, "others": others, **found})
        if others <= allowed:
            self.rates[turn] = found["pictures"] / found["seconds"]
        else:
            self.left_out += 1


def launch(column: Column, asked: argparse.Namespace, folder: Path) -> dict:
    """One sample. SystemExit where a process fails, after what it said."""
    settings = {
        "recipe": asked.recipe, "overrides": asked.overrides, "device": asked.device, "batch": column.batch,
        "warm_up": asked.warm_up, "steps": asked.steps,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={column.processes}"]
    paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*command, str(HERE / "scaled.py"), str(folder / "settings.json"), str(answer)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(asked.threads)},
    )  # fmt: skip
    if done.returncode or not answer.is_file():
        print(done.stdout[-5000:], file=sys.stderr)
        raise SystemExit(
            f"a launch of {column.processes} ended with exit status {done.returncode}; what it said stands above."
        )
    return json.loads(answer.read_text())


def columns_of(asked: argparse.Namespace) -> tuple[list[Column], list[Column]]:
    """(weak, strong), in rising numbers of processes; what is the same in both is measured once."""
    known: dict[tuple[int, int], Column] = {}

    def column(processes: int, batch: int) -> Column:
        return known.setdefault((processes, batch), Column(processes, batch))

    weak = [column(count, count * asked.batch) for count in asked.processes]
    return weak, [column(count, asked.whole) for count in asked.processes]


def efficiency(column: Column, alone: Column) -> list[float]:
    """Of the rounds of which both samples count."""
    both = sorted(set(column.rates) & set(alone.rates))
    return [column.rates[turn] / alone.rates[turn] * alone.processes / column.processes for turn in both]


def table(columns: Sequence[Column]) -> str:
    """Markdown, a row for each number of processes."""
    rows = []
    for column in columns:
        rows.append(
            [
                str(column.processes),
                f"{column.batch} ({column.batch // column.processes} each)",
                spread(list(column.rates.values()), ",.1f"),
                "1" if column is columns[0] else spread(efficiency(column, columns[0]), ".2f"),
                f"{len(column.rates)} + {column.left_out}",
            ]
        )
    return markdown(["processes", "batch", "pictures/s", "efficiency", "samples + left out"], rows)


def heading(asked: argparse.Namespace, facts: dict) -> str:
    """What was run, when, and on what."""
    words = " ".join([asked.recipe, *asked.overrides])
    return (
        f"{words}: {facts['crop']} px, {facts['precision']}; {date.today().isoformat()}; {facts['on']}, "
        f"{os.cpu_count()} cores, {facts['threads']} threads a process; {facts['by']}; torch {facts['torch']}; "
        f"{'; '.join(facts['speed']) or 'train.speed: nothing beside the plain way'}"
    )


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="a file, or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--batch", type=int, default=1, help="pictures of each process, weak")
    parser.add_argument("--whole", type=int, help="pictures of all processes, strong")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of each process; the cores by the largest number of processes")
    parser.add_argument("--allowed", type=float, default=0.05, help="share of all cores that others may have")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "scaling")
    asked = parser.parse_intermixed_args(words)
    asked.processes = sorted(set(asked.processes))
    if asked.processes[0] < 1 or asked.batch < 1:
        parser.error("processes and pictures are 1 or more.")
    most = asked.processes[-1]
    asked.whole = most * asked.batch if asked.whole is None else asked.whole
    if odd := [count for count in asked.processes if asked.whole % count]:
        parser.error(
            f"--whole {asked.whole} cannot be divided among {odd[0]} processes. Give a multiple of each number."
        )
    asked.threads = asked.threads or max(1, (os.cpu_count() or 1) // most)
    return asked


def main(words: Sequence[str] | None = None) -> None:
    asked = parsed(words)
    weak, strong = columns_of(asked)
    distinct = list({id(column): column for column in (*weak, *strong)}.values())
    with tempfile.TemporaryDirectory(prefix="scaling ") as folder:
        for turn in range(asked.rounds):
            first = turn % len(distinct)
            for column in distinct[first:] + distinct[:first]:
                column.add(turn, launch(column, asked, Path(folder)), asked.allowed)
                print(f"round {turn + 1}: {column.processes} processes, batch {column.batch}", file=sys.stderr)
    facts = distinct[0].facts
    print(heading(asked, facts))
    print(f"\nWeak: {asked.batch} of each process\n\n{table(weak)}\n\nStrong: {asked.whole} of all\n\n{table(strong)}")
    kept = {
        "day": date.today().isoformat(), "cores": os.cpu_count(),
        "settings": {key: value for key, value in vars(asked).items() if key != "results"},
        "samples": [sample for column in distinct for sample in column.samples],
    }  # fmt: skip
    asked.results.mkdir(parents=True, exist_ok=True)
    name = f"{Path(asked.recipe).stem}-{facts['crop']}px-{asked.device}-{date.today().isoformat()}.json"
    (asked.results / name).write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
