# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Generations on disk, read: begun with a marker, finished with a manifest, one of them live. `store` writes them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Any, Mapping

from .._os.files import as_mapping, read_mapping, sha256
from .._os.paths import Layout, under
from .processnames import process_units_on_disk

UNFINISHED = ".unfinished"
GENERATION = "generation.json"
MANIFEST = "manifest.json"
OUTCOME = "outcome.json"
EVIDENCE = "evidence.json"
BUILT = "built"
"""Folder of what the app makes of its own code: the generation's own, in the place of what its release has."""
NOT_IN_MANIFEST = frozenset({UNFINISHED, MANIFEST, OUTCOME, EVIDENCE, "release", BUILT})


@dataclass(frozen=True)
class Generation:
    """What is on disk of one generation. `status`: unfinished, candidate, good or bad."""

    number: int
    status: str
    release: str | None
    created: str | None
    cause: str | None = None

    def to_dict(self) -> dict[str, object]:
        return {
            "number": self.number,
            "status": self.status,
            "release": self.release,
            "created": self.created,
            "cause": self.cause,
        }


def numbers(layout: Layout) -> list[int]:
    """Numbers of all generations on disk, finished or not, ascending. A folder of somebody else's is none."""
    return [number for number in taken_numbers(layout) if made(layout.generation(number))]


def taken_numbers(layout: Layout) -> list[int]:
    """Numbers that name anything among the generations on disk, ascending."""
    try:
        names = os.listdir(layout.generations)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name) for name in names if name.isdigit())


def made(path: str) -> bool:
    """Whether the folder of a generation was made by Headcount: it holds what begins or ends one, or nothing yet."""
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return not names or not {UNFINISHED, GENERATION, MANIFEST}.isdisjoint(names)


def finished(layout: Layout, number: int) -> bool:
    """Whether the generation is whole: its manifest is there and its marker is not."""
    path = layout.generation(number)
    return os.path.exists(os.path.join(path, MANIFEST)) and not os.path.lexists(os.path.join(path, UNFINISHED))


def describe(layout: Layout, number: int) -> Generation:
    """One generation as it is on disk."""
    path = layout.generation(number)
    record = read_mapping(os.path.join(path, GENERATION))
    outcome = read_mapping(os.path.join(path, OUTCOME))
    status = str(outcome.get("status", "candidate")) if finished(layout, number) else "unfinished"
    return Generation(number, status, record.get("release"), record.get("created"), outcome.get("cause"))


def record(layout: Layout, number: int) -> dict[str, Any]:
    """generation.json: app (without secrets), plan, inputs, digests; empty when it cannot be read, or is no record."""
    found = read_mapping(os.path.join(layout.generation(number), GENERATION))
    parts = [found.get(key) for key in ("app", "plan", "planning", "measured")]
    app = as_mapping(found.get("app"))
    whole = all(part is None or isinstance(part, dict) for part in parts) and (
        isinstance(app.get("listen", ""), str) and isinstance(app.get("health", {}), dict)
    )
    return found if whole else {}


def live(layout: Layout) -> int | None:
    """Number of the live generation; None before the first deployment, and when the link leads to none of the app's."""
    target = link_target(layout.live)
    name = os.path.basename(target or "")
    if target is None or not name.isdigit():
        return None
    path = under(layout.root, target) if os.path.isabs(target) else os.path.join(layout.home, target)
    inside = os.path.normpath(path) == os.path.normpath(layout.generation(int(name)))
    return int(name) if inside and os.path.isdir(path) else None


def astray(layout: Layout) -> str:
    """Where `live` leads when that is to no generation of the app, in words."""
    target = link_target(layout.live)
    if target is None or not os.path.exists(layout.live):
        return "nowhere"
    return f"to {target}, which is no generation of {layout.app}"


def problems(layout: Layout, number: int) -> list[str]:
    """How the generation's files and its unit links differ from what was finished; empty when it is intact."""
    path = layout.generation(number)
    if not finished(layout, number):
        return [f"generation {number} is unfinished"]
    manifest = read_mapping(os.path.join(path, MANIFEST))
    if not isinstance(manifest.get("files"), dict):
        return [f"{path}/{MANIFEST} cannot be read"]
    found = []
    for name, digest in manifest["files"].items():
        file = os.path.join(path, name)
        try:
            if sha256(file) != digest:
                found.append(f"{file} was edited")
        except OSError:
            found.append(f"{file} is missing")
    try:
        extra = sorted(set(os.listdir(path)) - set(manifest["files"]) - NOT_IN_MANIFEST)
        found += [f"{path}/{name} is not part of the generation" for name in extra]
        if os.readlink(os.path.join(path, "release")) != manifest.get("release"):
            found.append(f"{path}/release leads elsewhere")
    except OSError as error:
        found.append(f"{path} cannot be read: {error.strerror}")
    found += _unbuilt(path, manifest)
    found += [f"{layout.unit(unit)} does not lead to generation {number}" for unit in unlinked(layout, number)]
    for unit in units_of(layout, number):
        for directory in drop_ins(layout, unit):
            with contextlib.suppress(OSError):
                found += [f"{directory}/{name} overrides the unit" for name in sorted(os.listdir(directory))]
    if not os.path.exists(layout.environment(number)):
        found.append(f"{layout.environment(number)} is missing")
    return found


def _unbuilt(path: str, manifest: Mapping[str, object]) -> list[str]:
    """Which folders that the generation has for itself are gone, one sentence each."""
    named = manifest.get(BUILT)
    own = [os.path.join(path, BUILT, str(one)) for one in named] if isinstance(named, list) else []
    return [f"{one} is missing, and its units cannot start without" for one in own if not os.path.isdir(one)]


def units_of(layout: Layout, number: int) -> list[str]:
    """Units with files of their own for generation `number`: of its instance, its candidate and its processes."""
    return [*layout.instance_units(number), *process_units_on_disk(layout, number)]


def unlinked(layout: Layout, number: int) -> list[str]:
    """Those of the units of generation `number` whose link does not lead to them: it is gone, masked, or edited."""
    return [
        unit
        for unit in units_of(layout, number)
        if link_target(layout.unit(unit)) != unit_target(layout, os.path.join(layout.generation(number), unit))
    ]


def drop_ins(layout: Layout, unit: str) -> tuple[str, str]:
    """Where drop-ins of a unit lie: a person's, and those that are gone with the next boot."""
    return f"{layout.unit(unit)}.d", layout.runtime_drop_in(unit)


def link_target(path: str) -> str | None:
    """Where a link leads; None where there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def unit_target(layout: Layout, path: str) -> str:
    """What a unit link must say: an absolute path as the host sees it."""
    return "/" + os.path.relpath(path, layout.root)


def public_problems(layout: Layout) -> list[str]:
    """How the public socket's links differ from what they must be."""
    through_live = unit_target(layout, os.path.join(layout.live, layout.public_socket_unit))
    found = []
    if link_target(layout.unit(layout.public_socket_unit)) != through_live:
        found.append(f"{layout.unit(layout.public_socket_unit)} does not lead to the live generation")
    if link_target(layout.boot_link) != f"../{layout.public_socket_unit}":
        found.append(f"{layout.boot_link} is missing: the app would not start at boot")
    with contextlib.suppress(OSError):
        directory = f"{layout.unit(layout.public_socket_unit)}.d"
        found += [f"{directory}/{name} overrides the unit" for name in sorted(os.listdir(directory))]
    return found
