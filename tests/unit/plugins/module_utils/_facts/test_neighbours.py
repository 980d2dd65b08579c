# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Memory that others have: seen, named, and kept out of what is planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import hostfacts, neighbours
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.hardware import (
    fact_parts,
    settle,
    taken_mib,
    without,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.others import Neighbour

MIB = 1024 * 1024


class Tree:
    """A host of version 2 control groups, as files."""

    def __init__(self, root: Path, total: int = 2048, available: int = 1900, limit: int | None = None) -> None:
        self.root = root
        point = "/sys/fs/cgroup"
        self.write("/proc/self/mountinfo", f"30 23 0:26 / {point} rw - cgroup2 cgroup2 rw\n")
        self.write(f"{point}/cgroup.controllers", "cpuset cpu io memory pids\n")
        self.write("/proc/1/cgroup", "0::/init.scope\n")
        info = f"MemTotal: {total * 1024} kB\nMemAvailable: {available * 1024} kB\n"
        self.write("/proc/meminfo", info)
        (root / "sys/fs/cgroup/system.slice").mkdir()
        if limit is not None:
            self.group("", 0, **{"memory.max": limit})

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def group(self, path: str, held: int, cache: int = 0, **limits: int) -> None:
        """A group that holds `held` MiB and `cache` MiB of files; `limits` in MiB by the file's name."""
        folder = f"/sys/fs/cgroup/{path}"
        self.write(f"{folder}/memory.current", f"{(held + cache) * MIB}\n")
        self.write(
            f"{folder}/memory.stat",
            f"anon {held * MIB}\ninactive_file {cache * MIB // 2}\nactive_file {cache * MIB // 2}\n",
        )
        for name, value in limits.items():
            self.write(f"{folder}/{name}", f"{value * MIB}\n")

    def own(self, unit: str, app: str = "shop") -> None:
        """Make a unit one of Headcount's, by where its file leads."""
        folder = self.root / "etc/systemd/system"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / unit).symlink_to(f"/opt/headcount/{app}/generations/1/{unit}")

    def read(self, *apps: str) -> hostfacts.Memory:
        return hostfacts.read(str(self.root), apps=list(apps) or None).memory


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_database_that_uses_most_of_a_host_is_seen_and_named(tmp_path: Path) -> None:
    host = Tree(tmp_path, total=512, available=180)
    host.group("system.slice/postgresql.service", 300, cache=90, **{"memory.high": 400})
    memory = host.read()
    assert memory.others_mib == 332
    assert memory.neighbours == (Neighbour("postgresql.service", 300, 0, 400),)
    assert neighbours.words(memory.neighbours) == "postgresql.service 300 MiB"


def test_what_the_planned_apps_use_is_not_others(tree: Tree) -> None:
    tree.write("/proc/meminfo", f"MemTotal: {2048 * 1024} kB\nMemAvailable: {1048 * 1024} kB\n")
    tree.group("system.slice/system-shop.slice/shop@4.service", 600)
    tree.group("system.slice/system-blog.slice/blog@1.service", 300)
    tree.own("shop@4.service")
    tree.own("blog@1.service", "blog")
    assert tree.read().others_mib == 100
    asked = tree.read("shop")
    assert asked.others_mib == 400
    assert [one.name for one in asked.neighbours] == ["blog@1.service"]


@pytest.mark.parametrize("controllers", ["cpuset cpu io pids", "cpuset cpu io memory pids"])
def test_what_they_use_is_not_others_either_where_no_group_counts_memory(tree: Tree, controllers: str) -> None:
    """A kernel without control groups of memory, or one that hands them to no unit: else an app that is live would take
    the memory from itself, and each rollout would plan it anew."""
    tree.write("/sys/fs/cgroup/cgroup.controllers", controllers)
    tree.write("/proc/meminfo", f"MemTotal: {2048 * 1024} kB\nMemAvailable: {1048 * 1024} kB\n")
    tree.own("shop@4.service")
    unit = "/sys/fs/cgroup/system.slice/system-shop.slice/shop@4.service"
    tree.write(f"{unit}/cgroup.procs", "70\n")
    tree.write(f"{unit}/workers/cgroup.procs", "71\n72\n")
    tree.write("/sys/fs/cgroup/system.slice/ssh.service/cgroup.procs", "73\n")
    tree.write("/proc/70/smaps_rollup", f"Rss: {900 * 1024} kB\nPss_Anon:     {400 * 1024} kB\n")
    tree.write("/proc/71/smaps_rollup", f"Rss: {900 * 1024} kB\n")  # a kernel that does not tell shares of it
    tree.write("/proc/71/status", f"Name:\tgunicorn\nRssAnon:\t  {500 * 1024} kB\n")
    tree.write("/proc/73/status", f"RssAnon:\t  {50 * 1024} kB\n")
    assert tree.read().others_mib == 100


def test_a_unit_with_an_apps_name_that_is_not_headcounts_is_others(tree: Tree) -> None:
    tree.write("/proc/meminfo", f"MemTotal: {2048 * 1024} kB\nMemAvailable: {1048 * 1024} kB\n")
    tree.group("system.slice/shop@4.service", 600)
    assert tree.read("shop").others_mib == 1000


def test_a_container_is_full_by_its_own_limit(tmp_path: Path) -> None:
    host = Tree(tmp_path, total=24000, available=20000)
    host.group("", 350, cache=120, **{"memory.max": 512})
    host.group("system.slice/mariadb.service", 310)
    assert (host.read().effective_mib, host.read().others_mib) == (512, 350)


