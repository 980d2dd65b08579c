# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The controller's cache is bounded: what was not used for longest goes first."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import pruning

NOW = 1_800_000_000.0
DAY = 86400.0


class Cache:
    """A cache with sets and builds of small files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "sets").mkdir()

    def wheel(self, name: str, days: float = 10) -> dict[str, object]:
        folder = self.path / "wheels" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.whl").touch()
        os.utime(folder, (NOW - days * DAY,) * 2)
        return {"name": name, "sha256": name, "size": 1000, "path": str(folder / f"{name}.whl")}

    def record(self, kind: str, key: str, days: float, *wheels: dict[str, object]) -> Path:
        file = self.path / kind / f"{key}.json"
        file.parent.mkdir(exist_ok=True)
        content = {"wheels": wheels} if kind == "sets" else wheels[0]
        file.write_text(json.dumps(content), encoding="utf-8")
        file.with_suffix(".lock").touch()
        os.utime(file, (NOW - days * DAY,) * 2)
        return file

    def wheels(self) -> list[str]:
        return sorted(os.listdir(self.path / "wheels"))

    def sets(self) -> list[str]:
        return sorted(os.listdir(self.path / "sets"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(pruning, "KEEP_SETS", 3)
    monkeypatch.setattr(pruning, "KEEP_NEWEST", 1)
    return Cache(tmp_path)


def test_what_was_used_last_is_kept_with_its_files(cache: Cache) -> None:
    shared = cache.wheel("flask")
    for number in range(6):
        own = cache.wheel(f"app{number}")
        cache.record("sets", f"s{number}", 2 + number, own, shared)
        cache.record("built", f"b{number}", 2 + number, own)
    assert pruning.prune(cache.path, NOW) > 0
    assert cache.sets() == [f"s{number}.{end}" for number in range(3) for end in ("json", "lock")]
    # Of what no kept set uses, as many builds stay as sets do: another project may be built from them again.
    assert cache.wheels() == [*(f"app{number}" for number in range(6)), "flask"]
    cache.record("built", "b9", 1.5, cache.wheel("other"))
    pruning.prune(cache.path, NOW)
    assert cache.wheels() == ["app0", "app1", "app2", "app3", "app4", "flask", "other"]


def test_what_was_used_within_a_day_stays_whatever_there_is_of_it(cache: Cache) -> None:
    for number in range(6):
        cache.record("sets", f"s{number}", 0.5, cache.wheel(f"app{number}"))
    cache.wheel("being-gathered", days=0.01)
    assert pruning.prune(cache.path, NOW) == 0
    assert len(cache.wheels()) == 7


def test_large_files_are_bounded_by_their_size(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "KEEP_BYTES", 2000)
    for number in range(3):
        cache.record("sets", f"s{number}", 2 + number, cache.wheel(f"app{number}"))
    pruning.prune(cache.path, NOW)
    assert cache.wheels() == ["app0", "app1"]
    monkeypatch.setattr(pruning, "KEEP_BYTES", 1)
    pruning.prune(cache.path, NOW)
    assert cache.wheels() == ["app0"]


def test_a_record_that_cannot_be_read_is_left_and_its_files_are_not_known(cache: Cache) -> None:
    cache.record("sets", "s0", 2, cache.wheel("app0"))
    (cache.path / "sets" / "torn.json").write_text('{"wheels": [', encoding="utf-8")
    cache.wheel("of-nothing")
    assert pruning.prune(cache.path, NOW) == 1
    assert cache.wheels() == ["app0"]
    assert "torn.json" in cache.sets()


def test_two_that_prune_do_not_meet(cache: Cache) -> None:
    cache.wheel("of-nothing")
    with (cache.path / "prune.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert pruning.prune(cache.path, NOW) == 0
    assert cache.wheels() == ["of-nothing"]
    assert pruning.prune(cache.path / "missing", NOW) == 0


def test_use_makes_a_record_young(cache: Cache) -> None:
    old = cache.record("sets", "s0", 50, cache.wheel("app0"))
    os.utime(old, (1.0, 1.0))
    pruning.touch(old)
    assert old.stat().st_mtime > 1.0
