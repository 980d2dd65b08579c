# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rows of the fault catalogue in which the live release, good when it was promoted, has turned broken.

Each shape of that meets each way out of it: a release that cures it, the rollback of a person, the heal of the next
run, and the way back of a fleet. Users' failed requests are counted; from the end of the way out on there may be none.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .._engine import failures
from .._scene import APP, Scene
from .hand import next_run
from .row import HOME, Row

FILE = "/etc/shop.broken"
DRAIN_SECONDS = 6
RUN_FULL = (
    "df -k --output=size /run | tail -1 > /root/run.size; "
    "mount -o remount,size=$(($(df -k --output=used /run | tail -1) + 8192))k /run"
)
RUN_AGAIN = "mount -o remount,size=$(tr -d ' ' < /root/run.size)k /run; systemctl daemon-reload"
NO_INODES = (
    f"mkdir -p /mnt/copy && rm -rf /mnt/copy/* && cp -a {HOME}/. /mnt/copy/ && "
    f"mount -t tmpfs -o mode=$(stat -c %a {HOME}) tmpfs {HOME} && "
    f"cp -a /mnt/copy/. {HOME}/ && mount -o remount,nr_inodes=$(df --output=iused {HOME} | tail -1) {HOME}"
)
INODES_AGAIN = (
    f"rm -rf /mnt/copy/*; cp -a {HOME}/. /mnt/copy/; umount -l {HOME}; find {HOME} -mindepth 1 -delete; "
    f"cp -a /mnt/copy/. {HOME}/; systemctl daemon-reload"
)
INTERRUPTED = (
    f"headcount-rollback {APP} > /root/said 2>&1 & pid=$!; "
    f"timeout 60 sh -c 'until systemctl -q is-active {APP}@{{target}}.service; do sleep 0.1; done'; "
    "kill -INT $pid; wait $pid; echo code $?; cat /root/said"
)
"""^C once what is gone back to is on the public socket beside what is live."""
WAY_OUT_SECONDS = DRAIN_SECONDS + 24
HANGING_SECONDS = 20
"""What hangs is waited for twice, 5 s each, and ends only when systemd ends it, 10 s after its drain."""
GUARD_SECONDS = 150
"""The drain, systemd's own patience after that, the start of the other one, and looking at both; on a busy machine."""


@dataclass(frozen=True)
class Shape:
    """A way to be broken. `says`: what the status says; `answered`: whether who asks once the way out has begun may
    get good answers all the same. What a dead or a full instance does not accept waits in the socket for the next one.

    `slowly`: users are only slowed down, which no status calls broken.
    """

    name: str
    words: str
    says: str
    answered: bool = False
    slowly: bool = False


SHAPES = (
    Shape("dead", "is killed and does not start any more", "activating|inactive|failed|no answer", answered=True),
    Shape("hanging", "answers nothing any more", "timed out", answered=True),
    Shape("slow", "takes 3 s longer for each request", "answered in", answered=True, slowly=True),
    Shape("errors", "answers 500 on all but its health", r"GET /wait\S* answered 500"),
    Shape("garbage", "answers no HTTP", "no answer|BadStatus|HTTP"),
    Shape("health", "answers 500 on its health", "GET /healthz answered 500", answered=True),
    Shape("path", "answers 500 on one path of its load", r"GET /wait\S* answered 500"),
    Shape("some", "answers 500 to each third request", r"GET /wait\S* answered 500 \(", answered=True),
    Shape("dropping", "drops every connection", "no answer"),
)

HANGING, ERRORS = (next(shape for shape in SHAPES if shape.name == name) for name in ("hanging", "errors"))


def _deploy_turning(scene: Scene, shape: Shape, **changes: Any) -> int | None:
    """A good generation that turns broken when it is told to is live; its number."""
    scene.sh(f"rm -f {FILE}")
    settings = {"graceful_timeout": DRAIN_SECONDS, **changes.pop("settings", {})}
    done = scene.deploy(faults=f"turns:{shape.name}", settings=settings, **changes)
    scene.seen.must("failed" not in done[-1], f"the release was not deployed: {done[-1].get('failed')}")
    return scene.live()


