# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from headcount_scripts import testing
from headcount_scripts.testing import Check, Counts, Result


@pytest.mark.parametrize(
    ("counts", "seconds", "line"),
    [
        (Counts(passed=3), 1.234, "============================== 3 passed in 1.23s =============================="),
        (
            Counts(passed=20, failed=1, errors=2, skipped=3),
            3725.5,
            "=========== 1 failed, 20 passed, 3 skipped, 2 errors in 3725.50s (1:02:05) ============",
        ),
        (Counts(), 0.5, "============================ no tests ran in 0.50s ============================="),
    ],
)
def test_closing_line_is_as_pytest_writes_it(counts: Counts, seconds: float, line: str) -> None:
    assert testing.closing_line(counts, seconds).strip("=") == line.strip("=")
    assert len(testing.closing_line(counts, seconds)) >= 80


def test_junit_files_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(
        '<testsuites><testsuite tests="10" failures="2" errors="1" skipped="3"/></testsuites>'
    )
    (tmp_path / "b.xml").write_text('<testsuite tests="4" failures="0" errors="0" skipped="0"/>')
    assert testing.read_junit(tmp_path) == Counts(passed=8, failed=2, errors=1, skipped=3)
    assert testing.read_junit(tmp_path / "none") == Counts()


@pytest.mark.parametrize(
    ("code", "counts", "passed"),
    [
        (0, Counts(passed=1), True),
        (1, Counts(passed=1), False),
        (None, Counts(passed=1), False),
        (0, Counts(passed=1, failed=1), False),
        (0, Counts(errors=1), False),
    ],
)
def test_result(code: int | None, counts: Counts, passed: bool) -> None:
    assert Result("x", code, 1.0, counts, Path("x.log")).passed is passed


@pytest.mark.parametrize(
    ("own", "code", "counts"),
    [
        (True, 0, Counts(passed=1)),
        (True, 1, Counts(failed=1)),
        (False, 0, Counts()),
        (False, 2, Counts(errors=1)),
    ],
)
def test_run_counts_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool, code: int, counts: Counts
) -> None:
    monkeypatch.setattr(testing, "LOGS", tmp_path)
    result = testing.run(Check("a check", (sys.executable, "-c", f"print('said'); raise SystemExit({code})"), own=own))
    assert (result.code, result.counts) == (code, counts)
    assert result.log.read_text() == "said\n"


def test_run_stops_what_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "LOGS", tmp_path)
    result = testing.run(
        Check("hangs", (sys.executable, "-c", "input() if 0 else __import__('signal').pause()"), seconds=0.2)
    )
    assert result.code is None
    assert result.counts == Counts(failed=1)


def test_scenarios_and_shell_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "molecule" / "shared").mkdir(parents=True)
    (tmp_path / "molecule" / "b").mkdir()
    (tmp_path / "molecule" / "b" / "molecule.yml").write_text("---\n")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "a").write_text("#!/usr/bin/env bash\n")
    (tmp_path / "scripts" / "b.sh").write_text("# sourced\n")
    (tmp_path / "scripts" / "c").write_text("#!/usr/bin/env python3\n")
    assert testing.scenarios(tmp_path) == ["b"]
    assert testing.shell_files(tmp_path) == ["scripts/a", "scripts/b.sh"]
