# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The threads that an app begins where it is imported: what a worker of a real Gunicorn writes down of them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import workerends, workerthreads

APP = """
import threading, time

def job():
    time.sleep(600)

class Often(threading.Thread):
    def run(self):
        time.sleep(600)

threading.Thread(target=job, daemon=True).start()
Often(daemon=True).start()
later = threading.Timer(600, job)
later.daemon = True
later.start()

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
HOOKS_BEFORE = "\n\ndef post_worker_init(worker):\n    print('before', file=open('before', 'w'))\n\n\n"


def served(folder: Path, app: str, role: str, kind: str = "sync") -> None:
    """Run `app` under Gunicorn with the hook, as `role`, until it has answered once."""
    (folder / "threaded.py").write_text(app)
    (folder / "gunicorn.conf.py").write_text(workerends.HOOKS + HOOKS_BEFORE + workerthreads.HOOK)
    address = folder / "s"
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "-b", f"unix:{address}", "-k", kind]
    process = subprocess.Popen(
        [*command, "threaded:app"],
        cwd=folder,
        env={**os.environ, "RUNTIME_DIRECTORY": str(folder), "HEADCOUNT_ROLE": role},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not asked(address):
            assert process.poll() is None
            assert time.monotonic() < deadline, "it never came up"
            time.sleep(0.05)  # between two looks
    finally:
        process.terminate()
        process.wait(20)


def asked(path: Path) -> bool:
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_the_functions_of_an_apps_threads_are_named(tmp_path: Path, kind: str) -> None:
    served(tmp_path, APP, "weigh", kind)
    assert (tmp_path / "before").read_text() == "before\n"
    assert workerthreads.own_threads(str(tmp_path)) == ["threaded.job", "threaded.Often"]


def test_an_app_without_threads_has_none(tmp_path: Path) -> None:
    served(tmp_path, APP.partition("\nthreading.Thread(")[0] + "\ndef app" + APP.partition("\ndef app")[2], "weigh")
    assert json.loads((tmp_path / workerthreads.FILE).read_text()) == []
    assert workerthreads.own_threads(str(tmp_path)) == []
    assert workerthreads.words([], 4) == ""


def test_only_the_worker_that_is_weighed_writes_them_down(tmp_path: Path) -> None:
    served(tmp_path, APP, "live")
    assert not (tmp_path / workerthreads.FILE).exists()
    assert workerthreads.own_threads(str(tmp_path)) == []


def test_those_that_belong_into_every_worker_are_left_out(tmp_path: Path) -> None:
    rows = [["a", "sentry_sdk.worker.Worker._target"], ["Thread-1", "shop.jobs.often"], ["b", ""], ["c\x1b[2J", ""]]
    (tmp_path / workerthreads.FILE).write_text(json.dumps(rows))
    assert workerthreads.own_threads(str(tmp_path)) == ["shop.jobs.often", "b", "c"]


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", "{}", "[[1, 2, 3]]", "[" * 5000])
def test_what_else_the_app_writes_there_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / workerthreads.FILE).write_text(text)
    assert workerthreads.own_threads(str(tmp_path)) == []


def test_the_words_name_them_and_the_way_out() -> None:
    one = workerthreads.words(["shop.jobs.often"], 1)
    many = workerthreads.words(["a", "b", "c", "d"], 4)
    assert "(shop.jobs.often): the worker runs them" in one
    assert "(a, b, c, ...): each of the 4 workers runs them" in many
    assert "`processes` with `instances: 1`" in many
