# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Databases that an app has among its data, by the variables that it is given. Pure."""

from __future__ import annotations

import re
from typing import Final

from .app import Data
from .data import SQLITE, below, places
from .fields import Parsed

_FILE: Final = re.compile(r"(?i)\.(db3?|sqlite3?)$")
_DATABASE: Final = re.compile(r"(?i)(^|_)(database|db|sqlite)(_|$)")


def keeps_database(app: Parsed) -> bool:
    """Whether an app, whose folders are in their places, uses a SQLite database among its data: one that each host has
    for itself."""
    data = places(app["name"], Data.from_dict(app.get("data") or {}))["data"]
    said = (item for section in ("environment", "secrets") for item in app[section].items())
    return any(below(path, (data,)) for path in (_database(name, value) for name, value in said) if path is not None)


def _database(name: str, value: str) -> str | None:
    """The absolute path of the SQLite database that a variable names, by its address or as a plain path."""
    address = SQLITE.match(value)
    if address is not None:
        return address["path"]
    return value if value.startswith("/") and (_FILE.search(value) or _DATABASE.search(name)) else None
