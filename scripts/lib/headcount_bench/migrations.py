# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Migrations over a fleet: once for all hosts, also with one that is added later, and what a way back leaves of them.

Seven real hosts and the collection's own site.yml. A migration writes a line into the app's data on the host that runs
it; all lines of the fleet together say how often it ran, and where. Users ask each host that serves all the while.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headcount_scripts import paths
from headcount_scripts.console import ScriptError

from . import _engine
from ._common import Bench, Cell, Lab, Report, markdown_table
from ._hosts import a_lab, add_lab
from .fleet import Users

TIMED = False  # how often, not how fast
MINUTES = 40.0
QUICK_MINUTES = 40.0
VERSION: Final = 2
HOSTS: Final = [f"m{number}:1:256m" for number in range(1, 8)]
RATE: Final = 14.0
_SECONDS: Final = 900.0
_KEPT: Final = "/var/lib/hc-shop/migrations"

add_arguments = add_lab


@dataclass
class Fleet:
    """The hosts of a lab, the first six of which have the app at first; what was seen of one story."""

    lab: Lab
    folder: Path
    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    sent: int = 0

    @property
    def six(self) -> list[str]:
        """Those that have the app from the beginning."""
        return self.lab.hosts[:6]

    def must(self, holds: object, sentence: str) -> None:
        """Note `sentence` as broken unless `holds`."""
        if not holds:
            self.broken.append(sentence)

    def rollout(self, hosts: Sequence[str], release: str, command: str, bad: str = "") -> tuple[bool, str]:
        """(whether it ended well, what it said) of a rollout that prepares the release with `command`; on host `bad`
        the app is asked for a page that it does not have."""
        app = {
            **_engine.shop(**_engine.EASY),
            "limits": {**_engine.EASY["limits"], "memory_percent": 90},
            "load": {**_engine.EASY["load"], "paths": ["/wait?ms=20"]},
            "environment": {"SHOP_RELEASE": release},
            "prepare": [command],
        }
        found: dict[str, Any] = {name: {"ansible_host": self.lab.addresses[name]} for name in hosts}
        if bad:
            found[bad]["headcount_app_overrides"] = {"shop": {"health": {"path": "/no-such", "boot_seconds": 5}}}
        done = self._playbook({"hosts": found, "vars": {**self._variables(), "headcount_apps": [app]}}, "site.yml")
        return done.returncode == 0, done.stdout + done.stderr

    def remove(self) -> None:
        """Take the app off all hosts, with what it kept."""
        found = {name: {"ansible_host": self.lab.addresses[name]} for name in self.lab.hosts}
        words = ("-e", "headcount_app=shop", "-e", "headcount_remove_data=true")
        done = self._playbook({"hosts": found, "vars": self._variables()}, "playbooks/remove.yml", *words)
        if done.returncode:
            raise ScriptError(f"the app was not removed: {done.stdout[-800:]}")

    def _playbook(self, group: Mapping[str, Any], *words: str) -> subprocess.CompletedProcess[str]:
        path = self.folder / "inventory.json"
        path.write_text(json.dumps({"fleet": group}), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(path), *words]
        command += ["-e", f"headcount_work_dir={self.folder / 'work'}"]
        return subprocess.run(command, cwd=paths.ROOT, env=_engine.environ(), stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=_SECONDS, check=False)  # fmt: skip

    def _variables(self) -> dict[str, Any]:
        command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(self.lab.inventory)]
        done = subprocess.run([*command, "--host", self.lab.hosts[0]], capture_output=True, text=True, check=True,
                              cwd=paths.ROOT)  # fmt: skip
        found = json.loads(done.stdout)
        return {key: value for key, value in found.items() if key.startswith("ansible_") and key != "ansible_host"}

    def ran(self) -> list[str]:
        """What the migrations of all hosts wrote, each with its host."""
        return [
            f"{line} on {host}"
            for host in self.lab.hosts
            for line in self._sh(host, f"cat {_KEPT} 2>/dev/null").splitlines()
        ]

    def answering(self, hosts: Sequence[str]) -> dict[str, str]:
        """The release that each host's users get."""
        text = {host: self._sh(host, "curl -s -m 10 http://127.0.0.1:8000/version") for host in hosts}
        return {host: str(json.loads(said)["release"]) if said.startswith("{") else "" for host, said in text.items()}

    def events(self, host: str) -> list[str]:
        """The events of a host's ledger since the app was last taken off, which leaves the ledger."""
        found = re.findall(r'"event": ?"(\w+)"', self._sh(host, "cat /var/lib/headcount/shop/ledger.jsonl 2>/dev/null"))
        return since_removed(found)

    def _sh(self, host: str, command: str) -> str:
        return self.lab.run(host, ["sh", "-c", f"{command} || true"])

    @contextlib.contextmanager
    def users(self, hosts: Sequence[str]) -> Iterator[None]:
        """Users of each of the hosts, who lose nothing."""
        with Users([f"http://{self.lab.addresses[host]}:8000/wait?ms=20" for host in hosts], RATE) as crowd:
            yield
        self.sent += crowd.sent
        self.must(not crowd.failed, f"{len(crowd.failed)} of {crowd.sent} requests failed: {crowd.failed[:2]}")


