# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The entry that is proposed for an app, with a reason for each value, and what could not be known. Pure, but for
which packages this machine has."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

from ...module_utils._declaration.app import Limits
from ...module_utils._declaration.checks import app_name
from ...module_utils._declaration.fields import Invalid
from ...module_utils._declaration.profiles import profile_of
from ...module_utils._declaration.shortfall import needed_requests
from ...module_utils._release.runstwice import notes as runs_twice
from ...module_utils._release.runstwice import one_worker
from .._display.text import listed, plural, visible
from . import machine, outside, peers
from .beside import is_clock, not_on_a_host, process_command, process_name
from .defaults import ask_about_defaults, kept_variables, places_of_users, settings_file
from .draft import Draft, Proposal, Question, Subject, mapping
from .imports import distribution_of, guessed, words
from .inside.asking import LOCAL
from .pages import UNKNOWN, Choice, choose, unknown_by_name
from .prepared import is_below, prepare
from .survey import Found, is_kept
from .types import Hints, Imported
from .variables import database_variable, database_variables, local_databases, path_of, put_variables

LISTEN: Final = "0.0.0.0:8000"
_BROKER: Final = re.compile(r"(REDIS|BROKER|RABBIT|AMQP)\w*(URL|URI|HOST)$|BROKER$")
_QUEUE: Final = re.compile(r"\b(rq|celery|huey|huey_consumer|dramatiq)\b")
_LEAST_P95_MS: Final = 250
_MOST_P95_MS: Final = 2000
"""A limit that is a guess is no longer than users may be thought to wait."""
_MOST_RATE: Final = 50
_SHARE: Final = 0.3
_SECONDS: Final = 30


def propose(subject: Subject, hints: Hints, found: Found, path: str = "") -> Proposal:
    """The entry of a found app. `path` is the folder within the project that has to be on Python's path."""
    app = found.app or found.unreached
    if app is None:
        raise ValueError("there is nothing to propose where no app was found")
    draft = Draft(subject, hints, found, app)
    pages = [unknown_by_name(page) for page in app.pages] if app.kind == "django" else app.pages
    alone = not peers.called(app) and not outside.pages(draft)
    choice = choose(pages, alone) if found.app else UNKNOWN
    draft.notes += subject.notes
    _identity(draft)
    _profile(draft, choice)
    _paths(draft, choice)
    put_variables(draft, path)
    _settings(draft)
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


def _identity(draft: Draft) -> None:
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
    seen = f"{seen}, so that its files alone decided" if draft.found.cannot else seen
    draft.put("entry_point", app.entry_point, f"{app.candidate.origin}; {seen}")
    if draft.found.app is None:
        _not_looked_at(draft)
    if subject.guessed:
        doubtful = guessed(subject.guessed)
        doubt = f"; {words(doubtful)}" if doubtful else ""
        draft.ask(
            f"which versions does it need of {listed(list(subject.guessed), 6)}? No file that pip, uv, poetry, pdm "
            f"or pipenv would read says what it depends on, so that its imports do{doubt}: a requirements.txt is better"
        )
    _compiled(draft)
    known = draft.hints.django
    if app.kind == "django" and known.elsewhere:
        others = listed(sorted(name.rpartition("/")[0] or "the top" for name in known.elsewhere), 8)
        draft.ask(
            f"which Django project is it? {known.manage} was taken, and {others} "
            f"{'has' if len(known.elsewhere) == 1 else 'have'} another one: --subdirectory names it"
        )
    listen, why = _listen(draft.hints)
    draft.put("listen", listen, why)


_BARE: Final = re.compile(
    r"(charset-normalizer|coverage|markupsafe|msgpack|pymongo|pyyaml|simplejson|sqlalchemy|tornado|websockets|wrapt|"
    r"zope-interface) "
)
"""What is built without a compiler as well, and is slower then."""


def _compiled(draft: Draft) -> None:
    """Asks about dependencies that have no wheel and were compiled here."""
    compiled = sorted(draft.subject.compiled, key=lambda text: bool(_BARE.match(text)))
    needs = [text for text in compiled if not _BARE.match(text)]
    if compiled:
        bare = "" if needs else ", or they are slower without"
        draft.ask(
            f"is there a compiler where it is released? {listed(compiled, 4)}: no wheel fits this Python, so that it "
            "was compiled here, and a rollout has it compiled on one host of each platform. Each of those needs gcc "
            f"and python3-dev (and the libraries that it is made with, which all hosts need to run it){bare}: let what "
            "sets the hosts up install them, or pin a version that has wheels",
            must=bool(needs),
        )


