# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Commands that prepare a release: their sandbox, what is remembered of them, and how they end."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import commands, ledger, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.prepared import Prepared
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.record import GenerationRecord
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import byhand
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lastwords import last_words
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.prepare import Command, again, prepare
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.watchdog import step_seconds

UNIT = "headcount-prepare-shop.service"
SERVICE = """\
# shop, generation 1.
[Unit]
Description=not a setting of the service
[Service]
Type=notify
Sockets=shop.socket shop@1.socket
NonBlocking=yes
User=hc-shop
RuntimeDirectory=headcount-instances/shop-1
StateDirectory=headcount-data/shop
ExecStartPre=/bin/sh /data.sh
EnvironmentFile=/var/lib/headcount/shop/1.env
ExecStart=/x/gunicorn \\
    --config y
Restart=always
; a comment
MemoryMax=100M
SystemCallFilter=@system-service
SystemCallFilter=~@privileged

[Install]
WantedBy=x
"""
APP: dict[str, Any] = {
    "name": "shop",
    "entry_point": "shop.wsgi:create_app('x')",
    "listen": "127.0.0.1:8000",
    "source": {"as": "tree"},
    "health": {},
    "prepare": [{"run": "flask db upgrade"}],
}


class Host:
    """Generation 1 is staged; systemd-run ends with `status`, and systemd shows the unit as `shown`."""

    def __init__(self, root: Path) -> None:
        self.called: list[Sequence[str]] = []
        self.status, self.shown, self.lines = 0, "ActiveState=inactive", ["Started x.service", "first", "no such table"]
        self.app = AppOnHost("shop", Run("a1", "anna", "control1", "t"), str(root), Systemd(self))
        self.layout = self.app.layout
        for folder in (self.layout.state, self.layout.units, self.layout.runtime):
            os.makedirs(folder)
        store.begin(self.layout, 1, "0" * 16)
        plan = {"settings": {"memory_max_mib": {"value": 100}}}
        record = {"number": 1, "release": "0" * 16, "app": APP, "plan": plan}
        store.write(self.layout, 1, {"shop@1.service": SERVICE}, record)
        bin_ = Path(self.layout.release("0" * 16), "venv/bin")
        bin_.mkdir(parents=True)
        for path in (bin_ / "flask", root / "bin/sh"):
            path.parent.mkdir(exist_ok=True)
            path.touch(0o755)
        self.app.instances.sleep = self.pass_time
        self.now, self.seconds = 0.0, 0.0
        self.taken = False
        self.app.instances.monotonic = lambda: self.now

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        if self.now > 5:
            self.shown = "ActiveState=inactive"

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        if command[0] == "systemd-run":
            self.called.append(command)
            self.now += self.seconds
            if self.taken:
                return Completed(1, "", f"Failed to start transient service unit: Unit {UNIT} was already loaded")
            return Completed(self.status, "", "")
        if "reset-failed" in command and UNIT in command:
            self.taken = False
        if command[0] == "journalctl" and "cat" in command:
            return Completed(0, "\n".join(self.lines if UNIT in command else []), "")
        if command[0] == "journalctl":
            told = [{"MESSAGE": line, "_PID": "7", "__REALTIME_TIMESTAMP": "1000000"} for line in self.lines]
            return Completed(0, "\n".join(map(json.dumps, told)), "")
        return Completed(0, f"Id={UNIT}\nLoadState=loaded\n{self.shown}\n" if "show" in command else "", "")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def command(run: str = "flask db upgrade", seconds: float = 60.0) -> Command:
    return Command(run, f"key of {run}", seconds)


def test_a_command_has_what_the_service_has_but_for_what_is_the_servers(host: Host) -> None:
    prepare(host.app, 1, [command()])
    (called,) = host.called
    properties = [word.partition("=")[2] for word in called if word.startswith("--property=")]
    assert properties == [
        "User=hc-shop",
        "StateDirectory=headcount-data/shop",
        "ExecStartPre=/bin/sh /data.sh",
        "EnvironmentFile=/var/lib/headcount/shop/1.env",
        "MemoryMax=100M",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "Type=exec",
        "TimeoutStopSec=30",
        "RuntimeDirectory=headcount-instances/headcount-prepare-shop",
        "RuntimeMaxSec=60",
    ]
    told = dict(word[len("--setenv=") :].split("=", 1) for word in called if word.startswith("--setenv="))
    release = f"/opt/headcount/shop/releases/{'0' * 16}"
    assert told == {
        "PATH": f"{release}/venv/bin:{commands.HOST_PATH}",
        "PYTHONPATH": f"{release}/tree",
        "FLASK_APP": "shop.wsgi:create_app('x')",
        "HEADCOUNT_ROLE": "prepare",
    }
    assert called[-4:] == ["--", f"{release}/venv/bin/flask", "db", "upgrade"]
    assert f"--unit={UNIT}" in called


