"""benchmarks/scaling.py: what its tables are made of, and a tiny run of it in one and two real processes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from running import ENV

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import scaling  # noqa: E402 - a script, not a package

TINY = [
    "pix2pix_synthetic", "generator={name: unet, num_downs: 4, width: 2}",
    "discriminator={name: patchgan, num_layers: 1, width: 2}", "data.crop_size=32", "data.load_size=32",
]  # fmt: skip


def run(*arguments):
    command = [sys.executable, ROOT / "benchmarks/scaling.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENV, timeout=280)


@pytest.mark.slow
def test_one_process_and_two(tmp_path):
    done = run(
        *TINY, "--device=cpu", "--processes", 1, 2, "--batch=2", "--steps=2", "--warm-up=1", "--rounds=1", "--allowed=1e9",
        "--threads=1", f"--results={tmp_path / 'kept'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.match(r"pix2pix_synthetic generator=.*: 32 px, fp32; \d{4}-\d\d-\d\d; .* cores, 1 threads", done.stdout)
    assert "; gloo; torch " in done.stdout
    rows = [line for line in done.stdout.splitlines() if re.match(r"\| \d", line)]
    assert [re.match(r"\| (\d) \| (.*?) \|", row).groups() for row in rows] == [
        ("1", "2 (2 each)"), ("2", "4 (2 each)"), ("1", "4 (4 each)"), ("2", "4 (2 each)"),
    ]  # fmt: skip
    (file,) = (tmp_path / "kept").iterdir()
    kept = json.loads(file.read_text())
    assert [(sample["processes"], sample["pictures"]) for sample in kept["samples"]] == [(1, 4), (2, 8), (1, 8)]
    assert all(sample["seconds"] > 0 and sample["cpu"] > 0 for sample in kept["samples"])


@pytest.mark.slow
def test_a_process_that_fails_is_heard():
    done = run(*TINY, "data.crop_size=20", "--device=cpu", "--processes", 1)
    assert done.returncode == 1 and "20 does not fit 'unet'" in done.stderr
    assert "a launch of 1 ended with exit status 1" in done.stderr


def column(processes, batch, seconds, others=()):
    """A column of `seconds`, one a round; `others`: rounds in which other programs had half of the cores."""
    made = scaling.Column(processes, batch)
    for turn, each in enumerate(seconds):
        found = {"cpu": 0.0, "machine": 0.5 * each * scaling.os.cpu_count() * (turn in others), "seconds": each}
        made.add(turn, {**found, "pictures": 10 * batch}, 0.05)
    return made


def test_efficiency_is_of_the_rounds_of_which_both_count():
    alone, two = column(1, 4, [1.0, 1.0, 2.0, 1.0]), column(2, 8, [1.25, 1.6, 2.0, 1.0], others=[3])
    assert two.rates == {0: 64.0, 1: 50.0, 2: 40.0} and two.left_out == 1
    assert scaling.efficiency(two, alone) == [0.8, 0.625, 1.0]
    rows = scaling.table([alone, two]).splitlines()
    assert rows[2] == "| 1 | 4 (4 each) | 40.0 (20.0 to 40.0) | 1 | 4 + 0 |"
    assert rows[3] == "| 2 | 8 (4 each) | 50.0 (40.0 to 64.0) | 0.80 (0.62 to 1.00) | 3 + 1 |"
    assert "no sample counts" in scaling.table([column(1, 4, [1.0], others=[0])])


def test_what_both_tables_have_is_measured_once():
    asked = scaling.parsed(
        ["pix2pix_facades", "train.precision=bf16", "--device=cuda", "--batch=4", "--processes", "4", "1", "2"]
    )
    weak, strong = scaling.columns_of(asked)
    assert [(one.processes, one.batch) for one in weak] == [(1, 4), (2, 8), (4, 16)]
    assert [(one.processes, one.batch) for one in strong] == [(1, 16), (2, 16), (4, 16)]
    assert weak[2] is strong[2] and asked.overrides == ["train.precision=bf16"]


def test_a_batch_that_cannot_be_divided_is_refused(capsys):
    with pytest.raises(SystemExit):
        scaling.parsed(["pix2pix_facades", "--device=cpu", "--processes", "1", "2", "3", "--whole=4"])
    assert "--whole 4 cannot be divided among 3 processes. Give a multiple of each number." in capsys.readouterr().err
