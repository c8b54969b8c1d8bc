"""Write a file whole or not at all: a kill, a full disk or a power cut leaves the old file or the new, never a part.

Temporary file in the same folder, write, fsync, rename, fsync the folder. Imports neither torch nor numpy, so that
every call can be made to fail in a test within milliseconds.
"""

import contextlib
import errno
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SUFFIX = ".i2i-part"  # what a kill in the middle leaves behind; `sweep` removes it
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_UNSYNCABLE = (errno.EINVAL, errno.ENOTSUP)

Bytes = bytes | bytearray | memoryview


def write_bytes(path: str | os.PathLike, *pieces: Bytes) -> None:
    """Replace `path` by a file that holds `pieces`, one after the other, atomically and durably.

    A symbolic link at `path` is replaced, not what it points to.

    Raises:
        OSError: nothing was replaced (no space, no permission, a failing disk), and `filename` is `path`; or, if
            `filename` is its folder, the new file is in its place, whole, but the disk would not confirm it.
    """
    path = Path(path)
    part = path.with_name(f".{_start(path.name)}.{os.urandom(8).hex()}{SUFFIX}")
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(_folder(path.parent))  # first: what can fail should, while it is harmless
            _write_part(part, pieces)
            os.replace(part, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(part)
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise
        _sync(folder, path.parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def sweep(folder: str | os.PathLike) -> int:
    """Remove what killed writers left in `folder`, and nothing that is still being written; returns how many files."""
    removed = 0
    for part in Path(folder).glob(f".*{SUFFIX}"):
        with contextlib.suppress(OSError):  # somebody else's, or already gone: no reason to stop anybody's work
            if part.is_file() and not _in_use(part):
                part.unlink()
                removed += 1
    return removed


def _start(name: str) -> str:
    """What fits beside the rest of a temporary name in 255 bytes, cut between characters."""
    return name.encode("utf-8", "ignore")[:80].decode("utf-8", "ignore")


def _write_part(part: Path, pieces: Iterable[Bytes]) -> None:
    handle = os.open(part, _NEW, 0o666)  # less the umask, as for any file that a user makes
    try:
        _lock(handle)
        for piece in pieces:
            view = memoryview(piece).cast("B")
            while view:
                done = os.write(handle, view)
                if done <= 0:
                    raise OSError(errno.EIO, "the file system takes no more bytes")
                view = view[done:]
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    """Marks a part as alive. The kernel lets go when its writer ends, however it ends."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # some network mounts have no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _in_use(part: Path) -> bool:
    if fcntl is None:
        return False  # Windows refuses to remove an open file by itself
    handle = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int | None]:
    """A handle to sync a folder by; None where folders cannot be opened for it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows, and folders that one may write to but not list
        handle = None
    try:
        yield handle
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                os.close(handle)


def _sync(handle: int | None, folder: Path) -> None:
    if handle is None:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise OSError(error.errno, error.strerror, str(folder)) from None
        # some network mounts cannot: the rename stands, only its durability over a power cut is theirs to promise
        warnings.warn(f"{folder}: this file system cannot sync a folder ({error.strerror})", stacklevel=3)
