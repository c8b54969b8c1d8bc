"""What every registered network promises, over all combinations of its arguments.

The grid is read from the signatures: a new network is tested here by being registered, a new choice by being annotated.
"""

import copy
import inspect
import typing
from itertools import pairwise, product

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from watching import NoHostReads

from i2i.nets import DISCRIMINATORS, ENCODERS, GENERATORS
from i2i.nets.layers import ConditionalNorm

REGISTRIES = {"generator": GENERATORS, "discriminator": DISCRIMINATORS, "encoder": ENCODERS}
SMALL = {"width": 4, "num_downs": 2, "num_blocks": 1, "num_layers": 1, "num_scales": 2, "encoder": "test_resnet"}
SMALL_OF = {"mlp": {"num_layers": 2, "width": 6}, "maxout": {"num_layers": 2, "pieces": 3}}  # two: one after another
PERCEPTRONS = {"mlp", "maxout"}  # to which a picture is a row of numbers
INITS = ["normal_0.02", "uniform_0.05", "xavier_1", "xavier_uniform_1", "kaiming", "orthogonal_1", "default"]
SIZE = 5  # of the pictures of nets that are built for one size
SIZE_OF = {"dcgan": 16, "resnet_gan": 16}  # of those that halve it: twice, so that there is more than one block
ELSEWHERE = {"pretrained"}  # needs weights from outside; tests/nets/test_unet_timm.py makes them
NETS = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names()]
CLASSES = 4  # of networks that are told some


