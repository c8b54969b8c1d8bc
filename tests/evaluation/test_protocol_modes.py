"""Coverage of known modes by samplers that reach some of them."""

import json
import math

import pytest
import torch
from hand_made import Given, labelled, pictures, points, recipe, subject

from i2i.data.domain import Domain
from i2i.data.points import MIXTURES
from i2i.evaluation.evaluate import made
from i2i.metrics import PROTOCOLS

PLANE = Domain(2, (-4, 4), 32)


def reaching(tmp_path, modes: int, off: int = 0):
    """A model of 400 samples, spread evenly over so many modes of the ring, the first `off` of them in its middle."""
    places = torch.from_numpy(MIXTURES["ring2d"].centres[[i % modes for i in range(400)]]).float()
    places[:off] = 0
    given = Given((places / 4).reshape(400, 2, 1, 1), PLANE)
    return subject(recipe(tmp_path, points("ring2d")), {"generator": given}, tmp_path)


@pytest.mark.parametrize(("modes", "off"), [(8, 0), (3, 0), (8, 100)])
def test_modes_that_are_reached_are_covered(tmp_path, modes, off):
    protocol = made("modes", {"samples": 400})
    found = reaching(tmp_path, modes, off)
    values = protocol.measure(found, "test")["modes"]
    assert (values["covered"], values["modes"], values["count"]) == (modes, 8, 400)
    assert values["good"] == 1 - off / 400
    assert values["kl"] == pytest.approx(math.log(8 / modes), abs=1e-3)
    assert "400 samples (seed 0) against the 8 known modes of ring2d" in protocol.words(found, "test")
    json.dumps(values, allow_nan=False)


def test_pictures_have_no_known_modes(tmp_path):
    chosen = recipe(tmp_path, pictures("labelled", labelled(tmp_path / "digits", 2, 2)))
    assert "points have known ones" in PROTOCOLS.get("modes").refuses(chosen)
