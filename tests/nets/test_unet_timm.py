"""The U-Net on timm's encoders: which fit, what it computes, and pretrained weights that are those or none."""

import ast
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from making import batches, small_recipe
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import i2i
from i2i import build
from i2i.engine import samples
from i2i.engine.runtime import Runtime
from i2i.errors import UserError
from i2i.faults import RecipeError
from i2i.nets.encoder import _growing, fitting, timm_encoder
from i2i.nets.unet_timm import UNetTimm

TINY = "test_resnet"
IMAGENET = "mobilenetv3_small_050"  # the smallest that knows ImageNet's mean; TINY's is 0.5
HUB = "timm.models._builder.load_state_dict_from_hf"


def classifier(name=TINY, **args):
    """A random classifier of timm's, its BatchNorm statistics moved: what a pretrained file holds."""
    torch.manual_seed(7)
    net = timm.create_model(name, **args)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.weight, 0.5, 1)
    return net


@pytest.fixture
def file(tmp_path):
    """A file of the weights of TINY, and its tensors."""
    return written(tmp_path, TINY)


@pytest.fixture
def imagenet(tmp_path):
    """A file of the weights of IMAGENET, and its tensors."""
    return written(tmp_path, IMAGENET)


def written(folder, name):
    state = classifier(name).state_dict()
    save_file(state, folder / "weights.safetensors")
    return str(folder / "weights.safetensors"), state


def no_hub(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(HUB, unreachable)


# ------------------------------------------------------------------------------------------------------------ encoders


@pytest.mark.parametrize(
    ("name", "reductions"),
    [
        ("resnet18", (2, 4, 8, 16, 32)),
        ("convnext_atto", (4, 8, 16, 32)),
        ("efficientnet_b0", (2, 4, 8, 16, 32)),
        ("mobilenetv3_small_050", (2, 4, 8, 16, 32)),
        ("regnety_002", (2, 4, 8, 16, 32)),
        pytest.param("vgg11_bn", (1, 2, 4, 8, 16, 32), marks=pytest.mark.slow),
    ],
)
def test_families(name, reductions):
    """Shapes, a gradient for every parameter, and no size that the encoder does not take."""
    torch.manual_seed(0)
    net = UNetTimm(3, 2, encoder=name, width=4, init="kaiming")
    assert net.reductions == reductions and (net.multiple, net.minimum) == (32, 64)
    for module in net.modules():  # residual branches that begin at zero hold back gradients
        if isinstance(module, nn.BatchNorm2d) and not module.weight.any():
            nn.init.ones_(module.weight)
    x = torch.rand(2, 3, 64, 96) * 2 - 1
    y = net(x)
    assert y.shape == (2, 2, 64, 96) and y.abs().max() <= 1
    (y * torch.randn_like(y)).sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key
    with pytest.raises(
        ValueError, match=r"UNetTimm got .* 64 x 80 .* multiples of 32 and at least 64. Pad them to 64 x 96"
    ):
        net(torch.rand(1, 3, 64, 80))
    with pytest.raises(ValueError, match="at least 64"):
        net(torch.rand(1, 3, 32, 64))
    net.eval()
    with torch.no_grad():
        assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_tiny_patch16_224", "features reduced by 16, 16, 16"),
        ("mixer_s32_224", "features reduced by 32, 32, 32"),
        ("swin_tiny_patch4_window7_224", "does not take a single picture of 64 x 96 pixels .*224"),
        ("skresnet18", "more than 1 value per channel"),
        ("mambaout_femto", "features of shapes"),
        ("resnet81", "must be a name of timm's. Did you mean 'resnet18'"),
        ("resnet18.a1_in1kk", "must be one of resnet18, .*Did you mean 'resnet18.a1_in1k'"),
        ("hf-hub:timm/resnet18", "must be a name of timm's"),
        ("", "must be a name of timm's"),
    ],
)
def test_others_are_refused_in_words(name, words):
    with pytest.raises(UserError, match=rf"encoder is '{name}'; it must be .*"):
        UNetTimm(3, 3, encoder=name)
    with pytest.raises(UserError, match=words):
        UNetTimm(3, 3, encoder=name)


def test_three_sizes_each_a_power_of_two_and_smaller_than_the_last():
    assert _growing([2, 4, 8]) and _growing([4, 8, 16, 32])
    assert not any(map(_growing, ([4, 8], [16, 16, 16], [8, 4, 2], [2, 4, 12], [])))


