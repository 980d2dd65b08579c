# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Questions about what an app is set to as long as nobody says otherwise: temporary folders, secrets that are none."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from .._display.text import listed
from .draft import Draft
from .inside.settings import TEMPORARY
from .prepared import is_below
from .survey import FILE_OF_SETTINGS, kept_at
from .types import Imported, Variable

_OF_USERS: Final = re.compile(r"(^|[_.])(UPLOAD\w*|MEDIA|ATTACHMENTS?)([_.]|$)", re.IGNORECASE)
_KEEPS: Final = re.compile(
    r"(^|[_.])(STOR\w*|UPLOAD\w*|MEDIA|DATA|DATABASE|DB|FILES?|DOCUMENTS?|REPO\w*|BACKUPS?|ARCHIVES?|ATTACHMENTS?|CONTENT|"
    r"IMAGES?|PHOTOS?|WIKI|PAGES|EXPORTS?|IMPORTS?)([_.]|$)",
    re.IGNORECASE,
)
"""What the name of a setting says of what is kept there."""
_PASSING: Final = re.compile(
    r"CACHE|TMP|TEMP|LOCK|PID|SOCK|MULTIPROC|LOG|SEARCH|INDEX|SESSION|SCRATCH|SPOOL", re.IGNORECASE
)
"""The same of what may be lost."""


def kept_variables(draft: Draft) -> dict[str, str]:
    """The variables that by default lead to a temporary folder in which something is kept, and where they lead to in
    the app's data instead: a file with its name, or a folder that ends in `/`."""
    found = {}
    for item in draft.app.variables:
        if TEMPORARY.match(item.default or "") and _keeps(item.name):
            name = str(item.default).rstrip("/").rpartition("/")[2]
            found[item.name] = f"{{data}}/{name}" if "." in name else f"{kept_at(item.name)}/"
    return found


def places_of_users(draft: Draft, led: Sequence[str]) -> dict[str, str]:
    """The folders of the project that its settings name for what users send, with these settings; but for those that
    are led elsewhere by now, and those in one of them."""
    found: dict[str, str] = {}
    for name, path in draft.app.within.items():
        inside = not path.startswith(("./", "/")) and (draft.subject.is_tree or "/" in path)
        if inside and _OF_USERS.search(name) and not is_below(f"{path}/", [*led, *(f"{place}/" for place in found)]):
            found[path] = name
    return found


def _keeps(name: str) -> bool:
    return bool(_KEEPS.search(name)) and not _PASSING.search(name)


def ask_about_defaults(draft: Draft) -> None:
    """Ask about each setting that leads to a temporary folder, and each secret that anybody knows."""
    _ask_temporary(draft)
    _ask_relative(draft)
    _ask_weak(draft)
    _ask_mode(draft)
    _ask_left_behind(draft)


_MODE: Final = re.compile(r"(^|_)(CONFIG|CONFIG_NAME|CONFIGURATION|ENV|ENVIRONMENT|MODE|SETTINGS|STAGE)$")
_WORK: Final = re.compile(r"(.*[._])?(dev|devel|development|local|debug)(config|settings)?", re.IGNORECASE)


def _ask_mode(draft: Draft) -> None:
    """Ask with which of its configurations an app runs that is set to the one for the work on it."""
    said = _said(draft)
    for item in draft.app.variables:
        if _MODE.search(item.name) and _WORK.fullmatch(item.default or "") and item.name not in said:
            draft.ask(
                f"with which configuration do hosts run? {item.name} is {item.default!r} as long as nothing else is "
                f"said, which is for the work on it, and was looked at here: environment: {{{item.name}: ...}} says "
                f"another one, and so does --environment {item.name}=... of new-app, which looks at that",
                must=True,
            )


def _ask_left_behind(draft: Draft) -> None:
    """Ask about variables that .env gives values to, which are those of this machine, by their names alone."""
    said, kept = _said(draft), draft.hints.kept
    names = [item.name for item in draft.app.variables if kept.get(item.name) == ".env" and item.name not in said]
    if names:
        where = (
            "is shipped, as git tracks it: whoever has the release reads it"
            if draft.ships(".env")
            else "is not shipped"
        )
        draft.ask(
            f"which values do hosts have for {listed(names, 8)}? The file .env gives them some here, and {where}. Put "
            "them under environment, and what is secret under secrets"
        )


def _ask_temporary(draft: Draft) -> None:
    found = dict(_temporary(draft))
    kept = [name for name in found if _keeps(name)]
    passing = [name for name in found if name not in kept]
    if kept:
        draft.ask(
            f"where is it to keep what is in {_shown(found, kept)}? A host gives each generation a temporary folder of "
            f"its own, and what is in there is lost with it: {_how(draft, kept)}",
            must=True,
        )
    if passing:
        draft.ask(
            f"may what is in {_shown(found, passing)} be lost? Each generation has a temporary folder of its own: "
            f"{_how(draft, passing)} where not"
        )


_IS_PLACE: Final = re.compile(r"_?(DIR|DIRECTORY|FOLDER|PATH)$", re.IGNORECASE)


