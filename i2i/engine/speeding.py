"""train.speed: what was found to be faster is chosen once, before the first step, and kept as long as the run lives.

A faster form may round otherwise, so that a continued run must go on with the very choice that it began with. It stands
in every checkpoint, and until there is one in speed.json of the run folder.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from i2i import atomic
from i2i.engine.processes import Processes
from i2i.errors import UserError
from i2i.speed import choosing
from i2i.speed.measure import Work

FILE = "speed.json"


def refuse(wanted: str, device: torch.device) -> None:
    """UserError where train.speed asks for what cannot be on this device."""
    if wanted in choosing.KNOWN and device.type not in (offered := choosing.KNOWN[wanted].devices):
        raise UserError(
            f"train.speed is {wanted}, which is for {' and '.join(offered)}, and this run computes on {device.type}. "
            "Set train.speed=auto, or give --device cpu."
        )


def settle(
    work: Work, stored: dict[str, Any] | None, path: Path, processes: Processes, stack: ExitStack,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Puts the run's choice into effect and says it; returns it for checkpoints, {"device", "wanted", "picked"}.

    Of several processes, process 0 tries out and all take what it chose.

    Args:
        work: its `wanted` is train.speed.
        stored: of the checkpoint that is continued; None at a start.
        path: the run folder.
        stack: takes back at its end what changed the whole process.
    """
    device, wanted, begun = work.device.type, work.wanted, stored
    if begun is None:
        begun = processes.from_first(_read(path) if processes.leads else None)
    if begun is not None and begun["device"] != device:
        begun = None  # as is said elsewhere, it ends near where it would have, not with the same bits
    if wanted == "plain":
        if stored is not None and choosing.rounds(stored["picked"]):
            say("train.speed is plain from here on: this run ends near, not bit for bit, where it would have.")
        return {"device": device, "wanted": wanted, "picked": {}}
    if begun is None:
        begun = {"device": device, "wanted": wanted, "picked": choosing.choose(work) if processes.leads else {}}
        begun = processes.from_first(begun)
        if processes.leads and begun["picked"]:
            atomic.write_text(path / FILE, json.dumps(begun))
    elif begun.get("wanted", wanted) != wanted:
        say(f"train.speed: this run has gone on {begun['wanted']} so far, and stays so")
    stack.callback(choosing.apply(work, begun["picked"]))
    if begun["picked"] or work.notes or work.declined:
        say(_words(begun["picked"], work))
    if begun.get("wanted") == wanted and wanted not in (*begun["picked"], "auto"):
        say(f"train.speed: {wanted} does not pay here, or this run is too short to find out; it goes on without it")
    return begun


def _words(picked: dict[str, Any], work: Work) -> str:
    shown = f"train.speed: {'; '.join([choosing.words(picked, work.notes), *work.declined])}"
    if not picked:
        return shown
    ending = "Results differ by rounding alone" if choosing.rounds(picked) else "Results keep every bit"
    return f"{shown}. {ending}; train.speed=plain turns all off."


def _read(path: Path) -> dict[str, Any] | None:
    """What a run chose that was ended before its first checkpoint; None where that cannot be known."""
    try:
        found = json.loads((path / FILE).read_text())
        return found if isinstance(found["picked"], dict) and isinstance(found["device"], str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
