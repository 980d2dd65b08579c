# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What exists only as source and no controller can build: which host of a platform builds it, and what came of it.

Pure, but for the notes of the run: a plan asks for builds and ends; the builds are made; the plan is made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from .._display.text import listed
from .._edge import Json
from .._wheels.gathered import HostBuild, Platform, Wheel, WheelSet
from .._wheels.tools import redact
from .probed import Facts
from .runs import Notes

ASKED, BUILT, FAILED, LOST = "asked", "built", "failed", "lost"


@dataclass(frozen=True)
class Request:
    """One source to be built for one platform."""

    build: HostBuild
    pip: Wheel
    platform: Platform

    @property
    def key(self) -> str:
        """The same source for the same platform, whoever needs it."""
        return f"{self.build.sdist.sha256}-{self.platform.key}"

    @property
    def what(self) -> str:
        """Name and version."""
        return f"{self.build.sdist.name} {self.build.sdist.version}"

    @property
    def where(self) -> str:
        """The platform in words."""
        return f"Python {self.platform.minor} on {self.platform.machine} ({self.platform.libc})"

    @property
    def files(self) -> tuple[Wheel, ...]:
        """Everything that is sent to the host."""
        return (self.build.sdist, *self.build.build_wheels, self.pip)

    def for_host(self) -> dict[str, object]:
        """As the module takes it: members of the archive."""
        names = [f"{item.sha256}/{item.filename}" for item in self.files]
        return {"sdist": names[0], "tools": names[1:-1], "pip": names[-1]}

    def to_dict(self) -> dict[str, object]:
        """Plain data; `from_dict` reads it back."""
        return {"build": self.build.to_dict(), "pip": self.pip.to_dict(), "platform": asdict(self.platform)}

    @classmethod
    def from_dict(cls, data: Json) -> Request:
        """From `to_dict`."""
        return cls(HostBuild.from_dict(data["build"]), Wheel(**data["pip"]), Platform(**data["platform"]))


def requests_of(wheelset: WheelSet) -> tuple[Request, ...]:
    """What has to be built before a set is whole."""
    return tuple(Request(build, wheelset.pip, wheelset.platform) for build in wheelset.needs_host_build)


@dataclass(frozen=True)
class Candidate:
    """A host that was reached, and the first word on whether it could build: the path of its C compiler, if any."""

    host: str
    platform: str
    compiler: str | None = None


def builder(
    platform: Platform, candidates: Iterable[Candidate], canary: str | None, lost: Iterable[str] = ()
) -> str | None:
    """The host that builds for a platform: of those with a compiler (or of all, when none has one), the canary, or
    the first in the order of the play. None when there is no host of the platform that was not lost."""
    away = set(lost)
    fit = [item for item in candidates if item.platform == platform.key and item.host not in away]
    fit = [item for item in fit if item.compiler] or fit
    names = [item.host for item in fit]
    return canary if canary in names else next(iter(names), None)


@dataclass(frozen=True)
class Attempt:
    """What became of a request on a host in this run: asked (no answer came yet), built, failed or lost."""

    host: str
    state: str
    cause: str = ""


@dataclass
class Pending:
    """Who waits for what: the requests of a plan, each with the apps of hosts that need it."""

    requests: dict[str, Request] = field(default_factory=dict)
    waiting: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, host: str, app: str, requests: Iterable[Request]) -> None:
        """An app of a host needs what `requests` will make."""
        for request in requests:
            self.requests.setdefault(request.key, request)
            self.waiting.setdefault(request.key, []).append((host, app))


@dataclass(frozen=True)
class Assignment:
    """What follows for one request: `host` is to build it, or else `cause` tells why nobody can."""

    request: Request
    host: str | None
    cause: str = ""


def assign(
    request: Request, attempts: Sequence[Attempt], candidates: Sequence[Candidate], canary: str | None
) -> Assignment:
    """Who builds, after what was tried in this run. A build that failed is not tried again: it would fail again."""
    for attempt in attempts:
        if attempt.state == FAILED:
            return Assignment(request, None, attempt.cause)
        if attempt.state == BUILT:
            return Assignment(
                request, None, f"{request.what} was built on {attempt.host}, and is asked for again: its source changes"
            )
    lost = [attempt.host for attempt in attempts]
    host = builder(request.platform, candidates, canary, lost)
    if host is None:
        told = "; ".join(f"{item.host}: {item.cause or 'no answer came'}" for item in attempts)
        return Assignment(
            request, None, f"{request.what} has no wheel for {request.where}, and no host built it: {told}"
        )
    return Assignment(request, host)


