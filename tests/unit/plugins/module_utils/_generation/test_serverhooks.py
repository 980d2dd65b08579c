# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Declared settings, a project's hooks and what starts Gunicorn, as a generation has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.workerends import HOOKS as COUNTED
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import serverhooks

APP: dict[str, Any] = {"listen": "0.0.0.0:8000"}
HOOKS_TEXT = """\
seen = []


def post_fork(server, worker):
    seen.append(("post_fork", server, worker))


def child_exit(server, worker):
    seen.append(("child_exit", worker.pid))


def post_request(worker, req):
    seen.append(("post_request", worker, req))
"""


class Worker:
    age, pid, nr, max_requests = 1, 7, 0, 0


def loaded(tmp_path: Path, before: str) -> dict[str, Any]:
    """gunicorn.conf.py in short, executed beside the hooks' file."""
    app = {**APP, "gunicorn": {"hooks": "deploy/hooks.py", "hooks_text": HOOKS_TEXT, "accesslog": "-"}}
    for name, text in serverhooks.files(app, "sync").items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    text = "\n".join([*serverhooks.declared(app), COUNTED, before, serverhooks.hooks(app)])
    values: dict[str, Any] = {"__file__": str(tmp_path / "gunicorn.conf.py")}
    exec(compile(text, "gunicorn.conf.py", "exec"), values)
    return values


def test_a_projects_hooks_come_after_headcounts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    before = "order = []\ndef post_request(worker, req, environ, resp): order.append(environ)\n"
    values = loaded(tmp_path, before)
    seen = values["_theirs"].seen
    assert values["accesslog"] == "-"
    values["post_fork"]("server", "worker")
    values["post_request"]("worker", "req", "environ", "resp")
    assert values["order"] == ["environ"]

    def reap_workers(status: int) -> None:
        values["child_exit"](None, Worker())

    reap_workers(9)  # Headcount's own looks at what its caller knows
    assert seen == [("post_fork", "server", "worker"), ("post_request", "worker", "req"), ("child_exit", 7)]
    assert (tmp_path / "worker-ends").read_text(encoding="utf-8") == '[1, 7, " ", 9]\n'


def test_gunicorn_takes_the_chained_hooks_for_what_they_are(tmp_path: Path) -> None:
    values = loaded(tmp_path, "")
    counts = {name: values[name].__code__.co_argcount for name in ("post_fork", "child_exit", "post_request")}
    assert counts == {"post_fork": 2, "child_exit": 2, "post_request": 4}


def test_without_a_word_nothing_is_added() -> None:
    assert serverhooks.hooks(APP) == ""
    assert serverhooks.declared(APP) == []
    assert serverhooks.files(APP, "gevent") == {}
    assert serverhooks.command(APP, "gevent", "/g/1") == "/g/1/release/venv/bin/gunicorn --config /g/1/gunicorn.conf.py"


@pytest.mark.parametrize(
    ("prefix", "worker_class", "begin"),
    [
        (["ddtrace-run"], "sync", "/g/1/release/venv/bin/ddtrace-run /g/1/release/venv/bin/gunicorn "),
        (["/usr/bin/nice", "-n", "5"], "gthread", "/usr/bin/nice -n 5 /g/1/release/venv/bin/gunicorn "),
        (
            ["otel", "--x", "a b$%"],
            "gevent",
            '/g/1/release/venv/bin/otel --x "a b$$%%" /bin/sh /g/1/patched.sh /g/1/rel',
        ),
    ],
)
def test_what_starts_gunicorn(prefix: list[str], worker_class: str, begin: str) -> None:
    app = {**APP, "command_prefix": prefix}
    command = serverhooks.command(app, worker_class, "/g/1")
    assert command.startswith(begin)
    assert command.endswith("/g/1/release/venv/bin/gunicorn -c /g/1/gunicorn.conf.py")  # no long option: see there
    assert bool(serverhooks.files(app, worker_class)) is (worker_class == "gevent")


def test_what_wraps_gunicorn_finds_everything_patched(tmp_path: Path) -> None:
    """A wrapper that imports threading in its sitecustomize, as instrumentation does: patching comes before that."""
    wrapper, generation, modules = (tmp_path / name for name in ("wrapper", "generation", "modules"))
    for folder in (wrapper, generation, modules / "gevent"):
        folder.mkdir(parents=True)
    (modules / "gevent/__init__.py").touch()
    (modules / "gevent/monkey.py").write_text("def patch_all(): print('patched')\n", encoding="utf-8")
    (wrapper / "sitecustomize.py").write_text("print('instrumented')\n", encoding="utf-8")
    for name, text in serverhooks.files({**APP, "command_prefix": ["otel"]}, "gevent").items():
        (generation / name).write_text(text, encoding="utf-8")
    (generation / "hooks.py").touch()  # must not be in the way of a module of the app
    show = "import os, sys; print(os.environ['PYTHONPATH']); print([one for one in sys.path if 'generation' in one])"
    done = subprocess.run(
        ["/bin/sh", str(generation / "patched.sh"), sys.executable, "-c", show],
        env={**os.environ, "PYTHONPATH": f"{wrapper}:{modules}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split("\n")[:4] == ["patched", "instrumented", f"{wrapper}:{modules}", "[]"], done.stderr
