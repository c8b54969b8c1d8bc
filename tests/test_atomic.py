"""A file is old or new, whatever fails and whenever."""

import errno
import os
import re
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from i2i import atomic

ROOT = Path(__file__).parents[1]
OLD, NEW = b"old " * 1000, b"new " * 2000


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(OLD)
    return path


def parts(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.endswith(atomic.SUFFIX)]


def fail(monkeypatch, name: str, at: int, code: int) -> list:
    """`os.<name>` raises `code` at its call number `at`; the returned list grows by one with every call."""
    real, calls = getattr(os, name), []

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) == at:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, call)
    return calls


class TestWriting:
    def test_replaces_the_file_by_all_pieces_in_order(self, file):
        atomic.write_bytes(file, b"one ", bytearray(b"two "), memoryview(b"three"), b"")
        assert file.read_bytes() == b"one two three"
        assert os.listdir(file.parent) == [file.name]

    def test_writes_items_of_several_bytes_whole(self, file):
        atomic.write_bytes(file, memoryview(b"12345678").cast("I"))
        assert file.read_bytes() == b"12345678"

    def test_text_is_utf8(self, tmp_path):
        atomic.write_text(tmp_path / "a.txt", "größer\n")
        assert (tmp_path / "a.txt").read_bytes() == "größer\n".encode()

    def test_a_new_file_has_the_mode_that_the_umask_gives(self, tmp_path):
        before = os.umask(0o027)
        try:
            atomic.write_bytes(tmp_path / "a", b"")
        finally:
            os.umask(before)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640

    @pytest.mark.parametrize("name", ["x" * 255, "猫" * 85, "é" * 127])
    def test_takes_every_name_that_the_file_system_takes(self, tmp_path, name):
        atomic.write_bytes(tmp_path / name, NEW)
        assert (tmp_path / name).read_bytes() == NEW

    def test_imports_neither_torch_nor_numpy(self):
        code = "import sys, i2i.atomic; print({'torch', 'numpy'} & set(sys.modules))"
        out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert out.stdout == "set()\n"


class TestFailing:
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
    @pytest.mark.parametrize("name", ["write", "fsync", "replace", "open", "close"])
    def test_at_every_call_the_file_is_old_or_new_and_no_part_is_left(self, file, monkeypatch, name, code):
        at, stood = 0, 0
        while True:
            at += 1
            file.write_bytes(OLD)
            with monkeypatch.context() as patch:
                calls = fail(patch, name, at, code)
                try:
                    atomic.write_bytes(file, NEW[:4000], NEW[4000:])
                    error = None
                except OSError as caught:
                    error = caught
            assert parts(file.parent) == []
            if len(calls) < at:
                break  # this call was never made: every one of them has failed once
            if error is None:  # closing the folder's handle: nothing hangs on it
                assert (name, file.read_bytes()) == ("close", NEW)
            elif error.filename == str(file):
                assert (file.read_bytes(), error.errno) == (OLD, code)
                stood += 1
            else:  # only the durability of the rename is in doubt
                assert (name, error.filename, file.read_bytes()) == ("fsync", str(file.parent), NEW)
        assert at > 1 and stood

    def test_short_writes_are_continued(self, file, monkeypatch):
        real = os.write
        monkeypatch.setattr(os, "write", lambda handle, view: real(handle, view[:7]))
        atomic.write_bytes(file, NEW)
        assert file.read_bytes() == NEW

    def test_a_write_of_nothing_is_an_error_and_no_endless_loop(self, file, monkeypatch):
        monkeypatch.setattr(os, "write", lambda handle, view: 0)
        with pytest.raises(OSError, match="no more bytes"):
            atomic.write_bytes(file, NEW)
        assert (file.read_bytes(), parts(file.parent)) == (OLD, [])

    def test_an_interrupt_leaves_the_old_file_and_no_part(self, file, monkeypatch):
        def interrupt(handle, view):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            atomic.write_bytes(file, NEW)
        assert (file.read_bytes(), parts(file.parent)) == (OLD, [])

    def test_a_mount_that_cannot_sync_folders_is_warned_about_only(self, file, monkeypatch):
        fail(monkeypatch, "fsync", 2, errno.EINVAL)
        with pytest.warns(UserWarning, match="cannot sync a folder") as caught:
            atomic.write_bytes(file, NEW)
        assert file.read_bytes() == NEW
        assert caught[0].filename == __file__

    def test_a_folder_that_cannot_be_listed_can_still_be_written_to(self, file, monkeypatch):
        fail(monkeypatch, "open", 1, errno.EACCES)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            atomic.write_bytes(file, NEW)
        assert file.read_bytes() == NEW

    def test_a_missing_folder_and_a_folder_in_the_way_name_the_file(self, tmp_path):
        with pytest.raises(FileNotFoundError) as error:
            atomic.write_bytes(tmp_path / "none" / "a", NEW)
        assert error.value.filename == str(tmp_path / "none" / "a")
        (tmp_path / "folder").mkdir()
        with pytest.raises(OSError) as error:
            atomic.write_bytes(tmp_path / "folder", NEW)
        assert error.value.filename == str(tmp_path / "folder")
        assert parts(tmp_path) == []

    def test_a_limit_on_file_size_is_an_oserror_and_the_old_file_stays(self, file):
        code = textwrap.dedent(f"""
            import errno, resource, sys
            from i2i import atomic
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            try:
                atomic.write_bytes({str(file)!r}, b"x" * 8000)
            except OSError as error:
                print(error.errno == errno.EFBIG, error.filename)
        """)
        out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert (out.returncode, out.stdout) == (0, f"True {file}\n"), out.stderr
        assert (file.read_bytes(), parts(file.parent)) == (OLD, [])


