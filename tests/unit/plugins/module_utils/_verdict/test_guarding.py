# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The guard's rule: it sees what is surely worse for users, and takes nothing else for it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Tally
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.guarding import (
    AGREE,
    LOOK_EVERY_S,
    Before,
    Instance,
    Reading,
    Watch,
    longest_usual_s,
)

LIMITS = Limits(p95_ms=250, error_rate=0.01)


def tally(good: int = 0, errors: int = 0, slow: int = 0, lost: int = 0, **ends: int) -> Tally:
    """Requests that ended well and not, of which some were slow."""
    outcomes = {**Tally().outcomes, "2xx": good, "5xx": errors}
    over, told = {**Tally().over, "p95": slow}, {**Tally().ends, **ends}
    return Tally(good + errors + lost, lost, 0.0, outcomes, over, told)


def added(one: Tally, other: Tally) -> Tally:
    """Both together."""
    return other.since(Tally().since(one))


def watched(steps: Iterable[Tally], before: Tally | None = None, **watch: Any) -> tuple[str, Watch, int]:
    """What is told of looks at which so much came to it each time; the watch; and after how many looks."""
    made = Watch(LIMITS, Before(before or Tally(), 3600.0 if before is not None else 0.0), **watch)
    total, looks = Tally(), 0
    for looks, step in enumerate(steps, 1):
        total = added(total, step)
        words = made.look(Reading(looks * LOOK_EVERY_S, total))
        if words:
            return words, made, looks
    return "", made, looks


USUAL = tally(good=36_000, errors=20, slow=300)


def test_errors_after_a_minute_are_seen_within_half_a_minute() -> None:
    words, _, looks = watched([tally(50)] * 12 + [tally(25, 25)] * 20, USUAL)
    assert words.endswith("requests failed, 33.3 %, where at most 1 % may")
    assert 12 < looks <= 12 + 6


def test_few_errors_are_seen_when_they_are_enough() -> None:
    words, _, looks = watched([tally(48, 2)] * 120, USUAL)
    assert "requests failed" in words
    assert looks < 60


@pytest.mark.parametrize("share", [0.0, 0.005, 0.01])
def test_errors_within_the_limit_are_none(share: float) -> None:
    numbers = random.Random(3)
    for _ in range(30):
        steps = []
        for _ in range(120):
            count = numbers.choice((0, 0, 3, 40, 400))
            failed = sum(numbers.random() < share for _ in range(count))
            steps.append(tally(count - failed, failed))
        assert watched(steps, USUAL)[0] == ""


def test_what_was_as_faulty_before_is_no_breach() -> None:
    assert watched([tally(95, 5)] * 120, tally(good=34_000, errors=2_000))[0] == ""
    assert watched([tally(95, 5)] * 120, USUAL)[0] != ""
    assert watched([tally(95, 5)] * 120)[0] != "", "where nothing is known of the one before, the limit counts"


def test_what_was_as_slow_before_is_no_breach() -> None:
    """A report that takes long, which the load of the trial does not ask."""
    assert watched([tally(100, slow=10)] * 120, tally(good=36_000, slow=3_700))[0] == ""
    words, _, _ = watched([tally(100, slow=10)] * 120, USUAL)
    assert "took longer than the 250 ms of p95" in words


def test_a_short_disturbance_is_no_breach() -> None:
    """Three looks at which everything fails: a database that was away for a quarter of a minute."""
    assert watched([tally(50)] * 10 + [tally(0, 50)] * (AGREE - 1) + [tally(50)] * 30, USUAL)[0] == ""


def test_without_traffic_it_cannot_tell() -> None:
    words, made, _ = watched([tally(1)] + [tally()] * 119, USUAL)
    assert words == ""
    assert made.conclusion() == "not enough traffic to tell (1 request)"
    assert watched([tally(10)] * 120, USUAL)[1].conclusion() == "1200 requests, no breach"


