# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The declaration: defaults, exact refusals, overrides, what differs between hosts, digests, and that no secret is
shown.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import normalise as declaration
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.fields import (
    ABSENT,
    REQUIRED,
    Context,
    Field,
    parse,
    walk,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.profiles import profile_of
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.table import APP_FIELDS, VARIABLES
from hypothesis import given, settings
from hypothesis import strategies as st

MINIMAL: dict[str, Any] = {
    "name": "shop",
    "source": {"path": "app"},
    "entry_point": "shop.wsgi:create_app()",
    "listen": "0.0.0.0:8000",
}
SECRET = "correct horse battery staple"


def app(**changes: Any) -> dict[str, Any]:
    """A minimal app with changes; None removes a key."""
    return {key: value for key, value in {**copy.deepcopy(MINIMAL), **changes}.items() if value is not None}


def normalised(**changes: Any) -> dict[str, Any]:
    """One app without a problem."""
    apps, problems = declaration.normalise_apps([app(**changes)], "web1")
    assert problems == []
    return apps[0]


def refusals(*apps: Any, **arguments: Any) -> list[str]:
    """The problems of a host's apps, without the host."""
    return [problem.text for problem in declaration.normalise_apps(list(apps), "web1", **arguments)[1]]


def test_a_minimal_app_is_completed_by_its_defaults() -> None:
    assert normalised() == {
        "name": "shop",
        "source": {"kind": "path", "value": "app", "version": None, "lock": None, "subdirectory": None, "include": []},
        "entry_point": "shop.wsgi:create_app()",
        "listen": "0.0.0.0:8000",
        "profile": None,
        "wait_ratio": None,
        "cpu_ms": None,
        "wait_ms": None,
        "worker_class": "auto",
        "concurrency": None,
        "rate": None,
        "memory": {"worker_mib": None, "slot_mib": None},
        "environment": {},
        "secrets": {},
        "health": {"path": "/", "status": [200], "contains": None, "timeout_seconds": 5.0, "boot_seconds": 60.0},
        "load": {
            "paths": [
                {
                    "path": "/",
                    "weight": 1.0,
                    "cpu_ms": None,
                    "wait_ms": None,
                    "method": "GET",
                    "body": None,
                    "headers": {},
                }
            ],
            "rate": None,
            "seconds": 30.0,
            "warmup_requests": None,
        },
        "limits": {"p50_ms": None, "p95_ms": None, "p99_ms": None, "error_rate": 0.01, "memory_percent": 80.0},
        "share": {"weight": 1.0, "cores": None, "memory_mib": None},
        "buffering_proxy": False,
        "database": {"max_connections": None, "connections_per_slot": 1.0, "reserved": 0},
        "settings": {},
        "mix": None,
        "profile_mismatch": "use_measured",
        "on_inconclusive": "revert",
        "async_libraries": {},
        "retain": {"good": 3},
        "verify_seconds": 5.0,
        "user": None,
        "slice": "system.slice",
    }


def test_a_section_is_merged_over_its_defaults() -> None:
    assert normalised(limits={"p95_ms": 250})["limits"] == {
        "p50_ms": None,
        "p95_ms": 250.0,
        "p99_ms": None,
        "error_rate": 0.01,
        "memory_percent": 80.0,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"concurrency": "200"}, {"concurrency": 200}),
        ({"concurrency": 200.0}, {"concurrency": 200}),
        ({"rate": "12.5"}, {"rate": 12.5}),
        ({"rate": 50}, {"rate": 50.0}),
        ({"buffering_proxy": "True"}, {"buffering_proxy": True}),
        ({"buffering_proxy": "off"}, {"buffering_proxy": False}),
        ({"settings": {"workers": "4", "preload_app": "no"}}, {"settings": {"workers": 4, "preload_app": False}}),
        ({"environment": {"PORT": 80, "EMPTY": ""}}, {"environment": {"PORT": "80", "EMPTY": ""}}),
        ({"secrets": {"KEY": "line 1\nline 2\n"}}, {"secrets": {"KEY": "line 1\nline 2\n"}}),
        ({"limits": None, "profile": "io"}, {"wait_ratio": 50.0}),
        ({"profile": "cpu"}, {"profile": "cpu", "wait_ratio": 0.05}),
        ({"wait_ratio": "8"}, {"profile": None, "wait_ratio": 8.0}),
        ({"cpu_ms": 2, "wait_ms": 20}, {"wait_ratio": 10.0}),
        ({"profile": "io", "cpu_ms": 2, "wait_ms": 50}, {"profile": "io", "wait_ratio": 25.0}),
        ({"listen": "[0:0::1]:08000"}, {"listen": "[::1]:8000"}),
        ({"listen": "unix:/run/shop.sock"}, {"listen": "unix:/run/shop.sock"}),
        ({"entry_point": "my-shop.web-1:app"}, {"entry_point": "my-shop.web-1:app"}),
        ({"entry_point": "shop:make('x', debug=False)"}, {"entry_point": "shop:make('x', debug=False)"}),
        (
            {"async_libraries": {"Acme_Client": {"blocks": True}}},
            {"async_libraries": {"acme-client": {"blocks": True, "remedy": ""}}},
        ),
        (
            {"source": {"git": "git@git.example.com:shop.git", "version": "v1", "subdirectory": "api/"}},
            {
                "source": {
                    "kind": "git",
                    "value": "git@git.example.com:shop.git",
                    "version": "v1",
                    "lock": None,
                    "subdirectory": "api",
                    "include": [],
                }
            },
        ),
        ({"source": {"wheel": "dist/shop-1.4.2-py3-none-any.whl"}}, {}),
        ({"source": {"pip": "httpbin[mainapp]==0.10.2"}}, {}),
        ({"source": {"git": "https://git.example.com/shop.git", "version": "main"}}, {}),
    ],
)
def test_what_is_accepted(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    result = normalised(**changes)
    assert {key: result[key] for key in expected} == expected


def test_a_bare_string_stands_for_the_path() -> None:
    result = normalised(health="/healthz", load={"paths": ["/", {"path": "/buy", "method": "POST", "body": "x=1"}]})
    assert result["health"]["path"] == "/healthz"
    assert [path["path"] for path in result["load"]["paths"]] == ["/", "/buy"]


APP_KEYS = "a key that docs/variables.md names"
REFUSALS: list[tuple[dict[str, Any], str]] = [
    (
        {"limits": {"p95_ms": "fast"}},
        "headcount_apps[0].limits.p95_ms is 'fast': allowed is a number of milliseconds above 0; fix: p95_ms: 250",
    ),
    (
        {"limits": {"p95_ms": 0}},
        "headcount_apps[0].limits.p95_ms is 0: allowed is a number of milliseconds above 0; fix: p95_ms: 250",
    ),
    (
        {"limits": {"p95_ms": 300, "p99_ms": 200}},
        "headcount_apps[0].limits.p95_ms is 300, above p99_ms, which is 200: allowed is at most p99_ms; fix: p95_ms:"
        " 200",
    ),
    (
        {"limits": {"error_rate": 1}},
        "headcount_apps[0].limits.error_rate is 1: allowed is a share from 0 to below 1; fix: error_rate: 0.01",
    ),
    (
        {"limits": {"p59_ms": 1}},
        "headcount_apps[0].limits.p59_ms is not known: allowed is p50_ms, p95_ms, p99_ms, error_rate, memory_percent, "
        "cpu_ms, idle_cores; fix: did you mean p95_ms?",
    ),
    ({"limts": {}}, f"headcount_apps[0].limts is not known: allowed is {APP_KEYS}; fix: did you mean limits?"),
    (
        {"p95_ms": 250},
        f"headcount_apps[0].p95_ms is not known: allowed is {APP_KEYS}; fix: it belongs at limits.p95_ms",
    ),
    (
        {"limits": "p95_ms: 250"},
        "headcount_apps[0].limits is 'p95_ms: 250': allowed is a mapping with the keys p50_ms, p95_ms, p99_ms,"
        " error_rate,"
        " memory_percent, cpu_ms, idle_cores; fix: limits: {p95_ms: 250, error_rate: 0.01}",
    ),
    (
        {"name": None},
        "headcount_apps[0].name is missing: allowed is a lower-case name of at most 23 letters, digits and hyphens"
        " that starts"
        " with a letter and does not end in - or -trial; fix: name: shop",
    ),
    (
        {"name": "My Shop"},
        "headcount_apps[0].name is 'My Shop': allowed is a lower-case name of at most 23 letters, digits and hyphens"
        " that"
        " starts with a letter and does not end in - or -trial; fix: name: my-shop",
    ),
    (
        {"name": "shop-trial"},
        "headcount_apps[0].name is 'shop-trial' (the ending -trial is used for candidates): allowed is a lower-case"
        " name of at"
        " most 23 letters, digits and hyphens that starts with a letter and does not end in - or -trial; fix: name:"
        " shop",
    ),
    (
        {"source": {"path": "app", "pip": "shop==1"}},
        "headcount_apps[0].source has path and pip: allowed is exactly one of path, wheel, pip and git; fix: keep"
        " one of path,"
        " pip",
    ),
    (
        {"source": {"lock": "requirements.lock"}},
        "headcount_apps[0].source says nothing about where the app comes from: allowed is exactly one of path,"
        " wheel, pip and"
        " git; fix: source: {path: app}",
    ),
    (
        {"source": {"git": "https://git.example.com/shop.git"}},
        "headcount_apps[0].source.version is missing: allowed is a tag, commit or branch; fix: version: v1.4.2",
    ),
    (
        {"source": {"git": "https://git.example.com/shop.git", "version": 1.1}},
        "headcount_apps[0].source.version is 1.1 (a number and not a string): allowed is a tag, commit or branch; fix:"
        ' version: "1.1"',
    ),
    (
        {"source": {"pip": "shop", "version": "1"}},
        "headcount_apps[0].source.pip is 'shop' (no exact version): allowed is NAME==VERSION, extras as"
        " NAME[extra]==VERSION;"
        ' fix: pip: "shop==1.2.3"',
    ),
    (
        {"source": {"pip": "shop==1.2", "version": "1.3"}},
        "headcount_apps[0].source.version is '1.3' beside pip: allowed is a version with git only; fix: write the"
        " version into"
        " pip: NAME==VERSION",
    ),
    (
        {"source": {"path": "app", "subdirectory": "../other"}},
        "headcount_apps[0].source.subdirectory is '../other' (it leads out of the source): allowed is a relative"
        " path inside"
        " the source; fix: subdirectory: services/shop",
    ),
    (
        {"source": {"wheel": "dist/shop.tar.gz"}},
        "headcount_apps[0].source.wheel is 'dist/shop.tar.gz' (not the name of a wheel): allowed is the path of a file"
        " NAME-VERSION-TAGS.whl; fix: wheel: dist/shop-1.4.2-py3-none-any.whl",
    ),
    (
        {"entry_point": "shop.wsgi"},
        "headcount_apps[0].entry_point is 'shop.wsgi' (no callable is named): allowed is module:callable or"
        " module:factory(),"
        ' arguments as literals; fix: entry_point: "shop.wsgi:app"',
    ),
    (
        {"entry_point": "shop.wsgi:make(os.environ)"},
        "headcount_apps[0].entry_point is 'shop.wsgi:make(os.environ)' (an argument is not a literal): allowed is"
        ' module:callable or module:factory(), arguments as literals; fix: entry_point: "shop.wsgi:make()"',
    ),
    (
        {"entry_point": "shop/wsgi.py:app"},
        "headcount_apps[0].entry_point is 'shop/wsgi.py:app' ('shop/wsgi.py' is a file and not the name of a module):"
        ' allowed is module:callable or module:factory(), arguments as literals; fix: entry_point: "shop.wsgi:app"',
    ),
    (
        {"entry_point": "my shop:app"},
        "headcount_apps[0].entry_point is 'my shop:app' ('my shop' is not the name of a module): allowed is"
        ' module:callable or module:factory(), arguments as literals; fix: entry_point: "shop.wsgi:create_app()"',
    ),
    (
        {"listen": 8000},
        "headcount_apps[0].listen is 8000 (a number and not a string): allowed is IPv4:port, [IPv6]:port or"
        " unix:/path; fix:"
        ' listen: "8000"',
    ),
    (
        {"listen": "8000"},
        "headcount_apps[0].listen is '8000' (no address): allowed is IPv4:port, [IPv6]:port or unix:/path; fix: listen:"
        ' "0.0.0.0:8000"',
    ),
    (
        {"listen": "localhost:8000"},
        "headcount_apps[0].listen is 'localhost:8000' (systemd does not look names up): allowed is IPv4:port,"
        " [IPv6]:port or"
        ' unix:/path; fix: listen: "127.0.0.1:8000"',
    ),
    (
        {"listen": "::1:8000"},
        "headcount_apps[0].listen is '::1:8000' (an IPv6 address needs brackets): allowed is IPv4:port, [IPv6]:port or"
        ' unix:/path; fix: listen: "[::1]:8000"',
    ),
    (
        {"listen": "0.0.0.0:70000"},
        "headcount_apps[0].listen is '0.0.0.0:70000' ('70000' is not a port from 1 to 65535): allowed is IPv4:port,"
        ' [IPv6]:port or unix:/path; fix: listen: "0.0.0.0:8000"',
    ),
    (
        {"listen": "unix:shop.sock"},
        "headcount_apps[0].listen is 'unix:shop.sock' (the path is not absolute): allowed is IPv4:port, [IPv6]:port or"
        ' unix:/path; fix: listen: "unix:/run/shop.sock"',
    ),
    (
        {"listen": "unix:/run/headcount/shop/live.sock"},
        "headcount_apps[0].listen is 'unix:/run/headcount/shop/live.sock' (/run/headcount/ holds Headcount's own"
        " sockets):"
        ' allowed is IPv4:port, [IPv6]:port or unix:/path; fix: listen: "unix:/run/live.sock"',
    ),
    (
        {"profile": "IO"},
        "headcount_apps[0].profile is 'IO': allowed is one of cpu, io, mixed; fix: profile: io",
    ),
    (
        {"guard": {"minutes": 5}, "recorder": False},
        "headcount_apps[0].guard.minutes is 5 beside recorder: false, and without the recorder nobody could guard:"
        " allowed is 0 without the recorder; fix: remove recorder: false, or remove guard",
    ),
    (
        {"access_log": "json", "gunicorn": {"accesslog": "-"}},
        "headcount_apps[0].access_log is json beside gunicorn.accesslog, so that each request would be logged twice:"
        " allowed is off beside a log of Gunicorn's own; fix: remove access_log, or remove gunicorn.accesslog",
    ),
    (
        {"load_test": {"calendar": "Sun 04:00", "rate": 90}, "load": {"rate": 50}},
        "headcount_apps[0].load_test.rate is 90, more than load.rate of 50, with which each release is tried: allowed"
        " is at most load.rate; fix: rate: 25",
    ),
    (
        {"load_test": {"calendar": "0 4 * * 0", "rate": 20}},
        "headcount_apps[0].load_test.calendar is '0 4 * * 0' (a line of cron, which systemd does not take):"
        ' allowed is a calendar event of systemd (systemd.time(7)); fix: calendar: "Sun *-*-* 04:00:00"',
    ),
    (
        {"load_test": {"calendar": "Sun 04:00", "rate": 20}, "load": {"from": "loadgen1"}},
        "headcount_apps[0].load_test is declared beside load.from: loadgen1, and a host's timer can only make a load"
        " itself: allowed is no load_test beside a load from elsewhere; fix: remove load_test, or load.from",
    ),
    (
        {"load_test": {"calendar": "Sun 04:00", "rate": 20}, "processes": {"load-test": "rq worker"}},
        "headcount_apps[0].processes.load-test is the name that the units of load_test have; fix: give the process"
        " another name",
    ),
    (
        {"access_log": True},
        "headcount_apps[0].access_log is true (a boolean and not a string): allowed is one of off, combined, json; fix:"
        " access_log: json",
    ),
    (
        {"profile": "io", "wait_ratio": 8},
        "headcount_apps[0].wait_ratio is 8 beside profile: io: allowed is one of profile and wait_ratio; fix: remove"
        " one of"
        " them",
    ),
    (
        {"wait_ratio": 8, "cpu_ms": 2, "wait_ms": 20},
        "headcount_apps[0].wait_ratio is 8 beside cpu_ms and wait_ms, which make 10: allowed is one of wait_ratio"
        " and the pair"
        " cpu_ms and wait_ms; fix: remove wait_ratio",
    ),
    (
        {"profile": "cpu", "cpu_ms": 1, "wait_ms": 50},
        "headcount_apps[0].profile is cpu, but wait_ms 50 on cpu_ms 1 is io: allowed is a profile that agrees with"
        " cpu_ms and"
        " wait_ms; fix: remove profile",
    ),
    (
        {"worker_class": "tornado"},
        "headcount_apps[0].worker_class is 'tornado': allowed is one of auto, sync, gthread, gevent, eventlet; fix:"
        " worker_class: gthread",
    ),
    (
        {"worker_class": "sync", "settings": {"threads": 4}},
        "headcount_apps[0].settings.threads is 4 beside worker_class: sync, which Gunicorn then turns into gthread:"
        " allowed is"
        " 1 with sync; fix: worker_class: gthread",
    ),
    (
        {"concurrency": True},
        "headcount_apps[0].concurrency is true: allowed is a whole number of 1 or more; fix: concurrency: 200",
    ),
    (
        {"concurrency": 10**30},
        "headcount_apps[0].concurrency is 1000000000000000000000000000000 (more than 1000000): allowed is a whole"
        " number of 1"
        " or more; fix: concurrency: 200",
    ),
    (
        {"rate": "nan"},
        "headcount_apps[0].rate is 'nan': allowed is a number of requests per second above 0; fix: rate: 120",
    ),
    (
        {"rate": 10**400},
        f"headcount_apps[0].rate is 1{'0' * 59}...: allowed is a number of requests per second above 0; fix: rate: 120",
    ),
    (
        {"buffering_proxy": "maybe"},
        "headcount_apps[0].buffering_proxy is 'maybe': allowed is true or false; fix: buffering_proxy: true",
    ),
    (
        {"environment": {"DEBUG": True}},
        "headcount_apps[0].environment.DEBUG is a boolean (not a string): allowed is a string without NUL; fix: put"
        " it in"
        " quotes",
    ),
    (
        {"environment": {"1ST": "x"}},
        "headcount_apps[0].environment.1ST has a name that is refused (not the name of an environment variable):"
        " allowed is a"
        " mapping of names of environment variables to strings; fix: rename or remove it",
    ),
    (
        {"environment": {"GUNICORN_CMD_ARGS": "-w 9"}},
        "headcount_apps[0].environment.GUNICORN_CMD_ARGS has a name that is refused (it would change the plan behind"
        " its back;"
        " use settings): allowed is a mapping of names of environment variables to strings; fix: remove it",
    ),
    (
        {"environment": {"A": None}},
        "headcount_apps[0].environment.A is empty: allowed is a string without NUL; fix: A: value",
    ),
    (
        {"environment": {"A": "x"}, "secrets": {"A": SECRET}},
        "headcount_apps[0].secrets.A is also under environment, where everybody can read it: allowed is a name in"
        " one of the"
        " two; fix: remove environment.A",
    ),
    (
        {"health": "healthz"},
        "headcount_apps[0].health.path is 'healthz' (it does not start with /): allowed is a path that starts with"
        " /; fix:"
        " path: /healthz",
    ),
    (
        {"health": {"status": [200, 99]}},
        "headcount_apps[0].health.status[1] is 99: allowed is a whole number from 100 to 599; fix: 200",
    ),
    (
        {"load": {"paths": []}},
        "headcount_apps[0].load.paths is a list (an empty list): allowed is a list, each a string (its path) or a"
        " mapping with"
        " the keys path, weight, cpu_ms, wait_ms, method, body, headers, status, contains; fix: paths: [/, /products]",
    ),
    (
        {"load": {"paths": [{"path": "/a b"}]}},
        "headcount_apps[0].load.paths[0].path is '/a b' (it holds a character that must be percent-encoded): allowed"
        " is a path"
        ' that starts with /; fix: path: "/products?page=2"',
    ),
    (
        {"load": {"paths": [{"path": "/", "wieght": 2}]}},
        "headcount_apps[0].load.paths[0].wieght is not known: allowed is path, weight, cpu_ms, wait_ms, method,"
        " body, headers, status, contains; fix: did you mean weight?",
    ),
    (
        {"load": {"paths": [{"path": "/", "body": "x"}]}},
        "headcount_apps[0].load.paths[0].body is given with method GET: allowed is a body with POST, PUT, PATCH,"
        " DELETE; fix:"
        " method: POST",
    ),
    (
        {"database": {"max_connections": 20, "reserved": 20}},
        "headcount_apps[0].database.reserved is 20, and max_connections is 20: nothing is left for the app: allowed"
        " is less"
        " than max_connections; fix: reserved: 2",
    ),
    (
        {"mix": "varied"},
        "headcount_apps[0].mix is 'varied': allowed is one of uniform, mixed; fix: mix: uniform",
    ),
    (
        {"load": {"paths": ["/", {"path": "/", "weight": 3}]}},
        "headcount_apps[0].load.paths[1] is /, as load.paths[0] is: allowed is each kind of request once; fix: remove"
        " it; load.paths[0].weight says how often it comes",
    ),
    (
        {"load": {"paths": [{"path": "/", "cpu_ms": 5}, "/report"]}},
        "headcount_apps[0].load.paths[1].cpu_ms is missing, though other paths have it: allowed is cpu_ms of all paths"
        " or none; fix: cpu_ms: 5",
    ),
    (
        {"load": {"paths": [{"path": "/", "wait_ms": 5}]}},
        "headcount_apps[0].load.paths[0].cpu_ms is missing, though the path has wait_ms: allowed is cpu_ms of all paths"
        " or none; fix: cpu_ms: 5",
    ),
    (
        {"cpu_ms": 3, "load": {"paths": [{"path": "/", "cpu_ms": 5}]}},
        "headcount_apps[0].cpu_ms is 3 beside the times of load.paths: allowed is either the app's times or those of"
        " its paths; fix: remove cpu_ms",
    ),
    (
        {
            "mix": "uniform",
            "load": {"paths": [{"path": "/", "weight": 9, "cpu_ms": 5}, {"path": "/r", "cpu_ms": 300}]},
        },
        "headcount_apps[0].mix is uniform, but by load.paths /r computes 300 ms where / takes 5 ms: allowed is mixed,"
        " or paths that are alike; fix: remove mix",
    ),
    (
        {"profile": "io", "load": {"paths": [{"path": "/", "cpu_ms": 5}]}},
        "headcount_apps[0].profile is io, but the times of load.paths make a wait ratio of 0: cpu: allowed is a profile"
        " that agrees with load.paths; fix: remove profile",
    ),
    (
        {"settings": {"worker": 3}},
        "headcount_apps[0].settings.worker is not known: allowed is workers, threads, worker_connections,"
        " preload_app, backlog,"
        " keepalive, timeout, graceful_timeout, max_requests, max_requests_jitter, limit_nofile,"
        " malloc_trim_threshold_mib, switch_interval_ms, memory_high_mib, memory_max_mib, gunicorn_version; fix: did"
        " you mean workers?",
    ),
    (
        {"user": "root"},
        "headcount_apps[0].user is 'root' (an app does not run as root): allowed is the name of an unprivileged"
        " system user;"
        " fix: leave user out, and a user is made for the app",
    ),
    (
        {"load": {"paths": ["/"], "rate": 5, "seconds": 30}, "limits": {"error_rate": 0.01}},
        "headcount_apps[0].load.seconds is 30, which at load.rate 5 makes 150 requests, and 300 in the retry, which is"
        " twice as long: the limit of 1 % on errors takes at least 528, so that no trial could pass: allowed is"
        " load.rate x load.seconds of at least 528; fix: seconds: 106, or rate: 18, or a wider limit (limits.*)",
    ),
    (
        {"load": {"paths": ["/"], "rate": 10, "seconds": 20}, "limits": {"error_rate": 0.05, "p99_ms": 100}},
        "headcount_apps[0].load.seconds is 20, which at load.rate 10 makes 200 requests, and 400 in the retry, which is"
        " twice as long: the limit on p99 takes at least 528, so that no trial could pass: allowed is load.rate x"
        " load.seconds of at least 528; fix: seconds: 53, or rate: 27, or a wider limit (limits.*)",
    ),
    (
        {"limits": {"error_rate": 0}},
        "headcount_apps[0].limits.error_rate is 0, which no number of requests can prove: allowed is above 0; fix:"
        " error_rate: 0.001",
    ),
    (
        {"load": {"paths": [{"path": "/", "status": [99]}]}},
        "headcount_apps[0].load.paths[0].status[0] is 99: allowed is a whole number from 100 to 599; fix: 200",
    ),
    (
        {"slice": "web"},
        "headcount_apps[0].slice is 'web': allowed is the name of a slice unit; fix: slice: web.slice",
    ),
    (
        {"retain": {"good": 1}},
        "headcount_apps[0].retain.good is 1: allowed is a whole number from 2 to 100; fix: good: 5",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSALS, ids=[sentence[:60] for _, sentence in REFUSALS])
def test_what_is_refused(changes: dict[str, Any], sentence: str) -> None:
    assert refusals(app(**changes))[:1] == [sentence]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (
            None,
            "host web1: headcount_apps is missing: allowed is a list of apps, at least one; fix: declare the apps of"
            " this"
            " host, or take it out of the play",
        ),
        (
            [],
            "host web1: headcount_apps is an empty list: allowed is a list of apps, at least one; fix: declare an"
            " app, or take"
            " the host out of the play",
        ),
        (
            MINIMAL,
            "host web1: headcount_apps is a mapping: allowed is a list of apps, at least one; fix: begin the app with a"
            " hyphen: - name: ...",
        ),
        (
            SECRET,
            "host web1: headcount_apps is a string: allowed is a list of apps, at least one; fix: headcount_apps:"
            " [{name:"
            " shop, ...}]",
        ),
        (
            [3],
            "host web1: headcount_apps[0] is a number: allowed is a mapping with the keys of an app; fix: name: shop",
        ),
    ],
)
def test_what_is_no_list_of_apps(raw: object, sentence: str) -> None:
    assert [str(problem) for problem in declaration.normalise_apps(raw, "web1")[1]] == [sentence]


