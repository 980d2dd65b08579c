# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import secrecy, systemd
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.background import begin_thread
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lastwords import first_cause
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lines import Line
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import (
    Completed,
    Systemd,
    SystemdError,
    parse_show,
)

# systemctl 252 (Debian 12): show --property=Id,... of a running and of a failed service
SHOW = """\
Result=success
NRestarts=0
MainPID=253
ExecMainStatus=0
ControlGroup=/system.slice/shop@1.service
Id=shop@1.service
LoadState=loaded
ActiveState=active
FragmentPath=/opt/headcount/shop/generations/1/shop@1.service
SubState=running
InvocationID=8d2f

Result=exit-code
NRestarts=2
MainPID=0
ExecMainStatus=3
ControlGroup=
Id=shop@2.service
LoadState=loaded
ActiveState=failed
SubState=failed
"""


def test_show_of_several_units_is_parsed() -> None:
    states = parse_show(SHOW)
    one, two = states["shop@1.service"], states["shop@2.service"]
    assert one.running
    assert one.main_pid == 253
    assert two.gone
    assert (two.result, two.exit_status, two.restarts) == ("exit-code", 3, 2)


class Recorder:
    def __init__(self, answer: Completed) -> None:
        self.answer = answer
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        self.commands.append(list(command))
        return self.answer


def test_a_refusal_is_told_in_systemctls_words() -> None:
    systemd = Systemd(Recorder(Completed(1, "", "Job for shop.socket failed.\nSee journalctl.\n")))
    with pytest.raises(SystemdError, match=r"^systemctl start shop.socket failed: Job for shop.socket failed\.$"):
        systemd.start("shop.socket")


def test_a_unit_that_is_not_known_is_absent() -> None:
    state = Systemd(Recorder(Completed(0, "", ""))).state("none.service")
    assert state.load == "not-found"
    assert state.gone


def test_names_and_globs_are_asked_for_in_one_call() -> None:
    recorder = Recorder(Completed(0, SHOW, ""))
    states = Systemd(recorder).matching("shop.socket", "shop@*.service")
    assert sorted(states) == ["shop@1.service", "shop@2.service"]
    assert [command[-3:] for command in recorder.commands] == [["--", "shop.socket", "shop@*.service"]]


def test_all_properties_are_told_where_none_is_named() -> None:
    recorder = Recorder(Completed(0, "Id=shop.socket\nNewKind=a.service\n", ""))
    systemd = Systemd(recorder)
    assert systemd.properties("shop.socket") == {"Id": "shop.socket", "NewKind": "a.service"}
    systemd.properties("shop.socket", "Id", "Names")
    assert [[word for word in command if "property" in word] for command in recorder.commands] == [
        [],
        ["--property=Id,Names"],
    ]


def test_nothing_to_stop_asks_nobody() -> None:
    recorder = Recorder(Completed(0, "", ""))
    Systemd(recorder).stop()
    assert recorder.commands == []


def test_no_journal_is_no_error() -> None:
    assert Systemd(Recorder(Completed(1, "", "No journal files were found."))).journal("shop@1.service", 0.0) == []


def test_what_was_said_has_time_and_process_and_no_secrets() -> None:
    entries = [
        {"__REALTIME_TIMESTAMP": "1764114001500000", "_PID": "812", "MESSAGE": "password s3cr3t-1-XYZZY"},
        {"__REALTIME_TIMESTAMP": "1764114001600000", "_PID": "813", "MESSAGE": list(b"\x1b[31mred")},
        {"__REALTIME_TIMESTAMP": "1764114001700000", "MESSAGE": "two\nlines"},
        {"__REALTIME_TIMESTAMP": "1764114001800000", "_PID": "812", "MESSAGE": None},
        "nothing",
    ]
    recorder = Recorder(Completed(0, "\n".join(map(json.dumps, entries)) + "\n{torn", ""))
    secrecy.learn(["s3cr3t-1-XYZZY"])
    try:
        said = Systemd(recorder).said("shop@1.service", 1764114001.9)
    finally:
        secrecy.forget()
    assert said == [
        Line(1764114001.5, 812, "password ***"),
        Line(1764114001.6, 813, "red"),
        Line(1764114001.7, 0, "two"),
        Line(1764114001.7, 0, "lines"),
    ]
    assert recorder.commands[0] == ["journalctl", "--sync"]
    assert "--since=@1764114001" in recorder.commands[1]
    assert "--all" in recorder.commands[1]


def test_a_host_without_a_journal_said_nothing() -> None:
    assert Systemd(Recorder(Completed(1, "", "No journal files were found."))).said("shop@1.service", 0.0) == []


