"""Distances between sets: a generator that copies, one that does not, and which pictures go in at all."""

import functools
import itertools
import json

import cv2
import hand_made
import numpy as np
import pytest
import torch
from hand_made import GREY, RGB, Given, labelled, pictures, points, recipe, sides, subject, translating, translator

from i2i.errors import UserError
from i2i.evaluation.classifier import Classifier
from i2i.evaluation.evaluate import made
from i2i.evaluation.features import feature_net
from i2i.evaluation.judging import batches
from i2i.metrics import PROTOCOLS, distribution

RANDOM = {"features": "timm:test_resnet", "random_features": True, "k": 1, "score_splits": 2}


@pytest.fixture
def quick(monkeypatch):
    """A classifier of few steps; says how often one was fitted."""
    fits, fit = [], Classifier.fit

    def short(*args, **options):
        fits.append(options)
        return fit(*args, **{**options, "steps": 30})

    monkeypatch.setattr(Classifier, "fit", short)
    return fits


@pytest.fixture
def digits(tmp_path):
    """(recipe, its data set's split as tensors): of two classes, 40 pictures for training and 24 for test."""
    return recipe(tmp_path, pictures("labelled", labelled(tmp_path / "digits")))


def test_a_sampler_that_copies_the_split_is_at_distance_0(tmp_path, digits, quick):
    real = subject(digits, {}, tmp_path).pictures("test")
    found = subject(digits, {"generator": Given(real)}, tmp_path)
    protocol = made("distribution", {"samples": 24, "score_splits": 2})
    values = protocol.measure(found, "test")
    assert abs(values["fid"]["fid"]) < 1e-3  # the root of a matrix that is not of full rank is no better
    assert values["precision_recall"]["precision"] == values["precision_recall"]["recall"] == 1
    assert (values["fid"]["count_real"], values["fid"]["count_fake"]) == (24, 24)
    words = protocol.words(found, "test")
    assert "24 samples (seed 0) against the 24 real pictures of test, as prepared for training (16 x 16)" in words
    assert values["classifier"]["hash"] in words and "fitted on 40 real pictures" in words
    assert f"right on {values['classifier']['accuracy']:.2%} of the 24 real pictures of test" in words
    assert len(quick) == 1 and quick[0]["classes"] == 2
    json.dumps(values, allow_nan=False)


def test_another_sampler_is_at_the_distance_of_its_features(tmp_path, digits, quick):
    """The same numbers from the classifier and the metrics alone."""
    real = subject(digits, {}, tmp_path).pictures("test")
    fake = torch.from_numpy(hand_made.noise(9, 30, 1, 16, 16)).float() / 127.5 - 1
    found = subject(digits, {"generator": Given(fake)}, tmp_path)
    protocol = made("distribution", {"samples": 30, "score_splits": 3, "k": 2, "seed": 5})
    values = protocol.measure(found, "test")
    train = torch.stack([found.data.prepared(each["image"], "image") for each in found.data.whole("train")])
    test = real, found.data.labels("test")
    net = Classifier.fit(train, found.data.labels("train"), seed=5, test=test, classes=2)
    a, (b, logits) = net.features(real), net.both(fake)
    assert values["fid"] == distribution.fid(a, b) and values["fid"]["fid"] > 0.1
    assert values["kid"] == distribution.kid(a, b, seed=5)
    assert values["precision_recall"] == distribution.precision_recall(a, b, k=2)
    assert values["inception_score"] == distribution.inception_score(logits, splits=3, seed=5)
    assert values["classifier"] == {"accuracy": net.accuracy, "hash": net.hash}


def test_samples_are_rounded_to_levels_as_users_get_them(tmp_path, digits, quick):
    real = subject(digits, {}, tmp_path).pictures("test")
    nudged = (real + 0.003).clamp(-1, 1)  # less than half a level
    protocol = made("distribution", {"samples": 24, "score_splits": 2})
    exact, rounded = (
        protocol.measure(subject(digits, {"generator": Given(x)}, tmp_path), "test") for x in (real, nudged)
    )
    assert exact == rounded


def test_what_depends_on_the_data_alone_is_made_once_for_a_run(tmp_path, digits, quick, monkeypatch):
    first = subject(digits, {}, tmp_path)
    first.models = {"generator": Given(first.pictures("test"))}
    protocol = made("distribution", {"samples": 24, "score_splits": 2})
    values = protocol.measure(first, "test")
    read = []
    monkeypatch.setattr(type(first.data), "sample", lambda *args: read.append(args))
    later = subject(digits, first.models, tmp_path, data=first.data)
    assert made("distribution", {"samples": 24, "score_splits": 2}).measure(later, "test") == values
    assert read == [] and len(quick) == 1