def since_removed(events: Sequence[str]) -> list[str]:
    """The events behind the last removal."""
    last = max((at for at, event in enumerate(events) if event == "removed"), default=-1)
    return list(events[last + 1 :])


def causes(said: str) -> str:
    """What a rollout said of the hosts on which it failed; the end of what it said where that is nothing."""
    return "; ".join(re.findall(r"^m\d+: shop: .*$", said, re.MULTILINE)) or said[-600:]


def migration(release: str, *before: str) -> str:
    """A command that writes what it migrated to, and when it comes to the end only."""
    return f"sh -c '{'; '.join([*before, 'sleep 2', f'echo {release} >> {{data}}/migrations'])}'"


def added_later(fleet: Fleet) -> None:
    """Six hosts get a release that is migrated to; a seventh is added to the fleet, and all get the same again."""
    command = migration("one")
    well, said = fleet.rollout(fleet.six, "one", command)
    fleet.must(well, f"the rollout failed: {causes(said)}")
    ran = fleet.ran()
    fleet.must(len(ran) == 1, f"on six hosts the migration ran {ran}")
    with fleet.users(fleet.six):
        well, said = fleet.rollout(fleet.lab.hosts, "one", command)
    fleet.must(well, f"the rollout with a seventh host failed: {causes(said)}")
    fleet.must(fleet.ran() == ran, f"with a host added it ran {fleet.ran()}, and before {ran}")
    answered = fleet.answering(fleet.lab.hosts)
    fleet.must(set(answered.values()) == {"one"}, f"afterwards they answer {answered}")
    touched = [host for host in fleet.six if fleet.events(host).count("promoted") != 1]
    fleet.must(not touched, f"the rollout for the seventh host touched {touched}")
    fleet.told.append(f"{', '.join(ran)}; the host that was added serves it without another run")


def goes_back(fleet: Fleet) -> None:
    """A release with a migration fails on the last host: the fleet goes back, the migration stays; mended, the release
    goes out, and the migration is not run again."""
    well, said = fleet.rollout(fleet.six, "one", migration("one"))
    fleet.must(well, f"the first rollout failed: {causes(said)}")
    first, last = fleet.ran(), fleet.six[-1]
    with fleet.users(fleet.six):
        well, said = fleet.rollout(fleet.six, "two", migration("two"), bad=last)
        fleet.must(not well, "a rollout that fails on a host ended well")
        fleet.must(f"{last}" in said and "never became ready" in said, f"it does not say what failed: {causes(said)}")
        answered = fleet.answering(fleet.six)
        fleet.must(set(answered.values()) == {"one"}, f"after the way back they answer {answered}")
        back = [host for host in fleet.six if "reverted" in fleet.events(host)]
        fleet.must(back, "no host had to go back: the release did not come to a later batch")
        ran = fleet.ran()
        fleet.must(len(ran) == len(first) + 1 and set(first) < set(ran), f"after it the migrations ran {ran}")
        well, said = fleet.rollout(fleet.six, "two", migration("two"))
        fleet.must(well, f"the mended release failed: {causes(said)}")
        fleet.must(fleet.ran() == ran, f"with the mended release they ran {fleet.ran()}, and before {ran}")
        answered = fleet.answering(fleet.six)
        fleet.must(set(answered.values()) == {"two"}, f"with the mended release they answer {answered}")
    fleet.told.append(f"{len(back)} hosts went back; {', '.join(ran)}; not run again with the mended release")


