# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The lab host with Prometheus: what it is told, and that the demo waits until it sees every exporter."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from headcount_scripts import demo, labs, monitorlab, paths
from headcount_scripts.console import ScriptError


def target(health: str = "up", error: str = "") -> dict[str, str]:
    return {"scrapeUrl": "http://10.0.0.2:9788/metrics", "health": health, "lastError": error}


def answer(*targets: dict[str, str]) -> str:
    return json.dumps({"data": {"activeTargets": list(targets)}})


def test_prometheus_is_told_of_each_exporter_and_of_the_rules() -> None:
    told = monitorlab.prometheus_yml(["10.0.0.2", "10.0.0.3"], "headcount")
    assert '[{job_name: headcount, static_configs: [{targets: ["10.0.0.2:9788", "10.0.0.3:9788"]}]}]' in told
    assert "rule_files: [headcount.rules.yml]" in told
    assert str(monitorlab.EXPORTER_PORT) in demo.EXPORTED[1]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (answer(target(), target()), []),
        (answer(target(), target("down", "connection refused")), ["http://10.0.0.2:9788/metrics: connection refused"]),
        (answer(target("unknown")), ["http://10.0.0.2:9788/metrics: not yet", "1 more are not known to it"]),
    ],
)
def test_what_is_not_scraped_is_named_with_why(said: str, left: list[str]) -> None:
    assert monitorlab.down_targets(said, 2) == left


def test_it_waits_until_all_are_scraped_and_says_which_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitorlab, "LOOK_EVERY_S", 0.0)
    said = iter(["", answer(target("unknown")), answer(target())])
    monitorlab.wait_until_scraped(monitorlab.Monitoring("10.9.9.9"), 1, lambda _: next(said))
    with pytest.raises(ScriptError, match=r"10\.9\.9\.9 does not see every exporter: .*: refused"):
        monitorlab.wait_until_scraped(
            monitorlab.Monitoring("10.9.9.9"), 1, lambda _: answer(target("down", "refused")), patience_s=0.0
        )


@pytest.mark.parametrize(
    ("shown", "ready"),
    [
        ("prometheus installed\nprometheus-alertmanager installed\n", True),
        ("prometheus installed\nprometheus-alertmanager half-configured\n", False),
        ("prometheus-alertmanager unpacked\n", False),
        ("", False),
    ],
)
def test_what_was_broken_off_half_way_is_not_taken_for_installed(shown: str, ready: bool) -> None:
    assert monitorlab.installed(shown) is ready
    assert "dpkg --configure -a" in monitorlab.INSTALL


def test_its_files_are_whole() -> None:
    with tarfile.open(fileobj=io.BytesIO(monitorlab.archive({"etc/a.yml": "a: ü\n"}))) as tar:
        member = tar.extractfile("etc/a.yml")
        assert member is not None
        assert member.read().decode() == "a: ü\n"


def test_nothing_of_it_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "WORK", tmp_path)
    monkeypatch.setattr(labs, "down", lambda name: [f"lab {name}"])
    assert monitorlab.down() == ["lab headcount-monitor"]
    folder, log = monitorlab.files()
    folder.mkdir()
    (folder / "headcount.rules.yml").touch()
    log.touch()
    assert len(monitorlab.down()) == 3
    assert list(tmp_path.iterdir()) == []
