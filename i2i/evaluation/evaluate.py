"""`i2i evaluate`: a run folder, a protocol and the data -> numbers, in evaluation.json beside what they depend on."""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from i2i import __version__, atomic, build
from i2i.config import Recipe, bind, override
from i2i.errors import UserError
from i2i.evaluation.protocol import Protocol
from i2i.evaluation.subject import Subject, of_run
from i2i.infer.models import newest_run, pick_device
from i2i.infer.runs import read_recipe
from i2i.metrics import PROTOCOLS

FILE = "evaluation.json"
LIBRARIES = ("torch", "torchmetrics", "torch-fidelity", "timm", "numpy")


def evaluate(
    run: str | os.PathLike | None = None,
    protocol: str | None = None,
    settings: Iterable[str] = (),
    *,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Scores a trained run: its last weights, and its best where it has been scored while it trained.

    Args:
        run: the run folder; None is the newest.
        protocol: a name; None takes the recipe's, else the one that fits its data.
        settings: "key=value" of the protocol's arguments, or "data.path=FOLDER" where the data lie elsewhere now.
        device: auto | cuda | mps | cpu.
        say: takes each line for the user.

    Returns:
        What was added to `<run>/evaluation.json`: one entry for each of the models. Earlier entries are kept; one that
        was measured in exactly the same way on the same weights is replaced.

    Raises:
        UserError: no run, no weights, no data, a protocol that does not fit, an argument it does not have.
    """
    path = Path(os.path.expanduser(run)) if run is not None else newest_run()
    recipe = read_recipe(path)
    if recipe is None:
        raise UserError(f"{path} is not a run folder: it holds no recipe.yaml. Give the folder that training named.")
    recipe, given = _settings(recipe, settings)
    chosen = made(*_named(recipe, protocol, given))
    if why := chosen.refuses(recipe):
        raise UserError(f"protocol '{name_of(chosen)}' cannot score {path}: {why}.")
    data = build.dataset(recipe)
    place = pick_device(device)
    subjects = [
        subject for which in ("best", "last") if (subject := of_run(path, recipe, data, which, place, say)) is not None
    ]
    if not subjects:
        raise UserError(f"{path} has no weights yet; they are written with the first save (train.save_every).")
    split = first_of(chosen.splits, data)
    entries = []
    for subject in _apart(subjects):
        entry = entry_of(chosen, subject, split)
        say(shown(entry))
        _keep(path / FILE, entry)
        entries.append(entry)
    return entries


def made(name: str, given: Mapping[str, Any]) -> Protocol:
    """The protocol of that name; UserError in words for what is wrong with its name or arguments."""
    kind = PROTOCOLS.get(name)
    values, faults = bind(kind, given, ())
    if faults:
        raise UserError("; ".join(f"{'.'.join(fault.where)} of {name}: {fault.message}" for fault in faults))
    return kind(**values)


def name_of(protocol: Protocol) -> str:
    """Its registered name."""
    return next(name for name in PROTOCOLS.names() if PROTOCOLS.get(name) is type(protocol))


def arguments_of(protocol: Protocol) -> dict[str, Any]:
    """Its arguments, as they were given or by default."""
    keys = bind(type(protocol), {}, ())[0]
    return {key: getattr(protocol, key) for key in keys}


def first_of(splits: Iterable[str], data) -> str:
    """The first of these splits that the data have."""
    return next(split for split in splits if split in data.splits_there)


def entry_of(protocol: Protocol, subject: Subject, split: str) -> dict[str, Any]:
    """The numbers of one model and all that they depend on."""
    return {
        "protocol": name_of(protocol),
        "words": protocol.words(subject, split),
        "arguments": arguments_of(protocol),
        "split": split,
        "checkpoint": {"which": subject.which, "step": subject.step, "weights": subject.fingerprints()},
        "values": protocol.measure(subject, split),
        "score": protocol.score,
        "versions": {"i2i": __version__, **{name: found for name in LIBRARIES if (found := _version(name))}},
        "device": subject.device.type,
    }


def shown(entry: Mapping[str, Any]) -> str:
    """An entry as a person reads it."""
    checkpoint = entry["checkpoint"]
    lines = [f"{checkpoint['which']} (step {checkpoint['step']:,}): {entry['words']}"]
    for name, value in entry["values"].items():
        lines += [f"  {name:<20} {text}"] if (text := _number(value)) is not None else []
    return "\n".join(lines)


def _number(value: Any) -> str | None:
    if isinstance(value, Mapping):
        if "mean" not in value:
            return None
        spread = value.get("standard_error", value.get("std"))
        kind = "+-" if "standard_error" in value else "std"
        return f"{value['mean']:.5g}" + (f" {kind} {spread:.2g}" if spread is not None else "")
    if isinstance(value, str):
        return value
    return None if value is None or isinstance(value, list) else f"{value:.5g}"


def _settings(recipe: Recipe, settings: Iterable[str]) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with another data.path, where one is given, and the protocol's own arguments."""
    given = {}
    for text in settings:
        key, value = override(text)
        if key == "data.path":
            recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": str(value)})})
        elif "." in key:
            raise UserError(f"{key} cannot be changed after training; data.path and the protocol's arguments can.")
        else:
            given[key] = value
    return recipe, given


def _named(recipe: Recipe, name: str | None, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The protocol asked for, or the recipe's with its arguments, or the first that fits the data."""
    own = recipe.evaluate
    if name is None and own.protocol is None:
        fits = [known for known in DEFAULTS if known in PROTOCOLS.names() and not PROTOCOLS.get(known).refuses(recipe)]
        if not fits:
            raise UserError(f"no protocol is the usual one here. Name one: --protocol {'|'.join(PROTOCOLS.names())}")
        name = fits[0]
    elif name is None or name == own.protocol:
        return own.protocol, own.args | given
    return name, given


DEFAULTS = ("paired", "unpaired", "modes", "distribution")  # tried in this order where the recipe names none


def _apart(subjects: list[Subject]) -> list[Subject]:
    """Best and last where they are two steps; where they are one, it is scored once, as the last."""
    return subjects if len({subject.step for subject in subjects}) == len(subjects) else subjects[-1:]


def _keep(file: Path, entry: dict[str, Any]) -> None:
    entries = [old for old in read(file) if _way(old) != _way(entry)]
    text = json.dumps({"evaluations": [*entries, _finite(entry)]}, indent=1, ensure_ascii=False, allow_nan=False)
    atomic.write_text(file, text + "\n")


def read(file: Path) -> list[dict[str, Any]]:
    """The entries of an evaluation.json; none where there is no file. UserError where it is damaged."""
    if not file.exists():
        return []
    try:
        return json.loads(file.read_text(encoding="utf-8"))["evaluations"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is damaged and is not overwritten. Move it away, or mend it.") from None


def _way(entry: Mapping[str, Any]) -> tuple:
    return entry["protocol"], entry["words"], json.dumps([entry["arguments"], entry["checkpoint"]["weights"]])


def _finite(node: Any) -> Any:
    """Strict JSON knows no NaN and no infinity: they become null."""
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    return None if isinstance(node, float) and not math.isfinite(node) else node


def _version(name: str) -> str | None:
    try:
        return torch.__version__ if name == "torch" else version(name)
    except PackageNotFoundError:
        return None
