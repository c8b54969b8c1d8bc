"""Points of a known density: where they lie, that every epoch's are fresh, and that a batch is its items."""

import itertools

import numpy as np
import pytest
import torch

from i2i.data import DATASETS
from i2i.data.domain import Domain
from i2i.data.points import MIXTURES, Points
from i2i.data.stream import Loader
from i2i.errors import UserError

AUTO = {"channels": "auto", "range": "auto", "page": None}
SPREAD = {"gaussian1d": 1.0, "ring2d": 0.02, "grid2d": 0.05}


def points(distribution="ring2d", **changed) -> Points:
    given = {"count": 1000, "load_size": None, "crop_size": 1, "flip": False, "transform": None, "seed": 4, "a": AUTO}
    return DATASETS.build("points", **{**given, "distribution": distribution, **changed})


def all_of(data: Points, epoch: int) -> np.ndarray:
    return np.concatenate([data.pictures(epoch, index)[0]["image"][0] for index in range(len(data))])


def load(data, count: int, **options) -> list[dict[str, torch.Tensor]]:
    loader = Loader(data, **{"batch_size": 7, "seed": 4, "say": pytest.fail, **options})
    try:
        return list(itertools.islice(loader, count))
    finally:
        loader.close()


@pytest.mark.parametrize(("name", "dimensions"), [("gaussian1d", 1), ("ring2d", 2), ("grid2d", 2)])
def test_a_point_is_a_picture_of_one_pixel(name, dimensions):
    data = points(name)
    assert data.keys == data.keys_of({}) == ("image",) and data.sides_of == ("a",) and not data.labelled
    assert data.domains == {"image": Domain(dimensions, (-4, 4), 32)} and data.together and data.held_out
    assert data.resolved() == {"a": {"channels": dimensions, "range": [-4, 4], "page": None}}
    assert data.resolved_args() == {} and len(data) == data.files == 1000
    pixels, broken = data.pictures(0, 3)
    assert pixels["image"].shape == (1, 1, dimensions) and pixels["image"].dtype == np.float32 and broken == []
    x = data.item(0, 3)[0]["image"]
    assert x.shape == (dimensions, 1, 1) and torch.equal(x[:, 0, 0], torch.from_numpy(pixels["image"][0, 0] / 4))


def test_the_points_lie_where_their_density_says():
    data = points("gaussian1d", count=20_000)
    x = all_of(data, 0)[:, 0]
    assert abs(x.mean()) < 0.03 and abs(x.std() - 1) < 0.02 and abs((x**4).mean() - 3) < 0.2
    for name, number, step in (("ring2d", 8, None), ("grid2d", 25, 1.0)):
        data = points(name, count=20_000)
        x = all_of(data, 0)
        assert data.centres.shape == (number, 2) and data.std == SPREAD[name] and data.distribution == name
        off = x[:, None] - data.centres
        nearest = (off**2).sum(axis=2).argmin(axis=1)
        share = np.bincount(nearest, minlength=number) / len(x)
        assert np.abs(share * number - 1).max() < 5 * np.sqrt(number / len(x)), "each centre as often"
        left = off[np.arange(len(x)), nearest]
        assert np.allclose(left.std(axis=0), data.std, rtol=0.03) and np.abs(left.mean(axis=0)).max() < 0.01 * 2
        gaps = np.sqrt(((data.centres[:, None] - data.centres) ** 2).sum(axis=2)[~np.eye(number, dtype=bool)])
        assert np.isclose(gaps.min(), step or 4 * np.sin(np.pi / 8))
    assert np.allclose(np.linalg.norm(MIXTURES["ring2d"].centres, axis=1), 2)
    assert sorted({*MIXTURES["grid2d"].centres.ravel()}) == [-2, -1, 0, 1, 2]


def test_the_density_against_hand_worked_values_and_its_integral():
    data = points("gaussian1d")
    assert np.allclose(data.density(np.array([[0.0], [1.0], [-2.0]])), [0.398942280, 0.241970725, 0.053990967])
    ring = points("ring2d").density(np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 2.02]]))
    peak = 1 / (8 * 2 * np.pi * 0.02**2)
    assert np.allclose(ring, [peak, 0, peak * np.exp(-0.5)])
    for name, fine in (("gaussian1d", 0.01), ("ring2d", 0.01), ("grid2d", 0.02)):
        data = points(name)
        axis = np.arange(-4, 4, fine) + fine / 2
        dimensions = data.centres.shape[1]
        x = np.stack(np.meshgrid(*[axis] * dimensions), axis=-1).reshape(-1, dimensions)
        assert np.isclose(data.density(x).sum() * fine**dimensions, 1, atol=1e-4), name
    with pytest.raises(ValueError, match=r"x \(5, 3\) is not \(N, 2\)"):
        points("ring2d").density(np.zeros((5, 3)))


def test_every_epoch_is_fresh_and_a_function_of_the_seed():
    data, again = points(), points()
    epochs = [all_of(data, epoch) for epoch in range(5)]
    assert all(np.array_equal(all_of(again, epoch), epochs[epoch]) for epoch in reversed(range(5)))
    drawn = np.concatenate([*epochs, all_of(points(seed=5), 0)])
    assert len(np.unique(drawn, axis=0)) == 6000
    assert len(data._kept) <= 3, "what is over is let go"


