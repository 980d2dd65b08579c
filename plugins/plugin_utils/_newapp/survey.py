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

from ...module_utils._declaration.built import CODE_ENDINGS
from ...module_utils._declaration.data import INSTANCE
from .django import VARIABLE as SETTINGS
from .sandbox import DATA, Place
from .types import Candidate, Error, Hints, Imported

NOT_FOUND: Final = "NotFound"
"""The kind of an error of a module that holds no app, or not the one that was named."""
MOST_CANDIDATES: Final = 12
_MOST_BARE: Final = 3
_MOST_ROUNDS: Final = 8
_TO_STREAM: Final = re.compile(r"(^|_)(LOG\w*_(TO_)?)?(STDOUT|STDERR)$|^LOG_TO_(STDOUT|STDERR|CONSOLE|STREAM)$")

Look = Callable[[Place, str, str], Imported]
"""Imports a module in a sandbox: place, module, target."""


@dataclass(frozen=True)
class Found:
    """What came of the candidates: the app, or None; and why each one that was tried is not it, in order.

    `writes`: the app runs only where it may write into its own folder. `streams`: variables that keep it from that;
    `leads`: what leads to the app's data in its stead, as `data.paths` has it; `anew`: folders in which it makes links
    into its release, which data would keep for longer than that: what `data.built` is for.
    `unreached`: what failed only because a peer that it calls while it is imported is out of reach here, or because it
    takes longer than there is time; with `cannot` what could not be looked at at all, and why. `folders`: those in the
    app's data that it needs to be there; `repositories`: those of them that it needs to be repositories of git.
    """

    app: Imported | None
    failed: tuple[tuple[Candidate, Error], ...] = ()
    writes: bool = False
    streams: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()
    unreached: Imported | None = None
    folders: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    cannot: str = ""
    again: str = ""

    @property
    def cause(self) -> tuple[Candidate, Error] | None:
        """The failure that tells most: of the candidate that the project itself names, else of the likeliest that is
        there."""
        told = [pair for pair in self.failed if pair[0].certain] or list(self.failed)
        told.sort(key=lambda pair: (pair[1].kind == NOT_FOUND, _is_absent(*pair)))
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
    """Import candidates until one is the app; one that answers to nothing is it only where no other is.

    `place` says where each is looked at, `look` does it.
    """
    failed: list[tuple[Candidate, Error]] = []
    unreached: Found | None = None
    bare: list[Found] = []
    for candidate in _in_turn(candidates):
        if _is_pointless(candidate, failed):
            continue
        say(f"importing {candidate} ({candidate.origin})")
        found = attempt(candidate, place(candidate), hints, look)
        if found.app is not None and not found.app.is_bare:
            return replace(found, failed=(*failed, *found.failed))
        bare += [found] if found.app else []
        failed += found.failed
        unreached = unreached or found if found.unreached else unreached
        if _enough(failed) or len(bare) >= _MOST_BARE:
            break
    return replace(bare[0] if bare else unreached or Found(None), failed=tuple(failed))


def _is_pointless(candidate: Candidate, failed: Sequence[tuple[Candidate, Error]]) -> bool:
    """Whether what failed before tells of a candidate what it comes to: its module cannot be imported, or the project
    names another one, which is its app although it fails."""
    if not failed:
        return False
    before, error = failed[-1]
    if not candidate.target and before.module == candidate.module and error.kind != NOT_FOUND:
        return True
    named = (item.certain and not _leads_nowhere(item, why) for item, why in failed)
    return not candidate.certain and any(named)


def _leads_nowhere(candidate: Candidate, error: Error) -> bool:
    """Whether a candidate is no app at all: its module is not there, or holds none."""
    return error.kind == NOT_FOUND or _is_absent(candidate, error)


def _enough(failed: Sequence[tuple[Candidate, Error]]) -> bool:
    """Whether other candidates would fail as the last one did: at the same place, for want of the same distribution,
    or because each takes as long."""
    if not failed:
        return False
    candidate, last = failed[-1]
    errors = [error for _, error in failed]
    if last.late:
        return candidate.certain or sum(error.late for error in errors) > 1
    if _leads_nowhere(candidate, last):
        return False
    if last.missing_module:
        return sum(error.missing_module == last.missing_module for error in errors) >= 3
    return bool(last.where) and sum((error.kind, error.where) == (last.kind, last.where) for error in errors) > 1


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
    tried = _with_variables(candidate, replace(place, environment=given), hints, look)
    app, required = tried.app, tried.required
    if app.found:
        app = replace(app, required=required, candidate=candidate)
        return _placed(_led(app, there, tried.place, look) or Found(app), tried.place)
    error = tried.error
    if error.unreached or error.late:
        target = candidate.target or candidate.likely
        stand = replace(app, target=target, required=required, candidate=candidate) if target else None
        return _placed(Found(None, ((candidate, error),), unreached=stand), tried.place)
    if not _refused_a_write(app):
        led = _led(replace(app, required=required, candidate=candidate), there, tried.place, look)
        return _placed(led, tried.place) if led else Found(None, ((candidate, error),))
    free = _with_variables(candidate, replace(tried.place, writable=True), hints, look)
    if not free.app.found:
        led = _led(replace(app, required=required, candidate=candidate), there, tried.place, look)
        return _placed(led or Found(None, ((candidate, free.error if free.app.error else error),)), tried.place)
    required = {**required, **free.required}
    tight = replace(free.place, writable=False)
    return _placed(_writing(candidate, free.app, required, (there, error, tight), look), tight)


