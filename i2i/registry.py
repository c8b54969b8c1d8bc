"""Names and the things they stand for. A registry fills itself from the modules of its package, so no list is kept."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable

from i2i.errors import UserError


def closest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The known name that is most like `word`, if any is as like as `cutoff` (0 to 1, difflib's ratio)."""
    lowered = {str(name).lower(): name for name in known}
    found = difflib.get_close_matches(str(word).lower(), list(lowered), n=1, cutoff=cutoff)
    return lowered[found[0]] if found else None


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'resnet'?`, or nothing when no known name is near."""
    found = closest(word, known)
    return f" Did you mean '{found}'?" if found else ""


class Registry:
    """Maps a name to a class or function.

    Args:
        kind: what a name stands for, as a user would say it: "generator".
        package: every module of this package is imported before the first look-up; None imports nothing.
    """

    def __init__(self, kind: str, package: str | None = None):
        self.kind = kind
        self._package = package
        self._entries: dict[str, Callable] = {}

    def register(self, name: str) -> Callable:
        """Decorator: `@GENERATORS.register("unet")`."""

        def enter(thing: Callable) -> Callable:
            if name in self._entries:
                raise KeyError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = thing
            return thing

        return enter

    def names(self) -> list[str]:
        """All known names, sorted."""
        self._fill()
        return sorted(self._entries)

    def get(self, name: str) -> Callable:
        """The thing behind `name`; UserError names the nearest known one."""
        self._fill()
        if name not in self._entries:
            raise UserError(self.unknown(name))
        return self._entries[name]

    def unknown(self, name: object) -> str:
        """The sentence for a name that is not registered."""
        article = "an" if self.kind[0] in "aeiou" else "a"
        return (
            f"'{name}' is not {article} {self.kind}.{nearest(str(name), self.names())} Known: {', '.join(self.names())}"
        )

    def build(self, name: str, *args, **kwargs):
        """`get(name)(*args, **kwargs)`."""
        return self.get(name)(*args, **kwargs)

    def _fill(self) -> None:
        if self._package is None:
            return
        package, self._package = importlib.import_module(self._package), None
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
