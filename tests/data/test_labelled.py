"""Pictures with a class each: the three layouts, the labels, what is held out, and batches at once."""

import gzip
import hashlib
import itertools

import numpy as np
import pytest
import torch
from idxfiles import idx_bytes, lay_idx, numbered

from i2i.data import DATASETS
from i2i.data.domain import Domain
from i2i.data.labelled import Labelled
from i2i.data.pictures import write
from i2i.data.pictureset import PictureSet
from i2i.data.stream import Loader
from i2i.errors import UserError

AUTO = {"channels": "auto", "range": "auto", "page": None}


def labelled(path, **changed) -> Labelled:
    given = {"load_size": None, "crop_size": 8, "flip": False, "transform": None, "seed": 2, "a": AUTO}
    return DATASETS.build("labelled", path=path, **{**given, **changed})


def load(data, count: int, **options) -> list[dict[str, torch.Tensor]]:
    loader = Loader(data, **{"batch_size": 4, "seed": 2, "say": pytest.fail, **options})
    try:
        return list(itertools.islice(loader, count))
    finally:
        loader.close()


def lay_cifar(root, each=4, names=("plane", "car", "bird")):
    rng = np.random.default_rng(0)
    root.mkdir(exist_ok=True)
    records = rng.integers(0, 256, (6 * each, 3073), dtype=np.uint8)
    records[:, 0] = np.arange(6 * each) % len(names)
    for number, file in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        (root / file).write_bytes(records[number * each : (number + 1) * each].tobytes())
    (root / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    return records


def lay_folders(root, counts, split="train", size=9):
    for level, (name, count) in enumerate(counts.items()):
        (root / split / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write(root / split / name / f"{number:02d}.png", np.full((size, size, 3), 40 * level + number, np.uint8))
    return root


def firsts(rows) -> list[int]:
    return [int(row["image"][0, 0, 0]) for row in rows]


# ---------------------------------------------------------------------------------------------------- idx


@pytest.mark.parametrize("zipped", [False, True])
def test_the_idx_files(tmp_path, zipped):
    data = labelled(lay_idx(tmp_path, zipped=zipped))
    assert data.keys == data.keys_of({}) == ("image",) and data.sides_of == ("a",) and data.labelled
    assert data.domains == {"image": Domain(1, (0, 255), 8)} and data.held_out and not data.notes
    assert data.resolved() == {"a": {"channels": 1, "range": [0, 255], "page": None}}
    assert data.num_classes == 10 and data.class_names == list("0123456789") and data.resolved_args() == {"classes": 10}
    assert (
        len(data) == data.files == 20 and data.splits_there == ("train", "test") and data.count("test", "image") == 10
    )
    assert firsts(data.whole("train")) == list(range(20)) and firsts(data.whole("test")) == list(range(100, 110))
    assert firsts(data.previews(3)) == [100, 101, 102]
    assert [row["label"] for row in data.previews(3)] == data.labels("test")[:3].tolist()
    assert data.labels("test").dtype == np.int64 and data.labels("test").tolist() == list(range(10))
    row = next(data.whole("test"))["image"]
    assert row.shape == (8, 8, 1) and np.array_equal(row[1:, :, 0], numbered(1)[0, 1:])
    row[:] = 0
    data.labels("test")[:] = 9
    assert firsts(data.whole("test"))[0] == 100 and data.labels("test")[1] == 1, "what is returned is the caller's own"


def test_a_sample_is_a_picture_and_its_label(tmp_path):
    data = labelled(lay_idx(tmp_path, train_labels=[1, 0] * 10, t10k_labels=[0] * 10))
    item, broken = data.item(3, 5)
    assert list(item) == ["image", "label"] and broken == []
    assert torch.equal(item["image"], data.domains["image"].to_tensor(numbered(1, start=5)[0][..., None]))
    assert item["label"].dtype == torch.int64 and item["label"].shape == () and item["label"] == 0
    batch = load(data, 1)[0]
    assert batch["image"].shape == (4, 1, 8, 8) and batch["label"].shape == (4,) and batch["label"].dtype == torch.int64
    which = ((batch["image"][:, 0, 0, 0] + 1) * 127.5).round().long()
    assert torch.equal(batch["label"], (which + 1) % 2)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"flip": True},
        {"load_size": 12, "crop_size": 12},
        {"load_size": 8, "flip": True},
        {"load_size": 5, "crop_size": 5, "flip": True, "a": {"channels": 3}},
        {"crop_size": 6, "flip": True},
        {"transform": "d4"},
        {"a": {"range": [10, 200]}},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["idx", "cifar"])
