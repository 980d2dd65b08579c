# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The table of libraries that block, against what was measured, and the reader of gevent's reports."""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import asynccompat

# The probes of tests/integration/async_libraries that stand behind a row, and what was seen to cooperate.
PROBED = {
    "psycopg2": "psycopg2-binary",
    "grpcio": "grpcio",
    "confluent-kafka": "confluent-kafka flush",
    "pylibmc": "pylibmc",
    "pymssql": "pymssql",
    "mysql-connector-python": "mysql-connector-python C",
    "pycurl": "pycurl",
    "pyzmq": "pyzmq",
}
TESTS = Path(__file__).resolve().parents[4]
REPORTS = TESTS / "unit" / "fixtures" / "gevent"
RESULTS = json.loads((TESTS / "integration" / "async_libraries" / "results.json").read_text(encoding="utf-8"))
FRAME = '  File "{}", line {}, in {}'


def stack(*frames: str) -> str:
    head = "=" * 80 + "\n\n2026-11-22T16:17:46Z : Greenlet <Greenlet at 0x7f> appears to be blocked\n"
    return head + "Blocked Stack (for thread id 0x1):\n" + "\n".join(frames) + "\n\nInfo:\n" + "*" * 80 + "\n"


def test_psycopg2_without_psycogreen_does_not_get_gevent() -> None:
    reasons = asynccompat.verdicts({"psycopg2": "2.9.9", "Flask": "3.1.3"})
    assert reasons == {
        "gevent": "psycopg2 2.9.9 blocks the gevent hub in every query; add psycogreen and call "
        "psycogreen.gevent.patch_psycopg() when a worker starts, or use psycopg 3"
    }


def test_psycogreen_turns_the_refusal_into_a_warning() -> None:
    findings = asynccompat.check({"psycopg2_binary": "2.9.13", "psycogreen": "1.0.2"})
    assert [finding.severity for finding in findings["gevent"]] == ["warns"]
    assert asynccompat.warnings(findings, "gevent") == [
        "psycopg2_binary 2.9.13 may block the gevent hub in every query; psycogreen is installed, but only works once "
        "psycogreen.gevent.patch_psycopg() has been called"
    ]
    assert asynccompat.verdicts({"psycopg2-binary": "2.9.13", "psycogreen": "1.0.2"}) == {}


@pytest.mark.parametrize("name", ["psycopg", "PyMySQL", "redis", "pymongo", "boto3", "Flask", "gevent"])
def test_what_is_not_in_the_table_is_not_refused(name: str) -> None:
    assert asynccompat.verdicts({name: "1.0"}) == {}


@pytest.mark.parametrize("name", ["confluent_kafka", "Confluent-Kafka", "confluent.kafka"])
def test_names_are_compared_as_pep_503_has_them(name: str) -> None:
    assert set(asynccompat.verdicts({name: "2.16.1"})) == {"gevent", "eventlet"}


def test_the_user_adds_a_library() -> None:
    extra = {"House_Driver": {"blocks": True, "remedy": "use house-driver-aio"}}
    assert asynccompat.verdicts({"house-driver": "1.2"}, extra) == {
        "gevent": "house-driver 1.2 blocks the gevent hub as async_libraries declares; use house-driver-aio",
        "eventlet": "house-driver 1.2 blocks the eventlet hub as async_libraries declares; use house-driver-aio",
    }
    assert asynccompat.verdicts({}, extra) == {}


def test_the_user_takes_a_row_back() -> None:
    assert asynccompat.verdicts({"grpcio": "1.85.1"}, {"grpcio": {"blocks": False, "remedy": ""}}) == {}


def test_several_libraries_are_all_named() -> None:
    reason = asynccompat.verdicts({"pylibmc": "1.6.3", "grpcio": "1.85.1"})["eventlet"]
    assert reason == (
        "grpcio 1.85.1 blocks the eventlet hub in every call; use gevent with grpc.experimental.gevent.init_gevent(): "
        "there is no such call for eventlet. pylibmc 1.6.3 blocks the eventlet hub in every operation; use pymemcache"
    )


def test_free_threaded_python_does_not_get_gevent() -> None:
    assert asynccompat.verdicts({}, free_threaded=True) == {
        "gevent": "gevent does not support free-threaded Python; use gthread, or a Python with the lock"
    }


def test_a_finding_is_plain_data() -> None:
    finding = asynccompat.check({"pylibmc": "1.6.3"})["gevent"][0]
    assert finding.to_dict() == {
        "distribution": "pylibmc",
        "version": "1.6.3",
        "worker_class": "gevent",
        "severity": "blocks",
        "what": "in every operation",
        "remedy": "use pymemcache",
        "evidence": "run",
        "text": "pylibmc 1.6.3 blocks the gevent hub in every operation; use pymemcache",
    }


def test_every_row_is_complete() -> None:
    seen: set[str] = set()
    for library in asynccompat.TABLE:
        assert set(library.blocks) == set(library.remedy)
        assert set(library.blocks) <= set(asynccompat.CLASSES)
        assert library.evidence in (asynccompat.RUN, asynccompat.FROM_THREADS)
        assert bool(library.unless) == bool(library.unless_note)
        for name in library.distributions:
            assert asynccompat.normalise(name) == name
            assert name not in seen
            seen.add(name)


def test_what_is_said_to_be_run_was_run_and_blocked() -> None:
    for library in asynccompat.TABLE:
        name = library.distributions[0]
        assert (library.evidence == asynccompat.RUN) == (name in PROBED), name
        if name in PROBED:
            for worker_class in asynccompat.CLASSES:
                measured = RESULTS[f"{PROBED[name]} / {worker_class}"]["verdict"]
                assert measured == ("blocks" if worker_class in library.blocks else "cooperates"), (name, worker_class)


