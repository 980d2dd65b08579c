# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What users send with a request, and what is refused of it before a host is touched."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.asking import CLIENT
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import (
    normalise_apps,
    warnings_for,
)

SHOP: dict[str, Any] = {
    "name": "shop",
    "source": {"path": "app"},
    "entry_point": "shop.wsgi:create_app()",
    "listen": "0.0.0.0:8000",
    "health": "/healthz",
    "load": {"paths": ["/", {"path": "/buy", "method": "POST", "headers": {"host": "buy.example.com"}}]},
}


def read(**changes: Any) -> tuple[dict[str, Any], list[str]]:
    apps, problems = normalise_apps([{**SHOP, **changes}], "web1")
    return apps[0], [problem.text for problem in problems]


def test_without_a_word_nothing_is_sent_and_nothing_is_new_in_the_normalised_form() -> None:
    app, problems = read()
    assert problems == []
    assert not {"host", "scheme"} & set(app)
    assert "headers" not in app["health"]
    assert [path["headers"] for path in app["load"]["paths"]] == [{}, {"host": "buy.example.com"}]
    assert App.from_dict(app).to_dict() == app


def test_every_request_carries_the_host_and_what_a_proxy_adds() -> None:
    app, problems = read(
        host="shop.example.com:8443", scheme="https", health={"path": "/healthz", "headers": {"X-Key": 7}}
    )
    assert problems == []
    sent = {"Host": "shop.example.com:8443", "X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https"}
    assert app["health"]["headers"] == {**sent, "X-Key": "7"}
    assert app["load"]["paths"][0]["headers"] == sent
    # What a path says itself goes first, however it is spelt.
    assert app["load"]["paths"][1]["headers"] == {
        "host": "buy.example.com",
        "X-Forwarded-For": CLIENT,
        "X-Forwarded-Proto": "https",
    }
    assert App.from_dict(app).to_dict() == app


@pytest.mark.parametrize("host", ["shop", "shop.example.com", "shop.example.com:8443", "10.0.0.1:80", "[::1]:80"])
def test_hosts(host: str) -> None:
    assert read(host=host)[1] == []


@pytest.mark.parametrize(
    ("host", "fix"),
    [
        ("https://shop.example.com/basket", "fix: host: shop.example.com"),
        ("shop.example.com/", "fix: host: shop.example.com"),
        ("shop example", ""),
        ("shop\r\nX: y", ""),
        ("-shop", ""),
    ],
)
def test_what_is_no_host(host: str, fix: str) -> None:
    (problem,) = read(host=host)[1]
    assert problem.startswith("headcount_apps[0].host is")
    assert fix in problem


def test_paths_are_those_that_users_ask_for_below_a_prefix() -> None:
    _, problems = read(environment={"SCRIPT_NAME": "/shop/"})
    assert problems == [
        f"headcount_apps[0].{place} is {path!r}, but environment.SCRIPT_NAME is '/shop', and Gunicorn answers 500 to "
        f"what is not below it: allowed is a path as users ask for it; fix: path: /shop{path}"
        for place, path in (("health.path", "/healthz"), ("load.paths[0].path", "/"), ("load.paths[1].path", "/buy"))
    ]
    below = {"health": "/shop/healthz", "load": {"paths": ["/shop", "/shop/?page=2"]}}
    assert read(environment={"SCRIPT_NAME": "/shop"}, **below)[1] == []
    assert len(read(environment={"SCRIPT_NAME": "/shop"}, **{**below, "health": "/shopping"})[1]) == 1
    own = {"gunicorn": {"raw_env": ["SCRIPT_NAME=/shop"]}}
    assert "but gunicorn.raw_env.SCRIPT_NAME is '/shop'" in read(**own)[1][0]


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"scheme": "https"}, True),
        ({"scheme": "http"}, False),
        ({}, False),
        ({"scheme": "https", "listen": "127.0.0.1:8000"}, False),
        ({"scheme": "https", "listen": "unix:/run/shop.sock"}, False),
        ({"scheme": "https", "gunicorn": {"forwarded_allow_ips": "10.0.0.5"}}, False),
    ],
)
def test_a_proxy_on_another_machine_has_to_be_named(declared: dict[str, Any], told: bool) -> None:
    warnings = warnings_for(App.from_dict(read(**declared)[0]))
    assert any("name its address in gunicorn.forwarded_allow_ips" in warning for warning in warnings) is told
