# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What of somebody else's is in the way of an app on this host: units, drop-ins, folders, an account. Read only.

Each clash is one sentence: what is there, and what to do. The probe finds them, the plan refuses a deployment for
them, and stage looks once more before it touches anything.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Iterable, Mapping

from .._os import unitfiles
from .._os.accounts import account_problem
from .._os.files import sha256
from .._os.ownership import leads_home
from .._os.paths import UNITS, Layout, present_apps, under
from .._os.systemd import Runner, UnitState, run
from .._os.unitfiles import UnitFiles, configurations
from .._release.contents import is_release
from . import datafolders, generations, ledger, shared, truth, unmet
from .ledger import Entry
from .names import edited, owns

_PACKAGED = ("/usr/lib/", "/lib/")
_STATE_FILES = re.compile(
    r"ledger\.jsonl(\.reserve)?|lock|lease\.json|prepared\.json|former\.json|settings\.json|[0-9]+(\.trial)?\.env|\.headcount-.*"
)
_INSTANCE = r"((-trial)?@(?P<number>[0-9]*)\.(service|socket)|@(?P<further>[0-9]+)-[a-z][a-z0-9:-]*\.(service|timer))"
"""What stands behind the app's name in the names of its instances, candidates and processes."""

_SHOWN = 4


@dataclass(frozen=True)
class Host:
    """The host as clashes are looked for: its unit files, and who can tell which package a file is from."""

    root: str = "/"
    files: UnitFiles = field(default_factory=lambda: UnitFiles({}))
    runner: Runner = run

    @classmethod
    def read(cls, root: str = "/", runner: Runner = run) -> Host:
        """This host."""
        return cls(root, UnitFiles.read(root), runner)


def clashes(
    layout: Layout,
    states: dict[str, UnitState],
    app: Mapping[str, object],
    host: Host,
    spared: frozenset[str] = frozenset(),
) -> list[str]:
    """What is in the way of the app, one sentence each; empty when nothing is.

    `states`: what systemd says of the app's unit names (its public socket, `APP@*`, `APP-trial@*`). `app`: with `user`
    where its account and its data are to be looked at (None: the one that Headcount makes), and `data` as declared.
    `spared`: units of its former service that are taken over.
    """
    entries = ledger.read(layout.ledger)
    theirs = {unit: state for unit, state in states.items() if unit not in spared}
    found = [
        *shared.foreign(layout.root),
        *_units(layout, theirs, entries, host, spared),
        *_drop_ins(layout, entries, host.files),
        *_lost(layout, states),
    ]
    found += datafolders.clashes(layout, app, entries) if "user" in app else []
    if not _deployed(entries):
        found += [words for words in (_home(layout), _state(layout)) if words]
    if "user" in app:
        user = app["user"]
        problem = account_problem(str(user or layout.user), declared=user is not None, root=host.root)
        found += [problem] if problem else _sharing(layout, str(user or layout.user))
        found += unmet.unmet(layout, app, host.runner)
    return found


def _sharing(layout: Layout, user: str) -> list[str]:
    """Which other app has a live generation that runs as `user`."""
    for name in present_apps(layout.root):
        other = Layout(name, layout.root)
        if name != layout.app and generations.live(other) is not None and datafolders.account(other, []) == user:
            return [
                f"{user} is the account of {name} on this host, which could then read its secrets: leave `user` out"
            ]
    return []


def _deployed(entries: list[Entry]) -> bool:
    """Whether the ledger says that the app is on this host."""
    return bool(entries) and entries[-1].get("event") != "removed"


# -- units ------------------------------------------------------------------------------------------------------------


def _used_up(layout: Layout, entries: list[Entry]) -> int:
    """The highest number that a generation ever had: units of the numbers up to it are not needed any more."""
    return max([ledger.highest_generation(entries), *generations.numbers(layout)], default=0)


def _needed(layout: Layout, unit: str, used_up: int) -> bool:
    """Whether the app will need the unit name `unit`: its socket, its instances to come, and their templates."""
    if unit == layout.public_socket_unit:
        return True
    match = re.fullmatch(rf"{re.escape(layout.app)}{_INSTANCE}", unit)
    number = match and (match["number"] or match["further"])
    return match is not None and (not number or int(number) > used_up)


