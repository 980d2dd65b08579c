# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""h2load's commands and the accounting of its logs, on captures of real versions."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import h2load as h2
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.processes import Clock
from hypothesis import assume, given
from hypothesis import strategies as some

CAPTURES = Path(__file__).parents[3] / "fixtures" / "h2load"
VERSIONS = sorted(path.name for path in CAPTURES.iterdir() if (path / "version.json").exists())


def captured(version: str, scenario: str, **changes: Any) -> tuple[h2.LaneRun, dict[str, Any]]:
    stem = CAPTURES / version / scenario
    facts = json.loads(stem.with_suffix(".json").read_text())
    log = stem.with_suffix(".log").read_text()
    parts: dict[str, Any] = {
        "code": facts["exit"],
        "stdout": stem.with_suffix(".stdout").read_text(),
        "stderr": stem.with_suffix(".stderr").read_text(),
        "log": log,
        "cpu_seconds": facts["cpu_seconds"],
        "started": min((int(line.split("\t")[0]) for line in log.splitlines()), default=0) / 1e6,
    }
    return h2.LaneRun(h2.Lane(0, facts["planned"], 10, 0.0), h2.Finished(**{**parts, **changes})), facts


def test_captures_are_of_several_versions() -> None:
    assert VERSIONS == ["1.52-debian12", "1.64-debian13"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("scenario", "failures"),
    [
        ("ok", 0),
        ("unix", 0),
        ("post", 0),
        ("put", 0),
        ("chunked", 0),
        ("stall", 0),
        ("302", 8),  # said nowhere to mean well
        ("404", 8),
        ("500", 8),
        ("reset", 8),
        ("hang", 8),
        ("short", 8),
        ("empty", 8),
        ("refused", 40),
        ("nosocket", 40),
        ("nofile", 12),
        ("close", 40),  # answers that end with the connection: h2load knows no end and logs none of them
    ],
)
def test_every_failure_is_counted_although_h2load_exits_with_0(version: str, scenario: str, failures: int) -> None:
    run, facts = captured(version, scenario)
    samples = h2.account([run])
    assert facts["exit"] == 0
    assert samples.complete, samples.why
    assert samples.failures == failures
    assert samples.planned == len(samples.latency_ms) == len(samples.status) == len(samples.start_s) == 40
    assert sum(map(math.isinf, samples.latency_ms)) == failures
    assert list(samples.start_s) == sorted(samples.start_s)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stall_shows_in_the_latencies(version: str) -> None:
    samples = h2.account([captured(version, "stall")[0]])
    slow = [latency for latency in samples.latency_ms if latency > 50]
    assert 25 <= len(slow) <= 31
    assert 290 <= max(slow) <= 310


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_server_saw(version: str) -> None:
    def seen(scenario: str) -> list[str]:
        found: list[str] = captured(version, scenario)[1]["request"]
        return found

    assert seen("post")[0] == "POST /ok HTTP/1.1"
    assert seen("put")[0] == "PUT /ok HTTP/1.1"
    assert {"Host: app.example", "Content-Length: 8", "content-type: application/json"} <= set(seen("put"))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_summary(version: str) -> None:
    found = h2.parse_summary(captured(version, "hang")[0].finished.stdout)
    assert found is not None
    assert (found.total, found.started, found.done, found.failed, found.timeout) == (40, 40, 32, 8, 8)
    assert found.statuses == (32, 0, 0, 0)
    assert found.seconds == pytest.approx(1.39, abs=0.02)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_bytes_of_answers_are_known_of_a_process_that_got_a_good_one_each_time(version: str) -> None:
    lanes = [captured(version, name)[0] for name in ("ok", "unix", "post", "chunked", "302", "500", "short", "hang")]
    assert h2.account(lanes).sizes == [(0, 40, 80), (0, 40, 80), (0, 40, 80), (0, 40, 80)]
    stopped, _ = captured(version, "ok", stopped=4e9)
    assert h2.account([stopped]).sizes == []
    silent, _ = captured(version, "ok", stdout=lanes[0].finished.stdout.replace("traffic", "tragedy"))
    assert h2.account([silent]).sizes == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"code": 1, "stderr": "--rate-period: value error 0.5ms\n"},
            "h2load ended with code 1: --rate-period: value error 0.5ms",
        ),
        ({"code": -9, "timed_out": True}, "h2load was stopped after its time limit with 40 of 40 requests answered"),
        (
            {"code": None, "error": "h2load: No such file or directory"},
            "h2load could not be started: h2load: No such file or directory",
        ),
        ({"stdout": "starting benchmark...\n"}, "h2load printed no summary"),
        ({"log": ""}, "the log of h2load has 0 rows where it counted 40 answers"),
        ({"log": "1\t200\n" * 40}, "the log of h2load has 0 rows and 40 unreadable lines for 40 requests"),
    ],
)
def test_a_run_that_is_no_measurement_says_so(changes: dict[str, Any], why: str) -> None:
    samples = h2.account([captured("1.52-debian12", "ok", **changes)[0]])
    assert (samples.complete, samples.why) == (False, why)


