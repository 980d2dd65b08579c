# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The routes, and what they refuse."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from shop import __version__
from shop.wsgi import create_app, worker_class


@pytest.fixture
def client() -> FlaskClient:
    return create_app({"SHOP_RELEASE": "blue"}).test_client()


def test_cheap_routes(client: FlaskClient) -> None:
    assert client.get("/").json == {"shop": "open", "version": __version__}
    assert client.get("/healthz").json == {"status": "ok"}
    version = client.get("/version").get_json()
    assert (version["release"], version["version"], version["faults"]) == ("blue", __version__, [])


def test_cpu_burns_cpu_time_of_its_thread(client: FlaskClient) -> None:
    before = time.thread_time()
    answer = client.get("/cpu?ms=20").get_json()
    used = (time.thread_time() - before) * 1000.0
    assert 20.0 <= answer["cpu_ms"] <= used < 60.0


def test_wait_waits(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert client.get("/wait?ms=250").json == {"wait_ms": 250.0}
    assert client.get("/wait").json == {"wait_ms": 50.0}
    assert slept == [0.25, 0.05]


def test_mixed_does_both(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    answer = client.get("/mixed?cpu_ms=1&wait_ms=30").get_json()
    assert answer["cpu_ms"] >= 1.0
    assert slept == [0.03]


def test_memory_is_resident(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert client.get("/memory?mib=3&seconds=2").json == {"mib": 3.0, "seconds": 2.0}
    assert slept == [2.0]


def test_stream_sends_piece_by_piece(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = iter([0.0, 0.0, 0.4, 1.2])
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock, 9.0))
    answer = client.get("/stream?bytes=3&every_ms=400&seconds=1")
    assert answer.data == b"\n" * 3 * len(slept)
    assert slept
    assert set(slept) == {0.4}


def test_records_are_kept_in_the_instance_folder(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.application, "instance_path", str(tmp_path / "instance"))
    assert client.get("/records").get_json() == {"records": 0}
    assert not (tmp_path / "instance").exists()
    assert client.post("/records").get_json() == {"records": 1}
    assert client.post("/records").get_json() == {"records": 2}
    assert create_app().test_client().get("/healthz").status_code == 200
    assert client.get("/records").get_json() == {"records": 2}


def test_whoami(client: FlaskClient) -> None:
    client.get("/")
    answer = client.get("/whoami").get_json()
    assert (answer["pid"], answer["requests"], answer["release"]) == (os.getpid(), 2, "blue")


@pytest.mark.parametrize(("multithread", "expected"), [(True, "gthread"), (False, "sync")])
def test_worker_class_without_patching(multithread: bool, expected: str) -> None:
    assert worker_class({"wsgi.multithread": multithread}) == expected


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("/cpu?ms=fast", "ms='fast' is not allowed: a number from 0 to 10000"),
        ("/cpu?ms=10001", "ms='10001' is not allowed: a number from 0 to 10000"),
        ("/wait?ms=-1", "ms='-1' is not allowed: a number from 0 to 60000"),
        ("/wait?ms=nan", "ms='nan' is not allowed: a number from 0 to 60000"),
        ("/mixed?wait_ms=inf", "wait_ms='inf' is not allowed: a number from 0 to 60000"),
        ("/memory?mib=5000", "mib='5000' is not allowed: a number from 0 to 4096"),
        ("/memory?seconds=", "seconds='' is not allowed: a number from 0 to 60"),
    ],
)
def test_bad_parameters_are_answered_with_400(client: FlaskClient, url: str, error: str) -> None:
    answer = client.get(url)
    assert (answer.status_code, answer.get_json()) == (400, {"error": error})


def test_unknown_path(client: FlaskClient) -> None:
    assert client.get("/nothing").status_code == 404
