# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""`headcount` on a host: status, top, plan, history and rollback, with nothing but what is on the host."""

from __future__ import annotations

import argparse
import compileall
import contextlib
import getpass
import hashlib
import importlib
import itertools
import json
import os
import re
import secrets
import signal
import socket
import sys
import time
from typing import Any, Callable, TypeVar

from ._generation import generations, ledger, loadtests, phases, unbegun
from ._generation.asked import AppAsked
from ._generation.failures import StepFailed, sentence
from ._generation.lock import AppLock, Busy
from ._generation.run import Run
from ._generation.state import AppState, app_state
from ._generation.takeover import GIVEN_BACK, Record
from ._generation.writable import unwritable
from ._host import boot, byhand, probe
from ._host.guard import guard
from ._host.loadtest import load_test
from ._host.retune import retune
from ._os import exporterunit
from ._os.files import as_mapping, make_directory, read_text_file, replace_link, write_file
from ._os.paths import TOOL, Layout, installed_apps
from ._os.reader import for_a_reader
from ._os.removal import try_to_remove_tree
from ._os.secrecy import clean, clean_text
from ._os.secretfiles import learn_from
from ._os.systemd import Systemd, SystemdError
from ._os.taken import address_taken
from ._plan.text import explain
from ._plan.types import Plan
from ._steps import guarding, sampler
from ._steps.app import AppOnHost
from ._steps.giveback import give_back
from ._steps.rollback import rollback
from ._watch.exporter import collect, serve, write_textfile
from ._watch.text import status_lines, top_lines
from ._watch.view import app_view

OK, FAILED, USAGE, BUSY = 0, 1, 2, 3
SIGNALLED = 128
"""And the signal that a command was asked to end by."""
RUN_BY_OTHERS = (sampler, probe)
"""Modules that a unit of the host runs, or the module tool_info, so that they are among own_sources()."""

_LAUNCHER = """\
#!/bin/sh
# {what} Written by Headcount.
exec {python} -I -c 'import sys; sys.path.insert(0, "{tool}"); from headcount._hosttool import main; sys.exit(main())' \
    {arguments}"$@"
"""


def this_run() -> Run:
    """A run that a person starts on the host itself."""
    user = os.environ.get("SUDO_USER") or getpass.getuser()
    return Run(secrets.token_hex(4), user, f"{socket.gethostname()} (on the host)", ledger.now_text())


def install(sources: dict[str, str], root: str = "/", python: str = sys.executable) -> bool:
    """Put the host tool on this host: {path below this package, without ".py": source}. True when anything changed.

    Each version has a folder of its own, named by its content, and one rename of `current` moves to it: killed at any
    instruction, the host has one whole tool. The version before stays, for a command that is running.
    """
    top = os.path.join(root, TOOL)
    files = {**sources, "__init__": ""}
    version = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    package = os.path.join(top, version, "headcount")
    for name, text in sorted(files.items()):
        path = os.path.join(package, f"{name}.py")
        make_directory(os.path.dirname(path))
        if read_text_file(path) != text:
            write_file(path, text)
    compileall.compile_dir(package, quiet=2)  # a probe reads with it, and writes nothing
    before = _target(os.path.join(top, "current"))
    changed = replace_link(os.path.join(top, "current"), version)
    for name in os.listdir(top):
        if changed and name not in (version, before, "current"):
            try_to_remove_tree(os.path.join(top, name))
    directory = os.path.join(root, "usr/local/sbin")
    make_directory(directory)
    tool = f"/{TOOL}/current"
    for command, arguments, what in (
        ("headcount", "", "What Headcount knows of this host's apps."),
        ("headcount-rollback", "rollback ", "Goes back to an earlier generation."),
    ):
        text = _LAUNCHER.format(what=what, tool=tool, python=python, arguments=arguments)
        path = os.path.join(directory, command)
        if read_text_file(path) != text:
            write_file(path, text, 0o755)
            changed = True
    return changed


def _target(link: str) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def own_sources() -> dict[str, str]:
    """Sources of this package's modules for install(), from wherever Python loads them (a zip archive, too): of those
    that are loaded, and of those that functions of them import when they are called."""
    package = f"{__package__ or ''}."
    found: dict[str, str] = {}
    seen: set[str] = set()
    while left := {name for name in sys.modules if name.startswith(package)} - seen:
        seen |= left
        for name in sorted(left):
            module = sys.modules[name]
            loader: Any = getattr(getattr(module, "__spec__", None), "loader", None)
            source = loader.get_source(name) if hasattr(loader, "get_source") else None
            if source is not None:
                path = name[len(package) :].replace(".", "/")
                found[f"{path}/__init__" if hasattr(module, "__path__") else path] = source
                _import_later(name, source)
    found.pop("_wiring", None)  # it is about Ansible, which the host need not have
    return found


