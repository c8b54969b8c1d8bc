"""One file over HTTP: continued where it broke off, from mirrors in turn, believing nothing that a server announces.

The bytes go to a part file, `NAME.i2i-part`, beside which `NAME.i2i-part.json` keeps what the server said of the file
(its length, ETag, date), so that a later run asks for the rest of the same file and of no other.
"""

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from i2i import __version__, atomic
from i2i.data import contents
from i2i.errors import UserError
from i2i.prepare.cards import human
from i2i.prepare.downloading.unpack import kind_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

CHUNK = 1 << 18
TIMEOUT = 30.0  # seconds without a byte
TRIES = 5  # in a row that bring nothing new
CONNECTIONS = 1000  # to one address
PAUSE = 1.0  # seconds before the second try; doubled each time

Progress = Callable[[int, int | None], None]


class Refused(Exception):
    """This address does not give the file, in a sentence; the next one may."""


class _Cut(Exception):
    """The connection ended early: worth asking for the rest."""


class Wanted(NamedTuple):
    """What is known of a file before it is asked for."""

    bytes: int | None  # exactly, where known
    cap: int  # no more than this
    digest: tuple[str, str] | None  # ("sha256" | "md5", hexadecimal)


class Part:
    """A part file, held alone by this process, and what is known of the file that it is a part of.

    Args:
        path: of the part file; made if it does not exist.
        name: what the user calls what is downloaded.

    Raises:
        UserError: another process is downloading the same.
    """

    def __init__(self, path: Path, name: str):
        self.path, self._notes = path, path.with_name(path.name + ".json")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self._file = os.fdopen(os.open(path, flags, 0o666), "r+b")
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.close()
                raise UserError(f"{name} is being downloaded to {path} by another process. Wait for it.") from None
            except OSError:
                pass  # some network mounts have no locks
        self.known = self._read_notes()
        self.size = self._file.seek(0, os.SEEK_END)
        if not self.known or (self.total is not None and self.size > self.total):
            self.reset()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.size:
            self.remove()
        self._file.close()

    @property
    def total(self) -> int | None:
        return self.known.get("total")

    @property
    def complete(self) -> bool:
        return bool(self.known.get("ended")) or (self.total is not None and self.size == self.total)

    def _read_notes(self) -> dict:
        try:
            notes = json.loads(self._notes.read_text())
        except (OSError, ValueError):
            return {}
        total = notes.get("total") if isinstance(notes, dict) else None
        fine = isinstance(notes, dict) and isinstance(notes.get("url"), str)
        return notes if fine and (total is None or (type(total) is int and total >= 0)) else {}

    def note(self, **known) -> None:
        """Keeps what is known of the file; before the first byte of it, so that no byte is ever without."""
        self.known = known
        atomic.write_text(self._notes, json.dumps(known))

    def reset(self) -> None:
        """Starts at nothing."""
        self._file.truncate(0)
        self.size, self.known = self._file.seek(0), {}
        with contextlib.suppress(FileNotFoundError):
            self._notes.unlink()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()  # what a kill leaves is then what was received
        self.size += len(data)

    def remove(self) -> None:
        """Takes both files away."""
        for path in (self._notes, self.path):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def fetch(part: Part, url: str, wanted: Wanted, say: Callable[[str], None], progress: Progress | None) -> None:
    """Brings `part` to its end from one address, and verifies its digest where one is known.

    Raises:
        Refused: this address does not give the file. The part stays where it may serve again.
        UserError: there is no room for it.
        OSError: the disk is full, or not writable.
    """
    if part.known and part.known["url"] != url and wanted.digest is None:
        part.reset()  # nothing would tell that both hosts have the same bytes
    tries = connections = 0
    most = part.size
    while not part.complete:
        connections += 1
        try:
            _connect(part, url, wanted, say, progress)
        except _Cut as cut:
            tries, most = (0, part.size) if part.size > most else (tries + 1, most)
            if tries >= TRIES or connections >= CONNECTIONS:
                raise Refused(f"{cut}, {connections} times") from None
            if tries:
                time.sleep(PAUSE * 2 ** (tries - 1))
    if progress:
        progress(part.size, part.size)
    if wanted.bytes is not None and part.size != wanted.bytes:
        size = part.size
        part.reset()
        raise Refused(f"it sent {size:,} bytes, and the file has {wanted.bytes:,}")
    if wanted.digest is not None and (found := digest(part.path, wanted.digest[0])) != wanted.digest[1]:
        part.reset()
        raise Refused(f"the {wanted.digest[0]} of what it sent is {found} and should be {wanted.digest[1]}")


