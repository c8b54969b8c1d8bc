"""Archives from anywhere: what is written, what is refused, and that nothing is ever written elsewhere."""

import io
import os
import stat
import struct
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from serving import add, noise, tar, zipped

from i2i.prepare.downloading import unpack as room
from i2i.prepare.downloading.unpack import BadArchive, Limits, kind_of, unpack

FILES = {"toy/trainA/1.png": noise(700, 1), "toy/trainA/2.png": noise(20, 2), "toy/trainB/ü 1.png": noise(513, 3)}
LIMITS = Limits(total=200_000, count=50)
KINDS = {
    "gzip": lambda files: tar(files, "w:gz"),
    "bzip2": lambda files: tar(files, "w:bz2"),
    "xz": lambda files: tar(files, "w:xz"),
    "tar": lambda files: tar(files, "w:"),
    "zip": zipped,
}


def tree(folder: Path) -> dict[str, tuple]:
    """{path: (mode, contents or target)} of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        held = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[path.relative_to(folder).as_posix()] = (stat.filemode(info.st_mode), held)
    return found


def contents_of(folder: Path) -> dict[str, bytes]:
    return {name: held for name, (mode, held) in tree(folder).items() if mode.startswith("-")}


def unpacked(data: bytes, place: Path, limits: Limits = LIMITS, **more) -> dict[str, bytes]:
    """Unpacks in a folder of its own; whatever happens, nothing else in `place` changes."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "bystander").write_text("mine")
    archive, folder = place / "archive", place / "folder"
    archive.write_bytes(data)
    folder.mkdir()
    before = tree(place)
    try:
        unpack(archive, folder, limits, **more)
    finally:
        after = {name: entry for name, entry in tree(place).items() if not name.startswith("folder/")}
        assert after == before
        assert not any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in folder.rglob("*"))
    return contents_of(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_archive_comes_out_as_it_went_in(kind, tmp_path):
    data = KINDS[kind](FILES)
    assert kind_of(data[:512]) == kind
    told = []
    assert unpacked(data, tmp_path, progress=lambda done, total: told.append((done, total))) == FILES
    assert told[-1][1] == len(data) and told == sorted(told) and told[-1][0] <= len(data)


def test_long_names_and_pax_headers_are_read(tmp_path):
    name = "/".join(["a" * 60, "ü" * 60, "c" * 90 + ".png"])
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", format=format, pax_headers={"comment": "x" * 3000}) as archive:
            add(archive, "./" + name, b"here")
        assert unpacked(buffer.getvalue(), tmp_path / str(format)) == {name: b"here"}


def test_what_archivers_add_of_their_own_is_left_out(tmp_path):
    junk = {"__MACOSX/toy/._1.png": b"x", "toy/.DS_Store": b"x", "toy/trainA/._1.png": b"x", "toy/Thumbs.db": b"x"}
    assert unpacked(zipped(FILES | junk), tmp_path) == FILES


def test_modes_in_an_archive_count_for_nothing(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in FILES.items():
            add(archive, name, data, mode=0o6777)
    assert unpacked(buffer.getvalue(), tmp_path) == FILES
    assert not any(path.stat().st_mode & 0o7111 for path in (tmp_path / "folder").rglob("*.png"))


def test_an_archive_inside_of_it_stays_one(tmp_path):
    inner = zipped({"../../evil.png": b"x"})
    assert unpacked(zipped({"toy/inner.zip": inner}), tmp_path) == {"toy/inner.zip": inner}


# ---------------------------------------------------------------------------------------------------- hostile ones


def tar_of(*members: tuple, mode: str = "w:gz", format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=format) as archive:
        for name, data, kind in members:
            add(archive, name, data, **kind)
    return buffer.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    return (name, b"", {"type": kind, "linkname": target})


def odd(kind) -> bytes:
    return tar_of(("toy/odd", b"", {"type": kind, "devmajor": 1, "devminor": 3}))


def patched_zip(old: bytes, new: bytes, files=None) -> bytes:
    data = zipped(files or {"toy/1.png": b"abcd" * 50})
    assert data.count(old) and len(old) == len(new)
    return data.replace(old, new)


def zip_with(**fields) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("toy/1.png")
        for key, value in fields.items():
            setattr(info, key, value)
        archive.writestr(info, b"/etc/passwd")
    return buffer.getvalue()


def in_central(data: bytes, offset: int, new: bytes, local: int | None = None) -> bytes:
    """A field of the first entry of the table of contents replaced, and the one of its local header too."""
    changed, place = bytearray(data), data.index(b"PK\x01\x02")
    changed[place + offset : place + offset + len(new)] = new
    if local is not None:
        changed[local : local + len(new)] = new
    return bytes(changed)


def overlapping() -> bytes:
    """Two entries of the table of contents that share one body, as in the quickest bombs."""
    data = zipped({"toy/1.png": b"a" * 100, "toy/2.png": b"b" * 100})
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    changed = bytearray(data.replace(b"toy/2.png", b"toy/1.png"))
    changed[second + 42 : second + 46] = struct.pack("<L", 0)
    return bytes(changed)


def sparse_pax() -> bytes:
    headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "toy/1.png",
        "GNU.sparse.realsize": "9",
    }
    return tar_of(("toy/1.png", b"1\n0\n1\n" + bytes(600), {"pax_headers": headers}))


def raw_header(name: bytes, kind: bytes, size: int, body: bytes = b"") -> bytes:
    member = tarfile.TarInfo(name.decode())
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT) + body + bytes(-len(body) % 512)


