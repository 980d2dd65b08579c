# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Two names for one machine are refused before it is changed twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import hostfacts
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import twins
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.decision import AppDecision, HostDecision


def host(name: str, machine: str, action: str = "deploy", status: str = "ok") -> HostDecision:
    return HostDecision(name, status, facts={"machine": machine}, apps={"shop": AppDecision("shop", action)})


def test_two_names_for_one_machine_are_refused_with_each_other() -> None:
    hosts = [host("web1", "4f1c/b0/7"), host("web2", "93aa/b1/7"), host("web1.example.com", "4f1c/b0/7", "none")]
    assert twins.refuse(hosts) == []
    assert [one.status for one in hosts] == ["failed", "ok", "failed"]
    assert (
        hosts[0].cause
        == hosts[2].cause
        == (
            "web1, web1.example.com are one machine (machine-id 4f1c, the same boot): each would be planned as if"
            " it had that machine alone; keep one of these names in the play"
        )
    )


def test_where_nothing_is_to_be_changed_it_is_told() -> None:
    hosts = [host("a", "4f1c/b0/7", "none"), host("b", "4f1c/b0/7", "none")]
    told = twins.refuse(hosts)
    assert [one.status for one in hosts] == ["ok", "ok"]
    assert told[0].startswith("a, b are one machine")


def test_what_is_not_known_or_not_reached_is_nobodys_twin() -> None:
    hosts = [host("a", ""), host("b", ""), host("c", "4f1c/b0/7"), host("d", "4f1c/b0/7", status="unreachable")]
    assert twins.refuse(hosts) == []
    assert [one.status for one in hosts] == ["ok", "ok", "ok", "unreachable"]


@pytest.mark.parametrize("missing", ["/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/proc/1/stat"])
def test_a_machine_is_known_by_all_three(tmp_path: Path, missing: str) -> None:
    files = {
        "/etc/machine-id": "4f1c\n",
        "/proc/sys/kernel/random/boot_id": "b0\n",
        "/proc/1/stat": f"1 (systemd) S {' '.join(str(number) for number in range(4, 53))}\n",
    }
    for path, text in files.items():
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert hostfacts.read(str(tmp_path)).machine == "4f1c/b0/22"
    (tmp_path / missing.lstrip("/")).unlink()
    assert hostfacts.read(str(tmp_path)).machine == ""
