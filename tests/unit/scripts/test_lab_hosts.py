# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Hosts come beside those that a lab has, and go only where somebody asks for that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from headcount_bench import _common
from headcount_scripts import images, lab, labmodel, labs, monitorlab, paths
from headcount_scripts.console import ScriptError
from headcount_scripts.labmodel import parse_hosts

NAME = "t"


class Machine:
    """A machine's containers, with their states."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.removed: list[str] = []

    def remove(self, *names: str) -> None:
        for name in names:
            if self.states.pop(name, None):
                self.removed.append(name.split("-")[1])

    @property
    def hosts(self) -> list[str]:
        """The hosts that there are, by their containers."""
        return [name.split("-")[1] for name in self.states]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    made = Machine()

    def create(model: labmodel.Lab, host: labmodel.Host) -> None:
        made.remove(labs.container(model.name, host.name))
        made.states[labs.container(model.name, host.name)] = "created"

    def start(model: labmodel.Lab, host: labmodel.Host) -> None:
        made.states[labs.container(model.name, host.name)] = "running"

    monkeypatch.setattr(paths, "LABS", tmp_path / "lab")
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    monkeypatch.setattr(labs, "_states", lambda name=None: dict(made.states))
    monkeypatch.setattr(labs, "_create", create)
    monkeypatch.setattr(labs, "_start", start)
    monkeypatch.setattr(labs, "_wait_ready", lambda model, host: None)
    monkeypatch.setattr(labs, "_resize", lambda model, host: None)
    monkeypatch.setattr(labs, "_pinned_elsewhere", lambda name: [])
    monkeypatch.setattr(labs, "_make_network", lambda model: setattr(model, "subnet", "10.100.0.0/24"))
    monkeypatch.setattr(labs, "_keygen", lambda path, comment: "ssh-ed25519 AAAA of-nobody")
    monkeypatch.setattr(labs, "remove", made.remove)
    monkeypatch.setattr(labs, "exists", lambda kind, name: True)
    monkeypatch.setattr(images, "ensure", lambda suites: {suite: f"image:{suite}" for suite in suites})
    return made


def up(*hosts: str, exact: bool = False) -> labmodel.Lab:
    return labs.up(NAME, parse_hosts(list(hosts)), None, exact=exact)[0]


def inventory() -> list[str]:
    text = (labs.folder(NAME) / "inventory.yml").read_text(encoding="utf-8")
    found: list[str] = []

    def walk(group: object) -> None:
        if isinstance(group, dict):
            found.extend(group.get("hosts") or {})
            for child in (group.get("children") or {}).values():
                walk(child)

    for group in yaml.safe_load(text).values():
        walk(group)
    return sorted(set(found))


def test_another_host_comes_beside_those_that_are_there(machine: Machine) -> None:
    before = up("web1", "web2:2:1g:trixie")
    after = up("web3:2:1200m:bookworm")
    assert machine.removed == []
    assert machine.hosts == ["web1", "web2", "web3"]
    assert after.hosts[:2] == before.hosts
    assert inventory() == ["web1", "web2", "web3"]


def test_a_host_that_is_there_is_resized_and_the_others_stay(machine: Machine) -> None:
    up("web1", "web2")
    after = up("web1:1:1g")
    assert (machine.removed, machine.hosts) == ([], ["web1", "web2"])
    assert [host.memory_mib for host in after.hosts] == [1024, 512]


def test_the_rest_goes_where_the_lab_is_to_be_these_hosts_exactly(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    up("web1", "web2")
    after = up("web3", exact=True)
    assert machine.removed == ["web1", "web2"]
    assert [host.name for host in after.hosts] == machine.hosts == inventory() == ["web3"]
    said = "".join(capsys.readouterr())
    assert "removing" in said
    assert "t-web1-" in said


def test_a_host_of_another_suite_is_made_anew_only_where_that_is_asked_for(machine: Machine) -> None:
    up("web1:1:512m:bookworm", "web2")
    with pytest.raises(ScriptError, match=r"web1 of the lab 't' has bookworm(.|\n)*down --host web1(.|\n)*--exact"):
        up("web1:1:512m:trixie")
    assert (machine.removed, machine.hosts) == ([], ["web1", "web2"])
    up("web1:1:512m:trixie", exact=True)
    assert sorted(machine.removed) == ["web1", "web2"]


def test_a_container_that_nothing_is_known_of_stays(machine: Machine) -> None:
    up("web1", "web2")
    (labs.folder(NAME) / "lab.json").unlink()
    with pytest.raises(ScriptError, match=r"t-web1-\S+, t-web2-\S+: containers of the lab 't'(.|\n)*up --exact"):
        up("web3")
    assert (machine.removed, machine.hosts) == ([], ["web1", "web2"])


def test_one_host_goes_by_down(machine: Machine) -> None:
    up("web1", "web2")
    labs.down_hosts(NAME, ["web1", "web1"])
    assert (machine.removed, machine.hosts) == (["web1"], ["web2"])
    assert [host.name for host in labs.load(NAME).hosts] == inventory() == ["web2"]
    with pytest.raises(ScriptError, match="has no host 'web9'; it has: web2"):
        labs.down_hosts(NAME, ["web9"])


def test_the_last_host_takes_the_lab_with_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    up("web1")
    asked: list[str] = []
    monkeypatch.setattr(labs, "down", lambda name: asked.append(name) or ["all of it"])
    assert (labs.down_hosts(NAME, ["web1"]), asked) == (["all of it"], [NAME])


@pytest.mark.parametrize(
    ("words", "exact"), [(["up", "--host", "a"], False), (["up", "--exact", "--host", "a"], True), (["up"], False)]
)
def test_what_the_command_line_asks_for(monkeypatch: pytest.MonkeyPatch, words: Sequence[str], exact: bool) -> None:
    asked: dict[str, object] = {}

    def record(name: str, specs: object, *_: object, **options: object) -> tuple[labmodel.Lab, bool]:
        asked.update(options)
        return labmodel.Lab(name, "", inventory="/nowhere/hosts.yml"), False

    monkeypatch.setattr(labs, "up", record)
    monkeypatch.setattr(lab.bootstrap, "ensure_packages", lambda packages: None)
    monkeypatch.setattr(lab.os, "geteuid", lambda: 0)
    assert lab.main(["--name", NAME, *words]) == 0
    assert asked["exact"] is exact


def test_exactly_nothing_is_no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.bootstrap, "ensure_packages", lambda packages: None)
    monkeypatch.setattr(lab.os, "geteuid", lambda: 0)
    with pytest.raises(ScriptError, match="--exact: say with --host"):
        lab.main(["--name", NAME, "up", "--exact"])


def test_the_help_says_what_becomes_of_the_other_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["up", "--help"]):
        with pytest.raises(SystemExit):
            lab.main(words)
    said = " ".join(capsys.readouterr().out.split())
    assert "it removes none, unless --exact says" in said
    assert "made beside the hosts that are there" in said


class Asked(Exception):
    """A lab was asked for."""


def test_labs_that_are_made_for_a_purpose_are_these_hosts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scenarios of Molecule, the benchmarks and what is watched by: what an earlier run left in a lab goes."""
    asked: list[object] = []

    def record(*_: object, **options: object) -> None:
        asked.append(options["exact"])
        raise Asked

    monkeypatch.setattr(labs, "up", record)
    monkeypatch.setattr(_common.bootstrap, "ensure_packages", lambda packages: None)
    with pytest.raises(Asked):
        monitorlab.up([])
    bench: Any = SimpleNamespace(name="x", options=SimpleNamespace(keep=True))
    with pytest.raises(Asked), _common.Bench.lab(bench, ["a"]):
        pass
    assert asked == [True, True]
    create = yaml.safe_load((paths.ROOT / "molecule" / "shared" / "create.yml").read_text(encoding="utf-8"))
    (task,) = create[0]["tasks"]
    assert "'up', '--exact'" in task["ansible.builtin.command"]["argv"]
