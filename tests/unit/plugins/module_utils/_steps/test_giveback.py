# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An address goes back to the service that had it before the app did."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    beside,
    generations,
    ledger,
    takeover,
    truth,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import former as formers
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.meanwhile import Meanwhile
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.takeover import Record
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.listeners import Listener
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import giveback
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.giveback import give_back
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.rollback import rollback
from test_app import RUN, Host

OLD = "old.service"
ADDRESS = "127.0.0.1:8000"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Generation 2 is live and was given the address of old.service, which is stopped and disabled."""
    made = Host(tmp_path, monkeypatch)
    Record(OLD, formers.JOINED, ADDRESS, takeover.RETIRED, (), (OLD,), {}, 7, True).write(made.layout)
    ledger.append(made.layout.ledger, "promoted", to=2)
    monkeypatch.setattr(giveback, "Meanwhile", lambda listen, app: Meanwhile(listen, app, made.answer))
    monkeypatch.setattr(giveback, "BOOT_SECONDS", 0.5)
    monkeypatch.setattr(giveback, "unit_pids", lambda group, root: [40, 41])
    monkeypatch.setattr(giveback, "held", lambda pids, root: [Listener(ADDRESS, 7, pids[0], 3)])
    show = made.systemd._show
    monkeypatch.setattr(made.systemd, "_show", lambda unit: f"{show(unit)}\nControlGroup=/system.slice/{unit}")
    return made


def test_the_former_service_has_the_open_socket_before_the_app_is_taken_down(host: Host) -> None:
    done = give_back(host.app)
    said = host.systemd.said
    assert said.index("start old.service") < said.index("stop shop.socket")
    ended = next(at for at, line in enumerate(said) if line.startswith("stop") and "shop@2.service" in line)
    assert said.index("stop shop.socket") < ended
    assert host.systemd.active == {OLD}
    assert done == {"live": 2, "former": OLD, "told": []}
    assert not os.path.exists(os.path.join(host.app.root, "run/systemd/system/old.service.d"))
    assert truth.live(host.layout, []) is None
    assert ledger.read(host.layout.ledger)[-1]["event"] == "given_back"
    assert generations.numbers(host.layout) == [1, 2]


@pytest.mark.parametrize("inherits", [True, False])
@pytest.mark.parametrize(
    ("elsewhere", "words"), [("", ""), ("127.0.0.1:8001", "on 127.0.0.1:8001 and ")], ids=["nowhere", "elsewhere"]
)
def test_one_that_runs_without_the_address_is_stopped_first(
    host: Host, monkeypatch: pytest.MonkeyPatch, inherits: bool, elsewhere: str, words: str
) -> None:
    Record(OLD, formers.JOINED, ADDRESS, takeover.RETIRED, (), (OLD,), {}, 7, inherits).write(host.layout)
    host.systemd.active.add(OLD)

    def holds(pids: list[int], root: str) -> list[Listener]:
        address = ADDRESS if f"start {OLD}" in host.systemd.said else elsewhere
        return [Listener(address, 7, pids[0], 3)] if address else []

    monkeypatch.setattr(giveback, "held", holds)
    told = give_back(host.app)["told"]
    assert f"{OLD} ran already, {words}without the address: it was stopped, and started anew with it" in told
    said = [line for line in host.systemd.said if line.endswith(OLD)]
    assert said[:2] == [f"stop {OLD}", f"start {OLD}"]
    assert host.systemd.active == {OLD}
    assert not os.path.exists(os.path.join(host.app.root, "run/systemd/system/old.service.d"))


def test_one_that_serves_at_its_address_already_is_not_stopped(host: Host) -> None:
    """Who started it gave its users back with that: its end would lose them."""
    host.systemd.active.add(OLD)
    assert give_back(host.app)["told"] == []
    assert f"stop {OLD}" not in host.systemd.said
    assert host.systemd.active == {OLD}


def test_without_room_for_generators_it_is_refused_before_anything_is_changed(host: Host) -> None:
    host.few_tasks()
    with pytest.raises(StepFailed, match="no room for systemd to read its unit files again"):
        give_back(host.app)
    assert host.systemd.said == []
    assert generations.live(host.layout) == 2


def test_without_that_room_a_service_is_still_started_where_the_app_was(host: Host) -> None:
    Record(OLD, formers.STOPPED, ADDRESS, takeover.RETIRED, (), (), {}, 7, False, {OLD: {}}).write(host.layout)
    host.few_tasks()
    assert give_back(host.app)["former"] == OLD
    assert host.systemd.active == {OLD}
    assert "reload" not in host.systemd.said


@pytest.mark.parametrize(("gunicorn", "serves"), [(True, False), (False, True)])
def test_one_process_is_enough_of_another_server_than_gunicorn(
    host: Host, monkeypatch: pytest.MonkeyPatch, gunicorn: bool, serves: bool
) -> None:
    monkeypatch.setattr(giveback, "unit_pids", lambda group, root: [40])
    monkeypatch.setattr(giveback, "by_gunicorn", lambda *_: gunicorn)
    record = Record.read(host.layout)
    assert record is not None
    assert giveback._serves(host.app, record) is serves


LINK = f"/etc/systemd/system/graphical.target.wants/{OLD}"


def _linked(host: Host, links: dict[str, str]) -> Path:
    Record(OLD, formers.JOINED, ADDRESS, takeover.RETIRED, (), (OLD,), {}, 7, True, {OLD: links}).write(host.layout)
    return Path(f"{host.app.root}{LINK}")


def test_a_boot_starts_it_by_the_very_links_that_it_had(host: Host) -> None:
    link = _linked(host, {LINK: f"../{OLD}"})
    assert give_back(host.app)["told"] == []
    assert os.readlink(link) == f"../{OLD}"


def test_a_link_that_cannot_be_put_back_is_told(host: Host) -> None:
    link = _linked(host, {LINK: f"../{OLD}"})
    link.mkdir(parents=True)
    assert give_back(host.app)["told"] == [f"{LINK} is not the link to ../{OLD} that it was: put it back by hand"]


def test_one_that_stays_silent_is_started_by_no_boot(host: Host) -> None:
    link = _linked(host, {LINK: f"../{OLD}"})
    host.status = dict.fromkeys([("public", "/healthz"), ("public", "/")], 0)
    with pytest.raises(StepFailed, match="does not answer"):
        give_back(host.app)
    assert not os.path.lexists(link)


def test_the_app_serves_until_the_workers_have_imported_what_they_are_to_serve(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [False, False, True]
    stopped = []
    monkeypatch.setattr(
        giveback,
        "imported",
        lambda *_: stopped.append([line for line in host.systemd.said if "stop" in line]) or looks.pop(0),
    )
    give_back(host.app)
    assert stopped == [[], [], []]
    assert host.systemd.active == {OLD}


def test_one_that_imports_for_long_is_not_waited_for_for_ever(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giveback, "imported", lambda *_: False)
    monkeypatch.setattr(giveback, "BOOT_SECONDS", 0.0)
    give_back(host.app)
    assert host.systemd.active == {OLD}


def test_one_that_does_not_serve_changes_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giveback, "held", lambda pids, root: [])
    monkeypatch.setattr(giveback, "BOOT_SECONDS", 0.0)
    with pytest.raises(StepFailed, match=r"old\.service was not given its address back: old\.service does not serve"):
        give_back(host.app)
    assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
    assert generations.live(host.layout) == 2
    assert not os.path.exists(os.path.join(host.app.root, "run/systemd/system/old.service.d"))
    assert Record.read(host.layout) == Record(OLD, formers.JOINED, ADDRESS, takeover.RETIRED, (), (OLD,), {}, 7, True)


def test_one_that_nobody_comes_to_opens_its_own_socket(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it runs before its start has removed the file of the socket that it was given, for good."""
    comes = [False]
    monkeypatch.setattr(giveback, "_reached", lambda app, record: comes.pop() if comes else True)
    give_back(host.app)
    said = [line for line in host.systemd.said if line.endswith(OLD) or "shop@2.service" in line]
    assert [line.split()[0] for line in said] == ["start", "stop", "stop", "start"]
    assert "shop@2.service" in said[2]
    assert host.systemd.active == {OLD}
    assert Record.read(host.layout).phase == takeover.GIVEN_BACK


