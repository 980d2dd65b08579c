# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""sync, gthread, gevent and eventlet each serve, with the Gunicorn that has them, side by side on a host."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from headcount_scenarios import Machine, Scenario


@dataclass(frozen=True)
class Case:
    """An app of the scenario, and the class that it was declared with, or is to get."""

    host: str
    app: str
    worker_class: str
    listen: str


CASES = [
    Case("old", "sync", "sync", "unix:/run/sync-app.sock"),
    Case("old", "eventlet", "eventlet", "0.0.0.0:8002"),
    Case("new", "gthread", "gthread", "0.0.0.0:8001"),
    Case("new", "httpbin", "gevent", "0.0.0.0:8003"),
    Case("new", "native", "sync", "0.0.0.0:8004"),
    Case("new", "postgres", "gthread", "0.0.0.0:8005"),
]
HEALTH = {"httpbin": "/status/200", "native": "/built", "postgres": "/rows"}
SHOPS = [case for case in CASES if case.app not in HEALTH]
MEMORY_MIB = {"old": 768, "new": 1024}


def named(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.app for case in cases])


def ask(machine: Machine, case: Case, path: str) -> str:
    """What a GET answers with 200; a Unix socket is asked on the host."""
    if case.listen.startswith("unix:"):
        return machine.out(f"curl --silent --fail --unix-socket {case.listen[5:]} http://localhost{path}")
    answer = machine.get(path, int(case.listen.rsplit(":", 1)[1]))
    assert answer.status == 200, answer
    return answer.body


@named(CASES)
def test_is_live_on_its_socket(scenario: Scenario, case: Case) -> None:
    machine = scenario.machines[case.host]
    status = machine.status(case.app)
    assert status["live"]["generation"] == 1
    assert (status["intact"], status["healthy"]) == (True, True), status
    assert machine.running(case.app) == [f"{case.app}@1.service"]
    assert ask(machine, case, HEALTH.get(case.app, "/healthz")) is not None


def test_its_own_settings_of_gunicorn_and_its_socket_hold(scenario: Scenario) -> None:
    old = scenario.machines["old"]
    assert old.out("stat --format='%U:%G %a' /run/sync-app.sock").strip() == "root:www-data 660"
    ask(old, CASES[0], "/healthz?own-settings")
    log = old.out("journalctl --sync; journalctl --output=cat --unit='sync@1.service'")
    assert "accessed GET /healthz?own-settings HTTP/1.1" in log
    assert f"a hook of the project saw worker {old.workers('sync')[0]}" in log
    assert "SHOP_WRAPPED=yes" in old.out(f"tr '\\0' '\\n' < /proc/{old.master('sync')}/environ")


def test_an_operator_finds_a_request_in_the_journal(scenario: Scenario) -> None:
    """By the queries that docs/operations.md has, as they stand there."""
    new, port = scenario.machines["new"], CASES[2].listen.rsplit(":", 1)[1]
    asked = f"curl --silent --output /dev/null --header 'X-Request-ID: 7f3a19' http://127.0.0.1:{port}"
    new.out(f"{asked}/mixed?wait_ms=700\\&token=hidden; {asked}/stream?token=hidden --max-time 0.3 || true")
    docs = (Path(__file__).parents[3] / "docs/operations.md").read_text(encoding="utf-8")
    queries = re.findall(r"^# (journalctl -t shop-access .*)$", docs, re.MULTILINE)
    told = "journalctl --sync; journalctl -t gthread-access -o cat REQUEST_ID=7f3a19 | grep --quiet /stream"
    new.out(f"timeout 30 sh -c 'until {told}; do sleep 0.1; done'")
    one, failed, slowest, paths, who = [
        new.out(f"bash -c {shlex.quote(query.replace('shop', 'gthread'))}").splitlines() for query in queries
    ]
    lines = [json.loads(line) for line in one[-2:]]
    assert [(line["path"], line["status"], line["id"], line.get("ended")) for line in lines] == [
        ("/mixed", 200, "7f3a19", None),
        ("/stream", 200, "7f3a19", "cut"),
    ]
    assert {line["worker"] for line in lines} <= set(new.workers("gthread"))
    assert {line["generation"] for line in lines} == {1}
    assert one[-1] in failed
    assert one[-2] not in failed
    assert float(slowest[0].split()[0]) >= 700
    assert any(line.endswith("/stream 200 cut") for line in paths)
    assert any(line.endswith("/mixed 200 ") for line in paths)
    assert any('"client":"127.0.0.1"' in line for line in who)
    users = new.out("journalctl -t gthread-access -o cat")
    assert "hidden" not in users
    # Those of Headcount itself (weigh, trial, the load of what is live, looks) are told apart.
    assert not re.search('"agent":"(headcount|h2load)', users), users
    # What the trial looks through for causes has none of its requests, and they are not among those of users.
    assert new.out("journalctl -q -t gthread-trial-access -o cat -n 1").startswith('{"time"')
    assert "access" not in new.out("journalctl -q -p info -u gthread-trial@1 -o short | awk '{print $5}' | sort -u")


