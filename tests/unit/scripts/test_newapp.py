# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The command line of scripts/new-app: its files, its exit codes, what it tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.fields import Problem
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.flow import Cannot, Entry
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.proposal import Proposal, Question
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Unknown
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import NetworkUnreachable
from headcount_scripts import newapp
from headcount_scripts.console import ScriptError


def entry(*questions: Question) -> Entry:
    return Entry(Proposal({"name": "shop"}, questions=questions), "headcount_apps: []\n")


def run(*words: str, found: Entry | Exception | None = None) -> int:
    def look_at(*_: Any) -> Entry:
        if isinstance(found, Exception):
            raise found
        return found or entry()

    return newapp.main(list(words), look_at)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_entry_is_written_and_the_next_command_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("../shop") == newapp.READY
    assert (tmp_path / "shop.yml").read_text() == "headcount_apps: []\n"
    assert "ansible-playbook site.yml -e @shop.yml --check" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "shop.yml"]


def test_with_a_host_it_is_an_inventory(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("../shop", "--host", "web1", "--output", "mine.yml") == newapp.READY
    assert "-i mine.yml" in capsys.readouterr().err


def test_standard_output_has_the_entry_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("../shop", "--output", "-", found=entry(Question("why?"))) == newapp.READY
    told = capsys.readouterr()
    assert told.out == "headcount_apps: []\n"
    assert "QUESTION: why?" in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_question_that_must_be_answered_is_another_exit_code() -> None:
    assert run("../shop", found=entry(Question("what?", must=True))) == newapp.ASKED


@pytest.mark.parametrize("words", [(), ("--output", "shop.yml")])
def test_a_file_is_overwritten_only_by_force(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "shop.yml").write_text("mine")
    with pytest.raises(ScriptError, match="--force") as caught:
        run("../shop", *words)
    assert caught.value.code == newapp.USAGE
    assert (tmp_path / "shop.yml").read_text() == "mine"
    assert run("../shop", *words, "--force") == newapp.READY
    assert (tmp_path / "shop.yml").read_text() != "mine"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Cannot(Problem("new-app", ("headcount_apps", 0, "entry_point"), "was not found")), newapp.CANNOT),
        (Unknown("source is 'x'"), newapp.USAGE),
        (NetworkUnreachable("the network was not reachable"), newapp.FAILED),
    ],
)
def test_why_there_is_no_entry(tmp_path: Path, error: Exception, code: int) -> None:
    with pytest.raises(ScriptError) as caught:
        run("../shop", found=error)
    assert caught.value.code == code
    assert str(error) in str(caught.value)
    assert list(tmp_path.iterdir()) == []
