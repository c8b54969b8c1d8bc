"""Class-conditional games against numbers worked by hand: who is told which class, and what each of them minimises."""

import math

import pytest
import torch
from making import batches, small_method, small_recipe
from torch.nn.functional import log_softmax, logsigmoid

from i2i.errors import UserError

BOTH = ["cgan", "acgan"]


def recorded(method):
    """{network: [what it was called with]}, and {group: [the loss that it descended]}."""
    calls, losses, inner = {name: [] for name in method.nets}, {}, method.runtime.descend
    for name, net in method.nets.items():
        net.register_forward_pre_hook(lambda net, args, name=name: calls[name].append([x.detach() for x in args]))

    def descend(of, group, loss):
        losses.setdefault(group, []).append(loss.detach().clone())
        inner(of, group, loss)

    method.runtime.descend = descend
    return calls, losses


class Told(torch.nn.Module):
    """A discriminator whose logit of a picture is 10 times its class, and whose weight does nothing else."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, y):
        return 10.0 * y[:, None] + self.weight + 0 * x.flatten(1)[:, :1]


class Names(torch.nn.Module):
    """A discriminator that says of each picture what it is given to say: (source, three classes)."""

    def __init__(self, *rows):
        super().__init__()
        self.rows, self.weight = iter(rows), torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return torch.tensor(next(self.rows)) + self.weight + 0 * x.flatten(1)[:, :1]


@pytest.mark.parametrize("name", BOTH)
def test_g_makes_the_classes_of_the_batch(name):
    method, _ = small_method(name)
    calls, _ = recorded(method)
    (batch,) = batches(method, 1, batch_size=5)
    method.step(iter([batch]))
    assert len(calls["G"]) == 2
    for z, y in calls["G"]:
        assert z.shape == (5, 100) and torch.equal(y, batch["label"])


def test_the_conditional_d_is_told_the_same_classes_of_real_and_generated_pictures():
    method, _ = small_method("cgan")
    calls, _ = recorded(method)
    (batch,) = batches(method, 1, batch_size=5)
    method.step(iter([batch]))
    real, *fakes = calls["D"]
    assert torch.equal(real[0], batch["image"]) and len(fakes) == 2
    assert all(torch.equal(y, batch["label"]) for _, y in calls["D"])


def test_the_auxiliary_classifier_is_told_no_class():
    method, _ = small_method("acgan")
    calls, _ = recorded(method)
    method.step(iter(batches(method, 1)))
    assert [len(args) for args in calls["D"]] == [1, 1, 1]
    assert method.D(torch.zeros(2, 3, 32, 32)).shape == (2, 1 + 3)


def test_the_conditional_game_by_hand():
    """Logits 0, 10, 20 of both: L_D = mean of softplus(-f) + mean of softplus(f), L_G = mean of softplus(-f)."""
    method, _ = small_method("cgan")
    (batch,) = batches(method, 1, batch_size=3)
    method.D = Told()
    method.nets["D"] = method.D
    method.optimizers["D"] = torch.optim.SGD(method.D.parameters(), lr=0.0)
    scalars = method.step(iter([batch]))
    away, towards = (sum(softplus(sign * f) for f in (0, 10, 20)) / 3 for sign in (-1, 1))
    assert float(scalars["loss/D"]) == pytest.approx(away + towards, rel=1e-6)
    assert float(scalars["loss/G"]) == pytest.approx(away, rel=1e-5)
    assert float(scalars["estimate/JS"]) == pytest.approx(math.log(2) - (away + towards) / 2, rel=1e-6)


def test_swapped_labels_are_another_judgement():
    method, _ = small_method("cgan")
    (batch,) = batches(method, 1, batch_size=3)
    swapped = {**batch, "label": batch["label"].flip(0)}
    with torch.no_grad():
        torch.manual_seed(0)
        real, fake = method.critique(batch)["D"]
        torch.manual_seed(0)
        real_swapped, fake_swapped = method.critique(swapped)["D"]
    changed = batch["label"] != swapped["label"]
    assert changed.tolist() == [True, False, True]
    for ours, theirs in ((real, real_swapped), (fake, fake_swapped)):
        assert torch.allclose(ours[~changed], theirs[~changed], atol=1e-6)
        assert ((ours - theirs).abs()[changed] > 1e-4).all()


def softplus(f):
    return math.log1p(math.exp(f))


REAL, FAKE = [[0.5, 2.0, 0.0, -1.0], [-1.0, 0.0, 0.0, 0.0]], [[0.25, -3.0, 1.0, 0.0], [2.0, 1.0, 1.0, 4.0]]


@pytest.mark.parametrize("lam", [1.0, 0.25])
def test_the_losses_of_acgan_by_hand(lam):
    """Classes 0 and 1. -L_S are softplus of -0.5 and 1 and of 0.25 and 2; -L_C are minus log softmax at the classes."""
    method, _ = small_method("acgan", f"method.lam_class={lam}", "method.objective=minimax")
    (batch,) = batches(method, 1, batch_size=2)
    method.D = Names(REAL, FAKE, FAKE)
    method.nets["D"] = method.D
    method.optimizers["D"] = torch.optim.SGD(method.D.parameters(), lr=0.0)
    _, losses = recorded(method)
    scalars = method.step(iter([batch]))
    source = (softplus(-0.5) + softplus(1.0)) / 2 + (softplus(0.25) + softplus(2.0)) / 2
    e = math.exp
    real = (math.log(e(2) + 1 + e(-1)) - 2 + math.log(3)) / 2  # class 0 of the first row, class 1 of the second
    fake = (math.log(e(-3) + e(1) + 1) + 3 + math.log(2 * e(1) + e(4)) - 1) / 2
    g_source = -(softplus(0.25) + softplus(2.0)) / 2  # G lowers log(1 - D), as equation 2 has it
    expected = {"loss/D": source, "loss/D_class": real + fake, "loss/G": g_source, "loss/G_class": fake}
    expected["estimate/JS"] = math.log(2) - source / 2
    assert {name: float(value) for name, value in scalars.items()} == pytest.approx(expected, rel=1e-5)
    assert float(losses["D"][0]) == pytest.approx(source + lam * (real + fake), rel=1e-5)
    assert float(losses["G"][0]) == pytest.approx(g_source + lam * fake, rel=1e-5)


def test_the_two_of_acgan_minimise_what_the_paper_has_them_maximise():
    """With the objective of the game itself: D's loss is -(L_S + L_C); G's is L_S - L_C but for what is no matter of G's.

    L_S and L_C are written down once more from the networks' probabilities.
    """
    method, _ = small_method("acgan", "method.objective=minimax")
    for net in method.nets.values():
        net.double()
    calls, losses = recorded(method)
    for optimizer in method.optimizers.values():
        optimizer.step = lambda: None
    (batch,) = batches(method, 1, batch_size=6, dtype=torch.float64)
    method.step(iter([batch]))
    c, rows = batch["label"], torch.arange(6)
    with torch.no_grad():
        real, fake, later = (method.D(args[0]) for args in list(calls["D"]))

    def chosen(logits):
        return log_softmax(logits[:, 1:], 1)[rows, c].mean()

    l_s = logsigmoid(real[:, 0]).mean() + logsigmoid(-fake[:, 0]).mean()
    l_c = chosen(real) + chosen(fake)
    assert losses["D"][0].item() == pytest.approx(-(l_s + l_c).item(), abs=1e-12)
    ours = logsigmoid(-later[:, 0]).mean() - chosen(later)
    assert losses["G"][0].item() == pytest.approx(ours.item(), abs=1e-12)


@pytest.mark.parametrize("constraint", ["gp", "r1", "r2"])
def test_a_penalty_is_about_d_as_it_is_told_and_of_acgan_about_the_source_alone(constraint):
    """The slopes that the constraint is given, against those of the networks themselves."""
    for name in BOTH:
        method, _ = small_method(name, f"method.constraint={{name: {constraint}}}")
        seen = []
        method.constraint = Spy(seen)
        (batch,) = batches(method, 1, batch_size=4)
        method.step(iter([batch]))
        (found,) = seen
        for net in method.nets.values():
            net.requires_grad_(False)
        x = batch["image"]
        expected = method.D(x, batch["label"]) if name == "cgan" else method.D(x)[:, :1]
        assert torch.equal(found(x), expected) and found(x).shape == (4, 1)


class Spy:
    """A constraint of nothing that keeps the critic that it was given."""

    def __init__(self, seen):
        self.seen = seen

    def penalty(self, critic, real, fake):
        self.seen.append(critic)
        return real.new_zeros(())

    def project(self, critic):
        pass


def test_without_its_weight_the_class_terms_teach_nobody():
    """lam_class 0: the gradient of the head's class rows is 0, and of the source's row is not."""
    method, _ = small_method("acgan", "method.lam_class=0")
    grads, inner = [], method.runtime.descend

    def descend(of, group, loss):
        inner(of, group, loss)
        grads.append(of.D.head.weight.grad.clone() if group == "D" else None)

    method.runtime.descend = descend
    method.step(iter(batches(method, 1)))
    assert grads[0][0].abs().sum() > 0 and not grads[0][1:].any()


# -- what does not go together, in words


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "data={kind: folder, path: x, crop_size: 32}",
            "data.kind: NAME needs labels; 'folder' data have none. Use lab",
        ),
        (
            "data={kind: points, distribution: ring2d, count: 9, load_size: null, crop_size: 1, flip: false}",
            "needs labels; 'points' data have none. Use labelled.",
        ),
        (
            "data={kind: unpaired, path: x, crop_size: 32}",
            "'unpaired' data hold a and b, but NAME needs image. Use labelled.",
        ),
        (
            "discriminator={name: patchgan}",
            "discriminator.name: 'patchgan' knows no classes, and the discriminator of NAME must. Use dcgan or maxout or ",
        ),
        ("data.classes=1", "data.classes: 1 must be at least 2"),
        ("method.latent=0", "method.latent: 0 must be at least 1"),
        ("generator={name: resnet}", "'resnet' reads pictures; the generator of NAME reads latents. Use"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(name, override, words):
    with pytest.raises(UserError) as error:
        small_recipe(name, override)
    assert words.replace("NAME", name) in str(error.value)


CONVOLUTIONS = ["dcgan", "resnet_gan"]
WAYS = {
    "norm and projection": ["generator.condition=norm", "discriminator.condition=projection"],
    "input": ["generator.condition=input", "discriminator.condition=input"],
}


def convolutional(name, net, *more):
    """A method with the two networks of a name, of pictures of 16 px and three classes."""
    nets = [f"{section}={{name: {net}, width: 4, norm: instance}}" for section in ("generator", "discriminator")]
    return small_method(name, *nets, "data.crop_size=16", *more)[0]


@pytest.mark.parametrize("constraint", ["none", "clip", "gp", "r1", "r2"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("net", CONVOLUTIONS)
def test_convolutional_networks_learn_from_every_class_of_a_batch(net, way, constraint):
    """Under every constraint; what tells class 1, which is not in the batch, stays as it is. An objective without flat
    ends: sums over pixels are far out on those of others."""
    settings = [*WAYS[way], f"method.constraint={{name: {constraint}}}", "method.objective=lsgan"]
    method = convolutional("cgan", net, *settings)
    (batch,) = batches(method, 1, size=16, batch_size=4)
    before = {name: {key: p.detach().clone() for key, p in net.named_parameters()} for name, net in method.nets.items()}
    scalars = method.step(iter([{**batch, "label": torch.tensor([0, 2, 2, 0])}]))
    assert all(torch.isfinite(value) for value in scalars.values())
    for name, net in method.nets.items():
        for key, new in net.named_parameters():
            old, of_classes = before[name][key], key.endswith((".scale", ".shift")) or key == "embed.weight"
            if of_classes and constraint != "clip":
                assert [torch.equal(a, b) for a, b in zip(new, old)] == [False, True, False], key
            else:
                assert not torch.equal(new, old), key


@pytest.mark.parametrize("net", CONVOLUTIONS)
def test_a_convolutional_auxiliary_classifier_names_the_class_beside_its_judgement(net):
    method = convolutional("acgan", net, "generator.condition=norm")
    calls, _ = recorded(method)
    (batch,) = batches(method, 1, size=16, batch_size=3)
    scalars = method.step(iter([batch]))
    assert {"loss/D_class", "loss/G_class"} <= scalars.keys() and all(map(torch.isfinite, scalars.values()))
    assert [len(args) for args in calls["D"]] == [1, 1, 1] and method.D.classes is None
    assert method.D(batch["image"]).shape == (3, 1 + 3)
    assert torch.equal(calls["G"][0][1], batch["label"])


def test_norms_that_are_not_there_cannot_tell_a_class():
    with pytest.raises(UserError, match="generator: condition is 'norm' and norm is 'none'; .* or condition to input"):
        small_recipe("cgan", "generator={name: dcgan, norm: none, condition: norm}")
    small_recipe("cgan", "generator={name: dcgan, norm: none, condition: input}")


def test_the_weight_of_the_classes_is_not_negative():
    with pytest.raises(UserError, match=r"method\.lam_class: -1 must be at least 0; the paper's weight is 1"):
        small_recipe("acgan", "method.lam_class=-1")


def test_on_paper_auto_is_ten_classes():
    """Until the data say how many."""
    from i2i.build.make import wiring

    recipe = small_recipe("acgan", "data.classes=auto")
    assert wiring(recipe)["D"].outs == 11 and wiring(recipe)["G"].classes == 10
    assert wiring(small_recipe("acgan"))["D"].outs == 4
