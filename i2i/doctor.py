"""`i2i doctor`: what this machine offers, and what is missing or wrong, each with its remedy.

Everything is tried, not looked up: libraries are imported, a picture goes through each format, a file is written.
"""

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from i2i import __version__, atomic
from i2i.errors import UserError
from i2i.places import cache_folder

# distribution -> the module that is imported; those of setup.py whose absence or damage stops something
NEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "kornia": "kornia",
    "albumentations": "albumentations",
    "timm": "timm",
    "opencv-python": "cv2",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "torchmetrics": "torchmetrics",
    "numpy": "numpy",
    "pydantic": "pydantic",
    "Pillow": "PIL",
    "tifffile": "tifffile",
    "imagecodecs": "imagecodecs",
    "tensorboard": "tensorboard",
}
EXTRAS = {  # distribution -> (module, what it is for, how it is had)
    "rasterio": (
        "rasterio",
        "the place of a TIFF that stands in a file beside it (.tfw, .aux.xml)",
        'pip install "i2i[geo]"',
    ),
}
LITTLE_DISK = 5e9  # bytes: a run at full size keeps a few checkpoints of half a gigabyte
LITTLE_SHARED = 1e9  # bytes of /dev/shm, through which data workers hand over their batches


class Finding(NamedTuple):
    """One thing that was looked at. `bad` is what stops something; a remedy without it is advice."""

    topic: str
    text: str
    remedy: str = ""
    bad: bool = False

    def __str__(self) -> str:
        mark = "FAIL" if self.bad else "note" if self.remedy else "ok"
        return f"{mark:<4}  {self.topic:<14}  {self.text}" + (f"\n{'':<22}-> {self.remedy}" if self.remedy else "")


