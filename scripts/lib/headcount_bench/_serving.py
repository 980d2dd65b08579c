# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Servers and load on this machine: the sample app in virtual environments of its own, a server on given CPUs, wrk.

Servers listen on 127.0.0.1 only. wrk keeps a fixed number of connections busy (closed loop), so a rate is what the
server could serve.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import platform
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.workerends import WorkerEnd
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.memory import (
    ProcessMemory,
    own_mib,
    parse_rollup,
    read_process,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import http
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import weighed
from headcount_scripts import bootstrap, paths
from headcount_scripts.console import ScriptError, locked, run_logged, step

ENTRY: Final = "shop.wsgi:create_app()"
HEALTH: Final = "/healthz"
VENVS: Final[Mapping[str, Sequence[str]]] = {
    "main": ("gunicorn[gevent]==27.0.1",),
    "eventlet": ("gunicorn==25.3.0", "eventlet==0.41.3"),
    "uwsgi": ("uwsgi==2.0.31",),
}
"""Virtual environments by name, and what is in them beside the sample app. uwsgi is compiled: gcc and the headers of
Python are needed."""

PUBLIC: Final[Mapping[str, Sequence[str]]] = {
    name: (requirement, "gunicorn[gevent]==27.0.1")
    for name, requirement in (
        ("fava", "fava==1.30.4"),
        ("ihatemoney", "ihatemoney==7.2.1"),
        ("pypiserver", "pypiserver==2.4.2"),
    )
}
"""Virtual environments of public apps, without the sample app."""


@dataclass(frozen=True)
class Site:
    """An app that is served: its virtual environment of VENVS, Gunicorn's name for it, the path that answers 200 as
    soon as it is up, and the environment of its processes (None: nothing)."""

    venv: str = "main"
    entry: str = ENTRY
    health: str = HEALTH
    environment: Mapping[str, str] | None = None


SAMPLE: Final = Site()

CPU_SHARES: Final = 262_144
GROUP: Final = Path("/sys/fs/cgroup/cpu/headcount-serving")
"""Servers and wrk go before most of what else the machine does, where that is allowed (cgroup version 1, root)."""

ACCOUNTS: Final = Path("/sys/fs/cgroup/cpuacct")

PORTS: Final = (20_000, 30_000)
PORT_TRIES: Final = 100

SLICE_NS: Final = 100_000
BOOT_SECONDS: Final = 60.0
SPREAD_MOST: Final = 8
QUIET_SECONDS: Final = 0.1
QUIET_CPU_SECONDS: Final = 0.015
WRK_TIMEOUT_SECONDS: Final = 10

LUA: Final = """\
local limit = tonumber(os.getenv("HEADCOUNT_LIMIT_US"))
local bad = 0
function done(summary, latency, requests)
  local low, high = 0.0, 100.0
  if latency.max <= limit then low = 100.0 elseif latency.min > limit then high = 0.0 else
    for i = 1, 16 do
      local middle = (low + high) / 2
      if latency:percentile(middle) <= limit then low = middle else high = middle end
    end
  end
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "us": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d, ' ..
    '"p50": %d, "p95": %d, "p99": %d, "max": %d, "within": %.4f}\\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max, low / 100))
end
"""


def process_cpu_seconds(pids: Iterable[int], proc: Path = Path("/proc"), ticks: int | None = None) -> float:
    """User and system CPU seconds of the processes and of their waited-for children, summed; those gone count nothing.

    Fields 14 to 17 of /proc/PID/stat (proc(5)), in clock ticks.
    """
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
            fields = text.rpartition(")")[2].split()  # the command name may hold spaces and parentheses
            total += sum(int(field) for field in fields[11:15])
    return total / (ticks if ticks is not None else os.sysconf("SC_CLK_TCK"))


@dataclass(frozen=True)
class Load:
    """One run of wrk. Rates are per second, of good answers; `goodput` counts those within `limit_ms`."""

    seconds: float
    requests: int
    errors: int
    rate: float
    goodput: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data, rounded to what was measured."""
        return {key: round(value, 2) for key, value in vars(self).items()}


def parse_wrk(text: str) -> Load:
    """What `LUA` wrote at the end of wrk's output. ScriptError when it is not there."""
    for line in text.splitlines():
        if line.startswith("RESULT "):
            found = json.loads(line[len("RESULT ") :])
            seconds = found["us"] / 1e6
            refused = sum(int(found[name]) for name in ("connect", "read", "write", "timeout"))
            good = max(0, found["requests"] - found["status"])
            rate = good / seconds if seconds else 0.0
            return Load(
                seconds=seconds,
                requests=found["requests"],
                errors=refused + found["status"],
                rate=rate,
                goodput=rate * found["within"],
                p50_ms=found["p50"] / 1000,
                p95_ms=found["p95"] / 1000,
                p99_ms=found["p99"] / 1000,
                max_ms=found["max"] / 1000,
            )
    raise ScriptError(f"wrk did not report: {text.strip()[-500:]}")


def wrk(url: str, connections: int, seconds: int, limit_ms: float, cpus: Iterable[int]) -> Load:
    """Loads `url` for whole `seconds` with `connections` kept busy by one thread of wrk on `cpus`.

    wrk counts, beside each answer that took longer than twice the mean, the requests that a steady client would have
    sent meanwhile; percentiles and the share within `limit_ms` include them.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA)
        script.flush()
        command = [
            *("taskset", "-c", ",".join(map(str, cpus)), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"),
            *("--timeout", f"{WRK_TIMEOUT_SECONDS}s", "-s", script.name, url),
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "HEADCOUNT_LIMIT_US": str(round(limit_ms * 1000))},
            start_new_session=True,
        )
        put_first(process.pid, group="load")
        try:
            said, _ = process.communicate(timeout=seconds + WRK_TIMEOUT_SECONDS + 20)
        finally:
            process.kill()
    return parse_wrk(said)


def venv(name: str) -> Path:
    """The folder of a virtual environment of VENVS, made on first use; a change of the sample app makes it anew."""
    if name in PUBLIC:
        return _made(name, "\n".join(PUBLIC[name]), lambda install, log: None)
    lock = paths.ROOT / "app" / "requirements.lock"
    source = paths.ROOT / "app"
    files = sorted(file for file in source.rglob("*.py") if "tests" not in file.parts)
    texts = [lock.read_text(encoding="utf-8"), *(file.read_text(encoding="utf-8") for file in files)]

    def sample(install: list[str | Path], log: Path) -> None:
        run_logged([*install, "--require-hashes", "--requirement", lock], log, "installing the app's lock")
        copied = Path(tempfile.mkdtemp())  # setuptools builds in the source folder
        try:
            shutil.copytree(source, copied / "app", ignore=shutil.ignore_patterns("build", "*.egg-info", "tests"))
            run_logged([*install, "--no-deps", copied / "app"], log, "installing the sample app")
        finally:
            shutil.rmtree(copied)

    return _made(name, "\n".join([*VENVS[name], *texts]), sample)


def _made(name: str, wanted: str, more: Callable[[list[str | Path], Path], None]) -> Path:
    """The virtual environment `name` with its packages and with what `more` installs, anew when `wanted` changes."""
    folder = paths.WORK / "bench" / "venv" / name
    stamp = folder / "headcount.stamp"
    with locked(folder.parent / f"{name}.lock", f"it makes {paths.shown(folder)}"):
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return folder
        packages = {**VENVS, **PUBLIC}[name]
        uv, log = bootstrap.venv_folder() / "bin" / "uv", paths.LOGS / "bench-venv.log"
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python"]
        shutil.rmtree(folder, ignore_errors=True)
        with step(f"making {paths.shown(folder)} (log: {paths.shown(log)})"):
            run_logged([uv, "venv", "--quiet", "--python", "/usr/bin/python3", folder], log, "uv venv")
            more(install, log)
            run_logged([*install, *packages], log, f"installing {' '.join(packages)}")
        stamp.write_text(wanted, encoding="utf-8")
    return folder


def busy_seconds(cpus: Iterable[int]) -> float:
    """CPU seconds that all processes together have used on `cpus` since the machine started, from /proc/stat.

    Without those of groups at idle priority (`cpu.idle`), who get only what nobody else wants: they disturb nobody.
    """
    wanted = {f"cpu{cpu}": cpu for cpu in cpus}
    total = 0
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *fields = line.split()
        if name in wanted:
            total += sum(int(field) for index, field in enumerate(fields[:8]) if index not in (3, 4))
    return total / os.sysconf("SC_CLK_TCK") - idle_seconds(wanted.values())


def idle_seconds(cpus: Iterable[int]) -> float:
    """CPU seconds that groups at idle priority have used on `cpus`, where cgroup version 1 tells it for each CPU."""
    wanted, total = tuple(cpus), 0.0
    for switch in GROUP.parent.rglob("cpu.idle"):
        with contextlib.suppress(OSError):  # the group is gone
            if switch.read_text(encoding="ascii").strip() == "1":
                account = ACCOUNTS / switch.parent.relative_to(GROUP.parent) / "cpuacct.usage_percpu"
                used = account.read_text(encoding="ascii").split()
                total += sum(int(used[cpu]) for cpu in wanted) / 1e9
    return total


def put_first(pid: int, group: str = "server") -> None:
    """Puts a new process and its children before all other work of this machine, as far as that is allowed.

    Groups of their own have the most CPU shares that there are, 256 times those of others. Linux 6.12 and later: with
    a short time slice (sched_setattr(2)) a task that wakes up does not wait for the end of another's.
    """
    if os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):
        if _grouped():
            own = GROUP.with_name(f"{GROUP.name}-{group}")
            own.mkdir(exist_ok=True)
            (own / "cpu.shares").write_text(str(CPU_SHARES), encoding="ascii")
            (own / "cgroup.procs").write_text(str(pid), encoding="ascii")
    call = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
    if call is not None:
        attributes = struct.pack("=IIQiIQQQ", 48, 0, 0, 0, 0, SLICE_NS, 0, 0)
        ctypes.CDLL(None, use_errno=True).syscall(call, pid, attributes, 0)


def _grouped() -> bool:
    return os.geteuid() == 0 and (GROUP.parent / "cpu.shares").exists()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free just now. Below those that the kernel gives to clients, so that no
    connection takes it before the server does."""
    for _ in range(PORT_TRIES):
        port = random.randint(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server's own connections may linger
            probe.bind(("127.0.0.1", port))
            return port
    raise ScriptError(f"no free port of 127.0.0.1 from {PORTS[0]} to {PORTS[1]}")


def tree(root: int, parents: Mapping[int, int]) -> list[int]:
    """`root` and all its descendants, from a table child -> parent."""
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    return found


def all_parents() -> dict[int, int]:
    """Every process's parent, from /proc/PID/stat."""
    result = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
                result[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return result


def alone_mib(rollups: Sequence[Mapping[str, float]], files: Sequence[float]) -> float:
    """MiB that processes of one server take, as if it were alone on the machine.

    Their anonymous memory as PSS (what forked processes share is counted once), and the pages of files once: as many as
    the process with the most of them has resident. Plain PSS would be too small here, where several servers run at the
    same time and divide the pages of Python's libraries among them.
    """
    own = sum(found.get("Pss_Anon", 0.0) + found.get("Pss_Shmem", 0.0) for found in rollups)
    return own + max(files, default=0.0)


@dataclass
class Server:
    """A running server: its main process, where it listens, and its log."""

    process: subprocess.Popen[bytes]
    port: int
    socket: str
    log: Path
    folder: tempfile.TemporaryDirectory[str] = field(repr=False)
    health: str = HEALTH

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"

    def pids(self) -> list[int]:
        """Its living processes, the main one first."""
        return tree(self.process.pid, all_parents())

    def cpu_seconds(self) -> float:
        """CPU seconds that its living processes have used, and those that they waited for."""
        return float(process_cpu_seconds(self.pids()))

    def spread(self, cpus: Sequence[int], pids: Sequence[int] | None = None) -> None:
        """Puts its processes on `cpus` in turn, and leaves them free again.

        With other work on all CPUs the kernel may leave two busy processes on one of them for long, which it would not
        do on a host of their own.
        """
        for index, pid in enumerate((self.pids() if pids is None else pids)[1:]):
            with contextlib.suppress(OSError):
                if index < SPREAD_MOST:
                    os.sched_setaffinity(pid, {cpus[index % len(cpus)]})
                    os.sched_setaffinity(pid, set(cpus))

    def memory_mib(self) -> float:
        """See `alone_mib`."""
        rollups, files = [], []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                rollups.append(parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")))
                status = parse_rollup(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
                files.append(status.get("RssFile", 0.0))
        return alone_mib(rollups, files)

    def settle(self, processes: int, seconds: float = BOOT_SECONDS) -> None:
        """Waits until it answers, has this many processes, and is at rest (it uses no CPU): all is imported, nothing is
        left of a load."""
        end = time.monotonic() + seconds
        used = math.inf
        why = "it did not start"
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise ScriptError(f"a server ended with code {self.process.returncode}: {self.said()}")
            pids = self.pids()
            now = process_cpu_seconds(pids)
            if len(pids) >= processes and 0 <= now - used < QUIET_CPU_SECONDS:
                answer = http.get(("127.0.0.1", self.port), self.health, 10.0)
                if answer.status == 200:
                    return
                why = answer.error or f"{self.health} answered {answer.status}"
            used = now
            time.sleep(QUIET_SECONDS)
        raise ScriptError(f"a server was not ready within {seconds:g} s: {why}; {self.said()}")

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-1500:].strip()

    def stop(self) -> None:
        """Ends its processes at once: nobody waits for what they still serve."""
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=20)
        self.folder.cleanup()


def start(
    command: Sequence[str],
    cpus: Iterable[int],
    files: Mapping[str, str],
    environment: Mapping[str, str],
    health: str = HEALTH,
) -> Server:
    """Starts a server pinned to `cpus`. In the words of `command`, {port}, {socket} and {folder} are filled in; `files`
    are written to the folder first."""
    folder = tempfile.TemporaryDirectory(prefix="headcount-bench-")
    root = Path(folder.name)
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    port, path = free_port(), str(root / "server.sock")
    filled = [word.format(port=port, socket=path, folder=root) for word in command]
    log = root / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, cpus)), *filled],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=root,
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
    put_first(process.pid)
    server = Server(process, port, path, log, folder, health)
    with _LOCK:
        _STARTED.append(server)
    return server


