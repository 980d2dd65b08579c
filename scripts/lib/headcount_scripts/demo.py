# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/demo: two hosts in a lab on this machine, the sample app rolled out to them, and what came of it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import bootstrap, images, labmodel, labs, monitorlab, paths
from .console import ScriptError, colour, say
from .labmodel import DEFAULT_LAB

REPORT = paths.WORK / "report.json"
PAGE = REPORT.with_suffix(".html")
EXPORTED = ("-e", '{"headcount_exporter": true, "headcount_exporter_listen": "0.0.0.0:9788"}')
"""Has the lab's hosts export how their apps run, where another host of a lab reaches it."""
PATIENCE_S = "60"
"""So many seconds Ansible waits for a host to answer (ANSIBLE_TIMEOUT), unless that is set."""

EPILOG = """\
The first call installs what is missing, builds the lab's images and takes a few minutes; later ones take seconds and
change nothing. ^C is safe: call it again. Arguments after -- go to ansible-playbook, like: scripts/demo -- --check

exit codes: 0 every app answers, 1 something failed, 2 wrong use; when the rollout fails, ansible-playbook's own."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--down", action="store_true", help="remove the lab, its images and the demo's files")
    parser.add_argument(
        "--monitoring",
        action="store_true",
        help="have the hosts export how their apps run, and one more host of a lab with Prometheus and Alertmanager",
    )
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help=argparse.SUPPRESS)
    return parser


def _down() -> int:
    removed = [*labs.down(DEFAULT_LAB), *monitorlab.down()]
    if shutil.which("podman"):
        removed += images.remove()
    for file in (REPORT, PAGE):
        if file.exists():
            file.unlink()
            removed.append(paths.shown(file))
    say(f"removed: {', '.join(removed)}" if removed else "there is no demo; nothing to remove")
    return 0


def urls(report: Any) -> list[tuple[str, str]]:
    """(host, URL) of each row of the rollout's report whose app is live and listens on TCP, in order."""
    rows = report.get("rows", []) if isinstance(report, dict) else []
    return [
        (str(row["host"]), str(row["url"]))
        for row in rows
        if row.get("generation") is not None and str(row.get("url")).startswith("http")
    ]


def _answers(found: Sequence[tuple[str, str]]) -> bool:
    """Asks each URL once and prints what it answered. Returns whether all of them answered below 400."""
    # Straight to the lab's own addresses, whatever proxy this machine uses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    well = True
    for host, url in found:
        try:
            with opener.open(url, timeout=10) as response:
                said, fine = f"{response.status}", response.status < 400
        except urllib.error.HTTPError as error:
            said, fine = f"{error.code}", False
        except OSError as error:
            said, fine = f"no answer: {getattr(error, 'reason', error)}", False
        well = well and fine
        print(f"{host}: {url} {colour(said, 'green' if fine else 'red')}")
    return well


def _written() -> int:
    """When the report was written, in nanoseconds; 0 where there is none."""
    return REPORT.stat().st_mtime_ns if REPORT.exists() else 0


def _name_page() -> None:
    """Says where the report lies that a browser shows."""
    if PAGE.exists():
        print(f"the report for a browser: {PAGE.as_uri()}", flush=True)


def _watch(addresses: Sequence[str]) -> None:
    """Has a Prometheus watch the exporters at these addresses, and says where it is."""
    made = monitorlab.up(addresses)
    print(f"the console in Prometheus: {made.console}")
    print(f"alerts: {made.alerts}, and what somebody would be told of: {made.alertmanager}", flush=True)


def _watch_what_is_there(addresses: Sequence[str]) -> None:
    """As _watch(), after a rollout that failed: what goes wrong with it is told, and does not hide that."""
    try:
        _watch(addresses)
    except ScriptError as error:
        say(f"{colour('!!', 'red', sys.stderr)} {error}")


def _exports(arguments: Sequence[str]) -> bool:
    """Whether the hosts export how their apps run once the rollout is over."""
    return list(arguments[: len(EXPORTED)]) == list(EXPORTED) and not {"--check", "-C"} & set(arguments)


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of ansible-playbook, from the demo's `own`: the checkout's settings, and more patience than
    Ansible has by itself. Hosts and controller share one machine, where each keeps the others waiting."""
    return {"ANSIBLE_TIMEOUT": PATIENCE_S, **own, "ANSIBLE_CONFIG": str(paths.ROOT / "ansible.cfg")}


def _play(arguments: Sequence[str]) -> int:
    """Runs site.yml on the lab with its output as it comes. ^C reaches it first, and it cleans up."""
    command = ["ansible-playbook", "-i", str(paths.ROOT / "inventories" / "lab"), "site.yml", *arguments]
    with subprocess.Popen(command, cwd=paths.ROOT, env=environment(os.environ), stdin=subprocess.DEVNULL) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)


def _deploy(arguments: Sequence[str]) -> int:
    """What happens in the virtual environment: lab, rollout, report, answers. Begins with EXPORTED where the hosts are
    to be watched."""
    started = time.monotonic()
    bootstrap.ensure_packages(bootstrap.LAB_PACKAGES)
    lab, changed = labs.up(DEFAULT_LAB, None, None)
    addresses = [host.address for host in lab.hosts]
    sizes = ", ".join(f"{host.name} ({labmodel.shown_size(host)}, {host.suite})" for host in lab.hosts)
    say(f"{'ok' if changed else 'as it was:'} lab: {sizes}")
    if not (paths.ROOT / "site.yml").exists():
        raise ScriptError("site.yml is missing: this checkout is not complete")
    before = _written()
    code = _play(arguments)
    told = _written() != before  # a run that is refused leaves the report of the one before
    report = paths.ROOT / "scripts" / "report"
    if told and report.exists():
        subprocess.run([str(report)], cwd=paths.ROOT, stdin=subprocess.DEVNULL, check=False)
    # After a rollout that failed they are to be seen all the more; one that is refused or a rehearsal exports nothing.
    watched = told and _exports(arguments)
    if code:
        if watched:
            _watch_what_is_there(addresses)
        if told:
            _name_page()
        say(f"{colour('!!', 'red', sys.stderr)} the rollout failed (exit code {code}); its first cause stands above")
        return code
    well = True
    if REPORT.exists():
        well = _answers(urls(json.loads(REPORT.read_text(encoding="utf-8"))))
    if watched:
        _watch(addresses)
    _name_page()
    say(f"{'ok' if well else '!!'} {time.monotonic() - started:.0f} s · remove it all with scripts/demo --down")
    return 0 if well else 1


def main(arguments: list[str]) -> int:
    """Runs scripts/demo with its arguments; returns the exit code."""
    if arguments[:1] == ["--deploy"]:  # the second half, in the virtual environment
        return _deploy(arguments[1:])
    own, rest = arguments, []
    if "--" in arguments:
        split = arguments.index("--")
        own, rest = arguments[:split], arguments[split + 1 :]
    options = _parser().parse_args(own)
    if options.arguments:
        raise ScriptError(f"{options.arguments[0]!r}: arguments of ansible-playbook come after --", 2)
    if os.geteuid() != 0:
        raise ScriptError("the lab's hosts are privileged containers: call this as root")
    if options.down:
        return _down()
    return _enter(bootstrap.ensure("controller"), [*EXPORTED, *rest] if options.monitoring else rest)


def _enter(python: Path, arguments: Sequence[str]) -> NoReturn:
    """Goes on with `_deploy` in the virtual environment."""
    os.environ["PATH"] = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    run = Path(__file__).resolve().parents[1] / "run.py"
    os.execv(python, [str(python), str(run), "demo", "--deploy", *arguments])
