"""Kill it anywhere: continued, it ends with the same bits. Real processes, SIGKILL."""

import itertools
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from running import ENV, LENGTH, assert_same_end, command, i2i, log_of, train

from i2i.infer.weights import read_meta, read_tensors
from i2i.methods import METHODS

ALL = METHODS.names()
FAST = ["update:14", "checkpoint:2"]  # step 7 of pix2pix, step 5 of CycleGAN: the first checkpoint is there
MOMENTS = [*FAST, "update:3", "sample:2", "weights:2", "between:3", "rename:1", "log:2"]


def moment_of(name, moment):
    """A method with one update in a step comes to the same place after fewer."""
    place, _, number = moment.partition(":")
    alone = len(METHODS.get(name).groups) == 1
    return f"update:{-(-int(number) // 2)}" if alone and place == "update" else moment


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The run of a method that nothing disturbed, made once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("straight") / name
            train(name, made[name])
        return made[name]

    return of


@pytest.mark.parametrize("name", ALL)
def test_two_kills_in_one_run(name, straight, tmp_path):
    run = tmp_path / "run"
    for moment in FAST:
        train(name, run, at=moment_of(name, moment))
    done = train(name, run)
    assert "continuing" in done.stdout
    assert_same_end(run, straight(name))
    again = train(name, run)
    assert "is finished: 12 of 12 steps" in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("name", "moment"), list(itertools.product(ALL, MOMENTS)))
def test_one_kill_at_each_moment(name, moment, straight, tmp_path):
    run = tmp_path / "run"
    train(name, run, at=moment_of(name, moment))
    train(name, run)
    assert_same_end(run, straight(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_three_kills_chained_with_other_workers_each_time(name, straight, tmp_path):
    run = tmp_path / "run"
    train(name, run, "data.workers=1", at=moment_of(name, "update:11"))
    train(name, run, "data.workers=2", at="checkpoint:1")
    train(name, run, "data.workers=0", at=moment_of(name, "update:7"))
    train(name, run, "data.workers=1")
    assert_same_end(run, straight(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_thread_count_is_stored_and_used_again(name, tmp_path):
    """Sums are split over threads: a run of two threads that is continued with one in its environment takes two."""
    two, one = {"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "1"}
    train(name, tmp_path / "unbroken", env=two)
    train(name, tmp_path / "run", at="checkpoint:2", env=two)
    train(name, tmp_path / "run", env=one)
    assert read_meta(tmp_path / "run/checkpoints/00000012.safetensors")["threads"] == 2
    assert_same_end(tmp_path / "run", tmp_path / "unbroken")


def started(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "i2i", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENV,
    )


def wait_for_steps(run, process, count):
    deadline = time.monotonic() + 120
    while not (run / "stats.jsonl").exists() or len(log_of_lines(run)) < count:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def log_of_lines(run):
    return (run / "stats.jsonl").read_text().splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_finishes_the_step_saves_and_the_rest_follows(number, straight, tmp_path):
    run = tmp_path / "run"
    process = started(command("pix2pix", run, "data.workers=1", "train.log_every=1", "train.save_every=1000"))
    wait_for_steps(run, process, 2)
    process.send_signal(number)
    shown, _ = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.fail("the run ended before the signal came: " + shown[-500:])
    assert process.returncode == 128 + number
    assert f"by {number.name} and saved in {run}" in shown and "Traceback" not in shown
    saved = sorted((run / "checkpoints").iterdir())
    assert len(saved) == 1 and int(saved[0].stem) == len(log_of_lines(run))
    i2i(*command("pix2pix", run, "data.workers=0", *[a for a in LENGTH if "every" in a]))
    last = "checkpoints/00000012.safetensors"
    ours, theirs = read_tensors(run / last)[0], read_tensors(straight("pix2pix") / last)[0]
    assert ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)


@pytest.mark.parametrize("damage", ["torn", pytest.param("bit-flipped", marks=pytest.mark.slow)])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damage, straight, tmp_path):
    run = tmp_path / "run"
    train("cyclegan", run)
    last = run / "checkpoints" / "00000012.safetensors"
    data = bytearray(last.read_bytes())
    if damage == "torn":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 1
    last.write_bytes(data)
    done = train("cyclegan", run)
    assert f"{last}" in done.stdout and "Falling back to the checkpoint before it" in done.stdout
    assert "at step 8 of 12" in done.stdout
    assert_same_end(run, straight("cyclegan"))


def test_when_no_checkpoint_can_be_read_nothing_is_overwritten(tmp_path):
    run = tmp_path / "run"
    train("pix2pix", run, at="checkpoint:2")
    only = run / "checkpoints" / "00000004.safetensors"
    only.write_bytes(only.read_bytes()[:-9])
    before = only.read_bytes()
    done = train("pix2pix", run, expect=1)
    assert "none of the 1 checkpoints" in done.stderr and only.read_bytes() == before


def test_a_full_disk_ends_in_one_sentence_and_the_last_checkpoint_is_whole(straight, tmp_path):
    """RLIMIT_FSIZE stands in for the disk: the second checkpoint does not fit any more."""
    run = tmp_path / "run"
    train("pix2pix", run, at="between:2")  # step 4 is saved
    whole = (run / "checkpoints" / "00000004.safetensors").read_bytes()
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({len(whole) - 1000},) * 2); import sys; sys.argv[0] = 'i2i'; from i2i.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", limit, *command("pix2pix", run)], capture_output=True, text=True, env=ENV
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "00000008.safetensors: File too large. Nothing that was saved before is lost." in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert (run / "checkpoints" / "00000004.safetensors").read_bytes() == whole
    assert not list(run.rglob("*.i2i-part"))
    train("pix2pix", run)
    assert_same_end(run, straight("pix2pix"))


def test_a_second_process_in_the_same_folder_is_refused(tmp_path):
    run = tmp_path / "run"
    first = started(command("pix2pix", run, "train.steps=100000", "train.log_every=1", "train.sample_every=null"))
    try:
        wait_for_steps(run, first, 1)
        done = train("pix2pix", run, "train.steps=100000", "train.log_every=1", "train.sample_every=null", expect=1)
        assert f"another process is training in {run}" in done.stderr
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    assert log_of(run)
