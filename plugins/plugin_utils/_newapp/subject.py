# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What new-app is asked about: a folder, a wheel, a repository or a released distribution, and its files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from ...module_utils._declaration import checks
from ...module_utils._declaration.fields import Invalid
from ...module_utils._declaration.normalise import normalise_apps
from .._edge import Json
from .._source.requirements import is_file_name
from .._wheels.sources import Source, checkout, remote_commit
from .._wheels.tools import BadSource, essence, raise_for_network, redact, run, toml, uv
from .types import Answers


class Unknown(BadSource):
    """What was asked about is nothing that an app could come from."""


_REPOSITORY: Final = re.compile(r"(https|http|ssh|git|file)://\S+|git\+\S+|[\w.-]+@[\w.-]+:\S+|\S+\.git/?")
_VARIABLE: Final = "].environment."
_GIT_SECONDS: Final = 120.0
_BRIEF: Final = 200


@dataclass(frozen=True)
class Given:
    """`source` is the entry's source, `folder` a checkout of it (None for a wheel or a distribution), `why` tells how
    the value came about, `project` is the name that the app is given, `answers` are what a person said beside."""

    source: Json
    folder: Path | None
    project: str
    why: str = ""
    answers: Answers = field(default_factory=Answers)


def unwritable(text: str) -> str:
    """Why no inventory can hold what a person gave; empty where it can."""
    if "\0" in text:
        return "holds a NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return ""


def given(what: str, scratch: Path, cache: Path, beside: Path | None = None) -> Given:
    """What PATH|GIT|PIP means. A repository is cloned below `scratch`, through the mirror in `cache`.

    `beside` is the folder that relative paths of the entry begin in, where it is not the working directory. Raises
    Unknown, with what is allowed and the fix.
    """
    if wrong := unwritable(what):
        raise Unknown(f"source is {_brief(what)}, which {wrong}: no inventory can hold it; fix: rename it")
    path = _path(what)
    if os.path.isdir(path) and not _is_bare(path):
        return Given({"path": _shown(what, path, beside)}, path.resolve(), project_name(path.resolve()))
    if os.path.isfile(path) and path.name.endswith(".whl"):
        return Given({"wheel": _shown(what, path, beside)}, None, path.name.partition("-")[0].replace("_", "-"))
    if _is_bare(path) or _REPOSITORY.fullmatch(what):
        return _repository(str(path.resolve()) if os.path.isdir(path) else what.removeprefix("git+"), scratch, cache)
    if os.path.exists(path):
        raise Unknown(
            f"source is {_brief(what)}, which is a file: allowed is the folder of a project, a wheel, the URL of a "
            f"repository or "
            "NAME==VERSION; fix: name the folder that the file is in"
        )
    if "/" in what or what.startswith((".", "~")):
        raise Unknown(
            f"source is {_brief(what)}, which is not there: allowed is the folder of a project, a wheel, the URL of a "
            f"repository "
            "or NAME==VERSION; fix: correct the path"
        )
    return _distribution(what)


def answered(found: Given, answers: Answers, beside: Path | None = None) -> Given:
    """What is asked about with what a person answered beforehand. Raises Unknown for an answer that cannot be."""
    source, folder = dict(found.source), found.folder
    _check_writable(answers)
    _check_environment(answers)
    _check_fits(found, answers)
    if folder is not None and answers.subdirectory:
        folder = _below(folder, answers.subdirectory)
        source["subdirectory"] = answers.subdirectory.strip("/")
    if folder is not None and answers.requirements:
        source["requirements"] = [_requirement(word, folder) for word in answers.requirements]
    if answers.lock:
        source["lock"] = _lock(answers.lock, folder if "path" in source else None, beside)
    _check_entry_point(answers.entry_point)
    named = project_name(folder) if folder is not None and answers.subdirectory else found.project
    return replace(found, source=source, folder=folder, project=answers.name or named, answers=answers)


