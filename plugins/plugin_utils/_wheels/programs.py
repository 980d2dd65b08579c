# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Is there the program that Gunicorn is to be started by, in what was gathered? Told before a host is touched."""

from __future__ import annotations

import configparser
import difflib
import re
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from .._display.text import listed
from .._edge import Json
from .gathered import WheelSet

_SCRIPTS: Final = re.compile(r"[^/]+\.data/scripts/([^/]+)")
_ENTRY_POINTS: Final = re.compile(r"[^/]+\.dist-info/entry_points\.txt")
_OF_PYTHON: Final = re.compile(r"python[\d.]*|pip[\d.]*|activate.*")
"""What an environment has by itself."""


def problem_of(app: Json, found: WheelSet) -> str:
    """What is wrong with the `command_prefix` of a normalised app, in a sentence with the fix; "" where nothing is, or
    cannot be told: of a program of the host, or where a package is still to be built."""
    words = app.get("command_prefix") or ()
    word = str(words[0]) if words else ""
    if not word or word.startswith("/") or _OF_PYTHON.fullmatch(word) or found.needs_host_build:
        return ""
    there = _programs(found)
    if word in there:
        return ""
    near = difflib.get_close_matches(word, sorted(there), 3)
    fix = (
        f"did you mean {listed(near, 3)}?"
        if near
        else f"have the project require the package that brings it, or name a program of the host by its path "
        f"(/usr/bin/{word})"
    )
    return (
        f"command_prefix: {word} is a program of none of the packages that its release holds: allowed is one that they "
        f"bring, or an absolute path; fix: {fix}"
    )


@lru_cache(maxsize=256)
def _programs(found: WheelSet) -> frozenset[str]:
    """The programs that the wheels bring; what many hosts have alike is looked at once."""
    return frozenset(name for wheel in found.wheels for name in _brought(wheel.path))


def _brought(path: str) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            script = _SCRIPTS.fullmatch(name)
            if script:
                yield script[1]
            elif _ENTRY_POINTS.fullmatch(name):
                yield from _declared(archive.read(name).decode("utf-8", errors="replace"))


class _AsWritten(configparser.ConfigParser):
    """Names keep their case: that of a program counts."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _declared(text: str) -> Iterator[str]:
    """The programs of an entry_points.txt."""
    parser = _AsWritten(interpolation=None, strict=False, delimiters=("=",))
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for section in ("console_scripts", "gui_scripts"):
        if parser.has_section(section):
            yield from parser.options(section)
