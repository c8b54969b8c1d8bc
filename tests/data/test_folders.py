"""Layouts of folders, and which picture belongs to which."""

import os
import sys
from pathlib import Path

import pytest

from i2i.data.folders import Files, listed, paired_splits, unpaired_splits
from i2i.errors import UserError


@pytest.fixture
def tree(tmp_path):
    """Makes empty files: nothing is opened when a folder is listed."""

    def make(*names: str):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if name.endswith("/") else path.touch()
        return tmp_path

    return make


def names(files: Files) -> list[str]:
    return list(files.names())


def test_names_come_back_from_the_buffer(tmp_path):
    given = ["a.png", "sub/b c.jpg", "ü\udcff.png", "日本.jpeg"]
    files = Files(tmp_path, given)
    assert names(files) == given and len(files) == 4
    assert list(files) == [os.path.join(tmp_path, name) for name in given]
    assert len(Files(tmp_path, [])) == 0 and list(Files(tmp_path, [])) == []
    for index in (4, -1):
        with pytest.raises(IndexError):
            files[index]


def test_a_hundred_thousand_names_are_small():
    files = Files("/data", (f"train/picture_{n:07d}.jpg" for n in range(100_000)))
    held = sum(
        sys.getsizeof(value) + getattr(getattr(value, "base", None), "__sizeof__", int)()
        for value in vars(files).values()
    )
    assert held < 40 * 100_000
    assert files[99_999] == "/data/train/picture_0099999.jpg"


def test_listing_is_sorted_recursive_and_leaves_hidden_files_alone(tree):
    root = tree(
        "b.png", "a10.JPG", "a9.jpeg", "sub/x.png", ".hidden.png", ".dir/y.png", "README.md", "z.heic", "sub/q.GIF"
    )
    files, notes = listed(root)
    assert names(files) == ["a10.JPG", "a9.jpeg", "b.png", "sub/x.png"]
    assert notes == [f"{root}: 2 files are of a kind that is not read, left out: sub/q.GIF, z.heic"]


def test_linked_folders_are_followed_once(tree):
    root = tree("in/a.png", "in/sub/b.png")
    (root / "in" / "sub" / "loop").symlink_to(root / "in")
    assert names(listed(root / "in")[0]) == ["a.png", "sub/b.png"]


def test_side_by_side(tree):
    splits = paired_splits(tree("train/2.jpg", "train/1.png", "train/sub/3.png", "test/9.jpg"), "")
    assert list(splits) == ["train", "test"] and splits["train"].b is None
    assert names(splits["train"].a) == ["1.png", "2.jpg", "sub/3.png"] and names(splits["test"].a) == ["9.jpg"]


@pytest.mark.parametrize("folder", ["train/", "train"])
def test_two_folders_are_matched_by_stem(tree, folder):
    given = ("A/x.png", "A/b.jpg", "A/b-2.png", "A/sub/c.png", "B/x.JPG", "B/b.png", "B/b-2.jpg", "B/sub/c.jpeg")
    split = paired_splits(tree(*(folder + name for name in given)), "")["train"]
    assert names(split.a) == ["b.jpg", "b-2.png", "sub/c.png", "x.png"]
    assert names(split.b) == ["b.png", "b-2.jpg", "sub/c.jpeg", "x.JPG"]
    assert all(os.path.exists(path) for files in (split.a, split.b) for path in files)


@pytest.mark.parametrize("between", ["/", ""])
def test_unpaired_folders_need_no_partners(tree, between):
    given = [("train", "A/1.png"), ("train", "A/2.png"), ("train", "B/z.jpg"), ("test", "A/3.png"), ("test", "B/4.png")]
    splits = unpaired_splits(tree(*(between.join(name) for name in given)), "")
    assert names(splits["train"].a) == ["1.png", "2.png"] and names(splits["train"].b) == ["z.jpg"]
    assert names(splits["test"].b) == ["4.png"] and "val" not in splits


