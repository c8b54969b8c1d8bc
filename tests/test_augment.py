"""DiffAugment: stages against hand-worked pictures, draws against their distributions. Every policy is asked."""

import math

import pytest
import torch
from watching import NoHostReads

from i2i.augment import (
    POLICIES,
    DiffAugment,
    brightness,
    color,
    contrast,
    cutout,
    flip,
    rotate,
    saturation,
    translation,
)

SQUARE_ONLY = {"rotate"}
names = pytest.mark.parametrize("name", POLICIES.names())


def pictures(batch, channels, height, width, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, height, width, generator=generator, dtype=dtype) * 2 - 1


def sides(name):
    return (12, 12) if name in SQUARE_ONLY else (12, 16)


def drawn(name, batch, height, width):
    """The parameters a policy draws for `batch` pictures at a fixed seed."""
    torch.manual_seed(7)
    return POLICIES.get(name)(torch.empty(batch, 1, height, width)).keywords


def uniform(values, low, high):
    """Kolmogorov-Smirnov against U[low, high), at 0.1 %; the mean within 4 standard errors."""
    n = len(values)
    assert values.min() >= low and values.max() < high
    assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * n)
    ranks = (values.double().sort().values - low) / (high - low)
    assert (ranks - (torch.arange(n) + 0.5) / n).abs().max() < 1.95 / math.sqrt(n)


def uniform_integers(values, low, high):
    """Chi-square against each of low, ..., high equally often, at about 0.1 % (Wilson and Hilferty's approximation)."""
    counts = torch.bincount(values.flatten() - low, minlength=high - low + 1).double()
    assert len(counts) == high - low + 1 and values.min() >= low
    expected, freedom = len(values) / len(counts), len(counts) - 1
    bound = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    assert ((counts - expected) ** 2 / expected).sum() < bound


# ------------------------------------------------------------------------------------------------------------- stages


def test_color_stages_by_hand():
    x = torch.tensor([[[[1.0, 0.0]], [[0.5, -1.0]]], [[[0.0, 0.0]], [[1.0, 1.0]]]])  # (2, 2, 1, 2)
    assert torch.equal(brightness(x, torch.tensor([0.25, -0.5]))[:, 0, 0, 0], torch.tensor([1.25, -0.5]))
    # sample 0: channel means 0.75 and -0.5; sample 1: 0.5 and 0.5
    expected = torch.tensor([[[[1.25, 0.5]], [[0.25, -1.5]]], [[[0.5, 0.5]], [[0.5, 0.5]]]])
    assert torch.allclose(saturation(x, torch.tensor([2.0, 0.0])), expected)
    # picture means 0.125 and 0.5
    expected = torch.tensor([[[[0.5625, 0.0625]], [[0.3125, -0.4375]]], [[[-0.25, -0.25]], [[1.25, 1.25]]]])
    assert torch.allclose(contrast(x, torch.tensor([0.5, 1.5])), expected)
    b, s, c = torch.tensor([[0.25, -0.5], [2.0, 0.5], [0.5, 1.5]])
    assert torch.equal(color(x, b, s, c), contrast(saturation(brightness(x, b), s), c))


def test_color_means():
    """Saturation keeps every pixel's mean over channels, contrast every picture's mean; neutral parameters change
    nothing; one channel has no saturation."""
    x, s = pictures(4, 5, 6, 7), torch.tensor([0.0, 0.5, 1.5, 1.9])
    assert torch.allclose(saturation(x, s).mean(1), x.mean(1))
    assert torch.allclose(contrast(x, s).mean((1, 2, 3)), x.mean((1, 2, 3)))
    assert torch.allclose(color(x, torch.zeros(4), torch.ones(4), torch.ones(4)), x, atol=1e-15)
    assert torch.equal(saturation(x[:, :1], s), x[:, :1])


def test_translation_pixel_by_pixel():
    x, rows, cols = pictures(5, 2, 6, 9), torch.tensor([0, 1, -2, 6, -3]), torch.tensor([0, -1, 3, 0, -9])
    moved = translation(x, rows, cols)
    for n in range(5):
        for h in range(6):
            for w in range(9):
                row, col = h + rows[n], w + cols[n]
                expected = x[n, :, row, col] if 0 <= row < 6 and 0 <= col < 9 else torch.zeros(2, dtype=x.dtype)
                assert torch.equal(moved[n, :, h, w], expected), (n, h, w)


