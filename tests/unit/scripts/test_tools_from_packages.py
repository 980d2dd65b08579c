# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A program is taken out of a Debian package without installing it, or it is said that it cannot be had."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from headcount_scripts import bootstrap, tools
from headcount_scripts.console import ScriptError

CONTROL = (
    "Package: things\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.invalid>\nDescription: things\n"
)


@pytest.fixture(name="package")
def _package(tmp_path: Path) -> Path:
    if not shutil.which("dpkg-deb"):
        pytest.skip("dpkg-deb is not on this machine")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(CONTROL)
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr" / "bin" / "thing").write_text("#!/bin/sh\necho here\n")
    archive = tmp_path / "things_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, archive], check=True, capture_output=True)
    return archive


def test_a_program_is_taken_out_and_kept(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_download", lambda name, work: shutil.copy(package, work))
    kept = tools.program("thing", "things", tmp_path / "tools")
    assert subprocess.run([kept], capture_output=True, text=True, check=True).stdout == "here\n"
    monkeypatch.setattr(tools, "_download", lambda name, work: pytest.fail("once is enough"))
    assert tools.program("thing", "things", tmp_path / "tools") == kept


def test_a_package_without_it_is_named(package: Path, tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"no usr/bin/other in things_1_all\.deb"):
        tools.unpack(package, "other", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_without_it_there_are_words_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert tools.promtool(tmp_path) is None
    assert "the rules for Prometheus are not tried" in capsys.readouterr().err


def test_a_chromium_that_is_there_is_taken_and_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"chromium": "/usr/bin/chromium", "google-chrome": "/opt/chrome"}
    monkeypatch.setattr(shutil, "which", there.get)
    monkeypatch.setattr(bootstrap, "ensure_packages", lambda wanted: pytest.fail(f"{wanted} is installed"))
    assert tools.chromium() == Path("/usr/bin/chromium")
    there.clear()
    assert tools.chromium(install=False) is None


def test_a_chromium_is_installed_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there: dict[str, str] = {}
    monkeypatch.setattr(shutil, "which", there.get)
    monkeypatch.setattr(bootstrap, "ensure_packages", lambda wanted: there.update(dict.fromkeys(wanted, "/usr/bin/it")))
    assert tools.chromium() == Path("/usr/bin/it")

    def refused(wanted: object) -> None:
        raise ScriptError("these packages are missing: chromium-headless-shell. Install them, or call this as root")

    there.clear()
    monkeypatch.setattr(bootstrap, "ensure_packages", refused)
    assert tools.chromium() is None
    assert "the report is not tried in a browser: these packages are missing" in capsys.readouterr().err
