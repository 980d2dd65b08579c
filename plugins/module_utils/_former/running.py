# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The Gunicorns that services of this host run, and all that an entry for them needs. Read only; nothing is run."""

from __future__ import annotations

import configparser
import os
import pwd
import re
from dataclasses import asdict, dataclass, field
from typing import ContextManager, Dict, Final, List, Mapping, Tuple

from .._declaration.digests import looks_secret
from .._facts.unitgroups import unit_pids
from .._os import socketfile
from .._os.foreignfiles import as_account, names_in, text_of
from .._os.listeners import held
from .._os.paths import HOME
from .._os.procfs import children, read_status, read_text, to_int
from .._os.systemd import Systemd
from . import commandline, conffile, nginx
from .likely import likely

NOT_THE_APPS: Final = re.compile(
    r"PATH|LANG|LANGUAGE|LC_\w+|HOME|LOGNAME|USER|SHELL|PWD|OLDPWD|SHLVL|TERM|_|MAIL|HOSTNAME|VIRTUAL_ENV\w*|PS1"
    r"|INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_\w+|MEMORY_PRESSURE_\w+|LISTEN_\w+|NOTIFY_SOCKET|MAINPID|WATCHDOG_\w+"
    r"|(RUNTIME|STATE|CACHE|LOGS|CONFIGURATION|CREDENTIALS)_DIRECTORY|SUPERVISOR_\w+|GUNICORN_(CMD_ARGS|PID|FD)"
    r"|SERVER_SOFTWARE|PYTHON(UNBUFFERED|DONTWRITEBYTECODE|FAULTHANDLER|HASHSEED)"
)
"""Variables that a service manager or a shell sets, or that are Gunicorn's own."""

CONFIG_FILE: Final = "gunicorn.conf.py"
_NGINX: Final = "/etc/nginx"
_MOST_BYTES: Final = 2**20
_UNREADABLE: Final = f"the whole file, which is no plain file, or is longer than {conffile.MOST_BYTES // 1024} KiB"
_SHELLS: Final = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")