def test_what_is_live_is_loaded_again_by_a_timer_beside_its_users(scenario: Scenario) -> None:
    new = scenario.machines["new"]
    assert "gthread@1-load-test.timer" in new.out("systemctl list-timers --no-pager gthread@1-load-test.timer")
    new.out("systemctl start gthread@1-load-test.service")
    told = new.out("headcount status gthread")
    assert re.search(r"load test of \S+ \S+ at 10 requests a second: (p50|stopped, )", told), told
    page = new.out("headcount metrics")
    assert 'headcount_load_test_rate{app="gthread"} 10' in page
    found = json.loads(new.out("tail -n 1 /var/lib/headcount/gthread/loadtests.jsonl"))
    assert (found["generation"], found["rate"]) == (1, 10)
    assert found["outcome"] == "stopped" or found["requests"] == 30, found


@named(CASES)
def test_has_its_class_and_slots(scenario: Scenario, case: Case) -> None:
    machine = scenario.machines[case.host]
    settings = machine.settings(case.app)
    assert settings["worker_class"] == case.worker_class
    assert len(machine.workers(case.app)) == settings["workers"] >= 1
    assert (settings["threads"] > 1) == (case.worker_class == "gthread")
    config = machine.out(f"cat /opt/headcount/{case.app}/live/gunicorn.conf.py")
    assert f"worker_class = '{case.worker_class}'" in config


@named(SHOPS)
def test_the_worker_itself_says_its_class(scenario: Scenario, case: Case) -> None:
    told = json.loads(ask(scenario.machines[case.host], case, "/whoami"))
    assert case.worker_class in told["worker_class"].lower()
    assert told["pid"] in scenario.machines[case.host].workers(case.app)


@named(CASES)
def test_has_the_gunicorn_that_has_the_class(scenario: Scenario, case: Case) -> None:
    python = f"/opt/headcount/{case.app}/live/release/venv/bin/python"
    said = scenario.machines[case.host].out(f"{python} -c 'import gunicorn; print(gunicorn.__version__)'")
    assert (int(said.split(".")[0]) >= 26) == (case.worker_class != "eventlet"), said


def test_a_worker_keeps_the_memory_that_its_requests_were_weighed_with(scenario: Scenario) -> None:
    machine = scenario.machines["old"]
    planned = machine.settings("eventlet")["malloc_trim_threshold_mib"]
    assert planned >= min(8, machine.settings("eventlet")["worker_connections"])
    for pid in [machine.master("eventlet"), *machine.workers("eventlet")]:
        environment = machine.out(f"tr '\\0' '\\n' < /proc/{pid}/environ").splitlines()
        assert f"MALLOC_TRIM_THRESHOLD_={planned * 2**20}" in environment
    assert machine.settings("sync")["malloc_trim_threshold_mib"] == 0


@named(CASES)
def test_was_tried_before_it_went_live(scenario: Scenario, case: Case) -> None:
    events = scenario.machines[case.host].ledger(case.app)
    told = [(event["event"], event.get("verdict")) for event in events if event["event"] != "data_made"]
    assert told == [("staged", None), ("promoted", "pass")]


def warned(machine: Machine, app: str, words: str) -> str:
    """The one warning of an app's plan that has these words."""
    lines = machine.out(f"headcount plan {app}").splitlines()
    (warning,) = [line for line in lines if line.startswith("warning:") and words in line]
    return warning


