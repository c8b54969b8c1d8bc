"""The shipped recipes: listed by what they train, shown as they are, copied but never over a file."""

import pytest

from i2i import build, config
from i2i.errors import UserError
from i2i.prepare import shelf


def test_every_recipe_has_one_line_that_says_what_it_trains():
    titles = shelf.titles()
    assert list(titles) == sorted(path.stem for path in config.shipped("recipes").glob("*.yaml"))
    assert titles["pix2pix_facades"] == "pix2pix, facade labels -> photographs"
    assert titles["cyclegan_horse2zebra"] == "CycleGAN, horse <-> zebra"
    assert titles["pix2pix_synthetic"] == "pix2pix on made-up buildings: label maps -> photographs"
    for name, title in titles.items():
        assert 10 < len(title) < 110 and "\n" not in title and "i2i train" not in title, (name, title)
    assert len(set(titles.values())) == len(titles)


def test_a_recipe_is_shown_as_it_is():
    file = config.shipped("recipes") / "pix2pix_facades.yaml"
    for name in ("pix2pix_facades", "pix2pix_facades.yaml", "recipes/pix2pix_facades.yaml"):
        assert shelf.text(name) == file.read_text()


@pytest.mark.parametrize("use", [shelf.text, shelf.copy])
def test_an_unknown_name_is_answered_with_the_nearest(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no recipe 'pix2pix_facade'\. Did you mean 'pix2pix_facades'\? Known: acgan"):
        use("pix2pix_facade")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", list(shelf.titles()))
def test_a_copy_is_the_recipe_under_its_own_command(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shelf.copy(name).name == f"{name}.yaml"
    copy = shelf.copy(name, "mine.yaml")
    assert "i2i train mine.yaml" in copy.read_text() and f"recipes/{name}.yaml" not in copy.read_text()
    assert config.read(copy).data == config.read(config.shipped("recipes") / f"{name}.yaml").data
    assert build.check(config.read(copy)).method.name == build.check(config.read(name)).method.name
    assert copy.read_text().replace("mine.yaml", f"recipes/{name}.yaml") == shelf.text(name)


def test_nothing_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "pix2pix_facades.yaml"
    mine.write_text("mine")
    for to in (None, "pix2pix_facades.yaml", tmp_path):
        with pytest.raises(
            UserError, match=r"is there already and is never overwritten\. Give another file: i2i recipes"
        ):
            shelf.copy("pix2pix_facades", to)
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match="is there already"):
        shelf.copy("pix2pix_facades", "dangling.yaml")
    with pytest.raises(UserError, match=r"the folder no does not exist\. Make it first: mkdir -p no"):
        shelf.copy("pix2pix_facades", "no/mine.yaml")
    assert mine.read_text() == "mine" and sorted(p.name for p in tmp_path.iterdir()) == [
        "dangling.yaml",
        "pix2pix_facades.yaml",
    ]


def test_a_folder_takes_the_recipe_under_its_name(tmp_path):
    assert shelf.copy("pix2pix_facades", tmp_path) == tmp_path / "pix2pix_facades.yaml"


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shelf.copy("pix2pix_facades", "~/mine.yaml") == tmp_path / "mine.yaml"
