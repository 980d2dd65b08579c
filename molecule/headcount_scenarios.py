# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the scenarios' tests share: playbooks as a person calls them, the hosts, and what answers on their sockets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import testinfra

ROOT = Path(__file__).resolve().parents[1]
PLAY_SECONDS = 600
SBIN = "/usr/local/sbin"
"""Where the host's own tools lie; sudo of Debian 14 does not look there."""
#: Straight to the lab's own addresses, whatever proxy this machine uses.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Play:
    """How a playbook ended: exit code, everything it printed, seconds."""

    code: int
    text: str
    seconds: float

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """Host -> ok, changed, failed, ... of the play recap."""
        _, _, end = self.text.partition("PLAY RECAP")
        rows = re.findall(r"^(\S+)\s+: (ok=.*)$", end, re.MULTILINE)
        return {host: {key: int(number) for key, number in re.findall(r"(\w+)=(\d+)", row)} for host, row in rows}

    @property
    def changed(self) -> int:
        """Changed tasks on all hosts."""
        assert self.recap, "the playbook ended without a recap"
        return sum(row["changed"] for row in self.recap.values())

    @property
    def lines(self) -> list[str]:
        """The output line by line."""
        return self.text.splitlines()

    @property
    def words(self) -> str:
        """The output on one line, for causes that were wrapped."""
        return " ".join(self.text.split())


@dataclass(frozen=True)
class Answer:
    """What a URL answered: status (0: nothing), body, and why there is none."""

    status: int
    body: str
    why: str = ""

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Machine:
    """One host of the scenario's lab. `run` is testinfra's, as root over SSH."""

    name: str
    address: str
    infra: Any
    _seen: dict[str, Any] = field(default_factory=dict)

    def out(self, command: str) -> str:
        """What a command prints; it has to succeed."""
        return str(self.infra.check_output(command))

    def code(self, command: str) -> int:
        """The exit status of a command."""
        return int(self.infra.run(command).rc)

    def get(self, path: str = "/", port: int = 8000, timeout: float = 10.0) -> Answer:
        """Asks the app's public socket from outside of the host."""
        try:
            with OPENER.open(f"http://{self.address}:{port}{path}", timeout=timeout) as response:
                return Answer(response.status, response.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode())
        except OSError as error:
            return Answer(0, "", str(getattr(error, "reason", error)))

    def status(self, app: str = "shop") -> dict[str, Any]:
        """What the host's own tool says of an app; its exit status is 1 where something is wrong."""
        done = self.infra.run(f"{SBIN}/headcount status --json {app}")
        assert done.rc in (0, 1), done
        return dict(json.loads(done.stdout)[app])

    def live(self, app: str = "shop") -> int:
        """The generation that the link `live` names."""
        return int(self.out(f"readlink /opt/headcount/{app}/live").rsplit("/", 1)[1])

    def settings(self, app: str = "shop") -> dict[str, Any]:
        """Setting -> value of the live plan."""
        fact = json.loads(self.out("cat /etc/ansible/facts.d/headcount.fact"))
        return dict(fact[app]["settings"])

    def ledger(self, app: str = "shop") -> list[dict[str, Any]]:
        """The events of an app, oldest first."""
        return [json.loads(line) for line in self.out(f"cat /var/lib/headcount/{app}/ledger.jsonl").splitlines()]

    def master(self, app: str = "shop", number: int | None = None) -> int:
        """The PID of the master of an instance (default: the live one)."""
        number = self.live(app) if number is None else number
        return int(self.out(f"systemctl show --property MainPID --value {app}@{number}.service"))

    def workers(self, app: str = "shop") -> list[int]:
        """The PIDs of the live instance's workers."""
        return [int(pid) for pid in self.out(f"pgrep --parent {self.master(app)}").split()]

    def running(self, app: str = "shop") -> list[str]:
        """The services of an app that run, in whatever state, candidates too."""
        listed = self.out(f"systemctl list-units --plain --no-legend --state=active,activating,deactivating '{app}*'")
        return sorted(line.split()[0] for line in listed.splitlines() if line.split()[0].endswith(".service"))

    def memory_limit(self, pid: int) -> int:
        """The limit in bytes that the kernel holds a process's cgroup to."""
        file = (
            f"f=$(sed -n 's/^[0-9]*:memory://p' /proc/{pid}/cgroup); "
            'if [ -n "$f" ]; then cat "/sys/fs/cgroup/memory$f/memory.limit_in_bytes"; '
            f"else cat \"/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/{pid}/cgroup)/memory.max\"; fi"
        )
        return int(self.out(file))

    def tree(self) -> str:
        """What a rollout could have left on the host: files with size and time of change, users, units, packages."""
        commands = (
            "find /etc /opt /usr/local /var/lib /run/systemd/system /srv /home -xdev "
            "-not -path '/home/ansible/.ansible*' -not -path '/var/lib/systemd/*' -not -path '/var/lib/private*' "
            r"-not -path /home/ansible -printf '%p %y %m %u %s %T@ %l\n' | sort",
            "getent passwd",
            "getent group",
            "systemctl list-unit-files --no-legend --plain --type=service,socket,timer,path,mount | sort",
            "systemctl list-units --no-legend --plain --type=service,socket --all | awk '{print $1, $3}' "
            "| grep -v -e '^user@' -e '^user-runtime-dir@' -e '^ssh@' | sort",
            "dpkg-query --show",
        )
        return "\n".join(self.out(command) for command in commands)