def counting(count: int) -> dict[str, bytes]:
    return {f"toy/{index}.png": b"" for index in range(count)}


BOMB = {"toy/1.png": bytes(300_000)}
HOSTILE = {
    "an absolute path": (tar({"/tmp/evil.png": b"x"}), "absolute"),
    "an absolute path in a zip": (zipped({"/tmp/evil.png": b"x"}), "absolute"),
    "dots": (tar({"toy/../../evil.png": b"x"}), "leads out"),
    "dots in a zip": (zipped({"../evil.png": b"x"}), "leads out"),
    "dots in a header of its own": (tar_of(("x", b"x", {"pax_headers": {"path": "../evil.png"}})), "leads out"),
    "wide dots": (tar({"．．/evil.png": b"x"}), "leads out"),
    "a wide slash": (zipped({"toy／．．／evil.png": b"x"}), "leads out"),
    "a symbolic link": (tar_of(link("toy/1.png", "/etc/passwd")), "a link"),
    "a symbolic link in a zip": (zip_with(external_attr=0o120777 << 16), "a link"),
    "a hard link": (tar_of(link("toy/1.png", "../bystander", tarfile.LNKTYPE)), "a link"),
    "a link that is written through": (tar_of(link("toy", ".."), ("toy/evil.png", b"x", {})), "a link"),
    "a character device": (odd(tarfile.CHRTYPE), "neither a file nor"),
    "a block device": (odd(tarfile.BLKTYPE), "neither a file nor"),
    "a pipe": (odd(tarfile.FIFOTYPE), "neither a file nor"),
    "a pipe in a zip": (zip_with(external_attr=0o010644 << 16), "neither a file nor"),
    "a kind that nobody knows": (odd(b"Q"), "neither a file nor"),
    "a bomb": (tar(BOMB), "grows beyond"),
    "a bomb in a zip": (zipped(BOMB), "grows beyond"),
    "a bomb after the end": (tar({"toy/1.png": b"x"}, "w:xz") + tar(BOMB | {f"{n}": bytes(10**6) for n in range(9)}, "w:xz"), "grows beyond"),
    "a bomb of headers": (tar_of(*[(f"toy/{n}", b"", {"pax_headers": {"comment": "x" * 60_000}}) for n in range(40)]), "grows beyond"),
    "a zip that says too little": (in_central(zipped({"toy/1.png": b"a" * 500}), 24, struct.pack("<L", 7), 22), "damaged"),
    "a zip that says too much": (in_central(zipped({"toy/1.png": b"a" * 500}), 24, struct.pack("<L", 900), 22), "has 500 bytes and says 900"),
    "a zip that says far too much": (in_central(zipped({"toy/1.png": b"a" * 500}), 24, struct.pack("<L", 1 << 31), 22), "says that it has"),
    "files that share their bytes": (overlapping(), "shares its bytes"),
    "two names alike": (tar_of(("toy/1.png", b"x", {}), ("toy/./1.png", b"y", {})), "twice"),
    "two names alike in a zip": (patched_zip(b"toy/2.png", b"toy/1.png", {"toy/1.png": b"x", "toy/2.png": b"y"}), "twice"),
    "names that differ in case": (zipped({"toy/a.png": b"x", "toy/A.png": b"y"}), "twice"),
    "folders that differ in case": (tar({"toy/a.png": b"x", "Toy/b.png": b"y"}), "some systems confuse"),
    "one name in two normal forms": (tar({unicodedata.normalize(f, "toy/é.png"): b"x" for f in ("NFC", "NFD")}), "twice"),
    "a sharp s": (tar({"toy/straße.png": b"x", "toy/STRASSE.png": b"y"}), "twice"),
    "a file that is a folder": (tar({"toy/1.png": b"x", "toy/1.png/2.png": b"y"}), "some systems confuse"),
    "a folder that is a file": (tar({"toy/1.png/2.png": b"y", "toy/1.png": b"x"}), "twice"),
    "far too many files": (tar(counting(60)), "more than 50 files"),
    "far too many files in a zip": (zipped(counting(60)), "more than 50 files"),
    "a table of contents without end": (zipped({f"toy/{'x' * 200}{index}.png": b"" for index in range(900)}), "lists more than 50"),
    "a long name": (tar({"toy/" + "x" * 300 + ".png": b"x"}), "longer than"),
    "a deep folder": (tar({"x/" * 40 + "1.png": b"x"}), "longer than"),
    "a backslash": (zipped({"toy\\..\\..\\evil.png": b"x"}), "backslash"),
    "a drive": (zipped({"C:evil.png": b"x"}), "colon"),
    "a second stream": (tar({"toy/1.png:evil": b"x"}), "colon"),
    "a zero in a name": (patched_zip(b"toy/1.png", b"toy/\x00.png"), "control characters"),
    "a zero in a long name": (tar_of(("x", b"x", {"pax_headers": {"path": "toy/1.png\0.txt"}})), "control characters"),
    "a line break in a name": (tar({"toy/1\n.png": b"x"}), "control characters"),
    "a name written from the right": (tar({"toy/\u202egnp.exe": b"x"}), "control characters"),
    "a name that is no text": (tar_of(("toy/\udcff.png", b"x", {}), format=tarfile.GNU_FORMAT), "not text"),
    "a name that ends with a dot": (tar({"toy./1.png": b"x"}), "blank or dot"),
    "a file with holes": (odd(tarfile.GNUTYPE_SPARSE), "neither a file nor"),
    "a file with holes in new style": (sparse_pax(), "holes"),
    "a header of many gigabytes": (raw_header(b"x", tarfile.XHDTYPE, 8 << 30), "more than 64 kB"),
    "a long name of many gigabytes": (raw_header(b"x", tarfile.GNUTYPE_LONGNAME, 8 << 30), "more than 64 kB"),
    "a header of less than nothing": (raw_header(b"x", tarfile.XHDTYPE, -600), "more than 64 kB"),
    "a size below zero": (tar_of(("toy/1.png", b"x", {"pax_headers": {"size": "-600"}})), ""),
    "a size without end": (tar_of(("toy/1.png", b"x", {"pax_headers": {"size": "9" * 30}})), ""),
    "a size that is no number": (tar_of(("toy/1.png", b"x", {"pax_headers": {"size": "many"}})), ""),
    "an encrypted zip": (in_central(zipped({"toy/1.png": b"x"}), 8, b"\1\0", 6), "encrypted"),
    "an unknown way of packing": (in_central(zipped({"toy/1.png": b"x"}), 10, b"\x63\0", 8), "not unpacked here"),
    "two names for one file": (patched_zip(b"PK\x01\x02", b"PK\x01\x02").replace(b"toy/1.png", b"toy/9.png", 1), "damaged"),
    "a web page": (b"<!DOCTYPE html><html><body>gone</body></html>", "a web page"),
    "nothing": (b"", "an empty file"),
    "a zip without its end": (zipped(FILES)[:-30], "cut short"),
    "a tar without its end": (tar(FILES)[:-30], "cut short"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_sentence_and_writes_nowhere_else(name, tmp_path):
    data, sentence = HOSTILE[name]
    with pytest.raises(BadArchive) as refused:
        unpacked(data, tmp_path)
    said = str(refused.value)
    assert sentence in said
    assert len(said.splitlines()) == 1 and len(said) < 300 and said.isprintable()
    assert sum(map(len, contents_of(tmp_path / "folder").values())) <= LIMITS.total


def test_one_file_may_not_be_too_large_even_if_all_together_may(tmp_path):
    with pytest.raises(BadArchive, match="300,000 bytes"):
        unpacked(tar(BOMB), tmp_path, Limits(total=1 << 20, member=100_000))
    with pytest.raises(BadArchive, match="300,000 bytes"):
        unpacked(zipped(BOMB), tmp_path / "zip", Limits(total=1 << 20, member=100_000))


def test_headers_are_not_kept_in_memory(tmp_path, monkeypatch):
    """A million members would take a gigabyte."""
    kept = []
    monkeypatch.setattr(room.Writer, "_write", lambda self, path, name, pieces: kept.append(sum(map(len, pieces))))
    seen = []
    real = tarfile.TarFile.next
    monkeypatch.setattr(tarfile.TarFile, "next", lambda self: (seen.append(len(self.members)), real(self))[1])
    unpacked(tar(counting(40)), tmp_path)
    assert len(kept) == 40 and max(seen) <= 1


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zip"])
def test_one_flipped_bit_never_changes_a_picture_unnoticed(kind, tmp_path):
    """These archives carry checksums of their contents. What they do not cover (a date, a comment) changes nothing."""
    files = {"t/1.png": noise(60, 1), "t/2.png": noise(40, 2)}
    data = KINDS[kind](files)
    refused = 0
    for place in range(0, len(data), 2 if len(data) > 400 else 1):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        try:
            found = unpacked(bytes(flipped), tmp_path / str(place))
        except BadArchive:
            refused += 1
        else:
            assert found == files, place
    assert refused > 0.5 * len(range(0, len(data), 2 if len(data) > 400 else 1))


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zip"])
def test_one_cut_short_anywhere_is_refused(kind, tmp_path):
    data = KINDS[kind](FILES)
    for end in range(6, len(data) - 1, max(1, len(data) // 25)):
        with pytest.raises(BadArchive):
            unpacked(data[:end], tmp_path / str(end))


def test_a_full_disk_is_said_to_be_one(tmp_path, monkeypatch):
    def full(self, path, name, pieces):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(room.Writer, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        unpacked(tar(FILES), tmp_path)
