"""A web server on loopback that serves a folder, in parts or only whole, and can break off."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import threading
from collections.abc import Iterator
from typing import Any


class FileServer(http.server.ThreadingHTTPServer):
    """``requests``: the path and range of each that came; ``sent``: bytes of files sent in all;
    ``breaks_at``: the byte of any file at which the connection is cut, None for nowhere."""

    daemon_threads = True

    def __init__(self, folder: Any, ranges: bool) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.sent = 0
        self.breaks_at: int | None = None
        handler = functools.partial(_Handler, directory=os.fspath(folder), ranges=ranges)
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is no news."""


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or what follows the headers waits 40 ms for their receipt

    def __init__(self, *args: Any, ranges: bool, **named: Any) -> None:
        self._ranges = ranges
        super().__init__(*args, **named)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server: Any = self.server
        path = self.translate_path(self.path)
        if os.path.isdir(path) or not os.path.isfile(path):
            return super().do_GET()
        asked = self.headers.get("Range")
        server.requests.append((self.path, asked))
        size = os.path.getsize(path)
        first, last = 0, size - 1
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "") if self._ranges else None
        if found:
            first, last = int(found[1]), min(last, int(found[2] or last))
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        stop = last + 1
        cut = server.breaks_at is not None and server.breaks_at < stop
        if cut:
            stop = max(first, server.breaks_at)
        server.sent += stop - first
        with contextlib.suppress(ConnectionError), open(path, "rb") as file:
            file.seek(first)
            self.wfile.write(file.read(stop - first))
        if cut:
            self.wfile.flush()
            self.close_connection = True
        return None


@contextlib.contextmanager
def served(folder: Any, *, ranges: bool = True) -> Iterator[FileServer]:
    """A server of ``folder`` for as long as the ``with`` block."""
    server = FileServer(folder, ranges)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
