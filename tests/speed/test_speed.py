"""Every measure computes what the plain way computes: in float64 to its last digits, in a training to rounding."""

import copy

import pytest
import torch
from making import DISCRIMINATORS, GENERATORS, batches, small_method, snapshot
from probing import Willing, assert_same_losses, work_of
from torch import nn

from i2i import nets
from i2i.errors import UserError
from i2i.nets.layers import conv, is_convolution
from i2i.optimizers import step as update
from i2i.speed import choosing, layers
from i2i.speed.matrix import as_product, product
from i2i.speed.together import row_by_row

U_NET = "generator={name: unet, num_downs: 5, width: 4, norm: batch, dropout: true}"
CASES = {
    "pix2pix": [U_NET, "discriminator={name: patchgan, num_layers: 2, width: 4, norm: batch}"],
    "cyclegan": ["discriminator={name: patchgan, num_layers: 2, width: 4, norm: instance}"],
}


def quick(method):
    """The method with every measure but those that change the whole process; what was picked."""
    picked = choosing.choose(work_of(method), Willing())
    picked = {name: value for name, value in picked.items() if not choosing.KNOWN[name].everywhere}
    choosing.apply(work_of(method), picked)
    return picked


# ---- all of them together


@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_in_float64_have_the_losses_of_the_plain_way(name):
    plain, fast = (small_method(name, *CASES[name])[0] for _ in range(2))
    for method in (plain, fast):
        for net in method.nets.values():
            net.double()
    picked = quick(fast)
    assert picked["adam"] == ["G", "D"] and ("together" in picked) == (name == "cyclegan")
    assert ("matrix" in picked) and any(net.startswith("G") for net in picked["matrix"])
    data = batches(plain, 5, dtype=torch.float64)
    assert_same_losses(plain, fast, data, 50)


@pytest.mark.parametrize("name", CASES)
def test_three_steps_in_float32_are_those_of_the_plain_way(name):
    plain, fast = (small_method(name, *CASES[name])[0] for _ in range(2))
    assert quick(fast)
    for step, batch in enumerate(batches(plain, 3)):
        losses = []
        for method in (plain, fast):
            torch.manual_seed(step)
            losses.append({key: float(loss) for key, loss in method.step(iter([batch])).items()})
        assert losses[1] == pytest.approx(losses[0], rel=1e-4), step


@pytest.mark.parametrize("name", CASES)
def test_choosing_changes_nothing(name):
    method, _ = small_method(name, *CASES[name])
    before, threads = {net: snapshot(module) for net, module in method.nets.items()}, torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    choosing.choose(work_of(method), Willing())
    assert torch.equal(torch.rand(3), expected) and torch.get_num_threads() == threads
    for net, module in method.nets.items():
        assert all(torch.equal(value, before[net][key]) for key, value in module.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in module.parameters())
        assert not any("forward" in vars(layer) for layer in module.modules())
    assert not any(part["fused"] for optimizer in method.optimizers.values() for part in optimizer.param_groups)
    assert not any(optimizer.state for optimizer in method.optimizers.values()) and not method.runtime.at_once


def test_a_choice_that_does_not_fit_is_refused_in_words():
    method, _ = small_method("pix2pix")
    for picked, said in (
        ({"warp": True}, "has 'warp', which this version of i2i does not know. Known: allocator, threads, adam"),
        ({"adam": ["H"]}, "fused Adam for 'H'"),
        ({"matrix": ["G.encoder.9.conv"]}, "a convolution 'G.encoder.9.conv', which is none here"),
        ({"matrix": ["G.encoder.0.act"]}, "a convolution 'G.encoder.0.act', which is none here"),
        ({"together": ["G"]}, "batches the calls of 'G', which cannot be here"),
    ):
        with pytest.raises(UserError, match=said):
            choosing.apply(work_of(method), picked)


def test_what_is_said_names_each_measure_and_what_it_found():
    picked = {"adam": ["G"], "matrix": ["G.encoder.3.conv", "G.decoder.0.up", "D.layers.0.conv"], "threads": 1}
    said = choosing.words(picked, {"adam": "G 12 -> 5 ms"})
    assert said == (
        "1 thread; fused Adam for G (G 12 -> 5 ms); 2 convolutions of G and 1 convolutions of D as matrix products"
    )


