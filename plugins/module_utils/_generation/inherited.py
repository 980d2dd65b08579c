# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a former service keeps on the host and its app is to use on: whether each is let in to what the other writes.

An account of its own that is let in to a folder is not let in to the files that are in it, and a service that gets its
address back reads what the app wrote meanwhile. Read only, and bounded. Asked by the probe (see outside).
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import stat
from dataclasses import dataclass, field
from typing import Iterable, Iterator

from .._facts.unitgroups import unit_pids
from .._os.bounds import MOST, Bounds
from .._os.files import as_mapping
from .._os.paths import HIDDEN, Layout
from .._os.procfs import read_status, to_int
from .._os.rights import PASS, READ, WRITE, Who, closed_above, rules, rules_of_new
from .._os.systemd import Systemd
from .outside import Plain, may, outside_of

"""So many files and folders, and so long, are looked at of an app."""

_DATABASE = re.compile(r"\.(db3?|sqlite3?|s3db)(-wal|-shm|-journal)?$", re.IGNORECASE)
_SHOWN, _ASKED = 3, 20
_FILE, _FOLDER = 0o666, 0o777
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/boot", "/nix", "/snap")
"""What a service of root's, which may write everywhere, reads alone."""

_LOST = ("/run", "/var/run", "/dev", "/opt/headcount", "/var/lib/headcount")
_WHOLE = ("/", "/opt", "/srv", "/mnt", "/media", "/var", "/data", "/var/lib", "/var/cache", "/var/log", "/var/spool")
"""Folders that data.outside does not take: with what is below them, and by themselves."""


