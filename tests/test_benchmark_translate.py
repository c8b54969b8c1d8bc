"""benchmarks/translate.py at a tiny size, beside a stand-in for the reference: it runs, compares, and tells the facts."""

import os
import re
import sys

import pytest
from scripts import loaded

NETWORKS = """
import torch
from i2i.nets import GENERATORS
from i2i.nets.reference import _PLACES

class Drawn:
    def __init__(self, ins, outs, width, name, norm):
        kind, args = ("unet", {"num_downs": 8}) if name == "unet_256" else ("resnet", {"num_blocks": 9})
        self.net = GENERATORS.build(kind, ins, outs, width=width, norm=norm, dropout=False, **args)
    def state_dict(self):
        places = _PLACES[type(self.net)](self.net)
        split = (key.rpartition(".") for key in self.net.state_dict())
        return {f"{places[module]}.{leaf}": self.net.state_dict()[f"{module}.{leaf}"] for module, _, leaf in split}

def define_G(ins, outs, width, name, norm, dropout):
    assert dropout is False
    return Drawn(ins, outs, width, name, norm)
"""
TEST = """
import argparse, torch
from pathlib import Path
import i2i
from i2i.data import pictures
from models.networks import Drawn
from i2i.nets.reference import from_reference
from i2i.infer.translator import Translator
parser = argparse.ArgumentParser()
for name in ("dataroot", "name", "model", "netG", "norm", "ngf", "checkpoints_dir", "results_dir", "num_test"):
    parser.add_argument("--" + name)
parser.add_argument("--eval", action="store_true")
parser.add_argument("--no_dropout", action="store_true")
o = parser.parse_args()
assert (o.model, o.eval) == ("test", o.netG == "unet_256")
drawn = Drawn(3, 3, int(o.ngf), o.netG, o.norm)
state = torch.load(Path(o.checkpoints_dir, o.name, "latest_net_G.pth"), weights_only=True)
drawn.net.load_state_dict(from_reference(drawn.net, state))
domain = {"channels": 3, "range": [0, 255], "depth": 8}
meta = {"input": domain, "output": domain, "multiple": 1, "minimum": 1}
translate = Translator(drawn.net, meta | {"translate": {"norm": "running", "dropout": False, "seed": 0}})
place = Path(o.results_dir, o.name, "test_latest", "images")
place.mkdir(parents=True)
for file in sorted(Path(o.dataroot).iterdir())[: int(o.num_test)]:
    pictures.write(place / f"{file.stem}_fake.png", translate.pixels(pictures.read(file).pixels))
"""


@pytest.fixture
def script(monkeypatch):
    return loaded("translate", monkeypatch)


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "checkout" / "models").mkdir(parents=True)
    (tmp_path / "checkout" / "models" / "networks.py").write_text(NETWORKS)
    (tmp_path / "checkout" / "test.py").write_text(TEST)
    return tmp_path / "checkout"


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the times of a process are not told here")
@pytest.mark.parametrize(("network", "width"), [("U-Net 256", 2), ("ResNet-9", 16)])  # 16: 64 channels in its blocks
def test_the_programs_run_in_turns_and_make_the_same_pictures(script, checkout, network, width, monkeypatch, capsys):
    monkeypatch.setattr(script, "NETS", {network: script.NETS[network]})
    arguments = ["translate.py", "--reference", str(checkout), "--count", "1", "--rounds", "1", "--width", str(width)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--allowed", "1"])
    script.main()
    shown = capsys.readouterr().out
    told = re.search(
        rf"{network}, i2i translate: outputs differ from the reference's by at most (\d) of 255 levels, in (\S+) ",
        shown,
    )
    assert told and int(told[1]) <= (network == "ResNet-9") and float(told[2]) < 1e-3, "residual blocks may round"
    if more := script.NETS[network]["options"][1:]:
        assert re.search(
            rf"{network}, i2i translate {more[0]}: outputs differ from the reference's by at most [012] ", shown
        )
    table = [line.strip("| ").split(" | ") for line in shown.splitlines() if line.startswith("|")]
    assert [row[:3] for row in table[2:]] == [
        [network, "reference, test.py", "2 and a page"],
        *([network, f"i2i translate {option}".strip(), "1"] for option in script.NETS[network]["options"]),
    ]
    assert all(len(row) == 10 and row[-1] == "0" for row in table[2:])
    assert 0 < float(table[3][6].split()[0]) <= float(table[3][5].split()[0]), "equal outputs favour us less"


def test_contended_samples_are_left_out_and_counted(script, tmp_path, monkeypatch):
    side = script.Side("sleeper", [sys.executable, "-c", "import time; time.sleep(0.05)"], tmp_path)
    times = iter([0.0, 100.0, 100.0, 100.0])
    monkeypatch.setattr(script, "busy", lambda: next(times))
    side.sample(0, 0.05)
    side.sample(1, 0.05)
    assert side.left_out == 1 and list(side.seconds) == [1] and side.seconds[1] >= 0.05
    assert len(side.cpu) == 2 and side.peak > 1e6


def test_the_ratio_is_of_rounds_that_count_for_both(script, tmp_path):
    reference, ours = script.Side("theirs", [], tmp_path), script.Side("ours", [], tmp_path, tmp_path)
    reference.seconds, ours.seconds = {0: 40.0, 1: 30.0, 3: 90.0}, {0: 20.0, 2: 7.0, 3: 30.0}
    reference.cpu, ours.cpu = [1.0], [1.0]
    theirs, mine = script.rows("U-Net 256", [reference, ours], 60, [10.0, 10.0])
    assert mine[5] == "2.50 (2.00 to 3.00)" and mine[6] == "2.08 (1.50 to 2.67)"
    assert theirs[3] == "40.0 (30.0 to 90.0)" and theirs[4] == "1.50" and mine[4] == "3.00"


def test_what_cannot_be_is_one_sentence(script, checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["translate.py", "--reference", str(tmp_path)])
    with pytest.raises(SystemExit, match="has no test.py; give a checkout"):
        script.main()
    (tmp_path / "few").mkdir()
    monkeypatch.setattr(
        sys, "argv", ["translate.py", "--reference", str(checkout), "--pictures", str(tmp_path / "few"), "--count", "3"]
    )
    with pytest.raises(SystemExit, match="holds 0 pictures, and 3 are asked for"):
        script.main()
    (checkout / "test.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr(sys, "argv", ["translate.py", "--reference", str(checkout), "--count", "1", "--width", "2"])
    with pytest.raises(SystemExit, match=r"reference, test.py ended with exit status 3"):
        script.main()
