"""Networks that are told a class, against numbers worked by hand; and as they were where they are told none."""

import math
import zlib

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from i2i.nets import DISCRIMINATORS, GENERATORS
from i2i.nets.dcgan import DCGANDiscriminator, DCGANGenerator
from i2i.nets.init import init_weights, spectral_normalise
from i2i.nets.layers import ConditionalNorm, block, norm_layer, projected, with_classes
from i2i.nets.resnet_gan import ResNetGANDiscriminator, ResNetGANGenerator

BOTH_G, BOTH_D = (DCGANGenerator, ResNetGANGenerator), (DCGANDiscriminator, ResNetGANDiscriminator)


def generator(kind, classes=None, size=16, **args):
    torch.manual_seed(0)
    return kind(5, 2, size, classes, width=4, **args)


def discriminator(kind, classes=None, outputs=1, size=16, **args):
    torch.manual_seed(0)
    return kind(2, size, classes, outputs, width=4, **args)


def of_kind(net, *kinds):
    return [module for module in net.modules() if isinstance(module, kinds)]


def pictures(net, count=3, dtype=torch.float32):
    made = torch.rand(count, 2, net.size, net.size, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return made * 2 - 1


# -- told none


# of what they were before they could be told any: names in the state, numbers of weights and sum of each times its place
# over their count, the next random number, the sum of what comes out
UNTOLD = [
    ("G", "dcgan", {}, (13, 2657953464, 1304, 7.278259, 0.8051707744598389, 0.094033)),
    (
        *("G", "dcgan", {"norm": "instance", "upsample": "resize", "spectral_norm": True, "init": "xavier_1"}),
        (12, 536387581, 1014, 1.024049, 0.6851888298988342, 551.576682),
    ),
    (
        *("G", "dcgan", {"norm": "none", "init": "default"}),
        (6, 915595797, 1294, 1.061325, 0.9608511328697205, 65.191245),
    ),
    ("D", "dcgan", {}, (8, 1841740536, 784, 5.999885, 0.6971370577812195, 0.001919)),
    (
        *("D", "dcgan", {"norm": "none", "spectral_norm": True, "init": "orthogonal_1"}),
        (12, 386338018, 781, -3.740966, 0.5376478433609009, 0.275809),
    ),
    ("G", "resnet_gan", {}, (35, 448364956, 1106, 14.332981, 0.5831702351570129, 135.157647)),
    (
        *("G", "resnet_gan", {"norm": "none", "spectral_norm": True, "init": "default"}),
        (32, 129842922, 1090, 0.842851, 0.15902650356292725, 265.438884),
    ),
    (
        *("G", "resnet_gan", {"norm": "instance", "init": "normal_0.02"}),
        (10, 1653972471, 1066, -0.347921, 0.7065830230712891, 50.431911),
    ),
    ("D", "resnet_gan", {}, (16, 844197188, 833, 6.145082, 0.46426987648010254, 57.465949)),
    (
        *("D", "resnet_gan", {"norm": "layer", "spectral_norm": True, "pool": "mean", "init": "kaiming"}),
        (40, 611076002, 865, 8.413779, 0.6914260983467102, 0.196101),
    ),
]


@pytest.mark.parametrize(("kind", "name", "args", "recorded"), UNTOLD)
@pytest.mark.parametrize("way", [{}, {"condition": "input"}])
def test_a_network_that_is_told_no_class_is_what_it_was(kind, name, args, recorded, way):
    """Names, weights, random numbers and outputs, recorded before there were classes here; weights saved then load."""
    torch.manual_seed(3)
    registry, shapes = (GENERATORS, (5, 2, 16)) if kind == "G" else (DISCRIMINATORS, (2, 16))
    net = registry.build(name, *shapes, width=4, **args, **way)
    following, state = torch.rand(()).item(), net.state_dict()
    weights = torch.cat([value.detach().flatten() for value in net.parameters()]).double()
    placed = (weights * torch.arange(1, len(weights) + 1)).sum().item() / len(weights)
    x = torch.linspace(-1, 1, 10).reshape(2, 5) if kind == "G" else torch.linspace(-1, 1, 1024).reshape(2, 2, 16, 16)
    seen = net.eval()(x).double().abs().sum().item()
    names, count, next_number = zlib.crc32("\n".join(state).encode()), len(weights), pytest.approx(recorded[4], abs=0)
    assert (len(state), names, count, following) == (*recorded[:3], next_number)
    assert (placed, seen) == (pytest.approx(recorded[3], rel=1e-4), pytest.approx(recorded[5], rel=1e-3))


# -- by the norms


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_conditional_norm_is_the_norm_and_then_the_class_s_scale_and_shift(norm):
    torch.manual_seed(0)
    told, plain = norm_layer(norm, 3, 4), norm_layer(norm, 3)
    nn.init.normal_(told.scale)
    nn.init.normal_(told.shift)
    y = torch.tensor([3, 0, 3, 2, 2])
    for training in (True, True, False):  # running statistics are kept, and used, alike
        x = torch.randn(5, 3, 4, 4) * 2 + 1
        h = plain.train(training)(x)  # its own scale and shift are 1 and 0
        expected = torch.stack(
            [h[i] * told.scale[c][:, None, None] + told.shift[c][:, None, None] for i, c in enumerate(y.tolist())]
        )
        assert torch.allclose(told.train(training)(x, y), expected, rtol=1e-5, atol=1e-5)


def test_a_conditional_norm_by_hand():
    """Values 1, 3 of one channel: mean 2, deviation 1. Class 0 doubles and adds 1; class 1 halves and takes 3 away."""
    norm = ConditionalNorm("batch", 1, 2)
    with torch.no_grad():
        norm.scale.copy_(torch.tensor([[2.0], [0.5]]))
        norm.shift.copy_(torch.tensor([[1.0], [-3.0]]))
    x = torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1)
    for y, expected in (((0, 1), (-1.0, -2.5)), ((1, 0), (-3.5, 3.0)), ((1, 1), (-3.5, -2.5))):
        assert norm(x, torch.tensor(y)).flatten().tolist() == pytest.approx(expected, abs=1e-4)


