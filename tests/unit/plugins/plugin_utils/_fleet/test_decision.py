# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The plan of one host, with the real planner: decisions, reasons, drift, and what is printed of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.planner import plan_each
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.types import PlanError, Policy, bare_values
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import decision as hostplan
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.decision import (
    Circumstances,
    HostDecision,
    Known,
)
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output import plantable
from test_choice import FACTS

SECRET = "correct-horse-battery-staple"
VIRGIN: dict[str, Any] = {
    "live": None,
    "intact": False,
    "problems": [],
    "healthy": False,
    "health_detail": "nothing is deployed",
    "leftovers": [],
    "lease": None,
    "measured": None,
    "port_taken": None,
}


def apps(*more: dict[str, Any], **change: Any) -> list[dict[str, Any]]:
    first = {
        "name": "shop",
        "source": {"path": "app"},
        "entry_point": "shop:app",
        "listen": "0.0.0.0:8000",
        "profile": "io",
        "mix": "uniform",
        "environment": {"WHERE": "in-the-cellar"},
        "secrets": {"KEY": SECRET},
        **change,
    }
    found, problems = normalise_apps([first, *more], "web1")
    assert not problems
    return found


def plan(
    states: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    declared: list[dict[str, Any]] | None = None,
    source: str = "s1",
    installed: tuple[str, ...] = (),
    lacking: dict[str, str] | None = None,
    only: tuple[str, ...] = (),
    **how: bool,
) -> HostDecision:
    declared = declared or apps()
    probe = {"facts": facts or FACTS, "apps": states or {"shop": VIRGIN}, "installed": list(installed)}
    names = [app["name"] for app in declared]
    return hostplan.decide_host(
        "web1",
        declared,
        probe,
        Known(
            dict.fromkeys(names, source),
            dict.fromkeys(names, "digest of secrets"),
            {},
            "192.0.2.7",
            lacking=lacking or {},
        ),
        Circumstances(dict.fromkeys(names, 3), [], only=only, **how),
        Policy(),
        plan_each,
    )


def deployed(host: HostDecision | None = None, **change: Any) -> dict[str, Any]:
    """The states of a host after what `host` planned was promoted."""
    host = host or plan()
    states = {}
    for name, app in host.apps.items():
        live = {
            "generation": 1,
            "release": "abc",
            "digest": app.digest,
            "source_id": app.source_id,
            "facts": app.planning["facts"],
            "plan": copy.deepcopy(app.plan),
            "listen": app.listen,
        }
        states[name] = {**VIRGIN, "live": live, "intact": True, "healthy": True, "health_detail": "fine", **change}
    return states


SHAPE = plantable.shape_words(bare_values(plan().apps["shop"].plan))


@pytest.mark.parametrize(
    ("wanted", "there", "told"),
    [
        ("", "", ""),
        ("127.0.0.1:9788", "127.0.0.1:9788", ""),
        ("127.0.0.1:9788", None, ""),
        ("127.0.0.1:9788", "", "is to listen on 127.0.0.1:9788, but is not there"),
        ("0.0.0.0:9788", "127.0.0.1:9788", "is to listen on 0.0.0.0:9788, but listens on 127.0.0.1:9788"),
        ("", "127.0.0.1:9788", "listens on 127.0.0.1:9788, but none is declared"),
        ("127.0.0.1:9788", "stopped", "does not run: somebody stopped it, or it failed"),
        ("", "stopped", "does not run, and none is declared"),
        (
            "127.0.0.1:9788",
            "masked",
            "is masked, which somebody decided, and is left so: `systemctl unmask headcount-exporter.service`, or "
            "headcount_exporter: false",
        ),
        ("", "masked", ""),
        ("127.0.0.1:9788", "changed", "its unit was edited, or is that of another version of Headcount"),
    ],
)
def test_an_exporter_that_is_not_as_declared_is_drift(wanted: str, there: str | None, told: str) -> None:
    probe = {"facts": FACTS, "apps": {}, **({} if there is None else {"exporter": there})}
    known = Known({}, {}, {}, exporter=wanted)
    host = hostplan.decide_host("web1", [], probe, known, Circumstances({}, []), Policy(), plan_each)
    assert host.exporter == told
    assert plantable.drift_items(host) == ([("", "exporter", told)] if told else [])
    assert HostDecision.from_dict(host.to_dict()) == host


