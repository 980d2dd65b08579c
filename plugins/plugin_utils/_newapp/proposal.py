# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The entry that is proposed for an app, with a reason for each value, and what could not be known. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ...module_utils._declaration.app import Limits
from ...module_utils._declaration.checks import app_name
from ...module_utils._declaration.fields import Invalid
from ...module_utils._declaration.profiles import profile_of
from ...module_utils._declaration.shortfall import needed_requests
from .._display.text import listed, plural
from .._edge import Json
from .beside import MIGRATES, is_clock, process_command, process_name
from .pages import UNKNOWN, Choice, choose
from .survey import Found, is_kept, is_setting
from .types import Hints, Imported

LISTEN: Final = "0.0.0.0:8000"
_SECRET: Final = re.compile(
    r"(SECRET_KEY|SECRET|COOKIE_SECRET|SESSION_SECRET|(JWT|CSRF|WTF_CSRF)_SECRET(_KEY)?|(PASSWORD_)?SALT|SIGNING_KEY|"
    r"SECRET_KEY_BASE)"
)
_PREFIXES: Final = ("", "FLASK_", "APP_", "DJANGO_", "SECURITY_", "SESSION_", "WEB_", "SITE_")
_CREDENTIAL: Final = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY|PRIVATE_KEY|ACCESS_KEY|DSN|CREDENTIAL|_KEY$")
_DATABASE: Final = re.compile(r"(DATABASE|SQLALCHEMY|POSTGRES|MYSQL|MARIADB|MONGO|(^|_)DB)\w*(URL|URI|DSN)")
_BROKER: Final = re.compile(r"(REDIS|BROKER|RABBIT|AMQP)\w*(URL|URI|HOST)$|BROKER$")
_QUEUE: Final = re.compile(r"\b(rq|celery|huey|huey_consumer|dramatiq)\b")
_DRIVERS: Final = {
    "psycopg2": "PostgreSQL",
    "psycopg": "PostgreSQL",
    "asyncpg": "PostgreSQL",
    "pg8000": "PostgreSQL",
    "pymysql": "MySQL",
    "MySQLdb": "MySQL",
    "mysql": "MySQL",
    "pymongo": "MongoDB",
    "redis": "Redis",
    "requests": "other services (requests)",
    "httpx": "other services (httpx)",
    "boto3": "AWS (boto3)",
    "elasticsearch": "Elasticsearch",
    "pymemcache": "memcached",
}
_LEAST_P95_MS: Final = 250
_MOST_RATE: Final = 50
_SHARE: Final = 0.3
_SECONDS: Final = 30
_MOST_VARIABLES: Final = 12


@dataclass(frozen=True)
class Subject:
    """What new-app was asked about. `source` is the entry's, `why` says how it is taken, `project` names the app.

    `guessed`: what the code imports, where nothing in the project says what it depends on. `is_tree`: its folder is the
    working directory on the host.
    """

    source: Json
    project: str
    why: str
    notes: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    is_tree: bool = True


@dataclass(frozen=True)
class Question:
    """What could not be known. `must`: the app cannot go live, or cannot be right, before it is answered."""

    text: str
    must: bool = False


@dataclass(frozen=True)
class Proposal:
    """`entry` is an app of headcount_apps, `comments` a reason for its keys ("load.paths"), `notes` are lines above."""

    entry: Json
    comments: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()


@dataclass
class _Draft:
    subject: Subject
    hints: Hints
    found: Found
    app: Imported
    entry: dict[str, object] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def put(self, key: str, value: Any, why: str = "") -> None:
        """Give a key of the app a value, and say why."""
        self.entry[key] = value
        if why:
            self.comments[key] = why

    def ask(self, text: str, must: bool = False) -> None:
        """Add a question."""
        self.questions.append(Question(text, must))


