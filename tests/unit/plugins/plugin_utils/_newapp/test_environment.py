# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The release that new-app makes locally: what is said of what cannot be built."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import environment
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import HostBuild, Wheel
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BuildFailed, Done

BUILD = """  × Failed to build `psycopg2==2.7.3`
      psycopg/psycopgmodule.c:949:31: error: lvalue required as left operand of assignment
      error: Command '['x86_64-linux-gnu-gcc', '-DNDEBUG']' returned non-zero exit status 1.
"""


def test_a_package_that_cannot_be_built_is_named_with_the_compilers_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist = Wheel("psycopg2", "2.7.3", "psycopg2-2.7.3.tar.gz", "0" * 64, 1, "/s/psycopg2-2.7.3.tar.gz")
    found = SimpleNamespace(wheels=(), needs_host_build=(HostBuild(sdist, (), "2.9.11"),))

    def run(words: list[Any], _: float) -> Done:
        return Done(1, "", BUILD) if sdist.path in words else Done(0, "", "")

    monkeypatch.setattr(environment, "gather", lambda *_: found)
    monkeypatch.setattr(environment, "run", run)
    with pytest.raises(BuildFailed) as caught:
        environment.make({}, tmp_path, tmp_path)
    assert str(caught.value) == (
        f"psycopg2 2.7.3 has no wheel for Python {environment.here().minor}, and cannot be built here: "
        "psycopg/psycopgmodule.c:949:31: error: lvalue required as left operand of assignment; allow a version of it "
        "that has a wheel (2.9.11 is the oldest after it that has one)"
    )
