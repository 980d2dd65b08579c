# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
from __future__ import annotations

import threading

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.background import Background


def test_work_is_under_way_before_its_result_is_asked_for() -> None:
    began, may_end = threading.Event(), threading.Event()

    def work() -> str:
        began.set()
        assert may_end.wait(10)
        return "done"

    work_under_way = Background(work)
    assert began.wait(10)
    may_end.set()
    assert work_under_way.result() == work_under_way.result() == "done"


def test_what_it_raises_is_raised_where_its_result_is_asked_for() -> None:
    def work() -> str:
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        Background(work).result()
