# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an account may do with a file, by its mode and its access lists (acl(5)). Read only.

Nobody is asked, so that an account can be looked at that is not on the host yet, and a file that somebody makes later.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
from dataclasses import dataclass, field
from typing import Iterable, Mapping

READ, WRITE, PASS = 4, 2, 1
"""Rights, as modes have them; PASS is to enter a folder."""

_ACCESS, _DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_OWNER, _USER, _GROUP, _NAMED, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
"""Tags of the entries of an access list, as the kernel writes it (linux/posix_acl_xattr.h)."""


@dataclass(frozen=True)
class Who:
    """An account: its ids, and the mask of what it makes. `uid`: None where it is not on the host yet, so that it has
    the rights of everybody, and those of `gids`, groups that it is given."""

    name: str
    uid: int | None = None
    gid: int | None = None
    gids: frozenset[int] = frozenset()
    umask: int = 0o077

    @classmethod
    def named(cls, name: str, groups: Iterable[str] = (), umask: int = 0o077) -> Who:
        """The account called `name` (or of that number), also with `groups`, as far as they are there."""
        given = frozenset(number for number in map(_gid, groups) if number is not None)
        try:
            entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except (KeyError, OverflowError, ValueError):
            return cls(name, int(name) if name.isdecimal() else None, None, given, umask)
        own = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid, own | given, umask)


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


@dataclass(frozen=True)
class Rules:
    """Who may do what with one file or folder: rights of its owner, of its group, of others, and of those that an
    access list names, its mask applied."""

    uid: int
    gid: int
    owner: int
    group: int
    others: int
    users: Mapping[int, int] = field(default_factory=dict)
    groups: Mapping[int, int] = field(default_factory=dict)

    def allow(self, who: Who, wanted: int) -> bool:
        """Whether the account may do all of `wanted`."""
        if who.uid == 0:
            return True
        if who.uid is not None and who.uid == self.uid:
            return self.owner & wanted == wanted
        if who.uid is not None and who.uid in self.users:
            return self.users[who.uid] & wanted == wanted
        theirs = [self.group] if self.gid in who.gids else []
        theirs += [rights for number, rights in self.groups.items() if number in who.gids]
        return any(rights & wanted == wanted for rights in theirs or [self.others])


def rules(path: str) -> Rules | None:
    """Those of what is at `path`, a link itself where it is one; None where nothing is."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    mode = stat.S_IMODE(status.st_mode)
    entries = _entries(path, _ACCESS)
    return _ruled(status.st_uid, status.st_gid, mode, entries)


def rules_of_new(folder: str, maker: Who, mode: int) -> Rules | None:
    """Those of a file that `maker` makes in `folder` with `mode` (0o666 by open(2) as programs call it); None where
    there is no such folder. A default access list of the folder goes in place of the mask of its maker."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    own = maker.gid if maker.gid is not None else -1
    gid = status.st_gid if status.st_mode & stat.S_ISGID else own
    uid = maker.uid if maker.uid is not None else -1
    entries = _entries(folder, _DEFAULT)
    if not entries:
        return _ruled(uid, gid, mode & ~maker.umask, [])
    cut = {_OWNER: mode >> 6, _OTHER: mode}
    cut[_MASK if any(tag == _MASK for tag, _, _ in entries) else _GROUP] = mode >> 3
    return _ruled(uid, gid, mode, [(tag, rights & cut.get(tag, 7), number) for tag, rights, number in entries])


def _ruled(uid: int, gid: int, mode: int, entries: list[tuple[int, int, int]]) -> Rules:
    if not entries:
        return Rules(uid, gid, mode >> 6 & 7, mode >> 3 & 7, mode & 7)
    first = {tag: rights for tag, rights, _ in entries if tag not in (_USER, _NAMED)}
    mask = first.get(_MASK, 7)
    users = {number: rights & mask for tag, rights, number in entries if tag == _USER}
    groups = {number: rights & mask for tag, rights, number in entries if tag == _NAMED}
    return Rules(uid, gid, first.get(_OWNER, 0), first.get(_GROUP, 0) & mask, first.get(_OTHER, 0), users, groups)


def _entries(path: str, name: str) -> list[tuple[int, int, int]]:
    """The entries of an access list, each its tag, its rights and whom it names; none where there is no list."""
    try:
        value = os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return []
    size = (len(value) - 4) // 8
    return [struct.unpack_from("<HHI", value, 4 + 8 * at) for at in range(max(0, size))]


def closed_above(path: str, who: Who) -> str:
    """The first folder on the way to `path` that the account does not pass; empty where it passes all."""
    place = "/"
    for name in os.path.realpath(path).split("/")[1:]:
        found = rules(place)
        if found is None or not found.allow(who, PASS):
            return place
        place = os.path.join(place, name)
    return ""
