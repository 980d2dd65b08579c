# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The rows of the fault catalogue: what is done, what is promised, and how it is checked."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headcount_scripts import labs, paths

from . import _engine, _foreign
from ._scene import APP, ARMS, Scene

GROUPS = {
    "release": "Releases that are bad",
    "host": "Hosts that are bad",
    "hand": "Things done by hand",
    "kill": "The module is killed",
    "power": "The host's power is cut",
    "controller": "The controller and the connection",
    "held": "Steps that do not end, and who ends them",
    "foreign": "What somebody else has on the host",
    "broken": "The live release has turned broken",
}
STATE = f"/var/lib/headcount/{APP}"
HOME = f"/opt/headcount/{APP}"


@dataclass(frozen=True)
class Row:
    """One fault. `quick`: part of the fast core."""

    name: str
    fault: str
    promise: str
    work: Callable[[Scene], None]
    quick: bool = False


# -- releases that are bad --------------------------------------------------------------------------------------------


def refused(
    scene: Scene, done: Sequence[Mapping[str, Any]], why: str, phases: str = ".", *, bad_kept: bool = True
) -> None:
    """The last step failed with a cause that matches `why`; what was live is live, serves, and the ledger says why."""
    last, seen = done[-1], scene.seen
    said = str(last.get("failed", "it was not refused"))
    seen.told.append(said[:200])
    seen.must("failed" in last, f"it was not refused: {last}")
    seen.must(last.get("phase") != "internal", f"the engine broke: {said} {last.get('traceback', '')[-300:]}")
    seen.must(re.search(why, said, re.IGNORECASE), f"the cause does not say so: {said}")
    seen.must(re.search(phases, str(last.get("phase"))), f"it was refused in {last.get('phase')}, not in {phases}")
    events = scene.engine.ledger(APP)
    failed = events[-1] if events else {}
    seen.must(failed.get("event") == "failed", f"the ledger's last word is {failed.get('event')}")
    seen.must(re.search(why, str(failed.get("cause")), re.IGNORECASE), f"the ledger says {failed.get('cause')}")
    for key in ("user", "controller", "time", "phase"):
        seen.must(failed.get(key), f"the ledger does not say {key}")
    if bad_kept and last.get("number"):
        state = scene.engine.status(APP)
        kept = [one["number"] for one in state.get("generations", []) if one["status"] == "bad"]
        seen.must(kept == [last["number"]], f"kept for diagnosis is {kept}, not {last['number']}")
    scene.clean()


def candidate(faults: str, why: str, phases: str = ".", **changes: Any) -> Callable[[Scene], None]:
    """A release with SHOP_FAULTS=`faults` goes the whole way and is refused; the release before answers all along."""

    def work(scene: Scene) -> None:
        before, answering = scene.live(), scene.answering()
        done = scene.whole(faults, **changes)
        refused(scene, done, why, phases)
        scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
        scene.seen.must(scene.answering() == answering, f"{scene.answering()} answers, not {answering}")

    return work


KEPT = "refused before users meet it; what is live serves on"
LOAD_20S: dict[str, Any] = {"load": {"paths": ["/wait?ms=20"], "rate": 40, "seconds": 10}}


def stands_still(scene: Scene) -> None:
    """Whether a stall of 2 s in 240 requests fails is the judge's to say; users must not notice either way."""
    done = scene.whole("stall:2:300", **LOAD_20S)
    scene.seen.told.append(str(done[-1].get("failed", "promoted"))[:200])
    scene.seen.must(done[-1].get("phase") != "internal", f"the engine broke: {done[-1]}")
    if "failed" in done[-1]:
        scene.clean()


def dies_in_verify(scene: Scene) -> None:
    """Finished without a trial, then promoted: it dies with users on it, which loses what it had."""
    before = scene.live()
    request = scene.request("dies_after:4", verify_seconds=12)
    begin = time.time()
    done = scene.engine.steps(APP, ("stage", request), "finish", "promote")
    scene.seen.window = [begin, time.time()]
    refused(scene, done, "after it took traffic|healthy|no answer", "verify|start|promote")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")


def recycled(scene: Scene) -> None:
    """A candidate whose workers are recycled by setting; a busy machine may still make its latencies fail."""
    done = scene.whole(settings={"workers": 4, "max_requests": 150, "max_requests_jitter": 0}, worker_class="sync")
    said = str(done[-1].get("failed", "promoted"))
    scene.seen.told.append(said[:200])
    scene.seen.must(not re.search("died|restarted|workers", said), f"it was refused for its workers: {said}")
    scene.clean()


def recycled_in_silence(scene: Scene) -> None:
    """Its logging silences Gunicorn's, so that no log says of any worker that it was recycled."""
    done = scene.whole("silent", settings={"workers": 4, "max_requests": 150, "max_requests_jitter": 0},
                       worker_class="sync")  # fmt: skip
    said = str(done[-1].get("failed", "promoted"))
    scene.seen.told.append(said[:200])
    scene.seen.must(not re.search("died|restarted|workers", said), f"it was refused for its workers: {said}")
    scene.clean()


def reexecuted(scene: Scene) -> None:
    """systemd executes itself anew every other second while a release is weighed, tried and promoted."""
    scene.sh("(for i in $(seq 15); do sleep 2; systemctl daemon-reexec; done) >/dev/null 2>&1 &")
    done = scene.whole(**LOAD_20S)
    said = str(done[-1].get("failed", "promoted"))
    scene.seen.told.append(said[:200])
    scene.seen.must(not re.search("died|gone|not-found|no answer|systemctl", said), f"its silence was taken: {said}")
    scene.clean()