def fails_on_the_canary(fleet: Fleet) -> None:
    """A migration fails on the canary: nothing of the release is started on any host, and the others are not begun."""
    well, said = fleet.rollout(fleet.six, "one", migration("one"))
    fleet.must(well, f"the first rollout failed: {causes(said)}")
    ran = fleet.ran()
    with fleet.users(fleet.six):
        well, said = fleet.rollout(fleet.six, "two", migration("two", "echo no such column >&2", "exit 3"))
    fleet.must(not well, "a rollout whose migration fails ended well")
    fleet.must("no such column" in said, f"it does not have the last words of the migration: {causes(said)}")
    fleet.must(fleet.ran() == ran, f"the migrations ran {fleet.ran()}, and before {ran}")
    answered = fleet.answering(fleet.six)
    fleet.must(set(answered.values()) == {"one"}, f"afterwards they answer {answered}")
    begun = [host for host in fleet.six if fleet.events(host).count("staged") > 1]
    fleet.must(len(begun) == 1, f"the release was begun on {begun}")
    fleet.told += re.findall(r"exited with status 3[^|\n]{0,60}", said)[:1]


STORIES: Final[Mapping[str, tuple[Callable[[Fleet], None], str, str]]] = {
    "added later": (
        added_later,
        "six hosts get a release with a migration; a seventh joins the fleet, and the same is rolled out",
        "the migration ran once, on one host; the seventh serves the release without another run, the six are let be",
    ),
    "goes back": (
        goes_back,
        "a release with a migration fails on the last of six hosts, is mended, and rolled out again",
        "the hosts that had it go back, the migration stays; it is not run again with the mended release",
    ),
    "fails on the canary": (
        fails_on_the_canary,
        "the migration of a release fails on the first of six hosts",
        "refused with its last words; nothing of it is started, and no other host is begun",
    ),
}


def cells(_: bool) -> list[Cell]:
    """A cell for each story."""
    return [Cell(name, {"version": VERSION, "story": story[1]}) for name, story in STORIES.items()]


def measure(bench: Bench) -> None:
    """One story after the other, each from hosts without the app."""
    with a_lab(bench, HOSTS) as lab:
        bench.run(lambda cell, _: told_of(cell.name, Fleet(lab, bench.folder)))


def told_of(name: str, fleet: Fleet) -> dict[str, Any]:
    """What came of a story, as plain data."""
    work, story, promise = STORIES[name]
    try:
        work(fleet)
    finally:
        fleet.remove()
    return {"story": story, "promise": promise, "broken": fleet.broken, "told": fleet.told, "requests": fleet.sent}


def report(bench: Bench) -> Report:
    """A row for each story."""
    found = {name: result.value for name, result in bench.results().items()}
    rows = [
        (
            name,
            value["story"],
            value["promise"],
            "**broken**: " + "; ".join(value["broken"]) if value["broken"] else "as promised",
            value["requests"],
            "; ".join(value["told"]),
        )
        for name, value in found.items()
    ]
    header = ("", "story", "promise", "outcome", "requests", "what was seen")
    text = f"{WHAT}\n\n{markdown_table(header, rows, right=(4,))}"
    missed = [f"{name}: {'; '.join(value['broken'])}" for name, value in found.items() if value["broken"]]
    return Report("Migrations over a fleet", text, found, missed=missed)


WHAT: Final = f"""\
{len(HOSTS)} hosts of one core, and site.yml as it is: a canary first, then growing batches. The migration is a command
in `prepare`; it writes a line on the host that runs it, so that all lines of the fleet say how often it ran. Users ask
each host that serves while anything is rolled out; a request that is lost breaks the promise. What a kill or a power
cut in the midst of a migration leaves is in [the catalogue of faults](faults.md)."""
