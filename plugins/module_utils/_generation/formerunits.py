# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What stopping a former service would do to other units of the host, by all that systemd says of its units. Read only.

Each property of systemd.unit(5) that names units has its place in one of the lists below. One that none of them has is
of a newer systemd, and nobody knows here what it does: it is in the way like those that reach further.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Iterable, Iterator, Mapping, Sequence

from .._os.files import read_text_file
from .._os.paths import Layout, under
from .._os.systemd import Systemd
from .dropins import DROP_IN

_STOPPED_WITH_IT = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")
_START_IT = ("WantedBy", "UpheldBy", "TriggeredBy", "OnFailureOf", "OnSuccessOf")
"""Of these, targets are left to formerboot: what has them start it can be taken away, or is refused there."""
_STARTED_BY_ITS_END = ("OnSuccess",)
_SHARE_ITS_PLACES = ("JoinsNamespaceOf",)
_NEEDS = ("Requires", "Requisite", "Wants", "BindsTo", "Upholds")
"""What it needs runs, perhaps for it alone."""
_ENDS_IT = ("PartOf", "BindsTo", "StopPropagatedFrom")
"""Whose stop is its own: from the takeover on it is not the app's."""

_NOTHING_COMES_OF = (
    *("Before", "After", "Conflicts", "ConflictedBy"),  # an order, and what ends when it is started
    *("OnFailure",),  # it ends well, by the drop-in of the takeover
    *("PropagatesReloadTo", "ReloadPropagatedFrom"),  # nobody reloads it
    *("Triggers", "References", "ReferencedBy"),  # of sockets and timers; what another property names by itself
    *("Slice", "InSlice", "SliceOf", "RequiresMountsFor", "WantsMountsFor"),  # where it is counted, and what is mounted
    *("Id", "Names", "Following", "Description", "Documentation", "Unit"),
    *(
        "BusName",
        "SyslogIdentifier",
        "UtmpIdentifier",
        "PAMName",
        "AppArmorProfile",
        "LogNamespace",
        "User",
        "Group",
        "FileDescriptorName",
    ),
)
_KNOWN = frozenset(
    (*_STOPPED_WITH_IT, *_START_IT, *_STARTED_BY_ITS_END, *_SHARE_ITS_PLACES, *_NEEDS, *_ENDS_IT, *_NOTHING_COMES_OF)
)
_UNIT = re.compile(r"[\w:.\\@-]+\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)")
_NEEDED_KINDS = (".service", ".socket", ".timer", ".path", ".mount", ".automount", ".target")
_KEEPERS = ("WantedBy", "RequiredBy", "RequisiteOf", "BoundBy", "UpheldBy", "TriggeredBy")
_OWN_FILES = ("/etc/", "/run/", "/usr/local/")
"""Where units of this host's own lie. Targets of the system's are left out: what needs them starts them."""
_COMMAND = re.compile(r"argv\[\]=(.*?) ; ignore_errors=")
_SHOWN = 3


@dataclass(frozen=True)
class Reach:
    """What stopping the units of a former service reaches beside them. `problem`: why it is not to be, in a sentence
    with the fix; `notes`: what a person is to know, a clause each."""

    problem: str = ""
    notes: tuple[str, ...] = ()


def reach(layout: Layout, unit: str, sockets: Sequence[str], systemd: Systemd) -> Reach:
    """What stopping `unit` and the `sockets` that start it would do to other units of the host."""
    own = {unit, *sockets}
    told = {name: systemd.properties(name) for name in (unit, *sockets)}
    for name, properties in told.items():
        problem = next(
            (words for words in _problems(layout, name, properties, own | _names(properties), systemd) if words), ""
        )
        if problem:
            return Reach(problem)
    return Reach(notes=tuple(_notes(unit, told[unit], own, systemd)))


def _names(properties: Mapping[str, str]) -> set[str]:
    """All names of a unit, those of its Alias= included."""
    return set(properties.get("Names", "").split())


def _problems(
    layout: Layout, unit: str, properties: Mapping[str, str], own: set[str], systemd: Systemd
) -> Iterator[str]:
    """Why stopping `unit` would reach further, one sentence each; empty where one does not hold."""
    yield _leading(unit, properties, own)
    yield _by_its_end(unit, properties, own)
    yield _unknown(unit, properties, own)
    yield _by_hand(unit, properties)
    yield _not_alone(layout, unit, properties, own)
    yield _needing(unit, properties, own, systemd)


def _others(properties: Mapping[str, str], keys: Iterable[str], own: set[str]) -> list[str]:
    return sorted({name for key in keys for name in properties.get(key, "").split()} - own)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _leading(unit: str, properties: Mapping[str, str], own: set[str]) -> str:
    """What is stopped with it, or starts it again."""
    starts = [name for name in _others(properties, _START_IT, own) if not name.endswith(".target")]
    others = sorted({*_others(properties, _STOPPED_WITH_IT, own), *starts})
    if not others:
        return ""
    keys = [
        f"{key}="
        for key in (*_STOPPED_WITH_IT, *_START_IT)
        if set(properties.get(key, "").split()).intersection(others)
    ]
    return (
        f"{_listed(others)} on this host would be stopped with {unit} or start it again ({', '.join(keys)} of {unit}); "
        f"take that out of there first (`systemctl edit {others[0]}`, `systemctl edit --full {unit}`)"
    )