def test_a_batch_is_its_items_bit_for_bit(tmp_path, kind, changed, monkeypatch):
    if kind == "idx":
        lay_idx(tmp_path)
    else:
        lay_cifar(tmp_path)
        changed = {"crop_size": 32, **{key: 4 * value if "size" in key else value for key, value in changed.items()}}
    data = labelled(tmp_path, **changed)
    places = [(epoch, index) for epoch in (0, 3) for index in (19, 0, 7, 7, 3, 4, 5, 6, 8)]
    expected = data.values(PictureSet.levels(data, places)[0])
    slow = not data.transform.still(*data.transform.shape)
    assert slow == (changed.get("transform") is not None or changed.get("crop_size") in (6, 24))
    if not slow:
        monkeypatch.setattr(data, "item", lambda *_: pytest.fail("sample by sample"))
    batch, broken = data.batch(places)
    assert list(batch) == ["image", "label"] and broken == []
    assert all(batch[key].dtype == expected[key].dtype and torch.equal(batch[key], expected[key]) for key in batch)
    assert batch["image"].is_contiguous()


def test_grey_is_replicated_where_three_channels_are_asked_for(tmp_path):
    data = labelled(lay_idx(tmp_path), a={"channels": 3, "range": "auto"})
    x = load(data, 1)[0]["image"]
    assert x.shape == (4, 3, 8, 8) and torch.equal(x[:, 0], x[:, 2]) and next(data.whole("test"))["image"].shape[2] == 3
    with pytest.raises(UserError, match=r"data.a.channels is 2, and .* is of pictures of 1\. .*Set .* to 1, or auto"):
        labelled(tmp_path, a={"channels": 2})
    with pytest.raises(UserError, match=r"data.a: range \[0, 300\] is not a range of 8-bit levels"):
        labelled(tmp_path, a={"range": [0, 300]})
    with pytest.raises(UserError, match=r"data.a.page is 1, and .* has no pages"):
        labelled(tmp_path, a={"page": 1})


def test_the_last_training_pictures_can_be_held_out(tmp_path):
    data = labelled(lay_idx(tmp_path), val=6)
    assert data.splits_there == ("train", "val", "test") and len(data) == 14 and data.count("val") == 6
    assert firsts(data.whole("val")) == list(range(14, 20)) and firsts(data.whole("train")) == list(range(14))
    assert data.labels("val").tolist() == [4, 5, 6, 7, 8, 9]
    assert data.splits["val"].pictures.base is not None, "a view: nothing is in memory twice"
    for val in (0, -1, 20):
        with pytest.raises(UserError, match=f"data.val is {val}, of 20 training pictures. Hold out at least 1"):
            labelled(tmp_path, val=val)
    cifar = tmp_path / "cifar"
    lay_cifar(cifar)
    assert labelled(cifar, val=3, crop_size=32).count("val") == 3


def test_the_count_of_classes_is_checked(tmp_path):
    root = lay_idx(tmp_path)
    assert labelled(root, classes=10).num_classes == 10
    with pytest.raises(UserError, match=r"data.classes is 12, and .*train-labels.* has 10. Set data.classes to 10"):
        labelled(root, classes=12)
    with pytest.raises(
        UserError, match=r"train-labels.*: picture 7 has the label 7, but data.classes is 7, so labels go from 0 to 6"
    ):
        labelled(root, classes=7)
    lay_idx(root, t10k_labels=[*range(9), 11])
    with pytest.raises(
        UserError, match=r"t10k-labels.*: picture 9 has the label 11, but training has 10 classes, .* Remove it"
    ):
        labelled(root)


def test_a_class_without_a_training_picture_is_said(tmp_path):
    data = labelled(lay_idx(tmp_path, train_labels=[0, 1, 3, 5] * 5, t10k_labels=[0] * 10))
    assert data.num_classes == 6 and len(data.notes) == 1
    assert data.notes[0].endswith("train-labels-idx1-ubyte: no training picture is of class 2, 4")


