"""A whole step of training as one CUDA graph: recorded once, and then played back by a single call of the host.

At batch 1 a card is done with a kernel before the host has launched the next one. A graph holds all launches of a step,
the backward passes and updates among them. What it plays back is what was recorded, on the same addresses: batches are
copied to where the recorded ones lay, and whatever else differs between steps (learning rates, the number of the step,
the flag of the finite gate, step counters, the pool of pictures) is a tensor that is changed in place. Random numbers
are drawn anew: a graph reads the generator's seed when it is played, so that a step that was seeded before it draws
what the plain one draws.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from i2i.speed.measure import Measure, Work, nothing

PLAIN_STEPS = 3  # before it is recorded: optimizers make their state, libraries their workspaces, compilers their code

Batch = dict[str, Tensor]


class Recorder(Protocol):
    """What a graph is recorded with."""

    def plainly(self, act: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Runs `act` where it will be recorded, and hands on what it returns."""

    def recorded(self, act: Callable[[], dict[str, Tensor]]) -> tuple[Callable[[], None], dict[str, Tensor]]:
        """(what plays `act` back, the tensors that it then fills); nothing has been computed yet.

        Raises:
            RuntimeError: something in it cannot be recorded.
        """


class CUDARecorder:
    """Records on a stream of its own: the legacy one cannot be recorded.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device)

    def plainly(self, act):
        now = torch.cuda.current_stream()
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            found = act()
        now.wait_stream(self.stream)
        for tensor in found.values():
            tensor.record_stream(now)
        return found

    def recorded(self, act):
        graph = torch.cuda.CUDAGraph()
        # threads that copy the next batch, or pin it, may go on meanwhile
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            found = act()
        return graph.replay, found


class CapturedStep:
    """Stands in for `method.step`: the same updates from the same draws, recorded after a few plain ones.

    What it returns is filled anew at each call. A batch of other shapes than the recorded ones goes the plain way, and
    so does everything where recording fails.

    Args:
        method: its `step` branches on nothing that differs between steps.
        recorder: of its device.
        say: takes the sentence where it cannot be recorded.
    """

    def __init__(self, method, recorder: Recorder, say: Callable[[str], None]):
        self.method, self.recorder, self.say = method, recorder, say
        self.left = PLAIN_STEPS
        self.batches: list[Batch] = []
        self.scalars: dict[str, Tensor] = {}
        self.replay: Callable[[], None] | None = None
        self.failed = False

    def __call__(self, batches: Iterator[Batch]) -> dict[str, Tensor]:
        given = list(batches)
        if self.failed:
            return self.method.step(iter(given))
        if self.left:
            self.left -= 1
            return self.recorder.plainly(lambda: self.method.step(iter(given)))
        if self.replay is None and not self._record(given):
            return self.method.step(iter(given))
        if not self._take(given):
            return self.recorder.plainly(lambda: self.method.step(iter(given)))
        self.replay()
        return self.scalars

    def _record(self, given: list[Batch]) -> bool:
        self.batches = [{key: value.clone() for key, value in batch.items()} for batch in given]
        try:
            self.replay, self.scalars = self.recorder.recorded(lambda: self.method.step(iter(self.batches)))
        except RuntimeError as error:
            self.failed, self.batches = True, []
            words = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            self.say(f"train.speed: a step could not be recorded as one CUDA graph ({words}); it runs plain.")
            return False
        return True

    def _take(self, given: list[Batch]) -> bool:
        """Copies batches to where the recorded ones lay; False where they do not fit there."""
        pairs = [(mine[key], new[key]) for mine, new in zip(self.batches, given, strict=True) for key in mine]
        if any(mine.shape != new.shape or mine.dtype != new.dtype for mine, new in pairs):
            return False
        for mine, new in pairs:
            mine.copy_(new)
        return True


def stepping(method, say: Callable[[str], None]) -> Callable[[Iterator[Batch]], dict[str, Tensor]]:
    """What makes a step of `method`. On a card its rates are tensors, recorded or not: so both round them alike.

    Args:
        say: takes the sentence where a step cannot be recorded.
    """
    runtime = method.runtime
    if runtime.device.type == "cuda":
        runtime.rates_on_device(method)
    return CapturedStep(method, CUDARecorder(runtime.device), say) if runtime.captured else method.step


class Graph(Measure):
    """Every step of a run on one card, unless something in it must look at values on the host."""

    name = "graph"
    devices = ("cuda",)
    rounds = False
    timed_on = ()

    def pick(self, work: Work, probe) -> bool:
        why = uncapturable(work.method.runtime)
        if why is not None:
            work.declined.append(f"no step as one CUDA graph: {why}")
        return why is None

    def apply(self, work: Work, picked: bool) -> Callable[[], None]:
        # nothing of the bits depends on it, so that a run may go on where it cannot be
        work.method.runtime.captured = uncapturable(work.method.runtime) is None
        return nothing

    def words(self, picked: bool) -> str:
        return "a step recorded as one CUDA graph"


def uncapturable(runtime) -> str | None:
    """Why a step on this runtime cannot be recorded; None where it can."""
    if runtime.device.type != "cuda":
        return "it needs a CUDA card"
    if runtime.processes.several:
        return "processes wait for each other in it"
    if runtime.recomputed:
        return "activation checkpointing puts random states back while it goes backward"
    return None
