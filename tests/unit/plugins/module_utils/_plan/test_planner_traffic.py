# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Plans for traffic as people declare it: slow paths, clients that idle, rates near what a host can do."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.types import share
from test_planner import facts, plan, shape, shop, weighed


def of_paths(*paths: tuple[str, float, float, float], **more: Any) -> dict[str, Any]:
    """An app whose paths (name, weight, ms of CPU, ms of waiting) are declared with their times."""
    names = ("path", "weight", "cpu_ms", "wait_ms")
    return shop(load={"paths": [dict(zip(names, path, strict=True)) for path in paths]}, **{"mix": None, **more})


HOOKS = (("/hook", 95, 2, 0), ("/ping", 5, 1, 0))
REPORTS = (("/page", 95, 5, 0), ("/report", 5, 300, 0))
PARTNER = (("/api", 95, 4, 10), ("/partner", 5, 4, 1500), ("/pdf", 1, 250, 0))


@pytest.mark.parametrize("more", [{"rate": 200}, {}, {"rate": 200, "mix": "uniform"}, {"mix": "uniform"}])
def test_without_a_proxy_idle_clients_leave_threads_free_whatever_the_rate(more: dict[str, Any]) -> None:
    found = plan(facts(2, 2048), of_paths(*HOOKS, buffering_proxy=False, **more))
    assert (found.value("worker_class"), found.slots) == ("gthread", 50)


def test_clients_that_idle_are_named_where_the_threads_are_for_them() -> None:
    found = plan(facts(2, 2048), of_paths(*HOOKS, buffering_proxy=False, rate=200, mix="uniform"))
    assert found.settings["threads"].winner == "slow clients"
    assert "2 that compute and up to 48 more, for clients that are slow or idle" in found.settings["threads"].reason


EXPORT = (("/page", 99, 5, 0), ("/export", 1, 40_000, 0))


@pytest.mark.parametrize(
    ("paths", "seconds", "graceful", "words"),
    [
        (EXPORT, 400, 400, "ten times the 40000 ms of CPU of /export"),
        ((("/page", 99.8, 5, 0), ("/export", 0.2, 12_000, 0)), 120, 120, "ten times the 12000 ms of CPU of /export"),
        # it holds up no heartbeat, but may end while its worker stops
        (
            (("/page", 99.9, 5, 5), ("/slow", 0.1, 5, 60_000)),
            30,
            190,
            "ten times the 5 ms of CPU of /slow (declared) and 3 times its 60000 ms of waiting",
        ),
        ((("/page", 99.9, 5, 5), ("/stream", 0.1, 5, 3_600_000)), 40, 600, "at most 600 s"),
        ((("/page", 95, 5, 0), ("/report", 5, 300, 0)), 30, 30, "the longest request"),
    ],
)
def test_the_slowest_path_has_its_time(paths: Any, seconds: int, graceful: int, words: str) -> None:
    found = plan(facts(2, 8192), of_paths(*paths, buffering_proxy=True, rate=4))
    assert (found.value("timeout"), found.value("graceful_timeout")) == (seconds, graceful)
    assert words in found.settings["timeout"].reason + found.settings["graceful_timeout"].reason


def test_a_weigh_that_was_refused_a_slow_path_does_not_shrink_its_time() -> None:
    seen = {"weight": 99, "cpu_ms": 5.0, "cpu_sd_ms": 0.1, "wait_ms": 0.0, "wait_sd_ms": 0.0}
    paths = [{"path": "/page", "requests": 50, **seen}, {"path": "/export", "requests": 0, **seen, "weight": 1}]
    measured = weighed(cpu_ms=5.0, wall_ms=5.0, paths=paths)
    found = plan(facts(2, 8192), of_paths(*EXPORT, buffering_proxy=True, rate=4), measured)
    assert (found.value("timeout"), found.value("graceful_timeout")) == (400, 400)


def seen(path: str, weight: float, requests: int = 50, cpu_ms: float = 3.0) -> dict[str, Any]:
    """What the weigh tells of one path; nothing where it got no good answer."""
    zero = {"cpu_sd_ms": 0.1, "wait_ms": 0.0, "wait_sd_ms": 0.0}
    return {"path": path, "weight": weight, "requests": requests, "cpu_ms": cpu_ms if requests else 0.0, **zero}


