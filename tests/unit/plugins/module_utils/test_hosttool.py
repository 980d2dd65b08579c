# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The host's own tool: put there whole, complete, and plain in what it says."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils import _hosttool as tool
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import ledger
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import AppLock
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.takeover import GIVEN_BACK, Record
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import exporting
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd, SystemdError
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch.view import AppView
from fake_systemd import FakeSystemd


def test_the_sources_are_all_that_the_tool_imports(tmp_path: Path) -> None:
    """A Python that knows nothing but the installed package runs the tool."""
    tool.install(tool.own_sources(), root=str(tmp_path))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'usr/local/lib/headcount/current')!r}); "
        "from headcount._hosttool import parser; from headcount._steps.sampler import main; print(parser().prog)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("headcount\n", "")


def test_what_is_imported_when_it_is_called_is_among_them_too(tmp_path: Path) -> None:
    """In a Python of its own: here other tests have imported it all already."""
    code = (
        "from ansible_collections.headcount.gunicorn.plugins.module_utils import _hosttool as tool; "
        "wanted = {'_plan/picture', '_plan/waits', '_plan/unfit', '_generation/former', '_os/logged'}; "
        "print(sorted(wanted - set(tool.own_sources())))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_version_replaces_another_with_one_rename(tmp_path: Path) -> None:
    root = str(tmp_path)
    top = tmp_path / "usr/local/lib/headcount"
    assert tool.install({"_hosttool": "A = 1"}, root)
    first = os.readlink(top / "current")
    assert not tool.install({"_hosttool": "A = 1"}, root)
    assert tool.install({"_hosttool": "A = 2"}, root)
    second = os.readlink(top / "current")
    assert sorted(os.listdir(top)) == sorted(["current", first, second])
    assert tool.install({"_hosttool": "A = 3"}, root)
    assert first not in os.listdir(top)
    assert (top / "current/headcount/_hosttool.py").read_text(encoding="utf-8") == "A = 3"
    launcher = (tmp_path / "usr/local/sbin/headcount-rollback").read_text(encoding="utf-8")
    assert "/usr/local/lib/headcount/current" in launcher
    assert 'rollback "$@"' in launcher
    assert os.access(tmp_path / "usr/local/sbin/headcount", os.X_OK)


def test_it_is_compiled_for_a_probe_that_writes_nothing(tmp_path: Path) -> None:
    tool.install(tool.own_sources(), root=str(tmp_path))
    package = tmp_path / "usr/local/lib/headcount/current/headcount"
    compiled = {Path(cache_from_source(str(path))) for path in package.rglob("*.py")}
    assert compiled == set(package.rglob("*.pyc"))


def test_an_app_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    assert tool.main(["status", "blog"], root=str(tmp_path)) == tool.USAGE
    assert "there is no app 'blog' on this host; there are: shop" in capsys.readouterr().err


def test_the_history_is_newest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    who = {"user": "ada", "controller": "desk"}
    ledger.append(layout.ledger, "promoted", **{"from": None, "to": 1}, **who)
    ledger.append(layout.ledger, "failed", generation=2, cause="p95 is 330 ms", **who)
    assert tool.main(["history", "shop"], root=str(tmp_path)) == tool.OK
    lines = capsys.readouterr().out.splitlines()
    assert "failed generation 2  by ada@desk: p95 is 330 ms" in lines[0]
    assert "promoted - -> 1  by ada@desk" in lines[1]
    assert tool.main(["history", "shop", "--json", "-n", "1"], root=str(tmp_path)) == tool.OK
    assert json.loads(capsys.readouterr().out)["generation"] == 2


def test_what_was_given_back_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    ledger.append(layout.ledger, "promoted", to=1)
    ledger.append(layout.ledger, "given_back", **{"from": 1, "former": "old.service"})
    assert tool.main(["history", "shop"], root=str(tmp_path)) == tool.OK
    assert capsys.readouterr().out.splitlines()[0].endswith("given_back  by None@None: to old.service")
    assert tool.main(["status", "shop"], root=str(tmp_path)) == tool.FAILED
    assert "shop: nothing is live; its former service has its address back" in capsys.readouterr().out


@pytest.mark.parametrize("healthy", [True, False])
def test_status_says_what_systemd_could_not_do_where_what_is_live_is_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: bool
) -> None:
    monkeypatch.setattr(tool.unbegun, "causes", lambda layout, number, systemd: [f"{layout.app}@{number}: 238"])
    state: Any = {"live": {"generation": 2}, "healthy": healthy, "health_detail": "shop@2.service is failed"}
    told = tool._with_cause("shop", state, str(tmp_path))["health_detail"]
    assert told == "shop@2.service is failed" + ("" if healthy else "; shop@2: 238")


