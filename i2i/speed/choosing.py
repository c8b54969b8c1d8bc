"""Which measures a run takes: tried out once, kept for its life."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from i2i.errors import UserError
from i2i.nets.winograd import F2, F4
from i2i.speed.adam import FusedAdam
from i2i.speed.allocator import KeptMemory
from i2i.speed.graph import Graph
from i2i.speed.layout import ChannelsLast
from i2i.speed.matrix import MatrixProducts
from i2i.speed.measure import Measure, Work
from i2i.speed.probe import Probe
from i2i.speed.threads import Threads
from i2i.speed.together import Together
from i2i.speed.winograd import Winograd

# in the order in which they are tried, those that change the whole process first
MEASURES: tuple[Measure, ...] = (
    KeptMemory(), Threads(), FusedAdam(), Winograd("winograd", F4, (F2,), asked=True),
    Winograd("winograd2", F2, asked=False), MatrixProducts(), ChannelsLast(), Together(), Graph(),
)  # fmt: skip
PROBE = "probe"  # among the notes
KNOWN = {measure.name: measure for measure in MEASURES}


def choose(work: Work, probe: Probe | None = None) -> dict[str, Any]:
    """{measure: what it picked} where it pays; nothing that must be tried where the run is over before that is earned.

    `work` is afterwards as it was.
    """
    probe = probe or Probe()
    picked: dict[str, Any] = {}
    device = work.device.type
    measures = [m for m in MEASURES if device in m.devices and (not m.asked or work.wanted == m.name)]
    timed = any(device in measure.timed_on for measure in measures) and probe.worth(work)
    if not timed:
        measures = [measure for measure in measures if device not in measure.timed_on]
    undo = []
    cards = [work.device] if work.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cards):
            _try_all(measures, work, probe, picked, undo)
        if timed:
            work.notes[PROBE] = probe.words
    finally:
        work.taken.clear()
        for act in reversed(undo):
            act()
    return picked


def _try_all(
    measures: list[Measure], work: Work, probe: Probe, picked: dict[str, Any], undo: list[Callable[[], None]]
) -> None:
    for measure in measures:
        if found := measure.pick(work, probe):
            picked[measure.name] = found
            if measure.everywhere:
                undo.append(measure.apply(work, found))


def apply(work: Work, picked: Mapping[str, Any]) -> Callable[[], None]:
    """Puts a choice into effect; returns what takes back its effects on the whole process.

    Raises:
        UserError: a measure that this version does not know, or that does not fit this training.
    """
    if unknown := [name for name in picked if name not in KNOWN]:
        raise UserError(
            f"this run's choice of speed has '{unknown[0]}', which this version of i2i does not know. "
            f"Known: {', '.join(KNOWN)}. Continue it with the version that began it, or with train.speed=plain."
        )
    undo = [measure.apply(work, picked[measure.name]) for measure in MEASURES if picked.get(measure.name)]

    def taken_back() -> None:
        for act in reversed(undo):
            act()

    return taken_back


def rounds(picked: Mapping[str, Any]) -> bool:
    """Whether a choice changes results by rounding."""
    return any(measure.rounds for measure in MEASURES if picked.get(measure.name))


def words(picked: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """A choice in one line, each measure with what its probe found."""
    shown = []
    for measure in MEASURES:
        if picked.get(measure.name):
            note = notes.get(measure.name)
            shown.append(measure.words(picked[measure.name]) + (f" ({note})" if note else ""))
    return "; ".join([*(shown or ["nothing beside the plain way pays"]), *([notes[PROBE]] if PROBE in notes else [])])
