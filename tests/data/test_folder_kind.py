"""Any folder of pictures, without partners or classes."""

import hashlib
import itertools

import numpy as np
import pytest
import torch

from i2i.data import DATASETS
from i2i.data.domain import Domain
from i2i.data.pictures import write
from i2i.data.stream import Loader
from i2i.errors import UserError

AUTO = {"channels": "auto", "range": "auto", "page": None}


def folder(path, **changed):
    given = {"load_size": None, "crop_size": 8, "flip": True, "transform": None, "seed": 1, "a": AUTO}
    return DATASETS.build("folder", path=path, **{**given, **changed})


def fill(place, count: int, start: int = 0, size: int = 10):
    place.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        y, x = np.mgrid[0:size, 0:size].astype(np.uint8)
        write(place / f"{number:03d}.png", np.dstack([9 * y, 9 * x, np.full_like(x, number)]))


def numbers(rows) -> list[int]:
    return [int(row["image"][0, 0, 2]) for row in rows]


def load(data, count: int, **options):
    loader = Loader(data, **{"batch_size": 3, "seed": 1, "say": pytest.fail, **options})
    try:
        return list(itertools.islice(loader, count))
    finally:
        loader.close()


def test_every_picture_below_the_folder(tmp_path):
    fill(tmp_path, 2)
    fill(tmp_path / "more" / "deep", 2, 2)
    (tmp_path / "train").mkdir()  # without a picture it is as good as none
    (tmp_path / "README.md").write_text("not a picture")
    data = folder(tmp_path)
    assert len(data) == data.files == data.count("train") == 4 and data.splits_there == ("train",) and not data.held_out
    assert data.keys == data.keys_of({}) == ("image",) and data.sides_of == ("a",) and not data.labelled
    assert data.domains == {"image": Domain(3, (0, 255), 8)} and data.resolved_args() == {}
    assert data.resolved() == {"a": {"channels": 3, "range": [0, 255], "page": None}}
    assert numbers(data.whole("train")) == [0, 1, 2, 3] and numbers(data.previews(2)) == [0, 1]
    item, broken = data.item(0, 3)
    assert list(item) == ["image"] and item["image"].shape == (3, 8, 8) and broken == []


def test_the_splits(tmp_path):
    fill(tmp_path / "train", 3)
    fill(tmp_path / "test" / "a", 2, 10)
    fill(tmp_path, 1, 50)
    (tmp_path / "val").mkdir()
    data = folder(tmp_path)
    assert data.splits_there == ("train", "test") and data.held_out and numbers(data.whole("train")) == [0, 1, 2]
    assert numbers(data.previews(5)) == [10, 11] == numbers(data.whole("test", "image"))
    with pytest.raises(UserError, match="split 'val' is not there: these data have train, test"):
        data.whole("val")


def test_prepared_is_the_middle_of_the_resized_picture(tmp_path):
    fill(tmp_path, 1, 7)
    data = folder(tmp_path)
    (row,) = data.whole("train")
    x = data.prepared(row["image"], "image")
    assert torch.equal(x, data.domains["image"].to_tensor(row["image"][1:9, 1:9]))
    wide = np.zeros((20, 30, 3), np.uint8)
    wide[:, 14:] = 255
    x = folder(tmp_path, load_size=10).prepared(wide, "image")
    assert x.shape == (3, 8, 8) and (x[..., :4] == -1).all() and (x[..., 4:] == 1).all()
    with pytest.raises(UserError, match="a picture of 6 x 30 is smaller than crop_size 8"):
        data.prepared(np.zeros((30, 6, 3), np.uint8), "image")


def test_what_is_wrong_with_the_folder(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist\..* Look here$"):
        folder(tmp_path / "nowhere", hint=" Look here")
    (tmp_path / "x.gif").write_bytes(b"GIF89a")
    with pytest.raises(
        UserError, match=r"holds no picture \(.*x\.gif\)\. Put the training pictures there\. Look here$"
    ):
        folder(tmp_path, hint=" Look here")
    fill(tmp_path, 3)
    assert any("x.gif" in note for note in folder(tmp_path).notes)
    with pytest.raises(
        UserError, match=r"3 pictures are smaller than data.crop_size 12, the first .*000\.png, 10 x 10"
    ):
        folder(tmp_path, crop_size=12)
    with pytest.raises(UserError, match=r"data.a.channels is 1, but 3 of 3 pictures have 3"):
        folder(tmp_path, a={"channels": 1})
    for number in range(3):
        (tmp_path / f"{number:03d}.png").write_bytes(b"%PDF")
    with pytest.raises(UserError, match=r"3 of 3 training files are broken"):
        folder(tmp_path)


def test_a_broken_picture_is_replaced_and_named(tmp_path):
    fill(tmp_path, 4)
    path = tmp_path / "001.png"
    path.write_bytes(path.read_bytes()[:-20])
    data = folder(tmp_path)
    assert [report.path for report in data.item(0, 1)[1]] == [str(path)]
    for workers in (0, 2):
        said = []
        batches = load(data, 4, workers=workers, say=said.append)
        assert len(batches) == 4 and len(said) == 1 and said[0].startswith(f"{path} is broken")
    with pytest.raises(UserError, match=r"001\.png: "):
        list(data.whole("train"))


def test_the_same_pictures_with_any_number_of_workers_and_from_any_start(tmp_path):
    fill(tmp_path, 7)
    data = folder(tmp_path, transform="affine")
    alone = load(data, 8)
    for workers, start in ((2, 0), (0, 3), (2, 3)):
        batches = load(data, 8 - start, workers=workers, start_batch=start)
        assert all(torch.equal(one["image"], two["image"]) for one, two in zip(batches, alone[start:], strict=True))


@pytest.mark.parametrize("below", [".", "images"])
def test_the_cats(real_data, below):
    data = folder(real_data("afhq_cat100") / below, load_size=64, crop_size=64)
    assert len(data) == 100 and not data.broken and not data.notes and data.domains["image"].channels == 3
    first = next(data.whole("train"))["image"]
    assert (
        first.shape == (256, 256, 3) and hashlib.md5(first.tobytes()).hexdigest() == "74ebd18f2911548fd727395aa917d445"
    )
    one, two = (load(data, 2, workers=workers, start_batch=32) for workers in (0, 2))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(one, two))
