# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A format of the access log that Gunicorn cannot fill in is refused with the place."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.accesslog import access_log_format
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.fields import Invalid
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps


@pytest.mark.parametrize(
    "text",
    [
        '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "%(m)s %(U)s %(q)s %(H)s %(B)s %(T)s %(D)s %(M)s %(L)s %(p)s",
        "%({x-forwarded-for}i)s %({Server-Timing}o)s %({wsgi.url_scheme}e)s",
        "%(M)d ms %(T)05.2f %(D)x %(B)8d %(h)-15s %(U)r 100 %%",
        "no atom at all",
        '{"path": "%(U)s"}',
    ],
)
def test_each_atom_of_gunicorns_is_taken(text: str) -> None:
    assert access_log_format(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("%(zz)s %(h)s", "'%(zz)s': Gunicorn has no atom 'zz'"),
        ("%(zz)s %(h", "'%(zz)s': Gunicorn has no atom 'zz'"),
        ("%(h)s %(h", "'%(h' is no atom that Python's % can fill in"),
        ("%(h) %(r)s", "'%(h) %(r)s' is no atom"),
        ("100 %", "'%' is no atom"),
        ("%(h)y", "'%(h)y' is no atom"),
        ("%s", "'%s' names no atom, so that the whole request would be put there"),
        ("%(r)d", "'%(r)d': the atom 'r' is no number"),
        ("%({}i)s", "Gunicorn has no atom '{}i'"),
        ("%({x}z)s", "Gunicorn has no atom '{x}z'"),
    ],
)
def test_what_it_cannot_fill_in_is_named(text: str, why: str) -> None:
    with pytest.raises(Invalid) as refused:
        access_log_format(text)
    assert why in str(refused.value)


def test_apaches_words_are_told_in_gunicorns() -> None:
    with pytest.raises(Invalid) as refused:
        access_log_format('%h "%r" %>s "%{Referer}i"')
    assert refused.value.fix == '%(h)s "%(r)s" %(s)s "%({referer}i)s"'


def problems(**gunicorn: Any) -> list[str]:
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "a:b", "listen": "0.0.0.0:1"}
    return [problem.text for problem in normalise_apps([{**app, "gunicorn": gunicorn}], "web1")[1]]


def test_the_problem_names_the_place_and_a_logger_of_the_apps_own_may_have_others() -> None:
    assert problems(access_log_format="%(zz)s") == [
        "headcount_apps[0].gunicorn.access_log_format is '%(zz)s' ('%(zz)s': Gunicorn has no atom 'zz'): allowed is "
        "text with atoms of Gunicorn's (%(h)s, %(M)d, %({user-agent}i)s and the like), and %% for a %; fix: "
        'access_log_format: "%(h)s \\"%(r)s\\" %(s)s %(b)s %(M)s ms"'
    ]
    assert problems(access_log_format="%(zz)s", logger_class="shop.logs.Logger") == []
