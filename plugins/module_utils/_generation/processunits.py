# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The unit files of an app's further processes, rendered from the service of their generation. Pure functions.

`APP@N-worker.service`, with several instances `APP@N-worker:1.service`, and for one that runs by a schedule
`APP@N-report.timer` beside its service.
"""

from __future__ import annotations

import shlex

from .._declaration.app import App, Plain, Process
from .._os.paths import RUNTIME_INSTANCES, Layout
from .commands import OF_THE_SERVER, service_settings

RESTART_SECONDS = 2
ACCURACY_SECONDS = 1.0
"""A timer may fire so late, as systemd bundles what it has to do."""
ROLE = "process"
_REPLACED = frozenset({*OF_THE_SERVER, "MemoryHigh", "MemoryMax"})


def process_files(app: Plain, number: int, layout: Layout, service: str, surroundings: Plain) -> dict[str, str]:
    """The units of generation `number`'s processes by their names.

    `service` is the unit of its instance, from which they have account, folders, sandbox and environment;
    `surroundings` are the variables that commands of the generation have beside that.
    """
    files: dict[str, str] = {}
    for name, process in App.from_dict({"name": layout.app, **app}).processes.items():
        for unit in process_services(layout, number, name, process):
            files[unit] = _service(name, process, unit, number, layout, service, surroundings)
            if process.schedule is not None:
                timer = unit.replace(".service", ".timer")
                files[timer] = _timer(name, process, unit, number, layout)
    return files


def process_services(layout: Layout, number: int, name: str, process: Process) -> list[str]:
    """The names of a process's services."""
    if process.instances == 1:
        return [f"{layout.app}@{number}-{name}.service"]
    return [f"{layout.app}@{number}-{name}:{each}.service" for each in range(1, process.instances + 1)]


def _service(
    name: str, process: Process, unit: str, number: int, layout: Layout, service: str, surroundings: Plain
) -> str:
    # No other app's: the folders of instances have no `@` in their names. After a `:` systemd would take a link.
    folder = f"{RUNTIME_INSTANCES}/{unit[: -len('.service')].replace(':', '.')}"
    told = {**surroundings, "HEADCOUNT_PROCESS": name}
    ends = ["Type=exec", "Restart=always", f"RestartSec={RESTART_SECONDS}"]
    if process.schedule is not None:
        # A unit that is activating counts as running: the timer does not start it a second time.
        ends = ["Type=oneshot", f"TimeoutStartSec={process.seconds:.0f}"]
    lines = [
        f"# {layout.app}, generation {number}: {name}. Written by Headcount.",
        "[Unit]",
        f"Description={layout.app}: {name}, generation {number}",
        "After=network.target",
        f"RequiresMountsFor={layout.home}",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        *ends,
        *(f"{key}={value}" for key, value in service_settings(service) if key not in _REPLACED),
        *(f"Environment={quoted(f'{key}={value}')}" for key, value in told.items()),
        f"RuntimeDirectory={folder}",
        f"ExecStart=/usr/bin/env {' '.join(quoted(word) for word in shlex.split(process.run))}",
        "KillMode=mixed",
        f"TimeoutStopSec={process.stop_seconds:.0f}",
        f"MemoryMax={process.memory_mib:.0f}M",
        "",
    ]
    return "\n".join(lines)


def _timer(name: str, process: Process, unit: str, number: int, layout: Layout) -> str:
    return (
        f"# {layout.app}, generation {number}: {name}. Written by Headcount.\n"
        "[Unit]\n"
        f"Description={layout.app}: when {name} of generation {number} runs\n"
        f"RequiresMountsFor={layout.home}\n"
        "\n"
        "[Timer]\n"
        f"OnCalendar={process.schedule}\n"
        f"AccuracySec={ACCURACY_SECONDS:.0f}s\n"
        # Its stamp says since when its moments count: those between two generations are made up for, once.
        "Persistent=yes\n"
        f"Unit={unit}\n"
    )


def quoted(word: str) -> str:
    """A word as systemd reads it from a unit file: no variable and no specifier is put in its place."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"'