def test_what_the_former_service_holds_is_planned_with_until_the_app_is_live() -> None:
    held = {"unit": "old.service", "slots": 5000, "words": "5000 sync workers", "hub": False}
    former = {"unit": "old.service", "way": "joined", "words": "takes it over", "problem": "", "held": held}
    first = plan({"shop": {**VIRGIN, "former": former}}).apps["shop"]
    assert first.planning["facts"]["former"] == {"shop": held}
    assert any("old.service holds 5000 (5000 sync workers)" in one for one in first.plan["warnings"])
    assert first.digest == plan().apps["shop"].digest
    states = deployed()
    states["shop"] = {**states["shop"], "former": former}
    later = plan(states, declared=apps(concurrency=7)).apps["shop"]
    assert "former" not in later.planning["facts"]


def with_others(*names: str) -> dict[str, Any]:
    named = [{"name": name, "mib": 400, "promised_mib": 0, "limit_mib": None} for name in names]
    return {**FACTS, "memory": {**FACTS["memory"], "others_mib": 12 + 400 * len(named), "neighbours": named}}


def test_what_was_taken_over_has_left_and_is_no_drift() -> None:
    """Its memory was not there when the app was planned for; a later plan has it."""
    first = plan(facts=with_others("old.service", "postgresql.service"))
    assert "old.service" in str(first.apps["shop"].plan)
    states = deployed(first, retired=["old.service"])
    now = plan(states, with_others("postgresql.service"))
    assert (now.apps["shop"].action, now.apps["shop"].drift, now.apps["shop"].notes) == ("none", [], [])
    changed = plan(states, with_others("postgresql.service"), source="s2").apps["shop"]
    assert changed.reasons == ["its source changed", "the host's memory changed"]
    assert "old.service" not in str(changed.plan)
    assert changed.digest == plan(facts=with_others("postgresql.service"), source="s2").apps["shop"].digest
    again = plan(deployed(HostDecision("web1", apps={"shop": changed})), with_others("postgresql.service"), source="s2")
    assert (again.apps["shop"].action, again.apps["shop"].drift) == ("none", [])
    states = deployed(plan(facts=with_others("old.service")), retired=["old.service"])
    assert plan(states, with_others()).apps["shop"].drift == []
    assert "old.service" not in str(plan(states, with_others(), source="s2").apps["shop"].plan)
    assert plan(deployed(plan(facts=with_others("old.service"))), with_others()).apps["shop"].drift[0] == (
        "hardware: memory that others use 412 -> 0 MiB"
    )


class TestWithoutProbe:
    """Hosts that brought no answer are told apart."""

    @pytest.mark.parametrize(
        ("probe", "status", "cause"),
        [
            (None, "failed", "was not probed"),
            (
                {
                    "unreachable": True,
                    "msg": "Task failed: Data could not be sent to remote host. Make sure this host can be reached "
                    "over ssh: ssh: connect to host 192.0.2.7 port 22: Connection timed out\r\n",
                },
                "unreachable",
                "could not be reached: ssh: connect to host 192.0.2.7 port 22: Connection timed out (how long Ansible "
                "waits: ANSIBLE_TIMEOUT, or timeout in ansible.cfg; 10 s unless it is set)",
            ),
            (
                {"unreachable": True, "msg": "Failed to connect to the host via ssh: Permission denied (publickey)."},
                "unreachable",
                "could not be reached: Permission denied (publickey)",
            ),
            (
                {
                    "unreachable": True,
                    "msg": 'Data could not be sent to remote host "192.0.2.7". '
                    "Make sure this host can be reached over ssh: ",
                },
                "unreachable",
                "could not be reached: it does not answer",
            ),
            ({"failed": True, "msg": "no such slice"}, "failed", "the probe failed: no such slice"),
            (
                {
                    "failed": True,
                    "msg": "MODULE FAILURE\nSee stdout/stderr for the exact error",
                    "module_stderr": "Traceback\n  File x\nModuleNotFoundError: No module named 'x'\n",
                },
                "failed",
                "the probe failed: ModuleNotFoundError: No module named 'x'",
            ),
            (
                {
                    "failed": True,
                    "msg": "Task failed: Module failed: ansible-core requires a minimum of Python version 3.8. Current"
                    " version: 3.6.9 (default, Mar 10 2023, 16:46:00) [GCC 8.4.0]",
                },
                "failed",
                "Ansible runs on Python 3.6.9 on this host, and 3.9 or later is needed; fix: install one, and let"
                " ansible_python_interpreter name it",
            ),
            (
                {
                    "failed": True,
                    "msg": "MODULE FAILURE",
                    "module_stderr": "Traceback (most recent call last):\n  File ...\nImportError: Headcount needs"
                    " Python 3.9 or later, and this is Python 3.8.10\n",
                },
                "failed",
                "Ansible runs on Python 3.8.10 on this host, and 3.9 or later is needed; fix: install one, and let"
                " ansible_python_interpreter name it",
            ),
            (
                {
                    "failed": True,
                    "msg": "MODULE FAILURE",
                    "module_stderr": "  File ...\nSyntaxError: future feature annotations is not defined\n",
                },
                "failed",
                "Ansible runs on Python 3.6 or older on this host, and 3.9 or later is needed; fix: install one, and"
                " let ansible_python_interpreter name it",
            ),
        ],
    )
    def test_a_host(self, probe: dict[str, Any] | None, status: str, cause: str) -> None:
        found = hostplan.without_probe("web1", probe)
        assert found is not None
        assert (found.status, found.cause) == (status, cause)
        assert found.pending == []

    def test_a_probe_that_answered(self) -> None:
        assert hostplan.without_probe("web1", {"facts": FACTS, "apps": {}}) is None


