# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What rollout after rollout leaves on a host: files, units, accounts, mounts and bytes, counted after each."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from headcount_scripts import labs
from headcount_scripts.console import ScriptError

from . import _engine
from ._common import Bench, Cell, Lab, Report, markdown_table
from ._faults.past import COUNTED
from ._faults.row import STATE
from ._scene import APP, Scene, variants_folder

TIMED = False  # things are counted, nothing is timed
MINUTES = 120.0
QUICK_MINUTES = 20.0
VERSION: Final = 1
ROLLOUTS, QUICK_ROLLOUTS = 200, 10
RETAIN: Final = 2
SUITES: Final = ("bookworm", "trixie")
MORE: Final = {
    "mounts": "findmnt --noheadings --list",
    "failed units": "systemctl list-units --all --failed --no-legend --plain",
    "control groups": f"find /sys/fs/cgroup -type d -name '*{APP}*'",
    "in systemd's state": "find /var/lib/systemd -type f",
    "processes of its accounts": f"pgrep --uid hc-{APP}",
}
"""What else may stay, and the command that lists it, one thing a line."""
BYTES: Final = {
    "KiB below /opt/headcount": "du -sk /opt/headcount | cut -f1",
    "KiB of wheels": "du -sk /var/lib/headcount/wheels | cut -f1",
    "KiB below /var/lib/headcount": "du -sk /var/lib/headcount | cut -f1",
    "KiB of the journal": "du -sk /var/log/journal | cut -f1",
    "bytes of ledger": f"stat -c %s {STATE}/ledger.jsonl",
}
GROWS: Final = ("KiB below /var/lib/headcount", "KiB of the journal", "bytes of ledger")
"""What is to grow: the ledger is never shortened and lies below /var/lib/headcount, and the journal is shortened by its
own rule (SystemMaxUse=)."""
LEAST: Final = 12
"""Rollouts that say something, where the time is over before all are made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to run instead of in a lab of its own."""
    parser.add_argument("--lab", metavar="NAME", help="use this lab, which is up already, and leave it")


def cells(quick: bool) -> list[Cell]:
    """One for each suite."""
    rollouts = QUICK_ROLLOUTS if quick else ROLLOUTS
    return [
        Cell(suite, {"version": VERSION, "suite": suite, "rollouts": rollouts, "retain": RETAIN}) for suite in SUITES
    ]


def measure(bench: Bench) -> None:
    """One host of each suite."""
    shutil.rmtree(variants_folder(), ignore_errors=True)
    if bench.options.lab:
        model = labs.load(bench.options.lab)
        hosts = {host.suite: host.name for host in model.hosts}
        bench.run(lambda cell, _: grown(Lab(model), hosts, cell.inputs, bench.seconds_left))
        return
    suites = [cell.name for cell in bench.missing()]
    with bench.lab([f"{suite}:1:1g:{suite}" for suite in suites]) as lab:
        bench.run(lambda cell, _: grown(lab, {suite: suite for suite in suites}, cell.inputs, bench.seconds_left))


def grown(
    lab: Lab, hosts: Mapping[str, str], inputs: Mapping[str, Any], seconds_left: Callable[[], float]
) -> dict[str, Any]:
    """What is there after each of so many rollouts of one release after another, or of as many as there is time for."""
    host = hosts.get(str(inputs["suite"]))
    if host is None:
        raise ScriptError(f"the lab {lab.name} has no host of {inputs['suite']}")
    scene = Scene(lab, host, _engine.Engine(lab, host, _engine.wheel_cache()))
    scene.engine.push()
    looks = []
    for number in range(1, int(inputs["rollouts"]) + 1):
        done = scene.deploy(source=scene.variant(), retain={"good": inputs["retain"]})
        if "failed" in done[-1]:
            raise ScriptError(f"rollout {number} failed: {done[-1]['failed']}")
        looks.append(_look(scene))
        if seconds_left() <= 0 and number >= LEAST:
            break
    return {"looks": looks}


def _look(scene: Scene) -> dict[str, int]:
    found = {}
    for name, command in {**COUNTED, **MORE}.items():
        found[name] = len([line for line in scene.sh(f"{command} 2>/dev/null").splitlines() if line.strip()])
    return {**found, **{name: int(scene.sh(command) or 0) for name, command in BYTES.items()}}


def slope(values: Sequence[int]) -> float:
    """How much more a rollout leaves: the middle of the last third, less that of the first, by rollouts in between."""
    third = len(values) // 3
    first, last = sorted(values[:third])[third // 2], sorted(values[-third:])[third // 2]
    return (last - first) / (len(values) - third)


def report(bench: Bench) -> Report:
    """A table for each host."""
    data: dict[str, Any] = {}
    parts, missed = [], []
    for name, result in bench.results().items():
        looks = result.value["looks"][RETAIN:]  # from here on as many generations are kept as are to be
        rows: list[list[object]] = []
        for what in looks[0]:
            values = [look[what] for look in looks]
            each = slope(values)
            rows.append([what, values[0], min(values), max(values), values[-1], f"{each:.2f}"])
            if each > 0 and what not in GROWS and values[-1] > values[0]:
                missed.append(f"{name}: {what} grew from {values[0]} to {values[-1]} in {len(values)} rollouts")
            data.setdefault(name, {})[what] = {"values": values, "each": round(each, 3)}
        header = ["what", f"after rollout {RETAIN + 1}", "least", "most", "after the last", "a rollout"]
        table = markdown_table(header, rows, right=(1, 2, 3, 4, 5))
        parts.append(f"## {name}: {len(result.value['looks'])} rollouts\n\n{table}")
    text = f"""\
Each rollout lays down a release that no other has (another source, so another wheel), promotes it and prunes, with
`retain.good = {RETAIN}`. What is there is counted after each. The ledger is to grow by its lines, and the journal by
what it is told until journald shortens it; nothing else.

{chr(10).join(parts)}

What the controller keeps is bounded by number and not measured here: the notes of the newest runs
(`plugin_utils/_fleet/runs`, KEEP_RUNS), and the sets of wheels that were used last (`plugin_utils/_wheels/pruning`).
"""
    return Report("What rollouts leave on a host", text, data, missed=missed)