def test_translation_fills_with_zeros_beside_a_nan():
    x = torch.tensor([[[[math.nan, 1.0, 2.0]]]])
    assert translation(x, torch.tensor([0]), torch.tensor([-2]))[0, 0, 0, :2].tolist() == [0, 0]


@pytest.mark.parametrize("height, width", [(6, 8), (7, 5), (5, 9), (2, 3), (1, 1)])
def test_cutout_pixel_by_pixel(height, width):
    """The covered rows are centre - size // 2 and the size - 1 after it, for size = int(H / 2 + 0.5)."""
    tall, wide = int(height / 2 + 0.5), int(width / 2 + 0.5)
    centres = torch.cartesian_prod(torch.arange(height + 1), torch.arange(width + 1))
    found = cutout(torch.ones(len(centres), 2, height, width), centres[:, 0], centres[:, 1])
    for n, (row, col) in enumerate(centres.tolist()):
        expected = torch.ones(2, height, width)
        top, left = row - tall // 2, col - wide // 2
        expected[:, max(top, 0) : max(top + tall, 0), max(left, 0) : max(left + wide, 0)] = 0
        assert torch.equal(found[n], expected), (row, col)


def test_flip_and_rotate_by_hand():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(4, 3, 2, 2)
    mirrored = flip(x, torch.tensor([False, True, False, True]))
    assert mirrored[:, 2].tolist() == [[[1, 2], [3, 4]], [[2, 1], [4, 3]]] * 2
    turned = rotate(x, torch.arange(4))
    assert turned[:, 0].tolist() == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]


# -------------------------------------------------------------------------------------------------------------- draws


def test_color_draws():
    found = drawn("color", 20_000, 4, 4)
    for key, low, high in (("b", -0.5, 0.5), ("s", 0.0, 2.0), ("c", 0.5, 1.5)):
        assert found[key].shape == (20_000,)
        uniform(found[key], low, high)
    pairs = torch.corrcoef(torch.stack(list(found.values())))
    assert (pairs - torch.eye(3)).abs().max() < 0.03  # drawn apart


@pytest.mark.parametrize("height, width", [(32, 60), (3, 12)])
def test_translation_draws(height, width):
    """Rows and columns reach int(size / 8 + 0.5), each by its own size: 4 and 8 of 32 and 60, 0 and 2 of 3 and 12."""
    reach = {(32, 60): (4, 8), (3, 12): (0, 2)}[height, width]
    found = drawn("translation", 20_000, height, width)
    for shifts, most in zip((found["shift_rows"], found["shift_cols"]), reach):
        if most:
            uniform_integers(shifts, -most, most)
        else:
            assert not shifts.any()


@pytest.mark.parametrize("height, width", [(8, 10), (6, 7)])
def test_cutout_draws(height, width):
    """8 rows: the cut has 4, even, so 9 places; 10 columns: 5, odd, 10 places; 6: 3, 6 places; 7: 4, 8 places."""
    places = {(8, 10): (9, 10), (6, 7): (6, 8)}[height, width]
    found = drawn("cutout", 20_000, height, width)
    for centres, count in zip((found["centre_rows"], found["centre_cols"]), places):
        uniform_integers(centres, 0, count - 1)


def test_flip_and_rotate_draws():
    uniform_integers(drawn("flip", 20_000, 4, 4)["mirrored"].long(), 0, 1)
    uniform_integers(drawn("rotate", 20_000, 4, 4)["turns"], 0, 3)


@names
def test_draws_differ_from_sample_to_sample(name):
    assert all(len(values.unique()) > 1 for values in drawn(name, 64, 16, 16).values())


# ------------------------------------------------------------------------------------------------------------- policies


@names
def test_all_pictures_of_a_call_go_through_the_same_draw(name):
    """Each on its own channels: what x gives does not depend on y, nor on how many channels y has."""
    height, width = sides(name)
    x, y, z = (pictures(6, channels, height, width, seed=channels) for channels in (3, 1, 7))
    augment = DiffAugment([name])
    torch.manual_seed(3)
    parameters = POLICIES.get(name)(x)
    expected = [parameters(picture) for picture in (x, y, z)]
    torch.manual_seed(3)
    found = augment(x, y, z)
    assert isinstance(found, tuple) and len(found) == 3
    for a, b, before in zip(found, expected, (x, y, z)):
        assert torch.equal(a, b) and a.shape == before.shape and not torch.equal(a, before)
    torch.manual_seed(3)
    assert torch.equal(augment(x), expected[0])


