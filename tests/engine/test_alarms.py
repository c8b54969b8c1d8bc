"""Alarms: each is provoked, each is silent where nothing is wrong, and none changes a bit of the run."""

import itertools
import json
import math
import types

import numpy as np
import pytest
import torch
from making import small_method, snapshot
from running import ARGUMENTS, LABELLED, LENGTH

from i2i import build
from i2i.build.make import wiring
from i2i.data.domain import Domain
from i2i.engine import alarms, checkpoint
from i2i.engine.alarms import FIRST_STEP, LOOK_EVERY, RULES, Alarms
from i2i.engine.standing import chance, opinions, saturated
from i2i.engine.train import train
from i2i.losses import OBJECTIVES
from i2i.methods import METHODS

POINTS = (
    "data={kind: points, distribution: ring2d, count: 9, load_size: null, crop_size: 1, flip: false, a: {channels: 2}}"
)


class Data:
    """Two domains of 8-bit colour, nothing held out."""

    held_out, together = False, True

    def __init__(self, *keys):
        self.keys, self.domains = keys, {key: Domain(3, (0, 255), 8) for key in keys}

    def __len__(self):
        return 10


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def watch(name, path, data=None, step=0, clock=None):
    """(alarms, what they say, the method)."""
    method, _ = small_method(name)
    said = []
    return Alarms(method, data or Data(*method.keys), path, step, 1, said.append, clock or Clock()), said, method


def lines(path):
    return [json.loads(line) for line in (path / "alarms.jsonl").read_text().splitlines()]


# -- beginning, end and continuation of an alarm


def test_it_is_said_once_when_it_begins_and_again_only_after_it_was_over(tmp_path):
    watching, said, _ = watch("pix2pix", tmp_path)
    rule = RULES["data-bound"]
    between, bad, good = (rule.begins + rule.ends) / 2, rule.begins, rule.ends - 0.01
    values = [bad, between, bad, bad, bad, between, bad, bad, good, bad, bad]
    for step, value in enumerate(values):
        watching.measure("data-bound", "", step, value)
    assert [line["step"] for line in lines(tmp_path)] == [3, 8, 10]
    assert [line["state"] for line in lines(tmp_path)] == ["begins", "over", "begins"]
    assert len(said) == 2 and said[0].startswith("ALARM at step 3: training waits for pictures 30% of the time.")


def test_after_continuing_it_is_not_said_again_and_later_lines_are_gone(tmp_path):
    watching, _, _ = watch("pix2pix", tmp_path)
    for step in (10, 20):
        watching.measure("g collapsed", "G", step, 0.0)
    for step in (30, 40, 50):
        watching.measure("nothing changed", "G", step, 0.0)
    with open(tmp_path / "alarms.jsonl", "a") as file:
        file.write('{"step": 45, "al')
    watching, said, _ = watch("pix2pix", tmp_path, step=25)
    assert [line["alarm"] for line in lines(tmp_path)] == ["g collapsed"]
    for step in (30, 40):
        watching.measure("g collapsed", "G", step, 0.0)
    assert not said
    for step in (50, 60):
        watching.measure("nothing changed", "G", step, 0.0)
    assert len(said) == 1 and "changes nothing" in said[0]


@pytest.mark.parametrize("rule", RULES)
def test_every_sentence_is_filled_in_and_tells_what_to_do(rule, tmp_path):
    watching, said, _ = watch("pix2pix", tmp_path)
    low = RULES[rule].begins < RULES[rule].ends
    for step in range(RULES[rule].times):
        watching.measure(rule, "G_ab", step, RULES[rule].begins - 0.001 if low else RULES[rule].begins + 0.001)
    assert len(said) == 1 and "{" not in said[0]
    assert any(
        remedy in said[0] for remedy in ("augment.policy='[color", "--fresh", "Lower method", "Raise data.workers")
    )


# -- D has won


