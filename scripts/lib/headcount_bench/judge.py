# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How often the verdict is wrong: false alarms, what it catches, what it costs, and other rules on the same samples.

On real hosts of one core, a release runs beside itself (false alarms, on a calm host and beside a neighbour that burns
CPU in bursts) and beside releases that are slower, fail, stall or need more memory. Load, memory and verdict are the
collection's own modules, run on the host as a trial runs them. All samples are kept, and the report judges them again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headcount_scripts import paths
from headcount_scripts.console import ScriptError, step
from headcount_scripts.podman import podman

from . import _judge_report
from ._common import Bench, Cell, Lab, Report

MINUTES = 60.0
QUICK_MINUTES = 10.0
#: Takes no turns: both arms suffer from what else the machine does, and what it took is told beside each figure.
TIMED = False
VERSION = 5
HOME = "/opt/headcount-bench"
UNIT = "headcount-judge.service"
#: 128 times the weight of a process of this machine, so that its other work disturbs the measurement less.
CPU_SHARES = 131_072
CPU_GROUPS = Path("/sys/fs/cgroup/cpu")
#: Seconds until the first load of a cell, and of each pair beside its load: the warm-up, the rest, the change.
START_S, BESIDE_S = 12.0, 6.0

#: What an app of a profile is: its load, and its settings for one core.
PROFILES: Mapping[str, Mapping[str, Any]] = {
    "io": {
        "paths": [{"path": "/wait?ms=40"}],
        "environment": {"BENCH_SPREAD": "0.4"},
        "settings": {"worker_class": "gthread", "workers": 2, "threads": 8, "memory_max_mib": 160},
    },
    "cpu": {
        "paths": [{"path": "/cpu?ms=1", "weight": 3}, {"path": "/cpu?ms=4", "weight": 1}],
        "environment": {},
        "settings": {"worker_class": "sync", "workers": 2, "threads": 1, "memory_max_mib": 160},
    },
}

#: The candidates, by name: the environment that makes them worse, or what is done to them under load.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "same": {"environment": {}},
    **{
        f"all+{percent}%": {"environment": {"BENCH_SCALE": str(1 + percent / 100)}}
        for percent in (20, 30, 50, 100, 300)
    },
    **{f"tail+{percent}%": {"environment": {"BENCH_TAIL": str(1 + percent / 100)}} for percent in (30, 50)},
    **{f"errors {percent}%": {"environment": {"BENCH_ERRORS": str(percent / 100)}} for percent in (0.5, 1, 2, 5, 20)},
    **{f"memory+{percent}%": {"environment": {"BENCH_GROW_MIB": ""}, "grow": percent} for percent in (20, 50)},
    "stall": {"environment": {}, "disturb": "stall"},
    "stall-one": {"environment": {}, "disturb": "stall-one"},
    "kill": {"environment": {}, "disturb": "kill"},
    "hang": {"environment": {}, "disturb": "hang"},
    "refused": {"environment": {}, "disturb": "refused"},
}
#: PSS in MiB of a whole instance of profile io, measured, of which `memory+N%` adds N percent.
USUAL_PSS_MIB = 47.4


@dataclass(frozen=True)
class Group:
    """Cells of one kind: how many, and what each is. `seconds` of load, at `rate` requests a second to each arm;
    `variants`: the candidates, which `slots` side by side take in their order, `rounds` times over; `noise`: processes
    that burn the CPU beside them. `retry`: "needed" (when the verdict asks for it), "trial" (so, and both runs end as
    soon as they have failed), "sooner" (always, and it alone ends so). `few`: how many cells --quick has."""

    name: str
    profile: str
    noise: int
    seconds: int
    variants: tuple[str, ...]
    rounds: int
    slots: int
    retry: str
    count: int
    few: int
    rate: int = 50
    version: int = VERSION

    def cells(self, quick: bool) -> list[Cell]:
        """Its cells."""
        inputs = {
            "version": self.version, "profile": self.profile, "noise": self.noise, "rate": self.rate,
            "seconds": self.seconds, "variants": list(self.variants) * self.rounds, "slots": self.slots,
            "retry": self.retry,
        }  # fmt: skip
        return [Cell(f"{self.name}/{n}", {**inputs, "repeat": n}) for n in range(self.few if quick else self.count)]


