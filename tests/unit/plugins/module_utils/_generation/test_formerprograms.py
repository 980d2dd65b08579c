# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Other programs of a former service, which would be stopped with it, are told from its server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import formerprograms
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.listeners import Listener
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import UnitState

HOLDER = Listener("0.0.0.0:8000", 4711, 42, 5)
GUNICORN = "/srv/venv/bin/python\0/srv/venv/bin/gunicorn\0-w\x001"


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
    monkeypatch.setattr(formerprograms, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(formerprograms, "unit_pids", lambda *_: pids)
    monkeypatch.setattr(formerprograms, "held", lambda asked, _: [HOLDER] if {42, 43}.intersection(asked) else [])
    state = UnitState("loaded", "active", "running", "success", 40, 0, 0, "/system.slice/s.service", "", "")
    root = str(tmp_path)
    assert formerprograms.further(root, "s.service", state, HOLDER) == (
        "s.service runs celery (45), celery (46) beside it, which would be stopped with it: have that run by a service "
        "of its own first",
        "",
    )
    pids = [40, 41, 42, 43, 44, 47]
    assert formerprograms.further(root, "s.service", state, HOLDER)[0] == ""
    pids = [40, 45]
    assert formerprograms.further(root, "s.service", state, HOLDER)[0] == ""


class Unit:
    """The processes of a service: {process: (parent, name, command line)}. Gunicorn's, which `hold` the socket, are the
    master 40, that a start script has become (exec), and its worker 41."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.hold, self.waits, self.stacks = root, {40, 41}, 0, dict[int, int]()
        self.processes = {40: (1, "gunicorn", ""), 41: (40, "gunicorn", "")}
        monkeypatch.setattr(formerprograms, "unit_pids", lambda *_: list(self.processes))
        monkeypatch.setattr(formerprograms, "held", lambda asked, _: [HOLDER] if self.hold.intersection(asked) else [])
        monkeypatch.setattr(formerprograms.time, "sleep", lambda _: self.later())

    def later(self) -> None:
        self.waits += 1

    def problem(self) -> str:
        for pid, (parent, name, command) in self.processes.items():
            folder = self.root / "proc" / str(pid)
            folder.mkdir(parents=True, exist_ok=True)
            stack = self.stacks.get(pid, 7)
            (folder / "stat").write_text(f"{pid} ({name}) S {parent} {' '.join(['1'] * 21)} 44 45 {stack} 47")
            (folder / "comm").write_text(name)
            (folder / "cmdline").write_text(command)
        state = UnitState("loaded", "active", "running", "success", 40, 0, 0, "/system.slice/s.service", "", "")
        return formerprograms.further(str(self.root), "s.service", state, HOLDER)[0]


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


def test_what_has_inherited_the_socket_and_is_another_program_is_told(unit: Unit) -> None:
    """systemd's socket was handed to a start script, which has started a program (42) before it became Gunicorn."""
    unit.processes = {40: (1, "gunicorn", GUNICORN), 41: (40, "gunicorn", GUNICORN), 42: (40, "python3", "python3\0-c")}
    unit.hold, unit.stacks = {40, 41, 42}, {42: 8}
    assert unit.problem().startswith("s.service runs python3 (42) beside it, which would be stopped with it")
    unit.stacks = {}
    assert unit.problem() == "", "what the master has forked is a worker, whatever it is called"
    unit.stacks = {42: 8}
    (unit.root / "proc/42/fdinfo").mkdir()
    (unit.root / "proc/42/fdinfo/9").write_text("pos:\t0\nflags:\t02\ntfd:        5 events:       19 data: 5\n")
    assert unit.problem() == "", "who waits for connections there serves"


def test_a_worker_is_known_by_its_title(unit: Unit) -> None:
    unit.processes = {40: (1, "gunicorn", "gunicorn: master [shop]"), 41: (40, "gunicorn", "gunicorn: worker [shop]")}
    unit.stacks = {40: 8}
    assert unit.problem() == ""


def test_a_main_process_that_has_not_started_the_server_is_another_program(unit: Unit) -> None:
    """A start script has started Gunicorn as a daemon, and has become another program."""
    unit.processes = {40: (1, "celery", "celery"), 41: (1, "gunicorn", GUNICORN), 42: (41, "gunicorn", GUNICORN)}
    unit.hold = {41, 42}
    assert unit.problem().startswith("s.service runs celery (40) beside it")


@pytest.mark.parametrize(
    ("command", "gunicorn"),
    [(GUNICORN, True), ("python\0-m\0flask\0run", False)],
)
def test_a_gunicorn_is_told_from_other_servers(unit: Unit, command: str, gunicorn: bool) -> None:
    unit.processes = {40: (1, "a", command), 41: (40, "a", command), 42: (40, "a", command), 43: (40, "tee", "tee")}
    unit.hold = {40, 41, 42}
    assert unit.problem() == ""
    state = UnitState("loaded", "active", "running", "success", 40, 0, 0, "/system.slice/s.service", "", "")
    assert formerprograms.by_gunicorn(str(unit.root), state, HOLDER.address) is gunicorn


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("runsv", ""),
        (
            "supervisord",
            "supervisord (39) of s.service starts what its configuration names, which could not be read",
        ),
        ("celery", "celery (39) of s.service, which started the server, ends with it"),
    ],
)
def test_what_started_the_server_and_does_more_is_told(
    unit: Unit, monkeypatch: pytest.MonkeyPatch, name: str, note: str
) -> None:
    unit.processes |= {39: (1, name, name), 40: (39, "gunicorn", GUNICORN)}
    assert unit.problem() == ""
    state = UnitState("loaded", "active", "running", "success", 39, 0, 0, "/system.slice/s.service", "", "")
    assert formerprograms.further(str(unit.root), "s.service", state, HOLDER) == ("", note)