def test_chance_and_saturation_by_hand():
    of = {name: OBJECTIVES.build(name) for name in OBJECTIVES.names()}
    assert chance(of["nonsaturating"]) == pytest.approx(2 * np.log(2), abs=1e-4)
    assert chance(of["minimax"]) == pytest.approx(2 * np.log(2), abs=1e-4)
    assert chance(of["lsgan"]) == pytest.approx(0.5, abs=1e-4)
    assert chance(of["hinge"]) == pytest.approx(2.0, abs=1e-4)
    assert chance(of["wasserstein"]) == 0
    for name, logit in (("nonsaturating", -5.0), ("minimax", -5.0), ("lsgan", 0.0), ("hinge", -1.0)):
        beaten, doubtful = torch.full((3,), logit), torch.full((3,), 0.5)
        assert saturated(of[name], float(of[name].g_loss(beaten)), 0.06), name
        assert not saturated(of[name], float(of[name].g_loss(doubtful)), 0.06), name


def train_d_alone(lr_g, steps, tmp_path, *more):
    """Real steps of pix2pix, logged every 4; what the alarms say."""
    settings = [
        "generator={name: unet, num_downs: 4, width: 4, norm: none, dropout: false}",
        "discriminator={name: patchgan, num_layers: 1, width: 16, norm: none}",
        f"optimizer.G.lr={lr_g}",
        "optimizer.D.lr=2e-3",
        *more,
    ]
    method, recipe = small_method("pix2pix", *settings)
    data, said = build.dataset(recipe), []
    watching = Alarms(method, data, tmp_path, 0, 1, said.append, Clock())
    items = [{key: value[None] for key, value in data.item(0, index)[0].items()} for index in range(len(data))]
    for step in range(1, steps + 1):
        torch.manual_seed(step)
        scalars = method.step(iter([items[step % len(items)]]))
        if step % 4 == 0:
            watching.log(step, {name: float(value) for name, value in scalars.items()})
    return said


@pytest.mark.parametrize(("objective", "steps"), [("nonsaturating", 200), ("hinge", 200)])
def test_d_has_won_where_g_stands_still(objective, steps, tmp_path):
    said = train_d_alone(1e-12, steps, tmp_path, f"method.objective={objective}")
    assert len(said) == 1 and "D has won" in said[0] and "DiffAugment" in said[0]


def test_d_has_won_in_least_squares_only_after_five_logs_in_a_row(tmp_path):
    """Made-up losses of a CycleGAN: D_b is sure (0.5 x 0.008) but for one log; D_a is as usual."""
    watching, said, _ = watch("cyclegan", tmp_path)
    usual = {"loss/D_a": 0.12, "loss/G_ba": 0.4, "loss/G_ab": 0.9}
    for step in range(1, 13):
        watching.log(step, {**usual, "loss/D_b": 0.05 if step == 4 else 0.004})
    assert len(said) == 1 and "D_b has won" in said[0]
    assert lines(tmp_path)[0]["step"] == 9


def test_d_has_not_won_where_g_keeps_up(tmp_path):
    assert train_d_alone(5e-3, 160, tmp_path, "optimizer.D.lr=2e-4", "method.lam_l1=1") == []


@pytest.mark.parametrize("name", METHODS.names())
def test_every_duel_names_scalars_of_a_step(name):
    from making import batches

    method, recipe = small_method(name)
    scalars = method.step(iter(batches(method, 1)))
    discriminators = {net for net, (section, *_) in wiring(recipe).items() if section == "discriminator"}
    assert set(method.duels) == discriminators
    for duel in method.duels.values():
        assert {duel.critic, duel.generator} <= scalars.keys()


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.get(name).adversarial])
@pytest.mark.parametrize("objective", ["nonsaturating", "lsgan", "hinge"])
def test_the_loss_of_a_blind_discriminator_is_its_chance(name, objective):
    """The weight of a duel is the factor that the method gives its D's loss."""
    from making import batches

    method, _ = small_method(name, f"method.objective={objective}")
    answer = {"nonsaturating": 0.0, "lsgan": 0.5, "hinge": 0.0}[objective]
    for critic in method.duels:
        net = method.nets[critic]

        def blind(x, *classes, net=net, features=False):
            level = answer - (math.log(4) if name == "ssgan" else 0)  # the log-sum-exp of four equal ones is the answer
            logits = level + 0 * sum(p.sum() for p in net.parameters()) + 0 * x.flatten(1)[:, :4]
            return (logits, [logits]) if features else logits

        net.forward = blind
    scalars = method.step(iter(batches(method, 1)))
    for duel in method.duels.values():
        assert float(scalars[duel.critic]) == pytest.approx(duel.weight * chance(method.objective), rel=1e-3)


# -- what the generators make of the previews