#: Side by side there are as many as leave a core a rest: with what asks it, a pair takes a fifth of it (io) or a third
#: (cpu). Beyond, queues grow without end, and of two that are alike one is slower. Of worse releases there are fewer.
_SAME = ("same",)
#: The longest first, so that all slots end at about the same time.
_ASKED = ("stall", "tail+30%", "errors 2%", "tail+50%", "all+30%", "all+50%", "all+100%", "errors 5%")
_AT_THE_MARGIN = ("all+20%", "errors 0.5%", "errors 1%", "stall-one")
_FAILING = ("all+30%", "hang", "kill", "all+50%", "all+100%", "all+300%", "errors 20%", "refused")
GROUPS: Sequence[Group] = (
    Group("same/calm/io", "io", 0, 15, _SAME, 20, 4, "needed", 4, 1),
    Group("same/calm/cpu", "cpu", 0, 15, _SAME, 10, 2, "needed", 4, 1),
    Group("same/noisy/io", "io", 2, 15, _SAME, 15, 3, "needed", 5, 1),
    Group("same/noisy/cpu", "cpu", 2, 15, _SAME, 10, 2, "needed", 4, 1),
    Group("same/calm/io-30", "io", 0, 30, _SAME, 12, 4, "needed", 2, 0),
    Group("same/calm/cpu-30", "cpu", 0, 30, _SAME, 6, 2, "needed", 2, 0),
    Group("same/noisy/io-30", "io", 2, 30, _SAME, 9, 3, "needed", 2, 0),
    Group("same/noisy/cpu-30", "cpu", 2, 30, _SAME, 6, 2, "needed", 2, 0),
    Group("worse/all", "io", 0, 30, (*_AT_THE_MARGIN, *_ASKED), 1, 3, "sooner", 2, 0),
    Group("worse/asked", "io", 0, 30, _ASKED, 1, 3, "sooner", 5, 1),
    Group("failing", "io", 0, 30, _FAILING, 1, 2, "trial", 6, 1, version=6),
    Group("memory", "io", 0, 30, ("memory+20%", "memory+50%"), 3, 4, "needed", 1, 0),
)


def cells(quick: bool) -> list[Cell]:
    """All groups of pairs, the kinds mixed, so that a run that ends early has some of each."""
    placed = []
    for order, group in enumerate(GROUPS):
        found = group.cells(quick)
        # false alarms first, a little: rare events need the most runs
        placed += [
            ((place + 0.5) / len(found) - 0.1 * (group.variants == _SAME), order, cell)
            for place, cell in enumerate(found)
        ]
    return [cell for _, _, cell in sorted(placed, key=lambda item: item[:2])]


def seconds_of(inputs: Mapping[str, Any], retried: bool) -> float:
    """How many seconds a cell takes where nothing is loaded a second time, or (`retried`) everything is."""
    once: float = inputs["seconds"] * (3.0 if retried else 1.0) + BESIDE_S * (2.0 if retried else 1.0)
    turns: int = math.ceil(len(inputs["variants"]) / inputs["slots"])
    return START_S + once * turns


def job_of(inputs: Mapping[str, Any], cpu: int) -> dict[str, Any]:
    """What a host is told to do for a cell."""
    profile = PROFILES[inputs["profile"]]
    pairs = []
    for name in inputs["variants"]:
        variant = VARIANTS[name]
        environment = dict(variant["environment"])
        if "grow" in variant:
            grown = USUAL_PSS_MIB * variant["grow"] / 100 / profile["settings"]["workers"]
            environment["BENCH_GROW_MIB"] = f"{grown:.1f}"
        pairs.append({"variant": name, "environment": environment, "disturb": variant.get("disturb", "")})
    return {
        **{key: profile[key] for key in ("paths", "environment", "settings")},
        **{key: inputs[key] for key in ("rate", "seconds", "retry", "noise", "slots")},
        "pairs": pairs,
        "nice": 0 if inputs["noise"] else 19,  # what starts beside a load gives way to it; neighbours would stop it
        "cpu": cpu,
    }


def add_arguments(parser: Any) -> None:
    """Arguments of this benchmark alone."""
    parser.add_argument("--hosts", type=int, default=3, metavar="N", help="hosts of one core, side by side (default 3)")