@contextlib.contextmanager
def broken(scene: Scene, shape: Shape, **changes: Any) -> Iterator[int | None]:
    """The live generation turns broken, once `ready` has been done; what users lose in here is the fault's own."""
    ready: Callable[[], object] = changes.pop("ready", lambda: None)
    live = _deploy_turning(scene, shape, **changes)
    ready()
    begin = time.time()
    scene.seen.window = [begin - 0.1, begin + 240.0]
    scene.sh(f"touch {FILE}")
    if shape.name == "dead":
        scene.sh(f"systemctl kill --signal=KILL {APP}@{live}.service")
    try:
        yield live
        scene.seen.window[1] = time.time()
        scene.seen.told.append(f"{scene.seen.window[1] - begin:.1f} s broken")
        time.sleep(1.0)  # users who come after the way out
    finally:
        scene.sh(f"rm -f {FILE}")


def _told(scene: Scene, shape: Shape, text: str) -> None:
    """Who was broken, and what users got, was said; where they got good answers all along nothing need be."""
    scene.seen.told.append(" ".join(text.split())[:260])
    if not shape.slowly:
        scene.seen.must("was broken" in text, f"it does not say that the live one was broken: {text}")
    if shape.name == "some":
        counted = re.search(r"answered 500 \(\d+ of \d+ requests", text)
        scene.seen.must(counted, f"it does not say how many requests failed: {text}")
    if not shape.answered:
        scene.seen.must(re.search(r"meanwhile \d+ of \d+ requests", text), f"it does not say what users got: {text}")


def rollout(shape: Shape) -> Callable[[Scene], None]:
    """A release that cures it goes the whole way, without the broken one as its yardstick."""

    def work(scene: Scene) -> None:
        with broken(scene, shape) as live:
            done = scene.whole(
                load={"paths": ["/wait?ms=20"], "rate": 20, "seconds": 5},
                limits={"p95_ms": 3000, "error_rate": 0.1, "memory_percent": 90},
                on_inconclusive="promote",  # a machine too busy to measure is not the point
            )
            last = done[-1]
            scene.seen.must("failed" not in last, f"the cure was refused: {last.get('failed')}")
        scene.seen.must(scene.answering() == scene.release, f"{scene.answering()} answers, not {scene.release}")
        text = "; ".join(last.get("told", []))
        _told(scene, shape, text)
        notes = scene.sh(f"cat {HOME}/generations/{last.get('number')}/evidence.json")
        # One that fails only some requests may be found out by the trial alone, which then goes without it.
        ways = f"generation {live} was not loaded beside the candidate|sick itself and no yardstick"
        without = re.search(ways, notes)
        scene.seen.must(bool(without) is not shape.slowly, f"its yardstick: {notes[-300:]}")
        scene.clean()

    return work


def rollback(shape: Shape) -> Callable[[Scene], None]:
    """The host's own tool goes back, within the drain of the broken one, and says what users got."""

    def work(scene: Scene) -> None:
        before, answering = scene.live(), scene.answering()
        with broken(scene, shape):
            begin = time.monotonic()
            text = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
            seconds = time.monotonic() - begin
        scene.seen.must("code 0" in text, f"the rollback said {text}")
        scene.seen.must(seconds < WAY_OUT_SECONDS, f"it took {seconds:.1f} s")
        _told(scene, shape, text)
        _back(scene, before, answering)

    return work


def rollback_where(command: str, after: str, words: str) -> Callable[[Scene], None]:
    """The live one answers 500, and the host, after `command`, has no room for something: it is left all the same."""

    def work(scene: Scene) -> None:
        before, answering = scene.live(), scene.answering()
        with broken(scene, ERRORS):
            scene.sh(command)
            try:
                text = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
            finally:
                scene.sh(after)
        scene.seen.told.append(" ".join(text.split())[:260])
        scene.seen.must("code 0" in text, f"the rollback said {text}")
        scene.seen.must(re.search(words, text), f"it does not say what it went without: {text}")
        _back(scene, before, answering)

    return work


def rollback_few_for_generators(scene: Scene) -> None:
    """The live one answers 500, and systemd cannot read its unit files without losing what its generators made: it is
    left all the same, by the units that systemd has, and nothing of others is lost for it."""
    before, answering = scene.live(), scene.answering()
    with broken(scene, ERRORS), scene.generators_kept(), scene.few_tasks(40):
        text = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
    scene.seen.told.append(" ".join(text.split())[:260])
    scene.seen.must("code 0" in text, f"the rollback said {text}")
    told = "systemd has not read its unit files again.*no room for systemd"
    scene.seen.must(re.search(told, text), f"it does not say what it went without: {text}")
    _back(scene, before, answering)


