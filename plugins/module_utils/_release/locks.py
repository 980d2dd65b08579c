# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a release is made of, as text: a requirements file with hashes, and a header for what pip has no word for."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Iterable, Tuple

from .._os.paths import SYSTEM_PYTHON
from .contents import TREE, ReleaseError

_PIN = re.compile(r"([a-z0-9][a-z0-9._-]*)==(\S+) --hash=sha256:([0-9a-f]{64})")
_HEADER = re.compile(r"# Headcount lock 1: Python (3\.\d+) on (\S+)")
_TOOL = re.compile(r"# installed with (.+)")
_DATA = re.compile(r"# with data at (.+)")
_BUILT = re.compile(r"# with room to build at (.+)")
_TREE = re.compile(r"# with the tree sha256:([0-9a-f]{64})")
_INTERPRETER = re.compile(r"# run by (/\S+)")


@dataclass(frozen=True)
class Pin:
    """One distribution in one file: canonical name, version and the sha256 of its wheel."""

    name: str
    version: str
    sha256: str

    def line(self) -> str:
        """The pin as a line of a requirements file."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Lock:
    """What a release is made of: `python` "3.13", `machine` "x86_64", the pip that installs it, and every wheel.

    `tree`: the sha256 of the archive of a project that is released as it is; None for a package. `interpreter`: the
    path of the Python that it is built with, where that is not the system's own; two of one version make two releases.
    `data`: paths inside the code that lead to the app's data. `built`: folders inside it in whose place each generation
    has its own.
    """

    python: str
    machine: str
    pip: Pin
    pins: Tuple[Pin, ...]
    tree: str | None = None
    interpreter: str | None = None
    data: Tuple[str, ...] = ()
    built: Tuple[str, ...] = ()

    @property
    def files(self) -> Tuple[Pin, ...]:
        """Every file that a host needs for it."""
        tree = (Pin(TREE, "", self.tree),) if self.tree else ()
        return (*self.pins, self.pip, *tree)


def render_lock(lock: Lock) -> str:
    """The lock as a requirements file that pip reads, with a header for what pip has no word for."""
    pins = sorted(lock.pins, key=lambda pin: pin.name)
    head = [f"# Headcount lock 1: Python {lock.python} on {lock.machine}", f"# installed with {lock.pip.line()}"]
    head += [f"# with the tree sha256:{lock.tree}"] if lock.tree else []
    head += [f"# run by {lock.interpreter}"] if lock.interpreter else []
    head += [f"# with data at {path}" for path in lock.data]
    head += [f"# with room to build at {path}" for path in lock.built]
    return "\n".join([*head, *(pin.line() for pin in pins)]) + "\n"


def parse_lock(text: str) -> Lock:
    """A lock from `render_lock`. Raises ReleaseError, which names the line."""
    lines = text.splitlines()
    header = _HEADER.fullmatch(lines[0]) if lines else None
    tool = _TOOL.fullmatch(lines[1]) if len(lines) > 1 else None
    if not header or not tool:
        raise ReleaseError("the lock of the release does not begin with its Python and its pip: gather it again")
    tree = _TREE.fullmatch(lines[2]) if len(lines) > 2 else None
    first = 3 if tree else 2
    interpreter = _INTERPRETER.fullmatch(lines[first]) if len(lines) > first else None
    data, built = _said(_DATA, lines), _said(_BUILT, lines)
    first += (1 if interpreter else 0) + len(data) + len(built)
    pins = [_parse_pin(line, number) for number, line in enumerate(lines[first:], first + 1)]
    return Lock(
        header[1],
        header[2],
        _parse_pin(tool[1], 2),
        tuple(pins),
        tree[1] if tree else None,
        interpreter[1] if interpreter else None,
        data,
        built,
    )


def _said(line: re.Pattern[str], lines: Iterable[str]) -> Tuple[str, ...]:
    """What the lines of one kind name."""
    return tuple(found[1] for found in map(line.fullmatch, lines) if found)


def with_data(lock_text: str, paths: Iterable[str], built: Iterable[str] = ()) -> str:
    """The lock of the same release, but with `paths` inside its code that lead to the app's data, and folders `built`
    in it in whose place each generation has its own."""
    return render_lock(replace(parse_lock(lock_text), data=tuple(sorted(paths)), built=tuple(sorted(built))))


def lock_for(lock_text: str, python: str) -> str:
    """The lock of a release that the interpreter at the path `python` runs."""
    return render_lock(replace(parse_lock(lock_text), interpreter=None if python == SYSTEM_PYTHON else python))


def _parse_pin(line: str, number: int) -> Pin:
    found = _PIN.fullmatch(line)
    if not found:
        raise ReleaseError(f"line {number} of the release's lock is not name==version --hash=sha256:...: {line!r}")
    return Pin(found[1], found[2], found[3])


def release_id(lock_text: str) -> str:
    """The name of the release of a lock: 16 hex digits over the platform, the interpreter, the wheels and the tree, not
    the installing pip."""
    lock = parse_lock(lock_text)
    lines = [f"{lock.python} {lock.machine}", *sorted(pin.line() for pin in lock.pins)]
    lines += [f"tree {lock.tree}"] if lock.tree else []
    lines += [f"run by {lock.interpreter}"] if lock.interpreter else []
    lines += [f"data {path}" for path in lock.data]
    lines += [f"built {path}" for path in lock.built]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