def test_a_generator_that_fell_behind_is_no_measurement() -> None:
    rows = "".join(f"{1_000_000 + 10_000 * index + (200_000 if index >= 20 else 0)}\t200\t500\n" for index in range(40))
    run, _ = captured("1.52-debian12", "ok", log=rows)
    samples = h2.account([run])
    assert samples.why == "the generator fell 200 ms behind its clock and reached 66.7 of 100 requests a second"
    # what was held up counts once, for the request that was due then, and not for all that came after
    assert sum(latency > 100 for latency in samples.latency_ms) == 1


@pytest.mark.parametrize(
    ("pauses_ms", "rate", "why", "note"),
    [
        ({300: 2000}, 100.0, "", "the generator stood still for 2000 ms, as a machine that stops does"),
        ({300: 700, 600: 900}, 100.0, "", "the generator stood still for 1600 ms, as a machine that stops does"),
        ({100: 3000}, 100.0, "the generator stood still for 3.0 of 13.0 s", "the generator stood still for 3000 ms"),
        # many small ones are no pause, but a generator that is too slow
        (
            dict.fromkeys(range(100, 1000, 100), 100),
            91.7,
            "the generator fell 900 ms behind its clock and reached 91.7 of 100 requests a second",
            None,
        ),
    ],
)
def test_a_generator_that_stood_still(pauses_ms: dict[int, int], rate: float, why: str, note: str | None) -> None:
    clock, rows = 1_000_000, []
    for index in range(1000):
        clock += 1000 * pauses_ms.get(index, 0)
        rows.append(f"{clock}\t200\t500\n")
        clock += 10_000
    summary = (
        "requests: 1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout\n"
        "status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx\n"
    )
    end = h2.Finished(0, summary, "", "".join(rows), 0.1, 1.0)
    samples = h2.account([h2.LaneRun(h2.Lane(0, 1000, 10, 0.0), end)])
    assert (samples.complete, samples.why) == (not why, why)
    assert samples.achieved_rate == pytest.approx(rate, abs=0.1)
    assert [text.startswith(note) for text in samples.notes] == [True] if note else list(samples.notes) == []


def test_more_columns_and_a_cut_last_line_are_read() -> None:
    rows, bad = h2.parse_log("1\t200\t7\textra\n2\t-1\t9\n3\t20")
    assert rows == [h2.Row(1, 200, 7), h2.Row(2, -1, 9)]
    assert bad == 1


def test_the_wait_for_a_connection_is_added() -> None:
    late = {5: 80_000, 6: 70_000, 7: 3_000}
    rows = "".join(f"{1_000_000 + 10_000 * index + late.get(index, 0)}\t200\t500\n" for index in range(40))
    samples = h2.account([captured("1.52-debian12", "ok", log=rows)[0]])
    # the late ones are matched in the order of their starts: together they have waited what they waited
    waited = [latency - 0.5 for latency in samples.latency_ms if latency > 0.6]
    assert sum(waited) == pytest.approx(150, abs=12)
    assert samples.complete
    assert samples.drift_ms == 0


