# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Commands that prepare a release, and processes beside its server, fail or are cut short."""

from __future__ import annotations

import re
import time
from typing import Any

from .._scene import APP, Scene
from .row import Row, refused

UNIT = f"headcount-prepare-{APP}"


def prepare(command: str, seconds: float = 30.0) -> tuple[str, dict[str, object]]:
    """The step prepare with one command."""
    return ("prepare", {"commands": [{"run": command, "key": command, "seconds": seconds}]})


def _said(scene: Scene, since: str) -> list[str]:
    """What the commands wrote, in the order of the journal."""
    lines = scene.sh(f"journalctl -q -o cat -u {UNIT} --since=@{since}").splitlines()
    return [line for line in lines if re.fullmatch(r"(began|ended) \S+", line)]


def fails(scene: Scene) -> None:
    """A migration ends with an error: its last words are the cause, and nothing of the release was started."""
    before, answering = scene.live(), scene.answering()
    since = scene.sh("date +%s").strip()
    done = scene.engine.steps(
        APP,
        ("stage", scene.request()),
        prepare("python -c 'import shop; raise LookupError(\"no such table: \" + shop.__name__)'"),
        "weigh",
        "trial",
        "promote",
        gone=scene.gone(),
    )
    refused(scene, done, "exited with status 1: LookupError: no such table: shop", "prepare")
    started = scene.sh(f"journalctl -q -o cat -u '{APP}-trial@*' --since=@{since}").strip()
    scene.seen.must(not started, f"its candidate was started: {started[:200]}")
    scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}, not {before}")


def killed(scene: Scene) -> None:
    """SIGKILL to the step while a migration is under way: it ends by itself, and the next run waits, and runs it
    again."""
    before, since = scene.live(), scene.sh("date +%s").strip()
    command = "sh -c 'echo began $HEADCOUNT_GENERATION; sleep 8; echo ended $HEADCOUNT_GENERATION'"
    step = prepare(command)
    at = {"target": "_steps.prepare.transient", "then": {"kill": True, "later": 2.0}}
    done = scene.engine.steps(APP, ("stage", scene.request()), step, at=at, gone=scene.gone())
    scene.seen.must(done[-1].get("killed"), f"the step was not killed: {done[-1]}")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    under_way = scene.sh(f"systemctl is-active {UNIT}").strip()
    scene.seen.must(under_way == "active", f"the command is {under_way}, and should be under way")
    done = scene.engine.steps(APP, ("stage", scene.request()), step, "finish", "promote", gone=scene.gone())
    told = next((" ".join(one.get("told", [])) for one in done if one["op"] == "prepare"), "")
    scene.seen.told.append(told[:300])
    for words in ("waited", "was begun by run", "it is run again"):
        scene.seen.must(words in told, f"the next run did not tell {words!r}: {told or done[-1]}")
    said = [line.split()[0] for line in _said(scene, since)]
    scene.seen.must(said == ["began", "ended"] * 2, f"the commands ran like this: {said}")
    done = scene.engine.steps(APP, ("stage", scene.request()), step, "finish", "promote", gone=scene.gone())
    scene.seen.must("failed" not in done[-1], f"the third run failed: {done[-1]}")
    scene.seen.must(len(_said(scene, since)) == 4, "what had run to its end was run again")
    scene.clean()


WORKER = "python -c 'import signal; signal.pause()'"


def with_worker(run: str) -> dict[str, Any]:
    """A release with one further process."""
    return {"processes": {"worker": {"run": run, "memory_mib": 64, "stop_seconds": 5}}}


def running(scene: Scene) -> list[str]:
    """The units of processes that run."""
    listed = scene.sh(f"systemctl list-units --no-legend --plain --state=active,activating '{APP}@*-worker*'")
    return [line.split()[0] for line in listed.splitlines() if line.strip()]


def worker_dies(scene: Scene) -> None:
    """A release whose server is well, and whose worker ends after a second: the promote is taken back, the worker of
    what is live runs again, and never did two run at once."""
    done = scene.deploy(**with_worker(WORKER))
    scene.seen.must("failed" not in done[-1], f"a good worker was refused: {done[-1]}")
    before, answering = scene.live(), scene.answering()
    scene.seen.must(running(scene) == [f"{APP}@{before}-worker.service"], f"there run {running(scene)}")
    died = "python -c 'import time; time.sleep(1); raise LookupError(\"no queue\")'"
    done = scene.deploy(**with_worker(died))
    refused(scene, done, "process worker does not stay up: it ended with status 1: LookupError: no queue", "processes")
    scene.seen.must((scene.live(), scene.answering()) == (before, answering), f"live is {scene.live()}, not {before}")
    scene.seen.must(running(scene) == [f"{APP}@{before}-worker.service"], f"afterwards there run {running(scene)}")
    done = scene.deploy()
    scene.seen.must("failed" not in done[-1], f"one without a worker was refused: {done[-1]}")
    scene.seen.must(running(scene) == [], f"without a process there run {running(scene)}")
    scene.clean()


def worker_over_reboot(scene: Scene) -> None:
    """A power cut right before the rename, when the new release's worker runs: only the old one's runs after it."""
    scene.deploy(**with_worker(WORKER))
    before = scene.live()
    at = {"target": "_generation.switch._make_live", "then": {"hold": True}}
    with scene.engine.begin(
        APP, ("stage", scene.request(**with_worker(WORKER))), "finish", "promote", at=at, gone=scene.gone()
    ) as process:
        scene.seen.must(process.wait_held(60.0), f"the rename was not reached: {process.lines}")
        handed = running(scene)
        scene.seen.must(len(handed) == 1 and f"@{before}-" not in handed[0], f"handed over, there run {handed}")
        cut = time.time()
        scene.power()
    scene.seen.must(scene.wait_served() is not None, "the app does not answer after the boot")
    scene.seen.window = [cut - 0.1, time.time()]
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    scene.seen.must(running(scene) == [f"{APP}@{before}-worker.service"], f"after the boot there run {running(scene)}")
    scene.deploy()
    scene.clean()


PREPARES = [
    Row(
        "release/prepare-fails",
        "the command that prepares it ends with an error",
        "refused with its last words before anything of it is started; what is live serves on",
        fails,
    ),
    Row(
        "kill/prepare-under-way",
        "SIGKILL while a command prepares the release",
        "the command ends by itself; the next run waits for it, tells, and runs it again, and later ones do not",
        killed,
    ),
    Row(
        "release/worker-dies",
        "its server is well, and its worker ends a second after it was started",
        "taken back by the promote itself, with its last words; the worker of what is live runs again, and no other",
        worker_dies,
    ),
    Row(
        "power/processes-handed-over",
        "power cut when the worker of the new release runs, and the old one is still live",
        "the old one serves after the boot, with its own worker and no other",
        worker_over_reboot,
    ),
]
