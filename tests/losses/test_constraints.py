"""Constraints on D: hand-worked penalties, second-order gradients against finite differences. Every name is asked."""

import math

import pytest
import torch
from torch import nn
from watching import NoHostReads

from i2i.losses import CONSTRAINTS, OBJECTIVES

# name: (lipschitz, per_sample, arguments that are refused)
DECLARED = {
    "none": (False, False, []),
    "clip": (True, False, [{"value": 0.0}, {"value": -1.0}, {"value": math.nan}]),
    "gp": (True, True, [{"weight": -1.0}, {"weight": math.nan}]),
    "r1": (False, True, [{"weight": -1.0}, {"weight": math.nan}]),
    "r2": (False, True, [{"weight": -1.0}, {"weight": math.nan}]),
}

names = pytest.mark.parametrize("name", CONSTRAINTS.names())


class Critic(nn.Module):
    """A smooth patch critic (so that every second derivative exists): (B, 2, H, W) -> (B, 1, H - 4, W - 4)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 3, 2), nn.Softplus(), nn.Conv2d(3, 1, 2))

    def forward(self, x):
        return self.net(x)


def batch(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(slope):
    """D(x) = <slope, x>, one score per picture."""
    return lambda x: (x * slope).sum((1, 2, 3))


def test_every_constraint_is_declared():
    assert sorted(DECLARED) == CONSTRAINTS.names()


@names
def test_declarations(name):
    lipschitz, per_sample, refused = DECLARED[name]
    constraint = CONSTRAINTS.build(name)
    assert (constraint.lipschitz, constraint.per_sample) == (lipschitz, per_sample)
    for arguments in refused:
        with pytest.raises(ValueError, match=f"{next(iter(arguments))} of {name} is .* must be"):
            CONSTRAINTS.build(name, **arguments)


@names
def test_no_host_synchronisation(name):
    D, constraint = Critic().double(), CONSTRAINTS.build(name)
    real, fake = batch(1, 3, 2, 6, 7), batch(2, 3, 2, 6, 7)
    with NoHostReads():
        constraint.penalty(D, real, fake)
        constraint.project(D)


@pytest.mark.parametrize("name", ["none", "clip"])
def test_no_penalty_is_a_scalar_zero(name):
    penalty = CONSTRAINTS.build(name).penalty(Critic(), torch.ones(2, 2, 6, 6), torch.ones(2, 2, 6, 6))
    assert penalty.shape == () and penalty == 0 and penalty.dtype == torch.float32


@pytest.mark.parametrize("name", ["none", "gp", "r1", "r2"])
def test_no_projection_leaves_d_alone(name):
    D = Critic()
    before = [parameter.clone() for parameter in D.parameters()]
    CONSTRAINTS.build(name).project(D)
    assert all(torch.equal(old, new) for old, new in zip(before, D.parameters()))


def test_clip_clamps_every_parameter_in_place():
    D = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(2, 2))
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.copy_(torch.linspace(-0.2, 0.3, parameter.numel()).view(parameter.shape))
    expected = [parameter.detach().clone().clamp(-0.05, 0.05) for parameter in D.parameters()]
    places = [parameter.data_ptr() for parameter in D.parameters()]
    CONSTRAINTS.build("clip", value=0.05).project(D)
    assert len(places) == 6 and [parameter.data_ptr() for parameter in D.parameters()] == places
    assert all(torch.equal(old, new) for old, new in zip(expected, D.parameters()))
    assert D[1].running_var.eq(1).all()  # a buffer is no parameter


def test_clip_takes_the_paper_s_bound():
    D = nn.Linear(50, 50)
    CONSTRAINTS.build("clip").project(D)
    assert D.weight.abs().max() == torch.tensor(0.01)


@pytest.mark.parametrize("norm, penalty", [(1.0, 0.0), (3.0, 10 * 4.0), (0.25, 10 * 0.5625), (0.0, 10.0)])
def test_gp_of_a_linear_critic(norm, penalty):
    """Its slope is the same everywhere: weight (norm - 1)^2, and 0 for norm 1, whatever the pictures."""
    slope = batch(1, 2, 3, 4)
    slope *= norm / slope.norm()
    found = CONSTRAINTS.build("gp").penalty(linear(slope), batch(2, 5, 2, 3, 4), batch(3, 5, 2, 3, 4))
    assert found.shape == () and found.item() == pytest.approx(penalty, abs=1e-10)


def test_gp_weight():
    slope = torch.ones(1, 2, 2, dtype=torch.float64)  # norm 2
    assert CONSTRAINTS.build("gp", weight=3.0).penalty(linear(slope), batch(1, 2, 1, 2, 2), batch(2, 2, 1, 2, 2)) == 3.0


def test_gp_takes_each_picture_s_own_norm():
    """D(x) = |x|^2 / 2 has slope x. With real = fake = x the mix is x: the mean over samples of (|x_i| - 1)^2."""
    x = batch(4, 4, 2, 3, 3)
    expected = 10 * sum((math.sqrt(sum(v * v for v in row)) - 1) ** 2 for row in x.flatten(1).tolist()) / 4
    found = CONSTRAINTS.build("gp").penalty(lambda x: x.square().sum((1, 2, 3)) / 2, x, x)
    assert found.item() == pytest.approx(expected, abs=1e-5)  # u and 1 - u are drawn in float32


def test_gp_takes_the_mean_of_patches_and_of_scales():
    """D gives 5 x every pixel as a logit: the slope of their mean is 5 / 16 in each of 16 places, its norm 5 / 4."""
    x = batch(5, 3, 1, 4, 4)
    gp = CONSTRAINTS.build("gp")
    assert gp.penalty(lambda x: 5 * x, x, x).item() == pytest.approx(10 * 0.25**2, abs=1e-10)
    # a second scale sees the top left corner alone, times 4: slope 4 there. Mean of scales: 5/32 in 15 places, 5/32 + 2
    norm = math.sqrt(15 * (5 / 32) ** 2 + (5 / 32 + 2) ** 2)
    two = gp.penalty(lambda x: [5 * x, 4 * x[:, :, :1, :1]], x, x)
    assert two.item() == pytest.approx(10 * (norm - 1) ** 2, abs=1e-10)


def test_gp_mixes_with_one_uniform_draw_per_sample():
    seen = []

    def D(x):
        seen.append(x.detach())
        return x.sum((1, 2, 3))

    real, fake = batch(6, 4000, 2, 2, 1), batch(7, 4000, 2, 2, 1)
    torch.manual_seed(0)
    CONSTRAINTS.build("gp").penalty(D, real, fake)
    u = ((seen[0] - fake) / (real - fake)).flatten(1)  # (4000, 4)
    assert (u.max(1).values - u.min(1).values).median() < 1e-9  # one draw for all entries of a sample
    u = u.median(1).values.sort().values
    gap = (u - (torch.arange(4000) + 0.5) / 4000).abs().max()  # Kolmogorov-Smirnov, bound at 0.1 %
    assert gap < 1.95 / math.sqrt(4000)


def test_gp_second_order_gradient():
    """d penalty / d parameters, against finite differences of the penalty."""
    D, gp = Critic().double(), CONSTRAINTS.build("gp")
    real, fake = batch(8, 2, 2, 5, 5), batch(9, 2, 2, 5, 5)
    named = dict(D.named_parameters())

    def penalty(*parameters):
        torch.manual_seed(0)
        state = dict(zip(named, parameters))
        return gp.penalty(lambda x: torch.func.functional_call(D, state, (x,)), real, fake)

    assert torch.autograd.gradcheck(penalty, tuple(parameter.detach().requires_grad_() for parameter in named.values()))


def test_gp_graph_reaches_every_parameter():
    """All but the last bias, a constant added to D's value, on which the slope does not depend."""
    D = Critic().double()
    CONSTRAINTS.build("gp").penalty(D, batch(1, 3, 2, 6, 6), batch(2, 3, 2, 6, 6)).backward()
    still = [name for name, p in D.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == ["net.4.bias"]


def test_gp_sends_nothing_into_the_pictures():
    real, fake = batch(1, 2, 2, 6, 6).requires_grad_(), batch(2, 2, 2, 6, 6).requires_grad_()
    CONSTRAINTS.build("gp").penalty(Critic().double(), real, fake).backward()
    assert real.grad is None and fake.grad is None


def test_gp_where_the_slope_vanishes_has_a_finite_gradient():
    D = nn.Conv2d(2, 1, 1).double()
    nn.init.zeros_(D.weight)
    penalty = CONSTRAINTS.build("gp").penalty(D, batch(1, 2, 2, 3, 3), batch(2, 2, 2, 3, 3))
    penalty.backward()
    assert penalty == 10 and D.weight.grad.isfinite().all()


def test_gp_refuses_two_shapes():
    with pytest.raises(ValueError, match=r"real is \(2, 1, 4, 4\), fake \(3, 1, 4, 4\)"):
        CONSTRAINTS.build("gp").penalty(lambda x: x, torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4))