def test_what_the_promote_itself_asked_is_no_traffic() -> None:
    made = Watch(Limits(), Before(USUAL, 3600.0), asked=300)
    for second, ended in enumerate((300, 300, 302)):
        assert made.look(Reading(5.0 * second, tally(ended))) == ""
    assert made.conclusion() == "not enough traffic to tell (2 requests)"
    made.look(Reading(20.0, tally(1)))  # started again by hand, with a recorder that begins anew
    assert made.conclusion() == "not enough traffic to tell (1 request)"


def test_few_requests_that_all_fail_are_enough() -> None:
    """One in half a minute: what is between the looks is not taken for better."""
    words, _, looks = watched(([tally(0, 1)] + [tally()] * 5) * 20, USUAL)
    assert "6 of all 6 requests failed" in words
    assert looks == 31


def test_workers_that_die_are_seen_and_recycling_is_not() -> None:
    assert watched([tally(10, recycled=5)] * 120, USUAL)[0] == ""
    words, _, _ = watched([tally(10, died=1)] * 120, USUAL)
    assert words.startswith("6 of its workers died within 30 s")
    assert watched([tally(10)] * 50 + [tally(10, killed=1)] + [tally(10)] * 69, USUAL)[0] == ""


def test_workers_that_died_as_often_before_are_none() -> None:
    often = tally(good=1000, died=600)
    assert watched([tally(10, died=1)] * 60, often)[0] == ""


def killed(*readings: dict[str, int], before: Before | None = None) -> tuple[str, Watch]:
    """What is told of a release that answers well, with these counts of the OOM killer's look by look."""
    made = Watch(LIMITS, before or Before(USUAL, 3600.0), Instance(200.0, 8))
    words = ""
    for number, reading in enumerate(readings, 1):
        words = words or made.look(Reading(number * LOOK_EVERY_S, tally(50 * number), **reading))
    return words, made


ONCE, TWICE = {"oom_kills": 1, "filled": 1}, {"oom_kills": 2, "filled": 2}


def test_a_release_that_the_oom_killer_ends_twice_is_seen() -> None:
    words, _ = killed({}, ONCE, ONCE, TWICE)
    assert words == (
        "the OOM killer ended 2 of its processes within 20 s, as it took all of the 200 MiB that it may have"
    )
    assert killed({}, {"oom_kills": 1}, {"oom_kills": 2})[0], "where the kernel counts no limit that was filled"


def test_the_oom_killer_that_came_once_is_told_and_no_breach() -> None:
    for came in ({"oom_kills": 1, "filled": 1}, {"oom_kills": 2, "filled": 1}):  # one burst may end several
        words, made = killed(*[{}] * 3, *[came] * 9)
        assert words == ""
        which = "one" if came["oom_kills"] == 1 else "2"
        told = f"600 requests, no breach; the OOM killer ended {which} of its processes, as it took all memory that"
        assert made.conclusion() == f"{told} it may have"


def test_a_host_that_is_short_of_memory_is_not_the_apps() -> None:
    """The kernel's pick in a host that a neighbour fills: its own limit was never filled."""
    words, made = killed({"filled": 0}, *[{"oom_kills": count, "filled": 0} for count in (1, 1, 2, 2)])
    assert words == ""
    assert made.conclusion().endswith("the OOM killer ended 2 of its processes, as the host was short of memory")


def test_the_oom_killer_that_ends_the_master_is_known_from_systemd() -> None:
    """The counts of the unit begin anew with each start of it."""
    again = {"oom_kills": 0, "filled": 0}
    assert (
        "ended 2 of its processes"
        in killed(again, {**again, "restarts": 1, "said": 1}, {**again, "restarts": 2, "said": 2})[0]
    )
    once = {"restarts": 1, "said": 1}
    assert killed(ONCE, {**again, **once}, {**again, **once})[0] == "", "it said what the unit had counted before"
    assert "ended 2 of its" in killed(ONCE, {**again, **once}, {**ONCE, **once})[0]


def test_a_server_that_dies_twice_is_seen_whatever_ended_it() -> None:
    """Where systemd cannot tell that it was the OOM killer: with version 1 of control groups."""
    words, _ = killed({}, {"restarts": 1}, {"restarts": 1}, {"restarts": 2})
    assert words == "its server died 2 times within 20 s, and systemd started it again"
    words, made = killed({}, *[{"restarts": 1}] * 3)
    assert words == ""
    assert made.conclusion().endswith("no breach; its server died once, and systemd started it again")


