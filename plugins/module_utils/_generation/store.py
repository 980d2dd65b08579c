# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What changes generations on disk: begin one, finish it, make it live by one rename, remove it in the end."""

from __future__ import annotations

import contextlib
import os
from typing import Collection, Iterable, Mapping

from .._os.files import (
    as_mapping,
    fsync_directory,
    make_directory,
    remove_file,
    replace_link,
    sha256,
    write_file,
    write_json,
)
from .._os.ownership import check_free, leads_home
from .._os.paths import Layout
from .._os.removal import try_to_remove_tree
from .._os.secrecy import clean
from .._os.secretfiles import learn_from
from .._release.contents import is_release
from .aside import save_drop_ins
from .generations import (
    BUILT,
    EVIDENCE,
    GENERATION,
    MANIFEST,
    NOT_IN_MANIFEST,
    OUTCOME,
    UNFINISHED,
    Generation,
    finished,
    link_target,
    live,
    numbers,
    record,
    unit_target,
    units_of,
)
from .names import edited


def begin(layout: Layout, number: int, release_id: str) -> None:
    """Create the directory of generation `number`, marked unfinished before anything else is in it."""
    path = layout.generation(number)
    make_directory(layout.generations)
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)
    write_file(os.path.join(path, UNFINISHED), "")
    fsync_directory(layout.generations)
    replace_link(os.path.join(path, "release"), os.path.relpath(layout.release(release_id), path))


def write(layout: Layout, number: int, files: dict[str, str], generation: Mapping[str, object]) -> None:
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
    names = sorted(name for name in os.listdir(path) if name not in NOT_IN_MANIFEST)
    data = as_mapping(as_mapping(record(layout, number).get("app")).get("data"))
    manifest: dict[str, object] = {
        "files": {name: sha256(os.path.join(path, name)) for name in names},
        "release": os.readlink(os.path.join(path, "release")),
    }
    if data.get(BUILT):
        manifest[BUILT] = [folder["path"] for folder in data[BUILT]]
    write_json(os.path.join(path, MANIFEST), manifest)
    remove_file(os.path.join(path, UNFINISHED))


def link_units(layout: Layout, number: int) -> None:
    """Make the units of generation `number` known by name to systemd (it must be reloaded after).

    Raises Foreign, and links nothing, where a unit file of somebody else's has one of the names.
    """
    make_directory(layout.units)
    for unit in units_of(layout, number):
        check_free(layout, layout.unit(unit))
    for unit in units_of(layout, number):
        replace_link(layout.unit(unit), unit_target(layout, os.path.join(layout.generation(number), unit)))


def relink_units(layout: Layout, number: int) -> list[str]:
    """link_units() for a generation that was staged long since: what somebody edited in the place of one of its units
    is left as it is, and told in words. Raises Foreign where a name was never the app's own.
    """
    make_directory(layout.units)
    left = [unit for unit in units_of(layout, number) if edited(layout, unit)]
    units = [unit for unit in units_of(layout, number) if unit not in left]
    for unit in units:
        check_free(layout, layout.unit(unit))
    for unit in units:
        replace_link(layout.unit(unit), unit_target(layout, os.path.join(layout.generation(number), unit)))
    return [f"left {layout.unit(unit)} as somebody edited it" for unit in left]


def link_public(layout: Layout, boot: bool = True) -> bool:
    """Link the public socket through `live`, and have it started at boot, unless `boot` says that something else still
    is. True when anything changed.

    Raises Foreign where a unit file of somebody else's has the name.
    """
    check_free(layout, layout.unit(layout.public_socket_unit))
    make_directory(os.path.dirname(layout.boot_link))
    through_live = unit_target(layout, os.path.join(layout.live, layout.public_socket_unit))
    changed = replace_link(layout.unit(layout.public_socket_unit), through_live)
    if not boot:
        return changed
    return replace_link(layout.boot_link, f"../{layout.public_socket_unit}") or changed


def unlink_public(layout: Layout) -> None:
    """Take back link_public(); what is not the app's own stays."""
    unit = layout.unit(layout.public_socket_unit)
    if os.path.lexists(unit) and not leads_home(layout, unit):
        return
    if link_target(layout.boot_link) == f"../{layout.public_socket_unit}":
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
    """Remember whether the generation proved good or bad; root only, and without the app's secrets."""
    learn_from(layout.state)
    write_json(os.path.join(layout.generation(number), OUTCOME), clean({"status": status, "cause": cause}), 0o600)


def set_evidence(layout: Layout, number: int, evidence: Mapping[str, object]) -> dict[str, object]:
    """Keep what a trial found, root only, and without the app's secrets; returns it as it was written."""
    learn_from(layout.state)
    kept: dict[str, object] = clean(evidence)
    write_json(os.path.join(layout.generation(number), EVIDENCE), kept, 0o600)
    return kept


def remove(layout: Layout, number: int) -> list[str]:
    """Remove generation `number` with its units and environment. Never the live one (ValueError).

    Returns what a person had written for its units and where that is now, in sentences.
    """
    if live(layout) == number:
        raise ValueError(f"generation {number} of {layout.app} is live")
    path = layout.generation(number)
    if os.path.isdir(path):
        # The marker comes back first: a removal that is cut short leaves nothing that counts.
        write_file(os.path.join(path, UNFINISHED), "")
    saved = []
    for unit in units_of(layout, number):
        if leads_home(layout, layout.unit(unit)):
            remove_file(layout.unit(unit))
            remove_file(layout.timer_stamp(unit)) if unit.endswith(".timer") else None
            saved.append(save_drop_ins(layout, unit))
            try_to_remove_tree(layout.runtime_drop_in(unit))
    for file in (layout.environment(number), layout.trial_environment(number)):
        remove_file(file) if os.path.isdir(layout.state) else None
    _empty(path)
    try_to_remove_tree(path)
    if os.path.isdir(layout.generations):
        fsync_directory(layout.generations)
    return [words for words in saved if words]


def _empty(path: str) -> None:
    """Remove what a generation holds, but for its marker: it is known as Headcount's until it is gone."""
    with contextlib.suppress(OSError):
        for name in sorted(set(os.listdir(path)) - {UNFINISHED, BUILT}):
            remove_file(os.path.join(path, name))


def to_prune(
    generations: Iterable[Generation],
    live_number: int | None,
    predecessor: int | None,
    keep_good: int,
    deserted: Collection[int] = (),
) -> list[int]:
    """Numbers of the generations that may go.

    Kept are the live one, its predecessor, the newest `keep_good` good ones, and the newest bad one for diagnosis. Good
    ones that somebody went back from (`deserted`) are kept behind all others.
    """
    ordered = sorted(generations, key=lambda generation: generation.number, reverse=True)
    good = [generation.number for generation in ordered if generation.status == "good"]
    good.sort(key=lambda number: number in deserted)
    bad = [generation.number for generation in ordered if generation.status == "bad"]
    keep = {live_number, predecessor, *good[: max(keep_good, 1)], *bad[:1]}
    return sorted(generation.number for generation in ordered if generation.number not in keep)


def unused_releases(layout: Layout) -> list[str]:
    """Releases that no generation on disk uses, be it by its record or, should that be unreadable, by its link.

    What is no release of Headcount's is not among them.
    """
    used = {record(layout, number).get("release") for number in numbers(layout)}
    for number in numbers(layout):
        used.add(os.path.basename(link_target(os.path.join(layout.generation(number), "release")) or ""))
    try:
        names = sorted(set(os.listdir(layout.releases)) - used)
    except FileNotFoundError:
        return []
    return [name for name in names if is_release(layout.release(name))]