_LATER = re.compile(r"^[ ]+from (\.+)([\w.]*) import (\w+)", re.MULTILINE)


def _import_later(name: str, source: str) -> None:
    """Import what a module's functions import when they are called."""
    for dots, below, item in _LATER.findall(source):
        parent = name.rsplit(".", len(dots))[0]
        importlib.import_module(f"{parent}.{below or item}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="headcount", description="What Headcount knows of this host's apps.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="what is live, whether it is intact and healthy")
    status.add_argument("app", nargs="?", help="one app only")
    status.add_argument("--json", action="store_true", help="machine-readable")
    top_ = commands.add_parser(
        "top",
        help="how the apps serve their users now: requests, latencies, errors, busy slots, memory",
        description="Requests of the last seconds by instance, until ^C. Durations are the server's; `busy`: requests "
        "in flight of planned slots; `waiting`: connections that nobody has accepted yet.",
    )
    top_.add_argument("app", nargs="?", help="one app only, with its workers")
    top_.add_argument("-d", type=float, default=2.0, metavar="SECONDS", help="between two readings (default 2)")
    top_.add_argument("-n", type=int, metavar="COUNT", help="so many tables, then end")
    top_.add_argument("--json", action="store_true", help="machine-readable: the counts of one reading a line")
    metrics = commands.add_parser(
        "metrics",
        help="the same for Prometheus, once",
        description="How the apps run now, in Prometheus' text format; headcount-exporter.service answers with it.",
    )
    metrics.add_argument("--textfile", metavar="PATH", help="write it there, whole or not at all, for node_exporter")
    exporter = commands.add_parser("exporter", help="answer GET /metrics until ended; what headcount-exporter runs")
    exporter.add_argument("--listen", default="127.0.0.1:9788", metavar="ADDRESS:PORT")
    plan = commands.add_parser("plan", help="the live plan of an app, with the reason for each number")
    plan.add_argument("app")
    plan.add_argument("--json", action="store_true", help="machine-readable")
    history = commands.add_parser("history", help="the ledger, newest first")
    history.add_argument("app", nargs="?", help="one app only")
    history.add_argument("-n", type=int, default=20, metavar="COUNT", help="how many events (default 20)")
    history.add_argument("--json", action="store_true", help="machine-readable: one event a line")
    rollback = commands.add_parser(
        "rollback",
        help="go back to an earlier generation: no network, no controller, no build",
        description="Goes back to generation N, or to the good one before the live. A target that does not come up "
        "healthy is not kept. Exit status: 0 done, 1 not done (what was live is live), 3 another run holds the app,"
        " 130 or 143 asked to end by ^C or SIGTERM: a switch that had begun was ended first.",
    )
    rollback.add_argument("app")
    where = rollback.add_mutually_exclusive_group()
    where.add_argument("generation", nargs="?", type=int, metavar="N")
    where.add_argument(
        "--to-former",
        action="store_true",
        help="give the address back to the service that the app was taken over from",
    )
    again = commands.add_parser(
        "retune",
        help="plan the app for what this host is now, and roll that out here: no network, no controller, no build",
        description="Plans the live release for what this host is now. A plan that differs from the live one goes the "
        "way of every rollout: weigh, trial, verdict, promote or keep. Exit status: 0 done or nothing to do, 1 not "
        "done (what was live is live), 3 another run holds the app.",
    )
    again.add_argument("app")
    by_hand = commands.add_parser(
        "run",
        help="run a command with the live release, in the app's sandbox: headcount run shop -- flask users create",
        description="Runs a command with the live release, as the app's user, in its sandbox, with its data,"
        " environment and secrets, on this terminal where there is one. Exit status: the command's; 1 where it could"
        " not be begun.",
    )
    by_hand.add_argument("app")
    by_hand.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="a program and its arguments")
    watch = commands.add_parser("guard", help="watch what users of a new generation get; what a promote starts")
    watch.add_argument("app")
    tested = commands.add_parser(
        "load-test",
        help="repeat the load of the trial on what is live; what its timer starts",
        description="Repeats the load of the trial on the live generation, as its declaration's load_test says."
        " Exit status: 0 measured, 1 nothing to test, 3 skipped because something was in its way, 4 stopped because"
        " users were hurt, 5 not measured.",
    )
    tested.add_argument("app")
    commands.add_parser("boot", help="what this host does after each boot: notice that its hardware changed")
    return top


