# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A declared app, whole and frozen: what the core works with, made once at the edge. Pure.

The edge is `normalise.normalise_apps` on the controller, a module's arguments and a generation's record on the
host. `App.from_dict` takes any of them; a key that is missing (an older generation's record has fewer) takes the
default of the table, which a test compares with the ones here. `App.to_dict` gives back what a normalised app holds,
so that records and digests stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar, Union

__all__ = [
    "App",
    "AsyncLibrary",
    "Built",
    "Data",
    "Database",
    "Guard",
    "Health",
    "Limits",
    "Load",
    "LoadPath",
    "LoadTest",
    "MemoryNeed",
    "Outside",
    "Prepare",
    "Process",
    "Sandbox",
    "Share",
    "Source",
]

SettingValue = Union[int, float, bool, str]
Plain = Mapping[str, Any]
"""What JSON and YAML bring: read here, and turned into the types below."""

ON_THE_HOST: Final = "host"
"""`load.from` of a load that the host makes itself."""
_LEFT_OUT: Final = ("from", "port", "address")
_NOT_DECLARED: Final[Mapping[str, object]] = {"as": "auto", "requirements": None}


_Made = TypeVar("_Made", bound="Section")


@dataclass(frozen=True)
class Section:
    """A section of an app: its keys are the fields."""

    @classmethod
    def from_dict(cls: type[_Made], data: Plain) -> _Made:
        """From a section of a normalised app. What is missing or None takes the default; what this version does not
        know (a newer generation's record may have it) is left out.
        """
        names = {item.name for item in fields(cls)}
        known = {key: value for key, value in data.items() if key in names and value is not None}
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in known.items()})

    def to_dict(self) -> dict[str, object]:
        """The section of a normalised app: plain JSON, the keys in the order of the table."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


def _plain(value: object) -> object:
    if isinstance(value, Section):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(element) for key, element in value.items()}
    return [_plain(element) for element in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Source(Section):
    """Where the app comes from: `kind` is path, wheel, pip or git, `value` what is declared for it.

    `form` is `source.as`: auto, tree or package, and in a generation's record one of the last two. Without
    `requirements` (None) the project's own files say what it depends on.
    """

    kind: str = "path"
    value: str | None = None
    version: str | None = None
    lock: str | None = None
    subdirectory: str | None = None
    include: tuple[str, ...] = ()
    form: str = "auto"
    requirements: tuple[str, ...] | None = None

    @classmethod
    def from_dict(cls, data: Plain) -> Source:
        """From the `source` of a normalised app."""
        return super().from_dict({"form" if key == "as" else key: value for key, value in data.items()})

    def to_dict(self) -> dict[str, object]:
        """The `source` of a normalised app; without a form and requirements that are not declared."""
        plain = {"as" if key == "form" else key: value for key, value in super().to_dict().items()}
        return {key: value for key, value in plain.items() if _NOT_DECLARED.get(key, key) != value}


@dataclass(frozen=True)
class MemoryNeed(Section):
    """What the app needs by its declaration, in MiB: a loaded worker, and a request in flight on top."""

    worker_mib: float | None = None
    slot_mib: float | None = None


@dataclass(frozen=True)
class Health(Section):
    """How the app says that it is well. Times are seconds. `headers`: None, and missing in the normalised form, where
    none are sent."""

    path: str = "/"
    status: tuple[int, ...] = (200,)
    contains: str | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    timeout_seconds: float = 5.0
    boot_seconds: float = 60.0

    def to_dict(self) -> dict[str, object]:
        """The section of a normalised app."""
        return {key: value for key, value in super().to_dict().items() if value is not None or key != "headers"}


@dataclass(frozen=True)
class LoadPath(Section):
    """One kind of request of the trial's load. Times are milliseconds; `weight` is its share against the others.

    `status`: the answers that mean well, None every 2xx; `contains`: what they must hold. Both are missing in the
    normalised form where they are not declared.
    """

    path: str
    weight: float = 1.0
    cpu_ms: float | None = None
    wait_ms: float | None = None
    method: str = "GET"
    body: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    status: tuple[int, ...] | None = None
    contains: str | None = None

    def to_dict(self) -> dict[str, object]:
        """The section of a normalised app."""
        plain = super().to_dict()
        return {key: value for key, value in plain.items() if value is not None or key not in ("status", "contains")}


@dataclass(frozen=True)
class Load(Section):
    """The load of the trial: `rate` requests a second for `seconds`.

    `declared_origin` is `load.from`; `port` and `address` belong to a load from another machine. The three are
    None where they are not declared, and then missing in the normalised form as well.
    """

    paths: tuple[LoadPath, ...] = (LoadPath("/"),)
    rate: float | None = None
    seconds: float = 30.0
    declared_origin: str | None = None
    port: int | None = None
    address: str | None = None
    warmup_requests: int | None = None

    @property
    def origin(self) -> str:
        """Where the load comes from: "host", "controller", or the name of a host of the inventory."""
        return self.declared_origin or ON_THE_HOST

    @classmethod
    def from_dict(cls, data: Plain) -> Load:
        """From the `load` of a normalised app."""
        named = {"declared_origin" if key == "from" else key: value for key, value in data.items()}
        if named.get("paths") is not None:
            named["paths"] = tuple(LoadPath.from_dict(path) for path in named["paths"])
        return super().from_dict(named)

    def to_dict(self) -> dict[str, object]:
        """The `load` of a normalised app."""
        plain = {"from" if key == "declared_origin" else key: value for key, value in super().to_dict().items()}
        return {key: value for key, value in plain.items() if value is not None or key not in _LEFT_OUT}


@dataclass(frozen=True)
class Limits(Section):
    """What the trial must keep: latencies in ms, a share of errors, peak memory in percent of MemoryMax, CPU ms of a
    request, and cores that are used while nobody asks. None is no limit; of memory an app has one always, a trial
    outside of a rollout may not.
    """

    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    error_rate: float = 0.01
    memory_percent: float | None = 80.0
    cpu_ms: float | None = None
    idle_cores: float | None = None

    def to_dict(self) -> dict[str, object]:
        """The section of a normalised app; without limits on CPU that are not declared."""
        cpu = ("cpu_ms", "idle_cores")
        return {key: value for key, value in super().to_dict().items() if value is not None or key not in cpu}

    def latency_ms(self, quantile: str) -> float | None:
        """The limit of "p50", "p95" or "p99"."""
        return {"p50": self.p50_ms, "p95": self.p95_ms, "p99": self.p99_ms}[quantile]


@dataclass(frozen=True)
class Share(Section):
    """The app's part of the host: a weight against the other apps, or cores and MiB where they are declared."""

    weight: float = 1.0
    cores: float | None = None
    memory_mib: float | None = None


