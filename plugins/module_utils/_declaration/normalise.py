# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is declared for a host, checked and normalised.

Pure functions: the inventory's values go in (already templated), normalised apps and all problems come out. The table
of what can be declared is in ``table``; the rules between two keys, two apps and two hosts are here.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .._declaration.origin import CONTROLLER, HOST, is_remote, is_tcp, reachable, trial_listen
from .app import Limits, Load, LoadPath
from .checks import split_listen
from .fields import Context, Field, Part, Problem, did_you_mean, inline, kind_of, parse, parse_fields, walk
from .mixture import declared_kinds, spread_of
from .profiles import PROFILE_RANGE, PROFILE_WAIT_RATIO, profile_of
from .roles import INTERNAL_PREFIXES
from .shortfall import load_shortfall
from .table import APP_FIELDS, COMMAND_VARIABLES, VARIABLES

__all__ = [
    "PROFILE_WAIT_RATIO",
    "REDACTED",
    "Declaration",
    "Problem",
    "digest",
    "fleet_counts",
    "fleet_problems",
    "normalise_apps",
    "normalise_host",
    "normalise_host_vars",
    "profile_of",
    "public_digest",
    "redacted",
    "render_problems",
    "secrets_digest",
    "warnings_for",
]

PREFIX: Final = "headcount_"
REDACTED: Final = "(secret)"
_APPS: Final = "headcount_apps"
_OVERRIDES: Final = "headcount_app_overrides"
_VARIABLES: Final = {item.name: item for item in VARIABLES}
_KNOWN: Final = {**_VARIABLES, **{item.name: item for item in COMMAND_VARIABLES}}
_KEYS: Final = {item.name: item for item in APP_FIELDS}
_SOURCE_KEYS: Final = {item.name: item for item in _KEYS["source"].fields}
_SOURCE_KINDS: Final = ("path", "wheel", "pip", "git")
_WITH_BODY: Final = ("POST", "PUT", "PATCH", "DELETE")
_SECRET_WORDS: Final = re.compile(r"(?i)(^|_)(password|passwd|secret|token|api_?key|private_?key|credentials?)(_|$)")
_SECRET_HEADERS: Final = re.compile(r"(?i)authorization|cookie|token|secret|api-?key|password")
_URL_PASSWORD: Final = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_PBKDF2_ROUNDS: Final = 50_000
_SHOWN_HOSTS: Final = 3
_SHOWN_ORIGINS: Final = 10

# Where a key belongs that was written beside the app's own: p95_ms -> limits.p95_ms.
_ELSEWHERE: Final[dict[str, str]] = {}
for _path, _item in walk(APP_FIELDS):
    if _item.name and "." in _path:
        _ELSEWHERE.setdefault(_item.name, _path)


@dataclass(frozen=True)
class Declaration:
    """Everything declared for one host. ``apps`` are normalised and hold secrets: show :func:`redacted` ones only."""

    host: str
    apps: list[dict[str, Any]] = field(repr=False)
    variables: dict[str, Any] = field(repr=False)
    problems: list[Problem]


