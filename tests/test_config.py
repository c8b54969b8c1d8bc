"""Recipes as text: numbers, lines, overrides, and what a fault looks like."""

import pytest

from i2i import config
from i2i.config import Source, parse
from i2i.errors import UserError
from i2i.faults import RecipeError
from i2i.registry import Registry
from i2i.seeds import derive
from i2i.yamlfile import YamlError, read_yaml, read_yaml_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4), ("2.0e-4", 2e-4), ("-1E3", -1000.0), ("266_800", 266800), ("0644", 644), ("0x10", 16), (".5", 0.5), ("1.", 1.0),
        ("true", True), ("False", False), ("yes", "yes"), ("on", "on"), ("no", "no"), ("1:30", "1:30"), ("2026-01-02", "2026-01-02"),
        ("null", None), ("~", None), ("", None), ("none", "none"), ("[color, cutout]", ["color", "cutout"]), ("{name: gp}", {"name": "gp"}),
        ("'3'", "3"), ("1e5x", "1e5x"), ("1_000.5", 1000.5), ("-", "-"), (".inf", float("inf")),
    ],
)  # fmt: skip
def test_values(text, value):
    if text == "-":
        with pytest.raises(YamlError):
            read_yaml_value(text + ": [")
        return
    got = read_yaml_value(text)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    "text",
    ["{a: 1", "[1, 2", "a: b: c", "\t- x", "!!python/object/apply:os.system [ls]", "*alias", "&x [*x]", "{a: 1, a: 2}"],
)
def test_what_is_not_yaml_is_one_sentence(text):
    with pytest.raises(YamlError):
        read_yaml_value(text)


def test_lines_of_keys_and_keys_that_stand_twice(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("train:\n  {steps: 3,\n   seed: 1}\ndata:\n  kind: paired\n")
    data, lines = read_yaml(file)
    assert data == {"train": {"steps": 3, "seed": 1}, "data": {"kind": "paired"}}
    assert lines == {("train",): 1, ("train", "steps"): 2, ("train", "seed"): 3, ("data",): 4, ("data", "kind"): 5}
    file.write_text("train:\n  steps: 3\n  steps: 4\n")
    with pytest.raises(YamlError, match=r"line 3: 'train\.steps' stands here a second time"):
        read_yaml(file)


def parsed(tmp_path, text):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    data, lines = read_yaml(file)
    return parse(Source("recipe", str(file), data, lines)), lines


def test_every_fault_at_once_with_its_line(tmp_path):
    (sections, faults), lines = parsed(tmp_path, "train:\n  steps: many\n  sed: 1\n  ema: 2\ntrian: {}\nmethod: 5\n")
    text = str(RecipeError("recipe.yaml", faults, lines))
    for line in (
        "line 2, train.steps: 'many' is not a whole number.",
        "line 3, train.sed: there is no such key here. Did you mean 'seed'?",
        "line 4, train.ema: 2 must be less than 1.",
        "line 5, trian: is not a section. Did you mean 'train'?",
        "line 6, method: 5 is not a section of keys.",
        "data: this section is missing.",
    ):
        assert line in text, text
    assert text.startswith(f"recipe.yaml has {len(faults)} problems:\n")
    assert "augment" in sections and "train" not in sections


def test_overrides_replace_extend_and_are_named_in_faults():
    source = config.read(
        "pix2pix_facades", ["train.steps=7", "optimizer.G.lr=1e-3", "data.a.channels=0", "generator={name: resnet}"]
    )
    assert source.data["train"]["steps"] == 7 and source.data["optimizer"]["G"]["lr"] == 1e-3
    assert source.data["generator"] == {"name": "resnet"}
    faults = parse(source)[1]
    assert "command line, data.a.channels: 0 must be at least 1." in str(RecipeError("x", faults, source.lines))


@pytest.mark.parametrize("text", ["steps", "=3", "train.steps.more=3", "train.steps={"])
def test_a_bad_override_is_one_sentence(text):
    with pytest.raises(RecipeError) as error:
        config.read("pix2pix_facades", [text])
    assert len(str(error.value).splitlines()) == 2


def test_recipes_are_found_by_path_by_name_and_by_the_path_they_have_in_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ("cyclegan_horse2zebra", "cyclegan_horse2zebra.yaml", "recipes/cyclegan_horse2zebra.yaml"):
        assert config.locate(given).name == "cyclegan_horse2zebra.yaml"
    with pytest.raises(UserError, match="Did you mean 'cyclegan_horse2zebra'"):
        config.locate("cyclegan_horse2zebr")
    with pytest.raises(UserError, match="is a folder"):
        config.locate(tmp_path)
    with pytest.raises(UserError, match="no recipe file elsewhere/pix2pix_facades.yaml"):
        config.locate("elsewhere/pix2pix_facades.yaml")


def test_a_recipe_survives_being_written_and_read(tmp_path):
    sections, faults = parse(config.read("cyclegan_horse2zebra"))
    assert not faults
    recipe = config.Recipe(**sections)
    (again, faults), _ = parsed(tmp_path, recipe.dump())
    assert not faults and config.Recipe(**again) == recipe


def test_registry_names_the_nearest():
    registry = Registry("generator")
    registry.register("resnet")(int)
    registry.register("unet")(float)
    with pytest.raises(UserError) as error:
        registry.get("resnt")
    assert str(error.value) == "'resnt' is not a generator. Did you mean 'resnet'? Known: resnet, unet"
    with pytest.raises(KeyError):
        registry.register("unet")(int)


def test_seeds_are_fixed_for_ever_and_know_their_parts_apart():
    assert derive(0, "step", 1) == derive(0, "step", 1) < 2**63
    assert (
        len({derive(1, "a"), derive("1", "a"), derive("1a"), derive("1", "", "a"), derive(b"1", "a"), derive("a", 1)})
        == 6
    )
    assert derive(0, "step", 0) == 8777180473864885944


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("train: {steps: 3}\n")
    assert config.read("~/mine.yaml").data == {"train": {"steps": 3}}
