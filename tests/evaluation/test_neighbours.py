"""Neighbours: copies are found out, blocks change nothing, the sheet and the numbers say the same."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from running import in_process
from sampled import run_folder, weights

from i2i.data import pictures
from i2i.data.pictures import read
from i2i.errors import UserError
from i2i.evaluation import neighbours
from i2i.evaluation.classifier import Classifier
from i2i.evaluation.neighbours import Neighbours
from i2i.infer.weights import write_tensors

COUNT = 12  # training pictures
LABELLED = "{kind: labelled, path: data, load_size: null, crop_size: 8, flip: false}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("I2I_WEIGHTS", raising=False)
    quick = partial(Classifier.fit.__func__, Classifier, steps=3, batch_size=6)
    monkeypatch.setattr(Classifier, "fit", quick)


def drawn(folder: str, count: int, seed: int) -> np.ndarray:
    """Noise as files 00.png, ..., in turn of class 0 and 1; (N, 8, 8) by file number."""
    found = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    for number, pixels in enumerate(found):
        path = Path(folder, str(number % 2), f"{number:02}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures.write(path, pixels)
    return found[:, :, :, 0]


def copier(run: Path, picture: np.ndarray) -> None:
    """Weights whose every sample is this picture."""
    net, meta = weights()
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.copy_(torch.from_numpy(picture.reshape(-1) / 255 * 2 - 1).clamp(-0.9999, 0.9999).atanh())
    write_tensors(run / "generator.safetensors", net.state_dict(), meta)


@pytest.fixture
def train():
    return drawn("data/train", COUNT, 0)


@pytest.fixture
def run(train):
    drawn("data/test", 5, 1)
    return run_folder(Path("r"), LABELLED)


def numbers(folder: Path) -> dict:
    return json.loads((folder / "neighbours.json").read_text())


def in_order(train: np.ndarray) -> np.ndarray:
    """As the labelled data count them: class by class."""
    return np.concatenate([train[::2], train[1::2]])


class TestNumbers:
    def test_a_copy_is_at_distance_0_in_pixels_and_in_features(self, run, train):
        copier(run, in_order(train)[7])
        found = numbers(Neighbours(run, say=lambda text: None).write(3, device="cpu"))
        for space in ("pixels", "features"):
            assert [row[0] for row in found[space]["indices"]] == [7, 7, 7]
            assert found[space]["mean"] == 0 and found[space]["held_out_mean"] > 0

    def test_they_are_those_of_all_differences(self, run, train):
        folder = Neighbours(run, k=4, say=lambda text: None).write(3, start=2, device="cpu")
        from i2i.infer.models import load

        model, reference = load(run, device="cpu"), in_order(train).reshape(COUNT, -1) / 127.5
        samples = np.stack(model.pixels(3, start=2)).reshape(3, -1) / 127.5
        expected = np.sqrt(((samples[:, None] - reference[None]) ** 2).sum(2))
        order = np.argsort(expected, axis=1)[:, :4]
        found = numbers(folder)
        assert found["pixels"]["indices"] == order.tolist()
        assert np.allclose(found["pixels"]["distances"], np.take_along_axis(expected, order, 1), rtol=1e-5)
        assert (found["start"], found["count"], found["training_pictures"]) == (2, 3, COUNT)

    def test_held_out_pictures_are_those_of_test(self, run, train):
        found = numbers(Neighbours(run, say=lambda text: None).write(1, device="cpu"))
        test = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8).reshape(5, -1) / 127.5
        reference = train.reshape(COUNT, -1) / 127.5
        nearest = np.sqrt(((test[:, None] - reference[None]) ** 2).sum(2)).min(1)
        assert found["held_out"] == "test" and np.isclose(found["pixels"]["held_out_mean"], nearest.mean(), rtol=1e-5)

    def test_features_are_the_classifier_s_of_the_real_training_pictures(self, run, train):
        said = []
        found = numbers(Neighbours(run, say=said.append).write(2, device="cpu"))
        assert found["features"]["of"].startswith(f"classifier fitted on {COUNT} real pictures, seed 0 (weights ")
        assert "Training a classifier on 12 real pictures" in said[0]
        again = []
        Neighbours(run, say=again.append).write(2, device="cpu")
        assert not [line for line in again if "Training" in line]  # it was kept

    def test_of_a_run_on_few_pictures_those_few_and_the_classifier_of_all(self, run, train):
        whole = numbers(Neighbours(run, say=lambda text: None).write(2, device="cpu"))
        few = run_folder(Path("few"), LABELLED.replace("flip", "limit: 4, flip"))
        found = numbers(Neighbours(few, say=lambda text: None).write(2, device="cpu"))
        assert (found["training_pictures"], whole["training_pictures"]) == (4, COUNT)
        assert found["features"]["of"] == whole["features"]["of"]  # the same weights, found where they were kept

    def test_blocks_change_nothing(self, run, monkeypatch):
        whole = numbers(Neighbours(run, say=lambda text: None).write(3, out="a", device="cpu"))
        monkeypatch.setattr(neighbours, "VALUES", 64 * 5)  # five pictures at once
        assert (
            numbers(Neighbours(run, say=lambda text: None).write(3, out="b", device="cpu"))["pixels"] == whole["pixels"]
        )

    def test_fewer_training_pictures_than_neighbours(self):
        drawn("data/train", 2, 0)
        found = numbers(Neighbours(run_folder(Path("r"), LABELLED), say=lambda text: None).write(1, device="cpu"))
        assert len(found["pixels"]["indices"][0]) == 2 and found["held_out"] is None

    def test_a_broken_file_is_left_out_and_the_others_keep_their_numbers(self, run, train, monkeypatch):
        copier(run, in_order(train)[7])
        looked = Neighbours(run, say=lambda text: None)
        Path("data/train/0/04.png").write_bytes(b"\x89PNG\r\n\x1a\n")  # number 2, after the folder was looked at
        seen, inner = [], Classifier.fit
        monkeypatch.setattr(Classifier, "fit", lambda x, y, **options: seen.append(y) or inner(x, y, **options))
        found = numbers(looked.write(1, device="cpu"))
        assert seen[0].tolist() == [0] * 5 + [1] * 6  # the labels of those that are left
        assert found["training_pictures"] == COUNT - 1 and found["pixels"]["indices"][0][0] == 7

    def test_without_labels_or_weights_pixels_alone_and_said(self, train):
        said = []
        run = run_folder(Path("r"), "{kind: folder, path: data/train, load_size: null, crop_size: 8, flip: false}")
        found = numbers(Neighbours(run, say=said.append).write(2, device="cpu"))
        assert "features" not in found and "pixels alone" in "\n".join(said) and "I2I_WEIGHTS" in "\n".join(said)


class TestFiles:
    def test_the_sheet_has_a_row_for_each_sample_beside_its_neighbours(self, run, train, monkeypatch):
        sheets = []
        monkeypatch.setattr(neighbours, "grid", lambda columns, path, **_: sheets.append(columns))
        copier(run, in_order(train)[7])
        folder = Neighbours(run, k=2, say=lambda text: None).write(20, device="cpu")
        (columns,) = sheets
        assert [title.strip() for title in columns] == ["sample", "nearest in pixels", "2", "nearest in features", "2"]
        sample, nearest, second, *_ = columns.values()
        assert len(sample) == len(nearest) == 8  # of 20
        assert np.array_equal(nearest[0][:, :, 0], in_order(train)[7]) and np.array_equal(nearest[0], sample[0])
        expected = in_order(train)[numbers(folder)["pixels"]["indices"][3][1]]
        assert np.array_equal(second[3][:, :, 0], expected)

    def test_they_lie_beside_the_samples_of_the_same_call(self, run):
        status, shown = in_process("generate", run, "-n", "2", "--neighbours", "--device=cpu", "--seed", "3")
        assert status == 0 and "nearest of 12 training pictures in features" in shown, shown
        folder = run / "generated/seed3"
        assert {path.name for path in folder.iterdir()} == {
            "000000.png", "000001.png", "grid.png", "samples.json", "neighbours.png", "neighbours.json",
        }  # fmt: skip
        assert read(folder / "neighbours.png").pixels.shape[2] == 3
        assert numbers(folder)["seed"] == 3 and numbers(folder)["weights"]

    def test_alone_and_with_data_that_were_moved(self, run):
        Path("data").rename("moved")
        status, shown = in_process("generate", run, "--neighbours", "--device=cpu")
        assert status == 1 and "data" in shown and not (run / "generated").exists()
        arguments = ["--neighbours", "--data", "moved", "--no-files", "--no-grid", "--out", "there", "--device=cpu"]
        status, shown = in_process("generate", run, *arguments)
        assert status == 0, shown
        assert {path.name for path in Path("there").iterdir()} == {"samples.json", "neighbours.png", "neighbours.json"}

    def test_of_the_best_step(self, run):
        (run / "best").mkdir()
        (run / "generator.safetensors").rename(run / "best/generator.safetensors")
        folder = Neighbours(run / "best/generator.safetensors", say=lambda text: None).write(1, device="cpu")
        assert folder == run / "best/generated"


class TestRefusals:
    def test_points_are_in_no_file(self):
        with pytest.raises(UserError, match="trained on points, drawn afresh"):
            Neighbours(run_folder(Path("p"), channels=2, size=1, depth=32, span=(-4.0, 4.0)))

    def test_weights_without_a_recipe(self, run):
        (run / "recipe.yaml").unlink()
        with pytest.raises(UserError, match="holds no recipe.yaml"):
            Neighbours(run / "generator.safetensors")

    @pytest.mark.parametrize("options, words", [({"n": 0}, "n 0"), ({"start": -1}, "start -1")])
    def test_counts(self, run, options, words):
        with pytest.raises(UserError, match=words):
            Neighbours(run, say=lambda text: None).write(**options)
        with pytest.raises(UserError, match="k 0"):
            Neighbours(run, k=0)