def _placed(found: Found, place: Place) -> Found:
    """What was found, with what had to be in the app's data."""
    return replace(found, folders=place.folders, repositories=place.repositories)


def _writing(
    candidate: Candidate, app: Imported, required: Mapping[str, str], at: tuple[Set[str], Error, Place], look: Look
) -> Found:
    """What came of an app that is found where it may write into its own folder. `at`: the files of the project, what
    refused it, and the place where it may not write."""
    there, error, tight = at
    streams = tuple(item.name for item in app.variables if _TO_STREAM.search(item.name))
    for name in streams:
        again = look(replace(tight, environment={**tight.environment, name: "1"}), candidate.module, candidate.target)
        if again.found:
            return Found(replace(again, required=required, candidate=candidate), streams=(name,))
    free = replace(app, required=required, candidate=candidate)
    led = _led(free, there, tight, look)
    if led is None:
        return Found(free, ((candidate, error),), writes=True)
    return replace(led, failed=((candidate, error),), writes=True) if led.anew else led


MOST_LEADS: Final = 6


def _led(app: Imported, there: Set[str], place: Place, look: Look) -> Found | None:
    """The app where what it writes beside its code leads to its data; None where that is not it."""
    written = {path: kind for path, kind in app.written.items() if not (place.kept and is_kept(path))}
    leads = leads_of(written, there)
    anew = _whole(linked(written, there), leads)
    leads = tuple(path for path in leads if not f"{path.rstrip('/')}/".startswith(anew or "//"))
    if not 0 < len(leads) + len(anew) <= MOST_LEADS:
        return None
    again = look(replace(place, leads=(*leads, *anew)), app.candidate.module, app.candidate.target)
    if not again.found:
        return None
    setup, made = (again.setup, again.made) if again.setup else (app.setup, app.made)  # once made, they are there
    written_at = {**app.written_at, **again.written_at}
    found = replace(
        again, required=app.required, candidate=app.candidate, setup=setup, made=made, written_at=written_at
    )
    return Found(found, leads=leads, anew=anew)


def _whole(folders: Sequence[str], leads: Sequence[str]) -> tuple[str, ...]:
    """Folders of links, each with the new folder that it is in, and none in another one."""
    outer = [next((lead for lead in leads if lead.endswith("/") and one.startswith(lead)), one) for one in folders]
    return tuple(one for one in dict.fromkeys(outer) if not any(one != o and one.startswith(o) for o in outer))


def linked(written: Mapping[str, str], there: Set[str]) -> tuple[str, ...]:
    """The folders of the project in which an app makes links into the project, but for those that hold code; each ends
    in `/`. `there`: the files and folders of the project."""
    links = sorted(path for path, kind in written.items() if kind == "link" and not is_kept(path))
    folders = [path.rpartition("/")[0] for path in links if not path.startswith(("/", "./", "../"))]
    code = [name for name in there if name.endswith(CODE_ENDINGS)]
    found = dict.fromkeys(f"{folder}/" for folder in folders if folder and " " not in folder)
    return tuple(folder for folder in found if not any(name.startswith(folder) for name in code))


def is_kept(path: str) -> bool:
    """Whether a path in the project leads to the app's data by itself, as Flask's instance folder does."""
    return path == INSTANCE or path.startswith(f"{INSTANCE}/")


def leads_of(written: Mapping[str, str], there: Set[str]) -> tuple[str, ...]:
    """What of the paths that an app wrote to can lead to its data: whole folders that its project does not have, else
    single files. `there`: the files and folders of the project."""
    found: dict[str, None] = {}
    for path, kind in sorted(written.items()):
        parts = path.split("/")
        if path.startswith(("/", "./", "../")) or kind in ("link", "gone"):
            continue
        new = next((end for end in range(1, len(parts)) if "/".join(parts[:end]) not in there), len(parts))
        lead = "/".join(parts[:new])
        if new < len(parts) or kind == "folder":
            found[f"{lead}/"] = None
        elif "." in parts[-1].lstrip(".") and kind != "moved":  # else it would be a folder; a move replaces a link
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
    """What the project's own files give to its variables, as far as it is a setting of the app, and what a person
    gives."""
    own = {name: value for name, (value, _) in hints.variables.items() if is_setting(name) and "$" not in value}
    return {**own, **hints.given}


