"""What every test shares: one thread, where the real pictures are, and small recipes."""

import os
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes that tests start inherit it: same bits, no crowding

import pytest
import torch

torch.set_num_threads(1)

PARITY = Path(__file__).parent / "parity" / "data"


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--all"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA card"))


@pytest.fixture(scope="session")
def real_data():
    """`real_data("facades")` is the folder of that real set; the test is skipped, in words, where I2I_DATA is unset."""

    def folder(name: str) -> Path:
        root = os.environ.get("I2I_DATA")
        if not root:
            pytest.skip(f"needs real pictures: set I2I_DATA to a folder that holds {name}/")
        path = Path(root).absolute() / name
        if not path.is_dir():
            pytest.fail(f"I2I_DATA is {root}, which holds no {name}/")
        return path

    return folder


@pytest.fixture(scope="session")
def parity():
    """`parity("unet_256_batch")` is (tensors, metadata) of a recorded file of the reference implementation."""

    def read(name: str):
        from safetensors import safe_open

        with safe_open(PARITY / f"{name}.safetensors", "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118

    return read