def test_trying_an_encoder_out_draws_nothing():
    fitting.cache_clear()
    torch.manual_seed(3)
    first = UNetTimm(3, 3, encoder=TINY, width=2).state_dict()
    torch.manual_seed(3)
    second = UNetTimm(3, 3, encoder=TINY, width=2).state_dict()
    assert fitting.cache_info().hits == 1
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_timm_is_imported_by_nothing_else(monkeypatch):
    """It takes seconds: no module imports it at its top, and no other network needs it."""
    for path in Path(i2i.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not [module for module in modules if module.split(".")[0] == "timm"], path
    monkeypatch.setitem(sys.modules, "timm", None)  # an import of it now fails
    assert "unet_timm" in i2i.names("generator")
    small_recipe("pix2pix")
    small_recipe("cyclegan")
    with pytest.raises(ImportError):
        UNetTimm(3, 3)


# ---------------------------------------------------------------------------------------------------- what it computes


@pytest.mark.parametrize("skip_picture", [True, False])
def test_it_computes_the_figure(skip_picture):
    """The decoder written out, without blocks and without in-place activations."""
    torch.manual_seed(0)
    args = {"norm": "instance", "upsample": "deconv", "dropout": False, "init": "kaiming", "skip_picture": skip_picture}
    net = UNetTimm(3, 2, encoder=TINY, width=2, **args).double().eval()
    x = torch.rand(2, 3, 64, 128, dtype=torch.float64) * 2 - 1
    y, *skips = reversed(net.encoder(x))
    if skip_picture:
        skips.append(x)
    assert [stage.up.up.out_channels for stage in net.stages] == [16, 16, 8, 4, 2]
    for index, stage in enumerate(net.stages):
        up, mix = stage.up.up, stage.mix.conv
        y = F.relu(F.instance_norm(F.conv_transpose2d(y, up.weight, up.bias, stride=2, padding=1)))
        y = torch.cat((skips[index], y), 1) if index < len(skips) else y
        y = F.relu(F.instance_norm(F.conv2d(y, mix.weight, mix.bias, padding=1)))
    expected = F.conv2d(y, net.head.conv.weight, net.head.conv.bias, padding=1).tanh()
    assert (net(x) - expected).abs().max() < 1e-12


def test_dropout_sits_in_the_three_smallest_sizes():
    def noisy(name):
        net = UNetTimm(3, 3, encoder=name, width=2)
        return [any(isinstance(module, nn.Dropout) for module in stage.modules()) for stage in net.stages]

    assert noisy(TINY) == [True, True, True, False, False]
    assert noisy("test_convnext") == [True, True, True, False, False]
    net = UNetTimm(3, 3, encoder=TINY, width=2).eval()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    x = torch.rand(1, 3, 64, 64)
    assert not torch.equal(net(x), net(x))


def test_init_is_the_decoders_and_the_encoder_keeps_its_own():
    torch.manual_seed(0)
    net = UNetTimm(3, 3, encoder=TINY, width=8, init="normal_0.5")
    assert net.stages[0].mix.conv.weight.std().item() == pytest.approx(0.5, rel=0.1)
    assert net.encoder.conv1[0].weight.std().item() < 0.3


# -------------------------------------------------------------------------------------------------- pretrained weights


@pytest.mark.parametrize("name", [TINY, "test_convnext", "test_efficientnet", "test_nfnet"])
@pytest.mark.parametrize("kind", ["safetensors", "pth", "wrapped"])
def test_a_local_file_is_loaded_bit_by_bit(tmp_path, monkeypatch, name, kind):
    no_hub(monkeypatch)
    net = classifier(name)
    path = str(tmp_path / "weights")  # what it is, is seen by its bytes
    if kind == "safetensors":
        save_file(net.state_dict(), path)
    elif kind == "pth":
        torch.save(net.state_dict(), path)
    else:
        torch.save(
            {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}}, path
        )
    encoder = timm_encoder(name, 3, pretrained=True, weights=path)
    features = net.eval().forward_intermediates(torch.zeros(1, 3, 64, 64), intermediates_only=True)
    found, theirs = encoder.state_dict(), {key.replace(".", "_"): value for key, value in net.state_dict().items()}
    assert len(found) > 20
    assert all(torch.equal(value, theirs[key.replace(".", "_")]) for key, value in found.items())
    x = torch.rand(1, 3, 64, 64)
    features = net.eval().forward_intermediates(x, intermediates_only=True)
    assert torch.equal(encoder.eval()(x)[-1], features[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet18", "convnext_atto", "xception41", "twins_svt_small", "hrnet_w18_small", "tiny_vit_5m_224"],
)
def test_wrappers_of_every_kind_take_their_weights(tmp_path, name):
    """timm wraps an encoder in four ways, each of which renames its tensors in its own."""
    net = classifier(name)
    save_file(net.state_dict(), tmp_path / "file")
    encoder = timm_encoder(name, 3, pretrained=True, weights=str(tmp_path / "file"))
    values = {key.replace(".", "_"): value for key, value in net.state_dict().items()}
    for key, value in encoder.state_dict().items():
        flat = key.replace(".", "_")
        there = next((values[each] for each in (flat, flat.partition("_")[2]) if each in values), None)
        if there is not None:
            assert torch.equal(value, there), key
    torch.manual_seed(1)
    net = UNetTimm(3, 3, encoder=name, width=2).eval()
    with torch.device("meta"):
        empty = UNetTimm(3, 3, encoder=name, width=2).eval()
    empty.load_state_dict(net.state_dict(), assign=True)
    assert not any(tensor.is_meta for tensor in (*empty.parameters(), *empty.buffers()))
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(net(x), empty(x))


def test_a_wrapper_that_renames_in_another_way_is_noticed(monkeypatch, file):
    path, state = file
    monkeypatch.setattr(timm.models.ResNet, "state_dict", lambda net: {f"new.{key}": v for key, v in state.items()})
    with pytest.raises(UserError, match="they have nothing for conv1.0.weight"):
        timm_encoder(TINY, 3, pretrained=True, weights=path)


@pytest.mark.parametrize("classes", [0, 10, 1000])
def test_a_classifier_of_any_number_of_classes_will_do(tmp_path, classes):
    save_file(classifier(num_classes=classes).state_dict(), tmp_path / "file")
    encoder = timm_encoder(TINY, 3, pretrained=True, weights=str(tmp_path / "file"))
    assert torch.equal(encoder.conv1[0].weight, classifier(num_classes=classes).conv1[0].weight)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_of_something_else_are_refused_in_words(tmp_path, file):
    _, state = file

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "it ran"),))

    lacking = {key: value for key, value in state.items() if key != "layer2.0.bn1.running_mean"}
    wrong = {
        "another network": (lambda path: save_file(classifier("test_efficientnet").state_dict(), path), "issing key"),
        "a tensor is missing": (lambda path: save_file(lacking, path), "layer2.0.bn1.running_mean"),
        "another shape": (lambda path: save_file({**state, "bn1.weight": torch.ones(3)}, path), "bn1.weight"),
        "one too many": (lambda path: save_file({**state, "more": torch.ones(3)}, path), "more"),
        "NaN": (lambda path: save_file({**state, "bn1.weight": torch.full((32,), torch.nan)}, path), "not finite"),
        "nothing": (lambda path: torch.save({}, path), "something else than named tensors"),
        "a list": (lambda path: torch.save([1, 2], path), "something else than named tensors"),
        "text": (lambda path: path.write_text("hello"), "must be a file of the weights"),
        "a pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "must be a file of the weights"),
        "a bomb in a .pth": (lambda path: torch.save({"state_dict": Bomb()}, path), "must be a file of the weights"),
    }
    for label, (make, words) in wrong.items():
        path = tmp_path / "weights"
        make(path)
        with pytest.raises(UserError, match=words) as error:
            UNetTimm(3, 3, encoder=TINY, width=2, pretrained=True, weights=str(path))
        assert f"weights is '{path}'; it must be a file of the weights of timm's '{TINY}'" in str(error.value), label
        assert "Set encoder to" in str(error.value) and "\n" not in str(error.value), label
    assert not (tmp_path / "it ran").exists()