def main(arguments: list[str] | None = None, root: str = "/") -> int:
    """Run the command, also for a reader that goes away; returns its exit status."""
    return for_a_reader(lambda: _told(arguments, root))


def _told(arguments: list[str] | None, root: str) -> int:
    """_main(), with what the host refuses in a sentence: no process or no room is left, or systemd is silent."""
    try:
        return _main(arguments, root)
    except (SystemdError, OSError) as error:
        print(f"headcount: {clean_text(sentence(error))}", file=sys.stderr)
        return FAILED


def _main(arguments: list[str] | None, root: str) -> int:
    options = parser().parse_args(arguments)
    if not _may_read(root):  # before anything is looked at: folders of apps are closed to others, too
        print("headcount: its state is readable by root only; use sudo", file=sys.stderr)
        return USAGE
    apps = installed_apps(root)
    wanted = getattr(options, "app", None)
    if wanted is not None and wanted not in apps:
        print(
            f"headcount: there is no app {wanted!r} on this host; there are: {', '.join(apps) or 'none'}",
            file=sys.stderr,
        )
        return USAGE
    chosen = [wanted] if wanted else apps
    run = {
        "status": _status,
        "top": _top,
        "metrics": _metrics,
        "exporter": _exporter,
        "plan": _plan,
        "history": _history,
        "rollback": _rollback,
        "retune": _retune,
        "run": _by_hand,
        "guard": _guard,
        "load-test": _load_test,
        "boot": _at_boot,
    }[options.command]
    return run(options, chosen, root)


def _may_read(root: str) -> bool:
    """Whether who calls may read Headcount's state below `root`; on a host itself that is root alone."""
    if root == "/":
        return os.geteuid() == 0
    state = Layout("x", root).state.rpartition("/")[0]
    return not os.path.lexists(state) or os.access(state, os.R_OK | os.X_OK)


def _status(options: argparse.Namespace, apps: list[str], root: str) -> int:
    states = {app: _with_cause(app, app_state(_asked(Layout(app, root)), root), root) for app in apps}
    if options.json:
        told = {app: {**state, "now": app_view(app, root).to_dict()} for app, state in states.items()}
        print(json.dumps(told, indent=2, sort_keys=True))
    else:
        for app, state in states.items():
            _print_status(app, state, root)
        _tell_of_the_exporter(options.app, root)
    sound = all(state["healthy"] and state["intact"] and not state["leftovers"] for state in states.values())
    return OK if sound else FAILED


def _with_cause(app: str, state: AppState, root: str) -> AppState:
    """The state, with what systemd could not do where it could not begin what is live."""
    live = state["live"]
    if live is not None and not state["healthy"]:
        found = unbegun.causes(Layout(app, root), live["generation"], Systemd())
        state["health_detail"] = "; ".join([state["health_detail"], *clean(found)])
    return state


def _print_status(app: str, state: AppState, root: str) -> None:
    live, busy = state["live"], AppLock(Layout(app, root)).at_work()
    for clash in state["clashes"]:
        print(f"  ! {app}: in its way: {clash}")
    if live is None:
        print(_nothing_live(Layout(app, root), state["leftovers"]))
        return
    print(f"{app}: generation {live['generation']} (release {live['release']}) on {live['listen']}")
    print(f"  {'healthy' if state['healthy'] else 'NOT HEALTHY'}: {state['health_detail']}")
    if busy:
        print(f"  {busy}: what is amiss meanwhile may be its own doing; look again when it has ended")
    if state["rollback_hint"]:
        print(f"  {state['rollback_hint']}")
    watched = guarding.words(_app(app, root), live["generation"])
    went_back = guarding.went_back(Layout(app, root), live["generation"])
    tested = loadtests.words(loadtests.read(Layout(app, root)))
    for line in filter(None, [*status_lines(app_view(app, root)), watched, went_back, tested]):
        print(f"  {line}")
    beside = [*unwritable(Layout(app, root)), *_former_runs(Layout(app, root))]
    for problem in state["problems"] + state["leftovers"] + state["open"] + beside:
        print(f"  ! {problem}")


def _former_runs(layout: Layout) -> list[str]:
    """That the service runs which the app was taken over from, as somebody has started it by hand, in a sentence."""
    unit = str(phases.left(layout).get("unit") or "")
    if not unit or Systemd().state(unit).gone:
        return []
    return [
        f"{unit}, whose address {layout.app} has, runs beside it: `systemctl stop {unit}` ends it, and "
        f"`headcount-rollback {layout.app} --to-former` gives it the address back"
    ]


