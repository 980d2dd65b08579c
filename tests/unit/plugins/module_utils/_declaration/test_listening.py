# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who may reach the unix socket of an app."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.socketmode import mode_of

SHOP: dict[str, Any] = {
    "name": "shop",
    "source": {"path": "app"},
    "entry_point": "shop:app",
    "listen": "unix:/run/shop.sock",
}


def read(**changes: Any) -> tuple[dict[str, Any], list[str]]:
    apps, problems = normalise_apps([{**SHOP, **changes}], "web1")
    return apps[0], [problem.text for problem in problems]


@pytest.mark.parametrize(
    ("declared", "mode"),
    [
        ({}, "0666"),
        ({"listen_group": "www-data"}, "0660"),
        ({"listen_group": "www-data", "listen_mode": "0666"}, "0666"),
        ({"listen_mode": "0600"}, "0600"),
    ],
)
def test_modes(declared: dict[str, Any], mode: str) -> None:
    app, problems = read(**declared)
    assert problems == []
    assert mode_of(app) == mode


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ({"listen_mode": 432}, 'fix: listen_mode: "0660"'),  # 0660 without quotes
        ({"listen_mode": "0640"}, "allowed is one of 0600, 0660, 0666"),
        ({"listen_mode": "0660"}, "without listen_group, so that root alone could connect"),
        ({"listen_mode": "0600", "listen_group": "www-data"}, "beside listen_group 'www-data', which it shuts out"),
        ({"listen_group": "www data"}, "not the name of a group"),
        (
            {"listen_group": "www-data", "listen": "0.0.0.0:80"},
            "listen_group is 'www-data', but listen is '0.0.0.0:80'",
        ),
        ({"listen_mode": "0666", "listen": "0.0.0.0:80"}, "fix: remove it, or listen: unix:/run/shop.sock"),
    ],
)
def test_what_is_refused(declared: dict[str, Any], problem: str) -> None:
    (found,) = read(**declared)[1]
    assert problem in found
