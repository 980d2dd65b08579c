# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The planner by cases: what is chosen on which host for which app, and the exact words where no plan is possible."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan import planner as _planner
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.classes import not_built
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.inputs import settled_ratio

ROOT = Path(__file__).resolve().parents[5]


def facts(cores: float = 2, memory: int = 1024, python: str = "3.11", **more: Any) -> dict[str, Any]:
    return {
        "cores": {"effective": cores, "limited_by": "cpu.max"},
        "memory": {"effective_mib": memory, "limited_by": "MemTotal"},
        "python": {"version": python, "free_threaded": False},
        "nofile_max": 524288,
        "somaxconn": 4096,
        **more,
    }


def shop(**more: Any) -> dict[str, Any]:
    """An app whose requests are alike and that may use all its memory, unless something else is said."""
    limits = {"memory_percent": 100.0, **more.pop("limits", {})}
    return {"name": "shop", "worker_class": "auto", "buffering_proxy": True, "mix": "uniform", "limits": limits, **more}


def plan(host: dict[str, Any], app: dict[str, Any], measured: Any = None, **more: Any) -> _planner.Plan:
    return _planner.plan_host(host, [app], measured={"shop": measured}, **more)["shop"]


def weighed(cpu_ms: float = 2.0, wall_ms: float = 52.0, **more: Any) -> dict[str, Any]:
    return {
        "worker_pss_mib": 40.0,
        "worker_loaded_mib": 44.0,
        "master_mib": 20.0,
        "slot_mib": 0.5,
        "cpu_ms": cpu_ms,
        "wall_ms": wall_ms,
        "wait_ratio": (wall_ms - cpu_ms) / cpu_ms,
        "requests": 200,
        "seconds": 4.0,
        **more,
    }


def shape(found: _planner.Plan) -> tuple[Any, ...]:
    return tuple(found.value(name) for name in ("worker_class", "workers", "threads", "worker_connections"))