IMPORT_ERROR = """\
[2026-11-22 15:47:07 +0000] [255] [INFO] Booting worker with pid: 255
[2026-11-22 15:47:07 +0000] [255] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "/opt/v/lib/python3.11/site-packages/gunicorn/arbiter.py", line 608, in spawn_worker
    worker.init_process()
ModuleNotFoundError: No module named 'shop.wsgi'
[2026-11-22 15:47:07 +0000] [255] [INFO] Worker exiting (pid: 255)
[2026-11-22 15:47:07 +0000] [253] [ERROR] Worker (pid:255) exited with code 3
[2026-11-22 15:47:07 +0000] [253] [ERROR] Shutting down: Master
[2026-11-22 15:47:07 +0000] [253] [ERROR] Reason: Worker failed to boot.
"""
EXITS_BY_ITSELF = """\
[2026-11-25 18:55:01 +0000] [700] [INFO] Booting worker with pid: 730
When auth-ops-list is empty (-a=.), password-file (-P=None) must also be empty
[2026-11-25 18:55:02 +0000] [700] [ERROR] Worker (pid:730) exited with code 1.
"""
CHAINED = """\
Traceback (most recent call last):
  File "a.py", line 1, in <module>
KeyError: 'DATABASE_URL'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in <module>
app.errors.ConfigError: no database is configured
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (IMPORT_ERROR, "ModuleNotFoundError: No module named 'shop.wsgi'"),
        (CHAINED, "app.errors.ConfigError: no database is configured (after KeyError: 'DATABASE_URL')"),
        (EXITS_BY_ITSELF, "When auth-ops-list is empty (-a=.), password-file (-P=None) must also be empty"),
        (
            "[2026-11-25 18:55:02 +0000] [700] [ERROR] Worker (pid:730) exited with code 70.\n",
            "[2026-11-25 18:55:02 +0000] [700] [ERROR] Worker (pid:730) exited with code 70.",
        ),
        (
            "Started shop-trial@3.service - shop: Gunicorn, candidate 3.\n"
            "[2026-11-25 18:55:02 +0000] [700] [ERROR] Worker (pid:730) exited with code 70.\n",
            "[2026-11-25 18:55:02 +0000] [700] [ERROR] Worker (pid:730) exited with code 70.",
        ),
        ("all is well\n", None),
        ("", None),
        (
            "/usr/bin/env: 'gunicorn': No such file or directory\n",
            "/usr/bin/env: 'gunicorn': No such file or directory",
        ),
    ],
)
def test_the_first_cause_of_a_death(log: str, cause: str | None) -> None:
    assert first_cause(log.splitlines()) == cause


DEAF = Completed(1, "", "Failed to get properties: Transport endpoint is not connected\n")


def test_a_manager_that_executes_itself_anew_is_asked_again() -> None:
    answers = [
        DEAF,
        Completed(1, "", "Failed to get properties: Message recipient disconnected from message bus"),
        DEAF,
    ]
    waited: list[float] = []

    def runner(command: Sequence[str], timeout: float) -> Completed:
        return answers.pop() if answers else Completed(0, SHOW, "")

    systemd = Systemd(runner, sleep=waited.append)
    assert systemd.state("shop@1.service").main_pid == 253
    assert len(waited) == 3


def test_a_manager_that_stays_silent_is_not_taken_for_a_unit_that_is_gone() -> None:
    systemd = Systemd(lambda command, timeout: DEAF, sleep=lambda seconds: None)
    with pytest.raises(SystemdError, match="got no answer: Failed to get properties: Transport endpoint"):
        systemd.state("shop@7.service")
    with pytest.raises(SystemdError, match=r"start shop\.socket failed: Failed to get"):
        systemd.start("shop.socket")


def test_an_error_of_another_kind_is_told_at_once() -> None:
    asked: list[float] = []
    refused = Completed(1, "", "Failed to start nothing.service: Unit nothing.service not found.\n")
    systemd = Systemd(lambda command, timeout: refused, sleep=asked.append)
    with pytest.raises(SystemdError, match="not found"):
        systemd.start("nothing.service")
    assert not asked


def test_of_what_a_command_prints_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "MOST_BYTES", 200_000)
    code = "for number in range(100): print(number, 'x' * 10_000)"
    done = systemd.run([sys.executable, "-c", code], 20.0)
    lines = done.out.splitlines()
    assert done.status == 0
    assert 15 <= len(lines) <= 27
    assert [line.split()[0] for line in lines] == [str(number) for number in range(100 - len(lines), 100)]


def test_a_command_that_hangs_is_ended_and_one_that_fails_is_told() -> None:
    assert systemd.run([sys.executable, "-c", "import time; time.sleep(60)"], 0.5).status == 124  # it hangs
    failed = systemd.run([sys.executable, "-c", "import sys; print('a'); sys.exit('no')"], 20.0)
    assert (failed.status, failed.out, failed.err) == (1, "a\n", "no\n")
    assert systemd.run(["/nowhere/at/all"], 1.0).status == 127


def test_a_command_that_this_host_cannot_begin_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*words: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(systemd.subprocess, "Popen", begin)
    done = systemd.run(["systemctl", "show"], 1.0)
    said = "this host could not begin systemctl: Resource temporarily unavailable"
    assert done == Completed(systemd.UNBEGUN, "", said)


def test_a_command_takes_no_thread_and_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))  # where no folder can be written
    assert systemd.run([sys.executable, "-c", "print('here')"], 20.0) == Completed(0, "here\n", "")


def test_what_a_command_leaves_behind_is_not_waited_for() -> None:
    code = "import subprocess, sys; subprocess.Popen(['sleep', '30'], stdout=subprocess.DEVNULL); sys.exit(3)"
    begin = time.monotonic()
    assert systemd.run([sys.executable, "-c", code], 20.0).status == 3
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize("status", [systemd.LATE, systemd.UNBEGUN])
def test_no_answer_is_not_the_answer_that_nothing_is_there(status: int) -> None:
    silent = Systemd(lambda command, timeout: Completed(status, "", "why there is none"), sleep=lambda seconds: None)
    questions: list[Callable[[], object]] = [
        lambda: silent.states("shop@1.service"),
        lambda: silent.matching("shop@*"),
        lambda: silent.loaded("shop@*"),
        lambda: silent.properties("shop@1.service", "Id"),
        lambda: silent.property_lines("shop@1.service", "Id"),
    ]
    for question in questions:
        with pytest.raises(SystemdError, match="got no answer: why there is none"):
            question()


def test_a_thread_that_cannot_be_begun_is_an_error_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(OSError, match="this host could not begin a thread: Resource temporarily unavailable"):
        begin_thread(threading.Thread())


@pytest.mark.parametrize(
    ("done", "why"),
    [
        (Completed(systemd.UNBEGUN, "", "this host could not begin journalctl: Cannot allocate memory"), None),
        (Completed(systemd.LATE, "", "journalctl did not answer within 20 s"), "the journal does not answer"),
        (
            Completed(1, "half a line", "Failed to open files: Too many open files\nmore"),
            "Failed to open files: Too many",
        ),
        (Completed(3, "", ""), "status 3"),
    ],
)
def test_a_log_that_cannot_be_read_is_not_an_empty_one(done: Completed, why: str | None) -> None:
    (text,) = Systemd(Recorder(done)).journal("shop@1.service", 0.0)
    assert text.startswith(f"its log could not be read: {why or done.err}")
    assert Systemd(Recorder(done)).said("shop@1.service", 0.0) == [Line(0.0, 0, text)]


class Hanging:
    """A journal: the word of journalctl's call that hangs; the other one takes `each` seconds."""

    def __init__(self, words: str, each: float = 0.5) -> None:
        self.words, self.each, self.now, self.asked = words, each, 0.0, 0

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        self.asked += 1
        hangs = self.words in command or self.each > timeout_seconds
        self.now += timeout_seconds if hangs else self.each
        return Completed(systemd.LATE if hangs else 0, "", "")

    def host(self) -> Systemd:
        return Systemd(self, monotonic=lambda: self.now)


