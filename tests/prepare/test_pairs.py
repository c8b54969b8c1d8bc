"""Pairs made of any pictures: what the inputs are, where they go, and what is refused."""

import json
import os

import cv2
import numpy as np
import pytest

from i2i.data import DATASETS
from i2i.data.pictures import encode, read, write
from i2i.errors import UserError
from i2i.prepare import inputs
from i2i.prepare.pairs import BY, pairs

Y, X = np.mgrid[0:32, 0:40]
PICTURE = np.dstack([X * 6, Y * 7, (X + Y) * 3]).astype(np.uint8)  # (32, 40, 3)


@pytest.fixture
def photos(tmp_path):
    """Ten pictures, four of them in a sub-folder."""
    for number in range(10):
        path = tmp_path / "photos" / (f"near/{number}.png" if number < 4 else f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, np.roll(PICTURE, number, axis=1))
    return tmp_path / "photos"


def quiet(folder, **given):
    return pairs(folder, **{"say": lambda text: None, "val": 0, **given})


def made(out) -> dict[str, str]:
    """{stem: split} of what lies in both A and B."""
    found = {}
    for split in ("train", "val", "test"):
        sides = [
            {p.relative_to(out / split / side).with_suffix("").as_posix() for p in (out / split / side).rglob("*.*")}
            for side in "AB"
        ]
        assert sides[0] == sides[1]
        found |= dict.fromkeys(sides[0], split)
    return found


# ------------------------------------------------------------------------------------------------ the inputs


@pytest.mark.parametrize("depth", [8, 16])
def test_edges_are_drawn_where_the_picture_steps(depth):
    square = np.full((40, 40, 1), 40, np.uint8)
    square[12:28, 12:28] = 200
    drawn = inputs.canny(square if depth == 8 else square.astype(np.uint16) * 257, "x")
    assert drawn.dtype == np.uint8 and drawn.shape == (40, 40, 1) and set(np.unique(drawn)) == {0, 255}
    edge = drawn[..., 0] == 0
    rows, cols = np.nonzero(edge)
    assert rows.min() in (11, 12) and rows.max() in (27, 28) and cols.min() in (11, 12) and cols.max() in (27, 28)
    near = cv2.dilate((square[..., 0] == 200).astype(np.uint8), np.ones((3, 3))) - cv2.erode(
        (square[..., 0] == 200).astype(np.uint8), np.ones((3, 3))
    )
    assert not edge[near == 0].any(), "nothing but the border of the square"
    assert 50 < edge.sum() < 68, "about one pixel wide: the square is 16 px"


def test_a_dark_picture_has_the_edges_of_a_light_one():
    light = np.add.outer(np.arange(64), np.arange(64)) * 60.0  # a slow ramp, and on it three squares
    for top, left, level in ((6, 8, 60000), (10, 36, 30000), (38, 20, 45000)):
        light[top : top + 16, left : left + 20] = level
    light = light.astype(np.uint16)[..., None]
    drawn = inputs.canny(light, "x")
    assert 150 < (drawn == 0).sum() < 260, "the outlines of three squares of 16 x 20"
    for dark in (light // 20, light // 20 + 1000):
        assert (inputs.canny(dark.astype(np.uint16), "x") != drawn).mean() < 0.01
    on_white = np.full((64, 192, 1), 60000, np.uint16)
    on_white[:, 64:128] = light
    assert (inputs.canny(on_white, "x")[4:-4, 68:124] != drawn[4:-4, 4:-4]).mean() < 0.02


def test_a_constant_picture_has_no_edges():
    assert (inputs.canny(np.full((9, 9, 3), 7, np.uint8), "x") == 255).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_is_the_luma(dtype):
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 2.5}[dtype]
    pixels = np.zeros((1, 5, 3), dtype)
    pixels[0, 0], pixels[0, 1, 0], pixels[0, 2, 1], pixels[0, 3, 2] = top, top, top, top
    grey = inputs.gray(pixels, "x")
    assert grey.dtype == dtype and grey.shape == (1, 5, 1)
    assert np.abs(grey[0, :, 0] / top - [1, 0.299, 0.587, 0.114, 0]).max() < 0.003
    assert inputs.gray(grey, "x") is grey


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_blur_spreads_a_point_as_a_gaussian_and_keeps_the_sum(dtype, channels):
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 4.0}[dtype]
    point = np.zeros((41, 61, channels), dtype)
    point[20, 30] = top
    blurred = inputs.blur(point)
    assert blurred.shape == point.shape and blurred.dtype == dtype
    weights = np.exp(-0.5 * np.arange(-20, 21) ** 2)  # sigma 1, since 41 / 128 < 1
    expected = np.outer(weights, weights) / weights.sum() ** 2 * top
    for channel in range(channels):
        assert (
            np.abs(blurred[:, 10:51, channel] - expected).max() <= max(1, 0.01 * top) if dtype != np.float32 else 0.01
        )
    assert blurred[20, 30, 0] < 0.2 * top