@pytest.mark.parametrize(
    ("cores", "memory", "app", "expected"),
    [
        # what computes: a sync worker for each core
        (1, 512, {"profile": "cpu", "concurrency": 8}, ("sync", 1, 1, 1)),
        (2, 1024, {"profile": "cpu", "concurrency": 128}, ("sync", 2, 1, 1)),
        (2.5, 1024, {"profile": "cpu", "concurrency": 128}, ("sync", 3, 1, 1)),
        (0.5, 256, {"profile": "cpu"}, ("sync", 1, 1, 1)),
        (1.05, 512, {"profile": "cpu"}, ("sync", 1, 1, 1)),
        (96, 262144, {"profile": "cpu", "concurrency": 400}, ("sync", 96, 1, 1)),
        (96, 262144, {"profile": "cpu", "concurrency": 8}, ("sync", 8, 1, 1)),
        # what waits: an event loop for each core, twice the requests in flight
        (1, 512, {"profile": "io", "concurrency": 200}, ("gevent", 1, 1, 400)),
        (2, 1024, {"profile": "io", "concurrency": 128}, ("gevent", 2, 1, 128)),
        (2, 1024, {"profile": "mixed", "concurrency": 8}, ("gevent", 2, 1, 64)),
        (4, 8192, {"profile": "io", "concurrency": 200}, ("gevent", 4, 1, 100)),
        (2, 1024, {}, ("gevent", 2, 1, 128)),
        (96, 262144, {"profile": "io", "concurrency": 8}, ("gevent", 3, 1, 64)),
        (1, 128, {"profile": "io"}, ("gevent", 1, 1, 30)),
        # declared times: Little's law on the rate
        (2, 1024, {"cpu_ms": 2.0, "wait_ms": 98.0, "rate": 500.0}, ("gevent", 2, 1, 64)),
        (2, 1024, {"cpu_ms": 2.0, "wait_ms": 98.0, "rate": 3000.0}, ("gevent", 2, 1, 300)),
        # asked for
        (2, 1024, {"worker_class": "gthread", "profile": "io", "concurrency": 128}, ("gthread", 2, 80, 80)),
        (2, 1024, {"worker_class": "gthread", "wait_ratio": 1.0}, ("gthread", 2, 4, 4)),
        # no fewer threads than are declared to be in flight, and as many workers as those need
        (2, 1024, {"worker_class": "gthread", "wait_ratio": 1.0, "concurrency": 128}, ("gthread", 2, 64, 64)),
        (2, 4096, {"worker_class": "gthread", "wait_ratio": 1.0, "concurrency": 700}, ("gthread", 3, 234, 234)),
        (2, 4096, {"worker_class": "sync", "wait_ratio": 4.0, "concurrency": 128}, ("sync", 14, 1, 1)),
        (2, 1024, {"worker_class": "eventlet", "profile": "io", "concurrency": 32}, ("eventlet", 2, 1, 64)),
    ],
)
def test_class_workers_and_slots(cores: float, memory: int, app: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert shape(plan(facts(cores, memory), shop(**app))) == expected


def test_a_library_that_blocks_rules_gevent_out_and_the_reason_is_said() -> None:
    why = "psycopg2 2.9.10 blocks the event loop (psycogreen makes it cooperative)"
    found = plan(
        facts(), shop(profile="io", concurrency=100), async_verdicts={"shop": {"gevent": why, "eventlet": None}}
    )
    assert shape(found) == ("gthread", 2, 63, 63)
    assert found.settings["worker_class"].reason == (
        f"gevent would serve it best (98 % of a request is waiting (wait ratio 50, assumed)), but {why}"
    )
    assert found.warnings == (f"shop: gthread and not gevent: {found.settings['worker_class'].reason}",)


def test_a_class_that_is_asked_for_stays_and_is_warned_of() -> None:
    found = plan(
        facts(),
        shop(worker_class="gevent", profile="io"),
        async_verdicts={"shop": {"gevent": "psycopg2 2.9.10 blocks the event loop"}},
    )
    assert found.value("worker_class") == "gevent"
    assert found.settings["worker_class"].origin == "override"
    assert found.warnings == ("shop: worker_class gevent is declared, but psycopg2 2.9.10 blocks the event loop",)


def test_free_threaded_python_gets_no_gevent() -> None:
    found = plan(facts(python="3.13t"), shop(profile="io"))
    assert found.value("worker_class") == "gthread"
    assert "gevent does not support free-threaded Python" in found.settings["worker_class"].reason


def test_measurements_replace_guesses_and_are_named_as_measured() -> None:
    found = plan(facts(2, 1024), shop(profile="io", concurrency=128), weighed())
    origins = {name: item["origin"] for name, item in found.inputs.items() if isinstance(item, dict)}
    assert origins["wait_ratio"] == "measured"
    assert origins["worker_mib"] == "measured"
    assert origins["slot_mib"] == "measured"
    assert origins["concurrency"] == "declared"
    assert found.inputs["worker_mib"]["value"] == 43.5
    assert found.expected == {
        "memory_mib": 235.0,
        "memory_origin": "measured",
        "requests_per_second": 1000.0,
        "limited_by": "cores",
        "latency_ms": 52.0,
        "times_origin": "measured",
    }


def test_nothing_is_expected_of_times_that_nobody_knows() -> None:
    found = plan(facts(), shop(profile="io"))
    assert found.expected["requests_per_second"] is None
    assert found.expected["times_origin"] is None
    assert found.inputs["cpu_ms"]["origin"] == "assumed"


@pytest.mark.parametrize(
    ("memory", "app", "expected", "worker_mib"),
    [
        (256, {"profile": "io", "concurrency": 128}, ("gevent", 2, 1, 64), 23),
        (448, {"profile": "io", "concurrency": 128}, ("gevent", 2, 1, 83), 56),
        (512, {"profile": "io", "concurrency": 32, "memory": {"slot_mib": 8.0}}, ("gevent", 1, 1, 19), 23),
        (512, {"profile": "io", "concurrency": 8, "memory": {"slot_mib": 8.0}}, ("gevent", 2, 1, 4), 56),
        (300, {"profile": "io", "worker_class": "sync", "concurrency": 32}, ("sync", 1, 1, 1), 48),
    ],
)
def test_a_guess_of_the_memory_turns_no_requests_away(
    memory: int, app: dict[str, Any], expected: tuple[Any, ...], worker_mib: float
) -> None:
    found = plan(facts(2, memory), shop(**app))
    assert shape(found) == expected
    assert found.inputs["worker_mib"]["value"] == worker_mib
    assert any("declare memory.worker_mib" in warning for warning in found.warnings) == (worker_mib == 23)


def test_no_more_than_what_keeps_up_rests_on_the_least_that_a_worker_may_take() -> None:
    setting = plan(facts(2, 256), shop(profile="io", concurrency=128)).settings["worker_connections"]
    assert (setting.value, setting.winner, setting.origin) == (64, "guess", "assumed")


def test_where_memory_is_guessed_a_rates_mean_in_flight_is_not_enough_to_keep_up() -> None:
    app = shop(cpu_ms=5.0, wait_ms=50.0, rate=111.0, mix="uniform")
    found = plan(facts(1, 229), app)
    assert shape(found) == ("gevent", 1, 1, 14)  # Little: 6.1, and three times the square root of that
    assert "14 requests in flight do not fit" in found.warnings[0]
    declared = plan(facts(1, 229), shop(cpu_ms=5.0, wait_ms=50.0, rate=111.0, mix="uniform", concurrency=7))
    assert shape(declared) == ("gevent", 1, 1, 7)


def test_memory_of_requests_bounds_slots_and_keeps_the_cores_busy() -> None:
    app = shop(profile="mixed", concurrency=128, memory={"worker_mib": 60.0, "slot_mib": 20.0})
    found = plan(facts(2, 1024), app)
    assert shape(found) == ("gevent", 2, 1, 6)
    assert found.settings["workers"].winner == "cores"
    assert found.settings["worker_connections"].winner == "memory"
    assert found.warnings == (
        "shop: 12 requests can be in flight, fewer than the 128 planned for"
        " (declared: 128 requests in flight); what limits"
        " it: memory. The rest waits in the backlog",
    )


def test_the_fleets_database_bounds_slots() -> None:
    app = shop(
        profile="io", concurrency=200, database={"max_connections": 100, "connections_per_slot": 1, "reserved": 4}
    )
    found = plan(facts(4, 8192), app, fleet={"shop": 4})
    assert found.slots == 12
    assert 4 * 2 * found.slots <= 96
    assert found.settings["worker_connections"].winner == "database"
    limits = {limit.name: limit for limit in found.settings["worker_connections"].limits}
    assert limits["database"].value == 3
    assert (
        limits["database"].reason
        == "(100 connections - 4 reserved) / 4 hosts / 2 generations / 1 per request; over 4 workers"
    )


def test_every_setting_carries_its_limits_and_a_winner() -> None:
    found = plan(facts(2, 1024), shop(profile="io", concurrency=200))
    data = found.to_dict()
    assert tuple(data["settings"]) == _planner.SETTINGS
    for item in data["settings"].values():
        assert set(item) == {"value", "unit", "winner", "reason", "origin", "limits"}
    assert [limit["name"] for limit in data["settings"]["workers"]["limits"]] == ["cores", "concurrency", "memory"]
    assert data["settings"]["workers"]["winner"] == "cores"
    assert data["budget_mib"] == 460
    assert data["settings"]["memory_max_mib"]["reason"] == (
        "1024 MiB (MemTotal) - 102.4 MiB (a tenth is kept for the system) / 2 generations side by side"
    )


def test_a_plan_that_was_written_down_is_told_in_the_same_order() -> None:
    found = plan(facts(2, 1024), shop(profile="io", concurrency=200))
    stored = _planner.Plan.from_dict(json.loads(json.dumps(found.to_dict(), sort_keys=True)))
    rows = len(_planner.SETTINGS) + 2
    assert _planner.render_table(stored)[:rows] == _planner.render_table(found)[:rows]
    told = [line.split(" = ")[0] for line in _planner.explain(stored) if " = " in line and not line.startswith(" ")]
    assert tuple(told[: len(_planner.SETTINGS)]) == _planner.SETTINGS


@pytest.mark.parametrize(
    ("memory", "reserve", "budget"),
    [(128, None, 48), (256, None, 96), (512, None, 224), (1024, None, 460), (65536, None, 32256), (1024, 24, 500)],
)
def test_the_system_keeps_its_part_of_the_memory(memory: int, reserve: Any, budget: int) -> None:
    policy = _planner.Policy(reserve_memory_mib=reserve)
    assert plan(facts(1, memory), shop(profile="cpu"), policy=policy).budget_mib == budget


def test_without_rollout_headroom_one_generation_has_it_all() -> None:
    found = plan(facts(1, 512), shop(profile="cpu"), policy=_planner.Policy(rollout_headroom=False))
    assert found.budget_mib == 448
    assert found.inputs["rollout_headroom"] is False


def test_apps_share_by_weight_after_what_they_name() -> None:
    apps = [
        {**shop(profile="cpu"), "name": "a", "share": {"memory_mib": 400}},
        {**shop(profile="cpu"), "name": "b", "share": {"weight": 3}},
        {**shop(profile="cpu"), "name": "c", "share": {"weight": 1}},
    ]
    plans = _planner.plan_host(facts(5, 4096), apps)
    assert [plans[name].inputs["cores"]["value"] for name in "abc"] == [1.0, 3.0, 1.0]
    assert [plans[name].budget_mib for name in "abc"] == [200, 1232, 410]


@pytest.mark.parametrize(
    ("python", "kind", "version", "packages"),
    [
        ("3.11", "gevent", "==27.0.1", ["gunicorn[gevent]==27.0.1"]),
        ("3.13", "sync", "==27.0.1", ["gunicorn==27.0.1"]),
        ("3.11", "eventlet", ">=25.3,<26", ["gunicorn>=25.3,<26", "eventlet==0.41.3"]),
        ("3.9", "gthread", "==23.0.0", ["gunicorn==23.0.0"]),
        ("3.9", "gevent", "==23.0.0", ["gunicorn[gevent]==23.0.0", "gevent>=24.10.1"]),
        ("3.9", "eventlet", "==23.0.0", ["gunicorn==23.0.0", "eventlet==0.40.3"]),
    ],
)
def test_the_gunicorn_for_the_class_and_the_python(python: str, kind: str, version: str, packages: list[str]) -> None:
    found = plan(facts(python=python), shop(worker_class=kind, profile="io"))
    assert found.value("gunicorn_version") == version
    assert found.value("gunicorn_packages") == packages


@pytest.mark.parametrize(
    ("python", "kind", "pinned", "version", "reason"),
    [
        ("3.11", "gthread", "23.0.0", "==23.0.0", "the project pins it; the plan's own: ==27.0.1"),
        ("3.11", "gevent", "25.3.0", "==25.3.0", "the project pins it"),
        ("3.11", "eventlet", "25.0.3", "==25.0.3", "the project pins it"),
        ("3.11", "gthread", "21.2.0", "==27.0.1", "the project pins ==21.2.0, which has known holes (CVE-2024-1135"),
        ("3.11", "eventlet", "26.1.0", ">=25.3,<26", "the project pins ==26.1.0, which has no eventlet worker"),
        ("3.9", "gthread", "25.3.0", "==23.0.0", "the project pins ==25.3.0, which needs Python 3.10"),
    ],
)
def test_the_gunicorn_of_the_project_serves_where_it_can(
    python: str, kind: str, pinned: str, version: str, reason: str
) -> None:
    found = plan(facts(python=python), shop(worker_class=kind, profile="io"), gunicorn={"shop": pinned})
    setting = found.settings["gunicorn_version"]
    assert setting.value == version
    assert reason in setting.reason
    assert found.value("gunicorn_packages")[0].endswith(version)
    assert f"=={pinned}" in [limit.value for limit in setting.limits]


def test_the_gunicorn_of_the_settings_goes_before_that_of_the_project() -> None:
    app = shop(worker_class="gevent", profile="io", settings={"gunicorn_version": "26.1.0"})
    found = plan(facts(), app, gunicorn={"shop": "23.0.0"})
    assert found.value("gunicorn_packages") == ["gunicorn[gevent]==26.1.0"]
    setting = found.settings["gunicorn_version"]
    assert (setting.value, setting.winner, setting.origin) == ("==26.1.0", "override", "override")


def test_a_gunicorn_without_the_class_is_refused() -> None:
    app = shop(worker_class="eventlet", profile="io", settings={"gunicorn_version": "26.1.0"})
    with pytest.raises(_planner.PlanError) as caught:
        plan(facts(), app)
    assert str(caught.value) == (
        "shop: settings.gunicorn_version is 26.1.0: that version has no eventlet worker: 26.0 removed it. Allowed:"
        " >=25.3,<26, for eventlet workers. Fix: correct settings.gunicorn_version, or remove it."
    )


def test_eventlet_is_warned_of() -> None:
    found = plan(facts(), shop(worker_class="eventlet", profile="io"))
    assert found.warnings == (
        "shop: eventlet 0.41.3 is in bug-fix-only retirement, and Gunicorn"
        " 26.0 removed its worker: the release is pinned to"
        " gunicorn>=25.3,<26; move to worker_class: gevent",
    )


@pytest.mark.parametrize("app", [{"profile": "cpu"}, {"profile": "cpu", "mix": None}, {"profile": "io"}])
def test_threads_that_are_asked_for_are_those_of_gthread(app: dict[str, Any]) -> None:
    """Gunicorn makes gthread of sync with threads, and gevent has none."""
    found = plan(facts(1, 4096), shop(settings={"threads": 4}, **app))
    assert (found.value("worker_class"), found.value("threads")) == ("gthread", 4)
    assert found.settings["worker_class"].reason == "settings.threads is 4, and only gthread has threads"
    assert plan(facts(1, 4096), shop(settings={"threads": 1}, profile="cpu")).value("worker_class") == "sync"


SLOW_CLIENTS = (
    "shop: a gthread worker waits for slow clients: put a buffering proxy in front and set buffering_proxy: true,"
    " or set worker_class: gevent"
)


def test_without_a_proxy_sync_is_not_planned_and_slow_clients_are_warned_of() -> None:
    found = plan(facts(1, 1024), shop(profile="cpu", buffering_proxy=False))
    assert shape(found) == ("gthread", 1, 49, 49)
    assert found.settings["worker_class"].winner == "slow clients"
    assert "no buffering proxy is declared, so a slow or idle client" in found.settings["worker_class"].reason
    assert found.warnings == (SLOW_CLIENTS,)
    assert found.value("switch_interval_ms") == 0


BLOCKED = "asgiref is in the release, and blocks gevent where requests of async views overlap"


@pytest.mark.parametrize(
    ("reason", "advised"),
    [(BLOCKED, False), (not_built("gevent"), True), (None, True)],
    ids=["asgiref", "built", "none"],
)
@pytest.mark.parametrize("worker_class", ["gthread", "eventlet"])
def test_a_class_that_the_libraries_rule_out_is_not_advised(
    reason: str | None, advised: bool, worker_class: str
) -> None:
    """gevent needs another release where this one lacks it, which is no reason against it."""
    app = shop(profile="cpu", worker_class=worker_class, buffering_proxy=False)
    found = plan(facts(), app, async_verdicts={"shop": {"gevent": reason}})
    assert any("worker_class: gevent" in words for words in found.warnings) is advised
    assert (
        any("buffering_proxy: true" in words or "worker_class: gthread" in words for words in found.warnings) or advised
    )


def test_a_worker_class_that_is_asked_for_is_warned_of_without_a_proxy() -> None:
    found = plan(facts(), shop(profile="cpu", worker_class="sync", buffering_proxy=False))
    assert shape(found) == ("sync", 2, 1, 1)
    assert found.warnings == (SLOW_CLIENTS.replace("gthread", "sync"),)


@pytest.mark.parametrize("proxy", [True, False])
@pytest.mark.parametrize("cores", [1, 2])
def test_threads_hold_no_less_than_the_declared_concurrency(cores: float, proxy: bool) -> None:
    """Quick requests that are alike, weighed, as a newcomer has them: one worker, or six threads, were planned."""
    quick = kinds(("/", 1, 0.9, 0.1), ("/about", 1, 1.0, 0.1))
    app = {"mix": None, "concurrency": 20, "buffering_proxy": proxy}
    verdicts = {"shop": {"gevent": "the release was built without gevent"}}
    found = plan(facts(cores, 1024), shop(**app), quick, async_verdicts=verdicts)
    assert (found.value("worker_class"), found.slots >= 20) == (("sync", False) if proxy else ("gthread", True))
    waits = plan(facts(cores, 1024), shop(**app), kinds(("/", 1, 1, 3), ("/b", 1, 1, 3)), async_verdicts=verdicts)
    assert (waits.value("worker_class"), waits.slots >= 20) == ("gthread", True)


SLOW = [("/", 1.0, 4.0, 12000.0)]


@pytest.mark.parametrize("memory", [512, 1536, 8192])
def test_requests_that_nobody_declared_take_half_of_the_threads_that_a_service_may_have(memory: int) -> None:
    """12 s of waiting on 4 ms of CPU: 6283 in flight would keep two cores busy; no host of 1.5 GiB begins so many."""
    app = {"mix": None, "buffering_proxy": False}
    found = plan(facts(2, memory), shop(**app), kinds(*SLOW))
    threads = found.settings["threads"]
    assert found.value("worker_class") == "gthread"
    assert 160 < found.slots <= max(256, 0.6 * memory) + found.value("workers")
    assert threads.winner == "tasks"
    assert "unless concurrency is declared, as 6283 in flight would keep the cores busy" in threads.reason


def test_requests_that_are_declared_have_their_threads_whatever_systemd_lets_a_service_have() -> None:
    host, app = facts(2, 3072), {"mix": None, "buffering_proxy": False}
    assert plan(host, shop(**app), kinds(*SLOW)).slots < 1900
    assert plan(host, shop(**app, concurrency=2000), kinds(*SLOW)).slots >= 2000
    assert plan(host, shop(**app, rate=180), kinds(*SLOW)).slots >= 2160


def test_where_memory_keeps_the_declared_concurrency_out_the_plan_says_so() -> None:
    app = shop(profile="cpu", concurrency=300, buffering_proxy=False, memory={"worker_mib": 60.0, "slot_mib": 4.0})
    found = plan(facts(2, 1024), app)
    assert found.value("worker_class") == "gthread"
    assert found.slots < 300
    limits = {limit.name: limit.value for limit in found.settings["threads"].limits}
    assert limits["memory"] * found.value("workers") <= found.slots + found.value("workers")
    told = next(warning for warning in found.warnings if "requests can be in flight" in warning)
    assert told.startswith(f"shop: {found.slots} requests can be in flight, fewer than the 300 planned for")
    assert "what limits it: memory" in told


def test_overrides_win_and_say_so() -> None:
    app = shop(
        profile="io",
        concurrency=100,
        settings={"workers": 3, "worker_connections": 50, "timeout": 90, "keepalive": 2, "max_requests": 0},
    )
    found = plan(facts(2, 1024), app)
    assert shape(found) == ("gevent", 3, 1, 50)
    assert found.value("timeout") == 90
    assert found.value("graceful_timeout") == 90
    assert found.value("max_requests") == 0
    assert found.value("max_requests_jitter") == 0
    setting = found.settings["keepalive"]
    assert (setting.value, setting.winner, setting.origin) == (2, "override", "override")
    assert setting.reason == "overridden by settings.keepalive; the plan's own: 0"


def test_timeouts_follow_slow_requests() -> None:
    found = plan(facts(), shop(cpu_ms=5.0, wait_ms=9995.0))
    assert found.value("timeout") == 100
    assert found.value("graceful_timeout") == 100


def test_recycling_follows_the_rate_and_spares_a_single_worker() -> None:
    assert plan(facts(1, 512), shop(profile="io")).value("max_requests") == 0
    found = plan(facts(2, 1024), shop(profile="io", rate=20.0))
    assert (found.value("max_requests"), found.value("max_requests_jitter")) == (216_000, 43_200)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"workers": 1, "max_requests": 500}, True),
        ({"workers": 1, "max_requests": 0}, False),
        ({"workers": 1}, False),
        ({"workers": 2, "max_requests": 500}, False),
    ],
)
def test_recycling_the_only_worker_is_warned_of_and_never_planned(settings: dict[str, int], told: bool) -> None:
    found = plan(facts(2, 1024), shop(profile="io", rate=20.0, settings={"timeout": 40, **settings}))
    words = "shop: settings.max_requests is 500 with one worker: Gunicorn begins the next worker only when"
    warned = [warning for warning in found.warnings if warning.startswith(words)]
    assert len(warned) == told
    assert all("or after graceful_timeout (40 s)" in warning for warning in warned)
    assert told or settings["workers"] > 1 or found.value("max_requests") == 0


