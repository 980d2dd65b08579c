# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Hosts that are bad."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable

from .. import _engine
from .._scene import APP, Scene
from .hand import next_run
from .row import HOME, STATE, Row, refused


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
            at={"target": "_generation.store.activate", "when": "after", "then": {"shell": fill}},
        )
        number = done[-1].get("number")
        scene.seen.must("failed" not in done[-1], f"the promote failed: {done[-1].get('failed')}")
        scene.seen.must(scene.live() == number, f"live is {scene.live()}, not {number}")
        told = [entry for entry in scene.engine.ledger(APP) if entry["event"] == "promoted"][-1:]
        scene.seen.must(told and told[0].get("to") == number, f"the ledger does not have the promote: {told}")
    next_run(scene)


def no_room_to_count(scene: Scene) -> None:
    """/run is full while the new generation starts: its recorder gets no room, and says so."""
    done = scene.engine.steps(APP, ("stage", scene.request()), "finish", gone=scene.gone())
    number, run = done[-1]["number"], scene.engine.ledger(APP)[-1]["run"]
    told = f"journalctl --boot --unit {APP}@{number}.service | grep -q 'recorder does not count'"
    fill = (
        "mount -o remount,size=$(($(df -k --output=used /run | tail -1) + 4))k /run; "
        "head -c 1M /dev/zero > /run/filler; "
        f'(timeout 60 sh -c "until {told}; do sleep 0.2; done"; rm /run/filler; mount -o remount,size=50% /run) '
        "> /dev/null 2>&1 &"
    )
    at = {"target": "_generation.instances.Instances.join", "then": {"shell": fill}}
    done = scene.engine.steps(APP, "promote", number=number, run=_engine.this_run(run), at=at)
    scene.seen.must("failed" not in done[-1], f"the promote failed: {done[-1].get('failed')}")
    scene.seen.must(scene.live() == number, f"live is {scene.live()}, not {number}")
    said = scene.sh(f"headcount status {APP} | grep 'not counted'").strip()
    scene.seen.told.append(said)
    scene.seen.must("recorder could not begin" in said, f"of the recorder the status says: {said or 'nothing'}")
    shown = scene.sh(said.split("`")[1]).strip() if "`" in said else ""
    scene.seen.must("No space left on device" in shown, f"what it names shows: {shown or 'nothing'}")
    next_run(scene)
    said = scene.sh(f"headcount status {APP} | grep 'not counted'").strip()
    scene.seen.must(not said, f"the next generation has room, and the status says: {said}")


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
        at={"target": "_generation.store.activate", "then": {"shell": mount}},
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
            at={"target": "_steps.stage.install", "then": {"shell": command}},
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
        at={"target": "_steps.trial.try_candidate", "then": {"shell": f"(sleep 3; {kill}) &"}},
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


SILENT = 80
"""Clients that connect and say nothing: more than the app has slots."""


def few_processes(scene: Scene) -> None:
    """Forty processes and threads may still be begun, and a generation under load takes more: as a candidate it would
    take them from the live one, on the public socket it would drop requests that it has accepted."""
    before = scene.live()
    number = scene.engine.steps(APP, ("stage", scene.request()), "finish", gone=scene.gone())[-1].get("number")
    with scene.generators_kept(), scene.roomy_systemd(), scene.few_tasks(40):
        done = scene.engine.steps(APP, "promote", number=number, gone=scene.gone())
        refused(scene, done, f"no room for generation {number}.*pids.max", "promote", bad_kept=False)
        done = scene.whole()
        refused(scene, done, "no room for generation.*pids.max", "start")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    next_run(scene)


def few_for_generators(scene: Scene) -> None:
    """systemd would have a sixth of some thirty processes for itself once it reads its unit files: too few to begin its
    generators by, so that the units that they made would be gone. Nothing is changed, nor written."""
    before = scene.live()
    staged = scene.engine.steps(APP, ("stage", scene.request()), "finish", gone=scene.gone())[-1].get("number")
    with scene.generators_kept(), scene.few_tasks(20):
        why = "no room for systemd to read its unit files again.*init.scope/pids.max"
        done = scene.engine.steps(APP, "promote", number=staged, gone=scene.gone())
        refused(scene, done, why, "promote", bad_kept=False)
        there = scene.sh(f"ls {HOME}/generations")
        refused(scene, scene.whole(), why, "stage", bad_kept=False)
        scene.seen.must(scene.sh(f"ls {HOME}/generations") == there, "a generation came or went")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    next_run(scene)


def silent_clients(scene: Scene) -> None:
    """More clients than there are slots connect, send nothing and leave: whoever comes after them is served."""
    host, port = scene.address
    begin = time.time()
    with contextlib.ExitStack() as clients:
        for _ in range(SILENT):
            clients.enter_context(socket.create_connection((host, port), timeout=10))
        # As many as it will ever look at: from here on a worker that waits for them all serves nobody.
        scene.sh(f"curl -s -m 3 http://127.0.0.1:{port}/version")
    back = scene.wait_served()
    scene.seen.window = [begin, time.time()]
    scene.seen.must(back is not None, f"{SILENT} clients have left, and nobody is served")
    scene.clean()


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
        "host/no-room-to-count",
        "/run is full while the new generation starts, so that its recorder gets no room",
        "it serves and is made live uncounted, which the status says; no request is lost",
        no_room_to_count,
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
        "host/few-processes",
        "the host can begin forty more processes or threads, and a generation takes more",
        "neither tried beside the live one nor promoted, with the count and the limit; nobody loses a request",
        few_processes,
    ),
    Row(
        "host/few-for-generators",
        "the host can begin twenty more processes or threads, of which systemd would have too few for its generators",
        "neither staged nor promoted, with the count, the limit and the fix; what generators made is as it was",
        few_for_generators,
    ),
    Row(
        "host/silent-clients",
        f"{SILENT} clients connect, send nothing and leave, more than the app has slots",
        "who comes after them is served",
        silent_clients,
    ),
    Row(
        "host/slow-clients",
        "a dozen clients a second pause within their request during two switches",
        "each is answered",
        slow_clients,
        quick=True,
    ),
]
