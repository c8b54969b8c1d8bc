"""Every command: help with examples that are themselves right, completion for the shell, quick answers."""

import os
import re
import shlex
import subprocess
import sys

import click
import pytest
import typer
from running import in_process

from i2i import cli, config
from i2i.data.synthetic import write_folder
from i2i.registry import closest


def commands(group: click.Command, words: tuple = ()):
    """(words on the command line, command) of every command below `group`."""
    for name, command in getattr(group, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(commands(typer.main.get_command(cli.app)))


def test_there_are_commands():
    known = {" ".join(words) for words in COMMANDS}
    assert {
        "train",
        "check",
        "translate",
        "doctor",
        "recipes list",
        "recipes show",
        "recipes copy",
        "recipes plan",
    } <= known
    assert {"data check", "data download", "data pairs"} <= known


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_its_help_has_examples_that_parse(words):
    command = COMMANDS[words]
    lines = [line.strip() for line in command.help.splitlines()]
    examples = [
        line.split("-m -- i2i ", 1)[-1].removeprefix("i2i ")
        for line in lines
        if "i2i " in line[:60] and line[0].islower()
    ]
    assert examples, f"the help of {' '.join(words)} shows no example"
    for example in examples:
        given = shlex.split(example)
        assert tuple(given[: len(words)]) == words
        command.make_context(words[-1], given[len(words) :])  # an unknown option or a missing argument raises


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_parameter_says_what_it_is(words):
    assert [p.name for p in COMMANDS[words].params if not getattr(p, "help", None)] == []


def test_the_first_help_leads_from_a_folder_to_pictures():
    lines = [line for line in typer.main.get_command(cli.app).help.splitlines() if line.startswith("i2i ")]
    assert len(lines) == 3
    for words in (line.split()[1:] for line in lines):
        name = tuple(words[:2]) if tuple(words[:2]) in COMMANDS else tuple(words[:1])
        COMMANDS[name].make_context(name[-1], words[len(name) :])


def completed(line: str) -> list[str]:
    words = line.split(" ")
    environment = {
        **os.environ,
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_I2I_COMPLETE": "complete_bash",
    }
    program = "from i2i.cli import app; app(prog_name='i2i')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120)
    assert "Traceback" not in done.stderr
    return done.stdout.split()


def test_the_shell_completes_recipes_keys_and_data_sets():
    assert "cyclegan_horse2zebra" in completed("i2i train cyc")
    assert completed("i2i train cyclegan_horse2zebra train.lo") == ["train.log_every="]
    assert "facades" in completed("i2i data download fac")
    assert completed("i2i train nothing_of_this_name train.lo") == []


def test_each_command_that_is_offered_works_with_blanks_in_names(tmp_path, monkeypatch):
    """From a folder of pictures to a plan, by pasting nothing but what the command before said."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "my photos", 6, size=32, half="photo")
    status, shown = in_process("recipes", "plan", "my photos", "--device", "cpu")
    assert status == 1
    status, shown = in_process(*offered(shown, r"i2i data pairs .* --by canny"))
    assert status == 0, shown
    status, shown = in_process(*offered(shown, r"(?<=Next: )i2i recipes plan .*"), "--out", "my plan.yaml")
    assert status == 0, shown
    assert offered(shown, r"i2i train .*") == ["train", "my plan.yaml"]
    assert in_process("check", "my plan.yaml")[0] == 0


def offered(shown: str, command: str) -> list[str]:
    return shlex.split(re.search(command, shown)[0])[1:]


def test_a_misspelt_command_names_the_right_one():
    status, shown = in_process("trian", "recipe.yaml")
    assert status != 0 and "train" in shown and "Traceback" not in shown


def test_help_needs_no_heavy_library():
    program = (
        "import sys; sys.argv = ['i2i', '--help']\nfrom i2i.cli import main\ntry:\n    main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'cv2', 'numpy', 'pydantic', 'albumentations') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"


def test_closest_is_what_a_typo_meant():
    assert closest("facdes", ["facades", "maps"]) == "facades" and closest("q", ["facades", "maps"]) is None
    assert config.shipped("recipes").is_dir()


def test_a_name_that_the_terminal_cannot_show_is_no_traceback(tmp_path):
    folder = tmp_path / "ü"
    write_folder(folder, 2, size=32)
    env = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "i2i", "data", "check", str(folder)], capture_output=True, env=env)
    assert b"Traceback" not in done.stderr and rb"\xfc" in done.stdout
