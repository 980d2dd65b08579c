# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report: rows of evidence, causes, and the table."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.decision import AppDecision, HostDecision
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.outcome import Outcome
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output import report

FACTS: dict[str, Any] = {"cores": {"effective": 2.0}, "memory": {"effective_mib": 1024}}
PLAN: dict[str, Any] = {
    "settings": {
        "worker_class": {"value": "gthread"},
        "workers": {"value": 2},
        "threads": {"value": 16},
        "worker_connections": {"value": 16},
    },
    "inputs": {"profile": {"value": "io", "origin": "measured", "source": "measured: 100 requests"}},
}
VERDICT: dict[str, Any] = {
    "outcome": "pass",
    "cause": "all checks passed",
    "checks": [
        {"name": "p50", "limit": 100},
        {"name": "p95", "limit": 250},
        {"name": "error_rate", "limit": 0.01},
        {"name": "memory_peak", "limit": 368.0},
    ],
    "facts": {"candidate": {"planned": 750, "failures": 3, "p50_ms": 52.25, "p95_ms": 61.0, "p99_ms": None}},
}
EVIDENCE: dict[str, Any] = {
    "memory": {"peak_mib": 88.4, "limit_mib": 460.0, "source": "cgroup v2 memory.peak"},
    "candidate": {"histogram": "HIST"},
}
PROMOTED: dict[str, Any] = {
    "outcome": "promoted",
    "from": 3,
    "to": 4,
    "release": "new",
    "verdict": VERDICT,
    "evidence": EVIDENCE,
    "plan": PLAN,
}


def host(name: str = "web1", action: str = "deploy", live: int | None = 3, **change: Any) -> HostDecision:
    known = {"generation": live, "release": "old", "plan": PLAN, "trial": None} if live is not None else None
    app = AppDecision("shop", action, live=known, plan=PLAN, listen="0.0.0.0:8000")
    return HostDecision(name, address="192.0.2.7", facts=FACTS, apps={"shop": app}, **change)


def build(*hosts: HostDecision, check: bool = False, stopped: str | None = None, **outcomes: Any) -> report.Report:
    came = {name: {"shop": begun(outcome, name)} for name, outcome in outcomes.items()}
    return report.build(hosts or (host(),), came, check, stopped)


def begun(outcome: dict[str, Any], name: str = "web1") -> Outcome:
    return Outcome.from_dict({"host": name, "app": "shop", **outcome})


