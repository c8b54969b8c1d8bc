"""Winograd's form is the convolution: outputs, gradients and gradients of gradients, at every size and border."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from i2i.nets import winograd
from i2i.nets.layers import conv
from i2i.nets.winograd import convolution, convolved, fits, transformed

SIDES = [(3, 3), (4, 5), (6, 6), (7, 10), (9, 8), (13, 3)]


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def ends(way, x, weight, bias, padding):
    """Output and gradients of a way to convolve."""
    given = [t.clone().requires_grad_() for t in (x, weight, bias) if t is not None]
    y = way(*given[:2], given[2] if bias is not None else None, padding)
    y.backward(drawn(*y.shape, seed=9, dtype=y.dtype))
    return [y.detach(), *(t.grad for t in given)]


def plain(x, weight, bias, padding):
    return F.conv2d(x, weight, bias, padding=padding)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (0, 2)], ids=str)
@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_outputs_and_gradients_are_those_of_the_convolution_in_float64(batch, bias, padding, sides):
    x, weight, shift = drawn(batch, 5, *sides), drawn(7, 5, 3, 3, seed=1), drawn(7, seed=2) if bias else None
    for ours, theirs in zip(*(ends(way, x, weight, shift, padding) for way in (convolution, plain)), strict=True):
        assert ours.shape == theirs.shape and ours.is_contiguous()
        assert (ours - theirs).abs().max() <= 1e-10 * max(1, theirs.abs().max())


def test_gradients_and_gradients_of_gradients_by_finite_differences():
    given = [t.requires_grad_() for t in (drawn(2, 2, 6, 5), drawn(3, 2, 3, 3, seed=1), drawn(3, seed=2))]
    assert torch.autograd.gradcheck(lambda *t: convolution(*t, (1, 1)), given)
    assert torch.autograd.gradgradcheck(lambda *t: convolution(*t, (0, 0)), given)


def test_a_penalty_on_gradients_is_that_of_the_convolution():
    found = []
    for way in (convolution, plain):
        x, weight = drawn(2, 4, 7, 7).requires_grad_(), drawn(4, 4, 3, 3, seed=1).requires_grad_()
        (slope,) = torch.autograd.grad(way(x, weight, None, (1, 1)).tanh().sum(), x, create_graph=True)
        (slope.square().sum() - 1).square().backward()
        found.append((x.grad, weight.grad))
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() <= 1e-10 * theirs.abs().max()


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_needs_no_gradient_gets_none(frozen):
    given = [drawn(1, 2, 6, 6), drawn(2, 2, 3, 3, seed=1)]
    given[1 - frozen].requires_grad_()
    convolution(*given, None, (0, 0)).sum().backward()
    assert given[frozen].grad is None and given[1 - frozen].grad is not None


def test_weights_that_are_transformed_once_give_the_same_bits():
    x, weight, bias = (drawn(*s, dtype=torch.float32) for s in ((2, 5, 11, 8), (7, 5, 3, 3), (7,)))
    assert torch.equal(convolved(x, transformed(weight), bias, (1, 1)), convolution(x, weight, bias, (1, 1)))


def test_rounding_is_within_a_few_times_that_of_the_convolution():
    """With the points of the paper, 0, +-1 and +-2, the output would be 60 times as far off."""
    x, weight = drawn(1, 128, 18, 18).relu(), drawn(128, 128, 3, 3, seed=1) * 0.02
    exact = ends(plain, x, weight, None, (0, 0))
    for place, most in ((0, 20), (1, 20), (2, 5)):
        far = [
            (ends(way, x.float(), weight.float(), None, (0, 0))[place] - exact[place]).abs().max()
            for way in (convolution, plain)
        ]
        assert far[0] <= most * far[1]


class Held(TorchDispatchMode):
    """Counts the bytes of all tensors that are made inside, and the most that were there at once."""

    def __init__(self):
        super().__init__()
        self.now, self.most, self.known = 0, 0, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage())._cdata not in self.known:
                self.known.add(storage._cdata)
                self.change(storage.nbytes())
                weakref.finalize(storage, self.gone, storage._cdata, storage.nbytes())
        return made

    def gone(self, key, size):
        self.known.discard(key)
        self.change(-size)

    def change(self, size):
        self.now += size
        self.most = max(self.most, self.now)


@pytest.mark.parametrize(("shape", "channels"), [((1, 64, 66, 66), 64), ((2, 64, 34, 34), 128), ((1, 128, 18, 18), 64)])
def test_it_holds_as_much_more_memory_as_is_told(shape, channels):
    most = []
    for way in (plain, convolution):
        x, weight = drawn(*shape, dtype=torch.float32), drawn(channels, shape[1], 3, 3, dtype=torch.float32)
        with Held() as held:
            way(x.requires_grad_(), weight.requires_grad_(), None, (0, 0)).sum().backward()
        most.append(held.most)
    assert most[1] - most[0] == pytest.approx(4 * winograd.workspace(shape, channels, (0, 0)), rel=0.2)


def test_which_layers_it_is_for(monkeypatch):
    monkeypatch.setattr(winograd, "MANY", 4)
    layers = [conv(4, 4, 3), conv(4, 8, 3, padding="reflect"), conv(4, 4, 3, padding="replicate")]
    assert all(map(fits, layers)) and fits(nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)))
    for layer in (
        conv(4, 4, 4), conv(4, 4, 3, stride=2), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), conv(3, 8, 3),
        conv(8, 3, 3), nn.ConvTranspose2d(4, 4, 3), nn.Linear(4, 4),
    ):  # fmt: skip
        assert not fits(layer), layer