def test_all_problems_are_collected() -> None:
    found = refusals(app(limits={"p95_ms": "x", "p50_ms": "y"}, rate=-1), app(name="two", listen="nowhere"))
    assert [text.split(" ")[0] for text in found] == [
        "headcount_apps[0].rate",
        "headcount_apps[0].limits.p50_ms",
        "headcount_apps[0].limits.p95_ms",
        "headcount_apps[1].listen",
    ]


def test_names_and_addresses_of_one_host_are_unique() -> None:
    assert refusals(app(), app()) == [
        "headcount_apps[1].name is 'shop', the name of headcount_apps[0] too: allowed is a name that no other app of"
        " the host"
        " has; fix: name: shop-2",
        "headcount_apps[1].listen is '0.0.0.0:8000', where headcount_apps[0] (shop) listens too: allowed is an"
        " address that no"
        ' other app of the host has; fix: listen: "0.0.0.0:8001"',
    ]


@pytest.mark.parametrize(
    ("one", "two", "clash"),
    [
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("[::]:80", "127.0.0.1:80", True),
        ("[::]:80", "[::1]:80", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("[::1]:80", "0.0.0.0:80", False),
        ("0.0.0.0:80", "0.0.0.0:81", False),
        ("unix:/run/a.sock", "unix:/run/a.sock", True),
        ("unix:/run/a.sock", "unix:/run/b.sock", False),
    ],
)
def test_addresses_that_cannot_both_be_bound(one: str, two: str, clash: bool) -> None:
    assert bool(refusals(app(listen=one), app(name="two", listen=two))) is clash


def test_two_apps_do_not_share_a_user() -> None:
    (text,) = refusals(app(user="www"), app(name="two", listen="0.0.0.0:8001", user="www"))
    assert text.startswith(
        "headcount_apps[1].user is 'www', the user of headcount_apps[0] too, which could then read its secrets"
    )


def test_overrides_are_merged_by_name_at_every_depth() -> None:
    apps, problems = declaration.normalise_apps(
        [app(limits={"p95_ms": 250}, health="/healthz", environment={"A": "1", "B": "2"}, profile="io")],
        "web1",
        {
            "shop": {
                "limits": {"p50_ms": 50},
                "health": {"boot_seconds": 9},
                "environment": {"B": "3"},
                "source": {"pip": "shop==1.0"},
                "profile": None,
                "wait_ratio": 3,
            }
        },
    )
    assert problems == []
    (result,) = apps
    assert (result["limits"]["p50_ms"], result["limits"]["p95_ms"]) == (50.0, 250.0)
    assert (result["health"]["path"], result["health"]["boot_seconds"]) == ("/healthz", 9.0)
    assert result["environment"] == {"A": "1", "B": "3"}
    assert (result["source"]["kind"], result["source"]["value"]) == ("pip", "shop==1.0")
    assert result["wait_ratio"] == 3.0


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            {"shpo": {"rate": 1}},
            "headcount_app_overrides.shpo is no app of this host: allowed is shop; fix: did you mean shop?",
        ),
        (
            {"shop": {"limits": {"p95_ms": "slow"}}},
            "headcount_app_overrides.shop.limits.p95_ms is 'slow': allowed is a number of milliseconds above 0; fix:"
            " p95_ms:"
            " 250",
        ),
        (
            {"shop": {"name": "other"}},
            "headcount_app_overrides.shop.name cannot be overridden: allowed is every key of an app but its name;"
            " fix: remove"
            " it",
        ),
        (
            {"shop": 3},
            "headcount_app_overrides.shop is a number: allowed is a mapping with keys of an app; fix: concurrency: 50",
        ),
        (
            "shop",
            "headcount_app_overrides is a string: allowed is a mapping of names of apps to keys of an app; fix: {shop:"
            " {concurrency: 50}}",
        ),
    ],
)
def test_a_refused_override_is_told_at_its_own_place(overrides: object, sentence: str) -> None:
    assert refusals(app(), overrides=overrides) == [sentence]