def test_starts_that_fail_one_after_the_other_are_one_end() -> None:
    made = Watch(LIMITS, Before(USUAL, 3600.0))
    for number in range(1, 12):
        assert made.look(Reading(number * LOOK_EVERY_S, tally(50), restarts=number)) == ""


def test_what_the_oom_killer_ended_as_often_before_is_none() -> None:
    often = Before(tally(good=36_000, killed=3600), 3600.0)
    assert killed({}, ONCE, TWICE, before=often)[0] == ""


def test_memory_beyond_its_share_is_seen() -> None:
    made = Watch(LIMITS, Before(), Instance(memory_max_mib=200.0))
    said = [made.look(Reading(5.0 * turn, tally(10 * turn), memory_mib=100.0 + 10 * turn)) for turn in range(1, 12)]
    assert said[-1].startswith("it uses 210 MiB, more than 80 % of the 200 that it may have")
    assert said[:9] == [""] * 9


def test_lost_requests_are_errors() -> None:
    assert "requests failed" in watched([tally(40, lost=5)] * 20, USUAL)[0]


# -- what hangs ends nothing ------------------------------------------------------------------------------------------


def flow(begun: int, ended: int, seconds: float = 0.0, lost: int = 0, answering: int | None = 0) -> Tally:
    """So many requests that began, and that ended well after so many seconds in all; `answering`: of those in flight so
    many more are being answered."""
    return Tally(begun, lost, seconds, {**Tally().outcomes, "2xx": ended}, answering=answering)


def looked(
    steps: Iterable[tuple[Tally, int | None]], before: Before | None = None, **instance: Any
) -> tuple[str, Watch, int]:
    """As watched(), with how many connections wait at each look."""
    made = Watch(LIMITS, before or Before(), Instance(**{"slots": 4, **instance}))
    total, looks = Tally(), 0
    for looks, (step, waiting) in enumerate(steps, 1):
        total = added(total, step)
        words = made.look(Reading(looks * LOOK_EVERY_S, total, waiting=waiting))
        if words:
            return words, made, looks
    return "", made, looks


WELL = [(flow(30, 30, 0.6), 0)] * 8
FILLS = (flow(20, 16, 0.4), 14)
NOTHING = flow(0, 0)


def test_an_app_that_hangs_in_all_its_slots_is_seen_though_nothing_ends() -> None:
    words, _, looks = looked([*WELL, FILLS, *((NOTHING, 30 * turn) for turn in range(1, 30))])
    assert words == (
        "it hangs: 4 of 4 slots busy and 180 connections wait, none of its requests ended within 30 s, "
        "where one may take 10 s"
    )
    assert looks == 8 + 1 + 6


def test_an_app_that_hangs_in_some_of_its_slots_is_seen_by_the_time_that_they_owe() -> None:
    """Three of four threads hang; the fourth one answers at once whatever it gets, and the queue grows."""
    steps = [*WELL, FILLS, *((flow(50, 50, 5.0), 40 * turn) for turn in range(1, 30))]
    words, _, looks = looked(steps)
    assert words.startswith("it hangs: 4 of 4 slots busy")
    assert looks < 8 + 14


@pytest.mark.parametrize(
    ("slots", "seconds", "beside"), [(1, 0.05, 0.01), (4, 1.0, 0.02), (4, 9.0, 0.5), (1, 0.001, 0.001)]
)
def test_a_burst_that_fills_all_slots_is_no_breach(slots: int, seconds: float, beside: float) -> None:
    """Ten minutes of more than it can serve: connections wait, and a slot is idle only `beside` each request."""
    numbers = random.Random(7)
    share = seconds / (seconds + beside)
    for _ in range(50):
        ended, steps = 0, [*WELL, FILLS]
        for turn in range(1, 110):
            now = int(slots * LOOK_EVERY_S * turn / (seconds + beside))
            busy = sum(numbers.random() < share for _ in range(slots))
            flying = sum(one.begun - one.ended for one, _ in steps)
            steps.append((flow(now - ended + busy - flying, now - ended, (now - ended) * seconds), 500))
            ended = now
        words, made, _ = looked(steps, slots=slots)
        assert words == ""
        assert "no breach" in made.conclusion() or "not enough" in made.conclusion()


