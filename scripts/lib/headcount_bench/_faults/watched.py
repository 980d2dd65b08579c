# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rows about what watches: the exporter that cannot be there, and the guard that is killed on its way back."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from .._scene import APP, Scene
from .broken import GUARD_SECONDS, RUN_AGAIN, RUN_FULL, SHAPES, broken
from .controllers import by_playbook, playbook
from .row import HOME, Row
from .takeovers import SHAPES as FORMERS
from .takeovers import _serving, _take, former, give_back, none_lost

EXPORTER, LISTEN, TAKER = "headcount-exporter.service", "127.0.0.1:9788", "bench-taker"
ETC = "/etc/systemd/system"
METRICS = f"curl -s -m 5 http://{LISTEN}/metrics | grep -c ^headcount_"
COMES_SECONDS = 30


@contextlib.contextmanager
def no_exporter(scene: Scene, before: str, after: str) -> Iterator[None]:
    """The exporter cannot come up, after `before`; nothing of it is left at the end."""
    links = f"{ETC}/multi-user.target.wants/{EXPORTER}"
    gone = f"systemctl stop {EXPORTER}; rm -f {ETC}/{EXPORTER} {links}; systemctl daemon-reload; systemctl reset-failed"
    scene.sh(f"{gone}; {before}")
    try:
        yield
    finally:
        scene.sh(f"{after}; {gone}")


def _named(scene: Scene) -> str:
    """What the host's status says of the exporter; empty where it says nothing."""
    lines = scene.sh("headcount status").splitlines()
    return next((line for line in lines if line.startswith(f"! {EXPORTER}")), "")


def exporter_away(before: str, after: str, words: str, comes: bool) -> Callable[[Scene], None]:
    """A rollout and status say in words that the exporter is not there; the app is promoted, and served all along."""

    def work(scene: Scene) -> None:
        declared = by_playbook(scene)
        with no_exporter(scene, before, after):
            run = playbook(scene, declared, "-e", '{"headcount_exporter": true}', callback="headcount.gunicorn.rollout")
            out = run.communicate(timeout=240)[0]
            last = next((line for line in out.splitlines() if line.startswith("exporter: ")), "")
            scene.seen.told.append(last[:300])
            scene.seen.must(f"is told nothing of {scene.host}: " in last, f"no last line names it: {out[-900:]}")
            scene.seen.must(re.search(words, last), f"the run does not say why: {last}")
            scene.seen.must(scene.answering() == scene.release, f"{scene.answering()} answers, not {scene.release}")
            # For the second of each of its starts it is one that runs.
            scene.awaited("why, by the status", lambda: re.search(words, _named(scene)), COMES_SECONDS)
            if comes:
                scene.sh(after)
                scene.awaited("the exporter", lambda: scene.sh(METRICS).strip() not in ("", "0"), COMES_SECONDS)
                scene.seen.must("! " not in scene.sh("headcount status"), "the status names it still")
        scene.clean()

    return work


TAKEN = f"systemd-run --quiet --unit={TAKER} python3 -m http.server --bind {LISTEN.replace(':', ' ')}"

KILLER = "bench-killer"
KILLED = (
    f"systemd-run --quiet --collect --unit={KILLER} sh -c '"
    f'while [ "$(readlink {HOME}/live)" = "generations/{{live}}" ]; do sleep 0.02; done; '
    f"systemctl kill --signal=KILL headcount-guard-{APP}-{{live}}.service; "
    f"systemctl is-active {APP}@{{live}}.service > /root/left'"
)
"""SIGKILL to the guard as soon as its rename is there; a file has whether the generation that it leaves runs still."""


def guard_killed(scene: Scene) -> None:
    """The guard is killed between its rename and the stop of what it leaves: it goes on, and ends what it began."""
    before, answering = scene.live(), scene.answering()
    with broken(scene, next(shape for shape in SHAPES if shape.name == "errors"), guard={"minutes": 5}) as live:
        unit = f"headcount-guard-{APP}-{live}.service"
        scene.sh("rm -f /root/left")
        scene.sh(KILLED.format(live=live))
        scene.awaited("the way back", lambda: scene.live() == before, GUARD_SECONDS)
        scene.awaited("SIGKILL to the guard", lambda: scene.sh("cat /root/left").strip())
        scene.awaited("the end of the guard", lambda: "inactive" in scene.sh(f"systemctl is-active {unit}"), 120)
        scene.sh(f"systemctl stop {KILLER}")
    left = scene.sh("cat /root/left").strip()
    scene.seen.must(left == "active", f"when it was killed, what it left was {left} already")
    begun = scene.sh(f"journalctl -o cat -u {unit} | grep -c 'Main process exited'").strip()
    scene.seen.must(begun == "1", f"it was killed {begun} times")
    scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}")
    found = [entry for entry in scene.engine.ledger(APP) if entry.get("phase") == "guard" and "from" in entry]
    cause = str(found[-1].get("cause")) if found else "nothing"
    scene.seen.told.append(cause[:400])
    scene.seen.must([entry["generation"] for entry in found[-1:]] == [live], f"the ledger has of the guard: {found}")
    scene.seen.must(re.search(r"requests failed.*users got .*\b5xx", cause), f"it does not say what users got: {cause}")
    status = scene.sh(f"headcount status {APP}")
    told = f"the guard went back from generation {live} to {before} at "
    scene.seen.must(told in status, f"the status does not say so: {status}")
    scene.clean()
    scene.deploy()
    scene.seen.must(
        "guard" not in scene.sh(f"headcount status {APP}"), "after the next promote the status tells it still"
    )
    scene.clean()


def given_back_where_run_is_full(scene: Scene) -> None:
    """/run has too little room for systemd to read its units anew: the give-back says so, and the app serves on."""
    shape = FORMERS["tcp"][1]
    with former(scene, shape):
        _take(scene, shape, "first")
        with none_lost(scene):
            scene.sh(RUN_FULL)
            try:
                said = scene.sh(f"headcount-rollback {shape.name} --to-former 2>&1; echo code $?")
            finally:
                scene.sh(RUN_AGAIN)
            scene.seen.told.append(" ".join(said.split())[:300])
            refused = "code 1" in said and re.search(r"not enough space|room", said)
            scene.seen.must(refused, f"the give-back does not say what lacks: {said}")
            _serving(scene, shape, f"{scene.host}-first", "refused for a full /run")
            give_back(scene, shape, "a full /run")


WATCHED = [
    Row(
        "life/exporter-port-taken",
        "another program has the exporter's port, and a rollout wants the exporter there",
        "the run's last lines and status say so; the app is promoted and served; with a free port the exporter comes",
        exporter_away(TAKEN, f"systemctl stop {TAKER}", "taken by another process", True),
    ),
    Row(
        "life/exporter-masked",
        "somebody masked the exporter's unit, and a rollout wants the exporter there",
        "the last lines of the run and status say so; the app is promoted and served",
        exporter_away(f"systemctl mask {EXPORTER}", f"systemctl unmask {EXPORTER}", "is masked.*unmask", False),
    ),
    Row(
        "broken/errors-guard-killed",
        "the live release answers 500; the guard is killed between its rename and the stop of what it leaves",
        "it goes on and ends what it began; ledger and status have what users got",
        guard_killed,
    ),
    Row(
        "past/give-back-run-full",
        "`headcount-rollback APP --to-former` while /run has too little room for systemd to read its unit files",
        "refused in words while the app serves on; with room the former service has its address; nobody is lost",
        given_back_where_run_is_full,
    ),
]