def test_merging_leaves_the_inventory_as_it_was() -> None:
    raw, overrides = [app(limits={"p95_ms": 1})], {"shop": {"limits": {"p95_ms": 2}}}
    before = copy.deepcopy((raw, overrides))
    declaration.normalise_apps(raw, "web1", overrides)
    assert (raw, overrides) == before


def test_variables_of_a_host_are_completed() -> None:
    values, problems = declaration.normalise_host_vars(
        {"headcount_retain": "5", "other": 1, "headcount__run": {}, "headcount_hosts": "web_small:!web1"}, "web1"
    )
    assert problems == []
    assert values["headcount_retain"] == 5
    assert values["headcount_rollout_batches"] == ["1", "10%", "50%", "100%"]
    assert "headcount_apps" not in values


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "headcount_on_faliure",
            "keep",
            "headcount_on_faliure is not known: allowed is a variable that docs/variables.md names; fix: did you mean"
            " headcount_on_failure?",
        ),
        (
            "headcount_on_failure",
            "panic",
            "headcount_on_failure is 'panic': allowed is one of revert_all, keep, ask; fix: headcount_on_failure: keep",
        ),
        (
            "headcount_rollout_batches",
            [1, "0%", 2.5],
            "headcount_rollout_batches[1] is '0%': allowed is a number of hosts from 1, or a share from 1% to 100%;"
            " fix:"
            ' "10%"',
        ),
        (
            "headcount_base_dir",
            "deploy",
            "headcount_base_dir is 'deploy': allowed is the absolute path of a folder on the controller; fix:"
            ' headcount_base_dir: "{{ inventory_dir }}/deploy"',
        ),
        (
            "headcount_to",
            "last",
            "headcount_to is 'last': allowed is a whole number of 1 or more; fix: headcount_to: 7",
        ),
        (
            "headcount_python",
            "python3",
            "headcount_python is 'python3': allowed is an absolute path outside of /home, /root, /run/user, /tmp and"
            " /var/tmp; fix: headcount_python: /usr/bin/python3.13",
        ),
        (
            "headcount_python",
            "/home/deploy/.pyenv/versions/3.12.1/bin/python3",
            "headcount_python is '/home/deploy/.pyenv/versions/3.12.1/bin/python3' (ProtectHome= of the app's units"
            " hides /home): allowed is an absolute path outside of /home, /root, /run/user, /tmp and /var/tmp; fix:"
            " headcount_python: /usr/bin/python3.13",
        ),
    ],
)
def test_refused_variables_of_a_host(name: str, value: object, sentence: str) -> None:
    assert declaration.normalise_host_vars({name: value}, "web1")[1][0].text == sentence


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"headcount_app": "shop", "headcount_remove_data": "true"}, ""),
        ({"headcount_app": "shop", "headcount_to": ""}, ""),
        ({"headcount_app": "shop", "headcount_to": "7"}, ""),
        ({"headcount_app": "shop", "headcount_to_former": "yes please"}, "headcount_to_former is 'yes please'"),
        ({"headcount_app": ""}, "headcount_app is missing: allowed is the name of an app; fix: -e headcount_app=NAME"),
        ({"headcount_app": "shop,api"}, "headcount_app is 'shop,api'"),
        (
            {"headcount_app": "shop", "headcount_remove_data": "ture"},
            "headcount_remove_data is 'ture': allowed is true or false; fix: headcount_remove_data: true",
        ),
        ({"headcount_app": "shop", "headcount_to": "0"}, "headcount_to is "),
    ],
)
def test_what_a_playbook_for_one_app_is_told(said: dict[str, object], sentence: str) -> None:
    found = declaration.command_problems(said)
    assert len(found) == bool(sentence)
    assert "".join(found).startswith(sentence)


