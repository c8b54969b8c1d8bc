"""The cards of data sets: closed, complete, and nothing in them that nobody published."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from i2i import build, config
from i2i.build import card_hint
from i2i.config import read_yaml, shipped
from i2i.errors import UserError
from i2i.prepare import cards
from i2i.prepare.cards import human

ROOT = Path(__file__).parent.parent.parent
NAMES = sorted(file.stem for file in (ROOT / "datasets").glob("*.yaml"))
ASKED = [
    "facades",
    "maps",
    "edges2shoes",
    "edges2handbags",
    "cityscapes",
    "night2day",
    "horse2zebra",
    "apple2orange",
    "summer2winter_yosemite",
    "monet2photo",
    "cezanne2photo",
    "ukiyoe2photo",
    "vangogh2photo",
    "iphone2dslr_flower",
    "mnist",
    "cifar10",
    "celeba",
    "afhq",
    "obama",
    "grumpy_cat",
    "panda",
    "animal_face_cat",
    "animal_face_dog",
]

MINIMAL = """
name: toy
title: toys
kind: unpaired
layout: trainA and trainB
counts: {trainA: 2, trainB: 3}
counts_from: us
source: https://example.org/toy.zip
licence: ours
"""


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Writes a card and reads it."""
    monkeypatch.setattr(cards, "shipped", lambda kind: tmp_path)

    def read(text: str, name: str = "toy"):
        (tmp_path / f"{name}.yaml").write_text(text)
        return cards.card(name)

    return read


def test_every_set_that_was_asked_for_has_a_card():
    assert set(ASKED) <= set(NAMES) == set(cards.names())


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_complete(name):
    card = cards.card(name)
    assert card.name == name and card.pictures > 0 and card.licence and card.counts_from
    assert all(urlsplit(url).scheme == "https" for url in card.addresses), "every host we know of speaks https"
    assert len(set(card.addresses)) == len(card.addresses)
    if card.checksum is not None:
        assert card.checksum.told_by
    if card.kind == "unpaired":
        assert set(card.counts) == {"trainA", "trainB", "testA", "testB"}
    if card.kind == "paired":
        assert {folder.split("/")[0] for folder in card.counts} >= {"train", "val"}
    # verified somehow: by a checksum, or by pictures that can be counted; or not fetched at all
    assert card.checksum or card.files or not card.holds
    assert bool(card.manual) == (name in ("cityscapes", "celeba"))
    if card.manual is None and not card.files:
        assert card.archive_suffix in (".zip", ".tar.gz")


def test_figures_are_those_that_were_published():
    """A sample of each source, written down a second time: TensorFlow Datasets' table, the papers, torchvision."""
    assert cards.card("facades").counts == {"train": 400, "val": 100, "test": 106}
    assert cards.card("horse2zebra").counts == {"trainA": 1067, "trainB": 1334, "testA": 120, "testB": 140}
    assert cards.card("monet2photo").counts == {"trainA": 1072, "trainB": 6287, "testA": 121, "testB": 751}
    assert cards.card("horse2zebra").bytes == 116_867_962
    assert cards.card("horse2zebra").checksum.value.startswith("a74d9d392eec")
    assert cards.card("edges2shoes").pictures == 50_025
    assert cards.card("night2day").pictures == 20_120
    assert cards.card("afhq").pictures == 16_130
    assert cards.card("celeba").pictures == 202_599
    assert [cards.card(name).pictures for name in ASKED[-5:]] == [100, 100, 100, 160, 389]
    assert {cards.card(name).direction for name in ("facades", "cityscapes")} == {"ba"}


def test_the_checksums_of_mnist_are_those_of_the_real_files(real_data):
    from i2i.prepare.downloading.fetch import digest

    folder = real_data("mnist")
    for file in cards.card("mnist").files:
        assert (folder / file.name).stat().st_size == file.bytes
        assert digest(folder / file.name, "sha256") == file.sha256
    torchvision = "f68b3c2dcbeaaa9fbdd348bbdeb94873"
    assert digest(folder / "train-images-idx3-ubyte.gz", "md5") == torchvision


def test_the_counts_of_facades_are_those_of_the_real_set(real_data):
    from i2i.prepare.download import count

    card = cards.card("facades")
    assert count(card, real_data("facades")) == card.counts


def test_the_list_is_a_table():
    lines = cards.listed().splitlines()
    assert lines[0].split() == ["name", "kind", "pictures", "download", "licence"]
    assert len(lines) == len(NAMES) + 1
    row = next(line for line in lines if line.startswith("horse2zebra "))
    assert row.split()[:5] == ["horse2zebra", "unpaired", "2,661", "116.9", "MB"] and "non-commercial" in row
    assert "by hand" in next(line for line in lines if line.startswith("celeba "))
    column = lines[0].index("kind")
    assert all(line[column:].split()[0] == line.split()[1] for line in lines), "the columns stand below each other"


