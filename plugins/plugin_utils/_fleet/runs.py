# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One run of Headcount on its controller: who, since when, whether its process still lives, and what came of each host.

A run keeps its notes in files below `WORK/runs/ID/` and not in Ansible variables: a rollout of hundreds of hosts stays
small in memory, the batches see what the batches before them came to, and a run that was killed can be looked at.
Secrets are never written here.

    run.json                  the run, and the process that it is
    decision/HOST.json        what the run does on a host, with the plans of its apps
    wheels/RELEASE.json       the files that a release is made of
    unbuilt/KEY.json          a set of wheels of which some exist only as source
    builds/HOST.json          what a host was asked to build, and what came of it
    outcome/HOST/APP.json     what came of an app on a host, step by step
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable
from urllib.parse import quote, unquote

from ...module_utils._generation.run import Run
from .._edge import Json, Variables
from .decision import HostDecision
from .outcome import Outcome

WORK_DIR = ".headcount"
KEEP_RUNS = 30
"""Notes of this many runs are kept; older ones go when a new run begins."""


class RunError(Exception):
    """The notes of a run cannot be written or read; the message says where and why."""


@dataclass(frozen=True)
class Process:
    """A process of this machine that cannot be mistaken for a later one of the same number.

    `started` is field 22 of /proc/PID/stat (clock ticks since boot), `boot` the kernel's boot id; both are empty where
    there is no /proc.
    """

    pid: int
    started: str
    boot: str

    @classmethod
    def of(cls, pid: int, root: str = "/") -> Process:
        """The process `pid` as it is now."""
        return cls(pid, _start_ticks(pid, root), _boot(root))

    def alive(self, root: str = "/") -> bool:
        """Whether this very process still runs. In doubt it does."""
        if self.boot and self.boot != _boot(root):
            return False
        if self.started:
            return _start_ticks(self.pid, root) == self.started
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True


