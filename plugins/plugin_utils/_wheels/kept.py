# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Versions that nothing in a project says: decided once, and kept.

What a project leaves open is the index's answer of one day. It is kept under the digest of all that the project asks
for, without the server and without its code, and preferred whenever it has to be decided again: a changed page, another
worker class or another host of the platform gives no other versions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .cache import digest, temporary
from .gathered import Platform
from .locks import Pinned

_HEAD = "# What the project leaves open, as it was decided once. Remove this file to have it decided anew.\n"


def path_of(cache: Path, local: Mapping[str, Sequence[str]], demands: Sequence[str], platform: Platform) -> Path:
    """Where the versions are kept; `local`: what each distribution that is no index's asks for, `demands`: all else."""
    key = digest("kept", dict(local), sorted(demands), platform.minor, platform.key)
    return cache / "locks" / f"{key}.txt"


def read(path: Path) -> str:
    """What is kept, as a requirements file; "" without it."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def keep(path: Path, pins: Iterable[Pinned]) -> list[str]:
    """Keep versions; those that are not among them now (another worker class) stay. Tells of each that became another
    one."""
    lines = (line.partition("==") for line in read(path).splitlines() if "==" in line)
    versions = {name: version for name, _, version in lines}
    found = {**versions, **{pin.name: pin.version for pin in pins if pin.version}}
    if found == versions:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    part = temporary(path)
    part.write_text(_HEAD + "".join(f"{name}=={found[name]}\n" for name in sorted(found)), encoding="utf-8")
    os.replace(part, path)
    return [
        f"{name} {versions[name]}, which was decided once, gives way to {found[name]}: it is not to be had any more, "
        "or what else is needed rules it out"
        for name in sorted(versions)
        if found[name] != versions[name]
    ]


__all__ = ["keep", "path_of", "read"]
