# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/history: who did what, when, on which host, newest first; read from the ledgers of the hosts."""

from __future__ import annotations

import argparse
import os

from . import paths

EPILOG = "It runs playbooks/history.yml; exit codes are ansible-playbook's."


def main(arguments: list[str]) -> int:
    """Runs scripts/history with its arguments; does not return, as ansible-playbook takes over."""
    parser = argparse.ArgumentParser(prog="scripts/history", description=__doc__, epilog=EPILOG)
    parser.add_argument("app", nargs="?", help="one app only")
    parser.add_argument("-i", "--inventory", default=str(paths.ROOT / "inventories" / "lab"), help="default: the lab")
    parser.add_argument("-l", "--limit", metavar="HOSTS", help="these hosts only")
    parser.add_argument("-n", "--last", type=int, default=20, metavar="COUNT", help="how many events (default 20)")
    options = parser.parse_args(arguments)
    inventory = os.path.abspath(options.inventory) if os.path.exists(options.inventory) else options.inventory
    command = ["ansible-playbook", "-i", inventory, "playbooks/history.yml", "-e", f"headcount_last={options.last}"]
    command += ["-e", f"headcount_app={options.app}"] if options.app else []
    command += ["--limit", options.limit] if options.limit else []
    os.environ["ANSIBLE_CONFIG"] = str(paths.ROOT / "ansible.cfg")
    os.chdir(paths.ROOT)
    os.execvp(command[0], command)
