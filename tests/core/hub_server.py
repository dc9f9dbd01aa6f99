"""A server on this machine that speaks Hugging Face's protocol for files: the address with its headers, the redirect, the file's host."""

from __future__ import annotations

import hashlib
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What is served, and what was asked for.

    Attributes:
        files: content by `repository/path`.
        claimed, sizes: SHA-256 and size that the headers state instead of the right ones, by the same.
        breaks: after how many bytes the file's host hangs up, one entry a request; -1 answers with an error instead. Empty: it does not.
        stalls: after how many bytes the host falls silent, until `released`; None: it does not.
        heads, ranges: addresses that were asked about; for each file request, its first byte.
    """

    files: dict[str, bytes]
    claimed: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    stalls: int | None = None
    released: threading.Event = field(default_factory=threading.Event)
    heads: list[str] = field(default_factory=list)
    ranges: list[int] = field(default_factory=list)
    endpoint: str = ""

    def sha256(self, name: str) -> str:
        return self.claimed.get(name) or hashlib.sha256(self.files[name]).hexdigest()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Starts the server; `hub.endpoint` is what HF_ENDPOINT must be."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            hub.heads.append(self.path)
            self.answer()

        def do_GET(self) -> None:
            if self.path.startswith("/cdn/"):
                self.send_file(hub.files[urllib.parse.unquote(self.path[len("/cdn/"):])])
            else:
                self.answer()

        def answer(self) -> None:
            match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", urllib.parse.unquote(self.path))
            name = f"{match[1]}/{match[3]}" if match else ""
            if name not in hub.files or (match and match[2] not in ("main", COMMIT)):
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(302)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{hub.sha256(name)}"')
            self.send_header("X-Linked-Size", str(hub.sizes.get(name, len(hub.files[name]))))
            # another host, as the hub's own files lie on one
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/cdn/{urllib.parse.quote(name)}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send_file(self, content: bytes) -> None:
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted else 0
            hub.ranges.append(start)
            limit = hub.breaks.pop(0) if hub.breaks else None
            if limit == -1:
                self.send_response(403)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = limit if limit is not None else hub.stalls
            self.wfile.write(content[start:] if stop is None else content[start:start + stop])
            self.wfile.flush()
            if limit is None and stop is not None:
                hub.released.wait(30)
            self.close_connection = stop is not None

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that went away is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
