"""One side of `compare.py`, in a process of its own: it takes steps when it is told to, and says how long they took.

    python benchmarks/contestant.py FOLDER NAME [CHECKOUT]

NAME is reference, or a value of train.speed, or "compiled", auto with compiled networks; on a card followed by its
precision, as in "auto/bf16": fp32 (TF32 off), tf32 (convolutions in TF32, as PyTorch comes) or bf16. FOLDER holds
settings.json and batches.safetensors; the reference leaves the weights that it begins with there, and the others begin
with the same.

Commands come line by line, answers are JSON, a line each: "step NUMBER" takes one step and tells its losses; "steps
NUMBER COUNT" takes as many without looking at one, and waits for the device at the end; "forward COUNT" runs the
generator so often on settings["forward"] pictures, in evaluation, without gradients; "end".
"""

import importlib
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file

NETS = {  # the reference's name -> ours
    "pix2pix": {"G": "G", "D": "D"},
    "cyclegan": {"G_A": "G_ab", "G_B": "G_ba", "D_A": "D_b", "D_B": "D_a"},
}
LOSSES = {
    "pix2pix": {"G_GAN": "loss/G_gan", "G_L1": "loss/G_l1"},
    "cyclegan": {"G_A": "loss/G_ab", "G_B": "loss/G_ba", "cycle_A": "loss/cycle_a", "cycle_B": "loss/cycle_b",
                 "idt_A": "loss/identity_b", "idt_B": "loss/identity_a", "D_A": "loss/D_b", "D_B": "loss/D_a"},
}  # fmt: skip
KEYS = {"pix2pix": ("input", "target"), "cyclegan": ("a", "b")}
RECIPES = {"pix2pix": "pix2pix_facades", "cyclegan": "cyclegan_horse2zebra"}
WARM_UP = 3  # forwards before those that are timed
LONG = 10**6  # steps of the run that this is a part of, for the probe


class Trained(NamedTuple):
    """A training that is ready."""

    step: Callable[[Sequence[torch.Tensor]], None]
    losses: Callable[[], dict[str, float]]  # of the last step, by the reference's names
    generator: torch.nn.Module
    said: str


def reference(settings: dict, folder: Path, checkout: Path):
    """The model of an unmodified checkout, as its train.py makes it."""
    sys.path.insert(0, str(checkout))
    method, width, size = settings["method"], str(settings["width"]), settings["size"]
    generator = f"unet_{size}" if method == "pix2pix" else f"resnet_{settings['blocks']}blocks"
    sys.argv = [
        "train.py", "--dataroot", "none", "--name", "compared", "--checkpoints_dir", str(folder / "reference"),
        "--model", {"pix2pix": "pix2pix", "cyclegan": "cycle_gan"}[method], "--netG", generator,
        "--dataset_mode", {"pix2pix": "aligned", "cyclegan": "unaligned"}[method],
        "--ngf", width, "--ndf", width, "--crop_size", str(size), "--batch_size", str(settings["batch"]),
    ]  # fmt: skip
    options = importlib.import_module("options.train_options").TrainOptions().parse()
    options.device = torch.device(settings["device"])
    model = importlib.import_module("models").create_model(options)
    model.setup(options)
    weights = {
        f"{name}.{key}": value.cpu().contiguous()
        for name in NETS[method]
        for key, value in getattr(model, f"net{name}").state_dict().items()
    }
    save_file(weights, folder / "weights.safetensors")

    def step(pictures) -> None:
        model.set_input({"A": pictures[0], "B": pictures[1], "A_paths": [], "B_paths": []})
        model.optimize_parameters()

    generator = next(iter(NETS[method]))
    return Trained(step, model.get_current_losses, getattr(model, f"net{generator}"), "")


