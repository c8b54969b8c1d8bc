"""`i2i evaluate`: a run folder, a protocol and the data -> numbers, in evaluation.json beside what they depend on."""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from i2i import __version__, atomic, build
from i2i.config import EvaluateSection, Recipe, bind, override
from i2i.errors import UserError
from i2i.evaluation.protocol import Protocol, at
from i2i.evaluation.subject import Subject, of_run
from i2i.infer.models import newest_run, pick_device
from i2i.infer.runs import read_recipe
from i2i.metrics import PROTOCOLS

FILE = "evaluation.json"
SCHEDULE = "evaluations.jsonl"  # what was scored while training
NO_VALUES = ("step", "protocol", "best", "score")  # in a line of it
FEWEST = 5  # evaluations whose mean is worth telling
WIDTH = 27  # of a value's name, for the eye
LIBRARIES = ("torch", "torchmetrics", "torch-fidelity", "timm", "numpy")


def evaluate(
    run: str | os.PathLike | None = None,
    protocol: str | None = None,
    settings: Iterable[str] = (),
    *,
    device: str = "auto",
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Scores a trained run: its last weights, and its best where it has been scored while it trained.

    Args:
        run: the run folder; None is the newest.
        protocol: a name; None takes the recipe's, else the one that fits its data.
        settings: "key=value" of the protocol's arguments, or "data.path=FOLDER" where the data lie elsewhere now.
        device: auto | cuda | mps | cpu.
        say: takes each line for the user.
        progress: called with (pictures made, pictures in all) of whatever is made.

    Returns:
        What was added to `<run>/evaluation.json`: one entry for each of the models. Earlier entries are kept; one that
        was measured in exactly the same way on the same weights is replaced.

    Raises:
        UserError: no run, no weights, no data, a protocol that does not fit, an argument it does not have, an
            evaluation.json that is damaged.
    """
    path = Path(os.path.expanduser(run)) if run is not None else newest_run()
    recipe = read_recipe(path)
    if recipe is None:
        raise UserError(f"{path} is not a run folder: it holds no recipe.yaml. Give the folder that training named.")
    if run is None:
        say(f"{path}, the newest run")
    recipe, given = _settings(recipe, settings)
    name, given = _named(recipe, protocol, given)
    chosen = made(name, given)
    asked = EvaluateSection(protocol=name, **arguments_of(chosen))  # some refuse by their arguments, too
    if why := chosen.refuses(recipe.model_copy(update={"evaluate": asked})):
        raise UserError(f"protocol '{name}' cannot score {path}: {why}.")
    read(path / FILE)  # whether it can be added to, before minutes are spent
    data = build.dataset(recipe)
    place = pick_device(device)
    subjects = [
        subject
        for which in ("best", "last")
        if (subject := of_run(path, recipe, data, which, place, say, progress)) is not None
    ]
    if not subjects:
        raise UserError(f"{path} has no weights yet; they are written with the first save (train.save_every).")
    split = first_of(chosen.splits, data)
    entries = []
    for subject in _apart(subjects):
        entry = entry_of(chosen, subject, split)
        if subject.which == "last" and (means := trailing(path)) and means["protocol"].startswith(f"{name}: "):
            entry["trailing"] = means
        say(shown(entry))
        _keep(path / FILE, entry)
        entries.append(entry)
    return entries


def trailing(run: str | os.PathLike, share: float = 0.1) -> dict[str, Any] | None:
    """The means of what a run was scored by in its last steps, where single scores wander.

    Args:
        run: the run folder; its evaluations.jsonl is read.
        share: how much of the steps up to the last evaluation, above 0 and at most 1.

    Returns:
        {"protocol": its words, "share", "from_step": after which, "to_step", "count": evaluations, "means": {value:
        mean, None where one of them has none}}; None where there are fewer than five.
    """
    if not 0 < share <= 1:
        raise UserError(f"share {share} is not a part of the steps; it is above 0 and at most 1.")
    lines = _schedule(Path(run) / SCHEDULE)
    if not lines:
        return None
    last = lines[-1]
    start = last["step"] * (1 - share)
    late = [line for line in lines if line["step"] > start and line["protocol"] == last["protocol"]]
    if len(late) < FEWEST:
        return None
    means = {}
    for key in dict.fromkeys(key for line in late for key in line if key not in NO_VALUES):
        values = [line.get(key) for line in late]
        means[key] = None if None in values else math.fsum(values) / len(values)
    return {
        "protocol": last["protocol"],
        "share": share,
        "from_step": late[0]["step"],
        "to_step": last["step"],
        "count": len(late),
        "means": means,
    }


def _schedule(file: Path) -> list[dict[str, Any]]:
    """The lines of an evaluations.jsonl, by step; one that a kill left half written is passed over."""
    if not file.is_file():
        return []
    lines = {}
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(json.JSONDecodeError, KeyError, TypeError):
            line = json.loads(text)
            if isinstance(line["protocol"], str):
                lines[int(line["step"])] = line
    return [lines[step] for step in sorted(lines)]


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
    for path in PROTOCOLS.get(entry["protocol"]).shows:
        if (value := at(entry["values"], path)) is not None:
            lines.append(f"  {path:<{WIDTH}} {_number(value)}")
    if "trailing" in entry:
        lines += _trailing_lines(entry["trailing"])
    return "\n".join(lines)


def brief(entry: Mapping[str, Any]) -> str:
    """The numbers of an entry in one line."""
    shows = PROTOCOLS.get(entry["protocol"]).shows
    found = {path: value for path in shows if (value := at(entry["values"], path)) is not None}
    return "  ".join(f"{path} {_number(value)}" for path, value in found.items())


def _trailing_lines(means: Mapping[str, Any]) -> list[str]:
    over = f"{means['count']} evaluations from step {means['from_step']:,} to {means['to_step']:,}"
    shows = PROTOCOLS.get(means["protocol"].partition(":")[0]).shows
    paths = [path for key in shows for path in (key, f"{key}.mean") if means["means"].get(path) is not None]
    lines = [f"mean of {over}, the last {means['share']:.0%} of the steps:"]
    return lines + [f"  {path:<{WIDTH}} {means['means'][path]:.5g}" for path in paths]


def _number(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"{value:.5g}"
    if value["mean"] is None:
        return "none"
    spread = value.get("standard_error", value.get("std"))
    kind = "+-" if "standard_error" in value else "std"
    return f"{value['mean']:.5g}" + (f" {kind} {spread:.2g}" if spread is not None else "")


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
        why = {known: PROTOCOLS.get(known).refuses(recipe) for known in DEFAULTS}
        name = next((known for known in DEFAULTS if why[known] is None), None)
        if name is None:
            names = " | ".join(PROTOCOLS.names())
            raise UserError(
                f"no protocol is the usual one here ({'; '.join(f'{known}: {each}' for known, each in why.items())}). "
                f"Name one: --protocol {names}"
            )
    elif name is None or name == own.protocol:
        return own.protocol, own.args | given
    return name, given


DEFAULTS = ("paired", "unpaired", "density", "modes", "distribution")  # tried in this order where the recipe names none


def _apart(subjects: list[Subject]) -> list[Subject]:
    """Best and last where they are two steps; where they are one, it is scored once, as the last."""
    return subjects if len({subject.step for subject in subjects}) == len(subjects) else subjects[-1:]


def _keep(file: Path, entry: dict[str, Any]) -> None:
    entries = [old for old in read(file) if _way(old) != _way(entry)]
    atomic.write_text(file, as_json([*entries, entry]) + "\n")


def as_json(entries: Iterable[Mapping[str, Any]]) -> str:
    """What an evaluation.json holds."""
    whole = {"evaluations": [_finite(entry) for entry in entries]}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)


def read(file: Path) -> list[dict[str, Any]]:
    """The entries of an evaluation.json; none where there is no file. UserError where it is damaged."""
    if not file.exists():
        return []
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))["evaluations"]
        for entry in entries:
            _way(entry)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file} is damaged and is not overwritten. Move it away, or mend it.") from None
    return entries


def _way(entry: Mapping[str, Any]) -> tuple:
    return entry["protocol"], entry["words"], json.dumps([entry["arguments"], entry["checkpoint"]["weights"]])


def _finite(node: Any) -> Any:
    """Strict JSON knows no NaN and no infinity: they become null."""
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def _version(name: str) -> str | None:
    try:
        return torch.__version__ if name == "torch" else version(name)
    except PackageNotFoundError:
        return None