JOURNALS = {
    "stopped": (
        "systemctl service-watchdogs off; systemctl kill --signal=STOP systemd-journald",
        "systemctl kill --signal=CONT systemd-journald; systemctl service-watchdogs on",
    ),
    "hanging": (
        "mv /usr/bin/journalctl /root/journalctl; printf '#!/bin/sh\nexec sleep 600\n' > /usr/bin/journalctl; "
        "chmod 755 /usr/bin/journalctl",
        "mv /root/journalctl /usr/bin/journalctl",
    ),
}
"""Ways to have no log, and back from them."""
UNANSWERED = "the journal does not answer"


@contextlib.contextmanager
def _journal(scene: Scene, way: str) -> Iterator[None]:
    stop, go_on = JOURNALS[way]
    scene.sh(stop)
    try:
        yield
    finally:
        scene.sh(go_on)


def _until_served_by(scene: Scene, release: str, begin: float, most: float) -> None:
    """Users get the former release again within `most` seconds after `begin`: a way back does not wait for words."""
    while scene.answering() != release and time.monotonic() - begin < 2 * most:
        time.sleep(0.2)
    seconds = time.monotonic() - begin
    scene.seen.told.append(f"{seconds:.1f} s until the former release answered")
    scene.seen.must(seconds < most, f"{seconds:.1f} s until {release} answered")


def rollback_without_log(way: str) -> Callable[[Scene], None]:
    """The live one answers 500 and the log does not answer: users do not wait for words, and these say so."""

    def work(scene: Scene) -> None:
        before, answering = scene.live(), scene.answering()
        with broken(scene, ERRORS), _journal(scene, way):
            begin = time.monotonic()
            said = f"headcount-rollback {APP} > /root/said 2>&1; echo code $? >> /root/said"
            scene.sh(f"rm -f /root/said; setsid sh -c '{said}' > /dev/null 2>&1 &")
            _until_served_by(scene, answering, begin, WAY_OUT_SECONDS)
            text = scene.sh("timeout 90 sh -c 'until grep -q ^code /root/said; do sleep 0.1; done'; cat /root/said")
            seconds = time.monotonic() - begin
        scene.seen.must("code 0" in text, f"the rollback said {text}")
        scene.seen.must(seconds < WAY_OUT_SECONDS, f"it took {seconds:.1f} s")
        scene.seen.must(UNANSWERED in text, f"it does not say that the log does not answer: {text}")
        _told(scene, ERRORS, text)
        _back(scene, before, answering)

    return work


def guarded_without_log(scene: Scene) -> None:
    """The guard goes back while journald stands still; users wait no longer for that."""
    before, answering = scene.live(), scene.answering()
    shape, found = HANGING, "/var/lib/headcount/shop/guard-goes-back.json"
    with broken(scene, shape, guard={"minutes": 5}) as live, _journal(scene, "stopped"):
        scene.sh(f"timeout {GUARD_SECONDS - 40} sh -c 'until test -e {found}; do sleep 0.1; done'", GUARD_SECONDS)
        _until_served_by(scene, answering, time.monotonic(), WAY_OUT_SECONDS + HANGING_SECONDS)
        _await_guard(scene, live)
    _taken_back(scene, live, GUARDED[shape.name])
    scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}")
    scene.deploy()
    scene.clean()


def rollback_interrupted(scene: Scene) -> None:
    """A person presses ^C while the generation that is gone back to is watched: the step ends first."""
    before, answering = scene.live(), scene.answering()
    next_run(scene)
    text = scene.sh(INTERRUPTED.format(target=before))
    scene.seen.told.append(" ".join(text.split())[:260])
    scene.seen.must("code 130" in text and "Traceback" not in text, f"it said {text}")
    scene.seen.must("SIGINT came during the step rollback" in text, f"it does not say that it was heard: {text}")
    scene.seen.must(scene.engine.ledger(APP)[-1]["event"] == "rolled_back", "the ledger does not say so")
    _back(scene, before, answering)


def _back(scene: Scene, before: int | None, answering: str) -> None:
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    scene.seen.must(scene.answering() == answering, f"{scene.answering()} answers, not {answering}")
    scene.clean()