@given(
    planned=some.integers(1, 300),
    lost=some.sets(some.integers(0, 299), max_size=60),
    late=some.lists(some.floats(0, 0.02), min_size=300, max_size=300),
)
def test_alignment_finds_a_slot_of_its_own_for_every_row(planned: int, lost: set[int], late: list[float]) -> None:
    starts = sorted(100.0 + 0.02 * slot + late[slot] for slot in range(planned) if slot not in lost)
    slots, lags, _begin, drift = h2.align(starts, planned, 0.02, 100.0)
    assert len(slots) == len(starts) == len(lags)
    assert sorted(set(slots)) == slots
    assert all(0 <= slot < planned for slot in slots)
    assert all(lag >= -1e-9 for lag in lags)
    assert drift >= 0


def test_alignment_is_exact_where_rows_are_missing() -> None:
    starts = [50.0 + 0.02 * slot for slot in range(100) if slot % 7]
    slots, lags, begin, drift = h2.align(starts, 100, 0.02, 49.999)
    assert slots == [slot for slot in range(100) if slot % 7]
    assert begin == pytest.approx(50.0)
    assert max(lags) == pytest.approx(0, abs=1e-9)
    assert drift == pytest.approx(0, abs=1e-9)


PATHS = [h2.PathLoad("/"), h2.PathLoad("/a?b=c", 3.0, "POST", "body", {"Content-Type": "text/plain"})]


def test_one_process_for_each_path_by_weight() -> None:
    lanes = h2.plan_lanes(PATHS, 50, 30)
    assert [(lane.path, lane.planned, lane.period_ms) for lane in lanes] == [(0, 375, 80), (1, 1125, 27)]
    assert h2.lanes_rate(lanes) == pytest.approx(50, rel=0.01)
    assert len({lane.offset_s for lane in lanes}) == 2


@given(
    rate=some.floats(0.5, 1500),
    seconds=some.floats(2, 60),
    weights=some.lists(some.floats(0.1, 10), min_size=1, max_size=4),
)
def test_lanes_reach_the_rate(rate: float, seconds: float, weights: list[float]) -> None:
    paths = [h2.PathLoad("/", weight) for weight in weights]
    assume(rate * seconds * max(weights) / sum(weights) >= 0.5)
    lanes = h2.plan_lanes(paths, rate, seconds)
    served = sum(path.weight for index, path in enumerate(paths) if any(lane.path == index for lane in lanes))
    assert h2.lanes_rate(lanes) == pytest.approx(rate * served / sum(weights), rel=0.06)
    assert all(lane.period_ms >= 1 and lane.planned >= 1 for lane in lanes)
    assert sum(lane.planned for lane in lanes) == pytest.approx(rate * seconds, abs=1 + 8 * len(weights), rel=0.7)


def test_random_times_have_the_rate_and_the_shares_and_repeat() -> None:
    lanes = h2.plan_arrivals(PATHS, 50, 30)
    assert lanes == h2.plan_arrivals(PATHS, 50, 30)
    assert lanes != h2.plan_arrivals(PATHS, 50, 30, seed="again")
    assert [sum(lane.planned for lane in lanes if lane.path == path) for path in (0, 1)] == [375, 1125]
    assert h2.lanes_rate(lanes) == pytest.approx(50)
    assert {lane.run_s for lane in lanes} == {30.0}
    assert max(lane.offset_s + (lane.planned - 1) * lane.period_ms / 1000 for lane in lanes) <= 30.0
    assert h2.nofile_needed(lanes, 10) < 100


def test_very_many_requests_come_evenly() -> None:
    assert h2.plan_arrivals(PATHS, 1200, 10) == h2.plan_lanes(PATHS, 1200, 10)