def test_requests_that_hold_memory_are_let_in_as_the_cores_get_to_them() -> None:
    app = shop(profile="io", concurrency=128)
    assert shape(plan(facts(2, 8192), app, weighed(2.0, 32.0))) == ("gevent", 2, 1, 128)
    found = plan(facts(2, 8192), app, weighed(2.0, 32.0, slot_mib=8.0))
    assert shape(found) == ("gevent", 2, 1, 40)  # 2.5 x 2 x (1 + 15) / 2
    setting = found.settings["worker_connections"]
    assert setting.winner == "waiting"
    said = "2.5 x cores x (1 + wait ratio 15) keeps every core busy; no more than that, as a request holds 8 MiB"
    assert [limit.name for limit in setting.limits if said in limit.reason] == ["waiting"]


@pytest.mark.parametrize(
    ("slot_mib", "worker_class", "memory", "kept", "winner"),
    [
        (8.0, "auto", 8192, 64, "requests"),
        (2.5, "auto", 8192, 20, "requests"),
        (8.0, "auto", 320, 48, "requests"),  # no more than its six slots
        (0.9, "auto", 8192, 0, "glibc"),
        (8.0, "gthread", 8192, 0, "class"),
        (8.0, "sync", 8192, 0, "class"),
    ],
)
def test_a_worker_keeps_the_memory_of_its_requests(
    slot_mib: float, worker_class: str, memory: int, kept: int, winner: str
) -> None:
    app = shop(profile="io", concurrency=128, worker_class=worker_class)
    setting = plan(facts(2, memory), app, weighed(2.0, 32.0, slot_mib=slot_mib)).settings["malloc_trim_threshold_mib"]
    assert (setting.value, setting.winner) == (kept, winner)
    assert winner in {limit.name for limit in setting.limits} | {"class"}


# --- the dead band ----------------------------------------------------------------------------------------------------


def heavy(**more: Any) -> dict[str, Any]:
    return shop(profile="io", concurrency=128, **more)


def test_noise_keeps_the_previous_slots() -> None:
    first = plan(facts(2, 1024), heavy(), weighed(2.0, 200.0, slot_mib=4.0))
    noisy = weighed(2.0, 200.0, slot_mib=4.3, worker_pss_mib=41.5)
    fresh = plan(facts(2, 1024), heavy(), noisy)
    kept = plan(facts(2, 1024), heavy(), noisy, previous={"shop": first.values()})
    assert fresh.value("worker_connections") != first.value("worker_connections")
    assert kept.value("worker_connections") == first.value("worker_connections")
    assert kept.kept == ("worker_connections", "malloc_trim_threshold_mib")
    setting = kept.settings["worker_connections"]
    assert setting.winner == "dead band"
    assert setting.reason.startswith(
        "kept from the previous plan: measurements 15 % off, as noise makes them, give it; memory: "
    )


