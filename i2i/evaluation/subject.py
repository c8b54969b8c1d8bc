"""What is evaluated: the models of one step of one run, and the data that it was trained on."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from i2i import build
from i2i.config import Recipe
from i2i.errors import UserError
from i2i.infer.models import models_of
from i2i.infer.runs import BEST, checkpoint_of
from i2i.infer.sampler import CHUNK, Sampler
from i2i.infer.translator import Translator
from i2i.infer.weights import fingerprint, read_tensors
from i2i.methods import METHODS
from i2i.registry import nearest

Files = Mapping[str, tuple[Mapping[str, Tensor], Mapping[str, Any]]]  # export -> (tensors, metadata)
AT_ONCE = 8 * CHUNK  # samples held as floats while they become levels

_kept: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()  # data set -> what depends on it alone


@dataclass
class Subject:
    """One step of one run.

    Protocols judge by `data`, which have every training picture though the run may have seen a few (data.limit): a
    classifier, a segmentation net or a reference set is the same for runs on many and on few, and is fitted, and kept,
    once. `trained_on` are the same data as the run saw them, for what asks whether pictures were remembered.

    Args:
        recipe: as it was run.
        data: its data set.
        files: the weights for users, as the files hold them.
        nets: gives every network of the method by name, in evaluation mode; called when a protocol asks for one.
        run: the run folder, where a protocol may leave a picture.
        which: "last" or "best".
        device: where to compute.
        say: takes each line for the user.
        progress: called with (pictures made, pictures in all).
    """

    recipe: Recipe
    data: Any
    files: Files
    nets: Callable[[], Mapping[str, nn.Module]]
    run: Path
    which: str = "last"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    say: Callable[[str], None] = print
    progress: Callable[[int, int], None] = lambda done, total: None

    def __post_init__(self):
        self.trained_on, self.data = self.data, self.data.unlimited
        self.models: dict[str, Translator | Sampler] = models_of(self.files, self.device)

    @property
    def step(self) -> int:
        return next(meta["step"] for _, meta in self.files.values())

    @property
    def sampler(self) -> Sampler:
        """The one model of a run that makes pictures of noise."""
        return next(model for model in self.models.values() if isinstance(model, Sampler))

    def kept(self, name: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for a data set: for whatever depends on the data and on `name` alone.

        It is there for every step of a run that is scored while it trains, as long as its data set is.
        """
        there = _kept.setdefault(self.data, {})
        if name not in there:
            there[name] = make()
        return there[name]

    def count(self, split: str, key: str = "image") -> int:
        """Pictures of a split. UserError where there is no such split."""
        return self.data.count(split, key)

    def pictures(self, split: str, key: str = "image") -> Tensor:
        """(N, C, H, W) in [-1, 1]: every picture of a split as training prepares it, nothing drawn. Kept."""
        whole = self.data.whole(split, key)
        return self.kept(
            ("pictures", split, key), lambda: torch.stack([self.data.prepared(each[key], key) for each in whole])
        )

    def route(self, export: str | None = None) -> tuple[str, str | None, str]:
        """(weights file, domain that it reads, domain that it writes) of a generator; None is the first of the method,
        and of a sampler the domain that it reads. UserError where the run has no such file."""
        exports = build.exports(self.recipe)
        export = next(iter(exports)) if export is None else export
        if export not in exports:
            raise UserError(
                f"export '{export}' is no generator of {self.recipe.method.name}, which has {', '.join(exports)}."
                f"{nearest(export, exports)}"
            )
        return export, *METHODS.get(self.recipe.method.name).maps[exports[export]]

    def fakes(
        self, split: str, export: str | None = None, count: int | None = None, seed: int = 0
    ) -> Iterator[np.ndarray]:
        """What users get from a generator, as levels (H, W, C) of its domain, one after the other.

        Args:
            split: of a translator: each of its pictures is translated, at its own size.
            export: which generator; None is the first.
            count: of a sampler: how many samples, from number 0 on.
            seed: of the samples.
        """
        export, source, _ = self.route(export)
        model, total = self.models[export], count if source is None else self.count(split, source)
        for index, pixels in enumerate(self._made(model, source, split, total, seed), start=1):
            self.progress(index, total)
            yield pixels

    def reals(self, split: str, export: str | None = None) -> Iterator[np.ndarray]:
        """What `fakes` are compared with, as levels (H, W, C): the split's pictures of the domain that a generator
        writes. Of a translator whole, of a sampler as training prepares them, which is the size that it makes."""
        _, source, target = self.route(export)
        for whole in self.data.whole(split, target):
            pixels = whole[target]
            if source is None:
                pixels = self.data.domains[target].to_pixels(self.data.prepared(pixels, target))
            yield pixels

    def _made(
        self, model: Translator | Sampler, source: str | None, split: str, total: int, seed: int
    ) -> Iterator[np.ndarray]:
        if source is not None:
            yield from (model.pixels(whole[source]) for whole in self.data.whole(split, source))
            return
        for start in range(0, total, AT_ONCE):
            yield from model.pixels(min(AT_ONCE, total - start), start=start, seed=seed)

    def fingerprints(self) -> dict[str, str]:
        """{export: sha256 of its tensors}: which weights were scored."""
        return {name: fingerprint(tensors) for name, (tensors, _) in self.files.items()}


def of_run(
    path: Path,
    recipe: Recipe,
    data,
    which: str,
    device: torch.device,
    say: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Subject | None:
    """The subject of a run folder; None where it has no such weights.

    Args:
        which: "last", or "best", the step of the run that scored best while it trained.
    """
    folder = path / BEST if which == "best" else path
    files = {}
    for export in build.exports(recipe):
        file = folder / f"{export}.safetensors"
        if not file.is_file():
            return None
        files[export] = read_tensors(file)
    steps = {meta["step"] for _, meta in files.values()}
    if len(steps) > 1:
        raise UserError(f"{folder} holds weights of the steps {sorted(steps)}: a save was cut off. Continue the run.")
    (step,) = steps
    return Subject(recipe, data, files, lambda: _nets(path, recipe, step), path, which, device, say, progress)


def _nets(path: Path, recipe: Recipe, step: int) -> dict[str, nn.Module]:
    """Every network of the method, from the checkpoint of that step."""
    file = checkpoint_of(path, step)
    if not file.is_file():
        raise UserError(f"{path} has no checkpoint of step {step:,} any more, which holds its discriminator.")
    tensors, _ = read_tensors(file)
    states: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("nets."):
            _, name, inner = key.split(".", 2)
            states.setdefault(name, {})[inner] = value
    return twins(recipe, states)


def twins(recipe: Recipe, states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, nn.Module]:
    """The networks of a recipe, on the CPU and in evaluation mode, with copies of these states."""
    nets = {}
    with torch.random.fork_rng([]):  # their first weights, which are drawn, are of no interest
        for name, net in build.networks(recipe).items():
            net.load_state_dict(states[name])
            nets[name] = net.eval().requires_grad_(False)
    return nets