def test_blur_grows_with_the_picture():
    row = np.zeros((512, 512, 1), np.float32)
    row[:, 256:] = 1
    slope = np.diff(inputs.blur(row)[256, :, 0])
    assert slope.max() == pytest.approx(1 / (4 * np.sqrt(2 * np.pi)), rel=0.02), "sigma is 512 / 128 = 4"


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_downscale_averages_areas(dtype, channels):
    blocks = np.arange(12, dtype=np.float32).reshape(3, 4, 1) * 16 + np.arange(channels)  # (3, 4, C)
    fine = blocks.repeat(4, axis=0).repeat(4, axis=1)
    fine[::2, ::2] += 8  # whose mean over each block is 2
    small = np.dstack([cv2.resize(fine[..., c], (4, 3), interpolation=cv2.INTER_AREA) for c in range(channels)])
    assert np.array_equal(small, blocks + 2)
    coarse = inputs.downscale(fine.astype(dtype), 4)
    assert coarse.shape == fine.shape and coarse.dtype == dtype
    flat = inputs.downscale(np.full((12, 16, channels), 77, dtype), 4)
    assert (flat == 77).all()
    inner = coarse[5:7, 6:10].astype(np.float64).mean((0, 1))  # around the centre of the grid of blocks 5 and 6
    assert np.abs(inner - (blocks[1, 1:3] + 2).mean(0)).max() <= 0.51, "averaged first, then interpolated"


def test_downscale_keeps_sizes_that_the_factor_does_not_divide():
    for shape, factor in (((31, 45, 3), 4), ((3, 50, 1), 8), ((1, 1, 3), 2)):
        assert inputs.downscale(np.full(shape, 9, np.uint8), factor).shape == shape


def test_a_hole_is_mid_grey_and_the_rest_untouched():
    hole = np.zeros((32, 40), bool)
    hole[3:9, 5:20] = True
    for pixels, middle in (
        (PICTURE, 128),
        (PICTURE.astype(np.uint16) * 257, 32768),
        (PICTURE.astype(np.float32) - 20, (float(PICTURE.max()) - 40) / 2),
    ):
        cut = inputs.masked(pixels, hole)
        assert cut.dtype == pixels.dtype and (cut[hole] == middle).all() and np.array_equal(cut[~hole], pixels[~hole])


def test_holes_derive_from_the_stem():
    holes = [inputs.drawn_hole(64, 96, f"picture {number}") for number in range(20)]
    assert all(np.array_equal(hole, inputs.drawn_hole(64, 96, f"picture {n}")) for n, hole in enumerate(holes))
    assert len({hole.tobytes() for hole in holes}) == 20
    assert all(0.01 < hole.mean() < 0.9 for hole in holes) and 0.1 < np.mean([hole.mean() for hole in holes]) < 0.5
    assert inputs.drawn_hole(1, 1, "x").shape == (1, 1)


# ------------------------------------------------------------------------------------------------ the folder


@pytest.mark.parametrize("by", BY)
def test_the_picture_is_the_target_and_the_folder_trains(photos, by):
    out = quiet(photos, by=by)
    assert out == photos.with_name(f"photos_{by}")
    assert made(out) == {f"near/{n}" if n < 4 else str(n): "train" for n in range(10)}
    for number, stem in ((2, "near/2"), (7, "7")):
        picture = np.roll(PICTURE, number, axis=1)
        assert np.array_equal(read(out / f"train/B/{stem}.png").pixels, picture)
        expected = {
            "canny": lambda x: inputs.canny(x, ""),
            "gray": lambda x: inputs.gray(x, ""),
            "blur": inputs.blur,
            "downscale": lambda x: inputs.downscale(x, 4),
            "mask": lambda x, stem=stem: inputs.masked(x, inputs.drawn_hole(32, 40, stem)),
        }[by](picture)
        assert np.array_equal(read(out / f"train/A/{stem}.png").pixels, expected)
    auto = {"channels": "auto", "range": "auto", "page": None}
    data = DATASETS.build(
        "paired", path=out, load_size=None, crop_size=16, flip=True, transform=None, seed=0, a=auto, b=auto
    )
    item, broken = data.item(0, 0)
    assert item["input"].shape[1:] == item["target"].shape[1:] == (16, 16) and len(data) == 10 and not broken


