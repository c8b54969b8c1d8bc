"""Batches that are copied ahead: the same ones, each waited for, none overwritten too early, errors at their turn."""

import contextlib
import itertools

import pytest
import torch

from i2i.engine import ahead
from i2i.engine.ahead import Ahead
from i2i.errors import UserError


class Stream:
    """A stream that notes what is done with it."""

    def __init__(self, name: str, notes: list):
        self.name, self.notes = name, notes

    def wait_stream(self, other):
        self.notes.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def notes(monkeypatch):
    """What happens on the host, in order; the device is a CPU that says it has streams."""
    noted = []
    streams = {"step": Stream("step", noted), "side": Stream("side", noted)}
    monkeypatch.setattr(ahead.torch.cuda, "Stream", lambda device: streams["side"])
    monkeypatch.setattr(ahead.torch.cuda, "current_stream", lambda device: streams["step"])

    @contextlib.contextmanager
    def on(stream):
        noted.append(f"on {stream.name}")
        yield
        noted.append(f"off {stream.name}")

    monkeypatch.setattr(ahead.torch.cuda, "stream", on)
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda self, stream: noted.append(f"{stream.name} uses {int(self)}")
    )
    return noted


def numbers(noted: list, until: int | None = None, error: Exception | None = None):
    for number in itertools.count():
        noted.append(f"read {number}")
        if number == until:
            raise error
        yield {"x": torch.tensor(number)}


def test_each_batch_is_copied_while_the_one_before_it_computes(notes):
    batches = Ahead(numbers(notes), torch.device("cpu"))
    assert notes == [], "nothing is read before it is asked for"
    first = [int(batch["x"]) for batch in itertools.islice(batches, 2)]
    assert first == [0, 1]
    assert notes == [
        "read 0", "on side", "off side", "step waits for side", "step uses 0",
        "read 1", "on side", "off side",
        "step waits for side", "step uses 1",
        "read 2", "on side", "off side",
    ]  # fmt: skip


def test_the_batches_are_all_and_in_order(notes):
    steps = Ahead(numbers(notes), torch.device("cpu"))
    seen = [[int(batch["x"]) for batch in itertools.islice(steps, 2)] for _ in range(5)]
    assert seen == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_an_error_is_raised_when_its_batch_is_asked_for(notes):
    batches = Ahead(numbers(notes, 2, UserError("3 files are broken")), torch.device("cpu"))
    assert int(next(batches)["x"]) == 0 and int(next(batches)["x"]) == 1
    assert notes[-1] == "read 2", "it has been met already"
    with pytest.raises(UserError, match="3 files are broken"):
        next(batches)


def test_a_ctrl_c_is_not_kept_for_later(notes):
    batches = Ahead(numbers(notes, 1, KeyboardInterrupt()), torch.device("cpu"))
    with pytest.raises(KeyboardInterrupt):
        next(batches)


def test_an_end_is_an_end(notes):
    assert [int(batch["x"]) for batch in Ahead(itertools.islice(numbers(notes), 3), torch.device("cpu"))] == [0, 1, 2]


@pytest.mark.gpu
def test_on_a_card_no_batch_is_overwritten_while_a_step_reads_it():
    """The step is slower than the copies, so that memory that was given away too early would hold a later batch."""
    device = torch.device("cuda")
    host = ({"x": torch.full((256, 1024), float(number)).pin_memory()} for number in range(40))
    slow, found = torch.randn(2048, 2048, device=device), []
    for batch in Ahead(host, device):
        for _ in range(4):
            slow = slow @ slow / slow.norm()
        found.append(batch["x"].double().mean())
        del batch
    assert [float(value) for value in found] == list(range(40))
