# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Generations on disk: begun with a marker, finished with a manifest, made live by one rename, pruned in the end."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import Any, Iterable

from .._os.files import (
    fsync_directory,
    make_directory,
    read_json,
    remove_file,
    replace_link,
    sha256,
    write_file,
    write_json,
)
from .._os.ownership import check_free, leads_home
from .._os.paths import Layout
from .._release.contents import is_release

UNFINISHED = ".unfinished"
GENERATION = "generation.json"
MANIFEST = "manifest.json"
OUTCOME = "outcome.json"
EVIDENCE = "evidence.json"
_NOT_IN_MANIFEST = frozenset({UNFINISHED, MANIFEST, OUTCOME, EVIDENCE, "release"})


@dataclass(frozen=True)
class Generation:
    """What is on disk of one generation. `status`: unfinished, candidate, good or bad."""

    number: int
    status: str
    release: str | None
    created: str | None
    cause: str | None = None

    def to_dict(self) -> dict[str, Any]:
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
    record = read_json(os.path.join(path, GENERATION)) or {}
    outcome = read_json(os.path.join(path, OUTCOME)) or {}
    status = str(outcome.get("status", "candidate")) if finished(layout, number) else "unfinished"
    return Generation(number, status, record.get("release"), record.get("created"), outcome.get("cause"))


def record(layout: Layout, number: int) -> dict[str, Any]:
    """generation.json: app (without secrets), plan, inputs, digests; empty when it cannot be read."""
    value = read_json(os.path.join(layout.generation(number), GENERATION))
    return value if isinstance(value, dict) else {}


def live(layout: Layout) -> int | None:
    """Number of the live generation; None before the first deployment or when the link leads nowhere."""
    try:
        name = os.path.basename(os.readlink(layout.live))
    except OSError:
        return None
    return int(name) if name.isdigit() and os.path.isdir(layout.generation(int(name))) else None


def begin(layout: Layout, number: int, release_id: str) -> None:
    """Create the directory of generation `number`, marked unfinished before anything else is in it."""
    path = layout.generation(number)
    make_directory(layout.generations)
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)
    write_file(os.path.join(path, UNFINISHED), "")
    fsync_directory(layout.generations)
    replace_link(os.path.join(path, "release"), os.path.relpath(layout.release(release_id), path))


def write(layout: Layout, number: int, files: dict[str, str], generation: dict[str, Any]) -> None:
    """Lay down the generation's files; only an unfinished generation may be written (ValueError otherwise)."""
    path = layout.generation(number)
    if not os.path.lexists(os.path.join(path, UNFINISHED)):
        raise ValueError(f"generation {number} of {layout.app} is finished and is never written again")
    for name, text in files.items():
        write_file(os.path.join(path, name), text)
    # Root only: the digest in it is over secrets too.
    write_json(os.path.join(path, GENERATION), generation, 0o600)


def finish(layout: Layout, number: int) -> None:
    """Write the manifest, then take the marker away: from here on the generation counts."""
    path = layout.generation(number)
    names = sorted(name for name in os.listdir(path) if name not in _NOT_IN_MANIFEST)
    manifest = {
        "files": {name: sha256(os.path.join(path, name)) for name in names},
        "release": os.readlink(os.path.join(path, "release")),
    }
    write_json(os.path.join(path, MANIFEST), manifest)
    remove_file(os.path.join(path, UNFINISHED))


def problems(layout: Layout, number: int) -> list[str]:
    """How the generation's files and its unit links differ from what was finished; empty when it is intact."""
    path = layout.generation(number)
    if not finished(layout, number):
        return [f"generation {number} is unfinished"]
    manifest = read_json(os.path.join(path, MANIFEST))
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
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
        extra = sorted(set(os.listdir(path)) - set(manifest["files"]) - _NOT_IN_MANIFEST)
        found += [f"{path}/{name} is not part of the generation" for name in extra]
        if os.readlink(os.path.join(path, "release")) != manifest.get("release"):
            found.append(f"{path}/release leads elsewhere")
    except OSError as error:
        found.append(f"{path} cannot be read: {error.strerror}")
    for unit in layout.instance_units(number):
        if _link(layout.unit(unit)) != _unit_target(layout, os.path.join(layout.generation(number), unit)):
            found.append(f"{layout.unit(unit)} does not lead to generation {number}")
        for directory in drop_ins(layout, unit):
            with contextlib.suppress(OSError):
                found += [f"{directory}/{name} overrides the unit" for name in sorted(os.listdir(directory))]
    if not os.path.exists(layout.environment(number)):
        found.append(f"{layout.environment(number)} is missing")
    return found


def drop_ins(layout: Layout, unit: str) -> tuple[str, str]:
    """Where drop-ins of a unit lie: a person's, and those that are gone with the next boot."""
    return f"{layout.unit(unit)}.d", layout.runtime_drop_in(unit)


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _unit_target(layout: Layout, path: str) -> str:
    """What a unit link must say: an absolute path as the host sees it."""
    return "/" + os.path.relpath(path, layout.root)


