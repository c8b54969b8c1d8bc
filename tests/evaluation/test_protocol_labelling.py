"""The error of a discriminator that names classes: one that is right, one whose mistakes are counted by hand."""

import pytest
import torch
from hand_made import SSGAN, Function, labelled, pictures, recipe, subject

from i2i import build
from i2i.evaluation.evaluate import entry_of, made, shown
from i2i.evaluation.protocol import scored
from i2i.evaluation.subject import twins


@pytest.fixture
def found(tmp_path):
    """Two classes, dark and light, 20 training pictures of each, of which 4 are labelled; 12 of each in test."""
    data = pictures("labelled", labelled(tmp_path / "digits"), labels=8)
    return subject(recipe(tmp_path, data, SSGAN), {"generator": None}, tmp_path)


def names(found, function):
    """D gives the logits (N, 2) of `function`, asked about pictures (N, 1, 16, 16) in [-1, 1]."""
    found.nets = lambda: {"D": Function(function)}


def by_light(x):
    mean = x.flatten(1).mean(1)
    return torch.stack((-mean, mean), dim=1) - 100  # only which is larger counts


def test_one_that_tells_them_apart(found):
    names(found, by_light)
    values = made("labelling", {}).measure(found, "test")
    assert values["error"] == {"mean": 0.0, "standard_error": 0.0, "count": 24} and values["wrong"] == 0
    assert values["classes"]["light"] == {"mean": 0.0, "standard_error": 0.0, "count": 12}


def test_mistakes_by_hand(found):
    """ "Dark" of everything but the last three: all 12 dark right, 3 of 12 light; 9 of 24 wrong."""

    def dark(x):
        rows = torch.zeros(len(x), 2)
        rows[:, 0] = 1.0
        rows[-3:, 1] = 2.0
        return rows

    names(found, dark)
    protocol = made("labelling", {})
    values = protocol.measure(found, "test")
    error = (0.375 * 0.625 / 24) ** 0.5
    assert values["error"] == {"mean": 0.375, "standard_error": pytest.approx(error), "count": 24}
    assert values["wrong"] == 9 and scored(protocol, values) == 0.375 and not protocol.higher_is_better
    assert values["classes"]["dark"]["mean"] == 0.0 and values["classes"]["light"]["mean"] == 0.75
    lines = shown(entry_of(protocol, found, "test"))
    assert "error                       0.375 +- 0.099" in lines and "wrong                       9" in lines


def test_its_words_say_of_what_and_how_many_labels(found):
    words = made("labelling", {}).words(found, "test")
    assert "the 24 real pictures of test" in words and "the classes of 8 of 40 training pictures" in words


def test_d_is_asked_without_its_noise(tmp_path):
    """The networks of a checkpoint: whatever the random state, the same error."""
    noisy = {"name": "mlp", "num_layers": 1, "width": 8, "noise_input": 50.0, "noise": 50.0}
    data = pictures("labelled", labelled(tmp_path / "digits"), labels=8, classes=2, a={"channels": 1})
    chosen = recipe(tmp_path, data, {**SSGAN, "discriminator": noisy})
    found = subject(chosen, {"generator": None}, tmp_path)
    states = {name: net.state_dict() for name, net in build.networks(chosen).items()}
    found.nets = lambda: twins(chosen, states)
    protocol, seen = made("labelling", {}), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        seen.append(protocol.measure(found, "test"))
    assert seen[0] == seen[1]
