# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The command line of scripts/new-app: its files, its exit codes, what it tells."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.fields import Problem
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.draft import Proposal, Question
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.flow import Entry, Unfinished
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.refusals import Cannot
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Unknown
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Answers
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import NetworkUnreachable, TooSlow
from headcount_scripts import console, newapp
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


def test_without_a_project_it_reads_what_runs_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    called: list[list[str]] = []

    def take_over(_: str, words: list[str]) -> None:
        called.append(words)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execvp", take_over)
    monkeypatch.setenv("ANSIBLE_CONFIG", "")
    with pytest.raises(SystemExit):
        run("--host", "web1", "-i", "mine", "--name", "shop")
    with pytest.raises(SystemExit):
        run("--host", "web1,", "--inventory", "web1,", "--output", "/srv/entries", "--force")
    first, second = called
    assert first[:-1] == [
        *("ansible-playbook", "-i", str(tmp_path / "mine"), "playbooks/adopt.yml", "--limit", "web1", "-e")
    ]
    assert json.loads(first[-1]) == {
        "adopt_dest": str(tmp_path / "adopted"),
        "adopt_force": False,
        "adopt_name": "shop",
    }
    assert second[2] == "web1,"
    assert json.loads(second[-1]) == {"adopt_dest": "/srv/entries", "adopt_force": True}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "say which project"),
        (["--host", "web1", "--lock", "uv.lock"], "--lock is about a project"),
        (["--host", "web1", "--entry-point", "a:b"], "--entry-point is about a project"),
        (["--host", "web1", "--output", "-"], "is written into a folder"),
        (["../shop", "--inventory", "mine"], "--inventory is for what runs on a host already"),
    ],
)
def test_what_is_asked_of_a_project_is_not_asked_of_a_host(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == newapp.USAGE
    assert told in capsys.readouterr().err


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
    ("path", "why"),
    [("a" * 300, "File name too long"), ("/x" * 2500, "File name too long"), ("/dev/null/x", "Not a directory")],
)
def test_where_nothing_can_be_written_is_told_before_the_look(path: str, why: str) -> None:
    with pytest.raises(ScriptError, match=f"which cannot be written: {why}") as caught:
        run("../shop", "--output", path, found=AssertionError("nothing is looked at"))
    assert caught.value.code == 2
    assert len(str(caught.value)) < 300


def test_a_name_that_is_not_utf_8_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("../shop", "--output", "caf\udce9.yml", found=AssertionError("nothing is looked at"))
    assert "which is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Cannot(Problem("new-app", ("headcount_apps", 0, "entry_point"), "was not found")), newapp.CANNOT),
        (Unknown("source is 'x'"), newapp.USAGE),
        (NetworkUnreachable("the network was not reachable"), newapp.FAILED),
        (TooSlow("pip config: not finished within 60 s on the controller"), newapp.FAILED),
    ],
)
def test_why_there_is_no_entry(tmp_path: Path, error: Exception, code: int) -> None:
    with pytest.raises(ScriptError) as caught:
        run("../shop", found=error)
    assert caught.value.code == code
    assert str(error) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_without_a_look_is_written_all_the_same(tmp_path: Path) -> None:
    cannot = Cannot(Problem("new-app", ("headcount_apps", 0, "entry_point"), "was not found"))
    with pytest.raises(ScriptError) as caught:
        run("../shop", found=Unfinished(cannot, entry(Question("what?", must=True))))
    assert caught.value.code == newapp.CANNOT
    assert (tmp_path / "shop.yml").read_text() == "headcount_apps: []\n"
    assert "What is known without it is in shop.yml, and asks for the rest" in str(caught.value)
    assert "--environment NAME=VALUE" in str(caught.value)


def test_without_a_network_it_is_to_be_called_again(capsys: pytest.CaptureFixture[str]) -> None:
    unreached = NetworkUnreachable("index.example was not reachable")
    with pytest.raises(ScriptError) as caught:
        run("../shop", "--output", "-", found=Unfinished(unreached, entry()))
    assert caught.value.code == newapp.FAILED
    assert "is on standard output, and asks for the rest. Call it again with --force once that is there" in str(
        caught.value
    )
    assert capsys.readouterr().out == "headcount_apps: []\n"


def test_answers_reach_the_look() -> None:
    seen: list[Answers] = []

    def look_at(source: str, tools: Any, host: str, beside: Any, answers: Answers) -> Entry:
        seen.append(answers)
        return entry()

    words = "--environment A=1=2 --environment B= --requirements web.txt --requirements x==1 --lock uv.lock"
    more = "--entry-point shop:app --subdirectory back --name till --python 3.12"
    assert newapp.main(["../shop", *words.split(), *more.split()], look_at) == newapp.READY
    assert seen == [Answers("till", {"A": "1=2", "B": ""}, ("web.txt", "x==1"), "uv.lock", "shop:app", "back", "3.12")]


@pytest.mark.parametrize("word", ["A", "=x", "1A=x", "A B=x"])
def test_a_variable_has_a_name_and_a_value(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("../shop", "--environment", word)
    assert "allowed is NAME=VALUE" in capsys.readouterr().err


def test_a_long_step_is_told_of_again_and_without_a_terminal_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    told = threading.Event()

    def tell(text: str) -> None:
        print(text, file=sys.stderr)
        if "so far" in text:
            told.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "say", tell)
        with console.Progress(0.05) as progress:
            progress.say("gathering")
            assert told.wait(20)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == ".. gathering"
    assert re.fullmatch(r"\.\. gathering: \d+ s so far", lines[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_on_the_way_out(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    left: list[str] = []

    def work() -> int:
        with console.ended_by_signals():
            try:
                os.kill(os.getpid(), number)
                signal.sigtimedwait([], 20)
            finally:
                left.append("removed")
        return 0

    assert console.guard(work) == 128 + number
    assert left == ["removed"]
    assert signal.getsignal(number) == before