def test_what_supervises_one_service_says_which_also_while_that_does_not_run(unit: Unit) -> None:
    unit.processes |= {42: (39, "runsv", "runsv\0queue"), 39: (1, "runsvdir", "runsvdir\0-P\0/etc/service")}
    unit.processes |= {38: (39, "runsv", "runsv\0shop"), 40: (38, "gunicorn", GUNICORN)}
    assert unit.problem().startswith("s.service runs runsv queue (42) beside it")


def test_what_its_supervisor_is_to_start_is_told_with_what_runs(unit: Unit) -> None:
    conf = unit.root / "etc/supervisor/supervisord.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("[supervisord]\n[program:shop]\ncommand=gunicorn -w 1\n[program:nightly]\ncommand=/bin/true\n")
    unit.processes |= {39: (1, "supervisord", "python3\0/usr/bin/supervisord\0-n"), 40: (39, "gunicorn", GUNICORN)}
    nightly = (
        "s.service is to start nightly (/etc/supervisor/supervisord.conf) too, which would never run again, whether "
        "that runs now or not: have it run by a service of its own first, or take it out of there"
    )
    assert unit.problem() == nightly
    unit.processes |= {42: (39, "celery", "celery")}
    assert unit.problem() == (
        "s.service runs celery (42) beside it, which would be stopped with it: have that run by a service of its own "
        f"first; {nightly}"
    )


def test_a_service_of_the_hosts_is_told_from_one_of_the_apps(unit: Unit) -> None:
    unit.processes = {39: (1, "cron", "cron"), 40: (39, "gunicorn", GUNICORN), 41: (40, "gunicorn", GUNICORN)}
    unit.problem()
    state = UnitState("loaded", "active", "running", "success", 39, 0, 0, "/system.slice/cron.service", "", "")
    told = formerprograms.foreign(str(unit.root), "cron.service", state, HOLDER)
    assert told.startswith("cron.service is the host's own, and not the app's: cron (39), its main program, would end")
    assert formerprograms.foreign(str(unit.root), "s.service", replace(state, main_pid=40), HOLDER) == ""
