# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An address goes from a service of somebody's own to the first generation, and back where that does not hold."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import beside as _beside
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    dropins,
    generations,
    phases,
    store,
    takeover,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import former as _former
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import instances as _instances
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import switch as _switch
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.former import Former
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.reloads import NoRoom
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.switch import switch, take_down, told
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.takeover import Record
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.listeners import Listener
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd, SystemdError
from test_instances import APP, Host

OLD = "old.service"
ADDRESS = "127.0.0.1:8000"
HOLDER = Listener(ADDRESS, 4711, 40, 5)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Nothing of the app is live, and old.service serves."""
    made = Host(tmp_path)
    store.deactivate(made.layout)
    store.unlink_public(made.layout)
    made.systemd.active = {OLD}
    os.makedirs(made.layout.state)
    monkeypatch.setattr(_instances, "get", made.get)
    monkeypatch.setattr(_instances, "request", made.request)
    monkeypatch.setattr(_switch, "address_taken", lambda listen: None)
    monkeypatch.setattr(takeover, "waiting", lambda inode, root: 0)
    for name in ("let_beside", "keep_alone", "lead_nowhere"):
        monkeypatch.setattr(_beside, name, lambda one, name=name: made.systemd.said.append(name))
    monkeypatch.setattr(_beside, "lead", lambda one, place: made.systemd.said.append(f"lead {place}"))
    monkeypatch.setattr(_beside, "hold", lambda listener: _Held())
    monkeypatch.setattr(_beside, "shut_beside", lambda one: contextlib.nullcontext())
    monkeypatch.setattr(_beside, "held", lambda pids, root: [HOLDER, Listener(ADDRESS, 4712, 1, 9)])
    return made


class _Held:
    def close(self) -> None:
        pass


USERS = 16
"""Were they led to one of two sockets by chance, all would come to the same one once in 32768 times."""


class _Port:
    """Two sockets on one port of this machine. `second` comes when it is started; users come at moments of the test."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first, self.second, self.users = socket.socket(), socket.socket(), list[socket.socket]()
        self.first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.first.bind(("127.0.0.1", 0))
        self.first.listen(128)
        self.name = self.first.getsockname()
        self.address = f"127.0.0.1:{self.name[1]}"
        self.beside = _beside.Beside(Systemd(self._systemctl), "shop.socket", self._of(self.first), str(tmp_path))
        monkeypatch.setattr(_beside, "hold", lambda listener: socket.socket(fileno=os.dup(listener.fd)))
        monkeypatch.setattr(_beside, "held", lambda pids, root: [self._of(self.first), self._of(self.second)])

    def _of(self, one: socket.socket) -> Listener:
        return Listener(self.address, os.fstat(one.fileno()).st_ino, os.getpid(), one.fileno())

    def _systemctl(self, command: Any, seconds: float) -> Completed:
        if "start" in command:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                self.second.setsockopt(socket.SOL_SOCKET, option, 1)
            self.second.bind(self.name)
            self.second.listen(128)
            self.come()
        return Completed(0, "", "")

    def come(self) -> None:
        """Users connect."""
        self.users += [socket.create_connection(self.name, timeout=5) for _ in range(USERS)]

    def served(self, one: socket.socket) -> int:
        """How many of the users get an answer from the server of that socket."""
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                with one.accept()[0] as user:
                    user.sendall(b"!")
        found = 0
        for user in self.users:
            user.settimeout(0.2)
            with contextlib.suppress(OSError), user:
                found += user.recv(1) == b"!"
        self.users.clear()
        return found


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Port]:
    made = _Port(tmp_path, monkeypatch)
    yield made
    for one in (made.first, made.second, *made.users):
        one.close()


def test_who_comes_in_the_moment_in_which_the_second_socket_opens_comes_to_the_first(port: _Port) -> None:
    port.beside.open()
    assert port.served(port.first) == USERS
    port.come()
    assert port.served(port.first) == USERS
    port.beside.admit()
    port.come()
    assert port.served(port.second) == USERS


