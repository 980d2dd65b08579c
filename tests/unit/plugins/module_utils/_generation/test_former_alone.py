# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whom a former service answers, at which addresses: nobody of them is lost, or it is not taken over."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import former, formerboot, phases
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
        return {name: self._properties.get(name, "") for name in names} if names else self._properties

    def property_lines(self, unit: str, name: str) -> list[str]:
        return self._properties.get(name, "").split("; ") if self._properties.get(name) else []


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


SERVED = "127.0.0.1:8000"


def _read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: str, *own: str, **properties: str) -> former.Former:
    """What is read of a service whose main process listens on `own`."""
    sockets = [Listener(address, 4711 + at, 42, 5 + at) for at, address in enumerate(own)]
    monkeypatch.setattr(former, "unit_pids", lambda *_: [42])
    monkeypatch.setattr(former, "held", lambda pids, _: sockets if pids == [42] else [])
    monkeypatch.setattr(former, "_can_hold", lambda _: True)
    monkeypatch.setattr(former.formerprograms, "further", lambda *_: ("", ""))
    units = Units(**properties)
    monkeypatch.setattr(
        units,
        "state",
        lambda _: UnitState("loaded", "active", "running", "", 42, 0, 0, "/system.slice/old.service", "", ""),
    )
    return former.read(Layout("shop", str(tmp_path)), {"former": "old.service", "listen": listen}, units)


@pytest.mark.parametrize(
    ("listen", "own", "problem"),
    [
        (SERVED, [SERVED], ""),
        (
            SERVED,
            [SERVED, "unix:/run/old/b.sock"],
            "old.service listens on unix:/run/old/b.sock too, where nobody would answer once it is stopped: have "
            "another service answer there",
        ),
        ("unix:/run/old/b.sock", [SERVED, "unix:/run/old/b.sock"], "old.service listens on 127.0.0.1:8000 too"),
        (SERVED, [SERVED, "0.0.0.0:9100", "127.0.0.1:9200"], "listens on 0.0.0.0:9100 and 127.0.0.1:9200 too"),
        (
            SERVED,
            [SERVED, "10.0.0.5:8000"],
            "declare `listen: '[::]:8000'`, which is every address of the host, or have",
        ),
        ("0.0.0.0:8000", [SERVED, "10.0.0.5:8000"], ""),
        ("[::]:8000", ["0.0.0.0:8000"], ""),
        (
            SERVED,
            ["0.0.0.0:8000"],
            "old.service listens on 0.0.0.0:8000, and the app would on 127.0.0.1:8000 alone, so that nobody would "
            "answer the rest of its users: declare `listen: '0.0.0.0:8000'`, or have it listen on 127.0.0.1:8000 alone "
            "first",
        ),
        ("0.0.0.0:8000", ["[::]:8000"], "declare `listen: '[::]:8000'`"),
        ("0.0.0.0:8000", ["0.0.0.0:8000", "[::1]:8000"], "listens on [::1]:8000 too"),
        (SERVED, [SERVED, "unix:/home/deploy/.gunicorn/gunicorn.ctl"], ""),
        (SERVED, [SERVED, "unix:/tmp/pymp-1a2b/listener-x", "unix:@listener-42-0"], ""),
        (SERVED, ["127.0.0.1:9000", "unix:/run/old/b.sock"], ""),
    ],
)
def test_all_that_it_answers_the_app_answers_or_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: str, own: list[str], problem: str
) -> None:
    found = _read(tmp_path, monkeypatch, listen, *own)
    assert problem in found.problem if problem else not found.problem