def _not_looked_at(draft: Draft) -> None:
    """Asks about what a look at the app would have shown."""
    app, error = draft.app, draft.app.error
    if draft.found.again:
        text = (
            f"what is its entry_point, and which pages do users ask for? It {draft.found.again}, or answer it here by "
            "hand; nothing of the project was found wrong"
        )
    elif draft.found.cannot:
        text = (
            "what is its entry_point, and which pages do users ask for? It could not be looked at to the end: "
            f"{draft.found.cannot.rstrip('.')}. Put that right and call new-app again, or answer it here by hand"
        )
    elif error is not None and error.late:
        text = (
            f"what does its import wait for? Here, without a network, {error.message}, so that it could not be looked "
            "at: check entry_point, health and load. A host waits as long as health.boot_seconds says"
        )
    else:
        names = [item.name for item in app.variables if re.search(r"(URL|URI|HOST|SERVER|BROKER)$", item.name)]
        how = f" Of its variables, {listed(names, 4)} may say where it is" if names else ""
        said = textwrap.shorten(str(error), 200, placeholder=" ...")
        text = (
            f"can the host reach {listed(list(app.peers) or ['what it calls'], 3)}? The app calls it while it is "
            f"imported ({said}), so that it could not be looked at here: check entry_point, health and load.{how}"
        )
    draft.ask(text, must=True)


def _listen(hints: Hints) -> tuple[str, str]:
    port = int(hints.listen.rpartition(":")[2]) if hints.listen else 0
    if port >= 1024:
        return hints.listen, f"the address in {hints.listen_origin}"
    if port:
        return LISTEN, f"{hints.listen_origin} has port {port}, which a proxy in front usually holds"
    return LISTEN, "a guess; users, or the proxy in front, reach it here"


# -- what requests do -------------------------------------------------------------------------------------------------


def _profile(draft: Draft, choice: Choice) -> None:
    weighed = [item for item in draft.app.weighed if item.path in choice.load or item.path == choice.health]
    drivers = peers.drivers(draft.app)
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


def _paths(draft: Draft, choice: Choice) -> None:
    if draft.found.app is not None and draft.app.is_bare:
        draft.ask(
            f"what gives the app its pages? {draft.app.entry_point} answers to no address: let entry_point name what "
            "puts it together, a factory mostly",
            must=True,
        )
    _put_health(draft, choice)
    draft.comments["load.paths"] = choice.why_load
    weighed = [item.cpu_ms + item.wait_ms for item in draft.app.weighed if item.path in choice.load]
    weighed = weighed or [page.ms for page in draft.app.pages if page.path in choice.load] or [0.0]
    guess = max(_LEAST_P95_MS, math.ceil(20 * max(weighed) / 50) * 50)
    limits = {"p95_ms": min(_MOST_P95_MS, guess), "error_rate": 0.01}
    _put_load(draft, choice, sum(weighed) / len(weighed), Limits(**limits))
    draft.put("limits", limits)
    draft.comments["limits.p95_ms"] = "a guess: put what your users accept"
    if guess > _MOST_P95_MS:
        draft.ask(
            f"how long may users wait? One request of {listed(list(choice.load), 4)} takes up to {max(weighed):.0f} ms "
            f"here, with nobody beside it, and limits.p95_ms is {_MOST_P95_MS}, the longest that is guessed: put what "
            "they accept, or take what is slow out of load.paths",
            must=max(weighed) > _MOST_P95_MS / 2,
        )
    draft.comments["limits.error_rate"] = "the share of requests that may fail"
    lacking = outside.pages(draft)
    for text in choice.questions if len(lacking) < len(draft.app.pages) or not lacking else ():
        draft.ask(text, must=choice.nothing and draft.found.app is not None)
    if choice.broken:
        draft.ask(choice.broken, must=True)
    draft.notes.append(
        "It is planned for as many requests at a time as a host takes; concurrency: N says how many there are at peak."
    )


def _put_health(draft: Draft, choice: Choice) -> None:
    health: dict[str, object] = {"path": choice.health}
    if choice.health_status != 200:
        health["status"] = [choice.health_status]
    if draft.app.import_seconds > 10:
        health["boot_seconds"] = math.ceil(draft.app.import_seconds * 6 / 10) * 10
        draft.comments["health.boot_seconds"] = f"the import took {draft.app.import_seconds:.0f} s here"
    draft.put("health", health if len(health) > 1 else choice.health, choice.why_health)


