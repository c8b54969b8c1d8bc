"""A ResNet's residual blocks by Winograd's forms; the one that rounds more only by `--winograd`, and told in the journal."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from running import in_process

import i2i
from i2i.data import pictures
from i2i.errors import UserError
from i2i.infer import journal, models
from i2i.infer.folder import translate
from i2i.infer.translator import Translator
from i2i.nets import GENERATORS, winograd

LINE = "2 convolutions by Winograd's form, which rounds more: single values move by 1 or 2 of 255 levels"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(winograd, "MANY", 16)
    monkeypatch.setattr(winograd, "FEWEST", 16)


@pytest.fixture
def run(run_folder):
    return run_folder("r", net="resnet")


def drawn(*sides):
    return np.random.default_rng(0).integers(0, 256, (*sides, 3), dtype=np.uint8)


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_outputs_are_within_two_levels_and_the_same_each_time(made, padding, norm):
    torch.manual_seed(0)
    args = {"num_blocks": 9, "width": 8, "norm": norm, "padding": padding, "init": "xavier_1.5"}
    net = GENERATORS.build("resnet", 3, 3, **args)
    state, (_, meta) = {key: value.clone() for key, value in net.state_dict().items()}, made("resnet")
    pixels = drawn(54, 71)
    expected = Translator(net, meta).pixels(pixels)
    fast = GENERATORS.build("resnet", 3, 3, **args)
    fast.load_state_dict(state)
    translator = Translator(fast, meta, winograd=True)
    found = translator.pixels(pixels)
    assert translator.by_winograd == 18 and found.std() > 10
    assert np.abs(found.astype(int) - expected).max() <= 2
    assert np.array_equal(translator.pixels(pixels), found)
    assert fast.state_dict().keys() == state.keys()


def test_the_layers_are_really_computed_so(run):
    x = torch.rand(1, 3, 24, 20) * 2 - 1
    plain, fast = (models.load(run, device="cpu", winograd=asked) for asked in (False, True))
    assert fast.by_winograd == 2 and plain.by_winograd == 0
    a, b = plain(x), fast(x)
    assert not torch.equal(a, b) and (a - b).abs().max() < 1e-4
    for model, expected in ((plain, a), (fast, b)):
        layers = [layer for layer in model.net.modules() if hasattr(layer, "factors")]
        with torch.no_grad():
            for layer in layers:
                layer.weight.zero_()
        assert len(layers) == 2 and torch.equal(model(x), expected), "from weights that were transformed once"


def test_small_maps_are_convolved(run, monkeypatch):
    monkeypatch.setattr(winograd, "FEWEST", 256)
    x = torch.rand(1, 3, 24, 20) * 2 - 1
    plain, fast = (models.load(run, device="cpu", winograd=asked) for asked in (False, True))
    assert torch.equal(plain(x), fast(x))


def test_without_being_asked_for_it_rounds_as_a_convolution(made):
    torch.manual_seed(0)
    args = {"num_blocks": 9, "width": 16, "norm": "instance", "padding": "reflect", "init": "xavier_1.5"}
    net = GENERATORS.build("resnet", 3, 3, **args)
    x = torch.rand(1, 3, 48, 64) * 2 - 1
    with torch.no_grad():
        plain = net(x)
        translator = Translator(copy.deepcopy(net), made("resnet")[1])
        found, exact = translator.net(x), net.double()(x.double())
    assert sum(hasattr(layer, "factors") for layer in translator.net.modules()) == 18 and not torch.equal(found, plain)
    assert (found - exact).abs().max() <= 3 * (plain - exact).abs().max()


def test_the_journal_tells_both_apart(run):
    pictures.write("a.png", drawn(24, 20))
    lines = []
    translate("a.png", model=run, out="out", device="cpu", say=lines.append)
    assert not any("Winograd" in line for line in lines)
    report = i2i.translate("a.png", model=run, out="out", device="cpu", say=lines.append, resume=True, winograd=True)
    assert LINE in lines and len(report.written) == 1 and report.kept == []
    report = translate("a.png", model=run, out="out", device="cpu", say=str, resume=True, winograd=True)
    assert len(report.kept) == 1
    rows = [json.loads(row) for row in Path("out", journal.NAME).read_text().splitlines()]
    assert len(rows) == 2 and rows[0]["settings"] != rows[1]["settings"]


def test_the_command_line(run):
    pictures.write("a.png", drawn(24, 20))
    status, shown = in_process("translate", "a.png", "--model", run, "--device=cpu", "--winograd")
    assert status == 0 and LINE in shown


def test_a_model_that_draws_from_noise_refuses_it_in_words(tmp_path):
    from sampled import weights

    from i2i.infer.weights import write_tensors

    net, meta = weights()
    write_tensors(tmp_path / "generator.safetensors", net.state_dict(), meta)
    with pytest.raises(
        UserError, match="draws pictures from noise, where nothing knows Winograd's form; leave winograd out"
    ):
        i2i.load(tmp_path / "generator.safetensors", device="cpu", winograd=True)


def test_where_it_cannot_be_it_is_refused_in_words(run_folder, made):
    with pytest.raises(UserError, match="has no convolution of 3x3 and stride 1 with 16 channels or more, as ResNets"):
        models.load(run_folder("u"), device="cpu", winograd=True)
    with pytest.raises(UserError, match="Winograd's form is for a CPU, and this is meta; leave winograd out"):
        Translator(*made("resnet"), device="meta", winograd=True)
