# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Hosts with a past, and with neighbours."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from headcount_scripts import labs

from .. import _engine
from .._scene import APP, Scene
from .hand import next_run
from .row import HOME, STATE, Row

ROLLOUTS = 6
COUNTED = {
    "generations": f"ls {HOME}/generations",
    "releases": f"ls {HOME}/releases",
    "wheels": "ls /var/lib/headcount/wheels",
    "accounts": "getent passwd | grep hc-",
    "unit files": f"ls -A /etc/systemd/system | grep '^{APP}'",
    "units": f"systemctl list-units --all --no-legend --plain '{APP}@*' '{APP}-trial@*'",
    "below /run": f"find /run/headcount /run/headcount-instances /run/systemd/system -name '*{APP}*' -o -name '*.sock'",
    "state": f"ls -A {STATE}",
    "in /tmp": "ls -A /tmp /var/tmp",
}
"""What a rollout leaves, by its name, and the command that lists it, one thing a line."""


def counted(scene: Scene) -> dict[str, int]:
    """How many there are of each."""
    return {name: len(scene.sh(f"{command} 2>/dev/null").split("\n")) - 1 for name, command in COUNTED.items()}


def grown(scene: Scene) -> None:
    """Rollouts of one release after another, until as many are kept as are to be, and then as many again."""
    sizes = []
    for _ in range(ROLLOUTS):
        done = scene.deploy(source=scene.variant(), retain={"good": 2})
        scene.seen.must("failed" not in done[-1], f"a deployment failed: {done[-1].get('failed')}")
        sizes.append((counted(scene), int(scene.sh(f"stat -c %s {STATE}/ledger.jsonl"))))
    (middle, before), (last, after) = sizes[ROLLOUTS // 2 - 1], sizes[-1]
    each = (after - before) / (ROLLOUTS - ROLLOUTS // 2)
    scene.seen.told.append(f"{each:.0f} bytes of ledger a rollout, nothing else: {last}")
    for name, count in last.items():
        scene.seen.must(count <= middle[name], f"{name} grew from {middle[name]} to {count}")
    scene.clean()


NEIGHBOUR = "bench-database"
CALM: dict[str, Any] = {
    "load": {"paths": ["/wait?ms=20"], "rate": 24, "seconds": 6},
    "limits": {"p95_ms": 1000, "error_rate": 0.02, "memory_percent": 80},
}
"""What memory is tried with: how soon it is answered is not the point."""
SMALL_MIB, BESIDE_MIB = 512, 300
"""The memory of a small host, and what a service beside an app has of it."""
LARGE_MIB = 90
"""A worker that is declared to need so much does not fit beside that."""


@contextlib.contextmanager
def neighbour(scene: Scene, held_mib: int) -> Iterator[None]:
    """A service of somebody else's has written to so much memory, and keeps it."""
    program = f"import time; held = bytearray(b'x') * ({held_mib} * 2**20); print('held', flush=True); time.sleep(900)"
    scene.sh(f'systemd-run --quiet --unit={NEIGHBOUR} python3 -c "{program}"')
    try:
        begin = time.monotonic()
        since = f"journalctl -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {NEIGHBOUR})"
        while time.monotonic() - begin < 60 and "held" not in scene.sh(since).split("\n"):
            scene.sh("true")
        yield
    finally:
        scene.sh(f"systemctl stop {NEIGHBOUR}; systemctl reset-failed {NEIGHBOUR}")


def oom_kills(scene: Scene) -> int:
    """So many times the kernel has killed for memory on this host, by the log of the machine that has the lab: the
    count of a control group goes with it, and a host has no log of the kernel."""
    log = subprocess.run(["dmesg"], capture_output=True, text=True, errors="replace", check=True).stdout
    host = scene.lab.ident(scene.host)
    return sum("oom-kill:" in line and host in line for line in log.splitlines())


def planned_beside(scene: Scene, held_mib: int) -> None:
    """A generation is planned for what the neighbour leaves, weighed, tried and promoted, and nothing is killed."""
    before, killed = scene.engine.facts, oom_kills(scene)
    try:
        scene.engine.push()
        memory = scene.engine.facts["memory"]
        total = int(memory["effective_mib"])
        request = scene.request(**CALM)
        told = " ".join(request["plan"]["warnings"])
        scene.seen.must(f"{NEIGHBOUR}.service" in told, f"the plan does not name it: {told or memory}")
        done = scene.engine.steps(APP, ("stage", request), "weigh", "trial", "promote", gone=scene.gone())
    finally:
        scene.engine.facts = before
    scene.seen.must("failed" not in done[-1], f"the rollout failed: {done[-1].get('failed')}")
    planned = scene.engine.status(APP)
    limit = int(scene.sh(f"systemctl show --property MemoryMax --value {APP}@{scene.live()}.service")) // 2**20
    scene.seen.told.append(f"{memory['others_mib']} of {total} MiB are others': MemoryMax {limit} MiB")
    scene.seen.must(2 * limit <= total - held_mib, f"two generations of {limit} MiB do not fit beside it: {planned}")
    active = scene.sh(f"systemctl is-active {NEIGHBOUR}").strip()
    scene.seen.must(active == "active", f"it is {active}")
    killed = oom_kills(scene) - killed
    scene.seen.must(not killed, f"the kernel killed {killed} times for memory")


def beside_a_database(scene: Scene) -> None:
    """Something else takes 60 % of the memory; a generation is planned, tried and promoted beside it."""
    held = int(scene.engine.facts["memory"]["effective_mib"]) * 6 // 10
    with neighbour(scene, held):
        planned_beside(scene, held)
    scene.clean()


def beside_on_a_small_host(scene: Scene) -> None:
    """The same on a host of 512 MiB; where too little is left, the plan is refused with who has it."""
    name, seen = scene.lab.name, scene.seen
    whole = labs.load(name).host(scene.host).memory_mib
    before, killed = scene.engine.facts, oom_kills(scene)
    labs.resize(name, scene.host, None, SMALL_MIB)
    try:
        with neighbour(scene, BESIDE_MIB):
            planned_beside(scene, BESIDE_MIB)
            scene.engine.push()
            try:
                scene.request(memory={"worker_mib": LARGE_MIB})
                seen.must(False, "too little is left for it, and it was planned")
            except _engine.collection("module_utils._plan.types").PlanError as refusal:
                seen.told.append(str(refusal)[:300])
                for words in (f"{NEIGHBOUR}.service", "Fix:"):
                    seen.must(words in str(refusal), f"the refusal does not say {words}: {refusal}")
            scene.release = scene.answering()
        killed = oom_kills(scene) - killed
        seen.must(not killed, f"the kernel killed {killed} times for memory")
    finally:
        scene.engine.facts = before
        labs.resize(name, scene.host, None, whole)
    scene.clean()


QUOTA = "40%"


def held_back(scene: Scene) -> None:
    """A quota of the slice holds a candidate back while it is weighed: the plan counts it, and the weigh tells it."""
    before = scene.engine.facts
    try:
        scene.engine.sh(f"systemctl set-property --runtime system.slice CPUQuota={QUOTA}", check=True)
        scene.engine.push()
        cores = scene.engine.facts["cores"]["effective"]
        scene.seen.must(cores == 0.4, f"the plan is made for {cores} cores")
        request = scene.request(load={"paths": ["/cpu?ms=20"], "rate": 4, "seconds": 140}, limits={"p95_ms": 2000})
        done = scene.engine.steps(APP, ("stage", request), "weigh", "promote", gone=scene.gone())
        scene.seen.must("failed" not in done[-1], f"the rollout failed: {done[-1].get('failed')}")
        said = [line for step in done for line in step.get("said", [])]
        scene.seen.told += said
        words = "weigh: the CPU quota of cgroup /system.slice held processes back for"
        scene.seen.must(words in " ".join(said), f"the weigh does not tell of it: {said}")
    finally:
        scene.sh("systemctl set-property --runtime system.slice CPUQuota=")
        scene.engine.facts = before
    scene.clean()


def restarted(scene: Scene) -> None:
    """`systemctl restart` of the public socket is refused by systemd while an instance runs, and leaves it closed."""
    begin = time.time()
    scene.sh(f"systemctl restart {APP}.socket")
    state = scene.engine.status(APP)
    scene.seen.told.append(str(state.get("health_detail")))
    scene.seen.must(state.get("healthy") is False, "it was not seen")
    next_run(scene)
    scene.seen.window = [begin, time.time()]
    open_now = scene.sh(f"systemctl is-active {APP}.socket").strip()
    scene.seen.must(open_now == "active", f"the socket is {open_now} after the run")


def restarted_in_promote(scene: Scene) -> None:
    """The same while both generations hold the socket."""
    begin = time.time()
    done = scene.engine.steps(
        APP,
        ("stage", scene.request()),
        "finish",
        "promote",
        gone=scene.gone(),
        at={"target": "_generation.store.activate", "then": {"shell": f"systemctl restart {APP}.socket; true"}},
    )
    scene.seen.window = [begin, time.time()]
    scene.seen.told.append(str(done[-1].get("failed", "promoted"))[:200])
    open_now = scene.sh(f"systemctl is-active {APP}.socket").strip()
    scene.seen.must(open_now == "active", f"it ended with the socket {open_now}")
    scene.clean()


def all_stopped(scene: Scene) -> None:
    """Somebody stops the socket and the service."""
    begin = time.time()
    scene.sh(f"systemctl stop {APP}.socket '{APP}@*.service'")
    scene.seen.must(scene.engine.status(APP).get("healthy") is False, "it was not seen")
    next_run(scene)
    scene.seen.window = [begin, time.time()]


PAST = [
    Row(
        "past/growth",
        f"{ROLLOUTS} rollouts of one release after another, with retain.good = 2",
        "what is kept does not grow; the ledger does, by its lines",
        grown,
    ),
    Row(
        "past/neighbour",
        "something else has 60 % of the memory",
        "a generation that fits beside it is tried and promoted, without the OOM killer",
        beside_a_database,
    ),
    Row(
        "past/neighbour-on-a-small-host",
        f"a host of {SMALL_MIB} MiB, of which a service has {BESIDE_MIB}; a worker of {LARGE_MIB} MiB",
        "what fits is planned, weighed, tried, promoted, and nothing killed; what does not is refused with who has it",
        beside_on_a_small_host,
    ),
    Row(
        "past/quota",
        f"a quota of {QUOTA} of a core holds all services back, while a release is weighed that computes",
        "it is planned for that share; the weigh says for how long the quota held back what it measured",
        held_back,
    ),
    Row(
        "past/socket-restarted",
        "`systemctl restart` of the public socket, by hand",
        "seen at once; the next run opens it again",
        restarted,
    ),
    Row(
        "past/socket-restarted-in-promote",
        "the same while a promote is under way",
        "it ends with a socket that is open",
        restarted_in_promote,
    ),
    Row("past/all-stopped", "the socket and the service are stopped by hand", "seen; the next run serves", all_stopped),
]
