"""The README and the tutorials, run as written: every `i2i` command and every piece of Python, in order, on small pictures.

A training command is shrunk by appending overrides; nothing else is changed. What needs a network or another machine is
named in NOT_RUN, and nothing else is passed over.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from idxfiles import lay_idx
from running import ENV, in_process

from i2i.data import pictures
from i2i.data.synthetic import draw, write_folder
from i2i.evaluation.classifier import Classifier

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
NOT_RUN = (
    "make",
    "pip",
    "tensorboard",
    "torchrun",
    "accelerate",
    "i2i data download",
    "i2i --install-completion",
    "cd",
)
SHRUNK = [
    "train.steps=2", "train.log_every=1", "generator.width=4", "discriminator.width=4", "data.workers=0", "--device=cpu",
]  # fmt: skip
MNIST = ["data.val=9", "evaluate.samples=20"]
SIZE = 64


def readme(here: Path) -> None:
    write_folder(here / "my/facades/train", 4, size=256)
    for side, half in (("A", "labels"), ("B", "photo")):
        write_folder(here / f"my/horse2zebra/train{side}", 2, size=256, half=half)
    write_folder(here / "some_folder", 2, size=64, half="labels")
    write_folder(here / "my/pictures/train", 6, size=SIZE)
    (here / "labels.png").write_bytes((here / "some_folder/00000.png").read_bytes())
    lay_idx(here / "my/mnist", train=40, test=10, size=(28, 28))
    (here / "mine.yaml").write_bytes((ROOT / "recipes/pix2pix_facades.yaml").read_bytes())


def own_pairs(here: Path) -> None:
    write_folder(here / "my/pairs/drawings", 12, size=SIZE, half="labels")
    write_folder(here / "my/pairs/photos", 12, size=SIZE, half="photo")


def two_folders(here: Path) -> None:
    write_folder(here / "my/two/summer", 7, size=SIZE, half="photo")
    write_folder(here / "my/two/winter/train", 5, "val", size=SIZE, half="photo")
    for number, path in enumerate(sorted((here / "my/two/winter/train").iterdir())):
        path.rename(here / f"my/two/winter/w{number}.png")
    (here / "my/two/winter/train").rmdir()


def few_pictures(here: Path) -> None:
    write_folder(here / "my/few/train", 8, size=SIZE)
    write_folder(here / "my/photos", 8, size=SIZE, half="photo")


def deep_pictures(here: Path) -> None:
    dice = np.random.RandomState(0)
    for number in range(6):
        labels, photo = draw(number, SIZE)
        floats = np.dstack([labels.astype(np.float32), photo[:, :, :1]]) * np.float32(0.001) * dice.uniform(0.9, 1.1)
        for side, pixels in (
            ("inputs", floats.astype(np.float32)),
            ("targets", photo[:, :, :1].astype(np.uint16) * 200),
        ):
            (here / "my/scans" / side).mkdir(parents=True, exist_ok=True)
            pictures.write(here / "my/scans" / side / f"{number}.tif", pixels)


SETUP = {
    "README.md": readme,
    "own-pairs.md": own_pairs,
    "two-folders.md": two_folders,
    "few-pictures.md": few_pictures,
    "deep-pictures.md": deep_pictures,
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of every fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), flags=re.M | re.S)


def test_every_page_is_run():
    assert {page.name for page in PAGES} == set(SETUP)
    for page in PAGES:
        assert any(language == "bash" for language, _ in blocks(page)), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_do_what_they_say(page, tmp_path, monkeypatch):
    SETUP[page.name](tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "fits"))
    fit = Classifier.fit  # of a score, on the spot: shrunk as training is
    monkeypatch.setattr(Classifier, "fit", lambda *args, **options: fit(*args, **{**options, "steps": 2}))
    ran = 0
    for language, text in blocks(page):
        if language == "python":
            subprocess.run([sys.executable, "-c", shrunk_python(text)], check=True, env=ENV, timeout=300)
            ran += 1
        if language != "bash":
            continue
        for line in text.splitlines():
            line = line.partition("  #")[0].strip()
            if not line or line.startswith(NOT_RUN):
                continue
            words = shlex.split(line, comments=True)
            assert words[0] == "i2i", f"{page.name}: '{line}' is neither run nor named as not run"
            train = words[1] == "train"
            status, shown = in_process(
                *words[1:], *(SHRUNK if train else []), *(MNIST if train and "mnist" in line else [])
            )
            # `data check` finds something to say about made-up pictures now and then, and then says so by its status
            assert status == 0 or words[1:3] == ["data", "check"], f"{line}\n{shown[-3000:]}"
            assert "Traceback" not in shown
            ran += 1
    assert ran >= 3


def shrunk_python(text: str) -> str:
    overrides = ", ".join(repr(word) for word in SHRUNK if "=" in word and not word.startswith("--"))
    return re.sub(r"overrides=\[.*?\]", f"overrides=[{overrides}, 'data.path=my/facades']", text)


def test_links_between_pages_lead_somewhere():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
