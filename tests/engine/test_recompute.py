"""Activation checkpointing: the bits of plain training, in less memory."""

import copy
import itertools

import pytest
import torch
from making import batches, small_method, snapshot
from torch import nn

from i2i.engine.recompute import blocks, recompute
from i2i.nets import DISCRIMINATORS, GENERATORS
from i2i.nets.shapes import inputs, parts

EVERYTHING = {
    "u-net with dropout, batch norm and DiffAugment": (
        "pix2pix",
        "generator={name: unet, num_downs: 6, width: 2, norm: batch, dropout: true}",
        "discriminator={name: patchgan, num_layers: 1, width: 4, norm: batch}",
        "data.size=64",
        "data.crop_size=64",
        "augment.policy=[color, translation, cutout]",
    ),
    "resnet with dropout and batch norm, several critics": (
        "cyclegan",
        "generator={name: resnet, num_blocks: 1, width: 4, norm: batch, dropout: true}",
        "method.num_critic=2",
    ),
    "spectral norm and a gradient penalty": (
        "pix2pix",
        "generator={name: unet, num_downs: 4, width: 4, norm: instance, dropout: true, spectral_norm: true}",
        "discriminator={name: patchgan, num_layers: 2, width: 4, norm: instance, spectral_norm: true}",
        "method.constraint={name: gp}",
    ),
    "told classes": (
        "cgan",
        "generator={name: mlp, num_layers: 2, width: 4, norm: batch}",
        "discriminator={name: maxout, num_layers: 2, width: 4, spectral_norm: true}",
        "train.precision=bf16",
    ),
    "noise and weight norm": (
        "ssgan",
        "generator={name: mlp, num_layers: 2, width: 4, norm: batch, activation: softplus}",
        "discriminator={name: mlp, num_layers: 3, width: [5, 4, 3], noise_input: 0.6, noise: 0.5, weight_norm: 1.3}",
    ),
    "told by norms and by projection": (
        "cgan",
        "generator={name: resnet_gan, condition: norm, width: 4, norm: batch}",
        "discriminator={name: dcgan, condition: projection, width: 4, norm: batch, spectral_norm: true}",
        "train.precision=bf16",
    ),
    "told by the input": (
        "cgan",
        "generator={name: dcgan, condition: input, width: 4, norm: batch, upsample: subpixel}",
        "discriminator={name: resnet_gan, condition: input, width: 4, norm: layer}",
        "method.constraint={name: gp}",
    ),
    "bf16, spectral norm, pixel discriminator": (
        "cyclegan",
        "generator={name: resnet, num_blocks: 1, width: 4, upsample: resize}",
        "discriminator={name: pixel, width: 4, norm: batch, spectral_norm: true}",
        "train.precision=bf16",
    ),
}


def three_steps(name, *overrides, recomputed):
    """The method after three steps, and the gradients of every update."""
    method, recipe = small_method(name, *overrides)
    if recomputed:
        for net in method.nets.values():
            recompute(net)
    gradients, inner = [], method.runtime.descend

    def descend(m, group, loss):
        inner(m, group, loss)
        gradients.append([p.grad.clone() for net in m.groups[group] for p in m.nets[net].parameters()])

    method.runtime.descend = descend
    data = iter(batches(method, 3 * method.batches_per_step, size=recipe.data.crop_size))
    for step in range(3):
        torch.manual_seed(step)
        method.step(itertools.islice(data, method.batches_per_step))
    return method, gradients


SLOW = [case for case in EVERYTHING if not case.startswith(("u-net", "spectral"))]


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case for case in EVERYTHING]
)
def test_gradients_weights_and_buffers_are_the_plain_ones_bit_for_bit(case):
    plain, expected = three_steps(*EVERYTHING[case], recomputed=False)
    saving, found = three_steps(*EVERYTHING[case], recomputed=True)
    assert len(found) == len(expected) > 3
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for name, net in plain.nets.items():
        state = saving.nets[name].state_dict()
        assert state.keys() == net.state_dict().keys()
        different = [key for key, value in net.state_dict().items() if not torch.equal(state[key], value)]
        assert not different, (name, different)


def calls_of(net):
    """How often each block ran; counted at its first layer, since the block's own forward is replaced."""
    counts = {}
    for number, block in enumerate(blocks(net)):
        leaf = next(module for module in block.modules() if next(module.children(), None) is None)
        leaf.register_forward_pre_hook(lambda *args, number=number: counts.update({number: counts.get(number, 0) + 1}))
    return counts


SMALL = {
    "patchgan": {"width": 8},
    "pixel": {"width": 8},
    "multiscale": {"width": 8},
    "unet": {"num_downs": 4, "width": 4},
    "resnet": {"num_blocks": 2, "width": 4},
    "unet_timm": {"width": 4},
    "dcgan": {"width": 4},
    "resnet_gan": {"width": 4},
}


SIDE = 16  # of pictures for networks that are laid out for one size


def built(registry, name, *channels):
    kind = registry.get(name)
    return kind(*channels, *((SIDE,) if kind.sized else ()), **SMALL.get(name, {}))


def batch_for(net):
    return torch.zeros(inputs(net, 2, SIDE if net.sized else net.minimum * 2))


