# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox of an app: whole unless it is declared otherwise, bent key by key, and each key tells what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Sandbox
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import data, exposure, sandbox
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout

WHOLE = sandbox.lines({"name": "shop"})


def changed(**bent: Any) -> tuple[list[str], list[str]]:
    """(lines that came, lines that went) of the whole sandbox."""
    found = sandbox.lines({"name": "shop", "sandbox": bent})
    return [line for line in found if line not in WHOLE], [line for line in WHOLE if line not in found]


def test_it_is_whole_without_a_word() -> None:
    assert sandbox.lines({"name": "shop", "sandbox": Sandbox().to_dict()}) == WHOLE
    assert {"ProcSubset=pid", "PrivateDevices=yes", "ProtectHome=yes", "UMask=0077", "ProtectSystem=strict"} < set(
        WHOLE
    )
    assert exposure.sandbox_costs(Sandbox()) == []


@pytest.mark.parametrize(
    ("bent", "came", "went", "cost"),
    [
        ({"proc": "all"}, ["ProcSubset=all"], ["ProcSubset=pid"], "sandbox.proc (all) costs 0.1 of exposure: "),
        ({"home": "read"}, ["ProtectHome=read-only"], ["ProtectHome=yes"], "sandbox.home (read) costs 0.1"),
        ({"umask": "0027"}, ["UMask=0027"], ["UMask=0077"], "sandbox.umask (0027) costs 0.1"),
        (
            {"devices": ["/dev/fuse"]},
            ["BindPaths=/dev/fuse", "DeviceAllow=/dev/fuse rw"],
            [],
            "sandbox.devices (/dev/fuse) costs 0 of exposure: a fault in their driver",
        ),
        ({"groups": ["video"]}, ["SupplementaryGroups=video"], [], "sandbox.groups (video) costs 0.1"),
        (
            {"address_families": ["AF_NETLINK", "AF_VSOCK", "AF_CAN"]},
            ["RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK AF_VSOCK AF_CAN"],
            ["RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"],
            "sandbox.address_families (AF_NETLINK AF_VSOCK AF_CAN) costs 0.4",
        ),
        (
            {"system_calls": ["@resources", "@chown"]},
            ["SystemCallFilter=@resources @chown"],
            [],
            "sandbox.system_calls (@resources @chown) costs 0.4",
        ),
    ],
)
def test_each_key_bends_one_thing_and_says_what_it_costs(
    bent: dict[str, Any], came: list[str], went: list[str], cost: str
) -> None:
    assert changed(**bent) == (came, went)
    (told,) = exposure.sandbox_costs(Sandbox.from_dict(bent))
    assert told.startswith(cost)


def test_psutil_opens_proc_by_itself_unless_it_is_declared() -> None:
    app: dict[str, Any] = {"name": "shop"}
    assert sandbox.declared(sandbox.resolved(app, ["flask", "psutil"])).proc == "all"
    assert sandbox.resolved(app, ["flask"]) == app
    closed = {**app, "sandbox": {"proc": "own"}}
    assert sandbox.resolved(closed, ["psutil"]) == closed
    assert exposure.sandbox_costs(Sandbox(proc="own")) == []


def test_a_group_that_reads_comes_into_the_data() -> None:
    lines = data.unit_lines({"name": "shop", "sandbox": {"umask": "0027"}}, 7, Layout("shop"))
    assert "StateDirectoryMode=0750" in lines


def test_what_the_host_does_not_have_is_told(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/fuse").touch()
    app = {"name": "shop", "sandbox": {"devices": ["/dev/fuse", "/dev/nvidia0"], "groups": ["root", "no-such"]}}
    assert exposure.missing(app, str(tmp_path)) == [
        "sandbox.devices: /dev/nvidia0 is not on this host",
        "sandbox.groups: there is no group no-such on this host",
    ]


@pytest.mark.parametrize(
    ("bent", "words"),
    [
        ({"devices": ["/dev/sda"]}, "sandbox.devices[0] is '/dev/sda' (who has it has the host)"),
        ({"devices": ["/dev/mem"]}, "sandbox.devices[0] is '/dev/mem' (who has it has the host)"),
        ({"devices": ["nvidia0"]}, "sandbox.devices[0] is 'nvidia0' (no path below /dev)"),
        ({"groups": ["docker"]}, "sandbox.groups[0] is 'docker' (who is in it can become root)"),
        ({"address_families": ["netlink"]}, "sandbox.address_families[0] is 'netlink'"),
        ({"umask": 27}, "sandbox.umask is 27"),
    ],
)
def test_what_is_a_way_to_root_is_refused(bent: dict[str, Any], words: str) -> None:
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "shop:app", "listen": "0.0.0.0:8000"}
    _, problems = normalise_apps([{**app, "sandbox": bent}], "web1")
    assert len(problems) == 1
    assert words in problems[0].text
