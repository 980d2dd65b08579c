# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What has started a server and ends with its service: a program of the host's own, which does more than that, or one
that starts what its configuration names, whether that runs at the moment or not. Read only; nothing is run."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
from typing import Iterable, Iterator

from .._os.foreignfiles import text_of
from .._os.paths import under
from .._os.procfs import parent, read_text
from .._os.systemd import UnitState

SHELLS = ("sh", "bash", "dash")
STARTERS = (
    *(*SHELLS, "zsh", "ksh", "busybox", "supervisord", "circusd", "runsv", "s6-supervise", "daemontools", "supervise"),
    *("sudo", "su", "runuser", "setpriv", "env", "nice", "ionice", "chrt", "taskset", "timeout", "tini", "dumb-init"),
    *("uv", "pipenv", "poetry", "pdm", "hatch", "rye", "honcho", "foreman", "start-stop-daem", "daemonize", "authbind"),
    *("runsvdir", "s6-svscan", "svscan"),
)
"""Programs that start others and do nothing else, by the names that the kernel has of them (15 characters)."""
_HOSTS = (
    *("cron", "crond", "anacron", "fcron", "atd", "sshd", "sshd-session", "dropbear", "login", "agetty", "inetd"),
    *("xinetd", "monit", "systemd", "dbus-daemon", "dbus-broker", "dbus-broker-lau"),
)
"""Programs that a host needs whatever apps it has, wherever their unit files lie."""
_PACKAGES = ("/usr/lib/systemd/system", "/lib/systemd/system")
_CONFIGURED = {
    "supervisord": (r"supervisord", r"(?:program|eventlistener|fcgi-program):\s*(.+)", {"include": ("files", "")}),
    "circusd": (r"circus|watcher:.+", r"watcher:\s*(.+)", {"circus": ("include", "include_dir")}),
}
"""{who starts what a file names: (the sections that tell that it is one, those that name a program, {the section that
names further files: its options for files and for folders of *.ini})}."""
_USUAL = ("supervisord.conf", "etc/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")
_MOST_BYTES, _MOST_FILES, _MOST_ABOVE, _SHOWN = 2**20, 200, 20, 5


def name_of(root: str, pid: int) -> str:
    """The name of a process; empty where it has ended."""
    return read_text(root, f"/proc/{pid}/comm") or ""


def of_the_host(root: str, unit: str, state: UnitState, servers: Iterable[int]) -> str:
    """That a service is one of the host's own, which runs the app by the way (cron's @reboot, a session of sshd's, a
    port of docker's), in a sentence with the fix; else empty. `servers`: its processes that are the app's server."""
    name, file = name_of(root, state.main_pid) if state.main_pid else "", os.path.basename(state.fragment)
    files = [state.fragment, *(f"{folder}/{file}" for folder in _PACKAGES)]
    packaged = bool(file) and any(os.path.exists(under(root, path)) for path in files[1:])
    if state.main_pid:
        foreign = name in _HOSTS or (packaged and bool(name) and name not in STARTERS and state.main_pid not in servers)
    else:  # what a package has started once, and left (cloud-final), where that is no package of the app's
        foreign = packaged and not any("gunicorn" in (text_of(under(root, path), _MOST_BYTES) or "") for path in files)
    if not foreign:
        return ""
    who = f"{name} ({state.main_pid}), its main program," if name else "what it starts"
    return (
        f"{unit} is the host's own, and not the app's: {who} would end with the app's server, and no boot would start "
        "it again; have the app started by a service of its own first, and declare that as `former`"
    )


def configured(root: str, unit: str, pids: Iterable[int], server: int) -> tuple[str, str]:
    """What those of these processes that are supervisors are to start beside the `server`, by their files, and would
    never start again, in a sentence with the fix; and whose files were not read whole, in a clause."""
    found: list[str] = []
    unread: list[str] = []
    for pid in pids:
        name = name_of(root, pid)
        if name in _CONFIGURED:
            files = list(_files(root, pid, name))
            found += _beside(files, _Server(root, server, pid), re.compile(_CONFIGURED[name][1]))
            if not files or any(text is None for _, text in files):
                dark = " and ".join(path for path, text in files if text is None) or "its configuration"
                unread.append(f"{name} ({pid}) of {unit} starts what {dark} names, which could not be read")
    if not found:
        return "", " and ".join(unread)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (
        f"{unit} is to start {', '.join(found[:_SHOWN])}{more} too, which would never run again, whether that runs now "
        "or not: have it run by a service of its own first, or take it out of there",
        " and ".join(unread),
    )