def ours(settings: dict, folder: Path, speed: str, precision: str):
    """i2i's method with the reference's networks and first weights."""
    from i2i import build, config
    from i2i.engine.compiled import compile_nets
    from i2i.engine.runtime import Runtime
    from i2i.nets.reference import from_reference
    from i2i.speed import choosing
    from i2i.speed.graph import stepping
    from i2i.speed.measure import Work

    method, size, width = settings["method"], settings["size"], settings["width"]
    depth = {"pix2pix": f"num_downs={size.bit_length() - 1}", "cyclegan": f"num_blocks={settings['blocks']}"}[method]
    wanted = "auto" if speed == "compiled" else speed
    overrides = [
        f"generator.{depth}", f"generator.width={width}", f"discriminator.width={width}", f"train.speed={wanted}",
        f"train.batch_size={settings['batch']}", f"data.crop_size={size}", f"data.load_size={size}",
    ]  # fmt: skip
    recipe = build.check(config.read(RECIPES[method], overrides))
    runtime = Runtime(settings["device"], "bf16" if precision == "bf16" else "fp32")
    built = build.method(recipe, runtime)
    weights = load_file(folder / "weights.safetensors")
    for theirs, name in NETS[method].items():
        state = {
            key.removeprefix(f"{theirs}."): value for key, value in weights.items() if key.startswith(f"{theirs}.")
        }
        built.nets[name].load_state_dict(from_reference(built.nets[name], state))
    said: list[str] = []
    if speed != "plain":
        work = Work(built, size, settings["batch"], LONG, speed == "compiled", wanted)
        picked = choosing.choose(work)
        choosing.apply(work, picked)
        said += [choosing.words(picked, work.notes), *work.declined]
    if speed == "compiled":
        compile_nets(built, size, settings["batch"], said.append)
    advance = stepping(built, said.append)
    scalars: dict[str, torch.Tensor] = {}

    def step(pictures) -> None:
        scalars.update(advance(iter([dict(zip(KEYS[method], pictures, strict=True))])))

    def losses() -> dict[str, float]:
        found = {theirs: float(scalars[mine]) for theirs, mine in LOSSES[method].items()}
        return found | ({"D": float(scalars["loss/D"])} if method == "pix2pix" else {})

    return Trained(step, losses, built.nets[next(iter(NETS[method].values()))], "; ".join(said))


def forward(net, pictures: torch.Tensor, graphed: bool):
    """What runs the generator once on `pictures`, in evaluation; `graphed` as one CUDA graph."""
    from i2i.speed.graph import CUDARecorder

    def act(_number: int = 0) -> dict:
        with torch.inference_mode():
            net(pictures)
        return {}

    net.eval()
    if not graphed:
        return act
    recorder = CUDARecorder(pictures.device)
    for _ in range(WARM_UP):
        recorder.plainly(act)
    replay, _ = recorder.recorded(act)
    return lambda _number: replay()


def timed(act, device: str, count: int) -> tuple[float, float]:
    """(seconds, CPU seconds of this process) of one of `count` calls, the device being done at the end."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    before, start = os.times(), time.perf_counter()
    for number in range(count):
        act(number)
    wait()
    seconds, after = time.perf_counter() - start, os.times()
    return seconds / count, (after.user + after.system - before.user - before.system) / count


def peak(device: str) -> int:
    """Bytes: of a card what PyTorch has taken of it at most, else of the process."""
    if device == "cuda":
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    folder, name, *checkout = sys.argv[1:]
    folder = Path(folder)
    answers, sys.stdout = sys.stdout, sys.stderr  # what others print must not get between the answers
    settings, batches = json.loads((folder / "settings.json").read_text()), load_file(folder / "batches.safetensors")
    torch.manual_seed(0)
    device, (speed, _, precision) = settings["device"], name.partition("/")
    if precision == "fp32":
        torch.backends.cudnn.allow_tf32 = False
    trained = reference(settings, folder, Path(checkout[0])) if checkout else ours(settings, folder, speed, precision)
    batches = {key: value.to(device) for key, value in batches.items()}

    def answer(**fields) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    def step(number: int) -> None:
        torch.manual_seed(number)
        random.seed(number)  # of the reference's pool
        trained.step([batches[f"{number % settings['batches']}.{side}"] for side in "AB"])

    card = torch.cuda.get_device_name() if device == "cuda" else ""
    answer(said=trained.said, threads=torch.get_num_threads(), torch=torch.__version__, card=card)
    for line in sys.stdin:
        word, *numbers = line.split()
        if word == "end":
            break
        found = {}
        if word == "forward":
            shape = (settings["forward"], 3, settings["size"], settings["size"])
            act = forward(trained.generator, torch.rand(shape, device=device) * 2 - 1, bool(card) and not checkout)
            timed(act, device, WARM_UP)
            seconds, cpu = timed(act, device, int(numbers[0]))
        else:
            first, count = int(numbers[0]), int(numbers[1]) if word == "steps" else 1
            seconds, cpu = timed(lambda number, first=first: step(first + number), device, count)
        if word == "step":
            found = {key: float(value) for key, value in trained.losses().items()}
            if "D_real" in found and settings["method"] == "pix2pix":
                found["D"] = (found.pop("D_real") + found.pop("D_fake")) / 2
        answer(seconds=seconds, cpu=cpu, losses=found, peak=peak(device))


if __name__ == "__main__":
    main()
