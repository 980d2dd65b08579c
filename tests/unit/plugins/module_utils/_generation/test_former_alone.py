# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A service that others depend on, or that cannot be disabled without more going, is not taken over."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import former
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.listeners import Listener
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.socketfile import Reach
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import UnitState


class Units:
    """A systemd that knows one service, which runs, with `properties`."""

    def __init__(self, **properties: str) -> None:
        self._properties = properties

    def state(self, unit: str) -> UnitState:
        return UnitState("loaded", "active", "running", "success", 1, 0, 0, "", "", "")

    def states(self, *units: str) -> dict[str, UnitState]:
        return {unit: self.state(unit) for unit in units}

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        return {name: self._properties.get(name, "") for name in names}


@pytest.mark.parametrize("key", ["RequiredBy", "BoundBy", "ConsistsOf", "WantedBy", "TriggeredBy"])
def test_one_that_other_units_lead_to_is_refused_by_name(tmp_path: Path, key: str) -> None:
    units = Units(**{key: "front.timer multi-user.target"})
    app = {"former": "dep.service", "listen": "0.0.0.0:8000"}
    found = former.read(Layout("shop", str(tmp_path)), app, units)
    assert found.problem.startswith("front.timer on this host requires, wants or starts dep.service")


def test_one_whose_end_starts_another_unit_is_refused_by_its_name(tmp_path: Path) -> None:
    app = {"former": "dep.service", "listen": "0.0.0.0:8000"}
    found = former.read(Layout("shop", str(tmp_path)), app, Units(OnSuccess="next.service"))
    assert found.problem.startswith("dep.service starts next.service when it ends (OnSuccess=)")


def test_one_whose_unit_cannot_be_disabled_alone_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "etc/systemd/system/dep.service"
    place.parent.mkdir(parents=True)
    units, layout = Units(FragmentPath="/etc/systemd/system/dep.service"), Layout("shop", str(tmp_path))

    def problem() -> str:
        return former._entangled(layout, "dep.service", ("dep.socket",), units)

    place.write_text("[Install]\nWantedBy=multi-user.target\nAlso=dep.socket\n")
    assert problem() == ""
    place.write_text("[Install]\nAlso=dep.socket dep-worker.service\n")
    assert "names dep-worker.service in Also=" in problem()
    place.unlink()
    place.symlink_to("/srv/dep.service")
    assert "is a link, which `systemctl disable` would remove" in problem()
    place.unlink()
    place.symlink_to(f"{layout.home}/live/dep.service")
    assert "is Headcount's own" in problem()


HOLDER = Listener("0.0.0.0:8000", 4711, 42, 5)
PATH = "/run/old/gunicorn.sock"
DEPLOY = Reach("0770", False, ("www-data",), {"deploy": "deploy"})


@pytest.mark.parametrize(
    ("before", "declared", "problem", "note"),
    [
        (Reach("0777", True), {}, "", ""),
        (
            DEPLOY,
            {},
            f"{PATH} of old.service lets in the group www-data and deploy (mode 0770), and the app's would let in "
            "everybody: declare `listen_group: www-data`, or `listen_mode: '0666'`",
            "",
        ),
        (Reach("0700", False, (), {"deploy": "team"}), {}, "declare `listen_group: team`", ""),
        (Reach("0600"), {}, "lets in root alone (mode 0600), and the app's would let in everybody", ""),
        (DEPLOY, {"listen_mode": "0666"}, "", "(mode 0770), and the app's everybody"),
        (DEPLOY, {"listen_group": "www-data"}, "", ""),
        (DEPLOY, {"listen_group": "staff"}, "", "and the app's the group staff"),
        (Reach("0777", True), {"listen_group": "staff"}, "", "lets in everybody (mode 0777), and the app's the group"),
        (Reach("0777", True), {"listen_mode": "0600"}, "", "and the app's root alone"),
        (None, {}, "", ""),
    ],
)
def test_whom_its_socket_lets_in_is_kept_or_declared(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: Reach | None,
    declared: dict[str, str],
    problem: str,
    note: str,
) -> None:
    app = {"former": "old.service", "listen": f"unix:{PATH}", **declared}
    monkeypatch.setattr(former, "reach", lambda _: before)
    monkeypatch.setattr(former, "_read", lambda *_: former.Former("old.service", former.RENAMED))
    found = former.read(Layout("shop", str(tmp_path)), app, Units())
    assert problem in found.problem if problem else not found.problem
    assert [note in one for one in found.notes] == ([True] if note else [])
    assert all(one in former.told(found, app["listen"])["words"] for one in found.notes)


