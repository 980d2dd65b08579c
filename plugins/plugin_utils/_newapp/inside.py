# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The program that imports a project in a sandbox, asks it for its pages, and writes down what it saw.

It runs with the project's own Python and imports nothing but the standard library: `python -I inside.py ASKED.json`.
ASKED.json holds `root` (the working directory), `paths` (of modules, first ones first), `project` (folders whose code
counts as the project's own), `module`, `target` (a callable or a call; empty: it is looked for as Flask does),
`result` (where the answer goes, as JSON) and the bounds `import_seconds`, `ask_seconds`, `weigh_seconds`, `memory_mib`.
The answer is written after each stage, so that a project that hangs in one is known up to there.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import os
import re
import resource
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

MIB = 1 << 20
FLASK_NAMES = ("app", "application")
FLASK_FACTORIES = ("create_app", "make_app")
MOST_ASKED = 60
MOST_BYTES = MIB
PATH_SECONDS = 5.0
USUAL_PATHS = ("/", "/healthz", "/health", "/ping", "/status")
# What changes something, or ends something, although it is asked for with GET.
NOT_ASKED = re.compile(
    r"(^|[/_.-])(static|admin|logout|log_?out|sign_?out|delete|remove|destroy|reset|shutdown|kill|quit|stop|drop|"
    r"unsubscribe|debug|download|export|callback|seed|init|setup|install|migrate)([/_.-]|$)",
    re.IGNORECASE,
)
# Libraries that read the environment in the project's place.
READERS = ("decouple", "environs", "environ", "dotenv", "starlette", "dynaconf", "envparse", "prettyconf")
# What belongs to the machine, to Python or to a framework, and is no setting of the project.
NOT_SETTINGS = re.compile(
    r"(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TERM|PWD|TMPDIR|TEMP|TMP|HOSTNAME|PYTHON.*|NO_COLOR|VIRTUAL_ENV|"
    r"FLASK_DEBUG|FLASK_RUN_.*|FLASK_SKIP_DOTENV|FLASK_APP|FLASK_ENV|WERKZEUG_.*|DJANGO_SETTINGS_MODULE|PYTEST.*|"
    r"SERVER_SOFTWARE|GUNICORN_.*|XDG_.*|DISPLAY|COLUMNS|LINES|APPDATA|LOCALAPPDATA|PROGRAMDATA|COMSPEC|.*_proxy)$"
)


class Serves(Exception):
    """The module opens a port of its own while it is imported."""


class NotFound(Exception):
    """The module holds no WSGI callable. The message says what it holds instead."""


class TooLong(BaseException):
    """A step took longer than it may. No error of the project's, so that it is not caught as one."""


# -- what the project does -------------------------------------------------------------------------------------------


class Seen:
    """What the project did: variables it asked for, files it wrote, peers it called."""

    def __init__(self, project: Iterable[str]) -> None:
        self.project = tuple(os.path.realpath(folder) + os.sep for folder in project)
        self.variables: dict[str, dict[str, Any]] = {}
        self.written: dict[str, str] = {}
        self.peers: dict[str, None] = {}
        self.stage = "import"
        self.result = ""

    def is_own(self, filename: str) -> bool:
        """Whether code of this file is the project's own."""
        return not filename.startswith("<") and os.path.realpath(filename).startswith(self.project)

    def place(self, frame: FrameType | None) -> str | None:
        """FILE:LINE of the project's own code that asks from `frame`, by itself or through a reader of settings."""
        for _ in range(16):
            if frame is None:
                return None
            filename = frame.f_code.co_filename
            if self.is_own(filename):
                return f"{os.path.realpath(filename)}:{frame.f_lineno}"
            name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if name not in (*READERS, "os", "_collections_abc", "collections", "functools", "typing", "__main__"):
                return None
            frame = frame.f_back
        return None

    def asked(self, name: object, there: bool, default: object) -> None:
        """Note a variable that was asked for; `default` is Ellipsis where none was named."""
        if not isinstance(name, str) or NOT_SETTINGS.match(name):
            return
        place = self.place(sys._getframe(2))
        if place is None:
            return
        known = self.variables.setdefault(name, {"places": [], "default": None, "there": there, "bare": False})
        known["bare"] = known["bare"] or (default is ... and not there)
        if place not in known["places"]:
            known["places"] = [*known["places"], place][:8]
        if isinstance(default, (str, int, float, bool)) and known["default"] is None:
            known["default"] = str(default)

    def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        """An audit event of Python."""
        if name in ("open", "os.mkdir", "sqlite3.connect"):
            self._file(name, arguments)
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

    def _file(self, name: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[0]
        if name == "open":
            mode, flags = arguments[1], arguments[2]
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else False
            writes = writes or bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if not writes:
                return
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        text = os.fsdecode(path)
        if not text or text == ":memory:" or text.startswith(("file::memory:", "/dev/", "/proc/")):
            return
        if "__pycache__" in text or text.startswith(self.result):
            return
        kind = {"open": "file", "os.mkdir": "folder", "sqlite3.connect": "sqlite"}[name]
        if len(self.written) < 200:
            self.written.setdefault(os.path.abspath(text.removeprefix("file:")), kind)


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
    os.environ = watched

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("open", "os.mkdir", "sqlite3.connect", "socket.bind", "socket.connect", "socket.getaddrinfo"):
            seen.event(name, arguments)

    sys.addaudithook(hook)


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Raise TooLong in this block once `seconds` are over."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"{what} took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.01, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- the callable ----------------------------------------------------------------------------------------------------


def kind_of(thing: object) -> str:
    """What an object of a module is: flask, django, dash, wsgi, asgi, or "" for anything else."""
    if isinstance(thing, type) or inspect.ismodule(thing):
        return ""
    names = {f"{item.__module__}.{item.__qualname__}" for item in type(thing).__mro__}
    if "flask.app.Flask" in names:
        return "flask"
    if "django.core.handlers.wsgi.WSGIHandler" in names:
        return "django"
    if "dash.dash.Dash" in names:
        return "dash"
    modules = {name.partition(".")[0] for name in names}
    if modules & {"starlette", "fastapi", "quart", "sanic", "litestar", "channels"} or "asgi" in str(names).lower():
        return "asgi"
    return "wsgi" if callable(thing) and takes_two(thing) else ""


def takes_two(thing: Callable[..., object]) -> bool:
    """Whether a callable has the two arguments of WSGI, by position, needs no more, and is no coroutine."""
    if inspect.iscoroutinefunction(thing) or inspect.iscoroutinefunction(getattr(type(thing), "__call__", None)):
        return False
    try:
        parameters = list(inspect.signature(thing).parameters.values())
    except (TypeError, ValueError):
        return False
    usual = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    placed = [item for item in parameters if item.kind in usual]
    needed = [item for item in placed if item.default is item.empty]
    return len(placed) >= 2 and len(needed) <= 2


def find(module: ModuleType, target: str) -> tuple[str, Any]:
    """The callable that `target` names, or the one that Flask would take: (how Gunicorn calls it, the object)."""
    if target:
        return named(module, target)
    space = vars(module)
    for name in FLASK_NAMES:
        if kind_of(space.get(name)) in ("flask", "django", "wsgi"):
            return name, space[name]
    flasks = {id(value): name for name, value in space.items() if kind_of(value) == "flask"}
    if len(flasks) == 1:
        (name,) = flasks.values()
        return name, space[name]
    if len(flasks) > 1:
        raise NotFound(f"it holds several Flask apps: {', '.join(sorted(flasks.values()))}")
    for name in FLASK_FACTORIES:
        if inspect.isfunction(space.get(name)):
            return named(module, f"{name}()")
    for name, value in space.items():
        if kind_of(value) == "dash":
            return dash(name, value)
    for name in (*FLASK_NAMES, *space):
        if kind_of(space.get(name)) == "asgi":
            raise NotFound(f"{name} is an ASGI app ({type(space[name]).__module__}), and Gunicorn's workers are WSGI")
    raise NotFound("it holds no WSGI callable: neither app nor application, no Flask app, no create_app or make_app")


def dash(name: str, thing: Any) -> tuple[str, Any]:
    """A Dash app, where it is callable itself."""
    if not takes_two(thing):
        raise NotFound(f"{name} is a Dash app, which is no WSGI callable: add the line `server = {name}.server`")
    return name, thing


def named(module: ModuleType, target: str) -> tuple[str, Any]:
    """What a name or a call (`create_app('x')`) of a module comes to."""
    expression = ast.parse(target, mode="eval").body
    call = expression if isinstance(expression, ast.Call) else None
    name = ast.unparse(call.func if call else expression)
    thing: Any = module
    for part in name.split("."):
        if not hasattr(thing, part):
            raise NotFound(f"it holds no {name}")
        thing = getattr(thing, part)
    if call:
        given = [ast.literal_eval(item) for item in call.args]
        by_name = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
        needed = missing_arguments(thing, given, by_name)
        if needed:
            raise NotFound(f"{name} needs arguments: {', '.join(needed)}")
        made = thing(*given, **by_name)
        if not kind_of(made) or kind_of(made) in ("asgi",):
            made = made[0] if isinstance(made, tuple) and made and kind_of(made[0]) else made
            raise NotFound(f"{target} gives {type(made).__name__}, which is no WSGI callable")
        return target, made
    if inspect.isfunction(thing) and name.rpartition(".")[2] in FLASK_FACTORIES:
        return named(module, f"{target}()")
    if kind_of(thing) == "dash":
        return dash(name, thing)
    if kind_of(thing) == "asgi":
        raise NotFound(f"{name} is an ASGI app ({type(thing).__module__}), and Gunicorn's workers are WSGI")
    if not kind_of(thing):
        raise NotFound(f"{name} is {type(thing).__name__}, which is no WSGI callable")
    return target, thing


def missing_arguments(thing: Callable[..., object], given: list[Any], by_name: Mapping[str, Any]) -> list[str]:
    """The names of arguments that a factory needs and does not get."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return []
    bound = signature.bind_partial(*given, **by_name).arguments
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, item in signature.parameters.items()
        if item.default is item.empty and item.kind not in optional and name not in bound
    ]


# -- what went wrong -------------------------------------------------------------------------------------------------


def error_of(error: BaseException, seen: Seen) -> dict[str, Any]:
    """An exception for the answer: its type, its words, where in the project, and what it lacks."""
    chain: list[BaseException] = []
    left: BaseException | None = error
    while left is not None and left not in chain and len(chain) < 6:
        chain.append(left)
        left = left.__cause__ or left.__context__
    frames = [frame for item in chain for frame in traceback.extract_tb(item.__traceback__)]
    own = [f"{os.path.realpath(frame.filename)}:{frame.lineno}" for frame in frames if seen.is_own(frame.filename)]
    words = " ".join(f"{item!r} {item}" for item in chain)
    missing = [
        name
        for name, known in seen.variables.items()
        if not known["there"]
        and (re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", words) or own[-1:] == known["places"][-1:])
    ]
    text = " ".join(str(error).split())
    if type(error).__module__.startswith("pydantic"):
        missing += [match.upper() for match in re.findall(r"^(\w+)\n +Field required", str(error), re.MULTILINE)]
    root = chain[-1] if isinstance(chain[-1], ImportError) and not isinstance(error, ImportError) else error
    return {
        "type": type(error).__name__,
        "message": text[:600],
        "where": own[-1] if own else None,
        "missing_module": root.name if isinstance(root, ModuleNotFoundError) else None,
        "missing_variables": missing,
        "read_only": any(isinstance(item, OSError) and item.errno in (13, 30) for item in chain)
        or "unable to open database file" in words
        or "readonly database" in words,
    }


# -- routes ----------------------------------------------------------------------------------------------------------


def routes_of(app: Any, kind: str) -> list[dict[str, Any]]:
    """The routes that can be asked with GET and without arguments: path and endpoint."""
    if kind == "dash":
        app = getattr(app, "server", app)
    if hasattr(app, "url_map"):
        return list(flask_routes(app))
    if kind == "django":
        resolvers: Any = importlib.import_module("django.urls")
        return [{"path": path, "endpoint": str(name)} for path, name in django_routes(resolvers.get_resolver(), "/")]
    return [{"path": path, "endpoint": ""} for path in USUAL_PATHS]


def flask_routes(app: Any) -> Iterator[dict[str, Any]]:
    """Those of Flask's url_map."""
    found = set()
    for rule in app.url_map.iter_rules():
        path = str(rule.rule)
        free = set(rule.arguments) - set(rule.defaults or {})
        usual = "GET" in (rule.methods or ()) and not getattr(rule, "websocket", False)
        static = str(rule.endpoint).rpartition(".")[2] == "static"
        if usual and not free and not static and "<" not in path and not rule.subdomain and path not in found:
            found.add(path)
            yield {"path": path, "endpoint": str(rule.endpoint)}


def django_routes(resolver: Any, prefix: str) -> Iterator[tuple[str, object]]:
    """Those of Django's resolver: literal routes only."""
    for item in resolver.url_patterns:
        route = getattr(item.pattern, "_route", None)
        if route is None:  # a regular expression
            text = str(item.pattern)
            route = text.lstrip("^").rstrip("$").replace("\\Z", "")
            if re.search(r"[\\()\[\]*+?|{}^$]", route):
                continue
        if "<" in route:
            continue
        if hasattr(item, "url_patterns"):
            yield from django_routes(item, prefix + route)
        else:
            yield prefix + route, item.name


# -- asking ----------------------------------------------------------------------------------------------------------


def ask(app: Callable[..., Iterable[bytes]], path: str) -> tuple[int, str, int]:
    """One GET as a WSGI server makes it: (status, type of the content, bytes)."""
    said: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:
        said.append((status, headers))
        return lambda data: None

    where, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": where,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost",
        "HTTP_USER_AGENT": "headcount",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    size = 0
    answer = app(environ, start_response)
    try:
        for part in answer:
            size += len(part)
            if size > MOST_BYTES:
                break
    finally:
        close = getattr(answer, "close", None)
        if close:
            close()
    if not said:
        raise ValueError("the app never called start_response")
    status, headers = said[-1]
    kinds = [value for name, value in headers if name.lower() == "content-type"]
    return int(status.split()[0]), (kinds[0] if kinds else "").partition(";")[0].strip().lower(), size


def ask_all(app: Any, routes: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """What each route answers, as far as `seconds` reach: health first, then `/`, then the short ones."""
    end = time.monotonic() + seconds
    wanted = [route for route in routes if not NOT_ASKED.search(route["path"])]
    wanted.sort(key=lambda route: (not re.search(r"health|ping|status|live|ready", route["path"], re.I), len(route["path"])))
    found = []
    for route in wanted[:MOST_ASKED]:
        left = end - time.monotonic()
        if left <= 0:
            break
        begin = time.perf_counter()
        item: dict[str, Any] = {"path": route["path"], "status": None, "type": "", "bytes": 0, "error": ""}
        try:
            with within(min(left, PATH_SECONDS), f"GET {route['path']}"):
                item["status"], item["type"], item["bytes"] = ask(app, route["path"])
        except TooLong as error:
            item["error"] = str(error)
        except BaseException as error:  # whatever a page of somebody else's does, the next one is asked
            item["status"], item["error"] = 500, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        item["ms"] = round((time.perf_counter() - begin) * 1000, 3)
        found.append(item)
    return found


def weigh(app: Any, paths: list[str], seconds: float) -> list[dict[str, Any]]:
    """CPU and wall time of requests, one after the other on one thread, path by path in turn for `seconds`.

    A wait counts only where the thread gave the processor away by itself: a busy machine makes everything take longer,
    and is no property of the project.
    """
    end = time.monotonic() + seconds
    samples: dict[str, list[tuple[float, float]]] = {path: [] for path in paths}
    while paths and time.monotonic() < end:
        for path in paths:
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
            wall, cpu = time.perf_counter(), time.thread_time()
            ask(app, path)
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            waited = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw > before
            samples[path].append((cpu * 1000, max(0.0, wall - cpu) * 1000 if waited else 0.0))
            if time.monotonic() > end:
                break
    return [
        {
            "path": path,
            "requests": len(pairs),
            "cpu_ms": round(statistics.median(cpu for cpu, _ in pairs), 3),
            "wait_ms": round(sorted(wait for _, wait in pairs)[len(pairs) // 4], 3),
        }
        for path, pairs in samples.items()
        if pairs
    ]


def steady(asked: list[dict[str, Any]]) -> list[str]:
    """The paths that are worth weighing: answered 200, in order."""
    return [item["path"] for item in asked if item["status"] == 200][:12]


# -- all of it -------------------------------------------------------------------------------------------------------


def settings_of(app: Any) -> dict[str, Any]:
    """What of a Flask app's configuration matters to a host: databases, and whether it debugs."""
    config = getattr(app, "config", None)
    if not isinstance(config, Mapping):
        return {}
    uri = config.get("SQLALCHEMY_DATABASE_URI")
    binds = config.get("SQLALCHEMY_BINDS") or {}
    uris = [uri, *(binds.values() if isinstance(binds, Mapping) else [])]
    return {
        "databases": [re.sub(r"://[^/@]*@", "://***@", str(item)) for item in uris if item],
        "debug": bool(config.get("DEBUG")),
        "server_name": str(config.get("SERVER_NAME") or ""),
        "secret_key": config.get("SECRET_KEY") is not None,
    }


class Answer:
    """The answer, written as it grows."""

    def __init__(self, path: str, seen: Seen) -> None:
        self.path = path
        self.seen = seen
        self.data: dict[str, Any] = {"stage": "import", "error": None}

    def write(self, **more: Any) -> None:
        """Add to the answer and put it down."""
        self.data.update(more)
        seen = self.seen
        seen.stage = self.data["stage"]
        self.data.update(
            variables=seen.variables,
            written=seen.written,
            peers=list(seen.peers),
            libraries=sorted({name.partition(".")[0] for name in list(sys.modules) if not name.startswith("_")}),
            peak_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        )
        scratch = f"{self.path}.part"
        with open(scratch, "w", encoding="utf-8") as stream:
            json.dump(self.data, stream, default=str)
        os.replace(scratch, self.path)


def look(asked: Mapping[str, Any], answer: Answer) -> None:
    """Import, find, ask, weigh."""
    begin = time.monotonic()
    with within(float(asked["import_seconds"]), "the import"):
        module = importlib.import_module(str(asked["module"]))
        target, app = find(module, str(asked["target"]))
    kind = kind_of(app)
    inner = getattr(app, "server", app) if kind == "dash" else app
    answer.write(
        stage="ask",
        target=target,
        kind=kind,
        class_name=f"{type(app).__module__}.{type(app).__qualname__}",
        file=getattr(module, "__file__", None),
        import_seconds=round(time.monotonic() - begin, 2),
        config=settings_of(inner),
        instance_path=str(getattr(inner, "instance_path", "") or ""),
    )
    routes = routes_of(app, kind)
    answer.write(routes=routes)
    found = ask_all(app, routes, float(asked["ask_seconds"]))
    answer.write(stage="weigh", asked=found)
    with within(float(asked["weigh_seconds"]) + 30, "the weighing"):
        weighed = weigh(app, steady(found), float(asked["weigh_seconds"]))
    answer.write(stage="done", weighed=weighed)


def main(argv: list[str]) -> int:
    """Do what the file says that the command line names; 0 when it was done, 1 with the error in the answer."""
    with open(argv[1], encoding="utf-8") as stream:
        asked: dict[str, Any] = json.load(stream)
    most = int(asked["memory_mib"]) * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * MIB, 256 * MIB))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(asked["root"])
    sys.path[:0] = asked["paths"]
    sys.argv = ["gunicorn"]
    sys.dont_write_bytecode = True
    seen = Seen(asked["project"])
    seen.result = str(asked["result"])
    watch(seen)
    answer = Answer(str(asked["result"]), seen)
    try:
        look(asked, answer)
    except BaseException as error:  # SystemExit and TooLong too: all of them are what came of it
        answer.write(error=error_of(error, seen))
        return 1
    finally:
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stderr.flush()
    os._exit(code)  # threads that the project left running do not keep it