RELEASES = [
    Row(
        "release/recycled-in-silence",
        "its logging silences Gunicorn's, and its workers are replaced after 150 requests",
        "not taken for dead workers",
        recycled_in_silence,
    ),
    Row(
        "release/leaves-with-status-0",
        "a worker leaves with status 0 at its 250th request, and no log says so",
        KEPT,
        candidate("silent,leaves:250", "died.*exited at once with status 0", "weigh|trial", **LOAD_20S),
    ),
    Row(
        "release/only-redirects",
        "every request but health is sent to another host",
        "told before a load begins; what is live serves on",
        candidate("redirects", "redirect.*https://shop.example.com", "weigh|trial"),
        quick=True,
    ),
    Row(
        "release/daemon-reexec",
        "systemd executes itself anew again and again meanwhile",
        "its silence is not taken for the death of a unit",
        reexecuted,
    ),
    Row(
        "release/crash-at-import",
        "the app raises when it is imported",
        KEPT,
        candidate("crash_import", "cannot be imported", "start"),
        quick=True,
    ),
    Row(
        "release/crash-at-boot", "create_app() raises", KEPT, candidate("crash_boot", "create_app.. .* raises", "start")
    ),
    Row(
        "release/crash-at-fork",
        "every worker that is forked exits",
        KEPT,
        candidate("crash_fork", "never became ready|died", "start"),
    ),
    Row(
        "release/crash-at-first-request",
        "the worker exits at its first request",
        KEPT,
        candidate("crash_first_request", "no request|answered|died|worker", "weigh|trial"),
    ),
    Row(
        "release/never-ready",
        "health answers 503 for ever",
        KEPT,
        candidate(
            "never_ready",
            "never became ready.*503",
            "start",
            health={"path": "/healthz", "contains": "ok", "boot_seconds": 5},
        ),
        quick=True,
    ),
    Row(
        "release/wrong-health-status",
        "health answers 500",
        KEPT,
        candidate(
            "wrong_health",
            "answered 500, expected 200",
            "start",
            health={"path": "/healthz", "contains": "ok", "boot_seconds": 5},
        ),
    ),
    Row(
        "release/wrong-answer-on-health",
        "health answers 200 with somebody else's body",
        KEPT,
        candidate(
            "wrong_answer",
            "does not contain 'ok'",
            "start",
            health={"path": "/healthz", "contains": "ok", "boot_seconds": 5},
        ),
        quick=True,
    ),
    Row(
        "release/ready-then-dead",
        "its process exits 5 s after it was made",
        KEPT,
        candidate("dies_after:5", "worker|died|restart|no answer|failed|error", "weigh|trial|verify|start"),
    ),
    Row(
        "release/slow-at-once",
        "every request takes 300 ms longer",
        KEPT,
        candidate("slow:300", "p50|p95|slow|not a measurement", "trial"),
        quick=True,
    ),
    Row(
        "release/slow-after-warm-up",
        "requests take 300 ms longer after the first 400",
        KEPT,
        candidate("slow_after:400:300", "p50|p95|slow|not a measurement", "trial", **LOAD_20S),
    ),
    Row(
        "release/errors-1-percent",
        "1 % of the requests answer 500",
        "not promoted; what is live serves on",
        candidate(
            "errors:0.01",
            "error|inconclusive|fail|not a measurement",
            "trial",
            limits={"p95_ms": 250, "error_rate": 0.005, "memory_percent": 80},
            **LOAD_20S,
        ),
    ),
    Row(
        "release/errors-100-percent",
        "every request answers 500",
        KEPT,
        candidate("errors:1", "500|answered|error|fail", "weigh|trial"),
    ),
    Row(
        "release/memory-hog-at-boot",
        "create_app() takes 3 GiB",
        KEPT,
        candidate("hog:3000m", "OOM|memory", "start|weigh"),
    ),
    Row(
        "release/leak-under-load",
        "every request keeps 1 MiB",
        KEPT,
        candidate("leak:1m", "memory|OOM|leak|MiB", "weigh|trial"),
    ),
    Row(
        "release/oom-kill",
        "every request keeps 12 MiB, until the kernel kills",
        KEPT,
        candidate("leak:12m", "OOM|memory|MiB|failed|no answer", "weigh|trial|start"),
    ),
    Row(
        "release/fork-bomb",
        "create_app() starts 3000 processes",
        "it cannot take the host; what is live serves on",
        candidate("fork_bomb:3000", ".", "."),
    ),
    Row(
        "release/blocking-call-under-gevent",
        "every request blocks the gevent hub for 200 ms",
        KEPT,
        candidate("block:200", "block|p50|p95|slow|not a measurement", "trial|weigh", worker_class="gevent"),
    ),
    Row(
        "release/stands-still-once",
        "the whole process stands still for 2 s, once",
        "not promoted, or promoted without loss",
        stands_still,
    ),
    Row(
        "release/bad-entry-point",
        "the entry point names a function that is not there",
        KEPT,
        candidate("", "nothing|attribute|entry", "start", entry_point="shop.wsgi:nothing()"),
    ),
    Row(
        "release/bad-under-real-traffic",
        "it passes its trial and dies while it is verified on the real socket",
        "taken back by the promote itself; the one before serves",
        dies_in_verify,
    ),
    Row(
        "release/recycled-workers",
        "workers are replaced after 150 requests, by setting",
        "not taken for dead workers",
        recycled,
    ),
]


# -- hosts that are bad -----------------------------------------------------------------------------------------------


def port_taken(scene: Scene) -> None:
    """Another process has the port that the app is to move to."""
    before, answering = scene.live(), scene.answering()
    scene.sh("systemd-run --quiet --unit=squatter python3 -m http.server 8077")
    try:
        done = scene.deploy(listen="0.0.0.0:8077")
        refused(scene, done, "taken|in use", "promote")
        scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
        scene.seen.must(scene.answering() == answering, f"{scene.answering()} answers, not {answering}")
    finally:
        scene.sh("systemctl stop squatter")


def listen_changed(scene: Scene) -> None:
    """The app moves to another port and back; what asks the old port is served until the old instance ends."""
    done = scene.deploy(listen="0.0.0.0:8078")
    scene.seen.must("failed" not in done[-1], f"the move failed: {done[-1].get('failed')}")
    moved = scene.sh("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8078/").strip()
    scene.seen.must(moved == "200", f"the new port answers {moved}")
    gone = time.time()
    done = scene.engine.steps(APP, "rollback")
    scene.seen.must("failed" not in done[-1], f"the way back failed: {done[-1].get('failed')}")
    # Between the two moves nothing listens on the old port: that is what was asked for.
    scene.seen.window = [gone - 12.0, time.time()]
    scene.clean()


def disk_full_staging(scene: Scene) -> None:
    """There is too little room for the release."""
    before = scene.live()
    with scene.small_disk(f"{HOME}/releases", 20):
        done = scene.deploy(source=scene.variant())
        refused(scene, done, "MiB|space", "stage", bad_kept=False)
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    next_run(scene)


def disk_fills_staging(scene: Scene) -> None:
    """There was room when it was looked at; the disk fills up while the wheels are installed."""
    before = scene.live()
    with scene.small_disk(f"{HOME}/releases", 150):
        request = scene.request(source=scene.variant())
        fill = f"head -c 1G /dev/zero > {HOME}/releases/filler"
        done = scene.engine.steps(
            APP,
            ("stage", request),
            "finish",
            "promote",
            at={"target": "_release.releases._run", "match": "installing", "then": {"shell": fill}},
        )
        refused(scene, done, "space", "stage", bad_kept=False)
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    next_run(scene)


def disk_full_promoting(scene: Scene) -> None:
    """The disk is full when the promote begins."""
    before = scene.live()
    with scene.small_disk(STATE, 6):
        done = scene.engine.steps(APP, ("stage", scene.request()), "finish", gone=scene.gone())
        number = done[-1]["number"]
        scene.sh(f"head -c 1G /dev/zero > {STATE}/filler")
        run = scene.engine.ledger(APP)[-1]["run"]
        done = scene.engine.steps(APP, "promote", number=number, run=_engine.this_run(run))
        refused(scene, done, "free", "promote")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    next_run(scene)