# ---- convolutions as products

LAYERS = {
    "down": (lambda: nn.Conv2d(3, 5, 4, stride=2, padding=1, bias=True), (4, 6)),
    "to one pixel": (lambda: nn.Conv2d(3, 5, 4, stride=2, padding=1, bias=False), (2, 2)),
    "same size": (lambda: nn.Conv2d(3, 5, 3, padding=1), (3, 4)),
    "uneven": (lambda: nn.Conv2d(3, 5, (2, 3), stride=(1, 2), padding=(0, 2), dilation=(2, 1)), (5, 6)),
    "up": (lambda: nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1, bias=False), (1, 1)),
    "few of many": (lambda: nn.Conv2d(64, 3, 7, padding=2), (8, 9)),
    "few of many, reflected": (lambda: conv(64, 3, 5, padding="reflect"), (5, 6)),
    "few of many, padded beyond the kernel": (lambda: nn.Conv2d(64, 3, 3, padding=3), (5, 6)),
    "few of many, up": (lambda: nn.ConvTranspose2d(64, 3, 4, stride=2, padding=1), (3, 4)),
    "reflected": (lambda: conv(3, 5, 3, padding="reflect"), (3, 4)),
    "up, odd kernel": (lambda: nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1), (2, 3)),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_a_product_is_the_convolution_and_so_are_its_gradients(name, batch):
    torch.manual_seed(0)
    make, sides = LAYERS[name]
    layer = make().double()
    assert is_convolution(layer)
    ends = []
    for forward in (layer.forward, product(layer)):
        x = torch.randn(
            batch, layer.in_channels, *sides, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        )
        y = forward(x.requires_grad_())
        layer.zero_grad()
        (y * torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(y.shape)).sum().backward()
        ends.append([y.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())])
    for ours, theirs in zip(*ends, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-14 * max(1, theirs.abs().max())


def test_a_layer_that_is_more_than_a_convolution_is_left_alone():
    assert is_convolution(nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 2, 3)))
    for layer in (
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.Linear(2, 2),
    ):
        assert not is_convolution(layer)


def test_a_copy_of_a_layer_computes_with_its_own_weights():
    layer = nn.Conv2d(2, 2, 4, stride=2, padding=1)
    as_product(layer)
    copied, x = copy.deepcopy(layer), torch.ones(1, 2, 4, 4)
    with torch.no_grad():
        layer.weight.zero_()
    assert copied(x).abs().sum() > 0.1 and set(copied.state_dict()) == {"weight", "bias"}
    assert torch.allclose(copied(x), nn.Conv2d.forward(copied, x), atol=1e-6)


NETWORKS = [*(("generator", name) for name in GENERATORS), *(("discriminator", name) for name in DISCRIMINATORS)]


