"""Two processes and everything that can befall them: kills, signals, silence, errors, other launchers. Slow, all of it."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from launching import (
    ACCELERATE,
    dying,
    end_of,
    kill,
    launched,
    own_words,
    ranks_of,
    side_by_side,
    train,
    wait_for,
)
from running import assert_same_end, command, i2i, log_of

from i2i.infer.weights import read_meta, read_tensors, write_tensors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TWO = ["train.batch_size=2"]
FOREVER = [*TWO, "train.steps=100000", "train.log_every=1", "train.save_every=100000", "train.sample_every=null"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The run of a method in two processes that nothing disturbed."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("straight") / name
            ends(train(command(name, made[name], *TWO)))
        return made[name]

    return of


def ends(process, status: int | None = 0, words: str | None = None) -> str:
    """What was shown, once it has ended with this status; with `words`, exactly one message, which has them."""
    shown = end_of(process)
    assert process.returncode == status or (status is None and process.returncode != 0), shown[-3000:]
    ours = shown.partition("torch.distributed.elastic.multiprocessing.errors.ChildFailedError")[0]
    assert "several.py" not in shown and "i2i/engine" not in ours, shown[-3000:]
    if words is not None:
        said = own_words(shown)
        assert len(said) == 1 and re.search(words, said[0]), shown[-3000:]
    return shown


def steps(run: Path) -> int:
    file = run / "stats.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


# ---------------------------------------------------------------------------------------------------- killed


@pytest.mark.parametrize(
    ("name", "moments"),
    [
        ("pix2pix", {"rank0": "update:14", "rank1": "update:14"}),
        ("pix2pix", {"rank0": "checkpoint:2"}),
        ("cyclegan", {"rank0": "between:3", "rank1": "update:20"}),
        ("cyclegan", {"rank0": "sample:3"}),
    ],
)
def test_continued_after_kills_it_ends_with_the_same_bits(name, moments, straight, tmp_path):
    run = tmp_path / "run"
    ends(launched(*dying(command(name, run, *TWO), **moments)), status=1)
    assert "continuing" in ends(train(command(name, run, *TWO)))
    assert_same_end(run, straight(name))


def test_everything_killed_from_outside_launcher_included(straight, tmp_path):
    run = tmp_path / "run"
    program = dying(command("cyclegan", run, *TWO), rank1="stops:14")  # stands still in step 5, so that there is time
    process = launched(*program)
    ranks = wait_for(lambda: (run / "checkpoints" / "00000004.safetensors").exists() and ranks_of(process), process)
    for pid in [process.pid, *ranks.values()]:
        kill(pid)
    end_of(process)
    assert len(ranks) == 2 and "continuing" in ends(train(command("cyclegan", run, *TWO)))
    assert_same_end(run, straight("cyclegan"))


def test_when_the_first_process_is_lost_another_says_so(tmp_path):
    run = tmp_path / "run"
    processes = side_by_side(dying(command("pix2pix", run, *TWO), rank0="update:14"))  # the store goes with it
    shown = [end_of(process) for process in processes]
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 1], shown
    assert own_words(shown[0]) == [] and len(own_words(shown[1])) == 1
    assert "process 0 of 2" in shown[1] and f"saved in {run} up to step 4" in shown[1] and "Traceback" not in shown[1]


def test_a_killed_launcher_ends_its_processes(tmp_path):
    run = tmp_path / "run"
    process = train(command("pix2pix", run, *FOREVER))
    ranks = wait_for(lambda: steps(run) > 2 and ranks_of(process), process)
    kill(process.pid)
    shown, _ = process.communicate(timeout=120)  # the pipe stays open until the last of them has ended
    for pid in ranks.values():
        kill(pid)
    assert len(own_words(shown)) == 1 and "the launcher of process 0, or process 0 itself, was lost" in shown
    assert "Nothing was saved yet." in shown


def test_a_process_that_stands_still_is_noticed_and_the_rest_ends(tmp_path):
    processes = side_by_side(dying(command("pix2pix", tmp_path / "run", *TWO), rank1="stops:14"))
    shown, _ = processes[0].communicate(timeout=250)
    kill(processes[1].pid)
    processes[1].communicate()
    assert processes[0].returncode == 1
    assert len(own_words(shown)) == 1 and "process 1 of 2" in shown and "gave no sign of life for 3 seconds" in shown


def test_a_slow_save_is_not_taken_for_a_death(tmp_path):
    ends(launched(*dying(command("pix2pix", tmp_path / "run", *TWO, "train.save_every=100"), rank0="slow:12")))


def test_a_launcher_that_restarts_its_processes_continues_the_run(straight, tmp_path):
    run = tmp_path / "run"
    program = dying(command("pix2pix", run, *TWO), rank1="update:14")
    once = tmp_path / "once.py"
    once.write_text(
        "import os, runpy, sys\n"
        "again = os.environ['TORCHELASTIC_RESTART_COUNT'] != '0'\n"
        "sys.argv = [sys.argv[1], '' if again else sys.argv[2], *sys.argv[3:]]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    shown = ends(launched(once, *program, options=["--max-restarts=1"]))
    assert "continuing" in shown
    assert_same_end(run, straight("pix2pix"))


# ---------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to", [[0], [1], [0, 1]], ids=["to process 0", "to process 1", "to both"])
def test_a_signal_to_any_ends_all_at_one_step_and_saves_once(number, to, straight, tmp_path):
    run = tmp_path / "run"
    processes = side_by_side(["-m", "i2i", *command("pix2pix", run, *FOREVER)])
    wait_for(lambda: steps(run) > 2, processes[0])
    for rank in to:
        processes[rank].send_signal(number)
    shown = [end_of(process) for process in processes]
    assert [process.returncode for process in processes] == [128 + number] * 2, shown
    said = [own_words(text) for text in shown]
    assert len(said[0]) == 1 and said[1] == [] and f"by {number.name} and saved in {run}" in said[0][0]
    saved = list((run / "checkpoints").iterdir())
    assert len(saved) == 1 and int(saved[0].stem) == steps(run)


def test_a_launcher_that_is_told_to_end_passes_it_on_and_the_run_continues_with_the_same_bits(straight, tmp_path):
    run = tmp_path / "run"
    slow = ["train.log_every=1", "train.save_every=1000"]
    process = train(command("cyclegan", run, *TWO, *slow))
    wait_for(lambda: steps(run) > 1, process)
    process.send_signal(signal.SIGTERM)
    shown = end_of(process)
    if process.returncode == 0:
        pytest.skip("the run ended before the signal came")
    assert len(own_words(shown)) == 1 and "stopped at step" in shown and len(list((run / "checkpoints").iterdir())) == 1
    ends(train(command("cyclegan", run, *TWO, "train.log_every=3")))
    last = "checkpoints/00000012.safetensors"
    ours, theirs = read_tensors(run / last)[0], read_tensors(straight("cyclegan") / last)[0]
    assert ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)


# ---------------------------------------------------------------------------------------------------- refusals


def test_another_number_of_processes_is_refused_with_the_command_that_works(straight, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(straight("pix2pix"), run)
    more = ["train.steps=14"]
    done = i2i(*command("pix2pix", run, *TWO, *more), expect=1)
    assert "was trained in 2 processes, and now there is 1" in done.stderr
    assert "torchrun --nproc_per_node 2 -m -- i2i train pix2pix_facades" in done.stderr
    assert "is finished: 12 of 12 steps" in i2i(*command("pix2pix", run, *TWO)).stdout  # where nothing is left, all may
    last = run / "checkpoints" / "00000012.safetensors"
    tensors, meta = read_tensors(last)
    write_tensors(
        last, tensors, {key: value for key, value in meta.items() if key != "processes"}
    )  # as before there were
    ends(
        train(command("pix2pix", run, *TWO, *more)),
        status=1,
        words="was trained in 1 process, and now there are 2.+ i2i train",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generator.name=unett"], "has 1 problem"),
        (["train.batch_size=3"], "train.batch_size is 3, the batch of all processes together, and 2 processes"),
        (["data={kind: paired, path: nowhere, crop_size: 32}"], "nowhere"),
    ],
    ids=["recipe", "batch", "no data"],
)
def test_what_is_wrong_before_training_is_said_once_and_ends_all(arguments, words, tmp_path):
    ends(train(command("pix2pix", tmp_path / "run", *TWO, *arguments)), status=1, words=words)
    assert not (tmp_path / "run").exists()


def test_another_recipes_folder_is_refused_once(straight, tmp_path):
    process = train(command("pix2pix", straight("pix2pix"), *TWO, "train.seed=5"))
    ends(process, status=1, words="belongs to another recipe")


def test_processes_that_read_different_recipes_are_refused(tmp_path):
    program = dying(command("pix2pix", tmp_path / "run", *TWO), rank1="differs:train.seed=3")
    ends(launched(*program), status=1, words=r"process 1 of 2 .* has another recipe than process 0")


def test_what_fails_in_one_process_alone_names_it(tmp_path):
    program = dying(command("pix2pix", tmp_path / "run", *TWO), rank1="differs:train.seed=x")
    ends(launched(*program), status=1, words=r"process 1 of 2 .* has 1 problem")


def test_a_loss_that_is_not_finite_is_told_once(tmp_path):
    more = [*TWO, "optimizer.G.lr=1e36", "train.warmup=0", "train.decay_from=null"]
    ends(train(command("pix2pix", tmp_path / "run", *more)), status=1, words="step .*: the (loss|gradient norm) of")


# ---------------------------------------------------------------------------------------------------- data and workers


def pictures(folder: Path, count: int, broken: list[int]) -> Path:
    import numpy as np

    from i2i.data.pictures import write

    (folder / "train").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        file = folder / "train" / f"{number:02d}.png"
        write(file, draw.integers(0, 255, (40, 80, 3), np.uint8))
        if number in broken:
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 255  # the header is whole: only whoever decodes it finds out
            file.write_bytes(data)
    return folder


def paired(folder: Path) -> str:
    return f"data={{kind: paired, path: {folder}, load_size: null, crop_size: 32, workers: 1}}"


def test_a_broken_file_is_said_once_whoever_finds_it_and_two_end_the_run_once(tmp_path):
    one = paired(pictures(tmp_path / "one", 6, [4]))
    shown = ends(train(command("pix2pix", tmp_path / "a", *TWO, one)))
    assert shown.count("04.png is broken and left out") == 1
    two = paired(pictures(tmp_path / "two", 8, [1, 6]))
    ends(train(command("pix2pix", tmp_path / "b", *TWO, two)), status=1, words="2 of 8 training files are broken")


def test_a_lost_worker_of_any_process_is_told_once(tmp_path):
    run, data = tmp_path / "run", paired(pictures(tmp_path / "data", 6, []))
    processes = side_by_side(["-m", "i2i", *command("pix2pix", run, *FOREVER, data)])
    wait_for(lambda: steps(run) > 2, processes[0])
    mine = processes[1].pid
    workers = [
        int(entry.name) for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (entry / "stat").exists() and parent_of(entry) == mine
    ]  # fmt: skip
    assert len(workers) == 1
    os.kill(workers[0], signal.SIGKILL)
    shown = [end_of(process) for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    said = [line for text in shown for line in own_words(text)]
    assert len(said) == 1 and "a data worker died" in said[0], shown


def parent_of(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


# ---------------------------------------------------------------------------------------------------- other launchers


def test_accelerate_launch_ends_with_the_same_bits(straight, tmp_path):
    run = tmp_path / "run"
    ends(launched("i2i", *command("cyclegan", run, *TWO), module=True, launcher=ACCELERATE))
    assert_same_end(run, straight("cyclegan"))


def test_two_processes_see_together_the_pictures_of_one(straight, tmp_path):
    """No draw inside a step: the first step's losses, averaged, are those of one process on the whole batch."""
    plain = [
        "generator={name: unet, num_downs: 4, width: 4, norm: instance, dropout: false}", "augment.policy=[]",
        "discriminator={name: patchgan, num_layers: 1, width: 4, norm: instance}", "translate.dropout=false",
        "train.batch_size=4", "train.log_every=1", "train.steps=3", "train.decay_from=null", "train.warmup=0",
    ]  # fmt: skip
    ends(train(command("pix2pix", tmp_path / "two", *plain)))
    i2i(*command("pix2pix", tmp_path / "one", *plain))
    for ours, theirs in zip(log_of(tmp_path / "two"), log_of(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


def test_a_dry_run_is_shown_once_and_writes_nothing(tmp_path):
    shown = ends(train(command("pix2pix", tmp_path / "run", *TWO, "--dry-run")))
    assert shown.count("method:") == 1 and not (tmp_path / "run").exists()


def test_the_checkpoint_says_how_many(straight):
    assert read_meta(straight("pix2pix") / "checkpoints/00000012.safetensors")["processes"] == 2
