"""A folder of pictures through a trained generator, end to end: `i2i translate` and the reference's test.py.

    python benchmarks/translate.py --reference ../pytorch-CycleGAN-and-pix2pix --pictures datasets/facades/test
    python benchmarks/translate.py --reference CHECKOUT --count 10 --rounds 2

CHECKOUT is a clone of junyanz/pytorch-CycleGAN-and-pix2pix, as it is; it needs `dominate` and `wandb` beside torch.
Both programs get the same first weights, drawn by the reference and renamed by i2i.nets.reference, for a U-Net 256
(BatchNorm with running statistics, no dropout: test.py --eval) and a ResNet-9 (InstanceNorm), and the same pictures of
256 px; ResNet-9 runs also by `i2i translate --winograd`. They take turns, a whole process each, start-up included. A
sample taken while other programs held more than --allowed of the cores' time is left out, and counted; the CPU seconds
are of all samples.

The reference writes two PNGs for each picture, the input's copy and the output (pix2pix with its own data set three),
and a web page; i2i writes the output. Both facts stand in the table: the ratio as it is, and the ratio for equal
outputs, from whose reference the time is taken off that Pillow needs here to write the copies of the inputs. The
outputs differ by a level in about half of the values, because the reference cuts levels off where i2i rounds.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from machine import busy, share_of_others, spread
from trained import markdown

SIZE = 256
NETS = {
    "U-Net 256": {
        "net": ("unet", {"num_downs": 8, "norm": "batch", "dropout": False}),
        "reference": ["--netG", "unet_256", "--norm", "batch", "--no_dropout", "--eval"],
        "options": [""],
    },
    "ResNet-9": {
        "net": ("resnet", {"num_blocks": 9, "norm": "instance", "dropout": False}),
        "reference": ["--netG", "resnet_9blocks", "--norm", "instance", "--no_dropout"],
        "options": ["", "--winograd"],  # of i2i translate, each measured
    },
}
DRAW = """
import sys, torch
from models import networks
torch.manual_seed(0)
network, norm, width, path = sys.argv[1:]
torch.save(networks.define_G(3, 3, int(width), network, norm, False).state_dict(), path)
"""


@dataclass
class Side:
    """One of the programs, and what was measured of it."""

    name: str
    command: list[str]
    folder: Path
    made: Path | None = None  # where ours writes
    seconds: dict[int, float] = field(default_factory=dict)  # round -> of the samples that count
    cpu: list[float] = field(default_factory=list)  # seconds, of all samples
    peak: int = 0  # bytes
    left_out: int = 0

    def sample(self, number: int, allowed: float) -> None:
        """Runs the program once, from nothing."""
        before, began = busy(), time.perf_counter()
        process = subprocess.Popen(self.command, cwd=self.folder, stdout=subprocess.DEVNULL, env=environment())
        _, status, used = os.wait4(process.pid, 0)
        seconds, everybody = time.perf_counter() - began, busy() - before
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{self.name} ended with exit status {process.returncode}; what it said stands above.")
        cpu = used.ru_utime + used.ru_stime
        self.cpu.append(cpu)
        self.peak = max(self.peak, used.ru_maxrss * 1024)
        if share_of_others(cpu, everybody, seconds, os.cpu_count() or 1) <= allowed:
            self.seconds[number] = seconds
        else:
            self.left_out += 1


def environment() -> dict[str, str]:
    """This checkout of i2i is the one that is measured."""
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def inputs(folder: Path, source: Path | None, count: int) -> Path:
    """`count` PNGs of 256 px: the left upper part of each picture in `source`, else made-up photographs."""
    from i2i.data import pictures
    from i2i.data.synthetic import write_folder

    if source is None:
        source = folder / "made"
        write_folder(source, count, size=SIZE, half="photo")
    files = sorted(path for path in source.iterdir() if pictures.is_picture(path.name))
    if len(files) < count:
        raise SystemExit(f"{source} holds {len(files)} pictures, and {count} are asked for; give --count {len(files)}.")
    place = folder / "in"
    place.mkdir()
    for file in files[:count]:
        pixels = np.repeat(pixels, 3, 2) if (pixels := pictures.read(file).pixels).shape[2] == 1 else pixels
        if min(pixels.shape[:2]) < SIZE:
            raise SystemExit(f"{file} is smaller than {SIZE} px; give larger pictures.")
        pictures.write(place / f"{file.stem}.png", np.ascontiguousarray(pixels[:SIZE, :SIZE]))
    return place


def sides(folder: Path, place: Path, network: str, width: int, checkout: Path, count: int) -> list[Side]:
    """The reference, then ours with each of the network's options; with the same weights."""
    import torch

    from i2i.infer.weights import write_tensors
    from i2i.nets import GENERATORS
    from i2i.nets.reference import from_reference

    (kind, args), asked = NETS[network]["net"], NETS[network]["reference"]
    weights = folder / "checkpoints" / kind / "latest_net_G.pth"
    weights.parent.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", DRAW, asked[1], asked[3], str(width), str(weights)], cwd=checkout,
                   stdout=subprocess.DEVNULL, env=environment(), check=True)  # fmt: skip
    args = {**args, "width": width}
    net = GENERATORS.build(kind, 3, 3, **args)
    domain = {"channels": 3, "range": [0, 255], "depth": 8}
    meta = {
        "kind": "generator", "step": 0, "direction": "ab", "input": domain, "output": domain, "multiple": net.multiple,
        "minimum": net.minimum, "translate": {"norm": "running", "dropout": False, "seed": 0},
        "net": {"name": kind, "args": args, "in_channels": 3, "out_channels": 3},
    }  # fmt: skip
    state = torch.load(weights, weights_only=True)
    ours = folder / f"{kind}.safetensors"
    write_tensors(ours, from_reference(net, state), meta)
    reference = [
        sys.executable, "test.py", "--dataroot", str(place), "--name", kind, "--model", "test", *asked, "--ngf",
        str(width), "--checkpoints_dir", str(folder / "checkpoints"), "--results_dir", str(folder / "theirs"),
        "--num_test", str(count),
    ]  # fmt: skip
    translate = [sys.executable, "-m", "i2i", "translate", str(place), "--model", str(ours), "--device", "cpu"]
    found = [Side("reference, test.py", reference, checkout)]
    for option in NETS[network]["options"]:
        out = folder / "ours" / f"{kind}{option}"
        command = [*translate, "--out", str(out), *option.split()]
        found.append(Side(f"i2i translate {option}".strip(), command, folder, out / place.name))
    return found


