"""Every recipe, found recursively: complete, right, in one order, and it trains two steps when shrunk."""

from pathlib import Path

import pytest
import torch
from making import batches

from i2i import build, config
from i2i.config import Recipe, parse
from i2i.engine.runtime import Runtime

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
SHRUNK = {
    "unet": ["generator.num_downs=4", "generator.width=4"],
    "resnet": ["generator.num_blocks=1", "generator.width=4"],
}


def test_there_are_recipes():
    assert len(RECIPES) >= 3
    assert {"pix2pix_facades", "cyclegan_horse2zebra"} <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_it_is_fine_without_any_data(path):
    build.check(config.read(path))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_it_leaves_nothing_out_and_keeps_the_order(path):
    source = config.read(path)
    checked = build.check(source).model_dump()
    assert source.data == checked, "a shipped recipe writes every value out"
    assert list(source.data) == list(Recipe.model_fields)
    for section in ("train", "translate", "evaluate"):
        assert list(source.data[section]) == list(checked[section]), section
    assert parse(source)[1] == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_its_header_says_paper_command_and_what_to_expect(path):
    header = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert f"i2i train recipes/{path.name}" in header and "Measured here" in header
    assert path.stem.startswith(config.read(path).data["method"]["name"] + "_")


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_shrunk_it_takes_two_steps(path):
    generator = config.read(path).data["generator"]["name"]
    overrides = [
        *SHRUNK[generator],
        "discriminator.num_layers=1",
        "discriminator.width=4",
        "data.crop_size=32",
        "data.load_size=32",
    ]
    recipe = build.check(config.read(path, overrides))
    method = build.method(recipe, Runtime("cpu"))
    for _ in range(2):
        scalars = method.step(iter(batches(method, method.batches_per_step)))
    assert all(torch.isfinite(value) for value in scalars.values())
