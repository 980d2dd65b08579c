# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of migrations over a fleet: what was not as promised is missed."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from headcount_bench import _common, migrations

HOSTS = [f"m{number}" for number in range(1, 8)]


class Played(migrations.Fleet):
    """Hosts that do as they are told: a rollout that ends well migrates on `on`, and puts its release on its hosts."""

    def __init__(self, on: Sequence[str] = ("m1",), again: bool = False, back: bool = True, begins: int = 1) -> None:
        lab: Any = SimpleNamespace(hosts=HOSTS)
        super().__init__(lab, Path())
        self.on, self.again, self.back, self.begins = on, again, back, begins
        self.lines: list[str] = []
        self.release = dict.fromkeys(HOSTS, "")
        self.ledger: dict[str, list[str]] = {host: [] for host in HOSTS}

    def rollout(self, hosts: Sequence[str], release: str, command: str, bad: str = "") -> tuple[bool, str]:
        fails = "exit 3" in command
        new = [host for host in hosts if self.release[host] != release]
        if not fails and (self.again or not any(line.startswith(release) for line in self.lines)):
            self.lines += [f"{release} on {host}" for host in self.on]
        if fails:
            for host in new[: self.begins]:
                self.ledger[host].append("staged")
            return False, "exited with status 3: no such column"
        for host in new:
            self.ledger[host] += (
                ["data_made", "staged", "promoted", "reverted"] if bad and self.back else ["staged", "promoted"]
            )
            if not (bad and self.back):
                self.release[host] = release
        return not bad, f"{bad}: never became ready" if bad else ""

    def ran(self) -> list[str]:
        return list(self.lines)

    def answering(self, hosts: Sequence[str]) -> dict[str, str]:
        return {host: self.release[host] for host in hosts}

    def events(self, host: str) -> list[str]:
        return self.ledger[host]

    @contextlib.contextmanager
    def users(self, hosts: Sequence[str]) -> Iterator[None]:
        yield


@pytest.mark.parametrize("name", migrations.STORIES)
def test_a_fleet_that_does_as_promised_breaks_nothing(name: str) -> None:
    fleet = Played()
    migrations.STORIES[name][0](fleet)
    assert fleet.broken == []


@pytest.mark.parametrize(
    ("name", "fleet", "words"),
    [
        ("added later", Played(on=["m1", "m2"]), "on six hosts the migration ran"),
        ("added later", Played(again=True), "with a host added it ran"),
        ("goes back", Played(again=True), "with the mended release they ran"),
        ("goes back", Played(back=False), "after the way back they answer"),
        ("fails on the canary", Played(begins=2), "the release was begun on"),
    ],
)
def test_a_fleet_that_does_not_is_told(name: str, fleet: Played, words: str) -> None:
    migrations.STORIES[name][0](fleet)
    assert [sentence for sentence in fleet.broken if sentence.startswith(words)]


def test_a_migration_writes_when_it_comes_to_its_end() -> None:
    shell, option, script = shlex.split(migrations.migration("two", "exit 3"))
    assert (shell, option) == ("sh", "-c")
    assert script.split("; ")[0] == "exit 3"
    assert script.endswith("echo two >> {data}/migrations")


def test_only_the_events_of_the_story_count() -> None:
    assert migrations.since_removed(["staged", "promoted", "removed", "data_made", "staged"]) == ["data_made", "staged"]
    assert migrations.since_removed(["staged"]) == ["staged"]


def test_of_a_rollout_that_failed_its_cause_is_told() -> None:
    said = "TASK [x]\nm4: shop: start: never became ready\nm1 : ok=3 failed=0\nm4 : ok=1 failed=1\n"
    assert migrations.causes(said) == "m4: shop: start: never became ready"
    assert migrations.causes("ERROR! no such file") == "ERROR! no such file"


def test_what_was_not_as_promised_is_missed(tmp_path: Path) -> None:
    cells = migrations.cells(False)
    assert [cell.name for cell in cells] == list(migrations.STORIES)
    bench = _common.Bench("migrations", cells, argparse.Namespace(quick=False, only=[], lab=None), tmp_path, 1.0)
    value = {"story": "s", "promise": "p", "broken": [], "told": ["two on m1"], "requests": 70}
    broken = {**value, "broken": ["it ran twice"]}
    for cell, found in zip(cells, (value, broken, value), strict=True):
        bench.store.add({"cell": cell.name, "key": cell.key, "value": found, "at": 1.0, "seconds": 1.0, "lane": "a"})
    report = migrations.report(bench)
    assert report.missed == [f"{cells[1].name}: it ran twice"]
    assert "**broken**: it ran twice" in report.markdown
    assert report.markdown.count("as promised") == 2
