# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project does while it is looked at: variables it asks for, files it writes, peers it calls."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any, TypedDict

from .otherwise import otherwise

# Libraries that read the environment in the project's place.
READERS = ("decouple", "environs", "environ", "dotenv", "starlette", "dynaconf", "envparse", "prettyconf")
# Modules of a framework that do.
READS = ("flask.config",)
# What belongs to the machine, to Python or to a framework, and is no setting of the project.
NOT_SETTINGS = re.compile(
    r"(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TERM|PWD|TMPDIR|TEMP|TMP|HOSTNAME|PYTHON.*|NO_COLOR|VIRTUAL_ENV|"
    r"FLASK_DEBUG|FLASK_RUN_.*|FLASK_SKIP_DOTENV|FLASK_APP|FLASK_ENV|WERKZEUG_.*|DJANGO_SETTINGS_MODULE|PYTEST.*|"
    r"SERVER_SOFTWARE|GUNICORN_.*|XDG_.*|DISPLAY|COLUMNS|LINES|APPDATA|LOCALAPPDATA|PROGRAMDATA|COMSPEC|.*_proxy)$"
)


# The events of what changes a disk, by which of their arguments is the path, and what that makes of it.
CHANGES = {
    "open": (0, "file"),
    "os.truncate": (0, "file"),
    "os.mkdir": (0, "folder"),
    "sqlite3.connect": (0, "sqlite"),
    "os.link": (1, "link"),
    "os.symlink": (1, "link"),
    "os.rename": (1, "moved"),
    "os.remove": (0, "gone"),
    "os.rmdir": (0, "gone"),
}
EVENTS = (*CHANGES, "socket.bind", "socket.connect", "socket.getaddrinfo")
MOST_WRITTEN = 200
MOST_FRAMES = 64


class Known(TypedDict):
    """A variable that was asked for: where, the default that was named, whether it was there, whether once without."""

    places: list[str]
    default: str | None
    there: bool
    bare: bool


class Serves(Exception):
    """The module opens a port of its own while it is imported."""


