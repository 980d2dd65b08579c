# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which exception of a log is the cause of a failed request, and which of a death."""

from __future__ import annotations

import json

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.causes import (
    cause_of_request,
    exceptions,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lastwords import first_cause
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lines import Line

SITE = "/opt/headcount/shop/releases/ab12/venv/lib/python3.11/site-packages"
TREE = "/opt/headcount/shop/releases/ab12/tree"

FLASK = f"""\
[2026-11-25 23:40:01,120] ERROR in app: Exception on /basket [GET]
Traceback (most recent call last):
  File "{SITE}/flask/app.py", line 1511, in wsgi_app
    response = self.full_dispatch_request()
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "{TREE}/shop/views.py", line 41, in basket
    return prices[item]
           ~~~~~~^^^^^^
KeyError: 'tea'
"""
GUNICORN = f"""\
[2026-11-25 23:40:01 +0000] [812] [ERROR] Error handling request /basket?item=tea
Traceback (most recent call last):
  File "{SITE}/gunicorn/workers/sync.py", line 134, in handle
    self.handle_request(listener, req, client, addr)
  File "{TREE}/wsgi.py", line 7, in app
    raise Unpriced("tea")
wsgi.Unpriced: tea
"""
DJANGO = f"""\
Internal Server Error: /basket
Traceback (most recent call last):
  File "{SITE}/django/core/handlers/exception.py", line 55, in inner
    response = get_response(request)
  File "{TREE}/shop/views.py", line 9, in basket
    Basket.objects.get(pk=1)
shop.models.Basket.DoesNotExist: Basket matching query does not exist.
"""
SQLALCHEMY = f"""\
[2026-11-25 23:40:01,120] ERROR in app: Exception on /basket [GET]
Traceback (most recent call last):
  File "{SITE}/sqlalchemy/engine/base.py", line 143, in __init__
    self._dbapi_connection = engine.raw_connection()
sqlite3.OperationalError: unable to open database file

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "{SITE}/flask/app.py", line 1511, in wsgi_app
    response = self.full_dispatch_request()
  File "{TREE}/shop/views.py", line 41, in basket
    db.session.execute(query)
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) unable to open database file
[SQL: SELECT 1]
(Background on this error at: https://sqlalche.me/e/20/e3q8)
"""
PACKAGED = FLASK.replace(TREE, SITE).replace(
    "KeyError: 'tea'",
    f"""\
  File "{SITE}/redis/client.py", line 9, in get
    raise
redis.exceptions.ConnectionError: Error 111""",
)
CAUSED = f"""\
[2026-11-25 23:40:01,120] ERROR in app: Exception on /basket [GET]
Traceback (most recent call last):
  File "{TREE}/shop/prices.py", line 3, in load
    open("prices.csv")
FileNotFoundError: [Errno 2] No such file or directory: 'prices.csv'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "{SITE}/flask/app.py", line 1511, in wsgi_app
    response = self.full_dispatch_request()
  File "{TREE}/shop/prices.py", line 5, in load
    raise RuntimeError("no prices") from error
RuntimeError: no prices
"""
COPED_WITH = f"""\
[2026-11-25 23:40:01,119] WARNING in metrics: could not push
Traceback (most recent call last):
  File "{TREE}/shop/metrics.py", line 3, in push
    connect()
ConnectionRefusedError: [Errno 111] Connection refused
"""
THREAD = """\
Exception in thread Thread-1 (refresh):
Traceback (most recent call last):
  File "/usr/lib/python3.11/threading.py", line 1038, in _bootstrap_inner
    self.run()
TimeoutError: the cache did not answer
"""
GREENLET = """\
Traceback (most recent call last):
  File "src/gevent/greenlet.py", line 900, in gevent._gevent_cgreenlet.Greenlet.run
LookupError: no such key
2026-11-25T23:40:01Z <Greenlet at 0x7f3a: refresh> failed with LookupError
"""
ANOTHER_PATH = FLASK.replace("/basket", "/search").replace("KeyError: 'tea'", "ValueError: page")
IGNORED = """\
Exception ignored in: <function Pool.__del__ at 0x7f3a>
Traceback (most recent call last):
  File "/usr/lib/python3.11/multiprocessing/pool.py", line 268, in __del__
    self._change_notifier.put(None)
OSError: [Errno 9] Bad file descriptor
"""
LOGGING = """\
--- Logging error ---
KeyError: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/usr/lib/python3.11/logging/__init__.py", line 1110, in emit
    msg = self.format(record)
          ^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/logging/__init__.py", line 377, in getMessage
    msg = msg % self.args
TypeError: not all arguments converted during string formatting
Call stack:
  File "/opt/headcount/shop/releases/ab12/venv/lib/python3.11/site-packages/gunicorn/workers/gthread.py", line 9, in x
    self.handle(conn)
Message: 'GET /basket: price %s'
Arguments: ('tea', Error('no'))
"""
GROUP = f"""\
[2026-11-25 23:40:01,120] ERROR in app: Exception on /basket [GET]
  + Exception Group Traceback (most recent call last):
  |   File "{SITE}/flask/app.py", line 1511, in wsgi_app
  |     response = self.full_dispatch_request()
  |   File "{TREE}/shop/views.py", line 4, in basket
  |     raise ExceptionGroup("two shops are closed", found)
  | ExceptionGroup: two shops are closed (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "{TREE}/shop/views.py", line 2, in ask
    |     raise ValueError("north")
    | ValueError: north
    +---------------- 2 ----------------
    | ValueError: south
    +------------------------------------
"""
RICH = f"""\
[23:40:01] ERROR    Exception on /basket [GET]                        app.py:838
╭───────────────────── Traceback (most recent call last) ──────────────────────╮
│ {SITE}/flask/app.py:1511 in wsgi_app  │
│   1509 │   │   │   │   response = self.full_dispatch_request()               │
╰──────────────────────────────────────────────────────────────────────────────╯
KeyError: 'tea'
"""
LOGURU = f"""\
2026-11-25 23:40:01.120 | ERROR    | shop.views:basket:41 - GET /basket failed
Traceback (most recent call last):

  File "{SITE}/flask/app.py", line 1511, in wsgi_app
    response = self.full_dispatch_request()
               │    └ <function Flask.full_dispatch_request at 0x7f>
               └ <Flask 'shop'>

> File "{TREE}/shop/views.py", line 41, in basket
    return prices[item]
           │      └ 'tea'
           └ {{}}

KeyError: 'tea'
"""
_TRACEBACK = FLASK.partition("\n")[2].rstrip("\n")
JSON_LINES = {
    "python-json-logger": {"levelname": "ERROR", "message": "Exception on /basket [GET]", "exc_info": _TRACEBACK},
    "structlog": {"event": "request_failed", "path": "/basket", "level": "error", "exception": _TRACEBACK},
    "structlog, in parts": {
        "event": "request_failed",
        "path": "/basket",
        "exception": [
            {
                "exc_type": "KeyError",
                "exc_value": "'tea'",
                "frames": [{"filename": f"{TREE}/shop/views.py", "lineno": 41}],
            }
        ],
    },
    "ECS": {
        "message": "Exception on /basket [GET]",
        "error": {"type": "KeyError", "message": "'tea'", "stack_trace": _TRACEBACK},
    },
}
COLOURED = FLASK.replace("[2026-11-25 23:40:01,120] ERROR", "\x1b[31m[2026-11-25 23:40:01,120] ERROR\x1b[0m").replace(
    "KeyError: 'tea'", "\x1b[1mKeyError: 'tea'\x1b[0m"
)
IN_ONE_LINE = 'level=error msg="GET /basket failed" exc="' + _TRACEBACK.replace('"', '\\"').replace("\n", "\\n") + '"\n'
TOLD = "its log says: KeyError: 'tea' (shop/views.py:41)"


def lines(*logs: str, at: float = 100.0, pid: int = 7) -> list[Line]:
    return [Line(at, pid, line) for log in logs for line in log.rstrip("\n").split("\n")]


def why(*logs: str, path: str = "/basket?item=tea") -> str:
    return cause_of_request(lines(*logs), path, 100.0, 100.2)


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (FLASK, TOLD),
        (GUNICORN, "its log says: wsgi.Unpriced: tea (wsgi.py:7)"),
        (
            DJANGO,
            "its log says: shop.models.Basket.DoesNotExist: Basket matching query does not exist. (shop/views.py:9)",
        ),
        (
            SQLALCHEMY,
            "its log says: sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) unable to open database file "
            "(shop/views.py:41)",
        ),
        (
            CAUSED,
            "its log says: RuntimeError: no prices (caused by FileNotFoundError: [Errno 2] No such file or directory: "
            "'prices.csv') (shop/prices.py:5)",
        ),
        (GROUP, "its log says: ExceptionGroup: two shops are closed (2 sub-exceptions) (shop/views.py:4)"),
        (PACKAGED, "its log says: redis.exceptions.ConnectionError: Error 111 (shop/views.py:41)"),
        (RICH, "its log says: KeyError: 'tea'"),
        (LOGURU, TOLD),
        (COLOURED, TOLD),
        (IN_ONE_LINE, TOLD),
    ],
)
def test_however_it_is_logged(log: str, told: str) -> None:
    assert why(log) == told