_NO_SETTING: Final = re.compile(
    r"(PATH|LANG|LC_.*|PYTHON\w*|PIP_.*|UV_.*|POETRY_.*|DEBIAN_FRONTEND|HOME|USER|UID|GID|PUID|PGID|PORT|VIRTUAL_ENV|"
    r"FLASK_APP|FLASK_ENV|FLASK_DEBUG|FLASK_RUN_\w+|WERKZEUG_\w+|DEBUG|GUNICORN_\w+|WEB_CONCURRENCY|WORKERS|NODE_.*|"
    r"NPM_.*|GPG_KEY|TZ|TERM|LISTEN_\w+|GUNICORN_CMD_ARGS|INVOCATION_ID|MAINPID|APP_HOME|HOST|BIND|\w+_VERSION)$"
)


def is_setting(name: str) -> bool:
    """Whether a variable of a Dockerfile or of .flaskenv is the app's, and not the image's or the server's."""
    return not _NO_SETTING.match(name)


@dataclass(frozen=True)
class _Tried:
    """What came of a candidate, the variables that it had to be given, and the place with these."""

    app: Imported
    required: Mapping[str, str]
    place: Place

    @property
    def error(self) -> Error:
        """Why it was not found, what stood in when it happened, and which variables it may come from."""
        error, given = self.app.error or Error("Ended", "it gave no answer"), self.place.environment
        leading = [name for name, value in given.items() if len(value) > 1 and "/" in value and value in error.message]
        unset = [item.name for item in self.app.variables if item.default is None and item.name not in given]
        return replace(
            error,
            stood_in=tuple(self.required),
            leading=tuple(name for name in leading if name not in self.required),
            unset=tuple(unset),
        )


def _with_variables(candidate: Candidate, place: Place, hints: Hints, look: Look) -> _Tried:
    """What came of a candidate, with stand-ins for variables that it cannot do without, and folders that it needs."""
    tried = _Tried(look(place, candidate.module, candidate.target), {}, place)
    for _ in range(_MOST_ROUNDS):
        better = None if tried.app.found else _better(tried, hints)
        if better is None:
            break
        app = look(better.place, candidate.module, candidate.target)
        if app.error and _still_missing(app.error, tried.place, better.place):
            break  # it is no folder that it lacks
        tried = replace(better, app=app)
    return tried


def _better(tried: _Tried, hints: Hints) -> _Tried | None:
    """What may help a candidate by the words that it failed with: variables, a folder, a repository; None: nothing."""
    error, place = tried.app.error, tried.place
    if error is None:
        return None
    known, wanted = place.environment, _wanted(tried.app, error, place.environment, hints)
    if wanted:
        folders = [value.removeprefix(_DATA) for value in wanted.values() if value.startswith(_DATA)]
        folders = list(dict.fromkeys([*place.folders, *folders]))
        place = replace(place, environment={**known, **wanted}, folders=tuple(folders))
        return _Tried(tried.app, {**tried.required, **wanted}, place)
    told = [folder for folder in place.folders if f"{DATA}/{folder}" in error.message] or list(place.folders[:1])
    if _REPOSITORY.search(error.message) and told and told[0] not in place.repositories:
        return replace(tried, place=replace(place, repositories=(*place.repositories, told[0])))
    return None


def _wanted(app: Imported, error: Error, known: Mapping[str, str], hints: Hints) -> dict[str, str]:
    """The variables that an app may fail for want of, with values: those that it lacks, those of folders that are not
    there, those of secrets that it misses."""
    settings = hints.django.chosen[0]
    if SETTINGS in error.message and SETTINGS not in known and settings:
        return {SETTINGS: settings}
    missing = [name for name in error.missing_variables if name not in known]
    if missing:
        return {name: stand_in(name, hints.examples) for name in missing}
    unset = _NO_FILE_NAMED.search(error.message)
    if unset and unset[1] not in known:
        return {unset[1]: NO_FILE}
    homeless = {name: NO_FILE if names_a_file(name, known[name]) else kept_at(name) for name in _homeless(error, known)}
    return homeless or {name: stand_in(name, {}) for name in _unset_secrets(app, error, known)}


