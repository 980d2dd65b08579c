# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The command line of scripts/plan: numbers in, one app's plan out, as a table, with every limit, or as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import re
import sys
from pathlib import Path
from typing import Any, Callable, Final, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / ".collections"))

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import normalise
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.fields import Problem
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import given
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.reader import for_a_reader
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan import planner
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.types import PathTimes

OK, USAGE, IMPOSSIBLE = 0, 2, 3

EXAMPLES: Final = """examples:
  scripts/plan --cores 4 --memory 8G --profile io --concurrency 200
  scripts/plan --cores 2 --memory 1G --cpu-ms 2 --wait-ms 20 --rate 300 --explain
  scripts/plan --cores 2 --memory 2G --path page=95:5 --path report=5:300 --explain
  scripts/plan --cores 0.5 --memory 256M --profile cpu --proxy --json
  scripts/plan --cores 8 --memory 16G --profile mixed --database-max-connections 200 --hosts 6
  scripts/plan --cores 2 --memory 2G --profile io --blocked 'gevent=psycopg2 blocks the event loop'
  scripts/plan --cores 2 --memory 2G --profile io --set workers=3 --set timeout=60

exit status: 0 a plan, 2 the command line is wrong, 3 no plan is possible (the message says what would make it so)
"""

# The last ones are told by weighing too, and no plan goes by them.
WEIGHED: Final = (*planner.Measured().to_dict(), "kept_mib", "lost_ms", "failures", "boot_seconds", "uncounted")
WEIGHED_OF_PATH: Final = tuple(field.name for field in dataclasses.fields(PathTimes))
UNITS: Final = {"": 1.0, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024.0}


