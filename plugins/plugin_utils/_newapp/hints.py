# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project's files say of how it is run. They are hints: importing decides."""

from __future__ import annotations

import ast
import configparser
import posixpath
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from ...module_utils._declaration.gunicorn import hooks_in
from .._source.serverconf import FILES, within
from . import beside, commands, composed, incode
from .django import VARIABLE, Django, app_module, django
from .types import Candidate, Command, Hints, Process

_TEXT_BYTES: Final = 200_000
_MOST_FILES: Final = 1000
_SERVER_FILES: Final = re.compile(
    r"(^|/)([^/]*\.(service|conf|ini|sh|cfg)|Makefile|justfile|Vagrantfile|[^/]*gunicorn[^/]*)$"
)
_GUNICORN_FILES: Final = re.compile(r"(^|/)gunicorn[\w.-]*\.py$")
_EXAMPLES: Final = re.compile(
    r"(^|/)(\.env[.-](example|sample|template|dist|default|defaults)|(example|sample|template)\.env|env\.(example|sample)|"
    r"\.?env-(example|sample)|\.flaskenv[.-](example|sample))$"
)
_DOCKERFILE: Final = re.compile(r"(^|/)(dockerfile[^/]*|[^/]+\.dockerfile)$", re.I)
_NAMES_APP: Final = frozenset({"FLASK_APP", VARIABLE})
_COMPOSE: Final = re.compile(r"(docker-)?compose[^/]*\.ya?ml")
_BESIDE: Final = re.compile(r"(^|/)(tests?|docs?|examples?|samples?|node_modules|\.github|\.git|\.circleci)(/|$)", re.I)

_ASIDE: Final = re.compile(
    r"(^|/)(conftest\.py|test_[^/]*|[^/]*_tests?\.py|tests\.py|(dev|development|testing|local)\.py)$"
)
"""Code that no host runs."""


def read(folder: Path, names: Sequence[str]) -> Hints:
    """The hints in a project's files; `names` are those that are shipped, within `folder`."""
    found = _Reading(folder, [name for name in names if not _BESIDE.search(name)])
    found.procfile()
    found.dockerfile()
    found.compose()
    found.gunicorn_settings()
    found.uwsgi_settings()
    found.server_files()
    found.flask_app()
    found.django()
    found.examples()
    found.migrations()
    found.code()
    return found.hints()