NO_FILE: Final = "/dev/null"
"""What stands for a file of settings that only hosts have: an empty one."""
FILE_OF_SETTINGS: Final = re.compile(r"(CONFIG|CONF|SETTINGS?)(_FILE)?(_PATH)?$")
_FILE: Final = re.compile(r"\.(cfg|conf|ini|toml|ya?ml|json|py|env|properties)$", re.IGNORECASE)
_NO_FILE_NAMED: Final = re.compile(r"environment variable '(\w+)' is not set and as such configuration")
"""As Flask's from_envvar says it, which asks for the variable in the project's place."""


def names_a_file(name: str, value: str) -> bool:
    """Whether what a variable names is a file of settings, and no folder."""
    return bool(_FILE.search(value) or (value.startswith(_STAND_IN) and FILE_OF_SETTINGS.search(name)))


def _still_missing(error: Error, before: Place, now: Place) -> bool:
    """Whether an error says that also a folder is not there that was made, or that it is to be a file."""
    new = [folder for folder in now.folders if folder not in before.folders]
    said = _NOT_THERE.search(error.message) or error.kind == "IsADirectoryError"
    return (
        bool(said)
        and not _REPOSITORY.search(error.message)
        and any(f"{DATA}/{folder}" in error.message for folder in new)
    )


_STAND_IN: Final = "headcount-stand-in"
_DATA: Final = "{data}/"
_NOT_THERE: Final = re.compile(
    r"not found|not exist|no such (file|folder|dir)|not a (valid |proper )?(folder|dir|path)|is no (folder|dir)|"
    r"cannot (find|open)|missing",
    re.IGNORECASE,
)
_REPOSITORY: Final = re.compile(r"\bgit (init|repo)|GitRepo|not a git", re.IGNORECASE)
_NO_PLACE: Final = re.compile(r"[a-z][a-z0-9+.-]*:/?/|\{data\}/")


def _homeless(error: Error, known: Mapping[str, str]) -> list[str]:
    """The variables whose values are paths that the words of an error say are not there."""
    if not _NOT_THERE.search(error.message):
        return []
    return [
        name
        for name, value in known.items()
        if ("/" in value or value.startswith(_STAND_IN)) and value in error.message and not _NO_PLACE.match(value)
    ]


_SECRET: Final = re.compile(r"(^|_)SECRET(_KEY)?$|^SECRET_")


def _unset_secrets(app: Imported, error: Error, known: Mapping[str, str]) -> list[str]:
    """The variables of secrets that an app asked for, where it fails for want of a secret by whatever name."""
    if "secret" not in error.message.lower():
        return []
    return [item.name for item in app.variables if _SECRET.search(item.name) and item.name not in known]


def kept_at(name: str) -> str:
    """Where in the app's data the folder is that a variable names: `{data}/repository`."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return _DATA + (re.sub(r"-(dir|directory|folder|path|root)$", "", words) or "files")


def stand_in(name: str, examples: Mapping[str, tuple[str, str]]) -> str:
    """A value for a variable that the import cannot do without; what the project shows as an example goes first, but
    for the address of a database server, which is out of reach here whatever it says."""
    shown = examples.get(name, ("", ""))[0]
    if shown and not (_SERVER.match(shown) and _DATABASE.search(name.upper())):
        return shown
    upper = name.upper()
    if re.search(r"(DIR|DIRECTORY|FOLDER)$", upper):
        return kept_at(name)
    for pattern, value in _STAND_INS:
        if re.search(pattern, upper):
            return value
    return f"{_STAND_IN}-{name.lower()}"


_SERVER: Final = re.compile(r"(?!sqlite)[a-z][a-z0-9+]*://", re.IGNORECASE)
_DATABASE: Final = re.compile(r"(DATABASE|SQLALCHEMY|_DB|^DB)\w*(URL|URI|DSN)")
_STAND_INS: Final = (
    (_DATABASE, "sqlite:///:memory:"),
    (r"(REDIS|CELERY|BROKER|RQ|CACHE)\w*(URL|URI)", "redis://localhost:6379/0"),
    (r"MONGO\w*(URL|URI)", "mongodb://localhost:27017/app"),
    (r"(URL|URI|ENDPOINT|DOMAIN)$", "http://localhost"),
    (r"(PORT|SIZE|COUNT|LIMIT|NUM\w*|TTL|TIMEOUT|SECONDS|MINUTES|DAYS|HOURS|PER_PAGE|WORKERS|LENGTH|MAX\w*)$", "1"),
    (r"(^|_)(DEBUG|ENABLE\w*|USE\w*|IS|VERIFY|TLS|SSL|SECURE)(_|$)", "0"),
    (r"EMAIL|MAIL_(FROM|SENDER)", "app@example.com"),
    (r"PATH$", "/tmp"),
)
