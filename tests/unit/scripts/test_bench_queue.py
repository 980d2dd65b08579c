# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The simulation of the queues against the formulas that the plan goes by, and against what was measured."""

from __future__ import annotations

import bisect
import random
import statistics

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import mixture
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan import waits
from headcount_bench import _queue as queue

PLAIN = queue.Kind("page", 10.0)
TAILED = (queue.Kind("page", 5.0, 0.0, 90), queue.Kind("report", 60.0, 0.0, 10))
"""C2 = 2.3, and so even that a short simulation comes near to the mean."""

MIXED = (queue.Kind("page", 5.0, 0.0, 95), queue.Kind("report", 300.0, 0.0, 5))


def spread(kinds: tuple[queue.Kind, ...]) -> mixture.Spread:
    own = queue.OVERHEAD_MS
    return mixture.spread_of([mixture.Kind.steady(k.name, k.weight, k.cpu_ms + own, k.wait_ms) for k in kinds])


def run(shape: queue.Queues, cores: int, kinds: tuple[queue.Kind, ...], load: float, count: int) -> dict[str, float]:
    """Mean response times by kind, of so many requests."""
    rate = load * cores * 1000.0 / spread(kinds).cpu_ms
    times = queue.simulate(shape, cores, kinds, rate, count / rate)
    return {name: statistics.fmean(values) for name, values in times.items()}


@pytest.mark.parametrize(("cores", "load"), [(1, 0.5), (1, 0.7), (2, 0.6)])
@pytest.mark.parametrize("kinds", [(PLAIN,), TAILED])
def test_one_after_the_other_is_as_pollaczek_and_khinchine_say(
    cores: int, load: float, kinds: tuple[queue.Kind, ...]
) -> None:
    found = run(queue.Queues.of("sync", cores), cores, kinds, load, 30_000)
    delay = mixture.crowding(cores, load) * spread(kinds).ahead_ms
    short = kinds[0]
    assert found[short.name] - short.alone_ms == pytest.approx(delay, rel=0.2)


@pytest.mark.parametrize(("cores", "load"), [(1, 0.5), (1, 0.7), (2, 0.6)])
@pytest.mark.parametrize("kinds", [(PLAIN,), TAILED])
def test_surplus_processes_share_the_cores_whatever_the_others_need(
    cores: int, load: float, kinds: tuple[queue.Kind, ...]
) -> None:
    found = run(queue.Queues.of("sync", 100 * cores), cores, kinds, load, 30_000)
    for kind in kinds:
        assert found[kind.name] / kind.alone_ms == pytest.approx(1 + mixture.crowding(cores, load), rel=0.15)


def test_threads_that_switch_often_come_near_to_surplus_processes() -> None:
    times = {}
    for name, shape in {
        "line": queue.Queues.of("sync", 1),
        "rare": queue.Queues.of("gthread", 1, 64),
        "often": queue.Queues.of("gthread", 1, 64, switch_ms=0.5),
        "processes": queue.Queues.of("sync", 64),
    }.items():
        times[name] = run(shape, 1, MIXED, 0.6, 10_000)["page"]
    assert times["processes"] < times["often"] < 0.6 * times["rare"] < times["rare"] < 0.5 * times["line"]


def test_slots_that_long_requests_exhaust_make_the_others_wait() -> None:
    kinds = (queue.Kind("page", 5.0, 0.0, 95), queue.Kind("partner", 0.5, 1000.0, 5))
    few, many = (run(queue.Queues.of("gthread", 1, slots), 1, kinds, 0.6, 10_000)["page"] for slots in (4, 64))
    assert few > 20 * many


