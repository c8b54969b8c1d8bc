"""Samples of classes: seed, number and class give the picture, bit for bit, and each class has its turn or is asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from running import in_process
from sampled import run_folder, sampler, weights

from i2i.errors import UserError
from i2i.infer import generate as generating
from i2i.infer import models
from i2i.infer.generate import generate
from i2i.infer.grid import by_class
from i2i.infer.sampler import CHUNK, Sampler

NAMES = ("cat", "1", "dog")


@pytest.fixture
def model():
    return sampler(names=NAMES, size=12)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return run_folder(Path("runs/r"), names=NAMES)


def drawn(run, n=9, **options):
    return generate(run, n, device="cpu", **{"say": lambda text: None} | options)


class TestSampler:
    def test_each_class_has_its_turn_by_the_number_of_the_sample(self, model):
        assert model.classes_of(5) == [0, 1, 2, 0, 1] and model.classes_of(4, start=CHUNK + 1) == [2, 0, 1, 2]
        whole = model.tensors(9)
        with torch.no_grad():
            expected = model.net(model.latents(9), torch.arange(9) % 3)
        assert torch.allclose(whole, expected, atol=1e-6) and len({x.numpy().tobytes() for x in whole}) == 9

    def test_seed_number_and_class_are_enough(self, model):
        """Whatever is drawn beside it, of whatever classes: the same bits."""
        whole = model.tensors(2 * CHUNK + 9)
        for label in range(3):
            alone = model.tensors(2 * CHUNK + 9, classes=label)
            assert all(alone[i].equal(whole[i]) == (i % 3 == label) for i in range(len(whole)))
            assert model.tensors(2, start=70, classes=label).equal(alone[70:72])
        assert model.tensors(3, start=CHUNK, classes=[2, 2, 0])[2].equal(model.tensors(CHUNK + 3, classes=0)[-1])
        assert not model.tensors(1, seed=1, classes=0).equal(model.tensors(1, classes=0))

    def test_the_z_of_a_number_is_that_of_every_class(self, model):
        with torch.no_grad():
            expected = model.net(model.latents(1, start=4), torch.tensor([2]))
        assert torch.allclose(model.tensors(1, start=4, classes=2), expected, atol=1e-6)

    def test_pictures_and_levels_are_of_the_class_too(self, model):
        assert np.array_equal(np.array(model(1, classes=1)[0]), model.pixels(1, classes=1)[0][:, :, 0])
        assert np.array_equal(model.pixels(2)[1], model.pixels(2, classes=1)[1])
        assert not np.array_equal(model.pixels(2)[1], model.pixels(2, classes=2)[1])

    def test_latents_are_decoded_with_a_class(self, model):
        z = model.latents(CHUNK + 3)
        assert model.decode(z, 2).equal(model.tensors(CHUNK + 3, classes=2))
        with pytest.raises(UserError, match="latents name none. Give classes"):
            model.decode(z)

    @pytest.mark.parametrize("label", [3, -1])
    def test_a_class_that_is_not_there(self, model, label):
        with pytest.raises(
            UserError, match=rf"class {label}: these weights know 3: 0 cat, 1, 2 dog. Give one of these"
        ):
            model.tensors(2, classes=label)
        with pytest.raises(UserError, match=f"class {label}: "):
            model.tensors(2, classes=[0, label])

    def test_as_many_classes_as_samples(self, model):
        with pytest.raises(UserError, match="3 classes for 2 samples: give one for all, or one for each"):
            model.tensors(2, classes=[0, 1, 2])

    def test_weights_of_no_class_take_none(self):
        with pytest.raises(UserError, match="class 0: these weights draw pictures of no class. Leave it out"):
            sampler().tensors(2, classes=0)

    def test_metadata_and_network_agree(self):
        net, meta = weights(names=NAMES)
        with pytest.raises(UserError, match="name 2 classes, but their network knows 3"):
            Sampler(net, {**meta, "classes": {"count": 2, "names": ["a", "b"]}})
        with pytest.raises(UserError, match="not complete"):
            Sampler(net, {**meta, "classes": {"count": 3}})


class TestSheets:
    def test_a_column_holds_one_class(self):
        numbers = list(range(5, 16))  # of classes 2, 0, 1, 2, ...
        columns = {title.strip(): column for title, column in by_class(numbers, 3, first=5, names=NAMES).items()}
        assert list(columns) == list(NAMES)
        assert {name: [n % 3 for n in column] for name, column in columns.items()} == {
            "cat": [0] * 4, "1": [1] * 3, "dog": [2] * 4,
        }  # fmt: skip
        assert by_class(numbers, 3)["class 1 "] == [6, 9, 12, 15]

    def test_fewer_than_two_of_a_class_are_no_columns(self):
        assert by_class([1, 2, 3, 4, 5], 3) == {"samples": [1, 2, 3, 4, 5]}

    @pytest.mark.parametrize(("label", "count", "titles"), [(None, 9, list(NAMES)), (2, 9, 3), (None, 5, 3)])
    def test_the_sheet_of_a_run(self, run, label, count, titles, monkeypatch):
        seen = {}
        monkeypatch.setattr(generating, "grid", lambda columns, path, **how: seen.update(how, columns=columns))
        drawn(run, count, label=label)
        columns = seen["columns"]
        assert [t.strip() for t in columns] == titles if isinstance(titles, list) else len(columns) == titles
        assert sum(map(len, columns.values())) == count
        assert ("class 2 (dog)" in seen["heading"]) == (label == 2)
        if label is None and count == 9:
            made = models.load(run, device="cpu").pixels(9)
            assert all(np.array_equal(a, b) for a, b in zip(list(columns.values())[2], made[2::3]))


class TestGenerate:
    def test_a_class_has_a_folder_of_its_own(self, run):
        whole, alone = drawn(run), drawn(run, label=2)
        assert whole.folder == run / "generated" and alone.folder == run / "generated/class2"
        for number in range(9):
            name = f"{number:06d}.png"
            same = (whole.folder / name).read_bytes() == (alone.folder / name).read_bytes()
            assert same == (number % 3 == 2)
        assert json.loads((alone.folder / "samples.json").read_text())["class"] == 2
        assert drawn(run, label=0, seed=5).folder == run / "generated/seed5/class0"

    def test_samples_of_two_classes_are_never_mixed(self, run):
        drawn(run, label=2, out="here")
        with pytest.raises(UserError, match=r"another seed or class \(step 1000, seed 0, class 2\)"):
            drawn(run, label=1, out="here")
        with pytest.raises(UserError, match="class 2"):
            drawn(run, out="here")
        drawn(run, label=2, out="here")

    def test_ways_and_sums_are_within_a_class(self, run):
        with pytest.raises(UserError, match="ways and sums are within one; name it with --class N"):
            drawn(run, interpolate=3)
        with pytest.raises(UserError, match="ways and sums are within one"):
            drawn(run, arithmetic="1 - 2")
        assert not (run / "generated").exists()
        made = drawn(run, interpolate=3, arithmetic="1 - 2 + 4", label=1)
        assert {path.name for path in made.written} >= {"interpolation_linear.png", "arithmetic.png"}

    def test_the_command_line(self, run):
        status, shown = in_process("generate", run, "-n", 3, "--class", 1, "--device", "cpu")
        assert status == 0 and "seed 0, class 1" in shown and (run / "generated/class1/000002.png").exists()
        status, shown = in_process("generate", run, "-n", 3, "--class", 7, "--device", "cpu")
        assert status == 1 and "class 7: these weights know 3: 0 cat, 1, 2 dog" in shown
        assert not (run / "generated/class7").exists()
        status, shown = in_process("generate", run_folder(Path("plain")), "-n", 3, "--class", 1, "--device", "cpu")
        assert status == 1 and "these weights draw pictures of no class" in shown
