"""Small samplers for tests: weights drawn from a fixed seed, files and run folders as training leaves them."""

from pathlib import Path

import torch

from i2i.infer.sampler import Sampler
from i2i.infer.weights import write_tensors
from i2i.nets import GENERATORS

RECIPE = """\
method: {name: gan, objective: nonsaturating, num_critic: 1, constraint: {name: none}, latent: 5, prior: uniform}
generator: {name: mlp, num_layers: 1, width: 16}
discriminator: {name: mlp, num_layers: 1, width: 16}
data: DATA
optimizer: {G: {name: adam, lr: 2.0e-4}, D: {name: adam, lr: 2.0e-4}}
train: {steps: 2, decay_from: 2, batch_size: 4}
"""


def weights(
    channels: int = 1,
    size: int = 8,
    depth: int = 8,
    span=None,
    width: int = 16,
    seed: int = 7,
    step: int = 1000,
    names: tuple[str, ...] = (),
) -> tuple[torch.nn.Module, dict]:
    """(generator of 5 latents, its metadata), of classes where they have names. Wide weights: samples fill the range."""
    args = {
        "num_layers": 1,
        "width": width,
        "activation": "relu",
        "norm": "none",
        "output": "tanh",
        "init": "normal_0.8",
    }
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = GENERATORS.build("mlp", 5, channels, size, len(names) or None, **args)
    meta = {
        "kind": "sampler",
        "version": "0.1.0",
        "recipe": "small",
        "method": "gan",
        "export": "generator",
        "step": step,
        "net": {"name": "mlp", "args": args, "in_channels": 5, "out_channels": channels, "size": size}
        | ({"classes": len(names)} if names else {}),
        "output": {"channels": channels, "range": list(span or (0, 2**depth - 1)), "depth": depth},
        "prior": {"name": "uniform", "size": 5},
        "load_size": None,
        "crop_size": size,
        "translate": {"norm": "running", "dropout": False, "seed": 0},
    }
    if names:
        meta["classes"] = {"count": len(names), "names": list(names)}
    return net, meta


def sampler(**changes) -> Sampler:
    return Sampler(*weights(**changes))


def run_folder(
    path: Path, data: str = "{kind: points, distribution: ring2d, count: 64, crop_size: 1}", **changes
) -> Path:
    """A run folder with such weights, and a recipe with these data."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "recipe.yaml").write_text(RECIPE.replace("DATA", data))
    net, meta = weights(**changes)
    write_tensors(path / "generator.safetensors", net.state_dict(), meta)
    return path
