"""A thousand damaged recipes: each is refused in words with file and line, never with a traceback, and typos are named."""

import random
import string

import pytest
import yaml

from i2i import build, config
from i2i.errors import UserError
from i2i.faults import RecipeError

NAMES = sorted(path.stem for path in config.shipped("recipes").glob("*.yaml"))
# values that are one of a few words: a typo in one must be told with the word that was meant
WORDS = {
    ("method", "name"), ("method", "objective"), ("method", "constraint", "name"), ("generator", "name"), ("generator", "norm"),
    ("generator", "upsample"), ("generator", "padding"), ("discriminator", "name"), ("discriminator", "norm"), ("data", "kind"),
    ("optimizer", "G", "name"), ("optimizer", "D", "name"), ("train", "precision"), ("train", "speed"), ("train", "tracker"), ("translate", "norm"),
    ("encoder", "name"), ("evaluate", "protocol"), ("method", "prior"), ("method", "likelihood"), ("data", "distribution"),
}  # fmt: skip
FREE_KEYS = {("augment", "policy")}  # lists


def keys(node: dict, where: tuple = ()) -> list[tuple]:
    """The path of every key, sections included."""
    found = []
    for key, value in node.items():
        found.append((*where, key))
        if isinstance(value, dict):
            found += keys(value, (*where, key))
    return found


def get(node: dict, where: tuple):
    for key in where:
        node = node[key]
    return node


def typo(word: str, dice: random.Random) -> str:
    """One letter dropped, doubled, exchanged with its neighbour or replaced."""
    while True:
        place = dice.randrange(len(word))
        kind = dice.choice(["drop", "double", "swap", "replace"])
        letters = list(word)
        if kind == "drop" and len(word) > 2:
            del letters[place]
        elif kind == "double":
            letters.insert(place, letters[place])
        elif kind == "swap" and place + 1 < len(word):
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
        elif kind == "replace":
            letters[place] = dice.choice(string.ascii_lowercase)
        made = "".join(letters)
        if made != word:
            return made


def rename(node: dict, old: str, new: str) -> None:
    """Renames a key in place, keeping the order."""
    items = [(new if key == old else key, value) for key, value in node.items()]
    node.clear()
    node.update(items)


def written(recipe: dict, path) -> config.Source:
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return config.read(path)


def refused(source: config.Source) -> RecipeError | None:
    """The refusal; None where the recipe is right all the same. Anything but a UserError is a failure of the test."""
    try:
        build.check(source)
    except RecipeError as error:
        assert str(error).startswith(source.origin) and "Traceback" not in str(error)
        return error
    return None


@pytest.fixture(scope="module")
def recipes():
    return {name: config.read(name).data for name in NAMES}


def fresh(recipes: dict, dice: random.Random) -> dict:
    return yaml.safe_load(yaml.safe_dump(recipes[dice.choice(NAMES)]))


def test_typos_are_told_with_the_line_and_the_word_that_was_meant(recipes, tmp_path):
    dice, tried, told = random.Random(1), 0, []
    while tried < 500:
        recipe = fresh(recipes, dice)
        where = dice.choice(keys(recipe))
        parent, word = get(recipe, where[:-1]), where[-1]
        value = parent[word]
        if where in WORDS and value is not None and dice.random() < 0.7:
            made = typo(value, dice)
            if value == "none" or len(value) < 3:
                continue
            parent[word], meant, place = made, value, where
        else:
            if len(word) < 3:
                continue  # one letter of a, b, G or D is the whole word
            made = typo(word, dice)
            if made in parent:
                continue
            rename(parent, word, made)
            meant, place = word, (*where[:-1], made)
        tried += 1
        error = refused(source := written(recipe, tmp_path / "recipe.yaml"))
        assert error is not None, f"{where}: '{made}' for '{meant}' was accepted"
        line = f"line {source.lines[place]}, {'.'.join(place)}: "
        mine = [text for text in str(error).splitlines() if text.strip().startswith(line)]
        assert mine, f"{place} is not named with its line in\n{error}"
        told.append((any(f"Did you mean '{meant}'?" in text for text in mine), place, meant))
    missed = [(".".join(place), meant) for right, place, meant in told if not right]
    assert len(missed) <= 0.05 * len(told), f"{len(missed)} of {len(told)} typos without the right word: {missed[:20]}"


WRONG = [None, True, -1, 0, 3, 1.5, "word", "", [], [1], ["a", 2], {}, {"x": 1}, 1e300, -1e-300, 10**18, "1e-4", [[1]], {"name": 5}]  # fmt: skip


def test_other_types_ranges_and_nestings_are_refused_in_words_or_right(recipes, tmp_path):
    dice, refusals = random.Random(2), 0
    for _ in range(400):
        recipe = fresh(recipes, dice)
        where = dice.choice(keys(recipe))
        parent = get(recipe, where[:-1])
        how = dice.random()
        if how < 0.7:
            parent[where[-1]] = dice.choice(WRONG)
        elif how < 0.85:
            parent[where[-1]] = {where[-1]: parent[where[-1]]}  # one level too deep
        else:
            del parent[where[-1]]  # right where there is a default
        refusals += refused(written(recipe, tmp_path / "recipe.yaml")) is not None
    assert refusals > 250


def test_all_faults_come_in_one_pass(recipes, tmp_path):
    dice = random.Random(3)
    for _ in range(60):
        recipe = fresh(recipes, dice)
        places = []
        sections = ["generator", "discriminator", "encoder", "train", "translate", "evaluate", "data"]
        for section in dice.sample([section for section in sections if section in recipe], 3):
            word = dice.choice([key for key in recipe[section] if len(key) > 3 and key not in ("name", "kind")])
            made = word[:-1] + "zz"
            rename(recipe[section], word, made)
            places.append((section, made))
        source = written(recipe, tmp_path / "recipe.yaml")
        text = str(refused(source))
        for place in places:
            assert f"line {source.lines[place]}, {'.'.join(place)}: " in text, text


@pytest.mark.parametrize("place", [f"at {n}" for n in range(40)])
def test_a_recipe_that_is_not_there_is_one_sentence(place, tmp_path):
    dice = random.Random(place)
    name = dice.choice(NAMES)
    made = typo(name, dice)
    if made in NAMES:
        return
    with pytest.raises(UserError, match=f"Did you mean '{name}'|Shipped recipes: .*{name}") as caught:
        config.read(dice.choice([made, f"recipes/{made}.yaml", str(tmp_path / f"{made}.yaml")]))
    assert "\n" not in str(caught.value)