def host(name: str, **variables: Any) -> declaration.Declaration:
    """A host with the minimal app."""
    return declaration.normalise_host({"headcount_apps": [app()], **variables}, name)


def test_retain_of_the_host_is_the_default_of_its_apps() -> None:
    assert host("web1", headcount_retain=7).apps[0]["retain"] == {"good": 7}


def test_the_fleet_is_counted_by_app() -> None:
    both = declaration.normalise_host({"headcount_apps": [app(), app(name="api", listen="0.0.0.0:81")]}, "web2")
    assert declaration.fleet_counts([host("web1"), both]) == {"api": 1, "shop": 2}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"headcount_exporter_listen": "0.0.0.0:81"}, True),
        ({"headcount_exporter_listen": "127.0.0.1:81"}, True),
        ({"headcount_exporter_listen": "0.0.0.0:82"}, False),
        ({"headcount_exporter_listen": "0.0.0.0:81", "headcount_exporter": False}, False),
    ],
)
def test_the_exporter_listens_where_no_app_does(variables: dict[str, Any], told: bool) -> None:
    apps = [app(), app(name="api", listen="0.0.0.0:81")]
    declared = declaration.normalise_host({"headcount_apps": apps, "headcount_exporter": True, **variables}, "web1")
    found = "; ".join(map(str, declared.problems))
    assert bool(found) is told
    for words in ("where headcount_apps[1] (api) listens", "fix: headcount_exporter_listen: ") if told else ():
        assert words in found