def test_one_that_is_silent_is_started_once_more(host: Host) -> None:
    host.status = dict.fromkeys([("public", "/healthz"), ("public", "/")], 0)
    host.systemd.on_stop = lambda: f"stop {OLD}" in host.systemd.said and host.status.clear()
    give_back(host.app)
    assert [line for line in host.systemd.said if line.endswith(OLD)] == [f"start {OLD}", f"stop {OLD}", f"start {OLD}"]
    assert host.systemd.active == {OLD}


@pytest.mark.parametrize("inherits", [True, False])
def test_one_that_stays_silent_fails_and_the_app_is_live_again(host: Host, inherits: bool) -> None:
    record = Record(OLD, formers.JOINED, ADDRESS, takeover.RETIRED, (), (OLD,), {}, 7, inherits)
    record.write(host.layout)
    host.status = dict.fromkeys([("public", "/healthz"), ("public", "/")], 0)
    with pytest.raises(StepFailed, match=r"old\.service runs, but does not answer at 127\.0\.0\.1:8000"):
        give_back(host.app)
    assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
    assert generations.live(host.layout) == 2
    assert truth.live(host.layout, [2]).number == 2
    assert Record.read(host.layout) == record


def test_the_file_of_the_socket_is_there_again_where_its_start_removes_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    path.write_text("ours", encoding="utf-8")
    number = path.stat().st_ino
    record = Record(OLD, formers.RENAMED, f"unix:{path}", takeover.RETIRED, (), (OLD,), {}, 7, True)
    monkeypatch.setattr(giveback, "held", lambda pids, root: [Listener(record.address, 7, pids[0], 3)])
    monkeypatch.setattr(beside, "under", lambda root, path: path)
    monkeypatch.setattr(host.app.systemd, "start", lambda *units: path.unlink())
    giveback._start(host.app, record, list)
    assert path.stat().st_ino == number
    assert [one.name for one in tmp_path.glob("a.sock*")] == ["a.sock"]


