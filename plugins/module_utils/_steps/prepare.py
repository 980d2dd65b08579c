# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step prepare: commands of the new release, before its candidate is first started."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from itertools import islice
from typing import Dict, List, Mapping, Sequence, TypedDict

from .._declaration.app import Plain
from .._generation import unbegun
from .._generation.built import folder
from .._generation.commands import STOP_SECONDS, Role, transient, words_of
from .._generation.failures import StepFailed
from .._generation.generations import BUILT
from .._generation.prepared import Prepared
from .._generation.record import GenerationRecord
from .._os.lastwords import last_words
from .._os.paths import Layout
from .._os.secrecy import clean_text
from .._os.systemd import UnitState
from .app import AppOnHost

POLL_SECONDS = 0.5
SLACK_SECONDS = 60.0
"""systemd ends a command that takes too long; whoever waits for it waits so much longer."""

MOST_FILES, NAMED_FILES = 5000, 3
"""So many files of the app's data are looked at for what a command has written, and so many are named."""


@dataclass(frozen=True)
class Command:
    """A command to run: `key` is what it is known by once it was run, `seconds` its limit, `creates` what it makes.

    `own`: the same inside the release, where that is in a folder that each generation has for itself (data.built): it
    is run for each one, whatever was run before.
    """

    run: str
    key: str
    seconds: float
    creates: str = ""
    own: str = ""

    @classmethod
    def from_dict(cls, data: Plain) -> Command:
        """From a module's argument."""
        return cls(str(data["run"]), str(data["key"]), float(data["seconds"]), str(data.get("creates") or ""))

    def of(self, layout: Layout, number: int) -> Command:
        """The command with what it makes as the host has it, where that is in a folder of generation `number`'s own."""
        own = self.creates if self.creates and not self.creates.startswith("/") else ""
        return replace(self, creates=folder(layout, number, own), own=own) if own else self

    @property
    def is_done(self) -> bool:
        """Whether what it makes is there already, and holds something: an empty file is what a mere look left."""
        try:
            with os.scandir(self.creates) as inside:
                return any(inside)
        except NotADirectoryError:
            return os.stat(self.creates).st_size > 0
        except FileNotFoundError:
            return False


class Ran(TypedDict):
    """What came of the step: the commands that were run with their seconds, and sentences for people."""

    prepared: List[Dict[str, object]]
    told: List[str]


def prepare(app: AppOnHost, number: int, commands: Sequence[Command]) -> Ran:
    """Run those of `commands` that were not run to their end before, in the sandbox of generation `number`.

    One whose work is there already is told, and not run. The first that fails ends the step, and so the rollout:
    StepFailed with its last words. What a killed run left is waited for, told, and run again.
    """
    with app.step("prepare", number):
        record, kept = app.record(number), Prepared(app.layout, app.clock)
        commands = [command.of(app.layout, number) for command in commands]
        told = _wait_for_left(app, max((command.seconds for command in commands), default=0.0))
        kept.settle([command.key for command in commands])
        begun, done = kept.begun(), set(kept.keys())
        left = [command for command in commands if command.own or command.key not in done]
        words = [words_of(app.layout, number, command.run) for command in left]
        ran: list[dict[str, object]] = []
        for command, found in zip(left, words):
            if command.creates and command.is_done and not command.own:
                told.append(
                    f"`{command.run}` is not run: {command.creates} is there" + _unknown(begun.get(command.key))
                )
                kept.end(command.key, False)
                continue
            if command.key in begun:
                told.append(
                    f"`{command.run}` was begun by {begun[command.key]['by']} at {begun[command.key]['since']}, and "
                    "nothing is known of its end: it is run again"
                )
            begin, built = app.instances.monotonic(), os.path.join(app.layout.generation(number), BUILT)
            before = _files(built)
            kept.begin(command.key, command.run, str(app.run))
            _run(app, record, command, found, kept)
            told += _made_unsaid(built, before, number, command)
            ran.append({"run": command.run, "seconds": round(app.instances.monotonic() - begin, 1)})
        if ran:
            app.log("prepared", generation=number, release=record.release, commands=ran, told=told or None)
    return {"prepared": ran, "told": told}


def again(app: AppOnHost, number: int) -> None:
    """Run for generation `number`, of a release that was prepared before, those commands that each generation needs."""
    declared = app.record(number).app.get("prepare") or ()
    own = [one for one in declared if one.get("creates") and not str(one["creates"]).startswith("/")]
    if own:
        prepare(app, number, [Command.from_dict({**one, "key": f"for each generation: {one['run']}"}) for one in own])


def _made_unsaid(built: str, before: Mapping[str, int], number: int, command: Command) -> list[str]:
    """What a command has made in a folder of the generation's own, `built`, without saying so: no other one gets it.
    `before`: the files that were there, as _files says."""
    wrote = [] if command.own else [path for path, when in _files(built).items() if before.get(path) != when]
    if not wrote:
        return []
    inside = os.path.relpath(wrote[0], built)
    return [
        f"`{command.run}` wrote {inside} in a folder of data.built, which is generation {number}'s alone, and it is "
        "not run again for the next one: where the app does not make that when it starts, declare the command with "
        f"`creates: {inside}`, and it is run for each generation"
    ]


