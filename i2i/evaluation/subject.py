"""What is evaluated: the models of one step of one run, and the data that it was trained on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from i2i import build
from i2i.config import Recipe
from i2i.errors import UserError
from i2i.infer.models import models_of
from i2i.infer.runs import BEST, checkpoint_of
from i2i.infer.sampler import Sampler
from i2i.infer.translator import Translator
from i2i.infer.weights import fingerprint, read_tensors

Files = Mapping[str, tuple[Mapping[str, Tensor], Mapping[str, Any]]]  # export -> (tensors, metadata)


@dataclass
class Subject:
    """One step of one run.

    Args:
        recipe: as it was run.
        data: its data set.
        files: the weights for users, as the files hold them.
        nets: gives every network of the method by name, in evaluation mode; called when a protocol asks for one.
        run: the run folder, where a protocol may leave a picture.
        which: "last" or "best".
        device: where to compute.
        say: takes each line for the user.
    """

    recipe: Recipe
    data: Any
    files: Files
    nets: Callable[[], Mapping[str, nn.Module]]
    run: Path
    which: str = "last"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    say: Callable[[str], None] = print

    def __post_init__(self):
        self.models: dict[str, Translator | Sampler] = models_of(self.files, self.device)

    @property
    def step(self) -> int:
        return next(meta["step"] for _, meta in self.files.values())

    @property
    def sampler(self) -> Sampler:
        """The one model of a run that makes pictures of noise."""
        return next(model for model in self.models.values() if isinstance(model, Sampler))

    def fingerprints(self) -> dict[str, str]:
        """{export: sha256 of its tensors}: which weights were scored."""
        return {name: fingerprint(tensors) for name, (tensors, _) in self.files.items()}


def of_run(
    path: Path, recipe: Recipe, data, which: str, device: torch.device, say: Callable[[str], None]
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
    return Subject(recipe, data, files, lambda: _nets(path, recipe, step), path, which, device, say)


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
