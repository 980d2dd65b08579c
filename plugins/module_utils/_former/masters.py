# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The masters of the Gunicorns that services of this host run, each with its workers and its settings. Read only."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from typing import Callable, Dict, Final, List, Mapping, Sequence

from .._os.procfs import parent, read_text
from .._os.systemd import Systemd
from . import commandline, conffile
from .asservice import Reader, reader_of

CONFIG_FILE: Final = "gunicorn.conf.py"
MOST_MASTERS: Final = 50
SECONDS: Final = 10.0
"""So many Gunicorns of a host, and so long, are looked at."""

_UNREADABLE: Final = f"the whole file, which is no plain file, or is longer than {conffile.MOST_BYTES // 1024} KiB"


class Deadline:
    """When no more is looked at."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._end = clock, clock() + SECONDS

    def passed(self) -> bool:
        """Whether it has."""
        return self._clock() > self._end


@dataclass(frozen=True)
class Service:
    """The Gunicorns of a service that are its masters, each with its workers; `pids`: all of them."""

    name: str
    pids: List[int]
    masters: Dict[int, List[int]]


def declared(unit: str, cores: int = 1, root: str = "/", systemd: Systemd | None = None) -> list[tuple[int, Declared]]:
    """The Gunicorns that a service runs: how many workers each has, and how it was started."""
    manager, deadline = systemd or Systemd(), Deadline(time.monotonic)
    masters = service_of(unit, by_unit(unit, root, deadline)[0].get(unit) or {}).masters
    if not masters:
        return []
    told = manager.properties(unit, "ExecStart")
    found: list[tuple[int, Declared]] = []
    for master, workers in itertools.islice(masters.items(), MOST_MASTERS):
        if not deadline.passed():
            found.append((len(workers), Master(root, master, cores, told).declared(workers)))
    return found


def by_unit(unit: str | None, root: str, deadline: Deadline) -> tuple[dict[str, dict[int, int | None]], bool]:
    """The processes of each service that are Gunicorns, each with its parent, and whether all processes were looked at.
    Where no `unit` is asked for, those of none have the name ""."""
    found: dict[str, dict[int, int | None]] = {}
    for pid in _pids(root):
        if deadline.passed():
            return found, False
        if commandline.own_words(words_of(root, pid)) or _title(root, pid):
            name = _unit_of(root, pid)
            if unit in (None, name):
                found.setdefault(name, {})[pid] = parent(pid, root)
    return found, True


def service_of(name: str, parents: Mapping[int, int | None]) -> Service:
    """Its masters: those whose parent is no Gunicorn of it."""
    workers: dict[int, list[int]] = {pid: [] for pid in parents}
    masters = []
    for pid, above in parents.items():
        if above is not None and above in workers:
            workers[above].append(pid)
        else:
            masters.append(pid)
    return Service(name, list(parents), {pid: workers[pid] for pid in masters})


def _pids(root: str) -> list[int]:
    return sorted(int(name) for name in os.listdir(os.path.join(root, "proc")) if name.isdigit())


def words_of(root: str, pid: int) -> list[str]:
    """The command line of a process."""
    return [word for word in (read_text(root, f"/proc/{pid}/cmdline") or "").split("\0") if word]


def _title(root: str, pid: int) -> bool:
    """Whether a process is a Gunicorn that has made a title of its command line."""
    return (read_text(root, f"/proc/{pid}/cmdline") or "").startswith(commandline.TITLE)


def _unit_of(root: str, pid: int) -> str:
    """The service that a process belongs to, by its control groups; "" where it belongs to none."""
    for line in (read_text(root, f"/proc/{pid}/cgroup") or "").splitlines():
        parts = line.split(":", 2)
        names = [part for part in parts[-1].split("/") if part.endswith(".service")]
        if len(parts) == 3 and parts[1] in ("", "name=systemd") and names:
            return names[-1] if not names[0].startswith("user@") else ""
    return ""


@dataclass(frozen=True)
class Declared:
    """How a master was started: its `settings` as Gunicorn takes them, those of GUNICORN_CMD_ARGS among them, and the
    `path` of its file of settings with what that says; `reader`: that of its files."""

    reader: Reader
    by_environment: Mapping[str, object]
    path: str
    conf: conffile.ConfFile
    settings: Dict[str, object]


@dataclass
class Master:
    """One master as it is read."""

    root: str
    master: int
    cores: int
    unit: Mapping[str, str]

    def __post_init__(self) -> None:
        words = words_of(self.root, self.master)
        by_unit = commandline.parse(commandline.exec_words(self.unit.get("ExecStart", "")))
        self.command = commandline.parse(words) or by_unit or commandline.Command(tuple(words))
        self.environment = self._environment()
        self.folder = link(self.root, f"/proc/{self.master}/cwd")

    def _environment(self) -> dict[str, str]:
        pairs = (read_text(self.root, f"/proc/{self.master}/environ") or "").split("\0")
        return {name: value for name, equals, value in (pair.partition("=") for pair in pairs) if equals and name}

    def declared(self, workers: Sequence[int]) -> Declared:
        """Its settings, by its command line, its environment and its file."""
        by_environment = commandline.from_environment(self.environment.get("GUNICORN_CMD_ARGS", ""))
        declared = {**by_environment, **self.command.settings}
        # What lies there may be made to mislead who reads it.
        reader = reader_of(self.root, self.master, workers, str(declared.get("user") or ""))
        path, conf = self._config(declared, reader)
        settings = commandline.merged(conf.settings, by_environment, self.command.settings)
        return Declared(reader, by_environment, path, conf, settings)

    def _config(self, settings: Mapping[str, object], reader: Reader) -> tuple[str, conffile.ConfFile]:
        """The path of its file of settings, and what that says; "" without one."""
        declared = str(settings.get("config") or "")
        if declared.startswith("python:"):
            # A module of the app: only importing it would tell.
            return declared, conffile.ConfFile(unread=("all that it says",))
        name = declared[len("file:") :] if declared.startswith("file:") else declared
        path = os.path.join(self.folder or "/", name or CONFIG_FILE)
        text = reader.text(path, conffile.MOST_BYTES)
        if text is None:
            if not declared and reader.ids is not None and not reader.is_there(path):
                return "", conffile.ConfFile()
            why = reader.hinders(path)
            return path, conffile.ConfFile(unread=(f"the whole file, {why}" if why else _UNREADABLE,))
        return path, conffile.read(text, self.cores, self.environment)


def link(root: str, path: str) -> str:
    """What a link leads to; "" where there is none."""
    try:
        return os.readlink(os.path.join(root, path.lstrip("/")))
    except OSError:
        return ""
