# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
from __future__ import annotations

from pathlib import Path

import pytest
from headcount_scripts import judges, testing
from headcount_scripts.console import ScriptError

BUILT = judges.Built(Path("/w/a-b-1.0.0.tar.gz"), Path("/w"), Path("/w/ansible_collections/a/b"), "1.0.0")


@pytest.mark.parametrize(
    ("code", "output", "clean"),
    [
        (0, "Loading role plan\nImporter processing completed successfully\n", True),
        (0, "Loading role plan\nWARNING: roles/plan/tasks/main.yml:3: name[casing]\n", False),
        (0, "ERROR: Timeout on call to ansible-lint\n", False),
        (1, "", False),
    ],
)
def test_what_galaxy_only_warns_of_is_a_complaint(
    monkeypatch: pytest.MonkeyPatch, code: int, output: str, clean: bool
) -> None:
    monkeypatch.setattr(judges, "_run", lambda *_: (code, output))
    assert judges.JUDGES["galaxy-importer"](BUILT) is clean


@pytest.mark.parametrize("name", ["antsibull-docs", "validate-modules"])
@pytest.mark.parametrize("code", [0, 3])
def test_the_others_end_with_their_judgement(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(judges, "_run", lambda command, *_: (called.append(command), (code, ""))[1])
    assert judges.JUDGES[name](BUILT) is (code == 0)
    assert len(called) == 1


def test_what_is_built_is_what_is_judged_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []

    def build(folder: Path) -> judges.Built:
        folders.append(folder)
        (folder / "a-b-1.0.0.tar.gz").touch()
        return BUILT

    monkeypatch.setattr(judges, "build", build)
    monkeypatch.setattr(judges, "JUDGES", {"antsibull-docs": lambda built: built is not BUILT})
    assert judges.main(["antsibull-docs"]) == 1
    assert [folder.exists() for folder in folders] == [False]


@pytest.mark.parametrize("arguments", [[], ["pylint"], ["antsibull-docs", "validate-modules"]])
def test_a_judge_that_does_not_exist_is_told(arguments: list[str]) -> None:
    with pytest.raises(ScriptError) as told:
        judges.main(arguments)
    assert str(told.value) == "name one judge: galaxy-importer, antsibull-docs, validate-modules"


def test_every_judge_is_a_check_and_the_slow_ones_are_not_of_the_quick_ones() -> None:
    every = {check.name for check in testing.checks(2)}
    quick = {check.name for check in testing.checks(2, quick=True)}
    assert set(judges.JUDGES) <= every
    assert every - quick == {"galaxy-importer", "antsibull-docs", "report in a browser"}