def test_what_a_killed_run_left_and_failed_since_is_not_in_the_way_of_the_next(host: Host) -> None:
    host.taken, host.shown = True, "ActiveState=failed\nResult=exit-code\nExecMainStatus=1"
    assert [one["run"] for one in prepare(host.app, 1, [command()])["prepared"]] == ["flask db upgrade"]


def _making(host: Host, path: Path, text: str) -> Callable[[Sequence[str], float], Completed]:
    """Commands write that (or a file in that folder), and end as the host says."""

    def run(words: Sequence[str], timeout_seconds: float) -> Completed:
        if words[0] == "systemd-run":
            (path / "made" if path.is_dir() else path).write_text(text)
        return host(words, timeout_seconds)

    return run


def test_one_that_does_not_make_what_it_is_to_make_fails_and_names_what_it_wrote(host: Host) -> None:
    """It would be run again with the next release, and empty what users have by then."""
    made = Path(host.app.layout.data) / "shop-instance.sqlite"
    made.parent.mkdir(parents=True, exist_ok=True)
    host.app.systemd.runner = _making(host, made, "rows")
    wrong = replace(command("flask init-db"), creates=str(made.parent / "shop.sqlite"))
    with pytest.raises(StepFailed, match=re.escape(f"is not there or is empty: it wrote {made} in the app's data")):
        prepare(host.app, 1, [wrong])
    found = prepare(host.app, 1, [replace(wrong, creates=str(made))])
    assert found["told"] == [f"`flask init-db` is not run: {made} is there"]
    host.app.systemd.runner = _making(host, made, "")
    made.unlink()
    with pytest.raises(StepFailed, match="is not there or is empty"):
        prepare(host.app, 1, [replace(wrong, creates=str(made))])


@pytest.mark.parametrize(
    ("there", "runs"),
    [
        pytest.param(None, True, id="nothing"),
        pytest.param("", True, id="what a mere look left"),
        pytest.param("rows", False, id="a database"),
        pytest.param("folder", True, id="an empty folder"),
        pytest.param("folder/x", False, id="a folder that holds something"),
    ],
)
def test_what_it_creates_and_is_there_is_not_made_again(
    host: Host, tmp_path: Path, there: str | None, runs: bool
) -> None:
    kept = tmp_path / "kept"
    if there is not None and "folder" in there:
        (tmp_path / there.replace("folder", "kept")).mkdir(parents=True)
    elif there is not None:
        kept.write_text(there)
    host.app.systemd.runner = _making(host, kept, "made")
    found = prepare(host.app, 1, [replace(command("flask init-db"), creates=str(kept))])
    assert [one["run"] for one in found["prepared"]] == (["flask init-db"] if runs else [])
    assert found["told"] == ([] if runs else [f"`flask init-db` is not run: {kept} is there"])


def test_what_one_that_failed_has_left_is_told(host: Host, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()

    def half(words: Sequence[str], timeout_seconds: float) -> Completed:
        if words[0] == "systemd-run":
            (kept / "half").touch()
        return host(words, timeout_seconds)

    host.status, host.shown = 1, "ActiveState=inactive\nResult=exit-code\nExecMainStatus=1"
    host.app.systemd.runner = half
    with pytest.raises(StepFailed, match="is there now, so that it is run again only when that is removed"):
        prepare(host.app, 1, [replace(command("flask init-db"), creates=str(kept))])


def test_what_has_run_is_not_run_again(host: Host) -> None:
    assert [one["run"] for one in prepare(host.app, 1, [command(), command("flask x")])["prepared"]] == [
        "flask db upgrade",
        "flask x",
    ]
    assert prepare(host.app, 1, [command(), command("flask y")])["prepared"][0]["run"] == "flask y"
    assert len(host.called) == 3
    assert host.app.layout.prepared.endswith("/var/lib/headcount/shop/prepared.json")
    assert os.stat(host.app.layout.prepared).st_mode & 0o777 == 0o600
    assert [entry["event"] for entry in ledger.read(host.layout.ledger)] == ["prepared", "prepared"]


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("Result=exit-code\nExecMainStatus=1", "`flask db upgrade` exited with status 1: no such table"),
        ("Result=timeout", "`flask db upgrade` did not end within 60 s: no such table"),
        (
            "Result=oom-kill",
            "`flask db upgrade` was killed by the kernel for memory: it needs more than the 100 MiB that the plan "
            "allows: no such table",
        ),
        ("Result=signal\nExecMainStatus=11", "`flask db upgrade` was killed (signal 11): no such table"),
        ("Result=resources", "`flask db upgrade` ended with status 1: no such table"),
    ],
)
def test_one_that_fails_ends_the_step_with_its_last_words(host: Host, shown: str, words: str) -> None:
    host.status, host.shown, host.seconds = 1, f"ActiveState=failed\n{shown}", 60.0
    with pytest.raises(StepFailed) as failed:
        prepare(host.app, 1, [command(), command("flask never")])
    assert (failed.value.phase, failed.value.cause) == ("prepare", words)
    assert len(host.called) == 1
    assert Prepared(host.layout).keys() == []
    assert Prepared(host.layout).begun() == {}
    last = ledger.read(host.layout.ledger)[-1]
    assert (last["event"], last["phase"], last["cause"]) == ("failed", "prepare", words)


