"""Two processes as torchrun starts them: equal replicas, the gradients of one, one voice, and the same bits after a kill.

Each start costs seconds: `facts` is one for many tests, and what takes more of them is marked slow.
"""

import os
import re
from pathlib import Path

import pytest
import torch
from launching import dying, end_of, launched, own_words, train
from running import assert_same_end, command, log_of
from several import BATCH, CASES, gradients

from i2i.engine import checkpoint, processes
from i2i.engine.liveness import Place
from i2i.engine.processes import Processes
from i2i.engine.runtime import Runtime
from i2i.errors import UserError
from i2i.infer.weights import read_meta, read_tensors

HERE = Path(__file__).parent
TWO = ["train.batch_size=2"]  # one picture for each
FORMS = ["branch", "device"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """(facts, folder): what shared/several.py wrote down, in two processes."""
    out = tmp_path_factory.mktemp("several")
    shared = HERE.parent / "shared"
    process = launched(
        shared / "several.py", out, env={"PYTHONPATH": os.pathsep.join(map(str, (shared, HERE.parent.parent)))}
    )
    shown = end_of(process)
    assert process.returncode == 0, shown[-3000:]
    return read_meta(out / "facts.safetensors"), out


# ---------------------------------------------------------------------------------------------------- the update


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_averaged_gradients_are_those_of_one_process_on_the_joined_batch(case, form, found):
    ours = [read_tensors(found[1] / f"{case}, {form}, {rank}.safetensors")[0] for rank in (0, 1)]
    alone = gradients(case, Runtime("cpu", branch=form == "branch"), [0, 1])
    assert ours[0].keys() == alone.keys() and BATCH % 2 == 0
    for group in {name.partition(".")[0] for name in alone}:
        members = [name for name in alone if name.startswith(group)]
        largest = max(float(alone[name].abs().max()) for name in members)
        worst = max(float((ours[0][name] - alone[name]).abs().max()) for name in members)
        assert largest > 0 and worst <= 1e-6 * largest, (group, worst, largest)
        assert all(torch.equal(ours[0][name], ours[1][name]) for name in members), group


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_after_every_step_all_processes_hold_the_same_bits(name, form, found):
    seen = found[0]["replicas"][f"{name}, {form}"]
    assert seen["equal"] == [True, True, True] and seen["moved"] and seen["tensors"] > 100
    if name == "cyclegan":
        one, two = seen["pools"]
        assert one.keys() == two.keys() == {"pool.a.pictures", "pool.b.pictures"} and one != two


@pytest.mark.parametrize("form", FORMS)
def test_a_gradient_that_one_process_lacks_counts_as_zero_and_one_that_all_lack_stays_none(form, found):
    seen = found[0]["missing"][form]
    assert seen["weights"] == [{"some": 1 - 3 / 2, "nobody": 1.0, "all": 1 - (1 + 2) / 2}] * 2
    assert seen["states"] == [["all", "some"]] * 2


@pytest.mark.parametrize("form", FORMS)
def test_a_loss_that_is_not_finite_in_one_process_stops_all_at_that_step(form, found):
    seen = found[0]["poisoned"][form]
    assert seen["weights"] == [0.0, 0.0]  # one update down the gradient of 1, and none since
    assert seen["words"][0] == seen["words"][1] and "step 2: the loss of G is nan" in seen["words"][0]


def test_running_statistics_are_averaged(found):
    one, two = found[0]["statistics"]
    assert one == two
    mean, variance = 0.1 * (0 + 4) / 2, 0.9 + 0.1 * 16 / 15
    assert one == pytest.approx([mean, variance, 1, mean, variance, 1])


def test_what_is_exchanged_arrives_as_it_was(found):
    seen = found[0]["exchanged"]
    assert seen["highest"] == [1, 5] and seen["mean"] == {"b": 0.5, "a": 3.0}
    assert seen["gathered"] == [{"rank": 0, "words": "ä"}, {"rank": 1, "words": "ä" * 10}]
    assert seen["collected"] == {
        "rank1.state": [[1, 1], [1, 1]], "rank1.x": [1.0, 2.0, 3.0], "rank1.flag": True, "rank1.n": 7,
    }  # fmt: skip
    assert seen["spread"] == [[{"s": 2.5, "w": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]}, {"step": 4}]] * 2
    assert seen["half"] == ["torch.float16"] * 2 and seen["nothing"] == [None, None] and seen["first"] == [0, 0]


def test_a_broken_file_becomes_known_to_all_and_a_signal_to_one_stops_all(found):
    one, two = found[0]["broken"]
    assert one == two == {
        "told": [[["a.png", "torn"], ["a.png", "torn"], ["b.png", "empty"]]], "stops": [True, True], "left": [],
    }  # fmt: skip


def test_replicas_that_are_no_longer_equal_are_not_saved(found):
    one, two = found[0]["diverged"]
    assert one == two and one[0] is None
    assert "step 7: 'nets.net.weight' is no longer the same in process 1 as in process 0" in one[1]


def test_the_group_is_gone_when_training_is_over(found):
    """Threads of gloo that are alive when the interpreter ends abort it, about once in thirty times."""
    assert found[0]["threads"] and not [name for name in found[0]["threads"] if "gloo" in name]


def test_an_agreement_is_cheap(found):
    assert found[0]["microseconds"] < 50_000


# ---------------------------------------------------------------------------------------------------- without a launcher


