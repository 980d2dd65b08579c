# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Sources and wheels of a whole run: each source is identified once, each platform's wheels are gathered once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Callable

from ...module_utils._release import asynccompat
from .._edge import Json
from .._wheels import sources
from .._wheels.gathered import Platform, WheelSet
from .._wheels.tools import WheelhouseError
from .declared import located_source

SILENT_SECONDS = 1.0
"""What takes longer is told."""

AT_ONCE = 4
"""Platforms that are resolved at the same time: pip and uv wait for the network most of the time."""


@dataclass(frozen=True)
class Wanted:
    """Wheels that a host needs: of which source, for which platform, with which packages of the server."""

    source: str
    platform: Platform
    packages: tuple[str, ...]

    def __str__(self) -> str:
        return f"Python {self.platform.minor} on {self.platform.machine} ({self.platform.libc})"

    @property
    def key(self) -> str:
        """The same in one short word."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:32]


def source_key(source: Json) -> str:
    """One word for a located source."""
    return json.dumps(source, sort_keys=True)


@dataclass
class Gathering:
    """Everything that a run has gathered. `display` is told what is being done when it takes a while, and again each
    `every_seconds`.

    `notes`: what a person should know of the sources, each sentence once, in order.
    """

    cache: Path
    display: Callable[[str], None] = print
    every_seconds: float = 30.0
    _ids: dict[str, str | WheelhouseError] = field(default_factory=dict)
    _sets: dict[Wanted, WheelSet | WheelhouseError] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    _locked: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    def locate(self, app: Json, folders: list[str]) -> Json:
        """The source of an app with the controller's own paths."""
        return located_source(app["source"], folders)

    def identity(self, source: Json) -> str:
        """The content of a located source in one word. Raises WheelhouseError."""
        key = source_key(source)
        if key not in self._ids:
            try:
                found = sources.identity(sources.Source.of(source), Path("/"))
                self._ids[key] = found.text
                self.notes.update(dict.fromkeys(found.notes))
            except WheelhouseError as error:
                self._ids[key] = error
        known = self._ids[key]
        if isinstance(known, WheelhouseError):
            raise known
        return known

    def gather(self, wanted: Iterable[tuple[str, Wanted]]) -> None:
        """Gather all that is wanted and not there yet, several platforms at once; failures are told by wheels()."""
        todo = {item: name for name, item in wanted if item not in self._sets}
        if not todo:
            return
        from .._display.reminder import Reminder
        from .._wheels.progress import told_to
        from .._wheels.wheelhouse import gather

        def one(item: Wanted) -> WheelSet | WheelhouseError:
            def doing(text: str) -> None:
                reminder.step(item.key, f"{todo[item]}: {text}, for {item}")

            try:
                with told_to(doing):
                    return gather(json.loads(item.source), item.platform, list(item.packages), self.cache, "/")
            except WheelhouseError as error:
                return error
            finally:
                reminder.step(item.key, "")

        reminder = Reminder(self.display, self.every_seconds)
        words = [f"{name}: gathering wheels for {item}" for item, name in todo.items()]
        # What was gathered before is there at once: nothing is worth saying.
        timer = Timer(SILENT_SECONDS, lambda: self.display("\n".join(words)))
        timer.start()
        try:
            with reminder, ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
                self._sets.update(zip(todo, pool.map(one, todo)))
        finally:
            timer.cancel()

    def put(self, wanted: Wanted, found: WheelSet) -> None:
        """Take as gathered what this run gathered before."""
        self._sets[wanted] = found

    def wheels(self, wanted: Wanted) -> WheelSet:
        """What was gathered. Raises the WheelhouseError that it ended with."""
        found = self._sets[wanted]
        if isinstance(found, WheelhouseError):
            raise found
        return found

    def notes_of(self, wanted: Wanted) -> tuple[str, ...]:
        """What is told of a set that was gathered."""
        found = self._sets.get(wanted)
        return found.notes if isinstance(found, WheelSet) else ()

    def locked(self, source: Json, platform: Platform) -> dict[str, str]:
        """Name and version of what the source's own lock names for `platform`; empty without a lock, or a bad one."""
        key = (source_key(source), platform.key)
        if key not in self._locked:
            self._locked[key] = _locked(source, platform)
        return self._locked[key]


def _locked(source: Json, platform: Platform) -> dict[str, str]:
    parsed = sources.Source.of(source)
    try:
        pins = sources.pins_of(parsed, platform.markers())
    except (WheelhouseError, OSError):
        return {}
    return {pin.name: pin.version for pin in pins}


def verdicts(app: Json, installed: Mapping[str, str]) -> dict[str, str]:
    """Which worker classes the libraries of a release rule out, and why."""
    return asynccompat.verdicts(installed, app["async_libraries"]) if installed else {}


def form_words(found: WheelSet) -> str:
    """What a project is released as, and why, and where the versions and commits are that it leaves open; "" for a
    package of an index with all versions said."""
    kept = f"versions that it leaves open are kept in {found.kept}" if found.kept else ""
    if not found.commits:
        return "; ".join(filter(None, (found.form, kept)))
    from .._wheels import commits

    return "; ".join(filter(None, (found.form, kept, commits.words(found.commits_file, found.commits))))
