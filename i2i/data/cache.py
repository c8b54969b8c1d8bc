"""Training pictures decoded and resized once: their levels stay in a memory-mapped file from one epoch to the next.

What is drawn for a sample (crop, flip, a pipeline) comes after the resize, which is the same every time; so from the
second epoch on a sample is a slice of the file. The pictures are those that are read without it, bit for bit.

A list of training files has one file of levels (`Levels`), with a place of known size for each picture, since headers
tell the sizes. It is filled as pictures are first asked for, by any number of workers and of runs at once: whatever the
file's name stands for (the pictures and the settings) decides every byte of a place, so that two who write the same one
write the same. A place counts once its checksum is entered, after its bytes: what a killed writer left does not count,
nor what a power cut or anybody else damaged, which the checksum shows at the first look of a run.

A picture is known by its name, size and the times of its last change (mtime and ctime, to the nanosecond), not by a
hash of its bytes: that would read every file at every start, which is what the cache is to spare. ctime is among them
because archives set mtime back, and pictures that are not compressed are all of one size. A picture that changes while
a run goes on is read anew each time, as without a cache.
"""

import contextlib
import errno
import hashlib
import json
import mmap
import os
import stat
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from i2i import atomic
from i2i.data.folders import Files
from i2i.places import cache_folder

FOLDER = ".i2i-cache"  # beside the data; hidden, so that nothing that lists pictures looks into it
SUFFIX = ".levels"
FORM = 1  # of the file; another one is another name
HEAD = 4096  # bytes of the head, which says what the file is
ENTRY = struct.Struct("<II")  # of each place: DONE, and the CRC-32 of its bytes
DONE = 0x1E7E15
ALIGN = 64
SPARE = 5e9  # bytes of a disk that are left to others, checkpoints above all
UNUSED = 30 * 86_400  # seconds after which a file that no run has opened is removed
DEAD = 3600  # seconds after which the part of a file is taken to be of a killed writer

Pixels = dict[str, np.ndarray]
Say = Callable[[str], None]


class Units(NamedTuple):
    """One list of the pictures that training samples are made of."""

    name: str  # begins the file's name: a-z
    files: tuple[Files, ...]  # unit i is made of file i of each; none where the pictures are in memory
    sizes: np.ndarray  # (N, 2) height and width of what is made of them, before it is resized; 0: a broken header
    keys: Mapping[str, Any]  # of a batch: its Domain
    settings: Mapping[str, Any]  # strict JSON: what else decides the levels


def keep(data, say: Say) -> None:
    """Lets a data set keep its training pictures decoded, where that fits; says where, or why not.

    The place is `i2i.data.cache.FOLDER` in the folder of the data; where that cannot be written to, `pictures` in
    `places.cache_folder()`; where I2I_CACHE is set, always the latter.

    Args:
        data: a `PictureSet`. One that reads no files (drawn pictures, or those that are in memory) is left alone.
    """
    units = [each for each in data.units() if each.files]
    if not units:
        return
    kept = Kept([Levels(each, data.transform) for each in units], data.transform.resized)
    size = f"{kept.size / 1e9:,.1f} GB"
    if kept.size > (memory := _memory()) / 2:
        say(
            f"decoded pictures are not kept: they take {size}, more than half of this machine's memory "
            f"({memory / 1e9:,.0f} GB), so that each epoch would read them from the disk again"
        )
        return
    reasons = []
    for folder in _folders(data.root):
        try:
            kept.open(folder, beside=folder.name == FOLDER)
        except OSError as error:
            reasons.append(f"{folder} ({error.strerror or error})")
            continue
        data.kept = kept
        say(f"decoded pictures are kept in {folder} (up to {size}; may be removed at any time; data.cache=off: not)")
        return
    say(f"decoded pictures are not kept, and decoded anew each epoch: {'; '.join(reasons)}")


def _folders(root: Path) -> list[Path]:
    own = cache_folder() / "pictures"
    return [own] if os.environ.get("I2I_CACHE") else [root / FOLDER, own]


