# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Releases that are bad."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from .._scene import APP, Scene
from .row import HOME, STATE, Row, refused


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
SOON_READY = {"path": "/healthz", "contains": "ok", "boot_seconds": 5}
LOAD_20S: dict[str, Any] = {"load": {"paths": ["/wait?ms=20"], "rate": 40, "seconds": 10}}


def tells_its_secret(scene: Scene) -> None:
    """A release dies with a secret in its last words: the value is kept and told nowhere."""
    before, answering = scene.live(), scene.answering()
    done = scene.whole(secrets={"SHOP_FAULTS": "crash_import"})
    refused(scene, done, r"SHOP_FAULTS=\*\*\*", "start|weigh")
    kept = scene.sh(
        f"tail -n 2 {STATE}/ledger.jsonl | grep crash_import; headcount history -n 2 | grep crash_import; "
        f"grep -l crash_import {HOME}/generations/{done[-1].get('number')}/*.json"
    )
    scene.seen.must(not kept.strip(), f"the secret is in {kept[:200]}")
    scene.seen.must("crash_import" not in str(done[-1]), "the secret is in the step's result")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    scene.seen.must(scene.answering() == answering, f"{scene.answering()} answers, not {answering}")


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


def asked_as_users_do(scene: Scene) -> None:
    """It answers only what has its own name, came over https by a proxy's word, and from an address. The bench's own
    users send none of these, so it is not promoted."""
    sent = {"Host": "shop.example.com", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    request = scene.request(
        "proxied",
        health={"path": "/healthz", "boot_seconds": 20, "headers": sent},
        load={"paths": [{"path": "/wait?ms=20", "headers": sent}], "rate": 40, "seconds": 6},
    )
    done = scene.engine.steps(APP, ("stage", request), "weigh", "trial", "heal", gone=scene.gone())
    said = str(next((step["failed"] for step in done if "failed" in step), "it may be promoted"))
    scene.seen.told.append(said[:200])
    scene.seen.must("answered 400" not in said, f"it was not asked as users ask: {said}")
    scene.clean()


FOR_ITS_WORKERS = r"died|restarted|workers (?!of the candidate were replaced meanwhile, as max_requests says)"
"""What a trial says of workers that it takes for dead. Which ones were recycled it says of a latency that failed."""


def recycled(scene: Scene) -> None:
    """A candidate whose workers are recycled by setting; a busy machine may still make its latencies fail."""
    done = scene.whole(settings={"workers": 4, "max_requests": 150, "max_requests_jitter": 0}, worker_class="sync")
    said = str(done[-1].get("failed", "promoted"))
    scene.seen.told.append(said[:200])
    scene.seen.must(not re.search(FOR_ITS_WORKERS, said), f"it was refused for its workers: {said}")
    scene.clean()


def recycled_in_silence(scene: Scene) -> None:
    """Its logging silences Gunicorn's, so that no log says of any worker that it was recycled."""
    done = scene.whole("silent", settings={"workers": 4, "max_requests": 150, "max_requests_jitter": 0},
                       worker_class="sync")  # fmt: skip
    said = str(done[-1].get("failed", "promoted"))
    scene.seen.told.append(said[:200])
    scene.seen.must(not re.search(FOR_ITS_WORKERS, said), f"it was refused for its workers: {said}")
    scene.clean()


REEXEC = "bench-reexec"


def reexecuted(scene: Scene) -> None:
    """systemd executes itself anew every other second while a release is weighed, tried and promoted."""
    again = "for i in $(seq 15); do sleep 2; systemctl daemon-reexec; done"
    scene.sh(f"systemd-run --quiet --unit={REEXEC} sh -c '{again}'")
    try:
        done = scene.whole(**LOAD_20S)
    finally:
        scene.sh(f"systemctl stop {REEXEC}.service")  # or it would go on in the row that comes next
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
        "told with how they end, long before the start's time is over; what is live serves on",
        candidate("crash_fork", "does not start: .* of its workers died .*exited at once with status 70", "start"),
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
            health=SOON_READY,
        ),
        quick=True,
    ),
    Row(
        "release/wrong-health-status",
        "health answers 500",
        KEPT,
        candidate(
            "wrong_health",
            r'answered 500 \(application/json "\{"status":"error"\}"\), expected 200',
            "start",
            health=SOON_READY,
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
            health=SOON_READY,
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
            load={"paths": ["/wait?ms=20"], "rate": 40, "seconds": 15},
        ),
    ),
    Row(
        "release/errors-100-percent",
        "every request answers 500",
        KEPT,
        candidate("errors:1", "500|answered|error|fail", "weigh|trial"),
    ),
    Row(
        "release/not-asked-by-its-name",
        "it refuses every request that is not for its own name, and no `host` is declared",
        "told which name it was asked by, and what to declare; what is live serves on",
        candidate("proxied", "answered 400.*asked for as localhost: .*declare `host`", "start", health=SOON_READY),
    ),
    Row(
        "release/asked-as-users-do",
        "it refuses what is not for its own name, over https and from an address; host and scheme are declared",
        "started, weighed and tried as users ask it",
        asked_as_users_do,
    ),
    Row(
        "release/lacks-what-it-must-contain",
        "a path of its load answers 200 with another page than load.paths[].contains says",
        "refused before a load; what is live serves on",
        candidate(
            "",
            r"GET / answered 200 \(.*\), but its body does not contain 'a page of another app'",
            "weigh|trial",
            load={"paths": [{"path": "/", "contains": "a page of another app"}], "rate": 40, "seconds": 6},
        ),
    ),
    Row(
        "release/raises",
        "half of the requests raise an exception",
        "the cause has its last line and place, and the answer's first line; what is live serves on",
        candidate(
            "errors:0.5,raises",
            r'answered 500 \(text/html "500 Internal Server Error"\).*its log says: shop\.faults\.InjectedError: '
            r"SHOP_FAULTS=raises: this request finds no price \(shop/faults\.py:\d+\)",
            "weigh|trial",
        ),
    ),
    Row(
        "release/raises-in-health",
        "health raises an exception",
        "the cause has its last line; what is live serves on",
        candidate(
            "raises,wrong_health",
            r"never became ready.*answered 500 .*its log says: shop\.faults\.InjectedError: .*no price",
            "start",
            health=SOON_READY,
        ),
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
        "release/tells-its-secret",
        "its exception has one of its secrets in its text",
        "the value is in no ledger, outcome, evidence, history or result",
        tells_its_secret,
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
