"""What every method must do, by iterating the registry."""

import itertools

import making
import pytest
import torch
from making import batches, small_method, snapshot

from i2i.losses import CONSTRAINTS, OBJECTIVES
from i2i.methods import METHODS
from i2i.methods.wire import Wire
from i2i.nets import DISCRIMINATORS, GENERATORS

ALL = METHODS.names()
GAMES = [name for name in ALL if METHODS.get(name).adversarial]
EVERY_GROUP = [(name, group) for name in ALL for group in METHODS.get(name).groups]


def moved(before, net):
    return {name: not torch.equal(before[name], value) for name, value in net.state_dict().items()}


@pytest.mark.parametrize("name", ALL)
def test_a_step_moves_every_weight_and_returns_detached_finite_scalars(name):
    method, _ = small_method(name)
    before = {net: snapshot(module) for net, module in method.nets.items()}
    scalars = method.step(iter(batches(method, 1)))
    for net, module in method.nets.items():
        weights = {n: m for n, m in moved(before[net], module).items() if n.endswith("weight")}
        assert all(weights.values()), (net, weights)
    assert scalars and all(
        not value.requires_grad and value.dim() == 0 and torch.isfinite(value) for value in scalars.values()
    )


@pytest.mark.parametrize(("name", "group"), EVERY_GROUP)
def test_only_the_group_moves_and_the_others_keep_their_bits(name, group):
    method, _ = small_method(name)
    for other in set(method.groups) - {group}:
        method.optimizers[other].step = lambda: None
    before = {net: snapshot(module) for net, module in method.nets.items()}
    method.step(iter(batches(method, 1)))
    for other, members in method.groups.items():
        for net in members:
            assert any(moved(before[net], method.nets[net]).values()) is (other == group), net


@pytest.mark.parametrize("name", ALL)
def test_inside_only_everything_else_is_frozen_and_afterwards_nothing_is(name):
    method, _ = small_method(name)
    for group, members in method.groups.items():
        with method.only(group):
            for net, module in method.nets.items():
                assert all(p.requires_grad == (net in members) for p in module.parameters())
        assert all(p.requires_grad for module in method.nets.values() for p in module.parameters())


@pytest.mark.parametrize("name", GAMES)
def test_no_gradient_of_g_ends_up_in_d(name):
    """The gradients that D's update used are those of D's own loss, whatever G did before."""
    seen = {}

    def spy(method):
        inner = method.runtime.descend

        def descend(m, group, loss):
            inner(m, group, loss)
            seen.setdefault(group, []).append([p.grad.clone() for n in m.groups[group] for p in m.nets[n].parameters()])
            others = [
                p.grad for g, members in m.groups.items() if g != group for n in members for p in m.nets[n].parameters()
            ]
            seen.setdefault(f"not {group}", []).append([None if g is None else g.clone() for g in others])

        method.runtime.descend = descend

    method, _ = small_method(name)
    spy(method)
    method.step(iter(batches(method, 1)))
    first, second = ("G", "D") if name == "cyclegan" else ("D", "G")
    assert all(grad is None for grad in seen[f"not {first}"][0])  # the first update touches nobody else's gradients
    kept = seen[f"not {second}"][0]
    for ours, now in zip(seen[first][0], kept, strict=True):  # and the second leaves the first one's as they were
        assert torch.equal(ours, now)


@pytest.mark.parametrize(("name", "num_critic"), list(itertools.product(GAMES, [1, 3])))
def test_a_step_takes_exactly_num_critic_batches_and_updates(name, num_critic):
    method, _ = small_method(name, f"method.num_critic={num_critic}")
    calls = []
    inner = method.runtime.descend
    method.runtime.descend = lambda m, group, loss: (calls.append(group), inner(m, group, loss))
    stream = iter(batches(method, num_critic))
    method.step(stream)
    assert next(stream, None) is None
    assert calls.count("D") == num_critic and calls.count("G") == 1
    assert method.batches_per_step == num_critic


def test_further_critic_steps_of_cyclegan_see_fresh_pictures_of_the_updated_generators():
    method, _ = small_method("cyclegan", "method.num_critic=2", "method.pool_size=0")
    shown = []
    method.D_b.register_forward_pre_hook(lambda net, args: shown.append(args[0].detach().clone()))
    first, second = batches(method, 2)
    method.step(iter([first, second]))
    with torch.no_grad():
        assert torch.equal(shown[-1], method.G_ab(second["a"]))  # G has not moved since its update


