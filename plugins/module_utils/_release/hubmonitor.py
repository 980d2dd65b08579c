# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The monitor of a candidate's gevent hub, and which line of an app stood on it, by the monitor's reports."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Iterable, Sequence


@dataclass(frozen=True)
class Frame:
    """One frame of a stack: `source` is the line's text, "" when the file was not at hand."""

    file: str
    line: int
    function: str
    source: str

    def text(self) -> str:
        """`shop/views.py line 15 in ask_database: return psycopg2.connect(...)`"""
        path = re.sub(r"^.*/(?:site|dist)-packages/", "", self.file)
        return f"{path} line {self.line} in {self.function}" + (f": {self.source}" if self.source else "")


@dataclass(frozen=True)
class Blocked:
    """A line of the app that stood on the hub.

    `seconds` is a lower bound: each of the `reports` was written because nothing else ran for a whole blocking
    time. `innermost` is where Python was when it was seen, in a library perhaps.
    """

    seconds: float
    reports: int
    file: str
    line: int
    function: str
    source: str
    innermost: Frame

    def text(self) -> str:
        """One sentence for a verdict."""
        frame = Frame(self.file, self.line, self.function, self.source)
        inside = "" if (self.innermost.file, self.innermost.line) == (self.file, self.line) else self.innermost.text()
        return f"the gevent hub stood still for at least {self.seconds:.1f} s in {frame.text()}" + (
            f" (inside {inside})" if inside else ""
        )

    def to_dict(self) -> dict[str, object]:
        """The fields and the sentence."""
        return {**asdict(self), "text": self.text()}


def monitor_environment(blocking_seconds: float = 0.1) -> dict[str, str]:
    """The variables that make a gevent worker report when its hub stands still for longer (gevent.config)."""
    return {"GEVENT_MONITOR_THREAD_ENABLE": "1", "GEVENT_MAX_BLOCKING_TIME": f"{blocking_seconds:g}"}


SERVER = ("gevent", "greenlet", "gunicorn", "zope")
MONITORS = ("gevent/_monitor.py", "gevent/_tracer.py", "gevent/util.py")

BLOCK_REPORTS = 8
"""So many reports of a candidate's worker are enough to name the line. Each takes up to 60 KB of log, and holds the
interpreter while it is made: more would slow down what is measured."""

MONITOR_HOOK = f"""\
def post_worker_init(worker):
    # The monitor of gevent's hub, which only a candidate has, is switched off after {BLOCK_REPORTS} reports.
    if not _os.environ.get("GEVENT_MONITOR_THREAD_ENABLE"):
        return
    import gevent
    import gevent.events

    hub, reports = gevent.get_hub(), []  # whose monitor begins only when the hub first runs

    def bound(event):
        if isinstance(event, gevent.events.EventLoopBlocked):
            reports.append(event)
            if len(reports) >= {BLOCK_REPORTS} and hub.periodic_monitoring_thread is not None:
                hub.periodic_monitoring_thread.kill()

    gevent.events.subscribers.append(bound)
"""
"""Part of gunicorn.conf.py where the workers are gevent's."""


_HEAD = re.compile(r"\bGreenlet (?P<greenlet><.*>) appears to be blocked\s*$")
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+?)\s*$')


def parse_stacks(text: str) -> list[tuple[Frame, ...]]:
    """The blocked stack of every report in the standard error of one worker, outermost frame first.

    A report: a line of "=", a line with the time and "appears to be blocked", "Blocked Stack (for thread id ...):", the
    frames, then "Info:" and the run info, which is not read. Reports that are cut off count as far as they go.
    """
    stacks: list[tuple[Frame, ...]] = []
    frames: list[Frame] | None = None

    def finish() -> None:
        if frames:
            stacks.append(tuple(frames))

    for line in text.splitlines():
        if _HEAD.search(line):
            finish()
            frames = []
        elif frames is not None:
            found = _FRAME.match(line)
            if found:
                frames.append(Frame(found["file"], int(found["line"]), found["function"], ""))
            elif line.startswith(("Info:", "=" * 40, "*" * 40)):
                finish()
                frames = None
            elif frames and not frames[-1].source and line.startswith("    ") and set(line.strip()) - set("^~"):
                last = frames[-1]
                frames[-1] = Frame(last.file, last.line, last.function, line.strip())
    finish()
    return stacks


def parse_reports(text: str, blocking_seconds: float, packages: Iterable[str] = ()) -> list[Blocked]:
    """Which lines of the app stood on the hub, worst first, from the standard error of one worker.

    `packages` are the app's own top-level names ("shop"): in a release they lie in site-packages like the libraries.
    """
    own = tuple(packages)
    groups: dict[Frame, list[Frame]] = {}
    for stack in parse_stacks(text):
        frame = app_frame(stack, own)
        if frame is not None:
            groups.setdefault(frame, []).append(stack[-1])
    blocked = [
        Blocked(
            round(blocking_seconds * len(inner), 3),
            len(inner),
            frame.file,
            frame.line,
            frame.function,
            frame.source,
            max(inner, key=inner.count),
        )
        for frame, inner in groups.items()
    ]
    return sorted(blocked, key=lambda item: -item.seconds)


def app_frame(stack: Sequence[Frame], packages: Sequence[str] = ()) -> Frame | None:
    """The innermost frame of the app: of its own packages; else outside of libraries; else of an installed library.

    None where the stack is the server's own (gevent, its monitor, Gunicorn, Python): that is no cause. A hub stands
    still also where the host has no CPU for it, or while the monitor itself writes.
    """
    if any(frame.file.endswith(MONITORS) for frame in stack):
        return None
    for frame in reversed(stack):
        if _is_of(frame.file, packages):
            return frame
    for frame in reversed(stack):
        if not _is_library(frame.file):
            return frame
    libraries = [frame for frame in stack if re.search(r"/(?:site|dist)-packages/", frame.file)]
    theirs = [frame for frame in libraries if not _is_of(frame.file, SERVER)]
    return stack[-1] if theirs and not _is_of(stack[-1].file, SERVER) else None


def _is_of(file: str, packages: Sequence[str]) -> bool:
    below = re.split(r"/(?:site|dist)-packages/", file)[-1]
    parts = below.split("/")
    if below == file:  # not installed: any directory of the path may be the package
        return any(name in parts[:-1] or parts[-1] == f"{name}.py" for name in packages)
    return any(parts[0] in (name, f"{name}.py") for name in packages)


def _is_library(file: str) -> bool:
    return file.startswith("<") or re.search(r"/(?:site|dist)-packages/|/lib(?:64)?/python\d", file) is not None