def disk_fills_promoting(scene: Scene) -> None:
    """The disk fills up right after the rename: the ledger's reserve is for that."""
    with scene.small_disk(STATE, 8):
        fill = f"head -c 1G /dev/zero > {STATE}/filler"
        done = scene.engine.steps(
            APP,
            ("stage", scene.request()),
            "finish",
            "promote",
            at={"target": "_generation.generations.activate", "when": "after", "then": {"shell": fill}},
        )
        number = done[-1].get("number")
        scene.seen.must("failed" not in done[-1], f"the promote failed: {done[-1].get('failed')}")
        scene.seen.must(scene.live() == number, f"live is {scene.live()}, not {number}")
        told = [entry for entry in scene.engine.ledger(APP) if entry["event"] == "promoted"][-1:]
        scene.seen.must(told and told[0].get("to") == number, f"the ledger does not have the promote: {told}")
    next_run(scene)


def read_only_staging(scene: Scene) -> None:
    """/opt/headcount is read-only."""
    before = scene.live()
    scene.sh("mount --bind /opt/headcount /opt/headcount && mount -o remount,ro,bind /opt/headcount")
    try:
        refused(scene, scene.deploy(), "read-only", "stage", bad_kept=False)
    finally:
        scene.sh("umount -l /opt/headcount")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    next_run(scene)


def read_only_promoting(scene: Scene) -> None:
    """It becomes read-only when the new generation is about to be made live."""
    before = scene.live()
    mount = "mount --bind /opt/headcount /opt/headcount && mount -o remount,ro,bind /opt/headcount"
    done = scene.engine.steps(
        APP,
        ("stage", scene.request()),
        "finish",
        "promote",
        at={"target": "_generation.generations.activate", "then": {"shell": mount}},
    )
    try:
        refused(scene, done, "read-only", "promote", bad_kept=False)
        scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    finally:
        scene.sh("umount -l /opt/headcount")
    next_run(scene)


def spoiled_wheel(command: str, why: str) -> Callable[[Scene], None]:
    """A wheel in the host's store is spoiled after it came and before it is installed."""

    def work(scene: Scene) -> None:
        before = scene.live()
        request = scene.request(source=scene.variant())
        done = scene.engine.steps(
            APP,
            ("stage", request),
            "finish",
            "promote",
            at={"target": "_steps.app.install", "then": {"shell": command}},
        )
        refused(scene, done, why, "stage", bad_kept=False)
        again = scene.engine.steps(APP, ("stage", request), "finish", "promote", gone=scene.gone())
        scene.seen.must("failed" not in again[-1], f"the next run failed: {again[-1].get('failed')}")
        scene.seen.must(scene.live() != before, "the next run promoted nothing")
        scene.clean()

    return work


def wrong_python(scene: Scene) -> None:
    """A release that was gathered for another Python."""
    wheelhouse = _engine.collection("module_utils._release.releases")
    request = scene.request()
    lock = wheelhouse.parse_lock(request["release"]["lock_text"])
    other = wheelhouse.render_lock(wheelhouse.Lock("3.10", lock.machine, lock.pip, lock.pins))
    request["release"] = {"id": wheelhouse.release_id(other), "lock_text": other}
    done = scene.engine.steps(APP, ("stage", request), "finish", "promote")
    refused(scene, done, r"gathered for Python 3\.10", "stage", bad_kept=False)


def live_killed_in_trial(scene: Scene) -> None:
    """SIGKILL to every process of the live generation while the candidate is on trial."""
    live = scene.live()
    kill = f"systemctl kill --signal=KILL {APP}@{live}.service"
    begin = time.time()
    done = scene.engine.steps(
        APP,
        ("stage", scene.request()),
        "weigh",
        "trial",
        "promote",
        # Three seconds after it began, a trial has load on both.
        at={"target": "_steps.app.try_candidate", "then": {"shell": f"(sleep 3; {kill}) &"}},
    )
    scene.seen.window = [begin, time.time()]
    back = scene.wait_served()
    scene.seen.must(back is not None and back < 10, f"the live generation was back after {back} s")
    scene.seen.told.append(str(done[-1].get("failed", "promoted"))[:200])
    scene.seen.must(done[-1].get("phase") != "internal", f"the engine broke: {done[-1]}")
    scene.clean()


def journald_stopped(scene: Scene) -> None:
    """No journal while a bad and then a good release are rolled out."""
    units = "systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket"
    scene.sh(f"systemctl stop {units} 2>/dev/null")
    try:
        before = scene.live()
        refused(scene, scene.whole("crash_import"), "died|exited|import|status", "start")
        scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
        done = scene.deploy()
        scene.seen.must("failed" not in done[-1], f"a good release was refused: {done[-1].get('failed')}")
    finally:
        scene.sh(f"systemctl start {units}")
    scene.clean()


def clock_jump(seconds: float) -> Callable[[Scene], None]:
    """The wall clock of the process that promotes jumps while it waits for the new generation."""

    def work(scene: Scene) -> None:
        done = scene.engine.steps(
            APP,
            ("stage", scene.request()),
            "finish",
            "promote",
            at={"target": "_generation.instances.Instances.wait_ready", "then": {"clock": seconds}},
        )
        scene.seen.must("failed" not in done[-1], f"the promote failed: {done[-1].get('failed')}")
        scene.seen.must(float(done[-1].get("seconds", 99)) < 30, "the promote took its time by the wrong clock")
        scene.seen.must(done[-1].get("verified", {}).get("seconds", 0) >= 0, f"verified: {done[-1].get('verified')}")
        next_run(scene)

    return work


def lease_in_future(scene: Scene) -> None:
    """A run ended without a word when the host's clock was a day ahead."""
    boot = scene.sh(
        "python3 -c \"import sys; sys.path.insert(0, '/usr/local/lib/headcount/current'); "
        'from headcount._generation.lock import boot_id; print(boot_id())"'
    ).strip()
    run = {"id": "feedbeef", "user": "eve", "controller": "c", "started": "x"}
    lease = json.dumps({"run": run, "step": "trial", "boot": boot, "expires": time.time() + 86400})
    scene.sh(f"cat > {STATE}/lease.json <<'END'\n{lease}\nEND")
    done = scene.engine.steps(APP, ("stage", scene.request()), "finish", "promote")
    scene.seen.must("failed" not in done[-1], f"the stale lease was not recognised: {done[-1].get('failed')}")
    told = [entry for entry in scene.engine.ledger(APP) if "clock went back" in str(entry.get("did"))]
    scene.seen.must(told, "the ledger does not say that the lease was taken over")
    scene.clean()


