"""From equation to code: what the page names is there, its pieces of Python print what it says, and the Japanese pages
are the English ones in everything that is not prose: headings, equations, code, names, numbers, links, tables."""

import ast
import importlib
import re
import runpy
import shlex
from collections import Counter
from pathlib import Path

import pytest
import torch
from making import batches, small_method

from i2i import build, config
from i2i.losses import CONSTRAINTS, OBJECTIVES
from i2i.methods import METHODS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "from-equation-to-code.md"
TWINS = {PAGE: PAGE.with_suffix(".ja.md"), ROOT / "README.md": ROOT / "README.ja.md"}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INDENTED = re.compile(r"(?:^    .*\n)+", re.M)
DISPLAY = re.compile(r"^\$\$\n(.*?)^\$\$$", re.M | re.S)
MATH = re.compile(r"\$([^$\n]+)\$")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)]+)\)")
ROW = re.compile(r"^\| \((\d+)\) \| `([^`]+)` \| `([^`]+)` \| (?:`([^`]+)`|none) \|$", re.M)


def bare(text):
    """The prose of a page: without code blocks and displayed equations."""
    return INDENTED.sub("", DISPLAY.sub("", FENCE.sub("", text)))


def text_of(page=PAGE):
    return page.read_text(encoding="utf-8")


TEXT = text_of()
SNIPPETS = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", TEXT, flags=re.M | re.S)
ROWS = ROW.findall(TEXT)
NAMES = sorted({name for name in CODE.findall(bare(TEXT)) if re.fullmatch(r"i2i(\.\w+)+", name)})
TESTS = sorted({name for name in CODE.findall(bare(TEXT)) if "::" in name})
RECIPES = sorted({name for name in CODE.findall(bare(TEXT)) if name.endswith(".yaml")})
COMMANDS = [line for language, block in FENCE.findall(TEXT) if language == "bash" for line in block.splitlines()]


# -- what the page names


