"""What is wrong with a recipe: where, and in words; all faults in one message, in the order of the file."""

import inspect
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from i2i.errors import UserError
from i2i.registry import closest, nearest


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a recipe: where (a path of keys) and what, in a sentence with the remedy."""

    where: tuple[str, ...]
    message: str


class RecipeError(UserError):
    """All faults of a recipe in one message."""

    def __init__(
        self, origin: str, faults: Iterable[Fault], lines: Mapping[tuple, int | str] = types.MappingProxyType({})
    ):
        self.origin, self.lines = origin, lines
        self.faults = sorted(faults, key=lambda fault: str(self._line(fault)).zfill(8))  # as the file is read
        count = len(self.faults)
        head = f"{origin} has {count} problem{'s' if count > 1 else ''}:"
        super().__init__("\n".join([head, *(f"  {self._place(fault)}{fault.message}" for fault in self.faults)]))

    def _line(self, fault: Fault) -> int | str | None:
        nearest_first = [fault.where[:n] for n in range(len(fault.where), 0, -1)]
        below = (where for where in self.lines if fault.where and where[: len(fault.where)] == fault.where)
        return next((self.lines[where] for where in (*nearest_first, *below) if where in self.lines), None)

    def _place(self, fault: Fault) -> str:
        line = self._line(fault)
        shown = f"line {line}, " if isinstance(line, int) else f"{line}, " if line else ""
        return f"{shown}{'.'.join(fault.where)}: " if fault.where else shown


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a word",
    "list_type": "a list",
    "dict_type": "a section of keys",
    "model_type": "a section of keys",
    "model_attributes_type": "a section of keys",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def faults_of(error: ValidationError, data: Mapping, model: type[BaseModel], beside: Iterable[str] = ()) -> list[Fault]:
    """Pydantic's errors in our words; the branches of a union are one fault. `beside`: more keys of the top level."""
    seen: dict[tuple, list[str]] = {}
    for entry in error.errors(include_url=False):
        where = _known_part(entry["loc"], data, entry["type"])
        if entry["type"] == "missing" and (stray := _misspelt(where, data, model)):
            seen[*where[:-1], stray] = [f"there is no such key here. Did you mean '{where[-1]}'?"]
            continue
        seen.setdefault(where, []).append(_words(entry, where, model, beside))
    return [Fault(where, " Or: ".join(dict.fromkeys(messages))) for where, messages in seen.items()]


def _misspelt(where: tuple[str, ...], data: Any, model: type[BaseModel]) -> str | None:
    """The key that stands where a missing one was meant."""
    for key in where[:-1]:
        data = data[int(key)] if isinstance(data, list) else data[key]
    known = _keys_at(where[:-1], model)
    return closest(where[-1], (key for key in data if key not in known), cutoff=0.7)


def _known_part(loc: tuple, data: Any, kind: str) -> tuple[str, ...]:
    """The location without the tags that unions add to it."""
    path = []
    for key in loc:
        if (isinstance(data, Mapping) and key in data) or (isinstance(data, list) and isinstance(key, int)):
            data = data[key]
        elif not (kind == "missing" and key == loc[-1]):
            continue
        path.append(str(key))
    return tuple(path)


def _words(entry: dict, where: tuple[str, ...], model: type[BaseModel], beside: Iterable[str]) -> str:
    kind, value, context = entry["type"], entry["input"], entry.get("ctx", {})
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    if kind == "extra_forbidden":
        known = [*_keys_at(where[:-1], model), *(beside if len(where) == 1 else ())]
        return f"there is no such key here.{nearest(where[-1], known)} Known: {', '.join(known)}"
    if kind == "missing":
        return "is missing and has no default."
    if where[-1:] == ("precision",) and value == "fp16":
        return "'fp16' is not offered: GAN gradients underflow in it and the penalties break. Use bf16, or fp32."
    if kind == "literal_error":
        known = [word.strip("' ") for word in context["expected"].replace(" or ", ", ").split(",")]
        return f"{shown} is not one of {' | '.join(known)}.{nearest(str(value), known)}"
    if kind in _TYPES:
        return f"{shown} is not {_TYPES[kind]}."
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{shown} must be {words} {context[key]:g}."
    if kind in ("too_short", "too_long"):
        count = context.get("min_length", context.get("max_length"))
        return f"{shown} must have {count} entries."
    return f"{shown}: {entry['msg'].lower()}."


def _keys_at(path: tuple[str, ...], model: Any) -> list[str]:
    """The keys that a closed model has at a path."""
    for key in path:
        annotation = model.model_fields[key].annotation if key in model.model_fields else None
        candidates = [annotation, *typing.get_args(annotation)]
        model = next((c for c in candidates if inspect.isclass(c) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