def reverted(shape: Shape) -> Callable[[Scene], None]:
    """A rollout of the fleet stops after this host was promoted, which turned broken: it goes back with the others."""

    def work(scene: Scene) -> None:
        before, answering = scene.live(), scene.answering()
        with broken(scene, shape):
            back: dict[str, Any] = {"to": before, "event": "reverted"}
            done = scene.engine.steps(APP, ("rollback", back))[-1]
        scene.seen.must("failed" not in done, f"the way back failed: {done.get('failed')}")
        scene.seen.must(float(done.get("seconds", 0.0)) < WAY_OUT_SECONDS, f"it took {done.get('seconds')} s")
        _told(scene, shape, "; ".join(done.get("told", [])))
        last = scene.engine.ledger(APP)[-1]
        scene.seen.must(last["event"] == "reverted", f"the ledger's last word is {last['event']}")
        _back(scene, before, answering)

    return work


def guarded(shape: Shape, finds: str) -> Callable[[Scene], None]:
    """The host's guard goes back by itself, and the ledger has what it found."""

    def work(scene: Scene) -> None:
        before, answering = scene.live(), scene.answering()
        with broken(scene, shape, guard={"minutes": 5}) as live:
            _await_guard(scene, live)
        _taken_back(scene, live, finds)
        scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}")
        scene.deploy()
        scene.clean()

    return work


def guarded_ends(command: str, finds: str) -> Callable[[Scene], None]:
    """The live release serves well but for `command`, which ends something of it twice: the guard goes back."""

    def work(scene: Scene) -> None:
        before, answering = scene.live(), scene.answering()
        done = scene.deploy(guard={"minutes": 5})
        scene.seen.must("failed" not in done[-1], f"the release was not deployed: {done[-1].get('failed')}")
        live, begin = scene.live(), time.time()
        scene.seen.window = [begin - 0.1, begin + 240.0]
        for _ in range(2):
            scene.sh(command.format(unit=f"{APP}@{live}.service"))
            time.sleep(ENDS_APART)
        _await_guard(scene, live)
        scene.seen.window[1] = time.time()
        _taken_back(scene, live, finds)
        scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}")
        scene.deploy()
        scene.clean()

    return work


def _await_guard(scene: Scene, live: int | None) -> None:
    """Until the guard over that generation has gone back from it, and ended."""
    begin = time.monotonic()
    while scene.live() == live and time.monotonic() - begin < GUARD_SECONDS:
        time.sleep(0.5)
    unit = f"headcount-guard-{APP}-{live}.service"
    scene.sh(f"timeout 60 sh -c 'while systemctl is-active -q {unit}; do sleep 0.2; done'")


def _taken_back(scene: Scene, live: int | None, finds: str) -> None:
    """The ledger has that the guard went back from generation `live`, and why."""
    found = [entry for entry in scene.engine.ledger(APP) if entry.get("phase") == "guard"][-1:]
    cause = str(found[0].get("cause")) if found else "nothing"
    scene.seen.told.append(cause[:240])
    scene.seen.must(re.search(finds, cause), f"the ledger has of the guard: {cause}")
    scene.seen.must([entry.get("generation") for entry in found] == [live], f"it took back {found}, not {live}")


SLOTS, CLIENTS, FAILED = 32, 12, "/run/shop.failed"
THREADS: dict[str, Any] = {"worker_class": "gthread", "settings": {"workers": 1, "threads": SLOTS}}
WARM = (
    f"for n in $(seq {SLOTS}); do curl -s -o /dev/null -m 20 'http://127.0.0.1:8000/wait?ms=1500' & done; wait; sleep 1"
)
"""Every thread of its worker has been begun: it answers on, where no other one may be begun. Else it stands still until
Gunicorn ends it for its `timeout`, and what it has taken is free until its successor has taken it again."""
ANEW: dict[str, Any] = {**THREADS, "settings": {**THREADS["settings"], "timeout": 12}}


