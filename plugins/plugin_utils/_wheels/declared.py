# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project declares of its dependencies, beside what is in the wheel that is built from it.

Locks, requirements files and what these are made from become pins and requirements; what comes from a folder, a
repository or a URL becomes a `Direct`, which is built or fetched and never looked up in an index. Where two files
contradict each other the project is refused, with both of them named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .._edge import Json
from .._source.project import not_read, projects_below, requirements_files
from .._source.project import table as table_of
from .._source.requirements import (
    Stated,
    is_file_name,
    optional_requirements,
    own_requirements,
    pipfile_requirements,
    poetry_range,
    says_requirements,
)
from . import indexes
from .lockfiles import FOLLOWING, LOCKFILES, Direct, direct_of
from .locks import AUTOMATIC, Pinned, applies
from .reqfiles import OWN, Declared, direct_line, requirements_file, stated_requirements
from .tools import BadLock, BadSource, toml


def declared(
    folder: Path,
    top: Path,
    environment: Mapping[str, str],
    chosen: Path | None = None,
    named: Sequence[str] | None = None,
    tree: bool = False,
) -> Declared:
    """What the project in `folder` declares for a platform (`environment`: its markers).

    `top` is the folder that everything of the source is in, `chosen` the lock that source.lock names, `named` what
    source.requirements says: then nothing else is read. `tree`: what the project's metadata asks for is among it,
    because no wheel that would ask for it is built. Raises BadLock and BadSource.
    """
    if named is not None:
        found = _named(named, folder, environment)
    else:
        files = [chosen] if chosen else lock_files(folder, workspace_root(folder, top), tree)
        found = _locked(files, folder, environment)
        if tree and chosen is None:
            check_says(folder, top)
    if tree:
        found = _with_own(found, folder, environment, whole=named is None or found.itself is not None)
    told = _pyproject(folder)
    sources = project_sources(folder, top, environment)
    # What a lock says of where a distribution comes from is more exact: it has the commit.
    direct = {**sources, **{name: item for name, item in found.direct.items() if item.kind != "path"}}
    direct.update({name: item for name, item in found.direct.items() if name not in direct})
    uv = table_of(_pyproject(workspace_root(folder, top) or folder), "tool", "uv")
    known = indexes.joined(found.indexes, _project_indexes(folder, top, told))
    return replace(
        found,
        direct=direct,
        constraints=(*found.constraints, *map(str, uv.get("constraint-dependencies", []))),
        overrides=tuple(map(str, uv.get("override-dependencies", []))),
        indexes=replace(known, bound={**known.bound, **_bound(folder, top)}),
        absent=_absent(told, found) if tree else (),
        python=_pythons(told) if named is None or found.complete else "",
    )


def _pythons(told: Json) -> str:
    """The Pythons that a project says it is for; "" where it does not, or in words that have no specifier."""
    own = table_of(told, "project").get("requires-python")
    said = table_of(told, "tool", "poetry", "dependencies").get("python", "")
    text = str(said.get("version", "") if isinstance(said, Mapping) else said)
    return str(own or (poetry_range(text, "python") if re.match(r"[\^~<>][^|]*$", text) else ""))


def _absent(told: Json, found: Declared) -> tuple[str, ...]:
    """What drops a tree's own name, which its plugins depend on, from what is looked for in an index."""
    name = table_of(told, "project").get("name") or table_of(told, "tool", "poetry").get("name")
    own = canonicalize_name(str(name or ""))
    asked = {canonicalize_name(Requirement(text).name) for _, text in found.requirements}
    return (f"{own} ; python_version < '0'",) if own and own not in asked else ()


def check_says(folder: Path, top: Path) -> None:
    """Raise BadSource when nothing in the folder of a tree says what it depends on."""
    if not lock_files(folder, workspace_root(folder, top), tree=True) and not says_requirements(folder):
        raise BadSource(
            f"nothing in {folder} says what the app depends on{not_read(folder)}: add a requirements.txt to the "
            f"project, or name what it needs, as in source.requirements: [flask]{projects_below(folder)}"
        )


# -- locks ------------------------------------------------------------------------------------------------------------