def h2load_missing(scene: Scene) -> None:
    """The load generator is not on the host."""
    scene.sh("mv /usr/bin/h2load /usr/bin/h2load.away")
    try:
        refused(scene, scene.whole(), "nghttp2-client", "trial")
    finally:
        scene.sh("mv /usr/bin/h2load.away /usr/bin/h2load")


def slow_clients(scene: Scene) -> None:
    """Sixty clients that send half of a request, before, during and after the switch."""
    arms = [{"name": "slow", "kind": "trickle", "rate": 12, "paths": ["/version"]}]
    with scene.engine.users(scene.address, arms, timeout=30.0) as users:
        for _ in range(2):
            done = scene.engine.steps(APP, "rollback")
            scene.seen.must("failed" not in done[-1], f"the switch failed: {done[-1].get('failed')}")
    bad = _engine.failures(users.rows)
    scene.seen.told.append(f"{len(users.rows)} slow clients, {len(bad)} not served")
    scene.seen.must(not bad, f"{len(bad)} of {len(users.rows)} slow clients were not served: {bad[:3]}")
    scene.clean()


HOSTS = [
    Row(
        "host/port-taken",
        "the port it is to move to is another process's",
        "refused, naming the port; the old port serves",
        port_taken,
        quick=True,
    ),
    Row(
        "host/listen-changes",
        "the app moves to another port, and back",
        "each port serves while it is asked for",
        listen_changed,
    ),
    Row(
        "host/disk-full-staging",
        "20 MiB are free for a release",
        "refused before anything is built, naming the need",
        disk_full_staging,
        quick=True,
    ),
    Row(
        "host/disk-fills-staging",
        "the disk fills up while wheels are installed",
        "refused; no half release stays",
        disk_fills_staging,
    ),
    Row(
        "host/disk-full-promoting",
        "the disk is full when the promote begins",
        "refused; what is live serves on",
        disk_full_promoting,
    ),
    Row(
        "host/disk-fills-promoting",
        "the disk fills up right after the rename",
        "the new one is live, and the ledger has it all the same",
        disk_fills_promoting,
    ),
    Row(
        "host/read-only-staging",
        "/opt/headcount is read-only",
        "refused, saying so; what is live serves on",
        read_only_staging,
    ),
    Row(
        "host/read-only-promoting",
        "it becomes read-only right before the rename",
        "refused, saying so; what is live serves on",
        read_only_promoting,
    ),
    Row(
        "host/broken-wheel",
        "a wheel on the host is damaged",
        "refused, naming it; the next run ships it anew",
        spoiled_wheel("for f in /var/lib/headcount/wheels/*/flask-*.whl; do printf x >> $f; done", "damaged|broken"),
        quick=True,
    ),
    Row(
        "host/wheel-missing",
        "a wheel that this Python needs is not there",
        "refused, naming it; the next run ships it",
        spoiled_wheel("rm -rf /var/lib/headcount/wheels/*/markupsafe-*.whl", "markupsafe.*not on this host"),
    ),
    Row("host/wrong-python", "the release was gathered for Python 3.10", "refused, naming both", wrong_python),
    Row(
        "host/live-killed-in-trial",
        "SIGKILL to the live generation during the trial",
        "it is back within seconds; no broken state",
        live_killed_in_trial,
    ),
    Row(
        "host/journald-stopped",
        "journald and its sockets are stopped",
        "bad releases are refused, good ones promoted",
        journald_stopped,
    ),
    Row(
        "host/clock-forward",
        "the wall clock jumps by an hour while it waits",
        "promoted as if nothing had been",
        clock_jump(3600),
    ),
    Row(
        "host/clock-back",
        "the wall clock jumps back by an hour while it waits",
        "promoted as if nothing had been",
        clock_jump(-3600),
    ),
    Row(
        "host/lease-in-future",
        "a lease was left when the clock was a day ahead",
        "it is stale, and that is told",
        lease_in_future,
    ),
    Row(
        "host/h2load-missing",
        "the load generator is not on the host",
        "refused with the name of the package",
        h2load_missing,
    ),
    Row(
        "host/slow-clients",
        "a dozen clients a second pause within their request during two switches",
        "each is answered",
        slow_clients,
        quick=True,
    ),
]


# -- done by hand -----------------------------------------------------------------------------------------------------


def next_run(scene: Scene) -> None:
    """The next run promotes a new generation and leaves nothing over."""
    done = scene.deploy()
    scene.seen.must("failed" not in done[-1], f"the next run failed: {done[-1].get('failed')}")
    scene.seen.must(scene.live() == done[-1].get("number"), "the next run's generation is not live")
    answering = scene.answering()
    scene.seen.must(answering == scene.release, f"after the next run {answering} answers, not {scene.release}")
    scene.clean()


def edited(path: str, command: str = "echo '# edited' >> {path}") -> Callable[[Scene], None]:
    """A file of the live generation is edited: seen at once, gone with the next run."""

    def work(scene: Scene) -> None:
        live = scene.live()
        file = scene.sh(f"ls {path.format(live=live)} | head -1").strip() or path.format(live=live)
        scene.sh(command.format(path=file, live=live))
        state = scene.engine.status(APP)
        scene.seen.told.append("; ".join(state.get("problems", []))[:200])
        scene.seen.must(state.get("intact") is False, "the edit was not seen")
        scene.seen.must(state.get("healthy"), "the app is not healthy any more")
        next_run(scene)

    return work


NOBODY_READS = (
    f"runuser -u nobody -- sh -c 'for f in {HOME}/releases/*/requirements.lock {HOME}/live/gunicorn.conf.py; "
    "do cat $f; done; find /var/lib/headcount/wheels -type f' 2>/dev/null | head -1"
)


def opened(scene: Scene) -> None:
    """The folders that keep other users out are opened, as they were before they were closed: seen, and closed."""
    scene.sh(f"chmod 0755 {HOME} /var/lib/headcount/wheels; chgrp root {HOME}")
    state = scene.engine.status(APP)
    scene.seen.told.append("; ".join(state.get("open", []))[:200])
    scene.seen.must(len(state.get("open", [])) == 2, f"it was not seen: {state.get('open')}")
    scene.seen.must(state.get("healthy"), "the app is not healthy any more")
    next_run(scene)
    scene.seen.must(scene.engine.status(APP).get("open") == [], "it is open still")
    read = scene.sh(NOBODY_READS)
    scene.seen.must(not read.strip(), f"another user reads {read[:80]!r}")
    group = scene.sh(f"stat -c %G {HOME}").strip()
    scene.seen.must(group == f"hc-{APP}", f"the folder belongs to the group {group}")