def test_slots_that_are_busy_while_nobody_waits_are_none() -> None:
    """Four that poll for a minute each, and nobody else."""
    assert looked([*WELL, (flow(4, 0), 0), *[(NOTHING, 0)] * 11, (flow(0, 4, 240.0), 0)] * 8)[0] == ""


def test_a_request_that_may_take_long_by_its_declaration_is_waited_for() -> None:
    standing = [*WELL, FILLS, *[(NOTHING, 9)] * 14]
    assert looked(standing)[0] != ""
    assert looked(standing, patience_s=120.0)[0] == ""
    assert "where one may take 120 s" in looked([*standing, *[(NOTHING, 9)] * 30], patience_s=120.0)[0]


def test_a_request_that_took_as_long_before_is_waited_for() -> None:
    """An app that streams: what is long has a tenth of the slots' time at least."""
    buckets = [0] * len(Tally().buckets)
    buckets[10], buckets[-2] = 10_000, 30
    before = Before(
        Tally(10_030, 0, 10_000 * 0.01 + 30 * 80.0, {**Tally().outcomes, "2xx": 10_030}, buckets=buckets), 3600.0
    )
    assert longest_usual_s(before.tally) == 100.0
    standing = [*WELL, FILLS, *[(NOTHING, 9)] * 18]
    assert looked(standing, before)[0] == ""
    stray = Before(
        Tally(100_001, 0, 2_080.0, {**Tally().outcomes, "2xx": 100_001}, buckets=[*buckets[:-2], 1, 0]), 3600.0
    )
    assert longest_usual_s(stray.tally) < 10.0
    assert looked(standing, stray)[0] != "", "one request that took long once is not what the app does"


def test_a_database_that_is_away_for_a_quarter_of_a_minute_hangs_nothing() -> None:
    back = (flow(60, 64, 64.0), 0)
    assert looked([*WELL, FILLS, (NOTHING, 40), (NOTHING, 70), (NOTHING, 90), back, *WELL] * 5)[0] == ""


def test_an_app_of_many_slots_that_answers_nobody_is_seen_before_they_are_full() -> None:
    words, _, looks = looked([*WELL, *[(flow(30, 0), 0)] * 30], slots=1000)
    assert "requests have had no answer for 10 s or more" in words
    assert looks < 8 + 14
    healthy = [(flow(31, 1, 0.01), 0)] * 40
    words, _, _ = looked([*WELL, *healthy], slots=1000)
    assert "requests have had no answer for 10 s or more" in words, "that its health is asked and answered saves it not"


def test_an_app_of_many_slots_that_is_slow_under_a_burst_is_not_taken_for_one_that_hangs() -> None:
    """It serves 20 a second of 60 that come, which all wait in its slots until these are full."""
    steps, flying = list(WELL), 0
    for _ in range(100):
        begun = min(300, 1000 - flying + 100)
        flying += begun - 100
        steps.append((flow(begun, 100, 100 * flying / 20), 5 if flying >= 1000 else 0))
    assert looked(steps, slots=1000)[0] == ""


def test_streams_that_come_again_after_the_switch_are_not_taken_for_hanging() -> None:
    before = Before(Tally(5_060, 0, 100.0, {**Tally().outcomes, "2xx": 5_000}), 3600.0)
    assert looked([(flow(60, 0), 0), *[(NOTHING, 0)] * 100], before, slots=1000)[0] == ""
    assert looked([(flow(60, 0), 0), *[(NOTHING, 0)] * 100], slots=1000)[0] != "", "of the one before nothing is known"


def test_a_few_requests_without_an_answer_are_none() -> None:
    assert looked([*WELL, (flow(4, 0), 0), *[(NOTHING, 0)] * 60])[0] == ""


