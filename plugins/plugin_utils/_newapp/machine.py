# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which Debian packages have what a project takes from the machine, as far as a host may lack them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from .._display.lacking import DISTUTILS
from .._display.text import listed
from .._wheels.tools import WheelhouseError, run
from .draft import Question

_EVERYWHERE = (
    "apt",
    "systemd",
    "python3",
    "python3-venv",
    "python3.*-minimal",
    "libpython3*-stdlib",
    "libpython3*-minimal",
)
"""Packages that every host has, with all that they depend on."""
_FORMAT = "${Package}\t${Essential}\t${Priority}\t${Depends}, ${Pre-Depends}\n"


def lacking(paths: Iterable[str]) -> dict[str, str]:
    """Those of these files that a host may lack, with the package that has each ("" where nobody knows).

    What a package of them brings along is not named beside it, nor what a host with Python and systemd has.
    """
    files = list(paths)
    if not files:
        return {}
    try:
        owners = _owners(run(["dpkg-query", "--search", *_spelled(files)], 30).stdout, files)
        names = sorted({name for name in owners.values() if name})
        known = _described(run(["dpkg-query", "--show", f"--showformat={_FORMAT}", *names, *_EVERYWHERE], 30).stdout)
    except WheelhouseError:  # a machine without dpkg
        return dict.fromkeys(files, "")
    brought = {other for depends, _ in known.values() for other in depends}
    there = {name for name, (_, always) in known.items() if always}
    return {path: name for path, name in owners.items() if name not in brought | there}


def _spelled(files: Sequence[str]) -> list[str]:
    """Paths as packages have them: some from before /lib became a link to /usr/lib."""
    return [text for path in files for text in (path, path.removeprefix("/usr")) if text.count("/") > 1]


def _owners(said: str, files: Sequence[str]) -> dict[str, str]:
    found = {}
    for line in said.splitlines():
        name, mark, path = line.partition(": ")
        if mark and not name.startswith("diversion by"):
            found[path] = name.partition(":")[0].partition(",")[0]
    return {path: found.get(path) or found.get(path.removeprefix("/usr"), "") for path in files}


def _described(said: str) -> dict[str, tuple[frozenset[str], bool]]:
    """What each package depends on, and whether every host has it."""
    found = {}
    for line in said.splitlines():
        name, essential, priority, depends = (line.split("\t") + [""] * 4)[:4]
        others = frozenset(re.sub(r"[\s(:].*", "", part.strip()) for part in re.split(r"[,|]", depends))
        always = essential == "yes" or priority in ("required", "important") or bool(_PYTHON.fullmatch(name))
        found[name] = (others - {name, ""}, always)
    return found


_PYTHON = re.compile(r"(lib)?python3(\.\d+)?(-stdlib|-minimal|-venv)?|apt|systemd")


def questions(paths: Sequence[str]) -> list[Question]:
    """What is to be asked about the files of this machine that a project used."""
    old = [path for path in paths if "/distutils/" in path]
    needs = words(lacking(path for path in paths if path not in old))
    found = []
    if old:  # no host has it, unless somebody has seen to it
        found.append(
            Question(f"where does a host have distutils from? It imports that of this machine here: {DISTUTILS}", True)
        )
    if needs:
        found.append(
            Question(
                f"does each host have {listed(needs, 6)}? It used that of this machine here, no wheel brings it, and "
                "Headcount installs none: let what sets the hosts up do so"
            )
        )
    return found


def words(needs: Mapping[str, str]) -> list[str]:
    """Each need: the package, with the file where that is not called alike."""
    found: dict[str, None] = {}
    for path, package in sorted(needs.items(), key=lambda item: (item[1], item[0])):
        name = path.rpartition("/")[2]
        if package and any(known.partition(" ")[0] == package for known in found):
            continue
        found[f"{package} ({name})" if package and package != name else name] = None
    return list(found)


__all__ = ["lacking", "questions", "words"]
