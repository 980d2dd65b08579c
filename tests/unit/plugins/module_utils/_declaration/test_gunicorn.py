# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Gunicorn's own settings: taken, or refused with the key that does it or the reason."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.gunicorn import (
    GUNICORN,
    HOOKS,
    REFUSED,
    SINCE,
    belongs,
    hooks_in,
    settings_in,
    too_new,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps

SHOP: dict[str, Any] = {
    "name": "shop",
    "source": {"path": "app"},
    "entry_point": "shop.wsgi:create_app()",
    "listen": "0.0.0.0:8000",
}


def read(**changes: Any) -> tuple[dict[str, Any], list[str]]:
    apps, problems = normalise_apps([{**SHOP, **changes}], "web1")
    return apps[0], [problem.text for problem in problems]


def test_they_are_taken_under_their_own_names() -> None:
    declared = {
        "accesslog": "-",
        "forwarded_allow_ips": "10.0.0.5, 10.1.0.0/16,::1",
        "limit_request_line": "8190",
        "capture_output": "yes",
        "secure_scheme_headers": {"X-FORWARDED-PROTO": "https"},
        "logconfig_dict": {"version": 1, "loggers": {"gunicorn.access": {"handlers": ["x"], "level": 20}}},
        "raw_env": ["SHOP_REGION=eu", "X="],
    }
    app, problems = read(gunicorn=declared)
    assert problems == []
    assert app["gunicorn"] == {**declared, "limit_request_line": 8190, "capture_output": True}
    assert App.from_dict(app).to_dict() == app
    assert "gunicorn" not in read()[0]


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        (
            {"workers": 3},
            "headcount_apps[0].gunicorn.workers is not taken: the plan decides it; fix: use settings.workers",
        ),
        (
            {"bind": ["0.0.0.0:80"]},
            "headcount_apps[0].gunicorn.bind is not taken: systemd holds the socket, so that no request is lost in a "
            "switch; fix: use listen of the app",
        ),
        (
            {"daemon": True},
            "headcount_apps[0].gunicorn.daemon is not taken: systemd watches the master, and would take one that goes "
            "into the background for dead; fix: remove it",
        ),
        ({"post_fork": "shop:fork"}, "fix: use gunicorn.hooks, which names a file with them"),
        ({"certfile": "/etc/x.pem"}, "let the proxy in front do that; fix: remove it"),
        ({"acces_log": "-"}, "fix: did you mean accesslog?"),
        ({"nonsense": 1}, "headcount_apps[0].gunicorn.nonsense is not known"),
        ({"limit_request_fields": "many"}, "allowed is a whole number"),
        ({"forwarded_allow_ips": "10.0.0.1/8"}, "('10.0.0.1/8' is no address)"),
        ({"forwarded_allow_ips": "proxy.example.com"}, "is no address"),
        ({"header_map": "keep"}, "allowed is one of drop, refuse, dangerous"),
        ({"raw_env": ["SHOP_REGION"]}, "'SHOP_REGION' has no value"),
        ({"raw_env": ["LISTEN_FDS=3"]}, "systemd sets it"),
        ({"logconfig_dict": [1]}, "allowed is a mapping"),
        ({"logconfig_dict": {"x": float("nan")}}, "it holds what JSON cannot"),
    ],
)
def test_what_is_refused_says_why_and_what_does_it(declared: dict[str, Any], problem: str) -> None:
    (found,) = read(gunicorn=declared)[1]
    assert problem in found


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ("ddtrace-run", "fix: command_prefix: [ddtrace-run]"),
        ("ddtrace-run --debug", 'fix: command_prefix: [ddtrace-run, "--debug"]'),
        ("nice -n 5", 'fix: command_prefix: [/usr/bin/nice, "-n", "5"]'),
        (
            ["nice -n 5"],
            "(the first word holds blanks): allowed is a list, each a string; fix: command_prefix: [/usr/bin",
        ),
        (["ddtrace-run -x", "a b"], 'fix: command_prefix: [ddtrace-run, "-x", "a b"]'),
        ("ddtrace-run 'x", "fix: command_prefix: [opentelemetry-instrument]"),
        (["TZ=UTC", "ddtrace-run"], "(TZ=... is set by a shell, and none reads it)"),
    ],
)
def test_a_prefix_is_a_list_of_words(declared: object, problem: str) -> None:
    (found,) = read(command_prefix=declared)[1]
    assert problem in found


@pytest.mark.parametrize("declared", [["ddtrace-run", "--name", "a b"], ["/opt/my tools/run"]])
def test_a_word_of_a_prefix_may_hold_blanks(declared: list[str]) -> None:
    assert read(command_prefix=declared)[1] == []


def test_every_setting_is_taken_or_refused_and_none_is_both() -> None:
    """gunicorn.config.KNOWN_SETTINGS of 23.0.0 to 27.0.1: 120 names."""
    taken = {item.name for item in GUNICORN.fields} - {"hooks"}
    assert not taken & set(REFUSED)
    assert set(HOOKS) <= set(REFUSED)
    assert set(SINCE) <= taken
    assert len(taken | set(REFUSED)) == 120
    for name in ("worker_class", "workers", "bind", "user", "wsgi_app"):
        assert belongs(name) in ("worker_class", "settings.workers", "listen", "user", "entry_point")
    assert [belongs(name) for name in ("accesslog", "post_fork", "pidfile", "x")] == [
        "gunicorn.accesslog",
        "gunicorn.hooks",
        "",
        "",
    ]


def test_a_setting_that_came_later_than_the_planned_gunicorn() -> None:
    declared = {"accesslog": "-", "http_parser": "python", "enable_backlog_metric": True}
    assert too_new(declared, "==27.0.1") == too_new(declared, "==25.2.0") == {}
    assert too_new(declared, "==25.1.0") == {"http_parser": "25.2"}
    assert too_new(declared, ">=23,<24") == {"http_parser": "25.2", "enable_backlog_metric": "24.1"}


def test_the_hooks_and_settings_of_a_file() -> None:
    text = "from shop import child_exit, config\ntimeout: int = 3\nworkers, bind = 2, 'x'\ndef post_fork(s, w): pass\n"
    assert hooks_in(text) == ["post_fork", "child_exit"]
    assert settings_in(text) == ["timeout", "workers", "bind"]
    with pytest.raises(SyntaxError):
        hooks_in("def (")


@pytest.mark.parametrize("prefix", [["ddtrace-run"], ["/usr/bin/nice", "-n", "5"]])
def test_what_gunicorn_is_started_by(prefix: list[str]) -> None:
    app, problems = read(command_prefix=prefix)
    assert problems == []
    assert App.from_dict(app).command_prefix == tuple(prefix)
    assert len(read(command_prefix=[])[1]) == len(read(command_prefix=["a\nb"])[1]) == 1
