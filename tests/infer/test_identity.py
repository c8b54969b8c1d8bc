"""Through a network that changes nothing a picture of any format comes out as it was: values, alpha and what it carried."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from running import in_process
from torch import nn

from i2i.data import pictures
from i2i.errors import UserError
from i2i.infer import models
from i2i.infer.folder import translate
from i2i.infer.translator import Translator
from i2i.infer.weights import write_tensors
from i2i.nets import GENERATORS

TYPES = {8: np.uint8, 16: np.uint16, 32: np.float32}
ICC = b"\x00\x00\x00\x80" + bytes(range(124))
RESOLUTION, DESCRIPTION, PROFILE = (282, 283, 296), 270, 34675
SCALE, TIEPOINT, KEYS, ASCII, NODATA = 33550, 33922, 34735, 34737, 42113
GEO = [  # UTM zone 32 north, pixels of half a metre
    (SCALE, 12, 3, (0.5, 0.5, 0.0), True),
    (TIEPOINT, 12, 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), True),
    (KEYS, 3, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632), True),
]


class Pass(nn.Module):
    """Gives back what it gets; of another number of channels, the first ones, round and round."""

    def __init__(self, ins: int, outs: int):
        super().__init__()
        self.places = [channel % ins for channel in range(outs)]
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x[:, self.places] * self.one


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model(monkeypatch):
    """`model(channels, depth, range=, out=(channels, depth, range))` writes the weights file of such a network."""
    GENERATORS.names()
    monkeypatch.setitem(GENERATORS._entries, "pass", Pass)

    def make(channels: int, depth: int, span=None, out=None, page=None, **changes) -> Path:
        def domain(channels, depth, span=None):
            return {"channels": channels, "depth": depth, "range": span or [0, 2**depth - 1]}

        outs = out[0] if out else channels
        meta = {
            "kind": "generator",
            "direction": "ab",
            "net": {"name": "pass", "args": {}, "in_channels": channels, "out_channels": outs},
            "input": domain(channels, depth, span) | {"page": page},
            "output": domain(*out) if out else domain(channels, depth, span),
            "multiple": 4,
            "minimum": 8,
            "translate": {"norm": "running", "dropout": False, "seed": 0},
        }
        write_tensors("pass.safetensors", Pass(channels, outs).state_dict(), meta | changes)
        return Path("pass.safetensors")

    return make


def noise(channels: int, depth: int, size=(11, 14), seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if depth == 32:
        return rng.uniform(-3, 8, (*size, channels)).astype(np.float32)
    return rng.integers(0, 2**depth, (*size, channels), dtype=TYPES[depth])


def through(path: str, weights: Path, **options) -> Path:
    """The one file that `path` becomes; nothing may have failed."""
    report = translate(path, model=weights, out="out", device="cpu", say=lambda line: None, **options)
    assert report.failed == [] and len(report.written) == 1
    return report.written[0]


def same(ours: np.ndarray, theirs: np.ndarray, span=(-3, 8)) -> None:
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    if ours.dtype == np.float32:
        assert np.abs(ours.astype(np.float64) - theirs).max() <= 1e-6 * (span[1] - span[0])
    else:
        assert np.array_equal(ours, theirs)


def write_tiff(path: str, pixels: np.ndarray, *extra, **options) -> None:
    """As a scanner or a GIS writes it, by tifffile itself and not by what is tested."""
    many = pixels.shape[2]
    shape = pixels if many > 1 else pixels[:, :, 0]
    photometric = "rgb" if many == 3 else "minisblack"
    planar = {"planarconfig": "contig"} if many > 1 else {}
    tifffile.imwrite(
        path, shape, photometric=photometric, metadata=None, description="a scan of a leaf", resolution=(300, 150),
        resolutionunit="INCH", iccprofile=ICC, extratags=list(extra), **planar, **options,
    )  # fmt: skip


def tags(path) -> dict[int, object]:
    with tifffile.TiffFile(path) as file:
        wanted = (*RESOLUTION, DESCRIPTION, PROFILE, SCALE, TIEPOINT, KEYS, ASCII, NODATA)
        return {code: file.pages[0].tags[code].value for code in wanted if code in file.pages[0].tags}


class TestSmallFormats:
    @pytest.mark.parametrize("alpha", [False, True])
    @pytest.mark.parametrize("depth", [8, 16])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_png(self, model, channels, depth, alpha):
        x = noise(channels, depth)
        mask = noise(1, depth, seed=1)[:, :, 0] if alpha else None
        pictures.write("a.png", x, mask)
        made = pictures.read(through("a.png", model(channels, depth)))
        same(made.pixels, x)
        assert (made.alpha is None) == (mask is None) and (mask is None or np.array_equal(made.alpha, mask))

    def test_lossless_webp_with_and_without_alpha(self, model):
        for channels in (3, 4):
            x = noise(channels, 8)
            Image.fromarray(x).save("a.webp", lossless=True, exact=True)
            path = through("a.webp", model(3, 8))
            made = pictures.read(path)
            assert path.name == "a.png"
            same(made.pixels, x[:, :, :3])
            assert made.alpha is None if channels == 3 else np.array_equal(made.alpha, x[:, :, 3])

    def test_bmp(self, model):
        x = noise(3, 8)
        Image.fromarray(x).save("a.bmp")
        path = through("a.bmp", model(3, 8))
        same(pictures.read(path).pixels, x)
        assert path.name == "a.png"

    def test_a_palette_as_rgb(self, model):
        image = Image.fromarray(noise(3, 8)).quantize(16)
        image.save("a.png")
        same(pictures.read(through("a.png", model(3, 8))).pixels, np.array(image.convert("RGB")))


class TestArrays:
    @pytest.mark.parametrize("depth", [8, 16, 32])
    @pytest.mark.parametrize("channels", [1, 2, 7])
    def test_npy(self, model, channels, depth):
        x = noise(channels, depth)
        np.save("a.npy", x)
        path = through("a.npy", model(channels, depth, [-3, 8] if depth == 32 else None))
        assert path.name == "a.npy"
        same(np.load(path, allow_pickle=False).reshape(x.shape), x)

    def test_an_npy_stays_one_where_a_png_would_do_and_a_png_becomes_one_where_it_has_to(self, model):
        np.save("a.npy", noise(3, 8))
        pictures.write("b.png", noise(3, 8), noise(1, 8)[:, :, 0])
        assert through("a.npy", model(3, 8)).name == "a.npy"
        for out, name in (((4, 8), "b.npy"), ((2, 16), "b.npy"), ((3, 32, [0, 1]), "b.npy"), ((1, 16), "b.png")):
            path = through("b.png", model(3, 8, out=out))
            assert path.name == name
            if path.suffix == ".npy":  # alpha is the last channel
                made = np.load(path, allow_pickle=False)
                assert made.shape == (11, 14, out[0] + 1) and made.dtype == TYPES[out[1]]
                full = 1 if out[1] == 32 else 2 ** out[1] - 1
                assert np.allclose(made[:, :, -1] / full, noise(1, 8)[:, :, 0] / 255, atol=1e-6)


class TestTiff:
    @pytest.mark.parametrize("depth", [8, 16, 32])
    @pytest.mark.parametrize("channels", [1, 3, 4, 7])
    def test_values_and_tags(self, model, channels, depth):
        x = noise(channels, depth)
        write_tiff("a.tif", x, *GEO)
        path = through("a.tif", model(channels, depth, [-3, 8] if depth == 32 else None))
        assert path.name == "a.tif"
        same(pictures.read(path).pixels, x)
        kept = tags(path)
        assert kept == tags("a.tif") and len(kept) == 8

    def test_other_programs_read_the_same(self, model):
        """tifffile and, where it is installed, rasterio: what our own reader would not notice."""
        x = noise(7, 32)
        write_tiff("a.tif", x, *GEO)
        path = through("a.tif", model(7, 32, [-3, 8]))
        same(tifffile.imread(path), x)
        rasterio = pytest.importorskip("rasterio")
        with rasterio.open(path) as made, rasterio.open("a.tif") as given:
            assert made.crs == given.crs and made.crs.to_epsg() == 32632
            assert made.transform == given.transform and made.transform.a == 0.5

    def test_alpha_of_every_depth(self, model):
        for depth in (8, 16):
            x = noise(4, depth)
            tifffile.imwrite("a.tif", x, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
            made = pictures.read(through("a.tif", model(3, depth)))
            same(made.pixels, x[:, :, :3])
            assert np.array_equal(made.alpha, x[:, :, 3])

    def test_tags_go_along_where_depth_and_channels_change(self, model):
        write_tiff("a.tif", noise(7, 32), *GEO)
        path = through("a.tif", model(7, 32, [-3, 8], out=(1, 16)))
        made = pictures.read(path)
        assert made.pixels.dtype == np.uint16 and made.pixels.shape == (11, 14, 1)
        expected = tags("a.tif")
        assert expected.pop(PROFILE) == ICC  # a profile of seven channels says nothing of one
        assert tags(path) == expected and len(expected) == 7

    def test_a_size_of_its_own_leaves_the_place_on_the_earth(self, model):
        write_tiff("a.tif", noise(3, 8), *GEO)
        path = through("a.tif", model(3, 8), size=8)
        assert tags(path) == tags("a.tif") and pictures.read(path).pixels.shape == (11, 14, 3)

    @pytest.mark.parametrize("depth, level", [(8, 7), (16, 65535), (32, -9999)])
    def test_what_holds_nothing_goes_on_to_hold_nothing(self, model, depth, level):
        x = noise(1, depth)
        x[x == level] += 1
        x[4:6, 3:9] = level
        write_tiff("a.tif", x, (NODATA, 2, 0, str(level), True), *GEO)
        path = through("a.tif", model(1, depth, [-3, 8] if depth == 32 else None))
        assert tags(path)[NODATA] == str(level)
        same(tifffile.imread(path)[:, :, None], x)
        narrow = model(1, depth, [-3, 8] if depth == 32 else None, out=(1, 8))
        made = pictures.read(through("a.tif", narrow))
        assert np.array_equal(made.carried.mask, (x == level)[:, :, 0])

    @pytest.mark.parametrize("side, placed", [("left", True), ("right", False)])
    def test_half_of_a_file_lies_where_that_half_lies(self, model, side, placed):
        x = noise(3, 8, (10, 24))
        write_tiff("a.tif", x, *GEO)
        path = through("a.tif", model(3, 8, side=side), paired=True)
        same(pictures.read(path).pixels, x[:, :12] if placed else x[:, 12:])
        assert (KEYS in tags(path)) == placed and tags(path)[DESCRIPTION] == "a scan of a leaf"


class TestForms:
    def test_content_and_not_the_suffix_decides(self, model):
        weights = model(3, 8)
        write_tiff("scan.png", noise(3, 8))
        pictures.write("photo.png", noise(3, 8))
        Path("photo.png").rename("photo.tif")
        assert through("scan.png", weights).name == "scan.tif"
        assert through("photo.tif", weights).name == "photo.png"
        write_tiff("long.tiff", noise(3, 8))
        assert through("long.tiff", weights).name == "long.tiff"

    def test_the_same_by_every_door_of_python(self, model):
        x = noise(2, 32)
        np.save("a.npy", x)
        translator = models.load(model(2, 32, [-3, 8]), device="cpu")
        assert isinstance(translator, Translator)
        for given in (x, "a.npy", Path("a.npy")):
            same(translator(given), x)


@pytest.fixture
def say():
    """Collects the lines for the user."""

    class Said(list):
        __call__ = list.append

    return Said()


class TestPages:
    @pytest.fixture
    def pages(self):
        first, second = noise(1, 8)[:, :, 0], noise(1, 8, seed=1)[:, :, 0]
        tifffile.imwrite("a.tif", np.stack([first, second]), photometric="minisblack", metadata=None)
        return first, second

    def test_the_argument_then_the_model_s_page(self, model, pages):
        for named, argument, wanted in ((None, 0, 0), (None, 1, 1), (1, None, 1), (1, 0, 0)):
            path = through("a.tif", model(1, 8, page=named), page=argument)
            with tifffile.TiffFile(path) as file:
                assert len(file.pages) == 1 and np.array_equal(file.asarray(), pages[wanted])

    def test_several_and_none_named_is_a_failure_of_that_file_alone(self, model, pages, say):
        write_tiff("b.tif", noise(1, 8))
        np.save("c.npy", noise(1, 8))
        report = translate(["a.tif", "b.tif", "c.npy"], model=model(1, 8), out="out", device="cpu", say=say)
        assert [path.name for path in report.written] == ["b.tif", "c.npy"]
        assert [str(failure.path) for failure in report.failed] == ["a.tif"]
        assert "page" in report.failed[0].why and "--page 0" in report.failed[0].why and report.failed[0].why in say

    def test_and_the_command_line_ends_with_status_1(self, model, pages):
        write_tiff("z.tif", noise(1, 8))
        status, shown = in_process("translate", ".", f"--model={model(1, 8)}", "--device=cpu")
        assert status == 1 and "1 pictures written" in shown and "1 failed" in shown and "--page 0" in shown
        status, shown = in_process("translate", ".", f"--model={model(1, 8)}", "--device=cpu", "--page=0")
        assert status == 0 and "2 pictures written" in shown


class TestWords:
    def test_squashed_pictures_are_counted_and_the_range_is_named(self, model, say):
        for name, share in (("fine", 0.0), ("little", 0.009), ("much", 0.02), ("all", 1.0)):
            x = np.zeros((100, 100, 1), np.float32)
            x.flat[: int(share * 10_000)] = 9
            np.save(f"{name}.npy", x)
        files = ["fine.npy", "little.npy", "much.npy", "all.npy"]
        translate(files, model=model(1, 32, [-0.5, 1.5]), out="out", device="cpu", say=say)
        told = [line for line in say if "outside" in line]
        assert told == [
            "2 of the pictures: with more than 1% of their values outside the range that the model was trained on, "
            "[-0.5, 1.5], and clipped to it"
        ]
        assert np.load("out/all.npy").max() == 1.5
        say.clear()
        translate(files[:2], model=model(1, 32, [-0.5, 1.5]), out="out", device="cpu", say=say)
        assert not [line for line in say if "outside" in line]

    def test_every_change_on_reading_is_told_in_words_those_without_words_too(self, model, say, monkeypatch):
        weights = model(1, 32, [-3, 8])
        np.save("a.npy", noise(1, 32).astype(np.float64))
        translate("a.npy", model=weights, out="out", device="cpu", say=say)
        assert [line for line in say if line.startswith("1 of the pictures")] == [
            "1 of the pictures: of 64-bit floats, rounded to float32"
        ]
        say.clear()
        real = pictures.probe
        monkeypatch.setattr(pictures, "probe", lambda *a, **k: real(*a, **k)._replace(changes=("gamma",)))
        translate("a.npy", model=weights, out="out", device="cpu", say=say)
        assert "1 of the pictures: changed on reading (gamma)" in say

    def test_the_place_of_an_input_is_found_whatever_the_form(self, model):
        before = {}
        for name in ("a.tif", "a.tiff", "a.npy"):
            Path("in").mkdir(exist_ok=True)
            if name.endswith("npy"):
                np.save(f"in/{name}", noise(3, 8))
            else:
                write_tiff(f"in/{name}", noise(3, 8))
            before[name] = Path("in", name).read_bytes()
            with pytest.raises(UserError, match="would overwrite the input"):
                translate(f"in/{name}", model=model(3, 8), out="in", device="cpu")
        assert {path.name: path.read_bytes() for path in Path("in").iterdir()} == before
        report = translate("in", model=model(3, 8), out="out", device="cpu")
        assert [path.name for path in report.written] == ["a.npy.npy", "a.tif.tif", "a.tiff.tiff"]
