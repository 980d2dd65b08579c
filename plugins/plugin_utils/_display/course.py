# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A rollout as it goes, in one line for each app of a host. Pure: what is told comes in, lines come out.

`callback/rollout.py` tells it, and prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .text import plural

STEPS: Final[Mapping[str, str]] = {
    "heal": "healed",
    "stage": "staged",
    "prepare": "prepared",
    "weigh": "weighed",
    "trial": "tried",
    "load": "loaded",
    "promote": "promoted",
}
"""The steps on a host that are told of, and what an app is after each."""

LAST: Final = ("heal", "promote")
"""After these an app is done."""

NAMED: Final = 3
LOG_LINES: Final = 8
COLLECTION: Final = "headcount.gunicorn."


def step_of(action: str) -> str:
    """The step that a task's action is; empty for any other task."""
    name = action[len(COLLECTION) :] if action.startswith(COLLECTION) else ""
    return name if name in STEPS else ""


@dataclass
class Way:
    """How far an app of a host is: the steps that are behind it with their seconds, its workers, its verdict."""

    done: list[tuple[str, float]] = field(default_factory=list)
    size: str = ""
    verdict: str = ""


@dataclass
class Course:
    """What is known of a rollout. `batch` of `batches`: 0 before the first; `first_cause`: with its host; `told`: each
    cause with its app and step."""

    batch: int = 0
    batches: int = 0
    first_cause: str = ""
    told: set[str] = field(default_factory=set)
    load_seconds: Mapping[str, float] = field(default_factory=dict)
    ways: dict[tuple[str, str], Way] = field(default_factory=dict)
    running: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)

    def planned(self, result: Mapping[str, object]) -> None:
        """Take in what the plan of the fleet says: for how many seconds each app is loaded."""
        seconds = result.get("load_seconds")
        if isinstance(seconds, Mapping):
            self.load_seconds = {str(app): float(value) for app, value in seconds.items()}

    def gated(self, result: Mapping[str, object]) -> None:
        """Take in which batch this is."""
        batch, batches = result.get("batch"), result.get("batches")
        if isinstance(batch, int) and isinstance(batches, int):
            self.batch, self.batches = batch, batches

    def begin(self, host: str, app: str, step: str, at: float) -> None:
        """A step begins on a host; `at` in seconds of any clock."""
        self.running[host, app] = step, at

    def end(self, host: str, app: str, step: str, at: float, result: Mapping[str, object]) -> str:
        """A step has ended well; the line of the app where it is done, else empty."""
        begun = self.running.pop((host, app), (step, at))[1]
        way = self.ways.setdefault((host, app), Way())
        way.done.append((STEPS[step], at - begun))
        way.size = str(result.get("size") or way.size)
        verdict = result.get("verdict")
        if isinstance(verdict, Mapping) and verdict.get("outcome"):
            way.verdict = ": ".join(str(verdict[key]) for key in ("outcome", "cause") if verdict.get(key))
        if step not in LAST:
            return ""
        del self.ways[host, app]
        parts = [way.size, ", ".join(f"{words} {seconds:.0f} s" for words, seconds in way.done), way.verdict]
        return f"{self._where(host, app)}: {'; '.join(part for part in parts if part)}"

    def skip(self, host: str, app: str) -> None:
        """A step was left out."""
        self.running.pop((host, app), None)

    def fail(self, host: str, app: str, step: str, at: float, result: Mapping[str, object]) -> list[str]:
        """A step has failed: why, and the last lines that the candidate logged."""
        begun = self.running.pop((host, app), (step, at))[1]
        self.ways.pop((host, app), None)
        cause = str(result.get("cause") or result.get("msg") or "no reason was given")
        phase = str(result.get("phase") or step)
        self.first_cause = self.first_cause or f"{host}: {app}: {phase}: {cause}"
        self.told.add(f"{app}: {phase}: {cause}")
        head = f"{self._where(host, app)}: FAILED in {phase} after {at - begun:.0f} s: {cause}"
        return [head, *log_lines(result.get("log"))]

    def status(self, at: float) -> str:
        """What runs now, on one line; empty where no step does."""
        if not self.running:
            return ""
        parts = []
        for (host, app), (step, begun) in list(self.running.items())[:NAMED]:
            expected = self.load_seconds.get(app) if step == "trial" else None
            of = f" (a load of {expected:.0f} s)" if expected else ""
            parts.append(f"{host} {app} {step} {at - begun:.0f} s{of}")
        more = len(self.running) - len(parts)
        return f"{self._batch()}{', '.join(parts)}{f' and {more} more' if more > 0 else ''}"

    def _batch(self) -> str:
        return f"[{self.batch}/{self.batches}] " if self.batches else ""

    def _where(self, host: str, app: str) -> str:
        return f"{self._batch()}{host}: {app}"


def log_lines(log: object) -> list[str]:
    """The last lines of a log, set apart from what is said of it."""
    lines = [str(line) for line in log] if isinstance(log, Sequence) and not isinstance(log, str) else []
    return [f"    | {line}" for line in lines[-LOG_LINES:]]


def recap(
    summaries: Mapping[str, Mapping[str, int]],
    first_cause: str,
    check: bool = False,
    exporters: Mapping[str, str] | None = None,
) -> list[str]:
    """What came of a playbook, by Ansible's counts for each host: how many hosts changed, failed, were not reached,
    and where several failed, which was the first. One that failed does not count as changed: what it came to is said by
    the report. `check`: nothing was, so it is said what would be. `exporters`: why that of a host does not work."""
    failed, lost = _counting(summaries, "failures"), _counting(summaries, "unreachable")
    changed = len(set(_counting(summaries, "changed")) - set(failed))
    parts = [f"{changed} {'would change' if check else 'changed'}"] if changed else []
    parts += [f"{words} on {_listed(hosts)}" for words, hosts in (("failed", failed), ("not reached", lost)) if hosts]
    parts = parts or [f"nothing {'would change' if check else 'changed'}"]
    lines = [f"{plural(len(summaries), 'host')}: {', '.join(parts)}"] if summaries else []
    lines += [f"first cause: {first_cause}"] if first_cause and len(failed) > 1 else []
    why = next(iter((exporters or {}).values()), "")
    lines += [f"exporter: Prometheus is told nothing of {_listed(list(exporters))}: {why}"] if exporters else []
    return lines


def _counting(summaries: Mapping[str, Mapping[str, int]], what: str) -> list[str]:
    return [host for host, one in summaries.items() if one.get(what)]


def _listed(hosts: Sequence[str]) -> str:
    more = f" and {len(hosts) - NAMED} more" if len(hosts) > NAMED else ""
    return f"{', '.join(hosts[:NAMED])}{more}"