@contextlib.contextmanager
def _only(scene: Scene, path: str) -> Iterator[None]:
    """So many clients, each of which asks again once it has its answer, and nobody else; who has none leaves his mark
    in FAILED."""
    scene.asking.stop()
    asks = "/run/shop.clients"
    one = f"curl -s -o /dev/null -m 600 'http://127.0.0.1:8000{path}' || echo $? >> {FAILED}; sleep 0.2"
    start = f'setsid sh -c "while test -e {asks}; do {one}; done" >/dev/null 2>&1 &'.replace("$?", "\\$?")
    scene.sh(f"rm -f {FAILED}; touch {asks}; for n in $(seq {CLIENTS}); do {start} done")
    try:
        yield
    finally:
        scene.sh(f"rm -f {asks}; pkill -x curl")


def hanging_few(scene: Scene) -> None:
    """Fewer clients than slots: once all of them wait, no new request comes, and no slot is missing."""
    before, answering = scene.live(), scene.answering()
    with _only(scene, "/version"), broken(scene, HANGING, guard={"minutes": 5}, **THREADS) as live:
        failed = scene.sh(f"cat {FAILED}").split()
        scene.seen.must(not failed, f"in the promote curl failed with {failed}")
        _await_guard(scene, live)
    _taken_back(scene, live, rf"it hangs: in at least {CLIENTS} of {SLOTS} slots requests have had no answer")
    scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}")
    with scene.users() as users:
        time.sleep(3.0)
    scene.seen.must(users.rows and not failures(users.rows), "who came afterwards was not served")
    scene.deploy()
    scene.clean()


def streams_guarded(scene: Scene) -> None:
    """The new release answers some in streams, and nobody else asks: that is no hang, and the guard lets it be."""
    done = scene.deploy(guard={"minutes": 1.5}, **THREADS)
    scene.seen.must("failed" not in done[-1], f"the release was not deployed: {done[-1].get('failed')}")
    live = scene.live()
    with _only(scene, "/stream?every_ms=500&seconds=300"):
        unit = f"headcount-guard-{APP}-{live}.service"
        scene.sh(f"timeout 110 sh -c 'while systemctl is-active -q {unit}; do sleep 0.5; done'")
        told = [str(entry.get("evidence")) for entry in scene.engine.ledger(APP) if entry["event"] == "guarded"][-1:]
    scene.seen.told += told
    scene.seen.must(scene.live() == live, f"live is {scene.live()}, not {live}")
    well = told and re.fullmatch(r"\d+ requests, no breach|not enough traffic to tell \(\d+ requests?\)", told[0])
    scene.seen.must(well, f"the guard said {told}")
    scene.clean()


HOARDING = Shape("threads", "takes all threads that it may begin", "answered 500")
HOARDED, ALL_HOARDED = 256 - SLOTS - 2 + 12, 150
"""So many more tasks the host can begin, once the release has those that it is planned to have: it takes those that its
unit may have (256), and 12 are left, or none, so that the guard cannot even begin systemctl."""
SLICE, SLICE_TASKS = "hoarding.slice", 150
LEAVES_FIRST = r"generation \d+ leaves before generation \d+ is begun, and requests wait meanwhile"
ENDED = r"could begin no process any more, .* it was asked to end \(SIGTERM\), and requests waited meanwhile"
CLOSED_SECONDS = 1.5
"""So long after it was asked to end, Gunicorn may accept a request still."""


def _only_the_faults(scene: Scene, live: int | None) -> None:
    """What users lost up to when `live` began to leave is the fault's; whoever came after that was to be served."""
    log = f"journalctl --sync; journalctl -q -u {APP}@{live}.service -o short-unix"
    told = re.search(r"\d+\.\d+", scene.sh(f"{log} | grep 'Handling signal: term' | tail -1"))
    scene.seen.must(told, "its log does not tell when it was asked to end")
    if told and scene.seen.window:
        scene.seen.window[1] = float(told[0]) + CLOSED_SECONDS


