"""Who is alive and who speaks, with a store inside this process."""

import signal

import pytest
from torch.distributed import HashStore

from i2i.engine import liveness
from i2i.engine.liveness import Everywhere, Lost, Place, Watch
from i2i.errors import UserError


@pytest.fixture
def watches(monkeypatch):
    """`watches(3)`: those of three processes, with a fast heart; nothing ends the program of the tests."""
    monkeypatch.setattr(liveness, "BEAT", 0.01)
    monkeypatch.setattr(liveness, "GRACE", 0.2)
    monkeypatch.setattr(liveness, "_end_by_itself", lambda: None)
    monkeypatch.setattr(liveness.atexit, "register", lambda act: act())  # as if the message were shown at once
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    made = []

    def make(count):
        store = HashStore()
        made.extend(
            Watch(Place(rank, count, rank, count), store, [f"host{rank}" for rank in range(count)])
            for rank in range(count)
        )
        return made

    yield make
    for one in made:
        one.stop()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_whoever_gives_no_sign_is_missing_and_whoever_left_is_not(watches):
    mine, living, gone, silent = watches(4)
    gone.stop(gone=True)
    for _ in range(5):
        living.look()
        mine.look()
    assert mine.missing(4) == [silent.place.rank] and mine.missing(6) == []
    silent.look()
    living.look()
    mine.look()
    assert mine.missing(1) == []


def test_a_loss_names_the_process_and_what_is_saved(watches):
    mine, living, _ = watches(3)
    living.start()
    mine.saved = "The run is saved up to step 4; the same command continues it."
    error = mine.lost(RuntimeError("Connection closed by peer\nand more"))
    assert isinstance(error, Lost)
    assert (
        str(error) == "process 2 of 3 (host2) was lost. The run is saved up to step 4; the same command continues it."
    )


def test_a_loss_that_nobody_can_name_is_still_told(watches, monkeypatch):
    monkeypatch.setattr(liveness, "NAMING", 0.2)
    mine, living = watches(2)
    living.start()
    assert (
        str(mine.lost(RuntimeError("timed out\nand more"))) == "a process was lost (timed out). Nothing was saved yet."
    )


def test_without_a_store_the_first_process_is_what_was_lost(watches):
    class Gone:
        def check(self, keys):
            raise RuntimeError("no store")

    _, mine = watches(2)
    mine.store = Gone()
    assert str(mine.lost(RuntimeError("x"))).startswith("process 0 of 2 (host0), or its launcher, was lost.")


def test_where_another_tells_it_a_process_is_silent(watches):
    first, second = watches(2)
    error = UserError("a data worker died")
    assert second.leave(error) is error
    silent = first.lost(RuntimeError("Connection closed by peer"))
    assert isinstance(silent, SystemExit) and first.leave(silent) is silent and silent.code == 1


def test_of_two_errors_the_first_is_told(watches):
    first, second = watches(2)
    one, two = UserError("one"), UserError("two")
    assert second.leave(two) is two
    end = first.leave(one)
    assert isinstance(end, SystemExit) and end.code == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN, "nobody may end who has not spoken yet"


def test_what_all_find_is_told_by_the_first_process_with_its_exit_status(watches):
    first, second = watches(2)
    everywhere = Everywhere("stopped")
    everywhere.status = 143
    end = second.leave(everywhere)
    assert isinstance(end, SystemExit) and end.code == 143
    assert first.leave(everywhere) is everywhere
