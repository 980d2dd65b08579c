# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The host's part of a trial whose load is remote, on a host that is a directory."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import generations, ledger, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.candidates import Candidates
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import LEASE_SECONDS
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.trialload import DerivedRate, TrialLoad
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import remotetrial as away
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import trial as trial_step
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.judge import MemoryEvidence, Samples
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.pooling import Pool
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.types import Check

RUN = Run("a1", "anna", "control1", "2026-11-22T10:00:00Z")
LOAD = {"paths": [{"path": "/"}], "rate": 50.0, "seconds": 30.0, "warmup_requests": 10, "from": "lg1", "port": 8001}


def record(number: int, **change: Any) -> dict[str, Any]:
    app = {
        "name": "shop",
        "listen": "0.0.0.0:8000",
        "entry_point": "shop:app",
        "health": {"path": "/", "status": [200], "contains": None, "timeout_seconds": 1, "boot_seconds": 3},
        "load": LOAD,
        "limits": {"p50_ms": None, "p95_ms": 100.0, "p99_ms": None, "error_rate": 0.01, "memory_percent": 80.0},
        "on_inconclusive": "revert",
        **change,
    }
    settings = {"workers": {"value": 2}, "memory_max_mib": {"value": 200}}
    facts = {"cores": {"effective": 2.0}}
    return {
        "number": number,
        "release": "0" * 16,
        "app": app,
        "plan": {"settings": settings},
        "planning": {"facts": facts},
    }


