# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Commands of a generation: they run beside its instances, in the sandbox of its service, as transient units.

The sandbox is read from the unit that the generation has on disk: account, folders, limits, environment and secrets of
a command are those of the app, whatever that unit says.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import Mapping, Sequence

from .._declaration.app import Plain
from .._os.paths import Layout
from .._release.contents import TREE
from .failures import StepFailed

HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

OF_THE_SERVER = frozenset(
    {
        "ExecStart",
        "ExecStartPost",
        "ExecReload",
        "ExecStop",
        "ExecStopPost",
        "KillMode",
        "KillSignal",
        "NonBlocking",
        "NotifyAccess",
        "OOMPolicy",
        "Restart",
        "RestartSec",
        "RuntimeDirectory",
        "RuntimeDirectoryPreserve",
        "RuntimeMaxSec",
        "Sockets",
        "TimeoutStartSec",
        "TimeoutStopSec",
        "Type",
    }
)
"""Settings of a service that are about Gunicorn, its sockets, or its own folder below /run. What goes before it
(ExecStartPre=) is not: it makes what is missing in the app's data."""

STOP_SECONDS = 30
"""A command that is to end has so long for that."""


@dataclass(frozen=True)
class Role:
    """What a command runs as: the transient `unit`, the folder below /run that is its own, and what it is told as
    HEADCOUNT_ROLE."""

    unit: str
    folder: str
    name: str


def service_settings(text: str) -> list[tuple[str, str]]:
    """The settings of the section [Service] of a unit file, in their order."""
    found: list[tuple[str, str]] = []
    section = ""
    for line in map(str.strip, re.sub(r"\\\n\s*", " ", text).splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found.append((key.strip(), value.strip()))
    return found


def sandbox(layout: Layout, number: int) -> list[tuple[str, str]]:
    """The settings of generation `number`'s service that are not the server's own: what its processes may, and have."""
    path = os.path.join(layout.generation(number), layout.service_unit(number))
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except OSError as error:
        raise StepFailed("prepare", f"{path} cannot be read: {error.strerror}") from error
    return [(key, value) for key, value in service_settings(text) if key not in OF_THE_SERVER]


def surroundings(release: str, app: Plain, role: str) -> dict[str, str]:
    """What a command is told beside the app's own environment, which goes before it. `release`: as the host sees it.

    The release's programs are found first, a project that is released as it is can be imported as Gunicorn's workers
    import it, and Flask's own command knows the app.
    """
    told = {
        "PATH": f"{release}/venv/bin:{HOST_PATH}",
        "FLASK_APP": str(app["entry_point"]),
        "HEADCOUNT_ROLE": role,
    }
    if (app.get("source") or {}).get("as") == TREE:
        told["PYTHONPATH"] = f"{release}/{TREE}"
    return told


def words_of(layout: Layout, number: int, run: str | Sequence[str], phase: str = "prepare") -> list[str]:
    """A command as words, with the path of its program. StepFailed where there is no such program."""
    words = shlex.split(run) if isinstance(run, str) else list(run)
    release = _release(layout, number)
    program = words[0]
    if "/" in program:
        return words
    for folder in (
        os.path.join(release, "venv/bin"),
        *(os.path.join(layout.root, one[1:]) for one in HOST_PATH.split(":")),
    ):
        path = os.path.join(folder, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return [_as_host(layout, path), *words[1:]]
    raise StepFailed(phase, f"`{program}` is no program of the release (its venv/bin), and none of the host")


def _release(layout: Layout, number: int) -> str:
    """The release of a generation, by its own path: a command that outlives a run outlives its generation too."""
    return os.path.realpath(os.path.join(layout.generation(number), "release"))


def _as_host(layout: Layout, path: str) -> str:
    """A path below the layout's root as the host itself sees it."""
    return "/" + os.path.relpath(path, layout.root)


def transient(
    layout: Layout,
    number: int,
    app: Plain,
    words: Sequence[str],
    role: Role,
    *options: str,
    more: Mapping[str, str] | None = None,
) -> list[str]:
    """The call of systemd-run for `words` (words_of) in the sandbox of generation `number`; it waits for the end.

    `options` are systemd-run's, `more` other settings of the unit.
    """
    settings = [*sandbox(layout, number), ("Type", "exec"), ("TimeoutStopSec", str(STOP_SECONDS))]
    settings += [("RuntimeDirectory", role.folder), *(more or {}).items()]
    told = surroundings(_as_host(layout, _release(layout, number)), app, role.name)
    return [
        "systemd-run",
        "--quiet",
        "--wait",
        "--no-ask-password",
        f"--unit={role.unit}",
        f"--description={app['name']}: {role.name} of generation {number}",
        *options,
        *(f"--property={key}={value}" for key, value in settings),
        *(f"--setenv={key}={value}" for key, value in told.items()),
        "--",
        # What systemd would put in the place of a variable could be a secret, in the list of processes.
        *(word.replace("$", "$$") for word in words),
    ]