@dataclass
class _Reading:
    folder: Path
    names: Sequence[str]
    candidates: dict[tuple[str, str], Candidate] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    variables: dict[str, tuple[str, str]] = field(default_factory=dict)
    shown: dict[str, tuple[str, str]] = field(default_factory=dict)
    listens: list[tuple[str, str]] = field(default_factory=list)
    timeouts: list[int] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    prepares: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    written: list[tuple[str, str]] = field(default_factory=list)
    temporary: list[tuple[str, str, str]] = field(default_factory=list)
    addresses: list[tuple[str, str, str]] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    instance_files: list[str] = field(default_factory=list)
    project: Django = field(default_factory=Django)
    collects: str = ""
    kept: dict[str, str] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    hooks: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A file's text; "" where it is none."""
        try:
            return (self.folder / name).read_bytes()[:_TEXT_BYTES].decode("utf-8", errors="replace")
        except OSError:
            return ""

    def there(self, *names: str) -> Iterator[str]:
        """Those of `names` that are files of the project's own folder, shipped or not."""
        return (name for name in names if (self.folder / name).is_file())

    def line(self, line: str, origin: str, functions: Collection[str] = (), folder: str = "") -> bool:
        """Take what a command line says; whether it starts an app, directly or by a script of the project.

        `functions`: those of the shell's script that the line is in; what they do is in its other lines. `folder`: the
        one that it is written in, which holds the module where the top does not.
        """
        line = commands.unwrapped(line)
        self.collecting(line, origin)
        for command in beside.preparing(line, functions):
            self.prepares.setdefault(command, origin)
        for command in beside.others(line, functions):
            self.before.setdefault(command, origin)
        found = commands.started(line)
        if found is None:
            return self._script(line, origin)
        path = self._folder(found.chdir) or (folder if self._holds(folder, found.module) else "")
        weak = found.server in ("python", "flask")
        self.candidate(Candidate(found.module, found.target, origin, path, certain=not weak))
        if found.listen and found.server != "flask":
            self.listens.append((found.listen, origin))
        if found.timeout:
            self.timeouts.append(found.timeout)
        if found.config:
            self.configs.setdefault(within(self.folder, found.config, path), origin)
        return True

    def _script(self, line: str, origin: str) -> bool:
        """A shell script of the project that a command line calls: its lines count."""
        for word in commands.words_of(line):
            name = word.removeprefix("./")
            inside = next((item for item in (name, name.rpartition("/")[2]) if (self.folder / item).is_file()), "")
            if inside and self.text(inside).startswith("#!") and not inside.endswith(".py"):
                text = re.sub(r"\\\s*\n", " ", self.text(inside))
                lines = [item for item in text.splitlines() if inside not in item]
                functions = beside.functions(text)
                taken = [self.line(item, f"{inside}, which {origin} calls", functions) for item in lines]
                return True in taken
        return False

    def collecting(self, line: str, origin: str) -> None:
        """Note who collects static files."""
        if beside.COLLECTS.search(line) and not line.lstrip().startswith("#"):
            self.collects = self.collects or origin

    def _holds(self, folder: str, module: str) -> bool:
        """Whether a module is in a folder of the project, and none that is called so at its top."""
        top = module.partition(".")[0]
        places = (f"{top}.py", f"{top}/__init__.py")
        return not any(name in self.names for name in places) and any(
            f"{folder}/{name}" in self.names for name in places
        )

    def _folder(self, chdir: str) -> str:
        """The folder within the project that a command changes to, as far as it is there."""
        name = chdir.strip("/").rstrip(".").strip("/")
        while name:
            if (self.folder / name).is_dir():
                return name
            name = name.partition("/")[2]
        return ""

    def candidate(self, item: Candidate) -> None:
        """Take a candidate unless the same was named before."""
        self.candidates.setdefault((item.module, item.target), item)

    def procfile(self) -> None:
        """Heroku's, and what took it over."""
        for origin in self.there("Procfile", "Procfile.prod"):
            for name, command in commands.procfile(self.text(origin)):
                if name == "release":
                    self.release(command, origin)
                elif name == "web" or not commands.is_process(name, command):
                    self.line(command, origin)
                else:
                    self.processes.setdefault(name, Process(name, command, origin))

    def release(self, command: str, origin: str) -> None:
        """What a platform runs before each release: a script of the project, or a line of commands."""
        self.collecting(command, origin)
        left = beside.without_collecting(command)
        if left:
            self.prepares.setdefault(beside.plain(left), origin)

    def dockerfile(self) -> None:
        """The last stage of the Dockerfile in the project's folder, or in one of its own; of one elsewhere, where it
        starts an app or says which."""
        near = [path for pattern in ("Dockerfile*", "docker/*ockerfile*") for path in self.folder.glob(pattern)]
        found = sorted((path.relative_to(self.folder).as_posix() for path in near), key=lambda name: name.count("/"))
        deep = sorted((name for name in self.names if _DOCKERFILE.search(name)), key=lambda name: name.count("/"))
        for origin in self.there(*dict.fromkeys((*found, *self.named_by_compose(), *deep))):
            image = commands.dockerfile(self.text(origin))
            starts = self.line(image.command, f"{origin}'s CMD", folder=posixpath.dirname(origin))
            if not (starts or origin in found or _NAMES_APP & {name for name, _ in image.variables}):
                continue
            for line in image.runs:
                self.collecting(line, f"{origin}'s RUN")
            for name, value in image.variables:
                self.variables.setdefault(name, (value, origin))
            if image.port.isdigit() and 1 <= int(image.port) <= 65535:
                self.listens.append((f"0.0.0.0:{image.port}", f"{origin}'s EXPOSE"))

    def services(self) -> Iterator[tuple[str, str, Mapping[str, object]]]:
        """(name, what is said of it, file) of the services of compose files in the project's folder, or in one of its
        own."""
        near = [path for pattern in ("*compose*.y*ml", "docker/*compose*.y*ml") for path in self.folder.glob(pattern)]
        for path in sorted(near, key=lambda path: (len(path.parts), path)):
            if not _COMPOSE.fullmatch(path.name):
                continue
            origin = path.relative_to(self.folder).as_posix()
            try:
                data = yaml.safe_load(self.text(origin))
            except yaml.YAMLError:
                continue
            services = data.get("services") if isinstance(data, dict) else None
            for name, service in services.items() if isinstance(services, dict) else ():
                if isinstance(service, dict):
                    yield origin, str(name), service

    def named_by_compose(self) -> Iterator[str]:
        """The Dockerfiles that compose files have their images built by."""
        for origin, _, service in self.services():
            build = service.get("build")
            folder = str(build.get("context") or ".") if isinstance(build, dict) else str(build or "")
            named = str(build.get("dockerfile") or "Dockerfile") if isinstance(build, dict) else "Dockerfile"
            name = posixpath.normpath(posixpath.join(posixpath.dirname(origin), folder, named))
            if folder and name in self.names and _DOCKERFILE.search(name):
                yield name

    def compose(self) -> None:
        """Further processes, commands that start the app, and the settings of what runs the project's code."""
        services = list(self.services())
        names = [name for _, name, _ in services]
        for origin, name, service in services:
            command = service.get("command")
            text = shlex.join(map(str, command)) if isinstance(command, list) else str(command or "")
            starts = False
            if text and commands.is_process(name, text):
                self.processes.setdefault(name, Process(name, text, origin))
            elif text:
                starts = self.line(text, origin)
            if (starts or composed.builds_project(origin, service)) and not composed.is_for_work(origin):
                for variable, value in composed.settings(service, names):
                    self.variables.setdefault(variable, (value, origin))

    def gunicorn_settings(self) -> None:
        """gunicorn.conf.py and its like, and what a command line names: literal values at its top level, and hooks."""
        for name in self.names:
            if _GUNICORN_FILES.search(name) or name in self.configs:
                self._settings_of(name)

    def _settings_of(self, name: str) -> None:
        values = literals(self.text(name))
        if name not in FILES:  # those are told of by themselves
            self._hooks(name)
        folder = self._folder(str(values.get("chdir") or ""))
        named = commands.target_of(str(values.get("wsgi_app") or ""))
        if named:
            self.candidate(Candidate(*named, name, folder, certain=True))
        listen = commands.listen_of(str(values.get("bind") or ""))
        if listen:
            self.listens.append((listen, name))
        if isinstance(values.get("timeout"), int):
            self.timeouts.append(int(str(values["timeout"])))

    def _hooks(self, name: str) -> None:
        try:
            found = hooks_in(self.text(name))
        except (SyntaxError, ValueError, RecursionError):
            return
        if found:
            self.hooks[name] = tuple(found)

    def uwsgi_settings(self) -> None:
        """uwsgi.ini and its like."""
        for name in self.names:
            if not re.search(r"(^|/)[^/]*uwsgi[^/]*\.ini$", name):
                continue
            parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
            try:
                parser.read_string(self.text(name))
            except configparser.Error:
                continue
            if parser.has_section("uwsgi"):
                found = commands.uwsgi({key: value or "" for key, value in parser.items("uwsgi")})
                if found:
                    own = posixpath.dirname(name)
                    folder = self._folder(found.chdir) or (own if self._holds(own, found.module) else "")
                    self.candidate(Candidate(found.module, found.target, name, folder, certain=True))
            for key, value in commands.uwsgi_lines(self.text(name)):
                if key == "env":
                    variable, _, text = value.partition("=")
                    self.variables.setdefault(variable.strip(), (text.strip(), name))
                else:
                    process = beside.process_name(beside.what_runs(value))
                    self.processes.setdefault(process, Process(process, value, f"{name}'s {key}"))

    def server_files(self) -> None:
        """Units, supervisor's files, scripts and Makefiles that start Gunicorn."""
        for name in self.names:
            if name.count("/") > 3 or not _SERVER_FILES.search(name) or name.endswith(".py"):
                continue
            for line in re.sub(r"\\\s*\n", " ", self.text(name)).splitlines():
                if re.search(r"\bgunicorn\b", line) and not line.lstrip().startswith("#"):
                    found = commands.started(re.sub(r"^\s*(ExecStart|command)\s*=", "", line))
                    if found:
                        folder = self._folder(found.chdir)
                        self.candidate(Candidate(found.module, found.target, name, folder, certain=True))
                    config = within(self.folder, found.config, posixpath.dirname(name)) if found else ""
                    if config and config not in self.configs and not _GUNICORN_FILES.search(config):
                        self.configs[config] = name
                        self._settings_of(config)

    def flask_app(self) -> None:
        """FLASK_APP of .flaskenv, .env, the Dockerfile and the Makefile; other values of .env stay where they are."""
        for origin in self.there(".flaskenv", ".env"):
            for name, value in commands.dotenv(self.text(origin)):
                self.kept.setdefault(name, origin)
                if origin == ".flaskenv" or name in ("FLASK_APP", VARIABLE):
                    self.variables.setdefault(name, (value, origin))
        for origin in self.there("Makefile", "README.md", "README.rst"):
            match = re.search(r"FLASK_APP\s*[:?]?=\s*([\w./:()'\"-]+)", self.text(origin))
            if match:
                self.variables.setdefault("FLASK_APP", (match[1].strip("`.,;"), origin))
        value, origin = self.variables.get("FLASK_APP", ("", ""))
        named = commands.flask_app(value) if value else None
        if named:
            self.candidate(Candidate(*named, f"FLASK_APP in {origin}", certain=not origin.startswith("README")))

    def django(self) -> None:
        """The settings that manage.py, wsgi.py or the environment name, and the module that is the app with them."""
        self.project = django(self.names, self.text, self.variables.get(VARIABLE, ("", "")))
        module, manage = app_module(self.project, self.names), self.project.manage
        if module:
            self.candidate(Candidate(module, "application", manage, manage.rpartition("/")[0], certain=True))

    def examples(self) -> None:
        """Files that show which variables a person has to set."""
        for name in self.names:
            if _EXAMPLES.search(name) and name.count("/") <= 1:
                for key, value in commands.dotenv(self.text(name)):
                    self.shown.setdefault(key, (value, name))

    def _migrations(self) -> Iterator[tuple[str, str]]:
        for name in self.names:
            folder, _, base = name.rpartition("/")
            if base == "env.py" and any(item.startswith(f"{folder}/versions/") for item in self.names):
                yield folder, beside.alembic(folder, self.text(name), self.names)
            elif base == "0001_initial.py" and folder.endswith("migrations"):
                yield folder, self.project.migrate if self.project.manage else ""

    def migrations(self) -> None:
        """Folders of migrations."""
        self.moved.update(self._migrations())

    def code(self) -> None:
        """Queues in the code that nothing in the project declares a process for; secrets, temporary folders and the
        addresses of services that are written there."""
        declared = " ".join(process.command for process in self.processes.values())
        for name in [name for name in self.names if name.endswith(".py")][:_MOST_FILES]:
            text = self.text(name) if commands.module_of(name) else ""
            for process in beside.in_code(commands.module_of(name), text, name):
                if process.command.split()[0] not in declared:
                    self.processes.setdefault(process.name, process)
            if not _ASIDE.search(name):
                text = self.text(name)
                self.written += [(what, f"{name}:{line}") for what, line in incode.written(text)]
                self.temporary += [(what, at, f"{name}:{line}") for what, at, line in incode.temporary(text)]
                self.addresses += [(what, at, f"{name}:{line}") for what, at, line in incode.services(text)]
                self.sessions += [f"{name}:{line}" for line in incode.sessions(text)]
                self.prefixes += incode.prefixes(text)
                for what, line in incode.asked(text):
                    self.asked.setdefault(what, f"{name}:{line}")
                self.instance_files += incode.instance_files(text)

    def hints(self) -> Hints:
        """All of it, the surest first."""
        listen, origin = self.listens[0] if self.listens else ("", "")
        order = sorted(self.candidates.values(), key=lambda item: not item.certain)
        return Hints(
            tuple(order),
            tuple(self.processes.values()),
            self.variables,
            self.shown,
            listen,
            origin,
            max(self.timeouts, default=None),
            tuple(self.moved.items()),
            tuple(Command(run, origin) for run, origin in self.prepares.items()),
            tuple(Command(run, origin) for run, origin in self.before.items()),
            written=tuple(self.written),
            temporary=tuple(self.temporary),
            addresses=tuple(self.addresses),
            sessions=tuple(self.sessions),
            prefixes=tuple(dict.fromkeys(filter(None, self.prefixes))),
            asked=self.asked,
            instance_files=tuple(dict.fromkeys(self.instance_files)),
            django=self.project,
            collects=self.collects,
            kept=self.kept,
            hooks=self.hooks,
        )


def literals(text: str) -> dict[str, object]:
    """The names at the top level of Python code that are given literal values."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except (ValueError, TypeError, SyntaxError):
                continue
    return found