def test_val_and_test_are_fixed_and_not_those_of_training():
    data = points(count=50)
    assert data.splits_there == ("train", "val", "test")
    seen = {}
    for split in data.splits_there:
        seen[split] = np.concatenate([row["image"][0] for row in data.whole(split)])
        assert len(seen[split]) == data.count(split) == data.count(split, "image") == 50
        all_of(data, 3)
        assert np.array_equal(seen[split], np.concatenate([row["image"][0] for row in data.whole(split, "image")]))
    assert np.array_equal(seen["train"], all_of(data, 0))
    assert len(np.unique(np.concatenate(list(seen.values())), axis=0)) == 150
    assert np.array_equal(np.concatenate([row["image"][0] for row in data.previews(4)]), seen["test"])
    assert len(data.previews(99)) == 50
    row = next(data.whole("test"))["image"]
    assert torch.equal(data.prepared(row, "image"), data.domains["image"].to_tensor(row))
    row[:] = 9
    assert next(data.whole("test"))["image"][0, 0, 0] == seen["test"][0, 0], "what is returned is the caller's own"


def test_the_numbers_are_the_same_in_every_version():
    """A change here breaks the continuing of runs that an earlier version began."""
    first = [[-0.0029642, -2.0107408], [0.0050621, -2.0153098], [1.4193370, 1.4171325]]
    assert np.allclose(all_of(points(count=3, seed=0), 0), first, atol=1e-6)


@pytest.mark.parametrize("name", list(MIXTURES))
def test_a_batch_is_its_items_bit_for_bit(name):
    data = points(name, count=40)
    places = [(epoch, index) for epoch in (0, 2, 1) for index in (39, 0, 7, 7)]
    batch, broken = data.batch(places)
    expected = torch.stack([data.item(*place)[0]["image"] for place in places])
    assert list(batch) == ["image"] and broken == [] and batch["image"].is_contiguous()
    assert batch["image"].dtype == torch.float32 and torch.equal(batch["image"], expected)


def test_what_lies_outside_the_range_is_clipped():
    data = points("gaussian1d", count=200_000)
    x = data.batch([(0, index) for index in range(len(data))])[0]["image"]
    beyond = np.abs(all_of(data, 0)[:, 0]) > 4
    assert beyond.sum() > 0 and x.abs().max() == 1 and np.array_equal((x.abs() == 1).flatten().numpy(), beyond)


def test_the_same_points_with_any_number_of_workers_and_from_any_start():
    data = points(count=20)
    alone = load(data, 9)
    assert alone[0]["image"].shape == (7, 2, 1, 1)
    for workers, start in ((2, 0), (0, 4), (2, 4)):
        batches = load(data, 9 - start, workers=workers, start_batch=start)
        assert all(torch.equal(one["image"], two["image"]) for one, two in zip(batches, alone[start:], strict=True))


def test_nothing_heavy_is_imported_to_draw_points(monkeypatch):
    from i2i.data import transform

    monkeypatch.setattr(transform, "_albumentations", lambda: pytest.fail("albumentations is not needed"))
    load(points(), 2)


def test_a_range_of_ones_own():
    data = points("grid2d", a={"channels": 2, "range": [-2.5, 2.5]})
    assert data.resolved()["a"]["range"] == [-2.5, 2.5]
    x = data.batch([(0, index) for index in range(1000)])[0]["image"]
    assert torch.allclose(x[:, :, 0, 0] * 2.5, torch.from_numpy(all_of(data, 0)), atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"distribution": "ring3d"}, "distribution 'ring3d' is not one of gaussian1d, ring2d, grid2d"),
        ({"count": 0}, "count 0: an epoch has at least one point"),
        ({"path": "here"}, "path 'here': points are drawn, not read. Set data.path to null"),
        ({"crop_size": 8}, "data.crop_size is 8, but a point is a picture of 1 x 1 .*Set data.crop_size=1"),
        ({"load_size": 1}, "data.load_size is 1, .*Set data.load_size=null"),
        ({"flip": True}, "data.flip is true, .*Set data.flip=false"),
        ({"transform": "d4"}, "data.transform is d4, .*Set data.transform=null"),
        ({"a": {"channels": 3}}, "channels 3: a point of ring2d has 2 coordinates. Set data.a.channels to 2 or auto"),
        ({"a": {"range": [-2, 2]}}, r"range \[-2, 2\] cuts off points of ring2d, which lie in \[-2.08, 2.08\]"),
        ({"a": {"range": [4, -4]}}, r"data.a: range \[4, -4\] is not a range of 32-bit floats"),
        ({"a": {"page": 0}}, "page 0: points are drawn"),
    ],
)
def test_what_points_refuse(changed, words):
    with pytest.raises(UserError, match=words):
        points(**changed)


def test_an_unknown_split_or_key():
    with pytest.raises(UserError, match="split 'dev' is not there: these data have train, val, test"):
        points().whole("dev")
    with pytest.raises(UserError, match="key 'input' is not in these data, which hold image"):
        points().count("test", "input")
