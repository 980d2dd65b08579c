# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What can be declared of how an app is watched while users are on it; a part of the table."""

from __future__ import annotations

from typing import Final

from . import checks
from .commands import schedule
from .fields import ABSENT, REQUIRED, Field

RECORDER: Final = Field(
    "recorder",
    "bool",
    "Whether the app's requests are counted: how many, how long they take, how they end, how many run, and how its "
    "workers end. It costs some microseconds a request; `headcount top` shows what it knows.",
    ABSENT,
    False,
    default_help="true",
)

GUARD: Final = Field(
    "guard",
    "section",
    "What the host itself does about a generation that turns bad once it is live, without a controller.",
    ABSENT,
    {"minutes": 10},
    fields=(
        Field(
            "minutes",
            "number",
            "So long after a promote the host watches what users get. Where requests fail or are too slow beyond the "
            "limits, and surely more than under the generation before, where workers die or memory is short, it goes "
            "back by itself; 0 is off. It needs the recorder.",
            0.0,
            10,
            "minutes",
            minimum=0,
            maximum=1440,
        ),
    ),
    default_help="off",
)

ACCESS_LOG: Final = Field(
    "access_log",
    "str",
    "Whether each request is a line in the host's journal (`journalctl -t NAME-access`), in the combined format of web "
    "servers or as JSON, with its id (from X-Request-ID, or made, so that the app gets it there), duration, worker and "
    "generation. Queries are left out, and all headers but the agent and the referrer.",
    ABSENT,
    "json",
    choices=("off", "combined", "json"),
    default_help="off",
)

LOAD_TEST: Final = Field(
    "load_test",
    "section",
    "Repeats the load of the trial on the live generation, beside its users, by a timer of the host. It stops when "
    "they are hurt, gives way to rollouts, and what it measured is told by status, exporter and report.",
    ABSENT,
    {"calendar": "Sun 04:00", "rate": 20},
    fields=(
        Field(
            "calendar",
            "str",
            "When, as a calendar event of systemd; each host begins at a moment of its own within the quarter of an "
            "hour after it.",
            REQUIRED,
            "Sun 04:00",
            allowed="a calendar event of systemd (systemd.time(7))",
            check=schedule,
        ),
        Field(
            "rate",
            "number",
            "Requests a second, all paths together, that the host can take on top of its users; not more than "
            "`load.rate`.",
            REQUIRED,
            20,
            "per second",
            above=0,
            maximum=100_000,
        ),
        Field("seconds", "number", "How long.", 30.0, 30, "seconds", minimum=1, maximum=600),
    ),
    default_help="never",
)

EXPORTER: Final[tuple[Field, ...]] = (
    Field(
        "headcount_exporter",
        "bool",
        "Whether the host tells Prometheus how its apps run: a service, `headcount-exporter`, answers GET /metrics.",
        False,
        True,
    ),
    Field(
        "headcount_exporter_listen",
        "str",
        "Where that service listens. Nobody but the host itself reaches a loopback address; the page holds no secrets.",
        "127.0.0.1:9788",
        "10.0.0.11:9788",
        allowed="IPv4:port or [IPv6]:port",
        check=checks.exporter_listen,
    ),
)