def failure(
    request: Request, host: str, result: str, log: str, seconds: float, system: str, compiler: str = "there"
) -> str:
    """Why a build failed, in one sentence: package, platform, host, the compiler's last lines, and what to do.

    `result`, `log` and `compiler` are those of `hostbuild.Built`, `seconds` the time limit, `system` the host's ID
    and ID_LIKE of os-release(5).
    """
    fix = remedy(result, log, host, system, without_build(request))
    if fix.startswith(_CORRECT) and result == "done" and not compiler:  # whatever a build makes of that
        packages = _named(_FOR_C, system)
        fix = f"{host} has no C compiler, which most builds need: install {packages} there, {without_build(request)}"
    return (
        f"{request.what} has no wheel for {request.where}, and its build on {host} failed: "
        f"{reason(result, log, seconds)}; {fix}"
    )


_FOR_C = "gcc,python3-dev gcc,python3-devel"
"""What compiles C for Python: the packages of Debian, and of others."""
_SAME_WITH_WHEELS = {"psycopg2": "psycopg2-binary"}
"""Distributions that are only published as source, and the one of the same code that has wheels."""


def without_build(request: Request) -> str:
    """What else a person can do than have a source built, for the end of a message."""
    sdist = request.build.sdist
    words = "or put a wheel of it where pip finds it, or allow a version that has one"
    if request.build.with_wheel:
        words += f" ({request.build.with_wheel} is the oldest after it)"
    if request.build.pythons:
        words += f", or have headcount_python name Python {listed(request.build.pythons)}, which it has a wheel for"
    same = _SAME_WITH_WHEELS.get(sdist.name)
    return f"{words}, or depend on {same}, which is the same with wheels" if same else words


def system_of(facts: Facts) -> str:
    """ID and ID_LIKE of a host's os-release(5), by which packages have their names."""
    release = facts.get("os") or {}
    return f"{release.get('id') or ''} {release.get('like') or ''}"


def without_compiler(request: Request, host: str, system: str) -> str:
    """What a person should know before a source is built on a host where no C compiler was found."""
    packages = _named(_FOR_C, system)
    return (
        f"{request.what} has no wheel for {request.where} and is built on {host}, where no C compiler was found: most "
        f"such builds fail without one; install {packages} there first, {without_build(request)}"
    )


_RESULTS = {
    "oom-kill": "the kernel killed it for want of memory",
    "no-answer": "it ended without an answer",
    "signal": "it was killed",
    "resources": "the host's systemd could not start it",
}


def reason(result: str, log: str, seconds: float) -> str:
    """The last lines of a build that tell why it failed, or what ended it."""
    if result == "timeout":
        return f"it was not finished within {seconds:g} s"
    said = last_lines(log)
    if result != "done":
        what = _RESULTS.get(result, f"systemd ended it ({result})")
        return f"{what} ({said})" if said else what
    return said or "it said nothing"


_TELLING = re.compile(r"(^|\s)(fatal |command )?error\b.*:|cannot find|not found|Error: |No such file", re.IGNORECASE)
_NOISE = re.compile(
    r"subprocess-exited-with-error|did not run successfully|This error originates|not a problem with pip|exit code: \d|"
    r"\[end of output\]|\[\d+ lines of output\]|Failed building wheel|Failed to build|failed-wheel-build|"
    r"^See above for output|note:|^hint:|^WARNING|^DEPRECATION|^\[notice\]|metadata-generation-failed"
)


def last_lines(log: str, most: int = 4) -> str:
    """The end of a build's output on one line: the lines that name an error, or the last ones where none does."""
    lines = [line.strip(" \t│╰─▶×>") for line in redact(log).splitlines()]
    lines = [line for line in dict.fromkeys(lines) if line and not _NOISE.search(line)]
    telling = [line for line in lines if _TELLING.search(line)]
    return " | ".join((telling or lines)[-most:])[-800:]