def test_variables_of_the_rollout_are_the_same_for_all_hosts() -> None:
    hosts = [host("web1"), host("web2", headcount_on_failure="keep")]
    assert [str(problem) for problem in declaration.fleet_problems(hosts, ["web1", "web2"])] == [
        "host web2: headcount_on_failure is keep and on web1 it is revert_all: allowed is one value for all hosts of"
        " the play,"
        " because it steers the whole rollout; fix: set it in group_vars/all.yml"
    ]


@pytest.mark.parametrize(
    ("said", "names"),
    [("shop", ["shop"]), ("shop, api", ["shop", "api"]), (["shop"], ["shop"]), (None, None)],
)
def test_a_run_may_be_limited_to_apps(said: object, names: object) -> None:
    api = app(name="api", listen="0.0.0.0:8001")
    declared = declaration.normalise_host({"headcount_apps": [app(), api], "headcount_app": said}, "web1")
    assert (declared.problems, declared.variables["headcount_app"]) == ([], names)
    assert declaration.fleet_problems([declared], ["web1"]) == []


def test_a_run_is_limited_to_apps_that_are_there() -> None:
    one = declaration.normalise_host({"headcount_apps": [app()], "headcount_app": "shopp"}, "web1")
    two = declaration.normalise_host({"headcount_apps": [app(name="api")], "headcount_app": "shopp"}, "web2")
    assert [str(problem) for problem in declaration.fleet_problems([one, two], ["web1", "web2"])] == [
        "host web1: headcount_app names 'shopp', which is declared for no host of the play: allowed is one of the apps "
        "api, shop, or several; fix: headcount_app: shop"
    ]
    wrong = declaration.normalise_host({"headcount_apps": [app()], "headcount_app": "shop,"}, "web1")
    assert "headcount_app[1] is ''" in str(wrong.problems[0])


