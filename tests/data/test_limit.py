"""Training on a few pictures: which ones, the same for every seed, the smaller set within the larger, val untouched."""

import itertools

import numpy as np
import pytest
from hand_made import GAN, noise, pictures, recipe, recipe_file, sides, translating, write
from idxfiles import lay_idx

from i2i import build, config
from i2i.data import DATASETS
from i2i.data.limit import chosen
from i2i.data.stream import Loader
from i2i.engine.run import differences
from i2i.errors import UserError
from i2i.faults import RecipeError
from i2i.infer.runs import read_recipe

AUTO = {"channels": "auto", "range": "auto", "page": None}
COMMON = {"load_size": None, "crop_size": 8, "flip": False, "transform": None}


def made(kind: str, path, limit=None, seed=0, **more):
    two = {} if kind in ("labelled", "folder") else {"b": AUTO}
    return DATASETS.build(kind, path=path, a=AUTO, **two, **COMMON, limit=limit, seed=seed, **more)


def names(files) -> list[str]:
    return list(files.names())


def fill(folder, count: int, start: int = 0, width: int = 8):
    for number in range(start, start + count):
        write(folder / f"{number:02d}.png", noise(number, 8, width, 3))


def test_the_places_are_these():
    """Recorded: another order would be other pictures under the same recipe."""
    assert chosen(10, 4, "x").tolist() == [2, 3, 5, 9]
    assert chosen(10, 4, "x", "b").tolist() == [3, 4, 6, 8]


def test_a_smaller_limit_is_within_a_larger_and_all_is_all():
    sets = [set(chosen(1000, limit, "x").tolist()) for limit in (1, 40, 100, 999, 1000)]
    assert [len(each) for each in sets] == [1, 40, 100, 999, 1000]
    assert all(small < large for small, large in itertools.pairwise(sets)) and sets[-1] == set(range(1000))
    few = chosen(1000, 100, "x")
    assert few.max() > 900 and few.min() < 100 and (np.diff(few) > 0).all()  # shuffled, not the first; in order


def test_classes_are_as_many_as_each_other_as_long_as_they_have_some():
    """30 of class 0, 5 of class 1, 2 of class 2: 6 are 2 of each; 12 are 5, 5 and 2; 20 are 13, 5 and 2."""
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], [30, 5, 2]))
    counts = {n: np.bincount(labels[chosen(37, n, "x", labels=labels)], minlength=3).tolist() for n in (3, 6, 12, 20)}
    assert counts == {3: [1, 1, 1], 6: [2, 2, 2], 12: [5, 5, 2], 20: [13, 5, 2]}
    sets = [set(chosen(37, n, "x", labels=labels).tolist()) for n in range(1, 38)]
    assert all(small < large for small, large in itertools.pairwise(sets))
    in_turn = np.tile([0, 1, 2], 10)
    odd = {int(in_turn[chosen(30, 1, "x", key, in_turn)][0]) for key in "abcdefgh"}
    assert len(odd) > 1  # what is over goes to no class by its number


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (0, r"data.limit is 0; training takes at least 1 picture. Set it to 1 or more, or null\."),
        (-3, r"data.limit is -3; "),
        (6, r"data.limit is 6, but .*train has 5 training pictures. Set it to 5 or less, or null for all\."),
    ],
)
def test_a_limit_that_cannot_be(tmp_path, limit, words):
    fill(tmp_path / "train", 5)
    with pytest.raises(UserError, match=words):
        made("folder", tmp_path, limit)


def test_a_folder(tmp_path):
    fill(tmp_path / "train", 12)
    fill(tmp_path / "test", 3, 50)
    whole, few, other = made("folder", tmp_path), made("folder", tmp_path, 4), made("folder", tmp_path, 4, seed=9)
    kept = [names(whole.splits["train"])[place] for place in chosen(12, 4, "x")]
    assert names(few.splits["train"]) == names(other.splits["train"]) == kept
    assert len(few) == few.files == few.count("train") == 4 and few.count("test") == 3 and few.held_out
    assert few.notes == ["data.limit: 4 of 12 training pictures are trained on, the same whatever the seed"]
    for index, name in enumerate(kept):
        assert np.array_equal(few.pictures(0, index)[0]["image"], noise(int(name[:2]), 8, 8, 3))
    assert whole.unlimited is whole and few.unlimited.unlimited is few.unlimited
    assert len(few.unlimited) == 12 and names(few.unlimited.splits["train"]) == names(whole.splits["train"])
    assert few.unlimited.notes == [] and few.unlimited.domains is few.domains


def test_previews_of_a_training_split_are_of_what_is_trained_on(tmp_path):
    fill(tmp_path, 12)
    few = made("folder", tmp_path, 2)
    shown = [row["image"].tobytes() for row in few.previews(9)]
    assert shown == [noise(place, 8, 8, 3).tobytes() for place in chosen(12, 2, "x")]


@pytest.mark.parametrize("layout", ["beside", "folders"])
def test_pairs_stay_pairs(tmp_path, layout):
    for number in range(9):
        both = noise(number, 8, 16, 3)
        if layout == "beside":
            write(tmp_path / "train" / f"{number}.png", both)
        else:
            write(tmp_path / "train" / "A" / f"{number}.png", both[:, :8])
            write(tmp_path / "train" / "B" / f"{number}.png", both[:, 8:])
    few = made("paired", tmp_path, 3)
    assert len(few) == 3 and few.files == (3 if layout == "beside" else 6) and few.unlimited.count("train") == 9
    for index, place in enumerate(chosen(9, 3, "x")):
        pair = few.sample("train", index)
        assert np.array_equal(np.hstack([pair["input"], pair["target"]]), noise(place, 8, 16, 3))


