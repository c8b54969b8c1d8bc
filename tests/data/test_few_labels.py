"""Few labelled pictures beside all others: which ones they are, which one a sample brings, and batches at once."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from idxfiles import lay_idx

from i2i.data import DATASETS
from i2i.data.labelled import Labelled, few
from i2i.data.pictures import write
from i2i.data.pictureset import PictureSet
from i2i.data.stream import Loader
from i2i.errors import UserError

AUTO = {"channels": "auto", "range": "auto", "page": None}


def labelled(path, **changed) -> Labelled:
    given = {"load_size": None, "crop_size": 8, "flip": False, "transform": None, "seed": 2, "a": AUTO, "labels": 10}
    return DATASETS.build("labelled", path=path, **{**given, **changed})


def numbers(pictures) -> list[int]:
    """Which pictures of the idx files these are."""
    return ((pictures[:, 0, 0, 0] + 1) * 127.5).round().long().tolist()


def load(data, count, **options):
    loader = Loader(data, **{"batch_size": 4, "seed": 2, "say": lambda line: None, **options})
    try:
        return list(itertools.islice(loader, count))
    finally:
        loader.close()


def test_which_ones_depends_on_the_seed_alone_and_is_balanced(tmp_path):
    root = lay_idx(tmp_path, train=60, test=10)
    data = labelled(root, labels=20, val=20)
    assert np.bincount(data.labels("train")[data.few]).tolist() == [2] * 10
    assert len(set(data.few.tolist())) == 20 and data.few.max() < 40, "of train alone: the last 20 are val"
    assert data.few.tolist() == sorted(data.few.tolist())
    same = labelled(root, labels=20, val=20, flip=True, load_size=9, transform="d4", a={"channels": 3})
    assert same.few.tolist() == data.few.tolist()
    others = [labelled(root, labels=20, val=20, seed=seed).few.tolist() for seed in range(5)]
    assert len({tuple(each) for each in others}) == 5
    assert set(labelled(root, labels=10, val=20).few) < set(data.few) < set(labelled(root, labels=30, val=20).few)


def test_the_draw_is_the_one_that_it_has_always_been():
    """Recorded: another draw would be another experiment under the same seed."""
    labels = np.arange(400) % 4
    assert few(labels, 8, list("abcd"), "here", seed=0).tolist() == [41, 79, 98, 126, 141, 263, 312, 364]


def test_a_sample_is_any_picture_and_a_labelled_one_with_its_class(tmp_path):
    data = labelled(lay_idx(tmp_path))
    drawn = Counter()
    for epoch, index in itertools.product(range(20), range(20)):
        item, broken = data.item(epoch, index)
        assert list(item) == ["image", "labelled", "label"] and broken == []
        assert numbers(item["image"][None]) == [index], "every picture comes once an epoch, labelled or not"
        (which,) = numbers(item["labelled"][None])
        assert which in data.few and item["label"].dtype == torch.int64 and int(item["label"]) == which % 10
        drawn[which] += 1
    assert set(drawn) == set(data.few.tolist())
    assert max(drawn.values()) < 70 and min(drawn.values()) > 15, "400 draws of 10: 40 of each, deviation 6"
    again = [int(labelled(tmp_path).item(3, index)[0]["label"]) for index in range(20)]
    assert again == [int(data.item(3, index)[0]["label"]) for index in range(20)]
    assert again != [int(data.item(4, index)[0]["label"]) for index in range(20)]


@pytest.mark.parametrize(
    "changed",
    [{}, {"flip": True}, {"load_size": 5, "crop_size": 5, "flip": True, "a": {"channels": 3}}, {"crop_size": 6}],
    ids=str,
)
def test_a_batch_is_its_items_bit_for_bit(tmp_path, changed):
    data = labelled(lay_idx(tmp_path), **changed)
    places = [(epoch, index) for epoch in (0, 3) for index in (19, 0, 7, 7, 3)]
    expected = data.values(PictureSet.levels(data, places)[0])
    batch, broken = data.batch(places)
    assert list(batch) == ["image", "labelled", "label"] == list(expected) and broken == []
    assert all(batch[key].dtype == expected[key].dtype and torch.equal(batch[key], expected[key]) for key in batch)


def test_a_labelled_picture_is_flipped_by_a_draw_of_its_own(tmp_path):
    """Of 200 samples about half have the two flips unlike; with one draw for both it would be none."""
    plain, flipped = labelled(lay_idx(tmp_path)), labelled(tmp_path, flip=True)
    places = [(epoch, index) for epoch in range(10) for index in range(20)]
    before, after = plain.batch(places)[0], flipped.batch(places)[0]
    assert torch.equal(before["label"], after["label"])
    turned = {key: (before[key] != after[key]).flatten(1).any(1) for key in ("image", "labelled")}
    assert all(70 < int(each.sum()) < 130 for each in turned.values())
    assert 70 < int((turned["image"] != turned["labelled"]).sum()) < 130


def test_the_other_pictures_and_their_order_are_those_without_labels(tmp_path):
    root = lay_idx(tmp_path)
    without, beside = (load(labelled(root, labels=labels, flip=True), 7) for labels in (None, 10))
    for one, two in zip(without, beside, strict=True):
        assert torch.equal(one["image"], two["image"]) and "labelled" not in one


def test_the_same_with_any_number_of_workers_from_any_start_and_in_parts(tmp_path):
    data = labelled(lay_idx(tmp_path), flip=True)
    alone = load(data, 7)
    for start, more in ((0, {"workers": 2}), (3, {})):
        for one, two in zip(load(data, 7 - start, start_batch=start, **more), alone[start:], strict=True):
            assert all(torch.equal(one[key], two[key]) for key in ("image", "labelled", "label"))
    parts = [load(data, 7, part=(rank, 2)) for rank in (0, 1)]
    for whole, *halves in zip(alone, *parts, strict=True):
        assert all(torch.equal(whole[key], torch.cat([half[key] for half in halves])) for key in whole)


def test_it_is_said_once_how_few(tmp_path):
    said = []
    load(labelled(lay_idx(tmp_path)), 1, say=said.append)
    assert len(said) == 1 and said[0].endswith("the classes of 10 of 20 training pictures are used, 1 of each")
    assert labelled(tmp_path, labels=None).notes == [] and labelled(tmp_path, labels=None).few is None


def test_a_broken_labelled_picture_is_replaced_by_the_next_one_with_its_class(tmp_path):
    for level, name in enumerate(("cat", "dog")):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(3):
            write(tmp_path / "train" / name / f"{number}.png", np.full((8, 8, 3), 100 * level + number, np.uint8))
    data = labelled(tmp_path, labels=2)
    cat, dog = data.few.tolist()
    file = tmp_path / "train" / "cat" / f"{cat}.png"
    file.write_bytes(file.read_bytes()[:-20])
    place = next((epoch, index) for epoch in range(9) for index in range(3, 6) if data._drawn(epoch, index) == 0)
    item, broken = data.item(*place)
    assert [report.path for report in broken] == [str(file)]
    assert int(item["label"]) == 1 and numbers(item["labelled"][None]) == [100 + dog - 3]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (0, r"data\.labels is 0, of 10 classes\. It must be a multiple of 10, .*; the nearest is 10\."),
        (-10, r"data\.labels is -10, of 10 classes\. It must be a multiple of 10"),
        (7, r"data\.labels is 7, of 10 classes\. .*; the nearest is 10\."),
        (26, r"data\.labels is 26, of 10 classes\. .* equally many of each class; the nearest is 30\."),
        (30, r"data\.labels is 30, 3 of each of 10 classes, and .*train-labels.* has 2 .* class 0\. Set .* to 20 at"),
    ],
)
def test_a_number_that_cannot_be_is_one_sentence(tmp_path, labels, words):
    with pytest.raises(UserError, match=words):
        labelled(lay_idx(tmp_path), labels=labels)


def test_val_is_not_counted_and_a_class_without_a_picture_has_no_label(tmp_path):
    with pytest.raises(
        UserError, match=r"data\.labels is 20, .* has 1 training pictures? of class 0\. Set .* to 10 at"
    ):
        labelled(lay_idx(tmp_path), labels=20, val=10)
    lay_idx(tmp_path, train_labels=[0, 1, 3] * 6 + [0, 1], t10k_labels=[0] * 10)
    with pytest.raises(UserError, match=r"has 0 training pictures of class 2\. Set it to null\."):
        labelled(tmp_path, labels=4)
