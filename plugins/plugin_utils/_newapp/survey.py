# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which module of a project is its app: candidates are imported in the sandbox, one after the other, until one is.

A project is looked at as a host would run it: its files read-only, nothing in its environment. What it cannot do
without is found out: a variable that is missing is given a stand-in, and where it insists on writing into its own
folder it is looked at once more with that allowed, so that the rest can be told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from ...module_utils._declaration.data import INSTANCE
from .sandbox import Place
from .types import Candidate, Error, Hints, Imported

MOST_CANDIDATES: Final = 12
_MOST_ROUNDS: Final = 8
_TO_STREAM: Final = re.compile(r"(^|_)(LOG\w*_(TO_)?)?(STDOUT|STDERR)$|^LOG_TO_(STDOUT|STDERR|CONSOLE|STREAM)$")

Look = Callable[[Place, str, str], Imported]
"""Imports a module in a sandbox: place, module, target."""


@dataclass(frozen=True)
class Found:
    """What came of the candidates: the app, or None; and why each one that was tried is not it, in order.

    `writes`: the app runs only where it may write into its own folder. `streams`: variables that keep it from that;
    `leads`: what leads to the app's data in its stead, as `data.paths` has it.
    `unreached`: what failed only because a peer that it calls while it is imported is out of reach here.
    """

    app: Imported | None
    failed: tuple[tuple[Candidate, Error], ...] = ()
    writes: bool = False
    streams: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()
    unreached: Imported | None = None

    @property
    def cause(self) -> tuple[Candidate, Error] | None:
        """The failure that tells most: of the candidate that the project itself names, else of the likeliest that is
        there."""
        told = [pair for pair in self.failed if pair[0].certain] or list(self.failed)
        told.sort(key=lambda pair: (pair[1].kind == "NotFound", _is_absent(*pair)))
        return told[0] if told else None


def _is_absent(candidate: Candidate, error: Error) -> bool:
    """Whether the module itself is not there: a hint that leads nowhere."""
    return bool(error.missing_module) and f"{candidate.module}.".startswith(f"{error.missing_module}.")


def survey(
    candidates: Sequence[Candidate],
    place: Callable[[Candidate], Place],
    hints: Hints,
    look: Look,
    say: Callable[[str], None] = lambda text: None,
) -> Found:
    """Import candidates until one is the app. `place` says where each is looked at, `look` does it."""
    failed: list[tuple[Candidate, Error]] = []
    modules: dict[str, int] = {}
    unreached: Found | None = None
    for candidate in _in_turn(candidates):
        say(f"importing {candidate} ({candidate.origin})")
        found = attempt(candidate, place(candidate), hints, look)
        if found.app is not None:
            return replace(found, failed=(*failed, *found.failed))
        failed += found.failed
        unreached = unreached or found if found.unreached else unreached
        lacking = found.failed[-1][1].missing_module if found.failed else ""
        if lacking and not _is_absent(*found.failed[-1]):
            modules[lacking] = modules.get(lacking, 0) + 1
            if modules[lacking] >= 3:
                break
    return replace(unreached, failed=tuple(failed)) if unreached else Found(None, tuple(failed))


