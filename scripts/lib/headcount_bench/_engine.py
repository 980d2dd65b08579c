# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Drives the collection's own engine on lab hosts, step by step, as the modules do, and lets users ask meanwhile."""

from __future__ import annotations

import contextlib
import getpass
import importlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headcount_scripts import paths
from headcount_scripts.console import ScriptError
from headcount_scripts.podman import podman

from ._common import Bench, Lab

HERE = Path(__file__).resolve().parent
ONHOST = "/var/lib/headcount-bench"
HOST_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GATHER = threading.Lock()
EASY: Mapping[str, Any] = {
    "limits": {"p95_ms": 10_000, "error_rate": 0.05},
    "load": {"rate": 10, "seconds": 6},
    "on_inconclusive": "promote",
}
"""For an app of which something else than time is measured: a machine that stands still for a moment is not to stop its
rollout."""


def collection(name: str) -> Any:
    """A module of the collection in this checkout: "module_utils._plan.planner"."""
    folder = str(paths.ROOT / ".collections")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(f"ansible_collections.headcount.gunicorn.plugins.{name}")


def shop(name: str = "shop", **changes: Any) -> dict[str, Any]:
    """The sample app as an inventory would declare it."""
    return {
        "name": name,
        "source": {"path": str(paths.ROOT / "app")},
        "entry_point": "shop.wsgi:create_app()",
        "listen": "0.0.0.0:8000",
        "profile": "io",
        "concurrency": 20,
        "health": {"path": "/healthz", "contains": "ok", "boot_seconds": 20, "timeout_seconds": 5},
        "load": {"paths": ["/wait?ms=20"], "rate": 60, "seconds": 6},
        "limits": {"p95_ms": 250, "error_rate": 0.02, "memory_percent": 80},
        "verify_seconds": 2,
        **changes,
    }