class Seen:
    """What the project did: variables it asked for, files it wrote, peers it called, programs it ran."""

    def __init__(self, project: Iterable[str]) -> None:
        places = [os.path.realpath(place) for place in project]
        self.project = tuple(place if os.path.isfile(place) else place + os.sep for place in places)
        self.variables: dict[str, Known] = {}
        self.written: dict[str, str] = {}
        self.written_at: dict[str, str] = {}
        self.peers: dict[str, None] = {}
        self.programs: dict[str, None] = {}
        self.stage = "import"
        self.result = ""

    def is_own(self, filename: str) -> bool:
        """Whether code of this file is the project's own."""
        return not filename.startswith("<") and os.path.realpath(filename).startswith(self.project)

    def asking(self, frame: FrameType | None) -> FrameType | None:
        """The project's own code that asks from `frame`, by itself or through a reader of settings."""
        for _ in range(16):
            if frame is None:
                return None
            filename = frame.f_code.co_filename
            if self.is_own(filename):
                return frame
            module = str(frame.f_globals.get("__name__", ""))
            name = "os" if module in READS else module.partition(".")[0]
            if name not in (*READERS, "os", "_collections_abc", "collections", "functools", "typing", "__main__"):
                return None
            frame = frame.f_back
        return None

    def asked(self, name: object, there: bool, default: object) -> None:
        """Note a variable that was asked for; `default` is Ellipsis where none was named."""
        if not isinstance(name, str) or NOT_SETTINGS.match(name):
            return
        frame = self.asking(sys._getframe(2))
        if frame is None:
            return
        place = f"{os.path.realpath(frame.f_code.co_filename)}:{frame.f_lineno}"
        default = otherwise(name, frame) or default if default is None or default == "" else default
        known = self.variables.setdefault(name, {"places": [], "default": None, "there": there, "bare": False})
        known["bare"] = known["bare"] or (default is ... and not there)
        if place not in known["places"]:
            known["places"] = [*known["places"], place][:8]
        if isinstance(default, (str, int, float, bool, os.PathLike)) and known["default"] is None:
            known["default"] = str(default)

    def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        """An audit event of Python."""
        if name in CHANGES:
            self._change(name, arguments)
        elif name == "socket.bind" and self.stage == "import":
            address = arguments[1]
            if isinstance(address, tuple) and len(address) >= 2 and address[1]:
                raise Serves(f"it opens port {address[1]} itself while it is imported")
        elif name == "socket.connect":
            address = arguments[1]
            if isinstance(address, tuple) and len(address) >= 2:
                self.peers[f"{address[0]}:{address[1]}"] = None
            elif isinstance(address, str):
                self.peers[address] = None
        elif name == "socket.getaddrinfo" and arguments[0]:
            host = arguments[0].decode() if isinstance(arguments[0], bytes) else str(arguments[0])
            self.peers[f"{host}:{arguments[1]}" if arguments[1] else host] = None

    def ran(self, program: object) -> None:
        """Note a program that was run."""
        if isinstance(program, (str, bytes, os.PathLike)):
            self.programs[os.fsdecode(program)] = None

    def _change(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Note what is written, made or removed; whether that succeeds is not known yet."""
        at, kind = CHANGES[name]
        if (name == "open" and not _writes(arguments[1], arguments[2])) or _in_open_folder(name, arguments):
            return
        path = _path(arguments[at])
        if not path or "__pycache__" in path or path.startswith((self.result, "/dev/", "/proc/")):
            return
        if kind == "link":
            kind = "link" if self._is_in_project(_leads_to(name, arguments[0], path)) else "file"
        if kind == "moved":
            self._note(_path(arguments[0]), "gone")
        if kind != "gone" or os.path.lexists(path):
            self._note(path, kind)

    def _note(self, path: str, kind: str) -> None:
        if path and path not in self.written and len(self.written) < MOST_WRITTEN:
            self.written[path] = kind
            frame: FrameType | None = sys._getframe(3)
            for _ in range(MOST_FRAMES):
                if frame is None:
                    break
                if self.is_own(frame.f_code.co_filename):
                    self.written_at[path] = f"{os.path.realpath(frame.f_code.co_filename)}:{frame.f_lineno}"
                    break
                frame = frame.f_back

    def _is_in_project(self, path: str) -> bool:
        return f"{os.path.realpath(path)}{os.sep}".startswith(self.project)


def _writes(mode: object, flags: object) -> bool:
    """Whether a file is opened for writing."""
    named = isinstance(mode, str) and any(letter in mode for letter in "wax+")
    return named or bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _in_open_folder(name: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a path begins in a folder that is open, and not in the working directory."""
    folders = arguments[2:] if name in ("os.mkdir", "os.link", "os.symlink", "os.rename") else arguments[1:]
    return name in ("os.mkdir", "os.link", "os.symlink", "os.rename", "os.remove", "os.rmdir") and any(
        isinstance(folder, int) and folder != -1 for folder in folders
    )


def _path(given: object) -> str:
    """The path of a file that is given, whole; "" where it is none."""
    if not isinstance(given, (str, bytes, os.PathLike)):
        return ""
    text = os.fsdecode(given)
    if not text or text == ":memory:" or text.startswith("file::memory:"):
        return ""
    return re.sub("^//", "/", os.path.abspath(text.removeprefix("file:")))  # which abspath leaves, and means the same


def _leads_to(name: str, given: object, link: str) -> str:
    """Where a link leads: a symbolic one from the folder that it is in."""
    text = os.fsdecode(given) if isinstance(given, (str, bytes, os.PathLike)) else ""
    return os.path.join(os.path.dirname(link), text) if name == "os.symlink" else os.path.abspath(text)


class Watched(os._Environ[str]):
    """The environment, which notes each variable that the project asks for and the default that it names."""

    seen: Seen

    def __getitem__(self, key: str) -> str:
        try:
            value = super().__getitem__(key)
        except KeyError:
            self.seen.asked(key, False, ...)
            raise
        self.seen.asked(key, True, ...)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """As a dictionary's."""
        there = super().__contains__(key)
        self.seen.asked(key, there, default)
        return super().__getitem__(key) if there else default

    def __contains__(self, key: object) -> bool:
        there = any(key == name for name in super().__iter__())
        self.seen.asked(key, there, None)
        return there


def watch(seen: Seen) -> None:
    """Begin to note what the project does."""
    plain = os.environ
    watched = Watched(
        {plain.encodekey(key): plain.encodevalue(value) for key, value in plain.items()},
        plain.encodekey,
        plain.decodekey,
        plain.encodevalue,
        plain.decodevalue,
    )
    watched.seen = seen
    vars(os)["environ"] = watched

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "subprocess.Popen":
            seen.ran(arguments[0])
        elif name in EVENTS:
            seen.event(name, arguments)

    sys.addaudithook(hook)