class TestRows:
    """What is said of an app on a host."""

    def test_current_against_recommended(self) -> None:
        (row,) = build(web1=PROMOTED).rows
        assert row["before"] == {"worker_class": "gthread", "workers": 2, "threads": 16, "worker_connections": 16}
        (row,) = build(host(live=None), web1=PROMOTED).rows
        assert row["before"] == {}, "nothing was live"
        assert row["recommended"] == {}
        (row,) = build(host(action="none")).rows
        assert row["before"] == {}, "nothing was changed"
        assert row["recommended"] == {}, "the plan is what is live"

    def test_what_the_plan_would_change_of_what_stays_live(self) -> None:
        decided = host()
        larger = {"settings": {**PLAN["settings"], "workers": {"value": 4, "reason": "more cores"}}}
        decided.apps["shop"].plan = larger
        (row,) = build(decided, check=True).rows
        assert row["recommended"] == {"workers": 4}
        assert row["settings"]["workers"] == 2
        measured = {"settings": {**PLAN["settings"], "workers": {"value": 3, "reason": "measured"}}}
        failed = {"outcome": "failed", "phase": "trial", "cause": "p95 is 330 ms", "plan": measured}
        (row,) = build(decided, web1=failed).rows
        assert row["recommended"] == {"workers": 3}, "one that was measured, where there is one"
        first = host(live=None)
        (row,) = build(first, check=True).rows
        assert row["recommended"] == {}, "nothing is live"

    def test_history_drift_and_load_tests_are_those_of_the_host(self) -> None:
        decided = host()
        app = decided.apps["shop"]
        app.drift, app.load_tests = ["cores 1 -> 2"], [{"time": "2026-11-22T04:00:00Z", "outcome": "done"}]
        app.history = [{"time": "2026-11-20T10:00:00Z", "event": "promoted", "from": 2, "to": 3}]
        (row,) = build(decided).rows
        assert (row["drift"], row["load_tests"], row["history"]) == (app.drift, app.load_tests, app.history)

    def test_both_arms_and_their_memory(self) -> None:
        arms = {"live": {"histogram": "OLD"}, "candidate": {"histogram": "HIST", "paths": [{"name": "GET /"}]}}
        evidence = {**EVIDENCE, **arms, "live_memory": {"peak_mib": 80.0}}
        (row,) = build(web1={**PROMOTED, "evidence": evidence}).rows
        assert (row["histogram"], row["live_histogram"]) == ("HIST", "OLD")
        assert (row["memory"], row["live_memory"]) == (EVIDENCE["memory"], {"peak_mib": 80.0})
        assert row["paths"] == [{"name": "GET /"}]

    def test_promoted(self) -> None:
        (row,) = build(web1=PROMOTED).rows
        expected = {
            "status": "promoted",
            "generation": 4,
            "from": 3,
            "release": "new",
            "url": "http://192.0.2.7:8000/",
            "verdict": "pass",
            "requests": 750,
            "failures": 3,
            "error_rate_limit": 0.01,
            "p50_ms": 52.25,
            "p95_ms": 61.0,
            "p99_ms": None,
            "p95_limit_ms": 250,
            "peak_mib": 88.4,
            "peak_limit_mib": 368.0,
            "histogram": "HIST",
        }
        assert {key: row[key] for key in expected} == expected

    @pytest.mark.parametrize(
        ("planned", "outcome", "check", "status", "generation", "words"),
        [
            (host(action="none"), None, False, "unchanged", 3, "unchanged"),
            (host(), None, False, "not started", 3, "not started"),
            (host(), None, True, "would deploy", 3, "would deploy"),
            (host(live=None), None, True, "would deploy", None, "would deploy"),
            (host(), {"outcome": "failed", "phase": "trial", "cause": "slow"}, False, "failed", 3, "FAILED in trial"),
            (host(), {"outcome": "lost", "phase": "trial", "cause": "gone"}, False, "lost", 3, "LOST"),
            (host(), {"outcome": "working"}, False, "cut short", 3, "cut short"),
            (host(), {**PROMOTED, "outcome": "reverted", "reverted_to": 3}, False, "reverted", 3, "reverted"),
            (
                host(),
                {**PROMOTED, "outcome": "revert_failed", "revert_cause": "no"},
                False,
                "revert_failed",
                4,
                "REVERT FAILED",
            ),
            (host(status="failed", cause="no room"), None, False, "failed", 3, "FAILED"),
        ],
    )
    def test_a_status(
        self,
        planned: HostDecision,
        outcome: dict[str, Any] | None,
        check: bool,
        status: str,
        generation: int | None,
        words: str,
    ) -> None:
        came = {"web1": {"shop": begun(outcome)}} if outcome else {}
        (row,) = report.build([planned], came, check, None).rows
        assert (row["status"], row["generation"], report.verdict_words(row)) == (status, generation, words)

    def test_nothing_is_made_up_for_an_app_that_was_not_tried(self) -> None:
        (row,) = build(host(action="none")).rows
        names = ("verdict", "p50_ms", "p95_ms", "requests", "failures", "peak_mib")
        assert {row[name] for name in names} == {None}

    def test_the_live_generation_shows_its_own_trial(self) -> None:
        planned = host(action="none")
        live = planned.apps["shop"].live
        assert live is not None
        live["trial"] = {"verdict": VERDICT, **EVIDENCE}
        (row,) = build(planned).rows
        assert (row["p95_ms"], report.verdict_words(row)) == (61.0, "pass, unchanged")

    @pytest.mark.parametrize(
        ("planned", "outcome", "check", "p95_ms"),
        [
            (host(), {"outcome": "failed", "phase": "prepare", "cause": "no table"}, False, None),
            (host(), {"outcome": "failed", "phase": "weigh", "cause": "no memory"}, False, None),
            (host(), {"outcome": "lost", "phase": "stage", "cause": "gone"}, False, None),
            (host(), {"outcome": "working"}, False, None),
            (host(), {**PROMOTED, "verdict": None, "evidence": None}, False, None),  # nothing to hold it against
            (host(), None, False, None),  # not started
            (host(), None, True, None),  # would deploy
            (host(status="failed", cause="no room"), None, False, None),
            (host(action="refuse"), None, False, None),
            (host(action="heal"), {"outcome": "healed"}, False, 61.0),
            (host(action="heal"), None, True, 61.0),
            (host(action="heal"), {"outcome": "failed", "phase": "heal", "cause": "no"}, False, None),
        ],
    )
    def test_what_was_not_tried_shows_no_other_generations_figures(
        self, planned: HostDecision, outcome: dict[str, Any] | None, check: bool, p95_ms: float | None
    ) -> None:
        planned = copy.deepcopy(planned)
        app = planned.apps["shop"]
        app.reasons = ["shares are more than the host"]
        assert app.live is not None
        app.live["trial"] = {
            "verdict": VERDICT,
            **EVIDENCE,
            "candidate": {"histogram": "OLD", "paths": [{"name": "/"}]},
        }
        came = {"web1": {"shop": begun(outcome)}} if outcome else {}
        (row,) = report.build([planned], came, check, None).rows
        assert row["p95_ms"] == p95_ms
        if p95_ms is None:
            names = ("verdict", "requests", "failures", "peak_mib", "histogram", "memory")
            assert {row[name] for name in names} == {None}
            assert row["paths"] == row["checks"] == []

    def test_a_host_that_was_not_reached(self) -> None:
        (row,) = build(HostDecision("web2", "unreachable", "could not be reached: no route")).rows
        assert (row["app"], row["status"], row["cause"]) == (None, "unreachable", "could not be reached: no route")