@dataclass
class _Looked:
    """What was seen below a folder. `shut`: what the app is not let in to; `unread`: folders in which the former
    service could not read what the app makes; `unwritten`: those in which the app could not use what that makes;
    `linked`: {what hinders the app where links lead, with the fix: those links}."""

    shut: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unwritten: list[str] = field(default_factory=list)
    linked: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Inherited:
    """The app `app` (plain, as the probe or a record has it) that is to be taken over from the service `unit`."""

    layout: Layout
    app: Plain
    unit: str
    systemd: Systemd
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        bent = as_mapping(self.app.get("sandbox"))
        groups, umask = bent.get("groups"), str(bent.get("umask") or "0077")
        named = [str(one) for one in groups] if isinstance(groups, (list, tuple)) else []
        self.who = Who.named(str(self.app.get("user") or self.layout.user), named, int(umask, 8))
        self.old = former_account(self.unit, self.systemd, self.layout.root)
        self.cut: list[str] = []
        """Folders of which not all was looked at."""

    def problems(self) -> dict[str, str]:
        """{folder of `data.outside` that they cannot both use as it is: why, in a sentence with the fix}."""
        found = {path: self._of_folder(path, access == "write") for path, access in outside_of(self.app)}
        return {path: words for path, words in found.items() if words}

    def told(self) -> str:
        """That not all was looked at, in a clause; empty where it was."""
        if not self.cut:
            return ""
        return (
            f"only {self.bounds.most - max(0, self.bounds.left)} of what is below {', '.join(self.cut)} were looked at"
        )

    def _of_folder(self, path: str, writes: bool) -> str:
        if not os.path.isdir(path):
            return ""
        seen = self._look(os.path.realpath(path), writes)
        seen.shut = self._really(seen.shut, writes)
        cut = " (not all of it was looked at)" if os.path.realpath(path) in self.cut else ""
        found = [*self._of_rights(seen, path, writes, cut), *self._of_links(seen, path, cut)]
        return f"data.outside: {'; '.join(found)}" if found else ""

    def _of_rights(self, seen: _Looked, path: str, writes: bool, cut: str) -> Iterator[str]:
        """What is wrong with the folder and what is in it, with the fix."""
        if self.who.uid == 0 or (self.who.uid is not None and self.who.uid == self.old.uid):
            return
        told = [words for words in self._words(seen, path, writes) if words]
        passing = self._passing(path)
        if told or passing:
            told = told or [f"{self.who.name} does not come to {path}"]
            yield f"{'; '.join(told)}{cut}: {self._fix(path, writes)}{passing}"

    def _of_links(self, seen: _Looked, path: str, cut: str) -> Iterator[str]:
        """What is wrong with where links in the folder lead, a clause each, with the fix."""
        for why, links in itertools.islice(seen.linked.items(), _SHOWN):
            yield f"{_shown(links, path)} in {path} {'leads' if len(links) == 1 else 'lead'} {why}"
        if len(seen.linked) > _SHOWN:
            yield f"links to {len(seen.linked) - _SHOWN} more places{cut}"

    def _words(self, seen: _Looked, path: str, writes: bool) -> Iterator[str]:
        """What is wrong, a clause each."""
        who, old = self.who.name, self.old.name
        if seen.shut:
            do = "use" if writes else "read"
            count = f"{len(seen.shut)} things" if len(seen.shut) > 1 else "what"
            yield f"{who} may not {do} {count} that {self.unit} has in {path} ({_shown(seen.shut, path)})"
        if seen.unwritten:
            do = "use" if writes else "read"
            yield f"what {old} writes from now on below {_shown(seen.unwritten, '')}, {who} may not {do}"
        if seen.unread:
            yield (
                f"what {who} writes below {_shown(seen.unread, '')}, {old} may not read, so that {self.unit} could "
                "not be given its address back"
            )

    def _look(self, path: str, writes: bool) -> _Looked:
        """Walk the folder, those that are nearer to its top first, and databases before other files."""
        seen, left = _Looked(), [path]
        wants = READ | WRITE if writes else READ
        while left:
            folder = left.pop(0)
            self._of_new(seen, folder, writes)
            if not _lets(folder, self.who, wants | PASS):
                seen.shut.append(folder)
            for entry in _entries(folder):
                if self.bounds.spent():
                    self.cut.append(path)
                    return seen
                if stat.S_ISDIR(entry.mode):
                    left.append(entry.path)
                elif stat.S_ISLNK(entry.mode):
                    self._of_link(seen, entry.path, writes)
                elif stat.S_ISREG(entry.mode) and not _lets(entry.path, self.who, wants):
                    seen.shut.append(entry.path)
        return seen

    def _of_link(self, seen: _Looked, link: str, writes: bool) -> None:
        """What hinders the app where a link leads to what the former service uses. A folder of `data.outside` that it
        leads into is looked at by itself."""
        real = _target(link)
        wanted = (READ | WRITE, READ) if writes and not _below(real, _SYSTEM) else (READ,)
        wants = next((rights for rights in wanted if real and reaches(self.old, real, rights)), 0)
        if not wants:
            return
        why = self._hidden(real) or self._elsewhere(real, bool(wants & WRITE))
        why = why or ("" if self._is_ours(real) else self._shut_there(real, wants))
        if why:
            seen.linked.setdefault(why, []).append(link)

    def _is_ours(self, real: str, access: str = "") -> bool:
        """Whether it lies in a folder that the app has, with `access` where it is given."""
        outside = [folder for folder, given in outside_of(self.app) if access in ("", given)]
        own = (self.layout.data, self.layout.cache, self.layout.logs)
        return _below(real, [os.path.realpath(folder) for folder in (*outside, *own)])

    def _hidden(self, real: str) -> str:
        hidden = next((folder for folder in HIDDEN if _below(real, [folder])), None)
        if hidden is None:
            return ""
        place = real if os.path.isdir(real) else os.path.dirname(real)
        return (
            f"to what is in {place}, which {HIDDEN[hidden]} of the app's units hides: move that to a folder that is "
            "declared in data.outside, such as one below /srv, and have the link lead there"
        )

    def _elsewhere(self, real: str, writes: bool) -> str:
        """That the app's units let it write where it is declared alone."""
        if not writes or self._is_ours(real, "write"):
            return ""
        place = real if os.path.isdir(real) else os.path.dirname(real)
        what = f"to what is in {place}, where {self.old.name} may write, and which the app's units have read-only"
        if self._is_ours(real):
            return f"{what}: declare it in data.outside with access write"
        if place in _WHOLE or _below(place, _LOST) or re.search(r"[\s:%\"'\\]", place):
            return f"{what}: move that to a folder of its own, declare it in data.outside, and have the link lead there"
        return f"{what}: declare {place} in data.outside too"

    def _shut_there(self, real: str, wants: int) -> str:
        """That the app is not let in to what is outside of its folders."""
        writes = bool(wants & WRITE)
        if reaches(self.who, real, wants):
            return ""
        rights = os.R_OK | (os.W_OK if writes else 0)
        if self.who.uid is not None and os.geteuid() == 0 and may(real, self.who.name, rights):
            return ""
        letters = ("rw" if writes else "r") + ("X" if os.path.isdir(real) else "")
        lets = f"{self._first()}`setfacl -R -m u:{self.who.name}:{letters} {real}`"
        do = "use" if writes else "read"
        return f"to {real}, which {self.who.name} may not {do}: let it in ({lets}{self._passing(real)})"

    def _of_new(self, seen: _Looked, folder: str, writes: bool) -> None:
        """What either would make in a folder of what is kept there, and what the other could do with it."""
        wants = READ | WRITE if writes else READ
        if self.old.uid != 0 and not _new_lets(folder, self.old, self.who, wants):
            seen.unwritten.append(folder)
        if writes and not _new_lets(folder, self.who, self.old, READ):
            seen.unread.append(folder)

    def _really(self, shut: list[str], writes: bool) -> list[str]:
        """`shut`, databases first; none where the account, which is there, is let in by what modes do not tell."""
        found = sorted(shut, key=lambda one: _DATABASE.search(one) is None)
        rights = os.R_OK | (os.W_OK if writes else 0)
        if found and self.who.uid is not None and all(may(one, self.who.name, rights) for one in found[:_ASKED]):
            return [] if os.geteuid() == 0 else found
        return found

    def _first(self) -> str:
        """What has to be done before an access list can name the app's account."""
        install = "" if shutil.which("setfacl") else "install the package acl, then "
        make = f"`useradd --system --no-create-home --shell /usr/sbin/nologin {self.who.name}`, then "
        return install + (make if self.who.uid is None else "")

    def _fix(self, path: str, writes: bool) -> str:
        both = f"u:{self.who.name}:{'rwX' if writes else 'rX'}"
        both += f",u:{self.old.name}:rwX" if self.old.uid != 0 else ""
        return (
            f"let both in, to what is there and to what comes: {self._first()}`setfacl -R -m {both} {path}` and "
            f"`setfacl -R -d -m {both} {path}`. It stays where it is: a copy that is made while {self.unit} serves "
            "lacks what users write after that"
        )

    def _passing(self, path: str) -> str:
        """How the app comes to the folder, where one above it is closed."""
        above = closed_above(path, self.who)
        return f"; and `setfacl -m u:{self.who.name}:x {above}` lets it pass" if above else ""


