"""Logs of a run that have a line for a step: a run that goes on keeps those up to the step it goes on from."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from i2i import atomic


def taken_up(file: Path, step: int) -> list[dict[str, Any]]:
    """The lines up to `step`; later ones, and one that a kill left half written, are dropped from the file."""
    if not file.exists():
        return []
    kept, lines = [], []
    for text in file.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError, KeyError, TypeError):
            line = json.loads(text)
            if line["step"] <= step:
                kept.append(text + "\n")
                lines.append(line)
    atomic.write_text(file, "".join(kept))
    return lines
