"""Small methods for tests, made by the same `build` as in training."""

import torch

from i2i import build, config
from i2i.engine.runtime import Runtime
from i2i.losses import CONSTRAINTS
from i2i.methods import METHODS

CLASSED = [
    "generator={name: mlp, num_layers: 1, width: 8}",
    "discriminator={name: mlp, num_layers: 1, width: 8}",
    "data={kind: labelled, path: nowhere, classes: 3, load_size: null, crop_size: 32, workers: 0}",
    "evaluate={}",
]
SMALL = {
    "pix2pix": [
        "generator={name: unet, num_downs: 4, width: 4, norm: instance, dropout: false}",
        "discriminator={name: patchgan, num_layers: 1, width: 4, norm: instance}",
        "data={kind: synthetic, pairing: paired, size: 32, count: 6, load_size: null, crop_size: 32, workers: 0}",
    ],
    "cyclegan": [
        "generator={name: resnet, num_blocks: 1, width: 4}",
        "discriminator={name: patchgan, num_layers: 1, width: 4, norm: instance}",
        "data={kind: synthetic, pairing: unpaired, size: 32, count: 6, load_size: null, crop_size: 32, workers: 0}",
        "method.pool_size=3",
    ],
    "gan": [
        "generator={name: mlp, num_layers: 1, width: 8}",
        "discriminator={name: mlp, num_layers: 1, width: 8}",
        "data={kind: folder, path: nowhere, load_size: null, crop_size: 32, workers: 0}",
        "evaluate={}",
    ],
    "cgan": CLASSED,
    "acgan": CLASSED,
    "ssgan": [*CLASSED, "data.labels=6"],
    "vae": [
        "generator={name: mlp, num_layers: 1, width: 8}",
        "encoder={name: mlp, num_layers: 1, width: 8}",
        "data={kind: folder, path: nowhere, load_size: null, crop_size: 32, workers: 0}",
        "evaluate={}",
    ],
}
GENERATORS = {  # the smallest of each, for pictures of 64 px
    "unet": "{name: unet, num_downs: 4, width: 4}",
    "unet_timm": "{name: unet_timm, encoder: test_resnet, width: 4}",
    "resnet": "{name: resnet, num_blocks: 1, width: 4}",
    "mlp": "{name: mlp, num_layers: 1, width: 4}",
    "dcgan": "{name: dcgan, width: 2}",
    "resnet_gan": "{name: resnet_gan, width: 4}",
}
DISCRIMINATORS = {
    "mlp": "{name: mlp, num_layers: 1, width: 4}",
    "maxout": "{name: maxout, num_layers: 1, width: 4}",
    "patchgan": "{name: patchgan, num_layers: 1, width: 4}",
    "multiscale": "{name: multiscale, num_scales: 2, num_layers: 1, width: 4}",
    "pixel": "{name: pixel, width: 4}",
    "dcgan": "{name: dcgan, width: 2}",
    "resnet_gan": "{name: resnet_gan, width: 4}",
}
RECIPES = {
    "pix2pix": "pix2pix_facades", "cyclegan": "cyclegan_horse2zebra", "gan": "gan_mnist", "cgan": "cgan_mnist",
    "acgan": "acgan_mnist", "ssgan": "ssgan_mnist", "vae": "vae_mnist",
}  # fmt: skip

# every method, those that have an adversary under every constraint
GAMES = [
    (name, rule)
    for name in METHODS.names()
    for rule in (CONSTRAINTS.names() if METHODS.get(name).adversarial else [None])
]


def small_recipe(name: str, *overrides: str):
    """The checked recipe of a method, shrunk."""
    return build.check(config.read(RECIPES[name], [*SMALL[name], "train.steps=6", "train.decay_from=3", *overrides]))


def small_method(name: str, *overrides: str, branch: bool | None = None, device: str = "cpu"):
    """(method, recipe) of a shrunk recipe."""
    recipe = small_recipe(name, *overrides)
    runtime = Runtime(device, recipe.train.precision, recipe.train.clip_grad, branch)
    return build.method(recipe, runtime), recipe


def batches(
    method, count: int, *, size: int = 32, batch_size: int = 2, seed: int = 0, channels: int = 3, dtype=torch.float32
):
    """`count` random batches in [-1, 1] for a method, with classes in turn where it needs some."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch_size, channels, size, size)
    labels = {}
    if method.needs_labels:
        labels["label"] = torch.arange(batch_size) % (method.D.outputs if method.few_labels else method.G.classes)
    keys = (*method.keys, "labelled") if method.few_labels else method.keys
    return [
        {key: torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1 for key in keys} | labels
        for _ in range(count)
    ]


def snapshot(net) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}
