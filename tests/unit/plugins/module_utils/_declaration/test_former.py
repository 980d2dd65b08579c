# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which service an app's address is taken over from."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.digests import public_digest
from test_listening import read


@pytest.mark.parametrize("unit", ["gunicorn.service", "shop@blue.service", "my_app-2.0.service"])
def test_a_service(unit: str) -> None:
    app, problems = read(former=unit)
    assert (app["former"], problems) == (unit, [])


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("gunicorn", "fix: former: gunicorn.service"),
        ("gunicorn.socket", "not the name of a service"),
        ("../../etc/passwd.service", "not the name of a service"),
        ("a b.service", "not the name of a service"),
        ("-H.service", "not the name of a service"),
        ("--user@x.service", "not the name of a service"),
    ],
)
def test_what_is_none(unit: str, words: str) -> None:
    (problem,) = read(former=unit)[1]
    assert words in problem


def test_it_asks_for_no_other_generation() -> None:
    with_it, without = read(former="gunicorn.service")[0], read()[0]
    assert "former" not in without
    assert public_digest(App.from_dict(with_it)) == public_digest(App.from_dict(without))