def normalise_apps(
    raw: object, host: str, overrides: object = None, retain: int | None = None
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The apps of a host in their normalised form, and every problem of their declaration.

    ``raw`` is the value of headcount_apps, ``overrides`` that of headcount_app_overrides, ``retain`` that of
    headcount_retain; numbers and booleans may be strings, as Jinja gives them. With a problem the apps are still
    complete in shape, but not to be used.

    Every app has every key of the table, sections completed by their defaults, except: ``source`` becomes {kind,
    value, version, lock, subdirectory}, ``settings`` holds only what was declared. ``wait_ratio`` is the declared one,
    or wait_ms / cpu_ms, or the profile's (PROFILE_WAIT_RATIO), or None when nothing says anything about waiting.
    """
    context = Context(host)
    item = _VARIABLES[_APPS]
    if raw is None:
        context.add(
            (_APPS,), "is missing", item.allowed_text, "declare the apps of this host, or take it out of the play"
        )
        return [], context.problems
    if isinstance(raw, Mapping) and "name" in raw:
        context.add((_APPS,), "is a mapping", item.allowed_text, "begin the app with a hyphen: - name: ...")
        return [], context.problems
    if isinstance(raw, (str, bytes, Mapping)) or not isinstance(raw, Sequence):
        context.add((_APPS,), f"is {kind_of(raw)}", item.allowed_text, "headcount_apps: [{name: shop, ...}]")
        return [], context.problems
    if not raw:
        context.add((_APPS,), "is an empty list", item.allowed_text, "declare an app, or take the host out of the play")
        return [], context.problems
    merged, origins = _override(raw, overrides, context)
    apps = []
    for index, declared in enumerate(merged):
        app = _app(declared, (_APPS, index), context, retain)
        if app is not None:
            apps.append((index, app))
    _check_together(apps, context)
    return [app for _, app in apps], [_at_override(problem, origins) for problem in context.problems]


def normalise_host_vars(variables: Mapping[str, object], host: str) -> tuple[dict[str, Any], list[Problem]]:
    """The headcount_* variables of a host other than its apps, completed by their defaults, and every problem.

    ``variables`` may hold everything that the host has; what does not begin with headcount_ is ignored. An unknown
    headcount_* variable is a problem, because it is a mistyped one that would silently do nothing.
    """
    context = Context(host)
    for name in sorted(variables):
        if not name.startswith(PREFIX) or name in _KNOWN or name.startswith(INTERNAL_PREFIXES):
            continue
        meant = did_you_mean(name, _KNOWN)
        fix = f"did you mean {meant}?" if meant else "remove it, or rename it if it is a variable of your own"
        context.add((name,), "is not known", "a variable that docs/variables.md names", fix)
    values: dict[str, Any] = {}
    for item in VARIABLES:
        if item.name not in (_APPS, _OVERRIDES):
            values[item.name] = parse(item, variables.get(item.name), (item.name,), context)
    for item in COMMAND_VARIABLES:
        parse(item, variables.get(item.name), (item.name,), context)
    base_dir = values["headcount_base_dir"]
    if base_dir is not None and not base_dir.startswith("/"):
        context.add(
            ("headcount_base_dir",),
            f"is {base_dir!r}",
            _VARIABLES["headcount_base_dir"].allowed_text,
            f'headcount_base_dir: "{{{{ inventory_dir }}}}/{base_dir}"',
        )
    return values, context.problems


def normalise_host(variables: Mapping[str, object], host: str) -> Declaration:
    """Everything declared for a host, from all its variables (templated)."""
    values, problems = normalise_host_vars(variables, host)
    apps, more = normalise_apps(variables.get(_APPS), host, variables.get(_OVERRIDES), values["headcount_retain"])
    return Declaration(host, apps, values, [*more, *problems])


def fleet_counts(declarations: Iterable[Declaration]) -> dict[str, int]:
    """How many hosts declare each app, by the app's name."""
    counts: dict[str, int] = {}
    for declaration in declarations:
        for name in (app["name"] for app in declaration.apps):
            if name is not None:
                counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def fleet_problems(declarations: Sequence[Declaration], inventory_hosts: Iterable[str]) -> list[Problem]:
    """What no host can see alone: variables of the rollout that differ between hosts, hosts named that are not there.

    ``declarations`` are those of the play's hosts, ``inventory_hosts`` the names of all hosts of the inventory.
    """
    problems: list[Problem] = []
    if not declarations:
        return problems
    play = [declaration.host for declaration in declarations]
    known = set(inventory_hosts) | set(play)
    first = declarations[0]
    for declaration in declarations:
        for item in VARIABLES:
            mine, other = declaration.variables.get(item.name), first.variables.get(item.name)
            if item.same_for_all and mine != other:
                problems.append(
                    Problem(
                        declaration.host,
                        (item.name,),
                        f"is {inline(mine)} and on {first.host} it is {inline(other)}",
                        "one value for all hosts of the play, because it steers the whole rollout",
                        "set it in group_vars/all.yml",
                    )
                )
    canary = first.variables.get("headcount_canary")
    if canary is not None and canary not in known:
        meant = did_you_mean(canary, known)
        problems.append(
            Problem(
                first.host,
                ("headcount_canary",),
                f"is {canary!r}",
                "the name of a host of the inventory",
                f"headcount_canary: {meant or play[0]}",
            )
        )
    for declaration in declarations:
        for index, app in enumerate(declaration.apps):
            problem = _unknown_origin(declaration.host, index, app, known)
            if problem is not None:
                problems.append(problem)
    return problems


def _unknown_origin(host: str, index: int, app: Mapping[str, Any], known: set[str]) -> Problem | None:
    """Why the load of an app cannot come from where it is declared to; None when it can."""
    name = _load(app).origin
    if name in (HOST, CONTROLLER) or (name in known and name != host):
        return None
    others = sorted(known - {host})
    shown = ", ".join(others[:_SHOWN_ORIGINS])
    more = len(others) - _SHOWN_ORIGINS
    allowed = f"{HOST}, {CONTROLLER}" + (f", or another host of the inventory: {shown}" if others else "")
    if name == host:
        what, fix = f"is {name!r}, the app's own host", f"from: {HOST}"
    else:
        what = f"is {name!r}, which is no host of the inventory"
        fix = f"from: {did_you_mean(name, [HOST, CONTROLLER, *others]) or HOST}"
    return Problem(
        host,
        (_APPS, index, "load", "from"),
        what,
        f"{allowed} and {more} more" if more > 0 else allowed,
        fix,
    )


def render_problems(problems: Sequence[Problem]) -> str:
    """All problems as a message, one a line, hosts with the same problem told together."""
    hosts: dict[str, list[str]] = {}
    for problem in problems:
        hosts.setdefault(problem.text, []).append(problem.host)
    count = len(hosts)
    lines = [f"{count} problem{'' if count == 1 else 's'} in what is declared; no host was touched:"]
    lines += [f"  {_hosts_text(names)}: {text}" for text, names in hosts.items()]
    return "\n".join(lines)


def warnings_for(app: Mapping[str, Any]) -> list[str]:
    """What is allowed but probably not meant, for a normalised app; never with a value that may be secret."""
    found = []
    for name, value in app["environment"].items():
        if _SECRET_WORDS.search(name) or _URL_PASSWORD.search(value):
            found.append(
                f"{app['name']}: environment.{name} looks like a secret; secrets.{name} keeps it out of all output"
            )
    short = load_shortfall(_load(app), Limits.from_dict(app["limits"]))
    if short is not None:  # its retry can pass, or it had been refused
        found.append(f"{app['name']}: {short.sentence}")
    for path in app["load"]["paths"]:
        for name in path["headers"]:
            if _SECRET_HEADERS.search(name):
                found.append(
                    f"{app['name']}: load.paths: the header {name} can be read in the host's process list"
                    " while the trial lasts"
                )
    if app["worker_class"] == "eventlet":
        found.append(
            f"{app['name']}: worker_class eventlet was removed from Gunicorn in 26.0 and is pinned to the last"
            f" release that has it;"
            " gevent is the maintained choice"
        )
    return found


def redacted(app: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a normalised app that can be shown: secrets, and values that look like secrets, replaced."""
    result: dict[str, Any] = json.loads(json.dumps(app))
    result["secrets"] = dict.fromkeys(app["secrets"], REDACTED)
    for name, value in app["environment"].items():
        if _SECRET_WORDS.search(name) or _URL_PASSWORD.search(value):
            result["environment"][name] = REDACTED
    for path in result["load"]["paths"]:
        path["headers"] = {
            name: REDACTED if _SECRET_HEADERS.search(name) else value for name, value in path["headers"].items()
        }
    return result


def digest(value: object) -> str:
    """SHA-256 (hex) of a value's canonical JSON: keys sorted, no spaces, no NaN. Equal values give equal digests on
    every Python.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def public_digest(app: Mapping[str, Any], source_id: str = "") -> str:
    """The digest of everything in a normalised app that may be told: secrets count with their names only.

    With ``source_id`` (the identity of the source's content) the words of the source are left out, so that the same
    content from another folder or another controller gives the same digest.
    """
    public = {key: value for key, value in app.items() if key != "secrets"}
    public["secrets"] = sorted(app["secrets"])
    if source_id:
        public["source"] = source_id
    return digest(public)


def secrets_digest(app: Mapping[str, Any]) -> str:
    """A digest that changes with any secret: PBKDF2-HMAC-SHA256 over the canonical JSON, salted with the app's name;
    "" without secrets.

    It is slow on purpose (some 20 ms), so that a short secret cannot be guessed quickly from it; keep it in files of
    root only, all the same.
    """
    if not app["secrets"]:
        return ""
    text = json.dumps(app["secrets"], sort_keys=True, separators=(",", ":"))
    salt = hmac.new(b"headcount secrets", app["name"].encode(), "sha256").digest()
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt, _PBKDF2_ROUNDS).hex()


def _app(declared: object, parts: tuple[Part, ...], context: Context, retain: int | None) -> dict[str, Any] | None:
    if not isinstance(declared, Mapping):
        context.add(parts, f"is {kind_of(declared)}", "a mapping with the keys of an app", "name: shop")
        return None
    before = len(context.problems)
    app = parse_fields(APP_FIELDS, declared, parts, context, _ELSEWHERE)
    broken = {problem.parts[len(parts)] for problem in context.problems[before:] if len(problem.parts) > len(parts)}
    for key, check in _APP_CHECKS:
        if not broken & set(key):
            check(app, parts, context)
    app["wait_ratio"] = _wait_ratio(app)
    app["source"] = _source(app["source"])
    if app["retain"]["good"] is None:
        default = _VARIABLES["headcount_retain"].default if retain is None else retain
        app["retain"]["good"] = default
    return app


def _source(source: Mapping[str, Any] | None) -> dict[str, Any]:
    source = source or {}
    kind = next((kind for kind in _SOURCE_KINDS if source.get(kind) is not None), "path")
    return {
        "kind": kind,
        "value": source.get(kind),
        "version": source.get("version"),
        "lock": source.get("lock"),
        "subdirectory": source.get("subdirectory"),
        "include": source.get("include") or [],
    }


def _paths(app: Mapping[str, Any]) -> list[LoadPath]:
    """The paths of the load, but for those that are refused."""
    return [LoadPath.from_dict(path) for path in app["load"]["paths"] if path and path["path"] is not None]


def _load(app: Mapping[str, Any]) -> Load:
    """The load without its paths, of which some may be refused."""
    return Load.from_dict({**app["load"], "paths": None})


def _wait_ratio(app: Mapping[str, Any]) -> float | None:
    kinds = declared_kinds(_paths(app))
    if kinds:
        spread = spread_of(kinds)
        return spread.wait_ms / spread.cpu_ms
    if app["wait_ratio"] is not None:
        return float(app["wait_ratio"])
    if app["cpu_ms"] is not None and app["wait_ms"] is not None:
        return float(app["wait_ms"]) / float(app["cpu_ms"])
    return PROFILE_WAIT_RATIO[app["profile"]] if app["profile"] is not None else None


def _check_source(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
    source = app["source"]
    here = (*parts, "source")
    kinds = [kind for kind in _SOURCE_KINDS if source[kind] is not None]
    if len(kinds) != 1:
        what = f"has {' and '.join(kinds)}" if kinds else "says nothing about where the app comes from"
        fix = f"keep one of {', '.join(kinds)}" if kinds else "source: {path: app}"
        context.add(here, what, "exactly one of path, wheel, pip and git", fix)
        return
    _check_source_keys(source, kinds[0], here, context)


def _check_source_keys(source: dict[str, Any], kind: str, here: tuple[Part, ...], context: Context) -> None:
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


def _check_profile(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
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


def _check_limits(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
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


def _check_load_size(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
    """A load that cannot pass by arithmetic is not run for minutes to find that out."""
    here = (*parts, "limits", "error_rate")
    if app["limits"]["error_rate"] == 0:
        context.add(here, "is 0, which no number of requests can prove", "above 0", "error_rate: 0.001")
        return
    short = load_shortfall(_load(app), Limits.from_dict(app["limits"]))
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


def _check_settings(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
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


def _check_secrets(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
    for name in sorted(set(app["secrets"]) & set(app["environment"])):
        what = "is also under environment, where everybody can read it"
        context.add((*parts, "secrets", name), what, "a name in one of the two", f"remove environment.{name}")


def _check_load(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
    for index, path in enumerate(app["load"]["paths"]):
        if path["body"] is not None and path["method"] not in _WITH_BODY:
            what = f"is given with method {path['method']}"
            context.add(
                (*parts, "load", "paths", index, "body"), what, f"a body with {', '.join(_WITH_BODY)}", "method: POST"
            )


def _check_path_times(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
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
    spread = spread_of(declared_kinds(_paths(app)))
    if app["mix"] == "uniform" and spread.mixed:
        what = f"is uniform, but by load.paths {spread.longest.name} computes {inline(spread.longest.cpu_ms)} ms where"
        what += f" {spread.fastest.name} takes {inline(spread.fastest.alone_ms)} ms"
        context.add((*parts, "mix"), what, "mixed, or paths that are alike", "remove mix")
    ratio, profile = spread.wait_ms / spread.cpu_ms, app["profile"]
    if profile is not None and not PROFILE_RANGE[profile][0] / 2 <= ratio < PROFILE_RANGE[profile][1] * 2:
        what = f"is {profile}, but the times of load.paths make a wait ratio of {ratio:.3g}: {profile_of(ratio)}"
        context.add((*parts, "profile"), what, "a profile that agrees with load.paths", "remove profile")


def _check_origin(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
    """A load from elsewhere needs an address that is reached from there, and a port of its own for the candidate."""
    listen, load = app["listen"], app["load"]
    if not is_remote(_load(app)):
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


def _check_database(app: dict[str, Any], parts: tuple[Part, ...], context: Context) -> None:
    database = app["database"]
    most, reserved = database["max_connections"], database["reserved"]
    if most is not None and reserved >= most:
        what = f"is {reserved}, and max_connections is {most}: nothing is left for the app"
        context.add((*parts, "database", "reserved"), what, "less than max_connections", f"reserved: {most // 10}")


_Check = Callable[[dict[str, Any], "tuple[Part, ...]", Context], None]
# A rule runs only when none of the keys that it reads has a problem of its own.
_APP_CHECKS: Final[tuple[tuple[tuple[str, ...], _Check], ...]] = (
    (("source",), _check_source),
    (("profile", "wait_ratio", "cpu_ms", "wait_ms"), _check_profile),
    (("limits",), _check_limits),
    (("settings", "worker_class"), _check_settings),
    (("environment", "secrets"), _check_secrets),
    (("load",), _check_load),
    (("load", "limits"), _check_load_size),
    (("load", "mix", "profile", "wait_ratio", "cpu_ms", "wait_ms"), _check_path_times),
    (("load", "listen"), _check_origin),
    (("database",), _check_database),
)


def _check_together(apps: Sequence[tuple[int, dict[str, Any]]], context: Context) -> None:
    _check_names(apps, context)
    _check_users(apps, context)
    taken = _check_addresses(apps, context)
    for index, app in apps:
        _check_trial_port(index, app, apps, taken, context)
    shares = sum(app["share"]["cores"] or 0 for _, app in apps)
    if shares > 4096:
        context.add((_APPS,), f"share out {inline(shares)} cores", "at most 4096 cores in all", "lower share.cores")


def _check_names(apps: Sequence[tuple[int, dict[str, Any]]], context: Context) -> None:
    names: dict[str, int] = {}
    for index, app in apps:
        name = app["name"]
        if name in names:
            what = f"is {name!r}, the name of {_APPS}[{names[name]}] too"
            allowed = "a name that no other app of the host has"
            context.add((_APPS, index, "name"), what, allowed, f"name: {name[:20]}-2")
        elif name is not None:
            names[name] = index


def _check_users(apps: Sequence[tuple[int, dict[str, Any]]], context: Context) -> None:
    for index, app in apps:
        user = app["user"]
        for other, before in apps if user is not None else []:
            if user == _account(before) and other != index and (other < index or before["user"] is None):
                what = f"is {user!r}, the user of {_APPS}[{other}] too, which could then read its secrets"
                context.add((_APPS, index, "user"), what, "a user of its own for each app", "leave user out")
                break


def _account(app: Mapping[str, Any]) -> str:
    """The user that an app runs as: as Layout.user has it, unless another is declared."""
    return str(app["user"] or f"hc-{app['name']}")


def _check_addresses(apps: Sequence[tuple[int, dict[str, Any]]], context: Context) -> list[tuple[int, str]]:
    """Returns [(index of an app, where it listens), ...]."""
    taken: list[tuple[int, str]] = []
    for index, app in apps:
        listen = app["listen"]
        if listen is None:
            continue
        other, address = next(((at, there) for at, there in taken if _overlap(listen, there)), (None, ""))
        if other is not None:
            same = "too" if listen == address else f"at {address}, which takes it as well"
            what = f"is {listen!r}, where {_APPS}[{other}] ({_name_at(apps, other)}) listens {same}"
            allowed = "an address that no other app of the host has"
            context.add((_APPS, index, "listen"), what, allowed, f"listen: {inline(_free(listen, taken))}")
        taken.append((index, listen))
    return taken


def _check_trial_port(
    index: int,
    app: dict[str, Any],
    apps: Sequence[tuple[int, dict[str, Any]]],
    taken: Sequence[tuple[int, str]],
    context: Context,
) -> None:
    candidate = trial_listen(app["listen"] or "", _load(app))
    if candidate is None:
        return
    holders = [at for at, address in taken if at != index and _overlap(candidate, address)]
    if holders:
        what = f"is {app['load']['port']}, where {_APPS}[{holders[0]}] ({_name_at(apps, holders[0])}) listens"
        free = _free(candidate, taken).rpartition(":")[2]
        context.add((_APPS, index, "load", "port"), what, "a port that no app of the host has", f"port: {free}")


def _name_at(apps: Sequence[tuple[int, dict[str, Any]]], index: int) -> str:
    return next(str(app["name"]) for at, app in apps if at == index)


def _overlap(left: str, right: str) -> bool:
    """Whether two checked listen addresses cannot both be bound. [::] takes IPv4 too (BindIPv6Only=default)."""
    if left.startswith("unix:") or right.startswith("unix:"):
        return left == right
    (address, port), (other, other_port) = split_listen(left), split_listen(right)
    if port != other_port:
        return False
    one, two = ipaddress.ip_address(address), ipaddress.ip_address(other)
    if one == two or "::" in (address, other):
        return True
    return one.version == two.version and (one.is_unspecified or two.is_unspecified)


def _free(listen: str, taken: Sequence[tuple[int, str]]) -> str:
    if listen.startswith("unix:"):
        return f"{listen[: -len('.sock')]}-2.sock" if listen.endswith(".sock") else f"{listen}-2"
    base, port = listen.rsplit(":", 1)
    for candidate in range(int(port) + 1, 65536):
        text = f"{base}:{candidate}"
        if not any(_overlap(text, address) for _, address in taken):
            return text
    return f"{base}:8000"


def _override(raw: Sequence[Any], overrides: object, context: Context) -> tuple[list[Any], dict[int, tuple[str, Any]]]:
    """The apps with headcount_app_overrides merged in, and which override (name, value) went into the app of which
    index.
    """
    merged = list(raw)
    origins: dict[int, tuple[str, Any]] = {}
    if overrides is None:
        return merged, origins
    if not isinstance(overrides, Mapping):
        context.add(
            (_OVERRIDES,), f"is {kind_of(overrides)}", _VARIABLES[_OVERRIDES].allowed_text, "{shop: {concurrency: 50}}"
        )
        return merged, origins
    # A name of another type is a problem of its app, and nothing can be overridden by it.
    declared = {index: app.get("name") for index, app in enumerate(raw) if isinstance(app, Mapping)}
    names = {name: index for index, name in declared.items() if isinstance(name, str)}
    for key, value in overrides.items():
        name = str(key)
        if name not in names:
            meant = did_you_mean(name, names)
            fix = f"did you mean {meant}?" if meant else "remove it"
            context.add((_OVERRIDES, name), "is no app of this host", ", ".join(names) or "the name of an app", fix)
        elif not isinstance(value, Mapping):
            if value is not None:
                context.add(
                    (_OVERRIDES, name), f"is {kind_of(value)}", "a mapping with keys of an app", "concurrency: 50"
                )
        elif "name" in value:
            context.add(
                (_OVERRIDES, name, "name"), "cannot be overridden", "every key of an app but its name", "remove it"
            )
        else:
            index = names[name]
            merged[index] = _merge(merged[index], value, APP_FIELDS)
            origins[index] = (name, value)
    return merged, origins


def _merge(base: Mapping[Any, Any], over: Mapping[Any, Any], fields: Sequence[Field]) -> dict[Any, Any]:
    by_name = {item.name: item for item in fields}
    result = dict(base)
    for key, value in over.items():
        item = by_name.get(key) if isinstance(key, str) else None
        below = _section_of(item, result.get(key))
        above = _section_of(item, value)
        if item is None or item.replace or below is None or above is None:
            result[key] = value
        else:
            result[key] = _merge(below, above, item.fields)
    return result


def _section_of(item: Field | None, value: object) -> Mapping[Any, Any] | None:
    """A section's value as a mapping, its shorthand written out; None for what is not merged."""
    if item is None or item.type not in ("section", "map"):
        return None
    if isinstance(value, str) and item.shorthand:
        return {item.shorthand: value}
    return value if isinstance(value, Mapping) else None


def _at_override(problem: Problem, origins: Mapping[int, tuple[str, Any]]) -> Problem:
    """The problem, at the override's place where the override is what brought the value."""
    parts = problem.parts
    if len(parts) < 3 or parts[0] != _APPS or not isinstance(parts[1], int) or parts[1] not in origins:
        return problem
    name, value = origins[parts[1]]
    inner: Any = value
    for part in parts[2:]:
        try:
            inner = inner[part]
        except (KeyError, IndexError, TypeError):
            return problem
    return Problem(problem.host, (_OVERRIDES, name, *parts[2:]), problem.what, problem.allowed, problem.fix)


def _hosts_text(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"host {names[0]}"
    listed = ", ".join(names[:_SHOWN_HOSTS])
    more = len(names) - _SHOWN_HOSTS
    return f"hosts {listed} and {more} more" if more > 0 else f"hosts {listed}"
