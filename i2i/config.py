"""The shape of a recipe: typed, closed models; YAML and `section.key=value`; every fault at once, with its line.

`read` turns a file and the command line's overrides into a `Source` (plain data and where each value stands);
`parse` turns a Source into a `Recipe` and a list of faults. What the *names* in a recipe mean is not known here:
`arguments` checks the arguments of whatever stands behind a name against its signature (see `i2i.build`).
"""

import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from i2i.errors import UserError
from i2i.faults import Fault, RecipeError, faults_of
from i2i.registry import nearest
from i2i.yamlfile import COMMAND_LINE, YamlError, read_yaml, read_yaml_value

# ---------------------------------------------------------------------------------------------------- the models


class Section(BaseModel):
    """Frozen and closed: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Named(Section):
    """A name and the arguments of what it names, which its signature checks."""

    model_config = ConfigDict(extra="allow")
    name: str

    @property
    def args(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class MethodSection(Named):
    objective: str | None = None  # null of a method that plays no game
    num_critic: int = Field(1, ge=1)
    constraint: Named = Named(name="none")


class AugmentSection(Section):
    policy: list[str] = []


class DomainSection(Section):
    channels: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | Literal["auto"] = "auto"
    page: int | None = Field(None, ge=0)


class DataSection(Section):
    model_config = ConfigDict(extra="allow")
    kind: str
    path: str | None = None
    limit: int | None = Field(None, ge=1)
    load_size: int | None = Field(None, ge=1)
    crop_size: int = Field(ge=1, le=65_536)
    flip: bool = True
    transform: str | None = None
    workers: int = Field(4, ge=0)
    cache: Literal["auto", "off"] = "auto"
    a: DomainSection = DomainSection()
    b: DomainSection | None = None  # null of data of one domain

    @property
    def args(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class TrainSection(Section):
    steps: int = Field(ge=1)
    decay_from: int | None = Field(None, ge=0)
    warmup: int = Field(0, ge=0)
    batch_size: int = Field(1, ge=1)
    seed: int = Field(0, ge=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    speed: Literal["auto", "plain", "winograd"] = "plain"
    clip_grad: float | None = Field(None, gt=0)
    ema: float | None = Field(None, gt=0, lt=1)
    compile: bool = False
    channels_last: bool = False
    activation_checkpointing: bool = False
    tracker: str | None = "tensorboard"
    alarms: bool = True
    log_every: int = Field(100, ge=1)
    sample_every: int | None = Field(2000, ge=1)
    save_every: int = Field(5000, ge=1)
    keep: int = Field(3, ge=1)


class TranslateSection(Section):
    norm: Literal["batch", "running"] = "running"
    dropout: bool = False
    seed: int = Field(0, ge=0)


class EvaluateSection(Section):
    model_config = ConfigDict(extra="allow")
    protocol: str | None = None
    every: int | None = Field(None, ge=1)

    @property
    def args(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Recipe(Section):
    """One complete training recipe; field order is the order of every recipe file."""

    method: MethodSection
    generator: Named
    discriminator: Named | None = None  # which of these two a method has, its wiring says
    encoder: Named | None = None
    augment: AugmentSection = AugmentSection()
    data: DataSection
    optimizer: dict[str, Named]
    train: TrainSection
    translate: TranslateSection = TranslateSection()
    evaluate: EvaluateSection = EvaluateSection()

    def dump(self) -> str:
        """The recipe as YAML, every value written out."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, default_flow_style=None, width=120)


# ---------------------------------------------------------------------------------------------------- reading


@dataclass
class Source:
    """A recipe as written: plain data, where it came from, and the line of every key."""

    name: str
    origin: str
    data: dict[str, Any]
    lines: dict[tuple, int | str] = field(default_factory=dict)


