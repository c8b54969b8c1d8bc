"""Everything that can be wrong with a recipe, found before any data is read or any tensor allocated."""

from collections.abc import Mapping
from typing import Any

import torch

from i2i.augment import POLICIES, DiffAugment
from i2i.build.make import COMMON_DATA, NETS, domain_channels, wiring
from i2i.build.paper import hastened, lipschitz, on_paper
from i2i.config import DomainSection, Named, Recipe, Section, Source, arguments, bind, parse
from i2i.data import DATASETS, TRANSFORMS
from i2i.faults import Fault, RecipeError
from i2i.losses import CONSTRAINTS, OBJECTIVES
from i2i.methods import METHODS
from i2i.metrics import PROTOCOLS
from i2i.nets import DISCRIMINATORS, ENCODERS, GENERATORS
from i2i.optimizers import OPTIMIZERS
from i2i.registry import Registry, nearest

REGISTRIES = {
    registry.kind: registry
    for registry in (
        METHODS,
        GENERATORS,
        DISCRIMINATORS,
        ENCODERS,
        OBJECTIVES,
        CONSTRAINTS,
        DATASETS,
        TRANSFORMS,
        POLICIES,
        OPTIMIZERS,
        PROTOCOLS,
    )
}
KINDS = {"method": METHODS, **NETS, "data": DATASETS, "evaluate": PROTOCOLS}
LABELS = {"data": "kind", "evaluate": "protocol"}  # the key that says which; of the others "name"
LARGEST = 4096  # of any whole number that shapes a network; more is a slip, and takes minutes to lay out
TRACKERS = {  # of Accelerate: its name -> what pip calls its package
    "aim": "aim",
    "clearml": "clearml",
    "comet_ml": "comet-ml",
    "dvclive": "dvclive",
    "mlflow": "mlflow",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}
FROM_RECIPE = ("objective", "constraint", "augment", "num_critic")  # a method's arguments that are not its own


def names(kind: str) -> list[str]:
    """The registered names of a kind: `i2i.names("generator")` is ["resnet", "unet", "unet_timm"]."""
    registry = Registry("kind of name")
    for known, entry in REGISTRIES.items():
        registry.register(known)(entry)
    return registry.get(kind).names()


def check(source: Source) -> Recipe:
    """The recipe with every default written in; RecipeError with all faults. Needs no data and allocates no tensor."""
    sections, faults = parse(source)
    found = _Names(sections, faults)
    full = found.filled()
    for section in source.data:
        if section in KINDS and section not in sections:
            found.strays(section, source.data[section])
    if not faults:
        recipe = Recipe(**full)
        faults += impossible(recipe)
    if faults:
        raise RecipeError(source.origin, faults, source.lines)
    return recipe


