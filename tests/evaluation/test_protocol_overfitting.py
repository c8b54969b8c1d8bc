"""D's judgement of training, held-out and generated pictures: a D that reads off the level, so that all is known."""

import math

import numpy as np
import pytest
import torch
from hand_made import CGAN, GAN, VAE, Function, pictures, points, recipe, subject, translating, write
from torch import nn

from i2i.errors import UserError
from i2i.evaluation.evaluate import made
from i2i.evaluation.protocol import scored

TRAIN, TEST = [100, 200, 220, 240], [50, 60, 90, 210]
LEVEL = Function(lambda x: x.mean((1, 2, 3))[:, None])  # D: (B, 1, H, W) -> (B, 1) in [-1, 1], above 0 from level 128


def lay(root, train=TRAIN, test=TEST):
    """Pictures of one level each."""
    for split, levels in (("train", train), ("test", test)):
        for number, level in enumerate(levels):
            write(root / split / f"{number}.png", np.full((8, 8, 1), level, np.uint8))
    return root


def on(
    folder,
    d=LEVEL,
    g=lambda z: torch.full((len(z), 1, 8, 8), -0.5),
    sections=GAN,
    data=None,
    levels=(TRAIN, TEST),
    **more,
):
    data = pictures("folder", lay(folder / "levels", *levels), 8, **(data or {}))
    return subject(recipe(folder, data, sections, **more), {}, folder, {"D": d, "G": Function(g)})


def test_by_hand(tmp_path):
    """Right of 4: three, one, all. Above a test picture: 100 three, 200 three, 220 and 240 four, so 14 of 16 pairs; the
    parts 3/4, 3/4, 1, 1 of one side have variance 1/48, those of the other, 1, 1, 1, 1/2, 1/16."""
    found, protocol = on(tmp_path), made("overfitting", {})
    values = protocol.measure(found, "test")
    error = math.sqrt(3) / 8
    assert values["accuracy"] == {
        "train": {"mean": 0.75, "standard_error": pytest.approx(error), "count": 4},
        "held_out": {"mean": 0.25, "standard_error": pytest.approx(error), "count": 4},
        "generated": {"mean": 1.0, "standard_error": 0.0, "count": 4},
    }
    assert values["gap"] == {"mean": 0.5, "standard_error": pytest.approx(error * math.sqrt(2)), "count": 8}
    assert values["auc"] == {
        "mean": 0.875,
        "standard_error": pytest.approx(math.sqrt(1 / 192 + 1 / 64)),
        "count": 8,
    }
    expected = {"train": 760 / 510 - 1, "held_out": 410 / 510 - 1, "generated": -0.5}
    assert values["logit"] == pytest.approx(expected, abs=1e-6)
    assert scored(protocol, values) == 0.875 and not protocol.higher_is_better
    words = protocol.words(found, "test")
    assert "D on 4 pictures that it was trained on, 4 of test" in words and "accuracy at the boundary 0 and" in words


def test_the_boundary_is_the_objective_s(tmp_path):
    """lsgan's labels are 0 and 1, so that level 192 is the first that is held for real: 150 is not, under minimax it is."""
    for objective, right in (("lsgan", (0.5, 0.0)), ("minimax", (1.0, 0.5)), ("hinge", (1.0, 0.5))):
        found = on(tmp_path, levels=([150, 200], [150, 100]), method={"objective": objective})
        accuracy = made("overfitting", {}).measure(found, "test")["accuracy"]
        assert (accuracy["train"]["mean"], accuracy["held_out"]["mean"]) == right


def test_a_critic_without_a_boundary_has_the_auc_alone(tmp_path):
    """And the same one when a constant is added to it, which changes nothing about it."""
    wasserstein = {"objective": "wasserstein", "constraint": {"name": "gp"}}
    found = [on(tmp_path, Function(lambda x, c=c: LEVEL(x) + c), method=wasserstein) for c in (0, 7)]
    values = [made("overfitting", {}).measure(each, "test") for each in found]
    assert values[0]["accuracy"] is values[0]["gap"] is None and values[0]["auc"] == values[1]["auc"]
    assert values[0]["auc"]["mean"] == 0.875
    assert "no boundary, so no accuracy" in made("overfitting", {}).words(found[0], "test")


def test_of_a_limited_run_the_pictures_that_it_was_trained_on(tmp_path):
    found = on(tmp_path, data={"limit": 2})
    kept = [int(row["image"][0, 0, 0]) for row in found.trained_on.whole("train")]
    assert len(kept) == 2 and found.count("train") == 4
    values = made("overfitting", {}).measure(found, "test")
    assert values["logit"]["train"] == pytest.approx(sum(kept) / 255 - 1, abs=1e-6)
    assert (values["accuracy"]["train"]["count"], values["accuracy"]["held_out"]["count"]) == (2, 4)
    assert "2 pictures that it was trained on, 4 of test" in made("overfitting", {}).words(found, "test")


