# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The routes of an app, what they answer, and what a request of them costs."""

from __future__ import annotations

import importlib
import io
import re
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple, TypedDict
from urllib.parse import urlsplit

from .tables import heard, words_of

MOST_ASKED = 60
MOST_BYTES = 1 << 20
PATH_SECONDS = 5.0
LOCAL = "localhost"
USUAL_PATHS = ("/", "/healthz", "/health", "/ping", "/status")
# What changes something, or ends something, although it is asked for with GET.
NOT_ASKED = re.compile(
    r"(^|[/_.-])(static|admin|logout|log_?out|sign_?out|delete|remove|destroy|reset|shutdown|kill|quit|stop|drop|"
    r"unsubscribe|debug|download|export|callback|seed|init|setup|install|migrate)([/_.-]|$)",
    re.IGNORECASE,
)


class By(NamedTuple):
    """How an app is asked: by which name, and whether through a proxy that takes https off and says so."""

    host: str = LOCAL
    https: bool = False


class Reply(NamedTuple):
    """What an app replied; `location`: where that leads."""

    status: int
    type: str
    bytes: int
    location: str


class Route(TypedDict):
    """What can be asked for with GET and without arguments."""

    path: str
    endpoint: str


class Answered(TypedDict):
    """What a path answered: `status` is None when it took too long; `ms` is how long it took. `insists`: it leads to
    https of itself."""

    path: str
    status: int | None
    type: str
    bytes: int
    error: str
    ms: float
    insists: bool


class Cost(TypedDict):
    """What a request of a path costs, in ms."""

    path: str
    requests: int
    cpu_ms: float
    wait_ms: float


class TooLong(BaseException):
    """A step took longer than it may. No error of the project's, so that it is not caught as one."""


BUSY = 5.0
"""A busy machine may make a step as many times longer as this, at most."""


