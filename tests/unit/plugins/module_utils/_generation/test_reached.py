# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A proxy that does not reach the app's unix socket is told: before anything is laid down, and on the socket itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import reached
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.asuser import Account

WWW = Account("www-data", 33, 33, (33,))
APP: dict[str, Any] = {
    "listen": "unix:/srv/shop/shop.sock",
    "health": {"path": "/healthz", "headers": {"Host": "shop"}},
}
PROXIED = {**APP, "listen_group": "www-data"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Who asked for what; everybody is shut out."""
    found: list[tuple[str, str, str]] = []

    def shut_out(path: str, accounts: Sequence[Account], request: str) -> str:
        found.append((path, accounts[0].name, request))
        return f"{accounts[0].name} cannot connect to {path} (x): /srv/shop has mode 0700"

    def members(group: str) -> list[Account]:
        return {"www-data": [WWW]}[group]

    monkeypatch.setattr(reached, "shut_out", shut_out)
    monkeypatch.setattr(reached, "members", members)
    return found


def test_a_folder_that_the_group_cannot_pass_is_told_before_anything_is_laid_down(asked: list[Any]) -> None:
    with pytest.raises(
        StepFailed, match=r"^www-data cannot connect to /srv/shop \(x\): /srv/shop has mode 0700: let it pass"
    ):
        reached.fail_if_no_way(PROXIED)
    assert asked == [("/srv/shop/.headcount-is-this-folder-passed", "www-data", "")]


def test_a_group_that_is_not_there_is_told(asked: list[Any]) -> None:
    with pytest.raises(StepFailed, match="there is no group nginx on this host"):
        reached.fail_if_no_way({**APP, "listen_group": "nginx"})


def test_the_socket_is_asked_as_the_group_and_with_the_headers_of_users(asked: list[Any]) -> None:
    with pytest.raises(StepFailed, match="the proxy in front does not reach the app: www-data cannot connect"):
        reached.public_socket_refuses(PROXIED)
    path, name, request = asked[0]
    assert (path, name) == ("/srv/shop/shop.sock", "www-data")
    assert request.startswith("GET /healthz HTTP/1.1\r\n")
    assert "\r\nHost: shop\r\n" in request
    assert request.endswith("\r\n\r\n")


def test_without_a_group_it_is_only_said(asked: list[Any]) -> None:
    said = reached.public_socket_refuses(APP)
    assert said.startswith("an account of its own cannot connect to /srv/shop/shop.sock")
    assert said.endswith("or say its group with listen_group")
    reached.fail_if_no_way(APP)


@pytest.mark.parametrize("app", [{**APP, "listen": "0.0.0.0:8000"}, {**APP, "listen_mode": "0600"}, {}])
def test_where_there_is_nothing_to_reach_nobody_is_asked(app: dict[str, Any], asked: list[Any]) -> None:
    assert reached.public_socket_refuses(app) == ""
    reached.fail_if_no_way(app)
    assert asked == []