@pytest.mark.parametrize(("late_ms", "rate", "complete"), [(0, 50.0, True), (30, 50.0, True), (400, 45.5, False)])
def test_the_clock_of_a_train_is_its_own(late_ms: int, rate: float, complete: bool) -> None:
    """Trains that fall behind by so much each, from the middle on: what they lost is lost from the rate."""
    runs = []
    for number in range(30):
        lane = h2.Lane(0, 20, 200, 0.1 * number, run_s=12.0)
        begin = 1_000_000_000 + 100_000 * number
        pause = [0] * 10 + [step * late_ms * 250 for step in (1, 2, 3)] + [late_ms * 1000] * 7
        rows, clock = [], begin
        for index in range(20):
            clock = begin + index * 200_000 + pause[index]
            rows.append(f"{clock}\t200\t5000\n")
        summary = (
            "requests: 20 total, 20 started, 20 done, 20 succeeded, 0 failed, 0 errored, 0 timeout\n"
            "status codes: 20 2xx, 0 3xx, 0 4xx, 0 5xx\n"
        )
        runs.append(h2.LaneRun(lane, h2.Finished(0, summary, "", "".join(rows), 0.01, begin / 1e6)))
    samples = h2.account(runs)
    assert samples.planned == 600
    assert samples.planned_rate == pytest.approx(50)
    assert samples.achieved_rate == pytest.approx(rate, rel=0.02)
    assert samples.complete is complete
    assert samples.start_s == sorted(samples.start_s)


def test_the_command_over_tcp() -> None:
    lane = h2.Lane(0, 1500, 20, 0.0)
    argv = h2.build_command(PATHS[0], lane, h2.Target("127.0.0.1:8000"), log_file="l")
    assert argv == [
        *("h2load", "--h1", "-n", "1500", "-c", "1500", "-r", "1", "--rate-period=20ms", "-N", "10s", "-T", "10s"),
        *("--log-file=l", "http://127.0.0.1:8000/"),
    ]


def test_the_command_over_a_unix_socket_with_a_body() -> None:
    lane = h2.Lane(0, 10, 20, 0.0)
    target = h2.Target("unix:/run/headcount/shop/1.sock", "shop.example")
    path = h2.PathLoad("/a?b=c", 1.0, "PUT", "x", {"Content-Type": "text/plain"})
    argv = h2.build_command(path, lane, target, log_file="l", body_file="b", timeout_s=2.5)
    assert argv[argv.index("-N") :] == [
        *("-N", "3s", "-T", "3s", "--log-file=l", "-H", "content-type: text/plain", "-H", ":authority: shop.example"),
        *("-d", "b", "-H", ":method: PUT", "-B", "unix:/run/headcount/shop/1.sock", "http://shop.example/a?b=c"),
    ]
    assert not {"-D", "--rps"} & set(argv)


def test_a_host_header_becomes_the_authority() -> None:
    path = h2.PathLoad("/", headers={"Host": "other.example"})
    argv = h2.build_command(path, h2.Lane(0, 1, 20, 0), h2.Target("127.0.0.1:1", "shop.example"), log_file="l")
    assert [argv[place + 1] for place, part in enumerate(argv) if part == "-H"] == [":authority: other.example"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (h2.PathLoad("a"), "load.paths: path is 'a': it must begin with / and hold no blanks (percent-encode them)"),
        (
            h2.PathLoad("/a b"),
            "load.paths: path is '/a b': it must begin with / and hold no blanks (percent-encode them)",
        ),
        (
            h2.PathLoad("/", method="HEAD"),
            "load.paths: method of / is 'HEAD': GET, POST, PUT, PATCH, DELETE or OPTIONS",
        ),
        (
            h2.PathLoad("/", headers={"a": "b\r\nc: d"}),
            "load.paths: header 'a' of / holds a character that HTTP does not allow",
        ),
    ],
)
def test_paths_that_are_refused(path: h2.PathLoad, text: str) -> None:
    with pytest.raises(h2.LoadError) as refusal:
        h2.build_command(path, h2.Lane(0, 1, 20, 0), h2.Target("127.0.0.1:1"), log_file="l")
    assert str(refusal.value) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([], 1, 1), "load.paths is empty: name at least one path"),
        ((PATHS, 0, 1), "load.rate is 0 and load.seconds is 1: both must be above 0"),
        (
            (PATHS, 1e5, 30),
            "load.rate 100000 for load.seconds 30 are 3000000 requests, the most is 200000: lower one of them",
        ),
        ((PATHS, 0.1, 1), "load.rate 0.1 for load.seconds 1 is less than one request: raise one of them"),
        (([h2.PathLoad("/", 0.0)], 1, 1), "load.paths: every weight must be 0 or more, and one above 0"),
    ],
)
def test_loads_that_are_refused(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(h2.LoadError) as refusal:
        h2.plan_lanes(*arguments)
    assert str(refusal.value) == text


def test_open_files_are_needed_for_what_can_hang_at_once() -> None:
    assert h2.nofile_needed([h2.Lane(0, 3000, 10, 0.0)], 10) == 1001 + 32
    assert h2.nofile_needed([h2.Lane(0, 40, 10, 0.0)], 10) == 40 + 32


def test_open_files_beyond_the_hard_limit_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    changed: list[Any] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: changed.append(limits))
    assert h2.raise_nofile(100) == ""
    assert h2.raise_nofile(1000) == ""
    assert changed == [(1000, 1024)]
    assert h2.raise_nofile(2000) == (
        "the load needs 2000 open files and the hard limit (ulimit -Hn) is 1024: "
        "raise it, or lower load.rate or the request time-out"
    )


