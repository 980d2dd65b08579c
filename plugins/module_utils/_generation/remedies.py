# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app tried that its sandbox does not allow, by its log, and the line of the declaration that does."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Callable, Iterable

from .._declaration.app import Plain
from .._declaration.outside import may_be_outside
from .._os.paths import Layout
from . import data
from .units import is_tree

MOST = 2
"""So many remedies are told of one failure."""

_READ_ONLY = re.compile(r"Read-only file system")
_DENIED = re.compile(r"Permission denied")
_MISSING = re.compile(r"No such file or directory")
_DATABASE = re.compile(r"unable to open database file|attempt to write a readonly database")
_QUOTED = re.compile(r"""b?['"‘](/[^'"’\n]+)['"’]""")
_RELATIVE = re.compile(r"""Read-only file system: b?['"]([^/'"\n][^'"\n]*)['"]$""")
"""A path in the working directory, which is the release."""
_SHELL = re.compile(r"(?:cannot create|line \d+:) ([^\s:/][^\s:]*): Read-only file system")
"""The same as dash and bash say it."""
_BEFORE = re.compile(r"(?:^|\s)(/[^\s:]+): (?:Read-only file system|Permission denied|No such file or directory)")
"""Where programs say it: behind the path, with their own name, which may be a path as well, at the beginning."""
_LEADS = re.compile(r"""Read-only file system: b?['"][^'"\n]+['"] -> b?['"]""")
"""What makes a link, or moves a file, names both ends."""
_PROGRAM = re.compile(r"^/[^\s:]+: ")
_BARE = re.compile(r"(?<![\w.])(/(?:[\w.@+-]+/?)+)")
_CODE = re.compile(
    r"/(?:releases/[0-9a-f]+|generations/[0-9]+/release)/(?:tree|venv/lib/python3[^/]*/site-packages)/(.+)"
)
_OWN = "`data: {{built: [{}]}}` gives each generation that folder for itself, for what the app makes of its own code"
_MADE = re.compile(
    r"(?i)(?:^|/)(?:build|built|bundles?|compiled|dist|gen|generated|packed|_?assets|webassets|\.webassets-cache)(?:/|$)"
    r"|\.(?:css|js|mjs|map|mo)$"
)
"""What an app makes of its own code, by where it is, or what it is called."""
_KEPT = re.compile(
    r"(?i)(?:^|/)(?:uploads?|media|instance|data|databases?|storage|files|avatars?|attachments?|photos|sessions?)(?:/|$)"
    r"|\.(?:db|sqlite3?)(?:-\w+)?$"
)
"""What users give, or what is of them."""
_COMPILED = re.compile(r"(.*?translations|.*?locale)/.+\.mo$")
_BEGINS_EMPTY = "what its users have is there, and the app's own data, `{data}`, begins empty"
_HOMES = re.compile(r"/(?:home|root)(?:/|$)")


@dataclass(frozen=True)
class Refusal:
    """One thing that the app was refused: its path (empty where the log names none), and what it is called."""

    path: str
    what: str


def refusals(lines: Iterable[str]) -> list[Refusal]:
    """What a log says that was refused, each once, in its order."""
    found: dict[Refusal, None] = {}
    for line in lines:
        if _DATABASE.search(line):
            found[Refusal("", "database")] = None
            continue
        kinds = ((_READ_ONLY, "read-only"), (_DENIED, "denied"), (_MISSING, "missing"))
        what = next((name for pattern, name in kinds if pattern.search(line)), "")
        path = _path_of(line.rstrip()) if what else ""
        what = "leads" if _CODE.search(path) and _LEADS.search(line) else what
        # What is missing is the app's own affair, but for what only the sandbox hides.
        if path and "__pycache__" not in path and (what != "missing" or path.startswith(("/proc/", "/dev/"))):
            found[Refusal(path, what)] = None
    return list(found)


def _path_of(line: str) -> str:
    quoted = _QUOTED.findall(line)
    if quoted:
        return str(quoted[-1])
    relative = _RELATIVE.search(line) or _SHELL.search(line)
    if relative:
        return os.path.normpath(relative[1])
    bare = _BEFORE.search(line) or _BARE.search(_PROGRAM.sub("", line))
    return bare[1] if bare else ""


def remedies(
    lines: Iterable[str], app: Plain, layout: Layout, there: Callable[[str], bool] = os.path.exists
) -> list[str]:
    """What the app was refused by its log, each with the line to declare; at most MOST, without repetition.

    `app`: as its generation's record has it. `there`: whether the host has a path that the app does not see.
    """
    found: dict[str, None] = {}
    for refusal in refusals(lines):
        if refusal.what == "missing" and not there(refusal.path):
            continue
        words = _remedy(refusal, app, layout)
        if words:
            found[words] = None
    return list(found)[:MOST]


