"""Winograd's forms are the convolution: outputs, gradients and gradients of gradients, at every size and border."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from i2i.nets import winograd
from i2i.nets.layers import conv
from i2i.nets.winograd import F2, F4, FORMS, convolution, convolved, fits, transformed

SIDES = [(3, 3), (4, 5), (6, 6), (7, 10), (9, 8), (13, 3)]


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def ends(way, x, weight, bias, padding, form):
    """Output and gradients of a way to convolve."""
    given = [t.clone().requires_grad_() for t in (x, weight, bias) if t is not None]
    y = way(*given[:2], given[2] if bias is not None else None, padding, form)
    y.backward(drawn(*y.shape, seed=9, dtype=y.dtype))
    return [y.detach(), *(t.grad for t in given)]


def plain(x, weight, bias, padding, form=None):
    return F.conv2d(x, weight, bias, padding=padding)


forms = pytest.mark.parametrize("form", FORMS, ids=str)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (0, 2)], ids=str)
@pytest.mark.parametrize("sides", SIDES, ids=str)
@forms
def test_outputs_and_gradients_are_those_of_the_convolution_in_float64(batch, bias, padding, sides, form):
    x, weight, shift = drawn(batch, 5, *sides), drawn(7, 5, 3, 3, seed=1), drawn(7, seed=2) if bias else None
    for ours, theirs in zip(*(ends(way, x, weight, shift, padding, form) for way in (convolution, plain)), strict=True):
        assert ours.shape == theirs.shape and ours.is_contiguous()
        assert (ours - theirs).abs().max() <= 1e-10 * max(1, theirs.abs().max())


@forms
def test_gradients_and_gradients_of_gradients_by_finite_differences(form):
    given = [t.requires_grad_() for t in (drawn(2, 2, 6, 5), drawn(3, 2, 3, 3, seed=1), drawn(3, seed=2))]
    assert torch.autograd.gradcheck(lambda *t: convolution(*t, (1, 1), form), given)
    assert torch.autograd.gradgradcheck(lambda *t: convolution(*t, (0, 0), form), given)


@forms
def test_a_penalty_on_gradients_is_that_of_the_convolution(form):
    found = []
    for way in (convolution, plain):
        x, weight = drawn(2, 4, 7, 7).requires_grad_(), drawn(4, 4, 3, 3, seed=1).requires_grad_()
        (slope,) = torch.autograd.grad(way(x, weight, None, (1, 1), form).tanh().sum(), x, create_graph=True)
        (slope.square().sum() - 1).square().backward()
        found.append((x.grad, weight.grad))
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() <= 1e-10 * theirs.abs().max()


@pytest.mark.parametrize("frozen", [0, 1])
@forms
def test_what_needs_no_gradient_gets_none(frozen, form):
    given = [drawn(1, 2, 6, 6), drawn(2, 2, 3, 3, seed=1)]
    given[1 - frozen].requires_grad_()
    convolution(*given, None, (0, 0), form).sum().backward()
    assert given[frozen].grad is None and given[1 - frozen].grad is not None


@forms
def test_weights_that_are_transformed_once_give_the_same_bits(form):
    x, weight, bias = (drawn(*s, dtype=torch.float32) for s in ((2, 5, 11, 8), (7, 5, 3, 3), (7,)))
    assert torch.equal(
        convolved(x, transformed(weight, form), bias, (1, 1), form), convolution(x, weight, bias, (1, 1), form)
    )


@pytest.mark.parametrize("padding", [(0, 0), (1, 2)], ids=str)
@pytest.mark.parametrize("sides", [(9, 12), (10, 7), (31, 5)], ids=str)
@forms
def test_a_large_picture_is_convolved_in_strips_with_the_same_results(sides, padding, form, monkeypatch):
    x, weight, bias = drawn(2, 5, *sides), drawn(7, 5, 3, 3, seed=1), drawn(7, seed=2)
    expected = plain(x, weight, bias, padding)
    monkeypatch.setattr(winograd, "STRIP", 2 * form.entries * 7 * 2 * -(-(sides[1] + 2 * padding[1] - 2) // form.out))
    heights = []
    one = winograd._strip
    monkeypatch.setattr(winograd, "_strip", lambda x, *rest: (heights.append(x.shape[2]), one(x, *rest))[1])
    found = convolved(x, transformed(weight, form), bias, padding, form)
    assert found.shape == expected.shape and (found - expected).abs().max() <= 1e-10 * expected.abs().max()
    assert set(heights[:-1]) <= {2 * form.out + 2} and len(heights) == -(-expected.shape[2] // (2 * form.out))


@pytest.mark.parametrize(("form", "times"), [(F4, (20, 20, 5)), (F2, (2, 2, 2))], ids=str)
def test_rounding_is_within_a_few_times_that_of_the_convolution(form, times):
    """Of F4 with the points of the paper, 0, +-1 and +-2, the output would be 60 times as far off. A convolution's error
    is that of the machine's kernel: of F2, 2e-6 of the largest value will do where that is a rare good one."""
    x, weight = drawn(1, 128, 18, 18).relu(), drawn(128, 128, 3, 3, seed=1) * 0.02
    exact = ends(plain, x, weight, None, (0, 0), form)
    for place, most in enumerate(times):
        far = [
            (ends(way, x.float(), weight.float(), None, (0, 0), form)[place] - exact[place]).abs().max()
            for way in (convolution, plain)
        ]
        assert far[0] <= max(most * far[1], 2e-6 * exact[place].abs().max() * (form is F2))


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


@pytest.mark.parametrize(("shape", "channels"), [((1, 64, 66, 66), 64), ((2, 64, 34, 34), 128), ((1, 128, 34, 34), 64)])
@forms
def test_it_holds_as_much_more_memory_as_is_told(shape, channels, form):
    most = []
    for way in (plain, convolution):
        x, weight = drawn(*shape, dtype=torch.float32), drawn(channels, shape[1], 3, 3, dtype=torch.float32)
        with Held() as held:
            way(x.requires_grad_(), weight.requires_grad_(), None, (0, 0), form).sum().backward()
        most.append(held.most)
    assert most[1] - most[0] == pytest.approx(4 * winograd.workspace(shape, channels, (0, 0), form), rel=0.2)


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
