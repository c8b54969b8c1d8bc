"""Plans for made-up folders of every kind: the recipe says why, passes the check, trains and translates."""

import os
import re

import numpy as np
import pytest

from i2i import build, config
from i2i.config import Recipe
from i2i.data.pictures import read, write
from i2i.engine.train import train
from i2i.errors import UserError
from i2i.infer.folder import translate
from i2i.prepare.plan import plan

GREY, RGB, SEVEN = 1, 3, 7


def drawn(number: int, channels: int = RGB, height: int = 36, width: int = 40, kind: type = np.uint8) -> np.ndarray:
    """A picture (H, W, C) with gradients, noise and a square; 12 of 16 bits, or floats from about -3 to 30."""
    noise = np.random.RandomState(number).randint(0, 60, (height, width, channels))
    y, x = np.mgrid[0:height, 0:width]
    pixels = noise + (x[..., None] + np.arange(channels) * 9) * 130 // width + (y[..., None] * 50) // height
    pixels[8:20, number % 10 + 4 : number % 10 + 18] = 250
    if kind is np.uint8:
        return np.clip(pixels, 0, 255).astype(np.uint8)
    return (pixels * 16).astype(np.uint16) if kind is np.uint16 else (pixels / 8 - 3).astype(np.float32)


def simple(number: int, channels: int = GREY, height: int = 36, width: int = 40) -> np.ndarray:
    """A label map: one square on black."""
    pixels = np.zeros((height, width, channels), np.uint8)
    pixels[8:20, number % 10 + 4 : number % 10 + 18] = 255
    return pixels