def test_hosts_that_are_named_exist() -> None:
    named = declaration.normalise_host({"headcount_apps": [app()], "headcount_canary": "web7"}, "web1")
    found = [problem.text for problem in declaration.fleet_problems([named], ["web1"])]
    assert found == [
        "headcount_canary is 'web7': allowed is the name of a host of the inventory; fix: headcount_canary: web1",
    ]
    assert declaration.fleet_problems([named], ["web1", "web7"]) == []


class TestLoadFrom:
    """Where the load comes from, and what that needs."""

    def test_the_host_itself_needs_nothing_and_changes_no_digest(self) -> None:
        load = normalised(load={"rate": 50})["load"]
        assert {"from", "port", "address"} & set(load) == set()

    @pytest.mark.parametrize("source", ["controller", "lg1"])
    def test_the_candidate_gets_the_port_after_that_of_listen(self, source: str) -> None:
        load = normalised(listen="0.0.0.0:8000", load={"from": source})["load"]
        assert (load["from"], load["port"]) == (source, 8001)

    def test_a_port_and_an_address_of_its_own(self) -> None:
        load = normalised(load={"from": "lg1", "port": "9000", "address": "[2001:db8::7]"})["load"]
        assert (load["port"], load["address"]) == (9000, "2001:db8::7")

    def test_apps_may_share_the_port_because_one_is_tried_after_the_other(self) -> None:
        load = {"from": "lg1", "port": 9000}
        shoe = app(name="shoe", listen="0.0.0.0:8001", load=load)
        assert refusals(app(listen="0.0.0.0:8000", load=load), shoe) == []

    @pytest.mark.parametrize(
        ("listen", "load", "refusal"),
        [
            (
                "unix:/run/shop.sock",
                {"from": "lg1"},
                "headcount_apps[0].load.from is 'lg1' and listen is 'unix:/run/shop.sock', a unix socket that only the"
                " host itself reaches: allowed is host, for an app that listens on a loopback or on a unix socket; fix:"
                ' from: host, or listen: "0.0.0.0:8000"',
            ),
            (
                "127.0.0.1:8080",
                {"from": "controller"},
                "headcount_apps[0].load.from is 'controller' and listen is '127.0.0.1:8080', a loopback that only the"
                " host itself reaches: allowed is host, for an app that listens on a loopback or on a unix socket; fix:"
                ' from: host, or listen: "0.0.0.0:8080"',
            ),
            (
                "0.0.0.0:8000",
                {"from": "lg1", "port": 8000},
                "headcount_apps[0].load.port is 8000, the port of listen, which the live generation has: allowed is a"
                " port that is free on the host; fix: port: 8001",
            ),
            (
                "0.0.0.0:65535",
                {"from": "lg1"},
                "headcount_apps[0].load.port is missing, and the port of listen + 1 is none: allowed is with a remote"
                " load, a port that is free on the host; fix: port: 65534",
            ),
            (
                "0.0.0.0:8000",
                {"from": "lg1", "port": 70000},
                "headcount_apps[0].load.port is 70000 (more than 65535): allowed is a port from 1 to 65535; fix:"
                " port: 8001",
            ),
            (
                "0.0.0.0:8000",
                {"from": "lg1", "address": "web1.example"},
                "headcount_apps[0].load.address is 'web1.example': allowed is an IP address of the app's host; fix:"
                ' address: "10.0.0.11"',
            ),
            (
                "0.0.0.0:8000",
                {"from": "lg1", "address": "0.0.0.0"},
                "headcount_apps[0].load.address is '0.0.0.0' (it stands for all addresses): allowed is an IP address of"
                ' the app\'s host; fix: address: "10.0.0.11"',
            ),
        ],
    )
    def test_what_is_refused(self, listen: str, load: dict[str, Any], refusal: str) -> None:
        assert refusals(app(listen=listen, load=load)) == [refusal]

    def test_a_port_where_another_app_listens(self) -> None:
        shoe = app(name="shoe", listen="10.0.0.5:8001")
        found = refusals(app(listen="0.0.0.0:8000", load={"from": "lg1"}), shoe)
        assert found == [
            "headcount_apps[0].load.port is 8001, where headcount_apps[1] (shoe) listens: allowed is a port that no app"
            " of the host has; fix: port: 8002"
        ]

    @pytest.mark.parametrize(
        ("source", "refusal"),
        [
            ("controller", None),
            ("host", None),
            ("lg1", None),
            (
                "lg2",
                "headcount_apps[0].load.from is 'lg2', which is no host of the inventory: allowed is host, controller,"
                " or another host of the inventory: db1, lg1; fix: from: lg1",
            ),
            (
                "web1",
                "headcount_apps[0].load.from is 'web1', the app's own host: allowed is host, controller, or another"
                " host of the inventory: db1, lg1; fix: from: host",
            ),
        ],
    )
    def test_hosts_that_are_named_exist(self, source: str, refusal: str | None) -> None:
        declared = declaration.normalise_host({"headcount_apps": [app(load={"from": source})]}, "web1")
        found = [problem.text for problem in declaration.fleet_problems([declared], ["web1", "lg1", "db1"])]
        assert found == ([refusal] if refusal else [])

    def test_a_large_inventory_is_not_listed_whole(self) -> None:
        declared = declaration.normalise_host({"headcount_apps": [app(load={"from": "lg"})]}, "web1")
        names = [f"h{number:02}" for number in range(40)]
        (found,) = declaration.fleet_problems([declared], names)
        assert "h08, h09 and 30 more; fix: from: host" in found.text


