"""One side of `compare.py`, in a process of its own: it takes steps when it is told to, and says how long they took.

    python benchmarks/contestant.py FOLDER NAME [CHECKOUT]

NAME is reference, or a value of train.speed. FOLDER holds settings.json and batches.safetensors; the reference leaves
the weights that it begins with there, and the others begin with the same. Commands come line by line, "step NUMBER" or
"end"; answers are JSON, a line each.
"""

import importlib
import json
import os
import random
import resource
import sys
import time
from pathlib import Path

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
LONG = 10**6  # steps of the run that this is a part of, for the probe


def reference(settings: dict, folder: Path, checkout: Path):
    """The model of an unmodified checkout, as its train.py makes it: (a step, what it says of itself)."""
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
    options.device = torch.device("cpu")
    model = importlib.import_module("models").create_model(options)
    model.setup(options)
    weights = {
        f"{name}.{key}": value.contiguous()
        for name in NETS[method]
        for key, value in getattr(model, f"net{name}").state_dict().items()
    }
    save_file(weights, folder / "weights.safetensors")

    def step(pictures) -> dict[str, float]:
        model.set_input({"A": pictures[0], "B": pictures[1], "A_paths": [], "B_paths": []})
        model.optimize_parameters()
        return model.get_current_losses()

    return step, ""


def ours(settings: dict, folder: Path, speed: str):
    """i2i's method with the reference's networks and first weights."""
    from i2i import build, config
    from i2i.engine.runtime import Runtime
    from i2i.nets.reference import from_reference
    from i2i.speed import choosing
    from i2i.speed.measure import Work

    method, size, width = settings["method"], settings["size"], settings["width"]
    depth = {"pix2pix": f"num_downs={size.bit_length() - 1}", "cyclegan": f"num_blocks={settings['blocks']}"}[method]
    overrides = [
        f"generator.{depth}", f"generator.width={width}", f"discriminator.width={width}", f"train.speed={speed}",
        f"train.batch_size={settings['batch']}", f"data.crop_size={size}", f"data.load_size={size}",
    ]  # fmt: skip
    recipe = build.check(config.read(RECIPES[method], overrides))
    built = build.method(recipe, Runtime("cpu"))
    weights = load_file(folder / "weights.safetensors")
    for theirs, name in NETS[method].items():
        state = {
            key.removeprefix(f"{theirs}."): value for key, value in weights.items() if key.startswith(f"{theirs}.")
        }
        built.nets[name].load_state_dict(from_reference(built.nets[name], state))
    said = ""
    if speed != "plain":
        work = Work(built, size, settings["batch"], LONG, wanted=speed)
        picked = choosing.choose(work)
        choosing.apply(work, picked)
        said = choosing.words(picked, work.notes)

    def step(pictures) -> dict[str, float]:
        scalars = built.step(iter([dict(zip(KEYS[method], pictures, strict=True))]))
        found = {theirs: float(scalars[mine]) for theirs, mine in LOSSES[method].items()}
        return found | ({"D": float(scalars["loss/D"])} if method == "pix2pix" else {})

    return step, said


def main() -> None:
    folder, name, *checkout = sys.argv[1:]
    folder = Path(folder)
    answers, sys.stdout = sys.stdout, sys.stderr  # what others print must not get between the answers
    settings, batches = json.loads((folder / "settings.json").read_text()), load_file(folder / "batches.safetensors")
    torch.manual_seed(0)
    step, said = reference(settings, folder, Path(checkout[0])) if checkout else ours(settings, folder, name)

    def answer(**fields) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    answer(said=said, threads=torch.get_num_threads(), torch=torch.__version__)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "end":
            break
        number = int(words[1])
        pictures = [batches[f"{number % settings['batches']}.{side}"] for side in "AB"]
        torch.manual_seed(number)
        random.seed(number)  # of the reference's pool
        before, start = os.times(), time.perf_counter()
        losses = step(pictures)
        seconds, after = time.perf_counter() - start, os.times()
        losses = {key: float(value) for key, value in losses.items()}
        if "D_real" in losses and settings["method"] == "pix2pix":
            losses["D"] = (losses.pop("D_real") + losses.pop("D_fake")) / 2
        cpu = after.user + after.system - before.user - before.system
        answer(seconds=seconds, cpu=cpu, losses=losses, peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