class Host:
    """Generation 1 is live and answers; 2 is to be tried. What happens to the candidate is written down."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / "etc/systemd/system").mkdir(parents=True)
        self.app = AppOnHost("shop", RUN, str(root), Systemd(lambda *_: Completed(0, "", "")), clock=lambda: 1000.0)
        self.said: list[str] = []
        self.watched: dict[str, Any] = {}
        self.sampled: dict[str, Any] = {"evidence": {"candidate": memory(), "live": memory()}, "levels": []}
        for number in (1, 2):
            store.begin(self.app.layout, number, "0" * 16)
            self.write(number)
            store.finish(self.app.layout, number)
        store.activate(self.app.layout, 1)
        os.makedirs(self.app.layout.runtime)
        monkeypatch.setattr(away, "broken", lambda app, live: "")
        monkeypatch.setattr(Candidates, "start", self.start)
        monkeypatch.setattr(Candidates, "stop", lambda _, number: self.said.append(f"stop {number}"))
        monkeypatch.setattr(Candidates, "begin_watch", self.watch)
        monkeypatch.setattr(Candidates, "end_sampling", lambda _: self.sampled)

    def write(self, number: int, **change: Any) -> None:
        path = Path(self.app.layout.generation(number), "generation.json")
        path.write_text(json.dumps(record(number, **change)), encoding="utf-8")

    def start(self, number: int, health: dict[str, Any], listen: str) -> float:
        self.said.append(f"start {number} {listen}")
        return 0.5

    def watch(self, number: int, request: dict[str, Any], python: str, seconds: float) -> None:
        self.said.append(f"watch {number} for {seconds:g} s")
        self.watched = request

    def events(self) -> list[str]:
        return [entry["event"] for entry in ledger.read(self.app.layout.ledger)]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def memory() -> dict[str, Any]:
    return MemoryEvidence(50.0, "cgroup", pss_mib=40.0, limit_mib=200.0, cpu_seconds=1.0).to_dict()


def loaded(candidate_ms: float = 20.0, live_ms: float = 20.0, failed: int = 0) -> str:
    """What the module load hands over: 1,500 requests an arm, a hundred values around a median each."""

    def arm(median: float, bad: int) -> Samples:
        spread = [median * (0.9 + 0.002 * (index % 100)) for index in range(1500)]
        return Samples(
            start_s=[index / 50 for index in range(1500)],
            latency_ms=[math.inf if index < bad else value for index, value in enumerate(spread)],
            status=[500 if index < bad else 200 for index in range(1500)],
            path=[0] * 1500,
            planned=1500,
            period_s=0.02,
            failures=bad,
            achieved_rate=50.0,
            planned_rate=50.0,
        )

    load = TrialLoad(
        candidate=arm(candidate_ms, failed),
        baseline=arm(live_ms, 0),
        rate=DerivedRate(50.0, "declared", "declared as load.rate"),
        cost_cpu_seconds=0.4,
        cost_core_share=0.01,
        swapped=False,
    )
    return json.dumps({"load": load.pack(), "since_warm_seconds": 31.0})


class TestBegin:
    """The first half."""

    def test_which_load_is_wanted(self, host: Host) -> None:
        wanted = away.try_from(host.app, 2, "10.0.0.5")["load"]
        assert (wanted["candidate"], wanted["baseline"]) == ("10.0.0.5:8001", "10.0.0.5:8000")
        assert (wanted["from"], wanted["swap"], wanted["factor"], wanted["workers"]) == ("lg1", False, 1.0, 2)
        assert host.said == ["start 2 0.0.0.0:8001", "watch 2 for 1136 s"]
        assert {name: arm["unit"] for name, arm in host.watched["arms"].items()} == {
            "candidate": "shop-trial@2.service",
            "live": "shop@1.service",
        }

    def test_the_lease_outlasts_the_load(self, host: Host) -> None:
        away.begin(host.app, 2, "10.0.0.5")
        lease = host.app.lock.lease()
        assert lease is not None
        assert lease["expires"] == 1000.0 + LEASE_SECONDS + 236.0

    def test_the_declared_address_goes_before_that_of_the_inventory(self, host: Host) -> None:
        host.write(2, load={**LOAD, "address": "192.0.2.9"})
        wanted = away.begin(host.app, 2, "10.0.0.5")["load"]
        assert (wanted["candidate"], wanted["baseline"]) == ("192.0.2.9:8001", "192.0.2.9:8000")

    def test_a_live_generation_that_cannot_be_reached_is_no_yardstick(self, host: Host) -> None:
        host.write(1, listen="127.0.0.1:8000")
        assert away.begin(host.app, 2, "10.0.0.5")["load"]["baseline"] is None
        assert json.loads(Path(host.app.layout.trial_state).read_text(encoding="utf-8"))["notes"] == [
            "the live generation was not loaded beside the candidate: load host lg1 does not reach 127.0.0.1:8000, "
            "where it listens; judged by the absolute limits alone"
        ]

    def test_from_the_host_itself_is_the_trial_of_before(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        host.write(2, load={key: value for key, value in LOAD.items() if key not in ("from", "port")})
        monkeypatch.setattr(away, "trial", lambda _, number, pool: {"whole": number, "pool": pool})
        assert away.try_from(host.app, 2, "10.0.0.5") == {"whole": 2, "pool": None}
        pool = Pool(2, 3000, 1)
        assert away.try_from(host.app, 2, "10.0.0.5", pool=pool) == {"whole": 2, "pool": pool}
        assert host.said == []


class TestFinish:
    """The second half."""

    def begun(self, host: Host) -> None:
        away.begin(host.app, 2, "10.0.0.5")
        host.said.clear()

    def test_a_good_one_may_go_live(self, host: Host) -> None:
        self.begun(host)
        done = away.try_from(host.app, 2, "10.0.0.5", loaded())
        assert done["verdict"]["outcome"] == "pass"
        assert host.said == ["stop 2"]
        kept = json.loads(Path(host.app.layout.generation(2), "evidence.json").read_text(encoding="utf-8"))
        assert (kept["load"]["from"], kept["against"], kept["boot_seconds"]) == ("lg1", 1, 0.5)
        assert kept["notes"] == [
            "the load came from load host lg1: latencies include the network between it and this host"
        ]

    def test_what_its_answers_are_unlike_is_told(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        said = "answers of GET / have no Content-Type, of the live generation the type text/html"
        check = Check("answer_kind:GET /", "pass", None, None, (None, None), said)
        monkeypatch.setattr(trial_step, "unlike_live", lambda *_: [check])
        self.begun(host)
        done = away.finish(host.app, 2, loaded())
        assert (done["verdict"]["outcome"], done["verdict"]["told"]) == ("pass", [said])
        assert done["evidence"]["verdict"] == done["verdict"]

    def test_a_slow_one_is_loaded_once_more_and_then_put_away(self, host: Host) -> None:
        self.begun(host)
        again = away.finish(host.app, 2, loaded(300.0))
        assert (again["load"]["swap"], again["load"]["factor"]) == (True, 2.0)
        assert host.said == ["watch 2 for 1136 s"]
        with pytest.raises(StepFailed, match=r"^p95 is 32\d ms, limit 100") as failed:
            away.finish(host.app, 2, loaded(300.0))
        assert failed.value.evidence["verdict"]["attempts"] == 2
        assert host.said == ["watch 2 for 1136 s", "stop 2", "stop 2"]
        assert generations.live(host.app.layout) == 1
        assert host.events()[-1] == "failed"

    def test_a_false_alarm_passes_the_second_time(self, host: Host) -> None:
        self.begun(host)
        away.finish(host.app, 2, loaded(300.0))
        done = away.finish(host.app, 2, loaded())
        assert (done["verdict"]["outcome"], done["verdict"]["attempts"]) == ("pass", 2)
        assert "; cold start: the candidate's first 1500 requests took " in done["verdict"]["cause"]

    @pytest.mark.parametrize(("cores", "asked_again"), [(2.0, True), (1.0, False)])
    def test_one_with_a_smaller_part_of_the_host_need_not_be_as_fast(
        self, host: Host, cores: float, asked_again: bool
    ) -> None:
        for number, given, workers in ((1, 2.0, 2), (2, cores, 1)):
            host.write(number, limits={**record(number)["app"]["limits"], "p95_ms": None})
            path = Path(host.app.layout.generation(number), "generation.json")
            made = json.loads(path.read_text(encoding="utf-8"))
            made["plan"]["settings"]["workers"]["value"] = workers
            made["plan"] |= {"inputs": {"cores": {"value": given}}, "slots": 8 * workers}
            path.write_text(json.dumps(made), encoding="utf-8")
        self.begun(host)
        done = away.finish(host.app, 2, loaded(80.0))
        assert ("load" in done) is asked_again
        if not asked_again:
            assert done["verdict"]["outcome"] == "pass"
            assert "because its part of the host is smaller now (cores 2 -> 1)" in done["evidence"]["notes"][0]

    def test_errors_stand_at_once(self, host: Host) -> None:
        self.begun(host)
        with pytest.raises(StepFailed, match=r"750 of 1500 requests failed"):
            away.finish(host.app, 2, loaded(failed=750))

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            ("{}", "what came of the load cannot be read: 'since_warm_seconds'"),
            ("no JSON", "what came of the load cannot be read: Expecting value: line 1 column 1 (char 0)"),
        ],
    )
    def test_an_answer_that_is_none(self, host: Host, text: str, cause: str) -> None:
        self.begun(host)
        with pytest.raises(StepFailed) as failed:
            away.finish(host.app, 2, text)
        assert failed.value.cause == cause
        assert host.said[0] == "stop 2"

    def test_without_memory_there_is_no_verdict(self, host: Host) -> None:
        self.begun(host)
        host.sampled = {}
        with pytest.raises(StepFailed) as failed:
            away.finish(host.app, 2, loaded())
        assert failed.value.cause == "the memory of the candidate was not sampled to the end of the load"

    def test_a_candidate_that_is_gone(self, host: Host) -> None:
        with pytest.raises(StepFailed) as failed:
            away.finish(host.app, 2, loaded())
        assert failed.value.cause == "the candidate was put away before it was known what came of its load"
