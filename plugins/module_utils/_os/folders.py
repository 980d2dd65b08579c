# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which folders root may make where accounts without rights may write too (`madefolders` does): nobody can have another
folder made, or given away, by putting a link in its place.

A path is walked from / on, each folder opened in the one before it and held open. Only root's links are followed, and
nothing is made in or below a folder that another account owns: that account could swap what is in it at any moment.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from typing import Iterator

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
"""Those who may write beside the owner; access lists show in the bit of the group."""


class Unsafe(Exception):
    """Root makes no folder at a path: `at` is the folder on the way that hinders it, `why` says in words how, `owner`
    is the account that it belongs to, where that is how; else empty."""

    def __init__(self, at: str, why: str, owner: str = "") -> None:
        super().__init__(f"{at} {why}")
        self.at, self.why, self.owner = at, why, owner


def hindrance(path: str) -> Unsafe | None:
    """Why root would make no folder at the absolute `path`; None where it would, or where it is there. Read only."""
    try:
        with lowest(path):
            return None
    except Unsafe as error:
        return error


class Place:
    """A folder that is held open, and how it was come to. Only a place that is safe to make folders in is entered."""

    def __init__(self) -> None:
        self.handle, self.at = os.open("/", _FLAGS), "/"

    def close(self) -> None:
        """Hold it open no longer."""
        os.close(self.handle)

    def _enter(self, handle: int, at: str) -> None:
        os.close(self.handle)
        self.handle, self.at = handle, at

    def link(self, name: str) -> str | None:
        """Where the link `name` leads; None where it is none. FileNotFoundError where there is nothing."""
        status = os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            return None
        here = os.fstat(self.handle)
        swapped = here.st_mode & _OTHERS and not here.st_mode & stat.S_ISVTX
        if swapped or not _trusted(status.st_uid):
            raise Unsafe(os.path.join(self.at, name), "is a link that is not root's alone", _account(status.st_uid))
        return os.readlink(name, dir_fd=self.handle)

    def go(self, name: str) -> None:
        """Enter the folder `name`, which may be `..`."""
        at = os.path.normpath(os.path.join(self.at, name))
        try:
            handle = os.open(name, _FLAGS, dir_fd=self.handle)
        except OSError as error:
            raise Unsafe(at, f"is no folder that can be entered ({error.strerror})") from None
        status = os.fstat(handle)
        self._enter(handle, at)
        if not _trusted(status.st_uid):
            raise Unsafe(at, f"belongs to {_account(status.st_uid)}", _account(status.st_uid))
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            raise Unsafe(at, "can be written to by every account")

    def top(self) -> None:
        """Enter /."""
        self._enter(os.open("/", _FLAGS), "/")


@contextlib.contextmanager
def lowest(path: str) -> Iterator[tuple[Place, list[str]]]:
    """The lowest folder on the way to `path` that is there, held open, and the names of those that are missing."""
    place = Place()
    try:
        yield place, _go_down(place, path)
    finally:
        place.close()


def _go_down(place: Place, path: str) -> list[str]:
    """Enter what is there of `path`; the names of what is missing."""
    rest, links = _names(path), 0
    while rest:
        try:
            target = place.link(rest[0])
        except FileNotFoundError:
            if ".." in rest:
                raise Unsafe(os.path.join(place.at, *rest), "is what a link leads to, and is missing") from None
            return rest
        name = rest.pop(0)
        if target is None:
            place.go(name)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise Unsafe(path, "leads from link to link")
        if target.startswith("/"):
            place.top()
        rest = [*_names(target), *rest]
    return []


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _trusted(uid: int) -> bool:
    """Whether what belongs to `uid` is as safe as what belongs to root, or, without root, to who makes the folder."""
    return uid in (0, os.geteuid())


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
