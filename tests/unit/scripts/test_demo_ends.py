# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How the demo ends: its last line names the report of this run, and never that of another one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from headcount_scripts import bootstrap, demo, labs, monitorlab, paths
from headcount_scripts.console import ScriptError


@pytest.mark.parametrize(
    ("code", "writes", "named"),
    [(0, True, True), (2, True, True), (2, False, False)],
    ids=["well", "failed", "refused before there was anything to tell"],
)
def test_the_last_line_names_the_report_of_this_run(
    code: int,
    writes: bool,
    named: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "site.yml").touch()
    report = tmp_path / "report.json"
    for file in (report, report.with_suffix(".html")):
        file.write_text('{"rows": []}', encoding="utf-8")

    def play(arguments: object) -> int:
        if writes:
            report.unlink()
            report.write_text('{"rows": [], "run": {}}', encoding="utf-8")
        return code

    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(demo, "REPORT", report)
    monkeypatch.setattr(demo, "PAGE", report.with_suffix(".html"))
    monkeypatch.setattr(demo, "_play", play)
    monkeypatch.setattr(bootstrap, "ensure_packages", lambda wanted: None)
    monkeypatch.setattr(labs, "up", lambda *asked: (SimpleNamespace(hosts=[]), False))
    assert demo._deploy([]) == code
    said = capsys.readouterr().out.splitlines()
    assert said[-1:] == ([f"the report for a browser: {report.with_suffix('.html').as_uri()}"] if named else [])


@pytest.mark.parametrize(
    ("arguments", "code", "writes", "watched"),
    [
        (demo.EXPORTED, 0, True, True),
        (demo.EXPORTED, 2, True, True),
        (demo.EXPORTED, 2, False, False),
        ((*demo.EXPORTED, "--check"), 0, True, False),
        ((), 0, True, False),
    ],
    ids=["well", "failed", "refused before there was anything to tell", "a rehearsal", "not asked for"],
)
def test_hosts_are_watched_where_they_export_how_they_run(
    arguments: tuple[str, ...],
    code: int,
    writes: bool,
    watched: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A rollout that fails, as on a busy machine, is when somebody wants to see them most."""
    (tmp_path / "site.yml").touch()
    report = tmp_path / "report.json"

    def play(asked: object) -> int:
        if writes:
            report.write_text('{"rows": []}', encoding="utf-8")
        return code

    asked: list[object] = []

    def up(targets: object) -> monitorlab.Monitoring:
        asked.append(targets)
        if code:
            raise ScriptError("Prometheus on 10.9.9.9 does not see every exporter")
        return monitorlab.Monitoring("10.9.9.9")

    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(demo, "REPORT", report)
    monkeypatch.setattr(demo, "PAGE", report.with_suffix(".html"))
    monkeypatch.setattr(demo, "_play", play)
    monkeypatch.setattr(monitorlab, "up", up)
    monkeypatch.setattr(bootstrap, "ensure_packages", lambda wanted: None)
    monkeypatch.setattr(labs, "up", lambda *asked: (SimpleNamespace(hosts=[]), False))
    assert demo._deploy(arguments) == code, "its own exit code, whatever became of the watching"
    assert asked == ([[]] if watched else [])
    said = capsys.readouterr()
    assert ("http://10.9.9.9:9090/consoles/headcount.html" in said.out) is (watched and not code)
    assert ("does not see every exporter" in said.err) is (watched and bool(code))


@pytest.mark.parametrize(("own", "waits"), [({}, "60"), ({"ANSIBLE_TIMEOUT": "5"}, "5")], ids=["by itself", "as set"])
def test_a_busy_machine_has_more_time_to_answer_than_ansible_gives(own: dict[str, str], waits: str) -> None:
    made = demo.environment({"PATH": "/bin", "ANSIBLE_CONFIG": "/etc/ansible/ansible.cfg", **own})
    assert made["ANSIBLE_TIMEOUT"] == waits
    assert (made["PATH"], made["ANSIBLE_CONFIG"]) == ("/bin", str(paths.ROOT / "ansible.cfg"))
