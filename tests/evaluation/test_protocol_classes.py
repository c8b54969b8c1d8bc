"""The share of samples of the class asked for: a generator that does as it is told, one that does not."""

import numpy as np
import pytest
import torch
from hand_made import CGAN, Given, labelled, pictures, recipe, subject

from i2i.errors import UserError
from i2i.evaluation.classifier import Classifier
from i2i.evaluation.evaluate import made
from i2i.evaluation.judging import classifier
from i2i.evaluation.protocol import scored
from i2i.metrics.classes import accuracy


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A subject of two classes, dark and light, whose classifier is soon trained."""
    fit = Classifier.fit
    monkeypatch.setattr(Classifier, "fit", lambda *args, **options: fit(*args, **{**options, "steps": 60}))
    return subject(recipe(tmp_path, pictures("labelled", labelled(tmp_path / "digits")), CGAN), {}, tmp_path)


def told(found, labels):
    """A sampler of real test pictures: sample i is one of class labels[i]."""
    real, classes = found.pictures("test"), torch.from_numpy(found.data.labels("test"))
    chosen = torch.stack([real[classes == label][number % 12] for number, label in enumerate(labels)])
    return {"generator": Given(chosen, names=found.data.class_names)}


def test_a_generator_that_does_as_it_is_told(found):
    found.models = told(found, [number % 2 for number in range(24)])
    protocol = made("classes", {"samples": 24})
    values = protocol.measure(found, "test")
    assert values["classifier"]["accuracy"] == 1.0  # dark and light are easily told apart
    assert values["accuracy"] == {"mean": 1.0, "standard_error": 0.0, "count": 24}
    assert values["classes"]["light"] == {"mean": 1.0, "standard_error": 0.0, "count": 12}
    words = protocol.words(found, "test")
    assert "24 samples (seed 0), of 2 classes in turn" in words and values["classifier"]["hash"] in words
    assert "right on 100.00% of the 24 real pictures of test" in words


def test_one_that_knows_one_class_alone_and_errs_there_too(found):
    """Of 20: dark is asked for in 10 and made in 8 of these; light is asked for in 10 and never made."""
    labels = [0] * 20
    labels[0] = labels[2] = 1
    found.models = told(found, labels)
    values = made("classes", {"samples": 20}).measure(found, "test")
    assert values["accuracy"] == {"mean": 0.4, "standard_error": pytest.approx((0.4 * 0.6 / 20) ** 0.5), "count": 20}
    assert values["classes"]["dark"] == {
        "mean": 0.8,
        "standard_error": pytest.approx((0.8 * 0.2 / 10) ** 0.5),
        "count": 10,
    }
    assert values["classes"]["light"]["mean"] == 0


def test_the_same_numbers_from_classifier_and_metric_alone(found):
    samples = torch.rand(30, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    drawn = Given(samples, names=("dark", "light"))
    found.models = {"generator": drawn}
    protocol = made("classes", {"samples": 30, "seed": 3})
    values = protocol.measure(found, "test")
    train = torch.stack([found.data.prepared(each["image"], "image") for each in found.data.whole("train")])
    test = found.pictures("test"), found.data.labels("test")
    net = Classifier.fit(train, found.data.labels("train"), seed=3, test=test, classes=2)
    levels = np.stack(drawn.pixels(30))
    predicted = net.logits(found.data.domains["image"].to_tensor(levels)).argmax(1)
    assert scored(protocol, values) == accuracy([n % 2 for n in range(30)], predicted)["accuracy"]


def test_the_judge_of_a_run_on_few_pictures_is_that_of_a_run_on_all(found, tmp_path):
    (tmp_path / "few").mkdir()
    few = subject(recipe(tmp_path / "few", pictures("labelled", tmp_path / "digits", limit=4), CGAN), {}, tmp_path)
    assert (few.count("train"), few.trained_on.count("train"), found.trained_on) == (40, 4, found.data)
    assert few.pictures("train").equal(found.pictures("train"))
    judges = [classifier(each, 0) for each in (found, few)]
    assert judges[0].hash == judges[1].hash and judges[1].meta["count"] == 40


def test_methods_that_are_told_no_class_are_refused_in_words(tmp_path):
    data = pictures("labelled", labelled(tmp_path / "digits"))
    with pytest.raises(UserError, match="'classes' cannot score these runs: gan is asked for no class"):
        recipe(tmp_path, data, evaluate={"protocol": "classes"})
    assert recipe(tmp_path, data, CGAN, evaluate={"protocol": "classes", "samples": 50}).evaluate.args["samples"] == 50
