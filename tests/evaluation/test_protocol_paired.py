"""Translations against targets: numbers worked by hand on pictures of known differences."""

import json
import math

import hand_made
import numpy as np
import pytest
from hand_made import noise, pictures, points, recipe, subject, translating, translator, write

from i2i.errors import UserError
from i2i.evaluation.evaluate import made
from i2i.metrics import PROTOCOLS, paired

DIFFERENCES = (10, 20, 0)


@pytest.fixture
def pairs(tmp_path):
    """Test pairs whose targets are 10, 20 and 0 levels lighter, each of another height."""
    root = tmp_path / "pairs"
    for split, differences in (("train", (1, 1)), ("test", DIFFERENCES)):
        for place, difference in enumerate(differences):
            a = noise(place, 32 + 2 * place, 32, 3, high=200)
            write(root / split / "A" / f"{place}.png", a)
            write(root / split / "B" / f"{place}.png", (a + difference).astype(np.uint8))
    return root


def made_of(pairs, tmp_path, function=lambda x: x, **more):
    chosen = translating("pix2pix", pictures("paired", pairs, direction="ab"))
    return subject(chosen, {"generator": translator(function)}, tmp_path, **more)


def test_the_identity_is_as_far_off_as_the_targets_are(pairs, tmp_path):
    values = made("paired", {}).measure(made_of(pairs, tmp_path), "test")
    l1s = [difference / 255 for difference in DIFFERENCES]
    assert values["l1"]["mean"] == pytest.approx(sum(l1s) / 3, rel=1e-12)
    assert values["l1"]["standard_error"] == pytest.approx(np.std(l1s, ddof=1) / math.sqrt(3), rel=1e-9)
    ratios = [20 * math.log10(255 / difference) for difference in DIFFERENCES if difference]
    assert values["psnr"]["mean"] == pytest.approx(sum(ratios) / 2, rel=1e-6)
    assert (values["psnr"]["count"], values["psnr"]["identical"], values["l1"]["count"]) == (3, 1, 3)
    assert "lpips" not in values
    json.dumps(values, allow_nan=False)


def test_each_picture_counts_alike_whatever_the_metric(pairs, tmp_path):
    found = made_of(pairs, tmp_path)
    values = made("paired", {}).measure(found, "test")
    columns = [*found.fakes("test")], [*found.reals("test")]
    assert [fake.shape for fake in columns[0]] == [(32, 32, 3), (34, 32, 3), (36, 32, 3)]
    for name, metric in (("l1", paired.l1), ("psnr", paired.psnr), ("ssim", paired.ssim)):
        assert values[name] == pytest.approx(metric(*columns))


def test_a_perfect_translator_is_perfect(pairs, tmp_path):
    found = made_of(pairs, tmp_path)
    queue = iter([*found.reals("test")])
    found.models["generator"].pixels = lambda pixels, **_: next(queue)
    values = made("paired", {}).measure(found, "test")
    assert values["l1"]["mean"] == 0 and values["ssim"]["mean"] == pytest.approx(1)
    assert values["psnr"] == {"mean": None, "standard_error": None, "count": 3, "identical": 3}


def test_the_range_is_that_of_the_targets_domain(pairs, tmp_path):
    chosen = translating("pix2pix", pictures("paired", pairs, direction="ab", b={"range": [0, 100]}))
    found = subject(chosen, {"generator": translator(lambda x: x)}, tmp_path)
    protocol = made("paired", {})
    assert protocol.measure(found, "test")["l1"]["mean"] == pytest.approx(10 / 100)
    assert "values in [0, 100]" in protocol.words(found, "test")


def test_lpips_is_measured_where_its_weights_are(pairs, tmp_path, monkeypatch):
    found, protocol = made_of(pairs, tmp_path), made("paired", {})
    assert f"LPIPS is left out: there is no {paired.ALEXNET} in $I2I_WEIGHTS" in protocol.words(found, "test")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / paired.ALEXNET).write_bytes(b"not the weights")
    monkeypatch.setenv("I2I_WEIGHTS", str(tmp_path / "weights"))
    assert "LPIPS on AlexNet of" in protocol.words(found, "test") and "left out" not in protocol.words(found, "test")
    with pytest.raises(UserError, match="is damaged"):
        protocol.measure(found, "test")

    def distance(fakes, reals, weights, *, value_range):
        assert (
            len([*zip(fakes, reals, strict=True)]) == 3 and weights == tmp_path / "weights" and value_range == (0, 255)
        )
        return {"mean": 0.5}

    monkeypatch.setattr("i2i.evaluation.protocols.paired.lpips", distance)
    assert protocol.measure(found, "test")["lpips"] == {"mean": 0.5}


def test_progress_counts_the_pictures(pairs, tmp_path):
    seen = []
    found = made_of(pairs, tmp_path, progress=lambda done, total: seen.append((done, total)))
    made("paired", {}).measure(found, "test")
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_where_no_true_picture_is_known_it_is_refused(tmp_path):
    refuses = PROTOCOLS.get("paired").refuses
    assert "no true picture" in refuses(translating("cyclegan", hand_made.pictures("unpaired", tmp_path, 32)))
    assert "no true picture" in refuses(recipe(tmp_path, points()))
