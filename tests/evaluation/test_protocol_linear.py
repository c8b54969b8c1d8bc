"""A linear classifier on D's features: it reads off what is in them, and no more, beside pixels and the untrained D."""

import numpy as np
import pytest
import torch
from hand_made import CGAN, GAN, VAE, pictures, recipe, subject, translating
from idxfiles import idx_bytes
from torch import nn

from i2i import build
from i2i.errors import UserError
from i2i.evaluation.evaluate import made
from i2i.evaluation.linear import LinearClassifier
from i2i.evaluation.protocol import scored
from i2i.evaluation.protocols.linear import _best, _of

DCGAN = {"discriminator": {"name": "dcgan", "width": 2}, "generator": {"name": "dcgan", "width": 2}}


def lay(root, train=300, test=200, size=8, seed=0):
    """Noise whose class is whether two of its pixels are both light or both dark: no linear function of pixels."""
    root.mkdir(exist_ok=True)
    draw = np.random.RandomState(seed)
    for name, count in (("train", train), ("t10k", test)):
        pixels = draw.randint(0, 256, (count, size, size)).astype(np.uint8)
        labels = ((pixels[:, 0, 0] > 127) == (pixels[:, 7, 7] > 127)).astype(np.uint8)
        (root / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(pixels))
        (root / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return root


class Seeing(nn.Module):
    """A D with maps of 8 x 8 and 2 x 2 and a row, which among much else holds the class."""

    def __init__(self, knows: bool = True):
        super().__init__()
        self.nothing, self.knows = nn.Parameter(torch.zeros(1)), knows

    def forward(self, x, features=False):
        both = x[:, 0, 0, 0].sign() * x[:, 0, 7, 7].sign()
        row = torch.stack([both if self.knows else x[:, 0, 0, 0], x[:, 0, 3, 3], x[:, 0, 5, 5]], dim=1)
        return torch.zeros(len(x), 1), [x, x[:, :, ::4, ::4], row]


def on(folder, net=None, data=None, sections=GAN, size=8, **more):
    root = lay(folder / "pairs of pixels", size=size)
    given = {"classes": 2, "a": {"channels": 1}, **(data or {})}
    chosen = recipe(folder, pictures("labelled", root, size, **given), sections, **more)
    return subject(chosen, {}, folder, {"D": net or Seeing()})


def test_what_d_knows_is_read_off_and_pixels_do_not_hold_it(tmp_path):
    found, protocol = on(tmp_path), made("linear", {"labels": 200})
    values = protocol.measure(found, "test")
    seen, pixels = values["discriminator"], values["pixels"]
    assert seen["mean"] > 0.97 and scored(protocol, values) == seen["mean"] and protocol.higher_is_better
    assert 0.35 < pixels["mean"] < 0.65 and pixels["features"] == 64
    assert seen["features"] == 16 + 4 + 3  # 8 x 8 pooled to 4 x 4, 2 x 2 and the row as they are
    p = pixels["mean"]
    assert pixels["standard_error"] == pytest.approx((p * (1 - p) / 200) ** 0.5) and pixels["count"] == 200
    assert 0.35 < protocol.measure(on(tmp_path, Seeing(False)), "test")["discriminator"]["mean"] < 0.65
    words = protocol.words(found, "test")
    assert "200 pictures of test" in words and "fitted to 200 labelled ones of train, as many of each of 2" in words
    assert "weight decay chosen on a fifth of these" in words


def test_maps_are_max_pooled_in_the_order_of_the_blocks():
    x = torch.arange(64.0).reshape(1, 1, 8, 8) / 64
    found = _of(Seeing(False))(x)
    highest = [9.0, 11, 13, 15, 25, 27, 29, 31, 41, 43, 45, 47, 57, 59, 61, 63]  # of each 2 x 2
    assert (found * 64).tolist() == [[*highest, 0, 4, 32, 36, 0, 27, 45]]


def test_the_labelled_pictures_are_balanced_drawn_by_seed_and_of_train(tmp_path):
    """Of 290 with val 10; those of fewer labels are among those of more."""
    found = on(tmp_path, data={"val": 10, "limit": 20})
    labels = found.data.labels("train")
    orders = {
        (count, seed): made("linear", {"labels": count, "seed": seed})._order(found)
        for count in (50, 100)
        for seed in (0, 1)
    }
    assert all(np.bincount(labels[order]).tolist() == [len(order) / 2] * 2 for order in orders.values())
    assert set(orders[50, 0]) < set(orders[100, 0]) and set(orders[100, 0]) != set(orders[100, 1])
    assert len(labels) == 290 and found.trained_on.count("train") == 20  # labels of all, whatever data.limit
    assert np.bincount(labels[orders[100, 0][80:]]).tolist() == [10, 10]  # the part that decay may be chosen on


def test_weight_decay_is_chosen_on_val_and_the_classifier_is_that_of_all_labels(tmp_path):
    """By the classifier alone, on pixels; and the words say it."""
    found, protocol = on(tmp_path, data={"val": 100}), made("linear", {"labels": 60})
    x, y = (torch.cat([found.pictures(split).flatten(1)]) for split in ("train", "val")), found.data.labels
    train, val = x
    order = protocol._order(found)
    scores = {}
    for decay in (1e-3, 1e-2, 1e-1, 1.0, 10.0):
        fit = LinearClassifier.fit(train[order], y("train")[order], weight_decay=decay)
        scores[decay] = fit.accuracy(val, y("val")), decay
    best = max(scores.values())[1]
    fit = LinearClassifier.fit(train[order], y("train")[order], weight_decay=best)
    pixels = protocol.measure(found, "test")["pixels"]
    assert pixels["weight_decay"] == best
    assert pixels["mean"] == pytest.approx(fit.accuracy(found.pictures("test").flatten(1), y("test")))
    assert "weight decay chosen on val (100)" in protocol.words(found, "test")
    assert "weight decay chosen on a fifth" in protocol.words(found, "val")  # val is scored, so nothing is chosen on it


def test_of_equal_decays_the_largest():
    assert _best({0.1: [True, False], 1.0: [False, True], 10.0: [False, False]}) == 1.0


def test_the_untrained_d_is_the_run_s_first_with_the_statistics_of_the_labelled_pictures(tmp_path):
    found = on(tmp_path, nn.Identity(), sections={**GAN, **DCGAN}, size=16, method={"latent": 4})
    protocol = made("linear", {"labels": 64})
    before = torch.get_rng_state()
    net = protocol._untrained(found)
    assert torch.equal(torch.get_rng_state(), before) and not net.training
    first = build.networks(found.recipe)["D"]
    for (name, now), then in zip(net.named_parameters(), first.parameters()):
        assert torch.equal(now, then), name
    pictures_ = found.pictures("train")[protocol._order(found)]
    norm = net.blocks[1].norm
    seen = first.blocks[1].conv(first.blocks[0](pictures_))  # before the norm
    assert torch.allclose(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(norm.running_var, seen.var((0, 2, 3)), rtol=1e-4)
    # it is not this one's features that D's column tells of
    found.nets = lambda: {"D": first}
    values = protocol.measure(found, "test")
    assert values["untrained"]["features"] == values["discriminator"]["features"] == 2 * 16 + 4 * 16


def test_d_evaluates(tmp_path):
    modes = []

    class Watched(Seeing):
        def forward(self, x, features=False):
            modes.append(self.training)
            return super().forward(x, features)

    made("linear", {"labels": 20}).measure(on(tmp_path, Watched().train()), "test")
    assert modes and not any(modes)


def test_what_it_cannot_ask_is_refused_in_words(tmp_path):
    asked, data = {"evaluate": {"protocol": "linear"}}, pictures("labelled", lay(tmp_path / "pairs of pixels"), 8)
    with pytest.raises(
        UserError, match="'linear' cannot score these runs: the discriminator of cgan is told the class"
    ):
        recipe(tmp_path, data, CGAN, **asked)
    with pytest.raises(UserError, match="its data have no labels to fit a classifier to"):
        recipe(tmp_path, pictures("folder", tmp_path, 8), **asked)
    with pytest.raises(UserError, match="vae has no discriminator"):
        recipe(tmp_path, data, VAE, **asked)
    with pytest.raises(UserError, match="the discriminator of pix2pix sees pictures that have no class"):
        translating("pix2pix", data, "evaluate={protocol: linear}")
    acgan = {**CGAN, "method": {**CGAN["method"], "name": "acgan"}}
    assert recipe(tmp_path, data, acgan, **asked).evaluate.args == {"labels": 1000, "seed": 0}
    found = on(tmp_path)
    for labels, words in (
        (301, "labels 301: train has 300 pictures of 2 classes"),
        (4, "labels 4: a classifier is fi"),
    ):
        with pytest.raises(UserError, match=words):
            made("linear", {"labels": labels}).words(found, "test")
    with pytest.raises(UserError, match="linear needs pictures that were not trained on, and the data have train, tes"):
        made("linear", {}).measure(found, "train")