def test_gp_of_narrow_pictures_is_computed_in_float32():
    slope = batch(1, 2, 3, 4)
    slope *= 1.5 / slope.norm()
    real, fake = batch(2, 5, 2, 3, 4).float(), batch(3, 5, 2, 3, 4).bfloat16()
    found = CONSTRAINTS.build("gp").penalty(linear(slope.float()), real, fake)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(2.5, abs=1e-5)


# -- r1 and r2

PENALTIES = pytest.mark.parametrize("name", ["gp", "r1", "r2"])
ZERO_CENTRED = pytest.mark.parametrize("name", ["r1", "r2"])


def looked_at(name, x, other):
    """(real, fake) such that the penalty `name` is taken on x."""
    return (x, other) if name == "r1" else (other, x)


@ZERO_CENTRED
@pytest.mark.parametrize("norm, penalty", [(0.0, 0.0), (1.0, 5.0), (3.0, 45.0)])
def test_zero_centred_penalty_of_a_linear_critic(name, norm, penalty):
    """weight / 2 norm^2 = 5 norm^2, whatever the pictures: 0 for a constant critic alone."""
    slope = batch(1, 2, 3, 4)
    slope *= norm / slope.norm()
    found = CONSTRAINTS.build(name).penalty(linear(slope), batch(2, 5, 2, 3, 4), batch(3, 5, 2, 3, 4))
    assert found.shape == () and found.item() == pytest.approx(penalty, abs=1e-10)
    by_weight = CONSTRAINTS.build(name, weight=0.5).penalty(linear(slope), batch(2, 5, 2, 3, 4), batch(3, 5, 2, 3, 4))
    assert by_weight.item() == pytest.approx(penalty / 20, abs=1e-10)


