# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The controller and the connection."""

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
from pathlib import Path
from typing import Any

from headcount_scripts import labs, paths

from .. import _engine
from .._scene import APP, ARMS, Scene
from .hand import next_run
from .row import STATE, Row


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
        at={"target": "_steps.trial.try_candidate", "then": {"hold": True}},
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


def playbook(
    scene: Scene,
    declared: Mapping[str, Any],
    *options: str,
    beside: Sequence[Mapping[str, Any]] = (),
    callback: str = "default",
) -> subprocess.Popen[str]:
    """Start the collection's own site.yml for the scene's host, as a person would; `beside`: apps declared before;
    `callback`: who tells of it."""
    folder = paths.WORK / "bench" / "faults" / f"controller-{scene.host}"
    folder.mkdir(parents=True, exist_ok=True)
    variables = folder / "apps.json"
    variables.write_text(json.dumps({"headcount_apps": [*beside, declared]}), encoding="utf-8")
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
        env={**_engine.environ(), "ANSIBLE_STDOUT_CALLBACK": callback},
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


def beside_a_failing_one(scene: Scene) -> None:
    """Another app's first deployment fails in the same rollout; a rollout of the one app then leaves it alone."""
    blog = _engine.shop(
        "blog",
        listen="0.0.0.0:8001",
        environment={"SHOP_RELEASE": "blog", "SHOP_FAULTS": "crash_import"},
        share={"memory_mib": 200},
    )
    process = playbook(scene, by_playbook(scene), beside=[blog])
    out = " ".join(process.communicate(timeout=240)[0].split())
    scene.seen.told += re.findall(r"1 host: \d promoted, \d failed|msg: 'blog: [^']*'", out)[-2:]
    scene.seen.must(process.returncode != 0, "the rollout ended well although one app failed")
    scene.seen.must("blog: start: died while starting" in out, f"it does not say what became of blog: {out[-600:]}")
    scene.seen.must("1 promoted, 1 failed" in out, f"it does not say what became of both: {out[-600:]}")
    scene.seen.must(scene.answering() == scene.release, f"{scene.answering()} answers, not {scene.release}")
    reverted = [entry for entry in scene.engine.ledger(APP) if entry["event"] == "reverted"]
    scene.seen.must(not reverted, f"the other app was reverted: {reverted}")
    failures = len(scene.engine.ledger("blog"))
    process = playbook(scene, by_playbook(scene), "-e", f"headcount_app={APP}", beside=[blog])
    out = " ".join(process.communicate(timeout=240)[0].split())
    scene.seen.must(process.returncode == 0, f"the rollout of {APP} alone failed: {out[-600:]}")
    scene.seen.must("1 promoted, 1 left out" in out, f"it does not say what was left out: {out[-600:]}")
    scene.seen.must(scene.answering() == scene.release, f"{scene.answering()} answers, not {scene.release}")
    scene.seen.must(len(scene.engine.ledger("blog")) == failures, "the app that was left out was touched")
    scene.engine.steps("blog", "remove", gone=scene.gone())
    scene.clean()


def taken_back_and_again(scene: Scene) -> None:
    """A release turns bad under its users, the host's guard goes back, and the same release is rolled out again."""
    before, answering = scene.live(), scene.answering()
    declared = {**by_playbook(scene), "guard": {"minutes": 5}}
    declared["environment"] = {**declared["environment"], "SHOP_FAULTS": "turns:errors"}
    release = scene.release

    def roll_out(*options: str) -> tuple[int, str]:
        process = playbook(scene, declared, *options)
        out = process.communicate(timeout=240)[0]
        return process.returncode, " ".join(out.split())

    code, out = roll_out()
    scene.seen.must((code, scene.answering()) == (0, release), f"it was not promoted: {out[-500:]}")
    bad = time.time()
    scene.sh("touch /etc/shop.broken")
    begin = time.monotonic()
    # The one before answers some as soon as it is begun: it is live once the way back is done.
    while (scene.live(), scene.answering()) != (before, answering) and time.monotonic() - begin < 120.0:
        time.sleep(0.5)
    scene.seen.window = [bad - 0.1, time.time()]
    scene.sh("rm -f /etc/shop.broken")
    scene.seen.told.append(f"taken back {time.monotonic() - begin:.0f} s after it turned bad")
    scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}, not {before}")
    code, out = roll_out()
    scene.seen.told += re.findall(r"the guard took [^)]{0,300}", out)[:1]
    scene.seen.must(code != 0, "the same release was rolled out again")
    scene.seen.must("headcount_retry=true" in out and "requests failed" in out, f"it said {out[-600:]}")
    scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}, not {before}")
    code, out = roll_out("-e", "headcount_retry=true")
    scene.seen.must((code, scene.answering()) == (0, release), f"headcount_retry did not let it: {out[-500:]}")
    scene.deploy()
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
        "controller/beside-a-failing-app",
        "the first deployment of another app of the host fails in the same rollout",
        "the app is promoted and stays; the end names both and is a failure; a rollout of the one leaves out the other",
        beside_a_failing_one,
    ),
    Row(
        "controller/taken-back-and-again",
        "a promoted release turns bad, the host's guard goes back, and it is rolled out again",
        "refused with what the guard found, the one before serving on; with headcount_retry it is rolled out",
        taken_back_and_again,
    ),
    Row(
        "controller/two-at-once",
        "a second run starts during the first one's trial, and after its module was killed",
        "refused, naming who holds the lock since when; once its end is known, taken over",
        two_controllers,
        quick=True,
    ),
]