def test_files_that_are_missing_or_do_not_fit(tmp_path):
    root = lay_idx(tmp_path)
    (root / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        UserError, match=r"lacks t10k-labels-idx1-ubyte \(or the same .gz\)\. Put it there\. Look here$"
    ):
        labelled(root, hint=" Look here")
    (root / "t10k-images-idx3-ubyte").unlink()
    assert labelled(root).splits_there == ("train",) and not labelled(root).held_out
    (root / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(19, np.uint8)))
    with pytest.raises(
        UserError, match=r"train-images-idx3-ubyte holds 20 pictures, and .* 19 labels. One label belongs"
    ):
        labelled(root)
    (root / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="lacks train-labels-idx1-ubyte"):
        labelled(root)
    with pytest.raises(UserError, match=r"nowhere does not exist\..* Look here$"):
        labelled(tmp_path / "nowhere", hint=" Look here")
    with pytest.raises(
        UserError, match=r"the pictures are 8 x 8 \(.*\), smaller than data.crop_size 12. Set data.load_size=12"
    ):
        labelled(lay_idx(root), crop_size=12)


IMAGES = idx_bytes(numbered(20))


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (b"", "does not begin as an idx file; it is an empty file"),
        (b"<html>404</html>", "does not begin as an idx file; it is a web page"),
        (IMAGES[:3], "does not begin as an idx file"),
        (IMAGES[:9], "cut off within its header"),
        (IMAGES[:-1], r"cut off: its header says 20 x 8 x 8 values, and 1,279 are there"),
        (IMAGES + b"\0", "more follows the 20 x 8 x 8 values that its header says"),
        (b"\0\0\x0d" + IMAGES[3:], "values are of type 0x0d; pictures and labels are bytes"),
        (idx_bytes(np.zeros(20, np.uint8)), "has 1 dimension, and is to hold pictures, of 3 dimensions"),
        (idx_bytes(np.zeros((0, 8, 8), np.uint8)), "says 0 x 8 x 8 values, so it holds nothing"),
        (idx_bytes(np.zeros((3, 8, 0), np.uint8)), "says 3 x 8 x 0 values, so it holds nothing"),
        (IMAGES[:4] + b"\xff" * 12 + IMAGES[16:], r"cut off: its header says 4294967295 x .* and 1,280 are there"),
        (gzip.compress(IMAGES)[:-9], "gzip data are cut off"),
        (gzip.compress(IMAGES)[:-8] + b"\0" * 8, "gzip data are damaged .*CRC"),
        (gzip.compress(IMAGES)[:10] + b"\xff" * 30, "gzip data are damaged"),
        (gzip.compress(IMAGES) + b"junk", "gzip data are damaged"),
        (gzip.compress(IMAGES + b"\0"), "more follows"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_idx_file_is_one_sentence(tmp_path, damaged, words):
    root = lay_idx(tmp_path)
    (root / "train-images-idx3-ubyte").write_bytes(damaged)
    with pytest.raises(UserError, match=rf"train-images-idx3-ubyte: .*{words}"):
        labelled(root)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_whatever_happens_to_an_idx_file_no_fault_of_the_code_is_met(tmp_path, seed, zipped, kind):
    """Bytes flipped, cut, doubled and put in anywhere: the file is read as what it says, or refused in words."""
    root = lay_idx(tmp_path, zipped=zipped)
    path = root / f"train-{kind}-ubyte{'.gz' if zipped else ''}"
    whole, rng, refused = path.read_bytes(), np.random.default_rng(seed), 0
    for _ in range(60):
        data = bytearray(whole)
        place = int(rng.integers(len(data))) if rng.random() < 0.5 else int(rng.integers(min(20, len(data))))
        way = rng.integers(4)
        if way == 0:
            data[place] = int(rng.integers(256))
        elif way == 1:
            del data[place:]
        elif way == 2:
            data[place:place] = rng.integers(0, 256, int(rng.integers(1, 20)), dtype=np.uint8).tobytes()
        else:
            data += data[place:]
        path.write_bytes(data)
        try:
            loaded = labelled(root)
            assert loaded.count("train") == len(loaded.labels("train")) == len(list(loaded.whole("train")))
        except UserError as error:
            assert str(error).count("\n") == 0 and str(root) in str(error)
            refused += 1
    assert refused > 25


def test_a_file_is_told_by_its_contents(tmp_path):
    root = lay_idx(tmp_path)
    path = root / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(path.read_bytes()))
    (root / "t10k-images-idx3-ubyte").rename(root / "t10k-images-idx3-ubyte.gz")
    assert firsts(labelled(root).whole("test")) == list(range(100, 110)) and len(labelled(root)) == 20
    (root / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(numbered(10, start=50)))
    assert firsts(labelled(root).whole("test"))[0] == 50, "the unpacked file goes before the packed one"