@dataclass(frozen=True)
class Running:
    """A Gunicorn that runs. `settings`: as Gunicorn takes them, but for raw_env, which is in `environment`; `options`:
    those of them that its command line or GUNICORN_CMD_ARGS gives; `unread`: settings of its file that only running it
    would tell; `hooks`: functions of that file. `listen`: addresses that it listens on. `secrets` are variables that
    look like ones; show them to nobody. `worker_mib`: what a worker takes (PSS), `workers`: how many run. `python`:
    "3.11", "" where it is not known. `login`: whether somebody can log in as its `user`. `fronts`: servers of nginx
    before it. `shared`: whether the service runs further programs. `reach`: who connects to its unix socket, where its
    first address is one."""

    unit: str
    file: str = ""
    sockets: Tuple[str, ...] = ()
    user: str = ""
    login: bool = False
    folder: str = ""
    program: Tuple[str, ...] = ()
    entry_point: str = ""
    settings: Dict[str, object] = field(default_factory=dict)
    options: Tuple[str, ...] = ()
    config: str = ""
    unread: Tuple[str, ...] = ()
    hooks: Tuple[str, ...] = ()
    listen: Tuple[str, ...] = ()
    environment: Dict[str, str] = field(default_factory=dict, repr=False)
    secrets: Dict[str, str] = field(default_factory=dict, repr=False)
    python: str = ""
    gunicorn: str = ""
    workers: int = 0
    worker_mib: float | None = None
    git: str = ""
    commit: str = ""
    shared: bool = False
    fronts: Tuple[nginx.Front, ...] = ()
    reach: socketfile.Reach | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain data, with the secrets in it."""
        return asdict(self)


def running(unit: str | None = None, cores: int = 1, root: str = "/", systemd: Systemd | None = None) -> list[Running]:
    """The Gunicorns of this host's services, those of `unit` alone where it is given; Headcount's own are left out.

    `cores`: what multiprocessing.cpu_count() gives on this host.
    """
    manager = systemd or Systemd()
    found: dict[str, list[int]] = {}
    for pid in _pids(root):
        if commandline.own_words(_words(root, pid)) or _title(root, pid):
            found.setdefault(_unit_of(root, pid), []).append(pid)
    units = [name for name in sorted(found) if name and (unit is None or name == unit)]
    return [one for name in units for one in _of_unit(name, found[name], cores, root, manager)]


def _pids(root: str) -> list[int]:
    return sorted(int(name) for name in os.listdir(os.path.join(root, "proc")) if name.isdigit())


def _words(root: str, pid: int) -> list[str]:
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


def _of_unit(unit: str, pids: list[int], cores: int, root: str, systemd: Systemd) -> list[Running]:
    """What a service runs: one for each master, whose parent is no Gunicorn of it."""
    state = systemd.state(unit)
    if _link(root, state.fragment or "/none").startswith(f"/{HOME}/") or state.fragment.startswith(f"/{HOME}/"):
        return []
    told = systemd.properties(unit, "TriggeredBy", "ExecStart")
    sockets = tuple(sorted(name for name in told.get("TriggeredBy", "").split() if name.endswith(".socket")))
    by_parent = {pid: [child for child, _ in children(pid, pids, root)] for pid in pids}
    workers = {child for kids in by_parent.values() for child in kids}
    masters = [pid for pid in pids if pid not in workers]
    everything = unit_pids(state.control_group, root) if state.control_group else pids
    others = len(masters) > 1 or bool(set(everything) - set(pids) - {state.main_pid})
    found = []
    for master in masters:
        read = _Reading(root, master, cores, told.get("ExecStart", ""))
        found.append(read.running(unit, state.fragment, sockets, by_parent[master], others))
    return found


@dataclass
class _Reading:
    """One master as it is read."""

    root: str
    master: int
    cores: int
    exec_start: str

    def __post_init__(self) -> None:
        words = _words(self.root, self.master)
        by_unit = commandline.parse(commandline.exec_words(self.exec_start))
        self.command = commandline.parse(words) or by_unit or commandline.Command(tuple(words))
        self.environment = self._environment()
        self.folder = _link(self.root, f"/proc/{self.master}/cwd")

    def _environment(self) -> dict[str, str]:
        pairs = (read_text(self.root, f"/proc/{self.master}/environ") or "").split("\0")
        return {name: value for name, equals, value in (pair.partition("=") for pair in pairs) if equals and name}

    def running(self, unit: str, file: str, sockets: tuple[str, ...], workers: list[int], shared: bool) -> Running:
        """All that is found of it."""
        by_environment = commandline.from_environment(self.environment.get("GUNICORN_CMD_ARGS", ""))
        with _as_its_account(self.root, self.master):  # what lies there may be made to mislead who reads it
            path, conf = self._config({**by_environment, **self.command.settings})
            git, commit = _git(self.root, self.folder)
            version = self._gunicorn()
        settings = commandline.merged(conf.settings, by_environment, self.command.settings)
        added = _pairs(settings.pop("raw_env", ()))
        listen = tuple(dict.fromkeys(one.address for one in held([self.master], self.root)))
        user = _user(self.root, (workers or [self.master])[0])
        environment, secrets = _divided(self.environment, added)
        return Running(
            unit=unit,
            file=file,
            sockets=sockets,
            user=user,
            login=_may_log_in(user),
            folder=self.folder,
            program=self.command.program,
            entry_point=str(self.command.app or settings.get("wsgi_app") or ""),
            settings=settings,
            options=tuple(sorted({*by_environment, *self.command.settings} - {"raw_env"})),
            config=path,
            unread=conf.unread,
            hooks=conf.hooks,
            listen=listen,
            environment=environment,
            secrets=secrets,
            python=self._python(),
            gunicorn=version,
            workers=len(workers),
            worker_mib=_worker_mib(self.root, workers),
            git=git,
            commit=commit,
            shared=shared,
            fronts=_fronts(self.root, listen[0]) if listen else (),
            reach=_reach(self.root, listen[0]) if listen else None,
        )

    def _config(self, settings: Mapping[str, object]) -> tuple[str, conffile.ConfFile]:
        """The path of its file of settings, and what that says; "" without one."""
        declared = str(settings.get("config") or "")
        if declared.startswith("python:"):
            # A module of the app: only importing it would tell.
            return declared, conffile.ConfFile(unread=("all that it says",))
        name = declared[len("file:") :] if declared.startswith("file:") else declared
        path = os.path.join(self.folder or "/", name or CONFIG_FILE)
        where = os.path.join(self.root, path.lstrip("/"))
        text = text_of(where, conffile.MOST_BYTES)
        if text is None:
            there = declared or os.path.lexists(where)
            return (path, conffile.ConfFile(unread=(_UNREADABLE,))) if there else ("", conffile.ConfFile())
        return path, conffile.read(text, self.cores, self.environment)

    def _python(self) -> str:
        """The version of its Python, by the name of its program."""
        found = re.search(r"python(\d+\.\d+)", _link(self.root, f"/proc/{self.master}/exe"))
        return found[1] if found else ""

    def _gunicorn(self) -> str:
        """The version of its Gunicorn, by what is installed beside its program."""
        if not self.command.program:
            return ""
        folder = os.path.dirname(os.path.dirname(self.command.program[-1 if len(self.command.program) < 3 else 0]))
        for lib in _listed(self.root, os.path.join(folder, "lib")):
            for name in _listed(self.root, os.path.join(folder, "lib", lib, "site-packages")):
                found = re.fullmatch(r"gunicorn-([0-9][^-]*)\.dist-info", name)
                if found:
                    return found[1]
        return ""


def _as_its_account(root: str, pid: int) -> ContextManager[None]:
    """With the rights of a process of this host."""
    status = read_status(root, str(pid)) if root == "/" else {}
    ids = [to_int(status.get(key, "").split("\t")[-1]) for key in ("Uid", "Gid")]  # those that files are opened with
    groups = [number for number in map(to_int, status.get("Groups", "").split()) if number is not None]
    return as_account(ids[0] or 0, ids[1] or 0, groups)


def _pairs(lines: object) -> dict[str, str]:
    """The variables that Gunicorn sets by itself (raw_env)."""
    texts = [str(one) for one in lines] if isinstance(lines, (list, tuple)) else []
    return {name: value for name, equals, value in (text.partition("=") for text in texts) if equals and name}


def _divided(environment: Mapping[str, str], added: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The app's own variables: (those that may be shown, those that look like secrets). `added`: by Gunicorn itself,
    whatever they are called."""
    own = {name: value for name, value in environment.items() if not NOT_THE_APPS.fullmatch(name)}
    own = dict(sorted({**own, **added}.items()))
    secret = {name: value for name, value in own.items() if looks_secret(name, value) or likely(name, value)}
    return {name: value for name, value in own.items() if name not in secret}, secret