def test_at_most_so_many_of_each_drawn_by_seed(tmp_path):
    found = on(tmp_path, levels=(range(100, 140), range(40)))
    ten = [made("overfitting", {"pictures": 10, "seed": seed}).measure(found, "test") for seed in (0, 0, 1)]
    assert ten[0] == ten[1] and ten[0]["logit"]["train"] != ten[2]["logit"]["train"]
    assert [ten[0]["accuracy"][name]["count"] for name in ("train", "held_out", "generated")] == [10, 10, 10]
    assert "D on 10 of 40 pictures that it was trained on, 10 of 40 of test" in made(
        "overfitting", {"pictures": 10}
    ).words(found, "test")


class Told(nn.Module):
    """A D that believes pictures of one class, whatever they show."""

    def forward(self, x, y):
        return torch.where(y == 1, 1.0, -1.0)[:, None]


def classed(folder, d, name="cgan"):
    for split, counts in (("train", (3, 1)), ("test", (1, 1))):
        for label, count in enumerate(counts):
            for number in range(count):
                write(folder / "two" / split / str(label) / f"{number}.png", np.zeros((8, 8, 1), np.uint8))
    sections = {**CGAN, "method": {**CGAN["method"], "name": name}}
    told = {"D": d, "G": Told()}
    told["G"].forward = lambda z, y: y.float()[:, None, None, None].expand(-1, 1, 8, 8)
    return subject(recipe(folder, pictures("labelled", folder / "two", 8), sections), {}, folder, told)


def test_d_is_told_the_class_and_g_the_same_one(tmp_path):
    accuracy = made("overfitting", {}).measure(classed(tmp_path, Told()), "test")["accuracy"]
    assert [accuracy[name]["mean"] for name in ("train", "held_out", "generated")] == [0.25, 0.5, 0.75]


def test_of_a_d_that_names_classes_too_the_first_logit(tmp_path):
    d = Function(lambda x: torch.stack([torch.full((len(x),), 2.0), *[torch.full((len(x),), -9.0)] * 2], dim=1))
    values = made("overfitting", {}).measure(classed(tmp_path, d, "acgan"), "test")
    assert values["logit"] == {"train": 2.0, "held_out": 2.0, "generated": 2.0}


def test_of_patches_and_scales_the_mean(tmp_path):
    fine = Function(lambda x: torch.tensor([1.0, 1.0, 1.0, 5.0]).reshape(1, 1, 2, 2).repeat(len(x), 1, 1, 1))
    assert made("overfitting", {}).measure(on(tmp_path, fine), "test")["logit"]["train"] == 2
    both = Function(lambda x: [fine(x), torch.full((len(x), 1, 1, 1), 6.0)])
    assert made("overfitting", {}).measure(on(tmp_path, both), "test")["logit"]["train"] == 4


def test_d_and_g_evaluate_and_the_state_of_chance_is_left_alone(tmp_path):
    modes = []
    d = Function(lambda x: (modes.append((d.training, g.training)), LEVEL(x))[1])
    found = on(tmp_path, d, lambda z: z[:, :, None, None].expand(-1, 1, 8, 8))
    g = found.nets()["G"]
    d.train(), g.train()
    before = torch.get_rng_state()
    first, again = (made("overfitting", {}).measure(found, "test") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before) and first == again
    assert set(modes) == {(False, False)}


def test_what_has_no_such_d_or_no_held_out_pictures_is_refused_in_words(tmp_path):
    asked = {"evaluate": {"protocol": "overfitting"}}
    lay(tmp_path / "levels")
    with pytest.raises(UserError, match="'overfitting' cannot score these runs: vae has no discriminator"):
        recipe(tmp_path, pictures("folder", tmp_path / "levels", 8), VAE, **asked)
    with pytest.raises(UserError, match="the discriminator of pix2pix judges what a generator made of an input"):
        translating("pix2pix", pictures("paired", tmp_path, 64), "evaluate={protocol: overfitting}")
    with pytest.raises(UserError, match="its points are drawn afresh"):
        recipe(tmp_path, points(), **asked)
    found = on(tmp_path)
    for call in (made("overfitting", {}).words, made("overfitting", {}).measure):
        with pytest.raises(
            UserError, match="overfitting needs pictures that were not trained on, and the data have tr"
        ):
            call(found, "train")
    with pytest.raises(UserError, match="pictures 1: shares are of at least 2"):
        made("overfitting", {"pictures": 1})