UNANSWERED = "its log could not be read: the journal does not answer"


@pytest.mark.parametrize("part", ["--sync", "--no-pager"])
@pytest.mark.parametrize(("left", "seconds"), [(5.0, 5.0), (systemd.LOG_SECONDS, 20.0), (3000.0, 20.5)])
def test_a_journal_that_hangs_is_waited_for_once(part: str, left: float, seconds: float) -> None:
    journal = Hanging(part)
    host = journal.host()
    host.log_left = left
    for _ in range(5):
        assert host.journal("shop@1.service", 0.0) == [UNANSWERED]
        assert [line.text for line in host.said("shop@2.service", 0.0)] == [UNANSWERED]
    assert journal.now <= seconds
    asked = journal.asked
    host.log_left = left  # the next step
    host.journal("shop@1.service", 0.0)
    assert journal.asked > asked


def test_a_slow_journal_is_waited_for_by_who_has_the_time() -> None:
    """Who has no users to see to reads on while it answers; a way back has one time for all of its words."""
    journal = Hanging("nothing hangs", 2.0)
    host = journal.host()
    host.log_left = 3000.0
    for _ in range(20):
        assert host.journal("shop@1.service", 0.0) == []
    host.log_left, begin = 5.0, journal.now
    said = [host.journal("shop@1.service", 0.0) for _ in range(20)]
    assert (said[0], said[-1]) == ([], [UNANSWERED])
    assert journal.now - begin == 5.0


def test_what_was_logged_later_is_left_out() -> None:
    recorder = Recorder(Completed(0, "one", ""))
    Systemd(recorder).journal("shop@1.service", 7.9, until_epoch=9.1)
    assert "--until=@11" in recorder.commands[1]


def test_what_was_logged_until_now_is_in_it() -> None:
    recorder = Recorder(Completed(0, "one\ntwo", ""))
    assert Systemd(recorder).journal("shop@1.service", 7.9) == ["one", "two"]
    assert [command[:2] for command in recorder.commands] == [["journalctl", "--sync"], ["journalctl", "--no-pager"]]
    assert "--since=@7" in recorder.commands[1]


def test_a_signal_to_the_terminal_does_not_reach_what_is_run() -> None:
    """^C goes to all of the session's foreground: systemctl would end amid a switch that is to be finished."""
    told = systemd.run([sys.executable, "-c", "import os; print(os.getsid(0), os.getpgrp())"], 30.0)
    assert not {str(os.getsid(0)), str(os.getpgrp())} & set(told.out.split())