def test_a_real_change_is_no_noise() -> None:
    first = plan(facts(2, 1024), heavy(), weighed(2.0, 200.0, slot_mib=4.0))
    twice = weighed(2.0, 200.0, slot_mib=8.0)
    later = plan(facts(2, 1024), heavy(), twice, previous={"shop": first.values()})
    assert later.values() == plan(facts(2, 1024), heavy(), twice).values()
    assert later.kept == ()


def test_the_class_does_not_flip_at_its_border() -> None:
    app = shop(profile="mixed", concurrency=32, profile_mismatch="use_measured")
    first = plan(facts(), app, weighed(10.0, 12.1))
    assert first.value("worker_class") == "gevent"
    fresh = plan(facts(), app, weighed(10.0, 11.9))
    assert fresh.value("worker_class") == "sync"
    kept = plan(facts(), app, weighed(10.0, 11.9), previous={"shop": first.to_dict()})
    assert kept.value("worker_class") == "gevent"
    assert "worker_class" in kept.kept


def test_other_hardware_is_no_noise() -> None:
    first = plan(facts(2, 1024), heavy(), weighed(2.0, 40.0))
    assert first.value("workers") == 2
    later = plan(facts(3, 1024), heavy(), weighed(2.0, 40.0), previous={"shop": first.values()})
    assert later.value("workers") == 3


def test_a_kernel_that_takes_some_pages_changes_nothing() -> None:
    first = plan(facts(2, 1020), shop(profile="io", concurrency=64))
    later = plan(facts(2, 1024), shop(profile="io", concurrency=64), previous={"shop": first.values()})
    assert later.values() == first.values()
    assert later.kept == ("memory_high_mib", "memory_max_mib")


# --- the declared profile against the measured app --------------------------------------------------------------------


def test_cpu_declared_but_waiting() -> None:
    measured = _planner.Measured.from_dict(weighed(2.1, 52.4))
    found = _planner.profile_mismatch(App.from_dict(shop(profile="cpu")), measured, "warn")
    assert found is not None
    assert found.severity == "warn"
    assert found.sentence == (
        "shop: profile cpu is declared (waiting 5 % of a request, wait ratio"
        " 0.05), but 200 weighed requests took 2.1 ms of"
        " CPU in 52.4 ms, waiting 96 % of its time (wait ratio 24): that is"
        " io; the plan goes by the declaration, as profile_mismatch: warn asks; correct the declaration"
    )


def test_io_declared_but_computing() -> None:
    measured = _planner.Measured.from_dict(weighed(20.0, 20.6))
    found = _planner.profile_mismatch(App(name="app", profile="io"), measured, "fail")
    assert found is not None
    assert "profile io is declared" in found.sentence
    assert "that is cpu" in found.sentence


@pytest.mark.parametrize(
    ("declared", "cpu_ms", "wall_ms"),
    [
        ({"profile": "cpu"}, 5.0, 6.0),
        ({"profile": "io"}, 2.0, 10.0),
        ({"profile": "mixed"}, 10.0, 12.5),
        ({"profile": "mixed"}, 4.0, 20.0),
        ({"wait_ratio": 8.0}, 2.0, 14.0),
        ({}, 1.0, 100.0),
    ],
)
def test_what_agrees_is_not_told(declared: dict[str, Any], cpu_ms: float, wall_ms: float) -> None:
    assert (
        _planner.profile_mismatch(
            App.from_dict(shop(**declared)), _planner.Measured.from_dict(weighed(cpu_ms, wall_ms))
        )
        is None
    )


def test_the_measurement_goes_before_the_declared_profile_unless_warn_is_asked_for() -> None:
    app = shop(profile="cpu", concurrency=64)
    warned = plan(facts(), {**app, "profile_mismatch": "warn"}, weighed(2.0, 52.0))
    assert warned.value("worker_class") == "sync"
    assert warned.warnings[0].startswith("shop: profile cpu is declared")
    used = plan(facts(), app, weighed(2.0, 52.0))
    assert used.value("worker_class") == "gevent"
    assert used.warnings[0].endswith("that is io; the plan goes by the measurement; correct the declaration")


def timed(*paths: tuple[str, float]) -> dict[str, Any]:
    """load of paths with the CPU time that is declared of them."""
    return {"paths": [{"path": path, "weight": 1.0, "cpu_ms": cpu_ms} for path, cpu_ms in paths]}


def test_the_gate_names_what_was_declared() -> None:
    app = shop(load=timed(("/a", 2.0), ("/b", 4.0)), profile_mismatch="fail")
    with pytest.raises(_planner.PlanError) as error:
        plan(facts(), app, weighed(3.0, 53.0))
    assert str(error.value) == (
        "shop: load.paths is 0 ms of waiting on 3 ms of CPU: by load.paths 0 ms of waiting on 3 ms of CPU are declared"
        " (waiting 0 % of a request, wait ratio 0), but 200 weighed requests took 3 ms of CPU in 53 ms, waiting 94 % of"
        " its time (wait ratio 16.7): that is io. Allowed: a declaration that the app bears out. Fix: correct it, or go"
        " by the measurement (profile_mismatch: use_measured, the default)."
    )
    with pytest.raises(_planner.PlanError) as error:
        plan(facts(), shop(cpu_ms=3.0, wait_ms=1.0, profile_mismatch="fail"), weighed(3.0, 53.0))
    assert str(error.value).startswith("shop: wait_ms is 1: 1 ms of waiting on 3 ms of CPU is declared")
    with pytest.raises(_planner.PlanError) as error:
        plan(facts(), shop(wait_ratio=0.5, profile_mismatch="fail"), weighed(3.0, 53.0))
    assert str(error.value).startswith("shop: wait_ratio is 0.5: wait_ratio 0.5 is declared")


def test_the_weigh_of_an_earlier_generation_refuses_nothing() -> None:
    app = shop(profile="cpu", profile_mismatch="fail")
    found = plan(facts(), app, weighed(2.0, 52.0, earlier=True))
    assert found.value("worker_class") == "sync"
    assert found.warnings[0].endswith(
        "that is io; that was an earlier generation: the weigh of the next one decides (profile_mismatch: fail)"
    )
    with pytest.raises(_planner.PlanError):
        plan(facts(), app, weighed(2.0, 52.0))


def test_a_path_that_never_answered_well_does_not_count_and_is_told() -> None:
    refused = {"path": "/members", "weight": 1.0, "requests": 0}
    refused.update(dict.fromkeys(("cpu_ms", "cpu_sd_ms", "wait_ms", "wait_sd_ms"), 0.0))
    measured = kinds(*ALIKE, uncounted=["GET /members answered 403 each time"])
    measured["paths"].append(refused)
    found = plan(facts(2, 2048), shop(mix=None, profile="cpu"), measured)
    assert (found.value("worker_class"), found.inputs["mix"]["origin"]) == ("gevent", "measured")
    assert found.warnings == ("shop: GET /members answered 403 each time",)
    later = plan(facts(2, 2048), shop(mix=None, profile="cpu", load={"paths": []}), {**measured, "earlier": True})
    assert not any("403" in warning for warning in later.warnings)


def test_times_of_other_paths_are_not_those_of_the_declared_load() -> None:
    app = shop(mix=None, profile="cpu", load={"paths": [{"path": "/new"}, {"path": "/"}]})
    before = kinds(("/", 1, 1, 50), ("/old", 1, 1, 50), earlier=True)
    found = plan(facts(), app, before)
    assert found.inputs["cpu_ms"]["origin"] == "assumed"
    assert (found.inputs["worker_mib"]["origin"], found.inputs["slot_mib"]["origin"]) == ("measured", "measured")
    assert found.warnings == (
        "shop: the live generation was weighed with other paths (/, /old): the plan keeps to the declaration until the"
        " next weigh",
    )
    same = plan(facts(), {**app, "load": {"paths": [{"path": "/old"}, {"path": "/"}]}}, before)
    assert same.inputs["cpu_ms"]["origin"] == "measured"


def test_too_few_requests_are_not_gone_by() -> None:
    found = plan(facts(), shop(profile="cpu"), weighed(2.0, 52.0, requests=5))
    assert found.value("worker_class") == "sync"
    assert found.warnings == (
        "shop: 5 weighed requests are too few to go by (at least 20): the plan keeps to the declaration",
    )


# --- what cannot be planned -------------------------------------------------------------------------------------------