def test_who_comes_to_its_file_must_come_to_a_socket_that_it_holds(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    app = AppOnHost("shop", RUN, "/", host.app.systemd)
    record = Record(OLD, formers.RENAMED, f"unix:{path}", takeover.RETIRED)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        one.listen()
        inode = os.fstat(one.fileno()).st_ino
        monkeypatch.setattr(giveback, "held", lambda pids, root: [Listener(record.address, inode)])
        assert giveback._reached(app, record)
        path.unlink()
        assert not giveback._reached(app, record)


@pytest.mark.parametrize("serves", [True, False])
def test_its_socket_beside_ours_is_shut_where_it_does_not_serve(
    host: Host, monkeypatch: pytest.MonkeyPatch, serves: bool
) -> None:
    record = Record(OLD, formers.JOINED, ADDRESS, takeover.RETIRED, ("old.socket",), (OLD,), {}, 7)
    record.write(host.layout)
    monkeypatch.setattr(giveback, "_serves", lambda app, record: serves)
    monkeypatch.setattr(giveback, "BOOT_SECONDS", 0.0)
    said = host.systemd.said
    for name in ("admit", "give_way"):
        monkeypatch.setattr(beside.Beside, name, lambda self, name=name: said.append(name))
    monkeypatch.setattr(beside.Beside, "open", lambda self: self.systemd.start(self.unit))
    monkeypatch.setattr(beside.Beside, "close", lambda self, stays=beside.SECOND: said.append(f"{stays} stays"))
    if serves:
        give_back(host.app)
    else:
        with pytest.raises(StepFailed, match="does not serve"):
            give_back(host.app)
    active = {OLD, "old.socket"} if serves else {"shop.socket", "shop@2.service", "shop@2.socket"}
    assert host.systemd.active == active
    order = ["admit", "stop shop.socket", "1 stays"] if serves else ["give_way", "stop old.socket", "0 stays"]
    assert [line for line in said if line in order] == order


def test_its_own_socket_unit_stays_open_all_the_while(host: Host) -> None:
    public = Path(host.layout.unit("shop.socket"))
    saved = Path(f"{public}.headcount-former")
    saved.write_text(f"[Socket]\nListenStream={ADDRESS}\n", encoding="utf-8")
    moved = {str(public): str(saved)}
    record = Record(OLD, formers.SHARED, ADDRESS, takeover.RETIRED, ("shop.socket",), (OLD,), moved, 7)
    record.write(host.layout)
    give_back(host.app)
    assert host.systemd.active == {OLD, "shop.socket"}
    assert not any("shop.socket" in line for line in host.systemd.said)
    assert (public.is_symlink(), saved.exists()) == (False, False)


def test_one_that_shares_its_socket_and_does_not_serve_changes_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giveback, "held", lambda pids, root: [])
    monkeypatch.setattr(giveback, "BOOT_SECONDS", 0.0)
    public = Path(host.layout.unit("shop.socket"))
    saved = Path(f"{public}.headcount-former")
    saved.write_text("[Socket]\n", encoding="utf-8")
    record = Record(
        OLD, formers.SHARED, ADDRESS, takeover.RETIRED, ("shop.socket",), (OLD,), {str(public): str(saved)}, 7
    )
    record.write(host.layout)
    with pytest.raises(StepFailed, match="does not serve"):
        give_back(host.app)
    assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
    assert (public.is_symlink(), saved.exists()) == (True, True)
    assert os.path.lexists(host.layout.boot_link)


