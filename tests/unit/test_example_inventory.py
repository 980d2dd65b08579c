# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The example of a production fleet is sound: every host of it passes what preflight checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import normalise as declaration
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import declared as _declared

EXAMPLE = Path(__file__).resolve().parents[2] / "inventories/production-example"
HOSTS = ["web1", "web2", "web3", "web4"]


@pytest.fixture(scope="module")
def hosts() -> dict[str, declaration.Declaration]:
    """What is declared for each host of the example, by its name."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(EXAMPLE)])
    manager = VariableManager(loader=loader, inventory=inventory)
    found = {}
    for host in inventory.get_hosts():
        variables: dict[str, Any] = manager.get_vars(host=host)
        found[host.name] = _declared.declaration(variables, Templar(loader=loader, variables=variables))
    return found


def test_every_host_is_sound(hosts: dict[str, declaration.Declaration]) -> None:
    assert sorted(hosts) == HOSTS
    problems = [str(problem) for host in hosts.values() for problem in host.problems]
    assert problems == []
    assert declaration.fleet_problems(list(hosts.values()), HOSTS) == []
    assert declaration.fleet_counts(hosts.values()) == {"httpbin": 4, "shop": 4}


def test_small_hosts_differ_only_in_what_their_group_says(hosts: dict[str, declaration.Declaration]) -> None:
    small, large = hosts["web1"].apps[0], hosts["web3"].apps[0]
    assert {key for key in small if small[key] != large[key]} == {"concurrency", "limits"}
    assert (small["concurrency"], large["concurrency"]) == (50, 200)
    assert (small["limits"]["p50_ms"], small["limits"]["p95_ms"]) == (80.0, 300.0)


def test_the_secrets_of_the_example_come_from_its_vault(hosts: dict[str, declaration.Declaration]) -> None:
    shop = hosts["web1"].apps[0]
    assert set(shop["secrets"]) == {"DATABASE_URL", "SHOP_SIGNING_KEY"}
    assert declaration.warnings_for(App.from_dict(shop)) == []
    vault = (EXAMPLE / "group_vars/all/vault.yml").read_text(encoding="utf-8")
    assert all(value in vault for value in shop["secrets"].values())
