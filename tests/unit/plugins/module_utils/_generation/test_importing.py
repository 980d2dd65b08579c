# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Workers that have not begun yet are told from those that hang."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import importing, ledger
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.procfs import children


@pytest.mark.parametrize(
    ("touched", "expected"),
    [
        ({1: 100.0, 2: 100.02}, True),
        ({1: 100.0, 2: 100.6}, False),  # one serves
        ({1: 130.0, 2: 131.0}, False),
        ({1: 100.0, 2: None}, False),  # not known
    ],
)
def test_none_has_touched_its_file_since_it_was_made(touched: dict[int, float | None], expected: bool) -> None:
    assert importing.importing([(1, 100.0), (2, 100.0)], touched.get) is expected


def test_without_workers_nothing_is_known() -> None:
    assert not importing.importing([], lambda _: 0.0)


WORKER = """
import os, sys, tempfile, time
file = tempfile.TemporaryFile(prefix="wgunicorn-")
if os.fork() == 0:
    time.sleep(0.3)
    if "serve" in sys.argv:
        os.utime(file.fileno())
    print("up", flush=True)
    time.sleep(60)
os.wait()
"""


@pytest.mark.parametrize(("does", "said"), [("import", True), ("serve", False)])
def test_of_a_real_process_and_its_prepare(tmp_path: Path, does: str, said: bool) -> None:
    """The file of a worker is made before the fork, without a name (Gunicorn unlinks it)."""
    named = WORKER.replace("tempfile.TemporaryFile(prefix=", "tempfile.NamedTemporaryFile(prefix=")
    workers: frozenset[tuple[int, int]] = frozenset()
    with subprocess.Popen([sys.executable, "-c", named, does], stdout=subprocess.PIPE, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
            workers = children(process.pid, pids)
            assert len(workers) == 1
            layout = Layout("shop", str(tmp_path))
            Path(layout.ledger).parent.mkdir(parents=True)
            ran = [{"run": "flask db upgrade", "seconds": 90.6}, {"run": "true", "seconds": 0.1}]
            ledger.append(layout.ledger, "prepared", generation=3, commands=ran)
            tick = 1.0 / os.sysconf("SC_CLK_TCK")
            booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
            began = [(pid, booted + ticks * tick) for pid, ticks in workers]
            assert importing.importing(began, importing.touched) is said
            assert importing.prepared(layout, 3) == ("flask db upgrade", 90.6)
            assert importing.prepared(layout, 4) is None
        finally:
            for pid, _ in workers:
                os.kill(pid, 9)
            process.kill()
