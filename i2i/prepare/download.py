"""`i2i data download NAME`: a known data set, whole and verified, in a folder; or nothing in that folder at all."""

import contextlib
import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from i2i import atomic
from i2i.config import shipped
from i2i.errors import UserError
from i2i.prepare import cards
from i2i.prepare.cards import Card, human
from i2i.prepare.downloading.fetch import Part, Progress, Refused, Wanted, digest, fetch, need_room
from i2i.prepare.downloading.unpack import BadArchive, Limits, unpack
from i2i.yamlfile import YamlError, read_yaml

NOTE = ".i2i-download.json"  # in a finished folder: where it came from, and what it held
CAP = 2_000_000_000  # bytes of an archive of which no size is known; the card of a larger one says about_bytes
ROOM = 64_000_000  # bytes that a small archive may grow to, whatever its own size

Say = Callable[[str], None]


def download(
    name: str, *, to: str | os.PathLike | None = None, say: Say = print, progress: Progress | None = None
) -> Path:
    """Fetches a data set that has a card into `to` (`datasets/NAME` if not given), which it returns.

    A download that broke off is continued, a folder that is whole is recognised, and one that holds anything else is
    never touched. An archive that was fetched by hand is taken from `<to>.zip` (`.tar.gz`, ...) and left there.

    Args:
        say: called with sentences on what happens.
        progress: called with (bytes done, bytes in all, None where the server does not say).

    Raises:
        UserError: in words, why there is no data set; the folder is as it was.
    """
    card = cards.card(name)
    folder = Path("datasets") / name if to is None else Path(os.path.expanduser(to))
    place = folder.resolve()
    if _finished(card, place, folder, say):
        return folder
    by_hand = _by_hand(card, place)
    if by_hand is None and card.manual:
        raise UserError(f"{name} cannot be downloaded by a program. {card.manual}")
    _make_parent(place.parent)
    with contextlib.ExitStack() as held:
        if by_hand is not None:
            _take_by_hand(card, by_hand, place, say, progress)
        elif card.files:
            _download_files(card, place, held, say, progress)
        else:
            _download_archive(card, place, held, say, progress)
    _say_next(card, folder, place, say)
    return folder


# ---------------------------------------------------------------------------------------------------- the folder


def count(card: Card, place: Path) -> dict[str, int]:
    """{folder of the card: pictures in it}; only what lies in the folder itself, not below."""
    from i2i.data.pictures import is_picture  # late: it brings OpenCV

    found = {}
    for folder in card.counts:
        try:
            found[folder] = sum(is_picture(entry.name) and entry.is_file() for entry in os.scandir(place / folder))
        except (FileNotFoundError, NotADirectoryError):
            found[folder] = 0
    return found