def put(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        write(path, pixels)


def side_by_side(root):
    for n in range(6):
        put(root / f"train/{n}.png", np.hstack([drawn(n), simple(n, RGB)]))
    put(root / "test/9.png", np.hstack([drawn(9), simple(9, RGB)]))


def sixteen_bits(root):
    for n in range(6):
        put(root / f"trainA/{n}.png", drawn(n, GREY, kind=np.uint16))
        put(root / f"trainB/{n}.tif", drawn(n, RGB, kind=np.uint16))


def floats(root):
    for n in range(6):
        put(root / f"train/A/{n}.npy", drawn(n, SEVEN, kind=np.float32))
        put(root / f"train/B/{n}.tif", drawn(n, GREY, kind=np.float32))


def other_names(root):
    for n in range(6):
        put(root / f"photos/{n}.png", drawn(n))
        put(root / f"labels/{n}.png", simple(n))


def unpaired(root):
    for n in range(5):
        put(root / f"trainA/a{n}.png", drawn(n))
        put(root / f"trainB/b{n}.png", 255 - drawn(n + 50))
        put(root / f"testA/x{n}.png", drawn(n))
        put(root / f"testB/y{n}.png", drawn(n))


def unpaired_sixteen_bits(root):
    for n in range(5):
        put(root / f"train/A/a{n}.tif", drawn(n, RGB, kind=np.uint16))
        put(root / f"train/B/b{n}.png", drawn(n, RGB, kind=np.uint16))


def unpaired_channels(root):
    for n in range(5):
        put(root / f"trainA/a{n}.tif", drawn(n, SEVEN))
        put(root / f"trainB/b{n}.png", drawn(n, RGB))


def mixed_sizes(root):
    for n in range(8):
        put(root / f"trainA/a{n}.png", drawn(n, RGB, 30 + 12 * n, 150 - 10 * n))
        put(root / f"trainB/b{n}.png", drawn(n + 9, RGB, 40, 41 + n))


def labelled(root):
    for name, count in (("cat", 5), ("dog", 7), ("owl", 3), ("ant", 6)):
        for n in range(count):
            put(root / f"{name}/{n}.png", drawn(n))


def characters(root):
    for name, count in (("seven", 70), ("one", 80)):
        for n in range(count):
            put(root / f"train/{name}/{n}.png", drawn(n, GREY, 28, 28))


def enough(root):
    for n in range(200):
        put(root / f"train/{n}.png", np.hstack([simple(n, GREY, 36, 36), drawn(n, GREY, 36, 36)]))


def corrupt(root):
    other_names(root)
    (root / "photos/3.png").write_bytes((root / "photos/3.png").read_bytes()[:-60])


EIGHT_BITS = {"range": [0, 255], "page": None}
FOLDERS = {  # how it is made: (method, what is to stand in the recipe, words of its comments)
    side_by_side: (
        "pix2pix",
        {"data.direction": "ba", "data.folders": None, "data.crop_size": 32, "generator.num_downs": 5, "data.flip": True},
        ["paired, side by side in each file", "B is taken for the input, since it says less", "6 training pairs are few"],
    ),
    sixteen_bits: (
        "pix2pix",
        {"data.a": {"channels": 1, "range": [0, 4095], "page": None}, "data.b.channels": 3, "data.b.range": [0, 8191]},
        ["A, grey, 16 bits, from 48 to 4,000", "the range's ends become -1 and 1", "levels that are measured"],
    ),
    floats: (
        "pix2pix",
        {"data.a.channels": 7, "data.b.channels": 1, "augment.policy": ["translation", "cutout"], "data.load_size": None},
        ["A, 7 channels, float levels, from -2.875 to 47.75", "From A to B, as is usual. ba turns it round.", "Without color, which mixes channels", "not resampled"],
    ),
    other_names: (
        "pix2pix",
        {"data.folders": ["labels", "photos"], "data.direction": "ab", "data.a.channels": 1, "data.b.channels": 3},
        ["labels is taken for the input and photos for the target, by their names", "labels -> photos"],
    ),
    unpaired: (
        "cyclegan",
        {"data.a": {"channels": 3, **EIGHT_BITS}, "method.lam_identity": 0.5, "augment.policy": ["color", "translation", "cutout"]},
        ["Nothing pairs A with B", "5 training pictures of A are few", "5 for test"],
    ),
    unpaired_sixteen_bits: (
        "cyclegan",
        {"data.a.range": [0, 8191], "data.b.range": [0, 8191], "data.b.channels": 3, "data.folders": None},
        ["A, RGB, 16 bits"],
    ),
    unpaired_channels: (
        "cyclegan",
        {"data.a.channels": 7, "data.b.channels": 3, "method.lam_identity": 0.0, "augment.policy": ["translation", "cutout"]},
        ["lam_identity is 0.0: it would feed B to the network that reads A, and these have 3 and 7 channels"],
    ),
    mixed_sizes: (
        "cyclegan",
        {"data.load_size": 36, "data.crop_size": 32},
        ["Shorter sides run from 30 to 90 px (median 40), so all are brought to 36", "1 of 16 pictures is enlarged"],
    ),
    labelled: (
        "cyclegan",
        {"data.folders": ["ant", "dog"], "data.kind": "unpaired"},
        ["One folder for each class and no pairs", "The two largest classes", "The others: cat 5, owl 3."],
    ),
    characters: (
        "cyclegan",
        {"data.flip": False, "data.crop_size": 24, "train.batch_size": 16, "data.load_size": None, "data.folders": ["one", "seven"]},
        ["Off, since small grey pictures are often characters, which mirrored are others", "70 training pictures of seven are few"],
    ),
    enough: (
        "pix2pix",
        {"augment.policy": [], "data.direction": "ab", "train.batch_size": 16, "translate.norm": "running"},
        ["200 training pairs: no DiffAugment"],
    ),
    corrupt: ("pix2pix", {"data.folders": ["labels", "photos"]}, ["labels is taken for the input"]),
}  # fmt: skip
FAST = (sixteen_bits, floats, labelled, corrupt)
SHRUNK = {
    "pix2pix": ["generator.width=4"],
    "cyclegan": ["generator.width=4", "generator.num_blocks=1"],
}
SHORT = [
    "discriminator.width=4", "data.workers=0", "train.steps=10", "train.decay_from=5", "train.log_every=5",
    "train.sample_every=10", "train.save_every=10", "train.tracker=null",
]  # fmt: skip


def at(recipe: Recipe, path: str):
    """The value of `data.a.range` and the like."""
    node = recipe.model_dump()
    for key in path.split("."):
        node = node[key]
    return node


def planned(root, out, **given):
    said = []
    file = plan(root, out=out, say=said.append, device="cpu", **given)
    return file, build.check(config.read(file)), said


@pytest.mark.parametrize("make", FOLDERS, ids=lambda make: make.__name__)
def test_the_recipe_is_complete_right_and_says_why(make, tmp_path):
    make(tmp_path / "my")
    file, recipe, said = planned(tmp_path / "my", tmp_path / "mine.yaml")
    method, values, words = FOLDERS[make]
    text = file.read_text()
    assert config.read(file).data == recipe.model_dump(), "every value is written out"
    assert list(config.read(file).data) == list(Recipe.model_fields)
    assert recipe.method.name == method
    for path, value in values.items():
        assert at(recipe, path) == value, path
    unwrapped = re.sub(r"\n *# ", " ", text)
    for sentence in words:
        assert sentence in unwrapped, sentence
    assert f"i2i train {file}" in text and max(map(len, text.splitlines())) <= 140
    assert [line for line in said if "is broken" in line] == (
        [f"{tmp_path}/my/photos/3.png is broken, and training leaves it out: " + said[-1].partition("out: ")[2]]
        if make is corrupt
        else []
    )
    assert recipe.train.decay_from == recipe.train.steps // 2 and recipe.train.save_every <= recipe.train.steps / 4


@pytest.mark.parametrize(
    "make",
    [pytest.param(make, marks=[] if make in FAST else [pytest.mark.slow]) for make in FOLDERS],
    ids=lambda make: make.__name__,
)
def test_the_recipe_trains_and_its_model_translates(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "my")
    file, recipe, _ = planned("my", "mine.yaml")
    said = []
    run = train(file, [*SHRUNK[recipe.method.name], *SHORT], device="cpu", run=tmp_path / "run", say=said.append)
    assert any("finished" in line for line in said)
    data = build.dataset(recipe)
    key = "input" if "input" in data.keys else "a"
    side = {"ab": "a", "ba": "b"}[recipe.data.args.get("direction", "ab")]
    split = data.splits["train"]
    picture = (split.a if side == "a" or split.b is None else split.b)[0]
    report = translate([picture], model=run, out=tmp_path / "out", paired=split.b is None, say=said.append)
    assert not report.failed
    (made,) = report.written
    output = data.domains["target" if key == "input" else "b"]
    result = read(made).pixels
    assert result.shape[2] == output.channels and result.dtype == output.dtype
    assert result.shape[:2] == data.previews(1)[0][key].shape[:2] or data.splits.get("test")


# ------------------------------------------------------------------------------------------------ the file


def test_the_file_stands_where_one_looks_for_it_and_nothing_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unpaired(tmp_path / "my scans")
    assert plan("my scans", say=print, device="cpu").as_posix() == "my_scans.yaml"
    before = (tmp_path / "my_scans.yaml").read_text()
    assert '  path: "my scans"\n' in before
    with pytest.raises(UserError, match=r"my_scans\.yaml is there already .* i2i recipes plan 'my scans' --out OTHER"):
        plan("my scans", say=print, device="cpu")
    assert (tmp_path / "my_scans.yaml").read_text() == before
    (tmp_path / "recipes").mkdir()
    assert plan("my scans", out="recipes", say=print, device="cpu").as_posix() == "recipes/my_scans.yaml"
    with pytest.raises(UserError, match="the folder nowhere does not exist. Make it first"):
        plan("my scans", out="nowhere/x.yaml", say=print, device="cpu")
    monkeypatch.chdir(tmp_path / "my scans")
    assert plan(".", say=print, device="cpu").name == "my_scans.yaml"
    assert not list(tmp_path.rglob("*.i2i-part"))


def test_progress_reaches_the_end(tmp_path):
    unpaired(tmp_path / "x")
    seen = []
    planned(tmp_path / "x", tmp_path / "x.yaml", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 10) for n in range(1, 11)]