def test_a_load_that_is_too_little_for_its_limits_is_told() -> None:
    (short,) = declaration.normalise_apps([app(load={"rate": 10, "seconds": 10}, limits={"error_rate": 0.01})], "web1")[
        0
    ]
    assert any(
        "load.rate 10 for load.seconds 10 are 100 requests" in text
        for text in declaration.warnings_for(App.from_dict(short))
    )


def test_the_message_tells_hosts_with_the_same_problem_together() -> None:
    problems = [
        problem for index in range(1, 6) for problem in declaration.normalise_apps(None, f"web{index}")[1]
    ] + declaration.normalise_apps([], "db1")[1]
    assert declaration.render_problems(problems) == (
        "2 problems in what is declared; no host was touched:\n"
        "  hosts web1, web2, web3 and 2 more: headcount_apps is missing: allowed is a list of apps, at least one;"
        " fix: declare"
        " the apps of this host, or take it out of the play\n"
        "  host db1: headcount_apps is an empty list: allowed is a list of apps, at least one; fix: declare an app,"
        " or take"
        " the host out of the play"
    )


SECRETIVE: list[dict[str, Any]] = [
    {"secrets": SECRET},
    {"secrets": [SECRET]},
    {"secrets": {"A": f"{SECRET}\0"}},
    {"secrets": {"A": [SECRET]}},
    {"secrets": {"A": {"B": SECRET}}},
    {"secrets": {"A": f"\ud800{SECRET}"}},
    {"secrets": {"not a name": SECRET}},
    {"secrets": {"A": SECRET}, "environment": {"A": SECRET}},
    {"secretz": {"A": SECRET}},
    {"environment": {"A": f"{SECRET}\0"}},
    {"load": {"paths": [{"path": "/", "headers": {"Authorization": f"{SECRET}\n"}}]}},
    {"load": {"paths": [{"path": "/", "body": SECRET}]}},
    {"source": {"git": f"https://me:{SECRET.replace(' ', '')}@git.example.com/shop.git", "version": "1"}},
]


@pytest.mark.parametrize("changes", SECRETIVE)
def test_no_problem_shows_a_secret(changes: dict[str, Any]) -> None:
    _, problems = declaration.normalise_apps([app(**changes)], "web1", {"shop": {"secrets": {"B": 1.5}}})
    text = declaration.render_problems(problems)
    assert problems
    assert SECRET not in text
    assert SECRET.replace(" ", "") not in text
    assert "1.5" not in text


def test_a_git_password_is_refused_with_the_url_without_it() -> None:
    (text,) = refusals(app(source={"git": "https://me:pw@git.example.com/shop.git", "version": "1"}))
    assert text == (
        "headcount_apps[0].source.git is 'https://...@git.example.com/shop.git' (it carries a credential, which"
        " would end in"
        " files and output; use a git credential helper or ssh): allowed is the URL of a repository (https, ssh,"
        " git, file),"
        ' user@host:path or a path, without a password; fix: git: "https://git.example.com/shop.git"'
    )


@pytest.mark.parametrize(
    "name", ["token", "access_token", "private_token", "key", "api_key", "apikey", "password", "sig"]
)
def test_a_credential_in_the_query_of_a_url_is_refused(name: str) -> None:
    (text,) = refusals(app(source={"git": f"https://git.example.com/shop.git?{name}=s3cret", "version": "1"}))
    assert f"its parameter {name} is a credential" in text
    assert text.endswith('fix: git: "https://git.example.com/shop.git"')
    assert "s3cret" not in text
    line = f"flask @ https://h.example/flask-3-py3-none-any.whl?{name}=s3cret"
    (text,) = refusals(app(source={"path": "shop", "requirements": [line]}))
    assert f"its parameter {name} is a credential" in text
    assert "s3cret" not in text


def test_a_redacted_app_shows_names_only() -> None:
    full = normalised(
        secrets={"DATABASE_URL": SECRET},
        environment={"API_TOKEN": SECRET, "URL": f"redis://u:{SECRET.split(maxsplit=1)[0]}@db/0", "LANG": "C"},
        load={"paths": [{"path": "/", "headers": {"Authorization": SECRET, "Accept": "text/html"}}]},
    )
    before = copy.deepcopy(full)
    shown = declaration.redacted(App.from_dict(full)).to_dict()
    assert full == before
    assert SECRET.split(maxsplit=1)[0] not in json.dumps(shown)
    assert shown["secrets"] == {"DATABASE_URL": "(secret)"}
    assert shown["environment"]["LANG"] == "C"
    assert shown["load"]["paths"][0]["headers"]["Accept"] == "text/html"
    assert declaration.warnings_for(App.from_dict(full)) == [
        "shop: environment.API_TOKEN looks like a secret; secrets.API_TOKEN keeps it out of all output",
        "shop: environment.URL looks like a secret; secrets.URL keeps it out of all output",
        "shop: load.paths: the header Authorization can be read in the host's process list while the trial lasts",
    ]


def test_a_declaration_does_not_show_its_apps() -> None:
    assert SECRET not in repr(declaration.normalise_host({"headcount_apps": [app(secrets={"A": SECRET})]}, "web1"))


