# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Switching, going back and taking down, against a service manager of the test's own."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import candidates as _candidates
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import generations, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import instances as _instances
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import switch as _switch
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import verify as _verify
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.answers import SILENT
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.candidates import Candidates
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed, Untouched
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.instances import Instances
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.switch import switch, take_down, told
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask, Bounds
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import (
    Completed,
    Systemd,
    SystemdError,
    UnitState,
)
from fake_systemd import FakeSystemd
from host_trees import tree

APP: dict[str, Any] = {
    "listen": "127.0.0.1:8000",
    "health": {"path": "/healthz", "status": [200], "contains": None, "timeout_seconds": 1, "boot_seconds": 3},
    "load": {"paths": [{"path": "/", "method": "GET"}]},
}


@dataclass
class Host:
    """A host with generations 1 and 2, of which 1 is live and runs."""

    root: Path
    systemd: FakeSystemd = field(default_factory=FakeSystemd)
    sick: set[str] = field(default_factory=set)
    time: float = 1000.0
    given: dict[tuple[str, str], tuple[Any, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layout = Layout("shop", str(self.root))
        self.systemd.clock = lambda: self.time
        (self.root / "etc/systemd/system").mkdir(parents=True)
        for number in (1, 2):
            store.begin(self.layout, number, "0" * 16)
            self.listen(number, "127.0.0.1:8000")
            store.finish(self.layout, number)
            store.link_units(self.layout, number)
        store.activate(self.layout, 1)
        store.link_public(self.layout)
        self.systemd.active = {"shop.socket", "shop@1.service", "shop@1.socket"}
        self.instances = Instances(
            self.layout, Systemd(self.systemd), clock=lambda: self.time, monotonic=lambda: self.time, sleep=self._sleep
        )
        self.candidates = Candidates(self.instances)

    def _sleep(self, seconds: float) -> None:
        self.time += max(seconds, 0.05)

    def listen(self, number: int, address: str) -> None:
        path = Path(self.layout.generation(number)) / "shop.socket"
        path.write_text(f"[Socket]\nListenStream={address}\n", encoding="utf-8")

    def answer(self, name: str, path: str, status: Any, while_up: str = "") -> None:
        """What is answered for `path` at the socket `name`, as long as the unit `while_up` is: a status, 0 for a
        connection that is dropped, None for no answer at all, or what a call returns."""
        self.given[(name, path)] = (status, while_up)

    @property
    def joined(self) -> dict[str, float]:
        return {what.partition(" ")[2]: at for what, at in self.systemd.at if what.startswith("start")}

    @property
    def left(self) -> dict[str, float]:
        """When units were first asked to stop."""
        return {what.partition(" ")[2]: at for what, at in reversed(self.systemd.at) if what.startswith("stop")}

    def get(self, address: Any, path: str, timeout: float, headers: Any = None) -> Answer:
        self.time += 0.01
        name = os.path.basename(address) if isinstance(address, str) else "public"
        status, while_up = self.given.get((name, path), (200, ""))
        if not while_up or while_up in self.systemd.active:
            status = status() if callable(status) else status
            if status is None:
                self.time += timeout
                return Answer(0, b"", 1000 * timeout, f"timed out after {timeout:g} s")
            if status != 200:
                return Answer(status, b"", 1.0, "" if status else "Remote end closed connection without response")
        return Answer(0, b"", 1.0, "timed out") if name in self.sick else Answer(200, b"ok", 1.0)

    def request(self, address: Any, ask: Ask, bounds: Bounds) -> Answer:
        return self.get(address, ask.path, bounds.seconds)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(_instances, "get", made.get)
    monkeypatch.setattr(_instances, "request", made.request)
    monkeypatch.setattr(_candidates, "address_taken", lambda listen: None)
    monkeypatch.setattr(_switch, "address_taken", lambda listen: None)
    return made


def test_both_hold_the_socket_before_the_old_one_is_stopped(host: Host) -> None:
    seen = switch(host.instances, 1, 2, APP, 1.0)
    assert generations.live(host.layout) == 2
    assert host.systemd.said == [
        "start shop@2.socket",
        "start shop@2.service",
        "reload",
        "stop shop@1.service",
        "stop shop@1.socket",
    ]
    assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
    assert seen["checks"] > 2


def test_one_that_does_not_start_changes_nothing_of_the_old(host: Host) -> None:
    host.systemd.broken = {"shop@2.service"}
    with pytest.raises(StepFailed, match="died while starting"):
        switch(host.instances, 1, 2, APP, 1.0)
    assert generations.live(host.layout) == 1
    assert "stop shop@1.service" not in host.systemd.said
    assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}


@pytest.mark.parametrize("sick", ["2.sock", "public"])
def test_one_that_is_sick_on_the_real_socket_is_taken_off_it(host: Host, sick: str) -> None:
    host.sick = {sick}
    with pytest.raises(StepFailed):
        switch(host.instances, 1, 2, APP, 1.0)
    assert generations.live(host.layout) == 1
    assert "stop shop@1.service" not in host.systemd.said
    assert "shop@2.service" not in host.systemd.active


class TestBroken:
    """The live generation does not serve its users well: it must hinder neither its successor nor the way back."""

    @pytest.mark.parametrize("how", [500, 0, None])
    def test_a_good_one_goes_live_at_once(self, host: Host, how: int | None) -> None:
        """Users ask both while both hold the socket: what the old one answers there is not the new one's."""
        host.answer("1.sock", "/", how)
        host.answer("public", "/", how, while_up="shop@1.service")
        seen = switch(host.instances, 1, 2, APP, 30.0, APP)
        assert generations.live(host.layout) == 2
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
        assert seen["before"].startswith("GET / ")
        # It leaves before the new one is watched for so long.
        assert host.left["shop@1.service"] - host.joined["shop@2.service"] < 12.0

    def test_one_that_hangs_is_waited_for_no_longer_than_one_answer(self, host: Host) -> None:
        host.answer("1.sock", "/healthz", None)
        switch(host.instances, 1, 2, {**APP, "health": {**APP["health"], "timeout_seconds": 300}}, 0.0, APP)
        assert host.left["shop@1.service"] - host.joined["shop@2.service"] < 6.0

    def test_one_that_is_down_with_its_socket(self, host: Host) -> None:
        host.systemd.active = set()
        host.answer("1.sock", "/healthz", 0)
        switch(host.instances, 1, 2, APP, 1.0, APP)
        assert generations.live(host.layout) == 2
        assert {"shop.socket", "shop@2.service", "shop@2.socket"} <= host.systemd.active
        assert host.systemd.said.index("start shop.socket") < host.systemd.said.index("start shop@2.service")

    def test_holders_of_a_socket_that_was_stopped_make_way_for_it(self, host: Host) -> None:
        host.systemd.active.remove("shop.socket")
        switch(host.instances, 1, 2, APP, 1.0, APP)
        assert host.systemd.said[:3] == ["stop shop@1.service", "stop shop.socket", "start shop.socket"]
        assert generations.live(host.layout) == 2

    def test_a_socket_that_systemd_lost_is_opened_again(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its unit file was gone during a daemon-reload: the unit is active still, and has nothing to give."""
        opened = [False]
        monkeypatch.setattr(_instances, "listens", lambda pid, listen, root: opened[0])
        host.systemd.on_stop = lambda: opened.__setitem__(0, "stop shop.socket" in host.systemd.said)
        switch(host.instances, 1, 2, APP, 1.0, APP)
        assert host.systemd.said[:3] == ["stop shop@1.service", "stop shop.socket", "start shop.socket"]
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}

    def test_a_successor_that_is_sick_itself_is_refused(self, host: Host) -> None:
        host.answer("1.sock", "/", 500)
        host.answer("2.sock", "/", 500)
        with pytest.raises(StepFailed, match=r"^GET / answered 500 \(2 of 2 requests\) after it took traffic$"):
            switch(host.instances, 1, 2, APP, 1.0, APP)
        assert generations.live(host.layout) == 1
        assert "stop shop@1.service" not in host.systemd.said
        assert "shop@2.service" not in host.systemd.active

    def test_a_way_back_is_lenient_where_the_live_one_is_not_even_healthy(self, host: Host) -> None:
        host.answer("2.sock", "/", 500)
        host.answer("public", "/", 500)
        host.answer("1.sock", "/healthz", 500)
        seen = switch(host.instances, 1, 2, APP, 1.0, APP, lenient=True)
        assert seen["wrong"] == ["GET / answered 500 (2 of 2 requests)"]
        assert generations.live(host.layout) == 2

    def test_nobody_goes_back_to_one_that_answers_no_better(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """Something is wrong with the new one after the old, broken one has left, but it answers its users."""
        host.answer("1.sock", "/", 500)
        told = [False, False, True, True]
        monkeypatch.setattr(_verify, "_fail_if_workers_died", lambda *_: _die() if told and told.pop(0) else False)
        seen = switch(host.instances, 1, 2, APP, 1.0, APP)
        assert seen["despite"] == "one of its workers died"
        assert generations.live(host.layout) == 2
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}

    def test_what_answers_no_better_than_a_broken_one_is_not_kept(self, host: Host) -> None:
        host.answer("1.sock", "/", 500)
        host.answer("public", "/", 500)
        with pytest.raises(StepFailed, match=r"answered 500 .* asked on 127\.0\.0\.1:8000, after it took traffic"):
            switch(host.instances, 1, 2, APP, 1.0, APP)
        assert generations.live(host.layout) == 1
        assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}

    def test_a_live_one_that_fails_only_at_times_is_not_taken_for_its_successor(self, host: Host) -> None:
        """It looked well; what then fails on the socket of both is nobody's until the old one has left."""
        turns = iter([200] * 30)
        host.answer("1.sock", "/", lambda: next(turns, 500))
        host.answer("public", "/", 500, while_up="shop@1.service")
        switch(host.instances, 1, 2, APP, 10.0, APP)
        assert generations.live(host.layout) == 2

    def test_a_dead_one_that_does_not_come_back_leaves_no_sick_one_on_the_socket(self, host: Host) -> None:
        host.systemd.active = {"shop.socket"}
        host.systemd.broken = {"shop@1.service"}
        host.answer("2.sock", "/", 500)
        with pytest.raises(StepFailed, match=r"answered 500.*the way back failed"):
            switch(host.instances, 1, 2, APP, 1.0, APP)
        assert generations.live(host.layout) == 1
        assert "shop@2.service" not in host.systemd.active

    def test_whatever_else_runs_leaves_in_the_end(self, host: Host) -> None:
        store.link_units(host.layout, 7)
        host.systemd.active |= {"shop@7.service", "shop@7.socket"}
        switch(host.instances, 1, 2, APP, 0.0, APP)
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}

    def test_a_live_one_without_its_socket_unit_file_has_the_same_address(self, host: Host) -> None:
        os.unlink(os.path.join(host.layout.generation(1), "shop.socket"))
        switch(host.instances, 1, 2, APP, 0.0)
        assert generations.live(host.layout) == 2


def _die() -> bool:
    raise StepFailed("verify", "one of its workers died")


def test_a_failed_rename_goes_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(layout: Layout, number: int) -> None:
        if number == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "activate", full)
    with pytest.raises(StepFailed, match="No space left"):
        switch(host.instances, 1, 2, APP, 0.0)
    assert "stop shop@1.service" not in host.systemd.said
    assert "shop@2.service" not in host.systemd.active


