"""`i2i data check`: every kind of fault is found, with its files and its remedy, and nothing else is."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from scenes import labels, paired, save, scene, side_by_side

from i2i.errors import UserError
from i2i.prepare.check import check


@pytest.fixture
def pairs(tmp_path):
    return paired(tmp_path / "pairs")


@pytest.fixture
def halves(tmp_path):
    return side_by_side(tmp_path / "halves")


def problems(report):
    return {found.kind: found for found in report.problems}


def notes(report):
    return {found.kind: found for found in report.notes}


def files(found):
    return [seen.file for seen in found.files]


def only(report, kind, *names):
    """The report has this one problem, on these files; returns it."""
    assert [found.kind for found in report.problems] == [kind], report.as_text()
    found = report.problems[0]
    assert files(found) == list(names) and found.count == len(names) and found.problem
    return found


@pytest.mark.parametrize("make", [paired, side_by_side])
def test_a_sound_folder_has_no_problems_and_no_notes(tmp_path, make):
    report = check(make(tmp_path / "sound"), workers=0, crop=96)
    assert not report.problems and not report.notes, report.as_text()
    assert "No problems." in report.as_text()


# --------------------------------------------------------------------------------------------------- broken files


def lfs(path):
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def cut_jpeg(path):
    save(path.with_suffix(".jpg"), cv2.imread(str(path)))
    path.write_bytes(path.with_suffix(".jpg").read_bytes()[:-200])
    path.with_suffix(".jpg").unlink()


def damaged(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def not_finite(path):
    pixels = np.zeros((96, 96, 3), np.float32)
    pixels[3, 4] = np.nan
    np.save(path.with_suffix(".npy"), pixels)
    path.with_suffix(".npy").rename(path)


@pytest.mark.parametrize(
    ("harm", "kind", "remedy"),
    [
        (lambda path: path.write_bytes(b""), "empty", "again"),
        (cut, "truncated", "again"),
        (cut_jpeg, "truncated", "again"),
        (damaged, "unreadable", "again"),
        (lfs, "git-lfs", "git lfs pull"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html><html>404</html>"), "web-page", "Download"),
        (lambda path: path.write_bytes(b"GIF89a" + bytes(90)), "not-a-picture", "Convert"),
        (not_finite, "nonfinite", "nan_to_num"),
    ],
)
def test_a_broken_file(pairs, harm, kind, remedy):
    harm(pairs / "train/B/3.png")
    found = only(check(pairs, workers=0), kind, "train/B/3.png")
    assert remedy in found.remedy and found.files[0].why


def test_a_broken_file_of_pictures_side_by_side_counts_once(halves):
    cut(halves / "val/12.png")
    only(check(halves, workers=0), "truncated", "val/12.png")


def test_several_pages_are_a_problem_and_the_first_is_looked_at(pairs):
    page = cv2.cvtColor(scene(3), cv2.COLOR_BGR2RGB)
    with tifffile.TiffWriter(pairs / "train/A/3.tif") as out:
        out.write(page, photometric="rgb")
        out.write(page, photometric="rgb")
    (pairs / "train/A/3.png").unlink()
    report = check(pairs, workers=0)
    assert "data.a.page=0" in only(report, "pages", "train/A/3.tif").remedy
    assert report.facts["parts"][0]["read"] == 10


def test_too_many_pixels_name_the_variable(pairs, monkeypatch):
    save(pairs / "train/A/big.png", scene(50, 120))
    save(pairs / "train/B/big.png", scene(50, 120))
    monkeypatch.setenv("I2I_MAX_PIXELS", str(96 * 96))
    found = only(check(pairs, workers=0), "too-large", "train/A/big.png", "train/B/big.png")
    assert "I2I_MAX_PIXELS" in found.remedy


def test_constant_pictures(pairs, halves):
    save(pairs / "train/B/5.png", np.full((96, 96, 3), 7, np.uint8))
    only(check(pairs, workers=0), "constant", "train/B/5.png")
    pixels = cv2.imread(str(halves / "train/5.png"))
    pixels[:, 96:] = 7
    save(halves / "train/5.png", pixels)
    assert only(check(halves, workers=0), "constant", "train/5.png").files[0].why == "its half B"


# ---------------------------------------------------------------------------------------------------------- pairs


def test_missing_partners_on_both_sides(pairs):
    (pairs / "train/B/2.png").unlink()
    (pairs / "val/A/11.png").unlink()
    found = only(check(pairs, workers=0), "no-partner", "train/A/2.png", "val/B/11.png")
    assert [seen.why for seen in found.files] == ["is in A, and not in B", "is in B, and not in A"]


def test_sizes_that_differ_in_a_pair(pairs):
    save(pairs / "train/B/4.png", labels(scene(4, 100))[:96])
    found = only(check(pairs, workers=0), "pair-sizes", "train/A/4.png")
    assert found.files[0].why == "96 x 96, its partner 100 x 96"


def test_an_odd_width_cannot_hold_two(halves):
    save(halves / "train/1.png", cv2.imread(str(halves / "train/1.png"))[:, :-1])
    only(check(halves, workers=0), "odd-width", "train/1.png")


def test_two_files_of_one_stem(pairs):
    save(pairs / "train/A/1.bmp", scene(1))
    report = check(pairs, workers=0)
    assert files(problems(report)["same-stem"]) == ["train/A/1.png"]
    assert problems(report)["same-stem"].files[0].why == "as train/A/1.bmp"


def test_a_pair_out_of_place(pairs):
    for place in ("train/B/6.png", "val/B/12.png"):
        pixels = cv2.imread(str(pairs / place))
        save(pairs / place, np.roll(pixels, (-4, 7), (0, 1)))
    found = only(check(pairs, workers=0), "misaligned", "train/A/6.png", "val/A/12.png")
    assert found.files[0].why == "B lies 7 px right and 4 px above of A"


# -------------------------------------------------------------------------------------------------------- domains


def test_grey_among_rgb_is_a_note_and_other_mixtures_are_problems(tmp_path):
    for index in range(8):
        save(tmp_path / "trainA" / f"a{index}.png", scene(index))
        save(tmp_path / "trainB" / f"b{index}.png", scene(index + 20))
    save(tmp_path / "trainA/a3.png", scene(3)[:, :, 0])
    report = check(tmp_path, workers=0)
    assert not report.problems and files(notes(report)["grey"]) == ["trainA/a3.png"]
    np.save(tmp_path / "trainA/a3.npy", scene(30)[:, :, [0, 1, 2, 0, 1]])
    save(tmp_path / "trainB/b2.png", scene(22).astype(np.uint16) * 257)
    report = check(tmp_path, workers=0)
    assert files(problems(report)["mixed-channels"]) == ["trainA/a3.npy", "trainA/a3.png"]
    assert files(problems(report)["mixed-depth"]) == ["trainB/b2.png"]
    assert problems(report)["mixed-depth"].files[0].why == "16 bits a channel"


def test_the_crop_and_its_remedy(pairs, halves):
    assert only(check(halves, workers=0, crop=97), "too-small", *(f"train/{i}.png" for i in range(10)),
                *(f"val/{i}.png" for i in range(10, 14))).remedy.startswith("Set data.load_size=97")  # fmt: skip
    save(pairs / "train/A/0.png", scene(0, 80))
    save(pairs / "train/B/0.png", labels(scene(0, 80)))
    found = only(check(pairs, workers=0, crop=96), "too-small", "train/A/0.png", "train/B/0.png")
    assert found.files[0].why == "80 x 80"


def test_the_range_of_floats_is_ready_to_paste(pairs):
    for file in sorted(pairs.glob("*/B/*.png")):
        pixels = cv2.imread(str(file))[:, :, 0]
        np.save(file.with_suffix(".npy"), pixels.astype(np.float32) * 10 - 1000)
        file.unlink()
    report = check(pairs, workers=0)
    found = notes(report)["range"]
    assert not report.problems and found.remedy == "data.b.range='[-400.0, 1600.0]'"
    assert "    -> data.b.range='[-400.0, 1600.0]'" in report.as_text().splitlines()


def test_twelve_bits_in_sixteen_are_said(tmp_path):
    for index in range(6):
        save(tmp_path / f"{index}.png", scene(index).astype(np.uint16) * 16)
    found = notes(check(tmp_path, workers=0))["few-levels"]
    assert found.remedy == "data.a.range='[0, 4095]'  (data.b.range where these are domain B)"
    for index in range(6):
        save(tmp_path / f"{index}.png", scene(index).astype(np.uint16) * 257)
    assert "few-levels" not in notes(check(tmp_path, workers=0))


def test_a_suffix_that_lies_and_what_reading_changes(pairs):
    Image.open(pairs / "train/A/1.png").save(pairs / "train/A/1.tif")
    (pairs / "train/A/1.tif").rename(pairs / "train/A/1.png")
    image = Image.open(pairs / "train/A/2.png").convert("RGBA")
    image.save(pairs / "train/A/2.png")
    report = check(pairs, workers=0)
    assert not report.problems
    assert notes(report)["suffix"].files[0] == ("train/A/1.png", "holds TIFF")
    assert notes(report)["read-as"].message == "1 of 14 pictures of A with alpha, which is set aside."


def test_what_nothing_reads(pairs):
    (pairs / "train/A/x.gif").write_bytes(b"GIF89a")
    (pairs / "README.md").write_text("not a picture, and nobody says it is")
    save(pairs / "validation/A/1.png", scene(90))
    for side, pixels in (("A", scene(91)), ("B", labels(scene(91)))):
        save(pairs / "train" / side / "more/deep/1.png", pixels)  # read like the others
    report = check(pairs, workers=0)
    assert not report.problems
    assert files(notes(report)["other-kinds"]) == ["train/A/x.gif"]
    assert files(notes(report)["outside"]) == ["validation/A/1.png"]


# ----------------------------------------------------------------------------------------------------- duplicates


def test_a_pair_of_train_in_val(pairs):
    for side in "AB":
        shutil.copy(pairs / f"train/{side}/2.png", pairs / f"val/{side}/copy.png")
    found = only(check(pairs, workers=0), "duplicates", "val/A/copy.png")
    assert found.files[0].why == "is train/A/2.png"


def test_a_label_map_alone_may_be_there_twice(pairs):
    shutil.copy(pairs / "train/B/2.png", pairs / "val/B/11.png")
    assert "duplicates" not in problems(check(pairs, workers=0))


def test_equal_constant_pictures_are_no_duplicates(tmp_path):
    for index in range(6):
        save(tmp_path / "train" / f"{index}.png", scene(index))
        save(tmp_path / "test" / f"{index}.png", scene(index + 20))
    for place in ("train/x.png", "test/y.png"):
        save(tmp_path / place, np.full((96, 96, 3), 9, np.uint8))
    report = check(tmp_path, workers=0)
    only(report, "constant", "train/x.png", "test/y.png")
    assert not report.notes


def test_a_picture_saved_again_in_test(tmp_path):
    for index in range(8):
        save(tmp_path / "trainA" / f"a{index}.png", scene(index))
        save(tmp_path / "trainB" / f"b{index}.png", scene(index + 20))
        save(tmp_path / "testA" / f"ta{index}.png", scene(index + 40))
        save(tmp_path / "testB" / f"tb{index}.png", scene(index + 60))
    cv2.imwrite(str(tmp_path / "testB/again.jpg"), cv2.resize(scene(25), (60, 60)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    shutil.copy(tmp_path / "trainA/a1.png", tmp_path / "trainA/a1_copy.png")
    cv2.imwrite(str(tmp_path / "testA/same.tif"), scene(3))  # other bytes, the same pixels
    report = check(tmp_path, workers=0)
    assert problems(report)["near-duplicates"].files == [("testB/again.jpg", "is almost trainB/b5.png")]
    assert problems(report)["duplicates"].files == [("testA/same.tif", "is trainA/a3.png")]
    assert notes(report)["duplicates-inside"].files == [("trainA/a1_copy.png", "is trainA/a1.png")]
    assert len(report.problems) == 2 and len(report.notes) == 1


# --------------------------------------------------------------------------------------------------------- report


def test_the_text_shows_three_files_and_fits_the_page(pairs):
    for index in range(5):
        cut(pairs / f"train/A/{index}.png")
    text = check(pairs, workers=0).as_text()
    assert "truncated: 5 files are cut off." in text and "... and 2 more" in text
    assert text.count("train/A/") == 3 and f"i2i data check {pairs} --json" in text
    assert max(map(len, text.splitlines())) <= 100 + len(str(pairs))
    assert "  train A        10  PNG     96 x 96         3         8     " in text


def test_the_json_is_strict_and_holds_all_files(pairs):
    for index in range(5):
        cut(pairs / f"train/A/{index}.png")
    report = check(pairs, workers=0)
    plain = json.loads(report.as_json(), parse_constant=lambda word: pytest.fail(word))
    assert [entry["file"] for entry in plain["problems"][0]["files"]] == [f"train/A/{i}.png" for i in range(5)]
    assert plain["problems"][0]["count"] == 5
    part = plain["facts"]["parts"][0]
    assert (part["split"], part["domain"], part["files"], part["read"]) == ("train", "A", 10, 5)
    assert part["width"] == [96, 96, 96] and part["channels"] == {"3": 5} and part["formats"] == {"PNG": 5}
    assert plain["facts"]["domains"]["a"]["range"] == [0, 255]


def test_a_name_that_is_no_text_does_not_break_the_report(tmp_path):
    for index in range(3):
        save(tmp_path / f"{index}.png", scene(index))
    os.rename(tmp_path / "1.png", os.path.join(os.fsencode(tmp_path), b"\xff\xfe.png"))
    (tmp_path / "2.png").write_bytes(b"")
    os.rename(tmp_path / "2.png", os.path.join(os.fsencode(tmp_path), b"\xff.png"))
    report = check(tmp_path, workers=0)
    json.loads(report.as_json())
    report.as_text().encode("utf-8")


@pytest.mark.parametrize("workers", [0, 2])
def test_progress_reaches_the_end(tmp_path, workers):
    seen = []
    root = paired(tmp_path, train=40, val=8, size=32)
    check(root, workers=workers, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (48, 48) and seen == sorted(seen) and len(seen) >= 8


def test_a_wrong_cap_is_said_once(pairs, monkeypatch):
    monkeypatch.setenv("I2I_MAX_PIXELS", "many")
    with pytest.raises(UserError, match="I2I_MAX_PIXELS=many"):
        check(pairs, workers=0)


@pytest.mark.parametrize(
    "name",
    [
        "horse2zebra",
        "maps",
        "edges2shoes",
        "afhq_cat100",
        "facades/val",
        pytest.param("facades", marks=pytest.mark.slow),
    ],
)
def test_real_sets_have_no_problems(real_data, name):
    report = check(real_data(name.partition("/")[0]).joinpath(*name.split("/")[1:]), crop=256)
    assert not report.problems, report.as_text()
    assert [found.kind for found in report.notes] == (["grey"] if name == "horse2zebra" else [])


def test_folders_of_other_names_are_told_apart(tmp_path):
    root = paired(tmp_path / "pairs")
    for side, name in (("A", "photos"), ("B", "drawings")):
        shutil.move(root / "train" / side, root / name)
    for split in ("train", "val", "test"):
        shutil.rmtree(root / split, ignore_errors=True)
    assert "A is drawings, B is photos." in check(root, workers=0).as_text()
