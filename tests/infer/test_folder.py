"""Folders of pictures: names kept, inputs never touched, broken files named and the rest done."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest

from i2i import atomic
from i2i.data import pictures
from i2i.errors import UserError
from i2i.infer import models
from i2i.infer.folder import translate
from i2i.infer.journal import NAME

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(run_folder):
    return run_folder("r")


@pytest.fixture
def say():
    """Collects the lines for the user."""

    class Said(list):
        __call__ = list.append

        @property
        def text(self) -> str:
            return "\n".join(self)

    return Said()


def draw(path: str, size=(12, 10), seed=0, channels=3, dtype=np.uint8, alpha=False) -> np.ndarray:
    """A picture file of noise; gives its pixels."""
    top = np.iinfo(dtype).max
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, top, (*size, channels), dtype=dtype, endpoint=True)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if path.lower().endswith("png"):
        pictures.write(path, pixels, rng.integers(0, top, size, dtype=dtype) if alpha else None)
    else:
        from PIL import Image

        Image.fromarray(pixels).save(path, "JPEG")
    return pixels


def tree(top) -> list[str]:
    """The files below `top`, the journal apart."""
    return sorted(str(path.relative_to(top)) for path in Path(top).rglob("*") if path.is_file() and path.name != NAME)


def everything(top=".") -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(top).rglob("*") if path.is_file()}


class TestOutputs:
    def test_names_and_sub_folders_are_kept(self, run, say):
        for name in ("in/a.png", "in/b.JPG", "in/sub/deep/c.jpeg", "in/other/a.png"):
            draw(name)
        report = translate("in", model=run, device="cpu", say=say)
        assert tree(run / "translated") == ["in/a.png", "in/b.png", "in/other/a.png", "in/sub/deep/c.png"]
        assert sorted(report.written) == [run / "translated" / name for name in tree(run / "translated")]
        assert report.failed == [] and "4 pictures written to" in say.text

    def test_they_are_what_the_model_makes_of_each(self, run):
        draw("in/a.png", (13, 9))
        draw("in/b.jpg", (7, 21))
        translate(["in"], model=run, device="cpu")
        model = models.load(run, device="cpu")
        for source, target in (("in/a.png", "in/a.png"), ("in/b.jpg", "in/b.png")):
            expected = model.pixels(pictures.read(source).pixels)
            assert np.array_equal(pictures.read(run / "translated" / target).pixels, expected)

    def test_single_files_and_another_place(self, run):
        draw("x/a.png")
        draw("x/b.png")
        draw("in/c.png")
        translate(["x/a.png", Path("x/b.png"), "in"], model=run, out="there", device="cpu")
        assert tree("there") == ["a.png", "b.png", "in/c.png"]

    def test_the_newest_run_is_used_and_named(self, run_folder, say):
        draw("in/a.png")
        old, new = run_folder("old"), run_folder("new")
        os.utime(old / "generator.safetensors", (1, 1))
        translate("in", device="cpu", say=say)
        assert tree(new / "translated") == ["in/a.png"] and "runs/new/generator.safetensors (step 1000)" in say.text

    def test_a_bare_weights_file_has_its_outputs_beside_it(self, run, tmp_path):
        draw("in/a.png")
        (tmp_path / "w").mkdir()
        shutil.copy(run / "generator.safetensors", tmp_path / "w" / "mine.safetensors")
        translate("in", model="w/mine.safetensors", device="cpu")
        assert tree("w/translated") == ["in/a.png"]

    def test_direction(self, run_folder):
        draw("in/a.png")
        run_folder("c", "generator_ab", "generator_ba")
        lines = []
        translate("in", model="runs/c", direction="ba", device="cpu", say=lines.append)
        assert "generator_ba.safetensors" in lines[0]

    def test_the_folder_given_as_a_dot_keeps_its_name(self, run, monkeypatch):
        draw("in/sub/a.png")
        monkeypatch.chdir("in/sub")
        translate(".", model=run, out="../../out", device="cpu")
        translate("..", model=run, out="../../out2", device="cpu")
        assert tree("../../out") == ["sub/a.png"] and tree("../../out2") == ["in/sub/a.png"]

    def test_hidden_files_and_folders_are_passed_over_and_others_counted(self, run, say):
        for name in ("in/a.png", "in/.b.png", "in/.cache/c.png"):
            draw(name)
        for name in ("in/notes.txt", "in/old.heic", "in/new.heic"):
            Path(name).touch()
        translate("in", model=run, device="cpu", say=say)
        assert tree(run / "translated") == ["in/a.png"]
        assert "3 files that are not .png, .jpg, .jpeg, " in say.text
        assert ".npy were passed over: 2 .heic, 1 .txt" in say.text

    def test_stems_that_collide_keep_their_whole_names(self, run):
        for name in ("a.jpg", "a.png", "b.png", "a.jpg.png", "C.jpg", "c.png"):
            draw(f"in/{name}")
        draw("in/sub/a.png")
        translate("in", model=run, device="cpu")
        assert tree(run / "translated" / "in") == [
            "C.jpg.png", "a.jpg.png", "a.jpg.png.png", "a.png.png", "b.png", "c.png.png", "sub/a.png",
        ]  # fmt: skip

    def test_samples_are_numbered_and_differ(self, run_folder):
        run = run_folder("n", net="noisy", norm="batch", dropout=True)
        draw("in/a.png", (64, 64))
        report = translate("in", model=run, samples=3, device="cpu")
        assert tree(run / "translated") == ["in/a_0.png", "in/a_1.png", "in/a_2.png"] and len(report.written) == 3
        outputs = {path.read_bytes() for path in report.written}
        assert len(outputs) == 3
        again = translate("in", model=run, samples=3, device="cpu")
        assert {path.read_bytes() for path in again.written} == outputs
        one = translate("in", model=run, out="one", device="cpu").written[0]
        assert one.read_bytes() == report.written[0].read_bytes()

    def test_a_sheet_shows_each_input_under_every_noise(self, run_folder, say):
        run = run_folder("n", net="noisy", norm="batch", dropout=True)
        draw("in/a.png", (96, 96))
        draw("in/b.png", (128, 64), channels=1)
        Path("in/broken.png").write_bytes(b"no picture")
        report = translate("in", model=run, samples=3, sheet=True, device="cpu", say=say)
        assert report.sheet == run / "translated" / "sheet.png" and "sheet.png: inputs and outputs" in say.text
        assert len(report.written) == 6 and report.sheet not in report.written and len(report.failed) == 1
        sheet = pictures.read(report.sheet).pixels
        for path in (*report.written, Path("in/a.png")):
            cell = pictures.read(path).pixels
            distance = cv2.matchTemplate(sheet, cell, cv2.TM_SQDIFF)
            assert distance.min() < 1e-6 * distance.max(), path  # its sums are float32
        assert translate("in", model=run, out="plain", device="cpu").sheet is None
        assert not Path("plain/sheet.png").exists()

    def test_a_sheet_overwrites_nothing(self, run_folder):
        run = run_folder("n", net="noisy", norm="batch", dropout=True)
        draw("out/sheet.png")
        with pytest.raises(
            UserError, match=r"out/sheet.png would overwrite the input out/sheet.png; leave --sheet out"
        ):
            translate("out/sheet.png", model=run, out="out", samples=2, sheet=True, device="cpu")
        with pytest.raises(UserError, match=r"other/sheet.png would overwrite the output of out/sheet.png"):
            translate("out/sheet.png", model=run, out="other", sheet=True, device="cpu")
        assert not Path("other").exists()

    def test_size_keeps_the_size_of_the_output(self, run):
        draw("in/a.png", (70, 90))
        path = translate("in", model=run, size=16, device="cpu").written[0]
        assert pictures.read(path).pixels.shape == (70, 90, 3)

    def test_what_is_converted_is_counted_and_said_once(self, run, say):
        draw("in/a.png", channels=1)
        draw("in/b.png", channels=1, alpha=True)
        draw("in/c.png", alpha=True)
        draw("in/d.png")
        translate("in", model=run, device="cpu", say=say)
        assert "2 of the pictures: grey, and replicated" in say.text
        assert "2 of the pictures: with alpha, which was set aside and put back" in say.text
        assert [pictures.read(run / f"translated/in/{n}.png").alpha is not None for n in "abcd"] == [0, 1, 1, 0]

    def test_sixteen_bits_in_and_out(self, run_folder):
        run = run_folder("deep", depths=(16, 16))
        draw("in/a.png", dtype=np.uint16, alpha=True)
        made = pictures.read(translate("in", model=run, device="cpu").written[0])
        assert made.pixels.dtype == np.uint16 and made.alpha.dtype == np.uint16
        assert np.array_equal(made.alpha, pictures.read("in/a.png").alpha)

    def test_one_hint_for_all_large_pictures(self, run, say):
        for name, side in (("a", 40), ("b", 60), ("c", 60)):
            draw(f"in/{name}.png", (side, side))
        translate("in", model=run, device="cpu", say=say)
        hints = [line for line in say if line.startswith("hint:")]
        assert len(hints) == 1 and hints[0].startswith("hint: in/b.png: 60 x 60") and "--size 32" in hints[0]
        say.clear()
        translate("in", model=run, size=32, device="cpu", say=say)
        assert not any(line.startswith("hint:") for line in say)

    def test_progress_counts_every_picture(self, run):
        for name in "abc":
            draw(f"in/{name}.png")
        Path("in/b.png").write_bytes(b"")
        seen = []
        translate("in", model=run, device="cpu", progress=lambda *args: seen.append(args))
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_what_a_killed_call_left_is_swept(self, run):
        draw("in/a.png")
        place = run / "translated" / "in"
        place.mkdir(parents=True)
        (place / f".a.png.0{atomic.SUFFIX}").touch()
        translate("in", model=run, device="cpu")
        assert tree(place) == ["a.png"]


class TestPaired:
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_the_input_s_half_is_translated(self, run_folder, side, say):
        run = run_folder("p", side=side)
        both = draw("in/a.png", (16, 32))
        half = both[:, :16] if side == "left" else both[:, 16:]
        path = translate("in", model=run, paired=True, device="cpu", say=say).written[0]
        assert np.array_equal(pictures.read(path).pixels, models.load(run, device="cpu").pixels(half))
        assert not any(line.startswith("hint:") for line in say)

    def test_without_it_the_whole_is_translated_and_a_hint_given(self, run, say):
        draw("in/a.png", (16, 32))
        path = translate("in", model=run, device="cpu", say=say).written[0]
        assert pictures.read(path).pixels.shape == (16, 32, 3) and "--paired takes the input" in say.text

    def test_an_odd_width_is_a_failure_of_that_file(self, run):
        draw("in/a.png", (16, 31))
        draw("in/b.png", (16, 32))
        report = translate("in", model=run, paired=True, device="cpu")
        assert len(report.written) == 1 and "31 px wide" in report.failed[0].why

    def test_a_model_of_unpaired_pictures_has_no_half(self, run_folder):
        draw("in/a.png")
        with pytest.raises(UserError, match="was not trained on pairs"):
            translate("in", model=run_folder("u", side=None), paired=True, device="cpu")
        assert not Path("runs/u/translated").exists()


class TestFailures:
    def test_a_broken_file_is_named_and_the_rest_is_done(self, run, say):
        for name in "abc":
            draw(f"in/sub/{name}.png")
        Path("in/sub/b.png").write_bytes(Path("in/sub/b.png").read_bytes()[:60])
        draw("in/deep.png", dtype=np.uint16)
        os.symlink("nowhere", "in/gone.png")
        report = translate("in", model=run, device="cpu", say=say)
        assert tree(run / "translated") == ["in/sub/a.png", "in/sub/c.png"]
        assert sorted(str(failure.path) for failure in report.failed) == ["in/deep.png", "in/gone.png", "in/sub/b.png"]
        for failure in report.failed:
            assert str(failure.path) in failure.why and failure.why in say
        assert "2 pictures written" in say.text and "3 failed" in say.text

    def test_a_file_of_another_kind_given_by_name_is_a_failure(self, run):
        Path("notes.txt").write_text("hello")
        report = translate("notes.txt", model=run, device="cpu")
        assert report.written == [] and "notes.txt" in report.failed[0].why

    def test_colour_for_a_grey_network(self, run_folder):
        draw("in/a.png")
        draw("in/b.png", channels=1)
        report = translate("in", model=run_folder("g", ins=1), device="cpu")
        assert len(report.written) == 1 and "in/a.png: it has 3 channels" in report.failed[0].why

    def test_a_folder_that_cannot_be_listed_is_a_failure(self, run, monkeypatch, say):
        draw("in/a.png")
        draw("in/secret/b.png")
        real = os.scandir

        def scandir(path):
            if str(path).endswith("secret"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        report = translate("in", model=run, device="cpu", say=say)
        assert len(report.written) == 1 and str(report.failed[0].path) == "in/secret"
        assert "in/secret cannot be listed: Permission denied." in say

    def test_a_full_disk_stops_at_once_in_one_sentence(self, run, monkeypatch):
        for name in "abc":
            draw(f"in/{name}.png")
        real, calls = atomic.write_bytes, []

        def full(path, *pieces):
            calls.append(path)
            if len(calls) == 2:
                raise OSError(28, "No space left on device", str(path))
            real(path, *pieces)

        monkeypatch.setattr(atomic, "write_bytes", full)
        with pytest.raises(UserError, match=r"in/b\.png cannot be written: No space left on device; 1 pictures were"):
            translate("in", model=run, device="cpu")
        assert len(calls) == 2 and tree(run / "translated") == ["in/a.png"]


def refused(word: str, *args, **kwargs) -> None:
    """Refused in one sentence, and nothing at all was written or changed."""
    before = everything()
    with pytest.raises(UserError, match=word) as error:
        translate(*args, device="cpu", **kwargs)
    assert "\n" not in str(error.value)
    assert everything() == before


class TestRefusals:
    def test_the_input_folder_as_the_place_of_its_own_outputs(self, run):
        draw("p/in/a.png")
        draw("p/in/b.jpg")
        os.symlink("in", "p/link")
        os.symlink("p", "q")
        Path("p/x").mkdir()
        for out in ("p", "p/in", "p/x/..", "p/in/../../p", "q", "p/link", "q/link", os.path.abspath("p")):
            refused("overwrite", "p/in", model=run, out=out)
        refused("overwrite", "p/in/", model=run, out="p/")
        refused("overwrite", "q/in", model=run, out="p")
        os.chdir("p/in")
        refused("overwrite", ".", model=run, out="..")
        refused("overwrite", ".", model=run, out=".")

    def test_outputs_do_not_go_among_their_inputs_even_where_no_name_is_the_same(self, run):
        draw("p/in/b.jpg")
        refused("the same folder", "p/in", model=run, out="p")
        refused("the same folder", "p/in", model=run, out="p/in")

    def test_an_input_file_as_its_own_output(self, run):
        draw("in/a.png")
        os.symlink("in", "link")
        for path, out in (("in/a.png", "in"), ("in/a.png", "link"), ("link/a.png", "in/../in")):
            refused("would overwrite the input", path, model=run, out=out)
        draw("in/b.jpg")
        assert translate("in/b.jpg", model=run, out="in", device="cpu").written == [Path("in/b.png")]

    def test_an_output_that_links_to_an_input(self, run):
        draw("in/a.png")
        Path("out/in").mkdir(parents=True)
        os.symlink("../../in/a.png", "out/in/a.png")
        refused("would overwrite the input", "in", model=run, out="out")

    def test_outputs_of_earlier_calls_translated_again(self, run):
        draw("in/a.png")
        translate("in", model=run, device="cpu")
        refused("overwrite", run / "translated" / "in", model=run)
        refused("overwrite", run / "translated", model=run)

    def test_an_out_folder_inside_the_input_is_not_walked(self, run):
        draw("in/a.png")
        for _ in range(2):
            translate("in", model=run, out="in/results", device="cpu")
            assert tree("in") == ["a.png", "results/in/a.png"]
        os.symlink("results", "in/again")
        translate("in", model=run, out="in/results", device="cpu")
        assert tree("in") == ["a.png", "results/in/a.png"]

    def test_the_run_s_own_outputs_are_not_walked(self, run):
        draw("in/a.png")
        for _ in range(2):
            report = translate(".", model=run, device="cpu")
            assert len(report.written) == 1

    def test_linked_folders_are_followed_once(self, run):
        draw("data/a.png")
        Path("in").mkdir()
        os.symlink("../data", "in/x")
        os.symlink("../in", "in/loop")
        assert len(translate("in", model=run, device="cpu").written) == 1

    def test_two_inputs_that_would_become_one_file(self, run):
        draw("x/in/a.png")
        draw("y/in/a.png", seed=1)
        refused("would both become", ["x/in", "y/in"], model=run)
        refused("would both become", ["x/in/a.png", "y/in/a.png"], model=run)
        assert len(translate(["x/in", "x/in", "x/in/a.png"], model=run, device="cpu").written) == 2  # once each

    def test_nothing_to_translate(self, run):
        Path("empty/.hidden").mkdir(parents=True)
        Path("empty/notes.txt").touch()
        refused("nothing to translate in empty", "empty", model=run)
        refused("nothing to translate", [], model=run)
        refused("there is no nowhere", ["nowhere"], model=run)
        refused("there is no nowhere", ["nowhere"])  # even without a model

    def test_a_missing_model(self):
        draw("in/a.png")
        refused("there is no run in runs", "in")
        refused("there is no runs/x", "in", model="runs/x")

    @pytest.mark.parametrize(
        "options, word",
        [
            ({"samples": 0}, "samples 0"),
            ({"samples": 4}, "4 samples would all be equal"),
            ({"size": 0}, "size 0"),
            ({"direction": "up"}, "'up' is no direction"),
            ({"direction": "ba"}, "not ba"),
        ],
    )
    def test_options_that_cannot_be(self, run, options, word):
        draw("in/a.png")
        refused(word, "in", model=run, **options)

    def test_a_place_that_cannot_be_written_to(self, run):
        draw("in/a.png")
        Path("file").touch()
        refused("file/in cannot be written to: Not a directory", "in", model=run, out="file")
        Path("out").mkdir()
        Path("out/in").touch()
        refused("out/in cannot be written to: File exists", "in", model=run, out="out")

    def test_no_permission_is_one_sentence(self, run, tmp_path):
        draw("in/a.png")
        Path("locked").mkdir()
        Path("locked").chmod(0o555)
        tmp_path.chmod(0o755)
        code = textwrap.dedent("""
            import os, sys
            from i2i.errors import UserError
            from i2i.infer.folder import translate
            from i2i.nets import GENERATORS
            GENERATORS.names()
            if os.getuid() == 0:
                os.setuid(65534)  # root may write anywhere
            for out in ("locked", "locked/in"):
                try:
                    translate("in", model="runs/r", out=out, device="cpu")
                except UserError as error:
                    print(error, file=sys.stderr)
        """)
        Path("locked/in").mkdir()
        Path("locked/in").chmod(0o555)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": "/tmp"}
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert "Traceback" not in out.stderr, out.stderr
        first, second = out.stderr.strip().split("\n")
        assert first == "locked/in cannot be written to: Permission denied; choose another place with --out DIR."
        assert second.startswith("locked/in/in cannot be written to: Permission denied")

    def test_files_are_compared_by_what_they_are_on_the_disk(self, run):
        """As where A and a are one file; a hard link stands for that here."""
        draw("in/a.png")
        Path("out").mkdir()
        os.link("in/a.png", "out/a.png")
        refused("would overwrite the input", "in/a.png", model=run, out="out")


def test_a_tilde_is_the_home_folder(run, say, tmp_path, monkeypatch):
    """bash leaves that of --out=~/x as it is, and a folder called ~ would be made."""
    draw("in/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    report = translate("~/in", model=f"~/{Path(run).relative_to(tmp_path)}", out="~/out", say=say)
    assert report.written == [tmp_path / "out" / "in" / "a.png"] and not Path("~").exists()