def test_what_stands_still_at_the_end_is_not_called_well() -> None:
    _, made, _ = looked([*WELL, FILLS, *[(NOTHING, 9)] * 4], patience_s=60.0)
    assert made.conclusion() == (
        "it cannot tell (256 requests): 4 of 4 slots busy and 9 connections wait, none of its requests ended within "
        "20 s, where one may take 60 s"
    )


# -- fewer clients than slots: no new request comes once all of them wait ----------------------------------------------

ALL_WAIT = (flow(154, 0), 0)
WAIT_WORDS = "in at least 154 of 256 slots requests have had no answer for 10 s or more"


def test_an_app_that_hangs_with_all_its_clients_in_fewer_slots_than_it_has_is_seen() -> None:
    well = [(flow(500, 500, 10.0), 0)] * 12
    words, _, looks = looked([*well, ALL_WAIT, *[(NOTHING, 0)] * 30], slots=256)
    assert words == f"it hangs: {WAIT_WORDS}, none of its requests ended within 40 s"
    assert looks <= 12 + 12
    probed = [(flow(1, 1, 0.01), 0)] * 30
    words, _, _ = looked([*well, ALL_WAIT, *probed], slots=256)  # its health is still asked, and answered
    assert words.startswith(f"it hangs: {WAIT_WORDS}, 8 of its requests ended")


def test_what_hangs_while_others_are_answered_is_told_and_not_gone_back_from() -> None:
    """One path hangs, which a new kind of long poll may be; the others are served."""
    others = [(flow(100, 100, 3.0), 0)] * 60
    words, made, _ = looked([*others[:10], (flow(254, 100, 3.0), 0), *others], slots=256)
    assert words == ""
    assert made.conclusion() == f"it cannot tell (7100 requests): {WAIT_WORDS}"


def test_streams_and_downloads_are_not_waited_for() -> None:
    """A release that has streams where the one before had none: their answers have begun."""
    well = [(flow(500, 500, 10.0), 0)] * 12
    words, made, _ = looked([*well, (flow(154, 0, answering=154), 0), *[(NOTHING, 0)] * 90], slots=256)
    assert words == ""
    assert made.conclusion() == "6000 requests, no breach"
    more_and_more = [(flow(2, 0, answering=2), 0)] * 100
    assert looked(more_and_more, Before(flow(60, 59, 1.0, answering=1), 60.0), slots=256)[0] == ""


def test_streams_that_begin_late_are_none() -> None:
    """Each waits 8 s for its answer, which then goes on for minutes: as many wait at each look, others each time."""
    steps = [
        (flow(9, 0), 0),
        (flow(9, 0), 0),
        *[(flow(9, 0, answering=9), 0)] * 60,
        *[(flow(9, 9, 2_700, answering=0), 0)] * 60,
    ]
    words, made, _ = looked(steps, slots=1000)
    assert words == ""
    assert "no answer" not in made.conclusion()


def test_what_came_slowly_counts_from_when_it_has_come() -> None:
    """Six slow uploads, and nobody else: from the look at which their bodies are there they have 10 s, as others do."""
    coming = [*[(flow(500, 500, 10.0), 0)] * 12, (flow(6, 0, answering=6), 0), *[(NOTHING, 0)] * 40]
    assert looked(coming, slots=40)[0] == ""
    come = [*coming, (flow(0, 0, answering=-6), 0)]
    words, _, looks = looked([*come, *[(NOTHING, 0)] * 20], slots=40)
    assert words.startswith("it hangs: in at least 6 of 40 slots requests have had no answer for 10 s or more")
    assert looks - len(come) == 2 + 3, "10 s, and four looks agree"


def test_what_hangs_beside_streams_is_seen() -> None:
    well = [(flow(500, 500, 10.0), 0)] * 12
    steps = [*well, (flow(254, 0, answering=100), 0), *[(NOTHING, 0)] * 30]
    assert looked(steps, slots=256)[0].startswith(f"it hangs: {WAIT_WORDS}")