def _start_ticks(pid: int, root: str) -> str:
    try:
        text = Path(root, "proc", str(pid), "stat").read_text(encoding="ascii", errors="replace")
        return text.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _boot(root: str) -> str:
    try:
        return Path(root, "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def work_dir(declared: object) -> Path:
    """Where the controller keeps its notes and wheels: `declared`, or .headcount in the working directory."""
    return Path(str(declared or WORK_DIR)).expanduser().absolute()


@dataclass(frozen=True)
class Notes:
    """The notes of one run, in the directory `path`."""

    path: Path

    @property
    def id(self) -> str:
        """The run's identifier."""
        return self.path.name

    def run(self) -> Run:
        """The run itself."""
        data = self._read(self.path / "run.json")
        return Run(*(str(data[key]) for key in ("id", "user", "controller", "started")))

    @property
    def work(self) -> Path:
        """Where the controller keeps its notes, wheels and reports (headcount_work_dir)."""
        return self.path.parent.parent

    def write_decision(self, host: HostDecision) -> None:
        """Keep what the run does on a host."""
        write_json(self.path / "decision" / f"{_file(host.host)}.json", host.to_dict(), indent=None)

    def decision(self, host: str) -> HostDecision:
        """What the run does on a host. RunError when it was not planned."""
        return HostDecision.from_dict(self._read(self.path / "decision" / f"{_file(host)}.json"))

    def write_wheels(self, release: str, wheels: Json) -> None:
        """Keep which files a release is made of; hosts of one platform share it."""
        write_json(self.path / "wheels" / f"{_file(release)}.json", wheels)

    def wheels(self, release: str) -> Json:
        """Which files a release is made of. RunError when it was not gathered in this run."""
        return self._read(self.path / "wheels" / f"{_file(release)}.json")

    def write_unbuilt(self, key: str, wheels: Json) -> None:
        """Keep a set of wheels of which some have to be built first."""
        write_json(self.path / "unbuilt" / f"{_file(key)}.json", wheels)

    def unbuilt(self, key: str) -> Json | None:
        """The set that was kept; None when there is none."""
        path = self.path / "unbuilt" / f"{_file(key)}.json"
        return self._read(path) if path.exists() else None

    def builds(self, host: str) -> Mapping[str, Json]:
        """What a host was asked to build, and what came of it; empty when nothing was."""
        path = self.path / "builds" / f"{_file(host)}.json"
        return self._read(path) if path.exists() else {}

    def write_builds(self, host: str, builds: Json) -> None:
        """Keep what a host was asked to build."""
        write_json(self.path / "builds" / f"{_file(host)}.json", builds)

    def all_builds(self) -> dict[str, Mapping[str, Json]]:
        """{host: what it was asked to build}."""
        return {unquote(path.stem): self._read(path) for path in sorted((self.path / "builds").glob("*.json"))}

    def write_load(self, host: str, app: str, load: Json) -> None:
        """Keep the remote load that a trial wants (`request`), and what came of it (`made`)."""
        write_json(self.path / "load" / _file(host) / f"{_file(app)}.json", load)

    def load(self, host: str, app: str) -> Json:
        """The load that was kept. RunError when the trial wants none."""
        return self._read(self.path / "load" / _file(host) / f"{_file(app)}.json")

    def outcome(self, host: str, app: str) -> Outcome:
        """What came of an app on a host so far; before its first step it is working."""
        path = self._outcome(host, app)
        return Outcome.from_dict(self._read(path)) if path.exists() else Outcome(host, app)

    def write_outcome(self, outcome: Outcome) -> None:
        """Keep what came of an app on a host."""
        write_json(self._outcome(outcome.host, outcome.app), outcome.to_dict())

    def outcomes(self) -> dict[str, dict[str, Outcome]]:
        """{host: {app: outcome}} of everything that was begun in this run."""
        found: dict[str, dict[str, Outcome]] = {}
        for path in sorted((self.path / "outcome").glob("*/*.json")):
            found.setdefault(unquote(path.parent.name), {})[unquote(path.stem)] = Outcome.from_dict(self._read(path))
        return found

    def end(self, clock: Callable[[], float] = time.time) -> None:
        """Remember that the run has ended: whatever lease it left is stale."""
        data = self._read(self.path / "run.json")
        write_json(self.path / "run.json", {**data, "ended": _text(clock())})
        _forget_archives(self.path)

    def _outcome(self, host: str, app: str) -> Path:
        return self.path / "outcome" / _file(host) / f"{_file(app)}.json"

    def _read(self, path: Path) -> Json:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"run {self.id}: {path} cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise RunError(f"run {self.id}: {path} does not hold a mapping")
        return data


def _file(name: str) -> str:
    """A name of the inventory as one file name."""
    return quote(name, safe="-_.~") if name not in (".", "..") else name.replace(".", "%2E")


def begin(
    work: Path,
    user: str | None = None,
    pid: int | None = None,
    clock: Callable[[], float] = time.time,
    root: str = "/",
) -> Notes:
    """Begin a run of the process `pid` (default: the parent, which is ansible-playbook itself for an action plugin).

    RunError when its notes cannot be written.
    """
    now = clock()
    identity = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"-{secrets.token_hex(2)}"
    run = Run(identity, user or current_user(), socket.gethostname(), _text(now))
    process = Process.of(os.getppid() if pid is None else pid, root)
    notes = Notes(work / "runs" / run.id)
    try:
        work.mkdir(parents=True, exist_ok=True)
        notes.path.mkdir(parents=True, mode=0o700)
        write_json(notes.path / "run.json", {**run.to_dict(), "process": asdict(process), "ended": None})
    except OSError as error:
        raise RunError(
            f"{work} cannot be written: {error.strerror}; run from a directory of your own, or set headcount_work_dir"
        ) from error
    _forget(work / "runs", run.id)
    return notes


def current_user() -> str:
    """Who runs this, through sudo too."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def platform_user(variables: Variables) -> str | None:
    """Who started the run, as an automation platform or the role pull says it; None elsewhere."""
    for name in ("awx_user_name", "tower_user_name", "headcount__user"):
        if variables.get(name):
            return str(variables[name])
    return None


def gone(work: Path, controller: str | None = None, root: str = "/") -> list[str]:
    """Ids of the runs of this machine that have ended, in whatever way: their leases on hosts are stale."""
    here = controller or socket.gethostname()
    found = []
    for path in sorted((work / "runs").glob("*/run.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            process = Process(**data["process"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if data.get("ended") or (data.get("controller") == here and not process.alive(root)):
            found.append(str(data["id"]))
    return found


def _forget(runs: Path, current: str) -> None:
    """Remove the notes of old runs, never those of a run that lives."""
    try:
        names = sorted((path.name for path in runs.iterdir() if path.is_dir()), reverse=True)
    except OSError:
        return
    ended = set(gone(runs.parent))
    for name in names[:KEEP_RUNS]:
        if name != current and name in ended:
            _forget_archives(runs / name)
    for name in names[KEEP_RUNS:]:
        if name != current and (name in ended or not (runs / name / "run.json").exists()):
            shutil.rmtree(runs / name, ignore_errors=True)


def _forget_archives(run: Path) -> None:
    """Remove what was packed for the hosts of a run: it is as large as the wheels themselves."""
    for archive in (run / "wheels").glob("*.tar"):
        with contextlib.suppress(OSError):
            archive.unlink()


def write_json(path: Path, data: Mapping[str, object], mode: int = 0o600, indent: int | None = 1) -> None:
    """Write JSON in one step: readers see the old file or the new one.

    `indent`: None for what no person opens; the standard library writes that many times as fast.
    """
    write_text(path, json.dumps(data, indent=indent, default=str) + "\n", mode)


def write_text(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file in one step: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _text(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