def former_account(unit: str, systemd: Systemd, root: str = "/") -> Who:
    """The account that a service works as: of its processes that one which is not root's, else the one that its unit
    names, with the mask of what it makes."""
    told = systemd.properties(unit, "User", "UMask", "ControlGroup")
    group = told.get("ControlGroup", "")
    umask = _octal(told.get("UMask", ""))
    for pid in unit_pids(group, root) if group else []:
        status = read_status(root, str(pid))
        uid = to_int(status.get("Uid", "").split("\t")[0])
        if uid:
            return Who.named(str(uid), umask=_octal(status.get("Umask", "")))
    return Who.named(told.get("User") or "root", umask=umask)


def _octal(text: str) -> int:
    return int(text, 8) if re.fullmatch(r"[0-7]+", text) else 0o022


@dataclass(frozen=True)
class _Entry:
    path: str
    mode: int


def _entries(folder: str) -> list[_Entry]:
    """What is in a folder, databases first."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in itertools.islice(entries, MOST + 1):
                try:
                    found.append(_Entry(entry.path, entry.stat(follow_symlinks=False).st_mode))
                except OSError:
                    continue
    except OSError:
        return []
    return sorted(found, key=lambda one: (_DATABASE.search(one.path) is None, one.path))


def _target(link: str) -> str:
    """The file or folder that a link leads to in the end; empty where it leads to nothing, or to something else."""
    try:
        mode = os.stat(link).st_mode  # which ends after 40 links, as realpath() would not
    except (OSError, ValueError):
        return ""
    return os.path.realpath(link) if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else ""


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _lets(path: str, who: Who, wants: int) -> bool:
    """Whether an account may do that; what has gone meanwhile is in nobody's way."""
    found = rules(path)
    return found is None or found.allow(who, wants)


def _new_lets(folder: str, maker: Who, other: Who, wants: int) -> bool:
    """Whether `other` may do `wants` with what `maker` makes in a folder, where that may make anything there."""
    there = rules(folder)
    if there is None or not there.allow(maker, WRITE | PASS):
        return True
    file, below = rules_of_new(folder, maker, _FILE), rules_of_new(folder, maker, _FOLDER)
    return file is None or below is None or (file.allow(other, wants) and below.allow(other, wants | PASS))


def reaches(who: Who, path: str, wants: int) -> bool:
    """Whether an account comes to what is at a path, and may do that there."""
    real = os.path.realpath(path)
    more = PASS if os.path.isdir(real) else 0
    return not closed_above(real, who) and _lets(real, who, wants | more)


def _shown(paths: Iterable[str], above: str) -> str:
    """The first of them, by their names below `above`."""
    found = list(paths)
    names = [os.path.relpath(one, os.path.realpath(above)) if above else one for one in found[:_SHOWN]]
    names = ["the folder itself" if name == "." else name for name in names]
    return ", ".join(names) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
