# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the steps, on a host that is a directory and a systemd that only remembers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    generations,
    goingback,
    hoarding,
    ledger,
    store,
    takeover,
    truth,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import instances as _instances
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.beginnable import Beside
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed, sentence
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import AppLock
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.meanwhile import Meanwhile
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.reloads import Manager
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.state import app_state
from ansible_collections.headcount.gunicorn.plugins.module_utils._host.guard import guard
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer, Ask
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.ownership import Foreign
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import (
    LATE,
    UNBEGUN,
    Completed,
    Systemd,
    SystemdError,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.types import plan_changes
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import guarding, promote
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import heal as _heal
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import rollback as _rollback
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import WORDS_SECONDS, AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.giveback import give_back
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.heal import heal
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.rollback import rollback
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.trial import broken, live_of
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.guarding import Before
from fake_systemd import FakeSystemd

RUN = Run("a1", "anna", "control1", "2026-11-22T10:00:00Z")
APP: dict[str, Any] = {
    "listen": "127.0.0.1:8000",
    "health": {"path": "/healthz", "status": [200], "contains": None, "timeout_seconds": 1, "boot_seconds": 3},
    "load": {"paths": [{"path": "/", "method": "GET"}], "rate": 20, "seconds": 5},
    "verify_seconds": 0.0,
    "limits": {"error_rate": 0.01},
}


def entry(event: str, before: int | None, after: int) -> dict[str, Any]:
    return {"event": event, "from": before, "to": after}


@pytest.mark.parametrize(
    ("entries", "live", "good", "target"),
    [
        ([entry("promoted", 1, 2)], 2, [1], 1),
        ([entry("promoted", 1, 2), entry("promoted", 2, 3), entry("rolled_back", 3, 2)], 2, [1, 3], 1),
        ([entry("promoted", None, 2), entry("promoted", 2, 3), entry("reverted", 3, 2)], 2, [3], None),
        ([entry("promoted", 1, 4)], 4, [2, 3], 3),
        ([], 4, [], None),
        ([entry("promoted", None, 1)], 1, [], None),
    ],
)
def test_what_a_rollback_goes_back_to(
    entries: list[dict[str, Any]], live: int, good: list[int], target: int | None
) -> None:
    assert truth.predecessor(entries, live, good) == target


def test_plan_changes_name_old_and_new() -> None:
    before = {"settings": {"workers": {"value": 2}, "timeout": {"value": 30}}}
    after = {"settings": {"workers": {"value": 3}, "timeout": {"value": 30}, "threads": {"value": 8}}}
    assert plan_changes(before, after) == {"workers": [2, 3], "threads": [None, 8]}
    assert plan_changes(None, before) == {"workers": [None, 2], "timeout": [None, 30]}


def test_errors_are_told_in_words() -> None:
    assert sentence(OSError(28, "No space left on device", "/opt/x")) == "No space left on device: /opt/x"
    assert sentence(ValueError()) == "ValueError"


def test_a_rollback_of_an_app_that_is_not_there_lists_the_apps_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "var/lib/headcount/shop").mkdir(parents=True)
    (tmp_path / "var/lib/headcount/wheels").mkdir()
    shoe = AppOnHost("shoe", Run("a1", "anna", "control1", "2026-11-22T10:00:00Z"), str(tmp_path))
    with pytest.raises(StepFailed) as failed:
        rollback(shoe, 3)
    assert failed.value.cause == "there is no app 'shoe' on this host; there are: shop"
    assert sorted(path.name for path in tmp_path.rglob("sho*")) == ["shop"]