def test_pix2pix_trains_g_on_the_last_batch():
    method, _ = small_method("pix2pix", "method.num_critic=2", "method.lam_l1=1")
    first, second = batches(method, 2)
    scalars = method.step(iter([first, second]))
    again, _ = small_method("pix2pix")
    with torch.no_grad():
        expected = (again.G(second["input"]) - second["target"]).abs().mean()
    assert float(scalars["loss/G_l1"]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "objective", "constraint"), list(itertools.product(GAMES, OBJECTIVES.names(), CONSTRAINTS.names()))
)
def test_any_objective_and_constraint(name, objective, constraint):
    spectral = "discriminator.spectral_norm=true"  # so that wasserstein without a constraint is allowed
    method, _ = small_method(
        name, f"method.objective={objective}", f"method.constraint={{name: {constraint}}}", spectral
    )
    scalars = method.step(iter(batches(method, 1)))
    assert all(torch.isfinite(value) for value in scalars.values())
    if constraint == "clip":
        members = [method.nets[net] for net in method.groups["D"]]
        assert max(float(p.detach().abs().max()) for net in members for p in net.parameters()) <= 0.01 + 1e-9


def test_every_network_is_tried():
    assert set(making.GENERATORS) == set(GENERATORS.names()) and set(making.DISCRIMINATORS) == set(
        DISCRIMINATORS.names()
    )


def networks_of(name):
    """The networks that a game takes: those that read what it has, and know classes where it tells or asks some."""
    method = METHODS.get(name)
    known = [registry.names() for registry in (GENERATORS, DISCRIMINATORS)]
    for generator, discriminator in itertools.product(*known):
        right = GENERATORS.get(generator).takes == method.generator_takes
        classed = GENERATORS.get(generator).classed and DISCRIMINATORS.get(discriminator).classed
        if right and (classed or not method.needs_labels):
            yield name, generator, discriminator


@pytest.mark.parametrize(("name", "generator", "discriminator"), [nets for name in GAMES for nets in networks_of(name)])
def test_any_network(name, generator, discriminator):
    nets = [f"generator={making.GENERATORS[generator]}", f"discriminator={making.DISCRIMINATORS[discriminator]}"]
    size = ["data.size=64"] if METHODS.get(name).generator_takes == "pictures" else []
    method, _ = small_method(name, *nets, *size, "data.crop_size=64")
    assert all(torch.isfinite(value) for value in method.step(iter(batches(method, 1, size=64))).values())


@pytest.mark.parametrize("name", ALL)
def test_domains_of_different_channel_counts(name):
    sides = ["data.a.channels=1", "data.b.channels=5"][: len(METHODS.get(name).keys)]
    method, _ = small_method(name, *sides, *(["method.lam_identity=0"] if name == "cyclegan" else []))
    shapes = dict(zip(method.keys, (1, 5)))
    batch = {key: torch.zeros(1, channels, 32, 32) for key, channels in shapes.items()}
    batch |= {"label": torch.tensor([2])} if method.needs_labels else {}
    batch |= {"labelled": batch["image"]} if method.few_labels else {}
    assert all(torch.isfinite(value) for value in method.step(iter([batch])).values())


@pytest.mark.parametrize("name", ALL)
def test_state_is_complete(name):
    """Two methods, one continued from the other's state after 3 steps, agree bit for bit after 6."""
    from i2i.engine import checkpoint

    straight, _ = small_method(name)
    data = batches(straight, 6)
    for step in range(3):
        torch.manual_seed(step)
        straight.step(iter([data[step]]))
    tensors = {key: value.clone() for key, value in checkpoint.gather(straight, None).items()}
    continued, _ = small_method(name, "train.seed=9")
    checkpoint.restore(tensors, continued, None, torch.device("cpu"))
    for method in (straight, continued):
        for step in range(3, 6):
            torch.manual_seed(step)
            method.step(iter([data[step]]))
    ours, theirs = checkpoint.gather(straight, None), checkpoint.gather(continued, None)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", GAMES)
def test_every_picture_that_a_discriminator_sees_was_augmented(name):
    """A spy in the place of DiffAugment marks pictures; a spy on D finds the mark on all it is shown, and on nothing else."""
    mark = 7.0
    method, _ = small_method(name)

    def augment(*pictures):
        stamped = []
        for picture in pictures:
            stamp = torch.zeros_like(picture)
            stamp[:, :, 0, 0] = mark
            stamped.append(picture * (stamp == 0) + stamp)
        return tuple(stamped) if len(stamped) > 1 else stamped[0]

    method.augment = augment
    seen = {net: [] for net in method.nets}
    for net, module in method.nets.items():
        module.register_forward_pre_hook(lambda m, args, net=net: seen[net].append(args[0].detach()))
    method.step(iter(batches(method, 1)))
    for group, members in method.groups.items():
        for net in members:
            corners = [given[:, :, 0, 0] for given in seen[net] if given.dim() == 4]  # latents have none
            if method.nets[net].takes == "latents":
                continue
            assert corners
            if group == "D":
                matched = 2 if name == "ssgan" else 0  # labelled ones in the D step, real ones in the G step
                assert len(corners) == 3 + matched, "real and fake in the D step, fake in the G step"
                assert all(bool((corner == mark).all()) for corner in corners), net
            else:
                assert not any(bool((corner == mark).any()) for corner in corners), net
    for value in method.state().values():
        assert not bool((value == mark).any()), "the pool stores un-augmented pictures"