def test_what_was_given_back_is_in_nobodys_way(tmp_path: Path) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    assert tool._asked(layout) == {"name": "shop"}
    Record("shop.service", "shared", "0.0.0.0:80", GIVEN_BACK).write(layout)
    assert tool._asked(layout) == {"name": "shop", "former": "shop.service", "listen": "0.0.0.0:80"}


def test_what_is_to_be_taken_over_is_in_nobodys_way(tmp_path: Path) -> None:
    layout = Layout("shop", str(tmp_path))
    app = {"former": "shop.service", "listen": "0.0.0.0:80"}
    for number, declared in ((1, {"listen": "0.0.0.0:81"}), (2, app)):
        os.makedirs(layout.generation(number))
        Path(layout.generation(number), "generation.json").write_text(json.dumps({"app": declared}), encoding="utf-8")
    assert tool._asked(layout) == {"name": "shop", **app}
    os.makedirs(layout.state)
    Record("before.service", "shared", "0.0.0.0:82", GIVEN_BACK).write(layout)
    assert tool._asked(layout) == {"name": "shop", **app}, "another one is to be taken over than before"
    os.unlink(layout.former)
    os.symlink("generations/1", layout.live)
    assert tool._asked(layout) == {"name": "shop"}


@pytest.mark.parametrize(
    ("phase", "active", "told"),
    [("retired", "active", True), ("retired", "inactive", False), ("given_back", "active", False)],
)
def test_status_says_that_the_former_service_runs_beside_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, active: str, told: bool
) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    show = Completed(0, f"Id=old.service\nActiveState={active}\n", "")
    monkeypatch.setattr(tool, "Systemd", lambda: Systemd(lambda command, seconds: show))
    assert tool._former_runs(layout) == []
    Record("old.service", "shared", "0.0.0.0:80", phase).write(layout)
    words = "old.service, whose address shop has, runs beside it: `systemctl stop old.service` ends it, and"
    assert [one.startswith(words) for one in tool._former_runs(layout)] == ([True] if told else [])


def test_a_takeover_that_has_not_ended_is_told_where_nothing_is_live_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    os.makedirs(layout.home)
    told = {"unit": "old.service", "way": "shared", "address": "0.0.0.0:80", "phase": "joining"}
    Path(layout.former).write_text(json.dumps(told), encoding="utf-8")
    assert tool.main(["status", "shop"], root=str(tmp_path)) == tool.FAILED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "shop: nothing is live"
    assert lines[1].startswith("  ! the takeover of 0.0.0.0:80 from old.service has not ended (phase joining)")
    assert "`headcount-rollback shop --to-former`" in lines[1]


def test_status_names_an_exporter_that_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    exporting.install(listen, str(tmp_path), Systemd(FakeSystemd(), lambda seconds: None))
    running = tmp_path / "run/systemd/units/invocation:headcount-exporter.service"
    running.parent.mkdir(parents=True)
    told = "! headcount-exporter.service does not run: Prometheus is told nothing of this host;"
    assert tool.main(["status"], str(tmp_path)) == tool.OK
    assert capsys.readouterr().out == f"{told} systemctl start headcount-exporter.service\n"
    with socket.create_server(("127.0.0.1", int(listen.rpartition(":")[2]))):
        tool.main(["status"], str(tmp_path))
    assert capsys.readouterr().out.startswith(f"{told} listen address {listen} is taken by another process: ")
    running.symlink_to("0123456789abcdef")
    assert tool.main(["status"], str(tmp_path)) == tool.OK
    assert capsys.readouterr().out == ""
    unit = tmp_path / "etc/systemd/system/headcount-exporter.service"
    unit.unlink()
    unit.symlink_to("/dev/null")
    tool.main(["status"], str(tmp_path))
    masked = "it is masked: systemctl unmask headcount-exporter.service, then a rollout"
    assert capsys.readouterr().out == f"{told} {masked}\n"


def test_status_says_of_the_guards_way_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    known = {"live": {"generation": 1, "release": "r1", "listen": "127.0.0.1:8000"}, "health_detail": "answers"}
    state = {**known, "healthy": True, "intact": True, "rollback_hint": ""}
    monkeypatch.setattr(tool, "app_state", lambda asked, root: {**state, **{key: [] for key in LISTS}})
    monkeypatch.setattr(tool, "app_view", lambda name, root: AppView("shop", 1, None, True, None, (), 0.0))
    assert tool.main(["status", "shop"], str(tmp_path)) == tool.OK
    assert "guard" not in capsys.readouterr().out
    ledger.append(layout.ledger, "failed", **{"from": 1}, generation=2, phase="guard", cause="users got 80 5xx")
    assert tool.main(["status", "shop"], str(tmp_path)) == tool.OK
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "guard" in line]
    assert re.fullmatch(r"  the guard went back from generation 2 to 1 at 20\S+Z: users got 80 5xx", told)