def socket_stopped(scene: Scene) -> None:
    """The public socket's unit is stopped; its instance goes on serving what it inherited."""
    scene.sh(f"systemctl stop {APP}.socket")
    state = scene.engine.status(APP)
    scene.seen.told.append(str(state.get("health_detail")))
    scene.seen.must(state.get("healthy") is False, "it was not seen")
    begin = time.time()
    next_run(scene)
    scene.seen.window = [begin, time.time()]


def rollback_to_edited(scene: Scene) -> None:
    """The target of a rollback was edited: it is not gone back to."""
    next_run(scene)
    before = scene.live()
    target = max(
        one["number"]
        for one in scene.engine.status(APP)["generations"]
        if one["status"] == "good" and one["number"] != before
    )
    scene.sh(f"echo '# edited' >> {HOME}/generations/{target}/gunicorn.conf.py")
    said = scene.sh(f"headcount-rollback {APP} {target} 2>&1; echo code $?")
    scene.seen.told.append(said.strip()[:200])
    scene.seen.must("code 1" in said and "edited" in said, f"it said {said}")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    scene.sh(f"sed -i '$d' {HOME}/generations/{target}/gunicorn.conf.py")
    scene.clean()


def rollback_sick(line: str) -> Callable[[Scene], None]:
    """The target of a rollback does not come up, for this line of its environment: it is not kept, nothing flaps."""
    return lambda scene: _rollback_sick(scene, line)


def _rollback_sick(scene: Scene, line: str) -> None:
    next_run(scene)
    next_run(scene)
    before = scene.live()
    target = max(
        one["number"]
        for one in scene.engine.status(APP)["generations"]
        if one["status"] == "good" and one["number"] != before
    )
    scene.sh(f"cp -p {STATE}/{target}.env /root/env; echo '{line}' >> {STATE}/{target}.env")
    said = scene.sh(f"headcount-rollback {APP} {target} 2>&1; echo code $?")
    scene.sh(f"cp -p /root/env {STATE}/{target}.env")
    scene.seen.told.append(said.strip()[:200])
    scene.seen.must("code 1" in said and "not kept" in said, f"it said {said}")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    last = scene.engine.ledger(APP)[-1]
    scene.seen.must(last["event"] == "rollback_failed", f"the ledger's last word is {last['event']}")
    scene.clean()


def rollback_nowhere(scene: Scene) -> None:
    """Asking for what is not there gets the list of what is."""
    before = scene.live()
    said = scene.sh(f"headcount-rollback {APP} 9999 2>&1; echo code $?; headcount-rollback nosuch 2>&1; echo code $?")
    scene.seen.told.append(said.strip()[:300])
    scene.seen.must(f"{before} (live)" in said and "code 1" in said, f"it said {said}")
    scene.seen.must("there are: shop" in said and "code 2" in said, f"it said {said}")
    scene.clean()


def rollback_offline(scene: Scene) -> None:
    """No network, no wheels, no controller: the host goes back by itself."""
    next_run(scene)  # so that the generation before the live one is as it was laid down
    next_run(scene)
    before = scene.live()
    said = scene.sh(
        f"mv /var/lib/headcount/wheels /root/wheels; unshare --net headcount status {APP} > /dev/null; "
        f"headcount-rollback {APP} 2>&1; echo code $?; mv /root/wheels /var/lib/headcount/wheels"
    )
    scene.seen.told.append(said.strip()[:200])
    scene.seen.must("code 0" in said, f"it said {said}")
    scene.seen.must(scene.live() != before, "nothing changed")
    scene.seen.must(scene.engine.ledger(APP)[-1]["event"] == "rolled_back", "the ledger does not say so")
    scene.clean()


def rollback_full_disk(scene: Scene) -> None:
    """The disk is full when a person wants to go back."""
    next_run(scene)
    next_run(scene)
    before = scene.live()
    with scene.small_disk(STATE, 6):
        scene.sh(f"head -c 1G /dev/zero > {STATE}/filler")
        said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
        scene.seen.told.append(said.strip()[:200])
        scene.seen.must("code 0" in said, f"it said {said}")
        last = scene.engine.ledger(APP)[-1]
        scene.seen.must(last["event"] == "rolled_back", f"the ledger's last word is {last['event']}")
    scene.seen.must(scene.live() != before, "nothing changed")
    scene.clean()


def pruned(scene: Scene) -> None:
    """Six deployments with retain.good = 2: the live one, its predecessor, two good ones, the last bad one stay."""
    scene.whole("crash_import")
    for _ in range(4):
        done = scene.deploy(retain={"good": 2})
        scene.seen.must("failed" not in done[-1], f"a deployment failed: {done[-1].get('failed')}")
    state = scene.engine.status(APP)
    kept = {one["number"]: one["status"] for one in state["generations"]}
    scene.seen.told.append(str(kept))
    good = [number for number, status in kept.items() if status == "good"]
    scene.seen.must(len(good) == 2 and scene.live() in good, f"kept are {kept}")
    scene.seen.must(list(kept.values()).count("bad") == 1, f"kept are {kept}")
    units = scene.sh(f"ls /etc/systemd/system | grep -c '^{APP}.*@'").strip()
    scene.seen.must(units == str(4 * len(kept)), f"{units} unit links for {len(kept)} generations")
    scene.clean()


def ledger_torn(scene: Scene) -> None:
    """The last line of the ledger is torn, as a power cut can leave it."""
    scene.sh(f'printf \'{{"time":"2026-01-01T00:00:00.000Z","event":"prom\' >> {STATE}/ledger.jsonl')
    before = scene.sh(f"headcount history {APP} -n 3")
    scene.seen.must(before.strip(), "the history cannot be read")
    next_run(scene)