def test_each_side_of_what_is_unpaired(tmp_path):
    sides(tmp_path, {"trainA": 7, "trainB": 11, "testA": 2, "testB": 2})
    few = made("unpaired", tmp_path, 5)
    assert [few.count(split, key) for split in ("train", "test") for key in "ab"] == [5, 5, 2, 2]
    assert len(few) == 5 and few.files == 10
    assert names(few.splits["train"].a) == [names(few.unlimited.splits["train"].a)[n] for n in chosen(7, 5, "x", "a")]
    assert names(few.splits["train"].b) == [names(few.unlimited.splits["train"].b)[n] for n in chosen(11, 5, "x", "b")]
    assert "5 of 7 training pictures of a, and of 11 of b, are trained on" in few.notes[0]
    drawn = {few.pictures(epoch, 0)[0]["b"].tobytes() for epoch in range(200)}
    assert len(drawn) == 5  # partners are drawn among the few
    with pytest.raises(UserError, match="data.limit is 8, but .*trainA has 7 training pictures"):
        made("unpaired", tmp_path, 8)


@pytest.mark.parametrize("flip", [False, True])
def test_digits_in_memory(tmp_path, flip):
    """40 training pictures, the last 10 val: 6 of the others, of 6 classes, and a batch is its items."""
    lay_idx(tmp_path, train=40)
    few = DATASETS.build(
        "labelled", path=tmp_path, a=AUTO, **{**COMMON, "flip": flip}, classes=10, val=10, limit=6, seed=0
    )
    assert [few.count(split) for split in few.splits_there] == [6, 10, 10]
    places = chosen(30, 6, "x", labels=np.arange(30) % 10)
    assert [int(row["image"][0, 0, 0]) for row in few.whole("train")] == places.tolist()
    assert few.labels("train").tolist() == (places % 10).tolist() and len(set(places % 10)) == 6
    assert [int(row["image"][0, 0, 0]) for row in few.whole("val")] == list(range(30, 40))
    assert few.unlimited.count("train") == 30 and few.num_classes == 10
    where = [(3, 5), (0, 0), (7, 2)]
    batch, _ = few.batch(where)
    for row, place in enumerate(where):
        item, _ = few.item(*place)
        assert item["image"].equal(batch["image"][row]) and item["label"] == batch["label"][row]


def test_class_folders_are_limited_after_val_is_split_off(tmp_path):
    for label, count in (("cat", 20), ("dog", 10)):
        fill(tmp_path / "train" / label, count)
    whole, few = (made("labelled", tmp_path, limit, val=6) for limit in (None, 8))
    assert names(few.splits["val"].pictures) == names(whole.splits["val"].pictures)
    assert np.bincount(few.labels("train")).tolist() == [4, 4] and few.files == 8
    assert set(names(few.splits["train"].pictures)) < set(names(whole.splits["train"].pictures))


def test_a_broken_file_that_is_not_trained_on_ends_no_run(tmp_path):
    """Two of 300 are broken, which a run on all may have; of 10 pictures one may be, and none of these is."""
    fill(tmp_path / "train", 300)
    good = set(chosen(300, 10, "x").tolist())
    for place in [number for number in range(300) if number not in good][:2]:
        file = sorted((tmp_path / "train").iterdir())[place]
        file.write_bytes(file.read_bytes()[:20])
    few = made("folder", tmp_path, 10)
    assert len(few.unlimited.broken) == 2 and few.broken == []
    said = []
    loader = Loader(few, batch_size=5, seed=0, say=said.append)
    list(itertools.islice(loader, 3))
    loader.close()
    assert said == few.notes


def test_batches_with_workers_are_those_without(tmp_path):
    fill(tmp_path, 12)
    few, seen = made("folder", tmp_path, 4), []
    for workers in (0, 2):
        loader = Loader(few, batch_size=3, seed=5, workers=workers, say=lambda text: None)
        seen.append(np.stack([batch["image"].numpy() for batch in itertools.islice(loader, 4)]))
        loader.close()
    assert np.array_equal(*seen) and len({picture.tobytes() for picture in seen[0].reshape(12, -1)}) == 4


def test_drawn_data_have_no_limit(tmp_path):
    synthetic = {"kind": "synthetic", "pairing": "paired", "size": 32, "count": 6, "crop_size": 32, "limit": 3}
    with pytest.raises(RecipeError, match="data.limit: 3: 'synthetic' data are drawn as many as count says"):
        translating("pix2pix", synthetic)
    points = {"kind": "points", "distribution": "ring2d", "count": 9, "crop_size": 1, "flip": False, "limit": 3}
    with pytest.raises(RecipeError, match="data.limit: 3: 'points' data are drawn as many as count says. Set it to nu"):
        recipe(tmp_path, points)
    with pytest.raises(RecipeError, match=r"data\.limit: 0 must be at least 1\."):
        recipe(tmp_path, pictures("folder", tmp_path, limit=0))


def test_a_run_of_before_there_was_a_limit_goes_on_and_only_without_one(tmp_path):
    fill(tmp_path / "train", 4)
    before = recipe_file(tmp_path / "recipe.yaml", pictures("folder", tmp_path, 8), GAN)
    assert "limit" not in before.read_text()
    now = build.check(config.read(before, ["data.limit=null"]))
    assert build.check(config.read(before)) == now
    before.write_text(now.dump().replace("  limit: null\n", ""))
    assert "limit" not in before.read_text()
    few = build.check(config.read(before, ["data.limit=3"]))
    assert differences(read_recipe(tmp_path), now) == [] and len(differences(read_recipe(tmp_path), few)) == 1
    assert len(build.dataset(few)) == 3
