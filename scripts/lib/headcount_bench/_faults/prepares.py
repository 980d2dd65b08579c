# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Commands that prepare a release, and processes beside its server, fail or are cut short."""

from __future__ import annotations

import re
import shlex
import time
from typing import Any

from .._scene import APP, Scene
from .controllers import by_playbook, kill_tree, next_playbook, playbook, settled, wait_step
from .data import KEPT, records
from .row import Row, refused

UNIT = f"headcount-prepare-{APP}"


def prepare(command: str, seconds: float = 30.0, creates: str = "") -> tuple[str, dict[str, object]]:
    """The step prepare with one command, which no row before has run."""
    one = {"run": command, "key": f"{command} {time.time()}", "seconds": seconds, "creates": creates}
    return ("prepare", {"commands": [one]})


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


def not_made(scene: Scene) -> None:
    """A first setup ends well, and what it is to make is looked for in the wrong place: told with what it wrote. Looked
    for there it is not run again, with the next release neither, and what users have by then is theirs."""
    before = scene.live()
    setup = "sh -c 'echo empty > $STATE_DIRECTORY/first.db'"
    wrong, right = prepare(setup, creates=f"{KEPT}/wrong.db"), prepare(setup, creates=f"{KEPT}/first.db")
    done = scene.engine.steps(APP, ("stage", scene.request()), wrong, gone=scene.gone())
    said = f"{KEPT}/wrong.db, which it `creates`, is not there or is empty: it wrote {KEPT}/first.db"
    refused(scene, done, said, "prepare")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    scene.sh(f"echo users > {KEPT}/first.db")
    done = scene.engine.steps(APP, ("stage", scene.request()), right, "finish", "promote", gone=scene.gone())
    scene.seen.must("failed" not in done[-1], f"the next run failed: {done[-1]}")
    has = scene.sh(f"cat {KEPT}/first.db").strip()
    scene.seen.must(has == "users", f"what users had is {has!r}")
    scene.sh(f"rm -f {KEPT}/first.db")
    scene.clean()


def killed(scene: Scene) -> None:
    """SIGKILL to the step while a migration is under way: it ends by itself, and the next run waits, and runs it
    again."""
    before, since = scene.live(), scene.sh("date +%s").strip()
    step = prepare(MIGRATION)
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


MIGRATION = "sh -c 'echo began $HEADCOUNT_GENERATION; sleep 8; echo ended $HEADCOUNT_GENERATION'"
FILES = f"""
import os, sqlite3
import shop
db = sqlite3.connect("{KEPT}/shop.db")
db.execute("create table if not exists runs (generation)")
db.execute("insert into runs values (?)", [os.environ["HEADCOUNT_GENERATION"]])
db.commit()
"""