@pytest.mark.parametrize(("stays", "led"), [(_beside.SECOND, "admit"), (_beside.FIRST, "give_way")])
def test_nobody_is_led_to_the_socket_whose_server_has_ended_and_that_is_held_still(
    port: _Port, monkeypatch: pytest.MonkeyPatch, stays: int, led: str
) -> None:
    """On a busy host there may be seconds between any two calls."""
    port.beside.open()
    assert port.served(port.first) == USERS
    getattr(port.beside, led)()
    sockets = (port.first, port.second)
    sockets[1 - stays].close()
    for name in ("lead_nowhere", "keep_alone"):
        call = getattr(_beside, name)
        monkeypatch.setattr(_beside, name, lambda one, call=call: (port.come(), call(one), port.come()))
    port.come()
    port.beside.close(stays)
    assert port.served(sockets[stays]) == 5 * USERS
    assert sockets[stays].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
    port.come()
    assert port.served(sockets[stays]) == USERS


class _File:
    """Two sockets at one path. The second is bound where the unit says when it is started; systemd has it open after a
    reload where the unit names a path that leads to the same file by then. A user comes at each command."""

    PATH = "/run/shop.sock"

    def __init__(self, root: Path) -> None:
        self.root, self.open, self.knows, self.bound = root, False, self.PATH, ""
        (root / "run").mkdir()
        self.first, self.second = (socket.socket(socket.AF_UNIX) for _ in range(2))
        self.first.bind(self.at(self.PATH))
        self.first.listen(128)
        self.beside = _beside.Beside(Systemd(self._systemctl), "shop.socket", Listener(f"unix:{self.at(self.PATH)}", 1))
        self.beside.root = str(root)
        self.refused, self.room = 0, True

    def at(self, path: str) -> str:
        return str(self.root) + path

    def _systemctl(self, command: Any, seconds: float) -> Completed:
        if "daemon-reload" in command and not self.room:
            raise NoRoom("no room")
        if "daemon-reload" in command:
            drop_in = self.root / "run/systemd/system/shop.socket.d" / dropins.DROP_IN
            text = drop_in.read_text(encoding="utf-8") if drop_in.exists() else f"ListenStream={self.at(self.PATH)}\n"
            self.knows = text.rstrip().rpartition("=")[2]
            if self.open:
                self.open = self.knows == self.bound or os.path.samefile(self.knows, self.bound)
                self.bound = self.knows
        if "start" in command:
            if os.path.lexists(self.knows):
                os.unlink(self.knows)
            self.come()
            self.second.bind(self.knows)
            self.come()
            self.second.listen(128)
            self.open, self.bound = True, self.knows
        self.come()
        return Completed(0, "", "")

    def come(self) -> None:
        with socket.socket(socket.AF_UNIX) as user:
            try:
                user.connect(self.at(self.PATH))
            except OSError:
                self.refused += 1

    def reached(self) -> list[bool]:
        """Whether somebody waits at the first socket, and at the second; nobody does afterwards."""
        found = []
        for one in (self.first, self.second):
            one.setblocking(False)
            count = 0
            with contextlib.suppress(OSError):
                while True:
                    one.accept()[0].close()
                    count += 1
            found.append(count > 0)
        return found


@pytest.fixture
def file(tmp_path: Path) -> Iterator[_File]:
    made = _File(tmp_path)
    yield made
    made.first.close()
    made.second.close()


def test_at_no_moment_is_anybody_refused_at_a_unix_socket_that_is_taken_over(file: _File) -> None:
    file.beside.open()
    assert file.reached() == [True, False]
    file.come()
    assert file.reached() == [True, False]
    file.beside.admit()
    file.come()
    assert file.reached() == [False, True]
    file.beside.close()
    assert (file.refused, file.open, file.knows) == (0, True, file.at(file.PATH))
    assert sorted(os.listdir(file.root / "run")) == ["shop.sock", "systemd"]
    assert file.reached() == [False, True]


def test_a_systemd_that_cannot_be_reloaded_finds_the_second_name_when_it_is(file: _File) -> None:
    file.beside.open()
    file.beside.admit()
    file.room = False
    file.beside.close()
    file.room = True
    assert file.beside.systemd.reload() is None
    assert (file.refused, file.open, file.knows) == (0, True, file.at(file.PATH))
    file.beside.close()
    assert sorted(os.listdir(file.root / "run")) == ["shop.sock", "systemd"]


