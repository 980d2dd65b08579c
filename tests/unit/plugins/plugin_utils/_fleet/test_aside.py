# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Apps that the command line gives: what it drops is refused, what it leaves aside on hosts is told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.aside import dropped, gives_apps, left_aside
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.decision import HostDecision

FILES: dict[str, Any] = {
    "a.yml": {"headcount_apps": [{"name": "a"}], "vault_a": "x"},
    "b.yml": {"headcount_apps": [{"name": "b"}]},
    "same.yml": {"headcount_apps": [{"name": "a"}]},
    "secrets.yml": {"vault_b": "y"},
    "words.yml": "no variables",
}


def test_two_files_of_apps_are_refused_by_name() -> None:
    found = dropped(["@a.yml", "headcount_app=b", "@b.yml"], FILES.__getitem__, ["web1", "web2"])
    assert [problem.host for problem in found] == ["web1", "web2"]
    assert found[0].text == (
        "headcount_apps is given by -e @a.yml and by -e @b.yml, of which Ansible takes the last alone, and drops the "
        "others: allowed is one list of all apps of a host; fix: put them into one file, or into the inventory's "
        "group_vars, and call it with that alone"
    )


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["@a.yml"],
        ["@a.yml", "@secrets.yml", "@words.yml", "headcount_app=a"],
        ["@a.yml", "@same.yml"],
        ["@gone.yml"],
    ],
)
def test_one_list_of_apps_drops_nothing(words: list[str]) -> None:
    assert dropped(words, FILES.__getitem__, ["web1"]) == []


def test_overrides_in_words_count_too() -> None:
    words = ['{"headcount_app_overrides": {"a": {}}}', '{"headcount_app_overrides": {"b": {}}}', "{broken"]
    assert [problem.parts for problem in dropped(words, FILES.__getitem__, ["web1"])] == [("headcount_app_overrides",)]


def test_what_hosts_have_beside_is_told() -> None:
    hosts = [
        HostDecision("web1", undeclared=["blog"], exporter="listens on 127.0.0.1:9788, but none is declared"),
        HostDecision("web2", undeclared=["blog"]),
        HostDecision("web3", exporter="its unit was edited"),
    ]
    fix = "what -e gives takes the place of what the inventory says: declare all of a host in one place"
    assert left_aside(hosts) == [
        f"web1, web2: blog there is not declared in this run, and is left as it is; {fix}",
        f"web1: headcount_exporter is not declared in this run, so that its exporter is removed; {fix}",
    ]
    assert gives_apps(["@secrets.yml", "@a.yml"], FILES.__getitem__)
    assert not gives_apps(["@secrets.yml", "headcount_app=a"], FILES.__getitem__)
