# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which settings of an app a compose file gives to its containers. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from .django import VARIABLE, is_aside

_ELSEWHERE: Final = re.compile(r"://|\$|@")
CREDENTIAL: Final = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY|PRIVATE_KEY|ACCESS_KEY|DSN|CREDENTIAL|_KEY$")
"""The name of a variable whose value is known to few."""
_CHOICE: Final = re.compile(r"SETTINGS|CONFIG|FLASK_APP|FLASK_ENV")
"""The name of a variable that says which of its configurations an app has."""
_FOR_WORK: Final = re.compile(r"(^|[._-])(dev|devel|development|test|tests|testing|local|override|debug|ci)\.")


def is_for_work(origin: str) -> bool:
    """Whether a compose file is for the work on a project, or for its tests, by its name."""
    return bool(_FOR_WORK.search(posixpath.basename(origin)))


def builds_project(origin: str, service: Mapping[str, object]) -> bool:
    """Whether a service is made from the project's own folder."""
    build = service.get("build")
    folder = str(build.get("context") or ".") if isinstance(build, dict) else str(build or "")
    return bool(folder) and posixpath.normpath(posixpath.join(posixpath.dirname(origin), folder)) == "."


def settings(service: Mapping[str, object], services: Collection[str]) -> Iterator[tuple[str, str]]:
    """The variables of a service that say the same on a host: no credential, and nothing that is a place in the network
    of its `services`. Where it has one of these, only what chooses a configuration: a switch for what is at that place
    (USE_ES) is wrong without it."""
    given = _given(service)
    elsewhere = {
        name
        for name, text in given.items()
        if text.partition(":")[0] in services or _ELSEWHERE.search(text) or CREDENTIAL.search(name)
    }
    for name, text in given.items():
        for_work = name == VARIABLE and is_aside(text)
        if name not in elsewhere and not for_work and (not elsewhere or _CHOICE.search(name)):
            yield name, text


def _given(service: Mapping[str, object]) -> dict[str, str]:
    """The variables of a service that have a value."""
    given = service.get("environment")
    pairs = given.items() if isinstance(given, dict) else [str(item).partition("=")[::2] for item in _listed(given)]
    said = {str(name): value for name, value in pairs if value is not None and not isinstance(value, bool)}
    return {name: str(value).strip() for name, value in said.items() if str(value).strip()}


def _listed(given: object) -> list[object]:
    return given if isinstance(given, list) else []