class TestPlan:
    """What is found on a host becomes what is done about it."""

    def test_a_virgin_host(self) -> None:
        found = plan()
        app = found.apps["shop"]
        assert (app.action, app.reasons, found.pending) == ("deploy", ["first deployment"], ["shop"])
        assert app.plan is not None
        assert app.plan["settings"]["worker_class"]["value"] == "gevent"
        assert app.planning["fleet"] == {"shop": 3}

    def test_no_secret_is_in_it(self) -> None:
        text = repr(plan().to_dict())
        assert SECRET not in text
        assert "in-the-cellar" not in text

    def test_a_converged_host_is_not_planned_again(self) -> None:
        found = plan(deployed())
        assert found.pending == []
        assert found.apps["shop"].planning == {}
        assert found.apps["shop"].drift == []

    def test_noise_changes_nothing(self) -> None:
        noisy = {**FACTS, "memory": {"effective_mib": 1001, "limited_by": "MemTotal"}}
        assert plan(deployed(), facts=noisy).pending == []

    def test_other_code(self) -> None:
        app = plan(deployed(), source="s2").apps["shop"]
        assert (app.action, app.reasons) == ("deploy", ["its source changed"])
        assert app.changes == {}
        assert app.drift == ["source: generation 1 has other code than what is declared"]

    def test_less_hardware(self) -> None:
        smaller = {
            **FACTS,
            "cores": {**FACTS["cores"], "effective": 1.0},
            "memory": {"effective_mib": 512, "limited_by": "MemTotal"},
        }
        for retune in (False, True):
            app = plan(deployed(), facts=smaller, retune=retune).apps["shop"]
            assert (app.action, app.reasons) == (
                "deploy",
                ["cores 2 -> 1 (cpuset)", "memory 1024 -> 512 MiB (MemTotal)"],
            )
            assert app.changes["workers"] == [2, 1]
        assert "hardware: cores 2 -> 1 (cpuset)" in app.drift
        assert "plan: workers 2 -> 1" in app.drift

    def test_a_plan_that_cannot_be(self) -> None:
        found = plan(facts={**FACTS, "memory": {"effective_mib": 24, "limited_by": "MemTotal"}})
        assert (found.status, found.pending) == ("ok", [])
        assert found.causes[0].startswith("shop: plan: shop: ")
        assert found.apps["shop"].drift[0].startswith("plan: shop: ")

    def test_an_app_whose_source_cannot_be_had_leaves_the_others_alone(self) -> None:
        other = {"name": "api", "source": {"path": "api"}, "entry_point": "api:app", "listen": "0.0.0.0:8001"}
        lacking = {"api": "source: api is not there"}
        found = plan({"shop": VIRGIN, "api": VIRGIN}, declared=apps(other), lacking=lacking)
        assert (found.status, found.pending) == ("ok", ["shop"])
        assert found.refused == lacking
        assert found.apps["api"].drift == ["source: api is not there"]

    def test_a_mistake_in_the_part_of_one_app_refuses_that_one_alone(self) -> None:
        """The others have the plans that they keep once it is put right."""
        api = {"name": "api", "source": {"path": "api"}, "entry_point": "api:app", "listen": "0.0.0.0:8001"}
        greedy = {**api, "processes": {"w": {"run": "sleep 1000", "instances": 4, "memory_mib": 300}}}
        states = {"shop": VIRGIN, "api": VIRGIN}
        found, right = plan(states, declared=apps(greedy)), plan(states, declared=apps(api))
        assert (found.status, found.pending) == ("ok", ["shop"])
        assert list(found.refused) == ["api"]
        assert found.refused["api"].startswith("plan: api: processes (w) is 1200 MiB: ")
        assert found.apps["shop"].plan == right.apps["shop"].plan

    def test_parts_that_are_more_than_the_host_refuse_all(self) -> None:
        api = {"name": "api", "source": {"path": "api"}, "entry_point": "api:app", "listen": "0.0.0.0:8001"}
        found = plan({"shop": VIRGIN, "api": VIRGIN}, declared=apps({**api, "share": {"memory_mib": 5000}}))
        assert list(found.refused) == ["shop", "api"]

    def test_what_is_not_intact_and_has_no_plan_any_more_is_refused(self) -> None:
        def impossible(**_: Any) -> Any:
            raise PlanError("shop", "memory", "24 MiB", "too little", "more", "give it more")

        known = Known({"shop": "s1"}, {"shop": "digest of secrets"}, {})
        probe = {"facts": FACTS, "apps": deployed(problems=["/x was edited"]), "installed": []}
        run = Circumstances({"shop": 3}, [])
        found = hostplan.decide_host("web1", apps(), probe, known, run, Policy(), impossible)
        assert found.causes == ["shop: plan: shop: memory is 24 MiB: too little. Allowed: more. Fix: give it more."]

    def test_something_in_the_way_of_one_app_leaves_the_others_alone(self) -> None:
        other = {"name": "api", "source": {"path": "api"}, "entry_point": "api:app", "listen": "0.0.0.0:8001"}
        states = {"shop": VIRGIN, "api": {**VIRGIN, "clashes": ["api.socket is somebody else's"]}}
        found = plan(states, declared=apps(other))
        assert (found.status, found.pending) == ("ok", ["shop"])
        assert found.causes == ["api: api.socket is somebody else's"]

    def test_an_app_that_another_run_is_at_work_on_stops_its_host(self) -> None:
        """A second trial beside the other run's would disturb it."""
        other = {"name": "api", "source": {"path": "api"}, "entry_point": "api:app", "listen": "0.0.0.0:8001"}
        lease = {"run": {"id": "r1", "user": "u", "controller": "c", "started": "t"}, "step": "weigh"}
        found = plan({"shop": VIRGIN, "api": {**VIRGIN, "lease": lease}}, declared=apps(other))
        assert (found.status, found.pending) == ("failed", [])
        assert str(found.cause).startswith("api: held by run r1")

    def test_a_run_that_is_limited_to_one_app_does_not_fail_for_the_run_of_another_one(self) -> None:
        other = {"name": "api", "source": {"path": "api"}, "entry_point": "api:app", "listen": "0.0.0.0:8001"}
        lease = {"run": {"id": "r1", "user": "u", "controller": "c", "started": "t"}, "step": "weigh"}
        states = {"shop": VIRGIN, "api": {**VIRGIN, "lease": lease}}
        found = plan(states, declared=apps(other), only=("shop",))
        assert (found.status, found.pending, found.causes) == ("ok", ["shop"], [])
        assert found.apps["shop"].warnings == [
            "beside it api is held by run r1 of u on c since t (last step: weigh); wait for that run to end, else both "
            "trials may disturb each other"
        ]
        assert found.apps["api"].warnings == []
        assert plan(states, declared=apps(other), only=("api",)).status == "failed"

    def test_a_run_that_is_limited_to_one_app_plans_with_all_and_changes_no_other(self) -> None:
        other = {"name": "api", "source": {"path": "api"}, "entry_point": "api:app", "listen": "0.0.0.0:8001"}
        states = {"shop": VIRGIN, "api": VIRGIN}
        whole, lacking = plan(states, declared=apps(other)), {"api": "source: api is not there"}
        found = plan(states, declared=apps(other), lacking=lacking, only=("shop",), installed=("old",))
        assert (found.status, found.pending, found.causes) == ("ok", ["shop"], [])
        assert found.apps["shop"].plan == whole.apps["shop"].plan
        assert plantable.drift_items(found) == [("shop", "live", "nothing is live")]
        assert plantable.fleet_text([found]).splitlines()[-1] == (
            "  api: nothing is live: left out (headcount_app names others; otherwise it would be refused: "
            "source: api is not there)"
        )
        ready = plan(deployed(whole), declared=apps(other), only=("shop",))
        assert ready.apps["api"].notes == ["headcount_app names others; there would be nothing to do"]

    def test_two_apps_share_the_host(self) -> None:
        other = {"name": "api", "source": {"path": "api"}, "entry_point": "api:app", "listen": "0.0.0.0:8001"}
        found = plan({"shop": VIRGIN, "api": VIRGIN}, declared=apps(other))
        assert found.pending == ["shop", "api"]
        alone = plan().apps["shop"].plan
        shared = found.apps["shop"].plan
        assert alone is not None
        assert shared is not None
        assert shared["budget_mib"] < alone["budget_mib"]

    def test_the_next_run_after_both_apps_were_promoted(self) -> None:
        other = {"name": "api", "source": {"path": "api"}, "entry_point": "api:app", "listen": "0.0.0.0:8001"}
        first = plan({"shop": VIRGIN, "api": VIRGIN}, declared=apps(other))
        assert plan(deployed(first), declared=apps(other)).pending == []

    def test_comes_back_from_the_notes(self) -> None:
        found = plan(deployed(), source="s2")
        assert HostDecision.from_dict(found.to_dict()) == found

    def test_drift_of_everything_else(self) -> None:
        states = deployed(
            problems=["/x was edited"], healthy=False, health_detail="it is dead", leftovers=["a candidate"]
        )
        assert plan(states).apps["shop"].drift == [
            "files: /x was edited",
            "health: it is dead",
            "left over: a candidate",
        ]

    def test_apps_that_are_not_declared(self) -> None:
        found = plan(deployed(), installed=("shop", "old"))
        assert plantable.drift_items(found) == [("old", "undeclared", "on the host, but not declared")]