def memory_mib(text: str) -> float:
    """MiB from 512M, 8G, 1.5GiB; a bare number is MiB. Raises ArgumentTypeError otherwise."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if not match or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of memory: use MiB, or 512M, 8G, 1.5G")
    return float(match[1]) * UNITS[match[2]]


def _number(least: float, above: bool, whole: bool, name: str, most: float = math.inf) -> Callable[[str], Any]:
    allowed = f"{name}{' above' if above else ' from'} {least:g}{'' if math.isinf(most) else f', at most {most:g}'}"

    def parse(text: str) -> Any:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}") from None
        if not math.isfinite(value) or not least <= value <= most or (above and value == least):
            raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")
        return value

    return parse


COUNT: Final = _number(1, False, True, "a whole number")
COUNT0: Final = _number(0, False, True, "a whole number")
CORES_MOST: Final = 4096  # as share.cores of the declaration
CORES: Final = _number(0, True, False, "a number", CORES_MOST)
POSITIVE: Final = _number(0, True, False, "a number")
NOT_NEGATIVE: Final = _number(0, False, False, "a number")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name.strip(), value.strip()


def _path(text: str) -> dict[str, Any]:
    name, numbers = _pair(text)
    match = re.fullmatch(r"([0-9.]+):([0-9.]+)(?::([0-9.]+))?", numbers)
    try:
        weight, cpu_ms, wait_ms = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    except ValueError:
        match = None
    if match and (weight <= 0 or cpu_ms <= 0):
        raise argparse.ArgumentTypeError(
            f"{text!r} has a weight of {weight:g} and {cpu_ms:g} ms of CPU: both are above 0, as in report=5:300"
        )
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=WEIGHT:CPU[:WAIT], as report=5:300 or page=95:2:20")
    path = name if name.startswith("/") else f"/{name}"
    return {"path": path, "weight": weight, "cpu_ms": cpu_ms, "wait_ms": wait_ms}


def _python(text: str) -> str:
    if not re.fullmatch(r"3\.[0-9]{1,2}t?", text) or int(text[2:].rstrip("t")) < 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a Python that Headcount supports: 3.9 or later, as 3.11")
    return text


def parser() -> argparse.ArgumentParser:
    """The command line. Defaults are those of an app that declares nothing."""
    result = argparse.ArgumentParser(
        prog="scripts/plan",
        usage="scripts/plan --cores N --memory SIZE [--profile cpu|io|mixed] [--concurrency N] [option ...]",
        description="Says which Gunicorn settings Headcount would choose for an app on a host, and why. Needs no host.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    host = result.add_argument_group("the host")
    host.add_argument("--cores", type=CORES, help="cores that the app gets; a quota may be a fraction (1.5)")
    host.add_argument("--memory", type=memory_mib, metavar="SIZE", help="memory: 512M, 8G")
    host.add_argument("--python", type=_python, default="3.11", metavar="X.Y", help="its Python (%(default)s)")
    host.add_argument("--nofile-max", type=COUNT, default=524288, metavar="N", help="limit of open files (%(default)s)")
    host.add_argument("--somaxconn", type=COUNT, default=4096, metavar="N", help="net.core.somaxconn (%(default)s)")
    host.add_argument("--facts", type=Path, metavar="FILE", help="host facts as JSON, instead of the numbers above")
    host.add_argument(
        "--reserve-memory", type=NOT_NEGATIVE, metavar="MIB", help="MiB left to the system (derived from the memory)"
    )
    host.add_argument(
        "--no-rollout-headroom",
        action="store_true",
        help="one generation may use all memory; a rollout then has no room for two side by side",
    )
    app = result.add_argument_group("the app")
    app.add_argument("--name", default="app", help="its name (%(default)s)")
    app.add_argument("--profile", choices=("cpu", "io", "mixed"), help="what its requests do most (mixed)")
    app.add_argument("--mix", choices=("uniform", "mixed"), help="whether its requests are alike (mixed)")
    app.add_argument(
        "--path",
        type=_path,
        action="append",
        default=[],
        metavar="NAME=WEIGHT:CPU[:WAIT]",
        help="a kind of request: its weight, and ms of CPU and of waiting; several times",
    )
    app.add_argument("--wait-ratio", type=NOT_NEGATIVE, metavar="R", help="time waited / CPU time of a request")
    app.add_argument("--cpu-ms", type=POSITIVE, metavar="MS", help="CPU time of a request")
    app.add_argument("--wait-ms", type=NOT_NEGATIVE, metavar="MS", help="time that a request waits")
    app.add_argument("--concurrency", type=COUNT, metavar="N", help="requests in flight at peak, on this host")
    app.add_argument("--rate", type=POSITIVE, metavar="R", help="requests a second at peak, on this host")
    app.add_argument(
        "--worker-class", choices=("auto", "sync", "gthread", "gevent", "eventlet"), default="auto", help="%(default)s"
    )
    app.add_argument("--worker-memory", type=memory_mib, metavar="SIZE", help="one loaded worker")
    app.add_argument("--slot-memory", type=memory_mib, metavar="SIZE", help="one request in flight, on top")
    app.add_argument(
        "--memory-percent", type=POSITIVE, default=80.0, metavar="P", help="limit of the trial (%(default)s)"
    )
    app.add_argument("--proxy", action="store_true", help="a buffering proxy is in front")
    app.add_argument("--database-max-connections", type=COUNT, metavar="N", help="of a database the fleet shares")
    app.add_argument("--database-reserved", type=COUNT0, default=0, metavar="N", help="for others (%(default)s)")
    app.add_argument(
        "--connections-per-slot", type=NOT_NEGATIVE, default=1.0, metavar="N", help="of a request (%(default)s)"
    )
    app.add_argument("--hosts", type=COUNT, default=1, metavar="N", help="hosts that run the app (%(default)s)")
    app.add_argument("--measured", type=Path, metavar="FILE", help="what weighing measured, as JSON")
    app.add_argument(
        "--profile-mismatch", choices=("use_measured", "warn", "fail"), default="use_measured", help="%(default)s"
    )
    app.add_argument(
        "--blocked", type=_pair, action="append", default=[], metavar="CLASS=WHY", help="a class ruled out"
    )
    app.add_argument("--set", type=_pair, action="append", default=[], metavar="NAME=VALUE", help="override a setting")
    output = result.add_argument_group("output")
    output.add_argument("--current", type=Path, metavar="FILE", help="settings in force as JSON, shown beside the plan")
    output.add_argument("--explain", action="store_true", help="every limit that was considered")
    output.add_argument("--json", action="store_true", help="JSON: each setting, reasons, and the whole plan")
    return result


def _load(path: Path, what: str, parse: argparse.ArgumentParser) -> Any:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        parse.error(f"{what} {path}: {error.strerror}")
    except ValueError as error:
        parse.error(f"{what} {path}: not JSON: {error}")
    if not isinstance(loaded, dict):
        parse.error(f"{what} {path}: a JSON object is needed")
    return loaded


def _measured(path: Path, parse: argparse.ArgumentParser) -> dict[str, Any]:
    """What weighing measured, from a file. Ends with a message for a key or a value that no weighing gives."""
    found: dict[str, Any] = _load(path, "--measured", parse)
    if not isinstance(found.get("uncounted", []), list):
        parse.error(f"--measured {path}: uncounted is {found['uncounted']!r}: a list of sentences is needed")
    paths = found.get("paths")
    if paths is not None and not (isinstance(paths, list) and all(isinstance(item, dict) for item in paths)):
        parse.error(f"--measured {path}: paths is {paths!r}: a list of JSON objects is needed")
    tables = [("", found, WEIGHED)]
    tables += [(f"paths[{place}].", item, WEIGHED_OF_PATH) for place, item in enumerate(paths or [])]
    for prefix, table, known in tables:
        for name, value in table.items():
            if name not in known:
                parse.error(f"--measured {path}: {prefix}{name}: allowed are {', '.join(known)}")
            if name not in ("path", "paths", "uncounted") and not _is_measured(value):
                parse.error(
                    f"--measured {path}: {prefix}{name} is {value!r}: a finite number from 0 is needed, or null for "
                    "not measured"
                )
    return found


def _is_measured(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _override(name: str, text: str, parse: argparse.ArgumentParser) -> Any:
    if text.lower() in ("true", "yes", "false", "no") and name == "preload_app":
        return text.lower() in ("true", "yes")
    if name not in planner.OVERRIDES or name == "preload_app":
        known = ", ".join(planner.OVERRIDES)
        parse.error(f"--set {name}={text}: allowed are {known} (preload_app with true or false)")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    seconds = name in ("keepalive", "timeout", "graceful_timeout")
    least = 0 if name in ("keepalive", "max_requests", "max_requests_jitter", "malloc_trim_threshold_mib") else 1
    if not math.isfinite(value) or value < least or (not seconds and not value.is_integer()):
        parse.error(f"--set {name}={text}: a {'number' if seconds else 'whole number'} from {least} is needed")
    return int(value) if value.is_integer() else value


def _app(arguments: argparse.Namespace, parse: argparse.ArgumentParser) -> dict[str, Any]:
    """The app as the inventory would declare it, normalised. Ends with a message for what preflight would refuse."""
    declared = {
        "name": arguments.name,
        "source": {"path": "."},
        "entry_point": "app:app",
        "listen": "127.0.0.1:8000",
        "profile": arguments.profile,
        "mix": arguments.mix,
        "load": {"paths": arguments.path or None},
        "wait_ratio": arguments.wait_ratio,
        "cpu_ms": arguments.cpu_ms,
        "wait_ms": arguments.wait_ms,
        "worker_class": arguments.worker_class,
        "concurrency": arguments.concurrency,
        "rate": arguments.rate,
        "memory": {"worker_mib": arguments.worker_memory, "slot_mib": arguments.slot_memory},
        "limits": {"memory_percent": min(100.0, arguments.memory_percent)},
        "buffering_proxy": arguments.proxy,
        "database": {
            "max_connections": arguments.database_max_connections,
            "connections_per_slot": arguments.connections_per_slot,
            "reserved": arguments.database_reserved,
        },
        "settings": {name: _override(name, value, parse) for name, value in arguments.set},
        "profile_mismatch": arguments.profile_mismatch,
    }
    apps, problems = normalise.normalise_apps([_without_nothing(declared)], "")
    if problems:
        parse.error("\n".join(_problem(found, arguments) for found in problems))
    return dict(apps[0])


def _without_nothing(section: dict[str, Any]) -> dict[str, Any]:
    """A section without what was not said."""
    inner = {name: _without_nothing(value) if isinstance(value, dict) else value for name, value in section.items()}
    return {name: value for name, value in inner.items() if value is not None}


OPTIONS: Final = {
    "memory.worker_mib": "--worker-memory",
    "memory.slot_mib": "--slot-memory",
    "limits.memory_percent": "--memory-percent",
    "database.max_connections": "--database-max-connections",
    "database.connections_per_slot": "--connections-per-slot",
    "database.reserved": "--database-reserved",
}
"""Options that are not called as their key of the declaration."""


def _problem(found: Problem, arguments: argparse.Namespace) -> str:
    """What preflight says of the declaration, with the option that says it in place of the variable."""
    parts = found.parts[2:]
    key = ".".join(map(str, parts))
    option = OPTIONS.get(key, f"--{str(parts[0]).replace('_', '-')}" if parts else "the app")
    if parts[:2] == ("load", "paths"):
        option = f"--path {arguments.path[int(parts[2])]['path']}" if len(parts) > 2 else "--path"
        option += f": {parts[3]}" if len(parts) > 3 else ""
    elif parts and parts[0] == "settings":
        option = f"--set {parts[1]}" if len(parts) > 1 else "--set"
    allowed = f": allowed is {found.allowed}" if found.allowed else ""
    return f"{option} {found.what}{allowed}" + (f"; fix: {found.fix}" if found.fix else "")


def _facts(arguments: argparse.Namespace, parse: argparse.ArgumentParser) -> dict[str, Any]:
    if arguments.facts is not None:
        facts: dict[str, Any] = _load(arguments.facts, "--facts", parse)
        cores = facts["cores"].get("effective") if isinstance(facts.get("cores"), dict) else None
        if isinstance(cores, (int, float)) and not 0 < cores <= CORES_MOST:
            parse.error(
                f"--facts {arguments.facts}: cores.effective is {cores!r}: allowed is up to {CORES_MOST}, above 0"
            )
        return facts
    if arguments.cores is None or arguments.memory is None:
        parse.error("--cores and --memory are needed (or --facts): scripts/plan --cores 4 --memory 8G --profile io")
    return given.declared(
        arguments.cores,
        max(1, math.floor(arguments.memory)),
        nofile_max=arguments.nofile_max,
        somaxconn=arguments.somaxconn,
        python=arguments.python,
    ).to_dict()


def as_json(plan: planner.Plan) -> dict[str, Any]:
    """Bare settings at the top, a reason for each under `reasons`, and the plan with its limits under `plan`."""
    return {
        **plan.values(),
        "slots": plan.slots,
        "reasons": {name: setting.reason for name, setting in plan.settings.items()},
        "warnings": list(plan.warnings),
        "plan": plan.to_dict(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line, also for a reader that goes away; the exit status."""
    return for_a_reader(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    parse = parser()
    arguments = parse.parse_args(argv)
    app, facts = _app(arguments, parse), _facts(arguments, parse)
    measured = None if arguments.measured is None else _measured(arguments.measured, parse)
    current = None if arguments.current is None else _load(arguments.current, "--current", parse)
    name = arguments.name
    try:
        plan = planner.plan_host(
            facts,
            [app],
            measured={name: measured},
            fleet={name: arguments.hosts},
            previous={name: current},
            async_verdicts={name: dict(arguments.blocked)},
            policy=planner.Policy(not arguments.no_rollout_headroom, arguments.reserve_memory),
        )[name]
    except planner.PlanError as error:
        if arguments.json:
            print(json.dumps({"error": error.to_dict()}, indent=2))
        print(f"scripts/plan: no plan is possible: {error}", file=sys.stderr)
        return IMPOSSIBLE
    except (KeyError, TypeError, ValueError) as error:
        if arguments.facts is None:
            raise
        parse.error(f"--facts {arguments.facts}: not the facts of a host: {error!r}")
    if arguments.json:
        print(json.dumps(as_json(plan), indent=2))
    else:
        print("\n".join(planner.explain(plan) if arguments.explain else planner.render_table(plan, current)))
    return OK