# ---------------------------------------------------------------------------------------------------- CIFAR-10


def test_the_binary_files_of_cifar(tmp_path):
    records = lay_cifar(tmp_path)
    data = labelled(tmp_path, crop_size=32)
    assert data.class_names == ["plane", "car", "bird"] and len(data) == 20 and data.count("test") == 4
    assert (
        data.domains["image"] == Domain(3, (0, 255), 8) and data.labels("train").tolist() == (records[:20, 0]).tolist()
    )
    for number, row in enumerate(data.whole("train")):
        red, green, blue = records[number, 1:].reshape(3, 32, 32)
        assert np.array_equal(row["image"], np.dstack([red, green, blue]))
    assert np.array_equal(next(data.whole("test"))["image"][3, 5], records[20, 1:].reshape(3, 32, 32)[:, 3, 5])


def test_what_is_wrong_with_the_binary_files(tmp_path):
    lay_cifar(tmp_path)
    file = tmp_path / "data_batch_4.bin"
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole + b"\0", b""):
        file.write_bytes(damaged)
        with pytest.raises(
            UserError, match=rf"data_batch_4.bin: it has {len(damaged):,} bytes, which is no whole number"
        ):
            labelled(tmp_path, crop_size=32)
    file.unlink()
    with pytest.raises(UserError, match=r"lacks data_batch_4.bin. Put all five training files there"):
        labelled(tmp_path, crop_size=32)
    file.write_bytes(b"\3" + whole[1:])
    with pytest.raises(UserError, match=r"data_batch_\*.bin: picture 12 has the label 3, but training has 3 classes"):
        labelled(tmp_path, crop_size=32)
    with pytest.raises(UserError, match=r"data.classes is 4, and .* has 3"):
        labelled(tmp_path, crop_size=32, classes=4)
    (tmp_path / "batches.meta.txt").unlink()
    assert labelled(tmp_path, crop_size=32).class_names == list("0123")
    (tmp_path / "batches.meta.txt").write_text("\n")
    with pytest.raises(UserError, match=r"batches.meta.txt names no class"):
        labelled(tmp_path, crop_size=32)


def test_pickles_are_not_opened(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="CIFAR-10 for Python, which is pickles: .*Use its binary version. Look here"):
        labelled(tmp_path, hint=" Look here")