def test_sixteen_bits_stay_and_floats_become_tiff(tmp_path):
    (tmp_path / "deep").mkdir()
    deep = PICTURE.astype(np.uint16) * 200
    write(tmp_path / "deep/a.png", deep)
    out = quiet(tmp_path / "deep", by="downscale", factor=2)
    assert np.array_equal(read(out / "train/B/a.png").pixels, deep)
    assert np.array_equal(read(out / "train/A/a.png").pixels, inputs.downscale(deep, 2))
    (tmp_path / "float").mkdir()
    bands = np.dstack([PICTURE, PICTURE, PICTURE[..., :1]]).astype(np.float32) / 7 - 3
    np.save(tmp_path / "float/a.npy", bands)
    out = quiet(tmp_path / "float", by="blur")
    assert np.array_equal(read(out / "train/B/a.tif").pixels, bands)
    assert np.array_equal(read(out / "train/A/a.tif").pixels, inputs.blur(bands))
    again = sorted((p, p.stat().st_mtime_ns) for p in out.rglob("*.tif"))
    quiet(tmp_path / "float", by="blur")
    assert sorted((p, p.stat().st_mtime_ns) for p in out.rglob("*.tif")) == again
    with pytest.raises(UserError, match=r"a\.npy: it has 7 channels, and only RGB .* Use --by blur, downscale or mask"):
        quiet(tmp_path / "float", by="gray")
    with pytest.raises(UserError, match=r"a\.npy: edges are drawn of 8 and 16-bit pictures, and this one has float"):
        quiet(tmp_path / "float", by="canny")


def test_a_picture_stays_in_its_split_when_others_are_added(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        write(folder / f"{number}.png", PICTURE[:4, :4])
    out = quiet(folder, by="gray", val=0.3)
    first = made(out)
    assert 0.15 < list(first.values()).count("val") / 60 < 0.45
    for number in range(100, 140):
        write(folder / f"{number}.png", PICTURE[:4, :4])
    quiet(folder, by="gray", val=0.3)
    both = made(out)
    assert len(both) == 100 and all(both[stem] == split for stem, split in first.items())
    assert set(both.values()) == {"train", "val"}


def test_splits_that_are_there_are_kept(tmp_path):
    for name in ("train/a", "train/x/b", "test/c", "val/d"):
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "s" / f"{name}.png", PICTURE)
    out = quiet(tmp_path / "s", by="gray", val=0.9)
    assert made(out) == {"a": "train", "x/b": "train", "c": "test", "d": "val"}


def test_the_same_command_goes_on_and_another_is_refused(photos):
    said = []
    out = pairs(photos, by="mask", val=0, say=said.append)
    assert said == [f"{out}: 10 in train"] and json.loads((out / "pairs.json").read_text())["by"] == "mask"
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    (out / "train/A/7.png").unlink()
    (out / "train/B/8.png").unlink()
    steps = []
    quiet(photos, by="mask", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(n, 10) for n in range(1, 11)]
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    assert after.keys() == before.keys()
    assert {p.name for p in after if after[p] != before[p]} == {"7.png", "8.png"}
    for given in ({"by": "gray"}, {"by": "mask", "val": 0.2}, {"by": "mask", "masks": photos}):
        with pytest.raises(
            UserError, match=r"was made by another command \(.*pairs\.json says which\)\. Give .* --out NEW"
        ):
            quiet(photos, out=out, **given)
    (out / "pairs.json").write_text("{")
    with pytest.raises(UserError, match="was made by another command"):
        quiet(photos, by="mask")


def test_a_folder_of_something_else_is_left_alone(photos, tmp_path):
    mine = tmp_path / "photos_gray"
    mine.mkdir()
    quiet(photos, by="gray")  # an empty folder may be used
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    for out in (tmp_path / "mine", tmp_path / "mine/notes.txt"):
        with pytest.raises(
            UserError, match=r"is there already, and not of this command\. Give another folder: --out NEW"
        ):
            quiet(photos, by="gray", out=out)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_masks_by_stem_and_from_a_pool(photos, tmp_path):
    named, pool = tmp_path / "named", tmp_path / "pool"
    for number in range(10):
        hole = np.zeros((16, 20, 1), np.uint8)  # half the size: scaled without mixing
        hole[number] = 255
        stem = f"near/{number}" if number < 4 else str(number)
        (named / stem).parent.mkdir(parents=True, exist_ok=True)
        write(named / f"{stem}.png", hole)
    out = quiet(photos, by="mask", masks=named)
    for number, stem in ((2, "near/2"), (7, "7")):
        picture, cut = (read(out / f"train/{side}/{stem}.png").pixels for side in "BA")
        rows = slice(2 * number, 2 * number + 2)
        assert (cut[rows] == 128).all()
        assert np.array_equal(np.delete(cut, np.r_[rows], 0), np.delete(picture, np.r_[rows], 0))
    pool.mkdir()
    for name, column in (("left", 0), ("right", 39)):
        hole = np.zeros((32, 40, 3), np.uint8)
        hole[:, column, 1] = 200
        write(pool / f"{name}.png", hole)
    out = quiet(photos, by="mask", masks=pool, out=tmp_path / "drawn")
    cuts = [read(path).pixels for path in sorted((out / "train/A").rglob("*.png"))]
    left = [bool((cut[:, 0] == 128).all()) for cut in cuts]
    assert left == [not (cut[:, 39] == 128).all() for cut in cuts] and 0 < sum(left) < 10
    (named / "7.png").unlink()
    with pytest.raises(UserError, match=r"9 of 10 pictures have a mask of their stem in .*, and 1 have none: 7\. Add"):
        quiet(photos, by="mask", masks=named, out=tmp_path / "third")
    for masks, words in ((tmp_path / "no", "is not a folder"), (tmp_path / "empty", "holds no picture")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=words):
            quiet(photos, by="mask", masks=masks, out=tmp_path / "third")


