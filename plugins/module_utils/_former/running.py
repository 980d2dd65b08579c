# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The Gunicorns that services of this host run, and all that an entry for them needs. Read only; nothing is run."""

from __future__ import annotations

import configparser
import itertools
import os
import pwd
import re
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Callable, Dict, Final, List, Mapping, Sequence, Tuple

from .._declaration.digests import looks_secret
from .._facts.unitgroups import unit_pids
from .._os import socketfile
from .._os.foreignfiles import names_in, text_of
from .._os.listeners import for_users, held
from .._os.paths import HOME
from .._os.procfs import parent, read_status, read_text, to_int
from .._os.systemd import Systemd, UnitState
from . import installed as distributions
from . import nginx, starters, written
from .asservice import Reader
from .likely import likely
from .masters import MOST_MASTERS, SECONDS, Deadline, Master, Service, by_unit, link, service_of

NOT_THE_APPS: Final = re.compile(
    r"PATH|LANG|LANGUAGE|LC_\w+|HOME|LOGNAME|USER|SHELL|PWD|OLDPWD|SHLVL|TERM|_|MAIL|HOSTNAME|VIRTUAL_ENV\w*|PS1"
    r"|INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_\w+|MEMORY_PRESSURE_\w+|LISTEN_\w+|NOTIFY_SOCKET|MAINPID|PIDFILE|WATCHDOG_\w+"
    r"|(RUNTIME|STATE|CACHE|LOGS|CONFIGURATION|CREDENTIALS)_DIRECTORY|SUPERVISOR_\w+|GUNICORN_(CMD_ARGS|PID|FD)"
    r"|SERVER_SOFTWARE|PYTHON(UNBUFFERED|DONTWRITEBYTECODE|FAULTHANDLER|HASHSEED)"
)
"""Variables that a service manager or a shell sets, or that are Gunicorn's own."""

_NGINX: Final = "/etc/nginx"
_MOST_BYTES: Final = 2**20
_MOST_PATHS, _MOST_WEIGHED, _SHOWN, _MOST_PIDS = 20, 100, 5, 1000
_SHELLS: Final = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")


@dataclass(frozen=True)
class Running:
    """A Gunicorn that runs. `settings`: as Gunicorn takes them, but for raw_env, which is in `environment`;
    `options`: those of them that its command line or GUNICORN_CMD_ARGS gives; `unread`: settings of its file that
    only running it would tell; `hooks`: functions of that file. `listen`: addresses that it listens on for its users.
    `secrets` are variables that look like ones; show them to nobody. `worker_mib`: what a worker takes (PSS),
    `workers`: how many run. `python`: "3.11", "" where it is not known. `login`: whether somebody can log in as its
    `user`. `fronts`: servers of nginx before it. `shared`: whether the service runs further programs. `hosts`: that it
    is the host's own, `starts`: what else it is to start, a sentence each, or empty. `reach`: who connects to its unix
    socket, where its first address is one. `code`: the folder of its code, `git` and `commit`
    what that is a checkout of; `installed`: the distribution that its code is of instead. `kept`: what it has
    written."""

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
    hosts: str = ""
    starts: str = ""
    fronts: Tuple[nginx.Front, ...] = ()
    reach: socketfile.Reach | None = None
    code: str = ""
    installed: distributions.Installed | None = None
    kept: written.Kept = field(default_factory=written.Kept)

    def to_dict(self) -> dict[str, object]:
        """Plain data, with the secrets in it."""
        return asdict(self)


def running(
    unit: str | None = None,
    cores: int = 1,
    root: str = "/",
    systemd: Systemd | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Running], list[str], list[str]]:
    """The Gunicorns of this host's services, those of `unit` alone where it is given. Headcount's own are left out.

    Then what was not looked at, a sentence each, as accounts without rights can start any number of processes; and the
    services that are Headcount's own, by app and unit ("shop (shop@3.service)").

    `cores`: what multiprocessing.cpu_count() gives on this host.
    """
    manager, deadline = systemd or Systemd(), Deadline(clock)
    units, whole = by_unit(unit, root, deadline)
    alone = [_of_no_service(root, pid) for pid in service_of("", units.pop("", {})).masters if _user(root, pid)]
    # Those with fewer first: none is passed over for the number of another service's.
    services = sorted((service_of(name, pids) for name, pids in units.items()), key=lambda one: len(one.masters))
    found: list[Running] = []
    left: list[str] = []
    own: list[str] = []
    room = MOST_MASTERS
    for service in services:
        wanted = len(service.masters)
        state = None if room <= 0 or deadline.passed() else manager.state(service.name)
        if state is not None and (app := _own_app(state, root)):
            own.append(f"{app} ({service.name})")
            continue
        some, looked = _of_unit(service, state, room, (cores, root), manager, deadline)
        room -= len(some)
        found += some
        if looked < wanted:
            left.append(f"{service.name}: {wanted - looked} of the {wanted} Gunicorns that it runs")
    told = [] if whole else ["some of the processes"]
    told += [*sorted(left)[:_SHOWN], f"those of {len(left) - _SHOWN} more services"] if len(left) > _SHOWN else left
    left = [*alone[:_SHOWN], *(_not_looked_at(what, unit) for what in told)]
    return sorted(found, key=lambda one: one.unit), left, sorted(own)