def parameters_of(kind, name):
    """{keyword-only argument: (annotation, default)}."""
    net = REGISTRIES[kind].get(name)
    hints = typing.get_type_hints(net.__init__)
    keywords = [p for p in inspect.signature(net).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {p.name: (hints.get(p.name), p.default) for p in keywords}


def choices_of(kind, name):
    """{argument: its values} of those with a fixed list of values."""
    choices = {}
    for argument, (annotation, _) in parameters_of(kind, name).items():
        if typing.get_origin(annotation) is typing.Literal and argument != "condition":
            choices[argument] = typing.get_args(annotation)
        elif annotation is bool and argument not in ELSEWHERE:
            choices[argument] = (False, True)
    return choices


def ways_of(kind, name):
    """The arguments of a network that is told classes, one for each way of telling it."""
    if not REGISTRIES[kind].get(name).classed:
        return []
    annotation, _ = parameters_of(kind, name).get("condition", (None, None))
    ways = [{"condition": way} for way in typing.get_args(annotation)]
    return [{"classes": (CLASSES,), **way} for way in ways or [{}]]


def every_combination(kind, name):
    """Of a network that is told no class; then one departure of each that is."""
    if "encoder" in parameters_of(kind, name):  # large, and its choices are the decoder's alone
        return one_departure(kind, name)
    choices = choices_of(kind, name)
    untold = [dict(zip(choices, values)) for values in product(*choices.values())]
    return [*untold, *(args for args in one_departure(kind, name) if "classes" in args)]


def one_departure(kind, name):
    """The defaults, then each other value of each argument with the other arguments at their defaults; all of it again
    for each way of telling a class, but norm none where the norms tell it."""
    defaults = {argument: parameters_of(kind, name)[argument][1] for argument in choices_of(kind, name)}
    others = [{**defaults, argument: value} for argument, values in choices_of(kind, name).items() for value in values]
    untold = [defaults, *(args for args in others if args != defaults)]
    told = [{**args, **way} for way in ways_of(kind, name) for args in untold]
    return [*untold, *(args for args in told if (args.get("norm"), args.get("condition")) != ("none", "norm"))]


def cases(combine):
    def label(args):
        return ",".join(f"{key}={value}" for key, value in args.items())

    return [
        pytest.param(kind, name, args, id=f"{name}-{label(args)}")
        for kind, name in NETS
        for args in combine(kind, name)
    ]


def build(kind, name, channels=3, out=3, classes=(), **args):
    torch.manual_seed(0)
    small = {key: value for key, value in SMALL.items() if key in parameters_of(kind, name)} | SMALL_OF.get(name, {})
    positions = [channels] if kind == "discriminator" else [channels, out]  # an encoder's `out` are its latents
    if REGISTRIES[kind].get(name).sized:
        positions.append(SIZE_OF.get(name, SIZE))
    net = REGISTRIES[kind].build(name, *positions, *classes, **{**small, **args})
    for module in net.modules():  # timm's residual branches begin at zero, where nothing before it has a gradient
        affine = isinstance(module, nn.BatchNorm2d) and module.affine
        if affine and not module.weight.is_meta and not module.weight.any():
            nn.init.ones_(module.weight)
    return net


TOLD = [(kind, name, way) for kind, name in NETS for way in ways_of(kind, name)]
told_each_way = pytest.mark.parametrize(
    ("kind", "name", "way"),
    [pytest.param(*each, id=f"{each[1]}-{each[0]}-{each[2].get('condition')}") for each in TOLD],
)


def labels(net, count):
    """The classes of a batch in turn, as one more argument of a network that is told some."""
    return (torch.arange(count) % net.classes,) if getattr(net, "classes", None) else ()


def called(net, x):
    return net(x, *labels(net, len(x)))


def apart(net):
    """Its classes apart, also where they begin alike: the scales and shifts of its norms."""
    torch.manual_seed(2)
    for module in net.modules():
        if isinstance(module, ConditionalNorm):
            nn.init.uniform_(module.scale, 0.5, 1.5)
            nn.init.normal_(module.shift)
    return net


def parts(output):
    """The tensors of an output: itself, one per scale, or an encoder's two."""
    return [output] if isinstance(output, torch.Tensor) else list(output)


def joined(output):
    """An output as one tensor, whatever its parts."""
    return output if isinstance(output, torch.Tensor) else torch.cat([part.flatten() for part in output])


def inputs(net, batch=None, scale=None, dtype=torch.float32):
    """Latents; square pictures of the size that a net is built for; or pictures that are not square, and large enough
    that no feature map has a single pixel. Two, but four latents: BatchNorm makes +1 and -1 of any two."""
    generator = torch.Generator().manual_seed(1)
    if net.takes == "latents":
        return torch.randn(batch or 4, net.in_channels, generator=generator, dtype=dtype)
    batch = batch or 2
    if net.sized:
        return torch.rand(batch, net.in_channels, net.size, net.size, generator=generator, dtype=dtype) * 2 - 1
    scale = scale or ((2, 3) if net.minimum < 64 else (1, 2))
    height, width = (net.minimum * factor for factor in scale)
    return torch.rand(batch, net.in_channels, height, width, generator=generator, dtype=dtype) * 2 - 1


def still(net):
    """Training mode without what draws numbers or moves between two forwards."""
    normalised = any(parametrize.is_parametrized(module) for module in net.modules())
    net.train(not normalised)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return net


def smooth(net):
    """Softplus and averages in the place of ReLU and maxima, where an encoder has so many that one is at its kink."""
    if hasattr(net, "encoder") and hasattr(net, "reductions"):
        for module in list(net.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.ReLU):
                    setattr(module, name, nn.Softplus())
                elif isinstance(child, nn.MaxPool2d):
                    setattr(module, name, nn.AvgPool2d(3, stride=2, padding=1))
    return net


def cancelled_biases(net, args):
    """Biases that a norm behind them subtracts again: their true gradient is zero.

    Those of a convolution with an InstanceNorm right behind it; and the shift of a residual branch's BatchNorm, where a
    convolution that sees no zeros beyond the border carries it, unchanged in kind, to the next BatchNorm. In
    resnet_gan a convolution behind a norm has a bias only where a skip carries it past all norms.
    """
    if isinstance(net, (GENERATORS.get("resnet_gan"), DISCRIMINATORS.get("resnet_gan"))):
        return set()
    layers = [nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d, nn.PixelShuffle]
    leaves = [(name, module) for name, module in net.named_modules() if isinstance(module, tuple(layers))]
    cancelled = {
        f"{name}.bias"
        for (name, module), (_, following) in pairwise(leaves)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and isinstance(following, nn.InstanceNorm2d)
    }
    carried = args.get("norm") == "batch" and args.get("upsample") == "resize" and args.get("padding") != "zero"
    if isinstance(net, GENERATORS.get("resnet")) and carried:
        cancelled.add(f"blocks.{len(net.blocks) - 1}.residual.norm2.bias")
    return cancelled


def test_there_are_networks_to_test():
    assert {("generator", "unet"), ("generator", "resnet")} <= set(NETS)
    assert {("generator", "unet_timm"), ("discriminator", "multiscale")} <= set(NETS)
    assert {("discriminator", "patchgan"), ("discriminator", "pixel")} <= set(NETS)
    assert {("generator", "mlp"), ("discriminator", "mlp"), ("encoder", "mlp")} <= set(NETS)
    assert ("discriminator", "maxout") in NETS
    assert {(kind, name) for kind in ("generator", "discriminator") for name in ("dcgan", "resnet_gan")} <= set(NETS)


@pytest.mark.parametrize(("kind", "name"), NETS)
def test_the_class_says_how_it_is_built_and_what_it_takes(kind, name):
    net = REGISTRIES[kind].get(name)
    positions = [p.name for p in inspect.signature(net).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    first = {"generator": ["in_channels", "out_channels"], "discriminator": ["in_channels"]}
    classes = {"generator": ["classes"], "discriminator": ["classes", "outputs"]}[kind] if net.classed else []
    assert positions == first.get(kind, ["in_channels", "latent"]) + (["size"] if net.sized else []) + classes
    assert net.takes in (("pictures", "latents") if kind == "generator" else ("pictures",))
    built = build(kind, name, classes=(4,) if classes else ())
    assert {"multiple", "minimum", *positions} <= {key for key in dir(built) if isinstance(getattr(built, key), int)}


@pytest.mark.parametrize(("kind", "name"), NETS)
def test_the_signature_is_enough_for_a_recipe(kind, name):
    for argument, (annotation, default) in parameters_of(kind, name).items():
        plain = (
            annotation in (int, float, bool, str, str | None, float | None, int | list[int])
            or typing.get_origin(annotation) is typing.Literal
        )
        assert plain, f"{argument} is annotated {annotation}"
        assert default is not inspect.Parameter.empty, f"{argument} has no default"


@pytest.mark.parametrize(("kind", "name", "args"), cases(every_combination))
def test_shape_range_and_a_gradient_for_every_parameter(kind, name, args):
    net = build(kind, name, init="kaiming", **args).double()
    x = inputs(net, dtype=torch.float64).requires_grad_()
    before = x.detach().clone()

    outputs = parts(called(net, x))
    assert all(output.isfinite().all() for output in outputs)
    if kind == "generator":
        assert outputs[0].shape == (len(x), 3, *((net.size, net.size) if net.sized else x.shape[2:]))
        assert outputs[0].abs().max() <= 1 or args.get("output") == "linear"
    elif kind == "encoder":
        assert [output.shape for output in outputs] == [(2, 3), (2, 3)]
        assert not torch.equal(*outputs)
    else:
        assert len(outputs) == len(getattr(net, "scales", [net]))
        assert all(output.dim() == (2 if net.sized else 4) and output.shape[:2] == (2, 1) for output in outputs)
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()

    assert torch.equal(x, before), "the input was written to"
    assert x.grad.isfinite().all() and x.grad.abs().sum() > 0
    cancelled = cancelled_biases(net, args)
    sizes = {key: parameter.grad.abs().max() for key, parameter in net.named_parameters()}
    largest = max(sizes.values())
    for key, size in sizes.items():
        assert size.isfinite(), key
        if key in cancelled:
            assert size < 1e-12 * largest, f"{key} is cancelled by the norm behind it, but has a gradient"
        else:
            assert size > 1e-9 * largest, f"{key} has no gradient"


@pytest.mark.parametrize(("kind", "name", "args"), cases(every_combination))
def test_the_minimum_is_enough(kind, name, args):
    """One picture of the smallest size, square and not: a U-Net's bottleneck is one pixel high, wide, or both."""
    net = build(kind, name, **args).train()
    compares = net.takes == "latents" and args.get("norm") == "batch"  # tests/nets/test_mlp.py: refused if one alone
    for scale in ((1, 1), (1, 3), (2, 1)):
        x = inputs(net, batch=2 if compares else 1, scale=scale)
        output = called(net, x)
        assert joined(output).isfinite().all()
        assert kind != "generator" or net.sized or output.shape == (1, 3, *x.shape[2:])
    joined(output).mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize(("kind", "name", "args"), cases(one_departure))
def test_gradients_equal_finite_differences(kind, name, args):
    # default: biases that are not zero, without which dead pixels lie in the kink of the next ReLU
    net = apart(still(smooth(build(kind, name, init="default", width=2, **args)).double()))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:  # without biases beside it, and its own begins at zero
            nn.init.normal_(module.bias)
    x = inputs(net, dtype=torch.float64).requires_grad_()
    leaves = [x, *net.parameters()]
    weights = torch.randn_like(joined(called(net, x)))
    gradients = torch.autograd.grad((joined(called(net, x)) * weights).sum(), leaves)
    step = 1e-7  # shorter than the way to the next kink of a ReLU
    for _ in range(3):
        directions = [torch.randn_like(leaf) for leaf in leaves]
        sides = []
        with torch.no_grad():
            for move in (step, -2 * step, step):  # forth, back, and home
                for leaf, direction in zip(leaves, directions):
                    leaf += move * direction
                sides.append((joined(called(net, x)) * weights).sum())
        expected = (sides[0] - sides[1]) / (2 * step)
        actual = sum((gradient * direction).sum() for gradient, direction in zip(gradients, directions))
        assert actual == pytest.approx(expected.item(), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("kind", "name", "args"), cases(one_departure))
def test_in_place_activations_change_nothing(kind, name, args):
    net = still(build(kind, name, init="kaiming", **args).double())
    plain = copy.deepcopy(net)
    in_place = [module for module in plain.modules() if getattr(module, "inplace", False)]
    assert in_place or name == "maxout" or args["activation"] in ("tanh", "softplus")
    for module in in_place:
        module.inplace = False
    results = []
    for each in (net, plain):
        x = inputs(each, dtype=torch.float64).requires_grad_()
        output = joined(called(each, x))
        output.square().sum().backward()
        results.append([output, x.grad, *(parameter.grad for parameter in each.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results))


@pytest.mark.parametrize(("kind", "name"), NETS)
@pytest.mark.parametrize(("channels", "out"), [(1, 3), (3, 1), (5, 2)])
def test_channels(kind, name, channels, out):
    net = build(kind, name, channels, out)
    assert net.in_channels == channels
    assert getattr(net, {"generator": "out_channels", "encoder": "latent"}.get(kind, ""), out) == out
    assert {part.shape[1] for part in parts(net(inputs(net)))} == {1 if kind == "discriminator" else out}
    if net.takes == "latents":
        wrong = torch.zeros(1, channels + 1)
        words = rf"shape \(1, {channels + 1}\).* takes latents of shape \(B, {channels}\)"
    else:
        side = net.size if net.sized else net.minimum
        wrong = torch.zeros(1, channels + 1, side, side)
        words = f"{channels + 1} channels.* takes {channels}"
    with pytest.raises(ValueError, match=words):
        net(wrong)
    with pytest.raises(ValueError, match=r"\(B, .*unsqueeze"):
        net(wrong[0])


@pytest.mark.parametrize(("kind", "name"), [net for net in NETS if REGISTRIES[net[0]].get(net[1]).sized])
def test_another_size_than_its_own_is_refused_in_words(kind, name):
    net = build(kind, name)
    assert net.size == SIZE_OF.get(name, SIZE)
    if net.takes == "latents":
        with pytest.raises(ValueError, match=r"shape \(2, 3, 1, 1\); it takes latents of shape \(B, 3\)"):
            net(torch.zeros(2, 3, 1, 1))
        return
    size = net.size
    for height, width in ((size + 1, size), (size, size - 1), (2 * size, 2 * size)):
        with pytest.raises(ValueError, match=f"{height} x {width} pixels .*takes {size} x {size} alone.*crop_size"):
            net(torch.zeros(1, 3, height, width))


@told_each_way
def test_a_class_changes_what_comes_out_each_in_its_own_way(kind, name, way):
    net = apart(still(build(kind, name, init="kaiming", **way))).eval()
    x = inputs(net, batch=1).expand(4, *inputs(net).shape[1:])
    rows = net(x, torch.arange(4)).flatten(1)
    assert len({tuple(row.tolist()) for row in rows}) == 4
    assert torch.allclose(net(x, torch.tensor([2, 0, 3, 1])).flatten(1), rows[[2, 0, 3, 1]], atol=1e-6)


ROWS = [  # to whose first layer, a linear one, the class is a part of a row
    *(case for case in TOLD if case[1] in PERCEPTRONS),
    ("generator", "resnet_gan", {"classes": (CLASSES,), "condition": "input"}),
]


@pytest.mark.parametrize(("kind", "name", "way"), ROWS)
def test_a_class_is_a_one_hot_row_behind_the_numbers_that_a_net_reads_anyway(kind, name, way):
    """The first layer's weights of the class, added: what a net without classes cannot know."""
    net, other = (build(kind, name, init="kaiming", **args).double().eval() for args in (way, {}))
    plain = other.state_dict()
    first = next(key for key, value in net.state_dict().items() if value.shape != plain[key].shape)
    whole = net.state_dict()
    other.load_state_dict({**whole, first: whole[first][:, :-4]})
    bias = next(value for key, value in other.named_parameters() if key == first.replace("weight", "bias"))
    with torch.no_grad():
        bias += whole[first][:, -4 + 2]
    x = inputs(net, dtype=torch.float64)
    told = net(x, torch.full((len(x),), 2))
    assert torch.allclose(told, other(x), rtol=0, atol=1e-12) and told.abs().sum() > 0


@told_each_way
def test_in_evaluation_a_row_is_that_of_its_own_class_whatever_is_beside_it(kind, name, way):
    """After a few batches of mixed classes, so that norms have statistics of their own."""
    net = apart(build(kind, name, init="kaiming", **way))
    x = inputs(net, batch=4)
    for _ in range(3):
        called(net, x)
    net.eval()
    alone = net(x[:1], torch.tensor([1]))
    for others in ([1, 1, 1], [0, 2, 3], [3, 0, 0]):
        assert torch.allclose(net(x, torch.tensor([1, *others]))[:1], alone, rtol=1e-4, atol=1e-5)


def of_classes(net, plain):
    """{name: its gradient, the classes being the first axis} of all that `net` has more than `plain`, told no class."""
    untold = {key: value.shape for key, value in plain.named_parameters()}
    found = {}
    for key, value in net.named_parameters():
        if key not in untold:
            found[key] = value.grad
        elif value.shape != untold[key]:
            (axis,) = [i for i, (ours, theirs) in enumerate(zip(value.shape, untold[key])) if ours != theirs]
            found[key] = value.grad.movedim(axis, 0)[-net.classes :]
    return found


@told_each_way
def test_every_weight_of_every_class_gets_a_gradient(kind, name, way):
    net = apart(still(build(kind, name, init="kaiming", **way)))
    x = inputs(net, batch=4)
    net(x, torch.arange(4)).sin().sum().backward()
    found = of_classes(net, build(kind, name))
    assert found
    for key, grad in found.items():
        sizes = grad.flatten(1).abs().sum(1)
        assert len(sizes) == 4 and (sizes > 0).all() and len(set(sizes.tolist())) == 4, key


@told_each_way
def test_a_class_that_is_not_in_a_batch_learns_nothing_from_it(kind, name, way):
    net = apart(still(build(kind, name, init="kaiming", **way)))
    x = inputs(net, batch=4)
    net(x, torch.tensor([0, 2, 0, 2])).sin().sum().backward()
    for key, grad in of_classes(net, build(kind, name)).items():
        assert [bool(row.any()) for row in grad] == [True, False, True, False], key


@told_each_way
def test_classes_that_are_missing_not_wanted_or_of_another_kind_are_refused_in_words(kind, name, way):
    told, untold = build(kind, name, **way), build(kind, name)
    x = inputs(told)
    with pytest.raises(ValueError, match="built for 4 classes and got none. Give y"):
        told(x)
    with pytest.raises(ValueError, match="built for no classes and got some. Leave y out"):
        untold(x, torch.zeros(len(x), dtype=torch.int64))
    for wrong in (torch.zeros(len(x)), torch.zeros(len(x), 4, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"takes \(\d,\) of torch.int64, numbers from 0 to 3"):
            told(x, wrong)
    for number in (4, -1):
        with pytest.raises(ValueError, match=f"got the class {number}; it knows 4, from 0 to 3"):
            told.eval()(x, torch.full((len(x),), number))
    with pytest.raises(ValueError, match="classes is 0; it must be a whole number of at least 1"):
        build(kind, name, **{**way, "classes": (0,)})
    if "condition" in way:
        with pytest.raises(ValueError, match="condition is 'inptu'; it must be one of .*Did you mean 'input'"):
            build(kind, name, condition="inptu")


@told_each_way
def test_a_step_does_not_read_the_classes(kind, name, way, monkeypatch):
    """A device would have to be waited for."""
    net = build(kind, name, **way)
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: pytest.fail("read"))
    with NoHostReads() as watch:
        called(net.train(), inputs(net)).sum().backward()
    assert watch.count > 10


READ = {"dcgan": lambda x: x.flatten(1), "resnet_gan": lambda x: x.relu().sum((2, 3))}  # what the last layer reads


@pytest.mark.parametrize("name", sorted({name for kind, name, _ in TOLD if kind == "discriminator"}))
def test_a_discriminator_of_several_outputs_has_a_row_of_logits(name):
    net = build("discriminator", name, classes=(None, 5), init="kaiming").eval()
    x = inputs(net)
    logits, features = net(x, features=True)
    weight, bias = net.head.weight.flatten(1), 0 if net.head.bias is None else net.head.bias
    expected = READ.get(name, lambda x: x)(features[-1]) @ weight.mT + bias
    assert logits.shape == (2, 5) and torch.allclose(logits, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="outputs is 0"):
        build("discriminator", name, classes=(None, 0))


def unsized(cases):
    return [case for case in cases if not REGISTRIES[case.values[0]].get(case.values[1]).sized]


@pytest.mark.parametrize(("kind", "name", "args"), unsized(cases(one_departure)))
def test_wrong_sizes_are_refused_in_words(kind, name, args):
    net = build(kind, name, **args)
    good, multiple = 2 * net.minimum, net.multiple
    assert net.minimum % multiple == 0
    wrong = [side for side in (good + 1, good - 1, net.minimum - multiple) if side % multiple or side < net.minimum]
    assert wrong or net.minimum == 1
    for side in (side for side in wrong if side > 0):
        for height, width in ((side, good), (good, side)):
            with pytest.raises(ValueError) as error:
                net(torch.zeros(1, 3, height, width))
            words = str(error.value)
            assert f"{height} x {width}" in words and f"at least {net.minimum}" in words
            assert multiple == 1 or f"multiples of {multiple}" in words
            fits = [int(number) for number in words.partition("Pad them to ")[2].partition(",")[0].split(" x ")]
            assert fits[0] >= height and fits[1] >= width
            net(torch.zeros(2, 3, *fits))  # the remedy is one


@pytest.mark.parametrize(("kind", "name", "args"), cases(one_departure))
def test_eval_is_deterministic_and_moves_nothing(kind, name, args):
    net = build(kind, name, **args).eval()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    drawn = torch.get_rng_state()
    first, second = called(net, inputs(net)), called(net, inputs(net))
    assert torch.equal(joined(first), joined(second))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", DISCRIMINATORS.names())
def test_features_come_from_the_same_forward(name):
    normed = "norm" in parameters_of("discriminator", name)
    net = still(build("discriminator", name, **({"norm": "batch"} if normed else {})))
    x = inputs(net)
    logits, maps = net(x, features=True)
    scales = list(getattr(net, "scales", [net]))
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.num_batches_tracked == 1 for norm in norms) and bool(norms) == normed
    assert torch.equal(joined(logits), joined(net(x)))
    maps = maps if hasattr(net, "scales") else [maps]
    assert len(maps) == len(scales) == len(parts(logits))
    for scale, judged, features in zip(scales, parts(logits), maps):
        assert len(features) >= 2
        for feature, gradient in zip(features, torch.autograd.grad(judged.sum(), features)):
            assert feature.shape[0] == 2 and feature.dim() == (2 if name in PERCEPTRONS else 4)
            assert gradient.abs().sum() > 0
        recomputed = [x.flatten(1) if name in PERCEPTRONS else x]
        for layer in scale.blocks:
            recomputed.append(layer(recomputed[-1]))
        assert all(torch.equal(a, b) for a, b in zip(features, recomputed[1:])), "a map was written to afterwards"
        x = nn.functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)  # for the next scale


@pytest.mark.parametrize(("kind", "name", "args"), cases(one_departure))
def test_built_on_meta_it_takes_weights_by_assignment(kind, name, args):
    net = build(kind, name, **args).eval()
    with torch.device("meta"):
        empty = build(kind, name, **args).eval()
    assert all(tensor.is_meta for tensor in (*empty.parameters(), *empty.buffers()))
    empty.load_state_dict(net.state_dict(), assign=True)
    assert not any(tensor.is_meta for tensor in (*empty.parameters(), *empty.buffers()))
    assert torch.equal(joined(called(empty, inputs(net))), joined(called(net, inputs(net))))


@pytest.mark.parametrize("init", INITS)
def test_every_init_builds_on_meta(init):
    for kind, name in NETS:
        spectral = {"spectral_norm": True} if "spectral_norm" in parameters_of(kind, name) else {}
        for way in [{}, *(ways_of(kind, name) if init.startswith("normal") else [])]:  # the one that draws norms too
            with torch.device("meta"):
                build(kind, name, init=init, **spectral, **way)


@pytest.mark.parametrize(("kind", "name", "args"), cases(one_departure))
def test_a_deep_copy_is_equal_and_apart(kind, name, args):
    net = build(kind, name, **args)
    called(net, inputs(net))  # so that there is something in the buffers
    twin = copy.deepcopy(net)
    assert torch.equal(joined(called(net.eval(), inputs(net))), joined(called(twin.eval(), inputs(net))))
    state = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    called(twin.train(), inputs(net))
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize(("kind", "name"), [net for net in NETS if "spectral_norm" in parameters_of(*net)])
def test_spectral_norm_makes_the_largest_singular_value_one(kind, name):
    for upsample in choices_of(kind, name).get("upsample", [None]):
        net = build(kind, name, spectral_norm=True, **({"upsample": upsample} if upsample else {})).train()
        for _ in range(60):
            for module in net.modules():
                if parametrize.is_parametrized(module):
                    _ = module.weight  # one power iteration, as in a forward
        net(inputs(net))
        net.eval()
        kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
        weighted = [module for module in net.modules() if isinstance(module, kinds)]
        assert len(weighted) >= 3
        for module in weighted:
            rows = module.weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else module.weight
            assert torch.linalg.svdvals(rows.flatten(1))[0].item() == pytest.approx(1, abs=0.02), module


@pytest.mark.parametrize(("kind", "name", "args"), cases(one_departure))
def test_two_forwards_before_one_backward(kind, name, args):
    """Real and fake pictures through one D: power iterations and running statistics move in between."""
    net = build(kind, name, **args).train()
    (joined(called(net, inputs(net))).mean() + joined(called(net, -inputs(net))).mean()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(("kind", "name"), NETS)
def test_wrong_arguments_are_refused_in_words(kind, name):
    arguments = parameters_of(kind, name)
    faults = {argument: 0 for argument, (annotation, _) in arguments.items() if annotation is int}
    faults |= {argument: "nonsense" for argument, (annotation, _) in arguments.items() if annotation not in (int, bool)}
    assert {"width", "init"} <= faults.keys()
    for argument, value in faults.items():
        with pytest.raises(ValueError, match=rf"{argument} is '?{value}'?; it must be"):
            build(kind, name, **{argument: value})
    with pytest.raises(ValueError, match="in_channels is 0; it must be"):
        build(kind, name, 0)
