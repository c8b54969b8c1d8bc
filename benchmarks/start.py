"""How long one waits before anything happens: `i2i --help`, and from `i2i train` to its first step.

    python benchmarks/start.py datasets/facades --reference ../pytorch-CycleGAN-and-pix2pix

The folder holds facades as their card lays them out: a folder train of pairs side by side, the input right. Beside ours
stand `import torch`, which nothing that trains can be without, and the reference's `train.py`, as it is; it needs
`dominate` and `wandb`. All begin from nothing and take turns. A training counts until it has told the losses of its
first step, pix2pix at 256 px with all defaults, and is ended then. A sample while other programs held more than
--allowed of the cores' time is left out, and counted.
"""

import argparse
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from machine import busy, processor_time, share_of_others, spread
from trained import markdown


@dataclass
class Wait:
    """One command, and how long it took."""

    name: str
    command: Sequence[str]
    until: str = ""  # part of the line that is waited for; none: the end of the program
    folder: Path | None = None  # where it runs
    seconds: list[float] = field(default_factory=list)  # of the samples that count
    left_out: int = 0

    def sample(self, allowed: float) -> None:
        """Runs it once."""
        before, mine, began = busy(), processor_time(), time.perf_counter()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            self.command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            said = []
            for line in process.stdout:
                said.append(line)
                if self.until and self.until in line:
                    break
            seconds, everybody = time.perf_counter() - began, busy() - before
            mine = processor_time() - mine  # of its workers, too, who are told apart only as long as it lives
            if self.until:
                process.kill()
            process.stdout.close()
            process.wait()
        failed = process.returncode if not self.until else not said or self.until not in said[-1]
        if failed:
            raise SystemExit(
                f"{' '.join(self.command)} did not do what was waited for. It said:\n{''.join(said[-20:])}"
            )
        if share_of_others(mine, everybody, seconds, os.cpu_count() or 1) <= allowed:
            self.seconds.append(seconds)
        else:
            self.left_out += 1


def waits(data: Path, checkout: Path | None, folder: Path) -> list[Wait]:
    """Everything that is timed; `import torch` first, a program of the reference before ours."""
    python, found = sys.executable, []
    found.append(Wait("import torch", [python, "-c", "import torch"]))
    if checkout:
        found.append(Wait("reference, train.py --help", [python, "train.py", "--help"], folder=checkout))
    found.append(Wait("i2i --help", [python, "-m", "i2i", "--help"]))
    if checkout:
        asked = ["--dataroot", str(data), "--name", "started", "--model", "pix2pix", "--direction", "BtoA"]
        asked += ["--print_freq", "1", "--checkpoints_dir", str(folder / "theirs")]
        found.append(
            Wait("reference, train.py to its first step", [python, "train.py", *asked], "iters: 1,", folder=checkout)
        )
    asked = [f"data.path={data}", "train.log_every=1", "--run", str(folder / "ours"), "--device", "cpu"]
    found.append(
        Wait("i2i train to its first step", [python, "-m", "i2i", "train", "pix2pix_facades", *asked], "step 1/")
    )
    return found


def table(found: Sequence[Wait]) -> str:
    """Markdown: seconds, and against `import torch` and the reference where there is one."""
    median = {wait.name: statistics.median(wait.seconds) if wait.seconds else math.nan for wait in found}
    rows = []
    for before, wait in zip([None, *found], found):
        against = "" if wait is found[0] else f"{median[wait.name] / median[found[0].name]:.2f}"
        theirs = before is not None and before.name.startswith("reference")
        ratio = f"{median[wait.name] / median[before.name]:.2f}" if theirs else ""
        rows.append([wait.name, spread(wait.seconds, ".2f"), against, ratio, f"{len(wait.seconds)} + {wait.left_out}"])
    return markdown(["", "seconds", "of import torch", "of the reference's", "samples + left out"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder whose train holds facades side by side")
    parser.add_argument("--reference", type=Path, help="a checkout of the reference; without it, ours alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--allowed", type=float, default=0.05, help="share of the cores that others may hold")
    asked = parser.parse_args()
    if asked.reference and not (asked.reference / "train.py").is_file():
        raise SystemExit(f"--reference {asked.reference}: there is no train.py in it. Give a checkout.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "runs"
        found = waits(asked.data.resolve(), asked.reference and asked.reference.resolve(), folder)
        for _ in range(asked.rounds):
            for wait in found:
                wait.sample(asked.allowed)
            shutil.rmtree(folder)  # a run that was ended would be continued
    print(
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; median "
        "(lowest to highest)\n"
    )
    print(table(found))


if __name__ == "__main__":
    main()