def _user(root: str, pid: int) -> str:
    uid = to_int(read_status(root, str(pid)).get("Uid", "").split("\t")[0])
    if uid is None:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _may_log_in(user: str) -> bool:
    try:
        return pwd.getpwnam(user).pw_shell not in _SHELLS
    except KeyError:
        return False


def _reach(root: str, address: str) -> socketfile.Reach | None:
    """Who connects to a unix socket; None of another address."""
    path = address[len("unix:") :] if address.startswith("unix:/") else ""
    return socketfile.reach(os.path.join(root, path.lstrip("/"))) if path else None


def _worker_mib(root: str, workers: list[int]) -> float | None:
    """What a worker takes (MiB, its share of what they have together); None where the kernel does not tell."""
    found = []
    for pid in workers:
        match = re.search(r"(?m)^Pss:\s+(\d+) kB", read_text(root, f"/proc/{pid}/smaps_rollup") or "")
        if match:
            found.append(int(match[1]) / 1024.0)
    return round(sum(found) / len(found), 1) if found else None


def _git(root: str, folder: str) -> tuple[str, str]:
    """(URL without credentials, commit) of the checkout that the app runs from; "" where it is none."""
    text = _text(root, os.path.join(folder, ".git/config"))
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(text)
        url = parser.get('remote "origin"', "url", fallback="")
    except configparser.Error:
        url = ""
    head = _text(root, os.path.join(folder, ".git/HEAD")).strip()
    if head.startswith("ref: "):
        head = _text(root, os.path.join(folder, ".git", head[len("ref: ") :])).strip()
    commit = head if re.fullmatch(r"[0-9a-f]{40,64}", head) else ""
    return re.sub(r"://[^/\s]*@", "://", url), commit


def _fronts(root: str, listen: str) -> Tuple[nginx.Front, ...]:
    """The servers of nginx that lead to an address; none of files that are nested beyond reason."""
    try:
        return tuple(nginx.fronts(_nginx_files(root), listen))
    except RecursionError:
        return ()


def _nginx_files(root: str) -> List[str]:
    """The texts of nginx's files, as its packages lay them out."""
    paths = [f"{_NGINX}/nginx.conf"]
    for folder in ("conf.d", "sites-enabled"):
        paths += [os.path.join(_NGINX, folder, name) for name in _listed(root, os.path.join(_NGINX, folder))]
    return [text for text in (_text(root, path) for path in paths) if text]


def _text(root: str, path: str) -> str:
    """The text of a file, "" where there is none that can be read, or is more than a person would write."""
    return text_of(os.path.join(root, path.lstrip("/")), _MOST_BYTES) or ""


def _listed(root: str, path: str) -> list[str]:
    return names_in(os.path.join(root, path.lstrip("/")))


def _link(root: str, path: str) -> str:
    try:
        return os.readlink(os.path.join(root, path.lstrip("/")))
    except OSError:
        return ""
