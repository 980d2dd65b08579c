# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Further processes of a release: their units, and that those of two generations never run at the same moment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import generations, processnames, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.instances import Instances
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.processes import Processes
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.units import render
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import ABSENT, Completed, Systemd
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.planner import plan_host
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.types import PlanError
from fake_systemd import FakeSystemd

PROCESSES: dict[str, Any] = {
    "worker": {"run": "rq worker 'my shop' 100% '$X'", "instances": 2, "memory_mib": 100},
    "beat": "celery beat",
    "nightly-report": {"run": "flask report", "schedule": "*-*-* 03:00:00", "seconds": 900, "memory_mib": 50},
}


def declared(**changes: Any) -> dict[str, Any]:
    app = {
        "name": "shop",
        "source": {"path": "app"},
        "entry_point": "shop:app",
        "listen": "127.0.0.1:8000",
        "processes": PROCESSES,
        **changes,
    }
    apps, problems = normalise_apps([app], "web1")
    assert not problems
    return apps[0]


FACTS: dict[str, Any] = {
    "cores": {"effective": 2.0, "limited_by": "cpuset"},
    "memory": {"effective_mib": 1024, "limited_by": "MemTotal"},
    "limits": {"nofile_max": 524288, "somaxconn": 4096},
    "kernel": {"release": "6.12"},
    "python": {"version": "3.13", "implementation": "cpython"},
    "platform": {"machine": "x86_64", "libc": "glibc 2.41"},
}


def planned(**changes: Any) -> dict[str, Any]:
    plan: dict[str, Any] = plan_host(facts=FACTS, apps=[declared(**changes)], measured={}, fleet={}, previous={},
                                     async_verdicts={})["shop"].to_dict()  # fmt: skip
    return plan


UNITS = [
    "shop@7-beat.service",
    "shop@7-nightly-report.service",
    "shop@7-nightly-report.timer",
    "shop@7-worker:1.service",
    "shop@7-worker:2.service",
]


class TestUnits:
    """The files."""

    FILES = render(declared(), planned(), 7, Layout("shop"))

    def test_each_instance_has_a_unit_and_a_schedule_a_timer(self) -> None:
        layout = Layout("shop")
        assert processnames.process_units(layout, 7, self.FILES) == UNITS
        assert processnames.process_units(layout, 8, self.FILES) == []
        wanted = [UNITS[0], *UNITS[2:]]
        assert processnames.starters(UNITS) == wanted
        assert f"Wants=shop@7.service {' '.join(wanted)}\n" in self.FILES["shop.socket"]
        assert [processnames.name_of(unit) for unit in UNITS] == [
            "beat", "nightly-report", "nightly-report", "worker", "worker",
        ]  # fmt: skip
        others = ["shop@7.service", "shop-x@7-a.service"]
        assert [processnames.number_of(layout, unit) for unit in (UNITS[0], *others)] == [7, None, None]

    def test_it_has_the_sandbox_of_the_server_and_limits_of_its_own(self) -> None:
        lines = self.FILES["shop@7-worker:2.service"].splitlines()
        served = self.FILES["shop@7.service"].splitlines()
        for line in ("User=hc-shop", "ProtectSystem=strict", "EnvironmentFile=/var/lib/headcount/shop/7.env"):
            assert line in lines
            assert line in served
        assert 'ExecStart=/usr/bin/env "rq" "worker" "my shop" "100%%" "$$X"' in lines
        assert "MemoryMax=100M" in lines
        assert "RuntimeDirectory=headcount-instances/shop@7-worker.2" in lines, "no instance of an app has this one"
        assert 'Environment="HEADCOUNT_PROCESS=worker"' in lines
        assert "Restart=always" in lines
        assert not [
            line for line in lines if line.startswith(("Sockets=", "Type=notify", "MemoryHigh=", "NonBlocking="))
        ]

    def test_one_that_runs_by_a_schedule_ends(self) -> None:
        lines = self.FILES["shop@7-nightly-report.service"].splitlines()
        assert {"Type=oneshot", "TimeoutStartSec=900"} <= set(lines)
        assert "Restart=always" not in lines
        assert "OnCalendar=*-*-* 03:00:00\n" in self.FILES["shop@7-nightly-report.timer"]

    def test_an_app_without_has_the_files_that_it_had(self) -> None:
        files = render(declared(processes={}), planned(processes={}), 7, Layout("shop"))
        assert processnames.process_units(Layout("shop"), 7, files) == []
        assert "Wants=shop@7.service\n" in files["shop.socket"]