def _put_load(draft: Draft, choice: Choice, mean_ms: float, limits: Limits) -> None:
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


def _settings(draft: Draft) -> None:
    """What the plan would decide otherwise than the project needs it."""
    settings: dict[str, object] = {}
    there = draft.subject.there
    loaded = draft.app.libraries & there.modules if there else draft.app.libraries
    installed = [distribution_of(name) for name in loaded]
    why = one_worker(installed)
    if why:
        settings["workers"] = 1
        draft.comments["settings.workers"] = why
    for text in runs_twice(installed, 1):
        draft.ask(f"is it right that its jobs run in candidates too? {text}")
    if draft.hints.timeout and draft.hints.timeout > 30:
        settings["timeout"] = draft.hints.timeout
        draft.comments["settings.timeout"] = "as the project's own Gunicorn settings have it"
    if settings:
        draft.put("settings", settings)


# -- an app's life ----------------------------------------------------------------------------------------------------


def _life(draft: Draft) -> None:
    """Its data, commands, further processes and peers."""
    _data(draft)
    prepare(draft)
    _processes(draft)
    for name, hooks in draft.hints.hooks.items():
        draft.ask(
            f"are the hooks of {name} needed ({listed(list(hooks), 4)})? The plan writes Gunicorn's settings, and "
            "reads no file of the project for them: gunicorn: {hooks: FILE} takes hooks from a file of the controller, "
            "which has nothing else in it"
        )
    ask_about_defaults(draft)
    if draft.found.app:
        _seen(draft, draft.found.app)


