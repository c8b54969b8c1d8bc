"""The networks of a recipe on paper: laid out without memory, to see whether they fit the crop and the game."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from i2i.build.make import network, wiring
from i2i.config import Named, Recipe
from i2i.faults import Fault
from i2i.losses import CONSTRAINTS, OBJECTIVES
from i2i.methods import METHODS
from i2i.methods.wire import Wire
from i2i.nets import winograd


def on_paper(recipe: Recipe) -> tuple[dict[str, nn.Module], list[Fault]]:
    """The networks on the meta device (shapes without memory), and whether they take the crop."""
    nets, faults, crop = {}, {}, recipe.data.crop_size
    for name, wire in wiring(recipe).items():
        section, node = wire.section, getattr(recipe, wire.section)
        try:
            with torch.device("meta"):
                nets[name] = network(wire, node, crop)
        except ValueError as error:
            faults[section] = Fault((section,), str(error))
            continue
        net = nets[name]
        if crop % net.multiple or crop < net.minimum:
            rule = f"its sides must be multiples of {net.multiple}, at least {net.minimum}"
            faults[section] = Fault(
                ("data", "crop_size"),
                f"{crop} does not fit '{node.name}': {rule}. {_remedy(wire, node, crop)}",
            )
    return nets, list(faults.values())


def _remedy(wire: Wire, node: Named, crop: int) -> str:
    """The depth that takes this crop, where the network has one; else the next crop that fits."""
    for key in ("num_downs", "num_scales", "num_layers"):
        for depth in range(node.args.get(key, 0) - 1, 0, -1):
            try:
                with torch.device("meta"):
                    net = network(wire, node.model_copy(update={key: depth}), crop)
            except ValueError:
                continue
            if crop % net.multiple == 0 and crop >= net.minimum:
                return f"Use {wire.section}.{key}={depth}, or a crop of {_next_crop(wire, node, crop)}."
    return f"Use a crop of {_next_crop(wire, node, crop)}."


def _next_crop(wire: Wire, node: Named, crop: int) -> int:
    with torch.device("meta"):
        net = network(wire, node, crop)
    return max(-(-crop // net.multiple), -(-net.minimum // net.multiple)) * net.multiple


def lipschitz(recipe: Recipe, nets: Mapping[str, nn.Module]) -> list[Fault]:
    """A critic that an objective or a constraint does not go with."""
    if recipe.discriminator is None:
        return []
    objective, constraint = OBJECTIVES.get(recipe.method.objective), CONSTRAINTS.get(recipe.method.constraint.name)
    faults, critic = [], recipe.discriminator.args
    if objective.needs_lipschitz and not constraint.lipschitz and not critic.get("spectral_norm"):
        words = f"'{recipe.method.objective}' needs a Lipschitz critic."
        remedy = "Set method.constraint to {name: gp} or {name: clip}, or discriminator.spectral_norm to true."
        faults.append(Fault(("method", "objective"), f"{words} {remedy}"))
    critics = [nets[name] for name, wire in wiring(recipe).items() if wire.section == "discriminator" and name in nets]
    has_batch_norm = any(isinstance(module, _BatchNorm) for net in critics for module in net.modules())
    if constraint.per_sample and has_batch_norm:
        words = f"'{recipe.method.constraint.name}' penalises each picture's own gradient,"
        remedy = "which batch normalisation in the discriminator mixes. Set discriminator.norm to instance or none."
        faults.append(Fault(("method", "constraint"), f"{words} {remedy}"))
    return faults


def hastened(recipe: Recipe, nets: Mapping[str, nn.Module]) -> list[Fault]:
    """What train.speed=winograd does not go with, or finds nothing in."""
    train, remedy = recipe.train, "Set it to auto"
    if train.speed != "winograd":
        return []
    words = None
    if train.precision != "fp32":
        words = f"rounds more than fp32 and far too much in {train.precision}. {remedy}, or train.precision to fp32"
    elif train.compile:
        words = f"does not go with train.compile, which has the layers to itself. {remedy}, or train.compile to false"
    else:
        made = [nets[name] for name in METHODS.get(recipe.method.name).exports.values() if name in nets]
        if made and not any(winograd.fits(layer) for net in made for layer in net.modules()):
            words = (
                f"finds no convolution of 3x3 and stride 1 with {winograd.MANY} channels or more in the generator, as "
                f"a ResNet of the usual width has them. {remedy}"
            )
    return [] if words is None else [Fault(("train", "speed"), f"'winograd' {words}.")]