def test_a_slice_is_not_full_because_the_host_is_used_elsewhere(tmp_path: Path) -> None:
    host = Tree(tmp_path, total=4096, available=3000)
    host.group("app.slice", 0, **{"memory.max": 512})
    host.group("machine.slice/vm.scope", 1000)
    memory = hostfacts.read(str(tmp_path), "app.slice").memory
    assert (memory.effective_mib, memory.others_mib) == (512, 0)


def test_what_is_promised_is_not_there_even_before_it_is_used(tree: Tree) -> None:
    tree.group("system.slice/redis.service", 50, **{"memory.min": 400})
    tree.group("db.slice", 60, **{"memory.low": 300})
    tree.group("db.slice/postgresql.service", 60, **{"memory.low": 200})
    memory = tree.read()
    assert memory.others_mib == 148 + (400 - 50) + (300 - 60)
    assert Neighbour("redis.service", 50, 400) in memory.neighbours


def test_huge_pages_are_taken_and_named(tmp_path: Path) -> None:
    host = Tree(tmp_path, total=2048, available=900)
    text = (tmp_path / "proc/meminfo").read_text(encoding="utf-8")
    host.write("/proc/meminfo", f"{text}HugePages_Total: 500\nHugepagesize: 2048 kB\n")
    memory = host.read()
    assert memory.others_mib == 1148
    assert memory.neighbours[0] == Neighbour("huge pages", 1000, 1000)


def test_a_container_of_somebody_elses_is_one_neighbour(tree: Tree) -> None:
    tree.group("system.slice/docker-4f1c.scope", 200)
    tree.group("kubepods/burstable", 100)
    tree.group("kubepods", 100)
    assert [one.name for one in tree.read().neighbours] == ["docker-4f1c.scope", "kubepods"]


def facts(others: int | None, *names: str, total: int = 512) -> dict[str, Any]:
    named = [{"name": name, "mib": 300, "promised_mib": 0, "limit_mib": None} for name in names]
    return {
        "cores": {"effective": 1},
        "memory": {"effective_mib": total, "others_mib": others, "neighbours": named, "limited_by": "MemTotal"},
        "python": {"version": "3.11"},
        "platform": {"machine": "x86_64", "libc": "glibc 2.36"},
    }


def old_facts() -> dict[str, Any]:
    stored = facts(None)
    del stored["memory"]["others_mib"], stored["memory"]["neighbours"]
    return stored


def test_what_the_usual_reserve_covers_changes_nothing() -> None:
    assert fact_parts(facts(30)) == fact_parts(facts(None)) == fact_parts(old_facts())
    assert settle(facts(30), old_facts()).changes == []
    assert settle(facts(5), facts(30)).changes == []


def test_memory_that_is_gone_counts_at_once() -> None:
    settled = settle(facts(330, "postgresql.service"), facts(11))
    assert settled.changes == ["memory that others use 0 -> 330 MiB (postgresql.service 300 MiB)"]
    memory: Any = settled.facts["memory"]
    assert taken_mib(memory) == 330
    assert fact_parts(settled.facts)["memory"] != fact_parts(facts(11))["memory"]


def test_a_database_that_breathes_or_was_just_started_changes_nothing() -> None:
    stored = facts(330, "postgresql.service")
    for now in (335, 320, 120):
        settled = settle(facts(now, "postgresql.service"), stored)
        assert settled.changes == []
        assert fact_parts(settled.facts) == fact_parts(stored)


def test_memory_is_there_again_when_nobody_of_those_who_had_it_is() -> None:
    settled = settle(facts(12), facts(330, "postgresql.service"))
    assert settled.changes == ["memory that others use 330 -> 0 MiB"]


@pytest.mark.parametrize(
    ("others", "names", "now", "stay", "changes"),
    [
        (330, ("old.service",), 12, (), []),
        (330, ("old.service", "postgresql.service"), 40, ("postgresql.service",), []),
        (330, ("old.service",), 330, ("old.service",), []),  # somebody has started it again
        (12, (), 330, ("old.service",), ["memory that others use 0 -> 330 MiB (old.service 300 MiB)"]),
        (
            330,
            ("old.service",),
            290,
            ("redis.service",),
            ["memory that others use 0 -> 290 MiB (redis.service 300 MiB)"],
        ),
        (460, ("old.service", "redis.service"), 12, (), ["memory that others use 160 -> 0 MiB"]),
    ],
)
def test_that_a_service_has_left_which_an_app_was_taken_over_from_is_no_change(
    others: int, names: tuple[str, ...], now: int, stay: tuple[str, ...], changes: list[str]
) -> None:
    stored = facts(others, *names)
    settled = settle(facts(now, *stay), stored, {"old.service"})
    assert settled.changes == changes
    assert (fact_parts(settled.facts) == fact_parts(stored)) is not bool(changes)


def test_a_plan_that_is_made_anew_has_the_memory_of_who_has_left() -> None:
    stored = facts(330, "old.service", "postgresql.service")
    memory = without(stored, {"old.service"})["memory"]
    assert memory["others_mib"] == 30
    assert [one["name"] for one in memory["neighbours"]] == ["postgresql.service"]
    assert without(stored, {"other.service"})["memory"] == stored["memory"]
    assert without(old_facts(), {"old.service"}) == old_facts()


def test_the_same_facts_are_no_change() -> None:
    same = facts(330, "postgresql.service")
    assert settle(same, same).changes == []


def test_a_boot_does_not_look_for_others() -> None:
    stored = facts(330, "postgresql.service")
    settled = settle(facts(None), stored)
    assert settled.changes == []
    assert fact_parts(settled.facts) == fact_parts(stored)
