# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a Gunicorn that runs has written, as the `data` of an entry, and in words. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Final

from ...module_utils._declaration.data import INSTANCE, inside
from ...module_utils._declaration.fields import Invalid
from ...module_utils._declaration.outside import may_be_outside
from ...module_utils._former.written import LINK, OPEN, OWNED, UNIT, VARIABLE
from .._display.text import listed, plural
from .._edge import Json
from .._newapp.draft import Question

_VOLATILE: Final = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run")
_LOG: Final = re.compile(r"(?i)(/var/log/.*|.+\.log)")
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
_BESIDE, _APART, _INSTANCE, _LOST, _LOGGED, _LINKED, _CLOSED, _OWNED = (
    *("beside", "apart", "instance", "lost", "log", "link", "closed", "owned"),
)
"""Where a thing lies: beside the code, where an app may be given it, in Flask's own folder, where it is lost with the
next boot, as a log, behind a link, where no app may keep anything, and in a folder of the service's account."""


@dataclass
class Data:
    """`paths` and `outside` for the entry, and what is asked."""

    paths: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def entry(self) -> dict[str, object]:
        """The entry's `data`; empty where nothing is to be declared."""
        found = {"paths": self.paths, "outside": self.outside}
        return {key: sorted(value) for key, value in found.items() if value}


def data_of(host: str, running: Json, app: str) -> Data:
    """What the app called `app`, which `host` runs (a dictionary of former_info), keeps."""
    return _Found(host, running, app).data()


class _Found:
    """What was found, by where it lies."""

    def __init__(self, host: str, running: Json, app: str) -> None:
        self.host, self.running, self.app = host, running, app
        self.kept: Json = running.get("kept") or {}
        owner = running.get("installed") or {}
        folder = str(running.get("code") or running.get("folder") or "")
        self.code = "" if owner and not owner.get("editable") else folder
        """Empty where the code is installed, and lies in no folder of its own."""
        self.by_kind: dict[str, list[Json]] = {}
        for one in self.kept.get("found") or ():
            self.by_kind.setdefault(self._kind(one), []).append(one)

    def data(self) -> Data:
        """What of it an entry can declare, and what is asked."""
        found = Data()
        self._beside(found)
        self._apart(found)
        for kind, words, must in (
            (
                _INSTANCE,
                f"Flask's own folder for data, which the app has in /var/lib/hc-{self.app}, empty: {_COPY}",
                True,
            ),
            (
                _LINKED,
                "no release has a link out of its code; declare where it leads (data.outside)",
                True,
            ),
            (
                _CLOSED,
                "a place that no app is given; give it a folder of its own, which the service uses too",
                True,
            ),
            (_LOST, "lost with the next generation or boot; may that be (data.scratch)?", False),
            (
                _LOGGED,
                "a log; what the app prints goes to the journal, a file of it needs data.logs and {logs}",
                False,
            ),
        ):
            things = self.by_kind.get(kind)
            if things:
                self._ask(found, f"data: {self._told(things)}: {words}", must)
        owned = self.by_kind.get(_OWNED)
        if owned:
            user = str(self.running.get("user") or "the service's account")
            words = f"may have data of it: name it where it has (data.outside: [{owned[0]['path']}])"
            self._ask(found, f"data: {self._told(owned)}, of {user}, {words}")
        self._rest(found)
        return found

    def _kind(self, one: Json) -> str:
        path = str(one["path"])
        if one.get("how") in (LINK, OWNED):
            return _LINKED if one["how"] == LINK else _OWNED
        if any(_below(path, place) for place in _VOLATILE):
            return _LOST
        own = bool(self.code) and path != self.code and _below(path, self.code)
        if re.search(r"/var/[^/]+-instance(/|$)", path) or (own and _below(path, f"{self.code}/{INSTANCE}")):
            return _INSTANCE
        if own and _is_path(os.path.relpath(path, self.code)):
            return _BESIDE
        return _LOGGED if _LOG.fullmatch(path) else self._kind_of_folder(_folder_of(one))

    def _kind_of_folder(self, folder: str) -> str:
        programs = [str(word) for word in self.running.get("program") or ()]
        holds_code = _below(self.code, folder) or any(_below(word, folder) for word in programs)
        return _APART if may_be_outside(folder) and not holds_code else _CLOSED

    def _beside(self, found: Data) -> None:
        things = self.by_kind.get(_BESIDE, [])
        for one in things:
            path = os.path.relpath(str(one["path"]), self.code)
            found.paths.append(f"{path}/" if one.get("folder") and "." in path else path)
        found.paths = _topmost(found.paths)
        if things:
            words = "beside its code, where a release has only what the project has; the app finds"
            place = f"in /var/lib/hc-{self.app} (data.paths), which is empty at first: {_COPY}"
            self._ask(
                found,
                f"data: it keeps {self._told(things)} {words} {'them' if len(things) > 1 else 'it'} {place}",
                True,
            )

    def _apart(self, found: Data) -> None:
        things = self.by_kind.get(_APART, [])
        found.outside = _topmost([_folder_of(one) for one in things])
        if things:
            user = str(self.running.get("user") or "the service's")
            self._ask(
                found,
                f"data.outside: it keeps {self._told(things)}, left where it is: let the app's account in beside "
                f"{user}",
            )

    def _rest(self, found: Data) -> None:
        names = [str(name) for name in self.kept.get("settings") or ()]
        if names:
            self._ask(
                found,
                f"source: {self.host}:{self.code} has {listed(names)}, which git does not track and a release lacks: "
                "what of it does the app need?",
            )
        more = f"{plural(int(self.kept['more']), 'thing')} more that it keeps" if self.kept.get("more") else ""
        cut = "part of what lies beside the code, which was not looked at" if self.kept.get("cut") else ""
        if more or cut:
            self._ask(
                found, f"data: the entry lacks {' and '.join(filter(None, (more, cut)))}: what of it is to last?", True
            )

    def _ask(self, found: Data, text: str, must: bool = False) -> None:
        found.questions.append(Question(text, must))

    def _told(self, things: Sequence[Json]) -> str:
        """What was found, each with what is known of it."""
        return listed([f"{self.host}:{one['path']} ({_known(one)})" for one in things])


