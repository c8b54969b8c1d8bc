"""How a folder is laid out: every layout that is read, and the words for what is not one."""

import os
import subprocess

import cv2
import numpy as np
import pytest

from i2i.errors import UserError
from i2i.prepare.halves import seam, side_by_side
from i2i.prepare.layout import find

RNG = np.random.default_rng(0)


def picture(width=16, height=16, seed=None):
    rng = RNG if seed is None else np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def scene(width, height, seed):
    """Smooth, as photographs are: neighbouring columns are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def lay(tmp_path):
    """`lay("train/A", 3)` writes train/A/0.png, 1.png, 2.png; `names` or `made` for others."""

    def write(folder, count=3, *, names=None, made=picture):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(names or [f"{i}.png" for i in range(count)]):
            pixels = made() if made is picture else made(index)
            assert cv2.imwrite(str(tmp_path / folder / name), pixels)
        return tmp_path

    return write


def counts(layout):
    return {split: {side: len(files) for side, files in found.items()} for split, found in layout.splits.items()}


def test_two_folders_in_each_split(lay):
    for folder in ("train/A", "train/B", "val/A", "val/B"):
        root = lay(folder)
    layout = find(root)
    assert (layout.kind, layout.folders, layout.root) == ("two folders", None, root)
    assert counts(layout) == {"train": {"A": 3, "B": 3}, "val": {"A": 3, "B": 3}}
    assert layout.splits["train"]["B"][2] == str(root / "train/B/2.png")


def test_trainA_and_trainB_without_common_stems_are_unpaired(lay):
    lay("trainA", names=["x1.png", "x2.png"])
    root = lay("trainB", names=["y1.png", "y2.png", "y3.png"])
    assert find(root).kind == "unpaired" and counts(find(root)) == {"train": {"A": 2, "B": 3}}


def test_partners_are_matched_by_stem_whatever_the_suffix(lay):
    lay("trainA", names=["1.png", "2.png"])
    assert find(lay("trainB", names=["1.jpg", "2.bmp"])).kind == "two folders"


@pytest.mark.parametrize(
    ("a", "shared", "kind"), [(20, 18, "two folders"), (20, 17, "unpaired"), (4, 3, "two folders"), (4, 2, "unpaired")]
)
def test_a_few_lost_partners_leave_a_paired_set(lay, a, shared, kind):
    lay("trainA", a)
    root = lay("trainB", names=[f"{i}.png" if i < shared else f"other{i}.png" for i in range(a)])
    layout = find(root)
    assert layout.kind == kind
    assert (f"{shared} of {a} stems" in "".join(layout.notes)) == (kind == "unpaired")


def test_two_folders_of_any_name(lay):
    lay("targets")
    layout = find(lay("inputs"))
    assert (layout.kind, layout.folders) == ("two folders", ["inputs", "targets"])
    assert layout.splits["train"]["A"][0].endswith("inputs/0.png")


def test_two_folders_of_any_name_in_splits_and_splits_in_two_folders(lay, tmp_path):
    for folder in (
        "one/train/x",
        "one/train/y",
        "one/test/x",
        "one/test/y",
        "two/x/train",
        "two/y/train",
        "two/x/test",
    ):
        lay(folder)
    lay("two/y/test")
    for root in (tmp_path / "one", tmp_path / "two"):
        layout = find(root)
        assert (layout.kind, layout.folders) == ("two folders", ["x", "y"])
        assert counts(layout) == {"train": {"A": 3, "B": 3}, "test": {"A": 3, "B": 3}}


def test_A_and_B_without_a_split_are_named_for_the_recipe(lay):
    lay("A")
    layout = find(lay("B"))
    assert (layout.kind, layout.folders, list(layout.splits)) == ("two folders", ["A", "B"], ["train"])


def test_classes(lay):
    for name in ("cat", "dog", "fox"):
        root = lay(f"train/{name}", names=[f"{name}.png"])
    assert find(root).kind == "labelled" and counts(find(root)) == {"train": {"cat": 1, "dog": 1, "fox": 1}}
    assert find(root / "train").kind == "labelled"


def test_just_pictures(lay):
    root = lay("holiday/2020")
    layout = find(root)
    assert (layout.kind, layout.root, counts(layout)) == ("folder", root / "holiday" / "2020", {"train": {"": 3}})
    assert "holiday" in layout.notes[0] and "2020" in layout.notes[1]


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda i: picture(32, 16, i), "side by side"),
        (lambda i: scene(64, 32, i), "folder"),  # panoramas run on through their middle
        (lambda i: np.hstack([scene(32, 32, i), 255 - scene(32, 32, i + 50)]), "side by side"),
        (lambda i: scene(48, 32, i), "folder"),  # photographs are 3:2
        (lambda i: np.hstack([scene(96, 128, i), 255 - scene(96, 128, i + 50)]), "side by side"),
        (lambda i: picture(16, 16, i), "folder"),
        (lambda i: picture(31, 16, i), "folder"),
    ],
)
def test_side_by_side_is_told_from_wide(lay, made, kind):
    assert find(lay("train", 12, made=made)).kind == kind


def test_real_pairs_are_side_by_side_and_real_wide_pictures_are_not(real_data, tmp_path):
    for name in ("facades", "maps", "edges2shoes"):
        assert find(real_data(name)).kind == "side by side"
    from i2i.data.folders import listed
    from i2i.data.pictures import read

    for name, folder in (("horse2zebra", "trainA"), ("afhq_cat100", "images")):
        files, _ = listed(real_data(name) / folder)
        seams = [seam(read(file).pixels[:128]) for file in files]
        assert seams.count("runs on") > 0.5 * len(seams) and seams.count("cut") == 0
    pairs, _ = listed(real_data("facades") / "val")
    assert [seam(read(file).pixels) for file in pairs].count("runs on") == 0
    assert side_by_side(pairs) == (True, None)


def test_one_split_alone(lay):
    lay("train/A")
    root = lay("train/B")
    lay("val/A")
    lay("val/B")
    layout = find(root / "val")
    assert (layout.kind, layout.root, list(layout.splits), layout.folders) == ("two folders", root, ["val"], None)
    assert "others were not looked at" in layout.notes[0]


def test_a_split_of_another_layout_is_left_out_in_words(lay):
    lay("train/A")
    lay("train/B")
    layout = find(lay("val"))
    assert list(layout.splits) == ["train"] and "val is laid out in another way" in layout.notes[0]


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ([], "holds no pictures. It is empty"),
        (["trainA"], "trainB is not"),
        (["train/A"], "holds pictures and .*B none"),
        (["training", "testing"], "mv .*testing .*test"),
        (["Train", "Test"], "mv .*Test .*test"),
        (["training", "test"], "mv .*training .*train$"),
        (["train", "trainA", "trainB"], "Keep one of the two layouts"),
    ],
)
def test_what_is_no_layout_is_said_in_words(lay, tmp_path, folders, words):
    for folder in folders:
        lay(folder)
    with pytest.raises(UserError, match=words):
        find(tmp_path)


def test_no_folder_and_idx_files(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        find(tmp_path / "no")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"x")
    with pytest.raises(UserError, match="MNIST"):
        find(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        find(tmp_path / "train-images-idx3-ubyte.gz")


def test_the_command_of_a_remedy_survives_blanks_in_names(lay, tmp_path):
    for split in ("Train", "test"):
        lay(f"my scans/{split}")
    with pytest.raises(UserError) as caught:
        find(tmp_path / "my scans")
    subprocess.run(str(caught.value).partition("Rename it: ")[2], shell=True, check=True)
    assert list(find(tmp_path / "my scans").splits) == ["train", "test"]


def test_pairs_of_which_some_are_there_in_two_suffixes_are_pairs(lay):
    for folder in ("train/A", "train/B"):
        root = lay(folder, names=["0.png", "0.jpg", "1.png", "1.jpg", "2.png", "3.png"])
    assert find(root).kind == "two folders"


def test_a_tilde_of_nobody_is_a_plain_name(lay):
    root = lay("~nobody-of-this-name/train")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert find("~nobody-of-this-name").kind == "folder"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as POSIX has them")
def test_a_folder_that_may_not_be_listed_is_not_called_empty(lay, monkeypatch):
    lay("train/A")
    root = lay("train/B")
    listing = os.scandir

    def scandir(path="."):  # root may list everything, so the refusal is made up
        if os.fspath(path) == str(root / "train" / "B"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match="train/B cannot be listed: Permission denied. .*chmod -R u"):
        find(root)
