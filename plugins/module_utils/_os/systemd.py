# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""systemctl and journalctl, wired thinly: typed answers, bounded in time, replaceable in tests."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Callable, Sequence

from .lines import UNREAD, Line
from .secrecy import clean_lines, clean_text

Runner = Callable[[Sequence[str], float], "Completed"]

MOST_BYTES, _CHUNK = 8 * 2**20, 2**16
LATE, UNBEGUN = 124, 126
END_LOOK_SECONDS = 0.05
"""How often it is looked whether a command has ended that has closed its output, or left it to another process."""

DEAF_LOOKS, DEAF_WAIT_SECONDS = 100, 0.1
_DEAF = re.compile(
    r"Connection (?:reset|refused|terminated|timed out)|Transport endpoint is not connected|Failed to connect to bus"
    r"|Broken pipe|disconnected from message bus|Message recipient disconnected|NoReply",
    re.IGNORECASE,
)
"""What systemctl says where the manager did not hear it out; it is then asked again, for about 10 s, and so it is where
this host could not begin it."""


@dataclass(frozen=True)
class Completed:
    """What a command left: its exit status and text."""

    status: int
    out: str
    err: str


class SystemdError(Exception):
    """systemctl refused; the message holds its words."""


def run(command: Sequence[str], timeout_seconds: float) -> Completed:
    """Run `command` without a shell; a command that outlasts `timeout_seconds` counts as status 124, one that is not
    there as 127, one that this host could not begin (no process, memory or open file is left) as UNBEGUN.

    Of what it prints the last MOST_BYTES are kept: an app may log more than this process has memory for. It takes no
    thread and no file, as a host on which something is wrong may have neither left. No ^C reaches its session.
    """
    until = time.monotonic() + timeout_seconds
    try:
        pipe = subprocess.PIPE
        with subprocess.Popen(list(command), stdout=pipe, stderr=pipe, start_new_session=True) as child:
            try:
                out, err = _printed(child, until)
                status = child.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                return Completed(LATE, "", f"{command[0]} did not answer within {timeout_seconds:.0f} s")
            except BaseException:
                child.kill()
                raise
    except FileNotFoundError as error:
        return Completed(127, "", str(error))
    except OSError as error:
        return Completed(UNBEGUN, "", f"this host could not begin {command[0]}: {error.strerror or error}")
    return Completed(status, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _printed(child: subprocess.Popen[bytes], until: float) -> tuple[bytes, bytes]:
    """What `child` prints on both of its streams until it ends; subprocess.TimeoutExpired at `until` (monotonic).

    A process that it leaves behind with its standard error is not waited for.
    """
    streams = [stream for stream in (child.stdout, child.stderr) if stream is not None]
    tails = {stream.fileno(): _Tail() for stream in streams}
    poll = select.poll()
    for descriptor in tails:
        poll.register(descriptor, select.POLLIN)
    left = set(tails)
    while left:
        over = streams[0].fileno() not in left and child.poll() is not None
        ready = poll.poll(0 if over else 1000 * min(END_LOOK_SECONDS, max(0.0, until - time.monotonic())))
        if not ready and over:
            break
        if not over and time.monotonic() >= until:
            raise subprocess.TimeoutExpired(child.args, 0.0)
        for descriptor, _ in ready:
            chunk = os.read(descriptor, _CHUNK)
            tails[descriptor].add(chunk)
            if not chunk:
                poll.unregister(descriptor)
                left.discard(descriptor)
    out, err = (tail.whole() for tail in tails.values())
    return out, err


class _Tail:
    """The last MOST_BYTES of a stream, from the beginning of a line on; all of it where it has no more."""

    def __init__(self) -> None:
        self.kept: deque[bytes] = deque()
        self.size, self.cut = 0, False

    def add(self, chunk: bytes) -> None:
        self.kept.append(chunk)
        self.size += len(chunk)
        while self.size - len(self.kept[0]) >= MOST_BYTES:
            self.size -= len(self.kept.popleft())
            self.cut = True

    def whole(self) -> bytes:
        joined = b"".join(self.kept)
        return joined.partition(b"\n")[2] if self.cut else joined


@dataclass(frozen=True)
class UnitState:
    """What systemd says of a unit; times and counts as systemd reports them."""

    load: str
    active: str
    sub: str
    result: str
    main_pid: int
    exit_status: int
    restarts: int
    control_group: str
    invocation: str
    fragment: str

    @property
    def running(self) -> bool:
        return self.active in ("active", "reloading")

    @property
    def gone(self) -> bool:
        """Neither running nor on its way up or down."""
        return self.active in ("inactive", "failed")


ABSENT = UnitState("not-found", "inactive", "dead", "", 0, 0, 0, "", "", "")
"""A unit that systemd does not know."""

_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "MainPID",
    "ExecMainStatus",
    "NRestarts",
    "ControlGroup",
    "InvocationID",
    "FragmentPath",
)