TOO_SMALL = (
    "shop: memory of a worker is 300 MiB (declared: memory.worker_mib):"
    " one worker, one request (0.25 MiB) and the master"
    " (19 MiB) need 319.2 MiB, and 201.6 MiB may be planned with: 90 % of"
    " 224 MiB = 512 MiB (MemTotal) - 64 MiB (64 MiB are"
    " kept for the system) / 2 generations side by side. Allowed: at most"
    " 182.3 MiB for a worker. Fix: give the host more"
    " memory or this app a larger share, or do without room for two generations side by side"
    " (headcount_rollout_headroom: false)."
)
NO_CONNECTION = (
    "shop: database.max_connections is 20: (20 connections - 3 reserved) / 10"
    " hosts / 2 generations / 1 per request leaves no"
    " connection for a host. Allowed: at least 23. Fix: raise the"
    " database's max_connections, put a pooler in front of it,"
    " lower database.reserved, or run the app on fewer hosts."
)
TOO_MANY = (
    "shop: settings.workers is 40: 40 x 56 MiB for workers, 40 x 0.25 MiB for"
    " requests and 19 MiB for the master are 2269 MiB"
    " of 201.6 MiB that may be planned with (512 MiB (MemTotal) - 64 MiB (64"
    " MiB are kept for the system) / 2 generations side"
    " by side). Allowed: at most 3. Fix: lower settings.workers or leave it to the plan."
)
TOO_MUCH = (
    "shop: settings.memory_max_mib is 300: a generation may use 224 MiB: 512"
    " MiB (MemTotal) - 64 MiB (64 MiB are kept for the"
    " system) / 2 generations side by side. Allowed: at most 224. Fix:"
    " lower settings.memory_max_mib, give the app a larger"
    " share or the host more memory."
)
NO_SETTING = (
    "shop: settings.worker_class is sync: that is no setting that can be overridden. Allowed: workers, threads,"
    " worker_connections, preload_app, backlog, keepalive, timeout,"
    " graceful_timeout, max_requests, max_requests_jitter,"
    " limit_nofile, malloc_trim_threshold_mib, switch_interval_ms, memory_high_mib, memory_max_mib,"
    " gunicorn_version. Fix: remove settings.worker_class; set worker_class on the app."
)
NOFILE = (
    "shop: settings.limit_nofile is 600000: the host allows 524288 open"
    " files. Allowed: at most 524288. Fix: lower it, or"
    " raise fs.nr_open and DefaultLimitNOFILE on the host."
)
REFUSED = (
    "shop: profile is cpu: profile cpu is declared (waiting 5 % of a request,"
    " wait ratio 0.05), but 200 weighed requests took"
    " 2 ms of CPU in 52 ms, waiting 96 % of its time (wait ratio 25): that"
    " is io. Allowed: a declaration that the app bears"
    " out. Fix: correct it, or go by the measurement (profile_mismatch: use_measured, the default)."
)


@pytest.mark.parametrize(
    ("app", "more", "text"),
    [
        ({"profile": "io", "memory": {"worker_mib": 300}}, {}, TOO_SMALL),
        ({"database": {"max_connections": 20, "reserved": 3}}, {"fleet": {"shop": 10}}, NO_CONNECTION),
        ({"profile": "io", "settings": {"workers": 40}}, {}, TOO_MANY),
        ({"settings": {"memory_max_mib": 300}}, {}, TOO_MUCH),
        ({"settings": {"worker_class": "sync"}}, {}, NO_SETTING),
        ({"settings": {"limit_nofile": 600_000}}, {}, NOFILE),
        ({"profile": "cpu", "profile_mismatch": "fail"}, {"measured": weighed(2.0, 52.0)}, REFUSED),
    ],
)
def test_impossible_plans_name_variable_value_allowed_and_fix(app: Any, more: Any, text: str) -> None:
    with pytest.raises(_planner.PlanError) as error:
        plan(facts(2, 512), shop(**app), **more)
    assert str(error.value) == text
    assert error.value.to_dict()["message"] == text


def test_apps_cannot_ask_for_more_than_there_is() -> None:
    apps = [
        {**shop(), "name": "a", "share": {"memory_mib": 900}},
        {**shop(), "name": "b", "share": {"memory_mib": 900}},
    ]
    with pytest.raises(_planner.PlanError) as error:
        _planner.plan_host(facts(2, 1024), apps)
    assert str(error.value) == (
        "a: share.memory_mib is 900: the apps of this host ask for 1800 of"
        " 921.6 MiB, that is more than there is. Allowed:"
        " together at most 921.6 MiB. Fix: lower share.memory_mib, or use share.weight."
    )


# --- words ------------------------------------------------------------------------------------------------------------


# --- requests that are not alike --------------------------------------------------------------------------------------

TWO_KINDS = [("/", 95.0, 5.0, 0.0), ("/report", 5.0, 300.0, 0.0)]
MILD_KINDS = [("/", 70.0, 4.6, 0.0), ("/list", 25.0, 12.6, 0.0), ("/search", 5.0, 40.6, 0.0)]
SHOP = [
    ("/", 60.0, 3.6, 0.0),
    ("/basket", 25.0, 5.6, 30.0),
    ("/search", 12.0, 20.6, 0.0),
    ("/report", 3.0, 251.0, 100.0),
]
ALIKE = [("/read", 1.0, 8.0, 0.0), ("/write", 1.0, 9.0, 0.0)]


def kinds(*paths: tuple[str, float, float, float], **more: Any) -> dict[str, Any]:
    """A weigh of paths: name, weight, ms of CPU, ms of waiting."""
    whole = sum(weight for _, weight, _, _ in paths)
    cpu_ms = sum(weight * cpu for _, weight, cpu, _ in paths) / whole
    wait_ms = sum(weight * wait for _, weight, _, wait in paths) / whole
    names = ("path", "weight", "cpu_ms", "wait_ms")
    steady = {"requests": 20, "cpu_sd_ms": 0.1, "wait_sd_ms": 0.1}
    items = [{**dict(zip(names, path)), **steady} for path in paths]
    return weighed(cpu_ms, cpu_ms + wait_ms, paths=items, **more)


@pytest.mark.parametrize(
    ("cores", "memory", "app", "measured", "expected"),
    [
        # nobody knows: the cores are shared, by three processes each, with slots that long requests do not exhaust
        (1, 2048, {"mix": None, "profile": "cpu", "buffering_proxy": False}, None, ("gthread", 3, 54, 54)),
        # nothing waits, and a proxy keeps slow clients away: by processes
        (1, 2048, {"mix": None, "profile": "cpu"}, None, ("sync", 14, 1, 1)),
        (1, 4096, {"mix": None, "profile": "cpu", "rate": 29.5}, kinds(*TWO_KINDS), ("sync", 11, 1, 1)),
        (1, 4096, {"mix": None, "profile": "cpu", "rate": 45.0}, kinds(*TWO_KINDS), ("sync", 16, 1, 1)),
        (2, 4096, {"mix": None, "profile": "cpu", "rate": 59.0}, kinds(*TWO_KINDS), ("sync", 11, 1, 1)),
        (96, 262144, {"mix": None, "profile": "cpu", "rate": 3000.0}, kinds(*TWO_KINDS), ("sync", 100, 1, 1)),
        # the less they differ and the less there is to do, the fewer
        (2, 4096, {"mix": None, "profile": "cpu", "rate": 143.0}, kinds(*MILD_KINDS), ("sync", 6, 1, 1)),
        (2, 4096, {"mix": None, "profile": "cpu", "rate": 29.5}, kinds(*TWO_KINDS), ("sync", 6, 1, 1)),
        (2, 8192, {"mix": None, "profile": "cpu", "rate": 91.0}, kinds(*TWO_KINDS), ("sync", 24, 1, 1)),
        # not what one path alone seems to do
        (1, 2048, {"mix": None}, kinds(("/", 1.0, 5.0, 0.0)), ("gthread", 3, 17, 17)),
        # where some wait, each in a worker: as long as these suffice for three times as long waits, and for bursts
        (1, 2048, {"mix": None}, kinds(*TWO_KINDS, ("/far", 0.5, 5, 300)), ("sync", 16, 1, 1)),
        (1, 2048, {"mix": None}, kinds(*TWO_KINDS, ("/far", 20, 5, 300)), ("gthread", 3, 20, 20)),
        (1, 4096, {"mix": None, "rate": 44.3}, kinds(*SHOP), ("sync", 13, 1, 1)),
        (1, 4096, {"mix": None, "rate": 22.1}, kinds(*SHOP), ("sync", 13, 1, 1)),
        (2, 8192, {"mix": None, "rate": 124}, kinds(("/", 97, 2, 20), ("/report", 3, 400, 0)), ("sync", 24, 1, 1)),
        (
            2,
            8192,
            {"mix": None, "rate": 179},
            kinds(("/", 98, 1, 50), ("/report", 2, 200, 0)),
            ("gthread", 6, 15, 15, 0),
        ),
        (1, 4096, {"mix": None, "rate": 44.3, "buffering_proxy": False}, kinds(*SHOP), ("gthread", 3, 18, 18)),
        (1, 4096, {"mix": None, "rate": 44.3, "concurrency": 40}, kinds(*SHOP), ("gthread", 3, 17, 17)),
        (1, 512, {"mix": None, "rate": 44.3}, kinds(*SHOP), ("gthread", 3, 18, 18)),
        (2, 2048, {"mix": None}, None, ("gthread", 6, 28, 28, 0)),
        # each connection wakes every process, which matters where requests compute for a moment
        (2, 2048, {"mix": None, "profile": "io", "concurrency": 200}, None, ("gthread", 2, 125, 125)),
        (2, 2048, {"mix": None, "cpu_ms": 3, "wait_ms": 3}, None, ("gthread", 4, 15, 15)),
        (2, 1024, {"mix": None, "rate": 50, "profile": "cpu"}, None, ("gthread", 6, 10, 10)),
        (2, 2048, {"mix": None, "concurrency": 3}, None, ("gthread", 4, 2, 2)),
        # one path says nothing about the others
        (2, 1024, {"mix": None, "profile": "cpu"}, kinds(("/", 1.0, 5.0, 0.0)), ("gthread", 6, 10, 10)),
        # who waits anyway bears longer turns and a few more processes, but not where one core's mix is unknown
        (1, 4096, {"mix": None, "rate": 44}, None, ("gthread", 2, 25, 25)),
        (1, 4096, {"mix": None, "rate": 44}, kinds(("/", 1.0, 8.6, 2.0)), ("gthread", 2, 26, 26)),
        (1, 512, {"mix": None, "rate": 44}, None, ("gthread", 2, 25, 25)),
        (1, 384, {"mix": None, "rate": 44}, None, ("gthread", 2, 25, 25)),
        # very long ones: shorter turns, of a process more than cores; two also where but a guess leaves one
        (1, 4096, {"profile": "cpu", "buffering_proxy": False}, kinds(*TWO_KINDS), ("gthread", 2, 25, 25, 0.5)),
        (2, 4096, {"profile": "cpu", "buffering_proxy": False}, kinds(*TWO_KINDS), ("gthread", 3, 17, 17, 0.5)),
        (2, 4096, {"profile": "cpu", "buffering_proxy": False}, kinds(*MILD_KINDS), ("gthread", 6, 10, 10)),
        (1, 256, {"mix": None, "profile": "cpu", "rate": 30}, None, ("gthread", 2, 25, 25)),
        (1, 256, {"mix": None, "profile": "io", "rate": 30}, None, ("gthread", 1, 49, 49)),
        (1, 200, {"mix": None, "profile": "cpu", "rate": 30}, None, ("gthread", 1, 14, 14)),
        # weighed, and not alike
        (2, 2048, {"mix": None, "profile": "cpu"}, kinds(*TWO_KINDS), ("sync", 18, 1, 1)),
        (2, 2048, {"profile": "cpu"}, kinds(*TWO_KINDS), ("sync", 18, 1, 1)),
        (2, 2048, {"profile": "cpu", "buffering_proxy": False}, kinds(*TWO_KINDS), ("gthread", 3, 17, 17, 0.5)),
        # little memory: the slots first, then processes
        (2, 1024, {"mix": None, "profile": "cpu"}, kinds(*TWO_KINDS), ("gthread", 3, 17, 17, 0.5)),
        (2, 512, {"mix": None, "profile": "cpu"}, kinds(*TWO_KINDS), ("gthread", 3, 17, 17, 0.5)),
        (2, 320, {"mix": None, "profile": "cpu"}, kinds(*TWO_KINDS), ("gthread", 1, 50, 50, 0.5)),
        # weighed, and alike: a person says that the others are too, or what nobody weighed may wait in a hub
        (2, 2048, {"mix": "uniform", "profile": "cpu"}, kinds(*ALIKE), ("sync", 2, 1, 1)),
        (2, 2048, {"mix": None, "profile": "cpu"}, kinds(*ALIKE), ("gevent", 2, 1, 128)),
        (1, 1024, {"mix": None, "concurrency": 20}, kinds(*ALIKE), ("gevent", 1, 1, 64)),
        (2, 2048, {"mix": None, "profile": "io"}, kinds(("/", 9, 1, 50), ("/more", 1, 3, 60)), ("gevent", 2, 1, 128)),
        # waits that differ hold nobody up
        (2, 2048, {"mix": None, "profile": "io"}, kinds(("/", 95, 5, 0), ("/far", 5, 5, 1000)), ("gevent", 2, 1, 128)),
        # asked for all the same
        (2, 4096, {"mix": None, "profile": "cpu", "worker_class": "sync"}, None, ("sync", 14, 1, 1)),
    ],
)
def test_requests_that_are_not_alike_share_the_cores(
    cores: float, memory: int, app: dict[str, Any], measured: Any, expected: tuple[Any, ...]
) -> None:
    found = plan(facts(cores, memory), shop(**{"profile_mismatch": "use_measured", **app}), measured)
    assert shape(found) == expected[:4]
    turns = expected[4] if len(expected) > 4 else 1.0
    assert found.value("switch_interval_ms") == (turns if expected[0] == "gthread" else 0)
    shares = expected[0] == "gthread" or expected[1] > cores
    assert found.inputs["mix"]["value"] == ("mixed" if shares else "uniform")


