# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the probe is asked of an app, and what it tells of one of which nothing is on the host.

Light: a fresh host is sent no more of `state`.
"""

from __future__ import annotations

from typing import TypedDict


class AppAsked(TypedDict, total=False):
    """An app as the probe is asked for it: its `name`, where it is to listen and where its candidate is to
    (`trial_listen`), the account that it is to run as, its declared `data`, the group and the mode of its socket, the
    service that it takes its address over from (`former`), with that groups and mask of its `sandbox`, of its
    `processes` each one's `schedule`, and of its `load_test` the `calendar`; None and what is missing are not looked
    at."""

    name: str
    listen: str | None
    trial_listen: str | None
    user: str | None
    data: dict[str, object]
    listen_group: str | None
    listen_mode: str | None
    sandbox: dict[str, object]
    former: str | None
    processes: dict[str, dict[str, str]]
    load_test: dict[str, str]


def nothing() -> dict[str, object]:
    """A `state.AppState` before anything was looked at."""
    return {
        "live": None,
        "intact": False,
        "problems": [],
        "healthy": False,
        "health_detail": "nothing is deployed",
        "leftovers": [],
        "open": [],
        "lease": None,
        "generations": [],
        "measured": None,
        "port_taken": None,
        "trial_port_taken": None,
        "last_failure": None,
        "rollback_hint": "",
        "closed": False,
        "clashes": [],
        "drop_ins": [],
        "prepared": [],
        "preparing": {},
        "taken_back": [],
        "former": None,
        "history": [],
        "load_tests": [],
        "left": [],
        "losing": "",
        "retired": [],
    }