class _Names:
    """Looks up every name of the sections that are well formed and binds its arguments; collects what is wrong."""

    def __init__(self, sections: Mapping[str, Any], faults: list[Fault]):
        self.sections, self.faults = sections, faults

    def filled(self) -> dict[str, Any]:
        full = dict(self.sections)
        for section, registry in NETS.items():
            if full.get(section) is not None:
                full[section] = self.named(full[section], registry, (section,))
                self.not_too_large(section, full[section].args)
        method = self.method(full)
        if "optimizer" in full:
            full["optimizer"] = self.optimizers(full["optimizer"], method)
        if "augment" in full:
            for policy in full["augment"].policy:
                self.known(POLICIES, policy, ("augment", "policy"))
        if "data" in full:
            full["data"] = self.data(full["data"])
        if "evaluate" in full:
            full["evaluate"] = self.evaluated(full["evaluate"])
        if "train" in full and full["train"].tracker not in (None, *TRACKERS):
            name = full["train"].tracker
            words = f"'{name}' is not a tracker.{nearest(name, TRACKERS)} Known: {', '.join(TRACKERS)}; null is none."
            self.faults.append(Fault(("train", "tracker"), words))
        return full

    def not_too_large(self, section: str, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            numbers = value if isinstance(value, list) else [value]
            if any(isinstance(number, int) and number > LARGEST for number in numbers):
                self.faults.append(Fault((section, key), f"{value} is too large. Give at most {LARGEST:,}."))

    def known(self, registry: Registry, name: str, where: tuple[str, ...]) -> Any:
        if name in registry.names():
            return registry.get(name)
        self.faults.append(Fault(where, registry.unknown(name)))
        return None

    def named(self, node: Named, registry: Registry, where: tuple[str, ...], skip: tuple[str, ...] = ()) -> Named:
        thing = self.known(registry, node.name, (*where, "name"))
        if thing is None:
            return node
        values, faults = bind(thing, node.args, where, skip, type(node).model_fields)
        self.faults += faults
        return type(node)(**{key: getattr(node, key) for key in type(node).model_fields}, **values)

    def strays(self, section: str, raw: Any) -> None:
        """The unknown keys of a section that is faulty in another way too: all is told in one pass."""
        label = LABELS.get(section, "name")
        if not isinstance(raw, Mapping) or raw.get(label) not in KINDS[section].names():
            return
        model = Recipe.model_fields[section].annotation
        thing, skip = KINDS[section].get(raw[label]), {"method": FROM_RECIPE, "data": COMMON_DATA}.get(section, ())
        known = [*model.model_fields, *arguments(thing, skip).model_fields]
        told = {fault.where for fault in self.faults}
        for key in raw:
            if key not in known and (section, key) not in told:
                words = f"there is no such key here.{nearest(key, known)} Known: {', '.join(known)}"
                self.faults.append(Fault((section, key), words))

    def method(self, full: dict[str, Any]):
        if "method" not in full:
            return None
        node = full["method"]
        if node.objective is not None:
            self.known(OBJECTIVES, node.objective, ("method", "objective"))
        constraint = self.named(node.constraint, CONSTRAINTS, ("method", "constraint"))
        node = self.named(node, METHODS, ("method",), FROM_RECIPE)
        full["method"] = node.model_copy(update={"constraint": constraint})
        self.not_too_large("method", {key: value for key, value in node.args.items() if key == "latent"})
        if node.name not in METHODS.names():
            return None
        method = METHODS.get(node.name)
        self.faults += _parts_of(method, node, full)
        return method

    def optimizers(self, nodes: Mapping[str, Named], method) -> dict[str, Named]:
        if method is not None:
            for group in nodes:
                if group not in method.groups:
                    self.faults.append(
                        Fault(("optimizer", group), f"there is no such group. Known: {', '.join(method.groups)}")
                    )
            for group in method.groups:
                if group not in nodes:
                    self.faults.append(
                        Fault(
                            ("optimizer",),
                            f"the group '{group}' is missing. Write {group}: {{name: adam, lr: 2.0e-4}}.",
                        )
                    )
        return {group: self.named(node, OPTIMIZERS, ("optimizer", group), ("fused",)) for group, node in nodes.items()}

    def data(self, node: Section) -> Section:
        if node.transform is not None:
            self.known(TRANSFORMS, node.transform, ("data", "transform"))
        kind = self.known(DATASETS, node.kind, ("data", "kind"))
        if kind is None:
            return node
        values, faults = bind(kind, node.args, ("data",), COMMON_DATA, type(node).model_fields)
        self.faults += faults
        common = {key: getattr(node, key) for key in type(node).model_fields}
        if "b" in kind.sides_of:
            common["b"] = node.b or DomainSection()
        elif node.b is not None:
            words = f"'{node.kind}' data have one domain, a. Set b to null, or leave it out."
            self.faults.append(Fault(("data", "b"), words))
        return type(node)(**common, **values)

    def evaluated(self, node: Section) -> Section:
        known = list(type(node).model_fields)
        if node.protocol is None:
            for key in node.args:  # a protocol's own, or misspelt
                words = f"there is no such key here without a protocol.{nearest(key, known)} Known: {', '.join(known)}"
                self.faults.append(Fault(("evaluate", key), words))
            return node
        protocol = self.known(PROTOCOLS, node.protocol, ("evaluate", "protocol"))
        if protocol is None:
            return node
        values, faults = bind(protocol, node.args, ("evaluate",), (), type(node).model_fields)
        self.faults += faults
        return type(node)(protocol=node.protocol, every=node.every, **values)


def _parts_of(method, node: Named, sections: Mapping[str, Any]) -> list[Fault]:
    """The sections and settings that a method needs and lacks, or has and cannot use."""
    faults = []
    for section in NETS:
        used, given = section in method.sections, section in sections and sections[section] is not None
        if used and section in sections and not given:
            faults.append(Fault((section,), f"this section is missing. {node.name} has networks of that kind."))
        elif given and not used:
            faults.append(Fault((section,), f"{node.name} has no network of that kind. Set it to null."))
    if method.adversarial and node.objective is None:
        faults.append(Fault(("method", "objective"), f"is missing. Known: {', '.join(OBJECTIVES.names())}"))
    if not method.adversarial:
        policy = sections["augment"].policy if "augment" in sections else []
        settings = (
            (("method", "objective"), node.objective, None),
            (("method", "constraint", "name"), node.constraint.name, "none"),
            (("method", "num_critic"), node.num_critic, 1),
            (("augment", "policy"), policy, []),
        )
        for where, value, off in settings:
            if value != off:
                remedy = f"{node.name} has no discriminator. Set it to {'null' if off is None else off}."
                faults.append(Fault(where, f"{value} is of no use: {remedy}"))
    return faults


def impossible(recipe: Recipe) -> list[Fault]:
    """Combinations that cannot work, though each value alone is right."""
    faults = [*_not_offered(recipe), *_lengths(recipe)]
    method, kind = METHODS.get(recipe.method.name), DATASETS.get(recipe.data.kind)
    if unfit := _other_data(recipe, method, kind):
        return [*faults, unfit]
    if recipe.data.path is None and kind.needs_path:
        faults.append(Fault(("data", "path"), f"null; '{recipe.data.kind}' data need a folder. Set data.path=FOLDER."))
    if recipe.data.limit is not None and not kind.needs_path:
        words = f"{recipe.data.limit}: '{recipe.data.kind}' data are drawn as many as count says. Set it to null."
        faults.append(Fault(("data", "limit"), words))
    faults += _refused(recipe)
    found = method.check(recipe.method.args, domain_channels(recipe))
    faults += [Fault(("method", key), words) for key, words in found]
    if wrong := _misfits(recipe, method):
        return [*faults, *wrong]
    nets, net_faults = on_paper(recipe)
    return [*faults, *net_faults, *lipschitz(recipe, nets), *hastened(recipe, nets)]


def _other_data(recipe: Recipe, method, kind) -> Fault | None:
    """Data that hold other pictures than the method needs, no labels where it needs some, or one class alone."""
    name, keys = recipe.data.kind, kind.keys_of(recipe.data.args)
    known = {each: DATASETS.get(each) for each in DATASETS.names()}
    fits = [
        each for each, one in known.items()
        if set(one.keys_of({})) == set(method.keys) and (one.labelled or not method.needs_labels)
    ]  # fmt: skip
    if set(keys) != set(method.keys):
        held, needed = " and ".join(keys), " and ".join(method.keys)
        words = f"'{name}' data hold {held}, but {recipe.method.name} needs {needed}."
        return Fault(("data", "kind"), f"{words} Use {' or '.join(fits)}.")
    labels = recipe.data.args.get("labels")
    if labels is not None and not method.few_labels:
        why = "needs the class of every picture" if method.needs_labels else "needs no picture's class"
        return Fault(
            ("data", "labels"), f"{labels} does not go with {recipe.method.name}, which {why}. Set it to null."
        )
    if not method.needs_labels:
        return None
    if not kind.labelled:
        words = f"{recipe.method.name} needs labels; '{name}' data have none. Use {' or '.join(fits)}."
        return Fault(("data", "kind"), words)
    if (classes := domain_channels(recipe)["label"]) < 2:
        return Fault(("data", "classes"), f"{classes} must be at least 2: one class tells nothing. Set it to auto.")
    if labels is None and method.few_labels:
        words = (
            f"null; {recipe.method.name} learns from few labelled pictures beside the others. Set it to their number"
        )
        return Fault(("data", "labels"), f"{words}, as many of each class: {10 * classes} are 10 of each.")
    return None


def _misfits(recipe: Recipe, method) -> list[Fault]:
    """Networks that cannot be told what the method tells them, and a policy that does not go with latents."""
    name, wanted = recipe.generator.name, method.generator_takes
    if GENERATORS.get(name).takes != wanted:
        fits = [other for other in GENERATORS.names() if GENERATORS.get(other).takes == wanted]
        words = f"'{name}' reads {GENERATORS.get(name).takes}; the generator of {recipe.method.name} reads {wanted}."
        return [Fault(("generator", "name"), f"{words} Use {' or '.join(fits)}.")]
    for wire in wiring(recipe).values():
        name, registry = getattr(recipe, wire.section).name, NETS[wire.section]
        if wire.classed and not registry.get(name).classed:
            fits = [other for other in registry.names() if registry.get(other).classed]
            words = f"'{name}' knows no classes, and the {wire.section} of {recipe.method.name} must."
            return [Fault((wire.section, "name"), f"{words} Use {' or '.join(fits)}.")]
    if wanted == "latents" and recipe.translate.norm == "batch":
        words = "'batch' would make a sample depend on those that are drawn beside it. Set it to running."
        return [Fault(("translate", "norm"), words)]
    if wanted == "latents" and recipe.translate.dropout:
        words = "true is of no use: a sample's noise is its z. Set it to false."
        return [Fault(("translate", "dropout"), words)]
    return []


def _not_offered(recipe: Recipe) -> list[Fault]:
    faults = []
    if recipe.train.compile and recipe.train.activation_checkpointing:
        words = "true does not go with train.compile, which chooses by itself what to compute again. Set one to false."
        faults.append(Fault(("train", "activation_checkpointing"), words))
    if recipe.train.compile and CONSTRAINTS.get(recipe.method.constraint.name).per_sample:
        words = f"true does not go with '{recipe.method.constraint.name}', which needs second derivatives."
        faults.append(Fault(("train", "compile"), f"{words} Set it to false."))
    return [*faults, *_evaluated(recipe)]


def _evaluated(recipe: Recipe) -> list[Fault]:
    """What is wrong with being scored while training."""
    asked = recipe.evaluate
    if asked.protocol is None:
        words = f"{asked.every} is of no use without evaluate.protocol. Name one: {', '.join(PROTOCOLS.names())}."
        return [] if asked.every is None else [Fault(("evaluate", "every"), words)]
    if why := PROTOCOLS.get(asked.protocol).refuses(recipe):
        return [Fault(("evaluate", "protocol"), f"'{asked.protocol}' cannot score these runs: {why}.")]
    try:
        PROTOCOLS.build(asked.protocol, **asked.args)
    except ValueError as error:
        return [Fault(("evaluate",), str(error))]
    return []


def _lengths(recipe: Recipe) -> list[Fault]:
    train, data, faults = recipe.train, recipe.data, []
    if train.warmup >= train.steps:
        faults.append(Fault(("train", "warmup"), f"{train.warmup} must be less than train.steps, {train.steps}."))
    if data.load_size is not None and data.load_size < data.crop_size:
        remedy = f"Use load_size {data.crop_size} or more, or null for the pictures' own size"
        faults.append(
            Fault(("data", "load_size"), f"{data.load_size} is smaller than the crop, {data.crop_size}. {remedy}.")
        )
    for side in DATASETS.get(data.kind).sides_of:
        span = getattr(data, side).range
        if span != "auto" and span[0] >= span[1]:
            faults.append(
                Fault(
                    ("data", side, "range"),
                    f"[{span[0]:g}, {span[1]:g}] must rise: the value shown as black, then as white.",
                )
            )
    return faults


def _refused(recipe: Recipe) -> list[Fault]:
    """What constructors say about values that have the right type and are out of range."""
    tries = [
        (
            ("method", "constraint"),
            lambda: CONSTRAINTS.build(recipe.method.constraint.name, **recipe.method.constraint.args),
        )
    ]
    tries += [(("augment", "policy"), lambda: DiffAugment(recipe.augment.policy))]
    for group, node in recipe.optimizer.items():
        weight = [torch.empty(1, device="meta", requires_grad=True)]
        tries += [
            (("optimizer", group), lambda node=node, weight=weight: OPTIMIZERS.build(node.name, weight, **node.args))
        ]
    faults = []
    for where, build_it in tries:
        try:
            build_it()
        except ValueError as error:
            faults.append(Fault(where, str(error)))
    return faults


def resolved(recipe: Recipe, data) -> Recipe:
    """The recipe with `auto` replaced by what the data are; RecipeError where that makes it impossible."""
    found = {side: type(recipe.data.a)(**values) for side, values in data.resolved().items()}
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=found | data.resolved_args())})
    if faults := impossible(recipe):
        raise RecipeError("with these data, the recipe", faults)
    return recipe