@pytest.mark.parametrize(
    ("host", "app", "declared", "found", "gone_by"),
    [
        # Its requests wait for 50 ms.
        (
            *("new", "httpbin", r"profile cpu is declared \(waiting \d+ % of a request"),
            *(r"waiting (9\d|100) % of its time", "the plan goes by the measurement"),
        ),
        # Its requests compute for 5 ms.
        (
            *("old", "sync", r"profile io is declared \(waiting \d+ % of a request", r"waiting \d % of its time"),
            "the plan goes by the declaration, as profile_mismatch: warn asks",
        ),
    ],
)
def test_a_wrong_profile_is_told_with_both_figures(
    scenario: Scenario, host: str, app: str, declared: str, found: str, gone_by: str
) -> None:
    warning = warned(scenario.machines[host], app, "is declared")
    assert re.search(declared, warning), warning
    assert re.search(found, warning), warning
    assert gone_by in warning


def test_a_driver_that_blocks_rules_gevent_out_and_says_what_would_help(scenario: Scenario) -> None:
    warning = warned(scenario.machines["new"], "postgres", "gthread and not gevent")
    assert re.search(r"psycopg2-binary [\d.]+ blocks", warning), warning
    assert "add psycogreen" in warning
    assert "psycopg 3" in warning


def test_a_project_that_is_no_package_is_released_as_it_is(scenario: Scenario) -> None:
    machine = scenario.machines["new"]
    release = machine.out("readlink --canonicalize /opt/headcount/postgres/live/release")
    for pid in [machine.master("postgres"), *machine.workers("postgres")]:
        assert machine.out(f"readlink /proc/{pid}/cwd") == f"{release}/tree"
    listed = machine.out(
        f"cd {release}/tree && find . -name '*.??*' -not -path '*/__pycache__/*' -printf '%P %m %u:%g\\n'"
    )
    assert sorted(listed.splitlines()) == ["postgres.py 644 root:root", "requirements.txt 644 root:root"]
    assert machine.out(f"find {release}/tree/__pycache__ -name 'postgres.*.pyc'")
    python = f"{release}/venv/bin/python"
    assert machine.out(f"{python} -c 'import gunicorn; print(gunicorn.__version__)'") == "26.0.0"
    assert "gunicorn_version = ==26.0.0 [declared]: the project pins it" in machine.out("headcount plan postgres")


def test_an_edit_in_a_project_that_is_no_package_is_seen(scenario: Scenario) -> None:
    machine = scenario.machines["new"]
    file = "/opt/headcount/postgres/live/release/tree/postgres.py"
    machine.out(f"cp --archive {file} /root/postgres.py && echo '# edited' >> {file}")
    try:
        assert any("tree/postgres.py was changed" in problem for problem in machine.status("postgres")["problems"])
    finally:
        machine.out(f"cp --archive /root/postgres.py {file}")
    assert machine.status("postgres")["problems"] == []


@pytest.mark.parametrize("name", ["old", "new"])
def test_apps_share_the_host(scenario: Scenario, name: str) -> None:
    machine = scenario.machines[name]
    apps = [case.app for case in CASES if case.host == name]
    both = sum(machine.settings(app)["memory_max_mib"] for app in apps)
    # Two generations of each stand side by side in a rollout.
    assert 2 * both <= MEMORY_MIB[name]
    for app in apps:
        assert machine.memory_limit(machine.master(app)) == machine.settings(app)["memory_max_mib"] * 2**20


def test_what_is_no_pure_python_was_built_on_a_host_of_its_platform(scenario: Scenario) -> None:
    machine = scenario.machines["new"]
    built = machine.get("/built", 8004).json
    assert (built["host"], built["python"], built["online"]) == (machine.out("hostname"), "cp313", False)
    assert built["uid"] not in (0, int(machine.out("id -u hc-native")))
    assert machine.out("find /var/tmp /tmp -name 'headcount-build-*'") == ""


def test_the_fleet_is_as_declared(scenario: Scenario) -> None:
    play = scenario.play("site.yml")
    assert play.code == 0
    assert play.changed == 0
    assert "builds native" not in play.text
