"""A recipe as a file that is nice to read: every value in one order, and the reasons beside what was chosen."""

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

WIDTH = 120
_BLOCKS = ("data", "train")  # sections with a line for each key; of the others a line each
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_NOT_PLAIN = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


def written(sections: Mapping[str, Mapping[str, Any]], why: Mapping[tuple[str, ...], str], header: list[str]) -> str:
    """The text of a recipe.

    Args:
        sections: every section with every value, as `Recipe.model_dump()` gives them.
        why: {path of keys: sentence}, a comment above a section or, in `data` and `train`, above a key.
        header: paragraphs that open the file.
    """
    lines = [line for paragraph in header for line in comment(paragraph, "")]
    for name, values in sections.items():
        reason = why.get((name,))
        if reason or name in _BLOCKS:
            lines.append("")
        lines += comment(reason, "") if reason else []
        if name in _BLOCKS:
            lines.append(f"{name}:")
            for key, value in values.items():
                lines += comment(why[name, key], "  ") if (name, key) in why else []
                lines.append(f"  {key}: {flow(value)}")
        elif name == "optimizer":
            lines += [f"{name}:", *(f"  {group}: {flow(value)}" for group, value in values.items())]
        else:
            lines += _folded(name, values)
    return "\n".join(lines) + "\n"


def comment(text: str, indent: str) -> list[str]:
    """The lines of a comment."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
    )


def flow(value: Any) -> str:
    """One value as it stands in a recipe."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(inner).replace("_", "") if _whole(inner) else flow(inner) for inner in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, float):
        return _float(value)
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text.lower() not in _NOT_PLAIN else json.dumps(text, ensure_ascii=False)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _float(value: float) -> str:
    """0.5, 100.0, 2.0e-4: what reads back as the same number, and as a float."""
    if value and not 1e-3 <= abs(value) < 1e7:
        digits, _, power = f"{value!r}".partition("e") if "e" in repr(value) else f"{value:e}".partition("e")
        if float(f"{digits}e{power}") != value:
            digits, _, power = f"{value:.17e}".partition("e")
        digits = digits.rstrip("0") if "." in digits else digits + ".0"
        return f"{digits}{'0' if digits.endswith('.') else ''}e{int(power)}"
    return repr(value)


def _folded(name: str, values: Mapping[str, Any]) -> list[str]:
    """`name: {...}` on one line, or below the name where it is too long for one."""
    line = f"{name}: {flow(values)}"
    if len(line) <= WIDTH:
        return [line]
    items = [f"{key}: {flow(value)}" for key, value in values.items()]
    lines, current = [], "  {"
    for number, item in enumerate(items):
        ending = ", " if number < len(items) - 1 else "}"
        if len(current + item + ending.rstrip()) > WIDTH and current.strip(" {"):
            lines.append(current.rstrip())
            current = "   "
        current += item + ending
    return [f"{name}:", *lines, current]
