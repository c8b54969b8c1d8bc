"""torch.compile: what is compiled computes the same, and what cannot be compiled runs as it is."""

import copy
import functools

import pytest
import torch
from making import batches, small_method, small_recipe, snapshot
from running import ARGUMENTS, LENGTH, train
from torch import nn

from i2i.engine import compiled, samples
from i2i.engine.compiled import compile_nets, plain
from i2i.engine.ema import EMA
from i2i.errors import UserError
from i2i.infer.weights import read_meta, read_tensors
from i2i.nets import DISCRIMINATORS, GENERATORS

U_NET = {"num_downs": 4, "width": 4, "norm": "batch", "dropout": False}


@pytest.fixture
def traced(monkeypatch):
    """What torch.compile traces, run by torch's own operators: the compiler, which takes its time, is left out."""
    torch._dynamo.reset()
    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(nn.Module.compile, backend="aot_eager"))
    yield
    torch._dynamo.reset()


def gradients(net, picture, target):
    """Of a loss that weighs every entry differently: of all weights and of the picture."""
    net.zero_grad()
    picture = picture.clone().requires_grad_()
    out = net(picture)
    (out * target[tuple(slice(side) for side in out.shape)]).sum().backward()
    return [picture.grad, *(p.grad.clone() for p in net.parameters())]


def assert_near_float64(net):
    """Gradients of the compiled `net` are as near to those of float64 as fp32 is."""
    torch.manual_seed(0)
    side = max(32, net.minimum)
    picture, target = torch.rand(2, net.in_channels, side, side) * 2 - 1, torch.rand(2, 3, side, side)
    exact = gradients(copy.deepcopy(net).double(), picture.double(), target.double())
    rounded = gradients(copy.deepcopy(net), picture, target)
    net.compile(dynamic=False)
    found = gradients(net, picture, target)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    scale = max(float(g.abs().max()) for g in exact)
    for ours, plainly, true in zip(found, rounded, exact, strict=True):
        usual = float((plainly - true).abs().max())
        assert float((ours - true).abs().max()) <= 4 * usual + 1e-5 * scale, (usual, scale, true.shape)


NETS = {
    "u-net": lambda: GENERATORS.build("unet", 3, 3, **U_NET),
    "resnet": lambda: GENERATORS.build("resnet", 3, 3, num_blocks=1, width=4),
    "patchgan": lambda: DISCRIMINATORS.build("patchgan", 3, num_layers=1, width=4, norm="batch", spectral_norm=True),
}


@pytest.mark.parametrize(
    "name", ["u-net", *(pytest.param(name, marks=pytest.mark.slow) for name in NETS if name != "u-net")]
)
def test_gradients_of_what_is_traced(name, traced):
    assert_near_float64(NETS[name]())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_gradients_of_what_is_compiled(name):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    assert_near_float64(NETS[name]())


def test_trying_out_changes_nothing(traced):
    method, _ = small_method(
        "pix2pix",
        "generator={name: unet, num_downs: 4, width: 4, norm: batch, dropout: true}",
        "discriminator={name: patchgan, num_layers: 1, width: 4, norm: batch, spectral_norm: true}",
    )
    before, said = {name: snapshot(net) for name, net in method.nets.items()}, []
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert compile_nets(method, 32, 2, said.append)
    assert torch.equal(torch.rand(3), expected)
    assert len(said) == 1 and said[0].startswith("train.compile: G, D compiled in ")
    for name, net in method.nets.items():
        assert net._compiled_call_impl is not None
        assert net.state_dict().keys() == before[name].keys()
        assert all(torch.equal(value, before[name][key]) for key, value in net.state_dict().items())
        assert all(p.requires_grad and p.grad is None for p in net.parameters())