class TestTakenBack:
    """What the guard went back from is not rolled out again, whatever its plan would be by now."""

    WHY = "the guard took generation 4 of this release back at 2026-11-26T04:33:12Z: users were served worse"

    def entry(self, source: str = "s2", release: str = "bad", **change: Any) -> dict[str, Any]:
        digest = plan(source=source).apps["shop"].digest
        cause = "users were served worse"
        told = {"time": "2026-11-26T04:33:12.345Z", "generation": 4, "release": release, "cause": cause}
        return {**told, "source_id": source, "digest": digest, **change}

    @pytest.mark.parametrize("memory", [1024, 700])
    def test_the_same_release_is_refused_with_the_guards_words_and_the_way_on(self, memory: int) -> None:
        facts = {**FACTS, "memory": {"effective_mib": memory, "limited_by": "MemTotal"}}
        found = plan(deployed(taken_back=[self.entry()]), source="s2", facts=facts)
        way = "fix: roll out another release, or try this one again with -e headcount_retry=true"
        assert (found.pending, found.causes) == ([], [f"shop: {self.WHY}; {way}"])
        assert f"refused ({self.WHY}; {way})" in plantable.fleet_text([found])
        assert ("shop", "guard", self.WHY) in plantable.drift_items(found)
        assert HostDecision.from_dict(found.to_dict()) == found

    def test_another_release_goes_its_way(self) -> None:
        found = plan(deployed(taken_back=[self.entry()]), source="s3")
        assert found.pending == ["shop"]
        assert found.apps["shop"].taken_back == {"bad": self.WHY}
        assert not any(kind == "guard" for _, kind, _ in plantable.drift_items(found))

    def test_what_is_live_and_as_declared_is_left_alone(self) -> None:
        app = plan(deployed(taken_back=[self.entry()])).apps["shop"]
        assert (app.action, app.drift) == ("none", [])

    def test_a_person_may_say_so(self) -> None:
        found = plan(deployed(taken_back=[self.entry()]), source="s2", retry=True)
        assert (found.pending, found.apps["shop"].taken_back) == (["shop"], {})
        assert found.apps["shop"].notes == [f"{self.WHY}; tried again, as headcount_retry says"]

    def test_where_the_source_was_live_before_the_declaration_is_to_blame(self) -> None:
        """The same code serves well by the declaration before: another one is another try, the same one is not."""
        worse, other = apps(environment={"WHERE": "elsewhere"}), apps(environment={"WHERE": "in-the-attic"})
        entry = self.entry(source="s1", release="abc", digest=plan(declared=worse).apps["shop"].digest)
        states = deployed(taken_back=[entry])
        assert list(plan(states, declared=worse).refused) == ["shop"]
        assert plan(states, declared=other).pending == ["shop"]
        assert plan(states).pending == []
        assert plan(deployed(taken_back=[entry], problems=["/x was edited"])).pending == ["shop"]

    def test_a_plan_alone_that_was_taken_back_is_not_made_again(self) -> None:
        entry = self.entry(source="s1", release="abc")
        smaller = {**FACTS, "memory": {"effective_mib": 512, "limited_by": "MemTotal"}}
        assert list(plan(deployed(taken_back=[entry]), facts=smaller).refused) == ["shop"]
        assert plan(deployed(taken_back=[entry], problems=["/x was edited"])).pending == ["shop"]