def test_the_first_cause_is_told_when_the_way_back_fails_too(host: Host) -> None:
    host.sick = {"2.sock"}
    host.systemd.broken = {"shop.socket"}
    with pytest.raises(StepFailed, match=r"never became ready.*and the way back failed: systemctl start"):
        switch(host.instances, 1, 2, APP, 0.0)


def test_a_first_deployment_that_fails_leaves_nothing_running(host: Host) -> None:
    host.systemd.active = set()
    store.deactivate(host.layout)
    host.sick = {"2.sock"}
    with pytest.raises(StepFailed):
        switch(host.instances, None, 2, APP, 0.0)
    assert host.systemd.active == set()
    assert generations.live(host.layout) is None
    assert not os.path.lexists(host.layout.boot_link)


def test_a_taken_address_is_refused_before_anything_is_touched(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.listen(2, "127.0.0.1:9000")
    monkeypatch.setattr(_switch, "address_taken", lambda listen: f"listen address {listen} is taken")
    with pytest.raises(Untouched, match="is taken; free it, or declare another `listen`"):
        switch(host.instances, 1, 2, APP, 0.0)
    assert host.systemd.said == []
    assert generations.live(host.layout) == 1


def test_a_new_address_keeps_the_old_instance_until_the_new_one_is_verified(host: Host) -> None:
    host.listen(2, "127.0.0.1:9000")
    switch(host.instances, 1, 2, APP, 0.0)
    said = host.systemd.said
    assert said.index("start shop@2.service") < said.index("stop shop@1.service")
    assert "shop.socket" in host.systemd.active
    assert generations.live(host.layout) == 2


def test_take_down_leaves_nothing_for_the_next_boot(host: Host) -> None:
    take_down(host.instances)
    assert host.systemd.active == set()
    assert generations.live(host.layout) is None
    assert not os.path.lexists(host.layout.unit("shop.socket"))


def test_one_that_its_own_socket_started_again_has_died(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Socket activation starts a dead candidate anew with every request that waits: systemd counts no restart."""
    host.sick = {"2.sock"}
    show, asked = host.systemd._show, iter(["a", "a", "b"])
    monkeypatch.setattr(
        host.systemd,
        "_show",
        lambda unit: show(unit) + (f"\nInvocationID={next(asked, 'b')}" if unit == "shop@2.service" else ""),
    )
    begin = host.time
    with pytest.raises(StepFailed, match="died while starting"):
        switch(host.instances, 1, 2, APP, 0.0)
    assert host.time - begin < 1.0


def test_one_that_ends_while_a_request_waits_in_its_socket_is_told_at_once(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request waits for as long as health.timeout_seconds says: that must hold nobody up."""
    release = threading.Event()

    def hangs(*_: object) -> Answer:
        host.systemd.broken.add("shop@2.service")
        host.systemd.active.discard("shop@2.service")
        release.wait(60.0)
        return Answer(0, b"", 60000.0, "timed out")

    monkeypatch.setattr(_instances, "get", hangs)
    begin = time.monotonic()
    try:
        with pytest.raises(StepFailed, match="died while starting"):
            host.instances.join(2, {**APP["health"], "timeout_seconds": 60, "boot_seconds": 120})
    finally:
        release.set()
    assert time.monotonic() - begin < 30.0


def test_one_whose_workers_only_die_is_told_with_its_last_words(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.sick = {"2.sock"}
    files = Path(host.layout.instance_files(2, trial=False))
    files.mkdir(parents=True)
    begin = host.time
    read = _instances.read_ends

    def reading(directory: str) -> Any:
        died = "".join(f'[{serial}, {serial}, "E", 256]\n' for serial in range(1, int(host.time - begin) + 1))
        (files / "worker-ends").write_text(died, encoding="ascii")
        return read(directory)

    monkeypatch.setattr(_instances, "read_ends", reading)
    monkeypatch.setattr(
        Systemd, "journal", lambda *_, **__: ["no licence", "[7] [ERROR] Worker (pid:8) exited with code 1"]
    )
    words = r"^does not start: 1\d of its workers died in the first 1\d s \(exited with status 1\); its log says: "
    with pytest.raises(StepFailed, match=words):
        host.instances.join(2, {**APP["health"], "boot_seconds": 60})
    assert host.time - begin < 13.0


def test_how_it_ended_is_told_where_its_log_could_not_be_read(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.systemd.broken.add("shop@2.service")
    monkeypatch.setattr(Systemd, "journal", lambda *_, **__: ["its log could not be read: status 1"])
    told = host.instances.why_dead("shop@2.service", host.time)()
    assert told == "died while starting: exited with status 0; its log could not be read: status 1"


def test_sockets_of_candidates_stop_before_their_services(host: Host) -> None:
    """A request that waits in the socket starts the service again, which cancels a stop of the service alone."""
    host.candidates.put_away("shop-trial@2.service", "shop-trial@2.socket")
    assert host.systemd.said == ["stop shop-trial@2.socket", "stop shop-trial@2.service"]


@dataclass
class Workers:
    """Worker processes of generation 2: each look at them finds the next entry (the last one for ever)."""

    root: Path
    looks: list[list[tuple[int, int]]]
    log: list[str] = field(default_factory=list)

    def pids(self, control_group: str, root: str) -> list[int]:
        now = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        for pid, started in now:
            folder = self.root / "proc" / str(pid)
            folder.mkdir(parents=True, exist_ok=True)
            fields = ["S", "7", *["0"] * 17, str(started)]
            (folder / "stat").write_text(f"{pid} (gunicorn) {' '.join(fields)}\n", encoding="ascii")
        return [pid for pid, _ in now]


@pytest.mark.parametrize(
    ("looks", "log", "cause"),
    [
        ([[(8, 100)]], [], None),
        ([[(8, 100)], [(9, 200)]], [], "one of its workers died after it took traffic"),
        ([[(8, 100)], [(8, 300)]], [], "one of its workers died after it took traffic"),  # the number is given again
        (
            [[(8, 100), (9, 100)], [(10, 200), (11, 200)]],
            ["[7] [ERROR] Worker (pid:8) exited with code 3"],
            "2 of its workers died after it took traffic",
        ),
        ([[(8, 100)], [(9, 200)]], ["[8] [INFO] Autorestarting worker after current request."], None),
        ([[(8, 100)], [(8, 100), (9, 110)]], [], None),  # one that is still being started
    ],
)
def test_a_worker_that_dies_on_the_real_socket_is_noticed(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    looks: list[list[tuple[int, int]]],
    log: list[str],
    cause: str | None,
) -> None:
    """Gunicorn replaces a worker within milliseconds: no request need fail while one is looking."""
    monkeypatch.setattr(_verify, "unit_pids", Workers(host.root, looks).pids)
    show = host.systemd._show
    monkeypatch.setattr(host.systemd, "_show", lambda unit: show(unit) + "\nControlGroup=/system.slice/x")
    monkeypatch.setattr(Systemd, "journal", lambda *_, **__: log)
    if cause is None:
        switch(host.instances, 1, 2, APP, 1.0)
        assert generations.live(host.layout) == 2
        return
    with pytest.raises(StepFailed, match=cause) as failure:
        switch(host.instances, 1, 2, APP, 1.0)
    assert failure.value.phase == "verify"
    assert generations.live(host.layout) == 1
    assert "shop@2.service" not in host.systemd.active


@pytest.mark.parametrize(
    ("ends", "cause"),
    [
        ('[1, 8, "R", 0]', None),
        ('[1, 8, " ", 9]', r"one of its workers died after it took traffic \(killed by SIGKILL\)$"),
        ('[1, 8, " ", 0]', r"one of its workers died after it took traffic \(exited at once with status 0\)$"),
        ("", r"one of its workers died after it took traffic \(ended untold\)$"),
    ],
)
def test_what_its_master_says_of_a_worker_counts_and_not_a_log_that_the_app_has_silenced(
    host: Host, monkeypatch: pytest.MonkeyPatch, ends: str, cause: str | None
) -> None:
    looks = [[(8, 100)], [(9, 200)]]
    monkeypatch.setattr(_verify, "unit_pids", Workers(host.root, looks).pids)
    show = host.systemd._show
    monkeypatch.setattr(host.systemd, "_show", lambda unit: show(unit) + "\nControlGroup=/system.slice/x")
    monkeypatch.setattr(Systemd, "journal", lambda *_, **__: [])
    files = Path(host.layout.instance_files(2, trial=False))
    files.mkdir(parents=True)
    (files / "worker-ends").touch()
    writes = iter(["", ends])
    monkeypatch.setattr(_verify, "first_cause", lambda lines: None)
    read = _verify.read_ends

    def reading(directory: str) -> Any:
        (files / "worker-ends").write_text(next(writes, ends))
        return read(directory)

    monkeypatch.setattr(_verify, "read_ends", reading)
    if cause is None:
        switch(host.instances, 1, 2, APP, 1.0)
        return
    with pytest.raises(StepFailed, match=cause):
        switch(host.instances, 1, 2, APP, 1.0)


class TestLoadedFromElsewhere:
    """A candidate with a port of its own, and what watches it."""

    def begin(self, host: Host) -> None:
        os.makedirs(host.layout.runtime)  # its private socket does that on a host
        host.candidates.start(2, APP["health"], listen="0.0.0.0:8001")
        host.candidates.begin_watch(2, {"arms": {}}, "/usr/bin/python3", 960.0)
        host.systemd.active |= {host.layout.sampler_unit, host.layout.deadline_unit}

    def test_its_port_is_in_a_drop_in_that_no_boot_outlives(self, host: Host) -> None:
        self.begin(host)
        path = Path(host.layout.runtime_drop_in("shop-trial@2.socket")) / "listen.conf"
        assert path.read_text(encoding="utf-8") == "[Socket]\nListenStream=0.0.0.0:8001\n"
        assert str(path).startswith(str(host.root / "run"))

    def test_who_is_in_the_way_is_said_before_anything_is_started(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken = "listen address 0.0.0.0:8001 is taken by another process: nginx (pid 812)"
        monkeypatch.setattr(_candidates, "address_taken", lambda listen: taken)
        with pytest.raises(StepFailed) as failed:
            host.candidates.start(2, APP["health"], listen="0.0.0.0:8001")
        assert failed.value.cause == (
            f"{taken}; the candidate needs it while it is tried: free it, or declare another `load.port`"
        )
        assert host.systemd.said == []

    def test_what_watches_it_ends_by_itself(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[list[str]] = []

        def runner(command: Sequence[str], timeout_seconds: float) -> Completed:
            asked.append(list(command))
            return host.systemd(command, timeout_seconds)

        monkeypatch.setattr(host.instances, "systemd", Systemd(runner))
        self.begin(host)
        deadline, sampler = [command for command in asked if command[0] == "systemd-run"]
        assert deadline[4:] == [
            "--unit=headcount-deadline-shop.service",
            "--on-active=960",
            "--",
            "systemctl",
            "stop",
            "shop-trial@2.socket",
            "shop-trial@2.service",
        ]
        assert "--unit=headcount-sampler-shop.service" in sampler
        assert "--property=RuntimeMaxSec=960" in sampler
        assert "--property=KillMode=mixed" in sampler
        assert sampler[-2:] == [host.layout.sampler_request, host.layout.sampler_result]

    def test_a_refusal_of_systemd_is_told(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        refused = Systemd(lambda command, timeout: Completed(1, "", "Failed to start transient unit: no\n"))
        with pytest.raises(SystemdError) as failed:
            refused.run_transient("x.service", ["true"], [])
        assert str(failed.value) == "systemd-run --unit=x.service failed: Failed to start transient unit: no"

    @pytest.mark.parametrize("how", ["stop", "heal"])
    def test_nothing_of_it_is_left(self, host: Host, how: str) -> None:
        self.begin(host)
        Path(host.layout.trial_state).write_text("{}", encoding="utf-8")
        if how == "stop":
            host.candidates.stop(2)
        else:
            host.candidates.forget()
        assert not os.path.exists(host.layout.runtime_drop_in("shop-trial@2.socket"))
        assert host.systemd.active.isdisjoint({host.layout.sampler_unit, host.layout.deadline_unit})
        assert sorted(os.listdir(host.layout.runtime)) == []
        assert host.systemd.said[-1] == "reload"

    def test_a_candidate_without_a_port_costs_nothing_more(self, host: Host) -> None:
        host.candidates.start(2, APP["health"])
        host.systemd.said.clear()
        host.candidates.stop(2)
        assert host.systemd.said == ["stop shop-trial@2.socket", "stop shop-trial@2.service"]

    def test_what_was_sampled(self, host: Host) -> None:
        self.begin(host)
        assert host.candidates.end_sampling() == {}
        Path(host.layout.sampler_result).write_text('{"levels": []}', encoding="utf-8")
        assert host.candidates.end_sampling() == {"levels": []}


class TestSocketFiles:
    """A socket outlives its file: what cannot be asked by itself is judged by what its users get."""

    @pytest.fixture
    def gone(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        """What nobody reaches any more, by the end of its address; at first the private socket of 1."""
        lost = {"1.sock"}
        monkeypatch.setattr(_instances, "listens", lambda _, listen, *__: not listen.endswith(tuple(lost)))
        host.sick = {"1.sock"}
        return lost

    @pytest.mark.usefixtures("gone")
    def test_one_that_serves_its_users_is_not_broken(self, host: Host) -> None:
        assert host.instances.look(1, APP).well
        host.answer("public", "/", 500)
        assert host.instances.look(1, APP).wrong == ("GET / answered 500 (2 of 2 requests)",)

    @pytest.mark.usefixtures("gone")
    def test_where_another_one_answers_users_too_nobody_can_tell(self, host: Host) -> None:
        host.systemd.active |= {"shop@2.service"}
        assert host.instances.look(1, APP).rank == SILENT

    @pytest.mark.usefixtures("gone")
    def test_it_is_not_replaced_by_one_that_answers_badly(self, host: Host) -> None:
        host.answer("2.sock", "/", 500)
        with pytest.raises(StepFailed, match="GET / answered 500"):
            switch(host.instances, 1, 2, APP, 0.0, lenient=True)
        assert generations.live(host.layout) == 1
        assert "stop shop@1.service" not in host.systemd.said

    @pytest.mark.usefixtures("gone")
    def test_a_good_successor_takes_over(self, host: Host) -> None:
        assert "before" not in switch(host.instances, 1, 2, APP, 0.5)
        assert generations.live(host.layout) == 2

    def test_a_public_socket_that_is_closed_during_a_switch_is_opened_again(self, host: Host, gone: set[str]) -> None:
        gone.clear()
        host.sick = set()
        host.systemd.on_stop = lambda: host.systemd.active.discard("shop.socket")
        seen = switch(host.instances, 1, 2, APP, 0.5)
        assert seen["opened"] == "opened shop.socket again, which was closed on 127.0.0.1:8000: users met a short gap"
        assert told(1, seen) == [seen["opened"]]
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}

    def test_and_on_the_way_back(self, host: Host, gone: set[str]) -> None:
        gone.clear()
        host.sick = {"2.sock"}

        def on_stop() -> None:
            if "stop shop@2.service" in host.systemd.said:
                host.systemd.on_stop = object
                host.systemd.active.discard("shop.socket")

        host.systemd.on_stop = on_stop
        with pytest.raises(StepFailed):
            switch(host.instances, 1, 2, APP, 0.5)
        assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}


class TestRoomForTasks:
    """An instance has to have room for its processes and threads before users, or the live one, can miss them."""

    @pytest.fixture
    def small(self, host: Host) -> Host:
        """A host on which 40 more may be begun, for generations of 2 workers with 8 threads each: 19."""
        files = {
            "proc/self/mountinfo": "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
            "proc/1/cgroup": "0::/init.scope",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory pids",
            "sys/fs/cgroup/pids.max": "140",
            "sys/fs/cgroup/pids.current": "100",
        }
        for name, text in files.items():
            (host.root / name).parent.mkdir(parents=True, exist_ok=True)
            (host.root / name).write_text(text + "\n", encoding="utf-8")
        settings = {"worker_class": "gthread", "workers": 2, "threads": 8}
        plan = {"settings": {name: {"value": value} for name, value in settings.items()}}
        for number in (1, 2):
            record = {"app": APP, "plan": plan, "planning": {}}
            path = Path(host.layout.generation(number)) / "generation.json"
            path.write_text(json.dumps(record), encoding="utf-8")
        host.systemd.groups = {"shop@1.service": "/system.slice/shop@1.service"}
        self.live(host, {8: 9, 9: 9})
        return host

    @staticmethod
    def live(host: Host, workers: dict[int, int], own: int = 0) -> None:
        """The live instance: its master (7), workers with so many tasks each, and `own` processes of the app."""
        group = host.root / "sys/fs/cgroup/system.slice/shop@1.service"
        group.mkdir(parents=True, exist_ok=True)
        tasks = {7: (1, 1), **{pid: (7, count) for pid, count in workers.items()}}
        tasks.update({100 + place: (8, 1) for place in range(own)})
        (group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in tasks), encoding="utf-8")
        for pid, (parent, count) in tasks.items():
            folder = host.root / f"proc/{pid}"
            folder.mkdir(parents=True, exist_ok=True)
            fields = " ".join(["S", str(parent), *(["0"] * 17), "5"])
            (folder / "stat").write_text(f"{pid} (gunicorn) {fields}\n", encoding="utf-8")
            (folder / "status").write_text(f"Name:\tgunicorn\nThreads:\t{count}\n", encoding="utf-8")

    def test_there_is_room(self, small: Host) -> None:
        switch(small.instances, 1, 2, APP, 1.0)
        assert generations.live(small.layout) == 2

    def test_what_the_live_one_has_yet_to_begin_counts(self, small: Host) -> None:
        self.live(small, {8: 1, 9: 1})
        with pytest.raises(Untouched) as failed:
            switch(small.instances, 1, 2, APP, 1.0)
        assert failed.value.cause == (
            "this host has no room for generation 2: its 19 processes and threads, 16 that the live generation has yet "
            "to begin and 10 to spare are 45, but only 40 more may be begun (/sys/fs/cgroup/pids.max is 140, and 100 "
            "are there). End some of them, or allow more, and run this again"
        )
        assert small.systemd.said == []

    def test_a_plan_that_no_end_of_others_makes_room_for_says_what_to_declare(self, small: Host) -> None:
        path = Path(small.layout.generation(2)) / "generation.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        record["plan"]["settings"]["threads"]["value"] = 80
        path.write_text(json.dumps(record), encoding="utf-8")
        with pytest.raises(StepFailed) as failed:
            small.candidates.start(2, APP["health"])
        assert failed.value.cause == (
            "this host has no room for generation 2: its 163 processes and threads and 10 to spare are 173, but only "
            "40 more may be begun (/sys/fs/cgroup/pids.max is 140, and 100 are there). Its plan alone has more than "
            "that: declare `concurrency`, the requests in flight at peak, which its threads follow, or `settings` with "
            "fewer workers and threads; or allow more, and run this again"
        )

    def test_a_broken_one_makes_room_when_it_leaves(self, small: Host) -> None:
        self.live(small, {8: 1, 9: 1})
        small.answer("1.sock", "/", 500)
        switch(small.instances, 1, 2, APP, 1.0, APP)
        assert generations.live(small.layout) == 2

    def test_a_candidate_takes_none_from_the_live_one(self, small: Host) -> None:
        (small.root / "sys/fs/cgroup/pids.current").write_text("120\n", encoding="utf-8")
        with pytest.raises(StepFailed, match="its 19 processes and threads and 10 to spare are 29, but only 20 more"):
            small.candidates.start(2, APP["health"])
        assert small.systemd.said == []
        small.candidates.start(2, APP["health"], "--workers 1")  # one worker alone needs 10

    def test_what_the_app_begins_by_itself_is_expected_of_the_next_one_too(self, small: Host) -> None:
        self.live(small, {8: 1, 9: 1}, own=12)
        words = "its 31 processes and threads, 16 that the live generation has yet to begin and 10 to spare are 57"
        with pytest.raises(Untouched, match=words):
            switch(small.instances, 1, 2, APP, 1.0)

    def test_one_that_has_swollen_is_named_with_the_way_out(self, small: Host) -> None:
        """A way back is for what it has too many: they are not expected of the one that is gone back to."""
        (small.root / "sys/fs/cgroup/pids.current").write_text("115\n", encoding="utf-8")
        self.live(small, {8: 9, 9: 9}, own=80)
        with pytest.raises(Untouched, match="its 99 processes and threads and 10 to spare are 109, but only 25 more"):
            switch(small.instances, 1, 2, APP, 1.0)
        words = (
            "99 of them are those of shop@1.service, which is planned to have 19: `systemctl restart shop@1.service`"
        )
        with pytest.raises(Untouched, match=words):
            switch(small.instances, 1, 2, APP, 1.0)
        assert small.systemd.said == []

    @pytest.fixture
    def swollen(self, small: Host) -> Host:
        (small.root / "sys/fs/cgroup/pids.current").write_text("135\n", encoding="utf-8")
        self.live(small, {8: 9, 9: 9}, own=80)
        return small

    @pytest.mark.parametrize("well", [True, False])
    def test_on_a_way_back_it_leaves_first(self, swollen: Host, well: bool) -> None:
        if not well:
            swollen.answer("1.sock", "/", 500)
        seen = switch(swollen.instances, 1, 2, APP, 1.0, APP, lenient=True)
        said = swollen.systemd.said
        leaves = said.index("stop shop@1.service shop@1.socket")  # nobody who asked there in vain wakes it again
        assert said.index("reload") < leaves < said.index("start shop@2.socket")
        assert not {"stop shop.socket", "start shop.socket"} & set(said)  # it holds the requests that wait
        assert swollen.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
        words = [line for line in told(1, seen) if "leaves before" in line]
        assert words == [
            "generation 1 leaves before generation 2 is begun, and requests wait meanwhile: shop@1.service has 99 "
            "processes and threads (it is planned to have 19), and this host has no room for generation 2: its 19 "
            "processes and threads and 10 to spare are 29, but only 5 more may be begun (/sys/fs/cgroup/pids.max is "
            "140, and 135 are there)"
        ]
        assert ("before" in seen) is not well

    def test_one_that_takes_the_room_again_and_again_leaves_first_though_there_is_some(
        self, small: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It takes no more meanwhile."""
        said = small.systemd.said
        monkeypatch.setattr(_switch, "forbid", lambda layout, number: said.append(f"forbid {number}"))
        seen = switch(small.instances, 1, 2, APP, 1.0, APP, lenient="it took 99")
        leaves = said.index("stop shop@1.service shop@1.socket")
        assert said.index("forbid 1") < leaves < said.index("start shop@2.socket")
        assert generations.live(small.layout) == 2
        assert told(1, seen)[0] == (
            "generation 1 leaves before generation 2 is begun, and requests wait meanwhile: it took 99"
        )

    def test_the_other_one_is_begun_as_soon_as_there_is_room(
        self, swollen: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What has left its tasks may still end the requests that it has."""
        monkeypatch.setattr(Systemd, "begin_stop", lambda _, *units: swollen.systemd.said.append("begins to leave"))

        def sleep(seconds: float) -> None:
            (swollen.root / "sys/fs/cgroup/pids.current").write_text("60\n", encoding="utf-8")

        swollen.instances.sleep = sleep
        switch(swollen.instances, 1, 2, APP, 0.0, APP, lenient=True)
        said = swollen.systemd.said
        assert said.index("begins to leave") < said.index("start shop@2.socket") < said.index("stop shop@1.service")

    def test_room_that_does_not_come_is_not_waited_for_for_ever(
        self, swollen: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Systemd, "begin_stop", lambda *_: None)
        begin = swollen.time
        switch(swollen.instances, 1, 2, APP, 0.0, APP, lenient=True)
        assert 70.0 <= swollen.time - begin < 90.0

    def test_where_the_other_one_does_not_come_up_it_is_started_again(self, swollen: Host) -> None:
        swollen.systemd.broken = {"shop@2.service"}
        with pytest.raises(StepFailed):
            switch(swollen.instances, 1, 2, APP, 1.0, APP, lenient=True)
        assert generations.live(swollen.layout) == 1
        assert swollen.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}

    def test_it_stays_where_its_leaving_would_make_no_room(self, swollen: Host) -> None:
        (swollen.root / "sys/fs/cgroup/pids.max").write_text("20\n", encoding="utf-8")
        with pytest.raises(Untouched, match="but only 0 more"):
            switch(swollen.instances, 1, 2, APP, 1.0, APP, lenient=True)
        assert swollen.systemd.said == []

    def test_one_that_is_broken_leaves_first_where_the_other_one_could_not_come_up(self, small: Host) -> None:
        small.answer("1.sock", "/", 500)
        (small.root / "sys/fs/cgroup/pids.current").write_text("128\n", encoding="utf-8")  # 3 and 10 to spare
        seen = switch(small.instances, 1, 2, APP, 1.0, APP, lenient=True)
        assert "in_turn" in seen

    @staticmethod
    def fails_beside(host: Host, monkeypatch: pytest.MonkeyPatch, cause: str) -> None:
        """Nothing comes up while the live one runs."""
        join = Instances.join

        def joins(instances: Instances, number: int, health: Any) -> float:
            if "shop@1.service" in host.systemd.active:
                raise StepFailed("start", cause)
            return join(instances, number, health)

        monkeypatch.setattr(Instances, "join", joins)

    @pytest.mark.parametrize(
        "cause",
        ["BlockingIOError: [Errno 11] Resource temporarily unavailable", "RuntimeError: can't start new thread"],
    )
    def test_room_that_is_gone_when_it_is_needed_is_made_by_what_is_broken(
        self, small: Host, monkeypatch: pytest.MonkeyPatch, cause: str
    ) -> None:
        self.fails_beside(small, monkeypatch, cause)
        small.answer("1.sock", "/", 500)
        seen = switch(small.instances, 1, 2, APP, 1.0, APP, lenient=True)
        assert generations.live(small.layout) == 2
        assert small.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
        assert (
            "generation 1 leaves before generation 2 is begun, and requests wait meanwhile: beside it 2 " + cause
        ) in told(1, seen)

    def test_so_it_is_where_it_was_begun_and_its_workers_find_none(
        self, small: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def watches(instances: Instances, number: int, *more: Any, **how: Any) -> Any:
            if "shop@1.service" in small.systemd.active:
                raise StepFailed("verify", "7 of its workers died after it took traffic: can't start new thread")
            return _verify.verify(instances, number, *more, **how)

        monkeypatch.setattr(_switch, "verify", watches)
        small.answer("1.sock", "/", 500)
        seen = switch(small.instances, 1, 2, APP, 1.0, APP, lenient=True)
        assert generations.live(small.layout) == 2
        assert small.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
        assert "its workers died" in seen["in_turn"]

    @pytest.mark.parametrize(("cause", "broken"), [("no module named shop", True), ("can't start new thread", False)])
    def test_nothing_leaves_for_another_reason_or_where_it_is_well(
        self, small: Host, monkeypatch: pytest.MonkeyPatch, cause: str, broken: bool
    ) -> None:
        self.fails_beside(small, monkeypatch, cause)
        if broken:
            small.answer("1.sock", "/", 500)
        with pytest.raises(StepFailed, match=cause):
            switch(small.instances, 1, 2, APP, 1.0, APP, lenient=True)
        assert generations.live(small.layout) == 1
        assert "stop shop@1.service" not in " ".join(small.systemd.said)

    def test_a_record_that_tells_no_plan_hinders_nothing(self, small: Host) -> None:
        (Path(small.layout.generation(2)) / "generation.json").write_text("{}", encoding="utf-8")
        (small.root / "sys/fs/cgroup/pids.current").write_text("139\n", encoding="utf-8")
        switch(small.instances, 1, 2, APP, 1.0)


class TestNoRoomInRun:
    """systemd reads no unit files while /run is nearly full: no way back may end there."""

    def test_what_is_broken_is_left_all_the_same(self, host: Host) -> None:
        host.systemd.refuses_reload = True
        host.answer("1.sock", "/", 500)
        host.answer("public", "/", 500, while_up="shop@1.service")
        seen = switch(host.instances, 1, 2, APP, 1.0, APP)
        assert generations.live(host.layout) == 2
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
        assert [line for line in told(1, seen) if "not enough space available on /run/systemd" in line]

    def test_what_was_not_kept_leaves_the_public_socket(self, host: Host) -> None:
        host.systemd.refuses_reload = True
        host.sick = {"public"}
        with pytest.raises(StepFailed):
            switch(host.instances, 1, 2, APP, 1.0)
        assert generations.live(host.layout) == 1
        assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}

    def test_each_part_of_a_way_back_is_tried_whatever_became_of_the_others(self, host: Host) -> None:
        host.systemd.active |= {"shop@2.service", "shop@2.socket"}
        host.systemd.active -= {"shop@1.service"}
        host.systemd.broken = {"shop@1.service"}
        with pytest.raises(SystemdError, match=r"shop@1\.service"):
            _switch.restore(host.instances, 1, 2)
        assert "shop@2.service" not in host.systemd.active


@pytest.mark.parametrize(
    ("peak_mib", "words"),
    [
        (511, "while it started: it needs more memory than its plan's limit of 512 MiB"),
        (
            200,
            "while it started: its unit never used more than 200 of its 512 MiB, so that the memory above it was full",
        ),
    ],
)
def test_what_made_the_kernel_kill_is_told(peak_mib: int, words: str, tmp_path: Path) -> None:
    root, group = tree("v2-slices-nested", tmp_path), "/app.slice/app-shop.slice/shop@3.service"
    (tmp_path / f"sys/fs/cgroup{group}/memory.peak").write_text(str(peak_mib * 2**20), encoding="ascii")
    started = Instances(Layout("shop", root), systemd=Systemd())
    with pytest.raises(StepFailed, match=re.escape(words)):
        started.fail_if_killed(UnitState("loaded", "active", "running", "success", 4242, 0, 0, group, "", ""))