@names
def test_two_calls_draw_independently(name):
    height, width = sides(name)
    x, augment = pictures(8, 3, height, width), DiffAugment([name])
    torch.manual_seed(0)
    first, second = augment(x), augment(x)
    torch.manual_seed(0)
    assert not torch.equal(first, second)
    assert torch.equal(augment(x), first) and torch.equal(augment(x), second)


@names
def test_gradients_reach_the_pictures(name):
    height, width = sides(name)
    x, y = (pictures(2, channels, height // 2, width // 2).requires_grad_() for channels in (2, 1))
    augment = DiffAugment([name])

    def seeded(x, y):
        torch.manual_seed(1)
        return augment(x, y)

    assert torch.autograd.gradcheck(seeded, (x, y))
    for gradient in torch.autograd.grad(sum(out.square().sum() for out in seeded(x, y)), (x, y)):
        assert (gradient.flatten(1).abs().sum(1) > 0).all()  # in every sample


@names
def test_no_host_synchronisation_and_no_loop_over_samples(name):
    height, width = sides(name)
    counts = []
    for batch in (2, 32):
        with NoHostReads() as watch:
            DiffAugment([name])(pictures(batch, 3, height, width), pictures(batch, 1, height, width))
        counts.append(watch.count)
    assert 0 < counts[0] == counts[1]


@names
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_sizes_channels_and_types(name, channels):
    """The draw does not depend on the type: float32 follows float64."""
    shapes = [(1, 1), (5, 5), (8, 8)] if name in SQUARE_ONLY else [(1, 1), (1, 6), (5, 3), (8, 17)]
    for height, width in shapes:
        x = pictures(4, channels, height, width)
        torch.manual_seed(2)
        wide = DiffAugment([name])(x)
        torch.manual_seed(2)
        narrow = DiffAugment([name])(x.float())
        assert wide.shape == narrow.shape == x.shape
        assert (wide.dtype, narrow.dtype) == (torch.float64, torch.float32)
        assert DiffAugment([name])(x.bfloat16()).dtype == torch.bfloat16
        assert torch.allclose(wide, narrow.double(), atol=1e-6)


def test_nothing_is_clipped():
    torch.manual_seed(0)
    assert DiffAugment(["color"])(pictures(32, 3, 4, 4)).abs().max() > 1.3


def test_policies_are_applied_in_the_order_given():
    x = pictures(4, 3, 9, 9)
    for order in (["color", "translation", "cutout"], ["cutout", "color", "flip"]):
        torch.manual_seed(5)
        expected = x
        for name in order:
            expected = POLICIES.get(name)(x)(expected)
        torch.manual_seed(5)
        assert torch.equal(DiffAugment(order)(x), expected)


def test_off_is_the_identity():
    x, y = pictures(2, 3, 4, 4), pictures(2, 1, 4, 4)
    state = torch.get_rng_state()
    off = DiffAugment()
    assert off(x) is x
    both = off(x, y)
    assert both[0] is x and both[1] is y and torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ValueError, match=r"'colour' is not an augmentation\. Did you mean 'color'"):
        DiffAugment(["colour"])
    with pytest.raises(ValueError, match="policy is the text 'color'"):
        DiffAugment("color")
    with pytest.raises(ValueError, match="4 x 6: rotate needs square"):
        DiffAugment(["rotate"])(pictures(1, 3, 4, 6))
    with pytest.raises(ValueError, match=r"share their drawn"):
        DiffAugment(["color"])(pictures(1, 3, 4, 6), pictures(1, 3, 6, 4))
    with pytest.raises(ValueError, match=r"share their drawn"):
        DiffAugment(["color"])(pictures(2, 3, 4, 6), pictures(1, 3, 4, 6))
    with pytest.raises(ValueError, match=r"torch.uint8 \(1, 3, 4, 4\)"):
        DiffAugment(["color"])(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(3, 4, 4\)"):
        DiffAugment(["cutout"])(torch.zeros(3, 4, 4))


@pytest.mark.gpu
@names
def test_on_a_card_nothing_waits(name):
    height, width = sides(name)
    x = pictures(4, 3, height, width).cuda()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.manual_seed(0)
        found = DiffAugment([name])(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.manual_seed(0)
    parameters = POLICIES.get(name)(x)
    on_cpu = parameters.func(x.cpu(), **{key: value.cpu() for key, value in parameters.keywords.items()})
    assert torch.allclose(found.cpu(), on_cpu, atol=1e-12)
