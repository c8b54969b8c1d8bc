"""Detail of generated pictures beside that of real ones."""

import math

import numpy as np
import pytest
from hand_made import Given, labelled, noise, pictures, points, recipe, sides, subject, translating, translator, write

from i2i.errors import UserError
from i2i.evaluation.evaluate import made
from i2i.evaluation.protocol import scored
from i2i.metrics import PROTOCOLS
from i2i.metrics.sharpness import laplacian_variance


def test_a_sampler_that_copies_is_as_sharp_as_the_split(tmp_path):
    chosen = recipe(tmp_path, pictures("labelled", labelled(tmp_path / "digits", 3, 5)))
    found = subject(chosen, {}, tmp_path)
    found.models = {"generator": Given(found.pictures("test"))}
    protocol = made("sharpness", {"samples": 10})
    values = protocol.measure(found, "test")
    assert values["generated"] == values["real"] and (values["ratio"], values["distance"]) == (1, 0)
    assert values["real"]["count"] == 10
    assert "10 samples (seed 0) against the 10 real pictures of test" in protocol.words(found, "test")


def test_half_the_contrast_is_a_quarter_of_the_variance(tmp_path):
    """Both ways: too sharp is as far off as too blurred."""
    root = sides(tmp_path / "two", {"trainA": 1, "trainB": 1})
    for side in "AB":
        write(root / f"test{side}" / "0.png", noise(5, 40, 40, 3, low=64, high=192))
    models = {"generator_ab": translator(lambda x: x / 2), "generator_ba": translator(lambda x: x * 2)}
    found = subject(translating("cyclegan", pictures("unpaired", root)), models, tmp_path)
    less = made("sharpness", {}).measure(found, "test")
    more = made("sharpness", {"export": "generator_ba"}).measure(found, "test")
    assert less["ratio"] == pytest.approx(1 / 4, rel=0.01) and more["ratio"] == pytest.approx(4, rel=0.01)
    assert less["distance"] == pytest.approx(math.log(4), rel=0.01) and more["distance"] == pytest.approx(
        math.log(4), rel=0.01
    )
    levels = next(found.reals("test"))
    assert less["real"]["mean"] == laplacian_variance([levels])["mean"]
    assert "generator_ba of the 1 pictures 'b'" in made("sharpness", {"export": "generator_ba"}).words(found, "test")


def test_flat_pictures_have_no_distance_and_flat_real_ones_no_measure(tmp_path):
    root = sides(tmp_path / "two", {"trainA": 1, "trainB": 1, "testA": 2})
    for index in range(2):
        write(root / "testB" / f"{index}.png", noise(index, 20, 20, 3))
    models = {"generator_ab": translator(lambda x: x * 0), "generator_ba": translator(lambda x: x)}
    found = subject(translating("cyclegan", pictures("unpaired", root)), models, tmp_path)
    values = made("sharpness", {}).measure(found, "test")
    assert (values["ratio"], values["distance"]) == (0, None)
    assert math.isnan(scored(made("sharpness", {}), values)), "no step of flat pictures is ever the best"
    for index in range(2):
        write(root / "testB" / f"{index}.png", np.full((20, 20, 3), 7, np.uint8))
    again = subject(found.recipe, models, tmp_path)
    with pytest.raises(UserError, match="the real pictures of test are flat"):
        made("sharpness", {}).measure(again, "test")


def test_points_are_refused(tmp_path):
    assert PROTOCOLS.get("sharpness").refuses(recipe(tmp_path, points())) == "a point has no detail"