def _processes(draft: Draft) -> None:
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
        why = draft.missing(command) or not_on_a_host(command)
        if why:
            draft.ask(
                f"what runs the process {name} ({process.origin})? It is `{command}` there, and {why}: name under "
                "processes what is there"
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


def _unknown_broker(draft: Draft) -> str:
    """The variable that says where its queue is, where the entry gives none of them a value; "" otherwise."""
    names = [item.name for item in draft.app.variables if _BROKER.search(item.name)]
    given = {name for key in ("environment", "secrets") for name in mapping(draft.entry.get(key))}
    return names[0] if names and not given & set(names) else ""


def _data(draft: Draft) -> None:
    """What it writes, and which database it uses."""
    app, environment = draft.app, draft.entry.get("environment")
    given = {*app.required, *mapping(environment), *mapping(draft.entry.get("secrets"))}
    local, database = local_databases(draft), database_variable(draft)
    led: list[str] = []
    if isinstance(environment, dict) and set(environment) & set(database_variables(draft)):
        local, led = [], [path_of(uri) for uri in local]
    paths = [path for path in draft.found.leads if local or app.written.get(path) != "sqlite"]
    led_by_now = [*paths, *draft.found.anew]
    paths += _beside(draft, [path_of(uri) for uri in local if not is_below(path_of(uri), led_by_now)])
    users = places_of_users(draft, [*paths, *draft.found.anew])
    paths += users
    _put_data(draft, paths, users)
    _written(draft, [*paths, *led], [path_of(uri) for uri in local])
    outside.ask(draft)
    _homeless(draft, local, paths)
    if not local and database and database not in given:
        kept = (
            f', or a file that is kept under environment: {{{database}: "sqlite:///{{data}}/{draft.entry["name"]}.db"}}'
        )
        servers = {"PostgreSQL", "MySQL", "MongoDB"} & set(peers.drivers(app))
        file = kept if not servers or app.libraries & _TAKE_SQLITE else ""
        draft.ask(
            f"which database is it to use? The code reads {database}, and nothing says where that of a host is: put "
            f"the address of a server under secrets{file}",
            must=True,
        )


_TAKE_SQLITE: Final = frozenset(
    {"sqlite3", "sqlalchemy", "django", "peewee", "pony", "tortoise", "databases", "dataset", "alembic"}
)
"""Libraries by which an app may have a file for its database."""


def _put_data(draft: Draft, paths: Sequence[str], users: Mapping[str, str]) -> None:
    """What of its data is declared: `paths` lead there, and folders that have to be there. `users`: those of the paths
    that settings name for what users send, with these."""
    environment = mapping(draft.entry.get("environment"))
    led = {name: value for name, value in kept_variables(draft).items() if environment.get(name) == value.rstrip("/")}
    made = [value.removeprefix("{data}/").rstrip("/") for value in led.values() if value.endswith("/")]
    built = [folder.rstrip("/") for folder in draft.found.anew]
    kept = {"paths": list(paths), "folders": list(dict.fromkeys([*draft.found.folders, *made])), "built": built}
    why = {
        "paths": _why_kept(paths, users),
        "folders": "made before its first start; kept",
        "built": f"it makes links into its own release in {listed([_with_place(draft, name) for name in built], 3)}: "
        "each generation has its own folder there, which goes with it",
    }
    declared = {key: value for key, value in kept.items() if value}
    if declared:
        draft.put("data", declared)
        draft.comments.update({f"data.{key}": why[key] for key in declared})


def _why_kept(paths: Sequence[str], users: Mapping[str, str]) -> str:
    """Why `paths` of the project lead to the app's data; `users`: as for _put_data."""
    whys = ["it writes there"] if len(users) < len(paths) else []
    if users:
        whys.append(f"its settings name that for users' files ({listed(list(users.values()), 3)})")
    return f"{', or '.join(whys)}, beside its code, which is read-only on a host; so it leads to the app's data"


def _homeless(draft: Draft, local: Sequence[str], paths: Sequence[str]) -> None:
    """Asks about the database files of `local` that no host keeps: `paths` are those that lead into the app's data.
    One in the folder that a package runs in is asked about with what else is written there."""
    app = draft.app
    lost = [uri for uri in local if path_of(uri).startswith(("/tmp/", "/var/tmp/", "/dev/shm/"))]
    left = [uri for uri in local if uri not in lost and not is_below(path_of(uri), paths)]
    left = [uri for uri in left if not path_of(uri).startswith("./")]
    if lost:
        draft.ask(
            f"where is it to keep its database? {listed(lost, 2)} is lost with each generation: lead it into the app's "
            f"data by {settings_file(app.variables, ()) or 'its settings'} (`{{data}}` in environment), or say that it "
            "may be lost: data: {scratch: [...]}",
            must=True,
        )
    if left:
        draft.ask(
            f"where is it to keep its database? {listed(left, 2)} is nothing that a host keeps: name it in data.paths, "
            "or have its settings name a file in `{data}` or a database server",
            must=True,
        )


def _with_place(draft: Draft, path: str) -> str:
    """A path with the line of the code that writes there, or to what is in it."""
    below = f"{path.rstrip('/')}/"
    at = next((at for name, at in draft.app.written_at.items() if at and f"{name}/".startswith(below)), "")
    return f"{path} ({at})" if at else path


def _beside(draft: Draft, paths: Sequence[str]) -> list[str]:
    """Database files beside the code, which nothing has opened here; none in the folder that a package runs in, where
    data.paths leads nothing."""
    inside = [path for path in paths if not path.startswith(("/", "./", "../"))]
    return [path for path in inside if draft.subject.is_tree or "/" in path]


def _written(draft: Draft, paths: Sequence[str], databases: Sequence[str]) -> None:
    """What it writes into its own folder, and what of that has no place: `paths` lead to the data. `databases`: files
    that it uses, whether it has opened them here or not."""
    inside = [path for path in draft.app.written if not path.startswith("/") and not is_kept(path)]
    beside = [path for path in inside if not path.startswith("./")]
    running = [path for path in (*inside, *databases) if path.startswith("./") and path not in paths]
    if running:
        _into_working_folder(draft, list(dict.fromkeys(running)), any(path in databases for path in running))
    if beside or not inside:
        _beside_its_code(draft, beside, paths)


def _beside_its_code(draft: Draft, inside: Sequence[str], paths: Sequence[str]) -> None:
    """The same of what is `inside` the folder of its code."""
    places = [*paths, *draft.found.anew]
    left = [path for path in inside if not is_below(path, places) and not is_below(f"{path}/", places)]
    shown = [_with_place(draft, path) for path in left]
    if draft.found.writes and (left or not (draft.found.anew or any(map(is_kept, draft.app.written)))):
        where = "" if shown != left else _where(draft)
        draft.ask(
            f"where is it to write {listed(shown or ['its files'], 4)}? It does so while it is imported, and a "
            f"release is read-only on a host{where}: let it log to standard error, and name in data.paths what "
            "it keeps",
            must=True,
        )
    elif left and not draft.found.writes:
        draft.ask(
            f"it tries to write {listed(shown, 4)} into its own folder, which is read-only on a host, and goes on "
            "without: is that right?"
        )


def _into_working_folder(draft: Draft, paths: Sequence[str], database: bool) -> None:
    """Asks about what a package writes into the folder that it runs in, where data.paths leads nothing; `database`:
    one is among that."""
    does = "does so while it is imported" if draft.found.writes else "goes on without"
    does = "has its database there" if database else does
    names = [path.removeprefix("./") for path in paths]
    draft.ask(
        f"where is it to write {listed(names, 4)}? It names no folder for that, so that it would be the one that "
        f"it runs in, which is read-only on a host, and {does}{_where(draft)}: have "
        f"{settings_file(draft.app.variables, ()) or 'its settings'} name a folder in the app's data (`{{data}}`, "
        "data.folders), or take the project as it is (source.as: tree), with it in data.paths",
        must=draft.found.writes or database,
    )


def _names(draft: Draft, app: Imported) -> None:
    """The name that it was asked by here, whether by https, and the question by which ones users will."""
    if app.https:
        draft.put(
            "scheme",
            "https",
            "its pages lead to https of themselves, so that checks and load ask as a proxy does that takes https off; "
            "one on another machine has to be in gunicorn: {forwarded_allow_ips: ...}",
        )
    insisting = [page.path for page in app.pages if page.insists]
    if insisting:
        draft.ask(
            f"how is it told that a proxy takes https off? {listed(insisting, 3)} leads to https of itself, with "
            "X-Forwarded-Proto: https as without (SECURE_PROXY_SSL_HEADER of Django): let its settings take that "
            "header, and put scheme: https"
        )
    if app.host not in ("", LOCAL):
        draft.put("host", app.host, "the first name that its settings allow; checks and load ask for it, as users do")
    if app.kind == "django" and app.pages and all(page.status == 400 for page in app.pages):
        draft.ask(
            f"which names do users ask for? It answers 400 to {app.host or LOCAL}: give its ALLOWED_HOSTS one, and "
            "name it in host, by which checks and load ask then",
            must=True,
        )
    elif app.other_host is not None:
        draft.ask(
            f"which names do users ask for? It answers {app.other_host} to any but {app.host or LOCAL}, which "
            "Headcount asks for (ALLOWED_HOSTS of Django, SERVER_NAME or TRUSTED_HOSTS of Flask; host in its entry)",
            must=app.other_host == 400 and app.host in ("", LOCAL),  # which is the name of no user
        )


def _seen(draft: Draft, app: Imported) -> None:
    """What it did and how it is set, as it was imported here."""
    peers.ask(draft, app)
    draft.questions += machine.questions(app.machine)
    _names(draft, app)
    if app.debug:
        asked = [item.name for item in app.variables if item.name.endswith("DEBUG")]
        how = f" Its code asks for {listed(asked, 2)}" if asked else ""
        draft.ask(
            f"it runs in debug mode here, which shows its code to users when a page fails: what turns that off?{how}"
        )
    _told_by_the_code(draft, app)
    made = any(name.endswith("SECRET_KEY") for name in mapping(draft.entry.get("secrets")))
    if app.has_secret_key is False and app.kind == "django" and not made:
        draft.ask("its SECRET_KEY is the one that startproject wrote into the code: where does a secret one come from?")
    if app.has_secret_key is False and app.kind == "flask" and draft.hints.sessions and not made:
        draft.ask(
            f"where does its SECRET_KEY come from? It sets none, and {listed(list(draft.hints.sessions), 3)} uses the "
            'session, which fails without one: what the code reads as os.environ["SECRET_KEY"] is made here by itself'
        )


def _told_by_the_code(draft: Draft, app: Imported) -> None:
    """Asks about secrets that are written into the code."""
    told = {item.name for item in app.variables}  # what the environment says goes before what the code says
    if app.has_secret_key is False and app.kind == "django":
        told.add("SECRET_KEY")
    found = [f"{name} ({place})" for name, place in draft.hints.written if name not in told]
    if found:
        files = draft.hints.instance_files
        elsewhere = f". {files[0]} in its instance folder ({{data}}/instance) may say it as well" if files else ""
        draft.ask(
            f"where else can what is secret come from than from the code, where {listed(found, 5)} is written? All who "
            'have the code know it, and each release holds it. What the code reads as os.environ["NAME"] is set with '
            f"secrets: {{NAME: ...}}{elsewhere}"
        )


def _where(draft: Draft) -> str:
    causes = [error for _, error in draft.found.failed if error.where]
    return f" ({causes[-1].where})" if causes else ""


def questions_text(questions: Sequence[Question]) -> list[str]:
    """The questions as lines, those that must be answered first."""
    ordered = sorted(questions, key=lambda item: not item.must)
    words = {True: "QUESTION, to be answered first", False: "QUESTION"}
    return [f"{words[item.must]}: {visible(item.text)}" for item in ordered]