@dataclass(frozen=True)
class Scenario:
    """The scenario's lab and its inventory."""

    name: str
    ephemeral: Path
    machines: Mapping[str, Machine]

    def play(self, playbook: str, *arguments: str, shown_by: str = "default", **variables: Any) -> Play:
        """Runs a playbook of this repository on the scenario's inventory; `variables` are extra variables, `shown_by`
        is the callback that prints."""
        extra = ["--extra-vars", json.dumps(variables)] if variables else []
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": shown_by,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
        }
        started = time.monotonic()
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self.ephemeral / "inventory"), playbook, *arguments, *extra],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PLAY_SECONDS,
            check=False,
        )
        seconds = time.monotonic() - started
        print(f"$ ansible-playbook {playbook} {' '.join([*arguments, *extra])}\n{done.stdout}\n({seconds:.1f} s)")
        return Play(done.returncode, done.stdout, seconds)

    def lab(self, *arguments: str) -> str:
        """Runs scripts/lab on the scenario's lab."""
        done = subprocess.run(
            [str(ROOT / "scripts" / "lab"), "--name", f"molecule-{self.name}", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def report(self) -> dict[str, Any]:
        """The report of the last run."""
        return dict(json.loads(self.report_path.read_text(encoding="utf-8")))

    @property
    def report_path(self) -> Path:
        """Where it lies; the page for a browser lies beside it."""
        return ROOT / ".headcount" / "test" / f"report-{self.name}.json"


def this_scenario() -> Scenario:
    """This scenario, from what Molecule says in the environment."""
    name = os.environ["MOLECULE_SCENARIO_NAME"]
    ephemeral = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    state = json.loads((ROOT / ".headcount" / "lab" / f"molecule-{name}" / "lab.json").read_text(encoding="utf-8"))
    inventory = ephemeral / "inventory"
    machines = {
        host["name"]: Machine(
            host["name"],
            host["address"],
            testinfra.get_host(f"ansible://{host['name']}?ansible_inventory={inventory}"),
        )
        for host in state["hosts"]
    }
    return Scenario(name, ephemeral, machines)


def wait_for(what: str, condition: Any, seconds: float = 30.0) -> None:
    """Waits until `condition()` is true; fails with `what` when that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.2)
    pytest.fail(f"{what}: not within {seconds:g} s")
