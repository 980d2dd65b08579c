# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many hosts share an app's database: those of the inventory, not those of the play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import Declaration
from ansible_collections.headcount.gunicorn.plugins.plugin_utils import _fleetplan as fleetplan
from ansible_collections.headcount.gunicorn.plugins.plugin_utils import _runs as runs
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._hostplan import AppPlan, HostPlan


class Hostvars(dict[str, dict[str, Any]]):
    """What ansible-core hands to plugins, as far as it is used."""

    def raw_get(self, host: str) -> dict[str, Any]:
        return self[host]


def declaration(host: str, connections: int | None) -> Declaration:
    app: dict[str, Any] = {"name": "shop", "database": {"max_connections": connections}}
    return Declaration(host, [app], {}, [])


@pytest.mark.parametrize(("connections", "hosts"), [(100, 3), (None, 1)])
def test_a_limited_play_leaves_connections_to_the_hosts_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connections: int | None, hosts: int
) -> None:
    asked: list[list[str]] = []

    def declarations(names: list[str], *_: Any) -> list[Declaration]:
        asked.append(names)
        return [declaration(name, connections) for name in names]

    monkeypatch.setattr(fleetplan, "declarations", declarations)
    hostvars = Hostvars(
        {"a": {"headcount_apps": []}, "b": {"headcount_apps": []}, "c": {"headcount_apps": []}, "lb": {}}
    )
    variables = {"hostvars": hostvars, "groups": {"all": list(hostvars)}}
    planner = fleetplan.FleetPlanner(variables, None, runs.begin(tmp_path), "rollout", True, print)
    assert planner._fleet({"a": declaration("a", connections)}) == {"shop": hosts}
    assert asked == ([["b", "c"]] if connections else [])


class TestLoadHosts:
    """Where the load of the coming trials is made, other than on the apps' own hosts."""

    def test_by_name_with_the_most_files_of_what_will_be_tried(self) -> None:
        paths = [{"path": "/"}]

        def one(name: str, source: str | None, rate: float) -> dict[str, Any]:
            load: dict[str, Any] = {"paths": paths, "rate": rate, "seconds": 30.0}
            return {"name": name, "load": load if source is None else {**load, "from": source}}

        declared = [one("a", "lg1", 10), one("b", "lg1", 50), one("c", None, 50), one("d", "controller", 1)]
        declared += [one("e", "lg2", 50), one("f", "lg3", 50)]
        declared[-1]["load"]["paths"] = []
        actions = dict.fromkeys("abcdf", "deploy") | {"e": "none"}
        host = HostPlan("web1", apps={name: AppPlan(name, action) for name, action in actions.items()})
        assert fleetplan.load_hosts([host], {"web1": Declaration("web1", declared, {}, [])}) == [
            {"name": "controller", "files": 43},
            {"name": "lg1", "files": 533},
            {"name": "lg3", "files": 0},
        ]
