"""The classifier: learns, repeats itself, is stored, and says how well it does."""

import gzip

import numpy as np
import pytest
import torch

from i2i.evaluation.classifier import Classifier


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def bars(count, seed=0, channels=1, side=16):
    """uint8 (N, H, W, C): a bright bar, upright (0), lying (1) or slanting (2), on noise; and labels."""
    draw = np.random.default_rng(seed)
    pictures = draw.integers(0, 80, (count, side, side, channels), dtype=np.uint8)
    labels = np.arange(count) % 3
    for picture, label in zip(pictures, labels):
        place = int(draw.integers(3, side - 4))
        line = np.arange(side)
        if label == 0:
            picture[:, place : place + 2] = 220
        elif label == 1:
            picture[place : place + 2] = 220
        else:
            picture[line, line] = 220
    return pictures, labels


QUICK = {"steps": 40, "batch_size": 24, "say": lambda text: None}


def test_it_learns_and_says_how_well():
    (x, y), (u, v), said = bars(240), bars(90, seed=1), []
    found = Classifier.fit(x, y, seed=0, test=(u, v), **{**QUICK, "say": said.append})
    assert found.accuracy > 0.95 and found.classes == 3
    assert found.accuracy == found.meta["accuracy"] == (found.logits(u).argmax(1).numpy() == v).mean()
    assert len(said) == 2 and "240 real pictures" in said[0] and f"{found.accuracy:.2%} right of 90" in said[1]
    assert found.meta["settings"]["steps"] == 40 and found.meta["seed"] == 0 and found.meta["shape"] == [1, 16, 16]


def test_the_same_seed_is_the_same_classifier_and_another_is_not(monkeypatch, tmp_path):
    x, y = bars(60)
    hashes = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        monkeypatch.setenv("I2I_CACHE", str(tmp_path / place))  # made each time
        torch.manual_seed(len(hashes))  # the state of the generator is nobody's business
        before = torch.get_rng_state()
        hashes.append(Classifier.fit(x, y, seed=seed, **{**QUICK, "steps": 3}).hash)
        assert torch.equal(torch.get_rng_state(), before)
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_stored_is_what_was_fitted():
    x, y = bars(60)
    said = []
    quick = {**QUICK, "steps": 3, "say": said.append}
    first = Classifier.fit(x, y, seed=0, **quick)
    assert len(said) == 2
    second = Classifier.fit(x, y, seed=0, **quick)
    assert len(said) == 2 and second.hash == first.hash and second.accuracy is None
    assert torch.equal(first.features(x), second.features(x)) and torch.equal(first.logits(x), second.logits(x))
    Classifier.fit(x, y, seed=0, **{**quick, "lr": 1e-3})
    Classifier.fit(x, y, seed=0, test=(x, y), **quick)
    assert len(said) == 6  # other settings, another test: fits of their own


def test_features_come_before_the_logits():
    x, y = bars(60, channels=3)
    found = Classifier.fit(x, y, seed=0, **{**QUICK, "steps": 3})
    features, logits = found.both(x)
    assert features.shape == (60, 128) and features.dtype == torch.float32 and features.min() == 0
    last = found.net["logits"]
    assert torch.allclose(logits, features @ last.weight.T + last.bias, atol=1e-5)
    assert torch.allclose(found.features(x[:7]), features[:7], atol=1e-5)  # no picture sees its neighbours
    assert not features.requires_grad


def test_arrays_levels_and_floats_are_the_same_pictures():
    x, y = bars(30)
    found = Classifier.fit(x, y, seed=0, **{**QUICK, "steps": 3})
    levels = torch.from_numpy(x).permute(0, 3, 1, 2)
    assert torch.equal(found.features(levels), found.features(x))
    assert torch.equal(found.features(levels.float() / 255 * 2 - 1), found.features(x))
    assert Classifier.fit(levels, torch.from_numpy(y), seed=0, **{**QUICK, "steps": 3}).hash == found.hash


def test_few_pictures_are_enough():
    x, y = bars(4)
    assert Classifier.fit(x, y, seed=0, **{**QUICK, "steps": 2}).meta["settings"]["batch_size"] == 4


@pytest.mark.parametrize(
    "change, words",
    [
        ({"labels": np.zeros(12, int)}, "1 class"),
        ({"labels": np.arange(11)}, "one for each of 12"),
        ({"labels": np.arange(12).reshape(12, 1)}, "several axes"),
        ({"pictures": np.zeros((12, 4, 4, 1), np.uint8)}, "sides of 8 pixels"),
        ({"pictures": np.zeros((0, 16, 16, 1), np.uint8), "labels": np.zeros(0, int)}, "at least one"),
        ({"classes": 2}, "below 2"),
        ({"steps": 0}, "steps is 0"),
        ({"test": (np.zeros((3, 16, 16, 3), np.uint8), [0, 1, 2])}, "one shape"),
        ({"test": (np.zeros((3, 16, 16, 1), np.uint8), [0, 1, 7])}, "set classes"),
    ],
)
def test_what_does_not_fit_is_refused(cache, change, words):
    x, y = bars(12)
    args = {"pictures": x, "labels": y, "seed": 0, **QUICK, **change}
    with pytest.raises(ValueError, match=words):
        Classifier.fit(args.pop("pictures"), args.pop("labels"), **args)
    assert not cache.exists()


def test_other_pictures_than_the_fits_are_refused():
    x, y = bars(12)
    found = Classifier.fit(x, y, seed=0, **{**QUICK, "steps": 1})
    with pytest.raises(ValueError, match=r"\(3, 16, 16\); the classifier was fitted to \(1, 16, 16\)"):
        found.features(bars(3, channels=3)[0])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_mnist_to_more_than_99_per_cent(real_data):
    folder = real_data("mnist")

    def read(name, start):
        return np.frombuffer(gzip.decompress((folder / f"{name}.gz").read_bytes()), np.uint8, offset=start)

    def pair(kind):
        labels = read(f"{kind}-labels-idx1-ubyte", 8)
        return read(f"{kind}-images-idx3-ubyte", 16).reshape(-1, 28, 28, 1), labels

    found = Classifier.fit(*pair("train"), seed=0, test=pair("t10k"))
    assert found.accuracy >= 0.993, found.meta