NO_GEVENT = {"shop": {"gevent": "psycopg2 2.9.10 blocks the event loop"}}


@pytest.mark.parametrize(
    ("cores", "memory", "app", "measured", "expected"),
    [
        # some workers are free while what nobody weighed takes long
        (1, 1024, {}, kinds(*ALIKE), ("sync", 6, 1, 1)),
        (1, 1024, {"rate": 70}, kinds(*ALIKE), ("sync", 5, 1, 1)),
        (2, 2048, {}, kinds(*ALIKE), ("sync", 6, 1, 1)),
        (2, 2048, {"rate": 10}, kinds(*ALIKE), ("sync", 6, 1, 1)),
        (8, 16384, {}, kinds(*ALIKE), ("sync", 12, 1, 1)),
        (2, 2048, {"mix": "uniform"}, kinds(*ALIKE), ("sync", 2, 1, 1)),
        # as far as memory goes, else by threads
        (1, 640, {}, kinds(*ALIKE), ("sync", 5, 1, 1)),
        (1, 384, {}, kinds(*ALIKE), ("gthread", 1, 49, 49)),
        (1, 384, {"mix": "uniform"}, kinds(*ALIKE), ("sync", 1, 1, 1)),
        (1, 1024, {"buffering_proxy": False}, kinds(*ALIKE), ("gthread", 1, 49, 49)),
        # where they wait, threads enough for those that were not weighed
        (1, 1024, {}, kinds(("/", 1, 8, 2), ("/b", 1, 8, 3)), ("gthread", 1, 49, 49)),
        (1, 1024, {"rate": 10}, kinds(("/", 1, 8, 2), ("/b", 1, 8, 3)), ("gthread", 1, 49, 49)),
        (1, 1024, {"concurrency": 8}, kinds(("/", 1, 8, 2), ("/b", 1, 8, 3)), ("gthread", 1, 10, 10)),
        (1, 1024, {"mix": "uniform"}, kinds(("/", 1, 8, 2), ("/b", 1, 8, 3)), ("gthread", 1, 3, 3)),
    ],
)
def test_what_is_alike_as_far_as_it_was_weighed_leaves_room_for_the_rest_without_gevent_too(
    cores: float, memory: int, app: dict[str, Any], measured: Any, expected: tuple[Any, ...]
) -> None:
    found = plan(facts(cores, memory), shop(**{"mix": None, **app}), measured, async_verdicts=NO_GEVENT)
    assert shape(found)[: len(expected)] == expected
    assert found.inputs["mix"]["value"] == "uniform"


def test_declared_times_that_are_alike_do_not_speak_for_the_whole_app() -> None:
    paths = [{"path": name, "weight": weight, "cpu_ms": cpu} for name, weight, cpu, _ in ALIKE]
    app = shop(mix=None, load={"paths": paths})
    assert shape(plan(facts(2, 2048), app)) == ("gevent", 2, 1, 128)
    assert shape(plan(facts(2, 2048), {**app, "mix": "uniform"})) == ("sync", 2, 1, 1)


def test_the_reason_says_that_nobody_weighed_the_rest() -> None:
    found = plan(facts(2, 2048), shop(mix=None), kinds(*ALIKE)).settings["worker_class"]
    assert (found.value, found.winner, found.origin) == ("gevent", "mix", "measured")
    assert "is alike as far as that is known (measured: the CPU times have a C2 of 0" in found.reason
    assert found.reason.endswith(
        "but mix: uniform is not declared, so that requests which nobody weighed may take long: with gevent one that"
        " waits holds nobody up"
    )
    other = plan(facts(2, 2048), shop(mix=None), kinds(*ALIKE), async_verdicts=NO_GEVENT).settings["worker_class"]
    assert "gevent would serve it best, but psycopg2 2.9.10 blocks the event loop" in other.reason


def test_noise_of_the_differences_does_not_flip_the_class() -> None:
    app, host = shop(mix=None), facts(2, 2048)
    before = plan(host, app, kinds(("/", 1, 4, 0), ("/b", 1, 9.5, 0)))
    assert shape(before) == ("gevent", 2, 1, 128)
    after = kinds(("/", 1, 4, 0), ("/b", 1, 10, 0))
    assert shape(plan(host, app, after)) == ("sync", 9, 1, 1)
    kept = plan(host, app, after, previous={"shop": before.to_dict()})
    assert (shape(kept), "worker_class" in kept.kept) == (shape(before), True)
    far = kinds(("/", 1, 4, 0), ("/b", 1, 40, 0))
    assert plan(host, app, far, previous={"shop": before.to_dict()}).value("worker_class") == "sync"
    # sync with a worker a core, as older plans had it, is not kept
    old = {"shop": {"worker_class": "sync", "workers": 2}}
    assert plan(host, app, kinds(*ALIKE), previous=old, async_verdicts=NO_GEVENT).value("workers") == 6