def test_alone_everything_is_answered_at_once():
    alone = Processes()
    assert alone.leads and not alone.several and alone.share_of(3) == 3
    assert alone.highest(2, 1) == [2, 1] and alone.mean({"a": 1.5}) == {"a": 1.5} and alone.gather("x") == ["x"]
    assert alone.collect({"x": torch.ones(1)}) == {} and alone.spread(None) is None and alone.alike(lambda: 4) == 4


def test_a_batch_that_cannot_be_divided_is_refused_with_the_numbers_that_fit():
    with pytest.raises(UserError) as refused:
        Processes(Place(0, 4)).share_of(6)
    words = "train.batch_size is 6, the batch of all processes together, and 4 processes were launched"
    assert words in str(refused.value)
    assert "Set train.batch_size=4 or 8, or launch 1 or 2 or 3 or 6 processes." in str(refused.value)
    with pytest.raises(UserError, match="Set train.batch_size=2, or launch 1 processes"):
        Processes(Place(1, 2)).share_of(1)
    assert Processes(Place(1, 4)).share_of(12) == 3


ENVIRONMENT = (
    "WORLD_SIZE",
    "RANK",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "ACCELERATE_MIXED_PRECISION",
)


@pytest.fixture
def environment(monkeypatch):
    """`environment(RANK=1)`: what a launcher set, and nothing else."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    return lambda **names: [monkeypatch.setenv(name, str(value)) for name, value in names.items()]


def test_what_launchers_say_of_themselves(environment):
    assert processes.launched() is None
    environment(WORLD_SIZE=4, RANK=3, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2, MASTER_ADDR="here", MASTER_PORT=1)
    assert processes.launched() == Place(3, 4, 1, 2)


def test_a_launcher_that_says_too_little_is_refused_in_words(environment):
    environment(WORLD_SIZE=2, RANK=0)
    with pytest.raises(UserError, match="LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT is not set"):
        processes.launched()


def test_accelerate_launch_on_a_cpu_starts_one_process_and_is_refused_in_words(environment):
    environment(ACCELERATE_MIXED_PRECISION="no", MASTER_PORT=29500)
    with pytest.raises(UserError, match=re.escape("accelerate launch --multi_gpu --num_processes N -m i2i train")):
        processes.launched()


@pytest.mark.parametrize(
    ("device", "cards", "expected"),
    [
        ("cpu", 0, ("cpu", None)), ("auto", 0, ("cpu", None)), ("auto", 2, ("cuda", None)), ("cuda", 3, ("cuda", None)),
        ("mps", 0, ("mps", "several processes train on cuda or on cpu")),
        ("cuda", 0, ("cuda", "no card is usable there")),
        ("cuda", 1, ("cuda", "1 card can be seen there")),
        ("auto", 1, ("cuda", "Launch 1 (--nproc_per_node 1), or take --device cpu")),
    ],
)  # fmt: skip
def test_the_device_of_several_processes(device, cards, expected, monkeypatch):
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    kind, fault = processes._kind(Place(1, 4, 1, 2), device)
    assert kind == expected[0] and (fault is None) == (expected[1] is None) and (expected[1] or "") in (fault or "")
    if device == "auto":
        monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
        assert processes._kind(Place(1, 4, 1, 2), device) == ("cpu", None)


# ---------------------------------------------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """(run folder, what was shown) of a run of two processes that nothing disturbed: with pools and EMA in play."""
    made = {}

    def of(name):
        if name not in made:
            run = tmp_path_factory.mktemp("straight") / name
            process = train(command(name, run, *TWO))
            shown = end_of(process)
            assert process.returncode == 0, shown[-3000:]
            made[name] = run, shown
        return made[name]

    return of


def test_a_run_of_two_processes_has_one_log_and_one_voice(straight):
    run, shown = straight("cyclegan")
    assert shown.count("step 12/12") == 1 and shown.count("finished: ") == 1
    assert shown.count("2 processes on 1 machine: of the 2 pictures of a batch each takes 1") == 1
    assert "Traceback" not in shown
    lines = log_of(run)
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    assert [line["images"] for line in lines] == [4 * line["step"] for line in lines]  # two critic batches of 2
    tensors, meta = checkpoint.newest(run, print)
    assert meta["processes"] == 2
    pools = {name for name in tensors if "pool" in name}
    assert pools == {f"{of}pool.{side}.pictures" for of in ("", "rank1.") for side in "ab"}
    assert not tensors["pool.a.pictures"].equal(tensors["rank1.pool.a.pictures"])


def test_a_killed_process_ends_the_other_with_one_message_and_the_same_command_continues(straight, tmp_path):
    run = tmp_path / "run"
    arguments = command("cyclegan", run, *TWO)
    process = launched(*dying(arguments, rank1="update:14"))  # of step 5: the checkpoint of step 4 is there
    shown = end_of(process)
    assert process.returncode != 0, shown
    said = own_words(shown)
    assert len(said) == 1 and re.search(
        r"process 1 of 2 \(.+\) was lost\. The run is saved in .+ up to step 4;", said[0]
    )
    assert said[0].endswith("the same command continues it.")
    again = train(command("cyclegan", run, *TWO))
    shown = end_of(again)
    assert again.returncode == 0 and "continuing" in shown, shown[-3000:]
    assert_same_end(run, straight("cyclegan")[0])