def own_seconds() -> float:
    """A clock that stands still while this process is ready to run and another one has the processor.

    What a busy machine adds is no property of the project. Where the kernel does not tell it, the clock runs on.
    """
    try:
        with open("/proc/self/schedstat", encoding="ascii") as stream:
            ready = int(stream.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        ready = 0.0
    return time.monotonic() - ready


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Raise TooLong in this block once it took `seconds` by its own clock."""
    end, last = own_seconds() + seconds, time.monotonic() + BUSY * seconds

    def ring(number: int, frame: FrameType | None) -> None:
        left = min(end - own_seconds(), last - time.monotonic())
        if left <= 0:
            raise TooLong(f"{what} took longer than {seconds:g} s")
        signal.setitimer(signal.ITIMER_REAL, max(0.01, left))

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.01, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def routes_of(app: Any, kind: str) -> list[Route]:
    """The routes that can be asked with GET and without arguments: path and endpoint."""
    if kind == "dash":
        app = getattr(app, "server", app)
    if hasattr(app, "url_map"):
        return list(flask_routes(app))
    if kind == "django":
        resolvers: Any = importlib.import_module("django.urls")
        return [{"path": path, "endpoint": str(name)} for path, name in django_routes(resolvers.get_resolver(), "/")]
    return [{"path": path, "endpoint": ""} for path in USUAL_PATHS]


def rules_of(app: Any) -> int | None:
    """How many addresses an app of Flask's kind answers to beside its static files; None of any other."""
    if not hasattr(app, "url_map"):
        return None
    return sum(str(rule.endpoint).rpartition(".")[2] != "static" for rule in app.url_map.iter_rules())


def flask_routes(app: Any) -> Iterator[Route]:
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


def ask(app: Callable[..., Iterable[bytes]], path: str, by: By) -> Reply:
    """One GET as a WSGI server makes it."""
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
        "SERVER_PORT": "443" if by.https else "80",
        "HTTP_HOST": by.host,
        "HTTP_USER_AGENT": "headcount",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if by.https else "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **(_BY_PROXY if by.https else {}),
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
    known = {name.lower(): value for name, value in reversed(headers)}
    kind = known.get("content-type", "").partition(";")[0].strip().lower()
    return Reply(int(status.split()[0]), kind, size, known.get("location", ""))


_BY_PROXY = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_FOR": "192.0.2.1"}


def leads_to_https(path: str, reply: Reply) -> bool:
    """Whether all that a page says is that users are to come to it by https."""
    to = urlsplit(reply.location)
    same = (to.path or "/", to.query) == (urlsplit(path).path, urlsplit(path).query)
    return reply.status in (301, 302, 307, 308) and to.scheme == "https" and same


def ask_as_users(app: Any, routes: list[Route], seconds: float, by: By) -> tuple[list[Answered], By]:
    """What each route answers, and how it was asked: where pages insist on https, as a proxy that takes it off does,
    unless that changes nothing."""
    found = ask_all(app, routes, seconds, by)
    insisting = [item["path"] for item in found if item["insists"]]
    if not insisting:
        return found, by
    by_https = by._replace(https=True)
    again = ask_all(app, routes, seconds, by_https)
    still = [item["path"] for item in again if item["insists"]]
    return (again, by_https) if len(still) < len(insisting) else (found, by)


def ask_all(app: Any, routes: list[Route], seconds: float, by: By) -> list[Answered]:
    """What each route answers, as far as `seconds` reach: health first, then `/`, then the short ones."""
    end = own_seconds() + seconds
    wanted = [route for route in routes if not NOT_ASKED.search(route["path"])]
    if not any(route["path"] == "/" for route in wanted):
        wanted.append({"path": "/", "endpoint": ""})
    wanted.sort(
        key=lambda route: (not re.search(r"health|ping|status|live|ready", route["path"], re.I), len(route["path"]))
    )
    found = []
    with heard(app) as failures:
        for route in wanted[:MOST_ASKED]:
            left = end - own_seconds()
            if left <= 0:
                break
            failures.clear()
            found.append(_asked(app, route["path"], min(left, PATH_SECONDS), failures, by))
    return found


def _asked(app: Any, path: str, seconds: float, failures: list[BaseException], by: By) -> Answered:
    """What a path answers within `seconds`; `failures` are what the app itself turned into an answer."""
    begin = own_seconds()
    item: Answered = {"path": path, "status": None, "type": "", "bytes": 0, "error": "", "ms": 0.0, "insists": False}
    try:
        with within(seconds, f"GET {path}"):
            reply = ask(app, path, by)
            item["status"], item["type"], item["bytes"], _ = reply
            item["insists"] = leads_to_https(path, reply)
        if failures and (item["status"] or 0) >= 500:
            item["error"] = words_of(failures[-1])
    except TooLong as error:
        item["error"] = str(error)
    except BaseException as error:  # whatever a page of somebody else's does, the next one is asked
        item["status"], item["error"] = 500, words_of(error)
    item["ms"] = round((own_seconds() - begin) * 1000, 3)
    return item


def weigh(app: Any, paths: list[str], seconds: float, by: By) -> list[Cost]:
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
            ask(app, path, by)
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


def elsewhere(app: Any, asked: list[Answered], by: By) -> int | None:
    """What the first of the pages that tell of the app answers where it is asked for by a name which nobody told the
    app, a page that leads to a log in as well; None where that is what it answered before."""
    known = {item["path"]: item["status"] for item in asked}
    for path in [path for path in steady(asked) if known[path] != 400][:1]:
        try:
            with within(PATH_SECONDS, f"GET {path}"):
                status = ask(app, path, by._replace(host="app.example.com")).status
        except BaseException:  # as in ask_all: the app's own business
            status = 500
        return None if status == known[path] else status
    return None


def steady(asked: list[Answered]) -> list[str]:
    """The paths that are worth weighing, in order: answered 200, or else at least answered by the app itself."""
    good = [item["path"] for item in asked if item["status"] == 200]
    return good[:12] or [item["path"] for item in asked if item["status"] and item["status"] < 500][:3]