def test_a_test_split_of_one_side_or_of_nothing_is_none(tree):
    root = tree("trainA/1.png", "trainB/2.png", "testA/3.png", "valA/", "valB/")
    assert list(unpaired_splits(root, "")) == ["train"]


FAULTS = [
    ([], paired_splits, r"has no layout of paired data, which is train/\*.*; it is empty. See there."),
    (
        ["images/a.png", "x/b.png"],
        paired_splits,
        r"no layout of paired data.*trainA \+ trainB; it holds images, x. See there.",
    ),
    (
        ["train/1.png"],
        unpaired_splits,
        r"no layout of unpaired data, which is trainA \+ trainB.*Pictures side by side are data.kind=paired",
    ),
    (["train/notes.txt"], paired_splits, r"train holds no picture\. Put .* See there."),
    (
        ["trainA/1.png", "trainB/2.gif"],
        unpaired_splits,
        r"trainB holds no picture \(.*1 file is of a kind that is not read, left out: 2\.gif\)",
    ),
    (["trainA/1.png"], unpaired_splits, r"trainA is there and .*trainB is not. Both are needed"),
    (["train/B/1.png"], paired_splits, r"train/B is there and .*train/A is not"),
    (["trainA/1.png", "trainB/1.png", "train/A/1.png"], paired_splits, "Keep one of the two layouts"),
    (
        ["trainA/1.png", "trainB/1.png", "train/1.png"],
        paired_splits,
        "side by side, and there are folders A and B too. Keep one",
    ),
    (
        ["train/A/1.png", "train/B/1.png", "train/1.png"],
        paired_splits,
        "side by side, and there are folders A and B too. Keep one",
    ),
    (
        ["trainA/1.png", "trainA/1.jpg", "trainB/1.png"],
        paired_splits,
        r"1\.jpg and 1\.png have the same stem.*Rename or remove one",
    ),
    (
        ["trainA/1.png", "trainB/2.png"],
        paired_splits,
        r"2 pictures have no partner of the same stem.*1\.png.*2\.png\. Add the partners",
    ),
    (
        ["trainA/1.png", "trainB/1.png", "testA/7.png", "testB/x/7.png"],
        paired_splits,
        r"2 pictures have no partner.*testA/7\.png",
    ),
]


@pytest.mark.parametrize(("given", "find", "words"), FAULTS, ids=[words[:40] for *_, words in FAULTS])
def test_what_is_wrong_with_a_folder_is_one_sentence(tree, given, find, words):
    with pytest.raises(UserError, match=words) as caught:
        find(tree(*given), " See there.")
    assert "\n" not in str(caught.value)


def test_missing_partners_are_counted_and_three_are_named(tree):
    root = tree("trainB/0.png", *(f"trainA/{n}.png" for n in range(6)))
    with pytest.raises(UserError, match=r"5 pictures have no partner .*/1\.png, .*/2\.png, .*/3\.png, \.\.\.\. Add"):
        paired_splits(root, "")


PLACES = {  # where the two folders may stand, and the splits that are found
    "in each split": (
        ["train/photos/1.png", "train/maps/1.jpg", "val/photos/2.png", "val/maps/2.png"],
        ["train", "val"],
    ),
    "on their own": (["photos/1.png", "maps/1.jpg", "else/9.png"], ["train"]),
    "on their own, with a test split": (
        ["photos/1.png", "maps/1.jpg", "test/photos/3.png", "test/maps/3.png"],
        ["train", "test"],
    ),
    "around the splits": (
        ["photos/train/1.png", "maps/train/1.jpg", "photos/test/3.png", "maps/test/3.png"],
        ["train", "test"],
    ),
}


@pytest.mark.parametrize("find", [paired_splits, unpaired_splits])
@pytest.mark.parametrize("place", PLACES)
def test_folders_of_other_names(tree, place, find):
    given, expected = PLACES[place]
    root = tree(*given)
    splits = find(root, "", ["photos", "maps"])
    assert list(splits) == expected
    found = [f"{os.path.relpath(path, root)}" for split in splits.values() for files in split[1:3] for path in files]
    assert sorted(found) == sorted(name for name in given if not name.startswith("else"))
    assert "photos" in splits["train"].a.folder and "maps" in splits["train"].b.folder
    turned = find(root, "", ("maps", "photos"))["train"]
    assert "maps" in turned.a.folder and "photos" in turned.b.folder


