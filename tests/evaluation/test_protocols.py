"""What every protocol must do, by iterating the registry."""

import json

import numpy as np
import pytest
import torch
import yaml
from hand_made import (
    CGAN,
    SSGAN,
    Function,
    Given,
    labelled,
    noise,
    pictures,
    points,
    recipe,
    sampler,
    sides,
    subject,
    translating,
    translator,
    write,
)

from i2i import build
from i2i.config import bind
from i2i.errors import UserError
from i2i.evaluation.classifier import Classifier
from i2i.evaluation.evaluate import DEFAULTS, entry_of, first_of, made, name_of, shown
from i2i.evaluation.protocol import at, flat, scored
from i2i.evaluation.segmentation import CMP
from i2i.metrics import PROTOCOLS

ALL = PROTOCOLS.names()
SMALL = {
    "classes": {"samples": 12},
    "density": {"samples": 2000},
    "distribution": {"samples": 12, "score_splits": 2},
    "facades-fcn": {"size": 64, "steps": 1},
    "linear": {"labels": 8},
    "modes": {"samples": 40},
    "parzen": {"samples": 40},
    "sharpness": {"samples": 12},
}


def on_points(folder):
    return subject(
        recipe(folder, points(count=30)),
        {"generator": sampler(lambda z: z / 4)},
        folder,
        {"D": Function(torch.nn.Flatten())},
    )


def on_digits(folder):
    chosen = recipe(folder, pictures("labelled", labelled(folder / "digits", 8, 6), val=4, a={"channels": 1}))
    samples = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return subject(chosen, {"generator": Given(samples)}, folder, build.networks(chosen))


def on_classes(folder):
    found = on_digits(folder)
    found.recipe = recipe(folder, found.recipe.data.model_dump(), CGAN)
    found.nets = lambda: build.networks(found.recipe)
    found.models["generator"].class_names = found.data.class_names
    return found


def on_few(folder):
    found = on_digits(folder)
    found.recipe = recipe(
        folder, pictures("labelled", folder / "digits", val=4, labels=4, classes=2, a={"channels": 1}), SSGAN
    )
    found.data, found.nets = build.dataset(found.recipe), lambda: build.networks(found.recipe)
    return found


def on_pairs(folder):
    for split in ("train", "test"):
        for index in range(2):
            label = np.full((64, 64, 3), CMP[index].colour, np.uint8)
            write(folder / "pairs" / split / "A" / f"{index}.png", noise(index, 64, 64, 3))
            write(folder / "pairs" / split / "B" / f"{index}.png", label)
    chosen = translating("pix2pix", pictures("paired", folder / "pairs", 64, direction="ba"))
    waves = torch.sin(torch.arange(3 * 64 * 64.0)).reshape(1, 3, 64, 64)
    return subject(chosen, {"generator": translator(lambda x: x / 2 + waves / 2)}, folder)


def on_sides(folder):
    root = sides(folder / "two", {"trainA": 2, "trainB": 2, "testA": 2, "testB": 3})
    models = {name: translator(lambda x: x) for name in ("generator_ab", "generator_ba")}
    return subject(translating("cyclegan", pictures("unpaired", root)), models, folder)