def pictures(seed, count=4):
    """Smooth pictures, as different from one another as photographs are."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, 8, 8, 3))
    return [np.repeat(np.repeat(picture, 8, 0), 8, 1).astype(np.uint8) for picture in coarse]


def show(tmp_path, name, make, *, inputs=None, steps=(FIRST_STEP, FIRST_STEP + 100)):
    """Samples at these steps, every output made by `make(input)`; what is said."""
    watching, said, method = watch(name, tmp_path)
    shown = {key: pictures(number) for number, key in enumerate(method.keys)}
    if inputs is not None:
        shown[method.keys[0]] = inputs
    drawn = {}
    for export, net in method.exports.items():
        source, target = method.maps[net]
        back = [] if source is None else [(make(x), x) for x in shown[target]]
        drawn[export] = [(x if source else None, make(x)) for x in shown[source or target]] + back
    for step in steps:
        watching.sample(step, drawn, shown)
    return said


def stripes(x):
    """What a healthy G might make: the scene is kept, its colours and textures are not."""
    out = (0.5 * x[..., ::-1] + 40).astype(np.uint8)
    out[::4] //= 2
    return out


@pytest.mark.parametrize("name", METHODS.names())
def test_a_healthy_generator_raises_nothing(name, tmp_path):
    assert show(tmp_path, name, stripes, steps=range(FIRST_STEP, 3000, 100)) == []


@pytest.mark.parametrize("name", METHODS.names())
def test_g_collapsed(name, tmp_path):
    noise = np.random.default_rng(0)
    one = pictures(9)[0]
    said = show(tmp_path, name, lambda x: np.clip(one + noise.integers(-1, 2, one.shape), 0, 255).astype(np.uint8))
    assert len(said) == len(METHODS.get(name).exports) and all("has collapsed" in line for line in said)


def test_equal_inputs_may_have_equal_outputs(tmp_path):
    same = pictures(0)[:1] * 4
    assert not [line for line in show(tmp_path, "pix2pix", stripes, inputs=same) if "collapsed" in line]


def test_an_untrained_generator_is_not_judged(tmp_path):
    assert show(tmp_path, "cyclegan", lambda x: np.full_like(x, 127), steps=range(0, FIRST_STEP, 10)) == []


def test_nothing_changed(tmp_path):
    said = show(tmp_path, "cyclegan", lambda x: x // 2 * 2)
    assert len(said) == 2 and all("changes nothing" in line for line in said)


def test_colours_inverted(tmp_path):
    said = show(tmp_path, "cyclegan", lambda x: 255 - x)
    assert len(said) == 2 and all("inverts light and dark (correlation with its input -1.00)" in line for line in said)


@pytest.mark.parametrize("make", [lambda x: x.copy(), lambda x: 255 - x])
def test_pairs_say_themselves_what_must_change(make, tmp_path):
    assert show(tmp_path, "pix2pix", make) == []


def test_one_odd_sample_between_others_is_none(tmp_path):
    watching, said, method = watch("cyclegan", tmp_path)
    shown = {key: pictures(number) for number, key in enumerate(method.keys)}
    for step, make in zip(range(FIRST_STEP, 900, 100), itertools.cycle([lambda x: 255 - x, stripes])):
        drawn = {export: [(x, make(x)) for x in shown[method.maps[net][0]]] for export, net in method.exports.items()}
        watching.sample(step, drawn, shown)
    assert said == []


# -- D memorises


@pytest.mark.parametrize("memorises", [True, False])
def test_d_memorises(memorises, tmp_path):
    """A D that knows the training pictures by heart, and one that likes all real ones; through the real data set."""
    method, recipe = small_method("pix2pix", "data.flip=false")
    data, said = build.dataset(recipe), []
    known = [data.item(0, index)[0]["target"] for index in range(len(data))]
    real = known + [x["target"] for x in alarms._held_out(data)]

    def judge(x):
        wanted = known if memorises else real
        believed = [min(float((y[-3:] - k).abs().max()) for k in wanted) < 1e-6 for y in x]
        return torch.tensor(believed).float()[:, None, None, None] * 4 - 2 + 0.01 * x[:, :1, :1, :1]

    method.D.forward = judge
    watching = Alarms(method, data, tmp_path, 0, 1, said.append, Clock())
    for number in range(1, 4):
        watching.sample(number * LOOK_EVERY, {"generator": []}, {key: [] for key in method.keys})
    if memorises:
        assert len(said) == 1 and "D memorises the training pictures" in said[0] and "100% less" in said[0]
    else:
        assert said == []


def test_of_labelled_data_the_held_out_pictures_come_with_their_classes(tmp_path):
    """A D that is told them must be told the right ones, or it would seem to doubt unseen pictures."""
    method, recipe = small_method(
        "cgan", f"data={{kind: labelled, path: '{LABELLED}', load_size: null, crop_size: 8, workers: 0}}"
    )
    data = build.dataset(recipe)
    held_out, expected = list(alarms._held_out(data)), data.labels("test")
    assert [int(item["label"]) for item in held_out] == expected.tolist() and len(set(expected.tolist())) > 5
    seen = []
    method.D.register_forward_pre_hook(lambda net, args: seen.append(int(args[1])))
    method.G.register_forward_pre_hook(lambda net, args: seen.append(int(args[1])))
    method.D.forward = lambda x, y: x.flatten(1)[:, :1]
    method.G.forward = lambda z, y: z[:, :64].reshape(1, 1, 8, 8)
    opinions(method, held_out)
    assert seen == [label for label in expected for _ in range(3)]  # D, G and D again


@pytest.mark.parametrize(("scatter", "share"), [(0.1, 0.7), (2.0, 0.0)])
def test_a_gap_within_the_scatter_of_few_pictures_is_none(scatter, share, tmp_path, monkeypatch):
    """D's mean on training pictures is 1, on held-out ones 0.3, on G's 0; their spread says whether that is a gap."""
    watching, _, _ = watch("pix2pix", tmp_path)
    spread = torch.linspace(-scatter, scatter, 16)
    answers = iter([(1 + spread, torch.zeros(16)), (0.3 + spread, torch.zeros(16))])
    monkeypatch.setattr(alarms, "opinions", lambda method, samples: {"D": next(answers)})
    watching.data.item = lambda epoch, index: ({}, [])
    watching.held_out = [{}]
    assert watching.memorised() == {"D": pytest.approx(share, abs=1e-6)}


def test_it_is_looked_at_no_earlier_than_it_may_be(tmp_path, monkeypatch):
    method, recipe = small_method("pix2pix")
    data, looks = build.dataset(recipe), []
    monkeypatch.setattr(Alarms, "memorised", lambda self: looks.append(1) or {})
    watching = Alarms(method, data, tmp_path, 0, 1, print, Clock())
    for step in range(FIRST_STEP, 2 * LOOK_EVERY + 1, 100):
        watching.sample(step, {"generator": []}, {key: [] for key in method.keys})
    assert len(looks) == 2
    data._count = 10**6  # now not even one epoch is over
    watching.sample(10 * LOOK_EVERY, {"generator": []}, {key: [] for key in method.keys})
    assert len(looks) == 2


@pytest.mark.parametrize("name", METHODS.names())
def test_opinions_touch_no_state(name):
    critic = "discriminator={name: patchgan, num_layers: 1, width: 4, norm: batch, spectral_norm: true}"
    nets = [critic, "generator={name: unet, num_downs: 4, width: 4, norm: batch, dropout: true, spectral_norm: true}"]
    if METHODS.get(name).generator_takes == "latents":
        critic = "discriminator={name: mlp, num_layers: 1, width: 4, dropout: 0.5, spectral_norm: true}"
        nets = [critic] if METHODS.get(name).adversarial else []
        nets += ["generator={name: mlp, num_layers: 1, width: 4, norm: batch}"]
        digits = f"data={{kind: labelled, path: '{LABELLED}', load_size: null, crop_size: 8, workers: 0}}"
        nets += [digits, "data.a.channels=1"] if METHODS.get(name).needs_labels else [POINTS]
        nets += ["data.labels=10"] if METHODS.get(name).few_labels else []
    method, recipe = small_method(name, *nets)
    data = build.dataset(recipe)
    before = {net: snapshot(module) for net, module in method.nets.items()}
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    found = opinions(method, [data.item(0, index)[0] for index in range(3)])
    assert torch.equal(torch.rand(5), expected), "the random state is as it was"
    for net, module in method.nets.items():
        assert module.training and all(
            torch.equal(before[net][key], value) for key, value in module.state_dict().items()
        )
        assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert set(found) == set(method.duels)
    assert all(real.shape == fake.shape == (3,) and torch.isfinite(real).all() for real, fake in found.values())


def test_opinions_of_several_scales_are_their_mean():
    class Two:
        nets, runtime = {}, small_method("pix2pix")[0].runtime

        def critique(self, batch):
            return {"D": ([torch.ones(1, 1, 4, 4), 3 * torch.ones(1, 1, 2, 2)], torch.zeros(1, 1, 4, 4))}

    ((real, fake),) = opinions(Two(), [{"x": torch.zeros(3, 4, 4)}]).values()
    assert float(real) == 2 and float(fake) == 0


# -- data-bound


@pytest.mark.parametrize(("wait", "alarmed"), [(0.5, True), (0.05, False)])
def test_data_bound(wait, alarmed, tmp_path):
    clock = Clock()
    watching, said, _ = watch("pix2pix", tmp_path, clock=clock)

    def batches():
        while True:
            clock.now += wait
            yield {}

    stream = watching.timed(batches())
    for step in range(1, 41):
        next(stream)
        clock.now += 0.5  # the step itself
        if step % 10 == 0:
            watching.log(step, {})
    assert len(said) == alarmed
    if alarmed:
        assert "waits for pictures 50% of the time" in said[0] and lines(tmp_path)[0]["step"] == 30, "the first is none"


# -- the run


@pytest.mark.parametrize("name", ["pix2pix", pytest.param("cyclegan", marks=pytest.mark.slow)])
def test_a_run_is_bit_equal_with_and_without_alarms(name, tmp_path, monkeypatch):
    monkeypatch.setattr(alarms, "FIRST_STEP", 0)
    monkeypatch.setattr(alarms, "LOOK_EVERY", 1)
    looks, inner = [], Alarms.memorised
    monkeypatch.setattr(Alarms, "memorised", lambda self: looks.append(1) or inner(self))
    ends, recipe, overrides = [], ARGUMENTS[name][0], ARGUMENTS[name][1:]
    for value in ("true", "false"):
        settings = [*overrides, *LENGTH, f"train.alarms={value}", "train.sample_every=2", "train.tracker=null"]
        path = train(recipe, settings, run=tmp_path / value, device="cpu", say=lambda line: None)
        ends.append(checkpoint.newest(path, print)[0])
    assert len(looks) >= 3
    assert ends[0].keys() == ends[1].keys() and all(torch.equal(ends[1][key], value) for key, value in ends[0].items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "settings"),
    [
        ("pix2pix_facades", "facades", ["generator.num_downs=7"]),
        ("cyclegan_horse2zebra", "horse2zebra", ["generator.num_blocks=3"]),
    ],
)
def test_real_pictures_raise_no_false_alarm(name, data, settings, real_data, tmp_path, monkeypatch):
    monkeypatch.setattr(alarms, "LOOK_EVERY", 50)
    monkeypatch.setattr(alarms, "SEEN", 0)
    measures, inner, said = {}, Alarms.measure, []

    def measure(self, rule, *rest):
        measures.setdefault(rule, []).append(rest)
        if rule != "data-bound":  # this machine may be at anything
            inner(self, rule, *rest)

    monkeypatch.setattr(Alarms, "measure", measure)
    overrides = [
        f"data.path={real_data(data)}", "generator.width=16", "discriminator.width=16", "data.load_size=143",
        "data.crop_size=128", "train.steps=300", "train.log_every=10", "train.sample_every=50", "train.save_every=300",
        "train.decay_from=null", "data.workers=1", "train.tracker=null",
    ]  # fmt: skip
    train(name, [*overrides, *settings], run=tmp_path / "run", device="cpu", say=said.append)
    assert not [line for line in said if "ALARM" in line], measures
    assert {"d has won", "g collapsed", "d memorises"} <= measures.keys()


def test_the_null_of_everything_is_no_fault(tmp_path):
    """A method without duels or exports, as a new one may begin."""
    bare = types.SimpleNamespace(duels={}, exports={}, maps={}, paired=True, objective=None)
    watching = Alarms(bare, Data("x"), tmp_path, 0, 1, print, Clock())
    watching.log(10, {"loss": 1.0})
    watching.sample(1000, {}, {"x": pictures(0)})
