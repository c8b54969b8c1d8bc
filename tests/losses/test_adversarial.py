"""Adversarial objectives: hand-worked values, independent formulas, known optima. Every registered name is asked."""

import math

import pytest
import torch

from i2i.losses import OBJECTIVES

LN2 = math.log(2)
LN3 = math.log(3)

# sigma(ln 3) = 3/4, so the logits ln 3, -ln 3 give probabilities 3/4, 1/4.
# name: (real logits, fake logits, D's loss, G's loss), worked by hand
HAND_WORKED = {
    "minimax": ([LN3, LN3], [-LN3, LN3], math.log(4 / 3) + (math.log(4 / 3) + math.log(4)) / 2, math.log(3 / 16) / 2),
    "nonsaturating": ([LN3, LN3], [-LN3, LN3], math.log(4 / 3) + math.log(16 / 3) / 2, math.log(16 / 3) / 2),
    # exp(-ln 3) = 1/3, exp(ln 3) = 3
    "maximum_likelihood": ([LN3, LN3], [-LN3, LN3], math.log(4 / 3) + math.log(16 / 3) / 2, -(1 / 3 + 3) / 2),
    "lsgan": ([2.0, 0.0], [3.0, -1.0], (1 + 1) / 2 + (9 + 1) / 2, (4 + 4) / 2),
    "hinge": ([0.5, 3.0], [-0.25, 1.0], (0.5 + 0) / 2 + (0.75 + 2) / 2, -0.375),
    "wasserstein": ([2.0, 4.0], [-1.0, 2.0], 0.5 - 3.0, -0.5),
}

# name: (real term, fake term, generator term), one logit at a time, by another route than the code's
INDEPENDENT = {
    "minimax": (lambda r: -math.log(p(r)), lambda f: -math.log(1 - p(f)), lambda f: math.log(1 - p(f))),
    "nonsaturating": (lambda r: -math.log(p(r)), lambda f: -math.log(1 - p(f)), lambda f: -math.log(p(f))),
    "maximum_likelihood": (lambda r: -math.log(p(r)), lambda f: -math.log(1 - p(f)), lambda f: -p(f) / (1 - p(f))),
    "lsgan": (lambda r: r * r - 2 * r + 1, lambda f: f * f, lambda f: f * f - 2 * f + 1),
    "hinge": (lambda r: max(0.0, 1 - r), lambda f: max(0.0, 1 + f), lambda f: -f),
    "wasserstein": (lambda r: -r, lambda f: f, lambda f: -f),
}

# name: (p, q) -> the logit at which D is optimal where real pictures have density p and fake ones q
OPTIMUM = {
    "minimax": lambda p, q: math.log(p / q),
    "nonsaturating": lambda p, q: math.log(p / q),
    "maximum_likelihood": lambda p, q: math.log(p / q),
    "lsgan": lambda p, q: p / (p + q),
    "hinge": lambda p, q: math.copysign(1.0, p - q),
    "wasserstein": None,  # unbounded: that is why it needs a constraint
}

TABLES = {"HAND_WORKED": HAND_WORKED, "INDEPENDENT": INDEPENDENT, "OPTIMUM": OPTIMUM}

names = pytest.mark.parametrize("name", OBJECTIVES.names())


