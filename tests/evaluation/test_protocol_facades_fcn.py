"""The FCN score: which pictures are read by the net, and which data have label maps at all."""

import json

import cv2
import numpy as np
import pytest
from hand_made import pictures, points, recipe, subject, translating, translator, write

from i2i import build
from i2i.errors import UserError
from i2i.evaluation.evaluate import made
from i2i.evaluation.segmentation import CMP, Segmenter, palette_of
from i2i.metrics import PROTOCOLS
from i2i.metrics.segmentation import confusion, scores

SMALL = {"size": 64, "steps": 12}


@pytest.fixture
def facades(tmp_path):
    """Photos A that show the classes 0 to 3 of B as shades of grey; 6 pairs for training, 3 for test."""
    root = tmp_path / "facades"
    for split, count in (("train", 6), ("test", 3)):
        for index in range(count):
            dice = np.random.RandomState(index + 50 * (split == "test"))
            classes = np.kron(dice.randint(0, 4, (4, 4)), np.ones((16, 16), np.int64))
            colours = np.array([each.colour for each in CMP], np.uint8)
            write(root / split / "B" / f"{index}.png", colours[classes])
            write(
                root / split / "A" / f"{index}.png", np.repeat((40 + 60 * classes)[:, :, None], 3, 2).astype(np.uint8)
            )
    return root


@pytest.fixture
def chosen(facades):
    return translating("pix2pix", pictures("paired", facades, 64, direction="ba"))


def test_photos_are_read_and_label_maps_are_the_truth(chosen, tmp_path, facades):
    found = subject(chosen, {"generator": translator(lambda x: x * 0)}, tmp_path)
    protocol = made("facades-fcn", SMALL)
    values = protocol.measure(found, "test")
    photos, maps = (
        np.stack([cv2.imread(str(file))[:, :, ::-1] for file in sorted((facades / "test" / side).iterdir())])
        for side in "AB"
    )
    net = protocol.net(found)
    truth = palette_of(maps)
    assert values["real"] == scores(confusion(truth, net.predict(photos), 12))
    assert values["generated"] == scores(confusion(truth, net.predict(np.full_like(photos, 128)), 12))
    assert values["generated"] != values["real"] and values["net"] == {"hash": net.hash}
    words = protocol.words(found, "test")
    assert "of the 3 label maps 'input' of test, beside those in its real photos 'target'" in words
    assert f"6 real pairs of train at 64 x 64, 12 steps, seed 0 (weights {net.hash})" in words
    json.dumps(values, allow_nan=False)


def test_a_translator_that_makes_the_real_photos_scores_as_they_do(chosen, tmp_path):
    found = subject(chosen, {"generator": translator(lambda x: x)}, tmp_path)
    queue = iter([*found.reals("test")])
    found.models["generator"].pixels = lambda pixels, **_: next(queue)
    values = made("facades-fcn", SMALL).measure(found, "test")
    assert values["generated"] == values["real"]


def test_the_net_and_the_real_photos_are_read_once_for_a_run(chosen, tmp_path, monkeypatch):
    fits, fit = [], Segmenter.fit
    monkeypatch.setattr(Segmenter, "fit", lambda *args, **options: fits.append(options) or fit(*args, **options))
    found = subject(chosen, {"generator": translator(lambda x: x)}, tmp_path)
    first = made("facades-fcn", SMALL).measure(found, "test")
    assert made("facades-fcn", SMALL).measure(subject(chosen, found.models, tmp_path, data=found.data), "test") == first
    assert [(each["size"], each["steps"], each["seed"]) for each in fits] == [(64, 12, 0)]


def test_inputs_that_are_no_label_maps_are_refused(facades, tmp_path):
    wrong = translating("pix2pix", pictures("paired", facades, 64, direction="ab"))
    found = subject(wrong, {"generator": translator(lambda x: x)}, tmp_path)
    with pytest.raises(UserError, match="picture 0 of 'input' in test is no label map"):
        made("facades-fcn", SMALL).words(found, "test")


def test_the_real_label_maps_are_known_from_the_real_photos(real_data, tmp_path):
    from i2i.evaluation.protocols.facades_fcn import _check_palette

    for direction, known in (("ba", True), ("ab", False)):
        found = translating("pix2pix", pictures("paired", real_data("facades"), 64, direction=direction))
        model = subject(found, {}, tmp_path)
        if known:
            _check_palette(model, "test")
        else:
            with pytest.raises(UserError, match="no label map"):
                _check_palette(model, "test")


def test_training_photos_of_several_sizes_are_refused(chosen, tmp_path, facades):
    for side in "AB":
        file = facades / "train" / side / "1.png"
        write(file, cv2.imread(str(file))[:64:, :, ::-1].repeat(2, 0))
    found = subject(chosen, {}, tmp_path, data=build.dataset(chosen))
    with pytest.raises(UserError, match="of 2 sizes"):
        made("facades-fcn", SMALL).net(found)


def test_what_makes_no_photos_of_label_maps_is_refused(tmp_path):
    refuses = PROTOCOLS.get("facades-fcn").refuses
    assert "makes no photos" in refuses(recipe(tmp_path, points()))
    assert "makes no photos" in refuses(translating("cyclegan", pictures("unpaired", tmp_path, 32)))
    grey = translating("pix2pix", pictures("paired", tmp_path, 32, a={"channels": 1}))
    assert "not all RGB" in refuses(grey)


@pytest.mark.parametrize(
    ("wrong", "words"), [({"size": 100}, "multiples of 32"), ({"size": 32}, "from 64 on"), ({"steps": 0}, "at least 1")]
)
def test_settings_that_the_net_does_not_take(wrong, words):
    with pytest.raises(UserError, match=words):
        made("facades-fcn", wrong)