def test_broken_files_are_named_left_out_and_told_at_the_end(photos):
    broken = photos / "5.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-40])
    said = []
    with pytest.raises(
        UserError, match=r"1 of 10 pictures is broken and left out; the other 9 are paired .*5\.png: it is"
    ):
        pairs(photos, by="gray", val=0, say=said.append)
    out = photos.with_name("photos_gray")
    assert said == [f"{broken} is broken and left out: " + said[0].partition("left out: ")[2]]
    assert len(made(out)) == 9
    broken.write_bytes(whole)
    assert quiet(photos, by="gray") == out and len(made(out)) == 10


def test_alpha_is_left_out_and_said(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.png").write_bytes(encode(PICTURE, np.full((32, 40), 9, np.uint8)))
    write(tmp_path / "x/b.png", PICTURE[..., :1])
    said = []
    out = pairs(tmp_path / "x", by="gray", val=0, say=said.append)
    assert said[:2] == [
        "1 of 2 pictures are grey already: their input is their target",
        "1 of 2 pictures have alpha, which is left out",
    ]
    assert np.array_equal(read(out / "train/B/a.png").pixels, PICTURE) and read(out / "train/B/a.png").alpha is None


REFUSED = {
    "unknown": ({"by": "cany"}, r"--by cany is not known\. Did you mean 'canny'\?"),
    "factor": ({"by": "downscale", "factor": 1}, "--factor 1 must be 2 or more"),
    "factor of others": (
        {"by": "blur", "factor": 8},
        "--factor belongs to --by downscale; with --by blur it does nothing",
    ),
    "masks of others": ({"by": "gray", "masks": "x"}, "--masks belongs to --by mask"),
    "val": ({"by": "gray", "val": 1.0}, r"--val 1\.0 must be at least 0 and less than 1"),
    "all in val": ({"by": "gray", "val": 0.9999999}, "10 in val, and none is left to train. Give a smaller --val"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_refused(photos, fault):
    given, words = REFUSED[fault]
    with pytest.raises(UserError, match=words) as caught:
        quiet(photos, **given)
    assert "\n" not in str(caught.value)


def test_folders_that_cannot_be_used(photos, tmp_path):
    for folder, words in ((tmp_path / "no", "does not exist"), (photos / "7.png", "is a file, not a folder")):
        with pytest.raises(UserError, match=words):
            quiet(folder, by="gray")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/x.heic").touch()
    with pytest.raises(UserError, match=r"holds no picture \(.*1 file is of a kind that is not read.*x\.heic\)"):
        quiet(tmp_path / "empty", by="gray")
    with pytest.raises(UserError, match=r"--out .* lies in .*, where its pictures would be taken for more of yours"):
        quiet(photos, by="gray", out=photos / "made")
    write(photos / "7.bmp.png", PICTURE)
    (photos / "7.jpg").write_bytes((photos / "7.png").read_bytes())
    with pytest.raises(UserError, match=r"7\.jpg and 7\.png have the same stem"):
        quiet(photos, by="gray")


def test_a_name_that_is_no_text_and_a_tilde(photos, tmp_path, monkeypatch):
    try:
        (photos / "9.png").rename(os.fsdecode(os.fsencode(photos) + b"/bad\xff.png"))
    except OSError:
        pytest.skip("this disk takes no such names")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(photos)
    out = quiet("~/photos", by="blur", out="~/made")
    assert out == tmp_path / "made" and len(made(out)) == 10
    assert not (photos / "~").exists()
