# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What users ask is counted, shown on the host, and told to Prometheus; nothing of it asks the app."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from headcount_scenarios import Machine, Scenario, wait_for

PAGE = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9788/metrics').read().decode())"


@pytest.fixture(params=["small", "large"])
def machine(scenario: Scenario, request: pytest.FixtureRequest) -> Machine:
    return scenario.machines[str(request.param)]


def counted(machine: Machine) -> dict[str, Any]:
    """What the recorder of the live instance has counted."""
    (instance,) = json.loads(machine.out("headcount top shop -n 1 --json"))["shop"]["instances"]
    found: dict[str, Any] = instance["requests"]
    return found


def sample(machine: Machine, name: str) -> float:
    """A sample of the exporter's page, which may be a second old, by its name and labels."""
    page = machine.out(f'python3 -c "{PAGE}"')
    match = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    assert match, page
    return float(match[1])


def test_each_request_is_counted_once(machine: Machine) -> None:
    before = counted(machine)
    asked = [machine.get("/version").status for _ in range(20)] + [machine.get("/nowhere").status for _ in range(3)]
    assert asked == [200] * 20 + [404] * 3
    wait_for("the last one to end", lambda: counted(machine)["in_flight"] == 0)
    after = counted(machine)
    assert after["begun"] - before["begun"] == 23
    assert after["outcomes"]["2xx"] - before["outcomes"]["2xx"] == 20
    assert after["outcomes"]["4xx"] - before["outcomes"]["4xx"] == 3
    assert after["lost"] == 0


def test_prometheus_is_told_the_same(machine: Machine) -> None:
    labels = 'app="shop",generation="1"'
    total = f'headcount_requests_total{{{labels},outcome="2xx"}}'
    wait_for("a new page", lambda: sample(machine, total) == counted(machine)["outcomes"]["2xx"] > 0)
    assert sample(machine, 'headcount_app_up{app="shop"}') == 1
    assert sample(machine, f"headcount_slots{{{labels}}}") > 0
    assert sample(machine, f"headcount_worker_pss_max_bytes{{{labels}}}") > 5 * 2**20, "it may read the workers' memory"
    assert sample(machine, 'headcount_accept_queue_connections{app="shop"}') == 0
    assert sample(machine, 'headcount_drift{app="shop"}') == 0


def test_the_exporter_may_read_and_no_more(machine: Machine) -> None:
    pid = machine.out("systemctl show -p MainPID --value headcount-exporter.service").strip()
    status = machine.out(f"cat /proc/{pid}/status")
    assert "CapEff:\t0000000000080004" in status, "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"
    assert "NoNewPrivs:\t1" in status
    assert machine.code(f"nsenter -t {pid} -m touch /var/lib/headcount/written") != 0


def test_what_is_counted_is_the_apps_own_and_small(machine: Machine) -> None:
    mode, owner, size = machine.out("stat -c '%a %U %s' /run/headcount-instances/shop-1/recorder").split()
    assert (mode, owner) == ("400", "hc-shop")
    assert int(size) < 16384
