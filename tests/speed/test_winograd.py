"""Winograd's forms: F2 by itself, F4 where it is asked for, in generators alone; a training by them is the plain one."""

import copy

import pytest
import torch
from making import batches, small_method, small_recipe
from probing import Willing, assert_same_losses, work_of

from i2i.errors import UserError
from i2i.faults import RecipeError
from i2i.nets import winograd
from i2i.nets.winograd import F2, F4, FORMS
from i2i.speed import choosing
from i2i.speed import winograd as speed_winograd
from i2i.speed.winograd import _errors

SIDE = 64  # at a quarter of it, and two pictures, a layer has places enough for tiles to be tried
LARGE = [f"data.size={SIDE}", f"data.crop_size={SIDE}"]
PICKED = ["G_ab.blocks.0.residual.conv1", "G_ab.blocks.0.residual.conv2"]


@pytest.fixture(autouse=True)
def narrow_layers_count(monkeypatch):
    monkeypatch.setattr(winograd, "MANY", 4)


def made(*overrides, name="cyclegan"):
    return small_method(name, *LARGE, *overrides)[0]


def work(method, wanted="winograd", **changes):
    return work_of(method, crop=SIDE, wanted=wanted, **changes)


EVERY = [*PICKED, *(name.replace("G_ab", "G_ba") for name in PICKED)]


def test_f4_is_tried_only_where_it_is_asked_for_and_in_generators_alone():
    method = made("discriminator={name: resnet_gan, width: 4}")
    assert any(map(winograd.fits, method.D_a.modules()))
    assert "winograd" not in choosing.choose(work(method, "auto"), Willing())
    asked = work(method)
    picked = choosing.choose(asked, Willing())
    assert picked["winograd"] == EVERY and "winograd2" not in picked, "what has a form is left to it"
    assert set(picked) >= {"adam", "together"}, "and besides, what auto does"
    said = choosing.words(picked, asked.notes)
    assert "2 convolutions of G_ab and 2 convolutions of G_ba by Winograd's F(4x4, 3x3) (" in said
    assert "MB more while one is computed; error " in said and " the plain way's " in said


def test_f2_is_tried_by_itself_and_in_generators_alone():
    method = made("discriminator={name: resnet_gan, width: 4}")
    told = work(method, "auto")
    picked = choosing.choose(told, Willing())
    assert picked["winograd2"] == EVERY
    assert "2 convolutions of G_ba by Winograd's F(2x2, 3x3) (" in choosing.words(picked, told.notes)


def test_f2_is_left_where_it_would_round_more_than_the_convolution(monkeypatch):
    monkeypatch.setattr(speed_winograd, "_errors", lambda layer, form: (2.1e-6, 1e-6))
    picked = choosing.choose(work(made()), Willing())
    assert "winograd2" not in picked and picked["winograd"] == EVERY, "F4, which was asked for, may"
    assert "winograd2" not in choosing.choose(work(made(), "auto"), Willing())


def test_f4_is_left_where_f2_is_faster():
    class F2First(Willing):
        def fastest(self, ways, rounds=None, wall=False):
            way, seconds = super().fastest(ways, rounds, wall)
            return (str(F2) if str(F2) in ways else way), seconds

    picked = choosing.choose(work(made()), F2First())
    assert "winograd" not in picked and picked["winograd2"] == EVERY


def test_compiled_networks_and_bf16_are_left_to_themselves():
    for changed in (work(made(), compiled=True), work(made("train.precision=bf16"))):
        assert not {"winograd", "winograd2"} & choosing.choose(changed, Willing()).keys()


@pytest.mark.parametrize("padding", ["reflect", "zero"])
@pytest.mark.parametrize(("wanted", "name"), [("winograd", "winograd"), ("auto", "winograd2")])
def test_a_training_in_float64_has_the_losses_of_the_plain_way(padding, wanted, name, monkeypatch):
    overrides = ["generator.num_blocks=2", f"generator.padding={padding}", "method.lam_identity=0.5"]
    plain, fast = made(*overrides), made(*overrides)
    for method in (plain, fast):
        for net in method.nets.values():
            net.double()
    monkeypatch.setattr(speed_winograd, "_errors", lambda layer, form: (1e-16, 1e-16))  # float64 is its own measure
    picked = choosing.choose(work(fast, wanted), Willing())
    assert len(picked[name]) == 8
    choosing.apply(work(fast), {name: picked[name]})
    data = batches(plain, 3, size=SIDE, dtype=torch.float64)
    assert_same_losses(plain, fast, data, 6)
    for net_name, net in plain.nets.items():
        for key, value in net.state_dict().items():
            assert (value - fast.nets[net_name].state_dict()[key]).abs().max() <= 1e-6 * value.abs().max().clamp(
                min=1e-3
            )


@pytest.mark.parametrize("name", ["winograd", "winograd2"])
def test_a_copy_computes_with_its_own_weights(name):
    method = made()
    choosing.apply(work(method), {name: PICKED})
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
    told = Layer("G.conv", layer, x.shape, layer(x).shape)
    (f2, plain), (f4, _) = (_errors(told, form) for form in (F2, F4))
    assert 1e-8 < f2 < f4 < 1e-5 and 1e-8 < plain < f4
    layer.double()
    assert all(max(_errors(told, form)) < 1e-13 for form in FORMS)


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
