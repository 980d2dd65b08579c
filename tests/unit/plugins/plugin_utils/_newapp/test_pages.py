# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which pages say that an app is well, and which make the load of its trial."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.pages import choose, unknown_by_name
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Page


def pages(**statuses: int | None) -> list[Page]:
    """SLASH in a name stands for /."""
    return [Page("/" + name.replace("SLASH", "/").removeprefix("root"), status) for name, status in statuses.items()]


def test_its_own_health_page_is_taken_and_no_load() -> None:
    found = choose(pages(root=200, products=200, healthz=200))
    assert (found.health, found.load) == ("/healthz", ("/", "/products"))
    assert not found.questions


def test_pages_that_differ_make_the_load() -> None:
    found = choose(pages(root=200, authSLASHlogin=200, authSLASHregister=200, products=200, blog=200, metrics=200))
    assert found.load == ("/", "/blog", "/products", "/auth/login")


def test_a_slow_and_a_large_page_are_no_load() -> None:
    found = choose([Page("/", 200), Page("/report", 200, ms=9000.0), Page("/dump", 200, bytes=900_000)])
    assert found.load == ("/",)


def test_a_path_that_no_url_can_hold_is_not_proposed() -> None:
    assert choose([Page("/größe", 200), Page("/a b", 200), Page("/ok", 200)]).load == ("/ok",)


def test_what_failed_without_network_is_asked_about() -> None:
    found = choose([Page("/", 500, error="OperationalError: no database"), Page("/hello", 200), Page("/health", 503)])
    assert (found.health, found.load) == ("/hello", ("/hello",))
    assert ["/health" in text for text in found.questions] == [True, True]
    assert "OperationalError" in found.questions[1]


def test_an_api_that_asks_who_one_is_is_well() -> None:
    found = choose(pages(root=404, apiSLASHuser=401, login=302))
    assert (found.health, found.health_status, found.load_status) == ("/api/user", 401, (401,))
    assert "none answered 200 here" in found.questions[0]


def test_where_no_page_was_asked_for_none_stands_in() -> None:
    found = choose([])
    assert (found.health, found.health_status, found.nothing) == ("/", 200, True)
    assert "None was asked for here" in found.questions[0]


def test_a_page_that_does_not_know_the_name_it_is_asked_by_has_not_answered() -> None:
    asked = pages(root=400, loginSLASH=400)
    assert choose(asked).health_status == 400
    found = choose([unknown_by_name(page) for page in asked])
    assert (found.health_status, found.nothing) == (200, True)


def test_where_every_page_fails_nothing_is_known() -> None:
    found = choose(pages(root=500, users=None))
    assert found.nothing
    assert "All of 2 pages failed here" in found.questions[0]


@pytest.mark.parametrize("error", ["", "FileNotFoundError: 'wiki/homepage.md'", "KeyError: 'PAGES'"])
def test_a_page_that_fails_of_itself_is_asked_about_first(error: str) -> None:
    found = choose([Page("/", 200), Page("/list/", 500, error=error), Page("/far", 503)])
    assert f"what is lacking to 1 page? /list/ ({error or 500}) failed here" in found.broken
    assert ["/list/" in text for text in found.questions] == [False]
    assert choose([Page("/", 401), Page("/list/", 500, error=error)]).broken


@pytest.mark.parametrize(
    "error",
    [
        "OperationalError: no such table: page",
        "AttributeError: 'AnonymousUserMixin' object has no attribute 'name'",
        "ConnectionError: refused",
    ],
)
def test_a_page_that_fails_for_want_of_what_a_host_has_is_not(error: str) -> None:
    pages = [Page("/", 200), Page("/list/", 500, error=error)]
    found = choose(pages)
    assert not found.broken
    assert "/list/" in found.questions[0]
    assert not choose([Page("/", 200), Page("/list/", 500)], alone=False).broken