_CORRECT = "correct what it says"
_HINTS: tuple[tuple[str, str, str], ...] = (
    (r"No space left on device|Disk quota exceeded", "free some room in /var/tmp of {host}", ""),
    (
        r"(?:No matching distribution found for|satisfies the requirement) (?P<what>[\w.-]+)",
        "name {what}, which its build needs, in `requires` of [build-system] in the pyproject.toml of its source",
        "",
    ),
    (r"Python\.h: No such file", "install Python's headers on {host} ({packages})", "python3-dev python3-devel"),
    (
        r"fatal error: (?P<what>[\w./+-]+\.h\w*): No such file|(?P<other>[\w./+-]+\.h)['\"]? file not found",
        "install the development package that has {what} on {host}",
        "",
    ),
    (r"cannot find -l(?P<what>[\w.+-]+)", "install the development package of lib{what} on {host}", ""),
    (
        r"(?:rustc|cargo|Rust)\b.*(?:not found|not installed|No such file|requires|can't find|unable)|"
        r"can't find Rust compiler",
        "install a Rust compiler on {host} ({packages})",
        "cargo cargo",
    ),
    (
        r"command '?\S*(?:g\+\+|c\+\+|clang\+\+)'? failed: No such|No such file or directory: '\S*[gc]\+\+'",
        "install a C++ compiler and Python's headers on {host} ({packages})",
        "g++,python3-dev gcc-c++,python3-devel",
    ),
    (
        r"command '?\S*(?:gcc|cc|clang)'? failed: No such|No such file or directory: '\S*(?:gcc|cc|clang)'|"
        r"(?:gcc|cc|clang): (?:command )?not found|no acceptable C compiler|Unknown compiler|CMAKE_C_COMPILER|"
        r"[Uu]nable to (?:find|execute) .*(?:gcc|cc|compiler)",
        "install a compiler and Python's headers on {host} ({packages})",
        _FOR_C,
    ),
)


def remedy(result: str, log: str, host: str, system: str, last: str) -> str:
    """What a person can do about a build that failed; `last` is what is always possible."""
    if result == "timeout":
        return f"build it on a faster machine, {last}"
    if result == "oom-kill":
        return f"give {host} more memory, {last}"
    for pattern, words, packages in _HINTS:
        found = re.search(pattern, log)
        if found:
            groups = found.groupdict()
            what = next((value for value in groups.values() if value), "")
            return f"{words.format(host=host, what=what, packages=_named(packages, system))}, {last}"
    return f"{_CORRECT} on {host}, {last}"


def _named(packages: str, system: str) -> str:
    """Packages by the names of a system, out of Debian's and the others'."""
    from ...module_utils._load.command import debian_like

    return packages.split(" ")[0 if debian_like(system) else -1].replace(",", " and ")


# -- the notes of the run ---------------------------------------------------------------------------------------------


def ask(notes: Notes, host: str, requests: Sequence[Request]) -> None:
    """Note what a host is to build."""
    old = notes.builds(host)
    new = {item.key: {"state": ASKED, "cause": "", "request": item.to_dict()} for item in requests}
    notes.write_builds(host, {**old, **new})


def asked(notes: Notes, host: str) -> list[Request]:
    """What a host is to build, and has not tried yet."""
    return [Request.from_dict(item["request"]) for item in notes.builds(host).values() if item["state"] == ASKED]


def note(notes: Notes, host: str, key: str, state: str, cause: str = "", **more: object) -> None:
    """Note what became of a request, and whatever else is worth keeping of it."""
    kept = notes.builds(host)
    became = {**kept[key], "state": state, "cause": cause, **more}
    notes.write_builds(host, {**kept, key: became})


def attempts(notes: Notes) -> dict[str, list[Attempt]]:
    """Request's key to what was tried in this run, host by host."""
    found: dict[str, list[Attempt]] = {}
    for host, kept in notes.all_builds().items():
        for key, item in kept.items():
            found.setdefault(key, []).append(Attempt(host, str(item["state"]), str(item["cause"])))
    return found


def asked_text(builds: Mapping[str, Sequence[Request]]) -> str:
    """What is built where, for people."""
    lines = []
    for host, requests in builds.items():
        what = listed([item.what for item in requests])
        lines.append(f"{host}: builds {what}: there is no wheel for {requests[0].where}")
    return "\n".join(lines)


__all__ = [
    "Assignment",
    "Attempt",
    "Candidate",
    "Pending",
    "Request",
    "ask",
    "asked",
    "asked_text",
    "assign",
    "attempts",
    "builder",
    "failure",
    "note",
    "requests_of",
    "system_of",
    "without_build",
    "without_compiler",
]