def _unknown(begun: Mapping[str, object] | None) -> str:
    """What is to be known of a command whose work is there, and of whose end nothing is known."""
    if begun is None:
        return ""
    return (
        f"; it was begun by {begun['by']} at {begun['since']}, and nothing is known of its end: where that is half of "
        "it, remove it, and it is run again"
    )


def _wait_for_left(app: AppOnHost, seconds: float) -> list[str]:
    """Wait for the command of a run that was killed: it is in the midst of what must not be done twice at once.

    One that has failed in the meantime keeps its unit's name, which systemd gives to no other before it is forgotten.
    """
    unit, begin = app.layout.prepare_unit, app.instances.monotonic()
    if app.systemd.state(unit).gone:
        app.systemd.reset_failed(unit)
        return []
    while not app.systemd.state(unit).gone:
        if app.instances.monotonic() - begin > seconds + SLACK_SECONDS:
            raise StepFailed("prepare", f"{unit}, which another run left, does not end: `systemctl stop {unit}`")
        app.instances.sleep(POLL_SECONDS)
    app.systemd.reset_failed(unit)
    return [f"waited {app.instances.monotonic() - begin:.0f} s for the command that a run before had begun"]


def _run(app: AppOnHost, record: GenerationRecord, command: Command, words: Sequence[str], kept: Prepared) -> None:
    """Run a command to its end; StepFailed with its last words where that is no good one.

    A step that is given up (its connection broke, somebody rolls back) leaves the command alone: it ends by itself,
    in its time, and the next run waits for it.
    """
    layout, unit, begin, asked = app.layout, app.layout.prepare_unit, app.clock(), app.instances.monotonic()
    role = Role(unit, layout.command_directory(unit), "prepare")
    limits = {"RuntimeMaxSec": f"{command.seconds:.0f}"}
    call = transient(layout, int(record.number or 0), record.app, words, role, more=limits)
    done = app.systemd.runner(call, command.seconds + SLACK_SECONDS)
    missing = done.status == 0 and command.creates and not command.is_done
    kept.end(command.key, done.status == 0 and not missing)
    if missing:
        raise StepFailed("prepare", _not_made(command, layout, int(record.number or 0), begin))
    if done.status:
        state = app.systemd.state(unit)
        app.systemd.reset_failed(unit)
        lines = [line.text for line in app.systemd.said(unit, begin)]
        never, last = unbegun.words(state.exit_status, lines), last_words(lines)
        how = (
            (f"was not begun: {never}" if never else "")
            or _how(state, command, record, app.instances.monotonic() - asked)
            or done.err.strip()
            or f"ended with status {done.status}"
        )
        left = _half(command)
        raise StepFailed("prepare", clean_text(f"`{command.run}` {how}" + (f": {last}" if last else "") + left))


def _half(command: Command) -> str:
    """That one which failed has left what keeps it from being run again."""
    if not command.creates or command.own or not command.is_done:
        return ""
    return f"; {command.creates} is there now, so that it is run again only when that is removed"


def _not_made(command: Command, layout: Layout, number: int, since: float) -> str:
    """That a command did not make what it `creates`: a first setup whose work is looked for in the wrong place would be
    run again at the next release, over what users have by then."""
    wrote = _written(os.path.join(layout.generation(number), BUILT) if command.own else layout.data, since)
    if command.own:
        what = f"it wrote {', '.join(wrote)}" if wrote else "it wrote nothing in the folders of data.built"
        return f"`{command.run}` ended well, but {command.own}, which it `creates`, is not there or is empty: {what}"
    return (
        f"`{command.run}` ended well, but {command.creates}, which it `creates`, is not there or is empty: "
        + (f"it wrote {', '.join(wrote)} in the app's data" if wrote else "it wrote nothing in the app's data")
        + ". Let `creates` name what it makes there: by that it is known not to be run again over what users have by "
        "then; a command that may be run again with each release needs no `creates`"
    )


def _written(data: str, since: float) -> list[str]:
    """The files below `data` that were written since then (epoch), the first few of the first MOST_FILES."""
    return [path for path, when in _files(data).items() if when >= (since - 1) * 1e9][:NAMED_FILES]


def _files(top: str) -> dict[str, int]:
    """When the first MOST_FILES files below `top` were last written, in ns since the epoch."""
    found: dict[str, int] = {}
    for path in islice((os.path.join(at, name) for at, _, names in os.walk(top) for name in sorted(names)), MOST_FILES):
        with contextlib.suppress(OSError):
            found[path] = os.lstat(path).st_mtime_ns
    return found


def _how(state: UnitState, command: Command, record: GenerationRecord, seconds: float) -> str:
    """How a command that took `seconds` ended, in words; empty where systemd does not say."""
    enough = f"it needs more than the {record.memory_max_mib:.0f} MiB that the plan allows"
    killed = f"was killed (signal {state.exit_status})"
    left = (
        f"ended, and left processes behind that did not end within {STOP_SECONDS} s when they were asked to (SIGTERM), "
        "so that they were killed: have it wait for them"
    )
    return {
        "exit-code": f"exited with status {state.exit_status}",
        "timeout": f"did not end within {command.seconds:g} s" if seconds >= command.seconds else left,
        "oom-kill": f"was killed by the kernel for memory: {enough}",
        "signal": f"{killed}, as the kernel does where {enough}" if state.exit_status == 9 else killed,
        "core-dump": killed,
    }.get(state.result, "")
