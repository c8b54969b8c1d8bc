"""Starting several processes, as users do, and watching them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from running import ENV

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]  # finds a free port by itself
TROUBLED = Path(__file__).parent / "troubled.py"
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--main_process_port=0"]


def launched(*program, module=False, processes=2, options=(), launcher=TORCHRUN, env=None) -> subprocess.Popen:
    """`torchrun --nproc_per_node 2 PROGRAM`, with its output in one pipe; a group of its own.

    Without the two dashes torchrun would take the program's `--run` for one of its own options.
    """
    count, dashes = ("--nproc_per_node", ["--"]) if launcher is TORCHRUN else ("--num_processes", [])
    return subprocess.Popen(
        [*launcher, f"{count}={processes}", *options, *["-m"] * module, *dashes, *map(str, program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**ENV, **(env or {})},
        start_new_session=True,
    )


def train(arguments, **options) -> subprocess.Popen:
    """`torchrun ... -m -- i2i ARGUMENTS`."""
    return launched("i2i", *arguments, module=True, **options)


def dying(arguments, **moments) -> list[str]:
    """The program of a run in which process r does `rank<r>="update:14"`, see shared/troubled.py."""
    return [str(TROUBLED), ",".join(f"{rank}={what}" for rank, what in moments.items()), *map(str, arguments)]


def side_by_side(program, count: int = 2, **kwargs) -> list[subprocess.Popen]:
    """`count` processes of a program without any launcher, which then cannot end one because of another."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    place = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    return [
        subprocess.Popen(
            [sys.executable, *map(str, program)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**ENV, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)}, start_new_session=True, **kwargs,
        )
        for rank in range(count)
    ]  # fmt: skip


def end_of(process: subprocess.Popen, timeout: float = 280) -> str:
    """All that the launcher and its processes showed, once they have ended; nothing is left over."""
    try:
        shown, _ = process.communicate(timeout=timeout)
    finally:
        for pid in [*ranks_of(process).values(), process.pid]:
            kill(pid)
    return shown


def ranks_of(process: subprocess.Popen) -> dict[int, int]:
    """{rank: process id} of the processes that a launcher has started and that are still there."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "environ").read_bytes().split(b"\0")
            except (OSError, ValueError):
                continue
            if parent == process.pid:
                names = dict(word.decode().partition("=")[::2] for word in words if b"=" in word)
                if "RANK" in names:
                    found[int(names["RANK"])] = int(entry.name)
    return found


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_for(what, process: subprocess.Popen, seconds: float = 200):
    """`what()` as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        if process.poll() is not None:
            raise AssertionError("it ended too early:\n" + process.stdout.read()[-3000:])
        assert time.monotonic() < end, "too slow"
        time.sleep(0.02)
    return found


def own_words(shown: str) -> list[str]:
    """What `i2i` itself said of a failure; the launcher adds a report of its own."""
    return [line for line in shown.splitlines() if line.startswith("i2i: ") or line.startswith("stopped at step")]
