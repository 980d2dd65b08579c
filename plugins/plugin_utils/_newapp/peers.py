# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The services that an app calls: those that it called here, and those whose libraries it has and whose place its
variables say. Pure."""

from __future__ import annotations

import re
from typing import Final

from .._display.text import listed
from .draft import Draft, mapping
from .types import Imported, Variable

_DRIVERS: Final = {
    "psycopg2": "PostgreSQL",
    "psycopg": "PostgreSQL",
    "asyncpg": "PostgreSQL",
    "pg8000": "PostgreSQL",
    "pymysql": "MySQL",
    "MySQLdb": "MySQL",
    "mysql": "MySQL",
    "pymongo": "MongoDB",
    "redis": "Redis",
    "requests": "other services (requests)",
    "httpx": "other services (httpx)",
    "boto3": "AWS (boto3)",
    "elasticsearch": "Elasticsearch",
    "pymemcache": "memcached",
}
_DATABASE: Final = r"DATABASE|DB|SQL\w*"
_PLACES: Final = {
    "PostgreSQL": rf"POSTGRES\w*|PG|{_DATABASE}",
    "MySQL": rf"MYSQL\w*|MARIADB|{_DATABASE}",
    "MongoDB": rf"MONGO\w*|{_DATABASE}",
    "Redis": r"REDIS",
    "Elasticsearch": r"ELASTIC\w*|ES",
    "memcached": r"MEMCACHED?",
}
"""How the variables begin, or go on, that say where a service is."""
_PLACE: Final = r"(URL|URI|DSN|HOST|HOSTS|HOSTNAME|SERVERS?|ADDRESS)"


def called(app: Imported) -> list[str]:
    """The peers that it called, but for what is the machine's."""
    return [peer for peer in app.peers if not peer.startswith(("/dev/", "localhost:80", "/run/systemd"))]


def drivers(app: Imported) -> list[str]:
    """The services whose libraries it has imported."""
    return list(dict.fromkeys(name for lib, name in _DRIVERS.items() if lib in app.libraries))


def ask(draft: Draft, app: Imported) -> None:
    """Ask whether a host reaches what it called here, and where the services are that it would have called later."""
    known = called(app)
    if known:
        draft.ask(f"it called {listed(known, 4)} here, where nothing was to be reached: can the host reach it?")
    said = " ".join(question.text for question in draft.questions)
    given = {name for key in ("environment", "secrets") for name in mapping(draft.entry.get(key))}
    for service in drivers(app):
        named = [item for item in app.variables if _is_place(service, item.name)]
        if not named or any(item.name in {*given, *app.required} or item.name in said for item in named):
            continue
        draft.ask(
            f"where is its {service}? It has called none here, and imports the library for it: "
            f"{listed([_shown(item) for item in named], 4)} says where, under environment, or under secrets where "
            "a password is in it; and can the host reach it?"
        )


def _is_place(service: str, name: str) -> bool:
    pattern = _PLACES.get(service)
    return bool(pattern and re.search(rf"(^|_)({pattern})_(\w+_)?{_PLACE}$", name))


def _shown(item: Variable) -> str:
    return f"{item.name} ({item.default})" if item.default else item.name