HAND = [
    Row(
        "hand/unit-edited",
        "a line is added to the live unit file",
        "seen as drift; gone with the next run",
        edited(f"{HOME}/generations/{{live}}/{APP}@{{live}}.service"),
        quick=True,
    ),
    Row(
        "hand/unit-overridden",
        "a drop-in overrides the live unit",
        "seen as drift; gone with the next run",
        edited(
            f"/etc/systemd/system/{APP}@{{live}}.service.d/over.conf",
            "mkdir -p /etc/systemd/system/shop@{live}.service.d; "
            "printf '[Service]\\nNice=5\\n' > /etc/systemd/system/shop@{live}.service.d/over.conf; "
            "systemctl daemon-reload",
        ),
    ),
    Row(
        "hand/public-socket-unlinked",
        "the link of the public socket's unit is removed",
        "seen as drift; put back by the next run",
        edited(f"/etc/systemd/system/{APP}.socket", "rm {path}"),
    ),
    Row(
        "hand/public-socket-stopped",
        "the public socket's unit is stopped",
        "the instance serves on; the next run opens the socket again, with a gap",
        socket_stopped,
    ),
    Row(
        "hand/release-edited",
        "a line is added to the app's own code in the live release",
        "seen as drift; the next run restores the file",
        edited(f"{HOME}/generations/{{live}}/release/venv/lib/python3*/site-packages/shop/work.py"),
        quick=True,
    ),
    Row(
        "hand/release-file-removed",
        "a file of the live release is removed",
        "seen as drift; the next run restores it",
        edited(f"{HOME}/generations/{{live}}/release/venv/lib/python3*/site-packages/flask/views.py", "rm {path}"),
    ),
    Row(
        "hand/opened",
        "the app's folder and the wheel store are made readable by everyone",
        "seen as drift; the next run closes them, and the app serves on",
        opened,
        quick=True,
    ),
    Row(
        "hand/rollback-to-edited",
        "the generation to go back to was edited",
        "it is not gone back to",
        rollback_to_edited,
    ),
    Row(
        "hand/rollback-to-sick",
        "the generation to go back to does not come up",
        "it is not kept; nothing flaps",
        rollback_sick("SHOP_FAULTS=crash_import"),
        quick=True,
    ),
    Row(
        "hand/rollback-to-dead",
        "the Python of the generation to go back to dies at once",
        "it is not kept; the live one, which has the same socket, serves on",
        rollback_sick("PYTHONHOME=/nowhere"),
    ),
    Row(
        "hand/rollback-to-nothing",
        "a generation and an app that are not there",
        "the list of what is there",
        rollback_nowhere,
    ),
    Row(
        "hand/rollback-on-its-own",
        "no wheels, no controller",
        "the host goes back by itself",
        rollback_offline,
        quick=True,
    ),
    Row(
        "hand/rollback-on-a-full-disk",
        "the disk is full when somebody goes back",
        "it goes back, and the ledger has it",
        rollback_full_disk,
    ),
    Row("hand/prune", "four more deployments with retain.good = 2", "only what is promised is kept", pruned),
    Row(
        "hand/ledger-torn", "the ledger's last line is torn", "no other line is lost; the next run goes on", ledger_torn
    ),
]


# -- killed and cut at every step -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A place within a step. `new`: whether the new generation is live when it is struck there."""

    name: str
    words: str
    ops: tuple[str, ...]
    at: Mapping[str, Any]
    new: bool = False
    variant: bool = False
    quick: bool = False
    faults: str = ""
    changes: tuple[tuple[str, Any], ...] = ()


SHORT = ("stage", "finish", "promote")
WHOLE = ("stage", "weigh", "trial", "promote")
PLACES = [
    Place(
        "stage-release-building",
        "while the wheels are installed",
        SHORT,
        {"target": "_release.releases._run", "match": "installing"},
        variant=True,
        quick=True,
    ),
    Place(
        "stage-release-finishing",
        "before the release is finished",
        SHORT,
        {"target": "_release.releases.sync_tree"},
        variant=True,
    ),
    Place(
        "stage-generation-begun",
        "when the generation's directory was made",
        SHORT,
        {"target": "_generation.generations.begin", "when": "after"},
    ),
    Place(
        "stage-files-laid",
        "when its files were laid down",
        SHORT,
        {"target": "_generation.generations.write", "when": "after"},
    ),
    Place(
        "stage-units-linked",
        "when its units were linked",
        SHORT,
        {"target": "_generation.generations.link_units", "when": "after", "nth": 2},
    ),
    Place(
        "weigh-booting",
        "while the candidate boots for the weigh",
        WHOLE,
        {"target": "_generation.instances.Instances.wait_ready"},
    ),
    Place(
        "weigh-under-way",
        "while the candidate is weighed",
        WHOLE,
        {"target": "_steps.app.weigh", "then": {"later": 2.0}},
    ),
    Place(
        "weigh-finishing",
        "between the manifest and the end of the marker",
        WHOLE,
        {"target": "_generation.generations.remove_file", "match": "unfinished"},
    ),
    Place(
        "trial-booting",
        "while the candidate boots for the trial",
        WHOLE,
        {"target": "_generation.instances.Instances.wait_ready", "nth": 2},
    ),
    Place(
        "trial-under-load",
        "while both are under load",
        WHOLE,
        {"target": "_steps.app.try_candidate", "then": {"later": 3.0}},
        quick=True,
    ),
    Place(
        "trial-judged",
        "when the evidence was written",
        WHOLE,
        {"target": "_steps.app.write_json", "match": "evidence", "when": "after"},
    ),
    Place(
        "abandon",
        "while a refused candidate is put away",
        WHOLE,
        {"target": "_steps.app.AppOnHost._abandon"},
        faults="crash_import",
    ),
    Place(
        "promote-joining",
        "while the new one boots on the public socket",
        SHORT,
        {"target": "_generation.instances.Instances.wait_ready", "match": r"shop@\d+\.service"},
    ),
    Place(
        "promote-verifying",
        "while both serve and the new one is verified",
        SHORT,
        {"target": "_generation.instances.Instances.verify", "then": {"later": 1.0}},
    ),
    Place(
        "promote-before-rename",
        "right before the rename",
        SHORT,
        {"target": "_generation.generations.activate"},
        quick=True,
    ),
    Place(
        "promote-after-rename",
        "right after the rename",
        SHORT,
        {"target": "_generation.generations.activate", "when": "after"},
        new=True,
        quick=True,
    ),
    Place(
        "promote-draining",
        "while the old one drains",
        SHORT,
        {"target": "_generation.instances.Instances.leave", "then": {"later": 0.3}},
        new=True,
    ),
    Place(
        "promote-drained",
        "when the old one has ended",
        SHORT,
        {"target": "_generation.instances.Instances.leave", "when": "after"},
        new=True,
    ),
    Place(
        "promote-logged",
        "when the ledger was written",
        SHORT,
        {"target": "_steps.app.AppOnHost.log", "match": "promoted", "when": "after"},
        new=True,
    ),
    Place(
        "prune",
        "while an old generation is removed",
        SHORT,
        {"target": "_generation.generations.shutil.rmtree", "match": r"generations/\d+"},
        new=True,
        changes=(("retain", {"good": 2}),),
    ),
    Place(
        "rollback-before-rename",
        "right before the rename of a rollback",
        ("rollback",),
        {"target": "_generation.generations.activate"},
    ),
    Place(
        "rollback-after-rename",
        "right after the rename of a rollback",
        ("rollback",),
        {"target": "_generation.generations.activate", "when": "after"},
        new=True,
    ),
]


def _ops(scene: Scene, place: Place) -> list[Any]:
    if place.ops == ("rollback",):
        return ["rollback"]
    changes = dict(place.changes)
    if place.variant:
        changes["source"] = scene.variant()
    if place.name == "prune":
        # More generations than are kept, so that there is something to remove.
        scene.deploy()
        scene.deploy()
    request = scene.request(place.faults, **changes)
    return [("stage", request), *place.ops[1:]]


