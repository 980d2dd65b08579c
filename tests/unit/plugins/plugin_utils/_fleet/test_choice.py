# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a run does about an app, and why."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.types import plan_changes
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import choice

FACTS: dict[str, Any] = {
    "cores": {"effective": 2.0, "limited_by": "cpuset", "physical": 2, "logical": 2},
    "memory": {"effective_mib": 1024, "limited_by": "MemTotal"},
    "python": {"version": "3.13"},
    "platform": {"machine": "x86_64", "libc": "glibc 2.41"},
    "os": {"id": "debian", "version_id": "13"},
    "nofile_max": 1048576,
    "somaxconn": 4096,
}
DECLARED = {"name": "shop", "source": {"path": "app"}, "entry_point": "shop:app", "listen": "0.0.0.0:8000"}


def app(**more: Any) -> dict[str, Any]:
    apps, problems = normalise_apps([{**DECLARED, **more}], "web1")
    assert not problems
    return apps[0]


def parts(**change: Any) -> dict[str, str]:
    arguments: dict[str, Any] = {
        "app": app(),
        "others": [],
        "facts": FACTS,
        "source_id": "s1",
        "secrets": "",
        "hosts": 1,
        "policy": {"rollout_headroom": True},
        "planner": "1",
    }
    return choice.digest_parts(**{**arguments, **change})


class TestDigestParts:
    """A change is named by its kind, and what does not count changes nothing."""

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({}, []),
            ({"app": app(concurrency=5)}, ["declared"]),
            ({"app": app(source={"path": "elsewhere"})}, []),
            ({"source_id": "s2"}, ["source"]),
            ({"secrets": "x"}, ["secrets"]),
            ({"facts": {**FACTS, "cores": {**FACTS["cores"], "effective": 1.0}}}, ["cores"]),
            ({"facts": {**FACTS, "memory": {"effective_mib": 512}}}, ["memory"]),
            ({"facts": {**FACTS, "kernel": "7.0", "boot_id": "b", "disk_free_mib": 3}}, []),
            ({"facts": {**FACTS, "python": {"version": "3.14"}}}, ["platform"]),
            ({"facts": {**FACTS, "somaxconn": 128}}, ["limits"]),
            ({"hosts": 7}, []),
            ({"others": [app(name="other", listen="0.0.0.0:1")]}, ["neighbours"]),
            ({"policy": {"rollout_headroom": False}}, ["policy"]),
            ({"planner": "2"}, ["planner"]),
        ],
    )
    def test_a_change(self, change: dict[str, Any], expected: list[str]) -> None:
        assert choice.changed_parts(parts(), parts(**change)) == expected

    def test_the_fleet_counts_where_a_database_is_shared(self) -> None:
        shared = app(database={"max_connections": 100})
        assert choice.changed_parts(parts(app=shared), parts(app=shared, hosts=7)) == ["fleet"]

    def test_nothing_is_known_of_before(self) -> None:
        assert set(choice.changed_parts(None, parts())) == set(parts())


def state(**change: Any) -> dict[str, Any]:
    live = {"generation": 3}
    return {"live": live, "intact": True, "problems": [], "healthy": True, "leftovers": [], "lease": None, **change}


LEASE = {
    "run": {"id": "r1", "user": "ada", "controller": "laptop", "started": "2026-11-22T10:00:00Z"},
    "step": "trial",
    "stale": None,
}
HELD = "held by run r1 of ada on laptop since 2026-11-22T10:00:00Z (last step: trial); wait for that run to end"
CORES = ["cores 2 -> 1 (cpuset)"]


class TestChoose:
    """What is done about an app, with the reason as it is printed."""

    @pytest.mark.parametrize(
        ("now", "changed", "hardware", "changes", "action", "reasons"),
        [
            (state(), [], [], {}, "none", []),
            (state(live=None), ["declared"], [], {}, "deploy", ["first deployment"]),
            (state(), ["source"], [], {}, "deploy", ["its source changed"]),
            (state(), ["declared", "secrets"], [], {}, "deploy", ["its declaration changed", "a secret changed"]),
            (state(), ["cores"], CORES, {"workers": [2, 1]}, "deploy", CORES),
            (state(), ["cores"], CORES, {}, "none", []),
            (state(), ["planner"], [], {}, "none", []),
            (
                state(),
                ["planner"],
                [],
                {"workers": [2, 1]},
                "deploy",
                ["the rules of the planner changed"],
            ),
            (
                state(),
                ["platform"],
                ["Python 3.11 -> 3.13"],
                {},
                "deploy",
                ["Python 3.11 -> 3.13"],
            ),
            (
                state(problems=["/x was edited", "/y is missing"]),
                [],
                [],
                {},
                "deploy",
                ["not intact: /x was edited (and 1 more)"],
            ),
            (
                state(healthy=False, health_detail="shop.socket is failed"),
                [],
                [],
                {},
                "heal",
                ["not healthy: shop.socket is failed"],
            ),
            (
                state(leftovers=["generation 4 is unfinished"]),
                [],
                [],
                {},
                "heal",
                ["left by a run that was cut short: generation 4 is unfinished"],
            ),
            (
                state(open=["/opt/headcount/shop has mode 0755 instead of 0750"]),
                [],
                [],
                {},
                "heal",
                ["readable by other users of the host: /opt/headcount/shop has mode 0755 instead of 0750"],
            ),
            (state(lease=LEASE, leftovers=["a candidate runs"]), ["source"], [], {}, "refuse", [HELD]),
            (state(lease={**LEASE, "stale": "it expired"}), [], [], {}, "none", []),
            (
                state(live=None, port_taken="listen address 0.0.0.0:80 cannot be taken: Address already in use"),
                [],
                [],
                {},
                "refuse",
                [
                    "listen address 0.0.0.0:80 cannot be taken: Address already in use; free it, "
                    "or declare another `listen`, or name the service that serves the app as `former`"
                ],
            ),
        ],
    )
    def test_in_a_rollout(
        self,
        now: dict[str, Any],
        changed: list[str],
        hardware: list[str],
        changes: dict[str, list[Any]],
        action: str,
        reasons: list[str],
    ) -> None:
        found = choice.choose(now, changed, hardware, changes)
        assert (found.action, found.reasons) == (action, reasons)
        assert found.pending is (action in ("deploy", "heal"))

    def test_a_lease_of_a_run_that_is_gone_holds_nobody_up(self) -> None:
        assert choice.choose(state(lease=LEASE), [], [], {}, gone=["r1"]).action == "none"

    def test_hardware_that_changes_nothing_is_told(self) -> None:
        assert choice.choose(state(), ["cores"], CORES, {}).notes == ["cores 2 -> 1 (cpuset): the plan holds"]

    @pytest.mark.parametrize(
        ("now", "changed", "hardware", "changes", "action", "words"),
        [
            (state(), ["cores"], CORES, {"workers": [2, 1]}, "deploy", CORES),
            (state(), [], [], {"workers": [2, 1]}, "deploy", ["what was measured gives another plan"]),
            (
                state(),
                ["source", "cores"],
                CORES,
                {"workers": [2, 1]},
                "none",
                ["not re-tuned: its source changed since generation 3; site.yml brings both"],
            ),
            (state(live=None), ["source"], [], {}, "none", ["nothing is live yet; site.yml deploys it"]),
        ],
    )
    def test_in_a_retune(
        self,
        now: dict[str, Any],
        changed: list[str],
        hardware: list[str],
        changes: dict[str, list[Any]],
        action: str,
        words: list[str],
    ) -> None:
        found = choice.choose(now, changed, hardware, changes, retune=True)
        assert (found.action, found.reasons or found.notes) == (action, words)


