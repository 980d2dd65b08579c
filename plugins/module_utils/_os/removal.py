# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How root removes folders: never through a link, and never what is mounted at them or below.

A mount is known by the kernel's own number of it, not by its device: what is bound from the same disk (`mount --bind`)
has the same device, and is somebody's all the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
from typing import Iterable, Sequence

from .files import read_text_file


class Mounted(OSError):
    """Something is mounted at what was to be removed, or below it; the text names it and the fix."""

    def __init__(self, points: Iterable[str]) -> None:
        super().__init__(errno.EBUSY, mounted_words(points))


def mounted_words(points: Iterable[str]) -> str:
    """That there are mounts at `points`, which are to go, or lie below what is, in a sentence with the fix."""
    places = list(points)
    fixes = " && ".join(f"umount {shlex.quote(place)}" for place in reversed(places))
    verb = "are mounts, and what is on them" if len(places) > 1 else "is a mount, and what is on it"
    return f"{', '.join(places)} {verb} is not Headcount's to remove: `{fixes}` first"


def mounts_in(paths: Iterable[str], root: str = "/") -> list[str]:
    """The mounts at any of `paths` (folders), or below them, sorted."""
    tops = [os.path.realpath(path) for path in paths if os.path.isdir(path)]
    text = read_text_file(os.path.join(root, "proc/self/mountinfo")) or ""
    points = {_unescaped(fields[4]) for fields in (line.split() for line in text.splitlines()) if len(fields) > 4}
    return sorted(point for point in points if any(f"{point}/".startswith(f"{top}/") for top in tops))


def _unescaped(point: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), point)


def remove_tree(path: str) -> None:
    """Remove a folder with all that is in it.

    Mounted, before anything goes, where the folder or anything below it is a mount. OSError, with the path, at the
    first thing that cannot be removed; what came before it is gone.
    """
    whole = os.path.abspath(path)
    refuse_mounts(whole)
    _clear(None, whole, whole)
    os.rmdir(whole)


def try_to_remove_tree(path: str) -> None:
    """remove_tree(), where what cannot be removed may stay."""
    with contextlib.suppress(OSError):
        remove_tree(path)


def refuse_mounts(path: str) -> None:
    """Mounted where the folder `path` or anything below it is a mount."""
    _refuse(mounts_in([path]) or ([path] if os.path.ismount(path) else []))


def _refuse(points: Sequence[str]) -> None:
    if points:
        raise Mounted(points)


def _clear(parent: int | None, name: str, shown: str, mount: str = "") -> None:
    """Remove what is in the folder `name` of `parent`; `shown`: its path. `mount`: that on which it has to be, as seen
    now, whatever was mounted since the mounts were looked at."""
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        on = mount_of(folder)
        _refuse([shown] if mount and on != mount else [])
        with os.scandir(folder) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        for inner, is_folder in entries:
            _remove(folder, inner, is_folder, os.path.join(shown, inner), on)
    finally:
        os.close(folder)


def _remove(folder: int, name: str, is_folder: bool, shown: str, mount: str) -> None:
    """Remove one entry of a folder."""
    try:
        if is_folder:
            _clear(folder, name, shown, mount)
            os.rmdir(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)
    except Mounted:
        raise
    except FileNotFoundError:
        return  # its owner took it away meanwhile
    except OSError as error:
        _refuse([shown] if error.errno == errno.EBUSY else [])
        where = str(error.filename)
        raise OSError(error.errno, error.strerror, where if os.path.isabs(where) else shown) from None


def mount_of(descriptor: int) -> str:
    """On which mount the folder behind a descriptor is; where the kernel does not say, on which device."""
    text = read_text_file(f"/proc/self/fdinfo/{descriptor}") or ""
    found = re.search(r"^mnt_id:\s*(\d+)$", text, re.MULTILINE)
    return found.group(1) if found else f"device {os.fstat(descriptor).st_dev}"