def doctor() -> Iterator[Finding]:
    """Looks at everything; gives each finding as soon as it is there."""
    yield Finding("i2i", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield from _libraries()
    yield from _opencv()
    yield from _devices()
    yield from _formats()
    yield from _disk(Path.cwd())
    yield _cache(cache_folder())
    yield from _workers()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _libraries() -> Iterator[Finding]:
    for name, module in NEEDED.items():
        yield _library(name, module, 'pip install --upgrade "' + name + '"')
    for name, (module, purpose, remedy) in EXTRAS.items():
        if _version(name) is None:
            yield Finding(name, f"not installed; it is only needed for {purpose}", remedy)
        else:
            yield _library(name, module, remedy)


def _library(name: str, module: str, remedy: str) -> Finding:
    version = _version(name)
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken wheel raises whatever it likes
        state = f"{version} is installed and cannot be imported" if version else "is not installed"
        return Finding(name, f"{state} ({_line(error)})", remedy, bad=True)
    return Finding(name, version or "present")


def _opencv() -> Iterator[Finding]:
    """Two distributions write into the same folder `cv2`: the one that was installed last wins, file by file."""
    versions = {name: version for name in ("opencv-python", "opencv-python-headless") if (version := _version(name))}
    if len(set(versions.values())) > 1:
        shown = " and ".join(f"{name} {version}" for name, version in versions.items())
        newest = max(
            versions.values(), key=lambda version: [int(part) for part in version.split(".") if part.isdigit()]
        )
        remedy = f"pip install opencv-python=={newest} opencv-python-headless=={newest}"
        yield Finding("cv2", f"{shown} overwrite each other's files", remedy, bad=True)


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except Exception:
        return  # told above
    cores = os.cpu_count() or 1
    yield Finding("cpu", f"{cores} cores, {torch.get_num_threads()} threads for PyTorch{_memory()}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            yield Finding(f"cuda:{index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {bf16}")
            yield _computes(f"cuda:{index}")
    elif torch.version.cuda and shutil.which("nvidia-smi"):
        remedy = "look at `nvidia-smi`: the driver may be older than this PyTorch needs"
        yield Finding("cuda", "there is an NVIDIA driver, but PyTorch finds no card", remedy)
    if torch.backends.mps.is_available():
        yield _computes("mps")
    yield _computes("cpu")


def _computes(device: str) -> Finding:
    import torch

    try:
        x = torch.linspace(-1, 1, 48, device=device).reshape(1, 3, 4, 4).requires_grad_()
        torch.nn.functional.conv2d(x, torch.ones(2, 3, 3, 3, device=device)).sum().backward()
        fine = bool(torch.isfinite(x.grad).all())
    except Exception as error:
        return Finding(device, f"a convolution fails ({_line(error)})", "i2i ... --device cpu", bad=True)
    return Finding(device, "computes") if fine else Finding(device, "computes wrongly", "--device cpu", bad=True)


def _memory() -> str:
    try:
        return f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    except (ValueError, OSError, AttributeError):
        return ""


def _formats() -> Iterator[Finding]:
    """Each format that is written is written and read back; those that are only read are decoded from bytes."""
    try:
        from i2i.data import pictures

        levels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        for form in dict.fromkeys(pictures.WRITTEN.values()):
            back = pictures.decode(pictures.encode(levels, form=form), f"a {form}").pixels
            yield _same(form, np.array_equal(back, levels), "written and read")
        for form, data in _encoded(levels).items():
            back = pictures.decode(data, f"a {form}").pixels.astype(int)
            yield _same(form, back.shape == levels.shape and np.abs(back - levels).max() < 64, "read")
    except (UserError, ImportError, AttributeError) as error:
        yield Finding(
            "formats", _line(error), "pip install --upgrade opencv-python Pillow tifffile imagecodecs", bad=True
        )


def _encoded(levels: np.ndarray) -> dict[str, bytes]:
    """The formats that are read and never written."""
    import io

    from PIL import Image

    found = {}
    for form in ("JPEG", "WebP", "BMP"):
        file = io.BytesIO()
        Image.fromarray(levels).save(file, form)
        found[form] = file.getvalue()
    return found


def _same(form: str, fine: bool, words: str) -> Finding:
    remedy = "" if fine else "pip install --upgrade opencv-python Pillow tifffile imagecodecs"
    return Finding(form, words if fine else "comes back altered", remedy, bad=not fine)


def _disk(place: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(place).free
    remedy = "" if free > LITTLE_DISK else "choose another place for runs: i2i train ... --run DIR"
    yield Finding("disk", f"{free / 1e9:.1f} GB free in {place}", remedy)
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".i2i-doctor-") as folder:
            atomic.write_bytes(Path(folder) / "file", b"whole")
    except OSError as error:
        remedy = "start i2i in a folder of yours, or choose one: --run DIR, --out DIR"
        yield Finding("disk", f"{place} cannot be written to ({error.strerror})", remedy, bad=True)


def _cache(place: Path) -> Finding:
    """What is kept of earlier runs, apart from the decoded pictures that lie beside their data."""
    taken = sum(file.stat().st_blocks * 512 for file in place.rglob("*") if file.is_file()) if place.is_dir() else 0
    text = f"{taken / 1e9:.1f} GB in {place} (and in .i2i-cache beside training data)"
    return Finding("cache", f"{text}; both can be removed at any time, and I2I_CACHE names another place")


def _workers() -> Iterator[Finding]:
    shared = Path("/dev/shm")
    if sys.platform == "linux" and shared.is_dir():
        size = shutil.disk_usage(shared).total
        if size < LITTLE_SHARED:
            remedy = "in a container: docker run --shm-size=2g (or --ipc=host); else data.workers=0"
            yield Finding("workers", f"/dev/shm holds {size / 2**20:.0f} MiB, little for data workers", remedy)
    if shutil.which("g++") is None and shutil.which("clang++") is None and shutil.which("cl") is None:
        yield Finding(
            "compiler", "none found: train.compile=true needs one", "apt install g++, or leave train.compile off"
        )


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
