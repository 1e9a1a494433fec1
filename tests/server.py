"""A real HTTP server on loopback that answers, and misbehaves, as a test tells it.

with Server() as server:
    server.on("/a.tar.gz", File(body, cut=100), File(body))  # breaks off once; the last answer repeats
    ...
    assert [request.headers.get("Range") for request in server.seen] == [None, "bytes=100-"]
"""

import re
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

STALL = 60  # seconds, should a test forget to end


def certificate(folder: Path) -> Path:
    """A certificate of the server that nobody knows, with its key."""
    path, key = folder / "loopback.pem", folder / "key.pem"
    kind = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    command = f"openssl req -x509 {kind} -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    made = [*command.split(), "-keyout", str(key), "-out", str(path)]
    if subprocess.run(made, capture_output=True).returncode:
        pytest.skip("needs openssl")
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


def encrypted(certificate: Path) -> "Server":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return Server(context)


@dataclass
class Request:
    """What a client asked, and how many bytes of body it was sent."""

    path: str
    headers: dict[str, str]
    sent: int = 0


@dataclass
class Reply:
    """An answer given as it stands."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class File:
    """A file as a static file server gives it, with Range and If-Range."""

    body: bytes
    etag: str | None = '"v1"'
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True  # whether Range is honoured
    shift: int = 0  # by how much a range starts at another byte than asked
    chunked: bool = False  # no Content-Length
    cut: int | None = None  # the connection breaks after so many bytes of the body
    stall: bool = False  # it does not break there but hangs

    def reply(self, asked: dict[str, str]) -> Reply:
        headers = ({"ETag": self.etag} if self.etag else {}) | self.headers
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.get("Range", ""))
        if not (wanted and self.ranges and asked.get("If-Range", self.etag) == self.etag):
            return Reply(200, self.body, headers)
        start, size = int(wanted[1]) + self.shift, len(self.body)
        if start >= size:
            return Reply(416, b"", headers | {"Content-Range": f"bytes */{size}"})
        stop = min(size, int(wanted[2]) + 1 if wanted[2] else size)
        return Reply(206, self.body[start:stop], headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Server = self.server.owner
        request = Request(self.path, dict(self.headers))
        server.seen.append(request)
        answer = server.next_answer(self.path)
        file = answer if isinstance(answer, File) else None
        reply = file.reply(request.headers) if file else answer

        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        chunked = file is not None and file.chunked
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()

        cut = len(reply.body) if file is None or file.cut is None else file.cut
        body = reply.body[:cut]
        request.sent = len(body)  # counted first: the client may look as soon as it has them
        self.wfile.write(b"%x\r\n%b\r\n" % (len(body), body) if chunked and body else body)
        if file is not None and file.cut is not None:
            if file.stall:
                server.released.wait(STALL)
            self.close_connection = True
        elif chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_) -> None:
        pass


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        pass  # clients that were killed


class Server:
    """Serves from `with` on; `seen` are the requests in order, over all paths."""

    def __init__(self, tls: ssl.SSLContext | None = None):
        self.seen: list[Request] = []
        self.released = threading.Event()
        self._answers: dict[str, list[Reply | File]] = {}
        self._http = _HTTPServer(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "Server":
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def on(self, path: str, *answers: Reply | File) -> str:
        """Script the answers to `path`, the last of which repeats; returns the URL."""
        self._answers[path] = list(answers)
        return self.origin + path

    def next_answer(self, path: str) -> Reply | File:
        answers = self._answers.get(path.partition("?")[0], [Reply(404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def ranges(self) -> list[str | None]:
        """The Range header of each request so far."""
        return [request.headers.get("Range") for request in self.seen]