def propose(subject: Subject, hints: Hints, found: Found, path: str = "") -> Proposal:
    """The entry of a found app. `path` is the folder within the project that has to be on Python's path."""
    app = found.app or found.unreached
    if app is None:
        raise ValueError("there is nothing to propose where no app was found")
    draft = _Draft(subject, hints, found, app)
    choice = choose(app.pages) if found.app else UNKNOWN
    draft.notes += subject.notes
    _identity(draft)
    _profile(draft, choice)
    _paths(draft, choice)
    _variables(draft, path)
    _timeout(draft)
    _life(draft)
    return Proposal(draft.entry, draft.comments, tuple(draft.notes), tuple(draft.questions))


def name_for(text: str) -> str:
    """A name for an app from a project's: lower-case letters, digits and hyphens, as hosts take it."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    name = re.sub(r"^[^a-z]+", "", name)[:23].strip("-") or "app"
    try:
        return app_name(name)
    except Invalid as error:
        return str(error.fix) if error.fix else "app"


def _identity(draft: _Draft) -> None:
    app, subject = draft.app, draft.subject
    draft.put("name", name_for(subject.project), "names its units, its user and its folders on the host")
    draft.put("source", dict(subject.source), subject.why)
    kinds = {
        "flask": f"a Flask app with {plural(app.routes, 'route')} to GET without arguments",
        "django": f"a Django project with {plural(app.routes, 'page')} to GET without arguments",
        "dash": "a Dash app",
        "wsgi": f"a WSGI callable ({app.class_name})",
    }
    seen = f"imported here: {kinds.get(app.kind, app.kind)}" if draft.found.app else "not imported here"
    draft.put("entry_point", app.entry_point, f"{app.candidate.origin}; {seen}")
    if draft.found.app is None:
        names = [item.name for item in app.variables if re.search(r"(URL|URI|HOST|SERVER|BROKER)$", item.name)]
        how = f" Of its variables, {listed(names, 4)} may say where it is" if names else ""
        draft.ask(
            f"can the host reach {listed(list(app.peers) or ['what it calls'], 3)}? The app calls it while it is "
            f"imported ({app.error}), so that it could not be looked at here: check entry_point, health and load.{how}",
            must=True,
        )
    if subject.guessed:
        draft.ask(
            f"which versions does it need of {listed(list(subject.guessed), 6)}? Nothing in the project says what it "
            "depends on, so that its imports do: a requirements.txt is better"
        )
    listen, why = _listen(draft.hints)
    draft.put("listen", listen, why)


def _listen(hints: Hints) -> tuple[str, str]:
    port = int(hints.listen.rpartition(":")[2]) if hints.listen else 0
    if port >= 1024:
        return hints.listen, f"the address in {hints.listen_origin}"
    if port:
        return LISTEN, f"{hints.listen_origin} has port {port}, which a proxy in front usually holds"
    return LISTEN, "a guess; users, or the proxy in front, reach it here"


# -- what requests do -------------------------------------------------------------------------------------------------


def _profile(draft: _Draft, choice: Choice) -> None:
    weighed = [item for item in draft.app.weighed if item.path in choice.load or item.path == choice.health]
    drivers = list(dict.fromkeys(name for lib, name in _DRIVERS.items() if lib in draft.app.libraries))
    cpu = sum(item.cpu_ms for item in weighed)
    if not weighed or cpu <= 0:
        draft.put("profile", "mixed", "nothing could be weighed here; the weigh on the host measures it")
        return
    measured = profile_of(sum(item.wait_ms for item in weighed) / cpu)
    shown = listed([f"{item.path} {item.cpu_ms + item.wait_ms:.3g} ms" for item in weighed], 3)
    here = f"weighed on this machine, one request at a time: {shown}"
    if drivers and measured == "cpu":
        draft.put("profile", "mixed", f"it can wait for {listed(drivers, 3)}, which was out of reach here; {here}")
    else:
        draft.put("profile", measured, f"{here}; the weigh on the host measures it again")


def _paths(draft: _Draft, choice: Choice) -> None:
    _put_health(draft, choice)
    draft.comments["load.paths"] = choice.why_load
    weighed = [item.cpu_ms + item.wait_ms for item in draft.app.weighed if item.path in choice.load]
    weighed = weighed or [page.ms for page in draft.app.pages if page.path in choice.load] or [0.0]
    limits = {"p95_ms": max(_LEAST_P95_MS, math.ceil(20 * max(weighed) / 50) * 50), "error_rate": 0.01}
    _put_load(draft, choice, sum(weighed) / len(weighed), Limits(**limits))
    draft.put("limits", limits)
    draft.comments["limits.p95_ms"] = "a guess: put what your users accept"
    draft.comments["limits.error_rate"] = "the share of requests that may fail"
    for text in choice.questions:
        draft.ask(text, must=choice.nothing and draft.found.app is not None)
    draft.ask("how many requests are in flight at peak on one host? Say it with concurrency: N (else the host's most)")


def _put_health(draft: _Draft, choice: Choice) -> None:
    health: dict[str, object] = {"path": choice.health}
    if choice.health_status != 200:
        health["status"] = [choice.health_status]
    if draft.app.import_seconds > 10:
        health["boot_seconds"] = math.ceil(draft.app.import_seconds * 6 / 10) * 10
        draft.comments["health.boot_seconds"] = f"the import took {draft.app.import_seconds:.0f} s here"
    draft.put("health", health if len(health) > 1 else choice.health, choice.why_health)


def _put_load(draft: _Draft, choice: Choice, mean_ms: float, limits: Limits) -> None:
    """A load that is modest for the app, and enough for its limits."""
    paths: list[object] = [
        path if status == 200 else {"path": path, "status": [status]}
        for path, status in zip(choice.load, choice.load_status)
    ]
    rate = max(1, min(_MOST_RATE, int(_SHARE * 1000 / max(mean_ms, 1.0))))
    needed, _ = needed_requests(limits)
    seconds = max(_SECONDS, math.ceil(needed / rate))
    draft.put("load", {"paths": paths, "rate": rate, "seconds": seconds})
    draft.comments["load.rate"] = (
        f"a second; what keeps one worker busy for {_SHARE:.0%} of its time here, at most {_MOST_RATE}"
    )
    draft.comments["load.seconds"] = f"{rate * seconds} requests; the limits take at least {needed} to tell"


def _timeout(draft: _Draft) -> None:
    if draft.hints.timeout and draft.hints.timeout > 30:
        draft.put("settings", {"timeout": draft.hints.timeout}, "as the project's own Gunicorn settings have it")


# -- variables --------------------------------------------------------------------------------------------------------


def is_own_secret(name: str, project: str) -> bool:
    """Whether a variable is a secret that the app needs for itself alone, so that any random value is right.

    One of another service (AWS_SECRET_KEY) is none: its value is known elsewhere.
    """
    own = re.sub(r"[^A-Z0-9]+", "_", project.upper()).strip("_") + "_"
    return any(name.startswith(prefix) and _SECRET.fullmatch(name[len(prefix) :]) for prefix in (*_PREFIXES, own))


def _variables(draft: _Draft, path: str) -> None:
    environment = _environment(draft, path)
    secrets: dict[str, str] = {}
    for name in draft.app.required:
        _required(draft, name, environment, secrets)
    for item in draft.app.variables:
        if is_own_secret(item.name, draft.subject.project) and item.name not in {**environment, **secrets}:
            secrets[item.name] = generated(str(draft.entry["name"]), item.name)
            instead = ", instead of the default that the code shows to everybody" if item.default else ""
            draft.comments[f"secrets.{item.name}"] = _GENERATED + instead
    for key, value in (("environment", environment), ("secrets", secrets)):
        if value:
            draft.put(key, value)
    _others(draft, {**environment, **secrets}, [item.name for item in draft.app.variables])


def _environment(draft: _Draft, path: str) -> dict[str, str]:
    """What the app needs in its environment, and what its files give it that it asks for."""
    environment: dict[str, str] = {}
    if path:
        environment["PYTHONPATH"] = path
        draft.comments["environment.PYTHONPATH"] = f"its modules begin in {path}/"
    for name in draft.found.streams:
        environment[name] = "1"
        draft.comments[f"environment.{name}"] = "its files are read-only on a host: it logs to the journal with this"
    asked = {item.name for item in draft.app.variables}
    for name, (value, origin) in draft.hints.variables.items():
        if name in asked - set(environment) and _is_plain(name, value):
            environment[name] = value
            draft.comments[f"environment.{name}"] = f"as {origin} has it"
    for name, value in _database_variables(draft).items():
        if name not in {**environment, **draft.app.required}:
            environment[name] = value
            draft.comments[f"environment.{name}"] = (
                "by default a SQLite file where no host keeps one; {data} is kept; a server's address is a secret"
            )
    return environment


def _database_variable(draft: _Draft) -> str:
    return next((item.name for item in draft.app.variables if _DATABASE.search(item.name)), "")


def _database_variables(draft: _Draft) -> dict[str, str]:
    """The variables that say where its SQLite files are, by their names or by what they are by default, and where
    these files are kept."""
    found = {}
    for uri in _local_databases(draft):
        path = _path(uri)
        kept = f"{{data}}/{path.rpartition('/')[2]}"
        for item in draft.app.variables:
            if item.default in (uri, path):
                found[item.name] = f"sqlite:///{kept}" if item.default == uri else kept
    named = _database_variable(draft)
    if named and not found and _local_databases(draft):
        found[named] = f"sqlite:///{{data}}/{draft.entry['name']}.db"
    return found


def _local_databases(draft: _Draft) -> list[str]:
    """The SQLite files that it uses beside its code, as its settings or the file system name them."""
    found = [uri for uri in draft.app.databases if re.fullmatch(r"sqlite:(?!.*:memory:)//.+", uri)]
    found += [f"sqlite:///{path}" for path, kind in draft.app.written.items() if kind == "sqlite"]
    return [uri for uri in dict.fromkeys(found) if not is_kept(_path(uri))]


def _path(uri: str) -> str:
    return uri.removeprefix("sqlite:///").partition("?")[0]


def _is_plain(name: str, value: str) -> bool:
    """Whether a value can stand in the entry: a setting of the app, no credential, nothing for a shell to fill in."""
    return is_setting(name) and "$" not in value and not _CREDENTIAL.search(name)


_GENERATED: Final = "made at random by the first run and kept in that file of the controller; a vault can take it over"


def generated(app: str, name: str) -> str:
    """A template whose value is made once, at random, and kept in a file of the controller."""
    return (
        f"{{{{ lookup('ansible.builtin.password', '~/.config/headcount/secrets/{app}/{name}', "
        "length=48, chars=['ascii_letters', 'digits']) }}"
    )


def _required(draft: _Draft, name: str, environment: dict[str, str], secrets: dict[str, str]) -> None:
    """A variable that the app cannot be imported without."""
    if name in environment:
        return
    places = next((item.places for item in draft.app.variables if item.name == name), ())
    where = f" ({places[-1]})" if places else ""
    shown, origin = draft.hints.examples.get(name, ("", ""))
    if is_own_secret(name, draft.subject.project):
        secrets[name] = generated(str(draft.entry["name"]), name)
        draft.comments[f"secrets.{name}"] = f"the app does not start without it{where}; {_GENERATED}"
        return
    if shown and not _CREDENTIAL.search(name) and not _DATABASE.search(name):
        environment[name] = shown
        draft.comments[f"environment.{name}"] = (
            f"the app does not start without it{where}; the value is that of {origin}"
        )
        return
    variable = f"vault_{re.sub(r'[^a-z0-9]+', '_', str(draft.entry['name']))}_{name.lower()}"
    secrets[name] = f"{{{{ {variable} }}}}"
    draft.comments[f"secrets.{name}"] = f"the app does not start without it{where}"
    draft.ask(
        f"what is {name}? The app does not start without it{where}: set {variable}, or write the value here", must=True
    )


def _others(draft: _Draft, given: Mapping[str, str], asked: Sequence[str]) -> None:
    """The variables that the code asks for beside those of the entry."""
    names = [name for name in asked if name not in given]
    if names:
        draft.notes.append(
            f"The code also asks for these variables, and does without: {listed(names, _MOST_VARIABLES)}"
        )


# -- an app's life ----------------------------------------------------------------------------------------------------


def _life(draft: _Draft) -> None:
    """Its data, commands, further processes and peers."""
    _data(draft)
    _prepare(draft)
    _processes(draft)
    if draft.found.app:
        _seen(draft, draft.found.app)


def _prepare(draft: _Draft) -> None:
    """Commands before a release is started."""
    hints = draft.hints
    said = {command.run: command.origin for command in hints.prepares}
    for folder, command in hints.migrations:
        if not command and not said:
            draft.ask(f"{folder}/ holds migrations: which command runs them? Name it in prepare")
        elif command and not any(MIGRATES.search(run) for run in said):
            said[command] = f"{folder}/ holds migrations"
    if said and draft.subject.is_tree:
        here = _keeps_own_database(draft)
        draft.put("prepare", [{"run": run, "each_host": True} if here else run for run in said])
        origins = listed(list(dict.fromkeys(said.values())), 2)
        where = ", on each host, as its database is a file there" if here else ""
        draft.comments["prepare"] = f"before a new release is started{where}: {origins}"
    elif said:
        draft.ask(
            f"does {listed(list(said), 3)} work with what is installed of the project (a folder of migrations beside "
            "its package is not)? Then name it in prepare: a rollout runs nothing of its own accord"
        )
    for unknown in hints.before:
        draft.ask(
            f"{unknown.origin} runs `{unknown.run}` before the server: what for? A release is read-only on a host. "
            "What it makes of the code is made before the project is released; what is for {data} is named in prepare"
        )


def _keeps_own_database(draft: _Draft) -> bool:
    """Whether its database is a SQLite file of each host that no variable of the entry names."""
    local = any(re.fullmatch(r"sqlite:(?!.*:memory:)//.+", uri) for uri in draft.app.databases)
    named = [str(value) for key in ("environment", "secrets") for value in _mapping(draft.entry.get(key)).values()]
    return (local or "sqlite" in draft.app.written.values()) and not any(value.startswith("sqlite:") for value in named)


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _processes(draft: _Draft) -> None:
    """Further processes of the release."""
    found: dict[str, object] = {}
    broker = _unknown_broker(draft)
    for process in draft.hints.processes:
        name, command = process_name(process.name), process_command(process.command)
        if broker and _QUEUE.search(command):
            draft.ask(
                f"where is the queue of `{command}` ({process.origin})? Nothing says {broker}, and a process that does "
                f"not reach it ends the rollout: set it under secrets, and add processes: {{{name}: {command}}}"
            )
            continue
        found[name] = command
        once = (
            "; one for the whole fleet: headcount_app_overrides takes it from the others" if is_clock(process) else ""
        )
        draft.comments[f"processes.{name}"] = f"{process.origin}{once}"
    if found:
        draft.put("processes", found, "128 MiB for each, unless it says memory_mib: run, memory_mib, instances")
    if draft.hints.processes:
        return
    queues = [name for name in ("celery", "rq", "huey", "dramatiq") if name in draft.app.libraries]
    if queues:
        draft.ask(f"what runs its tasks? The app imports {listed(queues, 2)}: name its workers in processes")


def _unknown_broker(draft: _Draft) -> str:
    """The variable that says where its queue is, where the entry gives none of them a value; "" otherwise."""
    names = [item.name for item in draft.app.variables if _BROKER.search(item.name)]
    given = {name for key in ("environment", "secrets") for name in _mapping(draft.entry.get(key))}
    return names[0] if names and not given & set(names) else ""


def _data(draft: _Draft) -> None:
    """What it writes, and which database it uses."""
    app, environment = draft.app, draft.entry.get("environment")
    given = {*app.required, *(environment if isinstance(environment, dict) else ())}
    local, database = _local_databases(draft), _database_variable(draft)
    if isinstance(environment, dict) and set(environment) & set(_database_variables(draft)):
        local = []
    paths = [path for path in draft.found.leads if local or app.written.get(path) != "sqlite"]
    paths += _beside(draft, [_path(uri) for uri in local if not _is_below(_path(uri), paths)])
    if paths:
        why = "it writes there, beside its code, which is read-only on a host; so it leads to the app's data"
        draft.put("data", {"paths": paths}, why)
    _written(draft, paths)
    _homeless(draft, local, paths)
    if not local and database and database not in given:
        draft.ask(f"which database is it to use? The code reads {database}: put it under secrets")


def _homeless(draft: _Draft, local: Sequence[str], paths: Sequence[str]) -> None:
    """Asks about the database files of `local` that no host keeps: `paths` are those that lead into the app's data."""
    lost = [uri for uri in local if _path(uri).startswith(("/tmp/", "/var/tmp/", "/dev/shm/"))]
    left = [uri for uri in local if uri not in lost and not _is_below(_path(uri), paths)]
    if lost:
        draft.ask(
            f"where is it to keep its database? {listed(lost, 2)} is lost with each generation: lead it into the app's "
            "data by its settings (`{data}` in environment), or say that it may be lost: data: {scratch: [...]}",
            must=True,
        )
    if left:
        draft.ask(
            f"where is it to keep its database? {listed(left, 2)} is nothing that a host keeps: name it in data.paths, "
            "or have its settings name a file in `{data}` or a database server"
        )


