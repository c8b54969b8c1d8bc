"""What theory says of the games where both distributions are known, in float64.

Places x_1 ... x_K have probabilities p (real pictures) and q (generated ones), given as counts, so that a batch in which
each place occurs as often as its count is the distribution itself and a mean over it the expectation. D is free: it has
a logit of its own for each place.
"""

import math

import pytest
import torch

from i2i.losses import OBJECTIVES

REAL = [6, 1, 4, 2, 7]  # of 20
FAKE = [1, 9, 4, 5, 1]


def of(counts):
    return torch.tensor(counts, dtype=torch.float64) / sum(counts)


P, Q = of(REAL), of(FAKE)


def drawn(logits, counts):
    """The logits of a batch that holds each place as often as `counts` say: (K,) -> (sum of counts,)."""
    return logits.repeat_interleave(torch.tensor(counts))


def least(loss, count):
    """The `count` numbers at which a smooth convex loss is least."""
    x = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [x], max_iter=1000, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        search.zero_grad()
        value = loss(x)
        value.backward()
        return value

    search.step(closure)
    return x.detach()


def best_logits(name):
    """D's optimum for an objective, found by descent on its own d_loss."""
    objective = OBJECTIVES.build(name)
    return least(lambda x: objective.d_loss(drawn(x, REAL), drawn(x, FAKE)), len(REAL))


def kl(a, b):
    return sum(x * math.log(x / y) for x, y in zip(a.tolist(), b.tolist()) if x > 0)


def js(a, b):
    return (kl(a, (a + b) / 2) + kl(b, (a + b) / 2)) / 2


# -- D


@pytest.mark.parametrize("name", ["minimax", "nonsaturating", "maximum_likelihood"])
def test_the_optimal_d_is_p_over_p_plus_q(name):
    """Goodfellow et al. (2014), proposition 1."""
    assert torch.allclose(torch.sigmoid(best_logits(name)), P / (P + Q), atol=1e-8)


def test_the_value_of_the_game_is_the_jensen_shannon_divergence():
    """Theorem 1: V = 2 JS(p, q) - 2 log 2, where V = -d_loss; by hand from sums over the places."""
    logits = best_logits("minimax")
    value = -OBJECTIVES.build("minimax").d_loss(drawn(logits, REAL), drawn(logits, FAKE)).item()
    assert value == pytest.approx(2 * js(P, Q) - 2 * math.log(2), abs=1e-12)
    assert value > -2 * math.log(2)  # which it is for p = q alone


@pytest.mark.parametrize("pi", [0.5, 0.2])
def test_the_density_ratio_comes_from_d_and_the_share_of_real_pictures(pi):
    """Where D sees real pictures a share pi of the time, D* = pi p / (pi p + (1 - pi) q), and so
    p / q = D / (1 - D) * (1 - pi) / pi. With pi = 1/2 that is d_loss itself, halved."""
    objective = OBJECTIVES.build("minimax")

    def loss(x):
        return pi * objective.real_term(drawn(x, REAL)).mean() + (1 - pi) * objective.fake_term(drawn(x, FAKE)).mean()

    logits = least(loss, len(REAL))
    d = torch.sigmoid(logits)
    assert torch.allclose(d, pi * P / (pi * P + (1 - pi) * Q), atol=1e-8)
    assert torch.allclose(d / (1 - d) * (1 - pi) / pi, P / Q, rtol=1e-7)
    if pi == 0.5:
        assert 2 * loss(logits) == objective.d_loss(drawn(logits, REAL), drawn(logits, FAKE))
    else:
        assert not torch.allclose(d / (1 - d), P / Q, rtol=0.1)


def test_between_two_normal_distributions_the_best_logit_is_a_line():
    """p = N(0, 1), q = N(1, 1): log p / q = 1/2 - x. Found among lines a + b x, with expectations by the trapezoid."""
    objective = OBJECTIVES.build("minimax")
    x = torch.linspace(-9, 10, 4001, dtype=torch.float64)
    p, q = (torch.exp(-(x - mean).square() / 2) / math.sqrt(2 * math.pi) for mean in (0, 1))

    def loss(line):
        logits = line[0] + line[1] * x
        return torch.trapezoid(objective.real_term(logits) * p + objective.fake_term(logits) * q, x)

    assert least(loss, 2).tolist() == pytest.approx([0.5, -1.0], abs=1e-7)


