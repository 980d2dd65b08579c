# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Commands for the whole fleet that a run before began, and of whose end nothing is known. They may be under way.

No other host may begin one of the app beside that, be it the same command or that of a release which was mended since.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from ...module_utils._declaration.normalise import Declaration
from .._display.text import listed
from .._edge import Json
from .decision import HostDecision
from .prepares import BEGUN, LOST
from .runs import Notes


def first_host(
    hosts: Sequence[HostDecision],
    declared: Mapping[str, Declaration],
    probes: Mapping[str, Json | None],
    notes: Notes,
    everyone: Collection[str],
) -> str | None:
    """The host that goes first and alone, if any (see settle()). `everyone`: the hosts of the inventory."""
    names = {name for host in hosts for name in host.pending}
    found = {host: probe["apps"] for host, probe in probes.items() if probe and probe.get("apps") is not None}
    each_host: dict[str, set[str]] = {}
    for app in (app for item in declared.values() for app in item.apps):
        commands = {one["run"] for one in app.get("prepare") or () if one["each_host"]}
        each_host.setdefault(app["name"], set()).update(commands)
    return settle(hosts, found, each_host, noted(notes, names, found, everyone))


def settle(
    hosts: Sequence[HostDecision],
    probes: Mapping[str, Mapping[str, Json]],
    each_host: Mapping[str, Collection[str]],
    elsewhere: Mapping[str, str],
) -> str | None:
    """The host that goes first and alone, if any: the one on which a command may be under way, as its apps are told.

    An app that has to wait for another host is refused. `probes`: the apps that were found on each host that answered;
    `each_host`: by app, the commands that are no matter of the fleet; `elsewhere`: what noted() says.
    """
    first: str | None = None
    for name in dict.fromkeys(name for host in hosts for name in host.pending):
        waiting = [host for host in hosts if name in host.pending and _waits(host, name)]
        begun = _begun(name, probes, each_host.get(name, ()))
        places = list(dict.fromkeys([*begun, *([elsewhere[name]] if name in elsewhere else [])]))
        if not waiting or not places:
            continue
        why = _obstacle(name, places, waiting, probes, first)
        if why:
            for host in waiting:
                host.refuse(name, f"prepare: {why}")
        else:
            first = places[0]
            _reserve(name, first, waiting, begun[first])
    return first


def _begun(
    name: str, probes: Mapping[str, Mapping[str, Json]], each_host: Collection[str]
) -> dict[str, list[Mapping[str, Json]]]:
    """{host: commands of unknown end that were begun there for the whole fleet}, without hosts that have none."""
    found = {}
    for host, apps in probes.items():
        left = ((apps.get(name) or {}).get("preparing") or {}).values()
        found[host] = [command for command in left if command.get("run") not in each_host]
    return {host: commands for host, commands in found.items() if commands}


def _reserve(name: str, first: str, waiting: Sequence[HostDecision], begun: Sequence[Mapping[str, Json]]) -> None:
    """Note for all hosts which one runs what the fleet needs once, and why for that one."""
    for host in waiting:
        app = host.apps[name]
        app.unsettled = first
        if host.host == first:
            app.notes = [*map(_told, begun), *app.notes]


def noted(notes: Notes, names: Collection[str], asked: Collection[str], known: Collection[str]) -> dict[str, str]:
    """{app: host that the last run which prepared it left with a command of unknown end}, by what the controller knows.

    Only of hosts that are not among those that were `asked`, and that are `known` to the inventory.
    """
    found = {}
    for name in names:
        files = (notes.work / "runs").glob(f"*/prepare/{name}.json")
        earlier = sorted((file for file in files if file.parent.parent != notes.path), reverse=True)
        for claim in _claims(earlier[0]) if earlier else []:
            host = str(claim.get("host"))
            unknown = claim.get("state") == BEGUN and claim.get("cause") in ("", LOST)
            if unknown and host in known and host not in asked:
                found[name] = host
    return found


def _claims(file: object) -> list[Json]:
    try:
        with open(str(file), encoding="utf-8") as stream:
            return list(json.load(stream).values())
    except (OSError, ValueError):
        return []


def _waits(host: HostDecision, name: str) -> bool:
    return any(not one["each_host"] for one in host.apps[name].prepare)


def _told(command: Mapping[str, Json]) -> str:
    return (
        f"`{command.get('run')}` was begun here by {command.get('by')} at {command.get('since')}, and nothing is known "
        "of its end: this host goes first and alone, and waits for it where it is under way"
    )


def _obstacle(
    name: str,
    places: Sequence[str],
    waiting: Sequence[HostDecision],
    probes: Mapping[str, object],
    first: str | None,
) -> str:
    """Why the app cannot be prepared in this run, and what to do; empty where it can."""
    where = listed(list(places))
    begun = f"a command was begun on {where} by a run before, and nothing is known of its end"
    by_hand = (
        f"wait until `systemctl is-active headcount-prepare-{name}` says inactive there, and take what is under "
        f'"begun" out of /var/lib/headcount/{name}/prepared.json'
    )
    if len(places) > 1:
        return f"{begun} on any of them, so that none may run it; fix: on all but one, {by_hand}"
    if places[0] not in probes:
        fix = f"roll it out with {where} in the run, or take that host out of the inventory where it is gone for good"
        return f"{begun}, and that host was not reached or is not in this run; fix: {fix}"
    if places[0] not in [host.host for host in waiting]:
        return f"{begun}, and that host does not get it in this run; fix: roll it out there first, or {by_hand}"
    if first not in (None, places[0]):
        fix = f"roll it out by itself (headcount_app: {name})"
        return f"{begun}, so that {where} has to go first, as {first} has to for another app; fix: {fix}"
    return ""
