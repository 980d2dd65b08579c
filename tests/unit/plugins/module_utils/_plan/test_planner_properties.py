# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What holds for every plan: over the whole input space nothing exceeds memory, open files or the fleet's database."""

from __future__ import annotations

import json
import math
from typing import Any

from ansible_collections.headcount.gunicorn.plugins.module_utils._plan import planner as _planner
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

TOUGH = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

cores = st.one_of(st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.0, 4.0, 96.0]), st.floats(0.05, 256.0))
memory = st.one_of(st.sampled_from([64, 128, 256, 512, 1024, 8192]), st.integers(16, 1_048_576))


def mostly(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


@st.composite
def hosts_facts(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "cores": {"effective": draw(cores), "limited_by": "cpu.max"},
        "memory": {"effective_mib": draw(memory), "limited_by": "MemTotal"},
        "python": {"version": draw(st.sampled_from(["3.9", "3.11", "3.13"])), "free_threaded": draw(st.booleans())},
        "nofile_max": draw(st.sampled_from([64, 300, 1024, 4096, 524288])),
        "somaxconn": draw(st.sampled_from([128, 4096])),
    }


timed_paths = st.fixed_dictionaries(
    {"path": st.just("/page"), "weight": st.floats(0.01, 100), "cpu_ms": st.floats(0.01, 5000)},
    optional={"wait_ms": st.floats(0, 5000)},
)


@st.composite
def declared_apps(draw: st.DrawFn, name: str = "shop") -> dict[str, Any]:
    override = st.fixed_dictionaries(
        {},
        optional={
            "workers": st.integers(1, 64),
            "threads": st.integers(1, 512),
            "worker_connections": st.integers(1, 5000),
            "timeout": st.integers(1, 600),
            "memory_max_mib": st.integers(16, 4096),
            "limit_nofile": st.integers(64, 100_000),
            "malloc_trim_threshold_mib": st.integers(0, 4096),
            "switch_interval_ms": st.floats(0, 1000),
            "keepalive": st.integers(0, 75),
            "max_requests": st.integers(0, 10**6),
        },
    )
    return {
        "name": name,
        "profile": draw(mostly(st.sampled_from(["cpu", "io", "mixed"]))),
        "mix": draw(mostly(st.sampled_from(["uniform", "mixed"]))),
        "load": {"paths": draw(st.lists(timed_paths, max_size=3))},
        "wait_ratio": draw(mostly(st.floats(0, 1000))),
        "cpu_ms": draw(mostly(st.floats(0.01, 10_000))),
        "wait_ms": draw(mostly(st.floats(0, 10_000))),
        "worker_class": draw(st.sampled_from(["auto", "auto", "sync", "gthread", "gevent", "eventlet"])),
        "concurrency": draw(mostly(st.integers(1, 100_000))),
        "rate": draw(mostly(st.floats(0.1, 100_000))),
        "memory": {
            "worker_mib": draw(mostly(st.floats(1, 2000))),
            "slot_mib": draw(mostly(st.floats(0, 200))),
        },
        "limits": {"memory_percent": draw(st.sampled_from([50.0, 80.0, 100.0])), "p99_ms": draw(mostly(st.just(900)))},
        "share": {"weight": draw(st.floats(0.1, 10))},
        "buffering_proxy": draw(st.booleans()),
        "database": {
            "max_connections": draw(mostly(st.integers(1, 5000))),
            "connections_per_slot": draw(st.sampled_from([0, 0.5, 1, 2])),
            "reserved": draw(st.integers(0, 20)),
        },
        "settings": draw(st.one_of(st.just({}), st.just({}), override)),
        "profile_mismatch": draw(st.sampled_from(["warn", "use_measured"])),
    }


weighed = st.fixed_dictionaries(
    {
        "worker_pss_mib": st.floats(1, 500),
        "worker_loaded_mib": mostly(st.floats(1, 500)),
        "master_mib": mostly(st.floats(5, 100)),
        "slot_mib": mostly(st.floats(0, 50)),
        "cpu_ms": st.floats(0.05, 1000),
        "wall_ms": st.floats(0.05, 5000),
        "requests": st.integers(0, 500),
        "seconds": st.just(4.0),
        "paths": st.lists(
            st.fixed_dictionaries(
                {
                    "path": st.just("/page"),
                    "weight": st.floats(0.01, 100),
                    "requests": st.integers(0, 50),
                    "cpu_ms": st.floats(0, 5000),
                    "cpu_sd_ms": st.floats(0, 5000),
                    "wait_ms": st.floats(0, 5000),
                    "wait_sd_ms": st.floats(0, 5000),
                }
            ),
            max_size=3,
        ),
    }
)


def plan(facts: Any, app: Any, **more: Any) -> _planner.Plan | None:
    try:
        return _planner.plan_host(facts, [app], **more)[app["name"]]
    except _planner.PlanError as impossible:
        error = impossible
    assert error.variable
    assert error.allowed
    assert error.fix
    assert str(error).startswith(f"{error.app}: {error.variable} is {error.value}: ")
    return None


def check(found: _planner.Plan, facts: Any, app: Any, hosts: int, generations: int = 2) -> None:
    """The hard limits, computed here anew from the inputs."""
    inputs = found.inputs
    workers = found.value("workers")
    kind = found.value("worker_class")
    each = {"sync": 1, "gthread": found.value("threads")}.get(kind, found.value("worker_connections"))
    assert workers >= 1
    assert each >= 1
    assert found.slots == workers * each
    total = (
        inputs["master_mib"]["value"]
        + workers * inputs["worker_mib"]["value"]
        + found.slots * inputs["slot_mib"]["value"]
    )
    assert total <= found.value("memory_max_mib") + 1e-6
    assert 0 < found.value("memory_high_mib") <= found.value("memory_max_mib") <= found.budget_mib
    assert found.budget_mib * generations <= facts["memory"]["effective_mib"]
    per_slot = app["database"]["connections_per_slot"]
    most = app["database"]["max_connections"]
    if most is not None:
        used = hosts * generations * found.slots * per_slot
        assert used <= most - app["database"]["reserved"] or per_slot == 0
    connections = found.value("worker_connections") if kind != "sync" else 1
    kept = found.value("malloc_trim_threshold_mib")
    held = each * inputs["slot_mib"]["value"] * (1 + _planner.BAND)
    assert kept <= math.ceil(held) or "malloc_trim_threshold_mib" in app["settings"]
    assert found.value("limit_nofile") <= facts["nofile_max"]
    assert found.value("limit_nofile") >= 2 * connections + 64
    assert 1 <= found.value("backlog") <= max(facts["somaxconn"], 1) or "backlog" in app["settings"]
    assert found.value("timeout") > 0
    assert found.value("graceful_timeout") >= found.value("timeout") or "graceful_timeout" in app["settings"]
    if workers == 1 and "max_requests" not in app["settings"]:
        assert found.value("max_requests") == 0
    for setting in found.settings.values():
        assert setting.reason
        assert setting.winner
        assert setting.origin in ("measured", "declared", "derived", "assumed", "override")
    version = found.value("gunicorn_version")
    assert (kind == "eventlet") == any(package.startswith("eventlet==") for package in found.value("gunicorn_packages"))
    assert version in ("==27.0.1", ">=25.3,<26", "==23.0.0")


@TOUGH
@given(hosts_facts(), declared_apps(), mostly(weighed), st.integers(1, 50))
def test_no_plan_exceeds_memory_files_or_database(facts: Any, app: Any, measured: Any, hosts: int) -> None:
    found = plan(facts, app, measured={"shop": measured}, fleet={"shop": hosts})
    assume(found is not None)
    assert found is not None
    check(found, facts, app, hosts)


@TOUGH
@given(hosts_facts(), declared_apps(), mostly(weighed))
def test_a_plan_is_deterministic_and_goes_through_json(facts: Any, app: Any, measured: Any) -> None:
    first = plan(facts, app, measured={"shop": measured})
    second = plan(facts, app, measured={"shop": measured})
    assert first == second
    if first is not None:
        text = json.dumps(first.to_dict(), allow_nan=False)
        assert _planner.Plan.from_dict(json.loads(text)).to_dict() == json.loads(text)


@TOUGH
@given(hosts_facts(), declared_apps(), mostly(weighed), st.floats(1.0, 8.0))
def test_more_memory_never_gives_fewer_slots(facts: Any, app: Any, measured: Any, factor: float) -> None:
    app["worker_class"] = app["worker_class"] if app["worker_class"] != "auto" else "gthread"
    app["settings"].pop("memory_max_mib", None)
    less = plan(facts, app, measured={"shop": measured})
    larger = {**facts, "memory": {"effective_mib": math.ceil(facts["memory"]["effective_mib"] * factor)}}
    more = plan(larger, app, measured={"shop": measured})
    if less is not None:
        assert more is not None
        assert more.slots >= less.slots


@TOUGH
@given(hosts_facts(), declared_apps(), weighed, st.floats(0.9, 1.1), st.floats(0.9, 1.1))
def test_the_dead_band_is_idempotent_and_safe(
    facts: Any, app: Any, measured: Any, memory_noise: float, time_noise: float
) -> None:
    first = plan(facts, app, measured={"shop": measured})
    assume(first is not None)
    assert first is not None
    again = plan(facts, app, measured={"shop": measured}, previous={"shop": first.values()})
    assert again is not None
    assert again.values() == first.values()
    noisy = dict(measured)
    for key in ("worker_pss_mib", "worker_loaded_mib", "master_mib", "slot_mib"):
        if noisy[key] is not None:
            noisy[key] *= memory_noise
    noisy["wall_ms"] = noisy["cpu_ms"] + max(0.0, noisy["wall_ms"] - noisy["cpu_ms"]) * time_noise
    second = plan(facts, app, measured={"shop": noisy}, previous={"shop": first.to_dict()})
    if second is None:
        return
    check(second, facts, app, 1)
    third = plan(facts, app, measured={"shop": noisy}, previous={"shop": second.values()})
    assert third is not None
    assert third.values() == second.values()


@TOUGH
@given(hosts_facts(), declared_apps(), mostly(weighed), st.booleans())
def test_without_a_proxy_no_sync_and_no_slots_below_the_declared_concurrency(
    facts: Any, app: Any, measured: Any, gevent: bool
) -> None:
    app.update(worker_class="auto", buffering_proxy=False)
    for name in ("workers", "threads", "worker_connections"):
        app["settings"].pop(name, None)
    verdicts = {"shop": {"gevent": None if gevent else "the release was built without gevent"}}
    found = plan(facts, app, measured={"shop": measured}, async_verdicts=verdicts)
    assume(found is not None)
    assert found is not None
    kind = found.value("worker_class")
    assert kind != "sync"
    if app["concurrency"] is None or found.slots >= app["concurrency"]:
        return
    setting = found.settings["threads" if kind == "gthread" else "worker_connections"]
    assert setting.winner in ("memory", "guess", "need", "database", "open files", "threads")
    if setting.winner in ("guess", "need"):  # of a memory that is short
        assert "memory" in {limit.name for limit in setting.limits}
    if setting.winner == "threads":
        assert found.value("workers") == 1024
    assert any(" can be in flight, fewer than the" in warning for warning in found.warnings)


@TOUGH
@given(hosts_facts(), declared_apps(), mostly(weighed))
def test_what_is_planned_by_threads_holds_the_declared_concurrency_behind_a_proxy_too(
    facts: Any, app: Any, measured: Any
) -> None:
    app.update(worker_class="auto", buffering_proxy=True, settings={}, concurrency=app["concurrency"] or 40)
    found = plan(facts, app, measured={"shop": measured})
    assume(found is not None)
    assert found is not None
    if found.value("worker_class") == "gthread" and found.slots < app["concurrency"]:
        assert found.settings["threads"].winner in ("memory", "guess", "need", "database", "open files", "threads")
        assert any(" can be in flight, fewer than the" in warning for warning in found.warnings)


@TOUGH
@given(
    hosts_facts(),
    st.lists(declared_apps(), min_size=2, max_size=4),
    st.booleans(),
)
def test_apps_that_share_a_host_fit_together(facts: Any, apps: Any, headroom: bool) -> None:
    for index, app in enumerate(apps):
        app["name"] = f"app{index}"
    try:
        plans = _planner.plan_host(facts, apps, policy=_planner.Policy(rollout_headroom=headroom))
    except _planner.PlanError:
        return
    generations = 2 if headroom else 1
    total = sum(item.value("memory_max_mib") for item in plans.values())
    assert total * generations <= facts["memory"]["effective_mib"]
    assert math.isclose(sum(item.inputs["cores"]["value"] for item in plans.values()), facts["cores"]["effective"])
    for app in apps:
        check(plans[app["name"]], facts, app, 1, generations)
