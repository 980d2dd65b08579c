# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is gathered: platforms, files, what a host has to build, and the set that makes a release."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from packaging.markers import default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags

from .._edge import Json
from .tools import WheelhouseError

_UV_GLIBC = (17, 28, *range(31, 41))  # the minor versions of manylinux_2_N that uv's --python-platform knows


@dataclass(frozen=True)
class Platform:
    """What wheels depend on: `python` "3.13" (or "3.13.5"), `machine` "x86_64", `libc` "glibc 2.41" or "musl 1.2"."""

    python: str
    machine: str
    libc: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"3\.\d+(\.\d+)?", self.python):
            raise WheelhouseError(f"Python {self.python!r} of the host is not understood: 3.9 or later is needed")
        if self.machine not in ("x86_64", "aarch64"):
            raise WheelhouseError(f"machine {self.machine!r} of the host is not supported: x86_64 or aarch64")
        if not re.fullmatch(r"(glibc|musl) \d+\.\d+", self.libc):
            raise WheelhouseError(f"C library {self.libc!r} of the host is not understood: 'glibc 2.36' or 'musl 1.2'")

    @classmethod
    def from_facts(cls, facts: Json) -> Platform:
        """From the host facts' dictionary (`python.version`, `platform.machine`, `platform.libc`)."""
        return cls(facts["python"]["version"], facts["platform"]["machine"], facts["platform"]["libc"])

    @property
    def minor(self) -> str:
        """Python's version without its patch level: what wheels are made for."""
        return ".".join(self.python.split(".")[:2])

    @property
    def key(self) -> str:
        """The platform as one word."""
        return f"cp{self.minor.replace('.', '')}-{self.machine}-{self.libc.replace(' ', '')}"

    def uv_platform(self) -> str:
        """The name of this platform for uv, or of the newest older one that it knows."""
        kind, version = self.libc.split()
        if kind == "musl":
            return f"{self.machine}-unknown-linux-musl"
        minor = int(version.split(".")[1])
        known = [number for number in _UV_GLIBC if number <= minor]
        if not known:
            raise WheelhouseError(
                f"{self.libc} of the host is too old: glibc 2.17 is the oldest that wheels are made for"
            )
        return f"{self.machine}-manylinux_2_{known[-1]}"

    def tags(self) -> list[str]:
        """Every platform tag of wheels that run here, best first."""
        kind, version = self.libc.split()
        major, minor = (int(part) for part in version.split("."))
        if kind == "musl":
            return [f"musllinux_{major}_{number}_{self.machine}" for number in range(minor, -1, -1)]
        oldest = 5 if self.machine == "x86_64" else 17
        legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
        result: list[str] = []
        for number in range(minor, oldest - 1, -1):
            result.append(f"manylinux_2_{number}_{self.machine}")
            if number in legacy:
                result.append(f"{legacy[number]}_{self.machine}")
        return [*result, f"linux_{self.machine}"]

    def accepts(self, tags: Iterable[Tag]) -> bool:
        """Whether a wheel with these tags runs here."""
        python = tuple(int(part) for part in self.minor.split("."))
        known = set(cpython_tags(python, platforms=self.tags()))
        known.update(compatible_tags(python, f"cp{self.minor.replace('.', '')}", self.tags()))
        return bool(known & set(tags))

    def markers(self) -> dict[str, str]:
        """The environment that markers of this platform's CPython are evaluated in."""
        full = self.python if self.python.count(".") == 2 else f"{self.python}.0"
        environment: dict[str, str] = {name: str(value) for name, value in default_environment().items()}
        environment.update(
            implementation_name="cpython",
            implementation_version=full,
            os_name="posix",
            platform_machine=self.machine,
            platform_python_implementation="CPython",
            platform_release="",
            platform_system="Linux",
            platform_version="",
            python_full_version=full,
            python_version=self.minor,
            sys_platform="linux",
        )
        return environment


