# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What rollout after rollout leaves on a host: files, units, accounts, mounts and bytes, counted after each."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headcount_scripts import labs, paths
from headcount_scripts.console import ScriptError

from . import _engine
from ._common import Bench, Cell, Lab, Report, markdown_table
from ._faults.past import COUNTED
from ._faults.row import STATE
from ._scene import APP, Scene, forget_variants, variant

TIMED = False  # things are counted, nothing is timed
MINUTES = 120.0
QUICK_MINUTES = 20.0
VERSION: Final = 1
ROLLOUTS, QUICK_ROLLOUTS = 200, 10
RETAIN: Final = 2
SUITES: Final = ("bookworm", "trixie")
CONTROLLER: Final = "controller"
KEPT_SETS, KEPT_ROLLOUTS = 20, 60
"""The controller's bound on sets of wheels is lowered to so many, and so many rollouts are made there."""
SETS, DISK = "sets of wheels", "KiB on the disk"
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
BUILDS: Final = 5
"""So often a release is built anew before the host is given up."""
LEAST: Final = 12
"""Rollouts that say something, where the time is over before all are made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to run instead of in a lab of its own."""
    parser.add_argument("--lab", metavar="NAME", help="use this lab, which is up already, and leave it")


def cells(quick: bool) -> list[Cell]:
    """One for each suite, and the controller, whose bounds a small run does not reach."""
    rollouts = QUICK_ROLLOUTS if quick else ROLLOUTS
    found = [
        Cell(suite, {"version": VERSION, "suite": suite, "rollouts": rollouts, "retain": RETAIN}) for suite in SUITES
    ]
    return (
        found
        if quick
        else [*found, Cell(CONTROLLER, {"version": VERSION, "rollouts": KEPT_ROLLOUTS, "sets": KEPT_SETS})]
    )


def measure(bench: Bench) -> None:
    """One host of each suite, side by side; the controller is this machine."""
    forget_variants()
    suites = [cell.name for cell in bench.missing() if cell.name in SUITES]
    with contextlib.ExitStack() as stack:
        lab, hosts = None, {suite: suite for suite in suites}
        if bench.options.lab:
            model = labs.load(bench.options.lab)
            lab, hosts = Lab(model), {host.suite: host.name for host in model.hosts}
        elif suites:
            lab = stack.enter_context(bench.lab([f"{suite}:1:1g:{suite}" for suite in suites]))

        def work(cell: Cell, _: str) -> dict[str, Any]:
            if lab is None or cell.name == CONTROLLER:
                return kept(int(cell.inputs["rollouts"]), int(cell.inputs["sets"]), bench.seconds_left)
            return grown(lab, hosts, cell.inputs, bench.seconds_left)

        bench.run(work, lanes=suites or [CONTROLLER])


def kept(rollouts: int, most: int, seconds_left: Callable[[], float]) -> dict[str, Any]:
    """What the controller keeps after each of so many rollouts of one release after another."""
    names = "_wheels.wheelhouse", "_wheels.pruning", "_fleet.runs"
    wheelhouse, pruning, runs = (_engine.collection(f"plugin_utils.{name}") for name in names)
    declaration = _engine.collection("module_utils._declaration.normalise")
    platform = wheelhouse.Platform("3.11", "x86_64", "glibc 2.36")
    looks: list[dict[str, int]] = []
    bound, pruning.KEEP_SETS = pruning.KEEP_SETS, most
    with tempfile.TemporaryDirectory(prefix="headcount-growth-") as name:
        folder = Path(name)
        work, cache = folder / "work", folder / "work" / "wheelhouse"
        for number in range(1, rollouts + 1):
            notes = runs.begin(work)
            (app,), _ = declaration.normalise_apps([_engine.shop(source=variant(folder / "source"))], "controller")
            wheels = wheelhouse.gather(app["source"], platform, ["gunicorn==23.0.0"], cache, paths.ROOT)
            notes.write_wheels(wheels.id, wheels.to_dict())
            notes.end()
            shutil.rmtree(folder / "source")
            pruning.prune(cache, time.time() + 2 * pruning.GRACE_SECONDS)
            looks.append(_kept(work))
            if seconds_left() <= 0 and number >= LEAST:
                break
    return {"looks": looks, "most sets": most, "kept sets": bound}