class TestSweeping:
    def test_removes_what_a_killed_writer_left_and_nothing_else(self, file):
        code = textwrap.dedent(f"""
            import os, signal
            from i2i import atomic
            os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
            atomic.write_bytes({str(file)!r}, b"x")
        """)
        out = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
        assert out.returncode == -signal.SIGKILL
        assert len(parts(file.parent)) == 1
        for name in (".hidden", "a.i2i-part.png"):
            (file.parent / name).touch()
        assert atomic.sweep(file.parent) == 1
        assert sorted(os.listdir(file.parent)) == [".hidden", "a.i2i-part.png", file.name]
        assert atomic.sweep(file.parent) == 0

    def test_spares_a_part_that_somebody_is_writing(self, file, monkeypatch):
        real, swept = os.write, []

        def write(handle, view):
            swept.append(atomic.sweep(file.parent))
            return real(handle, view)

        monkeypatch.setattr(os, "write", write)
        atomic.write_bytes(file, NEW)
        assert (swept, file.read_bytes()) == ([0], NEW)

    def test_a_part_that_cannot_be_removed_stops_nobody(self, tmp_path, monkeypatch):
        (tmp_path / f".a.0{atomic.SUFFIX}").touch()

        def refuse(path, **_):
            raise PermissionError(errno.EPERM, "not yours", str(path))

        monkeypatch.setattr(os, "unlink", refuse)
        assert atomic.sweep(tmp_path) == 0
        assert atomic.sweep(tmp_path / "none") == 0


# -- a real process, made to fail by the kernel at every call in turn

SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from i2i import atomic
try:
    atomic.write_bytes({path!r}, b"new " * 1000, b"new " * 1000)
except OSError as error:
    sys.exit(9 if error.filename == {path!r} else 8)
"""


def strace_works() -> bool:
    try:
        return subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", ["error=ENOSPC", "error=EIO", "signal=SIGKILL", "error=ENOSPC:signal=SIGKILL"], ids=lambda text: text
)
@pytest.mark.parametrize("call", ["write", "fsync", "rename,renameat,renameat2"])
def test_a_real_process_failed_or_killed_at_every_call(tmp_path, call, fault):
    if not strace_works():
        pytest.skip("needs strace, and the permission to trace a process")
    folder, script, log = tmp_path / "out", tmp_path / "script.py", tmp_path / "log"
    folder.mkdir()
    file = folder / "weights"
    script.write_text(SCRIPT.format(root=str(ROOT), path=str(file)))
    ends = set()
    for at in range(1, 50):
        file.write_bytes(OLD)
        inject = f"inject={call}:{fault}:when={at}"
        command = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={call}", "-e", inject]
        run = subprocess.run([*command, sys.executable, "-I", "-S", str(script)], capture_output=True, text=True)
        now = file.read_bytes()
        assert now in (OLD, NEW), f"torn at {call} number {at}"
        ends.add((run.returncode, now == NEW))
        if run.returncode == 9:
            assert now == OLD
        if "SIGKILL" in fault and run.returncode:
            atomic.sweep(folder)
        assert parts(folder) == []
        if "INJECTED" not in log.read_text() and not re.search("SIGKILL", log.read_text()):
            assert (run.returncode, now) == (0, NEW), run.stderr
            break
    else:
        pytest.fail("the process never got through")
    assert at > 1 and (0, True) in ends and len(ends) > 1


def test_python_ignores_the_signal_of_the_size_limit():
    """What the test of RLIMIT_FSIZE stands on: else a limit would kill the writer."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