def hoarding(
    way: Callable[[Scene, int | None], str],
    in_slice: bool,
    spare: int = HOARDED,
    says: str = LEAVES_FIRST,
    anew: bool = False,
) -> Callable[[Scene], None]:
    """The live release has taken so many threads that there is no room for another beside it: it leaves first, what
    comes meanwhile waits, and nobody who came after that loses a request. `in_slice`: the limit is its slice's, of
    which nothing is left. `anew`: its worker is ended again and again, and so gives back for moments what it has."""

    def work(scene: Scene) -> None:
        more: dict[str, Any] = {**(ANEW if anew else THREADS), **({"slice": SLICE} if in_slice else {})}
        if in_slice:
            scene.deploy(**more)
        before, answering = scene.live(), scene.answering()
        limit = f"systemctl set-property --runtime {SLICE} TasksMax={SLICE_TASKS}"
        with contextlib.ExitStack() as stack:
            if in_slice:
                scene.sh(limit)

            def ready() -> None:
                if not anew:
                    scene.sh(WARM)
                if not in_slice:
                    stack.enter_context(scene.few_tasks(spare))

            guard = {"minutes": 5 if way is _by_the_guard else 0}
            live = stack.enter_context(broken(scene, HOARDING, guard=guard, ready=ready, **more))
            text = way(scene, live)
        _only_the_faults(scene, live)
        scene.seen.told.append(" ".join(text.split())[:400])
        scene.seen.must(re.search(says, text), f"it does not say that it left first: {text}")
        _back(scene, before, answering)
        if in_slice:
            scene.sh(f"systemctl set-property --runtime {SLICE} TasksMax=infinity")
        scene.deploy()
        scene.clean()

    return work


def _by_hand(scene: Scene, live: int | None) -> str:
    time.sleep(3.0)  # until it has taken them
    text = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
    scene.seen.must("code 0" in text, f"the rollback said {text}")
    return text


def _by_the_guard(scene: Scene, live: int | None) -> str:
    _await_guard(scene, live)
    _taken_back(scene, live, "failed|answered 500|requests|could begin no process|workers died")
    back = [entry for entry in scene.engine.ledger(APP) if entry["event"] == "reverted"][-1:]
    return "; ".join(back[0].get("told") or []) if back else "nothing"


def healed(shape: Shape) -> Callable[[Scene], None]:
    """Status and heal say what is broken and how to get away from it; heal makes nothing worse, and ends."""

    def work(scene: Scene) -> None:
        with broken(scene, shape) as live:
            state, text = scene.engine.status(APP), scene.sh(f"headcount status {APP}")
            scene.seen.told.append(str(state.get("health_detail"))[:200])
            scene.seen.must(bool(state.get("healthy")) is shape.slowly, f"the status says {text}")
            scene.seen.must(re.search(shape.says, str(state.get("health_detail"))), f"the status says {text}")
            named = f"`headcount-rollback {APP}`" in text
            scene.seen.must(named is not shape.slowly, f"the status does not name the way back: {text}")
            done = scene.engine.steps(APP, "heal", gone=scene.gone())[-1]
            scene.seen.must("failed" not in done, f"heal failed: {done.get('failed')}")
            scene.seen.must(float(done.get("seconds", 0.0)) < WAY_OUT_SECONDS, f"heal took {done.get('seconds')} s")
            scene.seen.must(scene.live() == live, f"live is {scene.live()}, not {live}")
            next_run(scene)

    return work


def to_broken(shape: Shape) -> Callable[[Scene], None]:
    """The way back of a fleet leads to a generation that is broken by now: what is live and well stays, unharmed."""

    def work(scene: Scene) -> None:
        target = _deploy_turning(scene, shape)
        next_run(scene)
        live, answering = scene.live(), scene.answering()
        scene.sh(f"touch {FILE}")
        try:
            done = scene.engine.steps(APP, ("rollback", {"to": target, "event": "reverted"}))[-1]
            scene.seen.told.append(str(done.get("failed"))[:200])
            scene.seen.must(
                f"generation {target} was not kept, {live} stays live" in str(done.get("failed")),
                f"it was not refused: {done}",
            )
            _back(scene, live, answering)
        finally:
            scene.sh(f"rm -f {FILE}")

    return work


def lost(command: str, words: str) -> Callable[[Scene], None]:
    """What says which generation is live is spoilt by hand: status tells, and the rollback works as if it were not."""

    def work(scene: Scene) -> None:
        before, answering = scene.live(), scene.answering()
        next_run(scene)
        live = scene.live()
        begin = time.time()
        scene.seen.window = [begin - 0.1, begin + 120.0]
        scene.sh(command.format(live=live))
        text = scene.sh(f"headcount status {APP}")
        scene.seen.told.append(" ".join(text.split())[:200])
        scene.seen.must(re.search(words.format(live=live), text), f"the status says {text}")
        said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
        scene.seen.window[1] = time.time()
        scene.seen.must("code 0" in said, f"the rollback said {said}")
        _back(scene, before, answering)

    return work


