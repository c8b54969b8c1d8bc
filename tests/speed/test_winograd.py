"""train.speed=winograd: tried where it is asked for, in generators alone, and a training by it is the plain one."""

import copy

import pytest
import torch
from making import batches, small_method, small_recipe
from probing import Willing, assert_same_losses, work_of

from i2i.errors import UserError
from i2i.faults import RecipeError
from i2i.nets import winograd
from i2i.speed import choosing
from i2i.speed.winograd import _errors, by_winograd

SIDE = 64  # at a quarter of it, and two pictures, a layer has more places than a matrix product is tried for
LARGE = [f"data.size={SIDE}", f"data.crop_size={SIDE}"]
PICKED = ["G_ab.blocks.0.residual.conv1", "G_ab.blocks.0.residual.conv2"]


@pytest.fixture(autouse=True)
def narrow_layers_count(monkeypatch):
    monkeypatch.setattr(winograd, "MANY", 4)


def made(*overrides, name="cyclegan"):
    return small_method(name, *LARGE, *overrides)[0]


def work(method, wanted="winograd", **changes):
    return work_of(method, crop=SIDE, wanted=wanted, **changes)


def test_it_is_tried_only_where_it_is_asked_for_and_in_generators_alone():
    method = made("discriminator={name: resnet_gan, width: 4}")
    assert any(map(winograd.fits, method.D_a.modules()))
    assert "winograd" not in choosing.choose(work(method, "auto"), Willing())
    asked = work(method)
    picked = choosing.choose(asked, Willing())
    assert picked["winograd"] == [*PICKED, *(name.replace("G_ab", "G_ba") for name in PICKED)]
    assert set(picked) >= {"adam", "together"}, "and besides, what auto does"
    said = choosing.words(picked, asked.notes)
    assert "2 convolutions of G_ab and 2 convolutions of G_ba by Winograd's form (" in said
    assert "MB more while one is computed; error of its gradients " in said and " where the plain ones have " in said


def test_compiled_networks_and_bf16_are_left_to_themselves():
    assert "winograd" not in choosing.choose(work(made(), compiled=True), Willing())
    assert "winograd" not in choosing.choose(work(made("train.precision=bf16")), Willing())


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_a_training_in_float64_has_the_losses_of_the_plain_way(padding):
    overrides = ["generator.num_blocks=2", f"generator.padding={padding}", "method.lam_identity=0.5"]
    plain, fast = made(*overrides), made(*overrides)
    for method in (plain, fast):
        for net in method.nets.values():
            net.double()
    picked = choosing.choose(work(fast), Willing())
    assert len(picked["winograd"]) == 8
    choosing.apply(work(fast), {"winograd": picked["winograd"]})
    data = batches(plain, 3, size=SIDE, dtype=torch.float64)
    assert_same_losses(plain, fast, data, 6)
    for name, net in plain.nets.items():
        for key, value in net.state_dict().items():
            assert (value - fast.nets[name].state_dict()[key]).abs().max() <= 1e-6 * value.abs().max().clamp(min=1e-3)


def test_a_copy_computes_with_its_own_weights():
    method = made()
    choosing.apply(work(method), {"winograd": PICKED})
    copied, x = copy.deepcopy(method.G_ab), torch.rand(1, 3, SIDE, SIDE)
    expected = copied(x)
    with torch.no_grad():
        method.G_ab.blocks[0].residual.conv1.weight.zero_()
    assert torch.equal(copied(x), expected) and not torch.allclose(method.G_ab(x), expected)
    assert copied.state_dict().keys() == made().G_ab.state_dict().keys()


def test_the_error_that_is_told_is_of_float32():
    from i2i.nets.layers import conv
    from i2i.speed.layers import Layer

    torch.manual_seed(0)
    layer = conv(32, 32, 3, padding="reflect")
    x = torch.rand(1, 32, 12, 12)
    ours, plain = _errors(Layer("G.conv", layer, x.shape, by_winograd(layer)(x).shape))
    assert 1e-8 < plain < ours < 1e-5
    assert max(_errors(Layer("G.conv", layer.double(), x.shape, x.shape))) < 1e-13


def test_a_choice_that_does_not_fit_is_refused_in_words():
    with pytest.raises(UserError, match=r"a convolution 'G_ab.stem.conv', which is none here"):
        choosing.apply(work(made()), {"winograd": ["G_ab.stem.conv"]})


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["train.precision=bf16"],
            "rounds more than fp32 and far too much in bf16. Set it to auto, or train.precision",
        ),
        (["train.compile=true"], "does not go with train.compile, which has the layers to itself. Set it to auto, or"),
        (
            ["generator={name: unet, num_downs: 4, width: 4, norm: instance}"],
            "finds no convolution of 3x3 and stride 1 with 4 channels or more in the generator",
        ),
    ],
)
def test_a_recipe_that_it_does_not_go_with_is_refused_in_words(overrides, words):
    with pytest.raises(RecipeError, match=f"train.speed: 'winograd' {words}"):
        small_recipe("cyclegan", "train.speed=winograd", *overrides)
    assert small_recipe("cyclegan", "train.speed=winograd").train.speed == "winograd"
