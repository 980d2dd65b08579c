# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""With whose rights the files of a service are read: those of the account that does its work, and never root's for it.

A Gunicorn of root's gives its workers to another account (`--user`), which may put a link to a file of root's in the
place of one of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import stat
from dataclasses import dataclass
from typing import ContextManager, Pattern, Sequence, Tuple

from .._os.foreignfiles import as_account, content_of, entries_in, names_in, roots_alone, text_of
from .._os.procfs import read_status, to_int


@dataclass(frozen=True)
class Ids:
    """What files are opened with."""

    uid: int
    gid: int
    groups: Tuple[int, ...] = ()


@dataclass(frozen=True)
class Reader:
    """Reads the files of a host, or of a directory `root` that is one, with the rights of `ids`; those of root's only
    where root alone could have made them what they are. `ids`: None where nobody knows them, and nothing is read."""

    root: str
    ids: Ids | None

    def text(self, path: str, most: int) -> str | None:
        """As foreignfiles.text_of()."""
        if not self._may(path):
            return None
        with self._rights():
            return text_of(self._place(path), most)

    def content(self, path: str, most: int) -> bytes | None:
        """As foreignfiles.content_of()."""
        if not self._may(path):
            return None
        with self._rights():
            return content_of(self._place(path), most)

    def entries(self, path: str, most: int) -> list[tuple[str, os.stat_result]]:
        """As foreignfiles.entries_in()."""
        if not self._may(path):
            return []
        with self._rights():
            return entries_in(self._place(path), most)

    def writes(self, path: str) -> bool:
        """Whether the account may write to what is at a path; False where nothing is."""
        if self.ids is None:
            return False
        with self._rights():
            return os.access(self._place(path), os.W_OK, effective_ids=True)

    def status(self, path: str) -> os.stat_result | None:
        """What is at a path itself, be it a link; None where nothing is, or the account cannot tell."""
        if not self._may(path):
            return None
        with self._rights(), contextlib.suppress(OSError, ValueError):
            return os.lstat(self._place(path))
        return None

    def target(self, path: str) -> str:
        """Where the link at a path leads, as it says; empty where there is none."""
        with self._rights(), contextlib.suppress(OSError, ValueError):
            return os.readlink(self._place(path))
        return ""

    def owns(self, status: os.stat_result) -> bool:
        """Whether a file is the account's."""
        return self.ids is not None and status.st_uid == self.ids.uid

    def is_folder(self, path: str) -> bool:
        """Whether a folder is at a path, and no link to one."""
        with self._rights():
            return self._is_folder(path)

    def names(self, path: str) -> list[str]:
        """As foreignfiles.names_in()."""
        if not self._may(path):
            return []
        with self._rights():
            return names_in(self._place(path))

    def folders(self, path: str, pattern: Pattern[str], most: int) -> list[str]:
        """The first `most` names in a folder that match, and are of folders, not of links to such."""
        named = [name for name in self.names(path) if pattern.fullmatch(name)]
        with self._rights():
            return list(itertools.islice((name for name in named if self._is_folder(os.path.join(path, name))), most))

    def _is_folder(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(os.lstat(self._place(path)).st_mode)
        except (OSError, ValueError):
            return False

    def is_there(self, path: str) -> bool:
        """Whether anything is at a path, a link that leads nowhere too, as far as the account can tell."""
        if self.ids is None:
            return False
        with self._rights():
            return os.path.lexists(self._place(path))

    def hinders(self, path: str) -> str:
        """Why what is at a path is not read, in words; empty where it may be."""
        if self.ids is None:
            return "whose service ended as it was read"
        if self._may(path) or not self.is_there(path):
            return ""
        return "which accounts beside root could have changed while the service is root's"

    def _may(self, path: str) -> bool:
        if self.ids is None:
            return False
        return self.root != "/" or self.ids.uid != 0 or roots_alone(self._place(path))

    def _place(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def _rights(self) -> ContextManager[None]:
        ids = self.ids if self.ids is not None and self.root == "/" else Ids(0, 0)
        return as_account(ids.uid, ids.gid, ids.groups)


def reader_of(root: str, master: int, workers: Sequence[int], user: str) -> Reader:
    """That of a master's files. `user`: whom its workers are given to, as it is declared; empty where it is not."""
    own = Ids(os.geteuid(), os.getegid())
    return Reader(root, _working_as(root, master, workers, user) if root == "/" else own)


def _working_as(root: str, master: int, workers: Sequence[int], user: str) -> Ids | None:
    own = _ids(root, master)
    if own is None or own.uid != 0:
        return own
    for pid in workers:
        found = _ids(root, pid)
        if found is not None and found.uid != 0:
            return found
    return _declared(user) if user else own


def _ids(root: str, pid: int) -> Ids | None:
    """Those of a process; None where it has ended, or they cannot be read."""
    status = read_status(root, str(pid))
    uid, gid = (to_int(status.get(key, "").split("\t")[-1]) for key in ("Uid", "Gid"))  # the last: of its files
    if uid is None or gid is None:
        return None
    return Ids(
        uid, gid, tuple(number for number in map(to_int, status.get("Groups", "").split()) if number is not None)
    )


def _declared(user: str) -> Ids | None:
    """Those of an account, by its name or number; None where it is not there."""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError, ValueError):
        return None
    return Ids(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))
