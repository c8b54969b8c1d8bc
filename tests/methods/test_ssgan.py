"""The semi-supervised GAN against numbers worked by hand: what D minimises, what G does, and who hears of whom."""

import math

import pytest
import torch
from making import batches, small_method, small_recipe
from torch.nn.functional import cross_entropy

from i2i import build
from i2i.build.make import wiring
from i2i.errors import UserError


class Says(torch.nn.Module):
    """A discriminator of three classes that says of each batch what it is given to say; its feature is a mean pixel."""

    def __init__(self, *rows):
        super().__init__()
        self.rows, self.weight = iter(rows), torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, features=False):
        if features:
            return None, [0 * x.flatten(1), x.flatten(1).mean(1, keepdim=True) + self.weight]
        return torch.tensor(next(self.rows)) + self.weight + 0 * x.flatten(1)[:, :1]


def descended(method):
    """{group: [(the loss that it descended, the gradient of each of its weights)]}."""
    found, inner = {}, method.runtime.descend

    def descend(of, group, loss):
        inner(of, group, loss)
        weights = [p for net in of.groups[group] for p in of.nets[net].parameters()]
        found.setdefault(group, []).append((loss.detach(), [p.grad.clone() for p in weights]))

    method.runtime.descend = descend
    return found


def softplus(f):
    return math.log1p(math.exp(f))


LABELLED = [[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]
REAL, FAKE = [[0.0, 0.0, 0.0], [1.0, -2.0, 0.0]], [[-3.0, 1.0, 0.0], [-5.0, -5.0, -5.0]]


@pytest.mark.parametrize("lam", [1.0, 0.25, 0.0])
def test_the_losses_of_d_by_hand(lam):
    """Classes 0 and 1. A fourth class of logit 0 beside the three: -log P(fake) = log(1 + sum exp l), its own softmax."""
    method, _ = small_method("ssgan", f"method.lam_unsupervised={lam}")
    (batch,) = batches(method, 1, batch_size=2)
    method.D = method.nets["D"] = Says(LABELLED, REAL, FAKE)
    method.optimizers["D"] = torch.optim.SGD(method.D.parameters(), lr=0.0)
    found = descended(method)
    scalars = method.step(iter([batch]))
    e = math.exp
    supervised = (math.log(e(2) + 1 + e(-1)) - 2 + math.log(3)) / 2
    z_real, z_fake = (3.0, e(1) + e(-2) + 1), (e(-3) + e(1) + 1, 3 * e(-5))
    real = sum(-math.log(z / (1 + z)) for z in z_real) / 2  # -E[log D(x)]
    fake = sum(math.log(1 + z) for z in z_fake) / 2  # -E[log(1 - D(G(z)))]
    assert float(scalars["loss/D_class"]) == pytest.approx(supervised, rel=1e-6)
    assert float(scalars["loss/D"]) == pytest.approx((real + fake) / 2, rel=1e-6)
    assert float(scalars["game/G"]) == pytest.approx(-fake, rel=1e-6), "minimax: E[log(1 - D)]"
    assert float(found["D"][0][0]) == pytest.approx(supervised + lam * (real + fake) / 2, rel=1e-6)


def test_the_objective_is_the_softmax_over_k_plus_1_classes():
    """Section 5: with a column of zeros the usual cross-entropy has the same losses and the same gradients."""
    method, _ = small_method("ssgan")
    method.D.double(), method.G.double()
    (batch,) = batches(method, 1, batch_size=6, dtype=torch.float64)
    made = []
    method.G.register_forward_hook(lambda net, args, out: made.append(out.detach()))
    weights = [w.detach().clone() for w in method.D.parameters()]
    found = descended(method)
    method.step(iter([batch]))
    with torch.no_grad():
        for w, old in zip(method.D.parameters(), weights, strict=True):
            w.copy_(old)

    def probabilities(x):
        logits = method.D(x)
        return torch.cat((logits, torch.zeros_like(logits[:, :1])), dim=1).softmax(1)

    rows = torch.arange(6)
    known = probabilities(batch["labelled"])
    supervised = -(known[rows, batch["label"]] / known[:, :3].sum(1)).log().mean()
    is_real, is_fake = 1 - probabilities(batch["image"])[:, 3], probabilities(made[0])[:, 3]
    loss = supervised - (is_real.log().mean() + is_fake.log().mean()) / 2
    expected = torch.autograd.grad(loss, list(method.D.parameters()))
    (ours, grads) = found["D"][0]
    assert ours.item() == pytest.approx(loss.item(), abs=1e-12)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(grads, expected, strict=True))


