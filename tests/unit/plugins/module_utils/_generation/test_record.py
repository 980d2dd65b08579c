# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The record of a generation: the same bytes on disk, whether it was just laid down or weighed, or is an older one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.record import GenerationRecord
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.files import write_json

WEIGHED = Path(__file__).resolve().parents[3] / "fixtures/generations/weighed.json"


def record() -> Any:
    """generation.json of a host of the lab, as the weigh of a first rollout left it."""
    return json.loads(WEIGHED.read_text(encoding="utf-8"))


def test_what_was_read_is_written_byte_for_byte(tmp_path: Path) -> None:
    write_json(str(tmp_path / "again.json"), GenerationRecord.from_dict(record()).to_dict())
    assert (tmp_path / "again.json").read_bytes() == WEIGHED.read_bytes()


def test_what_is_not_known_yet_is_not_written() -> None:
    staged = {key: value for key, value in record().items() if key not in ("measured", "drop_ins")}
    read = GenerationRecord.from_dict(staged)
    assert read.to_dict() == staged
    assert replace(read, measured={"wall_ms": 5.0}).to_dict() == {**staged, "measured": {"wall_ms": 5.0}}


def test_no_drop_ins_are_not_the_same_as_unknown_ones() -> None:
    """A generation that was tried without any is told from one of before they were noted."""
    assert GenerationRecord.from_dict({**record(), "drop_ins": {}}).to_dict()["drop_ins"] == {}


def test_what_steps_ask_of_it() -> None:
    read = GenerationRecord.from_dict(record())
    assert (read.number, read.listen, read.load.rate) == (1, "0.0.0.0:8000", 40.0)
    assert read.cores == record()["planning"]["facts"]["cores"]["effective"]
    assert read.memory_max_mib == record()["plan"]["settings"]["memory_max_mib"]["value"]
    assert read.settings["worker_class"] == record()["plan"]["settings"]["worker_class"]["value"]


def test_an_older_record_has_fewer_keys() -> None:
    read = GenerationRecord.from_dict({"release": "r1", "app": {"listen": "127.0.0.1:8000"}})
    assert (read.release, read.listen, read.digest, read.planning) == ("r1", "127.0.0.1:8000", None, {})
