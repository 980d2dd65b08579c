# SPDX-License-Identifier: GPL-3.0-or-later
"""The local fact of a host: one file, and each app's part of it is its own."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path

from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import localfact
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout


def test_an_app_changes_its_own_part_alone(tmp_path: Path) -> None:
    shop, blog = Layout("shop", str(tmp_path)), Layout("blog", str(tmp_path))
    for layout in (shop, blog):
        localfact.update(layout, lambda known: {"generation": 1, "before": known})
    localfact.update(shop, lambda known: {**(known or {}), "generation": 2})
    localfact.update(blog, lambda _: None)
    assert json.loads(Path(shop.local_fact).read_text()) == {"shop": {"generation": 2, "before": None}}


def test_two_at_the_same_moment_wait_for_one_another(tmp_path: Path) -> None:
    shop, blog = Layout("shop", str(tmp_path)), Layout("blog", str(tmp_path))
    second = threading.Thread(target=localfact.update, args=(blog, lambda _: {"generation": 7}))

    def begin_the_second(_: object) -> dict[str, object]:
        second.start()
        handle = os.open(Path(shop.local_fact).parent, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return {"generation": 2}
        finally:
            os.close(handle)
        raise AssertionError("another app could have read what is about to be written")

    localfact.update(shop, begin_the_second)
    second.join()
    told = json.loads(Path(shop.local_fact).read_text())
    assert told == {"shop": {"generation": 2}, "blog": {"generation": 7}}
