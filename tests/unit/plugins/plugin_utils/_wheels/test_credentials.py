# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An index that asks for a password: who knows it, with the real uv and pip, and that nobody tells it."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import wheelhouse
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import WheelhouseError
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.wheelhouse import Platform

BOOKWORM = Platform("3.11", "x86_64", "glibc 2.36")
PASSWORD = "s3cret/word"
PINS = {"pip": "99.0", "gunicorn": "27.0.1", "six": "1.17.0"}


class Server(http.server.ThreadingHTTPServer):
    """An index of `files` for whoever knows the password; `users` are those who asked with it."""

    def __init__(self, files: Path) -> None:
        super().__init__(("127.0.0.1", 0), Index)
        self.files = files
        self.users: set[str] = set()

    @property
    def place(self) -> str:
        """Its address and port."""
        return f"127.0.0.1:{self.server_address[1]}"


class Index(http.server.BaseHTTPRequestHandler):
    """One request to Server."""

    server: Server

    def log_message(self, *_: object) -> None:
        """Nothing is told."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        given = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        user, _, password = given.partition(":")
        if password != PASSWORD:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.users.add(user)
        name = self.path.strip("/").split("/")[-1]
        file = self.server.files / name
        body = file.read_bytes() if file.is_file() else self._page(name)
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/octet-stream" if file.is_file() else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _page(self, name: str) -> bytes:
        links = [
            f'<a href="/files/{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}">{path.name}</a>'
            for path in sorted(self.server.files.glob(f"{name}-*.whl"))
        ]
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if links else b""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The only index there is; nobody knows its password yet."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    files = tmp_path / "files"
    files.mkdir()
    for name, version in PINS.items():
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(files / f"{name}-{version}-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    server = Server(files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def project(folder: Path, index: str) -> Path:
    folder.mkdir()
    (folder / "app.py").write_text("app = 1\n", encoding="utf-8")
    (folder / "requirements.txt").write_text(f"-i {index}\nsix\n", encoding="utf-8")
    return folder


def gather(tmp_path: Path, folder: Path) -> Any:
    source = {"kind": "path", "value": str(folder)}
    return wheelhouse.gather(source, BOOKWORM, ["gunicorn==27.0.1"], tmp_path / "cache", tmp_path)


def written(folder: Path) -> str:
    """All that is kept in a folder."""
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, way: str) -> str:
    """Make a way of the controller know the password; the URL that the project names then."""
    if way == "netrc":
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n", encoding="utf-8")
        netrc.chmod(0o600)
        return f"http://{place}/simple"
    if way == "variable":
        monkeypatch.setenv("INDEX_PASSWORD", PASSWORD.replace("/", "%2F"))
        return f"http://me:${{INDEX_PASSWORD}}@{place}/simple"
    tools = tmp_path / "bin"
    tools.mkdir()
    text = f"#!{sys.executable}\nimport sys\nif sys.argv[-1] == 'aws': print({PASSWORD!r})\nelse: sys.exit(1)\n"
    (tools / "keyring").write_text(text, encoding="utf-8")
    (tools / "keyring").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("UV_KEYRING_PROVIDER", "subprocess")
    return f"http://aws@{place}/simple"


@pytest.mark.parametrize("way", ["netrc", "variable", "keyring"])
def test_a_password_of_the_controller_is_given_to_the_index_and_told_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Server, way: str
) -> None:
    app = project(tmp_path / "app", knows(tmp_path, monkeypatch, index.place, way))
    found = gather(tmp_path, app)
    assert found.distributions == {"gunicorn": "27.0.1", "six": "1.17.0"}
    assert index.users == {"aws" if way == "keyring" else "me"}
    assert PASSWORD not in found.lock_text + written(tmp_path / "cache") + written(app)


def test_a_password_that_nobody_knows_is_told_with_the_index(tmp_path: Path, index: Server) -> None:
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, project(tmp_path / "app", f"http://{index.place}/simple"))
    assert index.place in str(caught.value)