def _whole(card: Card, place: Path) -> bool:
    """Whether the folder holds what the card says, or what it held when it was made."""
    if card.holds:
        return all((place / name).is_file() for name in card.holds)
    found = count(card, place)
    if found == card.counts:
        return True
    try:
        note = json.loads((place / NOTE).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(note, dict) and note.get("card") == card.name and note.get("pictures") == found


def _finished(card: Card, place: Path, folder: Path, say: Say) -> bool:
    """True for a whole folder, False where there is none yet; UserError for one that is something else."""
    if not os.path.lexists(place):
        return False
    if not place.is_dir():
        raise UserError(f"{folder} is a file. Give the folder to make with --to.")
    inside = sorted(os.listdir(place))
    if not inside:
        return False
    if not _whole(card, place):
        held = "" if card.holds else f" and {sum(count(card, place).values()):,} of its {card.pictures:,} pictures"
        raise UserError(
            f"{folder} exists, with {', '.join(inside[:3])}{', ...' * (len(inside) > 3)} in it{held}: it is not "
            f"touched. Move it away, or choose another folder: i2i data download {card.name} --to FOLDER"
        )
    say(f"{folder} is already there, whole.")
    _say_next(card, folder, place, say)
    return True


def _make_parent(parent: Path) -> None:
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{parent} is not a folder. Give the folder to make with --to.") from None


# ---------------------------------------------------------------------------------------------------- the ways to it


def _beside(place: Path, ending: str) -> Path:
    return place.with_name(place.name + ending)


def _by_hand(card: Card, place: Path) -> Path | None:
    """The archive that a user put beside the folder to be."""
    if card.files or (card.manual and not card.checksum):
        return None
    return next((path for end in cards.ARCHIVES if (path := _beside(place, end)).is_file()), None)


def _take_by_hand(card: Card, archive: Path, place: Path, say: Say, progress: Progress | None) -> None:
    say(f"taking {archive}, which is left as it is")
    wanted = _wanted(card)
    if wanted.digest and (found := digest(archive, wanted.digest[0])) != wanted.digest[1]:
        raise UserError(
            f"{archive} is not the archive of {card.name}, or is damaged: its {wanted.digest[0]} is {found} and should "
            f"be {wanted.digest[1]}. It is left as it is; move it away or fetch it again."
        )
    try:
        _unpack(card, archive, place, str(archive), say, progress)
    except BadArchive as error:
        raise UserError(
            f"{archive} is refused: {error}. It is left as it is; move it away or fetch it again."
        ) from None


def _download_archive(card: Card, place: Path, held: contextlib.ExitStack, say: Say, progress: Progress | None) -> None:
    part = held.enter_context(Part(_beside(place, card.archive_suffix + atomic.SUFFIX), card.name))
    refusals = []
    for url in _known_first(part, card.addresses):
        try:
            fetch(part, url, _wanted(card), say, progress)
            _unpack(card, part.path, place, url, say, progress)
        except Refused as refusal:
            refusals.append(f"{url}: {refusal}")
        except BadArchive as error:
            part.reset()
            refusals.append(f"{url}: {error}")
        else:
            part.remove()
            return
        say(refusals[-1])
    raise _unobtained(card, refusals, part, place)


def _download_files(card: Card, place: Path, held: contextlib.ExitStack, say: Say, progress: Progress | None) -> None:
    parts = []
    for file in card.files:
        part = held.enter_context(Part(_beside(place, f".{file.name}{atomic.SUFFIX}"), card.name))
        parts.append(part)
        wanted, refusals = Wanted(file.bytes, file.bytes, ("sha256", file.sha256)), []
        for url in _known_first(part, [address + file.name for address in card.addresses]):
            try:
                fetch(part, url, wanted, say, progress)
                break
            except Refused as refusal:
                refusals.append(f"{url}: {refusal}")
                say(refusals[-1])
        else:
            raise _unobtained(card, refusals, part, place)
    with _temporary(place) as made:
        for file, part in zip(card.files, parts):
            shutil.copyfile(part.path, made / file.name)
        _finish(card, made, place, parts[0].known["url"].rpartition("/")[0])
    for part in parts:
        part.remove()


def _known_first(part: Part, urls: list[str]) -> list[str]:
    """The address that the part is from goes first: it alone can continue it for certain."""
    return sorted(urls, key=lambda url: url != part.known.get("url"))


def _wanted(card: Card) -> Wanted:
    known = card.checksum
    cap = card.bytes or 2 * (card.about_bytes or 0) or CAP
    return Wanted(card.bytes, cap, (known.kind, known.value) if known else None)


def _unobtained(card: Card, refusals: list[str], part: Part, place: Path) -> UserError:
    left = f" {human(part.size)} are kept, and the same command continues." if part.size else ""
    told = f" (the checksum is told by {card.checksum.told_by})" if card.checksum else ""
    hand = "" if card.files else f" An archive fetched by hand goes to {_beside(place, card.archive_suffix)}."
    return UserError(
        f"{card.name} could not be downloaded{told}:\n"
        + "\n".join(f"  {refusal}" for refusal in refusals)
        + f"\nTry again later.{left}{hand}"
    )


# ---------------------------------------------------------------------------------------------------- unpacking


@contextlib.contextmanager
def _temporary(place: Path):
    """A new folder beside the one to be; gone when this ends, unless it was moved."""
    made = place.with_name(f".{place.name}{atomic.SUFFIX}")
    if made.is_dir() and not made.is_symlink():
        shutil.rmtree(made)  # of a run that was killed: the lock on the part says that none is alive
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _unpack(card: Card, archive: Path, place: Path, origin: str, say: Say, progress: Progress | None) -> None:
    """BadArchive where it is not what the card says; nothing is left of it then."""
    size = archive.stat().st_size
    need_room(place.parent, int(size * 1.1), f"unpacking {card.name}")
    say(f"unpacking {card.name}")
    limits = Limits(total=ROOM + 20 * size, count=1000 + 4 * card.pictures)
    with _temporary(place) as made:
        unpack(archive, made, limits, progress)
        root = _root(card, made)
        if not card.holds:
            _check_counts(card, root, say)
        elif missing := [name for name in card.holds if not (root / name).is_file()]:
            raise BadArchive(f"it lacks {', '.join(missing)}")
        _finish(card, root, place, origin)


def _root(card: Card, made: Path) -> Path:
    """The folder that the card speaks of, below the prefix that most archives put before it."""
    root = made
    while not all((root / folder).is_dir() for folder in card.counts if folder != "."):
        inside = list(root.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            return root
        root = inside[0]
    if "." in card.counts:
        while len(inside := list(root.iterdir())) == 1 and inside[0].is_dir():
            root = inside[0]
    return root


def _check_counts(card: Card, root: Path, say: Say) -> None:
    found = count(card, root)
    if found == card.counts:
        return
    wrong = [key for key in found if found[key] != card.counts[key]]
    differ = ", ".join(f"{found[key]:,} of {card.counts[key]:,} pictures in {key}" for key in wrong)
    if card.checksum is None:
        raise BadArchive(f"it holds {differ}, so it is not the published data set")
    say(f"the archive is the published one by its checksum; its card counts otherwise: {differ}")


def _finish(card: Card, made: Path, place: Path, origin: str) -> None:
    """Moves a complete folder into its place, where there is none or an empty one."""
    note = {"card": card.name, "from": origin, "pictures": {} if card.holds else count(card, made)}
    atomic.write_text(made / NOTE, json.dumps(note, indent=1) + "\n")
    if hasattr(os, "sync"):
        os.sync()  # a power cut after the rename must not leave empty files behind whole names
    if place.is_dir():
        place.rmdir()  # empty; else this fails and says so
    os.rename(made, place)


# ---------------------------------------------------------------------------------------------------- what next


def _say_next(card: Card, folder: Path, place: Path, say: Say) -> None:
    say(f"{card.pictures:,} pictures. Licence: {card.licence}.")
    for command in next_commands(card, folder):
        say(f"Next: {command}")


def next_commands(card: Card, folder: Path) -> list[str]:
    """What a user would type now: a training by each shipped recipe that reads this set, else what fits its kind."""
    home = f"datasets/{card.name}"
    there = "" if folder.as_posix() == home else f" data.path={shlex.quote(str(folder))}"
    commands = []
    for file in sorted(shipped("recipes").glob("*.yaml")):
        with contextlib.suppress(YamlError):
            data = read_yaml(file)[0].get("data")
            if isinstance(data, dict) and data.get("path") == home:
                commands.append(f"i2i train {file.stem}{there}")
    if commands or card.kind == "labelled":
        return commands
    given = shlex.quote(str(folder))
    return [f"i2i recipes plan {given}" if card.kind != "folder" else f"i2i data pairs {given} --by canny"]
