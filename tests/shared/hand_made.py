"""Subjects of evaluation whose models and data are made by hand, so that what a protocol must find is known."""

from pathlib import Path

import cv2
import making
import numpy as np
import torch
import yaml
from torch import nn

from i2i import build, config
from i2i.data.domain import Domain
from i2i.evaluation.subject import Subject
from i2i.infer.sampler import Sampler
from i2i.infer.translator import Translator

GREY, RGB = Domain(1, (0, 255), 8), Domain(3, (0, 255), 8)
GAN = {
    "method": {"name": "gan", "objective": "nonsaturating", "latent": 1, "prior": "normal"},
    "generator": {"name": "mlp", "num_layers": 1, "width": 8, "output": "tanh"},
    "discriminator": {"name": "mlp", "num_layers": 1, "width": 8},
    "optimizer": {"G": {"name": "adam", "lr": 1e-3}, "D": {"name": "adam", "lr": 1e-3}},
    "train": {"steps": 60, "batch_size": 16, "log_every": 20, "sample_every": None, "save_every": 20, "tracker": None},
}
CGAN = {**GAN, "method": {**GAN["method"], "name": "cgan"}}
SSGAN = {**GAN, "method": {**GAN["method"], "name": "ssgan", "objective": "minimax"}}
VAE = {
    "method": {"name": "vae", "latent": 2, "likelihood": "gaussian"},
    "generator": {"name": "mlp", "num_layers": 1, "width": 8, "output": "tanh"},
    "encoder": {"name": "mlp", "num_layers": 1, "width": 8},
    "optimizer": {"G": {"name": "adam", "lr": 1e-3}},
    "train": {"steps": 60, "batch_size": 16},
}
TRANSLATING = {"pix2pix": "pix2pix_facades", "cyclegan": "cyclegan_horse2zebra"}


def points(distribution: str = "gaussian1d", count: int = 400, **more) -> dict:
    return {
        "kind": "points",
        "distribution": distribution,
        "count": count,
        "crop_size": 1,
        "flip": False,
        "workers": 0,
        **more,
    }


def pictures(kind: str, path: Path, size: int = 16, **more) -> dict:
    return {"kind": kind, "path": str(path), "load_size": None, "crop_size": size, "flip": False, "workers": 0, **more}


def recipe_file(file: Path, data: dict, sections: dict = GAN, **more) -> Path:
    """A recipe of these data; `more` replaces sections, or, of a section that is there, some of its values."""
    whole = {**sections, "data": data}
    for name, values in more.items():
        whole[name] = {**whole.get(name, {}), **values}
    file.write_text(yaml.safe_dump(whole))
    return file


def recipe(folder: Path, data: dict, sections: dict = GAN, **more):
    """The checked recipe of a method that makes pictures of noise."""
    return build.check(config.read(recipe_file(folder / "recipe of a test.yaml", data, sections, **more)))


def translating(name: str, data: dict, *overrides: str):
    """The checked recipe of a method that translates."""
    shown = yaml.safe_dump(data, default_flow_style=True, width=10_000).strip()
    return build.check(config.read(TRANSLATING[name], [*making.SMALL[name][:2], f"data={shown}", *overrides]))


def subject(recipe, models: dict, run: Path, nets: dict | None = None, data=None, **more) -> Subject:
    """Step 7 of a run whose models are these."""
    found = Subject(
        recipe, build.dataset(recipe) if data is None else data, {}, lambda: nets, run, **{"say": print, **more}
    )
    found.models, found.files = models, {name: ({}, {"step": 7}) for name in models}
    return found


class Given(Sampler):
    """Draws the pictures (N, C, H, W) that it was given, in their order, of whatever class is asked for."""

    def __init__(self, pictures: torch.Tensor, domain: Domain = GREY, names: tuple[str, ...] = ()):
        self.output, self.given, self.device, self.class_names = domain, pictures, torch.device("cpu"), list(names)

    def tensors(self, count, *, start=0, seed=None, classes=None):
        if start + count > len(self.given):
            raise IndexError(f"{start + count} samples of {len(self.given)}")
        return self.given[start : start + count]


class Function(nn.Module):
    """A network that is a function."""

    def __init__(self, function):
        super().__init__()
        self.function, self.nothing = function, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.function(x)


def sampler(function, prior: str = "normal", size: int = 1, span=(-4, 4)) -> Sampler:
    """Of points of one coordinate: x = function(z), both (B, Z) and (B, 1), x in [-1, 1]."""
    meta = {
        "output": {"channels": 1, "range": span, "depth": 32},
        "prior": {"name": prior, "size": size},
        "translate": {"seed": 0},
    }
    return Sampler(Function(lambda z: function(z).reshape(-1, 1, 1, 1)), meta)


def translator(function, domain: Domain = RGB) -> Translator:
    """Of pictures in [-1, 1], (B, C, H, W), within one domain."""
    sides = {"channels": domain.channels, "range": domain.range, "depth": domain.depth}
    policy = {"norm": "running", "dropout": False, "seed": 0}
    meta = {"input": sides, "output": sides, "multiple": 1, "minimum": 1, "translate": policy}
    return Translator(Function(function), meta)


def noise(seed: int, *shape: int, low: int = 0, high: int = 256) -> np.ndarray:
    """Levels, any shape."""
    return np.random.RandomState(seed).randint(low, high, shape).astype(np.uint8)


def write(file: Path, pixels: np.ndarray) -> Path:
    """(H, W, 1 or 3) as PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), pixels[:, :, ::-1] if pixels.shape[2] == 3 else pixels)
    return file


def labelled(root: Path, train: int = 20, test: int = 12, size: int = 16) -> Path:
    """Two classes of grey noise, dark and light."""
    for split, count in (("train", train), ("test", test)):
        for label, (low, high) in (("dark", (0, 120)), ("light", (100, 256))):
            for index in range(count):
                seed = 1000 * (split == "test") + 100 * (label == "light") + index
                write(root / split / label / f"{index:03d}.png", noise(seed, size, size, 1, low=low, high=high))
    return root


def sides(root: Path, counts: dict[str, int], size: int = 16) -> Path:
    """{"trainA": 3, ...} folders of RGB noise."""
    for place, (name, count) in enumerate(counts.items()):
        for index in range(count):
            write(root / name / f"{index}.png", noise(100 * place + index, size + 2 * index, size, 3))
    return root
