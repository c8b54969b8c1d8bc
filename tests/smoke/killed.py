"""Runs the command line and kills its own process, as `kill -9` would, at one moment: python killed.py WHAT:N ARGS...

update:N      in the place of the N-th update of this process, in the middle of a step or before it
sample:N      while the N-th sample grid is drawn
weights:N     half of the first weights file of the N-th save is written
between:N     weights and samples of the N-th save are written, its checkpoint is not
checkpoint:N  half of the N-th checkpoint is written
rename:N      the N-th checkpoint is renamed into place; nothing after that has happened
log:N         half of the N-th line of the log is written
never:0       not at all
"""

import os
import signal
import sys

from i2i import atomic
from i2i.engine import checkpoint, samples
from i2i.engine.run import RunFolder
from i2i.engine.runtime import Runtime


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_write(handle, data):
    os_write(handle, bytes(data)[: len(data) // 2])
    die()


def at_call(number, then, inner):
    """`inner`, whose call of this number does `then` first."""
    calls = 0

    def counted(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == number:
            then(*args, **kwargs)
        return inner(*args, **kwargs)

    return counted


os_write = os.write
what, number = sys.argv[1].split(":")
number = int(number)

if what == "update":
    Runtime.descend = at_call(number, lambda *args: die(), Runtime.descend)
elif what == "sample":
    samples.sheet = at_call(number, lambda *args: die(), samples.sheet)
elif what == "weights":
    samples.write_weights = at_call(
        number, lambda *args: setattr(atomic.os, "write", half_a_write), samples.write_weights
    )
elif what == "between":
    checkpoint.save = at_call(number, lambda *args: die(), checkpoint.save)
elif what == "checkpoint":
    checkpoint.write_tensors = at_call(
        number, lambda *args: setattr(atomic.os, "write", at_call(3, half_a_write, os_write)), checkpoint.write_tensors
    )
elif what == "rename":
    inner = checkpoint.write_tensors

    def write_and_die(*args):
        write_and_die.calls += 1
        inner(*args)
        if write_and_die.calls == number:
            die()

    write_and_die.calls = 0
    checkpoint.write_tensors = write_and_die
elif what == "log":

    def half_a_line(self, line):
        with open(self.path / "stats.jsonl", "a") as file:
            file.write('{"step": 1, "ima')
        die()

    RunFolder.log = at_call(number, half_a_line, RunFolder.log)

if __name__ == "__main__":  # a worker process that imports this file only takes the patches
    from i2i.cli import main

    sys.argv = ["i2i", *sys.argv[2:]]
    main()
