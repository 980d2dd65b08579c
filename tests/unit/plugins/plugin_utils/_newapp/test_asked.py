# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""By which name an app is asked, and what is heard of what it answers itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.inside.settings import host_of
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.inside.tables import heard, made_by


class Signal:
    """One that knows who listens; without blinker nobody may."""

    def __init__(self, blinker: bool = True) -> None:
        self.blinker = blinker
        self.heard: list[Callable[..., None]] = []

    def connect(self, note: Callable[..., None], weak: bool) -> None:
        if not self.blinker:
            raise RuntimeError("Signalling support is unavailable because the blinker library is not installed.")
        self.heard.append(note)

    def disconnect(self, note: Callable[..., None]) -> None:
        self.heard.remove(note)


def module(monkeypatch: pytest.MonkeyPatch, name: str, **has: Any) -> None:
    made = ModuleType(name)
    vars(made).update(has)
    monkeypatch.setitem(sys.modules, name, made)


def test_a_flask_app_tells_what_it_failed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    signal, error = Signal(), ValueError("no such page")
    module(monkeypatch, "flask", got_request_exception=signal)
    with heard(SimpleNamespace(url_map=[])) as found:
        signal.heard[0]("app", exception=error)
        assert found == [error]
    assert signal.heard == []


def test_one_without_blinker_is_asked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, "flask", got_request_exception=Signal(blinker=False))
    with heard(SimpleNamespace(url_map=[])) as found:
        assert found == []


def test_a_django_project_tells_too(monkeypatch: pytest.MonkeyPatch) -> None:
    signal, error = Signal(), ValueError("Missing staticfiles manifest entry")
    module(monkeypatch, "django.core.signals", got_request_exception=signal)
    with heard(SimpleNamespace()) as found:
        try:
            raise error
        except ValueError:
            signal.heard[0](sender=None, request=None)
        assert found == [error]
    assert signal.heard == []


def test_any_other_app_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "django.core.signals", raising=False)
    with heard(SimpleNamespace()) as found:
        assert found == []


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ([], "localhost"),
        (None, "localhost"),
        (["*"], "localhost"),
        (["localhost", "shop.example.com"], "localhost"),
        ([".example.com"], "example.com"),
        (["127.0.0.1", "shop.example.com", "www.example.com"], "shop.example.com"),
        (["127.0.0.1", "[::1]"], "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("kind", ["django", "flask"])
def test_the_name_that_an_app_may_be_asked_by(
    monkeypatch: pytest.MonkeyPatch, kind: str, allowed: list[str] | None, host: str
) -> None:
    module(monkeypatch, "django.conf", settings=SimpleNamespace(ALLOWED_HOSTS=allowed))
    assert host_of(SimpleNamespace(config={"TRUSTED_HOSTS": allowed}), kind) == host


SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}


@pytest.mark.parametrize(
    ("databases", "error", "made"),
    [
        ({"default": SQLITE}, "OperationalError: no such table: shop_item", True),
        ({"default": SQLITE}, "ValueError: no such item", False),
        ({"default": SQLITE, "log": {"ENGINE": "django.db.backends.postgresql"}}, "no such table: shop_item", False),
        ({"default": {"ENGINE": "django.db.backends.mysql"}}, "Table 'shop_item' doesn't exist", False),
    ],
)
def test_django_makes_its_tables_where_they_are_files_and_pages_lack_them(
    monkeypatch: pytest.MonkeyPatch, databases: dict[str, dict[str, str]], error: str, made: bool
) -> None:
    called: list[tuple[str, dict[str, object]]] = []
    module(monkeypatch, "django.conf", settings=SimpleNamespace(DATABASES=databases))
    module(monkeypatch, "django.core.management", call_command=lambda name, **how: called.append((name, how)))
    assert made_by(SimpleNamespace(), "django", [error]) == ("django-admin migrate --noinput" if made else "")
    assert called == ([("migrate", {"interactive": False, "verbosity": 0})] if made else [])