def test_g_matches_the_last_feature_of_d_by_hand():
    """A D whose last feature is the mean pixel, real pictures of 0.5 and a G of one grey: (0.5 - grey)^2, and its slope."""
    method, _ = small_method("ssgan")
    (batch,) = batches(method, 1, batch_size=2)
    batch["image"] = torch.full_like(batch["image"], 0.5)
    method.D = method.nets["D"] = Says(LABELLED, REAL, FAKE)
    method.optimizers["D"] = torch.optim.SGD(method.D.parameters(), lr=0.0)

    class Grey(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.grey = torch.nn.Parameter(torch.tensor(-0.25))

        def forward(self, z):
            return self.grey.expand(len(z), 3, 32, 32)

    method.G = method.nets["G"] = Grey()
    method.optimizers["G"] = torch.optim.SGD(method.G.parameters(), lr=0.0)
    found = descended(method)
    scalars = method.step(iter([batch]))
    assert float(scalars["loss/G"]) == pytest.approx(0.75**2)
    assert found["G"][0][1][0].item() == pytest.approx(-2 * 0.75, rel=1e-5)


def test_g_reads_the_layer_before_the_logits():
    method, _ = small_method("ssgan", "discriminator={name: mlp, num_layers: 3, width: [7, 6, 5]}")
    assert method.features(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


def test_the_baseline_hears_only_of_labelled_pictures():
    """lam_unsupervised 0: D's gradient is that of the cross-entropy alone, bit for bit, and G learns all the same."""
    method, _ = small_method("ssgan", "method.lam_unsupervised=0")
    (batch,) = batches(method, 1, batch_size=4)
    expected = torch.autograd.grad(cross_entropy(method.D(batch["labelled"]), batch["label"]), method.D.parameters())
    found = descended(method)
    method.step(iter([batch]))
    assert all(torch.equal(a, b) for a, b in zip(found["D"][0][1], expected, strict=True))
    assert all(grad.abs().sum() > 0 for grad in found["G"][0][1])


def test_what_is_labelled_does_not_reach_the_unsupervised_part_or_g():
    """Other labelled pictures and labels: another cross-entropy, the same game on the same D."""
    method, _ = small_method("ssgan", "optimizer.D={name: sgd, lr: 1e-30}")
    (batch,) = batches(method, 1, batch_size=4)
    other = {**batch, "labelled": -batch["labelled"], "label": batch["label"].flip(0)}
    seen = []
    for each in (batch, other):
        torch.manual_seed(0)
        again, _ = small_method("ssgan", "optimizer.D={name: sgd, lr: 1e-30}")
        torch.manual_seed(1)
        seen.append(again.step(iter([each])))
    assert seen[0]["loss/D_class"] != seen[1]["loss/D_class"]
    for name in ("loss/D", "loss/G", "game/G"):
        assert torch.equal(seen[0][name], seen[1][name]), name


def test_a_constraint_is_about_log_z():
    """One unit, K = 1 logit w x: log Z = w x, so r1 of weight 2 is the mean of |w|^2."""
    method, _ = small_method("ssgan", "method.constraint={name: r1, weight: 2.0}")
    (batch,) = batches(method, 1, batch_size=3)
    method.D = method.nets["D"] = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 1, bias=False))
    penalty = method.constraint.penalty(method.log_z, batch["image"], batch["image"])
    assert penalty.item() == pytest.approx(method.D[1].weight.square().sum().item(), rel=1e-5)


def test_d_has_one_logit_for_each_class_and_is_told_none():
    recipe = small_recipe("ssgan")
    wires = wiring(recipe)
    assert wires["D"].outs == 3 and wires["D"].classes is None and wires["G"].classes is None
    assert wiring(small_recipe("ssgan", "data.classes=auto", "data.labels=10"))["D"].outs == 10


def test_its_generator_is_a_sampler_of_no_class(tmp_path):
    """The weights for users name no classes, though D knows some."""
    from running import LABELLED as FOLDER

    data = (
        f"data={{kind: labelled, path: '{FOLDER}', labels: 10, load_size: null, crop_size: 8, flip: false, workers: 0}}"
    )
    method, recipe = small_method("ssgan", data, "data.a.channels=1")
    meta = build.weights_meta(recipe, "mine", method, build.dataset(recipe))["generator"]
    assert "classes" not in meta and "classes" not in meta["net"] and meta["kind"] == "sampler"


@pytest.mark.parametrize(
    ("name", "override", "words"),
    [
        ("ssgan", "data.labels=null", "data.labels: null; ssgan learns from few labelled pictures beside the others."),
        ("ssgan", "data.classes=1", "data.classes: 1 must be at least 2"),
        ("ssgan", "data={kind: folder, path: x, crop_size: 32}", "ssgan needs labels; 'folder' data have none."),
        (
            "ssgan",
            "discriminator={name: patchgan}",
            "'patchgan' knows no classes, and the discriminator of ssgan must.",
        ),
        ("ssgan", "method.latent=0", "method.latent: 0 must be at least 1; the authors' code takes 100."),
        ("ssgan", "method.lam_unsupervised=-1", "lam_unsupervised: -1 must be at least 0; the paper's weight is 1."),
        ("ssgan", "method.objective=null", "method.objective: is missing."),
        ("ssgan", "evaluate={protocol: classes}", "'classes' cannot score these runs: ssgan is asked for no class"),
        (
            "acgan",
            "data.labels=6",
            "data.labels: 6 does not go with acgan, which needs the class of every picture. Set",
        ),
        ("cgan", "data.labels=6", "data.labels: 6 does not go with cgan, which needs the class of every picture."),
        ("cgan", "evaluate={protocol: labelling}", "'labelling' cannot score these runs: D of cgan is no classifier"),
        (
            "gan",
            "data={kind: labelled, path: x, labels: 6, crop_size: 32}",
            "data.labels: 6 does not go with gan, which needs no picture's class. Set it to null.",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(name, override, words):
    with pytest.raises(UserError) as error:
        small_recipe(name, override)
    assert words in str(error.value)