def test_folders_in_train_go_before_those_beside_it(tree):
    root = tree("train/x/1.png", "train/y/1.png", "x/2.png", "y/2.png")
    assert unpaired_splits(root, "", ["x", "y"])["train"].a.folder == str(root / "train/x")


def test_named_folders_that_are_paired_need_partners(tree):
    root = tree("rgb/1.png", "rgb/2.png", "depth/1.png")
    assert len(unpaired_splits(root, "", ["rgb", "depth"])["train"].a) == 2
    with pytest.raises(UserError, match=r"1 picture has no partner of the same stem .*rgb/2\.png"):
        paired_splits(root, "", ["rgb", "depth"])


WRONG_NAMES = [
    (["horse", "zebra"], r"has no folder 'horse'\. Did you mean 'horses'\? Folders there: horses, zebras\. Write two"),
    (["horses", "zebra"], r"has no folder 'zebra'\. Did you mean 'zebras'\?"),
    (["horses"], r"data.folders: \[horses\] names 1 folders\. Write two, \[A, B\], or null"),
    (["horses", "horses"], r"\[horses, horses\]: one is the other or lies in it"),
    (["horses", "horses/young"], "one is the other or lies in it"),
    (["horses", "../zebras"], r"'\.\./zebras' is not the name of a folder below data\.path"),
    (["", "zebras"], "is not the name of a folder below"),
    (["/horses", "zebras"], "'/horses' is not the name of a folder below"),
]


@pytest.mark.parametrize(("folders", "words"), WRONG_NAMES, ids=[words[-30:] for _, words in WRONG_NAMES])
@pytest.mark.parametrize("inside", ["train/", ""])
def test_wrong_names_of_folders_are_one_sentence(tree, folders, words, inside):
    root = tree(f"{inside}horses/young/1.png", f"{inside}zebras/1.png", ".hidden/1.png")
    with pytest.raises(UserError, match=words) as caught:
        unpaired_splits(root, "", folders)
    assert "\n" not in str(caught.value)


def test_named_folders_below_train_are_offered_from_there(tree):
    root = tree("train/cats/1.png", "train/dogs/1.png")
    with pytest.raises(
        UserError, match=r"/train has no folder 'dog'\. Did you mean 'dogs'\? Folders there: cats, dogs"
    ):
        unpaired_splits(root, "", ["cats", "dog"])
    empty = tree("empty/notes.txt") / "empty"
    with pytest.raises(UserError, match="empty has no folder 'cats'. It has no folders"):
        unpaired_splits(empty, "", ["cats", "dogs"])


@pytest.mark.parametrize("find", [paired_splits, unpaired_splits])
def test_no_such_folder_says_where_the_data_are_to_be_had(tmp_path, find):
    with pytest.raises(
        UserError, match=r"the folder .*missing does not exist. Set data.path .*\. Get it at example.org$"
    ):
        find(tmp_path / "missing", " Get it at example.org")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file, not a folder"):
        find(tmp_path / "file", "")


def test_a_sub_folder_that_may_not_be_listed_is_told(tree, monkeypatch):
    root = tree("a/1.png", "a/locked/2.png")
    listing = os.scandir

    def scandir(path="."):  # root may list everything, so the refusal is made up
        if os.fspath(path) == str(root / "a" / "locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files, notes = listed(root / "a")
    assert names(files) == ["1.png"]
    assert notes == [f"the folder {root / 'a' / 'locked'} cannot be listed (Permission denied) and is left out"]


@pytest.mark.parametrize("find", [paired_splits, unpaired_splits])
def test_a_relative_folder_that_is_not_there_says_from_where(tmp_path, monkeypatch, find):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"nowhere does not exist in {tmp_path}"):
        find(Path("nowhere"), "")
