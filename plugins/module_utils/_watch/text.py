# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How an app runs now, in sentences (`headcount status`) and as a table (`headcount top`). Pure functions."""

from __future__ import annotations

import time
from typing import Sequence

from .._recorder.counts import Tally
from .._verdict.types import short
from .view import AppView, InstanceView, ProcessView

HEADER = ("app", "gen", "req/s", "p50 ms", "p95 ms", "4xx/s", "5xx/s", "lost", "busy", "waiting", "MiB", "ended")
WORKER_HEADER = ("pid", "up s", "requests", "busy", "CPU %", "PSS MiB")

_WORDS = {
    "recycled": "recycled",
    "timed_out": "timed out",
    "killed": "killed",
    "died": "died",
    "left": "left in order",
    "with_master": "ended with their master",
}


def status_lines(view: AppView) -> list[str]:
    """What `headcount status` says of how the app serves its users; nothing where no instance of it runs."""
    current = view.current
    if current is None:
        return []
    lines = []
    if current.counts is None:
        lines.append(f"requests are not counted: {current.uncounted}")
    else:
        tally, begun = current.counts.tally, current.counts.started
        since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(begun))
        lines.append(f"since {since}: {served(tally)}")
    told = f", {_count(held(view), 'open connection')} with no whole request" if held(view) else ""
    lines.append(f"now: {busy(current)} busy, {waiting(view)}{told}; {memory(current)}")
    ends = "; ".join(filter(None, [short_of(current), ended(current)]))
    lines += [f"workers: {ends}"] if ends else []
    return [*lines, f"processes: {processes(view)}"] if view.processes else lines


def served(tally: Tally) -> str:
    """How many requests there were, and how they went."""
    parts = [f"{_count(tally.ended, 'request')} served"]
    if sum(tally.buckets):
        parts.append(f"p50 {_ms(tally, 0.5)} ms, p95 {_ms(tally, 0.95)} ms")
    names = {"4xx": "answered 4xx", "5xx": "answered 5xx", "broken": "broke off"}
    told = [f"{tally.outcomes[name]} {words}" for name, words in names.items() if tally.outcomes[name]]
    gone = tally.outcomes["cut"]
    told += [f"{gone} whose client{'s' if gone != 1 else ''} went away before the answer's end"] if gone else []
    told += [f"{tally.lost} lost with a killed worker"] if tally.lost else []
    return ", ".join([*parts, *told])


def busy(instance: InstanceView) -> str:
    """Slots in use of those that are planned."""
    slots = f" of {_count(instance.slots, 'slot')}" if instance.slots is not None else " slots"
    return f"{instance.counts.tally.in_flight if instance.counts is not None else '?'}{slots}"


def held(view: AppView) -> int:
    """Open connections that have sent no whole request, where they are as many as half of the slots: with any class of
    workers they hold slots too, of which the requests in flight say nothing. 0 where they are few, or not known."""
    slots = view.current.slots if view.current is not None else None
    return view.unasked if view.unasked and slots and 2 * view.unasked >= slots else 0


def waiting(view: AppView) -> str:
    """How many connections nobody has accepted yet."""
    if not view.socket_up:
        return "the public socket is closed"
    if view.waiting is None:
        return "whether any wait is not known"
    return f"{_count(view.waiting, 'connection')} {'waits' if view.waiting == 1 else 'wait'}"


def memory(instance: InstanceView) -> str:
    """What it takes of what it may."""
    found = instance.memory
    if found is None:
        return "its memory is not counted"
    most = f" of {instance.memory_max_mib:.0f}" if instance.memory_max_mib else ""
    peak = f", peak {found.peak_mib:.0f}" if found.peak_mib is not None else ""
    each = [worker.pss_mib for worker in instance.workers if worker.pss_mib is not None]
    mean = f", {sum(each) / len(each):.0f} a worker" if each else ""
    return f"{found.current_mib:.0f} MiB{most}{peak}{mean}"


def short_of(instance: InstanceView) -> str:
    """How many workers run, where that is not as planned; empty where it is, and where nobody can tell."""
    running, planned = sum(bool(worker.pid) for worker in instance.workers), instance.planned_workers
    if instance.counts is None or planned is None or running == planned:
        return ""
    return f"{running} run, {planned} {'is' if planned == 1 else 'are'} planned"


def ended(instance: InstanceView) -> str:
    """How its workers ended; empty where none did."""
    if instance.counts is None:
        return ""
    parts = [f"{count} {_WORDS[name]}" for name, count in instance.counts.tally.ends.items() if count]
    if instance.oom_kills:
        parts.append(f"{instance.oom_kills} of its processes by the OOM killer")
    if instance.counts.masters > 1:
        parts.append(f"the master started anew {_count(instance.counts.masters - 1, 'time')}")
    return ", ".join(parts)