def _check_writable(answers: Answers) -> None:
    words = {"lock": answers.lock, "entry-point": answers.entry_point, "subdirectory": answers.subdirectory}
    named = [*words.items(), ("name", answers.name), ("python", answers.python)]
    named += [("requirements", word) for word in answers.requirements]
    named += [("environment", f"{name}={value}") for name, value in answers.environment.items()]
    for option, text in named:
        if wrong := unwritable(text):
            raise Unknown(f"--{option} is {_brief(text)}, which {wrong}: no inventory can hold it")


def _check_environment(answers: Answers) -> None:
    """What no app may have for a variable is told in the declaration's own words, before anything is looked at."""
    app = {"name": "app", "source": {"pip": "app==1"}, "entry_point": "app:app", "environment": {**answers.environment}}
    for problem in map(str, normalise_apps([app], "host")[1]):
        if _VARIABLE in problem:
            raise Unknown(f"--environment {problem.partition(_VARIABLE)[2]}")


def _path(text: str) -> Path:
    """The path that a person typed; of an account that there is not, as it is."""
    return Path(os.path.expanduser(text))


def _brief(text: str) -> str:
    """What a person typed, quoted, in at most 200 characters: it may be longer than a path can be."""
    return repr(text if len(text) <= _BRIEF else f"{text[:_BRIEF]}...")


def _check_fits(found: Given, answers: Answers) -> None:
    if found.folder is None and (answers.subdirectory or answers.requirements):
        option = "subdirectory" if answers.subdirectory else "requirements"
        raise Unknown(
            f"--{option} is for the folder of a project or a repository, and a {next(iter(found.source))} is given: "
            "leave it out"
        )


def _check_entry_point(text: str) -> None:
    if not text:
        return
    try:
        checks.entry_point(text)
    except Invalid as error:
        fix = f"; fix: {error.fix}" if error.fix else ""
        raise Unknown(
            f"--entry-point is {text!r}: {error}; allowed is module:callable or module:factory(){fix}"
        ) from None


def _below(folder: Path, name: str) -> Path:
    below = folder / name
    if not os.path.isdir(below) or not below.resolve().is_relative_to(folder.resolve()):
        raise Unknown(f"--subdirectory is {_brief(name)}: allowed is a folder in the source")
    return below.resolve()


def _named_file(option: str, word: str, folder: Path | None, allowed: str) -> tuple[Path, bool]:
    """The file that a person named, and whether it was found by its path in the project: it is looked for there first,
    then in the current folder. Raises Unknown, with both, where it is in neither."""
    path = _path(word)
    if folder is not None and not path.is_absolute() and os.path.isfile(folder / word):
        return folder / word, True
    if os.path.isfile(path):
        return path, False
    places = [str(place) for place in (folder, Path.cwd()) if place is not None and not path.is_absolute()]
    where = f" (looked for in {', then in '.join(dict.fromkeys(places))})" if places else ""
    raise Unknown(f"--{option} is {_brief(word)}, which is no file{where}: allowed is {allowed}; fix: correct the path")


def _lock(word: str, folder: Path | None, beside: Path | None) -> str:
    """The file that says the versions, as the entry names it: from the folder that its relative paths begin in."""
    path, in_project = _named_file("lock", word, folder, "a lock or a requirements file")
    return _from(path, beside) if in_project else _shown(word, path, beside)


def _from(path: Path, beside: Path | None) -> str:
    return str(path.resolve()) if beside is None else os.path.relpath(path.resolve(), beside.resolve())


def _requirement(word: str, folder: Path) -> str:
    """A requirements file by its path in the project, however it was typed; or a requirement as it is."""
    if not is_file_name(word):
        return word
    path, in_project = _named_file("requirements", word, folder, "a file of the project, or a requirement")
    if in_project:
        return word
    path = path.resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Unknown(f"--requirements is {word!r}, which is not in the project: put it there, or name --lock {word}")
    return str(path.relative_to(folder.resolve()))


def _is_bare(path: Path) -> bool:
    return os.path.isfile(path / "HEAD") and all(os.path.isdir(path / name) for name in ("objects", "refs"))


