"""A loopback HTTP server that breaks its word in every way a test asks for, and archives to serve."""

import io
import random
import tarfile
import threading
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What stands behind one path, and how it is answered."""

    data: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # places in the file where the next connections end
    lie: int = 0  # added to the Content-Length of whole answers
    length: bool = True  # whether a Content-Length is sent
    content_range: str | None = None  # in place of the right one
    status: int = 0
    location: str = ""
    hold: threading.Event | None = None  # the rest after a cut waits for it, and the connection stays open

    asked: list[dict] = field(default_factory=list)  # Range and If-Range of every request


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        served = self.server.routes.get(self.path)
        if served is None:
            return self.send_error(404)
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        served.asked.append({"range": wanted, "if": condition})
        self.close_connection = True
        if served.status:
            return self._bare(served.status, served.location)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and served.ranges else 0
        if start and condition is not None and condition != served.etag:
            start = 0
        total = len(served.data)
        if start >= total > 0:
            return self._bare(416, extra={"Content-Range": f"bytes */{total}"})
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", served.content_range or f"bytes {start}-{total - 1}/{total}")
        if served.length:
            self.send_header("Content-Length", str(total - start + (0 if start else served.lie)))
        if served.etag:
            self.send_header("ETag", served.etag)
        self.send_header("Connection", "close")
        self.end_headers()
        end = served.cuts.pop(0) if served.cuts else total
        self.wfile.write(served.data[start:end])
        self.wfile.flush()
        if end < total and served.hold is not None:
            served.hold.wait(120)

    def _bare(self, status: int, location: str = "", extra: dict | None = None):
        self.send_response(status)
        for key, value in ({"Location": location} if location else {} | (extra or {})).items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def handle(self):
        with suppress(BrokenPipeError, ConnectionResetError):  # the other side was killed, or gave up: as intended
            super().handle()

    def log_message(self, *_):
        pass


@contextmanager
def serving(routes: dict[str, Served]):
    """Yields the address of a server for `{"/path": Served}`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.routes, server.daemon_threads, server.block_on_close = routes, True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        for served in routes.values():
            if served.hold is not None:
                served.hold.set()
        server.shutdown()
        server.server_close()
        thread.join(30)


def noise(count: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(count)


def tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            add(archive, name, data)
    return buffer.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **kind) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in kind.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(data))


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