def _of_no_service(root: str, pid: int) -> str:
    return (
        f"not looked at: the Gunicorn {pid} of {_user(root, pid)}, which no service of the system runs (a session, an "
        "account's own service manager, a container): have one run it first"
    )


def _own_app(state: UnitState, root: str) -> str:
    """Which app of Headcount's a service is of; empty where it is of none."""
    below, file = f"/{HOME}/", state.fragment
    place = next((path for path in (link(root, file or "/none"), file) if path.startswith(below)), "")
    return place[len(below) :].partition("/")[0]


def _not_looked_at(what: str, unit: str | None) -> str:
    one = " (adopt_unit names the one service that is looked at)" if unit is None else ""
    return f"not looked at: {what}; at most {MOST_MASTERS} Gunicorns are, and for {SECONDS:.0f} seconds{one}"


def _of_unit(
    service: Service,
    state: UnitState | None,
    most: int,
    host: tuple[int, str],
    systemd: Systemd,
    deadline: Deadline,
) -> tuple[list[Running], int]:
    """What a service runs: one for each of its first `most` masters, as far as there is time, and how many were looked
    at. `state`: of the service; None where there is neither room nor time. `host`: its cores and where it is."""
    cores, root = host
    if state is None:
        return [], 0
    told = systemd.properties(service.name, "TriggeredBy", "ExecStart", "StateDirectory", "ReadWritePaths")
    sockets = tuple(sorted(name for name in told.get("TriggeredBy", "").split() if name.endswith(".socket")))
    everything = unit_pids(state.control_group, root) if state.control_group else service.pids
    others = len(service.masters) > 1 or bool(set(everything) - set(service.pids) - {state.main_pid})
    hosts = starters.of_the_host(root, service.name, state, service.pids)
    found: list[Running] = []
    for master, workers in itertools.islice(service.masters.items(), most):
        if deadline.passed():
            break
        read = _Reading(root, master, cores, told)
        pids = _descendants(root, master, everything)
        one = read.running((service.name, state.fragment, sockets), workers, pids, others)
        starts, unread = starters.configured(root, service.name, everything, master)
        found.append(replace(one, hosts=hosts, starts=starts or unread))
    return found, len(found)


def _descendants(root: str, master: int, pids: Sequence[int]) -> list[int]:
    """Those of `pids` that are `master` or were started by it, by its workers and so on: what starts the master has
    files of its own, and so have other programs of it."""
    parents = {pid: parent(pid, root) for pid in pids[:_MOST_PIDS]}
    found, more = {master}, {master}
    while more:
        more = {pid for pid, above in parents.items() if above in more} - found
        found |= more
    return sorted(found)


