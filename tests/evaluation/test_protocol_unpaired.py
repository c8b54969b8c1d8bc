"""Cycles and identities of two translators whose errors are worked by hand."""

import json
import math

import cv2
import hand_made
import numpy as np
import pytest
from hand_made import RGB, pictures, points, recipe, sides, subject, translating, translator

from i2i.evaluation.evaluate import made
from i2i.metrics import PROTOCOLS


@pytest.fixture
def found(tmp_path):
    """G_ab halves, G_ba takes a quarter: a cycle keeps an eighth. Three pictures of A, two of B, of several sizes."""
    root = sides(tmp_path / "two", {"trainA": 2, "trainB": 2, "testA": 3, "testB": 2})
    models = {"generator_ab": translator(lambda x: x / 2), "generator_ba": translator(lambda x: x / 4)}
    return subject(translating("cyclegan", pictures("unpaired", root)), models, tmp_path)


def sizes(tmp_path, side: str) -> list[float]:
    """mean |x| of each test picture in [-1, 1]."""
    files = sorted((tmp_path / "two" / f"test{side}").iterdir())
    return [float(RGB.to_tensor(cv2.imread(str(file))).double().abs().mean()) for file in files]


def test_cycles_and_identities_are_those_of_the_formulas(found, tmp_path):
    values = made("unpaired", {}).measure(found, "test")
    a, b = sizes(tmp_path, "A"), sizes(tmp_path, "B")
    for name, expected in {
        "cycle_a": [7 / 8 * x / 2 for x in a],
        "cycle_b": [7 / 8 * x / 2 for x in b],
        "identity_a": [3 / 4 * x / 2 for x in a],
        "identity_b": [1 / 2 * x / 2 for x in b],
    }.items():
        assert values[name]["mean"] == pytest.approx(np.mean(expected), rel=1e-6), name
        error = np.std(expected, ddof=1) / math.sqrt(len(expected))
        assert values[name]["standard_error"] == pytest.approx(error, rel=1e-4)
        assert values[name]["count"] == len(expected)
    cycles = values["cycle_a"], values["cycle_b"]
    assert values["cycle"]["mean"] == pytest.approx(sum(each["mean"] for each in cycles) / 2)
    assert values["cycle"]["standard_error"] == pytest.approx(
        math.sqrt(sum(each["standard_error"] ** 2 for each in cycles)) / 2
    )
    assert values["cycle"]["count"] == 5
    json.dumps(values, allow_nan=False)


def test_words_count_both_sides(found):
    words = made("unpaired", {}).words(found, "test")
    assert "of the 3 pictures 'a' and 2 pictures 'b' of test" in words and "parts of the range" in words
    assert "identities" in words and "no identity" not in words


def test_translators_that_undo_each_other_have_no_cycle(found):
    found.models = {"generator_ab": translator(lambda x: -x), "generator_ba": translator(lambda x: -x)}
    values = made("unpaired", {}).measure(found, "test")
    assert values["cycle"]["mean"] == 0 and values["identity_a"]["mean"] > 0.1


def test_what_one_makes_is_not_rounded_on_its_way_to_the_other(found):
    """A thousandth of a picture, in levels, would be lost."""
    found.models = {"generator_ab": translator(lambda x: x / 1000), "generator_ba": translator(lambda x: x * 1000)}
    assert made("unpaired", {}).measure(found, "test")["cycle_a"]["mean"] < 1e-6


def test_one_picture_a_side_has_no_standard_error(tmp_path):
    root = sides(tmp_path / "one", {"trainA": 1, "trainB": 1})
    same = {name: translator(lambda x: x) for name in ("generator_ab", "generator_ba")}
    found = subject(translating("cyclegan", pictures("unpaired", root)), same, tmp_path)
    assert made("unpaired", {}).measure(found, "train")["cycle"] == {"mean": 0, "standard_error": None, "count": 2}


def test_domains_of_other_channels_have_no_identity(found, monkeypatch):
    monkeypatch.setattr("i2i.evaluation.protocols.unpaired._alike", lambda subject: False)
    protocol = made("unpaired", {})
    values = protocol.measure(found, "test")
    assert values["identity_a"] is values["identity_b"] is None and values["cycle"]["mean"] > 0
    assert "no identity between 3 and 3 channels" in protocol.words(found, "test")


def test_methods_without_a_way_back_are_refused(tmp_path):
    refuses = PROTOCOLS.get("unpaired").refuses
    assert "pix2pix has no generator for the way back" in refuses(
        translating("pix2pix", hand_made.pictures("paired", tmp_path, 32))
    )
    assert "gan has no generator" in refuses(recipe(tmp_path, points()))
    assert refuses(translating("cyclegan", hand_made.pictures("unpaired", tmp_path, 32))) is None