@ZERO_CENTRED
def test_zero_centred_penalty_is_taken_on_its_own_pictures_alone(name):
    """D(x) = |x|^2 / 2 has slope x: 5 times the mean of |x_i|^2, and the others may be of any shape and number."""
    x = batch(4, 4, 2, 3, 3)
    expected = 5 * sum(v * v for v in x.flatten().tolist()) / 4
    for other in (torch.full((4, 2, 3, 3), math.nan), torch.zeros(1, 2, 5, 5)):
        real, fake = looked_at(name, x, other)
        found = CONSTRAINTS.build(name).penalty(lambda x: x.square().sum((1, 2, 3)) / 2, real, fake)
        assert found.item() == pytest.approx(expected, rel=1e-12)


@ZERO_CENTRED
def test_zero_centred_penalty_takes_the_mean_of_patches_and_of_scales(name):
    """As gp: slopes of 5/16 in 16 places; with the second scale 5/32 in 15 places and 5/32 + 2 in the corner."""
    x, r = batch(5, 3, 1, 4, 4), CONSTRAINTS.build(name)
    assert r.penalty(lambda x: 5 * x, x, x).item() == pytest.approx(5 * 16 * (5 / 16) ** 2, abs=1e-10)
    two = r.penalty(lambda x: [5 * x, 4 * x[:, :, :1, :1]], x, x)
    assert two.item() == pytest.approx(5 * (15 * (5 / 32) ** 2 + (5 / 32 + 2) ** 2), abs=1e-10)