def parse_show(text: str) -> dict[str, UnitState]:
    """Parse `systemctl show --property=Id,...` of several units into states by unit name."""
    states: dict[str, UnitState] = {}
    for block in text.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" not in values:
            continue
        states[values["Id"]] = UnitState(
            load=values.get("LoadState", ""),
            active=values.get("ActiveState", ""),
            sub=values.get("SubState", ""),
            result=values.get("Result", ""),
            main_pid=_number(values.get("MainPID")),
            exit_status=_number(values.get("ExecMainStatus")),
            restarts=_number(values.get("NRestarts")),
            control_group=values.get("ControlGroup", ""),
            invocation=values.get("InvocationID", ""),
            fragment=values.get("FragmentPath", ""),
        )
    return states


def _deaf(done: Completed) -> bool:
    """Whether the manager did not hear what it was asked, or did not answer. Where there is none, nobody ever will."""
    if done.status in (LATE, UNBEGUN):
        return True
    if not done.status or "not been booted with systemd" in done.err:
        return False
    return _DEAF.search(done.err) is not None


LOG_SECONDS = 20.0
"""A journal that takes longer does not answer."""

_NO_REQUESTS = ("-p", "info")
"""Leaves out what is logged of each request (`access_log`), which would hide what the app says among it."""


def _journal_lines(text: str) -> list[Line]:
    """The lines of one entry as `journalctl -o json` prints it; none where it is none, or has no message."""
    try:
        entry = json.loads(text)
        message = entry.get("MESSAGE")
        if isinstance(message, list):  # bytes, where some of them cannot be printed
            message = bytes(message).decode("utf-8", "replace")
        at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    pid = _number(str(entry.get("_PID", "")))
    return [Line(at, pid, line) for line in message.split("\n")] if isinstance(message, str) else []


def _number(text: str | None) -> int:
    return int(text) if text and text.lstrip("-").isdigit() else 0