def _remedy(refusal: Refusal, app: Plain, layout: Layout) -> str:
    """One refusal in words, with what to declare; empty where nothing is known that helps."""
    path = refusal.path
    if refusal.what == "database":
        if app.get("former"):
            return (
                f"SQLite could not write its database where it is: `data: {{outside: [FOLDER]}}`, with the folder in "
                f"which {app['former']} keeps it, lets the app in; {_BEGINS_EMPTY}"
            )
        return (
            "SQLite could not write its database where it is: keep it in the app's data (`environment: {NAME: "
            f'"sqlite:///{{data}}/app.db"}}`, which is {layout.data}/app.db), or name its file in `data.paths`'
        )
    if not path.startswith("/"):
        way = _in_release(path) if is_tree(app) else ""
        return (
            f"it writes to {path} in its working directory, which is its release and read-only: give it a path below "
            f"`{{data}}`, which is {layout.data}" + (f"; or {way}" if way else "")
        )
    if path.startswith("/proc/"):
        return f"{path} is hidden from it: `sandbox: {{proc: all}}` shows it"
    if path.startswith("/dev/"):
        return f"{path} is hidden from it: `sandbox: {{devices: [{path}]}}` shows it"
    if refusal.what == "missing":
        return ""
    code = _CODE.search(path)
    if code and refusal.what == "leads":
        own = _built_at(code[1])
        way = _OWN.format(own) if own else "have that made before the code is shipped"
        return (
            f"it makes a link, or moves a file, to {path}, in its release, which is read-only: {way}. `data.paths` "
            "would keep a link into this release, which leads nowhere once that is pruned"
        )
    if code:
        return f"it writes to {path}, in its release, which is read-only: {_in_release(code[1])}"
    return _elsewhere(refusal, app, layout)


def _in_release(path: str) -> str:
    """What lets an app write to `path` inside its release: it is kept, or made by each generation for itself; both with
    the difference, where nothing tells which it is."""
    kept, own = f"`data: {{paths: [{_kept_at(path)}]}}` has that lead to the app's data", _built_at(path)
    if not own or _KEPT.search(path):
        return kept
    if _MADE.search(path):
        return _OWN.format(own)
    return f"{kept}, which keeps what users give; what the app makes of its own code is `data: {{built: [{own}]}}`"


def _built_at(path: str) -> str:
    """Which folder of the code an app fills that writes to `path`; empty where that is the code's own folder."""
    compiled = _COMPILED.match(path)
    if compiled:
        return compiled[1]
    folder = _kept_at(path)
    return "" if folder == path.rstrip("/") and "." in os.path.basename(folder).lstrip(".") else folder


def _kept_at(path: str) -> str:
    """Which file or folder of the code is to lead to the data so that `path` can be written: the folder that it is
    in, or the file itself where that is the code's own folder."""
    folder, name = os.path.split(path.rstrip("/"))
    return folder if folder and "." in name.lstrip(".") else path.rstrip("/")


def _elsewhere(refusal: Refusal, app: Plain, layout: Layout) -> str:
    path = refusal.path
    if path.startswith(("/var/log/", "/var/cache/")) and not path.startswith((layout.logs, layout.cache)):
        key, name = ("logs", layout.logs) if path.startswith("/var/log/") else ("cache", layout.cache)
        return f"it may not write to {path}: `data: {{{key}: true}}` gives it {name}, `{{{key}}}` in `environment`"
    if _HOMES.match(path):
        return f"it may not write to {path}: no app comes into the homes of people; its own is {layout.data} (HOME)"
    own = [layout.data, *(folder.path for folder in data.declared(app).outside)]
    if any(path == folder or path.startswith(f"{folder}/") for folder in own):
        return (
            f"its account {app.get('user') or layout.user} may not write to {path}: see whose it is (`ls -la {path}`)"
        )
    folder = os.path.dirname(path) if "." in os.path.basename(path).lstrip(".") else path
    if may_be_outside(folder):
        lets = f"it may not write to {path}: `data: {{outside: [{folder}]}}` lets it"
        if app.get("former"):
            return f"{lets}, as {app['former']} does; {_BEGINS_EMPTY}"
        return f"{lets}, or have it write to `{{data}}`, which is {layout.data}"
    if refusal.what == "read-only":
        return f"it may not write to {path}: have it write to its data, `{{data}}` in `environment` ({layout.data})"
    return ""
