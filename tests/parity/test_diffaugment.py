"""DiffAugment's stages, given the parameters recorded from the authors' code, return the authors' pictures."""

import pytest
import torch

from i2i.augment import brightness, color, contrast, cutout, saturation, translation

pytestmark = pytest.mark.parity

# stage, its recorded parameters, what it was given, what came out
STAGES = [
    (brightness, ("b",), "input", "after_brightness"),
    (saturation, ("s",), "after_brightness", "after_saturation"),
    (contrast, ("c",), "after_saturation", "after_contrast"),
    (color, ("b", "s", "c"), "input", "after_contrast"),
    (translation, ("shift_rows", "shift_cols"), "after_contrast", "after_translation"),
    (cutout, ("centre_rows", "centre_cols"), "after_translation", "after_cutout"),
]


@pytest.fixture(scope="module")
def recorded(parity):
    return parity("diffaugment")[0]


@pytest.mark.parametrize("stage, parameters, before, after", STAGES)
def test_stage(recorded, stage, parameters, before, after):
    found = stage(recorded[before], *(recorded[key] for key in parameters))
    assert (found - recorded[after]).abs().max() <= 1e-6
    assert not torch.equal(recorded[before], recorded[after])


def test_all_stages_in_a_row(recorded):
    x = color(recorded["input"], recorded["b"], recorded["s"], recorded["c"])
    x = translation(x, recorded["shift_rows"], recorded["shift_cols"])
    x = cutout(x, recorded["centre_rows"], recorded["centre_cols"])
    assert (x - recorded["after_cutout"]).abs().max() <= 1e-6
