"""Worker processes: the same report as without, an end with the main process, and memory that does not grow."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scenes import paired, save, scene

from i2i.errors import UserError
from i2i.prepare.check import check
from i2i.prepare.checking.crew import in_parallel


def double(job):
    start = job[0]
    if start < 0:
        raise UserError("no such file")
    if start == 13:
        raise ValueError("a fault of ours")
    if start == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return start * 2, os.getpid()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_all_jobs_are_done_once(workers):
    jobs = [(number, number + 1) for number in range(100, 130)]
    answers = list(in_parallel(double, iter(jobs), workers))
    assert sorted(value for value, _ in answers) == [2 * number for number in range(100, 130)]
    assert {pid for _, pid in answers} <= {os.getpid()} if not workers else os.getpid() not in dict(answers).values()


def test_more_workers_than_jobs_and_no_jobs():
    assert [value for value, _ in in_parallel(double, [(5, 6)], 3)] == [10]
    assert list(in_parallel(double, [], 2)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_come_across(workers):
    with pytest.raises(UserError, match="no such file"):
        list(in_parallel(double, [(1, 2), (-1, 0)], workers))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        list(in_parallel(double, [(1, 2), (13, 14), (2, 3)], workers))


def test_a_worker_that_dies_is_said_in_words():
    with pytest.raises(UserError, match=r"died \(killed by signal 9\).*number 18 to 18.*--workers"):
        list(in_parallel(double, [(1, 2), (17, 18), (2, 3)], 2))


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@linux
def test_an_error_in_the_middle_leaves_no_worker():
    work = in_parallel(double, [(number, number + 1) for number in range(100, 400)], 2)
    next(work)
    pids = children(os.getpid())
    assert len(pids) >= 2
    work.close()
    assert len(set(pids) & set(children(os.getpid()))) == len(pids) - 2  # those of other tests may be there


def test_the_report_is_the_same_with_any_number_of_workers(tmp_path):
    root = paired(tmp_path / "pairs", train=30, val=10)
    (root / "train/A/3.png").write_bytes(b"")
    (root / "val/B/33.png").unlink()
    save(root / "train/B/9.png", scene(9, 90))
    save(root / "val/A/31.png", scene(4))
    save(root / "val/B/31.png", np.full((96, 96, 3), 3, np.uint8))
    reports = [json.loads(check(root, workers=workers).as_json()) for workers in (0, 1, 3)]
    assert len(reports[0]["problems"]) == 4 and reports[1] == reports[0] and reports[2] == reports[0]


def test_workers_that_share_nothing_give_the_same_report(tmp_path, monkeypatch):
    """As on other platforms, where a worker starts anew and is sent what it needs."""
    root = paired(tmp_path / "pairs", train=6, val=2)
    wanted = check(root, workers=0).as_json()
    spawned = multiprocessing.get_context("spawn")
    monkeypatch.setattr(multiprocessing, "get_context", lambda name: spawned)
    assert check(root, workers=1).as_json() == wanted


SCRIPT = """
import sys, time
from i2i.prepare.checking.crew import in_parallel
def slow(job):
    time.sleep(0.01 if job[0] < 3 else 600)  # as on a disk that does not answer
    return job
if __name__ == "__main__":
    for number, _ in enumerate(in_parallel(slow, ((n, n + 1) for n in range(100_000)), 2)):
        if number == 2:
            print("reading", flush=True)
"""


@linux
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_workers_end_with_the_main_process(tmp_path, how):
    (tmp_path / "script.py").write_text(SCRIPT)
    main = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # tests in the background are deaf
    )  # fmt: skip
    assert main.stdout.readline() == b"reading\n"
    pids = children(main.pid)
    assert len(pids) == 2
    if how == signal.SIGINT:
        os.killpg(main.pid, how)  # a Ctrl-C reaches the whole group
    else:
        main.send_signal(how)
    _, words = main.communicate(timeout=60)
    assert words.count(b"Traceback") == (how == signal.SIGINT)  # of the main process alone
    end = time.monotonic() + 60
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.05)
    left = alive(pids)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


MEMORY = """
import resource, sys
from i2i.prepare.check import check
check(sys.argv[1], workers=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@linux
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_grows_by_little_for_each_file(tmp_path):
    """The difference between 2,000 and 22,000 files, so that what the libraries take does not count."""
    peaks = {}
    for count in (2_000, 22_000):
        data = save(tmp_path / "x.png", scene(0, 16)).read_bytes()
        for number in range(count):
            folder = tmp_path / str(count) / "train" / "AB"[number % 2] / f"{number // 1000:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number // 2:06d}.png").write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, tmp_path / str(count)],
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        peaks[count] = [1024 * int(word) for word in done.stdout.split()]
    grown = [(large - small) / 20_000 for small, large in zip(peaks[2_000], peaks[22_000])]
    assert grown[0] < 700 and grown[1] < 300, grown  # bytes a file, in the main process and in a worker
