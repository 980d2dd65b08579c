# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How an app runs now: read without asking it, and told in words."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils import _hosttool as tool
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.unitusage import UnitMemory
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import ledger, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder import instance
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch import text, view

SETTINGS = {"workers": {"value": 2}, "memory_max_mib": {"value": 200}}
RECORD: dict[str, Any] = {
    "release": "0" * 16,
    "app": {"listen": "127.0.0.1:8000", "health": {}, "limits": {"p95_ms": 250}},
    "plan": {"slots": 8, "settings": SETTINGS},
}
MEMORY = UnitMemory("/x", 2, 90.0, 120.4, "", 180.0, 200.0, 80.0, 1.0, 1, None)
TCP = """  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 1
"""


class Units:
    """A service manager in which `active` units run, or are in the state that `states` says."""

    def __init__(self, *active: str, states: Mapping[str, str] = {}) -> None:
        self.active, self.states = active, states

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        names = command[list(command).index("--") + 1 :]
        units = [unit for name in names for unit in (fnmatch.filter(self.active, name) if "*" in name else [name])]
        usual = {one: "active" if one in self.active else "inactive" for one in units}
        shown = [f"Id={one}\nActiveState={self.states.get(one, usual[one])}" for one in units]
        return Completed(0, "\n\n".join(shown), "")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout("shop", str(tmp_path))
    os.makedirs(made.state)
    os.makedirs(made.units)
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(TCP)
    for number in (1, 2):
        store.begin(made, number, "0" * 16)
        store.write(made, number, {"shop.socket": "[Socket]\n"}, {**RECORD, "number": number})
        Path(made.environment(number)).touch()
        store.finish(made, number)
        store.link_units(made, number)
        store.set_outcome(made, number, "good")
    store.activate(made, 2)
    store.link_public(made)
    ledger.append(made.ledger, "promoted", **{"from": 1, "to": 2})
    return made


def count(layout: Layout, number: int, answers: Sequence[int] = (), running: int = 0) -> None:
    """Let generation `number` count requests with these statuses, and some that run."""
    folder = layout.instance_files(number, trial=False)
    os.makedirs(folder, exist_ok=True)
    instance._started.clear()
    hooks = instance.start(folder, 2, False, (None, 250.0, None))
    worker = SimpleNamespace(age=1, log=None)
    hooks.pre_fork(SimpleNamespace(WORKERS={}, log=None), worker)
    for status in answers:
        request = object()
        hooks.pre_request(worker, request)
        hooks.post_request(worker, request, {}, SimpleNamespace(status_code=status))
    for _ in range(running):
        hooks.pre_request(worker, object())


def seen(layout: Layout, *active: str, states: Mapping[str, str] = {}) -> view.AppView:
    return view.app_view("shop", layout.root, Systemd(Units(*active, states=states)), lambda: 100.0)


UP = ("shop.socket", "shop@2.service")


def test_the_live_instance_is_told_of_with_what_waits_for_it(layout: Layout) -> None:
    count(layout, 2, [200] * 20 + [404, 500], running=3)
    found = seen(layout, *UP)
    assert (found.live, found.listen, found.waiting, found.socket_up) == (2, "127.0.0.1:8000", 3, True)
    assert found.current is not None
    assert (found.current.slots, found.current.planned_workers, found.current.memory_max_mib) == (8, 2, 200.0)
    assert found.current.limits.p95_ms == 250
    assert json.loads(json.dumps(found.to_dict()))["instances"][0]["requests"]["in_flight"] == 3
    lines = text.status_lines(found)
    assert "22 requests served, p50 " in lines[0]
    assert lines[0].endswith("ms, 1 answered 4xx, 1 answered 5xx")
    assert lines[1] == "now: 3 of 8 slots busy, 3 connections wait; its memory is not counted"