def _memory() -> float:
    """Bytes of this machine's memory; no limit where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return float("inf")


class Kept:
    """The levels of all lists of a data set.

    Args:
        levels: of each list.
        resized: (H, W, C) -> (H, W, C), what is done to each picture before it is kept.
    """

    def __init__(self, levels: Sequence["Levels"], resized: Callable[[np.ndarray], np.ndarray]):
        self.levels = {each.units.name: each for each in levels}
        self.size = sum(each.size for each in levels)
        self.resized = resized
        self._said = False

    def open(self, folder: Path, beside: bool) -> None:
        """Opens or makes the files in `folder`. OSError: it cannot be."""
        made = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if not hasattr(os, "pwrite"):
                raise OSError(0, "this system cannot write into the middle of a file that others write to")
            needed = sum(levels.named(folder, beside) for levels in self.levels.values())
            if needed + SPARE > (free := _free(folder)):
                words = (
                    f"{free / 1e9:,.1f} GB are free, {needed / 1e9:,.1f} needed, and {SPARE / 1e9:.0f} left to others"
                )
                raise OSError(errno.ENOSPC, words)
            for levels in self.levels.values():
                levels.open()
        except OSError:
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise

    def read(self, name: str, place: int, load: Callable[[], Pixels]) -> Pixels:
        """The resized pictures of a unit, {key: (H, W, C)}, not to be written to; `load` makes them where they are not
        kept, and may raise what it likes."""
        levels = self.levels[name]
        if not levels.fresh(place):
            return load()
        found = levels.get(place)
        if found is None:
            found = {key: self.resized(pixels) for key, pixels in load().items()}
            if levels.fresh(place):
                levels.put(place, found)
        return found

    def trouble(self) -> str | None:
        """The sentence to say, once, when a disk has refused to take more."""
        if self._said or not any(levels.refused for levels in self.levels.values()):
            return None
        self._said = True
        return "the disk takes no more decoded pictures: those that are not kept yet are decoded anew each epoch"


class Levels:
    """The file of one list: a head, an entry for each place, the places.

    Args:
        units: what is kept.
        transform: its `size` says what a picture is resized to.
    """

    def __init__(self, units: Units, transform):
        self.units = units
        self._shapes = resized_sizes(units.sizes, transform.load_size)
        pixels = self._shapes.astype(np.int64).prod(axis=1)
        lengths = [pixels * domain.channels * np.dtype(domain.dtype).itemsize for domain in units.keys.values()]
        self._lengths = np.stack(lengths, axis=1)  # (N, keys) bytes
        whole = _aligned(self._lengths.sum(axis=1))
        first = HEAD + int(_aligned(np.int64(len(pixels) * ENTRY.size)))
        self._starts = first + np.cumsum(np.concatenate([[0], whole]))
        self.size = int(self._starts[-1])
        self._stamps = np.stack([[_stamp(path) for path in files] for files in units.files], axis=1)  # (N, files, 3)
        self._load_size = transform.load_size
        self._path: Path | None = None
        self._handle, self._map = -1, None
        self._state = mmap.mmap(-1, len(pixels) + 1)  # shared with workers: what was looked at, whether writing failed

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_handle": -1, "_map": None, "_state": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._state = mmap.mmap(-1, len(self._shapes) + 1)
        if self._path is not None:  # a process that is started afresh, or a copy
            with contextlib.suppress(OSError):
                self._attach()

    # ------------------------------------------------------------------------------------------------ the file

    def named(self, folder: Path, beside: bool) -> int:
        """Gives the file its name in `folder`; returns the bytes of the disk that it will take more than now.

        Args:
            beside: whether the folder lies in that of the pictures, so that both may be moved together.
        """
        self._group, name = self._names(folder, beside)
        self._path = folder / name
        words = {"i2i": "decoded training pictures; may be removed at any time", "name": name}
        words |= {"pictures": len(self._shapes), "bytes": self.size}
        self._head = (json.dumps(words) + "\n").encode().ljust(HEAD, b"\0")
        return self.size - (os.stat(self._path).st_blocks * 512 if self._usable() else 0)

    def open(self) -> None:
        """Opens the file, or makes it. OSError: it cannot be written to."""
        with _alone(self._path.parent):  # or the second of two would replace the file that the first has opened
            if not self._usable():
                _tidy(self._path.parent, self._group)
                atomic.write_bytes(self._path, self._head)
            self._attach()
        with contextlib.suppress(OSError):
            os.utime(self._path)  # it is in use

    def _names(self, folder: Path, beside: bool) -> tuple[str, str]:
        """How all files of these names and settings begin, and the name of the one of these very pictures."""
        units = self.units
        where = [os.path.realpath(files.folder) for files in units.files]
        settings = {
            "form": FORM,
            "folders": [os.path.relpath(place, os.path.realpath(folder.parent)) for place in where]
            if beside
            else where,
            "load_size": self._load_size,
            "keys": {
                key: [domain.channels, list(domain.range), domain.depth, domain.page]
                for key, domain in units.keys.items()
            },
            **units.settings,
        }
        group = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for files in units.files:
            group.update(files.digest())
        content = group.copy()
        for array in (self._stamps, units.sizes.astype("<i8")):
            content.update(array.tobytes())
        start = f"{units.name}-{group.hexdigest()[:16]}-"
        return start, f"{start}{content.hexdigest()[:40]}{SUFFIX}"

    def _usable(self) -> bool:
        """Whether the file is there and what its name says; what else stands there is replaced."""
        try:
            found = os.lstat(self._path)
            if not stat.S_ISREG(found.st_mode) or not HEAD <= found.st_size <= self.size:
                return False
            with open(self._path, "rb") as file:
                return file.read(HEAD) == self._head
        except FileNotFoundError:
            return False

    def _attach(self) -> None:
        handle = os.open(self._path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            if os.pread(handle, HEAD, 0) != self._head:
                raise OSError(0, "somebody else has replaced it")
            if os.fstat(handle).st_size < self.size:
                os.ftruncate(handle, self.size)  # a hole, which takes no space until it is filled
            found = mmap.mmap(handle, self.size, access=mmap.ACCESS_READ)
        except BaseException:
            os.close(handle)
            raise
        self._handle, self._map = handle, found

    def __del__(self):
        if getattr(self, "_handle", -1) >= 0:
            os.close(self._handle)

    # ------------------------------------------------------------------------------------------------ its places

    @property
    def refused(self) -> bool:
        """Whether the disk has refused to take more, here or in a worker."""
        return self._state[-1] == 1

    def fresh(self, place: int) -> bool:
        """Whether the files of a unit are what they were when this file was opened, and a place is theirs."""
        return (
            self._map is not None
            and bool(self._lengths[place, 0])
            and all(
                _stamp(files[place]) == tuple(stamp)
                for files, stamp in zip(self.units.files, self._stamps[place].tolist())
            )
        )

    def get(self, place: int) -> Pixels | None:
        """What is kept of a unit, {key: (H, W, C)}, not to be written to; None where nothing is, or it is damaged."""
        done, checksum = ENTRY.unpack_from(self._map, HEAD + place * ENTRY.size)
        if done != DONE:
            return None
        start, shape = int(self._starts[place]), self._shapes[place]
        if not self._state[place]:
            end = start + int(self._lengths[place].sum())
            with memoryview(self._map) as view:
                if zlib.crc32(view[start:end]) != checksum:
                    return None
            self._state[place] = 1
        found = {}
        for (key, domain), length in zip(self.units.keys.items(), self._lengths[place].tolist()):
            count = length // np.dtype(domain.dtype).itemsize
            levels = np.frombuffer(self._map, domain.dtype, count, start)
            found[key], start = levels.reshape(*shape, domain.channels), start + length
        return found

    def put(self, place: int, pictures: Pixels) -> None:
        """Keeps the pictures of a unit, unless they are not of its shape; where the disk refuses, no more are kept."""
        shape = tuple(self._shapes[place])
        whole = [np.ascontiguousarray(pictures[key]) for key in self.units.keys]
        domains = self.units.keys.values()
        fits = all(x.shape == (*shape, d.channels) and x.dtype == d.dtype for x, d in zip(whole, domains))
        if not fits or self.refused:
            return
        data = b"".join(whole)
        try:
            _write(self._handle, data, int(self._starts[place]))
            _write(self._handle, ENTRY.pack(DONE, zlib.crc32(data)), HEAD + place * ENTRY.size)
        except OSError:
            self._state[-1] = 1
            return
        self._state[place] = 1


def resized_sizes(sizes: np.ndarray, load_size: int | None) -> np.ndarray:
    """(N, 2) sizes after `Transform.resized`, in its arithmetic; 0 stays 0."""
    if load_size is None:
        return sizes.astype(np.int64)
    short = sizes.min(axis=1, keepdims=True)
    resized = np.maximum(1, np.rint(sizes * (load_size / np.maximum(1, short))))
    return np.where(short > 0, resized, 0).astype(np.int64)


def _aligned(length: np.ndarray) -> np.ndarray:
    return -(-length // ALIGN) * ALIGN


def _stamp(path: str) -> tuple[int, int, int]:
    """(size, mtime, ctime), the times in nanoseconds; of a file that is not there -1."""
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1, -1
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _write(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(handle, view, offset)
        view, offset = view[done:], offset + done


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Others who come here meanwhile wait. Where a disk has no locks, two may write, and one of them in vain."""
    import fcntl  # there where `os.pwrite` is

    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _tidy(folder: Path, group: str) -> None:
    """Removes what this file replaces (the same names and settings, other pictures), what no run has opened for long,
    and what killed writers left. A run that still reads one of them is not disturbed."""
    now = time.time()
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            age = now - path.lstat().st_mtime
            if path.name.endswith(SUFFIX):
                dead = path.name.startswith(group) or age > UNUSED
            else:
                dead = path.name.endswith(atomic.SUFFIX) and age > DEAD
            if dead:
                path.unlink()