SUBJECTS = {
    "points": on_points,
    "digits": on_digits,
    "classes": on_classes,
    "few": on_few,
    "pairs": on_pairs,
    "sides": on_sides,
}
FITS = {
    "points": {"density", "modes", "parzen"},
    "digits": {"distribution", "linear", "overfitting", "parzen", "sharpness"},
    "classes": {"classes", "distribution", "overfitting", "parzen", "sharpness"},
    "few": {"distribution", "labelling", "linear", "overfitting", "parzen", "sharpness"},
    "pairs": {"facades-fcn", "paired", "sharpness"},
    "sides": {"sharpness", "unpaired"},
}
UNSEEDED = {("sharpness", "pairs"), ("sharpness", "sides")}  # nothing is drawn
USUAL = {
    "points": "density",
    "digits": "distribution",
    "classes": "distribution",
    "few": "distribution",
    "pairs": "paired",
    "sides": "unpaired",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    fit = Classifier.fit
    monkeypatch.setattr(Classifier, "fit", lambda *args, **options: fit(*args, **{**options, "steps": 3}))


def test_every_protocol_is_named_as_its_file():
    for name in ALL:
        assert PROTOCOLS.get(name).__module__.rpartition(".")[2] == name.replace("-", "_")
        assert name_of(made(name, {})) == name
    assert set(ALL) == set().union(*FITS.values()) and set(DEFAULTS) <= set(ALL)


@pytest.mark.parametrize("kind", SUBJECTS)
def test_what_does_not_fit_is_refused_in_the_end_of_a_sentence(tmp_path, kind):
    chosen = SUBJECTS[kind](tmp_path).recipe
    refused = {name: PROTOCOLS.get(name).refuses(chosen) for name in ALL}
    assert {name for name in ALL if refused[name] is None} == FITS[kind]
    for words in filter(None, refused.values()):
        assert len(words) > 15 and words[-1] not in ".!" and "\n" not in words
    assert next(name for name in DEFAULTS if refused[name] is None) == USUAL[kind]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in FITS for name in sorted(FITS[kind])])
def test_it_measures_what_it_says(tmp_path, kind, name):
    found = SUBJECTS[kind](tmp_path)
    given = {key: value for key, value in SMALL.get(name, {}).items() if key != "samples" or found.route()[1] is None}
    protocol = made(name, given)
    split = first_of(protocol.splits, found.data)
    assert split == "test"
    entry = entry_of(protocol, found, split)
    values, words = entry["values"], entry["words"]

    assert words.startswith(f"{name}: ") and "\n" not in words
    counted = f"{given['samples']:,}" if "samples" in given else f"{found.count('test', found.route()[1]):,}"
    assert counted in words and (split in words or "no split is read" in words)
    assert "seed 0" in words or "seed" not in entry["arguments"] or (name, kind) in UNSEEDED
    json.dumps(values, allow_nan=False)
    assert torch.isfinite(torch.tensor(scored(protocol, values))) and flat(values)[protocol.score] == scored(
        protocol, values
    )
    assert isinstance(protocol.higher_is_better, bool)
    assert entry["arguments"].items() >= given.items() and entry["checkpoint"]["step"] == 7

    assert any(at(values, path) is not None for path in protocol.shows)
    lines = shown(entry).splitlines()
    assert lines[0] == f"last (step 7): {words}"
    assert len(lines) == 1 + sum(at(values, path) is not None for path in protocol.shows)
    head = protocol.score.removesuffix(".mean")
    assert head in protocol.shows, "a person is shown the score"
    assert entry_of(made(name, given), found, split)["values"] == values  # nothing is left to chance


@pytest.mark.parametrize("name", ALL)
def test_its_arguments_are_the_recipes_and_misspelt_ones_are_told(tmp_path, name):
    arguments, faults = bind(PROTOCOLS.get(name), {}, ())
    assert not faults
    with pytest.raises(UserError, match=f"sampels of {name}: "):
        made(name, {"sampels": 3})
    if "samples" in arguments:
        with pytest.raises(UserError, match="samples 1: "):
            made(name, {"samples": 1})
        with pytest.raises(UserError, match=f"samples of {name}: "):
            made(name, {"samples": "many"})
    yaml.safe_dump(arguments)


def test_a_recipe_may_name_one_and_is_refused_where_it_does_not_fit(tmp_path):
    found = recipe(tmp_path, points("ring2d"), evaluate={"protocol": "modes", "every": 10, "samples": 500})
    assert found.evaluate.args == {"samples": 500, "seed": 0}
    with pytest.raises(UserError, match="'density' cannot score these runs: points of ring2d have more than one"):
        recipe(tmp_path, points("ring2d"), evaluate={"protocol": "density"})
    with pytest.raises(UserError, match="samples 1: "):
        recipe(tmp_path, points("ring2d"), evaluate={"protocol": "modes", "samples": 1})