class TestPlan:
    """What they take is kept free."""

    def test_memory_and_cores_are_counted_once_and_told(self) -> None:
        alone, beside = planned(processes={})["inputs"], planned()["inputs"]
        # 2 x 100 + 128 + 50 MiB, of which a generation has half: the processes of two never run at once.
        assert alone["budget_mib"]["value"] - beside["budget_mib"]["value"] == pytest.approx(378 / 2)
        assert " - 378 MiB for worker, beat, nightly-report / 2 generations" in beside["budget_mib"]["source"]
        computing = planned(processes={"worker": {"run": "x", "cores": 0.5, "instances": 2}})["inputs"]
        assert computing["cores"]["value"] == 1.0
        assert computing["cores"]["source"].endswith(" - 1 for worker")

    @pytest.mark.parametrize("process", [{"memory_mib": 2000}, {"cores": 2.0}])
    def test_more_than_there_is_is_refused_with_the_fix(self, process: dict[str, Any]) -> None:
        with pytest.raises(PlanError, match=r"processes \(worker\).*its server needs some of them.*lower `"):
            planned(processes={"worker": {"run": "x", **process}})


class Host:
    """Generations 1 and 2 with a worker and a timer each; systemd starts and stops at once."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout("shop", str(root))
        self.fake = FakeSystemd()
        self.now = 0.0
        systemd = Systemd(self.ask)
        self.instances = Instances(self.layout, systemd, monotonic=lambda: self.now, sleep=self.sleep)
        self.processes = Processes(self.instances)
        self.shown: dict[str, str] = {}
        self.on_sleep: list[str] = []
        for folder in (self.layout.state, self.layout.units):
            os.makedirs(folder)
        for number in (1, 2):
            store.begin(self.layout, number, "0" * 16)
            names = [*self.layout.instance_units(number), *self.units(number)]
            app = {"processes": {"worker": {"run": "x", "stop_seconds": 5.0}}}
            store.write(self.layout, number, dict.fromkeys(names, "[Unit]\n"), {"app": app, "plan": {}})
            store.link_units(self.layout, number)

    @staticmethod
    def units(number: int) -> list[str]:
        return [f"shop@{number}-report.service", f"shop@{number}-report.timer", f"shop@{number}-worker.service"]

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.fake.active -= set(self.on_sleep)

    def ask(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        done = self.fake(command, timeout_seconds)
        blocks = [block for block in done.out.split("\n\n") if block.startswith("Id=")]
        told = []
        for block in blocks:
            unit = block.splitlines()[0][3:]
            told.append(f"{block}\nFragmentPath=/etc/systemd/system/{unit}\n{self.shown.get(unit, '')}".strip())
        return Completed(done.status, "\n\n".join(told), done.err)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_generation_is_linked_and_removed_with_its_processes(host: Host) -> None:
    assert generations.units_of(host.layout, 1)[4:] == host.units(1)
    assert all(os.path.islink(host.layout.unit(unit)) for unit in host.units(1))
    store.remove(host.layout, 1)
    assert not any(os.path.lexists(host.layout.unit(unit)) for unit in host.units(1))
    assert os.path.islink(host.layout.unit("shop@2-worker.service"))


def test_what_ran_is_stopped_before_its_successor_starts(host: Host) -> None:
    host.fake.active = {"shop@1-worker.service", "shop@1-report.timer", "shop@1.service"}
    host.processes.hand_over(2, 1.0)
    assert host.fake.said == [
        "stop shop@1-report.timer",
        "stop shop@1-worker.service",
        "start shop@2-report.timer shop@2-worker.service",
    ]
    assert host.processes.running() == {"shop@2-report.timer": 2, "shop@2-worker.service": 2}
    assert host.now >= 3.0  # watched for as long as it takes to see one die at once
    host.fake.said.clear()
    assert (host.processes.start(2), host.processes.stop_others(2), host.fake.said) == ([], [], [])


def test_those_that_the_public_socket_has_started_are_watched_too(host: Host) -> None:
    """On a first deployment the socket starts the processes that it wants, before anybody looks."""
    host.fake.active = {"shop@2-report.timer", "shop@2-worker.service"}
    host.shown["shop@2-worker.service"] = "ActiveState=activating\nSubState=auto-restart\nNRestarts=2\nExecMainStatus=1"
    with pytest.raises(StepFailed, match="process worker does not stay up: it ended with status 1"):
        host.processes.hand_over(2, 1.0)
    assert host.fake.said == []


def test_they_are_watched_for_as_long_as_is_asked(host: Host) -> None:
    host.processes.hand_over(2, 40.0)
    assert host.now >= 40.0


def test_a_job_that_is_under_way_ends_by_itself_first(host: Host) -> None:
    host.fake.active = {"shop@1-report.service", "shop@1-report.timer"}
    host.on_sleep = ["shop@1-report.service"]
    host.processes.stop_others(2)
    assert host.fake.said == ["stop shop@1-report.timer"]


def test_or_is_stopped_when_that_takes_too_long(host: Host) -> None:
    host.fake.active = {"shop@1-report.service", "shop@1-report.timer"}
    host.processes.stop_others(2)
    assert host.fake.said == ["stop shop@1-report.timer", "stop shop@1-report.service"]
    assert host.now >= 5.0


def test_a_timer_counts_from_where_the_one_before_was_stopped(host: Host) -> None:
    """So nothing that has run is run again, and what was due in between is run once."""
    host.fake.active = {"shop@1-report.timer"}
    stamps = [Path(host.layout.timer_stamp(f"shop@{number}-report.timer")) for number in (1, 2)]
    stamps[0].parent.mkdir(parents=True)
    host.instances.clock = lambda: 5000.0
    for last, since in ((1000.0, 4999.0), (4999.5, 4999.5)):
        stamps[0].touch()
        os.utime(stamps[0], (last, last))
        host.processes.stop_others(2)
        host.processes.start(2)
        assert stamps[1].stat().st_mtime == since
        host.fake.active = {"shop@1-report.timer"}
    host.fake.active = set()
    Processes(host.instances).start(2)  # nothing was stopped: from now
    assert stamps[1].stat().st_mtime == 5000.0
    assert "Persistent=yes\n" in TestUnits.FILES["shop@7-nightly-report.timer"]


@pytest.mark.parametrize(
    ("shown", "how"),
    [
        ("NRestarts=1\nExecMainStatus=3", "it ended with status 3"),
        (
            "NRestarts=1\nExecMainStatus=203",
            "systemd cannot execute its program (exit status 203/EXEC); the file or its interpreter is gone, may not "
            "be executed, or lies on a file system that is mounted noexec",
        ),
        ("ActiveState=activating\nSubState=auto-restart\nExecMainStatus=0", "it ended with status 0"),
    ],
)
def test_one_that_does_not_stay_up_is_named(host: Host, shown: str, how: str) -> None:
    host.shown["shop@2-worker.service"] = shown
    with pytest.raises(StepFailed) as failed:
        host.processes.hand_over(2, 1.0)
    assert (failed.value.phase, failed.value.cause) == ("processes", f"process worker does not stay up: {how}")


def test_the_probe_names_those_that_do_not_run(host: Host) -> None:
    assert processnames.down_of(host.layout, 2, {"shop@2-report.timer": ABSENT}) == [
        "process report does not run: shop@2-report.timer is inactive",
        "process worker does not run: shop@2-worker.service is inactive",
    ]


@pytest.mark.parametrize(
    ("processes", "says"),
    [
        ({"worker-2": "x"}, "processes.worker-2 has a name that is refused"),
        ({"w": {"run": "x", "instances": 0}}, "processes.w.instances is 0"),
        ({"w": {"run": "x", "schedule": "every day at 3; rm"}}, "processes.w.schedule is"),
        ({"w": "a | b"}, "no shell reads it"),
        (["x"], "allowed is a mapping of names to commands"),
        ({"w": {"command": "x"}}, "processes.w.command is not known"),
    ],
)
def test_what_is_wrong_is_named(processes: object, says: str) -> None:
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "a:b", "listen": "0.0.0.0:1"}
    problems = normalise_apps([{**app, "processes": processes}], "web1")[1]
    assert says in problems[0].text
    assert "; fix: " in problems[0].text