def test_weights_without_pretrained_and_files_that_are_not_there():
    with pytest.raises(UserError, match="weights is 'x'; it must be null where pretrained is false"):
        UNetTimm(3, 3, encoder=TINY, weights="x")
    with pytest.raises(UserError, match="weights is 'x'; it must be a file .* there is none"):
        UNetTimm(3, 3, encoder=TINY, pretrained=True, weights="x")


def test_the_hub_gives_all_or_it_is_said(monkeypatch, file):
    _, state = file
    monkeypatch.setattr(HUB, lambda *args, **kwargs: dict(state))
    net = UNetTimm(3, 3, encoder=TINY, width=2, pretrained=True)
    assert torch.equal(net.encoder.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])

    monkeypatch.setattr(HUB, lambda *args, **kwargs: {k: v for k, v in state.items() if k != "layer1.0.conv1.weight"})
    with pytest.raises(UserError, match=r"weights of 'test_resnet' are not to be had \(.*layer1.0.conv1.weight"):
        UNetTimm(3, 3, encoder=TINY, width=2, pretrained=True)

    no_hub(monkeypatch)
    with pytest.raises(
        UserError, match=r"not to be had \(no route to host\). Connect .* set weights .* pretrained to false"
    ):
        UNetTimm(3, 3, encoder=TINY, width=2, pretrained=True)


