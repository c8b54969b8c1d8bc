"""Convolutional generators that are told a class, from training to samples: what goes into a file and what comes out."""

import json

import pytest
import torch
from making import batches, small_method, small_recipe
from running import ARGUMENTS, LENGTH, in_process

from i2i import build
from i2i.engine.ema import EMA
from i2i.engine.samples import baked, exported
from i2i.errors import UserError
from i2i.infer.models import models_of
from i2i.infer.network import build_network
from i2i.infer.sampler import CHUNK
from i2i.infer.weights import read_tensors
from i2i.nets.layers import ConditionalNorm

WAYS = [("dcgan", "norm"), ("dcgan", "input"), ("resnet_gan", "norm"), ("resnet_gan", "input")]
each_way = pytest.mark.parametrize(("name", "condition"), WAYS)


def settings(name, condition):
    nets = {
        "generator": f"{{name: {name}, condition: {condition}, width: 4, norm: batch, spectral_norm: true}}",
        "discriminator": f"{{name: {name}, width: 4, spectral_norm: true}}",
    }
    return [*(f"{section}={net}" for section, net in nets.items()), "data.crop_size=16", "method.latent=6"]


def trained(name, condition):
    """(method, recipe, EMA) after two steps of three classes."""
    torch.manual_seed(0)
    method, recipe = small_method("cgan", *settings(name, condition))
    method.runtime.ema = EMA({"G": method.nets["G"]}, 0.5)
    for net in method.nets.values():  # far from their first weights
        for module in net.modules():
            if isinstance(module, ConditionalNorm):
                torch.nn.init.uniform_(module.scale, 0.5, 1.5)
                torch.nn.init.normal_(module.shift)
    method.step(iter(batches(method, 1, size=16, batch_size=6)))
    method.step(iter(batches(method, 1, size=16, batch_size=6, seed=1)))
    return method, recipe, method.runtime.ema


class Data:
    """What metadata are made of, without files."""

    num_classes, class_names = 3, ("cat", "1", "dog")

    def __init__(self):
        from i2i.data.domain import Domain

        self.domains = {"image": Domain(3, (0, 255), 8)}


@each_way
def test_the_network_of_a_file_is_the_average_that_was_trained(name, condition):
    """Scales and shifts of each class among its tensors; spectral norm baked in; the same pictures come out."""
    method, recipe, ema = trained(name, condition)
    tensors, meta = exported(method, ema, build.weights_meta(recipe, "small", method, Data()))["generator"]
    assert meta["net"]["classes"] == 3 and meta["net"]["args"]["condition"] == condition
    assert not meta["net"]["args"]["spectral_norm"] and not any("parametrizations" in key for key in tensors)
    assert any(key.endswith("scale") for key in tensors) == (condition == "norm")
    net = build_network(json.loads(json.dumps(meta)), tensors)
    z, y = torch.randn(5, 6), torch.tensor([0, 1, 2, 2, 0])
    expected = ema.nets["G"].eval()(z, y)
    assert torch.allclose(net(z, y), expected, atol=1e-6) and expected.std() > 1e-3
    assert not torch.allclose(net(z, y), method.nets["G"].eval()(z, y), atol=1e-6), "the average, not the last weights"


@each_way
def test_a_sample_is_of_its_seed_number_and_class_whatever_is_drawn_beside_it(name, condition):
    method, recipe, ema = trained(name, condition)
    model = models_of(exported(method, ema, build.weights_meta(recipe, "small", method, Data())), torch.device("cpu"))
    model = model["generator"]
    whole, twos = model.tensors(CHUNK + 9), model.tensors(CHUNK + 9, classes=2)
    assert all(whole[i].equal(twos[i]) == (i % 3 == 2) for i in range(CHUNK + 9))
    assert model.tensors(3, start=CHUNK, classes=[2, 0, 2])[2].equal(twos[CHUNK + 2])
    with pytest.raises(UserError, match="class 3: these weights know 3: 0 cat, 1, 2 dog. Give one of these"):
        model.tensors(2, classes=3)


