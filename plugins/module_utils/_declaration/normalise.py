# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is declared for a host, checked and normalised.

Pure functions: the inventory's values go in (already templated), normalised apps and all problems come out. The table
of what can be declared is in `table`, the rules between two keys of an app in `rules`, those between two apps in
`together`; those between hosts are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .app import App
from .asking import complete, unbelieved
from .braces import strangers
from .digests import REDACTED, digest, looks_secret, public_digest, raw_env, redacted, secret_header, secrets_digest
from .fields import Context, Parsed, Part, Problem, did_you_mean, inline, kind_of, parse, parse_fields, walk
from .mixture import declared_kinds, spread_of
from .origin import CONTROLLER, HOST
from .overrides import OVERRIDES, at_override, override
from .profiles import PROFILE_WAIT_RATIO, profile_of
from .roles import INTERNAL_PREFIXES
from .rules import RULES, SOURCE_KINDS, declared_load, declared_paths
from .shortfall import load_shortfall
from .table import APP_FIELDS, COMMAND_VARIABLES, VARIABLES
from .together import APP, APPS, check_exporter, check_together

__all__ = [
    "PROFILE_WAIT_RATIO",
    "REDACTED",
    "Declaration",
    "Problem",
    "command_problems",
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
_VARIABLES: Final = {item.name: item for item in VARIABLES}
_KNOWN: Final = {**_VARIABLES, **{item.name: item for item in COMMAND_VARIABLES}}
_SHOWN_HOSTS: Final = 3
_SHOWN_ORIGINS: Final = 10

# Where a key belongs that was written beside the app's own: p95_ms -> limits.p95_ms.
_ELSEWHERE: Final[dict[str, str]] = {}
for _path, _item in walk(APP_FIELDS):
    if _item.name and "." in _path:
        _ELSEWHERE.setdefault(_item.name, _path)


@dataclass(frozen=True)
class Declaration:
    """Everything declared for one host. `apps` are normalised and hold secrets: show `redacted` ones only."""

    host: str
    apps: list[Parsed] = field(repr=False)
    variables: Parsed = field(repr=False)
    problems: list[Problem]


def normalise_apps(
    raw: object, host: str, overrides: object = None, retain: int | None = None
) -> tuple[list[Parsed], list[Problem]]:
    """The apps of a host in their normalised form, and every problem of their declaration.

    `raw` is the value of headcount_apps, `overrides` that of headcount_app_overrides, `retain` that of
    headcount_retain; numbers and booleans may be strings, as Jinja gives them. With a problem the apps are still
    complete in shape, but not to be used.

    Every app has every key of the table, sections completed by their defaults, except: `source` becomes {kind,
    value, version, lock, subdirectory}, `settings` holds only what was declared. `wait_ratio` is the declared one,
    or wait_ms / cpu_ms, or the profile's (PROFILE_WAIT_RATIO), or None when nothing says anything about waiting.
    """
    context = Context(host)
    item = _VARIABLES[APPS]
    if raw is None:
        context.add(
            (APPS,), "is missing", item.allowed_text, "declare the apps of this host, or take it out of the play"
        )
        return [], context.problems
    if isinstance(raw, Mapping) and "name" in raw:
        context.add((APPS,), "is a mapping", item.allowed_text, "begin the app with a hyphen: - name: ...")
        return [], context.problems
    if isinstance(raw, (str, bytes, Mapping)) or not isinstance(raw, Sequence):
        context.add((APPS,), f"is {kind_of(raw)}", item.allowed_text, "headcount_apps: [{name: shop, ...}]")
        return [], context.problems
    if not raw:
        context.add((APPS,), "is an empty list", item.allowed_text, "declare an app, or take the host out of the play")
        return [], context.problems
    merged, origins = override(raw, overrides, context)
    apps = []
    for index, declared in enumerate(merged):
        app = _app(declared, (APPS, index), context, retain)
        if app is not None:
            apps.append((index, app))
    check_together(apps, context)
    return [app for _, app in apps], [at_override(problem, origins) for problem in context.problems]


def normalise_host_vars(variables: Mapping[str, object], host: str) -> tuple[Parsed, list[Problem]]:
    """The headcount_* variables of a host other than its apps, completed by their defaults, and every problem.

    `variables` may hold everything that the host has; what does not begin with headcount_ is ignored. An unknown
    headcount_* variable is a problem, because it is a mistyped one that would silently do nothing.
    """
    context = Context(host)
    for name in sorted(variables):
        if not name.startswith(PREFIX) or name in _KNOWN or name.startswith(INTERNAL_PREFIXES):
            continue
        meant = did_you_mean(name, _KNOWN)
        fix = f"did you mean {meant}?" if meant else "remove it, or rename it if it is a variable of your own"
        context.add((name,), "is not known", "a variable that docs/variables.md names", fix)
    values: Parsed = {}
    for item in VARIABLES:
        if item.name not in (APPS, OVERRIDES):
            values[item.name] = parse(item, variables.get(item.name), (item.name,), context)
    for item in COMMAND_VARIABLES:
        values[item.name] = parse(item, variables.get(item.name), (item.name,), context)
    base_dir = values["headcount_base_dir"]
    if base_dir is not None and not base_dir.startswith("/"):
        context.add(
            ("headcount_base_dir",),
            f"is {base_dir!r}",
            _VARIABLES["headcount_base_dir"].allowed_text,
            f'headcount_base_dir: "{{{{ inventory_dir }}}}/{base_dir}"',
        )
    return values, context.problems


def command_problems(said: Mapping[str, object]) -> list[str]:
    """What is wrong with what a playbook for one app was told, in sentences. `said`: values by variable; the app's
    name, and each other one that is given (neither null nor empty)."""
    context = Context("")
    for name, value in said.items():
        known = _KNOWN[name]
        item = known.items if name == APP and known.items is not None else known
        if value not in (None, ""):
            parse(item, value, (name,), context)
        elif item.required:
            context.add((name,), "is missing", item.allowed_text, f"-e {name}=NAME")
    return [problem.text for problem in context.problems]


def normalise_host(variables: Mapping[str, object], host: str) -> Declaration:
    """Everything declared for a host, from all its variables (templated)."""
    values, problems = normalise_host_vars(variables, host)
    apps, more = normalise_apps(variables.get(APPS), host, variables.get(OVERRIDES), values["headcount_retain"])
    context = Context(host)
    if values["headcount_exporter"] and values["headcount_exporter_listen"] and not more:
        check_exporter(apps, str(values["headcount_exporter_listen"]), context)
    return Declaration(host, apps, values, [*more, *problems, *context.problems])


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

    `declarations` are those of the play's hosts, `inventory_hosts` the names of all hosts of the inventory.
    """
    problems: list[Problem] = []
    if not declarations:
        return problems
    play = [declaration.host for declaration in declarations]
    known = set(inventory_hosts) | set(play)
    first = declarations[0]
    for declaration in declarations:
        for item in _KNOWN.values():
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
    problems += _unknown_apps(first, declarations)
    for declaration in declarations:
        for index, app in enumerate(declaration.apps):
            problem = _unknown_origin(declaration.host, index, app, known)
            if problem is not None:
                problems.append(problem)
    return problems


def _unknown_apps(first: Declaration, declarations: Sequence[Declaration]) -> Iterable[Problem]:
    """Apps that a run is to be limited to and that no host of the play has."""
    known = fleet_counts(declarations)
    for name in first.variables.get(APP) or []:
        if name not in known:
            yield Problem(
                first.host,
                (APP,),
                f"names {name!r}, which is declared for no host of the play",
                f"one of the apps {', '.join(known)}, or several",
                f"{APP}: {did_you_mean(name, known) or next(iter(known), name)}",
            )


def _unknown_origin(host: str, index: int, app: Parsed, known: set[str]) -> Problem | None:
    """Why the load of an app cannot come from where it is declared to; None when it can."""
    name = declared_load(app).origin
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
        (APPS, index, "load", "from"),
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


def warnings_for(app: App) -> list[str]:
    """What is allowed but probably not meant; never with a value that may be secret."""
    found = [
        f"{app.name}: environment.{name} looks like a secret; secrets.{name} keeps it out of all output"
        for name, value in app.environment.items()
        if looks_secret(name, value)
    ]
    found += [
        f"{app.name}: gunicorn.raw_env has {name}, which looks like a secret; secrets.{name} keeps it out of"
        " gunicorn.conf.py and of all output"
        for name, _, value in (pair.partition("=") for pair in raw_env(app))
        if looks_secret(name, value)
    ]
    found += strangers(app)
    short = load_shortfall(app.load, app.limits)
    if short is not None:  # its retry can pass, or it had been refused
        found.append(f"{app.name}: {short.sentence}")
    found += [
        f"{app.name}: load.paths: the header {name} can be read in the host's process list while the trial lasts"
        for path in app.load.paths
        for name in path.headers
        if secret_header(name)
    ]
    found += [f"{app.name}: {sentence}" for sentence in (unbelieved(app),) if sentence]
    if app.worker_class == "eventlet":
        found.append(
            f"{app.name}: worker_class eventlet was removed from Gunicorn in 26.0 and is pinned to the last release"
            " that has it; gevent is the maintained choice"
        )
    return found


def _app(declared: object, parts: tuple[Part, ...], context: Context, retain: int | None) -> Parsed | None:
    if not isinstance(declared, Mapping):
        context.add(parts, f"is {kind_of(declared)}", "a mapping with the keys of an app", "name: shop")
        return None
    before = len(context.problems)
    app = parse_fields(APP_FIELDS, declared, parts, context, _ELSEWHERE)
    broken = {problem.parts[len(parts)] for problem in context.problems[before:] if len(problem.parts) > len(parts)}
    for key, check in RULES:
        if not broken & set(key):
            check(app, parts, context)
    complete(app)
    app["wait_ratio"] = _wait_ratio(app)
    app["source"] = _source(app["source"])
    if app["retain"]["good"] is None:
        default = _VARIABLES["headcount_retain"].default if retain is None else retain
        app["retain"]["good"] = default
    return app


def _source(source: Parsed | None) -> Parsed:
    source = source or {}
    kind = next((kind for kind in SOURCE_KINDS if source.get(kind) is not None), "path")
    form, requirements = source.get("as") or "auto", source.get("requirements")
    return {
        "kind": kind,
        "value": source.get(kind),
        "version": source.get("version"),
        "lock": source.get("lock"),
        "subdirectory": source.get("subdirectory"),
        "include": source.get("include") or [],
        **({} if form == "auto" else {"as": form}),
        **({} if requirements is None else {"requirements": requirements}),
    }


def _wait_ratio(app: Parsed) -> float | None:
    kinds = declared_kinds(declared_paths(app))
    if kinds:
        spread = spread_of(kinds)
        return spread.wait_ms / spread.cpu_ms
    if app["wait_ratio"] is not None:
        return float(app["wait_ratio"])
    if app["cpu_ms"] is not None and app["wait_ms"] is not None:
        return float(app["wait_ms"]) / float(app["cpu_ms"])
    return PROFILE_WAIT_RATIO[app["profile"]] if app["profile"] is not None else None


def _hosts_text(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"host {names[0]}"
    listed = ", ".join(names[:_SHOWN_HOSTS])
    more = len(names) - _SHOWN_HOSTS
    return f"hosts {listed} and {more} more" if more > 0 else f"hosts {listed}"