def test_the_former_socket_has_its_name_where_the_second_one_does_not_open(file: _File) -> None:
    real = file.beside.systemd.runner
    file.beside.systemd = Systemd(
        lambda command, seconds: Completed(1, "", "refused") if "start" in command else real(command, seconds)
    )
    with pytest.raises(SystemdError):
        file.beside.open()
    file.come()
    assert (file.refused, file.reached(), file.knows) == (0, [True, False], file.at(file.PATH))
    assert sorted(os.listdir(file.root / "run")) == ["shop.sock", "systemd"]


def _phase(host: Host) -> str | None:
    record = Record.read(host.layout)
    return record.phase if record else None


def test_it_serves_until_the_new_one_is_verified_and_users_come_to_that(host: Host) -> None:
    former = Former(OLD, _former.JOINED, (), HOLDER)
    seen = switch(host.instances, None, 2, APP, 1.0, former=former)
    said = host.systemd.said
    order = ["let_beside", "lead 0", "start shop.socket", "start shop@2.service", "lead 1", "stop old.service"]
    assert [line for line in said if line in order] == order
    assert generations.live(host.layout) == 2
    assert os.path.lexists(host.layout.boot_link)
    assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
    assert _phase(host) == takeover.RETIRED
    assert told(None, seen) == [
        "took 127.0.0.1:8000 over from old.service; it is disabled, not deleted: "
        "`headcount-rollback shop --to-former` gives it back"
    ]
    assert not os.path.exists(host.root / "run/systemd/system/shop.socket.d")


def test_one_that_does_not_start_leaves_the_former_one_as_it_was(host: Host) -> None:
    host.sick = {"2.sock"}
    with pytest.raises(StepFailed, match="never became ready"):
        switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.JOINED, (), HOLDER))
    assert host.systemd.active == {OLD}
    assert "stop old.service" not in host.systemd.said
    assert host.systemd.said.count("lead 0") == 2
    assert "lead 1" not in host.systemd.said
    assert generations.live(host.layout) is None
    assert not os.path.lexists(host.layout.boot_link)
    assert _phase(host) is None


def test_a_boot_starts_the_former_one_until_the_new_one_is_verified(host: Host) -> None:
    links: list[bool] = []
    host.answer("2.sock", "/", lambda: links.append(os.path.lexists(host.layout.boot_link)) or 200)
    switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.JOINED, (), HOLDER))
    assert links[0] is False
    assert links[-1] is True


def test_one_that_does_not_leave_is_told_and_the_new_one_stays(host: Host) -> None:
    stop = host.systemd.__call__
    host.instances.systemd = Systemd(
        lambda command, seconds: (
            Completed(1, "", "Job for old.service timed out.")
            if "stop" in command and OLD in command
            else stop(command, seconds)
        )
    )
    seen = switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.JOINED, (), HOLDER))
    assert generations.live(host.layout) == 2
    assert "old.service has not left yet, and the next run sees to it" in told(None, seen)[1]
    assert _phase(host) == takeover.RETIRING
    host.instances.systemd = Systemd(host.systemd)
    did = takeover.resume(host.instances, lambda: take_down(host.instances))
    assert did == ["stopped old.service, whose address the app has by now"]
    assert OLD not in host.systemd.active


def test_where_there_is_no_other_way_it_is_stopped_before_and_the_gap_is_told(host: Host) -> None:
    former = Former(OLD, _former.STOPPED, (), HOLDER, "it listens on 127.0.0.1:8000")
    seen = switch(host.instances, None, 2, APP, 1.0, former=former)
    said = host.systemd.said
    assert said.index("stop old.service") < said.index("start shop.socket")
    assert "ms in which nobody answered" in told(None, seen)[0]


def test_one_that_was_stopped_is_started_again_where_the_new_one_does_not_start(host: Host) -> None:
    host.sick = {"2.sock"}
    with pytest.raises(StepFailed):
        switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.STOPPED, (), HOLDER))
    assert host.systemd.active == {OLD}