def test_a_split_is_planned_with_the_folder_around_it(tmp_path):
    unpaired_sixteen_bits(tmp_path / "set")
    _, recipe, said = planned(tmp_path / "set/train", tmp_path / "x.yaml")
    assert recipe.data.path == str(tmp_path / "set") and any("one split" in line for line in said)


def test_of_files_with_several_pages_the_first_is_planned(tmp_path):
    import tifffile

    for n in range(4):
        for side in "AB":
            (tmp_path / f"my/train{side}").mkdir(parents=True, exist_ok=True)
            pages = np.stack([drawn(n, GREY, kind=np.uint16)[..., 0]] * 3)
            shown = pages if side == "A" else pages[0]
            tifffile.imwrite(tmp_path / f"my/train{side}/{n}.tif", shown, photometric="minisblack")
    file, recipe, _ = planned(tmp_path / "my", tmp_path / "x.yaml")
    assert recipe.data.a.page == 0 and recipe.data.b.page is None
    assert "the files hold several pages, and 0 is the first" in re.sub(r"\n *# ", " ", file.read_text())


REFUSED = {
    "flat": (
        lambda root: [put(root / f"{n}.png", drawn(n)) for n in range(3)],
        r"holds pictures without partners .* Make an input for each: i2i data pairs .*/my --by canny \(or gray, blur",
    ),
    "one class": (
        lambda root: [put(root / "train/cat/1.png", drawn(1))],
        r"without partners or classes|holds one class",
    ),
    "side by side in no split": (
        lambda root: [put(root / f"{n}.png", np.hstack([drawn(n, RGB, 40), simple(n, RGB, 40)])) for n in range(4)],
        r"holds pairs side by side, but in no split\. Move them to .*/my/train: mkdir .*/my/train, then mv",
    ),
    "no train": (
        lambda root: [put(root / f"test/{side}/{n}.png", drawn(n)) for n in range(3) for side in "AB"],
        r"no train\. Put the training pictures there",
    ),
    "two depths": (
        lambda root: (unpaired(root), put(root / "trainA/z.png", drawn(9, kind=np.uint16))),
        r"trainA mixes pictures of 8 bits .* and 16 bits",
    ),
    "two sizes in a pair": (
        lambda root: (other_names(root), put(root / "photos/2.png", drawn(2, RGB, 50))),
        r"1 pair has pictures of two sizes, the first .*labels/2\.png 40 x 36 and .*photos/2\.png 40 x 50",
    ),
    "lost partner": (
        lambda root: (other_names(root), (root / "photos/2.png").unlink()),
        r"1 picture has no partner of the same stem",
    ),
    "too many broken": (
        lambda root: (corrupt(root), (root / "photos/4.png").write_bytes(b"GIF89a")),
        r"2 of 12 training files are broken, and at most 1 may be",
    ),
    "nothing": (lambda root: root.mkdir(), "holds no pictures. It is empty"),
    "no folder": (lambda root: None, "does not exist"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_training_would_refuse_is_refused_in_words(fault, tmp_path):
    make, words = REFUSED[fault]
    make(tmp_path / "my")
    with pytest.raises(UserError, match=words) as caught:
        plan(tmp_path / "my", out=tmp_path / "x.yaml", say=lambda text: None, device="cpu")
    assert "\n" not in str(caught.value) and not (tmp_path / "x.yaml").exists()


def test_a_device_that_is_not_there(tmp_path):
    unpaired(tmp_path / "my")
    with pytest.raises(UserError, match="there is no mps device here. Plan with --device"):
        plan(tmp_path / "my", out=tmp_path / "x.yaml", device="mps")


def test_facades_go_from_labels_to_photographs(real_data, tmp_path):
    _, recipe, _ = planned(real_data("facades"), tmp_path / "x.yaml")
    shipped = build.check(config.read("pix2pix_facades"))
    assert recipe.data.args == shipped.data.args == {"direction": "ba", "folders": None}
    assert (recipe.data.load_size, recipe.data.crop_size, recipe.train.steps) == (286, 256, 80_000)
    assert recipe.method == shipped.method and recipe.translate == shipped.translate
    changed = {"width": 32}
    assert recipe.generator.args == {**shipped.generator.args, **changed}, "narrower, for want of a GPU"


def test_a_folder_whose_name_is_no_text_cannot_stand_in_a_recipe(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this disk takes no such names")
    with pytest.raises(UserError, match="is no text.*[Rr]ename"):
        plan(folder, out=tmp_path / "x.yaml", device="cpu", say=lambda text: None)
    assert not (tmp_path / "x.yaml").exists()
