# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the benchmark of what applications keep makes of what it saw, and how its user uploads a file."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable, Sequence
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from headcount_bench import apps, kept
from headcount_bench._common import Lab, Result
from headcount_bench._visitor import UPLOADED, Use, Visitor, multipart
from headcount_scripts.console import ScriptError


def value(*used: tuple[str, str], status: str = "promoted", cause: str = "", **more: Any) -> Result:
    uses = [{"name": name, "ok": not said, "said": said} for name, said in used]
    host: dict[str, Any] = {"status": status, "cause": cause, "used": uses, "data": more.pop("data", [])}
    found = {"kind": "a wiki", "revision": "12ab", "added": ["data"], "hosts": {"12": host}, "cannot": "", "first": []}
    found = {**found, "questions": [], **more}
    return Result("wiki", "key", found, 0.0, 1.0)


def test_what_was_written_is_kept_when_it_was_read_each_time() -> None:
    told = kept.report_of({"wiki": value(("write", ""), ("read", ""), ("promote", ""), ("read after the promote", ""))})
    assert told.missed == []
    assert "1 of 1 that keep something kept what a user wrote." in told.markdown
    assert "| write, read, promote, read after the promote |  | kept |" in told.markdown


def test_what_keeps_nothing_is_told_apart_and_its_data_has_to_be_empty() -> None:
    wiki = value(("write", ""), ("read", ""), data=["wiki.db"])
    told = kept.report_of({"sums": value(("sum", ""), nothing=True), "wiki": wiki})
    assert told.missed == []
    assert "1 of 1 that keep something kept what a user wrote; sums keeps nothing." in told.markdown
    assert "| sum |  | keeps nothing |" in told.markdown
    assert "| write, read | wiki.db | kept |" in told.markdown
    held = value(("sum", ""), nothing=True, data=["sums.db"])
    assert kept.report_of({"sums": held}).missed == ["sums: it keeps sums.db"]


def test_files_of_a_folder_are_counted() -> None:
    names = ["b.db", "pages/.git/HEAD", "pages/a.md", "instance/notes.db"]
    assert kept.summary(names) == ["b.db", "instance/notes.db", "pages/ (2 files)"]


def test_what_was_lost_or_not_shown_is_missed_with_its_reason() -> None:
    lost = value(("read", ""), ("read after the rollback", "GET /: 200, but 'kept' is not in it"))
    assert kept.report_of({"wiki": lost}).missed == [
        "wiki: read after the rollback: GET /: 200, but 'kept' is not in it"
    ]
    refused = value(status="failed", cause="weigh: it raises")
    assert kept.report_of({"wiki": refused}).missed == ["wiki: weigh: it raises"]


def test_a_file_goes_with_a_form_as_a_browser_sends_it() -> None:
    use = Use.of({"post": "/", "fields": {":action": "file_upload"}, "files": {"content": "kept-1.0.whl"}}, "here")
    body, kind = multipart(use.fields, use.files)
    parsed = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=policy.HTTP)
    parts = {part.get_param("name", header="content-disposition"): part for part in parsed.iter_parts()}
    assert str(parts[":action"].get_payload()).strip() == "file_upload"
    assert parts["content"].get_filename() == "kept-1.0.whl"
    assert str(parts["content"].get_payload()).strip() == UPLOADED


def test_what_is_kept_is_measured_apart_from_what_goes_live(tmp_path: Path) -> None:
    (tmp_path / "wiki").mkdir()
    options = argparse.Namespace(checkouts=[f"wiki={tmp_path / 'wiki'}"], asks=None, quick=True, p95_ms=None)
    (own,), (bare,) = kept.cells_of(options, tmp_path / "bench"), apps.cells_of(options, tmp_path / "bench")
    assert own.key != bare.key
    assert own.inputs["suites"] == ["12"]


READS = (Use("write", "form", "/new"), Use("read", "get", "/"))


class Readings(kept.Keeping):
    """A host whose live generation is told beforehand, one for each look."""

    def __init__(self, folder: Path, *live: str) -> None:
        super().__init__(Lab.__new__(Lab), folder)
        self.generations = list(live)

    def live(self, project: apps.Project) -> str:
        return self.generations.pop(0)

    def again(self, entry: Any) -> Path:
        return self.folder


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    def use(*live: str, nothing: bool = False) -> list[dict[str, Any]]:
        def does(_: Visitor, uses: Sequence[Use]) -> list[dict[str, Any]]:
            return [{"name": use.name, "ok": True, "said": ""} for use in uses]

        monkeypatch.setattr(Visitor, "does", does)
        monkeypatch.setattr(apps, "playbook", lambda *_: subprocess.CompletedProcess([], 0, "", ""))
        project = apps.Project("wiki", tmp_path, uses=READS, nothing=nothing)
        return Readings(tmp_path, *live)._used(project, {}, {"status": "promoted", "url": "http://host"})

    return use


def test_what_was_written_is_read_after_the_promote_and_after_the_rollback(
    used: Callable[..., list[dict[str, Any]]],
) -> None:
    names = ["write", "read", "promote", "read after the promote", "rollback", "read after the rollback"]
    assert [(use["name"], use["ok"]) for use in used("g/1", "g/2", "g/1")] == [(name, True) for name in names]


def test_what_keeps_nothing_is_used_as_a_whole_each_time(used: Callable[..., list[dict[str, Any]]]) -> None:
    names = [use["name"] for use in used("g/1", "g/2", "g/1", nothing=True)]
    assert names[2:5] == ["promote", "write after the promote", "read after the promote"]


@pytest.mark.parametrize(("live", "broken"), [(("g/1", "g/1", "g/1"), "promote"), (("g/1", "g/2", "g/2"), "rollback")])
def test_a_promote_or_a_rollback_that_changed_nothing_shows_nothing(
    used: Callable[..., list[dict[str, Any]]], live: tuple[str, ...], broken: str
) -> None:
    assert [use["name"] for use in used(*live) if not use["ok"]] == [broken]


@pytest.mark.parametrize("uses", [(), READS[:1], READS[1:]])
def test_uses_that_cannot_show_that_something_is_kept_are_refused(tmp_path: Path, uses: tuple[Use, ...]) -> None:
    runs = kept.Keeping(Lab.__new__(Lab), tmp_path)
    with pytest.raises(ScriptError, match="wiki: its uses have to write something, and to end with a page"):
        runs.project(apps.Project("wiki", tmp_path, uses=uses), ["12"])
