# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who has an address of this host, in words: why nothing new could listen there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat

from .addresses import local_address, refusal
from .paths import present_apps, under
from .procfs import read_text
from .sockets import LISTENS, listening, target_of, tcp, users_path


def address_taken(listen: str | None) -> str | None:
    """Why nothing new could listen on `listen` of this host: another process does. None when it is free.

    Who listens on a port is named where /proc tells it.
    """
    if not listen:
        return None
    address = local_address(listen)
    if isinstance(address, str):
        words = _path_taken(address)
        return f"listen address {listen} {words}" if words else None
    error = refusal(listen)
    if error is None:
        return None
    if error.errno != errno.EADDRINUSE:
        return f"listen address {listen} cannot be taken: {error.strerror}"
    holders = port_holders(address[1])
    words = f": {', '.join(holders[:3])}" if holders else ""
    return f"listen address {listen} is taken by another process{words}"


def _path_taken(path: str) -> str | None:
    """Why no unix socket can be made at `path`, in words; None when it can.

    systemd removes whatever file is in the way of a socket, so that only a socket that nobody listens on may be there.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        folder = os.path.dirname(path)
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        return None if os.path.isdir(folder) else f"cannot be taken: {folder} is no folder"
    except NotADirectoryError:
        return f"cannot be taken: a folder on the way to it is a file: {path}"
    except OSError as error:
        return f"cannot be taken: {error.strerror}"
    if not stat.S_ISSOCK(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "a file"
        return f"is taken: {path} is {kind} of somebody else's and no socket"
    holders = socket_holders(path)
    if holders:
        # Not asked, because a connection would start what systemd holds the socket for.
        return f"is taken by another process: {', '.join(holders[:3])}"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return None  # systemd replaces a socket file that nobody listens on
        except OSError:
            pass  # of another kind (datagrams), or with a full backlog: somebody is there
    return "is taken by another process"


def port_holders(port: int, root: str = "/") -> list[str]:
    """Who listens on a TCP port of this host, as "name (pid N)", with its service and how to end that, sorted by
    process id; empty where nobody can tell.

    systemd holds the sockets of all its units: it is named only where no other process has the socket.
    """
    return who_has(listening(port, tcp(root)), root)


def socket_holders(path: str, root: str = "/") -> list[str]:
    """Who listens on the unix socket at `path`, as port_holders() tells it.

    Fields 4, 5 and 8 of /proc/net/unix: flags (with __SO_ACCEPTCON where somebody listens), type (1: stream), path. A
    socket of another type has no listener: whoever has bound it has it.
    """
    rows = [line.split() for line in (read_text(root, "/proc/net/unix") or "").splitlines()[1:]]
    bound = [fields for fields in rows if len(fields) > 7 and users_path(fields[7]) == path]
    found = {f"socket:[{fields[6]}]" for fields in bound if int(fields[3], 16) & LISTENS or fields[4] != "0001"}
    return who_has(found, root)


def who_has(sockets: set[str], root: str) -> list[str]:
    """Who holds one of these sockets, each as a link below /proc/PID/fd names it, as port_holders() tells it."""
    found: dict[int, tuple[str, str]] = {}
    proc = under(root, "/proc")
    for pid in [name for name in os.listdir(proc) if name.isdigit()] if sockets else []:
        folder = os.path.join(proc, pid, "fd")
        with contextlib.suppress(OSError):
            if any(target_of(os.path.join(folder, name)) in sockets for name in os.listdir(folder)):
                name = read_text(root, f"/proc/{pid}/comm") or "a process"
                found[int(pid)] = f"{name} (pid {pid})", _service(pid, root)
    others = [words + _ends(unit, 1 in found, root) for pid, (words, unit) in sorted(found.items()) if pid != 1]
    return others or [words for words, _ in found.values()]


def _ends(unit: str, activated: bool, root: str) -> str:
    """How a service is ended for good; `activated`: systemd has its socket, and would start it again."""
    if not unit:
        return ""
    app = unit.partition("@")[0]
    if app in present_apps(root):
        return (
            f" of Headcount's app {app} (where that is to listen elsewhere, roll it out by itself first; "
            f"playbooks/remove.yml -e headcount_app={app} ends it, and its data stays)"
        )
    if activated:
        return (
            f" of {unit}, to which systemd passes the socket (`systemctl list-sockets` names its socket unit; "
            f"`systemctl disable --now` with that and {unit} ends both for good)"
        )
    return f" of {unit} (`systemctl disable --now {unit}` ends it for good)"


_SERVICE = re.compile(r"^(?:0:|\d+:name=systemd):.*/system\.slice/(?:[^/\n]+\.slice/)*([^/\n]+\.service)", re.MULTILINE)


def _service(pid: str, root: str) -> str:
    """The service of the host that a process belongs to, by its control group; empty where it is in none."""
    text = read_text(root, f"/proc/{pid}/cgroup") or ""
    found = _SERVICE.search(text)
    return found.group(1) if found else ""