def test_an_encoder_without_published_weights_is_told_so():
    unpublished = next(name for name in timm.list_models("resnet*") if not timm.get_pretrained_cfg(name).has_weights)
    with pytest.raises(UserError, match=f"encoder is '{unpublished}'; it must be one with published weights"):
        UNetTimm(3, 3, encoder=unpublished, pretrained=True)


@pytest.mark.slow
def test_offline_the_real_hub_is_refused_in_words(tmp_path):
    code = "from i2i.nets.unet_timm import UNetTimm; UNetTimm(3, 3, pretrained=True)"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "UserError: the pretrained weights of 'resnet18' are not to be had" in done.stderr


def test_the_decoder_begins_the_same_with_and_without_pretrained_weights(file):
    path, _ = file
    decoders = []
    for args in ({}, {"pretrained": True, "weights": path}):
        torch.manual_seed(5)
        net = UNetTimm(3, 3, encoder=TINY, width=2, **args)
        decoders.append(net.stages.state_dict())
    assert all(torch.equal(decoders[0][key], decoders[1][key]) for key in decoders[0])


@pytest.mark.parametrize("channels", [3, 1, 4])
def test_pictures_reach_a_pretrained_encoder_as_it_knows_them(imagenet, channels):
    path, state = imagenet
    net = UNetTimm(channels, 3, encoder=IMAGENET, width=2, pretrained=True, weights=path)
    seen = []
    net.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    levels = torch.rand(1, channels, 64, 64)
    net.eval()(2 * levels - 1)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    if channels == 3:
        mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (mean, std))
    else:
        mean, std = sum(mean) / 3, sum(std) / 3
    assert torch.allclose(seen[0], (levels - mean) / std, atol=1e-6)
    first, theirs = net.encoder.conv_stem.weight, state["conv_stem.weight"]
    if channels == 1:
        assert torch.allclose(first, theirs.sum(1, keepdim=True), atol=1e-6)
    if channels == 4:
        assert torch.allclose(first, theirs[:, [0, 1, 2, 0]] * 0.75, atol=1e-6)

    plain = UNetTimm(channels, 3, encoder=IMAGENET, width=2)
    assert not plain.shift.any() and (plain.scale == 1).all()


# ------------------------------------------------------------------------------------------------- in a recipe and after


def recipe(*overrides):
    return small_recipe(
        "pix2pix",
        "data.size=64",
        "data.crop_size=64",
        f"generator={{name: unet_timm, encoder: {TINY}, width: 4}}",
        *overrides,
    )


def test_check_neither_fetches_nor_reads(monkeypatch, tmp_path):
    no_hub(monkeypatch)
    recipe("generator.pretrained=true")
    (tmp_path / "weights").write_text("what it holds is not looked at")
    recipe("generator.pretrained=true", f"generator.weights={tmp_path}/weights")
    with pytest.raises(RecipeError, match="generator: weights is '/nowhere'; .* there is none"):
        recipe("generator.pretrained=true", "generator.weights=/nowhere")
    with pytest.raises(RecipeError, match="encoder is 'resnt18'; .*Did you mean 'resnet18'"):
        recipe("generator.encoder=resnt18")
    with pytest.raises(RecipeError, match="data.crop_size: 32 does not fit 'unet_timm'.* Use a crop of 64."):
        recipe("data.crop_size=32", "data.size=32")


def test_saved_it_needs_neither_file_nor_hub(monkeypatch, tmp_path, imagenet):
    path, _ = imagenet
    no_hub(monkeypatch)
    pretrained = [f"generator.encoder={IMAGENET}", "generator.pretrained=true", f"generator.weights={path}"]
    checked = recipe(*pretrained, "translate.dropout=false")
    method = build.method(checked, Runtime("cpu"))
    method.step(iter(batches(method, 1, size=64)))
    data = build.dataset(checked)
    metas = build.weights_meta(build.resolved(checked, data), "tiny", method, data)
    args = metas["generator"]["net"]["args"]
    assert (args["pretrained"], args["weights"], args["encoder"]) == (False, None, IMAGENET)
    files = samples.exported(method, None, {name: {**meta, "step": 1} for name, meta in metas.items()})
    samples.write_weights(tmp_path, files)
    os.unlink(path)

    model = i2i.load(tmp_path / "generator.safetensors")
    x = batches(method, 1, size=64)[0]["input"][:1]
    net = method.G.eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # the recipe's policy: statistics of the picture
            module.train()
    with torch.no_grad():
        assert torch.equal(model(x), net(x))
    assert model.net.shift.any(), "the encoder's mean travels with the weights"
