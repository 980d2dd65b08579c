# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How far a takeover has come (former.json), and what is to be said where it has not ended."""

from __future__ import annotations

from .._os.files import read_mapping
from .._os.paths import Layout

JOINING, RETIRING, RETIRED, GIVEN_BACK = "joining", "retiring", "retired", "given_back"
"""The former service serves, and the new generation is verified; the new generation is live, and the former service
leaves; it has left; it has its address again."""

_STANDS = {
    JOINING: "until the new generation is verified {unit} serves, and a boot starts it; the next run, a boot, or "
    "`headcount-rollback {app} --to-former` goes back to it",
    RETIRING: "the new generation is verified, and {unit} is to leave; the next run or a boot goes on with that, and "
    "`headcount-rollback {app} --to-former` goes back to it",
}


def shared(layout: Layout) -> frozenset[str]:
    """Names of units that the app and its former service have in common while a takeover has not ended."""
    found = read_mapping(layout.former)
    common = found.get("way") == "shared" and found.get("phase") in _STANDS
    return frozenset({layout.public_socket_unit} if common else ())


def left(layout: Layout) -> dict[str, object]:
    """What former.json has of a service that has left, and whose address the app has; empty where there is none."""
    found = read_mapping(layout.former)
    return found if found.get("phase") == RETIRED else {}


def retired(layout: Layout) -> list[str]:
    """Names of the units of a service that has left, and whose address the app has."""
    found = left(layout)
    sockets = found.get("sockets")
    return [*map(str, sockets if isinstance(sockets, list) else ()), str(found["unit"])] if found.get("unit") else []


def unfinished(layout: Layout) -> list[str]:
    """That a takeover has not ended, with its phase and what comes next, in a sentence; none where there is nothing."""
    found = read_mapping(layout.former)
    phase = str(found.get("phase") or "")
    if phase not in _STANDS:
        return []
    unit, address = found.get("unit"), found.get("address")
    stands = _STANDS[phase].format(unit=unit, app=layout.app)
    return [f"the takeover of {address} from {unit} has not ended (phase {phase}): {stands}"]
