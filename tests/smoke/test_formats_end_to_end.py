"""From a folder of pictures of any format to a trained model to translated pictures of the right kind: the real commands."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from running import ARGUMENTS, in_process

from i2i.data import pictures
from i2i.infer.weights import read_meta

SIZE = (40, 44)
LENGTH = ["train.steps=2", "train.decay_from=null", "train.log_every=1", "train.sample_every=null", "--device=cpu"]
GEO = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), True),
    (34735, 3, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632), True),
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def i2i(*arguments) -> str:
    status, shown = in_process(*arguments)
    assert status == 0, shown
    return shown


def train(method: str, data: str, *more: str) -> str:
    overrides = [a for a in ARGUMENTS[method] if not a.startswith("data=")]
    return i2i("train", *overrides, f"data={data}", *LENGTH, "--run=run", *more)


def folder(path: str) -> Path:
    place = Path(path)
    place.mkdir(parents=True, exist_ok=True)
    return place


def smooth(channels: int, seed: int) -> np.ndarray:
    """(H, W, C) in 0..1: a slope in another direction for each channel, and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    slopes = [np.cos(angle) * x / SIZE[1] + np.sin(angle) * y / SIZE[0] for angle in rng.uniform(0, 6.28, channels)]
    planes = np.stack(slopes, axis=2) + rng.uniform(0, 0.2, (*SIZE, channels))
    return (planes - planes.min()) / (planes.max() - planes.min())


def tags(path, *codes) -> dict:
    with tifffile.TiffFile(path) as file:
        return {code: file.pages[0].tags[code].value for code in codes if code in file.pages[0].tags}


def made(source: str) -> list[Path]:
    return sorted(Path("run/translated", source).iterdir())


def test_seven_channels_of_floats_to_sixteen_bits_of_grey_in_two_folders_of_tiff():
    for split, count in (("train", 3), ("test", 2)):
        for index in range(count):
            bands = (smooth(7, index) * 0.9 + 0.05).astype(np.float32)
            tifffile.imwrite(
                folder(f"data/{split}/scenes") / f"{index}.tif", bands, photometric="minisblack", planarconfig="contig",
                metadata=None, description=f"scene {index}", extratags=GEO,
            )  # fmt: skip
            height = (smooth(1, index)[:, :, 0] * 4000).astype(np.uint16)
            tifffile.imwrite(folder(f"data/{split}/heights") / f"{index}.tif", height, metadata=None)
    ranges = "a: {range: [0, 1]}, b: {range: [0, 4095]}"
    data = "kind: paired, path: data, folders: [scenes, heights], direction: ab, crop_size: 32, workers: 0"
    train("pix2pix", f"{{{data}, {ranges}}}")
    meta = read_meta("run/generator.safetensors")
    assert (meta["input"]["channels"], meta["input"]["depth"], meta["input"]["range"]) == (7, 32, [0, 1])
    assert (meta["output"]["channels"], meta["output"]["depth"], meta["output"]["range"]) == (1, 16, [0, 4095])
    i2i("translate", "data/test/scenes", "--model=run", "--device=cpu")
    assert [path.name for path in made("scenes")] == ["0.tif", "1.tif"]
    for index, path in enumerate(made("scenes")):
        values = tifffile.imread(path)
        assert values.dtype == np.uint16 and values.shape == SIZE and values.max() <= 4095 and values.std() > 0
        assert tags(path, 270, 33550, 33922, 34735) == tags(f"data/test/scenes/{index}.tif", 270, 33550, 33922, 34735)
        assert len(tags(path, 270, 33550, 33922, 34735)) == 4
    for grid in ("000000_real.png", "000002.png"):
        assert pictures.read(Path("run/samples") / grid).pixels.std() > 20, "the pictures can be seen"
    tifffile.imwrite("bright.tif", np.full((9, 9, 7), 3, np.float32), photometric="minisblack", planarconfig="contig")
    said = i2i("translate", "bright.tif", "data/test/scenes", "--model=run", "--device=cpu", "--out=more")
    assert "1 of the pictures: with more than 1% of their values outside the range" in said and "[0, 1]" in said


