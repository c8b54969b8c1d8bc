"""Training side by side: the reference implementation, unmodified, and ours, in one interleaved run.

    python benchmarks/compare.py --reference CHECKOUT --device cpu --method pix2pix
    python benchmarks/compare.py --reference CHECKOUT --device cpu --method cyclegan
    python benchmarks/compare.py --reference CHECKOUT --device cuda --method pix2pix --forward 32

CHECKOUT is a clone of junyanz/pytorch-CycleGAN-and-pix2pix. Processes hold a training each, of the same networks,
first weights, pictures and seeds: the reference, ours with train.speed=plain, ours with train.speed=auto and, of
cyclegan, ours with train.speed=winograd. They take turns, a step each, so that all meet the same machine; only one
computes at a time. A step is what training computes: forward, backward and updates, without reading pictures. A sample
taken while other programs held more than --allowed of the cores' time is left out, and counted.

Prints per variant the milliseconds of a step (median, lowest to highest), how many times faster than the reference it
is (median over the rounds of which both samples count, lowest to highest) and the most memory that its process had,
imports included. Before that: how far the losses of steps 1 to 3 are from the reference's, and what was chosen to be
faster, of winograd with the memory that a layer takes more and the error of its gradients. What is different on a card
is told by oncard.py.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import oncard
from machine import busy, share_of_others, spread
from trained import markdown

CONTESTANTS = {  # of each method
    "pix2pix": ("reference", "plain", "auto"),
    "cyclegan": ("reference", "plain", "auto", "winograd"),
}
BATCHES = 4  # different ones, over and over
CHECKED = 3  # first steps, whose losses are compared; they warm up, and are not timed


@dataclass
class Contestant:
    """A process that holds one training."""

    name: str
    process: subprocess.Popen
    facts: dict = field(default_factory=dict)
    clean: dict[int, float] = field(default_factory=dict)  # round -> seconds of a step
    left_out: int = 0
    losses: list[dict[str, float]] = field(default_factory=list)
    peak: int = 0

    def answer(self) -> dict:
        """The next line it writes; SystemExit in words where it ended instead."""
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with exit status {self.process.wait()}; what it said stands above.")
        return json.loads(line)

    def ask(self, command: str) -> dict:
        """What it answers to a command (see contestant.py)."""
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def step(self, number: int) -> dict:
        """Takes step `number`; what it answered, and in "others" the share of all cores that other programs had."""
        before = busy()
        found = self.ask(f"step {number}")
        self.peak = found["peak"]
        others = share_of_others(found["cpu"], busy() - before, found["seconds"], os.cpu_count() or 1)
        return found | {"others": others}


def begin(folder: Path, name: str, checkout: Path) -> Contestant:
    """Starts one and waits until it is ready: one after the other, so that a probe has the machine to itself."""
    here = Path(__file__).parent
    more = [str(checkout)] if name.startswith("reference") else []
    command = [sys.executable, str(here / "contestant.py"), str(folder), name, *more]
    paths = os.pathsep.join(filter(None, [str(here.parent), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    contestant = Contestant(name, process)
    contestant.facts = contestant.answer()
    print(f"{name} is ready", file=sys.stderr)
    return contestant


def prepare(folder: Path, asked: argparse.Namespace) -> None:
    """The settings and pictures of all, as files."""
    import torch
    from safetensors.torch import save_file

    settings = {
        "method": asked.method, "size": asked.size, "width": asked.width, "blocks": 9 if asked.size >= 256 else 6,
        "batch": asked.batch, "batches": BATCHES, "device": asked.device, "forward": asked.forward,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    generator = torch.Generator().manual_seed(0)
    shape = (asked.batch, 3, asked.size, asked.size)
    pictures = {f"{n}.{side}": torch.rand(shape, generator=generator) * 2 - 1 for n in range(BATCHES) for side in "AB"}
    save_file(pictures, folder / "batches.safetensors")


def race(contestants: list[Contestant], samples: int, most: int, allowed: float) -> None:
    """Rounds in which each takes one step, until there are so many rounds that count for all, or `most` are over."""
    for number in range(CHECKED):
        for contestant in contestants:
            contestant.losses.append(contestant.step(number)["losses"])
    for number in range(CHECKED, CHECKED + most):
        first = number % len(contestants)
        for contestant in contestants[first:] + contestants[:first]:
            found = contestant.step(number)
            if found["others"] <= allowed:
                contestant.clean[number] = found["seconds"]
            else:
                contestant.left_out += 1
        if len(set.intersection(*(set(contestant.clean) for contestant in contestants))) >= samples:
            return


def distance(theirs: list[dict[str, float]], ours: list[dict[str, float]]) -> float:
    """The largest difference of a loss, relative to the reference's."""
    pairs = [(one[key], other[key]) for one, other in zip(theirs, ours, strict=True) for key in one if key in other]
    return max(abs(one - other) / max(abs(one), 1e-12) for one, other in pairs)