def test_pairs_are_augmented_alike_and_the_two_pairs_independently():
    method, _ = small_method("pix2pix", "augment.policy=[color, translation, cutout]")
    seen = []
    method.D.register_forward_pre_hook(lambda net, args: seen.append(args[0].detach().clone()))
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    method.G.forward = lambda pictures: pictures * 1.0  # a fake that equals its input
    with pytest.raises(RuntimeError):  # this G has no gradient; D's step came before
        method.step(iter([{"input": x, "target": x}]))
    real, fake = seen[0], seen[1]
    assert torch.equal(real[:, :3], real[:, 3:]) and torch.equal(fake[:, :3], fake[:, 3:])
    assert not torch.equal(real, fake)
    assert not torch.equal(real[:, :3], x)


@pytest.mark.parametrize("name", ALL)
def test_preview_columns_are_rows_of_equal_length(name):
    method, _ = small_method(name)
    pictures = {key: [f"{key}{row}" for row in range(3)] for key in method.keys}
    models = {export: lambda p, export=export: f"{export}({p})" for export in method.exports}
    if method.generator_takes == "latents":
        models = {"generator": lambda count: [f"sample {number}" for number in range(count)]}
    columns = method.preview(models, pictures)
    assert all(len(column) == 3 for column in columns.values())
    if name == "cyclegan":
        assert columns["A'' = G_ba(B')"][1] == "generator_ba(generator_ab(a1))"
    elif name == "pix2pix":
        assert columns["output"][2] == "generator(input2)"
    else:
        assert columns == {"samples": ["sample 0", "sample 1", "sample 2"]}


@pytest.mark.parametrize("name", GAMES)
def test_critique_gives_every_discriminators_logits_on_real_pictures_and_on_those_of_g(name):
    """By hand, from the networks: what D sees in a step, un-augmented."""
    method, _ = small_method(name)
    for net in method.nets.values():
        net.eval()
    (batch,) = batches(method, 1)
    with torch.no_grad():
        torch.manual_seed(5)
        found = method.critique(batch)
        first, *others = (batch[key] for key in method.keys)
        second = others[0] if others else None
        if name == "gan":
            torch.manual_seed(5)
            z = torch.rand(2, 100) * 2 - 1
            expected = {"D": (method.D(first), method.D(method.G(z)))}
        elif name in ("cgan", "acgan"):
            torch.manual_seed(5)
            z, y = torch.rand(2, 100) * 2 - 1, torch.tensor([0, 1])
            told = (y,) if name == "cgan" else ()
            expected = {"D": tuple(method.D(x, *told)[:, :1] for x in (first, method.G(z, y)))}
        elif name == "ssgan":
            torch.manual_seed(5)
            z = torch.rand(2, 100) * 2 - 1
            expected = {"D": tuple(method.D(x).logsumexp(1, keepdim=True) for x in (first, method.G(z)))}
        elif name == "pix2pix":
            pairs = [torch.cat((first, y), 1) for y in (second, method.G(first))]
            expected = {"D": tuple(map(method.D, pairs))}
        elif name == "cyclegan":
            expected = {
                "D_a": (method.D_a(first), method.D_a(method.G_ba(second))),
                "D_b": (method.D_b(second), method.D_b(method.G_ab(first))),
            }
        else:
            pytest.fail(f"write down what D of {name} sees")
    assert found.keys() == expected.keys() == method.duels.keys()
    for critic, pair in expected.items():
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found[critic], pair, strict=True))


def test_only_methods_without_pairs_are_watched_for_what_pairs_would_tell():
    assert METHODS.get("pix2pix").paired and not METHODS.get("cyclegan").paired


@pytest.mark.parametrize("name", ALL)
def test_a_method_says_what_it_is_made_of(name):
    """What it declares for `i2i check` is what its wiring and its networks are."""
    kind, (method, recipe) = METHODS.get(name), small_method(name)
    wiring = kind.wiring(dict.fromkeys((*kind.keys, "label"), 3), recipe.method.args)
    assert {section for section, *_ in wiring.values()} == set(kind.sections)
    assert kind.needs_labels == any(Wire(*wire).classed for wire in wiring.values())
    assert kind.adversarial == ("discriminator" in kind.sections)
    for export, net in kind.exports.items():
        source, target = kind.maps[net]
        assert (source is None) == (kind.generator_takes == "latents") and target in kind.keys, export
        assert method.nets[net].takes == kind.generator_takes
