# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Reading files that accounts without rights may have made: never for longer, never more, and never what they may not.

What is at a path may be a pipe that nobody writes to, a device, or a link to what only root may read. So it is read as
that account, where there is one, without waiting, and only where it is a plain file that is not large. Links are
followed: what they lead to is read as that account, too.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Iterator, Sequence

_MOST_LINKS = 40
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def text_of(path: str, most: int) -> str | None:
    """The text of the plain file at `path`; None where there is none, or none that can be read, or one of more than
    `most` bytes."""
    content = content_of(path, most)
    return content.decode("utf-8", "replace") if content is not None else None


def content_of(path: str, most: int) -> bytes | None:
    """The bytes of the plain file at `path`; None as for text_of()."""
    try:
        handle = os.open(path, _FLAGS)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        with open(handle, "rb", closefd=False) as stream:
            content = stream.read(most + 1)
    except OSError:
        return None
    finally:
        os.close(handle)
    return content if len(content) <= most else None


def names_in(path: str, most: int = 10_000) -> list[str]:
    """The first `most` names in a folder, sorted; none where there is no folder that can be read."""
    found: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if len(found) >= most:
                    break
                found.append(entry.name)
    except (OSError, ValueError):
        return []
    return sorted(found)


def entries_in(path: str, most: int) -> list[tuple[str, os.stat_result]]:
    """The first `most` names in a folder, sorted, each with what is there itself, be it a link; none where there is no
    folder that can be read."""
    found: list[tuple[str, os.stat_result]] = []
    for name in names_in(path, most):
        with contextlib.suppress(OSError, ValueError):
            found.append((name, os.lstat(os.path.join(path, name))))
    return found


def roots_alone(path: str) -> bool:
    """Whether nobody but root could have changed what is at the absolute `path`: each folder and link on the way, and
    what is there, is root's, and no other account may write to it. False where nothing is there."""
    place, rest, links = "/", path.split("/"), 0
    while rest:
        name = rest.pop(0)
        place = os.path.dirname(place) if name == ".." else place
        here = place if name in ("", ".", "..") else os.path.join(place, name)
        try:
            status = os.lstat(here)
            target = os.readlink(here) if stat.S_ISLNK(status.st_mode) else None
        except (OSError, ValueError):
            return False
        if status.st_uid != 0 or links > _MOST_LINKS:
            return False
        if target is not None:
            links += 1
            place = "/" if target.startswith("/") else place
            rest = [*target.split("/"), *rest]
            continue
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):  # access lists show in the bit of the group
            return False
        place = here
    return True


@contextlib.contextmanager
def as_account(uid: int, gid: int, groups: Sequence[int] = ()) -> Iterator[None]:
    """Do what follows with the rights of a user, its group and further `groups` alone, where this process is root's and
    the user is not."""
    if os.geteuid() != 0 or not uid:
        yield
        return
    before, own = os.getgroups(), os.getegid()
    os.setgroups(list(groups))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own)
        os.setgroups(before)