def difference(theirs: Path, ours: Path, place: Path) -> tuple[int, float]:
    """(the most levels, the share of values) by which the outputs differ of those in `place`."""
    from i2i.data import pictures

    found = []
    for file in sorted(place.iterdir()):
        expected = pictures.read(theirs / f"{file.stem}_fake.png").pixels
        found.append(np.abs(expected.astype(int) - pictures.read(ours / file.name).pixels))
    return int(max(each.max() for each in found)), float(np.mean([(each > 0).mean() for each in found]))


def copies(place: Path, folder: Path) -> float:
    """Seconds in which Pillow writes a copy of each input, as the reference does."""
    from PIL import Image

    images = [Image.open(file).convert("RGB") for file in sorted(place.iterdir())]
    folder.mkdir(exist_ok=True)
    began = time.perf_counter()
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
    return time.perf_counter() - began


def rows(network: str, found: list[Side], count: int, copying: list[float]) -> list[list[str]]:
    """A row of the table for each, the reference first."""
    reference, made = found[0], []
    for side in found:
        both = sorted(reference.seconds.keys() & side.seconds.keys())
        plain = [reference.seconds[n] / side.seconds[n] for n in both]
        equal = [(reference.seconds[n] - statistics.median(copying)) / side.seconds[n] for n in both]
        told = ("1", spread(plain, ".2f"), spread(equal, ".2f")) if side.made else ("2 and a page", "1", "1")
        seconds = list(side.seconds.values())
        rate = f"{count / statistics.median(seconds):.2f}" if seconds else "none counts"
        made.append([
            network, side.name, told[0], spread(seconds, ".1f"), rate, *told[1:], spread(side.cpu, ".1f"),
            f"{side.peak / 1e9:.2f} GB", str(side.left_out),
        ])  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of the reference implementation")
    parser.add_argument("--pictures", type=Path, help="a folder of pictures of 256 px or more, else made-up ones")
    parser.add_argument("--count", type=int, default=200, help="pictures")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each, in turns")
    parser.add_argument("--width", type=int, default=64, help="of the generators")
    parser.add_argument("--allowed", type=float, default=0.05, help="share of the cores that others may hold")
    asked = parser.parse_args()
    checkout = asked.reference.expanduser().resolve()
    if not (checkout / "test.py").is_file():
        raise SystemExit(f"{checkout} has no test.py; give a checkout of junyanz/pytorch-CycleGAN-and-pix2pix.")

    import torch

    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = inputs(folder, asked.pictures and asked.pictures.expanduser(), asked.count)
        for network in NETS:
            kind = NETS[network]["net"][0]
            found = sides(folder, place, network, asked.width, checkout, asked.count)
            copying = []
            for number in range(asked.rounds):
                for made in (folder / "theirs", folder / "ours"):
                    shutil.rmtree(made, ignore_errors=True)
                for side in found:
                    side.sample(number, asked.allowed)
                copying.append(copies(place, folder / "copies"))
            theirs = folder / "theirs" / kind / "test_latest" / "images"
            for side in found[1:]:
                most, share = difference(theirs, side.made, place)
                print(
                    f"{network}, {side.name}: outputs differ from the reference's by at most {most} of 255 levels, in "
                    f"{share:.1e} of the values"
                )
            table += rows(network, found, asked.count, copying)
    print(
        f"\n{asked.count} pictures of {SIZE} px, start-up included; median (lowest to highest), {asked.rounds} rounds"
    )
    print(
        f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__}\n"
    )
    head = "generator, program, PNGs a picture, seconds, pictures/s, ratio, ratio for equal outputs, CPU seconds, "
    head = (head + "peak memory, samples left out").split(", ")
    print(markdown(head, table))


if __name__ == "__main__":
    main()