def _tell_of_the_exporter(app: str | None, root: str) -> None:
    """Say that the host's exporter does not run, where that is so and no single app was asked for."""
    seen, name = exporterunit.seen(root), exporterunit.UNIT
    if app is not None or seen not in (exporterunit.STOPPED, exporterunit.MASKED):
        return
    if seen == exporterunit.MASKED:
        fix = f"it is masked: systemctl unmask {name}, then a rollout"
    else:
        fix = address_taken(exporterunit.installed(root)) or f"systemctl start {name}"
    print(f"! {name} does not run: Prometheus is told nothing of this host; {fix}")


def _asked(layout: Layout) -> AppAsked:
    """The app, with the service that it was taken over from: that has its units again when it was given back. Or that
    it is to be taken over from: until a generation is live, the newest one's declaration alone says so."""
    record = Record.read(layout)
    newest = next(reversed(generations.numbers(layout)), None)
    if (record is None or record.phase == GIVEN_BACK) and newest is not None and generations.live(layout) is None:
        app = as_mapping(generations.record(layout, newest).get("app"))
        if app.get("former"):
            return {"name": layout.app, "former": str(app["former"]), "listen": str(app.get("listen") or "")}
    if record is None:
        return {"name": layout.app}
    return {"name": layout.app, "former": record.unit, "listen": record.address}


def _nothing_live(layout: Layout, leftovers: list[str]) -> str:
    """That nothing of the app is live, whether its former service serves again, and what is left of a run."""
    again = "; its former service has its address back" if ledger.given_back(ledger.read(layout.ledger)) else ""
    return "\n  ! ".join([f"{layout.app}: nothing is live{again}", *leftovers])


def _top(options: argparse.Namespace, apps: list[str], root: str) -> int:
    """A table every few seconds, each from two readings; or, as JSON, each reading."""
    wipe = "\033[H\033[J" if sys.stdout.isatty() and options.n is None else ""
    try:
        seen = [app_view(app, root) for app in apps]
        for turn in itertools.count() if options.n is None else range(options.n):
            if turn or not options.json:
                time.sleep(max(0.1, options.d))
                before, seen = seen, [app_view(app, root) for app in apps]
            if options.json:
                print(json.dumps({view.app: view.to_dict() for view in seen}, sort_keys=True), flush=True)
            else:
                print(wipe + "\n".join([*top_lines(before, seen, workers=bool(options.app)), ""]), flush=True)
    except KeyboardInterrupt:
        return OK
    except SystemdError as error:
        print(f"headcount: {error}", file=sys.stderr)
        return FAILED
    return OK


def _metrics(options: argparse.Namespace, apps: list[str], root: str) -> int:
    if options.textfile:
        write_textfile(options.textfile, root)
    else:
        print(collect(root), end="")
    return OK


def _exporter(options: argparse.Namespace, apps: list[str], root: str) -> int:
    serve(options.listen, root)
    return OK


def _plan(options: argparse.Namespace, apps: list[str], root: str) -> int:
    layout = Layout(apps[0], root)
    live = generations.live(layout)
    if live is None:
        print(f"headcount: nothing of {apps[0]} is live", file=sys.stderr)
        return FAILED
    plan = generations.record(layout, live).get("plan")
    if not plan:
        print(f"headcount: generation {live} has no record that can be read (generation.json)", file=sys.stderr)
        return FAILED
    if options.json:
        print(json.dumps(plan, indent=2, sort_keys=True))
        return OK
    print(f"{apps[0]}, generation {live}")
    print("\n".join(explain(Plan.from_dict(plan))))
    return OK


def _history(options: argparse.Namespace, apps: list[str], root: str) -> int:
    entries: list[ledger.Entry] = []
    for app in apps:
        learn_from(Layout(app, root).state)
        entries += [{"app": app, **entry} for entry in ledger.read(Layout(app, root).ledger)]
    entries = clean(entries)
    entries.reverse()  # two events of one millisecond stay in their order, too
    entries.sort(key=lambda entry: str(entry["time"]), reverse=True)
    for entry in entries[: options.n]:
        print(json.dumps(entry) if options.json else describe(entry))
    return OK


