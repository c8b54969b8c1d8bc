"""Channels last: only where gradients are right, which on a CPU they are not always."""

from types import SimpleNamespace

import pytest
import torch
from making import batches, small_method
from torch import nn

from i2i.engine.ema import EMA
from i2i.errors import UserError
from i2i.nets.layers import Noise
from i2i.speed import layout
from i2i.speed.measure import Work

PARTS = [nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1)]


def work_of(net, batch_size):
    method = SimpleNamespace(runtime=SimpleNamespace(device=torch.device("cpu"), precision="fp32", ema=None), nets={})
    net.in_channels = 3
    work = Work(method, 16, batch_size, 100)
    work.made_up = lambda net: (torch.rand(batch_size, 3, 16, 16) * 2 - 1,)
    return work


@pytest.mark.parametrize(("norm", "batch_size", "wrong"), [(nn.InstanceNorm2d, 1, True), (nn.BatchNorm2d, 2, False)])
def test_gradients_that_come_out_wrong_in_silence_are_found(norm, batch_size, wrong):
    """InstanceNorm's of a CPU at batch 1 are (torch 2.15); should that be mended, this test says so."""
    torch.manual_seed(0)
    net = nn.Sequential(*PARTS, norm(8), nn.Conv2d(8, 1, 3))
    found = layout.worse(work_of(net, batch_size), net)
    assert (found is not None) == wrong
    if wrong:
        assert found.startswith("its gradients are ") and "in the usual one" in found


def test_the_network_that_was_tested_is_untouched_and_its_dropout_still_drops():
    net = nn.Sequential(*PARTS, nn.Dropout(0.5), Noise(0.1), nn.BatchNorm2d(8))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    layout.worse(work_of(net, 2), net)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net[3].training and all(p.grad is None and p.is_contiguous() for p in net.parameters())


def test_a_network_laid_out_anew_goes_on_to_the_same_weights():
    """Two steps of pix2pix, whose norms are BatchNorm here: gradients and moments follow the layout of their weights."""
    nets = ["generator={name: unet, num_downs: 4, width: 4, norm: batch, dropout: false}",
            "discriminator={name: patchgan, num_layers: 1, width: 4, norm: batch}"]  # fmt: skip
    ends = []
    for laid in (False, True):
        method, _ = small_method("pix2pix", *nets, branch=False)
        for net in method.nets.values():
            net.double()
        method.runtime.ema = EMA({"G": method.G}, 0.9)
        if laid:
            layout.ChannelsLast().apply(Work(method, 32, 2, 100), ["G", "D"])
            assert all(
                p.is_contiguous(memory_format=torch.channels_last) for p in method.D.parameters() if p.dim() == 4
            )
        for step, batch in enumerate(batches(method, 2, dtype=torch.float64)):
            torch.manual_seed(step)
            method.step(iter([batch]))
        ends.append(
            [p.detach() for net in (method.G, method.D, method.runtime.ema.nets["G"]) for p in net.parameters()]
        )
    assert all(torch.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(*ends, strict=True))


def test_a_choice_that_names_what_is_not_there():
    method, _ = small_method("gan")
    with pytest.raises(UserError, match="lays out the weights of 'G', which cannot be here"):
        layout.ChannelsLast().apply(Work(method, 32, 2, 100), ["G"])


def test_asked_for_by_hand_it_is_refused_on_a_cpu():
    method, _ = small_method("pix2pix", "train.channels_last=true")
    with pytest.raises(UserError, match="InstanceNorm's gradients come out wrong in that layout. Set it to false"):
        layout.force(Work(method, 32, 2, 100))
