"""`i2i recipes plan`: looks at a folder and writes a complete recipe for it, with the reason for every choice."""

import os
import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from i2i import __version__, atomic, build, config
from i2i.config import Recipe
from i2i.errors import UserError
from i2i.prepare.planning.choices import choose
from i2i.prepare.planning.fingerprint import Fingerprint, Side, look
from i2i.prepare.planning.machine import Machine, machine
from i2i.prepare.planning.recipetext import written
from i2i.prepare.shelf import place_for


def plan(
    path: str | os.PathLike,
    *,
    out: str | os.PathLike | None = None,
    device: str = "auto",
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes a recipe that trains on the pictures of a folder; nothing is overwritten.

    The folder is read as training will read it: before the recipe is put in place it is checked, the data set is built
    from it and one sample is taken.

    Args:
        path: a folder in any layout of paired, unpaired or labelled pictures.
        out: the recipe's file; ./<folder>.yaml if None.
        device: what training is planned for: auto | cuda | mps | cpu.
        say: takes notes on the folder, and a sentence for each broken file.
        progress: called with (files seen, files in all).

    Returns:
        The file.

    Raises:
        UserError: a file that is there already; whatever is wrong with the folder that training would refuse.
    """
    folder = Path(os.path.expanduser(path))
    shown = str(folder).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if shown != str(folder):
        raise UserError(f"the name of {shown} is no text, and a recipe cannot hold it. Rename the folder.")
    target = Path(os.path.expanduser(out)) if out is not None else Path(f"{_name(folder)}.yaml")
    target = target / f"{_name(folder)}.yaml" if target.is_dir() else target
    place_for(target, f"i2i recipes plan {shlex.quote(str(path))} --out OTHER.yaml")
    here = machine(device)
    found = look(path, say=say, progress=progress)
    chosen = choose(found, here, build.check)
    recipe = build.check(chosen.source(target.stem))
    text = written(_shown(recipe), chosen.why, _header(target, found, recipe, here))
    _try(text, recipe)
    atomic.write_text(target, text)
    return target


def _name(folder: Path) -> str:
    """The name of a folder's recipe: that of the folder, or of the one above a split, in letters fit for a run."""
    absolute = Path(os.path.abspath(folder))
    name = absolute.parent.name if absolute.name in ("train", "val", "test") else absolute.name
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "recipe"


def _shown(recipe: Recipe) -> dict:
    """Every value of a recipe, ranges of whole levels as whole numbers."""
    sections = recipe.model_dump()
    for side in "ab":
        span = sections["data"][side]["range"]
        if all(float(end).is_integer() for end in span):
            sections["data"][side]["range"] = [int(end) for end in span]
    return sections


def _try(text: str, recipe: Recipe) -> None:
    """Reads the text as training will, and takes a sample; UserError for whatever training would refuse."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.yaml"
        file.write_text(text, encoding="utf-8")
        source = config.read(file)
    checked = build.check(source)
    if source.data != checked.model_dump() or checked != recipe:
        raise ValueError(f"the planned recipe does not read back as what was planned:\n{text}")
    data = build.dataset(checked)
    resolved = build.resolved(checked, data)
    if resolved.data != checked.data:
        raise ValueError(f"the data set resolves the plan to {resolved.data}, which is not what was planned:\n{text}")
    data.item(0, 0)


def _header(target: Path, found: Fingerprint, recipe: Recipe, here: Machine) -> list[str]:
    a, b = found.a, found.b
    counts = ", ".join(f"{split} {count:,}" for split, count in found.counts.items())
    if found.paired:
        arrow = f"{a.name} -> {b.name}" if recipe.data.args["direction"] == "ab" else f"{b.name} -> {a.name}"
        what = f"pairs ({counts}) of {_span(a.width)} x {_span(a.height)} px, {_kind(a)} and {_kind(b)}"
    else:
        arrow = f"{a.name} <-> {b.name}"
        sides = (
            f"{side.count:,} pictures of {_kind(side)}, {_span(side.width)} x {_span(side.height)} px"
            for side in (a, b)
        )
        rest = ", ".join(f"{count:,} for {split}" for split, count in found.counts.items() if split != "train")
        what = f"{' and '.join(sides)}{f', to train; {rest}' if rest else ''}"
    method = {"pix2pix": "pix2pix", "cyclegan": "CycleGAN"}[recipe.method.name]
    command = shlex.quote(target.as_posix())
    return [
        f"{method}, {arrow}, on {found.path}. Planned by i2i {__version__} for {what}; and for this machine, {here}.",
        "Every choice says why; change what you know better.",
        f"    i2i check {command}              after a change",
        f"    i2i train {command} --dry-run    how long it will take",
        f"    i2i train {command}",
    ]


def _kind(side: Side) -> str:
    kind = {1: "grey", 3: "RGB"}.get(side.channels, f"{side.channels} channels")
    return f"{side.name} ({kind}, {'float' if side.depth == 32 else f'{side.depth} bits'})"


def _span(values: np.ndarray) -> str:
    """`256`, or `180-1024 (median 400)`."""
    least, most = int(values.min()), int(values.max())
    return str(least) if least == most else f"{least}-{most} (median {int(np.median(values))})"
