# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Small readers of /proc and /sys text files, all of them relative to a root directory.

Everything takes `root` so that a captured tree of another host can be read as if it were this one. A file that is
missing or unreadable is `None`, never an exception: what a host does not tell is not known.
"""

from __future__ import annotations

import contextlib
import os
from typing import Iterable

from .paths import under

MIB = 1024 * 1024

BEAT_FILE = "wgunicorn-"
"""What a worker of Gunicorn touches while it goes on: a file without a name, which only its descriptor leads to."""


def read_text(root: str, path: str) -> str | None:
    """The stripped text of a file, or None when it cannot be read."""
    try:
        with open(under(root, path), encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return None


def read_int(root: str, path: str) -> int | None:
    """The single integer that a file holds; None when it is missing, or holds something else (`max`)."""
    return to_int(read_text(root, path))


def to_int(text: str | None) -> int | None:
    """A decimal integer, or None."""
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def read_pairs(root: str, path: str) -> dict[str, int]:
    """A flat keyed file (`memory.stat`, `cpu.stat`): one `key value` a line. {} when it is missing."""
    pairs: dict[str, int] = {}
    for line in (read_text(root, path) or "").splitlines():
        key, _, value = line.partition(" ")
        number = to_int(value.strip())
        if number is not None:
            pairs[key] = number
    return pairs


def read_status(root: str, pid: str) -> dict[str, str]:
    """/proc/PID/status as {field: text}; {} when it cannot be read."""
    fields: dict[str, str] = {}
    for line in (read_text(root, f"/proc/{pid}/status") or "").splitlines():
        key, separator, value = line.partition(":")
        if separator:
            fields[key.strip()] = value.strip()
    return fields


def read_meminfo(root: str) -> dict[str, float]:
    """/proc/meminfo in MiB: {"MemTotal": 24104.7, ...}."""
    fields: dict[str, float] = {}
    for line in (read_text(root, "/proc/meminfo") or "").splitlines():
        key, separator, value = line.partition(":")
        parts = value.split()
        if separator and len(parts) == 2 and parts[1] == "kB" and to_int(parts[0]) is not None:
            fields[key.strip()] = int(parts[0]) / 1024.0
    return fields


def parse_cpu_list(text: str | None) -> frozenset[int]:
    """A CPU list as the kernel (`0-3,8`) or systemd (`0-3 8`) prints it. Empty for None, "" and nonsense."""
    cpus: set[int] = set()
    for part in (text or "").replace(",", " ").split():
        first, dash, last = part.partition("-")
        low, high = to_int(first), to_int(last.partition(":")[0]) if dash else to_int(first)
        if low is None or high is None:
            return frozenset()
        cpus.update(range(low, high + 1))
    return frozenset(cpus)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """The shortest kernel-style list of the CPUs: {0, 1, 2, 8} -> `0-2,8`."""
    runs: list[tuple[int, int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], cpu)
        else:
            runs.append((cpu, cpu))
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def parse_os_release(text: str | None) -> dict[str, str]:
    """os-release(5): {"ID": "debian", "VERSION_ID": "12", ...}, quotes removed."""
    fields: dict[str, str] = {}
    for line in (text or "").splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith("#"):
            fields[key] = value.strip().strip("\"'")
    return fields


def children(parent: int, pids: Iterable[int], root: str = "/") -> frozenset[tuple[int, int]]:
    """Those of `pids` whose parent is `parent`, each with its start time (clock ticks since the boot): a number that is
    given to another process is another child. Fields 4 and 22 of /proc/PID/stat (proc(5))."""
    found = set()
    for pid in pids:
        fields = (read_text(root, f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
        if len(fields) > 19 and to_int(fields[1]) == parent:
            found.add((pid, to_int(fields[19]) or 0))
    return frozenset(found)


def parent(pid: int, root: str = "/") -> int | None:
    """The process that a process is a child of; None where it has ended."""
    fields = (read_text(root, f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return to_int(fields[1]) if len(fields) > 1 else None


def descriptor_of(pid: int, name: str, proc: str = "/proc") -> str:
    """The number of the process's first descriptor that leads to a file of this name, as text; empty where there is
    none."""
    folder = os.path.join(proc, str(pid), "fd")
    with contextlib.suppress(OSError):
        for number in sorted(os.listdir(folder), key=int):
            with contextlib.suppress(OSError):  # a connection that is over by now
                if name in os.readlink(os.path.join(folder, number)):
                    return number
    return ""
