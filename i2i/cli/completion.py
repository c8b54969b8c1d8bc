"""What the shell offers after TAB. It asks at every key press, so each function imports what it needs and no more."""

from pathlib import Path

import typer

from i2i.errors import UserError


def recipes(incomplete: str) -> list[str]:
    """For the shell: the names of shipped recipes, and files."""
    from i2i.config import shipped

    names = sorted(file.stem for file in shipped("recipes").glob("*.yaml"))
    folder = Path(incomplete).parent
    files = sorted(str(path) for path in folder.glob("*.yaml")) if folder.is_dir() else []
    return [name for name in (*names, *files) if name.startswith(incomplete)]


def keys(context: typer.Context, incomplete: str) -> list[str]:
    """For the shell: `section.key=` of the recipe that was named before."""
    from i2i.config import read

    try:
        lines = read(context.params["recipe"]).lines
    except (UserError, KeyError):
        return []
    leaves = [where for where in lines if not any(other[: len(where)] == where != other for other in lines)]
    return [key for where in leaves if (key := ".".join(where) + "=").startswith(incomplete)]


def cards(incomplete: str) -> list[str]:
    """For the shell: the data sets with a card."""
    from i2i.config import shipped

    return sorted(file.stem for file in shipped("cards").glob(f"{incomplete}*.yaml"))


def protocols(incomplete: str) -> list[str]:
    """For the shell: the ways to score."""
    from i2i.metrics import PROTOCOLS

    return [name for name in PROTOCOLS.names() if name.startswith(incomplete)]
