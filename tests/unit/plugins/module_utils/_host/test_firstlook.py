# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The first look at a host says what the probe says, or that there is more: it passes over nothing that is told."""

from __future__ import annotations

import fnmatch
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import hostfacts
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import dryrun, state
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.asked import nothing
from ansible_collections.headcount.gunicorn.plugins.module_utils._host.firstlook import first_look
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd

ETC = "etc/systemd/system"


class Host:
    """A host's commands: units that run, what systemd-analyze takes, whether a sandbox can be made."""

    def __init__(self, *up: str, status: int = 0, takes: bool = True) -> None:
        self.up, self.status, self.takes = up, status, takes

    def __call__(self, command: Sequence[str], timeout_seconds: float = 10.0) -> Completed:
        if command[0] == "systemd-analyze":
            return Completed(0, "", "") if self.takes else Completed(1, "", "Failed to parse calendar specification")
        if command[0] == "systemd-run":
            return Completed(self.status, "", f"Main processes terminated with: code=exited/status={self.status}")
        names = command[list(command).index("--") + 1 :] if "--" in command else []
        units = [unit for name in names for unit in (fnmatch.filter(self.up, name) if "*" in name else [name])]
        told = (f"Id={unit}\nActiveState={'active' if unit in self.up else 'inactive'}" for unit in units)
        return Completed(0, "\n\n".join(told), "")

    def ask(self, command: Sequence[str]) -> str | None:
        """The same as the first look has it: the output, or None where the command failed."""
        done = self(command)
        # systemctl prints what it is asked for alone
        lines = [line for line in done.out.splitlines() if "--property=ActiveState" not in command or line[:3] != "Id="]
        return "\n".join(lines) if done.status == 0 else None


@pytest.fixture(autouse=True)
def facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostfacts, "read", lambda *_, **__: SimpleNamespace(to_dict=lambda: {"systemd": 252}))