def test_fewer_slots_than_are_declared_are_warned_of_with_what_to_declare() -> None:
    (told,) = plan(facts(1, 1024), shop(concurrency=20), kinds(*ALIKE)).warnings
    assert told == (
        "shop: 1 request can be in flight, fewer than the 20 planned for (declared: 20 requests in flight); what limits"
        " it: a sync worker has one at a time, and the plan has 1. The rest waits in the backlog, behind whatever takes"
        " long: leave out mix: uniform where any request may take long, or declare worker_class: gthread for threads"
    )
    (told,) = plan(facts(1, 1024), shop(mix=None, concurrency=20), kinds(*ALIKE), async_verdicts=NO_GEVENT).warnings
    assert told.startswith("shop: 6 requests can be in flight, fewer than the 20 planned for")
    assert told.endswith("long: declare worker_class: gthread for threads, or settings.workers for more workers")
    heavy = shop(profile="mixed", concurrency=128, memory={"worker_mib": 40.0, "slot_mib": 8.0})
    (told,) = plan(facts(2, 8192), heavy).warnings
    assert "each holds 8 MiB, so they are let in as the cores get to them" in told
    assert told.endswith("settings.worker_connections lets in more")
    assert plan(facts(1, 1024), shop(mix=None, concurrency=20), kinds(*ALIKE)).warnings == ()
    assert plan(facts(1, 1024), shop(rate=20), kinds(*ALIKE)).warnings == ()


def test_a_former_service_that_held_more_is_warned_of() -> None:
    def told(slots: int, app: dict[str, Any], hub: bool = False) -> tuple[str, ...]:
        held = {"unit": "old.service", "slots": slots, "words": f"{slots} sync workers", "hub": hub}
        return plan({**facts(1, 1024), "former": {"shop": held}}, app, kinds(*ALIKE)).warnings

    assert told(3, shop()) == (
        "shop: 1 request can be in flight, and old.service holds 3 (3 sync workers): leave out mix: uniform where any"
        " request may take long, or declare worker_class: gthread for threads",
    )
    assert told(3, shop(mix=None)) == ()
    (sentence,) = told(300, shop(mix=None))
    assert sentence == (
        "shop: 256 requests can be in flight, and old.service holds 300 (300 sync workers): declare concurrency: 300"
        " where so many are in flight at once"
    )
    assert told(1000, shop(mix=None), hub=True) == ()


def test_a_path_that_blocks_its_hub_for_longer_than_the_others_take_rules_gevent_out() -> None:
    found = plan(facts(2, 2048), shop(mix=None, profile="io"), kinds(("/", 98, 1, 50), ("/report", 2, 200, 0)))
    assert found.value("worker_class") == "gthread"
    assert found.settings["worker_class"].winner == "mix"


def test_the_reason_says_what_was_found_and_where_it_comes_from() -> None:
    whole = plan(facts(2, 2048), shop(mix=None, profile="cpu", rate=59), kinds(*TWO_KINDS)).settings
    found = whole["worker_class"]
    assert (found.value, found.winner, found.origin) == ("sync", "mix", "measured")
    assert (whole["workers"].winner, whole["workers"].origin) == ("mix", "measured")
    told = "with 11 workers (from 6 to 24) a request waits for a free one no longer than for a tenth of what it takes"
    assert told in whole["workers"].reason
    assert "at a load of 0.58: 59/s x 19.8 ms, in a line 22.9 times as long as alone" in whole["workers"].reason
    small = plan(facts(2, 1024), shop(mix=None, profile="cpu"), kinds(*TWO_KINDS))
    assert small.warnings == ()
    scarce = small.settings["worker_class"]
    assert (scarce.value, scarce.winner) == ("gthread", "memory")
    assert "there is room for 8 sync workers, and 19 are wanted" in scarce.reason
    assert "a request finds 114.5 ms of CPU before it, where / takes 5 ms alone" in found.reason
    guess = plan(facts(2, 2048), shop(mix=None)).settings["worker_class"]
    assert (guess.origin, guess.winner) == ("assumed", "mix")
    assert "assumed: not alike, as web traffic is, until several paths are weighed" in guess.reason


def test_declared_times_of_paths_stand_for_the_apps() -> None:
    names = ("path", "weight", "cpu_ms", "wait_ms")
    found = plan(facts(2, 2048), shop(mix=None, load={"paths": [dict(zip(names, path)) for path in TWO_KINDS]}))
    assert found.inputs["cpu_ms"]["value"] == pytest.approx(19.75)
    assert (found.inputs["cpu_c2"]["value"], found.inputs["cpu_c2"]["origin"]) == (10.6, "declared")
    assert shape(found) == ("sync", 16, 1, 1)


def test_the_reason_says_how_long_waits_the_workers_bear() -> None:
    few = plan(facts(1, 4096), shop(mix=None, rate=44.3), kinds(*SHOP)).settings
    assert few["worker_class"].value == "sync"
    assert "few wait at a time, and the kernel shares more evenly between processes" in few["worker_class"].reason
    told = "at a load of 0.6 (at least 0.6, for bursts), also where the waits are 3 times as long"
    assert told in few["workers"].reason
    many = plan(facts(2, 8192), shop(mix=None, rate=179), kinds(("/", 98, 1, 50), ("/report", 2, 200, 0))).settings
    (sync,) = [limit for limit in many["worker_class"].limits if limit.name == "sync"]
    assert sync.reason.startswith("requests that wait would take its workers: 24 workers at most, and with all of them")
    turns = many["switch_interval_ms"]
    assert (turns.value, turns.winner) == (0, "python")
    assert "requests that take 15 ms and more alone bear turns of 5 ms" in turns.reason


def test_the_more_requests_wait_the_more_workers_until_threads_hold_them() -> None:
    found = []
    for wait_ms in range(0, 4000, 40):
        paths = kinds(*TWO_KINDS, ("/far", 10, 5, wait_ms))
        found.append(plan(facts(1, 8192), shop(mix=None, rate=30), paths))
    classes = [one.value("worker_class") for one in found]
    assert classes == sorted(classes, reverse=True)
    assert set(classes) == {"sync", "gthread"}
    slots = [one.slots for one in found[1:]]
    assert slots == sorted(slots)


def test_noise_of_the_waits_does_not_flip_the_class() -> None:
    app, host = shop(mix=None, rate=30), facts(1, 8192)
    plans = {wait: plan(host, app, kinds(*TWO_KINDS, ("/far", 10, 5, wait))) for wait in range(40, 4000, 40)}
    border = max(wait for wait, one in plans.items() if one.value("worker_class") == "sync")
    before, after = plans[border], kinds(*TWO_KINDS, ("/far", 10, 5, border + 40))
    assert plan(host, app, after).value("worker_class") == "gthread"
    kept = plan(host, app, after, previous={"shop": before.to_dict()})
    assert (kept.value("worker_class"), "worker_class" in kept.kept) == ("sync", True)
    assert plan(host, app, kinds(*TWO_KINDS, ("/far", 10, 5, 2 * border)), previous={"shop": before.to_dict()}).value(
        "worker_class"
    ) == ("gthread")


def test_a_declaration_that_bounds_the_waits_makes_the_workers_bear_it() -> None:
    """profile_mismatch: warn keeps to what is declared: the weighed waits do not count as all there is."""
    paths = kinds(*TWO_KINDS, ("/far", 10, 5, 20))
    assert plan(facts(1, 8192), shop(mix=None, rate=30, profile="mixed"), paths).value("worker_class") == "sync"
    bound = shop(mix=None, rate=30, wait_ratio=40, profile_mismatch="warn")
    assert plan(facts(1, 8192), bound, paths).value("worker_class") == "gthread"


def test_two_workers_have_what_a_guess_leaves_to_one() -> None:
    app = shop(mix=None, profile="cpu", rate=30)
    found = plan(facts(1, 256), app)
    assert shape(found) == ("gthread", 2, 25, 25)
    assert found.inputs["worker_mib"]["value"] < 50
    (warning,) = [one for one in found.warnings if "so that two share the work" in one]
    assert warning.endswith("declare memory.worker_mib, or go by the weigh")
    assert plan(facts(1, 256), app, kinds(*TWO_KINDS, worker_pss_mib=45.0)).value("workers") == 1
    assert plan(facts(1, 256), {**app, "memory": {"worker_mib": 45}}).value("workers") == 1


def test_noise_of_the_cpu_time_keeps_the_processes() -> None:
    app, host = shop(mix=None, profile="cpu", buffering_proxy=False), facts(2, 2048)
    before = plan(host, app, kinds(("/", 95, 2.5, 0), ("/report", 5, 32, 0)))
    assert (before.value("worker_class"), before.value("workers")) == ("gthread", 4)
    again = kinds(("/", 95, 2.7, 0), ("/report", 5, 32, 0))
    assert plan(host, app, again).value("workers") == 6
    kept = plan(host, app, again, previous={"shop": before.to_dict()})
    assert (kept.value("workers"), "workers" in kept.kept) == (4, True)