def test_logs_are_cleared_and_bodies_written(tmp_path: Path) -> None:
    (tmp_path / "candidate-1.log").write_text("old")
    lanes = h2.plan_lanes(PATHS, 50, 2)
    launches = h2.prepare(PATHS, lanes, h2.Target("127.0.0.1:1"), directory=str(tmp_path), label="candidate")
    assert not (tmp_path / "candidate-1.log").exists()
    assert (tmp_path / "candidate-1.body").read_text() == "body"
    assert [launch.limit_s for launch in launches] == pytest.approx([2 + 15, 2.025 + 15], abs=0.1)


def launch(tmp_path: Path, name: str, code: str, limit: float = 20.0) -> h2.Launch:
    log = str(tmp_path / name)
    return h2.Launch([sys.executable, "-c", code, log], 0.0, log, limit)


def test_processes_run_side_by_side_and_are_read(tmp_path: Path) -> None:
    write = "import sys; open(sys.argv[1], 'w').write('row'); print('said'); sys.exit(3)"
    good, absent = h2.run_processes(
        [launch(tmp_path, "a", write), h2.Launch(["no-such-program-here"], 0.01, str(tmp_path / "b"), 1.0)]
    )
    assert (good.code, good.stdout, good.log, good.timed_out) == (3, "said\n", "row", False)
    assert good.cpu_seconds > 0
    assert absent.error == "no-such-program-here: No such file or directory"


