# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Running uv, pip and git for the wheelhouse: in bounded time, and with errors that a person can act on."""

from __future__ import annotations

import fcntl
import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import urls

from .._display.text import listed
from .._edge import Json

EPOCH = 315532800  # 1980-01-01, the earliest time that a zip file can hold
_LOCK_SECONDS = 1800.0
# What git sets for its hooks: it would lead git in any other folder to the repository of the hook.
_GIT_PLACES = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
]
_NETWORK = re.compile(
    r"dns error|client error \(Connect\)|error sending request|Failed to fetch|Temporary failure in name resolution|"
    r"Name or service not known|Failed to establish a new connection|Max retries exceeded|Connection refused|"
    r"Connection timed out|ReadTimeout|ConnectTimeout|Could not resolve host|Network is unreachable|"
    r"unable to access|Connection reset by peer",
)


class WheelhouseError(Exception):
    """Wheels could not be gathered. The message says why and what to do."""


class BadSource(WheelhouseError):
    """The source is not there, or is not something that wheels can be made of."""


class BadLock(WheelhouseError):
    """A requirements lock cannot be used."""


class Contradiction(BadLock):
    """Two files of a project contradict each other: `files` are their names, the more exact first."""

    def __init__(self, message: str, files: tuple[str, str]) -> None:
        super().__init__(message)
        self.files = files

    @property
    def what(self) -> str:
        """What contradicts what, without the ways out."""
        return re.split(r"; make one of|: make it again", str(self))[0]


class ResolutionConflict(WheelhouseError):
    """The requirements cannot be met together. `cause` is one plain sentence, `detail` what the resolver said."""

    def __init__(self, message: str, cause: str, detail: str) -> None:
        super().__init__(message)
        self.cause = cause
        self.detail = detail


class CannotBuild(WheelhouseError):
    """Distribution `name` cannot be built, which has to be done to see what it depends on."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class NetworkUnreachable(WheelhouseError):
    """The package index or the repository could not be reached."""


class WheelMissing(WheelhouseError):
    """Neither a wheel for the platform nor a source was found."""


class BuildFailed(WheelhouseError):
    """A source could not be built into a wheel."""


class LacksFiles(BuildFailed):
    """The wheel of a project lacks files of it that its app would look for: `what`, for people."""

    def __init__(self, message: str, what: str = "files") -> None:
        super().__init__(message)
        self.what = what


class ToolMissing(WheelhouseError):
    """uv, pip or git is not on the controller."""


class TooSlow(WheelhouseError):
    """A command of the controller did not end in time, which says nothing of the project."""


OF_THE_CONTROLLER = (NetworkUnreachable, ToolMissing, TooSlow)
"""What went wrong on the controller or on its way out, and is no verdict about a project."""


class Done(NamedTuple):
    """How a program ended. `text` is both streams, without credentials."""

    status: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return redact(f"{self.stdout}\n{self.stderr}".strip())


def run(
    argv: Sequence[str | Path],
    seconds: float,
    cwd: Path | None = None,
    extra_env: Mapping[str, str] | None = None,
    text_in: str | None = None,
    errors: str = "replace",
) -> Done:
    """Run a program for at most `seconds`. Raises TooSlow when that is too short, ToolMissing without it.

    `errors`: what becomes of bytes that are no UTF-8; "surrogateescape" where they are file names.
    """
    words = [str(word) for word in argv]
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PYTHON", *_GIT_PLACES):
        environ.pop(name, None)
    # uv brings certificates of its own: let it trust those that this machine trusts.
    trust = {name: environ.get(name, "1") for name in ("UV_NATIVE_TLS", "UV_SYSTEM_CERTS")}
    environ.update({"PIP_NO_INPUT": "1", "NO_COLOR": "1", **trust, **(extra_env or {})})
    try:
        done = subprocess.run(
            words, cwd=cwd, env=environ, input=text_in, capture_output=True, text=True, timeout=seconds, check=False,
            errors=errors,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TooSlow(
            f"{Path(words[0]).name} {redact(' '.join(words[1:4]))}: not finished within {seconds:g} s on the controller"
        ) from None
    except FileNotFoundError:
        raise ToolMissing(f"{words[0]} is not on the controller: install it") from None
    return Done(done.returncode, done.stdout, done.stderr)


def redact(text: str) -> str:
    """`text` without the user names and passwords of its URLs, and the values of parameters such as token."""
    return urls.masked(text)


def uv() -> list[str]:
    """The uv of this controller: beside the running Python first, else on PATH."""
    beside = Path(sys.executable).parent / "uv"
    if os.access(beside, os.X_OK):
        return [str(beside)]
    found = shutil.which("uv")
    if found:
        return [found]
    raise ToolMissing(f"uv is not on the controller: install it with `{sys.executable} -m pip install uv`")


def no_index(environ: Mapping[str, str]) -> list[str]:
    """The option for uv where pip's variable says that no index is to be asked; uv has no variable for it."""
    return ["--no-index"] if environ.get("PIP_NO_INDEX") else []


