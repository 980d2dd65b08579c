# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project says to Gunicorn in a configuration file of its own, which the plan's takes the place of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ...module_utils._declaration.gunicorn import belongs, hooks_in, settings_in

FILES = ("gunicorn.conf.py", "gunicorn_config.py", "gunicorn_conf.py")
_STARTS: Final = re.compile(
    r"[^/]+\.(service|conf|ini|sh|cfg)|Procfile[^/]*|dockerfile[^/]*|[^/]+\.dockerfile|(docker-)?compose[^/]*\.ya?ml",
    re.I,
)
"""How files are called that start a server."""
_ASIDE: Final = re.compile(r"\..*|(tests?|docs?|examples?|samples?|node_modules)", re.I)
_DEEP: Final = 2
_MOST_FILES: Final = 200
_TEXT_BYTES: Final = 100_000
_COMMENT: Final = re.compile(r"\s*[#;]")
_KEY: Final = re.compile(r"^\s*\w+\s*=[-+!@:]*")
_QUOTES: Final = re.compile(r"[\"'\[\],]+")
_ENDS: Final = re.compile(r"&&|\|\||;|\|")


def unread(folder: Path) -> list[str]:
    """What of the configurations of Gunicorn in the folder of a project does not hold, each in a sentence: of the file
    that Gunicorn takes by itself, and of those that the project's own units, images and scripts name."""
    own = next((name for name in FILES if (folder / name).is_file()), "")
    return [_unread(folder, name) for name in dict.fromkeys(filter(None, (own, *_named(folder))))]


def named_in(line: str) -> str:
    """The file of settings that a command line gives to Gunicorn; "" where it gives none."""
    for part in _ENDS.split(_QUOTES.sub(" ", _KEY.sub("", line))):
        words = part.split()
        at = next((index for index, word in enumerate(words) if word.rpartition("/")[2] == "gunicorn"), len(words))
        for word, after in zip(words[at + 1 :], (*words[at + 2 :], "")):
            found = re.fullmatch(r"(?:-c|--config=)(.+)", word)
            given = found[1] if found else after if word in ("-c", "--config") else ""
            if given and "install" not in words[:at]:
                return given.removeprefix("file:")
    return ""


def within(folder: Path, given: str, beside: str = "") -> str:
    """The file of a project that a command names by its path in an image or on a host (`/app/deploy/server.py`); it is
    looked for `beside` the file that names it as well. "" where there is none."""
    name = given.strip("/").removeprefix("./")
    while name and ".." not in name.split("/"):
        for place in dict.fromkeys(("", beside)):
            if (folder / place / name).is_file():
                return (Path(place) / name).as_posix()
        name = name.partition("/")[2]
    return ""


def _named(folder: Path) -> Iterator[str]:
    """The files of settings that what starts the project's server names."""
    for path in _starting(folder):
        try:
            text = path.read_bytes()[:_TEXT_BYTES].decode("utf-8", errors="replace")
        except OSError:
            continue
        beside = path.parent.relative_to(folder).as_posix()
        for line in re.sub(r"\\\s*\n", " ", text).splitlines():
            given = "" if _COMMENT.match(line) else named_in(line)
            if given:
                yield within(folder, given, beside)


def _starting(folder: Path) -> list[Path]:
    """The files of a project that may start its server, near its top."""
    found: list[Path] = []
    places = [folder]
    for _ in range(_DEEP + 1):
        inside = [path for place in places for path in sorted(_in(place)) if not path.is_symlink()]
        found += [path for path in inside if _STARTS.fullmatch(path.name) and path.is_file()]
        places = [path for path in inside if not _ASIDE.fullmatch(path.name) and path.is_dir()][:_MOST_FILES]
    return found[:_MOST_FILES]


def _in(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _unread(folder: Path, name: str) -> str:
    path = folder / name
    try:
        text = path.read_text(encoding="utf-8")
        names, hooks = settings_in(text), hooks_in(text)
    except (OSError, SyntaxError, ValueError):
        names, hooks = [], []
    places = [belongs(name) for name in names if belongs(name)]
    others = [name for name in names if not belongs(name)]
    words = f"{name} is not read: the plan writes Gunicorn's settings"
    words += f"; what it sets is for the inventory to say: {', '.join(places)}" if places else ""
    words += f"; its hooks ({', '.join(hooks)}) are taken from a file that gunicorn.hooks names" if hooks else ""
    return words + (f"; without effect here: {', '.join(others)}" if others else "")


__all__ = ["FILES", "named_in", "unread", "within"]