def test_sixteen_bits_of_two_channels_in_npy_and_webp_in_colour_both_ways():
    for split in ("train", "test"):
        for index in range(3):
            np.save(folder(f"data/{split}A") / f"{index}.npy", (smooth(2, index) * 65535).astype(np.uint16))
            colour = Image.fromarray((smooth(3, index + 9) * 255).astype(np.uint8))
            colour.save(folder(f"data/{split}B") / f"{index}.webp", quality=90)
    data = "{kind: unpaired, path: data, crop_size: 32, workers: 0}"
    train("cyclegan", data, "method.lam_identity=0")
    i2i("translate", "data/testA", "--model=run", "--device=cpu")
    i2i("translate", "data/testB", "--model=run", "--device=cpu", "--direction=ba")
    assert [path.name for path in made("testA")] == [path.name for path in made("testB")] == ["0.npy", "1.npy", "2.npy"]
    for source, dtype, channels in (("testA", np.uint8, 3), ("testB", np.uint16, 2)):
        for path in made(source):
            values = np.load(path, allow_pickle=False)
            assert values.dtype == dtype and values.shape == (*SIZE, channels)
    back = i2i("translate", "run/translated/testB", "--model=run", "--device=cpu", "--out=again")
    assert "3 pictures written" in back  # what came out as domain A goes in as domain A
    pages = pictures.read("run/samples/000002.png").pixels
    assert pages.std() > 20


def test_pages_of_a_tiff_are_named_by_the_recipe_and_on_the_command_line():
    for split in ("train", "test"):
        for index in range(2):
            first = np.full(SIZE, 40 * index, np.uint8)
            second = (smooth(1, index)[:, :, 0] * 255).astype(np.uint8)
            tifffile.imwrite(
                folder(f"data/{split}/A") / f"{index}.tif", np.stack([first, second]), photometric="minisblack",
                metadata=None,
            )  # fmt: skip
            pictures.write(folder(f"data/{split}/B") / f"{index}.png", (smooth(3, index) * 255).astype(np.uint8))
    data = "{kind: paired, path: data, direction: ab, crop_size: 32, workers: 0}"
    status, said = in_process(
        "train", *[a for a in ARGUMENTS["pix2pix"] if not a.startswith("data=")], f"data={data}", *LENGTH, "--run=run"
    )
    assert status == 1 and "page" in said and not Path("run/generator.safetensors").exists()
    train("pix2pix", data, "data.a.page=1", "--fresh")
    run = next(path.parent for path in sorted(Path().glob("run*/generator.safetensors")))
    i2i("translate", "data/test/A", f"--model={run}", "--device=cpu", "--out=trained")
    i2i("translate", "data/test/A", f"--model={run}", "--device=cpu", "--out=second", "--page=1")
    i2i("translate", "data/test/A", f"--model={run}", "--device=cpu", "--out=first", "--page=0")
    for index in range(2):
        trained, second, first = (Path(out, "A", f"{index}.tif").read_bytes() for out in ("trained", "second", "first"))
        assert trained == second != first
        with tifffile.TiffFile(Path("trained/A", f"{index}.tif")) as file:
            assert len(file.pages) == 1 and file.pages[0].shape == (*SIZE, 3)
    status, said = in_process("translate", "data/test", f"--model={run}", "--device=cpu", "--page=2")
    assert status == 1 and "2 pictures written" not in said


def test_palettes_and_cmyk_become_rgb_and_it_is_said():
    for split in ("train", "test"):
        for index in range(2):
            colour = Image.fromarray((smooth(3, index) * 255).astype(np.uint8))
            colour.quantize(32).save(folder(f"data/{split}/A") / f"{index}.png")
            colour.convert("CMYK").save(folder(f"data/{split}/B") / f"{index}.jpg")
    train("pix2pix", "{kind: paired, path: data, direction: ab, crop_size: 32, workers: 0}")
    said = i2i("translate", "data/test", "--model=run", "--device=cpu")
    assert "2 of the pictures: with a palette, read as RGB" in said
    assert "2 of the pictures: CMYK, read as RGB" in said
    for side in "AB":
        for path in sorted(Path("run/translated/test", side).iterdir()):
            found = pictures.probe(path)
            assert (found.format, found.depth, found.channels, found.alpha) == ("PNG", 8, 3, False)
            assert (found.height, found.width) == SIZE
