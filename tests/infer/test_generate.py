"""`i2i generate`: the same seed and number give the same bytes, nothing is lost or mixed, sheets show what they say."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from running import in_process
from sampled import RECIPE, run_folder, sampler

import i2i
from i2i import atomic
from i2i.data.domain import Domain
from i2i.data.pictures import probe, read
from i2i.errors import UserError
from i2i.infer import models, walks
from i2i.infer.convert import suffix_of
from i2i.infer.folder import translate
from i2i.infer.generate import generate
from i2i.infer.grid import GAP, MARGIN
from i2i.infer.sampler import Sampler
from i2i.latent import linear, spherical

CELL = 96  # side of an 8 px picture on a sheet


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run():
    return run_folder(Path("runs/r"))


def drawn(model, n=2, **options):
    return generate(model, n, device="cpu", **{"say": lambda text: None} | options)


def tree(top) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in Path(top).rglob("*") if path.is_file())


def contents(top) -> dict[str, bytes]:
    return {name: (Path(top) / name).read_bytes() for name in tree(top)}


class TestFiles:
    def test_names_are_sample_numbers_and_pixels_are_the_sampler_s(self, run):
        made = drawn(run, 3, start=9)
        assert made.folder == run / "generated"
        names = ["000009.png", "000010.png", "000011.png", "grid.png"]
        assert tree(made.folder) == [*names, "samples.json"]
        assert sorted(made.written) == [made.folder / name for name in names]
        expected = models.load(run, device="cpu").pixels(3, start=9)
        for name, pixels in zip(names, expected):
            assert np.array_equal(read(made.folder / name).pixels, pixels)

    def test_the_same_bytes_for_any_count_and_start(self, run):
        whole = contents(drawn(run, 100, out="a").folder)
        few, part = contents(drawn(run, 3, out="b").folder), contents(drawn(run, 70, start=25, out="c").folder)
        for some, count in ((few, 3), (part, 70)):
            names = [name for name in some if name[0].isdigit()]
            assert len(names) == count and all(some[name] == whole[name] for name in names)

    @pytest.mark.parametrize(
        "channels, depth, suffix", [(1, 8, ".png"), (3, 8, ".png"), (3, 16, ".png"), (2, 8, ".npy"), (1, 32, ".npy")]
    )
    def test_they_have_the_depth_and_channels_of_the_data(self, channels, depth, suffix):
        span = (-1.0, 2.0) if depth == 32 else None
        made = drawn(run_folder(Path("r"), channels=channels, depth=depth, span=span), 2, grid=False)
        assert tree(made.folder) == [f"000000{suffix}", f"000001{suffix}", "samples.json"]
        header = probe(made.written[0])
        assert (header.channels, header.depth, header.height, header.width) == (channels, depth, 8, 8)
        assert suffix_of(Domain(channels, span or (0, 2**depth - 1), depth)) == suffix

    def test_without_files_or_without_the_grid(self, run):
        assert tree(drawn(run, 2, files=False, out="a").folder) == ["grid.png", "samples.json"]
        assert tree(drawn(run, 1, grid=False, out="b").folder) == ["000000.png", "samples.json"]

    def test_points_are_one_array_in_their_own_units(self):
        run, said = run_folder(Path("p"), channels=2, size=1, depth=32, span=(-4.0, 4.0)), []
        made = drawn(run, 70, start=3, say=said.append)
        assert tree(made.folder) == ["grid.png", "points.npy", "samples.json"]
        points = np.load(made.folder / "points.npy", allow_pickle=False)
        assert points.shape == (70, 2) and points.dtype == np.float32 and 1 < np.abs(points).max() <= 4
        expected = models.load(run, device="cpu").tensors(70, start=3)
        assert np.allclose(points, 4 * expected[:, :, 0, 0].numpy(), atol=1e-5)
        record = json.loads((made.folder / "samples.json").read_text())
        assert (record["start"], record["count"]) == (3, 70) and "70 points" in said[-1]

    def test_progress_counts_every_sample(self, run):
        seen = []
        drawn(run, 70, start=60, progress=lambda *now: seen.append(now))
        assert seen == [(done, 70) for done in range(1, 71)]

    def test_each_sample_goes_through_the_network_once(self, run, monkeypatch):
        seen, inner = [], Sampler.decode
        monkeypatch.setattr(Sampler, "decode", lambda self, z, *told: seen.append(len(z)) or inner(self, z, *told))
        drawn(run, 70, start=60)
        assert seen == [64, 64, 2]  # in the company of their 64, whose first numbers are drawn along

    def test_the_newest_run_is_used_and_named(self, run):
        said = []
        os.utime(run_folder(Path("runs/old")) / "generator.safetensors", (1, 1))
        assert drawn(None, say=said.append).folder == run / "generated"
        assert "runs/r/generator.safetensors (step 1000), seed 0" in said[0]

    def test_the_weights_alone_have_their_samples_beside_them(self, run):
        os.renames(run / "generator.safetensors", "w/mine.safetensors")
        assert tree(drawn("w/mine.safetensors", 1).folder) == ["000000.png", "grid.png", "samples.json"]
        assert Path("w/generated/grid.png").exists()


class TestNothingIsLostOrMixed:
    def test_the_same_command_writes_the_same_again(self, run):
        before = contents(drawn(run, 5).folder)
        assert contents(drawn(run, 5).folder) == before
        drawn(run, 2)
        after = contents(run / "generated")
        assert after.keys() == before.keys() and all(after[name] == before[name] for name in before if name[0] == "0")

    def test_another_seed_has_a_folder_of_its_own(self, run):
        before = contents(drawn(run).folder)
        made = drawn(run, seed=7)
        assert made.folder == run / "generated/seed7" and drawn(run, seed=0).folder == run / "generated"
        now = contents(run / "generated")
        assert all(now[name] == data for name, data in before.items())
        assert now["seed7/000000.png"] != now["000000.png"]
        assert json.loads(now["seed7/samples.json"])["seed"] == 7

    def test_another_step_has_a_folder_of_its_own(self, run):
        first = drawn(run).folder
        drawn(run, seed=7)
        before, said = contents(first), []
        run_folder(run, step=2000, seed=8)
        made = drawn(run, say=said.append)
        assert made.folder == run / "generated/step00002000" and "step 1000" in said[0] and str(made.folder) in said[0]
        assert drawn(run, seed=7).folder == run / "generated/step00002000/seed7"
        assert drawn(run).folder == made.folder
        now = contents(first)
        assert all(now[name] == data for name, data in before.items())
        assert now["step00002000/000000.png"] != now["000000.png"]

    def test_other_weights_of_the_same_step_are_refused_there(self, run):
        drawn(run)
        run_folder(run, seed=8)
        assert drawn(run).folder == run / "generated/step00001000"
        before = contents(run)
        run_folder(run, seed=9)
        with pytest.raises(UserError, match="step00001000 holds samples of other weights.*--out DIR"):
            drawn(run)
        assert {k: v for k, v in contents(run).items() if k != "generator.safetensors"} == {
            k: v for k, v in before.items() if k != "generator.safetensors"
        }

    def test_a_place_with_samples_of_others_is_refused(self, run):
        drawn(run, out="there")
        before = contents("there")
        for options in ({"seed": 7}, {"model": run_folder(Path("s"), seed=8)}):
            with pytest.raises(UserError, match=r"there holds samples .*\(step 1000, seed 0\).*--out DIR"):
                drawn(**{"model": run} | options, out="there", start=50)
        assert contents("there") == before

    def test_files_of_others_are_not_overwritten(self, run):
        Path("mine").mkdir()
        Path("mine/000001.png").write_text("a picture of mine")
        with pytest.raises(UserError, match="mine holds other files of these names, as 000001.png"):
            drawn(run, out="mine")
        assert tree("mine") == ["000001.png"]
        assert "000002.png" in tree(drawn(run, start=2, out="mine").folder)

    def test_a_record_that_is_damaged_is_no_leave_to_overwrite(self, run):
        (drawn(run).folder / "samples.json").write_text("{")
        assert drawn(run).folder == run / "generated/step00001000"

    def test_a_full_disk_is_one_sentence_and_leaves_a_folder_that_can_be_gone_on_with(self, run, monkeypatch):
        inner, calls = atomic.write_bytes, []

        def full(path, *pieces):
            calls.append(path)
            if len(calls) == 4:  # samples.json, two samples, then
                raise OSError(28, "No space left on device", str(path))
            inner(path, *pieces)

        with monkeypatch.context() as patched:
            patched.setattr(atomic, "write_bytes", full)
            with pytest.raises(UserError, match="000002.png cannot be written: No space left on device; 2 files were"):
                drawn(run, 5)
        assert tree(run / "generated") == ["000000.png", "000001.png", "samples.json"]
        assert len(drawn(run, 5).written) == 6


def cell(path: Path, row: int, column: int, rows: int) -> np.ndarray:
    """The 8 px picture in that place of a sheet, (8, 8, 3); rows count from above, of the `rows` that it has."""
    pixels = read(path).pixels
    top = pixels.shape[0] - MARGIN - rows * CELL - (rows - 1) * GAP + row * (CELL + GAP)
    left = MARGIN + column * (CELL + GAP)
    shown = pixels[top : top + CELL, left : left + CELL]
    assert np.array_equal(shown, shown[::12, ::12].repeat(12, 0).repeat(12, 1))
    return shown[::12, ::12]


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal but for one level: latents of a sheet go through the network in other company."""
    return np.abs(found.astype(int) - np.broadcast_to(expected, found.shape).astype(int)).max() <= 1