def test_one_that_ended_and_left_processes_behind_is_not_told_as_one_that_took_too_long(host: Host) -> None:
    host.status, host.shown, host.seconds = 1, "ActiveState=failed\nResult=timeout\nExecMainStatus=0", 31.0
    with pytest.raises(StepFailed) as failed:
        prepare(host.app, 1, [command()])
    assert failed.value.cause.startswith(
        "`flask db upgrade` ended, and left processes behind that did not end within 30 s when they were asked to"
    )


def test_one_that_writes_into_its_release_is_told_what_to_declare(host: Host) -> None:
    host.status, host.shown = 1, "ActiveState=failed\nResult=exit-code\nExecMainStatus=1"
    host.lines = ["OSError: [Errno 30] Read-only file system: 'static/gen/a.css'"]
    with pytest.raises(StepFailed) as failed:
        prepare(host.app, 1, [command("flask collect")])
    assert "`data: {built: [static/gen]}` gives each generation that folder for itself" in failed.value.cause


def test_a_program_that_is_not_there_is_told_before_anything_runs(host: Host) -> None:
    with pytest.raises(StepFailed, match="`nothing-of-that-name` is no program of the release"):
        prepare(host.app, 1, [command(), command("nothing-of-that-name x")])
    assert host.called == []


def test_what_a_killed_run_left_is_waited_for_told_and_run_again(host: Host) -> None:
    Prepared(host.layout).begin("key of flask db upgrade", "flask db upgrade", "run b2 of bert on control2")
    host.shown = "ActiveState=active"
    told = prepare(host.app, 1, [command()])["told"]
    assert told[0] == "waited 6 s for the command that a run before had begun"
    assert told[1].startswith("`flask db upgrade` was begun by run b2 of bert on control2 at ")
    assert told[1].endswith("and nothing is known of its end: it is run again")
    assert len(host.called) == 1
    assert prepare(host.app, 1, [command()]) == {"prepared": [], "told": []}


def test_what_a_killed_first_setup_made_is_not_made_again(host: Host, tmp_path: Path) -> None:
    """Somebody may have put a copy of the data back by hand meanwhile."""
    setup, there = replace(command("flask init-db"), creates=str(tmp_path / "shop.db")), tmp_path / "shop.db"
    there.write_text("rows")
    Prepared(host.layout).begin(setup.key, setup.run, "run b2 of bert on control2")
    (told,) = prepare(host.app, 1, [setup])["told"]
    assert told.startswith(
        f"`flask init-db` is not run: {there} is there; it was begun by run b2 of bert on control2 at "
    )
    assert told.endswith("and nothing is known of its end: where that is half of it, remove it, and it is run again")
    assert (host.called, Prepared(host.layout).begun()) == ([], {})
    there.unlink()
    host.app.systemd.runner = _making(host, there, "made")
    assert [one["run"] for one in prepare(host.app, 1, [setup])["prepared"]] == ["flask init-db"]


def test_what_the_release_before_it_left_is_settled_once_it_was_waited_for(host: Host) -> None:
    Prepared(host.layout).begin("key of the release before", "flask db upgrade", "run b2 of bert on control2")
    host.shown = "ActiveState=active"
    assert prepare(host.app, 1, [command()])["told"] == ["waited 6 s for the command that a run before had begun"]
    assert Prepared(host.layout).begun() == {}


def test_one_that_does_not_end_is_named(host: Host) -> None:
    host.shown, host.app.instances.sleep = "ActiveState=active", lambda seconds: setattr(host, "now", host.now + 30)
    with pytest.raises(StepFailed, match=f"{UNIT}, which another run left, does not end: `systemctl stop {UNIT}`"):
        prepare(host.app, 1, [command()])


def test_no_variable_is_put_into_the_list_of_processes(host: Host) -> None:
    prepare(host.app, 1, [command("sh -c 'echo $SECRET'")])
    assert host.called[0][-2:] == ["-c", "echo $$SECRET"]


