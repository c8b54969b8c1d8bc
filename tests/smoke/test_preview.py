"""What training shows is what users get: the preview in a run's last grid and `i2i translate` agree within one level."""

import cv2
import numpy as np
import pytest
from running import ARGUMENTS, in_process

import i2i as package
from i2i.data.domain import Domain
from i2i.data.pictures import read, write
from i2i.data.synthetic import write_folder
from i2i.infer.weights import read_meta


def i2i(*arguments) -> str:
    status, shown = in_process(*arguments)
    assert status == 0, shown
    return shown


def in_grid(grid: np.ndarray, picture: np.ndarray) -> float:
    """The largest difference between a picture and the place of a grid that resembles it most."""
    score = cv2.matchTemplate(grid, picture, cv2.TM_SQDIFF)
    _, _, (x, y), _ = cv2.minMaxLoc(score)
    height, width = picture.shape[:2]
    return float(np.abs(grid[y : y + height, x : x + width].astype(int) - picture.astype(int)).max())


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder of pairs whose test pictures are no multiple of anything, and larger than the crop."""
    path = tmp_path_factory.mktemp("data") / "pairs"
    write_folder(path / "train", 3, "train", size=48)
    write_folder(path / "test", 4, "test", size=101)
    return path


LENGTH = ["train.steps=3", "train.decay_from=null", "train.sample_every=null", "train.log_every=1", "--device=cpu"]


def test_pix2pix_with_dropout_as_noise_and_batch_statistics(pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = [a for a in ARGUMENTS["pix2pix"] if not a.startswith("data=")]
    deep = "generator={name: unet, num_downs: 5, width: 4, norm: batch, dropout: true}"
    data = f"data={{kind: paired, path: {pairs}, crop_size: 32, workers: 0, direction: ba, load_size: null}}"
    i2i("train", *overrides, deep, data, *LENGTH, "--run=run")
    i2i("translate", pairs / "test", "--paired", "--model=run", "--device=cpu")
    grid = read(tmp_path / "run/samples/000003.png").pixels
    made = sorted((tmp_path / "run/translated/test").iterdir())
    assert len(made) == 4
    for path, source in zip(made, sorted((pairs / "test").iterdir()), strict=True):
        assert in_grid(grid, read(path).pixels) <= 1
        assert in_grid(grid, read(source).pixels[:, 101:]) == 0, "the input is shown as it is"
        assert in_grid(grid, np.roll(read(path).pixels, 1, axis=0)) > 1, "this test can fail"

    # from Python: paths and PIL give PIL, arrays give arrays, tensors give tensors
    model = package.load(tmp_path / "run")
    half = read(pairs / "test" / "00000.png").pixels[:, 101:]
    write(tmp_path / "labels.png", half)
    model(str(tmp_path / "labels.png")).save(tmp_path / "photo.png")
    assert np.array_equal(read(tmp_path / "photo.png").pixels, read(made[0]).pixels)
    assert np.array_equal(model(half), read(made[0]).pixels)
    assert read_meta(tmp_path / "run/generator.safetensors")["side"] == "right"


def test_cyclegan_in_both_directions(pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "unpaired"
    for side, half in (("A", slice(0, 101)), ("B", slice(101, 202))):
        for split in ("train", "test"):
            for path in sorted((pairs / "test").iterdir()):
                (data / f"{split}{side}").mkdir(parents=True, exist_ok=True)
                write(data / f"{split}{side}" / path.name, read(path).pixels[:, half])
    overrides = [a for a in ARGUMENTS["cyclegan"] if not a.startswith("data=")]
    more = [f"data={{kind: unpaired, path: {data}, crop_size: 32, workers: 0}}", *LENGTH, "train.ema=0.5"]
    i2i("train", *overrides, *more, "--run=run")
    grid = read(tmp_path / "run/samples/000003.png").pixels
    for side, direction in (("A", "ab"), ("B", "ba")):
        i2i(
            "translate",
            data / f"test{side}",
            "--direction",
            direction,
            "--out",
            f"out{side}",
            "--device=cpu",
            "--model=run",
        )
        for path in sorted((tmp_path / f"out{side}" / f"test{side}").iterdir()):
            assert in_grid(grid, read(path).pixels) <= 1


def test_large_pictures_are_previewed_at_the_training_scale(pairs, tmp_path, monkeypatch):
    """101 px is over 1.5 times a load_size of 48: the preview is `--size 48`, and plain translation gives the hint."""
    monkeypatch.chdir(tmp_path)
    overrides = [a for a in ARGUMENTS["pix2pix"] if not a.startswith("data=")]
    data = f"data={{kind: paired, path: {pairs}, load_size: 48, crop_size: 32, workers: 0, direction: ba}}"
    i2i("train", *overrides, data, *LENGTH, "--run=run")
    done = i2i("translate", pairs / "test", "--paired", "--size=48", "--model=run", "--device=cpu")
    assert "hint" not in done
    grid = read(tmp_path / "run/samples/000003.png").pixels
    for path in sorted((tmp_path / "run/translated/test").iterdir()):
        assert in_grid(grid, read(path).pixels) <= 1
    done = i2i("translate", pairs / "test", "--paired", "--model=run", "--device=cpu")
    assert done.count("--size 48") == 1


def test_sixteen_bits_of_grey_to_eight_bits_of_colour_and_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        for index in range(count):
            (tmp_path / "data" / split / "A").mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / split / "B").mkdir(parents=True, exist_ok=True)
            scan = rng.integers(0, 65536, (40, 56, 1), dtype=np.uint16)
            write(tmp_path / "data" / split / "A" / f"{index}.png", scan)
            write(tmp_path / "data" / split / "B" / f"{index}.png", rng.integers(0, 256, (40, 56, 3), dtype=np.uint8))
    overrides = [a for a in ARGUMENTS["pix2pix"] if not a.startswith("data=")]
    for direction, made in (("ab", (np.uint8, 3)), ("ba", (np.uint16, 1))):
        data = f"data={{kind: paired, path: data, crop_size: 32, workers: 0, direction: {direction}}}"
        i2i("train", *overrides, data, *LENGTH, f"--run={direction}")
        source = tmp_path / "data/test" / direction[0].upper()
        i2i("translate", source, f"--model={direction}", "--device=cpu")
        for path in sorted((tmp_path / direction / "translated" / source.name).iterdir()):
            pixels = read(path).pixels
            assert (pixels.dtype, pixels.shape) == (made[0], (40, 56, made[1]))
    status, shown = in_process("translate", "data/test/B", "--model=ab", "--device=cpu")
    assert status == 1 and "8 bits a channel, and this model was trained on 16" in shown


def test_sixteen_bits_floats_and_seven_channels_are_shown_as_their_translation_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 1, 110)[None, :, None] * np.linspace(1, 0.5, 7)
    for split, count in (("train", 3), ("test", 2)):
        for index in range(count):
            for side in "AB":
                (tmp_path / "data" / split / side).mkdir(parents=True, exist_ok=True)
            scan = slope[:, :, :1] * 4000 + rng.integers(0, 90, (100, 110, 1))
            write(tmp_path / "data" / split / "A" / f"{index}.png", scan.astype(np.uint16))
            bands = slope * 5 - 2 + rng.uniform(0, 0.9, (100, 110, 7))
            write(tmp_path / "data" / split / "B" / f"{index}.npy", bands.astype(np.float32))
    overrides = [a for a in ARGUMENTS["pix2pix"] if not a.startswith("data=")]
    ranges = "a: {range: [0, 4095]}, b: {range: [-2, 4]}"
    for direction in ("ab", "ba"):
        data = f"data={{kind: paired, path: data, crop_size: 32, workers: 0, direction: {direction}, {ranges}}}"
        i2i("train", *overrides, data, *LENGTH, f"--run={direction}")
        source, target = (tmp_path / "data/test" / side.upper() for side in direction)
        i2i("translate", source, f"--model={direction}", "--device=cpu")
        meta = read_meta(tmp_path / direction / "generator.safetensors")
        reads, writes = Domain(**meta["input"]), Domain(**meta["output"])
        grid = read(tmp_path / direction / "samples/000003.png").pixels

        def coloured(path, domain):
            pixels = domain.shown(read(path).pixels)
            return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels

        for path in sorted((tmp_path / direction / "translated" / source.name).iterdir()):
            made = coloured(path, writes)
            assert in_grid(grid, made) <= 1
            assert made.std() > 1 and in_grid(grid, np.roll(made, 1, axis=0)) > 1, "this test can fail"
        for path in source.iterdir():
            assert in_grid(grid, coloured(path, reads)) == 0 and coloured(path, reads).std() > 30
        for path in target.iterdir():
            assert in_grid(grid, coloured(path, writes)) == 0


def test_the_api_trains_and_returns_what_load_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, *overrides = ARGUMENTS["pix2pix"]
    said = []
    run = package.train(
        recipe, overrides=[*overrides, "train.steps=1", "train.decay_from=null"], device="cpu", say=said.append
    )
    assert run.name == "pix2pix_facades" and (run / "recipe.yaml").is_file() and said
    assert package.load(run)(np.zeros((7, 9, 3), np.uint8)).shape == (7, 9, 3)
    assert {"resnet", "unet"} <= set(package.names("generator"))
    with pytest.raises(ValueError, match="Did you mean 'generator'"):
        package.names("generatr")
    dry = package.train(recipe, overrides=overrides, device="cpu", dry_run=True, fresh=True, say=said.append)
    assert not dry.exists() and any("M parameters" in line for line in said)