_COPY: Final = (
    "bring what is to last there before users come to the app, while nobody writes it, or give it a folder of its own "
    "that both use (data.outside); it is lost to users else"
)


def _folder_of(one: Json) -> str:
    """The folder that a thing is, or is in."""
    return str(one["path"]) if one.get("folder") else os.path.dirname(str(one["path"]))


def _known(one: Json) -> str:
    """What is known of a thing, in short."""
    names = listed([str(name) for name in one.get("names") or ()])
    how = {
        OWNED: "a folder",
        OPEN: "open for writing",
        UNIT: f"{names} of the unit",
        VARIABLE: f"named by {names}",
        LINK: f"to {names}",
    }
    database = "" if not one.get("database") else "with a database" if one.get("folder") else "a database"
    parts = [database, how.get(str(one["how"]), ""), *_measured(one)]
    return ", ".join(part for part in parts if part) or "found beside the code"


def _measured(one: Json) -> Iterator[str]:
    """How much it is, and when it was last written."""
    count, newest = int(one.get("files") or 0), float(one.get("newest") or 0)
    if count:
        yield plural(count, "file") if one.get("folder") else ""
        yield _size(float(one.get("bytes") or 0))
    if newest:
        yield f"written {datetime.fromtimestamp(newest, timezone.utc).strftime('%Y-%m-%d %H:%MZ')}"


def _size(count: float) -> str:
    """A number of bytes in a unit that people read."""
    at = 0
    while count >= 1024 and at < len(_UNITS) - 1:
        count, at = count / 1024, at + 1
    return f"{count:.0f} {_UNITS[at]}"


def _below(path: str, folder: str) -> bool:
    return bool(path and folder) and (path == folder or path.startswith(f"{folder.rstrip('/')}/"))


def _topmost(paths: Sequence[str]) -> list[str]:
    """The paths that lie in no other one, each once."""
    return [
        one for one in dict.fromkeys(paths) if not any(one != two and _below(one, two.rstrip("/")) for two in paths)
    ]


def _is_path(path: str) -> bool:
    """Whether an entry can name a path of the code."""
    try:
        inside(path)
    except Invalid:
        return False
    return True