@dataclass(frozen=True)
class Wheel:
    """One file, a wheel or an sdist, in the controller's cache. `size` in bytes."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    path: str = field(compare=False)

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class HostBuild:
    """A source that has to be built on a host of the platform, and the wheels that its build needs.

    `with_wheel`: the oldest later version that has a wheel for the platform; "" where none is known. `pythons`: other
    Pythons that this version has a wheel for ("3.11").
    """

    sdist: Wheel
    build_wheels: tuple[Wheel, ...]
    with_wheel: str = ""
    pythons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        return {
            "sdist": self.sdist.to_dict(),
            "build_wheels": [wheel.to_dict() for wheel in self.build_wheels],
            "with_wheel": self.with_wheel,
            "pythons": list(self.pythons),
        }

    @classmethod
    def from_dict(cls, data: Json) -> HostBuild:
        """From `to_dict`."""
        tools = tuple(Wheel(**wheel) for wheel in data["build_wheels"])
        newer, pythons = str(data.get("with_wheel", "")), tuple(data.get("pythons", ()))
        return cls(Wheel(**data["sdist"]), tools, newer, pythons)


@dataclass(frozen=True)
class WheelSet:
    """Everything a host of one platform needs to install a release without a network.

    `id` names the release: 16 hex digits of the digest of the lock; empty while `needs_host_build` is not.
    `pip` installs, and is not part of the release. `tree`: the archive of a project that is released as it is. `form`:
    in words, what the project is released as, and why. `gunicorn`: the version that the project pins, or "". `kept`:
    the file with the versions that nothing in the project says, or "". `commits`: by the line that asks for each, those
    of branches and tags, which are kept in `commits_file`. `notes`: what a person should know of it.
    """

    id: str
    source_id: str
    app: str
    app_version: str
    platform: Platform
    lock_text: str
    wheels: tuple[Wheel, ...]
    pip: Wheel
    needs_host_build: tuple[HostBuild, ...] = ()
    notes: tuple[str, ...] = ()
    tree: Wheel | None = None
    form: str = ""
    gunicorn: str = ""
    kept: str = ""
    commits_file: str = ""
    commits: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def files(self) -> tuple[Wheel, ...]:
        """Every file that a host needs, the installer included, each once."""
        tree = (self.tree,) if self.tree else ()
        return tuple({item.sha256: item for item in (*self.wheels, self.pip, *tree)}.values())

    @property
    def distributions(self) -> dict[str, str]:
        """Name to version of what the release will hold."""
        return {wheel.name: wheel.version for wheel in self.wheels}

    def to_dict(self) -> dict[str, object]:
        """Plain data; `from_dict` reads it back."""
        return {
            **{name: getattr(self, name) for name in ("id", "source_id", "app", "app_version", "lock_text")},
            "platform": asdict(self.platform),
            "wheels": [wheel.to_dict() for wheel in self.wheels],
            "pip": self.pip.to_dict(),
            "needs_host_build": [build.to_dict() for build in self.needs_host_build],
            "notes": list(self.notes),
            "tree": self.tree.to_dict() if self.tree else None,
            "form": self.form,
            "gunicorn": self.gunicorn,
            "kept": self.kept,
            "commits_file": self.commits_file,
            "commits": dict(self.commits),
        }

    @classmethod
    def from_dict(cls, data: Json) -> WheelSet:
        """From `to_dict`."""
        builds = tuple(HostBuild.from_dict(item) for item in data["needs_host_build"])
        return cls(
            **{name: data[name] for name in ("id", "source_id", "app", "app_version", "lock_text")},
            platform=Platform(**data["platform"]),
            wheels=tuple(Wheel(**wheel) for wheel in data["wheels"]),
            pip=Wheel(**data["pip"]),
            needs_host_build=builds,
            notes=tuple(data.get("notes", ())),
            tree=Wheel(**data["tree"]) if data.get("tree") else None,
            form=str(data.get("form", "")),
            gunicorn=str(data.get("gunicorn", "")),
            kept=str(data.get("kept", "")),
            commits_file=str(data.get("commits_file", "")),
            commits=dict(data.get("commits") or {}),
        )


__all__ = ["HostBuild", "Platform", "Wheel", "WheelSet"]
