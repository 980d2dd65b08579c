# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from headcount_scripts import bootstrap, console, demo
from headcount_scripts.console import ScriptError

ROOT = Path(__file__).resolve().parents[3]


def test_missing_packages_in_order() -> None:
    wanted = {"podman": "podman", "wrk": "wrk", "keys": "/usr/share/keys"}
    assert bootstrap.missing_packages(wanted, present=lambda probe: probe == "wrk") == ["podman", "keys"]
    assert bootstrap.missing_packages(wanted, present=lambda probe: True) == []


def test_missing_packages_of_an_ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ScriptError) as error:
        bootstrap.ensure_packages({"surely-not-there": "/surely/not/there"})
    assert str(error.value) == "these packages are missing: surely-not-there. Install them, or call this as root"


@pytest.mark.parametrize(("says", "updates"), [("Could not get lock /var/lib/apt/lists/lock", 3), ("No route", 1)])
def test_the_lock_of_the_package_lists_is_waited_for(
    says: str, updates: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/$4\ncase $4 in\n"
        f"update) test $(wc -l < {tmp_path}/update) -gt 2 || {{ echo '{says}'; exit 100; }};;\n"
        f"install) test -e {tmp_path}/update || exit 100; touch {tmp_path}/there;;\nesac\n",
        encoding="utf-8",
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(bootstrap, "LOCK_POLL_SECONDS", 0)
    monkeypatch.setattr(bootstrap.paths, "LOGS", tmp_path / "log")
    monkeypatch.setattr(bootstrap.paths, "RUN", tmp_path / "run")
    wanted = {"surely-not-there": str(tmp_path / "there")}
    if updates == 1:
        with pytest.raises(ScriptError, match=says):
            bootstrap.ensure_packages(wanted)
    else:
        bootstrap.ensure_packages(wanted)
    assert len((tmp_path / "update").read_text().split()) == updates


def test_stamp_changes_with_the_lock_and_the_python(tmp_path: Path) -> None:
    lock = tmp_path / "a.txt"
    lock.write_text("a==1\n")
    first = bootstrap.stamp_of([lock], "3.11")
    assert first != bootstrap.stamp_of([lock], "3.13")
    lock.write_text("a==2\n")
    assert first != bootstrap.stamp_of([lock], "3.11")


def test_a_higher_level_has_the_lower(tmp_path: Path) -> None:
    low, high = tmp_path / "low.txt", tmp_path / "high.txt"
    low.write_text("a==1\n")
    high.write_text("a==1\nb==1\n")
    both = bootstrap.stamp_of([low, high], "3.11")
    assert bootstrap.is_complete(both, bootstrap.stamp_of([low], "3.11"))
    assert not bootstrap.is_complete(bootstrap.stamp_of([low], "3.11"), both)
    assert not bootstrap.is_complete("", both)


@pytest.mark.parametrize("name", sorted({name for names in bootstrap.LEVELS.values() for name in names}))
def test_every_requirement_is_locked_by_hash_and_names_no_place(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert not re.search(r"https?:|file:|^-(?!-hash)|--(?!hash)", text, re.MULTILINE)
    pins = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    for pin in pins:
        assert re.match(r"[a-z0-9-]+==\S+", pin), pin
        assert "--hash=sha256:" in pin, pin


def test_levels_agree_on_versions() -> None:
    def versions(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / name).read_text()
        return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))

    low, high = versions("controller.txt"), versions("test.txt")
    assert {name: high.get(name) for name in low} == low


def test_table_aligns_and_ignores_colours() -> None:
    text = console.table(["a", "number"], [["\033[32mlong\033[0m", "1"], ["x", "22"]], right=[1])
    assert re.sub(r"\033\[\d+m", "", text).splitlines() == [
        "a     number",
        "----  ------",
        "long       1",
        "x         22",
    ]


def test_guard_turns_errors_into_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> int:
        raise ScriptError("no such thing", 2)

    def interrupted() -> int:
        raise KeyboardInterrupt

    assert console.guard(lambda: 0) == 0
    assert console.guard(fails) == 2
    assert console.guard(interrupted) == 130
    assert capsys.readouterr().err.splitlines() == [
        "error: no such thing",
        "interrupted; call it again to go on from here",
    ]


def test_urls_of_a_report_are_those_of_live_apps() -> None:
    url = "http://10.0.0.1:8000/"
    rows = [
        {"host": "small", "app": "shop", "generation": 3, "url": url},
        {"host": "large", "app": "shop", "generation": None, "url": url},
        {"host": "large", "app": "inner", "generation": 1, "url": "unix:/run/inner.sock"},
        {"host": "third", "app": None, "status": "unreachable"},
    ]
    assert demo.urls({"rows": rows}) == [("small", url)]
    assert demo.urls([]) == []
