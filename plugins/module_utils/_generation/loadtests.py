# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What came of an app's load tests on this host: the newest MOST of them, one JSON object a line, oldest first."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Final, Sequence

from .._os.files import read_text_file, write_file
from .._os.paths import Layout

FILE = "loadtests.jsonl"
MOST = 200
SHOWN = 12
"""So many of the newest go into a report."""

DONE, STOPPED, SKIPPED, UNMEASURED = "done", "stopped", "skipped", "unmeasured"

EXIT_STATUS: Final = {DONE: 0, SKIPPED: 3, STOPPED: 4, UNMEASURED: 5}
"""How the command that runs one ends, by its outcome. Where there is nothing to test it is 1."""


@dataclass(frozen=True)
class Entry:
    """One load test. `outcome`: done; stopped, because users were hurt; skipped, because something was in its way;
    unmeasured, because the load could not be made as declared. `why` says it in a sentence, empty when done. Figures
    are None where nothing was measured: milliseconds, and MiB of the instance without page cache at its end."""

    time: str
    generation: int
    rate: float
    seconds: float
    outcome: str
    why: str = ""
    requests: int | None = None
    failures: int | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    memory_mib: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain data that JSON can hold."""
        return asdict(self)


def read(layout: Layout) -> list[Entry]:
    """The load tests that are known, oldest first. Lines that are none are passed over."""
    found = []
    for line in (read_text_file(_path(layout)) or "").splitlines():
        try:
            found.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def append(layout: Layout, entry: Entry) -> None:
    """Add one; the oldest goes where there are too many. Whole or not at all."""
    kept = [*read(layout), entry][-MOST:]
    write_file(_path(layout), "".join(json.dumps(one.to_dict()) + "\n" for one in kept), 0o600)


def _path(layout: Layout) -> str:
    return os.path.join(layout.state, FILE)


def words(entries: Sequence[Entry]) -> str:
    """The newest in a sentence, beside those before it; empty where there is none."""
    if not entries:
        return ""
    last = entries[-1]
    told = f"load test of {last.time[:16].replace('T', ' ')}Z at {last.rate:g} requests a second: "
    if last.outcome != DONE:
        return f"{told}{last.outcome}, {last.why}"
    told += f"p50 {last.p50_ms:.0f} ms, p95 {last.p95_ms:.0f} ms, " if last.p95_ms is not None else ""
    told += f"{last.failures} of {last.requests} requests failed"
    before = [one.p95_ms for one in entries[:-1] if one.p95_ms is not None and one.rate == last.rate][-SHOWN:]
    if not before:
        return told
    which = f"of the {len(before)} before it " if len(before) > 1 else "before "
    return f"{told}; p95 {which}{min(before):.0f}{f' to {max(before):.0f}' if len(before) > 1 else ''} ms"
