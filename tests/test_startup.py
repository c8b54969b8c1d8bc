"""What each start imports: a library that is not used costs its user seconds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running import ARGUMENTS, command

from i2i.data import pictures
from i2i.infer.weights import write_tensors
from i2i.nets import GENERATORS

ROOT = Path(__file__).parent.parent
HEAVY = {
    "accelerate", "albumentations", "imagecodecs", "kornia", "matplotlib", "pandas", "rasterio", "safetensors", "scipy",
    "sklearn", "sympy", "tensorboard", "tifffile", "timm", "torch_fidelity", "torchmetrics", "torchvision", "transformers",
}  # fmt: skip
FIRST = {"torch", "cv2", "numpy", "PIL", "pydantic", "yaml"}  # needed to do something, not to say what can be done
COMPILER = "torch._dynamo"
SHOW = f"""import sys
names = {{name.partition('.')[0] for name in sys.modules}} | {{'{COMPILER}'}} & sys.modules.keys()
print(*sorted(names), file=open('modules', 'w'))"""
RUN = "import sys; sys.argv[0] = 'i2i'\ntry:\n    from i2i.cli import main\n    main()\nexcept SystemExit: pass\n"


def imported(tmp_path: Path, code: str, *arguments: str) -> set[str]:
    """The top-level modules that a new process holds after `code`, and torch's compiler."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\n{SHOW}"
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set((tmp_path / "modules").read_text().split())


def test_the_package_and_its_help_import_next_to_nothing(tmp_path):
    assert imported(tmp_path, "import i2i") & (HEAVY | FIRST | {"typer", "rich"}) == set()
    assert imported(tmp_path, RUN, "--help") & (HEAVY | FIRST) == set()
    by_typer = {"pydantic"}  # which it takes for a command's options
    assert imported(tmp_path, RUN, "translate", "--help") & (HEAVY | FIRST) <= by_typer


@pytest.mark.parametrize("kind", ["unet", "resnet"])
def test_translating_a_png_imports_what_computes_and_what_reads(tmp_path, kind):
    args = {"width": 2, "num_downs": 2, "dropout": True} if kind == "unet" else {"width": 2, "num_blocks": 1}
    net = GENERATORS.build(kind, 3, 3, **args)
    domain = {"channels": 3, "range": [0, 255], "depth": 8}
    meta = {
        "kind": "generator", "direction": "ab", "input": domain, "output": domain, "multiple": net.multiple,
        "minimum": net.minimum, "translate": {"norm": "batch", "dropout": kind == "unet", "seed": 0},
        "net": {"name": kind, "args": args, "in_channels": 3, "out_channels": 3},
    }  # fmt: skip
    write_tensors(tmp_path / "w.safetensors", net.state_dict(), meta)
    pictures.write(tmp_path / "a.png", np.zeros((16, 16, 3), np.uint8))
    # what torch imports by itself differs between its versions
    alone = imported(tmp_path, "import torch")
    found = imported(tmp_path, RUN, "translate", "a.png", "--model", "w.safetensors", "--out", "out", "--device", "cpu")
    assert (tmp_path / "out" / "a.png").is_file() and "torch" in found
    assert found & HEAVY <= alone


def test_training_code_imports_neither_augmentation_nor_onlookers(tmp_path):
    alone = imported(tmp_path, "import torch")
    found = imported(tmp_path, "import i2i.engine.train")
    unused = HEAVY - {"accelerate", "safetensors"}
    assert found & unused <= alone, sorted(found & unused - alone)


@pytest.mark.parametrize("method", sorted(ARGUMENTS.keys() - {"cgan", "ssgan"}))
def test_training_does_not_import_torchs_compiler(tmp_path, method):
    """Seconds before the first step, and 190 MB for as long as it runs.

    Not so where weights are normalised, as those two have it: torch takes its compiler to draw the first vectors of a
    network that is laid out on paper.
    """
    other = ["optimizer.G={name: rmsprop}", "optimizer.D={name: sgd}"] if method == "gan" else []
    short = ["train.tracker=null", "train.steps=4", "train.decay_from=2"]
    found = imported(tmp_path, RUN, *command(method, Path("run"), *short, *other))
    assert list((tmp_path / "run").glob("*.safetensors"))
    assert COMPILER not in found
