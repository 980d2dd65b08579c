# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is known of a project on the way to its entry. Frozen and pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .django import Django


@dataclass(frozen=True)
class Candidate:
    """A module that may hold the app. `target`: a callable or a call; "": it is looked for as Flask does.

    `path` is the folder within the project that has to be on the path ("" its top). `origin` says who named it.
    `likely` is what it is called by what is written there. `certain`: the project itself says so, so that what keeps it
    from being imported is what is to be told. `script`: it lies at the top, is not called like an app, and gives the
    app that it has no page, as what does something else with it.
    """

    module: str
    target: str = ""
    origin: str = ""
    path: str = ""
    certain: bool = False
    likely: str = ""
    script: bool = False

    def __str__(self) -> str:
        return f"{self.module}:{self.target}" if self.target else self.module


@dataclass(frozen=True)
class Answers:
    """What a person answers beforehand, each empty where it is left to new-app.

    `environment`: values of variables, in which `{data}` stands for the app's data. `requirements`: files of the
    project, and requirements. `lock`: the file that says the versions. `subdirectory`: the folder within the source.
    `python`: the Python that it is looked at with, by its path or its version.
    """

    name: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    lock: str = ""
    entry_point: str = ""
    subdirectory: str = ""
    python: str = ""


@dataclass(frozen=True)
class Process:
    """A further process that the project declares, and which file says so."""

    name: str
    command: str
    origin: str


@dataclass(frozen=True)
class Command:
    """A command that the project runs before its server, and which file says so."""

    run: str
    origin: str


@dataclass(frozen=True)
class Hints:
    """What a project's files say of how it is run.

    `variables`: those that its files give a value to, by name: (value, file). `examples`: the same of files that show
    what a person has to set. `listen` is "address:port". `migrations` are folders of migrations with the command that
    runs them, "" where nobody knows: (folder, command). `prepares` prepare a release; what `before` is for, which the
    server's line runs too, is not known. `given` are the variables that a person gave. `written`: what is secret and
    is written into the code: (name, FILE:LINE). `temporary`: what the code sets to a temporary folder: (name, path,
    FILE:LINE). `addresses`: where the code itself says that a service is: (Redis, address, FILE:LINE). `sessions`:
    where the code uses what needs a session (FILE:LINE). `prefixes`: of the variables that it takes its settings from,
    whatever they are called (FLASK for FLASK_SECRET_KEY). `asked`: variables that the code names where it asks for one,
    with the first place (FILE:LINE). `instance_files`: of settings, in Flask's instance folder. `collects`: which file
    collects Django's static files, "" where none does. `kept`: the names of variables that a file gives a value to
    which stays there, with that file. `hooks`: those of Gunicorn that a file of settings of its own has, by that file.
    """

    candidates: tuple[Candidate, ...] = ()
    processes: tuple[Process, ...] = ()
    variables: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    examples: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    listen: str = ""
    listen_origin: str = ""
    timeout: int | None = None
    migrations: tuple[tuple[str, str], ...] = ()
    prepares: tuple[Command, ...] = ()
    before: tuple[Command, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)
    written: tuple[tuple[str, str], ...] = ()
    temporary: tuple[tuple[str, str, str], ...] = ()
    addresses: tuple[tuple[str, str, str], ...] = ()
    sessions: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    instance_files: tuple[str, ...] = ()
    django: Django = field(default_factory=Django)
    collects: str = ""
    kept: Mapping[str, str] = field(default_factory=dict)
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


LATE = "TooLong"
"""The kind of an error that is nothing but a time that ran out."""


