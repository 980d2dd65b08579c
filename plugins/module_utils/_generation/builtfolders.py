# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How a generation gets the folders that it has for itself (`data.built`), and how large they may become."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from pathlib import Path
from typing import Iterator

from .._declaration.app import Data, Plain
from .._declaration.built import code_in
from .._os.files import fsync_directory, make_directory
from .._os.paths import Layout
from .._os.removal import remove_tree
from .._release.leads import place_of
from .._release.releases import sync_tree
from .._release.room import MIB, need_room
from . import generations, sandbox
from .built import folder, paths
from .generations import BUILT

MOST_FILES = 100_000
"""A folder with more files than that is not what an app makes of its code."""


def holds_code(app: Plain, release: str) -> str:
    """Which folder of a release that is the app's to write to holds code, and is not declared so, in a sentence with
    the fix; empty where none is."""
    declared = Data.from_dict(app.get("data") or {}).built
    told = (code_in(one.path, _files(place_of(Path(release), one.path))) for one in declared if not one.code)
    return next(filter(None, told), "")


def _files(top: Path) -> Iterator[str]:
    for at, _, names in os.walk(top):
        yield from (os.path.relpath(os.path.join(at, name), top) for name in sorted(names))


def need_disk(layout: Layout, app: Plain, release: str) -> None:
    """DiskFull where the disk has no room for what a new generation gets of its release, or for as much as the live one
    has by now: what that has made of its code, the new one makes too."""
    wanted = paths(app)
    if not wanted:
        return
    shipped = [_size(str(place_of(Path(release), path))) for path in wanted]
    live = generations.live(layout)
    made = [_size(os.path.join(layout.generation(live), BUILT))] if live is not None else []
    size = max(sum(mib for mib, _ in shipped), *(mib for mib, _ in made), 0)
    files = max(sum(count for _, count in shipped), *(count for _, count in made), 0)
    need_room(Path(layout.home), size // MIB + 1, files, f"the folders of data.built of {layout.app}")


def _size(top: str) -> tuple[int, int]:
    """(bytes on the disk, files) of a folder, links counted as what they are."""
    size = count = 0
    for at, folders, names in os.walk(top):
        for name in [*folders, *names]:
            count += 1
            size += _blocks(os.path.join(at, name))
        if count > MOST_FILES:
            break
    return size, count


def _blocks(path: str) -> int:
    try:
        return os.lstat(path).st_blocks * 512
    except OSError:
        return 0  # its owner took it away meanwhile


def make(layout: Layout, number: int, app: Plain) -> list[str]:
    """Make those folders of generation `number` that are missing, or another account's, with what its release has
    there; returns which, in sentences. OSError where the disk does not let it.

    Nobody but root can enter one before it is whole, and given to the app by a rename; what the app could have written
    is never followed.
    """
    made = []
    user = str(app.get("user") or layout.user)
    mask = int(sandbox.declared(app).umask, 8)
    for path in paths(app):
        target = folder(layout, number, path)
        if _whole(target, user):
            continue
        above = os.path.dirname(target)
        for part in _above(layout, number, path):
            make_directory(part)
        source = place_of(Path(os.path.realpath(os.path.join(layout.generation(number), "release"))), path)
        fresh = os.path.join(above, f".{os.path.basename(target)}.new")
        for old in (fresh, target):
            if os.path.lexists(old):
                remove_tree(old)
        os.mkdir(fresh, 0o700)
        _copy(str(source), fresh)
        sync_tree(Path(fresh))
        _give(fresh, user, 0o777 & ~mask)
        os.rename(fresh, target)
        fsync_directory(above)
        made.append(f"made {target} anew, with what the release has there")
    return made


def _above(layout: Layout, number: int, path: str) -> list[str]:
    """The folders above one of a generation, from the top: root's, so that nobody swaps what lies in them."""
    found = [os.path.join(layout.generation(number), BUILT)]
    for part in path.split("/")[:-1]:
        found.append(os.path.join(found[-1], part))
    return found


def _whole(path: str, user: str) -> bool:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and (os.geteuid() != 0 or status.st_uid == _ids(user)[0])


def _copy(source: str, target: str) -> None:
    """What is in `source`, links as they are."""
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        os.chmod(target, 0o700)  # copytree gives it the mode of the source


def _give(top: str, user: str, mode: int) -> None:
    """Give a folder that nobody else can enter, with all in it, to `user`, who may write to it; the top last."""
    uid, gid = _ids(user)
    for at, folders, names in os.walk(top, topdown=False):
        for name in [*folders, *names]:
            path = os.path.join(at, name)
            if not os.path.islink(path):
                os.chmod(path, os.lstat(path).st_mode & mode | stat.S_IWUSR)
            _own(path, uid, gid)
    os.chmod(top, mode)
    _own(top, uid, gid)


def _own(path: str, uid: int, gid: int) -> None:
    if os.geteuid() == 0:
        os.lchown(path, uid, gid)


def _ids(user: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return 0, 0
    return entry.pw_uid, entry.pw_gid


def settle(layout: Layout, number: int) -> None:
    """Wait until what a generation has made before it counts is on the disk: it is not made again after a boot."""
    top = os.path.join(layout.generation(number), BUILT)
    if os.path.isdir(top):
        sync_tree(Path(top))
