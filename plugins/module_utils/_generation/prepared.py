# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which commands have prepared the app on this host, and which of them was begun and did not end."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Callable, TypedDict

from .._os.files import as_mapping, read_mapping, remove_file, write_json
from .._os.paths import Layout
from .ledger import now_text

KEPT = 200
"""So many commands are remembered, the newest."""


class Begun(TypedDict):
    """A command that was begun: what, since when, and in which run."""

    run: str
    since: str
    by: str


class Prepared:
    """What is remembered on this host of an app's commands, by their keys (digests.prepare_key); root only."""

    def __init__(self, layout: Layout, clock: Callable[[], float] = time.time) -> None:
        self.layout = layout
        self.clock = clock

    def keys(self) -> list[str]:
        """Keys of the commands that were run to their end, and well."""
        return [str(one["key"]) for one in self._done()]

    def begun(self) -> dict[str, Begun]:
        """Commands that were begun and of whose end nothing is known, by key."""
        return dict(as_mapping(self._read().get("begun")))

    def begin(self, key: str, run: str, by: str) -> None:
        """Remember that the command is about to be run."""
        self._write({**self.begun(), key: {"run": run, "since": now_text(self.clock), "by": by}}, self._done())

    def end(self, key: str, well: bool) -> None:
        """Remember that the command has ended."""
        begun, done = self.begun(), self._done()
        command = as_mapping(begun.pop(key, None))
        if well:
            done = [one for one in done if one["key"] != key]
            done.append({"key": key, "run": command.get("run"), "at": now_text(self.clock)})
        self._write(begun, done)

    def settle(self, keys: Collection[str]) -> None:
        """None is under way any more: those that were begun are forgotten, but for `keys`, which are run again."""
        begun = self.begun()
        if set(begun) - set(keys):
            self._write({key: one for key, one in begun.items() if key in keys}, self._done())

    def forget(self) -> None:
        """The app leaves the host: the next one that comes is prepared anew."""
        remove_file(self.layout.prepared)

    def _done(self) -> list[dict[str, object]]:
        found = self._read().get("done")
        return [one for one in found if isinstance(one, dict) and "key" in one] if isinstance(found, list) else []

    def _read(self) -> dict[str, object]:
        return read_mapping(self.layout.prepared)

    def _write(self, begun: object, done: list[dict[str, object]]) -> None:
        write_json(self.layout.prepared, {"begun": begun, "done": done[-KEPT:]}, 0o600)
