# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a service keeps: files that its processes have open for writing, and what lies beside its code and is none.

Names, sizes and times alone: no file of it is opened, and no link is followed.
"""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Callable, Dict, Final, FrozenSet, Iterable, Iterator, List, Mapping, Sequence, Tuple

from .._os.bounds import Bounds
from .._os.procfs import read_text
from .asservice import Reader
from .tracked import MOST_BYTES, tracked

OPEN, BESIDE, UNIT, VARIABLE, LINK, OWNED = "open", "beside", "unit", "variable", "link", "owned"
"""How it was found: a process has it open for writing, it lies beside the code, the service's unit or a variable of the
environment names it, it is a link beside the code to somewhere else, or a folder of the account in a usual place."""

MOST_DEEP, MOST_TOLD = 8, 20
"""So many files, for so long and so deep, are looked at beside the code of an app; so many things are told."""

_MOST_PIDS, _MOST_OPEN, _MOST_OF_FOLDER = 200, 4000, 10_000
_DATABASE: Final = re.compile(r"(?i).+\.(db3?|sqlite3?|s3db|mdb|rdb|g?dbm)")
_JOURNALS: Final = re.compile(r"(?i)-(wal|shm|journal)$")
_KEEPING: Final = re.compile(
    r"(?i)instance|user_?(data|files)|uploads?|media|storage|attachments|avatars|var|db|databases?"
)
"""Names of folders that apps keep what users gave in."""
_WHOLE: Final = ("", "/srv", "/opt", "/var", "/var/lib", "/var/www", "/home", "/root", "/usr", "/etc", "/tmp", "/run")
"""Folders that are nobody's own, where a service may run without keeping anything there."""
_PASSED_OVER: Final = re.compile(
    r"(?ix) \.git | \.hg | \.svn | __pycache__ | node_modules | \.tox | \.nox | \.[a-z_]*_?cache"
    r" | cache | .+\.(egg-info|dist-info|pyc|pyo|pid|sock|lock|swp|tmp|log\.[0-9]+) | site-packages | nohup\.out"
)
"""Names of files and folders that are made anew, or are a checkout's or an environment's own."""
_ENVIRONMENT: Final = re.compile(r"\.?v?env[0-9.]*")
"""Names of folders that are an environment of Python."""
_CODE: Final = re.compile(r"(?i).+\.(pyi?|pyx|so|html?|jinja2?|j2|css|scss|js|ts|map|po|mo|pot|md|rst|in|toml|cfg|ini)")
_SETTINGS: Final = re.compile(r"(?i).+\.(pyi?|cfg|ini|toml|ya?ml|conf)|\.(flask)?env(\..+)?")
_PLACEHOLDER: Final = re.compile(r"(?i)\.(git)?(keep|ignore)(me)?|readme.*")
_SYSTEM: Final = re.compile(r"/(dev|proc|sys)(/|$)|/(memfd|anon_inode|socket|pipe):|.* \(deleted\)$")
_NO_DATA: Final = re.compile(r"/(etc|usr|proc|dev|sys|run|tmp)/|/[^/]*$")
_USUAL: Final = ("/var/lib", "/var/opt", "/var/www", "/srv", "/opt", "/data", "/mnt", "/media")
"""Where folders of data lie, of which one level is looked at."""
_LATER: Final = 60.0
"""What was written so many seconds after the newest code is no part of that."""


@dataclass(frozen=True)
class Written:
    """A file or a folder that a service keeps. `path`: absolute, as its processes see it; `how`: as above; `folder`:
    whether it is one; `files`, `bytes`, `newest`: how many files, their size, and when one was last written (epoch
    seconds; 0.0 where it is not known). `database`: whether its name is one's. `names`: the variables that name it, the
    key of the unit, or where the link leads to."""

    path: str
    how: str
    folder: bool = False
    files: int = 0
    bytes: int = 0
    newest: float = 0.0
    database: bool = False
    names: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """What was found, at most MOST_TOLD of it, those that are open first. `settings`: files of code or settings that
    git does not have, and the release will lack. `more`: how many further things there are. `cut`: whether not all was
    looked at."""

    found: Tuple[Written, ...] = ()
    settings: Tuple[str, ...] = ()
    more: int = 0
    cut: bool = False