def test_a_path_that_the_weigh_could_not_ask_counts_with_its_declared_times() -> None:
    paths = (("/page", 87, 3, 0), ("/report", 3, 400, 0), ("/vip", 10, 2, 8000))
    app = of_paths(*paths, buffering_proxy=True, rate=10)
    told = [seen("/page", 87), seen("/report", 3, cpu_ms=400.0), seen("/vip", 10, 0)]
    mean = (87 * 3.0 + 3 * 400.0) / 90
    found = plan(facts(2, 2048), app, weighed(cpu_ms=mean, wall_ms=mean, paths=told))
    assert found.value("worker_class") == "gthread"
    assert found.slots >= 8 + 3 * 8**0.5  # Little: 10 a second, a tenth of which waits for 8 s
    assert found.inputs["concurrency"]["value"] == pytest.approx(10 * 0.8149, rel=0.01)
    assert any("GET /vip could not be weighed, and counts with what is declared of it" in one for one in found.warnings)
    assert not any("correct the declaration" in one for one in found.warnings)


def test_a_path_that_the_weigh_could_not_ask_and_nobody_declared_does_not_count() -> None:
    app = shop(mix=None, load={"paths": [{"path": "/page", "weight": 90}, {"path": "/vip", "weight": 10}]})
    with_it = plan(
        facts(2, 2048), app, weighed(cpu_ms=3.0, wall_ms=3.0, paths=[seen("/page", 90), seen("/vip", 10, 0)])
    )
    without = plan(facts(2, 2048), app, weighed(cpu_ms=3.0, wall_ms=3.0, paths=[seen("/page", 90)]))
    assert with_it.values() == without.values()


def test_sync_that_is_asked_for_is_warned_of_where_a_rate_keeps_more_in_flight() -> None:
    slow = (("/index", 97, 3, 0), ("/partner", 3, 2, 8000))
    found = plan(facts(2, 1024), of_paths(*slow, buffering_proxy=True, rate=100, worker_class="sync"))
    assert any("fewer than the 25 planned for" in warning for warning in found.warnings)


@pytest.mark.parametrize(("settings", "told"), [({"workers": 2}, True), ({"workers": 8}, False), ({}, False)])
def test_sync_with_a_worker_a_core_is_warned_of_over_long_requests(settings: dict[str, Any], told: bool) -> None:
    app = of_paths(*REPORTS, buffering_proxy=True, rate=60, worker_class="sync", settings=settings)
    found = plan(facts(2, 2048), app)
    assert any("short requests stand in a line behind long ones" in one for one in found.warnings) is told


@pytest.mark.parametrize(
    ("cores", "proxy", "rate", "workers"),
    [(2, True, 100, 6), (8, True, 400, 24), (16, True, 800, 48), (17, True, 850, 51), (64, True, 3200, 192)],
)
def test_many_workers_have_little_more_threads_than_are_wanted(
    cores: float, proxy: bool, rate: float, workers: int
) -> None:
    found = plan(facts(cores, 131_072), of_paths(*PARTNER, buffering_proxy=proxy, rate=rate))
    assert (found.value("worker_class"), found.value("workers")) == ("gthread", workers)
    waiting = 3 * rate * 83.7 / 1000
    wanted = waiting + 3 * waiting**0.5 + cores + 48
    assert wanted <= found.slots <= 1.25 * wanted + workers


@pytest.mark.parametrize("cores", [2, 15, 16, 24, 40])
def test_rounding_never_costs_a_core_its_interpreter(cores: float) -> None:
    found = plan(facts(cores, 65_536), of_paths(*REPORTS, buffering_proxy=False, rate=45 * cores))
    assert found.value("worker_class") == "gthread"
    assert found.value("workers") == cores + 1
    assert found.slots <= 1.25 * (cores + 48) + cores + 1


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 8, 16])
def test_few_requests_in_flight_on_many_cores_leave_an_event_loop_its_connections(cores: float) -> None:
    alike = (("/a", 50, 8, 0), ("/b", 50, 8, 0))
    found = plan(facts(cores, 4096), of_paths(*alike, buffering_proxy=True, concurrency=3))
    assert found.value("worker_class") == "gevent"
    assert found.value("worker_connections") >= 64


def test_slow_clients_cost_no_second_interpreter_where_a_request_holds_much() -> None:
    app = shop(buffering_proxy=False, cpu_ms=20.0, wait_ms=0.0, rate=60, memory={"slot_mib": 4.0})
    assert plan(facts(2, 512), app).value("workers") == 2


