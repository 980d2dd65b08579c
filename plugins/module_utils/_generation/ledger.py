# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The host's append-only history of an app: one JSON object a line, oldest first.

A line is written with one write(2) on a descriptor opened for appending and is fsynced before the call returns.
Beside the ledger lies a reserve of some KiB, which is given back to a full disk so that the event that tells of it
can still be written.
A power cut can leave at most one torn last line; readers pass over it, and the next append closes it with a
newline first, so that no later line is lost to it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from datetime import datetime, timezone
from typing import Callable, Dict

from .._os.files import fsync_directory
from .._os.secrecy import clean
from .._os.secretfiles import learn_from

MOST_LEFT = 20
"""So many ways back of people are kept in mind."""

EVENTS = (
    "staged",
    "promoted",
    "failed",
    "rolled_back",
    "rollback_failed",
    "reverted",
    "guarded",
    "healed",
    "pruned",
    "hardware_changed",
    "data_made",
    "removed",
    "prepared",
    "ran",
    "given_back",
)


_BRIEF = ("time", "event", "from", "to", "generation", "user", "controller", "verdict", "phase", "cause", "evidence")
RESERVE_BYTES = 64 * 1024

Entry = Dict[str, object]
"""One event, as its line has it: `time` and `event` as text, and what belongs to that event. A person may have edited
the file, so that nothing else is taken for granted."""


def now_text(clock: Callable[[], float] | None = None) -> str:
    """The time in UTC as ISO 8601 with milliseconds."""
    moment = datetime.now(timezone.utc) if clock is None else datetime.fromtimestamp(clock(), timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def append(path: str, event: str, /, **fields: object) -> Entry:
    """Append one event, without the app's secrets, and return it as written.

    `event` is one of EVENTS; anything else raises ValueError, so that readers can rely on the list.
    """
    if event not in EVENTS:
        raise ValueError(f"ledger event {event!r} is not one of {', '.join(EVENTS)}")
    learn_from(os.path.dirname(path))
    fields = clean(fields)
    entry: Entry = {
        "time": now_text(),
        "event": event,
        **{key: value for key, value in fields.items() if value is not None},
    }
    line = json.dumps(entry, sort_keys=False, separators=(",", ":"), default=str).encode() + b"\n"
    created = not os.path.exists(path)
    try:
        _write(path, line)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not os.path.exists(_reserve(path)):
            raise
        os.unlink(_reserve(path))
        _write(path, line)
    else:
        _keep_reserve(path)
    if created:
        fsync_directory(os.path.dirname(path))
    return entry


def _write(path: str, line: bytes) -> None:
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(handle, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.fsync(handle)
    finally:
        os.close(handle)


def _reserve(path: str) -> str:
    return f"{path}.reserve"


def _keep_reserve(path: str) -> None:
    """Make the reserve when it is not there and the disk has room for it."""
    if os.path.exists(_reserve(path)):
        return
    with contextlib.suppress(OSError):
        handle = os.open(_reserve(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, RESERVE_BYTES)
        except OSError:
            os.unlink(_reserve(path))
        finally:
            os.close(handle)


def read(path: str, last: int | None = None) -> list[Entry]:
    """The events in `path`, oldest first; at most the `last` newest. Torn lines are passed over, as what is no event.

    Each has `time` and `event`, as text; `time` is empty where a line (an edited one) does not tell it.
    """
    entries: list[Entry] = []
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict):
                    entries.append({"time": "", "event": "", **entry, **_texts(entry)})
    except FileNotFoundError:
        return []
    return entries if last is None else entries[-last:]


def brief(entry: Entry) -> Entry:
    """What a report tells of an event."""
    return {key: entry[key] for key in _BRIEF if key in entry}


def _texts(entry: Entry) -> dict[str, str]:
    return {key: str(entry[key]) for key in ("time", "event") if key in entry}


def last_live(entries: list[Entry]) -> int | None:
    """The generation that was made live last, by the ledger; None when none was, or the app was removed since."""
    for entry in reversed(entries):
        if entry.get("event") in ("promoted", "rolled_back", "reverted"):
            number = entry.get("to")
            return number if isinstance(number, int) else None
        if entry.get("event") in ("removed", "given_back"):
            return None
    return None


def given_back(entries: list[Entry]) -> bool:
    """Whether the app's address was given back to the service that had it before, and nothing was made live since."""
    told = ("promoted", "rolled_back", "reverted", "removed", "given_back")
    last = next((entry for entry in reversed(entries) if entry.get("event") in told), None)
    return last is not None and last["event"] == "given_back"


def staged(entries: list[Entry]) -> set[int]:
    """The generations whose units were laid down, by the ledger, since the app came or was removed last."""
    found: set[int] = set()
    for entry in entries:
        event = entry.get("event")
        number = entry.get("generation" if event == "staged" else "to")
        if event == "removed":
            found.clear()
        elif event in ("staged", "promoted", "rolled_back", "reverted") and isinstance(number, int):
            found.add(number)
    return found


def taken_back(entries: list[Entry]) -> list[Entry]:
    """What the guard took back, newest first: the events that tell of it, with generation, release, source_id, digest,
    cause.

    What was promoted again since is left out, as somebody wanted it; so is what came before the app was removed.
    """
    found: list[Entry] = []
    for entry in entries:
        event, source = entry.get("event"), entry.get("source_id")
        if event == "removed":
            found = []
        elif event == "promoted":
            found = [one for one in found if one["source_id"] != source]
        elif event == "failed" and entry.get("phase") == "guard" and source and "from" in entry:
            found.insert(0, entry)
    return found


def left(entries: list[Entry]) -> list[Entry]:
    """How people went back, newest first: the events that tell of it, with the `source_id` of the generation that was
    left (`from`).

    What was promoted again since is left out, as somebody wanted it, and so is what was gone back to since. At most
    MOST_LEFT.
    """
    sources: dict[int, object] = {}
    found: list[Entry] = []
    for entry in entries:
        event, to, before = entry.get("event"), entry.get("to"), entry.get("from")
        if event == "removed":
            found = []
        if event == "promoted" and isinstance(to, int):
            sources[to] = entry.get("source_id")
            found = [one for one in found if one["source_id"] != sources[to]]
        elif event == "rolled_back" and isinstance(before, int):
            source = sources.get(before)
            found = [one for one in found if one["from"] != to]
            found = [{**entry, "source_id": source}, *found] if source else found
    return found[:MOST_LEFT]


def deserted(entries: list[Entry]) -> set[int]:
    """The generations that people or a fleet went back from, and that were not made live since."""
    found: set[int] = set()
    for entry in entries:
        event, to, before = entry.get("event"), entry.get("to"), entry.get("from")
        if event == "removed":
            found.clear()
        if event in ("rolled_back", "reverted") and isinstance(before, int):
            found.add(before)
        if event in ("promoted", "rolled_back", "reverted") and isinstance(to, int):
            found.discard(to)
    return found


def highest_generation(entries: list[Entry]) -> int:
    """The highest generation number that the ledger ever named; numbers are never used twice."""
    numbers = [entry.get(key) for entry in entries for key in ("generation", "to", "from")]
    return max([number for number in numbers if isinstance(number, int)], default=0)