@dataclass(frozen=True)
class Places:
    """Where to look. `code`: the folder of the app's code, or where it runs; `is_code`: whether its code lies there;
    `apart`: folders that are no data (its Python); `whole`: folders that are, with all that is in them; `logs`: files
    of Gunicorn's own; `unit`: {key: folders that the unit lets it write to}; `environment`: variables that may be
    shown."""

    code: str
    is_code: bool = True
    apart: Tuple[str, ...] = ()
    whole: Tuple[str, ...] = ()
    logs: Tuple[str, ...] = ()
    unit: Mapping[str, Sequence[str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def kept(reader: Reader, pids: Iterable[int], places: Places, clock: Callable[[], float] = time.monotonic) -> Kept:
    """What the service of these processes keeps."""
    tree = _Tree(reader, places, Bounds(clock))
    tree.walk()
    beside = {one.path: one for one in [*tree.groups(), *_whole(reader, places)]}
    opened = []
    for path in _open_for_writing(reader.root, pids, places):
        within = next((above for above in _above(path) if above in beside), None)
        if within is None:
            opened.append(_stated(reader, Written(path, OPEN, database=is_database(path))))
        else:
            beside[within] = replace(beside[within], how=OPEN)
    named = list(_named(reader, places, [*beside, *(one.path for one in opened)]))
    known = [*beside, *(one.path for one in opened), *(one.path for one in named)]
    every = sorted([*opened, *beside.values()], key=lambda one: (one.how != OPEN, not one.database, one.path))
    every += [*named, *_owned(reader, places, known)]
    return Kept(tuple(every[:MOST_TOLD]), tuple(tree.settings()), max(0, len(every) - MOST_TOLD), tree.cut)


def _whole(reader: Reader, places: Places) -> Iterator[Written]:
    """The folders that are data as a whole, where anything is in them."""
    for path in places.whole:
        held = reader.entries(path, _MOST_OF_FOLDER)
        if held:
            files = [(name, status) for name, status in held if stat.S_ISREG(status.st_mode)]
            yield Written(
                path,
                BESIDE,
                True,
                len(files),
                sum(status.st_size for _, status in files),
                max((status.st_mtime for _, status in files), default=0.0),
                any(is_database(name) for name, _ in files),
            )


def is_database(path: str) -> bool:
    """Whether the name of a file is a database's."""
    return bool(_DATABASE.fullmatch(os.path.basename(path)))


def _above(path: str) -> Iterator[str]:
    """The path, and the folders that it is in."""
    while path not in ("", "/"):
        yield path
        path = os.path.dirname(path)


def _open_for_writing(root: str, pids: Iterable[int], places: Places) -> List[str]:
    """The paths of the files that processes have open for writing, but for what is none of the app's: their standard
    outputs, logs of Gunicorn's own, devices, and what nobody else finds any more."""
    found: Dict[str, None] = {}
    left = _MOST_OPEN
    for pid in list(pids)[:_MOST_PIDS]:
        for number in _handles(root, pid):
            left -= 1
            if left < 0:
                return list(found)
            path = _target(root, f"/proc/{pid}/fd/{number}") if _writes(root, pid, number) else ""
            path = _JOURNALS.sub("", path)
            passing = not path.startswith("/") or _SYSTEM.match(path) or path in places.logs
            if not passing and not _PASSED_OVER.fullmatch(os.path.basename(path)):
                found[path] = None
    return list(found)


def _handles(root: str, pid: int) -> List[str]:
    """The numbers of what a process has open, beside its standard input and outputs."""
    try:
        names = os.listdir(os.path.join(root, "proc", str(pid), "fd"))
    except OSError:
        return []
    return [name for name in names if name.isdigit() and int(name) > 2]


def _target(root: str, path: str) -> str:
    try:
        return os.readlink(os.path.join(root, path.lstrip("/")))
    except OSError:
        return ""


def _writes(root: str, pid: int, number: str) -> bool:
    found = re.search(r"(?m)^flags:\s*([0-7]+)$", read_text(root, f"/proc/{pid}/fdinfo/{number}") or "")
    return found is not None and int(found[1], 8) & os.O_ACCMODE != os.O_RDONLY


def _stated(reader: Reader, one: Written) -> Written:
    """With the size and the time of what is there, as far as the account sees it."""
    found = reader.status(one.path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return one
    return replace(one, files=1, bytes=found.st_size, newest=found.st_mtime)


def _named(reader: Reader, places: Places, known: Sequence[str]) -> Iterator[Written]:
    """Folders and files that the unit or variables name, which the account may write to, and in which nothing was
    found."""
    apart = (*places.apart, *([places.code] if places.is_code else []))
    for path, (how, names) in _names(places).items():
        inside = any(one == path or one.startswith(f"{path}/") for one in known)
        if not inside and not _NO_DATA.match(path) and not _in_any(path, apart) and reader.writes(path):
            yield Written(path, how, reader.is_folder(path), database=is_database(path), names=tuple(names))


def _names(places: Places) -> Dict[str, Tuple[str, List[str]]]:
    """{path: (how it is named, by what)}."""
    found: Dict[str, Tuple[str, List[str]]] = {}
    for key, folders in places.unit.items():
        for path in folders:
            found.setdefault(os.path.normpath(path), (UNIT, []))[1].append(key)
    for name, value in places.environment.items():
        path = re.sub(r"^sqlite(\+[a-z0-9]+)?:///(?=/)", "", value)
        if re.fullmatch(r"/[^\s:;,?*]+", path):
            found.setdefault(os.path.normpath(path), (VARIABLE, []))[1].append(name)
    return found


def _owned(reader: Reader, places: Places, known: Sequence[str]) -> Iterator[Written]:
    """The folders in the usual places that are the account's, where that has rights that others have not, and in which
    nothing was found."""
    apart = (*places.apart, places.code)
    for place in _USUAL if reader.ids is not None and reader.ids.uid else ():
        for name, status in reader.entries(place, _MOST_OF_FOLDER):
            path = os.path.join(place, name)
            inside = any(one == path or one.startswith(f"{path}/") for one in (*known, *apart))
            if stat.S_ISDIR(status.st_mode) and reader.owns(status) and not inside and not _in_any(path, apart):
                yield Written(path, OWNED, True)


def _in_any(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of some folders, or in one."""
    return any(path == one or path.startswith(f"{one}/") for one in folders if one)


class _Tree:
    """The folder of an app, and what lies in it without being code."""

    def __init__(self, reader: Reader, places: Places, bounds: Bounds) -> None:
        self.reader, self.places, self.bounds = reader, places, bounds
        self.top = places.code.rstrip("/")
        self.files: Dict[str, os.stat_result] = {}
        self.links: Dict[str, str] = {}
        self.cut = False
        content = reader.content(os.path.join(self.top, ".git/index"), MOST_BYTES) if self.top else None
        self.tracked: FrozenSet[str] | None = tracked(content) if content is not None else None

    def walk(self) -> None:
        """Look at all that is there, what is nearer to the top first."""
        folders = [("", 0)] if self.top not in _WHOLE else []
        for relative, deep in folders:
            for name, status in self.reader.entries(os.path.join(self.top, relative), _MOST_OF_FOLDER):
                if self.bounds.spent():
                    self.cut = True
                    return
                path = os.path.join(relative, name)
                if _PASSED_OVER.fullmatch(name) or os.path.join(self.top, path) in self.places.apart:
                    continue
                if stat.S_ISREG(status.st_mode):
                    self.files[path] = status
                elif stat.S_ISLNK(status.st_mode):
                    self.links[path] = self.reader.target(os.path.join(self.top, path))
                elif stat.S_ISDIR(status.st_mode) and deep < MOST_DEEP and not _ENVIRONMENT.fullmatch(name):
                    folders.append((path, deep + 1))

    def groups(self) -> List[Written]:
        """What is kept: whole folders where no code is in them, else files."""
        keeps = [path for path in self.files if self._keeps(path)]
        code = set(self._code_folders(set(keeps)))
        found: Dict[str, Written] = {}
        for path in keeps:
            base = _JOURNALS.sub("", path)
            where = next((part for part in _from_the_top(base) if part not in code), base)
            status = self.files[path]
            one = found.get(where) or Written(os.path.join(self.top, where), BESIDE, where != base)
            found[where] = replace(
                one,
                files=one.files + 1,
                bytes=one.bytes + status.st_size,
                newest=max(one.newest, status.st_mtime),
                database=one.database or is_database(base),
            )
        return [*found.values(), *self._links_out()]

    def settings(self) -> List[str]:
        """Code and settings that git does not track, as relative paths."""
        if self.tracked is None:
            return []
        found = [path for path in self.files if path not in self.tracked and _SETTINGS.fullmatch(_last(path))]
        return sorted(found)[:MOST_TOLD]

    def _links_out(self) -> Iterator[Written]:
        for path, target in self.links.items():
            place = os.path.normpath(os.path.join(self.top, os.path.dirname(path), target))
            if not _in_any(place, (self.top, *self.places.apart)) and self.reader.writes(place):
                yield Written(os.path.join(self.top, path), LINK, True, names=(place,))

    def _keeps(self, path: str) -> bool:
        name, whole = _JOURNALS.sub("", _last(path)), os.path.join(self.top, path)
        if whole in self.places.logs or _PLACEHOLDER.fullmatch(name):
            return False
        if not self.places.is_code:
            return is_database(name) or (self._is_written_by_it(path) and not path.startswith("."))
        if self.tracked is not None:
            return path not in self.tracked and not _SETTINGS.fullmatch(name)
        if is_database(name) or any(_KEEPING.fullmatch(part) for part in path.split("/")[:-1]):
            return not _CODE.fullmatch(name)
        return self._is_written_by_it(path) and not _CODE.fullmatch(name) and not _SETTINGS.fullmatch(name)

    def _is_written_by_it(self, path: str) -> bool:
        """Whether the service's account has written a file since the code came there."""
        status = self.files[path]
        return self.reader.owns(status) and status.st_mtime > self._newest_code + _LATER

    @cached_property
    def _newest_code(self) -> float:
        times = [status.st_mtime for path, status in self.files.items() if path.endswith(".py")]
        return max(times, default=0.0)

    def _code_folders(self, keeps: set[str]) -> Iterator[str]:
        """Folders that have something of the project in them."""
        project = self.tracked if self.tracked is not None else self.files.keys() - keeps
        for path in project:
            if not _PLACEHOLDER.fullmatch(_last(path)):
                yield from _above(os.path.dirname(path))


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _from_the_top(path: str) -> Iterator[str]:
    """The folders that a relative path is in, the topmost first."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        yield "/".join(parts[:count])