def test_a_small_card_is_read(shelf):
    card = shelf(MINIMAL)
    assert card.pictures == 5 and card.archive_suffix == ".zip" and card.size is None
    assert shelf(MINIMAL.replace("toy.zip", "toy.tar.gz?dl=1")).archive_suffix == ".tar.gz"


FAULTS = [
    ("kind: unpaired", "kind: unpared", r"line 4, kind: 'unpared' is not one of .* Did you mean 'unpaired'"),
    ("licence: ours", "license: ours", r"license: there is no such key here\. Did you mean 'licence'"),
    ("trainA: 2", "trainA: 0", r"counts\.trainA: 0 must be at least 1"),
    ("trainA: 2", "trainA: two", r"counts\.trainA: 'two' is not a whole number"),
    ("trainA: 2", "../evil: 2", r"counts"),
    ("{trainA: 2, trainB: 3}", "{}", r"counts"),
    ("https://example.org", "ftp://example.org", r"source"),
    ("https://example.org", "file:///etc", r"source"),
    ("licence: ours", "licence: ours\nbytes: 0", r"bytes: 0 must be at least 1"),
    ("licence: ours", "licence: ours\nbytes: 4\nabout_bytes: 5", r"exclude each other"),
    ("licence: ours", "licence: ours\nchecksum: {md5: abc, told_by: us}", r"checksum\.md5"),
    ("licence: ours", "licence: ours\nchecksum: {told_by: us}", r"one of sha256 and md5"),
    ("licence: ours", "licence: ours\ndirection: ab", r"direction belongs to paired"),
    ("licence: ours", "licence: ours\nholds: [a.bin]", r"holds needs a checksum"),
    ("licence: ours", f"licence: ours\nfiles: [{{name: ../a, bytes: 1, sha256: {'0' * 64}}}]", r"files"),
    ("toy.zip", "toy.html", r"must end with one of"),
    ("name: toy", "name: other", r"the file and the name must agree"),
    ("name: toy", "name: [", r"this is not YAML"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), FAULTS, ids=lambda value: value[:24])
def test_a_fault_of_a_card_is_said_with_its_place(old, new, sentence, shelf):
    assert MINIMAL.count(old) == 1
    with pytest.raises(UserError, match=sentence) as error:
        shelf(MINIMAL.replace(old, new))
    assert "toy.yaml" in str(error.value)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UserError, match=r"no card of a data set 'hors2zebra'\. Did you mean 'horse2zebra'"):
        cards.card("hors2zebra")
    with pytest.raises(UserError, match="no card"):
        cards.card("../recipes/pix2pix_facades")


def test_sizes_are_said_in_words():
    assert [human(n) for n in (0, 850, 12_345, 116_867_962, 999_960, 8_600_000_000)] == [
        "0 B", "850 B", "12.3 kB", "116.9 MB", "1.0 MB", "8.6 GB",
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- recipes


def test_every_recipe_reads_a_set_that_has_a_card_of_its_kind():
    """Or says by which `i2i data pairs` its set is made."""
    seen = 0
    for file in sorted(shipped("recipes").glob("*.yaml")):
        data = read_yaml(file)[0]["data"]
        made = re.search(rf"i2i data pairs .* --out {data['path']}\b", file.read_text())
        if data["kind"] not in ("paired", "unpaired") or made:
            continue
        card = cards.card(data["path"].removeprefix("datasets/"))
        assert (card.kind, card.direction) == (data["kind"], data.get("direction")), file.name
        seen += 1
    assert seen >= 2


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("datasets/facades", "`i2i data download facades` fetches it"),
        ("datasets/facades/", "`i2i data download facades` fetches it"),
        ("big/disk/facades", "`i2i data download facades --to big/disk/facades` fetches it"),
    ],
)
def test_a_training_without_its_pictures_says_how_to_get_them(path, command):
    recipe = build.check(config.read("pix2pix_facades", [f"data.path={path}"]))
    assert command in card_hint(recipe) and "or set data.path to where you have it." in card_hint(recipe)
    with pytest.raises(UserError, match="i2i data download facades"):
        build.dataset(build.check(config.read("pix2pix_facades", ["data.path=nowhere/at/all/facades"])))


def test_a_folder_of_ones_own_gets_no_hint():
    assert card_hint(build.check(config.read("pix2pix_facades", ["data.path=my/own"]))) == ""