def test_where_its_command_line_has_gunicorn_take_commands_is_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = 42
    (tmp_path / f"proc/{pid}").mkdir(parents=True)
    (tmp_path / f"proc/{pid}/cmdline").write_text("gunicorn\0--control-socket\0/run/old/orders.sock\0old:app")
    monkeypatch.setattr(former, "unit_pids", lambda *_: [pid])
    sockets = [SERVED, "unix:/run/old/orders.sock"]
    monkeypatch.setattr(former, "held", lambda pids, _: [Listener(one, 7, pid) for one in sockets if pid in pids])
    state = UnitState("loaded", "active", "running", "", pid, 0, 0, "/system.slice/s.service", "", "")
    found = former.Former("s.service", former.JOINED)
    assert former._unserved(found, SERVED, state, Units(), str(tmp_path)) == ""
    sockets.append("unix:/run/old/b.sock")
    assert "unix:/run/old/b.sock too" in former._unserved(found, SERVED, state, Units(), str(tmp_path))


@pytest.mark.parametrize("gunicorn", [True, False])
def test_only_a_gunicorn_takes_a_socket_that_systemd_hands_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gunicorn: bool
) -> None:
    monkeypatch.setattr(former.formerprograms, "by_gunicorn", lambda *_: gunicorn)
    found = _read(tmp_path, monkeypatch, SERVED, SERVED)
    assert found.inherits is gunicorn
    assert ("no Gunicorn" in " ".join(found.notes)) is not gunicorn
    words = former.told(found, SERVED)["words"]
    assert ("no request is lost" in words, "no connection is refused" in words) == (gunicorn, not gunicorn)


def test_where_what_starts_programs_is_told_to_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """supervisord (39), which listens for supervisorctl, has started Gunicorn (42)."""
    for pid, name in ((39, "supervisord"), (42, "gunicorn")):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/comm").write_text(name)
    _read(tmp_path, monkeypatch, SERVED, SERVED)
    sockets = {39: "unix:/run/supervisor.sock", 42: SERVED}
    monkeypatch.setattr(former, "unit_pids", lambda *_: [39, 42])
    monkeypatch.setattr(former, "held", lambda pids, _: [Listener(sockets[pid], pid, pid) for pid in pids if pid > 1])
    state = UnitState("loaded", "active", "running", "", 39, 0, 0, "/system.slice/s.service", "", "")
    found = former.Former("s.service", former.JOINED)
    assert former._unserved(found, SERVED, state, Units(), str(tmp_path)) == ""
    (tmp_path / "proc/39/comm").write_text("celery")
    assert "unix:/run/supervisor.sock too" in former._unserved(found, SERVED, state, Units(), str(tmp_path))


def test_what_its_socket_units_have_beside_streams_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = f"{SERVED} (Stream); 0.0.0.0:8125 (Datagram)"
    found = _read(tmp_path, monkeypatch, SERVED, SERVED, TriggeredBy="old.socket", Listen=lines)
    assert found.problem.startswith("old.service listens on 0.0.0.0:8125 (Datagram) too")


def test_one_that_does_not_run_and_that_a_boot_starts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units, layout = Units(), Layout("shop", str(tmp_path))
    state = UnitState("loaded", "failed", "failed", "", 0, 0, 0, "", "", "")
    monkeypatch.setattr(units, "state", lambda _: state)
    app = {"former": "old.service", "listen": SERVED}
    assert former.read(layout, app, units).problem == ""
    monkeypatch.setattr(formerboot, "links", lambda *_: {"/etc/systemd/system/a.wants/old.service": "x"})
    assert former.read(layout, app, units).problem == (
        "old.service does not run, but a boot starts old.service, which would take the address from the app: "
        "`systemctl disable old.service`, or start it, so that it is taken over"
    )
    monkeypatch.setattr(phases, "unfinished", lambda _: ["the takeover has not ended"])
    assert former.read(layout, app, units).problem == ""


