# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The rules between two keys of one app: what its values, each right by itself, may not be together.

A rule takes the app as it was read, where it stands in the inventory, and the context that collects the problems.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .app import Limits, Load, LoadPath
from .asking import check_prefix
from .candidate import fold
from .checks import split_listen
from .commands import check_commands
from .data import check_data
from .fields import Context, Parsed, Part, inline
from .listening import check_socket
from .mixture import declared_kinds, spread_of
from .origin import is_remote, is_tcp, reachable
from .profiles import PROFILE_RANGE, profile_of
from .shortfall import load_shortfall
from .table import APP_FIELDS

SOURCE_KINDS: Final = ("path", "wheel", "pip", "git")
_SOURCE_KEYS: Final = {item.name: item for key in APP_FIELDS if key.name == "source" for item in key.fields}
_WITH_BODY: Final = ("POST", "PUT", "PATCH", "DELETE")


def declared_paths(app: Parsed) -> list[LoadPath]:
    """The paths of the load, but for those that are refused."""
    return [LoadPath.from_dict(path) for path in app["load"]["paths"] if path and path["path"] is not None]


def declared_load(app: Parsed) -> Load:
    """The load without its paths, of which some may be refused."""
    return Load.from_dict({**app["load"], "paths": None})


def _check_source(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    source = app["source"]
    here = (*parts, "source")
    kinds = [kind for kind in SOURCE_KINDS if source[kind] is not None]
    if len(kinds) != 1:
        what = f"has {' and '.join(kinds)}" if kinds else "says nothing about where the app comes from"
        fix = f"keep one of {', '.join(kinds)}" if kinds else "source: {path: app}"
        context.add(here, what, "exactly one of path, wheel, pip and git", fix)
        return
    _check_source_keys(source, kinds[0], here, context)


def _check_source_keys(source: Parsed, kind: str, here: tuple[Part, ...], context: Context) -> None:
    """Keys that the kind of the source asks for, or has no use for."""
    if kind == "git" and source["version"] is None:
        allowed = _SOURCE_KEYS["version"].allowed_text
        context.add((*here, "version"), "is missing", allowed, "version: v1.4.2")
    if kind != "git" and source["version"] is not None:
        fix = "write the version into pip: NAME==VERSION" if kind == "pip" else "remove it"
        context.add((*here, "version"), f"is {source['version']!r} beside {kind}", "a version with git only", fix)
    if kind not in ("git", "path") and source["subdirectory"] is not None:
        what = f"is {source['subdirectory']!r} beside {kind}"
        context.add((*here, "subdirectory"), what, "a folder inside a source of git or path", "remove it")
    if kind != "path" and source["include"]:
        fix = "remove it: a clone has what the repository tracks" if kind == "git" else "remove it"
        what = f"is {', '.join(source['include'])!r} beside {kind}"
        context.add((*here, "include"), what, "files inside a source of path", fix)
    if kind in ("wheel", "pip"):
        _check_project_keys(source, kind, here, context)
    elif source["lock"] is not None and source["requirements"] is not None:
        what = f"is {source['lock']!r} beside requirements"
        context.add((*here, "lock"), what, "one of lock and requirements", "name the lock in requirements alone")


def _check_project_keys(source: Parsed, kind: str, here: tuple[Part, ...], context: Context) -> None:
    """Keys that are about a project's files, beside a source that is a package already."""
    if source["as"] not in (None, "auto"):
        what = f"is {source['as']!r} beside {kind}"
        context.add((*here, "as"), what, "a form of a source of path or git", "remove it")
    if source["requirements"] is not None:
        what = f"is {inline(source['requirements'])} beside {kind}"
        context.add((*here, "requirements"), what, "requirements of a source of path or git", "remove it")


def _check_profile(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    profile, ratio = app["profile"], app["wait_ratio"]
    cpu, wait = app["cpu_ms"], app["wait_ms"]
    here = (*parts, "wait_ratio")
    if ratio is not None and profile is not None:
        context.add(
            here, f"is {inline(ratio)} beside profile: {profile}", "one of profile and wait_ratio", "remove one of them"
        )
    elif ratio is not None and cpu is not None and wait is not None:
        what = f"is {inline(ratio)} beside cpu_ms and wait_ms, which make {wait / cpu:.3g}"
        context.add(here, what, "one of wait_ratio and the pair cpu_ms and wait_ms", "remove wait_ratio")
    elif profile is not None and cpu is not None and wait is not None:
        low, high = PROFILE_RANGE[profile]
        # The words overlap in use: a factor of two either way is no contradiction.
        if not low / 2 <= wait / cpu < high * 2:
            what = f"is {profile}, but wait_ms {inline(wait)} on cpu_ms {inline(cpu)} is {profile_of(wait / cpu)}"
            context.add((*parts, "profile"), what, "a profile that agrees with cpu_ms and wait_ms", "remove profile")


def _check_limits(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    limits = app["limits"]
    names = [name for name in ("p50_ms", "p95_ms", "p99_ms") if limits[name] is not None]
    for lower, upper in zip(names, names[1:]):
        if limits[lower] > limits[upper]:
            context.add(
                (*parts, "limits", lower),
                f"is {inline(limits[lower])}, above {upper}, which is {inline(limits[upper])}",
                f"at most {upper}",
                f"{lower}: {inline(limits[upper])}",
            )


def _check_settings(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    settings, worker_class = app["settings"], app["worker_class"]
    here = (*parts, "settings")
    threads = settings.get("threads")
    if worker_class == "sync" and threads is not None and threads > 1:
        what = f"is {threads} beside worker_class: sync, which Gunicorn then turns into gthread"
        context.add((*here, "threads"), what, "1 with sync", "worker_class: gthread")
    elif worker_class in ("gevent", "eventlet") and threads is not None and threads > 1:
        what = f"is {threads} beside worker_class: {worker_class}, which has no threads"
        context.add((*here, "threads"), what, "1 with gevent and eventlet", "set worker_connections instead")
    if worker_class == "sync" and settings.get("worker_connections") is not None:
        what = f"is {settings['worker_connections']} beside worker_class: sync, which takes one connection at a time"
        context.add((*here, "worker_connections"), what, "nothing with sync", "remove it")
    high, most = settings.get("memory_high_mib"), settings.get("memory_max_mib")
    if high is not None and most is not None and high > most:
        what = f"is {high}, above memory_max_mib, which is {most}"
        context.add((*here, "memory_high_mib"), what, "at most memory_max_mib", f"memory_high_mib: {most}")
    jitter, requests = settings.get("max_requests_jitter"), settings.get("max_requests")
    if jitter and requests == 0:
        what = f"is {jitter}, but max_requests is 0, so that no worker is ever replaced"
        context.add((*here, "max_requests_jitter"), what, "0 with max_requests: 0", "remove it")


def _check_secrets(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    for name in sorted(set(app["secrets"]) & set(app["environment"])):
        what = "is also under environment, where everybody can read it"
        context.add((*parts, "secrets", name), what, "a name in one of the two", f"remove environment.{name}")


def _check_load(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    for index, path in enumerate(app["load"]["paths"]):
        if path["body"] is not None and path["method"] not in _WITH_BODY:
            what = f"is given with method {path['method']}"
            context.add(
                (*parts, "load", "paths", index, "body"), what, f"a body with {', '.join(_WITH_BODY)}", "method: POST"
            )


def _check_load_size(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """A load that cannot pass by arithmetic is not run for minutes to find that out."""
    here = (*parts, "limits", "error_rate")
    if app["limits"]["error_rate"] == 0:
        context.add(here, "is 0, which no number of requests can prove", "above 0", "error_rate: 0.001")
        return
    short = load_shortfall(declared_load(app), Limits.from_dict(app["limits"]))
    if short is None or not short.hopeless:
        return
    context.add(
        (*parts, "load", "seconds"),
        f"is {inline(app['load']['seconds'])}, which at load.rate {inline(app['load']['rate'])} makes {short.planned} "
        f"requests, and {2 * short.planned} in the retry, which is twice as long: {short.reason} takes at least "
        f"{short.needed}, so that no trial could pass",
        f"load.rate x load.seconds of at least {short.needed}",
        f"seconds: {short.seconds}, or rate: {short.rate}, or a wider limit (limits.*)",
    )


def _check_paths_twice(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """A kind of request is declared once; how often it comes is its weight."""
    first: dict[str, int] = {}
    for index, path in enumerate(app["load"]["paths"]):
        asked = {name: path[name] for name in ("path", "method", "body", "headers")}
        earlier = first.setdefault(repr(sorted(asked.items(), key=str)), index)
        if earlier != index:
            what = f"is {inline(path['path'])}, as load.paths[{earlier}] is"
            fix = f"remove it; load.paths[{earlier}].weight says how often it comes"
            context.add((*parts, "load", "paths", index), what, "each kind of request once", fix)


def _check_path_times(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """The times of the paths: of all or none, not beside the app's own, and in accord with its mix and profile."""
    paths = app["load"]["paths"]
    timed = [path for path in paths if path["cpu_ms"] is not None]
    for index, path in enumerate(paths):
        here = (*parts, "load", "paths", index)
        if path["cpu_ms"] is None and (timed or path["wait_ms"] is not None):
            beside = "other paths have it" if timed else "the path has wait_ms"
            context.add((*here, "cpu_ms"), f"is missing, though {beside}", "cpu_ms of all paths or none", "cpu_ms: 5")
    if not timed or len(timed) < len(paths):
        return
    for name in ("cpu_ms", "wait_ms", "wait_ratio"):
        if app[name] is not None:
            what = f"is {inline(app[name])} beside the times of load.paths"
            context.add((*parts, name), what, "either the app's times or those of its paths", f"remove {name}")
    _check_spread(app, parts, context)


def _check_spread(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """The times of the paths say the same of the app as its mix and its profile."""
    spread = spread_of(declared_kinds(declared_paths(app)))
    if app["mix"] == "uniform" and spread.mixed:
        what = f"is uniform, but by load.paths {spread.longest.name} computes {inline(spread.longest.cpu_ms)} ms where"
        what += f" {spread.fastest.name} takes {inline(spread.fastest.alone_ms)} ms"
        context.add((*parts, "mix"), what, "mixed, or paths that are alike", "remove mix")
    ratio, profile = spread.wait_ms / spread.cpu_ms, app["profile"]
    if profile is not None and not PROFILE_RANGE[profile][0] / 2 <= ratio < PROFILE_RANGE[profile][1] * 2:
        what = f"is {profile}, but the times of load.paths make a wait ratio of {ratio:.3g}: {profile_of(ratio)}"
        context.add((*parts, "profile"), what, "a profile that agrees with load.paths", "remove profile")


def _check_origin(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """A remote load needs an address that is reached from there, and a port of its own for the candidate."""
    listen, load = app["listen"], app["load"]
    if not is_remote(declared_load(app)):
        return
    if not reachable(listen):
        why = "a loopback" if is_tcp(listen) else "a unix socket"
        port = listen.rpartition(":")[2] if is_tcp(listen) else "8000"
        context.add(
            (*parts, "load", "from"),
            f"is {load['from']!r} and listen is {listen!r}, {why} that only the host itself reaches",
            "host, for an app that listens on a loopback or on a unix socket",
            f'from: host, or listen: "0.0.0.0:{port}"',
        )
        return
    public = split_listen(listen)[1]
    here = (*parts, "load", "port")
    if "port" not in load:
        load["port"] = public + 1
        if public == 65535:
            allowed = "with a remote load, a port that is free on the host"
            context.add(here, "is missing, and the port of listen + 1 is none", allowed, "port: 65534")
    elif load["port"] == public:
        what = f"is {public}, the port of listen, which the live generation has"
        context.add(here, what, "a port that is free on the host", f"port: {public + 1 if public < 65535 else 65534}")


def _check_database(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    database = app["database"]
    most, reserved = database["max_connections"], database["reserved"]
    if most is not None and reserved >= most:
        what = f"is {reserved}, and max_connections is {most}: nothing is left for the app"
        context.add((*parts, "database", "reserved"), what, "less than max_connections", f"reserved: {most // 10}")


def _check_watched(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """How it is watched. Only what declares something of that loads the rules."""
    own = app.get("gunicorn") or {}
    if own.get("access_log_format") is not None or any(app.get(key) for key in ("guard", "load_test", "access_log")):
        from .watched import check_watched

        check_watched(app, parts, context)


_Rule = Callable[[Parsed, "tuple[Part, ...]", Context], None]


# A rule runs only when none of the keys that it reads has a problem of its own.
RULES: Final[tuple[tuple[tuple[str, ...], _Rule], ...]] = (
    (("source",), _check_source),
    (("profile", "wait_ratio", "cpu_ms", "wait_ms"), _check_profile),
    (("limits",), _check_limits),
    (("settings", "worker_class"), _check_settings),
    (("environment", "secrets"), _check_secrets),
    (("load",), _check_load),
    (("load", "limits"), _check_load_size),
    (("load", "mix", "profile", "wait_ratio", "cpu_ms", "wait_ms"), _check_path_times),
    (("load",), _check_paths_twice),
    (("load", "listen"), _check_origin),
    (("database",), _check_database),
    (("environment", "health", "load", "gunicorn"), check_prefix),
    (("guard", "recorder", "gunicorn", "access_log", "load_test", "load", "processes"), _check_watched),
    (("listen", "listen_group", "listen_mode"), check_socket),
    (("trial", "environment", "secrets"), fold),
    (("name", "entry_point", "data", "environment", "secrets"), check_data),
    (("name", "data", "environment", "secrets", "prepare", "processes"), check_commands),
)