def link_units(layout: Layout, number: int) -> None:
    """Make the units of generation `number` known by name to systemd (it must be reloaded after).

    Raises Foreign, and links nothing, where a unit file of somebody else's has one of the names.
    """
    make_directory(layout.units)
    for unit in layout.instance_units(number):
        check_free(layout, layout.unit(unit))
    for unit in layout.instance_units(number):
        replace_link(layout.unit(unit), _unit_target(layout, os.path.join(layout.generation(number), unit)))


def link_public(layout: Layout) -> bool:
    """Link the public socket through `live`, and have it started at boot. True when anything changed.

    Raises Foreign where a unit file of somebody else's has the name.
    """
    check_free(layout, layout.unit(layout.public_socket_unit))
    make_directory(os.path.dirname(layout.boot_link))
    through_live = _unit_target(layout, os.path.join(layout.live, layout.public_socket_unit))
    changed = replace_link(layout.unit(layout.public_socket_unit), through_live)
    return replace_link(layout.boot_link, f"../{layout.public_socket_unit}") or changed


def public_problems(layout: Layout) -> list[str]:
    """How the public socket's links differ from what they must be."""
    through_live = _unit_target(layout, os.path.join(layout.live, layout.public_socket_unit))
    found = []
    if _link(layout.unit(layout.public_socket_unit)) != through_live:
        found.append(f"{layout.unit(layout.public_socket_unit)} does not lead to the live generation")
    if _link(layout.boot_link) != f"../{layout.public_socket_unit}":
        found.append(f"{layout.boot_link} is missing: the app would not start at boot")
    with contextlib.suppress(OSError):
        directory = f"{layout.unit(layout.public_socket_unit)}.d"
        found += [f"{directory}/{name} overrides the unit" for name in sorted(os.listdir(directory))]
    return found


def unlink_public(layout: Layout) -> None:
    """Take back link_public(); what is not the app's own stays."""
    unit = layout.unit(layout.public_socket_unit)
    if os.path.lexists(unit) and not leads_home(layout, unit):
        return
    if _link(layout.boot_link) == f"../{layout.public_socket_unit}":
        remove_file(layout.boot_link)
    remove_file(unit)


def activate(layout: Layout, number: int) -> None:
    """Make generation `number` live: one rename, which moves what starts at boot too. Only a finished one may be."""
    if not finished(layout, number):
        raise ValueError(f"generation {number} of {layout.app} is unfinished")
    replace_link(layout.live, f"generations/{number}")


def deactivate(layout: Layout) -> None:
    """No generation is live: what a failed first deployment goes back to."""
    remove_file(layout.live)


def set_outcome(layout: Layout, number: int, status: str, cause: str | None = None) -> None:
    """Remember whether the generation proved good or bad."""
    write_json(os.path.join(layout.generation(number), OUTCOME), {"status": status, "cause": cause})


def remove(layout: Layout, number: int) -> None:
    """Remove generation `number` with its units and environment. Never the live one (ValueError)."""
    if live(layout) == number:
        raise ValueError(f"generation {number} of {layout.app} is live")
    path = layout.generation(number)
    if os.path.isdir(path):
        # The marker comes back first: a removal that is cut short leaves nothing that counts.
        write_file(os.path.join(path, UNFINISHED), "")
    for unit in layout.instance_units(number):
        if leads_home(layout, layout.unit(unit)):
            remove_file(layout.unit(unit))
            for directory in drop_ins(layout, unit):
                shutil.rmtree(directory, ignore_errors=True)
    remove_file(layout.environment(number)) if os.path.isdir(layout.state) else None
    _empty(path)
    shutil.rmtree(path, ignore_errors=True)
    if os.path.isdir(layout.generations):
        fsync_directory(layout.generations)


def _empty(path: str) -> None:
    """Remove what a generation holds, but for its marker: it is known as Headcount's until it is gone."""
    with contextlib.suppress(OSError):
        for name in sorted(set(os.listdir(path)) - {UNFINISHED}):
            remove_file(os.path.join(path, name))


def to_prune(
    generations: Iterable[Generation], live_number: int | None, predecessor: int | None, keep_good: int
) -> list[int]:
    """Numbers of the generations that may go.

    Kept are the live one, its predecessor, the newest `keep_good` good ones, and the newest bad one for diagnosis.
    """
    ordered = sorted(generations, key=lambda generation: generation.number, reverse=True)
    good = [generation.number for generation in ordered if generation.status == "good"]
    bad = [generation.number for generation in ordered if generation.status == "bad"]
    keep = {live_number, predecessor, *good[: max(keep_good, 1)], *bad[:1]}
    return sorted(generation.number for generation in ordered if generation.number not in keep)


def unused_releases(layout: Layout) -> list[str]:
    """Releases that no generation on disk uses, be it by its record or, should that be unreadable, by its link.

    What is no release of Headcount's is not among them.
    """
    used = {record(layout, number).get("release") for number in numbers(layout)}
    for number in numbers(layout):
        used.add(os.path.basename(_link(os.path.join(layout.generation(number), "release")) or ""))
    try:
        names = sorted(set(os.listdir(layout.releases)) - used)
    except FileNotFoundError:
        return []
    return [name for name in names if is_release(layout.release(name))]
