# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Commands that prepare a release: which of them a host has to run, and who runs what the whole fleet needs once.

Nothing here asks a host. The claims of a run are kept in its notes:

    prepare/APP.json          what is known of each command that one host runs for all
    prepare/APP.lock          held by the host whose turn it is; the others wait for it
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...module_utils._declaration.app import App
from ...module_utils._declaration.digests import prepare_key
from .._edge import Json

BEGUN, DONE = "begun", "done"
LOST = "the connection to it was lost meanwhile"


@dataclass(frozen=True)
class Todo:
    """A command that is to be run before a candidate starts: as declared, and the `key` that it is known by."""

    run: str
    key: str
    each_host: bool
    seconds: float
    creates: str = ""

    @property
    def for_generation(self) -> bool:
        """Whether what it makes is a generation's own (data.built), so that each one needs it."""
        return bool(self.creates) and not self.creates.startswith("/")

    @classmethod
    def from_dict(cls, data: Json) -> Todo:
        """The inverse of to_dict()."""
        return cls(**data)

    def to_dict(self) -> dict[str, object]:
        """Plain data for the notes of the run."""
        return asdict(self)

    def __str__(self) -> str:
        where = "here" if self.each_host else "once for the fleet"
        if self.for_generation:
            return f"`{self.run}` {where}, for each generation"
        return f"`{self.run}` {where}{f', unless {self.creates} is there' if self.creates else ''}"


def to_run(app: App, source_id: str, secrets: str, here: Collection[str], anywhere: Collection[str]) -> list[Todo]:
    """The commands of `app` that a new generation waits for on a host.

    `here`: keys of those that this host has run, `anywhere`: of those that any host of the run has. `secrets`: digest.
    """
    all_of_them = [
        Todo(one.run, prepare_key(app, one.run, source_id, secrets), one.each_host, one.seconds, one.creates)
        for one in app.prepare
    ]
    return [one for one in all_of_them if one.for_generation or one.key not in (here if one.each_host else anywhere)]


def prepared_anywhere(probes: Sequence[Mapping[str, Json]]) -> dict[str, set[str]]:
    """{app: keys of the commands that any host has run}, from the apps that the probes have found."""
    found: dict[str, set[str]] = {}
    for apps in probes:
        for name, state in apps.items():
            found.setdefault(str(name), set()).update(map(str, state.get("prepared") or ()))
    return found


class Claims:
    """Who runs the commands of app `name` that one host runs for all, in the run whose notes are in `notes`."""

    def __init__(self, notes: Path, name: str) -> None:
        self.name = name
        self.file = notes / "prepare" / f"{name}.json"
        self.lock = notes / "prepare" / f"{name}.lock"

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other host of the run is at it. The kernel gives the turn on when its holder dies."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        with open(self.lock, "w", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def failure(self, todo: Sequence[Todo]) -> str:
        """Why no other host may go on: a command failed for the whole fleet, or nobody knows. Empty where none did."""
        known = self._read()
        for one in todo:
            claim = known.get(one.key) or {}
            if claim and claim["state"] != DONE:
                why = claim["cause"] or f"`{one.run}` was begun, and nothing is known of its end"
                return f"{why} (on {claim['host']}, which ran it for the whole fleet)"
        return ""

    def left(self, todo: Sequence[Todo]) -> list[Todo]:
        """Those of `todo` that were not run for the fleet in this run."""
        known = self._read()
        return [one for one in todo if one.each_host or (known.get(one.key) or {}).get("state") != DONE]

    def done_by(self, host: str) -> bool:
        """Whether `host` has run any of the app's for the fleet in this run, and well."""
        return any(claim["host"] == host and claim["state"] == DONE for claim in self._read().values())

    def begin(self, commands: Sequence[Todo], host: str) -> None:
        """Note that `host` runs them now."""
        self._note(commands, {"state": BEGUN, "host": host, "cause": ""})

    def end(self, commands: Sequence[Todo], host: str, cause: str) -> None:
        """Note how they ended; `cause` is empty where they ended well."""
        self._note(commands, {"state": BEGUN if cause else DONE, "host": host, "cause": cause})

    def _note(self, commands: Sequence[Todo], claim: Mapping[str, str]) -> None:
        text = json.dumps({**self._read(), **{one.key: claim for one in commands}}, indent=1)
        self.file.write_text(text, encoding="utf-8")

    def _read(self) -> dict[str, Json]:
        try:
            found = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return dict(found)
