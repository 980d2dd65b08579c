# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A live generation that has taken the last process of its host is found and ended without any command."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    generations,
    hoarding,
    reloads,
    store,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.instances import Instances
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import UNBEGUN, Completed, Systemd

WORDS = (
    "this host could begin no process any more, not even systemctl: shop@2.service had 100 processes and threads, and "
    "is planned to have 19"
)


class Host:
    """Generation 2 is live: its master 40 and worker 41 have so many threads, and no command can be begun until
    `ends_after` looks after it was asked to end."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout = Layout("shop", str(root))
        self.root, self.ends_after, self.now = root, 3, 0.0
        self.said: list[Any] = []
        settings = {"worker_class": "gthread", "workers": 2, "threads": 8, "graceful_timeout": 6}
        record = {"app": {}, "plan": {"settings": {name: {"value": value} for name, value in settings.items()}}}
        for folder_of in (self.layout.state, self.layout.units, self.layout.runtime):
            os.makedirs(folder_of)
        for number in (1, 2):
            store.begin(self.layout, number, "0" * 16)
            store.write(self.layout, number, {}, {**record, "planning": {}})
            store.finish(self.layout, number)
        store.activate(self.layout, 2)
        self.process(1, 0, "/init.scope", 1)
        self.process(40, 1, "/system.slice/shop@2.service", 1)
        self.process(41, 40, "/system.slice/shop@2.service", 99)
        self.process(50, 1, "/system.slice/shop@22.service", 400)
        monkeypatch.setattr(os, "kill", lambda pid, number: self.said.append((pid, number)))
        monkeypatch.setattr(resource, "prlimit", lambda pid, what, most: self.said.append((pid, what, most)))
        self.instances = Instances(self.layout, Systemd(self.run, self.sleep))
        self.instances.sleep, self.instances.monotonic = self.sleep, lambda: self.now

    def process(self, pid: int, parent: int, group: str, threads: int) -> None:
        folder = self.root / f"proc/{pid}"
        folder.mkdir(parents=True, exist_ok=True)
        fields = " ".join(["S", str(parent), *(["0"] * 17), "5"])
        (folder / "stat").write_text(f"{pid} (gunicorn) {fields}\n", encoding="utf-8")
        (folder / "status").write_text(f"Name:\tgunicorn\nPPid:\t{parent}\nThreads:\t{threads}\n", encoding="utf-8")
        (folder / "cgroup").write_text(f"3:pids:{group}\n1:name=systemd:{group}\n", encoding="utf-8")

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.ends_after -= (40, signal.SIGTERM) in self.said

    def run(self, command: Sequence[str], seconds: float) -> Completed:
        if self.ends_after > 0:
            return Completed(UNBEGUN, "", "this host could not begin systemctl")
        words = [word for word in command[1:] if not word.startswith("-")]
        self.said.append((*words, generations.live(self.layout)))
        return Completed(0, "", "")

    def reload(self, full: str) -> None:
        if full:
            raise reloads.NoRoom(full)
        self.said.append(("daemon-reload", generations.live(self.layout)))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_it_is_found_by_what_the_kernel_tells(host: Host) -> None:
    found = hoarding.hoard(host.layout, 2)
    assert found is not None
    assert (found.pids, found.master, found.words()) == ((40, 41), 40, WORDS)
    assert hoarding.nothing_begins(host.instances.systemd)


def test_one_with_what_it_is_planned_to_have_is_none(host: Host) -> None:
    host.process(41, 40, "/system.slice/shop@2.service", 17)
    assert hoarding.hoard(host.layout, 2) is None
    assert hoarding.hoard(host.layout, 3) is None
    assert hoarding.hoard(host.layout, None) is None


def kernel(host: Host, there: int, most: int) -> None:
    (host.root / "proc/sys/kernel").mkdir(parents=True, exist_ok=True)
    (host.root / "proc/sys/kernel/threads-max").write_text(f"{most}\n", encoding="utf-8")
    (host.root / "proc/loadavg").write_text(f"0.0 0.0 0.0 1/{there} 99\n", encoding="utf-8")


def test_the_room_of_another_one_that_it_has_taken_is_told_with_nobody_asked(host: Host) -> None:
    kernel(host, 120, 140)
    assert hoarding.crowds_out(host.layout, 2, 1) == (
        "shop@2.service had 100 processes and threads (it is planned to have 19), and this host has no room for "
        "generation 1: its 19 processes and threads and 10 to spare are 29, but only 20 more may be begun "
        "(kernel.threads-max is 140, and 120 are there)"
    )
    assert host.said == []


@pytest.mark.parametrize(("there", "most", "threads"), [(120, 150, 99), (120, 140, 17), (520, 400, 99)])
def test_it_has_not_where_there_is_room_or_others_have_taken_it(
    host: Host, there: int, most: int, threads: int
) -> None:
    """With what it is planned to have it takes nobody's room; nor where its end would make none."""
    kernel(host, there, most)
    host.process(41, 40, "/system.slice/shop@2.service", threads)
    assert hoarding.crowds_out(host.layout, 2, 1) == ""
    assert hoarding.crowds_out(host.layout, 7, 1) == "", "it does not run"


def test_it_is_ended_and_what_is_gone_back_to_is_woken(host: Host) -> None:
    """It begins nothing more; systemd reads which generation a request wakes before it has left for good."""
    found = hoarding.hoard(host.layout, 2)
    assert found is not None
    told = hoarding.end(host.instances, found, 2, 1)
    assert told == f"{WORDS}; it was asked to end (SIGTERM), and requests waited meanwhile"
    none = (resource.RLIMIT_NPROC, (0, 0))
    assert host.said[:3] == [(40, *none), (41, *none), (40, signal.SIGTERM)]
    assert host.said[4:7] == [
        ("stop", "shop@2.service", 1),
        ("daemon-reload", 1),
        ("stop", "shop@2.service", "shop@2.socket", 1),
    ]
    assert generations.live(host.layout) == 2  # the switch makes the other one live


@pytest.mark.parametrize(("looks", "read"), [(5, True), (10_000, False)])
def test_systemd_reads_its_units_once_there_is_room_for_that(
    host: Host, monkeypatch: pytest.MonkeyPatch, looks: int, read: bool
) -> None:
    """What it has taken ends one after the other; it is not begun again meanwhile."""
    left = iter(["no room"] * looks)
    monkeypatch.setattr(hoarding, "no_room_to_reload", lambda root: next(left, ""))
    monkeypatch.setattr(host.instances.systemd, "reload", lambda: host.reload(next(left, "")))
    found = hoarding.hoard(host.layout, 2)
    assert found is not None
    hoarding.end(host.instances, found, 2, 1)
    words = [said for said in host.said if said[0] in ("stop", "daemon-reload")]
    assert words[0] == ("stop", "shop@2.service", 1)
    assert (("daemon-reload", 1) in words) is read
    assert words[-1] == ("stop", "shop@2.service", "shop@2.socket", 1)
    assert host.now < 37.0


def test_one_that_does_not_end_stays_live(host: Host) -> None:
    host.ends_after = 10_000
    found = hoarding.hoard(host.layout, 2)
    assert found is not None
    with pytest.raises(StepFailed, match=r"it was asked to end \(SIGTERM\), and did not"):
        hoarding.end(host.instances, found, 2, 1)
    assert 36.0 <= host.now < 37.0  # its graceful timeout, and what it has beyond
    assert generations.live(host.layout) == 2