def _own_file(layout: Layout, path: str) -> bool:
    """Whether a unit file is the app's own, or a person's edit of it, which heal moves aside and tells."""
    name = os.path.basename(path)
    return leads_home(layout, under(layout.root, path)) or (path == f"/{UNITS}/{name}" and edited(layout, name))


def _lost(layout: Layout, states: dict[str, UnitState]) -> list[str]:
    """What runs although nothing on disk says any more what it is: it is nobody's to take down."""
    up = [unit for unit, state in states.items() if not state.gone and owns(layout, unit, state)]
    running = layout.instances(up)
    if not (running or layout.public_socket_unit in up) or truth.live(layout, running) is not None:
        return []
    words = truth.lost(layout)
    return [words] if words else []


def _units(
    layout: Layout, states: dict[str, UnitState], entries: list[Entry], host: Host, spared: frozenset[str]
) -> list[str]:
    """Units of somebody else's whose names the app needs: their files, and what runs of them without one."""
    used_up = _used_up(layout, entries)
    foreign = {unit: state for unit, state in states.items() if not state.gone and not owns(layout, unit, state)}
    paths = _foreign_files(layout, host.files, used_up, spared)
    packages = _packages([path for path in paths if path.startswith(_PACKAGED)], host.runner)
    words = [_unit_words(layout, path, foreign, packages.get(path, "")) for path in paths]
    named = {os.path.basename(path) for path in paths}
    for unit, state in foreign.items():
        template = re.sub(r"@.*(\.[a-z]+)$", r"@\1", unit)
        if named.isdisjoint((unit, template)) and _needed(layout, unit, used_up):
            words.append(f"{unit} (runs, {f'from {state.fragment}' if state.fragment else 'and its file is gone'})")
    if not words:
        return []
    return [
        f"units of somebody else's have the names that {layout.app} needs: {_listed(words)}; "
        "take them away, or give the app another `name`"
    ]


def _foreign_files(layout: Layout, files: UnitFiles, used_up: int, spared: frozenset[str]) -> list[str]:
    """Unit files with a name that the app needs that are not its own, and are not taken over."""
    pattern = re.compile(rf"{re.escape(layout.app)}(\.socket|{_INSTANCE})")
    needed = [path for path in files.paths(pattern) if _needed(layout, os.path.basename(path), used_up)]
    return [path for path in needed if not _own_file(layout, path) and os.path.basename(path) not in spared]


def _unit_words(layout: Layout, path: str, foreign: dict[str, UnitState], package: str) -> str:
    """A unit file in words: where it is, what it is, whether it runs, and from which package it came."""
    unit = os.path.basename(path)
    told = []
    file = under(layout.root, path)
    if os.path.islink(file):
        target = os.readlink(file)
        told.append("masked" if target == "/dev/null" else f"a link to {target}")
    elif path.startswith("/run/systemd/generator"):
        told.append("made by a generator")
    elif path.startswith("/run/systemd/transient"):
        told.append("made by systemd-run")
    if package:
        told.append(f"of the package {package}")
    start, _, end = unit.partition("@.")
    if end:
        running = [one for one in sorted(foreign) if one.startswith(f"{start}@") and one.endswith(f".{end}")]
        told.append("a template")
        told += [f"{_listed(running)} {'runs' if len(running) == 1 else 'run'}"] if running else []
    else:
        told.append(foreign[unit].active if unit in foreign else "not active")
    return f"{path} ({', '.join(told)})"


def _packages(paths: list[str], runner: Runner) -> dict[str, str]:
    """{path: package} where the host's package manager tells; asked for files that are in the way only."""
    if not paths:
        return {}
    names = {path: [path, path.replace("/usr/lib/", "/lib/", 1)] for path in paths}
    out = runner(["dpkg-query", "-S", *sorted({name for both in names.values() for name in both})], 10.0).out
    owners = {}
    for line in out.splitlines():
        package, separator, name = line.partition(": ")
        if separator:
            owners[name.strip()] = package
    return {path: next((owners[name] for name in both if name in owners), "") for path, both in names.items()}


def _listed(items: list[str]) -> str:
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


# -- drop-ins ---------------------------------------------------------------------------------------------------------


