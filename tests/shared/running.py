"""Starting the real command line in processes of its own, and comparing what runs leave behind."""

import atexit
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from idxfiles import lay_idx

from i2i import cli
from i2i.infer.weights import read_tensors

KILLED = Path(__file__).parent.parent / "smoke" / "killed.py"
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONUNBUFFERED": "1"}

LABELLED = lay_idx(Path(tempfile.mkdtemp(prefix="labelled of a test ")))  # points have no labels
atexit.register(shutil.rmtree, LABELLED, ignore_errors=True)
CLASSED = [
    "train.batch_size=4", "method.num_critic=2",
    f"data={{kind: labelled, path: '{LABELLED}', load_size: null, crop_size: 8, flip: true, workers: 0}}",
    "augment.policy=[translation]", "evaluate={}",
]  # fmt: skip

# small, and with everything in play that could be forgotten: dropout, DiffAugment, the pool, EMA, decay, several critic steps
ARGUMENTS = {
    "pix2pix": [
        "pix2pix_facades", "generator={name: unet, num_downs: 4, width: 4}", "discriminator={name: patchgan, num_layers: 1, width: 4}",
        "data={kind: synthetic, pairing: paired, size: 40, count: 5, load_size: 36, crop_size: 32, workers: 0}",
        "augment.policy=[color, translation, cutout]", "train.batch_size=2",
    ],
    "cyclegan": [
        "cyclegan_horse2zebra", "generator={name: resnet, num_blocks: 1, width: 4}", "discriminator={name: patchgan, num_layers: 1, width: 4}",
        "data={kind: synthetic, pairing: unpaired, size: 40, count: 5, load_size: 36, crop_size: 32, workers: 0}",
        "method.pool_size=4", "method.num_critic=2",
    ],
    "gan": [
        "gan_mnist", "generator={name: mlp, num_layers: 1, width: 8, output: linear}",
        "discriminator={name: maxout, num_layers: 1, width: 8}", "method.num_critic=2", "train.batch_size=4",
        "data={kind: points, distribution: ring2d, count: 30, load_size: null, crop_size: 1, flip: false, workers: 0}",
        "evaluate={protocol: modes, every: 4, samples: 40, seed: 0}",
    ],
    "cgan": [
        "cgan_projection_mnist", "generator={name: dcgan, condition: norm, width: 4, norm: batch, spectral_norm: true}",
        "discriminator={name: resnet_gan, condition: projection, width: 4, norm: none, spectral_norm: true}", *CLASSED,
    ],
    "acgan": [
        "acgan_mnist", "generator={name: mlp, num_layers: 1, width: 8, norm: batch}",
        "discriminator={name: mlp, num_layers: 1, width: 8, dropout: 0.2}", *CLASSED,
    ],
    "ssgan": [
        "ssgan_mnist", "generator={name: mlp, num_layers: 1, width: 8, norm: batch, activation: softplus}", *CLASSED, "data.labels=10", "evaluate={protocol: labelling, every: 4}",
        "discriminator={name: mlp, num_layers: 2, width: [8, 6], noise_input: 0.3, noise: 0.5, weight_norm: 1.3, init: normal_0.1}",
    ],
    "vae": [
        "vae_mnist", "generator={name: mlp, num_layers: 1, width: 16, output: linear}", "encoder={name: mlp, num_layers: 1, width: 8}",
        "method.likelihood=gaussian", "method.latent=60", "train.batch_size=4", "evaluate={}",
        "data={kind: points, distribution: ring2d, count: 30, load_size: null, crop_size: 1, flip: false, workers: 0}",
    ],
}  # fmt: skip
LENGTH = [
    "train.steps=12",
    "train.decay_from=5",
    "train.ema=0.9",
    "train.save_every=4",
    "train.sample_every=6",
    "train.log_every=3",
    "train.warmup=2",
]


def command(name: str, run: Path, *more: str) -> list[str]:
    return ["train", *ARGUMENTS[name], *LENGTH, f"--run={run}", "--device=cpu", *more]


def i2i(
    *arguments, at: str = "never:0", expect: int | None = 0, cwd=None, env=None, timeout: float = 240
) -> subprocess.CompletedProcess:
    """Runs `i2i ARGUMENTS`, killed at a moment of killed.py; checks the exit status and that no traceback was shown."""
    program = ["-m", "i2i"] if at == "never:0" else [str(KILLED), at]
    done = subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**ENV, **(env or {})},
        timeout=timeout,
    )
    shown = done.stdout + done.stderr
    if expect is not None:
        assert done.returncode == expect, f"exit status {done.returncode}, not {expect}:\n{shown[-3000:]}"
    assert "Traceback" not in shown, shown[-3000:]
    return done


def in_process(*arguments) -> tuple[int, str]:
    """(exit status, all output) of the command line in this process: `main` is what the console script calls."""
    shown, before = io.StringIO(), sys.argv
    sys.argv = ["i2i", *map(str, arguments)]
    try:
        with redirect_stdout(shown), redirect_stderr(shown):
            cli.main()
        status = 0
    except SystemExit as stop:
        status = stop.code
        if isinstance(status, str):  # as the interpreter does with sys.exit("words")
            shown.write(status + "\n")
            status = 1
    finally:
        sys.argv = before
    return status or 0, shown.getvalue()


def train(
    name: str, run: Path, *more: str, at: str = "never:0", expect: int | None = None, **options
) -> subprocess.CompletedProcess:
    return i2i(
        *command(name, run, *more),
        at=at,
        expect=(0 if at == "never:0" else -9) if expect is None else expect,
        **options,
    )


def assert_same_end(run: Path, straight: Path) -> None:
    """Both runs ended with the same bits: every tensor of the last checkpoint and of the weights, and the same log."""
    files = sorted(path.relative_to(straight) for path in straight.rglob("*.safetensors"))
    assert Path("checkpoints/00000012.safetensors") in files
    assert sorted(path.relative_to(run) for path in run.rglob("*.safetensors")) == files
    for file in files:
        (ours, _), (theirs, _) = read_tensors(run / file), read_tensors(straight / file)
        assert ours.keys() == theirs.keys()
        different = [key for key in ours if not ours[key].equal(theirs[key])]
        assert not different, f"{file}: {different[:5]}"
    assert log_of(run) == log_of(straight)
    scores = [folder / "evaluations.jsonl" for folder in (run, straight)]
    assert scores[0].exists() == scores[1].exists()
    if scores[1].exists():
        assert scores[0].read_text() == scores[1].read_text()
    for grid in sorted(path.name for path in (straight / "samples").iterdir()):
        assert (run / "samples" / grid).read_bytes() == (straight / "samples" / grid).read_bytes(), grid
    assert not list(run.rglob("*.i2i-part"))


def log_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "images/s"} for line in lines]
