# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Shows a rollout in one line for each app of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout
type: stdout
short_description: One line for each app of a host
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Shows a rollout in one line for each app of a host, when it is done there. The batch, what its plan came to, how
    long each step took, and the verdict; or the step that failed, why, and the last lines that the candidate logged.
  - On a terminal the last line says what runs now, and for how long. Without one, with E(NO_COLOR) or with C(nocolor)
    of Ansible's configuration nothing but plain lines is written.
  - Tasks that are none of a rollout are told of where they fail. With C(-v), and in any other callback, each is.
  - It needs nothing but ansible-core, and behaves as P(ansible.builtin.default#callback) in all else.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in the configuration
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.plugins.callback.default import CallbackModule as Default

from ..plugin_utils._display.course import Course, recap, step_of
from ..plugin_utils._display.unreached import connection_words
from ..plugin_utils._edge import Json

EVERY_SECONDS = 1.0
TELLING = ("headcount.gunicorn.plan", "headcount.gunicorn.gate")
EXPORTER = "headcount.gunicorn.exporter"
WARNINGS = ("warnings", "deprecations")
_ERASE = "\r\033[K"


class CallbackModule(Default):
    """One line for each app of a host; with -v the default callback as it is."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "headcount.gunicorn.rollout"

    def __init__(self) -> None:
        super().__init__()
        self.course = Course()
        self.exporters: dict[str, str] = {}
        self.live = Live(lambda: self.course.status(time.monotonic()), self._display)

    @property
    def _plainly(self) -> bool:
        """Whether the default callback is wanted."""
        return bool(self._display.verbosity)

    # -- what runs ----------------------------------------------------------------------------------------------------

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Plays are named only as the default callback does."""
        self._play = play
        if self._plainly:
            super().v2_playbook_on_play_start(play)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """So are tasks."""
        if self._plainly:
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """And handlers."""
        if self._plainly:
            super().v2_playbook_on_handler_task_start(task)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """And what is included."""
        if self._plainly:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A play of a rollout that has nothing to do is nothing to tell."""
        if self._plainly:
            super().v2_playbook_on_no_hosts_matched()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A step begins on a host."""
        if self._plainly:
            super().v2_runner_on_start(host, task)
        elif step_of(str(task.action)):
            self.course.begin(str(host), _app(task), step_of(str(task.action)), time.monotonic())
            self.live.begin()

    # -- what came of it ----------------------------------------------------------------------------------------------

    def v2_runner_on_ok(self, result: Any) -> None:
        """A step has ended, or the plan and the gate have told something."""
        if self._plainly:
            super().v2_runner_on_ok(result)
            return
        host, task = _where(result)
        action = str(task.action)
        if action == EXPORTER and _told(result).get("cause"):
            self.exporters[host] = str(_told(result)["cause"])
        if not (step_of(action) or action in TELLING):
            self._warn_of(result)
            return
        told = _told(result)
        self._warn(result, told)
        if action == "headcount.gunicorn.plan":
            self.course.planned(told)
        elif action == "headcount.gunicorn.gate":
            self.course.gated(told)
        elif step_of(action):
            line = self.course.end(host, _app(task), step_of(action), time.monotonic(), told)
            self._say(line, C.COLOR_CHANGED if told.get("changed") else C.COLOR_OK)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A step or another task has failed: why."""
        if self._plainly:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        (host, task), told = _where(result), _told(result)
        if str(task.action) == EXPORTER:
            self.exporters[host] = str(told.get("msg") or "it failed")
        if not step_of(str(task.action)):
            self.live.clear()
            if str(task.action) in ("fail", "ansible.builtin.fail") and told.get("msg"):
                known = told["msg"] in self.course.told
                self._say("" if known else f"{host}: {told['msg']}", C.COLOR_ERROR)
            else:
                super().v2_runner_on_failed(result, ignore_errors)
            return
        self._warn(result, told)
        lines = self.course.fail(host, _app(task), step_of(str(task.action)), time.monotonic(), told)
        self._say("\n".join(lines), C.COLOR_ERROR)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host could not be reached."""
        if self._plainly:
            super().v2_runner_on_unreachable(result)
            return
        host, task = _where(result)
        self.course.skip(host, _app(task))
        words = f"could not be reached: {connection_words(_told(result).get('msg'))}"
        if str(task.action) == EXPORTER:
            self.exporters[host] = words
        self._say(f"{host}: {words}", C.COLOR_UNREACHABLE)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A step was left out."""
        host, task = _where(result)
        self.course.skip(host, _app(task))
        if self._plainly:
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """One item of a loop."""
        if self._plainly:
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """One item of a loop."""
        if self._plainly:
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The end: hosts that changed, that failed, that were not reached, and the first cause."""
        self.live.end()
        if self._plainly:
            super().v2_playbook_on_stats(stats)
            return
        summaries = {host: stats.summarize(host) for host in sorted(stats.processed)}
        bad = any(one["failures"] or one["unreachable"] for one in summaries.values())
        check = bool(context.CLIARGS.get("check"))
        lines = recap(summaries, self.course.first_cause, check, self.exporters)
        self._say("\n".join(lines), C.COLOR_ERROR if bad else C.COLOR_OK)

    def _warn_of(self, result: Any) -> None:
        """The same where nothing else of it is needed: since core 2.19 it has its warnings by themselves."""
        by_itself = "warnings" in dir(result)
        self._warn(result, {key: getattr(result, key) for key in WARNINGS} if by_itself else _told(result))

    def _warn(self, result: Any, told: Json) -> None:
        """What Ansible itself warns of; before core 2.19 the plain result has it."""
        with contextlib.suppress(AttributeError):
            self._handle_warnings(told)

    def _say(self, text: str, color: str) -> None:
        if text:
            self.live.clear()
            self._display.display(text, color=color)


def _where(result: Any) -> tuple[str, Any]:
    """Host and task of what a callback gets."""
    return str(_of(result, "host").get_name()), _of(result, "task")


def _told(result: Any) -> Json:
    """What was told. Ansible makes a copy of all of it, which of a large one takes its time."""
    told = _of(result, "result")
    return told if isinstance(told, Mapping) else {}


def _of(result: Any, name: str) -> Any:
    """Core 2.21 has no `_host`, `_task` and `_result` any more, and before 2.19 there are no others."""
    return getattr(result, name if name in dir(result) else f"_{name}")


def _app(task: Any) -> str:
    """The app that a step is about: the last word of the task's name ("Trial shop")."""
    return str(task.get_name()).strip().rpartition(" ")[2]


class Live:
    """The last line of a terminal, which says what runs now; nothing where there is no terminal to write to.

    Whatever else is printed meanwhile goes before it: the display of this process erases the line first.
    """

    def __init__(self, status: Callable[[], str], display: Any) -> None:
        self.status = status
        self.shown = False
        self.wanted = wanted()
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self.thread: threading.Thread | None = None
        if self.wanted:
            self._before(display)

    def _before(self, display: Any) -> None:
        """Erase the line before anything is displayed. Workers, which are forked, hand theirs to this process."""
        own, whole = os.getpid(), display.display

        def shown(*arguments: Any, **named: Any) -> Any:
            if os.getpid() == own:
                self.clear()
            return whole(*arguments, **named)

        display.display = shown

    def begin(self) -> None:
        """Say from now on what runs."""
        if self.wanted and self.thread is None:
            self.thread = threading.Thread(target=self._run, daemon=True)
            self.thread.start()

    def _run(self) -> None:
        while not self.ended.wait(EVERY_SECONDS):
            self.draw()

    def draw(self) -> None:
        """Write the line anew."""
        with self.lock:
            text = self.status()
            width = shutil.get_terminal_size().columns - 1
            if text or self.shown:
                self._write(f"{_ERASE}{text[:width]}")
                self.shown = bool(text)

    def clear(self) -> None:
        """Take the line away."""
        with self.lock:
            if self.shown:
                self._write(_ERASE)
                self.shown = False

    def end(self) -> None:
        """Nothing runs any more."""
        self.ended.set()
        self.clear()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(text)
            sys.stdout.flush()


def wanted() -> bool:
    """Whether there is a terminal that may be written to as one."""
    plain = os.environ.get("NO_COLOR") or C.ANSIBLE_NOCOLOR or os.environ.get("TERM", "dumb") == "dumb"
    return not plain and sys.stdout.isatty()