@dataclass(frozen=True)
class Database(Section):
    """A database that the whole fleet shares; connections, and how many one request in flight holds."""

    max_connections: int | None = None
    connections_per_slot: float = 1.0
    reserved: int = 0


@dataclass(frozen=True)
class Guard(Section):
    """For how many minutes after a promote the host watches what users get; 0 is not at all."""

    minutes: float = 0.0


@dataclass(frozen=True)
class LoadTest(Section):
    """When the load of the trial is repeated on what is live (a calendar event of systemd), at which rate (requests a
    second), and for how many seconds."""

    calendar: str
    rate: float
    seconds: float = 30.0


@dataclass(frozen=True)
class Outside(Section):
    """A folder of the host, outside of the app's own, that the app writes to or reads."""

    path: str
    access: str = "write"


@dataclass(frozen=True)
class Built(Section):
    """A folder of the release that each generation has for itself, and writes to. `code`: whether it may hold code."""

    path: str
    code: bool = False


@dataclass(frozen=True)
class Data(Section):
    """What lasts: `paths` of the release that lead to the app's own folder, `folders` that are made in it, folders
    `outside` of it, whether the app has folders for a cache and for logs, and patterns of what may be lost. What does
    not: folders of the release that are `built` by each generation for itself; missing in the normalised form where
    there are none."""

    paths: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    outside: tuple[Outside, ...] = ()
    cache: bool = False
    logs: bool = False
    scratch: tuple[str, ...] = ()
    built: tuple[Built, ...] = ()

    @classmethod
    def from_dict(cls, data: Plain) -> Data:
        """From the `data` of a normalised app."""
        folders = tuple(Outside.from_dict(folder) for folder in data.get("outside") or ())
        built = tuple(Built.from_dict(folder) for folder in data.get("built") or ())
        return super().from_dict({**data, "outside": folders, "built": built})

    def to_dict(self) -> dict[str, object]:
        """The section of a normalised app."""
        return {key: value for key, value in super().to_dict().items() if value or key != "built"}


@dataclass(frozen=True)
class Sandbox(Section):
    """Where the sandbox bends: files of /proc (auto, own, all), devices, groups, the homes of people (none, read),
    kinds of sockets, groups of system calls, and the mask of the files that it makes."""

    proc: str = "auto"
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    home: str = "none"
    address_families: tuple[str, ...] = ()
    system_calls: tuple[str, ...] = ()
    umask: str = "0077"


@dataclass(frozen=True)
class AsyncLibrary(Section):
    """What is declared of a library beside gevent and eventlet."""

    blocks: bool
    remedy: str = ""


