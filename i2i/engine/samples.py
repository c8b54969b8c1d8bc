"""What a run shows and gives away: sample grids drawn by the users' own translator, and the weights files."""

from pathlib import Path

import torch

from i2i.errors import UserError
from i2i.infer.grid import grid
from i2i.infer.network import build_network
from i2i.infer.translator import Translator
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


def draw(path: Path, method, files: dict, pictures: dict, device: torch.device) -> None:
    """A sample grid: the method's columns, each output made by the translator that users get."""
    translators = {
        name: Translator(build_network(meta, tensors), meta, device) for name, (tensors, meta) in files.items()
    }

    def translate(translator: Translator):
        return lambda pixels: translator.pixels(pixels, size=translator.preview_size(pixels))

    grid(method.preview({name: translate(t) for name, t in translators.items()}, pictures), path)