def stop_all() -> None:
    """Ends every server that still runs: for the end of a benchmark, however it ends."""
    with _LOCK:
        left = [server for server in _STARTED if server.process.poll() is None]
    for server in left:
        server.stop()
    for folder in GROUP.parent.glob(f"{GROUP.name}-*"):
        with contextlib.suppress(OSError):  # another benchmark's servers are in it
            folder.rmdir()


_STARTED: list[Server] = []
_LOCK = threading.Lock()


@contextlib.contextmanager
def running(
    command: Sequence[str],
    cpus: Iterable[int],
    processes: int,
    files: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A server with at least so many processes, stopped at the end."""
    server = start(command, cpus, files or {}, environment or {})
    try:
        server.settle(processes)
        yield server
    finally:
        server.stop()


@dataclass(frozen=True)
class TreeUnit:
    """Stands for a systemd unit in `measure.weigh`: the processes of a server of this benchmark."""

    server: Server

    @property
    def main_pid(self) -> int:
        """Gunicorn's master."""
        return self.server.process.pid

    def pids(self) -> list[int]:
        """Its living processes."""
        return self.server.pids()

    def cpu_seconds(self) -> float:
        """As `weighed.Unit` counts it without a cgroup of the unit's own."""
        return float(weighed.scheduled_seconds(self.pids()))

    def queued_seconds(self) -> float:
        """As `weighed.Unit` counts it."""
        return float(weighed.queued_seconds(self.pids()))

    def memory(self) -> dict[int, ProcessMemory]:
        """Memory by process."""
        return {pid: found for pid in self.pids() if (found := read_process(pid)) is not None}

    def own_mib(self) -> float:
        """As `weighed.Unit` reads it."""
        return float(sum(own_mib(pid) for pid in self.pids() if pid != self.main_pid))

    def ends(self) -> Sequence[WorkerEnd]:
        """Nobody writes them down here."""
        return ()


def divide_cpus(cores: int, available: Sequence[int], lanes: int = 1) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """The CPUs of each lane's server (the last of `available`), and those that are left for the load.

    ScriptError when there would be none left.
    """
    cpus = list(available)
    if len(cpus) < cores + 1:
        raise ScriptError(f"a server on {cores} CPUs needs one more for the load, and there are {len(cpus)}")
    most = max(1, min(lanes, (len(cpus) - 1) // cores))
    servers = [tuple(cpus[len(cpus) - (lane + 1) * cores : len(cpus) - lane * cores]) for lane in range(most)]
    return servers, tuple(cpus[: len(cpus) - most * cores])
