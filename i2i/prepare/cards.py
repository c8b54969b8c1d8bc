"""The cards of known data sets: what each is, where it comes from, and how what was downloaded is verified."""

from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, create_model, model_validator

from i2i.config import Section, shipped
from i2i.errors import UserError
from i2i.faults import faults_of
from i2i.registry import nearest
from i2i.yamlfile import YamlError, read_yaml

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")  # all of them carry checksums of their contents

Address = Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]+(:[0-9]+)?/[\x21-\x7e]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Plain = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]  # the name of a file
Folder = Annotated[str, Field(pattern=r"^(\.|[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*)$")]
Count = Annotated[int, Field(ge=1)]


class Checksum(Section):
    """A digest of the whole archive, and who published it: no figure here is of our own making."""

    sha256: Sha256 | None = None
    md5: Md5 | None = None
    told_by: str

    @model_validator(mode="after")
    def _one(self):
        if (self.sha256 is None) == (self.md5 is None):
            raise ValueError("give one of sha256 and md5")
        return self

    @property
    def kind(self) -> str:
        return "sha256" if self.sha256 else "md5"

    @property
    def value(self) -> str:
        return self.sha256 or self.md5


class File(Section):
    """One file of a set that is published as plain files below `source`."""

    name: Plain
    bytes: Count
    sha256: Sha256


class Card(Section):
    """What is known of a data set.

    Attributes:
        kind: how a recipe reads it; "labelled" are folders per class, or idx files; "folder" is pictures and no more.
        direction: the usual task of paired data, "ab" or "ba".
        counts: pictures per folder, as published; "." is the folder itself.
        source, mirrors: the archive; with `files` the address that their names are put behind; with `manual` the page.
        bytes: of the archive, exactly; `about_bytes` where only a rounded figure is published.
        checksum: of the archive. Without one, `counts` are verified after unpacking.
        holds: files that a complete folder has, where the pictures lie inside of larger files.
        manual: how to get it where no plain address gives it.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    title: str
    kind: Literal["paired", "unpaired", "labelled", "folder"]
    layout: str
    direction: Literal["ab", "ba"] | None = None
    counts: Annotated[dict[Folder, Count], Field(min_length=1)]
    counts_from: str
    source: Address
    mirrors: list[Address] = []
    bytes: Count | None = None
    about_bytes: Count | None = None
    checksum: Checksum | None = None
    files: list[File] = []
    holds: list[Plain] = []
    manual: str | None = None
    licence: str

    @model_validator(mode="after")
    def _consistent(self):
        if (self.kind == "paired") != (self.direction is not None):
            raise ValueError("a direction belongs to paired data, and to these alone")
        if self.bytes and self.about_bytes:
            raise ValueError("bytes and about_bytes exclude each other")
        if self.manual is None and not self.files and not self.archive_suffix:
            raise ValueError(f"the source must end with one of {', '.join(ARCHIVES)}")
        if self.files and (self.checksum or self.bytes or not all(url.endswith("/") for url in self.addresses)):
            raise ValueError("files have checksums and bytes of their own, and a source that ends with /")
        if self.holds and not (self.checksum or self.files):
            raise ValueError("what lies inside of larger files cannot be counted: holds needs a checksum")
        return self

    @property
    def addresses(self) -> list[str]:
        """The source and the mirrors, in the order in which they are tried."""
        return [self.source, *self.mirrors]

    @property
    def archive_suffix(self) -> str:
        """ ".zip", ".tar.gz", ...; empty where the source is no archive."""
        name = PurePosixPath(urlsplit(self.source).path).name
        return next((suffix for suffix in ARCHIVES if name.endswith(suffix)), "")

    @property
    def pictures(self) -> int:
        return sum(self.counts.values())

    @property
    def size(self) -> int | None:
        """Bytes to download, as far as it is known."""
        return sum(file.bytes for file in self.files) or self.bytes or self.about_bytes


def names() -> list[str]:
    """Every data set that has a card, sorted."""
    return sorted(file.stem for file in shipped("cards").glob("*.yaml"))


def card(name: str) -> Card:
    """The card of a data set; UserError names the nearest known one, or says what is wrong with the card."""
    known = names()
    if name not in known:
        raise UserError(
            f"there is no card of a data set '{name}'.{nearest(name, known)} `i2i data download` lists the known ones; "
            "`i2i recipes plan FOLDER` writes a recipe for pictures of yours."
        )
    file = shipped("cards") / f"{name}.yaml"
    try:
        data, lines = read_yaml(file)
        whole = create_model("card", __base__=Section, card=(Card, ...)).model_validate({"card": data})
    except YamlError as error:
        raise UserError(f"{file}: {error}") from None
    except ValidationError as error:
        ours = [entry["ctx"]["error"] for entry in error.errors() if entry["type"] == "value_error"]
        faults = [] if ours else faults_of(error, {"card": data}, Card)
        shown = [f"  {_place(fault.where[1:], lines)}{fault.message}" for fault in faults]
        shown += [f"  {sentence}." for sentence in ours]
        raise UserError("\n".join([f"{file} is not a card:", *shown])) from None
    if whole.card.name != name:
        raise UserError(f"{file} is the card of '{whole.card.name}': the file and the name must agree.")
    return whole.card


def _place(where: tuple[str, ...], lines: dict[tuple, int]) -> str:
    line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), None)
    return (f"line {line}, " if line else "") + (f"{'.'.join(where)}: " if where else "")


def listed() -> str:
    """The known data sets as a table for people: name, kind, pictures, size, licence."""
    rows = [("name", "kind", "pictures", "download", "licence")]
    for name in names():
        known = card(name)
        size = "by hand" if known.manual else human(known.size) if known.size else "not known"
        rows.append((name, known.kind, f"{known.pictures:,}", size, known.licence))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {count:>{widths[2]}}  {size:>{widths[3]}}  {licence}"
        for name, kind, count, size, licence in rows
    ]
    return "\n".join(lines)


def human(count: int) -> str:
    """`850 B`, `12.3 MB`, `2.1 GB`: in powers of 1000."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 999.5:
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
