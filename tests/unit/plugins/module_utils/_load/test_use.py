# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What processes use beside memory: read from /proc, and kept second by second."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

from ansible_collections.headcount.gunicorn.plugins.module_utils._load import use
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Counts, Tally


def test_this_process_is_read(tmp_path: Path) -> None:
    before = use.read_use(os.getpid())
    over = threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(3)]
    with (tmp_path / "log").open("wb", buffering=0) as stream:
        for thread in threads:
            thread.start()
        stream.write(b"x" * 100_000)
        after = use.read_use(os.getpid())
    over.set()
    assert before is not None
    assert after is not None
    assert (after.threads or 0) - (before.threads or 0) == 3
    assert (after.descriptors or 0) > (before.descriptors or 0)
    assert (after.written or 0) - (before.written or 0) >= 100_000


def test_a_process_that_is_gone_or_closed_to_us(tmp_path: Path) -> None:
    assert use.read_use(7, str(tmp_path)) is None
    (tmp_path / "7").mkdir()
    fields = " ".join(str(number) for number in range(3, 52))
    (tmp_path / "7" / "stat").write_text(f"7 (gunicorn: (x) y) {fields}")
    assert use.read_use(7, str(tmp_path)) == use.ProcessUse(None, 20, None)


def test_what_a_worker_wrote_counts_after_its_end() -> None:
    now = {7: use.ProcessUse(10, 2, 2 * 2**20), 8: use.ProcessUse(5, 1, 2**20)}
    clock = iter((100.0, 101.0, 102.0))
    log = use.UseLog(cpu=lambda: 1.5, requests=lambda: 7.5, reader=now.get, clock=lambda: next(clock))
    log.look([(7, 1), (8, 1)], 64.0)
    log.mark_warm()
    del now[8]
    log.look([(7, 1), (8, 1)], None)
    assert log.columns() == {
        "second": [-1.0, 1.0],
        "cpu_seconds": [1.5, 1.5],
        "written_mib": [3.0, 3.0],
        "descriptors": [15.0, 10.0],
        "threads": [3.0, 2.0],
        "pss_mib": [64.0, None],
        "begun": [2.0, 2.0],
        "requests": [7.5, 7.5],
    }


def test_columns_of_another_clock_are_moved() -> None:
    assert use.moved({"second": [5.0, None], "threads": [1.0, 2.0]}, 4.0) == {
        "second": [1.0, None],
        "threads": [1.0, 2.0],
    }
    assert use.moved({}, 4.0) == {}


def test_it_is_rested_longer_where_somebody_asks() -> None:
    slept: list[float] = []
    for counts in ([5.0, 5.5], [5.0, 7.0], [None, 7.0], [5.0, None]):
        use.rested(2.0, iter(counts).__next__, slept.append)
    assert slept == [2.0, 2.0, 4.0, 2.0, 2.0]


def test_requests_are_what_the_recorder_counted(tmp_path: Path) -> None:
    tally = Tally(begun=12, lost=1, outcomes={"2xx": 8})
    whole = Counts(tally, (), 0.0, 1, {}, 1, 0, 0, 0.0, 0.0)
    assert use.asked("/run/x", lambda _: whole) == 10.5
    assert use.asked("/run/x", lambda _: replace(whole, uncounted=1)) is None
    assert use.asked("/run/x", lambda _: None) is None
    assert use.asked("") is None
    (tmp_path / "recorder").write_bytes(b"something else")
    assert use.asked(str(tmp_path)) is None