def test_where_systemd_cannot_be_asked_the_live_one_is_told_of_by_the_kernel(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was counted, what waits and what it takes are known all the same."""
    asked: list[Any] = []
    monkeypatch.setattr(view, "unit_memory", lambda group, root: asked.append(group) or MEMORY)
    count(layout, 2, [200] * 20 + [500], running=3)
    for pid, parent, unit in ((40, 1, "shop@2.service"), (41, 40, "shop@2.service"), (50, 1, "shop@22.service")):
        folder = Path(layout.root, f"proc/{pid}")
        folder.mkdir()
        (folder / "cgroup").write_text(f"3:pids:/system.slice/{unit}\n1:name=systemd:/system.slice/{unit}\n")
        (folder / "stat").write_text(f"{pid} (gunicorn) S {parent} {' '.join(['0'] * 18)}\n")
    found, usual = view.kernel_view("shop", layout.root, lambda: 100.0), seen(layout, *UP)
    assert found.current is not None
    assert usual.current is not None
    assert found.current.counts == usual.current.counts
    assert (found.live, found.waiting, found.current.memory) == (2, 3, MEMORY)
    assert asked == ["/system.slice/shop@2.service"]


def test_so_it_is_where_nothing_of_it_runs(layout: Layout) -> None:
    assert view.kernel_view("shop", layout.root).current is None


def test_one_that_drains_is_told_of_beside_the_live_one(layout: Layout) -> None:
    found = seen(layout, *UP, "shop@1.service")
    assert [(one.generation, one.live) for one in found.instances] == [(2, True), (1, False)]


def test_its_processes_are_told_of(layout: Layout) -> None:
    names = ("shop@2-worker:1.service", "shop@2-worker:2.service", "shop@2-report.service", "shop@2-report.timer")
    for name in names:
        Path(layout.generation(2), name).touch()
    found = seen(layout, *UP, "shop@2-report.timer", "shop@2-worker:1.service", "shop@1-worker:1.service")
    assert text.processes(found) == "report waits for its time; worker:1 runs; worker:2 is down"
    assert text.status_lines(found)[-1] == f"processes: {text.processes(found)}"
    told = json.loads(json.dumps(found.to_dict()))["processes"][0]
    assert told == {
        "name": "report", "by_schedule": True, "up": True, "runs": False, "restarts": 0, "memory_mib": None
    }  # fmt: skip
    worker = view.ProcessView("worker", False, True, True, 2, 31.6)
    assert text.processes(replace(found, processes=(worker,))) == "worker runs, 32 MiB, was started again 2 times"


def test_connections_that_have_sent_no_request_are_told_where_slots_look_free(layout: Layout) -> None:
    count(layout, 2, [200])
    found = seen(layout, *UP)
    assert found.current is not None
    assert found.current.slots == 8
    few, slow = replace(found, connections=3), replace(found, connections=200)
    assert [text.held(one) for one in (replace(found, connections=None), few, slow)] == [0, 0, 200]
    assert "0 of 8 slots busy, 0 connections wait;" in text.status_lines(replace(few, waiting=0))[1]
    told = "0 of 8 slots busy, 30 connections wait, 200 open connections with no whole request;"
    assert told in text.status_lines(replace(slow, waiting=30))[1]
    assert "0+200/8" in text.top_lines([slow], [slow])[1]
    assert replace(slow, instances=(replace(found.current, counts=None),)).unasked is None


def test_workers_that_are_not_as_planned_are_told(layout: Layout) -> None:
    count(layout, 2, [200])
    current = seen(layout, *UP).current
    assert current is not None
    assert current.planned_workers == 2
    worker = view.WorkerView(4711, 1, 5.0, 0, 0, None, None)
    assert text.short_of(replace(current, workers=(worker,))) == "1 run, 2 are planned"
    assert text.short_of(replace(current, workers=(worker, worker))) == ""
    assert text.short_of(replace(current, workers=(worker,), counts=None)) == "", "nobody can tell"


def test_a_dead_app_is_told_of(layout: Layout) -> None:
    found = seen(layout)
    assert (found.live, found.instances, found.socket_up) == (2, (), False)
    assert text.status_lines(found) == []
    (row,) = text.top_lines([found], [found])[1:]
    assert row.split() == ["shop", "-", *["-"] * 7, "closed", "-", "nothing", "runs"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("old", view.BEFORE_IT),
        ("starting", view.NOT_STARTED),
        ("no room", "its recorder could not begin (a full /run, most often): `journalctl -u shop@2.service | grep"),
        ("declared", view.NOT_DECLARED),
        ("wedged", "cannot be read: it is no recorder's file"),
        (
            "emptied",
            "recorder cannot be read: it was emptied or written over; `systemctl restart shop@2.service`",
        ),
    ],
)
def test_why_nothing_is_counted_is_told(layout: Layout, wrong: str, why: str) -> None:
    if wrong in ("wedged", "emptied"):
        os.makedirs(layout.instance_files(2, trial=False))
        Path(layout.instance_files(2, trial=False), "recorder").write_bytes(b"x" * (4096 * (wrong == "wedged")))
    if wrong == "declared":
        path = Path(layout.generation(2)) / "generation.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**record, "app": {**record["app"], "recorder": False}}), encoding="utf-8")
    if wrong != "old":
        Path(layout.generation(2), "recorder.py").touch()
    found = seen(layout, *UP, states={"shop@2.service": "activating"} if wrong == "starting" else {})
    line, now = text.status_lines(found)
    assert line.startswith("requests are not counted: ")
    assert why in line
    assert now.startswith("now: ? of 8 slots busy")
    assert why in text.top_lines([found], [found])[1]


def test_a_record_that_cannot_be_read_hides_nothing_else(layout: Layout) -> None:
    count(layout, 2, [200])
    Path(layout.generation(2), "generation.json").write_text("{")
    found = seen(layout, *UP)
    assert found.current is not None
    assert found.current.counts is not None
    assert text.status_lines(found)[1].startswith("now: 0 slots busy, whether any wait is not known")


def test_rates_are_those_between_two_readings(layout: Layout) -> None:
    count(layout, 2, [200] * 10)
    before = seen(layout, *UP)
    folder = layout.instance_files(2, trial=False)
    hooks = instance._started[folder]
    worker = SimpleNamespace(age=2, log=None)
    hooks.pre_fork(SimpleNamespace(WORKERS={1: SimpleNamespace(age=1)}, log=None), worker)
    for status in [200] * 6 + [503] * 2:
        request = object()
        hooks.pre_request(worker, request)
        hooks.post_request(worker, request, {}, SimpleNamespace(status_code=status))
    now = seen(layout, *UP)
    now = replace(now, instances=tuple(replace(one, at=104.0, memory=MEMORY) for one in now.instances))
    header, row = text.top_lines([before], [now])
    cells = dict(zip(header.replace("p50 ms", "p50").replace("p95 ms", "p95").split(), row.split()))
    assert (cells["req/s"], cells["5xx/s"], cells["4xx/s"], cells["busy"]) == ("2", "0.5", "0", "0/8")
    assert cells["MiB"] == "90/200"
    assert row.endswith("1 of its processes by the OOM killer")
    assert len(text.top_lines([before], [now], workers=True)) == 7


def test_memory_and_ends_in_words(layout: Layout) -> None:
    count(layout, 2)
    current = seen(layout, *UP).current
    assert current is not None
    worker = view.WorkerView(1, 1, 5.0, 3, 0, 0.5, 31.4)
    assert text.memory(replace(current, memory=MEMORY, workers=(worker,))) == "90 MiB of 200, peak 120, 31 a worker"
    assert text.ended(replace(current, memory=MEMORY)) == "1 of its processes by the OOM killer"


def test_the_table_and_json_of_the_command(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count(layout, 2, [200])
    monkeypatch.setattr(tool, "app_view", lambda app, root: seen(layout, *UP))
    monkeypatch.setattr(tool.time, "sleep", lambda seconds: None)
    assert tool.main(["top", "shop", "-n", "2"], root=layout.root) == tool.OK
    assert capsys.readouterr().out.count("generation 2") == 2
    assert tool.main(["top", "-n", "1", "--json"], root=layout.root) == tool.OK
    assert json.loads(capsys.readouterr().out)["shop"]["live"] == 2


def test_cpu_that_the_kernel_does_not_count_for_the_unit_is_that_of_its_processes(layout: Layout) -> None:
    count(layout, 2, [200])
    current = seen(layout, *UP).current
    assert current is not None
    assert current.counts is not None
    assert current.cpu_s is None, "nor does it say what the processes used"
    ticks = os.sysconf("SC_CLK_TCK")
    for pid, used in ((current.counts.master, 2 * ticks), (current.workers[0].pid, 3 * ticks)):
        stat = Path(layout.root, "proc", str(pid), "stat")
        stat.parent.mkdir(parents=True, exist_ok=True)
        stat.write_text(f"{pid} (gunicorn: it) S {'0 ' * 10}{used} {ticks} 0 0\n", encoding="utf-8")
    again = seen(layout, *UP).current
    assert again is not None
    assert again.cpu_s == 2 + 1 + 3 + 1


def test_cpu_of_a_process_is_read() -> None:
    assert (view.cpu_seconds(os.getpid()) or 0) > 0
    assert view.cpu_seconds(1 << 30) is None