@dataclass(frozen=True)
class Prepare(Section):
    """A command that prepares a release. Without `each_host` one host runs it for the fleet; `seconds` is its limit.

    With `creates` it is not run on a host where that path is there, and holds something.
    """

    run: str
    each_host: bool = False
    seconds: float = 600.0
    creates: str = ""

    def to_dict(self) -> dict[str, object]:
        """The section of a normalised app; without what it creates where that is not declared."""
        return {key: value for key, value in super().to_dict().items() if value or key != "creates"}


@dataclass(frozen=True)
class Process(Section):
    """A further process of the release. `memory_mib` and `cores` are what one of its `instances` is counted with.

    With a `schedule` (systemd's) it runs at times, for `seconds` at most, else all the time.
    """

    run: str
    instances: int = 1
    memory_mib: float = 128.0
    cores: float = 0.0
    schedule: str | None = None
    seconds: float = 3600.0
    stop_seconds: float = 60.0


@dataclass(frozen=True)
class App(Section):
    """A normalised app. It holds secrets (not in its repr): show `normalise.redacted` ones only.

    `wait_ratio` is the time a request waits by the CPU time it takes, None when nothing is declared about it.
    `settings` holds what overrides the plan, by the names of the table, `gunicorn` Gunicorn's own (and the text of its
    hooks, hooks_text). `retain_good` is `retain.good`. `recorder` and `guard` are None where they are not declared
    (there is the one and not the other), and then missing in the normalised form as well.
    """

    name: str
    source: Source = Source()
    entry_point: str = ""
    listen: str = ""
    listen_group: str | None = None
    listen_mode: str | None = None
    former: str | None = None
    profile: str | None = None
    wait_ratio: float | None = None
    cpu_ms: float | None = None
    wait_ms: float | None = None
    mix: str | None = None
    worker_class: str = "auto"
    concurrency: int | None = None
    rate: float | None = None
    memory: MemoryNeed = MemoryNeed()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    health: Health = Health()
    load: Load = Load()
    limits: Limits = Limits()
    share: Share = Share()
    buffering_proxy: bool = False
    host: str | None = None
    scheme: str | None = None
    database: Database = Database()
    data: Data = Data()
    sandbox: Sandbox = Sandbox()
    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    gunicorn: Mapping[str, object] | None = None
    command_prefix: tuple[str, ...] | None = None
    profile_mismatch: str = "use_measured"
    on_inconclusive: str = "revert"
    async_libraries: Mapping[str, AsyncLibrary] = field(default_factory=dict)
    retain_good: int | None = None
    verify_seconds: float = 5.0
    user: str | None = None
    slice: str = "system.slice"
    recorder: bool | None = None
    access_log: str | None = None
    guard: Guard | None = None
    load_test: LoadTest | None = None
    prepare: tuple[Prepare, ...] = ()
    processes: Mapping[str, Process] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Plain) -> App:
        """From a normalised app, as an inventory, an argument or a record has it. KeyError without a name."""
        named = {key: value for key, value in data.items() if value is not None}
        for key, section in _SECTIONS.items():
            if key in named:
                named[key] = section.from_dict(named[key])
        libraries = named.get("async_libraries") or {}
        named["async_libraries"] = {library: AsyncLibrary.from_dict(known) for library, known in libraries.items()}
        named["prepare"] = tuple(Prepare.from_dict(one) for one in named.get("prepare") or ())
        processes = named.get("processes") or {}
        named["processes"] = {process: Process.from_dict(known) for process, known in processes.items()}
        named["retain_good"] = named.pop("retain", {}).get("good")
        named["name"] = data["name"]
        return super().from_dict(named)

    def to_dict(self) -> dict[str, object]:
        """The normalised app: plain JSON, the keys in the order of the table; without those that came to it later and
        are not declared, so that the digests of what is live stay as they are."""
        later = {name for name, default in _CAME_LATER.items() if getattr(self, name) == default}
        return {
            "retain" if key == "retain_good" else key: {"good": value} if key == "retain_good" else value
            for key, value in super().to_dict().items()
            if key not in later and (value is not None or key not in _MAY_LACK)
        }


_MAY_LACK: Final = (
    *("listen_group", "listen_mode", "former", "host", "scheme", "gunicorn", "command_prefix"),
    *("recorder", "access_log", "guard", "load_test"),
)
"""Keys that are missing in the normalised form where they are not declared."""
_SECTIONS: Final[Mapping[str, type[Section]]] = {
    "source": Source,
    "memory": MemoryNeed,
    "health": Health,
    "load": Load,
    "limits": Limits,
    "share": Share,
    "database": Database,
    "guard": Guard,
    "load_test": LoadTest,
    "data": Data,
    "sandbox": Sandbox,
}
_CAME_LATER: Final[Mapping[str, object]] = {"data": Data(), "sandbox": Sandbox(), "prepare": (), "processes": {}}