class TestText:
    """What a person reads before anything is done."""

    def test_a_converged_fleet_is_a_line_for_all_that_are_alike(self) -> None:
        hosts = [plan(deployed()), plan(deployed()), plan(deployed())]
        for index, host in enumerate(hosts):
            host.host = f"web{index}"
        assert plantable.fleet_text(hosts).splitlines() == [
            "3 hosts: 0 to be changed, 3 as planned",
            f"web0, web1, web2: shop: generation 1, {SHAPE}: nothing to do",
        ]

    def test_a_virgin_host_shows_every_setting_with_its_reason(self) -> None:
        lines = plantable.fleet_text([plan()]).splitlines()
        assert lines[0] == "1 host: 1 to be changed"
        assert lines[1] == "web1: 2 cores (cpuset), 1024 MiB (MemTotal), Debian 13, Python 3.13"
        assert lines[2] == "  shop: nothing is live: to be deployed (first deployment)"
        assert any(line.split()[:2] == ["workers", "2"] for line in lines)

    def test_new_code_alone_changes_no_setting(self) -> None:
        lines = plantable.fleet_text([plan(deployed(), source="s2")]).splitlines()
        assert lines[2:] == [
            f"  shop: generation 1, {SHAPE}: to be deployed (its source changed)",
            "    every setting stays as it is",
        ]

    def test_changed_settings_stand_beside_the_current_ones(self) -> None:
        smaller = {**FACTS, "cores": {**FACTS["cores"], "effective": 1.0}}
        lines = plantable.fleet_text([plan(deployed(), facts=smaller)]).splitlines()
        assert any(line.split()[:4] == ["*", "workers", "2", "1"] for line in lines)
        assert not any(line.split()[:1] == ["timeout"] for line in lines)

    def test_the_whole_table_on_request(self) -> None:
        text = plantable.fleet_text([plan(deployed())], whole=True, mode="plan")
        assert text.startswith("1 host: 0 would change, 1 as planned\n")
        assert "graceful_timeout (seconds)" in text

    def test_hosts_without_a_plan(self) -> None:
        away = HostDecision("web2", "unreachable", "could not be reached: no route")
        lines = plantable.fleet_text([away, plan(facts={**FACTS, "memory": {"effective_mib": 24}})]).splitlines()
        assert lines[0] == "2 hosts: 0 to be changed, 1 unreachable, 1 with refused apps"
        assert lines[1] == "web2: could not be reached: no route"
        assert lines[3].startswith("  shop: nothing is live: refused (plan: shop: ")

    def test_drift_as_a_table(self) -> None:
        away = HostDecision("web2", "unreachable", "could not be reached: no route")
        assert plantable.drift_text([plan(deployed(), source="s2"), away]).splitlines() == [
            "host  app   what         difference",
            "----  ----  -----------  -------------------------------------------------",
            "web1  shop  source       generation 1 has other code than what is declared",
            "web2        unreachable  could not be reached: no route",
            "2 hosts: 2 drifted",
        ]
        assert plantable.drift_text([plan(deployed())]) == "1 host: no drift"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"worker_class": "sync", "workers": 3, "threads": 1}, "sync 3"),
        ({"worker_class": "gthread", "workers": 2, "threads": 16}, "gthread 2 x 16"),
        ({"worker_class": "gevent", "workers": 2, "worker_connections": 100}, "gevent 2 x 100"),
        ({}, ""),
    ],
)
def test_the_shape_of_a_plan(settings: dict[str, Any], words: str) -> None:
    assert plantable.shape_words(settings) == words