def digest(path: Path, kind: str) -> str:
    """The hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def need_room(folder: Path, count: int, what: str) -> None:
    """UserError where less than `count` bytes are free."""
    free = shutil.disk_usage(folder).free
    if free < count:
        raise UserError(
            f"{what} needs about {human(count)}, and {folder} has {human(free)} free. Make room, or choose another "
            "disk with --to. Nothing was lost: the same command continues."
        )


def _connect(part: Part, url: str, wanted: Wanted, say: Callable[[str], None], progress: Progress | None) -> None:
    """One connection: asks for what is missing and writes what comes. `_Cut` where it ends before the file does."""
    headers = {"User-Agent": f"i2i/{__version__}", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.known["url"] == url and (validator := part.known.get("validator")):
            headers["If-Range"] = validator
    with _opened(url, headers) as answer:
        if answer.status == 416:
            return _all_there(part, answer)
        start, total = _announced(part, answer)
        if total is not None:
            _check_length(total, wanted)
        if total is not None:
            need_room(part.path.parent, int(total * 2.1) - part.size, "the archive and its pictures")
        first = _first(answer)
        if start == 0:
            if total is not None and len(first) < min(total, 6):
                raise _Cut(f"the connection broke off at {len(first)} of {total:,} bytes")
            if kind_of(first.ljust(512, b"\0")) is None:
                raise Refused(f"it answers with {contents.name(first[:64])}, not with an archive")
            if part.size:
                say("the server does not continue, or has another file by now: starting anew")
            part.reset()
            part.note(url=url, validator=_validator(answer), total=total)
            say(f"{human(total) if total else 'a file of unknown size'} from {urlsplit(url).hostname}")
        elif part.size:
            say(f"continuing at {human(part.size)} of {human(total)}")
        return _take(part, answer, first, wanted, progress)


def _take(part: Part, answer, data: bytes, wanted: Wanted, progress: Progress | None) -> None:
    while data:
        if part.size + len(data) > (part.total if part.total is not None else wanted.cap):
            limit = part.total if part.total is not None else wanted.cap
            part.reset()
            raise Refused(f"it sends more than {limit:,} bytes")
        part.write(data)
        if progress:
            progress(part.size, part.total)
        data = _read(answer)
    if part.total is None:
        part.note(**part.known, ended=True)
    elif not part.complete:
        raise _Cut(f"the connection broke off at {part.size:,} of {part.total:,} bytes")


def _announced(part: Part, answer) -> tuple[int, int | None]:
    """(where the answer starts in the file, the length of the file), or a refusal of what contradicts itself."""
    length = answer.headers.get("Content-Length", "")
    if answer.status == 200:
        return 0, int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
    if answer.status != 206:
        raise Refused(f"it answers with status {answer.status}")
    said = answer.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", said.strip())
    start, last, total = map(int, match.groups()) if match else (-1, -1, -1)
    if start != part.size or not start <= last < total or (part.total is not None and total != part.total):
        part.reset()  # another file by now, or a server that cannot count: both start anew
        raise _Cut(f"it was asked for the rest and answered with Content-Range '{said[:60]}'")
    return start, total


def _all_there(part: Part, answer) -> None:
    """Status 416: there is nothing after what we have, so it is whole, or it is of another file."""
    if not part.size:
        raise Refused("it answers 416 to a question for the whole file")
    match = re.fullmatch(r"bytes \*/([0-9]{1,18})", answer.headers.get("Content-Range", "").strip())
    if match and int(match[1]) == part.size:
        part.note(**{**part.known, "total": part.size})
        return
    part.reset()
    raise _Cut("it has nothing after what is here, and another length")


def _check_length(total: int, wanted: Wanted) -> None:
    if wanted.bytes is not None and total != wanted.bytes:
        raise Refused(f"it offers a file of {total:,} bytes, and the right one has {wanted.bytes:,}")
    if total > wanted.cap:
        raise Refused(f"it offers a file of {total:,} bytes, and this data set has no more than {wanted.cap:,}")


def _validator(answer) -> str | None:
    """What If-Range may carry: a strong ETag, else the date."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def _first(answer) -> bytes:
    """Enough to tell what it is, if there is so much."""
    first = b""
    while len(first) < 512 and (data := _read(answer)):
        first += data
    return first


def _read(answer) -> bytes:
    try:
        return answer.read1(CHUNK)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Cut(_words(error)) from None


@contextlib.contextmanager
def _opened(url: str, headers: dict[str, str]) -> Iterator:
    try:
        answer = _OPENER.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            answer = error
        else:
            error.close()
            if 300 <= error.code < 400:
                raise Refused("it leads on in circles") from None
            again = error.code in (408, 425, 429) or error.code >= 500
            raise (_Cut if again else Refused)(f"it answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        kind = Refused if isinstance(error.reason, ssl.SSLCertVerificationError) else _Cut
        raise kind(_words(error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Cut(_words(error)) from None
    with answer:
        yield answer


def _words(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {TIMEOUT:g} s"
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https alone, never from https to http, and not in circles."""

    max_repeats, max_redirections = 2, 8

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        there, here = urlsplit(newurl).scheme.lower(), urlsplit(req.full_url).scheme.lower()
        if there not in ("http", "https") or (here, there) == ("https", "http"):
            fp.close()
            raise Refused(f"it leads on to a {there} address, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req, fp, code, msg, headers):
        target = (headers.get("Location") or "").strip()
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", target)
        if scheme and scheme[1].lower() not in ("http", "https"):
            fp.close()
            raise Refused(f"it leads on to a {scheme[1].lower()} address, which is not followed")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    """Speaks http and https and nothing else: no files, no ftp, no data addresses."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


_OPENER = _opener()
