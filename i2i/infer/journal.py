"""Which outputs of a folder are there already: made of which input, by which weights, under which options.

One line of JSON for each output, appended once the output is in its place. An output counts as made only where its own
bytes and those of its input still have the digests of its line: whatever a kill, another call or a person did between
two lines, an output that is not what the line says is made again.
"""

import contextlib
import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from i2i import atomic

NAME = ".i2i-translated.jsonl"
SUPERFLUOUS = 1000  # lines about outputs that were made again since, from which on the file is written anew


def digest(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Journal:
    """The lines of one output folder.

    Args:
        base: the folder, to which the names of outputs are relative. A last line that a power cut tore is passed over.
        settings: strict JSON, all that an output depends on beside its input and the number of its sample.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(self, base: Path, settings: dict[str, Any]):
        self.base, self.path = base, base / NAME
        self.settings = digest(json.dumps(settings, sort_keys=True, allow_nan=False).encode())
        self.lines: dict[str, dict[str, Any]] = {}
        torn = self._read()
        self.handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        if torn:
            self._append(b"\n")

    def _read(self) -> bool:
        """Takes the lines that are there; whether the last one was torn."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return False
        rows = data.splitlines()
        for row in rows:
            with contextlib.suppress(ValueError, TypeError, KeyError):  # torn, or not ours: it vouches for nothing
                line = json.loads(row)
                self.lines[str(line["output"])] = dict(line)
        if len(rows) > len(self.lines) + SUPERFLUOUS:
            atomic.write_bytes(self.path, *(_row(line) for line in self.lines.values()))
            return False
        return bool(data) and not data.endswith(b"\n")

    def holds(self, path: Path, sample: int, source: str) -> bool:
        """Whether `path` is whole, and what these weights and options made of the input of digest `source`."""
        line = self.lines.get(self._name(path))
        if line is None or any(line.get(key) != value for key, value in self._origin(sample, source).items()):
            return False
        try:
            return not path.is_symlink() and digest(path.read_bytes()) == line.get("bytes")
        except OSError:
            return False

    def add(self, path: Path, sample: int, source: str, data: bytes) -> None:
        """`path` is in its place and holds `data`. OSError: the disk took no more."""
        line = {"output": self._name(path), **self._origin(sample, source), "bytes": digest(data)}
        self._append(_row(line))
        self.lines[line["output"]] = line

    def close(self) -> None:
        """Ends the writing."""
        os.close(self.handle)

    def _append(self, row: bytes) -> None:
        if os.write(self.handle, row) != len(row):  # one call, so that lines of two processes do not mix
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _origin(self, sample: int, source: str) -> dict[str, Any]:
        return {"input": source, "sample": sample, "settings": self.settings}

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self.base)


def _row(line: dict[str, Any]) -> bytes:
    return json.dumps(line, allow_nan=False).encode() + b"\n"