def test_in_bfloat16_a_scale_is_not_rounded_before_it_is_used():
    norm = ConditionalNorm("instance", 1, 1)
    nn.init.constant_(norm.scale, 1.0038)  # bfloat16 would make 1 of it
    nn.init.constant_(norm.shift, 0.3)
    x = torch.linspace(-3, 3, 4096, dtype=torch.bfloat16).reshape(1, 1, 64, 64)
    out, h = norm(x, torch.zeros(1, dtype=torch.int64)), norm.norm(x)
    assert out.dtype == h.dtype == torch.bfloat16
    assert torch.equal(out, (h.float() * 1.0038 + 0.3).bfloat16())
    assert not torch.equal(out, h * norm.scale.bfloat16() + norm.shift.bfloat16())


@pytest.mark.parametrize("kind", BOTH_G)
def test_a_generator_told_by_its_norms_is_a_plain_one_with_the_class_s_scales_and_shifts(kind):
    """All of class 2: the same network with these numbers in its BatchNorms, also where it is training."""
    told, plain = generator(kind, 4).double(), generator(kind).double()
    for module in of_kind(told, ConditionalNorm):
        nn.init.uniform_(module.scale, 0.5, 1.5)
        nn.init.normal_(module.shift)
    state = {}
    for key, value in told.state_dict().items():
        if key.endswith((".scale", ".shift")):
            state[key.replace(".scale", ".weight").replace(".shift", ".bias")] = value[2]
        else:
            state[key.replace(".norm.norm.", ".norm.").replace("norm1.norm.", "norm1.").replace("norm2.norm.", "norm2.")] = value  # fmt: skip
    plain.load_state_dict(state)
    z, y = torch.randn(6, 5, dtype=torch.float64), torch.full((6,), 2)
    assert torch.allclose(told(z, y), plain(z), rtol=0, atol=1e-12)
    assert torch.allclose(told.eval()(z, y), plain.eval()(z), rtol=0, atol=1e-12)