def test_a_socket_unit_of_the_apps_name_changes_hands_and_goes_back(host: Host) -> None:
    path = Path(host.layout.unit("shop.socket"))
    path.write_text(f"[Socket]\nListenStream={ADDRESS}\n", encoding="utf-8")
    host.systemd.active = {OLD, "shop.socket"}
    host.sick = {"2.sock"}
    former = Former(OLD, _former.SHARED, ("shop.socket",), HOLDER)
    with pytest.raises(StepFailed):
        switch(host.instances, None, 2, APP, 1.0, former=former)
    assert not path.is_symlink()
    assert path.read_text(encoding="utf-8") == f"[Socket]\nListenStream={ADDRESS}\n"
    assert os.listdir(path.parent).count("shop.socket.headcount-former") == 0
    assert OLD in host.systemd.active
    assert "stop old.service" not in host.systemd.said

    host.sick = set()
    switch(host.instances, None, 2, APP, 1.0, former=former)
    assert path.is_symlink()
    assert (path.parent / "shop.socket.headcount-former").exists()
    assert OLD not in host.systemd.active
    assert "stop shop.socket old.service" not in host.systemd.said


def _shared(host: Host) -> tuple[Path, str, Former]:
    """The former service's socket unit has the app's own name."""
    path, text = Path(host.layout.unit("shop.socket")), f"[Socket]\nListenStream={ADDRESS}\n"
    path.write_text(text, encoding="utf-8")
    host.systemd.active = {OLD, "shop.socket"}
    return path, text, Former(OLD, _former.SHARED, ("shop.socket",), HOLDER)


def test_a_boot_finds_the_former_socket_unit_until_the_new_one_is_verified(host: Host) -> None:
    path, text, former = _shared(host)
    there: list[bool] = []
    host.answer("2.sock", "/", lambda: there.append(path.is_symlink()) or 200)
    switch(host.instances, None, 2, APP, 1.0, former=former)
    assert there[0] is False
    assert there == sorted(there), "it changes hands once"
    assert path.is_symlink()
    assert (path.parent / "shop.socket.headcount-former").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("phase", [takeover.JOINING, takeover.RETIRING])
@pytest.mark.parametrize("kept", [False, True])
def test_after_a_boot_in_a_takeover_a_shared_socket_is_the_former_ones(host: Host, phase: str, kept: bool) -> None:
    """The host lost its power: the former service was started, and nothing of the app."""
    path, text, _ = _shared(host)
    saved = Path(f"{path}.headcount-former")
    if kept:
        os.link(path, saved)
    store.activate(host.layout, 2)
    Record(OLD, _former.SHARED, ADDRESS, phase, ("shop.socket",), (OLD, "shop.socket"), {str(path): str(saved)}).write(
        host.layout
    )
    did = takeover.resume(host.instances, lambda: take_down(host.instances))
    assert did == ["took down a first deployment that had not taken 127.0.0.1:8000 over from old.service yet"]
    assert path.read_text(encoding="utf-8") == text
    assert not path.is_symlink()
    assert not saved.exists()
    assert host.systemd.active == {OLD, "shop.socket"}
    assert generations.live(host.layout) is None
    assert _phase(host) is None


def test_a_takeover_that_has_not_ended_is_told_with_its_phase_and_the_next_step(host: Host) -> None:
    assert phases.unfinished(host.layout) == []
    _interrupted(host, takeover.JOINING)
    assert phases.unfinished(host.layout) == [
        "the takeover of 127.0.0.1:8000 from old.service has not ended (phase joining): until the new generation is "
        "verified old.service serves, and a boot starts it; the next run, a boot, or `headcount-rollback shop "
        "--to-former` goes back to it"
    ]
    _interrupted(host, takeover.RETIRING)
    assert "(phase retiring): the new generation is verified, and old.service is to leave" in str(
        phases.unfinished(host.layout)
    )
    _interrupted(host, takeover.RETIRED)
    assert phases.unfinished(host.layout) == []


def test_what_does_not_listen_there_is_left_as_it_is(host: Host) -> None:
    switch(host.instances, None, 2, APP, 0.0, former=Former(OLD, _former.BESIDE))
    assert OLD in host.systemd.active
    assert _phase(host) is None


def _interrupted(host: Host, phase: str) -> None:
    store.activate(host.layout, 2)
    store.link_public(host.layout, boot=False)
    host.systemd.active |= {"shop.socket", "shop@2.service", "shop@2.socket"}
    Record(OLD, _former.STOPPED, ADDRESS, phase, (), (OLD,)).write(host.layout)