def looks(root: Path, host: Host, sandbox: Sequence[str] = (), **app: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what the first look says, what the probe would say of the app)."""
    asked: Any = {"name": "shop", "listen": f"unix:{root}/run/shop.sock", **app}
    whole: dict[str, Any] = dict(state.app_state(asked, str(root), Systemd(host, sleep=lambda _: None)))
    whole["clashes"] = [*whole["clashes"], *filter(None, [dryrun.problem(sandbox, host) if sandbox else ""])]
    return first_look([asked], "system.slice", sandbox=sandbox, runner=host.ask, root=str(root)), whole


def put(root: Path, path: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("theirs\n", encoding="utf-8")


def test_it_has_all_that_a_state_has() -> None:
    assert set(nothing()) == set(state.AppState.__annotations__)


@pytest.mark.parametrize(
    "there",
    [
        (),
        (f"{ETC}/shop.service", f"{ETC}/nginx.service", f"{ETC}/shop-worker@1.service", f"{ETC}/my-shop.socket"),
        ("usr/lib/systemd/system/service.d/10-timeout.conf", f"{ETC}/socket.d/x.conf", f"{ETC}/service.d/readme"),
        ("var/lib/shop/x", "srv/shop/app.py", "run/lock/x"),
    ],
)
def test_of_a_fresh_host_it_says_all(tmp_path: Path, there: Sequence[str]) -> None:
    for path in there:
        put(tmp_path, path)
    first, whole = looks(tmp_path, Host("shop.service"), user=None, processes={"a": {"schedule": "daily"}})
    assert first["beyond"] == []
    assert first["apps"]["shop"] == {**whole, "retune_at_boot": False}
    assert (first["installed"], first["wheels"], first["exporter"], first["facts"]) == ([], [], "", {"systemd": 252})


@pytest.mark.parametrize(
    "path",
    [
        "opt/headcount/shop/generations/1/x",
        "opt/headcount",
        "var/lib/headcount/shop/ledger.jsonl",
        "var/lib/headcount/wheels/x",
        "var/lib/hc-shop/uploads/x",
        "var/cache/hc-shop/x",
        f"{ETC}/headcount-exporter.service",
        f"{ETC}/headcount-boot.service",
        f"{ETC}/shop.socket",
        f"{ETC}/shop@1.service",
        f"{ETC}/shop@.service",
        f"{ETC}/shop@1-worker.service",
        f"{ETC}/shop-trial@.socket",
        f"{ETC}/shop-trial@3.service",
        "run/systemd/transient/shop@7.service",
        "run/systemd/generator/shop.socket",
        "usr/lib/systemd/system/shop.socket",
        "usr/local/lib/systemd/system/shop@.service",
        "etc/systemd/system.control/shop.socket",
        f"{ETC}/shop.socket.d/x.conf",
        f"{ETC}/shop@.service.d/x.conf",
        f"{ETC}/shop@1.service.d/x.conf",
        f"{ETC}/shop-.service.d/x.conf",
        f"{ETC}/shop-trial@.service.d/x.conf",
        "run/shop.sock",
        "run",
    ],
)
def test_whatever_may_be_in_the_way_is_looked_into(tmp_path: Path, path: str) -> None:
    put(tmp_path, path)
    first, _ = looks(tmp_path, Host(), user=None)
    assert first["beyond"] != []


def test_a_file_in_the_place_of_headcounts_folder_is_told(tmp_path: Path) -> None:
    put(tmp_path, "opt/headcount")
    _, whole = looks(tmp_path, Host(), user=None)
    assert [words.partition(":")[0] for words in whole["clashes"]] == [
        f"{tmp_path}/opt/headcount/shop is not Headcount's (it is no folder)"
    ]


@pytest.mark.parametrize("unit", ["shop.socket", "shop@1.service", "shop-trial@1.socket"])
def test_a_unit_that_runs_without_a_file_is_looked_into(tmp_path: Path, unit: str) -> None:
    first, whole = looks(tmp_path, Host(unit))
    assert (bool(first["beyond"]), bool(whole["clashes"])) == (True, True)


@pytest.mark.parametrize(
    "app",
    [
        {"user": "root"},
        {"listen_group": "nobody-has-this-group"},
        {"processes": {"a": {"schedule": "03:00 Mars"}}},
        {"load_test": {"calendar": "03:00 Mars"}},
        {"former": "shop.service"},
        {"data": {"outside": [{"path": "/srv/none"}]}},
        {"listen": "192.0.2.1:1"},
        {"trial_listen": "192.0.2.1:1"},
    ],
)
def test_what_the_host_may_not_give_is_looked_into(tmp_path: Path, app: dict[str, Any]) -> None:
    first, _ = looks(tmp_path, Host(takes=False), **{"user": None, **app})
    assert first["beyond"] != []


def test_a_sandbox_that_cannot_be_made_is_looked_into(tmp_path: Path) -> None:
    first, whole = looks(tmp_path, Host(status=226), ["PrivateTmp=yes"])
    assert (bool(first["beyond"]), bool(whole["clashes"])) == (True, True)
    first, whole = looks(tmp_path, Host(), ["PrivateTmp=yes"])
    assert (first["beyond"], whole["clashes"]) == ([], [])


def test_a_manager_that_does_not_answer_is_asked_by_the_probe(tmp_path: Path) -> None:
    first = first_look([{"name": "shop"}], "system.slice", runner=lambda _: None, root=str(tmp_path))
    assert first["beyond"] != []


@pytest.fixture
def port() -> Iterator[int]:
    """A TCP port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("key", ["listen", "trial_listen"])
def test_an_address_that_another_has_is_looked_into(tmp_path: Path, port: int, key: str) -> None:
    first, whole = looks(tmp_path, Host(), **{key: f"127.0.0.1:{port}"})
    assert (bool(first["beyond"]), bool(whole[key.replace("listen", "port_taken")])) == (True, True)


def test_a_drop_in_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    put(tmp_path, f"{ETC}/service.d/a.conf")
    os.symlink("/nowhere", tmp_path / ETC / "service.d/b.conf")
    (tmp_path / ETC / "service.d/c.conf").mkdir()
    first, whole = looks(tmp_path, Host())
    assert first["apps"]["shop"]["drop_ins"] == whole["drop_ins"] == [f"/{ETC}/service.d/a.conf"]