@pytest.mark.parametrize("record", JSON_LINES.values(), ids=JSON_LINES)
def test_records_of_json(record: object) -> None:
    assert why(json.dumps(record)) == TOLD


@pytest.mark.parametrize("other", [COPED_WITH, THREAD, GREENLET, ANOTHER_PATH, IGNORED, LOGGING])
def test_what_others_raise_is_not_the_cause(other: str) -> None:
    assert why(other, FLASK, other, other) == TOLD


@pytest.mark.parametrize("other", [COPED_WITH, THREAD, GREENLET, ANOTHER_PATH, IGNORED, LOGGING])
def test_nothing_is_said_where_only_others_raised(other: str) -> None:
    assert why(other) == ""


def test_a_record_that_cannot_be_written_changes_no_cause() -> None:
    """Neither the one before it nor the one after, nor what another thread logs in its midst."""
    assert [raised.text for raised in exceptions(lines(FLASK + LOGGING + FLASK))] == ["KeyError: 'tea'"] * 2
    head, rest = LOGGING[: LOGGING.index("TypeError")], LOGGING[LOGGING.index("TypeError") :]
    assert why(head + FLASK + rest) == TOLD
    # More of them than of what failed.
    assert why(FLASK, *[LOGGING] * 5) == TOLD


def test_what_may_be_of_another_request_is_told_as_such() -> None:
    assert why(COPED_WITH.replace("WARNING", "ERROR")) == (
        "logged meanwhile, be it of this request or not: ConnectionRefusedError: [Errno 111] Connection refused "
        "(shop/metrics.py:3)"
    )