def lock_files(folder: Path, root: Path | None, tree: bool = False) -> list[Path]:
    """The locks and requirements files that a project carries, the most exact first; `root` is its workspace's.

    Of a package, which says itself what it needs, only those are read that are called as locks are.
    """
    places = [folder / name for name in LOCKFILES]
    if root is not None and root != folder:
        places.insert(2, root / "uv.lock")
    places += [folder / name for name in (requirements_files(folder) if tree else AUTOMATIC)]
    return [path for path in places if path.is_file()]


def _locked(files: Sequence[Path], folder: Path, environment: Mapping[str, str]) -> Declared:
    """What the locks of a project say; the first counts, and the others may not contradict it."""
    read = [read_lock(path, folder, environment) for path in files]
    if len(read) == 1:
        return read[0]
    itself = next((found.itself for found in read if found.itself is not None), None)
    read = [found for found in read if found.pins or found.requirements or found.wanted_direct or found.complete]
    if not read:
        return Declared(itself=itself)
    for other in read[1:]:
        _agree(read[0], other)
    return _with_ways(replace(read[0], itself=itself), read)


def _named(named: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Declared:
    """What source.requirements says: files of the project, and requirements."""
    read: list[Declared] = []
    lines: list[Stated] = []
    for word in named:
        if (folder / word).is_file():
            lock = read_lock(folder / word, folder, environment)
            # Of itself it asks for nothing: it says the versions of what the project's metadata asks for.
            read.append(replace(lock, itself=()) if Path(word).name in FOLLOWING else lock)
        elif is_file_name(word):
            raise BadLock(f"source.requirements {word!r}: there is no such file in {folder}")
        else:
            lines.append(("source.requirements", word))
    stated = stated_requirements(lines, folder, environment, "source.requirements")
    if not read:
        return stated
    for other in read[1:]:
        _agree(read[0], other)
    told = [*read, stated] if lines else read
    return replace(_joined(told), complete=read[0].complete and len(read) == 1 and not lines)


def _with_own(found: Declared, folder: Path, environment: Mapping[str, str], whole: bool) -> Declared:
    """`found`, and what the metadata of the project asks for: all of it, or the extras that are named."""
    stated = own_requirements(folder) if whole else []
    stated += [item for extra in found.itself or () for item in optional_requirements(folder, extra)]
    own = stated_requirements(stated, folder, environment, OWN)
    _agree(found, own)
    return replace(
        found,
        label=found.label or own.label,
        requirements=(*found.requirements, *own.requirements),
        wanted_direct=(*found.wanted_direct, *own.wanted_direct),
        direct={**own.direct, **found.direct},
    )


def own_pins(folder: Path, environment: Mapping[str, str]) -> tuple[Pinned, ...]:
    """What the metadata of a project pins itself, as far as it is written and not computed."""
    return stated_requirements(own_requirements(folder), folder, environment, OWN).pins


def _joined(read: list[Declared]) -> Declared:
    """Several declarations as one; pins of the first count."""
    pins = {pin.name: pin for found in reversed(read) for pin in found.pins}
    found = Declared(
        label=" and ".join(dict.fromkeys(found.label for found in read if found.label)),
        requirements=tuple(item for found in read for item in found.requirements),
        pins=tuple(pins.values()),
        direct={name: item for found in reversed(read) for name, item in found.direct.items()},
        wanted_direct=tuple(item for found in read for item in found.wanted_direct),
        constraints=tuple(text for found in read for text in found.constraints),
        itself=next((found.itself for found in read if found.itself is not None), None),
    )
    return _with_ways(found, read)


def _with_ways(declared: Declared, read: list[Declared]) -> Declared:
    """`declared` with where packages come from, and how, by all that was read."""
    known = indexes.Indexes()
    for found in read:
        known = indexes.joined(known, found.indexes)
    return replace(
        declared,
        indexes=known,
        only_binary=tuple(name for found in read for name in found.only_binary),
        prefer_binary=any(found.prefer_binary for found in read),
        made=any(found.made for found in read),
    )


def read_lock(path: Path, folder: Path, environment: Mapping[str, str]) -> Declared:
    """A lock or a requirements file of the project in `folder`."""
    if path.name in LOCKFILES or re.fullmatch(r"pylock\.[^.]+\.toml", path.name):
        return _of_lockfile(path, environment)
    if path.name == "Pipfile":
        stated = stated_requirements(pipfile_requirements(path), folder, environment, path.name)
        return replace(stated, indexes=_pipfile_indexes(path))
    return requirements_file(path, folder, environment)


def _of_lockfile(path: Path, environment: Mapping[str, str]) -> Declared:
    from .readlocks import read_lockfile

    found = read_lockfile(path, environment)
    wanted = tuple((path.name, pin.requirement()) for pin in found.pins) if found.wanted else ()
    return Declared(
        label=path.name,
        requirements=wanted,
        pins=found.pins,
        complete=True,
        made=True,
        direct={item.name: item for item in found.direct},
        wanted_direct=found.direct if found.wanted else (),
        aside=found.aside,
        indexes=_pipfile_indexes(path) if path.name == "Pipfile.lock" else indexes.Indexes(),
    )


def _pipfile_indexes(path: Path) -> indexes.Indexes:
    pipfile = path.parent / "Pipfile"
    return indexes.of_pipfile(toml(pipfile), "Pipfile", os.environ) if pipfile.is_file() else indexes.Indexes()


def _agree(truth: Declared, other: Declared) -> None:
    from .contradictions import agree  # only what reads all that a project declares needs it

    agree(truth, other)


# -- pyproject.toml ---------------------------------------------------------------------------------------------------


def _pyproject(folder: Path) -> Json:
    path = folder / "pyproject.toml"
    return toml(path) if path.is_file() else {}


def workspace_root(folder: Path, top: Path) -> Path | None:
    """The root of the uv workspace that a project is a member of, not above `top`; None outside of one."""
    here, limit = folder.resolve(), top.resolve()
    for place in (here, *here.parents):
        try:
            table = table_of(_pyproject(place), "tool", "uv").get("workspace")
        except BadSource:
            if place == here:
                raise
            table = None  # what lies above a project may be anything
        if isinstance(table, Mapping) and (place == here or here in _member_folders(place, table)):
            return place
        if place == limit:
            return None
    return None


def _member_folders(root: Path, table: Json) -> set[Path]:
    found = {path.resolve() for pattern in table.get("members", []) for path in root.glob(str(pattern))}
    without = {path.resolve() for pattern in table.get("exclude", []) for path in root.glob(str(pattern))}
    return {path for path in found - without if (path / "pyproject.toml").is_file()}


def members(root: Path) -> dict[str, Path]:
    """The members of the workspace at `root` by canonical name, the root itself among them where it is a project."""
    table = table_of(_pyproject(root), "tool", "uv", "workspace")
    found: dict[str, Path] = {}
    for folder in sorted({root, *_member_folders(root, table)}):
        data = _pyproject(folder)
        name = table_of(data, "project").get("name") or table_of(data, "tool", "poetry").get("name")
        if name:
            found[canonicalize_name(str(name))] = folder
    return found


def project_sources(folder: Path, top: Path, environment: Mapping[str, str] | None) -> dict[str, Direct]:
    """Distributions that a project takes from elsewhere than an index: its workspace, [tool.uv.sources], and the paths
    and repositories of [tool.poetry.dependencies]. `environment`: the platform's markers; None: all count.
    """
    root = workspace_root(folder, top)
    team = members(root or folder)  # to uv, a project outside of one is a workspace of its own
    found = {name: Direct(name, "path", str(place), "the workspace") for name, place in team.items() if root}
    for place in dict.fromkeys([root or folder, folder]):
        data = _pyproject(place)
        path = place / "pyproject.toml"
        origin = f"[tool.uv.sources] of {path if top == Path(top.anchor) else os.path.relpath(path, top)}"
        for name, entries in table_of(data, "tool", "uv", "sources").items():
            for entry in entries if isinstance(entries, list) else [entries]:
                item = _uv_source(canonicalize_name(name), entry, place, team, environment, origin)
                if item is not None:
                    found[item.name] = item
        for item in _poetry_sources(data, place, environment):
            found[item.name] = item
    return found


def local_folders(folder: Path) -> list[Path]:
    """The folders that the dependencies of a project are built from, and theirs, whatever the platform."""
    found: dict[Path, None] = {}
    left = [folder]
    while left:
        here = left.pop()
        known = project_sources(here, Path(here.anchor), None)
        names = _static_names(here)
        for name, item in known.items():
            place = Path(item.value)
            counts = item.kind == "path" and (names is None or name in names) and place.is_dir()
            if counts and place != folder and place not in found:
                found[place] = None
                left.append(place)
    return sorted(found)


def _static_names(folder: Path) -> set[str] | None:
    """The names that a project depends on, by its pyproject.toml; None where that does not say them."""
    data = _pyproject(folder)
    project, poetry = table_of(data, "project"), table_of(data, "tool", "poetry", "dependencies")
    if not project and not poetry:
        return None
    if "dependencies" in project.get("dynamic", []) and not poetry:
        return None
    listed = [*project.get("dependencies", []), *(text for many in _optional(project) for text in many)]
    names = {canonicalize_name(re.split(r"[^A-Za-z0-9._-]", str(text).strip())[0]) for text in listed}
    return names | {canonicalize_name(str(name)) for name in poetry}


def _optional(project: Json) -> list[Any]:
    return list(table_of(project, "optional-dependencies").values())


def _uv_source(
    name: str,
    entry: Json,
    folder: Path,
    team: Mapping[str, Path],
    environment: Mapping[str, str] | None,
    origin: str,
) -> Direct | None:
    if not applies(str(entry.get("marker") or ""), environment, origin) or "index" in entry:
        return None
    if entry.get("workspace"):
        if name not in team:
            raise BadSource(
                f"{origin}: {name} is to come from the workspace, and no member of it has that name: add the member, "
                "or name where it comes from"
            )
        return Direct(name, "path", str(team[name]), origin)
    return _entry(name, entry, folder, origin)


def _entry(name: str, entry: Json, folder: Path, origin: str) -> Direct | None:
    """A dependency as uv and poetry write one that comes from a repository, a URL or a path."""
    if "git" in entry:
        revision = entry.get("rev") or entry.get("tag") or entry.get("branch")
        suffix = f"@{revision}" if revision else ""
        inside = f"#subdirectory={entry['subdirectory']}" if entry.get("subdirectory") else ""
        return direct_of(name, f"git+{entry['git']}{suffix}{inside}", folder, origin)
    for key in ("url", "path", "file"):
        if key in entry:
            return direct_of(name, str(entry[key]), folder, origin)
    return None


def _poetry_sources(data: Json, folder: Path, environment: Mapping[str, str] | None) -> Iterator[Direct]:
    origin = "[tool.poetry.dependencies]"
    for name, entries in table_of(data, "tool", "poetry", "dependencies").items():
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, Mapping) and applies(str(entry.get("markers") or ""), environment, origin):
                item = _entry(canonicalize_name(name), entry, folder, origin)
                if item is not None:
                    yield item