def _drop_ins(layout: Layout, entries: list[Entry], files: UnitFiles) -> list[str]:
    used_up = _used_up(layout, entries)
    directories = [
        path
        for path in files.paths(re.compile(rf"{re.escape(layout.app)}.*\.d"))
        if _needed(layout, os.path.basename(path)[: -len(".d")], used_up)
    ]
    found = [path for directory in directories for path in configurations(directory, layout.root)]
    alike = [path for at in files.paths(_candidates_alone(layout.app)) for path in configurations(at, layout.root)]
    told = []
    if found:
        told.append(
            f"drop-ins of somebody else's would change every generation of {layout.app}: {_listed(found)}; take them "
            "away, and declare what they are for"
        )
    if alike:
        told.append(
            f"drop-ins for all units whose names begin with {layout.app}- would change the candidate of {layout.app}, "
            f"{layout.app}-trial@N, and not what users get then: {_listed(alike)}; name those units one by one, or "
            "give the app another `name`"
        )
    return told


def _candidates_alone(app: str) -> re.Pattern[str]:
    """Drop-in directories by the beginning of a name that apply to a candidate's units, and not to the live ones."""
    return re.compile(rf"{re.escape(app)}-\.(service|socket)\.d")


def shared_drop_ins(layout: Layout, files: UnitFiles) -> dict[str, str]:
    """{path: sha256} of the drop-ins that the host has for all services, or all whose names begin alike."""
    found = {}
    for path in unitfiles.shared_drop_ins(layout.app, files, layout.root):
        try:
            found[path] = sha256(under(layout.root, path))
        except OSError:
            continue
    return found


def drop_in_problems(layout: Layout, number: int, record: Mapping[str, object], files: UnitFiles) -> list[str]:
    """How drop-ins change generation `number` that were not there when it was tried.

    Those in /etc/systemd/system and /run/systemd/system that bear its very name are told by generations.problems().
    """
    told = {f"/{UNITS}", "/run/systemd/system"}
    own = [f"{layout.app}@.service.d", f"{layout.app}@.socket.d"]
    named = [f"{unit}.d" for unit in (layout.public_socket_unit, *generations.units_of(layout, number))]
    found = []
    for at, names in files.names.items():
        for name in sorted(set(names) & {*own, *named}):
            if name in own or at not in told:
                found += [f"{path} overrides the unit" for path in configurations(f"{at}/{name}", layout.root)]
    before = record.get("drop_ins")
    if not isinstance(before, dict):
        return found  # laid down before drop-ins were noted
    after = shared_drop_ins(layout, files)
    for path in sorted({*before, *after}):
        if path not in before:
            found.append(f"{path} was added since generation {number} was tried")
        elif path not in after:
            found.append(f"{path} is gone, with which generation {number} was tried")
        elif before[path] != after[path]:
            found.append(f"{path} was edited since generation {number} was tried")
    return found


# -- folders ----------------------------------------------------------------------------------------------------------


def _names(path: str) -> list[str] | None:
    """Names in a folder; None where there is none. Raises NotADirectoryError."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return None


def _folder_words(path: str, foreign: Iterable[str]) -> str:
    held = _listed(sorted(foreign))
    what = f"it holds {held}" if held else "it is no folder"
    return f"{path} is not Headcount's ({what}): move it away, or give the app another `name`"


def home_is_own(layout: Layout, name: str) -> bool:
    """Whether `name` in the app's folder is what Headcount makes there."""
    path = os.path.join(layout.home, name)
    if name == "live":
        return os.path.islink(path)
    proof = {"releases": is_release, "generations": generations.made}.get(name)
    if proof is None or os.path.islink(path) or not os.path.isdir(path):
        return name.startswith((".headcount-", ".live."))
    return all(proof(os.path.join(path, item)) for item in os.listdir(path) if not item.startswith("."))


def _home(layout: Layout) -> str | None:
    try:
        names = _names(layout.home)
    except NotADirectoryError:
        return _folder_words(layout.home, [])
    foreign = [name for name in names or [] if not home_is_own(layout, name)]
    return _folder_words(layout.home, foreign) if foreign else None


def _state(layout: Layout) -> str | None:
    try:
        names = _names(layout.state)
    except NotADirectoryError:
        return _folder_words(layout.state, [])
    foreign = [name for name in names or [] if not _STATE_FILES.fullmatch(name)]
    proven = {"ledger.jsonl", "lock"} & set(names or [])
    return _folder_words(layout.state, foreign) if foreign and not proven else None