def test_only_what_was_logged_at_that_time_counts() -> None:
    before = lines(FLASK.replace("'tea'", "'milk'"), at=90.0)
    assert cause_of_request([*before, *lines(FLASK)], "/basket", 100.0, 100.2) == TOLD
    assert cause_of_request(before, "/basket", 100.0, 100.2) == ""


def test_lines_of_two_workers_are_read_apart() -> None:
    one, other = lines(FLASK, pid=7), lines(FLASK.replace("KeyError: 'tea'", "IndexError: list"), pid=8)
    mixed = [line for pair in zip(one, other) for line in pair]
    assert [raised.text for raised in exceptions(mixed)] == ["KeyError: 'tea'", "IndexError: list"]


def test_of_many_failures_the_most_frequent_is_told() -> None:
    assert why(FLASK.replace("KeyError: 'tea'", "ValueError: once"), FLASK, FLASK) == TOLD


def test_a_worker_that_its_master_ends_tells_where_it_stood() -> None:
    log = FLASK.replace("KeyError: 'tea'", "SystemExit: 1").replace(
        "ERROR in app: Exception on /basket [GET]", "[ERROR] Error handling request /basket"
    )
    assert why(log) == "its log says: it was ended while it was at shop/views.py:41"


BOOT = """\
[2026-11-25 23:40:01 +0000] [812] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "/opt/v/gunicorn/arbiter.py", line 608, in spawn_worker
    worker.init_process()
OSError: [Errno 30] Read-only file system: '/srv/media'
[2026-11-25 23:40:01 +0000] [812] [INFO] Worker exiting (pid: 812)
"""
SETTINGS = """\
[2026-11-25 23:40:01 +0000] [812] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "/opt/v/gunicorn/arbiter.py", line 608, in spawn_worker
    worker.init_process()
pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings
database_url
  Field required [type=missing, input_value={}, input_type=dict]
"""

UNBEGUN = """\
Starting shop@3.service - shop: Gunicorn, generation 3...
shop@3.service: Failed to spawn executor: Resource temporarily unavailable
shop@3.service: Failed to spawn 'start' task: Resource temporarily unavailable
shop@3.service: Failed with result 'resources'.
Failed to start shop@3.service - shop: Gunicorn, generation 3.
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (COPED_WITH + BOOT, "OSError: [Errno 30] Read-only file system: '/srv/media'"),
        (BOOT + THREAD, "OSError: [Errno 30] Read-only file system: '/srv/media'"),
        (COPED_WITH + SQLALCHEMY.partition("\n")[2], "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) "
         "unable to open database file"),
        (LOGGING + COPED_WITH.partition("\n")[2] + LOGGING, "ConnectionRefusedError: [Errno 111] Connection refused"),
        (f"no licence\n{LOGGING}[2026-11-25 23:40:01 +0000] [7] [ERROR] Worker (pid:9) exited with code 3.",
         "no licence"),
        (LOGGING, None),
        (FLASK + "Fatal Python error: Segmentation fault\n", "Fatal Python error: Segmentation fault"),
        (UNBEGUN, "shop@3.service: Failed to spawn executor: Resource temporarily unavailable"),
        (
            SETTINGS,
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings database_url, "
            "Field required [type=missing, input_value={}, input_type=dict]",
        ),
        (json.dumps({"message": "boot", "exc_info": BOOT}), "OSError: [Errno 30] Read-only file system: '/srv/media'"),
        (BOOT.replace("OSError: [Errno 30] Read-only file system: '/srv/media'", "redis.exceptions.Timeout: late"),
         "redis.exceptions.Timeout: late"),
    ],
)  # fmt: skip
def test_the_cause_of_a_death(log: str, cause: str | None) -> None:
    assert first_cause(log.splitlines()) == cause


@pytest.mark.parametrize(
    "log",
    [
        "",
        "{}",
        "{broken",
        "Traceback (most recent call last):",
        "Traceback (most recent call last):\n  File",
        "Traceback (most recent call last):\nno exception, but a line of somebody else's",
        '{"exception": [1, null, {"exc_type": 3}], "message": null}',
        "\x1b[31m",
        "| + |",
    ],
)
def test_a_log_that_makes_no_sense_says_nothing(log: str) -> None:
    assert why(log) == ""
    assert exceptions(lines(log)) == []
