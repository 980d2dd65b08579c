# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The reader of the reports of gevent's monitor, and what bounds them."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import hubmonitor

TESTS = Path(__file__).resolve().parents[4]
REPORTS = TESTS / "unit" / "fixtures" / "gevent"
FRAME = '  File "{}", line {}, in {}'


def stack(*frames: str) -> str:
    head = "=" * 80 + "\n\n2026-11-22T16:17:46Z : Greenlet <Greenlet at 0x7f> appears to be blocked\n"
    return head + "Blocked Stack (for thread id 0x1):\n" + "\n".join(frames) + "\n\nInfo:\n" + "*" * 80 + "\n"


def test_a_driver_that_blocks_is_found_in_a_captured_report() -> None:
    text = (REPORTS / "driver.log").read_text(encoding="utf-8")
    (blocked,) = hubmonitor.parse_reports(text, 0.2, ["shop"])
    assert (blocked.reports, blocked.seconds) == (3, 0.6)
    assert blocked.file.endswith("/site-packages/shop/views.py")
    assert (blocked.line, blocked.function) == (15, "ask_database")
    assert (
        blocked.source
        == 'return psycopg2.connect(host="127.0.0.1", port=port, user="u", dbname="d", connect_timeout=2)'
    )
    assert blocked.text() == (
        "the gevent hub stood still for at least 0.6 s in shop/views.py line 15 in ask_database: "
        'return psycopg2.connect(host="127.0.0.1", port=port, user="u", dbname="d", connect_timeout=2) '
        "(inside psycopg2/__init__.py line 122 in connect: "
        "conn = _connect(dsn, connection_factory=connection_factory, **kwasync))"
    )


def test_a_loop_that_blocks_is_found_in_a_captured_report() -> None:
    text = (REPORTS / "spin.log").read_text(encoding="utf-8")
    found = hubmonitor.parse_reports(text, 0.2, ["shop"])
    assert sum(blocked.reports for blocked in found) == 3
    assert {blocked.function for blocked in found} == {"spin"}
    assert found[0].text().startswith("the gevent hub stood still for at least 0.")
    assert found[0].to_dict()["text"] == found[0].text()


def test_without_the_apps_packages_the_innermost_frame_is_named() -> None:
    text = (REPORTS / "driver.log").read_text(encoding="utf-8")
    (blocked,) = hubmonitor.parse_reports(text, 0.2)
    assert blocked.file.endswith("/psycopg2/__init__.py")


@pytest.mark.parametrize(
    ("files", "packages", "expected"),
    [
        (
            ["/v/lib/python3.13/site-packages/gunicorn.py", "/srv/views.py", "/usr/lib/python3.13/socket.py"],
            [],
            1,
        ),
        (["/v/site-packages/shop/a.py", "/v/site-packages/shop/b.py", "/v/site-packages/redis/c.py"], ["shop"], 1),
        (["/v/site-packages/shop.py", "/v/site-packages/redis/shop/c.py"], ["shop"], 0),
        (["/srv/code/shop/a.py", "/srv/code/common/b.py"], ["shop"], 0),
        (["/srv/code/shop/a.py", "/srv/code/common/b.py"], [], 1),
        (["/v/site-packages/flask/app.py", "<frozen importlib._bootstrap>"], ["shop"], 1),
    ],
)
def test_which_frame_is_the_apps(files: list[str], packages: list[str], expected: int) -> None:
    frames = [hubmonitor.Frame(file, 1, "f", "") for file in files]
    assert hubmonitor.app_frame(frames, packages) == frames[expected]


def test_carets_missing_sources_and_a_cut_report() -> None:
    text = stack(
        FRAME.format("/srv/a.py", 3, "view"), "    total(1)", "    ~~~~~^^^", FRAME.format("/srv/b.py", 4, "<lambda>")
    )
    cut = stack(FRAME.format("/srv/a.py", 3, "view")).partition("\nInfo")[0]
    frames = hubmonitor.parse_stacks(text + cut)
    assert frames[0] == (
        hubmonitor.Frame("/srv/a.py", 3, "view", "total(1)"),
        hubmonitor.Frame("/srv/b.py", 4, "<lambda>", ""),
    )
    assert frames[1] == (hubmonitor.Frame("/srv/a.py", 3, "view", ""),)


def test_the_worst_line_comes_first() -> None:
    slow, fast = stack(FRAME.format("/srv/a.py", 3, "slow")), stack(FRAME.format("/srv/a.py", 9, "fast"))
    found = hubmonitor.parse_reports(slow + fast + slow, 0.1)
    assert [(blocked.function, blocked.seconds) for blocked in found] == [("slow", 0.2), ("fast", 0.1)]


def test_an_ordinary_traceback_is_not_a_report() -> None:
    text = 'Traceback (most recent call last):\n  File "/srv/a.py", line 3, in view\n    boom()\nKeyError: 1\n'
    assert hubmonitor.parse_reports(text, 0.1) == []


def test_the_variables_that_switch_the_monitor_on() -> None:
    assert hubmonitor.monitor_environment(0.25) == {
        "GEVENT_MONITOR_THREAD_ENABLE": "1",
        "GEVENT_MAX_BLOCKING_TIME": "0.25",
    }


def test_the_monitor_is_switched_off_after_some_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """gevent makes the monitor of a hub only when that first runs, after post_worker_init."""
    killed: list[int] = []

    class Blocked:
        pass

    hub = types.SimpleNamespace(periodic_monitoring_thread=None)
    events = types.SimpleNamespace(EventLoopBlocked=Blocked, subscribers=[])
    monkeypatch.setitem(sys.modules, "gevent", types.SimpleNamespace(get_hub=lambda: hub, events=events))
    monkeypatch.setitem(sys.modules, "gevent.events", events)
    space: dict[str, Any] = {"_os": os}
    exec(compile(hubmonitor.MONITOR_HOOK, "gunicorn.conf.py", "exec"), space)  # what Gunicorn does with it
    monkeypatch.delenv("GEVENT_MONITOR_THREAD_ENABLE", raising=False)
    space["post_worker_init"](None)
    assert events.subscribers == []
    monkeypatch.setenv("GEVENT_MONITOR_THREAD_ENABLE", "1")
    space["post_worker_init"](None)
    (subscriber,) = events.subscribers
    subscriber(object())
    hub.periodic_monitoring_thread = types.SimpleNamespace(kill=lambda: killed.append(1))
    for _ in range(hubmonitor.BLOCK_REPORTS - 1):
        subscriber(Blocked())
    assert killed == []
    subscriber(Blocked())
    assert killed == [1]


def test_neither_the_monitor_nor_the_server_is_a_cause() -> None:
    def frames(*files: str) -> tuple[hubmonitor.Frame, ...]:
        return tuple(hubmonitor.Frame(file, 1, "f", "") for file in files)

    libraries = "/v/lib/python3.11/site-packages"
    server = [f"{libraries}/gunicorn/workers/ggevent.py", f"{libraries}/gevent/baseserver.py"]
    assert hubmonitor.app_frame(frames(*server), ("shop",)) is None
    assert (
        hubmonitor.app_frame(frames(f"{libraries}/gevent/hub.py", f"{libraries}/gevent/_tracer.py"), ("shop",)) is None
    )
    named = hubmonitor.app_frame(frames(*server, f"{libraries}/shop/views.py"), ("shop",))
    assert named is not None
    assert named.file.endswith("shop/views.py")
    # the app's own frame, but it is the monitor that writes
    assert hubmonitor.app_frame(frames(f"{libraries}/shop/views.py", f"{libraries}/gevent/util.py"), ("shop",)) is None