def test_another_name_of_a_service_is_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(former, "_read", lambda _, unit, *__: asked.append(unit) or former.Former(unit))
    app = {"former": "web.service", "listen": "0.0.0.0:8000"}
    assert former.read(Layout("shop", str(tmp_path)), app, Units(Id="gunicorn.service")).unit == "gunicorn.service"
    assert asked == ["gunicorn.service"]


def test_one_that_runs_further_programs_is_refused_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """supervisord (40) has started a shell (41) with Gunicorn (42, 43), which has started mogrify (44); and others."""
    parents = {40: 1, 41: 40, 42: 41, 43: 42, 44: 43, 45: 40, 46: 45, 47: 41}
    names = {45: "celery", 46: "celery", 47: "tee"}
    for pid, parent in parents.items():
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} (a) b) S {parent} 1 1")
        (folder / "comm").write_text(names.get(pid, "python3"))
    pids = list(parents)
    monkeypatch.setattr(former, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(former, "unit_pids", lambda *_: pids)
    monkeypatch.setattr(former, "held", lambda asked, _: [HOLDER] if {42, 43}.intersection(asked) else [])
    state = UnitState("loaded", "active", "running", "success", 40, 0, 0, "/system.slice/s.service", "", "")
    layout = Layout("shop", str(tmp_path))
    assert former._further(layout, "s.service", state, HOLDER) == (
        "s.service runs celery (45), celery (46) beside it, which would be stopped with it: have that run by a service "
        "of its own first"
    )
    pids = [40, 41, 42, 43, 44, 47]
    assert former._further(layout, "s.service", state, HOLDER) == ""
    pids = [40, 45]
    assert former._further(layout, "s.service", state, HOLDER) == ""


class Unit:
    """The processes of a service: {process: (parent, name, command line)}. Gunicorn's, which `hold` the socket, are the
    master 40, that a start script has become (exec), and its worker 41."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.hold, self.waits = root, {40, 41}, 0
        self.processes = {40: (1, "gunicorn", ""), 41: (40, "gunicorn", "")}
        monkeypatch.setattr(former, "unit_pids", lambda *_: list(self.processes))
        monkeypatch.setattr(former, "held", lambda asked, _: [HOLDER] if self.hold.intersection(asked) else [])
        monkeypatch.setattr(former.time, "sleep", lambda _: self.later())

    def later(self) -> None:
        self.waits += 1

    def problem(self) -> str:
        for pid, (parent, name, command) in self.processes.items():
            folder = self.root / "proc" / str(pid)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "stat").write_text(f"{pid} ({name}) S {parent} 1 1")
            (folder / "comm").write_text(name)
            (folder / "cmdline").write_text(command)
        state = UnitState("loaded", "active", "running", "success", 40, 0, 0, "/system.slice/s.service", "", "")
        return former._further(Layout("shop", str(self.root)), "s.service", state, HOLDER)


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unit:
    return Unit(tmp_path, monkeypatch)


def test_what_a_script_starts_beside_the_server_that_it_becomes_is_another_program(unit: Unit) -> None:
    unit.processes |= {42: (40, "celery", ""), 43: (42, "celery", ""), 44: (41, "mogrify", "")}
    assert unit.problem().startswith(
        "s.service runs celery (42), celery (43) beside it, which would be stopped with it"
    )


def test_a_worker_that_has_a_socket_of_its_own_at_the_address_is_none(unit: Unit) -> None:
    unit.processes |= {42: (40, "gunicorn", "")}
    unit.hold |= {42}
    assert unit.problem() == ""
    assert unit.waits == 0


@pytest.mark.parametrize("ends", [True, False])
def test_one_that_is_just_starting_or_ending_is_none(unit: Unit, monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    unit.processes |= {42: (40, "gunicorn", "")}
    monkeypatch.setattr(unit, "later", lambda: unit.processes.pop(42) if ends else unit.hold.add(42))
    assert unit.problem() == ""


@pytest.mark.parametrize(
    "more",
    [
        {42: (40, "tee", "")},
        {42: (40, "bash", "/bin/bash\0start.sh"), 43: (42, "tee", "")},
        {42: (40, "python3", "python3\0-c\0from multiprocessing.resource_tracker import main;main(5)")},
    ],
)
def test_what_its_lines_go_through_and_what_python_starts_by_itself_is_none(
    unit: Unit, more: dict[int, tuple[int, str, str]]
) -> None:
    unit.processes |= more
    assert unit.problem() == ""


def test_a_shell_that_runs_something_is_named(unit: Unit) -> None:
    unit.processes |= {42: (40, "bash", ""), 43: (42, "tee", ""), 44: (42, "celery", "")}
    assert unit.problem().startswith("s.service runs bash (42), celery (44) beside it")
    unit.processes = {40: (1, "gunicorn", ""), 41: (40, "gunicorn", ""), 42: (40, "sh", "")}
    assert unit.problem().startswith("s.service runs sh (42) beside it")