@ZERO_CENTRED
def test_zero_centred_penalty_second_order_gradient(name):
    D, r = Critic().double(), CONSTRAINTS.build(name)
    real, fake = batch(8, 2, 2, 5, 5), batch(9, 2, 2, 5, 5)
    named = dict(D.named_parameters())

    def penalty(*parameters):
        state = dict(zip(named, parameters))
        return r.penalty(lambda x: torch.func.functional_call(D, state, (x,)), real, fake)

    assert torch.autograd.gradcheck(penalty, tuple(parameter.detach().requires_grad_() for parameter in named.values()))


@PENALTIES
def test_a_penalty_reaches_every_parameter_but_the_last_bias_and_no_picture(name):
    D, real, fake = Critic().double(), batch(1, 3, 2, 6, 6).requires_grad_(), batch(2, 3, 2, 6, 6).requires_grad_()
    CONSTRAINTS.build(name).penalty(D, real, fake).backward()
    still = [name for name, p in D.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == ["net.4.bias"]
    assert real.grad is None and fake.grad is None


@ZERO_CENTRED
def test_zero_centred_penalty_where_the_slope_vanishes_has_a_finite_gradient(name):
    D = nn.Conv2d(2, 1, 1).double()
    nn.init.zeros_(D.weight)
    penalty = CONSTRAINTS.build(name).penalty(D, batch(1, 2, 2, 3, 3), batch(2, 2, 2, 3, 3))
    penalty.backward()
    assert penalty == 0 and not D.weight.grad.any()


@ZERO_CENTRED
def test_zero_centred_penalty_of_narrow_pictures_is_computed_in_float32(name):
    slope = batch(1, 2, 3, 4)
    slope *= 1.5 / slope.norm()
    found = CONSTRAINTS.build(name).penalty(linear(slope.float()), *[batch(3, 5, 2, 3, 4).bfloat16()] * 2)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(5 * 2.25, abs=1e-5)


def test_r1_brings_the_dirac_gan_to_rest():
    """Mescheder et al. (2018), section 2: real pictures are the point 0, G makes the point theta, D(x) = psi x. Without
    a penalty theta^2 + psi^2 stays what it is, and both go round and round; with r1, weight / 2 psi^2, both come to 0.
    """
    assert 0.9 < distance_of_the_dirac_gan("none") < 1.1
    assert distance_of_the_dirac_gan("r1", weight=1.0) < 1e-3


def distance_of_the_dirac_gan(name, **args):
    """How far from rest it is after 1,000 alternating steps from theta = 1, psi = 0."""
    objective, constraint = OBJECTIVES.build("minimax"), CONSTRAINTS.build(name, **args)
    G, D = nn.Parameter(torch.ones(1, 1, 1, 1).double()), nn.Conv2d(1, 1, 1, bias=False).double()
    nn.init.zeros_(D.weight)
    zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    for _ in range(1000):
        fake = G.detach()
        loss = objective.d_loss(D(zero), D(fake)) + constraint.penalty(D, zero, fake)
        descend(D.weight, loss)
        descend(G, objective.g_loss(D(G)))
    return math.hypot(G.item(), D.weight.item())


def descend(parameter, loss, rate=0.05):
    (slope,) = torch.autograd.grad(loss, parameter)
    with torch.no_grad():
        parameter -= rate * slope