def test_least_squares():
    """Mao et al. (2017): D* = p / (p + q) is the logit itself, and the loss that is left sum p q / (p + q), which is
    (1 - chi^2 / 2) / 2 of Pearson's chi^2 between p + q and 2 q, here by their definition."""
    logits = best_logits("lsgan")
    assert torch.allclose(logits, P / (P + Q), atol=1e-9)
    left = OBJECTIVES.build("lsgan").d_loss(drawn(logits, REAL), drawn(logits, FAKE)).item()
    assert left == pytest.approx((P * Q / (P + Q)).sum().item(), abs=1e-12)
    pearson = ((2 * Q - (P + Q)).square() / (P + Q)).sum().item()
    assert left == pytest.approx((1 - pearson / 2) / 2, abs=1e-12)


def test_hinge():
    """D* is the sign of p - q (any value in [-1, 1] where they are equal), and the loss that is left is twice their
    overlap, 2 sum min(p, q) = 2 - 2 TV (Lim and Ye, 2017)."""
    objective, sign = OBJECTIVES.build("hinge"), torch.sign(P - Q)
    assert sign.tolist() == [1, -1, 0, -1, 1]
    left = objective.d_loss(drawn(sign, REAL), drawn(sign, FAKE)).item()
    assert left == pytest.approx(2 - (P - Q).abs().sum().item(), abs=1e-12)
    for value in (-1.0, 0.5, 1.0):
        other = torch.where(sign == 0, value, sign)
        assert objective.d_loss(drawn(other, REAL), drawn(other, FAKE)).item() == pytest.approx(left, abs=1e-12)
    for seed in range(50):
        step = torch.randn(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        other = sign + torch.where(sign == 0, 0.0, step)
        assert objective.d_loss(drawn(other, REAL), drawn(other, FAKE)).item() > left


@pytest.mark.parametrize("name", ["minimax", "nonsaturating", "maximum_likelihood", "lsgan", "hinge"])
def test_the_loss_of_the_best_d_tells_the_distance_and_that_of_another_less(name):
    """Each distance by its own definition, from the probabilities of the places."""
    distances = {
        "lsgan": ("estimate/chi2", ((2 * Q - (P + Q)).square() / (P + Q)).sum().item()),
        "hinge": ("estimate/TV", (P - Q).abs().sum().item() / 2),
    }
    key, distance = distances.get(name, ("estimate/JS", js(P, Q)))
    objective = OBJECTIVES.build(name)
    best = torch.sign(P - Q) if name == "hinge" else best_logits(name)

    def told(logits):
        found = objective.estimates(objective.d_loss(drawn(logits, REAL), drawn(logits, FAKE)))
        assert list(found) == [key]
        return found[key].item()

    assert told(best) == pytest.approx(distance, abs=1e-9) and distance > 0.1
    for seed in range(20):
        step = torch.randn(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert told(best + step) < distance
    same = torch.full_like(P, 0.5 if name == "lsgan" else 0.0)  # the best D of two equal distributions
    alike = objective.d_loss(drawn(same, REAL), drawn(same, REAL))
    assert objective.estimates(alike)[key].item() == pytest.approx(0, abs=1e-12)


def test_wasserstein():
    """With the places on a line, the best 1-Lipschitz D climbs wherever more of p than of q is ahead, and minus its loss
    is the earth mover's distance: the mean way between the two batches in order (as many in each)."""
    places = torch.tensor([0.0, 0.5, 2.0, 2.25, 4.0], dtype=torch.float64)
    real, fake = drawn(places, REAL).sort().values, drawn(places, FAKE).sort().values
    distance = (real - fake).abs().mean().item()
    objective, gaps = OBJECTIVES.build("wasserstein"), places.diff()

    def loss(slopes):
        logits = torch.cat([torch.zeros(1, dtype=torch.float64), (slopes * gaps).cumsum(0)])
        return objective.d_loss(drawn(logits, REAL), drawn(logits, FAKE)).item()

    ahead = torch.sign((Q - P).cumsum(0)[:-1])  # of p less of q behind: more of it ahead
    assert loss(ahead) == pytest.approx(-distance, abs=1e-12)
    assert objective.estimates(torch.tensor(loss(ahead)))["estimate/W"].item() == pytest.approx(distance, abs=1e-6)
    for seed in range(50):
        slopes = torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
        assert loss(slopes) > -distance


# -- G


def gradient(name, of_g):
    """d / d theta of E_q[G's term], q = softmax(theta), at the optimal D, which is held fixed: of_g(q) is then a function
    with the same gradient. Returns both gradients."""
    theta = Q.log().clone().requires_grad_()
    q = torch.softmax(theta, 0)
    terms = OBJECTIVES.build(name).generator_term(P.log() - Q.log())
    (found,) = torch.autograd.grad((q * terms).sum(), theta)
    theta = Q.log().clone().requires_grad_()
    (expected,) = torch.autograd.grad(of_g(torch.softmax(theta, 0)), theta)
    return found, expected


def divergence(a, b):
    return (a * (a / b).log()).sum()


def shannon(a, b):
    return (divergence(a, (a + b) / 2) + divergence(b, (a + b) / 2)) / 2


def test_maximum_likelihood_follows_the_gradient_of_kl():
    """G's loss is E_q[-exp f]. Its gradient, D held fixed, is by the score function

        d/d theta sum q(x) (-exp f(x)) = -sum q(x) exp f(x) d log q(x) / d theta.

    Where D is optimal exp f = p / q, and this is -sum p(x) d log q(x) / d theta: the gradient of KL(p || q), or of minus
    the mean log likelihood of real pictures. With q = softmax(theta) it is q - p, by hand.
    """
    found, expected = gradient("maximum_likelihood", lambda q: divergence(P, q))
    assert torch.allclose(found, expected, atol=1e-14)
    assert torch.allclose(found, Q - P, atol=1e-14)


def test_minimax_follows_the_gradient_of_jensen_shannon():
    """With D optimal V is 2 JS - 2 log 2, and holding D fixed changes no gradient, as D is at its best."""
    found, expected = gradient("minimax", lambda q: 2 * shannon(P, q))
    assert torch.allclose(found, expected, atol=1e-14) and found.abs().max() > 0.01


def test_nonsaturating_follows_the_gradient_of_reverse_kl_less_jensen_shannon():
    """KL(q || p) - 2 JS (Arjovsky and Bottou, 2017, theorem 2.5)."""
    found, expected = gradient("nonsaturating", lambda q: divergence(q, P) - 2 * shannon(P, q))
    assert torch.allclose(found, expected, atol=1e-14) and found.abs().max() > 0.01


@pytest.mark.parametrize("name", ["minimax", "nonsaturating", "maximum_likelihood"])
def test_g_s_gradient_is_zero_where_both_are_the_same(name):
    theta = P.log().clone().requires_grad_()
    terms = OBJECTIVES.build(name).generator_term(torch.zeros(5, dtype=torch.float64))
    (found,) = torch.autograd.grad((torch.softmax(theta, 0) * terms).sum(), theta)
    assert found.abs().max() < 1e-15


# d G's loss / d logit, by hand: D(G(z)) = sigma(f), and the log's derivative
SLOPES = {
    "minimax": lambda f: -1 / (1 + math.exp(-f)),
    "nonsaturating": lambda f: 1 / (1 + math.exp(-f)) - 1,
    "maximum_likelihood": lambda f: -math.exp(f),
}


@pytest.mark.parametrize("name", SLOPES)
def test_the_slope_of_g_s_loss_at_every_logit(name):
    """From -10 (D is sure that the picture is generated) to 10 (sure that it is real)."""
    logits = torch.arange(-10, 11, dtype=torch.float64).requires_grad_()
    objective = OBJECTIVES.build(name)
    (slopes,) = torch.autograd.grad(objective.g_loss(logits) * len(logits), logits)
    expected = [SLOPES[name](f) for f in range(-10, 11)]
    assert slopes.tolist() == pytest.approx(expected, rel=1e-12)


def test_as_d_grows_sure_minimax_fades_and_the_nonsaturating_loss_does_not():
    """D(G(z)) -> 0: the slope goes to 0 as D(G(z)) does for minimax and maximum likelihood, and to -1 for the other."""
    for f in (-10.0, -20.0, -30.0):
        slopes = {}
        for name in SLOPES:
            logit = torch.tensor(f, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(OBJECTIVES.build(name).g_loss(logit), logit)
            slopes[name] = slope.item()
        assert -1.0001 * math.exp(f) <= slopes["maximum_likelihood"] <= slopes["minimax"] < 0
        assert slopes["nonsaturating"] == pytest.approx(-1, abs=1.0001 * math.exp(f))