def _ask_relative(draft: Draft) -> None:
    """Ask about variables that name a place: it made what they name by default, which is where it runs, or keeps
    something there by their names."""
    said = {*_said(draft), *draft.app.required}
    own = {item.name: item.default or "" for item in draft.app.variables if item.name not in said and _is_below(item)}
    left = _left(draft)
    made = [name for name, default in own.items() if default and _is_made(default, left)]
    named = [name for name in own if name not in made and _is_kept_place(name)]
    _ask_of_places(draft, {name: own[name] for name in made}, must=True)
    _ask_of_places(draft, {name: own[name] for name in named}, must=any(own[name] for name in named))


def _left(draft: Draft) -> list[str]:
    """What it wrote that does not lead to its data."""
    led = [*draft.found.leads, *draft.found.anew]
    return [path for path in draft.app.written if not (is_below(path, led) or is_below(f"{path}/", led))]


def _is_kept_place(name: str) -> bool:
    return bool(_IS_PLACE.search(name)) and _keeps(name) and not FILE_OF_SETTINGS.search(name)


def _ask_of_places(draft: Draft, places: dict[str, str], must: bool) -> None:
    """Ask about variables by name, each with its default, "" without one; of none nothing."""
    if places:
        shown = listed([f"{name} ({default})" if default else name for name, default in places.items()], 4)
        draft.ask(
            f"where is it to keep what is in {shown}? Without a value that is in the folder that it runs in, or "
            f"nowhere, and a release is read-only on a host: {_how(draft, list(places))}",
            must=must,
        )


def _is_below(item: Variable) -> bool:
    """Whether what a variable names by default may be below the folder that the app runs in, and is to last."""
    default = item.default or ""
    return not (default.startswith(("/", "~", "{")) or "://" in default or _PASSING.search(item.name))


def _is_made(default: str, written: Sequence[str]) -> bool:
    place = posixpath.normpath(default)
    return any(f"{path.removeprefix('./')}/".startswith(f"{place}/") for path in written)


def _temporary(draft: Draft) -> Iterator[tuple[str, str]]:
    """(setting or variable, path): those of the app as it was imported, the defaults of its variables, those that its
    code writes down; but for what the entry says, and the places of databases, which are asked about by themselves."""
    said = _said(draft)
    databases = {uri.removeprefix("sqlite:///").partition("?")[0] for uri in draft.app.databases}
    seen = {item.default for item in draft.app.variables if item.name in said}
    for name, path in (
        *((item.name, item.default or "") for item in draft.app.variables),
        *draft.app.temporary.items(),
        *((name, path) for name, path, _ in draft.hints.temporary),
    ):
        if TEMPORARY.match(path) and name not in said and path not in seen and path not in databases:
            seen.add(path)
            yield name, path


def _said(draft: Draft) -> set[str]:
    """The variables that the entry gives a value to."""
    given = (draft.entry.get(key) for key in ("environment", "secrets"))
    return {str(name) for values in given if isinstance(values, dict) for name in values}


def _shown(found: dict[str, str], names: list[str]) -> str:
    return listed([f"{name} ({found[name]})" for name in names], 4)


def _how(draft: Draft, names: list[str]) -> str:
    """How a setting is said: by a variable that is called like it, by a file of settings, or nobody knows how."""
    asked = [item.name for item in draft.app.variables]
    own = [name for name in names if name in asked]
    if own:
        folder = kept_at(own[0])
        return (
            f'environment: {{{own[0]}: "{folder}"}} and data: {{folders: [{folder.removeprefix("{data}/")}]}} keep it'
        )
    by = settings_file(draft.app.variables, _said(draft)) or "its settings"
    return f"have {by} lead it to a folder in the app's data (`{{data}}`, data.folders)"


def settings_file(variables: Sequence[Variable], said: Collection[str]) -> str:
    """In words: the file of settings that one of an app's variables names, but for those that are `said`; "" without
    one."""
    files = [item.name for item in variables if FILE_OF_SETTINGS.search(item.name) and item.name not in said]
    return f"a file that {files[0]} names" if files else ""


def _ask_weak(draft: Draft) -> None:
    said, told = _said(draft), {name for name, _ in draft.hints.written}
    empty: list[str] = []
    guessed: list[str] = []
    for name, (state, variable) in draft.app.weak.items():
        if variable in said or any(item.endswith(name) for item in said) or (state != "empty" and name in told):
            continue
        (empty if state == "empty" else guessed).append(name)
    if empty:
        draft.ask(
            f"where does its secret come from? {listed(empty, 4)} is empty, so that nothing is signed and a sign-in "
            f"fails: {_from(draft.app, empty[0])}"
        )
    if guessed:
        draft.ask(
            f"where does its secret come from? {listed(guessed, 4)} is a word that anybody can guess: "
            f"{_from(draft.app, guessed[0])}"
        )


def _from(app: Imported, name: str) -> str:
    """How a secret is given to an app whose code reads none from its environment."""
    files = [item.name for item in app.variables if FILE_OF_SETTINGS.search(item.name)]
    if files:
        return f"a file that {files[0]} names may say it (one that is on the host, with the rights of a secret)"
    return f'what the code reads as os.environ["{name}"] is set with secrets: {{{name}: ...}}'
