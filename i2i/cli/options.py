"""What commands share: where to compute, and where they say things."""

import sys
from enum import StrEnum
from typing import Annotated

import typer


class Device(StrEnum):
    auto = "auto"
    cuda = "cuda"
    mps = "mps"
    cpu = "cpu"


DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes cuda, then mps, then cpu.")]


def aside(text: str) -> None:
    """A line for the user, beside what the command prints."""
    print(text, file=sys.stderr)