def test_which_norms_tell():
    """DCGAN's all; ResNet's those of the blocks, its last norm having one scale and shift for all, as in the authors'
    code. One scale and one shift for each class and channel, at first 1 and 0; the norm inside has none."""
    dcgan, resnet = generator(DCGANGenerator, 4), generator(ResNetGANGenerator, 4)
    assert [tuple(n.scale.shape) for n in of_kind(dcgan, ConditionalNorm)] == [(4, 8), (4, 4)]
    assert [tuple(n.shift.shape) for n in of_kind(resnet, ConditionalNorm)] == [(4, 4)] * 4
    assert not of_kind(resnet.head, ConditionalNorm) and resnet.head.norm.affine
    for norm in of_kind(nn.ModuleList([dcgan, resnet]), ConditionalNorm):
        assert norm.scale.eq(1).all() and not norm.shift.any()
        assert norm.norm.weight is None and norm.norm.bias is None
    for kind in BOTH_G:
        told, plain = generator(kind, 4), generator(kind)
        extra = sum(p.numel() for p in told.parameters()) - sum(p.numel() for p in plain.parameters())
        assert extra == (4 - 1) * 2 * sum(n.scale.shape[1] for n in of_kind(told, ConditionalNorm))


@pytest.mark.parametrize("kind", BOTH_G)
def test_without_a_norm_nothing_can_tell_and_the_sentence_says_so(kind):
    with pytest.raises(
        ValueError, match="condition is 'norm' and norm is 'none'; .* Set norm to batch or instance, or co"
    ):
        generator(kind, 4, norm="none")
    generator(kind, 4, norm="none", condition="input")
    generator(kind, norm="none")


# -- by projection


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_projection_by_hand(dtype):
    """phi = (1, 2, -1); embeddings (1, 0, 0), (0, 1, 1), (2, -1, 3): inner products 1, 1 and -3."""
    v = torch.tensor([[1, 0, 0], [0, 1, 1], [2, -1, 3]], dtype=dtype)
    phi = torch.tensor([[1, 2, -1]], dtype=dtype).expand(3, 3)
    assert projected(phi @ v.T, torch.tensor([0, 1, 2])).tolist() == [[1], [1], [-3]]
    assert projected(phi @ v.T, torch.tensor([2, 2, 0])).tolist() == [[-3], [-3], [1]]


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("pool", ["sum", "mean"])
def test_the_logit_of_a_told_resnet_is_equation_3(pool, spectral_norm):
    """psi(phi) + <v_y, phi>, phi the pooled last map; V divided by its largest singular value under spectral norm."""
    net = discriminator(ResNetGANDiscriminator, 4, pool=pool, spectral_norm=spectral_norm).double()
    net.train(not spectral_norm)
    x, y = pictures(net, dtype=torch.float64), torch.tensor([3, 0, 3])
    logits, maps = net(x, y, features=True)
    pixels = maps[-1].clamp_min(0).flatten(2)
    phi = pixels.sum(2) if pool == "sum" else pixels.mean(2)
    expected = [phi[i] @ net.head.weight[0] + net.head.bias[0] + phi[i] @ net.embed.weight[c] for i, c in enumerate(y)]
    assert torch.allclose(logits[:, 0], torch.stack(expected), rtol=0, atol=1e-11)
    assert net.embed.weight.shape == (4, 4) and net.embed.bias is None
    assert logits.std() > 1e-3


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_the_logit_of_a_told_dcgan_is_equation_3(spectral_norm):
    """phi is the flattened last map, which the last layer reads as a row: there is no pooling."""
    net = discriminator(DCGANDiscriminator, 4, norm="none", init="xavier_1", spectral_norm=spectral_norm).double()
    net.train(not spectral_norm)
    x, y = pictures(net, dtype=torch.float64), torch.tensor([3, 0, 3])
    logits, maps = net(x, y, features=True)
    phi = maps[-1].flatten(1)
    rows, psi = net.embed.weight.flatten(1), net.head.weight.flatten()
    expected = [phi[i] @ psi + net.head.bias[0] + phi[i] @ rows[c] for i, c in enumerate(y)]
    assert torch.allclose(logits[:, 0], torch.stack(expected), rtol=0, atol=1e-11)
    assert rows.shape == (4, 8 * 4 * 4) and net.embed.bias is None
    assert logits.std() > 1e-3