@pytest.mark.parametrize("name", ["cgan", "acgan"])
def test_networks_that_know_classes_are_tried_out_with_some_and_compute_the_same(name, traced):
    ends = []
    for chosen in (True, False):
        method, _ = small_method(name)
        assert not chosen or compile_nets(method, 32, 2, lambda line: None)
        torch.manual_seed(0)
        ends.append([method.step(iter([batch])) for batch in batches(method, 2)])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    for ours, theirs in zip(*ends):
        assert {key: float(value) for key, value in ours.items()} == pytest.approx(
            {key: float(value) for key, value in theirs.items()}, rel=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize("way", ["norm projection", "input input"])
def test_convolutional_networks_that_are_told_a_class_are_tried_out_and_compute_the_same(way, traced):
    ends, (generator, discriminator) = [], way.split()
    for chosen in (True, False):
        method, _ = small_method(
            "cgan",
            f"generator={{name: dcgan, condition: {generator}, width: 4}}",
            f"discriminator={{name: resnet_gan, condition: {discriminator}, width: 4, spectral_norm: true}}",
        )
        said = []
        assert not chosen or compile_nets(method, 32, 2, said.append), said
        torch.manual_seed(0)
        ends.append([method.step(iter([batch])) for batch in batches(method, 2)])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    for ours, theirs in zip(*ends):
        assert {key: float(value) for key, value in ours.items()} == pytest.approx(
            {key: float(value) for key, value in theirs.items()}, rel=1e-3
        )


@pytest.mark.slow
def test_steps_copies_averages_and_exports_go_on_as_before(traced):
    ends = []
    for chosen in (True, False):
        method, _ = small_method("cyclegan", "discriminator.spectral_norm=true", "generator.spectral_norm=true")
        method.runtime.ema = EMA({net: method.nets[net] for net in method.exports.values()}, 0.5)
        if chosen:
            assert compile_nets(method, 32, 2, lambda line: None)
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        for step, batch in enumerate(batches(method, 4)):
            torch.manual_seed(step)
            method.step(iter([batch]))
            if step == 0:
                graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs, (
            "nothing is compiled after a first step"
        )
        assert not torch._dynamo.utils.counters["recompile_limit"]
        copied, picture = copy.deepcopy(method.G_ab).eval(), torch.ones(1, 3, 32, 32)
        assert torch.allclose(copied(picture), method.G_ab.eval()(picture), atol=1e-5)
        ends.append(samples.exported(method, method.runtime.ema, {name: {} for name in method.exports}))
    ours, theirs = ends
    for name in ours:
        assert ours[name][0].keys() == theirs[name][0].keys()
        for key, value in ours[name][0].items():
            if value.dim() >= 2:  # a bias that a norm cancels has a gradient of pure rounding
                assert torch.allclose(value, theirs[name][0][key], atol=2e-3), key


def test_where_it_fails_one_sentence_says_so_and_all_networks_run_as_they_are(monkeypatch):
    def compile(self, **kwargs):
        def fail(*args, **kwargs):
            raise RuntimeError(
                "backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler found in here\n"
            )

        self._compiled_call_impl = fail

    monkeypatch.setattr(nn.Module, "compile", compile)
    method, _ = small_method("pix2pix")
    said = []
    assert compile_nets(method, 32, 2, said.append) is False
    assert len(said) == 1 and "\n" not in said[0]
    assert "G could not be compiled (InvalidCxxCompiler: No working C++ compiler found in here)" in said[0]
    expected, _ = small_method("pix2pix")
    (batch,) = batches(method, 1)
    for one in (method, expected):
        torch.manual_seed(0)
        one.step(iter([batch]))
    assert all(torch.equal(a, b) for a, b in zip(method.G.parameters(), expected.G.parameters(), strict=True))


def test_compilation_can_be_taken_back():
    method, _ = small_method("pix2pix")
    method.G.compile()
    plain(method)
    assert method.G._compiled_call_impl is None


def test_the_recipe_may_ask_for_it_but_not_with_second_derivatives():
    assert small_recipe("pix2pix", "train.compile=true").train.compile
    with pytest.raises(UserError, match=r"train\.compile: true does not go with 'gp', which needs second derivatives"):
        small_recipe("pix2pix", "train.compile=true", "method.constraint={name: gp}")


def started(path, *more):
    from i2i.engine.train import train as start

    recipe, *overrides = ARGUMENTS["pix2pix"]
    said = []
    settings = [*overrides, *LENGTH, "train.tracker=null", "train.sample_every=null", *more]
    start(recipe, settings, run=path, device="cpu", say=said.append)
    return said


def test_a_run_that_began_uncompiled_stays_so(tmp_path, monkeypatch):
    """Bits are those of one way of computing: what the first start settled is kept."""
    monkeypatch.setattr("i2i.engine.train.compile_nets", lambda *args: False)
    started(tmp_path / "run", "train.compile=true")
    assert read_meta(tmp_path / "run/checkpoints/00000012.safetensors")["compiled"] is False
    monkeypatch.setattr("i2i.engine.train.compile_nets", lambda *args: pytest.fail("compiled after all"))
    said = started(tmp_path / "run", "train.compile=true", "train.steps=14")
    assert any("has gone on uncompiled so far" in line for line in said)


def test_to_compile_is_another_recipe(tmp_path):
    started(tmp_path / "run")
    with pytest.raises(UserError, match=r"train\.compile: false in the run, true now"):
        started(tmp_path / "run", "train.compile=true")


def test_a_failure_is_told_by_its_telling_line():
    assert compiled._reason(ValueError("first\nSomeError: the cause\nlast")) == "SomeError: the cause"
    assert compiled._reason(ValueError("just this")) == "just this"
    assert compiled._reason(KeyError()) == "KeyError" and len(compiled._reason(ValueError("x" * 999))) == 160


@pytest.mark.slow
def test_a_compiled_run_trains_and_continues_to_the_same_bits(tmp_path):
    more = ["train.compile=true", "train.tracker=null"]
    shown = train("pix2pix", tmp_path / "straight", *more, timeout=500).stdout
    assert "train.compile: G, D compiled in" in shown
    train("pix2pix", tmp_path / "run", *more, at="update:14", timeout=500)
    train("pix2pix", tmp_path / "run", *more, timeout=500)
    last = "checkpoints/00000012.safetensors"
    (ours, meta), (theirs, _) = read_tensors(tmp_path / "run" / last), read_tensors(tmp_path / "straight" / last)
    assert meta["compiled"] is True and all(torch.equal(value, theirs[key]) for key, value in ours.items())