def found(name):
    """What a dotted name stands for: the longest part that is a module, then attributes."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        module = ".".join(parts[:count])
        try:
            thing = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):  # a module that is there lacks another
                raise
            continue
        for attribute in parts[count:]:
            thing = getattr(thing, attribute)
        return thing
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_dotted_name_is_there(name):
    assert found(name).__doc__ or name.endswith((".step", ".critics")), "what is shown to a learner says what it is"


@pytest.mark.parametrize("name", TESTS)
def test_every_test_is_there(name):
    file, _, function = name.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert function.startswith("test_")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_there(name):
    assert (ROOT / "recipes" / name).is_file()


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one_that_i2i_takes(line):
    """Recipe and overrides are checked as `i2i check` does, without data."""
    program, command, recipe, *overrides = shlex.split(line)
    assert (program, command) == ("i2i", "train") and (ROOT / recipe).is_file()
    build.check(config.read(ROOT / recipe, overrides))


def test_every_numbered_equation_has_its_row():
    tags = re.findall(r"\\tag\{(\d+)\}", TEXT)
    assert tags == [str(number) for number in range(1, len(tags) + 1)] and len(tags) > 40
    assert {number for number, *_ in ROWS} == set(tags)
    for _, name, test, recipe in ROWS:
        assert name in NAMES and test in TESTS and (not recipe or recipe in RECIPES), "a row holds them in this order"
    assert len(ROWS) == len(re.findall(r"^\| \(\d+\) \|(?:[^|]+\|){3}$", TEXT, flags=re.M)), "rows of another form"


def test_what_can_be_named_in_a_recipe_is_on_the_page():
    """A method, an objective or a constraint that was added is missing here until the page tells of it."""
    said = set(CODE.findall(bare(TEXT)))
    missing = {*METHODS.names(), *OBJECTIVES.names(), *CONSTRAINTS.names()} - said
    assert not missing, f"{PAGE.name} says nothing of {', '.join(sorted(missing))}; write its equations and its names"


@pytest.mark.parametrize("code, printed", SNIPPETS, ids=[str(number) for number in range(1, len(SNIPPETS) + 1)])
def test_every_piece_of_python_prints_what_stands_below_it(code, printed, tmp_path, capsys):
    file = tmp_path / "snippet.py"
    file.write_text(code, encoding="utf-8")
    runpy.run_path(str(file))
    assert capsys.readouterr().out == printed


def test_no_block_of_python_is_passed_over():
    languages = Counter(language for language, _ in FENCE.findall(TEXT))
    assert len(SNIPPETS) >= 12
    assert languages == {"python": len(SNIPPETS), "text": len(SNIPPETS), "bash": 1}


def test_two_time_scales_are_two_learning_rates():
    """Equation (33): with plain gradient descent every weight of a group moves by its own rate times its gradient."""
    rates = {"G": 1e-4, "D": 4e-4}
    method, _ = small_method("pix2pix", *[f"optimizer.{g}={{name: sgd, lr: {rate}}}" for g, rate in rates.items()])
    moved, inner = [], method.runtime.descend

    def descend(of, group, loss):
        weights = [p for net in of.groups[group] for p in of.nets[net].parameters()]
        before, slopes = [p.detach().clone() for p in weights], torch.autograd.grad(loss, weights, retain_graph=True)
        inner(of, group, loss)
        for old, slope, new in zip(before, slopes, weights):
            assert torch.allclose(new, old - rates[group] * slope, rtol=0, atol=1e-6 * rates[group] + 1e-8)
        far = max((new - old).abs().max().item() for old, new in zip(before, weights))
        moved.append((group, far > 1e-6))

    method.runtime.descend = descend
    method.step(iter(batches(method, 1)))
    assert moved == [("D", True), ("G", True)]


# -- mathematics as GitHub shows it


@pytest.mark.parametrize("page", [PAGE, TWINS[PAGE]], ids=lambda page: page.name)
def test_equations_are_written_so_that_they_are_shown(page):
    """Markdown eats a backslash before punctuation, some macros are refused, and a formula between words is seen as one
    only where a space or ASCII punctuation stands on both sides."""
    text = text_of(page)
    prose = bare(text)
    for formula in DISPLAY.findall(text) + MATH.findall(prose):
        assert not re.search(r"\\[^A-Za-z]", formula), formula
        assert not re.search(r"\\(operatorname|label|ref|def|newcommand)\b", formula), formula
        assert formula.count("{") == formula.count("}"), formula
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula)), formula
    assert text.count("$$") == 2 * len(DISPLAY.findall(text))
    for line in prose.splitlines():
        assert line.count("$") % 2 == 0, line
        for match in MATH.finditer(line):
            before, after = line[: match.start()][-1:], line[match.end() :][:1]
            assert match[1] == match[1].strip() and before in ("", " ", "(") and after in ("", *" .,:;)"), line


# -- twins


def sections(text):
    """[(level, the text below that heading)], the part before the first heading left out."""
    pieces = re.split(r"^(#+) .*\n", FENCE.sub(lambda m: m[0].replace("#", "\0"), text), flags=re.M)
    return [(len(marks), body.replace("\0", "#")) for marks, body in zip(pieces[1::2], pieces[2::2])]


def skeleton(body):
    """Everything of a section that is not prose."""
    prose = bare(body)
    rows = [line for line in prose.splitlines() if line.startswith("|")]
    words = LINK.sub("]", MATH.sub("", CODE.sub("", prose)))
    plain = [block for block in re.split(r"\n\s*\n", prose) if block.strip() and not block.startswith("|")]
    return {
        "equations": DISPLAY.findall(body),
        "code blocks": FENCE.findall(body) + INDENTED.findall(body),
        "names in backticks": Counter(CODE.findall(prose)),
        "formulas between words": Counter(MATH.findall(prose)),
        "cells of every row": [row.count("|") for row in rows],
        "first cell where it is code or a number": [cell for row in rows if (cell := row.split("|")[1])[1:2] in "(`"],
        "numbers": Counter(re.findall(r"\d[\d.,]*\d|\d", words)),
        "bold": words.count("**"),
        "paragraphs": len(plain),
    }


@pytest.mark.parametrize(("page", "twin"), TWINS.items(), ids=lambda page: page.name)
def test_the_twin_is_equal_in_structure(page, twin):
    ours, theirs = sections(text_of(page)), sections(text_of(twin))
    assert [level for level, _ in theirs] == [level for level, _ in ours], "headings"
    wrong = []
    for number, ((_, english), (_, japanese)) in enumerate(zip(ours, theirs), start=1):
        wanted, there = skeleton(english), skeleton(japanese)
        for part, value in wanted.items():
            if there[part] != value:
                both = isinstance(value, Counter)
                shown = f"lacks {dict(value - there[part])}, has {dict(there[part] - value)}" if both else there[part]
                wrong.append(f"{twin.name}, heading {number}, {part}: {shown}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("page", "twin"), TWINS.items(), ids=lambda page: page.name)
def test_the_twins_link_to_each_other_and_to_the_same_pages(page, twin):
    """A link leads to the Japanese page where there is one; and every link of the Japanese page leads somewhere."""

    def japanese(target):
        other = target.removesuffix(".md") + ".ja.md"
        return other if target.endswith(".md") and (page.parent / other).is_file() else target

    ours, theirs = Counter(LINK.findall(text_of(page))), Counter(LINK.findall(text_of(twin)))
    assert ours.pop(twin.name) == 1 and theirs.pop(page.name) == 1
    assert theirs == Counter({japanese(target): count for target, count in ours.items()})
    for target in theirs:
        assert "://" in target or (twin.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("twin", TWINS.values(), ids=lambda page: page.name)
def test_the_twin_is_in_japanese(twin):
    """Every paragraph of prose that has words has kana, and none ends in the polite form."""
    for block in re.split(r"\n\s*\n", bare(text_of(twin))):
        words = LINK.sub("]", MATH.sub("", CODE.sub("", block)))
        if len(re.findall(r"[A-Za-z]{2,}", words)) > 6:
            assert re.search(r"[ぁ-ん]", words), block
        assert not re.search(r"(です|ます|ました|ません|でしょう)(。|$)", words), block