@lru_cache(maxsize=1)
def pip() -> tuple[str, ...]:
    """A pip of this controller: the running Python's, else one that uv brings."""
    if run([sys.executable, "-m", "pip", "--version"], 60).status == 0:
        return (sys.executable, "-m", "pip")
    return (*uv(), "tool", "run", "--no-python-downloads", "--python", sys.executable, "pip")


def toml(path: Path) -> Json:
    """A TOML file. Raises BadSource when it cannot be read, ToolMissing where this Python has nothing to read it."""
    try:
        return _toml(path.read_text(encoding="utf-8"), path)
    except (OSError, ValueError) as error:
        raise BadSource(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


@lru_cache(maxsize=32)
def _toml(text: str, path: Path) -> Json:
    """What `text` holds. A project's files are asked for many things, and parsed once while they stay the same."""
    for name in ("tomllib", "tomli", "pip._vendor.tomli"):  # Python 3.11, or what pip brings
        try:
            loads = importlib.import_module(name).loads
            break
        except ImportError:
            continue
    else:
        raise ToolMissing(f"{path} cannot be read: install tomli, or run the controller on Python 3.11 or later")
    found: Json = loads(text)
    return found


def essence(text: str, most: int = 4) -> str:
    """The lines of a failed program's output that tell why, on one line."""
    lines = [line.strip(" ×╰─▶|") for line in redact(text).splitlines()]
    lines = list(dict.fromkeys(line for line in lines if line))
    telling = [
        line
        for line in lines
        if re.match(r"(fatal|error|[\w.]*(Error|Exception))\b[^:]*:", line, re.IGNORECASE) or ": error:" in line
    ]
    telling = [line for line in telling if not re.search(r"subprocess-exited-with-error|Command '\[", line)] or lines
    return " | ".join(telling[-most:])[:800] or "it said nothing"


def is_network(text: str) -> bool:
    """Whether the output of uv, pip or git says that the network was in the way."""
    return bool(_NETWORK.search(text))


def raise_for_network(what: str, text: str) -> None:
    """Raise NetworkUnreachable when `text` says so."""
    if is_network(text):
        lines = [line.strip(" ×╰─▶") for line in redact(text).splitlines() if is_network(line)]
        hosts = list(dict.fromkeys(found for line in lines for found in _hosts(line)))
        refused = _REFUSED.search(text)
        if refused:
            raise NetworkUnreachable(
                f"{what}: {listed(hosts, 3) or 'an index'} answered {refused[1]}: give it a user and a password that "
                "it takes, in the settings that name it, a keyring or ~/.netrc"
            )
        verb = "were" if len(hosts) > 1 else "was"
        raise NetworkUnreachable(
            f"{what}: {listed(hosts, 3) or 'the network'} {verb} not reachable from the controller "
            f"({lines[-1].removeprefix('cause: ')}); check its connection and the index settings of uv and pip"
        )


_REFUSED = re.compile(r"HTTP status client error \(((?:401|403|407) [\w ]+)\)")
_HOST = re.compile(
    r"\b(?:https?|ssh|git)://(?:[^/\s@]*@)?(\[[^\]\s]+\](?::\d+)?|[^/\s'\"`)>]+)|\bhost='([^']+)'|"
    r"(?:resolve host:?|connect to host|resolve hostname) ([\w.-]+)",
    re.IGNORECASE,
)


def _hosts(line: str) -> Iterator[str]:
    """The hosts that a line of uv, pip or git names."""
    for match in _HOST.finditer(line):
        yield next(filter(None, match.groups())).rstrip(".,;:")


@contextmanager
def file_lock(path: Path, seconds: float = _LOCK_SECONDS) -> Iterator[float]:
    """Hold an exclusive lock on `path`, made when absent; yields the seconds that were waited for it.

    The kernel gives the lock back when its holder ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with path.open("a", encoding="utf-8") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() - start > seconds:
                    raise WheelhouseError(
                        f"{path} was held by another process for {seconds:g} s: is one stuck?"
                    ) from None
                time.sleep(0.05)
        yield time.monotonic() - start
