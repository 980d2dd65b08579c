# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The guard: releases that turn bad only under users are taken back by the host alone, good ones in bursts are not.

Each release goes the whole way: weigh, trial, promote. Then nobody but users touches the host. What the trial does not
ask, or what comes later, is bad: the guard has to find it, go back without a lost request, and say so in the ledger.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headcount_scripts import paths
from headcount_scripts.console import ScriptError

from . import _engine
from ._common import Bench, Cell, Report, markdown_table
from ._engine import failures, held_up, notes_of
from ._hosts import add_lab, on_each_host
from ._scene import APP, ARMS, Scene

TIMED = False  # what happens, not how fast
MINUTES = 60.0
QUICK_MINUTES = 20.0
VERSION: Final = 2
HOSTS: Final = ["ga:1:1g:bookworm", "gb:1:1g:trixie"]
GOOD, QUICK_GOOD = 6, 2
EACH: Final = 5
"""So many cells of good promotes, and promotes of each: what one that is broken off costs."""

GOOD_MINUTES: Final = 1.0
"""How long each good promote is guarded, before the next."""

LONG, LONG_MINUTES = 2, 10.0
"""So many more are guarded for so long, as the docs have it."""

TRIES: Final = 3

FOUND_S: Final = 300.0
"""A bad release is taken back within so many seconds; leaks need most of them."""

BURSTS: Final[Sequence[Mapping[str, Any]]] = (
    *ARMS,
    {"name": "burst", "kind": "close", "rate": 60, "paths": ["/version", "/wait?ms=20"], "burst": [2.0, 9.0]},
    {"name": "lull", "kind": "keep", "rate": 40, "paths": ["/wait?ms=20"], "burst": [1.0, 23.0]},
)
"""Users who come in bursts: for two seconds four times as many requests as else, and now and then more on top."""

DECLARED: Final[Mapping[str, Any]] = {
    "load": {"paths": ["/wait?ms=20"], "rate": 20, "seconds": 10},
    "limits": {"p95_ms": 400, "error_rate": 0.02, "memory_percent": 80},
    "on_inconclusive": "promote",  # a machine too busy to measure is not the point
}
VERSION_ROUTE: Final = "    def version() -> Response:\n"


@dataclass(frozen=True)
class Bad:
    """A release that its trial cannot refuse. `body` goes into the view of /version, which the trial does not ask;
    `finds`: what the guard says of it; `own`: the status of the answers that are bad by themselves, 0 where none is."""

    name: str
    words: str
    body: str
    finds: str
    own: int = 0


BAD: Final[Sequence[Bad]] = (
    Bad(
        "errors",
        "each third request fails, from a minute after its start on",
        "_ = abort(503) if time.monotonic() - born > 60 and injector.requests % 3 == 0 else None",
        r"\d+ of (all|the last) \d+ requests failed",
        503,
    ),
    Bad(
        "leak",
        "each request keeps 64 KiB",
        "injector._kept.append(work.hold(64 * 1024))",
        r"it uses \d+ MiB, more than 80 %",
    ),
    Bad(
        "slow path",
        "a path that the trial does not ask takes 0.6 s",
        "work.wait(600.0)",
        r"took longer than the 400 ms of p95",
    ),
)

add_arguments = add_lab


def cells(quick: bool) -> list[Cell]:
    """A cell for each bad release, and those of the good promotes."""
    good = [
        Cell(f"good/{place}", {"version": VERSION, "place": place, "promotes": EACH, "minutes": GOOD_MINUTES})
        for place in range(1, 1 + (QUICK_GOOD if quick else GOOD))
    ]
    good += [
        Cell(f"good/long {place}", {"version": VERSION, "place": place, "promotes": 1, "minutes": LONG_MINUTES})
        for place in range(1, 1 + (0 if quick else LONG))
    ]
    return [
        *good,
        *(Cell(f"bad/{bad.name}", {"version": VERSION, "words": bad.words, "body": bad.body}) for bad in BAD),
    ]


