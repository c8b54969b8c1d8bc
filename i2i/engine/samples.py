"""What a run shows and gives away: sample grids drawn by the users' own translator, and the weights files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from i2i.data.domain import Domain
from i2i.errors import UserError
from i2i.infer.grid import grid
from i2i.infer.models import models_of
from i2i.infer.sampler import Sampler
from i2i.infer.scatter import scatter
from i2i.infer.weights import read_meta, write_tensors


def exported(method, ema, metas: dict[str, dict]) -> dict[str, tuple[dict[str, torch.Tensor], dict]]:
    """{export: (tensors, meta)} as weights files hold them: of the EMA where there is one, spectral norm baked in."""
    files = {}
    for name, net_name in method.exports.items():
        net = ema.nets[net_name] if ema is not None else method.nets[net_name]
        files[name] = ({key: value.detach().to("cpu") for key, value in baked(net).items()}, metas[name])
    return files


def baked(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state of a network as inference sees it: each parametrized weight as its value, its helpers left out."""
    training = net.training
    net.eval()  # in training mode reading a spectrally normed weight would move its power iteration
    state = {}
    for prefix, module in net.named_modules():
        start = f"{prefix}." if prefix else ""
        if torch.nn.utils.parametrize.is_parametrized(module):
            state |= {f"{start}{name}": getattr(module, name) for name in module.parametrizations}
    helpers = "parametrizations."
    state |= {key: value for key, value in net.state_dict().items() if helpers not in key}
    net.train(training)
    return state


def write_weights(run: Path, files: dict) -> None:
    """`<export>.safetensors` for users, each whole or not at all."""
    for name, (tensors, meta) in files.items():
        write_tensors(run / f"{name}.safetensors", tensors, meta)


def weights_are_of(run: Path, method, step: int) -> bool:
    """Whether every weights file of the run is there, is one, and was written at `step`."""
    try:
        return all(read_meta(run / f"{name}.safetensors").get("step") == step for name in method.exports)
    except UserError:
        return False


class Seen(NamedTuple):
    """A picture on its way to a grid: its levels (H, W, C), and the domain that says what they mean."""

    pixels: np.ndarray
    domain: Domain


def sheet(columns: Mapping[str, Sequence[Seen]], path: Path) -> None:
    """A sample grid of pictures of any depth and channels; a title says so where not all channels are shown.

    Points, which are pictures of one pixel, are drawn as points.
    """
    if all(one.pixels.shape[:2] == (1, 1) for seen in columns.values() for one in seen):
        scatter({title: np.stack([one.pixels[0, 0] for one in seen]) for title, seen in columns.items()},
                next(seen[0].domain.range for seen in columns.values()), path)  # fmt: skip
        return
    titled = {f"{title}{_part(seen[0].domain) if seen else ''}": seen for title, seen in columns.items()}
    grid({title: [domain.shown(pixels) for pixels, domain in seen] for title, seen in titled.items()}, path)


def _part(domain: Domain) -> str:
    """What `Domain.shown` leaves out, in words; nothing where it leaves nothing out."""
    return {1: "", 2: " (channel 1 of 2)", 3: ""}.get(domain.channels, f" (channels 1 to 3 of {domain.channels})")


def draw(
    path: Path, method, files: dict, pictures: dict, domains: Mapping[str, Domain], device: torch.device
) -> dict[str, list]:
    """A sample grid: the method's columns, each output made by the translator or sampler that users get.

    Args:
        files: as `exported` gives them.
        pictures: {key: pictures (H, W, C) with the channels and depth of the key's domain}.
        domains: {key: its domain}.

    Returns:
        {export: [(pixels that its translator was given, pixels that it made)]}, in the order of the calls; a sampler
        is given nothing, None.
    """
    models = models_of(files, device)
    made = {name: [] for name in models}

    def translate(name: str):
        def apply(seen: Seen) -> Seen:
            translator = models[name]
            output = translator.pixels(seen.pixels, size=translator.preview_size(seen.pixels))
            made[name].append((seen.pixels, output))
            return Seen(output, translator.output)

        return apply

    def sample(name: str):
        def apply(count: int) -> list[Seen]:
            drawn = models[name].pixels(count)
            made[name] += [(None, pixels) for pixels in drawn]
            return [Seen(pixels, models[name].output) for pixels in drawn]

        return apply

    called = {name: (sample if isinstance(model, Sampler) else translate)(name) for name, model in models.items()}
    given = {key: [Seen(pixels, domains[key]) for pixels in pictures[key]] for key in pictures}
    sheet(method.preview(called, given), path)
    return made
