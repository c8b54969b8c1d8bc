"""A checked recipe -> networks, optimizers, data and the method."""

import shlex

import torch
from torch import nn

from i2i import __version__
from i2i.augment import DiffAugment
from i2i.config import Named, Recipe, read_yaml, shipped
from i2i.data import DATASETS
from i2i.losses import CONSTRAINTS, OBJECTIVES
from i2i.methods import METHODS
from i2i.methods.wire import Wire
from i2i.nets import DISCRIMINATORS, ENCODERS, GENERATORS
from i2i.optimizers import OPTIMIZERS
from i2i.seeds import derive

NETS = {"generator": GENERATORS, "discriminator": DISCRIMINATORS, "encoder": ENCODERS}
# arguments of a generator that said where its tensors begin; a weights file holds the tensors (see engine.samples)
BAKED = {"spectral_norm": False, "pretrained": False, "weights": None}
SOME = 10  # classes that labelled data are taken to have while the recipe still says auto
COMMON_DATA = ("path", "limit", "load_size", "crop_size", "flip", "transform", "a", "b", "seed", "hint")


def card_hint(recipe: Recipe) -> str:
    """Where the named data set of a recipe's path can be had, from its card; empty for a user's own folder."""
    path = str(recipe.data.path or "").rstrip("/")
    name = path.rpartition("/")[2]
    file = shipped("cards") / f"{name}.yaml"
    if not file.is_file():
        return ""
    card, _ = read_yaml(file)
    command = f"i2i data download {name}" + ("" if path == f"datasets/{name}" else f" --to {shlex.quote(path)}")
    return (
        f" {card['title']}: `{command}` fetches it, or download {card['source']} and unpack it there, or set data.path "
        "to where you have it."
    )


def dataset(recipe: Recipe):
    """The data set of a recipe; reads the folder. UserError in words for whatever is wrong with it."""
    data = recipe.data
    kind = DATASETS.get(data.kind)
    common = {key: getattr(data, key) for key in COMMON_DATA if key not in ("limit", "a", "b", "seed", "hint")}
    sides = {side: getattr(data, side).model_dump() for side in kind.sides_of}
    files = {"limit": data.limit, "hint": card_hint(recipe)} if kind.needs_path else {}
    return DATASETS.build(data.kind, **common, **sides, **data.args, **files, seed=recipe.train.seed)


def domain_channels(recipe: Recipe) -> dict[str, int]:
    """{key: channels} of a recipe, 3 where it still says auto; of a method that needs labels also "label": classes."""
    sides = DATASETS.get(recipe.data.kind).sides_of
    found = [3 if (count := getattr(recipe.data, side).channels) == "auto" else count for side in sides]
    if recipe.data.args.get("direction") == "ba":
        found.reverse()
    method = METHODS.get(recipe.method.name)
    channels = dict(zip(method.keys, found, strict=True))
    if not method.needs_labels:
        return channels
    classes = recipe.data.args["classes"]
    return channels | {"label": SOME if classes == "auto" else classes}


def wiring(recipe: Recipe) -> dict[str, Wire]:
    """{network: what it is built of} of the recipe's method."""
    wires = METHODS.get(recipe.method.name).wiring(domain_channels(recipe), recipe.method.args)
    return {name: Wire(*wire) for name, wire in wires.items()}


def exports(recipe: Recipe) -> dict[str, str]:
    """{weights file: network} of the recipe's method."""
    return METHODS.get(recipe.method.name).exports


def networks(recipe: Recipe) -> dict[str, nn.Module]:
    """Every network of a resolved recipe by name, seeded by train.seed, on the CPU."""
    nets = {}
    for name, wire in wiring(recipe).items():
        torch.manual_seed(derive(recipe.train.seed, "init", name))
        nets[name] = network(wire, getattr(recipe, wire.section), recipe.data.crop_size)
    return nets


def method(recipe: Recipe, runtime):
    """Networks, optimizers and the method of a resolved recipe, on the runtime's device, seeded by train.seed."""
    kind = METHODS.get(recipe.method.name)
    nets = {name: runtime.prepare(net).train() for name, net in networks(recipe).items()}
    optimizers = {}
    for group, members in kind.groups.items():
        node = recipe.optimizer[group]
        parameters = [parameter for name in members for parameter in nets[name].parameters()]
        optimizers[group] = OPTIMIZERS.build(node.name, parameters, **node.args, fused=runtime.fused)
    chosen = recipe.method
    return kind(
        nets,
        optimizers,
        runtime,
        objective=OBJECTIVES.build(chosen.objective) if kind.adversarial else None,
        constraint=CONSTRAINTS.build(chosen.constraint.name, **chosen.constraint.args),
        augment=DiffAugment(recipe.augment.policy),
        num_critic=chosen.num_critic,
        **chosen.args,
    )


def weights_meta(recipe: Recipe, name: str, built, data) -> dict[str, dict]:
    """{export: metadata} that lets a weights file be used without its recipe.

    Args:
        name: of the recipe.
        built: the method.
        data: the data set, whose domains and layout go along.
    """
    metas = {}
    for export, net_name in built.exports.items():
        source, target = built.maps[net_name]
        net, node = built.nets[net_name], recipe.generator
        args = {key: BAKED.get(key, value) for key, value in node.args.items()}
        metas[export] = {
            "version": __version__,
            "recipe": name,
            "method": recipe.method.name,
            "export": export,
            "net": {
                "name": node.name,
                "args": args,
                "in_channels": net.in_channels,
                "out_channels": net.out_channels,
                **({"size": net.size} if net.sized else {}),
                **({"classes": net.classes} if told(net) else {}),
            },
            "output": _domain_meta(data.domains[target]),
            "load_size": recipe.data.load_size,
            "crop_size": recipe.data.crop_size,
            "translate": recipe.translate.model_dump(),
            **(
                _sampler_meta(built, net, data)
                if source is None
                else _translator_meta(recipe, data, source, target, net)
            ),
        }
    return metas


def _translator_meta(recipe: Recipe, data, source: str, target: str, net: nn.Module) -> dict:
    """Of a network that reads pictures of the domain `source`."""
    direction = recipe.data.args.get("direction") if "input" in data.keys else None
    return {
        "kind": "generator",
        "direction": direction or f"{source}{target}",
        "input": _domain_meta(data.domains[source]),
        "side": data.side,  # the half of a side-by-side file that is the input, if the data are such files
        "multiple": net.multiple,
        "minimum": net.minimum,
    }


def told(net: nn.Module) -> bool:
    """Whether a network is told one of K classes with every row."""
    return getattr(net, "classes", None) is not None


def _sampler_meta(built, net: nn.Module, data) -> dict:
    """Of a network that makes pictures of latents, and of classes where it is told some."""
    classes = {"classes": {"count": data.num_classes, "names": list(data.class_names)}} if told(net) else {}
    return {"kind": "sampler", "prior": {"name": built.prior.name, "size": built.prior.size}, **classes}


def _domain_meta(domain) -> dict:
    return {"channels": domain.channels, "range": list(domain.range), "depth": domain.depth, "page": domain.page}


def network(wire: Wire, node: Named, size: int) -> nn.Module:
    """The network that a recipe's section describes, wired like this.

    `size` is the side of the training pictures, for networks that are laid out for one size.
    """
    kind, judges = NETS[wire.section].get(node.name), wire.section == "discriminator"
    channels = (wire.ins,) if judges else (wire.ins, wire.outs)
    classes = (wire.classes, *((wire.outs,) if judges else ())) if wire.classed else ()
    return kind(*channels, *((size,) if kind.sized else ()), *classes, **node.args)
