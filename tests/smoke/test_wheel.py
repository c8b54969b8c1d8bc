"""The built wheel, in a fresh environment that sees the installed dependencies but not the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what git tracks (or from the tree, outside git): nothing lying about gets in."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = (
        listed.stdout.splitlines()
        if listed.returncode == 0
        else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file()]
    )
    for name in names:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        place,
        source,
    ]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(place.glob("i2i-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The python of a fresh environment with the wheel; dependencies through a .pth, the checkout nowhere."""
    place = tmp_path_factory.mktemp("fresh")
    venv.create(place, with_pip=False)
    site = Path(
        subprocess.run(
            [place / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "dependencies.pth").write_text(f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n")
    return place / "bin/python"


def call(python, *arguments, cwd):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "OMP_NUM_THREADS": "1",
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
    return subprocess.run(
        [python, "-m", "i2i", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_it_holds_recipes_and_cards_as_data_and_nothing_else_besides(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / "recipes").glob("*.yaml"):
        assert f"i2i/recipes/{path.name}" in names
    assert {"i2i/cards/facades.yaml", "i2i/cards/horse2zebra.yaml"} <= set(names)
    assert all(name.startswith(("i2i/", "i2i-")) for name in names)


def test_it_runs_from_there_and_not_from_the_checkout(installed, tmp_path):
    where = subprocess.run(
        [installed, "-c", "import i2i; print(i2i.__file__)"], cwd=tmp_path, capture_output=True, text=True
    )
    assert str(ROOT) not in where.stdout and "site-packages" in where.stdout, where.stderr


def test_recipes_by_name_train_and_translate(installed, tmp_path):
    small = [
        "generator.width=4",
        "discriminator.width=4",
        "train.steps=2",
        "train.decay_from=null",
        "data.count=4",
        "--device=cpu",
    ]
    done = call(installed, "train", "recipes/pix2pix_synthetic.yaml", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "in"
    made = subprocess.run(
        [
            installed,
            "-c",
            f"from i2i.data.synthetic import write_folder; write_folder({str(folder)!r}, 2, size=64, half='labels')",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    done = call(installed, "translate", "in", cwd=tmp_path)
    assert done.returncode == 0 and len(list((tmp_path / "runs/pix2pix_synthetic/translated/in").iterdir())) == 2, (
        done.stderr
    )
    done = call(installed, "train", "cyclegan_horse2zebra", cwd=tmp_path)
    assert done.returncode == 1 and "horse2zebra.zip" in done.stderr and "Traceback" not in done.stderr


def test_the_commands_of_the_readme_train_on_real_data(installed, tmp_path, real_data):
    small = [
        "generator.width=4",
        "discriminator.width=4",
        "train.steps=2",
        "train.decay_from=null",
        "data.workers=0",
        "--device=cpu",
    ]
    commands = {
        "cyclegan_horse2zebra": ["data.load_size=143", "data.crop_size=128", "generator.num_blocks=1"],
        "pix2pix_facades": [],
    }
    for name, more in commands.items():
        data = real_data(name.split("_")[1])
        done = call(installed, "train", f"recipes/{name}.yaml", f"data.path={data}", *small, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    script = "import i2i; i2i.load('runs/pix2pix_facades')('labels.png').save('photo.png')"
    picture = f"from i2i.data.pictures import read, write; write('labels.png', read({str(real_data('facades') / 'test/1.jpg')!r}).pixels[:, 256:])"
    done = subprocess.run([installed, "-c", f"{picture}\n{script}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "photo.png").stat().st_size > 10_000, done.stderr