@pytest.mark.parametrize(
    ("options", "conf", "problem", "note"),
    [
        (
            "--certfile=a.pem --keyfile=b.pem",
            "",
            "old.service speaks TLS with its users (certfile, keyfile), and the app would speak plain HTTP/1.1, so "
            "that each met an error: let a proxy in front do that, and have it ask old.service by plain HTTP first",
            "",
        ),
        ("", "def ssl_context(conf, make): return make()", "speaks TLS with its users (ssl_context)", ""),
        ("--proxy-protocol", "", "speaks the PROXY protocol with its users (proxy_protocol)", ""),
        ("", "proxy_protocol = 'auto'\n", "speaks the PROXY protocol", ""),
        ("--protocol uwsgi", "", "speaks a protocol of its own with its users (protocol)", ""),
        (
            "",
            "import os\ncertfile = os.path.join('/etc', 'a')\n",
            "",
            "old.service speaks plain HTTP/1.1 (certfile)",
        ),
        ("--protocol http", "certfile = None\nproxy_protocol = False\nworkers = 2\n", "", ""),
    ],
)
def test_one_that_speaks_something_else_with_its_users_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, conf: str, problem: str, note: str
) -> None:
    folder = tmp_path / "proc/42"
    folder.mkdir(parents=True)
    (folder / "cmdline").write_text("\0".join(["/srv/venv/bin/gunicorn", *options.split(), "shop:app"]))
    (folder / "stat").write_text("42 (gunicorn) S 1 1 1")
    (folder / "cgroup").write_text("0::/system.slice/old.service")
    (folder / "cwd").symlink_to("/srv")
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/gunicorn.conf.py").write_text(conf)
    found = _read(tmp_path, monkeypatch, SERVED, SERVED)
    assert problem in found.problem if problem else not found.problem
    assert (note in " ".join(found.notes)) if note else "plain HTTP" not in " ".join(found.notes)


@pytest.mark.parametrize(
    ("other", "own_socket", "way", "refused"),
    [
        ("0100007F:1F40", False, former.JOINED, True),
        ("00000000:1F40", False, former.JOINED, True),
        ("0500000A:1F40", False, former.JOINED, False),
        ("0100007F:1F41", False, former.JOINED, False),
        ("0100007F:1F40", True, former.JOINED, False),
        ("0100007F:1F40", True, former.SHARED, True),
    ],
)
def test_another_service_on_the_same_port_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str, own_socket: bool, way: str, refused: bool
) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    rows = [f"  {at}: {address} 00000000:0000 0A 0:0 0:0 0 0 0 {inode} 1\n" for at, address, inode in (
        (0, "0100007F:1F40", 4711), (1, other, 5000))]  # fmt: skip
    (tmp_path / "proc/net/tcp").write_text("".join(["head\n", *rows]))
    (tmp_path / "proc/77/fd").mkdir(parents=True)
    (tmp_path / "proc/77/fd/5").symlink_to("socket:[5000]")
    (tmp_path / "proc/77/comm").write_text("gunicorn")
    (tmp_path / "proc/77/cgroup").write_text("0::/system.slice/reuse-b.service")
    monkeypatch.setattr(former, "unit_pids", lambda *_: [42])
    units, gone = Units(), UnitState("loaded", "active" if own_socket else "inactive", "", "", 0, 0, 0, "", "", "")
    monkeypatch.setattr(units, "state", lambda _: gone)
    found = former.Former("old.service", way, holder=Listener(SERVED, 4711, 42))
    told = former._shared(Layout("shop", str(tmp_path)), found, SERVED, [Listener(SERVED, 4711, 42)], units)
    assert bool(told) is refused
    if refused:
        address = "0.0.0.0:8000" if other.startswith("0000") else SERVED
        assert told == (
            "gunicorn (pid 77) of reuse-b.service (`systemctl disable --now reuse-b.service` ends it for good) listens "
            f"on {address} beside old.service, and would go on answering users there: end that first, or have it "
            "listen elsewhere"
        )


def test_one_that_others_depend_on_is_refused_where_its_address_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"PropagatesStopTo": "sidecar.service"}
    assert "sidecar.service" in _read(tmp_path, monkeypatch, SERVED, SERVED, **told).problem
    assert _read(tmp_path, monkeypatch, SERVED, "127.0.0.1:9000", **told).problem == ""
    assert "anew at each boot" in _read(tmp_path, monkeypatch, SERVED, SERVED, UnitFileState="generated").problem