def test_a_takeover_that_was_cut_short_before_it_was_verified_goes_back(host: Host) -> None:
    _interrupted(host, takeover.JOINING)
    host.systemd.active -= {OLD}
    did = takeover.resume(host.instances, lambda: take_down(host.instances))
    assert host.systemd.active == {OLD}
    assert generations.live(host.layout) is None
    assert did == ["took down a first deployment that had not taken 127.0.0.1:8000 over from old.service yet"]
    assert takeover.resume(host.instances, lambda: take_down(host.instances)) == []


def test_one_that_was_cut_short_after_it_was_verified_goes_on(host: Host) -> None:
    _interrupted(host, takeover.RETIRING)
    did = takeover.resume(host.instances, lambda: take_down(host.instances))
    assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
    assert did == ["stopped old.service, whose address the app has by now"]
    assert _phase(host) == takeover.RETIRED


def test_a_record_that_cannot_be_read_is_none(host: Host) -> None:
    Path(host.layout.former).write_text(json.dumps({"unit": OLD}), encoding="utf-8")
    assert Record.read(host.layout) is None


def _retiring(host: Host, tmp_path: Path, way: str, sockets: tuple[str, ...] = ()) -> Path:
    """The app's socket is in the place of that of old.service, which is to leave."""
    path = tmp_path / "a.sock"
    path.write_text("ours", encoding="utf-8")
    store.activate(host.layout, 2)
    host.systemd.active |= {"shop.socket", "shop@2.service"}
    Record(OLD, way, f"unix:{path}", takeover.RETIRING, sockets, (OLD,)).write(host.layout)
    return path


def _drop_in(host: Host) -> list[str]:
    folder = host.root / "run/systemd/system/old.service.d"
    return [line for path in folder.glob("*.conf") for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("way", "sockets", "stops"),
    [(_former.RENAMED, (), True), (_former.RENAMED, ("old.socket",), False), (_former.SHARED, ("shop.socket",), False)],
)
def test_nothing_comes_of_the_end_of_one_on_a_unix_socket(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, sockets: tuple[str, ...], stops: bool
) -> None:
    _retiring(host, tmp_path, way, sockets)
    seen: list[list[str]] = []
    host.systemd.on_stop = lambda: seen.append(_drop_in(host))
    monkeypatch.setattr(_beside, "under", lambda root, path: path if path.startswith(str(tmp_path)) else root + path)
    takeover.resume(host.instances, lambda: take_down(host.instances))
    assert {"ExecStopPost=", "RestartForceExitStatus=", "FailureAction=none"} <= set(seen[0])
    assert any(line.startswith("SuccessExitStatus=SIGKILL 1 2 ") for line in seen[0])
    assert ("ExecStop=" in seen[0]) is stops
    assert _drop_in(host) == []


def test_one_that_is_stopped_before_ends_in_its_own_time_too(host: Host) -> None:
    """Nothing comes of that end, whether it is before the app starts or after."""
    seen: list[list[str]] = []
    host.systemd.on_stop = lambda: seen.append(_drop_in(host))
    host.sick = {"2.sock"}
    with pytest.raises(StepFailed):
        switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.STOPPED, (), HOLDER))
    assert {"Restart=no", "FailureAction=none", f"TimeoutStopSec={takeover.DRAIN_SECONDS}"} <= set(seen[0])
    assert _drop_in(host) == []
    assert host.systemd.active == {OLD}


def _linked_by_hand(host: Host) -> Path:
    """A link that no `systemctl enable` makes: old.service has no [Install]."""
    link = host.root / "etc/systemd/system/graphical.target.wants" / OLD
    link.parent.mkdir()
    link.symlink_to(f"../{OLD}")
    return link


def test_what_has_a_boot_start_it_is_taken_away_link_by_link_and_noted(host: Host) -> None:
    link = _linked_by_hand(host)
    there: list[bool] = []
    host.answer("2.sock", "/", lambda: there.append(link.is_symlink()) or 200)
    switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.JOINED, (), HOLDER))
    assert there[0] is True
    assert not link.parent.exists()
    record = Record.read(host.layout)
    assert record is not None
    assert (record.enabled, record.links) == (
        (OLD,),
        {OLD: {f"/etc/systemd/system/graphical.target.wants/{OLD}": f"../{OLD}"}},
    )
    assert takeover.boot_again(host.layout, host.instances.systemd, record) == []
    assert os.readlink(link) == f"../{OLD}"


