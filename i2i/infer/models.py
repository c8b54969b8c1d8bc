"""Where a trained model is: a weights file, a run folder, or the newest run."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from i2i.errors import UserError
from i2i.infer.network import build_network
from i2i.infer.sampler import Sampler
from i2i.infer.translator import Translator
from i2i.infer.weights import read_digested
from i2i.registry import nearest

RUNS = Path("runs")
DIRECTIONS = ("ab", "ba")
ONE = "generator.safetensors"
TRAIN = "i2i train RECIPE"
MODELS = {"generator": Translator, "sampler": Sampler}  # kind of a weights file -> what it becomes


def load(
    source: Any = None, direction: str | None = None, device: str = "auto", winograd: bool = False
) -> Translator | Sampler:
    """The translator of a trained model; of one that makes pictures of noise, its sampler.

    Args:
        source: a .safetensors file, a run folder (a path, or an object with a `path`), or None for the newest run.
        direction: "ab" or "ba" of a run with a generator for each; None takes "ab" of such a run.
        device: auto (cuda, then mps, then cpu) | cuda | mps | cpu.
        winograd: of a ResNet on a CPU, compute the residual blocks by Winograd's form: faster on most, but it
            rounds more: single values move by 1 or 2 of 255 levels.

    Raises:
        UserError: no such model, no such direction, no such device; a file that is damaged or something else;
            `winograd` where it cannot be.
    """
    return read(find(source, direction), direction, device, winograd)


def read(
    path: Path, direction: str | None = None, device: str = "auto", winograd: bool = False
) -> Translator | Sampler:
    """`load` of a weights file that `find` found."""
    place = pick_device(device)
    tensors, meta, digest = read_digested(path)
    kind = meta.get("kind")
    if kind not in MODELS:
        what = "a checkpoint, for continuing a run" if kind == "checkpoint" else f"of kind {kind!r}"
        raise UserError(
            f"{path} is {what}, not weights to translate with; give its run folder, or a generator file in it."
        )
    if direction is not None and kind == "sampler":
        raise UserError(f"{path} draws pictures from noise, in no direction; leave the direction out.")
    if direction is not None and meta.get("direction") != direction:
        raise UserError(
            f"{path} translates in the direction {meta.get('direction')}, not {direction}; leave the direction out, or "
            "give the run folder of a model that was trained for both."
        )
    if winograd and kind == "sampler":
        raise UserError(f"{path} draws pictures from noise, where nothing knows Winograd's form; leave winograd out.")
    options = {"winograd": True} if winograd else {}
    model = MODELS[kind](build_network(meta, tensors, str(path)), meta, place, **options)
    model.weights = digest
    return model


def models_of(files: Mapping[str, tuple[Mapping, Mapping]], device: torch.device) -> dict[str, Translator | Sampler]:
    """{name: model} of {name: (tensors, metadata)}, as weights files hold them."""
    return {
        name: MODELS[meta["kind"]](build_network(meta, tensors, name), meta, device)
        for name, (tensors, meta) in files.items()
    }


def translator(path: Path, direction: str | None = None, device: str = "auto", winograd: bool = False) -> Translator:
    """`read` of weights that translate; UserError for others."""
    model = read(path, direction, device, winograd)
    if not isinstance(model, Translator):
        raise UserError(f"{path} draws pictures from noise and reads none; draw some with  i2i generate {path.parent}")
    return model


def sampler(path: Path, device: str = "auto") -> Sampler:
    """`read` of weights that draw pictures from noise; UserError for others."""
    model = read(path, None, device)
    if not isinstance(model, Sampler):
        raise UserError(f"{path} translates pictures, and draws none from noise; use  i2i translate FOLDER")
    return model


def find(source: Any = None, direction: str | None = None) -> Path:
    """The weights file that `load` reads."""
    if direction is not None and direction not in DIRECTIONS:
        raise UserError(f"'{direction}' is no direction; it is ab (from domain A to B) or ba.")
    if source is None:
        source = newest_run()
    place = source if isinstance(source, str | os.PathLike) else getattr(source, "path", None)
    if not isinstance(place, str | os.PathLike):
        raise UserError(f"{type(source).__name__} is no model; give a run folder, a .safetensors file, or None.")
    path = Path(os.path.expanduser(place))
    if path.is_dir():
        return _in_run(path, direction)
    if not path.exists():
        known = {str(run): run for run in _runs(RUNS)} | {run.name: run for run in _runs(RUNS)}
        raise UserError(f"there is no {path}; give a run folder or a .safetensors file.{_hint(path, known)}")
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"{path} is a recipe, not a model; train it (i2i train {path}), then give its run folder.")
    return path


def newest_run(root: str | os.PathLike = RUNS) -> Path:
    """The folder in `root` whose weights were written last.

    Raises:
        UserError: there is none with weights.
    """
    runs = _runs(Path(root))
    dated = [(max(stamps), run.name, run) for run in runs if (stamps := [_stamp(file) for file in _weights(run)])]
    if dated:
        return max(dated)[2]
    if runs:
        raise UserError(
            f"none of the {len(runs)} runs in {root} has weights yet (they come with the first save); wait, or name a "
            "run folder or a .safetensors file."
        )
    raise UserError(f"there is no run in {root}; train one ({TRAIN}), or name a run folder or a .safetensors file.")


def pick_device(name: str) -> torch.device:
    """auto is cuda, else mps, else cpu; UserError where the named one is not there."""
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
    if name == "auto":
        return torch.device(next(kind for kind, available in there.items() if available()))
    kind, _, index = name.partition(":")
    if kind not in there or (index and not index.isdecimal()):
        raise UserError(f"'{name}' is not a device.{nearest(name, there)} It is auto, cuda, mps or cpu.")
    if not there[kind]() or (kind == "cuda" and index and int(index) >= torch.cuda.device_count()):
        raise UserError(f"PyTorch finds no device {name} on this machine; use auto or cpu.")
    return torch.device(name)


def _in_run(path: Path, direction: str | None) -> Path:
    both = {way: path / f"generator_{way}.safetensors" for way in DIRECTIONS}
    wanted = both[direction or "ab"]
    for file in (wanted, path / ONE):
        if file.is_file():
            return file
    for way, file in both.items():
        if file.is_file():
            raise UserError(f"{path} has no {wanted.name}; it has {file.name}: use the direction {way}.")
    if (path / "recipe.yaml").is_file():
        raise UserError(f"{path} has no weights yet; they are written with the first save (train.save_every).")
    inside = _runs(path)
    if inside:
        raise UserError(f"{path} is not a run folder but holds {len(inside)}; give one of them, as {inside[-1]}.")
    raise UserError(f"{path} is not a run folder: it holds no {ONE}; give the folder that training named.")


def _runs(root: Path) -> list[Path]:
    """The run folders in `root`, with weights or without, by name."""
    try:
        folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    except OSError:
        return []
    return [folder for folder in folders if (folder / "recipe.yaml").is_file() or _weights(folder)]


def _weights(run: Path) -> list[Path]:
    names = (ONE, *(f"generator_{way}.safetensors" for way in DIRECTIONS))
    return [run / name for name in names if (run / name).is_file()]


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:  # replaced this very moment
        return 0


def _hint(path: Path, known: dict[str, Path]) -> str:
    if path.name in known:
        return f" Did you mean '{known[path.name]}'?"
    return nearest(str(path), known)
