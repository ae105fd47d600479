"""A small hub in a thread: Hugging Face's API as far as a model is fetched, with the faults that networks have."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "abcd"


@dataclass
class Repo:
    """A repository: its files by path, and what its card says."""

    files: dict[str, bytes]
    licence: str | None = "apache-2.0"
    gated: bool = False
    # SHA-256 that is told instead of the right one.
    told: dict[str, str] = field(default_factory=dict)


class FakeHub:
    """``files`` lie at their own addresses, ``repos`` behind the API; what was asked and sent is counted."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []  # path, Range, Authorization
        self.sent: list[tuple[str, int, int]] = []  # path, start, bytes
        self.cut_after: list[int] = []
        self.failures: list[int] = []
        self.ranges = True
        self.etag: str | None = '"one"'
        self.more = b""
        self.announce_more = 0
        self.linked_etag = ""
        self.token = ""
        self.cdn = ""
        # What has to stand behind the question mark of a file that lies at its own address.
        self.key = ""
        # A page that is answered to every request for a file at its own address.
        self.page: bytes | None = None
        # Sends so many bytes of a file and then waits for the event.
        self.hold_after: int | None = None
        self.released = threading.Event()
        self.held = threading.Event()
        hub = self

        class Handler(_Handler):
            owner = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # Clients that go away in the middle are what is tested here.
        self._server.handle_error = lambda *_arguments: None  # type: ignore[method-assign]
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def bytes_sent(self, start: int = 0) -> int:
        """Bytes of files that were sent, from that answer on."""
        return sum(count for _, _, count in self.sent[start:])

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        """Tests print nothing."""

    def do_GET(self) -> None:
        hub = self.owner
        path = unquote(urlsplit(self.path).path)
        hub.asked.append((path, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
        if path in hub.redirects:
            headers = {"X-Linked-Etag": f'"{hub.linked_etag}"'} if hub.linked_etag else {}
            self._answer(302, b"", {"Location": hub.redirects[path], **headers})
        elif path.startswith("/api/models/"):
            self._info(path.removeprefix("/api/models/"))
        elif path in hub.files and hub.key and urlsplit(self.path).query != hub.key:
            self._answer(403, b"no key")
        elif path in hub.files and hub.page is not None:
            self._answer(200, hub.page)
        elif path in hub.files:
            self._file(path, hub.files[path])
        elif "/resolve/" in path:
            self._resolve(path)
        else:
            self._answer(404, b"nothing here")

    def _allowed(self, gated: bool) -> bool:
        hub = self.owner
        if (gated or hub.token) and self.headers.get("Authorization") != f"Bearer {hub.token}":
            code = "GatedRepo" if gated else "RepoNotFound"
            self._answer(401, b"no", {"X-Error-Code": code, "X-Error-Message": "not for you"})
            return False
        return True

    def _info(self, rest: str) -> None:
        name, _, revision = rest.partition("/revision/")
        repo = self.owner.repos.get(name)
        if repo is None:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in {"", "main", COMMIT}:
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif self._allowed(False):
            siblings = [
                {
                    "rfilename": path,
                    "size": len(data),
                    "blobId": "0" * 40,
                    "lfs": {
                        "size": len(data),
                        "sha256": repo.told.get(path, hashlib.sha256(data).hexdigest()),
                        "pointerSize": 130,
                    },
                }
                for path, data in repo.files.items()
            ]
            card = {"license": repo.licence} if repo.licence else {}
            body = {
                "id": name,
                "sha": COMMIT,
                "gated": "auto" if repo.gated else False,
                "siblings": siblings,
                "tags": [],
                "cardData": card,
            }
            self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _resolve(self, path: str) -> None:
        name, _, rest = path.lstrip("/").partition("/resolve/")
        repo = self.owner.repos.get(name)
        file = rest.partition("/")[2]
        if repo is None or file not in repo.files or not self._allowed(repo.gated):
            if repo is None or file not in repo.files:
                self._answer(404, b"no such entry")
            return
        if self.owner.cdn:
            key = f"/cdn/{file}"
            self.owner.files[key] = repo.files[file]
            self._answer(302, b"", {"Location": f"{self.owner.cdn}{key}?signature=secret"})
        else:
            self._file(path, repo.files[file])

    def _file(self, path: str, data: bytes) -> None:
        hub = self.owner
        if hub.failures:
            self._answer(hub.failures.pop(0), b"later")
            return
        start, end, code = 0, len(data), 200
        asked = self.headers.get("Range", "")
        fresh = self.headers.get("If-Range") in {None, hub.etag}
        if asked and hub.ranges and fresh:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end, code = int(first), int(last) + 1 if last else len(data), 206
        self.send_response(code)
        if code == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data) + hub.announce_more}")
        if hub.etag:
            self.send_header("ETag", hub.etag)
        body = data[start:end] + (hub.more if end == len(data) else b"")
        if hub.more:
            # Without a length a server can send what it likes.
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send(path, start, body, whole=end == len(data))

    def _send(self, path: str, start: int, body: bytes, *, whole: bool) -> None:
        hub = self.owner
        sent = 0
        mine = len(hub.sent)
        hub.sent.append((path, start, 0))
        cut = hub.cut_after.pop(0) if hub.cut_after and whole else None
        step = 16_384
        try:
            while sent < len(body):
                if hub.hold_after is not None and whole and sent >= hub.hold_after and not hub.released.is_set():
                    hub.held.set()
                    hub.released.wait()
                if cut is not None and sent >= cut:
                    self.close_connection = True
                    self.connection.close()
                    break
                piece = body[sent : sent + step]
                # Counted before it goes: whoever has read it may ask at once how much was sent.
                hub.sent[mine] = (path, start, sent + len(piece))
                self.wfile.write(piece)
                self.wfile.flush()
                sent += len(piece)
        except OSError:
            self.close_connection = True
            hub.sent[mine] = (path, start, sent)

    def _answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
