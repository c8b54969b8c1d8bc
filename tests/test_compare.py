"""benchmarks/compare.py runs at a tiny size against a stand-in of the reference, and leaves out what was disturbed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from making import small_method
from probing import Willing
from running import ENV
from safetensors.torch import save_file
from stand_in import checkout

from i2i.nets.reference import _PLACES
from i2i.speed import choosing

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import compare  # noqa: E402 - scripts, not a package
import contestant  # noqa: E402


def run(*arguments):
    command = [sys.executable, ROOT / "benchmarks/compare.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENV, timeout=600)


@pytest.mark.slow
def test_a_tiny_comparison(tmp_path):
    tiny = ["--method=pix2pix", "--size=128", "--width=2", "--samples=2", "--most=2", "--allowed=1e9"]
    done = run("--reference", checkout(tmp_path / "clone"), *tiny)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = done.stdout
    assert shown.startswith("pix2pix, 128 px, width 2, batch 1, fp32, cpu; ")
    found = re.findall(r"train.speed=(plain|auto): losses of steps 1, 2, 3 within (.+) of the reference's", shown)
    assert [name for name, _ in found] == ["plain", "auto"]
    far = {name: [float(figure) for figure in figures.split(", ")] for name, figures in found}
    assert all(len(figures) == 3 for figures in far.values())
    assert max(far["plain"]) <= 1e-5 and max(far["auto"]) <= 1e-4
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        "reference", "i2i, train.speed=plain", "i2i, train.speed=auto",
    ]  # fmt: skip
    assert all(re.search(r"\| 2 \+ 0 \| \d\.\d\d GB \|$", row) for row in rows[2:])


def test_a_cyclegan_is_also_trained_by_winograd_with_its_memory_and_error_told(tmp_path, monkeypatch):
    assert compare.CONTESTANTS["cyclegan"][3] == "winograd" and "winograd" not in compare.CONTESTANTS["pix2pix"]
    monkeypatch.setattr(choosing, "Probe", Willing)
    method, _ = small_method(
        "cyclegan", "generator.width=16", "discriminator={name: patchgan, width: 16, norm: instance}"
    )
    weights = {}
    for theirs, name in contestant.NETS["cyclegan"].items():
        places = _PLACES[type(method.nets[name])](method.nets[name])
        for key, value in method.nets[name].state_dict().items():
            module, _, leaf = key.rpartition(".")
            weights[f"{theirs}.{places[module]}.{leaf}"] = value
    save_file(weights, tmp_path / "weights.safetensors")
    settings = {"method": "cyclegan", "size": 128, "width": 16, "blocks": 1, "batch": 1, "device": "cpu"}
    ready = contestant.ours(settings, tmp_path, "winograd", "fp32")
    told = r"2 convolutions of G_ab and 2 convolutions of G_ba by Winograd's F\(4x4, 3x3\) \(.*; about \d+ MB more while one is computed; "
    assert re.search(told + r"error \de-\d, the plain way's \de-\d\)", ready.said)
    assert contestant.ours(settings, tmp_path, "plain", "fp32").said == "" and "CUDA" not in ready.said
    ready.step(torch.rand(2, 1, 3, 128, 128).unbind())
    assert ready.losses().keys() == contestant.LOSSES["cyclegan"].keys()


def test_a_folder_that_is_no_clone_is_refused(tmp_path):
    done = run("--reference", tmp_path, "--method=pix2pix")
    assert done.returncode == 1 and "there is no options/train_options.py in it. Give a clone." in done.stderr
    assert "Traceback" not in done.stderr


class Scripted(compare.Contestant):
    """Answers from a list of (seconds, share of the cores that others had)."""

    def __init__(self, name, samples):
        super().__init__(name, None)
        self.samples = samples

    def step(self, number):
        if number < compare.CHECKED:
            return {"losses": {"G": 2.0 if self.name == "reference" else 2.002}}
        seconds, others = self.samples[number - compare.CHECKED]
        return {"seconds": seconds, "others": others, "losses": {}}


def test_samples_taken_while_others_held_the_cores_are_left_out_and_counted():
    reference = Scripted("reference", [(1.0, 0), (9.0, 0.4), (1.2, 0.01), (1.0, 0), (1.0, 0)])
    plain = Scripted("plain", [(0.5, 0), (0.5, 0), (0.4, 0), (7.0, 0.9), (0.8, 0)])
    compare.race([reference, plain], samples=3, most=9, allowed=0.05)
    assert reference.clean == {3: 1.0, 5: 1.2, 6: 1.0, 7: 1.0} and reference.left_out == 1
    assert plain.clean == {3: 0.5, 4: 0.5, 5: 0.4, 7: 0.8} and plain.left_out == 1
    assert compare.distance(reference.losses, plain.losses) == pytest.approx(1e-3)
    rows = compare.table([reference, plain]).splitlines()
    assert rows[2] == "| reference | 1000 (1000 to 1200) | 1 | 4 + 1 | 0.00 GB |"
    assert rows[3] == "| i2i, train.speed=plain | 500 (400 to 800) | 2.00 (1.25 to 3.00) | 4 + 1 | 0.00 GB |"


def test_a_machine_that_is_never_quiet_gives_no_figure():
    reference, plain = (Scripted(name, [(1.0, 0.5)] * 4) for name in ("reference", "plain"))
    compare.race([reference, plain], samples=3, most=4, allowed=0.05)
    assert compare.table([reference, plain]).count("no sample counts") == 3
