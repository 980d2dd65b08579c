# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A host that boots with other hardware says so, once in the ledger, and tunes itself only where that is asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import hardware
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import ledger, settings
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import boot, retune
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd, SystemdError
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost


def facts(memory: float = 1024, python: str = "3.11") -> dict[str, Any]:
    return {
        "cores": {"effective": 2, "physical": 2, "logical": 2, "limited_by": "cpuset"},
        "memory": {"effective_mib": memory, "limited_by": "MemTotal"},
        "python": {"version": python},
        "platform": {"machine": "x86_64", "libc": "glibc 2.36"},
        "nofile_max": 20000,
        "somaxconn": 4096,
    }


CHANGED = ["memory 1024 -> 512 MiB (MemTotal)"]


@pytest.fixture
def host(tmp_path: Path) -> Layout:
    """A host with generation 3 of the app shop live, planned for facts()."""
    layout = Layout("shop", str(tmp_path))
    generation = Path(layout.generation(3))
    generation.mkdir(parents=True)
    record = {
        "number": 3,
        "release": "r1",
        "app": {"name": "shop", "slice": "system.slice"},
        "planning": {"facts": facts(), "apps": [{"name": "shop"}], "measured": {"shop": {"old": 1}}, "previous": {}},
        "plan": {"settings": {"workers": {"value": 4}}},
        "measured": {"new": 1},
        "digest": "declared:aa,memory:bb",
    }
    (generation / "generation.json").write_text(json.dumps(record))
    os.symlink("generations/3", layout.live)
    Path(layout.state).mkdir(parents=True)
    fact = Path(layout.local_fact)
    fact.parent.mkdir(parents=True)
    fact.write_text(json.dumps({"shop": {"generation": 3}, "other": {}}))
    return layout


def reader(now: dict[str, Any]) -> retune.ReadFacts:
    return lambda root, slice_, python: now


def local_fact(layout: Layout) -> Any:
    return json.loads(Path(layout.local_fact).read_text())["shop"]


def check(layout: Layout, now: dict[str, Any], tune: Any = None) -> tuple[bool, list[str]]:
    """One boot: what came of it, and what was said."""
    said: list[str] = []
    well = boot.check(layout.root, said.append, reader(now), tune or (lambda *_: pytest.fail("tuned unasked")))
    return well, said


def test_a_boot_with_the_same_hardware_says_so_and_writes_nothing(host: Layout) -> None:
    assert check(host, facts(memory=1020)) == (True, ["shop: this host is what generation 3 was tuned for"])
    assert ledger.read(host.ledger) == []
    assert local_fact(host) == {"generation": 3}


def test_changed_hardware_is_in_the_journal_the_ledger_and_the_local_fact(host: Layout) -> None:
    well, said = check(host, facts(memory=512))
    assert (well, said) == (
        True,
        [
            "shop: this host is not what generation 3 was tuned for: memory 1024 -> 512 MiB (MemTotal); "
            "playbooks/retune.yml or `headcount retune shop` tunes it again"
        ],
    )
    (entry,) = ledger.read(host.ledger)
    assert (entry["event"], entry["generation"], entry["changes"]) == ("hardware_changed", 3, CHANGED)
    assert entry["run"].startswith("boot-")
    assert local_fact(host) == {"generation": 3, "drift": CHANGED}
    assert host.app in json.loads(Path(host.local_fact).read_text())


def test_the_next_boot_does_not_repeat_it_and_the_hardware_of_before_takes_it_back(host: Layout) -> None:
    check(host, facts(memory=512))
    check(host, facts(memory=512))
    assert len(ledger.read(host.ledger)) == 1
    check(host, facts(memory=256))
    assert len(ledger.read(host.ledger)) == 2
    check(host, facts())
    assert "drift" not in local_fact(host)


