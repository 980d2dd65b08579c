# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The rules between the apps of one host: names, users, addresses, ports and shares."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

from .checks import split_listen
from .fields import Context, Parsed, inline
from .origin import trial_listen
from .rules import declared_load

APPS: Final = "headcount_apps"
APP: Final = "headcount_app"
"""The apps that a run is limited to."""
Numbered = Sequence["tuple[int, Parsed]"]
"""Apps as they were read, each with its place in headcount_apps."""


def check_together(apps: Numbered, context: Context) -> None:
    _check_names(apps, context)
    _check_users(apps, context)
    taken = _check_addresses(apps, context)
    for index, app in apps:
        _check_trial_port(index, app, apps, taken, context)
    shares = sum(app["share"]["cores"] or 0 for _, app in apps)
    if shares > 4096:
        context.add((APPS,), f"share out {inline(shares)} cores", "at most 4096 cores in all", "lower share.cores")


def _check_names(apps: Numbered, context: Context) -> None:
    names: dict[str, int] = {}
    for index, app in apps:
        name = app["name"]
        if name in names:
            what = f"is {name!r}, the name of {APPS}[{names[name]}] too"
            allowed = "a name that no other app of the host has"
            context.add((APPS, index, "name"), what, allowed, f"name: {name[:20]}-2")
        elif name is not None:
            names[name] = index


def _check_users(apps: Numbered, context: Context) -> None:
    for index, app in apps:
        user = app["user"]
        for other, before in apps if user is not None else []:
            if user == _account(before) and other != index and (other < index or before["user"] is None):
                what = f"is {user!r}, the user of {APPS}[{other}] too, which could then read its secrets"
                context.add((APPS, index, "user"), what, "a user of its own for each app", "leave user out")
                break


def _account(app: Parsed) -> str:
    """The user that an app runs as: as Layout.user has it, unless another is declared."""
    return str(app["user"] or f"hc-{app['name']}")


def _check_addresses(apps: Numbered, context: Context) -> list[tuple[int, str]]:
    """Returns [(index of an app, where it listens), ...]."""
    taken: list[tuple[int, str]] = []
    for index, app in apps:
        listen = app["listen"]
        if listen is None:
            continue
        other, address = next(((at, there) for at, there in taken if _overlap(listen, there)), (None, ""))
        if other is not None:
            same = "too" if listen == address else f"at {address}, which takes it as well"
            what = f"is {listen!r}, where {APPS}[{other}] ({_name_at(apps, other)}) listens {same}"
            allowed = "an address that no other app of the host has"
            context.add((APPS, index, "listen"), what, allowed, f"listen: {inline(_free(listen, taken))}")
        taken.append((index, listen))
    return taken


def _check_trial_port(
    index: int,
    app: Parsed,
    apps: Numbered,
    taken: Sequence[tuple[int, str]],
    context: Context,
) -> None:
    candidate = trial_listen(app["listen"] or "", declared_load(app))
    if candidate is None:
        return
    holders = [at for at, address in taken if at != index and _overlap(candidate, address)]
    if holders:
        what = f"is {app['load']['port']}, where {APPS}[{holders[0]}] ({_name_at(apps, holders[0])}) listens"
        free = _free(candidate, taken).rpartition(":")[2]
        context.add((APPS, index, "load", "port"), what, "a port that no app of the host has", f"port: {free}")


def check_exporter(apps: Sequence[Mapping[str, object]], listen: str, context: Context) -> None:
    """That none of the apps, which are checked, listens where the host's exporter is to."""
    taken = [(index, str(app["listen"])) for index, app in enumerate(apps)]
    index = next((at for at, address in taken if _overlap(listen, address)), None)
    if index is not None:
        what = f"is {listen!r}, where {APPS}[{index}] ({apps[index]['name']}) listens"
        name = "headcount_exporter_listen"
        context.add((name,), what, "an address that no app of the host has", f"{name}: {inline(_free(listen, taken))}")


def _name_at(apps: Numbered, index: int) -> str:
    return next(str(app["name"]) for at, app in apps if at == index)


def _overlap(left: str, right: str) -> bool:
    """Whether two checked listen addresses cannot both be bound. [::] takes IPv4 too (BindIPv6Only=default)."""
    if left.startswith("unix:") or right.startswith("unix:"):
        return left == right
    (address, port), (other, other_port) = split_listen(left), split_listen(right)
    if port != other_port:
        return False
    one, two = ipaddress.ip_address(address), ipaddress.ip_address(other)
    if one == two or "::" in (address, other):
        return True
    return one.version == two.version and (one.is_unspecified or two.is_unspecified)


def _free(listen: str, taken: Sequence[tuple[int, str]]) -> str:
    if listen.startswith("unix:"):
        return f"{listen[: -len('.sock')]}-2.sock" if listen.endswith(".sock") else f"{listen}-2"
    base, port = listen.rsplit(":", 1)
    for candidate in range(int(port) + 1, 65536):
        text = f"{base}:{candidate}"
        if not any(_overlap(text, address) for _, address in taken):
            return text
    return f"{base}:8000"
