"""Of a step on a card, as far as that can be told without one: nothing in it comes from the host."""

import cards
import pytest
import torch
from making import GAMES, batches, small_method

from i2i.engine.ema import EMA
from i2i.methods import METHODS

GAME = ["augment.policy=[color, translation, cutout, flip, rotate]", "method.num_critic=2"]


@pytest.mark.parametrize(("name", "constraint"), GAMES)
def test_a_step_takes_no_tensor_of_the_host(name, constraint, monkeypatch):
    played = [*GAME, f"method.constraint={{name: {constraint}}}"] if METHODS.get(name).adversarial else []
    method = _made(name, *played, "train.clip_grad=1.0")
    data = batches(method, 2 * method.batches_per_step)
    with cards.pretended(monkeypatch):
        sent = _sent(method, data)
        with cards.NoCopies():
            for start in range(0, len(sent), method.batches_per_step):
                method.step(iter(sent[start : start + method.batches_per_step]))


def test_the_watch_sees_a_tensor_of_the_host(monkeypatch):
    method = _made("pix2pix")
    data = batches(method, 1)
    with cards.pretended(monkeypatch):
        sent = _sent(method, data)
        method.pair = lambda x, y: torch.cat((x, y), dim=1) + torch.ones(1).to(x.device)
        with cards.NoCopies(), pytest.raises(AssertionError, match="of the host and of the card"):
            method.step(iter(sent))


def _made(name, *overrides):
    method, _ = small_method(name, *overrides, branch=False)
    method.runtime.ema = EMA({net: method.nets[net] for net in method.exports.values()}, 0.9)
    return method


def _sent(method, data):
    """The method and its batches on the card."""
    runtime = method.runtime
    for net in (*method.nets.values(), *runtime.ema.nets.values()):
        cards.on_card(net)
    for group, names in method.groups.items():
        members = [p for net in names for p in method.nets[net].parameters()]
        method.optimizers[group] = torch.optim.Adam(members, fused=True, capturable=True)
    cards._backward.parameters = [p for net in method.nets.values() for p in net.parameters()]
    runtime.device = torch.device("cuda")
    runtime._bad, runtime._record, runtime._now = (
        torch.zeros(size, device="cuda", dtype=dtype)
        for size, dtype in (((), torch.float32), ((4,), torch.float64), ((), torch.float64))
    )
    runtime.rates_on_device(method)
    return [
        {key: torch.empty(value.shape, dtype=value.dtype, device="cuda") for key, value in batch.items()}
        for batch in data
    ]