def _in_turn(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """Each candidate once; a module whose named callable is not there is looked through as well."""
    seen: set[tuple[str, str, str]] = set()
    for candidate in candidates:
        for item in (candidate, replace(candidate, target="")) if candidate.certain else (candidate,):
            key = (item.module, item.target, item.path)
            if key not in seen and len(seen) < MOST_CANDIDATES:
                seen.add(key)
                yield item


def attempt(candidate: Candidate, place: Place, hints: Hints, look: Look) -> Found:
    """Look at one candidate, with stand-ins for the variables that it needs."""
    given = _declared(hints)
    there = _files(place)
    app, required = _with_variables(candidate, replace(place, environment=given), hints, look)
    if app.found:
        app = replace(app, required=required, candidate=candidate)
        return _led(app, there, replace(place, environment={**given, **required}), look) or Found(app)
    error = app.error or Error("Ended", "it gave no answer")
    if error.unreached:
        target = candidate.target or candidate.likely
        stand = replace(app, target=target, required=required, candidate=candidate) if target else None
        return Found(None, ((candidate, error),), unreached=stand)
    if not _refused_a_write(app):
        return Found(None, ((candidate, error),))
    loose = replace(place, writable=True, environment={**given, **required})
    free, more = _with_variables(candidate, loose, hints, look)
    if not free.found:
        return Found(None, ((candidate, free.error or error),))
    required = {**required, **more}
    streams = tuple(item.name for item in free.variables if _TO_STREAM.search(item.name))
    for name in streams:
        tight = replace(place, environment={**given, **required, name: "1"})
        again = look(tight, candidate.module, candidate.target)
        if again.found:
            done = replace(again, required=required, candidate=candidate)
            return Found(done, streams=(name,))
    free = replace(free, required=required, candidate=candidate)
    tight = replace(place, environment={**given, **required})
    return _led(free, there, tight, look) or Found(free, ((candidate, error),), writes=True)


MOST_LEADS: Final = 6


def _led(app: Imported, there: Set[str], place: Place, look: Look) -> Found | None:
    """The app where what it writes beside its code leads to its data; None where that is not it."""
    written = {path: kind for path, kind in app.written.items() if not (place.kept and is_kept(path))}
    leads = leads_of(written, there)
    if not 0 < len(leads) <= MOST_LEADS:
        return None
    again = look(replace(place, leads=leads), app.candidate.module, app.candidate.target)
    if not again.found:
        return None
    return Found(replace(again, required=app.required, candidate=app.candidate), leads=leads)


def is_kept(path: str) -> bool:
    """Whether a path in the project leads to the app's data by itself, as Flask's instance folder does."""
    return path == INSTANCE or path.startswith(f"{INSTANCE}/")


def leads_of(written: Mapping[str, str], there: Set[str]) -> tuple[str, ...]:
    """What of the paths that an app wrote to can lead to its data: whole folders that its project does not have, else
    single files. `there`: the files and folders of the project."""
    found: dict[str, None] = {}
    for path, kind in sorted(written.items()):
        parts = path.split("/")
        if path.startswith(("/", "./", "../")):
            continue
        new = next((end for end in range(1, len(parts)) if "/".join(parts[:end]) not in there), len(parts))
        lead = "/".join(parts[:new])
        if new < len(parts) or kind == "folder":
            found[f"{lead}/"] = None
        elif "." in parts[-1].lstrip("."):  # else it would be a folder
            found[lead] = None
    return tuple(item for item in found if item.rstrip("/") not in there or not item.endswith("/"))


def _files(place: Place) -> Set[str]:
    """The files and folders of a project, as paths in its code."""
    return {
        os.path.relpath(os.path.join(folder, name), place.code)
        for own in place.own or (place.root,)
        for folder, folders, files in os.walk(own)
        for name in (*folders, *files, ".")
    }


def _refused_a_write(app: Imported) -> bool:
    """Whether it failed, or may have, because its folder is read-only."""
    error = app.error
    if error is None:
        return False
    return (
        error.read_only
        or "Read-only file system" in error.message
        or (bool(app.written) and any(path in error.message for path in app.written))
    )


def _declared(hints: Hints) -> dict[str, str]:
    """What the project's own files give to its variables, as far as it is a setting of the app."""
    return {name: value for name, (value, _) in hints.variables.items() if is_setting(name) and "$" not in value}


_NO_SETTING: Final = re.compile(
    r"(PATH|LANG|LC_.*|PYTHON\w*|PIP_.*|UV_.*|POETRY_.*|DEBIAN_FRONTEND|HOME|USER|UID|GID|PUID|PGID|PORT|VIRTUAL_ENV|"
    r"FLASK_APP|FLASK_ENV|FLASK_DEBUG|FLASK_RUN_\w+|WERKZEUG_\w+|DEBUG|GUNICORN_\w+|WEB_CONCURRENCY|WORKERS|NODE_.*|"
    r"NPM_.*|GPG_KEY|TZ|TERM|LISTEN_\w+|GUNICORN_CMD_ARGS|INVOCATION_ID|MAINPID|APP_HOME|HOST|BIND|\w+_VERSION)$"
)


def is_setting(name: str) -> bool:
    """Whether a variable of a Dockerfile or of .flaskenv is the app's, and not the image's or the server's."""
    return not _NO_SETTING.match(name)


def _with_variables(candidate: Candidate, place: Place, hints: Hints, look: Look) -> tuple[Imported, dict[str, str]]:
    """What came of a candidate, and the variables that it had to be given."""
    given: dict[str, str] = {}
    app = look(place, candidate.module, candidate.target)
    for _ in range(_MOST_ROUNDS):
        error = app.error
        wanted = [
            name for name in (error.missing_variables if error else ()) if name not in {**given, **place.environment}
        ]
        if app.found or not wanted:
            break
        given.update({name: stand_in(name, hints.examples) for name in wanted})
        with_given = replace(place, environment={**place.environment, **given})
        app = look(with_given, candidate.module, candidate.target)
    return app, given


def stand_in(name: str, examples: Mapping[str, tuple[str, str]]) -> str:
    """A value for a variable that the import cannot do without; what the project shows as an example goes first."""
    shown = examples.get(name, ("", ""))[0]
    if shown:
        return shown
    upper = name.upper()
    for pattern, value in _STAND_INS:
        if re.search(pattern, upper):
            return value
    return "headcount-stand-in"


_STAND_INS: Final = (
    (r"(DATABASE|SQLALCHEMY|_DB|^DB)\w*(URL|URI|DSN)", "sqlite:///:memory:"),
    (r"(REDIS|CELERY|BROKER|RQ|CACHE)\w*(URL|URI)", "redis://localhost:6379/0"),
    (r"MONGO\w*(URL|URI)", "mongodb://localhost:27017/app"),
    (r"(URL|URI|ENDPOINT|DOMAIN)$", "http://localhost"),
    (r"(PORT|SIZE|COUNT|LIMIT|NUM\w*|TTL|TIMEOUT|SECONDS|MINUTES|DAYS|HOURS|PER_PAGE|WORKERS|LENGTH|MAX\w*)$", "1"),
    (r"(^|_)(DEBUG|ENABLE\w*|USE\w*|IS|VERIFY|TLS|SSL|SECURE)(_|$)", "0"),
    (r"EMAIL|MAIL_(FROM|SENDER)", "app@example.com"),
    (r"(DIR|FOLDER|PATH)$", "/tmp"),
)
