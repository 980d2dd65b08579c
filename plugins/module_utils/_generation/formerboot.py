# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What makes a boot start a former service: which links, that they can be taken away, and put back as they were.

Read only; `formerlinks` acts on it.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Iterable, Mapping, Sequence

from .._os.files import read_text_file
from .._os.paths import UNITS, Layout, under
from .._os.systemd import Systemd
from .._os.unitfiles import UNIT_PATH

_FOLDERS = (".wants", ".requires", ".upholds")
_SURE = ("", "enabled", "enabled-runtime", "disabled", "static", "indirect", "alias")
"""What systemd says of a unit file (UnitFileState) whose links are all that there is to it."""
WANTED = ("WantedBy", "RequiredBy", "UpheldBy")
_MOST_ALIASES = 10


def links(layout: Layout, names: Iterable[str]) -> dict[str, str]:
    """{link below /etc/systemd/system, as the host sees it: what it leads to} of all that has a boot start the unit of
    these names, and of its further names (Alias=)."""
    known, found = set(names), dict[str, str]()
    folder = f"/{UNITS}"
    for _ in range(_MOST_ALIASES):
        aliases = {
            path: target
            for path, target in _links_in(layout, folder)
            if os.path.basename(target) in known and os.path.basename(path) not in known
        }
        if not aliases:
            break
        known |= {os.path.basename(path) for path in aliases}
        found.update(aliases)
    return {**found, **{path: target for path, target in _entries(layout, folder, known) if target}}


def _links_in(layout: Layout, folder: str) -> list[tuple[str, str]]:
    """(path, target) of the symbolic links in a folder, both as the host sees them."""
    found = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(under(layout.root, folder))):
            with contextlib.suppress(OSError):
                found.append((f"{folder}/{name}", os.readlink(under(layout.root, f"{folder}/{name}"))))
    return found


def _entries(layout: Layout, folder: str, names: Iterable[str]) -> list[tuple[str, str]]:
    """(path, target, which is empty of what is no link) of what has units started that are called so."""
    wanted, found = set(names), []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(under(layout.root, folder))):
            place = under(layout.root, f"{folder}/{name}")
            if not name.endswith(_FOLDERS) or not os.path.isdir(place):
                continue
            for one in sorted(wanted.intersection(os.listdir(place))):
                path = os.path.join(place, one)
                found.append((f"{folder}/{name}/{one}", os.readlink(path) if os.path.islink(path) else ""))
    return found


def problem(layout: Layout, unit: str, systemd: Systemd, own: Iterable[str] = ()) -> str:
    """Why it cannot be had that no boot starts `unit`, and that a boot starts it again as it does now, in a sentence
    with the fix; empty where that can be had. `own`: units of the same service, which are taken over with it."""
    told = systemd.properties(unit, "UnitFileState", "FragmentPath", "SourcePath", "Names", *WANTED)
    state, path = told.get("UnitFileState", ""), told.get("FragmentPath", "")
    if state == "generated":
        source = told.get("SourcePath") or "what a generator of systemd reads"
        return (
            f"{unit} is made from {source} anew at each boot, which would start it again; give it a unit file of its "
            f"own first (`systemctl edit --full --force {unit}`, with what that starts, and [Install]), and start it "
            "by that"
        )
    if state not in _SURE:
        return (
            f"systemd calls the unit file of {unit} {state}, which could not be put back as it was; give it one in "
            "/etc/systemd/system, which a boot starts or does not"
        )
    if path.startswith("/run/"):
        return f"{path} is gone with the next boot, so that {unit} could not be given its address back: move it to /etc"
    if path and not os.path.exists(under(layout.root, path)):
        return f"{path} is gone, so that {unit} could not be given its address back: put it back first"
    return _elsewhere(layout, unit, _names(unit, told)) or _by_files(layout, unit, told, own, systemd)


def _names(unit: str, told: Mapping[str, str]) -> list[str]:
    return sorted({unit, *told.get("Names", "").split()})


def _all_names(names: Sequence[str], found: Iterable[str]) -> list[str]:
    """With the names that links give it."""
    return sorted({*names, *(os.path.basename(path) for path in found)})


def _elsewhere(layout: Layout, unit: str, names: Sequence[str]) -> str:
    """What has it started beside links in /etc/systemd/system."""
    every = _all_names(names, links(layout, names))
    others = [path for path, target in _entries(layout, f"/{UNITS}", every) if not target]
    seen = {os.path.realpath(under(layout.root, f"/{UNITS}"))}
    for folder in UNIT_PATH:
        real = os.path.realpath(under(layout.root, f"/{folder}"))
        if real not in seen:
            seen.add(real)
            others += [path for path, _ in _entries(layout, f"/{folder}", every)]
    if others:
        fix = f"`systemctl disable --runtime {unit}`" if others[0].startswith("/run/systemd/system") else "take it away"
        return f"{others[0]} starts {unit}, and would go on doing so: {fix} first"
    return ""


def _by_files(layout: Layout, unit: str, told: Mapping[str, str], own: Iterable[str], systemd: Systemd) -> str:
    """What has it started by its own unit file."""
    found = links(layout, _names(unit, told))
    known = _all_names(_names(unit, told), found), list(found)
    for name in sorted({name for key in WANTED for name in told.get(key, "").split()} - {*own}):
        words = _by_its_file(layout, unit, name, known, systemd)
        if words:
            return words
    return ""


def _by_its_file(
    layout: Layout, unit: str, wants: str, known: tuple[Sequence[str], Sequence[str]], systemd: Systemd
) -> str:
    """That the unit `wants` has it started by its own file. `known`: names of the service, and links that are its."""
    names, found = known
    told = systemd.properties(wants, "Names", "FragmentPath", "DropInPaths")
    folders = {f"{name}{kind}" for name in _names(wants, told) for kind in _FOLDERS}
    files = [told.get("FragmentPath", ""), *told.get("DropInPaths", "").split()]
    named = next((path for path in files if path and _file_names(layout, path, names)), "")
    if not named and any(os.path.basename(os.path.dirname(path)) in folders for path in found):
        return ""
    where = named or f"a unit file of {wants}"
    return f"{where} has {wants} start {unit}, and would go on doing so; take that out of there first"


def _file_names(layout: Layout, path: str, names: Iterable[str]) -> bool:
    """Whether a unit file has one of these units started."""
    text = (read_text_file(under(layout.root, path)) or "").replace("\\\n", " ")
    lines = re.findall(r"(?m)^\s*(?:Wants|Requires|Requisite|BindsTo|Upholds)\s*=(.*)$", text)
    return any(name in line.split() for line in lines for name in names)


def again(layout: Layout, former: Mapping[str, object]) -> list[str]:
    """That a boot would start the service `former` (former.json) beside the app that took its address over, since
    somebody enabled it again, in a sentence with the fix; none where none would."""
    sockets = former.get("sockets")
    units = [str(former.get("unit")), *(map(str, sockets) if isinstance(sockets, list) else [])]
    found = [
        (unit, path)
        for unit in units
        if unit != layout.public_socket_unit
        for path in links(layout, [unit])
        if os.path.dirname(path).endswith(_FOLDERS)
    ]
    return [
        f"{path} has a boot start {unit}, which the app was taken over from, on the same address: `systemctl disable "
        f"{unit}`, or `headcount-rollback {layout.app} --to-former`"
        for unit, path in found[:1]
    ]