@pytest.mark.parametrize("allowed", [True, False])
def test_the_generator_goes_before_others_where_that_is_allowed(
    allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def setpriority(which: int, who: int, value: int) -> None:
        asked.append(value)
        if not allowed:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", setpriority)
    (ended,) = h2.run_processes([launch(tmp_path, "a", "print('ran')")])
    assert (ended.code, ended.stdout, asked) == (0, "ran\n", [-10])


def test_a_process_that_overruns_is_killed_with_its_group(tmp_path: Path) -> None:
    child = (
        "import os, subprocess, sys, time;"
        "p = subprocess.Popen(['sleep', '60']); open(sys.argv[1], 'w').write(str(p.pid)); time.sleep(60)"
    )
    (ended,) = h2.run_processes([launch(tmp_path, "a", child, limit=3.0)])
    assert ended.timed_out
    assert ended.code == -9
    assert ended.log, "it wrote down its own child before the limit"
    deadline = time.monotonic() + 10.0  # a killed process ends when the kernel gets to it
    while running(int(ended.log)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(int(ended.log))


def running(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("status", "failures"), [((), 8), ((200, 302), 0), ((302,), 32)])
def test_which_statuses_mean_well_is_declared(version: str, status: tuple[int, ...], failures: int) -> None:
    run, _ = captured(version, "302")
    lane = h2.Lane(0, run.lane.planned, 10, 0.0, status)
    assert h2.account([h2.LaneRun(lane, run.finished)]).failures == failures


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [
        ("ok", {}),
        ("302", {"answered 302": 8}),
        ("500", {"answered 500": 8}),
        ("hang", {"timed out": 8}),
        ("reset", {"reset, refused or cut short": 8}),
        ("refused", {"reset, refused or cut short": 40}),
    ],
)
def test_how_requests_failed(version: str, scenario: str, kinds: dict[str, int]) -> None:
    samples = h2.account([captured(version, scenario)[0]])
    assert samples.kinds == kinds
    assert samples.how_failed() == ", ".join(f"{count} {how}" for how, count in kinds.items())


def test_how_requests_failed_is_known_of_each_path() -> None:
    runs = [captured(VERSIONS[0], name)[0] for name in ("ok", "500", "hang")]
    samples = h2.account([replace(run, lane=replace(run.lane, path=path)) for run, path in zip(runs, (0, 2, 2))])
    assert list(samples.path_kinds) == [{}, {}, {"answered 500": 8, "timed out": 8}]


def test_a_load_is_ended_as_soon_as_it_is_to_stop(tmp_path: Path) -> None:
    begin = time.monotonic()
    log = tmp_path / "one.log"
    script = f"import time; open({str(log)!r}, 'w').write('{int(time.time() * 1e6)}\\t200\\t900\\n'); time.sleep(60)"
    late = h2.Launch(
        [sys.executable, "-c", "raise SystemExit('it was started')"], 30.0, str(tmp_path / "two.log"), 60.0
    )
    first, second = h2.run_processes(
        [h2.Launch([sys.executable, "-c", script], 0.0, str(log), 60.0), late],
        lambda: "enough" if log.exists() and log.read_text() else "",
    )
    assert time.monotonic() - begin < 20
    assert first.stopped is not None
    assert not first.timed_out
    assert first.log.endswith("\t200\t900\n")
    assert (second.code, second.log, second.stopped) == (None, "", first.stopped)


def test_of_a_load_that_was_stopped_counts_what_had_time_to_be_answered() -> None:
    rows = "".join(f"{1_000_000_000 + index * 100_000}\t200\t5000\n" for index in range(30))
    end = h2.Finished(-9, "", "", rows, 0.1, 1000.0, stopped=1003.0)
    samples = h2.account([h2.LaneRun(h2.Lane(0, 300, 100, 0.0), end)])
    assert (samples.planned, samples.failures, samples.complete, samples.why) == (21, 0, False, "the load was stopped")
    lost = h2.account([h2.LaneRun(h2.Lane(0, 300, 100, 0.0), h2.Finished(-9, "", "", "", 0.1, 1000.0, stopped=1003.0))])
    assert (lost.planned, lost.failures, lost.kinds) == (21, 21, {"got no answer": 21})
    never = h2.account(
        [h2.LaneRun(h2.Lane(0, 300, 100, 0.0), h2.Finished(None, "", "", "", 0.0, 1003.0, stopped=1003.0))]
    )
    assert (never.planned, never.failures) == (0, 0)


def test_a_run_in_which_the_clock_was_set_is_no_measurement() -> None:
    """The log of h2load counts from the epoch: after a step of the clock its times mean nothing."""
    assert h2.account([captured(VERSIONS[0], "ok")[0]]).complete
    moved = h2.account([captured(VERSIONS[0], "ok", clock_set=-2.0)[0]])
    assert not moved.complete
    assert moved.why == "the host's clock was set by -2.0 s meanwhile, by which the requests are timed"


@pytest.mark.parametrize(("step", "told"), [(0.0, 0.0), (0.05, 0.0), (60.0, 60.0), (-2.0, -2.0)])
def test_a_clock_that_was_set(step: float, told: float) -> None:
    times = {"clock": 1000.0, "monotonic": 5.0}
    watch = Clock(lambda: times["clock"], lambda: times["monotonic"])
    times["clock"] += 30.0 + step
    times["monotonic"] += 30.0
    assert watch.set_by() == pytest.approx(told)