def test_a_boot_ends_a_takeover_that_was_cut_short(host: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    did = "took down a first deployment that had not taken 0.0.0.0:80 over from old.service yet"
    monkeypatch.setattr(boot.takeover, "resume", lambda instances, take_down: [did])
    well, said = check(host, facts())
    assert well
    assert said[0] == f"shop: {did}"
    assert [(entry["event"], entry["did"]) for entry in ledger.read(host.ledger)] == [("healed", [did])]

    def fails(instances: Any, take_down: Any) -> list[str]:
        raise SystemdError("old.service does not start")

    monkeypatch.setattr(boot.takeover, "resume", fails)
    assert check(host, facts()) == (False, ["shop: old.service does not start"])


def test_a_boot_ends_a_takeover_that_was_cut_short_before_anything_was_live(
    host: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.unlink(host.live)
    monkeypatch.setattr(boot.takeover, "resume", lambda instances, take_down: ["went back"])
    assert check(host, facts()) == (True, [])
    told = {"unit": "old.service", "way": "joined", "address": "0.0.0.0:80", "phase": "joining"}
    Path(host.former).write_text(json.dumps(told))
    assert check(host, facts()) == (True, ["shop: went back"])


def test_a_boot_leaves_no_lease(host: Layout) -> None:
    check(host, facts(memory=512))
    assert not os.path.exists(host.lease)


def test_a_host_that_is_asked_to_tunes_itself(host: Layout) -> None:
    settings.write(host, {"retune_at_boot": True})
    asked = []

    def tune(app: AppOnHost, read: retune.ReadFacts) -> dict[str, Any]:
        asked.append(app.name)
        return {"from": 3, "to": 4, "changes": CHANGED, "plan_changes": {"workers": [4, 2]}, "verdict": "pass"}

    well, said = check(host, facts(memory=512), tune)
    assert (well, asked) == (True, ["shop"])
    assert said[-1] == "shop: re-tuned: generation 4 is live (it was 3): workers 4 -> 2"


def test_a_candidate_that_is_not_good_enough_is_told_and_the_unit_fails(host: Layout) -> None:
    settings.write(host, {"retune_at_boot": True})

    def tune(app: AppOnHost, read: retune.ReadFacts) -> dict[str, Any]:
        raise StepFailed("trial", "p95 is 400 ms")

    well, said = check(host, facts(memory=512), tune)
    assert (well, said[-1]) == (False, "shop: not re-tuned, what is live stays: trial: p95 is 400 ms")
    assert local_fact(host)["drift"] == CHANGED


def test_a_host_without_apps_has_nothing_to_say(tmp_path: Path) -> None:
    assert check(Layout("shop", str(tmp_path)), facts()) == (True, [])


def test_a_release_for_another_python_is_not_retuned_here(host: Layout) -> None:
    app = AppOnHost("shop", Run("1", "me", "here", "now"), host.root)
    with pytest.raises(StepFailed) as failed:
        retune.retune(app, reader(facts(python="3.13")))
    assert failed.value.cause == (
        "Python 3.11 -> 3.13: the release has to be built again, which only a rollout (site.yml) does"
    )


def test_nothing_live_is_nothing_to_retune(tmp_path: Path) -> None:
    app = AppOnHost("shop", Run("1", "me", "here", "now"), str(tmp_path))
    with pytest.raises(StepFailed, match="nothing of shop is live on this host; a rollout deploys it"):
        retune.retune(app, reader(facts()))


def test_a_plan_that_holds_changes_nothing(host: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retune, "with_release", lambda planning, *_: planning)
    monkeypatch.setattr(retune, "replan", lambda *_: ({"settings": {"workers": {"value": 4}}}, None))
    app = AppOnHost("shop", Run("1", "me", "here", "now"), host.root)
    done = retune.retune(app, reader(facts(memory=512)))
    assert (done["to"], done["changes"], done["plan_changes"]) == (None, CHANGED, {})
    assert boot.tuned_words("shop", done) == "shop: the plan of generation 3 holds"
    assert not os.path.exists(host.lease)


def test_the_inputs_of_the_plan_are_what_is_live_and_what_the_host_is_now(host: Layout) -> None:
    stand = retune.standing(host, reader(facts(memory=512)))
    assert stand is not None
    planning = retune.planning_now(stand, {"shop": host})
    assert planning["facts"]["memory"]["effective_mib"] == 512
    assert (planning["measured"], planning["previous"]) == ({"shop": {"new": 1}}, {"shop": {"workers": 4}})


def test_the_digest_of_a_retuned_generation_is_what_a_controller_works_out() -> None:
    now = facts(memory=512)
    parts = hardware.split_parts(retune.digest_now("declared:aa,memory:bb", now))
    assert parts == {"declared": "aa", **hardware.fact_parts(now)}
    assert retune.digest_now("opaque", now) == "opaque"


def test_settings_are_written_once(host: Layout) -> None:
    assert not settings.retune_at_boot(host)
    assert settings.write(host, {"retune_at_boot": True})
    assert not settings.write(host, {"retune_at_boot": True})
    assert settings.retune_at_boot(host)


def test_the_unit_is_installed_once_and_starts_at_boot(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def run(command: Any, timeout: float) -> Completed:
        asked.append(list(command))
        return Completed(0, "", "")

    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    assert boot.install(str(tmp_path), Systemd(run))
    assert not boot.install(str(tmp_path), Systemd(run))
    assert [command[-1] for command in asked] == ["daemon-reload"]
    link = tmp_path / "etc/systemd/system/multi-user.target.wants/headcount-boot.service"
    assert os.readlink(link) == "/etc/systemd/system/headcount-boot.service"


def test_the_unit_goes_with_the_last_app(tmp_path: Path) -> None:
    systemd = Systemd(lambda command, timeout: Completed(0, "", ""))
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    boot.install(str(tmp_path), systemd)
    unit = tmp_path / "etc/systemd/system" / boot.UNIT
    home = tmp_path / "opt/headcount/shop"
    home.mkdir(parents=True)
    assert not boot.uninstall_if_idle(str(tmp_path), systemd)
    assert unit.exists()
    home.rmdir()
    assert boot.uninstall_if_idle(str(tmp_path), systemd)
    assert not unit.exists()
    assert not list((tmp_path / "etc/systemd/system/multi-user.target.wants").iterdir())
    assert not boot.uninstall_if_idle(str(tmp_path), systemd)