@pytest.mark.parametrize(("section", "name"), NETWORKS)
def test_layers_are_found_without_computing_as_a_forward_finds_them(section, name):
    registry, known = {
        "generator": (nets.GENERATORS, GENERATORS),
        "discriminator": (nets.DISCRIMINATORS, DISCRIMINATORS),
    }[section]
    assert set(known) == set(registry.names())
    latents = section == "generator" and registry.get(name).takes == "latents"
    size = ["data.crop_size=64"] if latents else ["data.size=64", "data.crop_size=64"]
    normed = ["discriminator.spectral_norm=true"] if name == "patchgan" else []
    method, _ = small_method("gan" if latents else "cyclegan", f"{section}={known[name]}", *size, *normed)
    work, expected = work_of(method, crop=64), []
    net_name = next(net for net in method.nets if net.startswith(section[0].upper()))
    net = method.nets[net_name]
    before = snapshot(net)
    found = layers.seen(work, net_name, lambda module: isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.register_forward_hook(lambda m, given, out: expected.append((m, given[0].shape, out.shape)))
    with torch.no_grad():
        net(*work.made_up(net))
    assert found and [(layer.module, layer.taken, layer.given) for layer in found] == expected


# ---- calls in one batch


def test_six_calls_of_the_generators_become_four_and_every_scalar_stays():
    counts, ends = [], []
    for at_once in (False, True):
        method, _ = small_method("cyclegan")
        if at_once:
            choosing.apply(work_of(method), {"together": ["G_ab", "G_ba"]})
        rows = []
        for net in (method.G_ab, method.G_ba):
            net.stem.register_forward_hook(lambda layer, given, out, rows=rows: rows.append(len(out)))
        (batch,) = batches(method, 1)
        ends.append({key: float(loss) for key, loss in method.step(iter([batch])).items()})
        counts.append(rows)
        assert not any("forward" in vars(net) for net in method.nets.values())
    assert counts == [[2] * 6, [4, 2, 4, 2]] or counts == [[2] * 6, [4, 4, 2, 2]]
    assert ends[1] == pytest.approx(ends[0], rel=1e-5)


def test_pictures_that_were_not_foreseen_and_second_calls_are_computed_as_ever():
    method, _ = small_method("cyclegan")
    net, runtime = method.G_ab, method.runtime
    runtime.at_once = {net}
    x, y, z = torch.rand(3, 1, 3, 32, 32).unbind()
    with torch.no_grad(), runtime.foreseen((net, x, y)):
        outputs = [net(z), net(y), net(x), net(y)]
    with torch.no_grad():
        for out, picture in zip(outputs, (z, y, x, y), strict=True):
            assert torch.allclose(out, net(picture), atol=1e-6)


@pytest.mark.parametrize(
    ("override", "may"),
    [
        ("generator.norm=instance", True),
        ("generator.norm=none", True),
        ("generator.norm=batch", False),
        ("generator.dropout=true", False),
        ("generator.spectral_norm=true", False),
        ("generator.upsample=subpixel", True),
        ("generator={name: unet, num_downs: 4, width: 4, norm: instance, dropout: false}", True),
        ("generator={name: unet_timm, encoder: test_resnet, width: 4, pretrained: false}", False),
    ],
)
def test_only_networks_that_treat_each_picture_by_itself_are_batched(override, may):
    method, _ = small_method("cyclegan", override, "data.size=64", "data.crop_size=64")
    assert row_by_row(method.G_ab) is may
    if may:
        x = torch.rand(2, 3, 32, 32)
        with torch.no_grad():
            apart = torch.cat([method.G_ab(row[None]) for row in x])
            assert torch.allclose(method.G_ab(x), apart, atol=1e-5)


def test_compiled_networks_and_bf16_are_left_to_themselves():
    for method, compiled in (
        (small_method("cyclegan")[0], True),
        (small_method("cyclegan", "train.precision=bf16")[0], False),
    ):
        picked = choosing.choose(work_of(method, compiled=compiled), Willing())
        assert "together" not in picked and "matrix" not in picked and picked["adam"] == ["G", "D"]


# ---- Adam


def test_a_fused_adam_pairs_each_weight_with_its_own_gradient():
    """A gradient that is laid out otherwise than its weight, as channels_last layers give: torch's own kernel is wrong."""
    ends = []
    for fused in (False, True):
        weight = torch.linspace(-1, 1, 2 * 3 * 4 * 4, dtype=torch.float64).reshape(2, 3, 4, 4).requires_grad_()
        optimizer = torch.optim.Adam([weight], lr=1e-2, fused=fused)
        for step in range(3):
            grad = torch.sin(torch.arange(weight.numel(), dtype=torch.float64) * (step + 1)).reshape(weight.shape)
            weight.grad = grad.contiguous(memory_format=torch.channels_last)
            update(optimizer)
        ends.append(weight.detach().clone())
    assert (ends[0] - ends[1]).abs().max() <= 1e-12


def test_other_optimizers_stay_as_they_are():
    method, _ = small_method("pix2pix", "optimizer.D={name: rmsprop}")
    assert choosing.choose(work_of(method), Willing())["adam"] == ["G"]


# ---- threads


def test_threads_are_left_alone_where_the_user_chose(monkeypatch):
    from i2i.speed.threads import Threads

    method, _ = small_method("pix2pix")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert Threads().pick(work_of(method), Willing()) is None
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr("i2i.speed.threads.cores", lambda: 2)
    assert Threads().pick(work_of(method), Willing()) == 2 and torch.get_num_threads() == 1
    undo = choosing.apply(work_of(method), {"threads": 2})
    assert torch.get_num_threads() == 2
    undo()
    assert torch.get_num_threads() == 1