def measure(bench: Bench) -> None:
    """Brings the hosts up and measures group after group on each."""
    machine = sorted(os.sched_getaffinity(0), reverse=True)
    cpus = {f"h{number}": cpu for number, cpu in enumerate(machine[: bench.options.hosts], 1)}  # each its own
    names = list(cpus)
    with bench.lab([f"{name}:1:2g:bookworm" for name in names]) as lab:
        with step(f"installing the sample app on {', '.join(names)}"):
            site = _site(bench.folder.parent if bench.quick else bench.folder)
            for name in names:
                podman("update", "--cpuset-cpus", str(cpus[name]), lab.container(name))
                _install(lab, name, site)

        def work(cell: Cell, host: str) -> Any:
            job = json.dumps(job_of(cell.inputs, cpus[host]))
            before = os.getloadavg()[0]
            # as a unit: what podman starts itself is not in the host's own group (see _Apart); a call that was killed
            # has left its own
            lab.run(host, ["systemctl", "stop", UNIT], check=False)
            command = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={UNIT}"]
            most = 120 + 2 * seconds_of(cell.inputs, True)
            out = lab.run(host, [*command, "/usr/bin/python3", f"{HOME}/bench_host.py"], stdin=job, timeout=most)
            found = json.loads(out)
            bench.save_raw(cell, found)
            return {"cpu": found["cpu"], "load_average": round(before, 2), "pairs": len(found["pairs"])}

        with _Apart(lab, names):
            bench.run(work, lanes=names)


class _Apart:
    """Keeps hosts' processes in CPU groups of their own beside those of this machine's processes (cgroup v1).

    Podman puts all containers together into one group, which weighs no more than one process: a compiler that runs
    elsewhere on the machine would take most of their CPU. The host's systemd puts what it starts back into podman's
    group, so a thread looks again twice a second.
    """

    def __init__(self, lab: Lab, hosts: Sequence[str]) -> None:
        self._groups: dict[Path, Path] = {}
        for host in hosts:
            old = CPU_GROUPS / "libpod_parent" / f"libpod-{lab.ident(host)}"
            if not (old / "cpu.shares").exists():  # cgroup v2: the container's own weight counts
                podman("update", "--cpu-shares", str(CPU_SHARES), lab.container(host))
                continue
            new = CPU_GROUPS / f"headcount-bench-{host}"
            new.mkdir(exist_ok=True)
            (new / "cpu.shares").write_text(str(CPU_SHARES), encoding="ascii")
            self._groups[old] = new
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for old, new in self._groups.items():
            _move(new, old)
            with contextlib.suppress(OSError):
                new.rmdir()

    def _keep(self) -> None:
        while not self._over.wait(0.5):
            for old, new in self._groups.items():
                _move(old, new)


def _move(old: Path, new: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (old / "cgroup.procs").read_text(encoding="ascii").split():
            with contextlib.suppress(OSError):
                (new / "cgroup.procs").write_text(pid, encoding="ascii")


def _site(folder: Path) -> Path:
    """The sample app's requirements and Gunicorn, for the hosts' Python (Debian 12: 3.11)."""
    site = folder / "site"
    if not (site / "gunicorn").is_dir():
        shutil.rmtree(site, ignore_errors=True)
        uv = Path(sys.executable).parent / "uv"
        common = [str(uv), "pip", "install", "--quiet", "--target", str(site), "--only-binary", ":all:"]
        common += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36"]
        pins = (paths.ROOT / "requirements" / "test.txt").read_text(encoding="utf-8").splitlines()
        wanted = [line.split()[0] for line in pins if line.startswith(("gunicorn==", "packaging=="))]
        for words in (["--require-hashes", "-r", str(paths.ROOT / "app/requirements.lock")], ["--no-deps", *wanted]):
            done = subprocess.run([*common, *words], capture_output=True, text=True, check=False, timeout=300)
            if done.returncode:
                raise ScriptError(f"the sample app's requirements could not be installed: {done.stderr.strip()[-500:]}")
    return site


def _install(lab: Lab, host: str, site: Path) -> None:
    here = Path(__file__).resolve().parent
    lab.put(
        host,
        {
            f"{HOME}/site": site,
            f"{HOME}/app/shop": paths.ROOT / "app" / "src" / "shop",
            f"{HOME}/headcount_units": paths.ROOT / "plugins" / "module_utils",
            f"{HOME}/bench_host.py": here / "_judge_host.py",
            f"{HOME}/headcount_bench_release.py": here / "_judge_release.py",
        },
    )
    lab.run(host, ["/usr/bin/python3", "-m", "compileall", "-q", HOME], check=False)


def report(bench: Bench) -> Report:
    """Judges all samples that there are, again."""
    return _judge_report.make(bench)