def table(contestants: list[Contestant]) -> str:
    """Markdown, a row for each."""
    reference, rows = contestants[0], []
    for one in contestants:
        both = sorted(set(one.clean) & set(reference.clean))
        ratios = [reference.clean[number] / one.clean[number] for number in both]
        rows.append(
            [
                "reference" if one is reference else f"i2i, train.speed={one.name}",
                spread([1e3 * seconds for seconds in one.clean.values()], ".0f"),
                "1" if one is reference else spread(ratios, ".2f"),
                f"{len(one.clean)} + {one.left_out}",
                f"{one.peak / 1e9:.2f} GB",
            ]
        )
    return markdown(["", "ms a step", "times faster", "samples + left out", "peak memory"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help="a clone of pytorch-CycleGAN-and-pix2pix")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--method", choices=("pix2pix", "cyclegan"), required=True)
    parser.add_argument("--size", type=int, choices=(128, 256), default=256, help="side of the pictures, px")
    parser.add_argument("--width", type=int, default=64, help="filters of the first layer of every network")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--samples", type=int, default=12, help="rounds that must count for all")
    parser.add_argument("--most", type=int, default=60, help="rounds after which it ends all the same")
    parser.add_argument("--allowed", type=float, default=0.05, help="share of all cores that others may have")
    parser.add_argument("--alone", action="store_true", help="on a card: one contestant at a time holds a training")
    parser.add_argument("--steps", type=int, default=100, help="on a card: steps of a sample")
    parser.add_argument("--forward", type=int, default=0, help="on a card: pictures for the generator alone; 0: none")
    parser.add_argument("--contestants", nargs="+", help="on a card: names such as reference/tf32 auto/bf16")
    parser.add_argument("--keep", type=Path, help="on a card: a folder for the table and its numbers")
    asked = parser.parse_args()
    if not (asked.reference / "options" / "train_options.py").is_file():
        raise SystemExit(f"--reference {asked.reference}: there is no options/train_options.py in it. Give a clone.")
    with tempfile.TemporaryDirectory(prefix="compare ") as place:
        folder, contestants = Path(place), []
        prepare(folder, asked)
        try:
            if asked.device == "cuda":
                on_card(folder, contestants, asked)
                return
            for name in CONTESTANTS[asked.method]:
                contestants.append(begin(folder, name, asked.reference.absolute()))
            race(contestants, asked.samples, asked.most, asked.allowed)
        finally:
            for contestant in contestants:
                contestant.end()
    report(contestants, asked)


def on_card(folder: Path, contestants: list[Contestant], asked: argparse.Namespace) -> None:
    """Runs and prints what oncard.py describes; `contestants` gets those that are to be ended."""

    def start(name: str) -> Contestant:
        return begin(folder, name, asked.reference.absolute())

    names = asked.contestants or (oncard.ALONE if asked.alone else oncard.SIDE_BY_SIDE)
    if asked.alone:
        found = oncard.alone(start, names, asked, CHECKED)
    else:
        for name in names:
            contestants.append(start(name))
        found = oncard.side_by_side(contestants, asked, CHECKED)
    text = oncard.report(found, asked, distance)
    print(text)
    if asked.keep:
        oncard.keep(found, asked, text, asked.keep)


def report(contestants: list[Contestant], asked: argparse.Namespace) -> None:
    """Prints what was run, how near the losses are, and the table."""
    reference, facts = contestants[0], contestants[0].facts
    print(
        f"{asked.method}, {asked.size} px, width {asked.width}, batch {asked.batch}, fp32, {asked.device}; "
        f"{date.today().isoformat()}; {os.cpu_count()} cores ({platform.machine()}); torch {facts['torch']}; "
        f"threads {', '.join(str(one.facts['threads']) for one in contestants)}"
    )
    for one in contestants[1:]:
        far = [distance([theirs], [ours]) for theirs, ours in zip(reference.losses, one.losses, strict=True)]
        steps, figures = ", ".join(str(n + 1) for n in range(len(far))), ", ".join(f"{each:.1e}" for each in far)
        print(f"train.speed={one.name}: losses of steps {steps} within {figures} of the reference's, relative")
    for one in contestants:
        if one.facts["said"]:
            print(f"train.speed={one.name} took: {one.facts['said']}")
    print()
    print(table(contestants))


if __name__ == "__main__":
    main()
