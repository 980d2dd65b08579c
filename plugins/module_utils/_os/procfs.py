# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Small readers of /proc and /sys text files, all of them relative to a root directory.

Everything takes `root` so that a captured tree of another host can be read as if it were this one. A file that is
missing or unreadable is `None`, never an exception: what a host does not tell is not known.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from typing import Iterable

from .paths import under

MIB = 1024 * 1024


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


LISTENS = 0x10000
"""__SO_ACCEPTCON of the flags in /proc/net/unix."""


def port_holders(port: int, root: str = "/") -> list[str]:
    """Who listens on a TCP port of this host, as "name (pid N)", with its service and how to end that, sorted by
    process id; empty where nobody can tell.

    systemd holds the sockets of all its units: it is named only where no other process has the socket.
    """
    return _holders(_listening(port, _tcp(root)), root)


def socket_holders(path: str, root: str = "/") -> list[str]:
    """Who listens on the unix socket at `path`, as port_holders() tells it.

    Fields 4, 5 and 8 of /proc/net/unix: flags (with __SO_ACCEPTCON where somebody listens), type (1: stream), path. A
    socket of another type has no listener: whoever has bound it has it.
    """
    rows = [line.split() for line in (read_text(root, "/proc/net/unix") or "").splitlines()[1:]]
    bound = [fields for fields in rows if len(fields) > 7 and fields[7] == path]
    found = {f"socket:[{fields[6]}]" for fields in bound if int(fields[3], 16) & LISTENS or fields[4] != "0001"}
    return _holders(found, root)


def _holders(sockets: set[str], root: str) -> list[str]:
    found: dict[int, str] = {}
    proc = under(root, "/proc")
    for pid in [name for name in os.listdir(proc) if name.isdigit()] if sockets else []:
        folder = os.path.join(proc, pid, "fd")
        with contextlib.suppress(OSError):
            if any(_link(os.path.join(folder, name)) in sockets for name in os.listdir(folder)):
                name = read_text(root, f"/proc/{pid}/comm") or "a process"
                unit = _service(pid, root)
                ends = f" of {unit} (`systemctl disable --now {unit}` ends it for good)" if unit else ""
                found[int(pid)] = f"{name} (pid {pid}){ends}"
    others = [words for pid, words in sorted(found.items()) if pid != 1]
    return others or list(found.values())


_SERVICE = re.compile(r"^(?:0:|\d+:name=systemd):.*/system\.slice/(?:[^/\n]+\.slice/)*([^/\n]+\.service)", re.MULTILINE)


def _service(pid: str, root: str) -> str:
    """The service of the host that a process belongs to, by its control group; empty where it is in none."""
    text = read_text(root, f"/proc/{pid}/cgroup") or ""
    found = _SERVICE.search(text)
    return found.group(1) if found else ""


def _tcp(root: str) -> list[str]:
    """What the kernel's tables of TCP sockets say, for version 4 and 6; none where they cannot be read."""
    return [text for table in ("/proc/net/tcp", "/proc/net/tcp6") if (text := read_text(root, table)) is not None]


def _listening(port: int, tables: Iterable[str]) -> set[str]:
    """The sockets that listen on a TCP port, as links below /proc/PID/fd name them."""
    found: set[str] = set()
    for text in tables:
        for line in text.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _listening_unix(path: str, table: str) -> set[str]:
    found: set[str] = set()
    for line in table.splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) > 7 and fields[7] == path and int(fields[3], 16) & LISTENS:
            found.add(f"socket:[{fields[6]}]")
    return found


def listens(pid: int, listen: str, root: str = "/") -> bool | None:
    """Whether process `pid` has a socket that listens on `listen` ("host:port" or "unix:/path"); None: who knows.

    A unix socket must be reached by its path, too.
    """
    unix = listen.startswith("unix:")
    folder = under(root, f"/proc/{pid}/fd")
    try:
        links = {_link(os.path.join(folder, name)) for name in os.listdir(folder)}
    except OSError:
        return None
    tables = [text for text in (read_text(root, "/proc/net/unix"),) if text is not None] if unix else _tcp(root)
    if not tables:
        return None
    wanted = _listening_unix(listen[5:], tables[0]) if unix else _listening(int(listen.rpartition(":")[2]), tables)
    held = links & wanted
    if not unix or root != "/" or not held:
        return bool(held)
    return leads_to(listen[5:], (int(link[len("socket:[") : -1]) for link in held))


def leads_to(path: str, inodes: Iterable[int]) -> bool:
    """Whether who connects to the unix socket at `path` comes to one of the sockets `inodes`.

    A socket outlives its file, and /proc goes on telling its path: where the file is gone, or another one is in its
    place, nobody comes to it any more. The kernel knows to which file each socket is bound (UNIX_DIAG_VFS of
    sock_diag(7)); who called listen() last, which a connection tells, need not be who holds the socket.
    """
    wanted = set(inodes)
    try:
        file = os.stat(path).st_ino & 0xFFFFFFFF
    except OSError:
        return False
    try:
        bound = [told.get(UNIX_FILE, b"") for inode, told in unix_rows(ask_unix(SHOW_FILE)) if inode in wanted]
    except OSError:
        return True  # a kernel that does not tell
    return any(len(where) >= 4 and struct.unpack_from("=I", where)[0] == file for where in bound)


_SOCK_DIAG, _BY_FAMILY, _DUMP, _DONE, _ERROR, _LISTENING = 4, 20, 0x301, 3, 2, 1 << 10
SHOW_NAME, SHOW_FILE, SHOW_QUEUE = 1, 2, 0x10
UNIX_NAME, UNIX_FILE, UNIX_QUEUE = 0, 1, 4


def ask_unix(show: int) -> bytes:
    """The answer of sock_diag(7) for all unix sockets that listen; `show`: what of each. Raises OSError."""
    request = struct.pack("=BBHIII8s", socket.AF_UNIX, 0, 0, _LISTENING, 0, show, b"\xff" * 8)
    header = struct.pack("=IHHII", 16 + len(request), _BY_FAMILY, _DUMP, 1, 0)
    told = b""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.sendto(header + request, (0, 0))
        while not _is_last(part := kernel.recv(1 << 16)):
            told += part
    return told + part


def _is_last(part: bytes) -> bool:
    kinds = [kind for kind, _ in _messages(part)]
    return not kinds or kinds[-1] in (_DONE, _ERROR)


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    """(kind, content) of the netlink messages in `data`."""
    found, place = [], 0
    while place + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, place)
        if length < 16:
            break
        found.append((kind, data[place + 16 : place + length]))
        place += (length + 3) & ~3
    return found


def unix_rows(data: bytes) -> list[tuple[int, dict[int, bytes]]]:
    """(inode, {attribute: its bytes}) of each unix socket in what ask_unix() answered."""
    rows = []
    for content in (content for kind, content in _messages(data) if kind == _BY_FAMILY and len(content) >= 16):
        told, place = {}, 16
        while place + 4 <= len(content):
            length, attribute = struct.unpack_from("=HH", content, place)
            if length < 4:
                break
            told[attribute] = content[place + 4 : place + length]
            place += (length + 3) & ~3
        rows.append((struct.unpack_from("=I", content, 4)[0], told))
    return rows


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