@dataclass
class Engine:
    """The engine on one host of a lab. `cache` keeps gathered wheels between runs."""

    lab: Lab
    host: str
    cache: Path
    facts: dict[str, Any] = field(default_factory=dict)
    init: int = 0

    def sh(self, command: str, *, check: bool = False, timeout: float = 120.0) -> str:
        """A shell command as root in the host, within its namespaces: many times cheaper than podman exec."""
        words = ["nsenter", "-t", str(self._init()), "-m", "-u", "-i", "-n", "-p", "-C", "--", "env", "-i", HOST_PATH]
        done = subprocess.run([*words, "HOME=/root", "sh", "-c", command], stdin=subprocess.DEVNULL, timeout=timeout,
                              capture_output=True, text=True, errors="replace", check=False)  # fmt: skip
        if check and done.returncode:
            raise ScriptError(f"{self.host}: {command[:120]} ended with code {done.returncode}: {done.stderr[-800:]}")
        return done.stdout

    def _init(self) -> int:
        """The process id, on this machine, of the host's PID 1; it changes with each power cycle."""
        if not self.init or not Path(f"/proc/{self.init}/root").exists():
            container = self.lab.container(self.host)
            self.init = int(podman("inspect", "--format", "{{.State.Pid}}", container).stdout)
        return self.init

    def push(self) -> None:
        """Put the engine on the host, and read the host's facts."""
        sources = paths.ROOT / "plugins" / "module_utils"
        files: dict[str, bytes | Path] = {
            f"{ONHOST}/headcount/{file.relative_to(sources)}": file
            for file in sources.rglob("*.py")
            if file.name != "_wiring.py"
        }
        files[f"{ONHOST}/headcount/__init__.py"] = b""
        for name in ("_onhost.py", "_client.py"):
            files[f"{ONHOST}/{name}"] = HERE / name
        self.sh(f"rm -rf {ONHOST}/headcount; mkdir -p {ONHOST}/headcount")
        self.lab.put(self.host, files)
        code = (
            f"import sys, json; sys.path.insert(0, {ONHOST!r}); from headcount._facts import hostfacts; "
            "print(json.dumps(hostfacts.read().to_dict()))"
        )
        self.facts = json.loads(self.lab.run(self.host, ["/usr/bin/python3", "-c", code]))

    def request(self, app: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `stage` for a declared app; its wheels are on the host afterwards."""
        declaration, planner = (
            collection("module_utils._declaration.normalise"),
            collection("module_utils._plan.planner"),
        )
        wheelhouse = collection("plugin_utils._wheels.wheelhouse")
        normal, problems = declaration.normalise_apps([dict(app)], self.host)
        if problems:
            raise ScriptError("; ".join(map(str, problems)))
        declared = normal[0]
        planning = {"facts": self.facts, "apps": [{**declared, "secrets": {}}], "measured": {}, "fleet": {},
                    "previous": {}, "async_verdicts": {}}  # fmt: skip
        plan = planner.plan_host(**planning)[declared["name"]].to_dict()
        python = self.facts["python"]["version"]
        platform = wheelhouse.Platform(python, self.facts["platform"]["machine"], self.facts["platform"]["libc"])
        packages = plan["settings"]["gunicorn_packages"]["value"]
        packages = packages if isinstance(packages, list) else str(packages).split()
        with _GATHER:
            wheels = wheelhouse.gather(declared["source"], platform, packages, self.cache, paths.ROOT)
            archive = self.cache / f"{wheels.id}.tar"
            if not archive.exists():
                wheelhouse.pack(wheels.files, archive)
        remote = f"{ONHOST}/{wheels.id}.tar"
        if self.sh(f"test -e {remote} && echo yes").strip() != "yes":
            podman("cp", str(archive), f"{self.lab.container(self.host)}:{remote}")
        return {
            "app": {**declared, "secrets": {}},
            "secrets": declared["secrets"],
            "plan": plan,
            "planning": planning,
            "digest": secrets.token_hex(8),
            "source_id": "bench",
            "release": {"id": wheels.id, "lock_text": wheels.lock_text},
            "wheels_dir": "/var/lib/headcount/wheels",
            "python": "/usr/bin/python3",
            "archive": remote,
        }

    def steps(
        self,
        app: str,
        *ops: str | tuple[str, Mapping[str, Any]],
        at: Mapping[str, Any] | None = None,
        number: int | None = None,
        run: Mapping[str, str] | None = None,
        gone: Sequence[str] = (),
        timeout: float = 240.0,
        prefix: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Run ops of the engine on the host; one dict each, the last with `failed` when it did. See _onhost.py."""
        with self.begin(app, *ops, at=at, number=number, run=run, gone=gone, prefix=prefix) as process:
            return process.wait(timeout)

    def begin(
        self,
        app: str,
        *ops: str | tuple[str, Mapping[str, Any]],
        at: Mapping[str, Any] | None = None,
        number: int | None = None,
        run: Mapping[str, str] | None = None,
        gone: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> Steps:
        """As steps(), without waiting for the end."""
        request = {
            "app": app,
            "run": dict(run or this_run()),
            "gone": list(gone),
            "number": number,
            "ops": [[op, {}] if isinstance(op, str) else [op[0], dict(op[1])] for op in ops],
            "at": dict(at) if at else None,
        }
        command = [*prefix, "/usr/bin/python3", f"{ONHOST}/_onhost.py"]
        return Steps(self.lab.command(self.host, command), request)

    def status(self, app: str) -> dict[str, Any]:
        """What the host's own tool says of the app."""
        text = self.sh(f"headcount status --json {app}")
        try:
            return dict(json.loads(text)[app])
        except (ValueError, KeyError):
            return {}

    def ledger(self, app: str) -> list[dict[str, Any]]:
        """The app's ledger on the host, oldest first."""
        found = []
        for line in self.sh(f"cat /var/lib/headcount/{app}/ledger.jsonl 2>/dev/null").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def live(self, app: str) -> int | None:
        """The number that the link `live` says."""
        text = self.sh(f"readlink /opt/headcount/{app}/live").strip().rpartition("/")[2]
        return int(text) if text.isdigit() else None

    @contextlib.contextmanager
    def users(self, address: Any, arms: Sequence[Mapping[str, Any]], *, inside: bool = False, timeout: float = 15.0
              ) -> Iterator[Users]:  # fmt: skip
        """Users who ask all the while; their rows are in `.rows` afterwards."""
        command = [sys.executable, str(HERE / "_client.py")]
        if inside:
            command = self.lab.command(self.host, ["/usr/bin/python3", f"{ONHOST}/_client.py"])
        users = Users(command, {"address": address, "timeout": timeout, "seconds": None, "arms": list(arms)})
        try:
            yield users
        finally:
            users.stop()


def this_run(run_id: str = "") -> dict[str, str]:
    """Who runs the bench."""
    return {
        "id": run_id or secrets.token_hex(4),
        "user": getpass.getuser(),
        "controller": "bench",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


class Steps:
    """Steps that run on a host."""

    def __init__(self, command: Sequence[str], request: Mapping[str, Any]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[dict[str, Any]] = []
        self.held = threading.Event()
        self.ended = threading.Event()
        self.errors = ""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request))
            self.process.stdin.close()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if value.get("held"):
                    self.held.set()
                else:
                    self.lines.append(value)
        self.ended.set()
        self.held.set()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()

    def wait_held(self, timeout: float) -> bool:
        """Wait until the place was reached; False when the steps ended without."""
        self.held.wait(timeout)
        return self.held.is_set() and not self.ended.is_set()

    def wait(self, timeout: float) -> list[dict[str, Any]]:
        """Wait for the end; the lines, with one more when the process was killed or broke."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise ScriptError(f"the steps did not end within {timeout:g} s: {self.lines}") from None
        for thread in self._threads:
            thread.join(10)
        if code not in (0, 1, 2) or (code and not (self.lines and "failed" in self.lines[-1])):
            killed = code in (137, 255, -signal.SIGKILL)
            self.lines.append({"op": "", "failed": "killed" if killed else f"code {code}: {self.errors[-800:]}",
                               "killed": killed, "phase": "killed" if killed else "internal"})  # fmt: skip
        return self.lines

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Users:
    """Users under way; see _client.py, also for `rows` and `held_up`."""

    def __init__(self, command: Sequence[str], spec: Mapping[str, Any]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(spec) + "\n")
        self.process.stdin.flush()
        self.rows: list[list[Any]] = []
        self.held_up: list[list[float]] = []
        self.began = time.time()
        self._stopped = False

    def stop(self) -> None:
        """Let the requests in flight end, and take in the rows."""
        if self._stopped:
            return
        self._stopped = True
        assert self.process.stdin is not None
        try:
            out, _ = self.process.communicate(timeout=60)
            told = json.loads(out)
            self.rows, self.began, self.held_up = told["rows"], told["began"], told["held_up"]
        except (subprocess.TimeoutExpired, ValueError) as error:
            self.process.kill()
            raise ScriptError(f"the users did not tell what they got: {error}") from None


def failures(rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """The rows without a good answer."""
    return [row for row in rows if not 200 <= int(row[3]) < 400]


HELD_UP_S = 2.0
"""A client that is silent for so long may find its connection closed: a stopping Gunicorn keeps idle ones so long."""


def held_up(users: Users) -> list[list[Any]]:
    """Those of the rows without any answer within which the users' own program stood still for HELD_UP_S: they are
    lost as all others are, and a reader may want to know that the machine was busy."""
    found: list[list[Any]] = []
    for row in failures(users.rows):
        begin, end = float(row[1]), float(row[1]) + float(row[2]) / 1000
        stood = sum(max(0.0, min(end, until) - max(begin, since)) for since, until in users.held_up)
        if int(row[3]) == 0 and stood >= HELD_UP_S:
            found.append(list(row))
    return found


def notes_of(bench: Bench) -> str:
    """What whoever ran it has to say of this run: notes.md in the benchmark's folder, as a section; else nothing."""
    path = bench.folder / "notes.md"
    return f"\n## About this run\n\n{path.read_text(encoding='utf-8').strip()}\n" if path.exists() else ""


def wheel_cache() -> Path:
    """Where benchmarks keep what they gathered."""
    folder = paths.WORK / "bench" / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def environ() -> dict[str, str]:
    """The environment for tools of the checkout's virtual environment; of Ansible every task is told."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "ANSIBLE_STDOUT_CALLBACK": "default"}