class Host:
    """Generations 1 and 2 are good and answer, 2 is live; systemd starts and stops at once."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.systemd = FakeSystemd(active={"shop.socket", "shop@2.service", "shop@2.socket"})
        self.app = AppOnHost("shop", RUN, str(root), Systemd(self.systemd))
        self.layout, self.status = self.app.layout, dict[tuple[str, str], int]()
        for folder in (self.layout.state, self.layout.units, self.layout.runtime):
            os.makedirs(folder)
        for number in (1, 2):
            self.add(number)
        store.link_public(self.layout)
        monkeypatch.setattr(_instances, "get", lambda address, path, seconds, _: self.answer(address, Ask(path), None))
        monkeypatch.setattr(_instances, "request", self.answer)
        monkeypatch.setattr(promote, "Meanwhile", lambda listen, app: Meanwhile(listen, app, self.answer))
        monkeypatch.setattr(self.app, "close", list)
        self.app.instances.sleep = lambda seconds: None

    def add(self, number: int) -> None:
        """Generation `number` is live and runs."""
        store.begin(self.layout, number, "0" * 16)
        files = {"shop.socket": "[Socket]\nListenStream=127.0.0.1:8000\n"}
        files.update(dict.fromkeys(self.layout.instance_units(number), "[Unit]\n"))
        store.write(self.layout, number, files, {"release": "0" * 16, "app": APP, "plan": {"settings": {}}})
        Path(self.layout.environment(number)).touch()
        store.link_units(self.layout, number)
        store.finish(self.layout, number)
        store.set_outcome(self.layout, number, "good")
        ledger.append(self.layout.ledger, "promoted", **{"from": number - 1 or None, "to": number})
        store.activate(self.layout, number)
        self.systemd.active = {"shop.socket", f"shop@{number}.service", f"shop@{number}.socket"}

    def few_tasks(self) -> None:
        """The host may begin five processes more."""
        for name, text in (
            ("proc/loadavg", "0.10 0.20 0.30 2/310 4711\n"),
            ("proc/sys/kernel/pid_max", "315\n"),
        ):
            (Path(self.app.root) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(self.app.root) / name).write_text(text, encoding="utf-8")
        self.app.systemd = self.app.instances.systemd = Manager(self.systemd, root=self.app.root)

    def answer(self, address: Any, ask: Ask, bounds: Any) -> Answer:
        """200, or what `status` says for (the socket's name, the path)."""
        name = os.path.basename(address) if isinstance(address, str) else "public"
        return Answer(self.status.get((name, ask.path), 200), b"ok", 1.0)

    def last(self) -> dict[str, Any]:
        return ledger.read(self.layout.ledger)[-1]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.fixture
def another(host: Host) -> Iterator[Callable[[str, Callable[[], None]], None]]:
    """Has another run be at a step of the app, in which `does` happens once somebody waits for its end."""
    with contextlib.ExitStack() as held:

        def at_work(step: str, does: Callable[[], None]) -> None:
            held.enter_context(AppLock(host.layout).step(Run("b2", "bob", "control2", "2026-11-22T10:00:00Z"), step))

            def waited_for(words: str) -> None:
                does()
                held.close()
                os.unlink(host.layout.lease)

            host.app.lock.say = waited_for

        yield at_work


AtWork = Callable[[str, Callable[[], None]], None]


class TestAtWork:
    """Somebody goes back while another run is at a step: what there is to go back to is what that step leaves."""

    def alone(self, host: Host) -> None:
        """Generation 2 alone is there, and live."""
        shutil.rmtree(host.layout.generation(1))

    def test_the_first_promote_after_a_first_one_is_waited_for(self, host: Host, another: AtWork) -> None:
        self.alone(host)
        another("promote", lambda: host.add(3))
        with pytest.raises(StepFailed, match=r"3 became live while this waited \(it was 2\): roll back again"):
            rollback(host.app)
        assert rollback(host.app)["to"] == 2

    def test_one_that_fails_is_waited_for_and_then_there_is_nothing(self, host: Host, another: AtWork) -> None:
        self.alone(host)
        waited: list[bool] = []
        another("promote", lambda: waited.append(True))
        with pytest.raises(StepFailed, match=r"shop has no good generation before 2; there are: 2 \(live\)"):
            rollback(host.app)
        assert waited

    def test_what_is_live_before_and_was_asked_for_is_gone_back_to(self, host: Host, another: AtWork) -> None:
        another("promote", lambda: host.add(3))
        assert rollback(host.app, 2)["to"] == 2

    @pytest.mark.parametrize("between", [False, True])
    def test_a_trial_is_not_ended_for_nothing(self, host: Host, another: AtWork, between: bool) -> None:
        self.alone(host)
        another("trial", lambda: pytest.fail("it was waited for"))
        if between:
            os.truncate(host.layout.lock, 0)
        with pytest.raises(StepFailed, match="shop has no good generation before 2"):
            rollback(host.app)
        assert not os.path.exists(host.layout.ended)

    def test_a_takeover_is_waited_for_where_the_address_is_to_be_given_back(self, host: Host, another: AtWork) -> None:
        def take_over() -> None:
            takeover.Record("old.service", "shared", "0.0.0.0:80", takeover.GIVEN_BACK).write(host.layout)

        another("promote", take_over)
        with pytest.raises(StepFailed, match=r"old\.service has its address back already"):
            give_back(host.app)


class TestBroken:
    """What is live does not serve its users, or not everything on the host says any more what is live."""

    def test_a_rollback_says_what_users_got(self, host: Host) -> None:
        host.status = {("2.sock", "/"): 500, ("public", "/"): 500}
        host.systemd.on_stop = lambda: host.status.pop(("public", "/"), None)
        done = rollback(host.app)
        assert (done["from"], done["to"]) == (2, 1)
        assert done["told"][0] == (
            'generation 2 was broken, so it left first: GET / answered 500 (2 of 2 requests; "ok")'
        )
        assert host.last()["told"] == done["told"]

    @pytest.mark.parametrize(
        ("state", "stopped_ago", "refused"),
        [("inactive", 5, True), ("inactive", 500, False), ("active", 5, False), ("failed", 5, False)],
    )
    def test_a_socket_that_somebody_stopped_meanwhile_is_not_opened(
        self, host: Host, monkeypatch: pytest.MonkeyPatch, state: str, stopped_ago: int, refused: bool
    ) -> None:
        at = str(int((time.monotonic() - stopped_ago) * 1e6))
        found = {"ActiveState": state, "InactiveEnterTimestampMonotonic": at}
        monkeypatch.setattr(host.app.systemd, "properties", lambda *names: found)
        staged = ledger.now_text(lambda: time.time() - 60)
        with pytest.raises(StepFailed) if refused else contextlib.nullcontext() as failed:
            promote._fail_if_closed(host.app, staged)
        if failed is not None:
            assert "shop.socket was stopped 5 s ago, while this run was under way" in failed.value.cause

    def test_a_revert_takes_back_what_its_run_promoted_and_nothing_else(self, host: Host) -> None:
        with pytest.raises(StepFailed) as failed:
            rollback(host.app, 1, "reverted", leave=3)
        assert failed.value.cause == "generation 2 became live meanwhile and stays: this run promoted 3, not that"
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
        assert rollback(host.app, 1, "reverted", leave=2)["to"] == 1
        assert rollback(host.app, 1, "reverted", leave=2)["to"] == 1  # a guard had been quicker

    def test_users_do_not_wait_for_words(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """The log is asked once the switch is done, and a journal that hangs only once."""
        asked: list[tuple[str, float]] = []

        def hangs(command: Sequence[str], seconds: float) -> Completed:
            if command[0] != "journalctl":
                return host.systemd(command, seconds)
            asked.append((host.systemd.said[-1], seconds))
            return Completed(LATE, "", "")

        monkeypatch.setattr(host.app.systemd, "runner", hangs)
        host.status = {("2.sock", "/"): 500}
        assert "the journal does not answer" in rollback(host.app)["told"][0]
        assert asked == [("stop shop@2.socket", WORDS_SECONDS)]
        assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}
        asked.clear()
        with pytest.raises(StepFailed, match=r"GET / answered 500.* the journal does not answer"):
            rollback(host.app, 2)
        assert asked == [("stop shop@2.socket", WORDS_SECONDS)]  # the way back from it is done, too
        assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}

    def test_where_both_have_no_room_it_is_told_beforehand_and_nothing_is_tried_beside(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[tuple[str, bool]] = []
        host.app.say = lambda words: said.append((words, "shop@2.service" in host.systemd.active))
        monkeypatch.setattr(_rollback, "leaves_first", lambda _, number, old, well: f"{old} leaves: {number} {well}")
        rollback(host.app)
        assert said == [("2 leaves: 1 True", True)]
        assert not [words for words in host.systemd.said if "trial" in words]

    def test_what_has_taken_the_last_process_is_ended_first(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        found = hoarding.Hoard(Beside("shop@2.service", 19, 100, 0), (40, 41), 40)
        stuck = [True]

        def end(*asked: Any) -> str:
            assert asked[1:] == (found, 2, 1)
            stuck.clear()
            host.systemd.active -= {"shop@2.service"}
            return "it was ended"

        monkeypatch.setattr(hoarding, "hoard", lambda layout, number: found if number == 2 else None)
        monkeypatch.setattr(hoarding, "end", end)
        monkeypatch.setattr(
            host.app.systemd,
            "runner",
            lambda command, seconds: Completed(UNBEGUN, "", "none") if stuck else host.systemd(command, seconds),
        )
        done = rollback(host.app, event="reverted")
        assert (done["from"], done["to"], done["healed"][0]) == (2, 1, "it was ended")
        assert host.last()["told"][-1] == "it was ended"
        assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}

    @pytest.mark.parametrize("how", ["deleted", "dangling"])
    @pytest.mark.parametrize("dead", [False, True])
    def test_a_rollback_without_the_link(self, host: Host, how: str, dead: bool) -> None:
        os.unlink(host.layout.live)
        if how == "dangling":
            os.symlink("generations/21", host.layout.live)
        if dead:
            host.systemd.active -= {"shop@2.service"}
        assert rollback(host.app)["to"] == 1
        assert generations.live(host.layout) == 1
        assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}

    def test_to_the_live_one_itself_without_the_link(self, host: Host) -> None:
        os.unlink(host.layout.live)
        host.systemd.active -= {"shop@2.service"}
        done = rollback(host.app, 2)
        assert (done["from"], done["to"]) == (2, 2)
        assert done["told"] == done["healed"]
        assert done["healed"][0].startswith("made generation 2 live again")
        assert done["healed"][1:] == ["started the live generation 2"]
        with pytest.raises(StepFailed, match="generation 2 of shop is live already"):
            rollback(host.app, 2)

    def test_a_revert_that_the_guard_was_quicker_with_has_nothing_left_to_do(self, host: Host) -> None:
        assert rollback(host.app, 1, "reverted")["from"] == 2
        done = rollback(host.app, 1, "reverted")
        assert (done["from"], done["to"], done["told"]) == (1, 1, [])
        assert generations.live(host.layout) == 1
        with pytest.raises(StepFailed, match="generation 1 of shop is live already"):
            rollback(host.app, 1)

    def test_what_is_gone_from_the_disk_is_gone_back_from(self, host: Host) -> None:
        """It runs still, out of files that were deleted: the way back leads to the good one before it, no further."""
        host.add(3)
        shutil.rmtree(host.layout.generation(3))
        done = rollback(host.app)
        assert (done["to"], generations.live(host.layout)) == (2, 2)
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}

    def test_without_room_for_generators_systemd_reads_nothing_and_that_is_told(self, host: Host) -> None:
        host.few_tasks()
        host.status = {("2.sock", "/"): 500, ("public", "/"): 500}
        host.systemd.on_stop = lambda: host.status.pop(("public", "/"), None)
        os.unlink(host.layout.unit("shop@1.service"))
        done = rollback(host.app)
        assert (done["to"], generations.live(host.layout)) == (1, 1)
        assert "reload" not in host.systemd.said
        assert any("systemd has not read its unit files again (this host has no room" in one for one in done["told"])

    def test_units_that_systemd_has_not_read_are_not_gone_back_to_without_that_room(self, host: Host) -> None:
        host.few_tasks()
        os.unlink(host.layout.unit("shop@1.service"))
        host.systemd.unread = {"shop@1.service"}
        with pytest.raises(StepFailed, match="no room for systemd to read its unit files again"):
            rollback(host.app)
        assert generations.live(host.layout) == 2
        assert not [line for line in host.systemd.said if line == "reload" or line.startswith("stop shop")]

    def test_what_somebody_edited_is_not_gone_back_to_without_that_room(self, host: Host) -> None:
        host.few_tasks()
        os.unlink(host.layout.unit("shop@1.service"))
        Path(host.layout.unit("shop@1.service")).write_text("[Unit]\nDescription=edited\n", encoding="utf-8")
        with pytest.raises(StepFailed, match="no room for systemd to read its unit files again"):
            rollback(host.app)
        assert generations.live(host.layout) == 2

    def test_heal_goes_on_without_that_room(self, host: Host) -> None:
        os.unlink(host.layout.live)
        host.few_tasks()
        assert heal(host.app)
        assert heal(host.app) == []
        assert "reload" not in host.systemd.said

    def test_what_left_for_the_socket_to_be_opened_is_not_stopped_again(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """systemd refuses to stop a unit whose file is gone and that does not run any more."""
        host.add(3)
        shutil.rmtree(host.layout.generation(3))
        monkeypatch.setattr(_instances, "listens", lambda *_: "start shop.socket" in host.systemd.said)
        assert rollback(host.app)["to"] == 2
        assert host.systemd.said.count("stop shop@3.service") == 1

    def test_a_dead_live_one_is_not_started_before_a_rollback(self, host: Host) -> None:
        host.systemd.active -= {"shop@2.service"}
        rollback(host.app)
        assert "start shop@2.service" not in " ".join(host.systemd.said)

    @pytest.mark.parametrize("how", ["deleted", "dangling"])
    def test_heal_makes_the_link_again(self, host: Host, how: str) -> None:
        os.unlink(host.layout.live)
        if how == "dangling":
            os.symlink("generations/21", host.layout.live)
        did = heal(host.app)
        assert did == ["made generation 2 live again (by the ledger and what runs): `live` led nowhere"]
        assert generations.live(host.layout) == 2
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}
        assert heal(host.app) == []

    def test_what_serves_goes_on_where_the_live_one_does_not_come_up(self, host: Host) -> None:
        host.systemd.active = {"shop.socket", "shop@1.service", "shop@1.socket"}
        host.systemd.broken = {"shop@2.service"}
        did = heal(host.app)
        assert did[0].startswith("tried to start the live generation 2, which does not come up")
        assert "shop@1.service" in host.systemd.active

    def test_a_torn_record_of_the_live_one(self, host: Host) -> None:
        os.truncate(Path(host.layout.generation(2)) / "generation.json", 0)
        assert heal(host.app) == []
        assert "generation 2 was not loaded beside the candidate" in broken(host.app, 2)
        assert "no record that can be read" in broken(host.app, 2)
        host.app.write_local_fact()
        assert rollback(host.app)["to"] == 1

    def test_one_that_cannot_be_asked_by_itself_is_no_yardstick(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_instances, "listens", lambda _, listen, *__: not listen.endswith("2.sock"))
        assert "2.sock, which reaches it alone, is gone or is another's" in broken(host.app, 2)

    def test_heal_opens_a_public_socket_that_nobody_reaches(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_instances, "listens", lambda *_: "start shop.socket" in host.systemd.said)
        did = heal(host.app)
        assert did[0] == "opened shop.socket again, which was closed: users met a short gap"
        assert "start shop.socket" in host.systemd.said

    @pytest.fixture
    def drop_in(self, host: Host) -> str:
        """What is told of a drop-in that came after the trial."""
        folder = Path(host.layout.units) / "shop@.service.d"
        folder.mkdir()
        (folder / "evil.conf").write_text("[Service]\nEnvironmentFile=/etc/evil\n", encoding="utf-8")
        return "/etc/systemd/system/shop@.service.d/evil.conf overrides the unit"

    def test_a_drop_in_that_came_meanwhile_is_not_promoted_with(self, host: Host, drop_in: str) -> None:
        with pytest.raises(StepFailed, match=f"generation 1 is not what was tried: {drop_in}"):
            promote.promote(host.app, 1)
        assert generations.live(host.layout) == 2

    def test_nor_gone_back_with_from_one_that_is_well(self, host: Host, drop_in: str) -> None:
        with pytest.raises(StepFailed, match=f"generation 1 is not what was tried: {drop_in}"):
            rollback(host.app)
        assert generations.live(host.layout) == 2

    def test_from_a_broken_one_it_is_told(self, host: Host, drop_in: str) -> None:
        host.status = {("2.sock", "/"): 500}
        assert drop_in in rollback(host.app)["told"]

    @pytest.mark.parametrize("text", ["1", "[]", '"x"', "null", '{"app": 1}', '{"plan": []}', '{"cause": '])
    @pytest.mark.parametrize("name", ["outcome.json", "generation.json", "manifest.json", "evidence.json"])
    def test_odd_json_is_no_traceback(self, host: Host, name: str, text: str) -> None:
        (Path(host.layout.generation(2)) / name).write_text(text, encoding="utf-8")
        app_state({"name": "shop"}, host.layout.root, Systemd(host.systemd))
        heal(host.app)
        assert rollback(host.app)["to"] == 1

    def test_a_torn_record_of_the_target_is_told(self, host: Host) -> None:
        os.truncate(Path(host.layout.generation(1)) / "generation.json", 0)
        with pytest.raises(StepFailed, match=r"generation 1 is not intact: .*generation\.json was edited"):
            rollback(host.app)
        with pytest.raises(StepFailed, match="generation 1 of shop has no record that can be read"):
            host.app.record(1)
        with pytest.raises(StepFailed, match="generation 9 of shop is not on this host"):
            host.app.record(9)

    @pytest.mark.parametrize("status", [200, 500])
    def test_only_what_serves_its_users_is_a_yardstick(self, host: Host, status: int) -> None:
        host.status = {("2.sock", "/"): status}
        words = broken(host.app, 2)
        assert (words == "") == (status == 200)
        assert status == 200 or words == (
            "the live generation 2 was not loaded beside the candidate, because it is broken itself (GET / answered "
            '500 (2 of 2 requests; "ok")); judged by the absolute limits alone'
        )
        assert broken(host.app, None) == ""

    def test_more_cpu_by_the_weigh_is_no_fault_of_the_same_code(self, host: Host) -> None:
        for number, cpu_ms in ((1, 5.0), (2, 19.0)):
            record = Path(host.layout.generation(number)) / "generation.json"
            known = json.loads(record.read_text(encoding="utf-8"))
            record.write_text(json.dumps({**known, "measured": {"cpu_ms": cpu_ms}}), encoding="utf-8")
        assert live_of(host.app, 2, 1).weighed == ""
        Path(host.layout.environment(2)).write_text('DEBUG="1"\n', encoding="utf-8")
        assert live_of(host.app, 2, 1).weighed.startswith("weighed alone, a request takes 19 ms of CPU against 5 ")

    def guard_again(self, host: Host, now: float) -> str:
        """A guard over generation 2 that was killed between the rename of `live` and the stop is started again."""
        store.activate(host.layout, 1)
        host.systemd.active |= {"shop@1.service", "shop@1.socket"}
        goingback.GoingBack(2, 1, "now", "requests failed").write(host.layout)
        guarding.Orders(2, 1, 600.0, 10.0, Before(), "").write(host.layout)
        return guard(host.app, lambda seconds: False, now=lambda: now)

    @pytest.mark.parametrize("now", [0.0, 601.0])
    def test_a_guard_killed_before_the_broken_one_left_has_it_leave(self, host: Host, now: float) -> None:
        told = self.guard_again(host, now)
        assert told.startswith("generation 2 is not live any more; its guard ends, and healed what was left: ")
        assert "stopped generation 2, which is not live" in told
        assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}
        entries = [(one["event"], one.get("phase")) for one in ledger.read(host.layout.ledger)][2:]
        assert entries == [("rolled_back", None), ("failed", "guard"), ("healed", None)]
        assert generations.describe(host.layout, 2).status == "bad"

    def test_a_guard_of_an_app_that_another_run_works_on_leaves_that_to_it(self, host: Host) -> None:
        other = AppOnHost("shop", Run("b2", "bert", "control2", "now"), host.layout.root, host.app.systemd)
        with other.lock.step(other.run, "stage"):
            told = self.guard_again(host, 0.0)
        assert told == "generation 2 is not live any more; its guard ends"
        assert "shop@2.service" in host.systemd.active

    def test_a_guard_that_cannot_heal_says_why(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        def silent(*_: Any) -> Any:
            raise SystemdError("no answer")

        monkeypatch.setattr(host.app.instances, "leave", silent)
        told = self.guard_again(host, 0.0)
        assert told.endswith("what was left could not be healed, the next run on the app tries again: no answer")
        assert host.last()["phase"] == "guard", "why it went back is said all the same"

    def test_a_switch_that_fails_says_what_users_got(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        host.status = {("1.sock", "/"): 500, ("2.sock", "/"): 500, ("public", "/"): 500}
        monkeypatch.setattr(promote, "Meanwhile", Counted)
        with pytest.raises(StepFailed, match=r"2 stays live: .*; meanwhile 3 of 4 requests for / failed: 3 got 500"):
            rollback(host.app)
        assert "meanwhile 3 of 4" in host.last()["cause"]


def edit(host: Host, unit: str, text: str = "theirs\n") -> Path:
    """`systemctl edit --full` of a unit: a regular file where the link was."""
    path = Path(host.layout.unit(unit))
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def saved(host: Host) -> list[str]:
    return sorted(name for name in os.listdir(host.layout.units) if "headcount-saved" in name)


class TestByHand:
    """A person edited, disabled, moved or removed what is the app's own."""

    @pytest.mark.parametrize("unit", ["shop@2.service", "shop@2.socket", "shop-trial@2.service"])
    def test_an_edited_unit_of_the_live_one_hinders_nothing(self, host: Host, unit: str) -> None:
        theirs = edit(host, unit)
        did = heal(host.app)
        assert did == [f"left {theirs} as somebody edited it"]
        host.status = {("2.sock", "/"): 500}
        done = rollback(host.app)
        assert (done["to"], generations.live(host.layout)) == (1, 1)
        assert f"left {theirs} as somebody edited it" in done["told"]
        assert theirs.read_text(encoding="utf-8") == "theirs\n"
        assert host.systemd.active == {"shop.socket", "shop@1.service", "shop@1.socket"}

    def test_an_edited_public_socket_is_moved_aside_and_told(self, host: Host) -> None:
        theirs = edit(host, "shop.socket")
        host.status = {("2.sock", "/"): 500}
        done = rollback(host.app)
        assert generations.live(host.layout) == 1
        assert theirs.is_symlink()
        assert len(saved(host)) == 1
        assert Path(host.layout.unit(saved(host)[0])).read_text(encoding="utf-8") == "theirs\n"
        assert f"moved {theirs}, which somebody edited, to {host.layout.unit(saved(host)[0])}" in done["told"]
        assert done["told"] == host.last()["told"]
        assert generations.public_problems(host.layout) == []

    def test_an_edited_unit_of_the_target_is_moved_aside(self, host: Host) -> None:
        """What is gone back to is what was tried."""
        theirs = edit(host, "shop@1.service")
        done = rollback(host.app)
        assert (done["to"], theirs.is_symlink(), len(saved(host))) == (1, True, 1)
        assert any("which somebody edited" in words for words in done["told"])

    def test_what_was_moved_aside_is_told_where_the_rollback_fails(self, host: Host) -> None:
        edit(host, "shop.socket")
        host.systemd.broken = {"shop@1.service"}
        host.status = {("2.sock", "/"): 500}
        with pytest.raises(StepFailed, match=r"died while starting.*; moved .*, which somebody edited, to"):
            rollback(host.app)
        assert host.last()["event"] == "rollback_failed"
        assert generations.live(host.layout) == 2

    def test_a_masked_public_socket_is_refused_before_live_is_renamed(self, host: Host) -> None:
        os.unlink(host.layout.unit("shop.socket"))
        os.symlink("/dev/null", host.layout.unit("shop.socket"))
        with pytest.raises(StepFailed, match=r"shop\.socket is not Headcount's and is not touched"):
            rollback(host.app)
        assert generations.live(host.layout) == 2
        os.unlink(host.layout.live)
        with pytest.raises(Foreign):
            heal(host.app)
        assert not os.path.lexists(host.layout.live)

    def test_a_switch_renames_nothing_where_the_public_socket_cannot_be_linked(self, host: Host) -> None:
        edit(host, "shop.socket")
        with pytest.raises(StepFailed, match=r"shop\.socket is not Headcount's"):
            promote.switch(host.app.instances, 2, 1, APP, 0.0)
        assert generations.live(host.layout) == 2
        assert host.systemd.active == {"shop.socket", "shop@2.service", "shop@2.socket"}

    def test_a_disabled_public_socket_is_put_back(self, host: Host) -> None:
        os.unlink(host.layout.unit("shop.socket"))
        os.unlink(host.layout.boot_link)
        assert heal(host.app) == ["linked the public socket to the live generation"]
        assert generations.public_problems(host.layout) == []

    @pytest.mark.parametrize("folder", ["home", "generations"])
    def test_what_runs_is_not_taken_down_where_its_files_are_gone(
        self, host: Host, folder: str, tmp_path: Path
    ) -> None:
        path = getattr(host.layout, folder)
        os.rename(path, tmp_path / "moved")
        before = set(host.systemd.active)
        for step in (heal, rollback):
            with pytest.raises(
                StepFailed, match=f"live by the ledger, but {path} is missing, .*what runs is left alone"
            ):
                step(host.app)
        assert host.systemd.active == before
        os.rename(tmp_path / "moved", path)
        assert heal(host.app) == []
        os.rename(path, tmp_path / "moved")
        host.systemd.active = set()
        heal(host.app)  # nothing runs: nothing is lost by a first deployment

    def test_a_promote_without_the_link_is_no_first_deployment(self, host: Host) -> None:
        host.add(3)
        store.activate(host.layout, 2)
        os.unlink(host.layout.live)
        with pytest.raises(StepFailed, match=r"generation 3 is live \(by the ledger and what runs\), but `live` leads"):
            promote.promote(host.app, 1)
        assert "shop@3.service" in host.systemd.active

    def test_live_that_leads_to_another_tree(self, host: Host, tmp_path: Path) -> None:
        (tmp_path / "opt/other/generations/1").mkdir(parents=True)
        os.unlink(host.layout.live)
        os.symlink(tmp_path / "opt/other/generations/1", host.layout.live)
        assert generations.live(host.layout) is None
        did = heal(host.app)
        assert did[0].startswith("made generation 2 live again (by the ledger and what runs): `live` led to ")
        assert did[0].endswith("/opt/other/generations/1, which is no generation of shop")
        assert generations.live(host.layout) == 2

    def test_an_account_that_is_gone_is_made_again(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        (Path(host.layout.root) / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n", encoding="utf-8")
        made: list[str] = []
        monkeypatch.setattr(_heal, "ensure_user", lambda name, runner: made.append(name))
        assert heal(host.app) == ["made the account hc-shop again, which was gone"]
        rollback(host.app)
        assert set(made) == {"hc-shop"}
        host.systemd.broken = {"shop@1.service"}
        words = host.app.instances.why_dead("shop@1.service", 0.0)()
        assert words == "died while starting: its account hc-shop is not on this host any more"


class Counted(Meanwhile):
    """Users who got three errors in four requests."""

    def __enter__(self) -> Counted:
        return self

    def told(self) -> dict[str, Any]:
        return {"path": "/", "asked": 4, "failed": 3, "got": {"200": 1, "500": 3}}


@pytest.fixture(name="both")
def _both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.mark.parametrize("unit", ["shop@1.service", "shop@1.socket", "shop-trial@1.service"])
def test_a_unit_whose_link_somebody_took_away_is_linked_again_by_a_rollback_to_it(both: Host, unit: str) -> None:
    os.unlink(both.layout.unit(unit))  # `systemctl disable` does, and `systemctl unmask` after a mask
    done = rollback(both.app, 1)
    assert (done["to"], generations.live(both.layout)) == (1, 1)
    assert done["told"] == [f"linked {unit} again, whose unit file was gone"]
    assert not generations.problems(both.layout, 1)


def test_a_unit_that_is_masked_is_not_gone_back_to_and_says_how_it_can_be(both: Host) -> None:
    os.unlink(both.layout.unit("shop@1.service"))
    os.symlink(os.devnull, both.layout.unit("shop@1.service"))
    with pytest.raises(
        StepFailed, match=r"shop@1\.service is not Headcount's.* it is masked; `systemctl unmask shop@1\.service`"
    ):
        rollback(both.app, 1)
    assert os.readlink(both.layout.unit("shop@1.service")) == os.devnull
    assert generations.live(both.layout) == 2


def test_a_host_that_can_begin_no_process_loses_nothing_that_runs(both: Host) -> None:
    asked: list[str] = []

    def runner(command: Sequence[str], timeout_seconds: float) -> Completed:
        asked.append(command[3] if command[0] == "systemctl" else command[0])
        return Completed(UNBEGUN, "", "this host could not begin systemctl: Resource temporarily unavailable")

    systemd = Systemd(runner, sleep=lambda seconds: None)
    app = AppOnHost("shop", RUN, both.app.root, systemd)
    with pytest.raises((StepFailed, SystemdError), match="could not begin systemctl: Resource temporarily"):
        rollback(app, 1)
    assert set(asked) == {"show"}  # nothing was stopped, and no socket opened anew, for a unit that seemed to be gone
    assert generations.live(both.layout) == 2


def test_what_a_generation_has_for_itself_is_made_anew_where_it_is_gone(both: Host) -> None:
    """By heal for what is live, and by a rollback for what it goes back to."""
    app, layout = {**APP, "name": "shop", "data": {"built": [{"path": "gen"}]}}, both.layout
    for number in (1, 2):
        record = {"release": "0" * 16, "app": app, "plan": {"settings": {}}}
        Path(layout.generation(number), "generation.json").write_text(json.dumps(record), encoding="utf-8")
        store.finish(layout, number)
    own = [Path(layout.generation(number), "built/gen") for number in (1, 2)]
    with both.app.alone("heal"):
        did = heal(both.app)
    assert did[0] == (
        f"made {own[1]} anew, with what the release has there; what runs of it sees that once it is started again "
        "(`systemctl restart shop@2.service`)"
    )
    assert [one.is_dir() for one in own] == [False, True]
    assert f"made {own[0]} anew, with what the release has there" in rollback(both.app)["told"]
    assert own[0].is_dir()
