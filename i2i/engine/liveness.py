"""Who is alive among the processes of one training, and who of them speaks when it ends badly.

Each process keeps a counter going in the store that the launcher gave them, and looks at those of the others. A counter
that stands still names a lost process. It is no business of a collective operation's timeout, which cannot tell a dead
process from one that writes a large checkpoint.
"""

import atexit
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass

from torch.distributed import Store

from i2i.errors import UserError

BEAT = 1.0  # seconds between two signs of life
SILENCE = 60  # beats of ours without one of another's, after which that process is lost: hung machine, cut network
STILL = 4  # the same, once a connection has broken: somebody is lost, the question is who
NAMING = 12.0  # seconds to find out who
GRACE = 20.0  # seconds for a process to end once it was told to; a broken connection may hold up its own closing
GONE = b"gone"  # in the place of a counter: it left by itself


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is, in all and on this machine (`local`)."""

    rank: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1


class Everywhere(UserError):
    """What every process finds at the same step, alike: process 0 tells it."""

    status = 1


class Lost(UserError):
    """Another process ended without a word."""


class Watch(threading.Thread):
    """Signs of life of this process, and a look at those of the others.

    Args:
        place: which process this is.
        store: a connection of its own to the launcher's store; the thread's calls would hold up others on it.
        hosts: the machine of each process, for messages.
    """

    def __init__(self, place: Place, store: Store, hosts: list[str]):
        super().__init__(daemon=True, name="signs of life")
        self.place, self.store, self.hosts = place, store, hosts
        self.saved = "Nothing was saved yet."  # what a message about a loss goes on with
        self._others = [rank for rank in range(place.count) if rank != place.rank]
        self._beat = 0
        self._seen = dict.fromkeys(self._others, b"")
        self._still = dict.fromkeys(self._others, 0)
        self._ending = threading.Event()
        self._give_sign()

    def run(self) -> None:
        while not self._ending.wait(BEAT):
            try:
                self.look()
            except RuntimeError:  # the store is gone: with process 0, or with the launcher
                if not self._ending.wait(STILL * BEAT):  # the main thread may find out more, by itself
                    self._end_all(f"the launcher of process 0, or process 0 itself, was lost ({self.hosts[0]})")
                return
            for rank in self.missing(SILENCE):
                self._end_all(f"{self.named(rank)} gave no sign of life for {SILENCE * BEAT:g} seconds")

    def look(self) -> None:
        """One sign of life, and one look at the others. RuntimeError when the store is gone."""
        self._give_sign()
        for rank, beat in zip(self._others, self.store.multi_get([f"beat/{rank}" for rank in self._others])):
            self._still[rank] = self._still[rank] + 1 if beat == self._seen[rank] and beat != GONE else 0
            self._seen[rank] = beat

    def missing(self, beats: int) -> list[int]:
        """The processes that gave no sign for so many of our own, the longest silent first.

        Counted in our own beats and not in seconds: when a whole machine is suspended, nobody is missing after it.
        """
        return sorted((r for r in self._others if self._still[r] >= beats), key=lambda r: -self._still[r])

    def named(self, rank: int) -> str:
        return f"process {rank} of {self.place.count} ({self.hosts[rank]})"

    def stop(self, gone: bool = False) -> None:
        """Ends the thread; with `gone`, the others are told that this process leaves by itself."""
        self._ending.set()
        if self.is_alive():
            self.join(GRACE)
        if gone:
            with contextlib.suppress(RuntimeError):
                self.store.set(f"beat/{self.place.rank}", GONE)

    def lost(self, error: Exception) -> BaseException:
        """What to raise for the failure of a collective operation: who was lost; SystemExit if another tells it."""
        self.stop()
        _end_by_itself()
        end = time.monotonic() + NAMING
        who = f"a process was lost ({str(error).splitlines()[0]})"
        try:
            while time.monotonic() < end:
                if self.store.check(["told"]):
                    return SystemExit(1)
                self.look()
                if found := self.missing(STILL):
                    who = f"{self.named(found[0])} was lost"
                    break
                time.sleep(BEAT)
        except RuntimeError:
            who = f"{self.named(0)}, or its launcher, was lost"
        return Lost(self._sentence(who))

    def leave(self, error: BaseException) -> BaseException:
        """What this process ends with, now that `error` ends it: `error` itself in one process, silence in the others.

        Whoever is silent waits for the one that speaks: a launcher kills the rest as soon as one has ended.
        """
        _end_by_itself()
        silent = isinstance(error, SystemExit) or (isinstance(error, Everywhere) and self.place.rank != 0)
        if silent or not self._speaks():
            with contextlib.suppress(RuntimeError):
                end = time.monotonic() + GRACE
                while not self.store.check(["spoken"]) and time.monotonic() < end:
                    time.sleep(0.05)
            error = error if isinstance(error, SystemExit) else SystemExit(getattr(error, "status", 1))
        else:
            atexit.register(self._has_spoken)  # after the interpreter has shown the message
        self.stop(gone=True)
        return error

    def _give_sign(self) -> None:
        self._beat += 1
        self.store.set(f"beat/{self.place.rank}", str(self._beat))

    def _speaks(self) -> bool:
        """Whether this process is the first that wants to; from then on nobody may end it before it has spoken."""
        try:
            speaks = self.store.add("told", 1) == 1
        except RuntimeError:  # no store, nobody to ask: one process of each machine speaks, other than process 0
            speaks = self.place.local == (1 if self.place.rank == self.place.local else 0)
        if speaks and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
        return speaks

    def _has_spoken(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.store.set("spoken", "1")

    def _sentence(self, who: str) -> str:
        return f"{who}. {self.saved}"

    def _end_all(self, who: str) -> None:
        """Ends this process from the thread: the main one waits in an operation that nothing can interrupt."""
        if self._ending.is_set():  # it does not: it is about to say so itself
            return
        if self._speaks():
            print(f"i2i: {self._sentence(who)}", file=sys.stderr, flush=True)
            self._has_spoken()
        os._exit(1)


def _end_by_itself() -> None:
    """Ends this process in `GRACE` seconds whatever it then waits for, be it the closing of a broken connection.

    This timer needs no interpreter, which may be the one that waits. The rest of this process is the way out.
    """
    faulthandler.dump_traceback_later(GRACE, exit=True, file=_NOWHERE)


_NOWHERE = open(os.devnull, "w")  # noqa: SIM115  (kept for the life of the process, as the timer demands)