def lost_healed(command: str) -> Callable[[Scene], None]:
    """The same, and the next run: it finds its own service, and neither refuses it nor deploys anything new."""

    def work(scene: Scene) -> None:
        live, answering = scene.live(), scene.answering()
        begin = time.time()
        scene.seen.window = [begin - 0.1, begin + 120.0]
        scene.sh(command.format(live=live))
        taken = scene.engine.status(APP).get("port_taken")
        scene.seen.must(not taken, f"its own port is said to be taken: {taken}")
        done = scene.engine.steps(APP, "heal", gone=scene.gone())[-1]
        scene.seen.window[1] = time.time()
        scene.seen.must("failed" not in done, f"heal failed: {done.get('failed')}")
        scene.seen.told.append("; ".join(done.get("healed", [])))
        _back(scene, live, answering)
        next_run(scene)

    return work


LOST = (
    ("deleted", f"rm {HOME}/live", "the link `live` is deleted", "`live` leads nowhere; generation {live} is live"),
    (
        "deleted-and-reloaded",
        f"rm {HOME}/live; systemctl daemon-reload",
        "the link `live` is deleted, and systemd reads its units again: it gives the public socket up",
        "NOT HEALTHY: shop.socket is active, but systemd does not listen",
    ),
    (
        "dangling",
        f"ln -sfn generations/999 {HOME}/live",
        "the link `live` leads to what is not there",
        "`live` leads nowhere; generation {live} is live",
    ),
)
TORN = f"truncate -s 100 {HOME}/generations/{{live}}/generation.json"
WAYS: tuple[tuple[str, str, str, Callable[[Shape], Callable[[Scene], None]]], ...] = (
    ("rollout", "a release that cures it is rolled out", "it goes live; users are well from then on", rollout),
    ("rollback", "`headcount-rollback`", "done within its drain, and says what users got", rollback),
    (
        "heal",
        "status, heal and the next run",
        "status and path are named with the way back; the next run works",
        healed,
    ),
    ("revert", "a fleet goes back", "done within its drain, and says what users got", reverted),
)
FILL = (
    "group=$(systemctl show -P ControlGroup {unit}); folder=/sys/fs/cgroup/memory$group; "
    "test -d $folder || folder=/sys/fs/cgroup$group; "
    'sh -c "echo \\$\\$ > $folder/cgroup.procs; exec python3 -c '
    "'kept = [bytearray(1 << 24) for _ in range(1 << 10)]'\"; true"
)
"""A process that takes memory in the unit until its MemoryMax is full."""
END = "kill -KILL $(systemctl show -P MainPID {unit})"
ENDS_APART = 12.0
GUARDED = {"dead": r"of its workers died|has not run for", "hanging": r"it hangs: \d+ of \d+ slots? busy"}
"""What a guard finds of a release that ends no request any more."""

