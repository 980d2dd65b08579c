# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/lab: hosts with systemd as PID 1, their own address and sshd, in containers on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from . import bootstrap, console, images, labmodel, labs, paths
from .console import ScriptError, colour, say
from .labmodel import DEFAULT_LAB

EPILOG = f"""\
A host is NAME:CORES:MEMORY:SUITE, like web1:2:1g:trixie; what is left out is 1 core, 512m, bookworm.
Without --host, `up` makes {" and ".join(labmodel.DEFAULT_HOSTS)}, or starts the lab that is there as it is.
With --host it adds hosts to a lab that is there, and resizes those of it that are named; it removes none, unless
--exact says that the lab is to have these hosts and no others. `down --host` removes one of them.

examples:
  scripts/lab up                                    the default lab; its inventory is inventories/lab/hosts.yml
  scripts/lab --name bench up --host a:1:256m --host b:2:1g:trixie
  scripts/lab --name bench up --host c              another host beside them
  scripts/lab --name bench down --host a            a host less; what is on it is gone
  scripts/lab ssh large systemctl status            a command over SSH, as the user ansible
  scripts/lab exec large journalctl -b              the same as root, without the network
  scripts/lab resize large --cores 1 --memory 512m  while it runs
  scripts/lab power large cycle                     a power cut: nothing is shut down, what is on disk stays
  scripts/lab net large cut                         the cable is pulled; `net large restore` puts it back

exit codes: 0 well, 1 failed, 2 wrong use, 3 (status) not all hosts are up; ssh and exec: those of the command."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/lab", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    for target, default in ((parser, DEFAULT_LAB), (common, argparse.SUPPRESS)):
        target.add_argument("--name", default=default, metavar="LAB", help=f"which lab (default: {DEFAULT_LAB})")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, host: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=[common])
        if host:
            command.add_argument("host", nargs=host if host != "1" else None, metavar="HOST")
        return command

    up = add("up", "bring the lab up, complete it, or add hosts; again: seconds, and nothing changes")
    up.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="HOST",
        help="NAME:CORES:MEMORY:SUITE, repeatable: made beside the hosts that are there, or given this size",
    )
    up.add_argument(
        "--exact",
        action="store_true",
        help="the hosts of --host and no others: remove the rest, and make anew what has another suite",
    )
    up.add_argument("--inventory", type=Path, metavar="PATH", help="write the inventory there")
    up.add_argument("--no-internet", action="store_true", help="the hosts reach each other and this machine only")
    down = add("down", "remove the lab: hosts, network, keys, inventory; or some of its hosts")
    down.add_argument("--host", action="append", default=[], metavar="NAME", help="this host alone, repeatable")
    down.add_argument("--images", action="store_true", help="and the images, when no other lab uses them")
    status = add("status", "show the hosts")
    status.add_argument("--json", action="store_true", help="for programs")
    add("list", "show all labs of this machine")
    add("prune", "remove the labs whose checkout is gone")
    ssh = add("ssh", "log in over SSH, or run a command", "1")
    ssh.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND")
    execute = add("exec", "run a command as root in the host, without the network", "1")
    execute.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND")
    logs = add("logs", "show the journal; arguments go to journalctl", "1")
    logs.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    resize = add("resize", "change a running host's cores and memory", "1")
    resize.add_argument("--cores", metavar="N", help="number of cores; a fraction is a CPU quota")
    resize.add_argument("--memory", metavar="SIZE", help="like 512m or 1g")
    add("reset", "replace hosts (all by default) by fresh ones of the same name, size and address", "*")
    power = add("power", "cut or return the power", "1")
    power.add_argument("action", choices=["off", "on", "cycle"])
    net = add("net", "pull the network cable or put it back", "1")
    net.add_argument("action", choices=["cut", "restore"])
    return parser


def _up(options: argparse.Namespace) -> int:
    bootstrap.ensure_packages(bootstrap.LAB_PACKAGES)
    specs = labmodel.parse_hosts(options.host) if options.host else None
    if options.exact and specs is None:
        raise ScriptError("up --exact: say with --host which hosts there are to be", 2)
    internet = False if options.no_internet else None
    lab, changed = labs.up(options.name, specs, options.inventory, internet=internet, exact=options.exact)
    say(
        f"{'ready' if changed else 'nothing to do'}: lab {lab.name} with {', '.join(host.name for host in lab.hosts)}"
        f" · inventory {paths.shown(Path(lab.inventory or labs.folder(lab.name) / 'inventory.yml'))}"
    )
    return 0


def _down(options: argparse.Namespace) -> int:
    removed = labs.down_hosts(options.name, options.host) if options.host else labs.down(options.name)
    say(f"removed: {', '.join(removed)}" if removed else f"there is no lab {options.name!r}; nothing to remove")
    if options.images:
        gone = images.remove()
        say(f"removed images: {', '.join(gone)}" if gone else "no image to remove")
    return 0


def _status(options: argparse.Namespace) -> int:
    lab = labs.load(options.name, required=False)
    rows = labs.status(lab) if lab else []
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    elif not rows:
        print(f"There is no lab {options.name!r}: scripts/lab up makes it.")
    else:
        cells = [
            [
                row.name,
                colour(row.state, "green" if row.state == "running" else "red"),
                row.suite,
                labmodel.shown_cores(row.cores),
                ",".join(str(cpu) for cpu in row.cpus),
                f"{row.memory_used_mib if row.memory_used_mib is not None else '?'}/{row.memory_mib} MiB",
                row.address,
            ]
            for row in rows
        ]
        print(console.table(["host", "state", "suite", "cores", "on CPUs", "memory", "address"], cells, right=[3]))
    return 0 if rows and all(row.state == "running" for row in rows) else 3


def _list() -> int:
    rows = [[found.name, str(found.hosts), found.checkout] for found in labs.everywhere()]
    print(console.table(["lab", "hosts", "checkout"], rows) if rows else "There is no lab on this machine.")
    return 0


def _resize(options: argparse.Namespace) -> int:
    if not options.cores and not options.memory:
        raise ScriptError("resize: say --cores N, --memory SIZE, or both", 2)
    host = labs.resize(
        options.name,
        options.host,
        labmodel.parse_cores(options.cores) if options.cores else None,
        labmodel.parse_memory(options.memory) if options.memory else None,
    )
    say(f"{host.name}: {labmodel.shown_size(host)}")
    return 0


def _run_on(options: argparse.Namespace) -> int:
    lab = labs.load(options.name)
    host = lab.host(options.host)
    arguments = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    if options.command == "ssh":
        command = ["ssh", "-F", str(labs.folder(lab.name) / "ssh_config"), host.name, *arguments]
    else:
        words = ["journalctl", "--no-pager", *arguments] if options.command == "logs" else (arguments or ["bash"])
        terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
        command = ["podman", "exec", "--interactive", *terminal, labs.container(lab.name, host.name), *words]
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        raise ScriptError(f"{command[0]} is not installed: scripts/lab up installs it") from None


def main(arguments: list[str]) -> int:
    """Runs scripts/lab with its arguments; returns the exit code."""
    options = _parser().parse_args(arguments)
    labmodel.check_name(options.name, "lab")
    if options.command in ("up", "down", "prune", "resize", "reset", "power", "net") and os.geteuid() != 0:
        raise ScriptError("the lab's hosts are privileged containers: call this as root")
    if options.command in ("ssh", "exec", "logs"):
        return _run_on(options)
    if options.command == "reset":
        done = labs.reset(options.name, options.host)
        say(f"fresh: {', '.join(done)}")
        return 0
    if options.command == "power":
        labs.power(options.name, options.host, options.action)
        return 0
    if options.command == "net":
        labs.net(options.name, options.host, options.action)
        return 0
    if options.command == "prune":
        gone = labs.prune()
        say(f"removed: {', '.join(gone)}" if gone else "nothing to remove")
        return 0
    if options.command == "list":
        return _list()
    single = {"up": _up, "down": _down, "status": _status, "resize": _resize}
    return single[options.command](options)
