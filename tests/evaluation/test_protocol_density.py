"""The game on a line: what is measured on densities that are known by a formula."""

import math

import hand_made
import numpy as np
import pytest
import torch
from hand_made import Function, points, recipe, sampler, subject
from PIL import Image

from i2i.errors import UserError
from i2i.evaluation.evaluate import made
from i2i.metrics import PROTOCOLS

HALF = Function(lambda x: x.flatten(1) * 0)  # says 1/2 to everything


def normal(x: np.ndarray, mean: float = 0, std: float = 1) -> np.ndarray:
    return np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))


def measured(tmp_path, model, d=HALF, span=(-4, 4), protocol=None, **changed) -> dict:
    chosen = recipe(tmp_path, points(a={"range": list(span)}), **changed)
    found = subject(chosen, {"generator": model}, tmp_path, {"D": d})
    return (protocol or made("density", {})).measure(found, "test")


@pytest.mark.parametrize("span", [(-4, 4), (-12, 20)])
def test_a_model_that_is_the_data_is_at_the_end_of_the_game(tmp_path, span):
    middle, half = (span[0] + span[1]) / 2, (span[1] - span[0]) / 2
    found = measured(tmp_path, sampler(lambda z: (z - middle) / half, span=span), span=span)
    assert 0 < found["js"] < 2e-4  # the histogram's own unevenness, far below 1e-3
    assert found["value"] == pytest.approx(-math.log(4), abs=2e-4) and found["v_gap"] < 2e-4
    assert found["d_gap"] < 8e-3


def test_fewer_samples_have_the_bias_that_is_told(tmp_path):
    found = measured(tmp_path, sampler(lambda z: z / 4), protocol=made("density", {"samples": 4000}))
    assert found["js"] == pytest.approx(140 / (8 * 4000), rel=0.4)


def test_the_gap_of_a_shifted_model_is_that_of_the_formula(tmp_path):
    """p_g = N(1, 0.5^2), whose JS is integrated here on a grid of its own; D is the best one, log p_data - log p_g."""
    x = np.linspace(-8, 8, 160_001)
    p, q = normal(x), normal(x, 1, 0.5)
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.nan_to_num(p * np.log(p / m)) + np.nan_to_num(q * np.log(q / m))
    true = float(parts.sum() * (x[1] - x[0]) / 2)

    def best(x):
        x = 4 * x.flatten(1).double()
        return -(x**2) / 2 + 2 * (x - 1) ** 2 + math.log(0.5)

    found = measured(tmp_path, sampler(lambda z: (0.5 * z + 1) / 4), Function(best))
    assert found["js"] == pytest.approx(true, abs=5e-4) and true > 0.1
    assert found["value"] == pytest.approx(2 * true - math.log(4), abs=1e-3)
    assert found["v_gap"] == pytest.approx(2 * true, abs=1e-3)
    assert found["d_gap"] < 0.01
    worse = measured(tmp_path, sampler(lambda z: (0.5 * z + 1) / 4), Function(lambda x: best(x) + 2))
    assert worse["d_gap"] > 0.1 and worse["value"] < found["value"] - 0.1
    assert worse["js"] == found["js"]


def test_a_collapsed_model_is_as_far_as_can_be(tmp_path):
    found = measured(tmp_path, sampler(lambda z: z * 0))
    # one cell of 0.05 holds all of p_g and 0.02 of p_data
    mass = 0.05 * normal(np.array(0.025))
    expected = (math.log(2) * (1 - mass) + mass * math.log(2 * mass / (1 + mass)) + math.log(2 / (1 + mass))) / 2
    assert found["js"] == pytest.approx(expected, abs=1e-3)


def test_d_is_judged_only_where_it_was_trained_to_be_a_probability(tmp_path):
    d = Function(lambda x: pytest.fail("this D gives no probabilities"))
    found = measured(tmp_path, sampler(lambda z: z / 4), d, method={"objective": "hinge"})
    assert (found["value"], found["v_gap"], found["d_gap"]) == (None, None, None) and found["js"] < 2e-4
    vae = recipe(tmp_path, points(), hand_made.VAE)
    model = subject(vae, {"generator": sampler(lambda z: z / 4)}, tmp_path)
    protocol = made("density", {})
    assert protocol.measure(model, "test")["value"] is None
    assert "no D" in protocol.words(model, "test")


def test_d_is_compared_with_the_best_one_only_where_points_are_likely(tmp_path):
    """p_data + p_g is 0.05 at 2.35 on both sides of 0."""
    model, gaps = sampler(lambda z: z / 4), []
    for border in (2.4, 2.3):
        d = Function(lambda x, border=border: torch.where(x.flatten(1).abs() * 4 > border, 9.0, 0.0))
        gaps.append(measured(tmp_path, model, d)["d_gap"])
    assert gaps[0] == measured(tmp_path, model)["d_gap"] < gaps[1]


def test_d_is_asked_in_evaluation_mode_at_the_cells_centres(tmp_path):
    asked = []

    class Seen(Function):
        def forward(self, x):
            asked.append((x, self.training))
            return x.flatten(1) * 0

    measured(tmp_path, sampler(lambda z: z / 4), Seen(None).train())
    ((x, training),) = asked
    assert not training and x.shape == (160, 1, 1, 1)
    assert x[:, 0, 0, 0].tolist() == pytest.approx([(-3.975 + 0.05 * place) / 4 for place in range(160)], abs=1e-6)


@pytest.mark.parametrize(("prior", "size"), [("uniform", 1), ("normal", 1), ("normal", 2)])
def test_a_picture_is_left_in_the_run(tmp_path, prior, size):
    model = sampler(lambda z: z[:, :1] / 4, prior, size)
    measured(tmp_path, model)
    (file,) = (tmp_path / "density").iterdir()
    assert file.name == "000007.png"
    with Image.open(file) as picture:
        width, height = picture.size
        levels = np.asarray(picture.convert("L"))
    assert width == 550 and height == (462 if size == 1 else 352)  # the lines from z to x where z is a number
    assert levels.std() > 10


def test_lines_lead_from_z_to_x_one_for_each_share_of_the_samples(tmp_path):
    from i2i.evaluation.protocols.density import ARROWS, _arrows

    for prior in ("uniform", "normal"):
        found = subject(recipe(tmp_path, points()), {"generator": sampler(lambda z: z**3 / 4, prior)}, tmp_path)
        z, x = _arrows(found)
        drawn = found.sampler.prior.draw(100_000, generator=torch.Generator().manual_seed(1))[:, 0].numpy()
        shares = np.searchsorted(np.sort(drawn), z) / len(drawn)
        assert np.abs(shares - (np.arange(ARROWS) + 0.5) / ARROWS).max() < 0.01
        assert x == pytest.approx(np.clip(z**3, -4, 4), abs=1e-5)


def test_the_same_numbers_twice_and_others_from_another_seed(tmp_path):
    model = sampler(lambda z: z / 4)
    assert measured(tmp_path, model) == measured(tmp_path, model)
    assert measured(tmp_path, model, protocol=made("density", {"seed": 1}))["js"] != measured(tmp_path, model)["js"]


def test_what_is_no_line_is_refused(tmp_path):
    refuses = PROTOCOLS.get("density").refuses
    assert "more than one coordinate" in refuses(recipe(tmp_path, points("ring2d")))
    assert refuses(recipe(tmp_path, points())) is None
    with pytest.raises(UserError, match="at least 1000"):
        made("density", {"samples": 10})