def _by_its_end(unit: str, properties: Mapping[str, str], own: set[str]) -> str:
    after = _others(properties, _STARTED_BY_ITS_END, own)
    if after:
        return (
            f"{unit} starts {_listed(after)} when it ends (OnSuccess=), and systemd cannot be told not to; take that "
            f"out of there first (`systemctl edit --full {unit}`)"
        )
    shared = _others(properties, _SHARE_ITS_PLACES, own)
    if shared:
        return (
            f"{unit} shares its private /tmp or network with {_listed(shared)} (JoinsNamespaceOf=), which would not "
            f"meet it there any more; take that out of there first (`systemctl edit --full {shared[0]}`)"
        )
    return ""


def _unknown(unit: str, properties: Mapping[str, str], own: set[str]) -> str:
    """A property that names units, and that nobody knows here."""
    for key in sorted(set(properties) - _KNOWN):
        names = properties[key].split()
        others = sorted(set(names) - own)
        if others and all(_UNIT.fullmatch(name) for name in names):
            return (
                f"systemd tells {key}={' '.join(others)} of {unit}, and Headcount does not know what becomes of those "
                f"when it is stopped; take that out of its unit first (`systemctl edit --full {unit}`)"
            )
    return ""


def _by_hand(unit: str, properties: Mapping[str, str]) -> str:
    """That systemd would not stop it, start it again, or hear how it is to end."""
    refused = [key for key in ("RefuseManualStop", "RefuseManualStart") if properties.get(key) == "yes"]
    if refused:
        return f"{unit} is not to be stopped or started by anybody ({refused[0]}=yes): take that out of its unit first"
    drop_ins = properties.get("DropInPaths", "").split()
    last = [path for path in drop_ins if os.path.basename(path) > DROP_IN]
    if last:
        return f"{last[0]} would have the last word on how {unit} ends: rename it, to 90-{unit}.conf for one"
    return ""


def _not_alone(layout: Layout, unit: str, properties: Mapping[str, str], own: set[str]) -> str:
    """What is said of its unit file."""
    path = properties.get("FragmentPath", "")
    if properties.get("Transient") == "yes" or path.startswith("/run/systemd/transient/"):
        return f"{unit} was made by systemd-run, and is gone once it is stopped: give it a unit file first"
    place = under(layout.root, path) if path else ""
    if place and os.path.realpath(place).startswith(f"{os.path.dirname(layout.home)}/"):
        return f"{unit} is Headcount's own; remove that app first (playbooks/remove.yml)"
    if place and os.path.islink(place):
        return f"{path} is a link, which `systemctl disable` would remove; copy the file there first"
    named = {name for line in _lines(place) if line.startswith("Also=") for name in line[5:].split()}
    also = sorted(named - own)
    if also:
        return f"{path} names {', '.join(also)} in Also=, which would be disabled with it; take that line out first"
    return ""


def _lines(path: str) -> list[str]:
    return [line.strip() for line in (read_text_file(path) or "").splitlines()] if path else []


def _needing(unit: str, properties: Mapping[str, str], own: set[str], systemd: Systemd) -> str:
    """What runs for it alone, and would be stopped with it, or not be started by the next boot."""
    wanted = [name for name in _others(properties, _NEEDS, own) if name.endswith(_NEEDED_KINDS)]
    alone = []
    for name in wanted:
        told = systemd.properties(name, "ActiveState", "FragmentPath", *_KEEPERS)
        path = told.get("FragmentPath", "")
        if told.get("ActiveState") != "active" or not path:
            continue
        if name.endswith(".target") and not path.startswith(_OWN_FILES):
            continue
        if not _others(told, _KEEPERS, own):
            alone.append(name)
    if not alone:
        return ""
    return (
        f"{_listed(alone)} runs for {unit} alone, and would be stopped with it, or not be started by the next boot: "
        f"`systemctl add-wants multi-user.target {alone[0]}` first"
    )


def _notes(unit: str, properties: Mapping[str, str], own: set[str], systemd: Systemd) -> Iterator[str]:
    """What is told of a service that can be taken over."""
    ends = _others(properties, _ENDS_IT, own)
    if ends:
        yield f"what stops or restarts {_listed(ends)} reaches {unit}, and not the app"
    commands = [text for line in systemd.property_lines(unit, "ExecStop") for text in _COMMAND.findall(line)]
    others = [text for text in commands if os.path.basename(text.split(" ", 1)[0]) != "kill"]
    if others:
        yield f"{unit} runs {_listed([f'`{text[:120]}`' for text in others])} when it is stopped"