class TestLeftByHand:
    """What a person went back from is deployed when it is declared still, and that is told as the reason."""

    WORDS = "root@n1 went back from it, generation 2, to generation 1 at 2026-11-26T06:59:01Z"

    def entry(self, source: str = "s2", **change: Any) -> dict[str, Any]:
        digest = plan(source=source).apps["shop"].digest
        told = {"time": "2026-11-26T06:59:01.345Z", "from": 2, "to": 1, "user": "root", "controller": "n1"}
        return {**told, "source_id": source, "digest": digest, **change}

    def test_the_same_code_again_has_the_true_reason_and_a_warning(self) -> None:
        app = plan(deployed(left=[self.entry()]), source="s2").apps["shop"]
        assert app.reasons == [f"it is what is declared, although {self.WORDS}"]
        assert app.warnings == [
            f"{self.WORDS}; this brings it again: to stay there, declare that code, or leave the app out "
            "(headcount_app)"
        ]

    def test_other_code_is_another_source(self) -> None:
        app = plan(deployed(left=[self.entry()]), source="s3").apps["shop"]
        assert (app.reasons, app.warnings) == (["its source changed"], [])

    def test_what_is_live_and_declared_is_left_alone(self) -> None:
        app = plan(deployed(left=[self.entry()])).apps["shop"]
        assert (app.action, app.warnings) == ("none", [])

    def test_of_the_same_code_the_declaration_counts(self) -> None:
        worse, other = apps(environment={"WHERE": "elsewhere"}), apps(environment={"WHERE": "in-the-attic"})
        states = deployed(left=[self.entry("s1", digest=plan(declared=worse).apps["shop"].digest)])
        assert plan(states, declared=worse).apps["shop"].reasons == [f"it is what is declared, although {self.WORDS}"]
        assert plan(states, declared=other).apps["shop"].reasons == ["its declaration changed"]