def processes(view: AppView) -> str:
    """What its further processes do."""
    return "; ".join(map(_process, view.processes))


def _process(one: ProcessView) -> str:
    if not one.up:
        return f"{one.name} is down"
    how = ("runs" if one.runs else "waits for its time") if one.timed else "runs"
    parts = [f"{one.name} {how}"]
    parts += [f"{one.memory_mib:.0f} MiB"] if one.memory_mib is not None else []
    parts += [f"was started again {_count(one.restarts, 'time')}"] if one.restarts else []
    return ", ".join(parts)


def top_lines(before: Sequence[AppView], now: Sequence[AppView], workers: bool = False) -> list[str]:
    """The table of all running instances, from two readings; `workers`: with a table of the workers of each."""
    earlier = {(view.app, one.generation): one for view in before for one in view.instances}
    rows: list[tuple[str, ...]] = []
    lines: list[str] = []
    for view in now:
        if not view.instances:
            rows.append((view.app, "-", *["-"] * 7, _waits(view), "-", "nothing runs"))
        for one in view.instances:
            rows.append(_row(view, one, earlier.get((view.app, one.generation))))
    lines += _table(HEADER, rows, left=(0, len(HEADER) - 1))
    for view in now if workers else ():
        for one in view.instances:
            cells = _worker_rows(one, earlier.get((view.app, one.generation)))
            lines += ["", f"{view.app}, generation {one.generation}", *_table(WORKER_HEADER, cells, left=())]
    return lines


def _row(view: AppView, one: InstanceView, before: InstanceView | None) -> tuple[str, ...]:
    name = view.app if one.live else f"{view.app} (not live)"
    slots = f"{one.slots}" if one.slots is not None else "?"
    used = f"{one.memory.current_mib:.0f}" if one.memory else "-"
    most = f"/{one.memory_max_mib:.0f}" if one.memory_max_mib else ""
    start = (name, str(one.generation))
    if one.counts is None:
        return (*start, *["-"] * 6, f"?/{slots}", _waits(view), used + most, one.uncounted)
    tally, seconds = one.counts.tally, 0.0
    if before is not None and before.counts is not None and before.counts.started == one.counts.started:
        tally, seconds = one.counts.tally.since(before.counts.tally), one.at - before.at
    counted = (
        per_second(tally.ended, seconds),
        _ms(tally, 0.5),
        _ms(tally, 0.95),
        per_second(tally.outcomes["4xx"], seconds),
        per_second(tally.outcomes["5xx"] + tally.outcomes["broken"], seconds),
        str(tally.lost),
    )
    idle = f"+{held(view)}" if one.live and held(view) else ""
    flying = f"{one.counts.tally.in_flight}{idle}/{slots}"
    return (*start, *counted, flying, _waits(view), used + most, ended(one))


def _worker_rows(one: InstanceView, before: InstanceView | None) -> list[tuple[str, ...]]:
    earlier = {worker.pid: worker for worker in before.workers} if before is not None else {}
    rows: list[tuple[str, ...]] = []
    for worker in one.workers:
        then = earlier.get(worker.pid)
        used = ""
        if then is not None and before is not None and None not in (worker.cpu_s, then.cpu_s) and one.at > before.at:
            used = f"{100 * ((worker.cpu_s or 0) - (then.cpu_s or 0)) / (one.at - before.at):.0f}"
        pss = f"{worker.pss_mib:.1f}" if worker.pss_mib is not None else "gone"
        rows.append((str(worker.pid), f"{worker.up_s:.0f}", str(worker.begun), str(worker.in_flight), used, pss))
    return rows


def _waits(view: AppView) -> str:
    return "closed" if not view.socket_up else "?" if view.waiting is None else str(view.waiting)


def per_second(count: float, seconds: float) -> str:
    """A rate; "-" where the time is not known yet."""
    return short(count / seconds) if seconds > 0 else "-"


def _ms(tally: Tally, q: float) -> str:
    value = tally.quantile_s(q)
    return "-" if value is None else short(1000 * value)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Aligned to the right but for the columns `left`."""
    widths = [max(len(line[place]) for line in [header, *rows]) for place in range(len(header))]
    return [
        "  ".join(
            cell.ljust(size) if place in left else cell.rjust(size)
            for place, (cell, size) in enumerate(zip(line, widths))
        ).rstrip()
        for line in [header, *rows]
    ]