def measure(bench: Bench) -> None:
    """Each host takes the next cell."""
    bad = {f"bad/{one.name}": one for one in BAD}

    def work(scene: Scene, cell: Cell) -> dict[str, Any]:
        scene.prepare()
        if cell.name in bad:
            return turned_bad(scene, bad[cell.name])
        return good_promotes(scene, int(cell.inputs["promotes"]), float(cell.inputs["minutes"]))

    on_each_host(bench, HOSTS, Scene, work)


@contextlib.contextmanager
def source(bad: Bad | None) -> Iterator[dict[str, str]]:
    """The sample app as a source of its own, with what is bad of it in its view of /version."""
    folder = _engine.wheel_cache() / "variants" / f"guard-{time.time_ns()}"
    shutil.copytree(paths.ROOT / "app", folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    try:
        if bad is not None:
            file = folder / "src/shop/wsgi.py"
            file.write_text(with_body(file.read_text(encoding="utf-8"), bad.body), encoding="utf-8")
        yield {"path": str(folder)}
    finally:
        shutil.rmtree(folder)


def with_body(code: str, body: str) -> str:
    """The app's code, whose view of /version begins with `body`. ScriptError where there is no such view."""
    if code.count(VERSION_ROUTE) != 1:
        raise ScriptError("the sample app has no view of /version any more")
    return code.replace(VERSION_ROUTE, f"{VERSION_ROUTE}        {body}\n")


def promoted(scene: Scene, minutes: float, bad: Bad | None = None) -> int | None:
    """A release that went the whole way; its number. ScriptError where it was refused.

    A load that was stopped is made again: it says nothing of the release.
    """
    done: list[dict[str, Any]] = []
    for _ in range(TRIES):
        with source(bad) as found:
            done = scene.whole(source=found, guard={"minutes": minutes}, **DECLARED)
        if "failed" not in done[-1]:
            return scene.live()
        if "inconclusive" not in str(done[-1]["failed"]):
            break
    raise ScriptError(f"{scene.host}: the release was not promoted: {done[-1]['failed']}")


def guard_ended(scene: Scene, number: int | None, seconds: float) -> bool:
    """Whether the guard over generation `number` ended within so many seconds. The host waits by itself."""
    unit = f"headcount-guard-{APP}-{number}.service"
    wait = f"timeout {seconds:.0f} sh -c 'while systemctl is-active -q {unit}; do sleep 0.5; done' && echo ended"
    return scene.sh(wait, timeout=seconds + 60).strip() == "ended"


def turned_bad(scene: Scene, bad: Bad) -> dict[str, Any]:
    """What came of a bad release: whether it was taken back, when, in which words, and what users lost."""
    before, answering = scene.live(), scene.answering()
    with scene.engine.users(scene.address, ARMS) as users:
        number = promoted(scene, FOUND_S / 60 + 5, bad)
        began = time.time()
        ended = guard_ended(scene, number, FOUND_S)
        seconds = time.time() - began
        time.sleep(3.0)  # users who come after the way back
    entries = [one for one in scene.engine.ledger(APP) if one.get("phase") == "guard"]
    cause = str(entries[-1].get("cause")) if entries and entries[-1].get("generation") == number else ""
    after = scene.answering()
    failed = [list(row) for row in failures(users.rows)]
    lost = [row for row in failed if int(row[3]) != bad.own]
    early = [row for row in lost if users.began + float(row[1]) < began]
    return {
        "words": bad.words,
        "back": ended and (scene.live(), after) == (before, answering),
        "cause": cause,
        "named": re.search(bad.finds, cause) is not None,
        "seconds": round(seconds, 1),
        "requests": len(users.rows),
        "bad": len(failed) - len(lost),
        "lost": lost,
        "held_up": len(held_up(users)),
        "lost_before_it_was_promoted": len(early),
    }


def good_promotes(scene: Scene, promotes: int, minutes: float) -> dict[str, Any]:
    """So many good releases one after the other, under users who come in bursts: what each guard said at its end."""
    told: list[str] = []
    back = 0
    with scene.engine.users(scene.address, BURSTS) as users:
        for _ in range(promotes):
            number = promoted(scene, minutes)
            guard_ended(scene, number, 60 * minutes + 120)
            last = [one for one in scene.engine.ledger(APP) if one["event"] in ("guarded", "failed")][-1:]
            told += [str(one.get("evidence") or one.get("cause")) for one in last if one.get("generation") == number]
            back += scene.live() != number
    return {
        "promotes": promotes,
        "minutes": minutes,
        "back": back,
        "told": told,
        "requests": len(users.rows),
        "lost": [list(row) for row in failures(users.rows)],
        "held_up": len(held_up(users)),
    }


def report(bench: Bench) -> Report:
    """What was taken back, and what was let be."""
    values = {name: result.value for name, result in bench.results().items()}
    return Report("The guard", text(values) + notes_of(bench), values, missed=missed(values))


def text(values: Mapping[str, Any]) -> str:
    """The page."""
    bad = [_bad_row(name, one) for name, one in values.items() if name.startswith("bad/")]
    told = ("release", "what is bad of it", "taken back", "s after its promote", "requests", "bad answers", "lost")
    return f"""\
Each release of the sample app went the whole way (weigh, trial, promote) on a host of one core. From then on nobody but
users touched the host: there was no controller. Its trial asks one path; what is bad is on another one, or comes later.

{markdown_table((*told, "ledger"), bad, right=range(3, 7))}

{_good_words([one for name, one in values.items() if name.startswith("good/")])}
{_held_up_words(values)}"""


def _bad_row(name: str, one: Mapping[str, Any]) -> tuple[object, ...]:
    back, cause = "yes" if one["back"] else "**no**", str(one["cause"]).replace("|", "/")
    counts = (f"{one['seconds']:.0f}", one["requests"], one["bad"], len(one["lost"]))
    return (name.partition("/")[2], one["words"], back, *counts, cause)


def _good_words(good: Sequence[Mapping[str, Any]]) -> str:
    """What came of the good releases, in a sentence for each length of a guard, and how often users asked."""
    if not good:
        return "No good release was promoted."
    steady = sum(float(arm["rate"]) for arm in ARMS)
    bursts = " and ".join(
        f"{arm['rate']} more for {arm['burst'][0]:g} of each {arm['burst'][1]:g} s" for arm in BURSTS[len(ARMS) :]
    )
    lengths = sorted({float(one["minutes"]) for one in good})
    told = [_guarded_words([one for one in good if one["minutes"] == minutes], minutes) for minutes in lengths]
    return " ".join((*told, f"The users ask {steady:.0f} times a second, {bursts}."))


def _guarded_words(good: Sequence[Mapping[str, Any]], minutes: float) -> str:
    promotes, back, requests = (sum(one[key] for one in good) for key in ("promotes", "back", "requests"))
    lost = sum(len(one["lost"]) for one in good)
    counts = [int(found[0]) for one in good for said in one["told"] if (found := re.match(r"\d+", said))]
    middle = f", {statistics.median(counts):.0f} requests under a guard in the middle" if counts else ""
    return (
        f"Of {promotes} good releases, each guarded for {minutes:g} minute{'' if minutes == 1 else 's'} under users "
        f"who come in bursts, {back} were taken back; {lost} of {requests} requests were lost{middle}."
    )


def _held_up_words(values: Mapping[str, Any]) -> str:
    """What is said of the users' own program; empty where it never stood still for long."""
    stood_still = sum(one.get("held_up", 0) for one in values.values())
    if not stood_still:
        return ""
    return (
        f"\nWithin {stood_still} of the lost requests the users' own program stood still for {_engine.HELD_UP_S:g} s "
        "or more, since the machine gave it no time: of those nobody can tell what the server did.\n"
    )


def missed(values: Mapping[str, Any]) -> list[str]:
    """What was promised and did not come."""
    told = []
    for name, one in values.items():
        if one["lost"]:
            early = one.get("lost_before_it_was_promoted", 0)
            when = f", {early} of them before its promote was over" if early else ""
            told.append(f"{name}: {len(one['lost'])} requests were lost{when}, like {one['lost'][0]}")
        if name.startswith("good/") and one["back"]:
            told.append(f"{name}: {one['back']} of {one['promotes']} good releases were taken back")
        if name.startswith("bad/") and not (one["back"] and one["named"]):
            said = f"the ledger has {one['cause']!r}" if one["cause"] else "the ledger has nothing of it"
            told.append(f"{name}: {'taken back' if one['back'] else 'not taken back'}, and {said}")
    return told