class TestLosing:
    """Files that users would lose with the live generation are told before another one takes its place."""

    def test_where_it_is_to_be_deployed_and_only_there(self) -> None:
        states = deployed(losing="4 files are lost")
        assert plan(states, source="s2").apps["shop"].warnings == ["4 files are lost"]
        assert plan(states).apps["shop"].warnings == []


class TestClosed:
    """What somebody stopped is opened again by a run that touches it: it is said before."""

    def test_it_is_a_warning_of_what_is_healed_or_deployed(self) -> None:
        states = deployed(closed=True, healthy=False, health_detail="shop.socket is inactive")
        opens = "it was stopped on the host, and this opens it to users again"
        for source, action in (("s1", "heal"), ("s2", "deploy")):
            app = plan(states, source=source).apps["shop"]
            assert app.action == action
            assert app.warnings[0].startswith(opens)
        assert plan(deployed(), source="s2").apps["shop"].warnings == []


@pytest.mark.parametrize(
    ("more", "prefix"),
    [
        ({}, ""),
        ({"environment": {"SCRIPT_NAME": "/shop/"}}, "/shop"),
    ],
)
def test_below_which_path_an_app_answers_is_told_where_it_is_found(more: dict[str, Any], prefix: str) -> None:
    below = {"health": f"{prefix}/", "load": {"paths": [f"{prefix}/"]}}
    assert plan(declared=apps(**more, **below)).apps["shop"].prefix == prefix
