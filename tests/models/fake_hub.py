"""A small server on this machine that huggingface_hub talks to as to the real hub."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "org/name"


def model_folder(folder: Path, value: float = 1.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# A model\n")
    save_file({"w": np.full((2, 2), value, np.float32)}, folder / "model.safetensors")
    return folder


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass
class Hub:
    """What the fake hub has, and what it was asked."""

    files: dict[str, bytes]
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, COMMIT: COMMIT})
    status: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By kind of request (`info`, `file`): a status and an X-Error-Code to answer with."""
    seconds: float = 0.0
    discussions: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Tracebacks of answers that failed for another reason than a client that went away."""
    endpoint: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        time.sleep(self.seconds)
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        kind = {"revision": "info", "tree": "tree", "discussions": "discussions"}.get(
            parts[4] if len(parts) > 4 else "", "file"
        )
        if kind in self.status:
            status, code = self.status[kind]
            return status, {"X-Error-Code": code}, b""
        if NAME not in "/".join(parts):
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        if kind == "discussions":
            page = {"discussions": self.discussions, "count": len(self.discussions), "start": 0}
            return 200, {}, json.dumps(page).encode()
        commit = self.revisions.get(parts[5] if kind != "file" else parts[3])
        if commit is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if kind == "info":
            siblings = [{"rfilename": file} for file in self.files]
            return 200, {}, json.dumps({"id": NAME, "sha": commit, "siblings": siblings}).encode()
        if kind == "tree":
            entries = [
                {
                    "type": "file",
                    "path": path,
                    "size": len(data),
                    "oid": hashlib.sha1(data).hexdigest(),
                }
                for path, data in self.files.items()
            ]
            return 200, {}, json.dumps(entries).encode()
        data = self.files["/".join(parts[4:])]
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        return 200, {"ETag": etag, "X-Repo-Commit": commit}, data


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and nobody at the hub's address."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    return folder


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    served = model_folder(tmp_path / "served")
    fake = Hub({file.name: file.read_bytes() for file in sorted(served.iterdir())})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append(f"{self.command} {self.path}")
            status, headers, body = fake.answer(self.path)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815, the name is http.server's

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            # A client may go away whenever it likes, also while a later test runs: then there is
            # nobody to tell, and a traceback would land in that test's standard error.
            if not isinstance(sys.exc_info()[1], ConnectionError):
                fake.errors.append(traceback.format_exc())

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    fake.endpoint = f"http://127.0.0.1:{server.server_port}"
    use_endpoint(monkeypatch, fake.endpoint)
    yield fake
    server.shutdown()
    server.server_close()
    assert not fake.errors, fake.errors[0]


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []

    def refuse(*args: object, **kwargs: object) -> None:
        calls.append(repr(args))
        raise AssertionError("a socket call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return calls