def test_unpaired_translations_of_a_are_compared_with_b_at_their_own_sizes(tmp_path):
    root = sides(tmp_path / "two", {"trainA": 2, "trainB": 2, "testA": 4, "testB": 5})
    chosen = translating("cyclegan", pictures("unpaired", root))
    models = {"generator_ab": translator(lambda x: -x), "generator_ba": translator(lambda x: x / 2)}
    found = subject(chosen, models, tmp_path)
    net = feature_net("timm:test_resnet", random_features=True)

    def features(side: str, change=lambda x: x):
        files = [root / f"test{side}" / f"{index}.png" for index in range(4 if side == "A" else 5)]
        levels = [cv2.imread(str(file))[:, :, ::-1] for file in files]
        return torch.cat([net.features(change(RGB.to_tensor(each)[None])) for each in levels])

    protocol = made("distribution", RANDOM)
    values = protocol.measure(found, "test")
    assert values["fid"]["fid"] == pytest.approx(
        distribution.fid(features("B"), features("A", torch.neg))["fid"], rel=1e-5
    )
    words = protocol.words(found, "test")
    assert "translations by generator_ab of the 4 pictures 'a' of test against its 5 real pictures 'b'" in words
    assert "RANDOM FEATURES" in words and "resized to" in words

    back = made("distribution", {**RANDOM, "export": "generator_ba"})
    assert "generator_ba of the 5 pictures 'b' of test against its 4 real pictures 'a'" in back.words(found, "test")
    assert back.measure(found, "test")["fid"]["count_fake"] == 5


def test_a_translator_makes_no_samples_and_has_only_its_own_generators(tmp_path):
    root = sides(tmp_path / "two", {"trainA": 2, "trainB": 2})
    found = subject(translating("cyclegan", pictures("unpaired", root)), {}, tmp_path)
    with pytest.raises(UserError, match="samples 50: generator_ab draws none.* every picture of train"):
        made("distribution", {**RANDOM, "samples": 50}).words(found, "train")
    with pytest.raises(UserError, match="'generator_bb' is no generator of cyclegan.*Did you mean 'generator_"):
        made("distribution", {**RANDOM, "export": "generator_bb"}).words(found, "train")


def test_pictures_of_one_size_go_through_the_net_together_up_to_a_limit(monkeypatch):
    shapes = [(8, 8, 1)] * 70 + [(8, 9, 1)] + [(8, 8, 1)] * 2
    levels = [np.full(shape, place, np.uint8) for place, shape in enumerate(shapes)]
    found = list(batches(levels, GREY))
    assert [tuple(x.shape) for x in found] == [(64, 1, 8, 8), (6, 1, 8, 8), (1, 1, 8, 9), (2, 1, 8, 8)]
    assert [x[0, 0, 0, 0].item() for x in found] == [GREY.to_tensor(levels[i])[0, 0, 0].item() for i in (0, 64, 70, 71)]
    monkeypatch.setattr("i2i.evaluation.judging.VALUES", 150)
    assert [len(x) for x in batches(itertools.islice(levels, 5), GREY)] == [2, 2, 1]


def test_data_without_labels_need_a_named_net(tmp_path):
    refuses = PROTOCOLS.get("distribution").refuses
    folder = functools.partial(recipe, tmp_path, pictures("folder", tmp_path))
    assert "features=inception" in refuses(folder())
    with pytest.raises(UserError, match="evaluate.protocol.*features=inception"):
        folder(evaluate={"protocol": "distribution"})
    assert refuses(folder(evaluate={"protocol": "distribution", "features": "timm:test_resnet"})) is None
    assert "points" in refuses(recipe(tmp_path, points()))


def test_a_classifier_of_other_pictures_scores_data_without_labels(tmp_path, quick):
    apart, plain = labelled(tmp_path / "digits"), labelled(tmp_path / "plain") / "test" / "light"
    chosen = recipe(tmp_path, pictures("folder", plain))
    real = subject(chosen, {}, tmp_path).pictures("train")
    protocol = made("distribution", {"features": f"classifier:{apart}", "samples": 12, "score_splits": 2})
    assert (
        protocol.refuses(
            recipe(
                tmp_path,
                pictures("folder", plain),
                evaluate={"protocol": "distribution", "features": f"classifier:{apart}"},
            )
        )
        is None
    )
    found = subject(chosen, {"generator": Given(real)}, tmp_path)
    values, words = protocol.measure(found, "train"), protocol.words(found, "train")
    assert abs(values["fid"]["fid"]) < 1e-3 and values["precision_recall"]["precision"] == 1
    assert len(quick) == 1 and "fitted on 40 real pictures" in words and "it tells dark, light apart" in words
    assert f"right on {values['classifier']['accuracy']:.2%} of the 24 real pictures of test" in words
    with pytest.raises(UserError, match="nowhere"):
        made("distribution", {"features": "classifier:nowhere", "samples": 12}).words(found, "train")


def test_what_a_net_does_not_take_is_said_in_words(tmp_path, quick):
    chosen = recipe(tmp_path, pictures("labelled", labelled(tmp_path / "digits", 3, 2, 6), size=6))
    with pytest.raises(UserError, match="sides of 8 pixels or more"):
        made("distribution", {}).words(subject(chosen, {}, tmp_path), "test")


def test_inception_without_its_weights_says_where_they_are(tmp_path, digits):
    with pytest.raises(UserError, match="inception needs the file"):
        made("distribution", {"features": "inception"}).words(subject(digits, {}, tmp_path), "test")