@dataclass
class Systemd:
    """The host's service manager."""

    runner: Runner = run
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    log_left: float = LOG_SECONDS
    """So long the journal is waited for yet, in all; one that has not answered is not asked any more."""

    deaf_looks: int = DEAF_LOOKS
    """So often systemctl is begun for what the manager does not hear."""

    def _systemctl(self, *words: str, timeout_seconds: float = 30.0) -> Completed:
        """systemctl, asked again for a while where the manager does not speak: it does not while it executes itself
        anew (daemon-reexec). What is asked of it may be asked twice."""
        for _ in range(self.deaf_looks):
            done = self.runner(["systemctl", "--no-pager", "--no-ask-password", *words], timeout_seconds)
            if not _deaf(done) or done.status == LATE:
                break
            self.sleep(DEAF_WAIT_SECONDS)
        return done

    def _answer(self, *words: str) -> Completed:
        """What systemctl answers to a question. SystemdError where it has none: no answer is not the answer that there
        is no such unit."""
        done = self._systemctl(*words)
        if _deaf(done):
            asked = [word for word in words if not word.startswith("--")]
            said = done.err.strip().splitlines()
            raise SystemdError(f"systemctl {' '.join(asked)} got no answer: {said[0] if said else 'nothing'}")
        return done

    def _must(self, *words: str, timeout_seconds: float = 30.0) -> None:
        done = self._systemctl(*words, timeout_seconds=timeout_seconds)
        if done.status:
            detail = (done.err or done.out).strip().splitlines()
            raise SystemdError(
                f"systemctl {' '.join(words)} failed: {detail[0] if detail else f'status {done.status}'}"
            )

    def reload(self) -> None:
        """Make systemd read its unit files again."""
        self._must("daemon-reload", timeout_seconds=60.0)

    def start(self, *units: str, timeout_seconds: float = 60.0) -> None:
        """Start units; returns when their start jobs are done. SystemdError when one fails."""
        self._must("start", *units, timeout_seconds=timeout_seconds)

    def begin_start(self, *units: str) -> None:
        """Queue the start of units and return at once: whether they come up is seen by asking them."""
        self._must("start", "--no-block", *units)

    def run_transient(self, unit: str, command: Sequence[str], properties: Sequence[str], *options: str) -> None:
        """Start `command` as a unit without files (systemd-run); it is forgotten as soon as it has ended.

        `properties`: "RuntimeMaxSec=60" and the like; `options`: others of systemd-run. SystemdError when refused.
        """
        settings = [f"--property={setting}" for setting in properties]
        words = ["systemd-run", "--quiet", "--collect", "--no-ask-password", f"--unit={unit}", *settings, *options]
        done = self.runner([*words, "--", *command], 30.0)
        if done.status:
            said = (done.err or done.out).strip().splitlines()
            raise SystemdError(f"systemd-run --unit={unit} failed: {said[0] if said else f'status {done.status}'}")

    def stop(self, *units: str, timeout_seconds: float = 120.0) -> None:
        """Stop units and wait until they have stopped (a draining instance takes its graceful timeout)."""
        if units:
            self._must("stop", *units, timeout_seconds=timeout_seconds)

    def begin_stop(self, *units: str) -> None:
        if units:
            self._must("stop", "--no-block", *units)

    def kill(self, unit: str) -> None:
        """SIGKILL to every process of the unit."""
        self._systemctl("kill", "--signal=KILL", unit)

    def reset_failed(self, *units: str) -> None:
        """Forget failures, so that start limits do not hinder the next start. Units never seen are no error."""
        if units:
            self._systemctl("reset-failed", *units)

    def states(self, *units: str) -> dict[str, UnitState]:
        """State of each unit; a unit that systemd does not know has load state 'not-found'."""
        if not units:
            return {}
        states = self.matching(*units)
        return {unit: states.get(unit, ABSENT) for unit in units}

    def matching(self, *patterns: str) -> dict[str, UnitState]:
        """State of the units of these names and of those in memory that these globs match, in one call.

        Units that are inactive may be missing from what a glob finds. SystemdError when systemd cannot be asked.
        """
        return parse_show(self._answer("show", f"--property={','.join(_PROPERTIES)}", "--", *patterns).out)

    def state(self, unit: str) -> UnitState:
        return self.states(unit)[unit]

    def property_lines(self, unit: str, name: str) -> list[str]:
        """The values of one property of a unit, a line each; none of a unit that systemd does not know."""
        done = self._answer("show", f"--property={name}", "--", unit)
        lines = [line.partition("=") for line in done.out.splitlines()]
        return [value for key, _, value in lines if key == name and value]

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit as systemd prints them, all where none is named; those that it does not know are
        missing."""
        done = self._answer("show", *([f"--property={','.join(names)}"] if names else []), "--", unit)
        return {key: value for key, sep, value in (line.partition("=") for line in done.out.splitlines()) if sep}

    def enable(self, *units: str) -> None:
        """Have units started at boot. SystemdError when one cannot be."""
        if units:
            self._must("enable", *units)

    def disable(self, *units: str) -> None:
        """Have units started at boot no more; they run on. SystemdError when one cannot be."""
        if units:
            self._must("disable", *units)

    def loaded(self, pattern: str) -> list[str]:
        """Names of the units in memory that match the glob `pattern`, whatever their state."""
        done = self._answer("list-units", "--all", "--plain", "--no-legend", "--full", pattern)
        return [line.split()[0] for line in done.out.splitlines() if line.split()]

    def said(self, unit: str, since_epoch: float, lines: int = 4000) -> list[Line]:
        """The last lines that `unit` logged since `since_epoch` (seconds), with time and process, without secrets;
        empty when there is no journal to ask, one that begins with UNREAD where it does not answer. What was logged
        until now is in it."""
        # --all: a long line, as JSON has them, would be left out else.
        options = ["-o", "json", "--all", "--output-fields=MESSAGE,_PID"]
        text, unread = self._logged(unit, since_epoch, lines, options)
        read = [line for entry in text.split("\n") for line in _journal_lines(entry)]
        read = [Line(0.0, 0, unread)] if unread else read
        return [replace(line, text=text) for line, text in zip(read, clean_lines([line.text for line in read]))]

    def journal(self, unit: str, since_epoch: float, lines: int = 200, until_epoch: float | None = None) -> list[str]:
        """The texts of said(); those of later seconds than `until_epoch` are left out."""
        until = [f"--until=@{int(until_epoch) + 2}"] if until_epoch is not None else []
        text, unread = self._logged(unit, since_epoch, lines, [*until, "-o", "cat"])
        # Cleaned before anybody cuts a line to a length: the beginning of a secret would not be known as one.
        return clean_text(text + unread).splitlines()

    def _logged(self, unit: str, since_epoch: float, lines: int, form: Sequence[str]) -> tuple[str, str]:
        """What journalctl prints, and why it could not be had ("" where it could)."""
        ask = ["journalctl", "--no-pager", "-q", *_NO_REQUESTS, "-u", unit, f"--since=@{int(since_epoch)}"]
        done = self._ask_log(["journalctl", "--sync"])
        if done.status != LATE:
            done = self._ask_log([*ask, "-n", str(lines), *form])
        if not done.status:
            return done.out, ""
        why = "".join(done.err.strip().splitlines()[:1])
        return "", "" if why.startswith("No journal files") else f"{UNREAD}{why or f'status {done.status}'}"

    def _ask_log(self, command: Sequence[str]) -> Completed:
        begin, most = self.monotonic(), min(LOG_SECONDS, self.log_left)
        done = self.runner(command, most) if most > 0 else Completed(LATE, "", "")
        if done.status == LATE:
            self.log_left = 0.0
            return replace(done, err="the journal does not answer")
        self.log_left -= self.monotonic() - begin
        return done