@pytest.mark.parametrize(("way", "address"), [(formers.STOPPED, "127.0.0.2:8000"), (formers.JOINED, ADDRESS)])
def test_another_address_and_one_that_inherits_nothing_are_given_back_with_a_gap(
    host: Host, monkeypatch: pytest.MonkeyPatch, way: str, address: str
) -> None:
    Record(OLD, way, address, takeover.RETIRED, (), (OLD,)).write(host.layout)
    monkeypatch.setattr(giveback, "held", lambda pids, root: [Listener(address, 7, pids[0], 3)])
    give_back(host.app)
    said = host.systemd.said
    assert next(at for at, line in enumerate(said) if "shop@2.service" in line) < said.index("start old.service")
    assert host.systemd.active == {OLD}


@pytest.mark.parametrize(
    ("phase", "why"),
    [(None, "shop was taken over from no other service on this host"), ("given_back", "old.service has its address")],
)
def test_what_cannot_be_given_back_is_said(host: Host, phase: str | None, why: str) -> None:
    if phase is None:
        os.unlink(host.layout.former)
    else:
        Record(OLD, formers.JOINED, ADDRESS, phase).write(host.layout)
    with pytest.raises(StepFailed, match=why):
        give_back(host.app)
    assert generations.live(host.layout) == 2


def test_what_was_given_back_is_not_healed_into_being_live(host: Host) -> None:
    give_back(host.app)
    assert host.app.instances.running() == {}
    assert truth.live(host.layout, [1, 2]) is None
    ledger.append(host.layout.ledger, "promoted", to=2)
    assert truth.live(host.layout, [2]) == truth.Live(2, "by the ledger and what runs")