@pytest.mark.parametrize(("cores", "load"), [(1, 0.6), (2, 0.5)])
def test_those_that_wait_are_there_beside_those_that_share_the_cores(cores: int, load: float) -> None:
    """The chance that a request finds so many others there, whatever each of them takes."""
    kinds = (queue.Kind("page", 5.0, 0.0, 70), queue.Kind("basket", 4.0, 60.0, 25), queue.Kind("list", 30.0, 0.0, 5))
    known = spread(kinds)
    rate, chance = load * cores * 1000.0 / known.cpu_ms, random.Random(5)
    due, at = [], 0.0
    for _ in range(30_000):
        at += chance.expovariate(rate)
        due.append((at, chance.choices(range(3), [kind.weight for kind in kinds])[0]))
    took = queue.replay(queue.Queues.of("sync", 100 * cores), cores, kinds, due)
    left = sorted(came + took_ms for _, came, took_ms in took)
    found = [number - bisect.bisect_right(left, 1000.0 * came) for number, (came, _) in enumerate(due)]
    for workers in (2, 4, 6):
        share = sum(count >= workers for count in found) / len(found)
        waiting = rate * known.wait_ms / 1000.0
        assert share == pytest.approx(waits.taken_chance(cores, load, waiting, workers), rel=0.1, abs=0.005)


def test_a_hub_serves_one_after_the_other_but_waits_for_many() -> None:
    kinds = (queue.Kind("page", 1.0, 50.0, 98), queue.Kind("report", 200.0, 0.0, 2))
    hub, threads = (
        run(queue.Queues.of(kind, 1, 500, switch_ms=0.5), 1, kinds, 0.5, 10_000)["page"]
        for kind in ("gevent", "gthread")
    )
    assert threads < 60 < 1.5 * 60 < hub


def test_one_hub_answers_those_that_it_takes_together_when_all_have_computed() -> None:
    """The only gevent worker takes all connections in a go, and who has computed lets the others compute first."""
    kind = queue.Kind("page", 10.0 - queue.OVERHEAD_MS)
    due = [(0.0, 0), (0.001, 0), (0.002, 0)]
    first, second, third = (took for *_, took in queue.replay(queue.Queues.of("gevent", 1, 64), 1, [kind], due))
    assert first == pytest.approx(10.0)
    assert (second, third) == (pytest.approx(29.0, abs=0.5), pytest.approx(28.0, abs=0.5))


def test_several_hubs_take_one_connection_at_a_time() -> None:
    """Gunicorn sets that, so that one that is done before the next is taken is answered before it."""
    kinds = [queue.Kind("page", 10.0 - queue.OVERHEAD_MS), queue.Kind("report", 500.0)]
    due = [(0.0, 1), (0.001, 0), (0.002, 0), (0.003, 0)]
    found = queue.replay(queue.Queues.of("gevent", 2, 64), 2, kinds, due)
    took = [ms for kind, _, ms in found if kind == 0]
    assert took == [pytest.approx(10.0, abs=0.5), pytest.approx(19.0, abs=0.5), pytest.approx(28.0, abs=0.5)]


def test_a_hub_sees_what_has_waited_when_nothing_else_is_ready() -> None:
    """Two whose waits end while a page computes go on when it is answered, before another page is taken."""
    kinds = [queue.Kind("page", 10.0 - queue.OVERHEAD_MS), queue.Kind("partner", 1.0, 5.0)]
    due = [(0.0, 1), (0.0, 1), (0.003, 0), (0.0035, 0)]
    found = queue.replay(queue.Queues.of("gevent", 1, 64), 1, kinds, due)
    assert [kind for kind, *_ in found] == [0, 1, 1, 0]


def test_what_nobody_weighed_and_waits_holds_nobody_in_a_hub_and_few_in_surplus_processes() -> None:
    kinds = (queue.Kind("page", 8.0, 0.0, 995), queue.Kind("form", 8.0, 8000.0, 5))
    one, rule, many, hub = (
        queue.slowdowns(kinds, queue.simulate(shape, 1, kinds, 40.0, 100.0))["page"]
        for shape in (*(queue.Queues.of("sync", workers) for workers in (1, 3, 6)), queue.Queues.of("gevent", 1, 64))
    )
    assert hub < 5
    assert many < 10
    assert rule > 50
    assert one > rule


def test_arrivals_keep_their_rate_in_bursts_too() -> None:
    for burst in (1.0, 5.0):
        times = []
        for when, _ in queue.arrivals((PLAIN,), 100.0, burst, random.Random(3)):
            times.append(when)
            if when > 300_000:
                break
        assert len(times) / 300 == pytest.approx(100, rel=0.05)


def test_nothing_is_lost() -> None:
    times = queue.simulate(queue.Queues.of("gthread", 2, 3), 2, MIXED, 60, 50)
    assert sum(map(len, times.values())) == pytest.approx(0.9 * 60 * 50, rel=0.1)