@pytest.mark.parametrize("kind", BOTH_D)
def test_without_its_embeddings_a_told_discriminator_is_the_plain_one(kind):
    told, plain = discriminator(kind, 4).double(), discriminator(kind).double()
    rest = {key: value for key, value in told.state_dict().items() if not key.startswith("embed.")}
    assert told.state_dict().keys() - rest.keys() == {"embed.weight"}
    plain.load_state_dict(rest)
    nn.init.zeros_(told.embed.weight)
    x = pictures(told, dtype=torch.float64)
    assert torch.equal(told(x, torch.tensor([0, 1, 3])), plain(x))


@pytest.mark.parametrize("kind", BOTH_D)
def test_a_projection_goes_to_one_logit(kind):
    with pytest.raises(ValueError, match="condition is 'projection' and outputs is 5; .* Set condition to input"):
        discriminator(kind, 4, 5)
    assert discriminator(kind, 4, 5, condition="input")(torch.zeros(2, 2, 16, 16), torch.tensor([0, 3])).shape == (2, 5)
    assert discriminator(kind, None, 5)(torch.zeros(2, 2, 16, 16)).shape == (2, 5)


# -- by the input


def test_the_class_joined_to_rows_and_to_pictures():
    net = nn.Module()
    net.classes = 3
    y = torch.tensor([2, 0])
    rows = with_classes(net, torch.tensor([[7.0], [8.0]]), y)
    assert rows.tolist() == [[7, 0, 0, 1], [8, 1, 0, 0]]
    maps = with_classes(net, torch.full((2, 1, 2, 2), 7.0), y)
    assert maps.shape == (2, 4, 2, 2) and maps[:, 0].eq(7).all()
    assert maps[0, 1:].flatten(1).tolist() == [[0] * 4, [0] * 4, [1] * 4]
    assert maps[1, 1:].flatten(1).tolist() == [[1] * 4, [0] * 4, [0] * 4]


@pytest.mark.parametrize("kind", BOTH_G)
def test_a_generator_told_by_its_input_is_a_plain_one_of_longer_latents(kind):
    told, wider = generator(kind, 4, condition="input"), kind(9, 2, 16, width=4)
    wider.load_state_dict(told.state_dict())
    z = torch.randn(3, 5)
    joined = torch.cat([z, torch.eye(4)[[1, 3, 0]]], dim=1)
    assert torch.equal(told(z, torch.tensor([1, 3, 0])), wider(joined))
    assert told.in_channels == 5, "what a latent has, as the sampler draws it"


@pytest.mark.parametrize("kind", BOTH_D)
def test_a_discriminator_told_by_its_input_is_a_plain_one_of_more_channels(kind):
    told, wider = discriminator(kind, 4, condition="input"), kind(6, 16, width=4)
    wider.load_state_dict(told.state_dict())
    x = pictures(told)
    maps = torch.eye(4)[[1, 3, 0]][:, :, None, None].expand(3, 4, 16, 16)
    assert torch.equal(told(x, torch.tensor([1, 3, 0])), wider(torch.cat([x, maps], dim=1)))
    assert told.in_channels == 2, "what a picture has"


# -- first weights and spectral norm


