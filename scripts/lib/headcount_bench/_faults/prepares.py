# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Commands that prepare a release fail, or are cut short."""

from __future__ import annotations

import re

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
]
