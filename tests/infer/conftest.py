"""Small trained-looking models for the tests of this folder."""

from pathlib import Path

import pytest
import torch

from i2i.infer.weights import write_tensors
from i2i.nets import GENERATORS

NETS = {
    "unet": {"num_downs": 3, "width": 4, "dropout": False},
    "noisy": {"num_downs": 6, "width": 2, "dropout": True},  # a U-Net deep enough to have dropout
    "resnet": {"num_blocks": 1, "width": 4},
}


def domain(channels: int = 3, depth: int = 8, top: int | None = None) -> dict:
    return {"channels": channels, "range": [0, top or 2**depth - 1], "depth": depth}


@pytest.fixture
def made():
    """`made("unet", ins=3, outs=3, depths=(8, 8), norm="batch", dropout=False, **meta)` is (network, its metadata).

    Weights are drawn from a fixed seed, wide enough that outputs have contrast; running statistics are not trivial.
    """

    def make(net: str = "unet", ins: int = 3, outs: int = 3, depths=(8, 8), norm="running", dropout=False, **changes):
        args = NETS[net] | {"norm": changes.pop("layers", "batch"), "init": "xavier_1.5"}
        kind = "resnet" if net == "resnet" else "unet"
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(7)
            network = GENERATORS.build(kind, ins, outs, **args)
            for key, buffer in network.named_buffers():
                if "running" in key:
                    buffer.uniform_(0.5, 1.5) if "var" in key else buffer.uniform_(-0.2, 0.2)
        meta = {
            "kind": "generator",
            "version": "0.1.0",
            "recipe": "small",
            "method": "pix2pix",
            "export": "generator",
            "direction": "ab",
            "step": 1000,
            "net": {"name": kind, "args": args, "in_channels": ins, "out_channels": outs},
            "input": domain(ins, depths[0]),
            "output": domain(outs, depths[1]),
            "side": "left",
            "load_size": 32,
            "crop_size": 32,
            "multiple": network.multiple,
            "minimum": network.minimum,
            "translate": {"norm": norm, "dropout": dropout, "seed": 0},
        }
        return network, meta | changes

    return make


@pytest.fixture
def run_folder(made, tmp_path):
    """`run_folder("name", "generator", ...)` is a run folder with such weights files; the rest goes to `made`."""

    def make(name: str, *exports: str, root: Path = tmp_path / "runs", **changes) -> Path:
        path = root / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "recipe.yaml").write_text("method: {name: pix2pix}\n")
        for export in exports or ("generator",):
            direction = {"generator_ab": "ab", "generator_ba": "ba"}.get(export, "ab")
            net, meta = made(**{"export": export, "direction": direction} | changes)
            write_tensors(path / f"{export}.safetensors", net.state_dict(), meta)
        return path

    return make