@pytest.mark.parametrize("init", ["normal_0.02", "uniform_0.05", "xavier_1", "xavier_uniform_1", "kaiming", "default"])
def test_every_class_begins_as_every_other_in_the_norms(init):
    """Also where a plain BatchNorm's scale is drawn: a class would begin apart from the others."""
    for kind in BOTH_G:
        net = generator(kind, 4, init=init)
        assert all(n.scale.eq(1).all() and not n.shift.any() for n in of_kind(net, ConditionalNorm))
    norm = block(norm=norm_layer("batch", 3, 4))
    init_weights(norm, init)
    assert norm.norm.scale.eq(1).all() and not norm.norm.shift.any()


def test_embeddings_are_drawn_as_the_layer_beside_them():
    """As in the authors' code: theirs are uniform after Glorot and Bengio, as ours are by default in resnet_gan."""
    torch.manual_seed(0)
    resnet = ResNetGANDiscriminator(3, 16, 50, width=64)
    bound = math.sqrt(6 / (64 + 50))
    assert 0.99 * bound < resnet.embed.weight.abs().max() <= bound
    dcgan = DCGANDiscriminator(3, 16, 10, width=16)
    assert dcgan.embed.weight.std().item() == pytest.approx(0.02, rel=0.03)
    plain = DCGANDiscriminator(3, 16, 10, width=16, init="default")
    bound = (32 * 4 * 4) ** -0.5  # PyTorch's, of so many inputs
    assert 0.99 * bound < plain.embed.weight.abs().max() <= bound


@pytest.mark.parametrize("kind", BOTH_D)
def test_spectral_norm_is_on_the_embeddings_and_makes_their_largest_singular_value_one(kind):
    net = discriminator(kind, 4, spectral_norm=True, init="normal_0.3")
    assert parametrize.is_parametrized(net.embed, "weight")
    drawn = net.embed.parametrizations.weight.original.detach().flatten(1)
    for _ in range(200):
        _ = net.embed.weight
    found = net.eval().embed.weight.flatten(1)
    assert torch.allclose(found, drawn / torch.linalg.svdvals(drawn)[0], rtol=1e-4)
    assert not parametrize.is_parametrized(discriminator(kind, 4).embed)


def test_spectral_norm_leaves_the_scales_of_a_class_alone():
    """They are no linear map of a picture; their sizes are what a class is told by."""
    for kind in BOTH_G:
        net = generator(kind, 4, spectral_norm=True)
        for norm in of_kind(net, ConditionalNorm):
            assert not parametrize.is_parametrized(norm) and norm.scale.eq(1).all()
    norm = ConditionalNorm("batch", 3, 4)
    spectral_normalise(norm)
    assert dict(norm.named_parameters()).keys() == {"scale", "shift"}


# -- second derivatives


@pytest.mark.parametrize(
    ("kind", "condition"),  # of a map that is constant and read by ReLUs alone no slope depends
    [(DCGANDiscriminator, "projection"), (DCGANDiscriminator, "input"), (ResNetGANDiscriminator, "projection")],
)
def test_the_gradient_of_a_gradient_penalty_for_what_tells_the_class(kind, condition):
    """Against finite differences: the slopes' own slopes, along the weights of each class."""
    smooth = {"norm": "instance", "activation": "tanh"} if kind is DCGANDiscriminator else {"norm": "none"}
    net = discriminator(kind, 3, size=8, init="default", condition=condition, **smooth).double()
    x, y = pictures(net, 2, torch.float64).requires_grad_(), torch.tensor([2, 0])
    weight = net.embed.weight if condition == "projection" else net.blocks[0].conv.weight

    def penalty():
        (slope,) = torch.autograd.grad(net(x, y).sum(), x, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()

    (found,) = torch.autograd.grad(penalty(), weight)
    of_class = found if condition == "projection" else found[:, 2:].movedim(1, 0)
    assert [bool(row.any()) for row in of_class] == [True, False, True]
    direction, sides = torch.randn_like(weight), []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            weight += step * direction
        sides.append(penalty().item())
    assert (found * direction).sum().item() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5)