@dataclass(frozen=True)
class Error:
    """Why a module could not be used. `where` is FILE:LINE within the project; `unreached`: a peer did not answer;
    `stood_in`: variables whose values new-app had made up when it happened; `leading`: those whose values its words
    hold; `unset`: those that were asked for without a default, and that nothing gives a value."""

    kind: str
    message: str
    where: str = ""
    missing_module: str = ""
    missing_variables: tuple[str, ...] = ()
    read_only: bool = False
    unreached: bool = False
    stood_in: tuple[str, ...] = ()
    leading: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()

    @property
    def late(self) -> bool:
        """Whether nothing was wrong but that it took too long, here."""
        return self.kind == LATE

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.kind}: {self.message}{place}" if self.message else f"{self.kind}{place}"


@dataclass(frozen=True)
class Page:
    """What one path answered. `status` is None when it took too long; `ms` is the time that it took the first time.
    `insists`: it leads to https of itself, even where it is asked as a proxy asks that takes it off."""

    path: str
    status: int | None
    ms: float = 0.0
    type: str = ""
    bytes: int = 0
    error: str = ""
    insists: bool = False


@dataclass(frozen=True)
class Weighed:
    """CPU time of a request of a path and the time that it waits beside, in ms, as medians of `requests`."""

    path: str
    requests: int
    cpu_ms: float
    wait_ms: float


@dataclass(frozen=True)
class Variable:
    """An environment variable that the project asks for. `bare`: at least once without a default."""

    name: str
    default: str | None = None
    bare: bool = False
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """What importing a module showed. `stage` is how far it came: import, ask, weigh or done.

    `written`: paths that it wrote to (within the project: relative) and what: file, folder, sqlite, link (one into the
    project), moved (what another file became) or gone; `written_at`: FILE:LINE of its code that did.
    `rules`: how many addresses an app of Flask's kind answers to; None of any other.
    `host`: the name that it was asked by. `other_host`: what its pages answer where they are asked for by a name that
    nobody told the app; None where that is the same. `https`: they lead to https of themselves unless they are asked
    as a proxy asks that takes it off.
    `required`: variables that it cannot be imported without, with the values that were given here.
    `setup`: the command of its own that made the tables which its pages lacked; `made`: the databases that hold them.
    `commands`: those that the program of its framework has for it (`db upgrade`), each with its options.
    `settings_module`: of Django, the settings that it ran with; `static_root`: where its static files are collected, ""
    where its settings do not say; None where it collects none.
    `temporary`: the settings that lead to a temporary folder, with where. `within`: those that lead into the project,
    with where in there. `weak`: those that have to be secret and are
    not: (empty, placeholder or known, the variable whose default it is). `machine`: files of libraries and programs
    that it used and that came from no wheel.
    """

    module: str
    target: str = ""
    kind: str = ""
    class_name: str = ""
    stage: str = "import"
    error: Error | None = None
    import_seconds: float = 0.0
    peak_mib: int = 0
    routes: int = 0
    rules: int | None = None
    pages: tuple[Page, ...] = ()
    weighed: tuple[Weighed, ...] = ()
    variables: tuple[Variable, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    written_at: Mapping[str, str] = field(default_factory=dict)
    databases: tuple[str, ...] = ()
    other_host: int | None = None
    host: str = ""
    https: bool = False
    debug: bool = False
    has_secret_key: bool | None = None
    temporary: Mapping[str, str] = field(default_factory=dict)
    within: Mapping[str, str] = field(default_factory=dict)
    weak: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    setup: str = ""
    made: tuple[str, ...] = ()
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings_module: str = ""
    static_root: str | None = None
    peers: tuple[str, ...] = ()
    libraries: frozenset[str] = frozenset()
    machine: tuple[str, ...] = ()
    required: Mapping[str, str] = field(default_factory=dict)
    said: str = ""
    candidate: Candidate = Candidate("")

    @property
    def found(self) -> bool:
        """Whether the callable is there."""
        return self.stage != "import" and bool(self.target)

    @property
    def is_bare(self) -> bool:
        """Whether it answers to nothing: what it is made of is put together elsewhere."""
        return self.rules == 0

    @property
    def entry_point(self) -> str:
        """As Gunicorn takes it."""
        return f"{self.module}:{self.target}"
