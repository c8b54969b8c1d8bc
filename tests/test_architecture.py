"""The folder list is the block diagram: these tests read every import and keep it so."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "i2i"
FILES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [
    *sorted(p for folder in ("i2i", "tests", "benchmarks", "docs") for p in (ROOT / folder).rglob("*.py")),
    ROOT / "setup.py",
]

TIERS = [
    {"errors", "seeds", "registry", "atomic", "yamlfile", "faults", "places", "heap"},
    {"config", "nets", "losses", "augment", "optimizers", "latent", "data", "metrics"},
    {"infer", "speed"},
    {"methods"},
    {"build"},
    {"evaluation", "prepare"},
    {"engine"},
    {"doctor"},
    {"cli"},
    {"__init__", "__main__"},
]
BASE = TIERS[0]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tier(name: str) -> int:
    return next(number for number, rooms in enumerate(TIERS) if name in rooms)


def imports(path: Path):
    """(module, line) of every import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written out from i2i"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def test_every_room_has_a_tier():
    assert {room(path) for path in FILES} <= set().union(*TIERS)


def test_imports_run_downward_only():
    wrong = []
    for path in FILES:
        here = room(path)
        for module, line in imports(path):
            parts = module.split(".")
            if parts[0] != "i2i" or len(parts) < 2 or parts[1] in (here, "__version__"):
                continue
            there = parts[1]
            beside = there in BASE and here in BASE  # the small modules at the bottom may know each other
            if not beside and tier(there) >= tier(here):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, wrong


def test_the_registry_knows_nothing_else():
    used = {module for module, _ in imports(PACKAGE / "registry.py") if module.startswith("i2i")}
    assert used == {"i2i.errors.UserError"}


def test_only_the_runtime_imports_accelerate():
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for module, _ in imports(path)
        if module.split(".")[0] == "accelerate"
    }
    assert users == {"engine/runtime.py"}


def test_albumentations_is_imported_in_one_file():
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for module, _ in imports(path)
        if module.split(".")[0] == "albumentations"
    }
    assert users == {"data/transform.py"}


def calls(path: Path):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def dotted(node) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_nothing_is_unpickled_or_evaluated(path):
    assert not [
        module
        for module, _ in imports(path)
        if module.split(".")[0] in ("pickle", "dill", "cloudpickle", "shelve", "marshal")
    ]
    for call in calls(path):
        name = dotted(call.func)
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        assert name not in ("eval", "exec"), f"line {call.lineno}"
        if name == "torch.load":
            assert isinstance(keywords.get("weights_only"), ast.Constant) and keywords["weights_only"].value is True, (
                f"line {call.lineno}"
            )
        if name == "yaml.load":
            loader = keywords.get("Loader") or (call.args[1] if len(call.args) > 1 else None)
            assert loader is not None and dotted(loader) in ("yaml.SafeLoader", "RecipeLoader"), f"line {call.lineno}"
        assert (
            name not in ("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "np.load", "numpy.load")
            or keywords.get("allow_pickle") is False
        )


def test_the_loader_of_recipes_is_a_safe_one():
    import yaml

    from i2i.yamlfile import RecipeLoader

    assert issubclass(RecipeLoader, yaml.SafeLoader)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert len(text.splitlines()) < 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno - body[0].lineno + 1) if body else 0
            assert length < 60, f"{node.name} has {length} lines"
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: errors for users are raised, not asserted"
    assert ast.get_docstring(ast.parse(text)), "a file says what it is"


def test_the_base_of_methods_is_small_and_knows_no_subclass():
    text = (PACKAGE / "methods" / "method.py").read_text()
    assert len(text.splitlines()) < 120
    assert not re.search(r"cyclegan|pix2pix", text, re.IGNORECASE)


def test_the_loop_is_short_and_names_no_method():
    engine = [path.read_text() for path in sorted((PACKAGE / "engine").glob("*.py"))]
    assert len((PACKAGE / "engine" / "loop.py").read_text().splitlines()) < 150
    assert not [text for text in engine if re.search(r"cyclegan|pix2pix", text, re.IGNORECASE)]


def test_a_file_is_called_as_what_it_registers():
    from i2i.build.check import REGISTRIES

    for kind in ("method", "generator", "discriminator", "data kind"):
        for name in REGISTRIES[kind].names():
            assert REGISTRIES[kind].get(name).__module__.rpartition(".")[2] == name, (kind, name)


def test_no_rooms_called_utils_and_none_empty():
    folders = [p for p in PACKAGE.rglob("*") if p.is_dir() and p.name != "__pycache__"]
    assert not [p for p in folders if re.search("util|misc|common|helper", p.name)]
    assert not [p for p in folders if not list(p.glob("*.py")) and p.name not in ("recipes", "cards")]


def test_the_project_speaks_of_itself_alone():
    for path in SOURCES:
        if path.name != "test_architecture.py":
            assert not re.search(r"/(root|home|Users)/|TODO|FIXME|XXX", path.read_text()), path