def test_a_rate_bounds_threads_for_requests_that_wait_long() -> None:
    waits = (("/api", 1, 5, 2000),)
    by_rate = plan(facts(2, 2048), of_paths(*waits, buffering_proxy=True, rate=4))
    assert (by_rate.value("worker_class"), by_rate.slots) == ("gthread", 96)  # 24 wait on a bad day, 50 beside
    assert "3 x 4/s x 2000 ms wait" in by_rate.settings["threads"].reason
    unknown = plan(facts(2, 2048), of_paths(*waits, buffering_proxy=True))
    assert unknown.slots > by_rate.slots


def test_a_rate_that_keeps_the_cores_busy_leaves_the_threads_that_keep_up() -> None:
    found = plan(facts(2, 2048), of_paths(("/api", 1, 5, 2000), buffering_proxy=True, rate=380))
    assert found.slots >= 380 * 2.005


def test_more_workers_than_there_may_be_are_not_said_to_do() -> None:
    found = plan(facts(2, 4096), of_paths(*REPORTS, buffering_proxy=True, rate=100))
    assert shape(found) == ("sync", 24, 1, 1)
    reason = found.settings["workers"].reason
    assert "24 workers at most, and with all of them a request may wait for a free one longer" in reason
    assert "at a load of 0.9, the most that is counted on (100/s x 19.8 ms make 0.99)" in reason


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (91, None),
        (
            100,
            "99 % busy, where queues grow long and nothing is left for a worse moment; use more hosts",
        ),
        (140, "needs 2.77 cores, and there are 2: use more hosts or larger ones"),
    ],
)
def test_a_rate_that_hardly_fits_is_warned_of(rate: float, words: str | None) -> None:
    found = plan(facts(2, 4096), of_paths(*REPORTS, buffering_proxy=True, rate=rate))
    told = [warning for warning in found.warnings if "rate" in warning]
    assert (words is None and not told) or (words is not None and words in told[0])


def test_the_database_turns_processes_into_fewer_and_not_into_threads() -> None:
    app = of_paths(*REPORTS, buffering_proxy=True, rate=60, database={"max_connections": 20})
    found = plan(facts(2, 2048), app, fleet={"shop": 2})
    assert shape(found) == ("sync", 5, 1, 1)
    assert "the database has connections for 5 requests at a time, and 11 are wanted" in found.warnings[0]


def test_a_database_that_has_as_few_as_the_memory_is_not_said_to_be_the_reason() -> None:
    app = of_paths(*REPORTS, buffering_proxy=True, rate=60, database={"max_connections": 14}, memory={"worker_mib": 57})
    found = plan(facts(2, 1024), app)
    assert not any("database" in warning for warning in found.warnings)


def test_a_class_that_is_asked_for_and_has_requests_stand_in_a_line_is_warned_of() -> None:
    found = plan(facts(2, 2048), of_paths(*REPORTS, buffering_proxy=True, rate=60, worker_class="gevent"))
    assert found.value("worker_class") == "gevent"
    assert "short requests stand in a line behind long ones" in found.warnings[0]
    alike = plan(facts(2, 2048), of_paths(*HOOKS, buffering_proxy=True, rate=60, worker_class="gevent"))
    assert alike.warnings == ()


def test_a_small_share_is_no_share_of_none() -> None:
    assert [share(part) for part in (0.0, 1e-5, 0.001, 0.02, 0.5, 0.998, 0.9999, 1.0)] == [
        *("0 %", "0.1 %", "0.1 %", "2 %", "50 %", "99.8 %", "99.9 %", "100 %")
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"mix": "mixed"}, (4, 13)),  # long ones come among those that an io profile takes for soon done
        ({"mix": None}, (2, 25)),  # nobody says so, and each process costs where they are soon done
        ({"mix": "mixed", "cpu_ms": 0.7, "wait_ms": 50}, (2, 47)),  # what they take decides
    ],
    ids=["said", "not said", "known to be short"],
)
def test_a_person_who_says_that_requests_differ_has_two_processes_a_core(
    more: dict[str, Any], expected: tuple[int, int]
) -> None:
    found = plan(facts(2, 8192), shop(profile="io", rate=179, **more))
    assert shape(found)[:3] == ("gthread", *expected)


