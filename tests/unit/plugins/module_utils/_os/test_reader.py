# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A command whose reader goes away says no more, fails of nothing, and finishes what it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.reader import for_a_reader

ROOT = Path(__file__).resolve().parents[5]

COMMAND = """
import sys
sys.path.insert(0, {collections!r})
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.reader import for_a_reader

def main():
    for number in range(100_000):
        print("line", number)
    print("lines", file=sys.stderr)
    open({mark!r}, "w").close()
    return 7

sys.exit(for_a_reader(main))
"""


def unread(command: list[str]) -> subprocess.CompletedProcess[str]:
    """A command whose output nobody reads: the pipe is closed before it starts."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    finally:
        os.close(writing)


def test_the_work_is_done_without_a_word(tmp_path: Path) -> None:
    mark = tmp_path / "done"
    script = COMMAND.format(collections=str(ROOT / ".collections"), mark=str(mark))
    done = unread([sys.executable, "-c", script])
    assert (done.returncode, done.stderr) == (7, "lines\n")
    assert mark.exists()


@pytest.mark.parametrize("more", [["--help"], ["--cores", "2", "--memory", "2G", "--explain"]])
def test_the_plan_command_says_nothing_of_it(more: list[str]) -> None:
    done = unread([sys.executable, str(ROOT / "scripts" / "plan"), *more])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", ["report", "lab", "demo"])
def test_the_other_commands_say_nothing_of_it(module: str) -> None:
    done = unread([sys.executable, str(ROOT / "scripts" / "lib" / "run.py"), module, "--help"])
    assert (done.returncode, done.stderr) == (141, "")


def test_the_streams_are_as_before_and_a_status_of_argparse_passes(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr

    def main() -> int:
        print("said")
        raise SystemExit(2)

    with pytest.raises(SystemExit):
        for_a_reader(main)
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "said\n"