def test_one_that_a_boot_starts_all_the_same_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover.formerlinks, "started_by", lambda systemd, units: ["grp.target"])
    seen = switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.JOINED, (), HOLDER))
    assert "a boot still starts old.service, for grp.target: disable it by hand" in told(None, seen)


@pytest.mark.parametrize("gunicorn", [True, False])
def test_another_server_than_gunicorn_is_waited_for_until_it_has_answered(
    host: Host, monkeypatch: pytest.MonkeyPatch, gunicorn: bool
) -> None:
    left = [2, 1, 0]
    monkeypatch.setattr(takeover, "unit_pids", lambda *_: [40])
    monkeypatch.setattr(takeover.formerprograms, "by_gunicorn", lambda *_: gunicorn)
    monkeypatch.setattr(takeover, "connected", lambda *_: left.pop(0))
    host.systemd.on_stop = lambda: host.systemd.said.append(f"left {left}")
    show = host.systemd._show
    monkeypatch.setattr(host.systemd, "_show", lambda unit: f"{show(unit)}\nControlGroup=/system.slice/{unit}")
    switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.JOINED, (), HOLDER))
    said = host.systemd.said
    assert said[said.index("stop old.service") + 1] == ("left [2, 1, 0]" if gunicorn else "left []")


def test_one_on_a_port_ends_as_its_unit_says(host: Host) -> None:
    seen: list[list[str]] = []
    host.systemd.on_stop = lambda: seen.append(_drop_in(host))
    switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.JOINED, (), HOLDER))
    assert "ExecStop=" not in {line for lines in seen for line in lines}
    assert all({"Restart=no", "ExecStopPost="} <= set(lines) for lines in seen)
    assert len(seen) > 0


@pytest.mark.parametrize("runs", ["", "{ path=/usr/local/bin/out-of-the-balancer ; argv[]=x ; }"])
@pytest.mark.parametrize("way", [_former.JOINED, _former.STOPPED])
def test_what_one_would_run_after_its_end_is_left_out_and_told(host: Host, way: str, runs: str) -> None:
    real = host.systemd.__call__

    def systemctl(command: Any, seconds: float) -> Completed:
        if "--property=ExecStopPost" in command:
            return Completed(0, f"ExecStopPost={'' if 'ExecStopPost=' in _drop_in(host) else runs}\n", "")
        return real(command, seconds)

    host.instances.systemd = Systemd(systemctl)
    seen = switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, way, (), HOLDER))
    words = [line for line in told(None, seen) if "ended without what its ExecStopPost= runs" in line]
    assert len(words) == bool(runs)


@pytest.mark.parametrize("mode", ["process", "none", "mixed", "control-group"])
def test_no_process_of_one_is_left_running(host: Host, mode: str) -> None:
    real = host.systemd.__call__

    def systemctl(command: Any, seconds: float) -> Completed:
        return Completed(0, f"KillMode={mode}\n", "") if "--property=KillMode" in command else real(command, seconds)

    host.instances.systemd, seen = Systemd(systemctl), list[list[str]]()
    host.systemd.on_stop = lambda: seen.append(_drop_in(host))
    done = switch(host.instances, None, 2, APP, 1.0, former=Former(OLD, _former.JOINED, (), HOLDER))
    (lines,) = [one for one in seen if one]
    assert {"KillMode=control-group", "SendSIGKILL=yes"} <= set(lines)
    words = [one for one in done["former"] if "KillMode=" in one]
    left = f"all of {OLD} ended, whose own stop leaves processes running (KillMode={mode})"
    assert words == ([left] if mode in ("process", "none") else [])


def test_a_drop_in_has_the_last_word() -> None:
    assert sorted([dropins.DROP_IN, "override.conf", "zz-local.conf"])[-1] == dropins.DROP_IN


