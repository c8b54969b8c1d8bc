"""Every recipe, found recursively: complete, right, in one order, its header true, and it trains two steps when shrunk."""

import re
from pathlib import Path

import pytest
import torch
import typer
from making import batches

from i2i import build, config
from i2i.cli import app
from i2i.config import Recipe, parse
from i2i.engine.runtime import Runtime
from i2i.nets import DISCRIMINATORS, ENCODERS, GENERATORS
from i2i.yamlfile import read_yaml

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
TASKS = {
    "pix2pix": [
        *("facades", "maps", "edges2shoes", "edges2handbags", "cityscapes", "colorize", "superres"),
        *("facades_timm", "synthetic"),
    ],
    "cyclegan": ["horse2zebra", "apple2orange", "summer2winter", "monet2photo", "maps", "facades"],
    "gan": ["mnist", "cifar10", "gaussian1d", "ring2d"],
    "dcgan": ["mnist", "cats"],
    "lsgan": ["mnist"],
    "wgan": ["mnist"],
    "wgan_gp": ["mnist", "cifar10"],
    "sngan": ["mnist", "cifar10"],
    "cgan": ["mnist", "projection_mnist"],
    "dcgan_conditional": ["mnist"],
    "acgan": ["mnist"],
    "ssgan": ["mnist"],
    "vae": ["mnist"],
}
SYSTEMS = {
    "dcgan": "gan",
    "dcgan_conditional": "cgan",
    "lsgan": "gan",
    "wgan": "gan",
    "wgan_gp": "gan",
    "sngan": "gan",
}  # -> the method they are of
SHRUNK = {  # by the name of the network
    "unet": ["generator.num_downs=4", "generator.width=4"],
    "unet_timm": ["generator.encoder=test_resnet", "generator.pretrained=false", "generator.width=4"],
    "resnet": ["generator.num_blocks=1", "generator.width=4"],
    "patchgan": ["discriminator.num_layers=1", "discriminator.width=4"],
    "multiscale": ["discriminator.num_scales=2", "discriminator.num_layers=1", "discriminator.width=4"],
    "pixel": ["discriminator.width=4"],
    "mlp": ["{section}.width=8"],
    "maxout": ["discriminator.width=8"],
    "dcgan": ["{section}.width=4"],
    "resnet_gan": ["{section}.width=4"],
}
MADE_UP = {"pix2pix_synthetic", "gan_gaussian1d", "gan_ring2d"}  # as much data as one likes: no epochs
UNPUBLISHED = {"pix2pix_synthetic"}  # no paper
PAPERS = (
    r"\((Isola|Zhu|Odena|Metz|Mao|Arjovsky|Gulrajani) et al\., 2017[,;)]|\((Radford|Salimans) et al\., 2016[,;)]"
    r"|\((Goodfellow et al|Kingma and Welling|Mirza and Osindero)\.?, 2014|\(Miyato (et al\.|and Koyama), 2018[,;)]"
)
SECTIONS = ("generator", "discriminator", "encoder")
every_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)


def header(path):
    """What the comment at the top says, as one line."""
    lines = path.read_text().splitlines()
    count = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(" ".join(line.removeprefix("#") for line in lines[:count]).split())


def number(text):
    return int(text.replace(",", "").replace("_", ""))


def test_there_are_recipes():
    assert len(RECIPES) >= 20
    wanted = {f"{method}_{task}" for method, tasks in TASKS.items() for task in tasks}
    assert wanted <= {path.stem for path in RECIPES}
    assert set(SHRUNK) == {*GENERATORS.names(), *DISCRIMINATORS.names(), *ENCODERS.names()}


@every_recipe
def test_it_is_fine_without_any_data(path):
    build.check(config.read(path))


@every_recipe
def test_it_leaves_nothing_out_and_keeps_the_order(path):
    source = config.read(path)
    checked = build.check(source).model_dump()
    wanted = {name: values for name, values in checked.items() if values is not None}  # networks that it has
    assert source.data == wanted, "a shipped recipe writes every value out"
    assert list(source.data) == [name for name in Recipe.model_fields if name in wanted]
    for section, values in source.data.items():
        assert list(values) == list(checked[section]), section
    assert parse(source)[1] == []


@every_recipe
def test_its_header_says_paper_command_and_what_to_expect(path):
    said = header(path)
    assert said.count(f"i2i train recipes/{path.name}") == 1
    assert "Measured here" in said
    system = next(name for name in sorted(TASKS, key=len, reverse=True) if path.stem.startswith(f"{name}_"))
    assert config.read(path).data["method"]["name"] == SYSTEMS.get(system, system)
    if path.stem not in UNPUBLISHED:
        assert re.search(PAPERS, said), "the paper"
    if path.stem not in MADE_UP:
        assert re.search(r"Expected: (none published|FID|FCN-8s|\d)", said), "a figure, or that there is none"