def _project_indexes(folder: Path, top: Path, data: Json) -> indexes.Indexes:
    root = workspace_root(folder, top) or folder
    known = indexes.of_poetry(table_of(data, "tool", "poetry"), "[[tool.poetry.source]] of pyproject.toml")
    for place in dict.fromkeys([folder, root]):
        table = table_of(_pyproject(place), "tool", "uv")
        known = indexes.joined(known, indexes.of_uv(table, "[tool.uv] of pyproject.toml", place))
        if (place / "uv.toml").is_file():
            known = indexes.joined(known, indexes.of_uv(toml(place / "uv.toml"), "uv.toml", place))
    known.check()
    return known


def _bound(folder: Path, top: Path) -> dict[str, str]:
    """Packages that [tool.uv.sources] takes from one index by its name."""
    found: dict[str, str] = {}
    for place in dict.fromkeys([workspace_root(folder, top) or folder, folder]):
        for name, entries in table_of(_pyproject(place), "tool", "uv", "sources").items():
            for entry in entries if isinstance(entries, list) else [entries]:
                if isinstance(entry, Mapping) and "index" in entry:
                    found[canonicalize_name(name)] = str(entry["index"])
    return found


__all__ = [
    "Declared",
    "check_says",
    "declared",
    "direct_line",
    "local_folders",
    "lock_files",
    "members",
    "own_pins",
    "project_sources",
    "read_lock",
    "requirements_file",
    "workspace_root",
]