def _beside(draft: _Draft, paths: Sequence[str]) -> list[str]:
    """Database files beside the code, which nothing has opened here; of a package it is not known where they are."""
    return [path for path in paths if not path.startswith("/") and (draft.subject.is_tree or "/" in path)]


def _is_below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


def _written(draft: _Draft, paths: Sequence[str]) -> None:
    """What it writes into its own folder, and what of that has no place."""
    inside = [path for path in draft.app.written if not path.startswith("/") and not is_kept(path)]
    left = [path for path in inside if not _is_below(path, paths) and not _is_below(f"{path}/", paths)]
    if draft.found.writes and (left or not any(map(is_kept, draft.app.written))):
        draft.ask(
            f"where is it to write {listed(left or ['its files'], 4)}? It does so while it is imported, and a "
            f"release is read-only on a host{_where(draft)}: let it log to standard error, and name in data.paths what "
            "it keeps",
            must=True,
        )
    elif left and not draft.found.writes:
        draft.ask(
            f"it tries to write {listed(left, 4)} into its own folder, which is read-only on a host, and goes on "
            "without: is that right?"
        )


def _seen(draft: _Draft, app: Imported) -> None:
    """What it did and how it is set, as it was imported here."""
    peers = [peer for peer in app.peers if not peer.startswith(("/dev/", "localhost:80", "/run/systemd"))]
    if peers:
        draft.ask(f"it called {listed(peers, 4)} here, where nothing was to be reached: can the host reach it?")
    if app.other_host not in (None, 200):
        draft.ask(
            f"which names do users ask for? It answers {app.other_host} to any but localhost, which Headcount asks for "
            "(ALLOWED_HOSTS of Django, SERVER_NAME or TRUSTED_HOSTS of Flask)"
        )
    if app.debug:
        draft.ask("it runs in debug mode here, which shows its code to users when a page fails: what turns that off?")
    if app.has_secret_key is False and app.kind == "django":
        draft.ask("its SECRET_KEY is the one that startproject wrote into the code: where does a secret one come from?")
    if app.has_secret_key is False and app.kind == "flask":
        draft.ask("it sets no SECRET_KEY, so that sessions and flashed messages fail: is none needed?")


def _where(draft: _Draft) -> str:
    causes = [error for _, error in draft.found.failed if error.where]
    return f" ({causes[-1].where})" if causes else ""


def questions_text(questions: Sequence[Question]) -> list[str]:
    """The questions as lines, those that must be answered first."""
    ordered = sorted(questions, key=lambda item: not item.must)
    return [f"{'QUESTION, to be answered first' if item.must else 'QUESTION'}: {item.text}" for item in ordered]
