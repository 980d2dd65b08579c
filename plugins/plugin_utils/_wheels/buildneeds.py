# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a source needs to be built: what its pyproject.toml says, and what its build backend answers when it is asked
(PEP 517). A setup.py or a setup.cfg with `setup_requires` says it in the second way alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from .._edge import Json
from .._source.project import table
from .tools import BadSource, ToolMissing, no_index, raise_for_network, run, toml, uv

_SECONDS: Final = 300.0
_WITHOUT_BACKEND: Final = "setuptools.build_meta:__legacy__"
_ASK: Final = """
import importlib, json, os, sys
folder, backend, places, answer = sys.argv[1:]
os.chdir(folder)
sys.path[:0] = [os.path.join(folder, place) for place in json.loads(places)]
module, _, inside = backend.partition(":")
hooks = importlib.import_module(module)
for name in filter(None, inside.split(".")):
    hooks = getattr(hooks, name)
found = getattr(hooks, "get_requires_for_build_wheel", list)()
with open(answer, "w", encoding="utf-8") as stream:
    json.dump([str(item) for item in found], stream)
"""


def build_requirements(sdist: Path, work: Path, what: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What has to be there before an sdist is built, setuptools and wheel among it; `environ` as for `build_wheel`.

    Its backend is asked here, where the source was prepared and built before. One that fails says nothing: the host
    tells what it then lacks. Raises NetworkUnreachable, and TooSlow, where what it needs to answer cannot be had.
    """
    target = Path(tempfile.mkdtemp(prefix="asked-", dir=work))
    folder = _unpacked(sdist, target / "source")
    system = _build_system(folder) if folder else {}
    stated = [str(item) for item in system.get("requires", [])]
    names = {canonicalize_name(re.split(r"[^A-Za-z0-9._-]", item.strip())[0]) for item in stated}
    stated += [name for name in ("setuptools", "wheel") if name not in names]
    if folder is None:
        return tuple(stated)
    answer, wanted = target / "answer.json", target / "requires.txt"
    wanted.write_text("".join(f"{item}\n" for item in stated), encoding="utf-8")
    places = json.dumps([str(place) for place in system.get("backend-path", [])])
    words: list[str | Path] = [*uv(), "run", "--isolated", "--no-project", "--no-python-downloads", *no_index(environ)]
    words += ["--python", sys.executable, "--with-requirements", wanted, "python", "-I", "-c", _ASK]
    words += [folder, str(system.get("build-backend") or _WITHOUT_BACKEND), places, answer]
    # As a build: what is unpacked must not be taken for a part of the checkout that the cache may lie in.
    done = run(words, _SECONDS, cwd=target, extra_env={**environ, "GIT_CEILING_DIRECTORIES": os.fspath(target)})
    if done.status or not answer.is_file():  # a setup.py may end the program
        raise_for_network(what, done.text)
        return tuple(stated)
    return tuple(dict.fromkeys([*stated, *json.loads(answer.read_text(encoding="utf-8"))]))


def _unpacked(sdist: Path, target: Path) -> Path | None:
    """The one folder that an sdist holds; None of an archive that is none."""
    try:
        shutil.unpack_archive(sdist, target)
    except shutil.ReadError:
        return None
    folders = [path for path in target.glob("*") if path.is_dir()]
    return folders[0] if len(folders) == 1 else None


def _build_system(folder: Path) -> Json:
    path = folder / "pyproject.toml"
    try:
        return table(toml(path), "build-system") if path.is_file() else {}
    except (BadSource, ToolMissing):
        return {}


__all__ = ["build_requirements"]
