"""The recipes that come with i2i: what each one trains, its text, and a copy to change."""

import os
import re
import shlex
from pathlib import Path

from i2i import atomic, config
from i2i.errors import UserError
from i2i.registry import nearest


def titles() -> dict[str, str]:
    """{name: what its header says first}, sorted by name; one line each, without the paper in brackets."""
    return {path.stem: _title(path.read_text(encoding="utf-8")) for path in _files()}


def text(name: str) -> str:
    """The whole file of a shipped recipe, comments included; UserError with the nearest name for an unknown one."""
    return _file(name).read_text(encoding="utf-8")


def copy(name: str, to: str | os.PathLike | None = None) -> Path:
    """Writes a shipped recipe to a file of the user's, and says in its header how that file is trained.

    The header's `i2i train recipes/NAME.yaml` names the copy instead: as it stands it would train the shipped one. All
    else is the same text.

    Args:
        name: as in `titles`.
        to: the new file, or a folder for NAME.yaml; ./NAME.yaml if None.

    Raises:
        UserError: an unknown name, a file that is there already, a folder that is not.
    """
    source = _file(name)
    path = Path(f"{source.stem}.yaml") if to is None else Path(os.path.expanduser(to))
    path = path / f"{source.stem}.yaml" if path.is_dir() else path
    place_for(path, f"i2i recipes copy {source.stem} OTHER.yaml")
    header = re.compile(rf"(?m)^(#.*\bi2i (?:train|check) )recipes/{re.escape(source.stem)}\.yaml")
    atomic.write_text(path, header.sub(lambda found: found[1] + shlex.quote(path.as_posix()), text(name)))
    return path


def place_for(path: Path, elsewhere: str) -> None:
    """UserError where `path` is taken or its folder is not there; `elsewhere` is the command that writes another."""
    if os.path.lexists(path):
        raise UserError(f"{path} is there already and is never overwritten. Give another file: {elsewhere}")
    if not path.parent.is_dir():
        raise UserError(
            f"{path}: the folder {path.parent} does not exist. Make it first: mkdir -p {shlex.quote(str(path.parent))}"
        )


def _files() -> list[Path]:
    return sorted(config.shipped("recipes").glob("*.yaml"))


def _file(name: str) -> Path:
    known = {path.stem: path for path in _files()}
    stem = name.removeprefix("recipes/").removesuffix(".yaml")
    if stem not in known:
        raise UserError(f"there is no recipe '{name}'.{nearest(stem, known)} Known: {', '.join(known)}")
    return known[stem]


def _title(text: str) -> str:
    """The first sentence of the header, up to the paper in brackets or the command that stands apart at the right."""
    header = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words, gap, _ = line.lstrip("# ").partition("   ")  # the command stands apart, at the right
        header.append(words)
        if gap:
            break
    return re.split(r" \(|\.(?:\s|$)", " ".join(header), maxsplit=1)[0].strip()
