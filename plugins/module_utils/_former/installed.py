# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where the code of a Gunicorn's app lies: in a folder of its own, or installed as a distribution. Read only.

An app that pip has installed into a virtual environment has no project folder: the working directory of its service
says nothing of it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Dict, Final, Iterator, List, Sequence, Tuple
from urllib.parse import unquote

from .asservice import Reader

INDEX, GIT, FILE, FOLDER, SYSTEM = "index", "git", "file", "folder", "system"
"""Where a distribution was installed from."""

_PYTHON: Final = re.compile(r"python3(\.\d+)?")
_MOST_PYTHONS: Final = 5
_MOST: Final = 500
_MOST_BYTES, _MOST_IN_ALL = 2**22, 2**26
_OTHERS: Final = frozenset({"pip", "setuptools", "wheel", "uv", "gunicorn", "gevent", "eventlet", "greenlet"})
"""What is installed beside any app."""


@dataclass(frozen=True)
class Installed:
    """The distribution that has the module of an app. `origin`: index, git, file (a wheel, an archive), folder, or
    system (a package of the host's). `url`: where it came from, without a credential; `commit`: of git; `folder`: what
    it was installed from, and is served from where `editable`. `beside`: "NAME==VERSION" of what else was asked for."""

    name: str
    version: str
    origin: str = INDEX
    url: str = ""
    commit: str = ""
    subdirectory: str = ""
    folder: str = ""
    editable: bool = False
    beside: Tuple[str, ...] = ()


def sites(reader: Reader, prefix: str) -> list[str]:
    """The folders that distributions are installed into, of the Python environment at `prefix`; none of links."""
    if not prefix:
        return []
    lib = os.path.join(prefix, "lib")
    found = []
    for python in reader.folders(lib, _PYTHON, _MOST_PYTHONS):
        places = [os.path.join(lib, python, name) for name in ("site-packages", "dist-packages")]
        found += [place for place in places if reader.is_folder(place)]
    return found


def version_of(reader: Reader, folders: Sequence[str], name: str) -> str:
    """The version of a distribution in `folders`; empty where it is not there."""
    for folder in folders:
        for entry in reader.names(folder):
            found = re.fullmatch(rf"{name}-([0-9][^-]*)\.dist-info", entry)
            if found:
                return found[1]
    return ""


def has_module(reader: Reader, folder: str, module: str) -> bool:
    """Whether a folder of a Python's path has the module with that dotted name."""
    return any(reader.is_there(os.path.join(folder, name)) for name in _files(module))


def _files(module: str) -> tuple[str, str]:
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


def installed(reader: Reader, folders: Sequence[str], module: str) -> Installed | None:
    """The distribution in one of `folders` that has `module`, or is served from a folder that has it (an editable
    install); None where there is none."""
    for folder in folders:
        owner = _Site(reader, folder).owner(module)
        if owner is not None:
            return owner
    return None


class _Site:
    """A folder of distributions."""

    def __init__(self, reader: Reader, folder: str) -> None:
        self.reader, self.folder, self._bytes = reader, folder, _MOST_IN_ALL
        self.names: List[str] = [name for name in reader.names(folder) if name.endswith(".dist-info")][:_MOST]

    def owner(self, module: str) -> Installed | None:
        """The distribution that `module` is of."""
        here = has_module(self.reader, self.folder, module)
        for name in self._likeliest_first(module):
            if here and self._has(name, module):
                return self._described(name)
            if not here and self._serves(name, module):
                return self._described(name)
        return None

    def _likeliest_first(self, module: str) -> list[str]:
        wanted = _normal(module.partition(".")[0])
        return sorted(self.names, key=lambda name: (wanted not in _normal(name.partition("-")[0]), name))

    def _has(self, name: str, module: str) -> bool:
        record = self._text(name, "RECORD")
        if record:
            return any(f"\n{file}," in f"\n{record}" for file in _files(module))
        return module.partition(".")[0] in self._text(name, "top_level.txt").split()

    def _serves(self, name: str, module: str) -> bool:
        folder, editable = _folder_of(self._origin(name))
        places = (folder, os.path.join(folder, "src"))
        return editable and any(has_module(self.reader, place, module) for place in places)

    def _text(self, name: str, file: str) -> str:
        if self._bytes <= 0:
            return ""
        text = self.reader.text(os.path.join(self.folder, name, file), _MOST_BYTES) or ""
        self._bytes -= len(text)
        return text

    def _origin(self, name: str) -> Dict[str, object]:
        """What pip wrote of where a distribution came from; nothing where that was an index."""
        try:
            found = json.loads(self._text(name, "direct_url.json") or "{}")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _described(self, name: str) -> Installed:
        own, version = self._called(name)
        found = self._origin(name)
        url = re.sub(r"://[^/\s]*@", "://", str(found.get("url") or "").partition("?")[0])
        vcs = found.get("vcs_info")
        commit = str(vcs.get("commit_id") or "") if isinstance(vcs, dict) and vcs.get("vcs") == "git" else ""
        folder, editable = _folder_of(found)
        system = self.folder.startswith("/usr/lib/")
        origin = GIT if commit else FOLDER if folder else FILE if url else SYSTEM if system else INDEX
        subdirectory = str(found.get("subdirectory") or "") if commit else ""
        beside = () if system else tuple(self._beside(name))
        return Installed(own, version, origin, url, commit, subdirectory, folder, editable, beside)

    def _called(self, name: str) -> tuple[str, str]:
        """Name and version as its metadata has them; else by its folder."""
        said = self._text(name, "METADATA").partition("\n\n")[0]
        fields = {key: re.search(rf"(?m)^{key}: *(\S+)\s*$", said) for key in ("Name", "Version")}
        by_folder = name[: -len(".dist-info")].rpartition("-")
        values = [match[1] if match else "" for match in fields.values()]
        return values[0] or by_folder[0], values[1] or by_folder[2]

    def _beside(self, owner: str) -> Iterator[str]:
        """What else somebody asked for that `owner` does not bring."""
        by_name = {_normal(name.partition("-")[0]): name for name in self.names}
        brought, left = {_normal(owner.partition("-")[0])}, [owner]
        while left:
            for wanted in self._needs(left.pop()):
                if wanted not in brought:
                    brought.add(wanted)
                    left += [by_name[wanted]] if wanted in by_name else []
        for own, name in by_name.items():
            asked = own not in brought | _OTHERS and self.reader.is_there(os.path.join(self.folder, name, "REQUESTED"))
            if asked:
                yield "{}=={}".format(*name[: -len(".dist-info")].split("-", 1)) if "-" in name else own

    def _needs(self, name: str) -> Iterator[str]:
        """What a distribution depends on without an extra."""
        said = self._text(name, "METADATA").partition("\n\n")[0]
        for wanted, rest in re.findall(r"(?m)^Requires-Dist: *([A-Za-z0-9._-]+)(.*)$", said):
            if not re.search(r";.*\bextra\s*==", rest):
                yield _normal(wanted)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _folder_of(origin: Dict[str, object]) -> tuple[str, bool]:
    """The folder that a distribution was installed from, and whether it is served from there; "" where it was none."""
    info, url = origin.get("dir_info"), str(origin.get("url") or "")
    if not isinstance(info, dict) or not url.startswith("file:///"):
        return "", False
    return os.path.normpath(unquote(url[len("file://") :])), info.get("editable") is True
