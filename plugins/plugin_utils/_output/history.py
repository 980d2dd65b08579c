# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The ledgers of a fleet as one history, newest first. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._display.text import table
from .._edge import Json

HEADER = ("time", "host", "app", "event", "generation", "by", "detail")


def merge(ledgers: Mapping[str, Sequence[Json]], last: int) -> list[Json]:
    """The `last` newest events of all hosts, newest first, each with its host."""
    entries: list[Json] = [{"host": host, **entry} for host, found in ledgers.items() for entry in found]
    entries.sort(key=lambda entry: str(entry.get("time", "")), reverse=True)
    return entries[:last]


def text(entries: Sequence[Json], silent: Mapping[str, str]) -> str:
    """The history as a table; `silent` are the hosts that did not answer, with the cause."""
    lines = [table(HEADER, [_cells(entry) for entry in entries])] if entries else ["no event is in any ledger"]
    lines += [f"{host}: {cause}" for host, cause in silent.items()]
    return "\n".join(lines)


def _cells(entry: Json) -> list[str]:
    return [
        str(entry.get("time", ""))[:19].replace("T", " "),
        str(entry["host"]),
        str(entry.get("app", "")),
        str(entry.get("event", "")).replace("_", " "),
        _generation(entry),
        f"{entry.get('user', '?')}@{entry.get('controller', '?')}",
        _detail(entry),
    ]


def _generation(entry: Json) -> str:
    if entry.get("to") is not None:
        return f"{entry['from'] if entry.get('from') is not None else '-'} -> {entry['to']}"
    if entry.get("generations"):
        return ", ".join(str(number) for number in entry["generations"])
    return str(entry["generation"]) if entry.get("generation") is not None else ""


def _detail(entry: Json) -> str:
    cause = entry.get("cause")
    if cause:
        return f"{entry['phase']}: {cause}" if entry.get("phase") else str(cause)
    parts = []
    for key in ("did", "changes"):
        if entry.get(key):
            parts.append("; ".join(str(item) for item in entry[key]))
    if entry.get("verdict"):
        parts.append(str(entry["verdict"]))
    changes = entry.get("plan_changes") or {}
    shown = [f"{name} {before} -> {after}" for name, (before, after) in changes.items() if before is not None]
    if shown:
        parts.append(", ".join(shown))
    return "; ".join(parts)