@every_recipe
def test_the_commands_of_its_header_exist(path):
    """Each is parsed by the command line itself: a misspelt option fails here, a file that is not there above."""
    commands = re.findall(r"i2i (?:train|data|recipes|check) (?:[\w./<>-]+ ?)+", header(path))
    assert commands
    for text in commands:
        words, command = text.split()[1:], typer.main.get_command(app)
        while words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        words = words[: words.index("A")] if "A" in words else words  # where the sentence goes on
        context = command.make_context("i2i", words)
        if "recipe" in context.params:
            assert (ROOT / context.params["recipe"]).is_file()
        if "out" in context.params:
            assert str(context.params["out"]) == config.read(path).data["data"]["path"]


@every_recipe
def test_its_steps_are_the_epochs_that_its_header_says(path):
    data = config.read(path).data
    train, said = data["train"], header(path)
    if path.stem in MADE_UP:
        assert "epochs" not in said
        return
    found = re.search(r"(\d+) epochs of (?:max\()?([\d,]+\d)(?:, ([\d,]+)\))? (pairs|pictures) at batch (\d+)", said)
    epochs, pictures, batch = int(found[1]), max(number(found[2]), number(found[3] or "0")), int(found[5])
    assert batch == train["batch_size"]
    batch *= data["method"]["num_critic"]  # each of D's steps takes a batch of its own
    assert abs(train["steps"] - epochs * pictures / batch) < 1
    assert found[4] == ("pairs" if data["data"]["kind"] == "paired" else "pictures")
    falling = re.search(r"the rate falling over the last (\d+)", said)
    if falling:
        assert train["decay_from"] == train["steps"] * (epochs - int(falling[1])) // epochs
    else:
        assert "at a constant rate" in said and train["decay_from"] is None
    changed = data["data"]["flip"] or data["data"]["load_size"] is None  # at the pictures' own size there is no jitter
    assert ("without jitter and mirroring" in said) == (not changed)
    sizes = (None, data["data"]["crop_size"])
    assert data["data"]["flip"] or data["data"]["load_size"] in sizes, "no jitter"


@every_recipe
def test_it_agrees_with_the_card_of_its_data(path):
    data = config.read(path).data["data"]
    if path.stem in MADE_UP:
        return
    name = data["path"].removeprefix("datasets/")
    if f"--out {data['path']}" in header(path):
        return  # made by `i2i data pairs`, of any pictures
    card, _ = read_yaml(ROOT / "datasets" / f"{name}.yaml")
    assert card["kind"] == data["kind"]
    assert data.get("direction") == card.get("direction")
    held_out = data.get("val") or 0
    counts = [
        number(str(count)) - held_out for split, count in card["counts"].items() if split.startswith(("train", "."))
    ]
    said = re.search(r"epochs of (?:max\()?([\d,]+\d)(?:, ([\d,]+)\))?", header(path))
    assert sorted({number(each) for each in said.groups() if each}) == sorted(set(counts))


def shrunk(path, *overrides):
    """The recipe at a size for tests, checked."""
    data = config.read(path).data
    there = [section for section in SECTIONS if section in data]
    nets = [text.format(section=section) for section in there for text in SHRUNK[data[section]["name"]]]
    size = 64 if data["generator"]["name"] == "unet_timm" else 32
    if data["data"]["kind"] == "points":
        sizes = ["data.a.channels=2"]
    else:
        sizes = [f"data.crop_size={size}", f"data.load_size={size}"]
    return build.check(config.read(path, [*nets, *sizes, *overrides]))


@every_recipe
def test_shrunk_it_takes_two_steps(path):
    recipe = shrunk(path)
    method = build.method(recipe, Runtime("cpu"))
    size, count = recipe.data.crop_size, recipe.train.batch_size
    for _ in range(2):
        channels = 2 if recipe.data.kind == "points" else 3
        made = batches(method, method.batches_per_step, size=size, batch_size=count, channels=channels)
        scalars = method.step(iter(made))
    assert all(torch.isfinite(value) for value in scalars.values())


def test_colorize_reads_grey_and_writes_colour():
    recipe = shrunk(ROOT / "recipes" / "pix2pix_colorize.yaml", "data.a.channels=1", "data.b.channels=3")
    method = build.method(recipe, Runtime("cpu"))
    assert (method.G.in_channels, method.G.out_channels, method.D.in_channels) == (1, 3, 4)