def describe(entry: ledger.Entry) -> str:
    """A ledger entry as one line for people."""
    arrow = f" {entry.get('from') or '-'} -> {entry.get('to')}" if entry.get("to") is not None else ""
    about = f" generation {entry['generation']}" if entry.get("generation") is not None and not arrow else ""
    listed = entry.get("did") or entry.get("changes") or entry.get("told") or []
    listed = listed if isinstance(listed, list) else [listed]
    if entry["event"] in ("prepared", "ran"):
        listed = [*_commands_told(entry), *listed]
    elif entry["event"] == "given_back":
        listed = [f"to {entry.get('former')}"]
    detail = entry.get("cause") or entry.get("evidence") or "; ".join(map(str, listed))
    who = f"{entry.get('user')}@{entry.get('controller')}"
    return (
        f"{entry['time'] or 'at an unknown time'}  {entry.get('app', '')}  {entry['event']}{arrow}{about}  by {who}"
        + (f": {detail}" if detail else "")
    )


def _commands_told(entry: ledger.Entry) -> list[str]:
    """The commands of an entry in words."""
    if entry["event"] == "ran":
        return [f"`{entry.get('command')}` ended with status {entry.get('status')}"]
    commands = entry.get("commands")
    return [f"`{as_mapping(one).get('run')}`" for one in commands] if isinstance(commands, list) else []


def _app(name: str, root: str) -> AppOnHost:
    """The app, for a person who sees at once what a step has to wait for."""

    def say(words: str) -> None:
        print(f"headcount: {clean_text(words)}", file=sys.stderr, flush=True)

    app = AppOnHost(name, this_run(), root, say=say, by_hand=True)
    app.lock.say = say
    return app


def _rollback(options: argparse.Namespace, apps: list[str], root: str) -> int:
    app = _app(apps[0], root)
    if options.to_former:
        return _step(
            lambda: give_back(app),
            lambda done: "\n  ".join([f"{apps[0]}: {done['former']} has its address again", *done["told"]]),
            app,
        )
    return _step(
        lambda: rollback(app, options.generation),
        lambda done: "\n  ".join(
            [f"{apps[0]}: generation {done['to']} is live again (it was {done['from']})", *done["told"]]
        ),
        app,
    )


def _retune(options: argparse.Namespace, apps: list[str], root: str) -> int:
    app = _app(apps[0], root)
    return _step(lambda: retune(app), lambda done: boot.tuned_words(apps[0], done), app)


def _by_hand(options: argparse.Namespace, apps: list[str], root: str) -> int:
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        print(f"headcount: say what to run: headcount run {apps[0]} -- COMMAND", file=sys.stderr)
        return USAGE
    try:
        return byhand.run(_app(apps[0], root), words, sys.stdin.isatty() and sys.stdout.isatty())
    except StepFailed as error:
        print(f"headcount: {clean_text(error.cause)}", file=sys.stderr)
        return FAILED


def _guard(options: argparse.Namespace, apps: list[str], root: str) -> int:
    run = Run(f"guard-{secrets.token_hex(4)}", "root", f"{socket.gethostname()} (guard)", ledger.now_text())
    return _step(lambda: guard(AppOnHost(apps[0], run, root)), lambda words: f"{apps[0]}: {words}")


def _load_test(options: argparse.Namespace, apps: list[str], root: str) -> int:
    run = Run(f"load-test-{secrets.token_hex(4)}", "root", f"{socket.gethostname()} (load test)", ledger.now_text())
    came: list[loadtests.Entry] = []

    def test() -> str:
        came.append(load_test(AppOnHost(apps[0], run, root)))
        return loadtests.words(came)

    return _step(test, lambda words: f"{apps[0]}: {words}") or loadtests.EXIT_STATUS[came[0].outcome]


def _at_boot(options: argparse.Namespace, apps: list[str], root: str) -> int:
    return OK if boot.check(root) else FAILED


_Done = TypeVar("_Done")


def _step(step: Callable[[], _Done], words: Callable[[_Done], str], app: AppOnHost | None = None) -> int:
    """Run a step and say what came of it. One that was asked to end by a signal has the status of that (`app`: of a
    person's), whatever came of it."""
    try:
        status = _said(step, words)
    except KeyboardInterrupt:
        if app is None:
            raise
        with contextlib.suppress(OSError):
            app.lock.release(app.run)
        print("headcount: ended by ^C while no step was at work", file=sys.stderr)
        return SIGNALLED + signal.SIGINT
    return SIGNALLED + app.asked_to_end if app is not None and app.asked_to_end else status


def _said(step: Callable[[], _Done], words: Callable[[_Done], str]) -> int:
    try:
        print(clean_text(words(step())))
    except Busy as error:
        print(f"headcount: {error}", file=sys.stderr)
        return BUSY
    except StepFailed as error:
        print(f"headcount: {clean_text(error.cause)}", file=sys.stderr)
        return FAILED
    return OK


if __name__ == "__main__":
    sys.exit(main())