class TestSheets:
    @pytest.fixture
    def model(self, run):
        return models.load(run, device="cpu")

    def test_the_grid_shows_the_first_64_by_rows_and_says_so(self, run, model):
        said = []
        path = drawn(run, 70, files=False, start=2, say=said.append).written[0]
        assert "grid.png shows the first 64 of 70" in said
        pixels = model.pixels(64, start=2)
        for place in (0, 7, 8, 63):
            assert np.array_equal(cell(path, place // 8, place % 8, 8)[:, :, :1], pixels[place])

    def test_few_samples_are_a_block_too(self, run, model):
        path = drawn(run, 4, files=False).written[0]
        assert read(path).pixels.shape[1] == 2 * MARGIN + 2 * CELL + GAP
        assert np.array_equal(cell(path, 1, 0, 2)[:, :, :1], model.pixels(4)[2])

    def test_ways_go_from_sample_to_sample_and_an_odd_last_is_left_out(self, run, model):
        said = []
        made = drawn(run, 5, start=3, files=False, grid=False, interpolate=5, say=said.append)
        assert [path.name for path in made.written] == ["interpolation_linear.png", "interpolation_spherical.png"]
        assert "first 4 of 5 samples" in "\n".join(said)
        z, pixels = model.latents(4, start=3), model.pixels(4, start=3)
        for path, way in zip(made.written, (linear, spherical)):
            for row in (0, 1):
                assert close(cell(path, row, 0, 2), pixels[2 * row]) and close(
                    cell(path, row, 4, 2), pixels[2 * row + 1]
                )
                (middle,) = walks.shown(model, way(z[2 * row], z[2 * row + 1], torch.tensor([0.5])))
                assert close(cell(path, row, 2, 2), middle)
        assert not close(cell(made.written[0], 0, 2, 2), cell(made.written[1], 0, 2, 2))

    def test_a_sum_is_of_means_and_the_others_are_near_it(self, run, model):
        made = drawn(run, 1, files=False, grid=False, arithmetic="1,2 - 3 + 0, 2, 12")
        assert [path.name for path in made.written] == ["arithmetic.png"]
        z, path = model.latents(13), made.written[0]
        means = [z[[1, 2]].mean(0), z[3], z[[0, 2, 12]].mean(0)]
        expected = walks.shown(model, torch.stack([*means, means[0] - means[1] + means[2], z[12]]))
        for column in range(4):
            assert close(cell(path, 0, column, 4), expected[column])
        assert close(cell(path, 3, 2, 4), expected[4])
        assert (cell(path, 1, 3, 4) == 255).all()  # nothing below the sum
        others = [cell(path, row, column, 4) for column in (4, 5) for row in range(4)]
        assert len({other.tobytes() for other in others}) == 8 and not any(close(o, expected[3]) for o in others)

    def test_the_noise_around_a_sum_fills_a_quarter_both_ways(self, monkeypatch):
        model, seen = sampler(), []
        monkeypatch.setattr(walks, "VARIATIONS", 4000)
        monkeypatch.setattr(walks, "shown", lambda _, z, label: seen.append(z) or [np.zeros((8, 8), np.uint8)] * len(z))
        monkeypatch.setattr(walks, "grid", lambda *_, **__: None)
        walks.arithmetic(model, "1 + 2", 0, Path("x.png"))
        (z,) = seen
        noise = z[3:4003] - z[2]
        assert torch.allclose(z[2], z[0] + z[1]) and noise.abs().max() <= 0.25 + 1e-6
        assert noise.min() < -0.249 and noise.max() > 0.249 and abs(noise.mean()) < 0.01

    def test_sheets_are_the_same_bytes_again(self, run):
        options = {"files": False, "interpolate": 3, "arithmetic": "1-2"}
        assert contents(drawn(run, out="a", **options).folder) == contents(drawn(run, out="b", **options).folder)


class TestSums:
    @pytest.mark.parametrize(
        "text, terms",
        [
            ("1,2,3 - 4,5,6 + 7,8,9", [(1, (1, 2, 3)), (-1, (4, 5, 6)), (1, (7, 8, 9))]),
            ("5", [(1, (5,))]),
            (" 0+0 -00 ", [(1, (0,)), (1, (0,)), (-1, (0,))]),
            ("1 \u2212 2", [(1, (1,)), (-1, (2,))]),
        ],
    )
    def test_parsed(self, text, terms):
        assert walks.parse(text) == terms

    @pytest.mark.parametrize("text", ["", "-1", "1,-2", "1 - -2", "1,,2", "1 +", "a", "1.5", "1 2", "1*2", "9" * 5000])
    def test_refused_in_one_sentence(self, run, text):
        with pytest.raises(UserError, match="is no sum of samples") as error:
            drawn(run, arithmetic=text)
        assert "count from 0" in str(error.value) and not (run / "generated").exists()


class TestRefusals:
    @pytest.mark.parametrize(
        "options, words",
        [
            ({"n": 0}, "n 0"),
            ({"n": -3}, "n -3"),
            ({"start": -1}, "start -1: sample numbers count from 0"),
            ({"interpolate": 1}, "interpolate 1"),
            ({"interpolate": 65}, "2 to 64"),
            ({"n": 1, "interpolate": 4}, "no other to go to"),
            ({"files": False, "grid": False}, "nothing to write"),
            ({"device": "gpu"}, "'gpu' is not a device"),
        ],
    )
    def test_before_anything_is_written(self, run, options, words):
        with pytest.raises(UserError, match=words):
            generate(run, **{"device": "cpu"} | options)
        assert not (run / "generated").exists()

    def test_sheets_of_points(self):
        run = run_folder(Path("p"), channels=2, size=1, depth=32, span=(-4.0, 4.0))
        for options in ({"interpolate": 3}, {"arithmetic": "1+2"}):
            with pytest.raises(UserError, match="draws points"):
                drawn(run, **options)

    def test_a_run_that_translates_and_one_that_does_not(self, run_folder, run):
        other = run_folder("t")
        with pytest.raises(
            UserError, match="translates pictures, and draws none from noise; use  i2i translate FOLDER"
        ):
            drawn(other)
        grid = drawn(run).folder / "grid.png"
        with pytest.raises(
            UserError, match="draws pictures from noise and reads none; draw some with  i2i generate runs/r"
        ):
            translate(grid, model=run, device="cpu")

    def test_nothing_trained_yet(self):
        with pytest.raises(UserError, match="there is no run in runs; train one"):
            drawn(None)
        Path("runs/new").mkdir(parents=True)
        Path("runs/new/recipe.yaml").write_text(RECIPE)
        with pytest.raises(UserError, match="has weights yet"):
            drawn(None)
        with pytest.raises(UserError, match="has no weights yet"):
            drawn("runs/new")

    def test_a_place_that_cannot_be_written_to(self, run):
        Path("file").write_text("")
        with pytest.raises(UserError, match="file cannot be written to"):
            drawn(run, out="file")


class TestCommandLine:
    def test_from_idx_files_to_pictures(self):
        data = Path("digits")
        data.mkdir()
        for part, count in (("train", 12), ("t10k", 4)):
            pictures = np.random.default_rng(count).integers(0, 256, (count, 8, 8), dtype=np.uint8)
            (data / f"{part}-images-idx3-ubyte").write_bytes(
                struct.pack(">4I", 2051, *pictures.shape) + pictures.tobytes()
            )
            labels = np.arange(count, dtype=np.uint8) % 2
            (data / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, count) + labels.tobytes())
        Path("small.yaml").write_text(
            RECIPE.replace(
                "DATA", "{kind: labelled, path: digits, load_size: null, crop_size: 8, flip: false, workers: 0}"
            )
        )
        status, shown = in_process("train", "small.yaml", "--device=cpu")
        assert status == 0, shown
        status, shown = in_process("generate", "-n", "3", "--device=cpu", "--interpolate", "2", "--arithmetic", "0 - 1")
        assert status == 0 and "runs/small/generator.safetensors (step 2)" in shown, shown
        folder = Path("runs/small/generated")
        assert len(list(folder.glob("00000[012].png"))) == 3 and len(list(folder.glob("*.png"))) == 7
        made = i2i.load("runs/small", device="cpu")(3)
        assert np.array_equal(np.array(made[2]), read(folder / "000002.png").pixels[:, :, 0])

    def test_python_and_the_command_line_write_the_same(self, run):
        status, shown = in_process("generate", run, "-n", 2, "--seed", 5, "--start", 1, "--out", "a", "--device", "cpu")
        assert status == 0, shown
        assert i2i.generate is generate and "generate" in i2i.__all__
        i2i.generate(run, 2, seed=5, start=1, out="b", device="cpu")
        assert contents("a") == contents("b") and set(contents("a")) == {
            "000001.png", "000002.png", "grid.png", "samples.json",
        }  # fmt: skip

    def test_errors_are_one_sentence_and_status_1(self, run):
        for arguments, words in (
            (["-n", "0"], "n 0: there is nothing to draw"),
            (["--data", "x"], "--data says where the training pictures are"),
            (["--no-files", "--no-grid"], "nothing to write"),
        ):
            status, shown = in_process("generate", run, *arguments)
            assert status == 1 and shown.startswith("i2i: ") and words in shown and "Traceback" not in shown