def test_every_remedy_that_could_be_run_was_seen_to_cooperate() -> None:
    for probe in (
        "psycopg2-binary+psycogreen / gevent",
        "psycopg / gevent",
        "grpcio+init_gevent / gevent",
        "confluent-kafka flush+thread pool / gevent",
        "confluent-kafka flush+thread pool / eventlet",
        "kafka-python / gevent",
        "kafka-python / eventlet",
        "pymemcache / gevent",
        "pymemcache / eventlet",
        "pymssql+thread pool / gevent",
        "python-tds / eventlet",
        "python-tds / gevent",
        "mysql-connector-python pure / gevent",
        "mysql-connector-python pure / eventlet",
        "pymysql / gevent",
        "pymysql / eventlet",
        "requests / gevent",
        "httpx / gevent",
        "pyzmq+zmq.green / gevent",
        "pyzmq+eventlet.green.zmq / eventlet",
        "oracledb / gevent",
        "oracledb / eventlet",
    ):
        assert RESULTS[probe]["verdict"] == "cooperates", probe


def test_a_driver_that_blocks_is_found_in_a_captured_report() -> None:
    text = (REPORTS / "driver.log").read_text(encoding="utf-8")
    (blocked,) = asynccompat.parse_reports(text, 0.2, ["shop"])
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
    found = asynccompat.parse_reports(text, 0.2, ["shop"])
    assert sum(blocked.reports for blocked in found) == 3
    assert {blocked.function for blocked in found} == {"spin"}
    assert found[0].text().startswith("the gevent hub stood still for at least 0.")
    assert found[0].to_dict()["text"] == found[0].text()


def test_without_the_apps_packages_the_innermost_frame_is_named() -> None:
    text = (REPORTS / "driver.log").read_text(encoding="utf-8")
    (blocked,) = asynccompat.parse_reports(text, 0.2)
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
    frames = [asynccompat.Frame(file, 1, "f", "") for file in files]
    assert asynccompat.app_frame(frames, packages) == frames[expected]


def test_carets_missing_sources_and_a_cut_report() -> None:
    text = stack(
        FRAME.format("/srv/a.py", 3, "view"), "    total(1)", "    ~~~~~^^^", FRAME.format("/srv/b.py", 4, "<lambda>")
    )
    cut = stack(FRAME.format("/srv/a.py", 3, "view")).partition("\nInfo")[0]
    frames = asynccompat.parse_stacks(text + cut)
    assert frames[0] == (
        asynccompat.Frame("/srv/a.py", 3, "view", "total(1)"),
        asynccompat.Frame("/srv/b.py", 4, "<lambda>", ""),
    )
    assert frames[1] == (asynccompat.Frame("/srv/a.py", 3, "view", ""),)


def test_the_worst_line_comes_first() -> None:
    slow, fast = stack(FRAME.format("/srv/a.py", 3, "slow")), stack(FRAME.format("/srv/a.py", 9, "fast"))
    found = asynccompat.parse_reports(slow + fast + slow, 0.1)
    assert [(blocked.function, blocked.seconds) for blocked in found] == [("slow", 0.2), ("fast", 0.1)]


def test_an_ordinary_traceback_is_not_a_report() -> None:
    text = 'Traceback (most recent call last):\n  File "/srv/a.py", line 3, in view\n    boom()\nKeyError: 1\n'
    assert asynccompat.parse_reports(text, 0.1) == []


def test_the_variables_that_switch_the_monitor_on() -> None:
    assert asynccompat.monitor_environment(0.25) == {
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
    exec(compile(asynccompat.MONITOR_HOOK, "gunicorn.conf.py", "exec"), space)  # what Gunicorn does with it
    monkeypatch.delenv("GEVENT_MONITOR_THREAD_ENABLE", raising=False)
    space["post_worker_init"](None)
    assert events.subscribers == []
    monkeypatch.setenv("GEVENT_MONITOR_THREAD_ENABLE", "1")
    space["post_worker_init"](None)
    (subscriber,) = events.subscribers
    subscriber(object())
    hub.periodic_monitoring_thread = types.SimpleNamespace(kill=lambda: killed.append(1))
    for _ in range(asynccompat.BLOCK_REPORTS - 1):
        subscriber(Blocked())
    assert killed == []
    subscriber(Blocked())
    assert killed == [1]


def test_neither_the_monitor_nor_the_server_is_a_cause() -> None:
    def frames(*files: str) -> tuple[asynccompat.Frame, ...]:
        return tuple(asynccompat.Frame(file, 1, "f", "") for file in files)

    libraries = "/v/lib/python3.11/site-packages"
    server = [f"{libraries}/gunicorn/workers/ggevent.py", f"{libraries}/gevent/baseserver.py"]
    assert asynccompat.app_frame(frames(*server), ("shop",)) is None
    assert (
        asynccompat.app_frame(frames(f"{libraries}/gevent/hub.py", f"{libraries}/gevent/_tracer.py"), ("shop",)) is None
    )
    named = asynccompat.app_frame(frames(*server, f"{libraries}/shop/views.py"), ("shop",))
    assert named is not None
    assert named.file.endswith("shop/views.py")
    # the app's own frame, but it is the monitor that writes
    assert asynccompat.app_frame(frames(f"{libraries}/shop/views.py", f"{libraries}/gevent/util.py"), ("shop",)) is None