def test_status_says_what_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    live = {"generation": 1, "release": "r1", "listen": "127.0.0.1:8000"}
    state = {"live": live, "health_detail": "answers", "healthy": True, "intact": True, "rollback_hint": ""}
    monkeypatch.setattr(tool, "app_state", lambda asked, root: {**state, **{key: [] for key in LISTS}})
    monkeypatch.setattr(tool, "app_view", lambda name, root: AppView("shop", 1, None, True, None, (), 0.0))
    monkeypatch.setattr(tool, "unwritable", lambda layout: [f"{layout.state} is read-only"])
    tool.main(["status", "shop"], str(tmp_path))
    assert capsys.readouterr().out.splitlines()[-1] == f"  ! {layout.state} is read-only"


def test_status_says_that_a_step_is_at_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is amiss in the middle of a switch is no reason to go back."""
    layout = Layout("shop", str(tmp_path))
    os.makedirs(layout.state)
    live = {"generation": 1, "release": "r1", "listen": "127.0.0.1:8000"}
    state = {"live": live, "health_detail": "a process is down", "healthy": False, "intact": True}
    state["rollback_hint"] = "`headcount-rollback shop` goes back"
    monkeypatch.setattr(tool, "app_state", lambda asked, root: {**state, **{key: [] for key in LISTS}})
    monkeypatch.setattr(tool, "app_view", lambda name, root: AppView("shop", 1, None, True, None, (), 0.0))
    with AppLock(layout).step(Run("r7", "root", "control1", "now"), "promote"):
        tool.main(["status", "shop"], str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"process \d+ \(promote of run r7\) is at work on it: .*look again when it has ended", lines[2])
    assert "headcount-rollback shop" in lines[3]
    AppLock(layout).release(Run("r7", "root", "control1", "now"))
    os.remove(layout.lock)  # this process, which held it, goes on
    tool.main(["status", "shop"], str(tmp_path))
    assert "is at work on it" not in capsys.readouterr().out


LISTS = ("clashes", "problems", "leftovers", "open")


def test_only_one_way_back_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.makedirs(Layout("shop", str(tmp_path)).state)
    with pytest.raises(SystemExit):
        tool.main(["rollback", "shop", "3", "--to-former"], root=str(tmp_path))
    assert tool.main(["rollback", "shop", "--to-former"], root=str(tmp_path)) == tool.FAILED
    assert "shop was taken over from no other service on this host" in capsys.readouterr().err


def test_nothing_is_live(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.makedirs(Layout("shop", str(tmp_path)).state)
    assert tool.main(["plan", "shop"], root=str(tmp_path)) == tool.FAILED
    assert tool.main(["status", "shop"], root=str(tmp_path)) == tool.FAILED
    assert "shop: nothing is live" in capsys.readouterr().out


def test_who_is_not_root_is_told_so_before_anything_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def closed(root: str) -> list[str]:
        raise PermissionError(13, "Permission denied", "/opt/headcount/shop")

    monkeypatch.setattr(tool, "installed_apps", closed)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert tool.main(["rollback", "shop"]) == tool.USAGE
    assert capsys.readouterr().err == "headcount: its state is readable by root only; use sudo\n"


def test_a_host_without_a_process_left_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def silent(*words: object) -> list[str]:
        raise SystemdError("systemctl show shop@* got no answer: this host could not begin systemctl: Resource")

    monkeypatch.setattr(tool, "installed_apps", silent)
    assert tool.main(["status"], str(tmp_path)) == tool.FAILED
    assert capsys.readouterr().err.startswith("headcount: systemctl show shop@* got no answer: this host could not")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("option", [[], ["--to-former"]])
def test_a_signal_ends_the_command_after_what_it_began(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    number: signal.Signals,
    status: int,
    option: list[str],
) -> None:
    def switched(app: AppOnHost, *_: object) -> dict[str, object]:
        with app.alone("rollback"):
            os.kill(os.getpid(), number)
        return {"from": 2, "to": 1, "former": "old.service", "told": []}

    os.makedirs(Layout("shop", str(tmp_path)).state)
    monkeypatch.setattr(tool, "rollback", switched)
    monkeypatch.setattr(tool, "give_back", switched)
    assert tool.main(["rollback", "shop", *option], str(tmp_path)) == status
    out, err = capsys.readouterr()
    assert out.startswith("shop: old.service has its address" if option else "shop: generation 1 is live again")
    assert f"headcount: {number.name} came during the step rollback: it is ended first, within " in err


def test_one_that_only_waits_is_ended_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def waiting(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    os.makedirs(Layout("shop", str(tmp_path)).state)
    monkeypatch.setattr(tool, "rollback", waiting)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
    try:
        assert tool.main(["rollback", "shop"], str(tmp_path)) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "headcount: ended by ^C while no step was at work\n"
