# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Draining never takes the last server, waits for requests, and says what to change; against a scripted HAProxy."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HEADER = "# pxname,svname,qcur,scur,status,last_chk,\n"


def load() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "playbooks/hooks/haproxy.py"
    spec = importlib.util.spec_from_file_location("haproxy_hook", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


haproxy = load()


class Scripted(haproxy.Balancer):  # type: ignore[misc, name-defined]  # loaded from its file, unseen by mypy
    """A backend `shop`; `set server` works at once, and every look takes one request off a draining server."""

    def __init__(self, states: dict[str, str], busy: int = 0) -> None:
        super().__init__("/nowhere", "shop")
        self.states, self.busy = dict(states), busy

    def servers(self) -> Any:
        rows = "".join(
            f"shop,{name},0,{self.busy if state == 'DRAIN' else 5},{state},,\n" for name, state in self.states.items()
        )
        self.busy = max(0, self.busy - 1)
        return haproxy.servers(f"{HEADER}shop,BACKEND,0,9,UP,,\nother,a,0,0,UP,,\n{rows}", self.backend)

    def set_state(self, name: str, state: str) -> None:
        self.states[name] = {"drain": "DRAIN", "ready": "UP"}[state]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No waiting, and no lock of this machine."""
    monkeypatch.setattr(haproxy.time, "sleep", lambda _: None)
    monkeypatch.setattr("builtins.open", lambda path, *a, **k: (tmp_path / "lock").open("w"))


def test_only_the_servers_of_the_backend_count() -> None:
    assert sorted(Scripted({"a": "UP", "b": "UP 1/3"}).servers()) == ["a", "b"]


@pytest.mark.parametrize(
    ("status", "takes"),
    [("UP", True), ("UP 1/3", True), ("no check", True), ("DRAIN", False), ("MAINT", False), ("DOWN", False)],
)
def test_which_servers_take_requests(status: str, takes: bool) -> None:
    assert haproxy.takes_requests({"status": status}) is takes


def test_a_drain_ends_when_the_requests_are_answered() -> None:
    balancer = Scripted({"a": "UP", "b": "UP"}, busy=3)
    assert haproxy.drain(balancer, "a", 60, 1) == "a is out of shop"
    assert balancer.states == {"a": "DRAIN", "b": "UP"}
    assert haproxy.drain(balancer, "a", 60, 1) == "a is out of shop"


def test_the_last_server_stays() -> None:
    balancer = Scripted({"a": "UP", "b": "DRAIN"})
    with pytest.raises(haproxy.Refused) as refused:
        haproxy.drain(balancer, "a", 60, 1)
    assert str(refused.value) == (
        "without a backend shop would have 0 servers that take requests, and haproxy_keep asks for 1; "
        "make headcount_rollout_batches smaller"
    )
    assert balancer.states["a"] == "UP"


def test_requests_that_do_not_end_are_told() -> None:
    with pytest.raises(haproxy.Refused, match="a still has 8 requests after 0 s; raise haproxy_drain_seconds"):
        haproxy.drain(Scripted({"a": "UP", "b": "UP"}, busy=10), "a", 0, 1)


def test_a_server_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(haproxy.Refused, match="backend shop has no server 'x'; there are: a, b; set haproxy_server"):
        haproxy.drain(Scripted({"a": "UP", "b": "UP"}), "x", 60, 1)


def test_ready_waits_until_requests_come() -> None:
    assert haproxy.ready(Scripted({"a": "DRAIN", "b": "UP"}), "a", 60) == "a is back in shop"
