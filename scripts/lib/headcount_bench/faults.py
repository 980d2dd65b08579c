# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The catalogue of faults: each injected on a live host under load, its outcome checked by behaviour."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ._common import Bench, Cell, Report, markdown_table
from ._engine import held_up, notes_of
from ._faults import GROUPS, ROWS, Row
from ._hosts import add_lab, on_each_host
from ._scene import Scene, described, forget_variants, lost

TIMED = False  # nothing here is a matter of milliseconds
MINUTES = 40.0
QUICK_MINUTES = 15.0
HOSTS = ["fa:1:1500m:bookworm", "fb:1:1500m:trixie"]
VERSION = 1

add_arguments = add_lab


def cells(quick: bool) -> list[Cell]:
    """A cell for each row."""
    rows = [row for row in ROWS if row.quick or not quick]
    return [Cell(row.name, {"version": VERSION, "row": row.name, "fault": row.fault}) for row in rows]


def measure(bench: Bench) -> None:
    """Two hosts of one core each; each takes the next row."""
    forget_variants()
    rows = {row.name: row for row in ROWS}
    on_each_host(bench, HOSTS, Scene, lambda scene, cell: run_row(scene, rows[cell.name]))


def run_row(scene: Scene, row: Row) -> dict[str, Any]:
    """One row on one host: what came of it, as plain data."""
    scene.prepare()
    before, since = scene.live(), len(scene.engine.ledger("shop"))
    begin = time.monotonic()
    with scene.users() as users:
        row.work(scene)
    seen = scene.seen
    stood_still = len(held_up(users))
    if stood_still:
        seen.told.append(f"{stood_still} users' own program stood still within their request, on a busy machine")
    caused, other = lost(users.rows, users.began, seen.window)
    seen.must(not other, f"{len(other)} requests were not served: {other[:3]}")
    events = scene.events(since)
    return {
        "fault": row.fault,
        "promise": row.promise,
        "kept": not seen.broken,
        "broken": seen.broken,
        "told": seen.told,
        "requests": len(users.rows),
        "lost_by_fault": len(caused),
        "lost_otherwise": len(other),
        "lost_requests": other[:50],
        "began": users.began,
        "outage_seconds": round(seen.window[1] - seen.window[0], 1) if seen.window else 0.0,
        "live": [before, scene.live()],
        "answered": sorted({row[4] for row in users.rows if row[3] == 200 and row[4]}),
        "ledger": described(events),
        "seconds": round(time.monotonic() - begin, 1),
    }


def report(bench: Bench) -> Report:
    """The catalogue as a table."""
    values: Mapping[str, Any] = {name: result.value for name, result in bench.results().items()}
    missed = [f"{name}: {'; '.join(value['broken'])}" for name, value in values.items() if not value["kept"]]
    groups: dict[str, list[list[object]]] = {}
    for name, value in values.items():
        loss = str(value["lost_otherwise"])
        if value["lost_by_fault"]:
            loss += f" (and {value['lost_by_fault']} in {value['outage_seconds']:.0f} s without power or process)"
        told = "; ".join(value["told"] + value["ledger"][:3])
        kept = "as promised" if value["kept"] else "**broken**: " + "; ".join(value["broken"])
        live = f"{value['live'][0]} → {value['live'][1]}"
        groups.setdefault(name.partition("/")[0], []).append(
            [name.partition("/")[2], value["fault"], value["promise"], kept, value["requests"], loss, live, told[:420]]
        )
    header = ["row", "fault", "promise", "outcome", "requests", "lost", "live", "what it said, and the ledger"]
    tables = "\n\n".join(
        f"## {GROUPS.get(group, group)}\n\n{markdown_table(header, rows, right=(4,))}" for group, rows in groups.items()
    )
    kept = sum(value["kept"] for value in values.values())
    requests = sum(value["requests"] for value in values.values())
    otherwise = sum(value["lost_otherwise"] for value in values.values())
    seconds = sum(result.seconds for result in bench.results().values())
    hosts = len({result.lane for result in bench.results().values()})
    notes = notes_of(bench)
    text = f"""\
{len(values)} of {len(bench.cells)} rows were run, {kept} ended as promised. Users asked {requests} times meanwhile
(new and kept connections, requests of 2 s, clients that pause within a request); {otherwise} of their requests were not
served without the fault itself having caused it. All rows together took {seconds / 60:.0f} minutes of a host's time, on
{hosts} hosts of one core each (Debian 12 and 13) side by side.
{notes}

Every row begins with two good generations on the host, the newer one live. Places within a step are reached by wrapping
a function in the process that runs the step; the product has no code for that. A process is killed with SIGKILL; a
power cut is SIGKILL to every process of the host at once. A container that loses its power keeps what the kernel holds
in its page cache: what power cuts of a virtual machine showed, which loses that, is in
[architecture.md](../architecture.md#what-was-shown-on-cgroup-v2-and-a-real-disk).

{tables}
"""
    return Report("The catalogue of faults", text, dict(values), missed=missed)