def test_given_times_are_replayed() -> None:
    due = [(0.0, 1), (0.001, 0), (5.0, 0)]
    found = queue.replay(queue.Queues.of("sync", 1), 1, MIXED, due)
    own = queue.OVERHEAD_MS
    assert [(kind, came, round(took, 3)) for kind, came, took in found] == [
        (1, 0.0, 300.0 + own),
        (0, 1.0, 304.0 + 2 * own),
        (0, 5000.0, 5.0 + own),
    ]
    shared = queue.replay(queue.Queues.of("sync", 2), 1, MIXED, due)
    assert shared[0] == (0, 1.0, pytest.approx(2 * (5.0 + own)))
    assert queue.replay(queue.Queues.of("sync", 1), 1, MIXED, []) == []


def test_clients_on_the_same_cores_make_processes_meet_on_one_of_them() -> None:
    """Each of two processes has a core, unless the kernel finds none idle when they wake."""
    kind = queue.Kind("page", 10.0 - queue.OVERHEAD_MS)
    due = [(0.1 * turn, 0) for turn in range(40) for _ in range(2)]
    apart = [took for *_, took in queue.replay(queue.Queues.of("sync", 2), 2, [kind], due)]
    beside = [took for *_, took in queue.replay(queue.Queues.of("sync", 2), 2, [kind], due, beside=True)]
    assert max(apart) == pytest.approx(10.0)
    # Together until the idle core looks for work: each of them has done half of those 8 ms by then.
    assert sorted({round(took, 3) for took in beside}) == [10.0, 14.0]


def test_a_simulation_tells_what_it_computed() -> None:
    due = [(0.02 * turn, 0) for turn in range(50)]
    kind = queue.Kind("page", 5.0)
    _, sync = queue.replayed(queue.Queues.of("sync", 4), 1, [kind], due)
    assert sync == pytest.approx(50 * kind.alone_ms)
    _, threads = queue.replayed(queue.Queues.of("gthread", 4, 8), 1, [kind], due)
    assert threads == pytest.approx(50 * (kind.alone_ms + 3 * queue.WAKE_MS), rel=0.02)


def test_a_short_request_waits_for_the_lock_at_each_of_its_hops() -> None:
    """It is read and answered in parts, and a long one computes for a whole interval between two of them."""
    kinds = [queue.Kind("page", 1.0), queue.Kind("report", 400.0)]
    due = [(0.0, 1), (0.1, 0)]
    found = queue.replay(queue.Queues.of("gthread", 1, 8), 1, kinds, due)
    page = next(took for kind, _, took in found if kind == 0)
    turns = 2 * queue.HOPS + 2  # it is accepted, and what it computes goes before its answer
    assert page == pytest.approx(turns * queue.SWITCH_MS, rel=0.15)


@pytest.mark.parametrize(("processes", "least"), [(1, 0.0), (6, 0.2)])
def test_a_connection_costs_each_idle_process_that_it_wakes(processes: int, least: float) -> None:
    kind = queue.Kind("page", 1.0)
    due = [(0.05 * number, 0) for number in range(40)]
    took = [each for _, _, each in queue.replay(queue.Queues.of("gthread", processes, 4), 1.0, [kind], due)]
    assert min(took) >= kind.alone_ms + least - 1e-6
    assert max(took) <= kind.alone_ms + queue.WAKE_MS * (processes - 1) * 2 + 1e-6


@pytest.mark.parametrize("threads", [2, 16])
def test_taking_turns_costs_each_thread_that_waits_for_its_turn(threads: int) -> None:
    """Sixteen that compute take 0.04 ms of CPU for each turn of 0.5 ms, as measured: all but one wait."""
    kind = queue.Kind("page", 100.0)
    due = [(0.0, 0)] * threads
    often, rarely = (
        queue.replayed(queue.Queues.of("gthread", 1, threads, switch), 1.0, [kind], due)[1] for switch in (0.5, 5.0)
    )
    turns = 100.0 * threads * (1 / 0.5 - 1 / 5.0)
    assert often - rarely == pytest.approx(turns * (threads - 1) * queue.TURN_MS, rel=0.15)
