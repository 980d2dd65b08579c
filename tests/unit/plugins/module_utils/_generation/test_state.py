# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The state of an app on a host: what is live, what was left, why it is not as it was."""

from __future__ import annotations

import fnmatch
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former import masters as _masters
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import former as _former
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import ledger, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import state as _state
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.takeover import Record
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.taken import address_taken

RECORD: dict[str, Any] = {
    "release": "0" * 16,
    "app": {"listen": "127.0.0.1:8000", "health": {"path": "/healthz", "status": [200], "timeout_seconds": 1}},
    "digest": "d",
}


class Units:
    """A service manager in which `active` units run."""

    def __init__(self, *active: str) -> None:
        self.active = active
        self.calls = 0

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        self.calls += 1
        names = command[list(command).index("--") + 1 :] if "--" in command else []
        units = [unit for name in names for unit in (fnmatch.filter(self.active, name) if "*" in name else [name])]
        text = "\n\n".join(
            f"Id={unit}\nActiveState={'active' if unit in self.active else 'inactive'}" for unit in units
        )
        return Completed(0, text, "")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    made = Layout("shop", str(tmp_path))
    os.makedirs(made.state)
    os.makedirs(made.units)
    for number in (1, 2):
        store.begin(made, number, "0" * 16)
        store.write(made, number, {"shop.socket": "[Socket]\n"}, {**RECORD, "number": number})
        Path(made.environment(number)).touch()
    store.finish(made, 1)
    store.link_units(made, 1)
    store.set_outcome(made, 1, "good")
    store.activate(made, 1)
    store.link_public(made)
    ledger.append(made.ledger, "promoted", **{"from": None, "to": 1})
    monkeypatch.setattr(_state, "verify", lambda path: [])
    monkeypatch.setattr(_state, "request", lambda *_: Answer(200, b"ok", 3.0))
    return made


def state(layout: Layout, *active: str) -> dict[str, Any]:
    return _state.app_state({"name": "shop"}, layout.root, Systemd(Units(*active)))


def test_whole_and_healthy_but_for_what_a_killed_stage_left(layout: Layout) -> None:
    found = state(layout, "shop.socket", "shop@1.service")
    assert (found["intact"], found["healthy"], found["problems"]) == (True, True, [])
    assert found["leftovers"] == ["generation 2 is unfinished"]
    assert found["live"]["generation"] == 1


@pytest.mark.parametrize(
    ("way", "taken", "clash"), [("joined", None, True), ("shared", None, False), ("beside", "by nginx", True)]
)
def test_what_is_taken_over_is_in_nobodys_way(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, way: str, taken: str | None, clash: bool
) -> None:
    fresh = Layout("till", layout.root)
    Path(fresh.unit("till.socket")).write_text("[Socket]\n", encoding="utf-8")
    found = _former.Former("old.service", way, ("till.socket",))
    monkeypatch.setattr(_former, "read", lambda *_: found)
    monkeypatch.setattr(_state, "address_taken", lambda listen: "by nginx")
    asked: _state.AppAsked = {"name": "till", "listen": "0.0.0.0:80", "former": "old.service"}
    told = _state.app_state(asked, layout.root, Systemd(Units("till.socket")))
    assert (told["former"] or {}).get("way") == way
    assert told["port_taken"] == taken
    assert bool(told["clashes"]) is clash


@pytest.mark.parametrize("declared", [False, True])
def test_a_socket_of_its_name_may_be_what_is_to_be_taken_over_until_something_is_declared(
    layout: Layout, declared: bool
) -> None:
    """Whoever asks while the first generation is still being built is not told to take the users' way away."""
    fresh = Layout("till", layout.root)
    Path(fresh.unit("till.socket")).write_text("[Socket]\n", encoding="utf-8")
    if declared:
        store.begin(fresh, 1, "0" * 16)
        store.write(fresh, 1, {}, RECORD)
    told = _state.app_state({"name": "till"}, layout.root, Systemd(Units("till.socket")))
    assert bool(told["clashes"]) is declared


