"""YAML as recipes are written: 2e-4 is a number, true and false the only booleans, no key twice, a line for each."""

import re
from pathlib import Path
from typing import Any

import yaml

COMMAND_LINE = "command line"


class YamlError(ValueError):
    """What is wrong with the text, in a sentence, with its line."""


class RecipeLoader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's numbers and booleans, and without anchors."""

    yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0].rpartition(":")[2] not in ("bool", "float", "int", "timestamp")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not used here: write the value out",
                problem_mark=self.peek_event().start_mark,
            )
        return super().compose_node(parent, index)


for _tag, _pattern, _first in [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
]:
    RecipeLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _int(loader: RecipeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    return int(text, 16) if "0x" in text else int(text)  # 0644 is 644 here, as YAML 1.2 has it


RecipeLoader.add_constructor("tag:yaml.org,2002:int", _int)


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[tuple, int]]:
    """(the mapping in the file, {path of keys: line}); YamlError for anything but one closed mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise YamlError("is not a text file in UTF-8.") from None
    node = _compose(text)
    if not isinstance(node, yaml.MappingNode):
        raise YamlError("holds no keys: a recipe is a mapping of sections (method, generator, ...).")
    lines: dict[tuple, int] = {}
    return _plain(node, (), lines), lines


def read_yaml_value(text: str) -> Any:
    """One value, as after `section.key=` on the command line."""
    node = _compose(text)
    return None if node is None else _plain(node, (), {})


def _compose(text: str) -> yaml.Node | None:
    loader = RecipeLoader(text)
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(
            f"line {mark.line + 1 if mark else 1}: this is not YAML: {error.problem or error.context}."
        ) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlError(f"this is not YAML: {str(error).splitlines()[0]}.") from None
    finally:
        loader.dispose()


def _plain(node: yaml.Node, where: tuple, lines: dict[tuple, int]) -> Any:
    if not isinstance(node, yaml.ScalarNode) and node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
        raise YamlError(f"line {node.start_mark.line + 1}: the tag {node.tag} is not used here: leave it out.")
    if isinstance(node, yaml.MappingNode):
        result = {}
        for key_node, value_node in node.value:
            key = str(_scalar(key_node))
            if key in result:
                raise YamlError(
                    f"line {key_node.start_mark.line + 1}: '{'.'.join((*where, key))}' stands here a second time."
                )
            lines[(*where, key)] = key_node.start_mark.line + 1
            result[key] = _plain(value_node, (*where, key), lines)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*where, str(index)), lines) for index, child in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    loader = RecipeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        problem = getattr(error, "problem", None) or error
        raise YamlError(f"line {node.start_mark.line + 1}: {problem}.") from None
    finally:
        loader.dispose()