def _one_at_a_time(scene: Scene, since: str, least: int, most: int) -> None:
    """The command ran to its end between `least` and `most` times, never twice at the same moment."""
    said = [line.split()[0] for line in _said(scene, since)]
    scene.seen.told.append(f"run {said.count('ended')} times")
    scene.seen.must(said == ["began", "ended"] * (len(said) // 2), f"the commands ran like this: {said}")
    scene.seen.must(least <= len(said) // 2 <= most, f"it ran {len(said) // 2} times, not {least} to {most}")


def controller_killed(scene: Scene) -> None:
    """SIGKILL to ansible-playbook and all its processes while a migration is under way: it ends by itself, and the
    next rollout does not begin it beside that."""
    before, since = scene.live(), scene.sh("date +%s").strip()
    declared = {**by_playbook(scene), "prepare": [MIGRATION]}
    process = playbook(scene, declared)
    scene.seen.must(wait_step(scene, "prepare", process, 240.0), "the rollout did not come to prepare")
    begin = time.monotonic()
    while not _said(scene, since) and time.monotonic() - begin < 30.0:
        time.sleep(0.2)
    kill_tree(process)
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    next_playbook(scene, declared)
    settled(scene)
    _one_at_a_time(scene, since, 1, 2)


def fails_alone(scene: Scene) -> None:
    """SIGKILL to the step while a migration is under way, which then fails: the next run runs it again, and has its own
    words for it."""
    before = scene.live()
    words = "import time; time.sleep(4); raise LookupError('no such table')"
    step = prepare(f"python -c {shlex.quote(words)}")
    at = {"target": "_steps.prepare.transient", "then": {"kill": True, "later": 2.0}}
    done = scene.engine.steps(APP, ("stage", scene.request()), step, at=at, gone=scene.gone())
    scene.seen.must(done[-1].get("killed"), f"the step was not killed: {done[-1]}")
    begin = time.monotonic()
    while scene.sh(f"systemctl is-active {UNIT}").strip() == "active" and time.monotonic() - begin < 30.0:
        time.sleep(0.3)
    scene.seen.must(scene.sh(f"systemctl is-failed {UNIT}").strip() == "failed", "the command did not fail by itself")
    done = scene.engine.steps(APP, ("stage", scene.request()), prepare("true"), "finish", "promote", gone=scene.gone())
    scene.seen.must("failed" not in done[-1], f"the next run failed: {done[-1]}")
    scene.seen.must(scene.live() != before, "the next run promoted nothing")
    scene.clean()


def power_cut(scene: Scene) -> None:
    """The host loses its power while a migration is under way: what is live serves after the boot, and the next run
    tells that nothing is known of its end, and runs it again."""
    before, since = scene.live(), scene.sh("date +%s").strip()
    step = prepare(MIGRATION)
    with scene.engine.begin(APP, ("stage", scene.request()), step, gone=scene.gone()):
        begin = time.monotonic()
        while not _said(scene, since) and time.monotonic() - begin < 60.0:
            time.sleep(0.2)
        scene.seen.must(_said(scene, since), "the command was not begun")
        cut = time.time()
        scene.power()
    scene.seen.must(scene.wait_served() is not None, "the app does not answer after the boot")
    scene.seen.window = [cut - 0.1, time.time()]
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    scene.seen.must(not scene.sh(f"systemctl is-active {UNIT}").startswith("active"), "the command runs after the boot")
    done = scene.engine.steps(APP, ("stage", scene.request()), step, "finish", "promote", gone=scene.gone())
    scene.seen.must("failed" not in done[-1], f"the next run failed: {done[-1]}")
    told = next((" ".join(one.get("told", [])) for one in done if one["op"] == "prepare"), "")
    scene.seen.told.append(told[:300])
    scene.seen.must("nothing is known of its end: it is run again" in told, f"the next run told {told or done[-1]}")
    said = [line.split()[0] for line in _said(scene, since)]
    scene.seen.must(said[-2:] == ["began", "ended"], f"the commands ran like this: {said}")
    scene.clean()


def command_killed(scene: Scene) -> None:
    """SIGKILL to the migration itself: the rollout ends with it, nothing of the release is started, and the next run
    runs it again."""
    before, since = scene.live(), scene.sh("date +%s").strip()
    step = prepare(MIGRATION)
    with scene.engine.begin(APP, ("stage", scene.request()), step, gone=scene.gone()) as process:
        begin = time.monotonic()
        while not _said(scene, since) and time.monotonic() - begin < 60.0:
            time.sleep(0.2)
        scene.sh(f"systemctl kill --signal=KILL --kill-whom=all {UNIT}")
        done = process.wait(60.0)
    refused(scene, done, "was killed", "prepare")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    done = scene.engine.steps(APP, ("stage", scene.request()), step, "finish", "promote", gone=scene.gone())
    scene.seen.must("failed" not in done[-1], f"the next run failed: {done[-1]}")
    said = [line.split()[0] for line in _said(scene, since)]
    scene.seen.must(said == ["began", "began", "ended"], f"the commands ran like this: {said}")
    scene.clean()


def rolled_back(scene: Scene) -> None:
    """A release whose migration has run is rolled back, and rolled out again: the data is as the migration left it
    both times, and it does not run again."""
    before, wanted = scene.answering(), records(scene, "POST")
    migration = prepare(f"python -c {shlex.quote(FILES)}")
    request = scene.request()
    done = scene.engine.steps(APP, ("stage", request), migration, "finish", "promote", gone=scene.gone())
    scene.seen.must("failed" not in done[-1], f"the release was refused: {done[-1]}")
    said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
    scene.seen.must("code 0" in said, f"the rollback said {said}")
    scene.seen.must(scene.answering() == before, f"{scene.answering()} answers, not {before}")
    scene.seen.must(records(scene) == wanted, f"after the rollback there are {records(scene)} records, not {wanted}")
    done = scene.engine.steps(APP, ("stage", request), migration, "finish", "promote", gone=scene.gone())
    scene.seen.must("failed" not in done[-1], f"the same release again was refused: {done[-1]}")
    scene.seen.must(records(scene) == wanted, f"with it again there are {records(scene)} records, not {wanted}")
    count = "import sqlite3; print(sqlite3.connect('%s/shop.db').execute('select count(*) from runs').fetchone()[0])"
    runs = scene.sh(f"python3 -c {shlex.quote(count % KEPT)}; rm {KEPT}/shop.db").strip()
    scene.seen.must(runs == "1", f"the migration ran {runs} times")
    scene.seen.told.append(f"run {runs} time, {wanted} records throughout")
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
    at = {"target": "_generation.switch._make_live_again", "then": {"hold": True}}
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
        "kill/prepare-command",
        "SIGKILL to the command that prepares the release",
        "refused, saying that it was killed; what is live serves on; the next run runs it again",
        command_killed,
    ),
    Row(
        "kill/prepare-then-fails",
        "SIGKILL while a command prepares the release, which fails by itself after that",
        "the next run runs its own command, which is not taken for the one that failed",
        fails_alone,
    ),
    Row(
        "power/prepare-under-way",
        "power cut while a command prepares the release",
        "what was live serves after the boot; the next run tells that its end is not known, and runs it again",
        power_cut,
    ),
    Row(
        "controller/killed-at-prepare",
        "SIGKILL to ansible-playbook while a command prepares the release",
        "the command ends by itself, and the next rollout does not begin it beside that",
        controller_killed,
    ),
    Row(
        "data/rollback-after-prepare",
        "a release whose migration has run is rolled back, and rolled out again",
        "the records are there each time, and the migration is not run again",
        rolled_back,
    ),
    Row(
        "release/setup-not-made",
        "a first setup ends well, and what it is to make is looked for in the wrong place",
        "refused with the path and what it wrote; looked for there it is not run again, and what users have stays",
        not_made,
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