SERVES = {"shop.socket", "shop@2.service", "shop@2.socket"}


def _refuse(host: Host, monkeypatch: pytest.MonkeyPatch, verb: str, times: int) -> None:
    """systemd refuses `verb` from the moment on at which the app has been stopped, so many times."""
    left = [times]
    runner = host.app.systemd.runner

    def refusing(command: Sequence[str], seconds: float) -> Completed:
        down = any("shop@2.service" in line for line in host.systemd.said if line.startswith("stop"))
        if verb in command and left[0] and (down or (verb == "stop" and "shop@2.service" in command)):
            left[0] -= 1
            if verb == "stop":
                host.systemd(command, seconds)
            return Completed(1, "", "refused")
        return runner(command, seconds)

    monkeypatch.setattr(host.app.systemd, "runner", refusing)


@pytest.mark.parametrize("inherits", [True, False])
@pytest.mark.parametrize(("verb", "times"), [("daemon-reload", 1), ("daemon-reload", 99), ("stop", 1)])
def test_the_app_serves_again_where_taking_it_down_fails(
    host: Host, monkeypatch: pytest.MonkeyPatch, verb: str, times: int, inherits: bool
) -> None:
    record = Record(OLD, formers.JOINED, ADDRESS, takeover.RETIRED, (), (OLD,), {}, 7, inherits)
    record.write(host.layout)
    _refuse(host, monkeypatch, verb, times)
    with pytest.raises(StepFailed, match=r"old\.service was not given its address back: .*refused") as failed:
        give_back(host.app)
    assert host.systemd.active == SERVES
    assert generations.live(host.layout) == 2
    assert os.path.lexists(host.layout.boot_link)
    assert os.path.lexists(host.layout.unit("shop.socket"))
    assert truth.live(host.layout, [2]) == truth.Live(2)
    assert not ledger.given_back(ledger.read(host.layout.ledger))
    assert Record.read(host.layout) == record
    assert "headcount-rollback" not in failed.value.cause


def test_a_way_back_that_fails_says_what_to_run_and_that_works(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    Record(OLD, formers.JOINED, ADDRESS, takeover.RETIRED, (), (OLD,), {}, 7).write(host.layout)
    host.systemd.broken = {OLD, "shop@2.service"}
    with pytest.raises(StepFailed, match=r"; generation 2 does not serve: run `headcount-rollback shop 2`"):
        give_back(host.app)
    assert not host.systemd.active & {OLD, "shop@2.service"}
    with pytest.raises(StepFailed, match="generation 2 does not run"):
        rollback(host.app, 2)
    host.systemd.broken = set()
    assert rollback(host.app, 2)["to"] == 2
    assert host.systemd.active == SERVES


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("inherits", [True, False])
def test_a_host_on_which_nobody_serves_is_found_out_about(host: Host, linked: bool, inherits: bool) -> None:
    """A process that was killed amid it, with no generation before the one that was live."""
    shutil.rmtree(host.layout.generation(1))
    Record(OLD, formers.JOINED, ADDRESS, takeover.RETIRED, (), (OLD,), {}, 7, inherits).write(host.layout)
    host.systemd.active.clear()
    if not linked:
        os.unlink(host.layout.live)
    assert rollback(host.app)["to"] == 2
    assert host.systemd.active == SERVES
    with pytest.raises(StepFailed, match="no good generation before 2"):
        rollback(host.app)
    host.systemd.active.clear()
    if not linked:
        os.unlink(host.layout.live)
    assert give_back(host.app)["live"] == 2
    assert host.systemd.active == {OLD}


def test_one_whose_public_socket_is_closed_is_no_generation_that_is_live_already(host: Host) -> None:
    """It runs, but nobody reaches it: what the failed way back told to run has to do something."""
    host.systemd.active.discard("shop.socket")
    assert rollback(host.app, 2)["to"] == 2
    assert host.systemd.active == SERVES
