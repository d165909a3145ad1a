"""A stand-in for the Hugging Face Hub on this machine: one data set, and the few answers that its client asks for."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "a" * 40
REPO = "own/pairs"


class Hub:
    """What the stand-in has and what it was asked.

    Args:
        files: Content by path.
        token: Without it the data set is not found, as the Hub hides private ones.
    """

    def __init__(self, files: dict[str, bytes], token: str = "") -> None:
        self.files = files
        self.token = token
        self.asked: list[str] = []
        self.address = ""

    @contextmanager
    def serving(self) -> Iterator["Hub"]:
        """Listen on a free port of the loopback."""
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        api = f"/api/datasets/{REPO}"
        if self.hub.token and self.headers.get("authorization") != f"Bearer {self.hub.token}":
            self._missing("RepoNotFound", 401)
        elif path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            names = [{"rfilename": name} for name in self.hub.files]
            self._json({"id": REPO, "sha": COMMIT, "private": False, "tags": [], "siblings": names})
        elif path.startswith(f"{api}/revision/"):
            self._missing("RevisionNotFound")
        elif path.startswith(f"{api}/tree/{COMMIT}"):
            self._tree(path.removeprefix(f"{api}/tree/{COMMIT}").lstrip("/"))
        elif path.startswith(f"{api}/paths-info/"):
            wanted = parse_qs(body.decode()).get("paths", [])
            self._json([self._entry(name) for name in self.hub.files if name in wanted])
        elif path.startswith(f"/datasets/{REPO}/resolve/{COMMIT}/"):
            content = self.hub.files.get(path.split(f"{COMMIT}/", 1)[1])
            self._missing("EntryNotFound") if content is None else self._file(content)
        else:
            self._missing("EntryNotFound" if REPO in path else "RepoNotFound")

    do_GET = do_HEAD = do_POST = _answer

    def _tree(self, folder: str) -> None:
        start = f"{folder}/" if folder else ""
        inside = [name.removeprefix(start) for name in self.hub.files if name.startswith(start)]
        folders = sorted({name.split("/")[0] for name in inside if "/" in name})
        listed = [
            {"type": "directory", "path": f"{start}{name}", "size": 0, "oid": COMMIT} for name in folders
        ]
        listed += [self._entry(f"{start}{name}") for name in inside if "/" not in name]
        self._json(listed) if listed else self._missing("EntryNotFound")

    def _entry(self, name: str) -> dict[str, Any]:
        content = self.hub.files[name]
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"content-type": "application/json"})

    def _missing(self, code: str, status: int = 404) -> None:
        self._send(status, b"", {"X-Error-Code": code})

    def _file(self, content: bytes) -> None:
        headers = {
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        asked = self.headers.get("range")
        if asked is None:
            self._send(200, content, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1 if last else None]
        span = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
        self._send(206, part, {**headers, "Content-Range": span})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