def _struck(place: Place, then: Mapping[str, Any]) -> dict[str, Any]:
    return {"when": "before", **place.at, "then": {**place.at.get("then", {}), **then}}


def _aftermath(scene: Scene, place: Place, before: int | None, number: int | None) -> None:
    """One whole generation is live and answers: the old one before the rename, the new one after it."""
    live = scene.live()
    if place.new:
        scene.seen.must(live not in (before, None), f"live is {live}: the rename had been done")
    else:
        scene.seen.must(live == before, f"live is {live}, not {before}")
    state = scene.engine.status(APP)
    scene.seen.must(state.get("healthy"), f"at once the live generation is not healthy: {state.get('health_detail')}")
    scene.seen.must(state.get("intact"), f"at once it is not intact: {state.get('problems')}")
    scene.seen.told.append("left: " + ("; ".join(state.get("leftovers", [])) or "nothing"))


def killed(place: Place) -> Callable[[Scene], None]:
    """SIGKILL to the module at the place; the next run heals."""

    def work(scene: Scene) -> None:
        ops = _ops(scene, place)
        before = scene.live()
        done = scene.engine.steps(APP, *ops, at=_struck(place, {"kill": True}))
        scene.seen.must(done[-1].get("killed"), f"it was not killed there: {done[-1]}")
        number = next((one["number"] for one in done if one.get("number")), None)
        _aftermath(scene, place, before, number)
        next_run(scene)
        if place.new:
            live_once = [
                entry for entry in scene.engine.ledger(APP) if entry.get("event") in ("promoted", "rolled_back")
            ]
            scene.seen.must(
                len(live_once) > 1 and live_once[-1].get("from") == live_once[-2].get("to"),
                "the ledger's chain of from and to is broken",
            )

    return work


def powered(place: Place) -> Callable[[Scene], None]:
    """A power cut at the place; after boot one whole generation serves, and the next run heals."""

    def work(scene: Scene) -> None:
        ops = _ops(scene, place)
        before = scene.live()
        with scene.engine.begin(APP, *ops, at=_struck(place, {"hold": True})) as process:
            scene.seen.must(process.wait_held(120.0), f"the place was not reached: {process.lines}")
            cut = time.time()
            scene.seen.window = [cut - 0.1, time.time() + 120.0]
            scene.power()
            back = scene.wait_served()
            scene.seen.window = [cut - 0.1, time.time()]
        scene.seen.must(back is not None, "after the boot nothing answers")
        scene.seen.told.append(f"answers {time.time() - cut:.1f} s after the cut")
        _aftermath(scene, place, before, None)
        next_run(scene)

    return work


KILLS = [
    Row(
        f"kill/{place.name}",
        f"SIGKILL {place.words}",
        ("the new one" if place.new else "the old one") + " serves on; the next run heals the rest",
        killed(place),
        place.quick,
    )
    for place in PLACES
]
POWER_PLACES = (
    "stage-release-building",
    "stage-files-laid",
    "weigh-under-way",
    "weigh-finishing",
    "trial-under-load",
    "promote-joining",
    "promote-verifying",
    "promote-before-rename",
    "promote-after-rename",
    "promote-draining",
    "promote-drained",
    "prune",
    "rollback-after-rename",
)
POWERS = [
    Row(
        f"power/{place.name}",
        f"power cut {place.words}",
        ("the new one" if place.new else "the old one") + " serves after the boot; the next run heals the rest",
        powered(place),
        place.name == "promote-after-rename",
    )
    for place in PLACES
    if place.name in POWER_PLACES
]


# -- the controller ---------------------------------------------------------------------------------------------------


def two_controllers(scene: Scene) -> None:
    """A second run while the first is on trial, between two steps, and after it has died."""
    before = scene.live()
    first = _engine.this_run()
    with scene.engine.begin(
        APP,
        ("stage", scene.request()),
        "weigh",
        "trial",
        run=first,
        at={"target": "_steps.app.try_candidate", "then": {"hold": True}},
    ) as process:
        scene.seen.must(process.wait_held(60.0), f"the trial was not reached: {process.lines}")
        during = scene.engine.steps(APP, ("stage", scene.request()), "finish", "promote")[-1]
        said = str(during.get("failed"))
        scene.seen.told.append(said[:200])
        scene.seen.must(during.get("busy") and first["id"] in said and "since" in said, f"it said {said}")
        scene.sh(f"kill -KILL $(cut -d' ' -f1 {STATE}/lock)")
    between = scene.engine.steps(APP, ("stage", scene.request()), "finish", "promote")[-1]
    said = str(between.get("failed"))
    scene.seen.told.append(said[:200])
    scene.seen.must(between.get("busy") and first["id"] in said, f"between two steps it said {said}")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    next_run(scene)


