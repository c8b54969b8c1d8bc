"""The benchmarks that train and score: what they ask for, what they keep, and their tables."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = [
    "generator={name: unet, num_downs: 4, width: 4}", "discriminator={name: patchgan, num_layers: 1, width: 4}",
    "data={kind: synthetic, pairing: paired, size: 32, count: 6, load_size: null, crop_size: 32, workers: 0}",
    "train.save_every=2", "train.log_every=2",
]  # fmt: skip


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_precisions_are_trained_continued_and_scored_once(benchmark, tmp_path, monkeypatch, capsys):
    precision = benchmark("precision")
    monkeypatch.setattr(precision, "MEASURES", {"L1": ("paired", "l1", ())})
    asked = [f"--root={tmp_path / 'runs'}", f"--results={tmp_path / 'kept'}", "--device=cpu", "--seeds=2", *SMALL]
    precision.main([*asked, "--steps", "4", "2"])
    shown = capsys.readouterr().out
    assert "| 2 | L1 | " in shown and "| 4 | L1 | " in shown and "seeds do |" in shown
    kept = json.loads((tmp_path / "kept" / "bf16-1.json").read_text())
    assert [entry["checkpoint"]["step"] for entry in kept] == [2, 4]
    assert kept[0]["values"] != json.loads((tmp_path / "kept" / "fp32-1.json").read_text())[0]["values"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    precision.main([*asked, "--steps", "2", "4"])
    assert capsys.readouterr().out.count("done") == 8 and "| 4 | L1 | " in shown
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}


def test_a_difference_in_its_standard_error(benchmark):
    apart = benchmark("precision").apart
    assert apart([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == pytest.approx(3 / (2 / 3) ** 0.5)
    assert apart([1.0, 1.0], [1.0, 1.0]) == 0 and apart([1.0, 1.0], [2.0, 2.0]) == float("inf")


@pytest.mark.parametrize(
    ("name", "words", "runs"),
    [
        ("few_data", ["mnist", "--seeds", "2", "train.steps=7", "data.path=here"], 4),
        ("few_data", ["cats", "data.path=here", "--features", "classifier:there"], 6),
        ("few_data", ["facades", "--seeds", "1"], 6),
        ("base_cases", ["--seeds", "2", "data.path=here", "--names", "dcgan_mnist", "wgan_mnist"], 4),
    ],
)
def test_what_the_others_ask_for(benchmark, tmp_path, monkeypatch, capsys, name, words, runs):
    """Settings may stand before or after options; every run has its own folder; protocols get the data's place."""
    module, seen = benchmark(name), []

    def scored(run, recipe, overrides, protocol, settings=(), *, split="test", results):
        seen.append((run, (recipe, *overrides), protocol, tuple(settings)))
        return {
            "fid": {"fid": 1.5}, "kid": {"mean": 0.1}, "precision_recall": {"precision": 1.0, "recall": 0.0},
            "auc": 0.5, "accuracy": {"train": 1.0, "held_out": 0.5}, "l1": {"mean": 0.2},
            "generated": {"per_pixel": 0.5, "per_class": 0.4, "class_iou": 0.3},
        }  # fmt: skip

    monkeypatch.setattr(module, "scored", scored)
    monkeypatch.setattr(sys, "argv", [name, *words, "--root", str(tmp_path / "none"), "--results", str(tmp_path)])
    module.main()
    assert len({run for run, *_ in seen}) == len({overrides for _, overrides, *_ in seen}) == runs
    if "data.path=here" in words:
        assert all("data.path=here" in overrides and "data.path=here" in given for _, overrides, _, given in seen)
    if "train.steps=7" in words:
        assert all("train.steps=7" in overrides for _, overrides, *_ in seen)
    assert "| " in capsys.readouterr().out
