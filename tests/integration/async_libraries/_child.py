# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Measures, in a process of its own, how long a hub stood still while a library waited.

    python _child.py HUB PROBE PORT

A greenlet beats every 20 ms while another waits. A native thread, which no hub can stop, looks after two seconds and
prints one JSON line: {"gap_seconds": longest time without a beat, "waiting": the call had not returned, "error": ...}.
"""

# ruff: noqa: E402  (monkey-patching comes before the imports)
from __future__ import annotations

import sys

HUB = sys.argv[1]
if HUB == "gevent":
    from gevent import monkey

    monkey.patch_all()
    from gevent import spawn
    from gevent.monkey import get_original

    start_thread = get_original("_thread", "start_new_thread")
    real_sleep = get_original("time", "sleep")
else:
    import eventlet

    eventlet.monkey_patch()
    from eventlet import spawn
    from eventlet.patcher import original

    start_thread = original("_thread").start_new_thread
    real_sleep = original("time").sleep

import json
import os
import time
from importlib import metadata
from typing import Any

from _probes import PROBES, Unavailable

LOOK_SECONDS = 2.0
PERIOD_SECONDS = 0.02

state: dict[str, Any] = {"last": 0.0, "gap": 0.0, "started": 0.0, "returned": False, "error": None}


def beat() -> None:
    """Note the longest gap between two beats."""
    while True:
        now = time.perf_counter()
        if state["started"]:
            state["gap"] = max(state["gap"], now - max(state["last"], state["started"]))
        state["last"] = now
        time.sleep(PERIOD_SECONDS)


def wait(call: Any) -> None:
    """The library's wait."""
    state["started"] = time.perf_counter()
    try:
        call()
    except BaseException as error:
        state["error"] = f"{type(error).__name__}: {error}"[:300]
    state["returned"] = True


def look() -> None:
    """Report and leave, whatever the hub does."""
    while not state["started"]:
        real_sleep(0.01)
    real_sleep(LOOK_SECONDS)
    now = time.perf_counter()
    gap = max(state["gap"], now - max(state["last"], state["started"]))
    versions = {}
    for name in sys.argv[4:]:
        versions[name] = metadata.version(name.partition("[")[0])
    answer = {
        "gap_seconds": round(gap, 3),
        "waiting": not state["returned"],
        "error": state["error"],
        "versions": versions,
    }
    os.write(1, (json.dumps(answer) + "\n").encode())
    os._exit(0)


try:
    call = PROBES[sys.argv[2]].prepare(int(sys.argv[3]))
except Unavailable as unavailable:
    print(json.dumps({"unavailable": str(unavailable)}), flush=True)
    os._exit(0)
spawn(beat)
time.sleep(5 * PERIOD_SECONDS)  # some beats first, so that the wait meets a hub that turns
start_thread(look, ())
spawn(wait, call)
while True:
    time.sleep(3600)  # the hub turns until look() ends the process
