"""An archive from anywhere -> a folder, file by file: nothing outside of it, no links, no bombs, no two names alike.

`tarfile` and `zipfile` are trusted with reading headers and decompressing, never with a path: every name is checked
here and every file is created by us, new, as a plain file.
"""

import bz2
import contextlib
import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from i2i.data import contents
from i2i.errors import UserError

CHUNK = 1 << 18
HEADER = 1 << 16  # bytes that a name, a comment or an extended header may take
JUNK = re.compile(r"(^|/)(__MACOSX(/|$)|\._[^/]*$|\.DS_Store$|Thumbs\.db$|desktop\.ini$)")

Progress = Callable[[int, int], None]


class BadArchive(UserError):
    """An archive that is not unpacked: `why`, in a sentence."""


class Limits(NamedTuple):
    """What an archive may hold."""

    total: int  # bytes of all files together
    count: int = 1_000_000  # files and folders
    member: int = 1 << 30  # bytes of one file
    depth: int = 10
    name: int = 200  # bytes in UTF-8 of one part of a path


def kind_of(head: bytes) -> str | None:
    """ "zip", "gzip", "bzip2", "xz" or "tar" for the first 512 bytes of a file; None for anything else."""
    for start, kind in ((b"PK\x03\x04", "zip"), (b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz")):
        if head.startswith(start):
            return kind
    return "tar" if head[257:262] == b"ustar" else None


def unpack(archive: Path, folder: Path, limits: Limits, progress: Progress | None = None) -> int:
    """Writes the files of an archive below `folder`, which exists and is empty; returns how many.

    What archivers of macOS and Windows add of their own (`__MACOSX`, `.DS_Store`, ...) is left out.

    Args:
        progress: called with the bytes of the archive that are read, and all of them.

    Raises:
        BadArchive: in one sentence, what is wrong with it. The folder may then hold a part.
        OSError: the disk is full, or not writable.
    """
    total = archive.stat().st_size
    said = (lambda done: progress(min(done, total), total)) if progress else (lambda done: None)
    with archive.open("rb") as file:
        kind = kind_of(file.read(512))
        file.seek(0)
        if kind is None:
            raise BadArchive(f"this is {contents.name(file.read(64))}, not a zip or tar archive")
        writer = Writer(folder, limits)
        try:
            for name, pieces in (_zip if kind == "zip" else _tar)(file, kind, limits, said):
                writer.add(name, pieces)
        except BadArchive:
            raise
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile) as error:
            raise BadArchive(f"the archive is damaged or cut short ({_plain(error)})") from None
        except (NotImplementedError, RuntimeError, ValueError, struct.error, OverflowError) as error:
            raise BadArchive(f"the archive is of a form that is not unpacked here ({_plain(error)})") from None
    return writer.files


class Writer:
    """Creates the files of an archive below `folder`: checks each name, counts, and caps what is really written."""

    def __init__(self, folder: Path, limits: Limits):
        self.folder, self.limits = folder, limits
        self.files = self.entries = self.bytes = 0
        self._seen: dict[str, str | None] = {}  # how a path is compared -> how a folder is spelt; None for a file

    def add(self, name: str, pieces: Iterator[bytes] | None) -> None:
        """One member: a file of these bytes, or a folder where `pieces` is None."""
        self.entries += 1
        if self.entries > self.limits.count:
            raise BadArchive(f"it holds more than {self.limits.count:,} files, which this data set does not have")
        parts = safe_parts(name, self.limits)
        if JUNK.search("/".join(parts)):
            return
        for depth in range(1, len(parts) + (pieces is None)):
            self._enter(parts[:depth])
        if pieces is None:
            return
        key = _compared(parts)
        if key in self._seen:
            raise BadArchive(f"it holds '{shown(name)}' twice, or a name that some systems take for the same")
        self._seen[key] = None
        self._write(self.folder.joinpath(*parts), name, pieces)
        self.files += 1

    def _enter(self, parts: list[str]) -> None:
        key, spelt = _compared(parts), "/".join(parts)
        if key not in self._seen:
            self._seen[key] = spelt
            os.mkdir(self.folder.joinpath(*parts))
        elif self._seen[key] != spelt:
            other = self._seen[key] or "a file"
            raise BadArchive(f"it holds a folder '{shown(spelt)}' beside {shown(other)}, which some systems confuse")

    def _write(self, path: Path, name: str, pieces: Iterator[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags, 0o666), "wb") as file:  # the mode in the archive counts for nothing
            written = 0
            for piece in pieces:
                written += len(piece)
                self.bytes += len(piece)
                if written > self.limits.member or self.bytes > self.limits.total:
                    raise BadArchive(
                        f"unpacked, it grows beyond {self.limits.total:,} bytes at '{shown(name)}', far more than this "
                        "data set has"
                    )
                file.write(piece)


def safe_parts(name: str, limits: Limits) -> list[str]:
    """The parts of a member's path below the folder; BadArchive for every name that could mean anything else."""
    bad = f"it holds the name '{shown(name)}', "
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadArchive(bad + "which is not text") from None
    if "\\" in name or ":" in name:
        raise BadArchive(bad + "with a backslash or colon, which means another folder or drive elsewhere")
    if name.startswith("/"):
        raise BadArchive(bad + "an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    lookalike = unicodedata.normalize("NFKC", name)  # what some file systems make of it
    if ".." in parts or ".." in re.split(r"[/\\]", lookalike):
        raise BadArchive(bad + "which leads out of the folder")
    if lookalike.count("/") != name.count("/") or "\\" in lookalike or ":" in lookalike:
        raise BadArchive(bad + "with characters that stand for a path")
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn") for char in name):
        raise BadArchive(bad + "with control characters")
    if any(part.endswith((" ", ".")) for part in parts):
        raise BadArchive(bad + "which ends with a blank or dot, and so is another name on Windows")
    if len(parts) > limits.depth or any(len(part.encode()) > limits.name for part in parts):
        raise BadArchive(bad + f"longer than {limits.name} bytes or deeper than {limits.depth} folders")
    return parts


def shown(name: str) -> str:
    """A name from an archive, safe to print and not longer than a line."""
    text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in name)
    return text if len(text) <= 80 else text[:60] + "..." + text[-15:]


def _compared(parts: list[str]) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", "/".join(parts)).casefold())


def _plain(error: BaseException) -> str:
    return shown(str(error).splitlines()[0]) if str(error) else type(error).__name__


# ---------------------------------------------------------------------------------------------------- tar


class _Member(tarfile.TarInfo):
    """Refuses, as soon as its 512 bytes are read, every header that is not of a plain file, folder or long name."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        member = super().frombuf(buf, encoding, errors)
        kind = member.type
        if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE):
            raise BadArchive(f"it holds a link, '{shown(member.name)}'; a data set is plain files")
        if kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            if not 0 <= member.size <= HEADER:
                raise BadArchive("it holds a header of more than 64 kB")
        elif kind not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.size < 0:
            raise BadArchive(f"it holds '{shown(member.name)}', which is neither a file nor a folder")
        return member


class _Forward:
    """Decompressed bytes, read from the start to the end, with a cap; what `tarfile` takes for a file."""

    def __init__(self, source: BinaryIO, cap: int):
        self.source, self.cap, self.place = source, cap, 0
        self.headers = True  # whether what is read now is headers, not the contents of a file
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= (HEADER + 512 if self.headers else CHUNK):  # below zero it would read everything
            raise BadArchive("it holds a header of more than 64 kB")
        data = self.last = self.source.read(size)
        self.place += len(data)
        if self.place > self.cap:
            raise BadArchive(f"unpacked, it grows beyond {self.cap:,} bytes, far more than this data set has")
        if self.headers and b"GNU.sparse" in data:
            raise BadArchive("it holds a file with holes (sparse), which data sets are not packed with")
        return data

    def tell(self) -> int:
        return self.place

    def seek(self, place: int) -> None:
        if place < self.place:
            raise BadArchive("its headers point backwards")
        headers, self.headers = self.headers, False
        while self.place < place and self.read(min(CHUNK, place - self.place)):
            pass
        self.headers = headers


def _tar(file: BinaryIO, kind: str, limits: Limits, said: Callable[[int], None]) -> Iterator:
    opener = {"gzip": lambda f: gzip.GzipFile(fileobj=f), "bzip2": bz2.BZ2File, "xz": lzma.LZMAFile}.get(kind)
    with opener(file) if opener else contextlib.nullcontext(file) as source:
        # each file takes a header and is filled up to 512 bytes; a long name takes two headers more
        stream = _Forward(source, limits.total + 2048 * limits.count + (1 << 20))
        with _damage_in_words(), tarfile.TarFile(fileobj=stream, tarinfo=_Member, errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # else a million of them stay in memory
                if not 0 <= member.size <= limits.member:
                    raise BadArchive(f"'{shown(member.name)}' says that it has {member.size:,} bytes")
                yield member.name, None if member.isdir() else _contents(stream, member)
                said(file.tell())
            if stream.last.strip(b"\0") or (kind == "tar" and not stream.last):
                raise BadArchive("the archive is damaged: something else stands where a header should")
            while stream.read(HEADER):  # to the end: the checksum of the whole stands there
                pass
        said(file.tell())


@contextlib.contextmanager
def _damage_in_words() -> Iterator[None]:
    """What bz2 says of damaged data is an OSError without a number; a real one, of the disk, goes on."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise BadArchive(f"the archive is damaged ({_plain(error)})") from None


def _contents(stream: _Forward, member: tarfile.TarInfo) -> Iterator[bytes]:
    stream.seek(member.offset_data)
    stream.headers = False
    left = member.size
    while left:
        data = stream.read(min(CHUNK, left))
        if not data:
            raise BadArchive(f"the archive ends inside of '{shown(member.name)}'")
        left -= len(data)
        yield data
    stream.headers = True


# ---------------------------------------------------------------------------------------------------- zip


def _zip(file: BinaryIO, kind: str, limits: Limits, said: Callable[[int], None]) -> Iterator:
    count = _count(file, limits)
    with zipfile.ZipFile(file) as archive:
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        if len(members) > limits.count:
            raise BadArchive(f"it holds more than {limits.count:,} files, which this data set does not have")
        if len(members) != count:
            raise BadArchive(f"the archive is damaged: it says {count:,} files and lists {len(members):,}")
        end = 0
        for member in members:
            if member.header_offset < end:
                raise BadArchive(f"'{shown(member.filename)}' shares its bytes with another file (a bomb)")
            end = member.header_offset + 30 + len(member.orig_filename) + member.compress_size
        if end > archive.start_dir:
            raise BadArchive("a file of it reaches into its table of contents")
        for member in members:
            _check_member(member, limits)
            yield member.orig_filename, None if member.orig_filename.endswith("/") else _inflated(archive, member)
            said(member.header_offset + member.compress_size)


def _count(file: BinaryIO, limits: Limits) -> int:
    """How many entries the archive says it has; its table of contents is not read into memory before it is small."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_600))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise BadArchive("the archive is cut short: its table of contents is missing")
    count, listed = struct.unpack_from("<HL", tail, end + 10)
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # zip64: the figures stand in a record of its own
        (place,) = struct.unpack_from("<Q", tail, end - 12)
        file.seek(min(place, size))
        record = file.read(56)
        if len(record) < 56:
            raise BadArchive("the archive is damaged: its table of contents is missing")
        count, listed = struct.unpack_from("<QQ", record, 32)
    if listed > limits.count * 512 + (1 << 16):
        raise BadArchive(f"it lists more than {limits.count:,} files, which this data set does not have")
    file.seek(0)
    return count


def _check_member(member: zipfile.ZipInfo, limits: Limits) -> None:
    name = shown(member.orig_filename)
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
        raise BadArchive(f"it holds '{name}', which is {what}; a data set is plain files")
    if member.flag_bits & 0x1:
        raise BadArchive(f"'{name}' is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others decompress without a bound
        raise BadArchive(f"'{name}' is packed in a way that is not unpacked here")
    if member.file_size > limits.member:
        raise BadArchive(f"'{name}' says that it has {member.file_size:,} bytes")
    if member.orig_filename.endswith("/") and member.file_size:
        raise BadArchive(f"'{name}' is a folder with contents")


def _inflated(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    count = 0
    with archive.open(member) as source:
        while data := source.read(CHUNK):
            count += len(data)
            yield data
    if count != member.file_size:
        raise BadArchive(f"'{shown(member.orig_filename)}' has {count:,} bytes and says {member.file_size:,}")