def _kept(work: Path) -> dict[str, int]:
    files = [path for path in work.rglob("*") if path.is_file()]
    return {
        "notes of runs": len(list((work / "runs").iterdir())),
        SETS: len(list((work / "wheelhouse/sets").glob("*.json"))),
        "files": len(files),
        DISK: sum(path.stat().st_blocks for path in files) // 2,
    }


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
        done = _rolled_out(scene, int(inputs["retain"]))
        if "failed" in done[-1]:
            raise ScriptError(f"rollout {number} failed: {done[-1]['failed']}")
        looks.append(_look(scene))
        if seconds_left() <= 0 and number >= LEAST:
            break
    return {"looks": looks}


def _rolled_out(scene: Scene, retain: int) -> list[dict[str, Any]]:
    """A release that no other has. Where this machine is too busy to build it, another is begun: by then nothing of it
    is on the host, so that no rollout is left out."""
    unbuilt = _engine.collection("plugin_utils._wheels.tools").WheelhouseError
    for _ in range(BUILDS - 1):
        with contextlib.suppress(unbuilt):
            return scene.deploy(source=scene.variant(), retain={"good": retain})
    return scene.deploy(source=scene.variant(), retain={"good": retain})


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


def _from(value: Mapping[str, Any]) -> tuple[int, str]:
    """From which look on as many are kept as are to be, and what is said of those before."""
    looks, most = value["looks"], value.get("most sets")
    if most is None:
        return RETAIN, ""
    full = next((at for at, look in enumerate(looks) if look[SETS] >= most), len(looks) - 1)
    each = (looks[full][DISK] - looks[0][DISK]) / max(1, full)
    said = (
        f"\n\nThe bound of {value['kept sets']} sets of wheels is lowered to {most} for this. Until then, from rollout "
        f"1 to {full + 1}, each left {each:.1f} KiB more. Of what was built, as much again is kept without its sets."
    )
    return min(2 * most, len(looks) - 1), said


def report(bench: Bench) -> Report:
    """A table for each host, and one for the controller."""
    data: dict[str, Any] = {}
    wanted = {cell.name: int(cell.inputs["rollouts"]) for cell in bench.cells}
    parts, missed = [], []
    for name, result in bench.results().items():
        first, more = _from(result.value)
        looks = result.value["looks"][first:]
        rows: list[list[object]] = []
        for what in looks[0]:
            values = [look[what] for look in looks]
            each = slope(values)
            rows.append([what, values[0], min(values), max(values), values[-1], f"{each:.2f}"])
            if each > 0 and what not in GROWS and values[-1] > values[0]:
                missed.append(f"{name}: {what} grew from {values[0]} to {values[-1]} in {len(values)} rollouts")
            data.setdefault(name, {})[what] = {"values": values, "each": round(each, 3)}
        header = ["what", f"after rollout {first + 1}", "least", "most", "after the last", "a rollout"]
        table = markdown_table(header, rows, right=(1, 2, 3, 4, 5))
        made, asked = len(result.value["looks"]), wanted.get(name, 0)
        of = f" of {asked} rollouts, for which there was time" if made < asked else " rollouts"
        parts.append(f"## {name}: {made}{of}\n\n{table}{more}")
    text = f"""\
Each rollout lays down a release that no other has (another source, so another wheel), promotes it and prunes, with
`retain.good = {RETAIN}`. What is there is counted after each. The ledger is to grow by its lines, and the journal by
what it is told until journald shortens it; nothing else. The controller gathers the wheels of one source after another
and notes a run for each, all of them longer ago than a day by the clock of its pruning; its table begins where it keeps
all that it is to.

{chr(10).join(parts)}
"""
    return Report("What rollouts leave on a host", text, data, missed=missed)