@dataclass
class _Reading(Master):
    """One master as it is read whole."""

    def running(
        self, unit: tuple[str, str, tuple[str, ...]], workers: list[int], pids: Sequence[int], shared: bool
    ) -> Running:
        """All that is found of it. `unit`: its name, file and sockets; `pids`: the processes that may be its own."""
        found = self.declared(workers)
        reader, by_environment, path, conf = found.reader, found.by_environment, found.path, found.conf
        settings = found.settings
        added = _pairs(settings.pop("raw_env", ()))
        control = str(settings.get("control_socket") or "")
        addresses = (one.address for one in held([self.master], self.root))
        listen = tuple(dict.fromkeys(address for address in addresses if for_users(address, control)))
        user = _user(self.root, (workers or [self.master])[0])
        environment, secrets = _divided(self.environment, added)
        entry_point = str(self.command.app or settings.get("wsgi_app") or "")
        prefix = self._prefix(reader)
        sites = distributions.sites(reader, prefix)
        code, owner = self._code(reader, entry_point, settings, sites)
        git, commit = _git(reader, code)
        places = self._places(code if owner is None or owner.editable else "", prefix, settings, environment)
        return Running(
            unit=unit[0],
            file=unit[1],
            sockets=unit[2],
            user=user,
            login=_may_log_in(user),
            folder=self.folder,
            program=self.command.program,
            entry_point=entry_point,
            settings=settings,
            options=tuple(sorted({*by_environment, *self.command.settings} - {"raw_env"})),
            config=path,
            unread=conf.unread,
            hooks=conf.hooks,
            listen=listen,
            environment=environment,
            secrets=secrets,
            python=self._python(),
            gunicorn=distributions.version_of(reader, sites, "gunicorn"),
            workers=len(workers),
            worker_mib=_worker_mib(self.root, workers),
            git=git,
            commit=commit,
            shared=shared,
            fronts=_fronts(self.root, listen[0]) if listen else (),
            reach=_reach(self.root, listen[0]) if listen else None,
            code=code,
            installed=owner,
            kept=written.kept(reader, pids, places),
        )

    def _prefix(self, reader: Reader) -> str:
        """The folder of its Python environment, by the program that it was started with; "" where nothing says it."""
        program = self.command.program
        word = program[-1 if len(program) < 3 else 0] if program else ""
        folders = [self.environment.get("VIRTUAL_ENV", ""), *self.environment.get("PATH", "").split(":")]
        if word and "/" not in word:
            places = [os.path.join(folder, "bin") for folder in folders[:1] if folder] + folders[1:_MOST_PATHS]
            word = next((path for path in (os.path.join(place, word) for place in places) if reader.is_there(path)), "")
        path = os.path.normpath(os.path.join(self.folder or "/", word))
        return os.path.dirname(os.path.dirname(path)) if word else ""

    def _code(
        self, reader: Reader, entry_point: str, settings: Mapping[str, object], sites: Sequence[str]
    ) -> tuple[str, distributions.Installed | None]:
        """The folder of its code, and the distribution that has it where that is none of a project's own."""
        module = entry_point.partition(":")[0].strip()
        if not re.fullmatch(r"[^\W\d]\w*(\.\w+)*", module):
            return self.folder, None
        paths = ["", *_paths(settings.get("pythonpath"), ","), *_paths(self.environment.get("PYTHONPATH"), ":")]
        roots = [os.path.normpath(os.path.join(self.folder or "/", path)) for path in paths]
        for root in dict.fromkeys(roots[:_MOST_PATHS]):
            if distributions.has_module(reader, root, module):
                inside = root == self.folder or root.startswith(f"{self.folder.rstrip('/')}/")
                return self.folder if inside else root, None
        owner = distributions.installed(reader, sites, module)
        if owner is None:
            return self.folder, None
        return owner.folder or self.folder, owner

    def _places(
        self, code: str, prefix: str, settings: Mapping[str, object], environment: Mapping[str, str]
    ) -> written.Places:
        """Where to look for what it keeps. `code`: empty where none of it lies in a folder of its own."""
        paths = [str(settings.get(name) or "") for name in ("accesslog", "errorlog", "pidfile")]
        logs = tuple(
            os.path.normpath(os.path.join(self.folder or "/", path)) for path in paths if path not in ("", "-")
        )
        state = [
            os.path.join("/var/lib", name.partition(":")[0]) for name in self.unit.get("StateDirectory", "").split()
        ]
        writable = [name.lstrip("-+") for name in self.unit.get("ReadWritePaths", "").split()]
        return written.Places(
            code or self.folder,
            bool(code),
            (prefix,) if prefix not in ("/usr", "/usr/local") else (),
            (os.path.join(prefix, "var"),) if prefix not in ("", "/", "/usr") else (),
            logs,
            {"StateDirectory": state, "ReadWritePaths": writable},
            environment,
        )

    def _python(self) -> str:
        """The version of its Python, by the name of its program."""
        found = re.search(r"python(\d+\.\d+)", link(self.root, f"/proc/{self.master}/exe"))
        return found[1] if found else ""


def _paths(value: object, mark: str) -> list[str]:
    """The paths of a setting that is a text or a list of texts, each with `mark` between several."""
    texts = value if isinstance(value, (list, tuple)) else [value or ""]
    return [path for text in texts for path in str(text).split(mark) if path]


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
    for pid in workers[:_MOST_WEIGHED]:
        match = re.search(r"(?m)^Pss:\s+(\d+) kB", read_text(root, f"/proc/{pid}/smaps_rollup") or "")
        if match:
            found.append(int(match[1]) / 1024.0)
    return round(sum(found) / len(found), 1) if found else None


def _git(reader: Reader, folder: str) -> tuple[str, str]:
    """(URL without credentials, commit) of the checkout that the app runs from; "" where it is none, and a URL of ""
    where it has no remote."""
    text = reader.text(os.path.join(folder, ".git/config"), _MOST_BYTES) or ""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(text)
        remotes = [name for name in parser.sections() if name.startswith("remote ")]
        # A checkout with one remote is of that one, whatever it is called.
        name = remotes[0] if len(remotes) == 1 else 'remote "origin"'
        url = parser.get(name, "url", fallback="")
    except configparser.Error:
        url = ""
    head = (reader.text(os.path.join(folder, ".git/HEAD"), _MOST_BYTES) or "").strip()
    if head.startswith("ref: "):
        name = head[len("ref: ") :]
        head = (reader.text(os.path.join(folder, ".git", name), _MOST_BYTES) or "").strip()
        packed = reader.text(os.path.join(folder, ".git/packed-refs"), _MOST_BYTES) or ""
        lines = [line.partition(" ") for line in packed.splitlines()]
        head = head or next((commit for commit, _, ref in lines if ref == name), "")
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