def shipped(folder: str) -> Path:
    """The `recipes` or `cards` that came with the package: inside it in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / folder
    beside = {"recipes": "recipes", "cards": "datasets"}[folder]
    return inside if inside.is_dir() else Path(__file__).parent.parent / beside


def locate(recipe: str | Path) -> Path:
    """The file of a recipe given by path, or by the name of a shipped one ("cyclegan_horse2zebra").

    `recipes/NAME.yaml` also finds the shipped recipe where no such file exists: the README's commands then work after
    installing a wheel, outside a checkout.
    """
    path = Path(os.path.expanduser(recipe))
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a recipe. Give a .yaml file, or the name of a shipped recipe.")
    known = sorted(file.stem for file in shipped("recipes").glob("*.yaml"))
    by_name = path.parent in (Path(), Path("recipes")) and path.suffix in ("", ".yaml")
    if by_name and path.stem in known:
        return shipped("recipes") / f"{path.stem}.yaml"
    raise UserError(f"no recipe file {path}.{nearest(path.stem, known)} Shipped recipes: {', '.join(known)}")


def read(recipe: str | Path, overrides: Iterable[str] = ()) -> Source:
    """A recipe file with `section.key=value` overrides applied; RecipeError for bad YAML or a bad override."""
    path = locate(recipe)
    try:
        data, lines = read_yaml(path)
    except YamlError as error:
        raise RecipeError(str(path), [Fault((), str(error))]) from None
    source = Source(path.stem, str(path), data, lines)
    faults = [fault for text in overrides if (fault := _override(source, text))]
    if faults:
        raise RecipeError(source.origin, faults)
    return source


def override(text: str) -> tuple[str, Any]:
    """(key, value) of `section.key=value`, the value read as YAML; UserError in words."""
    key, equals, written = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"'{text}' is not an override. Write section.key=value, as in train.steps=1000.")
    try:
        return key.strip(), read_yaml_value(written)
    except YamlError as error:
        raise UserError(f"command line, {key}: {error}") from None


def _override(source: Source, text: str) -> Fault | None:
    try:
        key, value = override(text)
    except UserError as error:
        return Fault((), str(error))
    *parents, last = where = tuple(key.split("."))
    node = source.data
    for depth, parent in enumerate(parents, start=1):
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            return Fault((), f"command line, {key}: '{'.'.join(where[:depth])}' holds a value, not keys.")
    node[last] = value
    for known in [known for known in source.lines if known[: len(where)] == where]:
        del source.lines[known]
    source.lines[where] = COMMAND_LINE
    return None


def parse(source: Source) -> tuple[dict[str, Any], list[Fault]]:
    """Validates section by section: (the sections that are right, all faults). Without any: `Recipe(**sections)`."""
    sections, faults = {}, []
    fields = Recipe.model_fields
    for name in source.data:
        if name not in fields:
            faults.append(
                Fault((str(name),), f"is not a section.{nearest(str(name), fields)} Known: {', '.join(fields)}")
            )
    for name, info in fields.items():
        if name not in source.data:
            if info.is_required():
                faults.append(Fault((name,), "this section is missing."))
            else:
                sections[name] = info.default
            continue
        model = create_model(name, __base__=Section, **{name: (info.annotation, ...)})
        try:
            sections[name] = getattr(model.model_validate({name: source.data[name]}), name)
        except ValidationError as error:
            faults += faults_of(error, source.data, Recipe)
    return sections, faults


# ---------------------------------------------------------------------------------------------------- arguments


def arguments(thing: Callable, skip: Iterable[str] = ()) -> type[BaseModel]:
    """A closed model of the keyword-only parameters of `thing`: what a recipe may say about it, and the defaults."""
    hints = typing.get_type_hints(thing.__init__ if inspect.isclass(thing) else thing)
    fields = {
        name: (
            _strict(hints.get(name, Any)),
            ... if parameter.default is parameter.empty else _listed(parameter.default),
        )
        for name, parameter in inspect.signature(thing).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in set(skip)
    }
    return create_model(getattr(thing, "__name__", "arguments"), __base__=Section, **fields)


def bind(
    thing: Callable,
    given: Mapping[str, Any],
    where: tuple[str, ...],
    skip: Iterable[str] = (),
    beside: Iterable[str] = (),
) -> tuple[dict, list[Fault]]:
    """The arguments for `thing` with its defaults filled in, in its order; or what is wrong with those given.

    `beside` are the keys that the section has besides: a misspelt one of those lands here.
    """
    model = arguments(thing, skip)
    try:
        return model.model_validate(dict(given)).model_dump(), []
    except ValidationError as error:
        faults = faults_of(error, dict(given), model, beside)
        return {}, [Fault((*where, *fault.where), fault.message) for fault in faults]


def _strict(annotation: Any) -> Any:
    """YAML has lists where Python has tuples."""
    inner = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return Annotated[list[inner[0]], Field(min_length=len(inner), max_length=len(inner))]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_strict, inner))]  # noqa: UP007 - a union made of a list
    return annotation


def _listed(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default
