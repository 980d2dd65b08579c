# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether pages fail for want of a table, and the command of the app's own that makes it."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

LACKS_TABLE = re.compile(
    r"no such table|relation \"[^\"]+\" does not exist|\b[Tt]able '[^']+' doesn't exist|UndefinedTable"
)
MAKES = re.compile(
    r"(init|create|make|set[-_]?up)[-_]?(the[-_])?(db|database|tables?|schema)|(db|database)[-_](init|create|set[-_]?up)",
    re.IGNORECASE,
)
"""How a command is called that makes the tables of an app."""


@contextmanager
def heard(app: Any) -> Iterator[list[BaseException]]:
    """What requests of a Flask or Django app fail with, which it answers itself; empty where it does not tell (Flask
    before 2.3 does only where blinker is installed)."""
    found: list[BaseException] = []

    def note(*_: object, exception: BaseException | None = None, **__: object) -> None:
        error = exception or sys.exc_info()[1]  # Django sends it without
        if error is not None:
            found.append(error)

    module = "flask" if hasattr(app, "url_map") else "django.core.signals"
    signal = getattr(sys.modules.get(module), "got_request_exception", None)
    try:
        if signal is not None:
            signal.connect(note, weak=False)
    except RuntimeError:
        signal = None
    try:
        yield found
    finally:
        if signal is not None:
            signal.disconnect(note)


def words_of(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def commands_of(app: Any) -> list[str]:
    """The commands of a Flask app's own that may make its tables: by their names, and without an argument."""
    known = getattr(getattr(app, "cli", None), "commands", None)
    if not isinstance(known, Mapping):
        return []
    return [
        name
        for name, command in known.items()
        if MAKES.fullmatch(str(name))
        and not hasattr(command, "commands")
        and not any(getattr(item, "required", False) for item in getattr(command, "params", ()))
    ]


MIGRATE = "django-admin migrate --noinput"


def made_by(app: Any, kind: str, errors: Sequence[str]) -> str:
    """The command that made the tables which pages lack by their `errors`; "" where none did, or none is lacking."""
    if not any(LACKS_TABLE.search(error) for error in errors):
        return ""
    if kind == "django":
        return migrated()
    for name in commands_of(app):
        with app.app_context():  # as the program flask has it
            if app.test_cli_runner().invoke(args=[name]).exit_code == 0:
                return name
    return ""


def migrated() -> str:
    """Django's own command, where all of its databases are files: a server's is none of this place."""
    settings: Any = importlib.import_module("django.conf").settings
    if not all(str(item.get("ENGINE", "")).endswith("sqlite3") for item in settings.DATABASES.values()):
        return ""
    importlib.import_module("django.core.management").call_command("migrate", interactive=False, verbosity=0)
    return MIGRATE


def databases_in(written: Mapping[str, str]) -> list[str]:
    """The SQLite files among what was written that hold something."""
    files = [path for path, kind in written.items() if kind == "sqlite" and os.path.isfile(path)]
    return [path for path in files if os.stat(path).st_size]