def test_explain_draws_the_two_curves() -> None:
    lines = _planner.explain(plan(facts(2, 2048), shop(mix=None, profile="cpu"), kinds(*TWO_KINDS)))
    assert any(line.startswith("L: they stand in a line, one computes after the other") for line in lines)
    assert sum("L" in line for line in lines if "|" in line) > 10
    told = _planner.explain(plan(facts(2, 2048), shop(mix=None, profile="cpu", rate=59), kinds(*TWO_KINDS)))
    assert any("^ here: 58 % busy, in a line" in line for line in told)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--path", "page=95:5", "--cpu-ms", "3"], "--cpu-ms is 3 beside the times of load.paths: allowed is either"),
        (["--path", "page=95:5", "--mix", "uniform", "--path", "report=5:300"], "--mix is uniform, but by load.paths"),
        (["--path", "page=95:5", "--profile", "io"], "--profile is io, but the times of load.paths make a wait ratio"),
        (
            ["--path", "page=95:5", "--path", "page=5:300"],
            "--path /page is /page, as load.paths[0] is: allowed is each",
        ),
        (["--profile", "cpu", "--wait-ratio", "3"], "--wait-ratio is 3 beside profile: cpu"),
        (["--name", "No"], "--name is 'No': allowed is a lower-case name"),
        (["--worker-class", "sync", "--set", "threads=4"], "--set threads is 4 beside worker_class: sync"),
        (["--database-max-connections", "5", "--database-reserved", "5"], "--database-reserved is 5, and max_conn"),
    ],
)
def test_the_command_refuses_what_preflight_refuses_in_the_same_words(arguments: list[str], told: str) -> None:
    done = command("--cores", "2", "--memory", "2G", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"scripts/plan: error: {told}" in done.stderr
    assert "; fix: " in done.stderr


def test_the_command_takes_kinds_of_requests() -> None:
    done = command("--cores", "2", "--memory", "2G", "--path", "page=95:5", "--path", "report=5:300:10", "--json")
    assert json.loads(done.stdout)["worker_class"] == "gthread"
    for wrong in ("page", "page=5", "page=0:5", "page=5:x"):
        done = command("--cores", "2", "--memory", "2G", "--path", wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert wrong in done.stderr


def test_the_table_sets_current_against_recommended() -> None:
    found = plan(facts(2, 1024), shop(profile="cpu", concurrency=16))
    lines = _planner.render_table(found, {"workers": 5, "worker_class": "sync", "threads": 1})
    assert lines[0] == "shop: 2 requests in flight, 460 MiB for a generation"
    assert lines[1].split() == ["setting", "current", "recommended", "why"]
    assert lines[2].split()[:3] == ["worker_class", "sync", "sync"]
    assert lines[3].split()[:4] == ["*", "workers", "5", "2"]
    assert lines[3].endswith("cores: one for each core, as they compute: 2 effective cores (cpu.max) [assumed]")
    assert any(line.startswith("numbers: declared: mix uniform, ") and "concurrency 16" in line for line in lines)


def test_the_table_has_no_current_column_when_there_is_none() -> None:
    lines = _planner.render_table(plan(facts(2, 1024), shop(profile="cpu")))
    assert lines[1].split() == ["setting", "recommended", "why"]
    assert not any(line.startswith("*") for line in lines)


def test_explain_marks_the_limit_that_won() -> None:
    lines = _planner.explain(plan(facts(2, 1024), shop(profile="io", concurrency=200)))
    assert "  > cores: 2 (one event loop or interpreter per core: 2 effective cores (cpu.max))" in lines
    assert "input concurrency = 200 [declared]: declared: 200 requests in flight" in lines


# --- scripts/plan -----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "plan"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_the_command_gives_settings_and_reasons_as_json() -> None:
    done = command(
        "--cores", "4", "--memory", "8G", "--profile", "io", "--mix", "uniform", "--concurrency", "200", "--json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads(done.stdout)
    assert [data[name] for name in ("worker_class", "workers", "threads", "worker_connections")] == [
        "gevent",
        4,
        1,
        100,
    ]
    assert set(data["reasons"]) == set(_planner.SETTINGS)
    assert all(data["reasons"].values())


def test_the_command_without_a_plan_ends_with_3_and_says_why() -> None:
    done = command("--cores", "1", "--memory", "64M", "--profile", "io", "--mix", "uniform", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["variable"] == "memory of a worker"
    assert done.stderr.startswith("scripts/plan: no plan is possible: app: memory of a worker is 23 MiB")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cores", "1"], "--cores and --memory are needed"),
        (["--cores", "0", "--memory", "1G"], "'0' is not a number above 0"),
        (["--cores", "1e8", "--memory", "1G"], "'1e8' is not a number above 0, at most 4096"),
        (["--cores", "1", "--memory", "lots"], "'lots' is not an amount of memory: use MiB, or 512M, 8G, 1.5G"),
        (["--cores", "1", "--memory", "1G", "--set", "wrkers=2"], "--set wrkers=2: allowed are workers, threads"),
        (["--cores", "1", "--memory", "1G", "--python", "2.7"], "3.9 or later"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_line(arguments: list[str], words: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"wait_ratoi": 3}', "wait_ratoi: allowed are worker_pss_mib, worker_loaded_mib, "),
        ('{"wait_ratio": NaN}', "wait_ratio is nan: a finite number from 0 is needed, or null for not measured"),
        ('{"cpu_ms": -1}', "cpu_ms is -1: "),
        ('{"cpu_ms": "3"}', "cpu_ms is '3': "),
        ('{"crowd": Infinity}', "crowd is inf: "),
        ('{"paths": {}}', "paths is {}: a list of JSON objects is needed"),
        ('{"paths": [{"path": "/", "weight": NaN}]}', "paths[0].weight is nan: "),
        ('{"paths": [{"wieght": 1}]}', "paths[0].wieght: allowed are path, weight, "),
    ],
)
def test_the_command_says_what_is_wrong_with_a_measurement(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "measured.json"
    file.write_text(text, encoding="utf-8")
    done = command("--cores", "1", "--memory", "1G", "--measured", str(file))
    assert done.returncode == 2
    assert f"--measured {file}: {words}" in done.stderr


def test_the_command_bounds_the_cores_of_facts(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text('{"cores": {"effective": 1e8}}', encoding="utf-8")
    done = command("--facts", str(file))
    assert done.returncode == 2
    assert "cores.effective is 100000000.0: allowed is up to 4096, above 0" in done.stderr


def test_the_command_takes_what_weighing_tells(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    weighed = {"worker_pss_mib": 30.0, "slot_mib": None, "kept_mib": 0.0, "lost_ms": 0.1, "failures": 0, "paths": []}
    file.write_text(json.dumps(weighed), encoding="utf-8")
    done = command("--cores", "1", "--memory", "1G", "--measured", str(file))
    assert (done.returncode, done.stderr) == (0, "")


# --- a declaration and a measurement become one number ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "seen", "by_measurement", "value", "origin", "source"),
    [
        (4.0, math.inf, 12.0, False, 12.0, "measured", "measured: 80 requests, wait ratio 12"),
        (4.0, math.inf, 3.0, False, 4.0, "declared",
         "measured: 80 requests, wait ratio 3; the plan goes by 4, the least that profile io allows"),
        (0.0, 0.05, 0.3, False, 0.05, "declared",
         "measured: 80 requests, wait ratio 0.3; the plan goes by 0.05, the most that profile io allows"),
        (0.0, 0.05, 0.3, True, 0.3, "measured", "measured: 80 requests, wait ratio 0.3"),
        (0.0, 0.05, 0.0, False, 0.0, "measured", "measured: 80 requests, wait ratio 0"),
    ],
)  # fmt: skip
def test_the_ratio_that_a_plan_goes_by(
    low: float, high: float, seen: float, by_measurement: bool, value: float, origin: str, source: str
) -> None:
    found = settled_ratio(low, high, seen, 80, by_measurement, "profile io")
    assert (found.value, found.origin, found.source) == (value, origin, source)


@pytest.mark.parametrize(
    "declared", [{"profile": "cpu"}, {"profile": "mixed"}, {"profile": "io"}, {"wait_ratio": 2.0}, {}]
)
@pytest.mark.parametrize("policy", ["warn", "use_measured"])
@pytest.mark.parametrize("concurrency", [4, 64])
def test_a_little_more_waiting_never_gives_a_plan_for_less(
    declared: dict[str, Any], policy: str, concurrency: int
) -> None:
    """sync, then gthread, then sync again, while nothing of the app had changed."""
    slots, classes = [], []
    for waiting in (0.0, 0.05, 0.1, 0.3, 0.45, 0.49, 0.51, 0.6, 1.0, 1.9, 2.1, 4.0, 8.0, 19.0, 21.0, 50.0):
        app = shop(**{"profile": None, **declared}, concurrency=concurrency, profile_mismatch=policy)
        found = plan(facts(), app, weighed(5.0, 5.0 * (1 + waiting)))
        slots.append(found.slots)
        classes.append(found.value("worker_class"))
    changes = sum(before != after for before, after in zip(classes, classes[1:]))
    assert changes <= 2, classes
    assert classes.index("sync") == 0 if "sync" in classes else True
    assert slots[-1] >= slots[0]
    if declared == {"profile": "cpu"} and policy == "warn":
        assert changes == 0


def test_an_app_without_a_plan_leaves_the_others_theirs() -> None:
    api = {**shop(), "name": "api", "processes": {"w": {"run": "x", "instances": 4, "memory_mib": 300}}}
    found = _planner.plan_each(facts(), [shop(), api])
    assert found["shop"] == _planner.plan_host(facts(), [shop(), {**api, "processes": {}}])["shop"]
    with pytest.raises(_planner.PlanError, match=r"^api: processes \(w\) is 1200 MiB"):
        found["api"]
    with pytest.raises(_planner.PlanError, match=r"^api: "):
        _planner.plan_host(facts(), [shop(), api])
    with pytest.raises(_planner.PlanError, match=r"share\.memory_mib"):
        _planner.plan_each(facts(), [shop(), {**shop(), "name": "api", "share": {"memory_mib": 5000}}])
