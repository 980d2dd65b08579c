# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What can be declared of how an app is watched while users are on it; a part of the table."""

from __future__ import annotations

from typing import Final

from .fields import ABSENT, Field

RECORDER: Final = Field(
    "recorder",
    "bool",
    "Whether the app's requests are counted: how many, how long they take, how they end, how many run, and how its "
    "workers end. It costs about a microsecond a request; `headcount top` shows what it knows.",
    ABSENT,
    False,
    default_help="true",
)