def test_only_so_many_are_remembered(host: Host) -> None:
    for number in range(210):
        Prepared(host.layout).begin(str(number), "x", "y")
        Prepared(host.layout).end(str(number), well=True)
    assert Prepared(host.layout).keys() == [str(number) for number in range(10, 210)]


def test_the_step_has_the_time_of_its_commands() -> None:
    app = {"prepare": [{"run": "x", "seconds": 1000.0}, {"run": "y"}]}
    record = GenerationRecord(app, {}, {})
    assert step_seconds("prepare", record, None) == 120 + (1060 + 660) + 1060


def test_the_last_words() -> None:
    assert last_words(["Traceback (most recent call last):", "  x", "a.b.NoError: table", "cleaning up"]) == (
        "a.b.NoError: table"
    )
    assert last_words(["one", "two", ""]) == "two"
    assert last_words([]) == ""


class TestByHand:
    """`headcount run`."""

    def run(self, host: Host, terminal: bool = False, live: bool = True) -> tuple[int, list[Sequence[str]]]:
        called: list[Sequence[str]] = []
        if live:
            store.finish(host.layout, 1)
            store.activate(host.layout, 1)
        return byhand.run(
            host.app, ["flask", "users", "$HOME"], terminal, lambda words: called.append(words) or 7
        ), called

    @pytest.mark.parametrize(("terminal", "stream"), [(True, "--pty"), (False, "--pipe")])
    def test_it_has_the_live_release_and_its_status_is_passed_on(self, host: Host, terminal: bool, stream: str) -> None:
        status, (called,) = self.run(host, terminal)
        assert status == 7
        assert stream in called
        assert "--setenv=HEADCOUNT_ROLE=run" in called
        assert f"--property=RuntimeDirectory=headcount-instances/headcount-run-shop-{os.getpid()}" in called
        assert called[-2:] == ["users", "$$HOME"]
        entry = ledger.read(host.layout.ledger)[-1]
        assert (entry["event"], entry["generation"], entry["command"], entry["status"]) == ("ran", 1, "flask", 7)
        assert "users" not in str(entry)

    def test_nothing_is_live(self, host: Host) -> None:
        with pytest.raises(StepFailed, match="nothing of shop is live on this host"):
            self.run(host, live=False)


def test_what_a_generation_needs_is_run_for_each_one_and_looked_for_in_its_own(host: Host) -> None:
    own = Path(host.layout.generation(1), "built/static/gen")
    own.mkdir(parents=True)
    assets = replace(command("flask assets build"), creates="static/gen/all.css")
    with pytest.raises(
        StepFailed, match=r"ended well, but static/gen/all\.css, which it `creates`, is not there or is"
    ):
        prepare(host.app, 1, [assets])
    (own / "all.css").write_text("made", encoding="utf-8")
    for _ in range(2):
        found = prepare(host.app, 1, [assets])
        assert [one["run"] for one in found["prepared"]] == ["flask assets build"]
        assert found["told"] == []


def test_what_is_made_in_a_generations_own_and_not_said_is_told(host: Host) -> None:
    own = Path(host.layout.generation(1), "built/static/gen")
    own.mkdir(parents=True)

    def writes(words: Sequence[str], timeout_seconds: float) -> Completed:
        if words[0] == "systemd-run":
            (own / "all.css").touch()
        return host(words, timeout_seconds)

    host.app.systemd.runner = writes
    (told,) = prepare(host.app, 1, [command("flask assets build")])["told"]
    assert told.startswith(
        "`flask assets build` wrote static/gen/all.css in a folder of data.built, which is generation 1"
    )
    assert "`creates: static/gen/all.css`" in told


def test_no_command_is_told_to_have_made_what_another_one_made_just_before(host: Host) -> None:
    own = Path(host.layout.generation(1), "built/static/gen")
    own.mkdir(parents=True)
    (own / "all.css").touch()
    assert prepare(host.app, 1, [command("flask db upgrade")])["told"] == []


def test_a_host_that_tunes_itself_runs_what_each_generation_needs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(host.layout.generation(1), "built/static/gen")
    own.mkdir(parents=True)
    (own / "all.css").write_text("made", encoding="utf-8")
    again(host.app, 1)
    assert host.called == [], "migrations are the release's"
    record = host.app.record(1)
    assets = {"run": "flask assets build", "creates": "static/gen/all.css", "seconds": 5, "each_host": True}
    more = replace(record, app={**record.app, "prepare": [*record.app["prepare"], assets]})
    monkeypatch.setattr(host.app, "record", lambda _: more)
    again(host.app, 1)
    assert [list(words[-2:]) for words in host.called] == [["assets", "build"]]