def test_a_refused_app_beside_one_that_was_promoted() -> None:
    planned = host()
    planned.apps["api"] = AppDecision("api", "refuse", ["wheels: there is no version of no-such-thing"])
    found = build(planned, web1=PROMOTED)
    shop, api = found.rows
    assert (shop["status"], shop["cause"]) == ("promoted", None)
    assert (api["status"], api["cause"]) == ("failed", "api: wheels: there is no version of no-such-thing")
    assert found.failed == {"web1": "api: wheels: there is no version of no-such-thing"}
    assert found.first_cause == "web1: api: wheels: there is no version of no-such-thing"
    assert found.summary == "1 host: 1 promoted, 1 failed"


class TestFailures:
    """Who failed, and what was first."""

    def test_none(self) -> None:
        found = build(web1=PROMOTED)
        assert (found.failed, found.first_cause, found.summary) == ({}, None, "1 host: 1 promoted")

    def test_the_earliest_cause_is_the_first(self) -> None:
        late = {"outcome": "failed", "phase": "trial", "cause": "late", "failed_at": 20.0}
        early = {"outcome": "failed", "phase": "stage", "cause": "early", "failed_at": 10.0}
        found = build(host("web1"), host("web2"), web1=late, web2=early)
        assert found.first_cause == "web2: shop: stage: early"
        assert found.failed == {"web1": "shop: trial: late", "web2": "shop: stage: early"}

    def test_a_reverted_host_did_not_fail(self) -> None:
        failed = {"outcome": "failed", "phase": "trial", "cause": "slow"}
        reverted = {**PROMOTED, "outcome": "reverted", "reverted_to": 3}
        found = build(host("web1"), host("web2"), web1=reverted, web2=failed)
        assert list(found.failed) == ["web2"]
        assert found.summary == "2 hosts: 1 reverted, 1 failed"

    def test_what_the_guard_took_back_failed(self) -> None:
        why = "the guard took generation 4 back, generation 3 is live again: 12 of 40 requests failed"
        found = {**PROMOTED, "phase": "guard", "cause": why, "failed_at": 1.0}
        done = build(web1={**found, "outcome": "taken_back", "reverted_to": 3})
        assert done.failed == {"web1": f"shop: guard: {why}"}
        assert done.summary == "1 host: 1 taken back"
        (row,) = done.rows
        assert (row["generation"], report.verdict_words(row)) == (3, "TAKEN BACK")
        assert f"web1: shop: guard: {why}" in report.text(done.rows, done.summary)
        done = build(web1=found)
        assert done.failed == {"web1": f"shop: guard: {why}"}, "what it could not take back did so, too"
        assert report.verdict_words(done.rows[0]) == "pass, promoted, FAILED in guard"

    def test_each_app_of_a_host_is_named(self) -> None:
        decided = host()
        decided.apps["api"] = AppDecision("api", "deploy", listen="0.0.0.0:8001")
        decided.apps["blog"] = AppDecision("blog", "refuse", ["wheels: there is no blog"])
        decided.apps["wiki"] = AppDecision("wiki", "none", left_out=True)
        outcomes = {
            "web1": {
                "shop": begun({"outcome": "failed", "phase": "trial", "cause": "slow"}),
                "api": Outcome.from_dict({**PROMOTED, "host": "web1", "app": "api"}),
            }
        }
        found = report.build([decided], outcomes, False, None)
        assert found.failed == {"web1": "blog: wheels: there is no blog; shop: trial: slow"}
        assert found.summary == "1 host: 1 promoted, 2 failed, 1 left out"

    def test_what_several_apps_of_a_host_fail_for_is_told_once(self) -> None:
        decided = host()
        decided.apps["api"] = AppDecision("api", "deploy", listen="0.0.0.0:8001")
        decided.apps["blog"] = AppDecision("blog", "refuse", ["wheels: there is no blog"])
        full = {"outcome": "failed", "phase": "stage", "cause": "3 MiB are free"}
        outcomes = {
            "web1": {name: Outcome.from_dict({**full, "host": "web1", "app": name}) for name in ("shop", "api")}
        }
        found = report.build([decided], outcomes, False, None)
        assert found.failed == {"web1": "blog: wheels: there is no blog; shop, api: stage: 3 MiB are free"}

    def test_a_revert_that_failed(self) -> None:
        found = build(web1={**PROMOTED, "outcome": "revert_failed", "revert_cause": "not intact"})
        assert found.failed == {"web1": "shop: the revert failed: not intact"}

    def test_a_host_that_is_left_in_the_middle(self) -> None:
        assert build(web1={"outcome": "working"}).failed == {"web1": "shop: rollout: the run was cut short"}

    def test_unreachable_hosts_are_failures_of_the_run(self) -> None:
        found = build(HostDecision("web2", "unreachable", "could not be reached: no route"))
        assert found.failed == {"web2": "could not be reached: no route"}
        assert found.first_cause == "web2: could not be reached: no route"
        assert found.summary == "1 host: 1 unreachable; nothing was changed"