@pytest.mark.parametrize("way", ["joined", "beside"])
def test_what_is_taken_over_tells_how_many_requests_it_holds(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(_former, "read", lambda *_: _former.Former("old.service", way))
    monkeypatch.setattr(_masters, "declared", lambda unit, *_: [(3, SimpleNamespace(settings={"threads": 2}))])
    asked: _state.AppAsked = {"name": "till", "listen": "0.0.0.0:80", "former": "old.service"}
    told = _state.app_state(asked, layout.root, Systemd(Units()))["former"] or {}
    held = {"unit": "old.service", "slots": 6, "words": "3 gthread workers of 2 threads", "hub": False}
    assert told.get("held") == (held if way == "joined" else None)
    monkeypatch.setattr(_masters, "declared", lambda unit, *_: [(3, None), (1, None)])
    assert "held" not in (_state.app_state(asked, layout.root, Systemd(Units()))["former"] or {})


def test_one_that_cannot_be_asked_by_itself_is_told_and_is_healthy(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_state, "listens", lambda _, listen, *__: not listen.endswith("1.sock"))
    asked = []
    monkeypatch.setattr(_state, "request", lambda at, *_: asked.append(at) or Answer(200, b"ok", 3.0))
    found = state(layout, "shop.socket", "shop@1.service")
    assert (found["healthy"], found["intact"], asked) == (True, False, [("127.0.0.1", 8000)])
    assert found["problems"] == [
        f"{layout.private_socket(1)} is gone or is another's: generation 1 cannot be asked by itself; "
        "the next one is whole again"
    ]


def test_what_answers_users_with_500_is_not_healthy(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its health path is well; the path of its load is what users ask."""
    path = Path(layout.generation(1)) / "generation.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["app"]["load"] = {"paths": [{"path": "/basket", "method": "GET"}]}
    path.write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(_state, "request", lambda _, ask, __: Answer(500 if ask.path == "/basket" else 200, b"ok", 3.0))
    found = state(layout, "shop.socket", "shop@1.service")
    assert found["health_detail"] == 'GET /basket answered 500 (2 of 2 requests; "ok")'
    assert found["rollback_hint"] == ""  # there is no other good generation
    store.finish(layout, 2)
    store.set_outcome(layout, 2, "good")
    store.link_units(layout, 2)
    store.activate(layout, 2)
    ledger.append(layout.ledger, "promoted", **{"from": 1, "to": 2})
    monkeypatch.setattr(_state, "request", lambda *_: Answer(500, b"", 3.0))
    found = state(layout, "shop.socket", "shop@2.service")
    # Generation 1 was edited above, and it is all there is.
    assert found["rollback_hint"] == (
        f"generation 1, which `headcount-rollback shop` would go back to, is not intact: {path} was edited"
    )


@pytest.mark.parametrize(("phase", "told"), [("retired", True), ("given_back", False), ("retiring", False)])
def test_a_service_that_it_was_taken_over_from_and_a_boot_starts_again_is_in_its_way(
    layout: Layout, phase: str, told: bool
) -> None:
    """Somebody has enabled it since, or a package has."""
    link = Path(layout.units) / "multi-user.target.wants/old.service"
    Record("old.service", "joined", "127.0.0.1:8000", phase, ("old.socket",)).write(layout)
    assert state(layout, "shop.socket", "shop@1.service")["clashes"] == []
    link.parent.mkdir()
    link.symlink_to("../old.service")
    words = (
        "/etc/systemd/system/multi-user.target.wants/old.service has a boot start old.service, which the app was taken "
        "over from, on the same address: `systemctl disable old.service`, or `headcount-rollback shop --to-former`"
    )
    assert state(layout, "shop.socket", "shop@1.service")["clashes"] == ([words] if told else [])


@pytest.mark.parametrize(
    ("phase", "units"),
    [("retired", ["old.socket", "old.service"]), ("given_back", []), ("retiring", []), ("joining", [])],
)
def test_who_it_was_taken_over_from_is_told_once_it_has_left(layout: Layout, phase: str, units: list[str]) -> None:
    assert state(layout, "shop.socket", "shop@1.service")["retired"] == []
    Record("old.service", "joined", "127.0.0.1:8000", phase, ("old.socket",)).write(layout)
    assert state(layout, "shop.socket", "shop@1.service")["retired"] == units


def test_what_somebody_stopped_is_opened_by_its_socket_not_by_an_older_generation(layout: Layout) -> None:
    store.finish(layout, 2)
    store.set_outcome(layout, 2, "good")
    store.link_units(layout, 2)
    store.link_public(layout)
    store.activate(layout, 2)
    found = state(layout)
    assert (found["closed"], found["healthy"]) == (True, False)
    assert found["rollback_hint"] == "`systemctl start shop.socket` on the host opens it to users again"
    assert not state(layout, "shop.socket")["closed"]
    assert not state(layout, "shop@2.service")["closed"]


@pytest.mark.parametrize("how", ["deleted", "dangling"])
def test_a_link_that_leads_nowhere_hides_nothing(layout: Layout, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is its own service's: no rollout may be refused for that."""
    monkeypatch.setattr(_state, "address_taken", lambda listen: f"listen address {listen} is taken by another process")
    store.remove(layout, 2)
    os.unlink(layout.live)
    if how == "dangling":
        os.symlink("generations/21", layout.live)
    found = _state.app_state(
        {"name": "shop", "listen": "127.0.0.1:8000"}, layout.root, Systemd(Units("shop.socket", "shop@1.service"))
    )
    assert found["live"]["generation"] == 1
    assert (found["intact"], found["healthy"], found["port_taken"]) == (True, True, None)
    assert found["leftovers"] == ["`live` leads nowhere; generation 1 is live (by the ledger and what runs)"]


def test_live_that_leads_to_another_tree_is_named(layout: Layout, tmp_path: Path) -> None:
    store.remove(layout, 2)
    elsewhere = tmp_path / "opt/other/generations/1"
    elsewhere.mkdir(parents=True)
    os.unlink(layout.live)
    os.symlink(elsewhere, layout.live)
    found = state(layout, "shop.socket", "shop@1.service")
    assert found["leftovers"] == [
        f"`live` leads to {elsewhere}, which is no generation of shop; generation 1 is live (by the ledger and what "
        "runs)"
    ]


def test_a_unit_that_runs_is_not_called_inactive_for_its_file(layout: Layout) -> None:
    store.remove(layout, 2)
    os.unlink(layout.unit("shop.socket"))
    Path(layout.unit("shop.socket")).write_text("[Socket]\n", encoding="utf-8")
    found = state(layout, "shop.socket", "shop@1.service")
    assert (found["healthy"], found["clashes"]) == (True, [])
    assert found["problems"] == [f"{layout.unit('shop.socket')} does not lead to the live generation"]
    os.unlink(layout.unit("shop.socket"))
    os.symlink("/srv/shop.socket", layout.unit("shop.socket"))
    found = state(layout, "shop.socket", "shop@1.service")
    assert found["health_detail"] == "shop.socket runs, but from no file, which is not Headcount's"


def test_what_is_missing_is_named_where_something_runs(layout: Layout, tmp_path: Path) -> None:
    os.rename(layout.generations, tmp_path / "moved")
    found = state(layout, "shop.socket", "shop@1.service")
    assert found["live"] is None
    assert found["health_detail"].startswith("generation 1 of shop is live by the ledger, but ")
    assert found["clashes"] == [found["health_detail"]]


def test_an_account_that_is_gone_is_a_problem(layout: Layout) -> None:
    (Path(layout.root) / "etc/passwd").write_text(
        "hc-shop:x:998:998::/nonexistent:/usr/sbin/nologin\n", encoding="utf-8"
    )
    (Path(layout.root) / "etc/group").write_text("hc-shop:x:998:\n", encoding="utf-8")
    assert state(layout, "shop.socket", "shop@1.service")["problems"] == []
    (Path(layout.root) / "etc/group").write_text("root:x:0:\n", encoding="utf-8")
    found = state(layout, "shop.socket", "shop@1.service")
    assert found["problems"] == [
        "the account hc-shop is gone: generation 1 runs until it is started again, and no further"
    ]


def test_the_port_of_a_first_deployment_that_was_cut_short_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_state, "address_taken", lambda listen: f"listen address {listen} is taken by another process")
    os.makedirs(Layout("shop", str(tmp_path)).home)
    store.link_public(Layout("shop", str(tmp_path)))
    asked = {"name": "shop", "listen": "127.0.0.1:8000"}
    assert _state.app_state(asked, str(tmp_path), Systemd(Units("shop.socket")))["port_taken"] is None
    assert _state.app_state(asked, str(tmp_path), Systemd(Units()))["port_taken"] is not None


def test_a_record_that_is_torn(layout: Layout) -> None:
    os.truncate(Path(layout.generation(1)) / "generation.json", 0)
    found = state(layout, "shop.socket", "shop@1.service")
    assert (found["live"]["generation"], found["intact"], found["healthy"]) == (1, False, False)
    assert found["health_detail"] == "generation 1 has no record that can be read (generation.json)"


def test_what_runs_and_must_not(layout: Layout) -> None:
    store.finish(layout, 2)
    store.link_units(layout, 2)
    found = state(layout, "shop.socket", "shop@1.service", "shop@2.service", "shop-trial@2.service")
    assert found["leftovers"] == ["shop-trial@2.service runs", "shop@2.service runs, but is not live"]


def test_systemd_is_asked_once_for_everything(layout: Layout) -> None:
    units = Units("shop.socket", "shop@1.service")
    _state.app_state({"name": "shop"}, layout.root, Systemd(units))
    assert units.calls == 1


def test_a_rename_that_nobody_wrote_down(layout: Layout) -> None:
    store.finish(layout, 2)
    store.activate(layout, 2)
    found = state(layout, "shop.socket", "shop@2.service")
    assert found["leftovers"] == ["generation 2 is live, but the run that made it live could not write that down"]


def test_nothing_runs(layout: Layout) -> None:
    found = state(layout)
    assert found["healthy"] is False
    assert found["health_detail"] == "shop.socket is inactive"


def test_nothing_is_deployed(tmp_path: Path) -> None:
    found = _state.app_state({"name": "shop"}, str(tmp_path), Systemd(Units()))
    assert (found["live"], found["leftovers"], found["port_taken"]) == (None, [], None)


def test_addresses_that_are_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        listen = f"127.0.0.1:{tcp.getsockname()[1]}"
        unix.bind(path)
        assert address_taken(f"unix:{path}") is None
        unix.listen()
        assert str(address_taken(f"unix:{path}")).startswith(
            f"listen address unix:{path} is taken by another process: "
        )
        assert str(address_taken(f"unix:{path}")).endswith(f"(pid {os.getpid()})")
        # Who it is, where /proc tells it.
        assert str(address_taken(listen)).startswith(f"listen address {listen} is taken by another process: ")
        assert str(address_taken(listen)).endswith(f"(pid {os.getpid()})")
    assert address_taken(listen) is None
    assert address_taken("192.0.2.1:1") == "listen address 192.0.2.1:1 cannot be taken: Cannot assign requested address"
    assert address_taken(None) is None


def test_paths_at_which_no_socket_can_be_made(tmp_path: Path) -> None:
    """systemd would remove a file there to make the socket."""
    (tmp_path / "file").write_text("theirs", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    for name, kind in (("file", "a file"), ("folder", "a folder"), ("link", "a link")):
        listen = f"unix:{tmp_path}/{name}"
        words = f"listen address {listen} is taken: {tmp_path}/{name} is {kind} of somebody else's and no socket"
        assert address_taken(listen) == words
    assert "is no folder" in str(address_taken(f"unix:{tmp_path}/link/a/b.sock")) or "is a file" in str(
        address_taken(f"unix:{tmp_path}/link/a/b.sock")
    )
    assert address_taken(f"unix:{tmp_path}/new/folders/b.sock") is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(tmp_path / "datagrams"))
        assert "is taken by another process" in str(address_taken(f"unix:{tmp_path}/datagrams"))


def test_who_listens_is_not_asked(tmp_path: Path) -> None:
    """A connection would start the service that systemd holds the socket for."""
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        unix.settimeout(0.2)
        assert address_taken(f"unix:{tmp_path}/s") is not None
        with pytest.raises(TimeoutError):
            unix.accept()


def test_an_address_that_the_app_moves_to(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "address_taken", lambda listen: f"{listen} is taken")

    def taken(listen: str) -> Any:
        return _state.app_state({"name": "shop", "listen": listen}, layout.root, Systemd(Units()))["port_taken"]

    assert taken("127.0.0.1:8000") is None
    assert taken("0.0.0.0:8000") is None  # by itself
    assert taken("127.0.0.1:8001") == "127.0.0.1:8001 is taken"
    assert taken("unix:/run/shop.sock") == "unix:/run/shop.sock is taken"


@pytest.mark.parametrize(
    ("way", "phase", "clash"),
    [
        ("shared", "joining", False),
        ("shared", "retiring", False),
        ("shared", "retired", True),
        ("joined", "joining", True),
    ],
)
def test_a_socket_unit_that_a_takeover_shares_is_in_nobodys_way(
    layout: Layout, way: str, phase: str, clash: bool
) -> None:
    """Killed before the new generation was verified: the next run has to come through, to heal that."""
    os.unlink(layout.unit("shop.socket"))
    os.unlink(layout.ledger)
    Path(layout.unit("shop.socket")).write_text("[Socket]\nListenStream=8000\n")
    told = {"unit": "old.service", "way": way, "address": "127.0.0.1:8000", "phase": phase}
    Path(layout.former).write_text(json.dumps(told))
    found = _state.app_state({"name": "shop"}, layout.root, Systemd(Units("shop@1.service", "shop.socket")))
    assert bool(found["clashes"]) is clash
    assert any(f"(phase {phase})" in one for one in found["leftovers"]) is (phase != "retired")