def test_the_apps_socket_file_is_there_again_where_the_end_of_the_former_one_removes_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = _retiring(host, tmp_path, _former.RENAMED)
    number = path.stat().st_ino
    monkeypatch.setattr(_beside, "under", lambda root, path: path if path.startswith(str(tmp_path)) else root + path)
    host.systemd.on_stop = lambda: path.unlink(missing_ok=True)
    takeover.resume(host.instances, lambda: take_down(host.instances))
    assert path.stat().st_ino == number
    assert [one.name for one in tmp_path.glob("a.sock*")] == ["a.sock"]
    assert _phase(host) == takeover.RETIRED


class Asked:
    """A service manager that says of units what a test gives it."""

    def __init__(self, units: dict[str, dict[str, str]]) -> None:
        self.units = units

    def __call__(self, command: Any, timeout_seconds: float) -> Completed:
        names = command[command.index("--") + 1 :]
        blocks = []
        for name in names:
            told = {"Id": name, "LoadState": "not-found", "ActiveState": "inactive", **self.units.get(name, {})}
            blocks.append("\n".join(f"{key}={value}" for key, value in told.items()))
        return Completed(0, "\n\n".join(blocks) + "\n", "")


UP = {"LoadState": "loaded", "ActiveState": "active", "ControlGroup": "/system.slice/old.service"}


@pytest.mark.parametrize(
    ("listen", "units", "own", "by_systemd", "way", "told_"),
    [
        (ADDRESS, {}, [], [], "absent", "old.service does not run: there is nothing to take over"),
        (ADDRESS, {OLD: UP}, ["127.0.0.1:9000"], [], "beside", "old.service does not listen on 127.0.0.1:8000"),
        (ADDRESS, {OLD: UP}, [ADDRESS], [], "joined", "no request is lost"),
        (ADDRESS, {OLD: UP}, [ADDRESS, ADDRESS], [], "stopped", "as 2 sockets listen on its port"),
        ("0.0.0.0:8000", {OLD: UP}, [ADDRESS], [], "stopped", "as it listens on 127.0.0.1:8000"),
        ("unix:/run/a.sock", {OLD: UP}, ["unix:/run/a.sock"], [], "renamed", "renamed over its own"),
        ("unix:/run/a.sock", {OLD: UP}, ["unix:/run/b.sock"], [], "beside", "it is left as it is"),
        (
            ADDRESS,
            {
                OLD: {**UP, "TriggeredBy": "old.socket"},
                "old.socket": {**UP, "Listen": f"{ADDRESS} (Stream)"},
            },
            [ADDRESS],
            [ADDRESS],
            "joined",
            "no request is lost",
        ),
        (
            ADDRESS,
            {OLD: {**UP, "TriggeredBy": "shop.socket"}, "shop.socket": {**UP, "Listen": f"{ADDRESS} (Stream)"}},
            [ADDRESS],
            [ADDRESS],
            "shared",
            "its socket unit becomes the app's own",
        ),
        (
            ADDRESS,
            {OLD: {**UP, "TriggeredBy": "shop.socket"}, "shop.socket": {**UP, "Listen": "[::]:8000 (Stream)"}},
            [],
            [],
            "stopped",
            "problem: shop.socket of old.service listens on [::]:8000: declare that as `listen`",
        ),
    ],
)
def test_the_way_that_loses_least(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    listen: str,
    units: dict[str, dict[str, str]],
    own: list[str],
    by_systemd: list[str],
    way: str,
    told_: str,
) -> None:
    """`own`: addresses of the sockets that its processes hold, `by_systemd`: of those that systemd does."""

    def held(pids: list[int], root: str) -> list[Listener]:
        addresses = by_systemd if pids == [1] else own
        return [Listener(address, 100 + (0 if by_systemd else at), pids[0], 3) for at, address in enumerate(addresses)]

    monkeypatch.setattr(_former, "held", held)
    monkeypatch.setattr(_former, "unit_pids", lambda group, root: [40, 41])
    monkeypatch.setattr(_former, "hold", lambda listener: _Held())
    monkeypatch.setattr(_former.formerprograms, "by_gunicorn", lambda *_: True)
    former = _former.read(host.layout, {"former": OLD, "listen": listen}, Systemd(Asked(units)))
    said = _former.told(former, listen)
    assert former.way == way
    assert told_ in f"{said['words']} problem: {said['problem']}"
    assert former.serves is (way not in ("absent", "beside"))