@pytest.mark.parametrize(
    ("listen", "address", "expected"),
    [
        ("0.0.0.0:8000", "192.0.2.7", "http://192.0.2.7:8000/"),
        ("[::]:80", "2001:db8::7", "http://[2001:db8::7]:80/"),
        ("127.0.0.1:8000", "192.0.2.7", "http://127.0.0.1:8000/"),
        ("unix:/run/shop.sock", "192.0.2.7", "unix:/run/shop.sock"),
    ],
)
def test_where_the_app_is_found(listen: str, address: str, expected: str) -> None:
    assert report.url(listen, address) == expected


def test_an_app_that_answers_below_a_path_alone_is_found_there() -> None:
    assert report.url("0.0.0.0:8000", "192.0.2.7", "/shop") == "http://192.0.2.7:8000/shop/"
    below = host("web1")
    below.apps["shop"].prefix = "/shop"
    assert build(below).rows[0]["url"] == "http://192.0.2.7:8000/shop/"


def test_the_table() -> None:
    failed = {"outcome": "failed", "phase": "trial", "cause": "p95 is 312 ms, limit 250", "mismatch": "shop: said io"}
    found = build(host("web1"), host("web2", live=None), web1=PROMOTED, web2=failed)
    lines = report.text(found.rows, found.summary).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "host app cores RAM MiB profile class workers p50 ms p95 ms errors peak MiB verdict live URL",
        " ".join("-" * width for width in (4, 4, 5, 7, 7, 7, 7, 8, 8, 14, 8, 15, 4, 22)),
        "web1 shop 2 1024 io gthread 2 x 16 52 / 100 61 / 250 3 of 750 / 1 % 88 / 368 pass, promoted 4"
        " http://192.0.2.7:8000/",
        "web2 shop 2 1024 io gthread 2 x 16 FAILED in trial none",
        "Latencies, errors and memory: measured in the trial / limit.",
        "web2: shop: trial: p95 is 312 ms, limit 250",
        "web2: shop: said io",
        "2 hosts: 1 promoted, 1 failed",
    ]