def test_digests_tell_what_changed() -> None:
    one = App.from_dict(normalised(secrets={"A": "x"}, rate=1))
    same = App.from_dict(normalised(rate="1.0", secrets={"A": "x"}))
    other_secret = App.from_dict(normalised(secrets={"A": "y"}, rate=1))
    other_place = App.from_dict(normalised(secrets={"A": "x"}, rate=1, source={"path": "/elsewhere/app"}))
    assert declaration.digest({"b": 1, "a": [2.5, None]}) == declaration.digest({"a": [2.5, None], "b": 1})
    assert declaration.public_digest(one) == declaration.public_digest(same) == declaration.public_digest(other_secret)
    assert declaration.public_digest(one) != declaration.public_digest(other_place)
    assert declaration.public_digest(one, "c0ffee") == declaration.public_digest(other_place, "c0ffee")
    assert (
        declaration.secrets_digest(one) == declaration.secrets_digest(same) != declaration.secrets_digest(other_secret)
    )
    assert declaration.secrets_digest(App.from_dict(normalised())) == ""


def test_the_digest_is_the_same_on_every_python() -> None:
    assert declaration.digest({"rate": 50.0, "name": "käse"}) == (
        "c0494a9e9d153c98732cc078543428272582b5763c4c904032ed130d5e20f152"
    )


@pytest.mark.parametrize(
    ("ratio", "profile"), [(0, "cpu"), (0.19, "cpu"), (0.2, "mixed"), (8.9, "mixed"), (9, "io"), (1e6, "io")]
)
def test_the_profile_of_a_ratio(ratio: float, profile: str) -> None:
    assert profile_of(ratio) == profile


def test_every_profile_stands_for_a_ratio_of_its_own_range() -> None:
    assert {name: profile_of(ratio) for name, ratio in declaration.PROFILE_WAIT_RATIO.items()} == {
        "cpu": "cpu",
        "mixed": "mixed",
        "io": "io",
    }


def every_field() -> list[tuple[str, Field]]:
    """Every field of the table that has a value of its own."""
    return [(path, item) for path, item in walk(VARIABLES) if not path.startswith("headcount_app_overrides")]


@pytest.mark.parametrize(("path", "item"), every_field(), ids=[path for path, _ in every_field()])
def test_every_example_and_default_of_the_table_is_allowed(path: str, item: Field) -> None:
    for value in (item.example, item.default):
        if value in (None, REQUIRED, ABSENT, ""):
            continue
        context = Context("web1")
        parse(item, value, (item.name or path,), context)
        assert [problem.text for problem in context.problems] == []


@pytest.mark.parametrize(("path", "item"), every_field(), ids=[path for path, _ in every_field()])
def test_every_field_helps(path: str, item: Field) -> None:
    assert item.help.endswith(".")
    assert item.allowed_text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = [item.name for item in APP_FIELDS]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6))
def test_whatever_is_declared_is_normalised_or_refused(changes: dict[str, Any]) -> None:
    apps, problems = declaration.normalise_apps([{**MINIMAL, **changes}], "web1")
    assert all(str(problem) for problem in problems)
    if not problems:
        (result,) = apps
        assert {item.name for item in APP_FIELDS if item.default is not ABSENT} <= set(result) <= set(KEYS)
        again = {**result, "source": MINIMAL["source"], "wait_ratio": None}
        if result["profile"] is None:
            again["wait_ratio"] = None if result["cpu_ms"] and result["wait_ms"] is not None else result["wait_ratio"]
        once_more, none = declaration.normalise_apps([again], "web1")
        assert none == []
        assert once_more == [{**result, "source": once_more[0]["source"]}]
        declaration.digest(declaration.redacted(App.from_dict(result)).to_dict())


WRONG: list[Any] = [
    None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**40, "", " ", "x", "a" * 400, "\x00", b"x", [], ["a"], [[]],
    [{}], [None], {}, {"a": 1}, {"a": [1]}, {1: 2}, {None: 1}, {"path": [1]}, {"path": {"a": 1}}, (1, 2),
    set(), object(),
]  # fmt: skip


@pytest.mark.parametrize("key", [item.name for item in declaration.APP_FIELDS])
def test_a_wrong_type_anywhere_is_a_problem_and_never_an_error(key: str) -> None:
    """Of an app, of one of two, and where an override meets it."""
    base = {"name": "shop", "source": {"path": "app"}, "entry_point": "shop:app", "listen": "0.0.0.0:8000"}
    for value in WRONG:
        app = {**base, key: value}
        for apps in ([app], [app, base], [app, app]):
            for overrides in (None, {"shop": {key: value}}, {"shop": value}, value):
                variables = {"headcount_apps": apps, "headcount_app_overrides": overrides}
                found = declaration.normalise_host(variables, "web1")
                declaration.fleet_counts([found])
                declaration.fleet_problems([found], ["web1"])
                declaration.render_problems(found.problems)
    found = declaration.normalise_host({"headcount_apps": [{**base, key: [object()]}]}, "web1")
    assert found.problems


def test_a_name_of_the_wrong_type_beside_an_override() -> None:
    apps = [{"name": ["a"], "source": {"path": "app"}, "entry_point": "a:app", "listen": "0.0.0.0:8000"}]
    found = declaration.normalise_host({"headcount_apps": apps, "headcount_app_overrides": {"shop": {}}}, "web1")
    assert any("headcount_apps[0].name is a list" in problem.text for problem in found.problems)


def test_an_account_of_another_app_is_not_shared() -> None:
    one = {"name": "shop", "source": {"path": "app"}, "entry_point": "a:app", "listen": "0.0.0.0:8000"}
    two = {**one, "name": "web", "listen": "0.0.0.0:8001", "user": "hc-shop"}
    for apps, index, other in (([one, two], 1, 0), ([two, one], 0, 1)):
        problems = declaration.normalise_apps(apps, "web1")[1]
        assert [problem.text for problem in problems] == [
            f"headcount_apps[{index}].user is 'hc-shop', the user of headcount_apps[{other}] too, which could then"
            " read its secrets: allowed is a user of its own for each app; fix: leave user out"
        ]


def test_the_folder_of_the_wheels_is_no_app() -> None:
    app = {"name": "wheels", "source": {"path": "app"}, "entry_point": "a:app", "listen": "0.0.0.0:8000"}
    problems = declaration.normalise_apps([app], "web1")[1]
    assert "holds the wheels of all apps" in problems[0].text


@pytest.mark.parametrize("name", ["headcount", "headcount-boot", "headcount-exporter"])
def test_the_names_of_headcounts_own_units_are_no_apps(name: str) -> None:
    app = {"name": name, "source": {"path": "app"}, "entry_point": "a:app", "listen": "0.0.0.0:8000"}
    problems = declaration.normalise_apps([app], "web1")[1]
    assert "units and commands of that name are Headcount's own" in problems[0].text
    assert f"my-{name}" in problems[0].text


def test_a_path_of_the_load_that_is_none_beside_others() -> None:
    problems = refusals(app(load={"paths": [5, {"weight": 2}, "/"]}))
    assert [problem.split(" ")[0] for problem in problems] == [
        "headcount_apps[0].load.paths[0]",
        "headcount_apps[0].load.paths[1].path",
    ]