@pytest.mark.parametrize(
    ("more", "connections"),
    [
        ({}, 49),
        ({"concurrency": 4}, 7),
        ({"memory": {"slot_mib": 4}}, 8),
        ({"cpu_ms": 5, "wait_ms": 20}, 8),
        ({"profile": "cpu", "worker_class": "gevent"}, 7),
    ],
    ids=["nobody knows", "declared", "each holds much", "known", "it computes"],
)
def test_little_memory_leaves_an_event_loop_connections_for_waits_that_nobody_knows(
    more: dict[str, Any], connections: int
) -> None:
    """Eight are taken by what waits for a second in a twentieth of 111 requests a second."""
    found = plan(facts(1, 256), shop(rate=111, limits={"memory_percent": 80}, **{"profile": "mixed", **more}))
    assert shape(found) == ("gevent", 1, 1, connections)


@pytest.mark.parametrize(("cores", "workers"), [(1, 2), (2, 4), (4, 6), (16, 18)])
def test_each_process_costs_also_where_a_person_says_that_requests_differ(cores: int, workers: int) -> None:
    found = plan(facts(cores, 32768), shop(profile="io", rate=179, mix="mixed"))
    assert (found.value("worker_class"), found.value("workers")) == ("gthread", workers)


@pytest.mark.parametrize(
    ("cores", "more", "workers"),
    [
        (2, {"database": {"max_connections": 46}}, 2),
        (2, {"memory": {"worker_mib": 30}}, 2),
    ],
    ids=["database", "memory"],
)
def test_connections_for_waits_that_nobody_knows_cost_no_core_its_event_loop(
    cores: int, more: dict[str, Any], workers: int
) -> None:
    memory = 2048 if "database" in more else 256
    found = plan(facts(cores, memory), shop(profile="io", rate=100, limits={"memory_percent": 100}, **more))
    assert (found.value("worker_class"), found.value("workers")) == ("gevent", workers)


def refused(path: str, weight: float, cpu_ms: float) -> dict[str, Any]:
    """What the weigh tells of a path that only refused it, as its `status` lets it."""
    return {**seen(path, weight, cpu_ms=cpu_ms), "refused": True}


def test_a_refusal_does_not_replace_the_declared_times_of_its_path() -> None:
    app = of_paths(("/page", 90, 3, 0), ("/vip", 10, 2, 8000), buffering_proxy=True, rate=10)
    told = [seen("/page", 90), refused("/vip", 10, cpu_ms=0.5)]
    mean = (90 * 3.0 + 10 * 0.5) / 100
    found = plan(facts(2, 2048), app, weighed(cpu_ms=mean, wall_ms=mean, paths=told))
    assert found.inputs["concurrency"]["value"] == pytest.approx(10 * 0.8029, rel=0.01)
    words = (
        "GET /vip only refused the weigh, as its status lets it, and counts with what is declared of it: 2 ms of CPU"
    )
    assert any(words in one for one in found.warnings)
    assert not any("correct the declaration" in one for one in found.warnings)


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        ((("/page", 90, None, None), ("/vip", 10, None, None)), [seen("/page", 90), refused("/vip", 10, 0.5)]),
        ((("/vip", 10, 2, 8000),), [refused("/vip", 10, 0.5)]),
        ((("/page", 90, 3, 0), ("/vip", 10, 2, 8000)), [seen("/page", 90, 2), refused("/vip", 10, 0.5)]),
    ],
    ids=["not declared", "nothing else is weighed", "hardly anything else is"],
)
def test_a_refusal_counts_where_nothing_better_is_known(paths: Any, told: list[dict[str, Any]]) -> None:
    found = plan(facts(2, 2048), of_paths(*paths), weighed(cpu_ms=2.0, wall_ms=2.0, paths=told))
    assert not any("counts with what is declared" in one for one in found.warnings)
    assert found.inputs["cpu_ms"]["value"] == 2.0


def test_one_path_with_two_methods_counts_with_the_times_of_each() -> None:
    paths = [
        {"path": "/orders", "weight": 95, "cpu_ms": 5, "wait_ms": 0},
        {"path": "/orders", "method": "POST", "weight": 5, "cpu_ms": 300, "wait_ms": 0, "status": [200, 403]},
    ]
    told = [seen("/orders", 95, cpu_ms=5.0), refused("/orders", 5, cpu_ms=0.5)]
    app = shop(mix=None, load={"paths": paths})
    found = plan(facts(2, 2048), app, weighed(cpu_ms=4.8, wall_ms=4.8, paths=told))
    assert found.inputs["cpu_ms"]["value"] == pytest.approx(0.95 * 5 + 0.05 * 300)
    assert found.inputs["mix"]["value"] == "mixed"
    assert any("POST /orders only refused the weigh" in one for one in found.warnings)