def p(logit):
    return 1 / (1 + math.exp(-logit))


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def logits(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


@pytest.mark.parametrize("table", TABLES)
def test_every_objective_has_its_numbers(table):
    assert sorted(TABLES[table]) == OBJECTIVES.names()


@names
def test_hand_worked_values(name):
    real, fake, d_loss, g_loss = HAND_WORKED[name]
    objective = OBJECTIVES.build(name)
    assert objective.d_loss(double(real), double(fake)).item() == pytest.approx(d_loss, abs=1e-12)
    assert objective.g_loss(double(fake)).item() == pytest.approx(g_loss, abs=1e-12)


@names
def test_independent_formula_over_patches(name):
    real, fake = logits(1, 2, 1, 3, 4), logits(2, 2, 1, 3, 4)
    of_real, of_fake, of_g = INDEPENDENT[name]
    objective = OBJECTIVES.build(name)

    def mean(term, x):
        return sum(term(value) for value in x.flatten().tolist()) / x.numel()

    d_loss, g_loss = objective.d_loss(real, fake), objective.g_loss(fake, real)
    assert d_loss.shape == g_loss.shape == ()
    assert d_loss.item() == pytest.approx(mean(of_real, real) + mean(of_fake, fake), abs=1e-12)
    assert g_loss.item() == pytest.approx(mean(of_g, fake), abs=1e-12)


@names
def test_gradients_are_right(name):
    objective = OBJECTIVES.build(name)
    real, fake = logits(3, 2, 1, 2, 3).requires_grad_(), logits(4, 2, 1, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(objective.d_loss, (real, fake))
    assert torch.autograd.gradcheck(objective.g_loss, (fake,))


@names
def test_descending_moves_logits_the_right_way(name):
    real, fake = (torch.full((3,), 0.5, requires_grad=True) for _ in range(2))
    objective = OBJECTIVES.build(name)
    for_d = torch.autograd.grad(objective.d_loss(real, fake), (real, fake))
    (for_g,) = torch.autograd.grad(objective.g_loss(fake), fake)
    assert (for_d[0] < 0).all() and (for_d[1] > 0).all() and (for_g < 0).all()


@pytest.mark.parametrize("name", [name for name in OPTIMUM if OPTIMUM[name]])
def test_d_is_optimal_where_theory_says(name):
    """Two places; real pictures are 3 times of 4 at the first, generated ones 1 time of 4: D's loss is least at the
    theory's two logits, and no small step away improves it."""
    best = [OPTIMUM[name](0.75, 0.25), OPTIMUM[name](0.25, 0.75)]
    objective = OBJECTIVES.build(name)

    def loss(here, there):
        return objective.d_loss(double([here] * 3 + [there]), double([here] + [there] * 3)).item()

    least = loss(*best)
    for step in (-1e-2, 1e-2):
        assert loss(best[0] + step, best[1]) > least + 1e-7
        assert loss(best[0], best[1] + step) > least + 1e-7


@pytest.mark.parametrize(
    "name, logit, value",
    [
        ("minimax", 0.0, 2 * LN2),
        ("nonsaturating", 0.0, 2 * LN2),
        ("maximum_likelihood", 0.0, 2 * LN2),
        ("lsgan", 0.5, 0.5),
        ("hinge", 0.3, 2.0),
    ],
)
def test_loss_of_a_d_that_cannot_tell(name, logit, value):
    same = torch.full((2, 1, 3, 3), logit, dtype=torch.float64)
    assert OBJECTIVES.build(name).d_loss(same, same).item() == pytest.approx(value, abs=1e-12)


def test_perfect_scores():
    """LSGAN is 0 at its labels; hinge is 0, with no gradient, beyond its margin."""
    lsgan, hinge = OBJECTIVES.build("lsgan"), OBJECTIVES.build("hinge")
    ones, zeros = torch.ones(4), torch.zeros(4)
    assert lsgan.d_loss(ones, zeros) == 0 and lsgan.g_loss(ones) == 0
    real, fake = double([1.0, 5.0]).requires_grad_(), double([-1.5, -9.0]).requires_grad_()
    loss = hinge.d_loss(real, fake)
    loss.backward()
    assert loss == 0 and not real.grad.any() and not fake.grad.any()


def test_only_the_nonsaturating_g_learns_from_a_sure_d():
    fake = double([-20.0]).requires_grad_()
    (faint,) = torch.autograd.grad(OBJECTIVES.build("minimax").g_loss(fake), fake)
    (full,) = torch.autograd.grad(OBJECTIVES.build("nonsaturating").g_loss(fake), fake)
    assert abs(faint) < 1e-8 and full == pytest.approx(-1, abs=1e-8)


@names
def test_extreme_logits_stay_finite(name):
    real, fake = torch.tensor([-1e4, 1e4]), torch.tensor([-1e4, 1e4])
    objective = OBJECTIVES.build(name)
    assert objective.d_loss(real, fake).isfinite()
    assert objective.g_loss(fake).isfinite() or name == "maximum_likelihood"


def test_the_exponential_overflows_where_it_says():
    """Up to 88 it is a number in float32, far from any logit of a D that is not broken; then it is minus infinity and
    not a NaN, for the finite gate to see. Half as wide logits are raised first: bfloat16's 88 is no worse."""
    objective = OBJECTIVES.build("maximum_likelihood")
    assert objective.g_loss(torch.tensor([88.0])).item() == pytest.approx(-math.exp(88), rel=1e-5)
    assert objective.g_loss(torch.tensor([88.0], dtype=torch.bfloat16)).item() == pytest.approx(-math.exp(88), rel=1e-5)
    assert objective.g_loss(torch.tensor([89.0])) == -math.inf
    assert objective.g_loss(torch.tensor([-1e4])) == 0


@names
def test_scales_are_averaged_each_alike(name):
    """Two scales of 24 and 4 patches: the mean of the two scales' losses, not that of the 28 patches."""
    real, fake = [logits(5, 2, 1, 3, 4), logits(6, 2, 1, 1, 2)], [logits(7, 2, 1, 3, 4), logits(8, 2, 1, 1, 2)]
    objective = OBJECTIVES.build(name)
    d_loss = (objective.d_loss(real[0], fake[0]) + objective.d_loss(real[1], fake[1])) / 2
    g_loss = (objective.g_loss(fake[0]) + objective.g_loss(fake[1])) / 2
    assert objective.d_loss(real, fake).item() == pytest.approx(d_loss.item(), abs=1e-12)
    assert objective.g_loss(fake, real).item() == pytest.approx(g_loss.item(), abs=1e-12)
    assert objective.d_loss(real[:1], fake[:1]) == objective.d_loss(real[0], fake[0])


@names
def test_narrow_logits_are_raised_before_averaging(name):
    """The mean of 4,096 bfloat16 logits in bfloat16 would keep 8 bits of it."""
    objective = OBJECTIVES.build(name)
    real, fake = logits(9, 4096).bfloat16(), logits(10, 4096).bfloat16()
    for narrow, wide in (
        (objective.d_loss(real, fake), objective.d_loss(real.double(), fake.double())),
        (objective.g_loss(fake), objective.g_loss(fake.double())),
    ):
        assert narrow.dtype == torch.float32
        assert narrow.item() == pytest.approx(wide.item(), rel=1e-5, abs=1e-5)


def test_scales_that_do_not_fit_are_refused():
    objective = OBJECTIVES.build("lsgan")
    with pytest.raises(ValueError, match="2 scales of real logits meet 1 of fake"):
        objective.d_loss([torch.zeros(2), torch.zeros(2)], torch.zeros(2))
    with pytest.raises(ValueError, match="empty"):
        objective.g_loss([])


@names
def test_the_boundary_is_where_both_labels_cost_the_same_and_a_constant_costs_something(name):
    """Of wasserstein a constant added to D costs nothing, so that no logit means more than another."""
    objective, x = OBJECTIVES.build(name), torch.linspace(-3, 4, 29, dtype=torch.float64)
    real, fake = objective.real_term(x), objective.fake_term(x)
    if objective.boundary is None:
        assert torch.allclose(real + fake, torch.zeros_like(x))
        return
    boundary = torch.tensor(objective.boundary, dtype=torch.float64)
    assert objective.real_term(boundary) == objective.fake_term(boundary)
    assert (real[x > boundary] < fake[x > boundary]).all() and (real[x < boundary] > fake[x < boundary]).all()
    assert (real + fake).std() > 0.1


def test_only_wasserstein_needs_a_bound_on_d():
    assert [name for name in OBJECTIVES.names() if OBJECTIVES.build(name).needs_lipschitz] == ["wasserstein"]