class _Server:
    """How a server was started by a supervisor: `process`, `group`: what supervisord calls it; `words`: of its command
    line, and of what is between the two."""

    def __init__(self, root: str, pid: int, supervisor: int) -> None:
        environ = read_text(root, f"/proc/{pid}/environ") or ""
        told = dict(pair.partition("=")[::2] for pair in environ.split("\0"))
        self.process, self.group = told.get("SUPERVISOR_PROCESS_NAME", ""), told.get("SUPERVISOR_GROUP_NAME", "")
        self.words: set[str] = set()
        above: int | None = pid
        for _ in range(_MOST_ABOVE):
            if above in (None, 0, 1, supervisor):
                break
            self.words |= _words(read_text(root, f"/proc/{above}/cmdline") or "")
            above = parent(above or 0, root)

    def is_of(self, name: str, body: str, names: Iterable[str]) -> bool:
        """Whether it is what a section of a supervisor's file starts. `names`: of all such sections."""
        if self.process:
            template = _option(body, "process_name") or name
            parts = re.split(r"%\([^)]*\)[0-9]*[a-z]", template.replace("%(program_name)s", name))
            called = re.fullmatch(".+".join(map(re.escape, parts)), self.process) is not None
            return called and (self.group == name or self.group not in names)
        wanted = _words(" ".join(_option(body, key) for key in ("command", "cmd", "args")))
        return bool(wanted) and {word for word in wanted if "(" not in word} <= self.words


def _beside(files: list[tuple[str, str | None]], server: _Server, pattern: re.Pattern[str]) -> list[str]:
    """The programs that files name, but for the server's own."""
    sections = [(path, header, body) for path, text in files for header, body in _sections(text or "")]
    programs = {
        found[1].strip(): (path, body) for path, header, body in sections if (found := pattern.fullmatch(header))
    }
    own = [name for name, (_, body) in programs.items() if server.is_of(name, body, programs)]
    if not own and len(programs) == 1:
        return []
    return [f"{name} ({path})" for name, (path, _) in sorted(programs.items()) if name not in own]


def _files(root: str, pid: int, name: str) -> Iterator[tuple[str, str | None]]:
    """(path, text) of the files of a supervisor; a text of None where one cannot be read, or nobody knows which."""
    mark, _, further = _CONFIGURED[name]
    for path in _places(root, pid, name):
        sections = _sections(text_of(under(root, path), _MOST_BYTES) or "")
        if any(re.fullmatch(mark, header) for header, _ in sections):
            break
    else:
        return
    yield path, text_of(under(root, path), _MOST_BYTES) or ""
    here = os.path.dirname(path)
    named = [
        (word, ending)
        for header, body in sections
        for option, ending in zip(further.get(header, ()), ("", "*.ini"))
        for word in (_option(body, option).replace("%(here)s", here).split() if option else ())
    ]
    for word, ending in named:
        yield from _matching(root, os.path.normpath(os.path.join(here, word, ending)))


def _places(root: str, pid: int, name: str) -> list[str]:
    """Where a supervisor may have its file: where its command line says, else where it looks by itself."""
    words = (read_text(root, f"/proc/{pid}/cmdline") or "").split("\0")
    paths = [re.sub(r"^(-c|--configuration=)", "", word) for word in words]
    if name == "supervisord":
        above = [os.path.dirname(os.path.dirname(word)) for word in words if os.path.basename(word) == name]
        paths += [os.path.join(place, one) for place in above if place for one in reversed(_USUAL[:2])]
        paths += _USUAL
    folder = "/"
    with contextlib.suppress(OSError):
        folder = os.readlink(under(root, f"/proc/{pid}/cwd"))
    return [os.path.normpath(os.path.join(folder, path)) for path in paths if path]


def _matching(root: str, pattern: str) -> Iterator[tuple[str, str | None]]:
    if "(" in pattern:
        yield pattern, None
    for place in sorted(itertools.islice(glob.iglob(under(root, pattern)), _MOST_FILES)):
        yield f"/{os.path.relpath(place, root)}", text_of(place, _MOST_BYTES)


def _sections(text: str) -> list[tuple[str, str]]:
    parts = re.split(r"(?m)^\[([^\]\n]+)\].*$", text)
    return list(zip(parts[1::2], parts[2::2]))


def _option(body: str, name: str) -> str:
    """The value of an option, without comments; empty where there is none."""
    found = re.search(rf"(?mi)^{name}[ \t]*[=:](.*(?:\n[ \t]+\S.*)*)", body)
    return re.sub(r"(?m)(^|\s)[;#].*$", "", found[1]).strip() if found else ""


def _words(text: str) -> set[str]:
    """The words of a command, without quotes and folders."""
    return {os.path.basename(word) for word in re.findall(r"[^\s\0\"']+", text)}