@pytest.mark.parametrize(
    ("action", "taken", "expected"),
    [
        (choice.DEPLOY, None, (choice.DEPLOY, ["first"])),
        (choice.HEAL, "0.0.0.0:8001 is taken", (choice.HEAL, ["first"])),
        (
            choice.DEPLOY,
            "0.0.0.0:8001 is taken",
            (
                choice.REFUSE,
                [
                    "0.0.0.0:8001 is taken; the candidate needs it while it is tried: free it, or declare another "
                    "`load.port`"
                ],
            ),
        ),
    ],
)
def test_a_candidate_whose_port_is_taken(action: str, taken: str | None, expected: tuple[str, list[str]]) -> None:
    found = choice.with_clashes(choice.Choice(action, ["first"]), state(trial_port_taken=taken))
    assert (found.action, found.reasons) == expected


def test_changes_between_plans() -> None:
    live = {"settings": {"workers": {"value": 2}, "timeout": {"value": 30}}}
    planned = {"settings": {"workers": {"value": 1}, "timeout": {"value": 30}, "threads": {"value": 4}}}
    assert plan_changes(live, planned) == {"workers": [2, 1], "threads": [None, 4]}
    assert plan_changes(None, planned)["timeout"] == [None, 30]


@pytest.mark.parametrize(
    ("action", "now", "expected"),
    [
        (choice.DEPLOY, {"clashes": ["a", "b"]}, (choice.REFUSE, ["a; b"], [])),
        (
            choice.DEPLOY,
            {"clashes": ["a"], "port_taken": "p is taken"},
            (choice.REFUSE, ["a; p is taken; free it, or declare another `listen`"], []),
        ),
        (choice.REFUSE, {"clashes": ["a"]}, (choice.REFUSE, ["first; a"], [])),
        (choice.HEAL, {"clashes": ["a"]}, (choice.HEAL, ["first"], ["in its way: a"])),
        (choice.NOTHING, {"clashes": ["a"]}, (choice.NOTHING, ["first"], ["in its way: a"])),
        (choice.DEPLOY, {}, (choice.DEPLOY, ["first"], [])),
    ],
)
def test_what_is_in_the_way_of_a_deployment(
    action: str, now: dict[str, Any], expected: tuple[str, list[str], list[str]]
) -> None:
    found = choice.with_clashes(choice.Choice(action, ["first"]), state(**now))
    assert (found.action, found.reasons, found.notes) == expected


class TestFormer:
    """An app whose address another service has, and that names it."""

    TOLD: ClassVar[dict[str, Any]] = {
        "unit": "old.service",
        "way": "joined",
        "words": "takes 0.0.0.0:80 over from old.service: ...",
        "problem": "",
    }

    def test_the_way_is_told(self) -> None:
        found = choice.choose({"live": None, "former": self.TOLD}, [], [], {})
        assert (found.action, found.notes) == ("deploy", [self.TOLD["words"]])

    def test_what_cannot_be_taken_over_is_refused(self) -> None:
        found = choice.choose({"live": None, "former": {**self.TOLD, "problem": "till.socket is down"}}, [], [], {})
        assert (found.action, found.reasons) == ("refuse", ["former: till.socket is down"])

    def test_somebody_else_who_has_the_address_is_refused(self) -> None:
        told = {**self.TOLD, "way": "beside", "words": "old.service does not listen there"}
        found = choice.choose({"live": None, "former": told, "port_taken": "it is nginx's"}, [], [], {})
        assert found.reasons == [
            "it is nginx's; free it, or declare another `listen`; old.service does not listen there"
        ]