def _shown(what: str, path: Path, beside: Path | None) -> str:
    """A path as it is written into the entry: as it was typed, or from the folder of the inventory."""
    if beside is None or path.is_absolute():
        return what if not what.startswith("~") else str(path)
    return os.path.relpath(path.resolve(), beside.resolve())


def project_name(folder: Path) -> str:
    """The name of the project in a folder: what its pyproject.toml says, else the folder's."""
    path = folder / "pyproject.toml"
    if path.is_file():
        try:
            data = toml(path)
        except BadSource:
            return folder.name
        for table in (data.get("project"), (data.get("tool") or {}).get("poetry")):
            if isinstance(table, Mapping) and isinstance(table.get("name"), str) and table["name"]:
                return str(table["name"])
    return folder.name


def _repository(url: str, scratch: Path, cache: Path) -> Given:
    url, at, version = _split(url)
    try:
        checks.git(url)
    except Invalid as error:
        raise Unknown(
            f"source.git is {redact(url)!r}{f' ({error})' if str(error) else ''}: allowed is the URL of a repository "
            f"without "
            f"a password{f'; fix: git: {error.fix}' if error.fix else ''}"
        ) from None
    version = version if at else _branch(url)
    source = Source("git", url, version)
    folder = scratch / "clone"
    checkout(source, remote_commit(source), cache, folder)
    name = re.sub(r"\.git/?$", "", url.rstrip("/")).rpartition("/")[2].rpartition(":")[2]
    own = project_name(folder)
    name = name if own == folder.name else own
    why = "a tag or a commit is steadier" if not at else ""
    return Given(
        {"git": url, "version": version},
        folder,
        name,
        f"the repository's own branch, as it is at each run; {why}" if why else "",
    )


def _split(url: str) -> tuple[str, bool, str]:
    """A URL and the version behind its last @, as pip writes it; a user's name before the host is none."""
    head, at, tail = url.rpartition("@")
    if at and "/" in head.partition("://")[2] and "/" not in tail.partition("/")[0] and ":" not in tail:
        return head, True, tail
    return url, False, ""


def _branch(url: str) -> str:
    """The branch that the HEAD of a repository is."""
    done = run(
        ["git", "ls-remote", "--symref", "--", url, "HEAD"], _GIT_SECONDS, extra_env={"GIT_TERMINAL_PROMPT": "0"}
    )
    if done.status:
        raise_for_network(f"source git {redact(url)!r}", done.text)
        raise Unknown(f"source.git is {redact(url)!r}, which cannot be read: {essence(done.text, 1)}")
    match = re.search(r"^ref: refs/heads/(\S+)\tHEAD", done.stdout, re.MULTILINE)
    return match[1] if match else done.stdout.split()[0]


def _distribution(what: str) -> Given:
    """A released distribution; without a version it is the newest one now."""
    try:
        requirement = Requirement(what)
    except InvalidRequirement:
        raise Unknown(
            f"source is {_brief(what)}: allowed is the folder of a project, a wheel, the URL of a repository or "
            f"NAME==VERSION; fix: "
            "a folder with ./ before it, or the name of a distribution"
        ) from None
    pinned = [spec for spec in requirement.specifier if spec.operator in ("==", "===") and "*" not in spec.version]
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    if pinned:
        return Given({"pip": f"{requirement.name}{extras}=={pinned[0].version}"}, None, requirement.name)
    done = run(
        [*uv(), "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "-"], 120, text_in=f"{what}\n"
    )
    match = re.search(r"^[\w.\[\],-]+==(\S+)", done.stdout, re.MULTILINE)
    if done.status or not match:
        raise_for_network(f"source pip {what!r}", done.text)
        raise Unknown(
            f"source.pip is {what!r}, of which no release was found: allowed is a folder, a wheel, the URL of a "
            f"repository or "
            f"NAME==VERSION; {essence(done.text, 1)}"
        )
    return Given(
        {"pip": f"{requirement.name}{extras}=={match[1]}"}, None, requirement.name, "the newest release at this moment"
    )