# ---------------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize("alone", [False, True])
def test_a_folder_for_each_class(tmp_path, alone):
    lay_folders(tmp_path, {"cat": 3, "dog": 2, "wild": 4}, "." if alone else "train")
    lay_folders(tmp_path, {"wild": 2, "cat": 1, "dog": 0}, "test")
    data = labelled(tmp_path)
    assert data.class_names == ["cat", "dog", "wild"] and data.splits_there == ("train", "test") and not data.notes
    assert data.labels("train").tolist() == [0] * 3 + [1] * 2 + [2] * 4 and data.labels("test").tolist() == [0, 2, 2]
    assert firsts(data.whole("train")) == [0, 1, 2, 40, 41, 80, 81, 82, 83]
    assert firsts(data.whole("test")) == [40, 0, 1] and data.transform.shape is None
    batch = load(data, 1, batch_size=9)[0]
    assert torch.equal((((batch["image"][:, 0, 0, 0] + 1) * 127.5).round() // 40).long(), batch["label"])


def test_the_label_of_a_broken_picture_goes_with_it(tmp_path):
    root = lay_folders(tmp_path, {"cat": 1, "dog": 2})
    (root / "train/cat/00.png").write_bytes((root / "train/cat/00.png").read_bytes()[:-20])
    item, broken = labelled(root).item(0, 0)
    assert item["label"] == 1 and [report.path for report in broken] == [str(root / "train/cat/00.png")]
    said = []
    batches = load(labelled(root), 3, batch_size=3, say=said.append)
    assert all(set(batch["label"].tolist()) == {1} for batch in batches) and len(said) == 1
    with pytest.raises(UserError, match=r"cat/00\.png: "):
        list(labelled(root).whole("train"))


def test_of_class_folders_the_last_of_each_class_are_held_out(tmp_path):
    root = lay_folders(tmp_path, {"cat": 10, "dog": 20, "wild": 5})
    data = labelled(root, val=7)
    assert np.bincount(data.labels("val")).tolist() == [2, 4, 1] and np.bincount(data.labels("train")).tolist() == [
        8,
        16,
        4,
    ]
    assert firsts(data.whole("val")) == [8, 9, 56, 57, 58, 59, 84]
    assert sorted(firsts(data.whole("val")) + firsts(data.whole("train"))) == sorted(
        firsts(labelled(root).whole("train"))
    )
    lay_folders(tmp_path, {"cat": 1, "dog": 1}, "val")
    assert labelled(root).count("val") == 2
    with pytest.raises(UserError, match=r"data.val is 7, but .*val is there, which is val. Set data.val to null"):
        labelled(root, val=7)


def test_what_is_wrong_with_class_folders(tmp_path):
    with pytest.raises(UserError, match=r"has no layout of labelled data, which is a folder for each.*; it is empty"):
        labelled(tmp_path)
    root = lay_folders(tmp_path, {"cat": 2})
    with pytest.raises(UserError, match=r"train holds one class, cat, and .* or set data.kind=folder"):
        labelled(root)
    (root / "train/dog").mkdir()
    with pytest.raises(UserError, match=r"train/dog is the folder of a class and holds no picture"):
        labelled(root)
    lay_folders(root, {"dog": 2})
    write(root / "train/stray.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(
        UserError, match=r"1 picture lies in no folder of a class .* the first .*train/stray\.png\. Move"
    ):
        labelled(root)
    (root / "train/stray.png").unlink()
    lay_folders(root, {"owl": 2}, "test")
    with pytest.raises(UserError, match=r"test/owl is not a class of training, which are cat, dog"):
        labelled(root)
    (root / "test/owl").rename(root / "test/dog")
    assert labelled(root, classes=2).labels("test").tolist() == [1, 1]
    with pytest.raises(UserError, match=r"data.classes is 3, and .*train has 2"):
        labelled(root, classes=3)
    with pytest.raises(UserError, match=r"4 pictures are smaller than data.crop_size 12, .*cat/00.png, 9 x 9"):
        labelled(root, crop_size=12)


# ---------------------------------------------------------------------------------------------------- reading ahead


@pytest.mark.parametrize("changed", [{}, {"flip": True}, {"crop_size": 6, "flip": True}], ids=str)
def test_the_same_pictures_with_any_number_of_workers_and_from_any_start(tmp_path, changed):
    data = labelled(lay_idx(tmp_path), **changed)
    alone = load(data, 9)
    for workers, start in ((2, 0), (0, 3), (2, 3)):
        for one, two in zip(load(data, 9 - start, workers=workers, start_batch=start), alone[start:], strict=True):
            assert list(one) == ["image", "label"] and all(torch.equal(one[key], two[key]) for key in one)


def test_nothing_heavy_is_imported_for_pictures_that_are_left_alone(tmp_path, monkeypatch):
    from i2i.data import transform

    monkeypatch.setattr(transform, "_albumentations", lambda: pytest.fail("albumentations is not needed"))
    load(labelled(lay_idx(tmp_path), flip=True), 2)


def test_the_digits(real_data):
    data = labelled(real_data("mnist"), crop_size=28, val=5000)
    assert {split: data.count(split) for split in data.splits_there} == {"train": 55000, "val": 5000, "test": 10000}
    every = np.bincount(data.labels("train")) + np.bincount(data.labels("val"))
    assert every.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.labels("test")).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.labels("train")[:5].tolist() == [5, 0, 4, 1, 9] and data.labels("test")[:3].tolist() == [7, 2, 1]
    first = next(data.whole("train"))["image"]
    assert first.shape == (28, 28, 1) and hashlib.md5(first.tobytes()).hexdigest() == "2ce86e4daeeff3a0cdebce6897c784ba"
    one, two = (load(data, 3, batch_size=100, workers=workers, start_batch=548) for workers in (0, 2))
    assert all(torch.equal(a[key], b[key]) for a, b in zip(one, two) for key in a)