@each_way
def test_the_average_holds_what_tells_a_class(name, condition):
    """EMA: parameters averaged, among them each class's; buffers of the norms copied."""
    method, _, ema = trained(name, condition)
    before = {key: value.clone() for key, value in ema.nets["G"].state_dict().items()}
    with torch.no_grad():
        for parameter in method.nets["G"].parameters():
            parameter.add_(1)
    ema.update("G", method.nets["G"])
    for key, value in ema.nets["G"].named_parameters():
        expected = 0.5 * before[key] + 0.5 * dict(method.nets["G"].named_parameters())[key]
        assert torch.allclose(value, expected, atol=1e-6), key
    for key, value in ema.nets["G"].named_buffers():
        assert torch.equal(value, dict(method.nets["G"].named_buffers())[key]), key


def test_weights_without_the_tensors_of_a_class_are_refused_in_words():
    method, recipe, _ = trained("dcgan", "norm")
    meta, tensors = build.weights_meta(recipe, "small", method, Data())["generator"], baked(method.nets["G"])
    with pytest.raises(UserError, match="project.norm.scale"):
        build_network(meta, {key: value for key, value in tensors.items() if key != "project.norm.scale"}, "x")
    with pytest.raises(UserError, match="the network that it describes cannot be built"):
        build_network({**meta, "net": {**meta["net"], "args": {**meta["net"]["args"], "norm": "none"}}}, tensors)


def test_the_generators_table_counts_what_a_class_has_of_its_own():
    from i2i.engine.summary import summary

    method, _ = small_method("cgan", *settings("dcgan", "norm"))
    (line,) = [line for line in summary(method, 16, 4).splitlines() if line.startswith("  project.norm ")]
    assert line.split()[1] == "ConditionalNorm" and line.split()[-1] == str(2 * 3 * 8)  # 3 classes, 8 channels


def test_from_the_command_line_a_run_draws_the_class_asked_for(tmp_path):
    """Trained with norms that tell G, a projection in D and spectral norm in both."""
    recipe, *overrides = ARGUMENTS["cgan"]
    run = tmp_path / "run"
    status, shown = in_process(
        "train", recipe, *overrides, *LENGTH, "train.tracker=null", "optimizer.G.lr=0.1", "--device=cpu", f"--run={run}"
    )  # so fast that each class goes a way of its own
    assert status == 0 and "finished: " in shown, shown
    assert any(key.endswith(".scale") for key in read_tensors(run / "generator.safetensors")[0])
    status, shown = in_process("generate", run, "-n", 8, "--device", "cpu")
    assert status == 0, shown
    status, shown = in_process("generate", run, "-n", 8, "--class", 7, "--device", "cpu")
    assert status == 0 and "class 7" in shown, shown
    made = [
        [(run / folder / f"{i:06d}.png").read_bytes() for i in range(8)] for folder in ("generated", "generated/class7")
    ]
    same = [a == b for a, b in zip(*made)]
    assert same[7] and not any(same[:7]), "sample 7 is of class 7 anyway"
    status, shown = in_process("generate", run, "-n", 3, "--class", 10, "--device", "cpu")
    assert status == 1 and "class 10: these weights know 10" in shown


def test_a_recipe_says_how_its_networks_are_told():
    recipe = small_recipe("cgan", *settings("resnet_gan", "input"))
    assert recipe.generator.args["condition"] == "input" and recipe.discriminator.args["condition"] == "projection"
    with pytest.raises(UserError, match=r"generator\.condition: .*'projection'.*(norm|input)"):
        small_recipe("cgan", "generator={name: dcgan, condition: projection}")
    with pytest.raises(UserError, match=r"discriminator\.condition: .*'norm'.*(projection|input)"):
        small_recipe("cgan", "discriminator={name: dcgan, condition: norm}")
