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
from i2i.nets import DISCRIMINATORS, GENERATORS
from i2i.optimizers import OPTIMIZERS
from i2i.seeds import derive

NETS = {"generator": GENERATORS, "discriminator": DISCRIMINATORS}
# arguments of a generator that said where its tensors begin; a weights file holds the tensors (see engine.samples)
BAKED = {"spectral_norm": False, "pretrained": False, "weights": None}
COMMON_DATA = ("path", "load_size", "crop_size", "flip", "transform", "a", "b", "seed", "hint")


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
    common = {key: getattr(data, key) for key in COMMON_DATA if key not in ("a", "b", "seed", "hint")}
    sides = {side: getattr(data, side).model_dump() for side in ("a", "b")}
    hint = {"hint": card_hint(recipe)} if DATASETS.get(data.kind).needs_path else {}
    return DATASETS.build(data.kind, **common, **sides, **data.args, **hint, seed=recipe.train.seed)


def domain_channels(recipe: Recipe) -> dict[str, int]:
    """{key: channels} of a recipe; 3 where it still says auto."""
    sides = {side: getattr(recipe.data, side).channels for side in ("a", "b")}
    a, b = (3 if sides[side] == "auto" else sides[side] for side in ("a", "b"))
    if recipe.data.args.get("direction") == "ba":
        a, b = b, a
    return dict(zip(METHODS.get(recipe.method.name).keys, (a, b), strict=True))


def method(recipe: Recipe, runtime):
    """Networks, optimizers and the method of a resolved recipe, on the runtime's device, seeded by train.seed."""
    kind = METHODS.get(recipe.method.name)
    nets = {}
    for name, (section, ins, outs) in kind.wiring(domain_channels(recipe)).items():
        torch.manual_seed(derive(recipe.train.seed, "init", name))
        nets[name] = runtime.prepare(network(section, getattr(recipe, section), ins, outs)).train()
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
        objective=OBJECTIVES.build(chosen.objective),
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
    metas, direction = {}, recipe.data.args.get("direction") if "input" in data.keys else None
    for export, net_name in built.exports.items():
        source, target = built.maps[net_name]
        net, node = built.nets[net_name], recipe.generator
        args = {key: BAKED.get(key, value) for key, value in node.args.items()}
        metas[export] = {
            "kind": "generator",
            "version": __version__,
            "recipe": name,
            "method": recipe.method.name,
            "export": export,
            "direction": direction or f"{source}{target}",
            "net": {"name": node.name, "args": args, "in_channels": net.in_channels, "out_channels": net.out_channels},
            "input": _domain_meta(data.domains[source]),
            "output": _domain_meta(data.domains[target]),
            "side": data.side,  # the half of a side-by-side file that is the input, if the data are such files
            "load_size": recipe.data.load_size,
            "crop_size": recipe.data.crop_size,
            "multiple": net.multiple,
            "minimum": net.minimum,
            "translate": recipe.translate.model_dump(),
        }
    return metas


def _domain_meta(domain) -> dict:
    return {"channels": domain.channels, "range": list(domain.range), "depth": domain.depth, "page": domain.page}


def network(section: str, node: Named, ins: int, outs: int) -> nn.Module:
    """The network that a recipe's section describes, between these channel counts (a discriminator reads `ins`)."""
    channels = (ins, outs) if section == "generator" else (ins,)
    return NETS[section].build(node.name, *channels, **node.args)
