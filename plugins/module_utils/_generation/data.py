# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The app's data on a host: how the units of a generation come to it, and how its folders come and go.

Whose a folder is: `datafolders`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
from typing import Callable, Iterable, Sequence

from .._declaration.app import Data, Plain
from .._os.madefolders import make_folder
from .._os.paths import Layout
from .._release.leads import INSTANCE, SEED
from . import built, sandbox
from .datafolders import folders, proven
from .ledger import Entry

SCRIPT = "data.sh"
"""A generation's file: what its units do as the app before it starts."""

PRIVATE = 0o700

_KEEP = """\
keep() {  # folder or file, where the release came with it, where it is kept
    if test -e "$3"; then return; fi
    if test -L "$3"; then
        if test "$1" = file && ! test -e "$2"; then return; fi
        echo "$3 is a link to $(readlink "$3"), which is not there: is what it lies on mounted?" >&2
        exit 1
    fi
    mkdir -p "$(dirname "$3")"
    if test -e "$2"; then
        rm -rf "$3.new"
        cp -R "$2" "$3.new"
        chmod -R u+w "$3.new"
        mv -T "$3.new" "$3"
    elif test "$1" = folder; then
        mkdir -p "$3"
    fi
}
"""


def declared(app: Plain) -> Data:
    """What a normalised app, or the record of one, says of its data."""
    return Data.from_dict(app.get("data") or {})


def unit_lines(app: Plain, number: int, layout: Layout) -> list[str]:
    """Lines of [Service] that give generation `number` its folders: systemd makes and exports them, and nothing else
    can be written to."""
    data = declared(app)
    mode = f"{0o777 & ~int(sandbox.declared(app).umask, 8):04o}"
    lines = [f"StateDirectory={layout.user}", f"StateDirectoryMode={mode}", f"Environment=HOME={layout.data}"]
    lines += [f"CacheDirectory={layout.user}", f"CacheDirectoryMode={mode}"] if data.cache else []
    lines += [f"LogsDirectory={layout.user}", f"LogsDirectoryMode={mode}"] if data.logs else []
    lines += [f"ReadWritePaths={folder.path}" for folder in data.outside if folder.access == "write"]
    lines += built.unit_lines(app, number, layout)
    return [*lines, f"ExecStartPre=/bin/sh {layout.generation(number)}/{SCRIPT}"]


def mounts(app: Plain) -> str:
    """What has to be mounted before the app starts, beside what systemd knows by itself; as words of one line."""
    return " ".join(folder.path for folder in declared(app).outside)


def script(app: Plain, number: int, layout: Layout) -> str:
    """The shell script that makes, as the app and once, what its release leads to: with what the release came with."""
    data = declared(app)
    release = f"{layout.generation(number)}/release"
    lines = []
    for path in [*data.paths, *([] if INSTANCE in _bare(data.paths) else [f"{INSTANCE}/"])]:
        bare = path.rstrip("/")
        kind = "file" if not path.endswith("/") and "." in os.path.basename(bare).lstrip(".") else "folder"
        places = (shlex.quote(f"{release}/{SEED}/{bare}"), shlex.quote(f"{layout.data}/{bare}"))
        lines.append(f"keep {kind} {places[0]} {places[1]}")
    lines += [f"mkdir -p {shlex.quote(f'{layout.data}/{folder}')}" for folder in data.folders]
    head = f"# {layout.app}, generation {number}. Written by Headcount: makes what is missing in the app's data.\n"
    return f"{head}set -eu\n{_KEEP}" + "\n".join(lines) + "\n"


def _bare(paths: Iterable[str]) -> list[str]:
    return [path.rstrip("/") for path in paths]


# -- making and removing ----------------------------------------------------------------------------------------------


def make(layout: Layout, app: Plain, entries: Sequence[Entry], log: Callable[[list[str]], object]) -> list[str]:
    """Make those of the app's folders that are missing, of its account alone, and those outside that are; returns them.

    Raises Unsafe where one lies in or below a folder of an account without rights.
    `log` writes down which are the app's own, before any is there: killed in between, each is still known as its own.
    """
    data = declared(app)
    user = str(app.get("user") or layout.user)
    own = [path for path in folders(layout, app.get("data")) if not os.path.lexists(path)]
    other = [folder.path for folder in data.outside if folder.access == "write" and not os.path.lexists(folder.path)]
    new = [path for path in own if path not in proven(layout, entries)]
    if new:
        log(new)
    for path in [*own, *other]:
        make_folder(path, PRIVATE, _ids(user))
    return [*own, *other]


def _ids(user: str) -> tuple[int, int] | None:
    """The ids of the account and of its group; None where it is not there."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def size_mib(path: str) -> float:
    """What a folder takes on the disk."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return round(total / 2**20, 1)