def test_a_path_that_did_not_count_in_the_weigh_is_told_of_what_was_tried() -> None:
    said = "GET /vip answered 403 each time (5 requests), so the path does not count in the weigh: declare headers"
    tried = {**PROMOTED, "measured": {**(PROMOTED.get("measured") or {}), "uncounted": [said]}}
    assert f"web1: shop: {said}" in report.text((found := build(host("web1"), web1=tried)).rows, found.summary)


def test_what_was_not_compared_is_told() -> None:
    verdict = {**VERDICT, "uncompared": ["CPU a request (users took 0.5 of a core)", "the latency of GET /rare (2)"]}
    found = build(web1={**PROMOTED, "verdict": verdict})
    assert found.rows[0]["uncompared"] == verdict["uncompared"]
    words = "web1: shop: not compared: CPU a request (users took 0.5 of a core); the latency of GET /rare (2)"
    assert words in report.text(found.rows, found.summary).splitlines()
    unchanged = [{**found.rows[0], "status": "unchanged"}]
    assert "not compared" not in report.text(unchanged, "")


def test_what_decides_nothing_is_told_unless_the_cause_says_it() -> None:
    said = "answers of GET / have 3 MB, of the live generation 2 kB"
    found = build(web1={**PROMOTED, "verdict": {**VERDICT, "told": [said]}})
    assert found.rows[0]["told"] == [said]
    assert f"web1: shop: {said}" in report.text(found.rows, found.summary).splitlines()
    refused = [{**found.rows[0], "cause": f"p95 is 312 ms; {said}", "phase": "trial"}]
    assert report.text(refused, "").count(said) == 1
    unchanged = [{**found.rows[0], "status": "unchanged"}]
    assert said not in report.text(unchanged, "")


def test_what_failed_requests_were_answered_is_in_the_report() -> None:
    one = {"request": "GET /", "answered": "GET / answered 500", "cause": "its log says: KeyError", "log": ["no price"]}
    found = build(web1={**PROMOTED, "evidence": {"failed": [one]}})
    assert found.rows[0]["failed_requests"] == [one]


def test_what_the_summary_says_of_a_failure() -> None:
    """Only what is true: a refused generation stays for diagnosis, so that something was changed."""
    in_trial = {"outcome": "failed", "phase": "trial", "cause": "p95 is 312 ms"}
    assert build(host("web1", live=None), web1=in_trial).summary == "1 host: 1 failed; no new generation went live"
    lost = {"outcome": "lost", "phase": "promote", "cause": "the connection to the host was lost"}
    assert build(host("web1"), web1=lost).summary == "1 host: 1 lost"
    refused = host("web1", live=None)
    refused.fail("shop: units of somebody else's have the names that shop needs")
    assert build(refused).summary == "1 host: 1 failed; nothing was changed"


def test_each_app_of_a_host_has_its_own_cause() -> None:
    decided = host(status="failed", cause="shop: listen address 0.0.0.0:8000 is taken")
    decided.apps["shop"].action, decided.apps["shop"].reasons = "refuse", ["listen address 0.0.0.0:8000 is taken"]
    decided.apps["video"] = AppDecision("video", "refuse", reasons=["units of somebody else's: video@.service"])
    decided.apps["wiki"] = AppDecision("wiki", "deploy")
    decided.apps["blog"] = AppDecision("blog", "none")
    rows = {row["app"]: row for row in report.build((decided,), {}, False, None).rows}
    assert {name: (row["status"], row["cause"]) for name, row in rows.items()} == {
        "shop": ("failed", "shop: listen address 0.0.0.0:8000 is taken"),
        "video": ("failed", "video: units of somebody else's: video@.service"),
        "wiki": ("not started", None),
        "blog": ("unchanged", None),
    }


def test_what_was_used_second_by_second_stays_in_the_evidence_of_the_host() -> None:
    found = report.evidence_of({"memory": {"peak_mib": 9.0, "use": {"second": [1.0]}}, "live_memory": None})
    assert found["memory"] == {"peak_mib": 9.0}
    assert found["live_memory"] is None
