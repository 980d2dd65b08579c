# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The services that an app calls: those that it called here, those whose libraries it has and whose place its variables
say, and those whose place is written into its code. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

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
    _written(draft, known)


def _written(draft: Draft, known: Sequence[str]) -> None:
    """Ask which of a service a host has, where the code itself says where one is; `known`: what was asked about."""
    hosts = {peer.rpartition(":")[0] or peer for peer in known}
    for service in dict.fromkeys(service for service, _, _ in draft.hints.addresses):
        found = [item for item in draft.hints.addresses if item[0] == service and _host(item[1]) not in hosts]
        shown = [f"{at} ({place})" for _, at, place in found]
        if shown:
            draft.ask(
                f"which {service} is it to use on a host? The code itself says where one is: {listed(shown, 3)}. One "
                "on the host is that host's alone, and every generation of the app shares it; what the code reads as "
                f'os.environ["{_VARIABLES[service]}"] is set under environment, or under secrets where a password is '
                "in it"
            )


_VARIABLES: Final = {"Redis": "REDIS_URL", "RabbitMQ": "AMQP_URL"}


def _host(address: str) -> str:
    """The host of an address, or of a URL."""
    return (urlsplit(address).hostname or "localhost") if "://" in address else address


def _is_place(service: str, name: str) -> bool:
    pattern = _PLACES.get(service)
    return bool(pattern and re.search(rf"(^|_)({pattern})_(\w+_)?{_PLACE}$", name))


def _shown(item: Variable) -> str:
    return f"{item.name} ({item.default})" if item.default else item.name
