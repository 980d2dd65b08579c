# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The wheels of a run are gathered once for each platform, and what takes long in that is told."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.gathering import Gathering, Wanted
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import wheelhouse
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import Platform
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.progress import tell
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BuildFailed


def test_a_long_build_is_told_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    heard = threading.Event()

    def say(text: str) -> None:
        told.append(text)
        if "so far" in text:
            heard.set()

    def gather(*_: Any) -> None:
        tell("building a wheel of misaka 2.1.1")
        assert heard.wait(30)
        raise BuildFailed("misaka 2.1.1: no compiler")

    monkeypatch.setattr(wheelhouse, "gather", gather)
    wanted = Wanted(json.dumps({"kind": "path"}), Platform("3.11", "x86_64", "glibc 2.36"), ())
    gathering = Gathering(tmp_path, say, every_seconds=0.01)
    gathering.gather([("shop", wanted)])
    assert "shop: building a wheel of misaka 2.1.1, for Python 3.11 on x86_64 (glibc 2.36): 0 s so far" in told
    with pytest.raises(BuildFailed, match="no compiler"):
        gathering.wheels(wanted)
