# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether libraries stop a gevent or eventlet hub, run for real against a peer that says nothing.

    pytest tests/integration/async_libraries [--record-results]

Each library is installed from the configured package index into a directory of its own. One that cannot be installed
fails its test; one that cannot be loaded on this machine is reported as skipped, with the reason (-rs). With
--record-results the measurements are written to results.json, which the unit tests hold against the table in
_asynccompat.py. Takes about five minutes and 150 MB of downloads; all traffic stays on 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from _probes import BLOCKS, COOPERATES, PROBES

HERE = Path(__file__).resolve().parent
HUBS = {"gevent": ("gevent",), "eventlet": ("eventlet",)}
# A blocked hub stands still for the whole look of 2 s, a cooperative one beats every 20 ms; between is no answer.
BLOCKED_SECONDS, COOPERATIVE_SECONDS = 1.5, 0.5
CASES = [(name, hub) for name, probe in PROBES.items() for hub in probe.claims]


class StalledPeer:
    """Accepts every connection and keeps it, unread and unanswered."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.connections.append(self.listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self.listener.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def peer() -> Iterator[StalledPeer]:
    stalled = StalledPeer()
    yield stalled
    stalled.close()


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Installs requirements once each into a directory of their own; psycogreen alone has no wheel."""
    base = tmp_path_factory.mktemp("libraries")
    done: dict[tuple[str, ...], str | Exception] = {}

    def into(requirements: tuple[str, ...]) -> str:
        if requirements not in done:
            target = base / str(len(done))
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command += ["--only-binary", ":all:", "--no-binary", "psycogreen", "--target", str(target), *requirements]
            result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            done[requirements] = str(target) if result.returncode == 0 else RuntimeError(result.stderr.strip())
        target_or_error = done[requirements]
        if isinstance(target_or_error, Exception):
            pytest.fail(f"{' '.join(requirements)} cannot be installed, so nothing is known of it: {target_or_error}")
        return target_or_error

    return into


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Collects what was measured; merged into results.json when that is asked for."""
    measured: dict[str, Any] = {}
    yield measured
    if request.config.getoption("--record-results"):
        path = HERE / "results.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        merged = dict(sorted({**before, **measured}.items()))
        path.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")


@pytest.mark.parametrize(("name", "hub"), CASES, ids=[f"{name}-{hub}" for name, hub in CASES])
def test_claim(name: str, hub: str, peer: StalledPeer, install: Any, results: dict[str, Any]) -> None:
    probe = PROBES[name]
    targets = [install(HUBS[hub])] + ([install(probe.requirements)] if probe.requirements else [])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*targets, str(HERE)]), "no_proxy": "127.0.0.1"}
    for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        environment.pop(variable, None)
    command = [sys.executable, str(HERE / "_child.py"), hub, name, str(peer.port), *HUBS[hub], *probe.requirements]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{name}: the process could not even be looked at: the interpreter lock was held")
    lines = [line for line in done.stdout.splitlines() if line.startswith(('{"gap_seconds"', '{"unavailable"'))]
    assert lines, f"{name}: no measurement; exit {done.returncode}: {done.stderr.strip()[-2000:]}"
    answer = json.loads(lines[-1])
    if "unavailable" in answer:
        pytest.skip(answer["unavailable"])
    assert answer["waiting"], f"{name}: the call came back instead of waiting: {answer}"
    assert peer.connections or not probe.peer, f"{name}: the stalled peer was never reached: {answer}"
    gap = answer["gap_seconds"]
    verdict = BLOCKS if gap > BLOCKED_SECONDS else COOPERATES if gap < COOPERATIVE_SECONDS else "unclear"
    results[f"{name} / {hub}"] = {
        "verdict": verdict,
        "gap_seconds": gap,
        "versions": answer["versions"],
        "python": ".".join(map(str, sys.version_info[:3])),
        "where": f"{platform.system()}, {' '.join(platform.libc_ver())}, {ssl.OPENSSL_VERSION.rsplit(' ', 3)[0]}",
    }
    assert verdict == probe.claims[hub], f"{name} {verdict} under {hub}: {answer}"
