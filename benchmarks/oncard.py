"""The part of `compare.py` for a CUDA card: precisions in columns apart, and the generator alone.

A sample is many steps between two waits for the card, since waiting for each would hide what the host can do meanwhile.
Contestants hold their trainings side by side and take turns; with --alone each is started anew for every turn, where a
card does not hold them all. The reference runs in both of its precisions: with convolutions in TF32, as PyTorch comes
and as it is used, and with TF32 off. Ours in bf16 is held against the former.
"""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from machine import spread
from trained import markdown

PRECISIONS = {"fp32": "fp32", "tf32": "tf32", "bf16": "tf32"}  # of ours -> of the reference that it is held against
VARIANTS = {
    "reference": "reference",
    "plain": "i2i, train.speed=plain",
    "auto": "i2i, train.speed=auto",
    "compiled": "i2i, auto and train.compile",
}
SIDE_BY_SIDE = (
    "reference/tf32", "reference/fp32", "plain/tf32", "plain/fp32", "plain/bf16", "auto/tf32", "auto/fp32", "auto/bf16",
    "compiled/bf16",
)  # fmt: skip
ALONE = ("reference/tf32", "auto/tf32", "auto/bf16")
WARM_UP = 10  # steps after the checked ones: a graph is recorded, libraries choose their kernels


class Samples:
    """What was measured of one contestant."""

    def __init__(self, name: str):
        self.name = name
        self.seconds: list[float] = []  # of a step, one for each turn
        self.forward: list[float] = []  # of a forward of the generator
        self.losses: list[dict[str, float]] = []
        self.peak, self.facts = 0, {}

    def take(self, contestant, first: int, steps: int) -> int:
        """A turn: so many steps; returns the number of the next one."""
        found = contestant.ask(f"steps {first} {steps}")
        self.seconds.append(found["seconds"])
        self.peak = found["peak"]
        return first + steps

    def check(self, contestant, checked: int) -> int:
        """The first steps, of which losses are compared, and some to warm up; returns the number of the next one."""
        self.facts = contestant.facts
        self.losses = [contestant.ask(f"step {number}")["losses"] for number in range(checked)]
        contestant.ask(f"steps {checked} {WARM_UP}")
        return checked + WARM_UP

    def generate(self, contestant, count: int) -> None:
        """The generator alone, if that is asked for."""
        if count:
            self.forward.append(contestant.ask(f"forward {count}")["seconds"])


def side_by_side(begun: Sequence, asked: argparse.Namespace, checked: int) -> list[Samples]:
    """Turns in rotation; all hold their trainings on the card at once."""
    found = [Samples(contestant.name) for contestant in begun]
    at = [samples.check(contestant, checked) for samples, contestant in zip(found, begun, strict=True)]
    for turn in range(asked.samples):
        for place in range(len(begun)):
            number = (turn + place) % len(begun)
            at[number] = found[number].take(begun[number], at[number], asked.steps)
    for _ in range(asked.samples if asked.forward else 0):
        for samples, contestant in zip(found, begun, strict=True):
            samples.generate(contestant, asked.steps)
    return found


def alone(begin, names: Sequence[str], asked: argparse.Namespace, checked: int) -> list[Samples]:
    """Turns in rotation; each is started for its turn and ended after it. `begin(name)` starts one."""
    found = [Samples(name) for name in names]
    for turn in range(asked.samples):
        for place in range(len(names)):
            samples = found[(turn + place) % len(names)]
            contestant = begin(samples.name)
            try:
                first = samples.check(contestant, checked)
                samples.take(contestant, first, asked.steps)
                samples.generate(contestant, asked.steps if asked.forward else 0)
            finally:
                contestant.end()
    return found


def report(found: Sequence[Samples], asked: argparse.Namespace, distance) -> str:
    """All that is printed: what was run, how near losses are, the table."""
    by_name = {samples.name: samples for samples in found}
    facts = found[0].facts
    lines = [
        f"{asked.method}, {asked.size} px, width {asked.width}, batch {asked.batch}, {facts['card']}; "
        f"{date.today().isoformat()}; {os.cpu_count()} cores ({platform.machine()}); torch {facts['torch']}; "
        f"{asked.samples} turns of {asked.steps} steps{', each in a process of its own' if asked.alone else ''}"
    ]
    for samples in found:
        variant, _, precision = samples.name.partition("/")
        theirs = by_name.get(f"reference/{PRECISIONS[precision]}")
        if variant != "reference" and theirs is not None:
            far = distance(theirs.losses, samples.losses)
            lines.append(f"{samples.name}: losses of the first steps within {far:.1e} of {theirs.name}'s, relative")
        if samples.facts["said"]:
            lines.append(f"{samples.name} took: {samples.facts['said']}")
    words = "Milliseconds of a step, and times faster than the reference in the same column (bf16: than it in TF32)"
    lines += ["", words, "", _table(by_name, "seconds")]
    if asked.forward:
        words = f"Milliseconds of a forward of the generator in evaluation, {asked.forward} pictures, and times faster"
        lines += ["", words, "", _table(by_name, "forward")]
    memory = ", ".join(f"{samples.name} {samples.peak / 1e9:.2f} GB" for samples in found)
    rates = ", ".join(
        f"{samples.name} {asked.batch / statistics.median(samples.seconds):.0f}" for samples in found if samples.seconds
    )
    return "\n".join([*lines, "", f"Pictures a second: {rates}", f"Memory of the card, reserved: {memory}"])


def keep(found: Sequence[Samples], asked: argparse.Namespace, text: str, folder: Path) -> None:
    """The text and every number behind it, as files of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{asked.method}-{asked.size}-batch{asked.batch}"
    (folder / f"{name}.md").write_text(text + "\n")
    numbers = [vars(samples) for samples in found]
    settings = {key: value for key, value in vars(asked).items() if key not in ("reference", "keep")}
    (folder / f"{name}.json").write_text(
        json.dumps({"date": date.today().isoformat(), "settings": settings, "contestants": numbers}, indent=1) + "\n"
    )


def _table(by_name: dict[str, Samples], what: str) -> str:
    rows = []
    for variant, words in VARIANTS.items():
        cells = []
        for precision, against in PRECISIONS.items():
            mine, theirs = by_name.get(f"{variant}/{precision}"), by_name.get(f"reference/{against}")
            mine, theirs = (getattr(each, what) if each is not None else [] for each in (mine, theirs))
            text = spread([1e3 * seconds for seconds in mine], ".3g") if mine else ""
            if mine and theirs and variant != "reference":
                ratios = [one / other for one, other in zip(theirs, mine, strict=True)]
                text += f": {spread(ratios, '.2f')}x"
            cells.append(text)
        if any(cells):
            rows.append([words, *cells])
    return markdown(["", "fp32, TF32 off", "TF32", "bf16"], rows)