def test_where_streams_are_not_told_from_what_hangs_it_cannot_tell() -> None:
    """A recorder of a version that does not count them."""
    steps = [(flow(500, 500, 10.0, answering=None), 0)] * 12
    steps += [(flow(154, 0, answering=None), 0), *[(flow(0, 0, answering=None), 0)] * 60]
    words, made, _ = looked(steps, slots=256)
    assert words == ""
    assert made.conclusion() == (
        "it cannot tell (6000 requests): in at least 154 of 256 slots requests have been in flight for 10 s or more"
    )


def test_as_many_that_waited_before_are_no_reason() -> None:
    """An app that is polled: each of its clients waits for its answer for minutes."""
    before = Before(flow(5_080, 5_000, 100.0), 3600.0)
    words, made, _ = looked([(flow(154, 0), 0), *[(NOTHING, 0)] * 100], before, slots=256)
    assert (words, made.conclusion()) == ("", "not enough traffic to tell (0 requests)")
    assert looked([(flow(170, 0), 0), *[(NOTHING, 0)] * 100], before, slots=256)[0] != ""


def test_polls_that_end_in_their_time_are_none() -> None:
    """Clients that poll for 30 s each, and nobody else: a release that polls where the one before did not."""
    for each in (1, 7, 20):
        steps = [(flow(each, 0), 0)] * 6 + [(flow(each, each, each * 30.0), 0)] * 100
        assert looked(steps, Before(flow(9_000, 9_000, 100.0), 3600.0), slots=256)[0] == ""


def test_a_burst_in_many_slots_is_not_taken_for_what_stands() -> None:
    """Ten minutes of some hundred requests in flight that take 4 s each: the looks meet other ones each time."""
    numbers = random.Random(5)
    for _ in range(50):
        steps, flying = [(flow(300, 0), 0)], 300
        for _ in range(110):
            next_flying = numbers.randint(150, 256)
            ended = int(5 * flying / 4)
            steps.append((flow(ended + next_flying - flying, ended, 4.0 * ended), 0))
            flying = next_flying
        words, made, _ = looked(steps, slots=256)
        assert words == ""
        assert made.conclusion().endswith("requests, no breach")


def test_a_single_slot_that_is_busy_for_long_is_not_called_well() -> None:
    _, made, _ = looked([*WELL, (flow(1, 0), 0), *[(NOTHING, 0)] * 5], slots=1)
    assert made.conclusion() == (
        "it cannot tell (240 requests): in at least 1 of 1 slot a request has had no answer for 10 s or more"
    )
    _, made, _ = looked([*WELL, (flow(1, 0), 0), *[(NOTHING, 0)] * 5], slots=8)
    assert made.conclusion() == (
        "240 requests, no breach; in at least 1 of 8 slots a request has had no answer for 10 s or more"
    )


def test_streams_that_fill_all_slots_as_before_are_no_reason() -> None:
    """Threads that stream to eight clients for ever, and others who wait, in both generations."""
    full = [(flow(8, 0, answering=8), 3), *[(NOTHING, 3)] * 100]
    before = Before(flow(1_008, 1_000, 20.0, answering=8), 3600.0)
    assert looked(full, before, slots=8)[0] == ""
    assert looked(full, Before(flow(1_000, 1_000, 20.0), 3600.0), slots=8)[0].startswith("it hangs: 8 of 8 slots busy")
    buckets = [0] * len(Tally().buckets)
    buckets[10], buckets[-1] = 10_000, 3
    endless = Before(Tally(10_003, 0, 1_000.0, {**Tally().outcomes, "2xx": 10_003}, buckets=buckets), 3600.0)
    words, made, _ = looked(full, endless, slots=8)
    assert words == ""
    assert made.conclusion().startswith("it cannot tell (0 requests): 8 of 8 slots busy and 3 connections wait")


def test_what_was_started_again_is_counted_anew() -> None:
    made = Watch(LIMITS, Before(), Instance(slots=4))
    for turn, one in enumerate([flow(1000, 996), flow(1000, 996), flow(4, 0), flow(4, 0), *[flow(4, 0)] * 3]):
        assert made.look(Reading(5.0 * turn, one, waiting=1)) == ""