QUICK = frozenset({"broken/errors-rollout", "broken/hanging-rollback", "broken/some-heal", "broken/to-errors"})
BROKEN = [
    *(
        Row(f"broken/{shape.name}-{way}", f"the live release {shape.words}; {words}", promise, made(shape),
            f"broken/{shape.name}-{way}" in QUICK)
        for shape in SHAPES
        for way, words, promise, made in WAYS
    ),
    *(
        Row(
            f"broken/to-{shape.name}",
            f"a fleet goes back to a release that by now {shape.words}",
            "not kept; what is live serves on, and nobody loses a request",
            to_broken(shape),
            f"broken/to-{shape.name}" in QUICK,
        )
        for shape in SHAPES
        if not shape.slowly
    ),
    *(
        row
        for name, command, fault, words in LOST
        for row in (
            Row(f"broken/live-{name}-rollback", f"{fault}; `headcount-rollback`", "it goes back",
                lost(command, words), name == "deleted-and-reloaded"),
            Row(f"broken/live-{name}-heal", f"{fault}; heal and the next run", "made anew; nothing is refused or lost",
                lost_healed(command)),
        )
    ),
    *(
        Row(
            f"broken/{shape.name}-guarded",
            f"the live release {shape.words}, while the host guards it",
            "the guard goes back by itself, and the ledger has what it found",
            guarded(shape, GUARDED[shape.name]),
        )
        for shape in SHAPES
        if shape.name in GUARDED
    ),
    *(
        Row(
            f"broken/{name}-guarded",
            f"{words}, twice, while the host guards it",
            "the guard goes back by itself, and the ledger has what it found",
            guarded_ends(command, finds),
        )
        for name, words, command, finds in (
            ("oom", "the OOM killer ends a process of the live release", FILL, r"the OOM killer ended 2 of"),
            ("master", "the master of the live release dies", END, r"its server died 2 times within"),
        )
    ),
    Row(
        "broken/hanging-few-guarded",
        f"the live release answers nothing any more; its {CLIENTS} clients wait in {SLOTS} slots, and ask nothing new",
        "the guard goes back by itself, and the ledger has what it found",
        hanging_few,
    ),
    Row(
        "broken/streams-guarded",
        f"the live release streams to {CLIENTS} clients, and no request is new, while the host guards it",
        "the guard lets it be, and does not take streams for what hangs",
        streams_guarded,
    ),
    Row(
        "broken/errors-rollback-run-full",
        "the live release answers 500, and /run has too little room for systemd to read its unit files",
        "gone back from all the same; what systemd did not do is told",
        rollback_where(RUN_FULL, RUN_AGAIN, "daemon-reload"),
    ),
    Row(
        "broken/errors-rollback-few-for-generators",
        "the live release answers 500, and the host has too few processes for systemd's generators",
        "gone back from all the same, without having systemd read its unit files, which is told",
        rollback_few_for_generators,
    ),
    Row(
        "broken/errors-rollback-without-inodes",
        "the live release answers 500, and the file system of the generations has no inode left",
        "gone back from all the same",
        rollback_where(NO_INODES, INODES_AGAIN, "was broken"),
    ),
    Row(
        "broken/errors-rollback-journald-stopped",
        "the live release answers 500, and systemd-journald stands still (SIGSTOP); `headcount-rollback`",
        "users are served by the former release as soon as with a log; that it does not answer is told",
        rollback_without_log("stopped"),
    ),
    Row(
        "broken/errors-rollback-journalctl-hangs",
        "the live release answers 500, and journalctl hangs; `headcount-rollback`",
        "users are served by the former release as soon as with a log; that it does not answer is told",
        rollback_without_log("hanging"),
    ),
    Row(
        "broken/hanging-guarded-journald-stopped",
        "the live release answers nothing any more, while the host guards it and systemd-journald stands still",
        "the guard goes back as soon as with a log, and the ledger has what it found",
        guarded_without_log,
    ),
    *(
        Row(
            f"broken/threads-{name}{'-in-slice' if in_slice else ''}",
            f"the live release has taken all threads that it may begin, and {whose} leaves no room beside it; {words}",
            "it leaves first, requests wait meanwhile, and nobody who came after that loses one",
            hoarding(way, in_slice),
        )
        for name, words, way in (
            ("rollback", "`headcount-rollback`", _by_hand),
            ("guarded", "the host guards it", _by_the_guard),
        )
        for in_slice, whose in ((False, "the host's limit"), (True, "that of its slice"))
    ),
    Row(
        "broken/threads-guarded-anew",
        "the live release has taken all threads that it may begin, and gives them back whenever Gunicorn ends its "
        "worker, which takes them anew; the host guards it",
        "it leaves first, be there room at that moment or not, and nobody who came after that loses a request",
        hoarding(_by_the_guard, False, anew=True),
    ),
    Row(
        "broken/threads-guarded-nothing-left",
        "the live release has taken all threads that the host may begin, so that no process can be begun, not even "
        "systemctl; the host guards it",
        "the guard has it end, requests wait meanwhile, and nobody who came after that loses one",
        hoarding(_by_the_guard, False, ALL_HOARDED, f"{ENDED}|{LEAVES_FIRST}"),
    ),
    Row(
        "broken/rollback-interrupted",
        "^C in headcount-rollback while what is gone back to is watched",
        "the step is ended first and says so; one generation serves, and nobody loses a request",
        rollback_interrupted,
    ),
    Row(
        "broken/record-torn-rollback",
        "generation.json of the live generation is truncated; `headcount-rollback`",
        "it goes back",
        lost(TORN, r"NOT HEALTHY: generation {live} has no record that can be read"),
    ),
]  # fmt: skip