@pytest.mark.parametrize("name", GENERATORS.names())
def test_every_block_of_every_generator_runs_again_on_the_way_back_and_only_then(name):
    net = recompute(built(GENERATORS, name, 3, 3))
    counts = calls_of(net)
    picture = batch_for(net)
    with torch.no_grad():
        net(picture)
    assert set(counts.values()) == {1} and len(counts) >= (2 if net.takes == "latents" else 5)
    out = net(picture)
    assert set(counts.values()) == {2}
    out.mean().backward()
    assert set(counts.values()) == {3}


@pytest.mark.parametrize("name", ["dcgan", "resnet_gan"])
def test_blocks_that_are_told_a_class_run_again_on_the_way_back(name):
    net = recompute(GENERATORS.build(name, 3, 3, SIDE, 4, **SMALL[name]))
    counts, y = calls_of(net), torch.tensor([2, 0])
    out = net(torch.randn(2, 3), y)
    assert set(counts.values()) == {1} and len(counts) >= 2
    out.square().mean().backward()
    assert set(counts.values()) == {2}
    told = [parameter for key, parameter in net.named_parameters() if key.endswith((".scale", ".shift"))]
    assert told and all([bool(row.any()) for row in p.grad] == [True, False, True, False] for p in told)


@pytest.mark.parametrize("name", DISCRIMINATORS.names())
def test_a_frozen_discriminator_gives_the_same_gradient_to_its_input(name):
    torch.manual_seed(0)
    net, found = built(DISCRIMINATORS, name, 3).requires_grad_(False), []
    shape = batch_for(net)[:1].shape
    for judge in (net, recompute(copy.deepcopy(net))):
        torch.manual_seed(1)  # of dropout
        picture = torch.linspace(-1, 1, shape.numel()).reshape(shape).requires_grad_()
        logits = judge(picture)
        sum(scale.mean() for scale in parts(logits)).backward()
        found.append(picture.grad)
    assert torch.equal(*found) and found[0].abs().max() > 0


def test_a_copy_runs_its_own_weights():
    net = recompute(GENERATORS.build("resnet", 3, 3, num_blocks=1, width=4))
    copied = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert float(copied(torch.ones(1, 3, 32, 32)).detach().abs().max()) == 0


def test_weights_that_changed_in_between_are_never_used_in_silence():
    net = recompute(GENERATORS.build("resnet", 3, 3, num_blocks=1, width=4))
    out = net(torch.ones(1, 3, 32, 32))
    with torch.no_grad():
        next(net.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="weights changed between a forward and its backward"):
        out.mean().backward()


def test_a_block_that_changes_its_input_in_its_middle_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, x):
            y = self.conv(x)
            x.mul_(2)
            return y

    net = recompute(nn.Sequential(Odd()))
    with pytest.raises(RuntimeError, match="Odd changes its input in place"):
        net(torch.ones(1, 1, 2, 2))


def test_less_is_kept_for_the_way_back():
    """Bytes that autograd holds between forward and backward: counted, since memory of a process is noisy."""
    kept = []
    for wrap in (lambda net: net, recompute):
        net = wrap(GENERATORS.build("resnet", 3, 3, num_blocks=6, width=8))
        held = {}

        def note(tensor, held=held):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            out = net(torch.zeros(1, 3, 64, 64))
        kept.append(sum(size for place, size in held.items() if place not in weights))
        del out
    assert kept[1] < 0.35 * kept[0], kept


@pytest.mark.parametrize("name", ["pix2pix", pytest.param("cyclegan", marks=pytest.mark.slow)])
def test_a_run_is_the_same_with_and_without(name, tmp_path):
    from running import ARGUMENTS, LENGTH

    from i2i.engine import checkpoint
    from i2i.engine.train import train

    ends = []
    for value in ("false", "true"):
        recipe, *overrides = ARGUMENTS[name]
        settings = [*LENGTH, f"train.activation_checkpointing={value}", "train.tracker=null", "train.sample_every=null"]
        path = train(recipe, [*overrides, *settings], run=tmp_path / value, device="cpu", say=lambda line: None)
        ends.append(checkpoint.newest(path, print)[0])
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_what_does_not_go_together_is_refused_in_words():
    from making import small_recipe

    from i2i.errors import UserError

    with pytest.raises(UserError, match=r"train\.activation_checkpointing: true does not go with train\.compile"):
        small_recipe("pix2pix", "train.activation_checkpointing=true", "train.compile=true")


def test_a_snapshot_is_untouched_by_a_second_forward_before_the_backward():
    """D(real), D(fake), then backward: the vectors of spectral norm move twice, not four times."""
    nets = []
    for wrap in (lambda net: net, recompute):
        torch.manual_seed(0)
        net = wrap(DISCRIMINATORS.build("patchgan", 3, num_layers=1, width=4, norm="batch", spectral_norm=True))
        (net(torch.ones(2, 3, 32, 32)).mean() - net(torch.zeros(2, 3, 32, 32)).mean()).backward()
        nets.append((snapshot(net), [p.grad for p in net.parameters()]))
    (plain, expected), (saving, found) = nets
    assert all(torch.equal(saving[key], value) for key, value in plain.items())
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