def playbook(scene: Scene, declared: Mapping[str, Any], *options: str) -> subprocess.Popen[str]:
    """Start the collection's own site.yml for the scene's host, as a person would."""
    folder = paths.WORK / "bench" / "faults" / f"controller-{scene.host}"
    folder.mkdir(parents=True, exist_ok=True)
    variables = folder / "apps.json"
    variables.write_text(json.dumps({"headcount_apps": [declared]}), encoding="utf-8")
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        str(scene.lab.inventory),
        "site.yml",
        "--limit",
        scene.host,
        "-e",
        f"@{variables}",
        "-e",
        f"headcount_work_dir={folder / 'work'}",
        *options,
    ]
    return subprocess.Popen(
        command,
        cwd=paths.ROOT,
        env=_engine.environ(),
        stdin=subprocess.DEVNULL,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def by_playbook(scene: Scene) -> dict[str, Any]:
    """The app for a rollout by playbook: a short trial."""
    return scene.declared(
        load={"paths": ["/wait?ms=20"], "rate": 60, "seconds": 5},
        limits={"p95_ms": 400, "error_rate": 0.05, "memory_percent": 80},
    )


def at_work(scene: Scene) -> str:
    """What the lock file says of the process that holds it; empty when that has ended. The lock itself is let be."""
    return scene.sh(f"read pid rest < {STATE}/lock && kill -0 $pid 2>/dev/null && echo $rest")


def wait_step(scene: Scene, step: str, process: subprocess.Popen[str], seconds: float = 120.0) -> bool:
    """Wait until the host is within `step`, by the word of its lock file, which a process holds."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds and process.poll() is None:
        if f"({step})" in at_work(scene):
            return True
        time.sleep(0.1)
    return False


def kill_tree(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a process that this bench started, and to all that it started itself."""
    pids, todo = [], [process.pid]
    while todo:
        pid = todo.pop()
        pids.append(pid)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += [int(word) for word in (task / "children").read_text(encoding="ascii").split()]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def settled(scene: Scene, seconds: float = 90.0) -> None:
    """Wait until no module works on the host any more."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds and at_work(scene):
        time.sleep(0.3)


def next_playbook(scene: Scene, declared: Mapping[str, Any]) -> None:
    """The same rollout again ends well, with the host clean and on the declared release."""
    process = playbook(scene, declared)
    out = process.communicate(timeout=240)[0]
    scene.seen.must(process.returncode == 0, f"the next rollout failed: {out[-600:]}")
    answering = scene.answering()
    scene.seen.must(answering == scene.release, f"after the next rollout {answering} answers, not {scene.release}")
    scene.clean()


def controller_killed(step: str) -> Callable[[Scene], None]:
    """SIGKILL to ansible-playbook and all its processes while the host is within `step`."""

    def work(scene: Scene) -> None:
        before, declared = scene.live(), by_playbook(scene)
        process = playbook(scene, declared)
        scene.seen.must(wait_step(scene, step, process), f"the rollout did not come to {step}")
        kill_tree(process)
        settled(scene)
        _after_cut(scene, step, before)
        next_playbook(scene, declared)

    return work


def ssh_cut(step: str) -> Callable[[Scene], None]:
    """The host's end of the SSH connection is killed while the host is within `step`."""

    def work(scene: Scene) -> None:
        before, declared = scene.live(), by_playbook(scene)
        process = playbook(scene, declared)
        scene.seen.must(wait_step(scene, step, process), f"the rollout did not come to {step}")
        scene.sh("kill -KILL $(pgrep -f '^sshd[^ ]*: ansible')")
        out = process.communicate(timeout=240)[0]
        scene.seen.must(process.returncode != 0, "the rollout ended well all the same")
        scene.seen.told.append(" ".join(re.findall(r"(?m)^.*1 host: .*$", out))[:200])
        settled(scene)
        _after_cut(scene, step, before)
        next_playbook(scene, declared)

    return work


def _after_cut(scene: Scene, step: str, before: int | None) -> None:
    state = scene.engine.status(APP)
    scene.seen.must(state.get("healthy"), f"at once the live generation is not healthy: {state.get('health_detail')}")
    scene.seen.must(state.get("intact"), f"at once it is not intact: {state.get('problems')}")
    scene.seen.told.append("left: " + ("; ".join(state.get("leftovers", [])) or "nothing"))
    if step != "promote":
        scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")


def network_away(scene: Scene) -> None:
    """The cable is pulled for eight seconds during the trial; users of the host itself are served all along."""
    declared = by_playbook(scene)
    process = playbook(scene, declared)
    with scene.engine.users(["127.0.0.1", 8000], ARMS, inside=True) as inside:
        scene.seen.must(wait_step(scene, "trial", process), "the rollout did not come to the trial")
        cut = time.time()
        scene.seen.window = [cut - 0.1, cut + 60.0]
        labs.net(scene.lab.name, scene.host, "cut")
        time.sleep(8.0)  # this is the outage
        labs.net(scene.lab.name, scene.host, "restore")
        out = process.communicate(timeout=240)[0]
        # The users outside need their retransmissions after the cable is back.
        scene.seen.window = [cut - 0.1, time.time()]
    scene.seen.must(process.returncode == 0, f"the rollout failed: {out[-500:]}")
    bad = _engine.failures(inside.rows)
    scene.seen.told.append(f"{len(inside.rows)} requests on the host itself, {len(bad)} not served")
    scene.seen.must(not bad, f"on the host itself {len(bad)} were not served: {bad[:3]}")
    scene.clean()


def two_playbooks(scene: Scene) -> None:
    """A second controller rolls out while the first one's trial is under way."""
    declared = by_playbook(scene)
    first = playbook(scene, declared)
    scene.seen.must(wait_step(scene, "trial", first), "the first rollout did not come to the trial")
    release = scene.release
    second = playbook(scene, by_playbook(scene))
    out = second.communicate(timeout=240)[0]
    scene.seen.must(second.returncode != 0, "the second rollout was not refused")
    found = re.search(r"(held|being changed)[^:]* by .*? since \S+", " ".join(out.split()))
    said = found[0] if found else ""
    scene.seen.told.append(said[:220] or out[-300:])
    scene.seen.must("run " in said, f"the second one said {said or out[-400:]}")
    out = first.communicate(timeout=240)[0]
    scene.seen.must(first.returncode == 0, f"the first rollout failed: {out[-500:]}")
    scene.seen.must(scene.answering() == release, f"{scene.answering()} answers, not the first one's {release}")
    scene.clean()


STEPS = ("stage", "weigh", "trial", "promote")
CONTROLLERS = [
    *(
        Row(
            f"controller/killed-at-{step}",
            f"SIGKILL to ansible-playbook during {step}",
            "the host ends its step; one whole generation serves; the next rollout puts right the rest",
            controller_killed(step),
        )
        for step in STEPS
    ),
    *(
        Row(
            f"controller/ssh-cut-at-{step}",
            f"the SSH connection is killed during {step}",
            "the host ends its step; one whole generation serves; the next rollout puts right the rest",
            ssh_cut(step),
        )
        for step in STEPS
    ),
    Row(
        "controller/network-away",
        "the cable is pulled for 8 s during the trial",
        "the rollout waits and goes on",
        network_away,
    ),
    Row(
        "controller/two-rollouts",
        "a second site.yml starts during the first one's trial",
        "it refuses, naming who holds the lock since when; the first one is promoted",
        two_playbooks,
    ),
    Row(
        "controller/two-at-once",
        "a second run starts during the first one's trial, and after its module was killed",
        "refused, naming who holds the lock since when; once its end is known, taken over",
        two_controllers,
        quick=True,
    ),
]


# -- what somebody else has on the host -------------------------------------------------------------------------------


def refused_play(scene: Scene, declared: Mapping[str, Any]) -> str:
    """What site.yml says of an app that cannot come to the host, with --check and without: the same."""
    said = []
    for options in (["--check"], []):
        process = playbook(scene, declared, *options)
        said.append(process.communicate(timeout=120)[0])
        scene.seen.must(process.returncode != 0, f"the rollout {' '.join(options)} was not refused: {said[-1][-300:]}")
    causes = [re.findall(r"(?m)^\S+: " + declared["name"] + ": .*$", text) for text in said]
    scene.seen.must(causes[0] == causes[1], f"--check said {causes[0]}, the rollout {causes[1]}")
    return said[-1]


FOREIGN = [
    Row(
        f"foreign/{name}",
        words,
        "refused by the plan, --check and stage, which name it; theirs runs on in the same process, byte by byte",
        _foreign.work(shape, refused_play),
        name == "socket-file",
    )
    for name, (words, shape) in _foreign.SHAPES.items()
]

ROWS: list[Row] = [*RELEASES, *HOSTS, *HAND, *KILLS, *POWERS, *CONTROLLERS, *FOREIGN]
