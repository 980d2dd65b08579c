# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where the code of a Gunicorn that runs comes from, as the `source` of an entry. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ...module_utils._declaration import checks
from ...module_utils._declaration.fields import Invalid
from ...module_utils._former.installed import FILE, GIT, INDEX, SYSTEM
from .._display.text import listed
from .._edge import Json
from .._newapp.draft import Question

_SHOWN: Final = 5


@dataclass(frozen=True)
class Source:
    """The entry's `source`, where that is from, and what is asked about it."""

    value: Mapping[str, object]
    why: str
    questions: tuple[Question, ...]


def source_of(host: str, running: Json, name: str) -> Source:
    """The source of an app called `name`, which `host` runs (a dictionary of former_info)."""
    owner = running.get("installed") or {}
    if owner:
        found = _of_distribution(host, owner)
        if found is not None:
            return found
    return _of_folder(host, running, name, str(owner.get("name") or ""))


def _of_folder(host: str, running: Json, name: str, owner: str) -> Source:
    git, commit = (str(running.get(key) or "") for key in ("git", "commit"))
    folder = str(running.get("code") or running.get("folder") or "")
    if git:
        version = {"version": commit} if commit else {}
        asked = f"source: is what runs in {host}:{folder} that commit, without changes of its own?"
        return Source({"git": git, **version}, f"what {folder} is a checkout of", (Question(asked),))
    what = f"{owner}, which was installed from {host}:{folder}," if owner else f"{host}:{folder}"
    if commit:
        asked = (
            f"source: {what} is a checkout of git at {commit[:12]} that has no remote, so that nothing says where a "
            "rollout gets it from: push it to a repository (source.git), or bring a clone of it to the controller "
            "(source.path)"
        )
    else:
        asked = f"source: {what} is no checkout of git: bring the code to the controller, without its venv"
    return Source({"path": f"../{name}"}, f"a copy of {host}:{folder}", (Question(asked, must=True),))


def _of_distribution(host: str, owner: Json) -> Source | None:
    """That of a distribution that a Python environment has; None of one that was installed from a folder."""
    value = _value_of(owner)
    if value is None:
        return None
    name, origin = str(owner.get("name") or ""), str(owner.get("origin") or "")
    what = f"source: {name} {owner.get('version')}, which {host} has installed"
    asked: list[Question] = []
    if origin == FILE:
        asked.append(Question(f"{what} from {owner.get('url')}: bring that to the controller", must=True))
    elif "pip" in value:
        by = "as a package of its distribution" if origin == SYSTEM else "from an index of packages"
        asked.append(Question(f"{what} {by}: does the controller have that version from its index, unchanged?"))
    beside = [str(one) for one in owner.get("beside") or ()]
    if beside:
        asked.append(Question(_beside(name, beside, "pip" in value)))
    return Source(value, f"the distribution that has its code on {host}", tuple(asked))


def _value_of(owner: Json) -> dict[str, object] | None:
    name, version, origin, url = (str(owner.get(key) or "") for key in ("name", "version", "origin", "url"))
    if origin in (INDEX, SYSTEM) and _is(checks.pip, f"{name}=={version}"):
        return {"pip": f"{name}=={version}"}
    if origin == GIT and _is(checks.git, url):
        below = {"subdirectory": owner["subdirectory"]} if owner.get("subdirectory") else {}
        return {"git": url, "version": str(owner.get("commit") or ""), **below}
    if origin == FILE:
        file = url.rstrip("/").rpartition("/")[2]
        return {"wheel": f"../{file}"} if file.endswith(".whl") else {"path": f"../{name}"}
    return None


def _beside(name: str, beside: list[str], pip: bool) -> str:
    more = f" and {len(beside) - _SHOWN} more" if len(beside) > _SHOWN else ""
    extra = f"extras of {name} bring some ({name}[EXTRA]==...), else " if pip else ""
    return (
        f"source: beside {name} somebody installed {listed(beside[:_SHOWN])}{more}: does the app need any of that? A "
        f"release has what {name} asks for itself; {extra}a project of your own with a requirements.txt "
        "(source.path) names both"
    )


def _is(check: Callable[[str], object], text: str) -> bool:
    try:
        check(text)
    except Invalid:
        return False
    return True
